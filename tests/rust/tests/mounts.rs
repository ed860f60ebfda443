//! File systems that come and go under a root. A mount point that is not mounted is an empty
//! directory, and an empty directory must not be taken for deleted files.
//!
//! Where this user may not mount, every test says so on stderr and returns.

use std::collections::BTreeMap;
use std::fs;

use support::reference::{Dump, dump};
use support::{Mount, ROOT, Tree, World, assert_same, both_walkers, file_names, refused, rows_since, skip};
use treewarden::{ErrorKind, Report, ScanOptions, Walker, Warden};

/// Mounts or ends the calling test with a word on stderr.
macro_rules! mount_or_skip {
    ($test:literal, $at:expr) => {
        match Mount::tmpfs(&$at, 4) {
            Ok(mount) => mount,
            Err(why) => {
                skip($test, why);
                return;
            }
        }
    };
}

/// A root with a tmpfs mounted at `vol`, scanned.
fn world_with_mount(walker: Walker) -> Result<(World, Mount), String> {
    let world = World::new(walker, |t| {
        t.file("local", "1").dir("vol").file("other/b", "2");
    });
    let mount = Mount::tmpfs(&world.tree.join("vol"), 4)?;
    world.tree.file("vol/x", "3").file("vol/d/y", "4");
    world.settle();
    world.expect_ls("with the file system", &["local", "other/b", "vol/d/y", "vol/x"]);
    Ok((world, mount))
}

/// Ids by address, of what lies below `prefix`.
fn ids(dump: &Dump, prefix: &[u8]) -> BTreeMap<Vec<u8>, u64> {
    let below = dump.present.iter().filter(|(path, _)| path.starts_with(prefix));
    below.map(|(path, known)| (path.clone(), known.id)).collect()
}

/// Nothing below `vol` has changed; what lies outside may.
fn assert_volume_kept(what: &str, world: &World, before: &Dump) {
    let now = dump(&world.snapshot());
    assert_same(what, &ids(before, b"root/vol/"), &ids(&now, b"root/vol/"));
    assert_eq!(world.snapshot().missing("root/vol").count(), 0, "{what}: missing without proof");
}

/// Only the mount point itself was guarded: with its parent made anew, everything below was missing.
#[test]
fn a_mount_point_whose_parent_was_made_anew_or_is_gone_keeps_its_entries() {
    for walker in both_walkers() {
        for made_anew in [true, false] {
            let world = World::new(walker, |t| {
                t.file("local", "1").dir("vol/deep");
            });
            let mut mount = match Mount::tmpfs(&world.tree.join("vol/deep"), 4) {
                Ok(mount) => mount,
                Err(why) => {
                    return skip(
                        "a_mount_point_whose_parent_was_made_anew_or_is_gone_keeps_its_entries",
                        why,
                    );
                }
            };
            world.tree.file("vol/deep/x", "3");
            world.settle();
            let before = dump(&world.snapshot());
            mount.unmount();
            world.tree.remove("vol");
            if made_anew {
                world.tree.dir("vol/deep");
            }
            let report = world.scan();
            assert!(!report.is_clean(), "the report says nothing: {report:?}");
            assert_volume_kept("parent made anew or gone", &world, &before);
            let report = world.scan_as(ScanOptions::accept_missing);
            assert_eq!((report.missing, report.errors), (1, 0), "{report:?}");
        }
    }
}

#[test]
fn a_file_system_unmounted_below_a_root_keeps_its_entries() {
    for walker in both_walkers() {
        let (world, mut mount) = match world_with_mount(walker) {
            Ok(both) => both,
            Err(why) => return skip("a_file_system_unmounted_below_a_root_keeps_its_entries", why),
        };
        let before = dump(&world.snapshot());
        mount.unmount();
        world.tree.file("new", "5").remove("other");
        let seq = world.warden().seq();
        let report = world.scan();
        assert!(!report.is_clean(), "the report says nothing of the file system that is gone: {report:?}");
        assert_volume_kept("unmounted", &world, &before);
        let told = world.changes_since(seq);
        assert!(told.iter().all(|line| !line.contains("vol")), "{told:?}");
        assert!(told.contains(&"added new".to_owned()), "the rest of the root is looked at: {told:?}");
        assert!(told.contains(&"missing other/b".to_owned()), "the rest of the root is looked at: {told:?}");
        // A subtree scan of the empty mount point proves nothing either.
        world.scan_target("root/vol", |o| o);
        assert_volume_kept("unmounted, scanned by itself", &world, &before);
    }
}

