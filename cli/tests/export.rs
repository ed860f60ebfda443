//! `treewarden export`: its report, its codes, and what it refuses; into files, and into a store.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::process::Output;

use serde_json::Value;
use tests_support::Tree;
use tests_support::mirror::BUCKET;
use tests_support::s3::{ACCESS_KEY, S3Server, SECRET_KEY};

use crate::support::{World, err, json, out};

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
];

/// Runs a call with nothing of these in its environment but what is set here.
fn call(world: &World, args: &[&str], set: &[(&str, &str)]) -> Output {
    let mut command = world.command(args);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(set.iter().copied()).arg("--db").arg(world.path("state.tw")).output().unwrap()
}

/// The report of a call that must end well.
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", err(output));
    json(out(output).trim_end())
}

/// No draft is left beside the state file.
fn assert_clean(world: &World) {
    let names = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let drafts: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".treewarden")).collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

fn scanned() -> World {
    let world = World::new();
    for file in ["tree/a.mp3", "tree/b.txt", "tree/album/c.mp3"] {
        world.write(file, file);
    }
    world.json(&["scan", "tree", "--name", "music"]);
    world
}

#[test]
fn an_export_reports_what_it_has_written() {
    let world = scanned();
    let seq = world.json(&["status"])[0]["seq"].clone();
    let report = world.json(&["export", "--to", "all.parquet"]).remove(0);
    let bytes = fs::metadata(world.path("all.parquet")).unwrap().len();
    assert_eq!(report["rows"], 3);
    assert_eq!(report["files"], 1);
    assert_eq!(report["bytes"], bytes);
    assert_eq!(report["seq"], seq);
    assert_eq!(report.as_object().unwrap().len(), 4, "{report}");
    let content = fs::read(world.path("all.parquet")).unwrap();
    assert!(content.starts_with(b"PAR1") && content.ends_with(b"PAR1"));

    let rows = |args: &[&str]| world.json(args)[0]["rows"].clone();
    assert_eq!(rows(&["export", "music", "--glob", "**/*.mp3", "--to", "mp3.parquet"]), 2);
    assert_eq!(rows(&["export", "music/album", "--to", "album.parquet"]), 1);
    assert_eq!(rows(&["export", "--missing", "--to", "missing.parquet"]), 0);
    assert_eq!(rows(&["export", "--changes", "--to", "changes.parquet"]), 3);
    assert_eq!(rows(&["export", "music/album", "--changes", "--to", "some.parquet"]), 1);
    let since = seq.to_string();
    assert_eq!(rows(&["export", "--changes", "--since", &since, "--to", "none.parquet"]), 0);

    let said = world.run(&["export", "--to", "all.parquet", "--replace"]);
    assert!(said.status.success(), "{}", err(&said));
    let line = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(line.starts_with("all.parquet: 3 rows in 1 file, "), "{line}");
    assert!(line.ends_with(&format!(", as of seq {seq}\n")), "{line}");
}

#[test]
fn a_partitioned_export_is_named_after_host_root_and_seq() {
    let world = scanned();
    for host in ["nas", "desk"] {
        let report = world.json(&["export", "--to", "lake", "--partitioned", "--host", host]).remove(0);
        let part = format!("lake/host={host}/root=music/part-{}.parquet", report["seq"]);
        assert_eq!(report["bytes"], fs::metadata(world.path(&part)).unwrap().len());
    }
    // A machine has a name of its own.
    world.json(&["export", "--to", "own", "--partitioned"]);
    let hosts: Vec<_> = fs::read_dir(world.path("own")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert!(hosts[0].to_string_lossy().starts_with("host="), "{hosts:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = scanned();
    fs::write(world.path("notes"), "mine").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["export"], 2, "--to"),
        (&["export", "--to", "f", "--since", "1"], 2, "--changes"),
        (&["export", "--to", "notes"], 1, "there already"),
        (&["export", "--to", "notes", "--replace"], 1, "no Parquet file"),
        (&["export", "--to", "state.tw", "--replace"], 1, "no Parquet file"),
        (&["export", "--to", "tree"], 1, "directory"),
        (&["export", "nothing", "--to", "f"], 1, "nothing is known"),
        (&["export", "--changes", "--since", "999", "--to", "f"], 1, "export the whole state"),
    ];
    for (args, code, part) in cases {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(part), "{args:?}: {}", err(&output));
        assert!(!world.path("f").exists(), "{args:?}");
    }
    assert_eq!(fs::read(world.path("notes")).unwrap(), b"mine");
    world.json(&["verify"]);
}

