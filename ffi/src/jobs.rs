//! Jobs: what was handed out, what is known of each, and what is stored with it. How they end is in `jobs/ends.rs`.
//!
//! Invariant: views of a job live as long as the handle, whatever becomes of the job: they are of [`Facts`], whose
//! bytes never change. A job leaves the list when it is ended, before anything is written: nobody can end it twice.

mod ends;

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use treewarden_core::{Completion, Job, Pipeline};

use crate::args::{Out, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, TW_STATUS_TOO_LARGE, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, Pair, tw_list};
use crate::pipeline::{PipelineObject, priority_number, state_number};
use crate::state::{ValueObject, tw_value};

pub(crate) use ends::lend;

/// What the attributes of a job may take, names and values. The engine says so too, but only when the job ends, which
/// would cost the lease.
const ATTRS_BYTES_MAX: usize = 64 * 1024;

/// Jobs that were handed out together, by index.
pub struct tw_jobs(Opaque);

pub(crate) struct JobsObject {
    /// `None` for one that was ended. Shared with whoever lends a job.
    pub(crate) jobs: Arc<Mutex<Vec<Option<Job>>>>,
    facts: Vec<Facts>,
    /// Where they come from: stays open.
    pipelines: Vec<PipelineObject>,
    /// Of a job that a worker has lent: what is to be said with its end.
    notes: Option<Arc<Mutex<Notes>>>,
}

/// What a callback says with the end of its job, before it returns.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) error: String,
    pub(crate) wait: Option<Duration>,
    pub(crate) completion: Completion,
}

/// A job as it was handed out.
struct Facts {
    path: Box<[u8]>,
    fs_path: Box<[u8]>,
    done_path: Option<Box<[u8]>>,
    token: u64,
    expires_ns: AtomicI64,
    state: i32,
    priority: i32,
    is_gone: bool,
    attempt: u32,
}

impl Facts {
    fn of(job: &Job) -> Self {
        Self {
            path: job.path().into(),
            fs_path: job.fs_path().as_os_str().as_bytes().into(),
            done_path: job.done_path().map(Box::<[u8]>::from),
            token: job.token(),
            expires_ns: AtomicI64::new(job.expires_ns()),
            state: state_number(job.state()),
            priority: priority_number(job.priority()),
            is_gone: job.is_gone(),
            attempt: job.attempt(),
        }
    }
}

impl Object for JobsObject {
    type Opaque = tw_jobs;
    const NAME: &'static str = "tw_jobs";
}

impl JobsObject {
    pub(crate) fn new(jobs: Vec<Job>, pipelines: Vec<PipelineObject>) -> Self {
        let facts = jobs.iter().map(Facts::of).collect();
        let jobs = Arc::new(Mutex::new(jobs.into_iter().map(Some).collect()));
        Self { jobs, facts, pipelines, notes: None }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self, index: usize) -> Outcome<&Facts> {
        self.facts.get(index).ok_or_else(|| {
            let message = format!("there is no job {index}; there are {}, from 0", self.facts.len());
            Failure::new(TW_STATUS_NOT_FOUND, message)
        })
    }

    /// Works on a job that is in hand.
    fn with_job<R>(&self, index: usize, work: impl FnOnce(&mut Job) -> Outcome<R>) -> Outcome<R> {
        self.facts(index)?;
        let mut jobs = self.lock();
        let job = jobs.get_mut(index).and_then(Option::as_mut).ok_or_else(|| ended(index))?;
        work(job)
    }

    /// Takes a job out, to end it.
    fn take(&self, index: usize) -> Outcome<Job> {
        self.facts(index)?;
        self.check_owned()?;
        self.lock().get_mut(index).and_then(Option::take).ok_or_else(|| ended(index))
    }

    fn check_owned(&self) -> Outcome<()> {
        match self.notes {
            None => Ok(()),
            Some(_) => Err(Failure::invalid("the job of a worker ends with what its callback returns")),
        }
    }

