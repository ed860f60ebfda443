//! P6 and P7: truth under fire. Independent programs change a watched tree as fast as they can, and
//! every now and then they rest: then, after a `sync`, the snapshot must equal what a naive walk finds, and
//! the journal replayed from its start must give the snapshot.
//!
//! `TREEWARDEN_FIRE_ROUNDS` sets how often each test rests (default 5), `TREEWARDEN_FIRE_SECONDS` how long
//! each test goes on instead. Every test prints its seed; `TREEWARDEN_SEED=N` repeats its choices, though
//! not the order in which threads and processes come to act.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::live::{backend_name, both_backends};
use support::reference::{self, Facts, dump};
use support::{
    ANCHOR, HANG, Links, Mutator, ROOT, Replay, Rng, SKIPPED, Setup, Talk, World, address, assert_same,
    env_number, show, skip,
};
use treewarden::{
    ContentHash, IgnoreRules, Kind, RootOptions, RootWatch, ScanOptions, Snapshot, Walker, WatchBackend,
    WatchMode, WatchOptions, testing,
};

const CHILD: &str = env!("CARGO_BIN_EXE_live_child");

/// Programs that work in the tree at once: threads, and one process.
const MUTATORS: usize = 2;
const READERS: usize = 2;
/// What each of them does between two rests.
const STEPS: u64 = 150;

/// How long a test goes on.
struct Budget {
    rounds: u64,
    until: Option<Instant>,
}

impl Budget {
    fn new() -> Self {
        let seconds = env_number("TREEWARDEN_FIRE_SECONDS", 0);
        let until = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds));
        Self { rounds: env_number("TREEWARDEN_FIRE_ROUNDS", 5), until }
    }

    fn goes_on(&mut self) -> bool {
        if let Some(until) = self.until {
            return Instant::now() < until;
        }
        let goes_on = self.rounds > 0;
        self.rounds = self.rounds.saturating_sub(1);
        goes_on
    }
}

fn seed(test: &str) -> u64 {
    let seed = env_number("TREEWARDEN_SEED", support::now_ns().unsigned_abs());
    eprintln!("fire: {test} TREEWARDEN_SEED={seed}");
    seed
}

/// A watched tree under fire.
struct Fire {
    seed: u64,
    rng: Rng,
    world: World,
    ignoring: bool,
    /// Files have several names, too.
    links: bool,
    replay: Replay,
    log: Vec<String>,
}

impl Drop for Fire {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what was done to the engine: {:?}", self.log);
            if let Some(warden) = self.world.try_warden() {
                eprintln!("how it is: {:?}", warden.status().map(|status| status.live));
            }
            eprintln!("fire: run again with TREEWARDEN_SEED={}", self.seed);
        }
    }
}

impl Fire {
    fn new(test: &str) -> Self {
        let seed = seed(test);
        let mut rng = Rng::new(seed);
        let hash = if rng.chance(50) { ContentHash::Changed } else { ContentHash::Off };
        let options = RootOptions::default().content_hash(hash);
        let world = Setup::new(Walker::Auto).root(options).build(|tree| {
            tree.file(ANCHOR, "stays");
        });
        Self { seed, rng, world, ignoring: false, links: true, replay: Replay::new(), log: Vec::new() }
    }

    /// Short waits, so that the engine looks while it burns.
    fn eager() -> RootWatch {
        RootWatch::new().debounce_ms(5).max_wait_ms(20).poll_ms(1_000)
    }

