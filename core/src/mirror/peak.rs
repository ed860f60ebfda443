//! How many objects there were at most within the last hour, so that a tree that goes away in pieces is held as
//! one that goes away at once. In memory alone: an hour begins anew when a mirror is opened.

use std::collections::VecDeque;

/// Deletions of so long count together, in nanoseconds.
const WINDOW_NS: i64 = 3_600_000_000_000;

/// The largest number within a sliding window.
#[derive(Debug, Clone, Default)]
pub(super) struct Peak {
    /// When, and how many: each less than the one before it.
    seen: VecDeque<(i64, u64)>,
}

impl Peak {
    /// Notes that there are so many now.
    pub(super) fn note(&mut self, now_ns: i64, objects: u64) {
        while self.seen.back().is_some_and(|(_, before)| *before <= objects) {
            self.seen.pop_back();
        }
        self.seen.push_back((now_ns, objects));
        let from_ns = now_ns.saturating_sub(WINDOW_NS);
        while self.seen.front().is_some_and(|(at_ns, _)| *at_ns < from_ns) {
            self.seen.pop_front();
        }
        // A clock that was put back counts from there.
        for (at_ns, _) in &mut self.seen {
            *at_ns = now_ns.min(*at_ns);
        }
    }

    /// The most there were within the window, when there are so many now.
    pub(super) fn highest(&self, now_ns: i64, objects: u64) -> u64 {
        let from_ns = now_ns.saturating_sub(WINDOW_NS);
        let first = self.seen.iter().find(|(at_ns, _)| *at_ns >= from_ns);
        first.map_or(objects, |(_, highest)| objects.max(*highest))
    }

    /// What was there before does not count any more.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    #[test]
    fn the_highest_number_of_the_last_hour_counts() {
        let mut peak = Peak::default();
        assert_eq!(peak.highest(0, 7), 7);
        // Minute, objects, the highest then.
        for (minute, objects, highest) in [
            (0, 100, 100),
            (10, 40, 100),
            (20, 90, 100),
            (60, 50, 100),
            (61, 50, 90),
            (80, 60, 90),
            (81, 60, 60),
            (82, 70, 70),
            // Put back: what was seen later is taken for seen now.
            (30, 10, 70),
            (90, 10, 70),
            (91, 10, 10),
        ] {
            assert_eq!(peak.highest(minute * MINUTE, objects), highest, "before minute {minute}");
            peak.note(minute * MINUTE, objects);
            assert_eq!(peak.highest(minute * MINUTE, objects), highest, "minute {minute}");
        }
        peak.note(92 * MINUTE, 1);
        peak.forget();
        assert_eq!(peak.highest(92 * MINUTE, 3), 3);
    }

    #[test]
    fn what_is_kept_stays_small() {
        let mut peak = Peak::default();
        for second in 0..100_000_i64 {
            peak.note(second * 1_000_000_000, 1_000_000 - second as u64 % 1_000);
        }
        assert!(peak.seen.len() <= 1_000, "{}", peak.seen.len());
    }
}
