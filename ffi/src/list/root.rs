//! Rows of roots.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use treewarden_core::{Compare, ContentHash, Coverage, RootInfo, RootLive, RootState, Status};

use super::{List, at, give, optional, tw_list};
use crate::args::tw_bytes;
use crate::error::{tw_error, tw_status};
use crate::options::{
    TW_COMPARE_AUTO, TW_COMPARE_FULL, TW_COMPARE_NO_CTIME, TW_COMPARE_NO_INODE, TW_COMPARE_SIZE_MTIME,
    TW_CONTENT_HASH_CHANGED, TW_CONTENT_HASH_OFF, TW_WATCH_AUTO, TW_WATCH_NATIVE, TW_WATCH_POLL,
};

/// Never scanned to the end.
pub const TW_ROOT_STATE_NEW: i32 = 0;
/// As of its last scan.
pub const TW_ROOT_STATE_READY: i32 = 1;
/// It could not be trusted at its last scan; the last good state is kept.
pub const TW_ROOT_STATE_UNAVAILABLE: i32 = 2;
/// The last scan would have turned too much missing; the last good state is kept until a scan with
/// `TW_OPTION_SCAN_ACCEPT_MISSING`.
pub const TW_ROOT_STATE_HELD: i32 = 3;

/// The system reports changes of every directory.
pub const TW_COVERAGE_NATIVE: i32 = 0;
/// Some directories have no watch and are polled.
pub const TW_COVERAGE_MIXED: i32 = 1;
/// All of it is polled.
pub const TW_COVERAGE_POLLING: i32 = 2;

pub(crate) fn coverage_number(coverage: Coverage) -> i32 {
    match coverage {
        Coverage::Native => TW_COVERAGE_NATIVE,
        Coverage::Mixed => TW_COVERAGE_MIXED,
        Coverage::Polling => TW_COVERAGE_POLLING,
    }
}

/// A root. Times are nanoseconds since 1970 UTC. What is said of watching is 0 or NULL unless `is_watched` is 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_root {
    /// The name, first component of every address in it, UTF-8.
    pub name: tw_bytes,
    /// The directory on this machine, bytes.
    pub path: tw_bytes,
    /// The ignore patterns, UTF-8, one on each line; a pattern never holds a line break.
    pub ignore: tw_bytes,
    /// Type of the file system, as the kernel names it, or its number in hexadecimal.
    pub fs_type: tw_bytes,
    /// Of `TW_ROOT_STATE_UNAVAILABLE`: what was found, and what to do, UTF-8. NULL otherwise.
    pub reason: tw_bytes,
    /// Why not all directories report changes by themselves, UTF-8. NULL when they do.
    pub coverage_reason: tw_bytes,
    /// Files and symlinks known.
    pub files: u64,
    /// Directories known, without the root itself.
    pub dirs: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
    /// Of `TW_ROOT_STATE_HELD`: files and symlinks that would become missing.
    pub held_missing: u64,
    /// Of `TW_ROOT_STATE_HELD`: files and symlinks known then.
    pub held_of: u64,
    /// End of the last scan that changed something, where `has_last_scan` is 1.
    pub last_scan_ns: i64,
    /// Directories that are watched.
    pub watched_dirs: u64,
    /// Directories of a watched root that are polled; 10,001 means more.
    pub uncovered_dirs: u64,
    /// Names and directories that were heard of and not looked at yet.
    pub pending: u64,
    /// Events received since watching began.
    pub events: u64,
    /// Times that events were lost, or were too many to be remembered, since watching began.
    pub overflows: u64,
    /// The next scheduled quick scan, where `has_next_quick` is 1.
    pub next_quick_ns: i64,
    /// The next scheduled full scan, where `has_next_full` is 1.
    pub next_full_ns: i64,
    /// The next scan although nothing was heard, where `has_next_reconcile` is 1.
    pub next_reconcile_ns: i64,
    /// Number of the root, never used again after its removal.
    pub id: u32,
    /// Whether it can be trusted, `TW_ROOT_STATE_…`.
    pub state: i32,
    /// Whether content hashes are kept, `TW_CONTENT_HASH_…`.
    pub content_hash: i32,
    /// The comparison in force, `TW_COMPARE_…`.
    pub compare: i32,
    /// The comparison that was asked for, `TW_COMPARE_…`.
    pub compare_asked: i32,
    /// 1 once a scan has changed something.
    pub has_last_scan: i32,
    /// 1 while it is watched or polled.
    pub is_watched: i32,
    /// `TW_WATCH_NATIVE` or `TW_WATCH_POLL`.
    pub watch_mode: i32,
    /// How many of its directories report changes by themselves, `TW_COVERAGE_…`.
    pub coverage: i32,
    /// 1 when nothing is known to be unknown: no events were lost that no scan has made up for, and the root is neither
    /// unavailable nor held.
    pub is_coherent: i32,
    /// 1 while a scan or look is under way.
    pub is_scanning: i32,
    /// 1 when a quick scan is scheduled.
    pub has_next_quick: i32,
    /// 1 when a full scan is scheduled.
    pub has_next_full: i32,
    /// 1 when a scan is to come although nothing is heard.
    pub has_next_reconcile: i32,
}

