//! What is told of a mirror: of one run, while it runs, and at any time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::scan::CancelToken;

use super::storage::StorageFault;

/// Failures told in full; the rest is counted.
pub(super) const ERRORS_KEPT: usize = 100;

/// A file that could not be copied, or an object that could not be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorError {
    /// The address of the file, in bytes.
    pub path: Vec<u8>,
    /// The key of its object, where it has one.
    pub key: Option<String>,
    /// What happened.
    pub message: String,
    /// True when it will never work as it is: the name or size is not allowed.
    pub permanent: bool,
}

/// What one run has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MirrorReport {
    /// The seq of the snapshot that the remote copy was brought in step with.
    pub seq: u64,
    /// Files that were sent and acknowledged.
    pub uploaded: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Objects that were copied to another key within the storage.
    pub copied: u64,
    /// Objects that were deleted.
    pub deleted: u64,
    /// Files that changed while they were read, or since the last scan: they come with the next run.
    pub changed: u64,
    /// Files that have not been still for long enough: they come with the next run.
    pub unsettled: u64,
    /// Files and objects that failed, those of [`MirrorReport::refused`] not counted.
    pub failed: u64,
    /// Files that the storage can hold under no name: see [`MirrorReport::errors`].
    pub refused: u64,
    /// Deletions that wait for confirmation: too many at once.
    pub held: u64,
    /// Addresses that a CDN has forgotten.
    pub purged: u64,
    /// Addresses that a CDN is still to forget.
    pub purges_waiting: u64,
    /// Requests that were repeated.
    pub retries: u64,
    /// Failures of the storage, not of a file.
    pub(super) unanswered: u64,
    /// Files whose place is still taken.
    pub(super) occupied: u64,
    /// Parts of files are still there that are no object.
    pub(super) parts_left: bool,
    /// When the first of the files that are not still yet will be, nanoseconds since 1970 UTC.
    pub(super) settled_at_ns: i64,
    /// Of the time that it took, what it waited for files to be still.
    pub(super) waited: Duration,
    /// The first 100 failures.
    pub errors: Vec<MirrorError>,
    /// Milliseconds that it took.
    pub elapsed_ms: u64,
}

impl MirrorReport {
    /// True when nothing is left: the remote copy equals the snapshot, but for names that it cannot hold.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.changed + self.unsettled + self.failed + self.held == 0
    }

    pub(super) fn push_failure(&mut self, error: MirrorError, fault: &StorageFault) {
        let is_of_file = matches!(
            fault,
            StorageFault::Source | StorageFault::Rejected | StorageFault::Occupied | StorageFault::Denied
        );
        self.unanswered += u64::from(!is_of_file);
        self.push_error(error);
    }

    pub(super) fn push_error(&mut self, error: MirrorError) {
        if error.permanent {
            self.refused += 1;
        } else {
            self.failed += 1;
        }
        if self.errors.len() < ERRORS_KEPT {
            self.errors.push(error);
        }
    }
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorStep {
    /// A file would be sent.
    Upload {
        /// Its address.
        path: Vec<u8>,
        /// The key of its object.
        key: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// An object would be copied within the storage.
    Copy {
        /// The key that it has.
        from: String,
        /// The key that it gets.
        to: String,
    },
    /// An object would be deleted.
    Delete {
        /// Its key.
        key: String,
    },
}

/// What the next run would do: a dry run. Nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MirrorPlan {
    /// The seq of the snapshot that it was made from.
    pub seq: u64,
    /// Each step in the order of a run: uploads, copies, deletions.
    pub steps: Vec<MirrorStep>,
    /// Files to send.
    pub uploads: u64,
    /// Their bytes.
    pub upload_bytes: u64,
    /// Objects to copy.
    pub copies: u64,
    /// Objects to delete.
    pub deletes: u64,
    /// True when so many deletions would wait for confirmation.
    pub held: bool,
    /// Files that have not been still for long enough.
    pub unsettled: u64,
    /// Files that the storage can hold under no name, the first 100.
    pub refused: Vec<MirrorError>,
    /// How many of them.
    pub refused_total: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MirrorProgress {
    /// Files, copies and deletions that are over, well or not.
    pub done: u64,
    /// All of them.
    pub total: u64,
    /// Bytes read and handed to the network so far. What is sent again counts again.
    pub bytes: u64,
    /// Bytes of all files of the run.
    pub bytes_total: u64,
    /// Bytes a second since the run began.
    pub bytes_per_s: f64,
    /// Milliseconds to go, where it can be told.
    pub eta_ms: Option<u64>,
}

type ProgressFn = dyn Fn(&MirrorProgress) + Send + Sync;

/// What a run needs besides its options: whom to tell, who may stop it, and whether many deletions are meant.
#[derive(Clone, Default)]
pub struct MirrorContext {
    progress: Option<Arc<ProgressFn>>,
    pub(super) cancel: CancelToken,
    pub(super) accept_deletes: bool,
}

impl MirrorContext {
    /// Tells nobody and cannot be stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `progress` about ten times a second, from the thread of the run.
    #[must_use]
    pub fn progress(mut self, progress: impl Fn(&MirrorProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Sets the token that stops the run. What is acknowledged stays.
    #[must_use]
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// Deletes however many objects there are to delete.
    #[must_use]
    pub fn accept_deletes(mut self, yes: bool) -> Self {
        self.accept_deletes = yes;
        self
    }

    pub(super) fn tell(&self, progress: &MirrorProgress) {
        if let Some(tell) = &self.progress {
            tell(progress);
        }
    }
}

impl std::fmt::Debug for MirrorContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MirrorContext").field("accept_deletes", &self.accept_deletes).finish_non_exhaustive()
    }
}

/// Numbers that only rise, since the mirror was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MirrorCounters {
    /// Runs that ended.
    pub runs: u64,
    /// Runs that were given up.
    pub runs_failed: u64,
    /// Files sent and acknowledged.
    pub uploaded: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Objects copied.
    pub copied: u64,
    /// Objects deleted.
    pub deleted: u64,
    /// Files and objects that failed in a run.
    pub failed: u64,
    /// Requests repeated.
    pub retries: u64,
    /// Addresses that a CDN has forgotten.
    pub purged: u64,
    /// Calls to the CDN that failed.
    pub purge_failures: u64,
}

