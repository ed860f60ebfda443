//! Adaptive polling: directories that changed at recent looks are looked at more often than the whole
//! tree, within bounds. Pure: the time is a parameter. It only adds looks, it never replaces the poll of
//! everything, so forgetting a directory here loses nothing.

use std::cmp::Reverse;
use std::collections::HashMap;

/// A directory that changed is looked at so many times as often as the whole tree, ...
const FASTER: i64 = 8;
/// ... but no more than once in a second.
const EVERY_NS_MIN: i64 = 1_000_000_000;
/// Directories that are hot at the same time. What changes in more places than that is better polled
/// as a whole.
const HOT_MAX: usize = 1_024;
/// Directories that are handed out at once, so that one round stays short.
const DUE_MAX: usize = 256;

/// The hot directories of one root.
#[derive(Debug)]
pub(crate) struct Heat {
    /// Of the poll of the whole tree.
    interval_ns: i64,
    hot: HashMap<Vec<u8>, Spot>,
}

#[derive(Debug, Clone, Copy)]
struct Spot {
    every_ns: i64,
    next_ns: i64,
    /// Handed out and not reported yet.
    is_out: bool,
}

impl Heat {
    /// Nothing is hot yet. `interval_ns` is that of the poll of the whole tree.
    pub(crate) fn new(interval_ns: i64) -> Self {
        Self { interval_ns, hot: HashMap::new() }
    }

    /// Takes in what a look at a directory has shown, whether it was handed out here or met by the poll
    /// of the whole tree: changed makes it hot, unchanged half as hot, until it is as cold as the rest.
    pub(crate) fn looked(&mut self, dir: &[u8], changed: bool, now_ns: i64) {
        let every_ns = match self.hot.get(dir) {
            _ if changed => (self.interval_ns / FASTER).max(EVERY_NS_MIN),
            Some(spot) => spot.every_ns.saturating_mul(2),
            None => return,
        };
        if every_ns >= self.interval_ns {
            self.hot.remove(dir);
            return;
        }
        let spot = Spot { every_ns, next_ns: now_ns.saturating_add(every_ns), is_out: false };
        if let Some(known) = self.hot.get_mut(dir) {
            *known = spot;
            return;
        }
        if self.hot.len() >= HOT_MAX {
            self.drop_coolest();
        }
        self.hot.insert(dir.to_vec(), spot);
    }

