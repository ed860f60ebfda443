//! Mirrors: the remote copy holds what the tree holds, nothing is sent twice, and nothing is deleted on the word
//! of a root that cannot be trusted. The storage is in memory or a directory; the truth comes from `std::fs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::live::{soon, tomorrow};
use support::mirror::{
    BUCKET, Call, Memory, PUBLIC, assert_equal, failure, finish, naive, open, options, run,
};
use support::work::scanned;
use support::{
    ROOT, Setup, Tree, World, address, bytes_of, is_root, now_ns, refused, show, skip, wait_until, within,
};
use treewarden::mirror::{
    AuditFinding, AuditKind, AuditOptions, Capabilities, Credentials, Listed, Mirror, MirrorContext,
    MirrorOptions, MirrorStep, Put, Storage, StorageError, StorageFault, Stored, Target, UrlChange,
};
use treewarden::{
    CancelToken, Clock, ContentHash, ErrorKind, RootOptions, RootState, RootWatch, ScanOptions, Walker,
    WatchOptions,
};

const BAD: &[ErrorKind] = &[ErrorKind::InvalidArgument];
const AWAY: &[ErrorKind] = &[ErrorKind::Unavailable];
const GONE: &[ErrorKind] = &[ErrorKind::NotFound];

fn library(t: &Tree) {
    t.file("a.txt", "one").file("d/b.jpg", "two").file("d/e/c.bin", vec![7; 70_000]).file("empty", "");
    t.dir("hollow").symlink("a.txt", "link");
}

/// A scanned library, and its mirror, in step with each other.
fn mirrored() -> (World, Clock, Arc<Memory>, Mirror) {
    let (world, clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    finish("the first run", &mirror);
    memory.clear_calls();
    (world, clock, memory, mirror)
}

/// So many small files, scanned, and a mirror that has not run yet.
fn many(files: usize, options: &MirrorOptions) -> (World, Clock, Arc<Memory>, Mirror) {
    let (world, clock) = scanned(|t| {
        for n in 0..files {
            t.file(format!("d{}/f{n:03}", n % 5), format!("content {n}"));
        }
    });
    let memory = Memory::new();
    let mirror = open(&world, options, &memory);
    (world, clock, memory, mirror)
}

fn assert_mirrored(what: &str, world: &World, memory: &Memory) {
    assert_equal(what, &naive(world.tree.path(), ""), &memory.objects());
}

/// Scans, runs, and compares.
fn catch_up(what: &str, world: &World, memory: &Memory, mirror: &Mirror) {
    world.scan();
    finish(what, mirror);
    assert_mirrored(what, world, memory);
}

/// The paths with an address, relative to the root.
fn listed(mirror: &Mirror) -> BTreeSet<String> {
    let cut = ROOT.len() + 1;
    mirror.urls().iter().map(|(path, _)| show(&path[cut..])).collect()
}

// ---------------------------------------------------------------------------------- in step

#[test]
fn the_first_run_sends_everything_and_nothing_changed_asks_for_nothing() {
    let (mut world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    let seq = world.snapshot().seq();
    let report = finish("the first run", &mirror);
    assert_eq!((report.uploaded, report.uploaded_bytes), (4, 70_006), "{report:?}");
    assert_eq!((report.copied, report.deleted, report.retries, report.refused), (0, 0, 0, 0), "{report:?}");
    assert_eq!(report.seq, seq);
    assert_mirrored("the first run", &world, &memory);
    assert_eq!(memory.puts(), ["a.txt", "d/b.jpg", "d/e/c.bin", "empty"]);

    memory.clear_calls();
    for _ in 0..2 {
        world.scan();
        let report = finish("nothing changed", &mirror);
        assert_eq!((report.uploaded, report.copied, report.deleted), (0, 0, 0), "{report:?}");
    }
    memory.assert_quiet("nothing changed");
    let status = mirror.status();
    assert_eq!((status.objects, status.object_bytes, status.unsure, status.pending), (4, 70_006, 0, Some(0)));
    assert_eq!((status.counters.runs, status.counters.uploaded, status.last_error.as_deref()), (3, 4, None));
    drop(mirror);

    world.reopen();
    let mirror = open(&world, &options(), &memory);
    assert_eq!(listed(&mirror).len(), 4, "known before anything runs");
    finish("opened again", &mirror);
    world.scan();
    finish("opened again, and scanned", &mirror);
    memory.assert_quiet("opened again");
}

#[test]
fn what_waits_is_counted_and_as_old_as_it_is() {
    let (world, clock, memory, mirror) = mirrored();
    let status = mirror.status();
    assert_eq!((status.pending, status.oldest_pending_ns), (Some(0), None));
    clock.advance_ms(3_600_000);
    world.tree.file("new", "n").append("a.txt", "more").remove("empty").dir("more");
    world.scan();
    for _ in 0..2 {
        let waiting = mirror.status();
        assert_eq!(waiting.pending, Some(3));
        // The clock of the test is ahead of the files: they came after the last run.
        assert_eq!((waiting.oldest_pending_ns, waiting.objects), (status.last_run_ns, 4));
    }
    memory.script(|call| matches!(call, Call::Put(_)).then(|| failure(StorageFault::Source)));
    assert_eq!(run(&mirror).failed, 2);
    assert_eq!((mirror.status().pending, mirror.status().objects), (Some(2), 2));
    memory.clear_script();
    finish("afterwards", &mirror);
    assert_eq!((mirror.status().pending, mirror.status().objects), (Some(0), 4));
}

#[test]
fn only_what_changed_is_sent_and_deletions_come_last() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.append("a.txt", "more").file("new/x", "x").remove("empty");
    world.scan();
    let report = finish("a run", &mirror);
    assert_eq!((report.uploaded, report.copied, report.deleted), (2, 0, 1), "{report:?}");
    assert_eq!(memory.puts(), ["a.txt", "new/x"]);
    assert_eq!(memory.calls().last(), Some(&Call::Delete(vec!["empty".to_owned()])));
    assert_mirrored("changed", &world, &memory);

    // A file becomes a directory, and a directory a file.
    world.tree.remove("a.txt").file("a.txt/inside", "in").remove("d").file("d", "plain");
    catch_up("other kinds", &world, &memory, &mirror);
}

#[test]
fn what_moved_is_copied_and_not_sent_again() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.rename("a.txt", "z.txt").rename("d", "dir");
    world.scan();
    let report = finish("moved", &mirror);
    assert_eq!((report.uploaded, report.copied, report.deleted), (0, 3, 3), "{report:?}");
    assert_eq!(memory.copies(), ["a.txt -> z.txt", "d/b.jpg -> dir/b.jpg", "d/e/c.bin -> dir/e/c.bin"]);
    assert!(memory.puts().is_empty());
    assert_eq!(memory.deletes(), ["a.txt", "d/b.jpg", "d/e/c.bin"]);
    assert!(matches!(memory.calls().last(), Some(Call::Delete(_))), "sources go last");
    assert_mirrored("moved", &world, &memory);
    memory.clear_calls();
    finish("nothing changed since", &mirror);
    memory.assert_quiet("nothing changed since");
}

#[test]
fn what_moved_keeps_its_object_until_it_is_there_under_its_new_name() {
    // Old enough for a scan to trust it, and not for the mirror.
    let clock = Clock::manual(now_ns() + 10_000_000_000);
    let world = Setup::new(Walker::Auto).clock(&clock).build(library);
    world.scan();
    let memory = Memory::new();
    let mirror = open(&world, &options().settle_ms(0), &memory);
    finish("the first run", &mirror);
    let mirror = open(&world, &options().settle_ms(10_300), &memory);
    let before = memory.objects();

    // Not still yet: the name is new, and so is the time of its change.
    world.tree.rename("a.txt", "z.txt");
    world.scan();
    memory.clear_calls();
    let plan = mirror.plan().unwrap();
    assert_eq!((plan.unsettled, plan.uploads, plan.deletes), (1, 0, 0), "{plan:?}");
    let report = run(&mirror);
    assert_eq!((report.unsettled, report.deleted), (1, 0), "{report:?}");
    memory.assert_quiet("not still yet");
    clock.advance_ms(3_600_000);
    let report = finish("still", &mirror);
    assert_eq!((report.copied, report.uploaded, report.deleted), (1, 0, 1), "{report:?}");
    assert_mirrored("still", &world, &memory);

    // Edited on the way, and it cannot be sent.
    world.tree.rename("z.txt", "a.txt").append("a.txt", "more");
    world.scan();
    for (fault, kind) in [(StorageFault::Source, "fails"), (StorageFault::Rejected, "is rejected")] {
        memory.script(move |call| matches!(call, Call::Put(_)).then(|| failure(fault.clone())));
        for _ in 0..3 {
            let report = run(&mirror);
            assert_eq!((report.failed + report.refused, report.deleted), (1, 0), "{kind}: {report:?}");
            assert_eq!(memory.objects().get("z.txt"), before.get("a.txt"), "{kind}: the only copy");
        }
    }
    memory.clear_script();
    world.tree.append("a.txt", "!");
    catch_up("sent", &world, &memory, &mirror);
}

#[test]
fn what_is_replaced_as_a_whole_waits_and_what_only_moved_does_not() {
    let (world, _clock, memory, mirror) = many(150, &options());
    finish("the first run", &mirror);
    for n in 0..5 {
        world.tree.rename(format!("d{n}"), format!("moved{n}"));
    }
    world.scan();
    let plan = mirror.plan().unwrap();
    assert_eq!((plan.copies, plan.deletes, plan.held), (150, 150, false), "{plan:?}");
    let report = finish("moved", &mirror);
    assert_eq!((report.copied, report.deleted), (150, 150), "{report:?}");

    // Each under another name and with another content, as by a program that encrypts it.
    for name in world.ls().into_iter().filter(|name| name.contains("/f")) {
        world.tree.rename(&name, format!("{name}.locked")).file(format!("{name}.locked"), "not readable");
    }
    world.scan();
    let plan = mirror.plan().unwrap();
    assert_eq!((plan.uploads, plan.deletes, plan.held), (150, 150, true), "{plan:?}");
    for _ in 0..2 {
        let report = run(&mirror);
        assert_eq!((report.held, report.deleted), (150, 0), "{report:?}");
        assert_eq!(memory.objects().len(), 300, "both are there");
    }
    assert_eq!(mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap().deleted, 150);
    assert_mirrored("accepted", &world, &memory);
}

