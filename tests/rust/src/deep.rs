//! A chain of directories deeper than `PATH_MAX` lets a path be, reached descriptor by descriptor.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};

use crate::tree::Tree;

const STEP: &str = "dd";
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The chain, with the descriptor of its last directory. Taken apart from above when dropped,
/// because `remove_dir_all` works by path.
#[derive(Debug)]
pub struct DeepTree<'t> {
    tree: &'t Tree,
    levels: usize,
    last: OwnedFd,
}

impl<'t> DeepTree<'t> {
    /// Makes the chain in `tree`.
    pub fn plant(tree: &'t Tree, levels: usize) -> Self {
        let mut last = rustix::fs::openat(CWD, tree.path(), DIR, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&last, STEP, Mode::from_raw_mode(0o755)).unwrap();
            last = rustix::fs::openat(&last, STEP, DIR, Mode::empty()).unwrap();
        }
        Self { tree, levels, last }
    }

    /// Writes a file in the last directory.
    pub fn file(&self, name: &str, content: &str) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.last, name, flags, Mode::from_raw_mode(0o644)).unwrap();
        File::from(file).write_all(content.as_bytes()).unwrap();
    }

    /// The address of a name in the last directory, seen from the top of the tree.
    #[must_use]
    pub fn rel(&self, name: &str) -> Vec<u8> {
        let mut rel = format!("{STEP}/").repeat(self.levels).into_bytes();
        rel.extend_from_slice(name.as_bytes());
        rel
    }

    /// Removes the top of the chain again and again, lifting what was below it. Only files in the
    /// last directory go with it.
    pub fn fell(&self) {
        for entry in rustix::fs::Dir::read_from(&self.last).into_iter().flatten().flatten() {
            let _ = rustix::fs::unlinkat(&self.last, entry.file_name(), rustix::fs::AtFlags::empty());
        }
        let (top, lifted) = (self.tree.join(STEP), self.tree.join("lifted"));
        while fs::symlink_metadata(&top).is_ok() {
            let below = fs::rename(top.join(STEP), &lifted).is_ok();
            if fs::remove_dir(&top).is_err() || (below && fs::rename(&lifted, &top).is_err()) {
                return;
            }
        }
    }
}

impl Drop for DeepTree<'_> {
    fn drop(&mut self) {
        self.fell();
    }
}
