//! A list: the rows of an answer that was read as a whole. It never changes, so views into it live as long as it does.

mod explain;
mod mirror;
mod mirror_run;
mod pipeline;
mod report;
mod root;
mod stream;
mod work;

use treewarden_core::fleet::Item;
use treewarden_core::mirror::{AuditReport, MirrorPlan, MirrorReport, MirrorStatus, UrlChange};
use treewarden_core::{Operation, RebuildReport, Report, VerifyReport, WorkExplanation, WorkItem};

use crate::args::{Out, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};

pub(crate) use explain::Explained;
pub(crate) use mirror::MirrorRow;
pub(crate) use pipeline::PipelineRow;
pub(crate) use root::{RootRow, TW_COVERAGE_MIXED, TW_COVERAGE_NATIVE, coverage_number};
pub(crate) use stream::{stream_item, stream_items};

/// Rows of one type. The function that makes a list says which; `tw_list_len` says how many, and the function named
/// after the type gives one. Rows may be read in any thread, by several at once. All views in them live until
/// `tw_list_free`, whatever happens to the handle that the list came from.
///
/// Every function that gives a row returns `TW_STATUS_INVALID_ARGUMENT` for a list of rows of another type, and
/// `TW_STATUS_NOT_FOUND` behind the last row. Indexes begin at 0.
pub struct tw_list(Opaque);

pub(crate) enum List {
    Roots(Vec<RootRow>),
    Reports(Vec<Report>),
    Operations(Vec<Operation>),
    Pairs(Vec<Pair>),
    Texts(Vec<Vec<u8>>),
    Explanation(Box<Explained>),
    Verify(Box<VerifyReport>),
    Rebuild(RebuildReport),
    Pipelines(Vec<PipelineRow>),
    WorkItems(Vec<WorkItem>),
    WorkExplanation(Box<WorkExplanation>),
    Mirrors(Vec<MirrorRow>),
    MirrorStatus(Vec<MirrorStatus>),
    MirrorReport(Box<MirrorReport>),
    MirrorPlan(Box<MirrorPlan>),
    Audit(Box<AuditReport>),
    UrlChanges(Vec<UrlChange>),
    StreamItems(Vec<Item>),
}

/// A row of `tw_pair`.
pub(crate) struct Pair {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) number: u64,
}

impl Object for List {
    type Opaque = tw_list;
    const NAME: &'static str = "tw_list";
}

impl List {
    fn len(&self) -> usize {
        match self {
            Self::Roots(rows) => rows.len(),
            Self::Reports(rows) => rows.len(),
            Self::Operations(rows) => rows.len(),
            Self::Pairs(rows) => rows.len(),
            Self::Texts(rows) => rows.len(),
            Self::Pipelines(rows) => rows.len(),
            Self::WorkItems(rows) => rows.len(),
            Self::Mirrors(rows) => rows.len(),
            Self::MirrorStatus(rows) => rows.len(),
            Self::UrlChanges(rows) => rows.len(),
            Self::StreamItems(rows) => rows.len(),
            Self::Explanation(_)
            | Self::Verify(_)
            | Self::Rebuild(_)
            | Self::WorkExplanation(_)
            | Self::MirrorReport(_)
            | Self::MirrorPlan(_)
            | Self::Audit(_) => 1,
        }
    }

    /// What its rows are, for messages.
    fn rows(&self) -> &'static str {
        match self {
            Self::Roots(_) => "roots",
            Self::Reports(_) => "reports of scans",
            Self::Operations(_) => "operations",
            Self::Pairs(_) => "pairs",
            Self::Texts(_) => "texts",
            Self::Explanation(_) => "an explanation",
            Self::Verify(_) => "a report of a verification",
            Self::Rebuild(_) => "a report of a rebuild",
            Self::Pipelines(_) => "pipelines",
            Self::WorkItems(_) => "items of a pipeline",
            Self::WorkExplanation(_) => "an explanation of an item",
            Self::Mirrors(_) => "mirrors",
            Self::MirrorStatus(_) => "how mirrors stand",
            Self::MirrorReport(_) => "a report of a run",
            Self::MirrorPlan(_) => "a plan",
            Self::Audit(_) => "a report of an audit",
            Self::UrlChanges(_) => "changes of URLs",
            Self::StreamItems(_) => "items of a stream",
        }
    }

    /// The rows are of another type than those asked for.
    fn holds_no(&self, what: &str) -> Failure {
        Failure::invalid(format!("the list holds {}, not {what}", self.rows()))
    }
}

