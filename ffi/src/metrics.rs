//! The numbers of the whole engine: the main ones as a struct, all of them as a page for Prometheus.

use treewarden_core::{Coverage, Metrics, PipelineMetrics, RootMetrics, RootState};

use crate::args::Out;
use crate::border::call;
use crate::error::{tw_error, tw_status};
use crate::handle;
use crate::state::{ValueObject, tw_value};
use crate::warden::{WardenObject, tw_warden};

/// The main numbers of the engine, all roots, pipelines and mirrors together. Pipelines and mirrors are those that this
/// process has opened.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_metrics {
    /// When they were taken, nanoseconds since 1970 UTC.
    pub taken_ns: i64,
    /// How long the warden has been open, in milliseconds.
    pub uptime_ms: u64,
    /// The last commit.
    pub seq: u64,
    /// Size of the state file in bytes.
    pub state_file_bytes: u64,
    /// Size of the rows of the journal in bytes.
    pub journal_bytes: u64,
    /// The journal tells of every commit after this one.
    pub journal_floor_seq: u64,
    /// Roots.
    pub roots: u64,
    /// Of them, those that cannot be trusted at the moment.
    pub roots_unavailable: u64,
    /// Of them, those that are held because too much would be missing.
    pub roots_held: u64,
    /// Files and symlinks known.
    pub files: u64,
    /// Directories known, without the roots themselves.
    pub dirs: u64,
    /// Sum of the sizes of files and symlinks, in bytes.
    pub bytes: u64,
    /// Tombstones of files and symlinks.
    pub missing: u64,
    /// While roots are watched: names and directories that were heard of and not looked at yet.
    pub live_pending: u64,
    /// While roots are watched: times that events were lost since that began.
    pub live_overflows: u64,
    /// Pipelines.
    pub pipelines: u64,
    /// Items with something to do: new, changed, stale or missing.
    pub items_waiting: u64,
    /// Items in error, the dead ones included.
    pub items_error: u64,
    /// Of those in error, the ones that are not tried again by themselves.
    pub items_dead: u64,
    /// Leases in force.
    pub leases: u64,
    /// Completions per minute, over the last nine full minutes of this process.
    pub done_per_minute: f64,
    /// Mirrors.
    pub mirrors: u64,
    /// Objects that are acknowledged.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Paths that mirrors are to look at again.
    pub mirror_pending: u64,
    /// Deletions of mirrors that wait for confirmation.
    pub mirror_held: u64,
    /// URLs that a CDN is still to forget.
    pub purges_waiting: u64,
    /// Mirrors whose last run was given up.
    pub mirrors_failing: u64,
    /// 1 while roots are watched.
    pub is_watching: i32,
    /// 1 while watching is paused.
    pub is_paused: i32,
    /// 1 while no watched root has lost a change, is unavailable or is held.
    pub is_coherent: i32,
    /// 1 while every directory of every watched root reports its changes by itself.
    pub is_native: i32,
}

impl From<&Metrics> for tw_metrics {
    fn from(metrics: &Metrics) -> Self {
        let of_roots = |number: fn(&RootMetrics) -> u64| metrics.roots.iter().map(number).sum::<u64>();
        let of_items =
            |number: fn(&PipelineMetrics) -> u64| metrics.pipelines.iter().map(number).sum::<u64>();
        let live = metrics.live.as_ref();
        let watched = || live.into_iter().flat_map(|live| &live.roots);
        Self {
            taken_ns: metrics.taken_ns,
            uptime_ms: metrics.uptime_ms,
            seq: metrics.seq,
            state_file_bytes: metrics.state_file_bytes,
            journal_bytes: metrics.journal_bytes,
            journal_floor_seq: metrics.journal_floor_seq,
            roots: metrics.roots.len() as u64,
            roots_unavailable: of_roots(|root| {
                u64::from(matches!(root.state, RootState::Unavailable { .. }))
            }),
            roots_held: of_roots(|root| u64::from(matches!(root.state, RootState::Held { .. }))),
            files: of_roots(|root| root.files),
            dirs: of_roots(|root| root.dirs),
            bytes: of_roots(|root| root.bytes),
            missing: of_roots(|root| root.missing),
            live_pending: watched().map(|root| root.pending).sum(),
            live_overflows: watched().map(|root| root.overflows).sum(),
            pipelines: metrics.pipelines.len() as u64,
            items_waiting: of_items(|pipeline| {
                let status = &pipeline.status;
                status.new + status.changed + status.stale + status.missing
            }),
            items_error: of_items(|pipeline| pipeline.status.error),
            items_dead: of_items(|pipeline| pipeline.status.dead),
            leases: of_items(|pipeline| pipeline.status.processing),
            done_per_minute: metrics.pipelines.iter().map(|pipeline| pipeline.status.done_per_minute).sum(),
            mirrors: metrics.mirrors.len() as u64,
            objects: metrics.mirrors.iter().map(|mirror| mirror.objects).sum(),
            object_bytes: metrics.mirrors.iter().map(|mirror| mirror.object_bytes).sum(),
            mirror_pending: metrics.mirrors.iter().filter_map(|mirror| mirror.pending).sum(),
            mirror_held: metrics.mirrors.iter().map(|mirror| mirror.held).sum(),
            purges_waiting: metrics.mirrors.iter().map(|mirror| mirror.purges_waiting).sum(),
            mirrors_failing: metrics.mirrors.iter().filter(|mirror| mirror.last_error.is_some()).count()
                as u64,
            is_watching: i32::from(live.is_some()),
            is_paused: i32::from(live.is_some_and(|live| live.paused)),
            is_coherent: i32::from(live.is_some() && watched().all(|root| root.coherent)),
            is_native: i32::from(live.is_some() && watched().all(|root| root.coverage == Coverage::Native)),
        }
    }
}

/// Gives the main numbers of the engine. Cheap: nothing is scanned, and only the objects of mirrors are counted.
/// `metrics_size` is `sizeof(tw_metrics)`. The parts are read one after the other: a commit in between may show in one
/// and not yet in another. Any thread. `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_metrics(
    warden: *const tw_warden,
    metrics: *mut tw_metrics,
    metrics_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(metrics, metrics_size, "metrics")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(tw_metrics::from(&object.warden.metrics()?));
                Ok(())
            })
        })
    }
}

/// Gives all numbers of the engine, of each root, pipeline and mirror, as a page for Prometheus: UTF-8, the text format
/// 0.0.4, to be served as `text/plain; version=0.0.4`. Names of roots, pipelines and mirrors are in it, paths are not.
/// Read it with `tw_value_bytes`, free it with `tw_value_free`. It costs what `tw_warden_metrics` does. Any thread.
/// `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_prometheus(
    warden: *const tw_warden,
    page: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(page, "page")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let text = object.warden.metrics()?.to_prometheus();
                out.write(handle::put(ValueObject(text.into_bytes()))?);
                Ok(())
            })
        })
    }
}
