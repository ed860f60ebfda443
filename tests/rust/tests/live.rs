//! The rules of watching (DESIGN section 5), one sentence each, for both backends. Every wait is for a sync,
//! an event, a value of the status, or the hands of a manual clock.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use support::child::NOBODY;
use support::live::{await_event, backend_name, both_backends, drain, joined, only_on_sync, soon, tomorrow};
use support::reference::{self, dump};
use support::{
    DAY_MS, DeepTree, HANG, Mount, ROOT, Setup, Talk, Tree, World, address, assert_same, bytes_of,
    file_names, is_root, refused, skip, wait_until, within,
};
use treewarden::testing::{FaultKind, FaultPlan};
use treewarden::{
    Clock, Compare, ContentHash, Coverage, ErrorKind, Event, Follow, IgnoreRules, Kind, OperationKind,
    OperationStatus, RootOptions, RootState, RootWatch, ScanContext, ScanOptions, Schedule, Subscription,
    Walker, Warden, WatchBackend, WatchMode, WatchOptions, testing,
};

const CHILD: &str = env!("CARGO_BIN_EXE_live_child");

const HOUR_MS: u64 = 60 * 60 * 1000;

/// 2001-09-09, older than anything the tests create.
const LONG_AGO_NS: i64 = 1_000_000_000_000_000_000;

/// A call that must return at once has this long, on a machine that has other things to do.
const PROMPTLY: Duration = Duration::from_secs(10);

/// A settled tree that is watched; only `sync` looks.
pub(crate) fn watched(backend: WatchBackend, plant: impl FnOnce(&Tree)) -> World {
    let world = World::settled(Walker::Auto, plant);
    world.watch(backend);
    world
}

/// A settled tree under a manual clock; nothing is watched yet.
pub(crate) fn settled_at(clock: &Clock, plant: impl FnOnce(&Tree)) -> World {
    let world = Setup::new(Walker::Auto).clock(clock).build(plant);
    world.settle();
    world
}

pub(crate) fn on(backend: WatchBackend) -> WatchOptions {
    WatchOptions::new().backend(backend)
}

/// Moves the clock on, second by second, until something happens.
pub(crate) fn advance_until(what: &str, clock: &Clock, mut met: impl FnMut() -> bool) {
    wait_until(what, || {
        clock.advance_ms(1_000);
        met()
    });
}

fn is_scan(event: &Event, kind: OperationKind) -> bool {
    matches!(event, Event::ScanStarted { kind: started, .. } if *started == kind)
}

fn is_finished(event: &Event, kind: OperationKind) -> bool {
    matches!(event, Event::ScanFinished { kind: finished, .. } if *finished == kind)
}

// ---------------------------------------------------------------------------------- what changes is seen

#[test]
fn a_file_made_changed_renamed_or_deleted_is_seen_after_sync() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("gone", "1").file("grown", "2").file("old", "3").file("same", "4").dir("d");
        });
        let id = world.id("old");
        world.tree.file("new", "5").append("grown", "more").remove("gone").rename("old", "d/renamed");
        world.expect_seen(
            "one of each",
            &["added new", "missing gone", "modified grown", "moved old -> d/renamed"],
        );
        assert_eq!(world.id("d/renamed"), id);
        world.assert_true("one of each");
        world.expect_seen("said once", &[]);
        let newest = &world.warden().history(1).unwrap()[0];
        assert_eq!((newest.kind, newest.status), (OperationKind::Live, OperationStatus::Ok));
    }
}

#[test]
fn a_change_is_committed_by_itself_after_the_debounce() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new());
        let seq = world.warden().seq();
        world.tree.file("d/new", "");
        assert!(world.warden().wait(seq, Some(HANG)).unwrap() > seq, "no commit");
        wait_until("the change is visible", || world.snapshot().contains("root/d/new"));
        world.expect_true("without being asked");
    }
}

type Change = fn(&Tree) -> &Tree;

#[test]
fn every_way_to_change_a_file_is_seen() {
    const STEPS: &[(&str, Change, &[&str])] = &[
        ("written", |t| t.file("f", "other content"), &["modified f"]),
        ("appended to", |t| t.append("f", "more"), &["modified f"]),
        ("truncated", |t| t.file("f", ""), &["modified f"]),
        ("grown again", |t| t.file("f", "four"), &["modified f"]),
        ("edited, its time put back", |t| t.edit_secretly("f", "FOUR"), &["modified f"]),
        ("touched", |t| t.set_mtime("f", LONG_AGO_NS), &["modified f"]),
        ("its mode changed", |t| t.chmod("f", 0o600), &["modified f"]),
        ("replaced by a rename", |t| t.replace("f", "new inode"), &["modified f"]),
        ("deleted and made again", |t| t.remove("f").file("f", "again"), &["modified f"]),
        ("there for a moment only", |t| t.file("short", "").remove("short"), &[]),
        ("renamed twice", |t| t.rename("f", "g").rename("g", "h"), &["moved f -> h"]),
        ("renamed there and back", |t| t.rename("h", "i").rename("i", "h"), &["modified h"]),
        ("swapped", |t| t.swap("h", "other"), &["moved h -> other", "moved other -> h"]),
        ("a link", |t| t.symlink("h", "link"), &["added link"]),
        ("another link", |t| t.symlink("x", "y").rename("y", "link"), &["modified link"]),
        ("a pipe", |t| t.fifo("pipe"), &[]),
    ];
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("f", "content").file("other", "another").file("anchor", "");
        });
        for (what, change, expected) in STEPS {
            change(&world.tree);
            world.expect_seen(what, expected);
            world.assert_true(what);
        }
    }
}

#[test]
fn every_way_to_change_a_directory_is_seen() {
    const STEPS: &[(&str, Change)] = &[
        ("made", |t| t.dir("new")),
        ("its mode changed", |t| t.chmod("d", 0o700)),
        ("touched", |t| t.set_mtime("d", LONG_AGO_NS)),
        ("the root's mode changed", |t| t.chmod("", 0o750)),
        ("a file came and went", |t| t.file("d/short", "").remove("d/short")),
        ("renamed", |t| t.rename("new", "newer")),
        ("renamed over an empty one", |t| t.dir("empty").rename("newer", "empty")),
        ("swapped with another", |t| t.swap("d", "e")),
        ("swapped with a file", |t| t.swap("d", "anchor")),
        ("and back", |t| t.swap("d", "anchor")),
        ("moved into another", |t| t.rename("e", "d/inner/e")),
        ("and up again", |t| t.rename("d/inner/e", "e")),
        ("became a file", |t| t.remove("e").file("e", "a file")),
        ("became a directory", |t| t.remove("e").file("e/a", "a directory")),
        ("became a pipe", |t| t.remove("e").fifo("e")),
        ("deleted", |t| t.remove("d")),
    ];
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("d/s/b", "2").file("e/c", "3").file("anchor", "");
        });
        for (what, change) in STEPS {
            change(&world.tree);
            world.expect_true(what);
            world.assert_covered(what);
        }
    }
}

/// Writing through a mapping makes no event of its own; that the file was open for writing and is
/// closed now does.
#[test]
fn a_file_written_through_a_mapping_is_seen() {
    const PROGRAM: &str = "import mmap, sys\nwith open(sys.argv[1], 'r+b') as f:\n  with mmap.mmap(f.fileno(), 0) as m:\n    m[0:5] = b'WRITE'\n    m.flush()\n";
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("mapped", "written long ago").file("anchor", "");
        });
        let python = Command::new("python3").args(["-c", PROGRAM]).arg(world.tree.join("mapped")).status();
        match python {
            Ok(status) if status.success() => {}
            other => return skip("a_file_written_through_a_mapping_is_seen", format!("python3: {other:?}")),
        }
        world.expect_seen("mapped", &["modified mapped"]);
        world.assert_true("mapped");
    }
}

#[test]
fn an_editors_way_of_saving_is_one_modification() {
    const EDITORS: &[(&str, Change)] = &[
        ("in place", |t| t.file("d/f", "saved in place")),
        ("vim", |t| {
            t.file("d/.f.swp", "b0VIM").file("d/4913", "").remove("d/4913").rename("d/f", "d/f~");
            t.file("d/f", "saved by vim").remove("d/f~").remove("d/.f.swp")
        }),
        ("emacs", |t| {
            t.symlink("user@host.1234:5678", "d/.#f").file("d/#f#", "auto").file("d/f", "saved by emacs");
            t.remove("d/#f#").remove("d/.#f")
        }),
        ("beside and renamed", |t| t.file("d/.out-ABC", "saved beside").rename("d/.out-ABC", "d/f")),
        ("deleted before", |t| {
            t.file("d/f.XyZ", "under a third name").remove("d/f").rename("d/f.XyZ", "d/f")
        }),
    ];
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/f", "as it was").file("anchor", "");
        });
        for (editor, save) in EDITORS {
            save(&world.tree);
            world.expect_seen(editor, &["modified d/f"]);
            world.assert_true(editor);
        }
    }
}

#[test]
fn odd_names_are_watched_byte_for_byte() {
    let names: [&[u8]; 11] = [
        b"new\nline",
        b"esc\x1b]0;title\x07",
        b"\xff\xfe invalid",
        b"cut\xe2\x82",
        "caf\u{e9}".as_bytes(),
        "cafe\u{301}".as_bytes(),
        b"-rf *",
        b"back\\slash",
        b" ",
        &[b'n'; 255],
        &[0xff; 255],
    ];
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "").dir("d");
        });
        let inner = |name: &[u8]| [b"d/", name, b"/", name].concat();
        for name in names {
            world.tree.file(name, name).file(inner(name), "");
        }
        world.expect_true("made");
        for name in names {
            assert!(world.snapshot().contains(address(inner(name))), "{}", support::show(name));
            world.tree.append(name, "more").append(inner(name), "more");
        }
        world.expect_true("changed, below directories with such names too");
        for name in names {
            world.tree.rename(name, [b"d/", name, b"/moved"].concat()).chmod(inner(name), 0o600);
        }
        world.expect_true("moved");
        world.tree.remove("d");
        world.expect_true("gone");
        world.expect_ls("what is left", &["anchor"]);
    }
}

/// A watch is set by path, and this path is longer than the system takes in one piece.
#[test]
fn paths_longer_than_the_system_takes_are_watched() {
    const LEVELS: usize = 1_500;
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        let deep = DeepTree::plant(&world.tree, LEVELS);
        assert!(deep.rel("leaf").len() > 4096, "longer than PATH_MAX");
        deep.file("leaf", "1");
        world.sync();
        assert_eq!(world.entry(deep.rel("leaf")).size, 1, "{backend:?}: made while watched");
        deep.file("leaf", "longer");
        deep.file("second", "");
        world.sync();
        assert_eq!(world.entry(deep.rel("leaf")).size, 6, "{backend:?}: changed");
        assert!(world.snapshot().contains(address(deep.rel("second"))), "{backend:?}: added");
        deep.fell();
        world.expect_true("felled");
        world.expect_ls("what is left", &["anchor"]);
    }
}

