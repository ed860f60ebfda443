//! Pipelines and work from outside: what a shell script and a person see of them, and what the commands see
//! that `work run` runs.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Watcher, World, err, out, text};

/// A world whose tree holds these files, scanned, and a pipeline `p` over it that waits for nothing.
fn world(files: &[&str]) -> World {
    world_with(files, &[])
}

fn world_with(files: &[&str], options: &[&str]) -> World {
    let world = World::new();
    for file in files {
        world.write(&format!("tree/{file}"), file);
    }
    world.json(&["scan", "tree"]);
    let line: Vec<&str> =
        ["pipeline", "add", "p", "--settle-ms", "0"].iter().chain(options).copied().collect();
    world.json(&line);
    world
}

/// `work run p` with these words; the state file is in the environment, for all after `--` is the command.
fn working(world: &World, words: &[&str]) -> Command {
    let line: Vec<&str> = ["work", "run", "p"].iter().chain(words).copied().collect();
    let mut command = world.command(&line);
    command.env("TREEWARDEN_DB", world.path("state.tw"));
    command
}

/// Runs `script` for every job that is due. The path is `$0`.
fn once(world: &World, script: &str) -> Output {
    working(world, &["--once", "--", "sh", "-c", script]).output().unwrap()
}

fn once_json(world: &World, script: &str) -> (Option<i32>, Vec<Value>) {
    let output = working(world, &["--once", "--json", "--", "sh", "-c", script]).output().unwrap();
    (output.status.code(), out(&output).lines().map(support::json).collect())
}

/// The states of all items by path.
fn states(world: &World) -> BTreeMap<String, String> {
    let item = |line: &Value| (text(line, "path").to_owned(), text(line, "state").to_owned());
    world.json(&["work", "list", "p"]).iter().map(item).collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn assert_error(output: &Output, part: &str) {
    assert_eq!(output.status.code(), Some(1), "{}{}", out(output), err(output));
    assert!(err(output).starts_with("error: ") && err(output).contains(part), "{}", err(output));
    assert_eq!(out(output), "");
}

// ---- the main story

#[test]
fn a_command_is_run_once_for_each_file_and_again_when_it_changes() {
    let world = world(&["a.txt", "b/c.txt"]);
    let run = once(&world, r#"echo "$TREEWARDEN_STATE $TREEWARDEN_ATTEMPT $TREEWARDEN_PATH $0""#);
    assert_eq!(run.status.code(), Some(0), "{}", err(&run));
    let tree = fs::canonicalize(world.path("tree")).unwrap();
    let line = |state: &str, file: &str| format!("{state} 1 tree/{file} {}", tree.join(file).display());
    assert_eq!(sorted(&out(&run)), [line("new", "a.txt"), line("new", "b/c.txt")]);
    assert!(err(&run).contains("2 done, 0 failed"), "{}", err(&run));

    assert_eq!(out(&once(&world, "echo again")), "", "nothing is due");
    world.write("tree/a.txt", "other content");
    world.json(&["scan", "tree"]);
    assert_eq!(out(&once(&world, "echo $TREEWARDEN_STATE")), "changed\n");

    fs::remove_file(world.path("tree/a.txt")).unwrap();
    world.json(&["scan", "tree"]);
    assert_eq!(out(&once(&world, "echo $TREEWARDEN_STATE $TREEWARDEN_PATH")), "missing tree/a.txt\n");
    assert_eq!(states(&world), BTreeMap::from([("tree/b/c.txt".into(), "indexed".into())]));
}

#[test]
fn the_path_takes_the_place_of_each_mark_or_comes_last() {
    let world = world(&["a b.txt"]);
    let path = fs::canonicalize(world.path("tree/a b.txt")).unwrap().display().to_string();
    let cases: [(&[&str], String); 3] = [
        (&["echo", "-n"], path.clone()),
        (&["echo", "-n", "{}"], path.clone()),
        (&["printf", "%s|", "{}.jpg", "x", "{}"], format!("{path}.jpg|x|{path}|")),
    ];
    for (command, expected) in cases {
        world.json(&["work", "request", "p", "tree"]);
        let words: Vec<&str> = ["--once", "--"].iter().chain(command).copied().collect();
        let run = working(&world, &words).output().unwrap();
        assert_eq!(out(&run), expected, "{command:?}: {}", err(&run));
    }
}

#[test]
fn exit_codes_say_what_came_of_a_job() {
    let world = world(&["ok", "busy", "bad", "broken"]);
    let script = "case $TREEWARDEN_PATH in
        tree/ok) exit 0;;
        tree/busy) echo later >&2; exit 75;;
        tree/bad) echo one >&2; echo two >&2; exit 3;;
        tree/broken) echo never >&2; exit 65;;
    esac";
    let (code, jobs) = once_json(&world, script);
    assert_eq!(code, Some(3), "some failed");
    let told: BTreeMap<&str, Value> = jobs
        .iter()
        .map(|job| (text(job, "path"), json!([job["outcome"], job["code"], job["error"]])))
        .collect();
    let expected = BTreeMap::from([
        ("tree/ok", json!(["done", 0, null])),
        ("tree/busy", json!(["failed", 75, "later"])),
        ("tree/bad", json!(["failed", 3, "one\ntwo"])),
        ("tree/broken", json!(["failed_for_good", 65, "never"])),
    ]);
    assert_eq!(told, expected);
    let fields = ["pipeline", "path", "state", "attempt", "outcome", "code", "error"];
    assert_eq!(keys(&jobs[0]), BTreeSet::from(fields));

    let dead: Vec<String> =
        world.json(&["work", "list", "p", "--dead"]).iter().map(|line| text(line, "path").into()).collect();
    assert_eq!(dead, ["tree/broken"]);
    let explained = world.json(&["work", "explain", "p", "tree/bad"]).remove(0);
    assert_eq!((text(&explained, "state"), text(&explained, "last_error")), ("error", "one\ntwo"));
    assert_eq!((explained["attempts"].as_u64(), explained["dead"].as_bool()), (Some(1), Some(false)));
    assert_eq!(out(&once(&world, "echo again")), "", "a failed job waits for its time");
}

