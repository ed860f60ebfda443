//! `treewarden explain`: all that is known about one path, and why.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};

use serde::Serialize;
use treewarden::{EntryRef, Explanation, escape};

use crate::address::{self, relative};
use crate::failure::{Failure, Outcome};
use crate::json::{self, EntryLine};
use crate::output::Out;
use crate::state::StateFile;
use crate::text::{counted, date, printable};

#[derive(Serialize)]
struct ExplainLine<'a> {
    /// Null when the address lies in no root; `path` is then the whole address.
    root: Option<&'a str>,
    path: Cow<'a, str>,
    verdict: &'a str,
    reasons: &'a [String],
    entry: Option<EntryLine<'a>>,
    missing: Option<EntryLine<'a>>,
    on_disk: Option<DiskPart>,
    ignored_by: Option<&'a str>,
    /// Name and size in bytes of each attribute.
    attrs: BTreeMap<&'a str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

#[derive(Serialize)]
struct DiskPart {
    kind: &'static str,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    mode: u32,
}

/// What the state holds under the address.
struct Known<'s> {
    entry: Option<EntryRef<'s>>,
    missing: Option<EntryRef<'s>>,
}

pub(crate) fn run(state: &StateFile, argument: &OsStr, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let address = address::typed(Some(argument));
    let explanation = warden.explain(&address)?;
    let snapshot = warden.snapshot();
    let known = Known { entry: snapshot.get(&address), missing: snapshot.get_missing(&address) };
    if out.json {
        print_json(&address, &explanation, &known, out)?;
    } else {
        print(&address, &explanation, &known, out)?;
    }
    Ok(Outcome::Complete)
}

fn print_json(address: &[u8], explanation: &Explanation, known: &Known<'_>, out: &mut Out) -> io::Result<()> {
    let root = explanation.root.as_ref().map(|root| root.name.as_str());
    let (path, path_b64) = json::path(root.map_or(address, |root| relative(root, address)));
    out.object(&ExplainLine {
        root,
        path,
        verdict: &explanation.verdict,
        reasons: &explanation.reasons,
        entry: known.entry.as_ref().map(|entry| EntryLine::new(entry, address)),
        missing: known.missing.as_ref().map(|entry| EntryLine::new(entry, address)),
        on_disk: disk_part(explanation),
        ignored_by: explanation.ignored_by.as_deref(),
        attrs: explanation.attrs.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect(),
        path_b64,
    })
}

fn disk_part(explanation: &Explanation) -> Option<DiskPart> {
    explanation.on_disk.as_ref().map(|disk| DiskPart {
        kind: disk.kind,
        size: disk.size,
        mtime_ns: disk.mtime_ns,
        ctime_ns: disk.ctime_ns,
        inode: disk.inode,
        mode: disk.mode,
    })
}

fn print(address: &[u8], explanation: &Explanation, known: &Known<'_>, out: &mut Out) -> io::Result<()> {
    writeln!(out, "{}", escape(address))?;
    let mut lines = vec![("verdict", printable(&explanation.verdict))];
    for reason in &explanation.reasons {
        lines.push(("", format!("- {}", printable(reason))));
    }
    match (&known.entry, &known.missing) {
        (Some(entry), _) => lines.extend(recorded("recorded", entry)),
        (None, Some(entry)) => lines.extend(recorded("missing", entry)),
        (None, None) => lines.push(("recorded", "nothing".to_owned())),
    }
    lines.push((
        "on disk",
        disk_part(explanation).map_or_else(|| "nothing".to_owned(), |disk| fingerprint(&disk)),
    ));
    if let Some(pattern) = &explanation.ignored_by {
        lines.push(("ignored by", printable(pattern)));
    }
    for (name, bytes) in &explanation.attrs {
        lines.push(("attribute", format!("{}, {}", printable(name), counted(*bytes, "byte", "bytes"))));
    }
    out.sheet(&lines)
}

fn recorded(label: &'static str, entry: &EntryRef<'_>) -> Vec<(&'static str, String)> {
    let seen = DiskPart {
        kind: entry.kind().name(),
        size: entry.size(),
        mtime_ns: entry.mtime_ns(),
        ctime_ns: entry.ctime_ns(),
        inode: entry.inode(),
        mode: entry.mode(),
    };
    let mut lines = vec![
        (label, fingerprint(&seen)),
        ("", format!("id {}, last changed at seq {}", entry.id(), entry.seq())),
    ];
    if let Some(since_ns) = entry.missing_since_ns() {
        lines.push(("", format!("missing since {}", date(since_ns))));
    }
    if let Some(hash) = entry.hash() {
        lines.push(("", format!("content hash {hash:032x}")));
    }
    if let Some(target) = entry.target() {
        lines.push(("", format!("symlink to {}", escape(target))));
    }
    if entry.is_racy() {
        lines.push(("", "seen while it was still being written: the next scan looks closer".to_owned()));
    }
    lines
}

fn fingerprint(seen: &DiskPart) -> String {
    format!(
        "{}, {}, modified {}, changed {}, inode {}, mode {:04o}",
        seen.kind,
        counted(seen.size, "byte", "bytes"),
        date(seen.mtime_ns),
        date(seen.ctime_ns),
        seen.inode,
        seen.mode & 0o7777
    )
}
