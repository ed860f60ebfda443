//! Rows of mirrors: where each copies to, how it stands, and which URLs came and went.

use std::time::Duration;

use treewarden_core::mirror::{MirrorInfo, MirrorStatus, Target, UrlChange};

use super::{List, at, give, optional, tw_list, tw_pair};
use crate::args::tw_bytes;
use crate::border::Outcome;
use crate::error::{tw_error, tw_status};

/// A mirror as it is stored, with its options as they were given last; what was not said has its default. No secret is
/// part of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_info {
    /// Its name, UTF-8.
    pub name: tw_bytes,
    /// The address that it copies.
    pub address: tw_bytes,
    /// Where to, for people, UTF-8.
    pub place: tw_bytes,
    /// Where to, as `TW_OPTION_MIRROR_TARGET` takes it, without a prefix, UTF-8. NULL when a program has brought a
    /// storage of its own along, as with `tw_warden_mirror_storage`.
    pub target: tw_bytes,
    /// Where requests are sent to, UTF-8. NULL for the store's own address.
    pub endpoint: tw_bytes,
    /// The region, UTF-8. NULL when none was set.
    pub region: tw_bytes,
    /// What the URLs of its objects begin with, UTF-8. NULL when there is none.
    pub public_url: tw_bytes,
    /// 1 when the name of the bucket is part of the host name.
    pub is_virtual_hosted: i32,
    /// 1 when entity tags are no MD5 sums.
    pub has_opaque_etags: i32,
    /// What every key begins with, before a slash, UTF-8; empty for nothing.
    pub prefix: tw_bytes,
    /// `Cache-Control` of every object, UTF-8. NULL when none was set.
    pub cache_control: tw_bytes,
    /// How many of them `tw_list_mirror_glob` gives; 0 stands for every file.
    pub globs: u64,
    /// How many of them `tw_list_mirror_content_type` gives, besides the usual ones.
    pub content_types: u64,
    /// Bytes up to which a file is sent in one piece, and of the parts of larger ones.
    pub part_bytes: u64,
    /// Bytes of files that are in memory at a time, over all uploads.
    pub memory_bytes: u64,
    /// Bytes a second that are sent at most, over all uploads, where `has_bandwidth` is 1.
    pub bandwidth_bytes_per_s: u64,
    /// Wait before the second attempt, in milliseconds; it doubles each time.
    pub backoff_ms: u64,
    /// Longest wait before an attempt, in milliseconds.
    pub backoff_max_ms: u64,
    /// Deletions beyond which all of them wait for confirmation, as `tw_mirror_sync` says; 0: every one waits.
    pub delete_max: u64,
    /// For how long a file must be still before it is sent, in milliseconds.
    pub settle_ms: u64,
    /// Files that are sent at a time.
    pub uploads_max: u32,
    /// How often a request is tried in one run.
    pub attempts_max: u32,
    /// Share of all objects, in percent, beyond which 100 deletions or more wait for confirmation.
    pub delete_share_percent: u32,
    /// 1 when there is a limit to the bandwidth.
    pub has_bandwidth: i32,
    /// 1 when the CDN is told of new objects too.
    pub purge_new: i32,
    /// Always 0.
    pub reserved: i32,
}

const _: () = assert!(size_of::<tw_mirror_info>() == 9 * size_of::<tw_bytes>() + 104, "there is no padding");

/// A mirror as it is stored, with its target as a text, for it comes as a view.
pub(crate) struct MirrorRow {
    info: MirrorInfo,
    target: Option<String>,
}

impl MirrorRow {
    pub(crate) fn new(info: MirrorInfo) -> Self {
        let target = info.target.as_ref().map(Target::to_string);
        Self { info, target }
    }

    pub(super) fn name(&self) -> tw_bytes {
        tw_bytes::of(self.info.name.as_bytes())
    }