    /// What is to be said with the end of a lent job.
    fn notes(&self, index: usize) -> Outcome<MutexGuard<'_, Notes>> {
        self.facts(index)?;
        let notes = self.notes.as_ref();
        let notes = notes.ok_or_else(|| Failure::invalid("only the callback of a worker leaves notes"))?;
        Ok(notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for JobsObject {
    fn drop(&mut self) {
        let left = self.lock().iter_mut().filter_map(Option::take).enumerate().collect();
        // What cannot be given back is handed out again when its lease runs out.
        drop(ends::end_many(&self.pipelines, left, Pipeline::release_many));
    }
}

fn ended(index: usize) -> Failure {
    Failure::invalid(format!("job {index} was ended already"))
}

/// A job as it was handed out. Views live as long as the `tw_jobs`, also when the job was ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_job {
    /// The address, `ROOT/relative/path`: of the file, or the key of the group.
    pub path: tw_bytes,
    /// Where the file lies on this disk; empty when its root was removed.
    pub fs_path: tw_bytes,
    /// The address under which it was completed last: it may have moved since. `ptr` is NULL when it was never
    /// completed, and when another file of this pipeline lies there by now, for then what was made under that name is
    /// that one's to replace.
    pub done_path: tw_bytes,
    /// The fencing token: no two leases have the same.
    pub token: u64,
    /// When the lease runs out, nanoseconds since 1970 UTC; later after `tw_jobs_renew`.
    pub expires_ns: i64,
    /// Why it was handed out, `TW_WORK_…`: new, changed, stale, error (tried again), missing (clean up what was made
    /// of it), or indexed where somebody asked for it although nothing changed.
    pub state: i32,
    /// The class in which it waited, `TW_PRIORITY_…`.
    pub priority: i32,
    /// 1 for an item that is gone: what was made of it is to be cleaned up. Also where an earlier try of that failed.
    pub is_gone: i32,
    /// How many times this content has been tried, this time included; 1 for the first.
    pub attempt: u32,
}

/// Gives how many jobs there are, ended ones included. Never waits. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_len(
    jobs: *const tw_jobs,
    len: *mut usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(len, "len")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                out.write(jobs.facts.len());
                Ok(())
            })
        })
    }
}

/// Tells of a job, in hand or ended. `job_size` is `sizeof(tw_job)`. Never waits. Any thread. `TW_STATUS_NOT_FOUND`
/// for an index that is too high.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_get(
    jobs: *const tw_jobs,
    index: usize,
    job: *mut tw_job,
    job_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(job, job_size, "job")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let facts = jobs.facts(index)?;
                out.write(tw_job {
                    path: tw_bytes::of(&facts.path),
                    fs_path: tw_bytes::of(&facts.fs_path),
                    done_path: tw_bytes::of_option(facts.done_path.as_deref()),
                    token: facts.token,
                    expires_ns: facts.expires_ns.load(Ordering::Relaxed),
                    state: facts.state,
                    priority: facts.priority,
                    is_gone: i32::from(facts.is_gone),
                    attempt: facts.attempt,
                });
                Ok(())
            })
        })
    }
}

/// Lists the addresses of the files of a group as they were when it was handed out; of a single file its own, or
/// nothing when it is missing: rows for `tw_list_text`, which are bytes. `*list` is the caller's. Any thread.
/// `TW_STATUS_NOT_FOUND` for an index that is too high, `TW_STATUS_INVALID_ARGUMENT` for a job that was ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_files(
    jobs: *const tw_jobs,
    index: usize,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let files = jobs.with_job(index, |job| Ok(job.files()))?;
                out.write(handle::put(List::Texts(files))?);
                Ok(())
            })
        })
    }
}

/// Lists the attributes of a job by name, as they would be stored with its completion now: what was stored with the
/// last one, and what was set since. Rows for `tw_list_pair`. `*list` is the caller's. Any thread. Errors as
/// `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_attrs(
    jobs: *const tw_jobs,
    index: usize,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let pairs = jobs.with_job(index, |job| {
                    let pair = |(name, value): (&String, &Vec<u8>)| Pair {
                        key: name.clone().into_bytes(),
                        value: value.clone(),
                        number: 0,
                    };
                    Ok(job.attrs().iter().map(pair).collect::<Vec<Pair>>())
                })?;
                out.write(handle::put(List::Pairs(pairs))?);
                Ok(())
            })
        })
    }
}

/// Gives one attribute of a job, as `tw_jobs_attrs` has it. `*value` is the caller's, to be freed with
/// `tw_value_free`. Any thread. `TW_STATUS_NOT_FOUND` when there is none of that name; otherwise as `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_attr(
    jobs: *const tw_jobs,
    index: usize,
    name: tw_bytes,
    value: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(value, "value")?;
            let name = name.text("name")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let value = jobs.with_job(index, |job| {
                    let none = || {
                        Failure::new(TW_STATUS_NOT_FOUND, "the job has no attribute of that name".to_owned())
                    };
                    job.attrs().get(name).cloned().ok_or_else(none)
                })?;
                out.write(handle::put(ValueObject(value))?);
                Ok(())
            })
        })
    }
}

