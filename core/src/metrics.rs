//! The numbers of the whole engine at one moment, and the text in which Prometheus reads them. Nothing is
//! scanned or counted for them: they are kept anyway.
//!
//! The text is version 0.0.4 of <https://prometheus.io/docs/instrumenting/exposition_formats/>.

#[cfg(feature = "mirror")]
mod mirrors;

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use crate::error::Result;
use crate::live::{LiveStatus, RootLive};
use crate::operation::{Operation, OperationKind, OperationStatus};
use crate::root_record::{RootInfo, RootState};
use crate::store::Rows;
use crate::warden::Warden;
use crate::work::{LimiterStatus, PipelineStatus};

/// Lines of the history that are looked at for the last operation of each root: these, and where a root is
/// not among them, those.
const LOOKS: [usize; 2] = [64, 1_000];

/// The engine in numbers.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Metrics {
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
    /// The roots by name.
    pub roots: Vec<RootMetrics>,
    /// How the roots are watched; `None` while they are not.
    pub live: Option<LiveStatus>,
    /// The pipelines that this process has opened, by name.
    pub pipelines: Vec<PipelineMetrics>,
    /// The mirrors that this process has opened, by name.
    #[cfg(feature = "mirror")]
    pub mirrors: Vec<crate::mirror::MirrorStatus>,
    /// When this was taken, nanoseconds since 1970 UTC.
    pub taken_ns: i64,
    // Further parts of the engine go here, each with a section of its own in `to_prometheus`.
}

/// One root in numbers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RootMetrics {
    /// Its name.
    pub name: String,
    /// Files and symlinks known.
    pub files: u64,
    /// Directories known, without the root itself.
    pub dirs: u64,
    /// Sum of the sizes of regular files and symlinks, in bytes.
    pub bytes: u64,
    /// Tombstones of files and symlinks.
    pub missing: u64,
    /// Whether the root can be trusted.
    pub state: RootState,
    /// End of the last scan that changed something, nanoseconds since 1970 UTC.
    pub last_scan_ns: Option<i64>,
    /// The newest line of the history about it, where that is among the newest 1,000 of all roots.
    pub last_operation: Option<LastOperation>,
}

/// What ran last over a root: a scan or look that changed something, or that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastOperation {
    /// What ran.
    pub kind: OperationKind,
    /// How it ended.
    pub status: OperationStatus,
    /// When it ended, nanoseconds since 1970 UTC.
    pub end_ns: i64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Paths that could not be read.
    pub errors: u64,
}

/// One pipeline in numbers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PipelineMetrics {
    /// How its items stand.
    pub status: PipelineStatus,
    /// How its limiter stands, if it has a rate.
    pub limiter: Option<LimiterStatus>,
}

impl Warden {
    /// Returns the numbers of the whole engine at this moment. Cheap: nothing is scanned or counted for
    /// them. The parts are read one after the other, so a commit in between may show in one and not yet in
    /// another.
    ///
    /// Pipelines are those that this process has opened.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let photos = dir.path().join("photos");
    /// # std::fs::create_dir(&photos).unwrap();
    /// # std::fs::write(photos.join("a.jpg"), "x").unwrap();
    /// use treewarden::Warden;
    ///
    /// let warden = Warden::open(dir.path().join("state.tw"))?;
    /// warden.add_root("photos", &photos)?;
    /// warden.scan("photos")?;
    ///
    /// let metrics = warden.metrics()?;
    /// assert_eq!(metrics.roots[0].files, 1);
    /// assert!(metrics.to_prometheus().contains("treewarden_root_files{root=\"photos\"} 1\n"));
    /// # Ok::<(), treewarden::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed`, and what the store says.
    pub fn metrics(&self) -> Result<Metrics> {
        let status = self.status()?;
        let engine = self.engine();
        let (counters, mut last) =
            engine.store.read(|rows| Ok((rows.counters()?, last_operations(rows, &status.roots)?)))?;
        let shared = engine.load();
        let missing_of = |id: u32| {
            let view = shared.tree().and_then(|tree| tree.root_by_id(id));
            view.map_or(0, |view| view.gone.totals.files)
        };
        let root_metrics = |root: RootInfo| RootMetrics {
            files: root.totals.files,
            dirs: root.totals.dirs,
            bytes: root.totals.bytes,
            missing: missing_of(root.id),
            state: root.state,
            last_scan_ns: root.last_scan_ns,
            last_operation: last.remove(&root.name),
            name: root.name,
        };
        // Those that are listed are open: nothing is set up for this.
        let limiter_of = |name: &str| self.pipeline(name).ok()?.limiter().map(|limiter| limiter.status());
        let pipeline_metrics =
            |status: PipelineStatus| PipelineMetrics { limiter: limiter_of(&status.name), status };
        Ok(Metrics {
            uptime_ms: self.uptime_ms(),
            seq: status.seq,
            state_file_bytes: status.file_bytes,
            journal_bytes: counters.journal_bytes,
            journal_floor_seq: counters.journal_floor,
            roots: status.roots.into_iter().map(root_metrics).collect(),
            live: status.live,
            pipelines: status.pipelines.into_iter().map(pipeline_metrics).collect(),
            #[cfg(feature = "mirror")]
            mirrors: self.mirror_status(),
            taken_ns: engine.options.clock.now_ns(),
        })
    }
}

