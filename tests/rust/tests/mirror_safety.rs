//! What a mirror must never delete or overwrite, and what it must not do again and again: targets that are roots,
//! roots that took the name of another one, two mirrors of one place, files and storages that never come right, and
//! a CDN that must hear of everything that went.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::live::{soon, tomorrow};
use support::mirror::{
    Call, Memory, Objects, PUBLIC, assert_equal, failure, finish, naive, open, options, run,
};
use support::work::scanned;
use support::{
    ROOT, Setup, Tree, World, address, bytes_of, is_root, now_ns, refused, skip, wait_until, within,
};
use treewarden::mirror::{
    AuditOptions, Credentials, Mirror, MirrorContext, MirrorReport, Purge, PurgeError, Storage, StorageFault,
    Target,
};
use treewarden::{Clock, Compare, ContentHash, ErrorKind, RateLimit, RootOptions, ScanOptions, Walker};

const BAD: &[ErrorKind] = &[ErrorKind::InvalidArgument];

fn library(t: &Tree) {
    t.file("a.txt", "one").file("d/b.jpg", "two").file("d/e/c.bin", vec![7; 70_000]).file("empty", "");
}

/// A scanned library, and its mirror, in step with each other.
fn mirrored() -> (World, Arc<Memory>, Mirror) {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    finish("the first run", &mirror);
    memory.clear_calls();
    (world, memory, mirror)
}

/// 150 small files in five directories, `d0` to `d4`, and their mirror, in step with each other.
fn many(memory: &Arc<Memory>) -> (World, Mirror) {
    let (world, _clock) = scanned(|t| {
        for n in 0..150 {
            t.file(format!("d{}/f{n:03}", n % 5), format!("content {n}"));
        }
    });
    let mirror = open(&world, &options(), memory);
    finish("the first run", &mirror);
    memory.clear_calls();
    (world, mirror)
}

/// Runs it once; whatever there is to delete is meant.
fn accept(mirror: &Mirror) -> MirrorReport {
    mirror.sync(&MirrorContext::new().accept_deletes(true)).unwrap_or_else(|e| panic!("sync: {e}"))
}

/// Closes and opens the warden, and opens the mirror as it was.
fn reopened(world: &mut World, mirror: Mirror, memory: &Arc<Memory>) -> Mirror {
    drop(mirror);
    world.reopen();
    open(world, &options(), memory)
}

fn assert_mirrored(what: &str, world: &World, memory: &Memory) {
    assert_equal(what, &naive(world.tree.path(), ""), &memory.objects());
}

/// How often a key was to be put.
fn puts_of(memory: &Memory, key: &str) -> usize {
    memory.puts().iter().filter(|put| *put == key).count()
}

/// Fails every put of one key.
fn fail_puts(memory: &Memory, key: &'static str, fault: StorageFault) {
    memory.script(move |call| (*call == Call::Put(key.to_owned())).then(|| failure(fault.clone())));
}

/// The time of the last change of the inode.
fn ctime(path: &Path) -> Option<(i64, i64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.ctime(), meta.ctime_nsec()))
}

/// Changes a file in nothing but its ctime, until that is another one than `before`: clocks of file systems tick.
fn move_ctime(path: &Path, before: Option<(i64, i64)>) {
    while before.is_some() && ctime(path) == before {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o640));
        std::thread::yield_now();
    }
}

// ---------------------------------------------------------------------------------- a directory as the target

/// A library, and a second root `other` at `x/root` of a tree that has links to it and around it. That root was
/// never scanned.
fn with_neighbour() -> (World, Tree) {
    let (world, _clock) = scanned(library);
    let place = Tree::new();
    place.file("x/root/in/a", "of the other root").dir("x/root2").dir("free");
    place.symlink("x/root", "link").symlink("../x/root", "free/back").symlink("..", "free/above");
    world.warden().add_root("other", place.join("x/root")).unwrap();
    (world, place)
}

/// Everything that must stay as it is when a target is refused.
fn untouched(world: &World, place: &Tree) -> (Objects, Objects, Vec<u8>, u64) {
    (naive(world.tree.path(), ""), naive(place.path(), ""), world.state_bytes(), world.warden().seq())
}

/// Opens the mirror `name` to a directory.
fn to_directory(
    world: &World,
    name: &str,
    dir: impl Into<PathBuf>,
    prefix: &str,
) -> treewarden::Result<Mirror> {
    let target = Target::directory(dir);
    world.warden().mirror_to(name, &options().prefix(prefix), &target, &Credentials::none())
}

#[test]
fn a_directory_that_is_a_root_holds_one_or_lies_in_one_is_refused() {
    let (world, place) = with_neighbour();
    let before = untouched(&world, &place);
    for (what, dir) in [
        ("the mirrored root", world.tree.path().to_path_buf()),
        ("a directory of the mirrored root", world.tree.join("d/e")),
        ("another root", place.join("x/root")),
        ("a directory of another root", place.join("x/root/in")),
        ("what holds a root", place.join("x")),
        ("what holds it further up", place.path().to_path_buf()),
        ("a link to a root", place.join("link")),
        ("a directory behind a link to a root", place.join("link/in")),
        ("a link to what holds a root", place.join("free/above")),
        ("a root behind a link to what holds it", place.join("free/above/x/root")),
        ("a way with dots", place.join("free/../x/root2/../root")),
    ] {
        refused(what, to_directory(&world, "m", dir, ""), BAD);
        assert!(world.warden().mirrors().unwrap().is_empty(), "{what}: it came into being");
    }
    assert!(world.warden().mirror_status().is_empty());
    assert!(untouched(&world, &place) == before, "something was written");
}

#[test]
fn a_prefix_that_leads_into_a_root_or_around_it_is_refused() {
    let (world, place) = with_neighbour();
    let before = untouched(&world, &place);
    for (dir, prefix) in [
        ("x", "root"),
        ("x", "root/"),
        ("x", "root/in"),
        ("x", "root/new/deep"),
        // Below what is a file today.
        ("x", "root/in/a/deep"),
        ("", "x"),
        ("", "x/root/new"),
        ("", "link"),
        ("", "link/new"),
        ("free", "back"),
        ("free", "back/new/deep"),
        ("free", "above"),
        ("free", "above/x"),
        ("free", "above/x/root/new"),
    ] {
        let what = format!("`{prefix}` in `{dir}`");
        refused(&what, to_directory(&world, "m", place.join(dir), prefix), BAD);
        assert!(world.warden().mirrors().unwrap().is_empty(), "{what}: it came into being");
    }
    assert!(untouched(&world, &place) == before, "something was written");
    assert!(!place.join("x/root/new").exists(), "a directory was made in a root");

    // Without a prefix the directory must be there, and is not made.
    let nowhere = place.join("x/root/new");
    refused("a directory to come", to_directory(&world, "m", nowhere, ""), &[ErrorKind::NotFound]);
    assert!(untouched(&world, &place) == before, "something was written");
}

