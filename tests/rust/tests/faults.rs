//! I/O errors and a full disk at every operation of the store, one after another: a typed error,
//! nothing that was acknowledged lost, and after reopening all works again.

use std::path::Path;
use std::sync::Arc;

use support::generation;
use support::{Mount, ROOT, Replay, Tree, env_number, refused, skip, within};
use treewarden::testing::{FaultKind, FaultPlan, open_with_faults};
use treewarden::{ErrorKind, ScanOptions, Warden};

#[test]
fn an_io_error_at_every_operation_loses_nothing_acknowledged() {
    fail_at_every_operation("I/O error", FaultKind::Io, ErrorKind::Io);
}

#[test]
fn a_full_disk_at_every_operation_loses_nothing_acknowledged() {
    fail_at_every_operation("full disk", FaultKind::Full, ErrorKind::StorageFull);
}

fn fail_at_every_operation(what: &str, kind: FaultKind, expected: ErrorKind) {
    // One run without a fault counts the operations.
    let calm = Arc::new(FaultPlan::default());
    let done = Fixture::new().run(&calm);
    assert!(done.errors.is_empty(), "without a fault: {:?}", done.errors);
    let operations = calm.operations();
    assert!(operations > 10, "the plan counts nothing: {operations}");
    let step = usize::try_from(env_number("TREEWARDEN_FAULT_STEP", 1).max(1)).unwrap();
    eprintln!("{what}: {operations} operations, every {step}. of them fails in turn");

    let mut failed = 0;
    for number in (1..=operations).step_by(step) {
        let what = format!("{what} at operation {number} of {operations}");
        failed += u64::from(within(&what.clone(), move || {
            let fixture = Fixture::new();
            let plan = Arc::new(FaultPlan::default());
            plan.fail_at(number, kind);
            let done = fixture.run(&plan);
            if let Some(first) = done.errors.first() {
                assert_eq!(*first, expected, "{what}: the first error of {:?}", done.errors);
            }
            for error in &done.errors {
                let allowed = [expected, ErrorKind::Poisoned, ErrorKind::Closed];
                assert!(allowed.contains(error), "{what}: {:?}", done.errors);
            }
            plan.heal();
            fixture.check(&what, &done);
            !done.errors.is_empty()
        }));
    }
    assert!(failed > 0, "{what}: nothing ever failed");
}

/// What has been acknowledged, and the kinds of the errors in their order.
#[derive(Default)]
struct Done {
    rooted: bool,
    generation: u64,
    put: bool,
    batch: bool,
    last: bool,
    seq: u64,
    errors: Vec<ErrorKind>,
}

impl Done {
    fn note<T>(&mut self, result: treewarden::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                self.errors.push(error.kind());
                None
            }
        }
    }

    fn note_scan(&mut self, warden: &Warden) -> bool {
        // Without a root the scan has its own good reason to fail.
        self.rooted && {
            let result = warden.scan(ROOT);
            self.note(result).is_some_and(|report| {
                self.seq = self.seq.max(report.seq);
                report.is_clean()
            })
        }
    }

    fn note_seq(&mut self, result: treewarden::Result<u64>) -> bool {
        self.note(result).is_some_and(|seq| {
            self.seq = self.seq.max(seq);
            true
        })
    }
}

struct Fixture {
    tree: Tree,
    state: Tree,
}

impl Fixture {
    fn new() -> Self {
        Self { tree: Tree::in_memory(), state: Tree::in_memory() }
    }

    /// Open, add a root, scan, write, batch, rescan, write, housekeeping, close. Goes on after an
    /// error, as programs do.
    fn run(&self, plan: &Arc<FaultPlan>) -> Done {
        let mut done = Done::default();
        generation::write(&self.tree, 1);
        let opened = open_with_faults(Warden::options(), self.state.join("state.tw"), Arc::clone(plan));
        let Some(warden) = done.note(opened) else { return done };
        done.rooted = done.note(warden.add_root(ROOT, self.tree.path())).is_some();
        if done.note_scan(&warden) {
            done.generation = 1;
        }
        let space = warden.space("s");
        if let Some(space) = done.note(space) {
            done.put = done.note_seq(space.put(b"one".as_slice(), b"1".as_slice()));
        }
        if done.rooted {
            let batch = warden
                .batch()
                .put("s", b"two".as_slice(), b"2".as_slice())
                .put("t", b"two".as_slice(), [b'x'; 50_000].as_slice())
                .advance("cursor", 1);
            done.batch = done.note_seq(batch.commit());
        }
        generation::write(&self.tree, 2);
        if done.note_scan(&warden) {
            done.generation = 2;
        }
        let space = warden.space("s");
        if let Some(space) = done.note(space) {
            done.last = done.note_seq(space.put(b"three".as_slice(), b"3".as_slice()));
        }
        done.note(warden.maintain());
        done.note(warden.compact());
        // Reading never needs more than what has been published.
        let shown = generation::read(&warden.snapshot()).unwrap().unwrap_or(0);
        assert!(shown >= done.generation, "the snapshot shows {shown}, {} was acknowledged", done.generation);
        done.note(warden.close());
        done
    }