/// The row at a place, which is there or not.
fn at<R>(row: Option<R>, index: usize, what: &str) -> Outcome<R> {
    row.ok_or_else(|| {
        Failure::new(
            TW_STATUS_NOT_FOUND,
            format!("there is no row {index} among the {what}; rows count from 0"),
        )
    })
}

/// An optional number as it stands in a struct: whether it is set, and what it is.
fn optional<N: Default>(value: Option<N>) -> (i32, N) {
    (i32::from(value.is_some()), value.unwrap_or_default())
}

/// Writes one row of a list: the body of the functions below.
///
/// # Safety
///
/// `row_bytes` bytes may be written at `row`, and a handle at `error`, or they are NULL.
unsafe fn give<R: Copy>(
    list: *const tw_list,
    (row, row_bytes): (*mut R, usize),
    error: *mut *mut tw_error,
    find: impl FnOnce(&List) -> Outcome<R>,
) -> tw_status {
    // SAFETY: as promised.
    unsafe {
        call(error, || {
            let out = Out::sized(row, row_bytes, "row")?;
            handle::with::<List, _>(list, |list| {
                out.write(find(list)?);
                Ok(())
            })
        })
    }
}

/// A key and what belongs to it: a cursor and its commit, an attribute or a key of a space and its value.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_pair {
    /// The name, or the key.
    pub key: tw_bytes,
    /// The value; empty where there is a number.
    pub value: tw_bytes,
    /// The number; 0 where there is a value.
    pub number: u64,
}

/// Gives the number of rows. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_len(
    list: *const tw_list,
    len: *mut usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(len, "len")?;
            handle::with::<List, _>(list, |list| {
                out.write(list.len());
                Ok(())
            })
        })
    }
}

/// Frees a list, and with it all views that it gave. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_free(list: *mut tw_list, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<List>(list)) }
}

/// Gives a pair. Of an explanation of an entry that is one of its attributes with the number of its bytes; of an
/// explanation of an item of a pipeline, one of its attributes with its value. `row_size` is `sizeof(tw_pair)`. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_pair(
    list: *const tw_list,
    index: usize,
    row: *mut tw_pair,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| match list {
            List::Pairs(rows) => at(rows.get(index), index, "pairs").map(|pair| tw_pair {
                key: tw_bytes::of(&pair.key),
                value: tw_bytes::of(&pair.value),
                number: pair.number,
            }),
            List::Explanation(told) => at(told.attr(index), index, "attributes"),
            List::WorkExplanation(told) => at(work::attr(told, index), index, "attributes"),
            other => Err(other.holds_no("pairs")),
        })
    }
}

/// Gives a text, as a view: a name or a path, UTF-8 or bytes as the function says that made the list. Of an explanation
/// it is one of the reasons, a sentence in UTF-8; of pipelines and mirrors it is the name of one. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_text(
    list: *const tw_list,
    index: usize,
    row: *mut tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, size_of::<tw_bytes>()), error, |list| match list {
            List::Texts(rows) => at(rows.get(index), index, "texts").map(|text| tw_bytes::of(text)),
            List::Explanation(told) => at(told.reason(index), index, "reasons"),
            List::Pipelines(rows) => at(rows.get(index), index, "pipelines").map(PipelineRow::name),
            List::Mirrors(rows) => at(rows.get(index), index, "mirrors").map(MirrorRow::name),
            other => Err(other.holds_no("texts")),
        })
    }
}
