//! What every option takes. The table is the whole truth about that; `build.rs` relies on it.

use treewarden_core::mirror::Target;
use treewarden_core::{Filter, IgnoreRules, RateLimit, RootWatch, Schedule, Token, WatchOptions};

use super::names::*;
use crate::border::{Failure, Outcome};

/// Kinds of options, by their numbers.
pub(super) const KINDS: [&str; 14] = [
    "TW_OPTIONS_OPEN",
    "TW_OPTIONS_ROOT",
    "TW_OPTIONS_SCAN",
    "TW_OPTIONS_WATCH",
    "TW_OPTIONS_ROOT_WATCH",
    "TW_OPTIONS_FILTER",
    "TW_OPTIONS_VERIFY",
    "TW_OPTIONS_PIPELINE",
    "TW_OPTIONS_LIMITER",
    "TW_OPTIONS_MIRROR",
    "TW_OPTIONS_EXPORT",
    "TW_OPTIONS_FLEET",
    "TW_OPTIONS_PUBLISHER",
    "TW_OPTIONS_CONSUMER",
];

/// One option.
pub(super) struct Rule {
    pub(super) option: i32,
    pub(super) name: &'static str,
    pub(super) takes: Takes,
}

/// What an option takes.
pub(super) enum Takes {
    /// 0 or 1.
    Flag,
    /// From the first to the second.
    Number(i64, i64),
    /// One of these, by its place.
    OneOf(&'static [&'static str]),
    /// Any bytes.
    Bytes(Times),
    /// UTF-8 that passes a check.
    Text(Times, fn(&str) -> Outcome<()>),
}

/// What a second call does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// It takes the place of the first.
    Once,
    /// It adds one more.
    Many,
}

const U32_MAX: i64 = u32::MAX as i64;
const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const MIB: i64 = 1 << 20;
/// The longest wait, interval and refresh time of the engine.
const AGAIN_MS_MAX: i64 = 3_660 * DAY_MS;
/// From a second: what `tw_options_add_tier` takes too.
pub(super) const REFRESH_AFTER_MS: (i64, i64) = (1_000, AGAIN_MS_MAX);

const ANY_COUNT: Takes = Takes::Number(0, i64::MAX);
const ANY_TIME: Takes = Takes::Number(i64::MIN, i64::MAX);
const THREADS: Takes = Takes::Number(0, WatchOptions::SCAN_THREADS_MAX as i64);
const POLL_MS: Takes = {
    let possible = RootWatch::POLL_MS;
    Takes::Number(possible.start().cast_signed(), possible.end().cast_signed())
};
const RATE: Takes = Takes::Number(1, RateLimit::LIMIT_MAX as i64);
const RATE_WINDOW: Takes = Takes::Number(1, RateLimit::WINDOW_MS_MAX.cast_signed());
const RATE_FLOOR: Takes = Takes::Number(10, 1_000);
/// Whether it makes sense is told by the function that takes it.
const ONE_TEXT: Takes = Takes::Text(Times::Once, is_text);

/// A table without saying every name twice.
macro_rules! rules {
    ($($option:ident: $takes:expr,)*) => {
        &[$(Rule { option: $option, name: stringify!($option), takes: $takes }),*]
    };
}

