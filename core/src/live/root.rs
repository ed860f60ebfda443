//! What the live engine knows of one root, and what it does next about it. The event thread marks, the
//! root's own thread decides, and both hold the lock for moments only.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::error::Error;
use crate::events::Coverage;
use crate::operation::OperationKind;
use crate::options::ScanMode;
use crate::root::OwnFiles;
use crate::scan::{CancelToken, Look};

use super::blind::Blind;
use super::dirty::{Debounce, Dirty};
use super::heat::Heat;
use super::mounts::Mount;
use super::options::RootWatch;
use super::schedule::{Schedule, Timer};

pub(super) const SECOND_NS: i64 = 1_000_000_000;
/// How soon a root that is unavailable is tried again at first, and at last.
const RECHECK_MIN_NS: i64 = SECOND_NS;
const RECHECK_MAX_NS: i64 = 10 * SECOND_NS;
/// How soon a held root is compared as a whole again after something changed in it.
const HELD_NS: i64 = 5 * SECOND_NS;
/// The longest wait between rescans after events were lost again and again.
const BACKOFF_MAX_NS: i64 = 60 * SECOND_NS;
/// The wall clock is looked at this often at least: it may be set, and stands still in sleep.
const WALL_LOOK_NS: i64 = 300 * SECOND_NS;
/// A manual clock does not wake anybody: it is looked at this often.
const MANUAL_SLICE: Duration = Duration::from_millis(2);
/// Polling takes one part in so many of the time at most.
const POLL_SHARE: i64 = 20;

/// Why a whole root is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Startup,
    /// Events were lost.
    Lost,
    /// The root was deleted and made again.
    Recreated,
    /// The root can be trusted again, or its options changed.
    Again,
    Quick,
    Full,
    Poll,
}

impl Why {
    pub(super) fn kind(self) -> OperationKind {
        match self {
            Self::Startup => OperationKind::Startup,
            Self::Full => OperationKind::Full,
            _ => OperationKind::Quick,
        }
    }

    pub(super) fn mode(self) -> ScanMode {
        if self == Self::Full { ScanMode::Full } else { ScanMode::Quick }
    }
}

