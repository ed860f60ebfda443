//! Bad input gives one clear typed error, never a panic or a hang, and nothing is lost.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use support::child;
use support::mirror::{self, Memory, assert_equal, finish, naive};
use support::reference::{Dump, dump};
use support::work::{self, plain, scanned};
use support::{
    ROOT, Rng, Row, Tree, World, both_walkers, is_root, refused, rows_since, skip, wait_until, within,
};
use treewarden::mirror::MirrorContext;
use treewarden::{
    Change, ErrorKind, Filter, Group, IgnoreRules, RootOptions, RootState, ScanContext, ScanOptions,
    VerifyOptions, Walker, Warden, WorkState, testing,
};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// A state file with some history, closed.
fn state_file() -> (World, PathBuf) {
    let (world, path, _) = state_file_and_earlier();
    (world, path)
}

/// The same, with what it held before the last commit.
fn state_file_and_earlier() -> (World, PathBuf, Dump) {
    let mut world = World::settled(Walker::Auto, |t| {
        for n in 0..40 {
            t.file(format!("d{}/file-{n}", n % 5), vec![b'x'; n]);
        }
    });
    world.warden().space("s").unwrap().put(b"key".as_slice(), b"value".as_slice()).unwrap();
    world.warden().set_attrs("root/d0/file-0", [("rating", Some(b"5".as_slice()))]).unwrap();
    let earlier = dump(&world.snapshot());
    world.tree.remove("d1/file-1").rename("d2", "moved").file("new", "");
    world.scan();
    world.close();
    let path = world.state_file();
    (world, path, earlier)
}

// ---------------------------------------------------------------------------------- the state file

