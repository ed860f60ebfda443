//! The state file, and the only user of redb. One writer (the commit thread) and any number of
//! readers of rows; the tree itself is read once, at open, and then lives in snapshots.
//!
//! Absent on purpose: nothing here knows what a scan is, and nothing here decides anything.

mod backend;
mod copy;
mod create;
mod fault;
mod load;
mod schema;
mod segment;
mod work;
mod write;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{ReadableDatabase, ReadableTable};

use crate::bytes::Malformed;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{self, Change};
use crate::operation::Operation;
use crate::path::escape;

use backend::Disk;
pub(crate) use copy::Salvage;
pub(crate) use fault::Faults;
#[cfg(feature = "testing")]
pub use fault::{FaultKind, FaultPlan};
pub(crate) use load::Loaded;
pub(crate) use schema::{Counters, FORMAT};
pub(crate) use segment::Segments;
pub(crate) use work::{Owner, WorkTable, WorkWrite};
pub(crate) use write::Txn;

/// How the file is opened.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) cache_bytes: usize,
    pub(crate) faults: Faults,
    /// Opens a file of any format version, to write another one into it.
    #[cfg(feature = "testing")]
    pub(crate) any_format: bool,
}

impl Config {
    pub(crate) fn new(create: bool, read_only: bool, cache_bytes: usize, faults: Faults) -> Self {
        Self {
            create,
            read_only,
            cache_bytes,
            faults,
            #[cfg(feature = "testing")]
            any_format: false,
        }
    }

    #[cfg(feature = "testing")]
    fn takes_any_format(&self) -> bool {
        self.any_format
    }

    #[cfg(not(feature = "testing"))]
    #[allow(clippy::unused_self)]
    fn takes_any_format(&self) -> bool {
        false
    }
}

/// An open database with the lock it holds.
#[derive(Debug)]
struct Db {
    /// Always there; taken when it is closed.
    redb: Option<redb::Database>,
    disk: Arc<Disk>,
}

impl Db {
    fn new(redb: redb::Database, disk: Arc<Disk>) -> Self {
        Self { redb: Some(redb), disk }
    }

    fn redb(&self) -> Result<&redb::Database> {
        self.redb.as_ref().ok_or_else(|| Error::new(ErrorKind::Closed, "the state file is closed"))
    }
}

/// Closing a database whose pages are damaged, or in which a thread has panicked, may panic in turn.
impl Drop for Db {
    fn drop(&mut self) {
        let redb = self.redb.take();
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(redb))).is_err() {
            tracing::error!("the state file could not be closed in order");
        }
    }
}

/// The open state file.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    config: Config,
    /// Replaced as a whole when the file is compacted; held only to clone the handle.
    /// `None` once the file is closed.
    db: RwLock<Option<Arc<Db>>>,
    /// Who opened it: in a child of a `fork` the pages in memory are not those of the file.
    process: u32,
}

/// A consistent view of the rows, independent of the writer.
pub(crate) struct Rows {
    txn: redb::ReadTransaction,
    path: PathBuf,
    db: Arc<Db>,
}

impl Store {
    /// Opens or creates the file, takes its lock, and checks that it is ours.
    pub(crate) fn open(path: &Path, config: Config) -> Result<Self> {
        let path = create::resolve(path)?;
        let db = create::open(&path, &config)?;
        Ok(Self::of(path, config, db))
    }

    /// A store over an open database.
    fn of(path: PathBuf, config: Config, db: Db) -> Self {
        Self { path, config, db: RwLock::new(Some(Arc::new(db))), process: std::process::id() }
    }

