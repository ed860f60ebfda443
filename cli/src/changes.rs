//! `treewarden changes`: the journal after a seq, oldest first, and on request what comes after it.
//! Files and symlinks only.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use treewarden::{Change, WatchOptions, escape};

use crate::address::{relative, split};
use crate::args::ChangesArgs;
use crate::failure::{Failure, Outcome};
use crate::follow::{self, Course};
use crate::json;
use crate::output::Out;
use crate::state::StateFile;

#[derive(Serialize)]
struct ChangeLine<'a> {
    seq: u64,
    root: &'a str,
    kind: &'static str,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Cow<'a, str>>,
    /// Only where `from` lies in another root; `from` is then a full address.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_root: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_b64: Option<String>,
}

pub(crate) fn run(state: &StateFile, args: &ChangesArgs, out: &mut Out) -> Result<Outcome, Failure> {
    if args.follow {
        return follow_all(state, args.since, out);
    }
    let warden = state.open_to_read()?;
    for change in warden.changes(args.since.unwrap_or(0)).map_err(with_restart)?.files_only() {
        print(&change.map_err(with_restart)?, out)?;
    }
    Ok(Outcome::Complete)
}

/// The journal, then all roots watched. Without `since` only what comes.
fn follow_all(state: &StateFile, since: Option<u64>, out: &mut Out) -> Result<Outcome, Failure> {
    out.converse();
    let warden = state.open()?;
    if warden.roots().is_empty() {
        return Err(Failure::new("there are no roots to follow")
            .with_hint("`treewarden watch DIR` makes a root of DIR and follows it"));
    }
    let since = since.unwrap_or_else(|| warden.seq());
    // A place that the journal does not know is an error here; later it is only told.
    drop(warden.changes(since).map_err(with_restart)?);
    let course = Course { since, scope: None, options: WatchOptions::new(), config: None };
    follow::run(warden, course, out)
}

/// A reader that is too late is told how to start again, never left with a hole.
fn with_restart(error: treewarden::Error) -> Failure {
    let restart = error.restart_seq();
    let failure = Failure::from(error);
    match restart {
        Some(seq) => failure.with_hint(format!(
            "read the whole state with `treewarden ls`, then go on with `treewarden changes --since {seq}`"
        )),
        None => failure,
    }
}

/// Prints one change, as `changes` and everything that follows it does.
pub(crate) fn print(change: &Change, out: &mut Out) -> io::Result<()> {
    if out.json { print_json(change, out) } else { print_line(change, out) }
}

fn print_json(change: &Change, out: &mut Out) -> io::Result<()> {
    let root = change.root.as_str();
    let (path, path_b64) = json::path(relative(root, &change.path));
    let from = change.from.as_deref();
    let (from_text, from_b64) = from.map(|from| json::path(relative(root, from))).unzip();
    let from_root = from.map(|from| split(from).0).filter(|name| *name != root.as_bytes());
    out.object(&ChangeLine {
        seq: change.seq,
        root,
        kind: change.kind.name(),
        path,
        from: from_text,
        from_root: from_root.map(String::from_utf8_lossy),
        path_b64,
        from_b64: from_b64.flatten(),
    })
}

fn print_line(change: &Change, out: &mut Out) -> io::Result<()> {
    let (seq, kind) = (change.seq, change.kind.name());
    write!(out, "{seq:>8}  {kind:<9}  ")?;
    if let Some(from) = &change.from {
        write!(out, "{} -> ", escape(from))?;
    }
    writeln!(out, "{}", escape(&change.path))
}
