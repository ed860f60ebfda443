//! The file under redb. redb writes to a file by merely opening it; this backend keeps such writes
//! in memory until the first commit asks for the file to be armed, so that looking changes nothing
//! on disk. It also holds the lock of the process, and injects faults for the tests.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::ErrorKind;

use super::fault::Faults;

/// State shared between redb, which owns the backend, and the store, which arms it.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    read_only: bool,
    armed: AtomicBool,
    pending: Mutex<Pending>,
    faults: Faults,
    /// Kind of the first failure: redb later says only that there was one.
    failure: OnceLock<ErrorKind>,
    /// False for a second view of the file, which must leave the lock alone.
    owns_lock: bool,
}

/// Writes that have not reached the file: whole pieces by offset, and the length if it changed.
#[derive(Debug, Default)]
struct Pending {
    pieces: BTreeMap<u64, Vec<u8>>,
    len: Option<u64>,
}

impl Disk {
    /// Takes the lock of the process: exclusive, or shared for reading only. `None` when another
    /// handle has it.
    pub(crate) fn lock(file: File, read_only: bool, faults: Faults) -> io::Result<Option<Arc<Self>>> {
        let locked = if read_only { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => Ok(Some(Arc::new(Self {
                file,
                read_only,
                armed: AtomicBool::new(false),
                pending: Mutex::default(),
                faults,
                failure: OnceLock::new(),
                owns_lock: true,
            }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A second view of the same file that can never write to it.
    pub(crate) fn view(&self) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            file: self.file.try_clone()?,
            read_only: true,
            armed: AtomicBool::new(false),
            pending: Mutex::default(),
            faults: Faults::default(),
            failure: OnceLock::new(),
            owns_lock: false,
        }))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Lets writes through from now on, first those that were kept back.
    pub(crate) fn arm(&self) -> io::Result<()> {
        if self.armed.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        self.faults.check()?;
        if let Some(len) = pending.len {
            self.file.set_len(len)?;
        }
        for (offset, piece) in &pending.pieces {
            self.file.write_all_at(piece, *offset)?;
        }
        // The mark "in use" must be on disk before anything that it guards.
        self.file.sync_data()?;
        *pending = Pending::default();
        self.armed.store(true, Ordering::Release);
        Ok(())
    }

    /// What the disk failed with first, if it did.
    pub(crate) fn failure(&self) -> Option<ErrorKind> {
        self.failure.get().copied()
    }

    /// Remembers a failure.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let _ = self.failure.set(ErrorKind::of_io(error));
        }
        result
    }

    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    fn file_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// The handle that redb owns.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Arc<Disk>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.note(self.0.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.note(self.0.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.note(self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.note(self.0.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.note(self.0.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        if self.0.owns_lock { self.0.file.unlock() } else { Ok(()) }
    }
}

impl Disk {
    fn len(&self) -> io::Result<u64> {
        self.faults.check()?;
        if !self.is_armed() {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(len) = pending.len {
                return Ok(len);
            }
        }
        self.file_len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.faults.check()?;
        if self.is_armed() {
            return self.file.read_exact_at(out, offset);
        }
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len.is_none() && pending.pieces.is_empty() {
            return self.file.read_exact_at(out, offset);
        }
        // What the file does not hold yet reads as zero, as set_len promises.
        let on_disk = self.file_len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        let (from_file, beyond) = out.split_at_mut(on_disk);
        self.file.read_exact_at(from_file, offset)?;
        beyond.fill(0);
        let end = offset + out.len() as u64;
        for (&start, piece) in pending.pieces.range(..end) {
            let piece_end = start + piece.len() as u64;
            if piece_end <= offset {
                continue;
            }
            let (from, to) = (start.max(offset), piece_end.min(end));
            let source = piece.get((from - start) as usize..(to - start) as usize);
            let target = out.get_mut((from - offset) as usize..(to - offset) as usize);
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.check()?;
        if self.is_armed() {
            return self.file.set_len(len);
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.len = Some(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.check()?;
        if self.is_armed() { self.file.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.check()?;
        if self.is_armed() {
            return self.file.write_all_at(data, offset);
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(offset, data);
        Ok(())
    }
}

impl Pending {
    /// Keeps the pieces disjoint: what the new one covers is cut out of the old ones.
    fn insert(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        let touching: Vec<u64> = self
            .pieces
            .range(..end)
            .filter(|(start, piece)| *start + piece.len() as u64 > offset)
            .map(|(start, _)| *start)
            .collect();
        for start in touching {
            let Some(piece) = self.pieces.remove(&start) else { continue };
            if start < offset {
                let head = piece.get(..(offset - start) as usize).unwrap_or_default();
                self.pieces.insert(start, head.to_vec());
            }
            if start + piece.len() as u64 > end {
                let tail = piece.get((end - start) as usize..).unwrap_or_default();
                self.pieces.insert(end, tail.to_vec());
            }
        }
        self.pieces.insert(offset, data.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend;

    #[test]
    fn nothing_reaches_the_file_before_it_is_armed() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        file.write_all_at(b"0123456789", 0)?;
        let disk = Disk::lock(file.try_clone()?, false, Faults::default())?.expect("nobody else");
        let backend = Backend(Arc::clone(&disk));
        backend.write(2, b"abc")?;
        backend.write(4, b"XY")?;
        backend.set_len(14)?;
        let mut seen = [0; 14];
        backend.read(0, &mut seen)?;
        assert_eq!(&seen, b"01abXY6789\0\0\0\0");
        let mut on_disk = [0; 10];
        file.read_exact_at(&mut on_disk, 0)?;
        assert_eq!((&on_disk, file.metadata()?.len()), (b"0123456789", 10));
        disk.arm()?;
        let mut on_disk = [0; 14];
        file.read_exact_at(&mut on_disk, 0)?;
        assert_eq!(&on_disk, b"01abXY6789\0\0\0\0");
        Ok(())
    }
}
