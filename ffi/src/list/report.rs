//! Rows of reports: of scans, verifications and rebuilds, and the history.

use std::os::unix::ffi::OsStrExt;

use treewarden_core::{
    DifferenceKind, Operation, OperationKind, OperationStatus, RebuildReport, Report, ScanError, ScanMode,
    VerifyReport,
};

use super::{List, at, give, tw_list};
use crate::args::tw_bytes;
use crate::error::{tw_error, tw_status};
use crate::options::{TW_SCAN_FULL, TW_SCAN_QUICK};

/// What became of one target of a scan. Counts are of files and symlinks, not of directories.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_report {
    /// Name of the root, UTF-8.
    pub root: tw_bytes,
    /// Why nothing was applied because the root cannot be trusted, UTF-8. NULL when it can.
    pub unavailable: tw_bytes,
    /// The commit that the state is at after the scan.
    pub seq: u64,
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
    /// Dropped because they are ignored now, or belong to another root.
    pub forgotten: u64,
    /// Looked at and as before.
    pub unchanged: u64,
    /// Directories listed.
    pub dirs: u64,
    /// Files and symlinks seen.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
    /// FIFOs, sockets and devices seen; never opened, never entries.
    pub special: u64,
    /// Paths that could not be looked at. Each keeps its last state, and so does what lies below it.
    pub errors: u64,
    /// How many of them `tw_list_scan_error` gives: the first 100.
    pub first_errors: u64,
    /// Files whose content changed under an unchanged fingerprint.
    pub corrupt: u64,
    /// Where `is_held` is 1: files and symlinks that would become missing.
    pub held_missing: u64,
    /// Where `is_held` is 1: files and symlinks known.
    pub held_of: u64,
    /// Time taken, in milliseconds.
    pub elapsed_ms: u64,
    /// Of it for listing, looking and comparing.
    pub walk_ms: u64,
    /// Of it for reading content.
    pub hash_ms: u64,
    /// Of it for writing and publishing.
    pub commit_ms: u64,
    /// How deep the scan looked, `TW_SCAN_QUICK` or `TW_SCAN_FULL`.
    pub mode: i32,
    /// 1 when nothing was applied because too much would become missing. See `TW_OPTION_SCAN_ACCEPT_MISSING`.
    pub is_held: i32,
    /// 1 when it was cancelled; nothing was applied.
    pub is_cancelled: i32,
    /// 1 when the scan made a commit.
    pub is_published: i32,
    /// 1 when everything could be looked at and the result was applied.
    pub is_clean: i32,
    /// 1 when no file or symlink changed.
    pub is_unchanged: i32,
}

impl From<&Report> for tw_report {
    fn from(report: &Report) -> Self {
        Self {
            root: tw_bytes::of(report.root.as_bytes()),
            unavailable: tw_bytes::of_option(report.unavailable.as_deref().map(str::as_bytes)),
            seq: report.seq,
            added: report.added,
            modified: report.modified,
            moved: report.moved,
            missing: report.missing,
            restored: report.restored,
            forgotten: report.forgotten,
            unchanged: report.unchanged,
            dirs: report.dirs,
            files: report.files,
            bytes: report.bytes,
            special: report.special,
            errors: report.errors,
            first_errors: report.first_errors.len() as u64,
            corrupt: report.corrupt,
            held_missing: report.held.map_or(0, |held| held.missing),
            held_of: report.held.map_or(0, |held| held.of),
            elapsed_ms: report.elapsed_ms,
            walk_ms: report.timings.walk_ms,
            hash_ms: report.timings.hash_ms,
            commit_ms: report.timings.commit_ms,
            mode: match report.mode {
                ScanMode::Quick => TW_SCAN_QUICK,
                ScanMode::Full => TW_SCAN_FULL,
            },
            is_held: i32::from(report.held.is_some()),
            is_cancelled: i32::from(report.cancelled),
            is_published: i32::from(report.published),
            is_clean: i32::from(report.is_clean()),
            is_unchanged: i32::from(report.is_unchanged()),
        }
    }
}

/// One path that could not be looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_scan_error {
    /// The address.
    pub path: tw_bytes,
    /// What happened, UTF-8.
    pub message: tw_bytes,
    /// The same as a status, `TW_STATUS_…`.
    pub status: tw_status,
    /// Always 0.
    pub reserved: i32,
}

impl From<&ScanError> for tw_scan_error {
    fn from(error: &ScanError) -> Self {
        Self {
            path: tw_bytes::of(&error.path),
            message: tw_bytes::of(error.message.as_bytes()),
            status: tw_status::from(error.kind.code()),
            reserved: 0,
        }
    }
}

