//! Every knob, with its unit in the name and its default. Options can all be defaulted; what a call
//! needs besides (progress, cancel) is a context of its own.

use std::path::Path;

use crate::clock::Clock;
use crate::entry::Compare;
use crate::error::Result;
use crate::ignore::IgnoreRules;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On disk, safe against power loss. The default.
    #[default]
    Durable,
    /// Visible at once, on disk with the next durable commit, `compact` or `close`. A crash loses
    /// whole commits from the end, never part of one.
    /// The seqs of lost commits are given again: a [`crate::Token`] kept outside the state file may
    /// then skip changes; named cursors do not.
    Relaxed,
}

/// Whether a root keeps content hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ContentHash {
    /// Fingerprints only. The default.
    #[default]
    Off = 0,
    /// xxh3-128 of every file that is new or changed.
    Changed = 1,
}

/// How a warden is opened.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) durability: Durability,
    pub(crate) cache_bytes: usize,
    pub(crate) threads: usize,
    pub(crate) clock: Clock,
    pub(crate) journal_keep_ms: u64,
    pub(crate) journal_keep_bytes_max: u64,
    pub(crate) tombstone_keep_ms: u64,
    pub(crate) history_keep_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            durability: Durability::Durable,
            cache_bytes: 16 << 20,
            threads: 0,
            clock: Clock::real(),
            journal_keep_ms: 30 * DAY_MS,
            journal_keep_bytes_max: 256 << 20,
            tombstone_keep_ms: 30 * DAY_MS,
            history_keep_max: 1_000,
        }
    }
}

impl Options {
    /// Refuses to create a state file.
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.create = false;
        self
    }

    /// Opens for reading only: never writes a byte; several readers may share the file.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self.create = false;
        self
    }

    /// Sets when a commit counts as done.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the page cache of the store in bytes (default 16 MiB). Snapshots do not use it.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets how many threads a scan uses; 0, the default, means one per core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long journal rows are kept, in milliseconds (default 30 days).
    #[must_use]
    pub fn journal_keep_ms(mut self, ms: u64) -> Self {
        self.journal_keep_ms = ms;
        self
    }

    /// Sets how many bytes of journal rows are kept at most (default 256 MiB).
    #[must_use]
    pub fn journal_keep_bytes_max(mut self, bytes: u64) -> Self {
        self.journal_keep_bytes_max = bytes;
        self
    }

    /// Sets how long a tombstone is kept, in milliseconds (default 30 days).
    #[must_use]
    pub fn tombstone_keep_ms(mut self, ms: u64) -> Self {
        self.tombstone_keep_ms = ms;
        self
    }

    /// Sets how many operations the history keeps (default 1,000).
    #[must_use]
    pub fn history_keep_max(mut self, operations: u32) -> Self {
        self.history_keep_max = operations;
        self
    }

    /// Opens the state file at `path`.
    ///
    /// # Errors
    ///
    /// As [`crate::Warden::open`]; `NotFound` with [`Options::must_exist`] where there is none.
    pub fn open(self, path: impl AsRef<Path>) -> Result<crate::Warden> {
        crate::Warden::open_with(path.as_ref(), self)
    }
}

/// How a root is looked at.
#[derive(Debug, Clone, Default)]
pub struct RootOptions {
    pub(crate) ignore: IgnoreRules,
    pub(crate) content_hash: ContentHash,
    pub(crate) compare: Compare,
}

impl RootOptions {
    /// Nothing ignored, no content hashes, comparison by file system type.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ignore rules.
    #[must_use]
    pub fn ignore(mut self, rules: IgnoreRules) -> Self {
        self.ignore = rules;
        self
    }

    /// Sets whether content hashes are kept.
    #[must_use]
    pub fn content_hash(mut self, content_hash: ContentHash) -> Self {
        self.content_hash = content_hash;
        self
    }

    /// Overrides the comparison chosen for the file system.
    #[must_use]
    pub fn compare(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }
}

/// How deep a scan looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScanMode {
    /// Fingerprints only; content is read where something changed. The default.
    #[default]
    Quick,
    /// Reads all content again where the root keeps hashes, and reports silent corruption.
    Full,
}

impl ScanMode {
    /// Returns `quick` or `full`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

/// Which walker lists the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Walker {
    /// Descriptors on Unix.
    #[default]
    Auto,
    /// rayon over directory descriptors: the fastest, and free of races with renames and symlinks.
    Fd,
    /// jwalk, by path: portable, ends at paths longer than the system allows. A directory that is
    /// replaced by a symlink in the moment it is listed may be opened, though nothing of it is used.
    ///
    /// While a root is watched or polled by [`crate::Warden::watch`] its scans use [`Walker::Fd`]: a
    /// directory must be watched first and read then.
    Jwalk,
}

/// When a scan's result becomes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Publish {
    /// All of it at one seq. The default.
    #[default]
    Atomic,
    /// The first scan of a root in batches as it goes; any other scan as [`Publish::Atomic`].
    Progressive,
}

/// What to scan, and how.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    pub(crate) targets: Vec<Vec<u8>>,
    pub(crate) mode: ScanMode,
    pub(crate) walker: Walker,
    pub(crate) threads: usize,
    pub(crate) accept_missing: bool,
    pub(crate) publish: Publish,
}

impl ScanOptions {
    /// A quick scan of all roots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a root or a subtree, `music` or `music/2024`. Without any, all roots are scanned.
    #[must_use]
    pub fn target(mut self, address: impl AsRef<[u8]>) -> Self {
        self.targets.push(address.as_ref().to_vec());
        self
    }

    /// Sets how deep to look.
    #[must_use]
    pub fn mode(mut self, mode: ScanMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the walker.
    #[must_use]
    pub fn walker(mut self, walker: Walker) -> Self {
        self.walker = walker;
        self
    }

    /// Sets the number of threads; 0 means that of [`Options::threads`].
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Applies what would otherwise be held: an emptied root, a mount point that is gone, more than
    /// half of the files missing.
    #[must_use]
    pub fn accept_missing(mut self) -> Self {
        self.accept_missing = true;
        self
    }

    /// Sets when the result becomes visible.
    #[must_use]
    pub fn publish(mut self, publish: Publish) -> Self {
        self.publish = publish;
        self
    }
}

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    pub(crate) root: Option<String>,
    pub(crate) content: bool,
}

impl VerifyOptions {
    /// All roots, fingerprints only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One root only.
    #[must_use]
    pub fn root(mut self, name: impl Into<String>) -> Self {
        self.root = Some(name.into());
        self
    }

    /// Reads content too, and compares it with the hashes that are kept.
    #[must_use]
    pub fn content(mut self) -> Self {
        self.content = true;
        self
    }
}
