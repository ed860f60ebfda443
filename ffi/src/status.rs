//! What the library and an open state file tell about themselves: version, status, history, and why a path is as it is.

use std::ffi::c_char;

use treewarden_core::{Durability, RootLive, Status};

use crate::args::{Out, tw_bytes};
use crate::border::call;
use crate::error::{tw_error, tw_status};
use crate::handle;
use crate::list::{Explained, List, Pair, TW_COVERAGE_MIXED, TW_COVERAGE_NATIVE, coverage_number, tw_list};
use crate::options::{
    TW_BACKEND_AUTO, TW_BACKEND_INOTIFY, TW_BACKEND_NOTIFY, TW_DURABILITY_DURABLE, TW_DURABILITY_RELAXED,
};
use crate::warden::{WardenObject, tw_warden};

/// It changes when a program that was built with an older header would break. `cbindgen.toml` gives the header the same
/// number, `build.rs` the file name of the library.
const ABI_VERSION: u32 = 1;

/// Gives the version of the interface that the library has; `TW_ABI_VERSION` is that of the header. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tw_abi_version() -> u32 {
    ABI_VERSION
}

/// Gives the version of the library, for example `0.1.0`: static memory, UTF-8, zero-terminated. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tw_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The engine at one glance. `tw_warden_roots` tells of each root, `tw_warden_cursors` of each cursor. What is said of
/// watching is the sum of all watched roots, and 0 unless `is_watching` is 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_status_info {
    /// The last commit.
    pub seq: u64,
    /// Size of the state file, in bytes.
    pub file_bytes: u64,
    /// First commit that the journal still tells about.
    pub journal_first_seq: u64,
    /// Last commit that the journal can tell about.
    pub journal_last_seq: u64,
    /// Files and symlinks known.
    pub files: u64,
    /// Directories known, without the roots themselves.
    pub dirs: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
    /// Tombstones of files and symlinks.
    pub missing: u64,
    /// How many roots there are.
    pub roots: u64,
    /// How many named cursors there are.
    pub cursors: u64,
    /// How many pipelines this process has opened.
    pub pipelines: u64,
    /// Roots that are watched or polled.
    pub watched_roots: u64,
    /// Roots in which a scan or look is under way.
    pub scanning_roots: u64,
    /// Directories that are watched.
    pub watched_dirs: u64,
    /// Directories of watched roots that are polled.
    pub uncovered_dirs: u64,
    /// Names and directories that were heard of and not looked at yet.
    pub pending: u64,
    /// Events received since watching began.
    pub events: u64,
    /// Times that events were lost, or were too many to be remembered, since watching began.
    pub overflows: u64,
    /// Version of the format of the state file.
    pub format_version: u32,
    /// When a commit counts as done, `TW_DURABILITY_…`.
    pub durability: i32,
    /// 1 between `tw_warden_watch` and `tw_warden_unwatch`.
    pub is_watching: i32,
    /// 1 between `tw_warden_pause` and `tw_warden_resume`.
    pub is_paused: i32,
    /// 1 when nothing is known to be unknown in any watched root: no events were lost that no scan has made up for, and
    /// none is unavailable or held.
    pub is_coherent: i32,
    /// How many of the directories report changes by themselves, `TW_COVERAGE_…`.
    pub coverage: i32,
    /// Where events come from, `TW_BACKEND_INOTIFY` or `TW_BACKEND_NOTIFY`.
    pub backend: i32,
    /// Always 0.
    pub reserved: i32,
    /// Id of the database: 32 hexadecimal digits, and zeros up to the end.
    pub database_id: [c_char; 40],
}

