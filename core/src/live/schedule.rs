//! When something is due: every so often, or at the times of a cron text in a time zone; and the timer
//! that keeps to such a schedule. The time is always a parameter and the environment is never asked:
//! only [`Schedule::cron_in`] reads anything, the zone's file.
//!
//! Invariant: a timer owes one run at most. Ticks that were missed, asleep or busy, become that one.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use croner::errors::CronError;
use croner::{CivilDateTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

use crate::error::{Error, Result};
use crate::hash;
use crate::path::escape;

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 60 * 60 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const EVERY_MS_MAX: u64 = 3_660 * DAY_MS;
/// As an interval is written, the longest first.
const UNITS: [(&str, u64); 5] =
    [("d", DAY_MS), ("h", HOUR_MS), ("m", 60 * SECOND_MS), ("s", SECOND_MS), ("ms", 1)];

/// What does not fire within so many years never fires: the rarest date, a 29 February on a given
/// weekday, comes back after 40 years at most.
const YEARS_MAX: i32 = 50;
/// croner gives up at a gap in the wall clock of more than two hours. Zones have skipped a whole day
/// (Samoa, 30 December 2011): the search goes on so much later, so many times, two days in all.
const GAP_STEP_SECONDS: i64 = 4 * 60 * 60;
const GAP_STEPS_MAX: u32 = 12;
/// After the clock was set back, a cron schedule that has just run rests for half a period and for so
/// long at most. cron(8) draws such a line too.
const REST_NS_MAX: i64 = 60 * 60 * 1_000_000_000;

/// Where systems keep the zone files. jiff's own list can be moved by `TZDIR`, which is the
/// environment and not ours to read.
const ZONE_DIRS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

const CRON_HINT: &str =
    "five fields: minute, hour, day of the month, month, day of the week, as in `0 3 * * *`";
const SCHEDULE_HINT: &str = "an interval such as `90s`, `15m`, `24h` or `7d`, or a cron text such as \
                             `0 3 * * *`, with a time zone or without";

/// When something is due: at an interval, or by a cron text in a time zone.
///
/// Times are nanoseconds since 1970-01-01 UTC.
///
/// ```
/// use treewarden::Schedule;
///
/// let nightly = Schedule::parse("0 3 * * *")?;
/// assert_eq!(nightly.next_after(0), Some(3 * 3_600 * 1_000_000_000));
/// assert_eq!(nightly.to_string(), "cron 0 3 * * * (UTC)");
/// assert_eq!(Schedule::parse("15m")?, Schedule::every_ms(900_000)?);
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    when: When,
    jitter_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum When {
    /// Milliseconds.
    Every(u64),
    Cron(Arc<CronRule>),
}

impl Schedule {
    /// A run every `ms` milliseconds, from one second to 3,660 days.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` outside of that.
    pub fn every_ms(ms: u64) -> Result<Self> {
        if !(SECOND_MS..=EVERY_MS_MAX).contains(&ms) {
            return Err(Error::invalid(format!("an interval of {ms} ms is out of range"))
                .with_hint("it may be from one second to 3,660 days"));
        }
        Ok(Self { when: When::Every(ms), jitter_ms: 0 })
    }

    /// Runs by a cron text of five fields, in UTC.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a text that cannot be read or that never fires, as `0 0 30 2 *`.
    pub fn cron(text: &str) -> Result<Self> {
        Self::by_cron(text, TimeZone::UTC)
    }

    /// Runs by a cron text on the wall clock of `zone`, an IANA name such as `Europe/Vienna`, by the
    /// zone files of the system as they are now.
    ///
    /// A fixed time that the clock skips in spring is due at the first moment after the gap; one that
    /// comes twice in autumn is due the first time. A text with steps, lists or `*` for minute or hour
    /// goes by what the clock shows: not in the gap, in both repeated hours.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as [`Schedule::cron`], and for a zone that the system does not know.
    pub fn cron_in(text: &str, zone: &str) -> Result<Self> {
        Self::by_cron(text, find_zone(zone)?)
    }

    /// Reads a schedule as a user writes it: `15m`, `every 24h`, `90s`, `7d`, `0 3 * * *`,
    /// `cron 0 3 * * * Europe/Vienna`, and whatever `Display` prints.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as the constructors, and for a text of no such form.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(interval) = text.strip_prefix("every ") {
            return Self::every_ms(interval_ms(interval.trim()).ok_or_else(|| not_a_schedule(text))?);
        }
        let (is_cron, rest) = text.strip_prefix("cron ").map_or((false, text), |rest| (true, rest));
        let fields: Vec<&str> = rest.split_whitespace().collect();
        match fields.as_slice() {
            [] => Err(not_a_schedule(text)),
            [interval] if !is_cron => {
                Self::every_ms(interval_ms(interval).ok_or_else(|| not_a_schedule(text))?)
            }
            [five @ .., zone]
                if five.len() == 5 && zone.starts_with(|c: char| c == '(' || c.is_alphabetic()) =>
            {
                let bare = zone.strip_prefix('(').and_then(|zone| zone.strip_suffix(')'));
                Self::cron_in(&five.join(" "), bare.unwrap_or(zone))
            }
            _ => Self::cron(rest),
        }
    }

    /// Lets every run be late by a random 0 to `ms` milliseconds (3,660 days at most), so that many
    /// machines with one schedule do not start together. Default 0.
    #[must_use]
    pub fn jitter_ms(mut self, ms: u64) -> Self {
        self.jitter_ms = ms.min(EVERY_MS_MAX);
        self
    }

    /// Returns how late a run may be, in milliseconds.
    pub(crate) fn jitter(&self) -> u64 {
        self.jitter_ms
    }

    /// Returns the first time after `after_ns`, without jitter; `None` when it lies beyond 2262, where
    /// nanoseconds end.
    #[must_use]
    pub fn next_after(&self, after_ns: i64) -> Option<i64> {
        match &self.when {
            When::Every(ms) => after_ns.checked_add(ns_of_ms(*ms)),
            When::Cron(rule) => rule.next_after(after_ns),
        }
    }

    fn by_cron(text: &str, zone: TimeZone) -> Result<Self> {
        let rule = CronRule::new(text, zone)?;
        Ok(Self { when: When::Cron(Arc::new(rule)), jitter_ms: 0 })
    }
}