/// What was replaced as a whole: the old objects are held, the new ones are there.
fn replaced() -> (World, Clock, Arc<Memory>, Mirror) {
    let (world, clock, memory, mirror) = many(150, &options());
    finish("the first run", &mirror);
    for name in world.ls().into_iter().filter(|name| name.contains("/f")) {
        world.tree.rename(&name, format!("{name}.locked")).file(format!("{name}.locked"), "not readable");
    }
    world.scan();
    assert_eq!(run(&mirror).held, 150);
    (world, clock, memory, mirror)
}

#[test]
fn what_waits_is_not_let_go_because_some_of_it_waits_for_something_else() {
    let (world, _clock, memory, mirror) = replaced();
    // These files are to be sent once more, and cannot be: what they were before stays for that reason.
    for name in world.ls().into_iter().filter(|name| name.ends_with("0.locked")) {
        world.tree.append(&name, "!");
    }
    world.scan();
    memory.script(|call| matches!(call, Call::Put(_)).then(|| failure(StorageFault::Rejected)));
    for _ in 0..3 {
        let report = run(&mirror);
        assert_eq!((report.held + report.refused, report.deleted), (150, 0), "{report:?}");
    }
    memory.clear_script();
    world.tree.append("d0/f000.locked", "?");
    world.scan();
    assert_eq!(run(&mirror).deleted, 0);
}

#[test]
fn an_accepted_run_that_fails_accepts_nothing_for_the_next() {
    let (world, _clock, memory, mirror) = replaced();
    world.tree.file("new", "n");
    world.scan();
    memory.script(|call| matches!(call, Call::Put(_)).then(|| failure(StorageFault::Misconfigured)));
    let accepting = MirrorContext::new().accept_deletes(true);
    refused("accepted", mirror.sync(&accepting), &[ErrorKind::NotFound]);
    memory.clear_script();
    assert_eq!(run(&mirror).held, 150);
    assert_eq!(mirror.sync(&accepting).unwrap().deleted, 150);
    assert_mirrored("accepted", &world, &memory);
}

#[test]
fn a_move_that_was_cut_off_before_its_deletions_goes_on_by_itself() {
    let (world, _clock, memory, mirror) = many(150, &options().delete_max(20));
    finish("the first run", &mirror);
    for n in 0..5 {
        world.tree.rename(format!("d{n}"), format!("moved{n}"));
    }
    world.scan();
    memory.script(|call| matches!(call, Call::Delete(_)).then(|| failure(StorageFault::Misconfigured)));
    refused("cut off", mirror.sync(&MirrorContext::new()), &[ErrorKind::NotFound]);
    assert_eq!(memory.objects().len(), 300);
    memory.clear_script();
    assert!(!mirror.plan().unwrap().held);
    assert_eq!(finish("goes on", &mirror).deleted, 150);
    assert_mirrored("goes on", &world, &memory);
}

#[test]
fn a_file_whose_new_name_can_have_no_object_keeps_its_old_one() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.rename("a.txt", "line\nbreak").rename("empty", "full");
    world.scan();
    for _ in 0..2 {
        let report = run(&mirror);
        assert_eq!(report.refused, 1, "{report:?}");
        assert!(memory.objects().contains_key("a.txt") && !memory.objects().contains_key("empty"));
    }
    world.tree.rename("line\nbreak", "b.txt");
    world.scan();
    assert_eq!(finish("another name", &mirror).copied, 1);
    assert_mirrored("another name", &world, &memory);
}

#[test]
fn names_that_can_have_no_object_hold_no_other_deletion() {
    let (world, _clock, memory, mirror) = many(300, &options());
    finish("the first run", &mirror);
    for n in 0..3 {
        world.tree.rename(format!("d{n}"), format!("line\nbreak{n}"));
    }
    world.tree.remove("d3/f003");
    world.scan();
    let report = run(&mirror);
    assert_eq!((report.refused, report.deleted, report.held), (180, 1, 0), "{report:?}");
    world.tree.remove("d3/f008");
    world.scan();
    let report = run(&mirror);
    assert_eq!((report.refused, report.deleted, report.held), (180, 1, 0), "{report:?}");
    assert_eq!(memory.objects().len(), 298, "the objects of the others stay");
    // Under names that can be held they move, and what they were under goes.
    for n in 0..3 {
        world.tree.rename(format!("line\nbreak{n}"), format!("e{n}"));
    }
    world.scan();
    let report = finish("other names", &mirror);
    assert_eq!((report.copied, report.deleted), (180, 180), "{report:?}");
    assert_mirrored("other names", &world, &memory);
}

#[test]
fn what_never_came_to_be_there_is_no_loss() {
    let (world, _clock, memory, mirror) = many(300, &options());
    memory.script(|_| Some(failure(StorageFault::Misconfigured)));
    refused("a storage that is not there", mirror.sync(&MirrorContext::new()), GONE);
    memory.clear_script();
    assert!(memory.objects().is_empty());
    for n in 0..4 {
        world.tree.remove(format!("d{n}"));
    }
    world.scan_as(ScanOptions::accept_missing);
    assert!(!mirror.plan().unwrap().held);
    let report = finish("there now", &mirror);
    assert_eq!((report.uploaded, report.deleted, report.held), (60, 240, 0), "{report:?}");
    assert_mirrored("there now", &world, &memory);
}

#[test]
fn what_lies_in_the_way_costs_no_object_that_does_not() {
    let (world, _clock) = scanned(library);
    let remote = Tree::new();
    let (target, none) = (Target::directory(remote.path()), Credentials::none());
    let mirror = world.warden().mirror_to("m", &options(), &target, &none).unwrap();
    finish("the first run", &mirror);
    // A directory of somebody else.
    remote.file("z.txt/foreign", "f");
    world.tree.rename("a.txt", "z.txt");
    world.scan();
    for _ in 0..2 {
        let report = run(&mirror);
        assert_eq!((report.failed, report.deleted), (1, 0), "{report:?}");
        assert!(remote.join("a.txt").is_file(), "the only copy is gone");
    }
    remote.remove("z.txt");
    finish("out of the way", &mirror);
    assert_equal("out of the way", &naive(world.tree.path(), ""), &naive(remote.path(), ""));
}

#[test]
fn what_other_patterns_leave_out_waits_and_goes_when_it_is_meant() {
    let (world, _clock, memory, mirror) = many(150, &options());
    finish("the first run", &mirror);
    let mirror = {
        drop(mirror);
        open(&world, &options().glob("d0/*"), &memory)
    };
    let plan = mirror.plan().unwrap();
    assert_eq!((plan.deletes, plan.held), (120, true), "{plan:?}");
    for _ in 0..3 {
        let report = run(&mirror);
        assert_eq!((report.held, report.deleted, report.is_complete()), (120, 0, false), "{report:?}");
    }
    // Also what is no file any more meanwhile.
    world.tree.remove("d1/f001");
    world.scan();
    assert_eq!(run(&mirror).held, 120);
    memory.script(|call| matches!(call, Call::Delete(_)).then(|| failure(StorageFault::Transient)));
    let failed = mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap();
    assert_eq!((failed.failed, failed.deleted), (120, 0), "{failed:?}");
    memory.clear_script();
    let report = mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap();
    assert_eq!((report.held, report.deleted, report.is_complete()), (0, 120, true), "{report:?}");
    assert!(memory.objects().keys().all(|key| key.starts_with("d0/")));
    assert_eq!(memory.objects().len(), 30);
}

#[test]
fn a_file_that_may_not_be_sent_keeps_nothing_else_from_going() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.file("denied", "d").remove("empty");
    world.scan();
    memory.script(|call| match call {
        Call::Put(key) if key == "denied" => Some(failure(StorageFault::Denied)),
        _ => None,
    });
    for _ in 0..2 {
        let report = run(&mirror);
        assert_eq!(report.failed, 1, "{report:?}");
        assert!(!memory.objects().contains_key("empty"));
        world.tree.append("a.txt", "more");
        world.scan();
    }
    run(&mirror);
    assert_eq!(memory.puts().last().map(String::as_str), Some("denied"));
    memory.clear_script();
    finish("allowed", &mirror);
    assert_mirrored("allowed", &world, &memory);
}

#[test]
fn a_copy_that_fails_is_sent_and_its_source_stays_until_then() {
    for fault in
        [StorageFault::Transient, StorageFault::NotFound, StorageFault::Unsupported, StorageFault::Rejected]
    {
        let (world, _clock, memory, mirror) = mirrored();
        world.tree.rename("d", "dir");
        world.scan();
        let its = fault.clone();
        memory.script(move |call| matches!(call, Call::Copy { .. }).then(|| failure(its.clone())));
        let report = finish("sent instead", &mirror);
        assert_eq!((report.uploaded, report.copied, report.deleted), (2, 0, 2), "{fault:?}: {report:?}");
        assert_mirrored("sent instead", &world, &memory);

        world.tree.rename("dir", "again");
        world.scan();
        memory.script(move |call| match call {
            Call::Copy { .. } => Some(failure(StorageFault::NotFound)),
            Call::Put(key) if key == "again/b.jpg" => Some(failure(StorageFault::Source)),
            _ => None,
        });
        let report = run(&mirror);
        assert_eq!((report.uploaded, report.failed, report.deleted), (1, 1, 1), "{fault:?}: {report:?}");
        let there: Vec<String> = memory.objects().into_keys().collect();
        assert_eq!(there, ["a.txt", "again/e/c.bin", "dir/b.jpg", "empty"], "the only copy was deleted");
        memory.clear_script();
        finish("works again", &mirror);
        assert_mirrored("works again", &world, &memory);
    }
}