#[test]
fn only_the_end_of_a_long_complaint_is_kept() {
    let world = world(&["a"]);
    once(
        &world,
        "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; echo the end >&2; exit 1",
    );
    let explained = world.json(&["work", "explain", "p", "tree/a"]).remove(0);
    let error = text(&explained, "last_error");
    assert!(error.ends_with("line 2999\nthe end") && error.len() <= 1_000, "{} bytes", error.len());
    assert!(error.len() > 900, "{} bytes", error.len());
}

#[test]
fn a_failure_is_told_and_its_messages_are_passed_on() {
    let world = world(&["a"]);
    let run = once(&world, "echo from the command >&2; exit 4");
    assert_eq!(run.status.code(), Some(3));
    for part in
        ["from the command\n", "error: tree/a: attempt 1 failed: from the command", "0 done, 1 failed"]
    {
        assert!(err(&run).contains(part), "`{part}` is not in {}", err(&run));
    }
    world.json(&["work", "retry", "p"]);
    let mut quiet = working(&world, &["--quiet", "--once", "--", "sh", "-c", "echo why >&2; exit 4"]);
    assert_eq!(err(&quiet.output().unwrap()), "error: tree/a: attempt 1 failed: why\n");
}

#[test]
fn what_fails_again_and_again_is_dead_until_it_is_retried() {
    let options = ["--retry-base-ms", "0", "--attempts", "3", "--no-jitter"];
    let world = world_with(&["a"], &options);
    let run = once(&world, "echo $TREEWARDEN_ATTEMPT $TREEWARDEN_STATE; exit 1");
    assert_eq!((run.status.code(), out(&run).as_str()), (Some(3), "1 new\n2 error\n3 error\n"));
    assert_eq!(out(&world.run(&["work", "list", "p"])), "error dead  tree/a\n");
    assert_eq!(out(&once(&world, "echo again")), "");

    assert_eq!(world.json(&["work", "retry", "p", "tree/a"]), [json!({"pipeline": "p", "retried": 1})]);
    assert_eq!(world.json(&["work", "retry", "p"]), [json!({"pipeline": "p", "retried": 0})]);
    assert_eq!(out(&once(&world, "echo $TREEWARDEN_ATTEMPT $TREEWARDEN_STATE")), "1 new\n");
}

