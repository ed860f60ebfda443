//! Pipelines: what is still to be done about each file, handed out as jobs.
//!
//! Invariant: every call of a pipeline or job that may take one of the engine's locks is made detached from the
//! interpreter. A group function in Python runs behind such a lock, and attaches to the interpreter in there.

mod attrs;
mod group;
mod job;
mod jobs;
mod lists;
mod options;
mod pipeline;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use treewarden::{ErrorKind, PipelineOptions, Status, Warden};

use crate::errors::OrRaise;
use crate::event_types;
use crate::handle::Handle;

pub(crate) use attrs::JobAttrs;
pub(crate) use group::refuse as refuse_group_functions;
pub(crate) use job::Job;
pub(crate) use lists::{ItemList, JobList};
pub(crate) use options::shown as options_of;
pub(crate) use pipeline::Pipeline;

/// Opens the pipeline of a name: with options under these, without any as it was made. One that there is not is
/// made.
///
/// # Errors
///
/// `TypeError` for an unknown option, and as `Warden::pipeline` and `Warden::pipeline_with`.
pub(crate) fn pipeline(
    py: Python<'_>,
    handle: &Handle,
    name: &str,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Pipeline> {
    let warden = handle.get(py)?;
    group::refuse(py)?;
    let opened = match options.filter(|options| !options.is_empty()) {
        Some(options) => {
            let options = options::read(options)?;
            group::outside(py, || warden.pipeline_with(name, &options))
        }
        None => group::outside(py, || open_or_make(&warden, name)),
    };
    Ok(Pipeline::of(opened.or_raise(py)?, handle))
}

fn open_or_make(warden: &Warden, name: &str) -> treewarden::Result<treewarden::Pipeline> {
    match warden.pipeline(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            warden.pipeline_with(name, &PipelineOptions::new())
        }
        opened => opened,
    }
}

/// The pipelines by name.
pub(crate) fn pipelines(py: Python<'_>, handle: &Handle) -> PyResult<Vec<Py<PyAny>>> {
    group::refuse(py)?;
    let pipelines = handle.run(py, Warden::pipelines)?;
    pipelines.iter().map(|info| event_types::pipeline_info(py, info)).collect()
}

/// Removes a pipeline with all that it knows of its items.
///
/// # Errors
///
/// `NotFoundError` when there is none.
pub(crate) fn remove_pipeline(py: Python<'_>, handle: &Handle, name: &str) -> PyResult<()> {
    group::refuse(py)?;
    handle.run(py, |warden| warden.remove_pipeline(name))
}

/// The state of the engine, for which every open pipeline is asked how it stands.
pub(crate) fn status(py: Python<'_>, handle: &Handle) -> PyResult<Status> {
    let warden = handle.get(py)?;
    group::refuse(py)?;
    group::outside(py, move || warden.status()).or_raise(py)
}

/// Writes to the log of the package, `logging.getLogger("treewarden")`.
fn log(py: Python<'_>, level: &str, message: &str, exception: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let fields = PyDict::new(py);
    fields.set_item(intern!(py, "exc_info"), exception)?;
    let logger = py.import(intern!(py, "logging"))?.call_method1("getLogger", ("treewarden",))?;
    // Without arguments: the message is not taken for a format.
    logger.call_method(level, (message,), Some(&fields))?;
    Ok(())
}
