//! Scans a directory into a state file and prints what changed since the last run.
//!
//! ```text
//! cargo run --release -p treewarden --example what_changed -- ~/Music music.tw
//! ```
//!
//! The place in the journal is a named cursor. It advances only after the changes are printed, so a
//! run that is killed half-way is told the same changes again.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};

use treewarden::{Change, Cursor, ErrorKind, Report, Warden, escape};

/// The first part of every address, `tree/relative/path`.
const ROOT: &str = "tree";
/// Changes to take up at once; a commit is never cut in two, so it may be more.
const CHANGES_AT_ONCE: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(state)) = (args.next(), args.next()) else {
        return Err("usage: what_changed DIR STATE_FILE".into());
    };
    let warden = Warden::open(&state)?;
    register(&warden, &dir)?;
    explain(&warden.scan(ROOT)?);

    let cursor = warden.cursor("what_changed")?;
    loop {
        let delivery = match cursor.read(CHANGES_AT_ONCE) {
            Ok(delivery) => delivery,
            Err(error) if error.kind() == ErrorKind::Reset => {
                start_over(&warden, &cursor)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // An acknowledgement is a commit: nothing new, nothing to acknowledge.
        if delivery.changes().is_empty() {
            break;
        }
        delivery.changes().iter().for_each(print);
        delivery.ack()?;
    }
    warden.close()?;
    Ok(())
}

/// Makes `dir` the root of this state file, unless it is that already.
fn register(warden: &Warden, dir: &Path) -> Result<(), Box<dyn Error>> {
    let Some(root) = warden.roots().into_iter().find(|root| root.name == ROOT) else {
        warden.add_root(ROOT, dir)?;
        return Ok(());
    };
    // A directory that cannot be found may be on a disk that is not mounted: the scan will say so.
    match dir.canonicalize() {
        Ok(real) if real != root.path => {
            Err(format!("this state file is about `{}`", escape_path(&root.path)).into())
        }
        _ => Ok(()),
    }
}

/// Says what kept the scan from being complete. What is known stays as it was there.
fn explain(report: &Report) {
    if let Some(reason) = &report.unavailable {
        println!("unavailable  {reason}");
    }
    if let Some(held) = report.held {
        println!("held         {} of {} files are not there; nothing was changed", held.missing, held.of);
    }
    for error in &report.first_errors {
        println!("unreadable   {}", error.message);
    }
}

/// The journal no longer reaches back to the cursor: everything that is there is news.
fn start_over(warden: &Warden, cursor: &Cursor) -> Result<(), treewarden::Error> {
    let snapshot = warden.snapshot();
    for entry in snapshot.files(ROOT) {
        println!("present      {}", escape(&entry.path()));
    }
    cursor.advance(snapshot.seq())?;
    Ok(())
}

fn print(change: &Change) {
    let kind = change.kind.name();
    let path = escape(&change.path);
    match &change.from {
        Some(from) => println!("{kind:<12} {} -> {path}", escape(from)),
        None => println!("{kind:<12} {path}"),
    }
}

fn escape_path(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}
