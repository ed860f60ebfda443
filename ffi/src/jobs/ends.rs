//! How jobs end: by the program, one by one or all at once, or by a worker that was lent one.
//!
//! A job is consumed by its end, whatever that says. Where the end could not be written nothing was recorded, the
//! lease runs on, and the job is handed out again when that runs out. So whatever is wrong with the arguments of an
//! end is said before the job is taken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use treewarden_core::{Completion, Failed, Job, Pipeline, Result};

use super::{Facts, JobsObject, Notes, tw_jobs};
use crate::args::{OutRows, count, flag, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_INVALID_ARGUMENT, TW_STATUS_OK, tw_error, tw_status};
use crate::handle;
use crate::pipeline::PipelineObject;

/// What is stored with a completion besides the attributes of the job. All zeros: as the pipeline says.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct tw_completion {
    /// When it is to be done anew, nanoseconds since 1970 UTC, whatever the pipeline says.
    pub refresh_at_ns: i64,
    /// The date whose age decides between the tiers of the pipeline, nanoseconds since 1970 UTC; otherwise the
    /// modification time of the file.
    pub reference_ns: i64,
    /// 1 when `refresh_at_ns` is set.
    pub has_refresh_at: i32,
    /// 1 when `reference_ns` is set.
    pub has_reference: i32,
}

/// A completion that was checked as far as that can be done without a job.
#[derive(Default)]
struct Wanted {
    refresh_at_ns: Option<i64>,
    reference_ns: Option<i64>,
}

impl Wanted {
    /// # Safety
    ///
    /// `bytes` bytes can be read at `place`, or it is NULL.
    unsafe fn read(place: *const tw_completion, bytes: usize) -> Outcome<Self> {
        if place.is_null() {
            return Ok(Self::default());
        }
        if !place.is_aligned() {
            return Err(Failure::invalid("`completion` is not aligned"));
        }
        if bytes == 0 || !bytes.is_multiple_of(align_of::<tw_completion>()) || isize::try_from(bytes).is_err()
        {
            return Err(Failure::invalid(format!("{bytes} is not the size of a struct for `completion`")));
        }
        let mut given = tw_completion::default();
        let known = bytes.min(size_of::<tw_completion>());
        // SAFETY: so many bytes can be read there, `given` has room for them, and any bytes make its numbers.
        let more = unsafe {
            std::ptr::copy_nonoverlapping(place.cast::<u8>(), (&raw mut given).cast::<u8>(), known);
            std::slice::from_raw_parts(place.cast::<u8>().add(known), bytes - known)
        };
        if more.iter().any(|byte| *byte != 0) {
            // To leave out what was asked for would be worse than to refuse it.
            return Err(Failure::invalid(
                "`completion` sets something that this version of the library does not know",
            ));
        }
        let has_refresh_at = flag(i64::from(given.has_refresh_at), "has_refresh_at")?;
        let has_reference = flag(i64::from(given.has_reference), "has_reference")?;
        Ok(Self {
            refresh_at_ns: has_refresh_at.then_some(given.refresh_at_ns),
            reference_ns: has_reference.then_some(given.reference_ns),
        })
    }

    /// For one of these jobs.
    fn completion(&self, jobs: &JobsObject) -> Outcome<Completion> {
        let now_ns = jobs.pipelines.iter().map(|object| object.clock.now_ns()).min();
        let mut completion = Completion::new();
        if let Some(at_ns) = self.refresh_at_ns {
            if now_ns.is_some_and(|now_ns| at_ns <= now_ns) {
                return Err(Failure::invalid(format!("`refresh_at_ns` is {at_ns}, in the past")));
            }
            completion = completion.refresh_at_ns(at_ns);
        }
        if let Some(date_ns) = self.reference_ns {
            completion = completion.reference_ns(date_ns);
        }
        Ok(completion)
    }
}

/// How several jobs of one pipeline end in one commit.
type EndMany = fn(&Pipeline, Vec<Job>) -> Result<Vec<Result<()>>>;

/// Ends jobs, those of each pipeline in one commit. The answers are in the order of the jobs; when a commit fails it
/// is the answer of all of its jobs.
pub(super) fn end_many(
    pipelines: &[PipelineObject],
    jobs: Vec<(usize, Job)>,
    end: EndMany,
) -> Vec<(usize, Outcome<()>)> {
    let mut answers = Vec::with_capacity(jobs.len());
    let mut left = jobs;
    for of in pipelines {
        let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, job)| of.pipeline.is_of(job));
        left = later;
        if now.is_empty() {
            continue;
        }
        let (indexes, now): (Vec<usize>, Vec<Job>) = now.into_iter().unzip();
        match end(&of.pipeline, now) {
            Ok(ended) => answers.extend(
                indexes.into_iter().zip(ended.into_iter().map(|answer| answer.map_err(Failure::from))),
            ),
            Err(error) => {
                let failure = Failure::from(error);
                answers.extend(indexes.into_iter().map(|index| (index, Err(failure.clone()))));
            }
        }
    }
    answers.sort_by_key(|(index, _)| *index);
    answers
}

