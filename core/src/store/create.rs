//! Opening and creating the file: 0600, never through a symlink, under a lock, and complete before
//! it has its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::ReadableDatabase;
use rustix::fs::{CWD, OFlags, RenameFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::options::Durability;
use crate::path::escape;

use super::backend::{Backend, Disk};
use super::schema::{self, Counters, FORMAT};
use super::{Config, Db, Store, guard, wrap};

/// First bytes of every redb file.
const REDB_MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Makes the path absolute, with its directory resolved; the file itself may not exist yet.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let name = path.file_name().ok_or_else(|| {
        Error::invalid(format!("`{}` is not the name of a file", escape(bytes))).with_path(bytes)
    })?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().map_err(|e| {
        Error::io("find the directory of the state file", bytes, e).with_hint("create the directory first")
    })?;
    Ok(parent.join(name))
}

pub(super) fn open(path: &Path, config: &Config) -> Result<Db> {
    for _ in 0..8 {
        match open_file(path, config.read_only) {
            Ok(file) => return open_existing(path, file, config),
            Err(error) if error.kind() == io::ErrorKind::NotFound && config.create => {
                if let Some(db) = create(path, config)? {
                    return Ok(db);
                }
                // Another process created it in between: open that one.
            }
            Err(error) => return Err(explain_open(path, error)),
        }
    }
    Err(Error::new(ErrorKind::Busy, "the state file keeps appearing and disappearing")
        .with_path(path.as_os_str().as_bytes()))
}

fn open_file(path: &Path, read_only: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    OpenOptions::new().read(true).write(!read_only).custom_flags(flags.bits().cast_signed()).open(path)
}

fn explain_open(path: &Path, error: io::Error) -> Error {
    let bytes = path.as_os_str().as_bytes();
    let shown = escape(bytes);
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    match code {
        Some(rustix::io::Errno::LOOP) => Error::new(
            ErrorKind::NotAStateFile,
            format!("the state file `{shown}` is a symlink, which is not followed"),
        )
        .with_path(bytes)
        .with_hint("give the path that the link points to"),
        Some(rustix::io::Errno::ISDIR) => {
            Error::new(ErrorKind::NotAStateFile, format!("the state file `{shown}` is a directory"))
                .with_path(bytes)
                .with_hint("give the path of a file inside it, such as `state.tw`")
        }
        _ => Error::io("open the state file", bytes, error),
    }
}

fn busy(path: &Path) -> Error {
    let bytes = path.as_os_str().as_bytes();
    Error::new(ErrorKind::Busy, format!("the state file `{}` is in use", escape(bytes)))
        .with_path(bytes)
        .with_hint("another process, or another handle in this one, holds it: close that first")
}

fn not_ours(path: &Path, why: &str) -> Error {
    let bytes = path.as_os_str().as_bytes();
    Error::new(ErrorKind::NotAStateFile, format!("`{}` is not a Treewarden state file: {why}", escape(bytes)))
        .with_path(bytes)
        .with_hint("give another path; this file is left as it is")
}

fn open_existing(path: &Path, file: File, config: &Config) -> Result<Db> {
    let bytes = path.as_os_str().as_bytes();
    let meta = file.metadata().map_err(|e| Error::io("read the state file", bytes, e))?;
    if !meta.is_file() {
        let why = if meta.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(not_ours(path, why));
    }
    let mut magic = [0; 9];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if magic == *REDB_MAGIC => {}
        Ok(()) => return Err(not_ours(path, "it starts otherwise")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(not_ours(path, "it is too short"));
        }
        Err(error) => return Err(Error::io("read the state file", bytes, error)),
    }
    let lock = Disk::lock(file, config.read_only, config.faults.clone());
    let disk = lock.map_err(|e| Error::io("lock the state file", bytes, e))?.ok_or_else(|| busy(path))?;
    still_named(path, &disk)?;
    guard(path, || {
        let db = database(path, &disk, config.cache_bytes)?;
        let txn = db.begin_read().map_err(|e| wrap(path, e))?;
        let table = match txn.open_table(schema::META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_) | redb::TableError::TableTypeMismatch { .. }) => {
                return Err(not_ours(path, "it is a redb database of another program"));
            }
            Err(error) => return Err(wrap(path, error)),
        };
        let format = table.get(schema::META_FORMAT).map_err(|e| wrap(path, e))?;
        let format = format.and_then(|row| Some(u32::from_le_bytes(*row.value().first_chunk::<4>()?)));
        match format {
            None => Err(not_ours(path, "it has no format version")),
            Some(FORMAT) => Ok(()),
            Some(_) if config.takes_any_format() => Ok(()),
            Some(version) => Err(Error::new(
                ErrorKind::NewerFormat,
                format!(
                    "the state file `{}` has format {version}, this version reads {FORMAT}",
                    escape(bytes)
                ),
            )
            .with_path(bytes)
            .with_hint("use the version of Treewarden that wrote it, or a newer one")),
        }?;
        drop(table);
        drop(txn);
        Ok(Db::new(db, Arc::clone(&disk)))
    })
}

