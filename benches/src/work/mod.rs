//! Group `work`: what pipelines cost. All rows, in their order:
//!
//! * **Start.** The first scan of the tree, and the same beside an open pipeline, whose first claim follows. Back-fill: a state that
//!   was scanned before gets its first pipeline, from that call until the first claim returns. Then a pipeline whose items are all
//!   completed is opened until its status answers, beside open until the first lookup on the same state.
//! * **Rescan** of the tree where nothing changed, without a pipeline and beside one with every file pending.
//! * **Memory.** The growth of `VmRSS` from the open warden to the open pipeline: every file pending, completed, completed with a time
//!   to refresh it. It holds what reading leaves of the store's page cache (16 MiB at most) and what the allocator keeps. The peak is
//!   that of opening, above the open warden.
//! * **Claim and complete.** 100,000 of the pending files in batches of 256, each claim and each completion one durable commit. Under
//!   it the floor: the same rows in bare redb in the mode the engine uses it in, one put per claim, one put and one delete per
//!   completion. SQLite is what a program would pick otherwise: a table with an indexed state, `UPDATE ... RETURNING` for a batch, then
//!   an `UPDATE` for each of its jobs in one transaction; WAL, `synchronous=FULL`, one thread.
//! * **Latency.** 500 claims of one job with every file pending, each after a put of one key in bare redb: what a claim takes beyond
//!   the median of those puts is ours, and the tail of the puts is that of the disk. With relaxed durability nothing is taken off.
//! * **Request** of the whole root at high priority, every file completed before: until it is durable, then the first claim.
//! * **Limiter.** Acquire and done on one thread, a limit of a million in 20 ms that is never reached. Then 35 in a second, spread
//!   evenly, for five seconds, by threads that always wait for the next grant and are done with it at once: the share they get.
//!
//! Times of pipelines begin with the warden open, those of jobs and requests with the pipeline open. States that a round changes are
//! copies, on the disk before the child starts. Whoever opens a pipeline checks that it counts every file where it should. A smaller
//! tree has a tenth of its files claimed.

mod jobs;
mod limiter;
mod start;
mod stores;
mod task;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub(crate) use task::Task;

use crate::Result;
use crate::bench::Bench;
use crate::child;
use crate::measure::{Contender, Record, Samples, rounds};
use crate::row::{Row, Unit};

/// Scanned, without a pipeline.
const SCANNED: &str = "work-scanned.tw";
/// The same with a pipeline, every file pending.
const PENDING: &str = "work-pending.tw";
/// Every file completed.
const DONE: &str = "work-done.tw";
/// Every file completed, to be refreshed in a month.
const REFRESHED: &str = "work-refreshed.tw";
const FRESH: &str = "work-fresh.tw";
const FLOOR: &str = "work-floor.redb";
const SQLITE: &str = "work.sqlite";

/// Most of these figures take seconds each.
const ROUNDS_MAX: usize = 3;

/// Jobs of one claim, and of one completion.
const BATCH: u64 = 256;
const JOBS: u64 = 100_000;
/// A smaller tree is for trying things out: so much of it is claimed at most.
const JOBS_SHARE: u64 = 10;
const WORKERS: usize = 4;
const CLAIMS: u64 = 500;
const CLAIMS_RELAXED: u64 = 5_000;
/// The same for claims one by one.
const CLAIMS_SHARE: u64 = 2;

const BACK_FILL_RATIO_MAX: f64 = 2.0;
const PENDING_BYTES_MAX: f64 = 220.0;
const JOBS_PER_SECOND_MIN: f64 = 50_000.0;
const CLAIM_MICROS_MAX: f64 = 1_000.0;
const SHARE_PERCENT_MIN: f64 = 97.0;

struct Stage<'a> {
    bench: &'a Bench,
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let stage = Stage { bench };
    stage.prepare()?;
    let mut rows = Vec::new();
    for (name, part) in parts() {
        // A figure that fails must not cost the others.
        match part(&stage) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("treewarden-bench: work, {name}: {error}");
                rows.push(Row::failed(format!("{name}: failed"), &*error));
            }
        }
    }
    Ok(rows)
}