/// Lends a job under a handle for as long as `work` runs. It cannot be ended meanwhile, but something may be noted
/// for its end. `work` gets the handle, and calls whoever uses it. The job comes back, whatever `work` says.
pub(crate) fn lend<R>(
    job: Job,
    pipeline: PipelineObject,
    work: impl FnOnce(*const tw_jobs) -> R,
) -> (Option<Job>, Outcome<(R, Notes)>) {
    let notes: Arc<Mutex<Notes>> = Arc::default();
    let facts = vec![Facts::of(&job)];
    let place = Arc::new(Mutex::new(vec![Some(job)]));
    let object = JobsObject {
        jobs: Arc::clone(&place),
        facts,
        pipelines: vec![pipeline],
        notes: Some(Arc::clone(&notes)),
    };
    // Before the handle goes: it would give back what is still in its list.
    let back = || place.lock().unwrap_or_else(PoisonError::into_inner).pop().flatten();
    let answer = handle::put(object).map(|handle| {
        let answer = work(handle.cast_const());
        let job = back();
        // Only the table can free it, so it is there; whoever still looks at it finds a job that was ended.
        let _ = handle::free::<JobsObject>(handle);
        (job, answer)
    });
    let notes = || std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner));
    match answer {
        Ok((job, answer)) => (job, Ok((answer, notes()))),
        Err(failure) => (back(), Err(failure)),
    }
}

/// A text for people: what is no UTF-8 is replaced.
///
/// # Safety
///
/// As [`tw_bytes::read`].
unsafe fn reason(why: tw_bytes) -> Outcome<String> {
    // SAFETY: as promised.
    let why = unsafe { why.read("why")? };
    Ok(String::from_utf8_lossy(why).into_owned())
}

/// Ends a job as done; durable on return. A file that changed since it was handed out is handed out again, one that
/// went is handed out to be cleaned up. `completion` may be NULL; `completion_size` is `sizeof(tw_completion)`
/// otherwise.
///
/// Blocks for a commit; commits that several threads wait for at once are one. Any thread. `TW_STATUS_LEASE_LOST`
/// when the job was handed out again meanwhile, and then nothing was recorded. `TW_STATUS_NOT_FOUND` for an index
/// that is too high, `TW_STATUS_INVALID_ARGUMENT` for a job that was ended already, that of a worker, and a refresh
/// in the past: the job stays in hand. With any other error, such as `TW_STATUS_STORAGE_FULL`, nothing was recorded,
/// but the job is ended here all the same: it is handed out again when its lease runs out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_complete(
    jobs: *const tw_jobs,
    index: usize,
    completion: *const tw_completion,
    completion_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let wanted = Wanted::read(completion, completion_size)?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let completion = wanted.completion(jobs)?;
                jobs.take(index)?.complete_with(&completion).map_err(Failure::from)
            })
        })
    }
}

/// Ends all jobs that are in hand as done, those of each pipeline in one commit. Durable on return.
///
/// `statuses` has room for `capacity` statuses, one for each job by index, and may be NULL: `TW_STATUS_OK`,
/// `TW_STATUS_LEASE_LOST` for one that was handed out again meanwhile, which does not keep the others from being
/// recorded, `TW_STATUS_INVALID_ARGUMENT` for one that was ended before this call, and what else kept the commit of its
/// pipeline from being written, such as `TW_STATUS_STORAGE_FULL`. Without `statuses` this function returns the first of
/// these that is not `TW_STATUS_OK`, those ended before apart.
///
/// Blocks. Any thread. `TW_STATUS_INVALID_ARGUMENT` when `capacity` is less than the number of jobs, and for the job
/// of a worker: all stay in hand. Otherwise all are ended here: those that were not recorded are handed out again when
/// their leases run out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_complete_all(
    jobs: *const tw_jobs,
    statuses: *mut tw_status,
    capacity: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<JobsObject, _>(jobs, |jobs| {
                jobs.check_owned()?;
                let len = jobs.facts.len();
                if !statuses.is_null() && capacity < len {
                    return Err(Failure::invalid(format!(
                        "`statuses` has room for {capacity} of {len} jobs"
                    )));
                }
                let out = if statuses.is_null() || len == 0 {
                    None
                } else {
                    Some(OutRows::new(statuses, size_of::<tw_status>(), capacity, "statuses")?)
                };
                let answers = complete_all(jobs);
                let Some(out) = out else {
                    // Nobody else would hear of it.
                    return answers.into_iter().try_for_each(|(_, answer)| answer);
                };
                let mut statuses = vec![TW_STATUS_INVALID_ARGUMENT; len];
                for (index, answer) in answers {
                    if let Some(status) = statuses.get_mut(index) {
                        *status = answer.map_or_else(|failure| failure.0.status, |()| TW_STATUS_OK);
                    }
                }
                for (index, status) in statuses.into_iter().enumerate() {
                    out.write(index, status);
                }
                Ok(())
            })
        })
    }
}

