//! What a pipeline works on and how: which files, in which groups, when again after a failure, when anew;
//! and the row of it in the state file.
//!
//! Invariant: everything here is a value. A function that groups files is stored by its name alone, so a
//! program brings it along whenever it opens the pipeline.

use std::collections::BTreeSet;

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::bytes::{Malformed, Put, Take};
use crate::error::{Error, Result};
use crate::path::{self, escape};

use super::again::{DAY_MS, Refresh, RefreshRun, Retry, ns_of_ms, within};
use super::group::Group;
use super::lifecycle::{Policy, Priority};
use super::limiter::RateLimit;
use super::record::{finished, flag, u32_num};

const GLOBS_MAX: usize = 1_000;
const GLOB_BYTES_MAX: usize = 4 * 1024;

/// What a pipeline works on, and how.
///
/// ```no_run
/// use treewarden::{Group, PipelineOptions, Refresh, Retry};
///
/// let options = PipelineOptions::new()
///     .root("tv")
///     .glob("**/*.mkv")
///     .group(Group::Depth(1))
///     .concurrency(4)
///     .retry(Retry { attempts_max: 8, ..Retry::default() })
///     .refresh(Refresh::default_tiers());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineOptions {
    /// Empty: all roots, present and future.
    pub(crate) roots: BTreeSet<String>,
    /// Empty: every file and symlink.
    pub(crate) globs: BTreeSet<String>,
    pub(crate) group: Group,
    pub(crate) version: u32,
    /// 0: no bound.
    pub(crate) concurrency: u32,
    pub(crate) settle_ms: u64,
    pub(crate) lease_ms: u64,
    pub(crate) retry: Retry,
    pub(crate) refresh: Refresh,
    pub(crate) refresh_run: Option<RefreshRun>,
    pub(crate) rate: Option<RateLimit>,
    /// 0: no bound.
    pub(crate) crashes_max: u32,
    pub(crate) paths_matter: bool,
    pub(crate) priority: Priority,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            roots: BTreeSet::new(),
            globs: BTreeSet::new(),
            group: Group::None,
            version: 1,
            concurrency: 0,
            settle_ms: 1_000,
            lease_ms: 300_000,
            retry: Retry::default(),
            refresh: Refresh::Never,
            refresh_run: None,
            rate: None,
            crashes_max: 100,
            paths_matter: false,
            priority: Priority::High,
        }
    }
}

impl PipelineOptions {
    /// Every file and symlink of all roots by itself, done once and again when it changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Works on this root. Once any is named, only named roots are worked on; the root need not exist yet.
    #[must_use]
    pub fn root(mut self, name: impl Into<String>) -> Self {
        self.roots.insert(name.into());
        self
    }

    /// Works on files and symlinks whose path, relative to the root, matches this pattern or another one
    /// that was given: `*` and `?` stay within a component, `**` crosses components, `[…]` and `{a,b}` as
    /// usual. At most 1,000 patterns of 4,096 bytes. Directories are never worked on.
    #[must_use]
    pub fn glob(mut self, pattern: impl Into<String>) -> Self {
        self.globs.insert(pattern.into());
        self
    }