#[test]
fn a_change_through_one_name_of_a_file_is_seen_under_its_other_names() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("a/one", "shared").hard_link("a/one", "b/two").file("anchor", "");
        });
        world.tree.append("a/one", "more");
        world.expect_seen("written", &["modified a/one", "modified b/two"]);
        world.assert_true("written");
        world.tree.chmod("b/two", 0o600);
        world.expect_seen("the mode changed", &["modified a/one", "modified b/two"]);
        world.assert_true("the mode changed");
        world.tree.hard_link("b/two", "c/three");
        world.expect_seen("a third name", &["added c/three", "modified a/one", "modified b/two"]);
        world.assert_true("a third name");
        world.tree.rename("c/three", "c/renamed");
        world.expect_true("one name renamed");
        assert!(world.snapshot().contains("root/c/renamed") && !world.snapshot().contains("root/c/three"));
        world.tree.remove("a/one");
        world.expect_true("one name removed");
        world.tree.remove("c");
        world.expect_true("with its directory");
        world.tree.append("b/two", "alone");
        world.expect_seen("one name is left", &["modified b/two"]);
    }
}

#[test]
fn a_scan_of_the_program_that_sees_one_name_of_a_file_has_the_others_looked_at() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("a/one", "shared").hard_link("a/one", "b/two").file("anchor", "");
        });
        world.tree.append("b/two", "more");
        world.warden().scan("root/b").unwrap();
        world.expect_true("one name was scanned");
    }
}

/// Nobody has seen yet that `a/one` is one of two names when it is gone, after a write through it.
#[test]
fn a_write_through_a_name_that_is_gone_at_once_is_seen_under_the_name_that_stays() {
    for backend in both_backends() {
        let plan = Arc::new(FaultPlan::default());
        let world = Setup::new(Walker::Auto).faults(&plan).build(|t| {
            t.file("a/one", "shared").dir("b").file("anchor", "");
        });
        world.settle();
        world.watch(backend);
        world.tree.hard_link("a/one", "b/two");
        let commit = plan.operations() + 1;
        plan.fail_at(commit, FaultKind::Stall);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| world.sync());
            wait_until("`b/two` has been looked at", || plan.operations() >= commit);
            world.tree.append("a/one", "more").remove("a/one");
            plan.heal();
            first.join().unwrap();
        });
        world.expect_true("written, and gone");
    }
}

// ---------------------------------------------------------------------------------- directories come and go

#[test]
fn a_tree_made_at_once_loses_nothing() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        for round in 0..30 {
            world.tree.file(format!("r{round}/a/b/c/d/e/deep"), "1").file(format!("r{round}/a/top"), "2");
            world.tree.file(format!("r{round}/a/b/c/d/e/deep"), "changed at once");
            if round % 3 != 0 {
                world.sync();
                world.tree.file(format!("r{round}/a/b/later"), "").append(format!("r{round}/a/top"), "more");
            }
        }
        world.expect_true("made at once");
        world.assert_covered("made at once");
        world.tree.append("r29/a/b/c/d/e/deep", "later");
        world.expect_seen("later", &["modified r29/a/b/c/d/e/deep"]);
    }
}

#[test]
fn nothing_made_while_a_directory_is_taken_up_is_lost() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1).max_wait_ms(1));
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                for n in 0..400 {
                    let dir = format!("d{}/e{}/f{n}", n % 7, n % 3);
                    world.tree.dir(&dir).file(format!("{dir}/x"), "1").file(format!("{dir}/y/z"), "2");
                }
            });
            while !maker.is_finished() {
                world.sync();
            }
        });
        world.expect_true("made under its eyes");
        world.assert_covered("made under its eyes");
    }
}

#[test]
fn a_directory_moved_in_the_tree_moves_every_file_and_is_watched_under_its_new_name() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("d/s/b", "2").file("d/s/t/c", "3").dir("to");
        });
        let ids = ["d/a", "d/s/b", "d/s/t/c", "d/s"].map(|path| world.id(path));
        world.tree.rename("d", "to/e");
        world.expect_seen(
            "moved",
            &["moved d/a -> to/e/a", "moved d/s/b -> to/e/s/b", "moved d/s/t/c -> to/e/s/t/c"],
        );
        assert_eq!(ids, ["to/e/a", "to/e/s/b", "to/e/s/t/c", "to/e/s"].map(|path| world.id(path)));
        world.assert_true("moved");
        world.assert_covered("moved");
        world.tree.append("to/e/s/t/c", "more").file("to/e/s/new", "");
        world.expect_seen("under the new name", &["added to/e/s/new", "modified to/e/s/t/c"]);
        // The old name is free for another directory, which is not the one that was moved.
        world.tree.file("d/s/b", "another");
        world.expect_seen("the old name again", &["added d/s/b"]);
        world.tree.append("to/e/s/b", "more").append("d/s/b", "more");
        world.expect_seen("each under its own name", &["modified d/s/b", "modified to/e/s/b"]);
        world.assert_true("each under its own name");
        world.assert_covered("each under its own name");
    }
}

#[test]
fn a_directory_moved_and_changed_before_anybody_looked_is_seen_as_it_is() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("d/s/b", "2").file("d/s/gone", "3").dir("to");
        });
        let id = world.id("d/s/b");
        world.tree.append("d/s/b", "before").rename("d", "e").append("e/s/b", "between");
        world.tree.file("e/new/x", "").rename("e", "to/f").append("to/f/s/b", "after").remove("to/f/s/gone");
        world.tree.rename("to/f/s", "s").file("s/y", "").file("d/a", "not the first");
        world.expect_true("moved and changed");
        world.assert_covered("moved and changed");
        assert_eq!(world.id("s/b"), id);
        world.tree.append("s/b", "later").append("to/f/new/x", "later");
        world.expect_seen("later", &["modified s/b", "modified to/f/new/x"]);
    }
}

#[test]
fn nothing_is_told_of_a_directory_that_was_moved_out_of_the_tree() {
    for backend in both_backends() {
        let outside = Tree::new();
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("d/s/b", "2").file("kept", "3");
        });
        let id = world.id("d/a");
        world.tree.move_to("d", &outside, "d");
        world.expect_seen("moved out", &["missing d/a", "missing d/s/b"]);
        world.assert_true("moved out");
        world.assert_covered("moved out");
        let seq = world.warden().seq();
        outside.append("d/a", "more").file("d/s/new", "").file("d/t/new", "").remove("d/s/b");
        assert_eq!(world.sync(), seq, "something outside the tree was told");

        outside.move_to("d", &world.tree, "back");
        world.expect_true("moved in again");
        world.assert_covered("moved in again");
        assert_eq!(world.id("back/a"), id);
        world.tree.append("back/s/new", "more");
        world.expect_seen("watched again", &["modified back/s/new"]);
    }
}

#[test]
fn a_directory_moved_into_the_tree_is_found_and_watched() {
    for backend in both_backends() {
        let outside = Tree::new();
        outside.file("d/a", "1").file("d/s/t/b", "2").symlink("a", "d/link");
        let world = watched(backend, |t| {
            t.file("anchor", "").dir("to");
        });
        outside.move_to("d", &world.tree, "to/d");
        world.expect_seen("moved in", &["added to/d/a", "added to/d/link", "added to/d/s/t/b"]);
        world.tree.append("to/d/s/t/b", "more").file("to/d/s/new", "");
        world.expect_seen("watched", &["added to/d/s/new", "modified to/d/s/t/b"]);
        world.assert_true("moved in");
        world.assert_covered("moved in");
    }
}

#[test]
fn a_directory_deleted_and_made_again_under_its_name_is_watched_every_time() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/s/f", "").file("anchor", "");
        });
        for round in 0..24 {
            world.tree.remove("d").file("d/s/f", "again").file(format!("d/n{round}"), "");
            // Several times between two looks as well.
            if round % 3 == 0 {
                continue;
            }
            world.expect_true("made again");
            world.assert_covered("made again");
            world.tree.append("d/s/f", "later");
            world.expect_seen("a change in the new one", &["modified d/s/f"]);
        }
    }
}

#[test]
fn what_lies_behind_a_symlink_is_not_watched() {
    for backend in both_backends() {
        let outside = Tree::new();
        outside.file("a", "not ours").file("s/b", "not ours");
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("anchor", "");
            t.symlink(bytes_of(outside.path()), "link");
        });
        world.tree.remove("d").symlink(bytes_of(outside.path()), "d");
        world.expect_true("a directory became a link");
        world.assert_covered("a directory became a link");
        assert_eq!(world.entry("d").kind, Kind::Symlink);
        let seq = world.warden().seq();
        outside.append("a", "more").file("s/new", "").remove("s/b");
        assert_eq!(world.sync(), seq, "something behind a link was told");
        world.tree.remove("d").file("d/a", "ours");
        world.expect_true("a directory again");
        world.tree.append("d/a", "more");
        world.expect_seen("and watched", &["modified d/a"]);
    }
}

// ---------------------------------------------------------------------------------- rules of a root

#[test]
fn ignored_directories_are_not_watched() {
    for backend in both_backends() {
        let rules = RootOptions::default().ignore(IgnoreRules::new(["skip/", "*.tmp"]).unwrap());
        let world = Setup::new(Walker::Auto).root(rules).build(|t| {
            t.file("a", "").file("skip/deep/x", "").file("d/b", "").file("d/skip/c", "");
        });
        world.settle();
        world.watch(backend);
        world.assert_covered("at the start");
        assert_eq!(world.live().watched_dirs, 2, "the root and d");
        let seq = world.warden().seq();
        world.tree.file("skip/deep/new", "").append("d/skip/c", "more").file("skip/new/y", "");
        assert_eq!(world.sync(), seq, "something ignored was told");
        world.tree.file("new/skip/z", "").file("new/ok", "").file("x.tmp", "");
        world.expect_seen("a new directory", &["added new/ok"]);
        world.assert_covered("a new directory");
        assert_eq!(world.live().watched_dirs, 3, "the root, d and new");
        world.tree.rename("skip", "shown");
        world.expect_seen(
            "no longer ignored",
            &["added shown/deep/new", "added shown/deep/x", "added shown/new/y"],
        );
        world.tree.append("shown/deep/x", "more");
        world.expect_seen("and watched", &["modified shown/deep/x"]);
    }
}

#[test]
fn rules_changed_while_watching_are_applied() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("a.txt", "").file("b.tmp", "").file("build/c", "").file("src/build/d", "");
        });
        let rules = RootOptions::default().ignore(IgnoreRules::new(["*.tmp", "build/"]).unwrap());
        let seq = world.warden().seq();
        world.warden().set_root_options(ROOT, &rules).unwrap();
        world.sync();
        let told = world.changes_since(seq);
        assert_eq!(told, ["forgotten b.tmp", "forgotten build/c", "forgotten src/build/d"]);
        world.assert_covered("ignored now");
        let seq = world.warden().seq();
        world.tree.append("build/c", "more").file("src/build/e", "").append("b.tmp", "more");
        world.sync();
        assert_eq!(world.changes_since(seq), [""; 0], "something ignored was told");
        world.warden().set_root_options(ROOT, &RootOptions::default()).unwrap();
        world.expect_true("nothing is ignored");
        world.assert_covered("nothing is ignored");
        world.tree.append("src/build/e", "more");
        world.expect_seen("and watched again", &["modified src/build/e"]);
    }
}