/// Completes what is in hand, by index.
fn complete_all(jobs: &JobsObject) -> Vec<(usize, Outcome<()>)> {
    let take = |(index, job): (usize, &mut Option<Job>)| job.take().map(|job| (index, job));
    let taken = jobs.lock().iter_mut().enumerate().filter_map(take).collect();
    end_many(&jobs.pipelines, taken, Pipeline::complete_many)
}

/// Ends a job as failed; durable on return. `why` is kept up to 1,000 bytes. It is tried again after `retry_after_ms`
/// milliseconds, as a server has asked for, or, when that is negative, after the wait that the pipeline says; as
/// often as that says. With `is_permanent` 1 it is dead until the file changes or somebody asks for it. The stored
/// attributes stay as they were.
///
/// Blocks for a commit. Any thread. Errors as `tw_jobs_complete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_fail(
    jobs: *const tw_jobs,
    index: usize,
    why: tw_bytes,
    is_permanent: i32,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let why = reason(why)?;
            let is_permanent = flag(i64::from(is_permanent), "is_permanent")?;
            let failed = if is_permanent { Failed::permanent(why) } else { Failed::transient(why) };
            let failed = match timeout(retry_after_ms) {
                Some(wait) => failed.retry_after(wait),
                None => failed,
            };
            handle::with::<JobsObject, _>(jobs, |jobs| jobs.take(index)?.fail(&failed).map_err(Failure::from))
        })
    }
}

/// Puts a job off for `wait_ms` milliseconds; no attempt. A request for it counts as heard. Durable on return. Blocks
/// for a commit. Any thread. `TW_STATUS_INVALID_ARGUMENT` for a negative wait; other errors as `tw_jobs_complete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_snooze(
    jobs: *const tw_jobs,
    index: usize,
    wait_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let wait = Duration::from_millis(count(wait_ms, "wait_ms")?);
            handle::with::<JobsObject, _>(jobs, |jobs| jobs.take(index)?.snooze(wait).map_err(Failure::from))
        })
    }
}

/// Gives a job back: it is handed out again at once; no attempt. Durable on return. Blocks for a commit. Any thread.
/// Errors as `tw_jobs_complete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_release(
    jobs: *const tw_jobs,
    index: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<JobsObject, _>(jobs, |jobs| jobs.take(index)?.release().map_err(Failure::from))
        })
    }
}

/// Says why the job of a worker is about to fail, and when it is to be tried again or is put off to: in so many
/// milliseconds; negative: as the pipeline says. For the callback of `tw_pipeline_work`, which returns something else
/// than `TW_WORKER_DONE` then. The last one counts.
///
/// Never waits. Any thread while the callback runs. `TW_STATUS_INVALID_ARGUMENT` for jobs that no worker has,
/// `TW_STATUS_NOT_FOUND` for another index than 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_note_failure(
    jobs: *const tw_jobs,
    index: usize,
    why: tw_bytes,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let why = reason(why)?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let mut notes = jobs.notes(index)?;
                notes.error = why;
                notes.wait = timeout(retry_after_ms);
                Ok(())
            })
        })
    }
}

/// Says what is to be stored with the completion of the job of a worker. For the callback of `tw_pipeline_work`,
/// which returns `TW_WORKER_DONE` then. The last one counts. `completion` as in `tw_jobs_complete`; otherwise as
/// `tw_jobs_note_failure`. `TW_STATUS_INVALID_ARGUMENT` also for a refresh in the past.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_note_completion(
    jobs: *const tw_jobs,
    index: usize,
    completion: *const tw_completion,
    completion_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let wanted = Wanted::read(completion, completion_size)?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let completion = wanted.completion(jobs)?;
                jobs.notes(index)?.completion = completion;
                Ok(())
            })
        })
    }
}