#[test]
fn a_bucket_takes_the_parts_of_several_machines() {
    let (world, dir) = (scanned(), Tree::new());
    let server = S3Server::start(dir.path());
    server.create_bucket(BUCKET);
    let endpoint = server.endpoint();
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let to = "s3://bucket/lake";
    let export = |host: &str| {
        let args = ["export", "--to", to, "--host", host, "--endpoint", endpoint.as_str(), "--json"];
        report(&call(&world, &args, &keys))
    };
    let part =
        |host: &str, report: &Value| format!("lake/host={host}/root=music/part-{}.parquet", report["seq"]);
    let there = || server.objects(BUCKET).into_keys().collect::<Vec<_>>();

    let (desk, nas) = (export("desk"), export("nas"));
    assert_eq!((&nas["rows"], &nas["files"]), (&Value::from(3), &Value::from(1)));
    assert_eq!(there(), [part("desk", &desk), part("nas", &nas)]);
    let content = server.object(BUCKET, &part("nas", &nas)).unwrap();
    assert_eq!(nas["bytes"], content.len());
    assert!(content.starts_with(b"PAR1") && content.ends_with(b"PAR1"));

    // The next one takes the place of that of its own machine; for people, and with the endpoint from elsewhere.
    world.write("tree/new", "new");
    world.json(&["scan", "tree"]);
    let from_elsewhere = [keys[0], keys[1], ("AWS_ENDPOINT_URL", endpoint.as_str())];
    let said = call(&world, &["export", "--to", to, "--host", "nas", "--partitioned"], &from_elsewhere);
    assert!(said.status.success(), "{}", err(&said));
    assert!(out(&said).starts_with("s3://bucket/lake: 4 rows in 1 file, "), "{}", out(&said));
    assert!(err(&said).contains("AWS_ENDPOINT_URL"), "{}", err(&said));
    let nas = world.json(&["status"]).remove(0);
    assert_eq!(there(), [part("desk", &desk), part("nas", &nas)]);

    let changes =
        ["export", "--changes", "--to", to, "--host", "nas", "--endpoint", endpoint.as_str(), "--json"];
    assert_eq!(report(&call(&world, &changes, &keys))["rows"], 4);
    assert!(there().contains(&format!("lake/host=nas/root=music/changes-{}.parquet", nas["seq"])));

    // A wrong secret is refused at once, and shown by nobody.
    let wrong = [keys[0], ("AWS_SECRET_ACCESS_KEY", "hush-hush")];
    let before = there();
    let refused =
        call(&world, &["export", "--to", to, "--host", "nas", "--endpoint", endpoint.as_str()], &wrong);
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));
    assert!(err(&refused).contains("hint: ") && !err(&refused).contains("hush"), "{}", err(&refused));
    assert_eq!(there(), before);
    assert_clean(&world);
}

#[test]
fn a_directory_is_a_store_too() {
    let world = scanned();
    fs::create_dir(world.path("lake")).unwrap();
    fs::create_dir(world.path("aside")).unwrap();
    let to = format!("file://{}", world.path("lake").display());
    for file in ["tree/new", "tree/newer"] {
        world.write(file, file);
        world.json(&["scan", "tree"]);
        let args = ["export", "music", "--to", to.as_str(), "--host", "nas", "--staging", "aside", "--json"];
        let report = report(&call(&world, &args, &[]));
        let part = world.path(&format!("lake/host=nas/root=music/part-{}.parquet", report["seq"]));
        assert_eq!(report["bytes"], fs::metadata(&part).unwrap().len());
        let count = fs::read_dir(part.parent().unwrap()).unwrap().count();
        assert_eq!(count, 1, "the older one is gone");
    }
    assert_eq!(fs::read_dir(world.path("aside")).unwrap().count(), 0);
    assert_clean(&world);
}

#[test]
fn what_makes_no_sense_for_a_store_is_refused_without_being_shown() {
    let world = scanned();
    let nowhere = format!("file://{}", world.path("nowhere").display());
    let cases: [(&[&str], i32, &str); 11] = [
        (&["--to", "f", "--endpoint", "https://h"], 2, "--to"),
        (&["--to", "f", "--staging", "."], 2, "--to"),
        (&["--to", "f", "--partitioned", "--anonymous"], 2, "--to"),
        (&["--to", "s3://bucket/all.parquet"], 2, "partitioned"),
        (&["--to", "s3://bucket", "--replace"], 2, "--replace"),
        (&["--to", "s3://id:hush@bucket/lake"], 2, "the name of the bucket"),
        (&["--to", "ftp://hush"], 2, "hint: s3://BUCKET"),
        (&["--to", "s3://bucket", "--endpoint", "https://id:hush@h"], 2, "the endpoint"),
        (&["--to", "s3://bucket/lake"], 1, "there are no credentials for S3"),
        (&["--to", &nowhere], 1, "create it"),
        (&["--to", "local+https://h"], 1, "nothing can be put"),
    ];
    for (words, code, part) in cases {
        let args: Vec<&str> = ["export"].iter().chain(words).copied().collect();
        let output = call(&world, &args, &[]);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", err(&output));
        assert!(err(&output).contains(part), "{words:?}: {}", err(&output));
        assert!(!err(&output).contains("hush"), "{words:?}: {}", err(&output));
        assert!(!world.path("f").exists(), "{words:?}");
    }
    assert_clean(&world);
}
