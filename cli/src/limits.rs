//! Times and numbers that make sense, for flags and for the configuration file alike: those of the
//! engine in the units of the program, and a few that are the program's own. What lies outside is a
//! slip of the keyboard.

use std::ops::RangeInclusive;

use treewarden::{RootWatch, WatchOptions};

/// How long a directory must be quiet before it is looked at, in milliseconds.
pub(crate) const DEBOUNCE_MS: RangeInclusive<i64> = 0..=RootWatch::DEBOUNCE_MS_MAX.cast_signed();

/// After how long it is looked at although it is never quiet, in milliseconds.
pub(crate) const MAX_WAIT_MS: RangeInclusive<i64> = 0..=RootWatch::MAX_WAIT_MS_MAX.cast_signed();

/// Time between two looks where the system does not tell, in whole seconds.
pub(crate) const POLL_S: RangeInclusive<i64> = {
    let ms = RootWatch::POLL_MS;
    ms.start().div_ceil(1_000).cast_signed()..=(*ms.end() / 1_000).cast_signed()
};

/// Threads of a scan; 0 means one per processor.
pub(crate) const SCAN_THREADS: RangeInclusive<i64> = 0..=WatchOptions::SCAN_THREADS_MAX as i64;

/// Niceness of these threads: the ones that only a privileged user may ask for are left out.
pub(crate) const NICE: RangeInclusive<i64> = 0..=WatchOptions::NICE_MAX as i64;

/// How late a scheduled scan may be by chance, in seconds. The engine takes more.
pub(crate) const JITTER_S: RangeInclusive<i64> = 0..=86_400;

/// Directories watched at most. The engine takes more; no system has so many watches.
pub(crate) const WATCHES: RangeInclusive<i64> = 1..=1_000_000_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long a file must be still before it is handed out, in milliseconds.
pub(crate) const SETTLE_MS: RangeInclusive<u64> = 0..=DAY_MS;

/// How long a job is held without being renewed, in milliseconds.
pub(crate) const LEASE_MS: RangeInclusive<u64> = 1_000..=7 * DAY_MS;

/// First and longest wait after a failure, in milliseconds.
pub(crate) const RETRY_MS: RangeInclusive<u64> = 0..=3_660 * DAY_MS;

/// Failures in a row after which an item is dead.
pub(crate) const ATTEMPTS: RangeInclusive<i64> = 1..=1_000;

/// Time from a completion until it is to be done anew, in whole seconds.
pub(crate) const REFRESH_S: RangeInclusive<u64> = 1..=3_660 * DAY_MS / 1_000;

/// Components of a path that make a group.
pub(crate) const GROUP_DEPTH: RangeInclusive<u32> = 0..=1_000;

/// Commands that `work run` runs at once.
pub(crate) const WORK_THREADS: RangeInclusive<i64> = 1..=1_024;