#[test]
fn a_directory_is_not_a_state_file() {
    let dir = Tree::new();
    dir.file("inside", "untouched");
    refused("a directory", Warden::open(dir.path()), &[ErrorKind::NotAStateFile, ErrorKind::InvalidArgument]);
    assert_eq!(fs::read(dir.join("inside")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was put beside it");
}

#[test]
fn a_text_file_is_not_a_state_file_and_stays_as_it_is() {
    let dir = Tree::new();
    let texts: [&[u8]; 4] = [b"just a text\n", b"\0", b"SQLite format 3\0", &[b'x'; 100_000]];
    for text in texts {
        dir.file("notes.txt", text);
        let path = dir.join("notes.txt");
        let error = refused("a text file", Warden::open(&path), &[ErrorKind::NotAStateFile]);
        assert_eq!(error.path(), Some(path.as_os_str().as_bytes()));
        refused("rebuild of a text file", Warden::rebuild(&path), &[ErrorKind::NotAStateFile]);
        assert_eq!(fs::read(&path).unwrap(), text, "somebody's file was changed");
    }
}

#[test]
fn other_kinds_of_file_are_not_state_files() {
    let dir = Tree::new();
    dir.fifo("pipe");
    let kinds = [ErrorKind::NotAStateFile, ErrorKind::InvalidArgument];
    let pipe = dir.join("pipe");
    refused("a FIFO", within("opening a FIFO", move || Warden::open(pipe)), &kinds);
    refused("a device", Warden::open("/dev/null"), &kinds);
}

#[test]
fn a_symlink_is_not_followed_to_a_state_file() {
    let (world, path) = state_file();
    let before = fs::read(&path).unwrap();
    let dir = Tree::new();
    dir.symlink(support::bytes_of(&path), "link.tw")
        .symlink(support::bytes_of(&dir.join("victim")), "dangling.tw");
    let kinds = [ErrorKind::InvalidArgument, ErrorKind::NotAStateFile];
    refused("a symlink", Warden::open(dir.join("link.tw")), &kinds);
    refused("a dangling symlink", Warden::open(dir.join("dangling.tw")), &kinds);
    assert!(!dir.join("victim").exists(), "a file was made through a symlink");
    assert!(fs::read(world.state_file()).unwrap() == before);
}

#[test]
fn a_missing_directory_is_named() {
    let dir = Tree::new();
    refused("no such directory", Warden::open(dir.join("no/such/dir/state.tw")), &[ErrorKind::NotFound]);
    refused("an empty path", Warden::open(""), &[ErrorKind::InvalidArgument, ErrorKind::NotFound]);
    dir.file("file", "");
    let kinds = [ErrorKind::NotFound, ErrorKind::InvalidArgument, ErrorKind::Io, ErrorKind::NotAStateFile];
    refused("below a file", Warden::open(dir.join("file/state.tw")), &kinds);
}

#[test]
fn must_exist_creates_nothing() {
    let dir = Tree::new();
    refused("absent", Warden::options().must_exist().open(dir.join("state.tw")), &[ErrorKind::NotFound]);
    refused("absent", Warden::options().read_only().open(dir.join("state.tw")), &[ErrorKind::NotFound]);
    refused("absent", Warden::rebuild(dir.join("state.tw")), &[ErrorKind::NotFound]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_new_state_file_is_its_owners_alone() {
    let dir = Tree::new();
    let warden = Warden::open(dir.join("state.tw")).unwrap();
    let mode = fs::metadata(dir.join("state.tw")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    warden.close().unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (mut world, path) = state_file();
    world.open();
    let version = world.warden().status().unwrap().format_version;
    let known = dump(&world.snapshot());
    world.close();
    testing::set_format_version(&path, version + 1).unwrap();
    let before = fs::read(&path).unwrap();
    let error = refused("a newer format", Warden::open(&path), &[ErrorKind::NewerFormat]);
    assert!(error.to_string().contains(&(version + 1).to_string()), "{error}");
    refused("a newer format", Warden::options().read_only().open(&path), &[ErrorKind::NewerFormat]);
    refused("a newer format", Warden::rebuild(&path), &[ErrorKind::NewerFormat]);
    assert!(fs::read(&path).unwrap() == before, "a file that is not ours to read was written");
    testing::set_format_version(&path, version).unwrap();
    world.open();
    assert_eq!(dump(&world.snapshot()).present, known.present);
}

#[test]
fn a_file_open_in_this_process_is_busy() {
    let dir = Tree::new();
    let path = dir.join("state.tw");
    let first = Warden::open(&path).unwrap();
    refused("a second handle", Warden::open(&path), &[ErrorKind::Busy]);
    refused("a second reader", Warden::options().read_only().open(&path), &[ErrorKind::Busy]);
    refused("rebuild of an open file", Warden::rebuild(&path), &[ErrorKind::Busy]);
    fs::hard_link(&path, dir.join("another-name.tw")).unwrap();
    refused("another name of it", Warden::open(dir.join("another-name.tw")), &[ErrorKind::Busy]);
    first.space("s").unwrap().put(b"k".as_slice(), b"still mine".as_slice()).unwrap();
    let clone = first.clone();
    drop(first);
    refused("while a clone lives", Warden::open(&path), &[ErrorKind::Busy]);
    drop(clone);
    let again = Warden::open(&path).unwrap();
    let value = again.space("s").unwrap().get(b"k".as_slice()).unwrap();
    assert_eq!(value.as_deref(), Some(b"still mine".as_slice()));
}

#[test]
fn a_file_open_in_another_process_is_busy() {
    let (_world, path) = state_file();
    let mut other = Command::new(PROBE)
        .arg("hold")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "open=yes");
    refused("held by another process", Warden::open(&path), &[ErrorKind::Busy]);
    refused("held by another process", Warden::rebuild(&path), &[ErrorKind::Busy]);
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());

    let ours = Warden::open(&path).unwrap();
    let answer = child::ask(PROBE, &[OsStr::new("open"), path.as_os_str()]);
    assert_eq!(answer.get("error").map(String::as_str), Some("busy"), "{answer:?}");
    ours.close().unwrap();
    let answer = child::ask(PROBE, &[OsStr::new("open"), path.as_os_str()]);
    assert_eq!(answer.get("open").map(String::as_str), Some("yes"), "{answer:?}");
}

#[test]
fn a_process_killed_with_the_file_open_leaves_it_free() {
    let (_world, path) = state_file();
    let mut other = Command::new(PROBE)
        .arg("hold")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    Warden::open(&path).unwrap().check().unwrap();
}

#[test]
fn a_file_or_directory_without_permission_is_refused() {
    let (mut world, path) = state_file();
    world.open();
    let known = dump(&world.snapshot());
    world.close();
    let ask = |dir_mode: u32, file_mode: u32| {
        world.state.chmod("state.tw", file_mode).chmod("", dir_mode);
        let mut args = vec![OsStr::new("open"), path.as_os_str()];
        if is_root() {
            args.insert(0, OsStr::new("--drop"));
        }
        let answer = child::ask(PROBE, &args);
        world.state.chmod("", 0o755).chmod("state.tw", 0o600);
        answer
    };
    let refusals = ["permission_denied", "read_only"];
    for (dir_mode, file_mode, what) in [
        (0o755, 0o444, "a read-only file"),
        (0o755, 0o000, "an unreadable file"),
        (0o000, 0o666, "a shut directory"),
    ] {
        let answer = ask(dir_mode, file_mode);
        if let Some(why) = answer.get("skipped") {
            skip("a_file_or_directory_without_permission_is_refused", why);
            return;
        }
        let error = answer.get("error").unwrap_or_else(|| panic!("{what}: was opened: {answer:?}"));
        assert!(refusals.contains(&error.as_str()), "{what}: {error}");
    }
    // A directory in which no file can be made.
    let shut = Tree::new();
    shut.chmod("", 0o555);
    let fresh = shut.join("state.tw");
    let mut args = vec![OsStr::new("open"), fresh.as_os_str()];
    if is_root() {
        args.insert(0, OsStr::new("--drop"));
    }
    let answer = child::ask(PROBE, &args);
    assert!(answer.get("error").is_some_and(|e| refusals.contains(&e.as_str())), "{answer:?}");
    assert!(!fresh.exists());
    world.open();
    assert_eq!(dump(&world.snapshot()).present, known.present);
}

#[test]
fn a_warden_opened_for_reading_reads_and_refuses_to_write() {
    let (world, path) = state_file();
    let before = fs::read(&path).unwrap();
    world.tree.file("found-by-a-scan", "");
    {
        let warden = Warden::options().read_only().open(&path).unwrap();
        assert_eq!(warden.snapshot().len(), 40);
        let value = warden.space("s").unwrap().get(b"key".as_slice()).unwrap();
        assert_eq!(value.as_deref(), Some(b"value".as_slice()));
        assert!(!rows_since(&warden, 0).is_empty());
        warden.check().unwrap();
        let only = [ErrorKind::ReadOnly];
        refused("put", warden.space("s").unwrap().put(b"k".as_slice(), b"v".as_slice()), &only);
        refused("batch", warden.batch().put("s", b"k".as_slice(), b"v".as_slice()).commit(), &only);
        refused("add_root", warden.add_root("two", world.state.path()), &only);
        refused("remove_root", warden.remove_root(ROOT), &only);
        refused("scan", warden.scan(ROOT), &only);
        refused("attrs", warden.set_attrs("root/new", [("a", Some(b"b".as_slice()))]), &only);
        refused("compact", warden.compact(), &only);
    }
    assert!(fs::read(&path).unwrap() == before, "reading wrote");
}

// ---------------------------------------------------------------------------------- damage

/// What may be seen of a damaged file that opens all the same.
struct Truth {
    // The last commit and the one before it, which the file still holds.
    states: [Dump; 2],
    rows: Vec<Row>,
}

impl Truth {
    fn of(path: &Path, earlier: Dump) -> Self {
        let warden = Warden::open(path).unwrap();
        let truth = Self { states: [earlier, dump(&warden.snapshot())], rows: rows_since(&warden, 0) };
        warden.close().unwrap();
        truth
    }

    /// Opens the file and reads everything in it. A typed error anywhere is fine; a wrong answer
    /// is not: state that never was, or rows and values that `check` does not complain about.
    fn probe(&self, what: &str, path: &Path) {
        let warden = match Warden::open(path) {
            Ok(warden) => warden,
            Err(error) => {
                let damage = [
                    ErrorKind::Corrupt,
                    ErrorKind::NotAStateFile,
                    ErrorKind::NewerFormat,
                    ErrorKind::Io,
                    ErrorKind::Unsupported,
                ];
                refused(what, Err::<(), _>(error), &damage);
                return;
            }
        };
        let found = dump(&warden.snapshot());
        let known =
            self.states.iter().any(|state| state.present == found.present && state.missing == found.missing);
        let fresh = found.present.is_empty() && warden.roots().is_empty() && warden.seq() == 0;
        assert!(known || fresh, "{what}: shows a state that never was");
        let checked = warden.check().map_err(|error| error.kind());
        if fresh && !known {
            // Only an empty file may pass for a new one: that is how a killed creation leaves it.
            assert_eq!(what, "cut to 0 bytes");
        }
        let value = warden.space("s").and_then(|s| s.get(b"key".as_slice()));
        let value_true = value.is_err() || value.is_ok_and(|v| v.as_deref() == Some(b"value".as_slice()));
        let rows: treewarden::Result<Vec<Change>> = warden.changes(0).and_then(Iterator::collect);
        let rows_true = rows.is_err()
            || rows.is_ok_and(|rows| {
                let committed = self.rows.iter().filter(|row| row.seq <= found.seq).cloned();
                rows.iter().map(Row::unchecked).eq(committed)
            });
        if !fresh && checked.is_ok() {
            assert!(value_true, "{what}: a wrong value, and the check is content");
            assert!(rows_true, "{what}: a wrong journal, and the check is content");
        }
        // Using it further must not panic either.
        let _ = warden.history(10);
        let _ = warden.status();
        let _ = warden.attrs("root/d0/file-0");
        let _ = warden.space("s").and_then(|s| s.put(b"k".as_slice(), b"v".as_slice()));
        drop(warden);
    }
}

fn probe_damaged(what: String, bytes: Vec<u8>, truth: &Arc<Truth>) {
    let truth = Arc::clone(truth);
    within(&what.clone(), move || {
        let dir = Tree::new();
        dir.file("state.tw", bytes).chmod("state.tw", 0o600);
        truth.probe(&what, &dir.join("state.tw"));
    });
}

#[test]
fn a_truncated_state_file_is_refused_or_shows_a_committed_state() {
    let (_world, path, earlier) = state_file_and_earlier();
    let truth = Arc::new(Truth::of(&path, earlier));
    let bytes = fs::read(&path).unwrap();
    let mut lengths = vec![0, 1, 8, 63, 64, 511, 512, 4095, 4096, 4097, 8192, bytes.len() - 1];
    lengths.extend((1..40).map(|n| bytes.len() * n / 40));
    for length in lengths.into_iter().filter(|length| *length < bytes.len()) {
        probe_damaged(format!("cut to {length} bytes"), bytes[..length].to_vec(), &truth);
    }
}

#[test]
fn a_state_file_with_flipped_bits_is_refused_or_shows_a_committed_state() {
    let (_world, path, earlier) = state_file_and_earlier();
    let truth = Arc::new(Truth::of(&path, earlier));
    let bytes = fs::read(&path).unwrap();
    let seed = support::env_number("TREEWARDEN_SEED", support::now_ns().unsigned_abs());
    eprintln!("bit flips: TREEWARDEN_SEED={seed}");
    let mut rng = Rng::new(seed);
    // Bytes that hold something; a flip in the unused rest of the file shows nothing.
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut places: Vec<usize> = (0..512_usize.min(bytes.len())).step_by(5).collect();
    places.extend((0..150).map(|_| used[rng.index(used.len())]));
    places.extend((0..20).map(|_| rng.index(bytes.len())));
    for at in places {
        let bit = rng.below(8);
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        probe_damaged(format!("bit {bit} of byte {at} flipped"), damaged, &truth);
    }
}

#[test]
fn a_state_file_with_overwritten_pages_is_refused_or_shows_a_committed_state() {
    let (_world, path, earlier) = state_file_and_earlier();
    let truth = Arc::new(Truth::of(&path, earlier));
    let bytes = fs::read(&path).unwrap();
    let page_range = |page: usize| page * 4096..(page + 1) * 4096;
    let used: Vec<usize> = (0..bytes.len() / 4096)
        .filter(|page| bytes[page_range(*page)].iter().any(|byte| *byte != 0))
        .collect();
    // Every page of a small file, a sample of a larger one; the header's page always.
    for page in used.iter().copied().step_by(1 + used.len() / 60) {
        let range = page_range(page);
        for fill in [0x00, 0xff] {
            let mut damaged = bytes.clone();
            damaged[range.clone()].fill(fill);
            probe_damaged(format!("page {page} filled with {fill:#x}"), damaged, &truth);
        }
    }
}

#[test]
fn rebuild_salvages_a_damaged_file_and_keeps_the_old_one() {
    let (mut world, path) = state_file();
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    bytes[len / 2..len / 2 + 4096_usize.min(len / 4)].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let report = within("rebuild", {
        let path = path.clone();
        move || Warden::rebuild(path)
    })
    .unwrap();
    assert!(fs::read(&report.kept_as).unwrap() == bytes, "the old file is kept as it was");
    assert_ne!(report.kept_as, path);
    world.open();
    world.warden().check().unwrap();
    if world.warden().roots().is_empty() {
        world.warden().add_root(ROOT, world.tree.path()).unwrap();
    }
    assert!(world.scan_as(ScanOptions::accept_missing).is_clean());
    world.assert_disk("rebuilt and scanned");
}

#[test]
fn rebuild_of_a_sound_file_keeps_everything() {
    let (mut world, path) = state_file();
    world.open();
    let before = dump(&world.snapshot());
    world.close();
    let report = Warden::rebuild(&path).unwrap();
    assert_eq!((report.roots, report.lost_rows), (1, 0), "{report:?}");
    assert!(report.entries >= 40 && report.spaces_rows >= 1, "{report:?}");
    world.open();
    let after = dump(&world.snapshot());
    let plain = |d: &Dump| -> Vec<_> {
        d.present.iter().map(|(path, known)| (path.clone(), known.id, known.facts.clone())).collect()
    };
    assert_eq!(plain(&before), plain(&after));
    assert_eq!(world.warden().attrs("root/d0/file-0").unwrap().len(), 1);
    let value = world.warden().space("s").unwrap().get(b"key".as_slice()).unwrap();
    assert_eq!(value.as_deref(), Some(b"value".as_slice()));
    assert_eq!(world.warden().roots()[0].state, RootState::New, "nobody has looked since");
    world.scan();
    assert_eq!(world.warden().roots()[0].state, RootState::Ready);
}

const KEPT: u64 = 12;
const STRAYED: u64 = 8;

/// A root that was in step with its mirror when the state file lost all that it knew of the directory `lost`. It has
/// been rebuilt and is open; nobody has scanned.
fn rebuilt_after_a_loss() -> (World, Arc<Memory>) {
    let (mut world, _clock) = scanned(|t| {
        for n in 0..KEPT {
            t.file(format!("kept/file-{n}"), format!("kept {n}"));
        }
    });
    // What comes with another commit lies in other rows.
    for n in 0..STRAYED {
        world.tree.file(format!("lost/strayed-{n}"), format!("strayed {n}"));
    }
    assert_eq!(world.scan().added, STRAYED);
    let memory = Memory::new();
    let mirror = mirror::open(&world, &mirror::options(), &memory);
    finish("before the damage", &mirror);
    drop(mirror);
    memory.clear_calls();
    world.close();
    let path = world.state_file();
    world.damage_rows_naming("strayed-");
    refused("the damaged file", Warden::open(&path), &[ErrorKind::Corrupt]);
    let report = Warden::rebuild(&path).unwrap();
    assert!(report.lost_rows > 0, "{report:?}");
    assert_eq!((report.roots, report.entries), (1, KEPT), "{report:?}");
    world.open();
    (world, memory)
}

/// A rebuild kept the root `Ready` although entries were lost with a damaged row, and the objects of all of them
/// were still known: a mirror that ran before the next scan deleted every object whose file it could not find.
#[test]
fn a_mirror_deletes_nothing_between_a_rebuild_and_the_next_whole_scan() {
    let (world, memory) = rebuilt_after_a_loss();
    let objects = naive(world.tree.path(), "");
    let state = || world.warden().roots().remove(0).state;
    let ids = || -> Vec<(Vec<u8>, u64)> {
        let snapshot = world.snapshot();
        snapshot.files("root/kept").map(|entry| (entry.path(), entry.id())).collect()
    };
    let mirror = mirror::open(&world, &mirror::options(), &memory);
    let nothing = |what: &str| {
        assert_eq!(state(), RootState::New, "{what}");
        let context = MirrorContext::new().accept_deletes(true);
        refused(what, mirror.sync(&context), &[ErrorKind::Unavailable]);
        memory.assert_quiet(what);
        assert_equal(what, &objects, &memory.objects());
    };
    let saved = ids();
    assert_eq!(saved.len() as u64, KEPT);
    nothing("rebuilt");
    assert!(world.scan_target("root/kept", |options| options).is_clean());
    nothing("a part was scanned");

    let report = world.scan();
    assert!(report.is_clean(), "{report:?}");
    let counts = (report.added, report.modified, report.moved, report.missing);
    assert_eq!(counts, (STRAYED, 0, 0, 0), "{report:?}");
    assert_eq!(state(), RootState::Ready);
    assert_eq!(ids(), saved, "what was saved is the same as before");
    world.assert_disk("rebuilt and scanned");
    let report = finish("scanned", &mirror);
    assert_eq!(report.deleted, 0, "{report:?}");
    assert!(memory.deletes().is_empty(), "{:?}", memory.deletes());
    assert_equal("scanned", &objects, &memory.objects());
}

/// The same with the watcher: it scans when it begins, and whoever follows waits for that.
#[test]
fn a_mirror_that_follows_after_a_rebuild_waits_for_the_scan_of_the_watcher() {
    let (world, memory) = rebuilt_after_a_loss();
    let objects = naive(world.tree.path(), "");
    let mirror = mirror::open(&world, &mirror::options(), &memory);
    let following = mirror.follow().unwrap();
    wait_until("it has tried", || mirror.status().last_error.is_some() || !memory.calls().is_empty());
    memory.assert_quiet("nobody has scanned");
    world.warden().watch().unwrap();
    world.warden().sync(Duration::from_secs(60)).unwrap();
    assert_eq!(world.warden().roots()[0].state, RootState::Ready);
    wait_until("it is in step", || {
        let status = mirror.status();
        status.last_error.is_none() && status.pending == Some(0)
    });
    drop(following);
    assert!(memory.deletes().is_empty(), "{:?}", memory.deletes());
    assert_equal("followed", &objects, &memory.objects());
}

/// A root whose row was lost counted as removed, and of a removed root everything is gone: a pipeline handed out all that
/// it had ever done there as missing, although not one file was.
#[test]
fn a_pipeline_is_handed_nothing_of_a_root_that_a_rebuild_has_lost() {
    for group in [Group::None, Group::Depth(1)] {
        let (mut world, _clock) = scanned(|t| {
            for n in 0..KEPT {
                t.file(format!("d/{n}"), "x");
            }
        });
        let other = Tree::new();
        other.file("a", "x");
        world.warden().add_root("two", other.path()).unwrap();
        world.warden().scan("two").unwrap();
        let p = work::open(&world, &plain().group(group.clone()));
        let items = if group == Group::None { usize::try_from(KEPT).unwrap() } else { 1 };
        assert_eq!(work::finish(&p).len(), items + 1, "{group:?}");
        drop(p);
        world.close();
        // Nothing but the row of a root knows where its directory lies.
        world.damage_rows_naming(world.tree.path().to_str().unwrap());
        let path = world.state_file();
        refused("the damaged file", Warden::open(&path), &[ErrorKind::Corrupt]);
        let report = Warden::rebuild(&path).unwrap();
        assert_eq!(report.roots, 1, "{report:?}");
        assert!(report.lost_rows > 0, "{report:?}");

        world.open();
        let p = world.warden().pipeline("p").unwrap();
        let nothing = |what: &str| {
            assert!(work::finish(&p).is_empty(), "{what}: {group:?}");
            assert_eq!(work::lines(&p), ["a indexed"], "{what}: the other root is untouched: {group:?}");
        };
        nothing("rebuilt");
        world.warden().scan("two").unwrap();
        nothing("the other root was scanned");
        world.warden().add_root(ROOT, world.tree.path()).unwrap();
        nothing("added again");
        assert!(world.scan().is_clean());
        let jobs = work::take(&p);
        let new = jobs.iter().filter(|job| job.state() == WorkState::New).count();
        assert_eq!(new, items, "done twice, not cleaned up: {group:?}");
        assert_eq!(jobs.len(), items, "{group:?}");
        work::complete(&p, jobs);
        drop(p);
        world.reopen();
        assert!(work::finish(&world.warden().pipeline("p").unwrap()).is_empty(), "{group:?}");
    }
}

/// What a rebuild lost may lie just where a scan cannot look: that it is not known proves nothing then.
#[test]
fn a_rebuilt_root_is_new_until_a_whole_scan_could_look_everywhere() {
    let mut world = World::new(Walker::Fd, |t| {
        t.file("anchor", "");
    });
    let tree = Tree::at(world.tree.path());
    // Below the longest path a walker by path has to give up, and says so.
    let deep = support::DeepTree::plant(&tree, 1_500);
    deep.file("far", "x");
    let half_blind = |world: &World, what: &str, accept: bool| {
        let report = world.scan_as(|options| {
            let options = options.walker(Walker::Jwalk);
            if accept { options.accept_missing() } else { options }
        });
        assert!(report.errors > 0, "{what}: {report:?}");
        assert_eq!(report.missing, 0, "{what}: {report:?}");
        world.warden().roots().remove(0).state
    };
    assert_eq!(half_blind(&world, "first", false), RootState::Ready, "it was never scanned: nothing is lost");
    assert_eq!(half_blind(&world, "second", false), RootState::Ready);
    assert!(world.scan().is_clean());

    let rebuild = |world: &mut World| {
        world.close();
        Warden::rebuild(world.state_file()).unwrap();
        world.open();
        assert_eq!(world.warden().roots()[0].state, RootState::New);
    };
    rebuild(&mut world);
    for what in ["rebuilt", "once more"] {
        assert_eq!(half_blind(&world, what, false), RootState::New, "{what}");
    }
    assert_eq!(half_blind(&world, "accepted", true), RootState::Ready, "somebody has said so");
    rebuild(&mut world);
    assert_eq!(half_blind(&world, "rebuilt again", false), RootState::New);
    assert!(world.scan().is_clean());
    assert_eq!(world.warden().roots()[0].state, RootState::Ready, "it has looked everywhere");
    assert!(world.snapshot().contains(support::address(deep.rel("far"))));
}

// ---------------------------------------------------------------------------------- arguments

#[test]
fn empty_absolute_and_climbing_addresses_are_refused() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("a", "");
    });
    let seq = world.warden().seq();
    let only = [ErrorKind::InvalidArgument];
    let addresses: [&[u8]; 9] = [
        b"",
        b"/",
        b"/etc/passwd",
        b"root/../etc",
        b"root/..",
        b"../root",
        b"root/./a",
        b"root//a",
        b"root/a\0b",
    ];
    for address in addresses {
        let what = support::show(address);
        refused(&what, world.warden().scan(address), &only);
        refused(&what, world.warden().attrs(address), &only);
        refused(&what, world.warden().set_attrs(address, [("a", Some(b"1".as_slice()))]), &only);
        refused(&what, world.warden().explain(address), &only);
        refused(&what, world.warden().batch().set_attr(address, "a", b"1".as_slice()).commit(), &only);
    }
    let nobody = ["nobody", "nobody/a", "roo", "root2/a"];
    for address in nobody {
        refused(address, world.warden().scan(address), &[ErrorKind::NotFound]);
        refused(address, world.warden().attrs(address), &[ErrorKind::NotFound]);
    }
    assert_eq!(world.warden().seq(), seq);
    let verify = VerifyOptions::default().root("nobody");
    refused("verify", world.warden().verify(&verify, &ScanContext::default()), &[ErrorKind::NotFound]);
}

