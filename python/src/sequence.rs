//! What every list of results can do: indices, slices, iteration, search.
//!
//! Such lists are not registered as a `collections.abc.Sequence`: data frame libraries look for those before they
//! look for a table, and would go through them one by one.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::convert::{self, Picked};

/// A list whose items become Python objects when they are asked for.
pub(crate) trait Items {
    /// How many there are.
    fn places(&self) -> usize;

    /// The one at a place.
    ///
    /// # Errors
    ///
    /// `IndexError` beyond the end.
    fn item(&self, py: Python<'_>, place: usize) -> PyResult<Py<PyAny>>;

    /// What `items[key]` means: one, or a list of those in a slice.
    fn picked(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match convert::pick(key, self.places())? {
            Picked::One(place) => self.item(py, place),
            Picked::Many(places) => {
                let picked = places.into_iter().map(|place| self.item(py, place));
                let picked = picked.collect::<PyResult<Vec<_>>>()?;
                Ok(PyList::new(py, picked)?.into_any().unbind())
            }
        }
    }

    /// All of them.
    fn all<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let all = (0..self.places()).map(|place| self.item(py, place)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, all)
    }

    /// The place of the first that equals `value`.
    ///
    /// # Errors
    ///
    /// `ValueError` where there is none.
    fn place_of(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<usize> {
        let stop = stop.unwrap_or(isize::MAX);
        self.all(py)?.as_any().call_method1("index", (value, start, stop))?.extract()
    }

    /// How many equal `value`.
    fn how_many(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.all(py)?.as_any().call_method1("count", (value,))?.extract()
    }
}

/// No item is there.
pub(crate) fn out_of_range() -> PyErr {
    PyIndexError::new_err("index out of range")
}

/// An iterator over a list, which makes one object at a time.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct ItemIter {
    items: Py<PyAny>,
    next: AtomicUsize,
    is_backwards: bool,
}

impl ItemIter {
    /// Begins at the first item of a list with `__getitem__`.
    pub(crate) fn over(items: &Bound<'_, PyAny>) -> Self {
        Self { items: items.clone().unbind(), next: AtomicUsize::new(0), is_backwards: false }
    }

    /// Begins at the last item, and goes to the first.
    pub(crate) fn back_over(items: &Bound<'_, PyAny>) -> Self {
        Self { is_backwards: true, ..Self::over(items) }
    }
}

#[pymethods]
impl ItemIter {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        // It cannot overflow: nobody asks that often.
        let place = self.next.fetch_add(1, Ordering::Relaxed).cast_signed();
        let index = if self.is_backwards { -1 - place } else { place };
        match self.items.bind(py).get_item(index) {
            Ok(item) => Ok(Some(item.unbind())),
            Err(error) if error.is_instance_of::<PyIndexError>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