    /// Lets everybody work for a while. `disturb` is called again and again meanwhile.
    fn burn(&mut self, mut disturb: impl FnMut(&mut Rng, &World, &mut Vec<String>)) {
        let Self { rng, world, log, links, .. } = self;
        let links = match *links {
            false => Links::Avoided,
            true if rng.chance(50) => Links::Made,
            true => {
                Mutator::new(world.tree.path(), rng.bits(), Links::Made).plant_links();
                world.sync();
                Links::Written
            }
        };
        log.push(links.name().to_owned());
        let seeds: Vec<u64> = (0..MUTATORS).map(|_| rng.bits()).collect();
        let mut process = mutate(world.tree.path(), rng.bits(), links);
        let over = AtomicBool::new(false);
        let (over, world) = (&over, &*world);
        std::thread::scope(|scope| {
            let _end = SetOnDrop(over);
            let mutators: Vec<_> = seeds
                .into_iter()
                .map(|seed| {
                    scope.spawn(move || {
                        let mut mutator = Mutator::new(world.tree.path(), seed, links);
                        (0..STEPS).for_each(|_| mutator.step());
                    })
                })
                .collect();
            for _ in 0..READERS {
                scope.spawn(move || read(world, over));
            }
            while mutators.iter().any(|mutator| !mutator.is_finished()) {
                disturb(rng, world, log);
            }
        });
        let ended = process.wait().unwrap();
        assert!(ended.success(), "the program that changes the tree: {ended}");
    }

    /// Everybody rests: the engine must know all of it.
    fn check(&mut self, what: &str) {
        self.world.sync();
        self.compare(what);
    }

    fn compare(&mut self, what: &str) {
        let ignoring = self.ignoring;
        let ignored = |name: &[u8]| ignoring && name.ends_with(SKIPPED);
        let (mut disk, _) = reference::walk(self.world.tree.path(), ROOT, &ignored);
        let snapshot = self.world.snapshot();
        let known = reference::of_snapshot(&snapshot, "");
        forgive_passing_links(&mut disk, &known);
        assert_same(what, &disk, &known);
        self.replay.catch_up(self.world.warden());
        self.replay.assert_matches(&snapshot);
        check_hashes(&self.world, &snapshot);
    }

    fn check_live(&mut self, what: &str) {
        self.check(what);
        let live = self.world.live();
        assert!(live.coherent, "{what}: {live:?}");
    }

    /// Nothing has been read from the journal half-way: read it once more from its start.
    fn finish(mut self) {
        self.check("at the end");
        self.world.assert_replay();
        let before = dump(&self.world.snapshot());
        self.world.reopen();
        assert_same("opened again", &before.present, &dump(&self.world.snapshot()).present);
        self.world.warden().check().unwrap();
    }
}

