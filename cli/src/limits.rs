//! Times and numbers that make sense, for flags and for the configuration file alike. What lies
//! outside is a slip of the keyboard; the engine has the last word on the rest.

use std::ops::RangeInclusive;

/// How long a path must be quiet before it is looked at, in milliseconds.
pub(crate) const DEBOUNCE_MS: RangeInclusive<i64> = 0..=60_000;

/// After how long it is looked at although it is never quiet, in milliseconds.
pub(crate) const MAX_WAIT_MS: RangeInclusive<i64> = 0..=3_600_000;

/// Time between two looks where the system does not tell, in seconds.
pub(crate) const POLL_S: RangeInclusive<i64> = 1..=86_400;

/// How late a scheduled scan may be by chance, in seconds.
pub(crate) const JITTER_S: RangeInclusive<i64> = 0..=86_400;

/// Directories watched at most.
pub(crate) const WATCHES: RangeInclusive<i64> = 1..=1_000_000_000;

/// Threads of a scan; 0 means one per processor.
pub(crate) const SCAN_THREADS: RangeInclusive<i64> = 0..=1_024;

/// Niceness of these threads: the ones that only a privileged user may ask for are left out.
pub(crate) const NICE: RangeInclusive<i64> = 0..=19;

/// A debounce and a longest wait that go together, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuietTimes {
    pub(crate) debounce_ms: u64,
    pub(crate) max_wait_ms: u64,
}

/// Those of the engine and of its presets, as `treewarden::RootWatch` documents them: whoever sets one
/// of the two gets the other one moved where they would not fit.
pub(crate) const QUIET_DEFAULT: QuietTimes = QuietTimes { debounce_ms: 300, max_wait_ms: 2_000 };
pub(crate) const QUIET_SMALL: QuietTimes = QuietTimes { debounce_ms: 50, max_wait_ms: 500 };
pub(crate) const QUIET_LARGE: QuietTimes = QuietTimes { debounce_ms: 1_000, max_wait_ms: 10_000 };
pub(crate) const QUIET_BUSY: QuietTimes = QuietTimes { debounce_ms: 2_000, max_wait_ms: 15_000 };
