//! The live engine: the tree and the state never drift apart. Events are hints (`inotify.rs`,
//! `notify.rs`); they become places to look at (`dirty.rs`); each root has a thread that decides when
//! (`root.rs`) and looks through the scanner (`worker.rs`). ARCHITECTURE.md maps each rule to its place.

mod backend;
mod blind;
mod dirty;
mod heat;
#[cfg(target_os = "linux")]
mod inotify;
mod lazy;
mod mounts;
mod notify;
mod options;
mod post;
mod pressure;
mod probe;
mod root;
mod schedule;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::commit::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Coverage;
use crate::root::OwnFiles;
use crate::root_record::{RootRecord, RootState};
use crate::scan::{Escort, Scanner};

pub use options::{RootWatch, WatchBackend, WatchMode, WatchOptions};
pub use schedule::Schedule;

use backend::{Backend, Sink};
use lazy::LazyBackend;
use mounts::MountWatch;
use post::Post;
use pressure::Pace;
use root::{Root, Timers, Why};
pub(crate) use schedule::Timer;
use worker::{Companion, Manners, Worker};

/// The live engine at one glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveStatus {
    /// Between [`crate::Warden::pause`] and [`crate::Warden::resume`].
    pub paused: bool,
    /// `inotify` or `notify`.
    pub backend: &'static str,
    /// The watched roots by name.
    pub roots: Vec<RootLive>,
}

/// How one root is watched at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootLive {
    /// Name of the root.
    pub root: String,
    /// `watch` or `poll`.
    pub mode: &'static str,
    /// Whether all directories, some or none report changes by themselves.
    pub coverage: Coverage,
    /// Why it is not all of them.
    pub reason: Option<String>,
    /// Nothing is known to be unknown: no events were lost that no scan has made up for, and the root is
    /// neither unavailable nor held.
    pub coherent: bool,
    /// Directories that are watched.
    pub watched_dirs: u64,
    /// Directories of a watched root that are polled: they cannot be watched, or were not read as a whole
    /// since they are; 10,001 means more.
    pub uncovered_dirs: u64,
    /// Names and directories that were heard of and not looked at yet.
    pub pending: u64,
    /// Events received since watching began.
    pub events: u64,
    /// Times that events were lost, or were too many to be remembered, since watching began.
    pub overflows: u64,
    /// A scan or look is under way.
    pub scanning: bool,
    /// The next scheduled quick scan, nanoseconds since 1970 UTC.
    pub next_quick_ns: Option<i64>,
    /// The next scheduled full scan, nanoseconds since 1970 UTC.
    pub next_full_ns: Option<i64>,
    /// The next scan although nothing was heard, nanoseconds since 1970 UTC.
    pub next_reconcile_ns: Option<i64>,
}

/// Watches the roots of one warden.
pub(crate) struct Live {
    engine: Arc<Engine>,
    scanner: Arc<Scanner>,
    post: Arc<Post>,
    running: Mutex<Option<Running>>,
    closed: AtomicBool,
}

struct Running {
    options: WatchOptions,
    backend: Arc<dyn Backend>,
    manners: Arc<Mutex<Manners>>,
    mounts: Option<MountWatch>,
    roots: HashMap<u32, Watched>,
    paused: bool,
}

struct Watched {
    root: Arc<Root>,
    thread: Option<JoinHandle<()>>,
    wanted: Wanted,
}

/// What a flush needs.
struct AtWork {
    roots: Vec<Arc<Root>>,
    backend: Arc<dyn Backend>,
}

/// How a root is to be watched.
struct Wanted {
    record: Arc<RootRecord>,
    watch: RootWatch,
    /// Directories in it that belong to other roots.
    nested: Vec<Vec<u8>>,
}

