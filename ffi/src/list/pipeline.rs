//! Rows of pipelines: the options of each as they were given last.

use treewarden_core::{Group, PipelineInfo, RateLimit, Refresh, Tier};

use super::{List, at, give, tw_list};
use crate::args::tw_bytes;
use crate::border::Outcome;
use crate::error::{tw_error, tw_status};
use crate::options::{
    TW_GROUP_DEPTH, TW_GROUP_FUNCTION, TW_GROUP_NONE, TW_GROUP_PARENT, TW_GROUP_STEM, TW_REFRESH_AFTER,
    TW_REFRESH_AT_COMPLETION, TW_REFRESH_NEVER, TW_REFRESH_TIERS,
};
use crate::pipeline::priority_number;

/// A pipeline and its options, as they were given last. Each field is what the option of that name takes; what was not
/// said has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_pipeline_info {
    /// Its name, UTF-8.
    pub name: tw_bytes,
    /// Of `TW_GROUP_FUNCTION`: the name of the function, UTF-8. NULL otherwise.
    pub group_name: tw_bytes,
    /// When a refresh run begins, as `TW_OPTION_PIPELINE_REFRESH_SCHEDULE` takes it, UTF-8. NULL when what is to be
    /// refreshed is handed out whenever it is due.
    pub refresh_schedule: tw_bytes,
    /// How many of them `tw_list_pipeline_root` gives; 0 stands for all roots, present and future.
    pub roots: u64,
    /// How many of them `tw_list_pipeline_glob` gives; 0 stands for every file and symlink.
    pub globs: u64,
    /// Of `TW_REFRESH_TIERS`: how many of them `tw_list_pipeline_tier` gives.
    pub tiers: u64,
    /// For how long a new or changed file must be still before it is handed out, in milliseconds.
    pub settle_ms: u64,
    /// For how long a job is held without being renewed, in milliseconds.
    pub lease_ms: u64,
    /// Wait after the first failure, in milliseconds.
    pub retry_base_ms: u64,
    /// Longest wait after a failure, in milliseconds.
    pub retry_cap_ms: u64,
    /// Of `TW_REFRESH_AFTER`: so many milliseconds after its completion. 0 otherwise.
    pub refresh_after_ms: u64,
    /// The pause between two batches of a refresh run, in milliseconds, where there is a `refresh_schedule`.
    pub refresh_gap_ms: u64,
    /// The stretch of the rate, in milliseconds, where `has_rate` is 1.
    pub rate_window_ms: u64,
    /// Version of what is done with a file.
    pub version: u32,
    /// Jobs handed out at once, all workers together; 0: no bound.
    pub concurrency: u32,
    /// Failures of the same content in a row after which it is dead.
    pub attempts_max: u32,
    /// Leases in a row whose process ended, after which a job is dead; 0 for never.
    pub crashes_max: u32,
    /// Of `TW_GROUP_DEPTH`: how many components below the root files share. 0 otherwise.
    pub group_depth: u32,
    /// Items between two pauses of a refresh run, where there is a `refresh_schedule`; 4,294,967,295 stands for all.
    pub refresh_batch: u32,
    /// Jobs that begin in any such stretch at most, where `has_rate` is 1.
    pub rate_limit: u32,
    /// How far throttling may lower the limit, in thousandths of it, where `has_rate` is 1.
    pub rate_floor_permille: u32,
    /// Which files are one job, `TW_GROUP_…`.
    pub group: i32,
    /// Class of its new files, `TW_PRIORITY_…`.
    pub priority: i32,
    /// When a completed item is done anew although it did not change, `TW_REFRESH_…`.
    pub refresh: i32,
    /// 1 when each wait after a failure is longer by a random 0 to 10 percent.
    pub retry_jitter: i32,
    /// 1 when it has a rate.
    pub has_rate: i32,
    /// 1 when jobs begin evenly spread over the stretch, where `has_rate` is 1.
    pub rate_pacing: i32,
    /// 1 when a file that was moved is done anew.
    pub paths_matter: i32,
    /// Always 0.
    pub reserved: i32,
}

/// A tier of `TW_REFRESH_TIERS`, as `tw_options_add_tier` takes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_tier {
    /// It is for what is younger than this at its completion, in milliseconds; -1 for all that is older.
    pub younger_than_ms: i64,
    /// So many milliseconds after its completion it is done anew.
    pub after_ms: i64,
}

impl From<&Tier> for tw_tier {
    fn from(tier: &Tier) -> Self {
        Self { younger_than_ms: tier.younger_than_ms.map_or(-1, signed), after_ms: signed(tier.after_ms) }
    }
}

/// What is more than the interface can say means the most that it can say.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A pipeline as it is stored.
pub(crate) struct PipelineRow {
    info: PipelineInfo,
    /// As a text, for it comes as a view.
    schedule: Option<String>,
}

impl PipelineRow {
    pub(crate) fn new(info: PipelineInfo) -> Self {
        let schedule = info.options.get_refresh_run().map(|run| run.schedule.to_string());
        Self { info, schedule }
    }

