//! A directory tree as the place of a partitioned export.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;

use super::ExportSink;
use super::place::{check_name, check_newest, parent_of, part_number, sync_dir, unnamed};

/// Bytes of one name in a directory at most, on all common file systems.
const NAME_BYTES_MAX: usize = 255;

/// A directory on this machine as the place of a partitioned export.
#[derive(Debug)]
pub struct DirectorySink {
    dir: PathBuf,
    /// What it has made, parents first.
    made: Vec<PathBuf>,
    /// The directories that have taken files, by device and inode.
    filled: HashMap<(u64, u64), PathBuf>,
}

impl DirectorySink {
    /// Makes the directory, and those above it, where they are not there.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when something else is there, `PermissionDenied`, `ReadOnly`, `StorageFull` or `Io`.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let mut sink = Self { dir: PathBuf::new(), made: Vec::new(), filled: HashMap::new() };
        sink.make(&dir).inspect_err(|_| sink.remove_empty())?;
        sink.dir = dir;
        Ok(sink)
    }

    fn make(&mut self, dir: &Path) -> Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.make(parent)?;
        }
        let bytes = dir.as_os_str().as_bytes();
        match fs::create_dir(dir) {
            Ok(()) => {
                self.made.push(dir.to_owned());
                sync_dir(parent_of(dir))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Another export may have made it just now.
                if dir.is_dir() {
                    return Ok(());
                }
                Err(Error::invalid(format!("`{}` is not a directory", escape(bytes)))
                    .with_path(bytes)
                    .with_hint("a partitioned export needs a directory of its own"))
            }
            Err(error) => Err(Error::io("make the directory", bytes, error)),
        }
    }

    /// Refuses a second name of a directory that has taken a file: where names that differ in case are one, the part of
    /// one root would take the place of that of another.
    fn check_own(&mut self, folder: &Path) -> Result<()> {
        let bytes = folder.as_os_str().as_bytes();
        let data = fs::metadata(folder).map_err(|error| Error::io("look at", bytes, error))?;
        let id = (data.dev(), data.ino());
        // One that was removed may have left its inode to this one.
        let is_other = |first: &&PathBuf| {
            first.as_path() != folder && fs::metadata(first).is_ok_and(|data| (data.dev(), data.ino()) == id)
        };
        let other = self.filled.get(&id).filter(is_other).map(|first| escape(first.as_os_str().as_bytes()));
        let Some(other) = other else {
            self.filled.insert(id, folder.to_owned());
            return Ok(());
        };
        Err(Error::new(ErrorKind::Conflict, format!("`{}` and `{other}` are one directory here", escape(bytes)))
            .with_path(bytes)
            .with_hint(
                "the file system takes both names for one: rename one of the roots, or export to another file system",
            ))
    }

    /// Removes what it has made and nobody has filled.
    pub(super) fn remove_empty(&mut self) {
        for dir in self.made.drain(..).rev() {
            let _ = fs::remove_dir(dir);
        }
    }
}

impl ExportSink for DirectorySink {
    /// Moves the file, which must lie on the same file system.
    fn put(&mut self, name: &str, file: &Path) -> Result<()> {
        check_name(name)?;
        for component in name.split('/') {
            if component.len() > NAME_BYTES_MAX {
                let long = format!(
                    "the name `{}` is longer than {NAME_BYTES_MAX} bytes",
                    escape(component.as_bytes())
                );
                return Err(Error::new(ErrorKind::TooLarge, long).with_path(name).with_hint(
                    "give the root or the host a shorter name (what is no ASCII letter takes three bytes), or take one file",
                ));
            }
        }
        let target = self.dir.join(name);
        let folder = parent_of(&target);
        let number = target.file_name().and_then(|own| part_number(own.as_bytes()));
        self.make(folder)?;
        self.check_own(folder)?;
        if let Some(own) = number {
            let newest = parts(folder)?.into_iter().map(|(number, _)| number).max();
            check_newest(own, newest, folder.as_os_str().as_bytes())?;
        }
        fs::rename(file, &target).map_err(|error| unnamed(&target, error))?;
        sync_dir(folder)?;
        number.map_or(Ok(()), |own| remove_older(folder, own))
    }
}

/// The parts of snapshots in a directory.
fn parts(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let unlisted = |error| Error::io("list", folder.as_os_str().as_bytes(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        found.extend(part_number(entry.file_name().as_bytes()).map(|number| (number, entry.path())));
    }
    Ok(found)
}

/// A part of a snapshot takes the place of all older ones.
fn remove_older(folder: &Path, own: u64) -> Result<()> {
    let parts = parts(folder)?;
    // An export that began later may have been faster: then its part is the one that stays.
    let newest = parts.iter().map(|(number, _)| *number).fold(own, u64::max);
    for (_, path) in parts.into_iter().filter(|(number, _)| *number < newest) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove the older part", path.as_os_str().as_bytes(), error)
                    .with_hint("the new one is in place; until the older one is gone, its rows count, too"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_one_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let mut sink = DirectorySink::new(dir.path()).unwrap();
        sink.put("host=h/root=Photos/part-1.parquet", &file("1")).unwrap();
        // As on a file system that takes names for one.
        std::os::unix::fs::symlink("root=Photos", dir.path().join("host=h/root=photos")).unwrap();
        let error = sink.put("host=h/root=photos/part-1.parquet", &file("2")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(fs::read(dir.path().join("host=h/root=Photos/part-1.parquet")).unwrap(), b"1");
        sink.put("host=h/root=Photos/changes-1.parquet", &file("3")).unwrap();
        sink.put("host=h/root=music/part-1.parquet", &file("4")).unwrap();
    }

    #[test]
    fn of_parts_the_newest_stays_whosever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let names =
            ["part-6.parquet", "part-7.parquet", "part-9.parquet", "part-10.parquet", "changes-1.parquet"];
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let left = || {
            let mut left: Vec<_> =
                fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            left.sort();
            left
        };
        remove_older(dir.path(), 7).unwrap();
        assert_eq!(left(), ["changes-1.parquet", "part-10.parquet"]);
        remove_older(dir.path(), 10).unwrap();
        assert_eq!(left(), ["changes-1.parquet", "part-10.parquet"]);
    }
}
