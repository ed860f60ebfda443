//! Pipelines: what is still to be done about each file.

use treewarden_core::{Clock, Pipeline, Priority, WorkState};

use crate::args::{Out, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::jobs::{JobsObject, tw_jobs};
use crate::limiter::{LimiterObject, tw_limiter};
use crate::list::{List, PipelineRow, tw_list};
use crate::options::{OptionsObject, pipeline_options, tw_options};
use crate::warden::{WardenObject, tw_warden};

/// It is there and was never done.
pub const TW_WORK_NEW: i32 = 0;
/// Its content, or the version of the pipeline, is not the one that was last done.
pub const TW_WORK_CHANGED: i32 = 1;
/// It was done, and its refresh time has come.
pub const TW_WORK_STALE: i32 = 2;
/// The last attempt failed. It is tried again later, or is dead.
pub const TW_WORK_ERROR: i32 = 3;
/// It was done and is gone: what was made of it should be cleaned up.
pub const TW_WORK_MISSING: i32 = 4;
/// Somebody holds a lease on it.
pub const TW_WORK_PROCESSING: i32 = 5;
/// It was done, and there is nothing to do.
pub const TW_WORK_INDEXED: i32 = 6;

/// Somebody waits for it: a request.
pub const TW_PRIORITY_CRITICAL: i32 = 0;
/// Never done.
pub const TW_PRIORITY_HIGH: i32 = 1;
/// Changed or missing.
pub const TW_PRIORITY_MEDIUM: i32 = 2;
/// To be refreshed.
pub const TW_PRIORITY_LOW: i32 = 3;
/// Part of a full refresh.
pub const TW_PRIORITY_VERY_LOW: i32 = 4;

const STATES: [(i32, WorkState); 7] = [
    (TW_WORK_NEW, WorkState::New),
    (TW_WORK_CHANGED, WorkState::Changed),
    (TW_WORK_STALE, WorkState::Stale),
    (TW_WORK_ERROR, WorkState::Error),
    (TW_WORK_MISSING, WorkState::Missing),
    (TW_WORK_PROCESSING, WorkState::Processing),
    (TW_WORK_INDEXED, WorkState::Indexed),
];

const PRIORITIES: [(i32, Priority); 5] = [
    (TW_PRIORITY_CRITICAL, Priority::Critical),
    (TW_PRIORITY_HIGH, Priority::High),
    (TW_PRIORITY_MEDIUM, Priority::Medium),
    (TW_PRIORITY_LOW, Priority::Low),
    (TW_PRIORITY_VERY_LOW, Priority::VeryLow),
];

/// The number of a state, `TW_WORK_…`.
pub(crate) fn state_number(state: WorkState) -> i32 {
    STATES.iter().find(|(_, known)| *known == state).map_or(-1, |(number, _)| *number)
}

/// The number of a class, `TW_PRIORITY_…`.
pub(crate) fn priority_number(priority: Priority) -> i32 {
    i32::from(priority.code())
}

fn priority_of(number: i32, what: &str) -> Outcome<Priority> {
    find(&PRIORITIES, number, what, "0 (critical), 1 (high), 2 (medium), 3 (low) and 4 (very low)")
}

fn state_of(number: i32, what: &str) -> Outcome<Option<WorkState>> {
    if number == -1 {
        return Ok(None);
    }
    let possible =
        "-1 (all), 0 (new), 1 (changed), 2 (stale), 3 (error), 4 (missing), 5 (processing) and 6 (indexed)";
    find(&STATES, number, what, possible).map(Some)
}

fn find<T: Copy>(all: &[(i32, T)], number: i32, what: &str, possible: &str) -> Outcome<T> {
    let found = all.iter().find(|(known, _)| *known == number).map(|(_, value)| *value);
    found.ok_or_else(|| Failure::invalid(format!("`{what}` is {number}; {possible} are possible")))
}

/// A named consumer of work: which files it works on, and what is still to be done about each of them.
pub struct tw_pipeline(Opaque);

#[derive(Clone)]
pub(crate) struct PipelineObject {
    pub(crate) pipeline: Pipeline,
    /// That of its warden.
    pub(crate) clock: Clock,
}

impl Object for PipelineObject {
    type Opaque = tw_pipeline;
    const NAME: &'static str = "tw_pipeline";
}

/// What asking for files came to, in items.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_request_report {
    /// Nothing was to be done about them: now something is.
    pub added: u64,
    /// They waited in that class, or in a better one, already.
    pub merged: u64,
    /// They waited, and have come forward.
    pub promoted: u64,
    /// Somebody works on them: they are done once more afterwards.
    pub will_rerun: u64,
}

