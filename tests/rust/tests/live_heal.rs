//! What nobody tells of heals by itself, and what disturbs the watching leaves nothing behind: emptied and
//! held roots, mounts, directories that were shut, pauses, other threads. For both backends, as in `live.rs`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use support::live::{
    await_event, backend_name, begin_to_watch, both_backends, drain, joined, only_on_sync, soon, tomorrow,
};
use support::reference::dump;
use support::{HANG, Mount, ROOT, Talk, Tree, World, both_walkers, file_names, refused, skip, wait_until};
use treewarden::{
    ErrorKind, Event, RootState, RootWatch, Walker, Warden, WatchBackend, WatchOptions, testing,
};

use crate::live::{
    advance_until, assert_kept, assert_untouched, change_unheard, is_back, is_unavailable, many_files,
    nobody_watches, on, settled_at, watched,
};

// ---------------------------------------------------------------------------------- emptied roots

#[test]
fn an_emptied_root_is_told_of_once_and_comes_back_with_its_first_file() {
    for backend in both_backends() {
        let mut world = World::settled(Walker::Auto, |t| {
            t.file("d/a", "1").file("b", "2");
        });
        let before = dump(&world.snapshot());
        world.close();
        world.tree.remove("d").remove("b");
        world.open();
        let events = world.warden().subscribe();
        world.watch_as(backend, RootWatch::new());
        // Each of these looks at it again.
        for _ in 0..4 {
            world.sync();
            assert_kept("empty", &world, &before);
        }
        let told = drain(&events);
        let looks = told.iter().filter(|e| matches!(e, Event::ScanStarted { .. })).count();
        assert!(looks > 4, "it was not looked at again: {told:?}");
        let told: Vec<Event> = told.into_iter().filter(is_unavailable).collect();
        let [Event::RootUnavailable { reason, .. }] = &told[..] else { panic!("not told once: {told:?}") };
        assert!(reason.contains("is empty"), "{reason}");

        world.tree.file("new", "");
        await_event(&events, "back without being asked", is_back);
        world.expect_true("back");
        world.expect_ls("what is in it now", &["new"]);
        world.assert_covered("back");
    }
}

// ---------------------------------------------------------------------------------- held roots

/// Watches a tree of 250 files, of which 200 went aside while nobody watched: it is held.
fn held(mut world: World, aside: &Tree, options: &WatchOptions) -> World {
    world.close();
    for n in 0..4 {
        world.tree.move_to(format!("d{n}"), aside, format!("d{n}"));
    }
    world.open();
    let events = world.warden().subscribe();
    world.watch_with(options);
    await_event(&events, "held", |e| matches!(e, Event::RootHeld { .. }));
    assert!(is_held(&world) && !world.live().coherent, "{:?}", world.live());
    world
}

fn is_held(world: &World) -> bool {
    matches!(world.warden().roots()[0].state, RootState::Held { .. })
}

/// Puts back what [`held`] took away; every directory and file is the one that it was.
fn put_back(world: &World, aside: &Tree) {
    for n in 0..4 {
        aside.move_to(format!("d{n}"), &world.tree, format!("d{n}"));
    }
}

#[test]
fn a_held_root_is_ready_after_sync_when_what_was_missing_is_back() {
    for backend in both_backends() {
        let aside = Tree::new();
        let world = World::settled(Walker::Auto, many_files);
        let id = world.id("d0/f0");
        let world = held(world, &aside, &on(backend).default_root(only_on_sync()));
        let events = world.warden().subscribe();
        world.sync();
        assert!(is_held(&world), "nothing is back yet");
        put_back(&world, &aside);
        world.sync();
        assert_eq!(world.warden().roots()[0].state, RootState::Ready);
        await_event(&events, "back", is_back);
        world.assert_true("back");
        world.assert_covered("back");
        assert_eq!(world.id("d0/f0"), id);
        world.tree.append("d0/f0", "more").file("d3/new", "");
        world.expect_seen("watched as before", &["added d3/new", "modified d0/f0"]);
    }
}

#[test]
fn a_held_root_heals_without_being_asked() {
    for backend in both_backends() {
        let (clock, aside) = (tomorrow(), Tree::new());
        let world = settled_at(&clock, many_files);
        let world = held(world, &aside, &on(backend).default_root(RootWatch::new()));
        let events = world.warden().subscribe();
        put_back(&world, &aside);
        advance_until("it is back", &clock, || drain(&events).iter().any(is_back));
        assert_eq!(world.warden().roots()[0].state, RootState::Ready);
        world.expect_true("back");
    }
}