#[test]
fn bad_root_names_and_directories_are_refused() {
    let world = World::new(Walker::Auto, |t| {
        t.file("file", "").dir("dir");
    });
    let warden = world.warden();
    let long = "n".repeat(256);
    for name in ["", ".", "..", "a/b", "/", "nul\0", "new\nline", "esc\x1b", long.as_str()] {
        refused(name, warden.add_root(name, world.tree.join("dir")), &[ErrorKind::InvalidArgument]);
    }
    let dir = [ErrorKind::InvalidArgument, ErrorKind::NotFound];
    refused("a file", warden.add_root("two", world.tree.join("file")), &[ErrorKind::InvalidArgument]);
    refused("an absent directory", warden.add_root("two", world.tree.join("absent")), &[ErrorKind::NotFound]);
    refused("an empty path", warden.add_root("two", ""), &dir);
    refused("a name twice", warden.add_root(ROOT, world.tree.join("dir")), &[ErrorKind::AlreadyExists]);
    refused("move of nobody", warden.move_root("nobody", world.tree.join("dir")), &[ErrorKind::NotFound]);
    refused("move to a file", warden.move_root(ROOT, world.tree.join("file")), &[ErrorKind::InvalidArgument]);
    refused("remove of nobody", warden.remove_root("nobody"), &[ErrorKind::NotFound]);
    let options = RootOptions::default();
    refused("options of nobody", warden.set_root_options("nobody", &options), &[ErrorKind::NotFound]);
    assert_eq!(warden.roots().len(), 1);
    assert_eq!(warden.roots()[0].path, world.tree.path());
}

