//! The hour of faults: the real program keeps a bucket in step with a tree that changes all the time, while the store
//! fails in every way it can, the program is killed, and the root is unplugged. Whenever the faults end the bucket
//! becomes equal to the tree by itself; while the root is away nothing is deleted.
//!
//! `TREEWARDEN_FIRE_SECONDS` sets how long it burns (default 10), `TREEWARDEN_SEED` repeats the choices of a run,
//! though not the order in which processes come to act. `make soak-mirror SECONDS_OF_FIRE=3600` is the hour.
//!
//! A name is never used twice. So whatever is in the tree now and was in the bucket before has been in the tree all
//! the while, and there is no moment at which it may be missing from the bucket.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests_support::mirror::{BUCKET, MIB, Objects, assert_equal, naive};
use tests_support::s3::{ACCESS_KEY, Fault, REGION, S3Server, SECRET_KEY, When};
use tests_support::{Rng, env_number, now_ns};

use crate::support::{HANG, Watcher, World, err, json, out};

const PREFIX: &str = "img";
/// What stands in the place of the root holds this file. It is nobody's.
const ALIEN: &str = "alien";

/// The tree has about so many files. It never loses half of them, which would be held, and rightly.
const FILES: u64 = 300;
const FILES_MIN: usize = 250;
const FILES_MAX: usize = 360;

/// The waits of the program double up to a minute; whatever is not equal after this never will be.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn a_bucket_is_kept_in_step_through_faults_kills_and_unplugged_roots() {
    let seconds = env_number("TREEWARDEN_FIRE_SECONDS", 10);
    let seed = env_number("TREEWARDEN_SEED", now_ns().unsigned_abs());
    eprintln!("mirror fire: {seconds} s, TREEWARDEN_SEED={seed}");
    let mut fire = Fire::new(seed);
    fire.settle("the first copy");
    let until = Instant::now() + Duration::from_secs(seconds);
    // Two at least: the first one kills, the second one unplugs.
    while fire.sum.rounds < 2 || Instant::now() < until {
        fire.round();
    }
    fire.finish();
}

// ---- what goes wrong

/// What one round suffers from, in its first half; what is left in the second half is a light storm.
#[derive(Clone, Copy, Debug)]
enum Plague {
    /// Faults of all kinds that pass.
    Storm,
    /// 503 with `Retry-After`.
    SlowDown,
    ExpiredToken,
    ClockSkew,
    /// Every connection is closed amid its request.
    Cut,
    /// Nobody listens.
    Down,
    WrongEtags,
    /// It is done, and nobody is told.
    LostAnswers,
    /// 200 with an error in the body.
    FalseSuccess,
}

const PLAGUES: [Plague; 9] = [
    Plague::Storm,
    Plague::SlowDown,
    Plague::ExpiredToken,
    Plague::ClockSkew,
    Plague::Cut,
    Plague::Down,
    Plague::WrongEtags,
    Plague::LostAnswers,
    Plague::FalseSuccess,
];

/// What was done, in a round or in all of them.
#[derive(Default)]
struct Sum {
    rounds: u64,
    changes: u64,
    requests: usize,
    /// Requests that met a fault.
    hit: usize,
    kills: u64,
    unplugged: u64,
    settled: u64,
    /// The longest time until all was equal.
    longest: Duration,
}

/// A tree, its bucket, and the program between them. What is dropped first stands first.
struct Fire {
    follower: Option<Watcher>,
    door: Door,
    server: S3Server,
    world: World,
    seed: u64,
    rng: Rng,
    /// Names that were given so far.
    names: u64,
    /// Keys that were in the tree and in the bucket when the root was unplugged last.
    kept: BTreeSet<String>,
    sum: Sum,
}

impl Drop for Fire {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        eprintln!("mirror fire: round {}; run again with TREEWARDEN_SEED={}", self.sum.rounds, self.seed);
        if let Some(mut follower) = self.follower.take() {
            let _ = follower.child.kill();
            for lines in [follower.out.rest(), follower.err.rest()] {
                eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        }
    }
}

