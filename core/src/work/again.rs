//! When an item is done again: a failed one after a wait, a completed one when it is stale.

use crate::bytes::{Malformed, Put, Take};
use crate::error::{Error, Result};
use crate::hash;
use crate::live::Schedule;

use super::record::{flag, u32_num};

const SECOND_MS: u64 = 1_000;
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;
/// The longest wait, and the longest time until a refresh: as of a [`Schedule`].
const AGAIN_MS_MAX: u64 = 3_660 * DAY_MS;
const TIERS_MAX: usize = 100;

/// When a failed job is tried again: after `base_ms`, then after twice as long each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Wait after the first failure, in milliseconds (default 60,000; at most 3,660 days).
    pub base_ms: u64,
    /// Longest wait, in milliseconds, jitter not counted (default 86,400,000, a day; from `base_ms` to
    /// 3,660 days).
    pub cap_ms: u64,
    /// Failures of the same content in a row after which it is dead (default 5; 1 to 1,000).
    pub attempts_max: u32,
    /// Whether each wait is longer by a random 0 to 10 percent, so that what failed together does not come
    /// back together (default true).
    pub jitter: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self { base_ms: 60_000, cap_ms: DAY_MS, attempts_max: 5, jitter: true }
    }
}

impl Retry {
    /// Returns the wait after failure number `attempt`, the first being 1, in milliseconds. The jitter is
    /// drawn from `seed` and `attempt`: the same ones give the same wait.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32, seed: u64) -> u64 {
        let factor = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let delay_ms = self.base_ms.saturating_mul(factor).min(self.cap_ms);
        if !self.jitter {
            return delay_ms;
        }
        let draw = hash::checksum(seed, &attempt.to_le_bytes());
        let values = u128::from(delay_ms / 10) + 1;
        delay_ms.saturating_add(((u128::from(draw) * values) >> 64) as u64)
    }

    pub(super) fn check(&self) -> Result<()> {
        within("a first wait", self.base_ms, 0, AGAIN_MS_MAX)?;
        within("a longest wait", self.cap_ms, self.base_ms, AGAIN_MS_MAX)?;
        if !(1..=1_000).contains(&self.attempts_max) {
            return Err(Error::invalid(format!("{} attempts make no sense", self.attempts_max))
                .with_hint("1 (a failure is final) to 1,000"));
        }
        Ok(())
    }

    pub(super) fn put(&self, row: &mut Vec<u8>) {
        row.put_num(self.base_ms);
        row.put_num(self.cap_ms);
        row.put_num(u64::from(self.attempts_max));
        row.push(u8::from(self.jitter));
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            base_ms: take.num()?,
            cap_ms: take.num()?,
            attempts_max: u32_num(take)?,
            jitter: flag(take)?,
        })
    }
}

/// When a completed item is to be done anew although it did not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Refresh {
    /// Never.
    #[default]
    Never,
    /// So many milliseconds after its completion; a second to 3,660 days.
    After(u64),
    /// By the age that a date of reference has at the completion: the first tier that is not too young
    /// for it. What is older than all tiers is never stale.
    Tiers(Vec<Tier>),
    /// When the completion says.
    AtCompletion,
}

/// One tier of [`Refresh::Tiers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Up to which age it counts, in milliseconds, that age excluded; `None` for all that is older.
    pub younger_than_ms: Option<u64>,
    /// When the item is stale, in milliseconds after its completion; a second to 3,660 days.
    pub after_ms: u64,
}

const REFRESH_NEVER: u8 = 0;
const REFRESH_AFTER: u8 = 1;
const REFRESH_TIERS: u8 = 2;
const REFRESH_AT_COMPLETION: u8 = 3;

impl Refresh {
    /// Returns tiers for things that change less the older they are: younger than 30 days after 3 days,
    /// than 180 days after 14, than 365 days after 30, than 1,825 days after 90, and after 180 days else.
    #[must_use]
    pub fn default_tiers() -> Self {
        let tier = |younger_days: Option<u64>, after_days: u64| Tier {
            younger_than_ms: younger_days.map(|days| days * DAY_MS),
            after_ms: after_days * DAY_MS,
        };
        Self::Tiers(vec![
            tier(Some(30), 3),
            tier(Some(180), 14),
            tier(Some(365), 30),
            tier(Some(1_825), 90),
            tier(None, 180),
        ])
    }