#[test]
fn each_of_two_nested_roots_is_told_what_is_its_own() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("d/a", "1").file("top", "2").file("in/x", "3");
        });
        world.warden().add_root("inner", world.tree.join("in")).unwrap();
        world.watch(backend);
        let see = |what: &str| {
            world.sync();
            let (outer, _) = reference::walk(world.tree.path(), ROOT, &|name| name == b"in");
            assert_same(what, &outer, &reference::of_snapshot(&world.snapshot(), ROOT));
            let inner = reference::listing(&world.tree.join("in"), "inner");
            assert_same(what, &inner, &reference::of_snapshot(&world.snapshot(), "inner"));
            world.assert_replay();
        };
        see("at the start");
        world.tree.file("in/s/new", "").append("in/x", "more").file("d/new", "");
        see("both changed");
        world.tree.rename("d", "in/d").rename("in/s", "s");
        see("directories changed hands");
        world.tree.append("in/d/a", "more").append("s/new", "more");
        see("and are watched by their new owners");
        assert_eq!(file_names(&world.snapshot(), "inner"), ["d/a", "d/new", "x"]);
    }
}

#[test]
fn a_root_added_while_watching_is_watched() {
    for backend in both_backends() {
        let second = Tree::new();
        second.file("d/a", "1");
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        world.warden().add_root("second", second.path()).unwrap();
        world.sync();
        assert_eq!(file_names(&world.snapshot(), "second"), ["d/a"]);
        second.append("d/a", "more").file("e/b", "");
        world.sync();
        let disk = reference::listing(second.path(), "second");
        assert_same("the second root", &disk, &reference::of_snapshot(&world.snapshot(), "second"));
        assert_eq!(world.live_of("second").watched_dirs, 3);
        world.expect_true("the first root");
    }
}

#[test]
fn a_root_removed_while_watching_is_left_alone() {
    for backend in both_backends() {
        let second = Tree::new();
        second.file("d/a", "1");
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        world.warden().add_root("second", second.path()).unwrap();
        world.sync();
        second.append("d/a", "never looked at");
        world.warden().remove_root("second").unwrap();
        let seq = world.sync();
        assert!(world.warden().status().unwrap().live.unwrap().roots.iter().all(|r| r.root == ROOT));
        second.file("d/b", "").file("e/c", "");
        assert_eq!(world.sync(), seq, "a root that is gone was told about");
        world.tree.file("new", "");
        world.expect_seen("the other one goes on", &["added new"]);
        // Under its name and place, it is new again.
        world.warden().add_root("second", second.path()).unwrap();
        world.sync();
        assert_eq!(file_names(&world.snapshot(), "second"), ["d/a", "d/b", "e/c"]);
    }
}

#[test]
fn only_the_roots_that_are_named_are_watched() {
    for backend in both_backends() {
        let second = Tree::new();
        second.file("a", "");
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.warden().add_root("second", second.path()).unwrap();
        world.watch_with(&on(backend).root(ROOT, only_on_sync()));
        let watched: Vec<String> =
            world.warden().status().unwrap().live.unwrap().roots.into_iter().map(|r| r.root).collect();
        assert_eq!(watched, [ROOT]);
        assert!(!world.snapshot().contains("second/a"), "a root that is not watched was looked at");
        world.tree.file("new", "");
        world.expect_seen("the one that is named", &["added new"]);
    }
}

#[test]
fn a_root_moved_while_watching_is_watched_where_it_lies() {
    for backend in both_backends() {
        let home = Tree::new();
        let mut world = watched(backend, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        let id = world.id("d/a");
        let old = world.tree.path().to_path_buf();
        fs::rename(&old, home.join("moved")).unwrap();
        world.warden().move_root(ROOT, home.join("moved")).unwrap();
        let there = Tree::at(home.join("moved"));
        there.append("d/a", "more");
        world.sync();
        assert_eq!((world.id("d/a"), world.entry("d/a").size), (id, 5));
        there.file("d/new", "");
        world.sync();
        let disk = reference::listing(there.path(), ROOT);
        assert_same("where it lies", &disk, &reference::of_snapshot(&world.snapshot(), ROOT));
        world.close();
    }
}

// ---------------------------------------------------------------------------------- when it is looked

#[test]
fn nothing_is_looked_at_before_its_debounce_is_over() {
    for backend in both_backends() {
        let clock = tomorrow();
        let other = Tree::new();
        other.file("anchor", "");
        let world = settled_at(&clock, |t| {
            t.file("anchor", "");
        });
        world.warden().add_root("other", other.path()).unwrap();
        let with = |debounce_ms| RootWatch::new().debounce_ms(debounce_ms).max_wait_ms(2_000);
        world.watch_with(&on(backend).root(ROOT, with(300)).root("other", with(299)));
        // One event each, so that none is late.
        world.tree.symlink("x", "late");
        other.symlink("x", "early");
        wait_until("both are heard of", || world.live().pending > 0 && world.live_of("other").pending > 0);
        clock.advance_ms(299);
        wait_until("the first is looked at", || world.snapshot().contains("other/early"));
        assert!(!world.snapshot().contains("root/late"), "looked at before its debounce was over");
        clock.advance_ms(1);
        wait_until("the second is looked at", || world.snapshot().contains("root/late"));
        world.assert_true("both");
    }
}

#[test]
fn what_is_written_without_a_pause_is_looked_at_after_the_longest_wait() {
    for backend in both_backends() {
        let clock = tomorrow();
        let world = settled_at(&clock, |t| {
            t.file("busy", "").chmod("busy", 0o644);
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(300).max_wait_ms(2_000));
        let write = |mode: u32| {
            let before = world.live().events;
            world.tree.chmod("busy", mode);
            wait_until("the change is heard of", || world.live().events > before);
        };
        let seen = || world.entry("busy").mode & 0o777;
        for step in 0..9 {
            write(if step % 2 == 0 { 0o600 } else { 0o640 });
            assert_eq!(seen(), 0o644, "looked at in the middle of the writing");
            clock.advance_ms(200);
        }
        write(0o611);
        clock.advance_ms(200);
        wait_until("it is looked at, 2,000 ms after the first and 200 after the last change", || {
            seen() == 0o611
        });
    }
}

#[test]
fn a_first_look_finds_what_changed_while_nobody_watched() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("gone", "1").file("changed", "2").file("old", "3").file("same", "4");
        });
        world.close();
        world.tree.remove("gone").append("changed", "more").rename("old", "d/renamed").file("new", "");
        world.open();
        let (events, seq) = (world.warden().subscribe(), world.warden().seq());
        world.watch(backend);
        let expected = ["added new", "missing gone", "modified changed", "moved old -> d/renamed"];
        assert_eq!(world.changes_since(seq), expected);
        world.assert_true("the first look");
        world.assert_covered("the first look");
        let started = await_event(&events, "a first look", |e| is_scan(e, OperationKind::Startup));
        assert!(matches!(started, Event::ScanStarted { root, .. } if root == ROOT));
        let finished = await_event(&events, "its end", |e| is_finished(e, OperationKind::Startup));
        let Event::ScanFinished { status, counts, seq, .. } = finished else { unreachable!() };
        assert_eq!((status, seq), (OperationStatus::Ok, world.warden().seq()));
        assert_eq!((counts.added, counts.missing, counts.modified, counts.moved), (1, 1, 1, 1));
        assert_eq!(world.warden().history(1).unwrap()[0].kind, OperationKind::Startup);
    }
}

#[test]
fn watching_a_root_that_was_never_scanned_scans_it() {
    for backend in both_backends() {
        let world = World::new(Walker::Auto, |t| {
            t.file("a", "1").file("d/s/b", "2").symlink("a", "link").dir("empty");
        });
        world.watch(backend);
        world.assert_true("never scanned before");
        world.assert_covered("never scanned before");
        world.tree.file("empty/c", "");
        world.expect_seen("and watched", &["added empty/c"]);
    }
}

#[test]
fn reading_wakes_nothing() {
    for backend in both_backends() {
        let hashing = RootOptions::default().content_hash(ContentHash::Changed);
        let world = Setup::new(Walker::Auto).root(hashing).build(|t| {
            t.file("a", "content").file("d/b", "other content").symlink("a", "link");
        });
        world.watch(backend);
        world.tree.file("c", "hashed by the engine").append("d/b", "more");
        let seq = world.sync();
        assert!(world.entry("c").hash.is_some());
        let events = world.live().events;
        for _ in 0..5 {
            // Others may read as well.
            assert_eq!(fs::read(world.tree.join("c")).unwrap(), b"hashed by the engine");
            assert_eq!(reference::listing(world.tree.path(), ROOT).len(), 5);
            assert_eq!(world.sync(), seq, "reading made a commit");
        }
        let live = world.live();
        assert_eq!((live.events, live.pending), (events, 0), "reading made an event");
    }
}

#[test]
fn the_state_file_in_a_watched_root_wakes_nothing() {
    for backend in both_backends() {
        let tree = Tree::new();
        tree.file("a", "").file("state/somebody elses", "");
        let warden = Warden::open(tree.join("state/state.tw")).unwrap();
        warden.add_root(ROOT, tree.path()).unwrap();
        warden.scan(ROOT).unwrap();
        warden.watch_with(&on(backend).default_root(RootWatch::new().debounce_ms(1))).unwrap();
        let mut last = warden.sync(HANG).unwrap();
        for round in 0..20_u8 {
            let put = warden.space("s").unwrap().put(b"k".as_slice(), [round].as_slice()).unwrap();
            assert_eq!(put, last + 1, "somebody else made a commit");
            last = warden.sync(HANG).unwrap();
            assert_eq!(last, put, "the commit woke the engine");
        }
        assert!(!soon(|| warden.seq() != last), "commit after commit");
        assert_eq!(file_names(&warden.snapshot(), ROOT), ["a", "state/somebody elses"]);
        tree.file("b", "");
        warden.sync(HANG).unwrap();
        assert_eq!(file_names(&warden.snapshot(), ROOT), ["a", "b", "state/somebody elses"]);
        warden.close().unwrap();
        let left: BTreeSet<_> =
            fs::read_dir(tree.join("state")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.contains(OsStr::new("state.tw")) && left.len() <= 3, "left behind: {left:?}");
    }
}

/// Its threads are counted in a process of their own, since many tests run in this one.
#[test]
fn an_idle_watched_tree_costs_nothing() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            for n in 0..300 {
                t.file(format!("d{}/e{}/f{n}", n % 17, n % 5), "x");
            }
        });
        world.close();
        let db = world.state_file();
        let name = backend_name(backend);
        let mut child = Talk::start(CHILD, &[OsStr::new("serve"), db.as_os_str(), OsStr::new(name)]);
        assert_eq!(child.words()["watching"], "yes");
        // The subscription is waited on for a second in which nothing must come. On a busy machine threads that
        // have nothing left to do are late in falling asleep: one second in a few has to be a quiet one.
        let mut seconds = Vec::new();
        let is_quiet = (0..8).any(|_| {
            let answer = child.ask("idle 1000");
            let number = |name: &str| answer.get(name).map_or(0, |text| text.parse::<u64>().unwrap());
            assert_eq!(number("events"), 0, "{answer:?}");
            assert_eq!(number("seq_before"), number("seq_after"), "{answer:?}");
            let is_quiet = number("wakes") <= 10 && number("cpu_us") <= 10_000;
            seconds.push(answer);
            is_quiet
        });
        assert!(is_quiet, "threads woke up for nothing, or took processor time: {seconds:?}");
        if let Some(why) = seconds.last().and_then(|answer| answer.get("skipped")) {
            return skip("an_idle_watched_tree_costs_nothing", why);
        }
        child.end();
    }
}

// ---------------------------------------------------------------------------------- held or not

