//! Events that are really lost. The kernel drops events when the queue of a watcher is full, and a watcher that is awake empties it too
//! fast for that to be relied upon. So a helper stops the whole watching process, makes more events than the queue takes, and lets it
//! go on. They are made in a second root: the queue is one for all roots, so that what was lost may have been anywhere, and the big
//! tree is scanned again although nothing in it was touched.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process};
use treewarden::{Walker, Warden, WatchBackend};

use crate::Result;
use crate::child;
use crate::measure::{Record, record};
use crate::ours::{self, ROOT};

use super::task::Task;
use super::watched::{self, CAP};

const SECOND: &str = "second";
const QUEUE_FILE: &str = "/proc/sys/fs/inotify/max_queued_events";
/// A longer queue than this is not filled in a time that anybody wants to wait.
const QUEUE_MAX: u64 = 1_000_000;
/// What the helper says when the queue has run over.
const DONE: &str = "lost";
/// Until every thread of a process has stopped.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// The queue's length, if it can be made to run over here.
pub(super) fn queue() -> std::result::Result<u64, String> {
    let text = fs::read_to_string(QUEUE_FILE).map_err(|error| format!("{QUEUE_FILE}: {error}"))?;
    let events: u64 = text.trim().parse().map_err(|_| format!("{QUEUE_FILE} holds no number"))?;
    if events > QUEUE_MAX { Err(format!("{QUEUE_FILE} is {events}")) } else { Ok(events) }
}

/// Watches the big tree, which the state file knows, and `dir` as a second root, and lets events be lost.
pub(super) fn overflow(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let warden = Warden::open(db)?;
    if warden.roots().iter().all(|root| root.name != SECOND) {
        warden.add_root(SECOND, dir)?;
        ours::scan(&warden, SECOND, threads, Walker::Fd)?;
    }
    watched::watch(&warden, &watched::options(WatchBackend::Auto, threads))?;
    watched::watched_dirs(&warden)?;
    let before = overflows(&warden)?;

    let own_pid = u64::from(std::process::id());
    let mut helper = child::command(child::Task::Live(Task::Stall), db, dir, threads, own_pid)?
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut output = BufReader::new(helper.stdout.take().ok_or("the helper has no output")?);
    let mut line = String::new();
    // This process stands still in here, and goes on with the line already written.
    let read = output.read_line(&mut line);
    let start = Instant::now();
    let synced = warden.sync(CAP);
    let seconds = start.elapsed().as_secs_f64();
    let status = helper.wait()?;
    read?;
    if line.trim_end() != DONE || !status.success() {
        return Err(format!("the helper that makes events failed: {status}").into());
    }
    synced?;
    if overflows(&warden)? == before {
        return Err("events were lost, but the status does not say so".into());
    }
    watched::watched_dirs(&warden)?;
    Ok(record([("seconds", seconds)]))
}

/// How often events of the big tree were lost.
fn overflows(warden: &Warden) -> Result<u64> {
    let live = warden.status()?.live.ok_or("the status says that nothing is watched")?;
    let root = live.roots.iter().find(|root| root.root == ROOT);
    Ok(root.ok_or("the status does not list the tree")?.overflows)
}

/// The helper: stops its parent, which must be the process `parent`, renames a file in `dir` to and fro, and lets the parent go on.
pub(super) fn stall(dir: &Path, parent: u64) -> Result<Record> {
    let pid = getppid().ok_or("the helper has no parent")?;
    if u64::try_from(pid.as_raw_pid()).ok() != Some(parent) {
        return Err("the process that started the helper is gone".into());
    }
    let renames = queue()? + 1;
    let names = [dir.join("left"), dir.join("right")];
    let begun = Instant::now();
    {
        let stopped = Stopped::new(pid)?;
        stopped.wait()?;
        fs::write(&names[0], "")?;
        // Two events each, and never two alike in a row: those would become one.
        for turn in 0..renames {
            let from = (turn % 2) as usize;
            fs::rename(&names[from], &names[1 - from])?;
        }
        fs::remove_file(&names[(renames % 2) as usize])?;
        println!("{DONE}");
        std::io::stdout().flush()?;
    }
    Ok(record([("seconds", begun.elapsed().as_secs_f64())]))
}

/// A process that stands still until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Result<Stopped> {
        kill_process(pid, Signal::STOP)?;
        Ok(Stopped(pid))
    }

    /// Waits until no thread of it runs any more.
    fn wait(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < STOPPED_WITHIN {
            if all_stopped(Path::new(&format!("/proc/{}/task", self.0.as_raw_pid())))? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err("the watching process does not stop".into())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = kill_process(self.0, Signal::CONT) {
            eprintln!("cannot let process {} go on: {error}", self.0.as_raw_pid());
        }
    }
}

/// Whether every thread listed in a `/proc/PID/task` is stopped.
fn all_stopped(tasks: &Path) -> Result<bool> {
    for task in fs::read_dir(tasks)? {
        // A thread that has just ended says nothing: look again.
        let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        if state_of(&stat) != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The state in a line of `/proc/PID/stat`. The name before it is in brackets and may hold anything, brackets too.
fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_after_the_last_bracket() {
        assert_eq!(state_of("12 (treewarden) S 1 12 12 0"), Some('S'));
        assert_eq!(state_of("12 (odd) T (name) T 1 12 12 0"), Some('T'));
        assert_eq!(state_of(""), None);
    }
}
