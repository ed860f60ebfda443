//! P1 and P2: what was acknowledged survives SIGKILL at any instant, and commits are all or
//! nothing. The oracle is in this process; the child that works is killed.
//!
//! `N=20000` sets the number of kills (default 200), `TREEWARDEN_SEED` repeats a run's choices.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use support::generation::{self, KILL_POINTS};
use support::{HANG, Replay, Rng, Tree, env_number, within};
use treewarden::Warden;

const CHILD: &str = env!("CARGO_BIN_EXE_crash_child");

/// Kills after which everything starts afresh, so that the creation of a state file is killed too.
const KILLS_PER_FILE: u64 = 50;

#[test]
fn every_acknowledged_effect_survives_kills_at_random_instants_and_named_points() {
    let kills = env_number("N", 200);
    let seed =
        env_number("TREEWARDEN_SEED", u64::from(std::process::id()) ^ support::now_ns().unsigned_abs());
    eprintln!("crash: {kills} kills, TREEWARDEN_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut fired = [0_u64; KILL_POINTS.len()];
    let mut oracle = Oracle::new();
    for kill in 0..kills {
        if kill > 0 && kill % KILLS_PER_FILE == 0 {
            oracle = Oracle::new();
        }
        let point = rng.chance(40).then(|| rng.index(KILL_POINTS.len()));
        if oracle.work_until_killed(&mut rng, point)
            && let Some(point) = point
        {
            fired[point] += 1;
        }
        while rng.chance(25) {
            oracle.kill_while_opening(&mut rng);
        }
        oracle.check(&format!("kill {kill} of TREEWARDEN_SEED={seed}, point {point:?}"));
    }
    if kills >= 200 {
        for (name, count) in KILL_POINTS.iter().zip(fired) {
            assert!(count > 0, "nothing was ever killed at {name}: is the point still there?");
        }
    }
}

/// What the child's lines allow the state file to hold.
struct Oracle {
    dir: Tree,
    tree: Tree,
    root_acknowledged: bool,
    generation: Option<u64>,
    generation_in_flight: Option<u64>,
    batch: u64,
    cursor: u64,
    seq: u64,
    replay: Replay,
}

impl Oracle {
    fn new() -> Self {
        Self {
            dir: Tree::new(),
            tree: Tree::new(),
            root_acknowledged: false,
            generation: None,
            generation_in_flight: None,
            batch: 0,
            cursor: 0,
            seq: 0,
            replay: Replay::new(),
        }
    }

    fn db(&self) -> PathBuf {
        self.dir.join("state.tw")
    }

    fn spawn(&self, rng: &mut Rng, task: &str, point: Option<usize>) -> Running {
        let mut command = Command::new(CHILD);
        command.arg(self.db()).arg(self.tree.path()).arg(rng.bits().to_string()).arg(task);
        if let Some(point) = point {
            command.arg(KILL_POINTS[point]).arg((1 + rng.below(8)).to_string());
        }
        Running::start(&mut command)
    }

    /// Lets a child work until it dies; true when it died at its kill point, not by our hand.
    fn work_until_killed(&mut self, rng: &mut Rng, point: Option<usize>) -> bool {
        let next = self.generation.unwrap_or(0) + 1;
        let mut child = self.spawn(rng, &next.to_string(), point);
        // A kill point fires by itself; the limit is for a pass that is never reached.
        let limit = if point.is_some() { 300 } else { rng.below(25) };
        for _ in 0..limit {
            match child.line() {
                Some(line) => self.hear(&line),
                None => {
                    child.assert_killed();
                    return true;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(rng.below(4000)));
        for line in child.kill() {
            self.hear(&line);
        }
        false
    }

    /// Kills a child that does nothing but open the file, somewhere in its recovery.
    fn kill_while_opening(&self, rng: &mut Rng) {
        let mut child = self.spawn(rng, "open", None);
        std::thread::sleep(Duration::from_micros(rng.below(8000)));
        child.kill();
    }

    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "root" => self.root_acknowledged = true,
            "scanning" => self.generation_in_flight = Some(number(1)),
            "scanned" => {
                self.generation = Some(number(1));
                self.generation_in_flight = None;
                self.seq = self.seq.max(number(2));
            }
            "kv" => {
                assert_eq!(number(1), self.batch + 1, "the child does not continue where the file was");
                self.batch = number(1);
                self.seq = self.seq.max(number(2));
            }
            "ack" => self.cursor = self.cursor.max(number(1)),
            "open" | "compacted" | "maintained" => {}
            _ => panic!("the child says {line:?}"),
        }
    }

    /// Opens the file as any program would and compares.
    fn check(&mut self, when: &str) {
        let db = self.db();
        let warden = within(when, move || Warden::open(db)).unwrap_or_else(|e| panic!("{when}: open: {e}"));
        warden.check().unwrap_or_else(|e| panic!("{when}: the file fails its own check: {e}"));
        assert!(
            warden.seq() >= self.seq,
            "{when}: seq {} was acknowledged, the file is at {}",
            self.seq,
            warden.seq()
        );
        self.seq = warden.seq();
        self.check_batches(&warden, when);
        self.check_generation(&warden, when);
        self.replay.catch_up(&warden);
        self.replay.assert_matches(&warden.snapshot());
        warden.close().unwrap();
    }

    fn check_batches(&mut self, warden: &Warden, when: &str) {
        let rows = warden.space("log").unwrap().items(b"".as_slice()).unwrap();
        let numbers: Vec<u64> = rows.iter().map(|(key, _)| number_of(key)).collect();
        let last = numbers.last().copied().unwrap_or(0);
        assert!(
            last == self.batch || last == self.batch + 1,
            "{when}: batch {} was acknowledged, the file ends with {last}",
            self.batch
        );
        let first = last.saturating_sub(63).max(1);
        let expected: Vec<u64> = (first..=last).filter(|n| *n > 0).collect();
        assert_eq!(numbers, expected, "{when}: a hole in the log");
        let counter = warden.space("meta").unwrap().get(b"last".as_slice()).unwrap();
        assert_eq!(counter.map_or(0, |bytes| number_of(&bytes)), last, "{when}: half a batch: the counter");
        let worker = warden.cursor("worker").unwrap().position().unwrap();
        let noted = rows.last().map_or(0, |(_, seq)| number_of(seq));
        assert_eq!(worker, noted, "{when}: half a batch: the cursor");
        let reader = warden.cursor("reader").unwrap().position().unwrap();
        assert!(reader >= self.cursor, "{when}: {} was acknowledged, the cursor is at {reader}", self.cursor);
        (self.batch, self.cursor) = (last, reader);
    }

    fn check_generation(&mut self, warden: &Warden, when: &str) {
        assert!(
            !self.root_acknowledged || warden.roots().len() == 1,
            "{when}: the root was acknowledged and is gone"
        );
        let found =
            generation::read(&warden.snapshot()).unwrap_or_else(|e| panic!("{when}: half a scan: {e}"));
        assert!(
            found == self.generation || (found.is_some() && found == self.generation_in_flight),
            "{when}: generation {found:?}; acknowledged {:?}, in flight {:?}",
            self.generation,
            self.generation_in_flight
        );
        self.generation = found;
        self.generation_in_flight = None;
    }
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// A child and the lines it has written so far. Killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (heard, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A line without its end was cut by the kill and says nothing.
            while output.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                if heard.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(HANG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the child hangs"),
        }
    }

    fn assert_killed(&mut self) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the child failed by itself: {status}");
    }

    /// Kills and returns what was still in the pipe.
    fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.signal() == Some(9) || status.success(), "the child failed by itself: {status}");
        self.lines.iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
