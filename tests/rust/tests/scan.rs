//! The rules of a scan (ARCHITECTURE.md, R1 to R12), one sentence each, for both walkers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::child::{self, NOBODY};
use support::reference::{assert_same_dump, dump};
use support::{
    DAY_MS, ROOT, Setup, Tree, World, address, assert_lines, both_walkers, file_names, is_root, now_ns,
    refused, rows_since, skip, within,
};
use treewarden::{
    CancelToken, Clock, Compare, ContentHash, DifferenceKind, ErrorKind, IgnoreRules, Kind, OperationKind,
    OperationStatus, Options, Phase, Publish, RootOptions, RootState, ScanContext, ScanMode, ScanOptions,
    VerifyOptions, Walker, Warden,
};

/// 2001-09-09, older than anything the tests create.
const LONG_AGO_NS: i64 = 1_000_000_000_000_000_000;

fn hashing() -> RootOptions {
    RootOptions::default().content_hash(ContentHash::Changed)
}

/// A hashed world in which nothing is racy.
fn settled_with_hashes(walker: Walker, plant: impl FnOnce(&Tree)) -> World {
    let world = Setup::new(walker).root(hashing()).build(plant);
    world.settle();
    world
}

// ---------------------------------------------------------------------------------- finding

#[test]
fn a_first_scan_finds_everything_and_equals_the_disk() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            t.file("a.txt", "one")
                .file("d/b.txt", "two")
                .file("d/e/c.txt", "")
                .dir("empty")
                .symlink("a.txt", "link");
        });
        let report = world.scan();
        assert!(report.is_clean() && report.published && !report.is_unchanged());
        assert_eq!((report.added, report.files, report.errors), (4, 4, 0));
        world.expect_ls("after a first scan", &["a.txt", "d/b.txt", "d/e/c.txt", "link"]);
        world.assert_true("after a first scan");
        assert!(world.snapshot().get("root/empty").is_some_and(|e| e.kind() == Kind::Dir));
    }
}

#[test]
fn both_walkers_find_the_same() {
    let world = World::new(Walker::Fd, |t| {
        for n in 0..300 {
            t.file(format!("d{}/e{}/f{n}", n % 7, n % 3), vec![b'x'; n]);
        }
    });
    world.scan();
    world.settle();
    for walker in [Walker::Jwalk, Walker::Auto, Walker::Fd] {
        let report = world.scan_as(|options| options.walker(walker));
        assert!(report.is_unchanged(), "{walker:?} sees another tree: {report:?}");
    }
}

#[test]
fn odd_names_are_kept_byte_for_byte() {
    let names: [&[u8]; 12] = [
        b"new\nline",
        b"esc\x1b]0;title\x07",
        b"\xff\xfe invalid",
        b"cut\xe2\x82",
        "caf\u{e9}".as_bytes(),
        "cafe\u{301}".as_bytes(),
        b"-rf *",
        b"back\\slash",
        b" ",
        b"...",
        &[b'n'; 255],
        &[0xff; 255],
    ];
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            for name in names {
                t.file(name, name)
                    .file([name, b".d/inner"].concat().split_off(name.len().saturating_sub(200)), "");
            }
        });
        assert!(world.scan().is_clean());
        world.assert_true("odd names");
        for name in names {
            assert!(world.snapshot().contains(address(name)), "{}", support::show(name));
        }
    }
}

#[test]
fn names_that_sort_below_the_slash_stay_apart_from_a_directorys_subtree() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a/b", "")
                .file("a-b", "")
                .file("a.b", "")
                .file("a/b-c", "")
                .file("ab", "")
                .file("a b/x", "");
        });
        world.expect_ls("path order is by component", &["a/b", "a/b-c", "a b/x", "a-b", "a.b", "ab"]);
        assert_eq!(file_names(&world.snapshot(), "root/a"), ["a/b", "a/b-c"]);
        world.tree.remove("a");
        world.expect_news("the subtree alone goes", &["missing a/b", "missing a/b-c"]);
    }
}

#[test]
fn a_time_before_1970_is_kept() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            t.file("old", "").set_mtime("old", -1_500_000_001);
        });
        world.scan();
        assert_eq!(world.entry("old").mtime_ns, -1_500_000_001);
        world.assert_true("a time before 1970");
    }
}

// ---------------------------------------------------------------------------------- changed or not

#[test]
fn an_unchanged_rescan_writes_not_one_byte() {
    for walker in both_walkers() {
        for options in [RootOptions::default(), hashing()] {
            let world = Setup::new(walker).root(options).build(|t| {
                t.file("a", "one").file("d/b", "two").symlink("a", "link").fifo("pipe").dir("empty");
            });
            world.settle();
            let (bytes, seq) = (world.state_bytes(), world.warden().seq());
            let history = world.warden().history(100).unwrap().len();
            for mode in [ScanMode::Quick, ScanMode::Full] {
                let report = world.scan_as(|o| o.mode(mode));
                assert!(report.is_unchanged() && !report.published, "{report:?}");
                assert_eq!((report.unchanged, report.seq), (3, seq));
            }
            assert!(world.state_bytes() == bytes, "an unchanged rescan wrote to the state file");
            assert_eq!(world.warden().seq(), seq);
            assert_eq!(world.warden().history(100).unwrap().len(), history, "a history row for nothing");
        }
    }
}

#[test]
fn a_file_replaced_by_an_older_one_is_modified() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "the new version").file("b", "the new version");
        });
        world.tree.file("a", "the old version").set_mtime("a", LONG_AGO_NS);
        world.tree.replace("b", "the old version").set_mtime("b", LONG_AGO_NS);
        world.expect_news("older is not unchanged", &["modified a", "modified b"]);
        world.assert_true("older files");
    }
}

#[test]
fn an_edit_with_the_modification_time_put_back_is_modified() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "aaaa").file("b", "bbbb");
        });
        world.tree.edit_secretly("a", "AAAA");
        world.expect_news("the inode's change time tells", &["modified a"]);
    }
}

#[test]
fn a_same_size_edit_in_the_same_tick_is_seen() {
    for walker in both_walkers() {
        for options in [RootOptions::default(), hashing()] {
            // Without ctime and inode the fingerprint cannot tell; only the racy mark can.
            let clock = Clock::manual(now_ns());
            let world =
                Setup::new(walker).root(options.compare(Compare::SizeMtime)).clock(&clock).build(|t| {
                    t.file("a", "aaaa");
                });
            clock.set_ns(world.tree.mtime("a") + 1);
            world.scan();
            assert!(
                world.snapshot().get("root/a").is_some_and(|e| e.is_racy()),
                "a file as old as the scan must be marked racy"
            );
            world.tree.edit_secretly("a", "bbbb");
            clock.advance_ms(60_000);
            world.expect_news("same size, same mtime, other content", &["modified a"]);
            world.expect_news("once is enough", &[]);
        }
    }
}

#[test]
fn a_racy_file_that_did_not_change_is_silent_with_hashes() {
    for walker in both_walkers() {
        let clock = Clock::manual(now_ns());
        let world = Setup::new(walker).root(hashing()).clock(&clock).build(|t| {
            t.file("a", "aaaa");
        });
        clock.set_ns(world.tree.mtime("a") + 1);
        world.scan();
        clock.advance_ms(60_000);
        world.expect_news("the content was compared", &[]);
        assert!(world.snapshot().get("root/a").is_some_and(|e| !e.is_racy()));
    }
}

#[test]
fn touch_without_content_change_is_silent_with_hashes() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("a", "content").file("b", "content");
        });
        let hash = world.entry("a").hash;
        assert!(hash.is_some() && hash == world.entry("b").hash);
        world.tree.set_mtime("a", LONG_AGO_NS).chmod("b", 0o600);
        world.expect_news("content is what counts", &[]);
        world.assert_true("the new times and modes are stored all the same");
        assert_eq!(world.entry("a").hash, hash);
        let seq = world.warden().seq();
        world.expect_news("and that was that", &[]);
        assert_eq!(world.warden().seq(), seq);
    }
}

