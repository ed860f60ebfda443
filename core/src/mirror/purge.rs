//! What a mirror asks of a CDN: to forget addresses whose content has changed.
//!
//! A CDN tries once and says what came of it. Waiting, repeating and slowing down is the mirror's part, and so
//! is the queue: nothing here keeps state, and an address that was not purged is always named.

mod cloudflare;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::work::RateLimit;

pub use cloudflare::Cloudflare;

/// Why a CDN did not purge, as far as it matters for what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeFault {
    /// It may work the next time: a cut connection, no answer in time, a 500, an answer that makes no sense.
    Transient,
    /// The CDN asks to slow down (429), and may say for how long.
    Throttled(Option<Duration>),
    /// The credentials or the zone are wrong. No other request will fare better until somebody mends them.
    Denied,
    /// At least one of these addresses will never be taken. Nothing is known of the others.
    Rejected,
}

/// A failure of a CDN. The message holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeError {
    /// What it means for what comes next.
    pub fault: PurgeFault,
    /// What happened, for people.
    pub message: String,
}

impl PurgeError {
    /// Returns a failure.
    #[must_use]
    pub fn new(fault: PurgeFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

impl fmt::Display for PurgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PurgeError {}

/// A CDN that can be told to forget addresses.
///
/// Implement it for a CDN of your own. Every call tries once, may block, and may come from any thread, several
/// at once. The same address may be named again: purging twice does no harm.
pub trait Purge: Send + Sync {
    /// Which CDN it is, for people: without any secret.
    fn describe(&self) -> String;

    /// Addresses of one call of [`Purge::purge`] at most. 0 counts as 1.
    fn batch_max(&self) -> usize;

    /// How often [`Purge::purge`] may be called (default: as often as there is something to tell).
    fn rate(&self) -> Option<RateLimit> {
        None
    }

    /// Makes the CDN forget these addresses, at most [`Purge::batch_max`].
    ///
    /// # Errors
    ///
    /// None of the addresses counts as purged then. `Rejected` makes the mirror try them in smaller batches,
    /// down to single ones; one that is rejected by itself is given up.
    fn purge(&self, urls: &[String]) -> Result<(), PurgeError>;
}

/// What came of many addresses. Each index is in exactly one list, and each list ascends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Purged {
    pub(super) done: Vec<usize>,
    /// Will never be taken, and why.
    pub(super) refused: Vec<(usize, String)>,
    /// Why it ended early; `None` with something untried means that `before` ended it.
    pub(super) failed: Option<PurgeError>,
    /// Still to be purged, those of the failed request among them.
    pub(super) untried: Vec<usize>,
}

/// Purges in batches, the first addresses first. A batch that is rejected is halved until the culprits stand
/// alone: one among `n` costs at most `2 log2(n) + 1` requests, and `n` of them `2 n - 1`. Any other failure ends
/// it.
///
/// `before` is called ahead of every request: it may wait for its turn, and ends it with false.
pub(super) fn purge_all(purge: &dyn Purge, urls: &[String], before: &mut dyn FnMut() -> bool) -> Purged {
    let mut purged = Purged::default();
    // What is still to be asked, the next at the end.
    let mut open = batches(urls.len(), purge.batch_max());
    open.reverse();
    while let Some(batch) = open.pop() {
        if !before() {
            purged.untried.extend(batch);
            break;
        }
        match purge.purge(&urls[batch.clone()]) {
            Ok(()) => purged.done.extend(batch),
            Err(error) if error.fault == PurgeFault::Rejected => {
                if batch.len() == 1 {
                    purged.refused.push((batch.start, error.message));
                } else {
                    let middle = batch.start + batch.len() / 2;
                    open.push(middle..batch.end);
                    open.push(batch.start..middle);
                }
            }
            Err(error) => {
                purged.failed = Some(error);
                purged.untried.extend(batch);
                break;
            }
        }
    }
    purged.untried.extend(open.into_iter().rev().flatten());
    purged
}

fn batches(len: usize, batch_max: usize) -> Vec<Range<usize>> {
    let step = batch_max.max(1);
    (0..len).step_by(step).map(|start| start..start.saturating_add(step).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    /// Rejects what holds a bad address, and fails on a given request.
    struct Fake {
        bad: BTreeSet<String>,
        fails: Option<(usize, PurgeFault)>,
        batch_max: usize,
        calls: Mutex<Vec<Vec<String>>>,
    }

    impl Purge for Fake {
        fn describe(&self) -> String {
            "fake".to_owned()
        }

        fn batch_max(&self) -> usize {
            self.batch_max
        }

        fn purge(&self, urls: &[String]) -> Result<(), PurgeError> {
            let mut calls = self.calls.lock().unwrap();
            calls.push(urls.to_vec());
            if let Some((call, fault)) = &self.fails
                && *call == calls.len()
            {
                return Err(PurgeError::new(fault.clone(), "not now"));
            }
            match urls.iter().find(|url| self.bad.contains(*url)) {
                Some(url) => Err(PurgeError::new(PurgeFault::Rejected, format!("bad {url}"))),
                None => Ok(()),
            }
        }
    }

    fn fake(bad: &[usize], fails: Option<(usize, PurgeFault)>, batch_max: usize) -> Fake {
        let bad = bad.iter().map(|n| url(*n)).collect();
        Fake { bad, fails, batch_max, calls: Mutex::new(Vec::new()) }
    }

    fn url(n: usize) -> String {
        format!("https://cdn.example/{n}")
    }

    fn urls(count: usize) -> Vec<String> {
        (0..count).map(url).collect()
    }

    /// Purges, checks that nothing was lost or doubled, and tells the number of requests.
    fn run(fake: &Fake, count: usize) -> (Purged, usize) {
        let mut asked = 0;
        let purged = purge_all(fake, &urls(count), &mut || {
            asked += 1;
            true
        });
        let calls = fake.calls.lock().unwrap();
        assert_eq!(asked, calls.len(), "asked before every request");
        assert!(calls.iter().all(|call| (1..=fake.batch_max.max(1)).contains(&call.len())));
        check_places(&purged, count);
        (purged, asked)
    }

    fn check_places(purged: &Purged, count: usize) {
        let refused: Vec<usize> = purged.refused.iter().map(|(index, _)| *index).collect();
        for list in [&purged.done, &refused, &purged.untried] {
            assert!(list.is_sorted(), "{purged:?}");
        }
        let mut all = [purged.done.as_slice(), &refused, &purged.untried].concat();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>(), "{purged:?}");
    }

    #[test]
    fn what_is_taken_goes_in_whole_batches_in_order() {
        for (count, batch_max, requests) in [
            (0, 30, 0),
            (1, 30, 1),
            (30, 30, 1),
            (31, 30, 2),
            (90, 30, 3),
            (3, 1, 3),
            (3, 0, 3),
            (5, usize::MAX, 1),
        ] {
            let fake = fake(&[], None, batch_max);
            let (purged, calls) = run(&fake, count);
            assert_eq!(calls, requests, "{count} by {batch_max}");
            assert_eq!(purged, Purged { done: (0..count).collect(), ..Purged::default() });
            assert_eq!(fake.calls.lock().unwrap().concat(), urls(count));
        }
    }

    #[test]
    fn one_bad_address_is_found_in_few_requests_and_the_others_are_purged() {
        for bad in 0..30 {
            let (purged, calls) = run(&fake(&[bad], None, 30), 30);
            assert!(calls <= 11, "{bad}: {calls}");
            assert_eq!(purged.refused, [(bad, format!("bad {}", url(bad)))]);
            assert_eq!(purged.done.len(), 29);
            assert_eq!((purged.failed, purged.untried), (None, vec![]));
        }
    }

    #[test]
    fn bad_addresses_never_take_others_with_them() {
        let everything: Vec<usize> = (0..30).collect();
        let cases: [(&[usize], usize, usize); 5] = [
            (&everything, 30, 59),
            (&[0], 1, 1),
            (&[0, 29], 30, 17),
            (&[14, 15], 30, 17),
            // One in the first batch, one alone in the last.
            (&[0, 60], 61, 11),
        ];
        for (bad, count, requests) in cases {
            let (purged, calls) = run(&fake(bad, None, 30), count);
            assert!(calls <= requests, "{bad:?} of {count}: {calls}");
            assert_eq!(purged.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), bad);
            assert_eq!(purged.done.len(), count - bad.len());
            assert_eq!((purged.failed, purged.untried), (None, vec![]));
        }
    }