    /// Returns when an item completed at `completed_ns` is stale, 0 for never. `reference_ns` is the date
    /// whose age at the completion decides between tiers: of a file its mtime, unless the consumer names
    /// another. A date in the future has the age 0, and no date counts as the greatest age. All times are
    /// nanoseconds since 1970 UTC.
    ///
    /// Of [`Refresh::AtCompletion`] it returns 0, for the completion knows.
    #[must_use]
    pub fn next_ns(&self, completed_ns: i64, reference_ns: Option<i64>) -> i64 {
        let after_ms = match self {
            Self::Never | Self::AtCompletion => return 0,
            Self::After(ms) => Some(*ms),
            Self::Tiers(tiers) => {
                let age_ns = reference_ns.map_or(i64::MAX, |date| completed_ns.saturating_sub(date).max(0));
                let reaches = |tier: &&Tier| tier.younger_than_ms.is_none_or(|ms| age_ns < ns_of_ms(ms));
                tiers.iter().find(reaches).map(|tier| tier.after_ms)
            }
        };
        // 0 means never: the one instant that cannot be said becomes the one after.
        after_ms.map_or(0, |ms| match completed_ns.saturating_add(ns_of_ms(ms)) {
            0 => 1,
            at_ns => at_ns,
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        let check_after = |ms: u64| within("a refresh time", ms, SECOND_MS, AGAIN_MS_MAX);
        let tiers = match self {
            Self::Never | Self::AtCompletion => return Ok(()),
            Self::After(ms) => return check_after(*ms),
            Self::Tiers(tiers) => tiers,
        };
        if tiers.is_empty() || tiers.len() > TIERS_MAX {
            return Err(Error::invalid(format!("{} tiers make no sense", tiers.len()))
                .with_hint("1 to 100 are possible; `Refresh::Never` has none"));
        }
        let mut last_ms = Some(0);
        for tier in tiers {
            check_after(tier.after_ms)?;
            let is_older = match (last_ms, tier.younger_than_ms) {
                (Some(last), Some(age)) => last < age,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !is_older {
                return Err(Error::invalid("a tier lies behind another one that reaches as far")
                    .with_hint("give the tiers by rising age, one without an age as the last"));
            }
            last_ms = tier.younger_than_ms;
        }
        Ok(())
    }

    pub(super) fn put(&self, row: &mut Vec<u8>) {
        match self {
            Self::Never => row.push(REFRESH_NEVER),
            Self::After(ms) => {
                row.push(REFRESH_AFTER);
                row.put_num(*ms);
            }
            Self::Tiers(tiers) => {
                row.push(REFRESH_TIERS);
                row.put_num(tiers.len() as u64);
                for tier in tiers {
                    row.push(u8::from(tier.younger_than_ms.is_some()));
                    row.put_num(tier.younger_than_ms.unwrap_or_default());
                    row.put_num(tier.after_ms);
                }
            }
            Self::AtCompletion => row.push(REFRESH_AT_COMPLETION),
        }
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(match take.u8()? {
            REFRESH_NEVER => Self::Never,
            REFRESH_AFTER => Self::After(take.num()?),
            REFRESH_TIERS => {
                let mut tiers = Vec::new();
                for _ in 0..take.num()? {
                    let has_age = flag(take)?;
                    let younger_than_ms = Some(take.num()?).filter(|_| has_age);
                    tiers.push(Tier { younger_than_ms, after_ms: take.num()? });
                }
                Self::Tiers(tiers)
            }
            REFRESH_AT_COMPLETION => Self::AtCompletion,
            _ => return Err(Malformed),
        })
    }
}

/// Runs in which stale items are handed out: `batch` of them, a pause of `gap_ms`, and so on until none
/// is left.
#[derive(Debug, Clone, PartialEq)]
pub struct RefreshRun {
    /// When a run begins.
    pub schedule: Schedule,
    /// Items between two pauses, at least 1.
    pub batch: u32,
    /// The pause, in milliseconds; at most a day.
    pub gap_ms: u64,
}

impl RefreshRun {
    pub(super) fn check(&self) -> Result<()> {
        if self.batch == 0 {
            return Err(Error::invalid("a refresh run in batches of 0 items never gets on")
                .with_hint("at least 1; `u32::MAX` hands all out at once"));
        }
        within("a gap between batches", self.gap_ms, 0, DAY_MS)
    }

    pub(super) fn put(&self, row: &mut Vec<u8>) {
        row.put_bytes(self.schedule.to_string().as_bytes());
        // The jitter, which a schedule does not tell.
        row.put_num(self.schedule.jitter());
        row.put_num(u64::from(self.batch));
        row.put_num(self.gap_ms);
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let schedule = read_schedule(&take.string()?)?.jitter_ms(take.num()?);
        Ok(Self { schedule, batch: u32_num(take)?, gap_ms: take.num()? })
    }
}

/// A state file may come to a system without the zone files of its schedule. That is no damage: the runs
/// go by UTC until the program says otherwise.
fn read_schedule(text: &str) -> Result<Schedule, Malformed> {
    let error = match Schedule::parse(text) {
        Ok(schedule) => return Ok(schedule),
        Err(error) => error,
    };
    let (cron, _) = text.rsplit_once(" (").ok_or(Malformed)?;
    let schedule = Schedule::parse(cron).map_err(|_| Malformed)?;
    tracing::warn!(%error, "a schedule of refresh runs goes by UTC");
    Ok(schedule)
}

/// Refuses a time in milliseconds that is out of its range.
pub(super) fn within(what: &str, ms: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&ms) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} of {ms} ms makes no sense"))
        .with_hint(format!("{least} to {most} ms are possible")))
}

