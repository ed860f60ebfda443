//! From what was said to what the engine takes.

mod fleet;
mod mirror;

use std::time::Duration;

use treewarden_core::export::ExportOptions;
use treewarden_core::{
    Clock, Compare, ContentHash, Durability, Filter, Group, IgnoreRules, Kind, Options, PipelineOptions,
    Priority, Publish, RateLimit, Refresh, RefreshRun, Retry, RootOptions, RootWatch, ScanMode, ScanOptions,
    Schedule, VerifyOptions, Walker, Warden, WatchBackend, WatchMode, WatchOptions,
};

pub(crate) use fleet::{fleet_wanted, publisher_wanted, shared_rate_limit, takeover_after};
pub(crate) use mirror::{MirrorWanted, StorageWanted, mirror_wanted, storage_wanted};

use super::names::*;
use super::rules::name_of;
use super::{OptionsObject, Settings};
use crate::border::{Failure, Outcome};

/// Options of the kind `TW_OPTIONS_OPEN`, and the clock that the program moves by hand.
pub(crate) fn open_options(options: Option<&OptionsObject>) -> Outcome<(Options, Option<Clock>)> {
    let said = Settings::of(options, TW_OPTIONS_OPEN)?;
    let mut built = Warden::options();
    if said.flag(TW_OPTION_OPEN_MUST_EXIST) == Some(true) {
        built = built.must_exist();
    }
    if said.flag(TW_OPTION_OPEN_READ_ONLY) == Some(true) {
        built = built.read_only();
    }
    let durabilities = [Durability::Durable, Durability::Relaxed];
    if let Some(durability) = said.chosen(TW_OPTION_OPEN_DURABILITY, &durabilities) {
        built = built.durability(durability);
    }
    if let Some(bytes) = said.number(TW_OPTION_OPEN_CACHE_BYTES)? {
        built = built.cache_bytes(bytes);
    }
    if let Some(threads) = said.number(TW_OPTION_OPEN_THREADS)? {
        built = built.threads(threads);
    }
    if let Some(ms) = said.number(TW_OPTION_OPEN_JOURNAL_KEEP_MS)? {
        built = built.journal_keep_ms(ms);
    }
    if let Some(bytes) = said.number(TW_OPTION_OPEN_JOURNAL_KEEP_BYTES_MAX)? {
        built = built.journal_keep_bytes_max(bytes);
    }
    if let Some(ms) = said.number(TW_OPTION_OPEN_TOMBSTONE_KEEP_MS)? {
        built = built.tombstone_keep_ms(ms);
    }
    if let Some(operations) = said.number(TW_OPTION_OPEN_HISTORY_KEEP_MAX)? {
        built = built.history_keep_max(operations);
    }
    let clock = said.number(TW_OPTION_OPEN_MANUAL_CLOCK_NS)?.map(Clock::manual);
    if let Some(clock) = &clock {
        built = built.clock(clock.clone());
    }
    Ok((built, clock))
}

/// Options of the kind `TW_OPTIONS_ROOT`.
pub(crate) fn root_options(options: Option<&OptionsObject>) -> Outcome<RootOptions> {
    let said = Settings::of(options, TW_OPTIONS_ROOT)?;
    let junk = said.flag(TW_OPTION_ROOT_IGNORE_JUNK) == Some(true);
    let first = if junk { IgnoreRules::junk() } else { IgnoreRules::none() };
    // Later patterns win: those of the program take back what junk ignores.
    let rules = first.and(IgnoreRules::new(said.texts(TW_OPTION_ROOT_IGNORE))?);
    let mut built = RootOptions::new().ignore(rules);
    if let Some(hash) = said.chosen(TW_OPTION_ROOT_CONTENT_HASH, &[ContentHash::Off, ContentHash::Changed]) {
        built = built.content_hash(hash);
    }
    let compares = [Compare::Auto, Compare::Full, Compare::NoInode, Compare::NoCtime, Compare::SizeMtime];
    if let Some(compare) = said.chosen(TW_OPTION_ROOT_COMPARE, &compares) {
        built = built.compare(compare);
    }
    Ok(built)
}