#[test]
fn a_file_system_that_comes_back_is_as_it_was() {
    for walker in both_walkers() {
        let disk = Tree::new();
        let _mount = mount_or_skip!("a_file_system_that_comes_back_is_as_it_was", disk.path());
        // The same file system twice: a bind mount can be taken away and put back.
        disk.file("x", "1").file("d/y", "2");
        let world = World::new(walker, |t| {
            t.file("local", "").dir("vol");
        });
        let bind = || Mount::bind(disk.path(), &world.tree.join("vol"));
        let mut first = match bind() {
            Ok(mount) => mount,
            Err(why) => return skip("a_file_system_that_comes_back_is_as_it_was", why),
        };
        world.settle();
        let before = dump(&world.snapshot());
        first.unmount();
        assert!(!world.scan().is_clean());
        world.expect_ls("taken away", &["local", "vol/d/y", "vol/x"]);
        let _again = bind().unwrap();
        let report = world.scan();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.added, report.missing, report.moved, report.restored), (0, 0, 0, 0), "{report:?}");
        assert_same("mounted again", &ids(&before, b""), &ids(&dump(&world.snapshot()), b""));
    }
}

#[test]
fn a_file_system_mounted_over_known_entries_hides_them_but_does_not_delete_them() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("local", "1").file("vol/x", "2").file("vol/d/y", "3");
        });
        let before = dump(&world.snapshot());
        let mut mount = mount_or_skip!(
            "a_file_system_mounted_over_known_entries_hides_them_but_does_not_delete_them",
            world.tree.join("vol")
        );
        // Empty, then with content of its own.
        world.scan();
        assert_volume_kept("mounted over, empty", &world, &before);
        mount.unmount();
        assert!(world.scan().is_clean());
        assert_same("uncovered again", &ids(&before, b""), &ids(&dump(&world.snapshot()), b""));
        world.assert_true("uncovered again");
    }
}

#[test]
fn a_file_system_swapped_for_another_below_a_root_is_not_taken_for_the_first() {
    for walker in both_walkers() {
        let (world, mut mount) = match world_with_mount(walker) {
            Ok(both) => both,
            Err(why) => {
                return skip(
                    "a_file_system_swapped_for_another_below_a_root_is_not_taken_for_the_first",
                    why,
                );
            }
        };
        mount.unmount();
        let _other = mount_or_skip!(
            "a_file_system_swapped_for_another_below_a_root_is_not_taken_for_the_first",
            world.tree.join("vol")
        );
        world.tree.file("vol/x", "another x");
        let seq = world.warden().seq();
        world.scan();
        // Either the other file system is refused as a whole or its entries are new or modified
        // ones; but a file that is only on the first one is never declared missing by the second
        // without a word in the report, and the two are never paired as a move.
        let told = world.changes_since(seq);
        assert!(!told.iter().any(|line| line.starts_with("moved")), "{told:?}");
        assert!(world.snapshot().contains("root/local"));
    }
}

/// A root that is itself a mount point.
fn scan(warden: &Warden, walker: Walker) -> Report {
    let options = ScanOptions::default().target(ROOT).walker(walker);
    warden.scan_with(&options, &treewarden::ScanContext::default()).unwrap().remove(0)
}

#[test]
fn a_root_whose_own_file_system_is_unmounted_is_unavailable() {
    for walker in both_walkers() {
        let (disk, state) = (Tree::new(), Tree::new());
        let mut mount =
            mount_or_skip!("a_root_whose_own_file_system_is_unmounted_is_unavailable", disk.path());
        disk.file("a", "1").file("d/b", "2");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        warden.add_root(ROOT, disk.path()).unwrap();
        assert!(scan(&warden, walker).is_clean());
        let (before, seq) = (dump(&warden.snapshot()), warden.seq());
        mount.unmount();
        for content in [false, true] {
            if content {
                // Something wrote into the empty mount point: still not our root.
                disk.file("a", "not the real one");
            }
            let report = scan(&warden, walker);
            assert!(report.unavailable.is_some(), "content {content}: {report:?}");
            assert_same("unmounted", &before.present, &dump(&warden.snapshot()).present);
            assert!(rows_since(&warden, seq).is_empty());
        }
        refused_or_unavailable(&warden);
    }
}

