//! Rows of pipelines.

use treewarden_core::{WorkExplanation, WorkItem};

use super::{List, at, give, optional, tw_list, tw_pair};
use crate::args::tw_bytes;
use crate::error::{tw_error, tw_status};
use crate::pipeline::{priority_number, state_number};

/// One item of a pipeline.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_work_item {
    /// Address of the file, or key of the group.
    pub path: tw_bytes,
    /// How it stands, `TW_WORK_…`; `TW_WORK_PROCESSING` while it is held.
    pub state: i32,
    /// 1 when it has failed for good.
    pub is_dead: i32,
}

impl From<&WorkItem> for tw_work_item {
    fn from(item: &WorkItem) -> Self {
        Self {
            path: tw_bytes::of(&item.path),
            state: state_number(item.state),
            is_dead: i32::from(item.dead),
        }
    }
}

/// All that is known of one item of a pipeline, and why. Times are nanoseconds since 1970 UTC. What the worker has
/// stored with it comes by `tw_list_pair`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_work_explanation {
    /// Address of the file, or key of the group.
    pub path: tw_bytes,
    /// Why it stands so, in words, UTF-8.
    pub why: tw_bytes,
    /// Why the last attempt failed, UTF-8. NULL when it did not.
    pub last_error: tw_bytes,
    /// Who holds a lease on it, UTF-8. NULL when nobody does.
    pub lease_holder: tw_bytes,
    /// What identifies the content that was done: equal texts mean the same. NULL when it never was.
    pub content_done: tw_bytes,
    /// What identifies the content now. NULL when there is none.
    pub content_now: tw_bytes,
    /// When it is due, where `has_due` is 1; otherwise never by itself.
    pub due_ns: i64,
    /// When it was completed last, where `has_done` is 1.
    pub done_ns: i64,
    /// When it is to be refreshed, where `has_refresh_at` is 1.
    pub refresh_at_ns: i64,
    /// Until when the lease holds, where there is a `lease_holder`.
    pub lease_until_ns: i64,
    /// How many attributes there are.
    pub attrs: u64,
    /// Failures of this content in a row.
    pub attempts: u32,
    /// How it stands, without regard to a lease, `TW_WORK_…`.
    pub state: i32,
    /// The class in which it waits or would wait, `TW_PRIORITY_…`.
    pub priority: i32,
    /// The class in which somebody has asked for it, `TW_PRIORITY_…`, where `has_requested` is 1.
    pub requested: i32,
    /// 1 when it is due at some time.
    pub has_due: i32,
    /// 1 once it was completed.
    pub has_done: i32,
    /// 1 when it is to be refreshed.
    pub has_refresh_at: i32,
    /// 1 when somebody has asked for it.
    pub has_requested: i32,
    /// 1 when it has failed for good.
    pub is_dead: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&WorkExplanation> for tw_work_explanation {
    fn from(told: &WorkExplanation) -> Self {
        let (has_due, due_ns) = optional(told.due_ns);
        let (has_done, done_ns) = optional(told.done_ns);
        let (has_refresh_at, refresh_at_ns) = optional(told.refresh_at_ns);
        let (has_requested, requested) = optional(told.requested.map(priority_number));
        let lease = told.lease.as_ref();
        Self {
            path: tw_bytes::of(&told.path),
            why: tw_bytes::of(told.why.as_bytes()),
            last_error: view(told.last_error.as_deref()),
            lease_holder: view(lease.map(|(holder, _)| holder.as_str())),
            content_done: view(told.content_done.as_deref()),
            content_now: view(told.content_now.as_deref()),
            due_ns,
            done_ns,
            refresh_at_ns,
            lease_until_ns: lease.map_or(0, |(_, until_ns)| *until_ns),
            attrs: told.attrs.len() as u64,
            attempts: told.attempts,
            state: state_number(told.state),
            priority: priority_number(told.priority),
            requested,
            has_due,
            has_done,
            has_refresh_at,
            has_requested,
            is_dead: i32::from(told.dead),
            reserved: 0,
        }
    }
}

fn view(text: Option<&str>) -> tw_bytes {
    tw_bytes::of_option(text.map(str::as_bytes))
}

/// An attribute of an item. There are few, for all of one item take 64 KiB at most.
pub(super) fn attr(told: &WorkExplanation, index: usize) -> Option<tw_pair> {
    let (name, value) = told.attrs.iter().nth(index)?;
    Some(tw_pair { key: tw_bytes::of(name.as_bytes()), value: tw_bytes::of(value), number: 0 })
}

/// Gives an item of a pipeline. `row_size` is `sizeof(tw_work_item)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_work_item(
    list: *const tw_list,
    index: usize,
    row: *mut tw_work_item,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::WorkItems(rows) => at(rows.get(index), index, "items").map(tw_work_item::from),
            other => Err(other.holds_no("items of a pipeline")),
        })
    }
}

/// Gives what is known of an item of a pipeline: row 0. `row_size` is `sizeof(tw_work_explanation)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_work_explanation(
    list: *const tw_list,
    index: usize,
    row: *mut tw_work_explanation,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::WorkExplanation(told) => {
                let only = Some(&**told).filter(|_| index == 0);
                at(only, index, "explanations").map(tw_work_explanation::from)
            }
            other => Err(other.holds_no("an explanation of an item")),
        })
    }
}
