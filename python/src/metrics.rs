//! The numbers of the whole engine at one moment, as the dataclasses of `treewarden._types`.

use pyo3::prelude::*;
use treewarden::{LastOperation, Metrics, PipelineMetrics, RootMetrics, RootState};

use crate::event_types;
use crate::handle::Handle;
use crate::mirror;
use crate::types::{self, dataclass};
use crate::work;

/// A `Metrics` of this moment.
///
/// # Errors
///
/// As `Warden::metrics`.
pub(crate) fn metrics(py: Python<'_>, handle: &Handle) -> PyResult<Py<PyAny>> {
    // Every open pipeline is asked how it stands.
    work::refuse_group_functions(py)?;
    let (metrics, page) = handle.run(py, |warden| {
        let metrics = warden.metrics()?;
        let page = metrics.to_prometheus();
        Ok((metrics, page))
    })?;
    of(py, &metrics, &page)
}

fn of(py: Python<'_>, metrics: &Metrics, page: &str) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "Metrics",
        uptime_ms: metrics.uptime_ms,
        seq: metrics.seq,
        state_file_bytes: metrics.state_file_bytes,
        journal_bytes: metrics.journal_bytes,
        journal_floor_seq: metrics.journal_floor_seq,
        roots: types::each(py, &metrics.roots, root)?,
        live: metrics.live.as_ref().map(|live| types::live_status(py, live)).transpose()?,
        pipelines: types::each(py, &metrics.pipelines, pipeline)?,
        mirrors: types::each(py, &metrics.mirrors, mirror::status)?,
        prometheus: page,
    )
}

/// A `RootMetrics`.
fn root(py: Python<'_>, root: &RootMetrics) -> PyResult<Py<PyAny>> {
    let state = match &root.state {
        RootState::New => "new",
        RootState::Ready => "ready",
        RootState::Unavailable { .. } => "unavailable",
        RootState::Held { .. } => "held",
    };
    dataclass!(
        py,
        "RootMetrics",
        name: &root.name,
        files: root.files,
        dirs: root.dirs,
        bytes: root.bytes,
        missing: root.missing,
        state: state,
        last_scan_ns: root.last_scan_ns,
        last_operation: root.last_operation.map(|last| operation(py, &last)).transpose()?,
    )
}

/// A `LastOperation`.
fn operation(py: Python<'_>, last: &LastOperation) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "LastOperation",
        kind: last.kind.name(),
        status: last.status.name(),
        end_ns: last.end_ns,
        duration_ns: last.duration_ns,
        errors: last.errors,
    )
}

/// A `PipelineMetrics`.
fn pipeline(py: Python<'_>, pipeline: &PipelineMetrics) -> PyResult<Py<PyAny>> {
    let limiter = pipeline.limiter.as_ref().map(|status| event_types::limiter_status(py, status));
    dataclass!(
        py,
        "PipelineMetrics",
        status: types::pipeline_status(py, &pipeline.status)?,
        limiter: limiter.transpose()?,
    )
}
