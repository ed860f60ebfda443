//! Takes what a source of events tells to the root that it is about, and keeps the barriers that `sync`
//! waits for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::commit::Engine;
use crate::events::Event;

use super::backend::Sink;
use super::root::Root;

/// The end of watching is looked for this often by whoever waits for a barrier.
const WAIT_SLICE: Duration = Duration::from_millis(100);

pub(super) struct Post {
    engine: Arc<Engine>,
    roots: RwLock<HashMap<u32, Arc<Root>>>,
    /// The last barrier that came through.
    passed: Mutex<u64>,
    passing: Condvar,
    barriers: AtomicU64,
    /// A test wants events to be lost without a word.
    deaf: AtomicBool,
}

impl Post {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            roots: RwLock::default(),
            passed: Mutex::new(0),
            passing: Condvar::new(),
            barriers: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
        }
    }

    pub(super) fn insert(&self, root: &Arc<Root>) {
        self.roots.write().unwrap_or_else(PoisonError::into_inner).insert(root.id, Arc::clone(root));
    }

    pub(super) fn remove(&self, root: u32) {
        self.roots.write().unwrap_or_else(PoisonError::into_inner).remove(&root);
    }

    /// A number for a barrier that is about to be asked for.
    pub(super) fn next_barrier(&self) -> u64 {
        self.barriers.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Waits until a barrier has come through. False at the deadline, or once `is_over`.
    pub(super) fn wait(&self, number: u64, deadline: Option<Instant>, is_over: impl Fn() -> bool) -> bool {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        while *passed < number {
            let left = deadline.map_or(WAIT_SLICE, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() || is_over() {
                return false;
            }
            let slice = left.min(WAIT_SLICE);
            passed = self.passing.wait_timeout(passed, slice).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The source has ended: no barrier that was asked for will come through by itself.
    pub(super) fn release(&self) {
        self.barrier(self.barriers.load(Ordering::Acquire));
    }

    #[cfg(feature = "testing")]
    pub(super) fn deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    fn to(&self, root: u32, what: impl FnOnce(&Root)) {
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(&root) {
            what(root);
        }
    }

    fn to_all(&self, what: impl Fn(&Root)) {
        for root in self.roots.read().unwrap_or_else(PoisonError::into_inner).values() {
            what(root);
        }
    }

    fn lose(&self, root: &Root) {
        let now = root.clock.mono_ns();
        if root.tell(|state| (!state.polls).then(|| state.lose(now))).is_some() {
            tracing::warn!(root = %root.name, "events were lost; the root is scanned again");
            self.engine.hub.tell(Event::Overflow { root: root.name.clone() });
        }
    }
}

impl Sink for Post {
    fn name(&self, root: u32, dir: &[u8], name: &[u8], deep: bool) {
        self.to(root, |root| {
            // Each of our own commits writes them; no scan ever shows them.
            let is_own = root.own_files.as_ref().is_some_and(|own| own.holds(dir, name));
            if !is_own && root.hear(|dirty, now| dirty.name(dir, name, deep, now)) {
                self.lose(root);
            }
        });
    }

    fn facts(&self, root: u32, dir: &[u8]) {
        self.to(root, |root| {
            if root.hear(|dirty, now| dirty.facts(dir, now)) {
                self.lose(root);
            }
        });
    }

    fn root_gone(&self, root: u32, deleted: bool) {
        self.to(root, |root| {
            root.tell(|state| {
                state.deleted |= deleted;
                state.check_guard = true;
            });
        });
    }

    fn overflow(&self, root: Option<u32>) {
        match root {
            Some(root) => self.to(root, |root| self.lose(root)),
            None => self.to_all(|root| self.lose(root)),
        }
    }

    fn mounts_changed(&self) {
        self.to_all(|root| root.tell(|state| state.check_guard = true));
    }

    fn barrier(&self, number: u64) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed = (*passed).max(number);
        self.passing.notify_all();
    }

    fn error(&self, message: String) {
        tracing::error!(message, "the source of events");
        self.engine.hub.tell(Event::Error { root: None, message });
    }
}