/// The schedule as [`Schedule::parse`] reads it, without the jitter.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Every(ms) => {
                // One day is said as 24 h: what comes every so often keeps no time of day.
                let fits = |unit_ms: u64| ms.is_multiple_of(unit_ms) && (unit_ms < DAY_MS || *ms > DAY_MS);
                let (name, unit_ms) = UNITS.into_iter().find(|(_, unit)| fits(*unit)).unwrap_or(("ms", 1));
                write!(f, "every {}{name}", ms / unit_ms)
            }
            When::Cron(rule) => write!(f, "cron {} ({})", rule.text, rule.zone_name()),
        }
    }
}

fn not_a_schedule(text: &str) -> Error {
    Error::invalid(format!("`{}` is not a schedule", escape(text.as_bytes()))).with_hint(SCHEDULE_HINT)
}

/// `15m` in milliseconds. Too many digits become too long an interval, which is then refused as such.
fn interval_ms(text: &str) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(digits_end);
    let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    (!digits.is_empty()).then(|| digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit_ms))
}

fn ns_of_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

fn find_zone(name: &str) -> Result<TimeZone> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    for dir in ZONE_DIRS {
        // The name is looked up among the files that are there: `../x` leads nowhere.
        if let Ok(zones) = TimeZoneDatabase::from_dir(dir)
            && let Ok(zone) = zones.get(name)
            && !zone.is_unknown()
        {
            return Ok(zone);
        }
    }
    Err(Error::invalid(format!("this system knows no time zone `{}`", escape(name.as_bytes()))).with_hint(
        "it takes a name of the IANA database such as `Europe/Vienna` and the system's zone files \
         (package tzdata); a cron text itself has five fields, without seconds",
    ))
}

/// A cron text that was read, and the wall clock it goes by.
struct CronRule {
    /// The five fields, one space between them.
    text: String,
    cron: Cron,
    zone: TimeZone,
}

impl CronRule {
    fn new(text: &str, zone: TimeZone) -> Result<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let text = fields.join(" ");
        let shown = escape(text.as_bytes());
        if fields.len() != 5 {
            return Err(Error::invalid(format!("the cron text `{shown}` has {} fields", fields.len()))
                .with_hint(CRON_HINT));
        }
        // croner passes over empty items, and a field of nothing else never fires.
        if fields.iter().any(|field| field.split(',').any(str::is_empty)) {
            return Err(Error::invalid(format!("the cron text `{shown}` has an empty item in a list"))
                .with_hint(CRON_HINT));
        }
        let cron = text.parse::<Cron>().map_err(|error: CronError| {
            let reason = escape(error.to_string().as_bytes());
            Error::invalid(format!("cannot read the cron text `{shown}`: {reason}"))
                .with_hint(CRON_HINT)
                .with_source(error)
        })?;
        let rule = Self { text, cron, zone };
        if rule.next_after(0).is_none() {
            return Err(Error::invalid(format!("the cron text `{shown}` never fires"))
                .with_hint("no date fits its day of the month and its month"));
        }
        Ok(rule)
    }

    fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    fn next_after(&self, after_ns: i64) -> Option<i64> {
        let after = Timestamp::from_nanosecond(i128::from(after_ns)).ok()?.to_zoned(self.zone.clone());
        let year_max = i32::from(after.year()) + YEARS_MAX;
        let mut from = Within { at: after, year_max };
        for step in 0..=GAP_STEPS_MAX {
            if let Ok(found) = self.cron.find_next_occurrence(&from, step > 0) {
                let found_ns = i64::try_from(found.at.timestamp().as_nanosecond()).ok()?;
                if found_ns > after_ns {
                    return Some(found_ns);
                }
            }
            from = from.checked_add_seconds(GAP_STEP_SECONDS)?;
        }
        None
    }
}

