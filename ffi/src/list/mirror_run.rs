//! Rows of what mirrors do: the report of a run, what the next one would do, and what an audit has found.

use treewarden_core::mirror::{
    AuditFinding, AuditKind, AuditReport, MirrorError, MirrorPlan, MirrorReport, MirrorStep,
};

use super::mirror::view;
use super::{List, at, give, tw_list};
use crate::args::tw_bytes;
use crate::error::{tw_error, tw_status};

/// What one run of a mirror has done.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_report {
    /// The commit that the copy was brought in step with.
    pub seq: u64,
    /// Files that were sent and acknowledged.
    pub uploaded: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Objects that were copied to another key within the store.
    pub copied: u64,
    /// Objects that were deleted.
    pub deleted: u64,
    /// Files that changed while they were read, or since the last scan: they come with the next run.
    pub changed: u64,
    /// Files that have not been still for long enough: they come with the next run.
    pub unsettled: u64,
    /// Files and objects that failed, those of `refused` not counted.
    pub failed: u64,
    /// Files that the store can hold under no name.
    pub refused: u64,
    /// Deletions that wait for confirmation: see `tw_mirror_sync`.
    pub held: u64,
    /// URLs that a CDN has forgotten.
    pub purged: u64,
    /// URLs that a CDN is still to forget.
    pub purges_waiting: u64,
    /// Requests that were repeated.
    pub retries: u64,
    /// How many failures `tw_list_mirror_error` gives: the first 100.
    pub first_errors: u64,
    /// Time taken, in milliseconds.
    pub elapsed_ms: u64,
    /// 1 when nothing is left: the copy equals the snapshot, but for names that the store cannot hold.
    pub is_complete: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&MirrorReport> for tw_mirror_report {
    fn from(report: &MirrorReport) -> Self {
        Self {
            seq: report.seq,
            uploaded: report.uploaded,
            uploaded_bytes: report.uploaded_bytes,
            copied: report.copied,
            deleted: report.deleted,
            changed: report.changed,
            unsettled: report.unsettled,
            failed: report.failed,
            refused: report.refused,
            held: report.held,
            purged: report.purged,
            purges_waiting: report.purges_waiting,
            retries: report.retries,
            first_errors: report.errors.len() as u64,
            elapsed_ms: report.elapsed_ms,
            is_complete: i32::from(report.is_complete()),
            reserved: 0,
        }
    }
}

/// A file that could not be copied, or an object that could not be deleted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_error {
    /// The address of the file.
    pub path: tw_bytes,
    /// The key of its object, UTF-8. NULL where it has none.
    pub key: tw_bytes,
    /// What happened, UTF-8.
    pub message: tw_bytes,
    /// 1 when it will never work as it is: the name or size is not allowed.
    pub is_permanent: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&MirrorError> for tw_mirror_error {
    fn from(error: &MirrorError) -> Self {
        Self {
            path: tw_bytes::of(&error.path),
            key: view(error.key.as_deref()),
            message: tw_bytes::of(error.message.as_bytes()),
            is_permanent: i32::from(error.permanent),
            reserved: 0,
        }
    }
}

/// What the next run of a mirror would do.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_plan_info {
    /// The commit of the snapshot that it was made from.
    pub seq: u64,
    /// How many steps `tw_list_mirror_step` gives.
    pub steps: u64,
    /// Files to send.
    pub uploads: u64,
    /// Their bytes.
    pub upload_bytes: u64,
    /// Objects to copy within the store.
    pub copies: u64,
    /// Objects to delete.
    pub deletes: u64,
    /// Files that have not been still for long enough.
    pub unsettled: u64,
    /// Files that the store can hold under no name.
    pub refused: u64,
    /// How many of them `tw_list_mirror_error` gives: the first 100.
    pub first_errors: u64,
    /// 1 when so many deletions would wait for confirmation.
    pub is_held: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&MirrorPlan> for tw_mirror_plan_info {
    fn from(plan: &MirrorPlan) -> Self {
        Self {
            seq: plan.seq,
            steps: plan.steps.len() as u64,
            uploads: plan.uploads,
            upload_bytes: plan.upload_bytes,
            copies: plan.copies,
            deletes: plan.deletes,
            unsettled: plan.unsettled,
            refused: plan.refused_total,
            first_errors: plan.refused.len() as u64,
            is_held: i32::from(plan.held),
            reserved: 0,
        }
    }
}