#[test]
fn touch_is_a_modification_without_hashes() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "content").file("b", "content");
        });
        world.tree.set_mtime("a", LONG_AGO_NS).chmod("b", 0o600);
        world.expect_news("fingerprints only", &["modified a", "modified b"]);
        assert_eq!(world.entry("a").hash, None);
    }
}

#[test]
fn comparison_leaves_out_what_the_root_says() {
    let cases =
        [(Compare::Full, true, true), (Compare::NoInode, true, false), (Compare::NoCtime, false, true)];
    for walker in both_walkers() {
        for (compare, by_ctime, by_inode) in cases {
            let world = Setup::new(walker).root(RootOptions::default().compare(compare)).build(|t| {
                t.file("ctime", "aaaa").file("inode", "aaaa");
            });
            world.settle();
            assert_eq!(world.warden().roots()[0].compare, compare, "the choice is shown");
            let mtime = world.tree.mtime("inode");
            world.tree.chmod("ctime", 0o600);
            world.tree.replace("inode", "aaaa").set_mtime("inode", mtime);
            let news = world.news();
            assert_eq!(news.contains(&"modified ctime".to_owned()), by_ctime, "{compare:?}: {news:?}");
            // A new inode has a new ctime as well, so either of the two gives it away.
            assert_eq!(
                news.contains(&"modified inode".to_owned()),
                by_ctime || by_inode,
                "{compare:?}: {news:?}"
            );
        }
    }
}

#[test]
fn auto_comparison_is_decided_when_the_root_is_added() {
    let world = World::new(Walker::Auto, |_| {});
    let root = &world.warden().roots()[0];
    assert_ne!(root.compare, Compare::Auto);
    assert!(!root.fs_type.is_empty());
}

#[test]
fn a_full_scan_reports_content_that_changed_behind_an_equal_fingerprint() {
    for walker in both_walkers() {
        let world = Setup::new(walker).root(hashing().compare(Compare::NoCtime)).build(|t| {
            t.file("rotten", "good content").file("sound", "good content");
        });
        world.settle();
        world.tree.edit_secretly("rotten", "evil content");
        let quick = world.scan();
        assert!(quick.is_unchanged() && quick.corrupt == 0, "a quick scan cannot know: {quick:?}");
        let full = world.scan_as(|o| o.mode(ScanMode::Full));
        assert_eq!(full.corrupt, 1, "{full:?}");

        let verified = world
            .warden()
            .verify(&VerifyOptions::default().root(ROOT).content(), &ScanContext::default())
            .unwrap();
        let found: Vec<_> = verified.differences.iter().map(|d| d.path.clone()).collect();
        assert!(found.is_empty() || found == [address("rotten")], "{found:?}");
    }
}

#[test]
fn only_added_and_modified_files_are_hashed() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("a", "aaaa").file("b", "bbbb").symlink("a", "link").file("empty", "");
        });
        world.tree.file("a", "AAAA-").file("c", "cccc").rename("b", "moved");
        let kept = world.entry("b").hash;
        world.expect_news("one of each", &["added c", "modified a", "moved b -> moved"]);
        assert_eq!(world.entry("moved").hash, kept);
        assert!(world.entry("c").hash.is_some() && world.entry("link").hash.is_none());
        assert_ne!(world.entry("a").hash, world.entry("c").hash);
    }
}

/// Scans with one thread, and acts when the first of the files has been hashed.
fn scan_and_act(world: &World, act: impl Fn(&Tree) + Send + Sync + 'static) {
    let (tree, once) = (Tree::at(world.tree.path().to_path_buf()), AtomicU64::new(0));
    let context = ScanContext::default().progress(move |progress| {
        if progress.phase == Phase::Hash && once.fetch_add(1, Ordering::SeqCst) == 0 {
            act(&tree);
        }
    });
    let options = ScanOptions::default().target(ROOT).walker(world.walker).threads(1);
    let report = world.warden().scan_with(&options, &context).unwrap().remove(0);
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn a_file_that_changes_while_others_are_hashed_is_told() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "aaaa").file("b", "bbbb").file("c", "cccc");
        });
        world.warden().set_root_options(ROOT, &hashing()).unwrap();
        let seq = world.warden().seq();
        scan_and_act(&world, |tree| {
            tree.append("b", "more");
        });
        assert_lines("told", &["modified b"], &world.changes_since(seq));
        world.assert_true("hashed");
    }
}

#[test]
fn a_file_that_takes_the_name_of_one_that_is_about_to_be_hashed_keeps_its_id() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("a", "aaaa").file("b", "bbbb").file("c", "cccc");
        });
        let id = world.id("c");
        world.tree.append("a", "+").append("b", "+");
        scan_and_act(&world, |tree| {
            tree.rename("c", "b");
        });
        world.scan();
        assert_eq!(world.id("b"), id);
        world.assert_true("renamed over");
    }
}

// ---------------------------------------------------------------------------------- kinds

#[test]
fn a_file_becomes_a_directory_and_back() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("x", "file").file("anchor", "");
        });
        world.tree.remove("x").file("x/inner", "now a directory");
        assert!(world.scan().is_clean());
        world.expect_ls("a directory", &["anchor", "x/inner"]);
        world.assert_true("a file became a directory");
        world.tree.remove("x").file("x", "file again");
        assert!(world.scan().is_clean());
        world.expect_ls("a file again", &["anchor", "x"]);
        world.assert_true("a directory became a file");
    }
}

#[test]
fn symlinks_are_recorded_and_never_followed() {
    for walker in both_walkers() {
        let outside = Tree::new();
        outside.file("secret/deep", "must not be seen");
        let world = World::new(walker, |t| {
            t.file("a", "").symlink(".", "loop").symlink("..", "up").symlink("nowhere", "dangling");
            t.symlink(support::bytes_of(outside.path()), "outside").symlink("self", "self");
            t.symlink(b"\xff\n".as_slice(), "odd").symlink("loop/loop/loop/a", "chain");
        });
        assert!(world.scan().is_clean());
        world.expect_ls(
            "links are leaves",
            &["a", "chain", "dangling", "loop", "odd", "outside", "self", "up"],
        );
        world.assert_true("symlinks");
        assert_eq!(world.entry("odd").target.as_deref(), Some(b"\xff\n".as_slice()));
        assert!(!world.snapshot().contains("root/outside/secret"));
        assert!(!world.snapshot().contains("root/loop/a"));
    }
}

#[test]
fn a_directory_swapped_for_a_symlink_is_not_entered() {
    for walker in both_walkers() {
        let outside = Tree::new();
        outside.file("a", "must not be seen");
        let world = World::settled(walker, |t| {
            t.file("d/a", "").file("anchor", "");
        });
        world.tree.remove("d").symlink(support::bytes_of(outside.path()), "d");
        world.scan();
        world.expect_ls("a link now", &["anchor", "d"]);
        assert_eq!(world.entry("d").kind, Kind::Symlink);
    }
}

#[test]
fn a_symlink_that_says_something_else_is_modified() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.symlink("one", "link").file("anchor", "");
        });
        world.tree.symlink("two", "other").rename("other", "link");
        world.expect_news("another target", &["modified link"]);
        assert_eq!(world.entry("link").target.as_deref(), Some(b"two".as_slice()));
    }
}

#[test]
fn fifos_and_sockets_are_counted_and_never_opened() {
    for walker in both_walkers() {
        let world = Setup::new(walker).root(hashing()).build(|t| {
            t.file("a", "aaa").fifo("pipe").fifo("d/pipe");
        });
        let _socket = std::os::unix::net::UnixListener::bind(world.tree.join("socket")).unwrap();
        // Opening a FIFO without a writer blocks for ever.
        let world = within("a scan over FIFOs", move || {
            assert_eq!(world.scan().special, 3);
            world.scan_as(|o| o.mode(ScanMode::Full));
            world
        });
        world.expect_ls("files alone", &["a"]);
        world.settle();
        world.tree.remove("a").fifo("a").file("b", "bbb");
        world.expect_news("a FIFO is no file", &["added b", "missing a"]);
    }
}

// ---------------------------------------------------------------------------------- moves

