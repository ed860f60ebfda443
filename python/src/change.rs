//! The journal as Python sees it: a change, a list of them, and the iterator over what is past.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyString, PyTuple};
use treewarden::{Kind, Token};

use crate::arrow;
use crate::convert::{self, CHANGE_KINDS, KINDS};
use crate::errors::{self, OrRaise};
use crate::handle::{Detached, Handle};
use crate::html;
use crate::sequence::{ItemIter, Items, out_of_range};

/// Changes that are read at once.
const BATCH: usize = 256;

/// One row of the journal. Immutable, comparable, hashable; it can be pickled.
///
/// The changes of one seq happened at once. They come in an order in which they can be applied one by one,
/// except where entries swapped names: a consumer that keeps paths applies every ``from_path``, ``missing`` and
/// ``forgotten`` of a seq before the rest, or goes by id.
#[pyclass(frozen, eq, module = "treewarden")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change(treewarden::Change);

impl From<treewarden::Change> for Change {
    fn from(change: treewarden::Change) -> Self {
        Self(change)
    }
}

#[pymethods]
impl Change {
    /// What happened: ``added``, ``modified``, ``moved``, ``missing``, ``restored`` or ``forgotten``.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    /// What it happened to: ``file``, ``dir`` or ``symlink``.
    #[getter]
    fn entry_kind(&self) -> &'static str {
        self.0.entry_kind.name()
    }

    /// Name of the root at that time.
    #[getter]
    fn root(&self) -> &str {
        &self.0.root
    }

    /// Its address.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        convert::decode_path(py, &self.0.path)
    }

    /// Its address, exact.
    #[getter]
    fn path_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.path)
    }

    /// Of ``moved``, the address before.
    #[getter(from_path)]
    fn earlier_path<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.0.from.as_deref().map(|from| convert::decode_path(py, from)).transpose()
    }

    /// Of ``moved``, the address before, exact.
    #[getter(from_bytes)]
    fn earlier_path_bytes<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.from.as_deref().map(|from| PyBytes::new(py, from))
    }

    /// The commit.
    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq
    }

    /// The stable number of the entry.
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0.seq, self.0.id, self.0.kind, &self.0.path).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = self.path(py)?.repr()?;
        let from = match self.earlier_path(py)? {
            Some(from) => format!(" from {}", from.repr()?),
            None => String::new(),
        };
        let (kind, id, seq) = (self.0.kind.name(), self.0.id, self.0.seq);
        Ok(format!("<treewarden.Change {kind} {path}{from} id={id} seq={seq}>"))
    }

    fn _repr_html_(&self) -> String {
        html::table("", &HEADING, &[row(&self.0)], 0)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let restore = py.import("treewarden._treewarden")?.getattr("_change")?;
        let values = (
            self.0.seq,
            self.0.root.as_str(),
            self.0.kind.name(),
            self.0.entry_kind.name(),
            self.path_bytes(py),
            self.earlier_path_bytes(py),
            self.0.id,
        );
        Ok((restore, values.into_pyobject(py)?))
    }
}

/// Makes a change anew from what its pickle holds.
#[pyfunction]
#[pyo3(name = "_change", signature = (seq, root, kind, entry_kind, path, from_bytes, id))]
pub(crate) fn restore_change(
    py: Python<'_>,
    seq: u64,
    root: String,
    kind: &str,
    entry_kind: &str,
    path: Vec<u8>,
    from_bytes: Option<Vec<u8>>,
    id: u64,
) -> PyResult<Change> {
    Ok(Change(treewarden::Change {
        seq,
        root,
        kind: convert::one_of(py, "kind", kind, CHANGE_KINDS)?,
        entry_kind: convert::one_of(py, "kind", entry_kind, KINDS)?,
        path,
        from: from_bytes,
        id,
    }))
}

const HEADING: [&str; 4] = ["seq", "kind", "path", "from"];

fn row(change: &treewarden::Change) -> Vec<String> {
    let from = change.from.as_deref().map(treewarden::escape).unwrap_or_default();
    vec![change.seq.to_string(), change.kind.name().to_owned(), treewarden::escape(&change.path), from]
}

/// Changes in a list. It is a table, too: ``polars.DataFrame(changes)``.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct ChangeList(Arc<Vec<treewarden::Change>>);

impl ChangeList {
    pub(crate) fn new(changes: Vec<treewarden::Change>) -> Self {
        Self(Arc::new(changes))
    }
}

impl Items for ChangeList {
    fn places(&self) -> usize {
        self.0.len()
    }

    fn item(&self, py: Python<'_>, place: usize) -> PyResult<Py<PyAny>> {
        let change = self.0.get(place).cloned().ok_or_else(out_of_range)?;
        Change(change).into_py_any(py)
    }
}