pub(crate) fn many_files(t: &Tree) {
    t.file("anchor", "");
    for n in 0..249 {
        t.file(format!("d{}/f{n}", n % 5), "");
    }
}

#[test]
fn deletions_that_were_watched_are_never_held() {
    for backend in both_backends() {
        let world = watched(backend, many_files);
        for n in 0..5 {
            world.tree.remove(format!("d{n}"));
        }
        world.sync();
        assert_eq!(world.warden().roots()[0].state, RootState::Ready);
        world.expect_ls("nearly everything is gone", &["anchor"]);
        world.tree.remove("anchor");
        world.sync();
        assert_eq!(world.warden().roots()[0].state, RootState::Ready);
        world.expect_ls("everything is gone", &[]);
        world.tree.file("d/new", "");
        world.expect_true("and something new");
    }
}

#[test]
fn a_first_look_that_loses_more_than_half_is_held_until_accepted() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, many_files);
        world.close();
        lose_four_fifths(&world.tree);
        world.open();
        let before = dump(&world.snapshot());
        let events = world.warden().subscribe();
        world.watch(backend);
        let held = await_event(&events, "held", |e| matches!(e, Event::RootHeld { .. }));
        assert_eq!(held, Event::RootHeld { root: ROOT.to_owned(), missing: 200, of: 250 });
        assert!(matches!(world.warden().roots()[0].state, RootState::Held { missing: 200, of: 250 }));
        assert_same("held", &before.present, &dump(&world.snapshot()).present);
        let accept = ScanOptions::new().target(ROOT).accept_missing();
        let report = world.warden().scan_with(&accept, &ScanContext::new()).unwrap().remove(0);
        assert_eq!(report.missing, 200, "{report:?}");
        world.expect_true("accepted");
        world.tree.file("d4/new", "");
        world.expect_seen("and watched", &["added d4/new"]);
        world.assert_covered("accepted");
    }
}

// ---------------------------------------------------------------------------------- losing track

/// Changes of which the backend hears nothing. It stays deaf.
pub(crate) fn change_unheard(world: &World, change: impl FnOnce(&Tree) -> &Tree) {
    testing::deaf(world.warden(), true);
    let seq = world.sync();
    change(&world.tree);
    // The events of it go through the queue, and nobody listens.
    assert_eq!(world.sync(), seq, "it was heard");
}

/// Changes that were lost in an overflow.
fn change_and_overflow(world: &World, change: impl FnOnce(&Tree) -> &Tree) {
    change_unheard(world, change);
    testing::deaf(world.warden(), false);
    testing::lose_events(world.warden());
}

fn lose_four_fifths(t: &Tree) -> &Tree {
    (0..4).fold(t, |t, n| t.remove(format!("d{n}")))
}

#[test]
fn an_overflow_is_told_and_heals_by_itself() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("gone", "1").file("changed", "2").file("d/old", "3").file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new());
        let events = world.warden().subscribe();
        change_and_overflow(&world, |t| {
            t.remove("gone").append("changed", "more").rename("d", "e").file("f/g/new", "")
        });
        await_event(&events, "it", |e| matches!(e, Event::Overflow { root } if root == ROOT));
        await_event(&events, "its end", |e| matches!(e, Event::Coherent { root } if root == ROOT));
        let live = world.live();
        assert!(live.coherent && live.overflows == 1, "{live:?}");
        world.assert_true("healed without being asked");
        let seq = world.warden().seq();
        world.tree.append("f/g/new", "more").append("e/old", "more");
        world.sync();
        assert_eq!(world.changes_since(seq), ["modified e/old", "modified f/g/new"], "watched from then on");
        world.assert_covered("healed");
    }
}

#[test]
fn a_sync_after_an_overflow_waits_until_nothing_is_unknown() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        for round in 0..3 {
            change_and_overflow(&world, |t| t.file(format!("d{round}/new"), ""));
            world.expect_true("after an overflow");
            assert!(world.live().coherent, "round {round}");
        }
        assert_eq!(world.live().overflows, 3);
    }
}

#[test]
fn a_rescan_after_an_overflow_is_not_held() {
    for backend in both_backends() {
        let world = watched(backend, many_files);
        change_and_overflow(&world, lose_four_fifths);
        world.expect_true("after the overflow");
        assert_eq!(world.warden().roots()[0].state, RootState::Ready);
        assert_eq!(world.snapshot().len(), 50);
    }
}

#[test]
fn repeated_overflows_back_off_and_status_says_so() {
    const TIMES: u64 = 12;
    for backend in both_backends() {
        let clock = tomorrow();
        let world = settled_at(&clock, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().no_reconcile());
        let events = world.warden().subscribe();
        let mut put_off = 0;
        for times in 1..=TIMES {
            testing::lose_events(world.warden());
            wait_until("the overflow is known", || world.live().overflows == times);
            // One a second: a rescan for each would be easily done.
            clock.advance_ms(1_000);
            put_off += u64::from(!soon(|| world.live().coherent));
        }
        let rescans = drain(&events).iter().filter(|e| is_scan(e, OperationKind::Quick)).count() as u64;
        assert!(put_off > 0 && rescans <= TIMES / 2, "{TIMES} overflows, {rescans} rescans");
        world.tree.file("new", "");
        clock.advance_ms(HOUR_MS);
        wait_until("the rescan comes in the end", || world.live().coherent);
        world.expect_true("in the end");
    }
}

#[test]
fn events_lost_silently_are_healed_by_the_daily_reconciliation() {
    for backend in both_backends() {
        let clock = tomorrow();
        let world = settled_at(&clock, |t| {
            t.file("gone", "1").file("d/changed", "2").file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new());
        let due = world.live().next_reconcile_ns.expect("every 24 h by default");
        assert!(due > clock.now_ns(), "due already");
        let events = world.warden().subscribe();
        change_unheard(&world, |t| t.remove("gone").append("d/changed", "more").file("e/new", ""));
        let seq = world.warden().seq();
        clock.advance_ms(DAY_MS + HOUR_MS);
        let finished = await_event(
            &events,
            "the reconciliation",
            |e| matches!(e, Event::ScanFinished { root, status: OperationStatus::Ok, .. } if root == ROOT),
        );
        let Event::ScanFinished { kind, .. } = finished else { unreachable!() };
        world.assert_true("healed");
        assert_eq!(world.changes_since(seq), ["added e/new", "missing gone", "modified d/changed"]);
        let row = &world.warden().history(1).unwrap()[0];
        assert_eq!((row.kind, row.status), (kind, OperationStatus::Ok));
        assert_eq!((row.counts.added, row.counts.missing, row.counts.modified), (1, 1, 1));
        wait_until("the next one is planned", || {
            world.live().next_reconcile_ns.is_some_and(|due| due > clock.now_ns())
        });
    }
}

// ---------------------------------------------------------------------------------- coverage

fn twenty_dirs(t: &Tree) {
    for n in 0..20 {
        t.file(format!("d{n:02}/f"), "");
    }
}

/// 21 directories, of which ten may be watched.
fn half_covered(backend: WatchBackend, clock: &Clock) -> (World, WatchOptions, Subscription) {
    let world = settled_at(clock, twenty_dirs);
    let events = world.warden().subscribe();
    let options = on(backend).default_root(RootWatch::new().poll_ms(10_000));
    world.watch_with(&options.clone().watches_max(10));
    (world, options, events)
}

#[test]
fn a_reached_watch_limit_is_told_with_its_reason_and_sync_still_sees_everything() {
    for backend in both_backends() {
        let (world, _, events) = half_covered(backend, &tomorrow());
        let told = await_event(&events, "the coverage", |e| matches!(e, Event::CoverageChanged { .. }));
        let Event::CoverageChanged { root, coverage, reason } = told else { unreachable!() };
        assert_eq!((root.as_str(), coverage), (ROOT, Coverage::Mixed));
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "no reason is given");
        let live = world.live();
        assert_eq!(live.coverage, Coverage::Mixed);
        assert!(live.reason.is_some(), "{live:?}");
        assert!(live.watched_dirs <= 10 && live.watched_dirs + live.uncovered_dirs == 21, "{live:?}");
        assert!(live.coherent, "a limit loses nothing: {live:?}");
        for n in 0..20 {
            world.tree.append(format!("d{n:02}/f"), "more").file(format!("d{n:02}/s/new"), "");
        }
        world.expect_true("covered or not");
        world.tree.remove("d07").rename("d11", "d12/moved").append("d12/moved/f", "again");
        world.expect_true("covered or not, again");
    }
}

#[test]
fn directories_without_a_watch_are_polled() {
    for backend in both_backends() {
        let clock = tomorrow();
        let (world, _, _events) = half_covered(backend, &clock);
        for n in 0..20 {
            world.tree.file(format!("d{n:02}/new"), "");
        }
        advance_until("every new file is found", &clock, || world.snapshot().len() == 40);
        for n in 0..20 {
            world.tree.append(format!("d{n:02}/f"), "more");
        }
        let grown = || (0..20).all(|n| world.entry(format!("d{n:02}/f")).size == 4);
        advance_until("every change is found", &clock, grown);
        world.expect_true("polled");
    }
}

#[test]
fn coverage_heals_when_the_limit_is_raised() {
    for backend in both_backends() {
        let clock = tomorrow();
        let (world, options, events) = half_covered(backend, &clock);
        await_event(&events, "mixed", |e| matches!(e, Event::CoverageChanged { .. }));
        world.watch_with(&options.watches_max(1_000));
        let told = await_event(&events, "healed", |e| matches!(e, Event::CoverageChanged { .. }));
        let native = Event::CoverageChanged { root: ROOT.into(), coverage: Coverage::Native, reason: None };
        assert_eq!(told, native);
        world.assert_covered("the limit is raised");
        for n in 0..20 {
            world.tree.file(format!("d{n:02}/new"), "");
        }
        world.expect_true("all watched");
    }
}

#[test]
fn coverage_heals_when_directories_are_deleted() {
    for backend in both_backends() {
        let clock = tomorrow();
        let (world, _, events) = half_covered(backend, &clock);
        await_event(&events, "mixed", |e| matches!(e, Event::CoverageChanged { .. }));
        for n in 0..14 {
            world.tree.remove(format!("d{n:02}"));
        }
        world.sync();
        advance_until("all that is left is watched", &clock, || world.live().coverage == Coverage::Native);
        await_event(&events, "healed", |e| {
            matches!(e, Event::CoverageChanged { coverage: Coverage::Native, reason: None, .. })
        });
        world.assert_covered("enough for the rest");
        world.tree.append("d19/f", "more").file("d18/new", "");
        world.expect_true("all watched");
    }
}

#[test]
fn a_polled_root_is_looked_at_once_at_the_start_and_once_after_missed_ticks() {
    for backend in both_backends() {
        let clock = tomorrow();
        let mut world = settled_at(&clock, |t| {
            t.file("anchor", "");
        });
        world.close();
        world.tree.file("before", "");
        world.open();
        let events = world.warden().subscribe();
        let poll = RootWatch::new().mode(WatchMode::Poll).poll_ms(10_000).no_reconcile();
        world.begin_to_watch(&on(backend).default_root(poll));
        // Directories that changed are looked at more often; looks at the whole tree are counted.
        let whole = |event: &Event| {
            is_finished(event, OperationKind::Startup) || is_finished(event, OperationKind::Quick)
        };
        await_event(&events, "the first tick comes at once", whole);
        assert!(world.snapshot().contains("root/before"));
        let live = world.live();
        assert_eq!((live.mode, live.coverage, live.watched_dirs), ("poll", Coverage::Polling, 0));
        let none_more = |what: &str| assert!(!soon(|| drain(&events).iter().any(whole)), "{what}");
        none_more("a tick before its time");
        for missed in [1, 10, 1] {
            clock.advance_ms(missed * 10_000);
            await_event(&events, "a tick", whole);
            none_more("more than one after missed ticks");
        }
        world.tree.file("d/new", "").append("before", "more");
        advance_until("what changed is found", &clock, || world.snapshot().contains("root/d/new"));
        world.assert_true("polled");
    }
}

