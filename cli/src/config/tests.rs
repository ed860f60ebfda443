//! Files that make sense and files that do not, and where they do not.

#![allow(clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use treewarden::{
    Compare, ContentHash, IgnoreRules, RootWatch, Schedule, WatchBackend, WatchMode, WatchOptions,
};

use super::{Config, Source};
use crate::metrics::Address;

const BASE: &str = "/etc/treewarden";

fn parse(text: &str) -> Result<Config, super::Refusal> {
    Config::parse(text, Path::new(BASE))
}

/// How the root `a` is watched when `[watch]` and its own table say this.
fn watch(defaults: &str, own: &str) -> RootWatch {
    let text = format!("[watch]\n{defaults}\n[roots.a]\npath = \"a\"\n{own}\n");
    let config = parse(&text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    config.roots[0].watch.clone()
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).expect("a good schedule")
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    // A text, the place, and a part of what is said; without a place it is about the whole file.
    let cases = [
        ("", "", "no root"),
        ("[watch]\nnice = 5\n", "", "no root"),
        // ---- not TOML
        ("[watch\n", "1:7", "unclosed table"),
        ("[watch]\nbackend = daily\n", "2:11", "quoted"),
        ("[roots.a]\npath = \"x\"\npath = \"y\"\n", "3:1", "duplicate key"),
        // ---- unknown keys, with those that are known
        ("[wach]\nnice = 5\n", "1:2", "`watch`"),
        ("[watch]\ndebounce = 300\n", "2:1", "`debounce_ms`"),
        ("[roots.a]\npath = \"x\"\n  watches_max = 5\n", "3:3", "`poll_s`"),
        ("[watch]\npath = \"x\"\n", "2:1", "`path`"),
        // ---- other types
        ("db = 3\n", "1:6", "path string"),
        ("[watch]\ndebounce_ms = \"300\"\n", "2:15", "expected a whole number"),
        ("[watch]\npoll_s = 0.5\n", "2:10", "expected a whole number"),
        ("[watch]\nyields = 1\n", "2:10", "expected a boolean"),
        ("[watch]\nquick = 15\n", "2:9", "expected a string"),
        ("[roots.a]\npath = \"x\"\nignore = \"*.part\"\n", "3:10", "expected a sequence"),
        // ---- unknown words, with those that are known
        ("[watch]\nmode = \"fast\"\n", "2:8", "`native`"),
        ("[watch]\nbackend = \"fsevents\"\n", "2:11", "`inotify`"),
        ("[watch]\npreset = \"huge\"\n", "2:10", "`large`"),
        ("[roots.a]\npath = \"x\"\nhash = \"all\"\n", "3:8", "`changed`"),
        ("[roots.a]\npath = \"x\"\ncompare = \"no-inode\"\n", "3:11", "`no_inode`"),
        // ---- absurd numbers
        ("[watch]\ndebounce_ms = -5\n", "2:15", "`debounce_ms` is 0 to 3,600,000 milliseconds, not -5"),
        ("[watch]\n\n  debounce_ms = 9_999_999\n", "3:17", "0 to 3,600,000 milliseconds, not 9999999"),
        ("[watch]\nmax_wait_ms = 86_400_001\n", "2:15", "0 to 86,400,000 milliseconds"),
        ("[watch]\nmax_wait_ms = 100\ndebounce_ms = 200\n", "2:15", "less than `debounce_ms`, which is 200"),
        ("[watch]\npoll_s = 0\n", "2:10", "1 to 86,400 seconds, not 0"),
        ("[watch]\njitter_s = -1\n", "2:12", "0 to 86,400 seconds"),
        ("[watch]\nwatches_max = 0\n", "2:15", "directories, not 0"),
        ("[watch]\nscan_threads = 5_000\n", "2:16", "0 to 256 threads"),
        ("[watch]\nnice = 20\n", "2:8", "0 to 19 steps"),
        // ---- times that are none
        ("[watch]\nquick = \"sometimes\"\n", "2:9", "`quick`"),
        ("[watch]\nfull = \"0 0 30 2 *\"\n", "2:8", "never fires"),
        ("[watch]\nreconcile = \"0s\"\n", "2:13", "`reconcile`"),
        ("[watch]\ntime_zone = \"Mars/Olympus\"\n", "2:13", "`time_zone`"),
        ("[roots.a]\npath = \"x\"\nquick = \"61 * * * *\"\n", "3:9", "`quick`"),
        // ---- addresses that are none
        ("metrics = 9464\n", "1:11", "expected a string"),
        ("metrics = \"localhost\"\n", "1:11", "`metrics`: "),
        ("[watch]\nmetrics = \"9464\"\n", "2:1", "`metrics`"),
        // ---- roots
        ("[roots.a]\n", "1:8", "`a` has no `path`"),
        ("[roots.a]\npath = \"\"\n", "2:8", "`path` is empty"),
        ("[roots.a]\npath = \"~/music\"\n", "2:8", "`~`"),
        ("[roots.a]\npath = \"x\"\nignore = [\"ok\", \"a[b\"]\n", "3:17", "a[b"),
        // ---- columns are characters, not bytes
        ("[roots]\n\"ä\" = { path = \"x\", mode = \"ö\" }\n", "2:28", "`poll`"),
    ];
    for (text, at, part) in cases {
        let refusal = parse(text).expect_err(text);
        let position = refusal.position.map(|position| position.to_string()).unwrap_or_default();
        assert_eq!(position, at, "{text}: {}", refusal.message);
        assert!(refusal.message.contains(part), "`{part}` is not in: {}", refusal.message);
        assert!(!refusal.message.contains('\n'), "{}", refusal.message);
    }
}