/// Options of the kind `TW_OPTIONS_SCAN`.
pub(crate) fn scan_options(options: Option<&OptionsObject>) -> Outcome<ScanOptions> {
    let said = Settings::of(options, TW_OPTIONS_SCAN)?;
    let mut built = ScanOptions::new();
    for target in said.all_bytes(TW_OPTION_SCAN_TARGET) {
        built = built.target(target);
    }
    if let Some(mode) = said.chosen(TW_OPTION_SCAN_MODE, &[ScanMode::Quick, ScanMode::Full]) {
        built = built.mode(mode);
    }
    let walkers = [Walker::Auto, Walker::Fd, Walker::Jwalk];
    if let Some(walker) = said.chosen(TW_OPTION_SCAN_WALKER, &walkers) {
        built = built.walker(walker);
    }
    if let Some(threads) = said.number(TW_OPTION_SCAN_THREADS)? {
        built = built.threads(threads);
    }
    if said.flag(TW_OPTION_SCAN_ACCEPT_MISSING) == Some(true) {
        built = built.accept_missing();
    }
    if let Some(publish) = said.chosen(TW_OPTION_SCAN_PUBLISH, &[Publish::Atomic, Publish::Progressive]) {
        built = built.publish(publish);
    }
    Ok(built)
}

/// Options of the kind `TW_OPTIONS_WATCH`.
pub(crate) fn watch_options(options: Option<&OptionsObject>) -> Outcome<WatchOptions> {
    let said = Settings::of(options, TW_OPTIONS_WATCH)?;
    let backends = [WatchBackend::Auto, WatchBackend::Inotify, WatchBackend::Notify];
    let mut built = WatchOptions::new();
    if let Some(backend) = said.chosen(TW_OPTION_WATCH_BACKEND, &backends) {
        built = built.backend(backend);
    }
    if let Some(watches) = said.number(TW_OPTION_WATCH_WATCHES_MAX)? {
        built = built.watches_max(watches);
    }
    if let Some(threads) = said.number(TW_OPTION_WATCH_SCAN_THREADS)? {
        built = built.scan_threads(threads);
    }
    if let Some(nice) = said.number(TW_OPTION_WATCH_NICE)? {
        built = built.nice(nice);
    }
    if let Some(yields) = said.flag(TW_OPTION_WATCH_YIELDS) {
        built = built.yields(yields);
    }
    if let Some(watch) = said.default_root {
        built = built.default_root(watch);
    }
    Ok(said.roots.into_iter().fold(built, |built, (name, watch)| built.root(name, watch)))
}

/// Options of the kind `TW_OPTIONS_ROOT_WATCH`.
pub(super) fn root_watch(options: Option<&OptionsObject>) -> Outcome<RootWatch> {
    let said = Settings::of(options, TW_OPTIONS_ROOT_WATCH)?;
    let presets = [RootWatch::new(), RootWatch::small(), RootWatch::large(), RootWatch::busy()];
    let mut built = said.chosen(TW_OPTION_ROOT_WATCH_PRESET, &presets).unwrap_or_default();
    let modes = [WatchMode::Auto, WatchMode::Native, WatchMode::Poll];
    if let Some(mode) = said.chosen(TW_OPTION_ROOT_WATCH_MODE, &modes) {
        built = built.mode(mode);
    }
    if let Some(ms) = said.number(TW_OPTION_ROOT_WATCH_DEBOUNCE_MS)? {
        built = built.debounce_ms(ms);
    }
    if let Some(ms) = said.number(TW_OPTION_ROOT_WATCH_MAX_WAIT_MS)? {
        built = built.max_wait_ms(ms);
    }
    if let Some(ms) = said.number(TW_OPTION_ROOT_WATCH_POLL_MS)? {
        built = built.poll_ms(ms);
    }
    if let Some(text) = said.text(TW_OPTION_ROOT_WATCH_QUICK) {
        built = built.quick(Schedule::parse(text)?);
    }
    if let Some(text) = said.text(TW_OPTION_ROOT_WATCH_FULL) {
        built = built.full(Schedule::parse(text)?);
    }
    match said.text(TW_OPTION_ROOT_WATCH_RECONCILE) {
        None => Ok(built),
        Some("") => Ok(built.no_reconcile()),
        Some(text) => Ok(built.reconcile(Schedule::parse(text)?)),
    }
}

