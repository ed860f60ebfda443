//! The thread of one root: takes the next step, looks through the scanner, and notes what came of it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::commit::{Engine, RootChange, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Coverage, Event};
use crate::operation::OperationKind;
use crate::options::{ScanMode, ScanOptions};
use crate::path::{escape, split_last};
use crate::root;
use crate::scan::{self, Errand, Escort, Look, Report, ScanContext, Scanner, Target};
use crate::snapshot::RootView;
use crate::testing;

use super::backend::{Backend, Uncovered};
use super::mounts;
use super::options::WatchMode;
use super::pressure::Pace;
use super::root::{Rescan, Root, State, Step, Why};

/// Where Linux tells how long work waits for processor, memory and disk.
const PRESSURE_DIR: &str = "/proc/pressure";

/// How scans of the engine's own are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manners {
    pub(super) threads: usize,
    pub(super) nice: i32,
    pub(super) yields: bool,
}

/// One root's thread.
pub(super) struct Worker {
    pub(super) root: Arc<Root>,
    pub(super) engine: Arc<Engine>,
    pub(super) scanner: Arc<Scanner>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) manners: Arc<Mutex<Manners>>,
}

/// Goes along with a walk: watches each directory before it is read, and keeps the pace.
pub(super) struct Companion {
    root: Arc<Root>,
    /// `None` where directories are not watched.
    backend: Option<Arc<dyn Backend>>,
    pace: Pace,
    /// Directories that were polled so far, are watched now, and were read since.
    covered: Mutex<Vec<Vec<u8>>>,
}

impl Companion {
    pub(super) fn new(root: Arc<Root>, backend: Option<Arc<dyn Backend>>, pace: Pace) -> Self {
        Self { root, backend, pace, covered: Mutex::default() }
    }

    fn shown(&self, dir: &[u8]) -> String {
        format!("`{}`", escape(&crate::path::join(self.root.name.as_bytes(), dir)))
    }
}

impl Escort for Companion {
    fn enter(&self, dir: &[u8], fd: BorrowedFd<'_>, whole: bool) {
        if let Some(backend) = &self.backend {
            match backend.cover(self.root.id, dir, fd) {
                Ok(()) if whole && self.root.is_blind_at(dir) => {
                    self.covered.lock().unwrap_or_else(PoisonError::into_inner).push(dir.to_vec());
                }
                Ok(()) | Err(Uncovered::Gone) => {}
                Err(Uncovered::Limit) => {
                    let why =
                        "there are no more watches: the limit that was set, or `fs.inotify.max_user_watches`";
                    self.root.note_blind(dir, why.to_owned());
                }
                Err(Uncovered::Denied(why)) => {
                    self.root.note_blind(dir, format!("{} cannot be watched: {why}", self.shown(dir)));
                }
            }
        }
        self.pace.step();
    }

    fn missed(&self, dir: &[u8]) {
        let (above, name) = split_last(dir);
        self.root.again(above, name);
    }

    fn refused(&self, dir: &[u8], why: &str) {
        if self.backend.is_some() {
            self.root.note_blind(dir, format!("{} cannot be opened: {why}", self.shown(dir)));
        }
    }

    fn applied(&self) {
        let covered = std::mem::take(&mut *self.covered.lock().unwrap_or_else(PoisonError::into_inner));
        self.root.note_covered(&covered);
    }
}

impl Worker {
    pub(super) fn run(&self) {
        self.choose_mode();
        self.backend.add_root(self.root.id, &self.root.path);
        self.root.tell(|state| state.mounts = mounts::below(&self.root.path));
        loop {
            match self.root.next_step() {
                Step::Stop => break,
                Step::Wait(_) => {}
                Step::Guard => self.guard(),
                Step::Scan(why) => self.scan(why),
                Step::Look(looks) => self.look(looks, true),
                Step::Poll(looks) => self.poll(looks),
            }
        }
        self.backend.remove_root(self.root.id);
        self.root.settle();
    }

    fn view(&self) -> Option<Arc<RootView>> {
        self.engine.load().tree()?.root_by_id(self.root.id).map(Arc::clone)
    }