/// The newest operation of each root, by its name. A root that has none costs the longer look.
fn last_operations(rows: &Rows, roots: &[RootInfo]) -> Result<HashMap<String, LastOperation>> {
    let mut last = HashMap::new();
    for limit in LOOKS {
        for operation in rows.operations(limit)? {
            // There the name is that of a pipeline.
            if operation.kind != OperationKind::Refresh {
                let found = LastOperation::of(&operation);
                last.entry(operation.root).or_insert(found);
            }
        }
        if roots.iter().all(|root| last.contains_key(&root.name)) {
            break;
        }
    }
    Ok(last)
}

impl LastOperation {
    fn of(operation: &Operation) -> Self {
        let duration_ns = operation.end_ns.saturating_sub(operation.start_ns);
        Self {
            kind: operation.kind,
            status: operation.status,
            end_ns: operation.end_ns,
            // The clock may have been set back meanwhile.
            duration_ns: duration_ns.max(0).unsigned_abs(),
            errors: operation.counts.errors,
        }
    }
}

impl Metrics {
    /// Returns the numbers as a page for Prometheus: text format 0.0.4, to be served as
    /// `text/plain; version=0.0.4`. Times are in seconds, sizes in bytes. docs/metrics.md tells what each
    /// name means.
    ///
    /// The names of roots and pipelines are in the labels; paths are not.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut page = Page(String::with_capacity(4 * 1024));
        engine(&mut page, self);
        roots(&mut page, &self.roots);
        live(&mut page, self.live.as_ref());
        pipelines(&mut page, &self.pipelines);
        limiters(&mut page, &self.pipelines);
        #[cfg(feature = "mirror")]
        mirrors::mirrors(&mut page, &self.mirrors, self.taken_ns);
        page.0
    }
}

fn engine(page: &mut Page, metrics: &Metrics) {
    let mut gauge = |name, help, value| page.gauge(name, help, [([], value)]);
    gauge("treewarden_uptime_seconds", "How long the engine has been open.", Value::Ms(metrics.uptime_ms));
    gauge("treewarden_seq", "Number of the last commit.", Value::Whole(metrics.seq));
    gauge("treewarden_state_file_bytes", "Size of the state file.", Value::Whole(metrics.state_file_bytes));
    gauge("treewarden_journal_bytes", "Size of the journal's rows.", Value::Whole(metrics.journal_bytes));
    gauge(
        "treewarden_journal_floor_seq",
        "The journal tells of every commit after this one.",
        Value::Whole(metrics.journal_floor_seq),
    );
}