#[test]
fn a_directory_beside_a_root_is_taken_and_the_root_is_left_alone() {
    let (world, place) = with_neighbour();
    let others = naive(&place.join("x/root"), "");
    let mut opened = Vec::new();
    for (name, dir, prefix) in
        [("one", "x/root2", ""), ("two", "x", "roots"), ("three", "", "xx/y"), ("four", "free", "img")]
    {
        let mirror = to_directory(&world, name, place.join(dir), prefix);
        let mirror = mirror.unwrap_or_else(|e| panic!("`{prefix}` in `{dir}`: {e}"));
        finish(name, &mirror);
        opened.push((mirror, place.join(dir).join(prefix)));
    }
    world.tree.remove("d/b.jpg").file("n/e/w", "new").rename("a.txt", "z.txt");
    world.scan();
    for (mirror, dir) in &opened {
        let what = mirror.name();
        finish(what, mirror);
        assert_equal(what, &naive(world.tree.path(), ""), &naive(dir, ""));
        // Nor does an audit that may delete see anything beside its prefix.
        let audit = mirror.audit(&AuditOptions::new().repair(true).delete_unknown(true)).unwrap();
        assert!(audit.is_clean(), "{what}: {audit:?}");
        finish(what, mirror);
    }
    assert_equal("the other root", &others, &naive(&place.join("x/root"), ""));
}

#[test]
fn a_root_that_is_added_in_the_target_later_or_around_it_ends_the_copying_until_it_is_gone() {
    let (mut world, _clock) = scanned(library);
    let remote = Tree::new();
    remote.dir("copy");
    let mirror = to_directory(&world, "m", remote.join("copy"), "").unwrap();
    finish("the first run", &mirror);
    for (name, dir) in [("inside", remote.join("copy/d")), ("around", remote.path().to_path_buf())] {
        let kept = naive(remote.path(), "");
        world.warden().add_root(name, dir).unwrap();
        world.warden().scan(name).unwrap();
        world.tree.append("a.txt", name).remove("d/b.jpg");
        world.scan();
        for accepts in [false, true] {
            refused(name, mirror.sync(&MirrorContext::new().accept_deletes(accepts)), BAD);
        }
        refused(name, mirror.plan(), BAD);
        refused(name, to_directory(&world, "m", remote.join("copy"), ""), BAD);
        assert_equal(name, &kept, &naive(remote.path(), ""));

        world.warden().remove_root(name).unwrap();
        let report = finish(name, &mirror);
        assert_eq!((report.uploaded, report.deleted), (1, 1), "{name}: {report:?}");
        assert_equal(name, &naive(world.tree.path(), ""), &naive(&remote.join("copy"), ""));
        world.tree.file("d/b.jpg", name);
        world.scan();
        finish(name, &mirror);
    }
    drop(mirror);

    world.warden().add_root("inside", remote.join("copy/d")).unwrap();
    world.reopen();
    refused("at the next opening", world.warden().mirror("m", &Credentials::none(), None), BAD);
    world.warden().remove_root("inside").unwrap();
    let mirror = world.warden().mirror("m", &Credentials::none(), None).unwrap();
    assert_eq!(finish("without it", &mirror).uploaded, 0);
    assert_equal("without it", &naive(world.tree.path(), ""), &naive(&remote.join("copy"), ""));
}

#[test]
fn a_root_that_is_moved_onto_its_own_copy_is_not_copied_over_itself() {
    let (world, _clock) = scanned(library);
    let remote = Tree::new();
    remote.dir("copy");
    let mirror = to_directory(&world, "m", remote.join("copy"), "").unwrap();
    finish("the first run", &mirror);
    let kept = naive(remote.path(), "");
    for (what, dir) in [("onto it", remote.join("copy")), ("around it", remote.path().to_path_buf())] {
        let inode = fs::metadata(remote.join("copy/a.txt")).unwrap().ino();
        world.warden().move_root(ROOT, dir).unwrap();
        world.scan_as(ScanOptions::accept_missing);
        for accepts in [false, true] {
            refused(what, mirror.sync(&MirrorContext::new().accept_deletes(accepts)), BAD);
        }
        assert_equal(what, &kept, &naive(remote.path(), ""));
        let now = fs::metadata(remote.join("copy/a.txt")).unwrap().ino();
        assert_eq!(now, inode, "{what}: a file was put over itself");
        world.warden().move_root(ROOT, world.tree.path()).unwrap();
        world.scan_as(ScanOptions::accept_missing);
        finish(what, &mirror);
        assert_equal(what, &naive(world.tree.path(), ""), &naive(&remote.join("copy"), ""));
    }
}

#[test]
fn nothing_is_put_or_deleted_through_a_link_in_the_target() {
    let (world, _clock) = scanned(library);
    let (remote, outside) = (Tree::new(), Tree::new());
    outside.file("kept", "of somebody else").file("deep/kept", "of somebody else");
    remote.symlink(bytes_of(&world.tree.join("d")), "d").symlink(bytes_of(outside.path()), "out");
    let files = naive(world.tree.path(), "");
    let before = ctime(&world.tree.join("d/b.jpg"));
    let mirror = to_directory(&world, "m", remote.path(), "").unwrap();
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.refused + report.failed), (2, 2), "{report:?}");
    let audit = mirror.audit(&AuditOptions::new().repair(true).delete_unknown(true)).unwrap();
    assert_eq!(audit.unknown, 0, "{audit:?}");
    run(&mirror);
    world.tree.remove("a.txt");
    world.scan();
    run(&mirror);
    assert_eq!(ctime(&world.tree.join("d/b.jpg")), before, "a file of the root was written to");
    let mut expected = files;
    expected.remove("a.txt");
    assert_equal("the root", &expected, &naive(world.tree.path(), ""));
    assert_eq!(naive(outside.path(), "").len(), 2, "{:?}", naive(outside.path(), "").keys());
}

#[test]
fn two_mirrors_into_one_directory_are_refused_however_it_is_written() {
    let (world, _clock) = scanned(library);
    let place = Tree::new();
    place.dir("copy/img/p").dir("beside").symlink("copy", "link");
    drop(to_directory(&world, "one", place.join("copy/img"), "p").unwrap());
    for (dir, prefix) in [
        ("copy/img", "p"),
        ("copy/img/", "p"),
        ("copy/img", "p/"),
        ("copy/img", "p/new"),
        ("copy/img", ""),
        ("copy/img/p", ""),
        ("copy", ""),
        ("copy", "img"),
        ("copy", "img/p"),
        ("copy/img/../img", "p"),
        ("link/img", "p"),
        ("link", "img/p/new"),
        ("", "copy"),
        ("", "link/img"),
    ] {
        let what = format!("`{prefix}` in `{dir}`");
        refused(&what, to_directory(&world, "two", place.join(dir), prefix), BAD);
        assert_eq!(world.warden().mirrors().unwrap().len(), 1, "{what}: it came into being");
    }
    let mut expected = Objects::new();
    for (name, dir, prefix) in
        [("q", "copy/img", "q"), ("pq", "copy/img", "pq"), ("img2", "copy", "img2"), ("p", "beside", "p")]
    {
        let mirror = to_directory(&world, name, place.join(dir), prefix);
        finish(name, &mirror.unwrap_or_else(|e| panic!("`{prefix}` in `{dir}`: {e}")));
        expected.extend(naive(world.tree.path(), &format!("{dir}/{prefix}")));
        assert_equal(name, &expected, &naive(place.path(), ""));
    }
}