#[test]
fn a_root_is_as_the_file_says_and_as_usual_where_it_says_nothing() {
    let text = "[roots.a]\npath = \"a\"\n\
                [roots.b]\npath = \"/srv/b\"\njunk = true\nignore = [\"*.part\"]\n\
                hash = \"changed\"\ncompare = \"size_mtime\"\n";
    let config = parse(text).expect("a good file");
    assert_eq!((config.db.as_deref(), config.scope()), (None, vec![b"a".to_vec(), b"b".to_vec()]));
    assert_eq!(config.engine, WatchOptions::new());
    let [a, b] = config.roots.as_slice() else { panic!("{config:?}") };
    assert_eq!(a.path, PathBuf::from(BASE).join("a"));
    assert_eq!((a.path_at.to_string(), a.name_at.to_string()), ("2:8".to_owned(), "1:8".to_owned()));
    assert!(a.rules.patterns().is_empty());
    assert_eq!((a.content_hash, a.compare), (ContentHash::Off, Compare::Auto));
    assert_eq!(a.watch, RootWatch::new());

    assert_eq!(b.path, PathBuf::from("/srv/b"));
    let rules = IgnoreRules::junk().with("*.part").expect("a good pattern");
    assert_eq!(b.rules, rules);
    assert_eq!((b.content_hash, b.compare), (ContentHash::Changed, Compare::SizeMtime));
}

#[test]
fn what_belongs_to_the_engine_reaches_it() {
    let text = "db = \"state.tw\"\n\
                [watch]\nbackend = \"notify\"\nwatches_max = 1_000\nscan_threads = 2\nnice = 19\n\
                yields = false\ndebounce_ms = 100\n\
                [roots.a]\npath = \"a\"\n";
    let config = parse(text).expect("a good file");
    assert_eq!(config.db, Some(PathBuf::from(BASE).join("state.tw")));
    let engine = WatchOptions::new()
        .backend(WatchBackend::Notify)
        .watches_max(1_000)
        .scan_threads(2)
        .nice(19)
        .yields(false);
    assert_eq!(config.engine, engine);
    assert_eq!(config.options(), engine.root("a", RootWatch::new().debounce_ms(100)));
}

#[test]
fn an_address_for_metrics_is_taken_as_on_the_command_line() {
    let root = "[roots.a]\npath = \"a\"\n";
    assert_eq!(parse(root).expect("a good file").metrics, None);
    let config = parse(&format!("metrics = \"9464\"\n{root}")).expect("a good file");
    assert_eq!(config.metrics, Address::parse("127.0.0.1:9464").ok());
}

#[test]
fn a_root_says_more_than_the_defaults() {
    let cases = [
        ("", "", RootWatch::new()),
        ("mode = \"poll\"", "", RootWatch::new().mode(WatchMode::Poll)),
        ("mode = \"poll\"", "mode = \"native\"", RootWatch::new().mode(WatchMode::Native)),
        ("poll_s = 60", "debounce_ms = 50", RootWatch::new().poll_ms(60_000).debounce_ms(50)),
        ("quick = \"15m\"", "", RootWatch::new().quick(schedule("15m"))),
        ("quick = \"15m\"", "quick = \"never\"", RootWatch::new()),
        ("reconcile = \"never\"", "", RootWatch::new().no_reconcile()),
        ("reconcile = \"never\"", "reconcile = \"7d\"", RootWatch::new().reconcile(schedule("every 7d"))),
        ("preset = \"small\"", "", RootWatch::small()),
        ("preset = \"small\"", "poll_s = 3", RootWatch::small().poll_ms(3_000)),
        ("poll_s = 3\nmode = \"poll\"", "preset = \"large\"", RootWatch::large()),
        ("preset = \"small\"", "preset = \"busy\"", RootWatch::busy()),
    ];
    for (defaults, own, expected) in cases {
        assert_eq!(watch(defaults, own), expected, "{defaults} / {own}");
    }
}