/// Returns milliseconds in nanoseconds; beyond 292 years it saturates.
pub(super) fn ns_of_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 24 * 60 * 60 * SECOND;

    fn tier(younger_than_ms: Option<u64>, after_ms: u64) -> Tier {
        Tier { younger_than_ms, after_ms }
    }

    #[test]
    fn each_wait_is_twice_as_long_up_to_the_cap() {
        let plain = Retry { jitter: false, ..Retry::default() };
        for (attempt, delay_ms) in [
            (0, 60_000),
            (1, 60_000),
            (2, 120_000),
            (3, 240_000),
            (11, 61_440_000),
            (12, 86_400_000),
            (64, 86_400_000),
            (65, 86_400_000),
            (u32::MAX, 86_400_000),
        ] {
            assert_eq!(plain.delay_ms(attempt, 0), delay_ms, "after failure {attempt}");
        }
        let none = Retry { base_ms: 0, ..plain };
        assert_eq!((none.delay_ms(1, 0), none.delay_ms(u32::MAX, 0)), (0, 0));
        let endless = Retry { base_ms: u64::MAX, cap_ms: u64::MAX, jitter: true, ..plain };
        assert_eq!(endless.delay_ms(u32::MAX, 3), u64::MAX, "the sum saturates");
    }

    #[test]
    fn jitter_adds_up_to_a_tenth_and_is_drawn_once() {
        let retry = Retry::default();
        for attempt in [1, 2, 5, 40] {
            let plain = Retry { jitter: false, ..retry }.delay_ms(attempt, 0);
            let waits: Vec<u64> = (0..2_000).map(|seed| retry.delay_ms(attempt, seed)).collect();
            assert!(waits.iter().all(|wait| (plain..=plain + plain / 10).contains(wait)));
            let (least, most) = (waits.iter().min().copied(), waits.iter().max().copied());
            assert!(least < Some(plain + plain / 500) && most > Some(plain + plain / 10 - plain / 500));
            assert_eq!(retry.delay_ms(attempt, 7), retry.delay_ms(attempt, 7));
        }
        assert_ne!(retry.delay_ms(12, 7), retry.delay_ms(13, 7), "each attempt draws anew");
    }

    #[test]
    fn the_age_at_completion_chooses_the_tier() {
        let now = 20_000 * DAY;
        let tiers = Refresh::default_tiers();
        for (age, after_days) in [
            (-5 * DAY, 3),
            (0, 3),
            (30 * DAY - 1, 3),
            (30 * DAY, 14),
            (180 * DAY - 1, 14),
            (180 * DAY, 30),
            (365 * DAY, 90),
            (1_825 * DAY - 1, 90),
            (1_825 * DAY, 180),
            (10_000 * DAY, 180),
        ] {
            assert_eq!(tiers.next_ns(now, Some(now - age)), now + after_days * DAY, "at the age {age}");
        }
        assert_eq!(tiers.next_ns(now, None), now + 180 * DAY, "no date is the greatest age");
        let young = Refresh::Tiers(vec![tier(Some(DAY_MS), 1_000)]);
        assert_eq!(young.next_ns(now, Some(now)), now + SECOND);
        assert_eq!((young.next_ns(now, Some(now - DAY)), young.next_ns(now, None)), (0, 0), "older: never");
    }

    #[test]
    fn a_refresh_comes_after_a_time_or_never() {
        assert_eq!(Refresh::After(5_000).next_ns(7 * SECOND, None), 12 * SECOND);
        assert_eq!(Refresh::After(5_000).next_ns(7 * SECOND, Some(i64::MIN)), 12 * SECOND);
        assert_eq!(Refresh::default().next_ns(5, Some(5)), 0);
        assert_eq!(Refresh::AtCompletion.next_ns(5, Some(5)), 0);
        assert_eq!(Refresh::After(5_000).next_ns(-5 * SECOND, None), 1, "0 would mean never");
        for completed in [i64::MIN, -1, 0, 1, i64::MAX] {
            for reference in [None, Some(i64::MIN), Some(0), Some(i64::MAX)] {
                for refresh in [Refresh::After(u64::MAX), Refresh::After(0), Refresh::default_tiers()] {
                    let next = refresh.next_ns(completed, reference);
                    assert!(next >= completed && next != 0, "{refresh:?} of {completed} and {reference:?}");
                }
            }
        }
    }

    #[test]
    fn absurd_waits_are_refused_with_a_hint() {
        for retry in [
            Retry { attempts_max: 0, ..Retry::default() },
            Retry { attempts_max: 1_001, ..Retry::default() },
            Retry { cap_ms: 59_999, ..Retry::default() },
            Retry { cap_ms: u64::MAX, ..Retry::default() },
            Retry { base_ms: u64::MAX, cap_ms: u64::MAX, ..Retry::default() },
        ] {
            assert!(retry.check().is_err_and(|error| error.hint().is_some()), "{retry:?}");
        }
        assert!(Retry::default().check().is_ok());
        assert!(Retry { attempts_max: 1, base_ms: 0, cap_ms: 0, jitter: false }.check().is_ok());

        let tiers = |tiers: &[Tier]| Refresh::Tiers(tiers.to_vec());
        for refresh in [
            Refresh::After(999),
            Refresh::After(AGAIN_MS_MAX + 1),
            tiers(&[]),
            tiers(&[tier(Some(0), DAY_MS)]),
            tiers(&[tier(Some(2), DAY_MS), tier(Some(2), DAY_MS)]),
            tiers(&[tier(Some(2), DAY_MS), tier(Some(1), DAY_MS)]),
            tiers(&[tier(None, DAY_MS), tier(Some(1), DAY_MS)]),
            tiers(&[tier(None, DAY_MS), tier(None, DAY_MS)]),
            tiers(&[tier(Some(1), 0)]),
            tiers(&(1..=101).map(|age| tier(Some(age), DAY_MS)).collect::<Vec<_>>()),
        ] {
            assert!(refresh.check().is_err_and(|error| error.hint().is_some()), "{refresh:?}");
        }
        for refresh in
            [Refresh::Never, Refresh::After(1_000), Refresh::default_tiers(), tiers(&[tier(Some(1), 1_000)])]
        {
            assert!(refresh.check().is_ok(), "{refresh:?}");
        }
    }

    fn run(text: &str) -> RefreshRun {
        RefreshRun { schedule: Schedule::parse(text).expect("a schedule"), batch: 50, gap_ms: 1_500 }
    }

    #[test]
    fn a_refresh_run_has_a_batch() {
        assert!(run("0 3 * * *").check().is_ok());
        assert!(RefreshRun { batch: 0, ..run("24h") }.check().is_err());
        assert!(RefreshRun { gap_ms: DAY_MS + 1, ..run("24h") }.check().is_err());
    }

    #[test]
    fn the_parts_of_a_row_are_read_back() {
        let mut row = Vec::new();
        let retry = Retry { base_ms: 1, cap_ms: u64::MAX, attempts_max: 300, jitter: false };
        retry.put(&mut row);
        let refreshes = [
            Refresh::Never,
            Refresh::After(u64::MAX),
            Refresh::default_tiers(),
            Refresh::Tiers(Vec::new()),
            Refresh::AtCompletion,
        ];
        refreshes.iter().for_each(|refresh| refresh.put(&mut row));
        let runs = ["15m", "every 24h", "7d", "0 3 * * *", "*/5 8-9 * * MON"].map(run);
        runs.iter().for_each(|run| run.put(&mut row));
        let mut take = Take(&row);
        assert_eq!(Retry::take(&mut take), Ok(retry));
        for refresh in refreshes {
            assert_eq!(Refresh::take(&mut take), Ok(refresh));
        }
        for run in runs {
            assert_eq!(RefreshRun::take(&mut take), Ok(run));
        }
        assert!(take.is_done());
    }

    #[test]
    fn a_zone_that_is_not_known_here_is_no_damage() {
        let utc = Schedule::parse("0 3 * * *").expect("a schedule");
        assert_eq!(read_schedule("cron 0 3 * * * (Mars/Olympus)"), Ok(utc));
        for bad in ["", "cron", "nonsense", "cron 0 3 * * (UTC)", "cron 0 0 30 2 * (Mars/Olympus)"] {
            assert_eq!(read_schedule(bad), Err(Malformed), "{bad}");
        }
    }
}