/// A pipeline at one glance.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_pipeline_status_info {
    /// Its name, UTF-8. The view lives as long as the pipeline.
    pub name: tw_bytes,
    /// Items never done.
    pub new_items: u64,
    /// Items whose content, or the version of the pipeline, is another one than when they were done.
    pub changed: u64,
    /// Items whose refresh time has come.
    pub stale: u64,
    /// Items whose last attempt failed, the dead ones included.
    pub error: u64,
    /// Items that are gone and are to be cleaned up.
    pub missing: u64,
    /// Leases in force. Their items are counted under their states, too.
    pub processing: u64,
    /// Items with nothing to do.
    pub indexed: u64,
    /// Of those in error, the ones that are not tried again by themselves.
    pub dead: u64,
    /// Items that somebody has asked for.
    pub requested: u64,
    /// How long the item that is due for longest has waited, in milliseconds.
    pub oldest_due_ms: u64,
    /// When something that is not due now will be, nanoseconds since 1970 UTC; it may be before that.
    pub next_due_ns: i64,
    /// Completions per minute, over the last nine full minutes of this process.
    pub done_per_minute: f64,
    /// 1 when `oldest_due_ms` is set: something is due.
    pub has_oldest_due: i32,
    /// 1 when `next_due_ns` is set.
    pub has_next_due: i32,
}

/// Opens the pipeline of that name. `options` are of the kind `TW_OPTIONS_PIPELINE`: with them it is made where there
/// is none, and takes them up where it had others; leases in force stay. With NULL it is opened as it was made.
///
/// What is still to be done is worked out from the snapshot and what is stored: the first time a fraction of a second
/// for a million files, without holding up anybody else. `*pipeline` is the caller's, to be freed with
/// `tw_pipeline_free`; it keeps the warden open.
///
/// Blocks for a commit where something is written. Any thread. `TW_STATUS_NOT_FOUND` without options where there is
/// none; `TW_STATUS_INVALID_ARGUMENT` for a bad name, options that make no sense, a version below the one it had, and
/// without options for one that groups files by a function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_pipeline(
    warden: *const tw_warden,
    name: tw_bytes,
    options: *const tw_options,
    pipeline: *mut *mut tw_pipeline,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(pipeline, "pipeline")?;
            let name = name.text("name")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let pipeline = handle::with_optional::<OptionsObject, _>(options, |options| match options {
                    None => object.warden.pipeline(name).map_err(Failure::from),
                    Some(_) => {
                        let options = pipeline_options(options)?;
                        object.warden.pipeline_with(name, &options).map_err(Failure::from)
                    }
                })?;
                let clock = object.clock.clone().unwrap_or_default();
                out.write(handle::put(PipelineObject { pipeline, clock })?);
                Ok(())
            })
        })
    }
}

/// Removes a pipeline with all that it knows of its items. Leases in force are lost, and handles of it answer
/// `TW_STATUS_CLOSED`. Blocks for a commit. Any thread. `TW_STATUS_NOT_FOUND` when there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_remove_pipeline(
    warden: *const tw_warden,
    name: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            handle::with::<WardenObject, _>(warden, |object| {
                object.warden.remove_pipeline(name).map_err(Failure::from)
            })
        })
    }
}

/// Lists the pipelines in order of their names, with the options that each was given last: rows for `tw_list_pipeline`.
/// `tw_list_text` gives the names alone. `*list` is the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_pipelines(
    warden: *const tw_warden,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let pipelines = object.warden.pipelines()?;
                let rows = pipelines.into_iter().map(PipelineRow::new).collect();
                out.write(handle::put(List::Pipelines(rows))?);
                Ok(())
            })
        })
    }
}

/// Frees a handle of a pipeline. Its jobs, workers and limiters stay as they are, and calls under way go on. NULL is
/// allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_free(
    pipeline: *mut tw_pipeline,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<PipelineObject>(pipeline)) }
}

fn at_least_one(jobs_max: usize) -> Outcome<usize> {
    match jobs_max {
        0 => Err(Failure::invalid("`jobs_max` is 0; at least one job can be asked for")),
        _ => Ok(jobs_max),
    }
}