/// A step that this version of the interface does not know; nothing else is set.
pub const TW_MIRROR_STEP_UNKNOWN: i32 = -1;
/// The file `path` is sent, and becomes the object `key`.
pub const TW_MIRROR_STEP_UPLOAD: i32 = 0;
/// The object `from` is copied to `key` within the store.
pub const TW_MIRROR_STEP_COPY: i32 = 1;
/// The object `key` is deleted.
pub const TW_MIRROR_STEP_DELETE: i32 = 2;

/// One step of a plan.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_step {
    /// Of `TW_MIRROR_STEP_UPLOAD`: the address of the file. NULL for all others.
    pub path: tw_bytes,
    /// Of `TW_MIRROR_STEP_COPY`: the key of the object that is copied, UTF-8. NULL for all others.
    pub from: tw_bytes,
    /// The key of the object that comes into being, or that is deleted, UTF-8.
    pub key: tw_bytes,
    /// Of `TW_MIRROR_STEP_UPLOAD`: the size of the file in bytes. 0 for all others.
    pub bytes: u64,
    /// What is done, `TW_MIRROR_STEP_…`.
    pub kind: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&MirrorStep> for tw_mirror_step {
    fn from(step: &MirrorStep) -> Self {
        let none = Self {
            path: tw_bytes::NONE,
            from: tw_bytes::NONE,
            key: tw_bytes::NONE,
            bytes: 0,
            kind: TW_MIRROR_STEP_UNKNOWN,
            reserved: 0,
        };
        match step {
            MirrorStep::Upload { path, key, bytes } => Self {
                path: tw_bytes::of(path),
                key: tw_bytes::of(key.as_bytes()),
                bytes: *bytes,
                kind: TW_MIRROR_STEP_UPLOAD,
                ..none
            },
            MirrorStep::Copy { from, to } => Self {
                from: tw_bytes::of(from.as_bytes()),
                key: tw_bytes::of(to.as_bytes()),
                kind: TW_MIRROR_STEP_COPY,
                ..none
            },
            MirrorStep::Delete { key } => {
                Self { key: tw_bytes::of(key.as_bytes()), kind: TW_MIRROR_STEP_DELETE, ..none }
            }
            _ => none,
        }
    }
}

/// What an audit has found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_audit_report {
    /// Objects that were listed.
    pub listed: u64,
    /// Objects that are as they were acknowledged.
    pub matched: u64,
    /// Acknowledged objects that are not there.
    pub lost: u64,
    /// Objects of another size or entity tag.
    pub different: u64,
    /// Objects that the mirror did not put there.
    pub unknown: u64,
    /// Objects that were begun and not acknowledged.
    pub unsure: u64,
    /// How many differences `tw_list_audit_finding` gives: the first 1,000.
    pub findings: u64,
    /// 1 when the store holds what it has acknowledged, and nothing else.
    pub is_clean: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&AuditReport> for tw_audit_report {
    fn from(report: &AuditReport) -> Self {
        Self {
            listed: report.listed,
            matched: report.matched,
            lost: report.lost,
            different: report.different,
            unknown: report.unknown,
            unsure: report.unsure,
            findings: report.findings.len() as u64,
            is_clean: i32::from(report.is_clean()),
            reserved: 0,
        }
    }
}

