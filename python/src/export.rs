//! What the state knows, and what changed, as Parquet files, here or in a store.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use treewarden::export::{Content, ExportOptions, ExportReport, StorageSink};
use treewarden::{CancelToken, Change, Filter, Snapshot, Warden};

use crate::aside::aside;
use crate::change::Since;
use crate::convert::{Address, FsPath};
use crate::errors::{self, OrRaise};
use crate::handle::Handle;
use crate::mirror;
use crate::types::dataclass;

/// Where the files go.
enum Place {
    Here(FsPath),
    /// A store, and the directory for the files until they are there.
    Store(StorageSink, PathBuf),
}

impl Place {
    /// A file or directory, unless it is the address of a store. Files lie beside the state file until they are there.
    fn read(
        py: Python<'_>,
        handle: &Handle,
        path: FsPath,
        store: Option<&Bound<'_, PyDict>>,
        cancel: &CancelToken,
    ) -> PyResult<Self> {
        let Some((sink, staging)) = mirror::export_sink(py, &path.0, store)? else {
            return Ok(Self::Here(path));
        };
        let beside = || match handle.path().parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
            _ => Path::new(".").to_path_buf(),
        };
        Ok(Self::Store(sink.cancel(cancel.clone()), staging.unwrap_or_else(beside)))
    }

    fn write(self, content: Content<'_>, options: &ExportOptions) -> treewarden::Result<ExportReport> {
        use treewarden::export;
        match (self, content) {
            (Self::Store(mut sink, staging), content) => export::files(content, options, &staging, &mut sink),
            (Self::Here(path), Content::Entries(snapshot, filter)) => {
                export::snapshot(snapshot, filter, options, &path.0)
            }
            (Self::Here(path), Content::Changes(rows, seq)) => export::changes(rows, seq, options, &path.0),
        }
    }
}

/// How an export is made.
pub(crate) fn options(host: Option<String>, partitioned: bool, replace: bool) -> ExportOptions {
    let mut options = ExportOptions::new();
    if let Some(host) = host {
        options = options.host(host);
    }
    if partitioned {
        options = options.partitioned();
    }
    if replace {
        options = options.replace();
    }
    options
}

/// Exports the entries as they are now, or the changes after a place in the journal.
///
/// # Errors
///
/// `InvalidArgumentError` for a filter of entries where changes are asked for; as `Warden::changes`,
/// `mirror::export_sink`, `export::snapshot` and `export::files`.
pub(crate) fn export(
    py: Python<'_>,
    handle: &Handle,
    path: FsPath,
    prefix: Address,
    since: Option<Since>,
    glob: Option<&str>,
    missing: bool,
    options: ExportOptions,
    store: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let warden = handle.get(py)?;
    let options = options.token(warden.token());
    let cancel = CancelToken::new();
    let place = Place::read(py, handle, path, store, &cancel)?;
    let Some(since) = since else {
        let filter = filter(prefix, glob, missing).or_raise(py)?;
        return entries_to(py, warden.snapshot(), filter, options, place, &cancel);
    };
    if glob.is_some() || missing {
        let hint = "leave them out, or leave `since` out";
        return Err(errors::invalid_with_hint(py, "`glob` and `missing` choose entries, not changes", hint));
    }
    let done = aside(py, move || changes(&warden, since, &prefix.0, &options, place), drop);
    let (done, seq) = done.inspect_err(|_| cancel.cancel())?.or_raise(py)?;
    report(py, done, seq)
}

/// Exports the entries of a snapshot.
///
/// # Errors
///
/// As `export::snapshot`.
pub(crate) fn entries(
    py: Python<'_>,
    snapshot: Snapshot,
    filter: Filter,
    options: ExportOptions,
    path: FsPath,
) -> PyResult<Py<PyAny>> {
    entries_to(py, snapshot, filter, options, Place::Here(path), &CancelToken::new())
}

/// Ctrl-C ends what a store is sent.
fn entries_to(
    py: Python<'_>,
    snapshot: Snapshot,
    filter: Filter,
    options: ExportOptions,
    place: Place,
    cancel: &CancelToken,
) -> PyResult<Py<PyAny>> {
    let seq = snapshot.seq();
    let write = move || place.write(Content::Entries(&snapshot, &filter), &options);
    let done = aside(py, write, drop).inspect_err(|_| cancel.cancel())?;
    report(py, done.or_raise(py)?, seq)
}

/// Which entries are exported.
pub(crate) fn filter(prefix: Address, glob: Option<&str>, missing: bool) -> treewarden::Result<Filter> {
    let mut filter = Filter::new().under(prefix.0);
    if let Some(glob) = glob {
        filter = filter.glob(glob)?;
    }
    Ok(if missing { filter.missing() } else { filter })
}

fn changes(
    warden: &Warden,
    since: Since,
    prefix: &[u8],
    options: &ExportOptions,
    place: Place,
) -> treewarden::Result<(ExportReport, u64)> {
    let changes = match since {
        Since::Seq(seq) => warden.changes(seq),
        Since::Token(token) => warden.changes_since_token(&token),
    }?;
    let seq = changes.last_seq();
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix).to_vec();
    let rows = changes.files_only().filter(move |change| match change {
        Ok(change) => touches(change, &prefix),
        Err(_) => true,
    });
    Ok((place.write(Content::Changes(Box::new(rows), seq), options)?, seq))
}

/// Whether a change begins or ends at or below `prefix`.
fn touches(change: &Change, prefix: &[u8]) -> bool {
    let lies_below = |path: &[u8]| {
        let rest = path.strip_prefix(prefix);
        prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    lies_below(&change.path) || change.from.as_deref().is_some_and(lies_below)
}

/// An `ExportReport`.
fn report(py: Python<'_>, report: ExportReport, seq: u64) -> PyResult<Py<PyAny>> {
    let ExportReport { rows, bytes, files } = report;
    dataclass!(py, "ExportReport", rows: rows, bytes: bytes, files: files, seq: seq)
}
