//! One path as it was observed. An entry holds plain values; strings and times are made when they are asked
//! for, so that going through a million of them is cheap.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use treewarden::{EntryRef, Kind};

use crate::convert::{self, KINDS};
use crate::html;

/// What was observed for one path. Immutable, comparable, hashable; it can be pickled.
#[pyclass(frozen, eq, hash, module = "treewarden")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    path: Box<[u8]>,
    target: Option<Box<[u8]>>,
    /// Big-endian. Not a number: those are aligned to more than Python aligns its objects to everywhere.
    hash: Option<[u8; 16]>,
    kind: Kind,
    mode: u32,
    size: u64,
    inode: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    btime_ns: Option<i64>,
    missing_since_ns: Option<i64>,
    id: u64,
    seq: u64,
}

impl Entry {
    /// The entry of a walk, whose path has been put together already.
    pub(crate) fn seen(entry: &EntryRef<'_>, path: &[u8]) -> Self {
        Self {
            path: path.into(),
            target: entry.target().map(Into::into),
            hash: entry.hash().map(u128::to_be_bytes),
            kind: entry.kind(),
            mode: entry.mode(),
            size: entry.size(),
            inode: entry.inode(),
            mtime_ns: entry.mtime_ns(),
            ctime_ns: entry.ctime_ns(),
            btime_ns: entry.btime_ns(),
            missing_since_ns: entry.missing_since_ns(),
            id: entry.id(),
            seq: entry.seq(),
        }
    }