    /// Watched or polled: by what was asked for, the file system, and whether events arrive at all.
    fn choose_mode(&self) {
        let Some(view) = self.view() else { return };
        let mode = self.root.lock().watch.mode;
        let fs_type = view.record.identity.fs_type;
        let why = match mode {
            WatchMode::Poll => Some("polling was asked for".to_owned()),
            WatchMode::Auto if root::is_remote(fs_type) => {
                let name = root::fs_name(fs_type);
                Some(format!(
                    "{name} reports only what this machine does; it is polled unless watching is asked for"
                ))
            }
            WatchMode::Auto | WatchMode::Native => match root::open(&view.record) {
                Ok(guarded) if !super::probe::delivers(guarded.fd.as_fd()) => {
                    Some("no events arrive from this file system, or none in this sandbox".to_owned())
                }
                _ => None,
            },
        };
        let coverage = if why.is_some() { Coverage::Polling } else { Coverage::Native };
        self.root.tell(|state| {
            state.polls = why.is_some();
            state.coverage = coverage;
            state.reason.clone_from(&why);
            state.why_polls = why.clone();
        });
        if why.is_some() {
            self.tell(Event::CoverageChanged { root: self.root.name.clone(), coverage, reason: why });
        }
    }

    fn tell(&self, event: Event) {
        self.engine.hub.tell(event);
    }