fn roots(page: &mut Page, roots: &[RootMetrics]) {
    let each = |value: fn(&RootMetrics) -> Value| {
        roots.iter().map(move |root| ([("root", root.name.as_str())], value(root)))
    };
    page.gauge("treewarden_root_files", "Files and symlinks known.", each(|root| Value::Whole(root.files)));
    page.gauge("treewarden_root_directories", "Directories known.", each(|root| Value::Whole(root.dirs)));
    page.gauge(
        "treewarden_root_bytes",
        "Sum of the sizes of files and symlinks.",
        each(|root| Value::Whole(root.bytes)),
    );
    page.gauge(
        "treewarden_root_missing_files",
        "Files and symlinks that are gone and not forgotten yet.",
        each(|root| Value::Whole(root.missing)),
    );
    let states = roots.iter().flat_map(|root| {
        let now = state_name(&root.state);
        ["new", "ready", "unavailable", "held"]
            .map(|state| ([("root", root.name.as_str()), ("state", state)], Value::flag(state == now)))
    });
    page.gauge("treewarden_root_state", "1 for the state that the root is in.", states);
    let scanned = roots.iter().filter_map(|root| {
        let at_ns = root.last_scan_ns?;
        Some(([("root", root.name.as_str())], Value::Ns(at_ns)))
    });
    page.gauge(
        "treewarden_root_last_scan_timestamp_seconds",
        "End of the last scan that changed something.",
        scanned,
    );
    last_operation(page, roots);
}

fn last_operation(page: &mut Page, roots: &[RootMetrics]) {
    let known = || roots.iter().filter_map(|root| Some((root.name.as_str(), root.last_operation?)));
    let each =
        |value: fn(LastOperation) -> Value| known().map(move |(root, last)| ([("root", root)], value(last)));
    let info = known().map(|(root, last)| {
        ([("root", root), ("kind", last.kind.name()), ("status", last.status.name())], Value::Whole(1))
    });
    page.gauge("treewarden_root_last_operation_info", "What ran last, and how it ended.", info);
    page.gauge(
        "treewarden_root_last_operation_timestamp_seconds",
        "When what ran last ended.",
        each(|last| Value::Ns(last.end_ns)),
    );
    page.gauge(
        "treewarden_root_last_operation_duration_seconds",
        "How long what ran last took.",
        each(|last| Value::Ns(i64::try_from(last.duration_ns).unwrap_or(i64::MAX))),
    );
    page.gauge(
        "treewarden_root_last_operation_errors",
        "Paths that what ran last could not read.",
        each(|last| Value::Whole(last.errors)),
    );
}

fn live(page: &mut Page, live: Option<&LiveStatus>) {
    let watching = Value::flag(live.is_some());
    page.gauge("treewarden_live_watching", "1 while roots are watched.", [([], watching)]);
    let Some(live) = live else { return };
    page.gauge("treewarden_live_paused", "1 while watching is paused.", [([], Value::flag(live.paused))]);

    let each = |value: fn(&RootLive) -> Value| {
        live.roots.iter().map(move |root| ([("root", root.root.as_str())], value(root)))
    };
    page.gauge(
        "treewarden_live_coherent",
        "1 while no lost change waits for a scan, and the root is neither unavailable nor held.",
        each(|root| Value::flag(root.coherent)),
    );
    let coverage = live.roots.iter().flat_map(|root| {
        ["native", "mixed", "polling"].map(|coverage| {
            let is_so = coverage == root.coverage.name();
            ([("root", root.root.as_str()), ("coverage", coverage)], Value::flag(is_so))
        })
    });
    page.gauge("treewarden_live_coverage", "1 for how changes of the root become known.", coverage);
    page.gauge(
        "treewarden_live_watched_directories",
        "Directories that are watched.",
        each(|root| Value::Whole(root.watched_dirs)),
    );
    page.gauge(
        "treewarden_live_uncovered_directories",
        "Directories of a watched root that are polled; 10001 means more.",
        each(|root| Value::Whole(root.uncovered_dirs)),
    );
    page.gauge(
        "treewarden_live_pending",
        "Names and directories that were heard of and not looked at yet.",
        each(|root| Value::Whole(root.pending)),
    );
    page.gauge(
        "treewarden_live_scanning",
        "1 while a scan or look is under way.",
        each(|root| Value::flag(root.scanning)),
    );
    page.counter(
        "treewarden_live_events_total",
        "Events received since watching began.",
        each(|root| Value::Whole(root.events)),
    );
    page.counter(
        "treewarden_live_overflows_total",
        "Times that events were lost since watching began.",
        each(|root| Value::Whole(root.overflows)),
    );
    let next = live.roots.iter().flat_map(|root| {
        let timers = [
            ("quick", root.next_quick_ns),
            ("full", root.next_full_ns),
            ("reconcile", root.next_reconcile_ns),
        ];
        timers.into_iter().filter_map(move |(kind, at_ns)| {
            Some(([("root", root.root.as_str()), ("kind", kind)], Value::Ns(at_ns?)))
        })
    });
    page.gauge(
        "treewarden_live_next_scan_timestamp_seconds",
        "When the next scan by the clock is due.",
        next,
    );
}