    fn name_bytes(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    fn root_bytes(&self) -> &[u8] {
        self.path.split(|&byte| byte == b'/').next().unwrap_or_default()
    }

    fn hex(&self) -> Option<String> {
        self.hash.map(|hash| format!("{:032x}", u128::from_be_bytes(hash)))
    }

    /// Path, kind, size and time, for a table.
    pub(crate) fn row(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let mtime = convert::datetime(py, self.mtime_ns)?.str()?.to_string();
        Ok(vec![treewarden::escape(&self.path), self.kind.name().to_owned(), self.size.to_string(), mtime])
    }

    /// The heading over [`Entry::row`].
    pub(crate) const HEADING: [&'static str; 4] = ["path", "kind", "size", "mtime"];
}

impl From<treewarden::Entry> for Entry {
    fn from(entry: treewarden::Entry) -> Self {
        Self {
            path: entry.path.into(),
            target: entry.target.map(Into::into),
            hash: entry.hash.map(u128::to_be_bytes),
            kind: entry.kind,
            mode: entry.mode,
            size: entry.size,
            inode: entry.inode,
            mtime_ns: entry.mtime_ns,
            ctime_ns: entry.ctime_ns,
            btime_ns: entry.btime_ns,
            missing_since_ns: entry.missing_since_ns,
            id: entry.id,
            seq: entry.seq,
        }
    }
}

#[pymethods]
impl Entry {
    /// Its address, ``ROOT/relative/path``.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        convert::decode_path(py, &self.path)
    }

    /// Its address, exact.
    #[getter]
    fn path_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.path)
    }

    /// The last component of its address.
    #[getter]
    fn name<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        convert::decode_path(py, self.name_bytes())
    }

    /// Name of its root.
    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        convert::decode_path(py, self.root_bytes())
    }

    /// What it is: ``file``, ``dir`` or ``symlink``.
    #[getter]
    fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Size in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.size
    }

    /// Modification time in nanoseconds since 1970 UTC, exact.
    #[getter]
    fn mtime_ns(&self) -> i64 {
        self.mtime_ns
    }

    /// Modification time, aware, in microseconds.
    #[getter]
    fn mtime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::datetime(py, self.mtime_ns)
    }

    /// Time of the last change of the inode in nanoseconds since 1970 UTC, exact.
    #[getter]
    fn ctime_ns(&self) -> i64 {
        self.ctime_ns
    }

    /// Time of the last change of the inode.
    #[getter]
    fn ctime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::datetime(py, self.ctime_ns)
    }

    /// Time of birth where the file system keeps it, in nanoseconds since 1970 UTC, exact.
    #[getter]
    fn btime_ns(&self) -> Option<i64> {
        self.btime_ns
    }

    /// Time of birth where the file system keeps it.
    #[getter]
    fn btime<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.btime_ns.map(|ns| convert::datetime(py, ns)).transpose()
    }

    /// Inode number.
    #[getter]
    fn inode(&self) -> u64 {
        self.inode
    }

    /// Type and permission bits, as in ``os.stat_result.st_mode``.
    #[getter]
    fn mode(&self) -> u32 {
        self.mode
    }

    /// xxh3-128 of the content as 32 hex digits, where the root keeps hashes.
    #[getter]
    fn hash(&self) -> Option<String> {
        self.hex()
    }

    /// Target of a symlink.
    #[getter]
    fn target<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.target.as_deref().map(|target| convert::decode_path(py, target)).transpose()
    }

    /// Target of a symlink, exact.
    #[getter]
    fn target_bytes<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.target.as_deref().map(|target| PyBytes::new(py, target))
    }

    /// The stable number of the file: it survives moves and restarts.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// The commit that changed this entry last.
    #[getter]
    fn seq(&self) -> u64 {
        self.seq
    }

    /// When it went missing, in nanoseconds since 1970 UTC, exact; None while it is there.
    #[getter]
    fn missing_since_ns(&self) -> Option<i64> {
        self.missing_since_ns
    }

    /// When it went missing; None while it is there.
    #[getter]
    fn missing_since<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.missing_since_ns.map(|ns| convert::datetime(py, ns)).transpose()
    }

    /// True for a regular file.
    #[getter]
    fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// True for a directory.
    #[getter]
    fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// True for a symlink.
    #[getter]
    fn is_symlink(&self) -> bool {
        self.kind == Kind::Symlink
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = self.path(py)?.repr()?;
        let (kind, size, id, seq) = (self.kind.name(), self.size, self.id, self.seq);
        let gone = if self.missing_since_ns.is_some() { ", missing" } else { "" };
        Ok(format!("<treewarden.Entry {path} {kind}{gone} size={size} id={id} seq={seq}>"))
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let time = |ns: i64| -> PyResult<String> { Ok(convert::datetime(py, ns)?.str()?.to_string()) };
        let mut rows = vec![
            ("kind", self.kind.name().to_owned()),
            ("size", self.size.to_string()),
            ("mtime", time(self.mtime_ns)?),
            ("ctime", time(self.ctime_ns)?),
            ("inode", self.inode.to_string()),
            ("mode", format!("{:o}", self.mode)),
            ("id", self.id.to_string()),
            ("seq", self.seq.to_string()),
        ];
        if let Some(ns) = self.btime_ns {
            rows.push(("btime", time(ns)?));
        }
        if let Some(ns) = self.missing_since_ns {
            rows.push(("missing since", time(ns)?));
        }
        if let Some(target) = &self.target {
            rows.push(("target", treewarden::escape(target)));
        }
        if let Some(hash) = self.hex() {
            rows.push(("hash", hash));
        }
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        Ok(html::table(&treewarden::escape(&self.path), &[], &rows, 0))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let restore = py.import("treewarden._treewarden")?.getattr("_entry")?;
        let values = (
            self.path_bytes(py),
            self.kind.name(),
            (self.size, self.inode, self.mode),
            (self.mtime_ns, self.ctime_ns, self.btime_ns, self.missing_since_ns),
            (self.hash.map(|hash| PyBytes::new(py, &hash)), self.target_bytes(py)),
            (self.id, self.seq),
        );
        Ok((restore, values.into_pyobject(py)?))
    }
}

/// Makes an entry anew from what its pickle holds.
#[pyfunction]
#[pyo3(name = "_entry", signature = (path, kind, stat, times, content, ids))]
pub(crate) fn restore_entry(
    py: Python<'_>,
    path: Vec<u8>,
    kind: &str,
    stat: (u64, u64, u32),
    times: (i64, i64, Option<i64>, Option<i64>),
    content: (Option<[u8; 16]>, Option<Vec<u8>>),
    ids: (u64, u64),
) -> PyResult<Entry> {
    let kind = convert::one_of(py, "kind", kind, KINDS)?;
    let ((size, inode, mode), (hash, target), (id, seq)) = (stat, content, ids);
    let (mtime_ns, ctime_ns, btime_ns, missing_since_ns) = times;
    Ok(Entry {
        path: path.into(),
        target: target.map(Into::into),
        hash,
        kind,
        mode,
        size,
        inode,
        mtime_ns,
        ctime_ns,
        btime_ns,
        missing_since_ns,
        id,
        seq,
    })
}
