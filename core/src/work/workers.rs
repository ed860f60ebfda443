//! Runs a closure over the jobs of a pipeline on some threads: claims, renews leases, catches panics, and
//! ends cleanly.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;

use super::job::{Completion, Failed, Job};
use super::pipeline::Pipeline;
use super::queue::Handle;

/// Threads of one loop at most.
const THREADS_MAX: usize = 1_024;
/// After an error of the store a thread rests so long before it tries again.
const REST: Duration = Duration::from_secs(1);
/// A lease is renewed when a third of it has passed.
const RENEWALS_PER_LEASE: u64 = 3;

/// Threads that work on a pipeline. [`Workers::stop`] ends them; so does dropping it.
#[derive(Debug)]
pub struct Workers {
    pipeline: Pipeline,
    team: Arc<Team>,
    threads: Vec<JoinHandle<()>>,
    renewer: Option<JoinHandle<()>>,
}

/// What the threads of one loop share.
#[derive(Debug, Default)]
struct Team {
    stop: AtomicBool,
    done: AtomicU64,
    failed: AtomicU64,
    /// The jobs in hand, for the thread that renews their leases.
    in_hand: Mutex<HashMap<u64, (Handle, i64)>>,
    /// Wakes the thread that renews leases, and threads that rest.
    wake: Condvar,
}

impl Team {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sleeps, unless the end comes first.
    fn rest(&self, time: Duration) {
        let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_over() {
            drop(self.wake.wait_timeout(in_hand, time));
        }
    }
}

impl Pipeline {
    /// Starts `threads` (1 to 1,024) threads that run `work` over the jobs of this pipeline as they become
    /// due, until [`Workers::stop`].
    ///
    /// What `work` returns ends the job. A panic in it is a transient failure of that job. Leases are
    /// renewed while it runs, so it may take as long as it likes. Where the pipeline has a rate, a job is
    /// handed out when it may begin.
    ///
    /// ```no_run
    /// # use treewarden::{Completion, Failed, Pipeline};
    /// # fn run(thumbs: &Pipeline) -> treewarden::Result<()> {
    /// let workers = thumbs.work(4, |job| {
    ///     let picture = std::fs::read(job.fs_path()).map_err(|e| Failed::transient(e.to_string()))?;
    ///     job.attrs_mut().insert("bytes".into(), picture.len().to_string().into_bytes());
    ///     Ok(Completion::new())
    /// })?;
    /// // … later:
    /// workers.stop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a number of threads that makes no sense, `Io` when none can be started.
    pub fn work<F>(&self, threads: usize, work: F) -> Result<Workers>
    where
        F: Fn(&mut Job) -> Result<Completion, Failed> + Send + Sync + 'static,
    {
        self.work_by_value(threads, move |mut job| {
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut job)))
                .unwrap_or_else(|payload| Err(Failed::transient(panicked(payload.as_ref()))));
            (Some(job), result)
        })
    }

    /// As [`Pipeline::work`], for those that cannot borrow, such as other languages: `work` takes the job and hands
    /// it back with what became of it. One that does not come back, after a panic too, is handed out again when its
    /// lease runs out.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::work`].
    pub fn work_by_value<F>(&self, threads: usize, work: F) -> Result<Workers>
    where
        F: Fn(Job) -> (Option<Job>, Result<Completion, Failed>) + Send + Sync + 'static,
    {
        if !(1..=THREADS_MAX).contains(&threads) {
            return Err(Error::invalid(format!("{threads} threads cannot work on a pipeline"))
                .with_hint(format!("1 to {THREADS_MAX}")));
        }
        let team: Arc<Team> = Arc::default();
        let (pipeline, its) = (self.clone(), Arc::clone(&team));
        let renewer = Some(spawn("tw-renew".to_owned(), move || renew(&pipeline, &its))?);
        let mut workers = Workers { pipeline: self.clone(), team, threads: Vec::new(), renewer };
        let work = Arc::new(work);
        for n in 0..threads {
            let (pipeline, team, work) = (self.clone(), Arc::clone(&workers.team), Arc::clone(&work));
            workers.threads.push(spawn(format!("tw-work-{n}"), move || run(&pipeline, &team, &*work))?);
        }
        Ok(workers)
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name).spawn(body);
    thread.map_err(|e| Error::new(ErrorKind::Io, format!("cannot start a thread: {e}")).with_source(e))
}

