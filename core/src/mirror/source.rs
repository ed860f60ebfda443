//! The content of one file on its way to a storage: opened below its root without following anything, looked at
//! before and after, read in ranges within the limits that all uploads share.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::entry::{Compare, Fingerprint, Kind, Stat};
use crate::path::{self, escape};
use crate::sys::{self, Errno};

use super::outbox::{Outbox, Upload};
use super::pace::Pace;
use super::storage::{Source, StorageError, StorageFault, StorageResult};

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// What became of opening a file.
pub(super) enum Opened<'a> {
    File(Box<FileSource<'a>>),
    /// It is gone, or another one than the snapshot knows: the next scan sees what.
    Other,
}

/// One file.
pub(super) struct FileSource<'a> {
    file: File,
    stat: Stat,
    compare: Compare,
    shown: String,
    key: &'a str,
    pace: Arc<Pace>,
    outbox: &'a Outbox,
    upload: std::sync::Mutex<Option<Upload>>,
    tell: &'a (dyn Fn(u64) + Sync),
}

/// Where to find a file, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) key: &'a str,
    /// Relative to the root.
    pub(super) path: &'a [u8],
    pub(super) fingerprint: &'a Fingerprint,
    pub(super) compare: Compare,
}

impl<'a> FileSource<'a> {
    pub(super) fn open(
        root: &OwnedFd,
        wanted: Wanted<'a>,
        pace: &Arc<Pace>,
        outbox: &'a Outbox,
        tell: &'a (dyn Fn(u64) + Sync),
    ) -> StorageResult<Opened<'a>> {
        let shown = escape(wanted.path);
        match open(root, wanted.path) {
            Ok(Some((file, stat))) if wanted.compare.same(&stat.fingerprint(), wanted.fingerprint) => {
                Ok(Opened::File(Box::new(Self {
                    file,
                    stat,
                    compare: wanted.compare,
                    shown,
                    key: wanted.key,
                    pace: Arc::clone(pace),
                    outbox,
                    upload: std::sync::Mutex::new(None),
                    tell,
                })))
            }
            Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(Opened::Other),
            Err(error) => Err(failed(&shown, &std::io::Error::from(error))),
        }
    }

    /// The parts that were sent, when the file was large.
    pub(super) fn upload(&self) -> Option<Upload> {
        self.upload.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

fn open(root: &OwnedFd, at: &[u8]) -> Result<Option<(File, Stat)>, Errno> {
    let (dir, name) = path::split_last(at);
    let name = sys::c_name(name)?;
    let dir = sys::open_dir_below(root, dir)?;
    // Looked at before it is opened: a FIFO or device is never opened.
    if sys::look_at(&dir, &name)?.stat.is_none_or(|stat| stat.kind != Kind::File) {
        return Ok(None);
    }
    let file = File::from(sys::open_file_at(&dir, &name)?);
    Ok(look(&file)?.map(|stat| (file, stat)))
}

fn look(file: &File) -> Result<Option<Stat>, Errno> {
    Ok(sys::look_fd(file)?.stat.filter(|stat| stat.kind == Kind::File))
}

/// Memory for so many bytes, all of it or none: without a check the process would end where there is not enough.
fn room(len: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    content.try_reserve_exact(usize::try_from(len).ok()?).ok()?;
    Some(content)
}

fn failed(shown: &str, error: &std::io::Error) -> StorageError {
    StorageError::new(StorageFault::Source, format!("`{shown}` cannot be read: {error}"))
}

impl Source for FileSource<'_> {
    fn size(&self) -> u64 {
        self.stat.size
    }

    fn read(&self, offset: u64, len: u64) -> StorageResult<bytes::Bytes> {
        let loan = self.pace.take(len)?;
        let mut content = room(len).ok_or_else(|| {
            let text = format!("there is not enough memory for {len} bytes of `{}`", self.shown);
            StorageError::new(StorageFault::Source, text)
        })?;
        let (mut at, end) = (offset, offset.saturating_add(len));
        while at < end {
            self.pace.check()?;
            let begin = content.len();
            let more = usize::try_from(end - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            content.resize(begin + more, 0);
            let block = content.get_mut(begin..).unwrap_or_default();
            self.file.read_exact_at(block, at).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => self.changed(),
                _ => failed(&self.shown, &error),
            })?;
            at += more as u64;
        }
        (self.tell)(len);
        Ok(loan.bytes(content))
    }

    fn check(&self) -> StorageResult<()> {
        match look(&self.file) {
            Ok(Some(stat)) if self.compare.same(&stat.fingerprint(), &self.stat.fingerprint()) => Ok(()),
            Ok(_) => Err(self.changed()),
            Err(error) => Err(failed(&self.shown, &std::io::Error::from(error))),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.pace.check().is_err()
    }

    fn begins(&self, upload_id: &str) -> StorageResult<()> {
        let upload = Upload { key: self.key.to_owned(), upload_id: upload_id.to_owned() };
        self.outbox.begin_upload(&upload).map_err(|error| {
            StorageError::new(StorageFault::Source, format!("it cannot be noted: {error}"))
        })?;
        *self.upload.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(upload);
        crate::testing::pass("mirror-parts");
        Ok(())
    }
}

impl FileSource<'_> {
    fn changed(&self) -> StorageError {
        StorageError::new(StorageFault::Changed, format!("`{}` changed while it was read", self.shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_told_instead_of_ending_the_process() {
        assert!(room(u64::MAX).is_none());
        assert!(room(7).unwrap().capacity() >= 7);
    }
}
