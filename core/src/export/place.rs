//! A file beside the place where it is to be, and its way there: locked while it is written, gone when it was in vain.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;

/// Readers of directories pass over names that begin with a dot, and over what does not end in `.parquet`.
const DRAFT: &str = ".treewarden-export-";

/// Drafts in one directory at most.
const DRAFTS_MAX: u32 = 100_000;

/// Drafts that may be taken away while they are created; more than a few mean that files have no lasting identity here.
const LOST_MAX: u32 = 100;

/// A file that has no name of its own yet; without one it does not stay.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    /// Device and inode: a draft of somebody else may have the same path by now.
    identity: Option<(u64, u64)>,
}

impl Draft {
    /// Creates a locked draft in `dir`, numbered from `next` on.
    pub(super) fn create(dir: &Path, next: &mut u32) -> Result<(Self, File)> {
        let mut lost = 0;
        while *next < DRAFTS_MAX && lost < LOST_MAX {
            let path = dir.join(format!("{DRAFT}{next}"));
            *next += 1;
            let file = match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(unwritable(dir, error)),
            };
            // Between these two lines another export may take it for a left-over: it then holds the lock, or the path
            // leads to nothing or to a draft of its own. A file system without locks is no hindrance: what cannot be
            // locked is never removed.
            let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            let identity = identity_of(&file);
            if !is_taken && identity.is_some() && identity_at(&path) == identity {
                return Ok((Self { path, identity }, file));
            }
            lost += 1;
        }
        let dir = dir.as_os_str().as_bytes();
        Err(Error::new(ErrorKind::Io, format!("there is no name for a draft in `{}`", escape(dir)))
            .with_path(dir)
            .with_hint(format!("remove the files there whose names begin with `{DRAFT}`")))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if identity_at(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity_at(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn identity_of(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Removes the drafts of killed processes. One that is locked is still being written.
pub(super) fn remove_left_over(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_bytes().strip_prefix(DRAFT.as_bytes());
        let is_draft = number.is_some_and(is_number) && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_draft {
            continue;
        }
        let path = entry.path();
        let Ok(file) = File::open(&path) else { continue };
        // It may have got its name since it was listed, and its path be that of another draft.
        let opened = identity_of(&file);
        if file.try_lock().is_ok() && opened.is_some() && identity_at(&path) == opened {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_number(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The number of a part of a snapshot, `part-N.parquet`.
pub(super) fn part_number(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"part-")?.strip_suffix(b".parquet")?;
    std::str::from_utf8(digits).ok().filter(|_| is_number(digits))?.parse().ok()
}

/// Refuses what is no name of a file in a partitioned export.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err(Error::invalid(format!("`{}` is no name of an export", escape(name.as_bytes()))));
    }
    Ok(())
}

/// Refuses to put a part beside a newer one: both would count, and the newer one is never removed.
pub(super) fn check_newest(own: u64, newest: Option<u64>, folder: &[u8]) -> Result<()> {
    match newest {
        Some(newest) if newest > own => {
            let text = format!("`part-{newest}.parquet` in `{}` is newer than this export", escape(folder));
            Err(Error::new(ErrorKind::Conflict, text).with_path(folder).with_hint(
                "another export was faster; or the part is of another state file: then remove it, or take another \
                 name for the host",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses a place that is taken, before any work is done for it.
pub(super) fn check_free(dest: &Path, replace: bool) -> Result<()> {
    let bytes = dest.as_os_str().as_bytes();
    let shown = escape(bytes);
    if dest.file_name().is_none() || fs::metadata(dest).is_ok_and(|meta| meta.is_dir()) {
        return Err(Error::invalid(format!("`{shown}` is a directory, or no name of a file"))
            .with_path(bytes)
            .with_hint("name a file in it, or ask for a partitioned export"));
    }
    let meta = match fs::symlink_metadata(dest) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("look at", bytes, error)),
    };
    if !replace {
        return Err(taken(dest));
    }
    let mut magic = [0; 4];
    let is_parquet = meta.is_file()
        && (meta.len() == 0
            || File::open(dest)
                .is_ok_and(|mut file| file.read_exact(&mut magic).is_ok() && magic == *b"PAR1"));
    if is_parquet {
        return Ok(());
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("`{shown}` is there, and it is no Parquet file"))
        .with_path(bytes)
        .with_hint("only Parquet files are replaced; take another name"))
}

fn taken(dest: &Path) -> Error {
    let bytes = dest.as_os_str().as_bytes();
    Error::new(ErrorKind::AlreadyExists, format!("`{}` is there already", escape(bytes)))
        .with_path(bytes)
        .with_hint("take another name, or ask to replace it")
}

/// Gives a draft its name. Only a link refuses in the same step to replace what is there.
pub(super) fn give_name(draft: &Path, dest: &Path, replace: bool) -> Result<()> {
    let named = if replace { fs::rename(draft, dest) } else { fs::hard_link(draft, dest) };
    match named {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(dest)),
        // FAT and some network file systems have no links, and say it in one of these ways.
        Err(error) if !replace && has_no_links(&error) => {
            if fs::symlink_metadata(dest).is_ok() {
                return Err(taken(dest));
            }
            fs::rename(draft, dest).map_err(|error| unnamed(dest, error))
        }
        Err(error) => Err(unnamed(dest, error)),
    }
}

fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported)
}

pub(super) fn unnamed(dest: &Path, error: io::Error) -> Error {
    Error::io("give the export the name", dest.as_os_str().as_bytes(), error)
}

/// The directory that a name lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// Makes the names in a directory durable. Some file systems have nothing to sync there and say so.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
            Err(Error::io("make durable the directory", dir.as_os_str().as_bytes(), error))
        }
        _ => Ok(()),
    }
}

