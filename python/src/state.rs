//! The program's own state in the state file: key-value spaces, and batches over spaces, attributes and cursors.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyIterator, PyList, PyMapping};
use treewarden::{ErrorKind, Warden};

use crate::convert::{self, Address, Bytes, Key};
use crate::errors::{self, OrRaise};
use crate::handle::{Detached, Handle};

/// Keys that are read at once, with their values.
const PAGE: usize = 256;

/// A named key-value space in the state file.
///
/// Keys are 1 byte to 4 KiB, ``str`` (as UTF-8) or ``bytes``; they come back as ``bytes``, in byte order. Values
/// are bytes, up to 16 MiB. Reading sees the last commit and never waits for the writer.
#[pyclass(frozen, mapping, module = "treewarden")]
pub(crate) struct Space {
    handle: Handle,
    name: String,
}

impl Space {
    pub(crate) fn open(py: Python<'_>, handle: &Handle, name: String) -> PyResult<Self> {
        // It is looked up anew in each call; here the name is checked.
        handle.get(py)?.space(&name).or_raise(py)?;
        Ok(Self { handle: handle.clone(), name })
    }

    fn read(&self, py: Python<'_>, key: &Key) -> PyResult<Option<Vec<u8>>> {
        self.handle.run(py, |warden| warden.space(&self.name)?.get(&key.0))
    }

    fn unknown(&self, py: Python<'_>, key: &Key) -> PyErr {
        let (key, name) = (treewarden::escape(&key.0), treewarden::escape(self.name.as_bytes()));
        errors::of_kind(py, ErrorKind::NotFound, format!("there is no key `{key}` in the space `{name}`"))
    }
}

/// All keys that start with a prefix; values are let go of page by page.
fn keys(warden: &Warden, space: &str, prefix: &[u8]) -> treewarden::Result<Vec<Vec<u8>>> {
    let space = warden.space(space)?;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = space.range(prefix, keys.last().map(Vec::as_slice), PAGE)?;
        let is_last = page.len() < PAGE;
        keys.extend(page.into_iter().map(|(key, _)| key));
        if is_last {
            return Ok(keys);
        }
    }
}

