//! Random steps of consumers, users and programs over two pipelines, on a clock that the test moves, also
//! backwards. After each of them states, counts and what is handed out are compared with a naive reference,
//! [`crate::work_reference`].
//!
//! `TREEWARDEN_STEPS` sets the number of steps (default 2000). Every episode prints its seed;
//! `TREEWARDEN_SEED=N` runs that one episode again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use support::live::tomorrow;
use support::work::{HOUR_MS, MINUTE_MS, ns};
use support::{ROOT, Rng, Setup, Tree, World, address, env_number, refused, show};
use treewarden::{
    Clock, Completion, ContentHash, Durability, ErrorKind, Failed, Priority, RequestReport, RootOptions,
    ScanOptions, Walker, WorkState,
};

use crate::work_reference::{ATTEMPTS_MAX, BASE_MS, CAP_MS, Failure, Key, Lease, Side, Verdict};

const EPISODE_STEPS: u64 = 200;
const REFRESH_MS: u64 = HOUR_MS / 2;

#[test]
fn pipelines_equal_a_naive_reference_after_random_steps() {
    let steps = env_number("TREEWARDEN_STEPS", 2000);
    if std::env::var_os("TREEWARDEN_SEED").is_some() {
        Episode::new(env_number("TREEWARDEN_SEED", 0)).run(EPISODE_STEPS);
        return;
    }
    let mut seeds = Rng::new(support::now_ns().unsigned_abs());
    for _ in 0..steps.div_ceil(EPISODE_STEPS) {
        Episode::new(seeds.bits()).run(EPISODE_STEPS);
    }
}

struct Episode {
    seed: u64,
    rng: Rng,
    world: World,
    clock: Clock,
    start_ns: i64,
    /// The latest time that there has been.
    high_ns: i64,
    away: Tree,
    names_away: Vec<String>,
    made: u64,
    sides: Vec<Side>,
    log: Vec<String>,
}

impl Drop for Episode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.log.iter().rev().take(40).rev() {
                eprintln!("  {line}");
            }
            eprintln!("work_model: run again with TREEWARDEN_SEED={}", self.seed);
        }
    }
}

impl Episode {
    fn new(seed: u64) -> Self {
        eprintln!("work_model: TREEWARDEN_SEED={seed}");
        let mut rng = Rng::new(seed);
        let hash = if rng.chance(50) { ContentHash::Changed } else { ContentHash::Off };
        let clock = tomorrow();
        let world = Setup::new(Walker::Auto)
            .root(RootOptions::new().content_hash(hash))
            .options(|o| o.durability(Durability::Relaxed))
            .clock(&clock)
            .build(|t| {
                t.file("anchor", "stays");
            });
        let side = |name, is_grouped, concurrency, lease_ms, refresh_ms| Side {
            name,
            is_grouped,
            concurrency,
            lease_ms,
            refresh_ms,
            version: 1,
            present: BTreeMap::new(),
            records: BTreeMap::new(),
            pipeline: None,
            jobs: Vec::new(),
            tokens: BTreeSet::new(),
        };
        let sides = vec![side("files", false, 6, MINUTE_MS, REFRESH_MS), side("groups", true, 0, 30_000, 0)];
        let start_ns = clock.now_ns();
        let (away, names_away) = (Tree::new(), Vec::new());
        let (made, log, high_ns) = (0, Vec::new(), start_ns);
        Self { seed, rng, world, clock, start_ns, high_ns, away, names_away, made, sides, log }
    }

    fn run(mut self, steps: u64) {
        (0..8).for_each(|_| self.create());
        self.open();
        for _ in 0..steps {
            let side = self.rng.index(2);
            match self.rng.below(100) {
                0..=21 => self.change_files(),
                22..=45 => self.claim(side),
                46..=79 => self.end_a_job(side),
                80..=85 => self.ask(side),
                86..=88 => self.retry(side),
                89..=95 => self.move_clock(),
                96 => self.raise_version(side),
                97 | 98 => self.reopen(),
                _ => self.complete_all(side),
            }
            self.compare();
        }
        self.world.warden().check().unwrap();
    }

