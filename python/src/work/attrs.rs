//! The attributes of a job, as a mutable mapping.
//!
//! They lie beside the engine's job, so that they can be read when that has ended, and changed while its lease is
//! being renewed. A completion takes them along.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyMapping, PyString, PyType};

use crate::convert::text_or_bytes;
use crate::errors;

/// The attributes of one job.
#[derive(Debug)]
pub(super) struct Attrs(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    attrs: BTreeMap<String, Vec<u8>>,
    /// The job has ended: nothing is stored any more.
    is_over: bool,
}

impl Attrs {
    pub(super) fn new(attrs: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Mutex::new(Kept { attrs, is_over: false }))
    }

    /// As they are now.
    pub(super) fn copy(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().attrs.clone()
    }

    /// From now on they can only be read.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
    }

    /// Held for as long as it takes to look or to change something: never while Python code may run.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().attrs.get(name).cloned()
    }

    /// Changes them, unless the job has ended.
    fn change<T>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T,
    ) -> PyResult<T> {
        let changed = {
            let mut kept = self.lock();
            if kept.is_over { None } else { Some(change(&mut kept.attrs)) }
        };
        let hint = "change them before `complete`, which stores them";
        changed.ok_or_else(|| {
            errors::invalid_with_hint(py, "the job has ended: its attributes can only be read", hint)
        })
    }

    fn dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.copy() {
            dict.set_item(name, PyBytes::new(py, &value))?;
        }
        Ok(dict)
    }
}

/// The attributes of a job, names and bytes: a mutable mapping. Strings are taken as UTF-8.
///
/// They are what the last completion stored, and what the next one will store: at most 64 KiB, names and values.
/// They follow the file when it moves. When the job has ended they can only be read.
#[pyclass(frozen, mapping, module = "treewarden")]
pub(crate) struct JobAttrs(pub(super) Arc<Attrs>);

/// What a call falls back to, or nothing at all.
pub(crate) enum Fallback<'py> {
    Nothing,
    Given(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Fallback<'py> {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(obj.to_owned()))
    }
}

fn unknown(name: &str) -> PyErr {
    PyKeyError::new_err(name.to_owned())
}

/// The name and the value of a pair.
fn read_pair(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<(String, Vec<u8>)> {
    let Ok(name) = name.cast::<PyString>() else {
        let kind = name.get_type().name()?;
        return Err(PyTypeError::new_err(format!("the name of an attribute is a str, not {kind}")));
    };
    Ok((name.to_cow()?.into_owned(), text_or_bytes(value)?))
}

/// A view of the mapping, of a class of `collections.abc`.
fn view<'py>(
    slf: &Bound<'py, JobAttrs>,
    class: &PyOnceLock<Py<PyType>>,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    class.import(slf.py(), "collections.abc", name)?.as_any().call1((slf,))
}

#[pymethods]
impl JobAttrs {
    fn __len__(&self) -> usize {
        self.0.lock().attrs.len()
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(name) = name.cast::<PyString>() else { return Ok(false) };
        let name = name.to_cow()?;
        Ok(self.0.lock().attrs.contains_key(&*name))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let value = self.0.value(name).ok_or_else(|| unknown(name))?;
        Ok(PyBytes::new(py, &value))
    }

    fn __setitem__(&self, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = name.py();
        let (name, value) = read_pair(name, value)?;
        self.0.change(py, |attrs| attrs.insert(name, value)).map(|_| ())
    }

    fn __delitem__(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let removed = self.0.change(py, |attrs| attrs.remove(name))?;
        if removed.is_some() { Ok(()) } else { Err(unknown(name)) }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.0.dict(py)?.as_any().try_iter()
    }

    /// Returns the value of a name, or ``default``.
    #[pyo3(signature = (name, /, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        match self.0.value(name) {
            Some(value) => Some(PyBytes::new(py, &value).into_any()),
            None => default,
        }
    }

    /// Returns a view of the names.
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        view(slf, &CLASS, "KeysView")
    }

    /// Returns a view of the values.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        view(slf, &CLASS, "ValuesView")
    }

    /// Returns a view of names and values.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        view(slf, &CLASS, "ItemsView")
    }

    /// Removes a name and returns its value; where there is none, ``default``, or ``KeyError`` without that.
    #[pyo3(signature = (name, /, default=Fallback::Nothing))]
    fn pop<'py>(&self, py: Python<'py>, name: &str, default: Fallback<'py>) -> PyResult<Bound<'py, PyAny>> {
        match (self.0.change(py, |attrs| attrs.remove(name))?, default) {
            (Some(value), _) => Ok(PyBytes::new(py, &value).into_any()),
            (None, Fallback::Given(default)) => Ok(default),
            (None, Fallback::Nothing) => Err(unknown(name)),
        }
    }

    /// Removes the last name and returns it with its value. ``KeyError`` where there is none.
    fn popitem<'py>(&self, py: Python<'py>) -> PyResult<(String, Bound<'py, PyBytes>)> {
        match self.0.change(py, BTreeMap::pop_last)? {
            Some((name, value)) => Ok((name, PyBytes::new(py, &value))),
            None => Err(PyKeyError::new_err("there are no attributes")),
        }
    }

    /// Returns the value of a name, and sets it to ``default`` first where there is none.
    #[pyo3(signature = (name, default, /))]
    fn setdefault<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = name.py();
        let (name, default) = read_pair(name, default)?;
        let value = self.0.change(py, |attrs| attrs.entry(name).or_insert(default).clone())?;
        Ok(PyBytes::new(py, &value))
    }

    /// Sets what another mapping, or an iterable of pairs, says, and what the keywords say: all of it or nothing.
    #[pyo3(signature = (other=None, /, **names))]
    fn update(
        &self,
        py: Python<'_>,
        other: Option<&Bound<'_, PyAny>>,
        names: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let mut pairs = Vec::new();
        match other {
            None => {}
            Some(mapping) if mapping.hasattr("keys")? => {
                for name in mapping.call_method0("keys")?.try_iter()? {
                    let name = name?;
                    pairs.push(read_pair(&name, &mapping.get_item(&name)?)?);
                }
            }
            Some(iterable) => {
                for pair in iterable.try_iter()? {
                    let pair: Vec<Bound<'_, PyAny>> = pair?.extract()?;
                    let [name, value] = pair.as_slice() else {
                        return Err(PyTypeError::new_err("attributes come in pairs of a name and a value"));
                    };
                    pairs.push(read_pair(name, value)?);
                }
            }
        }
        for (name, value) in names.into_iter().flatten() {
            pairs.push(read_pair(&name, &value)?);
        }
        self.0.change(py, |attrs| attrs.extend(pairs))
    }

    /// Removes all.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.0.change(py, BTreeMap::clear)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if let Ok(other) = other.cast::<Self>() {
            return (self.0.copy() == other.get().0.copy()).into_py_any(py);
        }
        if other.cast::<PyMapping>().is_err() {
            return Ok(py.NotImplemented());
        }
        let other = py.get_type::<PyDict>().as_any().call1((other,))?;
        self.0.dict(py)?.as_any().eq(other)?.into_py_any(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("JobAttrs({})", self.0.dict(py)?.as_any().repr()?))
    }
}