/// The first look after opening, by the engine itself.
pub const TW_OPERATION_STARTUP: i32 = 0;
/// A quick scan of a whole root.
pub const TW_OPERATION_QUICK: i32 = 1;
/// A full scan of a whole root.
pub const TW_OPERATION_FULL: i32 = 2;
/// A scan of part of a root.
pub const TW_OPERATION_SUBTREE: i32 = 3;
/// Changes that the engine has heard of.
pub const TW_OPERATION_LIVE: i32 = 4;
/// Maintenance: tombstones that expired.
pub const TW_OPERATION_MANUAL: i32 = 5;
/// A refresh run of a pipeline, which stands in place of the root: how many items it handed out is counted as modified.
pub const TW_OPERATION_REFRESH: i32 = 6;

/// Complete.
pub const TW_OPERATION_STATUS_OK: i32 = 0;
/// Complete but for parts that could not be read.
pub const TW_OPERATION_STATUS_PARTIAL: i32 = 1;
/// Held until a scan with `TW_OPTION_SCAN_ACCEPT_MISSING`.
pub const TW_OPERATION_STATUS_HELD: i32 = 2;
/// The root could not be trusted.
pub const TW_OPERATION_STATUS_UNAVAILABLE: i32 = 3;
/// Cancelled by the program.
pub const TW_OPERATION_STATUS_CANCELLED: i32 = 4;
/// Ended by an error.
pub const TW_OPERATION_STATUS_FAILED: i32 = 5;

fn operation_number(kind: OperationKind) -> i32 {
    match kind {
        OperationKind::Startup => TW_OPERATION_STARTUP,
        OperationKind::Quick => TW_OPERATION_QUICK,
        OperationKind::Full => TW_OPERATION_FULL,
        OperationKind::Subtree => TW_OPERATION_SUBTREE,
        OperationKind::Live => TW_OPERATION_LIVE,
        OperationKind::Manual => TW_OPERATION_MANUAL,
        OperationKind::Refresh => TW_OPERATION_REFRESH,
    }
}

fn operation_status_number(status: OperationStatus) -> i32 {
    match status {
        OperationStatus::Ok => TW_OPERATION_STATUS_OK,
        OperationStatus::Partial => TW_OPERATION_STATUS_PARTIAL,
        OperationStatus::Held => TW_OPERATION_STATUS_HELD,
        OperationStatus::Unavailable => TW_OPERATION_STATUS_UNAVAILABLE,
        OperationStatus::Cancelled => TW_OPERATION_STATUS_CANCELLED,
        OperationStatus::Failed => TW_OPERATION_STATUS_FAILED,
    }
}

/// One row of the history: a scan or a batch that changed something, or that failed to. Times are nanoseconds since
/// 1970 UTC, counts are of files and symlinks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_operation {
    /// Name of the root at that time, UTF-8; empty where it concerns all.
    pub root: tw_bytes,
    /// Why it did not end well, UTF-8. NULL when it did.
    pub error: tw_bytes,
    /// Number of the row.
    pub id: u64,
    /// Start.
    pub start_ns: i64,
    /// End.
    pub end_ns: i64,
    /// The commit that holds its result.
    pub seq: u64,
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
    /// What ran, `TW_OPERATION_…`.
    pub kind: i32,
    /// How it ended, `TW_OPERATION_STATUS_…`.
    pub status: i32,
}

impl From<&Operation> for tw_operation {
    fn from(operation: &Operation) -> Self {
        Self {
            root: tw_bytes::of(operation.root.as_bytes()),
            error: tw_bytes::of_option(operation.error.as_deref().map(str::as_bytes)),
            id: operation.id,
            start_ns: operation.start_ns,
            end_ns: operation.end_ns,
            seq: operation.seq,
            added: operation.counts.added,
            modified: operation.counts.modified,
            moved: operation.counts.moved,
            missing: operation.counts.missing,
            restored: operation.counts.restored,
            forgotten: operation.counts.forgotten,
            errors: operation.counts.errors,
            kind: operation_number(operation.kind),
            status: operation_status_number(operation.status),
        }
    }
}

/// What a verification has found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_verify_report {
    /// Files and symlinks looked at.
    pub checked: u64,
    /// Paths at which disk and state differ.
    pub differences_total: u64,
    /// How many of them `tw_list_difference` gives: the first 10,000.
    pub differences: u64,
    /// Paths that could not be looked at, and roots that are unavailable.
    pub errors: u64,
    /// How many of them `tw_list_scan_error` gives: the first 100.
    pub first_errors: u64,
}

