//! When a root is looked at: the keys of a table over those of another, then judged and turned into
//! what the engine takes.

use std::ops::RangeInclusive;

use toml::Spanned;
use treewarden::{RootWatch, Schedule};

use super::source::{Refusal, Text};
use super::table::{Mode, Preset, Whole};
use crate::limits;
use crate::text::count;

/// What a file may say about the times of a root.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    pub(super) preset: Option<Preset>,
    pub(super) mode: Option<Mode>,
    pub(super) debounce_ms: Option<Spanned<Whole>>,
    pub(super) max_wait_ms: Option<Spanned<Whole>>,
    pub(super) poll_s: Option<Spanned<Whole>>,
    pub(super) quick: Option<Spanned<String>>,
    pub(super) full: Option<Spanned<String>>,
    pub(super) reconcile: Option<Spanned<String>>,
    pub(super) jitter_s: Option<Spanned<Whole>>,
    pub(super) time_zone: Option<Spanned<String>>,
}

impl Keys {
    /// These keys, and for those that are not there the ones of `defaults`. A preset is a whole: a
    /// table that names one takes no times from `defaults`, only how cron texts are read.
    pub(super) fn over(self, defaults: &Keys) -> Keys {
        let time_zone = self.time_zone.or_else(|| defaults.time_zone.clone());
        let jitter_s = self.jitter_s.or_else(|| defaults.jitter_s.clone());
        if self.preset.is_some() {
            return Keys { time_zone, jitter_s, ..self };
        }
        Keys {
            preset: defaults.preset,
            mode: self.mode.or(defaults.mode),
            debounce_ms: self.debounce_ms.or_else(|| defaults.debounce_ms.clone()),
            max_wait_ms: self.max_wait_ms.or_else(|| defaults.max_wait_ms.clone()),
            poll_s: self.poll_s.or_else(|| defaults.poll_s.clone()),
            quick: self.quick.or_else(|| defaults.quick.clone()),
            full: self.full.or_else(|| defaults.full.clone()),
            reconcile: self.reconcile.or_else(|| defaults.reconcile.clone()),
            jitter_s,
            time_zone,
        }
    }
}

/// What the keys mean to the engine.
pub(super) fn resolve(keys: &Keys, text: Text<'_>) -> Result<RootWatch, Refusal> {
    let mut watch = match keys.preset {
        None => RootWatch::new(),
        Some(Preset::Small) => RootWatch::small(),
        Some(Preset::Large) => RootWatch::large(),
        Some(Preset::Busy) => RootWatch::busy(),
    };
    if let Some(mode) = keys.mode {
        watch = watch.mode(mode.into());
    }
    watch = quiet_times(watch, keys, text)?;
    if let Some(poll) = &keys.poll_s {
        watch = watch.poll_ms(whole("poll_s", poll, &limits::POLL_S, "seconds", text)? * 1_000);
    }
    schedules(watch, keys, text)
}

fn quiet_times(watch: RootWatch, keys: &Keys, text: Text<'_>) -> Result<RootWatch, Refusal> {
    let number = |key, value: &Option<Spanned<Whole>>, range| {
        value.as_ref().map(|value| whole(key, value, range, "milliseconds", text)).transpose()
    };
    let debounce_ms = number("debounce_ms", &keys.debounce_ms, &limits::DEBOUNCE_MS)?;
    let max_wait_ms = number("max_wait_ms", &keys.max_wait_ms, &limits::MAX_WAIT_MS)?;
    if let (Some(debounce), Some(max_wait), Some(key)) = (debounce_ms, max_wait_ms, &keys.max_wait_ms)
        && max_wait < debounce
    {
        let (max_wait, debounce) = (count(max_wait), count(debounce));
        return Err(text.refuse(
            key,
            format!("`max_wait_ms` is {max_wait}, less than `debounce_ms`, which is {debounce}"),
        ));
    }
    Ok(with_quiet_times(watch, debounce_ms, max_wait_ms))
}

/// Sets what is said of the two; the other one stays as it is, or follows where that would not fit.
pub(crate) fn with_quiet_times(
    mut watch: RootWatch,
    debounce_ms: Option<u64>,
    max_wait_ms: Option<u64>,
) -> RootWatch {
    let (usual_debounce_ms, usual_max_wait_ms) = watch.quiet_times_ms();
    let too_short = max_wait_ms.filter(|ms| *ms < usual_debounce_ms);
    let too_long = debounce_ms.filter(|ms| *ms > usual_max_wait_ms);
    if let Some(ms) = debounce_ms.or(too_short) {
        watch = watch.debounce_ms(ms);
    }
    if let Some(ms) = max_wait_ms.or(too_long) {
        watch = watch.max_wait_ms(ms);
    }
    watch
}

fn schedules(mut watch: RootWatch, keys: &Keys, text: Text<'_>) -> Result<RootWatch, Refusal> {
    let zone = keys.time_zone.as_ref();
    if let Some(zone) = zone {
        // Any cron text shows whether the zone is known.
        Schedule::cron_in("0 0 * * *", zone.get_ref())
            .map_err(|error| text.refuse_because(zone, "time_zone", &error))?;
    }
    let jitter_ms = match &keys.jitter_s {
        Some(jitter) => whole("jitter_s", jitter, &limits::JITTER_S, "seconds", text)? * 1_000,
        None => 0,
    };
    let read = |key, value: &Option<Spanned<String>>| match value {
        None => Ok(Said::Nothing),
        Some(value) => schedule(value.get_ref(), zone.map(|zone| zone.get_ref().as_str()))
            .map(|schedule| {
                schedule.map_or(Said::Never, |schedule| Said::When(schedule.jitter_ms(jitter_ms)))
            })
            .map_err(|error| text.refuse_because(value, key, &error)),
    };
    // Without a schedule of their own, quick and full scans are never due: `never` takes back what
    // the defaults say.
    if let Said::When(schedule) = read("quick", &keys.quick)? {
        watch = watch.quick(schedule);
    }
    if let Said::When(schedule) = read("full", &keys.full)? {
        watch = watch.full(schedule);
    }
    Ok(match read("reconcile", &keys.reconcile)? {
        Said::Nothing => watch,
        Said::Never => watch.no_reconcile(),
        Said::When(schedule) => watch.reconcile(schedule),
    })
}

enum Said {
    Nothing,
    Never,
    When(Schedule),
}

/// Reads a schedule; `None` for `never`. A cron text that names no zone is read in `zone`.
fn schedule(text: &str, zone: Option<&str>) -> treewarden::Result<Option<Schedule>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words == ["never"] {
        return Ok(None);
    }
    let fields = words.strip_prefix(&["cron"]).unwrap_or(&words);
    match zone {
        Some(zone) if fields.len() == 5 => Schedule::cron_in(&fields.join(" "), zone),
        _ => Schedule::parse(text),
    }
    .map(Some)
}

/// The number under `key`, which must lie in `range`, none of which is negative.
pub(super) fn whole(
    key: &str,
    value: &Spanned<Whole>,
    range: &RangeInclusive<i64>,
    unit: &str,
    text: Text<'_>,
) -> Result<u64, Refusal> {
    let Whole(number) = *value.get_ref();
    match u64::try_from(number) {
        Ok(fit) if range.contains(&number) => Ok(fit),
        _ => {
            let (first, last) = (count(range.start().unsigned_abs()), count(range.end().unsigned_abs()));
            Err(text.refuse(value, format!("`{key}` is {first} to {last} {unit}, not {number}")))
        }
    }
}