#[test]
fn sync_looks_at_a_polled_root_at_once() {
    let clock = tomorrow();
    let world = settled_at(&clock, |t| {
        t.file("gone", "").file("d/a", "").file("anchor", "");
    });
    world.watch_as(WatchBackend::Auto, RootWatch::new().mode(WatchMode::Poll).no_reconcile());
    for round in 0..5 {
        world.tree.append("d/a", "more").file(format!("e{round}/new"), "");
        world.expect_true("polled");
    }
    let seq = world.warden().seq();
    assert_eq!(world.sync(), seq, "a poll without a difference makes no commit");
}

#[test]
fn a_root_can_be_turned_from_watched_to_polled_and_back() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "").file("anchor", "");
        });
        let poll = RootWatch::new().mode(WatchMode::Poll).poll_ms(HOUR_MS);
        for round in 0..3 {
            world.watch_as(backend, poll.clone());
            assert_eq!((world.live().mode, world.live().watched_dirs), ("poll", 0));
            world.tree.file(format!("polled{round}"), "").append("d/a", "more");
            world.expect_true("polled");
            world.tree.file(format!("between{round}"), "");
            world.watch(backend);
            assert_eq!(world.live().mode, "watch");
            world.assert_covered("watched");
            world.tree.file(format!("watched{round}"), "").append("d/a", "more");
            world.expect_true("watched");
        }
    }
}

// ---------------------------------------------------------------------------------- pause

#[test]
fn what_changes_in_a_pause_waits_for_its_end() {
    for backend in both_backends() {
        let clock = tomorrow();
        let world = settled_at(&clock, |t| {
            t.file("gone", "1").file("changed", "2").file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new());
        world.warden().pause().unwrap();
        world.warden().pause().unwrap();
        assert!(world.warden().status().unwrap().live.unwrap().paused);
        let seq = world.warden().seq();
        world.tree.remove("gone").append("changed", "more").file("d/new", "");
        refused("a sync in a pause", world.warden().sync(HANG), &[ErrorKind::Unavailable]);
        clock.advance_ms(HOUR_MS);
        assert!(!soon(|| world.warden().seq() != seq), "something was committed in a pause");
        world.warden().resume().unwrap();
        world.warden().resume().unwrap();
        assert!(!world.warden().status().unwrap().live.unwrap().paused);
        world.sync();
        assert_eq!(world.changes_since(seq), ["added d/new", "missing gone", "modified changed"]);
        world.assert_true("after the pause");
        world.assert_covered("after the pause");
    }
}

#[test]
fn what_changed_in_a_pause_is_looked_at_without_being_asked() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1));
        world.warden().pause().unwrap();
        world.tree.file("d/e/new", "");
        world.warden().resume().unwrap();
        wait_until("it is found", || world.snapshot().contains("root/d/e/new"));
    }
}

#[test]
fn pause_returns_when_no_scan_is_running() {
    for backend in both_backends() {
        let world = World::new(Walker::Auto, |t| {
            for n in 0..3000 {
                t.file(format!("d{}/e{}/f{n}", n % 37, n % 5), "x");
            }
        });
        let events = world.warden().subscribe();
        world.begin_to_watch(&on(backend));
        world.warden().pause().unwrap();
        assert!(!world.live().scanning);
        let (seq, told) = (world.warden().seq(), drain(&events));
        let count = |wanted: fn(&Event) -> bool| told.iter().filter(|e| wanted(e)).count();
        let started = count(|e| matches!(e, Event::ScanStarted { .. }));
        let finished = count(|e| matches!(e, Event::ScanFinished { .. }));
        assert_eq!(started, finished, "a scan is under way in a pause: {told:?}");
        assert!(!soon(|| world.live().scanning || world.warden().seq() != seq), "a scan began in a pause");
        world.warden().resume().unwrap();
        world.expect_true("after the pause");
    }
}

#[test]
fn an_overflow_in_a_pause_is_healed_after_it() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "").file("anchor", "");
        });
        change_unheard(&world, |t| t.append("d/a", "more").file("d/new", ""));
        world.warden().pause().unwrap();
        testing::deaf(world.warden(), false);
        testing::lose_events(world.warden());
        wait_until("the status says so", || !world.live().coherent);
        world.warden().resume().unwrap();
        world.expect_true("after the pause");
        assert!(world.live().coherent);
    }
}

// ---------------------------------------------------------------------------------- the root itself

fn put_aside(world: &World, aside: &Tree) {
    fs::rename(world.tree.path(), aside.join("kept")).unwrap();
}

fn put_back(world: &World, aside: &Tree) {
    fs::rename(aside.join("kept"), world.tree.path()).unwrap();
}

pub(crate) fn is_unavailable(event: &Event) -> bool {
    matches!(event, Event::RootUnavailable { root, reason } if root == ROOT && !reason.is_empty())
}

pub(crate) fn is_back(event: &Event) -> bool {
    matches!(event, Event::RootBack { root } if root == ROOT)
}

/// The root cannot be trusted, and nothing of it has changed.
pub(crate) fn assert_kept(what: &str, world: &World, before: &reference::Dump) {
    let state = world.warden().roots()[0].state.clone();
    assert!(matches!(state, RootState::Unavailable { .. }), "{what}: {state:?}");
    assert_untouched(what, world, before);
}

/// Nothing of the root has changed.
pub(crate) fn assert_untouched(what: &str, world: &World, before: &reference::Dump) {
    let now = dump(&world.snapshot());
    assert_same(what, &before.present, &now.present);
    assert_eq!(before.missing, now.missing, "{what}: missing without proof");
}

#[test]
fn a_root_that_is_renamed_away_is_unavailable_and_nothing_of_it_is_missing() {
    for backend in both_backends() {
        let aside = Tree::new();
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        let (events, before) = (world.warden().subscribe(), dump(&world.snapshot()));
        put_aside(&world, &aside);
        world.sync();
        await_event(&events, "unavailable", is_unavailable);
        assert_kept("renamed away", &world, &before);
        aside.append("kept/d/a", "more").file("kept/d/new", "").remove("kept/b");
        world.sync();
        assert_kept("changed elsewhere", &world, &before);
        put_back(&world, &aside);
        world.sync();
        await_event(&events, "back", is_back);
        world.assert_true("back");
        world.assert_covered("back");
        world.tree.append("d/a", "again").file("d/s/new", "");
        world.expect_seen("watched as before", &["added d/s/new", "modified d/a"]);
    }
}

#[test]
fn a_root_is_missed_and_picked_up_again_without_being_asked() {
    for backend in both_backends() {
        let clock = tomorrow();
        let aside = Tree::new();
        let world = settled_at(&clock, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        world.watch_as(backend, RootWatch::new());
        let (events, before) = (world.warden().subscribe(), dump(&world.snapshot()));
        put_aside(&world, &aside);
        advance_until("it is missed", &clock, || drain(&events).iter().any(is_unavailable));
        assert_kept("missed", &world, &before);
        aside.file("kept/d/new", "");
        put_back(&world, &aside);
        advance_until("it is picked up", &clock, || drain(&events).iter().any(is_back));
        advance_until("with what changed meanwhile", &clock, || world.snapshot().contains("root/d/new"));
        world.tree.file("later", "");
        advance_until("and watched", &clock, || world.snapshot().contains("root/later"));
        world.expect_true("again");
    }
}

#[test]
fn a_watched_root_that_is_deleted_and_made_again_is_picked_up() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        let (events, before) = (world.warden().subscribe(), dump(&world.snapshot()));
        fs::remove_dir_all(world.tree.path()).unwrap();
        world.sync();
        await_event(&events, "unavailable", is_unavailable);
        assert_kept("deleted", &world, &before);
        world.tree.file("d/a", "made again").file("new/c", "");
        world.sync();
        await_event(&events, "back", is_back);
        world.assert_true("made again");
        world.assert_covered("made again");
        world.expect_ls("what is in it now", &["d/a", "new/c"]);
        // In one go, several times.
        for round in 0..4 {
            fs::remove_dir_all(world.tree.path()).unwrap();
            world.tree.file("d/a", "and again").file(format!("n{round}"), "");
            world.expect_true("in one go");
            world.assert_covered("in one go");
            world.tree.append("d/a", "more");
            world.expect_seen("and watched", &["modified d/a"]);
        }
    }
}

#[test]
fn a_root_that_is_absent_at_the_start_is_picked_up_when_it_comes() {
    for backend in both_backends() {
        let aside = Tree::new();
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        let before = dump(&world.snapshot());
        world.close();
        put_aside(&world, &aside);
        world.open();
        let events = world.warden().subscribe();
        world.watch(backend);
        await_event(&events, "unavailable", is_unavailable);
        assert_kept("absent", &world, &before);
        aside.append("kept/d/a", "more");
        put_back(&world, &aside);
        world.sync();
        await_event(&events, "back", is_back);
        world.assert_true("there");
        world.assert_covered("there");
        world.tree.file("d/new", "");
        world.expect_seen("watched", &["added d/new"]);
    }
}

#[test]
fn a_root_that_is_unavailable_does_not_stop_the_others() {
    for backend in both_backends() {
        let (aside, second) = (Tree::new(), Tree::new());
        second.file("a", "");
        let world = watched(backend, |t| {
            t.file("d/a", "1");
        });
        world.warden().add_root("second", second.path()).unwrap();
        world.sync();
        put_aside(&world, &aside);
        second.file("d/new", "").append("a", "more");
        world.sync();
        let disk = reference::listing(second.path(), "second");
        assert_same("the other root", &disk, &reference::of_snapshot(&world.snapshot(), "second"));
        assert!(world.snapshot().contains("root/d/a"));
        put_back(&world, &aside);
        world.sync();
        assert_eq!(world.ls(), ["d/a"]);
    }
}

#[test]
fn a_root_whose_file_system_is_unmounted_is_unavailable_until_it_is_mounted_again() {
    const NAME: &str = "a_root_whose_file_system_is_unmounted_is_unavailable_until_it_is_mounted_again";
    for backend in both_backends() {
        let disk = Tree::new();
        let _disk = match Mount::tmpfs(disk.path(), 4) {
            Ok(mount) => mount,
            Err(why) => return skip(NAME, why),
        };
        disk.file("d/a", "1").file("b", "2");
        let mut first = None;
        let world = World::settled(Walker::Auto, |t| first = Some(Mount::bind(disk.path(), t.path())));
        let mut first = match first {
            Some(Ok(mount)) => mount,
            other => return skip(NAME, format!("{other:?}")),
        };
        world.watch(backend);
        world.tree.file("new", "");
        world.expect_seen("watched", &["added new"]);
        let (events, before) = (world.warden().subscribe(), dump(&world.snapshot()));
        first.unmount();
        world.sync();
        await_event(&events, "unavailable", is_unavailable);
        assert_kept("unmounted", &world, &before);
        disk.append("d/a", "more").file("d/late", "");
        let again = Mount::bind(disk.path(), world.tree.path()).unwrap();
        world.sync();
        await_event(&events, "back", is_back);
        world.assert_true("mounted again");
        world.tree.append("d/late", "more");
        world.expect_seen("watched again", &["modified d/late"]);
        drop(again);
    }
}