    /// Sets which files are one job (default: each by itself).
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Sets the version of what is done with a file (default 1). Another one than before makes everything
    /// changed once.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Sets the class of its new files (default `High`). Other reasons stay as many classes behind as they are
    /// by default: with `Low`, changed files are `VeryLow`. It decides where one set of workers serves several
    /// pipelines: [`crate::Pipeline::claim_from`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how many jobs are handed out at once, all workers together (default 0: no bound).
    #[must_use]
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.concurrency = jobs;
        self
    }

    /// Sets for how long a new or changed file must be still before it is handed out, in milliseconds
    /// (default 1,000, at most a day).
    #[must_use]
    pub fn settle_ms(mut self, ms: u64) -> Self {
        self.settle_ms = ms;
        self
    }

    /// Sets for how long a job is held without being renewed, in milliseconds (default 300,000; a second
    /// to 7 days). Then it is handed out again.
    #[must_use]
    pub fn lease_ms(mut self, ms: u64) -> Self {
        self.lease_ms = ms;
        self
    }

    /// Sets when a failed job is tried again, and how often.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets when a completed item is to be done anew although it did not change (default: never).
    #[must_use]
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Hands stale items out in runs only (default: whenever they are due).
    #[must_use]
    pub fn refresh_run(mut self, run: RefreshRun) -> Self {
        self.refresh_run = Some(run);
        self
    }

    /// Limits how many jobs begin in any stretch of time (default: no limit).
    #[must_use]
    pub fn rate(mut self, limit: RateLimit) -> Self {
        self.rate = Some(limit);
        self
    }

    /// Lets jobs begin as they come, whichever limit was set before.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.rate = None;
        self
    }

    /// Sets after how many leases in a row whose process ended a job is dead (default 100; 0: never). It
    /// keeps a file that kills its worker from doing so for ever.
    #[must_use]
    pub fn crashes_max(mut self, crashes: u32) -> Self {
        self.crashes_max = crashes;
        self
    }

    /// Works on all roots, present and future, whichever were named before.
    #[must_use]
    pub fn every_root(mut self) -> Self {
        self.roots.clear();
        self
    }

    /// Works on every file and symlink, whichever patterns were given before.
    #[must_use]
    pub fn every_file(mut self) -> Self {
        self.globs.clear();
        self
    }

    /// Returns the named roots in order; none stands for all roots, present and future.
    pub fn get_roots(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().map(String::as_str)
    }

    /// Returns the patterns in order; none stands for every file and symlink.
    pub fn get_globs(&self) -> impl Iterator<Item = &str> {
        self.globs.iter().map(String::as_str)
    }

    /// Returns which files are one job.
    #[must_use]
    pub fn get_group(&self) -> &Group {
        &self.group
    }

    /// Returns the version of what is done with a file.
    #[must_use]
    pub fn get_version(&self) -> u32 {
        self.version
    }

    /// Returns when a failed job is tried again, and how often.
    #[must_use]
    pub fn get_retry(&self) -> Retry {
        self.retry
    }

    /// Returns the class of new files.
    #[must_use]
    pub fn get_priority(&self) -> Priority {
        self.priority
    }

    /// Returns how many jobs are handed out at once; 0: no bound.
    #[must_use]
    pub fn get_concurrency(&self) -> u32 {
        self.concurrency
    }

    /// Returns for how long a file must be still, in milliseconds.
    #[must_use]
    pub fn get_settle_ms(&self) -> u64 {
        self.settle_ms
    }

    /// Returns for how long a job is held without being renewed, in milliseconds.
    #[must_use]
    pub fn get_lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// Returns when a completed item is to be done anew.
    #[must_use]
    pub fn get_refresh(&self) -> &Refresh {
        &self.refresh
    }

    /// Returns the runs in which stale items are handed out.
    #[must_use]
    pub fn get_refresh_run(&self) -> Option<&RefreshRun> {
        self.refresh_run.as_ref()
    }

    /// Returns the limit of jobs that begin.
    #[must_use]
    pub fn get_rate(&self) -> Option<&RateLimit> {
        self.rate.as_ref()
    }

    /// Returns after how many crashes in a row a job is dead; 0: never.
    #[must_use]
    pub fn get_crashes_max(&self) -> u32 {
        self.crashes_max
    }

    /// Returns whether a file that was moved is done anew.
    #[must_use]
    pub fn get_paths_matter(&self) -> bool {
        self.paths_matter
    }

    /// Sets whether a file that was moved is to be done anew (default false: its record and attributes go
    /// along, and there is nothing to do). For what is made under a name: an index by path, an upload.
    /// [`crate::Job::done_path`] tells the old one.
    #[must_use]
    pub fn paths_matter(mut self, matter: bool) -> Self {
        self.paths_matter = matter;
        self
    }

    /// True when files of this root are worked on.
    pub(crate) fn has_root(&self, name: &str) -> bool {
        self.roots.is_empty() || self.roots.contains(name)
    }

    /// Returns what decides whether a path is worked on.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a pattern cannot be read.
    pub(crate) fn matcher(&self) -> Result<Matcher> {
        if self.globs.is_empty() {
            return Ok(Matcher(None));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in &self.globs {
            set.add(read_glob(pattern)?);
        }
        let set = set.build().map_err(|error| {
            Error::invalid(format!("the globs cannot be read together: {}", error.kind()))
        })?;
        Ok(Matcher(Some(set)))
    }

    /// Returns what decides a state.
    pub(crate) fn policy(&self) -> Policy {
        Policy { pipeline_version: self.version, settle_ns: ns_of_ms(self.settle_ms), base: self.priority }
    }

    /// Checks everything that a builder lets pass.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name or pattern that is none, and for a value out of its range.
    pub(crate) fn check(&self) -> Result<()> {
        for root in &self.roots {
            path::check_name("root", root)?;
        }
        if self.globs.len() > GLOBS_MAX {
            return Err(Error::invalid(format!("{} globs are too many", self.globs.len()))
                .with_hint("at most 1,000; `{a,b}` says several in one"));
        }
        for pattern in &self.globs {
            check_glob(pattern)?;
        }
        self.matcher()?;
        self.group.check()?;
        within("a settle time", self.settle_ms, 0, DAY_MS)?;
        within("a lease", self.lease_ms, 1_000, 7 * DAY_MS)?;
        self.retry.check()?;
        self.refresh.check()?;
        if let Some(run) = &self.refresh_run {
            run.check()?;
        }
        self.rate.as_ref().map_or(Ok(()), RateLimit::check)
    }

    /// Returns the row of a pipeline of this name.
    pub(crate) fn encode(&self, name: &str) -> Vec<u8> {
        let mut row = Vec::with_capacity(128);
        row.put_bytes(name.as_bytes());
        put_strings(&mut row, &self.roots);
        put_strings(&mut row, &self.globs);
        self.group.put(&mut row);
        row.put_num(u64::from(self.version));
        row.put_num(u64::from(self.concurrency));
        row.put_num(self.settle_ms);
        row.put_num(self.lease_ms);
        self.retry.put(&mut row);
        self.refresh.put(&mut row);
        row.push(u8::from(self.refresh_run.is_some()));
        if let Some(run) = &self.refresh_run {
            run.put(&mut row);
        }
        row.push(u8::from(self.rate.is_some()));
        if let Some(rate) = &self.rate {
            put_rate(&mut row, rate);
        }
        row.put_num(u64::from(self.crashes_max));
        row.push(u8::from(self.paths_matter));
        row.push(self.priority.code());
        row
    }

    /// Reads a row: the name of the pipeline, and its options as they were given last.
    ///
    /// # Errors
    ///
    /// `Malformed` for anything that [`PipelineOptions::encode`] does not write.
    pub(crate) fn decode(row: &[u8]) -> Result<(String, Self), Malformed> {
        let mut take = Take(row);
        let name = take.string()?;
        let options = Self {
            roots: take_strings(&mut take)?,
            globs: take_strings(&mut take)?,
            group: Group::take(&mut take)?,
            version: u32_num(&mut take)?,
            concurrency: u32_num(&mut take)?,
            settle_ms: take.num()?,
            lease_ms: take.num()?,
            retry: Retry::take(&mut take)?,
            refresh: Refresh::take(&mut take)?,
            refresh_run: if flag(&mut take)? { Some(RefreshRun::take(&mut take)?) } else { None },
            rate: if flag(&mut take)? { Some(take_rate(&mut take)?) } else { None },
            crashes_max: u32_num(&mut take)?,
            paths_matter: flag(&mut take)?,
            priority: Priority::from_code(take.u8()?).ok_or(Malformed)?,
        };
        finished(&take)?;
        Ok((name, options))
    }
}

