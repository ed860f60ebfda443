//! What the threads of one walk share, where it starts, and what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::entry::{Compare, Stat};
use crate::ignore::Ignorer;
use crate::root::OwnFiles;
use crate::snapshot::{DirNode, Head, Record, SEQ_OF_PAGE};
use crate::sys::Errno;

use super::report::Tally;

/// Everything that all threads of one walk share.
pub(crate) struct Context {
    pub(crate) root_fd: OwnedFd,
    pub(crate) root_dev: u64,
    pub(crate) compare: Compare,
    /// Take up new inode numbers and ctimes silently: the root was moved to another file system.
    pub(crate) adopt: bool,
    pub(crate) keeps_hashes: bool,
    pub(crate) full: bool,
    pub(crate) accept_missing: bool,
    /// What is gone was deleted, not unmounted: somebody watched it go.
    pub(crate) losses_proven: bool,
    /// It starts from several places at once, and takes up the facts of a directory with its names.
    pub(crate) is_look: bool,
    pub(crate) escort: Option<Arc<dyn Escort>>,
    pub(crate) ignorer: Ignorer,
    /// The rules are those that every known entry was held against.
    pub(crate) rules_unchanged: bool,
    /// Directories of other roots, relative to this one.
    pub(crate) nested: Vec<Vec<u8>>,
    /// The engine's own files, when they lie in this root.
    pub(crate) own_files: Option<OwnFiles>,
    pub(crate) tick_ns: i64,
    pub(crate) clock: Clock,
    pub(crate) ids: Arc<AtomicU64>,
    pub(crate) tally: Tally,
    pub(crate) found: Mutex<Vec<Found>>,
}

/// Where a walk starts.
pub(crate) struct Start {
    /// A known directory, relative to the root.
    pub(crate) path: Vec<u8>,
    pub(crate) node: Arc<DirNode>,
    pub(crate) scope: Scope,
}

/// How much of a directory a visit takes up. A directory that turns out to be new, another one than
/// before, or under other permissions is always taken up whole.
#[derive(Debug, Clone, Default)]
pub(crate) enum Scope {
    /// Every name, and everything below.
    #[default]
    Deep,
    /// Every name; below, only these directories and those that are new or other ones.
    Listing(Arc<BTreeSet<Box<[u8]>>>),
    /// The facts of the directory itself.
    Facts,
    /// These names, looked up one by one; with `true`, everything below too.
    Names(Arc<BTreeMap<Box<[u8]>, bool>>),
}

/// How much of a directory is about to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Some of its names.
    Some,
    /// All of its names.
    Names,
    /// All of its names, and everything below.
    All,
}

/// Who goes along with a walk that the live engine started.
pub(crate) trait Escort: Send + Sync {
    /// A directory is open and about to be read. Called from every thread of the walk.
    fn enter(&self, dir: &[u8], fd: BorrowedFd<'_>, reads: Reads);

    /// A directory was gone when it was about to be opened. What stands there later is to be looked
    /// at, even if nobody tells of it.
    fn missed(&self, dir: &[u8]);

    /// A name is to be looked at once more, at once.
    fn again(&self, dir: &[u8], name: &[u8]);

    /// A directory is there and could not be opened.
    fn refused(&self, dir: &[u8], error: Errno);

    /// What the walk found is in the snapshot.
    fn applied(&self);
}

/// The small interface of a walker.
pub(crate) trait Walk: Send + Sync {
    /// Visits every directory from the starts on; what differs ends up in `context.found`.
    fn walk(&self, context: &Arc<Context>, starts: Vec<Start>);
}

/// How an entry of a known directory differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// No such name before, or another file under it.
    Added,
    /// The same file, changed.
    Modified,
    /// The same, but its content must be read before one can say so.
    Recheck,
    /// The same; only what identifies it is taken up anew.
    Refreshed,
}

/// One directory in which something differs.
pub(crate) struct Found {
    pub(crate) path: Vec<u8>,
    /// Facts of the directory where they differ or are new.
    pub(crate) head: Option<Head>,
    pub(crate) content: Content,
    /// What stood in its place before, when it is another directory under a known name.
    pub(crate) replaced: Option<Arc<DirNode>>,
    /// Some entry was changed too recently to be trusted.
    pub(crate) racy: bool,
}

pub(crate) enum Content {
    /// A directory that was not known: all of its entries, packed.
    New(Vec<Arc<[u8]>>),
    /// A known directory: what differs.
    Known { fresh: Vec<(Record, Fresh)>, lost: Vec<Box<[u8]>>, ignored: Vec<Box<[u8]>> },
}

/// A subdirectory to visit next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Child {
    pub(crate) old: Option<Arc<DirNode>>,
    /// Id for a directory that is new.
    pub(crate) id: u64,
}

impl Context {
    pub(crate) fn is_racy(&self, stat: &Stat, now_ns: i64) -> bool {
        let time = if self.compare.trusts_ctime() { stat.ctime_ns } else { stat.mtime_ns };
        now_ns.saturating_sub(time).saturating_abs() < self.tick_ns
    }

    pub(super) fn take_ids(&self, count: u64) -> u64 {
        self.ids.fetch_add(count, Ordering::Relaxed)
    }

    pub(super) fn push(&self, found: Found) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(found);
    }

    /// A new directory that could not be opened still is an entry.
    pub(crate) fn push_unread(&self, path: Vec<u8>, id: u64, stat: Stat) {
        let head = Head { stat, is_unread: true, seq: SEQ_OF_PAGE, ..Head::empty(id, id) };
        self.push(Found {
            path,
            head: Some(head),
            content: Content::New(Vec::new()),
            replaced: None,
            racy: false,
        });
    }
}