#[test]
fn an_edit_under_the_old_size_and_time_is_sent() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.edit_secretly("a.txt", "ONE");
    world.scan();
    assert_eq!(finish("edited", &mirror).uploaded, 1);
    assert_mirrored("edited", &world, &memory);

    // Two scans before the next run: the object has the old content, whatever size and time say.
    memory.clear_calls();
    world.tree.edit_secretly("a.txt", "eno");
    world.scan();
    world.tree.rename("a.txt", "moved.txt");
    world.scan();
    finish("edited, then moved", &mirror);
    assert_mirrored("edited, then moved", &world, &memory);
}

#[test]
fn a_file_that_was_only_touched_is_not_sent_where_hashes_are_kept() {
    let clock = tomorrow();
    let kept = RootOptions::default().content_hash(ContentHash::Changed);
    let world = Setup::new(Walker::Auto).clock(&clock).root(kept).build(library);
    world.scan();
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    finish("the first run", &mirror);
    memory.clear_calls();

    let touched = world.tree.mtime("a.txt") + 1_000_000_000;
    world.tree.set_mtime("a.txt", touched).replace("d/e/c.bin", vec![7; 70_000]);
    world.scan();
    finish("touched", &mirror);
    memory.assert_quiet("touched");

    world.tree.edit_secretly("a.txt", "ONE").rename("d/b.jpg", "d/c.jpg");
    world.scan();
    finish("edited and moved", &mirror);
    assert_eq!(memory.puts(), ["a.txt"]);
    assert_eq!(memory.copies(), ["d/b.jpg -> d/c.jpg"]);
    assert_mirrored("edited and moved", &world, &memory);
}

#[test]
fn a_file_is_sent_once_it_has_been_still() {
    let world = World::new(Walker::Auto, |t| {
        t.file("a", "1");
    });
    world.scan();
    let memory = Memory::new();
    let mirror = open(&world, &options().settle_ms(300), &memory);
    // Written just now: the run waits for it.
    world.tree.file("b", "2");
    world.scan();
    finish("waited for", &mirror);
    assert_mirrored("waited for", &world, &memory);

    let mirror = open(&world, &options().settle_ms(3_600_000), &memory);
    world.tree.file("c", "3");
    world.scan();
    let plan = mirror.plan().unwrap();
    // The others may have been too fresh to be trusted when they were scanned: these are not still either.
    assert!(plan.uploads == 0 && plan.unsettled >= 1, "{plan:?}");
    // Nobody waits for an hour with the turn taken.
    let report = within("a run that waits for nothing", move || run(&mirror));
    assert!(report.uploaded == 0 && report.unsettled >= 1, "{report:?}");
}

// ---------------------------------------------------------------------------------- files that do not hold still

#[test]
fn a_file_that_cannot_be_read_holds_up_nobody() {
    if is_root() {
        skip("a_file_that_cannot_be_read_holds_up_nobody", "permissions do not count for root");
        return;
    }
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    world.tree.chmod("d/b.jpg", 0o000);
    world.scan();
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed), (3, 1), "{report:?}");
    assert_eq!((report.errors[0].path.as_slice(), report.errors[0].permanent), (&b"root/d/b.jpg"[..], false));
    assert!(mirror.urls().url("root/d/b.jpg").is_none());
    world.tree.chmod("d/b.jpg", 0o644);
    catch_up("readable again", &world, &memory, &mirror);
}

#[test]
fn a_storage_that_cannot_read_a_file_is_asked_again_the_next_time() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    memory.script(|call| (*call == Call::Put("a.txt".to_owned())).then(|| failure(StorageFault::Source)));
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed, report.is_complete()), (3, 1, false), "{report:?}");
    assert_eq!((report.errors[0].path.as_slice(), report.errors[0].permanent), (&b"root/a.txt"[..], false));
    assert_eq!((mirror.status().unsure, mirror.status().pending), (1, Some(1)));
    memory.clear_script();
    memory.clear_calls();
    finish("readable again", &mirror);
    assert_eq!(memory.puts(), ["a.txt"], "the others are there");
    assert_mirrored("readable again", &world, &memory);
}

#[test]
fn a_file_that_went_or_became_something_else_comes_with_the_next_scan() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    world.tree.remove("a.txt").remove("empty").fifo("empty").append("d/b.jpg", "grown");
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.changed, report.failed), (1, 3, 0), "{report:?}");
    assert!(!report.is_complete());
    assert_eq!(memory.puts(), ["d/e/c.bin"]);
    assert_eq!(listed(&mirror).len(), 1);
    catch_up("the next scan", &world, &memory, &mirror);
    assert_eq!(mirror.status().unsure, 0);

    // Its directory becomes a link that leads elsewhere: nothing outside is ever read.
    let outside = Tree::new();
    outside.file("b.jpg", "grown").file("new", "secret");
    world.tree.file("d/new", "mine");
    world.scan();
    world.tree.rename("d", "aside").symlink(bytes_of(outside.path()), "d");
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.changed), (0, 1), "{report:?}");
    catch_up("behind a link", &world, &memory, &mirror);
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_not_acknowledged() {
    for rewritten in [vec![8_u8; 70_001], vec![8; 10], vec![]] {
        for had_object in [false, true] {
            let what = format!("{} bytes, {had_object}", rewritten.len());
            let (world, _clock) = scanned(library);
            let memory = Memory::new();
            let mirror = open(&world, &options(), &memory);
            let mut before = BTreeMap::new();
            if had_object {
                finish("the first run", &mirror);
                world.tree.file("d/e/c.bin", vec![9; 60_000]);
                world.scan();
                before = memory.objects();
            }
            let (path, content) = (world.tree.join("d/e/c.bin"), rewritten.clone());
            memory.midway(move |key| {
                if key == "d/e/c.bin" {
                    let _ = fs::write(&path, &content);
                }
            });
            let report = run(&mirror);
            assert_eq!((report.changed, report.failed), (1, 0), "{what}: {report:?}");
            assert_eq!(memory.objects().get("d/e/c.bin"), before.get("d/e/c.bin"), "{what}");
            assert_eq!(mirror.urls().url("root/d/e/c.bin").is_some(), had_object, "{what}");
            assert_eq!(mirror.status().unsure, 1, "{what}");
            memory.clear_script();
            catch_up(&what, &world, &memory, &mirror);
        }
    }
}