    /// Hands out the directories that are due, those that have waited longest first, 256 at most; the
    /// rest stays due. One that was handed out before and of which nothing was heard since, because it
    /// is gone or because looking is slow, is forgotten.
    pub(crate) fn due(&mut self, now_ns: i64) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        self.hot.retain(|dir, spot| {
            // A clock that was set back makes nothing wait for longer than its interval.
            spot.next_ns = spot.next_ns.min(now_ns.saturating_add(spot.every_ns));
            if spot.next_ns > now_ns {
                return true;
            }
            if !spot.is_out {
                due.push((spot.next_ns, dir.clone()));
            }
            !spot.is_out
        });
        due.sort_unstable();
        due.truncate(DUE_MAX);
        for (_, dir) in &due {
            if let Some(spot) = self.hot.get_mut(dir) {
                spot.next_ns = now_ns.saturating_add(spot.every_ns);
                spot.is_out = true;
            }
        }
        due.into_iter().map(|(_, dir)| dir).collect()
    }

    /// Returns when the next directory is due.
    pub(crate) fn next_ns(&self) -> Option<i64> {
        self.hot.values().map(|spot| spot.next_ns).min()
    }

    /// The one that changed longest ago; among equals any, but always the same.
    fn drop_coolest(&mut self) {
        let coolest = self.hot.iter().max_by_key(|(dir, spot)| (spot.every_ns, Reverse(spot.next_ns), *dir));
        if let Some(dir) = coolest.map(|(dir, _)| dir.clone()) {
            self.hot.remove(&dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn due(heat: &mut Heat, now_ns: i64) -> Vec<String> {
        heat.due(now_ns).into_iter().map(|dir| String::from_utf8_lossy(&dir).into_owned()).collect()
    }

    #[test]
    fn a_changed_directory_is_looked_at_more_often() {
        // Interval of the poll and of a directory that has just changed, in milliseconds.
        for (interval_ms, every_ms) in [
            (60_000, Some(7_500)),
            (10_000, Some(1_250)),
            (8_000, Some(1_000)),
            (5_000, Some(1_000)),
            (1_001, Some(1_000)),
            // Polled as often as may be already.
            (1_000, None),
            (10, None),
            (0, None),
            (-1, None),
        ] {
            let mut heat = Heat::new(interval_ms * 1_000_000);
            heat.looked(b"a", true, 5);
            assert_eq!(heat.next_ns(), every_ms.map(|ms| 5 + ms * 1_000_000), "{interval_ms}");
        }
    }

    #[test]
    fn an_unchanged_directory_cools_down_and_is_forgotten() {
        let mut heat = Heat::new(10 * SECOND);
        heat.looked(b"a", false, 0);
        assert_eq!(heat.next_ns(), None, "what was never hot does not become so");
        heat.looked(b"a", true, 0);
        let mut now = 0;
        for every_ms in [1_250, 2_500, 5_000] {
            now += every_ms * 1_000_000;
            assert_eq!(heat.next_ns(), Some(now));
            assert_eq!(due(&mut heat, now - 1), [""; 0]);
            assert_eq!(due(&mut heat, now), ["a"]);
            assert_eq!(due(&mut heat, now), [""; 0], "handed out once");
            heat.looked(b"a", false, now);
        }
        assert_eq!(heat.next_ns(), None);

        // Changed again on the way down: hot again, from then on.
        heat.looked(b"a", true, 0);
        heat.looked(b"a", false, SECOND);
        assert_eq!(heat.next_ns(), Some(3_500_000_000));
        heat.looked(b"a", true, 2 * SECOND);
        assert_eq!(heat.next_ns(), Some(3_250_000_000));
    }

    #[test]
    fn those_that_have_waited_longest_come_first() {
        let mut heat = Heat::new(10 * SECOND);
        for (dir, at) in [(&b"c"[..], 1), (b"a", 3), (b"b", 2), (b"", 4), (b"later", 2 * SECOND)] {
            heat.looked(dir, true, at);
        }
        assert_eq!(due(&mut heat, 2 * SECOND), ["c", "b", "a", ""]);
        assert_eq!(due(&mut heat, 2 * SECOND), [""; 0]);
        assert_eq!(heat.next_ns(), Some(3_250_000_000));
    }

    #[test]
    fn one_round_is_bounded_and_the_rest_stays_due() {
        let mut heat = Heat::new(10 * SECOND);
        for i in 0..600_u32 {
            heat.looked(format!("d{i:04}").as_bytes(), true, i64::from(i));
        }
        let now = 2 * SECOND;
        let rounds: Vec<Vec<String>> = (0..4).map(|_| due(&mut heat, now)).collect();
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88, 0]);
        assert!(rounds.concat().is_sorted());
    }

    #[test]
    fn the_coolest_is_dropped_when_there_are_too_many() {
        let mut heat = Heat::new(10 * SECOND);
        for i in 0..1_024_u32 {
            heat.looked(format!("d{i:04}").as_bytes(), true, i64::from(i));
        }
        heat.looked(b"d0500", false, 2_000);
        heat.looked(b"new", true, 3_000);
        assert_eq!(heat.hot.len(), HOT_MAX);
        assert!(!heat.hot.contains_key(&b"d0500"[..]), "it had cooled down");
        heat.looked(b"newer", true, 4_000);
        assert!(!heat.hot.contains_key(&b"d0000"[..]), "it changed longest ago");
        // One that is known already pushes nobody out.
        heat.looked(b"new", true, 5_000);
        assert_eq!(heat.hot.len(), HOT_MAX);
        assert!(heat.hot.contains_key(&b"new"[..]) && heat.hot.contains_key(&b"newer"[..]));
    }

    #[test]
    fn a_directory_of_which_nothing_is_heard_is_forgotten() {
        let mut heat = Heat::new(10 * SECOND);
        heat.looked(b"gone", true, 0);
        heat.looked(b"here", true, 0);
        assert_eq!(due(&mut heat, 2 * SECOND), ["gone", "here"]);
        heat.looked(b"here", true, 2 * SECOND);
        assert_eq!(due(&mut heat, 4 * SECOND), ["here"]);
        // A report that comes late makes it hot again.
        heat.looked(b"gone", true, 5 * SECOND);
        assert_eq!(due(&mut heat, 7 * SECOND), ["gone"]);
    }

    #[test]
    fn no_clock_stops_it() {
        let mut heat = Heat::new(10 * SECOND);
        heat.looked(b"a", true, 1_000 * SECOND);
        // Set back: due one interval later, not a thousand seconds.
        assert_eq!(due(&mut heat, SECOND), [""; 0]);
        assert_eq!(heat.next_ns(), Some(2_250_000_000));
        assert_eq!(due(&mut heat, 3 * SECOND), ["a"]);

        for interval_ns in [i64::MIN, 0, 10 * SECOND, i64::MAX] {
            let mut heat = Heat::new(interval_ns);
            for now in [i64::MIN, 0, i64::MAX] {
                heat.looked(b"a", true, now);
                heat.due(i64::MAX);
                heat.due(i64::MIN);
                heat.looked(b"a", false, now);
            }
        }
    }
}