    /// Absolute path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.config.read_only
    }

    pub(crate) fn file_bytes(&self) -> Result<u64> {
        let db = self.handle()?;
        let meta = db.disk.file().metadata();
        Ok(meta.map_err(|e| self.io("read the size of", e))?.len())
    }

    fn handle(&self) -> Result<Arc<Db>> {
        if self.process != std::process::id() {
            return Err(Error::forked());
        }
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.clone().ok_or_else(|| Error::new(ErrorKind::Closed, "the warden has been closed"))
    }

    /// Closes the file: its lock is released, at the latest with the last iterator over its rows.
    pub(crate) fn close(&self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(db);
    }

    fn io(&self, doing: &str, error: std::io::Error) -> Error {
        Error::io(doing, self.path.as_os_str().as_bytes(), error)
    }

    /// Gives an error that follows from an earlier failure of the disk that failure's kind.
    pub(crate) fn failed(&self, error: Error) -> Error {
        match self.handle().ok().and_then(|db| db.disk.failure()) {
            Some(kind) if error.kind() == ErrorKind::Io => error.with_kind(kind),
            _ => error,
        }
    }

    /// Reads rows. A damaged page makes redb panic; that must not reach the caller's thread.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Rows) -> Result<T>) -> Result<T> {
        guard(&self.path, || work(&self.begin_rows()?))
    }

    /// A view to read from for as long as it is kept; see [`Rows::guarded`].
    pub(crate) fn rows(&self) -> Result<Rows> {
        guard(&self.path, || self.begin_rows())
    }

    fn begin_rows(&self) -> Result<Rows> {
        let db = self.handle()?;
        let txn = db.redb()?.begin_read().map_err(|e| self.failed(wrap(&self.path, e)))?;
        Ok(Rows { txn, path: self.path.clone(), db })
    }

    /// Reads everything once. A redb page that is damaged may make redb panic; that is caught here
    /// and becomes the typed error that it is.
    pub(crate) fn load(&self) -> Result<Loaded> {
        guard(&self.path, || load::load(&self.rows()?, false))
    }

    /// Reads every row again and checks it, then every page of redb. Nothing may be committed
    /// meanwhile: the pages are read beside the open database.
    pub(crate) fn check(&self) -> Result<()> {
        guard(&self.path, || {
            load::check(&self.rows()?)?;
            let view = self.handle()?.disk.view().map_err(|e| self.io("read", e))?;
            let mut redb = create::database(&self.path, &view, self.config.cache_bytes)?;
            match redb.check_integrity() {
                Ok(true) => Ok(()),
                Ok(false) => Err(write::inconsistent("a page of its store has a wrong checksum")),
                Err(error) => Err(wrap(&self.path, error)),
            }
        })
    }

    /// Copies every row into a fresh file and puts it in place of this one. Readers that are under
    /// way finish on the old file.
    pub(crate) fn compact(&self) -> Result<(u64, u64)> {
        let before = self.file_bytes()?;
        let old = self.handle()?;
        let fresh = guard(&self.path, || copy::compact(&self.path, &self.config, &self.rows()?, before))?;
        if let Some((fresh, durable)) = fresh {
            // The name leads to the new file already: there is no way back, whatever follows.
            *self.db.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(fresh));
            durable?;
        }
        drop(old);
        Ok((before, self.file_bytes()?))
    }

    /// Salvages a damaged file into a new one in its place.
    pub(crate) fn rebuild(path: &Path) -> Result<Salvage> {
        let path = create::resolve(path)?;
        copy::rebuild(&path)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn set_format_version(path: &Path, version: u32) -> Result<()> {
        let config = Config { any_format: true, ..Config::new(false, false, 1 << 20, Faults::default()) };
        let store = Self::open(path, config)?;
        let txn = store.begin(crate::options::Durability::Durable)?;
        txn.put_format(version)?;
        txn.commit()
    }
}

impl Rows {
    /// Reads from a view that is kept; a panic of the store over a damaged page becomes an error.
    pub(crate) fn guarded<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        guard(&self.path, || work(self))
    }

    fn error(&self, error: impl Into<redb::Error>) -> Error {
        wrap_plain(error)
    }

    /// A value of a space.
    pub(crate) fn space_get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let table = self.txn.open_table(schema::SPACES).map_err(|e| self.error(e))?;
        let key = schema::space_key(space, key);
        let found = table.get(key.as_slice()).map_err(|e| self.error(e))?;
        found.map(|row| space_value(&key, row.value())).transpose()
    }

    /// Keys of a space that start with `prefix` and come after `after`, in byte order.
    pub(crate) fn space_range(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let table = self.txn.open_table(schema::SPACES).map_err(|e| self.error(e))?;
        let base = schema::space_key(space, b"");
        let from = schema::space_key(space, prefix);
        let after = after.map(|key| schema::space_key(space, key)).filter(|key| *key >= from);
        let lower = after.as_deref().map_or(Bound::Included(from.as_slice()), Bound::Excluded);
        let range = table.range::<&[u8]>((lower, Bound::Unbounded)).map_err(|e| self.error(e))?;
        let mut out = Vec::new();
        for row in range {
            if out.len() >= limit {
                break;
            }
            let (key, value) = row.map_err(|e| self.error(e))?;
            let Some(rest) = key.value().strip_prefix(base.as_slice()) else { break };
            if !rest.starts_with(prefix) {
                break;
            }
            out.push((rest.to_vec(), space_value(key.value(), value.value())?));
        }
        Ok(out)
    }

    /// The attributes of an entry.
    pub(crate) fn attrs(&self, id: u64) -> Result<BTreeMap<String, Vec<u8>>> {
        let table = self.txn.open_table(schema::ATTRS).map_err(|e| self.error(e))?;
        match table.get(id).map_err(|e| self.error(e))? {
            Some(row) => schema::decode_attrs(id, row.value()).map_err(|e| damaged("an attribute row", e)),
            None => Ok(BTreeMap::new()),
        }
    }

    pub(crate) fn cursor(&self, name: &str) -> Result<Option<u64>> {
        let table = self.txn.open_table(schema::CURSORS).map_err(|e| self.error(e))?;
        let found = table.get(name).map_err(|e| self.error(e))?;
        found.map(|row| cursor_value(name, row.value())).transpose()
    }

    pub(crate) fn cursors(&self) -> Result<Vec<(String, u64)>> {
        let table = self.txn.open_table(schema::CURSORS).map_err(|e| self.error(e))?;
        let mut out = Vec::new();
        for row in table.iter().map_err(|e| self.error(e))? {
            let (name, seq) = row.map_err(|e| self.error(e))?;
            let seq = cursor_value(name.value(), seq.value())?;
            out.push((name.value().to_owned(), seq));
        }
        Ok(out)
    }

    /// The newest operations first.
    pub(crate) fn operations(&self, limit: usize) -> Result<Vec<Operation>> {
        let table = self.txn.open_table(schema::OPERATIONS).map_err(|e| self.error(e))?;
        let mut out = Vec::new();
        for row in table.iter().map_err(|e| self.error(e))?.rev().take(limit) {
            let (id, row) = row.map_err(|e| self.error(e))?;
            let operation = schema::decode_operation(id.value(), row.value());
            out.push(operation.map_err(|e| damaged("a history row", e))?);
        }
        Ok(out)
    }

    /// The row of the journal at or after a place, and the place after it.
    pub(crate) fn journal_row(&self, from: (u64, u32), out: &mut Vec<Change>) -> Result<Option<(u64, u32)>> {
        let table = self.txn.open_table(schema::JOURNAL).map_err(|e| self.error(e))?;
        let mut range = table.range(from..).map_err(|e| self.error(e))?;
        let Some(row) = range.next() else { return Ok(None) };
        let (key, row) = row.map_err(|e| self.error(e))?;
        let (seq, part) = key.value();
        let row = schema::unseal(schema::journal_seed(seq, part), row.value())
            .map_err(|e| damaged("a journal row", e))?;
        let (_time, body) =
            row.split_first_chunk::<8>().ok_or(Malformed).map_err(|e| damaged("a journal row", e))?;
        journal::decode(seq, body, out).map_err(|e| damaged("a journal row", e))?;
        Ok(Some((seq, part.saturating_add(1))))
    }

    pub(crate) fn counters(&self) -> Result<Counters> {
        load::counters(self)
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("db", &self.db).finish_non_exhaustive()
    }
}