#[test]
fn a_file_system_mounted_over_a_watched_root_hides_it_but_does_not_delete_it() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        let (events, before) = (world.warden().subscribe(), dump(&world.snapshot()));
        let mut over = match Mount::tmpfs(world.tree.path(), 4) {
            Ok(mount) => mount,
            Err(why) => {
                return skip(
                    "a_file_system_mounted_over_a_watched_root_hides_it_but_does_not_delete_it",
                    why,
                );
            }
        };
        world.tree.file("b", "another tree");
        world.sync();
        await_event(&events, "unavailable", is_unavailable);
        assert_kept("mounted over", &world, &before);
        over.unmount();
        world.sync();
        await_event(&events, "back", is_back);
        world.assert_true("uncovered");
        world.tree.append("d/a", "more");
        world.expect_seen("watched", &["modified d/a"]);
    }
}

#[test]
fn a_file_system_unmounted_below_a_watched_root_keeps_its_entries() {
    for backend in both_backends() {
        let world = World::new(Walker::Auto, |t| {
            t.file("local", "1").dir("vol").file("other/b", "2");
        });
        let mut volume = match Mount::tmpfs(&world.tree.join("vol"), 4) {
            Ok(mount) => mount,
            Err(why) => {
                return skip("a_file_system_unmounted_below_a_watched_root_keeps_its_entries", why);
            }
        };
        world.tree.file("vol/x", "3").file("vol/d/y", "4");
        world.settle();
        world.watch(backend);
        world.tree.append("vol/d/y", "more");
        world.expect_seen("another file system in the root is watched", &["modified vol/d/y"]);
        volume.unmount();
        world.tree.file("new", "").remove("other");
        world.expect_seen(
            "the rest is looked at, without proof nothing is missing",
            &["added new", "missing other/b"],
        );
        world.expect_ls("kept", &["local", "new", "vol/d/y", "vol/x"]);
    }
}

// ---------------------------------------------------------------------------------- schedules

#[test]
fn a_scheduled_scan_runs_on_time_and_once_after_a_long_sleep() {
    for backend in both_backends() {
        let clock = tomorrow();
        let world = settled_at(&clock, |t| {
            t.file("a", "").file("anchor", "");
        });
        let hourly = Schedule::every_ms(HOUR_MS).unwrap();
        world.watch_as(backend, RootWatch::new().quick(hourly).no_reconcile());
        let live = world.live();
        assert!(live.next_quick_ns.is_some_and(|due| due > clock.now_ns()), "{live:?}");
        assert_eq!((live.next_full_ns, live.next_reconcile_ns), (None, None));
        let events = world.warden().subscribe();
        change_unheard(&world, |t| t.file("found by the scan", ""));
        clock.advance_ms(HOUR_MS);
        await_event(&events, "the first", |e| is_scan(e, OperationKind::Quick));
        await_event(&events, "its end", |e| is_finished(e, OperationKind::Quick));
        assert!(world.snapshot().contains("root/found by the scan"));
        wait_until("the next one is planned", || {
            world.live().next_quick_ns.is_some_and(|due| due > clock.now_ns())
        });
        // A laptop sleeps over the weekend: what was missed is caught up once.
        clock.advance_ms(60 * HOUR_MS);
        await_event(&events, "the catch-up", |e| is_finished(e, OperationKind::Quick));
        wait_until("the next one is planned", || {
            world.live().next_quick_ns.is_some_and(|due| due > clock.now_ns())
        });
        assert!(!soon(|| drain(&events).iter().any(|e| is_scan(e, OperationKind::Quick))), "more than once");
        clock.advance_ms(HOUR_MS);
        await_event(&events, "the one after", |e| is_finished(e, OperationKind::Quick));
    }
}

#[test]
fn a_scan_is_scheduled_by_the_wall_clock() {
    const THREE_NS: i64 = 4_102_455_600_000_000_000;
    // 2100-01-01 02:59 UTC.
    let clock = Clock::manual(THREE_NS - 60_000_000_000);
    let world = settled_at(&clock, |t| {
        t.file("anchor", "");
    });
    let nightly = Schedule::cron("0 3 * * *").unwrap();
    world.watch_as(WatchBackend::Auto, RootWatch::new().quick(nightly).no_reconcile());
    assert_eq!(world.live().next_quick_ns, Some(THREE_NS));
    let events = world.warden().subscribe();
    clock.advance_ms(59_999);
    assert!(!soon(|| drain(&events).iter().any(|e| is_scan(e, OperationKind::Quick))), "before its time");
    clock.advance_ms(1);
    await_event(&events, "at three", |e| is_finished(e, OperationKind::Quick));
    let tomorrow_ns = THREE_NS + i64::try_from(DAY_MS).unwrap() * 1_000_000;
    wait_until("tomorrow again", || world.live().next_quick_ns == Some(tomorrow_ns));
}

#[test]
fn a_scheduled_full_scan_reports_silent_corruption() {
    for backend in both_backends() {
        let clock = tomorrow();
        let hashing = RootOptions::default().content_hash(ContentHash::Changed).compare(Compare::NoCtime);
        let world = Setup::new(Walker::Auto).root(hashing).clock(&clock).build(|t| {
            t.file("rotten", "good content").file("sound", "good content");
        });
        world.settle();
        let weekly = Schedule::parse("7d").unwrap();
        world.watch_as(backend, RootWatch::new().full(weekly).no_reconcile());
        let events = world.warden().subscribe();
        change_unheard(&world, |t| t.edit_secretly("rotten", "evil content"));
        clock.advance_ms(7 * DAY_MS);
        let finished = await_event(&events, "a full scan", |e| is_finished(e, OperationKind::Full));
        let Event::ScanFinished { status, counts, .. } = finished else { unreachable!() };
        assert_eq!((status, counts.errors, counts.modified), (OperationStatus::Partial, 1, 0));
        assert!(world.live().next_full_ns.is_some());
    }
}

#[test]
fn a_schedule_says_when_it_comes_next() {
    const MINUTE_NS: i64 = 60_000_000_000;
    // 2030-01-01 00:00 UTC.
    const NEW_YEAR_NS: i64 = 1_893_456_000_000_000_000;
    let next = |text: &str, after_ns: i64| Schedule::parse(text).unwrap().next_after(after_ns);
    assert_eq!(next("0 3 * * *", NEW_YEAR_NS), Some(NEW_YEAR_NS + 180 * MINUTE_NS));
    assert_eq!(next("*/15 * * * *", NEW_YEAR_NS), Some(NEW_YEAR_NS + 15 * MINUTE_NS), "strictly after");
    assert_eq!(next("*/15 * * * *", NEW_YEAR_NS - 1), Some(NEW_YEAR_NS));
    assert_eq!(next("cron 30 0 * * * UTC", NEW_YEAR_NS), Some(NEW_YEAR_NS + 30 * MINUTE_NS));
    // Vienna is one hour ahead in winter: three o'clock there is two o'clock UTC.
    match Schedule::parse("cron 0 3 * * * Europe/Vienna") {
        Ok(vienna) => assert_eq!(vienna.next_after(NEW_YEAR_NS), Some(NEW_YEAR_NS + 120 * MINUTE_NS)),
        Err(error) => skip("a_schedule_says_when_it_comes_next", format!("no zone files: {error}")),
    }
    for (text, every_ms) in [("15m", 900_000), ("every 24h", DAY_MS), ("90s", 90_000), ("7d", 7 * DAY_MS)] {
        assert_eq!(Schedule::parse(text).unwrap(), Schedule::every_ms(every_ms).unwrap(), "{text}");
        let next = next(text, NEW_YEAR_NS).unwrap();
        let at_most = NEW_YEAR_NS + i64::try_from(every_ms).unwrap() * 1_000_000;
        assert!(next > NEW_YEAR_NS && next <= at_most, "{text}: {next}");
    }
    for text in ["15m", "every 24h", "90s", "7d", "0 3 * * *", "cron 30 0 * * * UTC"] {
        let schedule = Schedule::parse(text).unwrap();
        let shown = schedule.to_string();
        assert!(!shown.is_empty() && !shown.contains('\n'), "{text}: {shown:?}");
    }
}

// ---------------------------------------------------------------------------------- subscribers

#[test]
fn a_subscriber_that_never_reads_gets_a_reset_and_slows_nothing() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        let (deaf, awake) = (world.warden().subscribe_with(4), world.warden().subscribe());
        let seq = world.warden().seq();
        for n in 0..10 {
            world.tree.file(format!("f{n}"), "");
            // Two events that do not coalesce, whatever the scan finds.
            world.warden().scan(ROOT).unwrap();
            world.sync();
        }
        await_event(
            &awake,
            "all of it",
            |e| matches!(e, Event::Committed { last_seq, .. } if *last_seq == world.warden().seq()),
        );
        let told = drain(&deaf);
        let resets: Vec<u64> = told
            .iter()
            .filter_map(|e| if let Event::Reset { restart_seq } = e { Some(*restart_seq) } else { None })
            .collect();
        assert!(told.len() <= 4, "more than it asked for: {told:?}");
        assert_eq!(resets.len(), 1, "told once that it lagged: {told:?}");
        assert!(matches!(told[0], Event::Reset { .. }), "first of all: {told:?}");
        assert!(resets[0] > seq && resets[0] <= world.warden().seq(), "{told:?}");
        // From here on it hears everything again.
        world.tree.file("after", "");
        world.sync();
        await_event(&deaf, "the next commit", |e| matches!(e, Event::Committed { .. }));
    }
}

#[test]
fn commits_that_nobody_has_read_yet_become_one_event() {
    const COMMITS: u64 = 50;
    let world = World::settled(Walker::Auto, |t| {
        t.file("anchor", "");
    });
    let (lazy, awake) = (world.warden().subscribe(), world.warden().subscribe());
    let first = world.warden().seq() + 1;
    for n in 0..COMMITS {
        world.warden().space("s").unwrap().put(b"k".as_slice(), n.to_be_bytes().as_slice()).unwrap();
    }
    let last = first + COMMITS - 1;
    let mut next = first;
    while next <= last {
        let event = await_event(&awake, "a commit", |e| matches!(e, Event::Committed { .. }));
        let Event::Committed { first_seq, last_seq, counts } = event else { unreachable!() };
        assert_eq!(first_seq, next, "a commit was left out");
        assert_eq!(counts, treewarden::Counts::default(), "no file changed");
        next = last_seq + 1;
    }
    let mut covered = first;
    wait_until("the lazy one is told as well", || {
        let told = drain(&lazy);
        assert!(told.len() <= 1, "not coalesced: {told:?}");
        for event in told {
            let Event::Committed { first_seq, last_seq, .. } = event else { panic!("{event:?}") };
            assert_eq!(first_seq, covered);
            covered = last_seq + 1;
        }
        covered > last
    });
}

