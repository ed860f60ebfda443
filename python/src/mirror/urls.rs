//! From files to the addresses of their objects and back.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString};
use treewarden::ErrorKind;

use super::results;
use crate::convert::{self, Address};
use crate::errors;
use crate::types;

/// The addresses of a mirror at one moment: a mapping from files, ``ROOT/path``, to URLs.
///
/// Only objects that the storage has acknowledged are in it. It is immutable, and outlives the warden. Empty where the
/// target has no public URL.
#[pyclass(frozen, mapping, module = "treewarden")]
pub(crate) struct UrlMap(treewarden::mirror::UrlMap);

impl UrlMap {
    pub(super) fn of(urls: treewarden::mirror::UrlMap) -> Self {
        Self(urls)
    }

    /// All of them, while other Python threads run.
    fn all(&self, py: Python<'_>) -> Vec<(Vec<u8>, String)> {
        py.detach(|| self.0.iter().collect())
    }
}

#[pymethods]
impl UrlMap {
    /// Returns the URL of the object of a file; None while there is no acknowledged object.
    #[pyo3(signature = (path))]
    fn url(&self, path: Address) -> Option<String> {
        self.0.url(path.0)
    }

    /// Returns the file, ``ROOT/path``, whose object has this URL, or None.
    #[pyo3(signature = (url))]
    fn path<'py>(&self, py: Python<'py>, url: &str) -> PyResult<Option<Bound<'py, PyString>>> {
        self.0.path(url).map(|path| convert::decode_path(py, &path)).transpose()
    }

    /// Returns the file whose object has this URL, exact, or None.
    #[pyo3(signature = (url))]
    fn path_bytes<'py>(&self, py: Python<'py>, url: &str) -> Option<Bound<'py, PyBytes>> {
        self.0.path(url).map(|path| PyBytes::new(py, &path))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        // It counts.
        py.detach(|| self.0.len())
    }

    fn __bool__(&self) -> bool {
        !self.0.is_empty()
    }

    fn __contains__(&self, path: Address) -> bool {
        self.0.url(path.0).is_some()
    }

    fn __getitem__(&self, py: Python<'_>, path: Address) -> PyResult<String> {
        self.0.url(&path.0).ok_or_else(|| {
            let path = treewarden::escape(&path.0);
            errors::of_kind(py, ErrorKind::NotFound, format!("`{path}` has no object with a URL"))
        })
    }

    /// Returns the URL of the object of a file, or ``default``.
    #[pyo3(signature = (path, default=None))]
    fn get(&self, py: Python<'_>, path: Address, default: Option<Bound<'_, PyAny>>) -> Py<PyAny> {
        match self.0.url(path.0) {
            Some(url) => PyString::new(py, &url).into_any().unbind(),
            None => default.map_or_else(|| py.None(), Bound::unbind),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py)?.as_any().try_iter()
    }

    /// Returns the files, in the order of the keys of their objects.
    #[pyo3(signature = ())]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let paths = self.all(py).into_iter().map(|(path, _)| convert::decode_path(py, &path));
        PyList::new(py, paths.collect::<PyResult<Vec<_>>>()?)
    }

    /// Returns the URLs, in the same order.
    #[pyo3(signature = ())]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let urls: Vec<String> = self.all(py).into_iter().map(|(_, url)| url).collect();
        PyList::new(py, urls)
    }

    /// Returns each file with its URL, in the same order.
    #[pyo3(signature = ())]
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self
            .all(py)
            .into_iter()
            .map(|(path, url)| Ok::<_, PyErr>((convert::decode_path(py, &path)?, url)));
        PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)
    }

    /// Lists what came, changed and went since an older map of the same mirror. Costs what differs.
    #[pyo3(signature = (older))]
    fn diff(&self, py: Python<'_>, older: &UrlMap) -> PyResult<Vec<Py<PyAny>>> {
        let changes = py.detach(|| self.0.diff(&older.0));
        types::each(py, &changes, results::url_change)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<treewarden.UrlMap of {}>", self.__len__(py))
    }
}