    #[test]
    fn any_other_failure_ends_it_and_says_what_is_left() {
        let wait = Some(Duration::from_secs(7));
        for fault in [PurgeFault::Transient, PurgeFault::Throttled(wait), PurgeFault::Denied] {
            let fake = fake(&[], Some((2, fault.clone())), 30);
            let (purged, calls) = run(&fake, 90);
            assert_eq!(calls, 2);
            assert_eq!(purged.failed, Some(PurgeError::new(fault, "not now")));
            assert_eq!(purged.done, (0..30).collect::<Vec<_>>());
            assert_eq!(purged.untried, (30..90).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_amid_the_halving_loses_nothing() {
        // The halving of 8 with the sixth bad: 0..8, 0..4, 4..8, 4..6, 4..5, 5..6, 6..8.
        let ends: [(usize, &[usize], &[usize]); 8] = [
            (1, &[], &[]),
            (2, &[], &[]),
            (3, &[0, 1, 2, 3], &[]),
            (4, &[0, 1, 2, 3], &[]),
            (5, &[0, 1, 2, 3], &[]),
            (6, &[0, 1, 2, 3, 4], &[]),
            (7, &[0, 1, 2, 3, 4], &[5]),
            (8, &[0, 1, 2, 3, 4, 6, 7], &[5]),
        ];
        for (call, done, refused) in ends {
            let (purged, calls) = run(&fake(&[5], Some((call, PurgeFault::Transient)), 30), 8);
            assert_eq!(calls, call.min(7));
            assert_eq!(purged.done, done, "{call}");
            assert_eq!(purged.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), refused, "{call}");
            assert_eq!(purged.failed.is_some(), call <= 7);
        }
    }

    #[test]
    fn whoever_waits_for_a_turn_can_end_it() {
        for turns in 0..7 {
            let fake = fake(&[5], None, 30);
            let mut left = turns;
            let purged = purge_all(&fake, &urls(8), &mut || {
                left -= 1;
                left >= 0
            });
            check_places(&purged, 8);
            assert_eq!(purged.failed, None);
            assert!(!purged.untried.is_empty());
            assert_eq!(fake.calls.lock().unwrap().len(), usize::try_from(turns).unwrap());
        }
    }
}
