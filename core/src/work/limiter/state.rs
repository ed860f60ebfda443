//! What a limiter knows at one moment: what is in the window, how much of the limit may be used, who waits.
//! Pure but for the waking: the time is a parameter.
//!
//! Invariant: `out_cost` and `ended_cost` together never exceed the limit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar};

use crate::error::{Error, ErrorKind, Result};

use super::{RateLimit, Saved};

const SECOND_NS: i64 = 1_000_000_000;

/// The whole limit, in parts. Shares of it are counted in these.
pub(super) const WHOLE: u16 = 1_000;
/// What is left after a cut: four fifths.
const CUT: (u16, u16) = (4, 5);
/// What comes back with each quiet window: 5 % of the limit.
const RECOVERY: u16 = 50;

/// A paced grant that comes a little late, as sleeping threads do, does not put off those after it. A little
/// is one part in so many of the gap, within these bounds: nobody sleeps to the microsecond.
const LATE_PART: i64 = 8;
const LATE_NS: (i64, i64) = (250_000, 1_000_000);

/// Ends are remembered each by itself up to so many; beyond that they are joined, rounded up to this part
/// of the window.
const ENDS_MAX: u32 = 4_096;

/// A horizon is saved for half a window, but for so long at least and at most.
const LEASE_NS: (i64, i64) = (SECOND_NS, 60 * SECOND_NS);
/// Where saving takes longer than that, the horizon moves with it, so far at most.
const SLOW_LEASE_NS_MAX: i64 = 120 * SECOND_NS;
/// A permit may be out for so long after the horizon, and a restart after a crash still counts it.
pub(super) const OUT_NS: i64 = 60 * SECOND_NS;
/// A pause is saved a bit longer than it is, so that many reports of one incident are one save.
const PAUSE_SLACK_NS: i64 = SECOND_NS;
/// The horizon that is saved is never so far ahead, [`OUT_NS`] included: a saved pause that seems to last for
/// longer beyond it does so because the clock was set back.
const PAUSE_BACK_NS: i64 = 240 * SECOND_NS;

/// What was saved last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Wall clock: grants are covered until then, ...
    pub(super) horizon_ns: i64,
    /// ... and permits that are out until then.
    pub(super) until_ns: i64,
    share: u16,
    paused_until_ns: i64,
    /// How long it took.
    pub(super) save_ns: i64,
}

/// When the next request can be granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    /// Not before then, if nothing happens.
    At(i64),
    /// Only the end of a permit can tell.
    AfterAnEnd,
}

pub(super) struct Waiter {
    ticket: u64,
    wake: Arc<Condvar>,
}

/// Everything, as of `now_ns`. Pure but for the waking.
pub(super) struct State {
    pub(super) limit: u32,
    pub(super) window_ns: i64,
    pacing: bool,
    floor: u16,
    /// Ends are rounded up to this.
    grain_ns: i64,

    /// The time: nanoseconds since the limiter was made.
    pub(super) now_ns: i64,
    /// The clock at the last look.
    clock_ns: i64,
    /// How far the wall clock is ahead of `now_ns`, at most so far: a wall clock that was set back is not
    /// believed.
    wall_lead_ns: i64,

    /// How many permits are out, and their cost.
    out: u64,
    out_cost: u64,
    /// Cost of those that ended less than a window ago, by their ends.
    ended: BTreeMap<i64, u64>,
    ended_cost: u64,
    last_end_ns: Option<i64>,
    /// With pacing: no grant before.
    slot_ns: i64,
    pub(super) granted: u64,

    /// Of the limit, in thousandths.
    share: u16,
    /// From when on the next quiet window is counted.
    quiet_from_ns: i64,
    pub(super) paused_until_ns: i64,
    /// The number of the newest grant at the last cut.
    cut: Option<u64>,
    /// Permits from before the cut that are out, and until when reports are taken for theirs.
    old_out: u64,
    old_until_ns: i64,
    pub(super) throttled: u64,
    pub(super) succeeded: u64,