/// A root, and how it is watched.
pub(crate) struct RootRow {
    info: RootInfo,
    /// The patterns, joined: they come as one view.
    ignore: Vec<u8>,
    live: Option<RootLive>,
}

impl RootRow {
    pub(crate) fn new(info: RootInfo, live: Option<RootLive>) -> Self {
        let ignore = info.ignore.join("\n").into_bytes();
        Self { info, ignore, live }
    }

    /// All roots of a status, in order of their names.
    pub(crate) fn all(status: Status) -> Vec<Self> {
        let lives = status.live.map(|live| live.roots).unwrap_or_default();
        let mut lives: BTreeMap<String, RootLive> =
            lives.into_iter().map(|live| (live.root.clone(), live)).collect();
        let with_live = |info: RootInfo| {
            let live = lives.remove(&info.name);
            Self::new(info, live)
        };
        status.roots.into_iter().map(with_live).collect()
    }

    fn row(&self) -> tw_root {
        let (info, live) = (&self.info, self.live.as_ref());
        let (state, reason, (held_missing, held_of)) = match &info.state {
            RootState::New => (TW_ROOT_STATE_NEW, tw_bytes::NONE, (0, 0)),
            RootState::Ready => (TW_ROOT_STATE_READY, tw_bytes::NONE, (0, 0)),
            RootState::Unavailable { reason } => {
                (TW_ROOT_STATE_UNAVAILABLE, tw_bytes::of(reason.as_bytes()), (0, 0))
            }
            RootState::Held { missing, of } => (TW_ROOT_STATE_HELD, tw_bytes::NONE, (*missing, *of)),
        };
        let coverage_reason = live.and_then(|live| live.reason.as_deref());
        let (has_last_scan, last_scan_ns) = optional(info.last_scan_ns);
        let (has_next_quick, next_quick_ns) = optional(live.and_then(|live| live.next_quick_ns));
        let (has_next_full, next_full_ns) = optional(live.and_then(|live| live.next_full_ns));
        let (has_next_reconcile, next_reconcile_ns) = optional(live.and_then(|live| live.next_reconcile_ns));
        tw_root {
            name: tw_bytes::of(info.name.as_bytes()),
            path: tw_bytes::of(info.path.as_os_str().as_bytes()),
            ignore: tw_bytes::of(&self.ignore),
            fs_type: tw_bytes::of(info.fs_type.as_bytes()),
            reason,
            coverage_reason: tw_bytes::of_option(coverage_reason.map(str::as_bytes)),
            files: info.totals.files,
            dirs: info.totals.dirs,
            bytes: info.totals.bytes,
            held_missing,
            held_of,
            last_scan_ns,
            watched_dirs: live.map_or(0, |live| live.watched_dirs),
            uncovered_dirs: live.map_or(0, |live| live.uncovered_dirs),
            pending: live.map_or(0, |live| live.pending),
            events: live.map_or(0, |live| live.events),
            overflows: live.map_or(0, |live| live.overflows),
            next_quick_ns,
            next_full_ns,
            next_reconcile_ns,
            id: info.id,
            state,
            content_hash: content_hash_number(info.content_hash),
            compare: compare_number(info.compare),
            compare_asked: compare_number(info.compare_asked),
            has_last_scan,
            is_watched: i32::from(live.is_some()),
            watch_mode: match live.map(|live| live.mode) {
                None => TW_WATCH_AUTO,
                Some("poll") => TW_WATCH_POLL,
                Some(_) => TW_WATCH_NATIVE,
            },
            coverage: live.map_or(0, |live| coverage_number(live.coverage)),
            is_coherent: i32::from(live.is_some_and(|live| live.coherent)),
            is_scanning: i32::from(live.is_some_and(|live| live.scanning)),
            has_next_quick,
            has_next_full,
            has_next_reconcile,
        }
    }
}

fn content_hash_number(hash: ContentHash) -> i32 {
    match hash {
        ContentHash::Off => TW_CONTENT_HASH_OFF,
        ContentHash::Changed => TW_CONTENT_HASH_CHANGED,
    }
}

fn compare_number(compare: Compare) -> i32 {
    match compare {
        Compare::Auto => TW_COMPARE_AUTO,
        Compare::Full => TW_COMPARE_FULL,
        Compare::NoInode => TW_COMPARE_NO_INODE,
        Compare::NoCtime => TW_COMPARE_NO_CTIME,
        Compare::SizeMtime => TW_COMPARE_SIZE_MTIME,
    }
}

/// Gives a root. Of an explanation, row 0 is the root that the address names. `row_size` is `sizeof(tw_root)`. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_root(
    list: *const tw_list,
    index: usize,
    row: *mut tw_root,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| {
            let row = match list {
                List::Roots(rows) => rows.get(index),
                List::Explanation(told) => told.root().filter(|_| index == 0),
                other => return Err(other.holds_no("roots")),
            };
            at(row, index, "roots").map(RootRow::row)
        })
    }
}
