//! The program from outside: what a shell script, a person and a pipe see of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longer than the tick of the file system's clock: what is older than this when it is scanned is
/// not racy.
const SETTLE: Duration = Duration::from_millis(100);

/// A directory with a tree in it, `tree`, and a state file beside the tree.
struct World {
    dir: TempDir,
}

/// What a call left behind.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
    raw: Vec<u8>,
}

impl World {
    fn new() -> World {
        let world = World { dir: TempDir::new().unwrap() };
        fs::create_dir(world.tree()).unwrap();
        world
    }

    /// A world whose tree holds these files, settled and scanned.
    fn scanned(files: &[&str]) -> World {
        let world = World::new();
        for file in files {
            world.write(file, file);
        }
        world.scan();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    fn db(&self) -> PathBuf {
        self.path("state.tw")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.tree().join(name)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        let to = self.tree().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.tree().join(from), to).unwrap();
    }

    /// The program without a state file named, and without the user's own settings.
    fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treewarden"));
        command
            .current_dir(self.dir.path())
            .env_remove("TREEWARDEN_DB")
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("data"));
        command
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.bare();
        command.arg("--db").arg(self.db()).args(args);
        command
    }

    fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        Run::from(self.command(args).output().unwrap())
    }

    /// Runs a call that must end well, and returns its lines of JSON.
    fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Vec<Value> {
        let run = Run::from(self.command(args).arg("--json").output().unwrap());
        assert_eq!(run.code, Some(0), "{}", run.err);
        run.json()
    }

    /// Waits until nothing is racy, scans the tree by its path, and returns the report.
    fn scan(&self) -> Value {
        thread::sleep(SETTLE);
        self.json(&["scan", "tree"]).remove(0)
    }

    fn listing(&self) -> Vec<String> {
        let run = self.run(&["ls"]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        run.out.lines().map(str::to_owned).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            raw: output.stdout,
        }
    }
}

