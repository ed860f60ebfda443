//! Results of the engine as the dataclasses of `treewarden._types`, one function for each.
//!
//! A dataclass is made with keyword arguments that have the names of the fields in Rust, with these exceptions:
//! a path or address in bytes gets `_bytes` at its end, the directory of a root and the path of the state file are
//! `fs_path`, and of a root's state each part is a field of its own. Enums are their words, hashes 32 hex digits.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyString};
use treewarden::{
    CompactReport, Counts, Difference, DiskView, Explanation, Held, LiveStatus, Operation, PipelineStatus,
    Progress, RebuildReport, Report, RootInfo, RootLive, RootState, ScanError, Status, Timings, Totals,
    VerifyReport,
};

use crate::convert::{self, CONTENT_HASHES, DURABILITIES};
use crate::entry::Entry;

/// Makes a dataclass: `dataclass!(py, "Totals", files: totals.files, …)`.
macro_rules! dataclass {
    ($py:expr, $class:literal, $($field:ident : $value:expr),+ $(,)?) => {{
        let fields = pyo3::types::PyDict::new($py);
        $(pyo3::types::PyDictMethods::set_item(
            &fields,
            pyo3::intern!($py, stringify!($field)),
            $value,
        )?;)+
        $crate::types::build($py, $class, &fields)
    }};
}
pub(crate) use dataclass;

/// Makes an object of a class of `treewarden._types`.
pub(crate) fn build(py: Python<'_>, class: &str, fields: &Bound<'_, PyDict>) -> PyResult<Py<PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("treewarden._types").map(Bound::unbind))?;
    Ok(module.bind(py).getattr(class)?.call((), Some(fields))?.unbind())
}

/// One object for each item.
pub(crate) fn each<T>(
    py: Python<'_>,
    items: &[T],
    make: impl Fn(Python<'_>, &T) -> PyResult<Py<PyAny>>,
) -> PyResult<Vec<Py<PyAny>>> {
    items.iter().map(|item| make(py, item)).collect()
}

fn some<T>(
    py: Python<'_>,
    item: Option<&T>,
    make: impl Fn(Python<'_>, &T) -> PyResult<Py<PyAny>>,
) -> PyResult<Option<Py<PyAny>>> {
    item.map(|item| make(py, item)).transpose()
}

fn fs_path<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyString>> {
    convert::decode_path(py, path.as_os_str().as_bytes())
}

/// A `Totals`.
pub(crate) fn totals(py: Python<'_>, totals: &Totals) -> PyResult<Py<PyAny>> {
    let Totals { files, dirs, bytes } = *totals;
    dataclass!(py, "Totals", files: files, dirs: dirs, bytes: bytes)
}

/// A `Counts`.
pub(crate) fn counts(py: Python<'_>, counts: &Counts) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Counts",
        added: counts.added,
        modified: counts.modified,
        moved: counts.moved,
        missing: counts.missing,
        restored: counts.restored,
        forgotten: counts.forgotten,
        errors: counts.errors,
    )
}

/// A `ScanError`.
pub(crate) fn scan_error(py: Python<'_>, error: &ScanError) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "ScanError",
        path_bytes: PyBytes::new(py, &error.path),
        kind: error.kind.name(),
        message: &error.message,
    )
}

/// A `Held`.
pub(crate) fn held(py: Python<'_>, held: &Held) -> PyResult<Py<PyAny>> {
    dataclass!(py, "Held", missing: held.missing, of: held.of)
}

/// A `Timings`.
pub(crate) fn timings(py: Python<'_>, timings: &Timings) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Timings",
        walk_ms: timings.walk_ms,
        hash_ms: timings.hash_ms,
        commit_ms: timings.commit_ms,
    )
}

/// A `Report`.
pub(crate) fn report(py: Python<'_>, report: &Report) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Report",
        root: &report.root,
        mode: report.mode.name(),
        seq: report.seq,
        added: report.added,
        modified: report.modified,
        moved: report.moved,
        missing: report.missing,
        restored: report.restored,
        forgotten: report.forgotten,
        unchanged: report.unchanged,
        dirs: report.dirs,
        files: report.files,
        bytes: report.bytes,
        special: report.special,
        errors: report.errors,
        first_errors: each(py, &report.first_errors, scan_error)?,
        corrupt: report.corrupt,
        held: some(py, report.held.as_ref(), held)?,
        unavailable: report.unavailable.as_deref(),
        cancelled: report.cancelled,
        published: report.published,
        elapsed_ms: report.elapsed_ms,
        timings: timings(py, &report.timings)?,
        is_clean: report.is_clean(),
        is_unchanged: report.is_unchanged(),
    )
}

/// A `Progress`.
pub(crate) fn progress(py: Python<'_>, progress: &Progress) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Progress",
        root: &progress.root,
        phase: progress.phase.name(),
        dirs: progress.dirs,
        files: progress.files,
        bytes: progress.bytes,
        estimate_files: progress.estimate_files,
        files_per_s: progress.files_per_s,
        eta_ms: progress.eta_ms,
    )
}

/// A `RootInfo`.
pub(crate) fn root_info(py: Python<'_>, root: &RootInfo) -> PyResult<Py<PyAny>> {
    let (state, reason, held) = match &root.state {
        RootState::New => ("new", None, None),
        RootState::Ready => ("ready", None, None),
        RootState::Unavailable { reason } => ("unavailable", Some(reason.as_str()), None),
        RootState::Held { missing, of } => ("held", None, Some((*missing, *of))),
    };
    dataclass!(
        py,
        "RootInfo",
        name: &root.name,
        fs_path: fs_path(py, &root.path)?,
        id: root.id,
        content_hash: convert::word_of(root.content_hash, CONTENT_HASHES),
        ignore: &root.ignore,
        compare: root.compare.name(),
        compare_asked: root.compare_asked.name(),
        fs_type: &root.fs_type,
        state: state,
        last_scan_ns: root.last_scan_ns,
        totals: totals(py, &root.totals)?,
        reason: reason,
        held_missing: held.map(|(missing, _)| missing),
        held_of: held.map(|(_, of)| of),
    )
}

