//! The row that tells all that is known about one address.

use treewarden_core::{DiskView, Entry, Explanation};

use super::{List, RootRow, at, give, optional, tw_list, tw_pair};
use crate::args::tw_bytes;
use crate::error::{tw_error, tw_status};
use crate::snapshot::{TW_KIND_DIR, TW_KIND_FILE, TW_KIND_SYMLINK, kind_number};

/// A FIFO, socket or device: never opened, never an entry.
pub const TW_KIND_SPECIAL: i32 = 3;

/// All that is known about one address, and what is on disk under it at this moment. Times are nanoseconds since 1970
/// UTC. The reasons come by `tw_list_text`, the attributes by `tw_list_pair`, and the root by `tw_list_root`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_explanation {
    /// The address.
    pub address: tw_bytes,
    /// One word: `current`, `changed`, `new`, `missing`, `gone`, `ignored`, `unknown`, `special`, `unreadable` or
    /// `unavailable`.
    pub verdict: tw_bytes,
    /// The pattern that ignores it, UTF-8. NULL when none does.
    pub ignored_by: tw_bytes,
    /// As known: the target of a symlink. NULL of anything else.
    pub target: tw_bytes,
    /// As known: size in bytes. What is known is that of the entry, or, where there is none, that of the tombstone.
    pub size: u64,
    /// As known: modification time.
    pub mtime_ns: i64,
    /// As known: time of the last change of the inode.
    pub ctime_ns: i64,
    /// As known: time of birth, where `has_btime` is 1.
    pub btime_ns: i64,
    /// As known: inode number.
    pub inode: u64,
    /// As known: the stable number of the file, which survives moves and restarts.
    pub id: u64,
    /// As known: the commit that changed it last.
    pub seq: u64,
    /// Of the tombstone, where `has_missing` is 1: when it went missing.
    pub missing_since_ns: i64,
    /// Of the tombstone, where `has_missing` is 1: the stable number of the file that was there.
    pub missing_id: u64,
    /// On disk: size in bytes.
    pub disk_size: u64,
    /// On disk: modification time.
    pub disk_mtime_ns: i64,
    /// On disk: time of the last change of the inode.
    pub disk_ctime_ns: i64,
    /// On disk: inode number.
    pub disk_inode: u64,
    /// How many reasons there are.
    pub reasons: u64,
    /// How many attributes there are.
    pub attrs: u64,
    /// As known: xxh3-128 of the content, where `has_hash` is 1, in the order of its hexadecimal digits.
    pub hash: [u8; 16],
    /// 1 when there is an entry.
    pub has_entry: i32,
    /// 1 when there is a tombstone.
    pub has_missing: i32,
    /// 1 when something is on disk.
    pub is_on_disk: i32,
    /// As known: `TW_KIND_…`.
    pub kind: i32,
    /// As known: type and permission bits as in `stat(2)`.
    pub mode: u32,
    /// As known: 1 where the file system keeps times of birth.
    pub has_btime: i32,
    /// As known: 1 where there is a hash.
    pub has_hash: i32,
    /// On disk: `TW_KIND_…`, `TW_KIND_SPECIAL` too.
    pub disk_kind: i32,
    /// On disk: type and permission bits as in `stat(2)`.
    pub disk_mode: u32,
    /// 1 when `tw_list_root` gives the root.
    pub has_root: i32,
}

/// An explanation, with its root as a row.
pub(crate) struct Explained {
    told: Explanation,
    root: Option<RootRow>,
}

impl Explained {
    pub(crate) fn new(mut told: Explanation) -> Self {
        let root = told.root.take().map(|info| RootRow::new(info, None));
        Self { told, root }
    }

    pub(super) fn root(&self) -> Option<&RootRow> {
        self.root.as_ref()
    }

    pub(super) fn reason(&self, index: usize) -> Option<tw_bytes> {
        self.told.reasons.get(index).map(|reason| tw_bytes::of(reason.as_bytes()))
    }

    pub(super) fn attr(&self, index: usize) -> Option<tw_pair> {
        let (name, bytes) = self.told.attrs.get(index)?;
        Some(tw_pair { key: tw_bytes::of(name.as_bytes()), value: tw_bytes::NONE, number: *bytes })
    }

    fn row(&self) -> tw_explanation {
        let told = &self.told;
        let known = told.entry.as_ref().or(told.missing.as_ref());
        let (missing, disk) = (told.missing.as_ref(), told.on_disk.as_ref());
        let (has_btime, btime_ns) = optional(known.and_then(|entry| entry.btime_ns));
        let (has_hash, hash) = optional(known.and_then(|entry| entry.hash));
        tw_explanation {
            address: tw_bytes::of(&told.address),
            verdict: tw_bytes::of(told.verdict.as_bytes()),
            ignored_by: tw_bytes::of_option(told.ignored_by.as_deref().map(str::as_bytes)),
            target: tw_bytes::of_option(known.and_then(|entry| entry.target.as_deref())),
            size: of(known, |entry| entry.size),
            mtime_ns: of(known, |entry| entry.mtime_ns),
            ctime_ns: of(known, |entry| entry.ctime_ns),
            btime_ns,
            inode: of(known, |entry| entry.inode),
            id: of(known, |entry| entry.id),
            seq: of(known, |entry| entry.seq),
            missing_since_ns: missing.and_then(|entry| entry.missing_since_ns).unwrap_or_default(),
            missing_id: of(missing, |entry| entry.id),
            disk_size: of(disk, |view| view.size),
            disk_mtime_ns: of(disk, |view| view.mtime_ns),
            disk_ctime_ns: of(disk, |view| view.ctime_ns),
            disk_inode: of(disk, |view| view.inode),
            reasons: told.reasons.len() as u64,
            attrs: told.attrs.len() as u64,
            hash: hash.to_be_bytes(),
            has_entry: i32::from(told.entry.is_some()),
            has_missing: i32::from(told.missing.is_some()),
            is_on_disk: i32::from(disk.is_some()),
            kind: of(known, |entry: &Entry| kind_number(entry.kind)),
            mode: of(known, |entry| entry.mode),
            has_btime,
            has_hash,
            disk_kind: of(disk, disk_kind_number),
            disk_mode: of(disk, |view| view.mode),
            has_root: i32::from(self.root.is_some()),
        }
    }
}

/// A fact of something that may not be there; 0 then.
fn of<T, N: Default>(known: Option<&T>, fact: impl FnOnce(&T) -> N) -> N {
    known.map(fact).unwrap_or_default()
}

fn disk_kind_number(view: &DiskView) -> i32 {
    match view.kind {
        "file" => TW_KIND_FILE,
        "dir" => TW_KIND_DIR,
        "symlink" => TW_KIND_SYMLINK,
        _ => TW_KIND_SPECIAL,
    }
}

/// Gives what is known about an address: row 0. `row_size` is `sizeof(tw_explanation)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_explanation(
    list: *const tw_list,
    index: usize,
    row: *mut tw_explanation,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Explanation(told) => {
                let only = Some(&**told).filter(|_| index == 0);
                at(only, index, "explanations").map(Explained::row)
            }
            other => Err(other.holds_no("an explanation")),
        })
    }
}