    fn note(&mut self, line: String) {
        self.log.push(line);
    }

    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn compare(&mut self) {
        let now_ns = self.now_ns();
        self.high_ns = self.high_ns.max(now_ns);
        let is_back = now_ns < self.high_ns;
        self.sides.iter_mut().for_each(|side| side.compare(now_ns, is_back));
    }

    fn open(&mut self) {
        for side in &mut self.sides {
            side.pipeline = Some(self.world.warden().pipeline_with(side.name, &side.options()).unwrap());
        }
        self.scan();
    }

    /// Leases do not outlive the process.
    fn reopen(&mut self) {
        self.note("REOPEN".to_owned());
        for side in &mut self.sides {
            side.jobs.clear();
            side.pipeline = None;
            side.records.values_mut().for_each(|record| record.lease = None);
        }
        self.world.reopen();
        self.open();
    }

    fn move_clock(&mut self) {
        let forward = [1, 1_000, 29_999, 31_000, MINUTE_MS, 5 * MINUTE_MS, 31 * MINUTE_MS, 3 * HOUR_MS];
        if self.rng.chance(25) {
            let back_ns = ns([1_000, 2 * MINUTE_MS, HOUR_MS][self.rng.index(3)]);
            self.clock.set_ns((self.now_ns() - back_ns).max(self.start_ns));
        } else {
            self.clock.advance_ms(forward[self.rng.index(forward.len())]);
        }
        self.note(format!("clock {}", self.now_ns() - self.start_ns));
    }

    // ---- the tree

    fn scan(&mut self) {
        let report = self.world.scan_as(ScanOptions::accept_missing);
        assert!(report.is_clean(), "{report:?}");
        let now_ns = self.now_ns();
        for side in &mut self.sides {
            side.look(&self.world, now_ns);
        }
    }

    fn change_files(&mut self) {
        for _ in 0..=self.rng.below(3) {
            match self.rng.below(10) {
                0..=2 => self.create(),
                3..=5 => self.edit(),
                6 => self.delete(),
                7 => self.rename(),
                8 => self.move_away(),
                _ => self.move_back(),
            }
        }
        self.note("SCAN".to_owned());
        self.scan();
    }

    /// A path that there never was.
    fn fresh(&mut self) -> String {
        self.made += 1;
        let dir = ["", "d0/", "d1/", "d2/", "d2/deep/"][self.rng.index(5)];
        format!("{dir}f{}", self.made)
    }

    fn create(&mut self) {
        if self.world.snapshot().len() > 40 {
            return self.delete();
        }
        let path = self.fresh();
        self.note(format!("create {path}"));
        self.world.tree.file(&path, vec![b'x'; usize::try_from(self.made).unwrap()]);
    }

    /// A file that is on the disk. One that goes is none that somebody asks for before it was ever done:
    /// what becomes of such a request is not said.
    fn choose(&mut self, goes: bool) -> Option<String> {
        let is_asked = |path: &String| {
            let address = address(path);
            self.sides.iter().any(|side| {
                let is_asked = |key: &Key| side.records[key].is_asked && side.records[key].done.is_none();
                side.present.iter().any(|(key, it)| it.files.contains(&address) && is_asked(key))
            })
        };
        let there = |path: &String| self.world.tree.join(path).exists() && path != "anchor";
        let known = self.world.ls().into_iter().filter(there).filter(|path| !goes || !is_asked(path));
        let known: Vec<String> = known.collect();
        self.rng.pick(&known).cloned()
    }

    fn edit(&mut self) {
        let Some(path) = self.choose(false) else { return };
        self.made += 1;
        let how = self.rng.below(5);
        self.note(format!("edit {path} {how}"));
        let content = vec![b'x'; usize::try_from(self.made).unwrap()];
        let tree = &self.world.tree;
        match how {
            0 => tree.append(&path, "y"),
            1 => tree.replace(&path, content),
            2 => tree.set_mtime(&path, 1_000_000_000 * i64::try_from(self.made).unwrap()),
            3 => tree.chmod(&path, 0o600 + u32::try_from(self.made % 2).unwrap() * 0o44),
            _ => tree.file(&path, content),
        };
    }

