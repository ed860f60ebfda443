//! Snapshots on many threads: immutable, consistent, readable whatever happens to the engine, and
//! never freed at a reader's expense.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::reference::{assert_same_dump, dump};
use support::{ROOT, Tree, World, both_walkers, refused, wait_until, within};
use treewarden::{ErrorKind, Kind, Publish, Snapshot, Walker, Warden, testing};

/// All sums of one snapshot agree, whenever it was taken.
fn assert_consistent(snapshot: &Snapshot) {
    let (mut files, mut dirs, mut bytes, mut newest) = (0, 0, 0, 0);
    for entry in snapshot.entries(ROOT) {
        newest = newest.max(entry.seq());
        if entry.kind() != Kind::Dir {
            files += 1;
            bytes += entry.size();
        } else if entry.path() != ROOT.as_bytes() {
            dirs += 1;
        }
    }
    assert_eq!(files, snapshot.len());
    assert!(newest <= snapshot.seq(), "an entry of seq {newest} in a snapshot of seq {}", snapshot.seq());
    let totals = snapshot.du(ROOT).unwrap();
    assert_eq!((totals.files, totals.dirs, totals.bytes), (files, dirs, bytes));
}

#[test]
fn readers_see_whole_commits_while_scans_and_batches_run() {
    for walker in both_walkers() {
        let world = Arc::new(World::new(walker, |t| {
            t.file("anchor", "");
        }));
        world.scan();
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (warden, stop, looks) = (world.warden().clone(), Arc::clone(&stop), Arc::clone(&looks));
                std::thread::spawn(move || {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let snapshot = warden.snapshot();
                        assert!(snapshot.seq() >= last, "time runs backwards");
                        last = snapshot.seq();
                        assert_consistent(&snapshot);
                        // A generation is ten files, all or none; see below.
                        let files = snapshot.files("root/all-or-none").count();
                        assert!(files == 0 || files == 10, "{files} of 10 files are visible");
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for round in 0..20 {
            for n in 0..10 {
                world.tree.file(format!("all-or-none/{n}"), vec![b'x'; round]);
            }
            world.scan();
            world.warden().space("s").unwrap().put(b"k".as_slice(), b"v".as_slice()).unwrap();
            world.tree.remove("all-or-none");
            world.scan();
            world.warden().compact().unwrap();
        }
        wait_until("the readers look", || {
            looks.load(Ordering::Relaxed) > 10 || readers.iter().any(std::thread::JoinHandle::is_finished)
        });
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    }
}

#[test]
fn a_progressive_scan_shows_consistent_parts() {
    let world = Arc::new(World::new(Walker::Auto, |t| {
        for n in 0..3000 {
            t.file(format!("d{}/e{}/f{n}", n % 37, n % 5), "x");
        }
    }));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (warden, stop) = (world.warden().clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut len = 0;
            while !stop.load(Ordering::Relaxed) {
                let snapshot = warden.snapshot();
                assert_consistent(&snapshot);
                assert!(snapshot.len() >= len, "a first scan only adds");
                len = snapshot.len();
            }
        })
    };
    world.scan_as(|o| o.publish(Publish::Progressive));
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert_eq!(world.snapshot().len(), 3000);
}

#[test]
fn snapshots_and_iterators_outlive_the_warden() {
    let mut world = World::new(Walker::Auto, |t| {
        for n in 0..2000 {
            t.file(format!("d{}/f{n}", n % 17), "x");
        }
    });
    world.scan();
    let snapshot = world.snapshot();
    let before = dump(&snapshot);
    let mut iterator = snapshot.files("");
    let first = iterator.next().unwrap();
    world.close();
    drop(world);
    assert!(first.path().starts_with(b"root/"));
    assert_eq!(iterator.count(), 1999);
    assert_same_dump("after the warden is gone", &before, &dump(&snapshot));
    let clone = snapshot.clone();
    drop(snapshot);
    std::thread::spawn(move || assert_consistent(&clone)).join().unwrap();
}

#[test]
fn dropping_the_last_handle_closes_the_file() {
    let (tree, state) = (Tree::new(), Tree::new());
    tree.file("a", "");
    let path = state.join("state.tw");
    let warden = Warden::open(&path).unwrap();
    warden.add_root(ROOT, tree.path()).unwrap();
    warden.scan(ROOT).unwrap();
    let snapshot = warden.snapshot();
    let changes = warden.changes(0).unwrap();
    let seq = warden.seq();
    drop(changes);
    drop(warden);
    // The snapshot alone does not hold the file.
    let again = Warden::open(&path).unwrap();
    assert_eq!(again.seq(), seq);
    assert_eq!(snapshot.len(), again.snapshot().len());
}

