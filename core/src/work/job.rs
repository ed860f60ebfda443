//! A job: one item in somebody's hands, and what can come of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::path::{self, escape};
use crate::store::{WorkTable, WorkWrite};

use super::lifecycle::{Priority, WorkState};
use super::limiter::{Permit, RateLimiter};
use super::queue::{Claimed, Handle, Held};
use super::record::{Done, Failure, ItemKey, Record, check_attrs, cut_error};
use super::shared::Shared;

/// One unit of work that was handed out, under a lease.
///
/// It ends with [`Job::complete`], [`Job::fail`], [`Job::snooze`] or [`Job::release`]. A job that is dropped
/// without any of them is handed out again when its lease has run out. `Send` and `Sync`.
#[derive(Debug)]
#[must_use = "a job that is dropped is handed out again only when its lease has run out"]
pub struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Handle,
    pub(super) key: ItemKey,
    address: Vec<u8>,
    fs_path: PathBuf,
    state: WorkState,
    priority: Priority,
    pub(super) record: Record,
    pub(super) held: Held,
    pipeline_version: u32,
    done_path: Option<Vec<u8>>,
    members: Option<Vec<Vec<u8>>>,
    reference_ns: Option<i64>,
    attrs: BTreeMap<String, Vec<u8>>,
    permit: Option<Permit>,
    limiter: Option<RateLimiter>,
}

/// What is stored with a completion besides the attributes of the job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    refresh_at_ns: Option<i64>,
    reference_ns: Option<i64>,
}

impl Completion {
    /// Done; to be refreshed as the pipeline says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when it is to be done anew, nanoseconds since 1970 UTC, whatever the pipeline says.
    #[must_use]
    pub fn refresh_at_ns(mut self, at_ns: i64) -> Self {
        self.refresh_at_ns = Some(at_ns);
        self
    }

    /// Sets the date whose age decides between the tiers of the pipeline, nanoseconds since 1970 UTC
    /// (default: the modification time of the file).
    #[must_use]
    pub fn reference_ns(mut self, date_ns: i64) -> Self {
        self.reference_ns = Some(date_ns);
        self
    }
}

/// Why a job failed, and what follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    error: String,
    wait: Option<Duration>,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Transient,
    Permanent,
    PutOff,
}

impl Failed {
    /// It may go well another time: it is tried again after the wait that the pipeline says, as often as
    /// that says. The text is kept up to 1,000 bytes.
    #[must_use]
    pub fn transient(error: impl Into<String>) -> Self {
        Self { error: error.into(), wait: None, what: What::Transient }
    }

    /// It will not go well with this content: it is dead until the file changes or somebody asks for it.
    #[must_use]
    pub fn permanent(error: impl Into<String>) -> Self {
        Self { error: error.into(), wait: None, what: What::Permanent }
    }

    /// It is not its fault: it is put off for so long, and that is no attempt. As [`Job::snooze`], for
    /// closures.
    #[must_use]
    pub fn put_off(wait: Duration) -> Self {
        Self { error: String::new(), wait: Some(wait), what: What::PutOff }
    }

    /// Sets the wait before the next try, as a server has asked for. It still is an attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

impl Job {
    pub(super) fn new(
        shared: &Arc<Shared>,
        claimed: Claimed,
        (members, permit, limiter): (Option<Vec<Vec<u8>>>, Option<Permit>, Option<RateLimiter>),
    ) -> Self {
        let Claimed {
            handle, key, address, state, priority, record, held, pipeline_version, done_path, ..
        } = claimed;
        let (root, below) = path::split_root(&address);
        let snapshot = shared.engine.snapshot();
        // Of a root that was removed there is nothing on this disk.
        let base = snapshot.root_view(root).map(|view| view.record.path.clone());
        let reference_ns = snapshot.get(&address).map(|entry| entry.mtime_ns());
        let attrs = record.attrs.clone();
        Self {
            fs_path: base.map(|base| base.join(crate::sys::as_path(below))).unwrap_or_default(),
            shared: Arc::clone(shared),
            handle,
            key,
            address,
            state,
            priority,
            record,
            held,
            pipeline_version,
            done_path,
            members,
            reference_ns,
            attrs,
            permit,
            limiter,
        }
    }

    /// Returns the address, `ROOT/relative/path`: of the file, or the key of the group.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.address
    }

