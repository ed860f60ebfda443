//! Telling a CDN what to forget: from the queue in the state file, in batches, with waits of its own. Whatever
//! happens here holds up no upload.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;
use crate::testing;

use super::outbox::{Purge, Writes};
use super::purge::{PurgeFault, purge_all};
use super::shared::Shared;
use super::turn::Turn;

const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How often who waits for the rate looks whether the mirror has ended.
const LOOK: Duration = Duration::from_millis(200);

/// The turn to purge.
struct Purging<'a> {
    shared: &'a Shared,
    /// Given back after the thread was forgotten.
    _turn: Turn<'a, ()>,
}

impl Drop for Purging<'_> {
    fn drop(&mut self) {
        *self.shared.purger() = None;
    }
}

impl Shared {
    /// Waits until nobody else purges. `None` when it has ended meanwhile, and in a call of the CDN: what is queued
    /// is being sent then.
    fn take_purging(&self, ended: &dyn Fn() -> bool) -> Option<Purging<'_>> {
        let this = std::thread::current().id();
        if *self.purger() == Some(this) {
            return None;
        }
        let check = || {
            if ended() || self.stop.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "purging has ended"));
            }
            Ok(())
        };
        let turn = self.purging.take(check).ok()?;
        *self.purger() = Some(this);
        Some(Purging { shared: self, _turn: turn })
    }

    /// Sends what is queued, until nothing is left or the CDN refuses. Answers how many addresses were
    /// forgotten, and how long to wait before the next attempt.
    pub(super) fn purge(&self, ended: &dyn Fn() -> bool) -> Result<(u64, Option<Duration>)> {
        let Some(cdn) = &self.cdn else { return Ok((0, None)) };
        let Some(_turn) = self.take_purging(ended) else { return Ok((0, None)) };
        let mut purged = 0;
        while !ended() && !self.stop.is_cancelled() {
            // A CDN is the program's own code, as far as it likes.
            let Ok(batch_max) = catch_unwind(AssertUnwindSafe(|| cdn.batch_max().max(1))) else {
                return Ok((purged, Some(self.panicked())));
            };
            let batch: Vec<Purge> = self.purges().iter().take(batch_max).cloned().collect();
            if batch.is_empty() {
                break;
            }
            let urls: Vec<String> = batch.iter().map(|purge| purge.url.clone()).collect();
            testing::pass("mirror-purge-begun");
            let mut permit = None;
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                purge_all(&**cdn, &urls, &mut || {
                    let is_over = || ended() || self.stop.is_cancelled();
                    let Some(limiter) = &self.purge_limiter else { return !is_over() };
                    // The request before is over.
                    drop(permit.take());
                    while permit.is_none() && !is_over() {
                        match limiter.acquire(1, Some(LOOK)) {
                            Ok(granted) => permit = granted,
                            Err(_) => return false,
                        }
                    }
                    permit.is_some()
                })
            }));
            drop(permit);
            let Ok(outcome) = outcome else {
                return Ok((purged, Some(self.panicked())));
            };
            testing::pass("mirror-purged");
            for (at, reason) in &outcome.refused {
                let url = urls.get(*at).map(|url| escape(url.as_bytes()));
                tracing::warn!(url, reason, "the CDN will not forget this address");
            }
            let over: Vec<usize> =
                outcome.done.iter().copied().chain(outcome.refused.iter().map(|(at, _)| *at)).collect();
            let mut writes = Writes::default();
            for purge in over.iter().filter_map(|at| batch.get(*at)) {
                self.outbox.forget_purge(&mut writes, purge);
            }
            self.outbox.write(writes)?;
            testing::pass("mirror-purge-noted");
            let numbers: std::collections::HashSet<u64> =
                over.iter().filter_map(|at| batch.get(*at)).map(|purge| purge.number).collect();
            {
                // They are the first of the queue: others only add to its end.
                let mut queue = self.purges();
                let first = batch.len().min(queue.len());
                let still: Vec<Purge> =
                    queue.drain(..first).filter(|purge| !numbers.contains(&purge.number)).collect();
                still.into_iter().rev().for_each(|purge| queue.push_front(purge));
            }
            let done = outcome.done.len() as u64;
            purged += done;
            self.count_purges(done, outcome.refused.len() as u64 + u64::from(outcome.failed.is_some()));
            if let Some(error) = outcome.failed {
                tracing::warn!(why = escape(error.message.as_bytes()), "the CDN was not told");
                let wait = match error.fault {
                    PurgeFault::Throttled(Some(wait)) => wait.min(WAIT_MAX),
                    _ => WAIT,
                };
                return Ok((purged, Some(wait)));
            }
        }
        Ok((purged, None))
    }

    /// Tells of a panic. Answers how long to wait.
    fn panicked(&self) -> Duration {
        tracing::warn!("the CDN has failed by a panic");
        self.count_purges(0, 1);
        WAIT_MAX
    }

    /// Purges until the mirror ends, for one that follows.
    pub(super) fn purge_always(&self, ended: &dyn Fn() -> bool) {
        let mut failures = 0_u32;
        while !ended() {
            let wait = match self.purge(ended) {
                Ok((_, None)) => {
                    failures = 0;
                    None
                }
                Ok((_, Some(wait))) => Some(wait),
                Err(error) => {
                    tracing::warn!(%error, "purges wait");
                    Some(WAIT)
                }
            };
            let deadline = wait.map(|wait| {
                let wait = wait.saturating_mul(1 << failures.min(9)).min(WAIT_MAX);
                failures += 1;
                Instant::now() + wait
            });
            let mut queue = self.purges();
            while !ended() {
                let now = Instant::now();
                queue = match deadline {
                    Some(at) if at <= now => break,
                    Some(at) => {
                        self.purge_added
                            .wait_timeout(queue, at - now)
                            .unwrap_or_else(PoisonError::into_inner)
                            .0
                    }
                    // Without a CDN it waits for one that is opened with it.
                    None if !queue.is_empty() && self.cdn.is_some() => break,
                    None => self.purge_added.wait(queue).unwrap_or_else(PoisonError::into_inner),
                };
            }
        }
    }
}