impl From<&VerifyReport> for tw_verify_report {
    fn from(report: &VerifyReport) -> Self {
        Self {
            checked: report.checked,
            differences_total: report.differences_total,
            differences: report.differences.len() as u64,
            errors: report.errors,
            first_errors: report.first_errors.len() as u64,
        }
    }
}

/// In the state, not on disk.
pub const TW_DIFFERENCE_MISSING: i32 = 0;
/// On disk, not in the state.
pub const TW_DIFFERENCE_UNKNOWN: i32 = 1;
/// The fingerprint differs.
pub const TW_DIFFERENCE_CHANGED: i32 = 2;
/// The fingerprint is the same, the content is not.
pub const TW_DIFFERENCE_CORRUPT: i32 = 3;

/// One path at which disk and state differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_difference {
    /// The address.
    pub path: tw_bytes,
    /// How they differ, `TW_DIFFERENCE_…`.
    pub what: i32,
    /// Always 0.
    pub reserved: i32,
}

/// What a rebuild has saved.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_rebuild_report {
    /// Where the damaged file is kept, a path on this disk, bytes.
    pub kept_as: tw_bytes,
    /// Roots saved.
    pub roots: u64,
    /// Files and symlinks saved.
    pub entries: u64,
    /// Rows that could not be read.
    pub lost_rows: u64,
    /// Values of spaces saved.
    pub spaces_rows: u64,
}

impl From<&RebuildReport> for tw_rebuild_report {
    fn from(report: &RebuildReport) -> Self {
        Self {
            kept_as: tw_bytes::of(report.kept_as.as_os_str().as_bytes()),
            roots: report.roots,
            entries: report.entries,
            lost_rows: report.lost_rows,
            spaces_rows: report.spaces_rows,
        }
    }
}

/// Gives the report of one target of a scan. `row_size` is `sizeof(tw_report)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_report(
    list: *const tw_list,
    index: usize,
    row: *mut tw_report,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Reports(rows) => at(rows.get(index), index, "reports").map(tw_report::from),
            other => Err(other.holds_no("reports of scans")),
        })
    }
}

/// Gives a path that could not be looked at, of the report `report_index`; of a verification that is 0. `row_size` is
/// `sizeof(tw_scan_error)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_scan_error(
    list: *const tw_list,
    report_index: usize,
    index: usize,
    row: *mut tw_scan_error,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| {
            let errors = match list {
                List::Reports(rows) => rows.get(report_index).map(|report| &report.first_errors),
                List::Verify(report) => Some(&report.first_errors).filter(|_| report_index == 0),
                other => return Err(other.holds_no("reports of scans")),
            };
            let errors = at(errors, report_index, "reports")?;
            at(errors.get(index), index, "errors").map(tw_scan_error::from)
        })
    }
}

/// Gives a row of the history. `row_size` is `sizeof(tw_operation)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_operation(
    list: *const tw_list,
    index: usize,
    row: *mut tw_operation,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Operations(rows) => at(rows.get(index), index, "operations").map(tw_operation::from),
            other => Err(other.holds_no("operations")),
        })
    }
}

/// Gives what a verification has found: row 0. `row_size` is `sizeof(tw_verify_report)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_verify(
    list: *const tw_list,
    index: usize,
    row: *mut tw_verify_report,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Verify(report) => {
                let only = Some(&**report).filter(|_| index == 0);
                at(only, index, "reports").map(tw_verify_report::from)
            }
            other => Err(other.holds_no("a report of a verification")),
        })
    }
}

/// Gives a path at which a verification has found disk and state to differ, in path order within each root. `row_size`
/// is `sizeof(tw_difference)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_difference(
    list: *const tw_list,
    index: usize,
    row: *mut tw_difference,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| {
            let List::Verify(report) = list else {
                return Err(list.holds_no("a report of a verification"));
            };
            at(report.differences.get(index), index, "differences").map(|difference| tw_difference {
                path: tw_bytes::of(&difference.path),
                what: match difference.what {
                    DifferenceKind::Missing => TW_DIFFERENCE_MISSING,
                    DifferenceKind::Unknown => TW_DIFFERENCE_UNKNOWN,
                    DifferenceKind::Changed => TW_DIFFERENCE_CHANGED,
                    DifferenceKind::Corrupt => TW_DIFFERENCE_CORRUPT,
                },
                reserved: 0,
            })
        })
    }
}

/// Gives what a rebuild has saved: row 0. `row_size` is `sizeof(tw_rebuild_report)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_rebuild(
    list: *const tw_list,
    index: usize,
    row: *mut tw_rebuild_report,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Rebuild(report) => {
                let only = Some(report).filter(|_| index == 0);
                at(only, index, "reports").map(tw_rebuild_report::from)
            }
            other => Err(other.holds_no("a report of a rebuild")),
        })
    }
}