/// Sets an attribute of a job, to be stored with its completion: given back the next time, and it follows the file
/// when that moves. Until then it is in memory alone; a job that does not complete leaves the stored ones as they
/// are. Names are 1 to 255 bytes of UTF-8, without `/` and control characters.
///
/// Any thread. `TW_STATUS_TOO_LARGE` when names and values of the job would take more than 65,536 bytes,
/// `TW_STATUS_INVALID_ARGUMENT` for a bad name; the job stays as it was. Otherwise as `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_set_attr(
    jobs: *const tw_jobs,
    index: usize,
    name: tw_bytes,
    value: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            let value = value.read("value")?;
            check_name(name)?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                jobs.with_job(index, |job| {
                    let others = job.attrs().iter().filter(|(other, _)| *other != name);
                    let others: usize = others.map(|(name, value)| name.len() + value.len()).sum();
                    let bytes = others.saturating_add(name.len()).saturating_add(value.len());
                    if bytes > ATTRS_BYTES_MAX {
                        return Err(Failure::new(
                            TW_STATUS_TOO_LARGE,
                            format!("the attributes of the job would take {bytes} bytes; at most 65,536 fit"),
                        ));
                    }
                    job.attrs_mut().insert(name.to_owned(), value.to_vec());
                    Ok(())
                })
            })
        })
    }
}

/// Removes an attribute of a job, with its completion. One that is not there is fine. Any thread. Errors as
/// `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_remove_attr(
    jobs: *const tw_jobs,
    index: usize,
    name: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                jobs.with_job(index, |job| {
                    job.attrs_mut().remove(name);
                    Ok(())
                })
            })
        })
    }
}

/// What the engine would refuse when the job ends.
fn check_name(name: &str) -> Outcome<()> {
    let is_good = (1..=255).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c.is_control());
    let why = "an attribute name is 1 to 255 bytes, without `/` and control characters, and not `.` or `..`";
    if is_good { Ok(()) } else { Err(Failure::invalid(why)) }
}

/// Renews the lease of a job for as long as the pipeline gives them, from now, and gives when it runs out,
/// nanoseconds since 1970 UTC. Nothing is written for it. Any thread. `TW_STATUS_LEASE_LOST` when it has run out and
/// the job was handed out again; otherwise as `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_renew(
    jobs: *const tw_jobs,
    index: usize,
    expires_ns: *mut i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(expires_ns, "expires_ns")?;
            handle::with::<JobsObject, _>(jobs, |jobs| {
                let expires_ns = jobs.with_job(index, |job| {
                    job.renew()?;
                    Ok(job.expires_ns())
                })?;
                jobs.facts(index)?.expires_ns.store(expires_ns, Ordering::Relaxed);
                out.write(expires_ns);
                Ok(())
            })
        })
    }
}

/// Says that the request that a job was handed out for was refused because there were too many: see
/// `tw_limiter_throttled`, for the meaning of `retry_after_ms` too. Put the job off then: `tw_jobs_snooze`. Without a
/// rate nothing happens. Any thread. Errors as `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_throttled(
    jobs: *const tw_jobs,
    index: usize,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<JobsObject, _>(jobs, |jobs| {
                jobs.with_job(index, |job| {
                    job.throttled(timeout(retry_after_ms));
                    Ok(())
                })
            })
        })
    }
}

/// Says that the request that a job was handed out for has been answered: it counts for one more window from now.
/// Without it that is assumed when the job ends. Any thread. Errors as `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_answered(
    jobs: *const tw_jobs,
    index: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<JobsObject, _>(jobs, |jobs| {
                jobs.with_job(index, |job| {
                    job.answered();
                    Ok(())
                })
            })
        })
    }
}

/// Says that nothing is sent for a job: it takes nobody's turn. Any thread. Errors as `tw_jobs_files`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_sends_nothing(
    jobs: *const tw_jobs,
    index: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<JobsObject, _>(jobs, |jobs| {
                jobs.with_job(index, |job| {
                    job.sends_nothing();
                    Ok(())
                })
            })
        })
    }
}

/// Frees jobs. Those that were not ended are given back, as by `tw_jobs_release`: they are handed out again at once,
/// and where that cannot be written when their leases run out, which is no error here. NULL is allowed.
///
/// Blocks for commits where jobs are given back. Any thread. `TW_STATUS_INVALID_ARGUMENT` for the job of a worker,
/// which the library frees.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_free(jobs: *mut tw_jobs, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if !jobs.is_null() {
                handle::with::<JobsObject, _>(jobs, JobsObject::check_owned)?;
            }
            handle::free::<JobsObject>(jobs)
        })
    }
}
