//! Mirrors from outside: what a shell script, a person and a store see of them. Directories and files as they
//! lie are the stores here: nobody else is asked.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::Output;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::support::{HANG, Watcher, World, err, out, text};

/// What the environment of whoever runs these tests may hold.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "CLOUDFLARE_ZONE_ID",
    "CLOUDFLARE_API_TOKEN",
    "CLOUDFLARE_API_ENDPOINT",
];
const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// Runs a call with nothing of these in its environment but what is set here.
fn call_with(world: &World, args: &[&str], set: &[(&str, &str)]) -> Output {
    let mut command = world.command(args);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(set.iter().copied()).arg("--db").arg(world.path("state.tw")).output().unwrap()
}

fn call(world: &World, args: &[&str]) -> Output {
    call_with(world, args, &[])
}

/// The exit code and the lines of JSON of `mirror` with these words.
fn mirror_with(world: &World, words: &[&str], set: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let line: Vec<&str> = ["mirror"].iter().chain(words).chain(&["--json"]).copied().collect();
    let output = call_with(world, &line, set);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{words:?}: {}", err(&output));
    (output.status.code(), out(&output).lines().map(support::json).collect())
}

fn mirror(world: &World, words: &[&str]) -> (Option<i32>, Vec<Value>) {
    mirror_with(world, words, &[])
}

/// A world whose tree holds these files, scanned, and a mirror `m` of it to the directory `copy` beside it.
fn mirrored(files: &[&str], options: &[&str]) -> World {
    let world = scanned(files);
    fs::create_dir(world.path("copy")).unwrap();
    let target = copy_target(&world);
    let line = ["add", "m", "tree", target.as_str(), "--settle-ms", "0"];
    let line: Vec<&str> = line.iter().chain(options).copied().collect();
    let (code, added) = mirror(&world, &line);
    assert_eq!((code, text(&added[0], "outcome")), (Some(0), "created"));
    world
}

fn scanned(files: &[&str]) -> World {
    let world = World::new();
    for file in files {
        world.write(&format!("tree/{file}"), file);
    }
    world.json(&["scan", "tree"]);
    world
}

fn copy_target(world: &World) -> String {
    format!("file://{}", world.path("copy").display())
}

fn remove_and_scan(world: &World, file: &str) {
    fs::remove_file(world.path(file)).unwrap();
    world.json(&["scan", "tree"]);
}

fn copy_of(world: &World, name: &str) -> Option<String> {
    fs::read_to_string(world.path("copy").join(name)).ok()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn assert_numbers(line: &Value, expected: &[(&str, u64)]) {
    for (field, number) in expected {
        assert_eq!(line[field].as_u64(), Some(*number), "{field} in {line}");
    }
}

// ---- the main story

#[test]
fn a_root_and_its_copy_are_brought_in_step() {
    let world = mirrored(&["a.txt", "b/c.txt"], &[]);
    let (code, synced) = mirror(&world, &["sync"]);
    assert_eq!((code, synced.len()), (Some(0), 1));
    assert_numbers(&synced[0], &[("uploaded", 2), ("uploaded_bytes", 12), ("deleted", 0), ("failed", 0)]);
    let fields = [
        "mirror",
        "seq",
        "uploaded",
        "uploaded_bytes",
        "copied",
        "deleted",
        "changed",
        "unsettled",
        "failed",
        "refused",
        "held",
        "purged",
        "purges_waiting",
        "retries",
        "elapsed_ms",
    ];
    assert_eq!(keys(&synced[0]), BTreeSet::from(fields));
    assert_eq!(copy_of(&world, "b/c.txt").as_deref(), Some("b/c.txt"));

    let (_, again) = mirror(&world, &["sync", "m"]);
    assert_numbers(&again[0], &[("uploaded", 0), ("deleted", 0)]);

    world.write("tree/a.txt", "other content");
    remove_and_scan(&world, "tree/b/c.txt");
    let (code, synced) = mirror(&world, &["sync", "m"]);
    assert_eq!(code, Some(0));
    assert_numbers(&synced[0], &[("uploaded", 1), ("uploaded_bytes", 13), ("deleted", 1)]);
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("other content"));
    assert_eq!(copy_of(&world, "b/c.txt"), None);
}

