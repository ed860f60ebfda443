//! `treewarden verify`: the state file against itself, then the disk against the state. Changes
//! nothing.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use treewarden::{Difference, DifferenceKind, VerifyOptions, VerifyReport, escape};

use crate::address::split;
use crate::args::VerifyArgs;
use crate::failure::{Failure, Outcome};
use crate::json::{self, ErrorPart};
use crate::output::Out;
use crate::progress::ProgressLine;
use crate::state::StateFile;
use crate::text::{count, counted, printable};

#[derive(Serialize)]
struct VerifyLine<'a> {
    checked: u64,
    differences_total: u64,
    errors: u64,
    differences: Vec<DifferencePart<'a>>,
    /// With full addresses: they may lie in any root.
    first_errors: Vec<ErrorPart<'a>>,
}

#[derive(Serialize)]
struct DifferencePart<'a> {
    root: Cow<'a, str>,
    path: Cow<'a, str>,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

pub(crate) fn run(state: &StateFile, args: &VerifyArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    warden.check()?;
    let mut options = VerifyOptions::default();
    if let Some(root) = &args.root {
        options = options.root(root.as_str());
    }
    if args.content {
        options = options.content();
    }
    let progress = ProgressLine::new(out);
    let verified = warden.verify(&options, &progress.context());
    progress.clear();
    let report = verified?;
    if out.json {
        print_json(&report, out)?;
    } else {
        print(&report, out)?;
    }
    Ok(Outcome::complete_if(report.differences_total == 0 && report.errors == 0))
}

fn print_json(report: &VerifyReport, out: &mut Out) -> io::Result<()> {
    out.object(&VerifyLine {
        checked: report.checked,
        differences_total: report.differences_total,
        errors: report.errors,
        differences: report.differences.iter().map(part).collect(),
        first_errors: report.first_errors.iter().map(|error| ErrorPart::new(None, error)).collect(),
    })
}

fn part(difference: &Difference) -> DifferencePart<'_> {
    let (root, rest) = split(&difference.path);
    let (path, path_b64) = json::path(rest);
    DifferencePart { root: String::from_utf8_lossy(root), path, what: name(&difference.what), path_b64 }
}

fn print(report: &VerifyReport, out: &mut Out) -> io::Result<()> {
    for difference in &report.differences {
        writeln!(out, "{:<10}  {}", name(&difference.what), escape(&difference.path))?;
    }
    let listed = report.differences.len() as u64;
    if report.differences_total > listed {
        writeln!(out, "... and {} more", count(report.differences_total - listed))?;
    }
    for error in &report.first_errors {
        writeln!(out, "unreadable  {}  {}", escape(&error.path), printable(&error.message))?;
    }
    let checked = counted(report.checked, "entry", "entries");
    if report.differences_total == 0 && report.errors == 0 {
        return writeln!(out, "{checked} checked, all as recorded");
    }
    let differences = counted(report.differences_total, "difference", "differences");
    writeln!(out, "{checked} checked, {differences}, {} unreadable", count(report.errors))
}

fn name(kind: &DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Missing => "missing",
        DifferenceKind::Unknown => "unknown",
        DifferenceKind::Changed => "changed",
        DifferenceKind::Corrupt => "corrupt",
    }
}
