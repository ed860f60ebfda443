//! Tables by the Arrow PyCapsule interface: for pyarrow, polars, pandas, DuckDB and whoever else reads it.
//! <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>

use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use treewarden::arrow::Table;

use crate::handle::drop_detached;

/// A capsule with the stream of a table.
///
/// The capsule points to an `ArrowArrayStream`. A consumer moves that out and marks what is left as released;
/// where none came, the end of the capsule releases it.
pub(crate) fn capsule(py: Python<'_>, table: Table) -> PyResult<Py<PyAny>> {
    let stream = table.into_stream();
    let capsule =
        PyCapsule::new_with_value_and_destructor(py, stream, c"arrow_array_stream", |stream, _| {
            drop_detached(stream);
        })?;
    Ok(capsule.into_any().unbind())
}