#[test]
fn a_storage_that_panics_ends_its_call_and_hangs_nobody() {
    let (world, _clock, memory, mirror) = many(40, &options());
    memory.script(|call| {
        assert!(*call != Call::Put("d2/f007".to_owned()), "the test wants a panic");
        None
    });
    let its = mirror.clone();
    let result = within("a panic in a storage", move || its.sync(&MirrorContext::new()));
    match result {
        Ok(report) => assert!(!report.is_complete(), "{report:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Panic, "{error}"),
    }
    memory.clear_script();
    catch_up("after a panic", &world, &memory, &mirror);
}

// ---------------------------------------------------------------------------------- names

const ODD_NAMES: &[&str] = &[
    " ",
    " a b ",
    "#",
    "x#1",
    "x#y",
    "%",
    "%41",
    "A",
    "a+b",
    "a&b=c?d",
    "back\\slash",
    "quo\"te'`",
    "<b>&amp;",
    "\u{e9}",
    "e\u{301}",
    "\u{202e}txt.exe",
    "\u{1f600}/\u{85}",
    "...",
    "..a/.b",
    "~",
    "-rf",
    "d.d/x",
];

fn refused_names() -> Vec<Vec<u8>> {
    [
        &b"new\nline"[..],
        b"\xff\xfe",
        b"\x01",
        b"tab\there",
        b"del\x7f",
        b"bad\ndir/inside",
        b"half \xc3",
        "no\u{ffff}".as_bytes(),
        "no\u{fffe}".as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

fn odd(t: &Tree) {
    for name in ODD_NAMES {
        t.file(name, format!("content of {name}"));
    }
    t.file("n".repeat(255), "long");
    for name in refused_names() {
        t.file(name, "no key");
    }
}

#[test]
fn a_name_is_kept_to_the_byte_or_refused() {
    let (mut world, _clock) = scanned(odd);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    let report = finish("odd names", &mirror);
    assert_eq!(memory.objects().len(), ODD_NAMES.len() + 1);
    assert_mirrored("odd names", &world, &memory);

    let expected: BTreeSet<Vec<u8>> = refused_names().iter().map(address).collect();
    let found: BTreeSet<Vec<u8>> = report.errors.iter().map(|error| error.path.clone()).collect();
    assert_eq!(found, expected);
    assert_eq!((report.refused, report.failed), (expected.len() as u64, 0));
    for error in &report.errors {
        assert!(error.permanent && error.key.is_none(), "{error:?}");
        assert!(!error.message.chars().any(char::is_control), "{error:?}");
    }
    let plan = mirror.plan().unwrap();
    assert!(plan.uploads + plan.copies + plan.deletes == 0, "{plan:?}");

    // Each has an address of its own, which leads back.
    let urls = mirror.urls();
    let mut seen = BTreeSet::new();
    for (path, url) in urls.iter() {
        assert!(url.is_ascii() && url.starts_with(PUBLIC), "{url}");
        assert_eq!(urls.url(&path).as_deref(), Some(url.as_str()));
        assert_eq!(urls.path(&url).as_deref(), Some(path.as_slice()), "{url}");
        assert!(seen.insert(url), "two files share an address");
    }
    assert_eq!((seen.len(), urls.len()), (ODD_NAMES.len() + 1, ODD_NAMES.len() + 1));
    assert_eq!(urls.url("root/a+b").as_deref(), Some("https://cdn.example/base/a%2Bb"));
    assert_eq!(urls.url("root/%41").as_deref(), Some("https://cdn.example/base/%2541"));
    for nobody in ["", PUBLIC, "https://cdn.example/base/", "https://cdn.example/base/nobody", "https://x/A"]
    {
        assert_eq!(urls.path(nobody), None, "{nobody}");
    }
    drop(mirror);

    memory.clear_calls();
    world.reopen();
    let report = finish("opened again", &open(&world, &options(), &memory));
    assert_eq!(report.refused, expected.len() as u64, "they are told again");
    memory.assert_quiet("opened again");
}

#[test]
fn a_prefix_and_an_address_choose_where_to_and_what() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let wanted = MirrorOptions::new("root/d/").prefix("img/a b/").uploads_max(2);
    let mirror = open(&world, &wanted, &memory);
    finish("a part", &mirror);
    assert_equal("a part", &naive(&world.tree.join("d"), "img/a b"), &memory.objects());
    let urls = mirror.urls();
    let url = urls.url("root/d/b.jpg").unwrap();
    assert_eq!(url, format!("{PUBLIC}/img/a%20b/b.jpg"));
    assert_eq!(urls.path(&url).as_deref(), Some(&b"root/d/b.jpg"[..]));
    assert_eq!((urls.url("root/a.txt"), urls.url("root/d"), urls.url("other/d/b.jpg")), (None, None, None));

    world.tree.rename("d/b.jpg", "b.jpg").file("d/n", "n");
    world.scan();
    finish("moved out", &mirror);
    assert_equal("moved out", &naive(&world.tree.join("d"), "img/a b"), &memory.objects());
}

#[test]
fn patterns_choose_the_files_and_other_patterns_change_the_copy() {
    let (world, _clock) = scanned(|t| {
        for name in ["x.jpg", "p/q/y.jpg", "z.png", "docs/a", "docs/b/c", "deep/docs/a", "y.JPG"] {
            t.file(name, name);
        }
    });
    let memory = Memory::new();
    let there = || memory.objects().into_keys().collect::<Vec<_>>();
    let mirror = open(&world, &options().glob("**/*.jpg").glob("docs/*"), &memory);
    finish("patterns", &mirror);
    assert_eq!(there(), ["docs/a", "p/q/y.jpg", "x.jpg"]);

    memory.clear_calls();
    let mirror = open(&world, &options().glob("**/*.{jpg,png}"), &memory);
    finish("other patterns", &mirror);
    assert_eq!(there(), ["p/q/y.jpg", "x.jpg", "z.png"]);
    assert_eq!((memory.puts(), memory.deletes()), (vec!["z.png".to_owned()], vec!["docs/a".to_owned()]));
    world.tree.rename("x.jpg", "x.gif");
    world.scan();
    finish("moved out of the pattern", &mirror);
    assert_eq!(there(), ["p/q/y.jpg", "z.png"]);
}

#[test]
fn content_types_and_cache_rules_reach_the_storage() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let wanted = options().cache_control("public, max-age=60").content_type("BIN", "application/x-thing");
    finish("attributes", &open(&world, &wanted, &memory));
    for (key, content_type) in [
        ("a.txt", "text/plain"),
        ("d/b.jpg", "image/jpeg"),
        ("d/e/c.bin", "application/x-thing"),
        ("empty", "application/octet-stream"),
    ] {
        let kept = memory.kept(key);
        assert_eq!(kept.content_type, content_type, "{key}");
        assert_eq!(kept.cache_control.as_deref(), Some("public, max-age=60"), "{key}");
    }
}

// ---------------------------------------------------------------------------------- deletions

#[test]
fn many_deletions_wait_until_they_are_meant() {
    let (world, _clock, memory, mirror) = many(20, &options().delete_max(3));
    finish("the first run", &mirror);
    world.tree.remove("d0").file("new", "n");
    world.scan();
    for _ in 0..2 {
        let plan = mirror.plan().unwrap();
        assert_eq!((plan.deletes, plan.held), (4, true), "{plan:?}");
        let report = run(&mirror);
        assert_eq!((report.held, report.deleted, report.is_complete()), (4, 0, false), "{report:?}");
        assert!(memory.deletes().is_empty());
        assert_eq!(memory.objects().len(), 21, "and what is new was sent");
        assert_eq!(mirror.status().held, 4);
        assert_eq!(listed(&mirror).len(), 21);
    }
    let report = mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap();
    assert_eq!((report.held, report.deleted, report.is_complete()), (0, 4, true), "{report:?}");
    assert_mirrored("accepted", &world, &memory);

    let mirror = open(&world, &options().delete_max(0), &memory);
    world.tree.remove("new");
    world.scan();
    assert_eq!(run(&mirror).held, 1, "none at all");
}

#[test]
fn a_large_share_waits_until_it_is_meant() {
    let (world, _clock, memory, mirror) = many(150, &options());
    finish("the first run", &mirror);
    for n in 0..4 {
        world.tree.remove(format!("d{n}"));
    }
    // The root itself is held: nothing is known to be gone.
    assert!(world.scan().held.is_some());
    world.tree.remove("d4/f004").file("d4/new", "n");
    memory.clear_calls();
    let report = mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap();
    assert_eq!(report.deleted, 0, "{report:?}");
    assert!(memory.deletes().is_empty());

    world.scan_as(ScanOptions::accept_missing);
    let report = run(&mirror);
    assert_eq!((report.held, report.deleted), (121, 0), "{report:?}");
    assert!(memory.deletes().is_empty());
    let report = mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap();
    assert_eq!((report.held, report.deleted), (0, 121), "{report:?}");
    assert_mirrored("accepted", &world, &memory);
}

#[test]
fn a_tree_that_goes_away_in_pieces_waits_as_one_that_goes_at_once() {
    let (mut world, clock, memory, mirror) = many(300, &options());
    finish("the first run", &mirror);
    world.tree.remove("d0").remove("d1");
    world.scan();
    assert_eq!(finish("two fifths", &mirror).deleted, 120);
    world.tree.remove("d2");
    world.scan();
    let report = run(&mirror);
    assert_eq!((report.held, report.deleted), (60, 0), "three fifths within an hour: {report:?}");
    assert!(mirror.plan().unwrap().held);

    // What comes in the place of what went is no loss.
    for n in 0..60 {
        world.tree.file(format!("new/{n}"), "n");
    }
    world.scan();
    clock.advance_ms(2_000);
    assert_eq!(finish("as many as before", &mirror).deleted, 60);
    assert_mirrored("as many as before", &world, &memory);

    world.tree.remove("new");
    world.scan();
    assert_eq!(run(&mirror).held, 60);
    clock.advance_ms(3_700_000);
    assert_eq!(finish("an hour later", &mirror).deleted, 60, "a third of what was there an hour ago");

    // What was meant does not count against what comes after.
    world.tree.remove("d3").file("x", "x");
    world.scan_as(ScanOptions::accept_missing);
    assert_eq!(run(&mirror).held, 60, "two thirds");
    assert_eq!(mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap().deleted, 60);
    world.tree.remove("d4/f014");
    world.scan_as(ScanOptions::accept_missing);
    assert_eq!(finish("one more", &mirror).deleted, 1);
    drop(mirror);
    world.reopen();
    let mirror = open(&world, &options(), &memory);
    world.tree.remove("d4/f019");
    world.scan_as(ScanOptions::accept_missing);
    assert_eq!(finish("the hour begins anew", &mirror).deleted, 1);
    assert_mirrored("in the end", &world, &memory);
}

#[test]
fn deletions_go_in_batches_of_the_storage() {
    let memory = Memory::with_delete_max(3);
    let (world, _clock) = scanned(|t| {
        for n in 0..10 {
            t.file(format!("f{n}"), "x");
        }
        t.file("stays", "x");
    });
    let mirror = open(&world, &options(), &memory);
    finish("the first run", &mirror);
    for n in 0..10 {
        world.tree.remove(format!("f{n}"));
    }
    world.scan();
    memory.clear_calls();
    assert_eq!(finish("batches", &mirror).deleted, 10);
    let sizes: Vec<usize> = memory
        .calls()
        .iter()
        .map(|call| if let Call::Delete(keys) = call { keys.len() } else { 0 })
        .collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    assert_mirrored("batches", &world, &memory);
}

#[test]
fn a_root_that_cannot_be_trusted_deletes_nothing() {
    let (world, _clock, memory, mirror) = mirrored();
    let dir = world.tree.path().to_path_buf();
    let aside = dir.with_extension("aside");
    let kept = memory.objects();
    let nothing = |what: &str| {
        refused(what, mirror.sync(&MirrorContext::new().accept_deletes(true)), AWAY);
        memory.assert_quiet(what);
        assert_equal(what, &kept, &memory.objects());
        assert_eq!(listed(&mirror).len(), kept.len(), "{what}");
    };

    fs::rename(&dir, &aside).unwrap();
    nothing("away, and nobody has looked yet");
    refused("a plan of a root that is away", mirror.plan(), AWAY);
    world.scan();
    nothing("away");
    assert!(mirror.status().last_error.is_some());
    fs::create_dir(&dir).unwrap();
    nothing("another directory, and nobody has looked yet");
    world.scan();
    nothing("another directory");
    fs::remove_dir(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    world.scan();
    finish("back", &mirror);
    memory.assert_quiet("back");

    // The same directory, without anything in it.
    let packed = Tree::new();
    for name in ["a.txt", "d", "empty", "hollow", "link"] {
        world.tree.move_to(name, &packed, name);
    }
    let before_the_scan = mirror.sync(&MirrorContext::new().accept_deletes(true));
    assert!(before_the_scan.is_ok_and(|report| report.deleted == 0));
    world.scan();
    let roots = world.warden().roots();
    let is_kept = matches!(roots[0].state, RootState::Unavailable { .. } | RootState::Held { .. });
    assert!(is_kept, "{:?}", roots[0].state);
    if let Ok(report) = mirror.sync(&MirrorContext::new().accept_deletes(true)) {
        assert_eq!(report.deleted, 0, "{report:?}");
    }
    memory.assert_quiet("emptied");
    for name in ["a.txt", "d", "empty", "hollow", "link"] {
        packed.move_to(name, &world.tree, name);
    }
    catch_up("filled again", &world, &memory, &mirror);

    world.warden().remove_root(ROOT).unwrap();
    memory.clear_calls();
    refused("without a root", mirror.sync(&MirrorContext::new().accept_deletes(true)), GONE);
    refused("a plan without a root", mirror.plan(), GONE);
    memory.assert_quiet("without a root");
    assert_equal("without a root", &kept, &memory.objects());
}

#[test]
fn a_file_that_comes_back_before_its_deletion_is_not_deleted() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.remove("a.txt").file("new", "n");
    world.scan();
    // Between the plan and the deletions: while something else is sent.
    let (warden, path) = (world.warden().clone(), world.tree.join("a.txt"));
    memory.midway(move |_| {
        let _ = fs::write(&path, "back");
        let _ = warden.scan(ROOT);
    });
    let report = run(&mirror);
    memory.clear_script();
    assert_eq!(report.deleted, 0, "{report:?}");
    assert!(!memory.calls().iter().any(|call| matches!(call, Call::Delete(_))), "{:?}", memory.calls());
    assert_eq!(memory.kept("a.txt").content, b"one", "the old object stays meanwhile");
    catch_up("back", &world, &memory, &mirror);
    assert_eq!(memory.kept("a.txt").content, b"back");
}

#[test]
fn a_file_that_comes_back_under_another_name_keeps_its_object() {
    let (world, _clock, memory, mirror) = mirrored();
    let aside = Tree::new();
    world.tree.move_to("a.txt", &aside, "a.txt");
    world.tree.file("new", "n");
    world.scan();
    // Between the plan and the deletions: while something else is sent.
    let (warden, from, to) = (world.warden().clone(), aside.join("a.txt"), world.tree.join("d/z.txt"));
    memory.midway(move |_| {
        let _ = fs::rename(&from, &to);
        let _ = warden.scan(ROOT);
    });
    let report = run(&mirror);
    memory.clear_script();
    assert_eq!((report.uploaded, report.deleted), (1, 0), "{report:?}");
    assert_eq!(memory.kept("a.txt").content, b"one", "the only copy, until the next run");
    catch_up("under another name", &world, &memory, &mirror);
}

// ---------------------------------------------------------------------------------- refusals of a storage

#[test]
fn a_refusal_of_the_credentials_ends_the_run_and_the_next_goes_on() {
    for fault in [StorageFault::Denied, StorageFault::Misconfigured] {
        let (world, _clock, memory, mirror) = many(120, &options());
        let (asked, its) = (AtomicUsize::new(0), fault.clone());
        memory.script(move |call| match call {
            Call::Put(_) if asked.fetch_add(1, Ordering::SeqCst) >= 30 => Some(failure(its.clone())),
            _ => None,
        });
        let kind =
            if fault == StorageFault::Denied { ErrorKind::PermissionDenied } else { ErrorKind::NotFound };
        let error = refused("refused", mirror.sync(&MirrorContext::new()), &[kind]);
        assert!(error.hint().is_some(), "{error}");
        // A success that is told late begins the count of refusals anew.
        assert!(memory.puts().len() <= 30 + 30, "asked {} times", memory.puts().len());
        let sent: BTreeSet<String> = memory.objects().into_keys().collect();
        assert_eq!((sent.len(), listed(&mirror)), (30, sent));
        let status = mirror.status();
        assert_eq!((status.objects, status.counters.runs_failed), (30, 1), "{status:?}");
        assert!(status.last_error.is_some());

        // As with other credentials: another storage over the same objects.
        let other = memory.again();
        let again = open(&world, &options(), &other);
        assert_eq!(finish("other credentials", &again).uploaded, 90);
        assert_eq!(other.puts().len(), 90, "nothing is sent again");
        assert_mirrored("other credentials", &world, &other);
        refused("the old handle", mirror.sync(&MirrorContext::new()), &[ErrorKind::Closed]);
    }
}

#[test]
fn a_refused_deletion_ends_the_run_too() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.remove("a.txt");
    world.scan();
    memory.script(|call| matches!(call, Call::Delete(_)).then(|| failure(StorageFault::Denied)));
    refused("deletion", mirror.sync(&MirrorContext::new()), &[ErrorKind::PermissionDenied]);
    assert_eq!(memory.calls().len(), 1, "{:?}", memory.calls());
    memory.clear_script();
    finish("allowed", &mirror);
    assert_mirrored("allowed", &world, &memory);
}