    fn delete(&mut self) {
        let Some(path) = self.choose(true) else { return };
        self.note(format!("delete {path}"));
        self.world.tree.remove(&path);
    }

    fn rename(&mut self) {
        let (Some(path), to) = (self.choose(true), self.fresh()) else { return };
        self.note(format!("rename {path} {to}"));
        self.world.tree.rename(&path, &to);
    }

    fn move_away(&mut self) {
        let Some(path) = self.choose(true) else { return };
        self.note(format!("away {path}"));
        self.world.tree.move_to(&path, &self.away, &path);
        self.names_away.push(path);
    }

    fn move_back(&mut self) {
        let Some(path) = self.names_away.pop() else { return };
        self.note(format!("back {path}"));
        self.away.move_to(&path, &self.world.tree, &path);
    }

    // ---- the consumers

    fn claim(&mut self, side: usize) {
        let (most, now_ns) = (1 + self.rng.index(5), self.now_ns());
        let is_exact = now_ns >= self.high_ns;
        self.note(format!("claim {most} of {side}"));
        self.sides[side].claim(most, now_ns, is_exact);
    }

    /// Ends or renews one of the jobs, the lease of which may have been lost long ago.
    fn end_a_job(&mut self, side: usize) {
        let now_ns = self.now_ns();
        let at = self.rng.index(self.sides[side].jobs.len());
        if self.sides[side].jobs.is_empty() {
            return self.claim(side);
        }
        let (key, mut job) = self.sides[side].jobs.swap_remove(at);
        let (how, token) = (self.rng.below(12), job.token());
        self.note(format!("end {key:?} of {side}: {how}"));
        let side = &mut self.sides[side];
        let wait_ms = [0, 1, 45_000, 10 * MINUTE_MS][self.rng.index(4)];
        let wait = Duration::from_millis(wait_ms);
        let (answer, is_good) = match how {
            0..=4 => {
                let attr = token.to_le_bytes().to_vec();
                job.attrs_mut().insert("done".to_owned(), attr.clone());
                (job.complete_with(&Completion::new()), side.completed(&key, token, attr, now_ns))
            }
            5..=7 => {
                let lease = side.end(&key, token, true);
                let attempts = lease.as_ref().map_or(0, |lease| lease.attempt);
                let twice_ms = BASE_MS << attempts.saturating_sub(1);
                let (failed, wait_ms) = match how {
                    5 => (Failed::permanent("permanent"), twice_ms.min(CAP_MS)),
                    6 => (Failed::transient("transient"), twice_ms.min(CAP_MS)),
                    _ => (Failed::transient("with a wait").retry_after(wait), wait_ms),
                };
                let is_good = lease.is_some();
                if let Some(Lease { of, version, .. }) = lease {
                    let is_dead = how == 5 || attempts >= ATTEMPTS_MAX;
                    let again_ns = now_ns + ns(wait_ms);
                    let failure = Failure { of, version, attempts, again_ns, is_dead };
                    side.records.get_mut(&key).unwrap().failure = Some(failure);
                }
                (job.fail(&failed), is_good)
            }
            8 => {
                let is_good = side.end(&key, token, true).is_some();
                if is_good {
                    side.records.get_mut(&key).unwrap().not_before_ns = now_ns + ns(wait_ms);
                }
                (job.snooze(wait), is_good)
            }
            9 => (job.release(), side.end(&key, token, false).is_some()),
            10 => {
                let answer = job.renew();
                let until_ns = now_ns + ns(side.lease_ms);
                let lease = side.records.get_mut(&key).unwrap().lease.as_mut();
                let is_good = lease.is_some_and(|lease| {
                    let is_it = lease.token == token;
                    lease.until_ns = if is_it { until_ns } else { lease.until_ns };
                    is_it
                });
                side.jobs.push((key, job));
                (answer, is_good)
            }
            // Nobody answers.
            _ => return,
        };
        match is_good {
            true => answer.unwrap(),
            false => drop(refused("a lease that was lost", answer, &[ErrorKind::LeaseLost])),
        }
    }

