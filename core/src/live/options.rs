//! How roots are watched.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::error::{Error, Result};

use super::schedule::Schedule;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchBackend {
    /// inotify on Linux, the `notify` crate elsewhere.
    #[default]
    Auto,
    /// inotify, through the descriptors of a scan. Linux only.
    Inotify,
    /// The `notify` crate. On Linux it works by path and takes a time that grows with the square of
    /// the number of directories when many of them are deleted.
    Notify,
}

/// Whether a root is watched or polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// Watched; polled on network file systems, which report only what this machine does. On Linux that
    /// goes for network file systems that are mounted below a local root, too.
    #[default]
    Auto,
    /// Watched, whatever the file system, and whatever is mounted below.
    Native,
    /// Looked at every [`RootWatch::poll_ms`].
    Poll,
}

/// How one root is watched.
///
/// ```
/// use treewarden::{RootWatch, Schedule};
///
/// let photos = RootWatch::large().full(Schedule::parse("0 3 * * 0")?);
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RootWatch {
    pub(crate) mode: WatchMode,
    pub(crate) debounce_ms: u64,
    /// `None`: two seconds, or the debounce where that is longer.
    pub(crate) max_wait_ms: Option<u64>,
    pub(crate) poll_ms: u64,
    pub(crate) quick: Option<Schedule>,
    pub(crate) full: Option<Schedule>,
    /// `None` inside means never; outside, the default.
    pub(crate) reconcile: Option<Option<Schedule>>,
}

impl Default for RootWatch {
    fn default() -> Self {
        Self {
            mode: WatchMode::Auto,
            debounce_ms: 300,
            max_wait_ms: None,
            poll_ms: 10_000,
            quick: None,
            full: None,
            reconcile: None,
        }
    }
}

impl RootWatch {
    /// The longest [`RootWatch::debounce_ms`]: an hour.
    pub const DEBOUNCE_MS_MAX: u64 = HOUR_MS;

    /// The longest [`RootWatch::max_wait_ms`]: a day.
    pub const MAX_WAIT_MS_MAX: u64 = DAY_MS;

    /// The least and the most of [`RootWatch::poll_ms`]: a tenth of a second to a day.
    pub const POLL_MS: RangeInclusive<u64> = 100..=DAY_MS;

    /// Debounce 300 ms, at most 2 s; polls every 10 s where it must; reconciles every 24 h.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For a tree of some thousand files that people wait for: debounce 50 ms, at most 500 ms; polls
    /// every 2 s.
    #[must_use]
    pub fn small() -> Self {
        Self { debounce_ms: 50, max_wait_ms: Some(500), poll_ms: 2_000, ..Self::default() }
    }

    /// For a library of hundreds of thousands of files: debounce 1 s, at most 10 s; polls every
    /// minute.
    #[must_use]
    pub fn large() -> Self {
        Self { debounce_ms: 1_000, max_wait_ms: Some(10_000), poll_ms: 60_000, ..Self::default() }
    }

    /// For a tree in which something is always written: debounce 2 s, at most 15 s, so that many
    /// changes of a file become one; polls every 30 s.
    #[must_use]
    pub fn busy() -> Self {
        Self { debounce_ms: 2_000, max_wait_ms: Some(15_000), poll_ms: 30_000, ..Self::default() }
    }