static RULES: &[Rule] = rules! {
    TW_OPTION_OPEN_MUST_EXIST: Takes::Flag,
    TW_OPTION_OPEN_READ_ONLY: Takes::Flag,
    TW_OPTION_OPEN_DURABILITY: Takes::OneOf(&["TW_DURABILITY_DURABLE", "TW_DURABILITY_RELAXED"]),
    TW_OPTION_OPEN_CACHE_BYTES: ANY_COUNT,
    TW_OPTION_OPEN_THREADS: THREADS,
    TW_OPTION_OPEN_JOURNAL_KEEP_MS: ANY_COUNT,
    TW_OPTION_OPEN_JOURNAL_KEEP_BYTES_MAX: ANY_COUNT,
    TW_OPTION_OPEN_TOMBSTONE_KEEP_MS: ANY_COUNT,
    TW_OPTION_OPEN_HISTORY_KEEP_MAX: Takes::Number(0, U32_MAX),
    TW_OPTION_OPEN_MANUAL_CLOCK_NS: ANY_TIME,

    TW_OPTION_ROOT_IGNORE: Takes::Text(Times::Many, is_ignore_pattern),
    TW_OPTION_ROOT_IGNORE_JUNK: Takes::Flag,
    TW_OPTION_ROOT_CONTENT_HASH: Takes::OneOf(&["TW_CONTENT_HASH_OFF", "TW_CONTENT_HASH_CHANGED"]),
    TW_OPTION_ROOT_COMPARE: Takes::OneOf(&[
        "TW_COMPARE_AUTO",
        "TW_COMPARE_FULL",
        "TW_COMPARE_NO_INODE",
        "TW_COMPARE_NO_CTIME",
        "TW_COMPARE_SIZE_MTIME",
    ]),

    TW_OPTION_SCAN_TARGET: Takes::Bytes(Times::Many),
    TW_OPTION_SCAN_MODE: Takes::OneOf(&["TW_SCAN_QUICK", "TW_SCAN_FULL"]),
    TW_OPTION_SCAN_WALKER: Takes::OneOf(&["TW_WALKER_AUTO", "TW_WALKER_FD", "TW_WALKER_JWALK"]),
    TW_OPTION_SCAN_THREADS: THREADS,
    TW_OPTION_SCAN_ACCEPT_MISSING: Takes::Flag,
    TW_OPTION_SCAN_PUBLISH: Takes::OneOf(&["TW_PUBLISH_ATOMIC", "TW_PUBLISH_PROGRESSIVE"]),

    TW_OPTION_WATCH_BACKEND: Takes::OneOf(&["TW_BACKEND_AUTO", "TW_BACKEND_INOTIFY", "TW_BACKEND_NOTIFY"]),
    TW_OPTION_WATCH_WATCHES_MAX: Takes::Number(1, i64::MAX),
    TW_OPTION_WATCH_SCAN_THREADS: THREADS,
    TW_OPTION_WATCH_NICE: Takes::Number(0, WatchOptions::NICE_MAX as i64),
    TW_OPTION_WATCH_YIELDS: Takes::Flag,

    TW_OPTION_ROOT_WATCH_PRESET: Takes::OneOf(&[
        "TW_PRESET_DEFAULT",
        "TW_PRESET_SMALL",
        "TW_PRESET_LARGE",
        "TW_PRESET_BUSY",
    ]),
    TW_OPTION_ROOT_WATCH_MODE: Takes::OneOf(&["TW_WATCH_AUTO", "TW_WATCH_NATIVE", "TW_WATCH_POLL"]),
    TW_OPTION_ROOT_WATCH_DEBOUNCE_MS: Takes::Number(0, RootWatch::DEBOUNCE_MS_MAX.cast_signed()),
    TW_OPTION_ROOT_WATCH_MAX_WAIT_MS: Takes::Number(0, RootWatch::MAX_WAIT_MS_MAX.cast_signed()),
    TW_OPTION_ROOT_WATCH_POLL_MS: POLL_MS,
    TW_OPTION_ROOT_WATCH_QUICK: Takes::Text(Times::Once, is_schedule),
    TW_OPTION_ROOT_WATCH_FULL: Takes::Text(Times::Once, is_schedule),
    TW_OPTION_ROOT_WATCH_RECONCILE: Takes::Text(Times::Once, is_schedule_or_empty),

    TW_OPTION_FILTER_UNDER: Takes::Bytes(Times::Once),
    TW_OPTION_FILTER_GLOB: Takes::Text(Times::Once, is_glob),
    TW_OPTION_FILTER_KIND: Takes::OneOf(&["TW_KIND_FILE", "TW_KIND_DIR", "TW_KIND_SYMLINK"]),
    TW_OPTION_FILTER_SIZE_MIN: ANY_COUNT,
    TW_OPTION_FILTER_SIZE_MAX: ANY_COUNT,
    TW_OPTION_FILTER_MTIME_MIN_NS: ANY_TIME,
    TW_OPTION_FILTER_MTIME_MAX_NS: ANY_TIME,
    TW_OPTION_FILTER_MISSING: Takes::Flag,
    TW_OPTION_FILTER_WITH_DIRS: Takes::Flag,
    TW_OPTION_FILTER_DIRECT: Takes::Flag,

    TW_OPTION_VERIFY_ROOT: Takes::Text(Times::Once, is_text),
    TW_OPTION_VERIFY_CONTENT: Takes::Flag,

    TW_OPTION_PIPELINE_ROOT: Takes::Text(Times::Many, is_text),
    TW_OPTION_PIPELINE_GLOB: Takes::Text(Times::Many, is_glob),
    TW_OPTION_PIPELINE_GROUP: Takes::OneOf(&[
        "TW_GROUP_NONE",
        "TW_GROUP_PARENT",
        "TW_GROUP_DEPTH",
        "TW_GROUP_STEM",
    ]),
    TW_OPTION_PIPELINE_GROUP_DEPTH: Takes::Number(0, 1_000),
    TW_OPTION_PIPELINE_VERSION: Takes::Number(0, U32_MAX),
    TW_OPTION_PIPELINE_PRIORITY: Takes::OneOf(&[
        "TW_PRIORITY_CRITICAL",
        "TW_PRIORITY_HIGH",
        "TW_PRIORITY_MEDIUM",
        "TW_PRIORITY_LOW",
        "TW_PRIORITY_VERY_LOW",
    ]),
    TW_OPTION_PIPELINE_CONCURRENCY: Takes::Number(0, U32_MAX),
    TW_OPTION_PIPELINE_SETTLE_MS: Takes::Number(0, DAY_MS),
    TW_OPTION_PIPELINE_LEASE_MS: Takes::Number(1_000, 7 * DAY_MS),
    TW_OPTION_PIPELINE_RETRY_BASE_MS: Takes::Number(0, AGAIN_MS_MAX),
    TW_OPTION_PIPELINE_RETRY_CAP_MS: Takes::Number(0, AGAIN_MS_MAX),
    TW_OPTION_PIPELINE_ATTEMPTS_MAX: Takes::Number(1, 1_000),
    TW_OPTION_PIPELINE_RETRY_JITTER: Takes::Flag,
    TW_OPTION_PIPELINE_REFRESH: Takes::OneOf(&[
        "TW_REFRESH_NEVER",
        "TW_REFRESH_AFTER",
        "TW_REFRESH_TIERS",
        "TW_REFRESH_AT_COMPLETION",
    ]),
    TW_OPTION_PIPELINE_REFRESH_AFTER_MS: Takes::Number(REFRESH_AFTER_MS.0, REFRESH_AFTER_MS.1),
    TW_OPTION_PIPELINE_REFRESH_SCHEDULE: Takes::Text(Times::Once, is_schedule),
    TW_OPTION_PIPELINE_REFRESH_BATCH: Takes::Number(1, U32_MAX),
    TW_OPTION_PIPELINE_REFRESH_GAP_MS: Takes::Number(0, DAY_MS),
    TW_OPTION_PIPELINE_RATE_LIMIT: RATE,
    TW_OPTION_PIPELINE_RATE_WINDOW_MS: RATE_WINDOW,
    TW_OPTION_PIPELINE_RATE_PACING: Takes::Flag,
    TW_OPTION_PIPELINE_RATE_FLOOR_PERMILLE: RATE_FLOOR,
    TW_OPTION_PIPELINE_CRASHES_MAX: Takes::Number(0, U32_MAX),
    TW_OPTION_PIPELINE_PATHS_MATTER: Takes::Flag,

    TW_OPTION_LIMITER_LIMIT: RATE,
    TW_OPTION_LIMITER_WINDOW_MS: RATE_WINDOW,
    TW_OPTION_LIMITER_PACING: Takes::Flag,
    TW_OPTION_LIMITER_FLOOR_PERMILLE: RATE_FLOOR,

    TW_OPTION_MIRROR_ADDRESS: Takes::Bytes(Times::Once),
    TW_OPTION_MIRROR_TARGET: Takes::Text(Times::Once, is_target),
    TW_OPTION_MIRROR_ENDPOINT: ONE_TEXT,
    TW_OPTION_MIRROR_REGION: ONE_TEXT,
    TW_OPTION_MIRROR_VIRTUAL_HOSTED: Takes::Flag,
    TW_OPTION_MIRROR_OPAQUE_ETAGS: Takes::Flag,
    TW_OPTION_MIRROR_PUBLIC_URL: ONE_TEXT,
    TW_OPTION_MIRROR_PREFIX: ONE_TEXT,
    TW_OPTION_MIRROR_GLOB: Takes::Text(Times::Many, is_glob),
    TW_OPTION_MIRROR_CACHE_CONTROL: ONE_TEXT,
    TW_OPTION_MIRROR_CONTENT_TYPE: Takes::Text(Times::Many, is_content_type),
    TW_OPTION_MIRROR_UPLOADS_MAX: Takes::Number(1, 1_000),
    TW_OPTION_MIRROR_PART_BYTES: Takes::Number(5 * MIB, 5 * 1_024 * MIB),
    TW_OPTION_MIRROR_MEMORY_BYTES: Takes::Number(5 * MIB, i64::MAX),
    TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S: Takes::Number(1, i64::MAX),
    TW_OPTION_MIRROR_ATTEMPTS_MAX: Takes::Number(1, 1_000),
    TW_OPTION_MIRROR_BACKOFF_MS: Takes::Number(1, DAY_MS),
    TW_OPTION_MIRROR_BACKOFF_MAX_MS: Takes::Number(1, DAY_MS),
    TW_OPTION_MIRROR_DELETE_MAX: ANY_COUNT,
    TW_OPTION_MIRROR_DELETE_SHARE_PERCENT: Takes::Number(0, 100),
    TW_OPTION_MIRROR_SETTLE_MS: Takes::Number(0, DAY_MS),
    TW_OPTION_MIRROR_PURGE_NEW: Takes::Flag,
    TW_OPTION_MIRROR_ACCESS_KEY: ONE_TEXT,
    TW_OPTION_MIRROR_SECRET_KEY: ONE_TEXT,
    TW_OPTION_MIRROR_SESSION_TOKEN: ONE_TEXT,
    TW_OPTION_MIRROR_ANONYMOUS: Takes::Flag,
    TW_OPTION_MIRROR_INSTANCE: Takes::Flag,
    TW_OPTION_MIRROR_AZURE_KEY: ONE_TEXT,
    TW_OPTION_MIRROR_AZURE_SAS: ONE_TEXT,
    TW_OPTION_MIRROR_SERVICE_ACCOUNT: ONE_TEXT,
    TW_OPTION_MIRROR_GCS_TOKEN: ONE_TEXT,
    TW_OPTION_MIRROR_CLOUDFLARE_ZONE: ONE_TEXT,
    TW_OPTION_MIRROR_CLOUDFLARE_TOKEN: ONE_TEXT,
    TW_OPTION_MIRROR_CLOUDFLARE_ENDPOINT: ONE_TEXT,
    TW_OPTION_MIRROR_CLOUDFLARE_BATCH_MAX: Takes::Number(1, 500),

    TW_OPTION_EXPORT_HOST: ONE_TEXT,
    TW_OPTION_EXPORT_TOKEN: Takes::Text(Times::Once, is_token),
    TW_OPTION_EXPORT_PARTITIONED: Takes::Flag,
    TW_OPTION_EXPORT_REPLACE: Takes::Flag,

    TW_OPTION_FLEET_PREFIX: ONE_TEXT,
    TW_OPTION_FLEET_CONNECT_TIMEOUT_MS: Takes::Number(1, HOUR_MS),
    TW_OPTION_FLEET_COMMAND_TIMEOUT_MS: Takes::Number(1, HOUR_MS),
    TW_OPTION_FLEET_LATER: Takes::Flag,

    TW_OPTION_PUBLISHER_ROOT: ONE_TEXT,
    TW_OPTION_PUBLISHER_ENTRIES_MAX: Takes::Number(1, 1_000_000_000),

    TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS: Takes::Number(1, 7 * DAY_MS),
};