    fn complete_all(&mut self, side: usize) {
        self.note(format!("complete all of {side}"));
        let now_ns = self.now_ns();
        let side = &mut self.sides[side];
        let (mut jobs, mut good) = (Vec::new(), Vec::new());
        for (key, mut job) in std::mem::take(&mut side.jobs) {
            let attr = job.token().to_le_bytes().to_vec();
            job.attrs_mut().insert("done".to_owned(), attr.clone());
            good.push(side.completed(&key, job.token(), attr, now_ns));
            jobs.push(job);
        }
        let answers = side.pipeline().complete_many(jobs).unwrap();
        let found: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(found, good, "{}", side.name);
    }

    // ---- the users

    /// Asks for everything, or for one item by its address.
    fn ask(&mut self, side: usize) {
        let (now_ns, is_exact) = (self.now_ns(), self.now_ns() >= self.high_ns);
        let is_one = self.rng.chance(75);
        let side = &mut self.sides[side];
        let visible = side.visible(now_ns);
        let there: Vec<&Key> = visible.iter().filter(|key| side.present.contains_key(*key)).collect();
        let one: Option<Key> = self.rng.pick(&there).filter(|_| is_one).map(|key| (*key).clone());
        let what = one.as_ref().map(|key| side.present[key].address.clone()).unwrap_or_default();
        let had_it =
            |key: &Key| !side.present.contains_key(key) && side.records[key].addresses.contains(&what);
        if one.is_some() && visible.iter().any(had_it) {
            // It would be asked for as well: what is gone is named by one of its addresses.
            return;
        }
        let keys = one.map_or(visible, |key| vec![key]);
        let is_cleaned = |key: &Key| {
            let of_nothing = side.records[key].lease.as_ref().is_some_and(|lease| lease.of.is_none());
            of_nothing || side.judge(key, now_ns).is_none()
        };
        if keys.iter().any(is_cleaned) {
            // What becomes of a request for what is about to be forgotten is not said.
            return;
        }
        let mut wanted = RequestReport::default();
        for key in &keys {
            let is_due = side.due(key, now_ns).is_some();
            let record = side.records.get_mut(key).unwrap();
            let count = match (&mut record.lease, record.is_asked, is_due) {
                (Some(lease), ..) => {
                    lease.asked_again = true;
                    &mut wanted.will_rerun
                }
                (None, true, _) => &mut wanted.merged,
                (None, false, true) => &mut wanted.promoted,
                (None, false, false) => &mut wanted.added,
            };
            *count += 1;
            record.is_asked = true;
        }
        let found = side.pipeline().request(&what, Priority::Critical).unwrap();
        let sum = found.added + found.merged + found.promoted + found.will_rerun;
        assert_eq!(sum, keys.len() as u64, "{}: {}", side.name, show(&what));
        assert!(!is_exact || found == wanted, "{}: {found:?}, should be {wanted:?}", side.name);
        let line = format!("ask {} for `{}`", side.name, show(&what));
        self.note(line);
    }

    fn retry(&mut self, side: usize) {
        self.note(format!("retry {side}"));
        let now_ns = self.now_ns();
        let side = &mut self.sides[side];
        let is_error = |verdict: Option<Verdict>| verdict.is_some_and(|v| v.state == WorkState::Error);
        let mut keys = side.visible(now_ns);
        keys.retain(|key| side.records[key].lease.is_none() && is_error(side.judge(key, now_ns)));
        assert_eq!(side.pipeline().retry(ROOT).unwrap(), keys.len() as u64, "{}", side.name);
        for key in keys {
            let record = side.records.get_mut(&key).unwrap();
            (record.failure, record.not_before_ns) = (None, 0);
        }
    }

    fn raise_version(&mut self, side: usize) {
        self.note(format!("version of {side}"));
        let side = &mut self.sides[side];
        side.version += 1;
        side.pipeline = Some(self.world.warden().pipeline_with(side.name, &side.options()).unwrap());
    }
}