#[test]
fn people_are_told_in_one_line() {
    let world = mirrored(&["a.txt", "b/c.txt"], &[]);
    let synced = call(&world, &["mirror", "sync"]);
    assert!(out(&synced).starts_with("m: 2 sent (12 B) in "), "{}", out(&synced));
    let again = call(&world, &["mirror", "sync"]);
    assert!(out(&again).starts_with("m: nothing sent in "), "{}", out(&again));
    assert_eq!(out(&call(&world, &["mirror", "sync", "--quiet"])), "");
    let status = out(&call(&world, &["mirror", "status"]));
    for part in ["m\n", "copies      tree\n", "objects     2, 12 B\n"] {
        assert!(status.contains(part), "`{part}` is not in {status}");
    }
    let listed = out(&call(&world, &["mirror", "list"]));
    assert!(listed.starts_with("m  tree  file:///"), "{listed}");
}

#[test]
fn only_what_matches_is_copied_below_the_prefix() {
    let world = mirrored(&["a.txt", "a.jpg", "b/c.jpg"], &["--prefix", "img", "--glob", "**/*.jpg"]);
    mirror(&world, &["sync"]);
    assert_eq!(copy_of(&world, "img/a.jpg").as_deref(), Some("a.jpg"));
    assert_eq!(copy_of(&world, "img/b/c.jpg").as_deref(), Some("b/c.jpg"));
    assert_eq!(copy_of(&world, "img/a.txt"), None);

    // Said again with other options, these are in force, and what matches no more is deleted.
    let target = copy_target(&world);
    let add = ["add", "m", "tree", &target, "--settle-ms", "0", "--prefix", "img"];
    let narrow: Vec<&str> = add.iter().chain(&["--glob", "*.jpg"]).copied().collect();
    for (words, outcome) in [(&narrow, "changed"), (&narrow, "unchanged")] {
        assert_eq!(text(&mirror(&world, words).1[0], "outcome"), outcome);
    }
    let (_, synced) = mirror(&world, &["sync"]);
    assert_numbers(&synced[0], &[("uploaded", 0), ("deleted", 1)]);
    assert_eq!(copy_of(&world, "img/b/c.jpg"), None);
}

// ---- dry runs, and deletions that wait

#[test]
fn a_dry_run_tells_everything_and_does_nothing() {
    let world = mirrored(&["a.txt", "b/c.txt"], &[]);
    let (code, planned) = mirror(&world, &["sync", "--dry-run"]);
    assert_eq!(code, Some(0));
    let upload = |name: &str, bytes: u64| json!({"mirror": "m", "step": "upload", "path": format!("tree/{name}"), "key": name, "bytes": bytes});
    assert_eq!(planned[..2], [upload("a.txt", 5), upload("b/c.txt", 7)]);
    assert_numbers(&planned[2], &[("uploads", 2), ("upload_bytes", 12), ("copies", 0), ("deletes", 0)]);
    assert_eq!((planned.len(), planned[2]["held"].as_bool()), (3, Some(false)));
    assert_eq!(fs::read_dir(world.path("copy")).unwrap().count(), 0);

    mirror(&world, &["sync"]);
    fs::rename(world.path("tree/b/c.txt"), world.path("tree/b/d.txt")).unwrap();
    world.json(&["scan", "tree"]);
    let (_, planned) = mirror(&world, &["sync", "--dry-run"]);
    let total = planned.last().unwrap();
    let sent = total["uploads"].as_u64().unwrap() + total["copies"].as_u64().unwrap();
    assert_eq!((sent, total["deletes"].as_u64()), (1, Some(1)), "{planned:?}");
    assert!(planned.contains(&json!({"mirror": "m", "step": "delete", "key": "b/c.txt"})), "{planned:?}");
    let shown = out(&call(&world, &["mirror", "sync", "--dry-run"]));
    assert!(shown.contains("delete  b/c.txt\n"), "{shown}");
    assert_eq!(copy_of(&world, "b/d.txt"), None);

    mirror(&world, &["sync"]);
    assert_eq!(copy_of(&world, "b/d.txt").as_deref(), Some("b/c.txt"));
    assert_eq!(copy_of(&world, "b/c.txt"), None);
}