impl MirrorCounters {
    pub(super) fn add(&mut self, report: &MirrorReport) {
        self.runs += 1;
        self.uploaded += report.uploaded;
        self.uploaded_bytes += report.uploaded_bytes;
        self.copied += report.copied;
        self.deleted += report.deleted;
        self.failed += report.failed + report.refused;
        self.retries += report.retries;
    }
}

/// How a mirror stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorStatus {
    /// Its name.
    pub name: String,
    /// The address that it copies.
    pub address: Vec<u8>,
    /// Where to, without any secret.
    pub place: String,
    /// What every key begins with.
    pub prefix: String,
    /// A run is under way.
    pub running: bool,
    /// It follows by itself.
    pub following: bool,
    /// Objects that are acknowledged.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Objects of which it is not known what is there; the next run puts or deletes them.
    pub unsure: u64,
    /// Paths that are to be looked at again; `None` before the first run since the mirror was opened.
    pub pending: Option<u64>,
    /// When the oldest of them came, nanoseconds since 1970 UTC.
    pub oldest_pending_ns: Option<i64>,
    /// Deletions that wait for confirmation since the last run.
    pub held: u64,
    /// Addresses that a CDN is still to forget.
    pub purges_waiting: u64,
    /// When the oldest of them was queued, nanoseconds since 1970 UTC.
    pub oldest_purge_ns: Option<i64>,
    /// The seq of the last run that ended.
    pub last_seq: Option<u64>,
    /// When it ended, nanoseconds since 1970 UTC.
    pub last_run_ns: Option<i64>,
    /// Why the last run was given up, if it was.
    pub last_error: Option<String>,
    /// Numbers that only rise.
    pub counters: MirrorCounters,
}

/// Counts a run and tells of it ten times a second.
pub(super) struct Teller<'a> {
    context: &'a MirrorContext,
    begun: Instant,
    told: Option<Instant>,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) bytes_total: u64,
}

impl<'a> Teller<'a> {
    pub(super) fn new(context: &'a MirrorContext, total: u64, bytes_total: u64) -> Self {
        Self { context, begun: Instant::now(), told: None, done: 0, total, bytes_total }
    }

    pub(super) fn tell(&mut self, bytes: u64, last: bool) {
        let now = Instant::now();
        if !last && self.told.is_some_and(|told| now - told < Duration::from_millis(100)) {
            return;
        }
        self.told = Some(now);
        let seconds = (now - self.begun).as_secs_f64();
        let bytes_per_s = if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 };
        // Where there are bytes they take the time, and else the requests.
        let (done, total) = match self.bytes_total {
            0 => (self.done as f64, self.total as f64),
            all => (bytes as f64, all as f64),
        };
        let eta_ms = (done > 0.0 && seconds > 0.0)
            .then(|| (seconds * (total - done).max(0.0) / done * 1_000.0) as u64);
        self.context.tell(&MirrorProgress {
            done: self.done,
            total: self.total,
            bytes,
            bytes_total: self.bytes_total,
            bytes_per_s,
            eta_ms,
        });
    }
}

/// The first sentence of an error: the hint is for those who called.
pub(super) fn sentence(error: &Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