    pub(super) queue: VecDeque<Waiter>,
    next_ticket: u64,
    pub(super) interrupts: u64,
    pub(super) interrupt_next: bool,
    pub(super) closed: bool,
    pub(super) saving: bool,
    pub(super) kept: Kept,
}

impl State {
    pub(super) fn new(rate: &RateLimit, clock_ns: i64) -> Self {
        let window_ns = rate.window_ns();
        let is_joined = rate.limit > ENDS_MAX;
        Self {
            limit: rate.limit,
            window_ns,
            pacing: rate.pacing,
            floor: rate.floor_share(),
            grain_ns: if is_joined { (window_ns / i64::from(ENDS_MAX)).max(1) } else { 1 },
            now_ns: 0,
            clock_ns,
            wall_lead_ns: i64::MIN,
            out: 0,
            out_cost: 0,
            ended: BTreeMap::new(),
            ended_cost: 0,
            last_end_ns: None,
            slot_ns: 0,
            granted: 0,
            share: WHOLE,
            quiet_from_ns: 0,
            paused_until_ns: i64::MIN,
            cut: None,
            old_out: 0,
            old_until_ns: i64::MIN,
            throttled: 0,
            succeeded: 0,
            queue: VecDeque::new(),
            next_ticket: 0,
            interrupts: 0,
            interrupt_next: false,
            closed: false,
            saving: false,
            kept: Kept {
                horizon_ns: i64::MIN,
                until_ns: i64::MIN,
                share: WHOLE,
                paused_until_ns: i64::MIN,
                save_ns: 0,
            },
        }
    }

    /// Takes up what an earlier limiter has saved: the window is full as of its horizon, or as of now
    /// where the horizon is still to come or the wall clock was set back.
    pub(super) fn begin_after(&mut self, saved: Saved, wall_ns: i64) {
        let ago_ns = wall_ns.saturating_sub(saved.until_ns).max(0);
        let end_ns = self.now_ns.saturating_sub(ago_ns);
        self.last_end_ns = Some(end_ns);
        if ago_ns < self.window_ns {
            self.ended_cost = u64::from(self.limit);
            self.ended.insert(end_ns, self.ended_cost);
        }
        self.share = saved.share.clamp(self.floor, WHOLE);
        let most_ns =
            saved.paused_until_ns.saturating_sub(saved.until_ns).max(0).saturating_add(PAUSE_BACK_NS);
        let pause_ns = saved.paused_until_ns.saturating_sub(wall_ns).min(most_ns);
        if pause_ns > 0 {
            self.paused_until_ns = self.now_ns.saturating_add(pause_ns);
        }
        self.quiet_from_ns = self.now_ns.max(self.paused_until_ns);
        self.kept.share = self.share;
        self.kept.paused_until_ns = self.paused_until_ns;
    }

    /// Moves the time on; a clock that went back stands still. What is older than a window is forgotten,
    /// and quiet windows bring the limit back.
    pub(super) fn tick(&mut self, clock_ns: i64) {
        self.now_ns = self.now_ns.saturating_add(clock_ns.saturating_sub(self.clock_ns).max(0));
        self.clock_ns = clock_ns;
        while let Some(oldest) = self.ended.first_entry() {
            if self.now_ns.saturating_sub(*oldest.key()) < self.window_ns {
                break;
            }
            self.ended_cost = self.ended_cost.saturating_sub(oldest.remove());
        }
        let windows = self.now_ns.saturating_sub(self.quiet_from_ns) / self.window_ns;
        if self.share < WHOLE && windows > 0 {
            let back = u16::try_from(windows).unwrap_or(u16::MAX).saturating_mul(RECOVERY);
            self.share = self.share.saturating_add(back).min(WHOLE);
            self.quiet_from_ns = self.quiet_from_ns.saturating_add(windows.saturating_mul(self.window_ns));
        }
    }

