//! The history: operations, newest first, as objects and as a table.

use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};
use treewarden::Operation;

use crate::arrow;
use crate::convert;
use crate::html;
use crate::types;

/// Operations, newest first. It is a table, too: ``polars.DataFrame(warden.history())``.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct History {
    operations: Vec<Operation>,
    /// The same as dataclasses. Nobody else ever sees this list.
    rows: Py<PyList>,
}

impl History {
    pub(crate) fn new(py: Python<'_>, operations: Vec<Operation>) -> PyResult<Self> {
        let rows = types::each(py, &operations, types::operation)?;
        Ok(Self { operations, rows: PyList::new(py, rows)?.unbind() })
    }

    fn shown(&self, py: Python<'_>) -> PyResult<Vec<Vec<String>>> {
        let row = |operation: &Operation| -> PyResult<Vec<String>> {
            let counts = &operation.counts;
            Ok(vec![
                operation.id.to_string(),
                convert::datetime(py, operation.start_ns)?.str()?.to_string(),
                operation.kind.name().to_owned(),
                operation.root.clone(),
                operation.status.name().to_owned(),
                counts.added.to_string(),
                counts.modified.to_string(),
                counts.moved.to_string(),
                counts.missing.to_string(),
                counts.restored.to_string(),
                operation.error.clone().unwrap_or_default(),
            ])
        };
        self.operations.iter().take(html::ROWS_MAX).map(row).collect()
    }
}

const HEADING: [&str; 11] =
    ["id", "start", "kind", "root", "status", "added", "modified", "moved", "missing", "restored", "error"];

#[pymethods]
impl History {
    fn __len__(&self) -> usize {
        self.operations.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.bind(py).as_any().get_item(index)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.rows.bind(py).as_any().try_iter()
    }

    fn __reversed__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.bind(py).as_any().call_method0("__reversed__")
    }

    /// Returns the place of the first operation that equals ``value``. ``ValueError`` where there is none.
    #[pyo3(signature = (value, start=0, stop=None))]
    fn index<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'py, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let stop = stop.unwrap_or(isize::MAX);
        self.rows.bind(py).as_any().call_method1("index", (value, start, stop))
    }

    /// Returns how many operations equal ``value``.
    fn count<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.bind(py).as_any().call_method1("count", (value,))
    }

    /// Exports the operations as an Arrow stream: ``id``, ``kind``, ``root``, ``start``, ``end``, ``seq``, ``added``,
    /// ``modified``, ``moved``, ``missing``, ``restored``, ``forgotten``, ``errors``, ``status``, ``error``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        arrow::capsule(py, treewarden::arrow::operations(self.operations.clone()))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.History of {} operations>", self.operations.len())
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let rows = self.shown(py)?;
        let more = (self.operations.len() - rows.len()) as u64;
        Ok(html::table("History, newest first", &HEADING, &rows, more))
    }
}