#[test]
fn many_deletions_wait_until_they_are_accepted() {
    let world = mirrored(&["a.txt", "b.txt"], &["--delete-max", "0"]);
    mirror(&world, &["sync"]);
    remove_and_scan(&world, "tree/a.txt");

    let (code, planned) = mirror(&world, &["sync", "--dry-run"]);
    assert_eq!((code, planned.last().unwrap()["held"].as_bool()), (Some(3), Some(true)));
    let (code, planned) = mirror(&world, &["sync", "--dry-run", "--accept-deletes"]);
    assert_eq!((code, planned.last().unwrap()["held"].as_bool()), (Some(0), Some(false)));

    let held = call(&world, &["mirror", "sync"]);
    assert_eq!(held.status.code(), Some(3));
    assert!(out(&held).contains("left: 1 to be deleted, and held"), "{}", out(&held));
    assert!(err(&held).contains("treewarden mirror sync m --accept-deletes"), "{}", err(&held));
    let (code, synced) = mirror(&world, &["sync"]);
    assert_eq!(code, Some(3));
    assert_numbers(&synced[0], &[("held", 1), ("deleted", 0)]);
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("a.txt"));

    let (code, synced) = mirror(&world, &["sync", "--accept-deletes"]);
    assert_eq!(code, Some(0));
    assert_numbers(&synced[0], &[("held", 0), ("deleted", 1)]);
    assert_eq!(copy_of(&world, "a.txt"), None);
}

// ---- audits

#[test]
fn an_audit_finds_what_somebody_else_did_and_mends_it() {
    let world = mirrored(&["a.txt", "b/c.txt", "d.txt"], &[]);
    mirror(&world, &["sync"]);
    let (code, clean) = mirror(&world, &["audit", "m"]);
    assert_eq!((code, clean.len()), (Some(0), 1));
    assert_numbers(&clean[0], &[("listed", 3), ("matched", 3), ("lost", 0), ("unknown", 0)]);

    fs::write(world.path("copy/a.txt"), "somebody else's").unwrap();
    fs::remove_file(world.path("copy/b/c.txt")).unwrap();
    fs::write(world.path("copy/alien"), "alien").unwrap();
    let (code, found) = mirror(&world, &["audit", "m"]);
    assert_eq!(code, Some(3));
    let finding = |key: &str, kind: &str| json!({"mirror": "m", "key": key, "kind": kind});
    assert_eq!(
        found[..3],
        [finding("a.txt", "different"), finding("alien", "unknown"), finding("b/c.txt", "lost")]
    );
    assert_numbers(
        &found[3],
        &[("matched", 1), ("lost", 1), ("different", 1), ("unknown", 1), ("unsure", 0)],
    );
    let (_, synced) = mirror(&world, &["sync"]);
    assert_numbers(&synced[0], &[("uploaded", 0), ("deleted", 0)]);

    let (code, _) = mirror(&world, &["audit", "m", "--repair", "--delete-unknown"]);
    assert_eq!(code, Some(3), "it was not clean");
    let (code, synced) = mirror(&world, &["sync"]);
    assert_eq!(code, Some(0));
    assert_numbers(&synced[0], &[("uploaded", 2), ("deleted", 1)]);
    assert_eq!(mirror(&world, &["audit", "m"]).0, Some(0));
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("a.txt"));
    assert_eq!(copy_of(&world, "alien"), None);
}

// ---- addresses