#[test]
fn a_storage_that_asks_to_slow_down_gets_everything_in_the_end() {
    let (world, _clock, memory, mirror) = many(40, &options());
    let asked = AtomicUsize::new(0);
    let pause = Some(Duration::from_millis(20));
    memory.script(move |call| match call {
        Call::Put(_) if asked.fetch_add(1, Ordering::SeqCst) < 8 => {
            Some(failure(StorageFault::Throttled(pause)))
        }
        _ => None,
    });
    let report = finish("slowed down", &mirror);
    assert_eq!((report.uploaded, report.retries), (40, 8), "{report:?}");
    assert_eq!(memory.puts().len(), 48);
    assert_mirrored("slowed down", &world, &memory);

    // One that never stops asking is not asked for ever.
    let (_world, _clock, memory, mirror) =
        many(8, &options().retry(1, Duration::from_millis(1), Duration::from_millis(1)));
    memory.script(|_| Some(failure(StorageFault::Throttled(Some(Duration::from_millis(1))))));
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed), (0, 8), "{report:?}");
    assert!(memory.puts().len() <= 8 * 4, "{} requests", memory.puts().len());
}

#[test]
fn what_may_work_the_next_time_is_tried_so_often_and_no_more() {
    let (world, _clock, memory, mirror) = many(10, &options());
    memory
        .script(|call| (*call == Call::Put("d1/f006".to_owned())).then(|| failure(StorageFault::Transient)));
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed, report.retries), (9, 1, 2), "{report:?}");
    assert_eq!(memory.puts().iter().filter(|key| *key == "d1/f006").count(), 3);
    assert_eq!(report.errors[0].key.as_deref(), Some("d1/f006"));

    memory.script(|call| (*call == Call::Put("d1/f006".to_owned())).then(|| failure(StorageFault::Rejected)));
    let report = run(&mirror);
    assert_eq!((report.failed, report.refused, report.is_complete()), (0, 1, true), "{report:?}");
    assert!(report.errors[0].permanent && report.errors[0].key.as_deref() == Some("d1/f006"), "{report:?}");
    memory.clear_script();
    world.tree.append("d1/f006", "!");
    catch_up("taken", &world, &memory, &mirror);

    // Deletions as well.
    memory.script(|call| matches!(call, Call::Delete(_)).then(|| failure(StorageFault::Transient)));
    world.tree.remove("d1/f006").file("new", "n");
    world.scan();
    memory.clear_calls();
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.deleted, report.failed), (1, 0, 1), "{report:?}");
    assert_eq!(memory.deletes().len(), 3);
    memory.clear_script();
    finish("deleted", &mirror);
    assert_mirrored("deleted", &world, &memory);
}

#[test]
fn a_cancelled_run_keeps_what_was_acknowledged() {
    let (world, _clock, memory, mirror) = many(100, &options());
    let token = CancelToken::new();
    let (asked, its) = (AtomicUsize::new(0), token.clone());
    memory.midway(move |_| {
        if asked.fetch_add(1, Ordering::SeqCst) == 10 {
            its.cancel();
        }
    });
    refused("cancelled", mirror.sync(&MirrorContext::new().cancel(token)), &[ErrorKind::Cancelled]);
    memory.clear_script();
    let sent: BTreeSet<String> = memory.objects().into_keys().collect();
    assert!(memory.puts().len() <= 11 + 4, "it went on: {} puts", memory.puts().len());
    assert_eq!(listed(&mirror), sent);
    memory.clear_calls();
    finish("goes on", &mirror);
    assert_eq!(memory.puts().len(), 100 - sent.len());
    assert_mirrored("goes on", &world, &memory);

    let token = CancelToken::new();
    token.cancel();
    world.tree.append("d0/f000", "!");
    world.scan();
    memory.clear_calls();
    refused("before it began", mirror.sync(&MirrorContext::new().cancel(token)), &[ErrorKind::Cancelled]);
    memory.assert_quiet("before it began");
}

#[test]
fn what_was_stored_when_a_run_was_cancelled_is_not_sent_again() {
    // More than are announced at once: the run ends between two such batches, whatever is on its way.
    let (world, _clock, memory, mirror) = many(600, &options());
    let token = CancelToken::new();
    let (asked, its) = (AtomicUsize::new(0), token.clone());
    memory.midway(move |_| {
        if asked.fetch_add(1, Ordering::SeqCst) == 505 {
            its.cancel();
        }
    });
    refused("cancelled", mirror.sync(&MirrorContext::new().cancel(token)), &[ErrorKind::Cancelled]);
    memory.clear_script();
    let sent: BTreeSet<String> = memory.objects().into_keys().collect();
    assert_eq!(listed(&mirror), sent);
    memory.clear_calls();
    finish("goes on", &mirror);
    assert_eq!(memory.puts().len(), 600 - sent.len());
    assert_mirrored("goes on", &world, &memory);
}

#[test]
fn runs_of_one_mirror_come_one_after_another() {
    let (world, _clock, memory, mirror) = many(30, &options().uploads_max(1));
    let waits = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&waits);
    memory.midway(move |_| {
        // The first is under way until the second is about to begin.
        while !its.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&mirror));
        wait_until("the first has begun", || !memory.calls().is_empty());
        assert!(mirror.status().running);
        let second = scope.spawn(|| {
            waits.store(true, Ordering::SeqCst);
            run(&mirror)
        });
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert_eq!((first.uploaded, second.uploaded), (30, 0));
    });
    assert_eq!((memory.busiest(), memory.puts().len()), (1, 30));
    assert_mirrored("one after another", &world, &memory);
}

#[test]
fn files_are_sent_side_by_side_up_to_the_limit() {
    let (_world, _clock, memory, mirror) = many(60, &options().uploads_max(3));
    let met = Arc::new(AtomicUsize::new(0));
    memory.midway(move |_| {
        // Three are needed before any goes on, once.
        met.fetch_add(1, Ordering::SeqCst);
        while met.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
    });
    within("three at a time", move || finish("three at a time", &mirror));
    assert_eq!(memory.busiest(), 3);
}

#[test]
fn progress_is_told_up_to_the_end() {
    let (_world, _clock, _memory, mirror) = many(30, &options());
    let told = Arc::new(Mutex::new(Vec::new()));
    let its = Arc::clone(&told);
    let context = MirrorContext::new().progress(move |progress| its.lock().unwrap().push(progress.clone()));
    let report = mirror.sync(&context).unwrap();
    let told = told.lock().unwrap();
    let last = told.last().expect("nothing was told");
    assert_eq!(
        (last.done, last.total, last.bytes, last.bytes_total),
        (30, 30, report.uploaded_bytes, report.uploaded_bytes)
    );
    assert!(told.is_sorted_by_key(|progress| progress.done));
}

