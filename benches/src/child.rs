//! Measuring in a process of its own: the harness starts itself with a hidden command, the child measures inside itself and prints one
//! record. Both ends of that are here.

use std::path::Path;
use std::process::{Command, Stdio};

use treewarden::Walker;

use crate::Result;
use crate::measure::{Record, parse_record};
use crate::{bindings, live, mirror, ours, peers, redb_rows, sqlite_rows, work};

/// Random lookups of one run.
const LOOKUPS: usize = 200_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    OursFirst,
    OursAgainFd,
    OursAgainJwalk,
    OursOpen,
    OursReadAll,
    OursLookup,
    Walkdir,
    Jwalk,
    RedbFirst,
    RedbAgain,
    RedbReadAll,
    RedbLookup,
    SqliteFirst,
    SqliteAgain,
    SqliteReadAll,
    SqliteLookup,
    Work(work::Task),
    Bindings(bindings::Task),
    Mirror(mirror::Task),
    Live(live::Task),
}

impl Task {
    /// All but those of the groups `work`, `bindings`, `mirror` and `live`, which list their own.
    const PLAIN: [Task; 16] = [
        Task::OursFirst,
        Task::OursAgainFd,
        Task::OursAgainJwalk,
        Task::OursOpen,
        Task::OursReadAll,
        Task::OursLookup,
        Task::Walkdir,
        Task::Jwalk,
        Task::RedbFirst,
        Task::RedbAgain,
        Task::RedbReadAll,
        Task::RedbLookup,
        Task::SqliteFirst,
        Task::SqliteAgain,
        Task::SqliteReadAll,
        Task::SqliteLookup,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::OursFirst => "ours-first",
            Task::OursAgainFd => "ours-again-fd",
            Task::OursAgainJwalk => "ours-again-jwalk",
            Task::OursOpen => "ours-open",
            Task::OursReadAll => "ours-read-all",
            Task::OursLookup => "ours-lookup",
            Task::Walkdir => "walkdir",
            Task::Jwalk => "jwalk",
            Task::RedbFirst => "redb-first",
            Task::RedbAgain => "redb-again",
            Task::RedbReadAll => "redb-read-all",
            Task::RedbLookup => "redb-lookup",
            Task::SqliteFirst => "sqlite-first",
            Task::SqliteAgain => "sqlite-again",
            Task::SqliteReadAll => "sqlite-read-all",
            Task::SqliteLookup => "sqlite-lookup",
            Task::Work(task) => task.name(),
            Task::Bindings(task) => task.name(),
            Task::Mirror(task) => task.name(),
            Task::Live(task) => task.name(),
        }
    }

    fn named(name: &str) -> Option<Task> {
        Task::all().find(|task| task.name() == name)
    }

    fn all() -> impl Iterator<Item = Task> {
        let work = work::Task::ALL.into_iter().map(Task::Work);
        let bindings = bindings::Task::ALL.into_iter().map(Task::Bindings);
        let mirror = mirror::Task::ALL.into_iter().map(Task::Mirror);
        let live = live::Task::ALL.into_iter().map(Task::Live);
        Task::PLAIN.into_iter().chain(work).chain(bindings).chain(mirror).chain(live)
    }

    fn measure(self, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
        match self {
            Task::OursFirst => ours::first(db, dir, threads),
            Task::OursAgainFd => ours::again(db, threads, Walker::Fd),
            Task::OursAgainJwalk => ours::again(db, threads, Walker::Jwalk),
            Task::OursOpen => ours::open(db),
            Task::OursReadAll => ours::read_all(db),
            Task::OursLookup => ours::lookup(db, LOOKUPS),
            Task::Walkdir => peers::walkdir(dir),
            Task::Jwalk => peers::jwalk(dir, threads),
            Task::RedbFirst => redb_rows::first(db, dir, threads),
            Task::RedbAgain => redb_rows::again(db, dir, threads),
            Task::RedbReadAll => redb_rows::read_all(db),
            Task::RedbLookup => redb_rows::lookup(db, LOOKUPS),
            Task::SqliteFirst => sqlite_rows::first(db, dir, threads),
            Task::SqliteAgain => sqlite_rows::again(db, dir, threads),
            Task::SqliteReadAll => sqlite_rows::read_all(db),
            Task::SqliteLookup => sqlite_rows::lookup(db, LOOKUPS),
            Task::Work(task) => task.measure(db, dir, threads, count),
            Task::Bindings(task) => task.measure(db, dir, count),
            Task::Mirror(task) => task.measure(db, dir, threads, count),
            Task::Live(task) => task.measure(db, dir, threads, count),
        }
    }
}

/// The harness's end: runs the task in a fresh process.
pub(crate) fn measure(task: Task, db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    measure_with(task, db, dir, threads, 0)
}

/// The same for a task that needs a number too.
pub(crate) fn measure_with(task: Task, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
    let output = command(task, db, dir, threads, count)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the child process failed: {}", output.status).into());
    }
    parse_record(&output.stdout)
}

/// This program with the hidden command that runs a task.
pub(crate) fn command(task: Task, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", task.name()])
        .args([db, dir])
        .args([threads.to_string(), count.to_string()])
        .stdin(Stdio::null());
    Ok(command)
}

/// The child's end.
pub(crate) fn run(name: &str, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<()> {
    let task = Task::named(name).ok_or_else(|| format!("unknown task `{name}`"))?;
    let record = task.measure(db, dir, threads, count).map_err(|error| format!("{name}: {error}"))?;
    // A figure that this system does not tell is left out: JSON has no NaN.
    let record: Record = record.into_iter().filter(|(_, value)| value.is_finite()).collect();
    println!("{}", serde_json::to_string(&record)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_found_by_its_name() {
        for task in Task::all() {
            assert_eq!(Task::named(task.name()), Some(task));
        }
        assert_eq!(Task::named("nonsense"), None);
    }
}