#[test]
fn every_acknowledged_file_has_an_address() {
    let options = ["--public-url", "https://cdn.example.org/pub/", "--prefix", "p"];
    let world = mirrored(&["a.txt", "b/c d+é.txt"], &options);
    assert_eq!(mirror(&world, &["urls", "m"]), (Some(0), vec![]), "nothing is acknowledged yet");
    mirror(&world, &["sync"]);
    let url_a = "https://cdn.example.org/pub/p/a.txt";
    let url_b = "https://cdn.example.org/pub/p/b/c%20d%2B%C3%A9.txt";
    let (a, b) =
        (json!({"path": "tree/a.txt", "url": url_a}), json!({"path": "tree/b/c d+é.txt", "url": url_b}));
    let cases: [(&[&str], &[&Value]); 6] = [
        (&[], &[&a, &b]),
        (&["--all"], &[&a, &b]),
        (&["tree"], &[&a, &b]),
        (&["tree/b/"], &[&b]),
        (&["tree/a.txt"], &[&a]),
        (&[url_b], &[&b]),
    ];
    for (words, expected) in cases {
        let line: Vec<&str> = ["urls", "m"].iter().chain(words).copied().collect();
        let (code, found) = mirror(&world, &line);
        assert_eq!((code, found.iter().collect::<Vec<_>>()), (Some(0), expected.to_vec()), "{words:?}");
    }
    let shown = call(&world, &["mirror", "urls", "m", "tree/a.txt"]);
    assert_eq!(out(&shown), format!("{url_a}  tree/a.txt\n"));
    for nothing in ["tree/c", "tree/a.txt/b", "https://cdn.example.org/pub/a.txt"] {
        let output = call(&world, &["mirror", "urls", "m", nothing]);
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), ""), "{nothing}");
    }
}

#[test]
fn files_are_served_from_where_they_lie() {
    let world = scanned(&["a.txt", "b/c.txt"]);
    let add = ["add", "web", "tree/b", "local+https://files.example.org/base", "--settle-ms", "0"];
    let (_, added) = mirror(&world, &add);
    assert_eq!(text(&added[0], "public_url"), "https://files.example.org/base");
    let (_, synced) = mirror(&world, &["sync"]);
    assert_numbers(&synced[0], &[("uploaded", 1), ("failed", 0)]);
    let url = "https://files.example.org/base/c.txt";
    assert_eq!(mirror(&world, &["urls", "web"]).1, [json!({"path": "tree/b/c.txt", "url": url})]);
    remove_and_scan(&world, "tree/b/c.txt");
    mirror(&world, &["sync"]);
    assert_eq!(mirror(&world, &["urls", "web"]).1, Vec::<Value>::new());
    let audit = call(&world, &["mirror", "audit", "web"]);
    assert_eq!(audit.status.code(), Some(1), "{}", err(&audit));
}

