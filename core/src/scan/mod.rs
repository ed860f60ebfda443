//! Scanning one root: guard, walk, plan, commit. ARCHITECTURE.md maps each rule of a scan to its
//! place here.

mod compare;
mod content;
mod fd;
mod moves;
mod new_dir;
mod plan;
mod portable;
mod report;
mod verify;
mod walk;

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::commit::{Engine, RootChange, ScanBatch, Task, record_differs};
use crate::error::{Error, ErrorKind, Result};
use crate::ignore::IgnoreRules;
use crate::operation::{Counts, Operation, OperationKind, OperationStatus};
use crate::options::{ContentHash, Publish, ScanMode, ScanOptions, Walker};
use crate::path::{self, escape};
use crate::root;
use crate::root_record::{RootRecord, RootState};
use crate::snapshot::{DirNode, RootView};
use crate::{sys, testing};

pub use report::{CancelToken, Held, Phase, Progress, Report, ScanContext, ScanError, Timings};
pub use verify::{Difference, DifferenceKind, VerifyReport};

pub(crate) use verify::verify;

use plan::Planned;
use report::Tally;
use walk::{Context, Found, Start, Walk};

/// Times a scan is begun when the root is changed under it.
const TRIES_MAX: u32 = 3;
/// Directories of one batch of a progressive scan, about.
const PROGRESSIVE_DIRS: usize = 2_000;

/// What scans need besides the engine; lives as long as the warden.
#[derive(Default)]
pub(crate) struct Scanner {
    /// One pool for each number of threads that was asked for.
    pools: Mutex<HashMap<usize, Arc<ThreadPool>>>,
    /// One scan of a root at a time.
    locks: Mutex<HashMap<u32, Arc<Mutex<()>>>>,
}

impl Scanner {
    fn pool(&self, threads: usize) -> Result<Arc<ThreadPool>> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = if threads == 0 { cores } else { threads.min(256) };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&threads) {
            return Ok(Arc::clone(pool));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("tw-scan-{n}"))
            .build()
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start the threads of a scan: {e}")))?;
        let pool = Arc::new(pool);
        pools.insert(threads, Arc::clone(&pool));
        Ok(pool)
    }

    fn lock(&self, root: u32) -> Arc<Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(root).or_default())
    }
}

/// One scan of one root.
struct Run<'a> {
    engine: &'a Engine,
    view: Arc<RootView>,
    options: &'a ScanOptions,
    context: &'a ScanContext,
    pool: Arc<ThreadPool>,
    /// Relative path, or `None` for the whole root.
    subtree: Option<&'a [u8]>,
    started: Instant,
    start_ns: i64,
}

/// Scans one root, or one subtree of it, and applies the result. An unavailable or held root is
/// said in the report, not an error.
pub(crate) fn scan(
    engine: &Engine,
    scanner: &Scanner,
    name: &str,
    subtree: Option<&[u8]>,
    options: &ScanOptions,
    context: &ScanContext,
) -> Result<Report> {
    let root = engine.root(name.as_bytes())?;
    let lock = scanner.lock(root.record.id);
    let _one_at_a_time = lock.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = if options.threads == 0 { engine.options.threads } else { options.threads };
    let pool = scanner.pool(threads)?;
    let mut tries = 0;
    loop {
        tries += 1;
        // Taken again each time: no other scan of this root can change it now, but retention and a
        // change of its options can.
        let view = engine.root(name.as_bytes())?;
        let run = Run {
            engine,
            // A root that has never been scanned has no parts yet.
            subtree: subtree.filter(|s| !s.is_empty() && !view.live.head.is_unread),
            view,
            options,
            context,
            pool: Arc::clone(&pool),
            started: Instant::now(),
            start_ns: engine.options.clock.now_ns(),
        };
        // A panic in one scan must not take the program along; nothing was applied.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.run()));
        match result {
            Ok(Err(error)) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                tracing::debug!(%error, tries, "the scan is repeated");
            }
            Ok(result) => return result,
            Err(_) => {
                let why = "a thread of the scan panicked; what it found was not applied";
                return Err(Error::new(ErrorKind::Io, why));
            }
        }
    }
}

