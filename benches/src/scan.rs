//! Group `scan`: what finding all changes costs, and what keeping the state costs in memory and on disk.

use crate::Result;
use crate::bench::Bench;
use crate::child::{self, Task};
use crate::measure::{Contender, rounds};
use crate::peers;
use crate::row::{Row, Unit};

/// Written once and rescanned, opened and read by every round.
const KEPT: &str = "scan.tw";
const FRESH: &str = "first.tw";

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let dir = &bench.tree.dir;
    child::measure(Task::OursFirst, &bench.fresh_state(KEPT)?, dir, bench.threads)?;
    // As a program leaves it: the size is that of the file after the first scan and a clean close.
    let state_bytes = bench.state_bytes(KEPT)?;

    let fd = peers::fd_program();
    let mut contenders = vec![
        bench.floor_contender(),
        bench.contender(Task::OursAgainFd, KEPT),
        bench.contender(Task::OursAgainJwalk, KEPT),
        bench.fresh_contender(Task::OursFirst, FRESH),
        bench.contender(Task::OursOpen, KEPT),
        Contender::new("find", || peers::find(dir)),
        bench.contender(Task::Walkdir, KEPT),
        bench.contender(Task::Jwalk, KEPT),
    ];
    if let Some(program) = fd {
        contenders.push(Contender::new("fd", move || peers::fd(program, dir, bench.threads)));
    }
    let outcome = rounds(bench.runs, &mut contenders)?;

    let floor = outcome.seconds("floor").median();
    let timed = |what: &str, key: &str| {
        let seconds = outcome.seconds(key);
        Row::samples(what, &seconds, Unit::Seconds).ratio(seconds.median() / floor, "floor")
    };
    let limited = |what: &str, task: Task, limit: f64| {
        let ratio = outcome.seconds(task.name()).median() / floor;
        timed(what, task.name()).at_most(ratio, limit, format!("{limit} × floor"))
    };
    let figure = |task: Task, name: &str| outcome.samples(task.name(), name);

    let written = figure(Task::OursAgainFd, "written_call_bytes");
    let resident = figure(Task::OursOpen, "resident_bytes");
    let rise = figure(Task::OursAgainFd, "peak_rise_bytes");
    let files = bench.tree.files.max(1) as f64;
    let beside_names = (state_bytes - bench.tree.name_bytes as f64) / files;

    let mut rows = vec![
        timed("floor: getdents64 + statx in C", "floor"),
        limited("rescan, nothing changed", Task::OursAgainFd, 1.25),
        Row::samples("  bytes written by it", &written, Unit::Bytes).at_most(written.most(), 0.0, "0 bytes"),
        Row::samples("  peak memory above the open state", &rise, Unit::Megabytes).at_most(
            rise.median(),
            40e6,
            "40 MB",
        ),
        timed("rescan, nothing changed, walker jwalk", Task::OursAgainJwalk.name()),
        limited("first scan, durable and published", Task::OursFirst, 2.0),
        Row::samples("  peak memory of it", &figure(Task::OursFirst, "peak_bytes"), Unit::Megabytes),
        Row::samples(
            "  bytes written by it",
            &figure(Task::OursFirst, "written_call_bytes"),
            Unit::Megabytes,
        ),
        limited("open until the first lookup", Task::OursOpen, 0.3),
        Row::samples("  resident memory, snapshot open", &resident, Unit::Megabytes).at_most(
            resident.median(),
            resident_limit(bench.tree.files),
            format!("{:.0} MB", resident_limit(bench.tree.files) / 1e6),
        ),
        Row::value("state file", state_bytes, Unit::Megabytes),
        Row::value("  bytes per file, beside its name", beside_names, Unit::Bytes).at_most(
            beside_names,
            60.0,
            "60 B",
        ),
        timed("find -printf", "find"),
        timed("walkdir + metadata, 1 thread", Task::Walkdir.name()),
        timed("jwalk + metadata", Task::Jwalk.name()),
    ];
    rows.push(match fd {
        Some(program) => timed(&format!("{program} with a time filter"), "fd"),
        None => Row::note("fd with a time filter", "not installed"),
    });
    Ok(rows)
}

/// 150 MB for a million files; a smaller tree is not asked for less than 20 MB, the program itself.
fn resident_limit(files: u64) -> f64 {
    (150.0 * files as f64).max(20e6)
}