    fn row(&self) -> tw_mirror_info {
        let (target, options) = (self.info.target.as_ref(), &self.info.options);
        let (has_bandwidth, bandwidth_bytes_per_s) = optional(options.get_bandwidth_bytes_per_s());
        let (attempts_max, backoff, backoff_max) = options.get_retry();
        tw_mirror_info {
            name: self.name(),
            address: tw_bytes::of(options.address()),
            place: tw_bytes::of(self.info.place.as_bytes()),
            target: view(self.target.as_deref()),
            endpoint: view(target.and_then(Target::get_endpoint)),
            region: view(target.and_then(Target::get_region)),
            public_url: view(target.and_then(Target::get_public_url)),
            is_virtual_hosted: i32::from(target.is_some_and(Target::get_virtual_hosted)),
            has_opaque_etags: i32::from(target.is_some_and(Target::get_opaque_etags)),
            prefix: tw_bytes::of(options.get_prefix().as_bytes()),
            cache_control: view(options.get_cache_control()),
            globs: options.get_globs().count() as u64,
            content_types: options.get_content_types().count() as u64,
            part_bytes: options.get_part_bytes(),
            memory_bytes: options.get_memory_bytes(),
            bandwidth_bytes_per_s,
            backoff_ms: milliseconds(backoff),
            backoff_max_ms: milliseconds(backoff_max),
            delete_max: options.get_delete_max(),
            settle_ms: options.get_settle_ms(),
            uploads_max: options.get_uploads_max(),
            attempts_max,
            delete_share_percent: options.get_delete_share_percent(),
            has_bandwidth,
            purge_new: i32::from(options.get_purge_new()),
            reserved: 0,
        }
    }
}

/// How a mirror stands. Times are nanoseconds since 1970 UTC; the last ten numbers only rise, since it was opened.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_status_info {
    /// Its name, UTF-8.
    pub name: tw_bytes,
    /// The address that it copies.
    pub address: tw_bytes,
    /// Where to, without any secret, UTF-8.
    pub place: tw_bytes,
    /// What every key begins with, UTF-8.
    pub prefix: tw_bytes,
    /// Why the last run was given up, UTF-8. NULL when it was not.
    pub last_error: tw_bytes,
    /// Objects that are acknowledged.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Objects of which it is not known what is there; the next run puts or deletes them.
    pub unsure: u64,
    /// Paths that are to be looked at again, where `has_pending` is 1; unknown before the first run.
    pub pending: u64,
    /// When the oldest of them came, where `has_oldest_pending` is 1.
    pub oldest_pending_ns: i64,
    /// Deletions that wait for confirmation since the last run.
    pub held: u64,
    /// URLs that a CDN is still to forget.
    pub purges_waiting: u64,
    /// When the oldest of them was queued, where `has_oldest_purge` is 1.
    pub oldest_purge_ns: i64,
    /// The commit that the last run has brought the copy in step with, where `has_last_seq` is 1.
    pub last_seq: u64,
    /// When the last run ended, where `has_last_run` is 1.
    pub last_run_ns: i64,
    /// Runs that ended.
    pub runs: u64,
    /// Runs that were given up.
    pub runs_failed: u64,
    /// Files sent and acknowledged.
    pub uploaded: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Objects copied within the store.
    pub copied: u64,
    /// Objects deleted.
    pub deleted: u64,
    /// Files and objects that failed in a run.
    pub failed: u64,
    /// Requests repeated.
    pub retries: u64,
    /// URLs that a CDN has forgotten.
    pub purged: u64,
    /// Calls to the CDN that failed.
    pub purge_failures: u64,
    /// 1 while a run is under way.
    pub is_running: i32,
    /// 1 while it follows its root by itself.
    pub is_following: i32,
    /// 1 when `pending` is set.
    pub has_pending: i32,
    /// 1 when `oldest_pending_ns` is set.
    pub has_oldest_pending: i32,
    /// 1 when `oldest_purge_ns` is set.
    pub has_oldest_purge: i32,
    /// 1 when `last_seq` is set.
    pub has_last_seq: i32,
    /// 1 when `last_run_ns` is set.
    pub has_last_run: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&MirrorStatus> for tw_mirror_status_info {
    fn from(status: &MirrorStatus) -> Self {
        let counters = &status.counters;
        let (has_pending, pending) = optional(status.pending);
        let (has_oldest_pending, oldest_pending_ns) = optional(status.oldest_pending_ns);
        let (has_oldest_purge, oldest_purge_ns) = optional(status.oldest_purge_ns);
        let (has_last_seq, last_seq) = optional(status.last_seq);
        let (has_last_run, last_run_ns) = optional(status.last_run_ns);
        Self {
            name: tw_bytes::of(status.name.as_bytes()),
            address: tw_bytes::of(&status.address),
            place: tw_bytes::of(status.place.as_bytes()),
            prefix: tw_bytes::of(status.prefix.as_bytes()),
            last_error: view(status.last_error.as_deref()),
            objects: status.objects,
            object_bytes: status.object_bytes,
            unsure: status.unsure,
            pending,
            oldest_pending_ns,
            held: status.held,
            purges_waiting: status.purges_waiting,
            oldest_purge_ns,
            last_seq,
            last_run_ns,
            runs: counters.runs,
            runs_failed: counters.runs_failed,
            uploaded: counters.uploaded,
            uploaded_bytes: counters.uploaded_bytes,
            copied: counters.copied,
            deleted: counters.deleted,
            failed: counters.failed,
            retries: counters.retries,
            purged: counters.purged,
            purge_failures: counters.purge_failures,
            is_running: i32::from(status.running),
            is_following: i32::from(status.following),
            has_pending,
            has_oldest_pending,
            has_oldest_purge,
            has_last_seq,
            has_last_run,
            reserved: 0,
        }
    }
}