fn pipelines(page: &mut Page, pipelines: &[PipelineMetrics]) {
    let each = |value: fn(&PipelineStatus) -> Value| {
        pipelines.iter().map(move |pipeline| ([("pipeline", name_of(pipeline))], value(&pipeline.status)))
    };
    let items = pipelines.iter().flat_map(|pipeline| {
        let status = &pipeline.status;
        let states = [
            ("new", status.new),
            ("changed", status.changed),
            ("stale", status.stale),
            ("error", status.error),
            ("missing", status.missing),
            ("indexed", status.indexed),
        ];
        states
            .map(|(state, items)| ([("pipeline", name_of(pipeline)), ("state", state)], Value::Whole(items)))
    });
    page.gauge("treewarden_pipeline_items", "Items by state.", items);
    page.gauge(
        "treewarden_pipeline_leases",
        "Items in hand; they are counted under their states, too.",
        each(|status| Value::Whole(status.processing)),
    );
    page.gauge(
        "treewarden_pipeline_dead_items",
        "Items in error that are not tried again by themselves.",
        each(|status| Value::Whole(status.dead)),
    );
    page.gauge(
        "treewarden_pipeline_requested_items",
        "Items that somebody has asked for.",
        each(|status| Value::Whole(status.requested)),
    );
    page.gauge(
        "treewarden_pipeline_oldest_due_seconds",
        "How long the item that is due for longest has waited; 0 when none is due.",
        each(|status| Value::Ms(status.oldest_due_ms.unwrap_or(0))),
    );
    page.gauge(
        "treewarden_pipeline_completions_per_second",
        "Completions, over the last nine full minutes.",
        each(|status| Value::Rate(status.done_per_minute / 60.0)),
    );
}

fn limiters(page: &mut Page, pipelines: &[PipelineMetrics]) {
    let each = |value: fn(&LimiterStatus) -> Value| {
        pipelines.iter().filter_map(move |pipeline| {
            let limiter = pipeline.limiter.as_ref()?;
            Some(([("pipeline", name_of(pipeline))], value(limiter)))
        })
    };
    page.gauge(
        "treewarden_limiter_limit",
        "Requests in any window, as asked for.",
        each(|limiter| Value::Whole(limiter.limit.into())),
    );
    page.gauge(
        "treewarden_limiter_effective_limit",
        "Requests in any window now: the limit, or less after throttling.",
        each(|limiter| Value::Whole(limiter.effective_limit.into())),
    );
    page.gauge(
        "treewarden_limiter_in_window",
        "Cost of the permits in the window.",
        each(|limiter| Value::Whole(limiter.in_window.into())),
    );
    page.gauge(
        "treewarden_limiter_waiting",
        "Calls that wait.",
        each(|limiter| Value::Whole(limiter.waiting as u64)),
    );
    page.gauge(
        "treewarden_limiter_paused",
        "1 while nobody is granted anything because of throttling.",
        each(|limiter| Value::flag(limiter.paused_until_ns.is_some())),
    );
    page.counter(
        "treewarden_limiter_granted_total",
        "Permits that were granted.",
        each(|limiter| Value::Whole(limiter.granted)),
    );
    page.counter(
        "treewarden_limiter_throttled_total",
        "Reports of throttling.",
        each(|limiter| Value::Whole(limiter.throttled)),
    );
    page.counter(
        "treewarden_limiter_succeeded_total",
        "Reports of success.",
        each(|limiter| Value::Whole(limiter.succeeded)),
    );
}

fn name_of(pipeline: &PipelineMetrics) -> &str {
    &pipeline.status.name
}

