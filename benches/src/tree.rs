//! The tree that everything is measured on: the same files, names, sizes and modification times for the same number of files, built
//! once and kept. The stamp that says so lies beside the tree, never in it.
//!
//! Its shape: `inbox/` holds five wide directories (one with a fiftieth of all files, four with a two-hundredth each); the other
//! files lie in branches of 1,000 under `photos/`, `music/`, `books/` and `source/`, each branch groups of leaves of 3 to 36 files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};

use crate::Result;
use crate::rng::Rng;

/// Raised whenever the same number of files would give another tree.
const VERSION: u32 = 1;
const THREADS: usize = 2;
const SEED: u64 = 0x7472_6565_7761_7264;

const SECTIONS: [&str; 4] = ["photos", "music", "books", "source"];
const WIDE_SECTION: &str = "inbox";
const WIDE_DIRS: u64 = 5;
const BRANCH_FILES: u64 = 1_000;
const LEAVES_PER_GROUP: u64 = 8;

const WORDS: [&str; 16] = [
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbor", "indigo", "jasper", "kelp",
    "lumen", "marble", "nectar", "onyx", "prairie",
];

/// A file that every tree has, relative to the tree: the first lookup after an open asks for it.
pub(crate) const PROBE: &str = "inbox/wide-0/scan_000000.tif";

pub(crate) struct Tree {
    pub(crate) dir: PathBuf,
    pub(crate) files: u64,
    /// Without the tree's own directory.
    pub(crate) dirs: u64,
    /// The names of the files, added up.
    pub(crate) name_bytes: u64,
    /// Built by this run, so that its times are still too recent to be trusted: see [`Tree::settle`].
    fresh: bool,
}

/// Older than this, an entry's times are trusted on any file system's clock.
const SETTLE: Duration = Duration::from_millis(2_500);

impl Tree {
    /// The tree of `files` files as `folder/name`: the one from an earlier run, or a new one.
    pub(crate) fn prepare(folder: &Path, name: &str, files: u64) -> Result<Tree> {
        let dir = folder.join(format!("{name}-{files}"));
        let stamp = folder.join(format!("{name}-{files}.stamp"));
        if let Some(tree) = Tree::from_stamp(&stamp, &dir, files) {
            return Ok(tree);
        }
        eprintln!("building {} ({files} files, once) ...", dir.display());
        // First, or an interrupted build would pass for the finished tree of the old stamp.
        match fs::remove_file(&stamp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", stamp.display()).into());
            }
            _ => {}
        }
        if dir.exists() {
            fs::remove_dir_all(&dir)
                .map_err(|error| format!("cannot remove the unfinished tree {}: {error}", dir.display()))?;
        }
        let made = build(&dir, files)
            .map_err(|error| format!("cannot build the tree {}: {error}", dir.display()))?;
        let text = format!("{}{} {} {}\n", stamp_head(files), made.files, made.dirs, made.name_bytes);
        fs::write(&stamp, text).map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
        Ok(Tree { dir, files: made.files, dirs: made.dirs, name_bytes: made.name_bytes, fresh: true })
    }

    /// Waits until a tree that was just built is old enough to be scanned: entries whose times are too recent are looked at twice, and
    /// "nothing changed" would not be true.
    pub(crate) fn settle(&self) {
        if self.fresh {
            thread::sleep(SETTLE);
        }
    }

    fn from_stamp(stamp: &Path, dir: &Path, files: u64) -> Option<Tree> {
        let text = fs::read_to_string(stamp).ok()?;
        let mut counts =
            text.strip_prefix(&stamp_head(files))?.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (files, dirs, name_bytes) = (counts.next()??, counts.next()??, counts.next()??);
        dir.join(PROBE).exists().then(|| Tree { dir: dir.to_owned(), files, dirs, name_bytes, fresh: false })
    }
}

fn stamp_head(files: u64) -> String {
    format!(
        "treewarden-bench tree, version {VERSION}, {files} files asked; files, directories, bytes of file names:\n"
    )
}

/// What one thread builds at a time; its content depends on nothing but itself.
#[derive(Clone, Copy)]
enum Unit {
    Wide { index: u64, files: u64 },
    Branch { index: u64, files: u64 },
}

