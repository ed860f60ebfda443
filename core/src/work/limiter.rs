//! A rate limiter: at most so many requests in any rolling window, for any number of threads.
//!
//! The promise is meant where the requests are counted, at the server. One arrives there at any moment
//! between its grant and its answer. So a permit counts from its grant until one window after its end, and
//! no server sees more than the limit in any window, however slow the way is.
//!
//! Invariants: no grant at time g while the cost of the permits that are out, or that ended after
//! g - window, would exceed the limit, the new one included. Grants are given in the order of the calls.
//! No grant lies beyond the horizon that was saved, so a restart never begins with a burst.
//!
//! Time is that of a clock that nobody sets; it begins at 0 and never goes back. Only what is saved for a
//! restart, and what is shown, is by the wall clock.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::Result;

use super::retry_after::RETRY_AFTER_MAX;

mod rate;
mod state;

pub use rate::RateLimit;
use state::{Kept, Next, State};

/// A manual clock does not wake anybody: it is looked at this often.
const MANUAL_SLICE: Duration = Duration::from_millis(2);
/// Nobody sleeps for longer without a look at the clock.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// What a limiter has come to at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterStatus {
    /// Requests in any window, as asked for.
    pub limit: u32,
    /// Requests in any window at the moment: the limit, or less after throttling.
    pub effective_limit: u32,
    /// The cost of the permits that are out or that ended less than a window ago. After a restart that has
    /// to assume the worst, the whole limit.
    pub in_window: u32,
    /// Calls that wait.
    pub waiting: usize,
    /// Until when nobody is granted anything because of throttling, in nanoseconds since 1970-01-01 UTC.
    pub paused_until_ns: Option<i64>,
    /// Permits that were granted since the limiter was made.
    pub granted: u64,
    /// Reports of throttling since then.
    pub throttled: u64,
    /// Reports of success since then.
    pub succeeded: u64,
}

/// What a restart must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Nanoseconds since 1970: until then requests may have been granted, and may have arrived.
    pub(crate) until_ns: i64,
    /// The effective limit, in thousandths of the limit.
    pub(crate) share: u16,
    /// Nanoseconds since 1970: nobody is granted anything before; 0 for no pause.
    pub(crate) paused_until_ns: i64,
}

/// Keeps what a restart must know, safe against a crash once [`Keeper::save`] has returned.
///
/// Both are called without any lock of the limiter, and never from two threads at once. Neither may call
/// the limiter.
pub(crate) trait Keeper: Send + Sync {
    /// Returns what was saved last; `None` when nothing ever was.
    fn load(&self) -> Option<Saved>;

    /// Takes the place of what was saved before.
    fn save(&self, saved: Saved) -> Result<()>;
}

/// Grants at most `limit` requests in any rolling window.
///
/// Clones share one limiter; any number of threads may use it at once. It begins with an empty window:
/// what an earlier process has sent it does not know.
///
/// ```
/// use std::time::Duration;
/// use treewarden::{RateLimit, RateLimiter};
///
/// let limiter = RateLimiter::new(&RateLimit::new(35, Duration::from_secs(10)))?;
/// if let Some(permit) = limiter.acquire(1, Some(Duration::from_secs(60)))? {
///     // Send the request, wait for the answer. On a 429: `permit.throttled(retry_after)`.
///     permit.done();
///     limiter.succeeded();
/// }
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Shared>);

impl RateLimiter {
    /// Makes a limiter on the clock of the system.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as [`RateLimit::check`].
    pub fn new(rate: &RateLimit) -> Result<Self> {
        Self::with_clock(rate, Clock::real())
    }

    /// Makes a limiter on a clock that a test moves. Timeouts, too, are by that clock.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as [`RateLimit::check`].
    pub fn with_clock(rate: &RateLimit, clock: Clock) -> Result<Self> {
        Self::make(rate, clock, None)
    }

    /// Makes a limiter that goes on where the one before it ended, by what `keeper` has saved.
    pub(crate) fn kept(rate: &RateLimit, clock: Clock, keeper: Arc<dyn Keeper>) -> Result<Self> {
        Self::make(rate, clock, Some(keeper))
    }

    fn make(rate: &RateLimit, clock: Clock, keeper: Option<Arc<dyn Keeper>>) -> Result<Self> {
        rate.check()?;
        let saved = keeper.as_ref().and_then(|keeper| keeper.load());
        // After loading, which takes its time, and before the other clock: then the window never ends early.
        let wall_ns = clock.now_ns();
        let mut state = State::new(rate, clock.mono_ns());
        if let Some(saved) = saved {
            state.begin_after(saved, wall_ns);
        }
        let (state, settled) = (Mutex::new(state), Condvar::new());
        Ok(Self(Arc::new(Shared { clock, keeper, state, settled })))
    }

    /// Waits until a request of `cost` may be sent, at most for `timeout` or without end. `None` on a
    /// timeout and on [`LimiterInterrupter::interrupt`].
    ///
    /// Calls are served in their order: a small cost never overtakes a large one. A cost above the effective
    /// limit waits until the limit has come back. With a timeout of zero it is granted at once or not at
    /// all.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a cost of 0 or above the limit, `Closed` after [`RateLimiter::close`]; where
    /// the limiter is kept in a state file, whatever writing that file says, and nothing is granted.
    pub fn acquire(&self, cost: u32, timeout: Option<Duration>) -> Result<Option<Permit>> {
        let shared = &self.0;
        let mut state = shared.look();
        state.check_cost(cost)?;
        state.check_open()?;
        if std::mem::take(&mut state.interrupt_next) {
            return Ok(None);
        }
        let timeout = timeout.and_then(|timeout| i64::try_from(timeout.as_nanos()).ok());
        let deadline = timeout.and_then(|timeout| state.now_ns.checked_add(timeout));
        let interrupts = state.interrupts;
        let (ticket, wake) = state.queue_up();
        let granted = loop {
            if state.interrupts != interrupts {
                break Ok(None);
            }
            if let Err(closed) = state.check_open() {
                break Err(closed);
            }
            let mut until = deadline;
            if state.is_first(ticket) {
                match state.next(cost) {
                    Next::Now if !shared.must_save(&state) => break Ok(Some(state.grant(cost))),
                    Next::Now if !state.saving => {
                        let (locked, saved) = shared.save(state, None, Some(ticket));
                        state = locked;
                        match saved {
                            Ok(()) => continue,
                            Err(error) => break Err(error),
                        }
                    }
                    // Whoever saves, and whoever ends a permit, wakes the first in the queue.
                    Next::Now | Next::AfterAnEnd => {}
                    Next::At(at) => until = Some(until.map_or(at, |until| until.min(at))),
                }
            }
            if deadline.is_some_and(|deadline| deadline <= state.now_ns) {
                break Ok(None);
            }
            state = shared.sleep(&wake, state, until);
        };
        state.leave(ticket);
        drop(state);
        Ok(granted?.map(|grant| self.permit(cost, grant)))
    }

    /// Grants a request of `cost` if it may be sent now. Never waits for its turn and never overtakes those
    /// who wait; where the limiter is kept in a state file, it may write to it.
    ///
    /// # Errors
    ///
    /// As [`RateLimiter::acquire`].
    pub fn try_acquire(&self, cost: u32) -> Result<Option<Permit>> {
        let shared = &self.0;
        let mut state = shared.look();
        state.check_cost(cost)?;
        loop {
            state.check_open()?;
            if !state.queue.is_empty() || !matches!(state.next(cost), Next::Now) {
                return Ok(None);
            }
            if !shared.must_save(&state) {
                let grant = state.grant(cost);
                drop(state);
                return Ok(Some(self.permit(cost, grant)));
            }
            if state.saving {
                return Ok(None);
            }
            let (locked, saved) = shared.save(state, None, None);
            saved?;
            state = locked;
        }
    }

