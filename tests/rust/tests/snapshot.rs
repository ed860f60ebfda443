//! Snapshots: lookup, order, prefixes, filters, totals, difference, and staying as they are.

use support::reference::{assert_diff, assert_same_dump, dump};
use support::{Row, World, address, both_walkers, refused, show};
use treewarden::{ErrorKind, Filter, Kind, Snapshot, Walker};

fn paths<'s>(entries: impl Iterator<Item = treewarden::EntryRef<'s>>) -> Vec<String> {
    entries.map(|entry| show(&entry.path())).collect()
}

fn selected(snapshot: &Snapshot, filter: &Filter) -> Vec<String> {
    paths(snapshot.select(filter))
}

fn library() -> World {
    let world = World::new(Walker::Auto, |t| {
        t.file("2023/a.flac", vec![0; 10]).file("2023/b.mp3", vec![0; 20]).file("2024/c.flac", vec![0; 30]);
        t.file("2024/live/d.flac", vec![0; 40])
            .file("cover.jpg", vec![0; 5])
            .symlink("cover.jpg", "front.jpg");
        t.file("2023-notes", vec![0; 7]).dir("empty");
        t.set_mtime("2023/a.flac", 1_000).set_mtime("2023/b.mp3", 2_000).set_mtime("cover.jpg", 3_000);
    });
    world.scan();
    world
}

#[test]
fn entries_come_in_path_order_and_only_once() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            for name in ["b", "a/z", "a/b/c", "a-", "a.", "a/b-c", "a0", "A", "a/\u{1}", "zz/y/x"] {
                t.file(name, "");
            }
        });
        world.scan();
        let snapshot = world.snapshot();
        let key = |path: &[u8]| path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let all: Vec<Vec<u8>> = snapshot.entries("").map(|entry| entry.path()).collect();
        assert!(
            all.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])),
            "{:?}",
            paths(snapshot.entries(""))
        );
        for path in &all {
            assert_eq!(snapshot.get(path).expect("listed, so it can be looked up").path(), *path);
            assert!(snapshot.contains(path));
        }
        assert_eq!(snapshot.files("").count() as u64, snapshot.len());
    }
}

#[test]
fn a_prefix_is_a_path_and_not_the_beginning_of_a_name() {
    let world = library();
    let snapshot = world.snapshot();
    assert_eq!(paths(snapshot.files("root/2023")), ["root/2023/a.flac", "root/2023/b.mp3"]);
    assert_eq!(paths(snapshot.files("root/2024")), ["root/2024/c.flac", "root/2024/live/d.flac"]);
    assert_eq!(paths(snapshot.children("root/2024")), ["root/2024/c.flac", "root/2024/live"]);
    for nothing in ["root/202", "root/2023/a", "root/2023/a.flac/x", "root/nothing", "other", "roo"] {
        assert_eq!(paths(snapshot.files(nothing)), Vec::<String>::new(), "{nothing}");
        assert!(snapshot.get(nothing).is_none(), "{nothing}");
    }
}

#[test]
fn what_is_no_address_finds_nothing() {
    let world = library();
    let snapshot = world.snapshot();
    for odd in ["", "/"] {
        assert!(snapshot.get(odd).is_none() && snapshot.get_missing(odd).is_none(), "{odd:?}");
    }
    for odd in [
        "//",
        "/root",
        "//root",
        "/root/cover.jpg",
        "root//",
        "root///",
        "root//2023",
        "root//cover.jpg",
        "root/2023//",
        "root/2023//a.flac",
        "root/cover.jpg//",
        "root/.",
        "root/..",
        "root/./cover.jpg",
        "root/../root/cover.jpg",
        "root/2023/../cover.jpg",
        "root/2023/.",
    ] {
        assert!(snapshot.get(odd).is_none() && !snapshot.contains(odd), "{odd}");
        assert!(snapshot.get_missing(odd).is_none() && snapshot.du(odd).is_none(), "{odd}");
        assert_eq!(paths(snapshot.entries(odd)), Vec::<String>::new(), "{odd}");
        assert_eq!(paths(snapshot.children(odd)), Vec::<String>::new(), "{odd}");
    }
    // One slash at the end is forgiven.
    for (address, below) in [("root/", 11), ("root/2024/", 3), ("root/cover.jpg/", 1)] {
        let entry = snapshot.get(address).expect("it is there");
        assert_eq!(entry.path(), address.as_bytes().strip_suffix(b"/").unwrap());
        assert_eq!(snapshot.entries(address).count(), below, "{address}");
    }
}

#[test]
fn totals_are_sums_at_every_depth() {
    let world = library();
    let snapshot = world.snapshot();
    let totals = |path: &str| snapshot.du(path).map(|t| (t.files, t.dirs, t.bytes));
    let link = snapshot.get("root/front.jpg").unwrap().size();
    assert_eq!(totals("root"), Some((7, 4, 112 + link)));
    assert_eq!(totals("root/2024"), Some((2, 1, 70)));
    assert_eq!(totals("root/2024/live"), Some((1, 0, 40)));
    assert_eq!(totals("root/empty"), Some((0, 0, 0)));
    assert_eq!(totals("root/nothing"), None);
    let dir = snapshot.get("root/2024").unwrap();
    assert_eq!(dir.totals().map(|t| t.bytes), Some(70));
    assert!(snapshot.get("root/cover.jpg").unwrap().totals().is_none());
}