#[test]
fn a_moved_file_keeps_its_id() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "content").file("d/b", "other").dir("e");
        });
        let (a, b) = (world.id("a"), world.id("d/b"));
        world.tree.rename("a", "z").rename("d/b", "e/f/b");
        world.expect_news("renamed", &["moved a -> z", "moved d/b -> e/f/b"]);
        assert_eq!((world.id("z"), world.id("e/f/b")), (a, b));
        world.assert_true("moves");
        assert_eq!(world.snapshot().missing("").count(), 0, "a move leaves no tombstone");
    }
}

#[test]
fn a_moved_directory_gives_every_file_below_its_own_moved_change() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("d/a", "")
                .file("d/s/b", "")
                .file("d/s/t/c", "")
                .symlink("a", "d/link")
                .dir("d/empty")
                .dir("to");
        });
        let ids = ["d/a", "d/s/b", "d/s/t/c", "d/s", "d"].map(|path| world.id(path));
        world.tree.rename("d", "to/e");
        world.expect_news(
            "a whole directory",
            &[
                "moved d/a -> to/e/a",
                "moved d/link -> to/e/link",
                "moved d/s/b -> to/e/s/b",
                "moved d/s/t/c -> to/e/s/t/c",
            ],
        );
        assert_eq!(ids, ["to/e/a", "to/e/s/b", "to/e/s/t/c", "to/e/s", "to/e"].map(|path| world.id(path)));
        world.assert_true("a moved directory");
    }
}

#[test]
fn a_file_moved_out_of_a_moved_directory_and_one_deleted_in_it_are_told_apart() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("d/out", "1").file("d/stay", "2").file("d/gone", "3").file("anchor", "");
        });
        world.tree.rename("d", "e").rename("e/out", "out").remove("e/gone").file("e/new", "4");
        let news = world.news();
        for line in ["added e/new", "moved d/out -> out", "moved d/stay -> e/stay"] {
            assert!(news.iter().any(|found| found == line), "{line} is not in {news:?}");
        }
        assert_eq!(news.iter().filter(|line| line.starts_with("missing")).count(), 1, "{news:?}");
        assert_eq!(news.len(), 4, "{news:?}");
        world.assert_true("a busy directory");
    }
}

#[test]
fn names_that_changed_places_are_two_moves() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "aaa").file("b", "bbb").file("d/x", "").file("e/x", "");
        });
        let ids = ["a", "b", "d/x", "e/x"].map(|path| world.id(path));
        world.tree.swap("a", "b").swap("d", "e");
        world.expect_news(
            "swapped",
            &["moved a -> b", "moved b -> a", "moved d/x -> e/x", "moved e/x -> d/x"],
        );
        assert_eq!(ids, ["b", "a", "e/x", "d/x"].map(|path| world.id(path)));
        world.assert_true("swapped names");
    }
}

#[test]
fn a_file_renamed_over_another_keeps_the_id_of_the_one_that_came() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("new", "new content").file("old", "old");
        });
        let id = world.id("new");
        world.tree.rename("new", "old");
        let news = world.news();
        assert!(news.contains(&"moved new -> old".to_owned()), "{news:?}");
        world.expect_ls("one file", &["old"]);
        assert_eq!(world.id("old"), id);
        world.assert_true("renamed over");
    }
}

#[test]
fn hard_links_are_not_moves() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "shared").dir("d");
        });
        let a = world.id("a");
        world.tree.hard_link("a", "d/b");
        // The number of links is part of the inode, so its change time moves.
        world.expect_news("a second name", &["added d/b", "modified a"]);
        let b = world.id("d/b");
        assert!(world.id("a") == a && b != a, "two names are two entries");
        world.settle();
        world.tree.remove("a");
        world.expect_news("the first name goes", &["missing a", "modified d/b"]);
        assert_eq!(world.id("d/b"), b);
        world.assert_true("hard links");
    }
}

#[test]
fn one_of_two_hard_links_can_move() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "shared").hard_link("a", "b");
        });
        let (a, b) = (world.id("a"), world.id("b"));
        world.tree.rename("b", "c");
        let news = world.news();
        assert!(news.contains(&"moved b -> c".to_owned()), "{news:?}");
        assert!(
            !news.iter().any(|line| line.starts_with("missing") || line.starts_with("added")),
            "{news:?}"
        );
        assert_eq!((world.id("a"), world.id("c")), (a, b));
    }
}

#[test]
fn a_copy_that_replaces_its_original_is_a_move_by_content() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("a", vec![b'u'; 500]).file("other", "other");
        });
        let id = world.id("a");
        world.tree.file("d/copy", vec![b'u'; 500]).remove("a");
        world.expect_news("same content, one candidate", &["moved a -> d/copy"]);
        assert_eq!(world.id("d/copy"), id);
    }
}

#[test]
fn content_that_two_lost_files_had_proves_no_move() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("a", vec![b'u'; 500]).file("b", vec![b'u'; 500]).file("anchor", "");
        });
        world.tree.file("copy", vec![b'u'; 500]).remove("a").remove("b");
        world.expect_news("which of the two?", &["added copy", "missing a", "missing b"]);
    }
}

#[test]
fn a_new_file_with_other_content_is_no_move() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("a", vec![b'u'; 500]).file("anchor", "");
        });
        world.tree.file("b", vec![b'v'; 500]).remove("a");
        world.expect_news("nothing in common", &["added b", "missing a"]);
    }
}

// ---------------------------------------------------------------------------------- missing

#[test]
fn a_deleted_file_is_missing_and_kept_as_a_tombstone() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "1").file("d/b", "2").file("anchor", "");
        });
        let a = world.id("a");
        world.tree.remove("a").remove("d");
        world.expect_news("gone", &["missing a", "missing d/b"]);
        world.expect_ls("what is left", &["anchor"]);
        let snapshot = world.snapshot();
        assert!(snapshot.get("root/a").is_none() && !snapshot.contains("root/d"));
        let tombstone = snapshot.get_missing("root/a").expect("a tombstone");
        assert!(tombstone.id() == a && tombstone.missing_since_ns().is_some());
        let files: Vec<_> = snapshot
            .missing(ROOT)
            .filter(|e| e.kind() != Kind::Dir)
            .map(|e| support::show(&e.path()))
            .collect();
        assert_eq!(files, ["root/a", "root/d/b"]);
        world.expect_news("said once", &[]);
    }
}

#[test]
fn a_file_that_comes_back_is_restored_under_its_id() {
    for walker in both_walkers() {
        let aside = Tree::new();
        let world = World::settled(walker, |t| {
            t.file("a", "1").file("d/b", "2").file("anchor", "");
        });
        let (a, b) = (world.id("a"), world.id("d/b"));
        world.tree.move_to("a", &aside, "a").move_to("d", &aside, "d");
        world.expect_news("taken away", &["missing a", "missing d/b"]);
        aside.move_to("a", &world.tree, "a").move_to("d", &world.tree, "d");
        world.expect_news("brought back", &["restored a", "restored d/b"]);
        assert_eq!((world.id("a"), world.id("d/b")), (a, b));
        assert_eq!(world.snapshot().missing("").count(), 0);
        world.assert_true("restored");
    }
}

#[test]
fn a_missing_file_that_turns_up_elsewhere_has_moved() {
    for walker in both_walkers() {
        let aside = Tree::new();
        let mut world = World::settled(walker, |t| {
            t.file("a", "1").file("anchor", "");
        });
        let a = world.id("a");
        world.tree.move_to("a", &aside, "a");
        world.expect_news("taken away", &["missing a"]);
        world.reopen();
        aside.move_to("a", &world.tree, "d/z");
        world.expect_news("found again", &["moved a -> d/z"]);
        assert_eq!(world.id("d/z"), a);
        assert_eq!(world.snapshot().missing("").count(), 0);
        world.assert_true("moved from the dead");
    }
}