// ---------------------------------------------------------------------------------- another root of that name

/// Another directory takes the name of the root, and is scanned.
fn replace_root(world: &World, plant: impl FnOnce(&Tree)) -> Tree {
    let other = Tree::new();
    plant(&other);
    world.warden().remove_root(ROOT).unwrap();
    world.warden().add_root(ROOT, other.path()).unwrap();
    world.scan();
    other
}

/// One file of the library under its old name, and a new one.
fn fewer(t: &Tree) {
    t.file("a.txt", "of another root").file("n", "new");
}

#[test]
fn a_root_that_was_removed_and_added_anew_deletes_nothing_by_itself() {
    for reopens in [false, true] {
        let what = if reopens { "opened again" } else { "still open" };
        let (mut world, memory, mut mirror) = mirrored();
        let old = memory.objects();
        let other = replace_root(&world, fewer);
        for round in 0..3 {
            if reopens {
                mirror = reopened(&mut world, mirror, &memory);
            }
            other.file(format!("more{round}"), "m");
            world.scan();
            let plan = mirror.plan().unwrap();
            assert_eq!((plan.deletes, plan.held), (3, true), "{what}, run {round}: {plan:?}");
            let report = run(&mirror);
            // Uploads go on: first what is new and what is under an old name, then what comes.
            let uploaded = if round == 0 { 3 } else { 1 };
            assert_eq!(
                (report.uploaded, report.held, report.deleted, report.failed, report.is_complete()),
                (uploaded, 3, 0, 0, false),
                "{what}, run {round}: {report:?}"
            );
            assert_eq!(mirror.status().held, 3, "{what}, run {round}");
            assert!(memory.deletes().is_empty(), "{what}, run {round}: {:?}", memory.calls());
        }
        let mut expected = naive(other.path(), "");
        for key in ["d/b.jpg", "d/e/c.bin", "empty"] {
            expected.insert(key.to_owned(), old[key].clone());
            assert!(mirror.urls().url(address(key)).is_some(), "{what}: {key} has lost its address");
        }
        assert_equal(what, &expected, &memory.objects());
    }
}

#[test]
fn a_root_added_anew_deletes_freely_once_its_deletions_were_accepted() {
    for reopens in [false, true] {
        let what = if reopens { "opened again" } else { "still open" };
        let (mut world, memory, mut mirror) = mirrored();
        let other = replace_root(&world, fewer);
        if reopens {
            mirror = reopened(&mut world, mirror, &memory);
        }
        let report = accept(&mirror);
        assert_eq!(
            (report.uploaded, report.deleted, report.held, report.is_complete()),
            (2, 3, 0, true),
            "{what}: {report:?}"
        );
        assert_equal(what, &naive(other.path(), ""), &memory.objects());
        if reopens {
            mirror = reopened(&mut world, mirror, &memory);
        }
        other.remove("n");
        world.scan();
        let report = finish(what, &mirror);
        assert_eq!((report.deleted, report.held), (1, 0), "{what}: {report:?}");
        assert_equal(what, &naive(other.path(), ""), &memory.objects());
    }
}

#[test]
fn a_root_added_anew_is_not_taken_for_the_old_one_while_its_deletions_fail() {
    let (mut world, memory, mut mirror) = mirrored();
    let other = replace_root(&world, fewer);
    memory.script(|call| matches!(call, Call::Delete(_)).then(|| failure(StorageFault::Transient)));
    let report = accept(&mirror);
    assert_eq!((report.deleted, report.failed), (0, 3), "{report:?}");
    memory.clear_script();
    memory.clear_calls();
    for _ in 0..2 {
        let report = run(&mirror);
        assert_eq!((report.deleted, report.held), (0, 3), "not accepted again: {report:?}");
        mirror = reopened(&mut world, mirror, &memory);
    }
    memory.assert_quiet("not accepted again");
    let report = accept(&mirror);
    assert_eq!((report.deleted, report.held), (3, 0), "{report:?}");
    assert_equal("accepted again", &naive(other.path(), ""), &memory.objects());
}

#[test]
fn a_root_added_anew_with_nothing_to_delete_is_taken_at_once() {
    for reopens in [false, true] {
        let what = if reopens { "opened again" } else { "still open" };
        let (mut world, memory, mut mirror) = mirrored();
        let other = replace_root(&world, |t| {
            library(t);
            t.file("n", "new");
        });
        if reopens {
            mirror = reopened(&mut world, mirror, &memory);
        }
        let report = finish(what, &mirror);
        assert_eq!((report.uploaded, report.deleted, report.held), (5, 0, 0), "{what}: {report:?}");
        if reopens {
            mirror = reopened(&mut world, mirror, &memory);
        }
        other.remove("n").remove("d/b.jpg");
        world.scan();
        let report = finish(what, &mirror);
        assert_eq!((report.deleted, report.held), (2, 0), "{what}: {report:?}");
        assert_equal(what, &naive(other.path(), ""), &memory.objects());
    }
}

#[test]
fn what_is_the_same_in_a_root_added_anew_keeps_its_object_while_it_moves() {
    // Old enough for a scan to trust it, and not for the mirror.
    let clock = Clock::manual(now_ns() + 10_000_000_000);
    let kept = RootOptions::default().content_hash(ContentHash::Changed);
    let world = Setup::new(Walker::Auto).clock(&clock).root(kept.clone()).build(library);
    world.scan();
    let memory = Memory::new();
    let mirror = open(&world, &options().settle_ms(0), &memory);
    finish("the first run", &mirror);
    memory.clear_calls();

    // The same files are other entries now.
    world.warden().remove_root(ROOT).unwrap();
    world.warden().add_root_with(ROOT, world.tree.path(), &kept).unwrap();
    world.scan();
    let plan = mirror.plan().unwrap();
    assert_eq!((plan.uploads, plan.copies, plan.deletes, plan.held), (0, 0, 0, false), "{plan:?}");
    finish("the same files", &mirror);
    memory.assert_quiet("the same files");

    let mirror = open(&world, &options().settle_ms(3_600_000), &memory);
    world.tree.rename("a.txt", "z.txt");
    world.scan();
    for _ in 0..2 {
        let report = run(&mirror);
        assert_eq!((report.unsettled, report.deleted), (1, 0), "{report:?}");
        assert_eq!(memory.kept("a.txt").content, b"one", "the only copy");
    }
    memory.assert_quiet("not still yet");
    clock.advance_ms(7_200_000);
    let report = finish("still", &mirror);
    assert_eq!((report.copied, report.uploaded, report.deleted), (1, 0, 1), "{report:?}");
    assert_mirrored("still", &world, &memory);
}

