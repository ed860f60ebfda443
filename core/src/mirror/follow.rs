//! A mirror that follows by itself: one thread that runs it after each commit, and one that purges.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;
use crate::scan::CancelToken;
use crate::signal::{Flag, Interrupt, Waited};

use super::report::{MirrorContext, MirrorReport};
use super::shared::Shared;

/// The wait after a run that was given up; it doubles.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The shortest wait for files that are not still yet.
const SOON: Duration = Duration::from_millis(200);

/// A mirror that follows. It stops when this is dropped.
pub struct Following {
    shared: Arc<Shared>,
    cancel: CancelToken,
    flag: Arc<Flag>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("mirror", &self.shared.name).finish_non_exhaustive()
    }
}

impl Following {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self> {
        shared.usable()?;
        if shared.following.swap(true, Ordering::AcqRel) {
            let text = format!("mirror `{}` follows already", escape(shared.name.as_bytes()));
            return Err(Error::new(ErrorKind::Busy, text));
        }
        let cancel = CancelToken::new();
        let interrupt = Interrupt::new(&shared.engine.signal);
        let flag = interrupt.flag();
        shared.set_follower(&flag);
        let mut following =
            Self { shared: Arc::clone(shared), cancel: cancel.clone(), flag, threads: Vec::new() };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
                Error::new(ErrorKind::Io, format!("cannot start a thread: {error}")).with_source(error)
            })
        };
        // The threads hold the mirror and not the warden: who drops the last handle of that ends them.
        let (its, token) = (Arc::clone(shared), cancel.clone());
        let purge = spawn(
            "tw-purge",
            Box::new(move || {
                its.purge_always(&|| token.is_cancelled() || its.stop.is_cancelled());
            }),
        );
        let its = Arc::clone(shared);
        let run = spawn(
            "tw-mirror",
            Box::new(move || {
                follow(&its, &cancel, &interrupt);
                its.following.store(false, Ordering::Release);
            }),
        );
        match (purge, run) {
            (Ok(purge), Ok(run)) => {
                following.threads = vec![purge, run];
                Ok(following)
            }
            (purge, Err(error)) => {
                following.threads.extend(purge);
                shared.following.store(false, Ordering::Release);
                Err(error)
            }
            (Err(error), Ok(run)) => {
                // It ends, and says so.
                following.threads.push(run);
                Err(error)
            }
        }
    }

    /// Stops and waits: a run ends within a part of a file. What is acknowledged stays so.
    pub fn stop(self) {}
}

impl Drop for Following {
    fn drop(&mut self) {
        if self.shared.engine.is_forked() {
            // Its threads are not here to be waited for, and may hold the locks.
            self.threads.clear();
            return;
        }
        self.cancel.cancel();
        self.flag.raise();
        self.shared.wake_purger();
        // A CDN or a storage may drop it from a thread that those wait for.
        let is_within = self.shared.is_within_run();
        for thread in self.threads.drain(..) {
            if !is_within && thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn follow(shared: &Shared, cancel: &CancelToken, interrupt: &Interrupt) {
    let context = MirrorContext::new().cancel(cancel.clone());
    let mut failures = 0_u32;
    while !cancel.is_cancelled() && !shared.stop.is_cancelled() {
        let seq = shared.engine.load().seq();
        let (again, patient) = match shared.sync(&context) {
            Ok(report) => {
                if report.uploaded + report.copied + report.deleted == 0 {
                    // What waits is looked at with each run: not all the time, however much happens.
                    let worked = Duration::from_millis(report.elapsed_ms).saturating_sub(report.waited);
                    let pause = worked.min(WAIT_MAX);
                    match shared.engine.signal.wait(u64::MAX, Some(Instant::now() + pause), interrupt) {
                        Waited::Closed => return,
                        // It ends, or somebody wants everything to be looked at.
                        Waited::Interrupted => continue,
                        Waited::Seq(_) | Waited::TimedOut => {}
                    }
                }
                after(&report, shared.engine.options.clock.now_ns(), &mut failures)
            }
            Err(_) if cancel.is_cancelled() || shared.stop.is_cancelled() => return,
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::warn!(mirror = shared.name, %error, "the mirror waits");
                failures += 1;
                (Some(wait(failures)), true)
            }
        };
        let deadline = again.map(|wait| Instant::now() + wait);
        // Something new is no reason to ask a storage sooner that has just refused.
        let after = if patient { u64::MAX } else { seq };
        // Interrupted: it ends, or somebody wants everything to be looked at.
        if matches!(shared.engine.signal.wait(after, deadline, interrupt), Waited::Closed) {
            return;
        }
    }
}

/// When to run again after a run that ended, and whether to wait so long even when something new comes.
fn after(report: &MirrorReport, now_ns: i64, failures: &mut u32) -> (Option<Duration>, bool) {
    if report.unanswered > 0 {
        *failures += 1;
        return (Some(wait(*failures)), true);
    }
    if report.failed + report.changed > 0 {
        // Files, not the storage: the next scan tells more of them than asking again.
        *failures += 1;
        return (Some(wait(*failures)), false);
    }
    *failures = 0;
    let again = match (report.unsettled, report.held) {
        (0, 0) => report.parts_left.then_some(WAIT_MAX),
        (0, _) => Some(WAIT_MAX),
        _ => {
            let still_ns = u64::try_from(report.settled_at_ns.saturating_sub(now_ns)).unwrap_or(0);
            Some(Duration::from_nanos(still_ns).clamp(SOON, WAIT_MAX))
        }
    };
    (again, false)
}

fn wait(failures: u32) -> Duration {
    WAIT.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(WAIT_MAX)
}
