//! `treewarden history`: the scans and live batches that were recorded, newest first.

use serde::Serialize;
use treewarden::Operation;

use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::state::StateFile;
use crate::text::{count, date, duration, printable};

#[derive(Serialize)]
struct OperationLine<'a> {
    id: u64,
    kind: &'static str,
    root: &'a str,
    start_ns: i64,
    end_ns: i64,
    seq: u64,
    added: u64,
    modified: u64,
    moved: u64,
    missing: u64,
    restored: u64,
    forgotten: u64,
    errors: u64,
    status: &'static str,
    error: Option<&'a str>,
}

pub(crate) fn run(state: &StateFile, limit: usize, out: &mut Out) -> Result<Outcome, Failure> {
    let operations = state.open_to_read()?.history(limit)?;
    if out.json {
        for operation in &operations {
            out.object(&line(operation))?;
        }
    } else {
        let rows: Vec<Vec<String>> = operations.iter().map(row).collect();
        out.table(0, &[4], &rows)?;
    }
    Ok(Outcome::Complete)
}

fn line(operation: &Operation) -> OperationLine<'_> {
    let counts = &operation.counts;
    OperationLine {
        id: operation.id,
        kind: operation.kind.name(),
        root: &operation.root,
        start_ns: operation.start_ns,
        end_ns: operation.end_ns,
        seq: operation.seq,
        added: counts.added,
        modified: counts.modified,
        moved: counts.moved,
        missing: counts.missing,
        restored: counts.restored,
        forgotten: counts.forgotten,
        errors: counts.errors,
        status: operation.status.name(),
        error: operation.error.as_deref(),
    }
}

/// When, what, where, how it ended, how long it took, what it found.
fn row(operation: &Operation) -> Vec<String> {
    // A clock that was set back in between must not give a negative time.
    let ms = u64::try_from(operation.end_ns.saturating_sub(operation.start_ns) / 1_000_000).unwrap_or(0);
    vec![
        date(operation.start_ns),
        operation.kind.name().to_owned(),
        printable(&operation.root),
        operation.status.name().to_owned(),
        duration(ms),
        findings(operation),
    ]
}

fn findings(operation: &Operation) -> String {
    let counts = &operation.counts;
    let kinds = [
        (counts.added, "added"),
        (counts.modified, "modified"),
        (counts.moved, "moved"),
        (counts.missing, "missing"),
        (counts.restored, "restored"),
        (counts.forgotten, "forgotten"),
        (counts.errors, "unreadable"),
    ];
    let mut found: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    if let Some(error) = &operation.error {
        found.push(printable(error));
    }
    if found.is_empty() { "nothing changed".to_owned() } else { found.join(", ") }
}