    pub(super) fn see_wall(&mut self, wall_ns: i64) {
        self.wall_lead_ns = self.wall_lead_ns.max(wall_ns.saturating_sub(self.now_ns));
    }

    /// The wall clock, as if it had never been set back.
    pub(super) fn wall_ns(&self) -> i64 {
        self.now_ns.saturating_add(self.wall_lead_ns)
    }

    pub(super) fn effective(&self) -> u32 {
        let share = u64::from(self.limit) * u64::from(self.share) / u64::from(WHOLE);
        u32::try_from(share).unwrap_or(self.limit).max(1)
    }

    pub(super) fn used(&self) -> u64 {
        self.out_cost.saturating_add(self.ended_cost)
    }

    pub(super) fn check_cost(&self, cost: u32) -> Result<()> {
        if cost == 0 {
            return Err(Error::invalid("a request that costs 0 needs no permit")
                .with_hint(format!("a cost may be from 1 to the limit, {}", self.limit)));
        }
        if cost > self.limit {
            return Err(Error::invalid(format!("a cost of {cost} is above the limit of {}", self.limit))
                .with_hint("it would never be granted: ask in smaller parts, or raise the limit"));
        }
        Ok(())
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "the rate limiter has been closed"));
        }
        Ok(())
    }

    /// When a request of this cost can be granted, were it the first in the queue.
    pub(super) fn next(&self, cost: u32) -> Next {
        let not_before_ns = self.paused_until_ns.max(self.slot_ns);
        if not_before_ns > self.now_ns {
            return Next::At(not_before_ns);
        }
        let over = self.used().saturating_add(u64::from(cost)).saturating_sub(u64::from(self.effective()));
        if over == 0 {
            return Next::Now;
        }
        let recovered_ns = (self.share < WHOLE).then(|| self.quiet_from_ns.saturating_add(self.window_ns));
        let freed_ns = self.freed_ns(over);
        recovered_ns.into_iter().chain(freed_ns).min().map_or(Next::AfterAnEnd, Next::At)
    }

    /// When so much of the window will be free again, if nothing ends until then.
    fn freed_ns(&self, cost: u64) -> Option<i64> {
        let mut freed = 0_u64;
        self.ended.iter().find_map(|(end_ns, ended)| {
            freed = freed.saturating_add(*ended);
            (freed >= cost).then(|| end_ns.saturating_add(self.window_ns))
        })
    }

    /// Returns the number of the grant and its time.
    pub(super) fn grant(&mut self, cost: u32) -> (u64, i64) {
        self.granted += 1;
        self.out += 1;
        self.out_cost += u64::from(cost);
        if self.pacing {
            let gap_ns = self.gap_ns(cost);
            let late_ns = self.now_ns.saturating_sub(self.slot_ns);
            let late_ns =
                if late_ns <= (gap_ns / LATE_PART).clamp(LATE_NS.0, LATE_NS.1) { late_ns } else { 0 };
            self.slot_ns = self.now_ns.saturating_sub(late_ns).saturating_add(gap_ns);
        }
        (self.granted, self.now_ns)
    }

    /// The part of the window that a cost takes, rounded up.
    fn gap_ns(&self, cost: u32) -> i64 {
        let whole = i128::from(self.window_ns) * i128::from(cost);
        let effective = i128::from(self.effective());
        i64::try_from((whole + effective - 1) / effective).unwrap_or(i64::MAX)
    }

    pub(super) fn end(&mut self, cost: u32, number: u64, end_ns: i64) {
        let cost = u64::from(cost);
        self.out = self.out.saturating_sub(1);
        self.out_cost = self.out_cost.saturating_sub(cost);
        if self.cut.is_some_and(|cut| number <= cut) {
            self.old_out = self.old_out.saturating_sub(1);
        }
        self.last_end_ns = self.last_end_ns.max(Some(end_ns));
        let end_ns = end_ns.saturating_add(self.grain_ns - 1) / self.grain_ns * self.grain_ns;
        if self.now_ns.saturating_sub(end_ns) < self.window_ns {
            *self.ended.entry(end_ns).or_default() += cost;
            self.ended_cost += cost;
        }
    }

    /// A grant that was never used.
    pub(super) fn withdraw(&mut self, cost: u32, number: u64) {
        self.out = self.out.saturating_sub(1);
        self.out_cost = self.out_cost.saturating_sub(u64::from(cost));
        if self.cut.is_some_and(|cut| number <= cut) {
            self.old_out = self.old_out.saturating_sub(1);
        }
    }

    /// A report of throttling, for the grant of this number where that is known.
    pub(super) fn throttle(&mut self, number: Option<u64>, pause_ns: i64) {
        self.throttled += 1;
        let is_old = self.old_out > 0 && self.now_ns < self.old_until_ns;
        let is_news = self.cut.is_none_or(|cut| match number {
            Some(number) => number > cut,
            None => self.granted > cut && !is_old,
        });
        let until_ns = self.now_ns.saturating_add(pause_ns);
        if is_news {
            self.share = (self.share * CUT.0 / CUT.1).max(self.floor);
            self.cut = Some(self.granted);
            self.old_out = self.out;
            self.old_until_ns = until_ns.saturating_add(self.window_ns);
        }
        self.paused_until_ns = self.paused_until_ns.max(until_ns);
        self.quiet_from_ns = self.now_ns.max(self.paused_until_ns);
    }

    /// True when a restart would be too fast with what was saved last.
    pub(super) fn is_worse_than_kept(&self) -> bool {
        let is_paused = self.paused_until_ns > self.now_ns;
        self.share < self.kept.share || (is_paused && self.paused_until_ns > self.kept.paused_until_ns)
    }

    /// What to save now, for the next lease or because all is over.
    pub(super) fn to_keep(&self, ended_ns: Option<i64>) -> (Saved, Kept) {
        let slow_ns = self.kept.save_ns.saturating_mul(2).min(SLOW_LEASE_NS_MAX);
        let lease_ns = (self.window_ns / 2).clamp(LEASE_NS.0, LEASE_NS.1).max(slow_ns);
        let horizon_ns = self.wall_ns().saturating_add(lease_ns);
        let until_ns = ended_ns.unwrap_or_else(|| horizon_ns.saturating_add(OUT_NS));
        let mut paused_until_ns = self.kept.paused_until_ns;
        if self.paused_until_ns > self.now_ns.max(paused_until_ns) {
            paused_until_ns = self.paused_until_ns.saturating_add(PAUSE_SLACK_NS);
        }
        let is_paused = paused_until_ns > self.now_ns;
        let wall_until_ns = if is_paused { paused_until_ns.saturating_add(self.wall_lead_ns) } else { 0 };
        let kept = Kept { horizon_ns, until_ns, share: self.share, paused_until_ns, save_ns: 0 };
        (Saved { until_ns, share: self.share, paused_until_ns: wall_until_ns }, kept)
    }

    /// Until when, by the wall clock, requests may arrive that were granted so far; `None` when there was
    /// none.
    pub(super) fn closing_ns(&self) -> Option<i64> {
        if self.out > 0 {
            return Some(self.wall_ns().saturating_add(OUT_NS));
        }
        self.last_end_ns.map(|end_ns| end_ns.saturating_add(self.wall_lead_ns))
    }

    pub(super) fn queue_up(&mut self) -> (u64, Arc<Condvar>) {
        let (ticket, wake) = (self.next_ticket, Arc::new(Condvar::new()));
        self.next_ticket += 1;
        self.queue.push_back(Waiter { ticket, wake: Arc::clone(&wake) });
        (ticket, wake)
    }

    pub(super) fn is_first(&self, ticket: u64) -> bool {
        self.queue.front().is_some_and(|first| first.ticket == ticket)
    }

    /// Leaves the queue, with a permit or without.
    pub(super) fn leave(&mut self, ticket: u64) {
        let was_first = self.is_first(ticket);
        if let Ok(at) = self.queue.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            self.queue.remove(at);
        }
        if was_first {
            self.wake_first();
        }
    }

    pub(super) fn wake_first(&self) {
        if let Some(first) = self.queue.front() {
            first.wake.notify_all();
        }
    }

    pub(super) fn wake_all(&self) {
        self.queue.iter().for_each(|waiter| waiter.wake.notify_all());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: i64 = 1_000_000;

    fn state(limit: u32, window_ms: u64) -> State {
        State::new(&RateLimit::new(limit, Duration::from_millis(window_ms)).pacing(false), 0)
    }

    /// Grants and ends at once.
    fn send(state: &mut State, cost: u32) {
        let (number, now_ns) = state.grant(cost);
        state.end(cost, number, now_ns);
    }

    #[test]
    fn what_is_next_is_told_to_the_nanosecond() {
        let mut state = state(10, 1_000);
        assert_eq!(state.next(10), Next::Now);
        send(&mut state, 4);
        state.tick(100 * MS);
        send(&mut state, 3);
        state.tick(200 * MS);
        let (number, _) = state.grant(3);
        for (cost, next) in [
            (1, Next::At(1_000 * MS)),
            (4, Next::At(1_000 * MS)),
            (5, Next::At(1_100 * MS)),
            (7, Next::At(1_100 * MS)),
            (8, Next::AfterAnEnd),
        ] {
            assert_eq!(state.next(cost), next, "{cost}");
        }
        state.end(3, number, 200 * MS);
        assert_eq!(state.next(8), Next::At(1_200 * MS));
        state.tick(1_000 * MS - 1);
        assert_eq!(state.next(1), Next::At(1_000 * MS));
        state.tick(1_000 * MS);
        assert_eq!((state.next(4), state.next(5)), (Next::Now, Next::At(1_100 * MS)));
        // Lowered to 8: what is missing comes with the end of the window or with the recovery, whichever is
        // first.
        state.throttle(None, 0);
        assert_eq!((state.next(2), state.next(3)), (Next::Now, Next::At(1_100 * MS)));
        assert_eq!((state.next(9), state.next(10)), (Next::At(2_000 * MS), Next::At(2_000 * MS)));
    }

    #[test]
    fn many_ends_are_joined_and_never_forgotten_too_early() {
        let mut state = state(100_000, 1_000);
        let mut exact = VecDeque::new();
        let mut joined = 0;
        for i in 0..300_000_i64 {
            state.tick(i * 9_001);
            while exact.front().is_some_and(|end| state.now_ns - end >= state.window_ns) {
                exact.pop_front();
            }
            if state.next(1) == Next::Now {
                send(&mut state, 1);
                exact.push_back(state.now_ns);
            }
            assert!(state.used() >= exact.len() as u64 && exact.len() <= 100_000);
            joined = joined.max(state.ended.len());
        }
        assert!((3_500..=4_100).contains(&joined), "{joined}");
        // The limit is used all the same.
        assert!(state.granted > 200_000, "{}", state.granted);
    }

    #[test]
    fn a_start_takes_up_what_was_saved() {
        let wall = 1_700_000_000 * SECOND_NS;
        let begin = |until_ns: i64, share: u16, paused_until_ns: i64| {
            let mut state = state(10, 1_000);
            state.begin_after(Saved { until_ns, share, paused_until_ns }, wall);
            state
        };
        for (until_ns, next) in [
            (wall, Next::At(1_000 * MS)),
            (wall - 1, Next::At(1_000 * MS - 1)),
            (wall - 999 * MS, Next::At(MS)),
            (wall - 1_000 * MS, Next::Now),
            (wall - 5_000 * MS, Next::Now),
            (0, Next::Now),
            (i64::MIN, Next::Now),
            // Still to come, or set back.
            (wall + 1, Next::At(1_000 * MS)),
            (wall + 900_000 * SECOND_NS, Next::At(1_000 * MS)),
            (i64::MAX, Next::At(1_000 * MS)),
        ] {
            let state = begin(until_ns, WHOLE, 0);
            assert_eq!(state.next(1), next, "{}", until_ns.saturating_sub(wall));
            assert_eq!(state.used(), if next == Next::Now { 0 } else { 10 });
        }
        for (share, effective) in [(1_000, 10), (800, 8), (200, 2), (100, 2), (0, 2), (u16::MAX, 10)] {
            assert_eq!(begin(0, share, 0).effective(), effective, "{share}");
        }
        for (pause_ns, expected_ns) in [
            (1, 1),
            (90 * SECOND_NS, 90 * SECOND_NS),
            (0, i64::MIN),
            (-1, i64::MIN),
            (-wall, i64::MIN),
            (i64::MIN, i64::MIN),
        ] {
            let state = begin(wall, WHOLE, wall.saturating_add(pause_ns));
            assert_eq!(state.paused_until_ns, expected_ns, "{pause_ns}");
        }
        // The recovery begins with the end of the pause.
        let mut state = begin(0, 800, wall + 500 * MS);
        state.tick(1_499 * MS);
        assert_eq!(state.effective(), 8);
        state.tick(2_500 * MS);
        assert_eq!(state.effective(), 9);
    }

    #[test]
    fn a_wall_clock_that_is_set_does_not_matter() {
        let mut state = state(10, 10_000);
        let wall = 1_700_000_000 * SECOND_NS;
        let horizon = |state: &State| state.to_keep(None).0.until_ns;
        state.see_wall(wall);
        assert_eq!(horizon(&state), wall + 5 * SECOND_NS + OUT_NS);
        send(&mut state, 10);
        let next = state.next(1);
        // Back by an hour: it is not believed, so that what is saved covers either clock.
        state.tick(SECOND_NS);
        state.see_wall(wall - 3_600 * SECOND_NS);
        assert_eq!(horizon(&state), wall + 6 * SECOND_NS + OUT_NS);
        // Forward: the horizon moves along.
        state.tick(2 * SECOND_NS);
        state.see_wall(wall + 3_600 * SECOND_NS);
        assert_eq!(horizon(&state), wall + 3_605 * SECOND_NS + OUT_NS);
        assert_eq!(state.next(1), next);
        assert_eq!(state.closing_ns(), Some(wall + 3_598 * SECOND_NS));
    }

    #[test]
    fn a_lease_is_half_a_window_within_bounds() {
        for (window_ms, lease_ns) in [
            (1, SECOND_NS),
            (2_000, SECOND_NS),
            (10_000, 5 * SECOND_NS),
            (120_000, 60 * SECOND_NS),
            (RateLimit::WINDOW_MS_MAX, 60 * SECOND_NS),
        ] {
            let mut state = state(10, window_ms);
            state.see_wall(0);
            assert_eq!(state.to_keep(None).1.horizon_ns, lease_ns, "{window_ms}");
            state.kept.save_ns = 45 * SECOND_NS;
            assert_eq!(state.to_keep(None).1.horizon_ns, 90 * SECOND_NS);
            state.kept.save_ns = i64::MAX;
            assert!(state.to_keep(None).0.until_ns < PAUSE_BACK_NS);
        }
    }

    #[test]
    fn the_gap_between_paced_grants_is_rounded_up() {
        for (limit, window_ms, cost, gap_ns) in [
            (35, 10_000, 1, 285_714_286),
            (35, 10_000, 35, 10_000_000_000),
            (3, 1, 1, 333_334),
            (1_000_000, 1, 1, 1),
            (1_000_000, RateLimit::WINDOW_MS_MAX, 1_000_000, 2_592_000_000_000_000),
            (1, RateLimit::WINDOW_MS_MAX, 1, 2_592_000_000_000_000),
        ] {
            assert_eq!(state(limit, window_ms).gap_ns(cost), gap_ns, "{limit} in {window_ms} ms, {cost}");
        }
    }
}
