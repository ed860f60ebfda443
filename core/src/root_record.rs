//! What the engine keeps about a root itself.

use std::path::PathBuf;

use crate::entry::{Compare, Totals};
use crate::options::ContentHash;

/// Whether a root can be trusted at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootState {
    /// Never scanned to the end since it was added, or since a rebuild of the state file. What is known of it
    /// may be a part: that something is not there means nothing.
    New,
    /// As of its last scan.
    Ready,
    /// The guard refused it at the last scan; the last good state is kept.
    Unavailable {
        /// What was found, and what to do.
        reason: String,
    },
    /// The last scan would have turned too much missing; the last good state is kept until a scan
    /// with `accept_missing`.
    Held {
        /// Files and symlinks that would become missing.
        missing: u64,
        /// Files and symlinks known.
        of: u64,
    },
}

/// By what the directory of a root is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RootIdentity {
    pub(crate) inode: u64,
    /// `f_type` of `statfs(2)`.
    pub(crate) fs_type: u64,
    /// `f_fsid` of `statfs(2)`; 0 where the file system has none.
    pub(crate) fs_id: u64,
    /// Time of birth of the directory, nanoseconds since 1970 UTC; 0 where it is not kept.
    pub(crate) born_ns: i64,
}

/// One row of the table of roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootRecord {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) identity: RootIdentity,
    pub(crate) compare_asked: Compare,
    /// Never `Auto`.
    pub(crate) compare: Compare,
    pub(crate) content_hash: ContentHash,
    pub(crate) ignore: Vec<String>,
    /// Keys of the two root nodes.
    pub(crate) live_node: u64,
    pub(crate) gone_node: u64,
    pub(crate) state: RootState,
    /// End of the last scan that wrote something; 0 before the first.
    pub(crate) last_scan_ns: i64,
    /// Digest of the rules that every entry in the tree has been held against.
    pub(crate) rules_digest: u64,
    /// The root was moved to another file system: inode numbers and ctimes mean nothing until the
    /// next whole scan has taken up the new ones.
    pub(crate) adopt: bool,
    /// A rebuild may have lost entries of it: only a whole scan that could look everywhere proves what is missing.
    pub(crate) rebuilt: bool,
    /// When a scheduled full scan ended last; 0 before the first.
    pub(crate) last_full_ns: i64,
}

impl RootRecord {
    /// The state of a root that was unavailable and is there again: all of it is known, or a part.
    pub(crate) fn state_once_there(&self) -> RootState {
        if self.rebuilt || self.last_scan_ns == 0 { RootState::New } else { RootState::Ready }
    }
}

/// What a caller is told about a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootInfo {
    /// The name, first component of every address in it.
    pub name: String,
    /// The directory on this machine.
    pub path: PathBuf,
    /// Number of the root, never used again after its removal.
    pub id: u32,
    /// Whether content hashes are kept.
    pub content_hash: ContentHash,
    /// The ignore patterns, gitignore syntax.
    pub ignore: Vec<String>,
    /// The comparison in force, chosen or detected.
    pub compare: Compare,
    /// The comparison that was asked for; `Auto` follows the file system when the root moves.
    pub compare_asked: Compare,
    /// Type of the file system, as the kernel names it, or its number in hexadecimal.
    pub fs_type: String,
    /// Whether the root can be trusted.
    pub state: RootState,
    /// End of the last scan that changed something, nanoseconds since 1970 UTC.
    pub last_scan_ns: Option<i64>,
    /// Files, directories and bytes known.
    pub totals: Totals,
}
