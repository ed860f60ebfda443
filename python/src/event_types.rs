//! Events, and results of pipelines and rate limiters, as the dataclasses of `treewarden._types`: one function
//! for each, by the rules of `types.rs`.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use treewarden::{Event, LimiterStatus, PipelineInfo, Priority, RequestReport, WorkExplanation, WorkItem};

use crate::types::{self, dataclass};
use crate::work;

/// Sets fields of an event: `tell!(fields, root: root, …)`.
macro_rules! tell {
    ($fields:expr, $($field:ident : $value:expr),+ $(,)?) => {{
        let fields = &$fields;
        $(fields.set_item(intern!(fields.py(), stringify!($field)), $value)?;)+
    }};
}

/// An `Event`: those of its fields that belong to the kind.
pub(crate) fn event(py: Python<'_>, event: &Event) -> PyResult<Py<PyAny>> {
    let fields = PyDict::new(py);
    tell!(fields, name: event.name());
    match event {
        Event::ScanStarted { root, kind } => tell!(fields, root: root, kind: kind.name()),
        Event::ScanProgress { root, phase, dirs, files, bytes, estimate_files, eta_ms } => tell!(
            fields,
            root: root,
            phase: *phase,
            dirs: *dirs,
            files: *files,
            bytes: *bytes,
            estimate_files: *estimate_files,
            eta_ms: *eta_ms,
        ),
        Event::ScanFinished { root, kind, status, seq, counts, elapsed_ms } => tell!(
            fields,
            root: root,
            kind: kind.name(),
            status: status.name(),
            seq: *seq,
            counts: types::counts(py, counts)?,
            elapsed_ms: *elapsed_ms,
        ),
        Event::Committed { first_seq, last_seq, counts } => tell!(
            fields,
            first_seq: *first_seq,
            last_seq: *last_seq,
            counts: types::counts(py, counts)?,
        ),
        Event::RootUnavailable { root, reason } => tell!(fields, root: root, reason: reason),
        Event::RootBack { root } | Event::Overflow { root } | Event::Coherent { root } => {
            tell!(fields, root: root);
        }
        Event::RootHeld { root, missing, of } => {
            tell!(fields, root: root, missing: *missing, of: *of);
        }
        Event::CoverageChanged { root, coverage, reason } => {
            tell!(fields, root: root, coverage: coverage.name(), reason: reason.as_deref());
        }
        Event::Error { root, message } => tell!(fields, root: root.as_deref(), message: message),
        Event::Reset { restart_seq } => tell!(fields, restart_seq: *restart_seq),
        // One that is newer than these bindings: its name is all that is known here.
        _ => {}
    }
    types::build(py, "Event", &fields)
}

/// A `PipelineInfo`.
pub(crate) fn pipeline_info(py: Python<'_>, info: &PipelineInfo) -> PyResult<Py<PyAny>> {
    dataclass!(py, "PipelineInfo", name: &info.name, options: work::options_of(py, &info.options)?)
}

/// A `RequestReport`.
pub(crate) fn request_report(py: Python<'_>, report: &RequestReport) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "RequestReport",
        added: report.added,
        merged: report.merged,
        promoted: report.promoted,
        will_rerun: report.will_rerun,
    )
}

/// A `WorkItem`.
pub(crate) fn work_item(py: Python<'_>, item: &WorkItem) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "WorkItem",
        path_bytes: PyBytes::new(py, &item.path),
        state: item.state.name(),
        dead: item.dead,
    )
}

/// A `WorkExplanation`.
pub(crate) fn work_explanation(py: Python<'_>, told: &WorkExplanation) -> PyResult<Py<PyAny>> {
    let attrs = PyDict::new(py);
    for (name, value) in &told.attrs {
        attrs.set_item(name, PyBytes::new(py, value))?;
    }
    dataclass!(
        py,
        "WorkExplanation",
        path_bytes: PyBytes::new(py, &told.path),
        state: told.state.name(),
        priority: told.priority.name(),
        why: &told.why,
        due_ns: told.due_ns,
        attempts: told.attempts,
        last_error: told.last_error.as_deref(),
        dead: told.dead,
        done_ns: told.done_ns,
        refresh_at_ns: told.refresh_at_ns,
        lease: told.lease.as_ref().map(|(holder, until_ns)| (holder, *until_ns)),
        requested: told.requested.map(Priority::name),
        content_done: told.content_done.as_deref(),
        content_now: told.content_now.as_deref(),
        attrs: attrs,
    )
}

/// A `LimiterStatus`.
pub(crate) fn limiter_status(py: Python<'_>, status: &LimiterStatus) -> PyResult<Py<PyAny>> {
    dataclass!(
        py,
        "LimiterStatus",
        limit: status.limit,
        effective_limit: status.effective_limit,
        in_window: status.in_window,
        waiting: status.waiting,
        paused_until_ns: status.paused_until_ns,
        granted: status.granted,
        throttled: status.throttled,
        succeeded: status.succeeded,
    )
}