/// Takes up to `jobs_max` jobs that are due (at most 10,000), best first, each under a lease. Waits for the first one
/// for at most `timeout_ms` milliseconds; 0: not at all, negative: without end. When nothing came `*jobs` is empty,
/// also after `tw_pipeline_interrupt`. Where the pipeline has a rate, as many as may begin now.
///
/// `*jobs` is the caller's. End each job before its lease runs out, or renew it; `tw_jobs_free` gives back those that
/// were not ended.
///
/// Blocks, for a commit at least where something is handed out. Any thread, several at once. `TW_STATUS_CLOSED`,
/// `TW_STATUS_READ_ONLY`, and what the state file says; then nothing was handed out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_claim(
    pipeline: *const tw_pipeline,
    jobs_max: usize,
    timeout_ms: i64,
    jobs: *mut *mut tw_jobs,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(jobs, "jobs")?;
            let jobs_max = at_least_one(jobs_max)?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                let jobs = match timeout_ms {
                    0 => object.pipeline.claim(jobs_max)?,
                    _ => object.pipeline.claim_wait(jobs_max, timeout(timeout_ms))?,
                };
                out.write(handle::put(JobsObject::new(jobs, vec![object.clone()]))?);
                Ok(())
            })
        })
    }
}

/// Takes up to `jobs_max` jobs (at most 10,000) that are due in `count` pipelines: all of the pipeline whose best job
/// is in the best class, the next one's only when that has no more; with the same class they are served in the order
/// in which they are given. So `TW_OPTION_PIPELINE_PRIORITY` decides which consumer goes first, waiting raises the
/// others, and nobody starves. Never waits for jobs: when nothing is due `*jobs` is empty.
///
/// Otherwise as `tw_pipeline_claim`; jobs that were handed out before an error are handed out again when their leases
/// run out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipelines_claim(
    pipelines: *const *const tw_pipeline,
    count: usize,
    jobs_max: usize,
    jobs: *mut *mut tw_jobs,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(jobs, "jobs")?;
            let jobs_max = at_least_one(jobs_max)?;
            let objects: Vec<PipelineObject> = handles(pipelines, count)?
                .iter()
                .map(|pipeline| handle::with::<PipelineObject, _>(*pipeline, |object| Ok(object.clone())))
                .collect::<Outcome<_>>()?;
            let pipelines: Vec<Pipeline> = objects.iter().map(|object| object.pipeline.clone()).collect();
            let jobs = Pipeline::claim_from(&pipelines, jobs_max)?;
            out.write(handle::put(JobsObject::new(jobs, objects))?);
            Ok(())
        })
    }
}

/// The handles of an array.
///
/// # Safety
///
/// `pipelines` points to `count` of them that nobody changes meanwhile, or is NULL.
unsafe fn handles<'a>(
    pipelines: *const *const tw_pipeline,
    count: usize,
) -> Outcome<&'a [*const tw_pipeline]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pipelines.is_null() || !pipelines.is_aligned() {
        return Err(Failure::invalid("`pipelines` is NULL or not aligned"));
    }
    let bytes = count.checked_mul(size_of::<*const tw_pipeline>());
    if bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(Failure::invalid(format!("{count} pipelines are more than memory holds")));
    }
    // SAFETY: the caller says that there are so many.
    Ok(unsafe { std::slice::from_raw_parts(pipelines, count) })
}

/// Asks for a file, or everything below a directory, to be done now whatever its state: `ROOT/path`, `ROOT`, or
/// nothing for everything, in the class `priority`, `TW_PRIORITY_…`. `report_size` is `sizeof(tw_request_report)`.
/// Durable on return.
///
/// Blocks for a commit. Any thread. `TW_STATUS_INVALID_ARGUMENT` for something that is not an address,
/// `TW_STATUS_NOT_FOUND` when there is no item at or below it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_request(
    pipeline: *const tw_pipeline,
    address: tw_bytes,
    priority: i32,
    report: *mut tw_request_report,
    report_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(report, report_size, "report")?;
            let address = address.read("address")?;
            let priority = priority_of(priority, "priority")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                let report = object.pipeline.request(address, priority)?;
                out.write(tw_request_report {
                    added: report.added,
                    merged: report.merged,
                    promoted: report.promoted,
                    will_rerun: report.will_rerun,
                });
                Ok(())
            })
        })
    }
}

/// Makes items in error, at or below an address, due at once; the dead ones come back to life. Gives how many; 0 is
/// no error. Durable on return. Blocks for a commit. Any thread. `TW_STATUS_INVALID_ARGUMENT` for something that is
/// not an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_retry(
    pipeline: *const tw_pipeline,
    address: tw_bytes,
    retried: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(retried, "retried")?;
            let address = address.read("address")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                out.write(object.pipeline.retry(address)?);
                Ok(())
            })
        })
    }
}