// ---------------------------------------------------------------------------------- plans

#[test]
fn a_plan_says_what_the_run_then_does_and_asks_for_nothing() {
    let (world, _clock, memory, mirror) = mirrored();
    world
        .tree
        .append("a.txt", "more")
        .file("new", "12345")
        .rename("d", "dir")
        .remove("empty")
        .file("no\nkey", "");
    world.scan();
    let plan = mirror.plan().unwrap();
    memory.assert_quiet("a plan");
    assert_eq!(mirror.plan().unwrap(), plan, "and changes nothing");
    assert_eq!(plan.seq, world.snapshot().seq());
    assert_eq!((plan.uploads, plan.upload_bytes, plan.copies, plan.deletes), (2, 7 + 5, 2, 3), "{plan:?}");
    assert_eq!((plan.held, plan.unsettled, plan.refused_total), (false, 0, 1), "{plan:?}");
    let lines: Vec<String> = plan
        .steps
        .iter()
        .map(|step| match step {
            MirrorStep::Upload { path, key, bytes } => format!("upload {} {key} {bytes}", show(path)),
            MirrorStep::Copy { from, to } => format!("copy {from} {to}"),
            MirrorStep::Delete { key } => format!("delete {key}"),
            other => panic!("{other:?}"),
        })
        .collect();
    let mut expected = vec![
        "upload root/a.txt a.txt 7",
        "upload root/new new 5",
        "copy d/b.jpg dir/b.jpg",
        "copy d/e/c.bin dir/e/c.bin",
        "delete d/b.jpg",
        "delete d/e/c.bin",
        "delete empty",
    ];
    assert!(
        lines.is_sorted_by_key(|line| ["upload", "copy", "delete"].iter().position(|w| line.starts_with(w)))
    );
    let mut sorted = lines.clone();
    sorted.sort();
    expected.sort_unstable();
    assert_eq!(sorted, expected);

    let report = finish("as planned", &mirror);
    assert_eq!((report.uploaded, report.uploaded_bytes), (plan.uploads, plan.upload_bytes), "{report:?}");
    assert_eq!((report.copied, report.deleted, report.refused), (plan.copies, plan.deletes, 1), "{report:?}");
    assert_eq!((memory.puts().len(), memory.copies().len(), memory.deletes().len()), (2, 2, 3));
    let plan = mirror.plan().unwrap();
    assert!(plan.steps.is_empty() && plan.uploads + plan.copies + plan.deletes == 0, "{plan:?}");
}

// ---------------------------------------------------------------------------------- addresses

#[test]
fn an_address_is_listed_once_the_object_is_there_and_gone_before_it_is_deleted() {
    let (world, _clock, memory, mirror) = mirrored();
    world.tree.append("a.txt", "more").file("new", "n").remove("empty");
    world.scan();
    let before = mirror.urls();
    // What the map says while the storage is at it.
    let said = Arc::new(Mutex::new(BTreeMap::new()));
    let (its, map) = (Arc::clone(&said), mirror.clone());
    memory.script(move |call| {
        let keys = match call {
            Call::Put(key) => vec![key.clone()],
            Call::Delete(keys) => keys.clone(),
            _ => Vec::new(),
        };
        for key in keys {
            let listed = map.urls().url(address(&key)).is_some();
            its.lock().unwrap().insert(key, listed);
        }
        None
    });
    finish("a run", &mirror);
    memory.clear_script();
    let said: Vec<(String, bool)> = said.lock().unwrap().clone().into_iter().collect();
    let expected = [("a.txt", true), ("empty", false), ("new", false)];
    assert_eq!(said, expected.map(|(key, listed)| (key.to_owned(), listed)));

    let after = mirror.urls();
    let url = |key: &str| format!("{PUBLIC}/{key}");
    let mut changes = after.diff(&before);
    changes.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(
        changes,
        [
            UrlChange::Added { path: address("new"), url: url("new") },
            UrlChange::Modified { path: address("a.txt"), url: url("a.txt") },
            UrlChange::Removed { path: address("empty"), url: url("empty") },
        ]
    );
    assert!(after.diff(&after).is_empty());
    assert!(before.url("root/empty").is_some() && before.url("root/new").is_none(), "a map never changes");
    assert_eq!((before.len(), after.len()), (4, 4));
    assert!(!after.is_empty());
}

#[test]
fn a_failed_run_tells_no_address() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    assert!(mirror.urls().is_empty());
    memory.script(|_| Some(failure(StorageFault::Transient)));
    assert_eq!(run(&mirror).failed, 4);
    assert!(mirror.urls().is_empty() && mirror.urls().iter().next().is_none());
    memory.clear_script();
    finish("works", &mirror);
    assert_eq!(mirror.urls().len(), 4);

    // Replacing it fails: readers have the old one.
    memory.script(|_| Some(failure(StorageFault::Transient)));
    world.tree.append("a.txt", "more");
    world.scan();
    let before = mirror.urls();
    assert_eq!(run(&mirror).failed, 1);
    assert!(mirror.urls().url("root/a.txt").is_some());
    assert!(mirror.urls().diff(&before).is_empty(), "{:?}", mirror.urls().diff(&before));
}

#[test]
fn files_in_place_have_addresses_and_nothing_is_sent() {
    let (mut world, _clock) = scanned(library);
    let target = Target::local("http://localhost:8080/files/");
    let local =
        |world: &World| world.warden().mirror_to("m", &options(), &target, &Credentials::none()).unwrap();
    let mirror = local(&world);
    finish("in place", &mirror);
    assert_eq!(listed(&mirror).into_iter().collect::<Vec<_>>(), ["a.txt", "d/b.jpg", "d/e/c.bin", "empty"]);
    assert_eq!(mirror.urls().url("root/d/b.jpg").as_deref(), Some("http://localhost:8080/files/d/b.jpg"));
    world.tree.rename("d", "dir").remove("empty").append("a.txt", "x");
    world.scan();
    let before = mirror.urls();
    finish("moved", &mirror);
    assert_eq!(listed(&mirror).into_iter().collect::<Vec<_>>(), ["a.txt", "dir/b.jpg", "dir/e/c.bin"]);
    assert_eq!(mirror.urls().diff(&before).len(), 2 + 2 + 1 + 1);
    assert_eq!(world.tree.mtime("a.txt"), world.entry("a.txt").mtime_ns, "the files are untouched");
    let urls: Vec<_> = mirror.urls().iter().collect();
    drop(mirror);
    world.reopen();
    assert_eq!(local(&world).urls().iter().collect::<Vec<_>>(), urls);
}

// ---------------------------------------------------------------------------------- audits

#[test]
fn an_audit_finds_what_others_did_and_mends_what_it_may() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options().prefix("p"), &memory);
    finish("the first run", &mirror);
    let clean = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(clean.is_clean(), "{clean:?}");
    assert_eq!((clean.listed, clean.matched), (4, 4));

    memory.take("p/a.txt");
    memory.plant("p/d/b.jpg", b"TWO");
    memory.plant("p/extra", b"?");
    memory.plant("p/no\nname", b"?");
    memory.plant("pq/of somebody else", b"?");
    memory.plant("q", b"?");
    world.tree.append("empty", "no more");
    world.scan();
    memory.script(|call| matches!(call, Call::Put(_)).then(|| failure(StorageFault::Source)));
    assert_eq!(run(&mirror).failed, 1);
    memory.clear_script();

    let report = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(!report.is_clean());
    let found: Vec<(&str, AuditKind)> =
        report.findings.iter().map(|f: &AuditFinding| (f.key.as_str(), f.kind)).collect();
    let expected = [
        ("p/a.txt", AuditKind::Lost),
        ("p/d/b.jpg", AuditKind::Different),
        ("p/empty", AuditKind::Unsure),
        ("p/extra", AuditKind::Unknown),
        ("p/no\nname", AuditKind::Unknown),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        (report.lost, report.different, report.unknown, report.unsure, report.matched),
        (1, 1, 2, 1, 1)
    );
    memory.clear_calls();
    finish("what failed before", &mirror);
    assert_eq!((memory.puts(), memory.deletes()), (vec!["p/empty".to_owned()], vec![]), "it only told");

    let again = mirror.audit(&AuditOptions::new().repair(true).delete_unknown(true)).unwrap();
    assert_eq!((again.lost, again.different, again.unknown, again.unsure), (1, 1, 2, 0), "{again:?}");
    assert_eq!(mirror.urls().url("root/a.txt"), None, "what is lost has no address");
    memory.clear_calls();
    finish("mended", &mirror);
    assert_eq!(memory.puts(), ["p/a.txt", "p/d/b.jpg"]);
    assert_eq!(memory.deletes(), ["p/extra"]);
    let mut expected = naive(world.tree.path(), "p");
    for stays in ["p/no\nname", "pq/of somebody else", "q"] {
        expected.insert(stays.to_owned(), b"?".to_vec());
    }
    assert_equal("mended", &expected, &memory.objects());
    let report = mirror.audit(&AuditOptions::new()).unwrap();
    assert_eq!((report.unknown, report.lost, report.different, report.unsure), (1, 0, 0, 0), "{report:?}");
}

#[test]
fn an_audit_begins_anew_when_its_listing_breaks_off_and_ends_when_it_is_cancelled() {
    let (_world, _clock, memory, mirror) = mirrored();
    memory.take("a.txt");
    let left = AtomicUsize::new(2);
    memory.script(move |_| {
        let again = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        again.is_ok().then(|| failure(StorageFault::Transient))
    });
    let report = mirror.audit(&AuditOptions::new()).unwrap();
    assert_eq!((report.listed, report.matched, report.lost), (3, 3, 1), "{report:?}");
    assert_eq!(memory.calls(), [Call::List, Call::List, Call::List]);

    memory.script(|_| Some(failure(StorageFault::Transient)));
    memory.clear_calls();
    refused("never", mirror.audit(&AuditOptions::new()), &[ErrorKind::Io]);
    assert_eq!(memory.calls().len(), 3, "as often as a request is tried");

    memory.clear_script();
    let (token, its) = (CancelToken::new(), CancelToken::new());
    let theirs = its.clone();
    memory.script(move |_| {
        theirs.cancel();
        None
    });
    let options = AuditOptions::new().repair(true).cancel(its);
    refused("cancelled", mirror.audit(&options), &[ErrorKind::Cancelled]);
    memory.clear_script();
    memory.clear_calls();
    token.cancel();
    refused("before it began", mirror.audit(&options.cancel(token)), &[ErrorKind::Cancelled]);
    finish("nothing is mended", &mirror);
    memory.assert_quiet("nothing is mended");
}

