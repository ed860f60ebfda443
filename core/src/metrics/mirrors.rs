//! The mirrors on the page for Prometheus.

use crate::mirror::MirrorStatus;

use super::{Page, Value};

pub(super) fn mirrors(page: &mut Page, mirrors: &[MirrorStatus], now_ns: i64) {
    let each = |value: fn(&MirrorStatus) -> Value| {
        mirrors.iter().map(move |mirror| ([("mirror", mirror.name.as_str())], value(mirror)))
    };
    let age = |since: fn(&MirrorStatus) -> Option<i64>| {
        mirrors.iter().map(move |mirror| {
            let age = since(mirror).map_or(0, |since| now_ns.saturating_sub(since).max(0));
            ([("mirror", mirror.name.as_str())], Value::Ns(age))
        })
    };
    page.gauge(
        "treewarden_mirror_objects",
        "Objects that are acknowledged.",
        each(|m| Value::Whole(m.objects)),
    );
    page.gauge("treewarden_mirror_object_bytes", "Their bytes.", each(|m| Value::Whole(m.object_bytes)));
    page.gauge(
        "treewarden_mirror_unsure_objects",
        "Objects of which it is not known what is there.",
        each(|m| Value::Whole(m.unsure)),
    );
    page.gauge(
        "treewarden_mirror_pending",
        "Paths that are to be looked at again.",
        each(|m| Value::Whole(m.pending.unwrap_or(0))),
    );
    page.gauge(
        "treewarden_mirror_oldest_pending_seconds",
        "Age of the oldest of them; 0 without one.",
        age(|m| m.oldest_pending_ns),
    );
    page.gauge(
        "treewarden_mirror_held_deletes",
        "Deletions that wait for confirmation.",
        each(|m| Value::Whole(m.held)),
    );
    page.gauge(
        "treewarden_mirror_purges_waiting",
        "Addresses that a CDN is still to forget.",
        each(|m| Value::Whole(m.purges_waiting)),
    );
    page.gauge(
        "treewarden_mirror_oldest_purge_seconds",
        "Age of the oldest of them; 0 without one.",
        age(|m| m.oldest_purge_ns),
    );
    page.gauge("treewarden_mirror_running", "1 while a run is under way.", each(|m| Value::flag(m.running)));
    page.gauge(
        "treewarden_mirror_failing",
        "1 when the last run was given up.",
        each(|m| Value::flag(m.last_error.is_some())),
    );
    let ran = mirrors
        .iter()
        .filter_map(|mirror| Some(([("mirror", mirror.name.as_str())], Value::Ns(mirror.last_run_ns?))));
    page.gauge("treewarden_mirror_last_run_timestamp_seconds", "End of the last run.", ran);
    page.counter("treewarden_mirror_runs_total", "Runs that ended.", each(|m| Value::Whole(m.counters.runs)));
    page.counter(
        "treewarden_mirror_runs_failed_total",
        "Runs that were given up.",
        each(|m| Value::Whole(m.counters.runs_failed)),
    );
    page.counter(
        "treewarden_mirror_uploads_total",
        "Files sent and acknowledged.",
        each(|m| Value::Whole(m.counters.uploaded)),
    );
    page.counter(
        "treewarden_mirror_uploaded_bytes_total",
        "Their bytes.",
        each(|m| Value::Whole(m.counters.uploaded_bytes)),
    );
    page.counter(
        "treewarden_mirror_copies_total",
        "Objects copied.",
        each(|m| Value::Whole(m.counters.copied)),
    );
    page.counter(
        "treewarden_mirror_deletes_total",
        "Objects deleted.",
        each(|m| Value::Whole(m.counters.deleted)),
    );
    page.counter(
        "treewarden_mirror_failures_total",
        "Files and objects that failed in a run.",
        each(|m| Value::Whole(m.counters.failed)),
    );
    page.counter(
        "treewarden_mirror_retries_total",
        "Requests repeated.",
        each(|m| Value::Whole(m.counters.retries)),
    );
    page.counter(
        "treewarden_mirror_purges_total",
        "Addresses that a CDN has forgotten.",
        each(|m| Value::Whole(m.counters.purged)),
    );
    page.counter(
        "treewarden_mirror_purge_failures_total",
        "Calls to the CDN that failed.",
        each(|m| Value::Whole(m.counters.purge_failures)),
    );
}