/// Scans in a child process that may do no more than anybody, then opens the state file again.
/// `None`, with a word on stderr, where privileges cannot be dropped.
fn scan_as_nobody(test: &str, world: &mut World) -> Option<BTreeMap<String, String>> {
    world.close();
    let db = world.state_file();
    let walker = if matches!(world.walker, Walker::Fd) { "fd" } else { "jwalk" };
    let mut args = vec![OsStr::new("scan"), db.as_os_str(), OsStr::new(walker)];
    if is_root() {
        world.state.give_to(NOBODY);
        args.insert(0, OsStr::new("--drop"));
    }
    let answer = child::ask(env!("CARGO_BIN_EXE_probe"), &args);
    world.open();
    if let Some(why) = answer.get("skipped") {
        skip(test, why);
        return None;
    }
    Some(answer)
}

/// Lets a child that is not root read the tree: permissions mean nothing to root.
fn owned_by_nobody(tree: &Tree) {
    if is_root() {
        tree.give_to(NOBODY);
    }
}

#[test]
fn an_unreadable_directory_keeps_its_subtree() {
    for walker in both_walkers() {
        let mut world = World::new(walker, |t| {
            t.file("shut/a", "").file("shut/deep/b", "").file("open/c", "").file("gone", "");
            owned_by_nobody(t);
        });
        world.scan();
        let ids = ["shut/a", "shut/deep/b"].map(|path| world.id(path));
        world.tree.remove("gone").chmod("shut", 0o000);
        let answer = scan_as_nobody("an_unreadable_directory_keeps_its_subtree", &mut world);
        world.tree.chmod("shut", 0o755);
        let Some(answer) = answer else { return };
        let said = |word: &str| answer.get(word).map(String::as_str);
        assert_eq!(said("missing"), Some("1"), "what was proved: {answer:?}");
        assert_eq!(said("errors"), Some("1"), "what could not be read: {answer:?}");
        assert_eq!(said("error_kind"), Some("permission_denied"), "{answer:?}");
        world.expect_ls("nothing without proof", &["open/c", "shut/a", "shut/deep/b"]);
        assert_eq!(ids, ["shut/a", "shut/deep/b"].map(|path| world.id(path)));
        assert!(world.scan().is_clean());
        world.assert_true("readable again");
    }
}

#[test]
fn an_unreadable_root_is_unavailable() {
    for walker in both_walkers() {
        let mut world = World::new(walker, |t| {
            t.file("a", "").file("d/b", "");
            owned_by_nobody(t);
        });
        world.scan();
        world.tree.chmod("", 0o000);
        let answer = scan_as_nobody("an_unreadable_root_is_unavailable", &mut world);
        world.tree.chmod("", 0o755);
        let Some(answer) = answer else { return };
        assert_eq!(answer.get("unavailable").map(String::as_str), Some("true"), "{answer:?}");
        assert_eq!(answer.get("missing").map(String::as_str), Some("0"), "{answer:?}");
        world.expect_ls("nothing without proof", &["a", "d/b"]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_kept_without_a_hash() {
    for walker in both_walkers() {
        let mut world = Setup::new(walker).root(hashing()).build(|t| {
            t.file("readable", "1").file("secret", "2").chmod("secret", 0o000);
            owned_by_nobody(t);
        });
        let answer = scan_as_nobody("a_file_that_cannot_be_read_is_kept_without_a_hash", &mut world);
        let Some(answer) = answer else { return };
        assert_eq!(answer.get("added").map(String::as_str), Some("2"), "{answer:?}");
        assert_eq!(answer.get("errors").map(String::as_str), Some("1"), "{answer:?}");
        world.expect_ls("both are there", &["readable", "secret"]);
        assert!(world.entry("secret").hash.is_none() && world.entry("readable").hash.is_some());
    }
}

// ---------------------------------------------------------------------------------- the root's guard

/// Whatever is done to the root's own path, the scan says `unavailable` and nothing changes; and
/// when the tree is back, everything is as it was.
fn assert_guarded(what: &str, spoil: impl Fn(&Tree, &Tree), mend: impl Fn(&Tree, &Tree)) {
    for walker in both_walkers() {
        let aside = Tree::new();
        let home = Tree::new();
        let root = Tree::at(home.join("root"));
        root.file("a", "1").file("d/b", "2");
        let state = Tree::new();
        let warden = Warden::open(state.join("state.tw")).unwrap();
        warden.add_root(ROOT, root.path()).unwrap();
        let scan = || {
            let options = ScanOptions::default().target(ROOT).walker(walker);
            warden.scan_with(&options, &ScanContext::default()).unwrap().remove(0)
        };
        scan();
        let before = dump(&warden.snapshot());
        let seq = warden.seq();

        spoil(&root, &aside);
        for _ in 0..2 {
            let report = scan();
            assert!(report.unavailable.is_some(), "{what}: {report:?}");
            assert!(!report.is_clean() && report.held.is_none(), "{what}: {report:?}");
        }
        assert!(
            matches!(warden.roots()[0].state, RootState::Unavailable { .. }),
            "{what}: the root's state is {:?}",
            warden.roots()[0].state
        );
        let during = dump(&warden.snapshot());
        support::assert_same(what, &before.present, &during.present);
        assert!(during.missing.is_empty(), "{what}: missing without proof");
        assert!(rows_since(&warden, seq).is_empty(), "{what}: the journal says something");

        mend(&root, &aside);
        let report = scan();
        assert!(report.is_clean(), "{what}, mended: {report:?}");
        assert_eq!(
            (report.added, report.moved, report.missing, report.restored),
            (0, 0, 0, 0),
            "{what}, mended"
        );
        assert!(matches!(warden.roots()[0].state, RootState::Ready), "{what}, mended");
        assert_eq!(file_names(&warden.snapshot(), ROOT), ["a", "d/b"]);
    }
}

fn put_aside(root: &Tree, aside: &Tree) {
    fs::rename(root.path(), aside.join("kept")).unwrap();
}

fn put_back(root: &Tree, aside: &Tree) {
    fs::rename(aside.join("kept"), root.path()).unwrap();
}

#[test]
fn an_absent_root_is_unavailable_and_nothing_changes() {
    assert_guarded("absent", put_aside, put_back);
}

#[test]
fn a_root_replaced_by_another_directory_is_unavailable_and_nothing_changes() {
    assert_guarded(
        "replaced",
        |root, aside| {
            put_aside(root, aside);
            root.file("a", "another tree");
        },
        |root, aside| {
            fs::remove_dir_all(root.path()).unwrap();
            put_back(root, aside);
        },
    );
}

#[test]
fn a_root_replaced_by_a_file_is_unavailable_and_nothing_changes() {
    assert_guarded(
        "a file",
        |root, aside| {
            put_aside(root, aside);
            fs::write(root.path(), "a file").unwrap();
        },
        |root, aside| {
            fs::remove_file(root.path()).unwrap();
            put_back(root, aside);
        },
    );
}

#[test]
fn a_root_replaced_by_a_symlink_to_another_directory_is_unavailable_and_nothing_changes() {
    assert_guarded(
        "a symlink",
        |root, aside| {
            put_aside(root, aside);
            aside.file("other/a", "another tree");
            std::os::unix::fs::symlink(aside.join("other"), root.path()).unwrap();
        },
        |root, aside| {
            fs::remove_file(root.path()).unwrap();
            put_back(root, aside);
        },
    );
}

#[test]
fn a_root_that_is_empty_while_entries_are_known_is_unavailable_and_nothing_changes() {
    assert_guarded(
        "empty",
        |root, aside| {
            root.move_to("a", aside, "a").move_to("d", aside, "d");
        },
        |root, aside| {
            aside.move_to("a", root, "a").move_to("d", root, "d");
        },
    );
}

#[test]
fn an_empty_root_of_which_nothing_is_known_is_fine() {
    for walker in both_walkers() {
        let world = World::new(walker, |_| {});
        let report = world.scan();
        assert!(report.is_clean() && report.added == 0, "{report:?}");
        world.tree.file("a", "");
        world.expect_news("its first file", &["added a"]);
    }
}

#[test]
fn a_root_that_fails_never_stops_another() {
    for walker in both_walkers() {
        let (lost, fine, state) = (Tree::new(), Tree::new(), Tree::new());
        lost.file("d/a", "1");
        fine.file("b", "2");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        warden.add_root("lost", lost.join("d")).unwrap();
        warden.add_root("fine", fine.path()).unwrap();
        let all = ScanOptions::default().walker(walker);
        warden.scan_with(&all, &ScanContext::default()).unwrap();
        lost.rename("d", "elsewhere");
        fine.file("c", "3");
        let reports = warden.scan_with(&all, &ScanContext::default()).unwrap();
        assert_eq!(reports.len(), 2);
        for report in reports {
            assert_eq!(report.unavailable.is_some(), report.root == "lost", "{report:?}");
            assert_eq!(report.added, u64::from(report.root == "fine"), "{report:?}");
        }
        assert_eq!(file_names(&warden.snapshot(), "fine"), ["b", "c"]);
        assert_eq!(file_names(&warden.snapshot(), "lost"), ["a"]);
    }
}

#[test]
fn a_scan_that_loses_more_than_half_of_many_files_is_held_until_accepted() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            for n in 0..300 {
                t.file(format!("d{}/f{n}", n % 3), "");
            }
        });
        let before = dump(&world.snapshot());
        world.tree.remove("d0").remove("d1");
        for _ in 0..2 {
            let seq = world.warden().seq();
            let report = world.scan();
            let held = report.held.as_ref().expect("held");
            assert_eq!((held.missing, held.of), (200, 300));
            assert!(!report.is_clean() && report.missing == 0);
            assert!(rows_since(world.warden(), seq).is_empty());
        }
        support::assert_same("held", &before.present, &dump(&world.snapshot()).present);
        assert!(matches!(world.warden().roots()[0].state, RootState::Held { missing: 200, of: 300 }));

        let report = world.scan_as(ScanOptions::accept_missing);
        assert!(report.is_clean() && report.missing == 200, "{report:?}");
        assert!(matches!(world.warden().roots()[0].state, RootState::Ready));
        world.assert_true("accepted");
    }
}

