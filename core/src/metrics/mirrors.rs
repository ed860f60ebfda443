//! The mirrors on the page for Prometheus.

use crate::mirror::MirrorStatus;

use super::{Page, Value};

/// What a mirror tells at a time, in nanoseconds since 1970 UTC; `None` leaves the line out.
type Read = fn(&MirrorStatus, i64) -> Option<Value>;

const GAUGES: [(&str, &str, Read); 11] = [
    ("treewarden_mirror_objects", "Objects that are acknowledged.", |m, _| whole(m.objects)),
    ("treewarden_mirror_object_bytes", "Their bytes.", |m, _| whole(m.object_bytes)),
    ("treewarden_mirror_unsure_objects", "Objects of which it is not known what is there.", |m, _| {
        whole(m.unsure)
    }),
    ("treewarden_mirror_pending", "Paths that are to be looked at again.", |m, _| m.pending.and_then(whole)),
    ("treewarden_mirror_oldest_pending_seconds", "Age of the oldest of them; 0 without one.", |m, now_ns| {
        m.pending.and_then(|_| age(m.oldest_pending_ns, now_ns))
    }),
    ("treewarden_mirror_held_deletes", "Deletions that wait for confirmation.", |m, _| whole(m.held)),
    ("treewarden_mirror_purges_waiting", "Addresses that a CDN is still to forget.", |m, _| {
        whole(m.purges_waiting)
    }),
    ("treewarden_mirror_oldest_purge_seconds", "Age of the oldest of them; 0 without one.", |m, now_ns| {
        age(m.oldest_purge_ns, now_ns)
    }),
    ("treewarden_mirror_running", "1 while a run is under way.", |m, _| Some(Value::flag(m.running))),
    ("treewarden_mirror_failing", "1 when the last run was given up.", |m, _| {
        Some(Value::flag(m.last_error.is_some()))
    }),
    ("treewarden_mirror_last_run_timestamp_seconds", "End of the last run.", |m, _| {
        m.last_run_ns.map(Value::Ns)
    }),
];

const COUNTERS: [(&str, &str, Read); 10] = [
    ("treewarden_mirror_runs_total", "Runs that ended.", |m, _| whole(m.counters.runs)),
    ("treewarden_mirror_runs_failed_total", "Runs that were given up.", |m, _| whole(m.counters.runs_failed)),
    ("treewarden_mirror_uploads_total", "Files sent and acknowledged.", |m, _| whole(m.counters.uploaded)),
    ("treewarden_mirror_uploaded_bytes_total", "Their bytes.", |m, _| whole(m.counters.uploaded_bytes)),
    ("treewarden_mirror_copies_total", "Objects copied.", |m, _| whole(m.counters.copied)),
    ("treewarden_mirror_deletes_total", "Objects deleted.", |m, _| whole(m.counters.deleted)),
    ("treewarden_mirror_failures_total", "Files and objects that failed in a run.", |m, _| {
        whole(m.counters.failed)
    }),
    ("treewarden_mirror_retries_total", "Requests repeated.", |m, _| whole(m.counters.retries)),
    ("treewarden_mirror_purges_total", "Addresses that a CDN has forgotten.", |m, _| {
        whole(m.counters.purged)
    }),
    ("treewarden_mirror_purge_failures_total", "Calls to the CDN that failed.", |m, _| {
        whole(m.counters.purge_failures)
    }),
];

pub(super) fn mirrors(page: &mut Page, mirrors: &[MirrorStatus], now_ns: i64) {
    let each = |read: Read| {
        mirrors
            .iter()
            .filter_map(move |mirror| Some(([("mirror", mirror.name.as_str())], read(mirror, now_ns)?)))
    };
    for (name, help, read) in GAUGES {
        page.gauge(name, help, each(read));
    }
    for (name, help, read) in COUNTERS {
        page.counter(name, help, each(read));
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a row of the tables")]
fn whole(number: u64) -> Option<Value> {
    Some(Value::Whole(number))
}

#[expect(clippy::unnecessary_wraps, reason = "a row of the tables")]
fn age(since_ns: Option<i64>, now_ns: i64) -> Option<Value> {
    Some(Value::Ns(since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns).max(0))))
}
