//! What a scan says about itself: while it runs and when it is done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::operation::{Counts, OperationStatus};
use crate::options::ScanMode;
use crate::path::escape;

/// Errors kept in full; the rest is counted.
pub(crate) const ERRORS_KEPT: usize = 100;
/// Time between two calls of the progress function.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// One path that could not be looked at. Its entry, and what lies below it, keeps its last state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// Full address.
    pub path: Vec<u8>,
    /// Kind of the error.
    pub kind: ErrorKind,
    /// What happened, in words.
    pub message: String,
}

/// A result that waits for `accept_missing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Files and symlinks that would become missing.
    pub missing: u64,
    /// Files and symlinks known.
    pub of: u64,
}

/// Where the time went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Listing, looking and comparing.
    pub walk_ms: u64,
    /// Reading content.
    pub hash_ms: u64,
    /// Writing and publishing.
    pub commit_ms: u64,
}

/// The result of scanning one root. Counts are of files and symlinks, not of directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name of the root.
    pub root: String,
    /// How deep the scan looked.
    pub mode: ScanMode,
    /// The commit that the state is at after the scan.
    pub seq: u64,
    /// Seen for the first time.
    pub added: u64,
    /// Changed.
    pub modified: u64,
    /// Found under another path.
    pub moved: u64,
    /// Proved to be gone.
    pub missing: u64,
    /// Back again.
    pub restored: u64,
    /// Dropped because they are ignored now, or belong to another root.
    pub forgotten: u64,
    /// Looked at and as before.
    pub unchanged: u64,
    /// Directories listed.
    pub dirs: u64,
    /// Files and symlinks seen.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
    /// FIFOs, sockets and devices seen; never opened, never entries.
    pub special: u64,
    /// Paths that could not be looked at.
    pub errors: u64,
    /// The first 100 of them.
    pub first_errors: Vec<ScanError>,
    /// Files whose content changed under an unchanged fingerprint.
    pub corrupt: u64,
    /// Set when nothing was applied because too much would become missing.
    pub held: Option<Held>,
    /// Set when nothing was applied because the root cannot be trusted; says why.
    pub unavailable: Option<String>,
    /// The caller cancelled; nothing was applied.
    pub cancelled: bool,
    /// The scan made a commit.
    pub published: bool,
    /// Time taken, in milliseconds.
    pub elapsed_ms: u64,
    /// Where it went.
    pub timings: Timings,
    /// Ended by an error, which is the only one in `first_errors`.
    failed: bool,
}

impl Report {
    pub(crate) fn new(root: &str, mode: ScanMode, seq: u64) -> Self {
        Self {
            root: root.to_owned(),
            mode,
            seq,
            added: 0,
            modified: 0,
            moved: 0,
            missing: 0,
            restored: 0,
            forgotten: 0,
            unchanged: 0,
            dirs: 0,
            files: 0,
            bytes: 0,
            special: 0,
            errors: 0,
            first_errors: Vec::new(),
            corrupt: 0,
            held: None,
            unavailable: None,
            cancelled: false,
            published: false,
            elapsed_ms: 0,
            timings: Timings::default(),
            failed: false,
        }
    }

    /// The report of a scan that ended in an error.
    pub(crate) fn failed(root: &str, mode: ScanMode, seq: u64, error: &Error) -> Self {
        let path = error.path().map_or_else(|| root.as_bytes().to_vec(), <[u8]>::to_vec);
        let first_errors = vec![ScanError { path, kind: error.kind(), message: error.message().to_owned() }];
        Self { errors: 1, first_errors, failed: true, ..Self::new(root, mode, seq) }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// What happened to files and symlinks.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            added: self.added,
            modified: self.modified,
            moved: self.moved,
            missing: self.missing,
            restored: self.restored,
            forgotten: self.forgotten,
            errors: self.errors,
        }
    }

    /// How it ended.
    pub(crate) fn status(&self) -> OperationStatus {
        if self.failed {
            OperationStatus::Failed
        } else if self.cancelled {
            OperationStatus::Cancelled
        } else if self.unavailable.is_some() {
            OperationStatus::Unavailable
        } else if self.held.is_some() {
            OperationStatus::Held
        } else if self.errors > 0 {
            OperationStatus::Partial
        } else {
            OperationStatus::Ok
        }
    }

    pub(crate) fn set_counts(&mut self, counts: &Counts) {
        self.added = counts.added;
        self.modified = counts.modified;
        self.moved = counts.moved;
        self.missing = counts.missing;
        self.restored = counts.restored;
        self.forgotten = counts.forgotten;
    }

    /// True when what was found is in the snapshot, whether or not everything could be looked at.
    pub(crate) fn is_applied(&self) -> bool {
        matches!(self.status(), OperationStatus::Ok | OperationStatus::Partial)
    }

    /// Returns true when everything could be looked at and the result was applied.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors == 0
            && self.corrupt == 0
            && self.held.is_none()
            && self.unavailable.is_none()
            && !self.cancelled
    }

    /// Returns true when no file or symlink changed.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.added + self.modified + self.moved + self.missing + self.restored + self.forgotten == 0
    }
}

/// Stops a scan from another thread. Clones stop together.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the scan to stop; it does so at the next directory or block of a file. Callable from
    /// any thread and from a signal handler.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns true after [`CancelToken::cancel`].
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a scan is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Listing and looking.
    Walk,
    /// Reading content.
    Hash,
    /// Writing and publishing.
    Commit,
}

impl Phase {
    /// Returns `walk`, `hash` or `commit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::Hash => "hash",
            Self::Commit => "commit",
        }
    }
}

