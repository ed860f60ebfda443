//! The journal: what changed, in which commit. Rows are packed per commit and directory
//! ([`codec`]); a place in the journal is a [`Token`].

mod codec;
mod token;

use crate::entry::Kind;

pub use token::Token;

pub(crate) use codec::{Draft, Writer, decode};

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChangeKind {
    /// Seen for the first time.
    Added = 0,
    /// Its fingerprint, or its content, differs.
    Modified = 1,
    /// The same file under another path; `from` says where it was.
    Moved = 2,
    /// Proved to be gone. Its tombstone, id and attributes are kept for a while.
    Missing = 3,
    /// A missing entry is back where it was.
    Restored = 4,
    /// Dropped from the state: a tombstone expired, or the entry became ignored.
    Forgotten = 5,
}

impl ChangeKind {
    /// Returns `added`, `modified`, `moved`, `missing`, `restored` or `forgotten`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Moved => "moved",
            Self::Missing => "missing",
            Self::Restored => "restored",
            Self::Forgotten => "forgotten",
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Added, Self::Modified, Self::Moved, Self::Missing, Self::Restored, Self::Forgotten]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

/// One row of the journal.
///
/// The changes of one seq happened at once. They come in an order in which they can be applied
/// one by one, except where entries swapped names: a consumer that keeps paths applies every
/// `from`, `missing` and `forgotten` of a seq before the rest, or goes by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The commit.
    pub seq: u64,
    /// Name of the root at that time.
    pub root: String,
    /// What happened.
    pub kind: ChangeKind,
    /// What it happened to.
    pub entry_kind: Kind,
    /// Full address, in bytes.
    pub path: Vec<u8>,
    /// For `moved`, the full address before.
    pub from: Option<Vec<u8>>,
    /// Stable id of the entry.
    pub id: u64,
}