/// What the root's thread does next.
pub(super) enum Step {
    Stop,
    /// Nothing, until the monotonic clock shows this.
    Wait(Option<i64>),
    /// See whether the directory is still the one that it was.
    Guard,
    Scan(Why),
    /// Look at what was heard of.
    Look(Vec<Look>),
    /// Look at what nothing can be heard of.
    Poll(Vec<Look>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Rescan {
    pub(super) why: Why,
    pub(super) due_ns: i64,
}

/// Schedules of one root while they run.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) quick: Option<Timer>,
    pub(super) full: Option<Timer>,
    pub(super) reconcile: Option<Timer>,
}

impl Timers {
    pub(super) fn new(watch: &RootWatch, seed: u64, last_full_ns: i64, now_ns: i64) -> Self {
        let timer = |schedule: Option<Schedule>, salt: u64, last: Option<i64>| {
            schedule
                .map(|schedule| Timer::new(schedule, seed.wrapping_mul(3).wrapping_add(salt), last, now_ns))
        };
        Self {
            quick: timer(watch.quick.clone(), 0, None),
            full: timer(watch.full.clone(), 1, Some(last_full_ns).filter(|&ns| ns != 0)),
            reconcile: timer(watch.reconciliation(), 2, None),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Timer> {
        [&self.quick, &self.full, &self.reconcile].into_iter().flatten()
    }

    /// A whole scan has run.
    fn ran(&mut self, why: Why, now_ns: i64) {
        let full = self.full.as_mut().filter(|_| why == Why::Full);
        let quick = self.quick.as_mut().filter(|_| why != Why::Poll);
        for timer in [full, quick, self.reconcile.as_mut()].into_iter().flatten() {
            timer.ran(now_ns);
        }
    }

    fn due(&mut self, now_ns: i64) -> Option<Why> {
        let is_due = |timer: &mut Option<Timer>| timer.as_mut().is_some_and(|timer| timer.is_due(now_ns));
        // Each is asked every time: a timer notices by that when the clock is set.
        let (full, quick) = (is_due(&mut self.full), is_due(&mut self.quick));
        let reconcile = is_due(&mut self.reconcile);
        if full {
            return Some(Why::Full);
        }
        (quick || reconcile).then_some(Why::Quick)
    }
}

pub(super) struct State {
    pub(super) stop: bool,
    pub(super) paused: bool,
    /// A scan or look is under way.
    pub(super) busy: bool,
    pub(super) cancel: CancelToken,
    pub(super) watch: RootWatch,
    /// Looked at by the clock; the reason where it was not asked for.
    pub(super) polls: bool,
    pub(super) why_polls: Option<String>,
    pub(super) dirty: Dirty,
    /// Inode numbers of files with several names that the last look found changed.
    pub(super) linked: HashSet<u64>,
    pub(super) rescan: Option<Rescan>,
    pub(super) timers: Timers,
    pub(super) poll_at_ns: Option<i64>,
    pub(super) heat: Heat,
    pub(super) unavailable: bool,
    recheck_ns: i64,
    recheck_in_ns: i64,
    pub(super) check_guard: bool,
    /// The directory of the root was seen to be deleted.
    pub(super) deleted: bool,
    pub(super) coherent: bool,
    pub(super) coverage: Coverage,
    pub(super) reason: Option<String>,
    pub(super) events: u64,
    pub(super) overflows: u64,
    pub(super) mounts: BTreeSet<Mount>,
    /// Places that no event told of: what is missing there may be unmounted, not deleted.
    pub(super) untold: Vec<Look>,
    /// Nothing is tried before this, after a failure.
    pub(super) hold_ns: i64,
    pub(super) failures: u32,
    backoff_ns: i64,
    lost_ns: i64,
    /// Numbers of the flushes asked for, done, and what was done for which.
    pub(super) asked: u64,
    pub(super) done: u64,
    polled_for: u64,
    checked_for: u64,
    pub(super) failed_for: u64,
    pub(super) failure: Option<Error>,
}

/// One watched root.
pub(super) struct Root {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The engine's own files, where they lie in the root.
    pub(super) own_files: Option<OwnFiles>,
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// The root's thread waits here.
    wake: Condvar,
    /// Whoever waits for the root's thread waits here.
    settled: Condvar,
    pub(super) blind: Blind,
    is_awaited: AtomicBool,
}

impl Root {
    pub(super) fn new(
        id: u32,
        name: String,
        path: PathBuf,
        own_files: Option<OwnFiles>,
        clock: Clock,
        (watch, timers): (RootWatch, Timers),
    ) -> Self {
        let now = clock.mono_ns();
        let poll_ns = ms(watch.poll_ms);
        Self {
            id,
            name,
            path,
            own_files,
            clock,
            state: Mutex::new(State {
                stop: false,
                paused: false,
                busy: false,
                cancel: CancelToken::new(),
                watch,
                polls: false,
                why_polls: None,
                dirty: Dirty::default(),
                linked: HashSet::new(),
                rescan: Some(Rescan { why: Why::Startup, due_ns: now }),
                timers,
                poll_at_ns: None,
                heat: Heat::new(poll_ns),
                unavailable: false,
                recheck_ns: now,
                recheck_in_ns: RECHECK_MIN_NS,
                check_guard: false,
                deleted: false,
                coherent: false,
                coverage: Coverage::Native,
                reason: None,
                events: 0,
                overflows: 0,
                mounts: BTreeSet::new(),
                untold: Vec::new(),
                hold_ns: i64::MIN,
                failures: 0,
                backoff_ns: 0,
                lost_ns: i64::MIN,
                asked: 0,
                done: 0,
                polled_for: 0,
                checked_for: 0,
                failed_for: 0,
                failure: None,
            }),
            wake: Condvar::new(),
            settled: Condvar::new(),
            blind: Blind::default(),
            is_awaited: AtomicBool::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something heard, and wakes the thread where it did not expect any. True when it was too
    /// much to be looked at one by one.
    pub(super) fn hear(&self, note: impl FnOnce(&mut Dirty, i64)) -> bool {
        let mut state = self.lock();
        let now = self.clock.mono_ns();
        state.events += 1;
        let wakes = if state.unavailable {
            // Everything is looked at when it is back; perhaps this is the first sign of it.
            let soon = now.saturating_add(state.debounce().quiet_ns);
            let is_sooner = soon < state.recheck_ns;
            state.recheck_ns = soon.min(state.recheck_ns);
            is_sooner
        } else {
            let was_empty = state.dirty.is_empty();
            note(&mut state.dirty, now);
            was_empty
        };
        let is_overfull = state.dirty.take_overfull();
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
        is_overfull
    }

    /// A name is to be looked at once more, with everything below it.
    pub(super) fn again(&self, dir: &[u8], name: &[u8]) {
        let now = self.clock.mono_ns();
        self.tell(|state| state.dirty.name(dir, name, true, now));
    }

    /// Changes what the thread goes by, and wakes it.
    pub(super) fn tell<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.lock());
        self.wake.notify_one();
        answer
    }

    /// Waits until the thread has come to what `met` asks for, and gives its answer. `None` at the
    /// deadline.
    pub(super) fn wait_for<T>(
        &self,
        deadline: Option<Instant>,
        met: impl Fn(&State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(answer) = met(&state) {
                return Some(answer);
            }
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// True while somebody waits for a flush.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed)
    }

    /// Asks for everything to be looked at; the number of the flush.
    pub(super) fn ask(&self) -> u64 {
        self.tell(|state| {
            self.is_awaited.store(true, Ordering::Relaxed);
            state.asked += 1;
            state.asked
        })
    }

    pub(super) fn settle(&self) {
        self.settled.notify_all();
    }

    /// Waits until there is something to do, and marks the root busy with it.
    pub(super) fn next_step(&self) -> Step {
        let mut state = self.lock();
        state.busy = false;
        self.settled.notify_all();
        loop {
            let now = self.clock.mono_ns();
            match state.decide(now, self.clock.now_ns(), self.blind.is_any()) {
                Step::Wait(until) => {
                    self.is_awaited.store(false, Ordering::Relaxed);
                    self.settled.notify_all();
                    let nap = |until: i64| until.saturating_sub(now).max(0).unsigned_abs();
                    let wait = until.map(|until| Duration::from_nanos(nap(until)));
                    let wait =
                        if self.clock.is_manual() && until.is_some() { Some(MANUAL_SLICE) } else { wait };
                    state = match wait {
                        None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                        Some(wait) => {
                            self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                        }
                    };
                }
                step => {
                    // A flush may be done although there is something else to do.
                    self.settled.notify_all();
                    state.busy = !matches!(step, Step::Stop);
                    state.cancel = CancelToken::new();
                    return step;
                }
            }
        }
    }
}

impl State {
    pub(super) fn debounce(&self) -> Debounce {
        Debounce { quiet_ns: ms(self.watch.debounce_ms), max_wait_ns: ms(self.watch.longest_wait_ms()) }
    }

    /// What to do now. Someone who waits for a flush makes everything due.
    fn decide(&mut self, now: i64, wall: i64, blind: bool) -> Step {
        if self.stop {
            return Step::Stop;
        }
        if self.paused {
            return Step::Wait(None);
        }
        let hurry = self.asked > self.done;
        if std::mem::take(&mut self.check_guard) {
            return Step::Guard;
        }
        if hurry && self.checked_for < self.asked {
            self.checked_for = self.asked;
            return Step::Guard;
        }
        if self.unavailable {
            if now >= self.recheck_ns {
                self.recheck_ns = now.saturating_add(self.recheck_in_ns);
                return Step::Guard;
            }
            self.done = self.asked;
            return Step::Wait(Some(self.recheck_ns));
        }
        if self.dirty.take_overfull() {
            self.lose(now);
        }
        let eager = hurry && self.failed_for < self.asked;
        if let Some(rescan) = self.rescan
            && (eager || (now >= rescan.due_ns && now >= self.hold_ns))
        {
            self.rescan = None;
            return Step::Scan(rescan.why);
        }
        if eager && !self.dirty.is_empty() {
            return Step::Look(self.dirty.take_all());
        }
        if (eager || now >= self.hold_ns) && !self.untold.is_empty() {
            return Step::Poll(std::mem::take(&mut self.untold));
        }
        let is_blind = self.polls || blind;
        if eager && is_blind && self.polled_for < self.asked {
            self.polled_for = self.asked;
            return Step::Poll(Vec::new());
        }
        self.done = self.asked;
        if now >= self.hold_ns {
            let debounce = self.debounce();
            if self.dirty.due_ns(debounce).is_some_and(|due| due <= now) {
                return Step::Look(self.dirty.take_due(debounce, now));
            }
            if let Some(why) = self.timers.due(wall) {
                return Step::Scan(why);
            }
            if is_blind && self.poll_at_ns.is_none_or(|at| at <= now) {
                return Step::Poll(Vec::new());
            }
            let hot = if is_blind { self.heat.due(now) } else { Vec::new() };
            if !hot.is_empty() {
                let look = |path| Look { path, listing: true, ..Look::default() };
                return Step::Poll(hot.into_iter().map(look).collect());
            }
        }
        Step::Wait(self.next_ns(now, wall, is_blind))
    }

    /// When the thread has to look again, by the monotonic clock.
    fn next_ns(&self, now: i64, wall: i64, is_blind: bool) -> Option<i64> {
        let scheduled = self.timers.all().filter_map(Timer::next_ns).min();
        let scheduled =
            scheduled.map(|at| now.saturating_add(at.saturating_sub(wall).clamp(0, WALL_LOOK_NS)));
        let polled = if is_blind { [self.poll_at_ns, self.heat.next_ns()] } else { [None, None] };
        let untold = (!self.untold.is_empty()).then_some(now);
        let due = [self.dirty.due_ns(self.debounce()), self.rescan.map(|r| r.due_ns), scheduled, untold];
        due.into_iter().chain(polled).flatten().min().map(|at| at.max(self.hold_ns))
    }

    /// Events were lost: the root is scanned soon, and later the more often that happens.
    pub(super) fn lose(&mut self, now: i64) {
        self.overflows += 1;
        self.coherent = false;
        let long_ago = now.saturating_sub(self.lost_ns) > BACKOFF_MAX_NS;
        self.backoff_ns = match self.backoff_ns {
            _ if long_ago => 0,
            0 => SECOND_NS,
            delay => (delay * 2).min(BACKOFF_MAX_NS),
        };
        self.lost_ns = now;
        if self.rescan.is_none() {
            let due_ns = now.saturating_add(self.backoff_ns.max(self.debounce().quiet_ns));
            self.rescan = Some(Rescan { why: Why::Lost, due_ns });
        }
    }

    /// An unavailable root is tried again later and later.
    pub(super) fn recheck_later(&mut self, now: i64) {
        self.recheck_ns = now.saturating_add(self.recheck_in_ns);
        self.recheck_in_ns = self.recheck_in_ns.saturating_mul(2).min(RECHECK_MAX_NS);
    }

    /// Scans the whole root some time after something changed in a held one: what was missing may be
    /// back.
    pub(super) fn recheck_held(&mut self, now: i64) {
        if self.rescan.is_none() {
            self.rescan = Some(Rescan { why: Why::Again, due_ns: now.saturating_add(HELD_NS) });
        }
    }

    /// Scans the whole root next.
    pub(super) fn scan_soon(&mut self, why: Why, now: i64) {
        self.rescan = Some(Rescan { why, due_ns: now });
    }

    /// Looks that came to nothing are made again.
    pub(super) fn look_again(&mut self, looks: Vec<Look>, heard: bool, now: i64) {
        if heard {
            self.dirty.put_back(looks, now);
        } else {
            self.untold.extend(looks);
        }
    }

    /// Something failed: it is tried again later and later.
    pub(super) fn hold(&mut self, now: i64, error: Error) {
        let delay = SECOND_NS.saturating_mul(1 << self.failures.min(6));
        self.failures += 1;
        self.hold_ns = now.saturating_add(delay);
        self.failed_for = self.asked;
        self.failure = Some(error);
    }

    pub(super) fn succeeded(&mut self) {
        self.recheck_in_ns = RECHECK_MIN_NS;
        self.failures = 0;
        self.hold_ns = i64::MIN;
        self.failure = None;
    }

    /// A whole scan has run to its end.
    pub(super) fn scanned(&mut self, why: Why, wall: i64) {
        self.timers.ran(why, wall);
    }

    /// A poll that began at `began` has ended.
    pub(super) fn polled(&mut self, began: i64, now: i64) {
        let took = now.saturating_sub(began).max(0);
        let rest = ms(self.watch.poll_ms).saturating_sub(took).max(took.saturating_mul(POLL_SHARE - 1));
        self.poll_at_ns = Some(now.saturating_add(rest));
    }
}

/// Milliseconds as nanoseconds.
pub(super) fn ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        let clock = Clock::manual(0);
        let watch = RootWatch::new();
        let timers = Timers::new(&watch, 1, 0, 0);
        Root::new(1, "r".into(), "/r".into(), None, clock, (watch, timers))
    }

    fn is_scan(step: &Step, why: Why) -> bool {
        matches!(step, Step::Scan(found) if *found == why)
    }

    #[test]
    fn it_starts_with_a_scan_and_then_waits_for_events() {
        let root = root();
        let mut state = root.lock();
        assert!(is_scan(&state.decide(0, 0, false), Why::Startup));
        state.scanned(Why::Startup, 0);
        assert!(matches!(state.decide(1, 1, false), Step::Wait(Some(_))), "for the reconciliation");
        state.dirty.name(b"d", b"f", false, 1);
        assert!(matches!(state.decide(299_000_000, 1, false), Step::Wait(Some(300_000_001))));
        assert!(matches!(state.decide(300_000_001, 1, false), Step::Look(looks) if looks.len() == 1));
    }

    #[test]
    fn repeated_loss_backs_off_and_forgets_after_a_while() {
        let root = root();
        let mut state = root.lock();
        let mut delays = Vec::new();
        let mut now = SECOND_NS;
        for _ in 0..9 {
            state.rescan = None;
            state.lose(now);
            delays.push((state.rescan.map_or(0, |r| r.due_ns) - now) / 1_000_000);
            now += SECOND_NS;
        }
        assert_eq!(delays, [300, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        state.rescan = None;
        state.lose(now + 2 * BACKOFF_MAX_NS);
        assert_eq!(state.rescan.map(|r| r.due_ns - now - 2 * BACKOFF_MAX_NS), Some(300_000_000));
        assert_eq!((state.overflows, state.coherent), (10, false));
    }

    #[test]
    fn a_flush_makes_everything_due_once() {
        let root = root();
        let mut state = root.lock();
        state.asked = 1;
        state.rescan = Some(Rescan { why: Why::Lost, due_ns: i64::MAX });
        state.dirty.name(b"", b"f", false, 0);
        assert!(matches!(state.decide(0, 0, true), Step::Guard));
        assert!(is_scan(&state.decide(0, 0, true), Why::Lost));
        assert!(matches!(state.decide(0, 0, true), Step::Look(_)));
        assert_eq!(state.done, 0);
        assert!(matches!(state.decide(0, 0, true), Step::Poll(_)), "what cannot be heard of is looked at");
        state.polled(0, 0);
        assert!(matches!(state.decide(0, 0, true), Step::Wait(_)));
        assert_eq!(state.done, 1);
    }

    #[test]
    fn a_flush_that_fails_ends_and_says_so() {
        let root = root();
        let mut state = root.lock();
        state.asked = 1;
        assert!(matches!(state.decide(0, 0, false), Step::Guard));
        assert!(is_scan(&state.decide(0, 0, false), Why::Startup));
        state.scan_soon(Why::Startup, 0);
        state.hold(0, Error::invalid("x"));
        assert!(matches!(state.decide(0, 0, false), Step::Wait(Some(SECOND_NS))));
        assert!(state.done == 1 && state.failure.is_some());
        assert!(is_scan(&state.decide(SECOND_NS, 0, false), Why::Startup), "tried again later");
    }

    #[test]
    fn polling_never_takes_more_than_its_share() {
        let root = root();
        let mut state = root.lock();
        state.polled(0, SECOND_NS / 10);
        assert_eq!(state.poll_at_ns, Some(10 * SECOND_NS), "ten seconds after the last tick");
        state.polled(0, 10 * SECOND_NS);
        assert_eq!(state.poll_at_ns, Some(200 * SECOND_NS));
    }

    #[test]
    fn an_unavailable_root_is_tried_again_and_holds_up_no_flush() {
        let root = root();
        let mut state = root.lock();
        state.unavailable = true;
        state.recheck_ns = SECOND_NS;
        state.asked = 1;
        assert!(matches!(state.decide(0, 0, false), Step::Guard));
        assert!(matches!(state.decide(0, 0, false), Step::Wait(Some(SECOND_NS))));
        assert_eq!(state.done, 1);
    }
}