impl Run<'_> {
    fn run(&self) -> Result<Report> {
        let mut report = Report::new(&self.view.record.name, self.options.mode, self.engine.load().seq());
        let guarded = match root::open(&self.view.record) {
            Ok(guarded) => guarded,
            Err(reason) => return self.unavailable(report, reason),
        };
        let context = Arc::new(self.walk_context(&guarded)?);
        if self.is_progressive() {
            return self.progressive(report, &guarded, &context);
        }
        let found = match self.start(&guarded) {
            Some(start) => {
                self.walker().walk(&context, start);
                std::mem::take(&mut *context.found.lock().unwrap_or_else(PoisonError::into_inner))
            }
            None => Vec::new(),
        };
        report.timings.walk_ms = self.elapsed_ms();
        testing::pass("scan:walked");
        context.tally.write(&mut report);
        if self.context.is_cancelled() {
            return Ok(self.cancelled(report));
        }
        if let Err(reason) =
            root::check(&self.view.record, &guarded).and_then(|()| self.not_emptied(&report, &context))
        {
            return self.unavailable(report, reason);
        }
        let now = self.engine.options.clock.now_ns();
        let Ok(planned) = plan::plan(&self.view, &context, found, &self.pool, now) else {
            return Ok(self.cancelled(report));
        };
        context.tally.write(&mut report);
        report.unchanged = report.unchanged.saturating_add_signed(planned.unchanged);
        report.timings.hash_ms = self.elapsed_ms().saturating_sub(report.timings.walk_ms);
        if let Some(held) = planned.held {
            return self.held(report, held);
        }
        let record = self.next_record(&context, &report);
        self.apply(report, planned, record, &context)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn walk_context(&self, guarded: &root::Guarded) -> Result<Context> {
        let record = &self.view.record;
        let ignorer = IgnoreRules::new(record.ignore.iter().cloned())?.compile()?;
        let all = self.engine.load();
        let records = all.tree().into_iter().flat_map(|tree| &tree.roots).map(|r| &*r.record);
        let root_fd =
            guarded.fd.try_clone().map_err(|e| Error::io("open", record.path.as_os_str().as_bytes(), e))?;
        let nested = root::nested(record, records);
        Ok(Context {
            root_fd,
            root_dev: guarded.dev,
            compare: record.compare,
            adopt: record.adopt,
            keeps_hashes: record.content_hash == ContentHash::Changed,
            full: self.options.mode == ScanMode::Full,
            accept_missing: self.options.accept_missing,
            rules_unchanged: self.options.mode == ScanMode::Quick
                && record.rules_digest == rules_digest(record, &nested),
            ignorer,
            nested,
            own_files: own_files(record, self.engine.store.path()),
            tick_ns: root::tick_ns(guarded.identity.fs_type),
            clock: self.engine.options.clock.clone(),
            ids: Arc::clone(&self.engine.ids),
            tally: Tally::new(&record.name, self.context, self.view.live.totals.files),
            found: Mutex::default(),
        })
    }

    fn walker(&self) -> Box<dyn Walk> {
        let pool = Arc::clone(&self.pool);
        match self.options.walker {
            Walker::Auto | Walker::Fd => Box::new(fd::FdWalk { pool }),
            Walker::Jwalk => Box::new(portable::PortableWalk { pool, root: self.view.record.path.clone() }),
        }
    }

    /// Where the walk begins. A subtree begins at its parent, looking at one name alone, so that its
    /// coming and going is seen; a path that is unknown, or leads through a directory that is another
    /// one by now, begins where it is still as known.
    fn start(&self, guarded: &root::Guarded) -> Option<Start> {
        let Some(subtree) = self.subtree else {
            return Some(Start { path: Vec::new(), node: Arc::clone(&self.view.live), only: None });
        };
        let mut node = &self.view.live;
        let mut at: Vec<u8> = Vec::new();
        let mut names = path::components(subtree).peekable();
        while let Some(name) = names.next() {
            let below = path::join(&at, name);
            let same = |kid: &&Arc<DirNode>| {
                names.peek().is_some() && !kid.head.is_unread && self.is_same_dir(guarded, &below, kid)
            };
            match node.kid(name).filter(same) {
                Some(kid) => {
                    node = kid;
                    at = below;
                }
                None => return Some(Start { path: at, node: Arc::clone(node), only: Some(name.to_vec()) }),
            }
        }
        None
    }

    /// True while the directory on disk is the one that is known.
    fn is_same_dir(&self, guarded: &root::Guarded, at: &[u8], node: &DirNode) -> bool {
        let look = sys::open_dir_below(&guarded.fd, at).and_then(sys::look_fd);
        let record = &self.view.record;
        let trusted = record.compare.trusts_inode() && !record.adopt && node.head.stat.inode != 0;
        look.ok()
            .and_then(|look| look.stat)
            .is_some_and(|stat| !trusted || stat.inode == node.head.stat.inode)
    }

    /// A root that held entries and is empty now is more likely not mounted than emptied.
    fn not_emptied(&self, report: &Report, context: &Context) -> Result<(), String> {
        let known = self.view.live.totals;
        let ignored = context.tally.ignored.load(Ordering::Relaxed);
        let seen = report.files + report.special + report.errors + ignored;
        let empty = report.dirs <= 1 && seen == 0;
        if self.subtree.is_some() || self.options.accept_missing || !empty || known.files + known.dirs == 0 {
            return Ok(());
        }
        let shown = escape(self.view.record.path.as_os_str().as_bytes());
        Err(format!(
            "`{shown}` is empty, but {} files are known; is a disk not mounted? If they were deleted on purpose, scan with `accept_missing`",
            known.files
        ))
    }

    fn next_record(&self, context: &Context, report: &Report) -> RootRecord {
        let mut record = (*self.view.record).clone();
        record.state = RootState::Ready;
        record.last_scan_ns = self.engine.options.clock.now_ns();
        if self.subtree.is_none() {
            // A part that could not be read keeps the rules from counting as applied, but not the
            // root from being taken up: that would switch the guard's finer checks off for good.
            record.adopt = false;
            if report.errors == 0 {
                record.rules_digest = rules_digest(&record, &context.nested);
            }
        }
        if self.subtree.is_some() {
            // Part of a root says nothing about the whole.
            record.state = self.view.record.state.clone();
        }
        record
    }

    fn operation(&self, counts: Counts, status: OperationStatus, error: Option<String>) -> Operation {
        let kind = match (self.subtree, self.options.mode) {
            (Some(_), _) => OperationKind::Subtree,
            (None, ScanMode::Quick) => OperationKind::Quick,
            (None, ScanMode::Full) => OperationKind::Full,
        };
        Operation {
            id: 0,
            kind,
            root: self.view.record.name.clone(),
            start_ns: self.start_ns,
            end_ns: self.engine.options.clock.now_ns(),
            seq: 0,
            counts,
            status,
            error,
        }
    }

    fn apply(
        &self,
        mut report: Report,
        planned: Planned,
        record: RootRecord,
        context: &Context,
    ) -> Result<Report> {
        let before = Instant::now();
        report.set_counts(&planned.counts);
        if planned.is_empty() && !record_differs(&self.view.record, &record) {
            report.elapsed_ms = self.elapsed_ms();
            return Ok(report);
        }
        context.tally.tell(Phase::Commit, (report.files, report.bytes), None);
        testing::pass("scan:before-commit");
        let counts = Counts { errors: report.errors, ..planned.counts };
        let status = if report.errors > 0 { OperationStatus::Partial } else { OperationStatus::Ok };
        let error = report.first_errors.first().map(|e| e.message.clone());
        let batch = ScanBatch {
            base: Arc::clone(&self.view),
            live: planned.live,
            gone: planned.gone,
            journal: planned.journal,
            record,
            operation: self.operation(counts, status, error),
            forgotten_ids: planned.forgotten_ids,
            adds_tombstones: planned.adds_tombstones,
        };
        report.seq = self.engine.submit(Task::Scan(Box::new(batch)))?;
        report.published = true;
        report.timings.commit_ms = u64::try_from(before.elapsed().as_millis()).unwrap_or(u64::MAX);
        report.elapsed_ms = self.elapsed_ms();
        Ok(report)
    }

    /// Nothing is applied; the root remembers why, once.
    fn refuse(
        &self,
        report: &mut Report,
        state: RootState,
        status: OperationStatus,
        why: String,
    ) -> Result<()> {
        report.elapsed_ms = self.elapsed_ms();
        if self.view.record.state == state || self.engine.store.is_read_only() {
            return Ok(());
        }
        let counts = Counts { errors: report.errors, ..Counts::default() };
        let operation = self.operation(counts, status, Some(why));
        let change = RootChange::new(self.view.record.id, move |record| record.state = state);
        report.seq = self.engine.submit(Task::ChangeRoot(change, Some(Box::new(operation))))?;
        report.published = true;
        Ok(())
    }

    fn unavailable(&self, mut report: Report, reason: String) -> Result<Report> {
        report.unavailable = Some(reason.clone());
        let state = RootState::Unavailable { reason: reason.clone() };
        self.refuse(&mut report, state, OperationStatus::Unavailable, reason)?;
        Ok(report)
    }

    fn held(&self, mut report: Report, held: Held) -> Result<Report> {
        report.held = Some(held);
        let state = RootState::Held { missing: held.missing, of: held.of };
        let why = format!("{} of {} files would become missing", held.missing, held.of);
        self.refuse(&mut report, state, OperationStatus::Held, why)?;
        Ok(report)
    }

    fn cancelled(&self, mut report: Report) -> Report {
        report.cancelled = true;
        report.elapsed_ms = self.elapsed_ms();
        report
    }

    fn is_progressive(&self) -> bool {
        self.options.publish == Publish::Progressive
            && self.subtree.is_none()
            && self.view.live.head.is_unread
            && self.view.gone.pages.len() == 0
    }

    /// The first scan in batches: additions only, so nothing in it can look like a deletion. The
    /// root counts as scanned with the last one.
    fn progressive(
        &self,
        mut report: Report,
        guarded: &root::Guarded,
        context: &Arc<Context>,
    ) -> Result<Report> {
        let Some(start) = self.start(guarded) else { return Ok(report) };
        let (finished, finish) = crossbeam_channel::bounded::<()>(0);
        let walker = self.walker();
        let mut view = Arc::clone(&self.view);
        let mut counts = Counts::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                walker.walk(context, start);
                drop(finished);
            });
            loop {
                let done = finish
                    .recv_timeout(std::time::Duration::from_millis(50))
                    .is_err_and(|e| e.is_disconnected());
                let mut found = context.found.lock().unwrap_or_else(PoisonError::into_inner);
                if done || found.len() >= PROGRESSIVE_DIRS {
                    let batch = std::mem::take(&mut *found);
                    drop(found);
                    if !batch.is_empty() {
                        let seq = self.publish_batch(&mut view, batch, context, &mut counts)?;
                        report.seq = seq;
                        report.published = true;
                    }
                }
                if done {
                    return Ok::<(), Error>(());
                }
            }
        })?;
        context.tally.write(&mut report);
        report.set_counts(&counts);
        report.timings.walk_ms = self.elapsed_ms();
        if self.context.is_cancelled() {
            return Ok(self.cancelled(report));
        }
        if let Err(reason) = root::check(&self.view.record, guarded) {
            return self.unavailable(report, reason);
        }
        let record = self.next_record(context, &report);
        let hash_next = record.content_hash == ContentHash::Changed;
        let status = if report.errors > 0 { OperationStatus::Partial } else { OperationStatus::Ok };
        let operation = self.operation(counts, status, None);
        let change = RootChange::new(record.id, move |now| {
            now.state = record.state;
            now.last_scan_ns = record.last_scan_ns;
            now.rules_digest = record.rules_digest;
            now.adopt = record.adopt;
        });
        report.seq = self.engine.submit(Task::ChangeRoot(change, Some(Box::new(operation))))?;
        report.published = true;
        if hash_next {
            // Content is read in a second pass over what is known by now.
            let view = self.engine.root(self.view.record.name.as_bytes())?;
            let second = Run { view, pool: Arc::clone(&self.pool), ..*self }.run()?;
            report.seq = second.seq;
            report.errors = second.errors;
            report.first_errors = second.first_errors;
            report.cancelled = second.cancelled;
        }
        report.elapsed_ms = self.elapsed_ms();
        Ok(report)
    }

    fn publish_batch(
        &self,
        view: &mut Arc<RootView>,
        found: Vec<Found>,
        context: &Arc<Context>,
        counts: &mut Counts,
    ) -> Result<u64> {
        let planned = plan::plan_first(context, &view.record.name, found, &self.pool);
        counts.added += planned.counts.added;
        let batch = ScanBatch {
            base: Arc::clone(view),
            live: planned.live,
            gone: Vec::new(),
            journal: planned.journal,
            record: (*view.record).clone(),
            operation: self.operation(planned.counts, OperationStatus::Ok, None),
            forgotten_ids: Vec::new(),
            adds_tombstones: false,
        };
        let seq = self.engine.submit(Task::Scan(Box::new(batch)))?;
        *view = self.engine.root(self.view.record.name.as_bytes())?;
        Ok(seq)
    }
}

/// Equal as long as every known entry has been held against the rules in force: the patterns, and
/// the directories that belong to other roots.
fn rules_digest(record: &RootRecord, nested: &[Vec<u8>]) -> u64 {
    let mut text = record.ignore.join("\n").into_bytes();
    for path in nested {
        text.push(0);
        text.extend_from_slice(path);
    }
    crate::hash::digest(&text)
}

/// Where the engine's own files lie, if that is inside the root.
fn own_files(record: &RootRecord, state_file: &std::path::Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let dir = state_file.parent()?;
    let root = record.path.canonicalize().ok()?;
    let below = dir.strip_prefix(&root).ok()?;
    Some((below.as_os_str().as_bytes().to_vec(), state_file.file_name()?.as_bytes().to_vec()))
}
