//! Scanning one root: guard, walk, plan, commit. ARCHITECTURE.md maps each rule of a scan to its
//! place here.

mod compare;
mod content;
mod context;
mod fd;
mod links;
mod moves;
mod new_dir;
mod plan;
mod portable;
mod report;
mod start;
mod turn;
mod verify;
mod walk;

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::ThreadPool;

use crate::commit::{Engine, RootChange, ScanBatch, Task, record_differs};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::ignore::IgnoreRules;
use crate::operation::{Counts, Operation, OperationKind, OperationStatus};
use crate::options::{ContentHash, Publish, ScanMode, ScanOptions, Walker};
use crate::path::escape;
use crate::root::{self, OwnFiles};
use crate::root_record::{RootRecord, RootState};
use crate::snapshot::RootView;
use crate::testing;

pub use report::{CancelToken, Held, Phase, Progress, Report, ScanContext, ScanError, Timings};
pub use verify::{Difference, DifferenceKind, VerifyReport};

pub(crate) use verify::verify;

pub(crate) use context::{Escort, Reads};
pub(crate) use start::{Look, Target};
pub(crate) use turn::{Scanner, THREADS_MAX};

use context::{Context, Found, Walk};
use plan::{Planned, Unplanned};
use report::Tally;
use turn::PoolKey;

/// Times a scan is begun when the root is changed under it.
const TRIES_MAX: u32 = 3;
/// Directories of one batch of a progressive scan, about.
const PROGRESSIVE_DIRS: usize = 2_000;

/// Directories with changes that the live engine is told of at most.
const CHANGED_MAX: usize = 1_024;

/// What the live engine gives a scan on its way.
#[derive(Default)]
pub(crate) struct Errand {
    /// How it is called in the history; `None` for a scan that the program asked for.
    pub(crate) kind: Option<OperationKind>,
    pub(crate) escort: Option<Arc<dyn Escort>>,
    /// What is gone was deleted: somebody watched it go. Nothing is held then.
    pub(crate) losses_proven: bool,
    pub(crate) nice: i32,
    /// Directories in which something changed; the first of them, filled by the scan.
    pub(crate) changed: Mutex<Vec<Vec<u8>>>,
    /// Files with several names that the look before found changed.
    pub(crate) linked_before: HashSet<u64>,
    /// Those that this one found, with their known names; filled by the scan.
    pub(crate) linked: Mutex<links::Linked>,
}

impl Errand {
    /// What the scan found is in the snapshot.
    fn applied(&self, target: Target<'_>) {
        let Some(escort) = &self.escort else { return };
        escort.applied();
        // To a look its events are no news: what was written through one name has been taken up here under that
        // one, after the others were seen or without seeing them. Looks tell the live engine themselves.
        let linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(target, Target::Looks(_)) && linked.names.len() <= links::NAMES_MAX {
            linked.names.iter().for_each(|(dir, name)| escort.again(dir, name));
        }
    }
}

/// One scan of one root.
struct Run<'a> {
    engine: &'a Engine,
    view: Arc<RootView>,
    options: &'a ScanOptions,
    context: &'a ScanContext,
    pool: Arc<ThreadPool>,
    target: Target<'a>,
    errand: Option<&'a Errand>,
    started: Instant,
    start_ns: i64,
}

/// Scans a root or part of it, and applies the result; subscribers are told. An unavailable or held
/// root is said in the report, not an error.
pub(crate) fn scan(
    engine: &Arc<Engine>,
    scanner: &Scanner,
    name: &str,
    target: Target<'_>,
    (options, context): (&ScanOptions, &ScanContext),
    errand: Option<&Errand>,
) -> Result<Report> {
    if matches!(target, Target::Looks(_)) {
        return in_turn(engine, scanner, name, target, (options, context), errand);
    }
    let root = engine.root(name.as_bytes())?.record.name.clone();
    let kind = match target {
        Target::Subtree(b"") => kind(Target::Whole, options.mode, errand),
        target => kind(target, options.mode, errand),
    };
    let heard = engine.hub.is_heard().then(|| context.also_tell(tell_progress(engine)));
    engine.hub.tell(Event::ScanStarted { root: root.clone(), kind });
    let given = (options, heard.as_ref().unwrap_or(context));
    let result = in_turn(engine, scanner, name, target, given, errand);
    let failed;
    let report = match &result {
        Ok(report) => report,
        Err(error) => {
            failed = Report::failed(name, options.mode, engine.load().seq(), error);
            &failed
        }
    };
    engine.hub.tell(Event::ScanFinished {
        root,
        kind,
        status: report.status(),
        seq: report.seq,
        counts: report.counts(),
        elapsed_ms: report.elapsed_ms,
    });
    result
}