    fn check(&self, what: &str, done: &Done) {
        let path = self.state.join("state.tw");
        let warden = Warden::open(&path).unwrap_or_else(|e| panic!("{what}: cannot be opened again: {e}"));
        warden.check().unwrap_or_else(|e| panic!("{what}: fails its own check: {e}"));
        assert!(warden.seq() >= done.seq, "{what}: seq {} lost", done.seq);
        assert!(!done.rooted || warden.roots().len() == 1, "{what}: the root is lost");
        let shown =
            generation::read(&warden.snapshot()).unwrap_or_else(|e| panic!("{what}: half a scan: {e}"));
        assert!(
            shown.unwrap_or(0) >= done.generation,
            "{what}: generation {} was acknowledged, {shown:?} is there",
            done.generation
        );
        let value = |space: &str, key: &str| warden.space(space).unwrap().get(key.as_bytes()).unwrap();
        assert!(!done.put || value("s", "one").is_some(), "{what}: a value is lost");
        assert!(!done.last || value("s", "three").is_some(), "{what}: a value is lost");
        let parts = [
            value("s", "two").is_some(),
            value("t", "two").is_some_and(|value| value == [b'x'; 50_000]),
            warden.cursor("cursor").unwrap().position().unwrap() == 1,
        ];
        assert!(
            parts == [true; 3] || (parts == [false; 3] && !done.batch),
            "{what}: half a batch: {parts:?}"
        );
        let mut replay = Replay::new();
        replay.catch_up(&warden);
        replay.assert_matches(&warden.snapshot());

        // And it works as before.
        if warden.roots().is_empty() {
            warden.add_root(ROOT, self.tree.path()).unwrap();
        }
        generation::write(&self.tree, 3);
        assert!(warden.scan(ROOT).unwrap().is_clean());
        assert_eq!(generation::read(&warden.snapshot()), Ok(Some(3)), "{what}");
        warden.space("s").unwrap().put(b"four".as_slice(), b"4".as_slice()).unwrap();
        warden.close().unwrap();
    }
}

#[test]
fn a_disk_that_is_really_full_is_reported_and_loses_nothing() {
    let disk = Tree::new();
    let mut mount = match Mount::tmpfs(disk.path(), 8) {
        Ok(mount) => mount,
        Err(why) => {
            skip("a_disk_that_is_really_full_is_reported_and_loses_nothing", why);
            return;
        }
    };
    let tree = Tree::new();
    generation::write(&tree, 1);
    let path = disk.join("state.tw");
    let warden = Warden::open(&path).unwrap();
    warden.add_root(ROOT, tree.path()).unwrap();
    warden.scan(ROOT).unwrap();
    let space = warden.space("s").unwrap();
    let value = vec![b'x'; 200_000];
    let mut kept = 0_u32;
    let error = loop {
        match space.put(kept.to_be_bytes().as_slice(), value.as_slice()) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1000, "8 MiB hold more than 200 MB");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(kept > 0);
    assert_eq!(generation::read(&warden.snapshot()), Ok(Some(1)), "snapshots stay readable");
    generation::write(&tree, 2);
    let result = warden.scan_with(&ScanOptions::default(), &treewarden::ScanContext::default());
    if let Err(error) = result {
        let kinds = [ErrorKind::StorageFull, ErrorKind::Poisoned];
        refused("a scan on a full disk", Err::<(), _>(error), &kinds);
    }
    drop(space);
    drop(warden);
    expect_all(&path, kept, "with the disk still full");
    mount.resize(256);
    expect_all(&path, kept, "with room again");
    let warden = Warden::open(&path).unwrap();
    warden.scan(ROOT).unwrap();
    assert_eq!(generation::read(&warden.snapshot()), Ok(Some(2)));
    warden.space("s").unwrap().put(b"more".as_slice(), value.as_slice()).unwrap();
    warden.close().unwrap();
    mount.unmount();
}

fn expect_all(path: &Path, kept: u32, when: &str) {
    let warden = match Warden::open(path) {
        Ok(warden) => warden,
        // Opening may need room of its own; it must say so, and lose nothing.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{when}: {error}");
            assert!(when.contains("still full"), "{when}: {error}");
            return;
        }
    };
    let space = warden.space("s").unwrap();
    for key in 0..kept {
        assert!(space.get(key.to_be_bytes().as_slice()).unwrap().is_some(), "{when}: value {key} is lost");
    }
    warden.check().unwrap();
}
