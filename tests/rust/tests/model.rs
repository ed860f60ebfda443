//! Random trees and random operations; after every scan the snapshot and the journal are compared
//! with a naive reference that shares no code with the engine.
//!
//! `TREEWARDEN_STEPS` sets the number of operations (default 3000). Every episode prints its seed;
//! `TREEWARDEN_SEED=N` runs that one episode again.

use std::collections::BTreeMap;
use std::fs;

use support::reference::{self, Dump, Facts, Listing};
use support::{ROOT, Replay, Rng, Row, Setup, World, address, assert_same, env_number, is_root, show};
use treewarden::{ContentHash, IgnoreRules, Publish, RootOptions, ScanMode, Snapshot, Walker};

const EPISODE_STEPS: u64 = 150;

/// A root without entries is taken for an unmounted one, so one file always stays.
const ANCHOR: &[u8] = b"anchor";

#[test]
fn snapshot_and_journal_equal_a_naive_reference_after_random_operations() {
    let steps = env_number("TREEWARDEN_STEPS", 3000);
    if std::env::var_os("TREEWARDEN_SEED").is_some() {
        let given = env_number("TREEWARDEN_SEED", 0);
        Episode::new(given).run(EPISODE_STEPS);
        return;
    }
    let mut seeds = Rng::new(support::now_ns().unsigned_abs());
    for _ in 0..steps.div_ceil(EPISODE_STEPS) {
        Episode::new(seeds.bits()).run(EPISODE_STEPS);
    }
}

/// One tree from its planting to its end.
struct Episode {
    seed: u64,
    rng: Rng,
    world: World,
    hashes: bool,
    ignoring: bool,
    scanned: bool,
    names_made: u64,
    held: Vec<(Snapshot, Dump)>,
    replay: Replay,
    hash_of: BTreeMap<Vec<u8>, u128>,
    log: Vec<String>,
}

impl Drop for Episode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last operations were:");
            for line in self.log.iter().rev().take(40).rev() {
                eprintln!("  {line}");
            }
            eprintln!("model: run again with TREEWARDEN_SEED={}", self.seed);
        }
    }
}