#[test]
fn losing_less_than_half_or_only_a_few_is_not_held() {
    for walker in both_walkers() {
        let many = World::settled(walker, |t| {
            for n in 0..300 {
                t.file(format!("d{}/f{n}", n % 3), "");
            }
        });
        many.tree.remove("d0");
        assert_eq!(many.scan().missing, 100, "a third of many");
        let few = World::settled(walker, |t| {
            for n in 0..50 {
                t.file(format!("d/f{n}"), "");
            }
            t.file("anchor", "");
        });
        few.tree.remove("d");
        assert_eq!(few.scan().missing, 50, "nearly all of a few");
    }
}

#[test]
fn a_held_scan_lets_go_when_the_files_come_back() {
    for walker in both_walkers() {
        let aside = Tree::new();
        let world = World::settled(walker, |t| {
            for n in 0..300 {
                t.file(format!("d{}/f{n}", n % 3), "");
            }
        });
        let names = world.ls();
        world.tree.move_to("d0", &aside, "d0").move_to("d1", &aside, "d1");
        assert!(world.scan().held.is_some());
        aside.move_to("d0", &world.tree, "d0").move_to("d1", &world.tree, "d1");
        let report = world.scan();
        assert!(report.is_clean() && report.missing + report.restored + report.added == 0, "{report:?}");
        assert_eq!(world.ls(), names);
        assert!(matches!(world.warden().roots()[0].state, RootState::Ready));
    }
}

// ---------------------------------------------------------------------------------- ignoring

#[test]
fn entries_that_become_ignored_are_forgotten() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a.txt", "")
                .file("b.tmp", "")
                .file("keep.tmp", "")
                .file("build/c", "")
                .file("src/build/d", "");
        });
        let rules = IgnoreRules::new(["*.tmp", "!keep.tmp", "build/"]).unwrap();
        world.warden().set_root_options(ROOT, &RootOptions::default().ignore(rules)).unwrap();
        world.expect_news("ignored now", &["forgotten b.tmp", "forgotten build/c", "forgotten src/build/d"]);
        world.expect_ls("what is left", &["a.txt", "keep.tmp"]);
        assert_eq!(world.snapshot().missing("").count(), 0, "ignored is not missing");
        world.assert_replay();
        world.expect_news("said once", &[]);
        let explained = world.warden().explain("root/b.tmp").unwrap();
        assert_eq!(explained.ignored_by.as_deref(), Some("*.tmp"), "{explained:?}");

        world.warden().set_root_options(ROOT, &RootOptions::default()).unwrap();
        world.expect_news("no longer ignored", &["added b.tmp", "added build/c", "added src/build/d"]);
        world.assert_true("nothing is ignored");
    }
}

#[test]
fn an_ignored_directory_is_not_read() {
    for walker in both_walkers() {
        let rules = RootOptions::default().ignore(IgnoreRules::new(["hidden"]).unwrap());
        let world = Setup::new(walker).root(rules).build(|t| {
            t.file("a", "").file("hidden/b", "").fifo("hidden/pipe");
        });
        let report = world.scan();
        assert_eq!((report.files, report.special), (1, 0), "something below an ignored directory was seen");
        world.expect_ls("nothing below it", &["a"]);
    }
}

#[test]
fn the_junk_preset_ignores_junk() {
    for walker in both_walkers() {
        let rules = RootOptions::default().ignore(IgnoreRules::junk());
        let world = Setup::new(walker).root(rules).build(|t| {
            for junk in [".hidden", ".git/config", "a~", "b.tmp", "c.temp", ".DS_Store", "d/Thumbs.db"] {
                t.file(junk, "");
            }
            t.file("a.txt", "").file("tmp", "").file("d/temp.txt", "");
        });
        world.scan();
        world.expect_ls("no junk", &["a.txt", "d/temp.txt", "tmp"]);
    }
}

#[test]
fn nothing_is_ignored_by_default() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            t.file(".gitignore", "*")
                .file(".hidden", "")
                .file("a~", "")
                .file("x.tmp", "")
                .file(".git/HEAD", "");
        });
        world.scan();
        world.assert_true("all of it, whatever a .gitignore in the tree says");
    }
}

#[test]
fn the_engines_own_files_in_a_root_are_never_entries() {
    for walker in both_walkers() {
        let tree = Tree::new();
        tree.file("a", "").file("d/b", "").file("d/state.tw", "somebody else's");
        let warden = Warden::open(tree.join("state.tw")).unwrap();
        warden.add_root(ROOT, tree.path()).unwrap();
        let options = ScanOptions::default().target(ROOT).walker(walker).accept_missing();
        for round in 0..5_u8 {
            warden.space("s").unwrap().put(b"k".as_slice(), [round].as_slice()).unwrap();
            warden.scan_with(&options, &ScanContext::default()).unwrap();
            assert_eq!(file_names(&warden.snapshot(), ROOT), ["a", "d/b", "d/state.tw"]);
        }
        warden.compact().unwrap();
        warden.scan_with(&options, &ScanContext::default()).unwrap();
        assert_eq!(file_names(&warden.snapshot(), ROOT), ["a", "d/b", "d/state.tw"]);
    }
}

// ---------------------------------------------------------------------------------- several roots

#[test]
fn the_most_specific_root_owns_by_component() {
    for walker in both_walkers() {
        let (tree, state) = (Tree::new(), Tree::new());
        tree.file("a/x", "").file("a/deep/y", "").file("a-b/x", "").file("ab", "").file("top", "");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        let all = ScanOptions::default().walker(walker);
        warden.add_root("outer", tree.path()).unwrap();
        warden.add_root("inner", tree.join("a")).unwrap();
        warden.scan_with(&all, &ScanContext::default()).unwrap();
        let snapshot = warden.snapshot();
        assert_eq!(file_names(&snapshot, "outer"), ["a-b/x", "ab", "top"]);
        assert_eq!(file_names(&snapshot, "inner"), ["deep/y", "x"]);
        assert_eq!(snapshot.len(), 5, "nothing is owned twice");
        assert_eq!(snapshot.roots().len(), 2);
    }
}

