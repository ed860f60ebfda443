//! What is sent: private trees, built by the harness right before they are needed, and removed when it drops them, after an error too.
//!
//! Every file differs from every other one, or a contender that finds equal content could send less than its neighbours. Names need no
//! encoding in a key.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::Result;
use crate::rng::Rng;

pub(super) const SMALL_BYTES: u64 = 4 << 10;
pub(super) const BIG_BYTES: u64 = 8 << 20;

/// Where the files lie that are deleted together.
const GONE: &str = "gone";
const KEPT: &str = "kept";
const KEPT_PER_DIR: u64 = 100;

/// Modification times as a copied collection has them. Times of the source that are later than those of objects mean a change to some.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// After this, nobody takes a file for one that is just being written.
const SETTLE: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 2_500 });

pub(super) struct Source {
    pub(super) dir: PathBuf,
    pub(super) files: u64,
    pub(super) bytes: u64,
    kept: u64,
    gone: u64,
}

impl Source {
    /// So many files of 4 KiB: one half in one directory, the other in directories of 100.
    pub(super) fn small(folder: &Path, files: u64) -> Result<Source> {
        let mut source = Source::new(folder, "small")?;
        source.gone = files / 2;
        source.kept = files - source.gone;
        fs::create_dir(source.dir.join(GONE))?;
        for number in 0..source.gone {
            write(&source.dir.join(GONE).join(format!("{number:06}.dat")), number, SMALL_BYTES)?;
        }
        for number in 0..source.kept {
            let path = source.kept_file(number);
            if number % KEPT_PER_DIR == 0 {
                fs::create_dir_all(path.parent().ok_or("a file without a directory")?)?;
            }
            write(&path, source.gone + number, SMALL_BYTES)?;
        }
        source.files = files;
        source.bytes = files * SMALL_BYTES;
        source.settled()
    }

    /// So many files of 8 MiB, with holes: reading them costs everybody the same, and no disk.
    pub(super) fn big(folder: &Path, files: u64) -> Result<Source> {
        let mut source = Source::new(folder, "big")?;
        for number in 0..files {
            write(&source.dir.join(format!("{number:03}.dat")), number, BIG_BYTES)?;
        }
        source.files = files;
        source.bytes = files * BIG_BYTES;
        source.settled()
    }

    /// One file with holes.
    pub(super) fn large(folder: &Path, bytes: u64) -> Result<Source> {
        let mut source = Source::new(folder, "large")?;
        write(&source.dir.join("large.dat"), 0, bytes)?;
        source.files = 1;
        source.bytes = bytes;
        source.settled()
    }

    fn new(folder: &Path, name: &str) -> Result<Source> {
        let dir = folder.join(name);
        fs::create_dir(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
        Ok(Source { dir, files: 0, bytes: 0, kept: 0, gone: 0 })
    }

    /// Gives so many files other content of the same size, spread over all directories that stay.
    pub(super) fn change(&self, files: u64) -> Result<()> {
        for place in 0..files {
            let number = place * self.kept / files;
            fs::write(self.kept_file(number), content(self.files + number, SMALL_BYTES))?;
        }
        self.settle()
    }

    /// Deletes the directory that holds one half of all files.
    pub(super) fn shrink(&mut self) -> Result<()> {
        fs::remove_dir_all(self.dir.join(GONE))?;
        self.files -= self.gone;
        self.bytes -= self.gone * SMALL_BYTES;
        self.gone = 0;
        self.settle()
    }

    fn kept_file(&self, number: u64) -> PathBuf {
        let dir = self.dir.join(KEPT).join(format!("{:04}", number / KEPT_PER_DIR));
        dir.join(format!("{:02}.dat", number % KEPT_PER_DIR))
    }

    fn settled(self) -> Result<Source> {
        self.settle()?;
        Ok(self)
    }

    /// What the kernel still has to write would otherwise be written during the measurement.
    fn settle(&self) -> Result<()> {
        rustix::fs::syncfs(File::open(&self.dir)?)?;
        thread::sleep(SETTLE);
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// A file that begins with up to 4 KiB of its own, and holds nothing after that.
fn write(path: &Path, number: u64, bytes: u64) -> Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(&content(number, bytes.min(SMALL_BYTES)))?;
    file.set_len(bytes)?;
    if let Some(time) = SystemTime::now().checked_sub(AGE) {
        file.set_modified(time)?;
    }
    Ok(())
}

fn content(number: u64, bytes: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let mut content = Vec::with_capacity(bytes as usize + 8);
    while (content.len() as u64) < bytes {
        content.extend_from_slice(&rng.draw().to_le_bytes());
    }
    content.truncate(bytes as usize);
    content
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn found(dir: &Path) -> Result<(u64, u64, HashSet<Vec<u8>>)> {
        let (mut files, mut bytes, mut contents) = (0, 0, HashSet::new());
        for entry in walkdir::WalkDir::new(dir) {
            let entry = entry?;
            if entry.file_type().is_file() {
                let content = fs::read(entry.path())?;
                files += 1;
                bytes += content.len() as u64;
                contents.insert(content);
            }
        }
        Ok((files, bytes, contents))
    }

    #[test]
    fn a_source_holds_what_it_says_before_and_after_each_change() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut source = Source::small(folder.path(), 301)?;
        let (files, bytes, before) = found(&source.dir)?;
        assert_eq!((files, bytes, before.len()), (301, source.bytes, 301));
        source.change(10)?;
        let (files, bytes, after) = found(&source.dir)?;
        assert_eq!((files, bytes, before.intersection(&after).count()), (301, source.bytes, 291));
        source.shrink()?;
        let (files, bytes, _) = found(&source.dir)?;
        assert_eq!((files, bytes), (source.files, source.bytes));
        assert_eq!(files, 151);
        let dir = source.dir.clone();
        drop(source);
        assert!(!dir.exists());
        Ok(())
    }
}