#[test]
fn without_a_public_address_there_are_none() {
    let world = mirrored(&["a.txt"], &[]);
    let output = call(&world, &["mirror", "urls", "m"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("--public-url"), "{}", err(&output));
}

// ---- what is told of mirrors

#[test]
fn mirrors_are_listed_and_forgotten() {
    let world = mirrored(&["a.txt"], &["--prefix", "p", "--public-url", "https://cdn.example.org"]);
    mirror(&world, &["sync"]);
    let target = copy_target(&world);
    let listed = mirror(&world, &["list"]).1;
    assert_eq!(
        listed,
        [json!({
            "name": "m", "address": "tree", "place": target, "prefix": "p", "target": target,
            "endpoint": null, "region": null, "virtual_hosted": false, "opaque_etags": false,
            "public_url": "https://cdn.example.org",
        })]
    );

    let status = mirror(&world, &["status", "m"]).1.remove(0);
    let fields = [
        "name",
        "address",
        "place",
        "prefix",
        "running",
        "following",
        "objects",
        "object_bytes",
        "unsure",
        "pending",
        "oldest_pending_ns",
        "held",
        "purges_waiting",
        "oldest_purge_ns",
        "last_seq",
        "last_run_ns",
        "last_error",
        "counters",
    ];
    assert_eq!(keys(&status), BTreeSet::from(fields));
    assert_numbers(&status, &[("objects", 1), ("object_bytes", 5), ("unsure", 0), ("purges_waiting", 0)]);
    let counters = [
        "runs",
        "runs_failed",
        "uploaded",
        "uploaded_bytes",
        "copied",
        "deleted",
        "failed",
        "retries",
        "purged",
        "purge_failures",
    ];
    assert_eq!(keys(&status["counters"]), BTreeSet::from(counters));

    assert_eq!(call(&world, &["mirror", "remove", "m"]).status.code(), Some(0));
    assert_eq!(mirror(&world, &["list"]).1, Vec::<Value>::new());
    assert_eq!(mirror(&world, &["status"]).1, Vec::<Value>::new());
    assert_eq!(copy_of(&world, "p/a.txt").as_deref(), Some("a.txt"), "objects stay");
    let again = call(&world, &["mirror", "remove", "m"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("there is no mirror `m`"), "{}", err(&again));
    assert_eq!(call(&world, &["mirror", "sync"]).status.code(), Some(1), "there is none");
}

#[test]
fn a_name_that_no_store_can_hold_is_refused_and_told() {
    let world = World::new();
    world.write("tree/a.txt", "a");
    fs::write(world.path("tree").join(OsStr::from_bytes(b"\xff.txt")), "odd").unwrap();
    world.json(&["scan", "tree"]);
    fs::create_dir(world.path("copy")).unwrap();
    mirror(&world, &["add", "m", "tree", &copy_target(&world), "--settle-ms", "0"]);

    for words in [&["sync", "--dry-run"][..], &["sync"], &["sync"]] {
        let (code, told) = mirror(&world, words);
        assert_eq!(code, Some(3), "{words:?}");
        let refused = told.iter().find(|line| line.get("error").is_some()).unwrap();
        assert_eq!((text(refused, "mirror"), text(refused, "path")), ("m", r"tree/\xff.txt"));
        assert_eq!(text(refused, "path_b64"), "dHJlZS//LnR4dA==");
        assert_eq!((&refused["key"], refused["permanent"].as_bool()), (&Value::Null, Some(true)));
        assert_numbers(told.last().unwrap(), &[("refused", 1)]);
    }
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("a"));
    let shown = call(&world, &["mirror", "sync"]);
    assert!(err(&shown).contains(r"error: m: `tree/\xff.txt`"), "{}", err(&shown));
}

// ---- credentials

#[test]
fn nothing_is_needed_until_something_is_sent() {
    let world = scanned(&["a.txt"]);
    for (name, target, part) in [
        ("s3", "s3://bucket/p", "AWS_ACCESS_KEY_ID"),
        ("gs", "gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az", "az://account/container", "AZURE_STORAGE_KEY"),
    ] {
        let public = ["--public-url", "https://cdn.example.org", "--settle-ms", "0"];
        let line: Vec<&str> = ["add", name, "tree", target].iter().chain(&public).copied().collect();
        assert_eq!(mirror(&world, &line).0, Some(0), "{name}");
        for words in [&["list"][..], &["status", name], &["urls", name], &["sync", name, "--dry-run"]] {
            assert_eq!(mirror(&world, words).0, Some(0), "{name} {words:?}");
        }
        for words in [&["mirror", "sync", name][..], &["mirror", "audit", name], &["mirror", "follow", name]]
        {
            let output = call(&world, words);
            assert_eq!(output.status.code(), Some(1), "{words:?}");
            assert!(err(&output).contains(part), "{words:?}: {}", err(&output));
            assert!(err(&output).contains(&format!("mirror `{name}`: ")), "{}", err(&output));
        }
    }
}

#[test]
fn a_mirror_that_fails_stops_no_other() {
    let world = mirrored(&["a.txt"], &[]);
    mirror(&world, &["add", "a-bucket", "tree", "s3://bucket"]);
    mirror(&world, &["add", "z-bucket", "tree", "s3://another"]);
    let synced = call(&world, &["mirror", "sync", "--json"]);
    assert_eq!(synced.status.code(), Some(1));
    for name in ["mirror `a-bucket`: ", "mirror `z-bucket`: "] {
        assert!(err(&synced).contains(name), "{}", err(&synced));
    }
    let lines: Vec<Value> = out(&synced).lines().map(support::json).collect();
    assert_eq!((lines.len(), text(&lines[0], "mirror")), (1, "m"));
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("a.txt"));
}

