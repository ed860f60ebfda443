//! The public handle of one pipeline.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result};
use crate::path;
use crate::store::{WorkTable, WorkWrite};

use super::job::{Completion, Job, Outcome};
use super::lifecycle::{Priority, WorkState};
use super::limiter::{Permit, RateLimiter};
use super::options::PipelineOptions;
use super::queue::{Asked, Handed, Terms};
use super::record::{Record, Request, Version, damaged};
use super::shared::Shared;

/// Who holds a lease when nobody says so.
const HOLDER: &str = "worker";
/// A manual clock does not wake anybody: it is looked at this often.
const MANUAL_SLICE: Duration = Duration::from_millis(2);
/// What comes to its time makes no news: who waits for idleness looks this often.
const IDLE_SLICE: Duration = Duration::from_millis(200);
/// Jobs of one claim at most.
const CLAIM_MAX: usize = 10_000;

/// A named consumer of work: which files it works on, and what is still to be done about each of them.
///
/// Cheap to clone; clones share the pipeline and keep the warden open. All methods may be called from any
/// thread. What changes something is durable on return; what is asked for at once by many threads shares
/// commits.
///
/// ```no_run
/// use treewarden::{Failed, PipelineOptions, Warden};
///
/// let warden = Warden::open("state.tw")?;
/// let thumbs = warden.pipeline_with("thumbs", &PipelineOptions::new().root("photos").glob("**/*.jpg"))?;
/// while let Some(job) = thumbs.claim_wait(1, None)?.pop() {
///     match std::fs::read(job.fs_path()) {
///         Ok(_picture) => job.complete()?,
///         Err(error) => job.fail(&Failed::transient(error.to_string()))?,
///     }
/// }
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Clone)]
pub struct Pipeline {
    shared: Arc<Shared>,
    /// The warden, which stays open as long as this.
    _open: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A pipeline as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineInfo {
    /// Its name.
    pub name: String,
    /// What it works on, and how.
    pub options: PipelineOptions,
}

/// A pipeline at one glance. All of it is at hand: nothing is counted for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineStatus {
    /// Its name.
    pub name: String,
    /// Items never done.
    pub new: u64,
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
    /// How long the item that is due for longest has waited, in milliseconds; `None` when none is due.
    pub oldest_due_ms: Option<u64>,
    /// When something that is not due now will be, nanoseconds since 1970 UTC; it may be before that.
    pub next_due_ns: Option<i64>,
    /// Completions per minute, over the last nine full minutes of this process.
    pub done_per_minute: f64,
}

/// What asking for files came to, in items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestReport {
    /// Nothing was to be done about them: now something is.
    pub added: u64,
    /// They waited in that class, or in a better one, already.
    pub merged: u64,
    /// They waited, and have come forward.
    pub promoted: u64,
    /// Somebody works on them: they are done once more afterwards.
    pub will_rerun: u64,
}

/// One item of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkItem {
    /// Address of the file, or key of the group.
    pub path: Vec<u8>,
    /// How it stands; `Processing` while it is held.
    pub state: WorkState,
    /// Failed for good.
    pub dead: bool,
}

/// Everything that is known of one item, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkExplanation {
    /// Address of the file, or key of the group.
    pub path: Vec<u8>,
    /// How it stands, without regard to a lease.
    pub state: WorkState,
    /// The class in which it waits or would wait.
    pub priority: Priority,
    /// In words.
    pub why: String,
    /// When it is due, nanoseconds since 1970 UTC; `None` for never by itself.
    pub due_ns: Option<i64>,
    /// Failures of this content in a row.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// Failed for good.
    pub dead: bool,
    /// When it was completed last, nanoseconds since 1970 UTC.
    pub done_ns: Option<i64>,
    /// When it is to be refreshed, nanoseconds since 1970 UTC.
    pub refresh_at_ns: Option<i64>,
    /// Who holds a lease on it, and until when, nanoseconds since 1970 UTC.
    pub lease: Option<(String, i64)>,
    /// The class in which somebody has asked for it.
    pub requested: Option<Priority>,
    /// What identifies the content that was done, and the content now: equal texts mean the same.
    pub content_done: Option<String>,
    /// See [`WorkExplanation::content_done`].
    pub content_now: Option<String>,
    /// What the consumer has stored.
    pub attrs: BTreeMap<String, Vec<u8>>,
}