impl Live {
    pub(crate) fn new(engine: Arc<Engine>, scanner: Arc<Scanner>) -> Self {
        let post = Arc::new(Post::new(Arc::clone(&engine)));
        Self { engine, scanner, post, running: Mutex::new(None), closed: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_watching(&self) -> bool {
        self.lock().is_some()
    }

    /// Begins to watch, or takes other options into force: only what differs is restarted.
    pub(crate) fn watch(&self, options: &WatchOptions) -> Result<()> {
        options.check()?;
        self.engine.writable()?;
        for name in options.roots.keys() {
            self.engine.root(name.as_bytes())?;
        }
        let mut running = self.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(self.ended());
        }
        let now = match &mut *running {
            Some(now) if now.options.backend == options.backend => now,
            other => {
                // The new one first: if that fails, everything stays as it is.
                let fresh = self.start(options, other.as_ref().is_some_and(|now| now.paused))?;
                stop(other.take(), &self.post);
                other.insert(fresh)
            }
        };
        let more = options.watches_max > now.options.watches_max;
        now.options = options.clone();
        now.backend.set_max(options.watches_max);
        *now.manners.lock().unwrap_or_else(PoisonError::into_inner) = manners(options);
        self.settle(now)?;
        if more {
            for watched in now.roots.values() {
                watched.root.tell(|state| state.poll_at_ns = None);
            }
        }
        Ok(())
    }

    fn start(&self, options: &WatchOptions, paused: bool) -> Result<Running> {
        let sink: Arc<dyn Sink> = self.post.clone();
        Ok(Running {
            options: options.clone(),
            backend: open_backend(options, sink, self.engine.store.path())?,
            manners: Arc::new(Mutex::new(manners(options))),
            mounts: MountWatch::start(self.post.clone()),
            roots: HashMap::new(),
            paused,
        })
    }

    /// Roots were added, removed, moved, or look at the disk by other rules.
    pub(crate) fn roots_changed(&self) {
        if let Some(now) = &mut *self.lock()
            && let Err(error) = self.settle(now)
        {
            self.post.error(format!("a root is not watched: {}", error.message()));
        }
    }

    /// Brings the running threads in line with the options and the roots there are.
    fn settle(&self, now: &mut Running) -> Result<()> {
        let shared = self.engine.load();
        let views = shared.tree().map(|tree| tree.roots.clone()).unwrap_or_default();
        let wanted: HashMap<u32, Wanted> = views
            .iter()
            .filter_map(|view| {
                let watch = now.options.of(&view.record.name)?.clone();
                let nested = crate::root::nested(&view.record, views.iter().map(|v| &*v.record));
                Some((view.record.id, Wanted { record: Arc::clone(&view.record), watch, nested }))
            })
            .collect();
        let is_over = |(id, watched): &(&u32, &Watched)| {
            wanted.get(id).is_none_or(|wanted| {
                wanted.record.path != watched.wanted.record.path
                    || wanted.watch.mode != watched.wanted.watch.mode
            })
        };
        let over: Vec<u32> = now.roots.iter().filter(is_over).map(|(id, _)| *id).collect();
        let over: Vec<Watched> = over.iter().filter_map(|id| now.roots.remove(id)).collect();
        end(over, &self.post);
        for (id, wanted) in wanted {
            if let Some(watched) = now.roots.get_mut(&id) {
                watched.adjust(wanted, self.seed(&watched.wanted.record));
            } else {
                let watched = self.spawn(now, wanted)?;
                now.roots.insert(id, watched);
            }
        }
        Ok(())
    }

    fn spawn(&self, now: &Running, wanted: Wanted) -> Result<Watched> {
        let clock = self.engine.options.clock.clone();
        let Wanted { record, watch, .. } = &wanted;
        let timers = Timers::new(watch, self.seed(record), record.last_full_ns, clock.now_ns());
        let own_files = OwnFiles::of(&record.path, self.engine.store.path());
        let (name, path) = (record.name.clone(), record.path.clone());
        let root = Root::new(record.id, name, path, own_files, clock, (watch.clone(), timers));
        let root = Arc::new(root);
        root.tell(|state| state.paused = now.paused);
        self.post.insert(&root);
        let worker = Worker {
            root: Arc::clone(&root),
            engine: Arc::clone(&self.engine),
            scanner: Arc::clone(&self.scanner),
            backend: Arc::clone(&now.backend),
            manners: Arc::clone(&now.manners),
        };
        let thread = std::thread::Builder::new()
            .name("tw-live".to_owned())
            .spawn(move || worker.run())
            .map_err(|e| {
                self.post.remove(wanted.record.id);
                Error::new(ErrorKind::Io, format!("cannot start a thread: {e}")).with_source(e)
            })?;
        Ok(Watched { root, thread: Some(thread), wanted })
    }

    /// Jitter differs from root to root, and from one database to the next on a thousand machines.
    fn seed(&self, record: &RootRecord) -> u64 {
        (self.engine.database as u64) ^ u64::from(record.id)
    }

    pub(crate) fn unwatch(&self) {
        let running = self.lock().take();
        stop(running, &self.post);
    }

    /// Ends watching for good.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.unwatch();
    }