// ---------------------------------------------------------------------------------- two mirrors of one place

/// Opens the mirror `name` under a prefix.
fn below(world: &World, name: &str, prefix: &str, memory: &Arc<Memory>) -> treewarden::Result<Mirror> {
    let storage: Arc<dyn Storage> = memory.clone();
    world.warden().mirror_with(name, &options().prefix(prefix), storage, None)
}

#[test]
fn two_mirrors_of_one_place_with_prefixes_in_one_another_are_refused() {
    let (mut world, _clock) = scanned(library);
    let memory = Memory::new();
    for (first, second) in
        [("", ""), ("", "a"), ("a", ""), ("a", "a/b"), ("a/b", "a"), ("a", "a"), ("a", "a/"), ("a/b/", "a/b")]
    {
        let what = format!("`{first}`, then `{second}`");
        drop(below(&world, "one", first, &memory).unwrap_or_else(|e| panic!("{what}: {e}")));
        refused(&what, below(&world, "two", second, &memory), BAD);
        // Whether the first is open or not.
        world.reopen();
        refused(&what, below(&world, "two", second, &memory), BAD);
        refused(&what, below(&world, "two", second, &memory.again()), BAD);
        let known: Vec<String> =
            world.warden().mirrors().unwrap().into_iter().map(|info| info.name).collect();
        assert_eq!(known, ["one"], "{what}");
        drop(below(&world, "one", first, &memory).unwrap_or_else(|e| panic!("{what}, itself: {e}")));
        world.warden().remove_mirror("one").unwrap();
        drop(below(&world, "two", second, &memory).unwrap_or_else(|e| panic!("{what}, alone: {e}")));
        world.warden().remove_mirror("two").unwrap();
    }
    memory.assert_quiet("opening and removing");
}

#[test]
fn prefixes_beside_one_another_and_other_places_are_taken() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mut expected = Objects::new();
    for (n, prefix) in ["a", "ab", "b/a", "b/ab", "b/a b", "a.b", "cd", "c"].into_iter().enumerate() {
        let mirror = below(&world, &format!("m{n}"), prefix, &memory);
        finish(prefix, &mirror.unwrap_or_else(|e| panic!("`{prefix}`: {e}")));
        expected.extend(naive(world.tree.path(), prefix));
        assert_equal(prefix, &expected, &memory.objects());
    }
    for (name, prefix) in [("elsewhere", ""), ("elsewhere too", "a")] {
        let elsewhere = Memory::new();
        let mirror = below(&world, name, prefix, &elsewhere);
        finish(name, &mirror.unwrap_or_else(|e| panic!("`{prefix}` elsewhere: {e}")));
        assert_equal(name, &naive(world.tree.path(), prefix), &elsewhere.objects());
    }
}

#[test]
fn a_mirror_that_comes_after_a_removed_one_leaves_its_objects_alone() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    finish("the first", &below(&world, "one", "a", &memory).unwrap());
    world.warden().remove_mirror("one").unwrap();
    let second = below(&world, "two", "", &memory).unwrap();
    finish("the second", &second);
    let mut expected = naive(world.tree.path(), "a");
    world.tree.remove("d/b.jpg").rename("a.txt", "z.txt");
    world.scan();
    finish("the second, after a change", &second);
    expected.extend(naive(world.tree.path(), ""));
    assert_equal("the second, after a change", &expected, &memory.objects());
}

// ---------------------------------------------------------------------------------- one bad file

#[test]
fn an_unreadable_file_is_asked_for_once_in_a_run_and_the_others_are_sent() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    // One at a time: the first of them is the one that fails.
    let mirror = open(&world, &options().uploads_max(1), &memory);
    fail_puts(&memory, "a.txt", StorageFault::Source);
    for round in 1..=3 {
        let report = run(&mirror);
        assert_eq!((report.failed, report.refused, report.retries), (1, 0, 0), "{report:?}");
        assert_eq!((puts_of(&memory, "a.txt"), memory.objects().len()), (round, 3), "{report:?}");
    }
    assert_eq!(memory.puts().len(), 3 + 3, "the others were sent again: {:?}", memory.puts());
}

#[test]
fn a_mirror_that_follows_goes_on_beside_an_unreadable_file() {
    for by_permission in [false, true] {
        if by_permission && is_root() {
            skip("a_mirror_that_follows_goes_on_beside_an_unreadable_file", "root may read everything");
            continue;
        }
        // Waits that grow with each run would not be over in that time.
        within("beside an unreadable file", move || follow_beside_an_unreadable_file(by_permission));
    }
}

fn follow_beside_an_unreadable_file(by_permission: bool) {
    let (world, _clock) = scanned(|t| {
        library(t);
        if by_permission {
            t.chmod("a.txt", 0o000);
        }
    });
    let memory = Memory::new();
    if !by_permission {
        fail_puts(&memory, "a.txt", StorageFault::Source);
    }
    let mirror = open(&world, &options(), &memory);
    let following = mirror.follow().unwrap();
    wait_until("the others are there", || memory.objects().len() == 3);
    for n in 0..9 {
        let name = format!("later/{n}");
        world.tree.file(&name, "l");
        world.scan();
        wait_until(&name, || memory.objects().contains_key(&name));
    }
    wait_until("all but one are acknowledged", || mirror.status().unsure == 1);
    let status = mirror.status();
    assert_eq!((status.following, status.last_error.as_deref()), (true, None), "{status:?}");
    assert_eq!(mirror.urls().url("root/a.txt"), None);

    memory.clear_script();
    world.tree.chmod("a.txt", 0o644).file("last", "l");
    world.scan();
    wait_until("readable again", || memory.objects() == naive(world.tree.path(), ""));
    following.stop();
}

// ---------------------------------------------------------------------------------- what a storage rejects