/// The lock is worth something only on the file that still has the name: a compaction by another
/// process may have put a new one there.
fn still_named(path: &Path, disk: &Disk) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let held =
        rustix::fs::fstat(disk.file()).map_err(|e| Error::io("read the state file", bytes, e.into()))?;
    match rustix::fs::lstat(path) {
        Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => Ok(()),
        _ => Err(busy(path)),
    }
}

pub(super) fn database(path: &Path, disk: &Arc<Disk>, cache_bytes: usize) -> Result<redb::Database> {
    redb::Builder::new()
        .set_cache_size(cache_bytes)
        .create_with_backend(Backend(Arc::clone(disk)))
        .map_err(|e| wrap(path, e))
}

/// Creates the file under another name, complete, and then gives it its own. `None` when another
/// process was faster.
fn create(path: &Path, config: &Config) -> Result<Option<Db>> {
    let fresh = Fresh::new(path, config)?;
    let store = Store::of(path.to_owned(), config.clone(), fresh.db);
    let database = new_database_id().map_err(|e| store.io("draw a database id for", e))?;
    let made = (|| {
        let txn = store.begin(Durability::Durable)?;
        txn.put_format(FORMAT)?;
        txn.put_database(database)?;
        txn.create_tables()?;
        txn.put_counters(&Counters { next_id: 1, next_root: 1, ..Counters::default() })?;
        txn.commit()
    })();
    let db = store.db.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let db = db
        .and_then(Arc::into_inner)
        .ok_or_else(|| Error::new(ErrorKind::Io, "the new state file is in use"))?;
    if let Err(error) = made {
        let _ = std::fs::remove_file(&fresh.path);
        return Err(error);
    }
    let parent = open_parent(path)?;
    if !fresh.path.give_name(path, RenameFlags::NOREPLACE)? {
        return Ok(None);
    }
    sync(&parent)?;
    Ok(Some(db))
}

/// A file on its way to replace, or become, the state file.
pub(super) struct Fresh {
    pub(super) path: FreshPath,
    pub(super) db: Db,
}

/// The temporary name; removed by whoever fails before the rename.
#[derive(Debug, Clone)]
pub(super) struct FreshPath(PathBuf);

impl AsRef<Path> for FreshPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Fresh {
    /// A new, locked, empty database beside `path`. Its name starts with that of the state file
    /// and `-tw-`, which a scan of that directory knows as the engine's own.
    pub(super) fn new(path: &Path, config: &Config) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        let unique =
            new_database_id().map_err(|e| Error::io("draw a name beside", path.as_os_str().as_bytes(), e))?;
        name.push(format!("-tw-{:016x}", unique as u64));
        let temporary = PathBuf::from(name);
        let bytes = temporary.as_os_str().as_bytes().to_vec();
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(&temporary)
            .map_err(|e| Error::io("create the state file", path.as_os_str().as_bytes(), e))?;
        let made = (|| {
            let lock = Disk::lock(file, false, config.faults.clone());
            let disk = lock.map_err(|e| Error::io("lock", &bytes, e))?.ok_or_else(|| busy(path))?;
            disk.arm().map_err(|e| Error::io("write", &bytes, e))?;
            let redb = database(path, &disk, config.cache_bytes)?;
            Ok(Db::new(redb, disk))
        })();
        match made {
            Ok(db) => Ok(Self { path: FreshPath(temporary), db }),
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                Err(error)
            }
        }
    }
}

impl FreshPath {
    /// Renames the file. False when `flags` forbid replacing and
    /// the name is taken.
    ///
    /// The name is durable only after [`sync`] of the parent; that may fail when there is no way
    /// back, so it is the caller's to do.
    pub(super) fn give_name(&self, path: &Path, flags: RenameFlags) -> Result<bool> {
        let bytes = path.as_os_str().as_bytes();
        let renamed = match rustix::fs::renameat_with(CWD, &self.0, CWD, path, flags) {
            // File systems without RENAME_NOREPLACE: a link refuses to replace just as well.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                rustix::fs::link(&self.0, path).and_then(|()| rustix::fs::unlink(&self.0))
            }
            other => other,
        };
        match renamed {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => {
                let _ = std::fs::remove_file(&self.0);
                Ok(false)
            }
            Err(error) => {
                let _ = std::fs::remove_file(&self.0);
                Err(Error::io("name the state file", bytes, error.into()))
            }
        }
    }
}

/// Opens the directory of the state file, to be synced once a name in it has changed.
pub(super) fn open_parent(path: &Path) -> Result<File> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).map_err(|e| Error::io("open the directory", parent.as_os_str().as_bytes(), e))
}

/// Makes the names in a directory durable. Some file systems have nothing to sync there and say so.
pub(super) fn sync(parent: &File) -> Result<()> {
    match parent.sync_all() {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Ok(()),
        result => result.map_err(|e| Error::io("make durable the directory of", b"the state file", e)),
    }
}

/// 128 random bits from the kernel.
pub(super) fn new_database_id() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