#[test]
fn a_region_and_an_endpoint_are_taken_from_the_environment_once() {
    let world = scanned(&["a.txt"]);
    let set = [("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL", "https://minio.example.org:9000")];
    let (_, added) = mirror_with(&world, &["add", "m", "tree", "s3://bucket"], &set);
    assert_eq!(text(&added[0], "region"), "eu-central-1");
    let listed = mirror(&world, &["list"]).1.remove(0);
    assert_eq!(text(&listed, "endpoint"), "https://minio.example.org:9000");
    assert_eq!(text(&listed, "place"), "s3://bucket at https://minio.example.org:9000");
    let elsewhere = ["add", "n", "tree", "s3://bucket", "--endpoint", "https://h", "--region", "r"];
    let (_, added) = mirror_with(&world, &elsewhere, &set);
    assert_eq!((text(&added[0], "endpoint"), text(&added[0], "region")), ("https://h", "r"));
}

#[test]
fn a_secret_is_nowhere_to_be_read() {
    let world = scanned(&["a.txt"]);
    // Nobody listens there.
    let add = ["add", "m", "tree", "s3://bucket", "--settle-ms", "0", "--endpoint", "http://127.0.0.1:1"];
    let public: Vec<&str> = add.iter().chain(&["--public-url", "https://c.example"]).copied().collect();
    let set = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hush-hush-secret"),
        ("AWS_SESSION_TOKEN", "hush-hush-token"),
        ("CLOUDFLARE_ZONE_ID", ZONE),
        ("CLOUDFLARE_API_TOKEN", "hush-hush-cdn"),
    ];
    mirror_with(&world, &public, &set);
    for words in [&["mirror", "sync"][..], &["mirror", "audit", "m"], &["mirror", "status", "--json"]] {
        let output = call_with(&world, words, &set);
        if words[1] != "status" {
            assert!(matches!(output.status.code(), Some(1 | 3)), "{words:?}: {}", err(&output));
        }
        for text in [out(&output), err(&output)] {
            assert!(!text.contains("hush"), "{words:?}: {text}");
        }
    }
    let state = fs::read(world.path("state.tw")).unwrap();
    assert!(!state.windows(4).any(|bytes| bytes == b"hush"), "it is in the state file");
}

// ---- a CDN

struct Cdn {
    url: String,
    requests: Receiver<String>,
}

/// Answers every request the same.
fn cdn(status: &'static str, body: &'static str) -> Cdn {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = request(&stream);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    Cdn { url, requests }
}