#[test]
fn a_root_added_inside_another_takes_its_part_over() {
    for walker in both_walkers() {
        let (tree, state) = (Tree::new(), Tree::new());
        tree.file("a/x", "").file("top", "");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        let all = ScanOptions::default().walker(walker);
        warden.add_root("outer", tree.path()).unwrap();
        warden.scan_with(&all, &ScanContext::default()).unwrap();
        assert_eq!(file_names(&warden.snapshot(), "outer"), ["a/x", "top"]);
        warden.add_root("inner", tree.join("a")).unwrap();
        warden.scan_with(&all, &ScanContext::default()).unwrap();
        assert_eq!(file_names(&warden.snapshot(), "outer"), ["top"]);
        assert_eq!(file_names(&warden.snapshot(), "inner"), ["x"]);
        warden.remove_root("inner").unwrap();
        warden.scan_with(&all, &ScanContext::default()).unwrap();
        assert_eq!(file_names(&warden.snapshot(), "outer"), ["a/x", "top"]);
        assert_eq!(warden.snapshot().len(), 2);
    }
}

#[test]
fn a_moved_root_keeps_everything() {
    for walker in both_walkers() {
        let (home, state) = (Tree::new(), Tree::new());
        home.file("old/a", "1").file("old/d/b", "2");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        warden.add_root(ROOT, home.join("old")).unwrap();
        warden.scan(ROOT).unwrap();
        warden.set_attrs("root/a", [("rating", Some(b"5".as_slice()))]).unwrap();
        let before = dump(&warden.snapshot());
        home.rename("old", "new/place");
        let info = warden.move_root(ROOT, home.join("new/place")).unwrap();
        assert_eq!(info.path, home.join("new/place"));
        let seq = warden.seq();
        let options = ScanOptions::default().target(ROOT).walker(walker);
        let report = warden.scan_with(&options, &ScanContext::default()).unwrap().remove(0);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.added, report.moved, report.missing), (0, 0, 0));
        assert!(rows_since(&warden, seq).iter().all(|row| row.kind.name() == "modified"));
        let after = dump(&warden.snapshot());
        let ids = |d: &support::reference::Dump| -> Vec<(Vec<u8>, u64)> {
            d.present.iter().map(|(path, known)| (path.clone(), known.id)).collect()
        };
        assert_eq!(ids(&before), ids(&after));
        assert_eq!(warden.attrs("root/a").unwrap().get("rating").map(Vec::as_slice), Some(b"5".as_slice()));
    }
}

#[test]
fn a_root_that_is_moved_while_it_is_unavailable_is_ready_if_all_of_it_was_seen() {
    let (home, state) = (Tree::new(), Tree::new());
    home.file("old/a", "1").file("old/d/b", "2").dir("empty");
    let warden = Warden::open(state.join("state.tw")).unwrap();
    warden.add_root(ROOT, home.join("empty")).unwrap();
    home.remove("empty");
    assert!(warden.scan(ROOT).unwrap().unavailable.is_some());
    let info = warden.move_root(ROOT, home.join("old")).unwrap();
    assert_eq!(info.state, RootState::New, "it has never been scanned");
    warden.scan(ROOT).unwrap();
    home.rename("old", "new");
    assert!(warden.scan(ROOT).unwrap().unavailable.is_some());
    assert_eq!(warden.move_root(ROOT, home.join("new")).unwrap().state, RootState::Ready);
    assert!(warden.scan(ROOT).unwrap().is_clean());
    drop(warden);

    Warden::rebuild(state.join("state.tw")).unwrap();
    let warden = Warden::open(state.join("state.tw")).unwrap();
    home.rename("new", "newer");
    assert!(warden.scan(ROOT).unwrap().unavailable.is_some());
    assert_eq!(warden.move_root(ROOT, home.join("newer")).unwrap().state, RootState::New);
    warden.scan("root/d").unwrap();
    assert_eq!(warden.roots()[0].state, RootState::New, "that was a part");
    assert!(warden.scan(ROOT).unwrap().is_clean());
    assert_eq!(warden.roots()[0].state, RootState::Ready);
}

#[test]
fn a_removed_root_leaves_nothing_behind() {
    for walker in both_walkers() {
        let mut world = World::settled(walker, |t| {
            t.file("a", "1").file("b", "2").file("anchor", "");
        });
        world.warden().set_attrs("root/a", [("rating", Some(b"5".as_slice()))]).unwrap();
        world.tree.remove("b");
        world.scan();
        world.warden().remove_root(ROOT).unwrap();
        for _ in 0..2 {
            assert!(world.warden().roots().is_empty());
            let snapshot = world.snapshot();
            assert!(
                snapshot.is_empty() && snapshot.entries("").count() == 0 && snapshot.missing("").count() == 0
            );
            refused("attributes of a removed root", world.warden().attrs("root/a"), &[ErrorKind::NotFound]);
            refused("scan of a removed root", world.warden().scan(ROOT), &[ErrorKind::NotFound]);
            world.reopen();
        }
        // The tree itself was not touched, and may be added again as something new.
        world.warden().add_root(ROOT, world.tree.path()).unwrap();
        world.expect_news("as if never seen", &["added a", "added anchor"]);
        assert!(world.warden().attrs("root/a").unwrap().is_empty());
    }
}

// ---------------------------------------------------------------------------------- ways of scanning

#[test]
fn nothing_behind_a_symlink_is_told_about() {
    for walker in both_walkers() {
        let outside = Tree::new();
        outside.file("secret", "must not be seen");
        let world = World::settled(walker, |t| {
            t.file("a", "").symlink(support::bytes_of(outside.path()), "out");
        });
        let told = world.warden().explain("root/out/secret").unwrap();
        assert_eq!((told.on_disk, told.verdict.as_str()), (None, "unknown"), "{:?}", told.reasons);
        world.scan_target("root/out/secret", |o| o);
        world.expect_ls("a symlink is an end", &["a", "out"]);
    }
}

/// A directory and a symlink to a place outside take turns under one name while scans run: whatever
/// moment the walk hits, nothing of the outside is ever an entry.
#[test]
fn a_directory_that_becomes_a_symlink_under_the_walk_leads_nowhere() {
    for walker in both_walkers() {
        let outside = Tree::new();
        outside.file("secret", "must not be seen");
        let world = World::new(walker, |t| {
            t.file("d/inside", "").symlink(support::bytes_of(outside.path()), "link").file("anchor", "");
        });
        let stop = CancelToken::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.is_cancelled() {
                    world.tree.swap("d", "link");
                }
            });
            for _ in 0..150 {
                let options = ScanOptions::default().walker(walker).accept_missing();
                world.warden().scan_with(&options, &ScanContext::default()).unwrap();
                let snapshot = world.snapshot();
                let seen = file_names(&snapshot, "");
                assert!(seen.iter().all(|path| !path.ends_with("secret")), "{seen:?}");
            }
            stop.cancel();
        });
    }
}

#[test]
fn a_subtree_scan_looks_at_its_subtree_alone() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("x/a", "1").file("x/deep/b", "2").file("y/c", "3");
        });
        world.tree.append("x/a", "more").append("y/c", "more").file("x/deep/new", "").file("y/new", "");
        let seq = world.warden().seq();
        assert!(world.scan_target("root/x", |o| o).is_clean());
        assert_lines("the subtree", &["added x/deep/new", "modified x/a"], &world.changes_since(seq));
        world.expect_news("the rest", &["added y/new", "modified y/c"]);
        world.assert_true("both");
    }
}

#[test]
fn a_subtree_scan_proves_only_what_is_below_it_missing() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("x/a", "").file("x/b", "").file("y/c", "").file("z/d", "");
        });
        world.tree.remove("x/a").remove("y");
        let seq = world.warden().seq();
        world.scan_target("root/x", |o| o);
        assert_lines("below x", &["missing x/a"], &world.changes_since(seq));
        world.expect_news("the rest", &["missing y/c"]);
    }
}

/// A subtree scan of a root without a first scan was refused as a conflict, every time.
#[test]
fn a_subtree_of_a_root_that_was_never_scanned_is_found() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            t.file("x/a", "").file("y/b", "");
        });
        assert!(world.scan_target("root/x", |o| o).is_clean());
        world.expect_ls("a first scan is a whole one", &["x/a", "y/b"]);
        world.assert_true("a first scan by its part");
    }
}