    /// Takes in that the server has refused a request because there were too many: HTTP 429, or 503 with a
    /// `Retry-After`.
    ///
    /// Nobody is granted anything for `retry_after` from now (default: one window; at most seven days),
    /// or for as long as an earlier report has asked for. The effective limit falls to four fifths, down
    /// to [`RateLimit::floor`] of the limit. Requests that were granted before the last such cut belong to
    /// the same incident and cut nothing again. Of which request this is the answer is guessed: of one
    /// from before the cut while any of those is out, for a window after the pause at most, else of the
    /// newest. [`Permit::throttled`] knows.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let state = self.0.look();
        self.0.throttle(state, None, retry_after);
    }

    /// Takes in that a request has gone well. It is counted. What brings a lowered limit back is time: 5 %
    /// of the limit with each full window after the last report of throttling and the end of its pause.
    pub fn succeeded(&self) {
        self.0.lock().succeeded += 1;
    }

    /// Returns a handle that wakes the calls that wait.
    #[must_use]
    pub fn interrupter(&self) -> LimiterInterrupter {
        LimiterInterrupter(Arc::downgrade(&self.0))
    }

    /// True after [`RateLimiter::close`].
    pub(super) fn is_closed(&self) -> bool {
        self.0.look().closed
    }

    /// Ends the limiter for all clones: calls that wait, and later ones, get `Closed`. Permits that are out
    /// stay as they are. Where it is kept in a state file, writes down how full the window is; if that
    /// fails, the next start assumes the worst.
    pub fn close(&self) {
        let shared = &self.0;
        let mut state = shared.look();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.wake_all();
        let mut state = shared.settle(state);
        shared.tick(&mut state);
        let Some(until_ns) = state.closing_ns() else { return };
        // It is over, whether this can be written or not: what was saved before says more, not less.
        let _ = shared.save(state, Some(until_ns), None);
    }

    /// Returns how things stand.
    #[must_use]
    pub fn status(&self) -> LimiterStatus {
        let state = self.0.look();
        let pause_ns = state.paused_until_ns.saturating_sub(state.now_ns);
        LimiterStatus {
            limit: state.limit,
            effective_limit: state.effective(),
            in_window: u32::try_from(state.used()).unwrap_or(u32::MAX),
            waiting: state.queue.len(),
            paused_until_ns: (pause_ns > 0).then(|| self.0.clock.now_ns().saturating_add(pause_ns)),
            granted: state.granted,
            throttled: state.throttled,
            succeeded: state.succeeded,
        }
    }

    fn permit(&self, cost: u32, (number, granted_ns): (u64, i64)) -> Permit {
        Permit { shared: Arc::clone(&self.0), cost, number, granted_ns, at_once: false, is_unused: false }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The right to send one request. Hold it until the answer has come, or until it is certain that none
/// will: the server may receive the request at any moment until then. Dropping it says so.
///
/// A permit that is forgotten (`std::mem::forget`) counts for ever.
#[must_use = "dropping a permit says that the answer has come"]
pub struct Permit {
    shared: Arc<Shared>,
    cost: u32,
    /// Grants are numbered from 1.
    number: u64,
    granted_ns: i64,
    at_once: bool,
    is_unused: bool,
}

impl Permit {
    /// Says that the answer has come. The request counts for one more window from now.
    pub fn done(self) {
        drop(self);
    }

    /// Says that the request was sent at once, by a caller that does not wait for answers. It counts for
    /// one window from its grant, so the promise holds where the requests are sent; at the server only as
    /// far as all of them are equally long on the way.
    pub fn sent_at_once(mut self) {
        self.at_once = true;
    }

    /// Says that nothing was sent and nothing will be: it never counted. Pacing goes on from its grant all
    /// the same.
    pub fn unused(mut self) {
        self.is_unused = true;
    }

    /// Says that the answer was a refusal because there were too many requests, as
    /// [`RateLimiter::throttled`], but certain of which request it was.
    pub fn throttled(self, retry_after: Option<Duration>) {
        self.shared.throttle(self.shared.look(), Some(self.number), retry_after);
    }

    /// Returns what it was asked for with.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.cost
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut state = shared.look();
        if self.is_unused {
            state.withdraw(self.cost, self.number);
            state.wake_first();
            return;
        }
        let end_ns = if self.at_once { self.granted_ns } else { state.now_ns };
        state.end(self.cost, self.number, end_ns);
        state.wake_first();
        // Out for longer than was foreseen. If this fails, the next grant has to save first anyway.
        let is_late = shared.keeper.is_some() && state.wall_ns() > state.kept.until_ns;
        if is_late && !self.at_once && !state.closed && !state.saving {
            let _ = shared.save(state, None, None);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("cost", &self.cost)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Wakes the calls that wait for a limiter, from any thread. Clones wake the same. It does not keep the
/// limiter alive.
#[derive(Debug, Clone)]
pub struct LimiterInterrupter(Weak<Shared>);

impl LimiterInterrupter {
    /// Makes all calls of [`RateLimiter::acquire`] that wait return `None`; if none waits, the next call.
    /// Interrupts before that count once. Never blocks for long.
    pub fn interrupt(&self) {
        let Some(shared) = self.0.upgrade() else { return };
        let mut state = shared.lock();
        if state.queue.is_empty() {
            state.interrupt_next = true;
        } else {
            state.interrupts += 1;
            state.wake_all();
        }
    }
}

type Guard<'g> = MutexGuard<'g, State>;

struct Shared {
    clock: Clock,
    keeper: Option<Arc<dyn Keeper>>,
    state: Mutex<State>,
    /// Told when a save has ended.
    settled: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> Guard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks, and brings everything up to now.
    fn look(&self) -> Guard<'_> {
        let mut state = self.lock();
        self.tick(&mut state);
        state
    }

    fn tick(&self, state: &mut State) {
        state.tick(self.clock.mono_ns());
        if self.keeper.is_some() {
            state.see_wall(self.clock.now_ns());
        }
    }

    /// Sleeps until it is woken, until `until`, or for no reason, and brings everything up to now.
    fn sleep<'g>(&self, wake: &Condvar, state: Guard<'g>, until: Option<i64>) -> Guard<'g> {
        let mut state = match until {
            None => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = Duration::from_nanos(until.saturating_sub(state.now_ns).max(1).unsigned_abs());
                let left = if self.clock.is_manual() { MANUAL_SLICE } else { left.min(SLEEP_MAX) };
                wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        self.tick(&mut state);
        state
    }

    /// True when nothing may be granted before a save.
    fn must_save(&self, state: &State) -> bool {
        self.keeper.is_some() && (state.wall_ns() > state.kept.horizon_ns || state.is_worse_than_kept())
    }

    /// Waits for the end of a save by another thread.
    fn settle<'g>(&self, mut state: Guard<'g>) -> Guard<'g> {
        while state.saving {
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Saves how things stand, with the next horizon or with the time at which all has ended. Nobody else
    /// may be saving. The lock is given away meanwhile; `ticket` is that of a caller that waits.
    fn save<'g>(
        &'g self,
        mut state: Guard<'g>,
        ended_ns: Option<i64>,
        ticket: Option<u64>,
    ) -> (Guard<'g>, Result<()>) {
        let Some(keeper) = &self.keeper else { return (state, Ok(())) };
        let (saved, mut kept) = state.to_keep(ended_ns);
        state.saving = true;
        drop(state);
        let mut turn = Turn { shared: self, ticket, kept: None };
        let began_ns = self.clock.mono_ns();
        let result = keeper.save(saved);
        if result.is_ok() {
            kept.save_ns = self.clock.mono_ns().saturating_sub(began_ns);
            turn.kept = Some(kept);
        }
        drop(turn);
        (self.look(), result)
    }

    fn throttle(&self, mut state: Guard<'_>, number: Option<u64>, retry_after: Option<Duration>) {
        let pause = retry_after.map(|pause| i64::try_from(pause.min(RETRY_AFTER_MAX).as_nanos()));
        let pause_ns = pause.map_or(state.window_ns, |pause| pause.unwrap_or(i64::MAX));
        state.throttle(number, pause_ns);
        if self.keeper.is_some() && state.is_worse_than_kept() {
            let state = self.settle(state);
            // Another thread may have saved it just now.
            if state.is_worse_than_kept() && !state.closed {
                // If it fails, the next grant has to save first.
                let _ = self.save(state, None, None);
            }
        }
    }
}