#[test]
fn bad_globs_are_refused() {
    let only = [ErrorKind::InvalidArgument];
    for pattern in ["[", "a[", "[z-a]"] {
        refused(pattern, IgnoreRules::new([pattern]), &only);
        refused(pattern, IgnoreRules::none().with(pattern), &only);
        refused(pattern, Filter::new().glob(pattern), &only);
    }
    let good = IgnoreRules::new(["*.tmp"]).unwrap().and(IgnoreRules::none());
    assert_eq!(good.patterns(), ["*.tmp"]);
}

#[test]
fn messages_show_no_raw_control_character() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("a", "");
    });
    for address in ["root/\x1b[2J", "root/new\nline", "\u{202e}evil", "root/\u{7}bell"] {
        let kinds = [ErrorKind::NotFound, ErrorKind::InvalidArgument];
        let error = refused("a name with control characters", world.warden().attrs(address), &kinds);
        assert!(!error.to_string().contains('\u{202e}'), "{error}");
    }
    let dir = Tree::new();
    let error = refused(
        "a path with an escape sequence",
        Warden::options().must_exist().open(dir.join("\x1b]0;title\x07.tw")),
        &[ErrorKind::NotFound],
    );
    assert!(
        error.path().is_some_and(|path| path.ends_with(b"\x1b]0;title\x07.tw")),
        "the data keeps the bytes"
    );
}

