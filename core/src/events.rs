//! What the engine tells while it runs: events for those who subscribed.
//!
//! Whoever tells never waits for whoever listens: a queue is bounded, and a subscriber that lags is told
//! so by one [`Event::Reset`]. The journal is the record; events only say that it is worth a look.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::bell::Bell;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Counts, OperationKind, OperationStatus};
use crate::signal::{Flag, Interrupt, wait_until};

/// Something that happened in the engine.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A scan of a whole root or of a subtree has begun, asked for by the program or by the engine. A
    /// look that follows a change on disk is not a scan.
    ScanStarted {
        /// Name of the root.
        root: String,
        /// What runs.
        kind: OperationKind,
    },
    /// How far a scan has come. The newest takes the place of one that was not fetched yet.
    ScanProgress {
        /// Name of the root.
        root: String,
        /// What the scan is at.
        phase: &'static str,
        /// Directories looked at so far.
        dirs: u64,
        /// Files and symlinks looked at so far.
        files: u64,
        /// Bytes hashed so far.
        bytes: u64,
        /// Files and symlinks that are expected, from the last scan.
        estimate_files: Option<u64>,
        /// Milliseconds that are still expected.
        eta_ms: Option<u64>,
    },
    /// A scan has ended, well or not.
    ScanFinished {
        /// Name of the root.
        root: String,
        /// What ran.
        kind: OperationKind,
        /// How it ended.
        status: OperationStatus,
        /// The commit that holds its result.
        seq: u64,
        /// What it changed.
        counts: Counts,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// Something was committed. Commits that were not fetched yet are told as one range.
    Committed {
        /// The first commit that this event tells of.
        first_seq: u64,
        /// The last one; it is in the snapshot already.
        last_seq: u64,
        /// Files and symlinks that changed; all 0 where only the program's own state did.
        counts: Counts,
    },
    /// The guard refuses a root, or it is found empty; its last good state is kept. Told
    /// once for each reason.
    RootUnavailable {
        /// Name of the root.
        root: String,
        /// What was found.
        reason: String,
    },
    /// A root that was unavailable or held is as it should be again.
    RootBack {
        /// Name of the root.
        root: String,
    },
    /// Too much would become missing; the last good state is kept until a scan with `accept_missing`.
    RootHeld {
        /// Name of the root.
        root: String,
        /// Files and symlinks that would become missing.
        missing: u64,
        /// Files and symlinks known.
        of: u64,
    },
    /// A root is watched in another way than before.
    CoverageChanged {
        /// Name of the root.
        root: String,
        /// How it is watched now.
        coverage: Coverage,
        /// Why it is not watched natively everywhere.
        reason: Option<String>,
    },
    /// Notices of the system were lost, or were too many to be remembered. The root is scanned again;
    /// until then it is not coherent.
    Overflow {
        /// Name of the root.
        root: String,
    },
    /// The scan that an overflow asked for is done: nothing is unknown any more.
    Coherent {
        /// Name of the root.
        root: String,
    },
    /// Something failed in the background, and the engine goes on.
    Error {
        /// Name of the root, where it concerns one.
        root: Option<String>,
        /// What failed.
        message: String,
    },
    /// This subscriber lagged, and everything that waited for it was dropped. What was missed is in the
    /// journal after the last seq that it saw, or as a whole in the snapshot.
    Reset {
        /// The events that follow tell of commits after this one.
        restart_seq: u64,
    },
}

impl Event {
    /// Returns the name in snake case, for example `scan_started`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ScanStarted { .. } => "scan_started",
            Self::ScanProgress { .. } => "scan_progress",
            Self::ScanFinished { .. } => "scan_finished",
            Self::Committed { .. } => "committed",
            Self::RootUnavailable { .. } => "root_unavailable",
            Self::RootBack { .. } => "root_back",
            Self::RootHeld { .. } => "root_held",
            Self::CoverageChanged { .. } => "coverage_changed",
            Self::Overflow { .. } => "overflow",
            Self::Coherent { .. } => "coherent",
            Self::Error { .. } => "error",
            Self::Reset { .. } => "reset",
        }
    }
}

/// How changes of a root become known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// The system reports changes of every directory.
    Native,
    /// Some directories have no watch and are polled.
    Mixed,
    /// The whole root is polled.
    Polling,
}

impl Coverage {
    /// Returns `native`, `mixed` or `polling`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Mixed => "mixed",
            Self::Polling => "polling",
        }
    }
}

