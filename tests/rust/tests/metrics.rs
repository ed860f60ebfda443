//! The numbers of the engine: they are those of the disk and of the status, and the text in which Prometheus
//! reads them says the same. The text is read by a parser that knows nothing but the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use support::work::{complete, one, open, plain, scanned, take};
use support::{ROOT, Tree, World, reference, refused};
use treewarden::{
    Coverage, ErrorKind, Metrics, OperationKind, OperationStatus, RateLimit, RootMetrics, RootState, Walker,
    WatchBackend,
};

/// A sample: the name, and the labels in order.
type Key = (String, Vec<(String, String)>);

/// A page as any reader of the format sees it.
struct Page {
    samples: BTreeMap<Key, f64>,
    /// Names of families, with their types.
    types: BTreeMap<String, String>,
}

impl Page {
    /// Reads a page, and fails where it is not as the format wants it.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "the last line ends, too");
        let mut page = Self { samples: BTreeMap::new(), types: BTreeMap::new() };
        let (mut helped, mut family) = (BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect(line);
                assert!(!words.is_empty() && helped.insert(name.to_owned()), "told twice: {line}");
                family = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, family, "the type follows the help");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(kind == "counter" || kind == "gauge", "{line}");
                assert!(page.types.insert(name.to_owned(), kind.to_owned()).is_none(), "typed twice: {line}");
            } else {
                let (key, value) = sample(line);
                assert_eq!(key.0, family, "a family stands together: {line}");
                assert!(page.types.contains_key(&family), "no type before {line}");
                assert!(page.samples.insert(key, value).is_none(), "told twice: {line}");
            }
        }
        for name in page.types.keys() {
            let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("treewarden_") && name.chars().all(is_letter), "{name}");
            assert!(page.samples.keys().any(|(sample, _)| sample == name), "{name} has no sample");
        }
        page
    }

    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// A sample that must be there.
    fn number(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {:#?}", self.samples))
    }

    /// A number about [`ROOT`].
    fn of_root(&self, name: &str) -> f64 {
        self.number(name, &[("root", ROOT)])
    }
}

/// Reads `name{label="text",...} value`.
fn sample(line: &str) -> (Key, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, quoted) = rest.split_once("=\"").expect(line);
            let (text, after) = unquoted(quoted);
            labels.push((label.to_owned(), text));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').expect(line);
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    ((name.to_owned(), labels), value.parse().expect(line))
}

/// A text up to its quote, and what comes after that.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, &quoted[at + 1..]),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some(c @ ('\\' | '"')) => text.push(c),
                other => panic!("the format has no escape {other:?}: {quoted}"),
            },
            c => text.push(c),
        }
    }
    panic!("no quote ends {quoted}")
}

fn metrics(world: &World) -> Metrics {
    world.warden().metrics().unwrap()
}

fn page(world: &World) -> Page {
    Page::read(&metrics(world).to_prometheus())
}

/// The numbers of [`ROOT`].
fn root(world: &World) -> RootMetrics {
    let metrics = metrics(world);
    let found = metrics.roots.iter().find(|root| root.name == ROOT);
    found.unwrap_or_else(|| panic!("{metrics:?}")).clone()
}

/// Files and symlinks, directories, bytes, by a walk of one's own.
fn on_disk(tree: &Tree) -> (u64, u64, u64) {
    let listing = reference::listing(tree.path(), ROOT);
    let dirs = listing.values().filter(|facts| facts.kind == "dir").count() as u64;
    let bytes = listing.values().filter(|facts| facts.kind != "dir").map(|facts| facts.size).sum();
    (listing.len() as u64 - dirs, dirs, bytes)
}

fn library(walker: Walker) -> World {
    World::settled(walker, |t| {
        t.file("a/b/one.txt", "one").file("a/two.txt", "four").file("three", "").dir("empty");
        t.symlink("a/two.txt", "link");
    })
}

#[test]
fn the_numbers_of_a_root_are_those_of_the_disk() {
    for walker in support::both_walkers() {
        let world = library(walker);
        for step in 0..3 {
            let (files, dirs, bytes) = on_disk(&world.tree);
            let root = root(&world);
            assert_eq!((root.files, root.dirs, root.bytes), (files, dirs, bytes), "step {step}");
            assert_eq!(root.missing, step.min(1), "step {step}");
            let page = page(&world);
            let names = ["treewarden_root_files", "treewarden_root_directories", "treewarden_root_bytes"];
            let told = names.map(|name| page.of_root(name));
            assert_eq!(told, [files as f64, dirs as f64, bytes as f64], "step {step}");
            assert_eq!(page.of_root("treewarden_root_missing_files"), root.missing as f64);
            match step {
                0 => world.tree.remove("three"),
                _ => world.tree.file("a/b/c/more.txt", "more"),
            };
            world.scan();
        }
    }
}