/// A storage in memory one of whose calls hangs until it is interrupted.
struct Hanging {
    memory: Arc<Memory>,
    at: &'static str,
    inside: AtomicBool,
    interrupts: AtomicUsize,
}

impl Hanging {
    fn hang(&self, at: &str) -> Result<(), StorageError> {
        if at != self.at {
            return Ok(());
        }
        let before = self.interrupts.load(Ordering::SeqCst);
        self.inside.store(true, Ordering::SeqCst);
        while self.interrupts.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
        Err(failure(StorageFault::Transient))
    }
}

impl Storage for Hanging {
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    fn describe(&self) -> String {
        self.memory.describe()
    }

    fn check_key(&self, key: &str) -> Result<(), StorageError> {
        self.memory.check_key(key)
    }

    fn put(&self, put: &Put<'_>) -> Result<Stored, StorageError> {
        self.hang("put")?;
        self.memory.put(put)
    }

    fn delete(&self, keys: &[&str]) -> Vec<Result<(), StorageError>> {
        match self.hang("delete") {
            Ok(()) => self.memory.delete(keys),
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn copy(&self, from: &str, to: &str) -> Result<Stored, StorageError> {
        self.hang("copy")?;
        self.memory.copy(from, to)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> Result<(), StorageError> {
        self.hang("list")?;
        self.memory.list(prefix, each)
    }

    fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_cancelled_call_ends_whatever_the_storage_is_at() {
    for at in ["put", "copy", "delete", "list"] {
        let (world, _clock, memory, mirror) = mirrored();
        drop(mirror);
        world.tree.append("a.txt", "more").rename("d/b.jpg", "c.jpg").remove("empty");
        world.scan();
        let hanging = Arc::new(Hanging {
            memory: Arc::clone(&memory),
            at,
            inside: AtomicBool::new(false),
            interrupts: AtomicUsize::new(0),
        });
        let mirror = world.warden().mirror_with("m", &options(), hanging.clone(), None).unwrap();
        let token = CancelToken::new();
        let (its, theirs) = (token.clone(), mirror.clone());
        let thread = std::thread::spawn(move || match at {
            "list" => theirs.audit(&AuditOptions::new().cancel(its)).map(drop),
            _ => theirs.sync(&MirrorContext::new().cancel(its)).map(drop),
        });
        wait_until("it hangs", || hanging.inside.load(Ordering::SeqCst));
        token.cancel();
        let ended = support::live::joined(at, thread).map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::Cancelled), "{at}");
        drop(mirror);
        let mirror = open(&world, &options(), &memory);
        finish(at, &mirror);
        assert_mirrored(at, &world, &memory);
    }
}

// ---------------------------------------------------------------------------------- following

#[test]
fn a_mirror_that_follows_sends_changes_by_itself() {
    let mut world = World::new(Walker::Auto, library);
    world.scan();
    let memory = Memory::new();
    let mirror = open(&world, &options().settle_ms(0), &memory);
    let root = RootWatch::new().debounce_ms(5).max_wait_ms(50);
    world.begin_to_watch(&WatchOptions::new().default_root(root));
    let following = mirror.follow().unwrap();
    assert!(mirror.status().following);
    refused("a second time", mirror.follow(), &[ErrorKind::Busy]);
    let arrives = |what: &str| {
        wait_until(what, || memory.objects() == naive(world.tree.path(), "") && mirror.status().unsure == 0);
    };
    arrives("what was there");
    world.tree.file("new/x", "x").append("a.txt", "more");
    arrives("new and changed");
    world.tree.rename("d", "dir").remove("empty");
    arrives("moved and deleted");

    // A storage that fails for a while is asked again, without a change.
    memory.script(|_| Some(failure(StorageFault::Transient)));
    memory.clear_calls();
    world.tree.file("late", "l");
    wait_until("it was tried", || !memory.calls().is_empty());
    memory.clear_script();
    arrives("after a failure");

    following.stop();
    assert!(!mirror.status().following);
    world.tree.file("after the end", "e");
    world.sync();
    assert!(!soon(|| memory.objects().contains_key("after the end")), "it was stopped");
    drop(mirror.follow().unwrap());
    let following = mirror.follow().unwrap();
    wait_until("once more", || memory.objects().contains_key("after the end"));

    // Closing ends the threads; nothing waits for the handles.
    within("closing while it follows", move || {
        world.close();
        refused("closed", mirror.sync(&MirrorContext::new()), &[ErrorKind::Closed]);
        drop(following);
        drop(mirror);
        drop(world);
    });
    wait_until("the threads have let go of the storage", || Arc::strong_count(&memory) == 1);
}

#[test]
fn what_follows_is_woken_by_an_audit_and_by_other_options() {
    let (world, _clock, memory, mirror) = mirrored();
    let following = mirror.follow().unwrap();
    wait_until("it has run", || mirror.status().counters.runs >= 2);
    memory.take("a.txt");
    assert_eq!(mirror.audit(&AuditOptions::new().repair(true)).unwrap().lost, 1);
    wait_until("mended", || memory.objects() == naive(world.tree.path(), ""));
    let _same = open(&world, &options().glob("*.txt"), &memory);
    wait_until("other patterns", || memory.objects().len() == 1);
    following.stop();
}

#[test]
fn a_storage_that_calls_its_own_mirror_is_told_that_it_is_busy() {
    let (world, _clock, memory, mirror) = many(20, &options());
    let (its, told) = (mirror.clone(), Arc::new(Mutex::new(BTreeSet::new())));
    let (kinds, warden) = (Arc::clone(&told), world.warden().clone());
    memory.script(move |call| {
        let ended = match call {
            Call::List => its.sync(&MirrorContext::new()).map(drop),
            Call::Put(key) if key.ends_with('1') => its.audit(&AuditOptions::new()).map(drop),
            Call::Put(key) if key.ends_with('2') => warden.remove_mirror("m"),
            _ => its.sync(&MirrorContext::new()).map(drop),
        };
        kinds.lock().unwrap().insert(ended.err().map(|error| error.kind().to_string()));
        None
    });
    within("calls of its own", move || {
        finish("a run", &mirror);
        assert!(mirror.audit(&AuditOptions::new()).unwrap().is_clean());
        drop(world);
    });
    let told: Vec<Option<String>> = told.lock().unwrap().iter().cloned().collect();
    assert_eq!(told, [Some(ErrorKind::Busy.to_string())]);
}

#[test]
fn closing_ends_a_run_that_is_under_way() {
    let (mut world, _clock, memory, mirror) = many(60, &options());
    let begun = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&begun);
    // A storage that is busy and asks to slow down for an hour.
    memory.script(move |_| {
        its.store(true, Ordering::SeqCst);
        Some(failure(StorageFault::Throttled(Some(Duration::from_secs(3_600)))))
    });
    let thread = std::thread::spawn(move || mirror.sync(&MirrorContext::new()).map_err(|e| e.kind()));
    wait_until("it has begun", || begun.load(Ordering::SeqCst));
    within("closing", move || world.close());
    let ended = support::live::joined("the run", thread);
    assert!(matches!(ended, Err(ErrorKind::Cancelled | ErrorKind::Closed)), "{ended:?}");
}

// ---------------------------------------------------------------------------------- opening

#[test]
fn a_mirror_goes_to_one_place_until_it_is_removed() {
    let (mut world, _clock, memory, mirror) = mirrored();
    let kept = memory.objects();
    drop(mirror);
    for _ in 0..2 {
        let warden = world.warden();
        let storage: Arc<dyn Storage> = memory.clone();
        let other = |options: &MirrorOptions| warden.mirror_with("m", options, Arc::clone(&storage), None);
        refused("another prefix", other(&options().prefix("p")), BAD);
        refused("another part of the tree", other(&MirrorOptions::new("root/d")), BAD);
        let elsewhere = Target::local("http://localhost/");
        refused("another place", warden.mirror_to("m", &options(), &elsewhere, &Credentials::none()), BAD);
        refused("a storage of the program", warden.mirror("m", &Credentials::none(), None), BAD);
        let all = warden.mirrors().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].name, "m");
        assert!(all[0].place.starts_with("memory of the tests"), "{}", all[0].place);
        assert_eq!((all[0].target.clone(), all[0].options.clone()), (None, options()));
        world.reopen();
    }
    let mirror = open(&world, &options().uploads_max(1), &memory);
    assert_eq!(mirror.options(), options().uploads_max(1));
    assert_eq!((mirror.name(), world.warden().mirror_status().len()), ("m", 1));
    finish("other limits", &mirror);
    memory.clear_calls();

    world.warden().remove_mirror("m").unwrap();
    refused("removed", mirror.sync(&MirrorContext::new()), &[ErrorKind::Closed]);
    refused("removed twice", world.warden().remove_mirror("m"), GONE);
    refused("no such mirror", world.warden().mirror("m", &Credentials::none(), None), GONE);
    assert!(world.warden().mirrors().unwrap().is_empty() && world.warden().mirror_status().is_empty());
    memory.assert_quiet("removing");
    assert_equal("its objects stay", &kept, &memory.objects());

    // A new one of that name knows nothing of the old one.
    let mirror = open(&world, &options(), &memory);
    assert!(mirror.urls().is_empty());
    assert_eq!(finish("anew", &mirror).uploaded, 4);
    drop(mirror);
    world.reopen();
    world.warden().check().unwrap();
}