#[test]
fn a_closed_warden_says_so() {
    let world = World::settled(Walker::Auto, |t| {
        t.file("a", "");
    });
    let left_over = world.warden().clone();
    let space = left_over.space("s").unwrap();
    let snapshot = left_over.snapshot();
    match left_over.clone().close() {
        // Either closing waits for the last handle, or the others are told.
        Ok(()) => match space.put(b"k".as_slice(), b"v".as_slice()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        },
        Err(error) => assert_eq!(error.kind(), ErrorKind::Busy),
    }
    assert_eq!(snapshot.len(), 1, "a snapshot outlives its warden");
}

// ---------------------------------------------------------------------------------- extreme trees

/// A chain of directories far deeper than `PATH_MAX` allows a path to be, with a file every 500.
/// Taken apart from above when dropped, because `remove_dir_all` recurses.
struct DeepTree<'t> {
    tree: &'t Tree,
}

const DEPTH: usize = 5_000;
const DEEP_FILES: u64 = 10;
const STEP: &str = "dd";

impl<'t> DeepTree<'t> {
    fn plant(tree: &'t Tree) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here: OwnedFd = rustix::fs::openat(CWD, tree.path(), flags, Mode::empty()).unwrap();
        for level in 1..=DEPTH {
            rustix::fs::mkdirat(&here, STEP, Mode::from_raw_mode(0o755)).unwrap();
            here = rustix::fs::openat(&here, STEP, flags, Mode::empty()).unwrap();
            if level % 500 == 0 {
                let write = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&here, "leaf", write, Mode::from_raw_mode(0o644)).unwrap();
                fs::File::from(file).set_len(7).unwrap();
            }
        }
        Self { tree }
    }

    /// Removes the top of the chain again and again, lifting what was below it.
    fn fell(&self) -> std::io::Result<()> {
        let top = self.tree.join(STEP);
        let lifted = self.tree.join("lifted");
        while top.exists() {
            let _ = fs::remove_file(top.join("leaf"));
            if fs::rename(top.join(STEP), &lifted).is_ok() {
                fs::remove_dir(&top)?;
                fs::rename(&lifted, &top)?;
            } else {
                fs::remove_dir(&top)?;
            }
        }
        Ok(())
    }
}