fn put_rate(row: &mut Vec<u8>, rate: &RateLimit) {
    row.put_num(u64::from(rate.limit));
    row.put_num(rate.window_ms);
    row.push(u8::from(rate.pacing));
    row.extend_from_slice(&rate.floor.to_le_bytes());
}

fn take_rate(take: &mut Take<'_>) -> Result<RateLimit, Malformed> {
    let (limit, window_ms, pacing) = (u32_num(take)?, take.num()?, flag(take)?);
    let floor = f32::from_le_bytes(take.exact(4)?.try_into().map_err(|_| Malformed)?);
    if !floor.is_finite() {
        return Err(Malformed);
    }
    Ok(RateLimit { limit, window_ms, pacing, floor })
}

fn put_strings(row: &mut Vec<u8>, strings: &BTreeSet<String>) {
    row.put_num(strings.len() as u64);
    for string in strings {
        row.put_bytes(string.as_bytes());
    }
}

fn take_strings(take: &mut Take<'_>) -> Result<BTreeSet<String>, Malformed> {
    let mut strings = BTreeSet::new();
    for _ in 0..take.num()? {
        if !strings.insert(take.string()?) {
            return Err(Malformed);
        }
    }
    Ok(strings)
}

/// Whether a path is worked on.
#[derive(Debug, Clone)]
pub(crate) struct Matcher(Option<GlobSet>);