/// How far a scan has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Name of the root.
    pub root: String,
    /// What it is doing.
    pub phase: Phase,
    /// Directories listed so far.
    pub dirs: u64,
    /// Files and symlinks looked at, or in [`Phase::Hash`] read, so far.
    pub files: u64,
    /// Bytes of the files looked at, or read, so far.
    pub bytes: u64,
    /// Files expected: known from the last scan, or to be read.
    pub estimate_files: Option<u64>,
    /// Files a second since the phase began.
    pub files_per_s: f64,
    /// Milliseconds to go, where there is an estimate.
    pub eta_ms: Option<u64>,
}

type ProgressFn = dyn Fn(&Progress) + Send + Sync;

/// What a scan needs besides its options: whom to tell, and who may stop it.
#[derive(Clone, Default)]
pub struct ScanContext {
    progress: Option<Arc<ProgressFn>>,
    cancel: CancelToken,
}

impl ScanContext {
    /// Tells nobody and cannot be stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `progress` about ten times a second, from the threads of the scan, never two at once.
    #[must_use]
    pub fn progress(mut self, progress: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Sets the token that stops the scan.
    #[must_use]
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The same, and `more` is told of the progress too.
    pub(crate) fn also_tell(&self, more: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        let first = self.progress.clone();
        let progress = move |progress: &Progress| {
            if let Some(first) = &first {
                first(progress);
            }
            more(progress);
        };
        Self { progress: Some(Arc::new(progress)), cancel: self.cancel.clone() }
    }
}

impl std::fmt::Debug for ScanContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanContext").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

/// Counters that all threads of one scan share.
pub(crate) struct Tally {
    root: String,
    context: ScanContext,
    estimate: u64,
    pub(crate) dirs: AtomicU64,
    pub(crate) files: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) special: AtomicU64,
    pub(crate) unchanged: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    /// Names left out by ignore rules or because another root owns them.
    pub(crate) ignored: AtomicU64,
    errors: AtomicU64,
    /// Every path of which something remained unknown; `kept` holds only the first.
    blind: Mutex<Vec<Vec<u8>>>,
    kept: Mutex<Vec<ScanError>>,
    told: Mutex<(Instant, Instant, Phase)>,
}

impl Tally {
    pub(crate) fn new(root: &str, context: &ScanContext, estimate: u64) -> Self {
        let now = Instant::now();
        Self {
            root: root.to_owned(),
            context: context.clone(),
            estimate,
            dirs: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            special: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            blind: Mutex::default(),
            errors: AtomicU64::new(0),
            kept: Mutex::default(),
            told: Mutex::new((now, now, Phase::Walk)),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.context.is_cancelled()
    }

    pub(crate) fn error(&self, path: &[u8], kind: ErrorKind, message: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.blind.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_vec());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < ERRORS_KEPT {
            let path = crate::path::join(self.root.as_bytes(), path);
            kept.push(ScanError { path, kind, message });
        }
    }

    /// Counts something that the engine itself refuses: `cannot DOING ROOT/path: why`.
    pub(crate) fn refuse(&self, doing: &str, path: &[u8], kind: ErrorKind, why: &str) {
        let shown = escape(&crate::path::join(self.root.as_bytes(), path));
        self.error(path, kind, format!("cannot {doing} `{shown}`: {why}"));
    }

    /// Counts an error of the operating system at a path below the root.
    pub(crate) fn io_error(&self, doing: &str, path: &[u8], error: rustix::io::Errno) {
        let io = std::io::Error::from(error);
        let error = Error::io(doing, crate::path::join(self.root.as_bytes(), path), io);
        self.error(path, error.kind(), error.message().to_owned());
    }

    /// Paths of which something remained unknown, in path order.
    pub(crate) fn blind(&self) -> Vec<Vec<u8>> {
        let mut paths = self.blind.lock().unwrap_or_else(PoisonError::into_inner).clone();
        paths.sort_by(|a, b| crate::path::compare(a, b));
        paths
    }

    pub(crate) fn error_count(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Tells the caller how far the scan has come, if it is time again.
    pub(crate) fn tell(&self, phase: Phase, done: (u64, u64), of: Option<u64>) {
        let Some(progress) = &self.context.progress else { return };
        let Ok(mut told) = self.told.try_lock() else { return };
        let now = Instant::now();
        if told.2 != phase {
            *told = (now, now, phase);
        } else if now.duration_since(told.1) < PROGRESS_EVERY {
            return;
        }
        told.1 = now;
        let seconds = now.duration_since(told.0).as_secs_f64();
        let (files, bytes) = done;
        let estimate_files = of.or(Some(self.estimate).filter(|&n| n > 0));
        let files_per_s = if seconds > 0.0 { files as f64 / seconds } else { 0.0 };
        let eta_ms = estimate_files
            .filter(|_| files_per_s > 0.0)
            .map(|n| (n.saturating_sub(files) as f64 / files_per_s * 1000.0) as u64);
        let dirs = self.dirs.load(Ordering::Relaxed);
        let root = self.root.clone();
        progress(&Progress { root, phase, dirs, files, bytes, estimate_files, files_per_s, eta_ms });
    }

    pub(crate) fn tell_walk(&self) {
        let done = (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        self.tell(Phase::Walk, done, None);
    }

    /// Copies the counters into the report.
    pub(crate) fn write(&self, report: &mut Report) {
        report.dirs = self.dirs.load(Ordering::Relaxed);
        report.files = self.files.load(Ordering::Relaxed);
        report.bytes = self.bytes.load(Ordering::Relaxed);
        report.special = self.special.load(Ordering::Relaxed);
        report.unchanged = self.unchanged.load(Ordering::Relaxed);
        report.corrupt = self.corrupt.load(Ordering::Relaxed);
        report.errors = self.error_count();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.sort_by(|a, b| crate::path::compare(&a.path, &b.path));
        report.first_errors = kept;
    }
}
