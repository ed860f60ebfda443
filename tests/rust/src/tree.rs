//! A directory tree on disk, built and changed by one-line calls.
//!
//! Every path is relative and in bytes, so that odd names need no other way. All calls panic on
//! failure: a test whose tree is not what it says proves nothing.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use tempfile::TempDir;

/// A tree in a temporary directory of its own, removed with the value.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    _owner: Option<TempDir>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A new empty tree.
    #[must_use]
    pub fn new() -> Self {
        let owner = tempfile::Builder::new().prefix("treewarden-").tempdir().unwrap();
        let path = fs::canonicalize(owner.path()).unwrap();
        Self { path, _owner: Some(owner) }
    }

    /// A new empty tree in memory where there is one, for tests that commit very often.
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = tempfile::Builder::new().prefix("treewarden-").tempdir_in("/dev/shm");
        match memory {
            Ok(owner) => Self { path: fs::canonicalize(owner.path()).unwrap(), _owner: Some(owner) },
            Err(_) => Self::new(),
        }
    }

    /// A tree in a directory that someone else owns and removes.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), _owner: None }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system path of `rel`; the empty path is the tree's own directory.
    #[must_use]
    pub fn join(&self, rel: impl AsRef<[u8]>) -> PathBuf {
        let rel = rel.as_ref();
        if rel.is_empty() { self.path.clone() } else { self.path.join(OsStr::from_bytes(rel)) }
    }

    /// Writes a file, with the directories above it. An existing file keeps its inode.
    pub fn file(&self, rel: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        let path = self.with_parents(rel.as_ref());
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        self
    }

    /// Writes a file beside `rel` and renames it into place, as careful programs do: new inode.
    pub fn replace(&self, rel: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        let target = self.with_parents(rel.as_ref());
        let aside = target.with_file_name(".replacement");
        fs::write(&aside, content).unwrap();
        fs::rename(&aside, &target).unwrap();
        self
    }

    /// Appends to a file that exists.
    pub fn append(&self, rel: impl AsRef<[u8]>, more: impl AsRef<[u8]>) -> &Self {
        let mut file = fs::OpenOptions::new().append(true).open(self.join(rel)).unwrap();
        file.write_all(more.as_ref()).unwrap();
        self
    }

    /// Makes a directory and those above it.
    pub fn dir(&self, rel: impl AsRef<[u8]>) -> &Self {
        let path = self.join(rel);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        self
    }

    /// Makes a symlink at `rel` that says `target`, whatever that is.
    pub fn symlink(&self, target: impl AsRef<[u8]>, rel: impl AsRef<[u8]>) -> &Self {
        let path = self.with_parents(rel.as_ref());
        std::os::unix::fs::symlink(OsStr::from_bytes(target.as_ref()), path).unwrap();
        self
    }

    /// Gives the file `existing` a second name.
    pub fn hard_link(&self, existing: impl AsRef<[u8]>, rel: impl AsRef<[u8]>) -> &Self {
        let path = self.with_parents(rel.as_ref());
        fs::hard_link(self.join(existing), path).unwrap();
        self
    }

    /// Makes a FIFO: opening it for reading would block.
    pub fn fifo(&self, rel: impl AsRef<[u8]>) -> &Self {
        let path = self.with_parents(rel.as_ref());
        rustix::fs::mkfifoat(CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
        self
    }

    /// Renames inside the tree, over whatever is there.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> &Self {
        let to = self.with_parents(to.as_ref());
        let from = self.join(from);
        fs::rename(&from, &to)
            .unwrap_or_else(|e| panic!("rename {} to {}: {e}", from.display(), to.display()));
        self
    }

    /// Lets two names change places in one step.
    pub fn swap(&self, a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> &Self {
        let (a, b) = (self.join(a), self.join(b));
        rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
        self
    }

    /// Moves `from` of this tree to `to` of another.
    pub fn move_to(&self, from: impl AsRef<[u8]>, other: &Self, to: impl AsRef<[u8]>) -> &Self {
        let to = other.with_parents(to.as_ref());
        fs::rename(self.join(from), to).unwrap();
        self
    }

    /// Removes a file or symlink, or a directory with everything below.
    pub fn remove(&self, rel: impl AsRef<[u8]>) -> &Self {
        let path = self.join(rel);
        let is_dir = fs::symlink_metadata(&path).unwrap().is_dir();
        let result = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        result.unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
        self
    }

    /// Sets permission bits.
    pub fn chmod(&self, rel: impl AsRef<[u8]>, mode: u32) -> &Self {
        fs::set_permissions(self.join(rel), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Sets the modification time in nanoseconds since 1970, of a symlink itself too.
    pub fn set_mtime(&self, rel: impl AsRef<[u8]>, mtime_ns: i64) -> &Self {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: mtime_ns.div_euclid(1_000_000_000),
                tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
            },
        };
        rustix::fs::utimensat(CWD, self.join(rel), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        self
    }

    /// Reads the modification time in nanoseconds since 1970.
    #[must_use]
    pub fn mtime(&self, rel: impl AsRef<[u8]>) -> i64 {
        let meta = fs::symlink_metadata(self.join(rel)).unwrap();
        meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
    }

    /// Overwrites a file's content in place and puts its modification time back.
    pub fn edit_secretly(&self, rel: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        let rel = rel.as_ref();
        let mtime = self.mtime(rel);
        self.file(rel, content).set_mtime(rel, mtime)
    }

    /// Gives the whole tree to another user, so that a child without privileges can work in it.
    pub fn give_to(&self, uid: u32) -> &Self {
        let mut open = vec![self.path.clone()];
        while let Some(path) = open.pop() {
            std::os::unix::fs::lchown(&path, Some(uid), Some(uid)).unwrap();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
        }
        self
    }

    fn with_parents(&self, rel: &[u8]) -> PathBuf {
        let path = self.join(rel);
        let parent = path.parent().unwrap();
        fs::create_dir_all(parent).unwrap_or_else(|e| panic!("mkdir {}: {e}", parent.display()));
        path
    }
}

/// The bytes of a file system path.
#[must_use]
pub fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// A path for a message; written apart from the engine's own escaping.
#[must_use]
pub fn show(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}
