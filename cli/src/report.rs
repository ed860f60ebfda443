//! What a scan has to say about a root, for people and as JSON.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use treewarden::{Report, escape};

use crate::json::{ErrorPart, HeldPart};
use crate::output::Out;
use crate::text::{self, count, counted, duration, printable, shell_word, size};

/// How many unreadable places are shown to people; JSON has all that the report has.
const ERRORS_SHOWN_MAX: usize = 10;

/// True when everything was seen to the end and what was read is what was once written.
pub(crate) fn is_good(report: &Report) -> bool {
    report.is_clean() && report.corrupt == 0
}

#[derive(Serialize)]
struct ReportLine<'a> {
    root: &'a str,
    mode: &'static str,
    seq: u64,
    added: u64,
    modified: u64,
    moved: u64,
    missing: u64,
    restored: u64,
    unchanged: u64,
    dirs: u64,
    files: u64,
    bytes: u64,
    errors: u64,
    held: Option<HeldPart>,
    unavailable: Option<&'a str>,
    elapsed_ms: u64,
    forgotten: u64,
    special: u64,
    corrupt: u64,
    cancelled: bool,
    first_errors: Vec<ErrorPart<'a>>,
}

pub(crate) fn print_json(report: &Report, out: &mut Out) -> io::Result<()> {
    out.object(&ReportLine {
        root: &report.root,
        mode: report.mode.name(),
        seq: report.seq,
        added: report.added,
        modified: report.modified,
        moved: report.moved,
        missing: report.missing,
        restored: report.restored,
        unchanged: report.unchanged,
        dirs: report.dirs,
        files: report.files,
        bytes: report.bytes,
        errors: report.errors,
        held: report.held.as_ref().map(|held| HeldPart { missing: held.missing, of: held.of }),
        unavailable: report.unavailable.as_deref(),
        elapsed_ms: report.elapsed_ms,
        forgotten: report.forgotten,
        special: report.special,
        corrupt: report.corrupt,
        cancelled: report.cancelled,
        first_errors: report
            .first_errors
            .iter()
            .map(|error| ErrorPart::new(Some(report.root.as_str()), error))
            .collect(),
    })
}

/// Prints a report as a short sheet. `dir` is where the root lies.
pub(crate) fn print(report: &Report, dir: Option<&Path>, out: &mut Out) -> io::Result<()> {
    let shown_dir = dir.map(text::path).unwrap_or_default();
    writeln!(out, "{}  {shown_dir}", printable(&report.root))?;
    let mut lines = Vec::new();
    if let Some(reason) = &report.unavailable {
        lines.extend(unavailable(&report.root, reason));
    } else {
        lines.extend(outcome(report, dir));
        lines.extend(corrupt(report));
        lines.extend(unreadable(report));
        lines.push(("seen", seen(report)));
    }
    lines.push(("took", format!("{}, now at seq {}", duration(report.elapsed_ms), report.seq)));
    out.sheet(&lines)
}

type Line = (&'static str, String);

fn unavailable(root: &str, reason: &str) -> Vec<Line> {
    let root = printable(root);
    vec![
        ("unavailable", printable(reason)),
        ("", "nothing was changed; make it reachable and scan again".to_owned()),
        ("", format!("if the same files lie elsewhere now: treewarden root move {root} DIR")),
    ]
}

fn outcome(report: &Report, dir: Option<&Path>) -> Vec<Line> {
    if report.cancelled {
        return vec![("cancelled", "before the end; nothing was changed".to_owned())];
    }
    if let Some(held) = &report.held {
        let dir = dir.map_or_else(|| "DIR".to_owned(), shell_word);
        let files = counted(held.of, "file", "files");
        return vec![
            (
                "held",
                format!("{} of {files} are not there any more; nothing was changed", count(held.missing)),
            ),
            ("", format!("if they are gone for good: treewarden scan {dir} --accept-missing")),
        ];
    }
    let kinds = [
        (report.added, "added"),
        (report.modified, "modified"),
        (report.moved, "moved"),
        (report.missing, "missing"),
        (report.restored, "restored"),
        (report.forgotten, "forgotten"),
    ];
    let changed: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    if !changed.is_empty() {
        vec![("changes", changed.join(", "))]
    } else if report.is_unchanged() {
        vec![("changes", "nothing changed".to_owned())]
    } else {
        vec![("changes", "no file changed, only directories or times".to_owned())]
    }
}

fn corrupt(report: &Report) -> Option<Line> {
    (report.corrupt > 0).then(|| {
        let files = counted(report.corrupt, "file has", "files have");
        (
            "corrupt",
            format!(
                "{files} other content under an unchanged fingerprint; see `treewarden verify --content`"
            ),
        )
    })
}

fn unreadable(report: &Report) -> Vec<Line> {
    if report.errors == 0 {
        return Vec::new();
    }
    let places = counted(report.errors, "place", "places");
    let mut lines = vec![("unreadable", format!("{places}; what was known there is kept"))];
    for error in report.first_errors.iter().take(ERRORS_SHOWN_MAX) {
        lines.push(("", format!("{}  {}", escape(&error.path), printable(&error.message))));
    }
    let shown = report.first_errors.len().min(ERRORS_SHOWN_MAX) as u64;
    if report.errors > shown {
        lines.push(("", format!("... and {} more", count(report.errors - shown))));
    }
    lines
}

fn seen(report: &Report) -> String {
    let files = counted(report.files, "file", "files");
    let dirs = counted(report.dirs, "directory", "directories");
    let mut text = format!("{files} in {dirs}, {}", size(report.bytes));
    if report.special > 0 {
        text.push_str(&format!(
            ", and {} not looked into",
            counted(report.special, "special file", "special files")
        ));
    }
    text
}
