//! `treewarden ls`: what the state knows, in path order. Looks at no disk.

use std::io::{self, Write};

use treewarden::{EntryRef, Filter, escape};

use crate::address;
use crate::args::LsArgs;
use crate::failure::{Failure, Outcome};
use crate::json::EntryLine;
use crate::output::Out;
use crate::state::StateFile;
use crate::text;

pub(crate) fn run(state: &StateFile, args: &LsArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let snapshot = warden.snapshot();
    let prefix = address::typed(args.prefix.as_deref());
    address::require_known(&warden, &snapshot, &prefix, args.missing)?;
    for entry in snapshot.select(&filter(args, &prefix)?) {
        print(&entry, args, out)?;
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

fn print(entry: &EntryRef<'_>, args: &LsArgs, out: &mut Out) -> io::Result<()> {
    let address = entry.path();
    if out.json {
        out.object(&EntryLine::new(entry, &address))
    } else if args.print0 {
        out.write_all(&address)?;
        out.write_all(b"\0")
    } else if args.long {
        print_long(entry, &address, out)
    } else {
        writeln!(out, "{}", escape(&address))
    }
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