/// Options of the kind `TW_OPTIONS_FILTER`.
pub(crate) fn filter(options: Option<&OptionsObject>) -> Outcome<Filter> {
    let said = Settings::of(options, TW_OPTIONS_FILTER)?;
    let mut built = Filter::new();
    for address in said.all_bytes(TW_OPTION_FILTER_UNDER) {
        built = built.under(address);
    }
    if let Some(pattern) = said.text(TW_OPTION_FILTER_GLOB) {
        built = built.glob(pattern)?;
    }
    if let Some(kind) = said.chosen(TW_OPTION_FILTER_KIND, &[Kind::File, Kind::Dir, Kind::Symlink]) {
        built = built.kind(kind);
    }
    if let Some(bytes) = said.number(TW_OPTION_FILTER_SIZE_MIN)? {
        built = built.size_min(bytes);
    }
    if let Some(bytes) = said.number(TW_OPTION_FILTER_SIZE_MAX)? {
        built = built.size_max(bytes);
    }
    if let Some(ns) = said.number(TW_OPTION_FILTER_MTIME_MIN_NS)? {
        built = built.mtime_min_ns(ns);
    }
    if let Some(ns) = said.number(TW_OPTION_FILTER_MTIME_MAX_NS)? {
        built = built.mtime_max_ns(ns);
    }
    if said.flag(TW_OPTION_FILTER_MISSING) == Some(true) {
        built = built.missing();
    }
    if said.flag(TW_OPTION_FILTER_DIRECT) == Some(true) {
        built = built.direct().with_dirs();
    }
    if said.flag(TW_OPTION_FILTER_WITH_DIRS) == Some(true) {
        built = built.with_dirs();
    }
    Ok(built)
}

/// Options of the kind `TW_OPTIONS_VERIFY`.
pub(crate) fn verify_options(options: Option<&OptionsObject>) -> Outcome<VerifyOptions> {
    let said = Settings::of(options, TW_OPTIONS_VERIFY)?;
    let mut built = VerifyOptions::new();
    if let Some(name) = said.text(TW_OPTION_VERIFY_ROOT) {
        built = built.root(name);
    }
    if said.flag(TW_OPTION_VERIFY_CONTENT) == Some(true) {
        built = built.content();
    }
    Ok(built)
}

/// Options of the kind `TW_OPTIONS_EXPORT`.
pub(crate) fn export_options(options: Option<&OptionsObject>) -> Outcome<ExportOptions> {
    let said = Settings::of(options, TW_OPTIONS_EXPORT)?;
    let mut built = ExportOptions::new();
    if let Some(name) = said.text(TW_OPTION_EXPORT_HOST) {
        built = built.host(name);
    }
    if let Some(text) = said.text(TW_OPTION_EXPORT_TOKEN) {
        built = built.token(text.parse()?);
    }
    if said.flag(TW_OPTION_EXPORT_PARTITIONED) == Some(true) {
        built = built.partitioned();
    }
    if said.flag(TW_OPTION_EXPORT_REPLACE) == Some(true) {
        built = built.replace();
    }
    Ok(built)
}