impl fmt::Debug for CronRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronRule({} in {})", self.text, self.zone_name())
    }
}

impl PartialEq for CronRule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

/// A zoned time that refuses to be searched beyond a year: croner itself would go on to the year 5000.
#[derive(Clone)]
struct Within {
    at: Zoned,
    year_max: i32,
}

impl Within {
    fn at(&self, at: Zoned) -> Self {
        Self { at, year_max: self.year_max }
    }
}

impl CronDateTime for Within {
    fn to_civil(&self) -> CivilDateTime {
        self.at.to_civil()
    }

    fn civil_weekday(&self) -> Weekday {
        self.at.civil_weekday()
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        if civil.year() > self.year_max {
            return Err(CronError::TimeSearchLimitExceeded);
        }
        Ok(match self.at.resolve_civil(civil)? {
            Resolution::Single(at) => Resolution::Single(self.at(at)),
            Resolution::Ambiguous(earlier, later) => Resolution::Ambiguous(self.at(earlier), self.at(later)),
            Resolution::Gap => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.at.checked_add_seconds(seconds).map(|at| self.at(at))
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.at.cmp_instant(&other.at)
    }
}

/// A schedule that is being kept. Whoever drives it asks [`Timer::is_due`] whenever it wakes, and says
/// [`Timer::ran`] when the run has ended; runs that overlap are for the driver to prevent.
///
/// The clock may be set while it runs. Forward, it is as if the machine had slept. Back, an interval
/// goes on by the time that really passed, and a cron text by the new clock, but a run that has just
/// been is not repeated: the next one comes within one period of the new clock, and a rest of an hour
/// at most. Such a step is noticed when `is_due` is asked, so no wait should be longer than a few minutes:
/// `WALL_LOOK_NS` in `root.rs` bounds it.
#[derive(Debug)]
pub(crate) struct Timer {
    schedule: Schedule,
    /// With the number of the run it gives the jitter.
    seed: u64,
    runs: u64,
    /// When the schedule says the next run is; `next_ns` is that and the jitter.
    tick_ns: Option<i64>,
    next_ns: Option<i64>,
    /// The last time that was heard of, to notice a clock that goes back.
    seen_ns: i64,
    /// For how long after the last run a clock that is set back must not lead to another.
    rest_ns: i64,
}

impl Timer {
    /// Starts the timer. A run that was due since `last_run_ns` and did not happen is due now, once;
    /// without a last run the first tick after now counts.
    pub(crate) fn new(schedule: Schedule, seed: u64, last_run_ns: Option<i64>, now_ns: i64) -> Self {
        let upcoming = schedule.next_after(now_ns);
        let tick_ns = match last_run_ns {
            None => upcoming,
            Some(last) if last <= now_ns => schedule.next_after(last),
            // The clock was set back since that run. By little: the run may just have been. By more
            // than a period: the date says nothing, and waiting for it could take years.
            Some(last) => match upcoming.and_then(|tick| schedule.next_after(tick)) {
                Some(second) if last >= second => Some(now_ns),
                _ => upcoming,
            },
        };
        let mut timer =
            Self { schedule, seed, runs: 0, tick_ns: None, next_ns: None, seen_ns: now_ns, rest_ns: 0 };
        timer.arm(tick_ns);
        timer
    }

    /// Returns when the next run is due, jitter included.
    pub(crate) fn next_ns(&self) -> Option<i64> {
        self.next_ns
    }

    /// Returns whether a run is due, until [`Timer::ran`] says that it was. Notices a clock that was
    /// set back, and sets the next run anew.
    pub(crate) fn is_due(&mut self, now_ns: i64) -> bool {
        self.see(now_ns);
        self.next_ns.is_some_and(|next| next <= now_ns)
    }

    /// Sets the next run: the first tick after now. What was missed meanwhile is not made up for.
    pub(crate) fn ran(&mut self, now_ns: i64) {
        let due_tick = if self.is_due(now_ns) { self.tick_ns } else { None };
        self.runs = self.runs.wrapping_add(1);
        if due_tick.is_some() {
            self.rest_ns = self.rest_after(now_ns);
        }
        let from_ns = match (&self.schedule.when, due_tick) {
            // On the grid, so that neither the jitter nor a slow run shifts all that follow.
            (When::Every(ms), Some(tick)) if now_ns.saturating_sub(tick) < ns_of_ms(*ms) / 2 => tick,
            // The clock was set back between the tick and now: the same tick is not run again.
            (When::Cron(_), Some(tick)) if tick > now_ns => now_ns.saturating_add(self.rest_ns),
            _ => now_ns,
        };
        self.arm(self.schedule.next_after(from_ns));
    }

    fn arm(&mut self, tick_ns: Option<i64>) {
        self.tick_ns = tick_ns;
        self.next_ns = tick_ns
            .map(|tick| if tick > self.seen_ns { tick.saturating_add(self.late_ns()) } else { self.seen_ns });
    }

    fn see(&mut self, now_ns: i64) {
        let back_ns = self.seen_ns.saturating_sub(now_ns);
        let was_due = self.next_ns.is_some_and(|next| next <= self.seen_ns);
        self.seen_ns = now_ns;
        if back_ns <= 0 {
            self.rest_ns = self.rest_ns.saturating_add(back_ns).max(0);
            return;
        }
        match self.schedule.when {
            When::Every(_) => {
                self.tick_ns = self.tick_ns.map(|tick| tick.saturating_sub(back_ns));
                self.next_ns = self.next_ns.map(|next| next.saturating_sub(back_ns));
            }
            // The tick has passed by the new clock too; what is left is jitter.
            When::Cron(_) if self.tick_ns.is_some_and(|tick| tick <= now_ns) => {}
            When::Cron(_) if was_due => self.next_ns = Some(now_ns),
            When::Cron(_) => self.arm(self.schedule.next_after(now_ns.saturating_add(self.rest_ns))),
        }
    }

    /// Half a period, as far as a cron text has one.
    fn rest_after(&self, now_ns: i64) -> i64 {
        let When::Cron(rule) = &self.schedule.when else { return 0 };
        let first = rule.next_after(now_ns);
        let period = first.and_then(|first| Some(rule.next_after(first)?.saturating_sub(first)));
        period.map_or(0, |period| (period / 2).min(REST_NS_MAX))
    }

    /// The jitter of the coming run: evenly spread, and the same whenever it is asked for.
    fn late_ns(&self) -> i64 {
        let draw = hash::checksum(self.seed, &self.runs.to_le_bytes());
        let values = u128::from(self.schedule.jitter_ms) + 1;
        ns_of_ms(((u128::from(draw) * values) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const SECOND: i64 = 1_000_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;

    fn ns(text: &str) -> i64 {
        let time: Timestamp = text.parse().expect("a time of the test");
        i64::try_from(time.as_nanosecond()).expect("a time before 2262")
    }

    fn shown(time_ns: Option<i64>) -> String {
        let time = time_ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
        time.map_or_else(|| "never".to_owned(), |time| time.to_string())
    }

    /// Some machines have no zone files; what needs none is tested there all the same.
    fn has_zones() -> bool {
        ZONE_DIRS.iter().any(|dir| std::path::Path::new(dir).join("Europe/Vienna").exists())
    }

    #[test]
    fn a_cron_text_fires_strictly_after_the_given_time() -> Result<()> {
        for (text, after, next) in [
            ("0 3 * * *", "2024-02-28T03:00:00Z", "2024-02-29T03:00:00Z"),
            ("0 3 * * *", "2024-02-28T02:59:59.999Z", "2024-02-28T03:00:00Z"),
            ("0 3 * * *", "2024-02-28T03:00:00.001Z", "2024-02-29T03:00:00Z"),
            ("0 3 * * *", "1969-12-31T12:00:00Z", "1970-01-01T03:00:00Z"),
            ("*/15 * * * *", "2024-12-31T23:50:00Z", "2025-01-01T00:00:00Z"),
            ("5,35 8-9 * * *", "2025-01-01T08:35:00Z", "2025-01-01T09:05:00Z"),
            ("0 0 * * MON", "2025-06-01T12:00:00Z", "2025-06-02T00:00:00Z"),
            ("0 0 * * 7", "2025-06-02T00:00:00Z", "2025-06-08T00:00:00Z"),
            ("0 0 L * *", "2025-02-01T00:00:00Z", "2025-02-28T00:00:00Z"),
            ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
            ("0 0 1 jan *", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("0 0 1 1 *", "2262-02-01T00:00:00Z", "never"),
        ] {
            assert_eq!(shown(Schedule::cron(text)?.next_after(ns(after))), next, "{text} after {after}");
        }
        Ok(())
    }

    #[test]
    fn a_zone_has_gaps_and_repeated_hours() -> Result<()> {
        if !has_zones() {
            return Ok(());
        }
        for (zone, text, after, next) in [
            // The clock goes from 02:00 to 03:00 at 01:00 UTC: a fixed time is made up for behind the gap.
            ("Europe/Vienna", "30 2 * * *", "2025-03-29T12:00:00Z", "2025-03-30T01:00:00Z"),
            ("Europe/Vienna", "30 2 * * *", "2025-03-30T01:00:00Z", "2025-03-31T00:30:00Z"),
            ("Europe/Vienna", "30 * * * *", "2025-03-30T00:30:00Z", "2025-03-30T01:30:00Z"),
            // From 03:00 to 02:00 at 01:00 UTC: a fixed time comes once, an hourly one every hour.
            ("Europe/Vienna", "30 2 * * *", "2025-10-25T12:00:00Z", "2025-10-26T00:30:00Z"),
            ("Europe/Vienna", "30 2 * * *", "2025-10-26T00:30:00Z", "2025-10-27T01:30:00Z"),
            ("Europe/Vienna", "30 * * * *", "2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"),
            ("America/New_York", "0 9 * * *", "2025-01-15T00:00:00Z", "2025-01-15T14:00:00Z"),
            ("america/new_york", "0 9 * * *", "2025-07-15T00:00:00Z", "2025-07-15T13:00:00Z"),
            ("Asia/Kolkata", "0 0 * * *", "2025-01-01T00:00:00Z", "2025-01-01T18:30:00Z"),
            // A gap of half an hour, and one of a whole day.
            ("Australia/Lord_Howe", "15 2 * * *", "2025-10-04T00:00:00Z", "2025-10-04T15:30:00Z"),
            ("Pacific/Apia", "0 12 * * *", "2011-12-29T23:00:00Z", "2011-12-30T22:00:00Z"),
        ] {
            let schedule = Schedule::cron_in(text, zone)?;
            assert_eq!(shown(schedule.next_after(ns(after))), next, "{text} in {zone} after {after}");
        }
        Ok(())
    }

    #[test]
    fn a_cron_text_that_cannot_be_meant_is_refused() {
        for text in [
            "",
            " ",
            "* * * *",
            "* * * * * *",
            "0 0 3 * * * *",
            "61 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "-1 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "99999999999 * * * *",
            "1,,2 * * * *",
            ", * * * *",
            "0 0 1, * *",
            "@daily",
            "@daily * * * *",
            "a b c d e",
            "* * * * \u{1b}[31m",
            "* * * * \u{202e}",
            // Read, but in no calendar.
            "0 0 30 2 *",
            "0 0 31 2,4,6,9,11 *",
        ] {
            let error = Schedule::cron(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}");
            assert!(error.hint().is_some(), "{text:?}");
            assert!(!error.message().contains(['\u{1b}', '\u{202e}', '\n']), "{text:?}");
        }
    }

    #[test]
    fn a_zone_that_is_not_known_is_refused() {
        let foreign = [
            "",
            " ",
            "Mars/Olympus",
            "Europe",
            "../../etc/passwd",
            "/etc/localtime",
            "Etc/Unknown",
            "a\u{1b}",
        ];
        for zone in foreign {
            let error = Schedule::cron_in("0 3 * * *", zone).expect_err(zone);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{zone:?}");
            assert!(error.hint().is_some() && !error.message().contains('\u{1b}'), "{zone:?}");
        }
    }

    #[test]
    fn what_is_parsed_is_printed_and_parsed_again() -> Result<()> {
        let mut forms = vec![
            ("15m", "every 15m"),
            ("every 24h", "every 24h"),
            ("every  24h", "every 24h"),
            ("90s", "every 90s"),
            ("7d", "every 7d"),
            ("1d", "every 24h"),
            ("48h", "every 2d"),
            (" 120m ", "every 2h"),
            ("1500ms", "every 1500ms"),
            ("1s", "every 1s"),
            ("3660d", "every 3660d"),
            ("0 3 * * *", "cron 0 3 * * * (UTC)"),
            ("cron 0  3 * *\t*", "cron 0 3 * * * (UTC)"),
            ("0 3 * * MON-FRI utc", "cron 0 3 * * MON-FRI (UTC)"),
            ("cron 0 3 * * * (UTC)", "cron 0 3 * * * (UTC)"),
        ];
        if has_zones() {
            forms.push(("cron 0 3 * * * Europe/Vienna", "cron 0 3 * * * (Europe/Vienna)"));
            forms.push(("0 3 * * * europe/vienna", "cron 0 3 * * * (Europe/Vienna)"));
        }
        for (text, printed) in forms {
            let schedule = Schedule::parse(text)?;
            assert_eq!(schedule.to_string(), printed, "{text}");
            assert_eq!(Schedule::parse(printed)?, schedule, "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_not_a_schedule_is_refused() {
        for text in [
            "",
            "  ",
            "15",
            "m",
            "15x",
            "15 m",
            "-5m",
            "1.5h",
            "１５m",
            "0s",
            "999ms",
            "3661d",
            "99999999999999999999d",
            "every",
            "every day",
            "every 15m 3",
            "every 0 3 * * *",
            "cron",
            "cron ",
            "cron 15m",
            "soon",
            "0 3 * *",
            "0 0 3 * * *",
            "0 3 * * * Nowhere/At_All",
            "0 3 * * * ()",
            "\u{1b}[2J",
        ] {
            let error = Schedule::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}");
            assert!(error.hint().is_some() && !error.message().contains('\u{1b}'), "{text:?}: {error}");
        }
    }

    #[test]
    fn schedules_are_equal_when_they_say_the_same() -> Result<()> {
        assert_eq!(Schedule::cron("0  3 * * *")?, Schedule::cron_in("0 3 * * *", "utc")?);
        assert_ne!(Schedule::cron("0 3 * * *")?, Schedule::cron("0 4 * * *")?);
        assert_ne!(Schedule::cron("0 3 * * *")?, Schedule::every_ms(DAY_MS)?);
        assert_ne!(Schedule::every_ms(DAY_MS)?, Schedule::every_ms(DAY_MS)?.jitter_ms(1));
        if has_zones() {
            assert_ne!(Schedule::cron("0 3 * * *")?, Schedule::cron_in("0 3 * * *", "Europe/Vienna")?);
        }
        Ok(())
    }

    fn hourly(last_run_ns: Option<i64>, now_ns: i64) -> Result<Timer> {
        Ok(Timer::new(Schedule::every_ms(HOUR_MS)?, 7, last_run_ns, now_ns))
    }

    fn at_three(last_run_ns: Option<i64>, now_ns: i64) -> Result<Timer> {
        Ok(Timer::new(Schedule::cron("0 3 * * *")?, 7, last_run_ns, now_ns))
    }

    #[test]
    fn a_run_that_was_missed_is_due_once() -> Result<()> {
        let now = ns("2025-06-01T12:00:00Z");
        // The last run, then in minutes from now the next one and the one after it.
        for (last, next, second) in [
            (None, 60, 120),
            (Some(-30 * MINUTE), 30, 90),
            (Some(0), 60, 120),
            (Some(-HOUR), 0, 60),
            (Some(-70 * MINUTE), 0, 50),
            (Some(-100 * MINUTE), 0, 60),
            (Some(-YEAR), 0, 60),
            // Runs that the clock has not come to yet: it was set back.
            (Some(MINUTE), 60, 120),
            (Some(119 * MINUTE), 60, 120),
            (Some(2 * HOUR), 0, 60),
            (Some(YEAR), 0, 60),
        ] {
            let mut timer = hourly(last.map(|last| now + last), now)?;
            assert_eq!(timer.next_ns(), Some(now + next * MINUTE), "{last:?}");
            assert_eq!(timer.is_due(now), next == 0, "{last:?}");
            timer.ran(now + next * MINUTE);
            assert_eq!(timer.next_ns(), Some(now + second * MINUTE), "{last:?}");
            assert!(!timer.is_due(now + next * MINUTE), "{last:?}");
        }
        for (last, next) in [
            ("2025-06-01T03:00:05Z", "2025-06-02T03:00:00Z"),
            ("2025-05-31T03:00:05Z", "2025-06-01T12:00:00Z"),
            ("2020-01-01T00:00:00Z", "2025-06-01T12:00:00Z"),
            ("2025-06-01T12:30:00Z", "2025-06-02T03:00:00Z"),
            ("2025-06-05T12:30:00Z", "2025-06-01T12:00:00Z"),
        ] {
            let mut timer = at_three(Some(ns(last)), now)?;
            assert_eq!(shown(timer.next_ns()), next, "{last}");
            if timer.is_due(now) {
                timer.ran(now + MINUTE);
                assert_eq!(shown(timer.next_ns()), "2025-06-02T03:00:00Z", "{last}");
            }
        }
        Ok(())
    }

    #[test]
    fn missed_ticks_become_one_run() -> Result<()> {
        let start = ns("2025-06-01T12:00:00Z");
        let mut timer = hourly(None, start)?;
        assert!(!timer.is_due(start + HOUR - 1));
        assert!(timer.is_due(start + HOUR));
        // A run that begins a little late shifts nothing.
        timer.ran(start + HOUR + 5 * SECOND);
        assert_eq!(timer.next_ns(), Some(start + 2 * HOUR));
        // A night asleep.
        let morning = start + 10 * HOUR + 40 * MINUTE;
        assert!(timer.is_due(morning));
        timer.ran(morning);
        assert!(!timer.is_due(morning));
        assert_eq!(timer.next_ns(), Some(morning + HOUR));

        let mut timer = at_three(None, start)?;
        assert!(timer.is_due(start + 7 * DAY));
        timer.ran(start + 7 * DAY + HOUR);
        assert_eq!(shown(timer.next_ns()), "2025-06-09T03:00:00Z");
        // A run by other means, before this one was due.
        timer.ran(ns("2025-06-08T20:00:00Z"));
        assert_eq!(shown(timer.next_ns()), "2025-06-09T03:00:00Z");
        Ok(())
    }

    #[test]
    fn an_interval_outlives_a_clock_that_is_set_back() -> Result<()> {
        let start = ns("2025-06-01T12:00:00Z");
        for back in [1, SECOND, 30 * MINUTE, HOUR, DAY, 40 * YEAR] {
            let mut timer = hourly(None, start)?;
            assert!(!timer.is_due(start + 20 * MINUTE), "{back}");
            let now = start + 20 * MINUTE - back;
            assert!(!timer.is_due(now), "{back}");
            assert_eq!(timer.next_ns(), Some(now + 40 * MINUTE), "{back}");
            timer.ran(now + 40 * MINUTE);
            assert_eq!(timer.next_ns(), Some(now + 100 * MINUTE), "{back}");

            // What is due stays due, and just after a run nothing is.
            let mut timer = hourly(None, start)?;
            assert!(timer.is_due(start + HOUR), "{back}");
            assert!(timer.is_due(start + HOUR - back), "{back}");
            timer.ran(start + HOUR - back);
            assert!(!timer.is_due(start + HOUR - 2 * back), "{back}");
            assert_eq!(timer.next_ns(), Some(start + 2 * HOUR - 2 * back), "{back}");
        }
        // A clock that is set back twice an hour: what is lost is the minute between two looks.
        let mut timer = hourly(None, start)?;
        let (mut clock, mut minutes_since) = (start, 0);
        for minute in 1..=1_000 {
            clock += MINUTE;
            minutes_since += 1;
            if minute % 30 == 0 {
                clock -= 11 * MINUTE;
            }
            if timer.is_due(clock) {
                assert!(minutes_since >= 60, "{minutes_since} min at {minute}");
                timer.ran(clock);
                minutes_since = 0;
            }
            assert!(minutes_since <= 63, "silent at {minute}");
        }
        Ok(())
    }

    #[test]
    fn a_cron_tick_is_not_run_again_when_the_clock_is_set_back() -> Result<()> {
        let three = ns("2025-06-01T03:00:00Z");
        for (ran_after, back, next) in [
            (0, SECOND, "2025-06-02T03:00:00Z"),
            (0, 10 * MINUTE, "2025-06-02T03:00:00Z"),
            (0, 59 * MINUTE, "2025-06-02T03:00:00Z"),
            // So far back that the day is another: by the new clock, but not at once.
            (0, 2 * HOUR, "2025-06-01T03:00:00Z"),
            (0, DAY, "2025-06-01T03:00:00Z"),
            (0, 365 * DAY, "2024-06-02T03:00:00Z"),
            // The hour has passed before the clock was set.
            (90 * MINUTE, 2 * HOUR, "2025-06-01T03:00:00Z"),
            (90 * MINUTE, HOUR, "2025-06-02T03:00:00Z"),
        ] {
            let mut timer = at_three(None, three - HOUR)?;
            assert!(timer.is_due(three), "{back}");
            timer.ran(three);
            assert!(!timer.is_due(three + ran_after), "{back}");
            assert!(!timer.is_due(three + ran_after - back), "{back}");
            assert_eq!(shown(timer.next_ns()), next, "{ran_after} {back}");
        }
        // Often, and set back far: never silent for longer than a period and a half.
        for back in [SECOND, MINUTE, 7 * MINUTE, HOUR, 3 * YEAR] {
            let mut timer = Timer::new(Schedule::cron("*/5 * * * *")?, 7, None, three - 1);
            assert!(timer.is_due(three), "{back}");
            timer.ran(three);
            assert!(!timer.is_due(three - back), "{back}");
            let wait = timer.next_ns().map_or(i64::MAX, |next| next - (three - back));
            assert!((150 * SECOND..=450 * SECOND).contains(&wait), "{wait} after {back}");
        }
        Ok(())
    }

    #[test]
    fn a_cron_run_that_is_due_stays_due_when_the_clock_is_set_back() -> Result<()> {
        let three = ns("2025-06-01T03:00:00Z");
        let mut timer = at_three(None, three - HOUR)?;
        assert!(timer.is_due(three) && timer.is_due(three - 30 * MINUTE));
        timer.ran(three - 29 * MINUTE);
        assert_eq!(shown(timer.next_ns()), "2025-06-02T03:00:00Z");

        // Set back into the time between the tick and its jitter.
        let mut seeds_that_wait = 0;
        for seed in 0..20 {
            let schedule = Schedule::cron("0 3 * * *")?.jitter_ms(HOUR_MS);
            let mut timer = Timer::new(schedule, seed, None, three - HOUR);
            let Some(next) = timer.next_ns().filter(|next| *next > three + 3 * SECOND) else { continue };
            seeds_that_wait += 1;
            assert!(!timer.is_due(next - SECOND) && !timer.is_due(next - 2 * SECOND), "{seed}");
            assert_eq!(timer.next_ns(), Some(next), "{seed}");
            assert!(!timer.is_due(three - MINUTE), "{seed}");
            assert_eq!(timer.next_ns(), Some(next), "the same run has the same jitter, {seed}");
        }
        assert!(seeds_that_wait > 10);
        Ok(())
    }

    #[test]
    fn jitter_is_even_bounded_and_repeatable() -> Result<()> {
        let start = ns("2025-06-01T12:00:00Z");
        let late = |seed: u64, jitter_ms: u64| -> Result<Vec<i64>> {
            let schedule = Schedule::every_ms(HOUR_MS)?.jitter_ms(jitter_ms);
            let mut timer = Timer::new(schedule, seed, None, start);
            let mut late = Vec::new();
            for run in 1..=200 {
                let next = timer.next_ns().unwrap_or(i64::MAX);
                late.push(next - start - run * HOUR);
                timer.ran(next);
            }
            Ok(late)
        };
        for (seed, jitter_ms) in [(0, 0), (0, 1), (1, 1_000), (2, 600_000), (u64::MAX, 600_000)] {
            let found = late(seed, jitter_ms)?;
            let most = ns_of_ms(jitter_ms);
            assert!(found.iter().all(|late| (0..=most).contains(late)), "{seed} {jitter_ms}: {found:?}");
            assert!(found.iter().min() <= Some(&(most / 10)), "{seed} {jitter_ms}");
            assert!(found.iter().max() >= Some(&(most / 10 * 9)), "{seed} {jitter_ms}");
            assert_eq!(found, late(seed, jitter_ms)?, "{seed} {jitter_ms}");
        }
        assert_ne!(late(2, 600_000)?, late(3, 600_000)?);
        // One millisecond of jitter is 0 or 1, both about as often.
        let ones = late(5, 1)?.iter().filter(|late| **late == 1_000_000).count();
        assert!((60..=140).contains(&ones), "{ones} of 200");
        Ok(())
    }

    #[test]
    fn no_time_is_too_far_away() -> Result<()> {
        let schedules = [
            Schedule::every_ms(SECOND_MS)?,
            Schedule::every_ms(EVERY_MS_MAX)?.jitter_ms(u64::MAX),
            Schedule::cron("* * * * *")?.jitter_ms(u64::MAX),
            Schedule::cron("0 0 29 2 *")?,
        ];
        let times = [i64::MIN, -1, 0, ns("2025-06-01T12:00:00Z"), i64::MAX - 1, i64::MAX];
        for schedule in schedules {
            for first in times {
                for second in times {
                    let mut timer = Timer::new(schedule.clone(), 3, Some(second), first);
                    timer.is_due(second);
                    timer.ran(second);
                    timer.is_due(first);
                    timer.ran(first);
                    assert!(timer.next_ns().is_none_or(|next| next > first), "{schedule} {first} {second}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn an_interval_has_bounds() {
        for (ms, is_ok) in
            [(0, false), (999, false), (1_000, true), (EVERY_MS_MAX, true), (EVERY_MS_MAX + 1, false)]
        {
            assert_eq!(Schedule::every_ms(ms).is_ok(), is_ok, "{ms}");
        }
        let minute = Schedule::every_ms(60_000).expect("a minute");
        for (after, next) in [(0, Some(MINUTE)), (-MINUTE, Some(0)), (i64::MAX - 1, None)] {
            assert_eq!(minute.next_after(after), next, "{after}");
        }
    }
}