fn state_name(state: &RootState) -> &'static str {
    match state {
        RootState::New => "new",
        RootState::Ready => "ready",
        RootState::Unavailable { .. } => "unavailable",
        RootState::Held { .. } => "held",
    }
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn gauge<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], Value)>,
    ) {
        self.family("gauge", name, help, samples);
    }

    /// For what never falls while the process runs.
    fn counter<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], Value)>,
    ) {
        self.family("counter", name, help, samples);
    }

    /// All samples of a name have to stand together, below what is said of it. Without samples nothing is
    /// said.
    fn family<'a, const N: usize>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], Value)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let page = &mut self.0;
        let _ = writeln!(page, "# HELP {name} {help}");
        let _ = writeln!(page, "# TYPE {name} {kind}");
        for (labels, value) in samples {
            page.push_str(name);
            for (number, (label, text)) in labels.iter().enumerate() {
                page.push(if number == 0 { '{' } else { ',' });
                let _ = write!(page, "{label}=\"{}\"", quotable(text));
            }
            page.push_str(if N == 0 { "" } else { "}" });
            let _ = writeln!(page, " {value}");
        }
    }
}

/// A text as it stands between the quotes of a label: the format escapes these three and nothing else.
fn quotable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out
}

/// A number; times are written in seconds, exactly.
#[derive(Clone, Copy)]
enum Value {
    Whole(u64),
    Ms(u64),
    Ns(i64),
    Rate(f64),
}

impl Value {
    fn flag(is_so: bool) -> Self {
        Self::Whole(u64::from(is_so))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Ms(ms) => f.write_str(&seconds(ms, 3)),
            Self::Ns(ns) if ns < 0 => write!(f, "-{}", seconds(ns.unsigned_abs(), 9)),
            Self::Ns(ns) => f.write_str(&seconds(ns.unsigned_abs(), 9)),
            Self::Rate(rate) => write!(f, "{rate}"),
        }
    }
}

/// A time in seconds, from one whose last `digits` digits are those after the point.
fn seconds(time: u64, digits: u32) -> String {
    let second = 10_u64.pow(digits);
    let (whole, rest) = (time / second, time % second);
    if rest == 0 {
        return whole.to_string();
    }
    let rest = format!("{rest:0width$}", width = digits as usize);
    format!("{whole}.{}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_as_the_format_says() {
        for (text, expected) in [
            ("", ""),
            ("music", "music"),
            ("a b{c}=,d", "a b{c}=,d"),
            (r#"say "hi""#, r#"say \"hi\""#),
            (r"a\b", r"a\\b"),
            (r"a\n", r"a\\n"),
            ("a\nb", r"a\nb"),
            ("\\\"\n", "\\\\\\\"\\n"),
            ("für 音楽", "für 音楽"),
        ] {
            assert_eq!(quotable(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_seconds_and_exact() {
        for (value, expected) in [
            (Value::Whole(u64::MAX), "18446744073709551615"),
            (Value::flag(true), "1"),
            (Value::flag(false), "0"),
            (Value::Ms(0), "0"),
            (Value::Ms(7), "0.007"),
            (Value::Ms(1_500), "1.5"),
            (Value::Ms(60_000), "60"),
            (Value::Ns(1), "0.000000001"),
            (Value::Ns(1_700_000_000_123_456_789), "1700000000.123456789"),
            (Value::Ns(-1_500_000_000), "-1.5"),
            (Value::Ns(i64::MIN), "-9223372036.854775808"),
            (Value::Rate(0.0), "0"),
            (Value::Rate(2.5), "2.5"),
        ] {
            assert_eq!(value.to_string(), expected);
        }
    }

    #[test]
    fn an_engine_without_roots_is_a_short_page() {
        let metrics = Metrics { uptime_ms: 1_500, seq: 7, state_file_bytes: 4_096, ..Metrics::default() };
        let expected = "\
# HELP treewarden_uptime_seconds How long the engine has been open.
# TYPE treewarden_uptime_seconds gauge
treewarden_uptime_seconds 1.5
# HELP treewarden_seq Number of the last commit.
# TYPE treewarden_seq gauge
treewarden_seq 7
# HELP treewarden_state_file_bytes Size of the state file.
# TYPE treewarden_state_file_bytes gauge
treewarden_state_file_bytes 4096
# HELP treewarden_journal_bytes Size of the journal's rows.
# TYPE treewarden_journal_bytes gauge
treewarden_journal_bytes 0
# HELP treewarden_journal_floor_seq The journal tells of every commit after this one.
# TYPE treewarden_journal_floor_seq gauge
treewarden_journal_floor_seq 0
# HELP treewarden_live_watching 1 while roots are watched.
# TYPE treewarden_live_watching gauge
treewarden_live_watching 0
";
        assert_eq!(metrics.to_prometheus(), expected);
    }
}