#[test]
fn many_threads_do_each_job_once() {
    let names: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = world(&files);
    let words = ["--threads", "8", "--once", "--", "sh", "-c", "basename $0"];
    let run = working(&world, &words).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", err(&run));
    assert_eq!(sorted(&out(&run)), files);
}

#[test]
fn a_command_that_takes_longer_than_a_lease_keeps_it() {
    let world = world_with(&["a"], &["--lease-ms", "3000"]);
    let words = ["--threads", "2", "--once", "--", "sh", "-c", "echo begun; exec sleep 4"];
    let run = working(&world, &words).output().unwrap();
    assert_eq!((run.status.code(), out(&run).as_str()), (Some(0), "begun\n"), "{}", err(&run));
    assert!(err(&run).contains("1 done, 0 failed"), "{}", err(&run));
}

// ---- how it ends

#[test]
fn ctrl_c_lets_the_commands_come_to_their_end() {
    for signal in ["INT", "TERM", "HUP"] {
        let world = world(&["a", "b"]);
        let script = "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo ended";
        let mut watcher = Watcher::new(&mut working(&world, &["--", "sh", "-c", script]));
        watcher.out.until("begun");
        watcher.signal(signal);
        watcher.err.until("no more jobs");
        fs::write(world.path("go"), "").unwrap();
        assert_eq!(watcher.code(), Some(0), "SIG{signal}: {:#?}", watcher.err.seen);
        assert_eq!(watcher.out.seen, ["begun", "ended"], "one job, and that to its end");
        let states: Vec<String> = states(&world).into_values().collect();
        assert_eq!(BTreeSet::from_iter(states), BTreeSet::from(["indexed".into(), "new".into()]));
    }
}