type Part<'a> = fn(&Stage<'a>) -> Result<Vec<Row>>;

fn parts<'a>() -> [(&'static str, Part<'a>); 7] {
    [
        ("start", Stage::start),
        ("rescan", Stage::rescan),
        ("memory", Stage::memory),
        ("claim and complete", Stage::jobs),
        ("claim latency", Stage::latency),
        ("request", Stage::request),
        ("limiter", Stage::limiter),
    ]
}

impl Stage<'_> {
    /// Writes the states that every round begins with.
    fn prepare(&self) -> Result<()> {
        let bench = self.bench;
        let scanned = bench.fresh_state(SCANNED)?;
        child::measure(child::Task::OursFirst, &scanned, &bench.tree.dir, bench.threads)?;
        self.child(Task::Make, &self.copy(SCANNED, PENDING)?, 0)?;
        eprintln!("completing every file, twice ...");
        self.child(Task::Fill, &self.copy(PENDING, DONE)?, 0)?;
        self.child(Task::FillRefreshed, &self.copy(PENDING, REFRESHED)?, 0)?;
        Ok(())
    }

    fn start(&self) -> Result<Vec<Row>> {
        const SCAN: &str = "first scan";
        let bench = self.bench;
        let files = bench.tree.files;
        let mut contenders = [
            bench.fresh_contender(child::Task::Work(Task::First), FRESH),
            bench.fresh_contender(child::Task::Work(Task::FirstBeside), FRESH),
            self.on_copy(Task::BackFill, SCANNED, 0),
            bench.contender(child::Task::OursOpen, DONE),
            self.kept(Task::Reopen, DONE),
        ];
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let first = outcome.seconds(Task::First.name());
        let beside = outcome.seconds(Task::FirstBeside.name());
        let claim = outcome.samples(Task::FirstBeside.name(), "claim_seconds");
        let back_fill = outcome.seconds(Task::BackFill.name());
        let open = outcome.seconds(child::Task::OursOpen.name());
        let reopen = outcome.seconds(Task::Reopen.name());
        let ratio = back_fill.median() / first.median();
        Ok(vec![
            Row::samples("first scan", &first, Unit::Seconds).ratio(1.0, SCAN),
            Row::samples("first scan beside an open pipeline", &beside, Unit::Seconds)
                .ratio(beside.median() / first.median(), SCAN),
            Row::samples("  then until a claim returns", &claim, Unit::Seconds),
            Row::samples(
                "back-fill: a new pipeline until the first claim returns",
                &back_fill,
                Unit::Seconds,
            )
            .ratio(ratio, SCAN)
            .at_most(ratio, BACK_FILL_RATIO_MAX, format!("{BACK_FILL_RATIO_MAX} × {SCAN}")),
            Row::samples(format!("open until the first lookup, {files} completed"), &open, Unit::Seconds)
                .ratio(1.0, "open"),
            Row::samples("  then open the pipeline until its status answers", &reopen, Unit::Seconds)
                .ratio(reopen.median() / open.median(), "open"),
        ])
    }

    fn rescan(&self) -> Result<Vec<Row>> {
        let mut contenders = [self.kept(Task::Rescan, PENDING), self.kept(Task::RescanBeside, PENDING)];
        let outcome = rounds(self.bench.runs, &mut contenders)?;
        let alone = outcome.seconds(Task::Rescan.name());
        let beside = outcome.seconds(Task::RescanBeside.name());
        Ok(vec![
            Row::samples("rescan, nothing changed", &alone, Unit::Seconds).ratio(1.0, "rescan"),
            Row::samples("rescan beside an open pipeline", &beside, Unit::Seconds)
                .ratio(beside.median() / alone.median(), "rescan"),
        ])
    }

    fn memory(&self) -> Result<Vec<Row>> {
        const STATES: [(&str, &str); 3] = [
            (PENDING, "pending"),
            (DONE, "completed, never refreshed"),
            (REFRESHED, "completed, with a time to refresh"),
        ];
        let contender = |state: &'static str| {
            Contender::new(state, move || self.child(Task::Memory, &self.bench.state(state), 0))
        };
        let mut contenders = STATES.map(|(state, _)| contender(state));
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let mut rows = Vec::new();
        for (state, what) in STATES {
            let figure = |name: &str| outcome.samples(state, name);
            let per_item = figure("rise_bytes_per_item");
            let mut row = Row::samples(format!("memory per item, {what}"), &per_item, Unit::Bytes);
            if state == PENDING {
                row = row.at_most(per_item.median(), PENDING_BYTES_MAX, Unit::Bytes.show(PENDING_BYTES_MAX));
            }
            rows.push(row);
            rows.push(Row::samples("  all items", &figure("rise_bytes"), Unit::Megabytes));
            rows.push(Row::samples("  peak while it opens", &figure("peak_rise_bytes"), Unit::Megabytes));
        }
        Ok(rows)
    }

    fn jobs(&self) -> Result<Vec<Row>> {
        const ONE: &str = "claim and complete, one thread";
        const MANY: &str = "claim and complete, many threads";
        const BARE: &str = "the time of bare redb";
        let bench = self.bench;
        let jobs = self.share(JOBS, JOBS_SHARE);
        self.child(Task::FillSqlite, &bench.fresh_state(SQLITE)?, 0)?;
        let ours = |key: &'static str, workers: usize| {
            Contender::new(key, move || {
                let db = self.copy(PENDING, &changing(PENDING))?;
                child::measure_with(child::Task::Work(Task::Jobs), &db, &bench.tree.dir, workers, jobs)
            })
        };
        let floor = Contender::new(Task::JobsBare.name(), || {
            self.child(Task::JobsBare, &bench.fresh_state(FLOOR)?, jobs)
        });
        let mut contenders =
            [ours(ONE, 1), ours(MANY, WORKERS), floor, self.on_copy(Task::JobsSqlite, SQLITE, jobs)];
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let rate = |key: &str| outcome.samples(key, "jobs_per_second");
        let seconds = |key: &str| outcome.seconds(key).median();
        let (one, bare) = (rate(ONE), seconds(Task::JobsBare.name()));
        let sqlite = seconds(Task::JobsSqlite.name());
        let what = format!("claim and complete {jobs} jobs, {BATCH} at once, durable");
        Ok(vec![
            Row::samples(what, &one, Unit::PerSecond).ratio(seconds(ONE) / bare, BARE).at_least(
                one.median(),
                JOBS_PER_SECOND_MIN,
                format!("at least {}", Unit::PerSecond.show(JOBS_PER_SECOND_MIN)),
            ),
            Row::samples(format!("  the same, {WORKERS} threads"), &rate(MANY), Unit::PerSecond)
                .ratio(seconds(MANY) / bare, BARE),
            Row::samples("  the same rows, bare redb", &rate(Task::JobsBare.name()), Unit::PerSecond)
                .ratio(1.0, BARE),
            Row::samples("  the same jobs, SQLite", &rate(Task::JobsSqlite.name()), Unit::PerSecond)
                .ratio(sqlite / seconds(ONE), "the time of ours"),
        ])
    }

    fn latency(&self) -> Result<Vec<Row>> {
        let durable = Contender::new(Task::Claims.name(), || {
            let db = self.copy(PENDING, &changing(PENDING))?;
            let floor = self.bench.fresh_state(FLOOR)?;
            let claims = self.share(CLAIMS, CLAIMS_SHARE);
            child::measure_with(child::Task::Work(Task::Claims), &db, &floor, 1, claims)
        });
        let relaxed = self.on_copy(Task::ClaimsRelaxed, PENDING, self.share(CLAIMS_RELAXED, CLAIMS_SHARE));
        let outcome = rounds(self.rounds(), &mut [durable, relaxed])?;
        let durable = |what: &str, figure: &str| {
            Row::samples(what, &outcome.samples(Task::Claims.name(), figure), Unit::Micros)
        };
        let relaxed = |what: &str, figure: &str| {
            Row::samples(what, &outcome.samples(Task::ClaimsRelaxed.name(), figure), Unit::Micros)
        };
        let p99 = outcome.samples(Task::Claims.name(), "beyond_p99_us");
        Ok(vec![
            durable("claim of one, durable, beyond a bare put, p50", "beyond_p50_us"),
            durable("claim of one, durable, beyond a bare put, p99", "beyond_p99_us").at_most(
                p99.median(),
                CLAIM_MICROS_MAX,
                Unit::Micros.show(CLAIM_MICROS_MAX),
            ),
            durable("  the bare put itself, p50", "put_p50_us"),
            durable("  the bare put beyond its own p50, p99", "put_beyond_p99_us"),
            relaxed("claim of one, relaxed, p50", "p50_us"),
            relaxed("claim of one, relaxed, p99", "p99_us"),
        ])
    }

    fn request(&self) -> Result<Vec<Row>> {
        let contender = self.on_copy(Task::Request, DONE, 0);
        let outcome = rounds(self.rounds(), &mut [contender])?;
        let figure = |name: &str| outcome.samples(Task::Request.name(), name);
        let what = format!("request of a root, {} files", self.bench.tree.files);
        Ok(vec![
            Row::samples(what, &figure("seconds"), Unit::Seconds),
            Row::samples(format!("  then a claim of {BATCH}"), &figure("claim_ms"), Unit::Millis),
            Row::samples(
                "  peak memory above the open pipeline",
                &figure("peak_rise_bytes"),
                Unit::Megabytes,
            ),
        ])
    }

    fn limiter(&self) -> Result<Vec<Row>> {
        const FAR: &str = "limiter, limit far away";
        const SHARES: [(&str, usize); 2] = [("limiter, one thread", 1), ("limiter, many threads", 16)];
        let mut contenders = vec![Contender::new(FAR, limiter::far_away)];
        for (key, threads) in SHARES {
            contenders.push(Contender::new(key, move || limiter::share(threads)));
        }
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let far = outcome.samples(FAR, "ns");
        let mut rows = vec![Row::samples("limiter: acquire and done, limit far away", &far, Unit::Nanos)];
        for (key, threads) in SHARES {
            let percent = outcome.samples(key, "percent");
            rows.push(share_row(threads, &percent));
        }
        Ok(rows)
    }

    fn rounds(&self) -> usize {
        self.bench.runs.min(ROUNDS_MAX)
    }

    /// So many of the files, and of a smaller tree no more than one in `part`.
    fn share(&self, most: u64, part: u64) -> u64 {
        most.min(self.bench.tree.files / part).max(1)
    }

    /// Runs a task on a state that it does not change.
    fn kept(&self, task: Task, state: &'static str) -> Contender<'_> {
        self.bench.contender(child::Task::Work(task), state)
    }

    /// Runs a task on a copy of a state, every round anew.
    fn on_copy(&self, task: Task, state: &'static str, count: u64) -> Contender<'_> {
        Contender::new(task.name(), move || self.child(task, &self.copy(state, &changing(state))?, count))
    }

    /// Copies a state file. The copy is on the disk: no commit of the child has to carry it there.
    fn copy(&self, from: &str, to: &str) -> Result<PathBuf> {
        let path = self.bench.fresh_state(to)?;
        fs::copy(self.bench.state(from), &path)
            .map_err(|error| format!("cannot copy `{from}` to {}: {error}", path.display()))?;
        File::open(&path)?.sync_all()?;
        Ok(path)
    }

    fn child(&self, task: Task, db: &Path, count: u64) -> Result<Record> {
        let bench = self.bench;
        child::measure_with(child::Task::Work(task), db, &bench.tree.dir, bench.threads, count)
    }
}

fn share_row(threads: usize, percent: &Samples) -> Row {
    let (limit, window_s) = (limiter::LIMIT, limiter::WINDOW.as_secs());
    let who = if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") };
    Row::samples(format!("limiter: share used of {limit} in {window_s} s, {who}"), percent, Unit::Percent)
        .at_least(
            percent.median(),
            SHARE_PERCENT_MIN,
            format!("at least {}", Unit::Percent.show(SHARE_PERCENT_MIN)),
        )
}

/// Where the copy of a state lies that a round changes.
fn changing(state: &str) -> String {
    format!("changing-{state}")
}