/// A subtree below a directory that had been made anew was refused as a conflict, or kept for ever.
#[test]
fn a_subtree_below_a_directory_made_anew_or_gone_is_seen() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a/x/one", "").file("a/y", "").file("b/x/two", "").file("c", "");
        });
        world.tree.remove("a").file("a/x/other", "").remove("b");
        assert!(world.scan_target("root/a/x", |o| o).is_clean());
        assert!(world.scan_target("root/b/x", |o| o).is_clean());
        let snapshot = world.snapshot();
        assert!(snapshot.contains("root/a/x/other"));
        assert!(!snapshot.contains("root/a/x/one") && !snapshot.contains("root/b/x/two"));
        assert!(world.scan().is_clean());
        world.assert_true("subtrees below what is not there any more");
    }
}

/// A walk that sees a file in two directories, because it was moved from the one to the other meanwhile, took it for a
/// new one there, and for missing here the next time.
#[test]
fn files_that_are_moved_while_the_tree_is_scanned_keep_their_ids() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            for n in 0..200 {
                t.file(format!("d{n:03}/stays"), "");
            }
            (0..20).for_each(|n| _ = t.file(format!("d{n:03}/moves{n}"), ""));
        });
        let ids = |world: &World| -> BTreeMap<Vec<u8>, u64> {
            let snapshot = world.snapshot();
            let moving = snapshot.files(ROOT).filter(|entry| entry.name().starts_with(b"moves"));
            moving.map(|entry| (entry.name().to_vec(), entry.id())).collect()
        };
        let before = ids(&world);
        let mut at: Vec<usize> = (0..20).collect();
        for step in 0..40_usize {
            std::thread::scope(|scope| {
                // Each moves once in each scan, somewhere in it.
                scope.spawn(|| {
                    for (n, at) in at.iter_mut().enumerate() {
                        (0..step * 100).for_each(|_| std::hint::spin_loop());
                        let to = (*at + 67 + step) % 200;
                        world.tree.rename(format!("d{at:03}/moves{n}"), format!("d{to:03}/moves{n}"));
                        *at = to;
                    }
                });
                world.scan();
            });
        }
        world.scan();
        world.scan();
        assert_eq!(ids(&world), before);
        world.assert_true("at rest");
    }
}

#[test]
fn what_was_moved_out_of_a_directory_that_is_ignored_now_is_new() {
    for walker in both_walkers() {
        for nested in [false, true] {
            let world = World::settled(walker, |t| {
                t.file("tmp/x", "x").file("tmp/deep/y", "y").file("keep/z", "z");
            });
            if nested {
                world.warden().add_root("inner", world.tree.join("tmp")).unwrap();
            } else {
                let rules = IgnoreRules::new(["tmp/"]).unwrap();
                world.warden().set_root_options(ROOT, &RootOptions::default().ignore(rules)).unwrap();
            }
            world.tree.rename("tmp/x", "keep/x").rename("tmp/deep", "keep/deep");
            let report = world.scan();
            assert!(report.is_clean(), "{report:?}");
            assert_eq!((report.forgotten, report.added, report.moved, report.missing), (2, 2, 0, 0));
            world.expect_ls("elsewhere", &["keep/deep/y", "keep/x", "keep/z"]);
        }
    }
}

/// The commit of a long scan put back the options that had been in force when it began.
#[test]
fn options_that_change_during_a_scan_are_kept_and_applied() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            t.file("a.tmp", "").file("b", "");
        });
        let warden = world.warden().clone();
        let once = AtomicU64::new(0);
        let context = ScanContext::default().progress(move |_| {
            if once.fetch_add(1, Ordering::SeqCst) == 0 {
                let rules = IgnoreRules::new(["*.tmp"]).unwrap();
                warden.set_root_options(ROOT, &RootOptions::default().ignore(rules)).unwrap();
            }
        });
        world.warden().scan_with(&ScanOptions::default().walker(walker), &context).unwrap();
        assert_eq!(world.warden().roots()[0].ignore, ["*.tmp"]);
        world.expect_ls("the rules that are in force now", &["b"]);
    }
}

#[test]
fn a_subtree_that_never_was_changes_nothing() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "");
        });
        let before = dump(&world.snapshot());
        let options = ScanOptions::default().target("root/never").walker(walker);
        match world.warden().scan_with(&options, &ScanContext::default()) {
            Ok(reports) => assert!(reports.iter().all(|r| r.added + r.missing == 0), "{reports:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        assert_same_dump("a subtree that never was", &before, &dump(&world.snapshot()));
    }
}

#[test]
fn progressive_publishing_ends_in_the_same_state() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            for n in 0..500 {
                t.file(format!("d{}/e{}/f{n}", n % 11, n % 5), "");
            }
        });
        let report = world.scan_as(|o| o.publish(Publish::Progressive));
        assert_eq!((report.added, report.files), (500, 500));
        world.assert_true("published in parts");
        world.tree.remove("d3");
        world.scan_as(|o| o.publish(Publish::Progressive));
        world.assert_true("a second scan");
    }
}

#[test]
fn a_cancelled_scan_publishes_nothing() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "").file("b", "").file("d/c", "");
        });
        world.tree.remove("a").append("b", "more").file("d/new", "");
        let before = dump(&world.snapshot());
        let cancel = CancelToken::new();
        cancel.cancel();
        assert!(cancel.is_cancelled());
        let options = ScanOptions::default().target(ROOT).walker(walker);
        let result = world.warden().scan_with(&options, &ScanContext::default().cancel(cancel.clone()));
        match result {
            Ok(reports) => {
                assert!(reports.iter().all(|r| r.cancelled && !r.is_clean()), "{reports:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
        }
        support::assert_same("cancelled", &before.present, &dump(&world.snapshot()).present);
        assert!(world.snapshot().missing("").next().is_none());
        world.expect_news("the next one finds it all", &["added d/new", "missing a", "modified b"]);
    }
}

#[test]
fn a_scan_cancelled_on_its_way_publishes_nothing_or_everything() {
    for walker in both_walkers() {
        for calls in [1, 2, 3, 5] {
            let world = World::new(walker, |t| {
                for n in 0..2000 {
                    t.file(format!("d{}/f{n}", n % 97), "");
                }
            });
            let cancel = CancelToken::new();
            let seen = Arc::new(AtomicU64::new(0));
            let (token, counter) = (cancel.clone(), Arc::clone(&seen));
            let context = ScanContext::default().cancel(cancel).progress(move |progress| {
                assert_eq!(progress.root, ROOT);
                if counter.fetch_add(1, Ordering::SeqCst) + 1 == calls {
                    token.cancel();
                }
            });
            let options = ScanOptions::default().target(ROOT).walker(walker);
            let cancelled = match world.warden().scan_with(&options, &context) {
                Ok(reports) => reports.iter().any(|r| r.cancelled),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    true
                }
            };
            let len = world.snapshot().len();
            assert_eq!(len, if cancelled { 0 } else { 2000 }, "a part of a scan is visible");
            assert!(world.scan().is_clean());
            assert_eq!(world.snapshot().len(), 2000);
        }
    }
}

#[test]
fn a_scan_of_everything_gives_one_report_per_root() {
    let (one, two, state) = (Tree::new(), Tree::new(), Tree::new());
    one.file("a", "");
    two.file("b", "").file("d/c", "");
    let warden = Warden::open(state.join("state.tw")).unwrap();
    warden.add_root("one", one.path()).unwrap();
    warden.add_root("two", two.path()).unwrap();
    let reports = warden.scan_with(&ScanOptions::default(), &ScanContext::default()).unwrap();
    let mut added: Vec<_> = reports.iter().map(|r| (r.root.as_str(), r.added)).collect();
    added.sort_unstable();
    assert_eq!(added, [("one", 1), ("two", 2)]);
    let both = ScanOptions::default().target("two/d").target("one");
    assert_eq!(warden.scan_with(&both, &ScanContext::default()).unwrap().len(), 2);
}