#[pymethods]
impl Space {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value under a key, or ``default``.
    #[pyo3(signature = (key, default=None))]
    fn get(&self, py: Python<'_>, key: Key, default: Option<Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        match self.read(py, &key)? {
            Some(value) => Ok(PyBytes::new(py, &value).into_any().unbind()),
            None => Ok(default.map_or_else(|| py.None(), Bound::unbind)),
        }
    }

    /// Puts a value; durable on return. Returns the seq of its commit.
    ///
    /// Raises:
    ///     TooLargeError: The key has more than 4 KiB, or the value more than 16 MiB.
    #[pyo3(signature = (key, value))]
    fn put(&self, py: Python<'_>, key: Key, value: Bytes) -> PyResult<u64> {
        self.handle.run(py, |warden| warden.space(&self.name)?.put(key.0, value.0))
    }

    /// Deletes a key. Returns whether it was there; a key that is not there costs no commit.
    #[pyo3(signature = (key))]
    fn delete(&self, py: Python<'_>, key: Key) -> PyResult<bool> {
        self.handle.run(py, |warden| warden.space(&self.name)?.delete(key.0))
    }

    /// Puts ``value`` if the key holds ``expected``; None stands for no value. Returns whether it did.
    #[pyo3(signature = (key, expected, value))]
    fn compare_and_set(
        &self,
        py: Python<'_>,
        key: Key,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    ) -> PyResult<bool> {
        self.handle.run(py, |warden| {
            let (expected, value) = (bytes(expected.as_ref()), bytes(value.as_ref()));
            match warden.space(&self.name)?.compare_and_set(key.0, expected, value) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Returns keys that start with ``prefix`` and come after ``after``, with their values, in byte order.
    ///
    /// Args:
    ///     prefix: ``""`` means all keys.
    ///     after: Only keys behind this one, which need not be there: the last one of the page before.
    ///     limit: How many at most.
    #[pyo3(
        signature = (prefix=Key::everything(), *, after=None, limit=None),
        text_signature = "($self, prefix='', *, after=None, limit=None)"
    )]
    fn items<'py>(
        &self,
        py: Python<'py>,
        prefix: Key,
        after: Option<Key>,
        limit: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let items = self.handle.run(py, |warden| {
            let after = after.as_ref().map(|after| after.0.as_slice());
            warden.space(&self.name)?.range(prefix.0, after, limit.unwrap_or(usize::MAX))
        })?;
        PyList::new(py, items.iter().map(|(key, value)| (PyBytes::new(py, key), PyBytes::new(py, value))))
    }

    /// Returns the keys that start with ``prefix``, in byte order.
    #[pyo3(signature = (prefix=Key::everything()), text_signature = "($self, prefix='')")]
    fn keys<'py>(&self, py: Python<'py>, prefix: Key) -> PyResult<Bound<'py, PyList>> {
        let keys = self.handle.run(py, |warden| keys(warden, &self.name, &prefix.0))?;
        PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key)))
    }

    /// Puts all of these in one commit. Returns its seq.
    #[pyo3(signature = (values))]
    fn update(&self, py: Python<'_>, values: &Bound<'_, PyAny>) -> PyResult<u64> {
        let mut pairs = Vec::new();
        for pair in values.cast::<PyMapping>()?.items()? {
            let (key, value): (Key, Bytes) = pair.extract()?;
            pairs.push((key.0, value.0));
        }
        self.handle.run(py, |warden| {
            let batch = pairs
                .into_iter()
                .fold(warden.batch(), |batch, (key, value)| batch.put(&self.name, key, value));
            batch.commit()
        })
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: Key) -> PyResult<Bound<'py, PyBytes>> {
        let value = self.read(py, &key)?.ok_or_else(|| self.unknown(py, &key))?;
        Ok(PyBytes::new(py, &value))
    }

    fn __setitem__(&self, py: Python<'_>, key: Key, value: Bytes) -> PyResult<()> {
        self.put(py, key, value).map(drop)
    }

    fn __delitem__(&self, py: Python<'_>, key: Key) -> PyResult<()> {
        let was_there = self.handle.run(py, |warden| warden.space(&self.name)?.delete(&key.0))?;
        if was_there { Ok(()) } else { Err(self.unknown(py, &key)) }
    }

    fn __contains__(&self, py: Python<'_>, key: Key) -> PyResult<bool> {
        Ok(self.read(py, &key)?.is_some())
    }

    /// Goes through all keys to count them.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.handle.run(py, |warden| keys(warden, &self.name, b""))?.len())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py, Key::everything())?.as_any().try_iter()
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Space `{}`>", treewarden::escape(self.name.as_bytes()))
    }
}

fn bytes(value: Option<&Bytes>) -> Option<&[u8]> {
    value.map(|value| value.0.as_slice())
}

/// Steps over spaces, attributes and cursors that happen together: one commit, all or nothing.
///
/// A context manager: it commits at the end, and drops everything after an exception. Nothing happens before; what
/// is wrong with a step is raised by the commit.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Batch {
    handle: Handle,
    state: Mutex<State>,
}

struct State {
    /// Empty once it was committed or dropped.
    steps: Detached<treewarden::Batch>,
    seq: Option<u64>,
}