impl Workers {
    /// Returns how many jobs these threads have completed.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.team.done.load(Ordering::Relaxed)
    }

    /// Returns how many jobs have failed in their hands, or were put off.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.team.failed.load(Ordering::Relaxed)
    }

    /// Ends the threads: no new jobs are taken, those in hand are worked on to their end. Must not be
    /// called from the closure.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.pipeline.shared().engine.is_forked() {
            // They are the parent's.
            self.threads.clear();
            self.renewer = None;
            return;
        }
        self.team.stop.store(true, Ordering::Release);
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            // Again and again: a thread may just be on its way into the wait.
            self.pipeline.shared().wake_workers();
            self.team.wake.notify_all();
            std::thread::sleep(Duration::from_millis(1));
        }
        for thread in self.threads.drain(..).chain(self.renewer.take()) {
            self.team.wake.notify_all();
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

fn run<F>(pipeline: &Pipeline, team: &Team, work: &F)
where
    F: Fn(Job) -> (Option<Job>, Result<Completion, Failed>),
{
    while !team.is_over() {
        match pipeline.claim_until(1, &|| team.is_over()) {
            Ok(mut jobs) => {
                if let Some(job) = jobs.pop() {
                    one(team, job, work);
                }
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::error!(%error, pipeline = pipeline.name(), "no work could be claimed");
                team.rest(REST);
            }
        }
    }
}

fn one<F>(team: &Team, job: Job, work: &F)
where
    F: Fn(Job) -> (Option<Job>, Result<Completion, Failed>),
{
    let (token, path) = (job.token(), job.path().to_vec());
    team.in_hand
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(token, (job.handle, job.held.expires_ns));
    let result = catch_unwind(AssertUnwindSafe(|| work(job)));
    team.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
    let Ok((Some(job), result)) = result else {
        tracing::error!(path = %escape(&path), "a worker did not give its job back");
        team.failed.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let (ended, counter) = match result {
        Ok(completion) => match job.completed(&completion) {
            Ok(outcome) => (job.end(outcome), &team.done),
            // What it wants to have stored cannot be: another try may want less.
            Err(error) => (job.fail(&Failed::transient(error.message())), &team.failed),
        },
        Err(failed) => (job.fail(&failed), &team.failed),
    };
    match ended {
        Ok(()) => {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => tracing::warn!(%error, path = %escape(&path), "what came of a job was not recorded"),
    }
}

fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
        Some(text) => format!("the worker panicked: {text}"),
        None => "the worker panicked".to_owned(),
    }
}

/// Renews the leases of the jobs in hand, until nobody has any.
fn renew(pipeline: &Pipeline, team: &Team) {
    loop {
        let lease_ns = pipeline.shared().lease_ns().unsigned_abs();
        let every = Duration::from_nanos(lease_ns / RENEWALS_PER_LEASE).max(Duration::from_millis(10));
        let in_hand = team.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if team.is_over() && in_hand.is_empty() {
            return;
        }
        let wait = if team.is_over() { Duration::from_millis(10).min(every) } else { every };
        let guard = team.wake.wait_timeout(in_hand, wait).unwrap_or_else(PoisonError::into_inner).0;
        let in_hand: Vec<(u64, Handle, i64)> =
            guard.iter().map(|(token, (handle, expires_ns))| (*token, *handle, *expires_ns)).collect();
        // Below it is locked again.
        drop(guard);
        let soon_ns = i64::try_from(lease_ns - lease_ns / RENEWALS_PER_LEASE).unwrap_or(i64::MAX);
        let now_ns = pipeline.shared().now_ns();
        for (token, handle, expires_ns) in in_hand {
            if expires_ns.saturating_sub(now_ns) > soon_ns {
                continue;
            }
            match pipeline.shared().renew(handle, token) {
                Ok(expires_ns) => {
                    let mut in_hand = team.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some((_, expires)) = in_hand.get_mut(&token) {
                        *expires = expires_ns;
                    }
                }
                // It has just ended, or its end says so to the worker.
                Err(error) => tracing::debug!(%error, "a lease was not renewed"),
            }
        }
    }
}