// ---------------------------------------------------------------------------------- history and proof

#[test]
fn history_has_a_row_only_when_something_changed_newest_first() {
    for walker in both_walkers() {
        let world = World::settled(walker, |t| {
            t.file("a", "");
        });
        let first = world.warden().history(100).unwrap();
        assert!(!first.is_empty());
        world.scan();
        assert_eq!(world.warden().history(100).unwrap().len(), first.len(), "nothing changed");
        world.tree.file("b", "").append("a", "more");
        world.scan_as(|o| o.mode(ScanMode::Full));
        let rows = world.warden().history(100).unwrap();
        assert_eq!(rows.len(), first.len() + 1);
        let row = &rows[0];
        assert!(matches!(row.kind, OperationKind::Full), "{row:?}");
        assert!(matches!(row.status, OperationStatus::Ok), "{row:?}");
        assert_eq!((row.counts.added, row.counts.modified, row.counts.errors), (1, 1, 0));
        assert_eq!((row.root.as_str(), row.seq), (ROOT, world.warden().seq()));
        assert!(row.start_ns <= row.end_ns && row.error.is_none());
        assert!(rows.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
        assert_eq!(world.warden().history(1).unwrap().len(), 1);
    }
}

#[test]
fn history_is_bounded() {
    let world = Setup::new(Walker::Auto).options(|o| o.history_keep_max(5)).build(|t| {
        t.file("a", "");
    });
    for round in 0..20 {
        world.tree.file(format!("f{round}"), "");
        world.scan();
    }
    world.warden().maintain().unwrap();
    assert!(world.warden().history(100).unwrap().len() <= 5);
}

#[test]
fn verify_names_every_difference_and_changes_nothing() {
    for walker in both_walkers() {
        let world = settled_with_hashes(walker, |t| {
            t.file("same", "1").file("gone", "2").file("edited", "3").file("d/same", "4");
        });
        let clean = world.warden().verify(&VerifyOptions::default(), &ScanContext::default()).unwrap();
        assert!(clean.checked >= 4 && clean.differences_total == 0 && clean.errors == 0, "{clean:?}");
        world.tree.remove("gone").append("edited", "more").file("d/new", "");
        let before = dump(&world.snapshot());
        let bytes = world.state_bytes();
        let found =
            world.warden().verify(&VerifyOptions::default().root(ROOT), &ScanContext::default()).unwrap();
        assert!(found.differences_total >= 3, "{found:?}");
        let of = |path: &str| found.differences.iter().find(|d| d.path == address(path)).map(|d| d.what);
        assert!(matches!(of("gone"), Some(DifferenceKind::Missing)), "{found:?}");
        assert!(matches!(of("edited"), Some(DifferenceKind::Changed)), "{found:?}");
        assert!(matches!(of("d/new"), Some(DifferenceKind::Unknown)), "{found:?}");
        assert!(of("same").is_none() && of("d/same").is_none(), "{found:?}");
        assert_same_dump("verify", &before, &dump(&world.snapshot()));
        assert!(world.state_bytes() == bytes, "verify wrote to the state file");
    }
}

#[test]
fn explain_tells_what_is_known_and_what_the_disk_says() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("a", "1").file("gone", "2").file("anchor", "");
    });
    world.warden().set_attrs("root/a", [("rating", Some(b"five".as_slice()))]).unwrap();
    world.tree.remove("gone").file("new", "");
    world.scan_target("root", |o| o);
    world.tree.append("a", "more").file("unknown", "");

    let known = world.warden().explain("root/a").unwrap();
    assert_eq!(known.address, b"root/a");
    assert!(known.root.is_some() && known.missing.is_none() && !known.verdict.is_empty());
    assert_eq!(known.entry.as_ref().map(|e| e.size), Some(1));
    assert_eq!(known.on_disk.as_ref().map(|d| d.size), Some(5));
    assert_eq!(known.attrs, [("rating".to_owned(), 4)]);

    let gone = world.warden().explain("root/gone").unwrap();
    assert!(gone.entry.is_none() && gone.missing.is_some() && gone.on_disk.is_none());
    let unknown = world.warden().explain("root/unknown").unwrap();
    assert!(unknown.entry.is_none() && unknown.missing.is_none() && unknown.on_disk.is_some());
    refused("explain an unknown root", world.warden().explain("nobody/x"), &[ErrorKind::NotFound]);
}

// ---------------------------------------------------------------------------------- time

#[test]
fn tombstones_are_forgotten_when_their_time_is_over() {
    for walker in both_walkers() {
        let clock = Clock::manual(now_ns());
        let keep_journal = |o: Options| o.journal_keep_ms(10_000 * DAY_MS);
        let mut world = Setup::new(walker).clock(&clock).options(keep_journal).build(|t| {
            t.file("a", "").file("b", "").file("anchor", "");
        });
        world.settle();
        world.tree.remove("a");
        world.scan();
        clock.advance_ms(29 * DAY_MS);
        assert_eq!(world.warden().maintain().unwrap(), 0, "a day too early");
        world.tree.remove("b");
        world.scan();
        clock.advance_ms(2 * DAY_MS);
        let seq = world.warden().seq();
        assert_eq!(world.warden().maintain().unwrap(), 1, "a is over, b is not");
        assert_lines("the journal says so", &["forgotten a"], &world.changes_since(seq));
        assert!(world.snapshot().get_missing("root/a").is_none());
        assert!(world.snapshot().get_missing("root/b").is_some());
        world.reopen();
        assert!(world.snapshot().get_missing("root/a").is_none());
        assert!(world.snapshot().get_missing("root/b").is_some());
        world.assert_replay();
    }
}

#[test]
fn attributes_follow_moves_and_die_with_the_tombstone() {
    for walker in both_walkers() {
        let clock = Clock::manual(now_ns());
        let mut world = Setup::new(walker).clock(&clock).build(|t| {
            t.file("d/a", "").file("anchor", "");
        });
        world.settle();
        world.warden().set_attrs("root/d/a", [("rating", Some(b"5".as_slice()))]).unwrap();
        let rating = |world: &World, path: &str| {
            world.warden().attrs(path).unwrap().get("rating").cloned() == Some(b"5".to_vec())
        };
        world.tree.rename("d", "e");
        world.scan();
        assert!(rating(&world, "root/e/a"), "after a move");
        refused("the old name", world.warden().attrs("root/d/a"), &[ErrorKind::NotFound]);
        world.reopen();
        assert!(rating(&world, "root/e/a"), "after reopening");
        world.tree.remove("e");
        world.scan();
        assert!(rating(&world, "root/e/a"), "of a missing file");
        clock.advance_ms(31 * DAY_MS);
        assert!(world.warden().maintain().unwrap() >= 1);
        refused("of a forgotten file", world.warden().attrs("root/e/a"), &[ErrorKind::NotFound]);
        world.tree.file("e/a", "another life");
        world.scan();
        assert!(world.warden().attrs("root/e/a").unwrap().is_empty(), "a new file has no past");
    }
}

#[test]
fn a_clock_set_back_loses_nothing() {
    for walker in both_walkers() {
        let clock = Clock::manual(now_ns());
        let mut world = Setup::new(walker).clock(&clock).build(|t| {
            t.file("a", "").file("b", "").file("anchor", "");
        });
        world.settle();
        world.tree.remove("a");
        world.scan();
        let seq = world.warden().seq();
        clock.set_ns(clock.now_ns() - 400 * 24 * 3_600_000_000_000);
        assert_eq!(world.warden().maintain().unwrap(), 0, "a tombstone from the future is young");
        world.tree.file("c", "").append("b", "more");
        assert!(world.scan().is_clean());
        assert!(world.warden().seq() > seq, "seq does not depend on the time");
        assert!(world.snapshot().get_missing("root/a").is_some());
        world.assert_true("a clock set back");
        world.reopen();
        world.assert_true("a clock set back, reopened");
        let rows = world.warden().history(10).unwrap();
        assert!(rows.windows(2).all(|pair| pair[0].id > pair[1].id), "history stays in order");
        world.settle();
        world.expect_news("and all is quiet", &[]);
    }
}