#[test]
fn a_panic_in_the_engine_poisons_it_and_snapshots_stay_readable() {
    let mut world = World::settled(Walker::Auto, |t| {
        t.file("a", "1").file("d/b", "2").file("anchor", "");
    });
    world.warden().space("s").unwrap().put(b"k".as_slice(), b"kept".as_slice()).unwrap();
    let before = dump(&world.snapshot());
    world.tree.file("c", "3");
    testing::panic_in_commit(world.warden());

    let warden = world.warden().clone();
    let other = {
        let warden = warden.clone();
        std::thread::spawn(move || warden.space("t").and_then(|s| s.put(b"k".as_slice(), b"v".as_slice())))
    };
    let only = [ErrorKind::Poisoned];
    let first = within("a commit that panics", {
        let warden = warden.clone();
        move || warden.space("s").and_then(|s| s.put(b"k".as_slice(), b"lost".as_slice()))
    });
    refused("the commit that panicked", first, &only);
    refused("one that waited beside it", within("its neighbour", move || other.join().unwrap()), &only);
    let all = within("everything afterwards", {
        let warden = warden.clone();
        move || {
            vec![
                warden.space("s").and_then(|s| s.put(b"k".as_slice(), b"v".as_slice())).map(|_| ()),
                warden.scan(ROOT).map(|_| ()),
                warden.batch().put("s", b"k".as_slice(), b"v".as_slice()).commit().map(|_| ()),
                warden.set_attrs("root/a", [("a", Some(b"1".as_slice()))]).map(|_| ()),
                warden.remove_root(ROOT),
                warden.maintain().map(|_| ()),
                warden.compact().map(|_| ()),
            ]
        }
    });
    for (n, result) in all.into_iter().enumerate() {
        refused(&format!("call {n} afterwards"), result, &only);
    }
    assert_same_dump("poisoned", &before, &dump(&warden.snapshot()));
    assert_consistent(&warden.snapshot());

    // Closing does not hang, and nothing acknowledged is lost.
    let closed = within("closing", move || warden.close());
    if let Err(error) = closed {
        assert_eq!(error.kind(), ErrorKind::Poisoned);
    }
    let mut world = within("dropping the poisoned warden", move || {
        world.abandon();
        world
    });
    world.open();
    assert_same_dump("reopened", &before, &dump(&world.snapshot()));
    let value = world.warden().space("s").unwrap().get(b"k".as_slice()).unwrap();
    assert_eq!(value.as_deref(), Some(b"kept".as_slice()));
    world.expect_news("it works again", &["added c"]);
}

#[test]
fn the_last_reference_of_a_large_snapshot_is_freed_off_the_readers_thread() {
    let mut world = World::new(Walker::Auto, |t| {
        for n in 0..20_000 {
            t.file(format!("d{}/f{n}", n % 211), "");
        }
    });
    world.scan();
    let held = world.snapshot();
    // Replace everything, so that the held snapshot shares nothing with the current one.
    world.warden().remove_root(ROOT).unwrap();
    let so_far = testing::reclaimed_on().len();
    let reader = std::thread::Builder::new().name("reader".to_owned());
    reader.spawn(move || drop(held)).unwrap().join().unwrap();
    wait_until("the tree is freed", || testing::reclaimed_on().len() > so_far);
    let names = testing::reclaimed_on();
    assert!(!names.iter().any(|name| name == "reader"), "a reader paid: {names:?}");

    // Also when the warden is gone and the reader's is the very last reference to anything.
    world.warden().add_root(ROOT, world.tree.path()).unwrap();
    world.scan();
    let held = world.snapshot();
    world.close();
    let so_far = testing::reclaimed_on().len();
    let reader = std::thread::Builder::new().name("reader".to_owned());
    reader.spawn(move || drop(held)).unwrap().join().unwrap();
    wait_until("the tree is freed", || testing::reclaimed_on().len() > so_far);
    let names = testing::reclaimed_on();
    assert!(!names.iter().any(|name| name == "reader"), "a reader paid: {names:?}");
}