    /// Goes along with a scan that the program asked for, so that what it finds is watched too.
    pub(crate) fn escort(&self, root: u32) -> Option<Arc<dyn Escort>> {
        let running = self.lock();
        let now = running.as_ref()?;
        let root = &now.roots.get(&root)?.root;
        Some(Arc::new(Companion::new(root, &now.backend, Pace::new(PathBuf::new(), false))))
    }

    /// Why nothing is watched.
    fn ended(&self) -> Error {
        if self.closed.load(Ordering::Acquire) {
            return Error::new(ErrorKind::Closed, "the warden has been closed");
        }
        Error::invalid("nothing is watched").with_hint("call `watch` first")
    }

    fn at_work(&self) -> Result<AtWork> {
        self.engine.check_process()?;
        let running = self.lock();
        let now = running.as_ref().ok_or_else(|| self.ended())?;
        if now.paused {
            return Err(Error::new(ErrorKind::Unavailable, "watching is paused: nothing is looked at")
                .with_hint("call `resume` first"));
        }
        let roots = now.roots.values().map(|watched| Arc::clone(&watched.root)).collect();
        Ok(AtWork { roots, backend: Arc::clone(&now.backend) })
    }

    /// Waits until every change made before the call is in the snapshot.
    pub(crate) fn sync(&self, timeout: Duration) -> Result<u64> {
        let deadline = Instant::now().checked_add(timeout);
        // A root that ends meanwhile was removed, or is watched anew in another way: once more, then.
        while !self.flush(deadline)? {}
        Ok(self.engine.load().seq())
    }