#[test]
fn commits_are_told_without_a_gap_and_with_their_counts() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1).max_wait_ms(1));
        let (events, first) = (world.warden().subscribe(), world.warden().seq() + 1);
        for n in 0..200 {
            world.tree.file(format!("d{}/f{n}", n % 9), "");
        }
        let last = world.sync();
        let (mut next, mut added) = (first, 0);
        while next <= last {
            let event = await_event(&events, "commits", |e| matches!(e, Event::Committed { .. }));
            let Event::Committed { first_seq, last_seq, counts } = event else { unreachable!() };
            assert_eq!(first_seq, next, "a commit was left out, or told twice");
            added += counts.added;
            next = last_seq + 1;
        }
        assert_eq!(added, 200);
    }
}

#[test]
fn a_subscriber_that_is_gone_is_no_burden() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        for n in 0..100 {
            let events = world.warden().subscribe_with(1);
            if n % 10 == 0 {
                world.tree.file(format!("f{n}"), "");
                world.sync();
            }
            drop(events);
        }
        world.expect_true("nobody listens");
    }
}

#[test]
fn every_event_has_a_name() {
    let event = Event::Reset { restart_seq: 7 };
    assert_eq!(event.name(), "reset");
    assert_eq!(Event::Overflow { root: ROOT.to_owned() }.name(), "overflow");
    assert_eq!(Event::RootBack { root: ROOT.to_owned() }.name(), "root_back");
    let names = [Coverage::Native, Coverage::Mixed, Coverage::Polling].map(Coverage::name);
    assert_eq!(names, ["native", "mixed", "polling"]);
}

// ---------------------------------------------------------------------------------- following

/// Acknowledges all that is there now.
fn catch_up(follow: &Follow) {
    while let Some(delivery) = follow.next(1_000, Some(Duration::ZERO)).unwrap() {
        delivery.ack().unwrap();
    }
}

#[test]
fn a_follower_wakes_with_the_commit_and_goes_on_where_it_was_after_a_restart() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1));
        let follow = world.warden().follow("indexer").unwrap();
        catch_up(&follow);
        assert!(follow.next(10, Some(Duration::ZERO)).unwrap().is_none(), "nothing is new");
        let waiter = std::thread::spawn(move || {
            let delivery = follow.next(10, None).unwrap().expect("a delivery");
            let paths: Vec<Vec<u8>> = delivery.changes().iter().map(|c| c.path.clone()).collect();
            delivery.ack().unwrap();
            paths
        });
        world.tree.file("one", "");
        let paths = joined("the follower wakes", waiter);
        assert!(paths.contains(&address("one")), "{paths:?}");
        // What is delivered and not acknowledged comes again.
        world.tree.file("two", "");
        world.sync();
        let follow = world.warden().follow("indexer").unwrap();
        let lost = follow.next(10, Some(HANG)).unwrap().expect("a delivery");
        assert!(lost.changes().iter().any(|c| c.path == address("two")));
        let place = follow.cursor().position().unwrap();
        drop((lost, follow));
        world.reopen();
        world.watch(backend);
        let follow = world.warden().follow("indexer").unwrap();
        assert_eq!(follow.cursor().position().unwrap(), place);
        let again = follow.next(10, Some(HANG)).unwrap().expect("a delivery");
        assert!(again.changes().iter().any(|c| c.path == address("two")));
        assert!(again.changes().iter().all(|c| c.path != address("one")), "told twice");
        again.ack().unwrap();
        catch_up(&follow);
        assert!(follow.next(10, Some(Duration::ZERO)).unwrap().is_none());
    }
}

#[test]
fn a_follower_misses_nothing_of_a_tree_that_is_never_quiet() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1).max_wait_ms(1));
        let follow = world.warden().follow("mirror").unwrap();
        catch_up(&follow);
        let reader = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !seen.contains(&address("last")) {
                let delivery = follow.next(7, Some(HANG)).unwrap().expect("a delivery");
                for change in delivery.changes().iter().filter(|c| c.entry_kind == Kind::Symlink) {
                    assert!(
                        seen.insert(change.path.clone()),
                        "{} was told twice",
                        support::show(&change.path)
                    );
                }
                delivery.ack().unwrap();
            }
            seen.len()
        });
        for n in 0..300 {
            world.tree.symlink("x", format!("f{n}"));
            if n % 50 == 0 {
                world.sync();
            }
        }
        world.sync();
        world.tree.symlink("x", "last");
        assert_eq!(joined("the reader has seen the last", reader), 301);
    }
}

#[test]
fn wait_returns_with_the_commit_or_at_its_timeout() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("anchor", "");
    });
    let seq = world.warden().seq();
    assert_eq!(world.warden().wait(seq, Some(Duration::ZERO)).unwrap(), seq);
    assert_eq!(world.warden().wait(seq, Some(Duration::from_millis(1))).unwrap(), seq);
    assert_eq!(world.warden().wait(seq - 1, None).unwrap(), seq, "it has been there long ago");
    let warden = world.warden().clone();
    let waiter = std::thread::spawn(move || warden.wait(seq, None));
    world.warden().space("s").unwrap().put(b"k".as_slice(), b"v".as_slice()).unwrap();
    assert_eq!(joined("the waiter wakes", waiter).unwrap(), seq + 1);
}

// ---------------------------------------------------------------------------------- ending a wait

#[test]
fn an_interrupt_ends_a_wait_from_another_thread() {
    for backend in both_backends() {
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        let events = world.warden().subscribe();
        let _ = drain(&events);
        let interrupter = events.interrupter();
        let reader = std::thread::spawn(move || events.next(None));
        // Whoever interrupts does not know when the other begins to wait.
        wait_until("the subscriber wakes", || {
            interrupter.interrupt();
            reader.is_finished()
        });
        assert_eq!(reader.join().unwrap().unwrap(), None);

        let follow = world.warden().follow("follower").unwrap();
        catch_up(&follow);
        let interrupter = follow.interrupter();
        let reader = std::thread::spawn(move || follow.next(10, None).map(|delivery| delivery.is_none()));
        wait_until("the follower wakes", || {
            interrupter.clone().interrupt();
            reader.is_finished()
        });
        assert!(reader.join().unwrap().unwrap(), "nothing was there to deliver");
    }
}

/// Makes and removes files until it is told to stop.
struct Storm {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn over(tree: &Tree) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (top, stopped, count) = (Tree::at(tree.path()), Arc::clone(&stop), Arc::clone(&made));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let n = count.fetch_add(1, Ordering::Relaxed);
                let dir = format!("storm{}", n % 5);
                top.file(format!("{dir}/f{}", n % 50), "x");
                if n % 60 == 59 {
                    top.remove(&dir);
                }
            }
        });
        let storm = Self { stop, made, thread: Some(thread) };
        wait_until("the storm begins", || storm.made.load(Ordering::Relaxed) > 100);
        storm
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        joined("the storm ends", self.thread.take().unwrap());
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn close_ends_every_wait_in_the_middle_of_a_storm_and_twice_is_harmless() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1).max_wait_ms(1));
        let storm = Storm::over(&world.tree);
        let warden = || world.warden().clone();
        let (a, b, c, d, e) = (warden(), warden(), warden(), warden(), warden());
        let waiters: Vec<std::thread::JoinHandle<ErrorKind>> = vec![
            std::thread::spawn(move || a.wait(u64::MAX, None).unwrap_err().kind()),
            std::thread::spawn(move || {
                loop {
                    match b.sync(HANG).map_err(|error| error.kind()) {
                        // The last of them pauses now and then.
                        Ok(_) | Err(ErrorKind::Unavailable) => {}
                        Err(kind) => return kind,
                    }
                }
            }),
            std::thread::spawn(move || {
                let events = c.subscribe();
                loop {
                    if let Err(error) = events.next(None) {
                        return error.kind();
                    }
                }
            }),
            std::thread::spawn(move || {
                let follow = d.follow("follower").unwrap();
                loop {
                    match follow
                        .next(10, None)
                        .and_then(|delivery| delivery.map_or(Ok(0), treewarden::Delivery::ack))
                    {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::Reset => {}
                        Err(error) => return error.kind(),
                    }
                }
            }),
            std::thread::spawn(move || {
                while e.pause().and_then(|()| e.resume()).is_ok() {}
                e.sync(HANG).unwrap_err().kind()
            }),
        ];
        let seen = storm.made.load(Ordering::Relaxed);
        wait_until("all of them are at work", || storm.made.load(Ordering::Relaxed) > seen + 500);
        let warden = world.warden().clone();
        let taken = within("close", move || {
            let before = Instant::now();
            warden.close().unwrap();
            before.elapsed()
        });
        assert!(taken < PROMPTLY, "close took {taken:?}");
        for (number, waiter) in waiters.into_iter().enumerate() {
            assert_eq!(joined("a waiter wakes", waiter), ErrorKind::Closed, "waiter {number}");
        }
        storm.end();
        world.warden().clone().close().unwrap();
        let closed = &[ErrorKind::Closed];
        refused("watch", world.warden().watch(), closed);
        refused("sync", world.warden().sync(HANG), closed);
        refused("wait", world.warden().wait(u64::MAX, None), closed);
        refused("next", world.warden().subscribe().next(None), closed);
        assert!(!world.warden().is_watching());
        world.reopen();
        world.watch(backend);
        world.assert_true("opened again");
    }
}

/// A pause must not be in the way of a close, nor a close that comes from two threads at once.
#[test]
fn close_from_two_threads_in_a_pause_returns() {
    for backend in both_backends() {
        let mut world = watched(backend, |t| {
            t.file("anchor", "");
        });
        world.warden().pause().unwrap();
        world.tree.file("new", "");
        let closers: Vec<_> = (0..2)
            .map(|_| {
                let warden = world.warden().clone();
                std::thread::spawn(move || warden.close())
            })
            .collect();
        for closer in closers {
            joined("close", closer).unwrap();
        }
        world.reopen();
        world.watch(backend);
        world.assert_true("opened again");
    }
}

#[test]
fn a_warden_that_is_dropped_while_it_watches_leaves_the_file_free() {
    for backend in both_backends() {
        let mut world = watched(backend, |t| {
            t.file("anchor", "");
        });
        let events = world.warden().subscribe();
        let storm = Storm::over(&world.tree);
        world.abandon();
        storm.end();
        wait_until(
            "the subscriber is told",
            || matches!(events.next(Some(HANG)), Err(error) if error.kind() == ErrorKind::Closed),
        );
        wait_until("the file is free", || Warden::open(world.state_file()).is_ok());
        world.open();
        world.watch(backend);
        world.assert_true("opened again");
    }
}

#[test]
fn watching_can_be_ended_and_begun_again() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        assert!(!world.warden().is_watching());
        world.warden().unwatch().unwrap();
        for round in 0..4 {
            world.watch(backend);
            world.watch(backend);
            assert!(world.warden().is_watching());
            assert!(world.warden().status().unwrap().live.is_some());
            world.tree.file(format!("watched{round}"), "");
            world.expect_true("watched");
            world.warden().unwatch().unwrap();
            world.warden().unwatch().unwrap();
            assert!(!world.warden().is_watching());
            assert!(world.warden().status().unwrap().live.is_none());
            refused("sync", world.warden().sync(HANG), &[ErrorKind::InvalidArgument]);
            world.tree.file(format!("unseen{round}"), "");
        }
        world.watch(backend);
        world.assert_true("the first look finds what was not watched");
    }
}

