//! How jobs end, and what is told about items: the parts of an open pipeline that write or explain.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use crate::commit::{Pending, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;
use crate::store::{WorkTable, WorkWrite};

use super::again::Retry;
use super::job::{Job, Outcome};
use super::lifecycle::{AT_ONCE_NS, NEVER_NS, Verdict, WorkState};
use super::limiter::RateLimiter;
use super::pipeline::{PipelineStatus, WorkExplanation, ns_of_ms, shown};
use super::queue::{Claimed, Handle, Held};
use super::record::{Record, damaged};
use super::shared::{Shared, State};

impl Shared {
    /// Ends leases in one commit: the answers are in the order of the jobs.
    pub(super) fn end_jobs(&self, ends: &[(Job, Outcome)]) -> Result<Vec<Result<()>>> {
        let _order = self.order.read().unwrap_or_else(PoisonError::into_inner);
        let mut answers: Vec<Result<()>> = Vec::with_capacity(ends.len());
        let mut settling: Vec<(&Job, &Outcome, Held)> = Vec::with_capacity(ends.len());
        {
            let mut state = self.state()?;
            for (job, outcome) in ends {
                let is_ours = std::ptr::eq(&raw const *job.shared, self);
                let held = is_ours.then(|| state.queue.settle(job.handle, job.held.token)).flatten();
                answers.push(if held.is_some() { Ok(()) } else { Err(lease_lost()) });
                settling.extend(held.map(|held| (job, outcome, held)));
            }
        }
        if settling.is_empty() {
            return Ok(answers);
        }
        let mut writes: Vec<WorkWrite> = Vec::with_capacity(settling.len() + 1);
        for (job, outcome, held) in &settling {
            outcome.writes(job, held, &mut writes);
        }
        let (over, written) = self.end_claims(&settling, writes);
        if let Err(error) = written.and_then(Pending::wait) {
            let mut claims = self.claims();
            claims.put_back(over);
            for (job, _, held) in &settling {
                claims.resume(held.claim, job.key.clone(), held.token);
            }
            drop(claims);
            let mut state = self.lock();
            for (job, _, held) in &settling {
                state.queue.unsettled(job.handle, held.token);
            }
            return Err(error);
        }
        let now_ns = self.now_ns();
        let done = settling.iter().filter(|(_, outcome, _)| outcome.counts).count() as u64;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).add(done, now_ns);
        let mut state = self.lock();
        for (job, outcome, _) in &settling {
            state.queue.settled(job.handle, outcome.record.as_ref(), outcome.is_done, now_ns);
        }
        drop(state);
        // A place is free, and what changed meanwhile is due again.
        self.wake();
        Ok(answers)
    }

    /// These jobs are in nobody's hands any more. Claims whose rows go with it, and what is on its way to the disk:
    /// under the lock, so that rows of one claim come there in the order of its ends.
    fn end_claims(
        &self,
        settling: &[(&Job, &Outcome, Held)],
        mut writes: Vec<WorkWrite>,
    ) -> (Vec<u64>, Result<Pending>) {
        let mut claims = self.claims();
        for (_, _, held) in settling {
            claims.end(held.claim, held.token);
        }
        // Without a record that shows the claim its row must not name the job.
        let unnamed = settling.iter().filter(|(_, outcome, _)| outcome.record.is_none());
        let mut rewritten: Vec<u64> = unnamed.map(|(_, _, held)| held.claim).collect();
        rewritten.sort_unstable();
        rewritten.dedup();
        for number in rewritten {
            if let Some(items) = claims.in_hand(number) {
                writes.push(self.claim_row(number, Some(items)));
            }
        }
        let over = claims.take_over();
        writes.extend(over.iter().map(|number| self.claim_row(*number, None)));
        (over, self.engine.send(Task::Work(WorkTask::Write(writes))))
    }

    /// Renews a lease; when it runs out from now on. Nothing is written: after the end of this process
    /// every lease is void.
    pub(super) fn renew(&self, handle: Handle, token: u64) -> Result<i64> {
        let expires_ns = self.now_ns().saturating_add(self.lease_ns());
        if self.state()?.queue.extend(handle, token, expires_ns) { Ok(expires_ns) } else { Err(lease_lost()) }
    }

    /// Wakes workers without sending anybody else home.
    pub(super) fn wake_workers(&self) {
        if let Some(limiter) = self.limiter() {
            limiter.interrupter().interrupt();
        }
        self.wake();
    }

    pub(super) fn lease_ns(&self) -> i64 {
        ns_of_ms(self.lock().options.lease_ms)
    }

    pub(super) fn retry(&self) -> Retry {
        self.lock().options.retry
    }

    pub(super) fn next_refresh_ns(&self, now_ns: i64, reference_ns: Option<i64>) -> i64 {
        self.lock().options.refresh.next_ns(now_ns, reference_ns)
    }

    pub(super) fn limiter(&self) -> Option<RateLimiter> {
        self.lock().limiter.clone()
    }

    /// Whether something can be handed out now, and when something will be that cannot.
    pub(super) fn due(&self) -> Result<(bool, Option<i64>)> {
        let now_ns = self.now_ns();
        self.with_rows(|state, rows| {
            state.queue.promote(rows, now_ns)?;
            Ok((state.queue.has_due(), state.queue.next_ns()))
        })
    }

    /// The class of the job that would be handed out next, ageing included, and since when it has been due; `None`
    /// when there is none.
    pub(super) fn best(&self) -> Result<Option<(u8, i64)>> {
        let now_ns = self.now_ns();
        self.with_rows(|state, rows| {
            state.queue.promote(rows, now_ns)?;
            Ok(state.queue.best(now_ns))
        })
    }

    pub(super) fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::Acquire)
    }

    pub(super) fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        if let Some(limiter) = self.limiter() {
            limiter.interrupter().interrupt();
        }
        self.wake();
    }

    pub(super) fn status(&self) -> Result<PipelineStatus> {
        let now_ns = self.now_ns();
        let done_per_minute = self.pace.lock().unwrap_or_else(PoisonError::into_inner).per_minute(now_ns);
        self.with_rows(|state, rows| {
            state.queue.promote(rows, now_ns)?;
            let tally = state.queue.tally;
            let oldest = state.queue.oldest_ns(now_ns);
            Ok(PipelineStatus {
                name: self.name.clone(),
                new: tally.of(WorkState::New),
                changed: tally.of(WorkState::Changed),
                stale: tally.of(WorkState::Stale),
                error: tally.of(WorkState::Error),
                missing: tally.of(WorkState::Missing),
                processing: tally.of(WorkState::Processing),
                indexed: tally.of(WorkState::Indexed),
                dead: tally.dead,
                requested: tally.requested,
                oldest_due_ms: oldest.map(|ns| ns.max(0).unsigned_abs() / 1_000_000),
                next_due_ns: state.queue.next_ns(),
                done_per_minute,
            })
        })
    }

    pub(super) fn explain(&self, address: &[u8]) -> Result<Option<WorkExplanation>> {
        let now_ns = self.now_ns();
        self.with_rows(|state: &mut State, rows| {
            state.queue.promote(rows, now_ns)?;
            let Some((handle, key)) = state.queue.find(address) else { return Ok(None) };
            let row = rows.work_get(WorkTable::Records, &key.encode(self.id))?;
            let record = row.map(|row| Record::decode(&row).map_err(damaged)).transpose()?;
            let seen = state.queue.seen(handle, address, record.as_ref(), now_ns);
            let Some((path, version, verdict)) = seen else { return Ok(None) };
            let record = record.unwrap_or_default();
            let item = state.queue.item(handle);
            let held = item.and_then(|item| item.held.as_ref());
            let failure = record.failure.as_ref().filter(|_| verdict.state == WorkState::Error);
            Ok(Some(WorkExplanation {
                path,
                state: verdict.state,
                priority: verdict.priority,
                why: why(&verdict, &record, held.is_some(), now_ns),
                due_ns: Some(verdict.due_ns)
                    .filter(|due| *due != NEVER_NS && verdict.state != WorkState::Indexed)
                    .map(|due| if due == AT_ONCE_NS { now_ns } else { due }),
                attempts: failure.map_or(0, |failure| failure.attempts),
                last_error: failure.map(|failure| failure.error.clone()),
                dead: verdict.dead,
                done_ns: record.done.map(|done| done.at_ns),
                refresh_at_ns: record.done.map(|done| done.refresh_at_ns).filter(|at| *at != 0),
                lease: held.map(|held| (held.holder.to_string(), held.expires_ns)),
                requested: item.and_then(|item| item.request),
                content_done: record.done.as_ref().map(|done| shown(&done.version)),
                content_now: version.as_ref().map(shown),
                attrs: record.attrs,
            }))
        })
    }

    pub(super) fn no_item(&self, address: &[u8]) -> Error {
        let (name, shown) = (escape(self.name.as_bytes()), escape(address));
        Error::new(ErrorKind::NotFound, format!("pipeline `{name}` has no item at or below `{shown}`"))
            .with_path(address)
            .with_hint("`ls` shows what is there; the roots and globs of the pipeline decide what is its")
    }

    /// The claim could not be written: nobody has been given anything.
    pub(super) fn give_back(&self, claimed: &[Claimed]) {
        let Ok(mut state) = self.state() else { return };
        for item in claimed {
            state.queue.settled(item.handle, Some(&item.record), false, self.now_ns());
            self.claims().end(item.held.claim, item.held.token);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn lease_lost() -> Error {
    Error::new(ErrorKind::LeaseLost, "the lease has run out and the job was handed out again")
        .with_hint("renew the leases of jobs that take long, or give the pipeline longer ones")
}

/// The state in words.
fn why(verdict: &Verdict, record: &Record, is_held: bool, now_ns: i64) -> String {
    let waits = verdict.due_ns > now_ns && verdict.due_ns != NEVER_NS;
    let what = match (verdict.state, verdict.dead) {
        (WorkState::Error, true) => "the last attempt failed for good; `retry` or a change brings it back",
        (WorkState::Error, false) => "the last attempt failed",
        (WorkState::New, _) => "it was never done",
        (WorkState::Changed, _) => {
            "its content, or the version of the pipeline, is not the one that was done"
        }
        (WorkState::Stale, _) => "its refresh time has come",
        (WorkState::Missing, _) => "it is gone, and what was made of it is to be cleaned up",
        (WorkState::Indexed | WorkState::Processing, _) => "it was done, and nothing has changed since",
    };
    let then = match (is_held, verdict.state) {
        (true, _) => "; somebody works on it",
        (false, WorkState::Indexed) => "",
        (false, _) if record.not_before_ns > now_ns => "; it was put off",
        (false, WorkState::New | WorkState::Changed) if waits => "; it waits until the file is still",
        (false, _) if waits => "; it waits for its time",
        (false, _) if verdict.dead => "",
        (false, _) => "; it is due",
    };
    format!("{what}{then}")
}
