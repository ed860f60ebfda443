//! Threads of the library that run a callback of the program over the jobs of a pipeline.

use std::collections::HashSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use treewarden_core::{Completion, Failed, Job, Workers};

use crate::args::Out;
use crate::border::{Failure, Outcome, call};
use crate::callback::{UserData, tw_finalizer};
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::jobs::{self, Notes, tw_jobs};
use crate::pipeline::{PipelineObject, tw_pipeline};

/// It is done: the job is completed, as `tw_jobs_note_completion` said.
pub const TW_WORKER_DONE: i32 = 0;
/// It may go well another time, see `tw_jobs_note_failure`. So does any number that is none of these.
pub const TW_WORKER_TRANSIENT: i32 = 1;
/// It will not go well with this content: it is dead until the file changes or somebody asks for it.
pub const TW_WORKER_PERMANENT: i32 = 2;
/// It is not its fault: it is put off for as long as `tw_jobs_note_failure` said, or for a minute; no attempt.
pub const TW_WORKER_PUT_OFF: i32 = 3;

/// For how long a job is put off where nobody says it.
const PUT_OFF: Duration = Duration::from_secs(60);

/// Called with one job, of index 0, in any of the threads. Returns what became of it, `TW_WORKER_…`, which ends the
/// job. `job` is the library's, and good until it returns; attributes may be set and notes be left. Leases are
/// renewed meanwhile, so it may take as long as it likes.
pub type tw_worker_fn = Option<unsafe extern "C" fn(job: *const tw_jobs, user_data: *mut c_void) -> i32>;

/// Threads that work on a pipeline.
pub struct tw_workers(Opaque);

struct WorkersObject {
    /// `None` once they have ended. Locked while they end, so that others wait, too.
    workers: Mutex<Option<Workers>>,
    /// Last, so that the finalizer runs after the threads have ended, and where the handle is freed.
    team: Arc<Team>,
}

impl Object for WorkersObject {
    type Opaque = tw_workers;
    const NAME: &'static str = "tw_workers";
}

/// What the threads and the handle share.
struct Team {
    callback: unsafe extern "C" fn(job: *const tw_jobs, user_data: *mut c_void) -> i32,
    user_data: UserData,
    pipeline: PipelineObject,
    /// Threads that are in the callback.
    inside: Mutex<HashSet<ThreadId>>,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Team {
    fn inside(&self) -> MutexGuard<'_, HashSet<ThreadId>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on one job.
    fn run(&self, job: Job) -> (Option<Job>, Result<Completion, Failed>) {
        let me = thread::current().id();
        let (job, lent) = jobs::lend(job, self.pipeline.clone(), |handle| {
            self.inside().insert(me);
            // SAFETY: the callback and its pointer were given for each other, to be called in any thread, and the
            // handle is good until it returns.
            let answer = unsafe { (self.callback)(handle, self.user_data.ptr()) };
            self.inside().remove(&me);
            answer
        });
        let end = match lent {
            Ok((answer, notes)) => end(answer, notes),
            Err(failure) => {
                tracing::error!(error = %failure.0.message, "a job could not be handed to its worker");
                Err(Failed::put_off(PUT_OFF))
            }
        };
        let counter = if end.is_ok() { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        (job, end)
    }
}

/// What a callback has returned, and what it has noted before.
fn end(answer: i32, notes: Notes) -> Result<Completion, Failed> {
    let Notes { error, wait, completion } = notes;
    let why = |otherwise: &str| if error.is_empty() { otherwise.to_owned() } else { error };
    let failed = match answer {
        TW_WORKER_DONE => return Ok(completion),
        TW_WORKER_PUT_OFF => return Err(Failed::put_off(wait.unwrap_or(PUT_OFF))),
        TW_WORKER_PERMANENT => Failed::permanent(why("the worker gave no reason")),
        TW_WORKER_TRANSIENT => Failed::transient(why("the worker gave no reason")),
        _ => Failed::transient(why(&format!("the worker returned {answer}, which says nothing"))),
    };
    Err(match wait {
        Some(wait) => failed.retry_after(wait),
        None => failed,
    })
}

impl WorkersObject {
    /// Ends the threads and waits for them. A second time it does nothing.
    fn stop(&self) -> Outcome<()> {
        if self.team.inside().contains(&thread::current().id()) {
            return Err(Failure::invalid(
                "workers cannot be stopped by their own callback, whose return that would wait for",
            ));
        }
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workers) = workers.take() {
            workers.stop();
        }
        Ok(())
    }
}

/// Starts `threads` (1 to 1,024) threads that run `callback` over the jobs of a pipeline as they become due, until
/// `tw_workers_stop`. The first call may come before this function has returned. Where the pipeline has a rate, a job
/// comes when it may begin. What could not be recorded is in the log.
///
/// `*workers` is the caller's, to be freed with `tw_workers_free`. `finalizer` is called once with `user_data` after
/// the last callback, when that is called; also when this function fails. The callback may call any function but
/// `tw_workers_stop` and `tw_workers_free` with its own workers.
///
/// Any thread. `TW_STATUS_INVALID_ARGUMENT` without a callback and for a number of threads that makes no sense,
/// `TW_STATUS_IO` when a thread cannot be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_pipeline_work(
    pipeline: *const tw_pipeline,
    threads: usize,
    callback: tw_worker_fn,
    user_data: *mut c_void,
    finalizer: tw_finalizer,
    workers: *mut *mut tw_workers,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let user_data = UserData::new(user_data, finalizer);
            let out = Out::new(workers, "workers")?;
            let callback = callback.ok_or_else(|| Failure::invalid("`callback` is NULL"))?;
            let pipeline = handle::with::<PipelineObject, _>(pipeline, |object| Ok(object.clone()))?;
            let team = Arc::new(Team {
                callback,
                user_data,
                pipeline,
                inside: Mutex::default(),
                done: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            });
            let its = Arc::clone(&team);
            let workers = team.pipeline.pipeline.work_by_value(threads, move |job| its.run(job))?;
            let workers = Mutex::new(Some(workers));
            out.write(handle::put(WorkersObject { workers, team })?);
            Ok(())
        })
    }
}

/// Ends the threads: no new jobs are taken, those in hand are worked on to their end. A second time it does nothing.
///
/// Blocks for as long as callbacks under way take; hold no lock that they wait for. Any thread but those of the
/// workers: from the callback it is `TW_STATUS_INVALID_ARGUMENT`, and nothing happens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_workers_stop(workers: *const tw_workers, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::with::<WorkersObject, _>(workers, WorkersObject::stop)) }
}

/// Gives how many jobs the callback has ended as done, and how many as failed or put off. They are counted when it
/// returns; what could not be recorded is in the log. Never waits. Any thread, the callback included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_workers_counts(
    workers: *const tw_workers,
    done: *mut u64,
    failed: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let done = Out::new(done, "done")?;
            let failed = Out::new(failed, "failed")?;
            handle::with::<WorkersObject, _>(workers, |workers| {
                done.write(workers.team.done.load(Ordering::Relaxed));
                failed.write(workers.team.failed.load(Ordering::Relaxed));
                Ok(())
            })
        })
    }
}

/// Stops the threads, as `tw_workers_stop` does, calls the finalizer, and frees the handle. NULL is allowed. Blocks
/// and fails as that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_workers_free(workers: *mut tw_workers, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if !workers.is_null() {
                handle::with::<WorkersObject, _>(workers, WorkersObject::stop)?;
            }
            handle::free::<WorkersObject>(workers)
        })
    }
}