#[test]
fn a_warden_watches_with_defaults() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("anchor", "");
    });
    world.warden().watch().unwrap();
    world.warden().watch().unwrap();
    world.expect_true("at the start");
    world.assert_covered("at the start");
    world.tree.file("d/new", "");
    wait_until("the change is seen", || world.snapshot().contains("root/d/new"));
    for preset in [RootWatch::small(), RootWatch::large(), RootWatch::busy()] {
        world.watch_with(&WatchOptions::new().default_root(preset).nice(19).scan_threads(1).yields(false));
        world.tree.append("d/new", "more");
        world.expect_true("a preset");
    }
}

#[test]
fn other_options_restart_only_what_differs() {
    for backend in both_backends() {
        let second = Tree::new();
        second.file("a", "");
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.warden().add_root("second", second.path()).unwrap();
        let with = |root: RootWatch| on(backend).root(ROOT, root).root("second", only_on_sync());
        world.watch_with(&with(only_on_sync()));
        let events = world.warden().subscribe();
        world.watch_with(&with(only_on_sync()));
        let told = drain(&events);
        assert!(told.is_empty(), "the same options again: {told:?}");
        world.watch_with(&with(RootWatch::new().mode(WatchMode::Poll)));
        let of_second = |e: &&Event| matches!(e, Event::ScanStarted { root, .. } if root == "second");
        assert_eq!(drain(&events).iter().filter(of_second).count(), 0, "its options are the same");
        second.file("b", "");
        world.tree.file("c", "");
        world.sync();
        assert!(world.snapshot().contains("second/b") && world.snapshot().contains("root/c"));
    }
}

// ---------------------------------------------------------------------------------- limits and permissions

/// Limits and instances of the user nobody are shared by all its processes.
static NOBODY_WATCHES: Mutex<()> = Mutex::new(());

/// A child without privileges that watches the world, or `None` with a word on stderr.
pub(crate) fn nobody_watches(
    test: &str,
    world: &mut World,
    backend: WatchBackend,
    with: &[&str],
) -> Option<(MutexGuard<'static, ()>, Talk)> {
    let alone = NOBODY_WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
    world.close();
    if is_root() {
        world.state.give_to(NOBODY);
        world.tree.give_to(NOBODY);
    }
    let db = world.state_file();
    let mut args: Vec<&OsStr> = Vec::new();
    if is_root() {
        args.push(OsStr::new("--drop"));
    }
    args.extend(with.iter().map(OsStr::new));
    args.extend([OsStr::new("serve"), db.as_os_str(), OsStr::new(backend_name(backend))]);
    let mut child = Talk::start(CHILD, &args);
    let hello = child.words();
    if let Some(why) = hello.get("skipped") {
        skip(test, why);
        return None;
    }
    assert_eq!(hello.get("watching").map(String::as_str), Some("yes"), "{hello:?}");
    Some((alone, child))
}

#[test]
fn a_directory_that_is_shut_keeps_its_entries_and_is_watched_again_when_it_opens() {
    const NAME: &str = "a_directory_that_is_shut_keeps_its_entries_and_is_watched_again_when_it_opens";
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("shut/a", "").file("shut/deep/b", "").file("open/c", "");
        });
        let Some((_alone, mut child)) = nobody_watches(NAME, &mut world, backend, &[]) else { return };
        world.tree.chmod("shut", 0o000);
        assert!(child.ask("sync").contains_key("synced"));
        assert_eq!(child.ask("ls")["files"], "open/c,shut/a,shut/deep/b", "shut");
        // Only root can do this, and then the child could not see it in any way.
        if is_root() {
            world.tree.file("shut/behind", "").remove("shut/a");
            assert!(child.ask("sync").contains_key("synced"));
            assert_eq!(child.ask("ls")["files"], "open/c,shut/a,shut/deep/b", "without proof");
        } else {
            world.tree.chmod("shut", 0o755).remove("shut/a");
        }
        world.tree.file("open/new", "");
        assert!(child.ask("sync").contains_key("synced"));
        assert!(child.ask("ls")["files"].contains("open/new"), "the rest is looked at");
        world.tree.chmod("shut", 0o755);
        world.tree.file("shut/deep/new", "");
        assert!(child.ask("sync").contains_key("synced"));
        let files = child.ask("ls")["files"].clone();
        assert!(files.contains("shut/deep/new") && !files.contains("shut/a"), "open again: {files}");
        world.tree.file("shut/later", "");
        assert!(child.ask("sync").contains_key("synced"));
        assert!(child.ask("ls")["files"].contains("shut/later"), "watched again");
        child.end();
    }
}

#[test]
fn a_tree_of_more_directories_than_descriptors_is_watched() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            for n in 0..500 {
                t.file(format!("d{}/e{n}/f", n % 3), "");
            }
        });
        let Some((_alone, mut child)) = nobody_watches(
            "a_tree_of_more_directories_than_descriptors_is_watched",
            &mut world,
            backend,
            &["--files", "64"],
        ) else {
            return;
        };
        for n in 0..500 {
            world.tree.file(format!("d{}/e{n}/g/new", n % 3), "");
        }
        assert!(child.ask("sync").contains_key("synced"));
        assert_eq!(child.ask("ls")["files"].split(',').count(), 1_000);
        let status = child.ask("status");
        assert_eq!(
            (status["coverage"].as_str(), status["watched"].as_str()),
            ("native", "1004"),
            "{status:?}"
        );
        child.end();
    }
}

#[test]
fn without_an_inotify_instance_a_root_is_polled_and_says_why() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("d/a", "").file("anchor", "");
        });
        let Some((_alone, mut child)) = nobody_watches(
            "without_an_inotify_instance_a_root_is_polled_and_says_why",
            &mut world,
            backend,
            &["--exhaust"],
        ) else {
            return;
        };
        let status = child.ask("status");
        let said = [&status["coverage"], &status["reason"], &status["watched"]].map(String::as_str);
        assert_eq!(said, ["polling", "yes", "0"], "{status:?}");
        world.tree.file("e/new", "").remove("d/a");
        assert!(child.ask("sync").contains_key("synced"));
        assert_eq!(child.ask("ls")["files"], "anchor,e/new");
        child.end();
    }
}

// ---------------------------------------------------------------------------------- bad input

#[test]
fn bad_options_are_refused_and_change_nothing() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("anchor", "");
    });
    let absurd = [
        ("an endless debounce", RootWatch::new().debounce_ms(u64::MAX)),
        ("an endless wait", RootWatch::new().max_wait_ms(u64::MAX)),
        ("a longest wait shorter than the debounce", RootWatch::new().debounce_ms(500).max_wait_ms(400)),
        ("polling without a pause", RootWatch::new().mode(WatchMode::Poll).poll_ms(0)),
        ("polling never", RootWatch::new().mode(WatchMode::Poll).poll_ms(u64::MAX)),
    ];
    let refuse_all = || {
        for (what, root) in &absurd {
            let for_all = WatchOptions::new().default_root(root.clone());
            refused(what, world.warden().watch_with(&for_all), &[ErrorKind::InvalidArgument]);
            let for_one = WatchOptions::new().root(ROOT, root.clone());
            refused(what, world.warden().watch_with(&for_one), &[ErrorKind::InvalidArgument]);
        }
        let unknown = WatchOptions::new().root("nobody", RootWatch::new());
        refused("an unknown root", world.warden().watch_with(&unknown), &[ErrorKind::NotFound]);
        let odd = WatchOptions::new().root("no\nbody\x1b[31m", RootWatch::new());
        let kinds = [ErrorKind::NotFound, ErrorKind::InvalidArgument];
        refused("a name that is none", world.warden().watch_with(&odd), &kinds);
    };
    refuse_all();
    assert!(!world.warden().is_watching(), "a refusal began to watch");
    world.watch(WatchBackend::Auto);
    refuse_all();
    assert!(world.warden().is_watching(), "a refusal ended the watch");
    assert_eq!(world.live().mode, "watch");
    world.tree.file("new", "");
    world.expect_seen("watched as before", &["added new"]);
}

#[test]
fn bad_schedules_are_refused() {
    let invalid = &[ErrorKind::InvalidArgument];
    for ms in [0, 1, 999, 3_661 * DAY_MS, u64::MAX] {
        refused(&format!("every {ms} ms"), Schedule::every_ms(ms), invalid);
    }
    for ms in [1_000, 3_660 * DAY_MS] {
        Schedule::every_ms(ms).unwrap();
    }
    for text in [
        "",
        " ",
        "* * * *",
        "* * * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "*/0 * * * *",
        "5-1 x * * *",
        "a b c d e",
        "0 3 * * *\n0 4 * * *",
        // Readable, but no year has such a day.
        "0 0 30 2 *",
        "0 0 31 4 *",
        "0 0 31 2,4,6,9,11 *",
    ] {
        refused(&format!("cron {text:?}"), Schedule::cron(text), invalid);
    }
    // A leap day comes, if seldom.
    assert!(Schedule::cron("0 0 29 2 *").unwrap().next_after(0).is_some());
    for zone in ["", "Mars/Olympus_Mons", "../../etc/passwd", "/etc/localtime", "UTC\n", "Europe/\0"] {
        refused(&format!("zone {zone:?}"), Schedule::cron_in("0 3 * * *", zone), invalid);
    }
    for text in [
        "",
        " ",
        "m",
        "every",
        "-5m",
        "5 parsecs",
        "1e9d",
        "0m",
        "0s",
        "1ms5",
        "99999999999999999999d",
        "every every 5m",
        "cron",
        "cron 0 3 * *",
        "5m 5m 5m",
        "\u{1b}[31m",
        "\0",
    ] {
        refused(&format!("schedule {text:?}"), Schedule::parse(text), invalid);
    }
}

#[test]
fn calls_out_of_turn_are_refused_or_do_nothing() {
    let mut world = World::settled(Walker::Auto, |t| {
        t.file("anchor", "");
    });
    refused("sync without a watch", world.warden().sync(HANG), &[ErrorKind::InvalidArgument]);
    refused("a follower without a name", world.warden().follow(""), &[ErrorKind::InvalidArgument]);
    world.watch(WatchBackend::Auto);
    match world.warden().sync(Duration::ZERO) {
        Ok(seq) => assert_eq!(seq, world.warden().seq()),
        Err(error) => assert_eq!((error.kind(), error.kind().code()), (ErrorKind::Timeout, 21)),
    }
    assert_eq!(ErrorKind::Timeout.name(), "timeout");
    world.expect_true("still well");
    world.close();
    let reader = Warden::options().read_only().open(world.state_file()).unwrap();
    refused("watching a file opened for reading", reader.watch(), &[ErrorKind::ReadOnly]);
    refused("with options", reader.watch_with(&WatchOptions::new()), &[ErrorKind::ReadOnly]);
    assert!(!reader.is_watching());
}

#[test]
fn a_warden_without_roots_can_be_watched() {
    for backend in both_backends() {
        let (tree, state) = (Tree::new(), Tree::new());
        tree.file("a", "");
        let warden = Warden::open(state.join("state.tw")).unwrap();
        warden.watch_with(&on(backend).default_root(only_on_sync())).unwrap();
        let seq = warden.sync(HANG).unwrap();
        assert_eq!(seq, warden.seq());
        warden.add_root(ROOT, tree.path()).unwrap();
        warden.sync(HANG).unwrap();
        assert_eq!(file_names(&warden.snapshot(), ROOT), ["a"]);
        warden.close().unwrap();
    }
}