#[test]
fn the_one_quiet_time_follows_the_other() {
    let cases = [
        ("debounce_ms = 100", RootWatch::new().debounce_ms(100)),
        ("debounce_ms = 5_000", RootWatch::new().debounce_ms(5_000).max_wait_ms(5_000)),
        ("max_wait_ms = 100", RootWatch::new().debounce_ms(100).max_wait_ms(100)),
        ("max_wait_ms = 9_000", RootWatch::new().max_wait_ms(9_000)),
        ("preset = \"busy\"\nmax_wait_ms = 1_000", RootWatch::busy().debounce_ms(1_000).max_wait_ms(1_000)),
        ("preset = \"large\"\ndebounce_ms = 5_000", RootWatch::large().debounce_ms(5_000)),
    ];
    for (own, expected) in cases {
        assert_eq!(watch("", own), expected, "{own}");
    }
}

#[test]
fn cron_texts_are_read_in_the_zone_of_the_file_unless_they_name_one() {
    let utc = RootWatch::new().full(schedule("0 3 * * *"));
    assert_eq!(watch("full = \"0 3 * * *\"", ""), utc);
    assert_eq!(watch("full = \"cron 0 3 * * * UTC\"", ""), utc);
    assert_eq!(watch("time_zone = \"UTC\"", "full = \"cron 0 3 * * *\""), utc);
    assert_eq!(watch("time_zone = \"UTC\"", "full = \"90s\""), RootWatch::new().full(schedule("90s")));
    let late = RootWatch::new().full(schedule("0 3 * * *").jitter_ms(60_000));
    assert_eq!(watch("full = \"0 3 * * *\"", "jitter_s = 60"), late);

    if let Ok(vienna) = Schedule::cron_in("0 3 * * *", "Europe/Vienna") {
        let vienna = RootWatch::new().full(vienna);
        assert_eq!(watch("full = \"0 3 * * *\"", "time_zone = \"Europe/Vienna\""), vienna);
        assert_eq!(watch("time_zone = \"UTC\"", "full = \"0 3 * * * Europe/Vienna\""), vienna);
        assert_eq!(watch("preset = \"small\"\ntime_zone = \"Europe/Vienna\"", "full = \"0 3 * * *\""), {
            let own = Schedule::cron_in("0 3 * * *", "Europe/Vienna").expect("just read");
            RootWatch::small().full(own)
        });
    }
}

#[test]
fn the_example_is_a_good_file() {
    // Not every machine knows every zone.
    let text = include_str!("../../../examples/watch.toml").replace("Europe/Vienna", "UTC");
    let config = parse(&text).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let names: Vec<&str> = config.roots.iter().map(|root| root.name.as_str()).collect();
    assert_eq!(names, ["archive", "inbox", "music"]);
}

#[test]
fn every_key_is_in_the_example() {
    let text = include_str!("../../../examples/watch.toml");
    // What a table may hold is what is said against a key that it may not hold.
    for table in ["[watch]\nx = 1", "[roots.a]\nx = 1"] {
        let refusal = parse(table).expect_err(table);
        let (_, known) = refusal.message.split_once("expected one of ").expect("the keys are listed");
        for key in known.split(", ").map(|key| key.trim_matches('`')) {
            let is_there = text.lines().any(|line| {
                line.trim_start_matches("# ").strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "))
            });
            assert!(is_there, "`{key}` is not in examples/watch.toml");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = TempDir::new().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let load = |name: &str| Config::load(&Source::new(&path(name))).expect_err(name).message();

    let message = load("none.toml");
    assert!(message.contains("none.toml") && message.contains("cannot be read"), "{message}");
    fs::create_dir(path("dir.toml")).expect("a directory");
    assert!(load("dir.toml").contains("not a file"));
    fs::write(path("binary.toml"), b"# \xc3\xa4\nx\xff").expect("a file");
    assert!(load("binary.toml").ends_with("binary.toml:2:2: a byte that is not UTF-8"));
    fs::write(path("huge.toml"), vec![b'#'; (1 << 20) + 1]).expect("a file");
    assert!(load("huge.toml").contains("larger than 1 MiB"));
    fs::write(path("bad.toml"), "[watch]\nnice = 99\n").expect("a file");
    assert!(load("bad.toml").ends_with("bad.toml:2:8: `nice` is 0 to 19 steps, not 99"));
}

#[test]
fn another_file_has_another_stamp() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("a.toml");
    let source = Source::new(&path);
    assert_eq!(source.stamp(), None);
    fs::write(&path, "one").expect("a file");
    let first = source.stamp();
    assert!(first.is_some());
    assert_eq!(source.stamp(), first);
    // As most editors save: a new file takes the place of the old one.
    let new = dir.path().join("new");
    fs::write(&new, "two").expect("a file");
    fs::rename(&new, &path).expect("renamed");
    assert_ne!(source.stamp(), first);
}
