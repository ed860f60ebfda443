//! Private trees in which things are changed: built by the harness, by two threads, right before the child that uses them starts, and
//! removed when the harness drops them, after an error too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Result;

const THREADS: u64 = 2;

const SMALL_GROUPS: u64 = 25;
const SMALL_DIRS_PER_GROUP: u64 = 20;
const SMALL_FILES_PER_DIR: u64 = 20;

/// The part of [`Plot::usr`] that is there to be removed.
pub(super) const USR: &str = "usr";
const KEPT: &str = "kept";
const KEPT_FILES: u64 = 10;
/// `/usr` of a Linux system has about so many directories in a directory that has any.
const USR_FANOUT: u64 = 8;
const USR_FILES: [&str; 2] = ["library.so", "README"];

pub(super) struct Plot {
    pub(super) dir: PathBuf,
}

impl Plot {
    /// 10,000 empty files in 500 directories in 25 groups.
    pub(super) fn small(folder: &Path) -> Result<Plot> {
        let plot = Plot::new(folder, "small")?;
        in_parallel(SMALL_GROUPS * SMALL_DIRS_PER_GROUP, |number| {
            let group = plot.dir.join(format!("group-{:02}", number / SMALL_DIRS_PER_GROUP));
            let dir = group.join(format!("part-{:02}", number % SMALL_DIRS_PER_GROUP));
            fs::create_dir_all(&dir)?;
            for file in 0..SMALL_FILES_PER_DIR {
                File::create_new(dir.join(format!("note-{file:02}.txt")))?;
            }
            Ok(())
        })?;
        plot.written()
    }

    /// `usr`, `dirs` directories eight to each and two files in every one, and beside it `kept` with a few files, so that the root is
    /// never empty.
    pub(super) fn usr(folder: &Path, dirs: u64) -> Result<Plot> {
        let plot = Plot::new(folder, "usr")?;
        let kept = plot.dir.join(KEPT);
        fs::create_dir(&kept)?;
        for file in 0..KEPT_FILES {
            File::create_new(kept.join(format!("note-{file:02}.txt")))?;
        }
        // Level by level, so that every parent is there.
        let (mut first, mut size) = (0, 1);
        while first < dirs {
            let end = dirs.min(first + size);
            in_parallel(end - first, |place| {
                let dir = plot.dir.join(usr_path(first + place));
                fs::create_dir(&dir)?;
                for name in USR_FILES {
                    File::create_new(dir.join(name))?;
                }
                Ok(())
            })?;
            first = end;
            size *= USR_FANOUT;
        }
        plot.written()
    }

    /// So many directories without anything in them.
    pub(super) fn empty(folder: &Path, dirs: u64) -> Result<Plot> {
        let plot = Plot::new(folder, "empty")?;
        in_parallel(dirs, |number| Ok(fs::create_dir(plot.dir.join(format!("part-{number:04}")))?))?;
        plot.written()
    }

    fn new(folder: &Path, name: &str) -> Result<Plot> {
        let dir = folder.join(name);
        fs::create_dir_all(folder)?;
        fs::create_dir(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
        Ok(Plot { dir })
    }

    /// What the kernel still has to write would otherwise be written during the measurement.
    fn written(self) -> Result<Plot> {
        rustix::fs::syncfs(File::open(&self.dir)?)?;
        Ok(self)
    }
}

impl Drop for Plot {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// Where directory `index` of `usr` lies: numbered level by level, number 0 is `usr` itself.
fn usr_path(mut index: u64) -> PathBuf {
    let mut names = Vec::new();
    while index > 0 {
        names.push(format!("package-{index}"));
        index = (index - 1) / USR_FANOUT;
    }
    names.push(USR.to_owned());
    names.iter().rev().collect()
}

/// Puts `count` new empty files into directories, the same number into each and one directory after the other.
pub(super) fn fill(dirs: &[PathBuf], count: u64) -> Result<()> {
    let places = dirs.len() as u64;
    if places == 0 {
        return Err("there is no directory for new files".into());
    }
    in_parallel(count, |number| {
        let dir = &dirs[(number * places / count) as usize];
        File::create_new(dir.join(format!("new-{number:06}.dat")))?;
        Ok(())
    })
}

/// Calls `make` with every number below `count`, on two threads.
fn in_parallel(count: u64, make: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicU64::new(0);
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            make(number)?;
        }
    };
    thread::scope(|scope| -> Result<()> {
        let makers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for maker in makers {
            maker.join().map_err(|_| "a thread that creates files panicked")??;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(dir: &Path) -> Result<(u64, u64)> {
        let (mut files, mut dirs) = (0, 0);
        for entry in walkdir::WalkDir::new(dir).min_depth(1) {
            if entry?.file_type().is_dir() {
                dirs += 1;
            } else {
                files += 1;
            }
        }
        Ok((files, dirs))
    }

    #[test]
    fn every_plot_holds_what_it_says_and_is_gone_when_dropped() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let small = Plot::small(folder.path())?;
        assert_eq!(counts(&small.dir)?, (10_000, 525));
        let empty = Plot::empty(folder.path(), 7)?;
        assert_eq!(counts(&empty.dir)?, (0, 7));
        for dirs in [1, 9, 100] {
            let usr = Plot::usr(folder.path(), dirs)?;
            assert_eq!(counts(&usr.dir.join(USR))?, (2 * dirs, dirs - 1));
        }
        drop((small, empty));
        assert_eq!(counts(folder.path())?, (0, 0));
        Ok(())
    }

    #[test]
    fn new_files_are_spread_evenly() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let plot = Plot::empty(folder.path(), 4)?;
        let dirs: Vec<PathBuf> = (0..4).map(|number| plot.dir.join(format!("part-{number:04}"))).collect();
        fill(&dirs, 20)?;
        for dir in &dirs {
            assert_eq!(counts(dir)?, (5, 0));
        }
        Ok(())
    }

    #[test]
    fn a_plot_of_usr_is_eight_wide() {
        for (index, path) in [(0, "usr"), (8, "usr/package-8"), (9, "usr/package-1/package-9")] {
            assert_eq!(usr_path(index), Path::new(path));
        }
    }
}