impl Drop for DeepTree<'_> {
    fn drop(&mut self) {
        let _ = self.fell();
    }
}

#[test]
fn a_tree_5000_levels_deep_is_scanned_listed_summed_and_forgotten() {
    let tree = Tree::new();
    tree.file("anchor", "");
    let deep = DeepTree::plant(&tree);
    let state = Tree::new();
    let path = state.join("state.tw");
    let warden = Warden::open(&path).unwrap();
    warden.add_root(ROOT, tree.path()).unwrap();
    let empty = warden.snapshot();
    let scan = |warden: &Warden, walker: Walker| {
        let options = ScanOptions::default().target(ROOT).walker(walker).accept_missing();
        warden.scan_with(&options, &ScanContext::default()).unwrap().remove(0)
    };
    let report = scan(&warden, Walker::Fd);
    assert!(report.is_clean(), "{:?}", report.first_errors);
    assert_eq!(report.added, DEEP_FILES + 1);

    let see = |warden: &Warden| {
        let snapshot = warden.snapshot();
        let leaf = [ROOT.as_bytes(), "/dd".repeat(DEPTH).as_bytes(), b"/leaf"].concat();
        assert!(leaf.len() > 3 * 4096, "longer than PATH_MAX");
        assert_eq!(snapshot.get(&leaf).expect("the deepest leaf").size(), 7);
        let longest = snapshot.files(ROOT).map(|entry| entry.path().len()).max();
        assert_eq!(longest, Some(leaf.len()));
        assert_eq!(snapshot.entries("").filter(|e| e.name() == STEP.as_bytes()).count(), DEPTH);
        let totals = snapshot.du(ROOT).unwrap();
        assert_eq!((totals.files, totals.dirs, totals.bytes), (DEEP_FILES + 1, DEPTH as u64, 7 * DEEP_FILES));
        let middle = [ROOT.as_bytes(), "/dd".repeat(DEPTH / 2).as_bytes()].concat();
        assert_eq!(snapshot.du(&middle).unwrap().dirs, (DEPTH / 2) as u64);
        assert_eq!(snapshot.files(&middle).count() as u64, DEEP_FILES / 2 + 1);
    };
    see(&warden);
    let difference = warden.snapshot().diff(&empty);
    let files = difference.iter().filter(|change| change.entry_kind.name() == "file").count() as u64;
    assert_eq!(files, DEEP_FILES + 1);
    warden.close().unwrap();

    let warden = Warden::open(&path).unwrap();
    see(&warden);
    warden.check().unwrap();
    warden.explain([ROOT.as_bytes(), "/dd".repeat(DEPTH).as_bytes(), b"/leaf"].concat()).unwrap();

    // A walker by path may have to give up below PATH_MAX; it must say so and lose nothing.
    let by_path = scan(&warden, Walker::Jwalk);
    assert_eq!(by_path.missing, 0, "{:?}", by_path.first_errors);
    see(&warden);

    let verified = warden.verify(&VerifyOptions::default(), &ScanContext::default()).unwrap();
    assert!(verified.differences.is_empty(), "{:?}", verified.differences_total);

    deep.fell().unwrap();
    let report = scan(&warden, Walker::Fd);
    assert_eq!(report.missing, DEEP_FILES, "{report:?}");
    let snapshot = warden.snapshot();
    assert_eq!(snapshot.len(), 1);
    assert_eq!(snapshot.missing(ROOT).filter(|e| e.kind().name() == "file").count() as u64, DEEP_FILES);
    warden.remove_root(ROOT).unwrap();
    warden.close().unwrap();
}