    pub(super) fn name(&self) -> tw_bytes {
        tw_bytes::of(self.info.name.as_bytes())
    }

    fn tiers(&self) -> &[Tier] {
        match self.info.options.get_refresh() {
            Refresh::Tiers(tiers) => tiers,
            Refresh::Never | Refresh::After(_) | Refresh::AtCompletion => &[],
        }
    }

    fn row(&self) -> tw_pipeline_info {
        let options = &self.info.options;
        let (retry, run, rate) = (options.get_retry(), options.get_refresh_run(), options.get_rate());
        let (group, group_depth, group_name) = match options.get_group() {
            Group::None => (TW_GROUP_NONE, 0, None),
            Group::Parent => (TW_GROUP_PARENT, 0, None),
            Group::Depth(components) => (TW_GROUP_DEPTH, *components, None),
            Group::Stem => (TW_GROUP_STEM, 0, None),
            Group::By(function) => (TW_GROUP_FUNCTION, 0, Some(function.name())),
        };
        let (refresh, refresh_after_ms) = match options.get_refresh() {
            Refresh::Never => (TW_REFRESH_NEVER, 0),
            Refresh::After(ms) => (TW_REFRESH_AFTER, *ms),
            Refresh::Tiers(_) => (TW_REFRESH_TIERS, 0),
            Refresh::AtCompletion => (TW_REFRESH_AT_COMPLETION, 0),
        };
        tw_pipeline_info {
            name: self.name(),
            group_name: tw_bytes::of_option(group_name.map(str::as_bytes)),
            refresh_schedule: tw_bytes::of_option(self.schedule.as_deref().map(str::as_bytes)),
            roots: options.get_roots().count() as u64,
            globs: options.get_globs().count() as u64,
            tiers: self.tiers().len() as u64,
            settle_ms: options.get_settle_ms(),
            lease_ms: options.get_lease_ms(),
            retry_base_ms: retry.base_ms,
            retry_cap_ms: retry.cap_ms,
            refresh_after_ms,
            refresh_gap_ms: run.map_or(0, |run| run.gap_ms),
            rate_window_ms: rate.map_or(0, RateLimit::window_ms),
            version: options.get_version(),
            concurrency: options.get_concurrency(),
            attempts_max: retry.attempts_max,
            crashes_max: options.get_crashes_max(),
            group_depth,
            refresh_batch: run.map_or(0, |run| run.batch),
            rate_limit: rate.map_or(0, RateLimit::limit),
            rate_floor_permille: rate.map_or(0, floor_permille),
            group,
            priority: priority_number(options.get_priority()),
            refresh,
            retry_jitter: i32::from(retry.jitter),
            has_rate: i32::from(rate.is_some()),
            rate_pacing: i32::from(rate.is_some_and(RateLimit::is_paced)),
            paths_matter: i32::from(options.get_paths_matter()),
            reserved: 0,
        }
    }
}

/// A share from 0.01 to 1, in thousandths.
fn floor_permille(rate: &RateLimit) -> u32 {
    (rate.lowest_share() * 1_000.0).round() as u32
}

fn find(list: &List, index: usize) -> Outcome<&PipelineRow> {
    match list {
        List::Pipelines(rows) => at(rows.get(index), index, "pipelines"),
        other => Err(other.holds_no("pipelines")),
    }
}

/// Gives a pipeline with its options. `row_size` is `sizeof(tw_pipeline_info)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_pipeline(
    list: *const tw_list,
    index: usize,
    row: *mut tw_pipeline_info,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { give(list, (row, row_size), error, |list| find(list, index).map(PipelineRow::row)) }
}

/// Gives the name of a root that the pipeline `pipeline_index` works on, UTF-8, as a view; they are in order. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_pipeline_root(
    list: *const tw_list,
    pipeline_index: usize,
    index: usize,
    row: *mut tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, size_of::<tw_bytes>()), error, |list| {
            let name = find(list, pipeline_index)?.info.options.get_roots().nth(index);
            at(name, index, "roots").map(|name| tw_bytes::of(name.as_bytes()))
        })
    }
}

/// Gives a pattern of the files that the pipeline `pipeline_index` works on, UTF-8, as a view; they are in order. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_pipeline_glob(
    list: *const tw_list,
    pipeline_index: usize,
    index: usize,
    row: *mut tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, size_of::<tw_bytes>()), error, |list| {
            let pattern = find(list, pipeline_index)?.info.options.get_globs().nth(index);
            at(pattern, index, "globs").map(|pattern| tw_bytes::of(pattern.as_bytes()))
        })
    }
}

/// Gives a tier of the pipeline `pipeline_index`, by rising age; those of the library where `TW_REFRESH_TIERS` was set
/// without any. `row_size` is `sizeof(tw_tier)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_pipeline_tier(
    list: *const tw_list,
    pipeline_index: usize,
    index: usize,
    row: *mut tw_tier,
    row_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        give(list, (row, row_size), error, |list| {
            let tiers = find(list, pipeline_index)?.tiers();
            at(tiers.get(index), index, "tiers").map(tw_tier::from)
        })
    }
}