#[test]
fn what_a_storage_rejects_is_not_sent_again_and_told_each_time() {
    let (mut world, _clock) = scanned(library);
    let memory = Memory::new();
    let mut mirror = open(&world, &options(), &memory);
    fail_puts(&memory, "d/b.jpg", StorageFault::Rejected);
    // Once for each opening: what was said before is not written down.
    for opening in 1..=2 {
        for round in 0..4 {
            let what = format!("opening {opening}, run {round}");
            if round == 2 {
                world.tree.file(format!("new{opening}"), "n");
                world.scan();
            }
            let report = finish(&what, &mirror);
            assert_eq!((report.refused, report.failed), (1, 0), "{what}: {report:?}");
            let error = &report.errors[0];
            assert_eq!(
                (error.path.as_slice(), error.key.as_deref(), error.permanent),
                (&b"root/d/b.jpg"[..], Some("d/b.jpg"), true),
                "{what}: {report:?}"
            );
            assert_eq!(puts_of(&memory, "d/b.jpg"), opening, "{what}: {:?}", memory.calls());
        }
        assert_eq!(mirror.urls().url("root/d/b.jpg"), None);
        mirror = reopened(&mut world, mirror, &memory);
    }
    let mut expected = naive(world.tree.path(), "");
    expected.remove("d/b.jpg");
    assert_equal("the others", &expected, &memory.objects());
}

#[test]
fn what_a_storage_rejected_is_sent_once_it_is_another_file() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    fail_puts(&memory, "d/b.jpg", StorageFault::Rejected);
    assert_eq!(finish("rejected", &mirror).refused, 1);
    world.tree.append("d/b.jpg", "!");
    world.scan();
    assert_eq!(finish("rejected once more", &mirror).refused, 1);
    assert_eq!(puts_of(&memory, "d/b.jpg"), 2, "{:?}", memory.calls());
    memory.clear_script();
    world.tree.append("d/b.jpg", "!");
    world.scan();
    let report = finish("taken", &mirror);
    assert_eq!((report.uploaded, report.refused), (1, 0), "{report:?}");
    assert_mirrored("taken", &world, &memory);
    memory.clear_calls();
    assert_eq!(finish("nothing is told any more", &mirror).refused, 0);
    memory.assert_quiet("nothing is told any more");
}

// ---------------------------------------------------------------------------------- files that never hold still

#[test]
fn a_file_that_changes_in_each_run_is_tried_after_growing_waits_and_commits_nothing() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let tried = Arc::new(Mutex::new(Vec::new()));
    let its = Arc::clone(&tried);
    memory.script(move |call| {
        if *call != Call::Put("a.txt".to_owned()) {
            return None;
        }
        its.lock().unwrap().push(Instant::now());
        Some(failure(StorageFault::Changed))
    });
    let seq = world.warden().seq();
    let mirror = open(&world, &options(), &memory);
    let following = mirror.follow().unwrap();
    wait_until("it was tried three times", || tried.lock().unwrap().len() >= 3);
    following.stop();
    let tried = tried.lock().unwrap().clone();
    // Nobody scans: nothing but its own clock makes it look again. The bounds are those from below.
    for (n, least) in [(1, Duration::from_secs(1)), (2, Duration::from_secs(2))] {
        let waited = tried[n] - tried[n - 1];
        assert!(waited >= least, "after {n} runs it waited for {waited:?}");
    }
    assert_eq!(world.warden().seq(), seq, "its own rows were taken for a change");
    assert_eq!(memory.objects().len(), 3, "the others are there");
    assert_eq!(memory.puts().len(), 3 + tried.len(), "the others were sent again: {:?}", memory.puts());
}