#[test]
fn filters_select_by_prefix_glob_kind_size_and_time() {
    let world = library();
    let snapshot = world.snapshot();
    let glob = |pattern: &str| Filter::new().under("root").glob(pattern).unwrap();
    assert_eq!(selected(&snapshot, &glob("*.jpg")), ["root/cover.jpg", "root/front.jpg"]);
    assert_eq!(selected(&snapshot, &glob("*/*.flac")), ["root/2023/a.flac", "root/2024/c.flac"]);
    assert_eq!(
        selected(&snapshot, &glob("**/*.flac")),
        ["root/2023/a.flac", "root/2024/c.flac", "root/2024/live/d.flac"]
    );
    let below = Filter::new().under("root/2024").glob("*.flac").unwrap();
    assert_eq!(selected(&snapshot, &below), ["root/2024/c.flac"], "globs are relative to `under`");
    let links = Filter::new().under("root").kind(Kind::Symlink);
    assert_eq!(selected(&snapshot, &links), ["root/front.jpg"]);
    let dirs = Filter::new().under("root/2024").kind(Kind::Dir);
    assert!(selected(&snapshot, &dirs).contains(&"root/2024/live".to_owned()));
    let sizes = Filter::new().under("root").kind(Kind::File).size_min(10).size_max(30);
    assert_eq!(selected(&snapshot, &sizes), ["root/2023/a.flac", "root/2023/b.mp3", "root/2024/c.flac"]);
    let times = Filter::new().under("root").kind(Kind::File).mtime_min_ns(1_500).mtime_max_ns(3_000);
    assert_eq!(selected(&snapshot, &times), ["root/2023/b.mp3", "root/cover.jpg"]);
}

#[test]
fn filters_find_the_missing_when_asked() {
    let world = library();
    world.settle();
    world.tree.remove("2023/b.mp3").remove("cover.jpg");
    world.scan();
    let missing = Filter::new().under("root").missing().kind(Kind::File);
    assert_eq!(selected(&world.snapshot(), &missing), ["root/2023/b.mp3", "root/cover.jpg"]);
    let present = Filter::new().under("root/2023");
    assert!(!selected(&world.snapshot(), &present).contains(&"root/2023/b.mp3".to_owned()));
}

#[test]
fn a_bad_glob_is_refused() {
    for pattern in ["[", "[z-a]", "{a,b"] {
        let result = Filter::new().glob(pattern);
        refused(pattern, result, &[ErrorKind::InvalidArgument]);
    }
}

#[test]
fn a_held_snapshot_stays_as_it_was() {
    for walker in both_walkers() {
        let mut world = World::settled(walker, |t| {
            t.file("a", "1").file("d/b", "2").file("d/c", "3").file("anchor", "");
        });
        let held = world.snapshot();
        let before = dump(&held);
        world.tree.remove("a").rename("d", "e").append("e/b", "more").file("new", "");
        world.scan();
        world.warden().compact().unwrap();
        assert_same_dump("after a scan", &before, &dump(&held));
        world.reopen();
        assert_same_dump("after the warden was closed", &before, &dump(&held));
        assert!(world.snapshot().seq() > held.seq());
    }
}

#[test]
fn a_file_that_stays_where_it_was_in_another_directory_did_not_move() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("d/b", "2").file("d/c", "3");
        });
        let old = world.snapshot();
        // The name `d` is another directory's now, and the same file is in it.
        world.tree.rename("d", "e").dir("d").rename("e/b", "d/b").append("d/b", "more");
        world.scan();
        let changes = world.snapshot().diff(&old);
        let b: Vec<_> = changes.iter().filter(|change| change.path == b"root/d/b").collect();
        assert!(
            matches!(b[..], [one] if one.kind == treewarden::ChangeKind::Modified && one.from.is_none()),
            "{changes:#?}"
        );
        assert!(changes.iter().all(|change| change.from.as_ref() != Some(&change.path)), "{changes:#?}");
    }
}

#[test]
fn the_difference_of_two_snapshots_is_what_happened_between_them() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "1").file("d/b", "2").file("d/c", "3").file("same", "4").file("x/y/z", "5");
        });
        let old = world.snapshot();
        world.tree.remove("a").rename("d", "e").append("e/b", "more").file("new", "");
        world.scan();
        let middle = world.snapshot();
        world.tree.rename("e", "f").remove("new").file("a", "again");
        world.scan();
        let new = world.snapshot();
        for (older, newer) in [(&old, &middle), (&middle, &new), (&old, &new)] {
            let rows: Vec<Row> = newer.diff(older).iter().map(Row::of).collect();
            assert_diff(&dump(older), &dump(newer), &rows);
        }
        assert!(new.diff(&new).is_empty(), "nothing differs from itself");
        assert!(new.diff(&world.snapshot()).is_empty());
        assert!(!old.diff(&new).iter().any(|change| change.path == address("same")));
    }
}

#[test]
fn a_snapshot_of_an_empty_warden_is_empty() {
    let world = World::new(Walker::Auto, |_| {});
    let snapshot = world.snapshot();
    assert!(snapshot.is_empty());
    assert_eq!((snapshot.len(), snapshot.files("").count(), snapshot.missing("").count()), (0, 0, 0));
    assert_eq!(snapshot.roots(), ["root"]);
}