/// The turn of the one thread that saves. Ends it even where the keeper panics.
struct Turn<'s> {
    shared: &'s Shared,
    ticket: Option<u64>,
    kept: Option<Kept>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.saving = false;
        if let Some(kept) = self.kept.take() {
            state.kept = kept;
        }
        if let Some(ticket) = self.ticket.filter(|_| thread::panicking()) {
            state.leave(ticket);
        }
        state.wake_first();
        self.shared.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Instant;

    use super::state::OUT_NS;
    use super::*;
    use crate::error::{Error, ErrorKind};

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1_000 * MS;
    /// The time at which manual clocks begin.
    const START: i64 = 1_700_000_000 * SECOND;

    fn rate(limit: u32, window_ms: u64) -> RateLimit {
        RateLimit::new(limit, Duration::from_millis(window_ms)).pacing(false)
    }

    fn manual(rate: &RateLimit) -> (RateLimiter, Clock) {
        let clock = Clock::manual(START);
        (RateLimiter::with_clock(rate, clock.clone()).unwrap(), clock)
    }

    fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    /// Long enough for the slowest machine; a test that needs it has failed.
    const LONG: Duration = Duration::from_secs(60);

    fn join<T>(thread: thread::JoinHandle<T>) -> T {
        let begun = Instant::now();
        while !thread.is_finished() {
            assert!(begun.elapsed() < LONG, "it waits for ever");
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().unwrap()
    }

    /// Until so many calls wait.
    fn wait_for(limiter: &RateLimiter, waiting: usize) {
        let begun = Instant::now();
        while limiter.status().waiting != waiting {
            assert!(begun.elapsed() < LONG, "{:?}", limiter.status());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Grants requests of cost 1 until there is no more, and says how many.
    fn drain(limiter: &RateLimiter) -> u32 {
        let mut granted = 0;
        while let Some(permit) = limiter.try_acquire(1).unwrap() {
            permit.done();
            granted += 1;
        }
        granted
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }

        fn one_in(&mut self, n: u64) -> bool {
            self.below(n) == 0
        }
    }

    /// The rule itself, without anything clever: all spans that there ever were.
    struct Reference {
        window_ns: i64,
        /// Grant, end, cost.
        spans: Vec<(i64, Option<i64>, u32)>,
    }

    impl Reference {
        fn used(&self, now: i64) -> u32 {
            let counts = |end: Option<i64>| end.is_none_or(|end| end > now - self.window_ns);
            self.spans.iter().filter(|(_, end, _)| counts(*end)).map(|(_, _, cost)| cost).sum()
        }

        /// Returns the index of the span.
        fn grant(&mut self, now: i64, cost: u32) -> usize {
            self.spans.push((now, None, cost));
            self.spans.len() - 1
        }

        fn end(&mut self, span: usize, end: i64) {
            self.spans[span].1 = Some(end);
        }
    }

    #[test]
    fn random_schedules_never_exceed_the_window_and_waste_nothing() {
        for seed in 0..48 {
            let mut random = Random(seed);
            let limit = [1, 2, 7, 35][usize::try_from(seed % 4).unwrap()];
            let (paced, window_ms) = (seed % 3 == 0, 1 + random.below(20_000));
            let rate = rate(limit, window_ms).pacing(paced);
            let (limiter, clock) = manual(&rate);
            let mut reference = Reference { window_ns: rate.window_ns(), spans: Vec::new() };
            let mut out: Vec<(usize, Permit)> = Vec::new();
            let mut last_grant: Option<(i64, i64)> = None;
            for step in 0..4_000 {
                match random.below(20) {
                    0..6 => clock
                        .set_ns(clock.now_ns() + i64::try_from(random.below(window_ms * 100_000)).unwrap()),
                    // To a nanosecond at which something leaves the window, or just before.
                    6 => {
                        let ends = reference.spans.iter().filter_map(|(_, end, _)| *end);
                        if let Some(end) = ends.filter(|end| end + rate.window_ns() > clock.now_ns()).min() {
                            let early = i64::try_from(random.below(2)).unwrap();
                            clock.set_ns((end + rate.window_ns() - early).max(clock.now_ns()));
                        }
                    }
                    7..10 if !out.is_empty() => {
                        let (span, permit) =
                            out.swap_remove(usize::try_from(random.below(out.len() as u64)).unwrap());
                        match random.below(40) {
                            0 => {
                                let pause = random.below(window_ms * 2);
                                permit.throttled(Some(Duration::from_millis(pause)));
                                reference.end(span, clock.now_ns());
                            }
                            1..10 => {
                                permit.sent_at_once();
                                reference.end(span, reference.spans[span].0);
                            }
                            _ => {
                                permit.done();
                                reference.end(span, clock.now_ns());
                            }
                        }
                    }
                    10 if random.one_in(40) => limiter.throttled(None),
                    _ => {
                        let cost = 1 + u32::try_from(random.below(u64::from(limit) * 5 / 4)).unwrap() / 2;
                        let now = clock.now_ns();
                        let granted = limiter.try_acquire(cost).unwrap();
                        let status = limiter.status();
                        let wanted = reference.used(now) + cost;
                        let gap_is_over = last_grant.is_none_or(|(at, gap)| !paced || now >= at + gap);
                        let fits = wanted <= status.effective_limit && status.paused_until_ns.is_none();
                        if let Some(permit) = granted {
                            assert!(fits, "seed {seed}, step {step}: {wanted} of {status:?}");
                            assert_eq!(status.in_window, wanted);
                            if let Some((at, gap)) = last_grant.filter(|_| paced) {
                                assert!(
                                    now >= at + gap - (gap / 8).clamp(MS / 4, MS),
                                    "seed {seed}, step {step}"
                                );
                            }
                            let effective = i64::from(status.effective_limit);
                            last_grant = Some((now, rate.window_ns() * i64::from(cost) / effective + 1));
                            out.push((reference.grant(now, cost), permit));
                        } else {
                            assert!(
                                !fits || !gap_is_over,
                                "seed {seed}, step {step}: {wanted} of {status:?}"
                            );
                        }
                    }
                }
            }
            assert!(reference.spans.len() > 100, "seed {seed}: {}", reference.spans.len());
        }
    }

    #[test]
    fn no_window_of_the_server_sees_more_however_slow_the_answers_are() {
        // All requests arrive at the last moment before the answer, the next ones at once: the worst case.
        let (limiter, clock) = manual(&rate(35, 10_000));
        let slow: Vec<Permit> = (0..35).map(|_| limiter.try_acquire(1).unwrap().unwrap()).collect();
        clock.advance_ms(60_000);
        assert!(limiter.try_acquire(1).unwrap().is_none(), "they are all on the way");
        drop(slow);
        clock.advance_ms(9_999);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(1);
        assert_eq!(drain(&limiter), 35);
    }

    #[test]
    fn a_caller_who_tracks_no_answers_counts_from_the_grant() {
        let (limiter, clock) = manual(&rate(2, 1_000));
        let (first, second) =
            (limiter.try_acquire(1).unwrap().unwrap(), limiter.try_acquire(1).unwrap().unwrap());
        clock.advance_ms(400);
        first.sent_at_once();
        clock.advance_ms(600);
        assert_eq!(drain(&limiter), 1);
        second.sent_at_once();
        assert_eq!(drain(&limiter), 1, "that one was over long ago");
    }

    #[test]
    fn the_limit_is_used_when_work_always_waits() {
        for paced in [false, true] {
            for (limit, window_ms) in [(35, 10_000), (1, 50), (100, 1_000), (7, 1_000), (5_000, 10_000)] {
                let (limiter, clock) = manual(&rate(limit, window_ms).pacing(paced));
                let (windows, mut granted) = (20, 0);
                for _ in 0..windows * window_ms {
                    granted += u64::from(drain(&limiter));
                    clock.advance_ms(1);
                }
                let whole = windows * u64::from(limit);
                assert!(granted <= whole, "{limit} in {window_ms} ms: {granted} of {whole}");
                assert!(granted * 100 >= whole * 97, "{limit} in {window_ms} ms: {granted} of {whole}");
            }
        }
    }

    #[test]
    fn paced_grants_are_spread_and_never_come_in_bursts() {
        let (limiter, clock) = manual(&rate(10, 1_000).pacing(true));
        assert_eq!(drain(&limiter), 1);
        clock.advance_ms(99);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(1);
        assert_eq!(drain(&limiter), 1);
        // Nothing is saved up in a long time.
        clock.advance_ms(1_000_000);
        assert_eq!(drain(&limiter), 1);
        clock.advance_ms(99);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(2);
        assert_eq!(drain(&limiter), 1);
        // That came a little late, as a sleeping thread does: the gap behind it is shorter by as much.
        clock.advance_ms(98);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(1);
        assert_eq!(drain(&limiter), 1);
        clock.advance_ms(99);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(1);
        // What costs more leaves a longer gap behind it.
        limiter.try_acquire(5).unwrap().unwrap().done();
        clock.advance_ms(499);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(1);
        assert_eq!(drain(&limiter), 1);
    }

    #[test]
    fn waiting_calls_are_served_in_their_order_whatever_they_cost() {
        let (limiter, clock) = manual(&rate(10, 1_000));
        limiter.try_acquire(6).unwrap().unwrap().done();
        let costs = [5, 1, 10, 2, 2, 6, 1];
        let (tell, told) = mpsc::channel();
        let threads: Vec<_> = costs
            .into_iter()
            .enumerate()
            .map(|(i, cost)| {
                let (waiting, tell) = (limiter.clone(), tell.clone());
                let thread = thread::spawn(move || {
                    let permit = waiting.acquire(cost, None).unwrap().unwrap();
                    tell.send((permit.number, i)).unwrap();
                });
                wait_for(&limiter, i + 1);
                // There is room for it, but somebody waits.
                assert!(limiter.try_acquire(1).unwrap().is_none());
                thread
            })
            .collect();
        // The numbers of the grants that have ended, each time that the clock has moved on by a window.
        for (left, granted) in [(5, 2), (4, 1), (1, 3), (0, 1)] {
            clock.advance_ms(1_000);
            wait_for(&limiter, left);
            let mut order: Vec<_> = (0..granted).map(|_| told.recv_timeout(LONG).unwrap()).collect();
            order.sort_unstable();
            let first = costs.len() - left - granted;
            let expected: Vec<_> = (first..first + granted).map(|i| (i as u64 + 2, i)).collect();
            assert_eq!(order, expected);
        }
        threads.into_iter().for_each(join);
    }

    #[test]
    fn one_who_gives_up_at_the_head_lets_the_next_through() {
        let (limiter, clock) = manual(&rate(10, 1_000));
        let first = limiter.try_acquire(5).unwrap().unwrap();
        let spawn = |cost, timeout_ms: Option<u64>| {
            let waiting = limiter.clone();
            let timeout = timeout_ms.map(Duration::from_millis);
            thread::spawn(move || waiting.acquire(cost, timeout).unwrap().map(|permit| permit.number))
        };
        let large = spawn(10, Some(50));
        wait_for(&limiter, 1);
        let middle = spawn(10, Some(20));
        wait_for(&limiter, 2);
        let small = spawn(5, None);
        wait_for(&limiter, 3);
        // In the middle of the queue, too, a timeout is kept.
        clock.advance_ms(20);
        assert_eq!(join(middle), None);
        assert_eq!(limiter.status().waiting, 2);
        clock.advance_ms(29);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(limiter.status().waiting, 2);
        clock.advance_ms(1);
        assert_eq!(join(large), None);
        assert_eq!(join(small), Some(2));
        first.done();
        let status = limiter.status();
        assert_eq!((status.granted, status.in_window, status.waiting), (2, 10, 0));
    }

    #[test]
    fn the_end_of_a_permit_wakes_the_one_who_waits_for_it() {
        // On the clock of the system nobody polls: without the wake-up this waits for ever.
        let limiter = RateLimiter::new(&rate(1, 20)).unwrap();
        let first = limiter.acquire(1, None).unwrap().unwrap();
        let waiting = limiter.clone();
        let second = thread::spawn(move || waiting.acquire(1, Some(LONG)).unwrap().is_some());
        wait_for(&limiter, 1);
        let before = Instant::now();
        first.done();
        assert!(join(second));
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert!(before.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn timeouts_are_kept_on_the_clock_of_the_system() {
        let limiter = RateLimiter::new(&rate(1, 3_600_000)).unwrap();
        limiter.acquire(1, Some(Duration::ZERO)).unwrap().unwrap().done();
        let before = Instant::now();
        assert!(limiter.acquire(1, Some(Duration::ZERO)).unwrap().is_none());
        assert!(limiter.acquire(1, Some(Duration::from_millis(20))).unwrap().is_none());
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert!(before.elapsed() < LONG);
        assert_eq!(limiter.status().waiting, 0);
    }

    #[test]
    fn sixty_four_threads_never_exceed_it() {
        const WINDOW: Duration = Duration::from_millis(100);
        for paced in [false, true] {
            let limiter = RateLimiter::new(&rate(20, 100).pacing(paced)).unwrap();
            let (tell, told) = mpsc::channel();
            let begun = Instant::now();
            let threads: Vec<_> = (0..64_u64)
                .map(|i| {
                    let (limiter, tell) = (limiter.clone(), tell.clone());
                    thread::spawn(move || {
                        let mut random = Random(i);
                        while begun.elapsed() < Duration::from_millis(1_000) {
                            let cost = 1 + u32::try_from(random.below(2)).unwrap();
                            let left = Duration::from_millis(1_000).saturating_sub(begun.elapsed());
                            let Some(permit) = limiter.acquire(cost, Some(left)).unwrap() else { break };
                            // It arrives at some moment, and the answer comes later.
                            thread::sleep(Duration::from_micros(random.below(300)));
                            tell.send((Instant::now(), cost)).unwrap();
                            thread::sleep(Duration::from_micros(random.below(300)));
                            permit.done();
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(join);
            drop(tell);
            let mut arrived: Vec<_> = told.iter().collect();
            arrived.sort_unstable();
            for (at, _) in &arrived {
                let within = arrived.iter().filter(|(other, _)| other >= at && *other < *at + WINDOW);
                let sum: u32 = within.map(|(_, cost)| cost).sum();
                assert!(sum <= 20, "{sum} within a window");
            }
            // Not a measurement: a machine may be busy. But they did get on.
            assert!(arrived.len() > 20, "{}", arrived.len());
            assert_eq!(limiter.status().waiting, 0);
        }
    }

    #[test]
    fn throttling_pauses_everybody_for_as_long_as_the_server_says() {
        let pause = |retry_after: Option<Duration>| {
            let (limiter, clock) = manual(&rate(10, 1_000));
            limiter.throttled(retry_after);
            let until = limiter.status().paused_until_ns;
            let mut waited_ms = 0;
            while drain(&limiter) == 0 {
                clock.advance_ms(50);
                waited_ms += 50;
            }
            assert_eq!(until, (waited_ms > 0).then_some(START + waited_ms * MS));
            assert_eq!(limiter.status().paused_until_ns, None);
            waited_ms
        };
        assert_eq!(pause(None), 1_000);
        assert_eq!(pause(Some(Duration::from_millis(2_500))), 2_500);
        assert_eq!(pause(Some(Duration::ZERO)), 0);
        assert_eq!(pause(Some(Duration::MAX)), 7 * 24 * 3_600_000);

        // A shorter one takes nothing from a longer one.
        let (limiter, clock) = manual(&rate(10, 1_000));
        limiter.throttled(Some(Duration::from_secs(5)));
        clock.advance_ms(1_000);
        limiter.throttled(Some(Duration::from_secs(1)));
        assert_eq!(limiter.status().paused_until_ns, Some(START + 5 * SECOND));
        limiter.throttled(Some(Duration::from_secs(9)));
        assert_eq!(limiter.status().paused_until_ns, Some(START + 10 * SECOND));
        assert_eq!(limiter.status().throttled, 3);
    }

    #[test]
    fn a_waiting_call_sits_out_the_pause() {
        let (limiter, clock) = manual(&rate(10, 1_000));
        limiter.throttled(Some(Duration::from_secs(5)));
        let waiting = limiter.clone();
        let waiter = thread::spawn(move || waiting.acquire(1, None).unwrap().is_some());
        wait_for(&limiter, 1);
        clock.advance_ms(4_000);
        limiter.throttled(Some(Duration::from_secs(2)));
        clock.advance_ms(1_999);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(limiter.status().waiting, 1);
        clock.advance_ms(1);
        assert!(join(waiter));
    }

    #[test]
    fn one_incident_cuts_once() {
        let zero = Some(Duration::ZERO);
        let (limiter, clock) = manual(&rate(100, 1_000));
        let mut permits: Vec<Permit> = (0..10).map(|_| limiter.try_acquire(1).unwrap().unwrap()).collect();
        permits.remove(0).throttled(zero);
        assert_eq!(limiter.status().effective_limit, 80);
        permits.remove(0).throttled(zero);
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 80);

        // Granted after the cut: another incident, though reports of the first still come in.
        let newer = limiter.try_acquire(1).unwrap().unwrap();
        permits.remove(0).throttled(zero);
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 80, "one of the old ones is meant");
        newer.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 64);
        assert_eq!(limiter.status().throttled, 6);

        // None of the old ones is out any more: it must be a new one.
        limiter.try_acquire(1).unwrap().unwrap().done();
        drop(permits);
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 51);
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 51, "nothing was granted since");

        // One that hangs does not hide what happens a window later.
        let limiter = RateLimiter::with_clock(&rate(100, 1_000), clock.clone()).unwrap();
        let hanging = limiter.try_acquire(1).unwrap().unwrap();
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 80);
        clock.advance_ms(999);
        limiter.try_acquire(1).unwrap().unwrap().done();
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 80);
        clock.advance_ms(1);
        limiter.throttled(zero);
        assert_eq!(limiter.status().effective_limit, 64);
        drop(hanging);
    }

    #[test]
    fn the_limit_falls_to_its_floor_and_comes_back_with_time() {
        for (limit, floor, cuts, least) in [
            (100, 0.2, vec![80, 64, 51, 40, 32, 26, 20, 20], 20),
            (100, 1.0, vec![100, 100], 100),
            (35, 0.5, vec![28, 22, 17, 17], 17),
            (3, 0.01, vec![2, 1, 1, 1], 1),
            (1, 0.01, vec![1, 1], 1),
        ] {
            let (limiter, clock) = manual(&rate(limit, 1_000).floor(floor));
            for effective in cuts {
                clock.advance_ms(1);
                limiter.throttled(Some(Duration::ZERO));
                assert_eq!(limiter.status().effective_limit, effective, "limit {limit}, floor {floor}");
                // The next incident needs a grant before it.
                while limiter.try_acquire(1).unwrap().is_none() {
                    clock.advance_ms(1);
                }
            }
            assert_eq!(limiter.status().effective_limit, least);
        }

        let (limiter, clock) = manual(&rate(100, 1_000));
        limiter.throttled(Some(Duration::from_millis(500)));
        // The first window begins with the end of the pause. Success is only counted.
        let mut seen = Vec::new();
        for ms in [1_499, 1, 999, 1, 999, 1, 999, 1, 5_000] {
            clock.advance_ms(ms);
            limiter.succeeded();
            seen.push(limiter.status().effective_limit);
        }
        assert_eq!(seen, [80, 85, 85, 90, 90, 95, 95, 100, 100]);
        assert_eq!(limiter.status().succeeded, 9);

        // Any report begins the window anew, though it cuts nothing.
        let (limiter, clock) = manual(&rate(100, 1_000));
        limiter.throttled(Some(Duration::ZERO));
        clock.advance_ms(900);
        limiter.throttled(Some(Duration::ZERO));
        clock.advance_ms(999);
        assert_eq!(limiter.status().effective_limit, 80);
        clock.advance_ms(1);
        assert_eq!(limiter.status().effective_limit, 85);
        clock.advance_ms(2_999);
        assert_eq!(limiter.status().effective_limit, 95);
        clock.advance_ms(1_000_000);
        assert_eq!(limiter.status().effective_limit, 100);
    }

    #[test]
    fn what_costs_more_than_is_left_waits_until_the_limit_is_back() {
        let (limiter, clock) = manual(&rate(10, 1_000));
        limiter.throttled(Some(Duration::ZERO));
        let waiting = limiter.clone();
        let waiter = thread::spawn(move || waiting.acquire(10, None).unwrap().is_some());
        wait_for(&limiter, 1);
        clock.advance_ms(3_999);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(limiter.status().waiting, 1);
        clock.advance_ms(1);
        assert!(join(waiter));
    }

    #[test]
    fn costs_and_rates_that_make_no_sense_are_refused() {
        let (limiter, _clock) = manual(&rate(10, 1_000));
        for cost in [0, 11, u32::MAX] {
            let error = limiter.acquire(cost, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.hint().is_some());
            assert_eq!(kind(limiter.try_acquire(cost)), Some(ErrorKind::InvalidArgument));
        }
        assert_eq!(limiter.try_acquire(10).unwrap().unwrap().cost(), 10);

        let second = Duration::from_secs(1);
        let day = 86_400 * second;
        for (rate, is_good) in [
            (RateLimit::new(0, second), false),
            (RateLimit::new(1, second), true),
            (RateLimit::new(1_000_000, second), true),
            (RateLimit::new(1_000_001, second), false),
            (RateLimit::new(1, Duration::ZERO), false),
            (RateLimit::new(1, Duration::from_nanos(1)), true),
            (RateLimit::new(1, 30 * day), true),
            (RateLimit::new(1, 30 * day + Duration::from_nanos(1)), false),
            (RateLimit::new(1, Duration::MAX), false),
            (RateLimit::new(1, second).floor(0.01), true),
            (RateLimit::new(1, second).floor(1.0), true),
            (RateLimit::new(1, second).floor(0.009), false),
            (RateLimit::new(1, second).floor(1.001), false),
            (RateLimit::new(1, second).floor(f32::NAN), false),
        ] {
            assert_eq!(rate.check().is_ok(), is_good, "{rate:?}");
            assert_eq!(RateLimiter::new(&rate).is_ok(), is_good, "{rate:?}");
            if let Err(error) = rate.check() {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                assert!(error.hint().is_some());
            }
        }
        // Never a shorter window than asked for.
        assert_eq!(RateLimit::new(1, Duration::from_micros(1_001)).window_ms, 2);
        assert!(RateLimit::new(1, second).pacing);
    }

    #[test]
    fn closing_wakes_everybody_and_refuses_the_rest() {
        let limiter = RateLimiter::new(&rate(1, 3_600_000)).unwrap();
        let out = limiter.acquire(1, None).unwrap().unwrap();
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let limiter = limiter.clone();
                thread::spawn(move || kind(limiter.acquire(1, None)))
            })
            .collect();
        wait_for(&limiter, 4);
        limiter.close();
        for waiter in waiters {
            assert_eq!(join(waiter), Some(ErrorKind::Closed));
        }
        limiter.close();
        assert_eq!(kind(limiter.acquire(1, None)), Some(ErrorKind::Closed));
        assert_eq!(kind(limiter.clone().try_acquire(1)), Some(ErrorKind::Closed));
        assert_eq!(limiter.status().waiting, 0);
        out.done();
        limiter.throttled(None);
    }

    #[test]
    fn an_interrupt_wakes_all_who_wait_once() {
        let limiter = RateLimiter::new(&rate(1, 3_600_000)).unwrap();
        let interrupter = limiter.interrupter();
        let spawn = || {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.acquire(1, None).unwrap().is_none())
        };
        limiter.acquire(1, None).unwrap().unwrap().done();
        let waiters: Vec<_> = (0..4).map(|_| spawn()).collect();
        wait_for(&limiter, 4);
        interrupter.clone().interrupt();
        waiters.into_iter().for_each(|waiter| assert!(join(waiter)));

        // It is used up: who comes later waits.
        let late = spawn();
        wait_for(&limiter, 1);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(limiter.status().waiting, 1);
        interrupter.interrupt();
        assert!(join(late));

        // Nobody waits: the next call is meant, once.
        let (limiter, _clock) = manual(&rate(10, 1_000));
        let interrupter = limiter.interrupter();
        interrupter.interrupt();
        interrupter.interrupt();
        assert!(limiter.acquire(1, None).unwrap().is_none());
        assert!(limiter.acquire(1, None).unwrap().is_some());
        drop(limiter);
        interrupter.interrupt();
    }

    /// Keeps in memory, and fails, is slow or panics on demand.
    #[derive(Default)]
    struct Memory {
        saved: Mutex<Option<Saved>>,
        saves: AtomicUsize,
        is_full: AtomicBool,
        /// Panics once.
        is_broken: AtomicBool,
        /// How long a save takes, on which clock.
        slow: Option<(Clock, u64)>,
        /// Held by a test for as long as a save shall take.
        gate: Mutex<()>,
        entered: AtomicUsize,
    }

    impl Memory {
        fn saved(&self) -> Option<Saved> {
            *self.saved.lock().unwrap()
        }

        fn saves(&self) -> usize {
            self.saves.load(Ordering::SeqCst)
        }
    }

    impl Keeper for Memory {
        fn load(&self) -> Option<Saved> {
            if let Some((clock, ms)) = &self.slow {
                clock.advance_ms(*ms);
            }
            self.saved()
        }

        fn save(&self, saved: Saved) -> Result<()> {
            assert_eq!(self.entered.fetch_add(1, Ordering::SeqCst), 0, "two at once");
            drop(self.gate.lock().unwrap());
            if let Some((clock, ms)) = &self.slow {
                clock.advance_ms(*ms);
            }
            self.entered.fetch_sub(1, Ordering::SeqCst);
            assert!(!self.is_broken.swap(false, Ordering::SeqCst), "broken");
            assert!(self.saves.fetch_add(1, Ordering::SeqCst) < 100_000);
            if self.is_full.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::StorageFull, "the disk is full"));
            }
            *self.saved.lock().unwrap() = Some(saved);
            Ok(())
        }
    }

    fn kept(rate: &RateLimit, clock: &Clock, memory: &Arc<Memory>) -> RateLimiter {
        RateLimiter::kept(rate, clock.clone(), Arc::clone(memory) as Arc<dyn Keeper>).unwrap()
    }

    /// The process dies: nobody says anything any more.
    fn kill(limiter: RateLimiter, permits: Vec<Permit>) {
        permits.into_iter().for_each(std::mem::forget);
        drop(limiter);
    }

    #[test]
    fn no_restart_ever_begins_with_a_burst() {
        let mut lives = 0;
        for seed in 0..60 {
            let mut random = Random(seed);
            let limit = [1, 5, 35][usize::try_from(seed % 3).unwrap()];
            let window_ms = [200, 1_000, 10_000, 600_000][usize::try_from(seed % 4).unwrap()];
            let rate = rate(limit, window_ms).pacing(seed % 5 == 0);
            let clock = Clock::manual(START);
            let memory = Arc::new(Memory::default());
            let mut reference = Reference { window_ns: rate.window_ns(), spans: Vec::new() };
            let step = |random: &mut Random, clock: &Clock| match random.below(8) {
                0 => clock.advance_ms(random.below(window_ms)),
                1..4 => clock.advance_ms(random.below(window_ms / 10)),
                _ => {}
            };
            for _ in 0..40 {
                lives += 1;
                let limiter = kept(&rate, &clock, &memory);
                let mut out: Vec<(usize, Permit)> = Vec::new();
                for _ in 0..random.below(150) {
                    step(&mut random, &clock);
                    let now = clock.now_ns();
                    let is_old = |grant: i64| now - grant > 50 * SECOND;
                    if let Some(at) = out.iter().position(|(span, _)| is_old(reference.spans[*span].0)) {
                        // Longer than is promised by a step at most: it has arrived long before.
                        let (span, permit) = out.swap_remove(at);
                        permit.done();
                        reference.end(span, now);
                    }
                    if random.one_in(3) && !out.is_empty() {
                        let (span, permit) = out.swap_remove(0);
                        permit.done();
                        reference.end(span, now);
                    }
                    if random.one_in(2)
                        && let Some(permit) = limiter.try_acquire(1).unwrap()
                    {
                        assert!(reference.used(now) < limit, "seed {seed}: {}", reference.used(now));
                        out.push((reference.grant(now, 1), permit));
                    }
                    if random.one_in(200) {
                        limiter.throttled(Some(Duration::from_millis(random.below(window_ms))));
                    }
                }
                let (spans, permits): (Vec<_>, Vec<_>) = out.into_iter().unzip();
                spans.into_iter().for_each(|span| reference.end(span, clock.now_ns()));
                if random.one_in(3) {
                    limiter.close();
                    drop(permits);
                } else {
                    kill(limiter, permits);
                }
                step(&mut random, &clock);
            }
            assert!(reference.spans.len() > 20, "seed {seed}: {}", reference.spans.len());
        }
        assert_eq!(lives, 2_400);
    }

    #[test]
    fn a_restart_waits_no_longer_than_it_must() {
        // How long the first grant of the next life has to wait, in milliseconds.
        let wait = |end: &dyn Fn(&Clock, RateLimiter)| {
            let clock = Clock::manual(START);
            let memory = Arc::new(Memory::default());
            end(&clock, kept(&rate(10, 10_000), &clock, &memory));
            let limiter = kept(&rate(10, 10_000), &clock, &memory);
            let mut waited_ms = 0;
            while drain(&limiter) == 0 {
                clock.advance_ms(100);
                waited_ms += 100;
            }
            waited_ms
        };
        let sends = |clock: &Clock, limiter: &RateLimiter| {
            let permit = limiter.try_acquire(1).unwrap().unwrap();
            clock.advance_ms(500);
            permit.done();
        };
        assert_eq!(wait(&|_, limiter| limiter.close()), 0, "nothing was ever sent");
        assert_eq!(wait(&|_, limiter| drop(limiter)), 0, "nothing was ever sent");
        // Closed: a window after the last end.
        let ended = wait(&|clock, limiter| {
            sends(clock, &limiter);
            clock.advance_ms(3_000);
            limiter.close();
            clock.advance_ms(1_000);
        });
        assert_eq!(ended, 6_000);
        let long_ago = wait(&|clock, limiter| {
            sends(clock, &limiter);
            limiter.close();
            clock.advance_ms(10_000);
        });
        assert_eq!(long_ago, 0);
        // Closed while one is out: it may still arrive, but a window from the restart is enough.
        let out = wait(&|clock, limiter| {
            let permit = limiter.try_acquire(1).unwrap().unwrap();
            clock.advance_ms(100_000);
            limiter.close();
            clock.advance_ms(1_000);
            drop(permit);
        });
        assert_eq!(out, 10_000);
        // Killed: a window from the restart, and nothing after a while.
        let killed = wait(&|clock, limiter| {
            sends(clock, &limiter);
            clock.advance_ms(30_000);
        });
        assert_eq!(killed, 10_000);
        let killed_long_ago = wait(&|clock, limiter| {
            sends(clock, &limiter);
            clock.advance_ms(75_000);
        });
        assert_eq!(killed_long_ago, 0);
        // Started and closed in between: that sends nothing, and costs nothing.
        let in_between = wait(&|clock, limiter| {
            sends(clock, &limiter);
            clock.set_ns(START - 3_600 * SECOND);
            let keeper = limiter.0.keeper.clone().unwrap();
            RateLimiter::kept(&rate(10, 10_000), clock.clone(), keeper).unwrap().close();
            clock.advance_ms(4_000);
        });
        assert_eq!(in_between, 6_000);
        // The clock was set back by a year: one window.
        let set_back = wait(&|clock, limiter| {
            sends(clock, &limiter);
            limiter.throttled(Some(Duration::ZERO));
            clock.set_ns(START - 365 * 86_400 * SECOND);
        });
        assert_eq!(set_back, 10_000);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_stops_it_nor_gives_more() {
        let (limiter, clock) = manual(&rate(10, 1_000));
        assert_eq!(drain(&limiter), 10);
        clock.advance_ms(600);
        assert_eq!(drain(&limiter), 0);
        clock.set_ns(0);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(399);
        assert_eq!(drain(&limiter), 0);
        clock.advance_ms(1);
        assert_eq!(drain(&limiter), 10);

        // From one end of time to the other.
        for ends in [[i64::MIN, i64::MAX], [i64::MAX, i64::MIN]] {
            let clock = Clock::manual(ends[0]);
            let memory = Arc::new(Memory::default());
            let limiter = kept(&rate(10, 1_000), &clock, &memory);
            for now in [ends[0], ends[1], ends[0], 0, ends[1]] {
                clock.set_ns(now);
                assert!(drain(&limiter) <= 10);
                assert_eq!(drain(&limiter), 0);
                limiter.throttled(Some(Duration::MAX));
                let _ = limiter.status();
                let _ = kept(&rate(10, 1_000), &clock, &memory).status();
            }
            limiter.close();
        }
    }

    #[test]
    fn busy_it_saves_twice_a_window_and_idle_never() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(35, 10_000).pacing(true), &clock, &memory);
        clock.advance_ms(60_000);
        let _ = limiter.status();
        assert_eq!(memory.saves(), 0);
        let mut last = START;
        for _ in 0..100_000 {
            if drain(&limiter) > 0 {
                last = clock.now_ns();
                assert!(memory.saved().unwrap().until_ns - OUT_NS >= last, "granted beyond the horizon");
            }
            clock.advance_ms(1);
        }
        // Ten windows.
        assert!((19..=22).contains(&memory.saves()), "{}", memory.saves());
        let before = memory.saves();
        clock.advance_ms(600_000);
        let _ = limiter.status();
        assert_eq!(memory.saves(), before);
        limiter.close();
        assert_eq!(memory.saved().unwrap().until_ns, last);
    }

    #[test]
    fn nothing_is_granted_when_it_cannot_be_saved() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory::default());
        memory.is_full.store(true, Ordering::SeqCst);
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        assert_eq!(kind(limiter.acquire(1, None)), Some(ErrorKind::StorageFull));
        assert_eq!(kind(limiter.try_acquire(1)), Some(ErrorKind::StorageFull));
        let status = limiter.status();
        assert_eq!((status.granted, status.in_window, status.waiting), (0, 0, 0));
        memory.is_full.store(false, Ordering::SeqCst);
        let permit = limiter.acquire(1, None).unwrap().unwrap();

        // A cut that could not be saved is saved before the next grant.
        memory.is_full.store(true, Ordering::SeqCst);
        permit.throttled(Some(Duration::ZERO));
        assert_eq!(kind(limiter.try_acquire(1)), Some(ErrorKind::StorageFull));
        memory.is_full.store(false, Ordering::SeqCst);
        assert!(limiter.try_acquire(1).unwrap().is_some());
        assert_eq!(memory.saved().unwrap().share, 800);
        memory.is_full.store(true, Ordering::SeqCst);
        limiter.close();
        assert_eq!(kind(limiter.try_acquire(1)), Some(ErrorKind::Closed));
    }

    #[test]
    fn a_disk_that_is_slower_than_the_lease_does_not_stop_it() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory { slow: Some((clock.clone(), 3_000)), ..Memory::default() });
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        for _ in 0..20 {
            limiter.acquire(1, None).unwrap().unwrap().done();
            assert!(memory.saved().unwrap().until_ns - OUT_NS >= clock.now_ns());
            clock.advance_ms(1_000);
        }
        assert!(memory.saves() <= 10, "{}", memory.saves());
        limiter.close();
        // Loading, too, takes its time: what is saved counts to the nanosecond all the same.
        let limiter = kept(&rate(10, 60_000), &clock, &memory);
        let end = memory.saved().unwrap().until_ns;
        clock.set_ns(end + 60_000 * MS - 1);
        assert_eq!(drain(&limiter), 0);
        clock.set_ns(end + 60_000 * MS);
        assert_eq!(limiter.status().in_window, 0);
    }

    /// Until somebody is about to save.
    fn wait_for_save(memory: &Memory) {
        let begun = Instant::now();
        while memory.entered.load(Ordering::SeqCst) == 0 {
            assert!(begun.elapsed() < LONG);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn those_behind_one_who_saves_wait_no_longer_than_they_want() {
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(10, 100_000), &Clock::real(), &memory);
        let gate = memory.gate.lock().unwrap();
        let spawn = || {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.acquire(1, Some(LONG)).unwrap().is_some())
        };
        let first = spawn();
        wait_for_save(&memory);
        let second = spawn();
        wait_for(&limiter, 2);
        assert!(limiter.try_acquire(1).unwrap().is_none());
        assert!(limiter.acquire(1, Some(Duration::from_millis(10))).unwrap().is_none());
        drop(gate);
        assert!(join(first) && join(second));
        assert_eq!(memory.saves(), 1);
    }

    #[test]
    fn one_saves_at_a_time_and_the_others_are_told() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        let gate = memory.gate.lock().unwrap();
        let throttle = |pause_ms| {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.throttled(Some(Duration::from_millis(pause_ms))))
        };
        let cut = throttle(0);
        wait_for_save(&memory);
        assert!(limiter.try_acquire(1).unwrap().is_none());
        let waiting = limiter.clone();
        let waiter = thread::spawn(move || waiting.acquire(1, None).unwrap().is_some());
        wait_for(&limiter, 1);
        let pauses = [throttle(200), throttle(200), throttle(200)];
        while limiter.status().throttled < 4 {
            thread::sleep(Duration::from_millis(1));
        }
        drop(gate);
        join(cut);
        pauses.into_iter().for_each(join);
        clock.advance_ms(200);
        assert!(join(waiter));
        assert_eq!(memory.saves(), 2, "the cut, and all of the pauses");
    }

    #[test]
    fn closing_waits_for_the_one_who_saves_and_has_the_last_word() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        limiter.acquire(1, None).unwrap().unwrap().done();
        let (early, late) =
            (limiter.try_acquire(1).unwrap().unwrap(), limiter.try_acquire(1).unwrap().unwrap());
        clock.advance_ms(600_000);
        let gate = memory.gate.lock().unwrap();
        let waiting = limiter.clone();
        let waiter = thread::spawn(move || kind(waiting.acquire(1, None)));
        wait_for_save(&memory);
        // Out for too long, but somebody saves already.
        early.done();
        let closing = limiter.clone();
        let closer = thread::spawn(move || closing.close());
        while kind(limiter.try_acquire(1)).is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(20));
        drop(gate);
        assert_eq!(join(waiter), Some(ErrorKind::Closed));
        join(closer);
        assert_eq!(memory.saves(), 3);
        assert_eq!(memory.saved().unwrap().until_ns, clock.now_ns() + OUT_NS);
        // After that nothing is written any more.
        clock.advance_ms(600_000);
        late.done();
        limiter.throttled(None);
        limiter.close();
        assert_eq!(memory.saves(), 3);
    }

    #[test]
    fn a_keeper_that_panics_blocks_nobody_else() {
        let clock = Clock::real();
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        memory.is_broken.store(true, Ordering::SeqCst);
        let first = limiter.clone();
        assert!(thread::spawn(move || first.acquire(1, None).map(drop)).join().is_err());
        assert_eq!(limiter.status().waiting, 0);
        assert!(limiter.acquire(1, Some(Duration::from_secs(30))).unwrap().is_some());
    }

    #[test]
    fn a_pause_and_a_lowered_limit_outlive_a_crash() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        let permits: Vec<Permit> = (0..10).map(|_| limiter.try_acquire(1).unwrap().unwrap()).collect();
        let before = memory.saves();
        for permit in permits {
            clock.advance_ms(50);
            permit.throttled(Some(Duration::from_secs(100)));
        }
        assert_eq!(memory.saves() - before, 1, "one incident is saved once");
        // It cuts nothing again, but it lasts for longer.
        limiter.throttled(Some(Duration::from_secs(110)));
        assert_eq!(memory.saves() - before, 2);
        kill(limiter, Vec::new());
        clock.advance_ms(60_000);

        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        let status = limiter.status();
        assert_eq!(status.effective_limit, 8);
        let until = status.paused_until_ns.unwrap();
        assert!((START + 110_500 * MS..=START + 111_500 * MS).contains(&until), "{}", until - START);
        limiter.close();
        drop(limiter);
        // Not a second longer with each start.
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        assert_eq!(limiter.status().paused_until_ns, Some(until));
        clock.set_ns(until);
        assert_eq!(drain(&limiter), 8);
        limiter.close();
        assert_eq!(memory.saved().unwrap().paused_until_ns, 0);

        // A clock that was set back by a year does not make it a year.
        let limiter = kept(&rate(10, 1_000), &clock, &memory);
        limiter.throttled(Some(Duration::from_secs(100)));
        kill(limiter, Vec::new());
        let now = START - 365 * 86_400 * SECOND;
        clock.set_ns(now);
        let until = kept(&rate(10, 1_000), &clock, &memory).status().paused_until_ns.unwrap();
        assert!((now + 100 * SECOND..now + 400 * SECOND).contains(&until), "{}", until - now);
    }

    #[test]
    fn a_permit_that_is_out_for_very_long_is_saved_when_it_ends() {
        let clock = Clock::manual(START);
        let memory = Arc::new(Memory::default());
        let limiter = kept(&rate(1, 1_000), &clock, &memory);
        let permit = limiter.try_acquire(1).unwrap().unwrap();
        clock.advance_ms(600_000);
        assert_eq!(memory.saves(), 1);
        permit.done();
        assert_eq!(memory.saves(), 2);
        kill(limiter, Vec::new());
        clock.advance_ms(999);
        let limiter = kept(&rate(1, 1_000), &clock, &memory);
        assert_eq!(limiter.status().in_window, 1);
        assert_eq!(drain(&limiter), 0);
    }

    #[test]
    fn a_permit_that_was_never_used_never_counted() {
        let limiter = RateLimiter::with_clock(
            &RateLimit::new(3, Duration::from_secs(10)).pacing(false),
            Clock::manual(0),
        );
        let limiter = limiter.unwrap();
        let permits: Vec<_> = (0..3).filter_map(|_| limiter.try_acquire(1).unwrap()).collect();
        assert!(permits.len() == 3 && limiter.try_acquire(1).unwrap().is_none());
        permits.into_iter().for_each(Permit::unused);
        assert_eq!((limiter.status().in_window, drain(&limiter)), (0, 3));
    }

    #[test]
    fn it_can_be_shared_and_shown() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<RateLimiter>();
        shared::<Permit>();
        shared::<LimiterInterrupter>();
        let (limiter, _clock) = manual(&rate(10, 1_000));
        let permit = limiter.try_acquire(3).unwrap().unwrap();
        assert!(format!("{limiter:?}").contains("in_window: 3"));
        assert!(format!("{permit:?}").contains("cost: 3"));
    }
}