    /// Sets whether the root is watched or polled.
    #[must_use]
    pub fn mode(mut self, mode: WatchMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how long a directory must be quiet before it is looked at, in milliseconds (default 300, at
    /// most [`RootWatch::DEBOUNCE_MS_MAX`]).
    #[must_use]
    pub fn debounce_ms(mut self, ms: u64) -> Self {
        self.debounce_ms = ms;
        self
    }

    /// Sets after how long a directory is looked at although it is not quiet, in milliseconds (default
    /// 2,000, or the debounce where that is longer; at least the debounce, at most
    /// [`RootWatch::MAX_WAIT_MS_MAX`]).
    #[must_use]
    pub fn max_wait_ms(mut self, ms: u64) -> Self {
        self.max_wait_ms = Some(ms);
        self
    }

    /// Sets how often a polled root, and directories without a watch, are looked at, in milliseconds
    /// (default 10,000; within [`RootWatch::POLL_MS`]). A scan that takes long is polled less often, so
    /// that polling takes a twentieth of the time at most; directories that change often are looked at
    /// more often.
    #[must_use]
    pub fn poll_ms(mut self, ms: u64) -> Self {
        self.poll_ms = ms;
        self
    }

    /// Scans quickly by schedule. An interval counts from the last whole scan since watching began.
    #[must_use]
    pub fn quick(mut self, schedule: Schedule) -> Self {
        self.quick = Some(schedule);
        self
    }

    /// Scans fully by schedule. It counts from the last such scan, over restarts too; before there was
    /// one, from the first whole scan of the root, where that was made under a schedule like this, else
    /// from the start of watching.
    #[must_use]
    pub fn full(mut self, schedule: Schedule) -> Self {
        self.full = Some(schedule);
        self
    }

    /// Sets when the root is scanned although nothing was heard of it (default: 24 h after the last
    /// whole scan, up to 15 minutes later). Scans that the program asks for do not count.
    #[must_use]
    pub fn reconcile(mut self, schedule: Schedule) -> Self {
        self.reconcile = Some(Some(schedule));
        self
    }

    /// Believes the events for ever.
    #[must_use]
    pub fn no_reconcile(mut self) -> Self {
        self.reconcile = Some(None);
        self
    }

    /// Returns debounce and longest wait as they hold, in milliseconds.
    ///
    /// ```
    /// use treewarden::RootWatch;
    ///
    /// assert_eq!(RootWatch::small().quiet_times_ms(), (50, 500));
    /// assert_eq!(RootWatch::new().debounce_ms(5_000).quiet_times_ms(), (5_000, 5_000));
    /// ```
    #[must_use]
    pub fn quiet_times_ms(&self) -> (u64, u64) {
        (self.debounce_ms, self.longest_wait_ms())
    }

    pub(crate) fn longest_wait_ms(&self) -> u64 {
        self.max_wait_ms.unwrap_or(self.debounce_ms.max(2_000))
    }

    pub(crate) fn reconciliation(&self) -> Option<Schedule> {
        match &self.reconcile {
            Some(chosen) => chosen.clone(),
            None => Schedule::every_ms(DAY_MS).ok().map(|daily| daily.jitter_ms(HOUR_MS / 4)),
        }
    }

    fn check(&self) -> Result<()> {
        let within = |what: &str, ms: u64, possible: RangeInclusive<u64>| {
            if possible.contains(&ms) {
                return Ok(());
            }
            let (least, most) = (possible.start(), possible.end());
            Err(Error::invalid(format!("{what} of {ms} ms makes no sense"))
                .with_hint(format!("{least} to {most} ms are possible")))
        };
        within("a debounce", self.debounce_ms, 0..=Self::DEBOUNCE_MS_MAX)?;
        within("a longest wait", self.longest_wait_ms(), self.debounce_ms..=Self::MAX_WAIT_MS_MAX)?;
        within("a poll interval", self.poll_ms, Self::POLL_MS)
    }
}

/// What is watched, and how. See [`crate::Warden::watch_with`].
#[derive(Debug, Clone, PartialEq)]
pub struct WatchOptions {
    pub(crate) roots: BTreeMap<String, RootWatch>,
    pub(crate) default_root: RootWatch,
    pub(crate) backend: WatchBackend,
    pub(crate) watches_max: u64,
    pub(crate) scan_threads: usize,
    pub(crate) nice: i32,
    pub(crate) yields: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            roots: BTreeMap::new(),
            default_root: RootWatch::default(),
            backend: WatchBackend::Auto,
            watches_max: u64::MAX,
            scan_threads: 0,
            nice: 0,
            yields: true,
        }
    }
}

impl WatchOptions {
    /// The most [`WatchOptions::scan_threads`]: more than these never make a scan faster.
    pub const SCAN_THREADS_MAX: usize = crate::scan::THREADS_MAX;

    /// The highest [`WatchOptions::nice`]: what takes only what is left over.
    pub const NICE_MAX: i32 = 19;

    /// All roots, present and future, as [`RootWatch::new`] says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this root. Once any is named, only named roots are watched.
    #[must_use]
    pub fn root(mut self, name: impl Into<String>, watch: RootWatch) -> Self {
        self.roots.insert(name.into(), watch);
        self
    }

    /// Sets how roots are watched when none is named.
    #[must_use]
    pub fn default_root(mut self, watch: RootWatch) -> Self {
        self.default_root = watch;
        self
    }

    /// Sets where events come from.
    #[must_use]
    pub fn backend(mut self, backend: WatchBackend) -> Self {
        self.backend = backend;
        self
    }