/// A kind of change that this version of the interface does not know; nothing else is set.
pub const TW_URL_CHANGE_UNKNOWN: i32 = -1;
/// There is an object now.
pub const TW_URL_CHANGE_ADDED: i32 = 0;
/// It has other content under the same URL.
pub const TW_URL_CHANGE_MODIFIED: i32 = 1;
/// There is none any more.
pub const TW_URL_CHANGE_REMOVED: i32 = 2;

/// A URL that came or went.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_url_change {
    /// The address of the file.
    pub path: tw_bytes,
    /// The URL that its object has or had, UTF-8.
    pub url: tw_bytes,
    /// What happened, `TW_URL_CHANGE_…`.
    pub kind: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&UrlChange> for tw_url_change {
    fn from(change: &UrlChange) -> Self {
        let (kind, path, url) = match change {
            UrlChange::Added { path, url } => (TW_URL_CHANGE_ADDED, path.as_slice(), url.as_str()),
            UrlChange::Modified { path, url } => (TW_URL_CHANGE_MODIFIED, path.as_slice(), url.as_str()),
            UrlChange::Removed { path, url } => (TW_URL_CHANGE_REMOVED, path.as_slice(), url.as_str()),
            _ => (TW_URL_CHANGE_UNKNOWN, b"".as_slice(), ""),
        };
        Self { path: tw_bytes::of(path), url: tw_bytes::of(url.as_bytes()), kind, reserved: 0 }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn view(text: Option<&str>) -> tw_bytes {
    tw_bytes::of_option(text.map(str::as_bytes))
}

fn find(list: &List, index: usize) -> Outcome<&MirrorRow> {
    match list {
        List::Mirrors(rows) => at(rows.get(index), index, "mirrors"),
        other => Err(other.holds_no("mirrors")),
    }
}

/// Gives a mirror as it is stored. `row_size` is `sizeof(tw_mirror_info)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror(
    list: *const tw_list,
    index: usize,
    row: *mut tw_mirror_info,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { give(list, (row, row_size), error, |list| find(list, index).map(MirrorRow::row)) }
}

/// Gives a pattern of the files that the mirror `mirror_index` copies, UTF-8, as a view; they are in order. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_glob(
    list: *const tw_list,
    mirror_index: usize,
    index: usize,
    row: *mut tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, size_of::<tw_bytes>()), error, |list| {
            let pattern = find(list, mirror_index)?.info.options.get_globs().nth(index);
            at(pattern, index, "globs").map(|pattern| tw_bytes::of(pattern.as_bytes()))
        })
    }
}

/// Gives a content type that the mirror `mirror_index` was given: the extension as the key, without its dot and in
/// lower case, and the type as the value; they are in order. `row_size` is `sizeof(tw_pair)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_content_type(
    list: *const tw_list,
    mirror_index: usize,
    index: usize,
    row: *mut tw_pair,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| {
            let both = find(list, mirror_index)?.info.options.get_content_types().nth(index);
            at(both, index, "content types").map(|(extension, its)| tw_pair {
                key: tw_bytes::of(extension.as_bytes()),
                value: tw_bytes::of(its.as_bytes()),
                number: 0,
            })
        })
    }
}

/// Gives how a mirror stands. `row_size` is `sizeof(tw_mirror_status_info)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_status(
    list: *const tw_list,
    index: usize,
    row: *mut tw_mirror_status_info,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::MirrorStatus(rows) => {
                at(rows.get(index), index, "mirrors").map(tw_mirror_status_info::from)
            }
            other => Err(other.holds_no("how mirrors stand")),
        })
    }
}

/// Gives a URL that came or went. `row_size` is `sizeof(tw_url_change)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_url_change(
    list: *const tw_list,
    index: usize,
    row: *mut tw_url_change,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::UrlChanges(rows) => at(rows.get(index), index, "changes").map(tw_url_change::from),
            other => Err(other.holds_no("changes of URLs")),
        })
    }
}