pub(super) fn unwritable(dir: &Path, error: io::Error) -> Error {
    let kind = ErrorKind::of_io(&error);
    let error = Error::io("write a file in", dir.as_os_str().as_bytes(), error);
    match kind {
        ErrorKind::NotFound => error.with_hint("the directory must be there: make it first"),
        ErrorKind::StorageFull => error.with_hint("make room and export again; nothing was replaced"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_over_is_removed_unless_it_is_locked_or_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [".treewarden-export-7", ".treewarden-export-x", ".treewarden-export-", "a.parquet"] {
            fs::write(at(name), "half").unwrap();
        }
        let (draft, file) = Draft::create(dir.path(), &mut 7).unwrap();
        assert_eq!(draft.path, at(".treewarden-export-8"), "the first free number");
        remove_left_over(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(
            left,
            [".treewarden-export-", ".treewarden-export-8", ".treewarden-export-x", "a.parquet"]
        );
        drop((draft, file));
        assert!(!at(".treewarden-export-8").exists(), "a draft without a name does not stay");
    }

    #[test]
    fn a_part_is_known_by_its_number() {
        for (name, number) in [
            ("part-7.parquet", Some(7)),
            ("part-18446744073709551615.parquet", Some(u64::MAX)),
            ("part-18446744073709551616.parquet", None),
            ("part-.parquet", None),
            ("part-+7.parquet", None),
            ("part-7-ab.parquet", None),
            ("part-7/part-8.parquet", None),
            ("part-7.parquet.bak", None),
            ("changes-7.parquet", None),
        ] {
            assert_eq!(part_number(name.as_bytes()), number, "{name}");
        }
        assert!(check_newest(7, None, b"f").is_ok() && check_newest(7, Some(7), b"f").is_ok());
        assert_eq!(check_newest(7, Some(8), b"f").unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_draft_that_is_somebody_elses_by_now_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (draft, _file) = Draft::create(dir.path(), &mut 0).unwrap();
        fs::rename(&draft.path, dir.path().join("done.parquet")).unwrap();
        fs::write(&draft.path, "of another").unwrap();
        let path = draft.path.clone();
        drop(draft);
        assert_eq!(fs::read(path).unwrap(), b"of another");
    }
}