#[pymethods]
impl ChangeList {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.picked(py, index)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::over(slf.as_any())
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::back_over(slf.as_any())
    }

    /// Returns the place of the first change that equals ``value``. ``ValueError`` where there is none.
    #[pyo3(signature = (value, start=0, stop=None))]
    fn index(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<usize> {
        self.place_of(py, value, start, stop)
    }

    /// Returns how many changes equal ``value``.
    #[pyo3(signature = (value))]
    fn count(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.how_many(py, value)
    }

    /// Exports the list as an Arrow stream: ``seq``, ``root``, ``kind``, ``entry_kind``, ``path``, ``path_bytes``,
    /// ``from``, ``from_bytes``, ``id``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        arrow::capsule(py, treewarden::arrow::changes(Shared { changes: Arc::clone(&self.0), next: 0 }))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.ChangeList of {}>", self.0.len())
    }

    fn _repr_html_(&self) -> String {
        let rows: Vec<Vec<String>> = self.0.iter().take(html::ROWS_MAX).map(row).collect();
        let more = (self.0.len() - rows.len()) as u64;
        html::table(&format!("{} changes", self.0.len()), &HEADING, &rows, more)
    }
}

/// Changes of a list that others may hold, too.
struct Shared {
    changes: Arc<Vec<treewarden::Change>>,
    next: usize,
}

impl Iterator for Shared {
    type Item = treewarden::Result<treewarden::Change>;

    fn next(&mut self) -> Option<Self::Item> {
        let change = self.changes.get(self.next)?.clone();
        self.next += 1;
        Some(Ok(change))
    }
}

/// Where changes are to begin: after a seq, or at the place of a token.
pub(crate) enum Since {
    Seq(u64),
    Token(Token),
}

impl FromPyObject<'_, '_> for Since {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if obj.is_instance_of::<PyString>() {
            let text: String = obj.extract()?;
            return text.parse().map(Self::Token).or_raise(obj.py());
        }
        obj.extract().map(Self::Seq)
    }
}

/// An iterator over changes, oldest first, up to the commit that was the last when it was asked for.
///
/// It reads a consistent view: nothing that happens meanwhile disturbs it. As a table it gives what is left, and
/// has come to its end then.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Changes {
    handle: Handle,
    last_seq: u64,
    state: Mutex<State>,
}

struct State {
    /// Empty at the end.
    source: Detached<treewarden::Changes>,
    ready: std::vec::IntoIter<treewarden::Change>,
    /// To be raised when all that is ready has been handed out.
    failed: Option<treewarden::Error>,
    files_only: bool,
}

impl Changes {
    pub(crate) fn open(py: Python<'_>, handle: &Handle, since: Since) -> PyResult<Self> {
        let source = handle.run(py, move |warden| match since {
            Since::Seq(seq) => warden.changes(seq),
            Since::Token(token) => warden.changes_since_token(&token),
        })?;
        let last_seq = source.last_seq();
        let state = State {
            source: Detached::new(source),
            ready: Vec::new().into_iter(),
            failed: None,
            files_only: false,
        };
        Ok(Self { handle: handle.clone(), last_seq, state: Mutex::new(state) })
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn passes(&self, change: &treewarden::Change) -> bool {
        !self.files_only || change.entry_kind != Kind::Dir
    }

    /// Reads the next changes that pass, if there are any.
    fn fill(&mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let Some(mut source) = self.source.take() else { return };
        while batch.len() < BATCH {
            match source.next() {
                Some(Ok(change)) if self.passes(&change) => batch.push(change),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        if batch.len() == BATCH {
            self.source.put(source);
        }
        self.ready = batch.into_iter();
    }
}

#[pymethods]
impl Changes {
    /// The commit up to which this goes: where to continue when it has ended.
    #[getter]
    fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Leaves out directories, and returns itself.
    fn files_only(slf: Py<Self>, py: Python<'_>) -> Py<Self> {
        slf.get().lock(py).files_only = true;
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Change>> {
        self.handle.check_process(py)?;
        let mut guard = self.lock(py);
        let state = &mut *guard;
        loop {
            while let Some(change) = state.ready.next() {
                // What was read before `files_only` may not pass any more.
                if state.passes(&change) {
                    return Ok(Some(Change(change)));
                }
            }
            if let Some(error) = state.failed.take() {
                drop(guard);
                return Err(errors::raise(py, error));
            }
            if state.source.is_empty() {
                return Ok(None);
            }
            py.detach(|| state.fill());
        }
    }

    /// Exports what is left as an Arrow stream: ``seq``, ``root``, ``kind``, ``entry_kind``, ``path``, ``path_bytes``,
    /// ``from``, ``from_bytes``, ``id``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        self.handle.check_process(py)?;
        let mut state = self.lock(py);
        let ready = std::mem::take(&mut state.ready);
        let (failed, source, files_only) = (state.failed.take(), state.source.take(), state.files_only);
        drop(state);
        let rows = ready.map(Ok).chain(failed.map(Err)).chain(source.into_iter().flatten());
        let passes = move |row: &treewarden::Result<treewarden::Change>| match row {
            Ok(change) => !files_only || change.entry_kind != Kind::Dir,
            Err(_) => true,
        };
        arrow::capsule(py, treewarden::arrow::changes(rows.filter(passes)))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Changes up to {}>", self.last_seq)
    }
}