/// An `Operation`.
pub(crate) fn operation(py: Python<'_>, operation: &Operation) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Operation",
        id: operation.id,
        kind: operation.kind.name(),
        root: &operation.root,
        start_ns: operation.start_ns,
        end_ns: operation.end_ns,
        seq: operation.seq,
        counts: counts(py, &operation.counts)?,
        status: operation.status.name(),
        error: operation.error.as_deref(),
    )
}

/// A `LiveStatus`.
pub(crate) fn live_status(py: Python<'_>, live: &LiveStatus) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "LiveStatus",
        paused: live.paused,
        backend: live.backend,
        roots: each(py, &live.roots, root_live)?,
    )
}

/// A `RootLive`.
pub(crate) fn root_live(py: Python<'_>, root: &RootLive) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "RootLive",
        root: &root.root,
        mode: root.mode,
        coverage: root.coverage.name(),
        reason: root.reason.as_deref(),
        coherent: root.coherent,
        watched_dirs: root.watched_dirs,
        uncovered_dirs: root.uncovered_dirs,
        pending: root.pending,
        events: root.events,
        overflows: root.overflows,
        scanning: root.scanning,
        next_quick_ns: root.next_quick_ns,
        next_full_ns: root.next_full_ns,
        next_reconcile_ns: root.next_reconcile_ns,
    )
}

/// A `PipelineStatus`.
pub(crate) fn pipeline_status(py: Python<'_>, pipeline: &PipelineStatus) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "PipelineStatus",
        name: &pipeline.name,
        new: pipeline.new,
        changed: pipeline.changed,
        stale: pipeline.stale,
        error: pipeline.error,
        missing: pipeline.missing,
        processing: pipeline.processing,
        indexed: pipeline.indexed,
        dead: pipeline.dead,
        requested: pipeline.requested,
        oldest_due_ms: pipeline.oldest_due_ms,
        next_due_ns: pipeline.next_due_ns,
        done_per_minute: pipeline.done_per_minute,
    )
}

/// A `Status`.
pub(crate) fn status(py: Python<'_>, status: &Status) -> PyResult<Py<PyAny>> {
    let cursors = status.cursors.iter().map(|(name, seq)| (name, *seq)).into_py_dict(py)?;
    dataclass!(
        py,
        "Status",
        fs_path: fs_path(py, &status.path)?,
        database_id: &status.database_id,
        format_version: status.format_version,
        seq: status.seq,
        file_bytes: status.file_bytes,
        journal_first_seq: status.journal_first_seq,
        journal_last_seq: status.journal_last_seq,
        roots: each(py, &status.roots, root_info)?,
        totals: totals(py, &status.totals)?,
        missing: status.missing,
        durability: convert::word_of(status.durability, DURABILITIES),
        cursors: cursors,
        live: some(py, status.live.as_ref(), live_status)?,
        pipelines: each(py, &status.pipelines, pipeline_status)?,
    )
}

/// A `DiskView`.
pub(crate) fn disk_view(py: Python<'_>, view: &DiskView) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "DiskView",
        kind: view.kind,
        size: view.size,
        mtime_ns: view.mtime_ns,
        ctime_ns: view.ctime_ns,
        inode: view.inode,
        mode: view.mode,
    )
}

/// An `Explanation`.
pub(crate) fn explanation(py: Python<'_>, told: &Explanation) -> PyResult<Py<PyAny>> {
    let entry = |entry: &Option<treewarden::Entry>| entry.clone().map(Entry::from);
    let attrs = told.attrs.iter().map(|(name, bytes)| (name, *bytes)).into_py_dict(py)?;
    dataclass!(
        py,
        "Explanation",
        address_bytes: PyBytes::new(py, &told.address),
        root: some(py, told.root.as_ref(), root_info)?,
        entry: entry(&told.entry),
        missing: entry(&told.missing),
        on_disk: some(py, told.on_disk.as_ref(), disk_view)?,
        ignored_by: told.ignored_by.as_deref(),
        attrs: attrs,
        verdict: &told.verdict,
        reasons: &told.reasons,
    )
}

/// A `VerifyReport`.
pub(crate) fn verify_report(py: Python<'_>, report: &VerifyReport) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "VerifyReport",
        checked: report.checked,
        differences: each(py, &report.differences, difference)?,
        differences_total: report.differences_total,
        errors: report.errors,
        first_errors: each(py, &report.first_errors, scan_error)?,
    )
}

/// A `Difference`.
pub(crate) fn difference(py: Python<'_>, difference: &Difference) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Difference",
        path_bytes: PyBytes::new(py, &difference.path),
        what: difference.what.name(),
    )
}

/// A `CompactReport`.
pub(crate) fn compact_report(py: Python<'_>, report: &CompactReport) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "CompactReport",
        before_bytes: report.before_bytes,
        after_bytes: report.after_bytes,
    )
}

/// A `RebuildReport`.
pub(crate) fn rebuild_report(py: Python<'_>, report: &RebuildReport) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "RebuildReport",
        roots: report.roots,
        entries: report.entries,
        lost_rows: report.lost_rows,
        spaces_rows: report.spaces_rows,
        kept_as: fs_path(py, &report.kept_as)?,
    )
}