/// A scan of the whole root takes up what was heard before; when it is held, nothing of it was applied.
#[test]
fn what_was_heard_before_a_scan_that_is_held_is_looked_at_all_the_same() {
    for backend in both_backends() {
        let aside = Tree::new();
        let world = World::settled(Walker::Auto, many_files);
        let world = held(world, &aside, &on(backend).default_root(only_on_sync()));
        world.tree.file("d4/new", "");
        wait_until("it is heard of", || world.live().pending > 0);
        testing::lose_events(world.warden());
        world.sync();
        assert!(is_held(&world), "what is missing is missing still");
        assert!(world.snapshot().contains("root/d4/new"), "what was heard of is lost");
        assert!(world.snapshot().contains("root/d0/f0"), "missing without proof");
        assert_eq!(world.snapshot().len(), 251);
        put_back(&world, &aside);
        world.expect_true("back");
        assert!(!is_held(&world) && world.snapshot().contains("root/d4/new"));
    }
}

// ---------------------------------------------------------------------------------- mounts

/// Two trees on one file system, so that no device number gives the mount away.
fn on_one_file_system() -> (Tree, World) {
    let disk = Tree::new();
    disk.file("x", "1").file("d/y", "2");
    let world = World::new(Walker::Auto, |t| {
        t.file("local", "").dir("sub");
    });
    let dev = |tree: &Tree| fs::metadata(tree.path()).unwrap().dev();
    assert_eq!(dev(&disk), dev(&world.tree), "these are two file systems");
    (disk, world)
}

#[test]
fn a_bind_mount_of_the_same_file_system_is_known_as_a_mount() {
    for walker in both_walkers() {
        let (disk, world) = on_one_file_system();
        let mut mount = match Mount::bind(disk.path(), &world.tree.join("sub")) {
            Ok(mount) => mount,
            Err(why) => return skip("a_bind_mount_of_the_same_file_system_is_known_as_a_mount", why),
        };
        world.settle();
        let before = dump(&world.snapshot());
        mount.unmount();
        for what in ["root", "root/sub"] {
            let report = world.scan_target(what, |options| options.walker(walker));
            assert!(!report.is_clean(), "{what}: the report says nothing: {report:?}");
            assert_untouched("unmounted", &world, &before);
        }
        let report = world.scan_as(|options| options.accept_missing().walker(walker));
        assert_eq!((report.missing, report.errors), (2, 0), "{report:?}");
        world.assert_true("accepted");
    }
}

#[test]
fn a_bind_mount_that_is_unmounted_while_watched_keeps_its_entries() {
    const NAME: &str = "a_bind_mount_that_is_unmounted_while_watched_keeps_its_entries";
    for backend in both_backends() {
        let (disk, world) = on_one_file_system();
        let bind = || Mount::bind(disk.path(), &world.tree.join("sub"));
        let mut first = match bind() {
            Ok(mount) => mount,
            Err(why) => return skip(NAME, why),
        };
        world.settle();
        world.watch(backend);
        let before = dump(&world.snapshot());
        first.unmount();
        world.sync();
        assert_untouched("unmounted", &world, &before);
        disk.file("late", "");
        world.sync();
        assert_untouched("changed elsewhere", &world, &before);
        assert!(!world.scan().is_clean());
        assert_untouched("scanned", &world, &before);
        let again = bind().unwrap();
        world.expect_true("mounted again");
        assert!(world.snapshot().contains("root/sub/late"));
        world.tree.append("sub/d/y", "more");
        world.expect_seen("watched again", &["modified sub/d/y"]);
        drop(again);
    }
}

/// The other file system is another directory under the same name: all that is known below would be
/// missing, and nobody has seen it go. So it counts as any loss that was not watched: from 100 files and
/// more than half of the root on, it is held.
#[test]
fn another_file_system_over_a_mount_point_is_noticed_and_takes_nothing_away() {
    const NAME: &str = "another_file_system_over_a_mount_point_is_noticed_and_takes_nothing_away";
    for backend in both_backends() {
        let world = World::new(Walker::Auto, |t| {
            t.file("local", "1").dir("vol");
        });
        let vol = world.tree.join("vol");
        let _first = match Mount::tmpfs(&vol, 4) {
            Ok(mount) => mount,
            Err(why) => return skip(NAME, why),
        };
        for n in 0..120 {
            world.tree.file(format!("vol/d{}/f{n}", n % 4), "");
        }
        world.settle();
        world.watch(backend);
        let (events, before) = (world.warden().subscribe(), dump(&world.snapshot()));
        let mut second = Mount::tmpfs(&vol, 4).unwrap();
        let told =
            await_event(&events, "noticed without being asked", |e| matches!(e, Event::RootHeld { .. }));
        assert_eq!(told, Event::RootHeld { root: ROOT.to_owned(), missing: 120, of: 121 });
        world.sync();
        assert_untouched("mounted over", &world, &before);
        second.unmount();
        world.sync();
        await_event(&events, "back", is_back);
        world.assert_true("uncovered");
        world.tree.append("vol/d0/f0", "more");
        world.expect_seen("watched as before", &["modified vol/d0/f0"]);
    }
}

