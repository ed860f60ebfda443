//! The threads of `work run`: each claims a job, runs the command for it, and ends it by what came of that,
//! until nothing is due or no more jobs are to be taken. They print nothing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use treewarden::{ErrorKind, Failed, Job, Pipeline};

use crate::failure::Failure;
use crate::text;

use super::command::{CommandLine, Trouble, Verdict};
use super::now_ns;
use super::report::{JobOutcome, Report};

/// How long one wait for a job is where all that is due is to be done: then it is asked whether it is.
const GLANCE: Duration = Duration::from_millis(100);
/// How long one wait for a job is where it goes on; another follows.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// A lease is renewed when such a part of it has passed.
const RENEWALS_PER_LEASE: u64 = 3;

/// What the threads share.
pub(super) struct Crew {
    pub(super) pipeline: Pipeline,
    command: CommandLine,
    /// They end when nothing is due.
    pub(super) once: bool,
    /// No more jobs are taken.
    is_over: AtomicBool,
}

impl Crew {
    pub(super) fn new(pipeline: Pipeline, command: CommandLine, once: bool) -> Crew {
        Crew { pipeline, command, once, is_over: AtomicBool::new(false) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Says that no more jobs are to be taken. Whoever waits for one has to be woken.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// What one thread does. The jobs it has in hand have ended when it returns.
    pub(super) fn work(&self, tell: impl Fn(Report)) -> Result<(), Failure> {
        let patience = if self.once { GLANCE } else { PATIENCE };
        while !self.is_over() {
            let job = self.pipeline.claim_wait(1, Some(patience))?.pop();
            match job {
                // Too late: somebody else is to have it.
                Some(job) if self.is_over() => job.release()?,
                Some(job) => tell(self.do_job(job)?),
                None if self.once && self.is_idle()? => break,
                None => {}
            }
        }
        Ok(())
    }

    /// Nothing is due, and nothing is in hand that could become due again by ending.
    fn is_idle(&self) -> treewarden::Result<bool> {
        let status = self.pipeline.status()?;
        Ok(status.oldest_due_ms.is_none() && status.processing == 0)
    }

    fn do_job(&self, mut job: Job) -> Result<Report, Failure> {
        let (path, state, attempt) = (job.path().to_vec(), job.state(), job.attempt());
        let verdict = match self.run_command(&mut job) {
            Ok(verdict) => verdict,
            Err(error) => {
                // It is not the fault of the file. That it could not be given back either says less.
                let _ = job.release();
                let program = text::path(self.command.program());
                return Err(Failure::new(format!("cannot run `{program}`: {error}")));
            }
        };
        let (outcome, ended) = match &verdict {
            Verdict::Done => (JobOutcome::Done, job.complete()),
            // Whoever ends everything may end the commands as well: a service manager does.
            Verdict::Failed(Trouble { code: None, .. }) if self.is_over() => {
                (JobOutcome::Released, job.release())
            }
            Verdict::Failed(trouble) if trouble.is_permanent => {
                (JobOutcome::FailedForGood, job.fail(&Failed::permanent(trouble.reason.as_str())))
            }
            Verdict::Failed(trouble) => {
                (JobOutcome::Failed, job.fail(&Failed::transient(trouble.reason.as_str())))
            }
        };
        let outcome = match ended {
            Ok(()) => outcome,
            Err(error) if error.kind() == ErrorKind::LeaseLost => JobOutcome::LeaseLost,
            Err(error) => return Err(error.into()),
        };
        Ok(Report { path, state, attempt, outcome, verdict })
    }

    fn run_command(&self, job: &mut Job) -> io::Result<Verdict> {
        if !job.fs_path().is_absolute() {
            // As a relative path it would name something else.
            let reason = "its root was removed: there is no path on this disk".to_owned();
            return Ok(Verdict::Failed(Trouble { code: None, is_permanent: true, reason }));
        }
        let running = self.command.start(job)?;
        let lease_ns = job.expires_ns().saturating_sub(now_ns()).max(0).unsigned_abs();
        let renew_every = Duration::from_nanos(lease_ns / RENEWALS_PER_LEASE);
        let mut renewed = Instant::now();
        running.wait(|| {
            if renewed.elapsed() >= renew_every {
                // That a lease is lost for all that is told by the end of the job.
                let _ = job.renew();
                renewed = Instant::now();
            }
        })
    }
}
