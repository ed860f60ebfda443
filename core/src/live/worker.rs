//! The thread of one root: takes the next step, looks through the scanner, and notes what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::commit::{Engine, RootChange, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Coverage, Event};
use crate::operation::OperationKind;
use crate::options::{ScanMode, ScanOptions};
use crate::path::{escape, split_last};
use crate::root;
use crate::root_record::RootState;
use crate::scan::{self, Errand, Escort, Look, Reads, Report, ScanContext, Scanner, Target};
use crate::snapshot::RootView;
use crate::sys::Errno;
use crate::testing;

use super::backend::{Backend, Uncovered};
use super::mounts::{self, Mount};
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
    /// Where file systems of other machines are mounted: nothing is heard of what those do.
    remote: Vec<Mount>,
    pace: Pace,
    /// Directories that were polled so far, are watched now, and were read since.
    covered: Mutex<Vec<Vec<u8>>>,
    /// Directories that could not be opened before, and were read with everything below.
    opened: Mutex<Vec<Vec<u8>>>,
}

impl Companion {
    /// Goes along with a walk of `root`; keeps the `pace` of whoever does not wait for it.
    pub(super) fn new(root: &Arc<Root>, backend: &Arc<dyn Backend>, pace: Pace) -> Self {
        let state = root.lock();
        let is_asked_for = state.watch.mode == WatchMode::Native;
        let is_remote = |mount: &&Mount| !is_asked_for && root::is_remote_name(&mount.fs_type);
        let remote = state.mounts.iter().filter(is_remote).cloned().collect();
        let backend = (!state.polls).then(|| Arc::clone(backend));
        drop(state);
        Self {
            root: Arc::clone(root),
            backend,
            remote,
            pace,
            covered: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// The mount of another machine's file system that holds a directory.
    fn remote(&self, dir: &[u8]) -> Option<&Mount> {
        self.remote.iter().find(|mount| {
            dir.strip_prefix(mount.at.as_slice())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        })
    }

    fn shown(&self, dir: &[u8]) -> String {
        format!("`{}`", escape(&crate::path::join(self.root.name.as_bytes(), dir)))
    }
}

impl Escort for Companion {
    fn enter(&self, dir: &[u8], fd: BorrowedFd<'_>, reads: Reads) {
        if reads == Reads::All && self.root.blind.is_shut(dir) {
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(dir.to_vec());
        }
        if let (Some(_), Some(mount)) = (&self.backend, self.remote(dir)) {
            let why = format!(
                "{} lies on {}, which tells only what this machine does",
                self.shown(dir),
                mount.fs_type
            );
            self.root.blind.note(dir, why);
        } else if let Some(backend) = &self.backend {
            match backend.cover(self.root.id, dir, fd) {
                Ok(()) if reads != Reads::Some && self.root.blind.holds(dir) => {
                    self.covered.lock().unwrap_or_else(PoisonError::into_inner).push(dir.to_vec());
                }
                Ok(()) | Err(Uncovered::Gone) => {}
                Err(Uncovered::Limit) => {
                    let why =
                        "there are no more watches: the limit that was set, or `fs.inotify.max_user_watches`";
                    self.root.blind.note(dir, why.to_owned());
                }
                Err(Uncovered::Denied(why)) => {
                    self.root.blind.note(dir, format!("{} cannot be watched: {why}", self.shown(dir)));
                }
            }
        }
        if self.root.is_awaited() {
            self.pace.hurry();
        }
        self.pace.step();
    }

    fn missed(&self, dir: &[u8]) {
        let (above, name) = split_last(dir);
        // Where nobody hears of anything the next poll sees what became of it: it may be unmounted, not deleted.
        if self.backend.is_some() && !self.root.blind.holds(above) {
            self.root.again(above, name);
        }
    }

    fn again(&self, dir: &[u8], name: &[u8]) {
        self.root.tell(|state| state.dirty.name(dir, name, false, i64::MIN));
    }

    fn refused(&self, dir: &[u8], error: Errno) {
        self.root.blind.note_shut(dir);
        // Other permissions are heard of; whatever else it is may pass without a sign.
        if self.backend.is_some() && !matches!(error, Errno::ACCESS | Errno::PERM) {
            self.root.blind.note(dir, format!("{} cannot be opened: {error}", self.shown(dir)));
        }
    }

    fn applied(&self) {
        let take = |dirs: &Mutex<Vec<Vec<u8>>>| {
            std::mem::take(&mut *dirs.lock().unwrap_or_else(PoisonError::into_inner))
        };
        self.root.blind.note_read(&take(&self.covered), &take(&self.opened));
    }
}

impl Worker {
    pub(super) fn run(&self) {
        self.choose_mode();
        if self.view().is_some_and(|view| view.record.last_full_ns == 0 && !view.live.head.is_unread) {
            // From here on a schedule of full scans counts, however often the program is restarted.
            self.note_full(self.root.clock.now_ns());
        }
        self.backend.add_root(self.root.id, &self.root.path);
        self.root.tell(|state| state.mounts = mounts::below(&self.root.path));
        loop {
            let step = match self.root.next_step() {
                Step::Stop => break,
                Step::Wait(_) => continue,
                step => step,
            };
            // Whatever goes wrong in one step, the root is looked at again.
            if catch_unwind(AssertUnwindSafe(|| self.take(step))).is_err() {
                let why = "the live engine panicked; the root is scanned again";
                let now = self.root.clock.mono_ns();
                self.failed(Error::new(ErrorKind::Io, why), |state| state.scan_soon(Why::Again, now));
            }
        }
        self.backend.remove_root(self.root.id);
        self.root.settle();
    }

    fn take(&self, step: Step) {
        match step {
            Step::Stop | Step::Wait(_) => {}
            Step::Guard => self.guard(),
            Step::Scan(why) => {
                self.scan(why);
            }
            Step::Look(looks) => {
                self.look(looks, true);
            }
            Step::Poll(looks) => self.poll(looks),
        }
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
        let is_other = self.root.tell(|state| {
            state.polls = why.is_some();
            state.reason.clone_from(&why);
            state.why_polls.clone_from(&why);
            std::mem::replace(&mut state.coverage, coverage) != coverage
        });
        if is_other {
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
        let (cancel, linked_before) = {
            let state = self.root.lock();
            (state.cancel.clone(), state.linked.clone())
        };
        // A look at a few names does not give way.
        let yields = manners.yields && matches!(target, Target::Whole);
        let companion = Companion::new(&self.root, &self.backend, Pace::new(PRESSURE_DIR.into(), yields));
        let errand = Errand {
            kind: Some(kind),
            escort: Some(Arc::new(companion)),
            losses_proven: proven,
            nice: manners.nice,
            changed: Mutex::default(),
            linked_before,
            linked: Mutex::default(),
        };
        let options = ScanOptions::new().mode(mode).threads(manners.threads);
        let context = ScanContext::new().cancel(cancel);
        let given = (&options, &context);
        let result = scan::scan(&self.engine, &self.scanner, &self.root.name, target, given, Some(&errand));
        (result, errand)
    }

    /// Scans the whole root. True when what was found is in the snapshot.
    fn scan(&self, why: Why) -> bool {
        let began = self.root.clock.mono_ns();
        let (native, was_unavailable, heard) = {
            let mut state = self.root.lock();
            // All of it is about to be read; what is heard from here on comes on top.
            let heard = state.dirty.take_all();
            state.untold.clear();
            let native = !state.polls && state.coverage == Coverage::Native;
            (native, std::mem::take(&mut state.unavailable), heard)
        };
        let was_unread = self.view().is_some_and(|view| view.live.head.is_unread);
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
        let again = |state: &mut State| {
            state.rescan.get_or_insert(Rescan { why, due_ns: now });
        };
        let report = match result {
            Err(error) => {
                self.failed(error, again);
                return false;
            }
            Ok(report) => report,
        };
        if report.cancelled {
            self.root.tell(again);
            return false;
        }
        if let Some(reason) = report.unavailable {
            self.unavailable(now, reason, report.published || was_unavailable);
            return false;
        }
        if report.errors == 0 && report.held.is_none() && !self.root.lock().polls {
            self.backend.sweep_all(self.root.id, stamp);
        }
        let wall = self.root.clock.now_ns();
        let is_held = report.held.is_some();
        let was_coherent = self.root.tell(|state| {
            state.succeeded();
            if is_held || report.errors > 0 {
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
            // That it is held, the root itself says.
            let is_known = state.rescan.is_none();
            std::mem::replace(&mut state.coherent, is_known) || !is_known || is_held
        });
        if why == Why::Full || was_unread {
            self.note_full(wall);
        }
        if !was_coherent {
            self.tell(Event::Coherent { root: self.root.name.clone() });
        }
        self.update_coverage();
        !is_held
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

    /// Looks at some places. `heard`: events told of them, so what is gone was deleted. True when what
    /// was found is in the snapshot.
    fn look(&self, mut looks: Vec<Look>, heard: bool) -> bool {
        self.root.blind.widen(&mut looks);
        let stamp = self.backend.stamp();
        let (result, errand) =
            self.run_scan(Target::Looks(&looks), OperationKind::Live, ScanMode::Quick, heard);
        let now = self.root.clock.mono_ns();
        let report = match result {
            Err(error) if heard && error.kind() == ErrorKind::Conflict => {
                // It changes faster than it can be looked at.
                tracing::debug!(%error, root = %self.root.name, "the root is scanned instead");
                self.root.tell(|state| state.lose(now));
                return false;
            }
            Err(error) => {
                self.failed(error, |state| state.look_again(looks, heard, now));
                return false;
            }
            Ok(report) => report,
        };
        if report.cancelled {
            self.root.tell(|state| state.look_again(looks, heard, now));
            return false;
        }
        if let Some(reason) = report.unavailable {
            self.unavailable(now, reason, report.published);
            return false;
        }
        if report.held.is_none() {
            self.backend.sweep(self.root.id, stamp);
        }
        let is_held = self.view().is_some_and(|view| matches!(view.record.state, RootState::Held { .. }));
        let changed = errand.changed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let linked = errand.linked.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.root.tell(|state| {
            state.succeeded();
            for (dir, name) in &linked.names {
                // At once: it is one change, seen from another side.
                state.dirty.name(dir, name, false, i64::MIN);
            }
            state.linked = linked.inodes;
            if !heard {
                for look in &looks {
                    state.heat.looked(&look.path, changed.contains(&look.path), now);
                }
            }
            if is_held {
                state.recheck_held(now);
            }
        });
        if self.root.blind.is_any() {
            self.update_coverage();
        }
        report.held.is_none()
    }

    /// Looks at what nothing is heard of: these places where there are any, else all of it.
    fn poll(&self, untold: Vec<Look>) {
        if !untold.is_empty() {
            self.look(untold, false);
            return;
        }
        let began = self.root.clock.mono_ns();
        let polled = self.root.blind.begin_poll(self.root.lock().polls);
        let done = match &polled.dirs {
            None => self.scan(Why::Poll),
            Some(dirs) => {
                let look = |path: &Vec<u8>| Look { path: path.clone(), listing: true, ..Look::default() };
                self.look(dirs.iter().map(look).collect(), false)
            }
        };
        if let Some(view) = self.view() {
            self.root.blind.end_poll(&polled, done, |dir| view.live.descend(dir).is_some());
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

    /// The guard refused the root. `told`: subscribers have heard of it.
    fn unavailable(&self, now: i64, reason: String, told: bool) {
        self.root.tell(|state| {
            state.unavailable = true;
            state.coherent = false;
            state.dirty.clear();
            state.rescan = None;
            state.recheck_later(now);
            // It may have been made again before this was noticed.
            state.check_guard |= state.deleted;
        });
        if !told {
            self.tell(Event::RootUnavailable { root: self.root.name.clone(), reason });
        }
    }

    /// Is the directory still the one that it was, or is it that one again?
    fn guard(&self) {
        let Some(view) = self.view() else { return };
        self.look_at_mounts();
        let now = self.root.clock.mono_ns();
        match root::open(&view.record) {
            Ok(_) => {
                let is_back = self.root.tell(|state| {
                    // Where inode numbers mean nothing it may be another directory, which nobody watches yet.
                    let was_deleted = std::mem::take(&mut state.deleted);
                    if was_deleted && !state.unavailable {
                        state.scan_soon(Why::Again, now);
                    }
                    state.unavailable
                });
                if is_back {
                    // It may be another mount of the same, which tells more or less.
                    self.choose_mode();
                    self.scan(Why::Again);
                }
            }
            Err(reason) => {
                let deleted = self.root.lock().deleted;
                if deleted && let Some(identity) = root::recreated(&view.record) {
                    return self.adopt(identity, now);
                }
                tracing::debug!(root = %self.root.name, reason, "the root cannot be trusted");
                self.root.tell(|state| {
                    if state.unavailable {
                        state.recheck_later(now);
                    } else {
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
        self.root.tell(|state| {
            let before = std::mem::replace(&mut state.mounts, found);
            let places: BTreeSet<&[u8]> =
                before.symmetric_difference(&state.mounts).map(|mount| mount.at.as_slice()).collect();
            state.untold.extend(places.into_iter().map(|place| {
                let (dir, name) = split_last(place);
                Look { path: dir.to_vec(), names: BTreeMap::from([(name.into(), true)]), ..Look::default() }
            }));
        });
    }

    fn update_coverage(&self) {
        let blind = self.root.blind.reason();
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