/// A kind of difference that this version of the interface does not know.
pub const TW_AUDIT_OTHER: i32 = -1;
/// It was acknowledged, and is not there.
pub const TW_AUDIT_LOST: i32 = 0;
/// It has another size or entity tag than was acknowledged.
pub const TW_AUDIT_DIFFERENT: i32 = 1;
/// It is there, and the mirror did not put it there.
pub const TW_AUDIT_UNKNOWN: i32 = 2;
/// Something was begun with it and not acknowledged: the next run puts or deletes it.
pub const TW_AUDIT_UNSURE: i32 = 3;

/// One difference between a store and what it has acknowledged.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_audit_finding {
    /// The key of the object, UTF-8.
    pub key: tw_bytes,
    /// What is wrong with it, `TW_AUDIT_…`.
    pub kind: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&AuditFinding> for tw_audit_finding {
    fn from(finding: &AuditFinding) -> Self {
        let kind = match finding.kind {
            AuditKind::Lost => TW_AUDIT_LOST,
            AuditKind::Different => TW_AUDIT_DIFFERENT,
            AuditKind::Unknown => TW_AUDIT_UNKNOWN,
            AuditKind::Unsure => TW_AUDIT_UNSURE,
            _ => TW_AUDIT_OTHER,
        };
        Self { key: tw_bytes::of(finding.key.as_bytes()), kind, reserved: 0 }
    }
}

/// Gives the report of a run of a mirror: row 0. `row_size` is `sizeof(tw_mirror_report)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_report(
    list: *const tw_list,
    index: usize,
    row: *mut tw_mirror_report,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::MirrorReport(report) => {
                let only = Some(&**report).filter(|_| index == 0);
                at(only, index, "reports").map(tw_mirror_report::from)
            }
            other => Err(other.holds_no("a report of a run")),
        })
    }
}

/// Gives a failure: of a run what could not be copied or deleted, of a plan what the store can hold under no name.
/// `row_size` is `sizeof(tw_mirror_error)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_error(
    list: *const tw_list,
    index: usize,
    row: *mut tw_mirror_error,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| {
            let errors = match list {
                List::MirrorReport(report) => &report.errors,
                List::MirrorPlan(plan) => &plan.refused,
                other => return Err(other.holds_no("a report of a run or a plan")),
            };
            at(errors.get(index), index, "failures").map(tw_mirror_error::from)
        })
    }
}

/// Gives what the next run of a mirror would do: row 0. `row_size` is `sizeof(tw_mirror_plan_info)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_plan(
    list: *const tw_list,
    index: usize,
    row: *mut tw_mirror_plan_info,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::MirrorPlan(plan) => {
                let only = Some(&**plan).filter(|_| index == 0);
                at(only, index, "plans").map(tw_mirror_plan_info::from)
            }
            other => Err(other.holds_no("a plan")),
        })
    }
}

/// Gives a step of a plan, in the order of a run: uploads, copies, deletions. `row_size` is `sizeof(tw_mirror_step)`.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_mirror_step(
    list: *const tw_list,
    index: usize,
    row: *mut tw_mirror_step,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::MirrorPlan(plan) => at(plan.steps.get(index), index, "steps").map(tw_mirror_step::from),
            other => Err(other.holds_no("a plan")),
        })
    }
}

/// Gives what an audit has found: row 0. `row_size` is `sizeof(tw_audit_report)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_audit(
    list: *const tw_list,
    index: usize,
    row: *mut tw_audit_report,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Audit(report) => {
                let only = Some(&**report).filter(|_| index == 0);
                at(only, index, "reports").map(tw_audit_report::from)
            }
            other => Err(other.holds_no("a report of an audit")),
        })
    }
}

/// Gives a difference that an audit has found, in the order of their keys. `row_size` is `sizeof(tw_audit_finding)`.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_audit_finding(
    list: *const tw_list,
    index: usize,
    row: *mut tw_audit_finding,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Audit(report) => {
                at(report.findings.get(index), index, "differences").map(tw_audit_finding::from)
            }
            other => Err(other.holds_no("a report of an audit")),
        })
    }
}