fn plan(files: u64) -> Vec<Unit> {
    let mut left = files;
    let mut units = Vec::new();
    for index in 0..WIDE_DIRS {
        let share = if index == 0 { files / 50 } else { files / 200 };
        let files = share.max(1).min(left);
        left -= files;
        units.push(Unit::Wide { index, files });
    }
    for index in 0..left.div_ceil(BRANCH_FILES) {
        units.push(Unit::Branch { index, files: BRANCH_FILES.min(left - index * BRANCH_FILES) });
    }
    units
}

#[derive(Default, Clone, Copy)]
struct Made {
    files: u64,
    dirs: u64,
    name_bytes: u64,
}

fn build(dir: &Path, files: u64) -> Result<Made> {
    fs::create_dir_all(dir)?;
    let root = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut top = Builder::new(0);
    for section in SECTIONS.into_iter().chain([WIDE_SECTION]) {
        top.directory(&root, section)?;
    }
    let units = plan(files);
    let next = AtomicUsize::new(0);
    let mut total = top.made;
    thread::scope(|scope| -> Result<()> {
        let builders: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| build_units(&root, &units, &next))).collect();
        for builder in builders {
            let made = builder.join().map_err(|_| "a thread of the generator panicked")??;
            total.files += made.files;
            total.dirs += made.dirs;
            total.name_bytes += made.name_bytes;
        }
        Ok(())
    })?;
    // What the kernel still has to write would otherwise be written during the measurements.
    rustix::fs::syncfs(&root)?;
    Ok(total)
}

fn build_units(root: &OwnedFd, units: &[Unit], next: &AtomicUsize) -> Result<Made> {
    let mut total = Made::default();
    while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
        let made = match *unit {
            Unit::Wide { index, files } => wide(root, index, files)?,
            Unit::Branch { index, files } => branch(root, index, files)?,
        };
        total.files += made.files;
        total.dirs += made.dirs;
        total.name_bytes += made.name_bytes;
    }
    Ok(total)
}

fn wide(root: &OwnedFd, index: u64, files: u64) -> Result<Made> {
    let mut builder = Builder::new(SEED ^ (index << 48));
    let section = open_dir(root, WIDE_SECTION)?;
    let dir = builder.directory(&section, &format!("wide-{index}"))?;
    for number in 0..files {
        builder.file(&dir, &format!("scan_{number:06}.tif"))?;
    }
    Ok(builder.made)
}

fn branch(root: &OwnedFd, index: u64, files: u64) -> Result<Made> {
    let mut builder = Builder::new(SEED ^ (index + 1));
    let kind = Kind::of(index);
    let section = open_dir(root, kind.section())?;
    let branch = builder.directory(&section, &kind.branch_name(index))?;
    let mut left = files;
    let mut group_number = 0;
    while left > 0 {
        group_number += 1;
        let group = builder.directory(&branch, &kind.group_name(group_number))?;
        let loose = builder.rng.between(0, 3);
        left -= builder.fill(&group, kind, loose.min(left))?;
        for leaf_number in 1..=LEAVES_PER_GROUP {
            if left == 0 {
                break;
            }
            let leaf = builder.directory(&group, &kind.leaf_name(leaf_number))?;
            let count = builder.rng.between(3, 36);
            left -= builder.fill(&leaf, kind, count.min(left))?;
            if left > 0 && builder.rng.between(0, 4) == 0 {
                let below = builder.directory(&leaf, kind.below_name())?;
                let count = builder.rng.between(1, 12);
                left -= builder.fill(&below, kind, count.min(left))?;
            }
        }
    }
    Ok(builder.made)
}

/// What lies in a branch, and how such things are called.
#[derive(Clone, Copy)]
enum Kind {
    Photos,
    Music,
    Books,
    Source,
}

impl Kind {
    fn of(branch: u64) -> Kind {
        match branch % 4 {
            0 => Kind::Photos,
            1 => Kind::Music,
            2 => Kind::Books,
            _ => Kind::Source,
        }
    }