impl Pipeline {
    /// `open` is what keeps the engine open.
    pub(crate) fn new(shared: Arc<Shared>, open: Arc<dyn Any + Send + Sync>) -> Self {
        Self { shared, _open: open }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns true for a job of this pipeline, not of another one of the same name.
    #[must_use]
    pub fn is_of(&self, job: &Job) -> bool {
        Arc::ptr_eq(&self.shared, &job.shared)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Returns the limiter, if the pipeline has a rate.
    #[must_use]
    pub fn limiter(&self) -> Option<RateLimiter> {
        self.shared.limiter()
    }

    /// Takes up to `jobs_max` jobs that are due (at most 10,000), best first, and nothing when none is.
    /// Where the pipeline has a rate, as many as may begin now.
    ///
    /// # Errors
    ///
    /// `Closed`, and what the store says; then nothing was handed out.
    pub fn claim(&self, jobs_max: usize) -> Result<Vec<Job>> {
        let Some(limiter) = self.limiter() else { return self.claim_under(jobs_max, Vec::new()) };
        let permits = self.permits(&limiter, jobs_max, Vec::new())?;
        if permits.is_empty() { Ok(Vec::new()) } else { self.claim_under(permits.len(), permits) }
    }

    /// Adds what may begin at once.
    fn permits(
        &self,
        limiter: &RateLimiter,
        jobs_max: usize,
        mut permits: Vec<Permit>,
    ) -> Result<Vec<Permit>> {
        while permits.len() < jobs_max.min(CLAIM_MAX) {
            match self.unless_replaced(limiter.try_acquire(1))? {
                Some(permit) => permits.push(permit),
                None => break,
            }
        }
        Ok(permits)
    }

    /// A limiter that was closed because the pipeline has another one by now grants nothing; that is all.
    fn unless_replaced(&self, granted: Result<Option<Permit>>) -> Result<Option<Permit>> {
        match granted {
            Err(error) if error.kind() == ErrorKind::Closed => {
                self.shared.usable()?;
                // Whoever replaces it closes it first: that is waited for.
                drop(self.shared.order.read().unwrap_or_else(PoisonError::into_inner));
                // Closed by the program: nothing will ever be granted.
                if self.limiter().is_some_and(|limiter| limiter.is_closed()) { Err(error) } else { Ok(None) }
            }
            granted => granted,
        }
    }

    /// As [`Pipeline::claim`], and waits for the first job, at most for `timeout` or without end. Empty at
    /// the timeout and on [`Pipeline::interrupt`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::claim`].
    pub fn claim_wait(&self, jobs_max: usize, timeout: Option<Duration>) -> Result<Vec<Job>> {
        let interrupts = self.shared.interrupts();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.claim_by(jobs_max.max(1), deadline, &|| self.shared.interrupts() != interrupts)
    }

    /// As [`Pipeline::claim_wait`], until `is_over`; whoever makes it so has to wake the waiting.
    pub(super) fn claim_until(&self, jobs_max: usize, is_over: &dyn Fn() -> bool) -> Result<Vec<Job>> {
        self.claim_by(jobs_max, None, is_over)
    }

    fn claim_by(
        &self,
        jobs_max: usize,
        deadline: Option<Instant>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Vec<Job>> {
        loop {
            // Read first: what comes after this is not slept through.
            let (seq, news) = (self.shared.engine.load().seq(), self.shared.news());
            if is_over() {
                return Ok(Vec::new());
            }
            let (is_due, next_ns) = self.shared.due()?;
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if is_due {
                match self.claim_due(jobs_max, left)? {
                    Some(jobs) if !jobs.is_empty() => return Ok(jobs),
                    // Something else was faster.
                    Some(_) => {}
                    None if left.is_some_and(|left| left.is_zero()) => return Ok(Vec::new()),
                    // Woken, or out of time: the beginning of the loop knows.
                    None => continue,
                }
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Vec::new());
            }
            let now_ns = self.shared.now_ns();
            let nap = next_ns.map(|at| Duration::from_nanos(at.saturating_sub(now_ns).max(0).unsigned_abs()));
            let nap = if self.shared.engine.options.clock.is_manual() { Some(MANUAL_SLICE) } else { nap };
            let nap = [nap, left].into_iter().flatten().min();
            self.shared.wait(seq, news, nap);
        }
    }

    /// Something is due: with a rate, waits for the permission to begin. `None` without that.
    fn claim_due(&self, jobs_max: usize, left: Option<Duration>) -> Result<Option<Vec<Job>>> {
        let Some(limiter) = self.limiter() else { return self.claim_under(jobs_max, Vec::new()).map(Some) };
        let Some(first) = self.unless_replaced(limiter.acquire(1, left))? else { return Ok(None) };
        let permits = self.permits(&limiter, jobs_max, vec![first])?;
        self.claim_under(permits.len(), permits).map(Some)
    }

    /// Hands out, and writes the leases. Permits that no job was found for were never used.
    fn claim_under(&self, jobs_max: usize, mut permits: Vec<Permit>) -> Result<Vec<Job>> {
        let shared = &self.shared;
        shared.engine.writable()?;
        // What removes the pipeline waits for the row of this claim, and lets none be written after it.
        let _order = shared.order.read().unwrap_or_else(PoisonError::into_inner);
        let holder: Arc<str> = HOLDER.into();
        let claim = shared.claims().next();
        let (Handed { claimed, buried }, members, limiter) = shared.with_rows(|state, rows| {
            let mut next_token = || shared.next_token();
            let mut terms = Terms {
                now_ns: shared.now_ns(),
                lease_ns: ns_of_ms(state.options.lease_ms),
                holder: &holder,
                claim,
                next_token: &mut next_token,
            };
            let handed = state.queue.claim(jobs_max.min(CLAIM_MAX), &mut terms, rows);
            // Half-way through nobody has been given anything.
            let handed = handed.inspect_err(|_| state.queue.unclaim(claim))?;
            let claimed = handed.claimed.iter();
            let members: Vec<_> = claimed.map(|item| state.queue.members_of(item.handle)).collect();
            Ok((handed, members, state.limiter.clone()))
        })?;
        for unused in permits.drain(claimed.len().min(permits.len())..) {
            unused.unused();
        }
        let mut writes = Vec::with_capacity(claimed.len());
        for (key, record) in &buried {
            writes.push(shared.row(WorkTable::Records, key, Some(record.encode())));
            writes.push(shared.row(WorkTable::Requests, key, None));
        }
        writes.extend(
            claimed
                .iter()
                .filter(|item| item.has_lapsed)
                .map(|item| shared.row(WorkTable::Records, &item.key, Some(item.record.encode()))),
        );
        if !claimed.is_empty() {
            let items: Vec<_> = claimed.iter().map(|item| (item.key.clone(), item.held.token)).collect();
            writes.push(shared.claim_row(claim, Some(&items)));
            shared.claims().begin(claim, items);
        }
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        if let Err(error) = shared.write(writes) {
            shared.give_back(&claimed);
            // What was to be dead is not.
            shared.lock().is_broken |= !buried.is_empty();
            return Err(error);
        }
        let mut permits = permits.into_iter();
        let jobs = claimed.into_iter().zip(members);
        Ok(jobs
            .map(|(claimed, members)| Job::new(shared, claimed, (members, permits.next(), limiter.clone())))
            .collect())
    }

    /// Takes up to `jobs_max` jobs (at most 10,000) that are due in several pipelines: first of the pipeline whose
    /// best job is in the best class, then of the next one; among the same class of the one whose job has waited
    /// longest. So [`PipelineOptions::priority`] decides which consumer goes first, waiting raises the others up to
    /// `High`, and nobody starves but behind those that are `Critical`.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::claim`] where nothing was handed out. An error after that comes again with the next call.
    pub fn claim_from(pipelines: &[Self], jobs_max: usize) -> Result<Vec<Job>> {
        let jobs_max = jobs_max.min(CLAIM_MAX);
        let mut ranked = Vec::with_capacity(pipelines.len());
        for pipeline in pipelines {
            if let Some(best) = pipeline.shared.best()? {
                ranked.push((best, pipeline));
            }
        }
        ranked.sort_by_key(|(best, _)| *best);
        let mut jobs = Vec::new();
        for (_, pipeline) in ranked {
            if jobs.len() == jobs_max {
                break;
            }
            match pipeline.claim(jobs_max - jobs.len()) {
                Ok(more) => jobs.extend(more),
                Err(error) if jobs.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(jobs)
    }

    /// Waits until nothing is left to be done: no item is new, changed, stale or missing, none is in hand and
    /// none is asked for. Items in error wait for their next try and do not count. True when that is so, false
    /// at the timeout and on [`Pipeline::interrupt`].
    ///
    /// # Errors
    ///
    /// `Closed`, and what the store says.
    pub fn wait_idle(&self, timeout: Option<Duration>) -> Result<bool> {
        let interrupts = self.shared.interrupts();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let (seq, news) = (self.shared.engine.load().seq(), self.shared.news());
            let now_ns = self.shared.now_ns();
            let is_idle = self.shared.with_rows(|state, rows| {
                state.queue.promote(rows, now_ns)?;
                Ok(state.queue.tally.is_idle())
            })?;
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if is_idle || left.is_some_and(|left| left.is_zero()) || self.shared.interrupts() != interrupts {
                return Ok(is_idle);
            }
            self.shared.wait(seq, news, [left, Some(IDLE_SLICE)].into_iter().flatten().min());
        }
    }

    /// Returns how often [`Pipeline::interrupt`] was called, for those who wait in slices of time.
    #[must_use]
    pub fn interrupts(&self) -> u64 {
        self.shared.interrupts()
    }

    /// Wakes every call that waits for work, in all threads; they return without any.
    pub fn interrupt(&self) {
        self.shared.interrupt();
    }

    /// Completes several jobs in one commit. The answers are in the order of the jobs: `LeaseLost` for
    /// one does not keep the others from being recorded.
    ///
    /// # Errors
    ///
    /// What the store says, `TooLarge` for attributes; then nothing of it was recorded. A job of another
    /// pipeline is none of this one's: `LeaseLost`.
    pub fn complete_many(&self, jobs: Vec<Job>) -> Result<Vec<Result<()>>> {
        let mut ends: Vec<(Job, Outcome)> = Vec::with_capacity(jobs.len());
        for job in jobs {
            let outcome = job.completed(&Completion::new())?;
            ends.push((job, outcome));
        }
        self.shared.end_jobs(&ends)
    }

    /// Gives several jobs back in one commit, as [`Job::release`] does with one. The answers are in the order of the
    /// jobs.
    ///
    /// # Errors
    ///
    /// What the store says; then nothing of it was recorded, and the jobs are handed out again when their leases run
    /// out.
    pub fn release_many(&self, jobs: Vec<Job>) -> Result<Vec<Result<()>>> {
        let released = |job: Job| {
            let outcome = job.released();
            (job, outcome)
        };
        let ends: Vec<(Job, Outcome)> = jobs.into_iter().map(released).collect();
        self.shared.end_jobs(&ends)
    }

    /// Asks for a file, or everything below a directory, to be done now whatever its state: `ROOT/path`,
    /// `ROOT`, or `""` for everything. Durable on return.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for something that is not an address, `NotFound` when there is no item at or below
    /// it.
    pub fn request(&self, address: impl AsRef<[u8]>, priority: Priority) -> Result<RequestReport> {
        let address = check_address(address.as_ref())?;
        let shared = &self.shared;
        let _alone = shared.order.write().unwrap_or_else(PoisonError::into_inner);
        let now_ns = shared.now_ns();
        let below = shared.state()?.queue.below(address, priority);
        if below.is_empty() {
            return Err(shared.no_item(address));
        }
        let mut report = RequestReport::default();
        let mut writes = Vec::new();
        for item in &below {
            let count = match item.asked {
                Asked::Added => &mut report.added,
                Asked::Merged => &mut report.merged,
                Asked::Promoted => &mut report.promoted,
                Asked::WillRerun => &mut report.will_rerun,
            };
            *count += 1;
            if item.asked != Asked::Merged {
                let row = Request { priority, since_ns: now_ns }.encode();
                writes.push(shared.row(WorkTable::Requests, &item.key, Some(row)));
            }
        }
        shared.write(writes)?;
        shared.with_rows(|state, rows| state.queue.requested(&below, priority, rows, now_ns))?;
        shared.wake();
        Ok(report)
    }

    /// Makes items in error, at or below an address, due at once; the dead ones come back to life. Returns
    /// how many. Durable on return.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::request`], but nothing to retry is no error.
    pub fn retry(&self, address: impl AsRef<[u8]>) -> Result<u64> {
        let address = check_address(address.as_ref())?;
        let shared = &self.shared;
        let _alone = shared.order.write().unwrap_or_else(PoisonError::into_inner);
        let changed = shared.with_rows(|state, rows| {
            let below = state.queue.below(address, Priority::High);
            let mut changed = Vec::new();
            for item in below.into_iter().filter(|item| item.state == WorkState::Error) {
                let key = item.key.encode(shared.id);
                let Some(row) = rows.work_get(WorkTable::Records, &key)? else { continue };
                let record = Record::decode(&row).map_err(damaged)?;
                changed.push((item, Record { failure: None, not_before_ns: 0, crashes: 0, ..record }));
            }
            Ok(changed)
        })?;
        let write = |(item, record): &(super::queue::Below, Record)| WorkWrite {
            table: WorkTable::Records,
            key: item.key.encode(shared.id),
            row: Some(record.encode()),
        };
        if !changed.is_empty() {
            shared.write(changed.iter().map(write).collect())?;
            let mut state = shared.state()?;
            for (item, record) in &changed {
                state.queue.rejudge(item, Some(record), shared.now_ns());
            }
            drop(state);
            shared.wake();
        }
        Ok(changed.len() as u64)
    }

    /// Lists items at or below an address, by address, at most `limit`; of one state where one is given.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for something that is not an address.
    pub fn list(
        &self,
        address: impl AsRef<[u8]>,
        state: Option<WorkState>,
        limit: usize,
    ) -> Result<Vec<WorkItem>> {
        let address = check_address(address.as_ref())?;
        self.shared.with_rows(|shared, rows| {
            shared.queue.promote(rows, self.shared.now_ns())?;
            let below = shared.queue.below(address, Priority::Critical);
            let found = below.into_iter().filter(|item| state.is_none_or(|state| item.state == state));
            Ok(found
                .take(limit)
                .map(|item| {
                    let dead = shared.queue.item(item.handle).is_some_and(|item| item.verdict.dead);
                    WorkItem { path: item.address, state: item.state, dead }
                })
                .collect())
        })
    }

    /// Says how a pipeline stands.
    ///
    /// # Errors
    ///
    /// `Closed`, and what the store says.
    pub fn status(&self) -> Result<PipelineStatus> {
        self.shared.status()
    }

    /// Tells all that is known of one item: the file at an address, the group of that key, or the group that
    /// the file belongs to.
    ///
    /// # Errors
    ///
    /// `NotFound` when the pipeline has no such item.
    pub fn explain(&self, address: impl AsRef<[u8]>) -> Result<WorkExplanation> {
        let address = check_address(address.as_ref())?;
        self.shared.explain(address)?.ok_or_else(|| self.shared.no_item(address))
    }
}

/// What identifies a content, for people to compare.
pub(super) fn shown(version: &Version) -> String {
    match version.hash {
        Some(hash) => format!("{hash:032x}"),
        None => format!("{:016x}", version.facts),
    }
}

pub(super) fn ns_of_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

fn check_address(address: &[u8]) -> Result<&[u8]> {
    let trimmed = address.strip_suffix(b"/").unwrap_or(address);
    if !trimmed.is_empty() {
        // As it was given: one slash at the end is forgiven, not one here and one there.
        path::parse(address).map_err(|error| error.with_path(address))?;
    }
    Ok(trimmed)
}
