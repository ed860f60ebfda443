//! Results of mirrors as the dataclasses of `treewarden._types`: one function for each, by the rules of `types.rs`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use treewarden::mirror::{
    AuditFinding, AuditReport, MirrorCounters, MirrorError, MirrorInfo, MirrorPlan, MirrorProgress,
    MirrorReport, MirrorStatus, MirrorStep, Target, UrlChange,
};

use crate::types::{self, dataclass};

/// A `MirrorInfo`.
pub(super) fn info(py: Python<'_>, info: &MirrorInfo) -> PyResult<Py<PyAny>> {
    let target = info.target.as_ref();
    dataclass!(
        py,
        "MirrorInfo",
        name: &info.name,
        address_bytes: PyBytes::new(py, info.options.address()),
        place: &info.place,
        target: target.map(ToString::to_string),
        endpoint: target.and_then(Target::get_endpoint),
        region: target.and_then(Target::get_region),
        public_url: target.and_then(Target::get_public_url),
    )
}

/// A `MirrorError`.
fn error(py: Python<'_>, error: &MirrorError) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "MirrorError",
        path_bytes: PyBytes::new(py, &error.path),
        key: error.key.as_deref(),
        message: &error.message,
        permanent: error.permanent,
    )
}

/// A `MirrorReport`.
pub(super) fn report(py: Python<'_>, report: &MirrorReport) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "MirrorReport",
        seq: report.seq,
        uploaded: report.uploaded,
        uploaded_bytes: report.uploaded_bytes,
        copied: report.copied,
        deleted: report.deleted,
        changed: report.changed,
        unsettled: report.unsettled,
        failed: report.failed,
        refused: report.refused,
        held: report.held,
        purged: report.purged,
        purges_waiting: report.purges_waiting,
        retries: report.retries,
        errors: types::each(py, &report.errors, error)?,
        elapsed_ms: report.elapsed_ms,
        is_complete: report.is_complete(),
    )
}

/// A `MirrorStep`: those of its fields that belong to the kind.
fn step(py: Python<'_>, step: &MirrorStep) -> PyResult<Py<PyAny>> {
    match step {
        MirrorStep::Upload { path, key, bytes } => dataclass!(
            py,
            "MirrorStep",
            kind: "upload",
            key: key,
            path_bytes: PyBytes::new(py, path),
            size: *bytes,
        ),
        MirrorStep::Copy { from, to } => dataclass!(py, "MirrorStep", kind: "copy", key: to, from_key: from),
        MirrorStep::Delete { key } => dataclass!(py, "MirrorStep", kind: "delete", key: key),
        // One that is newer than these bindings.
        _ => dataclass!(py, "MirrorStep", kind: "unknown", key: ""),
    }
}

/// A `MirrorPlan`.
pub(super) fn plan(py: Python<'_>, plan: &MirrorPlan) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "MirrorPlan",
        seq: plan.seq,
        steps: types::each(py, &plan.steps, step)?,
        uploads: plan.uploads,
        upload_bytes: plan.upload_bytes,
        copies: plan.copies,
        deletes: plan.deletes,
        held: plan.held,
        unsettled: plan.unsettled,
        refused: types::each(py, &plan.refused, error)?,
        refused_total: plan.refused_total,
    )
}

/// A `MirrorProgress`.
pub(super) fn progress(py: Python<'_>, progress: &MirrorProgress) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "MirrorProgress",
        done: progress.done,
        total: progress.total,
        bytes: progress.bytes,
        bytes_total: progress.bytes_total,
        bytes_per_s: progress.bytes_per_s,
        eta_ms: progress.eta_ms,
    )
}

/// A `MirrorCounters`.
fn counters(py: Python<'_>, counters: &MirrorCounters) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "MirrorCounters",
        runs: counters.runs,
        runs_failed: counters.runs_failed,
        uploaded: counters.uploaded,
        uploaded_bytes: counters.uploaded_bytes,
        copied: counters.copied,
        deleted: counters.deleted,
        failed: counters.failed,
        retries: counters.retries,
        purged: counters.purged,
        purge_failures: counters.purge_failures,
    )
}

/// A `MirrorStatus`.
pub(crate) fn status(py: Python<'_>, status: &MirrorStatus) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "MirrorStatus",
        name: &status.name,
        address_bytes: PyBytes::new(py, &status.address),
        place: &status.place,
        prefix: &status.prefix,
        running: status.running,
        following: status.following,
        objects: status.objects,
        object_bytes: status.object_bytes,
        unsure: status.unsure,
        pending: status.pending,
        oldest_pending_ns: status.oldest_pending_ns,
        held: status.held,
        purges_waiting: status.purges_waiting,
        oldest_purge_ns: status.oldest_purge_ns,
        last_seq: status.last_seq,
        last_run_ns: status.last_run_ns,
        last_error: status.last_error.as_deref(),
        counters: counters(py, &status.counters)?,
    )
}

/// An `AuditFinding`.
fn finding(py: Python<'_>, finding: &AuditFinding) -> PyResult<Py<PyAny>> {
    dataclass!(py, "AuditFinding", key: &finding.key, kind: finding.kind.name())
}

/// An `AuditReport`.
pub(super) fn audit(py: Python<'_>, report: &AuditReport) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "AuditReport",
        listed: report.listed,
        matched: report.matched,
        lost: report.lost,
        different: report.different,
        unknown: report.unknown,
        unsure: report.unsure,
        findings: types::each(py, &report.findings, finding)?,
        is_clean: report.is_clean(),
    )
}

/// A `UrlChange`.
pub(super) fn url_change(py: Python<'_>, change: &UrlChange) -> PyResult<Py<PyAny>> {
    let (kind, path, url) = match change {
        UrlChange::Added { path, url } => ("added", path.as_slice(), url.as_str()),
        UrlChange::Modified { path, url } => ("modified", path.as_slice(), url.as_str()),
        UrlChange::Removed { path, url } => ("removed", path.as_slice(), url.as_str()),
        // One that is newer than these bindings.
        _ => ("unknown", &b""[..], ""),
    };
    dataclass!(py, "UrlChange", kind: kind, path_bytes: PyBytes::new(py, path), url: url)
}
