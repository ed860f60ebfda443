//! The program while it watches: what a person at a terminal, a pipe and a service manager see of it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{HANG, Lines, World, err, json, out, text};

// ---- the main story

#[test]
fn every_change_of_another_program_is_printed() {
    let world = World::new();
    world.write("tree/old.txt", "old");
    let mut watcher = world.watch(&["watch", "tree"]);

    world.write("tree/new/a.txt", "a");
    watcher.out.until_all(&["added", "tree/new/a.txt"]);
    world.write("tree/old.txt", "a longer text");
    watcher.out.until_all(&["tree/old.txt"]);
    fs::rename(world.path("tree/new"), world.path("tree/kept")).unwrap();
    watcher.out.until_all(&["moved", "tree/new/a.txt -> tree/kept/a.txt"]);
    fs::remove_file(world.path("tree/kept/a.txt")).unwrap();
    watcher.out.until_all(&["missing", "tree/kept/a.txt"]);

    let (_, err) = watcher.end();
    for line in ["new root `tree`: ", "tree: seen for the first time, 1 file", "watching 1 root, 1 file"] {
        assert!(err.iter().any(|told| told.starts_with(line)), "`{line}` is not in {err:#?}");
    }
}

#[test]
fn json_lines_are_those_of_the_journal() {
    let world = World::new();
    world.write("tree/old.txt", "old");
    let mut watcher = world.start(&["watch", "tree", "--json"]);
    let watching = json(&watcher.err.until(r#""event":"watching""#));
    assert_eq!((watching["roots"].as_u64(), watching["files"].as_u64()), (Some(1), Some(1)));

    world.write("tree/a.txt", "a");
    watcher.out.until(r#""path":"a.txt""#);
    fs::rename(world.path("tree/a.txt"), world.path("tree/b.txt")).unwrap();
    watcher.out.until(r#""path":"b.txt""#);
    let (told, err) = watcher.end();

    let told: Vec<Value> = told.iter().map(|line| json(line)).collect();
    let since = told[0]["seq"].as_u64().unwrap() - 1;
    assert_eq!(told, world.json(&["changes", "--since", &since.to_string()]));
    let moved = told.iter().find(|change| text(change, "kind") == "moved").unwrap();
    assert_eq!((text(moved, "from"), text(moved, "root")), ("a.txt", "tree"));

    let events: BTreeSet<String> = err.iter().map(|line| text(&json(line), "event").to_owned()).collect();
    assert!(events.contains("first_scan") && events.contains("notice"), "{err:#?}");
}

#[test]
fn what_happened_since_the_last_scan_is_told_first() {
    let world = World::new();
    world.write("tree/a.txt", "a");
    assert_eq!(world.json(&["scan", "tree"]).len(), 1);
    world.write("tree/late.txt", "late");
    let mut watcher = world.start(&["watch"]);
    watcher.out.until_all(&["added", "tree/late.txt"]);
    watcher.err.until("watching 1 root, 2 files");
    let (_, err) = watcher.end();
    assert!(!err.iter().any(|line| line.contains("first time")), "{err:#?}");
}

#[test]
fn polling_and_a_short_debounce_can_be_asked_for() {
    let world = World::new();
    let mut watcher = world.watch(&["watch", "tree", "--poll", "1", "--debounce-ms", "10"]);
    world.write("tree/a.txt", "a");
    watcher.out.until_all(&["added", "tree/a.txt"]);
    watcher.signal("USR1");
    watcher.err.until_all(&["tree: mode poll", "coverage polling"]);
    watcher.end();
}

#[test]
fn of_a_part_of_a_root_only_that_part_is_told() {
    let world = World::new();
    world.write("tree/a/old.txt", "old");
    world.write("tree/b/old.txt", "old");
    world.json(&["scan", "tree"]);
    let mut watcher = world.watch(&["watch", "tree/a"]);
    world.write("tree/b/not.txt", "not");
    world.write("tree/a/new.txt", "new");
    watcher.out.until_all(&["added", "tree/a/new.txt"]);
    let (told, _) = watcher.end();
    assert!(told.iter().all(|line| line.contains("tree/a/")), "{told:#?}");
    let roots = world.json(&["roots"]);
    assert_eq!(roots.len(), 1, "{roots:?}");
}

#[test]
fn the_status_can_be_asked_for_while_it_runs() {
    let world = World::new();
    let mut watcher = world.start(&["watch", "tree", "--json"]);
    watcher.err.until(r#""event":"watching""#);
    watcher.signal("USR1");
    let status = json(&watcher.err.until(r#""event":"status""#));
    let root = &status["live"]["roots"][0];
    assert_eq!((text(root, "root"), status["live"]["paused"].as_bool()), ("tree", Some(false)));
    for field in ["mode", "coverage", "coherent", "pending", "watched_dirs", "next_reconcile_ns"] {
        assert!(!root[field].is_null(), "{field} in {status}");
    }
    watcher.end();
}

// ---- how it ends

#[test]
fn ctrl_c_and_the_like_end_it_in_order() {
    for signal in ["INT", "TERM", "HUP"] {
        let world = World::new();
        world.write("tree/a.txt", "a");
        let mut watcher = world.watch(&["watch", "tree"]);
        watcher.signal(signal);
        assert_eq!(watcher.code(), Some(0), "SIG{signal}: {:#?}", watcher.err.seen);
        let listing = world.run(&["ls"]);
        assert_eq!((out(&listing).as_str(), listing.status.code()), ("tree/a.txt\n", Some(0)));
    }
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let world = World::new();
    for number in 0..3_000 {
        fs::write(world.path("tree").join(format!("{number:0200}")), "").unwrap();
    }
    world.json(&["scan", "tree"]);
    // More than a pipe takes, and nobody reads: it is stuck in a write.
    let args = ["changes", "--follow", "--since", "0", "--json"];
    let mut command = world.command(&args);
    command.arg("--db").arg(world.path("state.tw")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    // By its first byte it hears signals.
    pipe.read_exact(&mut [0]).unwrap();
    let pid = child.id();
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait().unwrap().code()));
    // Two that come together are one to the system, so as many as it takes.
    let begun = Instant::now();
    let code = loop {
        let _ = Command::new("sh").arg("-c").arg(format!("kill -INT {pid}")).stderr(Stdio::null()).status();
        match ended.recv_timeout(Duration::from_millis(20)) {
            Ok(code) => break code,
            Err(_) => assert!(begun.elapsed() < HANG, "it hangs"),
        }
    };
    assert_eq!(code, Some(130));
    drop(pipe);
    assert_eq!(world.run(&["scan"]).status.code(), Some(0), "the state is as after a kill: whole");
}

#[test]
fn a_reader_that_goes_away_is_the_end_and_no_error() {
    let world = World::new();
    let mut command = world.command(&["watch", "tree"]);
    command.arg("--db").arg(world.path("state.tw")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut err = Lines::of(child.stderr.take().unwrap());
    err.until("watching ");
    world.write("tree/a.txt", "a");
    let told = err.rest();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!told.iter().any(|line| line.contains("error")), "{told:#?}");
}

#[test]
fn the_state_file_is_in_use_meanwhile_and_others_are_told_so() {
    let world = World::new();
    let watcher = world.watch(&["watch", "tree"]);
    for args in [&["scan"][..], &["watch"], &["changes", "--follow"]] {
        let refused = world.run(args);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        let told = err(&refused);
        assert!(told.contains("state.tw") && told.contains("in use") && told.contains("hint: "), "{told}");
    }
    watcher.end();
    assert_eq!(world.run(&["scan"]).status.code(), Some(0));
}

// ---- what makes no sense

#[test]
fn what_cannot_be_watched_is_an_error_and_creates_nothing() {
    let world = World::new();
    fs::write(world.path("file"), "x").unwrap();
    let cases: [(&[&str], &str); 4] = [
        (&["watch", "nowhere"], "cannot watch `nowhere`"),
        (&["watch", "tree", "file"], "not a directory"),
        (&["watch"], "no state file"),
        (&["changes", "--follow"], "no state file"),
    ];
    for (args, part) in cases {
        let refused = world.run(args);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(1), ""), "{args:?}");
        assert!(err(&refused).contains(part), "{}", err(&refused));
    }
    assert!(!world.path("state.tw").exists());

    world.json(&["scan", "tree"]);
    assert!(world.run(&["root", "remove", "tree"]).status.success());
    for args in [&["watch"][..], &["changes", "--follow"]] {
        let refused = world.run(args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains("no roots"), "{}", err(&refused));
    }
}

#[test]
fn absurd_flags_are_wrong_usage() {
    let world = World::new();
    let cases: [&[&str]; 6] = [
        &["watch", "tree", "--poll", "-5"],
        &["watch", "tree", "--poll", "0"],
        &["watch", "tree", "--debounce-ms", "99999999"],
        &["watch", "tree", "--config", "c.toml"],
        &["watch", "tree", "tree", "--name", "both"],
        &["changes", "--follow", "--since", "now"],
    ];
    for args in cases {
        assert_eq!(world.run(args).status.code(), Some(2), "{args:?}");
    }
    assert!(!world.path("state.tw").exists());
}

// ---- changes --follow

#[test]
fn following_begins_now_or_where_it_is_told_to() {
    let world = World::new();
    world.write("tree/old.txt", "old");
    world.json(&["scan", "tree"]);

    let mut watcher = world.watch(&["changes", "--follow", "--since", "0"]);
    watcher.out.until_all(&["added", "tree/old.txt"]);
    world.write("tree/a.txt", "a");
    watcher.out.until_all(&["added", "tree/a.txt"]);
    watcher.end();

    let mut watcher = world.watch(&["changes", "--follow"]);
    world.write("tree/b.txt", "b");
    watcher.out.until_all(&["added", "tree/b.txt"]);
    let (told, _) = watcher.end();
    let is_old = |line: &String| line.contains("added") && !line.contains("b.txt");
    assert!(!told.iter().any(is_old), "{told:#?}");

    let refused = world.run(&["changes", "--follow", "--since", "999999"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("--since"), "{}", err(&refused));
}
