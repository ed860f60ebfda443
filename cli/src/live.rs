//! How the watching stands, root by root: a part of `status`, and the answer to SIGUSR1.

use serde::Serialize;
use treewarden::{LiveStatus, RootLive};

use crate::text::{counted, date};

#[derive(Serialize)]
pub(crate) struct LivePart<'a> {
    paused: bool,
    backend: &'static str,
    roots: Vec<RootPart<'a>>,
}

#[derive(Serialize)]
struct RootPart<'a> {
    root: &'a str,
    mode: &'static str,
    coverage: &'static str,
    reason: Option<&'a str>,
    coherent: bool,
    watched_dirs: u64,
    uncovered_dirs: u64,
    pending: u64,
    events: u64,
    overflows: u64,
    scanning: bool,
    next_quick_ns: Option<i64>,
    next_full_ns: Option<i64>,
    next_reconcile_ns: Option<i64>,
}

impl<'a> LivePart<'a> {
    pub(crate) fn new(live: &'a LiveStatus) -> LivePart<'a> {
        LivePart {
            paused: live.paused,
            backend: live.backend,
            roots: live.roots.iter().map(RootPart::new).collect(),
        }
    }
}

impl<'a> RootPart<'a> {
    fn new(root: &'a RootLive) -> RootPart<'a> {
        RootPart {
            root: &root.root,
            mode: root.mode,
            coverage: root.coverage.name(),
            reason: root.reason.as_deref(),
            coherent: root.coherent,
            watched_dirs: root.watched_dirs,
            uncovered_dirs: root.uncovered_dirs,
            pending: root.pending,
            events: root.events,
            overflows: root.overflows,
            scanning: root.scanning,
            next_quick_ns: root.next_quick_ns,
            next_full_ns: root.next_full_ns,
            next_reconcile_ns: root.next_reconcile_ns,
        }
    }
}

/// For people: the whole on the first line, then a line for each root.
pub(crate) fn lines(live: &LivePart<'_>) -> Vec<String> {
    let state = if live.paused { "paused" } else { "watching" };
    let mut lines = vec![format!("{state} through {}", live.backend)];
    lines.extend(live.roots.iter().map(|root| format!("  {}: {}", root.root, facts(root).join(", "))));
    lines
}

fn facts(root: &RootPart<'_>) -> Vec<String> {
    let mut facts = vec![format!("mode {}", root.mode)];
    facts.push(match root.reason {
        Some(reason) => format!("coverage {} ({reason})", root.coverage),
        None => format!("coverage {}", root.coverage),
    });
    facts.push(if root.coherent { "coherent" } else { "not coherent yet" }.to_owned());
    if root.scanning {
        facts.push("scanning".to_owned());
    }
    facts.push(format!("{} watched", counted(root.watched_dirs, "directory", "directories")));
    if root.uncovered_dirs > 0 {
        facts.push(format!("{} polled", counted(root.uncovered_dirs, "directory", "directories")));
    }
    facts.push(format!("{} pending", counted(root.pending, "path", "paths")));
    facts.push(counted(root.events, "event", "events"));
    if root.overflows > 0 {
        facts.push(counted(root.overflows, "overflow", "overflows"));
    }
    let next = [
        ("quick scan", root.next_quick_ns),
        ("full scan", root.next_full_ns),
        ("reconciliation", root.next_reconcile_ns),
    ];
    facts.extend(
        next.iter().filter_map(|(what, at_ns)| at_ns.map(|at_ns| format!("next {what} {}", date(at_ns)))),
    );
    facts
}

#[cfg(test)]
mod tests {
    use super::{LivePart, RootPart, lines};

    #[test]
    fn a_root_in_trouble_says_why() {
        let root = RootPart {
            root: "music",
            mode: "watch",
            coverage: "mixed",
            reason: Some("no watches left"),
            coherent: false,
            watched_dirs: 1,
            uncovered_dirs: 2_000,
            pending: 0,
            events: 7,
            overflows: 1,
            scanning: true,
            next_quick_ns: None,
            next_full_ns: None,
            next_reconcile_ns: Some(0),
        };
        let live = LivePart { paused: false, backend: "inotify", roots: vec![root] };
        assert_eq!(
            lines(&live),
            [
                "watching through inotify",
                "  music: mode watch, coverage mixed (no watches left), not coherent yet, scanning, \
                 1 directory watched, 2,000 directories polled, 0 paths pending, 7 events, 1 overflow, \
                 next reconciliation 1970-01-01T00:00:00Z",
            ]
        );
    }
}
