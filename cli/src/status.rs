//! `treewarden status`: the state file, its roots and its pipelines at a glance.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use treewarden::{Durability, RootInfo, Status};

use crate::address::os_bytes;
use crate::failure::{Failure, Outcome};
use crate::json::{self, RootLine, hash_name};
use crate::live::{self, LivePart};
use crate::output::Out;
use crate::root;
use crate::standing::{PipelineLine, Standing};
use crate::state::StateFile;
use crate::text::{self, count, counted, printable, size};

#[derive(Serialize)]
struct StatusLine<'a> {
    path: Cow<'a, str>,
    database_id: &'a str,
    format_version: u32,
    seq: u64,
    file_bytes: u64,
    journal_first_seq: u64,
    journal_last_seq: u64,
    files: u64,
    dirs: u64,
    bytes: u64,
    missing: u64,
    durability: &'static str,
    cursors: BTreeMap<&'a str, u64>,
    roots: Vec<RootLine<'a>>,
    pipelines: Vec<PipelineLine<'a>>,
    /// Only where this process watches.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<LivePart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

/// What a root or a pipeline is doing badly is told, but the exit code is 0: the status itself is complete.
pub(crate) fn run(state: &StateFile, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let status = warden.status()?;
    let pipelines = Standing::all(&warden)?;
    if out.json {
        print_json(&status, &pipelines, out)?;
    } else {
        print(&status, &pipelines, out)?;
    }
    Ok(Outcome::Complete)
}

fn print_json(status: &Status, pipelines: &[Standing], out: &mut Out) -> io::Result<()> {
    let (path, path_b64) = json::path(os_bytes(status.path.as_os_str()));
    out.object(&StatusLine {
        path,
        database_id: &status.database_id,
        format_version: status.format_version,
        seq: status.seq,
        file_bytes: status.file_bytes,
        journal_first_seq: status.journal_first_seq,
        journal_last_seq: status.journal_last_seq,
        files: status.totals.files,
        dirs: status.totals.dirs,
        bytes: status.totals.bytes,
        missing: status.missing,
        durability: durability(status.durability),
        cursors: status.cursors.iter().map(|(name, seq)| (name.as_str(), *seq)).collect(),
        roots: status.roots.iter().map(RootLine::new).collect(),
        pipelines: pipelines.iter().map(PipelineLine::new).collect(),
        live: status.live.as_ref().map(LivePart::new),
        path_b64,
    })
}

fn print(status: &Status, pipelines: &[Standing], out: &mut Out) -> io::Result<()> {
    let totals = &status.totals;
    writeln!(out, "{}", text::path(&status.path))?;
    let mut lines = vec![
        (
            "file",
            format!(
                "{}, format {}, {}",
                size(status.file_bytes),
                status.format_version,
                durability(status.durability)
            ),
        ),
        ("database", status.database_id.clone()),
        ("seq", format!("{}, changes kept since {}", status.seq, status.journal_first_seq)),
        (
            "entries",
            format!(
                "{} in {}, {}; {} missing",
                counted(totals.files, "file", "files"),
                counted(totals.dirs, "directory", "directories"),
                size(totals.bytes),
                count(status.missing)
            ),
        ),
    ];
    for (name, seq) in &status.cursors {
        lines.push(("cursor", format!("{} at {seq}", printable(name))));
    }
    out.sheet(&lines)?;
    print_roots(&status.roots, out)?;
    if !pipelines.is_empty() {
        writeln!(out, "\npipelines")?;
        let rows: Vec<Vec<String>> = pipelines.iter().map(Standing::row).collect();
        out.table(2, &[], &rows)?;
    }
    if let Some(live) = &status.live {
        writeln!(out)?;
        for line in live::lines(&LivePart::new(live)) {
            writeln!(out, "{}", printable(&line))?;
        }
    }
    Ok(())
}

fn print_roots(roots: &[RootInfo], out: &mut Out) -> io::Result<()> {
    if roots.is_empty() {
        return writeln!(out, "\nno roots yet: `treewarden scan DIR` makes one of DIR");
    }
    writeln!(out, "\nroots")?;
    let mut rows = root::rows(roots);
    for (row, root) in rows.iter_mut().zip(roots) {
        row.push(format!(
            "({}, compare {}, hash {})",
            printable(&root.fs_type),
            root.compare.name(),
            hash_name(root.content_hash)
        ));
    }
    out.table(2, &[2, 3], &rows)?;
    for root in roots {
        if let Some(trouble) = root::trouble(root) {
            writeln!(out, "  {}: {trouble}", printable(&root.name))?;
        }
    }
    Ok(())
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Durable => "durable",
        Durability::Relaxed => "relaxed",
    }
}
