//! `treewarden ls`: what the state knows, in path order. Looks at no disk.

use std::io::{self, Write};

use serde::Serialize;
use treewarden::{EntryRef, Filter, WorkState, escape};

use crate::address;
use crate::args::LsArgs;
use crate::failure::{Failure, Outcome};
use crate::json::EntryLine;
use crate::output::Out;
use crate::state::StateFile;
use crate::text;
use crate::work::States;

/// An entry with its state in a pipeline.
#[derive(Serialize)]
struct StatedLine<'a> {
    #[serde(flatten)]
    entry: EntryLine<'a>,
    /// Null for what is not worked on.
    state: Option<&'static str>,
}

pub(crate) fn run(state: &StateFile, args: &LsArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let snapshot = warden.snapshot();
    let prefix = address::typed(args.prefix.as_deref());
    address::require_known(&warden, &snapshot, &prefix, args.missing)?;
    let filter = filter(args, &prefix)?;
    let states = args.pipeline.as_deref().map(|name| States::below(&warden, name, &prefix)).transpose()?;
    for entry in snapshot.select(&filter) {
        let address = entry.path();
        match &states {
            None => print(&entry, &address, args, out)?,
            Some(states) => print_stated(&entry, &address, states.of(&address)?, args, out)?,
        }
    }
    Ok(Outcome::Complete)
}

fn filter(args: &LsArgs, prefix: &[u8]) -> treewarden::Result<Filter> {
    let mut filter = Filter::new().under(prefix);
    if let Some(glob) = &args.glob {
        filter = filter.glob(glob)?;
    }
    if args.missing {
        filter = filter.missing();
    }
    if args.dirs {
        filter = filter.with_dirs();
    }
    Ok(filter)
}

fn print(entry: &EntryRef<'_>, address: &[u8], args: &LsArgs, out: &mut Out) -> io::Result<()> {
    if out.json {
        out.object(&EntryLine::new(entry, address))
    } else if args.print0 {
        out.write_all(address)?;
        out.write_all(b"\0")
    } else if args.long {
        print_long(entry, address, out)
    } else {
        writeln!(out, "{}", escape(address))
    }
}

fn print_stated(
    entry: &EntryRef<'_>,
    address: &[u8],
    state: Option<WorkState>,
    args: &LsArgs,
    out: &mut Out,
) -> io::Result<()> {
    let state = state.map(WorkState::name);
    if out.json {
        return out.object(&StatedLine { entry: EntryLine::new(entry, address), state });
    }
    write!(out, "{:<10}  ", state.unwrap_or("-"))?;
    print(entry, address, args, out)
}

fn print_long(entry: &EntryRef<'_>, address: &[u8], out: &mut Out) -> io::Result<()> {
    let (kind, size, date) = (entry.kind().name(), entry.size(), text::date(entry.mtime_ns()));
    // Columns of a fixed width: a listing of a million files is streamed.
    write!(out, "{kind:<7}  {size:>14}  {date}  {}", escape(address))?;
    if let Some(target) = entry.target() {
        write!(out, " -> {}", escape(target))?;
    }
    writeln!(out)
}
