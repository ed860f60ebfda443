//! A program that changes a tree at random, as programs and people do, without a word to anybody.
//!
//! Several of them work in one tree at the same time, so whatever fails because another was faster
//! is simply not done. Nothing leads out of the tree: symlinks say names inside it only.

use std::ffi::OsStr;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};

use crate::rng::Rng;

/// What begins like this at the top of the tree is never touched. One such file always stays: a root
/// without entries is taken for an unmounted one.
pub const ANCHOR: &str = "anchor";

/// What a test can have ignored.
pub const SKIPPED: &[u8] = b".skip";

/// Above this the tree is thinned out. Losing fewer than 100 files is never held (rule R5), so a
/// look after a time without a watch is applied whatever it finds.
const ENTRIES_MAX: usize = 70;

/// The longest relative path of a directory to put something into.
const PATH_MAX: usize = 600;

/// What a mutator does about files with several names.
///
/// Making names and writing through them exclude each other: whoever makes a name, writes through it and
/// removes it again, all between two looks, leaves no trace by which the other names could be found
/// (docs/live.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It makes none.
    Avoided,
    /// It makes them, and changes no file that has several names.
    Made,
    /// It makes none, and writes through those that were there.
    Written,
}

impl Links {
    const ALL: [Self; 3] = [Self::Avoided, Self::Made, Self::Written];

    /// A word for a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avoided => "avoid-links",
            Self::Made => "make-links",
            Self::Written => "write-links",
        }
    }

    /// The way of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|links| links.name() == name)
    }
}

/// A seeded random program.
#[derive(Debug)]
pub struct Mutator {
    top: PathBuf,
    rng: Rng,
    tag: u64,
    made: u64,
    links: Links,
}

impl Mutator {
    /// Will work in the tree at `top`.
    #[must_use]
    pub fn new(top: &Path, seed: u64, links: Links) -> Self {
        Self { top: top.to_path_buf(), rng: Rng::new(seed), tag: seed % 10_000, made: 0, links }
    }

    /// Gives some files another name.
    pub fn plant_links(&mut self) {
        for _ in 0..6 {
            let known = self.list();
            let _ = self.hard_link(&known);
        }
    }

    /// Does one thing, if nobody is in the way.
    pub fn step(&mut self) {
        let _ = self.attempt();
    }

    fn attempt(&mut self) -> io::Result<()> {
        let known = self.list();
        if known.len() > ENTRIES_MAX {
            return self.thin_out(&known);
        }
        match self.rng.below(30) {
            0..=4 => self.create(&known),
            5 | 6 => self.write(&known),
            7 => self.append(&known),
            8 => self.truncate(&known),
            9..=11 => self.rename_leaf(&known),
            12 | 13 => self.rename_dir(&known),
            14 => self.rename_over(&known),
            15 => self.swap(&known),
            16 if self.links == Links::Made => self.hard_link(&known),
            16 | 17 => self.symlink(&known),
            18 | 19 => self.remove_leaf(&known),
            20 => self.remove_dir(&known),
            21 | 22 => self.make_dirs(&known),
            23 => self.chmod(&known),
            24 => self.touch(&known),
            25 => self.change_kind(&known),
            26 => self.recreate_dir(&known),
            27 => self.save_beside(&known),
            28 => self.save_as_vim(&known),
            _ => self.save_as_emacs(&known),
        }
    }

    // ---- looking