impl Fire {
    fn new(seed: u64) -> Fire {
        let world = World::new();
        let server = S3Server::start(&world.path("store"));
        server.create_bucket(BUCKET);
        let door = Door::new(server.endpoint().trim_start_matches("http://").parse().unwrap());
        let mut fire = Fire {
            follower: None,
            door,
            server,
            world,
            seed,
            rng: Rng::new(seed),
            names: 0,
            kept: BTreeSet::new(),
            sum: Sum::default(),
        };
        fire.plant();
        fire.call(&["root", "add", "tree", "tree"]);
        let (target, endpoint) = (format!("s3://{BUCKET}/{PREFIX}"), format!("http://{}", fire.door.address));
        let place = ["mirror", "add", "m", "tree", &target, "--endpoint", &endpoint, "--region", REGION];
        // Parts as small as they may be, so that a large file has several of them.
        let limits =
            ["--part-mib", "5", "--memory-mib", "20", "--uploads", "4", "--settle-ms", "200", "--json"];
        fire.call(&[&place[..], &limits[..]].concat());
        fire.start();
        fire
    }

    // ---- the program

    /// A call with the keys of the store in its environment, and nothing else of that kind.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.world.command(words);
        for (name, _) in env::vars_os() {
            let is_ours = |prefix: &str| name.to_string_lossy().starts_with(prefix);
            if is_ours("AWS_") || is_ours("CLOUDFLARE_") {
                command.env_remove(&name);
            }
        }
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.arg("--db").arg(self.world.path("state.tw"));
        command
    }

    /// A call that must end well, and what it printed.
    fn call(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}{}", out(&output), err(&output));
        out(&output)
    }

    fn start(&mut self) {
        self.follower = Some(Watcher::new(&mut self.command(&["mirror", "follow", "m", "--json"])));
    }

    /// Kills it wherever it is, and starts it anew.
    fn kill(&mut self) {
        self.assert_alive();
        self.follower = None;
        self.start();
        self.sum.kills += 1;
    }

    /// No fault that passes is a reason to end.
    fn assert_alive(&mut self) {
        let Some(follower) = &mut self.follower else { return };
        if let Some(status) = follower.child.try_wait().unwrap() {
            let said = follower.err.rest().join("\n");
            panic!("`mirror follow` has ended by itself: {status}\n{said}");
        }
    }

    /// Waits until it has looked at the root: from then on it takes signals, too.
    fn await_started(&mut self) {
        let follower = self.follower.as_mut().unwrap();
        if !follower.err.seen.iter().any(|line| line.contains("following ")) {
            follower.err.until("following ");
        }
    }

    /// Ends it as a person does.
    fn end(&mut self) {
        self.await_started();
        self.follower.take().unwrap().end();
    }

    /// Waits until it says that there is nothing to do, and that so many objects are acknowledged.
    fn await_idle(&mut self, objects: u64) {
        self.await_started();
        let begun = Instant::now();
        let follower = self.follower.as_mut().unwrap();
        loop {
            follower.signal("USR1");
            let line: Value = json(&follower.out.until(r#""running":"#));
            let number = |field: &str| line[field].as_u64();
            let is_idle = line["running"].as_bool() == Some(false) && number("pending") == Some(0);
            if is_idle && number("unsure") == Some(0) && number("objects") == Some(objects) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{objects} objects, and it has still something to do: {line}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    // ---- the faults

    fn strike(&mut self, plague: Plague) -> String {
        self.calm();
        let (seed, percent) = (self.rng.bits(), 5 + self.rng.below(26));
        let share = percent as f64 / 100.0;
        let faults = self.server.faults();
        match plague {
            Plague::Storm => faults.storm(seed, share),
            Plague::SlowDown => faults.share(seed, share, When::any(), Fault::slow_down(Some(1))),
            Plague::ExpiredToken => faults.always(When::any(), Fault::expired_token()),
            Plague::ClockSkew => faults.always(When::any(), Fault::clock_skew()),
            Plague::Cut => faults.always(When::any(), Fault::CutRequestAfter(0)),
            Plague::Down => self.door.close(),
            Plague::WrongEtags => {
                for method in ["PUT", "POST"] {
                    faults.share(seed, share, When::any().method(method), Fault::WrongEtag);
                }
            }
            Plague::LostAnswers => faults.share(seed, share, When::any(), Fault::LoseResponse),
            Plague::FalseSuccess => {
                for when in [When::copy(), When::complete_upload()] {
                    faults.share(seed, share, when, Fault::ok_with_error_body());
                }
            }
        }
        match plague {
            Plague::ExpiredToken | Plague::ClockSkew | Plague::Cut | Plague::Down => format!("{plague:?}"),
            _ => format!("{plague:?} {percent} %"),
        }
    }

    /// What is always there when the worst has passed.
    fn relent(&mut self) {
        self.calm();
        let seed = self.rng.bits();
        self.server.faults().storm(seed, 0.05);
    }

    fn calm(&mut self) {
        self.server.faults().clear();
        self.door.open();
    }

    // ---- the rounds

    /// Changes the tree while everything goes wrong, and lets it come to rest afterwards, most times.
    fn round(&mut self) {
        let (begun, number) = (Instant::now(), self.sum.rounds);
        let (kills, unplugged) = (self.sum.kills, self.sum.unplugged);
        let first = usize::try_from(self.seed % PLAGUES.len() as u64).unwrap();
        let plague = PLAGUES[(first + usize::try_from(number).unwrap()) % PLAGUES.len()];
        let what = self.strike(plague);
        let ticks = 40 + self.rng.below(60);
        let dies = (number == 0 || self.rng.chance(35)).then(|| self.rng.below(ticks));
        let unplugs = (number == 1 || self.rng.chance(35)).then(|| self.rng.below(ticks));
        for tick in 0..ticks {
            if tick == ticks / 2 {
                self.relent();
            }
            if dies == Some(tick) {
                self.kill();
            }
            if unplugs == Some(tick) {
                self.unplug();
            }
            self.change();
            self.assert_alive();
            thread::sleep(Duration::from_millis(10 + self.rng.below(50)));
        }
        // Waits of a round that was not awaited are carried into the next one.
        let rest = if number % 3 == 2 || self.rng.chance(70) {
            let took = self.settle(&format!("round {number}, {what}"));
            format!("equal after {:.1} s", took.as_secs_f64())
        } else {
            "not awaited".to_owned()
        };
        let (requests, hit) = self.count_requests();
        self.sum.rounds += 1;
        eprintln!(
            "round {number}: {:.1} s, {what}, {} files, {requests} requests, {hit} of them met a fault, \
             {} kills, {} times unplugged, {rest}",
            begun.elapsed().as_secs_f64(),
            self.list().0.len(),
            self.sum.kills - kills,
            self.sum.unplugged - unplugged,
        );
    }

    /// Counts what was asked since the last time, and forgets it.
    fn count_requests(&mut self) -> (usize, usize) {
        let requests = self.server.requests();
        self.server.clear_requests();
        let hit = requests.iter().filter(|request| !request.faults.is_empty()).count();
        self.sum.requests += requests.len();
        self.sum.hit += hit;
        (requests.len(), hit)
    }

    /// Takes the root away for a moment, most times with another directory in its place, and brings it back.
    fn unplug(&mut self) {
        let (tree, away) = (self.tree(), self.world.path("away"));
        let wanted = self.wanted();
        self.kept = self.found().into_keys().filter(|key| wanted.contains_key(key)).collect();
        fs::rename(&tree, &away).unwrap();
        let is_replaced = self.rng.chance(60);
        // An impostor that goes and comes again is none the better for it.
        for _ in 0..1 + self.rng.below(2) {
            if is_replaced {
                fs::create_dir(&tree).unwrap();
                if self.rng.chance(50) {
                    fs::write(tree.join(ALIEN), ALIEN).unwrap();
                }
            }
            if self.rng.chance(25) {
                self.kill();
            }
            thread::sleep(Duration::from_millis(100 + self.rng.below(1_400)));
            self.assert_alive();
            let found = self.found();
            self.assert_kept("while the root was away", &wanted, &found);
            assert!(!found.contains_key(&format!("{PREFIX}/{ALIEN}")), "another directory was sent");
            if is_replaced {
                fs::remove_dir_all(&tree).unwrap();
            }
        }
        fs::rename(&away, &tree).unwrap();
        self.sum.unplugged += 1;
    }

    /// Fails when something of the tree is gone that was in the bucket when the root was unplugged.
    fn assert_kept(&self, what: &str, wanted: &Objects, found: &Objects) {
        let is_lost = |key: &&String| wanted.contains_key(*key) && !found.contains_key(*key);
        let lost: Vec<&String> = self.kept.iter().filter(is_lost).collect();
        assert!(lost.is_empty(), "{what}: {} objects were deleted: {lost:?}", lost.len());
    }

    /// Ends all faults, and waits until the bucket equals the tree. Says how long that took.
    fn settle(&mut self, what: &str) -> Duration {
        self.calm();
        let begun = Instant::now();
        let wanted = self.wanted();
        loop {
            self.assert_alive();
            let found = self.found();
            if found == wanted {
                break;
            }
            self.assert_kept(what, &wanted, &found);
            if begun.elapsed() > PATIENCE {
                assert_equal(&format!("{what}: not equal after {PATIENCE:?}"), &wanted, &found);
            }
            thread::sleep(Duration::from_millis(100));
        }
        let took = begun.elapsed();
        self.sum.settled += 1;
        self.sum.longest = self.sum.longest.max(took);
        took
    }

    /// All is equal, all of it is known, and nothing that did not change is asked about.
    fn finish(&mut self) {
        self.settle("the end");
        // Another process: what it says of itself is about this alone. Its first run clears up what the last one of
        // the other could not.
        self.end();
        self.start();
        self.await_started();
        fs::write(self.tree().join("last"), "last").unwrap();
        self.settle("the last file");
        let objects = self.wanted().len() as u64;
        self.await_idle(objects);
        self.end();
        self.count_requests();

        let synced = json(self.call(&["mirror", "sync", "m", "--json"]).trim());
        for field in ["uploaded", "copied", "deleted", "failed", "held"] {
            assert_eq!(synced[field].as_u64(), Some(0), "{field} in {synced}");
        }
        let requests = self.server.requests();
        assert!(requests.is_empty(), "nothing has changed, and it asked: {requests:?}");
        let audited = json(self.call(&["mirror", "audit", "m", "--json"]).trim());
        assert_eq!(audited["matched"].as_u64(), Some(objects), "{audited}");
        assert_equal("after the audit", &self.wanted(), &self.found());
        let sum = &self.sum;
        eprintln!(
            "mirror fire: {} rounds, {} changes, {} requests, {} of them met a fault, {} kills, {} times unplugged; \
             equal {} times, after {:.1} s at most; {objects} objects, {} unfinished uploads of which nobody knows",
            sum.rounds,
            sum.changes,
            sum.requests,
            sum.hit,
            sum.kills,
            sum.unplugged,
            sum.settled,
            sum.longest.as_secs_f64(),
            self.server.uploads_open(BUCKET),
        );
    }

    // ---- the tree

    fn tree(&self) -> PathBuf {
        self.world.path("tree")
    }

    fn wanted(&self) -> Objects {
        naive(&self.tree(), PREFIX)
    }

    fn found(&self) -> Objects {
        self.server.objects(BUCKET)
    }

    fn plant(&mut self) {
        let tree = self.tree();
        for n in 0..20 {
            fs::create_dir(tree.join(format!("d{n}"))).unwrap();
        }
        let dirs = self.list().1;
        for n in 0..FILES {
            let place = self.place(&dirs);
            let bytes = if n % 50 == 0 { 0 } else { 1 + self.rng.below(4_000) };
            fs::write(place, self.content(bytes)).unwrap();
        }
        for mib in [7, 11] {
            fs::write(tree.join(format!("large{mib}.bin")), self.content(mib * MIB + 1)).unwrap();
        }
    }

    /// The files and the directories, in an order that is the same in each run.
    fn list(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        let mut open = vec![self.tree()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                    dirs.push(entry.path());
                } else {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        dirs.sort();
        (files, dirs)
    }

    /// Does one thing that programs and people do.
    fn change(&mut self) {
        let (files, dirs) = self.list();
        let file = self.rng.pick(&files).unwrap().clone();
        let is_large = fs::metadata(&file).unwrap().len() > MIB;
        let is_enough = files.len() > FILES_MIN;
        let step = if files.len() > FILES_MAX { 13 } else { self.rng.below(20) };
        match step {
            0..=4 if !is_large => self.replace(&file),
            5..=8 if !is_large => self.write(&file),
            13..=15 if is_enough && !is_large => fs::remove_file(&file).unwrap(),
            16 | 17 => fs::rename(&file, self.place(&dirs)).unwrap(),
            18 => self.change_dir(&files, &dirs),
            19 => self.edit_large(&files),
            _ => {
                let place = self.place(&dirs);
                self.write(&place);
            }
        }
        self.sum.changes += 1;
    }

    /// Renames, removes or makes a directory.
    fn change_dir(&mut self, files: &[PathBuf], dirs: &[PathBuf]) {
        let Some(dir) = self.rng.pick(dirs).cloned() else { return };
        let fresh = self.tree().join(self.name());
        let below: Vec<&PathBuf> = files.iter().filter(|file| file.starts_with(&dir)).collect();
        let is_large = below.iter().any(|file| fs::metadata(file).unwrap().len() > MIB);
        let is_enough = files.len() > FILES_MIN + below.len();
        let step = if dirs.len() < 10 { 1 } else { self.rng.below(3) };
        match step {
            0 if is_enough && !is_large => fs::remove_dir_all(&dir).unwrap(),
            1 if dirs.len() < 25 => {
                fs::create_dir(&fresh).unwrap();
                let place = fresh.join(self.name());
                self.write(&place);
            }
            _ => fs::rename(&dir, &fresh).unwrap(),
        }
    }

    /// Writes beside the tree and renames, as careful programs do.
    fn replace(&mut self, file: &Path) {
        let draft = self.world.path("draft");
        self.write(&draft);
        fs::rename(&draft, file).unwrap();
    }

    fn write(&mut self, file: &Path) {
        let bytes = if self.rng.chance(5) { 0 } else { self.rng.below(5_000) };
        fs::write(file, self.content(bytes)).unwrap();
    }

    /// Overwrites a part of a large file in place.
    fn edit_large(&mut self, files: &[PathBuf]) {
        let large: Vec<&PathBuf> =
            files.iter().filter(|file| fs::metadata(file).unwrap().len() > MIB).collect();
        let Some(file) = self.rng.pick(&large) else { return };
        let at = self.rng.below(6 * MIB);
        let more = self.content(64 << 10);
        OpenOptions::new().write(true).open(file).unwrap().write_all_at(&more, at).unwrap();
    }

    /// Where nothing was before: in some directory, or at the top.
    fn place(&mut self, dirs: &[PathBuf]) -> PathBuf {
        let is_top = self.rng.chance(10);
        let dir = self.rng.pick(dirs).filter(|_| !is_top).cloned();
        dir.unwrap_or_else(|| self.tree()).join(self.name())
    }

    /// A name that nothing had before, and that a key may have.
    fn name(&mut self) -> String {
        const ODD: [&str; 10] = [
            "",
            ".txt",
            " b ",
            "%41+#?&.html",
            "\u{e9}",
            "e\u{301}",
            "\u{1f600}.jpg",
            "~",
            "='\"<(1)>",
            ".tmp",
        ];
        self.names += 1;
        format!("n{}{}", self.names, ODD[self.rng.index(ODD.len())])
    }

    fn content(&mut self, bytes: u64) -> Vec<u8> {
        let len = usize::try_from(bytes).unwrap();
        let mut content = Vec::with_capacity(len + 8);
        while content.len() < len {
            content.extend_from_slice(&self.rng.bits().to_le_bytes());
        }
        content.truncate(len);
        content
    }
}

// ---- the way to the server

/// Passes on what is said to a server, and is shut when the server is to be down: then nobody listens there.
struct Door {
    address: SocketAddr,
    server: SocketAddr,
    open: Option<Open>,
}

struct Open {
    closing: Arc<AtomicBool>,
    lines: Connections,
    thread: JoinHandle<()>,
}

/// Both ends of each, by a number.
type Connections = Arc<Mutex<BTreeMap<u64, [TcpStream; 2]>>>;

impl Door {
    fn new(server: SocketAddr) -> Door {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut door = Door { address: listener.local_addr().unwrap(), server, open: None };
        door.attend(listener);
        door
    }

    fn open(&mut self) {
        if self.open.is_some() {
            return;
        }
        let begun = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // A connection of somebody else may have the port for a moment.
                Err(error) => assert!(begun.elapsed() < HANG, "{}: {error}", self.address),
            }
            thread::sleep(Duration::from_millis(10));
        };
        self.attend(listener);
    }

    fn attend(&mut self, listener: TcpListener) {
        let (closing, lines) = (Arc::new(AtomicBool::new(false)), Connections::default());
        let (server, is_closing, its) = (self.server, Arc::clone(&closing), Arc::clone(&lines));
        let thread = thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming()) {
                if is_closing.load(Ordering::Acquire) {
                    return;
                }
                // One that cannot be passed on is closed.
                let _ =
                    client.and_then(|client| pass_on(number, &client, &TcpStream::connect(server)?, &its));
            }
        });
        self.open = Some(Open { closing, lines, thread });
    }

    /// Everybody is cut off, and nobody is let in.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.closing.store(true, Ordering::Release);
        // Wakes the thread that waits for somebody.
        let _ = TcpStream::connect(self.address);
        open.thread.join().unwrap();
        open.lines.lock().unwrap().values().for_each(hang_up);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

fn pass_on(number: u64, client: &TcpStream, server: &TcpStream, lines: &Connections) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    lines.lock().unwrap().insert(number, [client.try_clone()?, server.try_clone()?]);
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to, lines) = (from.try_clone()?, to.try_clone()?, Arc::clone(lines));
        thread::spawn(move || {
            // Whoever breaks off breaks off both ways.
            let _ = io::copy(&mut from, &mut to);
            hang_up(&[from, to]);
            lines.lock().unwrap().remove(&number);
        });
    }
    Ok(())
}

fn hang_up(ends: &[TcpStream; 2]) {
    for end in ends {
        let _ = end.shutdown(Shutdown::Both);
    }
}