impl Batch {
    pub(crate) fn open(py: Python<'_>, handle: &Handle) -> PyResult<Self> {
        let steps = Detached::new(handle.get(py)?.batch());
        Ok(Self { handle: handle.clone(), state: Mutex::new(State { steps, seq: None }) })
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    fn step(
        &self,
        py: Python<'_>,
        step: impl FnOnce(treewarden::Batch) -> treewarden::Batch,
    ) -> PyResult<()> {
        self.handle.check(py)?;
        let mut state = self.lock(py);
        let Some(steps) = state.steps.take() else {
            drop(state);
            return Err(ended(py));
        };
        state.steps.put(step(steps));
        Ok(())
    }
}

fn ended(py: Python<'_>) -> PyErr {
    let hint = "begin another one with `warden.batch()`";
    errors::invalid_with_hint(py, "the batch has been committed or dropped", hint)
}

#[pymethods]
impl Batch {
    /// Puts a value into a space.
    #[pyo3(signature = (space, key, value))]
    fn put(&self, py: Python<'_>, space: &str, key: Key, value: Bytes) -> PyResult<()> {
        self.step(py, |batch| batch.put(space, key.0, value.0))
    }

    /// Deletes a key from a space.
    #[pyo3(signature = (space, key))]
    fn delete(&self, py: Python<'_>, space: &str, key: Key) -> PyResult<()> {
        self.step(py, |batch| batch.delete(space, key.0))
    }

    /// Puts a value if the key holds ``expected``; else the whole batch is refused with ``ConflictError``. None
    /// stands for no value.
    #[pyo3(signature = (space, key, expected, value))]
    fn compare_and_set(
        &self,
        py: Python<'_>,
        space: &str,
        key: Key,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    ) -> PyResult<()> {
        self.step(py, |batch| {
            batch.compare_and_set(space, key.0, bytes(expected.as_ref()), bytes(value.as_ref()))
        })
    }

    /// Sets attributes of an entry, and removes those given as None.
    #[pyo3(signature = (address, attrs))]
    fn set_attrs(&self, py: Python<'_>, address: Address, attrs: &Bound<'_, PyAny>) -> PyResult<()> {
        let attrs = convert::attrs(attrs)?;
        self.step(py, |batch| {
            attrs.into_iter().fold(batch, |batch, (name, value)| match value {
                Some(value) => batch.set_attr(&address.0, &name, value),
                None => batch.remove_attr(&address.0, &name),
            })
        })
    }

    /// Removes an attribute of an entry.
    #[pyo3(signature = (address, name))]
    fn remove_attr(&self, py: Python<'_>, address: Address, name: &str) -> PyResult<()> {
        self.step(py, |batch| batch.remove_attr(address.0, name))
    }

    /// Advances a named cursor, never backwards.
    #[pyo3(signature = (cursor, seq))]
    fn advance(&self, py: Python<'_>, cursor: &str, seq: u64) -> PyResult<()> {
        self.step(py, |batch| batch.advance(cursor, seq))
    }

    /// Commits all steps at once; durable on return. Returns the seq of the commit.
    ///
    /// On an error nothing of the batch has happened, and it has come to its end.
    ///
    /// Raises:
    ///     ConflictError: A compare-and-set found another value, or a cursor is further already.
    ///     NotFoundError: There is no such entry.
    ///     InvalidArgumentError, TooLargeError: A step makes no sense.
    #[pyo3(signature = ())]
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.check(py)?;
        let steps = self.lock(py).steps.take();
        let steps = steps.ok_or_else(|| ended(py))?;
        let seq = py.detach(move || steps.commit()).or_raise(py)?;
        self.lock(py).seq = Some(seq);
        Ok(seq)
    }

    /// The seq of the commit; None before it.
    #[getter]
    fn seq(&self, py: Python<'_>) -> Option<u64> {
        self.lock(py).seq
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().handle.check(py)?;
        Ok(slf)
    }

    #[pyo3(signature = (exc_type, exc_value, traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_value, traceback);
        if exc_type.is_none() && !self.lock(py).steps.is_empty() {
            return self.commit(py).map(drop);
        }
        let steps = self.lock(py).steps.take();
        py.detach(|| drop(steps));
        Ok(())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = self.lock(py);
        match state.seq {
            Some(seq) => format!("<treewarden.Batch committed seq={seq}>"),
            None if state.steps.is_empty() => "<treewarden.Batch dropped>".to_owned(),
            None => "<treewarden.Batch>".to_owned(),
        }
    }
}