    fn list(&self) -> Vec<(PathBuf, FileType)> {
        let mut found = Vec::new();
        let mut open = vec![self.top.clone()];
        while let Some(dir) = open.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let path = entry.path();
                if dir == self.top && entry.file_name().as_bytes().starts_with(ANCHOR.as_bytes()) {
                    continue;
                }
                if kind.is_dir() {
                    open.push(path.clone());
                }
                found.push((path, kind));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn choose(
        &mut self,
        known: &[(PathBuf, FileType)],
        wanted: impl Fn(FileType) -> bool,
    ) -> io::Result<PathBuf> {
        let fit: Vec<&PathBuf> =
            known.iter().filter(|(_, kind)| wanted(*kind)).map(|(path, _)| path).collect();
        self.rng.pick(&fit).map(|path| (*path).clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<PathBuf> {
        self.choose(known, |kind| kind.is_file())
    }

    fn leaf(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<PathBuf> {
        self.choose(known, |kind| !kind.is_dir())
    }

    fn dir(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<PathBuf> {
        self.choose(known, |kind| kind.is_dir())
    }

    /// A path to put something at; mostly a free one.
    fn place(&mut self, known: &[(PathBuf, FileType)]) -> PathBuf {
        let dir = if self.rng.chance(25) { None } else { self.dir(known).ok() };
        let dir = dir.filter(|dir| dir.as_os_str().len() < self.top.as_os_str().len() + PATH_MAX);
        let name = self.name();
        dir.unwrap_or_else(|| self.top.clone()).join(OsStr::from_bytes(&name))
    }

    fn name(&mut self) -> Vec<u8> {
        const ODD: &[&[u8]] =
            &[b"a", b"b", b"new\nline", b"\xff\xfe", b" ", b".hidden", b"x.skip", b"y.skip", b"~", b"a-b"];
        if self.rng.chance(30) {
            return ODD[self.rng.index(ODD.len())].to_vec();
        }
        if self.rng.chance(50) {
            return format!("n{}", self.rng.below(30)).into_bytes();
        }
        self.made += 1;
        format!("m{}-{}", self.tag, self.made).into_bytes()
    }

    fn content(&mut self) -> Vec<u8> {
        let len = [0, 1, 60, 4096, 20_000][self.rng.index(5)];
        vec![b"abc"[self.rng.index(3)]; len]
    }

    /// Nobody else has another name for it, or that is no matter.
    fn may_change(&self, path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path) {
            Ok(meta) if self.links == Links::Made && !meta.is_dir() && meta.nlink() > 1 => {
                Err(io::ErrorKind::TooManyLinks.into())
            }
            _ => Ok(()),
        }
    }

    fn put(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.may_change(path)?;
        write(path, content)
    }

    // ---- doing

    fn thin_out(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        if self.rng.chance(30) { self.remove_dir(known) } else { self.remove_leaf(known) }
    }

    fn create(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (path, content) = (self.place(known), self.content());
        self.put(&path, &content)
    }

    fn write(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (path, content) = (self.file(known)?, self.content());
        self.put(&path, &content)
    }

    fn append(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let path = self.file(known)?;
        self.may_change(&path)?;
        let mut file = polite().append(true).open(path)?;
        for _ in 0..1 + self.rng.below(4) {
            file.write_all(b"more")?;
        }
        Ok(())
    }

    fn truncate(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let path = self.file(known)?;
        self.may_change(&path)?;
        polite().write(true).open(path)?.set_len(self.rng.below(100))
    }

    fn rename_leaf(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (from, to) = (self.leaf(known)?, self.place(known));
        fs::rename(from, to)
    }

    fn rename_dir(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (from, to) = (self.dir(known)?, self.place(known));
        fs::rename(from, to)
    }

    fn rename_over(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (from, to) = (self.leaf(known)?, self.leaf(known)?);
        fs::rename(from, to)
    }

    fn swap(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (a, b) = (self.choose(known, |_| true)?, self.choose(known, |_| true)?);
        Ok(rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE)?)
    }

    fn hard_link(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (from, to) = (self.leaf(known)?, self.place(known));
        fs::hard_link(from, to)
    }

    fn symlink(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let targets: [&[u8]; 5] = [ANCHOR.as_bytes(), b".", b"nowhere", b"n1", b"bad\xff\n"];
        let target = targets[self.rng.index(targets.len())];
        std::os::unix::fs::symlink(OsStr::from_bytes(target), self.place(known))
    }

    fn remove_leaf(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        fs::remove_file(self.leaf(known)?)
    }

    fn remove_dir(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        fs::remove_dir_all(self.dir(known)?)
    }

    /// A tree of new directories with files in them, all at once.
    fn make_dirs(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let mut path = self.place(known);
        for _ in 0..self.rng.below(4) {
            let name = self.name();
            path.push(OsStr::from_bytes(&name));
        }
        fs::create_dir_all(&path)?;
        let content = self.content();
        self.put(&path.join("in"), &content)
    }

    fn chmod(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let path = self.choose(known, |kind| kind.is_dir() || kind.is_file())?;
        self.may_change(&path)?;
        // Readable at all times: what cannot be read has a test of its own.
        let mode = [0o700, 0o755, 0o750][self.rng.index(3)];
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn touch(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let path = self.choose(known, |_| true)?;
        self.may_change(&path)?;
        let tv_sec = i64::try_from(self.rng.below(2_000_000_000)).unwrap();
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec: 0 },
        };
        Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A file, a directory or a pipe in the place of something else.
    fn change_kind(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let path = self.choose(known, |_| true)?;
        remove(&path)?;
        match self.rng.below(3) {
            0 => write(&path, b"a file now"),
            1 => Ok(rustix::fs::mkfifoat(CWD, &path, Mode::from_raw_mode(0o600))?),
            _ => fs::create_dir(&path).and_then(|()| write(&path.join("in"), b"a directory now")),
        }
    }

    /// Another directory under the same name.
    fn recreate_dir(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let path = self.dir(known)?;
        fs::remove_dir_all(&path)?;
        fs::create_dir(&path)?;
        write(&path.join("in"), b"again")
    }

    /// Written beside, synced, renamed into place: databases, GTK, most programs that are careful.
    fn save_beside(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (path, content) = (self.file(known)?, self.content());
        let aside = self.sibling(&path, b".goutputstream-");
        let mut file = polite().write(true).create(true).truncate(true).open(&aside)?;
        file.write_all(&content)?;
        file.sync_data()?;
        fs::rename(aside, path)
    }

    /// A swap file; the old file becomes the backup, a new one takes its name, the backup goes.
    fn save_as_vim(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (path, content) = (self.file(known)?, self.content());
        let (swap, backup) = (self.sibling(&path, b".swp-"), self.sibling(&path, b"~"));
        write(&swap, b"b0VIM")?;
        fs::rename(&path, &backup)?;
        self.put(&path, &content)?;
        fs::remove_file(&backup)?;
        fs::remove_file(&swap)
    }

    /// A lock that is a dangling link, an auto-save file, then in place.
    fn save_as_emacs(&mut self, known: &[(PathBuf, FileType)]) -> io::Result<()> {
        let (path, content) = (self.file(known)?, self.content());
        let (lock, auto) = (self.sibling(&path, b".#"), self.sibling(&path, b"#"));
        std::os::unix::fs::symlink("user@host.1234:5678", &lock)?;
        write(&auto, &content)?;
        self.put(&path, &content)?;
        fs::remove_file(&auto)?;
        fs::remove_file(&lock)
    }

    fn sibling(&mut self, path: &Path, prefix: &[u8]) -> PathBuf {
        self.made += 1;
        let mut name = prefix.to_vec();
        name.extend_from_slice(format!("{}-{}", self.tag, self.made).as_bytes());
        path.with_file_name(OsStr::from_bytes(&name))
    }
}

/// A pipe that took a file's place must not block, and a link in its place is not followed.
fn polite() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    options.custom_flags(i32::try_from(flags.bits()).unwrap());
    options
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File = polite().write(true).create(true).truncate(true).open(path)?;
    file.write_all(content)
}

fn remove(path: &Path) -> io::Result<()> {
    let is_dir = fs::symlink_metadata(path)?.is_dir();
    if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
