//! `treewarden export`: what the state knows, or what changed, as Parquet files, here or in a store. Looks at no
//! tree.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use treewarden::export::{self, Content, ExportOptions, ExportReport, StorageSink};
use treewarden::{Change, Filter, Warden};

use crate::address;
use crate::args::{AccessFlags, ExportArgs, StoreFlags};
use crate::failure::{Failure, Outcome};
use crate::mirror::credentials::Environment;
use crate::mirror::store::{reached, usage};
use crate::output::Out;
use crate::state::StateFile;
use crate::text::{self, counted, size};

#[derive(Serialize)]
struct ExportLine {
    rows: u64,
    bytes: u64,
    files: u64,
    seq: u64,
}

/// Where the files go.
enum Place<'a> {
    /// A file, or a directory of partitions.
    Here(&'a Path),
    /// A store, and the directory for the files until they are there.
    Store(StorageSink, PathBuf),
}

pub(crate) fn run(state: &StateFile, args: &ExportArgs, out: &mut Out) -> Result<Outcome, Failure> {
    // What makes no sense is found before anything is opened.
    let place = place(state, args, out)?;
    let warden = state.open_to_read()?;
    let options = options(args, &warden, matches!(place, Place::Store(..)))?;
    let prefix = address::typed(args.prefix.as_deref());
    let (report, seq) = if args.changes {
        of_changes(&warden, args, prefix, &options, place)?
    } else {
        of_entries(&warden, args, &prefix, &options, place)?
    };
    if out.json {
        let ExportReport { rows, bytes, files } = report;
        out.object(&ExportLine { rows, bytes, files, seq })?;
    } else {
        let rows = counted(report.rows, "row", "rows");
        let files = counted(report.files, "file", "files");
        writeln!(
            out,
            "{}: {rows} in {files}, {}, as of seq {seq}",
            text::path(&args.to),
            size(report.bytes)
        )?;
    }
    Ok(Outcome::Complete)
}

fn place<'a>(state: &StateFile, args: &'a ExportArgs, out: &Out) -> Result<Place<'a>, Failure> {
    let Some((target, prefix)) = export::store_of(&args.to).map_err(|error| usage(&error))? else {
        let has_words = args.staging.is_some()
            || args.store != StoreFlags::default()
            || args.access != AccessFlags::default();
        return if has_words {
            Err(Failure::usage(
                "'--staging', '--endpoint' and what else is said of a store need one in '--to'",
            )
            .with_hint("`--to s3://BUCKET/PREFIX` names a store"))
        } else {
            Ok(Place::Here(&args.to))
        };
    };
    if args.replace {
        return Err(Failure::usage("'--replace' cannot be used with a store: its parts are always replaced"));
    }
    if !args.partitioned && prefix.ends_with(".parquet") {
        return Err(Failure::usage("what goes to a store is partitioned, and '--to' names a file")
            .with_hint("leave the name of the file out; with '--partitioned' it is taken for a prefix"));
    }
    let environment = Environment::of_process();
    let target = reached(target, &args.store, args.access.profile.as_deref(), &environment, out)?;
    let credentials = environment.credentials(Some(&target), &args.access)?;
    let sink = StorageSink::connect(&target, &credentials, &prefix)?;
    let staging = match &args.staging {
        Some(dir) => dir.clone(),
        // A private one, most often: names of files are nobody else's business.
        None => match state.path().parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
            _ => PathBuf::from("."),
        },
    };
    Ok(Place::Store(sink, staging))
}

fn options(args: &ExportArgs, warden: &Warden, is_store: bool) -> Result<ExportOptions, Failure> {
    let mut options = ExportOptions::new().token(warden.token());
    match &args.host {
        Some(name) => options = options.host(name),
        None => match host_name() {
            Some(name) => options = options.host(name),
            None if args.partitioned || is_store => {
                return Err(
                    Failure::new("this system has no host name").with_hint("give one with --host NAME")
                );
            }
            None => {}
        },
    }
    if args.partitioned {
        options = options.partitioned();
    }
    if args.replace {
        options = options.replace();
    }
    Ok(options)
}

fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = String::from_utf8_lossy(system.nodename().to_bytes()).into_owned();
    // Linux calls a host so that was never given a name.
    (!name.is_empty() && name != "(none)").then_some(name)
}

fn of_entries(
    warden: &Warden,
    args: &ExportArgs,
    prefix: &[u8],
    options: &ExportOptions,
    place: Place<'_>,
) -> Result<(ExportReport, u64), Failure> {
    let snapshot = warden.snapshot();
    address::require_known(warden, &snapshot, prefix, args.missing)?;
    let mut filter = Filter::new().under(prefix);
    if let Some(glob) = &args.glob {
        filter = filter.glob(glob)?;
    }
    if args.missing {
        filter = filter.missing();
    }
    let report = match place {
        Place::Here(path) => export::snapshot(&snapshot, &filter, options, path),
        Place::Store(mut sink, staging) => {
            export::files(Content::Entries(&snapshot, &filter), options, &staging, &mut sink)
        }
    }?;
    Ok((report, snapshot.seq()))
}

/// Files and symlinks alone, as `treewarden changes` lists them.
fn of_changes(
    warden: &Warden,
    args: &ExportArgs,
    prefix: Vec<u8>,
    options: &ExportOptions,
    place: Place<'_>,
) -> Result<(ExportReport, u64), Failure> {
    // What is gone has changes, too.
    address::require_known(warden, &warden.snapshot(), &prefix, true)?;
    let changes = warden.changes(args.since.unwrap_or(0)).map_err(with_restart)?;
    let seq = changes.last_seq();
    let rows = changes.files_only().filter(move |change| match change {
        Ok(change) => touches(change, &prefix),
        Err(_) => true,
    });
    let report = match place {
        Place::Here(path) => export::changes(rows, seq, options, path),
        Place::Store(mut sink, staging) => {
            export::files(Content::Changes(Box::new(rows), seq), options, &staging, &mut sink)
        }
    };
    Ok((report.map_err(with_restart)?, seq))
}

/// Whether a change begins or ends at or below `prefix`.
fn touches(change: &Change, prefix: &[u8]) -> bool {
    let lies_below = |path: &[u8]| {
        prefix.is_empty()
            || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    lies_below(&change.path) || change.from.as_deref().is_some_and(lies_below)
}

/// Who comes too late for the journal is told how to start again, never left with a hole.
fn with_restart(error: treewarden::Error) -> Failure {
    let restart = error.restart_seq();
    let failure = Failure::from(error);
    match restart {
        Some(seq) => failure.with_hint(format!(
            "export the whole state without --changes, then go on with `--changes --since {seq}`"
        )),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use treewarden::{Change, ChangeKind, Kind};

    use super::touches;

    #[test]
    fn a_change_is_below_a_place_where_it_begins_or_ends_there() {
        let cases = [
            ("", "music/a", None, true),
            ("music", "music/a", None, true),
            ("music/a", "music/a", None, true),
            ("music/a", "music/ab", None, false),
            ("music/a", "music/b/c", Some("music/a/c"), true),
            ("music/b", "music/b/c", Some("music/a/c"), true),
            ("photos", "music/b/c", Some("music/a/c"), false),
        ];
        for (prefix, path, from, expected) in cases {
            let change = Change {
                seq: 1,
                root: "music".to_owned(),
                kind: ChangeKind::Moved,
                entry_kind: Kind::File,
                path: path.into(),
                from: from.map(Into::into),
                id: 1,
            };
            assert_eq!(touches(&change, prefix.as_bytes()), expected, "{prefix} {path} {from:?}");
        }
    }
}
