//! Stage B: reading content (rule R3 in ARCHITECTURE.md). A file is hashed from one descriptor, in
//! blocks, with a look before and after; a file that moved under the hash is read once more and then
//! left without a hash and marked racy, never stored wrong.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rayon::ThreadPool;
use rayon::prelude::*;
use rustix::io::Errno;

use crate::clock::Clock;
use crate::entry::{Kind, Stat};
use crate::hash::ContentHasher;
use crate::path;
use crate::sys;

use super::report::{Phase, Tally};

/// Bytes read at once by each thread.
const BLOCK_BYTES: usize = 256 * 1024;
/// Readings of a file that keeps changing.
const TRIES: usize = 2;

/// One file to read.
pub(crate) struct Job {
    /// Relative to the root.
    pub(crate) path: Vec<u8>,
    /// Where the result belongs, for the caller.
    pub(crate) key: (usize, usize),
    pub(crate) size: u64,
}

/// What reading a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The hash, the look that it belongs to, and a time before that look (nanoseconds since 1970 UTC).
    Hashed(u128, Stat, i64),
    /// The file kept changing; this is the last look at it.
    Unstable(Stat),
    /// It could not be read; the reason is counted.
    Failed,
    /// It is gone, or something else: the next scan sees what.
    Gone,
}

/// Reads all files on the threads of `pool`. Results come in the order of the jobs; after a cancel
/// the rest is `Failed`.
pub(crate) fn hash_all(
    pool: &ThreadPool,
    root: &OwnedFd,
    jobs: &[Job],
    clock: &Clock,
    tally: &Tally,
) -> Vec<Outcome> {
    let done = std::sync::atomic::AtomicU64::new(0);
    let bytes = std::sync::atomic::AtomicU64::new(0);
    let order = std::sync::atomic::Ordering::Relaxed;
    pool.install(|| {
        jobs.par_iter()
            .map_init(
                || vec![0u8; BLOCK_BYTES],
                |block, job| {
                    let outcome = hash_one(root, job, clock, tally, block);
                    let files = done.fetch_add(1, order) + 1;
                    let read = bytes.fetch_add(job.size, order).wrapping_add(job.size);
                    tally.tell(Phase::Hash, (files, read), Some(jobs.len() as u64));
                    outcome
                },
            )
            .collect()
    })
}

fn hash_one(root: &OwnedFd, job: &Job, clock: &Clock, tally: &Tally, block: &mut [u8]) -> Outcome {
    if tally.is_cancelled() {
        return Outcome::Failed;
    }
    match read(root, &job.path, clock, tally, block) {
        Ok(outcome) => outcome,
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Outcome::Gone,
        Err(Errno::INTR) => Outcome::Failed,
        Err(error) => {
            tally.io_error("read", &job.path, error);
            Outcome::Failed
        }
    }
}

fn read(root: &OwnedFd, at: &[u8], clock: &Clock, tally: &Tally, block: &mut [u8]) -> Result<Outcome, Errno> {
    let (dir, name) = path::split_last(at);
    let name = sys::c_name(name)?;
    let dir = sys::open_dir_below(root, dir)?;
    // Looked at before it is opened: a FIFO or device is never opened.
    if sys::look_at(&dir, &name)?.stat.is_none_or(|s| s.kind != Kind::File) {
        return Ok(Outcome::Gone);
    }
    let mut file = File::from(sys::open_file_at(&dir, &name)?);
    let mut looked_ns = clock.now_ns();
    let mut before = regular(&file)?;
    for _ in 0..TRIES {
        let Some(hash) = digest(&mut file, tally, block)? else { return Err(Errno::INTR) };
        let now_ns = clock.now_ns();
        let after = regular(&file)?;
        if before == after {
            return Ok(Outcome::Hashed(hash, after, looked_ns));
        }
        (before, looked_ns) = (after, now_ns);
        std::io::Seek::rewind(&mut file).map_err(|e| errno(&e))?;
    }
    Ok(Outcome::Unstable(before))
}

fn regular(file: &File) -> Result<Stat, Errno> {
    sys::look_fd(file)?.stat.filter(|s| s.kind == Kind::File).ok_or(Errno::NXIO)
}

/// `None` after a cancel.
fn digest(file: &mut File, tally: &Tally, block: &mut [u8]) -> Result<Option<u128>, Errno> {
    let mut hasher = ContentHasher::new();
    loop {
        if tally.is_cancelled() {
            return Ok(None);
        }
        match file.read(block) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(n) => hasher.update(block.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(&error)),
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