/// Finds an option among those of a kind.
pub(super) fn find(kind: i32, option: i32) -> Outcome<&'static Rule> {
    let is_of_kind = |rule: &&Rule| rule.option / 100 - 1 == kind;
    RULES.iter().filter(is_of_kind).find(|rule| rule.option == option).ok_or_else(|| {
        let possible: Vec<String> =
            RULES.iter().filter(is_of_kind).map(|rule| format!("{} ({})", rule.name, rule.option)).collect();
        let (kind, possible) = (kind_name(kind), possible.join(", "));
        match RULES.iter().find(|rule| rule.option == option) {
            Some(other) => {
                Failure::invalid(format!("`{}` is no option of `{kind}`; it has {possible}", other.name))
            }
            None => Failure::invalid(format!("there is no option {option}; `{kind}` has {possible}")),
        }
    })
}

/// The name of an option, for messages.
pub(super) fn name_of(option: i32) -> &'static str {
    RULES.iter().find(|rule| rule.option == option).map_or("an option", |rule| rule.name)
}

/// The name of a kind of options, for messages.
pub(super) fn kind_name(kind: i32) -> &'static str {
    usize::try_from(kind).ok().and_then(|kind| KINDS.get(kind)).copied().unwrap_or("options")
}

/// Refuses a number that is out of its range.
pub(super) fn within(what: &str, value: i64, (least, most): (i64, i64)) -> Outcome<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Failure::invalid(format!("`{what}` cannot be {value}; {least} to {most} are possible")))
}

