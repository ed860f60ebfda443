//! Watching in tests. Every wait is for something to happen: a sync, an event, a value of the
//! status, or the hands of a manual clock. Nothing here waits for time to pass.

use std::fs;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use treewarden::{
    Clock, Coverage, Event, RootLive, RootWatch, Subscription, Warden, WatchBackend, WatchOptions,
};

use crate::world::{ROOT, World};
use crate::{DAY_MS, HANG, reference, wait_until};

/// A debounce that no test lives to see, so that `sync` alone makes the engine look.
pub const NEVER_MS: u64 = 60_000;

/// For things that must not happen: how long [`soon`] looks out for them. Shorter makes a wrong
/// engine pass more often; it never makes a right one fail.
const LOOK_OUT: Duration = Duration::from_millis(100);

const MAX_QUEUED_EVENTS: &str = "/proc/sys/fs/inotify/max_queued_events";

/// Read: an inotify instance is being made. Written: the length of new queues is not the usual one.
static QUEUES: RwLock<()> = RwLock::new(());

/// The two backends, which must give the same answers.
#[must_use]
pub fn both_backends() -> [WatchBackend; 2] {
    [WatchBackend::Inotify, WatchBackend::Notify]
}

/// The name of a backend, as `live_child` takes it and `status` shows it.
#[must_use]
pub fn backend_name(backend: WatchBackend) -> &'static str {
    match backend {
        WatchBackend::Notify => "notify",
        _ => "inotify",
    }
}

/// A watch under which only `sync` looks.
#[must_use]
pub fn only_on_sync() -> RootWatch {
    RootWatch::new().debounce_ms(NEVER_MS).max_wait_ms(NEVER_MS)
}

/// A manual clock one day ahead of the disk, so that no file is too fresh to be trusted.
#[must_use]
pub fn tomorrow() -> Clock {
    Clock::manual(crate::now_ns() + i64::try_from(DAY_MS).unwrap() * 1_000_000)
}

/// Waits for the next event that `wanted` accepts, and passes over all before it.
pub fn await_event(events: &Subscription, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    let started = Instant::now();
    let mut passed: Vec<Event> = Vec::new();
    loop {
        let left = HANG.saturating_sub(started.elapsed());
        assert!(!left.is_zero(), "{what}: no such event within {HANG:?}; there were {passed:?}");
        match events.next(Some(left)) {
            Ok(Some(event)) if wanted(&event) => return event,
            Ok(Some(event)) => {
                passed.push(event);
                passed.drain(..passed.len().saturating_sub(20));
            }
            Ok(None) => {}
            Err(error) => panic!("{what}: {error}; before that {passed:?}"),
        }
    }
}

/// Everything that is queued now.
#[must_use]
pub fn drain(events: &Subscription) -> Vec<Event> {
    std::iter::from_fn(|| events.try_next()).collect()
}

/// Looks out for something that must not happen.
#[must_use]
pub fn soon(mut met: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < LOOK_OUT {
        if met() {
            return true;
        }
        std::thread::yield_now();
    }
    met()
}

/// What a thread returns; fails when it hangs or has panicked.
pub fn joined<T>(what: &str, thread: JoinHandle<T>) -> T {
    wait_until(what, || thread.is_finished());
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Begins to watch and waits for nothing, for wardens without a [`World`].
pub fn begin_to_watch(warden: &Warden, options: &WatchOptions) {
    let _alone = shared_queues();
    warden.watch_with(options).unwrap_or_else(|e| panic!("watch: {e}"));
}

fn shared_queues() -> RwLockReadGuard<'static, ()> {
    QUEUES.read().unwrap_or_else(PoisonError::into_inner)
}

/// The length of new event queues, put back when dropped. It is one number for the whole machine.
struct QueueLength {
    before: String,
}