fn tell_progress(engine: &Arc<Engine>) -> impl Fn(&Progress) + Send + Sync + 'static + use<> {
    let engine = Arc::clone(engine);
    move |progress| {
        engine.hub.tell(Event::ScanProgress {
            root: progress.root.clone(),
            phase: progress.phase.name(),
            dirs: progress.dirs,
            files: progress.files,
            bytes: progress.bytes,
            estimate_files: progress.estimate_files,
            eta_ms: progress.eta_ms,
        });
    }
}

/// Waits for other scans of the root, then scans it.
fn in_turn(
    engine: &Engine,
    scanner: &Scanner,
    name: &str,
    target: Target<'_>,
    (options, context): (&ScanOptions, &ScanContext),
    errand: Option<&Errand>,
) -> Result<Report> {
    let root = engine.root(name.as_bytes())?;
    let Some(_one_at_a_time) = scanner.take_turn(root.record.id, || context.is_cancelled()) else {
        let mut report = Report::new(name, options.mode, engine.load().seq());
        report.cancelled = true;
        return Ok(report);
    };
    let threads = if options.threads == 0 { engine.options.threads } else { options.threads };
    let nice = errand.map_or(0, |errand| errand.nice);
    let pool = scanner.pool(PoolKey { threads, nice, looks: matches!(target, Target::Looks(_)) })?;
    let heard = errand.is_some_and(|errand| errand.losses_proven);
    let mut tries = 0;
    loop {
        tries += 1;
        // Taken again each time: no other scan of this root can change it now, but retention and a
        // change of its options can.
        let view = engine.root(name.as_bytes())?;
        let run = Run {
            engine,
            target: match target {
                // A root that has never been scanned has no parts yet.
                _ if view.live.head.is_unread => Target::Whole,
                // Parts that keep changing are not looked at for ever. Who watched what is gone asks for that himself.
                Target::Looks(_) if tries == TRIES_MAX && !heard => Target::Whole,
                Target::Subtree(b"") => Target::Whole,
                target => target,
            },
            view,
            options,
            context,
            pool: Arc::clone(&pool),
            errand,
            started: Instant::now(),
            start_ns: engine.options.clock.now_ns(),
        };
        // A panic in one scan must not take the program along; nothing was applied.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.run()));
        match result {
            Ok(Err(error)) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                tracing::debug!(%error, tries, "the scan is repeated");
            }
            Ok(result) => {
                if let (Ok(report), Some(errand)) = (&result, errand)
                    && report.is_applied()
                {
                    errand.applied(target);
                }
                return result;
            }
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
        self.walker().walk(&context, start::starts(self.target, &self.view, &guarded));
        let found = std::mem::take(&mut *context.found.lock().unwrap_or_else(PoisonError::into_inner));
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
        if let Some(errand) = self.errand.filter(|errand| errand.escort.is_some()) {
            let linked = links::linked(&self.view, &found, &errand.linked_before);
            *errand.linked.lock().unwrap_or_else(PoisonError::into_inner) = linked;
        }
        let now = self.engine.options.clock.now_ns();
        let planned = match plan::plan(&self.view, &context, found, &self.pool, now) {
            Ok(planned) => planned,
            Err(Unplanned::Cancelled) => return Ok(self.cancelled(report)),
            Err(Unplanned::Twice(path)) => {
                let shown = escape(&path);
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("`{shown}` changed while it was looked at"),
                ));
            }
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

    fn is_whole(&self) -> bool {
        matches!(self.target, Target::Whole)
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
            losses_proven: self.errand.is_some_and(|errand| {
                // Nobody watched go what a held scan has found missing, nor what lies beside the looks.
                let heard_of_all = !(self.is_whole() && errand.kind == Some(OperationKind::Live));
                errand.losses_proven && heard_of_all && !matches!(record.state, RootState::Held { .. })
            }),
            is_look: matches!(self.target, Target::Looks(_)),
            escort: self.errand.and_then(|errand| errand.escort.clone()),
            rules_unchanged: self.options.mode == ScanMode::Quick
                && record.rules_digest == rules_digest(record, &nested),
            ignorer,
            nested,
            own_files: OwnFiles::of(&record.path, self.engine.store.path()),
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
            // Watched directories are watched first and read then, which jwalk does not allow.
            _ if self.errand.is_some_and(|errand| errand.escort.is_some()) => Box::new(fd::FdWalk { pool }),
            Walker::Auto | Walker::Fd => Box::new(fd::FdWalk { pool }),
            Walker::Jwalk => Box::new(portable::PortableWalk { pool, root: self.view.record.path.clone() }),
        }
    }

    /// A root that held entries and is empty now is more likely not mounted than emptied.
    fn not_emptied(&self, report: &Report, context: &Context) -> Result<(), String> {
        let known = self.view.live.totals;
        let ignored = context.tally.ignored.load(Ordering::Relaxed);
        let seen = report.files + report.special + report.errors + ignored;
        let empty = report.dirs <= 1 && seen == 0;
        let trusted = self.options.accept_missing || context.losses_proven;
        if !self.is_whole() || trusted || !empty || known.files + known.dirs == 0 {
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
        if self.is_whole() {
            // A part that could not be read keeps the rules from counting as applied, but not the
            // root from being taken up: that would switch the guard's finer checks off for good.
            record.adopt = false;
            if report.errors == 0 {
                record.rules_digest = rules_digest(&record, &context.nested);
            }
            // What a rebuild lost may lie where this scan could not look.
            record.rebuilt &= report.errors > 0 && !self.options.accept_missing;
            if record.rebuilt {
                record.state = RootState::New;
            }
        } else {
            // Part of a root says nothing about the whole.
            record.state = self.view.record.state.clone();
        }
        record
    }

    fn operation(&self, counts: Counts, status: OperationStatus, error: Option<String>) -> Operation {
        Operation {
            id: 0,
            kind: kind(self.target, self.options.mode, self.errand),
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
        if let Some(errand) = self.errand {
            let changed = planned.live.iter().take(CHANGED_MAX).map(|edit| edit.path.clone());
            errand.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
        }
        if planned.is_empty() && !record_differs(&self.view.record, &record) {
            report.elapsed_ms = self.elapsed_ms();
            return Ok(report);
        }
        context.tally.tell(Phase::Commit, (report.files, report.bytes), None);
        testing::pass("scan:before-commit");
        let counts = Counts { errors: report.errors, ..planned.counts };
        let status = if report.errors > 0 { OperationStatus::Partial } else { OperationStatus::Ok };
        let error = report.first_errors.first().map(|e| e.message.clone());
        let is_back = !matches!(self.view.record.state, RootState::New | RootState::Ready)
            && record.state == RootState::Ready;
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
        if is_back {
            self.engine.hub.tell(Event::RootBack { root: self.view.record.name.clone() });
        }
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
        let root = self.view.record.name.clone();
        let event = match &state {
            RootState::Held { missing, of } => Event::RootHeld { root, missing: *missing, of: *of },
            _ => Event::RootUnavailable { root, reason: why.clone() },
        };
        let counts = Counts { errors: report.errors, ..Counts::default() };
        let operation = self.operation(counts, status, Some(why));
        let change = RootChange::new(self.view.record.id, move |record| record.state = state);
        report.seq = self.engine.submit(Task::ChangeRoot(change, Some(Box::new(operation))))?;
        report.published = true;
        // Who hears of it can see it.
        self.engine.hub.tell(event);
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
            && self.is_whole()
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
        let starts = start::starts(Target::Whole, &self.view, guarded);
        let (finished, finish) = crossbeam_channel::bounded::<()>(0);
        let walker = self.walker();
        let mut view = Arc::clone(&self.view);
        let mut counts = Counts::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                walker.walk(context, starts);
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
            now.rebuilt = record.rebuilt;
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

fn kind(target: Target<'_>, mode: ScanMode, errand: Option<&Errand>) -> OperationKind {
    match (errand.and_then(|errand| errand.kind), target, mode) {
        (Some(kind), _, _) => kind,
        (None, Target::Subtree(_) | Target::Looks(_), _) => OperationKind::Subtree,
        (None, Target::Whole, ScanMode::Quick) => OperationKind::Quick,
        (None, Target::Whole, ScanMode::Full) => OperationKind::Full,
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
