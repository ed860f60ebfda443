//! `treewarden export`: its report, its codes, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;

use support::{World, err};

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