impl Episode {
    fn new(seed: u64) -> Self {
        eprintln!("model: TREEWARDEN_SEED={seed}");
        let mut rng = Rng::new(seed);
        let (hashes, ignoring) = (rng.chance(50), rng.chance(30));
        let mut options = RootOptions::default();
        if hashes {
            options = options.content_hash(ContentHash::Changed);
        }
        if ignoring {
            options = options.ignore(IgnoreRules::new(["*.skip"]).unwrap());
        }
        let world = Setup::new(Walker::Auto).root(options).build(|tree| {
            tree.file(ANCHOR, "stays");
        });
        Self {
            seed,
            rng,
            world,
            hashes,
            ignoring,
            scanned: false,
            names_made: 0,
            held: Vec::new(),
            replay: Replay::new(),
            hash_of: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn run(mut self, steps: u64) {
        let planted = self.rng.below(25);
        for _ in 0..planted {
            self.create();
        }
        let mut done = 0;
        while done < steps {
            let burst = 1 + self.rng.below(7);
            for _ in 0..burst {
                self.operate();
            }
            done += burst;
            self.scan();
            if self.rng.chance(8) {
                self.reopen();
            }
        }
        self.scan_root();
        let mut afresh = Replay::new();
        afresh.catch_up(self.world.warden());
        afresh.assert_matches(&self.world.snapshot());
        self.reopen();
    }

    // ---- looking

    /// Relative paths of what is on the disk now, with the facts.
    fn disk(&self) -> Vec<(Vec<u8>, Facts)> {
        let listing = reference::listing(self.world.tree.path(), ROOT);
        listing.into_iter().map(|(path, facts)| (path[ROOT.len() + 1..].to_vec(), facts)).collect()
    }

    fn choose(&mut self, wanted: impl Fn(&Facts) -> bool) -> Option<Vec<u8>> {
        let found: Vec<Vec<u8>> = self
            .disk()
            .into_iter()
            .filter(|(path, facts)| path != ANCHOR && wanted(facts))
            .map(|(path, _)| path)
            .collect();
        self.rng.pick(&found).cloned()
    }

    /// A regular file that this process may write to.
    fn choose_file(&mut self) -> Option<Vec<u8>> {
        let path = self.choose(|facts| facts.kind == "file")?;
        if !is_root() {
            self.world.tree.chmod(&path, 0o644);
        }
        Some(path)
    }

    fn choose_leaf(&mut self) -> Option<Vec<u8>> {
        self.choose(|facts| facts.kind != "dir")
    }

    fn choose_dir(&mut self) -> Option<Vec<u8>> {
        self.choose(|facts| facts.kind == "dir")
    }

    /// A directory to put something into; the root's own is the empty path.
    fn place(&mut self) -> Vec<u8> {
        if self.rng.chance(30) {
            return Vec::new();
        }
        self.choose_dir().filter(|dir| dir.len() < 1500).unwrap_or_default()
    }

    /// A path at which nothing is.
    fn free_path(&mut self) -> Vec<u8> {
        let mut path = self.place();
        if !path.is_empty() {
            path.push(b'/');
        }
        let mut name = self.name();
        let exists = |name: &[u8]| {
            let full = [path.as_slice(), name].concat();
            fs::symlink_metadata(self.world.tree.join(full)).is_ok()
        };
        if exists(&name) {
            self.names_made += 1;
            name = format!("again-{}", self.names_made).into_bytes();
        }
        path.extend_from_slice(&name);
        path
    }

    fn name(&mut self) -> Vec<u8> {
        const ODD: &[&[u8]] = &[
            b"a",
            b"b",
            b"a-b",
            b"a.b",
            b"ab",
            b"with space",
            b" ",
            b"new\nline",
            b"esc\x1b[31m",
            b"bell\x07",
            b"\x01",
            b"\xff\xfe",
            b"half\xc3",
            "caf\u{e9}".as_bytes(),
            "cafe\u{301}".as_bytes(),
            "\u{202e}txt".as_bytes(),
            b"-rf",
            b"...",
            b".hidden",
            b"UPPER",
            b"upper",
            b"*",
            b"[x]",
            b"{a,b}",
            b"!not",
            b"#hash",
            b"back\\slash",
            b"%2F",
            b"x.skip",
            b"~",
            &[b'n'; 255],
            &[0xe9; 255],
        ];
        if self.rng.chance(45) {
            ODD[self.rng.index(ODD.len())].to_vec()
        } else {
            format!("n{}", self.rng.below(40)).into_bytes()
        }
    }

    fn content(&mut self) -> Vec<u8> {
        let len = [0, 1, 7, 100, 5000][self.rng.index(5)];
        // Few distinct contents: equal files are what moves by content must not confuse.
        let letter = b"abc"[self.rng.index(3)];
        vec![letter; len]
    }

    // ---- doing

    fn operate(&mut self) {
        let crowded = self.disk().len() > 70;
        let what = if crowded { 9 + self.rng.below(3) } else { self.rng.below(24) };
        match what {
            0..=3 => self.create(),
            4 => self.append(),
            5 => self.edit_same_size(false),
            6 => self.edit_same_size(true),
            7 => self.rename_leaf(),
            8 => self.rename_over(),
            9 => self.delete_leaf(),
            10 => self.delete_tree(),
            11 => self.dir_becomes_file(),
            12 => self.swap(),
            13 | 14 => self.move_dir(),
            15 => self.hard_link(),
            16 => self.chmod(),
            17 => self.file_becomes_dir(),
            18 => self.recreate(),
            19 => self.symlink(),
            20 => self.touch(),
            21 => self.mkdir(),
            22 => self.fifo(),
            _ => self.replace(),
        }
    }

    fn note(&mut self, what: &str, paths: &[&[u8]]) {
        let paths: Vec<String> = paths.iter().map(|path| show(path)).collect();
        self.log.push(format!("{what} {}", paths.join(" -> ")));
    }

    fn create(&mut self) {
        let (path, content) = (self.free_path(), self.content());
        self.note("create", &[&path]);
        self.world.tree.file(&path, content);
    }

    fn append(&mut self) {
        let Some(path) = self.choose_file() else { return };
        self.note("append", &[&path]);
        self.world.tree.append(&path, "more");
    }

    fn edit_same_size(&mut self, restore_mtime: bool) {
        let Some(path) = self.choose_file() else { return };
        let len = fs::symlink_metadata(self.world.tree.join(&path)).unwrap().len();
        let content = vec![b"xyz"[self.rng.index(3)]; usize::try_from(len).unwrap()];
        if restore_mtime {
            self.note("edit, mtime restored", &[&path]);
            self.world.tree.edit_secretly(&path, content);
        } else {
            self.note("edit", &[&path]);
            self.world.tree.file(&path, content);
        }
    }

    fn rename_leaf(&mut self) {
        let Some(from) = self.choose_leaf() else { return };
        let to = self.free_path();
        self.note("rename", &[&from, &to]);
        self.world.tree.rename(&from, &to);
    }

    fn rename_over(&mut self) {
        let (Some(from), Some(to)) = (self.choose_leaf(), self.choose_leaf()) else { return };
        self.note("rename over", &[&from, &to]);
        self.world.tree.rename(&from, &to);
    }

    fn delete_leaf(&mut self) {
        let Some(path) = self.choose_leaf() else { return };
        self.note("delete", &[&path]);
        self.world.tree.remove(&path);
    }

    fn delete_tree(&mut self) {
        let Some(path) = self.choose_dir() else { return };
        self.note("delete tree", &[&path]);
        self.world.tree.remove(&path);
    }

    fn swap(&mut self) {
        let (Some(a), Some(b)) = (self.choose(|_| true), self.choose(|_| true)) else { return };
        if within(&a, &b) || within(&b, &a) {
            return;
        }
        self.note("swap", &[&a, &b]);
        self.world.tree.swap(&a, &b);
    }

    fn move_dir(&mut self) {
        let Some(from) = self.choose_dir() else { return };
        let to = self.free_path();
        if within(&to, &from) {
            return;
        }
        self.note("move directory", &[&from, &to]);
        self.world.tree.rename(&from, &to);
    }

    fn hard_link(&mut self) {
        let Some(from) = self.choose_leaf() else { return };
        let to = self.free_path();
        self.note("hard link", &[&from, &to]);
        self.world.tree.hard_link(&from, &to);
    }

    fn chmod(&mut self) {
        if self.rng.chance(30) {
            let Some(path) = self.choose_dir() else { return };
            let mode = [0o700, 0o755, 0o775][self.rng.index(3)];
            self.note("chmod directory", &[&path]);
            self.world.tree.chmod(&path, mode);
            return;
        }
        let Some(path) = self.choose_file() else { return };
        // An unreadable file has no content hash, and says so; that is a test of its own.
        let modes = if self.hashes { [0o600, 0o644, 0o755] } else { [0o000, 0o644, 0o4711] };
        let mode = modes[self.rng.index(3)];
        self.note("chmod", &[&path]);
        self.world.tree.chmod(&path, mode);
    }

    fn file_becomes_dir(&mut self) {
        let Some(path) = self.choose_leaf() else { return };
        self.note("file becomes directory", &[&path]);
        self.world.tree.remove(&path);
        let content = self.content();
        self.world.tree.file([path.as_slice(), b"/inner"].concat(), content);
    }

    fn dir_becomes_file(&mut self) {
        let Some(path) = self.choose_dir() else { return };
        let content = self.content();
        self.note("directory becomes file", &[&path]);
        self.world.tree.remove(&path).file(&path, content);
    }

    fn recreate(&mut self) {
        let Some(path) = self.choose_file() else { return };
        let content = fs::read(self.world.tree.join(&path)).unwrap();
        self.note("recreate", &[&path]);
        self.world.tree.remove(&path).file(&path, content);
    }

    fn replace(&mut self) {
        let Some(path) = self.choose_file() else { return };
        let content = self.content();
        self.note("replace", &[&path]);
        self.world.tree.replace(&path, content);
    }

    fn symlink(&mut self) {
        let path = self.free_path();
        let targets: [&[u8]; 6] = [b"anchor", b".", b"..", b"/etc", b"nowhere", b"bad\xff\n"];
        let target = targets[self.rng.index(targets.len())];
        self.note("symlink", &[target, &path]);
        self.world.tree.symlink(target, &path);
    }

    fn touch(&mut self) {
        let Some(path) = self.choose(|_| true) else { return };
        // Whole seconds, long ago, before 1970 too.
        let seconds = i64::try_from(self.rng.below(2_000_000_000)).unwrap() - 500_000_000;
        self.note("touch", &[&path]);
        self.world.tree.set_mtime(&path, seconds * 1_000_000_000);
    }

    fn mkdir(&mut self) {
        let path = self.free_path();
        self.note("mkdir", &[&path]);
        self.world.tree.dir(&path);
    }

    fn fifo(&mut self) {
        let path = self.free_path();
        self.note("fifo", &[&path]);
        self.world.tree.fifo(&path);
    }

    // ---- scanning and comparing

    fn scan(&mut self) {
        let subtree = if self.scanned && self.rng.chance(20) { self.choose_known_dir() } else { None };
        match subtree {
            Some(dir) => self.scan_subtree(&dir),
            None => self.scan_root(),
        }
    }

    /// A directory that is on the disk and that the engine knows as a directory.
    fn choose_known_dir(&mut self) -> Option<Vec<u8>> {
        let dir = self.choose_dir()?;
        let snapshot = self.world.snapshot();
        let known = snapshot.get(address(&dir)).is_some_and(|entry| entry.kind().name() == "dir");
        known.then_some(dir)
    }

    fn scan_target(&mut self, target: &[u8]) -> treewarden::Report {
        self.world.walker = [Walker::Auto, Walker::Fd, Walker::Jwalk][self.rng.index(3)];
        let mode = if self.rng.chance(25) { ScanMode::Full } else { ScanMode::Quick };
        let progressive = !self.scanned && self.rng.chance(40);
        let threads = 1 + self.rng.index(3);
        self.log.push(format!("SCAN {} {mode:?} {:?} threads {threads}", show(target), self.world.walker));
        let report = self.world.scan_target(target, |options| {
            let publish = if progressive { Publish::Progressive } else { Publish::Atomic };
            options.mode(mode).threads(threads).accept_missing().publish(publish)
        });
        assert!(report.is_clean(), "the scan was not clean: {report:?}");
        report
    }

    fn reference(&self) -> (Listing, u64) {
        let ignoring = self.ignoring;
        reference::walk(self.world.tree.path(), ROOT, &|name| ignoring && name.ends_with(b".skip"))
    }

    fn scan_root(&mut self) {
        let report = self.scan_target(ROOT.as_bytes());
        self.scanned = true;
        let (disk, special) = self.reference();
        let snapshot = self.world.snapshot();
        assert_same("snapshot against disk", &disk, &reference::of_snapshot(&snapshot, ""));
        let files = disk.values().filter(|facts| facts.kind != "dir").count() as u64;
        assert_eq!(report.files, files, "the report's count of files");
        assert_eq!(report.special, special, "the report's count of FIFOs");
        assert_eq!(snapshot.len(), files, "the snapshot's length");
        self.check_hashes(&snapshot);
        self.check_snapshot(&snapshot);

        if self.rng.chance(20) && !snapshot.entries("").any(|entry| entry.is_racy()) {
            let again = self.scan_target(ROOT.as_bytes());
            assert!(again.is_unchanged(), "nothing was touched, but: {again:?}");
            assert_eq!(self.world.warden().seq(), snapshot.seq(), "an unchanged tree made a commit");
        }
    }

    fn scan_subtree(&mut self, dir: &[u8]) {
        let target = address(dir);
        self.scan_target(&target);
        let snapshot = self.world.snapshot();
        let below = |listing: Listing| -> Listing {
            let prefix = [target.as_slice(), b"/"].concat();
            listing.into_iter().filter(|(path, _)| path.starts_with(&prefix)).collect()
        };
        let disk = below(self.reference().0);
        assert_same("subtree against disk", &disk, &below(reference::of_snapshot(&snapshot, &target)));
        self.check_snapshot(&snapshot);
    }

    /// Equal content has equal hashes and other content has others, according to the files.
    fn check_hashes(&mut self, snapshot: &Snapshot) {
        for entry in snapshot.files(ROOT).filter(|entry| entry.kind().name() == "file") {
            let path = entry.path();
            let Some(hash) = entry.hash() else {
                assert!(!self.hashes || entry.is_racy() || entry.size() == 0, "{} has no hash", show(&path));
                continue;
            };
            assert!(self.hashes, "{} has a hash nobody asked for", show(&path));
            let content = fs::read(self.world.tree.join(&path[ROOT.len() + 1..])).unwrap();
            if let Some(known) = self.hash_of.get(&content) {
                assert_eq!(*known, hash, "{} has the hash of other content", show(&path));
                continue;
            }
            assert!(self.hash_of.values().all(|known| *known != hash), "{} has a stale hash", show(&path));
            self.hash_of.insert(content, hash);
        }
    }

    fn check_snapshot(&mut self, snapshot: &Snapshot) {
        let dump = reference::dump(snapshot);
        self.check_totals(snapshot, &dump);
        self.replay.catch_up(self.world.warden());
        self.replay.assert_matches(snapshot);
        for (held, before) in &self.held {
            let now = reference::dump(held);
            reference::assert_same_dump("a snapshot that was held", before, &now);
        }
        let chosen = self.rng.index(self.held.len().max(1));
        if let Some((held, before)) = self.held.get(chosen) {
            let rows: Vec<Row> = snapshot.diff(held).iter().map(Row::of).collect();
            reference::assert_diff(before, &dump, &rows);
        }
        if self.held.len() > 3 {
            self.held.remove(chosen);
        }
        if self.rng.chance(50) {
            self.held.push((snapshot.clone(), dump));
        }
    }

    fn check_totals(&mut self, snapshot: &Snapshot, dump: &Dump) {
        let dirs: Vec<&Vec<u8>> = dump
            .present
            .iter()
            .filter(|(_, known)| known.facts.kind == "dir")
            .map(|(path, _)| path)
            .collect();
        let mut prefixes = vec![ROOT.as_bytes().to_vec()];
        for _ in 0..3 {
            prefixes.extend(self.rng.pick(&dirs).map(|path| path.to_vec()));
        }
        for prefix in prefixes {
            let below = [prefix.as_slice(), b"/"].concat();
            let (mut files, mut dirs, mut bytes, mut direct) = (0, 0, 0, Vec::new());
            for (path, known) in &dump.present {
                let Some(rest) = path.strip_prefix(below.as_slice()) else { continue };
                if known.facts.kind == "dir" {
                    dirs += 1;
                } else {
                    files += 1;
                    bytes += known.facts.size;
                }
                if !rest.contains(&b'/') {
                    direct.push(path.clone());
                }
            }
            let totals = snapshot.du(&prefix).unwrap_or_else(|| panic!("no totals of {}", show(&prefix)));
            let sums = (files, dirs, bytes);
            assert_eq!((totals.files, totals.dirs, totals.bytes), sums, "totals of {}", show(&prefix));
            let mut children: Vec<Vec<u8>> = snapshot.children(&prefix).map(|entry| entry.path()).collect();
            children.sort();
            assert_eq!(children, direct, "children of {}", show(&prefix));
        }
    }

    fn reopen(&mut self) {
        self.log.push("REOPEN".to_owned());
        let before = reference::dump(&self.world.snapshot());
        self.world.reopen();
        reference::assert_same_dump("after reopening", &before, &reference::dump(&self.world.snapshot()));
    }
}

/// True when `path` is `dir` or lies below it.
fn within(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