    /// False when the roots changed meanwhile.
    fn flush(&self, deadline: Option<Instant>) -> Result<bool> {
        let late = || {
            Error::new(ErrorKind::Timeout, "not everything could be looked at in time")
                .with_hint("the engine goes on; `status` shows what is pending")
        };
        let AtWork { roots, backend } = self.at_work()?;
        let number = self.post.next_barrier();
        backend.barrier(number)?;
        if !self.post.wait(number, deadline, || self.closed.load(Ordering::Acquire)) {
            return Err(if self.closed.load(Ordering::Acquire) { self.ended() } else { late() });
        }
        let flushes: Vec<(Arc<Root>, u64)> = roots
            .into_iter()
            .map(|root| {
                let number = root.ask();
                (root, number)
            })
            .collect();
        for (root, number) in flushes {
            let met = |state: &root::State| {
                if state.done >= number {
                    return Some(match state.failure.as_ref().filter(|_| state.failed_for >= number) {
                        None => Ok(true),
                        // It was removed, and its thread is about to hear of it.
                        Some(error) if error.kind() == ErrorKind::NotFound && self.is_gone(root.id) => {
                            Ok(false)
                        }
                        Some(error) => Err(error.duplicate()),
                    });
                }
                if state.stop {
                    return Some(Ok(false));
                }
                let paused = || Error::new(ErrorKind::Unavailable, "watching was paused meanwhile");
                state.paused.then(|| Err(paused()))
            };
            if !root.wait_for(deadline, met).ok_or_else(late)?? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_gone(&self, root: u32) -> bool {
        self.engine.load().tree().is_none_or(|tree| tree.root_by_id(root).is_none())
    }

    /// Holds everything that the live engine does. Returns when no scan runs.
    pub(crate) fn pause(&self) -> Result<()> {
        let roots: Vec<Arc<Root>> = {
            let mut running = self.lock();
            let now = running.as_mut().ok_or_else(|| self.ended())?;
            now.paused = true;
            // Under the lock, so that a `resume` on another thread comes before or after all of it.
            now.roots
                .values()
                .map(|watched| {
                    watched.root.tell(|state| {
                        state.paused = true;
                        state.cancel.cancel();
                    });
                    Arc::clone(&watched.root)
                })
                .collect()
        };
        for root in &roots {
            root.settle();
            root.wait_for(None, |state| (state.stop || !state.busy || !state.paused).then_some(()));
        }
        self.scanner.wait_idle();
        Ok(())
    }

    pub(crate) fn resume(&self) -> Result<()> {
        let mut running = self.lock();
        let now = running.as_mut().ok_or_else(|| self.ended())?;
        now.paused = false;
        for watched in now.roots.values() {
            watched.root.tell(|state| state.paused = false);
        }
        Ok(())
    }

    pub(crate) fn status(&self) -> Option<LiveStatus> {
        let running = self.lock();
        let now = running.as_ref()?;
        let mut roots: Vec<RootLive> =
            now.roots.values().map(|watched| self.root_live(&watched.root, &*now.backend)).collect();
        roots.sort_by(|a, b| a.root.cmp(&b.root));
        Some(LiveStatus { paused: now.paused, backend: now.backend.name(), roots })
    }

    fn root_live(&self, root: &Root, backend: &dyn Backend) -> RootLive {
        let watched_dirs = backend.watched(root.id);
        let uncovered_dirs = root.blind.count();
        let shared = self.engine.load();
        let record = shared.tree().and_then(|tree| tree.root_by_id(root.id)).map(|view| &view.record);
        let is_ready = record.is_some_and(|record| record.state == RootState::Ready);
        let state = root.lock();
        let next = |timer: &Option<Timer>| timer.as_ref().and_then(Timer::next_ns);
        RootLive {
            root: root.name.clone(),
            mode: if state.polls { "poll" } else { "watch" },
            coverage: state.coverage,
            reason: state.reason.clone(),
            coherent: state.coherent && is_ready,
            watched_dirs,
            uncovered_dirs,
            pending: state.dirty.len(),
            events: state.events,
            overflows: state.overflows,
            scanning: state.busy,
            next_quick_ns: next(&state.timers.quick),
            next_full_ns: next(&state.timers.full),
            next_reconcile_ns: next(&state.timers.reconcile),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn lose_events(&self) {
        self.post.overflow(None);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn deaf(&self, deaf: bool) {
        self.post.deaf(deaf);
    }
}

impl Watched {
    /// Takes other settings into force; scans where the disk is to be seen by other rules.
    fn adjust(&mut self, wanted: Wanted, seed: u64) {
        let Wanted { record, watch, nested } = &wanted;
        let before = &self.wanted.record;
        let other_rules = (&before.ignore, before.content_hash, before.compare, before.identity)
            != (&record.ignore, record.content_hash, record.compare, record.identity)
            || *nested != self.wanted.nested;
        let clock = &self.root.clock;
        let (mono, wall) = (clock.mono_ns(), clock.now_ns());
        self.root.tell(|state| {
            if *watch != self.wanted.watch {
                state.timers = Timers::new(watch, seed, record.last_full_ns, wall);
                state.poll_at_ns = None;
                state.heat = heat::Heat::new(root::ms(watch.poll_ms));
                state.watch = watch.clone();
            }
            if other_rules && state.rescan.is_none_or(|rescan| rescan.due_ns > mono) {
                state.scan_soon(Why::Again, mono);
            }
        });
        self.wanted = wanted;
    }
}

fn manners(options: &WatchOptions) -> Manners {
    Manners { threads: options.scan_threads, nice: options.nice, yields: options.yields }
}

fn open_backend(options: &WatchOptions, sink: Arc<dyn Sink>, state_file: &Path) -> Result<Arc<dyn Backend>> {
    // Beside the state file, under a name that no root ever shows.
    let barrier_dir = {
        let mut name = state_file.file_name().unwrap_or_default().to_owned();
        name.push("-tw-live");
        state_file.with_file_name(name)
    };
    let watches_max = options.watches_max;
    match options.backend {
        #[cfg(target_os = "linux")]
        WatchBackend::Auto | WatchBackend::Inotify => {
            Ok(Arc::new(LazyBackend::new("inotify", sink, move |sink| {
                Ok(Arc::new(inotify::InotifyBackend::start(sink, watches_max)?))
            })))
        }
        #[cfg(not(target_os = "linux"))]
        WatchBackend::Inotify => {
            Err(Error::new(ErrorKind::Unsupported, "inotify is a part of Linux").with_hint("choose `auto`"))
        }
        _ => Ok(Arc::new(LazyBackend::new("notify", sink, move |sink| {
            Ok(Arc::new(notify::NotifyBackend::start(sink, barrier_dir.clone(), watches_max)?))
        }))),
    }
}

/// Ends the threads of some roots: all are told first, so that they end together.
fn end(mut over: Vec<Watched>, post: &Post) {
    for watched in &over {
        post.remove(watched.root.id);
        watched.root.tell(|state| {
            state.stop = true;
            state.cancel.cancel();
        });
        watched.root.settle();
    }
    for watched in &mut over {
        if let Some(thread) = watched.thread.take() {
            let _ = thread.join();
        }
    }
}

fn stop(running: Option<Running>, post: &Post) {
    let Some(mut running) = running else { return };
    end(running.roots.drain().map(|(_, watched)| watched).collect(), post);
    running.backend.stop();
    post.release();
    if let Some(mounts) = running.mounts.take() {
        mounts.stop();
    }
}