    fn manners(&self) -> Manners {
        *self.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a scan of the root or of parts of it.
    fn run_scan(
        &self,
        target: Target<'_>,
        kind: OperationKind,
        mode: ScanMode,
        proven: bool,
    ) -> (Result<Report>, Errand) {
        let manners = self.manners();
        let (polls, cancel, hurry) = {
            let state = self.root.lock();
            (state.polls, state.cancel.clone(), state.asked > state.done)
        };
        // Whoever waits for the answer, and a look at a few names, does not give way.
        let yields = manners.yields && !hurry && matches!(target, Target::Whole);
        let backend = (!polls).then(|| Arc::clone(&self.backend));
        let pace = Pace::new(PRESSURE_DIR.into(), yields);
        let companion = Companion::new(Arc::clone(&self.root), backend, pace);
        let errand = Errand {
            kind: Some(kind),
            escort: Some(Arc::new(companion)),
            losses_proven: proven,
            nice: manners.nice,
            changed: Mutex::default(),
            linked: Mutex::default(),
        };
        let options = ScanOptions::new().mode(mode).threads(manners.threads);
        let context = ScanContext::new().cancel(cancel);
        let given = (&options, &context);
        let result = scan::scan(&self.engine, &self.scanner, &self.root.name, target, given, Some(&errand));
        (result, errand)
    }

    fn scan(&self, why: Why) {
        let began = self.root.clock.mono_ns();
        let (native, heard) = {
            let mut state = self.root.lock();
            // All of it is about to be read; what is heard from here on comes on top.
            let heard = state.dirty.take_all();
            (!state.polls && state.coverage == Coverage::Native, heard)
        };
        let stamp = self.backend.stamp();
        // While a root was watched without a gap, what is gone was deleted.
        let proven = match why {
            Why::Lost => native,
            Why::Recreated => true,
            _ => false,
        };
        let (result, errand) = self.run_scan(Target::Whole, why.kind(), why.mode(), proven);
        testing::pass("live:scanned");
        let now = self.root.clock.mono_ns();
        let again = Rescan { why, due_ns: now };
        match result {
            Err(error) => self.failed(error, |state| {
                state.rescan.get_or_insert(again);
            }),
            Ok(report) if report.cancelled => self.root.tell(|state| {
                state.rescan.get_or_insert(again);
            }),
            Ok(Report { unavailable: Some(reason), published, .. }) => {
                self.unavailable(now, reason, published);
            }
            Ok(report) => {
                if report.errors == 0 && !self.root.lock().polls {
                    self.backend.sweep_all(self.root.id, stamp);
                }
                let wall = self.root.clock.now_ns();
                let is_whole = report.held.is_none() && report.errors == 0;
                let was_coherent = self.root.tell(|state| {
                    state.succeeded();
                    if !is_whole {
                        // It was not applied, or not all of it was read: what was heard still holds.
                        state.dirty.put_back(heard, now);
                    }
                    state.scanned(why, wall);
                    if state.polls || why == Why::Poll {
                        state.polled(began, now);
                    }
                    for dir in &*errand.changed.lock().unwrap_or_else(PoisonError::into_inner) {
                        state.heat.looked(dir, true, now);
                    }
                    let is_known = state.rescan.is_none();
                    std::mem::replace(&mut state.coherent, is_known) || !is_known || report.held.is_some()
                });
                if why == Why::Full {
                    self.note_full(wall);
                }
                if !was_coherent {
                    self.tell(Event::Coherent { root: self.root.name.clone() });
                }
                self.update_coverage();
            }
        }
    }

    /// When a root was last read in full outlives the process, so that a weekly scan is not put off by
    /// daily restarts.
    fn note_full(&self, wall: i64) {
        if self.root.lock().timers.full.is_none() {
            return;
        }
        let change = RootChange::new(self.root.id, move |record| record.last_full_ns = wall);
        if let Err(error) = self.engine.submit(Task::ChangeRoot(change, None)) {
            tracing::warn!(%error, "the time of a full scan was not noted");
        }
    }

    /// Looks at some places. `heard`: events told of them, so what is gone was deleted.
    fn look(&self, looks: Vec<Look>, heard: bool) {
        let stamp = self.backend.stamp();
        let (result, errand) =
            self.run_scan(Target::Looks(&looks), OperationKind::Live, ScanMode::Quick, heard);
        let now = self.root.clock.mono_ns();
        match result {
            Err(error) => self.failed(error, |state| {
                if heard {
                    state.dirty.put_back(looks, now);
                }
            }),
            Ok(report) if report.cancelled => self.root.tell(|state| {
                if heard {
                    state.dirty.put_back(looks, now);
                }
            }),
            Ok(Report { unavailable: Some(reason), published, .. }) => {
                self.unavailable(now, reason, published);
            }
            Ok(_) => {
                self.backend.sweep(self.root.id, stamp);
                let changed = errand.changed.into_inner().unwrap_or_else(PoisonError::into_inner);
                let linked = errand.linked.into_inner().unwrap_or_else(PoisonError::into_inner);
                self.root.tell(|state| {
                    state.succeeded();
                    for (dir, name) in &linked {
                        // At once: it is one change, seen from another side.
                        state.dirty.name(dir, name, false, i64::MIN);
                    }
                    if !heard {
                        for look in &looks {
                            state.heat.looked(&look.path, changed.contains(&look.path), now);
                        }
                    }
                });
                if self.root.has_blind.load(Ordering::Acquire) {
                    self.update_coverage();
                }
            }
        }
    }

    /// Looks at what nothing is heard of: hot directories where there are any, else all of it.
    fn poll(&self, hot: Vec<Look>) {
        if !hot.is_empty() {
            return self.look(hot, false);
        }
        let began = self.root.clock.mono_ns();
        let polls = self.root.lock().polls;
        let dirs = {
            let mut blind = self.root.blind();
            if let Some(view) = self.view() {
                blind.dirs.retain(|dir| view.live.descend(dir).is_some());
            }
            if polls || blind.many {
                // Those that can be watched by now drop out as they are read.
                blind.many = false;
                None
            } else {
                Some(blind.dirs.iter().cloned().collect::<Vec<_>>())
            }
        };
        match dirs {
            None => self.scan(Why::Poll),
            Some(dirs) => {
                let look = |path| Look { path, listing: true, ..Look::default() };
                self.look(dirs.into_iter().map(look).collect(), false);
            }
        }
        let now = self.root.clock.mono_ns();
        self.root.tell(|state| state.polled(began, now));
        self.update_coverage();
    }

    fn failed(&self, error: Error, change: impl FnOnce(&mut State)) {
        if matches!(error.kind(), ErrorKind::Closed | ErrorKind::NotFound) {
            // The warden ends, or the root was removed: the thread is about to hear of it.
            tracing::debug!(%error, "a look of the live engine was not applied");
        } else {
            tracing::error!(%error, root = %self.root.name, "a look of the live engine failed");
            let root = Some(self.root.name.clone());
            self.tell(Event::Error { root, message: error.message().to_owned() });
        }
        let now = self.root.clock.mono_ns();
        self.root.tell(|state| {
            change(state);
            state.hold(now, error);
        });
    }

    /// The guard refused the root. `told`: subscribers have heard of it, for it was not so before.
    fn unavailable(&self, now: i64, reason: String, told: bool) {
        let was_unavailable = self.root.tell(|state| {
            let was_unavailable = std::mem::replace(&mut state.unavailable, true);
            state.coherent = false;
            state.dirty.clear();
            state.rescan = None;
            state.recheck_ns = now.saturating_add(super::root::SECOND_NS);
            // It may have been made again before this was noticed.
            state.check_guard |= state.deleted;
            was_unavailable
        });
        if !told && !was_unavailable {
            self.tell(Event::RootUnavailable { root: self.root.name.clone(), reason });
        }
    }

    /// Is the directory still the one that it was, or is it that one again?
    fn guard(&self) {
        let Some(view) = self.view() else { return };
        self.look_at_mounts();
        let now = self.root.clock.mono_ns();
        match root::open(&view.record) {
            Ok(_) => self.root.tell(|state| {
                state.deleted = false;
                if std::mem::take(&mut state.unavailable) {
                    state.scan_soon(Why::Again, now);
                }
            }),
            Err(reason) => {
                let deleted = self.root.lock().deleted;
                if deleted && let Some(identity) = root::recreated(&view.record) {
                    return self.adopt(identity, now);
                }
                tracing::debug!(root = %self.root.name, reason, "the root cannot be trusted");
                self.root.tell(|state| {
                    if !state.unavailable {
                        // The scan says why, and remembers it.
                        state.scan_soon(Why::Again, now);
                    }
                });
            }
        }
    }

    /// A root that was seen to be deleted is there again, on the same file system.
    fn adopt(&self, identity: crate::root_record::RootIdentity, now: i64) {
        let change = RootChange::new(self.root.id, move |record| record.identity = identity);
        match self.engine.submit(Task::ChangeRoot(change, None)) {
            Ok(_) => self.root.tell(|state| {
                state.deleted = false;
                state.unavailable = false;
                state.scan_soon(Why::Recreated, now);
            }),
            Err(error) => self.failed(error, |_| {}),
        }
    }

    /// What was mounted or unmounted below the root since the last time is looked at.
    fn look_at_mounts(&self) {
        let found = mounts::below(&self.root.path);
        let now = self.root.clock.mono_ns();
        self.root.tell(|state| {
            let before = std::mem::replace(&mut state.mounts, found.clone());
            for point in before.symmetric_difference(&found) {
                let (dir, name) = split_last(point);
                state.dirty.name(dir, name, true, now);
            }
        });
    }

    fn update_coverage(&self) {
        let blind = {
            let mut blind = self.root.blind();
            if let Some(view) = self.view() {
                blind.dirs.retain(|dir| view.live.descend(dir).is_some());
            }
            let is_blind = blind.many || !blind.dirs.is_empty();
            self.root.has_blind.store(is_blind, Ordering::Release);
            is_blind.then(|| blind.reason.clone().unwrap_or_default())
        };
        let watched = self.backend.watched(self.root.id);
        let changed = self.root.tell(|state| {
            let (coverage, reason) = match blind {
                _ if state.polls => (Coverage::Polling, state.why_polls.clone()),
                None => (Coverage::Native, None),
                Some(reason) if watched > 0 => (Coverage::Mixed, Some(reason)),
                Some(reason) => (Coverage::Polling, Some(reason)),
            };
            let same = state.coverage == coverage;
            state.coverage = coverage;
            state.reason.clone_from(&reason);
            (!same).then_some((coverage, reason))
        });
        if let Some((coverage, reason)) = changed {
            tracing::info!(root = %self.root.name, coverage = coverage.name(), "the coverage changed");
            self.tell(Event::CoverageChanged { root: self.root.name.clone(), coverage, reason });
        }
    }
}
