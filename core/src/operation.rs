//! History: one row for every scan or batch that changed something or that failed to.

/// What ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OperationKind {
    /// The first look after opening, by the live engine.
    Startup = 0,
    /// A quick scan of a whole root.
    Quick = 1,
    /// A full scan of a whole root.
    Full = 2,
    /// A scan of part of a root.
    Subtree = 3,
    /// A batch of the live engine.
    Live = 4,
    /// Maintenance: tombstones that expired.
    Manual = 5,
    /// A refresh run of a pipeline, which stands in place of the root: how many items it handed out is
    /// counted as modified.
    Refresh = 6,
}

impl OperationKind {
    /// Returns `startup`, `quick`, `full`, `subtree`, `live`, `manual` or `refresh`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Subtree => "subtree",
            Self::Live => "live",
            Self::Manual => "manual",
            Self::Refresh => "refresh",
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Startup, Self::Quick, Self::Full, Self::Subtree, Self::Live, Self::Manual, Self::Refresh]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OperationStatus {
    /// Complete.
    Ok = 0,
    /// Complete but for parts that could not be read.
    Partial = 1,
    /// Held until `accept_missing`.
    Held = 2,
    /// The guard refused the root.
    Unavailable = 3,
    /// Cancelled by the caller.
    Cancelled = 4,
    /// Ended by an error.
    Failed = 5,
}

impl OperationStatus {
    /// Returns `ok`, `partial`, `held`, `unavailable`, `cancelled` or `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Held => "held",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Ok, Self::Partial, Self::Held, Self::Unavailable, Self::Cancelled, Self::Failed]
            .into_iter()
            .find(|status| *status as u8 == code)
    }
}

/// How many files and symlinks it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Seen for the first time.
    pub added: u64,
    /// Changed.
    pub modified: u64,
    /// Found under another path.
    pub moved: u64,
    /// Proved to be gone.
    pub missing: u64,
    /// Back again.
    pub restored: u64,
    /// Dropped from the state.
    pub forgotten: u64,
    /// Paths that could not be read.
    pub errors: u64,
}

impl Counts {
    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.added = self.added.saturating_add(other.added);
        self.modified = self.modified.saturating_add(other.modified);
        self.moved = self.moved.saturating_add(other.moved);
        self.missing = self.missing.saturating_add(other.missing);
        self.restored = self.restored.saturating_add(other.restored);
        self.forgotten = self.forgotten.saturating_add(other.forgotten);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

/// One row of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Number of the row.
    pub id: u64,
    /// What ran.
    pub kind: OperationKind,
    /// Name of the root at that time; empty where it concerns all.
    pub root: String,
    /// Start, nanoseconds since 1970 UTC.
    pub start_ns: i64,
    /// End, nanoseconds since 1970 UTC.
    pub end_ns: i64,
    /// The commit that holds its result.
    pub seq: u64,
    /// What it changed.
    pub counts: Counts,
    /// How it ended.
    pub status: OperationStatus,
    /// The reason where it did not end well.
    pub error: Option<String>,
}