#[test]
fn two_mirrors_of_one_root_know_nothing_of_each_other() {
    let (world, _clock) = scanned(library);
    let (here, there) = (Memory::new(), Memory::new());
    let first = open(&world, &options(), &here);
    let storage: Arc<dyn Storage> = there.clone();
    let second = world.warden().mirror_with("n", &options().glob("*.txt"), storage, None).unwrap();
    finish("first", &first);
    assert!(there.calls().is_empty() && second.urls().is_empty());
    finish("second", &second);
    assert_eq!((here.objects().len(), there.objects().len()), (4, 1));
    world.warden().remove_mirror("m").unwrap();
    world.tree.append("a.txt", "more");
    world.scan();
    finish("alone", &second);
    assert_eq!(
        (here.kept("a.txt").content, there.kept("a.txt").content),
        (b"one".to_vec(), b"onemore".to_vec())
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let (world, _clock) = scanned(library);
    let remote = Tree::new();
    let warden = world.warden();
    let none = Credentials::none;
    let good = || MirrorOptions::new(ROOT);
    let directory = Target::directory(remote.path());
    let ms = Duration::from_millis;
    for (what, bad) in [
        ("no root", MirrorOptions::new("")),
        ("dots", MirrorOptions::new("root/../x")),
        ("prefix", good().prefix("/a")),
        ("prefix with dots", good().prefix("a/./b")),
        ("prefix with a line", good().prefix("a\nb")),
        ("pattern", good().glob("[")),
        ("uploads", good().uploads_max(0)),
        ("too many uploads", good().uploads_max(1_001)),
        ("parts", good().part_bytes(1)),
        ("memory", good().memory_bytes(1)),
        ("bandwidth", good().bandwidth_bytes_per_s(0)),
        ("attempts", good().retry(0, ms(1), ms(1))),
        ("no wait", good().retry(1, ms(0), ms(1))),
        ("waits", good().retry(1, ms(2), ms(1))),
        ("share", good().delete_share_percent(101)),
        ("header", good().cache_control("a\r\nx: y")),
        ("content type", good().content_type("x", "\u{e9}")),
    ] {
        refused(what, warden.mirror_to("m", &bad, &directory, &none()), BAD);
    }
    for name in ["", ".", "a/b", "a\nb", &"n".repeat(256)] {
        refused("a name", warden.mirror_to(name, &good(), &directory, &none()), BAD);
    }
    let keys = || Credentials::keys("id", "hush-hush");
    for (what, target, credentials) in [
        ("no bucket", Target::s3(""), keys()),
        ("a bucket with a slash", Target::s3("a/b"), keys()),
        ("an endpoint that is none", Target::s3(BUCKET).endpoint("ftp://x"), keys()),
        ("an endpoint with a password", Target::s3(BUCKET).endpoint("http://id:hush-hush@x"), keys()),
        ("a public URL that is none", Target::s3(BUCKET).public_url("nothing"), keys()),
        ("no credentials", Target::s3(BUCKET), none()),
        ("no credentials", Target::gcs(BUCKET), none()),
        ("no credentials", Target::azure("account", "container"), none()),
        ("other credentials", Target::azure("account", "container"), keys()),
        ("an empty id", Target::s3(BUCKET), Credentials::keys("", "hush-hush")),
        ("a secret with a line", Target::s3(BUCKET), Credentials::keys("id", "hush-hush\n")),
        ("a directory that is not absolute", Target::directory("a"), none()),
        ("a directory with keys", directory.clone(), keys()),
        ("an address that is none", Target::local("nothing"), none()),
    ] {
        let error = refused(what, warden.mirror_to("m", &good(), &target, &credentials), BAD);
        assert!(!error.to_string().contains("hush"), "{what}: {error}");
    }
    refused("no such root", warden.mirror_to("m", &MirrorOptions::new("other"), &directory, &none()), GONE);
    let nowhere = Target::directory(remote.join("nowhere"));
    refused("no such directory", warden.mirror_to("m", &good(), &nowhere, &none()), GONE);
    assert!(warden.mirrors().unwrap().is_empty(), "nothing came into being");

    let fresh = World::new(Walker::Auto, library);
    let mirror = open(&fresh, &options(), &Memory::new());
    refused("a root that was never scanned", mirror.sync(&MirrorContext::new()), AWAY);
}

#[test]
fn no_secret_is_written_down_or_told() {
    let (mut world, _clock) = scanned(library);
    let secrets = ["AKIDHUSHHUSH0000", "hush/Hush+secret0000", "session-hush-0000"];
    let [id, secret, session] = secrets;
    let credentials = Credentials::keys(id, secret).session_token(session);
    let shown = format!("{credentials:?}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{shown}");
    }
    // Nobody listens there.
    let target = Target::s3(BUCKET).endpoint("http://127.0.0.1:9").public_url(PUBLIC);
    let limits = options().retry(1, Duration::from_millis(1), Duration::from_millis(1));
    let mirror = world.warden().mirror_to("m", &limits, &target, &credentials).unwrap();
    let told = match mirror.sync(&MirrorContext::new()) {
        Ok(report) => {
            assert_eq!((report.uploaded, report.failed), (0, 4), "{report:?}");
            format!("{report:?}")
        }
        Err(error) => format!("{error} {error:?}"),
    };
    let told = format!("{told} {:?} {:?} {:?}", mirror, mirror.status(), world.warden().mirrors());
    for secret in secrets {
        assert!(!told.contains(secret), "{told}");
    }
    drop(mirror);
    world.close();
    let file = world.state_bytes();
    let holds = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("127.0.0.1:9"), "the target is stored as it is");
    for secret in secrets {
        assert!(!holds(secret), "the state file holds a secret");
    }

    world.open();
    refused("without them", world.warden().mirror("m", &Credentials::none(), None), BAD);
    let mirror = world.warden().mirror("m", &credentials, None).unwrap();
    assert_eq!(mirror.options(), limits);
    assert_eq!(world.warden().mirrors().unwrap()[0].target.as_ref(), Some(&target));
}

// ---------------------------------------------------------------------------------- a directory as the target

#[test]
fn a_directory_holds_the_same_files() {
    let (mut world, _clock) = scanned(odd);
    let remote = Tree::new();
    let target = Target::directory(remote.path()).public_url(PUBLIC);
    let none = Credentials::none();
    let mirror = world.warden().mirror_to("m", &options().prefix("img"), &target, &none).unwrap();
    let report = finish("a directory", &mirror);
    // Two names cannot be written beside themselves first: they are told, and never renamed.
    let of_no_use = ["x#1".to_owned(), "n".repeat(255)];
    let expected = |world: &World| {
        let mut all = naive(world.tree.path(), "img");
        all.retain(|key, _| !of_no_use.iter().any(|name| *key == format!("img/{name}")));
        all
    };
    let told: BTreeSet<Vec<u8>> = report.errors.iter().map(|error| error.path.clone()).collect();
    let refused: BTreeSet<Vec<u8>> =
        refused_names().iter().map(address).chain(of_no_use.iter().map(address)).collect();
    assert_eq!(told, refused);
    assert_equal("a directory", &expected(&world), &naive(remote.path(), ""));
    assert_eq!(mirror.urls().len(), ODD_NAMES.len() + 1 - of_no_use.len());
    drop(mirror);

    world.reopen();
    let mirror = world.warden().mirror("m", &none, None).unwrap();
    let report = finish("opened again", &mirror);
    assert_eq!((report.uploaded, report.copied, report.deleted), (0, 0, 0));
    world.tree.append("A", "!").rename("a+b", "b+a").remove("~").file("n/e/w", "new");
    world.scan();
    finish("changed", &mirror);
    assert_equal("changed", &expected(&world), &naive(remote.path(), ""));
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert_eq!((audit.lost, audit.unknown, audit.unsure), (0, 0, 0), "{audit:?}");
}

#[test]
fn a_file_becomes_a_directory_there_and_the_other_way_round() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "file").file("b/c/d", "below").file("b/e", "below");
    });
    let remote = Tree::new();
    let target = Target::directory(remote.path());
    let mirror = world.warden().mirror_to("m", &options(), &target, &Credentials::none()).unwrap();
    finish("the first run", &mirror);
    for step in 0..2 {
        if step == 0 {
            world.tree.remove("a").file("a/x/y", "below").remove("b").file("b", "file");
        } else {
            world.tree.remove("a").file("a", "file").remove("b").file("b/c/d", "below");
        }
        world.scan();
        // The name is free after the deletions of the first run.
        let complete = (0..3).any(|_| run(&mirror).is_complete());
        assert!(complete, "step {step}: {:?}", mirror.status());
        assert_equal("other kinds", &naive(world.tree.path(), ""), &naive(remote.path(), ""));
    }
}

#[test]
fn files_that_are_in_the_way_of_each_other_change_places() {
    let (world, _clock) = scanned(|t| {
        t.file("x", "one").file("y/f", "two").file("stays", "three");
    });
    let remote = Tree::new();
    let target = Target::directory(remote.path());
    let mirror = world.warden().mirror_to("m", &options(), &target, &Credentials::none()).unwrap();
    finish("the first run", &mirror);
    for step in 0..2 {
        world.tree.swap("x", "y");
        world.scan();
        let complete = (0..3).any(|_| run(&mirror).is_complete());
        assert!(complete, "step {step}: {:?}", mirror.status());
        assert_equal("changed places", &naive(world.tree.path(), ""), &naive(remote.path(), ""));
    }
}

#[test]
fn a_directory_that_is_gone_loses_nothing() {
    let (world, _clock) = scanned(library);
    let remote = Tree::new();
    remote.dir("copy");
    let target = Target::directory(remote.join("copy"));
    let mirror = world.warden().mirror_to("m", &options(), &target, &Credentials::none()).unwrap();
    finish("the first run", &mirror);
    remote.rename("copy", "aside");
    finish("nothing changed", &mirror);
    world.tree.append("a.txt", "more").remove("empty");
    world.scan();
    let _ = mirror.sync(&MirrorContext::new());
    // Whatever it made of that: with the directory back, an audit and a run mend it.
    if remote.join("copy").exists() {
        remote.remove("copy");
    }
    remote.rename("aside", "copy");
    mirror.audit(&AuditOptions::new().repair(true)).unwrap();
    finish("back", &mirror);
    assert_equal("back", &naive(world.tree.path(), ""), &naive(&remote.join("copy"), ""));
}