    /// Sets how many directories are watched at most, all roots together (default: what the system
    /// allows; at least one). The others are polled.
    #[must_use]
    pub fn watches_max(mut self, watches: u64) -> Self {
        self.watches_max = watches;
        self
    }

    /// Sets the threads of scans that the engine starts itself, at most
    /// [`WatchOptions::SCAN_THREADS_MAX`]; 0, the default, means those of [`crate::Options::threads`].
    /// Looks at single places have threads of their own, as many, but four at most.
    #[must_use]
    pub fn scan_threads(mut self, threads: usize) -> Self {
        self.scan_threads = threads;
        self
    }

    /// Sets the niceness of those threads, 0 (default) to [`WatchOptions::NICE_MAX`]. Linux only.
    #[must_use]
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    /// Sets whether scans that the engine starts itself give way while processor, memory or disk are
    /// under pressure (default true; Linux with pressure stall information). A scan that a
    /// [`crate::Warden::sync`] waits for does not, from then on.
    #[must_use]
    pub fn yields(mut self, yields: bool) -> Self {
        self.yields = yields;
        self
    }

    /// How a root is watched; `None` when it is not.
    pub(crate) fn of(&self, name: &str) -> Option<&RootWatch> {
        if self.roots.is_empty() { Some(&self.default_root) } else { self.roots.get(name) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        for watch in self.roots.values().chain([&self.default_root]) {
            watch.check()?;
        }
        let (nice_max, threads_max) = (Self::NICE_MAX, Self::SCAN_THREADS_MAX);
        if !(0..=nice_max).contains(&self.nice) {
            return Err(Error::invalid(format!("a niceness of {} is not possible", self.nice))
                .with_hint(format!("0 (as the program) to {nice_max} (whatever is left over)")));
        }
        if self.scan_threads > threads_max {
            return Err(Error::invalid(format!("{} threads for a scan are too many", self.scan_threads))
                .with_hint(format!("at most {threads_max}; 0 takes as many as there are processors")));
        }
        if self.watches_max == 0 {
            return Err(Error::invalid("watching with no watches at all is polling")
                .with_hint("choose `WatchMode::Poll`, or allow some watches"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_times_are_refused_with_a_hint() {
        let refused = |watch: RootWatch| WatchOptions::new().default_root(watch).check().is_err();
        assert!(!refused(RootWatch::new().debounce_ms(RootWatch::DEBOUNCE_MS_MAX)));
        assert!(refused(RootWatch::new().debounce_ms(RootWatch::DEBOUNCE_MS_MAX + 1)));
        assert!(!refused(RootWatch::new().max_wait_ms(RootWatch::MAX_WAIT_MS_MAX)));
        assert!(refused(RootWatch::new().max_wait_ms(RootWatch::MAX_WAIT_MS_MAX + 1)));
        assert!(refused(RootWatch::new().max_wait_ms(299)), "shorter than the debounce");
        assert!(!refused(RootWatch::new().poll_ms(*RootWatch::POLL_MS.start())));
        assert!(refused(RootWatch::new().poll_ms(*RootWatch::POLL_MS.start() - 1)));
        assert!(!refused(RootWatch::new().poll_ms(*RootWatch::POLL_MS.end())));
        assert!(refused(RootWatch::new().poll_ms(u64::MAX)));
        assert!(WatchOptions::new().nice(-1).check().is_err());
        assert!(WatchOptions::new().nice(WatchOptions::NICE_MAX).check().is_ok());
        assert!(WatchOptions::new().nice(WatchOptions::NICE_MAX + 1).check().is_err());
        let threads = WatchOptions::SCAN_THREADS_MAX;
        assert!(WatchOptions::new().scan_threads(threads).check().is_ok());
        assert!(WatchOptions::new().scan_threads(threads + 1).check().is_err());
        assert!(WatchOptions::new().watches_max(0).check().is_err());
        for preset in [RootWatch::new(), RootWatch::small(), RootWatch::large(), RootWatch::busy()] {
            assert!(!refused(preset));
        }
    }

    #[test]
    fn once_a_root_is_named_only_named_roots_are_watched() {
        assert!(WatchOptions::new().of("any").is_some());
        let named = WatchOptions::new().root("a", RootWatch::small());
        assert_eq!(named.of("a"), Some(&RootWatch::small()));
        assert_eq!(named.of("b"), None);
    }
}