/// A queue of events. It is filled from the moment it is made until it is dropped.
///
/// It holds a bounded number of events: those that say the same again are joined, and when it is full all
/// of them give way to one [`Event::Reset`]. Threads may share one subscription; each event goes to one
/// of them.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # std::fs::create_dir(dir.path().join("music")).unwrap();
/// use treewarden::{Event, Warden};
///
/// let warden = Warden::open(dir.path().join("state.tw"))?;
/// let events = warden.subscribe();
/// warden.add_root("music", dir.path().join("music"))?;
/// while let Some(event) = events.try_next() {
///     if let Event::Committed { last_seq, .. } = event {
///         assert_eq!(last_seq, warden.seq());
///     }
/// }
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
    bell: OnceLock<Arc<Bell>>,
}

impl Subscription {
    /// Takes the next event and waits for it, at most for `timeout` or without end. `None` on a timeout
    /// and on [`Interrupter::interrupt`].
    ///
    /// # Errors
    ///
    /// `Closed` when the warden has been closed and nothing is left in the queue.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut waiting = self.queue.lock();
        loop {
            // First, so that a full queue does not put it off.
            if std::mem::take(&mut waiting.interrupted) {
                return Ok(None);
            }
            if let Some(event) = waiting.pop() {
                return Ok(Some(event));
            }
            if waiting.closed {
                return Err(Error::new(ErrorKind::Closed, "the warden has been closed"));
            }
            match wait_until(&self.queue.wake, waiting, deadline) {
                Some(woken) => waiting = woken,
                None => return Ok(None),
            }
        }
    }

    /// Takes the next event if there is one. Never waits.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.queue.lock().pop()
    }

    /// Returns a descriptor that is readable while there is an event to be taken, and when the warden has been
    /// closed: for programs that wait with `poll` or an event loop. Not to be read from; it lives as long as
    /// this. Wake-ups coalesce: take events with [`Subscription::try_next`] until there is none.
    ///
    /// # Errors
    ///
    /// `Io` when no descriptor is to be had.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        if self.bell.get().is_none() {
            let bell = Arc::new(Bell::new()?);
            let mut waiting = self.queue.lock();
            if self.bell.set(Arc::clone(&bell)).is_ok() {
                if waiting.closed || !waiting.events.is_empty() {
                    bell.ring();
                }
                waiting.bell = Some(bell);
            }
        }
        let none = || Error::new(ErrorKind::Io, "there is no descriptor");
        self.bell.get().map(|bell| bell.fd()).ok_or_else(none)
    }

    /// Returns a handle that wakes a waiting [`Subscription::next`].
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(Target::Queue(Arc::downgrade(&self.queue)))
    }
}

/// Wakes a call that waits, from any thread. Clones wake the same.
#[derive(Debug, Clone)]
pub struct Interrupter(Target);

#[derive(Debug, Clone)]
enum Target {
    /// Does not keep a dropped subscription alive.
    Queue(Weak<Queue>),
    Flag(Arc<Flag>),
}

impl Interrupter {
    pub(crate) fn of(interrupt: &Interrupt) -> Self {
        Self(Target::Flag(interrupt.flag()))
    }

    /// Makes one waiting call return without a result; if none waits, the next call. Interrupts before
    /// that count once. Never blocks for long.
    pub fn interrupt(&self) {
        match &self.0 {
            Target::Queue(queue) => {
                if let Some(queue) = queue.upgrade() {
                    queue.lock().interrupted = true;
                    queue.wake.notify_all();
                }
            }
            Target::Flag(flag) => flag.raise(),
        }
    }
}

/// One subscriber's events.
#[derive(Debug)]
struct Queue {
    events_max: usize,
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    interrupted: bool,
    closed: bool,
    /// Rings while there are events, once somebody has asked for it.
    bell: Option<Arc<Bell>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &Event, last_seq: u64) {
        let mut waiting = self.lock();
        if waiting.absorb(event) {
            return;
        }
        if waiting.events.len() >= self.events_max {
            waiting.events.clear();
            waiting.events.push_back(Event::Reset { restart_seq: last_seq });
        } else {
            waiting.events.push_back(event.clone());
        }
        waiting.ring();
        drop(waiting);
        self.wake.notify_all();
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.ring();
        drop(waiting);
        self.wake.notify_all();
    }
}

impl Waiting {
    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(bell) = self.bell.as_ref().filter(|_| self.events.is_empty() && !self.closed) {
            bell.silence();
        }
        event
    }

    /// Joins an event with one that waits. True when nothing is left to be queued: whoever waits for
    /// events has been woken for the one that it was joined with.
    fn absorb(&mut self, event: &Event) -> bool {
        match event {
            Event::Committed { last_seq: newest, counts: more, .. } => {
                let Some(Event::Committed { last_seq, counts, .. }) = self.events.back_mut() else {
                    return false;
                };
                *last_seq = (*last_seq).max(*newest);
                counts.add(more);
                true
            }
            Event::ScanProgress { root, .. } => {
                // The newer one goes to the end, behind the start of the scan that it belongs to.
                let same = |e: &Event| matches!(e, Event::ScanProgress { root: other, .. } if other == root);
                if let Some(at) = self.events.iter().position(same) {
                    self.events.remove(at);
                }
                false
            }
            _ => false,
        }
    }
}

