//! Snapshots: an immutable view of every root, and the iterator over its entries.

use std::sync::{Mutex, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use treewarden::{Filter, Paths, Walk};

use crate::arrow;
use crate::change::ChangeList;
use crate::convert::{self, Address, FsPath, KINDS, TimeNs};
use crate::entry::Entry;
use crate::errors::{self, OrRaise};
use crate::export;
use crate::html;
use crate::types;

/// Entries that are read at once.
const BATCH: usize = 256;

/// An immutable view of every root at one seq.
///
/// It stays exactly as it is however long it is held, and outlives the warden. Reading it needs no lock and no
/// system call. ``len`` counts files and symlinks, iterating goes over them in path order, and
/// ``snapshot[address]`` finds any entry, directories too.
///
/// It is a table, too: ``polars.DataFrame(snapshot)``, ``pyarrow.table(snapshot)``.
// A mapping, and no sequence: an entry is not found by its number.
#[pyclass(frozen, mapping, module = "treewarden")]
pub(crate) struct Snapshot(treewarden::Snapshot);

impl Snapshot {
    pub(crate) fn new(snapshot: treewarden::Snapshot) -> Self {
        Self(snapshot)
    }

    fn find(&self, address: &Address) -> Option<Entry> {
        self.0.get(&address.0).map(|entry| entry.to_entry().into())
    }
}

#[pymethods]
impl Snapshot {
    /// The commit that this is the state of.
    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// The names of the roots in order.
    #[getter]
    fn roots(&self) -> Vec<String> {
        self.0.roots().into_iter().map(str::to_owned).collect()
    }

    fn __len__(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }

    fn __contains__(&self, address: Address) -> bool {
        self.0.contains(address.0)
    }

    fn __getitem__(&self, py: Python<'_>, address: Address) -> PyResult<Entry> {
        self.find(&address).ok_or_else(|| errors::unknown_entry(py, &address.0))
    }

    fn __iter__(&self) -> Entries {
        Entries::new(&self.0, Filter::new())
    }

    /// Finds an entry by its address, or returns ``default``.
    #[pyo3(signature = (address, default=None))]
    fn get(
        &self,
        py: Python<'_>,
        address: Address,
        default: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        match self.find(&address) {
            Some(entry) => entry.into_py_any(py),
            None => Ok(default.map_or_else(|| py.None(), Bound::unbind)),
        }
    }

    /// Finds the tombstone of an entry that is missing.
    #[pyo3(signature = (address))]
    fn missing(&self, address: Address) -> Option<Entry> {
        self.0.get_missing(address.0).map(|entry| entry.to_entry().into())
    }

    /// Iterates over the files and symlinks below ``prefix`` in path order; all conditions must hold.
    ///
    /// Args:
    ///     prefix: Only what lies at or below this address; ``""`` means all roots.
    ///     glob: Only paths, relative to the prefix, that match: ``*`` and ``?`` stay within a component, ``**``
    ///         crosses components, ``[…]`` and ``{a,b}`` as usual.
    ///     kind: Only entries of this kind: ``file``, ``dir`` or ``symlink``.
    ///     min_size: Only entries of at least so many bytes.
    ///     max_size: Only entries of at most so many bytes.
    ///     modified_since: Only entries modified then or later: an aware ``datetime``, or nanoseconds since 1970 UTC.
    ///     modified_until: Only entries modified then or earlier.
    ///     dirs: Directories too.
    ///     missing: Tombstones instead of what is there.
    ///
    /// Raises:
    ///     InvalidArgumentError: The glob cannot be read, or a ``datetime`` has no time zone.
    #[pyo3(
        signature = (
            prefix=Address::everything(), *, glob=None, kind=None, min_size=None, max_size=None,
            modified_since=None, modified_until=None, dirs=false, missing=false
        ),
        text_signature = "($self, prefix='', *, glob=None, kind=None, min_size=None, max_size=None, modified_since=None, modified_until=None, dirs=False, missing=False)"
    )]
    fn files(
        &self,
        py: Python<'_>,
        prefix: Address,
        glob: Option<&str>,
        kind: Option<&str>,
        min_size: Option<u64>,
        max_size: Option<u64>,
        modified_since: Option<TimeNs>,
        modified_until: Option<TimeNs>,
        dirs: bool,
        missing: bool,
    ) -> PyResult<Entries> {
        let mut filter = Filter::new().under(prefix.0);
        if let Some(glob) = glob {
            filter = filter.glob(glob).or_raise(py)?;
        }
        if let Some(kind) = kind {
            filter = filter.kind(convert::one_of(py, "kind", kind, KINDS)?);
        }
        if let Some(bytes) = min_size {
            filter = filter.size_min(bytes);
        }
        if let Some(bytes) = max_size {
            filter = filter.size_max(bytes);
        }
        if let Some(TimeNs(ns)) = modified_since {
            filter = filter.mtime_min_ns(ns);
        }
        if let Some(TimeNs(ns)) = modified_until {
            filter = filter.mtime_max_ns(ns);
        }
        if dirs {
            filter = filter.with_dirs();
        }
        if missing {
            filter = filter.missing();
        }
        Ok(Entries::new(&self.0, filter))
    }

    /// Iterates over the direct children of a directory, directories included. ``""`` lists the roots.
    #[pyo3(signature = (dir))]
    fn children(&self, dir: Address) -> Entries {
        Entries::new(&self.0, Filter::new().under(dir.0).with_dirs().direct())
    }

    /// Returns the totals of a directory, at any depth in the time of one lookup; ``""`` means all roots. A file
    /// counts as one.
    ///
    /// Raises:
    ///     NotFoundError: Nothing is there.
    #[pyo3(signature = (prefix=Address::everything()), text_signature = "($self, prefix='')")]
    fn du(&self, py: Python<'_>, prefix: Address) -> PyResult<Py<PyAny>> {
        // Without a root there is nothing, and all of it is nothing.
        let nothing = || prefix.0.is_empty().then(treewarden::Totals::default);
        match self.0.du(&prefix.0).or_else(nothing) {
            Some(totals) => types::totals(py, &totals),
            None => Err(errors::unknown_entry(py, &prefix.0)),
        }
    }

    /// Lists what leads from ``older`` to this snapshot, in path order: added, modified, moved and missing entries,
    /// each with the seq of this snapshot's entry. A file under another name is ``moved``. Costs what differs.
    #[pyo3(signature = (older))]
    fn diff(&self, py: Python<'_>, older: &Snapshot) -> ChangeList {
        ChangeList::new(py.detach(|| self.0.diff(&older.0)))
    }

    /// Exports the files and symlinks as an Arrow stream: ``root``, ``path``, ``path_bytes`` (null where ``path`` is
    /// exact), ``kind``, ``size``, ``mtime``, ``ctime``, ``btime``, ``inode``, ``mode``, ``hash``, ``target``, ``id``,
    /// ``seq``, ``missing_since``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        arrow::capsule(py, treewarden::arrow::entries(&self.0, &Filter::new()))
    }

    /// Writes the files and symlinks to Parquet files, as ``Warden.export`` does for the snapshot of that moment.
    ///
    /// Args:
    ///     path: The file, whose directory must exist; a directory when partitioned.
    ///     prefix: Only what lies at or below this address.
    ///     glob: Only paths, relative to the prefix, that match.
    ///     missing: Tombstones instead of what is there.
    ///     host: The name of this machine. A partitioned export needs it.
    ///     partitioned: One file for each root.
    ///     replace: Replaces a Parquet file that is there.
    #[pyo3(
        signature = (
            path, prefix=Address::everything(), *, glob=None, missing=false, host=None, partitioned=false, replace=false
        ),
        text_signature = "($self, path, prefix='', *, glob=None, missing=False, host=None, partitioned=False, replace=False)"
    )]
    fn to_parquet(
        &self,
        py: Python<'_>,
        path: FsPath,
        prefix: Address,
        glob: Option<&str>,
        missing: bool,
        host: Option<String>,
        partitioned: bool,
        replace: bool,
    ) -> PyResult<Py<PyAny>> {
        let filter = export::filter(prefix, glob, missing).or_raise(py)?;
        export::entries(py, self.0.clone(), filter, export::options(host, partitioned, replace), path)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Snapshot seq={} of {} files>", self.0.seq(), self.0.len())
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let first: Vec<Entry> =
            self.0.files("").take(html::ROWS_MAX).map(|entry| entry.to_entry().into()).collect();
        let rows: Vec<Vec<String>> = first.iter().map(|entry| entry.row(py)).collect::<PyResult<_>>()?;
        let caption = format!("{} files at seq {}", self.0.len(), self.0.seq());
        let more = self.0.len().saturating_sub(rows.len() as u64);
        Ok(html::table(&caption, &Entry::HEADING, &rows, more))
    }
}