#[test]
fn without_once_it_goes_on_and_tells_how_far_it_is() {
    let world = world(&["a"]);
    let mut watcher = Watcher::new(&mut working(&world, &["--json", "--", "true"]));
    watcher.out.until(r#""outcome":"done""#);
    watcher.signal("USR1");
    let told = support::json(&watcher.err.until(r#""event":"working""#));
    let expected =
        json!({"event": "working", "pipeline": "p", "done": 1, "failed": 0, "processing": 0, "waiting": 0});
    assert_eq!(told, expected);
    let refused = world.run(&["scan"]);
    assert!(err(&refused).contains("in use"), "{}", err(&refused));
    let (_, messages) = watcher.end();
    assert!(messages.iter().all(|line| support::json(line)["event"].is_string()), "{messages:#?}");
}

#[test]
fn a_command_that_cannot_be_run_is_no_fault_of_the_file() {
    let world = world(&["a"]);
    let run = working(&world, &["--once", "--", "no-such-command"]).output().unwrap();
    assert_error_after_notice(&run, "cannot run `no-such-command`");
    assert_eq!(states(&world), BTreeMap::from([("tree/a".into(), "new".into())]));
    assert_eq!(out(&once(&world, "echo $TREEWARDEN_ATTEMPT")), "1\n");
}

fn assert_error_after_notice(output: &Output, part: &str) {
    assert_eq!((output.status.code(), out(output).as_str()), (Some(1), ""));
    let error = err(output).lines().any(|line| line.starts_with("error: ") && line.contains(part));
    assert!(error, "{}", err(output));
}

// ---- pipelines

#[test]
fn a_pipeline_is_made_changed_listed_and_removed() {
    let world = World::new();
    world.write("tree/a.jpg", "a");
    world.write("tree/b.txt", "b");
    world.json(&["scan", "tree"]);
    let add = ["pipeline", "add", "thumbs", "--root", "tree", "--glob", "**/*.jpg"];
    let made = world.run(&add);
    assert_eq!((made.status.code(), out(&made).as_str()), (Some(0), ""));
    assert_eq!(err(&made), "new pipeline `thumbs`: 1 new\n");
    assert!(err(&world.run(&add)).contains("`thumbs` has these options already"));

    let changed = world.json(&["pipeline", "add", "thumbs", "--version", "2"]).remove(0);
    assert_eq!((text(&changed, "outcome"), changed["version"].as_u64()), ("changed", Some(2)));
    assert_eq!((&changed["roots"], &changed["globs"]), (&json!(["tree"]), &json!(["**/*.jpg"])), "they stay");
    let back = world.run(&["pipeline", "add", "thumbs", "--version", "1"]);
    assert_error(&back, "version 2");

    let listed = world.json(&["pipeline", "list"]);
    assert_eq!(listed.len(), 1);
    assert_eq!((text(&listed[0], "pipeline"), listed[0]["new"].as_u64()), ("thumbs", Some(1)));
    let table = out(&world.run(&["pipeline", "list"]));
    assert_eq!(table, "thumbs  version 2  tree  **/*.jpg  1 new\n");
    let all = err(&world.run(&["pipeline", "add", "all", "--glob", "*"]));
    assert_eq!(all, "new pipeline `all`: 2 new\n");

    assert!(world.run(&["pipeline", "remove", "thumbs"]).status.success());
    assert_eq!(world.json(&["pipeline", "list"]).len(), 1);
    assert_error(&world.run(&["pipeline", "remove", "thumbs"]), "`thumbs`");
    assert!(world.path("tree/a.jpg").exists());
}

#[test]
fn a_root_that_is_not_there_yet_is_told() {
    let world = world(&["a"]);
    let added = world.run(&["pipeline", "add", "q", "--root", "later"]);
    assert!(err(&added).contains("no root has the name `later` yet"), "{}", err(&added));
    assert_eq!(world.json(&["work", "status", "q"])[0]["new"].as_u64(), Some(0));
}

#[test]
fn an_unknown_pipeline_is_an_error_that_names_the_others() {
    let empty = World::new();
    empty.json(&["scan", "tree"]);
    let world = world(&["a"]);
    let lines: [&[&str]; 8] = [
        &["pipeline", "remove", "nope"],
        &["work", "list", "nope"],
        &["work", "retry", "nope"],
        &["work", "request", "nope", "tree"],
        &["work", "status", "nope"],
        &["work", "explain", "nope", "tree/a"],
        &["ls", "--pipeline", "nope"],
        &["--quiet", "work", "list", "nope", "tree"],
    ];
    for line in lines {
        let refused = world.run(line);
        assert_error(&refused, "`nope`");
        assert!(err(&refused).contains("hint: the pipelines are: p"), "{line:?}: {}", err(&refused));
        let refused = empty.run(line);
        assert_error(&refused, "`nope`");
        assert!(err(&refused).contains("hint: there are no pipelines yet"), "{line:?}: {}", err(&refused));
    }
    let mut run = world.command(&["work", "run", "nope", "--", "true"]);
    let run = run.env("TREEWARDEN_DB", world.path("state.tw")).output().unwrap();
    assert_error(&run, "`nope`");
}

#[test]
fn wrong_usage_is_code_2_and_changes_nothing() {
    let world = world(&["a"]);
    let lines: [&[&str]; 18] = [
        &["pipeline"],
        &["pipeline", "add"],
        &["pipeline", "add", "q", "--group", "depth:x"],
        &["pipeline", "add", "q", "--refresh", "soon"],
        &["pipeline", "add", "q", "--rate", "35"],
        &["pipeline", "add", "q", "--rate", "0/10"],
        &["pipeline", "add", "q", "--lease-ms", "1"],
        &["pipeline", "add", "q", "--settle-ms", "-1"],
        &["pipeline", "add", "q", "--attempts", "0"],
        &["pipeline", "add", "q", "--version", "-1"],
        &["work"],
        &["work", "list"],
        &["work", "list", "p", "--state", "odd"],
        &["work", "list", "p", "--dead", "--state", "new"],
        &["work", "request", "p"],
        &["work", "request", "p", "tree", "--priority", "now"],
        &["work", "run", "p"],
        &["ls", "-0", "--pipeline", "p"],
    ];
    for line in lines {
        let refused = world.run(line);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(2), ""), "{line:?}");
    }
    let bad = world.run(&["pipeline", "add", "q", "--glob", "[a"]);
    assert_error(&bad, "[a");
    assert_eq!(world.json(&["pipeline", "list"]).len(), 1);
}

#[test]
fn a_pipeline_needs_a_state_file() {
    let world = World::new();
    for line in [&["pipeline", "add", "p"][..], &["pipeline", "list"], &["work", "status"]] {
        assert_error(&world.run(line), "no state file");
    }
    assert!(!world.path("state.tw").exists());
}

// ---- what is to be done

#[test]
fn items_are_listed_by_state_place_and_number() {
    let world = world(&["a", "b/c", "b/d"]);
    once(&world, "[ $TREEWARDEN_PATH != tree/b/c ]");
    assert_eq!(
        out(&world.run(&["work", "list", "p"])),
        "indexed     tree/a\nerror       tree/b/c\nindexed     tree/b/d\n"
    );
    let paths = |args: &[&str]| -> Vec<String> {
        world.json(args).iter().map(|line| text(line, "path").to_owned()).collect()
    };
    assert_eq!(paths(&["work", "list", "p", "tree/b"]), ["tree/b/c", "tree/b/d"]);
    assert_eq!(paths(&["work", "list", "p", "--state", "indexed"]), ["tree/a", "tree/b/d"]);
    assert_eq!(paths(&["work", "list", "p", "tree/b/", "--state", "error"]), ["tree/b/c"]);
    assert_eq!(paths(&["work", "list", "p", "--limit", "1"]), ["tree/a"]);
    assert!(paths(&["work", "list", "p", "--state", "stale"]).is_empty());
    assert!(paths(&["work", "list", "p", "--dead"]).is_empty());
    let line = world.json(&["work", "list", "p", "tree/a"]).remove(0);
    assert_eq!(line, json!({"pipeline": "p", "path": "tree/a", "state": "indexed", "dead": false}));
    assert_error(&world.run(&["work", "list", "p", "tree/nope"]), "tree/nope");
}

#[test]
fn a_request_is_answered_and_done_first() {
    let world = world(&["a", "b"]);
    once(&world, "true");
    let request = |args: &[&str]| -> Value {
        let line: Vec<&str> = ["work", "request", "p"].iter().chain(args).copied().collect();
        world.json(&line).remove(0)
    };
    let answer = |added: u64, merged: u64, promoted: u64| -> Value {
        json!({"pipeline": "p", "added": added, "merged": merged, "promoted": promoted, "will_rerun": 0})
    };
    assert_eq!(request(&["tree/b", "--priority", "very_low"]), answer(1, 0, 0));
    assert_eq!(request(&["tree/b"]), answer(0, 0, 1));
    assert_eq!(request(&["tree"]), answer(1, 1, 0));
    assert_eq!(out(&world.run(&["work", "request", "p", "tree"])), "2 merged\n");
    assert_eq!(world.json(&["work", "status", "p"])[0]["requested"].as_u64(), Some(2));
    let explained = world.json(&["work", "explain", "p", "tree/b"]).remove(0);
    assert_eq!((text(&explained, "state"), text(&explained, "requested")), ("indexed", "critical"));
    assert_eq!(
        sorted(&out(&once(&world, "echo $TREEWARDEN_STATE $TREEWARDEN_PATH"))),
        ["indexed tree/a", "indexed tree/b"]
    );
    assert_error(&world.run(&["work", "request", "p", "tree/nope"]), "tree/nope");
}

#[test]
fn the_json_of_status_has_all_that_the_engine_tells() {
    let world = world(&["a", "b"]);
    let fields = BTreeSet::from([
        "pipeline",
        "version",
        "roots",
        "globs",
        "unavailable",
        "new",
        "changed",
        "stale",
        "error",
        "missing",
        "processing",
        "indexed",
        "dead",
        "requested",
        "oldest_due_ms",
        "next_due_ns",
        "done_per_minute",
    ]);
    let line = world.json(&["work", "status"]).remove(0);
    assert_eq!(keys(&line), fields);
    assert_eq!((line["new"].as_u64(), line["unavailable"].is_null()), (Some(2), true));
    let whole = world.json(&["status"]).remove(0);
    assert_eq!(keys(&whole["pipelines"][0]), fields);
    let human = out(&world.run(&["status"]));
    assert!(human.ends_with("\npipelines\n  p  version 1  all roots  all files  2 new\n"), "{human}");
    let sheet = out(&world.run(&["work", "status", "p"]));
    assert!(sheet.starts_with("p\n") && sheet.contains("items       2 new"), "{sheet}");
}

#[test]
fn the_json_of_explain_has_all_that_the_engine_tells() {
    let world = world(&["a"]);
    let line = world.json(&["work", "explain", "p", "tree/a"]).remove(0);
    let fields = [
        "pipeline",
        "path",
        "state",
        "priority",
        "why",
        "due_ns",
        "attempts",
        "last_error",
        "dead",
        "done_ns",
        "refresh_at_ns",
        "lease",
        "requested",
        "content_done",
        "content_now",
        "attrs",
    ];
    assert_eq!(keys(&line), BTreeSet::from(fields));
    assert_eq!((text(&line, "state"), text(&line, "priority")), ("new", "high"));
    assert_eq!((&line["lease"], &line["attrs"]), (&Value::Null, &json!({})));
    let human = out(&world.run(&["work", "explain", "p", "tree/a"]));
    assert!(human.starts_with("tree/a\n") && human.contains("never"), "{human}");
    assert_error(&world.run(&["work", "explain", "p", "tree/nope"]), "tree/nope");
}

#[test]
fn ls_shows_the_state_of_each_file_in_a_pipeline() {
    let world = world_with(&["a.jpg", "b.jpg", "c.txt"], &["--glob", "*.jpg"]);
    once(&world, "[ $TREEWARDEN_PATH != tree/b.jpg ]");
    assert_eq!(
        out(&world.run(&["ls", "--pipeline", "p"])),
        "indexed     tree/a.jpg\nerror       tree/b.jpg\n-           tree/c.txt\n"
    );
    let lines = world.json(&["ls", "tree", "--pipeline", "p"]);
    let states: Vec<&Value> = lines.iter().map(|line| &line["state"]).collect();
    assert_eq!(states, [&json!("indexed"), &json!("error"), &Value::Null]);
    let plain = world.json(&["ls", "tree/a.jpg"]).remove(0);
    let mut expected = keys(&plain);
    expected.insert("state");
    assert_eq!(keys(&lines[0]), expected);
}

#[test]
fn the_files_of_a_group_are_one_job_and_have_its_state() {
    let world = world_with(&["one/a", "one/b", "two/c"], &["--group", "depth:1"]);
    let tree = fs::canonicalize(world.path("tree")).unwrap();
    let run = once(&world, r#"echo "$0"; [ $TREEWARDEN_PATH = tree/one ]"#);
    assert_eq!(
        sorted(&out(&run)),
        [tree.join("one").display().to_string(), tree.join("two").display().to_string()]
    );
    assert_eq!(out(&world.run(&["work", "list", "p"])), "indexed     tree/one\nerror       tree/two\n");
    assert_eq!(
        out(&world.run(&["ls", "--pipeline", "p"])),
        "indexed     tree/one/a\nindexed     tree/one/b\nerror       tree/two/c\n"
    );
    let explained = world.json(&["work", "explain", "p", "tree/two/c"]).remove(0);
    assert_eq!((text(&explained, "path"), text(&explained, "state")), ("tree/two", "error"));
}

// ---- names

#[cfg(target_os = "linux")]
#[test]
fn odd_names_reach_the_command_exactly() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let world = World::new();
    let name = OsStr::from_bytes(b"bad\xff\x1b\n$(x).txt");
    fs::write(world.path("tree").join(name), "x").unwrap();
    world.json(&["scan", "tree"]);
    world.json(&["pipeline", "add", "p", "--settle-ms", "0"]);
    let line = world.json(&["work", "list", "p"]).remove(0);
    assert_eq!(text(&line, "path"), r"tree/bad\xff\x1b\n$(x).txt");
    assert_eq!(text(&line, "path_b64"), "dHJlZS9iYWT/GwokKHgpLnR4dA==");
    assert!(!world.run(&["work", "list", "p"]).stdout.contains(&0x1b));

    let script = r#"printf %s "$TREEWARDEN_PATH" > address; printf %s "$1" > path"#;
    let run = working(&world, &["--once", "--", "sh", "-c", script, "sh", "{}"]).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", err(&run));
    let exact = [&b"tree/"[..], name.as_bytes()].concat();
    assert_eq!(fs::read(world.path("address")).unwrap(), exact);
    let path = fs::canonicalize(world.path("tree")).unwrap().join(name);
    assert_eq!(fs::read(world.path("path")).unwrap(), path.as_os_str().as_bytes());
}