/// Its lines, names of headers in lower case, and its body.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        let name = if value.is_empty() { name.to_owned() } else { name.to_ascii_lowercase() };
        if name == "content-length" {
            length = value.trim().parse().unwrap();
        }
        text.push_str(&format!("{name}: {value}"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text.push_str(&String::from_utf8(body).unwrap());
    text
}

#[test]
fn a_cdn_is_told_of_what_was_replaced_and_asked_again_until_it_was() {
    let world = scanned(&["a.txt", "b.txt"]);
    mirror(&world, &["add", "web", "tree", "local+https://files.example.org", "--settle-ms", "0"]);
    let good = cdn("200 OK", r#"{"success":true,"errors":[],"messages":[],"result":{"id":"x"}}"#);
    let bad = cdn("403 Forbidden", r#"{"success":false,"errors":[{"code":10000,"message":"hush-token"}]}"#);
    let told = |cdn: &Cdn| {
        let set = [("CLOUDFLARE_API_TOKEN", "hush-token"), ("CLOUDFLARE_API_ENDPOINT", cdn.url.as_str())];
        call_with(&world, &["mirror", "sync", "--json", "--cloudflare-zone", ZONE], &set)
    };
    let line = |output: &Output| support::json(out(output).lines().last().unwrap());

    let first = told(&good);
    assert_eq!(first.status.code(), Some(0), "{}", err(&first));
    assert_numbers(&line(&first), &[("uploaded", 2), ("purged", 0), ("purges_waiting", 0)]);

    world.write("tree/a.txt", "other content");
    world.json(&["scan", "tree"]);
    let denied = told(&bad);
    assert_eq!(denied.status.code(), Some(3));
    assert_numbers(&line(&denied), &[("uploaded", 1), ("purged", 0), ("purges_waiting", 1)]);
    assert!(!err(&denied).contains("hush"), "{}", err(&denied));
    assert_numbers(&mirror(&world, &["status"]).1[0], &[("purges_waiting", 1)]);

    let again = told(&good);
    assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    assert_numbers(&line(&again), &[("uploaded", 0), ("purged", 1), ("purges_waiting", 0)]);
    let request = good.requests.recv_timeout(HANG).unwrap();
    for part in [
        format!("POST /zones/{ZONE}/purge_cache HTTP/1.1").as_str(),
        "authorization: Bearer hush-token",
        r#"["https://files.example.org/a.txt"]"#,
    ] {
        assert!(request.contains(part), "`{part}` is not in {request}");
    }
    assert!(good.requests.try_recv().is_err(), "it was told of nothing else");
}

#[test]
fn a_zone_without_a_token_is_an_error() {
    let world = mirrored(&["a.txt"], &[]);
    let output = call(&world, &["mirror", "sync", "--cloudflare-zone", ZONE]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("CLOUDFLARE_API_TOKEN"), "{}", err(&output));
    assert_eq!(copy_of(&world, "a.txt"), None, "nothing was sent");
}

// ---- following

#[test]
fn what_changes_is_copied_until_ctrl_c() {
    let world = mirrored(&["a.txt", "b.txt"], &[]);
    let mut follower = world.start(&["mirror", "follow", "--json"]);
    follower.out.until(r#""uploaded":2,"#);
    follower.err.until("following 1 mirror");
    world.write("tree/new/c.txt", "c");
    let line = support::json(&follower.out.until(r#""uploaded":3,"#));
    assert_eq!((text(&line, "name"), line["objects"].as_u64()), ("m", Some(3)));
    assert_eq!(copy_of(&world, "new/c.txt").as_deref(), Some("c"));
    fs::remove_file(world.path("tree/a.txt")).unwrap();
    follower.out.until(r#""deleted":1,"#);
    assert_eq!(copy_of(&world, "a.txt"), None);
    follower.end();
    let (code, synced) = mirror(&world, &["sync"]);
    assert_eq!(code, Some(0));
    assert_numbers(&synced[0], &[("uploaded", 0), ("deleted", 0)]);
}

#[test]
fn a_root_that_was_never_scanned_is_looked_at_first() {
    let world = World::new();
    world.write("tree/a.txt", "a");
    assert_eq!(call(&world, &["root", "add", "tree", "tree"]).status.code(), Some(0));
    fs::create_dir(world.path("copy")).unwrap();
    mirror(&world, &["add", "m", "tree", &copy_target(&world), "--settle-ms", "0"]);
    let mut follower = world.start(&["mirror", "follow", "m"]);
    follower.out.until_all(&["m: 1 object (1 B)", "1 sent (1 B)"]);
    assert_ends(follower, "TERM");
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("a"));
}

#[test]
fn the_status_can_be_asked_for() {
    let world = mirrored(&["a.txt"], &[]);
    let mut follower = world.start(&["mirror", "follow"]);
    follower.err.until("following 1 mirror");
    follower.out.until("1 sent");
    follower.signal("USR1");
    follower.out.until("m: 1 object");
    assert_ends(follower, "INT");
}

fn assert_ends(mut follower: Watcher, signal: &str) {
    follower.signal(signal);
    assert_eq!(follower.code(), Some(0), "{:#?}", follower.err.seen);
}

// ---- what makes no sense

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let world = mirrored(&["a.txt"], &["--public-url", "https://cdn.example.org"]);
    let target = copy_target(&world);
    let absent = format!("{target}/absent");
    fs::create_dir(world.path("elsewhere")).unwrap();
    let other = format!("file://{}", world.path("elsewhere").display());
    let cases: [(&[&str], i32, &str); 28] = [
        (&["add", "n", "tree"], 2, "TARGET"),
        (&["add", "n", "tree", "hush"], 2, "s3://BUCKET"),
        (&["add", "n", "tree", "s3://id:hush@bucket"], 2, "the name of the bucket"),
        (&["add", "n", "tree", "s3://bucket/p?X-Amz-Signature=hush"], 2, "a query"),
        (&["add", "n", "tree", "s3://Bucket_Name"], 2, "bucket"),
        (&["add", "n", "tree", "s3://bucket/p", "--prefix", "q"], 2, "given twice"),
        (&["add", "n", "tree", "s3://bucket", "--endpoint", "https://id:hush@h"], 2, "endpoint"),
        (&["add", "n", "tree", "s3://bucket", "--public-url", "https://id:hush@h"], 2, "public URL"),
        (&["add", "n", "tree", "gs://bucket", "--region", "eu"], 2, "region"),
        (&["add", "n", "tree", "s3://bucket", "--profile", "p"], 1, "profile `p`"),
        (&["add", "n", "tree", &target, "--bandwidth", "0"], 2, "--bandwidth"),
        (&["add", "n", "tree", &target, "--uploads", "0"], 2, "--uploads"),
        (&["add", "n", "tree", &target, "--part-mib", "4"], 2, "--part-mib"),
        (&["add", "n", "tree", &target, "--delete-share", "101"], 2, "--delete-share"),
        (&["add", "n", "tree", &target, "--content-type", "md"], 2, "--content-type"),
        (&["add", "n", "tree", &target, "--part-mib", "10", "--memory-mib", "5"], 1, "memory_bytes"),
        (&["add", "n", "tree", &target, "--glob", "["], 1, "glob `[`"),
        (&["add", "n", "tree", &target, "--prefix", "../x"], 1, "prefix"),
        (&["add", "n", "other", &target], 1, "there is no root `other`"),
        (&["add", "n/n", "tree", &target], 1, "n/n"),
        (&["add", "n", "tree", &absent], 1, "error: "),
        (&["add", "m", "tree", &other], 1, "mirror `m` copies `tree`"),
        (&["sync", "other"], 1, "the mirrors are: m"),
        (&["status", "other"], 1, "there is no mirror `other`"),
        (&["audit"], 2, "NAME"),
        (&["sync", "--instance", "--anonymous"], 2, "--anonymous"),
        (&["sync", "--profile", "p", "--instance"], 2, "--instance"),
        (&["urls", "m", "tree", "--all"], 2, "--all"),
    ];
    for (words, code, part) in cases {
        let line: Vec<&str> = ["mirror"].iter().chain(words).copied().collect();
        let output = call(&world, &line);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", err(&output));
        assert!(err(&output).contains(part), "{words:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{words:?}");
        assert!(!err(&output).contains("hush"), "{words:?}: {}", err(&output));
    }
    let names: Vec<String> =
        mirror(&world, &["list"]).1.iter().map(|line| text(line, "name").to_owned()).collect();
    assert_eq!(names, ["m"], "nothing came of it");
}

#[test]
fn a_mirror_whose_root_is_away_is_told_and_keeps_its_objects() {
    let world = mirrored(&["a.txt"], &[]);
    mirror(&world, &["sync"]);
    fs::rename(world.path("tree"), world.path("away")).unwrap();
    assert_eq!(call(&world, &["scan"]).status.code(), Some(3));
    let synced = call(&world, &["mirror", "sync"]);
    assert_eq!(synced.status.code(), Some(1), "{}", err(&synced));
    let (code, status) = mirror(&world, &["status"]);
    assert_eq!(code, Some(3));
    let by_name: BTreeMap<&str, &Value> = status.iter().map(|line| (text(line, "name"), line)).collect();
    assert!(text(by_name["m"], "unavailable").contains("root `tree` cannot be mirrored"), "{status:?}");
    assert_eq!(copy_of(&world, "a.txt").as_deref(), Some("a.txt"));

    fs::rename(world.path("away"), world.path("tree")).unwrap();
    world.json(&["scan"]);
    let (code, synced) = mirror(&world, &["sync"]);
    assert_eq!(code, Some(0));
    assert_numbers(&synced[0], &[("uploaded", 0), ("deleted", 0)]);
}
