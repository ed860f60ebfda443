//! P9: work is done at least once, and no more often than the kills explain. A child that works on a
//! pipeline is killed at random instants and at named points; the oracle is in this process.
//!
//! `N=20000` makes a tenth as many kills (default 20) as of the whole engine; `TREEWARDEN_SEED`
//! repeats a run's choices.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::time::Duration;

use support::generation::KILL_POINTS;
use support::work::{finish, plain};
use support::{Rng, Talk, World, address, env_number, show};
use treewarden::{Pipeline, Retry, Walker, WorkState};

const CHILD: &str = env!("CARGO_BIN_EXE_work_child");
const FILES: usize = 60;

#[test]
fn acknowledged_work_survives_kills_and_nothing_is_lost_or_done_without_need() {
    let kills = env_number("N", 200).div_ceil(10);
    let seed =
        env_number("TREEWARDEN_SEED", u64::from(std::process::id()) ^ support::now_ns().unsigned_abs());
    eprintln!("work_crash: {kills} kills, TREEWARDEN_SEED={seed}");
    let mut oracle = Oracle::new(Rng::new(seed));
    for kill in 0..kills {
        let when = format!("kill {kill} of TREEWARDEN_SEED={seed}");
        oracle.edit();
        oracle.work_until_killed(kill, &when);
        oracle.check(&when);
    }
    oracle.finish();
}

/// What is known of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// It is to be done: new, edited, given back or failed.
    Open,
    /// The child that runs has begun.
    Begun,
    /// A child that had begun was killed: it may be done, or not.
    Cut,
    /// The engine has said that it is done.
    Done,
}

struct Oracle {
    rng: Rng,
    world: World,
    files: BTreeMap<String, Last>,
    tokens: HashSet<String>,
}

impl Oracle {
    fn new(rng: Rng) -> Self {
        let mut world = World::new(Walker::Auto, |t| {
            for n in 0..FILES {
                t.file(format!("d{}/f{n}", n % 7), "x");
            }
        });
        world.scan();
        // Nothing dies here, however often it fails and whoever is killed over it.
        let retry = Retry { attempts_max: 1_000, ..Retry::default() };
        let options = plain().settle_ms(0).crashes_max(0).retry(retry);
        world.warden().pipeline_with("p", &options).unwrap();
        let files = world.ls().into_iter().map(|rel| (show(&address(rel)), Last::Open)).collect();
        world.close();
        Self { rng, world, files, tokens: HashSet::new() }
    }

    /// Makes new work, and a scan that finds it.
    fn edit(&mut self) {
        self.world.open();
        for (path, last) in &mut self.files {
            if self.rng.chance(30) {
                self.world.tree.append(&path["root/".len()..], "y");
                *last = Last::Open;
            }
        }
        self.world.scan();
        self.world.close();
    }

    fn work_until_killed(&mut self, kill: u64, when: &str) {
        let log = self.world.state.join(format!("log-{kill}"));
        let db = self.world.state_file();
        let seed = self.rng.bits().to_string();
        let points: Vec<&str> =
            KILL_POINTS.iter().copied().filter(|point| point.starts_with("commit:")).collect();
        let point = if self.rng.chance(40) { self.rng.pick(&points).copied() } else { None };
        let pass = (1 + self.rng.below(20)).to_string();
        let mut args: Vec<&OsStr> = vec![db.as_os_str(), log.as_os_str(), OsStr::new(&seed)];
        if let Some(point) = point {
            args.extend([OsStr::new(point), OsStr::new(&pass)]);
        }
        let mut child = Talk::start(CHILD, &args);
        // A kill point fires by itself; the limit is for a pass that is never reached.
        let limit = if point.is_some() { 400 } else { self.rng.below(50) };
        let mut heard = 0;
        while heard < limit && child.line().is_some() {
            heard += 1;
        }
        std::thread::sleep(Duration::from_micros(self.rng.below(4_000)));
        child.kill();
        self.read(&fs::read_to_string(&log).unwrap_or_default(), when);
    }

    /// What the child has written; a line without its end was cut by the kill and says nothing.
    fn read(&mut self, log: &str, when: &str) {
        for line in log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, path, token] = words[..] else { panic!("{when}: the child says {line:?}") };
            let last = self.files.get_mut(path).unwrap_or_else(|| panic!("{when}: {line}: no such file"));
            *last = match (what, *last) {
                ("begin", Last::Open | Last::Cut) => {
                    assert!(self.tokens.insert(token.to_owned()), "{when}: {line}: an old token");
                    Last::Begun
                }
                ("back", Last::Begun) => Last::Open,
                ("done", Last::Begun) => Last::Done,
                (_, last) => panic!("{when}: {line}, but it was {last:?}"),
            };
        }
        for last in self.files.values_mut().filter(|last| **last == Last::Begun) {
            *last = Last::Cut;
        }
    }

    /// Opens the file as any program would and compares.
    fn check(&mut self, when: &str) {
        self.world.open();
        let warden = self.world.warden();
        warden.check().unwrap_or_else(|e| panic!("{when}: the file fails its own check: {e}"));
        let pipeline = warden.pipeline("p").unwrap();
        let found = states(&pipeline);
        assert_eq!(found.len(), FILES, "{when}: files");
        for (path, last) in &self.files {
            let state = found.get(path).unwrap_or_else(|| panic!("{when}: {path} is lost"));
            let is_to_be_done = matches!(state, WorkState::New | WorkState::Changed | WorkState::Error);
            let fits = match last {
                Last::Open => is_to_be_done,
                Last::Done => *state == WorkState::Indexed,
                Last::Cut => is_to_be_done || *state == WorkState::Indexed,
                Last::Begun => false,
            };
            assert!(fits, "{when}: {path} is {}, the last was {last:?}", state.name());
        }
        let status = pipeline.status().unwrap();
        assert_eq!((status.processing, status.dead), (0, 0), "{when}: {status:?}");
        self.world.close();
    }

    /// Does what is left.
    fn finish(&mut self) {
        self.world.open();
        let pipeline = self.world.warden().pipeline("p").unwrap();
        let mut left: Vec<String> = self
            .files
            .iter()
            .filter(|(_, last)| **last == Last::Open)
            .map(|(path, _)| path.clone())
            .collect();
        for name in finish(&pipeline) {
            let path = format!("root/{name}");
            assert!(self.files[&path] != Last::Done, "{path} was done, and is handed out again");
            left.retain(|other| *other != path);
        }
        assert!(left.is_empty(), "never handed out again: {left:?}");
        assert!(states(&pipeline).values().all(|state| *state == WorkState::Indexed));
        assert!(finish(&pipeline).is_empty());
        self.world.warden().check().unwrap();
    }
}

fn states(pipeline: &Pipeline) -> BTreeMap<String, WorkState> {
    let items = pipeline.list("", None, usize::MAX).unwrap();
    items.into_iter().map(|item| (show(&item.path), item.state)).collect()
}
