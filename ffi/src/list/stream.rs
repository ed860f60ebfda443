//! Rows of what has come over a stream.

use treewarden_core::fleet::Item;

use super::{List, at, give, tw_list};
use crate::args::tw_bytes;
use crate::border::Outcome;
use crate::changes::change_number;
use crate::error::{tw_error, tw_status};
use crate::snapshot::kind_number;

/// One change, as it came over a stream.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_stream_item {
    /// The id of the entry in the stream, UTF-8.
    pub stream_id: tw_bytes,
    /// The state file that it comes from, as 32 hexadecimal digits.
    pub database: tw_bytes,
    /// Name of the root at that time, UTF-8. NULL of a reset.
    pub root: tw_bytes,
    /// The address, `ROOT/relative/path`. NULL of a reset.
    pub path: tw_bytes,
    /// Of `TW_CHANGE_MOVED`: the address before. NULL for all others.
    pub from: tw_bytes,
    /// The commit.
    pub seq: u64,
    /// Which of the changes of that commit, from 1; 0 of a reset.
    pub part: u64,
    /// The stable number of the entry; 0 of a reset.
    pub id: u64,
    /// What happened: `TW_CHANGE_…`; -1 of a reset.
    pub kind: i32,
    /// What it happened to: `TW_KIND_…`; -1 of a reset.
    pub entry_kind: i32,
    /// 1 when it is no change but a reset: what comes now does not continue what came before (another state file, or
    /// something was lost), so whoever keeps a copy looks at the whole.
    pub is_reset: i32,
    /// Always 0.
    pub reserved: i32,
}

const _: () = assert!(size_of::<tw_stream_item>() == 5 * size_of::<tw_bytes>() + 40, "there is no padding");

impl From<&Item> for tw_stream_item {
    fn from(item: &Item) -> Self {
        let change = item.change.as_ref();
        Self {
            stream_id: tw_bytes::of(item.stream_id.as_bytes()),
            database: tw_bytes::of(item.database.as_bytes()),
            root: tw_bytes::of_option(change.map(|change| change.root.as_bytes())),
            path: tw_bytes::of_option(change.map(|change| change.path.as_slice())),
            from: tw_bytes::of_option(change.and_then(|change| change.from.as_deref())),
            seq: item.seq,
            part: item.part,
            id: change.map_or(0, |change| change.id),
            kind: change.map_or(-1, |change| change_number(change.kind)),
            entry_kind: change.map_or(-1, |change| kind_number(change.entry_kind)),
            is_reset: i32::from(change.is_none()),
            reserved: 0,
        }
    }
}

/// All that came with one read.
pub(crate) fn stream_items(list: &List) -> Outcome<&[Item]> {
    match list {
        List::StreamItems(rows) => Ok(rows),
        other => Err(other.holds_no("items of a stream")),
    }
}

/// One of them.
pub(crate) fn stream_item(list: &List, index: usize) -> Outcome<&Item> {
    at(stream_items(list)?.get(index), index, "items")
}

/// Gives a change that came over a stream. `row_size` is `sizeof(tw_stream_item)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_stream_item(
    list: *const tw_list,
    index: usize,
    row: *mut tw_stream_item,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { give(list, (row, row_size), error, |list| stream_item(list, index).map(tw_stream_item::from)) }
}