impl Rule {
    /// Checks a number for this option.
    pub(super) fn check_number(&self, value: i64) -> Outcome<()> {
        match self.takes {
            Takes::Flag => crate::args::flag(value, self.name).map(drop),
            Takes::Number(least, most) => within(self.name, value, (least, most)),
            Takes::OneOf(names) => {
                if usize::try_from(value).is_ok_and(|value| value < names.len()) {
                    return Ok(());
                }
                let possible: Vec<String> =
                    names.iter().enumerate().map(|(value, name)| format!("{value} ({name})")).collect();
                let possible = possible.join(", ");
                Err(Failure::invalid(format!("`{}` cannot be {value}; possible are {possible}", self.name)))
            }
            Takes::Bytes(_) | Takes::Text(..) => Err(Failure::invalid(format!(
                "`{}` takes bytes, not a number: use `tw_options_set_bytes`",
                self.name
            ))),
        }
    }
}

fn is_text(_: &str) -> Outcome<()> {
    Ok(())
}

fn is_ignore_pattern(pattern: &str) -> Outcome<()> {
    Ok(IgnoreRules::new([pattern]).map(drop)?)
}

fn is_glob(pattern: &str) -> Outcome<()> {
    Ok(Filter::new().glob(pattern).map(drop)?)
}

fn is_schedule(text: &str) -> Outcome<()> {
    Ok(Schedule::parse(text).map(drop)?)
}

fn is_target(url: &str) -> Outcome<()> {
    Ok(Target::parse(url).map(drop)?)
}

fn is_content_type(text: &str) -> Outcome<()> {
    content_type(text).map(drop)
}

/// The extension and the type of `TW_OPTION_MIRROR_CONTENT_TYPE`.
pub(super) fn content_type(text: &str) -> Outcome<(&str, &str)> {
    let both = text.split_once('=').filter(|(extension, its)| !extension.is_empty() && !its.is_empty());
    both.ok_or_else(|| Failure::invalid("a content type is given as `EXTENSION=TYPE`, as in `jxl=image/jxl`"))
}

fn is_token(text: &str) -> Outcome<()> {
    Ok(text.parse::<Token>().map(drop)?)
}

fn is_schedule_or_empty(text: &str) -> Outcome<()> {
    if text.is_empty() { Ok(()) } else { is_schedule(text) }
}