/// Lists items at or below an address (nothing: all of them), by address, at most `limit`: rows for
/// `tw_list_work_item`. `state` is one of `TW_WORK_…`, or -1 for all. `*list` is the caller's. Any thread.
/// `TW_STATUS_INVALID_ARGUMENT` for something that is not an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_list(
    pipeline: *const tw_pipeline,
    address: tw_bytes,
    state: i32,
    limit: usize,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            let address = address.read("address")?;
            let state = state_of(state, "state")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                let items = object.pipeline.list(address, state, limit)?;
                out.write(handle::put(List::WorkItems(items))?);
                Ok(())
            })
        })
    }
}

/// Tells all that is known of one item, and why: the file at an address, the group of that key, or the group that the
/// file belongs to. A list of one row for `tw_list_work_explanation`; it is the caller's. Any thread.
/// `TW_STATUS_NOT_FOUND` when the pipeline has no such item, `TW_STATUS_INVALID_ARGUMENT` for something that is not
/// an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_explain(
    pipeline: *const tw_pipeline,
    address: tw_bytes,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            let address = address.read("address")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                let explanation = Box::new(object.pipeline.explain(address)?);
                out.write(handle::put(List::WorkExplanation(explanation))?);
                Ok(())
            })
        })
    }
}

/// Says how a pipeline stands. All of it is at hand, nothing is counted for the answer. `info_size` is
/// `sizeof(tw_pipeline_status_info)`. Any thread. `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_status(
    pipeline: *const tw_pipeline,
    info: *mut tw_pipeline_status_info,
    info_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(info, info_size, "info")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                let status = object.pipeline.status()?;
                out.write(tw_pipeline_status_info {
                    // Not of the status, which goes at once.
                    name: tw_bytes::of(object.pipeline.name().as_bytes()),
                    new_items: status.new,
                    changed: status.changed,
                    stale: status.stale,
                    error: status.error,
                    missing: status.missing,
                    processing: status.processing,
                    indexed: status.indexed,
                    dead: status.dead,
                    requested: status.requested,
                    oldest_due_ms: status.oldest_due_ms.unwrap_or_default(),
                    next_due_ns: status.next_due_ns.unwrap_or_default(),
                    done_per_minute: status.done_per_minute,
                    has_oldest_due: i32::from(status.oldest_due_ms.is_some()),
                    has_next_due: i32::from(status.next_due_ns.is_some()),
                });
                Ok(())
            })
        })
    }
}

/// Wakes every call that waits for work of this pipeline, in all threads: they return without any. Threads of
/// `tw_pipeline_work` go on. Any thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_interrupt(
    pipeline: *const tw_pipeline,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<PipelineObject, _>(pipeline, |object| {
                object.pipeline.interrupt();
                Ok(())
            })
        })
    }
}

/// Waits until nothing is left to be done, for at most `timeout_ms` milliseconds; negative: without end: no item is
/// new, changed, stale or missing, none is in hand and none is asked for. Items in error wait for their next try and
/// do not count. `*is_idle` is 1 when that is so, 0 when the time is over and after `tw_pipeline_interrupt`.
///
/// Blocks. Any thread. `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_wait_idle(
    pipeline: *const tw_pipeline,
    timeout_ms: i64,
    is_idle: *mut i32,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(is_idle, "is_idle")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                out.write(i32::from(object.pipeline.wait_idle(timeout(timeout_ms))?));
                Ok(())
            })
        })
    }
}

/// Gives the limiter of a pipeline: for what a job sends beyond its first request. It may be replaced when the
/// pipeline is opened with another rate; the one before answers `TW_STATUS_CLOSED` then. `*limiter` is the caller's,
/// to be freed with `tw_limiter_free`. Any thread. `TW_STATUS_NOT_FOUND` for a pipeline without a rate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_limiter(
    pipeline: *const tw_pipeline,
    limiter: *mut *mut tw_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(limiter, "limiter")?;
            handle::with::<PipelineObject, _>(pipeline, |object| {
                let none = || Failure::new(TW_STATUS_NOT_FOUND, "the pipeline has no rate".to_owned());
                let limiter = object.pipeline.limiter().ok_or_else(none)?;
                out.write(handle::put(LimiterObject { limiter, is_of_pipeline: true })?);
                Ok(())
            })
        })
    }
}