/// An iterator over entries, in path order. It keeps its snapshot.
///
/// As a table it gives all entries of the same filter, from the start.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Entries {
    snapshot: treewarden::Snapshot,
    filter: Filter,
    state: Mutex<State>,
}

struct State {
    /// `None` at the end.
    walk: Option<Walk>,
    paths: Paths,
    ready: std::vec::IntoIter<Entry>,
}

impl Entries {
    fn new(snapshot: &treewarden::Snapshot, filter: Filter) -> Self {
        let state =
            State { walk: Some(snapshot.walk(&filter)), paths: Paths::new(), ready: Vec::new().into_iter() };
        Self { snapshot: snapshot.clone(), filter, state: Mutex::new(state) }
    }
}

impl State {
    /// Reads the next entries, if there are any.
    fn fill(&mut self) {
        let Some(walk) = &mut self.walk else { return };
        let mut batch = Vec::with_capacity(BATCH);
        let paths = &mut self.paths;
        let found = walk.each(BATCH, |entry| batch.push(Entry::seen(entry, paths.of(entry))));
        if found < BATCH {
            self.walk = None;
        }
        self.ready = batch.into_iter();
    }
}

#[pymethods]
impl Entries {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Option<Entry> {
        let mut guard = self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        if let Some(entry) = state.ready.next() {
            return Some(entry);
        }
        // A filter may look at very many entries before it finds one.
        py.detach(|| state.fill());
        state.ready.next()
    }

    /// Exports all entries of the filter as an Arrow stream, with the columns of that of a snapshot.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        arrow::capsule(py, treewarden::arrow::entries(&self.snapshot, &self.filter))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Entries of seq {}>", self.snapshot.seq())
    }
}