impl Matcher {
    /// True for a path, relative to its root, that one of the patterns matches.
    pub(crate) fn matches(&self, relative: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match_candidate(&Candidate::from_bytes(relative)))
    }
}

fn read_glob(pattern: &str) -> Result<Glob> {
    GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| {
        let shown = escape(pattern.as_bytes());
        Error::invalid(format!("glob `{shown}` cannot be read: {}", error.kind()))
    })
}

fn check_glob(pattern: &str) -> Result<()> {
    if pattern.len() > GLOB_BYTES_MAX {
        return Err(Error::invalid(format!("a glob has {} bytes; at most 4,096 make sense", pattern.len())));
    }
    if pattern.is_empty() || pattern.starts_with('/') || pattern.starts_with("./") {
        let shown = escape(pattern.as_bytes());
        return Err(Error::invalid(format!("glob `{shown}` never matches"))
            .with_hint("globs are matched against the path below the root: `2024/**/*.flac`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::again::Tier;
    use super::*;
    use crate::error::ErrorKind;
    use crate::live::Schedule;

    fn full() -> PipelineOptions {
        let schedule = Schedule::parse("0 3 * * *").expect("a schedule");
        PipelineOptions::new()
            .root("tv")
            .root("films")
            .glob("**/*.mkv")
            .glob("extra/{a,b}/*")
            .group(Group::by("shows", |address| Ok(Some(address.to_vec()))))
            .version(300)
            .concurrency(4)
            .settle_ms(0)
            .lease_ms(1_000)
            .retry(Retry { attempts_max: 9, ..Retry::default() })
            .refresh(Refresh::Tiers(vec![Tier { younger_than_ms: Some(5), after_ms: 2_000 }]))
            .refresh_run(RefreshRun { schedule, batch: 50, gap_ms: 1_500 })
            .rate(RateLimit::new(35, Duration::from_secs(10)).pacing(false).floor(0.5))
            .crashes_max(0)
            .paths_matter(true)
            .priority(Priority::Low)
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = PipelineOptions::new();
        assert!(options.check().is_ok());
        assert!(full().check().is_ok());
        assert_eq!((options.version, options.concurrency, options.crashes_max), (1, 0, 100));
        assert_eq!((options.settle_ms, options.lease_ms), (1_000, 300_000));
        assert_eq!((&options.group, &options.refresh, &options.rate), (&Group::None, &Refresh::Never, &None));
        let Retry { base_ms, cap_ms, attempts_max, jitter } = options.retry;
        assert_eq!((base_ms, cap_ms, attempts_max, jitter), (60_000, 86_400_000, 5, true));
        let policy = options.policy();
        assert_eq!((policy.pipeline_version, policy.settle_ns), (1, 1_000_000_000));
    }

    #[test]
    fn once_a_root_is_named_only_named_roots_are_worked_on() {
        assert!(PipelineOptions::new().has_root("any"));
        let named = PipelineOptions::new().root("a").root("b");
        assert!(named.has_root("a") && named.has_root("b") && !named.has_root("c"));
    }

    #[test]
    fn any_glob_may_match() -> Result<()> {
        let all = PipelineOptions::new().matcher()?;
        assert!(all.matches(b"any/thing") && all.matches(b"\xff"));
        let some = PipelineOptions::new().glob("*.mkv").glob("tv/**/*.srt").matcher()?;
        for (path, matches) in [
            (&b"a.mkv"[..], true),
            (b"\xff\n.mkv", true),
            (b"a/b.mkv", false),
            (b"tv/a.srt", true),
            (b"tv/a/b/c.srt", true),
            (b"a.srt", false),
            (b"", false),
        ] {
            assert_eq!(some.matches(path), matches, "{path:?}");
        }
        Ok(())
    }

    #[test]
    fn absurd_options_are_refused() {
        let base = PipelineOptions::new;
        let many = (0..1_001).fold(base(), |options, n| options.glob(format!("{n}")));
        let run = RefreshRun { schedule: Schedule::every_ms(1_000).expect("a second"), batch: 0, gap_ms: 0 };
        for (what, options) in [
            ("the name of a root", base().root("a/b")),
            ("no name of a root", base().root("")),
            ("a glob that cannot be read", base().glob("[a")),
            ("an empty glob", base().glob("")),
            ("an absolute glob", base().glob("/srv/*")),
            ("a glob from here", base().glob("./*.mkv")),
            ("a long glob", base().glob("x".repeat(4_097))),
            ("many globs", many),
            ("a name of a function", base().group(Group::by("\n", |_| Ok(None)))),
            ("a depth", base().group(Group::Depth(u32::MAX))),
            ("a settle time", base().settle_ms(DAY_MS + 1)),
            ("no lease", base().lease_ms(0)),
            ("a lease", base().lease_ms(7 * DAY_MS + 1)),
            ("a retry", base().retry(Retry { attempts_max: 0, ..Retry::default() })),
            ("a refresh", base().refresh(Refresh::After(0))),
            ("a run", base().refresh_run(run)),
            ("a rate", base().rate(RateLimit::new(0, Duration::from_secs(1)))),
        ] {
            let error = options.check().expect_err(what);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {error}");
        }
        for options in [base().settle_ms(DAY_MS), base().lease_ms(7 * DAY_MS), base().glob("x".repeat(4_096))]
        {
            assert!(options.check().is_ok());
        }
    }

    #[test]
    fn rows_are_read_back() {
        for options in [PipelineOptions::new(), full()] {
            let row = options.encode("thumbs");
            assert_eq!(PipelineOptions::decode(&row), Ok(("thumbs".to_owned(), options)));
        }
        let name = PipelineOptions::new().encode("thumbs");
        assert!(name.starts_with(b"\x06thumbs"), "the name comes first");
    }

    #[test]
    fn any_bytes_are_refused_or_read() {
        let read = |row: &[u8]| {
            if let Ok((name, options)) = PipelineOptions::decode(row) {
                let told = options.encode(&name);
                let again = PipelineOptions::decode(&told).map(|(name, options)| options.encode(&name));
                assert_eq!(again, Ok(told));
            }
        };
        for row in [PipelineOptions::new().encode(""), full().encode("thumbs")] {
            for at in 0..row.len() {
                assert_eq!(PipelineOptions::decode(&row[..at]), Err(Malformed), "cut at {at}");
                let flipped = (0..8).map(|bit| row[at] ^ (1 << bit));
                for byte in flipped.chain([0, 2, 5, 0x7f, 0x80, 0xff]) {
                    let mut bent = row.clone();
                    bent[at] = byte;
                    read(&bent);
                    bent.truncate(at + 9);
                    read(&bent);
                }
                let mut longer = row.clone();
                longer.splice(at..at, [0xff; 9]);
                read(&longer);
            }
            let longer = [&row[..], &[0]].concat();
            assert_eq!(PipelineOptions::decode(&longer), Err(Malformed));
        }
    }
}