/// The typed error for what redb says, about the file at `path`.
fn wrap(path: &Path, error: impl Into<redb::Error>) -> Error {
    wrap_plain(error).with_path(path.as_os_str().as_bytes())
}

fn wrap_plain(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let (kind, hint) = match &error {
        redb::Error::Io(io) => match ErrorKind::of_io(io) {
            ErrorKind::StorageFull => {
                (ErrorKind::StorageFull, "free some space, then open the state file again")
            }
            ErrorKind::ReadOnly => (ErrorKind::ReadOnly, "the state file cannot be written to"),
            // A short file: redb reads beyond the end.
            _ if io.kind() == std::io::ErrorKind::UnexpectedEof => (ErrorKind::Corrupt, REBUILD_HINT),
            kind => (kind, "check the disk that holds the state file, then open it again"),
        },
        redb::Error::PreviousIo => (ErrorKind::Io, "close the warden and open the state file again"),
        redb::Error::DatabaseAlreadyOpen => (ErrorKind::Busy, "close the other program first"),
        redb::Error::DatabaseClosed => (ErrorKind::Closed, "open the state file again"),
        redb::Error::ValueTooLarge(_) => (ErrorKind::TooLarge, "store less in one value"),
        redb::Error::UpgradeRequired(_) => (ErrorKind::NewerFormat, "use the version that wrote it"),
        _ => (ErrorKind::Corrupt, REBUILD_HINT),
    };
    Error::new(kind, format!("the state file cannot be used: {error}")).with_hint(hint).with_source(error)
}

const REBUILD_HINT: &str =
    "`treewarden rebuild` keeps the damaged file and salvages what it can into a new one";

fn damaged(what: &str, _: Malformed) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the state file is damaged: {what} cannot be read"))
        .with_hint(REBUILD_HINT)
}

/// The value in a row of the spaces, after checking it against its key.
fn space_value(key: &[u8], row: &[u8]) -> Result<Vec<u8>> {
    let value = schema::unseal(schema::space_seed(key), row);
    value.map(<[u8]>::to_vec).map_err(|e| damaged("a value of a space", e))
}

fn cursor_value(name: &str, row: &[u8]) -> Result<u64> {
    schema::decode_cursor(name, row).map_err(|e| damaged("a cursor", e))
}

/// Runs `work` so that a panic of the store becomes an error about a damaged file.
fn guard<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Err(error)) if error.path().is_none() => Err(error.with_path(path.as_os_str().as_bytes())),
        Ok(result) => result,
        Err(_) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("the state file `{}` is damaged: its store failed", escape(path.as_os_str().as_bytes())),
        )
        .with_path(path.as_os_str().as_bytes())
        .with_hint(REBUILD_HINT)),
    }
}