    /// Returns the name of its pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.shared.name
    }

    /// Returns the address under which it was completed last: a file may have moved since. `None` when it was
    /// never completed, and when another file of this pipeline lies there by now, for then what was made under
    /// that name is that one's to replace.
    #[must_use]
    pub fn done_path(&self) -> Option<&[u8]> {
        self.done_path.as_deref()
    }

    /// Returns where the file lies on this disk; empty when its root was removed.
    #[must_use]
    pub fn fs_path(&self) -> &std::path::Path {
        &self.fs_path
    }

    /// Returns why it was handed out: `New`, `Changed`, `Stale`, `Error` (tried again), `Missing` (clean up
    /// what was made of it), or `Indexed` where somebody asked for it although nothing changed.
    #[must_use]
    pub fn state(&self) -> WorkState {
        self.state
    }

    /// Returns the class in which it waited.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Returns how many times this content has been tried, this time included; 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.held.attempt
    }

    /// Returns the fencing token: no two leases have the same.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.held.token
    }

    /// Returns when the lease runs out, nanoseconds since 1970 UTC.
    #[must_use]
    pub fn expires_ns(&self) -> i64 {
        self.held.expires_ns
    }

    /// Returns the addresses of the files of a group as they were when it was handed out; of a single file
    /// its own, or nothing when it is missing.
    #[must_use]
    pub fn files(&self) -> Vec<Vec<u8>> {
        match &self.members {
            Some(members) => members.clone(),
            None if self.held.version.is_none() => Vec::new(),
            None => vec![self.address.clone()],
        }
    }

    /// Returns what was stored with the last completion. It follows the file when that moves.
    #[must_use]
    pub fn attrs(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.attrs
    }

    /// Returns what will be stored with this completion, to be changed: at most 64 KiB, names and values.
    pub fn attrs_mut(&mut self) -> &mut BTreeMap<String, Vec<u8>> {
        &mut self.attrs
    }

    /// Returns the limiter of the pipeline, if it has a rate: for what the job sends beyond its first
    /// request, and to tell of throttling.
    #[must_use]
    pub fn limiter(&self) -> Option<&RateLimiter> {
        self.limiter.as_ref()
    }

    /// Says that the request that the job was handed out for has been answered. Without it that is assumed
    /// when the job ends.
    pub fn answered(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.done();
        }
    }

    /// Says that the request that the job was handed out for was refused because there were too many: see
    /// [`RateLimiter::throttled`]. Put the job off then: [`Failed::put_off`].
    pub fn throttled(&mut self, retry_after: Option<Duration>) {
        match (self.permit.take(), &self.limiter) {
            (Some(permit), _) => permit.throttled(retry_after),
            (None, Some(limiter)) => limiter.throttled(retry_after),
            (None, None) => {}
        }
    }

    /// Says that nothing is sent for this job: it takes nobody's turn.
    pub fn sends_nothing(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.unused();
        }
    }

    /// Returns true for an item that is gone: what was made of it is to be cleaned up. Also where an
    /// earlier try of that has failed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.held.version.is_none()
    }

    /// Renews the lease for as long as the pipeline gives them, from now.
    ///
    /// # Errors
    ///
    /// `LeaseLost` when it has run out and the job was handed out again.
    pub fn renew(&mut self) -> Result<()> {
        self.held.expires_ns = self.shared.renew(self.handle, self.held.token)?;
        Ok(())
    }

    /// Ends the job as done; durable on return. A file that changed since it was handed out is handed out
    /// again, one that went is handed out to be cleaned up.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, and then nothing was recorded; `TooLarge` for the attributes.
    pub fn complete(self) -> Result<()> {
        self.complete_with(&Completion::new())
    }

    /// As [`Job::complete`], with a time to refresh it.
    ///
    /// # Errors
    ///
    /// As [`Job::complete`]; `InvalidArgument` for a refresh in the past.
    pub fn complete_with(self, completion: &Completion) -> Result<()> {
        let outcome = self.completed(completion)?;
        self.end(outcome)
    }

    /// Checks what [`Job::complete_with`] would refuse, while the job is still in hand.
    ///
    /// # Errors
    ///
    /// `TooLarge` for the attributes, `InvalidArgument` for their names and for a refresh in the past.
    pub fn check(&self, completion: &Completion) -> Result<()> {
        self.completed(completion).map(|_| ())
    }

    /// Ends the job as failed.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, and then nothing was recorded.
    pub fn fail(self, failed: &Failed) -> Result<()> {
        if failed.what == What::PutOff {
            return self.snooze(failed.wait.unwrap_or_default());
        }
        let shared = Arc::clone(&self.shared);
        let now_ns = shared.now_ns();
        let retry = shared.retry();
        let attempts = self.held.attempt;
        let wait_ms = match failed.wait {
            Some(wait) => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            None => retry.delay_ms(attempts, self.held.token),
        };
        let wait_ns = i64::try_from(wait_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let failure = Failure {
            version: self.held.version,
            pipeline_version: self.pipeline_version,
            attempts,
            at_ns: now_ns,
            retry_at_ns: now_ns.saturating_add(wait_ns),
            dead: failed.what == What::Permanent || attempts >= retry.attempts_max,
            error: cut_error(&failed.error).to_owned(),
        };
        // As it was, attributes too: those change with a completion only.
        let mut record = Record { crashes: 0, ..self.record.clone() };
        record.failure = Some(failure);
        self.end(Outcome { record: Some(record), is_done: true, counts: false })
    }

    /// Puts the job off; no attempt. A request for it counts as heard.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, and then nothing was recorded.
    pub fn snooze(self, wait: Duration) -> Result<()> {
        let wait_ns = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
        let mut record = Record { crashes: 0, ..self.record.clone() };
        record.not_before_ns = self.shared.now_ns().saturating_add(wait_ns).max(1);
        self.end(Outcome { record: Some(record), is_done: true, counts: false })
    }

    /// Gives the job back: it is handed out again at once; no attempt.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, and then nothing was recorded.
    pub fn release(self) -> Result<()> {
        let outcome = self.released();
        self.end(outcome)
    }

    /// What giving it back writes.
    pub(super) fn released(&self) -> Outcome {
        // Stored even where it says nothing else: it tells that this claim was answered.
        let record = Record { crashes: 0, ..self.record.clone() };
        Outcome { record: Some(record), is_done: false, counts: false }
    }

    /// What a completion writes.
    pub(super) fn completed(&self, completion: &Completion) -> Result<Outcome> {
        check_attrs(&self.attrs).map_err(|error| error.with_path(&self.address))?;
        let now_ns = self.shared.now_ns();
        if let Some(at_ns) = completion.refresh_at_ns.filter(|at_ns| *at_ns <= now_ns) {
            let shown = escape(&self.address);
            return Err(Error::invalid(format!("`{shown}` cannot be refreshed in the past, at {at_ns}"))
                .with_path(&self.address)
                .with_hint("a time after now, in nanoseconds since 1970 UTC"));
        }
        let Some(version) = self.held.version else {
            // Cleaned up: nothing is left to be known.
            return Ok(Outcome { record: None, is_done: true, counts: true });
        };
        let reference_ns = completion.reference_ns.or(self.reference_ns);
        let refresh_at_ns =
            completion.refresh_at_ns.unwrap_or_else(|| self.shared.next_refresh_ns(now_ns, reference_ns));
        let done = Done { version, pipeline_version: self.pipeline_version, at_ns: now_ns, refresh_at_ns };
        let record = Record {
            done: Some(done),
            path: self.address.clone(),
            attrs: self.attrs.clone(),
            ..Record::default()
        };
        Ok(Outcome { record: Some(record), is_done: true, counts: true })
    }

    pub(super) fn end(mut self, outcome: Outcome) -> Result<()> {
        self.answered();
        let shared = Arc::clone(&self.shared);
        let mut results = shared.end_jobs(&[(self, outcome)])?;
        results.pop().unwrap_or(Ok(()))
    }
}

/// What becomes of an item when its job ends.
pub(super) struct Outcome {
    /// The record from now on; `None`: none.
    pub(super) record: Option<Record>,
    /// A request for it has been met.
    pub(super) is_done: bool,
    /// It counts as completed.
    pub(super) counts: bool,
}

impl Outcome {
    /// The rows that end a lease with this outcome.
    pub(super) fn writes(&self, job: &Job, held: &Held, writes: &mut Vec<WorkWrite>) {
        let shared = &job.shared;
        let stamped = |record: &Record| Record { claim: held.claim, ..record.clone() }.encode();
        let record = self.record.as_ref().map(stamped);
        writes.push(shared.row(WorkTable::Records, &job.key, record));
        if self.is_done && held.requested && !held.rerun {
            writes.push(shared.row(WorkTable::Requests, &job.key, None));
        }
    }
}