#[test]
fn a_file_that_is_edited_with_each_put_is_put_once_for_each_scan_and_then_all_is_quiet() {
    const EDITS: usize = 4;
    let (world, _clock) = scanned(|t| {
        t.file("busy", "0123456789").file("calm", "c");
    });
    let memory = Memory::new();
    let edits = Arc::new(AtomicUsize::new(0));
    let (its, path) = (Arc::clone(&edits), world.tree.join("busy"));
    memory.midway(move |key| {
        if key == "busy" && its.load(Ordering::SeqCst) < EDITS {
            let file = fs::OpenOptions::new().append(true).open(&path);
            if file.and_then(|mut file| file.write_all(b"!")).is_ok() {
                its.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let mirror = open(&world, &options(), &memory);
    let following = mirror.follow().unwrap();
    for n in 1..=EDITS {
        wait_until("it is edited while it is sent", || edits.load(Ordering::SeqCst) == n);
        assert!(!memory.objects().contains_key("busy"), "what changed was taken");
        world.scan();
    }
    wait_until("it is still, and arrives", || {
        mirror.status().unsure == 0 && memory.objects() == naive(world.tree.path(), "")
    });
    assert_eq!(puts_of(&memory, "busy"), EDITS + 1, "{:?}", memory.calls());

    memory.clear_calls();
    let (seq, runs) = (world.warden().seq(), mirror.status().counters.runs);
    // The run that sent it may be about to end, and one may follow that was called for meanwhile.
    let again = soon(|| world.warden().seq() != seq || mirror.status().counters.runs > runs + 2);
    assert!(!again, "it runs on: seq {seq}, {runs} runs, now {:?}", mirror.status());
    memory.assert_quiet("nothing changes any more");
    following.stop();
}

// ---------------------------------------------------------------------------------- what a root compares

/// Each comparison, whether it sees another ctime, and whether it sees another inode with another ctime. The
/// first is the one that is chosen for the file system.
fn comparisons() -> [(Compare, bool, bool); 5] {
    let chosen = World::new(Walker::Auto, |_| {}).warden().roots()[0].compare;
    let by_ctime = !matches!(chosen, Compare::NoCtime | Compare::SizeMtime);
    let by_inode = !matches!(chosen, Compare::NoInode | Compare::SizeMtime);
    [
        (Compare::Auto, by_ctime, by_ctime || by_inode),
        (Compare::Full, true, true),
        (Compare::NoInode, true, true),
        (Compare::NoCtime, false, true),
        (Compare::SizeMtime, false, false),
    ]
}

fn compared(compare: Compare) -> (World, Arc<Memory>, Mirror) {
    let root = RootOptions::default().compare(compare);
    let world = Setup::new(Walker::Auto).clock(&tomorrow()).root(root).build(library);
    world.scan();
    let memory = Memory::new();
    let mirror = open(&world, &options(), &memory);
    (world, memory, mirror)
}

/// Scans until nothing is left, compares, and finds nothing more to do.
fn comes_to_rest(what: &str, world: &World, memory: &Memory, mirror: &Mirror) {
    world.scan();
    finish(what, mirror);
    assert_mirrored(what, world, memory);
    memory.clear_calls();
    world.scan();
    finish(what, mirror);
    memory.assert_quiet(what);
}

#[test]
fn a_change_during_a_put_counts_as_far_as_the_root_compares() {
    for (compare, by_ctime, _) in comparisons() {
        let what = format!("{compare:?}");
        let (world, memory, mirror) = compared(compare);
        let path = world.tree.join("d/e/c.bin");
        memory.midway(move |key| {
            if key == "d/e/c.bin" {
                move_ctime(&path, ctime(&path));
            }
        });
        let report = run(&mirror);
        memory.clear_script();
        let expected = if by_ctime { (3, 1, 0) } else { (4, 0, 0) };
        assert_eq!((report.uploaded, report.changed, report.failed), expected, "{what}: {report:?}");
        assert_eq!(memory.objects().contains_key("d/e/c.bin"), !by_ctime, "{what}");
        assert_eq!(mirror.urls().url("root/d/e/c.bin").is_some(), !by_ctime, "{what}");
        comes_to_rest(&what, &world, &memory, &mirror);
    }
}

#[test]
fn a_change_before_a_put_counts_as_far_as_the_root_compares() {
    for (compare, by_ctime, by_either) in comparisons() {
        let what = format!("{compare:?}");
        let (world, memory, mirror) = compared(compare);
        let (touched, replaced) = (world.tree.join("a.txt"), world.tree.join("d/b.jpg"));
        move_ctime(&touched, ctime(&touched));
        // Another file with the old size and time.
        let (mtime, before) = (world.tree.mtime("d/b.jpg"), ctime(&replaced));
        world.tree.replace("d/b.jpg", "TWO").set_mtime("d/b.jpg", mtime);
        move_ctime(&replaced, before);
        let report = run(&mirror);
        let changed = u64::from(by_ctime) + u64::from(by_either);
        assert_eq!(
            (report.uploaded, report.changed, report.failed),
            (4 - changed, changed, 0),
            "{what}: {report:?}"
        );
        let there = memory.objects();
        assert_eq!(there.contains_key("a.txt"), !by_ctime, "{what}: {:?}", memory.calls());
        assert_eq!(there.contains_key("d/b.jpg"), !by_either, "{what}: {:?}", memory.calls());
        comes_to_rest(&what, &world, &memory, &mirror);
    }
}

// ---------------------------------------------------------------------------------- copies

#[test]
fn what_is_renamed_to_another_type_is_sent_and_to_the_same_type_copied() {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = open(&world, &options().content_type("dat", "application/x-dat"), &memory);
    finish("the first run", &mirror);
    memory.clear_calls();
    world
        .tree
        .rename("a.txt", "a.html")
        .rename("d/b.jpg", "d/b.JPEG")
        .rename("d/e/c.bin", "d/e/c.dat")
        .rename("empty", "still empty");
    world.scan();
    let plan = mirror.plan().unwrap();
    assert_eq!((plan.uploads, plan.copies, plan.deletes), (2, 2, 4), "{plan:?}");
    let report = finish("renamed", &mirror);
    assert_eq!((report.uploaded, report.copied, report.deleted), (2, 2, 4), "{report:?}");
    assert_eq!(memory.puts(), ["a.html", "d/e/c.dat"]);
    assert_eq!(memory.copies(), ["d/b.jpg -> d/b.JPEG", "empty -> still empty"]);
    for (key, content_type) in [
        ("a.html", "text/html"),
        ("d/b.JPEG", "image/jpeg"),
        ("d/e/c.dat", "application/x-dat"),
        ("still empty", "application/octet-stream"),
    ] {
        assert_eq!(memory.kept(key).content_type, content_type, "{key}");
    }
    assert_mirrored("renamed", &world, &memory);

    // And back: the old types are there again.
    world.tree.rename("a.html", "a.txt").rename("d/e/c.dat", "d/e/c");
    world.scan();
    finish("renamed back", &mirror);
    assert_eq!(memory.kept("a.txt").content_type, "text/plain");
    assert_eq!(memory.kept("d/e/c").content_type, "application/octet-stream");
    assert_mirrored("renamed back", &world, &memory);
}

#[test]
fn a_copy_that_is_denied_is_sent_instead_and_its_source_deleted_after() {
    let (world, memory, mirror) = mirrored();
    world.tree.rename("a.txt", "z.txt").rename("d", "dir");
    world.scan();
    memory.script(|call| matches!(call, Call::Copy { .. }).then(|| failure(StorageFault::Denied)));
    let report = finish("sent instead", &mirror);
    assert_eq!((report.uploaded, report.copied, report.deleted), (3, 0, 3), "{report:?}");
    assert_eq!(memory.copies().len(), 3, "each was tried, and once: {:?}", memory.calls());
    assert_eq!(memory.deletes(), ["a.txt", "d/b.jpg", "d/e/c.bin"]);
    let calls = memory.calls();
    let first_deletion = calls.iter().position(|call| matches!(call, Call::Delete(_)));
    let last_put = calls.iter().rposition(|call| matches!(call, Call::Put(_)));
    assert!(last_put < first_deletion, "a source went before it was sent: {calls:?}");
    assert_mirrored("sent instead", &world, &memory);
}

#[test]
fn the_source_of_a_denied_copy_stays_while_its_file_cannot_be_sent() {
    let (world, memory, mirror) = mirrored();
    world.tree.rename("d", "dir");
    world.scan();
    memory.script(|call| match call {
        Call::Copy { .. } => Some(failure(StorageFault::Denied)),
        Call::Put(key) if key == "dir/b.jpg" => Some(failure(StorageFault::Source)),
        _ => None,
    });
    for uploaded in [1, 0] {
        let report = run(&mirror);
        assert_eq!(
            (report.uploaded, report.failed, report.deleted),
            (uploaded, 1, uploaded),
            "its source was deleted: {report:?}"
        );
        let there: Vec<String> = memory.objects().into_keys().collect();
        assert_eq!(there, ["a.txt", "d/b.jpg", "dir/e/c.bin", "empty"], "the only copy was deleted");
    }
    memory.clear_script();
    finish("works again", &mirror);
    assert_mirrored("works again", &world, &memory);
}

#[test]
fn what_is_renamed_and_cannot_be_copied_stays_until_it_is_sent() {
    for fault in
        [StorageFault::Source, StorageFault::Transient, StorageFault::Changed, StorageFault::Rejected]
    {
        let what = format!("{fault:?}");
        let (world, memory, mirror) = mirrored();
        // To another type: it is sent.
        world.tree.rename("a.txt", "a.html");
        world.scan();
        fail_puts(&memory, "a.html", fault);
        for round in 0..3 {
            let report = run(&mirror);
            assert_eq!((report.uploaded, report.deleted), (0, 0), "{what}, run {round}: {report:?}");
            let there: Vec<String> = memory.objects().into_keys().collect();
            assert_eq!(there, ["a.txt", "d/b.jpg", "d/e/c.bin", "empty"], "{what}, run {round}");
        }
        memory.clear_script();
        world.tree.append("a.html", "!");
        world.scan();
        let report = finish(&what, &mirror);
        assert_eq!((report.uploaded, report.deleted), (1, 1), "{what}: {report:?}");
        assert_mirrored(&what, &world, &memory);
    }
}

// ---------------------------------------------------------------------------------- the CDN

/// A CDN that remembers what it was told to forget, or panics.
#[derive(Default)]
struct Told {
    urls: Mutex<Vec<String>>,
    panics: AtomicBool,
    rate: Option<RateLimit>,
}

impl Told {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn panicking(rate: Option<RateLimit>) -> Arc<Self> {
        Arc::new(Self { panics: AtomicBool::new(true), rate, ..Self::default() })
    }

    fn heal(&self) {
        self.panics.store(false, Ordering::SeqCst);
    }

    /// What it was told, sorted; what was named twice is there twice.
    fn urls(&self) -> Vec<String> {
        let mut urls = self.urls.lock().unwrap().clone();
        urls.sort();
        urls
    }
}

impl Purge for Told {
    fn describe(&self) -> String {
        "a CDN of the tests".to_owned()
    }

    fn batch_max(&self) -> usize {
        2
    }

    fn rate(&self) -> Option<RateLimit> {
        self.rate.clone()
    }

    fn purge(&self, urls: &[String]) -> Result<(), PurgeError> {
        assert!(!self.panics.load(Ordering::SeqCst), "the test wants a panic");
        self.urls.lock().unwrap().extend(urls.iter().cloned());
        Ok(())
    }
}

/// Opens the mirror `m` with a CDN.
fn with_cdn(world: &World, memory: &Arc<Memory>, cdn: &Arc<Told>) -> Mirror {
    let storage: Arc<dyn Storage> = memory.clone();
    let purge: Arc<dyn Purge> = cdn.clone();
    let mirror = world.warden().mirror_with("m", &options(), storage, Some(purge));
    mirror.unwrap_or_else(|e| panic!("with a CDN: {e}"))
}

/// The addresses of these keys.
fn urls<const N: usize>(keys: [&str; N]) -> Vec<String> {
    keys.map(|key| format!("{PUBLIC}/{key}")).to_vec()
}

/// A library whose mirror has a CDN, in step, before anything was purged.
fn in_step_with(cdn: &Arc<Told>) -> (World, Arc<Memory>, Mirror) {
    let (world, _clock) = scanned(library);
    let memory = Memory::new();
    let mirror = with_cdn(&world, &memory, cdn);
    let report = finish("the first run", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (0, 0), "what is new needs no purge: {report:?}");
    (world, memory, mirror)
}

/// An audit that mends finds so many lost objects.
fn mend(what: &str, mirror: &Mirror, lost: u64) {
    let audit = mirror.audit(&AuditOptions::new().repair(true)).unwrap();
    assert_eq!((audit.lost, audit.different, audit.unknown), (lost, 0, 0), "{what}: {audit:?}");
}

#[test]
fn what_an_audit_found_lost_is_purged_when_it_is_put_again() {
    let cdn = Told::new();
    let (mut world, memory, mut mirror) = in_step_with(&cdn);
    memory.take("a.txt");
    memory.take("d/b.jpg");
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert_eq!(audit.lost, 2, "{audit:?}");
    finish("it only told", &mirror);
    assert_eq!(cdn.urls(), urls([]), "it only told");

    mend("two are gone", &mirror, 2);
    assert_eq!(mirror.urls().url("root/a.txt"), None, "what is lost has no address");
    // It is owed for as long as it takes: over a failure, and when the state file is opened again.
    fail_puts(&memory, "a.txt", StorageFault::Source);
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed, report.purged), (1, 1, 1), "{report:?}");
    assert_eq!(cdn.urls(), urls(["d/b.jpg"]));
    memory.clear_script();
    drop(mirror);
    world.reopen();
    mirror = with_cdn(&world, &memory, &cdn);
    let report = finish("put again", &mirror);
    assert_eq!((report.uploaded, report.purged, report.purges_waiting), (1, 1, 0), "{report:?}");
    assert_eq!(cdn.urls(), urls(["a.txt", "d/b.jpg"]));
    assert_mirrored("put again", &world, &memory);
    finish("nothing is owed any more", &mirror);
    assert_eq!(cdn.urls().len(), 2, "{:?}", cdn.urls());
}

#[test]
fn what_an_audit_found_lost_is_purged_when_its_file_is_gone() {
    let cdn = Told::new();
    let (mut world, memory, mut mirror) = in_step_with(&cdn);
    memory.take("a.txt");
    memory.take("d/b.jpg");
    mend("two are gone", &mirror, 2);
    world.tree.remove("a.txt").remove("d/b.jpg");
    world.scan();
    memory.script(|call| matches!(call, Call::Delete(_)).then(|| failure(StorageFault::Transient)));
    let report = run(&mirror);
    assert_eq!((report.deleted, report.failed, report.purged), (0, 2, 0), "{report:?}");
    memory.clear_script();
    drop(mirror);
    world.reopen();
    mirror = with_cdn(&world, &memory, &cdn);
    let report = finish("deleted", &mirror);
    assert_eq!((report.deleted, report.purged, report.purges_waiting), (2, 2, 0), "{report:?}");
    assert_eq!(cdn.urls(), urls(["a.txt", "d/b.jpg"]));
    finish("nothing is owed any more", &mirror);
    assert_eq!(cdn.urls().len(), 2, "{:?}", cdn.urls());
}

/// Replaces one object and deletes two.
fn change_three(world: &World) {
    world.tree.append("a.txt", "more").remove("d/b.jpg").remove("empty");
    world.scan();
}

#[test]
fn a_cdn_that_panics_loses_no_purge() {
    let limit = RateLimit::new(1, Duration::from_millis(1));
    for (what, rate) in [("without a rate", None), ("with a rate", Some(limit))] {
        // The same one comes to itself, another one takes its place, and the state file is opened again.
        for (how, way) in ["by itself", "another one", "opened again"].into_iter().enumerate() {
            let (what, rate) = (format!("{what}, {way}"), rate.clone());
            within("a CDN that panics", move || panics_and_heals(&what, rate, how));
        }
    }
}

fn panics_and_heals(what: &str, rate: Option<RateLimit>, how: usize) {
    let cdn = Told::panicking(rate);
    let (mut world, memory, mut mirror) = in_step_with(&cdn);
    change_three(&world);
    for failures in 1..=2 {
        let report = finish(what, &mirror);
        assert_eq!((report.purged, report.purges_waiting), (0, 3), "{what}: {report:?}");
        let status = mirror.status();
        assert_eq!(
            (status.purges_waiting, status.counters.purge_failures, status.last_error.as_deref()),
            (3, failures, None),
            "{what}: {status:?}"
        );
    }
    assert_mirrored(what, &world, &memory);
    let healthy = if how == 0 { Arc::clone(&cdn) } else { Told::new() };
    match how {
        0 => cdn.heal(),
        1 => mirror = with_cdn(&world, &memory, &healthy),
        _ => {
            drop(mirror);
            world.reopen();
            mirror = with_cdn(&world, &memory, &healthy);
        }
    }
    assert_eq!(mirror.status().purges_waiting, 3, "{what}");
    memory.clear_calls();
    let report = finish(what, &mirror);
    assert_eq!((report.purged, report.purges_waiting), (3, 0), "{what}: {report:?}");
    assert_eq!(healthy.urls(), urls(["a.txt", "d/b.jpg", "empty"]), "{what}");
    memory.assert_quiet("purges need no storage");
}

#[test]
fn a_mirror_that_follows_goes_on_beside_a_cdn_that_panics() {
    let cdn = Told::panicking(None);
    let (world, memory, mirror) = in_step_with(&cdn);
    let following = mirror.follow().unwrap();
    change_three(&world);
    wait_until("it is sent, and the CDN fails", || {
        let status = mirror.status();
        status.purges_waiting == 3 && status.counters.purge_failures > 0
    });
    world.tree.append("d/e/c.bin", "more");
    world.scan();
    wait_until("the next change is sent as well", || mirror.status().purges_waiting == 4);
    assert_mirrored("the next change is sent as well", &world, &memory);
    cdn.heal();
    let its = mirror.clone();
    let report = within("a run of the caller", move || finish("a run of the caller", &its));
    assert_eq!(report.purges_waiting, 0, "{report:?}");
    assert_eq!(cdn.urls(), urls(["a.txt", "d/b.jpg", "d/e/c.bin", "empty"]));
    within("the end", move || following.stop());
}

#[test]
fn a_cdn_that_makes_no_sense_ends_no_mirror_that_works() {
    let cdn = Told::new();
    let (world, memory, mirror) = in_step_with(&cdn);
    let rate = Some(RateLimit::new(0, Duration::from_secs(1)));
    let wrong: Arc<dyn Purge> = Arc::new(Told { rate, ..Told::default() });
    let storage: Arc<dyn Storage> = memory.clone();
    refused("a rate of none", world.warden().mirror_with("m", &options(), storage, Some(wrong)), BAD);
    change_three(&world);
    let report = finish("as it was", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (3, 0), "{report:?}");
    assert_mirrored("as it was", &world, &memory);
}

#[test]
fn what_is_held_is_still_told_after_a_run_that_failed() {
    let (world, memory, _mirror) = mirrored();
    let mirror = open(&world, &options().delete_max(0), &memory);
    world.tree.remove("a.txt");
    world.scan();
    assert_eq!((run(&mirror).held, mirror.status().held), (1, 1));
    world.tree.file("new", "n");
    world.scan();
    fail_puts(&memory, "new", StorageFault::Misconfigured);
    refused("given up", mirror.sync(&MirrorContext::new()), &[ErrorKind::NotFound]);
    assert_eq!(mirror.status().held, 1);
}

#[test]
fn some_that_never_come_right_stop_no_run_before_the_others_had_their_turn() {
    let memory = Memory::new();
    let (world, mirror) = many(&memory);
    // They come first, and a storage that fails so often is taken to be away.
    for n in 0..30 {
        world.tree.file(format!("a/{n}"), "never");
    }
    for n in 0..30 {
        world.tree.file(format!("z/{n}"), "well");
    }
    world.scan();
    memory.script(|call| match call {
        Call::Put(key) if key.starts_with("a/") => Some(failure(StorageFault::Transient)),
        _ => None,
    });
    refused("the first", mirror.sync(&MirrorContext::new()), &[ErrorKind::Io]);
    // However this one ends: those that failed come last.
    let _ = mirror.sync(&MirrorContext::new());
    assert_eq!(memory.objects().keys().filter(|key| key.starts_with("z/")).count(), 30);
    memory.clear_script();
    finish("well again", &mirror);
    assert_mirrored("well again", &world, &memory);
}

// ---------------------------------------------------------------------------------- a root that is held

/// Four of five directories; without them the root is held.
fn most(world: &World) -> Vec<PathBuf> {
    (1..5).map(|n| world.tree.join(format!("d{n}"))).collect()
}

#[test]
fn a_held_root_deletes_nothing_even_when_deletions_are_accepted() {
    let memory = Memory::new();
    let (mut world, mut mirror) = many(&memory);
    // This one is known to be gone before the root is held.
    world.tree.remove("d0/f000");
    world.scan();
    for dir in most(&world) {
        fs::remove_dir_all(dir).unwrap();
    }
    assert!(world.scan().held.is_some());
    for reopens in [false, true] {
        if reopens {
            mirror = reopened(&mut world, mirror, &memory);
        }
        let plan = mirror.plan().unwrap();
        assert_eq!((plan.deletes, plan.held), (1, true), "{plan:?}");
        for accepts in [false, true] {
            let report = if accepts { accept(&mirror) } else { run(&mirror) };
            assert_eq!((report.held, report.deleted, report.is_complete()), (1, 0, false), "{report:?}");
            assert_eq!(mirror.status().held, 1);
        }
    }
    memory.assert_quiet("a held root");
    assert_eq!(memory.objects().len(), 150);

    world.scan_as(ScanOptions::accept_missing);
    let report = accept(&mirror);
    assert_eq!((report.held, report.deleted, report.is_complete()), (0, 121, true), "{report:?}");
    assert_mirrored("no longer held", &world, &memory);
}

#[test]
fn a_root_that_is_held_after_the_plan_was_made_deletes_nothing() {
    let memory = Memory::new();
    let (world, mirror) = many(&memory);
    world.tree.remove("d0/f000").remove("d0/f005").file("d0/new", "n");
    world.scan();
    // While the new file is sent.
    let (warden, dirs) = (world.warden().clone(), most(&world));
    memory.midway(move |_| {
        for dir in &dirs {
            let _ = fs::remove_dir_all(dir);
        }
        let _ = warden.scan(ROOT);
    });
    let report = accept(&mirror);
    memory.clear_script();
    assert_eq!((report.uploaded, report.held, report.deleted), (1, 2, 0), "{report:?}");
    assert_eq!(memory.puts(), ["d0/new"]);
    assert!(memory.deletes().is_empty(), "{:?}", memory.calls());
    assert_eq!(memory.objects().len(), 151);
}

#[test]
fn a_root_that_is_held_between_two_batches_deletes_no_more() {
    let memory = Memory::with_delete_max(2);
    let (world, mirror) = many(&memory);
    for name in ["d0/f000", "d0/f005", "d0/f010", "d0/f015", "d0/f020"] {
        world.tree.remove(name);
    }
    world.scan();
    // When the first of three batches is under way.
    let (warden, dirs, batches) = (world.warden().clone(), most(&world), AtomicUsize::new(0));
    memory.script(move |call| {
        if matches!(call, Call::Delete(_)) && batches.fetch_add(1, Ordering::SeqCst) == 0 {
            for dir in &dirs {
                let _ = fs::remove_dir_all(dir);
            }
            let _ = warden.scan(ROOT);
        }
        None
    });
    let report = accept(&mirror);
    memory.clear_script();
    assert_eq!((report.deleted, report.held), (2, 3), "{report:?}");
    assert_eq!(memory.deletes().len(), 2, "{:?}", memory.calls());
    assert_eq!((memory.objects().len(), mirror.urls().len()), (148, 148));
}
