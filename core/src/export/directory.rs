//! A directory tree as the place of a partitioned export.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;

use super::ExportSink;
use super::place::{is_number, parent_of, sync_dir, unnamed};

/// Bytes of one name in a directory at most, on all common file systems.
const NAME_BYTES_MAX: usize = 255;

/// A directory on this machine as the place of a partitioned export.
#[derive(Debug)]
pub struct DirectorySink {
    dir: PathBuf,
    /// What it has made, parents first.
    made: Vec<PathBuf>,
}

impl DirectorySink {
    /// Makes the directory, and those above it, where they are not there.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when something else is there, `PermissionDenied`, `ReadOnly`, `StorageFull` or `Io`.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let mut sink = Self { dir: PathBuf::new(), made: Vec::new() };
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
        for component in name.split('/') {
            if matches!(component, "" | "." | "..") {
                return Err(Error::invalid(format!("`{}` is no name of an export", escape(name.as_bytes()))));
            }
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
        self.make(folder)?;
        fs::rename(file, &target).map_err(|error| unnamed(&target, error))?;
        sync_dir(folder)?;
        remove_older(folder, &target)
    }
}

/// A part of a snapshot takes the place of all others.
fn remove_older(folder: &Path, target: &Path) -> Result<()> {
    let is_part = |name: &[u8]| {
        let number = name.strip_prefix(b"part-").and_then(|rest| rest.strip_suffix(b".parquet"));
        number.is_some_and(is_number)
    };
    let Some(own) = target.file_name().filter(|own| is_part(own.as_bytes())) else { return Ok(()) };
    let unlisted = |error| Error::io("list", folder.as_os_str().as_bytes(), error);
    for entry in fs::read_dir(folder).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        let name = entry.file_name();
        if name == own || !is_part(name.as_bytes()) {
            continue;
        }
        let path = entry.path();
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