/// Options of the kind `TW_OPTIONS_PIPELINE`.
pub(crate) fn pipeline_options(options: Option<&OptionsObject>) -> Outcome<PipelineOptions> {
    let said = Settings::of(options, TW_OPTIONS_PIPELINE)?;
    let mut built = PipelineOptions::new().group(group(&said)?).retry(retry(&said)?).refresh(refresh(&said)?);
    for name in said.texts(TW_OPTION_PIPELINE_ROOT) {
        built = built.root(name);
    }
    for pattern in said.texts(TW_OPTION_PIPELINE_GLOB) {
        built = built.glob(pattern);
    }
    if let Some(version) = said.number(TW_OPTION_PIPELINE_VERSION)? {
        built = built.version(version);
    }
    let priorities = [Priority::Critical, Priority::High, Priority::Medium, Priority::Low, Priority::VeryLow];
    if let Some(priority) = said.chosen(TW_OPTION_PIPELINE_PRIORITY, &priorities) {
        built = built.priority(priority);
    }
    if let Some(jobs) = said.number(TW_OPTION_PIPELINE_CONCURRENCY)? {
        built = built.concurrency(jobs);
    }
    if let Some(ms) = said.number(TW_OPTION_PIPELINE_SETTLE_MS)? {
        built = built.settle_ms(ms);
    }
    if let Some(ms) = said.number(TW_OPTION_PIPELINE_LEASE_MS)? {
        built = built.lease_ms(ms);
    }
    if let Some(run) = refresh_run(&said)? {
        built = built.refresh_run(run);
    }
    let of_rate = [
        TW_OPTION_PIPELINE_RATE_LIMIT,
        TW_OPTION_PIPELINE_RATE_WINDOW_MS,
        TW_OPTION_PIPELINE_RATE_PACING,
        TW_OPTION_PIPELINE_RATE_FLOOR_PERMILLE,
    ];
    if of_rate.iter().any(|option| said.has(*option)) {
        built = built.rate(rate(&said, of_rate)?);
    }
    if let Some(crashes) = said.number(TW_OPTION_PIPELINE_CRASHES_MAX)? {
        built = built.crashes_max(crashes);
    }
    if let Some(matter) = said.flag(TW_OPTION_PIPELINE_PATHS_MATTER) {
        built = built.paths_matter(matter);
    }
    Ok(built)
}

/// Options of the kind `TW_OPTIONS_LIMITER`. There is no default for a rate.
pub(crate) fn rate_limit(options: Option<&OptionsObject>) -> Outcome<RateLimit> {
    rate(&Settings::of(options, TW_OPTIONS_LIMITER)?, OF_LIMITER)
}

/// In the order that a rate takes them.
const OF_LIMITER: [i32; 4] = [
    TW_OPTION_LIMITER_LIMIT,
    TW_OPTION_LIMITER_WINDOW_MS,
    TW_OPTION_LIMITER_PACING,
    TW_OPTION_LIMITER_FLOOR_PERMILLE,
];

fn rate(said: &Settings, [limit, window_ms, pacing, floor]: [i32; 4]) -> Outcome<RateLimit> {
    let (Some(requests), Some(ms)) = (said.number(limit)?, said.number(window_ms)?) else {
        let (limit, window) = (name_of(limit), name_of(window_ms));
        return Err(Failure::invalid(format!("a rate needs both `{limit}` and `{window}`")));
    };
    let mut rate = RateLimit::new(requests, Duration::from_millis(ms));
    if let Some(paced) = said.flag(pacing) {
        rate = rate.pacing(paced);
    }
    if let Some(permille) = said.number::<u16>(floor)? {
        rate = rate.floor(f32::from(permille) / 1_000.0);
    }
    rate.check()?;
    Ok(rate)
}