// ---------------------------------------------------------------------------------- its own files

/// Nothing is looked at here but on sync, so whatever is heard of waits and is counted.
#[test]
fn commits_to_a_state_file_in_a_watched_root_leave_nothing_to_look_at() {
    for backend in both_backends() {
        let tree = Tree::new();
        tree.file("a", "").file("state/theirs", "");
        let warden = Warden::open(tree.join("state/state.tw")).unwrap();
        warden.add_root(ROOT, tree.path()).unwrap();
        begin_to_watch(&warden, &on(backend).default_root(only_on_sync()));
        warden.sync(HANG).unwrap();
        let pending = || warden.status().unwrap().live.unwrap().roots[0].pending;
        // One event, beside the state file: what that counts.
        tree.symlink("x", "state/first");
        wait_until("it is heard of", || pending() > 0);
        let one = pending();
        let mut last = warden.sync(HANG).unwrap();
        for round in 0..50_u8 {
            let put = warden.batch().put("s", "k", [round]).put("s", "l", [round, round]).commit().unwrap();
            assert_eq!(put, last + 1, "somebody else made a commit");
            last = put;
        }
        // Events come in order: with this one, those of the commits have come.
        tree.symlink("x", "state/second");
        wait_until("it is heard of", || pending() >= one);
        assert!(!soon(|| pending() != one), "the engine waits to look at its own files");
        assert_eq!(warden.sync(HANG).unwrap(), last + 1, "one commit for one link");
        assert_eq!(pending(), 0);
        let files = file_names(&warden.snapshot(), ROOT);
        assert_eq!(files, ["a", "state/first", "state/second", "state/theirs"]);
        warden.close().unwrap();
    }
}

// ---------------------------------------------------------------------------------- pauses and threads

#[test]
fn a_pause_outlasts_a_change_of_the_backend() {
    let changes =
        [(WatchBackend::Inotify, WatchBackend::Notify), (WatchBackend::Notify, WatchBackend::Inotify)];
    for (from, to) in changes {
        let world = watched(from, |t| {
            t.file("anchor", "");
        });
        world.warden().pause().unwrap();
        let seq = world.warden().seq();
        world.begin_to_watch(&on(to).default_root(only_on_sync()));
        let live = world.warden().status().unwrap().live.unwrap();
        assert_eq!((live.paused, live.backend), (true, backend_name(to)));
        world.tree.file("d/new", "");
        refused("a sync in a pause", world.warden().sync(HANG), &[ErrorKind::Unavailable]);
        assert!(!soon(|| world.warden().seq() != seq), "something was committed in a pause");
        world.warden().resume().unwrap();
        world.expect_true("after the pause");
        world.assert_covered("after the pause");
        world.tree.append("d/new", "more");
        world.expect_seen("watched", &["modified d/new"]);
    }
}

#[test]
fn pause_and_resume_from_two_threads_never_get_stuck() {
    for backend in both_backends() {
        let world = World::settled(Walker::Auto, |t| {
            t.file("anchor", "");
        });
        world.watch_as(backend, RootWatch::new().debounce_ms(1).max_wait_ms(1));
        let begin = || {
            let warden = world.warden().clone();
            std::thread::spawn(move || {
                for _ in 0..200 {
                    warden.pause().unwrap();
                    warden.resume().unwrap();
                }
            })
        };
        let threads = [begin(), begin()];
        let mut n = 0_u64;
        wait_until("both come to their end", || {
            n += 1;
            world.tree.file(format!("d{}/f", n % 7), n.to_string());
            threads.iter().all(std::thread::JoinHandle::is_finished)
        });
        for thread in threads {
            joined("one of them ends", thread);
        }
        world.warden().resume().unwrap();
        assert!(!world.warden().status().unwrap().live.unwrap().paused);
        world.tree.file("after", "");
        world.expect_true("afterwards");
        assert!(world.snapshot().contains("root/after"));
        world.assert_covered("afterwards");
    }
}