    fn section(self) -> &'static str {
        SECTIONS[self as usize]
    }

    fn branch_name(self, index: u64) -> String {
        let word = Rng::new(index).pick(&WORDS);
        match self {
            Kind::Photos => format!("camera-{:04}", index / 4),
            Kind::Music | Kind::Books | Kind::Source => format!("{word}-{:04}", index / 4),
        }
    }

    fn group_name(self, number: u64) -> String {
        match self {
            Kind::Photos => format!("{}", 2_005 + number),
            Kind::Music => format!("Album {number:02}"),
            Kind::Books => format!("volume_{number:02}"),
            Kind::Source => format!("crate-{number:02}"),
        }
    }

    fn leaf_name(self, number: u64) -> String {
        match self {
            Kind::Photos => format!("{number:02}"),
            Kind::Music => format!("Disc {number}"),
            Kind::Books => format!("part_{number:02}"),
            Kind::Source => format!("module_{number:02}"),
        }
    }

    fn below_name(self) -> &'static str {
        match self {
            Kind::Photos => "raw",
            Kind::Music => "booklet",
            Kind::Books => "notes",
            Kind::Source => "tests",
        }
    }

    fn file_name(self, number: u64, day: u64, word: &str) -> String {
        match self {
            Kind::Photos => {
                format!("IMG_2024{:02}{:02}_{:04}.jpg", day / 28 % 12 + 1, day % 28 + 1, 1_400 + number)
            }
            Kind::Music => format!("track-{number:02}.flac"),
            Kind::Books => format!("chapter_{number:03}.txt"),
            Kind::Source => format!("{word}_index{number:02}.rs"),
        }
    }
}

struct Builder {
    rng: Rng,
    made: Made,
}

impl Builder {
    fn new(seed: u64) -> Builder {
        Builder { rng: Rng::new(seed), made: Made::default() }
    }

    fn directory(&mut self, parent: &OwnedFd, name: &str) -> Result<OwnedFd> {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
        self.made.dirs += 1;
        open_dir(parent, name)
    }

    fn fill(&mut self, dir: &OwnedFd, kind: Kind, files: u64) -> Result<u64> {
        let day = self.rng.between(0, 335);
        for number in 1..=files {
            let word = self.rng.pick(&WORDS);
            self.file(dir, &kind.file_name(number, day, word))?;
        }
        Ok(files)
    }

    fn file(&mut self, dir: &OwnedFd, name: &str) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
        let magnitude = self.rng.between(0, 24);
        rustix::fs::ftruncate(&file, self.rng.draw() & ((1 << magnitude) - 1))?;
        // Modification times as a copied collection has them: from 2010 on, to the nanosecond, in no order.
        let time = Timespec {
            tv_sec: self.rng.between(1_262_304_000, 1_735_689_600) as i64,
            tv_nsec: self.rng.between(0, 999_999_999) as i64,
        };
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        self.made.files += 1;
        self.made.name_bytes += name.len() as u64;
        Ok(())
    }
}

fn open_dir(parent: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(dir).min_depth(1).sort_by_file_name() {
            let entry = entry?;
            let size = if entry.file_type().is_dir() { 0 } else { entry.metadata()?.len() };
            found.push((entry.path().strip_prefix(dir)?.to_owned(), size));
        }
        Ok(found)
    }

    #[test]
    fn the_same_number_of_files_gives_the_same_tree() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let one = Tree::prepare(folder.path(), "one", 3_000)?;
        let two = Tree::prepare(folder.path(), "two", 3_000)?;
        assert_eq!(listing(&one.dir)?, listing(&two.dir)?);
        Ok(())
    }

    #[test]
    fn the_tree_holds_what_its_stamp_says_and_is_built_once() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let built = Tree::prepare(folder.path(), "tree", 3_000)?;
        let found = listing(&built.dir)?;
        assert_eq!(built.files, 3_000);
        assert_eq!(found.len() as u64, built.files + built.dirs);
        assert!(built.dir.join(PROBE).is_file());
        let again = Tree::prepare(folder.path(), "tree", 3_000)?;
        assert_eq!((again.files, again.dirs, again.name_bytes), (built.files, built.dirs, built.name_bytes));
        Ok(())
    }

    #[test]
    fn the_plan_adds_up() {
        for files in [1_000, 1_001, 54_321, 1_000_000] {
            let total: u64 = plan(files)
                .iter()
                .map(|unit| match *unit {
                    Unit::Wide { files, .. } | Unit::Branch { files, .. } => files,
                })
                .sum();
            assert_eq!(total, files);
        }
    }
}