#[test]
fn the_state_file_and_the_journal_are_told_as_they_are() {
    let world = library(Walker::Auto);
    let (metrics, page) = (metrics(&world), page(&world));
    let status = world.warden().status().unwrap();
    assert_eq!((metrics.seq, metrics.state_file_bytes), (world.warden().seq(), status.file_bytes));
    assert_eq!(metrics.state_file_bytes, fs::metadata(world.state_file()).unwrap().len());
    assert_eq!(metrics.journal_floor_seq + 1, status.journal_first_seq);
    assert!(metrics.journal_bytes > 0, "the scan is in the journal");
    for (name, number) in [
        ("treewarden_seq", metrics.seq),
        ("treewarden_state_file_bytes", metrics.state_file_bytes),
        ("treewarden_journal_bytes", metrics.journal_bytes),
        ("treewarden_journal_floor_seq", metrics.journal_floor_seq),
        ("treewarden_live_watching", 0),
    ] {
        assert_eq!(page.number(name, &[]), number as f64, "{name}");
    }
    assert_eq!(page.get("treewarden_live_paused", &[]), None, "nothing is watched");
}

#[test]
fn looking_changes_nothing() {
    let world = library(Walker::Auto);
    let (before, seq) = (world.state_bytes(), world.warden().seq());
    for _ in 0..3 {
        let _ = page(&world);
    }
    assert_eq!((world.state_bytes() == before, world.warden().seq()), (true, seq));
}

#[test]
fn the_last_operation_of_each_root_is_told() {
    let world = library(Walker::Auto);
    let other = Tree::new();
    other.file("x", "x");
    world.warden().add_root("other", other.path()).unwrap();
    let silent = metrics(&world);
    let new = silent.roots.iter().find(|root| root.name == "other").unwrap();
    assert_eq!((&new.state, new.last_scan_ns, new.last_operation), (&RootState::New, None, None));
    let page_before = Page::read(&silent.to_prometheus());
    assert_eq!(page_before.get("treewarden_root_last_scan_timestamp_seconds", &[("root", "other")]), None);
    assert_eq!(page_before.number("treewarden_root_state", &[("root", "other"), ("state", "new")]), 1.0);

    // More lines than the short look sees, none of them about the first root.
    world.warden().scan("other").unwrap();
    for round in 0..80 {
        other.replace("x", format!("round {round}"));
        world.warden().scan("other").unwrap();
    }
    let history = world.warden().history(1_000).unwrap();
    for root in metrics(&world).roots {
        let expected = history.iter().find(|operation| operation.root == root.name).unwrap();
        let last = root.last_operation.unwrap();
        assert_eq!((last.kind, last.status, last.end_ns), (expected.kind, expected.status, expected.end_ns));
        assert_eq!(i128::from(last.duration_ns), i128::from(expected.end_ns) - i128::from(expected.start_ns));
        assert_eq!((last.kind, last.status), (OperationKind::Quick, OperationStatus::Ok));
        let page = page(&world);
        let labels = [("root", root.name.as_str()), ("kind", "quick"), ("status", "ok")];
        assert_eq!(page.number("treewarden_root_last_operation_info", &labels), 1.0);
        let seconds = page.number("treewarden_root_last_operation_timestamp_seconds", &labels[..1]);
        assert!((seconds - last.end_ns as f64 / 1e9).abs() < 1e-3, "{seconds} {last:?}");
        assert_eq!(page.number("treewarden_root_last_operation_errors", &labels[..1]), 0.0);
    }
}