impl QueueLength {
    fn set(events_max: u32) -> Result<Self, String> {
        let refused = |error| format!("{MAX_QUEUED_EVENTS} cannot be changed here: {error}");
        let before = fs::read_to_string(MAX_QUEUED_EVENTS).map_err(refused)?;
        fs::write(MAX_QUEUED_EVENTS, events_max.to_string()).map_err(refused)?;
        Ok(Self { before })
    }
}

impl Drop for QueueLength {
    fn drop(&mut self) {
        if let Err(error) = fs::write(MAX_QUEUED_EVENTS, &self.before) {
            eprintln!("{MAX_QUEUED_EVENTS} could not be set back to {}: {error}", self.before.trim());
        }
    }
}

impl World {
    /// Watches the root, so that only `sync` looks; returns when the first look is done.
    pub fn watch(&self, backend: WatchBackend) {
        self.watch_as(backend, only_on_sync());
    }

    /// Watches every root as `root` says; returns when the first look is done.
    pub fn watch_as(&self, backend: WatchBackend, root: RootWatch) {
        self.watch_with(&WatchOptions::new().backend(backend).default_root(root));
    }

    /// Watches, and returns when the first look is done.
    pub fn watch_with(&self, options: &WatchOptions) {
        let _alone = shared_queues();
        self.warden().watch_with(options).unwrap_or_else(|e| panic!("watch: {e}"));
        self.sync();
    }

    /// Begins to watch and waits for nothing.
    pub fn begin_to_watch(&self, options: &WatchOptions) {
        begin_to_watch(self.warden(), options);
    }

    /// As [`World::watch_with`], over an event queue that holds no more than `events_max`.
    ///
    /// # Errors
    /// A sentence that says why the length of the queue cannot be changed here.
    pub fn watch_with_queue(&self, options: &WatchOptions, events_max: u32) -> Result<(), String> {
        let _alone = QUEUES.write().unwrap_or_else(PoisonError::into_inner);
        let _length = QueueLength::set(events_max)?;
        self.warden().watch_with(options).unwrap_or_else(|e| panic!("watch: {e}"));
        self.sync();
        Ok(())
    }

    /// Waits until everything done so far is in the snapshot.
    pub fn sync(&self) -> u64 {
        self.warden().sync(HANG).unwrap_or_else(|e| panic!("sync: {e}\n{:?}", self.warden().status()))
    }

    /// Waits for a sync and compares what the journal says since with `expected`, which must be
    /// sorted. For worlds in which only `sync` looks.
    pub fn expect_seen(&self, what: &str, expected: &[&str]) {
        let before = self.warden().seq();
        self.sync();
        crate::assert_lines(what, expected, &self.changes_since(before));
    }

    /// Waits for a sync, then the snapshot equals the disk and the journal leads to it.
    pub fn expect_true(&self, what: &str) {
        self.sync();
        self.assert_true(what);
    }

    /// How a root is watched now.
    #[must_use]
    pub fn live_of(&self, root: &str) -> RootLive {
        let status = self.warden().status().unwrap();
        let live = status.live.expect("nothing is watched");
        let found = live.roots.iter().find(|known| known.root == root).cloned();
        found.unwrap_or_else(|| panic!("{root} is not watched: {live:?}"))
    }

    /// How [`ROOT`] is watched now.
    #[must_use]
    pub fn live(&self) -> RootLive {
        self.live_of(ROOT)
    }

    /// Every directory of the snapshot is watched, the root's own as well, and nothing else is.
    pub fn assert_covered(&self, what: &str) {
        let live = self.live();
        let known = reference::of_snapshot(&self.snapshot(), ROOT);
        let dirs = 1 + known.values().filter(|facts| facts.kind == "dir").count() as u64;
        assert_eq!((live.watched_dirs, live.uncovered_dirs), (dirs, 0), "{what}: {live:?}");
        assert_eq!((live.coverage, live.reason.as_deref()), (Coverage::Native, None), "{what}: {live:?}");
        assert!(live.coherent, "{what}: {live:?}");
    }
}