fn group(said: &Settings) -> Outcome<Group> {
    let chosen = said.number(TW_OPTION_PIPELINE_GROUP)?.unwrap_or(TW_GROUP_NONE);
    if let Some(function) = &said.group {
        refuse(said, &[TW_OPTION_PIPELINE_GROUP, TW_OPTION_PIPELINE_GROUP_DEPTH], "with a group function")?;
        return Ok(function.clone());
    }
    if chosen != TW_GROUP_DEPTH {
        refuse(said, &[TW_OPTION_PIPELINE_GROUP_DEPTH], "without `TW_GROUP_DEPTH`")?;
    }
    Ok(match chosen {
        TW_GROUP_PARENT => Group::Parent,
        TW_GROUP_DEPTH => Group::Depth(needed(said, TW_OPTION_PIPELINE_GROUP_DEPTH, "TW_GROUP_DEPTH")?),
        TW_GROUP_STEM => Group::Stem,
        _ => Group::None,
    })
}

fn retry(said: &Settings) -> Outcome<Retry> {
    let usual = Retry::default();
    Ok(Retry {
        base_ms: said.number(TW_OPTION_PIPELINE_RETRY_BASE_MS)?.unwrap_or(usual.base_ms),
        cap_ms: said.number(TW_OPTION_PIPELINE_RETRY_CAP_MS)?.unwrap_or(usual.cap_ms),
        attempts_max: said.number(TW_OPTION_PIPELINE_ATTEMPTS_MAX)?.unwrap_or(usual.attempts_max),
        jitter: said.flag(TW_OPTION_PIPELINE_RETRY_JITTER).unwrap_or(usual.jitter),
    })
}

fn refresh(said: &Settings) -> Outcome<Refresh> {
    let chosen = said.number(TW_OPTION_PIPELINE_REFRESH)?.unwrap_or(TW_REFRESH_NEVER);
    if chosen != TW_REFRESH_AFTER {
        refuse(said, &[TW_OPTION_PIPELINE_REFRESH_AFTER_MS], "without `TW_REFRESH_AFTER`")?;
    }
    if chosen != TW_REFRESH_TIERS && !said.tiers.is_empty() {
        return Err(Failure::invalid("tiers mean nothing without `TW_REFRESH_TIERS`"));
    }
    Ok(match chosen {
        TW_REFRESH_AFTER => {
            Refresh::After(needed(said, TW_OPTION_PIPELINE_REFRESH_AFTER_MS, "TW_REFRESH_AFTER")?)
        }
        TW_REFRESH_TIERS if said.tiers.is_empty() => Refresh::default_tiers(),
        TW_REFRESH_TIERS => Refresh::Tiers(said.tiers.clone()),
        TW_REFRESH_AT_COMPLETION => Refresh::AtCompletion,
        _ => Refresh::Never,
    })
}

fn refresh_run(said: &Settings) -> Outcome<Option<RefreshRun>> {
    let Some(text) = said.text(TW_OPTION_PIPELINE_REFRESH_SCHEDULE) else {
        let of_run = [TW_OPTION_PIPELINE_REFRESH_BATCH, TW_OPTION_PIPELINE_REFRESH_GAP_MS];
        refuse(said, &of_run, "without `TW_OPTION_PIPELINE_REFRESH_SCHEDULE`")?;
        return Ok(None);
    };
    Ok(Some(RefreshRun {
        schedule: Schedule::parse(text)?,
        batch: said.number(TW_OPTION_PIPELINE_REFRESH_BATCH)?.unwrap_or(u32::MAX),
        gap_ms: said.number(TW_OPTION_PIPELINE_REFRESH_GAP_MS)?.unwrap_or(0),
    }))
}

/// Refuses what would have no effect: whoever says it expects one.
fn refuse(said: &Settings, options: &[i32], why: &str) -> Outcome<()> {
    match options.iter().find(|option| said.has(**option)) {
        Some(option) => Err(Failure::invalid(format!("`{}` means nothing {why}", name_of(*option)))),
        None => Ok(()),
    }
}

fn needed<N: TryFrom<i64>>(said: &Settings, option: i32, by: &str) -> Outcome<N> {
    said.number(option)?.ok_or_else(|| Failure::invalid(format!("`{by}` needs `{}`", name_of(option))))
}