/// A hard link that was made and removed again between two looks leaves nothing but another ctime, in a
/// directory of which no event tells. Only the next whole scan can know.
fn forgive_passing_links(disk: &mut BTreeMap<Vec<u8>, Facts>, known: &BTreeMap<Vec<u8>, Facts>) {
    for (path, facts) in disk.iter_mut().filter(|(_, facts)| facts.kind != "dir") {
        if let Some(known) = known.get(path)
            && (Facts { ctime_ns: known.ctime_ns, ..facts.clone() }) == *known
        {
            facts.ctime_ns = known.ctime_ns;
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process of its own that changes the tree.
fn mutate(tree: &Path, seed: u64, links: Links) -> Child {
    let (seed, steps) = (seed.to_string(), STEPS.to_string());
    Command::new(CHILD)
        .arg("mutate")
        .arg(tree)
        .args([&seed, &steps, links.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Takes snapshots until it is over: each is consistent, and seqs never fall.
fn read(world: &World, over: &AtomicBool) {
    let mut last = 0;
    while !over.load(Ordering::Relaxed) {
        let snapshot = world.snapshot();
        assert!(snapshot.seq() >= last, "time runs backwards");
        last = snapshot.seq();
        let (mut files, mut bytes) = (0, 0);
        for entry in snapshot.files(ROOT) {
            assert!(entry.seq() <= last, "{} is of the future", show(&entry.path()));
            files += 1;
            bytes += entry.size();
        }
        let totals = snapshot.du(ROOT).unwrap();
        assert_eq!((totals.files, totals.bytes), (files, bytes), "the totals of {last}");
        let _ = world.warden().wait(last, Some(Duration::from_millis(20)));
    }
}

/// Equal content has equal hashes and other content has others, according to the files.
fn check_hashes(world: &World, snapshot: &Snapshot) {
    let (mut hash_of, mut content_of) = (BTreeMap::new(), BTreeMap::new());
    for entry in snapshot.files(ROOT).filter(|entry| entry.kind() == Kind::File) {
        let Some(hash) = entry.hash() else { continue };
        let path = entry.path();
        let content = fs::read(world.tree.join(&path[ROOT.len() + 1..])).unwrap();
        let known = *hash_of.entry(content.clone()).or_insert(hash);
        assert_eq!(known, hash, "{} has the hash of other content", show(&path));
        let known = content_of.entry(hash).or_insert_with(|| content.clone());
        assert!(*known == content, "{} has a stale hash", show(&path));
    }
}

/// A pause of the main thread that ends with the next commit.
fn look_on(_: &mut Rng, world: &World, _: &mut Vec<String>) {
    let _ = world.warden().wait(world.warden().seq(), Some(Duration::from_millis(20)));
}

// ---------------------------------------------------------------------------------- our own programs

fn burn_under(test: &str, options: &WatchOptions) {
    burn_on(Fire::new(test), test, options);
}

fn burn_on(mut fire: Fire, test: &str, options: &WatchOptions) {
    fire.world.watch_with(options);
    let mut budget = Budget::new();
    while budget.goes_on() {
        fire.burn(look_on);
        fire.check_live(test);
    }
    fire.finish();
}

#[test]
fn the_snapshot_equals_the_disk_after_a_fire_with_few_watches() {
    for backend in both_backends() {
        let options = WatchOptions::new().backend(backend).watches_max(5).default_root(Fire::eager());
        // A write through a name in a directory without a watch, gone before that is polled, leaves no trace
        // in the watched directory of another name.
        let mut fire = Fire::new("few watches");
        fire.links = false;
        burn_on(fire, "few watches", &options);
    }
}

#[test]
fn the_snapshot_equals_the_disk_after_a_fire_watched_by_inotify() {
    burn_under("inotify", &WatchOptions::new().backend(WatchBackend::Inotify).default_root(Fire::eager()));
}

#[test]
fn the_snapshot_equals_the_disk_after_a_fire_watched_by_notify() {
    burn_under("notify", &WatchOptions::new().backend(WatchBackend::Notify).default_root(Fire::eager()));
}

#[test]
fn the_snapshot_equals_the_disk_after_a_fire_that_was_polled() {
    burn_under("poll", &WatchOptions::new().default_root(Fire::eager().mode(WatchMode::Poll)));
}

#[test]
fn the_snapshot_equals_the_disk_after_a_fire_that_overflows_a_tiny_queue() {
    for backend in both_backends() {
        let mut fire = Fire::new("tiny queue");
        let options = WatchOptions::new().backend(backend).default_root(Fire::eager());
        let tiny = fire.world.watch_with_queue(&options, 16);
        if let Err(why) = &tiny {
            skip("a tiny queue; events are lost by a hook instead", why);
            fire.world.watch_with(&options);
        }
        let mut budget = Budget::new();
        while budget.goes_on() {
            fire.burn(|rng, world, log| {
                look_on(rng, world, log);
                if tiny.is_err() && rng.chance(20) {
                    testing::lose_events(world.warden());
                }
            });
            fire.check_live("tiny queue");
        }
        assert!(fire.world.live().overflows > 0, "the queue was never full, so this proves nothing");
        fire.finish();
    }
}

/// Everything that a program can do to the engine while it watches, at random.
#[test]
fn the_snapshot_equals_the_disk_after_a_fire_in_which_the_engine_is_disturbed() {
    let mut fire = Fire::new("disturbed");
    let both = both_backends();
    fire.world.watch_with(&WatchOptions::new().backend(both[0]).default_root(Fire::eager()));
    let mut budget = Budget::new();
    while budget.goes_on() {
        let mut ignoring = fire.ignoring;
        fire.burn(|rng, world, log| disturb(rng, world, log, &mut ignoring));
        fire.ignoring = ignoring;
        fire.check_live("disturbed");
    }
    fire.finish();
}

fn disturb(rng: &mut Rng, world: &World, log: &mut Vec<String>, ignoring: &mut bool) {
    let warden = world.warden();
    let what = rng.below(14);
    log.push(what.to_string());
    log.drain(..log.len().saturating_sub(60));
    match what {
        0 | 1 => _ = world.sync(),
        2 | 3 => testing::lose_events(warden),
        4 | 5 => {
            warden.pause().unwrap();
            look_on(rng, world, log);
            warden.resume().unwrap();
        }
        6 => {
            *ignoring = !*ignoring;
            let rules =
                if *ignoring { IgnoreRules::new(["*.skip"]).unwrap() } else { IgnoreRules::default() };
            let hash = if rng.chance(50) { ContentHash::Changed } else { ContentHash::Off };
            let options = RootOptions::default().ignore(rules).content_hash(hash);
            warden.set_root_options(ROOT, &options).unwrap();
        }
        7 => {
            warden.unwatch().unwrap();
            world.begin_to_watch(&WatchOptions::new().default_root(Fire::eager()));
        }
        8 => {
            let backend = both_backends()[rng.index(2)];
            world.begin_to_watch(&WatchOptions::new().backend(backend).default_root(Fire::eager()));
        }
        9 => {
            let mode = [WatchMode::Poll, WatchMode::Native, WatchMode::Auto][rng.index(3)];
            world.begin_to_watch(&WatchOptions::new().default_root(Fire::eager().mode(mode)));
        }
        10 => {
            let options = WatchOptions::new().default_root(Fire::eager());
            world.begin_to_watch(&options.watches_max(1 + rng.below(30)));
        }
        11 => {
            let reports = warden.scan_with(&ScanOptions::new().target(ROOT), &treewarden::ScanContext::new());
            assert!(reports.is_ok(), "{reports:?}");
        }
        12 => _ = warden.compact().unwrap(),
        _ => _ = warden.set_attrs(address(ANCHOR), [("n", Some(b"v".as_slice()))]).unwrap(),
    }
}

/// Looked at from above while it is gone, and from inside when it is there again: each entry is told once.
#[test]
fn a_directory_made_anew_again_and_again_is_told_once_each_time() {
    for backend in both_backends() {
        let mut fire = Fire::new("made anew");
        fire.world.watch_as(backend, RootWatch::new().debounce_ms(1).max_wait_ms(1));
        let mut budget = Budget::new();
        while budget.goes_on() {
            for n in 0..200 {
                let dir = format!("top/r{}", n % 4);
                fire.world.tree.file(format!("{dir}/a/b"), "").file(format!("{dir}/c"), "");
                fire.world.tree.remove(&dir).file(format!("{dir}/a/b"), "");
            }
            fire.check_live("made anew");
        }
        fire.finish();
    }
}

// ---------------------------------------------------------------------------------- other people's programs

/// Runs a program to its end, out of reach of the user's own settings; `false` when it is not installed.
fn run(program: &str, dir: &Path, args: &[&OsStr]) -> bool {
    let spawned = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output();
    let output = match spawned {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
        Err(error) => panic!("{program}: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?} ended with {}: {said}", output.status);
    true
}

fn words(line: &str) -> Vec<&OsStr> {
    line.split(' ').map(OsStr::new).collect()
}

/// Lets a program work in a tree that is synced again and again meanwhile.
fn run_watched(fire: &Fire, program: &str, dir: &Path, args: &[&OsStr]) -> bool {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fire.world.sync();
            }
        });
        run(program, dir, args)
    })
}

/// A source tree at one of several states, each rather different from the others.
fn plant_version(tree: &support::Tree, version: u64) {
    let mut rng = Rng::new(version);
    for n in 0..120 {
        let dir = format!("src/m{}/n{}", rng.below(8), rng.below(5));
        tree.file(format!("{dir}/f{n}"), vec![b"abc"[rng.index(3)]; rng.index(5_000)]);
        if rng.chance(5) {
            tree.symlink(format!("f{n}"), format!("{dir}/l{n}"));
        }
    }
    tree.file(format!("only/in/version/{version}"), "");
}

#[test]
fn the_snapshot_equals_the_disk_after_git_has_switched_between_commits() {
    const VERSIONS: u64 = 6;
    for backend in both_backends() {
        let mut fire = Fire::new("git");
        let top = fire.world.tree.path().to_path_buf();
        let git = |line: &str| run("git", &top, &words(line));
        if !git("-c init.defaultBranch=main init -q") {
            return skip("the_snapshot_equals_the_disk_after_git_has_switched_between_commits", "no git");
        }
        for setting in
            ["user.name T", "user.email t@t", "gc.auto 0", "maintenance.auto false", "commit.gpgsign false"]
        {
            git(&format!("config {setting}"));
        }
        for version in 0..VERSIONS {
            if version > 0 {
                fire.world.tree.remove("src").remove("only");
            }
            plant_version(&fire.world.tree, version);
            git("add -A");
            git("commit -q --no-verify -m version");
            git(&format!("tag v{version}"));
        }
        fire.world.watch_as(backend, Fire::eager());
        fire.check_live("before");
        let mut budget = Budget::new();
        while budget.goes_on() {
            let version = fire.rng.below(VERSIONS);
            let line = format!("checkout -q --detach v{version}");
            run_watched(&fire, "git", &top, &words(&line));
            fire.check_live(&line);
            let only = address(format!("only/in/version/{version}"));
            assert!(fire.world.snapshot().contains(&only), "{line}");
            if fire.rng.chance(30) {
                fire.world.tree.append("only/in/version/".to_owned() + &version.to_string(), "local");
                run_watched(&fire, "git", &top, &words("stash -q"));
                run_watched(&fire, "git", &top, &words("stash drop -q"));
                run_watched(&fire, "git", &top, &words("gc -q"));
                fire.check_live("stash and gc");
            }
        }
        fire.finish();
    }
}

#[test]
fn the_snapshot_equals_the_disk_after_tar_cp_and_rm() {
    const NAME: &str = "the_snapshot_equals_the_disk_after_tar_cp_and_rm";
    for backend in both_backends() {
        let mut fire = Fire::new("tar");
        let aside = support::Tree::new();
        for version in 0..4 {
            plant_version(&support::Tree::at(aside.join(format!("tree/v{version}"))), version);
        }
        let top = fire.world.tree.path().to_path_buf();
        let out = aside.path().to_path_buf();
        if !run("tar", &out, &words("-cf all.tar tree")) {
            return skip(NAME, "no tar");
        }
        let archive = out.join("all.tar");
        fire.world.watch_as(backend, Fire::eager());
        let mut budget = Budget::new();
        let mut number = 0;
        while budget.goes_on() {
            number += 1;
            let unpacked = format!("unpacked{number}");
            fire.world.tree.dir(&unpacked);
            let mut extract = words("-xf");
            extract.extend([archive.as_os_str(), OsStr::new("-C"), OsStr::new(&unpacked)]);
            run_watched(&fire, "tar", &top, &extract);
            fire.check_live("tar x");
            run_watched(&fire, "cp", &top, &words(&format!("-a {unpacked}/tree copy{number}")));
            fire.check_live("cp -a");
            run_watched(&fire, "mv", &top, &words(&format!("copy{number} {unpacked}/moved")));
            fire.check_live("mv");
            run_watched(&fire, "chmod", &top, &words(&format!("-R o-rwx {unpacked}")));
            fire.check_live("chmod -R");
            run_watched(&fire, "rm", &top, &words(&format!("-rf {unpacked}")));
            fire.check_live("rm -rf");
            fire.world.expect_ls("all of it is gone", &[ANCHOR]);
            fire.world.assert_covered("all of it is gone");
        }
        fire.finish();
    }
}

#[test]
fn the_snapshot_equals_the_disk_after_stress_ng() {
    for backend in both_backends() {
        let mut fire = Fire::new("stress-ng");
        fire.world.watch_as(backend, Fire::eager());
        let top = fire.world.tree.path().to_path_buf();
        let mut budget = Budget::new();
        while budget.goes_on() {
            let mut args =
                words("--quiet --dir 1 --dentry 1 --rename 1 --link 1 --symlink 1 --chmod 1 --timeout 1s");
            args.extend([OsStr::new("--temp-path"), top.as_os_str()]);
            if !run_watched(&fire, "stress-ng", &top, &args) {
                return skip("the_snapshot_equals_the_disk_after_stress_ng", "no stress-ng");
            }
            fire.check_live("stress-ng");
        }
        fire.finish();
    }
}

// ---------------------------------------------------------------------------------- killed in the fire

/// A process that watches is killed at any instant. What it had synced is kept, and the next one that
/// watches finds the rest.
#[test]
fn a_watcher_killed_in_the_fire_loses_nothing() {
    for backend in both_backends() {
        let mut fire = Fire::new("killed");
        let db = fire.world.state_file();
        let mut budget = Budget::new();
        let mut number = 0;
        while budget.goes_on() {
            number += 1;
            fire.world.close();
            let args = [OsStr::new("storm"), db.as_os_str(), OsStr::new(backend_name(backend))];
            let mut watcher = Talk::start(CHILD, &args);
            let mut synced = 0;
            let hear = |line: &str, synced: &mut u64| {
                let seq = line.strip_prefix("synced=").unwrap_or_else(|| panic!("the child says {line:?}"));
                *synced = seq.parse().unwrap();
            };
            let lines = fire.rng.below(40);
            let first = watcher.line().expect("the child has failed");
            hear(&first, &mut synced);
            let mut process = mutate(fire.world.tree.path(), fire.rng.bits(), Links::Made);
            let mut mutator = Mutator::new(fire.world.tree.path(), fire.rng.bits(), Links::Made);
            for _ in 0..lines {
                (0..3).for_each(|_| mutator.step());
                let line = watcher.line().expect("the child has failed");
                hear(&line, &mut synced);
            }
            for line in watcher.kill() {
                hear(&line, &mut synced);
            }
            // Half of the time the fire goes on while the next one begins to watch.
            if fire.rng.chance(50) {
                assert!(process.wait().unwrap().success());
            }
            fire.world.open();
            let warden = fire.world.warden();
            warden.check().unwrap_or_else(|e| panic!("after kill {number}: {e}"));
            assert!(warden.seq() >= synced, "seq {synced} was synced, the file is at {}", warden.seq());
            fire.world.watch_as(backend, Fire::eager());
            assert!(process.wait().unwrap().success());
            fire.check_live("after a kill");
        }
        fire.finish();
    }
}

/// Nobody rests here: a sync promises nothing about the others, but all about what was done before it.
#[test]
fn a_sync_in_the_middle_of_a_fire_shows_what_was_done_before_it() {
    for backend in both_backends() {
        let mut fire = Fire::new("sync");
        fire.world.watch_as(backend, Fire::eager());
        let mut budget = Budget::new();
        while budget.goes_on() {
            let mut number = 0;
            fire.burn(|_, world, _| {
                number += 1;
                // Made before the call, so it is there after it, whatever else goes on.
                let mine = format!("{ANCHOR}-{number}");
                world.tree.file(&mine, "");
                let seq = world.warden().sync(HANG).unwrap();
                let snapshot = world.snapshot();
                assert!(snapshot.seq() >= seq);
                assert!(snapshot.contains(address(&mine)), "{mine} was made before the sync");
                world.tree.remove(&mine);
                world.warden().sync(HANG).unwrap();
                assert!(!world.snapshot().contains(address(&mine)), "{mine} was removed before the sync");
            });
            fire.check_live("synced");
        }
        fire.finish();
    }
}