/// Hands events to all subscribers.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
    /// How many there were at the last look: telling is nearly free without any.
    count: AtomicUsize,
    /// The last commit that was told.
    last_seq: AtomicU64,
}

#[derive(Debug, Default)]
struct Subscribers {
    queues: Vec<Weak<Queue>>,
    closed: bool,
}

impl Hub {
    /// Notes what is committed already, so that an early `Reset` says the truth.
    pub(crate) fn begin_at(&self, seq: u64) {
        self.last_seq.fetch_max(seq, Ordering::Relaxed);
    }

    /// True when anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Makes a queue of at most `events_max` events, one at least.
    pub(crate) fn subscribe(&self, events_max: usize) -> Subscription {
        let mut subscribers = self.lock();
        let waiting = Waiting { closed: subscribers.closed, ..Waiting::default() };
        let events_max = events_max.max(1);
        let queue = Arc::new(Queue { events_max, waiting: Mutex::new(waiting), wake: Condvar::new() });
        if !subscribers.closed {
            subscribers.queues.retain(|queue| queue.strong_count() > 0);
            subscribers.queues.push(Arc::downgrade(&queue));
            self.count.store(subscribers.queues.len(), Ordering::Release);
        }
        Subscription { queue, bell: OnceLock::new() }
    }

    /// Tells every subscriber. Never waits for one.
    // By value: who tells has no further use for it.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn tell(&self, event: Event) {
        if self.count.load(Ordering::Acquire) == 0 {
            return self.note(&event);
        }
        // Under the lock every queue sees the events and the last seq in one order: a `Reset` is never
        // followed by a commit that it already counts.
        let mut subscribers = self.lock();
        self.note(&event);
        let last_seq = self.last_seq.load(Ordering::Relaxed);
        subscribers.queues.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.push(&event, last_seq);
                true
            }
            None => false,
        });
        self.count.store(subscribers.queues.len(), Ordering::Release);
    }

    /// Wakes every subscriber; each gets what is in its queue and then `Closed`, and so do later ones.
    pub(crate) fn close(&self) {
        let mut subscribers = self.lock();
        subscribers.closed = true;
        for queue in subscribers.queues.drain(..) {
            if let Some(queue) = queue.upgrade() {
                queue.close();
            }
        }
        self.count.store(0, Ordering::Release);
    }

    fn note(&self, event: &Event) {
        if let Event::Committed { last_seq, .. } = event {
            self.last_seq.fetch_max(*last_seq, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn committed(seq: u64) -> Event {
        Event::Committed { first_seq: seq, last_seq: seq, counts: Counts { added: 1, ..Counts::default() } }
    }

    fn back(root: &str) -> Event {
        Event::RootBack { root: root.to_owned() }
    }

    fn progress(root: &str, files: u64) -> Event {
        Event::ScanProgress {
            root: root.to_owned(),
            phase: "walk",
            dirs: 0,
            files,
            bytes: 0,
            estimate_files: None,
            eta_ms: None,
        }
    }

    fn all(events: &Subscription) -> Vec<Event> {
        std::iter::from_fn(|| events.try_next()).collect()
    }

    /// Long enough for the slowest machine; a test that needs it has failed.
    #[test]
    fn commits_that_follow_each_other_become_one() {
        let hub = Hub::default();
        let events = hub.subscribe(8);
        for event in [committed(1), committed(2), committed(3), back("a"), committed(4)] {
            hub.tell(event);
        }
        let counts = Counts { added: 3, ..Counts::default() };
        let joined = Event::Committed { first_seq: 1, last_seq: 3, counts };
        assert_eq!(all(&events), [joined, back("a"), committed(4)]);
    }

    #[test]
    fn progress_takes_the_place_of_older_progress_of_the_same_root() {
        let hub = Hub::default();
        let events = hub.subscribe(8);
        for event in [progress("a", 1), progress("b", 1), back("c"), progress("a", 2), progress("a", 3)] {
            hub.tell(event);
        }
        assert_eq!(all(&events), [progress("b", 1), back("c"), progress("a", 3)]);
    }

    #[test]
    fn a_full_queue_becomes_one_reset_and_goes_on() {
        let hub = Hub::default();
        hub.begin_at(7);
        let (small, large) = (hub.subscribe(2), hub.subscribe(100));
        for event in [back("a"), committed(8), back("b"), back("c")] {
            hub.tell(event);
        }
        assert_eq!(all(&small), [Event::Reset { restart_seq: 8 }, back("c")]);
        assert_eq!(all(&large).len(), 4);
        hub.tell(committed(9));
        assert_eq!(all(&small), [committed(9)]);
    }

    #[test]
    fn a_reset_counts_what_was_committed_before_anybody_subscribed() {
        let hub = Hub::default();
        hub.tell(committed(5));
        let events = hub.subscribe(1);
        hub.tell(back("a"));
        hub.tell(back("b"));
        assert_eq!(all(&events), [Event::Reset { restart_seq: 5 }]);
    }

    #[test]
    fn closing_wakes_everybody_after_the_queue_is_drained() {
        let hub = Arc::new(Hub::default());
        let (idle, busy) = (hub.subscribe(8), hub.subscribe(8));
        let waiter = thread::spawn(move || idle.next(None).map_err(|e| e.kind()));
        hub.tell(back("a"));
        assert_eq!(waiter.join().unwrap(), Ok(Some(back("a"))));

        let (late, waiting) = (Arc::clone(&hub), hub.subscribe(8));
        let waiter = thread::spawn(move || waiting.next(None).map_err(|e| e.kind()));
        thread::spawn(move || late.close()).join().unwrap();
        assert_eq!(waiter.join().unwrap(), Err(ErrorKind::Closed));

        assert_eq!(busy.next(None).unwrap(), Some(back("a")));
        assert_eq!(busy.next(None).map_err(|e| e.kind()), Err(ErrorKind::Closed));
        hub.tell(back("b"));
        assert_eq!(hub.subscribe(8).next(None).map_err(|e| e.kind()), Err(ErrorKind::Closed));
    }

    #[test]
    fn an_interrupt_ends_one_wait_and_loses_no_event() {
        let hub = Hub::default();
        let events = Arc::new(hub.subscribe(8));
        let interrupter = events.interrupter();
        let waiting = Arc::clone(&events);
        let waiter = thread::spawn(move || waiting.next(None).unwrap());
        interrupter.clone().interrupt();
        assert_eq!(waiter.join().unwrap(), None);

        // Nobody waits: the next call is meant, once.
        interrupter.interrupt();
        interrupter.interrupt();
        hub.tell(back("a"));
        assert_eq!(events.next(None).unwrap(), None);
        assert_eq!(events.next(None).unwrap(), Some(back("a")));
    }

    #[test]
    fn the_descriptor_is_readable_while_there_is_something_to_take() -> Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let hub = Hub::default();
        let events = hub.subscribe(8);
        hub.tell(committed(1));
        let readable = || {
            let fd = events.descriptor().unwrap();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap()
                == 1
        };
        assert!(readable(), "told before anybody asked");
        hub.tell(back("r"));
        assert!(events.try_next().is_some() && readable() && events.try_next().is_some());
        assert!(!readable());
        hub.tell(committed(2));
        assert!(readable() && events.next(None)?.is_some() && !readable());
        hub.close();
        assert!(readable() && events.try_next().is_none() && readable(), "closed is something to be told");
        Ok(())
    }

    #[test]
    fn a_timeout_is_kept() {
        let hub = Hub::default();
        let events = hub.subscribe(8);
        let before = Instant::now();
        assert_eq!(events.next(Some(Duration::ZERO)).unwrap(), None);
        assert_eq!(events.next(Some(Duration::from_millis(5))).unwrap(), None);
        assert!(before.elapsed() >= Duration::from_millis(5));
        hub.tell(back("a"));
        assert_eq!(events.next(Some(Duration::ZERO)).unwrap(), Some(back("a")));
        // Beyond the end of time: no deadline at all.
        hub.tell(back("b"));
        assert_eq!(events.next(Some(Duration::MAX)).unwrap(), Some(back("b")));
    }

    #[test]
    fn a_dropped_subscription_is_forgotten_even_while_it_could_be_interrupted() {
        let hub = Hub::default();
        let (gone, kept) = (hub.subscribe(8), hub.subscribe(8));
        let interrupter = gone.interrupter();
        drop(gone);
        hub.tell(back("a"));
        assert_eq!(hub.count.load(Ordering::Relaxed), 1);
        interrupter.interrupt();
        drop(kept);
        hub.tell(back("b"));
        assert_eq!(hub.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn two_threads_hand_over_every_commit() {
        const LAST: u64 = 20_000;
        let hub = Arc::new(Hub::default());
        let events = hub.subscribe(4);
        let teller = thread::spawn(move || (1..=LAST).for_each(|seq| hub.tell(committed(seq))));
        let (mut last, mut added) = (0, 0);
        while last < LAST {
            match events.next(Some(Duration::from_secs(60))).unwrap() {
                Some(Event::Committed { first_seq, last_seq, counts }) => {
                    assert_eq!(first_seq, last + 1);
                    last = last_seq;
                    added += counts.added;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(added, LAST);
        teller.join().unwrap();
    }
}
