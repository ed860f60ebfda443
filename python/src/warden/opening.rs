//! Opening a state file, and saving what can be saved of a damaged one.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;

use crate::clock::Clock;
use crate::convert::{self, DURABILITIES, FsPath};
use crate::errors::OrRaise;
use crate::handle::Handle;
use crate::types;

use super::Warden;

/// Opens the state file at ``path``, or creates it (mode 0600, never through a symlink).
///
/// Opening changes nothing on disk. The file is locked: a second opener gets ``BusyError``, unless all of them open
/// it for reading only.
///
/// Args:
///     path: The state file. Its directory must exist.
///     create: False refuses to create it: ``NotFoundError`` where there is none.
///     read_only: Never writes a byte; several readers may share the file. Nothing is created.
///     durability: ``durable`` is safe against power loss when a call returns. ``relaxed`` is visible at once and on
///         disk with ``compact`` or ``close``; a crash loses whole commits from the end.
///     cache_bytes: Page cache of the store (default 16 MiB). Snapshots do not use it.
///     threads: Threads of a scan (default one for each processor).
///     journal_keep_ms: How long changes are kept (default 30 days).
///     journal_keep_bytes_max: How many bytes of changes are kept at most (default 256 MiB).
///     tombstone_keep_ms: How long missing files are remembered (default 30 days).
///     history_keep_max: How many operations the history keeps (default 1,000).
///     clock: A clock that a test moves.
///
/// Raises:
///     BusyError, NotAStateFileError, NewerFormatError, CorruptError, ReadOnlyError, PermissionDeniedError,
///     StorageFullError, NotFoundError, IoError.
#[pyfunction]
#[pyo3(signature = (
    path, *, create=true, read_only=false, durability="durable", cache_bytes=None, threads=None,
    journal_keep_ms=None, journal_keep_bytes_max=None, tombstone_keep_ms=None, history_keep_max=None, clock=None
))]
pub(crate) fn open(
    py: Python<'_>,
    path: FsPath,
    create: bool,
    read_only: bool,
    durability: &str,
    cache_bytes: Option<usize>,
    threads: Option<usize>,
    journal_keep_ms: Option<u64>,
    journal_keep_bytes_max: Option<u64>,
    tombstone_keep_ms: Option<u64>,
    history_keep_max: Option<u32>,
    clock: Option<&Clock>,
) -> PyResult<Warden> {
    let durability = convert::one_of(py, "durability", durability, DURABILITIES)?;
    let mut options = treewarden::Warden::options().durability(durability);
    if !create {
        options = options.must_exist();
    }
    if read_only {
        options = options.read_only();
    }
    if let Some(bytes) = cache_bytes {
        options = options.cache_bytes(bytes);
    }
    if let Some(threads) = threads {
        options = options.threads(threads);
    }
    if let Some(ms) = journal_keep_ms {
        options = options.journal_keep_ms(ms);
    }
    if let Some(bytes) = journal_keep_bytes_max {
        options = options.journal_keep_bytes_max(bytes);
    }
    if let Some(ms) = tombstone_keep_ms {
        options = options.tombstone_keep_ms(ms);
    }
    if let Some(operations) = history_keep_max {
        options = options.history_keep_max(operations);
    }
    if let Some(clock) = clock {
        options = options.clock(clock.0.clone());
    }
    let absolute = absolute(&path.0);
    let warden = py.detach(|| options.open(&path.0)).or_raise(py)?;
    Ok(Warden::new(Handle::new(warden, absolute)))
}

/// Where a path leads also after a change of the working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Salvages a damaged state file.
///
/// What can be read goes into a new file under the same name, the damaged one is kept as ``NAME.damaged-N``.
/// Consumers of the journal get a ``ResetError``. Scan afterwards: the trees are the truth.
///
/// Raises:
///     BusyError, NotFoundError, NotAStateFileError, StorageFullError, IoError.
#[pyfunction]
#[pyo3(signature = (path))]
pub(crate) fn rebuild(py: Python<'_>, path: FsPath) -> PyResult<Py<PyAny>> {
    let report = py.detach(|| treewarden::Warden::rebuild(&path.0)).or_raise(py)?;
    types::rebuild_report(py, &report)
}