/// Commits of one change each in the huge directory.
const ROUNDS: u64 = 4;

#[test]
fn a_directory_with_very_many_entries() {
    let large = std::env::var_os("TREEWARDEN_LARGE").is_some();
    let count: u64 = if large { 1_000_000 } else { 100_000 };
    let mut world = World::new(Walker::Auto, |t| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        t.dir("flat").file("anchor", "");
        let dir = rustix::fs::openat(CWD, t.join("flat"), flags, Mode::empty()).unwrap();
        for n in 0..count {
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            rustix::fs::openat(&dir, format!("entry-{n:07}"), create, Mode::from_raw_mode(0o644)).unwrap();
        }
    });
    assert_eq!(world.scan().added, count + 1);
    world.settle();
    for walker in both_walkers() {
        let report = world.scan_as(|o| o.walker(walker));
        assert!(report.is_unchanged(), "{walker:?}");
    }
    let middle = format!("flat/entry-{:07}", count / 2);
    let before = world.warden().status().unwrap().file_bytes;
    for round in 0..ROUNDS {
        world.tree.append(&middle, "x").file(format!("flat/more-{round}"), "");
        let news = world.news();
        assert_eq!(news, [format!("added flat/more-{round}"), format!("modified {middle}")]);
        world.settle();
    }
    // One change in a huge directory must not cost the directory: this many commits of it whole
    // would be several times the file.
    let after = world.warden().status().unwrap().file_bytes;
    assert!(after < before * 2 + 4 * 1024 * 1024, "{before} bytes grew to {after}");
    world.tree.remove(&middle);
    assert_eq!(world.news(), [format!("missing {middle}")]);
    world.reopen();
    let snapshot = world.snapshot();
    assert_eq!(snapshot.len(), count + ROUNDS);
    assert_eq!(snapshot.du("root/flat").unwrap().files, count + ROUNDS - 1);
    assert_eq!(snapshot.children("root/flat").count() as u64, count + ROUNDS - 1);
    assert!(snapshot.contains("root/flat/entry-0000000"));
    let names: Vec<Vec<u8>> = snapshot.files("root/flat").map(|e| e.name().to_vec()).collect();
    assert!(names.is_sorted());
}

#[test]
fn a_file_that_vanishes_while_it_is_scanned_is_no_error() {
    for walker in both_walkers() {
        let world = World::new(walker, |t| {
            t.file("anchor", "");
        });
        let stop = Arc::new(AtomicBool::new(false));
        let noise = {
            let tree = Tree::at(world.tree.path());
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut n = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let dir = format!("d{}", n % 3);
                    tree.file(format!("{dir}/{n}"), "x").rename(&dir, "moved").remove("moved");
                    n += 1;
                }
            })
        };
        for _ in 0..30 {
            let report = world.scan_as(ScanOptions::accept_missing);
            assert!(report.unavailable.is_none() && report.errors == 0, "{report:?}");
            assert!(world.snapshot().contains("root/anchor"));
        }
        stop.store(true, Ordering::Relaxed);
        noise.join().unwrap();
        assert!(world.scan_as(ScanOptions::accept_missing).is_clean());
        world.settle();
        world.assert_true("after the noise");
    }
}