#[test]
fn sync_goes_on_while_another_root_comes_and_goes() {
    for backend in both_backends() {
        let second = Tree::new();
        second.file("d/a", "");
        let world = watched(backend, |t| {
            t.file("anchor", "");
        });
        let warden = world.warden();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                for round in 0..20 {
                    second.file(format!("f{round}"), "");
                    warden.add_root("second", second.path()).unwrap();
                    if round % 2 == 0 {
                        warden.sync(HANG).unwrap();
                    }
                    warden.remove_root("second").unwrap();
                }
            });
            while !other.is_finished() {
                // It fails on anything but a seq.
                world.sync();
            }
        });
        world.tree.file("d/new", "");
        world.expect_seen("the root that stays", &["added d/new"]);
        world.assert_disk("the root that stays");
        world.assert_covered("the root that stays");
        warden.add_root("second", second.path()).unwrap();
        world.sync();
        assert_eq!(file_names(&world.snapshot(), "second").len(), 21);
    }
}

#[test]
fn more_threads_than_help_a_scan_are_refused_with_a_hint() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("anchor", "");
    });
    let with = |threads| WatchOptions::new().scan_threads(threads).default_root(only_on_sync());
    let refuse = || {
        let error =
            refused("257 threads", world.warden().watch_with(&with(257)), &[ErrorKind::InvalidArgument]);
        assert!(error.hint().is_some_and(|hint| hint.contains("256")), "{error}");
    };
    refuse();
    assert!(!world.warden().is_watching(), "a refusal began to watch");
    world.watch_with(&with(2));
    refuse();
    assert!(world.warden().is_watching(), "a refusal ended the watch");
    world.tree.file("new", "");
    world.expect_seen("watched as before", &["added new"]);
}

// ---------------------------------------------------------------------------------- what is watched

#[test]
fn a_scan_of_the_program_watches_what_it_finds_whatever_its_walker() {
    for backend in both_backends() {
        for walker in both_walkers() {
            let world = watched(backend, |t| {
                t.file("anchor", "");
            });
            change_unheard(&world, |t| t.file("new/deep/x", ""));
            let report = world.scan_as(|options| options.walker(walker));
            assert!(report.is_clean(), "{report:?}");
            testing::deaf(world.warden(), false);
            world.assert_covered("scanned");
            let events = world.warden().subscribe();
            world.tree.append("new/deep/x", "more").file("new/deep/y", "");
            world.expect_seen("watched", &["added new/deep/y", "modified new/deep/x"]);
            let told = drain(&events);
            assert!(!told.iter().any(|e| matches!(e, Event::ScanStarted { .. })), "a whole scan: {told:?}");
        }
    }
}

/// Coverage, whether a reason is given, directories without a watch and with one.
fn coverage(child: &mut Talk) -> [String; 4] {
    let status = child.ask("status");
    ["coverage", "reason", "uncovered", "watched"].map(|word| status[word].clone())
}

#[test]
fn a_directory_that_is_shut_at_the_start_is_read_with_everything_below_when_it_opens() {
    const NAME: &str = "a_directory_that_is_shut_at_the_start_is_read_with_everything_below_when_it_opens";
    for backend in both_backends() {
        for is_known in [true, false] {
            let mut world = World::new(Walker::Auto, |t| {
                t.file("shut/a", "").file("shut/deep/b", "").file("open/c", "");
            });
            if is_known {
                world.settle();
            }
            world.tree.file("shut/deep/behind", "").chmod("shut", 0o000);
            let Some((_alone, mut child)) = nobody_watches(NAME, &mut world, backend, &[]) else { return };
            let before = if is_known { "open/c,shut/a,shut/deep/b" } else { "open/c" };
            assert_eq!(child.ask("ls")["files"], before, "shut");
            assert_eq!(coverage(&mut child), ["native", "no", "0", "2"], "shut");
            world.tree.file("open/new", "").remove("open/new");
            assert!(child.ask("sync").contains_key("synced"), "it is in nobody's way");
            assert_eq!(coverage(&mut child), ["native", "no", "0", "2"], "shut still");
            world.tree.chmod("shut", 0o755);
            assert!(child.ask("sync").contains_key("synced"));
            let files = "open/c,shut/a,shut/deep/b,shut/deep/behind";
            assert_eq!(child.ask("ls")["files"], files, "open");
            assert_eq!(coverage(&mut child), ["native", "no", "0", "4"], "open");
            world.tree.file("shut/deep/later", "");
            assert!(child.ask("sync").contains_key("synced"));
            assert!(child.ask("ls")["files"].contains("shut/deep/later"), "watched");
            child.end();
        }
    }
}