impl Run {
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// An error as the style wants it: a sentence on standard error, nothing on standard output,
    /// code 1.
    fn assert_error(&self, part: &str) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        assert!(self.err.contains(part), "`{part}` is not in: {}", self.err);
        assert_eq!(self.out, "");
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or("")
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no number `{field}` in {value}"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

// ---- the main story

#[test]
fn a_second_scan_says_nothing_changed_and_writes_nothing() {
    let world = World::scanned(&["a.txt", "album/b.txt"]);
    let bytes = fs::read(world.db()).unwrap();
    let mtime = fs::metadata(world.db()).unwrap().modified().unwrap();
    thread::sleep(SETTLE);

    let run = world.run(&["scan"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.out.contains("nothing changed"), "{}", run.out);
    assert!(run.out.contains("2 files in"), "{}", run.out);

    assert_eq!(fs::metadata(world.db()).unwrap().modified().unwrap(), mtime);
    assert!(fs::read(world.db()).unwrap() == bytes, "the state file has other bytes");
}

#[test]
fn changes_tells_exactly_what_other_programs_did() {
    let world = World::scanned(&[
        "a.txt",
        "b.txt",
        "same.txt",
        "gone/c.txt",
        "gone/x.txt",
        "album/d.txt",
        "album/e.txt",
    ]);
    let seq = number(&world.json(&["status"])[0], "seq");
    assert!(seq > 0);

    world.write("new.txt", "new");
    world.write("a.txt", "edited");
    world.rename("b.txt", "kept/b2.txt");
    world.rename("album", "records");
    world.remove("gone/c.txt");
    let report = world.scan();
    for (field, expected) in
        [("added", 1), ("modified", 1), ("moved", 3), ("missing", 1), ("restored", 0), ("unchanged", 2)]
    {
        assert_eq!(number(&report, field), expected, "{field} in {report}");
    }

    let since = seq.to_string();
    let changes = world.json(&["changes", "--since", &since]);
    assert!(changes.iter().all(|change| number(change, "seq") > seq && text(change, "root") == "tree"));
    let told: BTreeSet<(&str, &str, &str)> = changes
        .iter()
        .map(|change| (text(change, "kind"), text(change, "path"), text(change, "from")))
        .collect();
    let expected = BTreeSet::from([
        ("added", "new.txt", ""),
        ("modified", "a.txt", ""),
        ("moved", "kept/b2.txt", "b.txt"),
        ("moved", "records/d.txt", "album/d.txt"),
        ("moved", "records/e.txt", "album/e.txt"),
        ("missing", "gone/c.txt", ""),
    ]);
    assert_eq!(told, expected);
    assert_eq!(changes.len(), expected.len());

    let human = world.run(&["changes", "--since", &since]).out;
    assert!(human.contains("tree/b.txt -> tree/kept/b2.txt"), "{human}");
    assert!(world.json(&["changes", "--since", &number(&report, "seq").to_string()]).is_empty());
}

#[test]
fn a_file_keeps_its_id_when_it_moves_and_is_restored_when_it_returns() {
    let world = World::scanned(&["a.txt", "b.txt"]);
    let id = number(&world.json(&["ls", "tree/a.txt"])[0], "id");
    world.rename("a.txt", "deep/er/a.txt");
    world.scan();
    assert_eq!(number(&world.json(&["ls", "tree/deep/er/a.txt"])[0], "id"), id);

    fs::rename(world.tree().join("deep/er/a.txt"), world.path("outside.txt")).unwrap();
    assert_eq!(number(&world.scan(), "missing"), 1);
    let missing = world.json(&["ls", "--missing"]);
    assert_eq!(missing.len(), 1);
    assert_eq!(text(&missing[0], "path"), "deep/er/a.txt");
    assert!(number(&missing[0], "missing_since_ns") > 0);

    fs::rename(world.path("outside.txt"), world.tree().join("deep/er/a.txt")).unwrap();
    assert_eq!(number(&world.scan(), "restored"), 1);
    assert_eq!(number(&world.json(&["ls", "tree/deep/er/a.txt"])[0], "id"), id);
}

#[test]
fn changes_of_a_future_that_never_was_are_an_error_with_a_way_out() {
    let world = World::scanned(&["a.txt"]);
    let run = world.run(&["changes", "--since", "999999"]);
    run.assert_error("");
    assert!(run.err.contains("hint: ") && run.err.contains("--since"), "{}", run.err);
}

// ---- the contract of the JSON lines

#[test]
fn the_json_of_ls_has_the_fields_of_the_contract() {
    let world = World::scanned(&["a.txt"]);
    let run = world.run(&["ls", "--json"]);
    assert!(
        run.out.starts_with(r#"{"root":"tree","path":"a.txt","kind":"file","size":5,"mtime_ns":"#),
        "{}",
        run.out
    );
    let entry = &run.json()[0];
    let contract = ["root", "path", "kind", "size", "mtime_ns", "ctime_ns", "inode", "mode", "seq", "id"];
    assert_eq!(keys(entry), BTreeSet::from(contract));
    assert_eq!(number(entry, "mode") & 0o170_000, 0o100_000);
}

#[test]
fn the_json_of_scan_begins_with_the_fields_of_the_contract_in_order() {
    let world = World::new();
    world.write("a.txt", "a");
    let line = world.run(&["scan", "tree", "--json"]).out;
    let contract = [
        "root",
        "mode",
        "seq",
        "added",
        "modified",
        "moved",
        "missing",
        "restored",
        "unchanged",
        "dirs",
        "files",
        "bytes",
        "errors",
        "held",
        "unavailable",
        "elapsed_ms",
    ];
    let mut rest = line.strip_prefix('{').unwrap();
    for field in contract {
        rest = rest
            .strip_prefix(&format!("\"{field}\":"))
            .unwrap_or_else(|| panic!("{field} is not next in {line}"));
        rest = rest.split_once(',').unwrap().1;
    }
    let report: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(text(&report, "mode"), "quick");
    assert!(report["held"].is_null() && report["unavailable"].is_null());
    assert_eq!(number(&report, "added"), 1);
}

#[test]
fn hashes_are_32_hex_digits_of_the_content() {
    let world = World::new();
    world.write("a.txt", "same");
    world.write("b.txt", "same");
    thread::sleep(SETTLE);
    world.json(&["scan", "tree", "--hash"]);
    let entries = world.json(&["ls"]);
    let hash = text(&entries[0], "hash");
    assert_eq!(hash.len(), 32);
    assert!(hash.chars().all(|char| matches!(char, '0'..='9' | 'a'..='f')), "{hash}");
    assert_eq!(hash, text(&entries[1], "hash"));
    assert_eq!(text(&world.json(&["roots"])[0], "content_hash"), "changed");
}

// ---- listing

#[test]
fn ls_lists_in_path_order_and_takes_prefixes_globs_and_directories() {
    let world = World::scanned(&["a/b/c.mp3", "a/d.txt", "a-b.mp3", "z.mp3"]);
    assert_eq!(world.listing(), ["tree/a/b/c.mp3", "tree/a/d.txt", "tree/a-b.mp3", "tree/z.mp3"]);
    assert_eq!(world.run(&["ls", "tree/a/"]).out, "tree/a/b/c.mp3\ntree/a/d.txt\n");
    assert_eq!(world.run(&["ls", "tree/a/d.txt"]).out, "tree/a/d.txt\n");
    assert_eq!(world.run(&["ls", "tree", "--glob", "*.mp3"]).out, "tree/a-b.mp3\ntree/z.mp3\n");
    assert_eq!(world.run(&["ls", "tree", "--glob", "**/*.txt"]).out, "tree/a/d.txt\n");
    assert_eq!(world.run(&["ls", "tree/a", "--dirs"]).out, "tree/a/b\ntree/a/b/c.mp3\ntree/a/d.txt\n");
    let long = world.run(&["ls", "tree/z.mp3", "-l"]).out;
    assert!(
        long.starts_with("file ") && long.ends_with("Z  tree/z.mp3\n") && long.contains(" 5  2"),
        "{long}"
    );
    assert_eq!(world.run(&["ls", "--missing"]).out, "");
}

#[test]
fn du_sums_up_at_any_depth() {
    let world = World::new();
    world.write("a/b/one", "1");
    world.write("a/two", "22");
    world.write("three", "333");
    world.scan();
    let sums = |args: &[&str]| -> Vec<(String, u64, u64, u64)> {
        let sum = |line: &Value| {
            let path = text(line, "path").to_owned();
            (path, number(line, "files"), number(line, "dirs"), number(line, "bytes"))
        };
        world.json(args).iter().map(sum).collect()
    };
    let (all, a, b) = ((String::new(), 3, 2, 6), ("a".to_owned(), 2, 1, 3), ("a/b".to_owned(), 1, 0, 1));
    assert_eq!(sums(&["du"]), std::slice::from_ref(&all));
    assert_eq!(sums(&["du", "tree", "--depth", "1"]), [all.clone(), a.clone()]);
    assert_eq!(sums(&["du", "--depth", "9"]), [all, a.clone(), b]);
    assert_eq!(sums(&["du", "tree/a"]), [a]);
    assert_eq!(sums(&["du", "tree/three"]), [("three".to_owned(), 1, 0, 3)]);
    assert!(world.run(&["du", "tree/a"]).out.starts_with("3 B  2 files  1 dir  tree/a"));
}

#[test]
fn an_unknown_prefix_is_an_error_with_a_hint() {
    let world = World::scanned(&["a.txt"]);
    for args in
        [["ls", "tree/nope"], ["du", "tree/nope"], ["ls", "other"], ["du", "/abs"], ["ls", "tree/../tree"]]
    {
        let run = world.run(&args);
        run.assert_error(args[1]);
        assert!(run.err.contains("hint: "), "{}", run.err);
    }
}

#[test]
fn a_bad_glob_or_pattern_is_an_error_and_creates_nothing() {
    let world = World::scanned(&["a.txt"]);
    world.run(&["ls", "--glob", "a[b"]).assert_error("a[b");

    let world = World::new();
    world.run(&["scan", "tree", "--ignore", "a\nb"]).assert_error(r"a\nb");
    assert!(!world.db().exists());
}

#[test]
fn explain_tells_what_is_recorded_and_what_is_on_the_disk() {
    let world = World::scanned(&["a.txt"]);
    let told = world.json(&["explain", "tree/a.txt"]).remove(0);
    assert_eq!((text(&told, "root"), text(&told, "path")), ("tree", "a.txt"));
    assert_eq!(number(&told["entry"], "size"), 5);
    assert_eq!(number(&told["on_disk"], "inode"), number(&told["entry"], "inode"));
    assert!(!text(&told, "verdict").is_empty());
    let human = world.run(&["explain", "tree/a.txt"]);
    assert!(human.out.starts_with("tree/a.txt\n") && human.out.contains("on disk"), "{}", human.out);
}

#[test]
fn status_history_and_roots_tell_where_things_stand() {
    let world = World::scanned(&["a.txt", "b/c.txt"]);
    let status = world.json(&["status"]).remove(0);
    assert_eq!((number(&status, "files"), number(&status, "missing")), (2, 0));
    assert_eq!(text(&status["roots"][0], "state"), "ready");
    let history = world.json(&["history", "--limit", "1"]);
    assert_eq!(history.len(), 1);
    assert_eq!((text(&history[0], "root"), number(&history[0], "added")), ("tree", 2));
    assert!(world.run(&["history"]).out.contains("2 added"));
    assert!(world.run(&["status"]).out.contains("2 files in "));
    assert!(world.run(&["roots"]).out.starts_with("tree  ready  2 files"));
}

// ---- roots

#[test]
fn directories_of_the_same_name_become_roots_with_numbers() {
    let world = World::new();
    for dir in ["one/photos", "two/photos", "three/photos"] {
        fs::create_dir_all(world.path(dir)).unwrap();
        fs::write(world.path(dir).join("a.jpg"), dir).unwrap();
    }
    assert_eq!(world.run(&["scan", "one/photos", "two/photos"]).code, Some(0));
    assert_eq!(world.run(&["scan", "three/photos", "--name", "mine"]).code, Some(0));
    assert_eq!(world.run(&["scan", "one/photos"]).code, Some(0));
    let roots: Vec<String> =
        world.json(&["roots"]).iter().map(|root| text(root, "root").to_owned()).collect();
    assert_eq!(
        BTreeSet::from_iter(roots.iter().map(String::as_str)),
        BTreeSet::from(["mine", "photos", "photos-2"])
    );
    assert_eq!(roots.len(), 3);

    world.run(&["scan", "one/photos", "--name", "other"]).assert_error("`photos`");
    world.run(&["root", "add", "mine", "one"]).assert_error("mine");
}

#[test]
fn a_directory_inside_a_root_is_scanned_as_a_part_of_it() {
    let world = World::scanned(&["a/one", "b/two"]);
    world.write("a/new", "new");
    world.write("b/new", "new");
    thread::sleep(SETTLE);
    let report = world.json(&["scan", "tree/a"]).remove(0);
    assert_eq!((text(&report, "root"), number(&report, "added")), ("tree", 1));
    assert_eq!(world.json(&["roots"]).len(), 1);
    assert!(world.listing().contains(&"tree/a/new".to_owned()));
    assert!(!world.listing().contains(&"tree/b/new".to_owned()));
    let run = world.run(&["scan", "tree/a", "--name", "a"]);
    run.assert_error("`tree`");
    assert!(run.err.contains("root add"), "{}", run.err);
}

#[test]
fn a_root_is_added_moved_and_removed() {
    let world = World::new();
    world.write("a.txt", "a");
    let root =
        world.json(&["root", "add", "files", "tree", "--ignore", "*.bak", "--compare", "no_inode"]).remove(0);
    assert_eq!((text(&root, "state"), text(&root, "compare")), ("new", "no_inode"));
    assert_eq!(root["ignore"], serde_json::json!(["*.bak"]));
    thread::sleep(SETTLE);
    assert_eq!(number(&world.json(&["scan"])[0], "added"), 1);
    let id = number(&world.json(&["ls", "files/a.txt"])[0], "id");

    fs::rename(world.tree(), world.path("elsewhere")).unwrap();
    assert_eq!(world.run(&["root", "move", "files", "elsewhere"]).code, Some(0));
    let report = world.json(&["scan"]).remove(0);
    assert_eq!((number(&report, "added"), number(&report, "missing"), number(&report, "moved")), (0, 0, 0));
    assert_eq!(number(&world.json(&["ls", "files/a.txt"])[0], "id"), id);

    assert_eq!(world.run(&["root", "remove", "files"]).code, Some(0));
    assert!(world.json(&["roots"]).is_empty());
    assert!(world.path("elsewhere/a.txt").exists());
    world.run(&["root", "remove", "files"]).assert_error("files");
}

#[test]
fn options_given_to_a_known_root_last() {
    let world = World::scanned(&["a.txt", ".hidden", "b.tmp"]);
    assert_eq!(world.listing().len(), 3);
    assert_eq!(world.run(&["scan", "tree", "--junk"]).code, Some(0));
    assert_eq!(world.listing(), ["tree/a.txt"]);
    world.write("c.tmp", "c");
    world.scan();
    assert_eq!(world.listing(), ["tree/a.txt"]);
    let explained = world.json(&["explain", "tree/c.tmp"]).remove(0);
    assert_eq!(text(&explained, "ignored_by"), "*.tmp");
}

// ---- exit codes

#[test]
fn wrong_usage_is_code_2() {
    let world = World::scanned(&["a.txt"]);
    let lines: [&[&str]; 9] = [
        &[],
        &["fly"],
        &["ls", "--wings"],
        &["scan", "tree", "tree", "--name", "both"],
        &["scan", "--name", "none"],
        &["changes", "--since", "yesterday"],
        &["scan", "--threads", "0"],
        &["ls", "-0", "--json"],
        &["ls", "-0", "-l"],
    ];
    for line in lines {
        let run = world.run(line);
        assert_eq!(run.code, Some(2), "{line:?}: {}", run.err);
        assert_eq!(run.out, "");
    }
    assert_eq!(world.run(&["--help"]).code, Some(0));
    assert_eq!(world.run(&["--version"]).code, Some(0));
}

#[test]
fn without_a_state_file_only_a_scan_of_a_directory_begins_one() {
    let world = World::new();
    for args in [&["ls"][..], &["status"], &["roots"], &["scan"], &["compact"], &["changes"]] {
        let run = world.run(args);
        run.assert_error("state file");
        assert!(run.err.contains("hint: `treewarden scan DIR`"), "{}", run.err);
    }
    world.run(&["scan", "nowhere"]).assert_error("nowhere");
    world.run(&["root", "add", "n", "nowhere"]).assert_error("nowhere");
    fs::write(world.path("file"), "x").unwrap();
    world.run(&["scan", "file"]).assert_error("not a directory");
    assert!(!world.db().exists());
}

#[test]
fn a_state_without_roots_has_nothing_to_scan() {
    let world = World::scanned(&["a.txt"]);
    assert_eq!(world.run(&["root", "remove", "tree"]).code, Some(0));
    world.run(&["scan"]).assert_error("no roots");
}

#[test]
fn a_state_file_that_is_none_is_refused_and_left_alone() {
    let world = World::new();
    fs::create_dir(world.db()).unwrap();
    world.run(&["scan", "tree"]).assert_error("state.tw");
    fs::remove_dir(world.db()).unwrap();

    let text = "my shopping list\n".repeat(1_000);
    fs::write(world.db(), &text).unwrap();
    for args in [&["scan", "tree"][..], &["ls"], &["compact"]] {
        world.run(args).assert_error("state.tw");
    }
    assert_eq!(fs::read_to_string(world.db()).unwrap(), text);
}

#[test]
fn a_root_that_lost_most_of_its_files_is_held_until_it_is_accepted() {
    let world = World::new();
    for number in 0..200 {
        world.write(&format!("{number}"), "x");
    }
    world.scan();
    for number in 50..200 {
        world.remove(&format!("{number}"));
    }
    let held = world.run(&["scan", "--json"]);
    assert_eq!(held.code, Some(3), "{}", held.err);
    assert_eq!(held.json()[0]["held"], serde_json::json!({"missing": 150, "of": 200}));

    let human = world.run(&["scan", "tree"]);
    assert_eq!(human.code, Some(3));
    assert!(human.out.contains("held") && human.out.contains("--accept-missing"), "{}", human.out);
    assert_eq!(world.listing().len(), 200);
    assert_eq!(text(&world.json(&["roots"])[0], "state"), "held");

    let accepted = world.json(&["scan", "--accept-missing"]).remove(0);
    assert_eq!(number(&accepted, "missing"), 150);
    assert_eq!(world.listing().len(), 50);
    assert_eq!(world.json(&["ls", "--missing"]).len(), 150);
}

#[test]
fn an_unavailable_root_changes_nothing_and_stops_no_other_root() {
    let world = World::scanned(&["a.txt"]);
    fs::create_dir(world.path("other")).unwrap();
    fs::write(world.path("other/b.txt"), "b").unwrap();
    thread::sleep(SETTLE);
    world.json(&["scan", "other"]);
    fs::rename(world.tree(), world.path("away")).unwrap();
    fs::write(world.path("other/c.txt"), "c").unwrap();
    thread::sleep(SETTLE);

    let run = world.run(&["scan", "--json"]);
    assert_eq!(run.code, Some(3), "{}", run.err);
    let reports = run.json();
    let report = |name: &str| reports.iter().find(|report| text(report, "root") == name).unwrap();
    assert!(report("tree")["unavailable"].is_string());
    assert_eq!(number(report("other"), "added"), 1);
    let human = world.run(&["scan", "tree"]);
    assert_eq!(human.code, Some(3), "a root is found by its path even when it is gone: {}", human.err);
    assert!(human.out.contains("unavailable"), "{}", human.out);
    assert_eq!(world.listing().len(), 3);
    assert_eq!(world.run(&["roots"]).code, Some(0));

    fs::rename(world.path("away"), world.tree()).unwrap();
    let back = world.json(&["scan", "tree"]).remove(0);
    assert_eq!((number(&back, "added"), number(&back, "missing"), number(&back, "modified")), (0, 0, 0));
}

#[cfg(unix)]
#[test]
fn an_unreadable_directory_is_reported_and_keeps_its_files() {
    use std::os::unix::fs::PermissionsExt;

    let world = World::scanned(&["a.txt", "locked/b.txt"]);
    let locked = world.tree().join("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    let is_privileged = fs::read_dir(&locked).is_ok();
    let run = world.run(&["scan"]);
    let json = world.run(&["scan", "--json"]);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    if is_privileged {
        let _ = writeln!(std::io::stderr(), "skipped: this user may read everything");
        return;
    }
    assert_eq!(run.code, Some(3), "{}", run.err);
    assert!(run.out.contains("unreadable") && run.out.contains("tree/locked"), "{}", run.out);
    let report = &json.json()[0];
    assert_eq!((number(report, "errors"), number(report, "missing")), (1, 0));
    assert_eq!(text(&report["first_errors"][0], "path"), "locked");
    assert_eq!(text(&report["first_errors"][0], "kind"), "permission_denied");
    assert_eq!(world.listing().len(), 2);
}

#[test]
fn verify_finds_what_differs_and_changes_nothing() {
    let world = World::scanned(&["a.txt", "b.txt", "c.txt"]);
    let run = world.run(&["verify"]);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);

    world.write("a.txt", "edited since");
    world.write("new.txt", "new");
    world.remove("b.txt");
    let run = world.run(&["verify", "tree", "--json"]);
    assert_eq!(run.code, Some(3), "{}", run.err);
    let report = run.json().remove(0);
    let differences: BTreeSet<(&str, &str)> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| (text(difference, "what"), text(difference, "path")))
        .collect();
    for expected in [("changed", "a.txt"), ("unknown", "new.txt"), ("missing", "b.txt")] {
        assert!(differences.contains(&expected), "{expected:?} is not in {report}");
    }
    assert_eq!(world.listing(), ["tree/a.txt", "tree/b.txt", "tree/c.txt"]);
    world.run(&["verify", "nope"]).assert_error("nope");
}

// ---- names

#[cfg(target_os = "linux")]
#[test]
fn odd_names_are_safe_for_people_and_exact_for_programs() {
    use std::os::unix::ffi::OsStrExt;

    let world = World::new();
    let names: [&[u8]; 4] = [b"bad\xff.txt", b"back\\slash", b"esc\x1b[31m", b"new\nline"];
    for name in names {
        fs::write(world.tree().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    world.scan();

    let human = world.run(&["ls"]);
    let shown = [r"tree/back\\slash", r"tree/bad\xff.txt", r"tree/esc\x1b[31m", r"tree/new\nline"];
    assert_eq!(human.out.lines().collect::<BTreeSet<_>>(), BTreeSet::from(shown));
    for args in [&["ls", "-l"][..], &["changes"], &["du", "--depth", "3"]] {
        assert!(!world.run(args).raw.contains(&0x1b), "{args:?}");
    }

    let exact = world.run(&["ls", "-0"]);
    let expected: BTreeSet<Vec<u8>> = names.iter().map(|name| [&b"tree/"[..], *name].concat()).collect();
    assert!(exact.raw.ends_with(b"\0"));
    let ends = exact.raw.strip_suffix(b"\0").unwrap();
    assert_eq!(ends.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect::<BTreeSet<_>>(), expected);

    for command in ["ls", "changes"] {
        let lines = world.json(&[command]);
        let of = |path: &str| {
            lines.iter().find(|line| text(line, "path") == path).unwrap_or_else(|| panic!("{path}"))
        };
        assert_eq!(text(of(r"bad\xff.txt"), "path_b64"), "YmFk/y50eHQ=");
        for path in ["back\\slash", "esc\x1b[31m", "new\nline"] {
            assert!(of(path)["path_b64"].is_null());
        }
    }

    let address = OsStr::from_bytes(b"tree/bad\xff.txt");
    let one = world.json(&[OsStr::new("ls"), address]);
    assert_eq!(one.len(), 1);
    assert_eq!(text(&world.json(&[OsStr::new("explain"), address])[0], "path_b64"), "YmFk/y50eHQ=");
}

#[cfg(unix)]
#[test]
fn a_symlink_is_listed_with_its_target_and_not_followed() {
    let world = World::scanned(&["dir/a.txt"]);
    std::os::unix::fs::symlink("dir", world.tree().join("link")).unwrap();
    world.scan();
    let link = world.json(&["ls", "tree/link"]).remove(0);
    assert_eq!((text(&link, "kind"), text(&link, "target")), ("symlink", "dir"));
    assert_eq!(world.listing(), ["tree/dir/a.txt", "tree/link"]);
    assert!(world.run(&["ls", "tree/link", "-l"]).out.ends_with("tree/link -> dir\n"));
}

// ---- pipes, places, care

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    for number in 0..1_500 {
        world.write(&format!("{number:0100}"), "");
    }
    world.scan();
    for args in [&["ls"][..], &["ls", "--json"], &["changes"]] {
        let mut child = world.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_default_state_file_lies_in_a_private_data_directory() {
    use std::os::unix::fs::PermissionsExt;

    let world = World::new();
    world.write("a.txt", "a");
    let run = Run::from(world.bare().args(["scan", "tree"]).output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.err);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.path("data/treewarden")), 0o700);
    assert_eq!(mode(&world.path("data/treewarden/state.tw")), 0o600);

    let run =
        Run::from(world.bare().env("TREEWARDEN_DB", "data/treewarden/state.tw").arg("ls").output().unwrap());
    assert_eq!(run.out, "tree/a.txt\n");
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let world = World::new();
    world.write("a.txt", "a");
    let run = world.run(&["scan", "tree", "--quiet"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(0), "", ""));
    fs::remove_dir_all(world.tree()).unwrap();
    let run = world.run(&["scan", "--quiet"]);
    assert_eq!(run.code, Some(3));
    assert!(run.out.contains("unavailable"), "{}", run.out);
}

#[test]
fn compact_and_rebuild_keep_every_entry() {
    let world = World::scanned(&["a.txt", "b/c.txt"]);
    let listing = world.json(&["ls"]);
    let sizes = world.json(&["compact"]).remove(0);
    assert!(number(&sizes, "after_bytes") <= number(&sizes, "before_bytes"));
    assert_eq!(world.json(&["ls"]), listing);

    let rebuilt = world.json(&["rebuild"]).remove(0);
    assert_eq!((number(&rebuilt, "roots"), number(&rebuilt, "lost_rows")), (1, 0));
    assert!(Path::new(text(&rebuilt, "kept_as")).exists(), "{rebuilt}");
    assert_eq!(world.listing(), ["tree/a.txt", "tree/b/c.txt"]);
    thread::sleep(SETTLE);
    assert_eq!(world.run(&["scan"]).code, Some(0));
}