impl From<&Status> for tw_status_info {
    fn from(status: &Status) -> Self {
        let live = status.live.as_ref();
        let watched = live.map(|live| live.roots.as_slice()).unwrap_or_default();
        let sum = |count: fn(&RootLive) -> u64| watched.iter().map(count).fold(0, u64::saturating_add);
        Self {
            seq: status.seq,
            file_bytes: status.file_bytes,
            journal_first_seq: status.journal_first_seq,
            journal_last_seq: status.journal_last_seq,
            files: status.totals.files,
            dirs: status.totals.dirs,
            bytes: status.totals.bytes,
            missing: status.missing,
            roots: status.roots.len() as u64,
            cursors: status.cursors.len() as u64,
            pipelines: status.pipelines.len() as u64,
            watched_roots: watched.len() as u64,
            scanning_roots: sum(|root| u64::from(root.scanning)),
            watched_dirs: sum(|root| root.watched_dirs),
            uncovered_dirs: sum(|root| root.uncovered_dirs),
            pending: sum(|root| root.pending),
            events: sum(|root| root.events),
            overflows: sum(|root| root.overflows),
            format_version: status.format_version,
            durability: match status.durability {
                Durability::Durable => TW_DURABILITY_DURABLE,
                Durability::Relaxed => TW_DURABILITY_RELAXED,
            },
            is_watching: i32::from(live.is_some()),
            is_paused: i32::from(live.is_some_and(|live| live.paused)),
            is_coherent: i32::from(live.is_some() && watched.iter().all(|root| root.coherent)),
            coverage: coverage(watched),
            backend: match live.map(|live| live.backend) {
                None => TW_BACKEND_AUTO,
                Some("inotify") => TW_BACKEND_INOTIFY,
                Some(_) => TW_BACKEND_NOTIFY,
            },
            reserved: 0,
            database_id: digits(&status.database_id),
        }
    }
}

/// What goes for all roots together.
fn coverage(watched: &[RootLive]) -> i32 {
    match watched {
        [] => TW_COVERAGE_NATIVE,
        [first, others @ ..] if others.iter().all(|root| root.coverage == first.coverage) => {
            coverage_number(first.coverage)
        }
        _ => TW_COVERAGE_MIXED,
    }
}

/// A text of ASCII that ends in a zero.
fn digits<const ROOM: usize>(text: &str) -> [c_char; ROOM] {
    let mut digits = [0; ROOM];
    let last = ROOM.saturating_sub(1);
    for (digit, byte) in digits.iter_mut().take(last).zip(text.bytes()) {
        // `char` has a sign here and none there: ASCII is the same in both.
        *digit = byte as c_char;
    }
    digits
}

/// Tells the state of the engine at one glance. `info_size` is `sizeof(tw_status_info)`. Nothing is counted for it. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_status(
    warden: *const tw_warden,
    info: *mut tw_status_info,
    info_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(info, info_size, "info")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(tw_status_info::from(&object.warden.status()?));
                Ok(())
            })
        })
    }
}

/// Lists the newest operations, newest first, at most `limit` of them: rows for `tw_list_operation`. Free the list with
/// `tw_list_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_history(
    warden: *const tw_warden,
    limit: usize,
    operations: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(operations, "operations")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(handle::put(List::Operations(object.warden.history(limit)?))?);
                Ok(())
            })
        })
    }
}

/// Lists the named cursors: rows for `tw_list_pair`, the name as `key` and the commit up to which it has come as
/// `number`. Free the list with `tw_list_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_cursors(
    warden: *const tw_warden,
    cursors: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(cursors, "cursors")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let pair = |(name, seq): (String, u64)| Pair {
                    key: name.into_bytes(),
                    value: Vec::new(),
                    number: seq,
                };
                let pairs = object.warden.cursors()?.into_iter().map(pair).collect();
                out.write(handle::put(List::Pairs(pairs))?);
                Ok(())
            })
        })
    }
}

/// Tells all that is known about one address, what is on disk under it now, and why. The list has one row for
/// `tw_list_explanation`; the reasons come by `tw_list_text`, the attributes with their sizes by `tw_list_pair`, and
/// the root by `tw_list_root`. Free it with `tw_list_free`. It looks at the disk. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for something that is not an address, `TW_STATUS_NOT_FOUND` for an unknown root.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_explain(
    warden: *const tw_warden,
    address: tw_bytes,
    explanation: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(explanation, "explanation")?;
            let address = address.read("address")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let told = Explained::new(object.warden.explain(address)?);
                out.write(handle::put(List::Explanation(Box::new(told)))?);
                Ok(())
            })
        })
    }
}
