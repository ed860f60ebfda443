//! `treewarden compact` and `treewarden rebuild`: care for the state file itself.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;
use treewarden::Warden;

use crate::address::os_bytes;
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::output::Out;
use crate::state::StateFile;
use crate::text::{self, counted, size};

#[derive(Serialize)]
struct CompactLine {
    before_bytes: u64,
    after_bytes: u64,
}

pub(crate) fn compact(state: &StateFile, out: &mut Out) -> Result<Outcome, Failure> {
    let report = state.open()?.compact()?;
    if out.json {
        out.object(&CompactLine { before_bytes: report.before_bytes, after_bytes: report.after_bytes })?;
    } else {
        writeln!(
            out,
            "{}: {} before, {} now",
            text::path(state.path()),
            size(report.before_bytes),
            size(report.after_bytes)
        )?;
    }
    Ok(Outcome::Complete)
}

#[derive(Serialize)]
struct RebuildLine<'a> {
    roots: u64,
    entries: u64,
    lost_rows: u64,
    spaces_rows: u64,
    kept_as: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_as_b64: Option<String>,
}

/// Ends as incomplete when something could not be salvaged.
pub(crate) fn rebuild(state: &StateFile, out: &mut Out) -> Result<Outcome, Failure> {
    let report = Warden::rebuild(state.path())?;
    if out.json {
        let (kept_as, kept_as_b64) = json::path(os_bytes(report.kept_as.as_os_str()));
        out.object(&RebuildLine {
            roots: report.roots,
            entries: report.entries,
            lost_rows: report.lost_rows,
            spaces_rows: report.spaces_rows,
            kept_as,
            kept_as_b64,
        })?;
    } else {
        writeln!(out, "{}", text::path(state.path()))?;
        out.sheet(&[
            (
                "saved",
                format!(
                    "{} with {}, and {} of programs",
                    counted(report.roots, "root", "roots"),
                    counted(report.entries, "entry", "entries"),
                    counted(report.spaces_rows, "value", "values")
                ),
            ),
            ("lost", counted(report.lost_rows, "row", "rows")),
            ("kept", format!("the file as it was: {}", text::path(&report.kept_as))),
            ("next", "treewarden scan finds on the disk what was lost of its files".to_owned()),
        ])?;
    }
    Ok(Outcome::complete_if(report.lost_rows == 0))
}