#[test]
fn a_root_that_is_gone_keeps_its_numbers_and_says_so() {
    let world = library(Walker::Auto);
    let before = root(&world);
    let aside = world.tree.path().with_extension("aside");
    fs::rename(world.tree.path(), &aside).unwrap();
    world.warden().scan(ROOT).unwrap();
    let (gone, page_gone) = (root(&world), page(&world));
    fs::rename(&aside, world.tree.path()).unwrap();

    assert!(matches!(gone.state, RootState::Unavailable { .. }), "{gone:?}");
    assert_eq!((gone.files, gone.bytes, gone.missing), (before.files, before.bytes, 0));
    let state =
        |page: &Page, state| page.number("treewarden_root_state", &[("root", ROOT), ("state", state)]);
    let all = ["new", "ready", "unavailable", "held"];
    assert_eq!(all.map(|name| state(&page_gone, name)), [0.0, 0.0, 1.0, 0.0]);
    world.scan();
    assert_eq!(all.map(|name| state(&page(&world), name)), [0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn names_come_through_whatever_they_hold() {
    let world = library(Walker::Auto);
    let names = [r#"say "hi""#, r"back\slash", r"no\newline", r#"a="b",c{}"#, "für 音楽", " # HELP x"];
    let trees = names.map(|name| {
        let tree = Tree::new();
        tree.file("x", "x");
        world.warden().add_root(name, tree.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        world.warden().scan(name).unwrap();
        tree
    });
    let page = page(&world);
    for name in names {
        assert_eq!(page.number("treewarden_root_files", &[("root", name)]), 1.0, "{name}");
    }
    // What would need more care is no name.
    for bad in ["a\nb", "a\rb", "a\u{9b}b"] {
        refused(bad, world.warden().add_root(bad, trees[0].path()), &[ErrorKind::InvalidArgument]);
    }
}

#[test]
fn what_is_watched_is_told_and_two_looks_see_what_came_between() {
    let world = World::new(Walker::Auto, |t| {
        t.file("a/one", "one");
    });
    world.watch(WatchBackend::Auto);
    let first = page(&world);
    world.tree.file("a/two", "two").dir("b");
    world.sync();
    let (second, live) = (page(&world), world.live());

    assert_eq!((first.of_root("treewarden_root_files"), second.of_root("treewarden_root_files")), (1.0, 2.0));
    assert!(second.number("treewarden_seq", &[]) > first.number("treewarden_seq", &[]));
    assert!(second.of_root("treewarden_live_events_total") > first.of_root("treewarden_live_events_total"));
    for (name, number) in [
        ("treewarden_live_coherent", 1),
        ("treewarden_live_watched_directories", live.watched_dirs),
        ("treewarden_live_uncovered_directories", live.uncovered_dirs),
        ("treewarden_live_overflows_total", live.overflows),
    ] {
        assert_eq!(second.of_root(name), number as f64, "{name}");
    }
    for coverage in [Coverage::Native, Coverage::Mixed, Coverage::Polling] {
        let is_so = f64::from(u8::from(coverage == live.coverage));
        let labels = [("root", ROOT), ("coverage", coverage.name())];
        assert_eq!(second.number("treewarden_live_coverage", &labels), is_so, "{coverage:?}");
    }
    let next = [("root", ROOT), ("kind", "reconcile")];
    assert!(second.number("treewarden_live_next_scan_timestamp_seconds", &next) > 0.0);
    assert_eq!(
        second.get("treewarden_live_next_scan_timestamp_seconds", &[("root", ROOT), ("kind", "full")]),
        None
    );

    world.warden().pause().unwrap();
    assert_eq!(page(&world).number("treewarden_live_paused", &[]), 1.0);
    world.warden().resume().unwrap();
    world.warden().unwatch().unwrap();
    assert_eq!(page(&world).number("treewarden_live_watching", &[]), 0.0);
}

#[test]
fn pipelines_are_told_as_their_status_says() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x").file("b", "x").file("c", "x").file("d", "x");
    });
    assert!(metrics(&world).pipelines.is_empty());
    let p = open(&world, &plain().settle_ms(0).rate(RateLimit::new(3, Duration::from_secs(60))));
    complete(&p, vec![one(&p)]);
    // Requests are paced: there is room for another one by then.
    clock.advance_ms(61_500);
    let held = one(&p);

    let (metrics, page, status) = (metrics(&world), page(&world), p.status().unwrap());
    let [told] = metrics.pipelines.as_slice() else { panic!("{metrics:?}") };
    let limiter = p.limiter().unwrap().status();
    assert_eq!((&told.status, told.limiter.as_ref()), (&status, Some(&limiter)));
    let of = |name: &str| page.number(name, &[("pipeline", "p")]);
    for (state, items) in [
        ("new", status.new),
        ("changed", status.changed),
        ("stale", status.stale),
        ("error", status.error),
        ("missing", status.missing),
        ("indexed", status.indexed),
    ] {
        let labels = [("pipeline", "p"), ("state", state)];
        assert_eq!(page.number("treewarden_pipeline_items", &labels), items as f64, "{state}");
    }
    assert_eq!((status.new, status.indexed), (3, 1));
    assert_eq!(of("treewarden_pipeline_leases"), 1.0);
    assert_eq!(of("treewarden_pipeline_oldest_due_seconds"), status.oldest_due_ms.unwrap_or(0) as f64 / 1e3);
    assert_eq!(of("treewarden_limiter_limit"), 3.0);
    assert_eq!(of("treewarden_limiter_in_window"), f64::from(limiter.in_window));
    assert_eq!(of("treewarden_limiter_granted_total"), limiter.granted as f64);
    assert_eq!(of("treewarden_limiter_paused"), 0.0);
    complete(&p, vec![held]);

    // Without a rate there is nothing to say of it.
    let q = world.warden().pipeline_with("q", &plain()).unwrap();
    let jobs = take(&q);
    let page = self::page(&world);
    assert_eq!(page.get("treewarden_limiter_limit", &[("pipeline", "q")]), None);
    assert_eq!(page.number("treewarden_pipeline_leases", &[("pipeline", "q")]), 4.0);
    complete(&q, jobs);
}

#[test]
fn the_time_since_it_was_opened_goes_on_with_the_clock() {
    let (mut world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let before = metrics(&world).uptime_ms;
    clock.advance_ms(1_250);
    assert_eq!(metrics(&world).uptime_ms, before + 1_250);
    world.reopen();
    assert_eq!(metrics(&world).uptime_ms, 0);
    clock.advance_ms(1_250);
    assert_eq!(page(&world).number("treewarden_uptime_seconds", &[]), 1.25);
}

#[test]
fn a_warden_that_is_closed_has_no_numbers() {
    let mut world = library(Walker::Auto);
    let clone = world.warden().clone();
    world.close();
    refused("after close", clone.metrics(), &[ErrorKind::Closed]);
}