/// A subtree of an unavailable root is no more available than the root.
fn refused_or_unavailable(warden: &Warden) {
    match warden.scan("root/d") {
        Ok(report) => assert!(report.unavailable.is_some(), "{report:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
    }
}

#[test]
fn a_file_system_mounted_over_the_root_itself_makes_it_unavailable() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "1").file("d/b", "2");
        });
        let before = dump(&world.snapshot());
        let mut mount = mount_or_skip!(
            "a_file_system_mounted_over_the_root_itself_makes_it_unavailable",
            world.tree.path()
        );
        for content in [false, true] {
            if content {
                world.tree.file("a", "another tree");
            }
            let report = world.scan();
            assert!(report.unavailable.is_some(), "content {content}: {report:?}");
            assert_same("mounted over", &before.present, &dump(&world.snapshot()).present);
        }
        mount.unmount();
        assert!(world.scan().is_clean());
        world.assert_true("uncovered again");
        assert_eq!(world.snapshot().missing("").count(), 0);
    }
}

#[test]
fn a_root_swapped_for_another_file_system_is_unavailable() {
    for walker in both_walkers() {
        let (disk, state) = (Tree::new(), Tree::new());
        let mut first = mount_or_skip!("a_root_swapped_for_another_file_system_is_unavailable", disk.path());
        disk.file("a", "1").file("b", "2");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        warden.add_root(ROOT, disk.path()).unwrap();
        scan(&warden, walker);
        let before = dump(&warden.snapshot());
        first.unmount();
        // The root of every tmpfs has the same inode number; its device number differs.
        let _second = mount_or_skip!("a_root_swapped_for_another_file_system_is_unavailable", disk.path());
        disk.file("a", "of the second");
        let report = scan(&warden, walker);
        if report.unavailable.is_none() {
            // The kernel may hand the freed device number to the next file system, which then
            // cannot be told apart by number; even so nothing may be lost without a tombstone.
            let known = dump(&warden.snapshot());
            assert_eq!(known.present.len() + known.missing.len(), before.present.len(), "{report:?}");
            eprintln!("the second file system got the first one's device number");
            continue;
        }
        assert_same("swapped", &before.present, &dump(&warden.snapshot()).present);
    }
}

#[test]
fn a_move_to_another_file_system_is_no_move_by_inode() {
    for walker in both_walkers() {
        let (world, _mount) = match world_with_mount(walker) {
            Ok(both) => both,
            Err(why) => return skip("a_move_to_another_file_system_is_no_move_by_inode", why),
        };
        world.tree.file("vol/copy", "1").remove("local");
        world.expect_news("two file systems", &["added vol/copy", "missing local"]);
        world.assert_true("two file systems");
    }
}

#[test]
fn a_state_file_on_a_read_only_file_system_is_refused_for_writing() {
    let disk = Tree::new();
    let mount = mount_or_skip!("a_state_file_on_a_read_only_file_system_is_refused_for_writing", disk.path());
    let tree = Tree::new();
    tree.file("a", "");
    let path = disk.join("state.tw");
    let warden = Warden::open(&path).unwrap();
    warden.add_root(ROOT, tree.path()).unwrap();
    warden.scan(ROOT).unwrap();
    warden.close().unwrap();
    let bytes = fs::read(&path).unwrap();
    mount.read_only();
    let kinds = [ErrorKind::ReadOnly, ErrorKind::PermissionDenied];
    refused("a read-only file system", Warden::open(&path), &kinds);
    refused("a new file there", Warden::open(disk.join("new.tw")), &kinds);
    let reader = Warden::options().read_only().open(&path).unwrap();
    assert_eq!(file_names(&reader.snapshot(), ROOT), ["a"]);
    reader.close().unwrap();
    assert!(fs::read(&path).unwrap() == bytes);
}
