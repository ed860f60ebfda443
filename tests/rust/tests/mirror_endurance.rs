//! Mirrors under strain: a storage in trouble is asked again, given up or waited for, as it deserves; and a program
//! that ends a mirror, calls it from its own callback or forks in the middle of a run never hangs and loses nothing.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use support::live::joined;
use support::mirror::{
    BUCKET, Call, MIB, Memory, assert_equal, failure, finish, naive, open, options, run, s3_credentials,
    s3_options, s3_target,
};
use support::s3::{Fault, S3Server, When};
use support::work::scanned;
use support::{DeepTree, HANG, Tree, World, address, refused, wait_until, within};
use treewarden::mirror::{
    AuditOptions, Capabilities, Credentials, Following, Listed, Mirror, MirrorContext, MirrorOptions, Put,
    Storage, StorageFault, StorageResult, Stored, Target,
};
use treewarden::{CancelToken, Clock, ErrorKind};

const DENIED: &[ErrorKind] = &[ErrorKind::PermissionDenied];

/// The pause after an answer that asks to slow down and does not say for how long.
const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// Set in the process of a test that needs one for itself.
const ALONE: &str = "TREEWARDEN_TEST_ALONE";

fn library(t: &Tree) {
    t.file("a.txt", "one").file("d/b.jpg", "two").file("d/e/c.bin", vec![7; 70_000]).file("empty", "");
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

/// The different keys of calls that put something.
fn files_tried(memory: &Memory) -> usize {
    let mut keys = memory.puts();
    keys.dedup();
    keys.len()
}

/// Waits in a thread of the engine, which must not fail an assertion: whoever runs the test looks at the time.
fn hold(is_over: impl Fn() -> bool) {
    while !is_over() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs it in a thread of its own, and tells how it ended.
fn begin(mirror: &Mirror, context: MirrorContext) -> JoinHandle<Result<(), ErrorKind>> {
    let mirror = mirror.clone();
    std::thread::spawn(move || mirror.sync(&context).map(drop).map_err(|error| error.kind()))
}

// ---------------------------------------------------------------------------------- threads that wait

/// How often a thread has given the processor away because it had nothing to do but wait.
struct Waits {
    status: PathBuf,
    before: u64,
}

impl Waits {
    /// Of the thread that calls, from now on.
    fn of_this_thread() -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
        let status = Path::new("/proc").join(thread).join("status");
        let before = waits_of(&status);
        Self { status, before }
    }

    fn so_far(&self) -> u64 {
        waits_of(&self.status).saturating_sub(self.before)
    }
}

fn waits_of(status: &Path) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

/// A thread that does `job`, which is expected to wait; returns when it does.
fn waiting<T: Send + 'static>(what: &str, job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = tell.send(Waits::of_this_thread());
        job()
    });
    let waits = told.recv().unwrap();
    wait_until(what, || waits.so_far() > 0 || thread.is_finished());
    thread
}

// ---------------------------------------------------------------------------------- storages that hang

/// Which calls of a storage hang, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hang {
    /// Puts, until their source says that they are not wanted any more.
    Puts,
    /// Puts that look at nothing, until the storage was interrupted some times.
    StubbornPuts,
    /// Deletions, likewise.
    Deletions,
}

const HANGS: [Hang; 3] = [Hang::Puts, Hang::StubbornPuts, Hang::Deletions];

/// A call that was begun between two interruptions needs another one, and the next may be as late.
const INTERRUPTS: usize = 3;

/// A storage in memory whose calls can hang. It deletes one object in a call.
struct Stuck {
    memory: Arc<Memory>,
    hang: Mutex<Option<Hang>>,
    hanging: AtomicUsize,
    asked: AtomicUsize,
    interrupts: AtomicUsize,
}

impl Stuck {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::with_delete_max(1),
            hang: Mutex::default(),
            hanging: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            interrupts: AtomicUsize::new(0),
        })
    }

    fn open(self: &Arc<Self>, world: &World) -> Mirror {
        let storage: Arc<dyn Storage> = Arc::<Self>::clone(self);
        world.warden().mirror_with("m", &options(), storage, None).unwrap_or_else(|e| panic!("{e}"))
    }

    /// From now on these calls hang; `None` lets all go.
    fn hang(&self, hang: Option<Hang>) {
        *self.hang.lock().unwrap() = hang;
    }

    fn hangs(&self) -> Option<Hang> {
        *self.hang.lock().unwrap()
    }

    /// Calls that hang now.
    fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    /// Calls so far.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn wait(&self, is_over: impl Fn() -> bool) {
        self.hanging.fetch_add(1, Ordering::SeqCst);
        hold(|| is_over() || self.hangs().is_none());
        self.hanging.fetch_sub(1, Ordering::SeqCst);
    }

    fn wait_for_interrupts(&self) {
        let enough = self.interrupts.load(Ordering::SeqCst) + INTERRUPTS;
        self.wait(|| self.interrupts.load(Ordering::SeqCst) >= enough);
    }
}

impl Storage for Stuck {
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    fn describe(&self) -> String {
        self.memory.describe()
    }

    fn public_url(&self) -> Option<&str> {
        self.memory.public_url()
    }

    fn check_key(&self, key: &str) -> StorageResult<()> {
        self.memory.check_key(key)
    }

    fn put(&self, put: &Put<'_>) -> StorageResult<Stored> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.hangs() {
            Some(Hang::Puts) => self.wait(|| put.source.is_cancelled()),
            Some(Hang::StubbornPuts) => self.wait_for_interrupts(),
            Some(Hang::Deletions) | None => return self.memory.put(put),
        }
        Err(failure(StorageFault::Cancelled))
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs() != Some(Hang::Deletions) {
            return self.memory.delete(keys);
        }
        self.wait_for_interrupts();
        keys.iter().map(|_| Err(failure(StorageFault::Cancelled))).collect()
    }

    fn copy(&self, from: &str, to: &str) -> StorageResult<Stored> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.memory.copy(from, to)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> StorageResult<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.memory.list(prefix, each)
    }

    fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::SeqCst);
    }
}

/// What ends a mirror, and every run of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Remove,
    OpenAnew,
}

const ENDS: [End; 3] = [End::Close, End::Remove, End::OpenAnew];

impl End {
    fn come(self, world: &mut World, stuck: &Stuck) {
        match self {
            Self::Close => world.close(),
            Self::Remove => world.warden().remove_mirror("m").unwrap_or_else(|e| panic!("remove: {e}")),
            // Another storage over the same objects, as with other credentials.
            Self::OpenAnew => drop(open(world, &options(), &stuck.memory)),
        }
    }
}

/// A library in step with a storage, then changed so that the calls of the next run hang: one put, or the first
/// of two deletions.
fn about_to_hang(hang: Hang) -> (World, Clock, Arc<Stuck>, Mirror) {
    let (world, clock) = scanned(library);
    let stuck = Stuck::new();
    let mirror = stuck.open(&world);
    finish("the first run", &mirror);
    world.tree.remove("empty").remove("d/b.jpg");
    if hang != Hang::Deletions {
        world.tree.append("a.txt", "more");
    }
    world.scan();
    stuck.hang(Some(hang));
    (world, clock, stuck, mirror)
}

// ---------------------------------------------------------------------------------- a storage in trouble

#[test]
fn a_mirror_that_follows_goes_on_after_every_refusal() {
    let (world, _clock, memory, mirror) = many(30, &options());
    let following = mirror.follow().unwrap();
    let arrives = |what: &str| {
        wait_until(what, || memory.objects() == naive(world.tree.path(), "") && mirror.status().unsure == 0);
    };
    arrives("the first run");
    // Each ends a run. The last one does when it comes twenty times in a row.
    for fault in
        [StorageFault::Cancelled, StorageFault::Denied, StorageFault::Misconfigured, StorageFault::Transient]
    {
        let what = format!("{fault:?}");
        let its = fault.clone();
        memory.script(move |_| Some(failure(its.clone())));
        for n in 0..30 {
            world.tree.append(format!("d{}/f{n:03}", n % 5), "!");
        }
        world.scan();
        let told = failure(fault).message;
        wait_until(&format!("{what} is told"), || {
            mirror.status().last_error.is_some_and(|error| error.contains(&told))
        });
        assert!(mirror.status().following, "{what}: it gave up: {:?}", mirror.status());

        memory.clear_script();
        world.tree.file(format!("after {what}"), "it works again");
        world.scan();
        arrives(&what);
        wait_until(&format!("{what} is over"), || mirror.status().last_error.is_none());
    }
    assert!(mirror.status().following, "{:?}", mirror.status());
    following.stop();
    assert!(!mirror.status().following);
}

#[test]
fn a_storage_that_is_away_is_given_up_after_some_files() {
    let (world, _clock, memory, mirror) = many(500, &options());
    memory.script(|_| Some(failure(StorageFault::Transient)));
    let error = refused("away", mirror.sync(&MirrorContext::new()), &[ErrorKind::Io]);
    assert!(error.hint().is_some(), "{error}");
    // Twenty in a row, and those that the other threads were at.
    let (files, calls) = (files_tried(&memory), memory.calls().len());
    assert!((20..=20 + 4).contains(&files), "{files} files");
    assert!(calls <= files * 3, "{calls} calls for {files} files");
    let status = mirror.status();
    assert_eq!((status.objects, status.counters.runs_failed), (0, 1), "{status:?}");
    assert!(memory.objects().is_empty() && mirror.urls().is_empty());

    memory.clear_script();
    memory.clear_calls();
    assert_eq!(finish("it is back", &mirror).uploaded, 500);
    assert_eq!(memory.calls().len(), 500, "each once");
    assert_mirrored("it is back", &world, &memory);
}

#[test]
fn files_that_fail_among_others_that_do_not_end_no_run() {
    let (world, _clock, memory, mirror) = many(60, &options().uploads_max(1));
    let is_odd = |key: &str| key.ends_with(['1', '3', '5', '7', '9']);
    memory.script(move |call| match call {
        Call::Put(key) if is_odd(key) => Some(failure(StorageFault::Transient)),
        _ => None,
    });
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed), (30, 30), "{report:?}");
    assert!(report.errors.iter().all(|error| !error.permanent && error.key.as_deref().is_some_and(is_odd)));
    memory.clear_script();
    memory.clear_calls();
    assert_eq!(finish("it is well", &mirror).uploaded, 30);
    assert_mirrored("it is well", &world, &memory);
}

#[test]
fn credentials_that_open_nothing_are_given_up_before_many_calls() {
    let (world, _clock, memory, mirror) = many(60, &options().uploads_max(1));
    memory.script(|_| Some(failure(StorageFault::Denied)));
    let error = refused("denied", mirror.sync(&MirrorContext::new()), DENIED);
    assert!(error.hint().is_some(), "{error}");
    assert!((1..=3).contains(&memory.calls().len()), "{:?}", memory.calls());
    memory.clear_script();
    finish("allowed", &mirror);
    assert_mirrored("allowed", &world, &memory);
}

#[test]
fn credentials_that_have_worked_are_given_up_after_three_refusals_in_a_row() {
    let one_by_one = options().uploads_max(1);
    let (_world, _clock, memory, mirror) = many(60, &one_by_one);
    let asked = AtomicUsize::new(0);
    memory
        .script(move |_| (asked.fetch_add(1, Ordering::SeqCst) >= 10).then(|| failure(StorageFault::Denied)));
    refused("refused from the 11th on", mirror.sync(&MirrorContext::new()), DENIED);
    assert_eq!((memory.calls().len(), memory.objects().len(), mirror.urls().len()), (13, 10, 10));

    // Two in a row, again and again.
    let (world, _clock, memory, mirror) = many(40, &one_by_one);
    let asked = AtomicUsize::new(0);
    memory.script(move |_| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        (n >= 10 && !n.is_multiple_of(3)).then(|| failure(StorageFault::Denied))
    });
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed, report.retries), (20, 20, 0), "{report:?}");
    memory.clear_script();
    assert_eq!(finish("allowed", &mirror).uploaded, 20);
    assert_mirrored("allowed", &world, &memory);
}

#[test]
fn a_key_that_is_refused_among_others_keeps_none_of_them() {
    let (world, _clock, memory, mirror) = many(40, &options().uploads_max(1));
    memory.script(|call| (*call == Call::Put("d2/f012".to_owned())).then(|| failure(StorageFault::Denied)));
    let check = |uploaded: u64| {
        let report = run(&mirror);
        assert_eq!((report.uploaded, report.failed, report.refused), (uploaded, 1, 0), "{report:?}");
        let error = &report.errors[0];
        assert_eq!((error.key.as_deref(), error.permanent), (Some("d2/f012"), false), "{error:?}");
        assert_eq!(error.path, address("d2/f012"));
        assert_eq!(mirror.status().last_error, None);
    };
    check(39);
    // One before it and one after it.
    world.tree.file("d1/new", "n").file("d3/new", "n");
    world.scan();
    check(2);
    memory.clear_script();
    assert_eq!(finish("allowed", &mirror).uploaded, 1);
    assert_mirrored("allowed", &world, &memory);
}

#[test]
fn keys_that_are_refused_and_come_first_keep_the_others_for_some_runs_at_most() {
    let (world, _clock, memory, mirror) = many(40, &options().uploads_max(1));
    memory.script(|call| match call {
        Call::Put(key) if key.starts_with("d0/") => Some(failure(StorageFault::Denied)),
        _ => None,
    });
    for _ in 0..8 {
        let _ = mirror.sync(&MirrorContext::new());
    }
    let there = memory.objects();
    assert_eq!(there.len(), 32, "{:?}", there.keys());
    memory.clear_script();
    assert_eq!(finish("allowed", &mirror).uploaded, 8);
    assert_mirrored("allowed", &world, &memory);
}

/// A mirror in step whose tree then changes in every way, one call at a time: five puts, four copies, a deletion.
fn changed_in_every_way() -> (World, Clock, Arc<Memory>, Mirror) {
    let (world, clock) = scanned(|t| {
        for n in 0..8 {
            t.file(format!("d/f{n}"), format!("content {n}"));
        }
        for n in 0..4 {
            t.file(format!("m/x{n}"), format!("moves {n}"));
        }
    });
    let memory = Memory::new();
    let mirror = open(&world, &options().uploads_max(1), &memory);
    finish("the first run", &mirror);
    memory.clear_calls();
    for n in 0..3 {
        world.tree.append(format!("d/f{n}"), "more");
    }
    world.tree.rename("m", "moved").file("new/a", "a").file("new/b", "b").remove("d/f6").remove("d/f7");
    world.scan();
    (world, clock, memory, mirror)
}

#[test]
fn credentials_that_end_at_any_call_end_the_run_and_others_send_the_rest_alone() {
    for allowed in 0.. {
        let what = format!("{allowed} calls allowed");
        let (world, _clock, memory, mirror) = changed_in_every_way();
        let asked = AtomicUsize::new(0);
        memory.script(move |_| {
            (asked.fetch_add(1, Ordering::SeqCst) >= allowed).then(|| failure(StorageFault::Denied))
        });
        let ended = mirror.sync(&MirrorContext::new());
        let calls = memory.calls();
        if calls.len() <= allowed {
            assert!(ended.is_ok_and(|report| report.is_complete()), "{what}: nothing was refused");
            assert_eq!(calls.len(), 10, "{calls:?}");
            assert_mirrored(&what, &world, &memory);
            break;
        }
        match ended {
            Err(_) => drop(refused(&what, ended, DENIED)),
            // Where fewer than three puts were left there is nothing that could be given up.
            Ok(report) => assert!(allowed > 6 && report.failed > 0, "{what}: {report:?}"),
        }
        // Three in a row, one of them a copy that is sent instead, and perhaps a deletion.
        assert!(calls.len() <= allowed + 5, "{what}: {calls:?}");

        let other = memory.again();
        let again = open(&world, &options(), &other);
        finish(&what, &again);
        let (done, calls) = (&calls[..allowed], other.calls());
        let twice: Vec<&Call> = calls.iter().filter(|call| done.contains(call)).collect();
        assert!(twice.is_empty(), "{what}: asked for again: {twice:?}");
        assert_mirrored(&what, &world, &other);
    }
}

// ---------------------------------------------------------------------------------- slowing down

#[test]
fn a_pause_that_is_asked_of_one_is_kept_by_all() {
    within("a pause", || {
        let (_world, _clock, memory, mirror) = many(12, &options());
        let pause = Duration::from_millis(1_500);
        let calls = AtomicUsize::new(0);
        let first = Arc::new(Mutex::new(None::<(Waits, Instant)>));
        let later = Arc::new(Mutex::new(Vec::<Instant>::new()));
        let (its_first, its_later) = (Arc::clone(&first), Arc::clone(&later));
        memory.script(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => {
                hold(|| calls.load(Ordering::SeqCst) >= 4);
                let mut first = its_first.lock().unwrap();
                *first = Some((Waits::of_this_thread(), Instant::now()));
                Some(failure(StorageFault::Throttled(Some(pause))))
            }
            // They were under way, and work. They end when the first one waits: now the others know why.
            1..4 => {
                let it_waits = || {
                    let first = its_first.lock().unwrap();
                    first.as_ref().is_some_and(|(waits, _)| waits.so_far() > 1)
                };
                hold(|| it_waits() || calls.load(Ordering::SeqCst) > 4);
                None
            }
            _ => {
                its_later.lock().unwrap().push(Instant::now());
                None
            }
        });
        let report = finish("a pause", &mirror);
        assert_eq!((report.uploaded, report.retries), (12, 1), "{report:?}");
        let (_, asked) = first.lock().unwrap().take().expect("it was asked for");
        let later = later.lock().unwrap();
        assert_eq!(later.len(), 9, "one that was put off, and eight that had not begun");
        for at in later.iter() {
            let waited = at.saturating_duration_since(asked);
            assert!(waited >= pause, "a call came after {waited:?}");
        }
    });
}

#[test]
fn retry_after_0_is_no_leave_to_ask_at_once() {
    let (world, _clock, memory, mirror) = many(3, &options().uploads_max(1));
    let times = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let its = Arc::clone(&times);
    memory.script(move |_| {
        let mut times = its.lock().unwrap();
        times.push(Instant::now());
        (times.len() == 1).then(|| failure(StorageFault::Throttled(Some(Duration::ZERO))))
    });
    let report = finish("at once", &mirror);
    assert_eq!((report.uploaded, report.retries), (3, 1), "{report:?}");
    let times = times.lock().unwrap();
    let waited = times[1].saturating_duration_since(times[0]);
    assert!(waited >= USUAL_PAUSE, "the next call came after {waited:?}");
    assert_mirrored("at once", &world, &memory);
}

/// How long a run takes whose first request a server answers with 503 and this `Retry-After`.
fn slowed_down(retry_after_s: Option<u64>) -> Duration {
    let dir = Tree::new();
    let server = S3Server::start(dir.path());
    server.create_bucket(BUCKET);
    let (world, _clock) = scanned(library);
    let (limits, target) = (s3_options().uploads_max(1), s3_target(&server.endpoint()));
    let mirror = world.warden().mirror_to("m", &limits, &target, &s3_credentials()).unwrap();
    server.faults().once(When::put(), Fault::slow_down(retry_after_s));
    let begun = Instant::now();
    let report = finish("slowed down", &mirror);
    let took = begun.elapsed();
    assert_eq!((report.uploaded, report.retries, server.faults().left()), (4, 1, 0), "{report:?}");
    assert_eq!(server.requests().len(), 5, "{:?}", server.requests());
    assert_equal("slowed down", &naive(world.tree.path(), "img"), &server.objects(BUCKET));
    took
}

#[test]
fn a_server_is_not_asked_again_sooner_than_it_said() {
    // More than the usual pause can be.
    let took = slowed_down(Some(2));
    assert!(took >= Duration::from_secs(2), "the run took {took:?}");
}

#[test]
fn a_server_that_says_no_time_or_none_at_all_gets_the_usual_pause() {
    for retry_after_s in [Some(0), None] {
        let took = slowed_down(retry_after_s);
        assert!(took >= USUAL_PAUSE, "{retry_after_s:?}: the run took {took:?}");
    }
}

// ---------------------------------------------------------------------------------- from within a run

#[test]
fn a_run_tells_its_own_callback_that_it_is_busy_and_goes_on() {
    within("calls from a callback", || {
        let (world, _clock, memory, mirror) = many(30, &options());
        let told = Arc::new(Mutex::new(Vec::new()));
        let (its, answers) = (mirror.clone(), Arc::clone(&told));
        let context = MirrorContext::new().progress(move |_| {
            let refusals = [
                ("sync", its.sync(&MirrorContext::new()).err()),
                ("plan", its.plan().err()),
                ("audit", its.audit(&AuditOptions::new()).err()),
                ("follow", its.follow().err()),
            ];
            let (status, urls) = (its.status(), its.urls().len());
            answers.lock().unwrap().push((refusals, status.running, urls));
        });
        let report = mirror.sync(&context).unwrap_or_else(|e| panic!("sync: {e}"));
        assert!(report.is_complete() && report.uploaded == 30, "{report:?}");
        let told = told.lock().unwrap();
        assert!(told.len() >= 2, "at the beginning and at the end");
        for (refusals, running, _) in told.iter() {
            for (what, refusal) in refusals {
                let kind = refusal.as_ref().map(treewarden::Error::kind);
                assert_eq!(kind, Some(ErrorKind::Busy), "{what} from within a run");
            }
            assert!(*running, "its status says that nothing runs");
        }
        let urls: Vec<usize> = told.iter().map(|(_, _, urls)| *urls).collect();
        assert!(urls.is_sorted() && urls.last() == Some(&30), "{urls:?}");
        assert_eq!(memory.calls().len(), 30, "{:?}", memory.calls());
        assert_mirrored("a run with a callback", &world, &memory);
        finish("another run", &mirror);
    });
}

#[test]
fn a_callback_can_neither_remove_its_mirror_nor_open_it_anew() {
    within("ends from a callback", || {
        let (world, _clock, memory, mirror) = many(30, &options());
        let other = memory.again();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (warden, anew, answers) = (world.warden().clone(), Arc::clone(&other), Arc::clone(&told));
        let context = MirrorContext::new().progress(move |_| {
            let storage: Arc<dyn Storage> = anew.clone();
            let refusals = [
                ("removed", warden.remove_mirror("m").err()),
                ("opened anew", warden.mirror_with("m", &options(), storage, None).err()),
            ];
            answers.lock().unwrap().push((refusals, warden.mirror_status().len()));
        });
        let report = mirror.sync(&context).unwrap_or_else(|e| panic!("sync: {e}"));
        drop(context);
        assert!(report.is_complete() && report.uploaded == 30, "{report:?}");
        let told = told.lock().unwrap();
        assert!(told.len() >= 2, "at the beginning and at the end");
        for (refusals, mirrors) in told.iter() {
            for (what, refusal) in refusals {
                let kind = refusal.as_ref().map(treewarden::Error::kind);
                assert_eq!(kind, Some(ErrorKind::Busy), "{what} from within a run");
            }
            assert_eq!(*mirrors, 1);
        }
        assert_mirrored("a run with a callback", &world, &memory);
        other.assert_quiet("the one that was not opened");
        world.tree.append("d0/f000", "!");
        world.scan();
        finish("it is the same mirror", &mirror);
        assert_mirrored("it is the same mirror", &world, &memory);
    });
}

#[test]
fn an_opening_that_is_refused_changes_nothing() {
    within("refused from a callback", || {
        let (world, _clock, memory, mirror) = many(30, &options());
        let (warden, other) = (world.warden().clone(), memory.again());
        let context = MirrorContext::new().progress(move |_| {
            let storage: Arc<dyn Storage> = other.clone();
            drop(warden.mirror_with("m", &options().uploads_max(7), storage, None));
        });
        mirror.sync(&context).unwrap_or_else(|e| panic!("sync: {e}"));
        let stored = world.warden().mirrors().unwrap();
        assert_eq!((stored.len(), &stored[0].options), (1, &options()));
        assert_eq!(mirror.options(), options());
    });
}

#[test]
fn a_callback_may_stop_what_follows_the_same_mirror() {
    within("stopped from a callback", || {
        let (world, _clock, memory, mirror) = many(30, &options());
        let slot = Arc::new(Mutex::new(None::<Following>));
        let (its, is_held) = (Arc::clone(&slot), Arc::new(AtomicBool::new(true)));
        let held = Arc::clone(&is_held);
        memory.midway(move |_| hold(|| !held.load(Ordering::SeqCst)));
        let context = MirrorContext::new().progress(move |_| drop(its.lock().unwrap().take()));
        let thread = begin(&mirror, context);
        wait_until("it runs", || !memory.calls().is_empty());
        // Its thread waits for the turn that the run has.
        *slot.lock().unwrap() = Some(mirror.follow().unwrap());
        wait_until("it was stopped", || slot.try_lock().is_ok_and(|slot| slot.is_none()));
        // Its threads end by themselves: on the thread of a run nobody waits for them.
        wait_until("it has ended", || !mirror.status().following);
        is_held.store(false, Ordering::SeqCst);
        assert_eq!(joined("the run", thread), Ok(()));
        assert_mirrored("the run", &world, &memory);
    });
}

#[test]
fn a_callback_may_ask_how_all_stand_while_its_mirror_is_removed() {
    within("asked meanwhile", || {
        let (world, _clock) = scanned(library);
        let stuck = Stuck::new();
        stuck.hang(Some(Hang::StubbornPuts));
        let mirror = stuck.open(&world);
        let warden = world.warden().clone();
        let context = MirrorContext::new().progress(move |_| drop(warden.mirror_status()));
        let thread = begin(&mirror, context);
        wait_until("it hangs", || stuck.hanging() == 4);
        world.warden().remove_mirror("m").unwrap();
        let ended = joined("the run", thread);
        assert!(matches!(ended, Err(ErrorKind::Cancelled | ErrorKind::Closed)), "{ended:?}");
    });
}

// ---------------------------------------------------------------------------------- the end of a mirror

/// Ends a mirror whose run hangs. Nothing may be under way when that returns, and nothing be lost.
fn end_while_it_hangs(hang: Hang, end: End) {
    let what = format!("{hang:?}, {end:?}");
    let (mut world, _clock, stuck, mirror) = about_to_hang(hang);
    let before = stuck.memory.objects();
    let thread = begin(&mirror, MirrorContext::new());
    wait_until("it hangs", || stuck.hanging() > 0);
    end.come(&mut world, &stuck);
    assert_eq!(stuck.hanging(), 0, "{what}: a call is still under way");
    let ended = joined(&what, thread);
    assert!(matches!(ended, Err(ErrorKind::Cancelled | ErrorKind::Closed)), "{what}: {ended:?}");
    assert_equal(&what, &before, &stuck.memory.objects());
    refused(&what, mirror.sync(&MirrorContext::new()), &[ErrorKind::Closed]);
    drop(mirror);

    stuck.hang(None);
    if end == End::Close {
        world.open();
    }
    let mirror = open(&world, &options(), &stuck.memory);
    // One that was removed knows nothing of its objects any more.
    assert_eq!(mirror.urls().is_empty(), end == End::Remove, "{what}: {:?}", mirror.urls());
    mirror.audit(&AuditOptions::new().delete_unknown(true)).unwrap();
    finish(&what, &mirror);
    assert_mirrored(&what, &world, &stuck.memory);
}

#[test]
fn closing_ends_a_run_that_hangs() {
    for hang in HANGS {
        within(&format!("{hang:?}"), move || end_while_it_hangs(hang, End::Close));
    }
}

#[test]
fn removing_a_mirror_ends_its_run_that_hangs() {
    for hang in HANGS {
        within(&format!("{hang:?}"), move || end_while_it_hangs(hang, End::Remove));
    }
}

#[test]
fn opening_a_mirror_anew_ends_its_run_that_hangs() {
    for hang in HANGS {
        within(&format!("{hang:?}"), move || end_while_it_hangs(hang, End::OpenAnew));
    }
}

#[test]
fn a_mirror_that_follows_is_stopped_while_it_hangs() {
    for hang in HANGS {
        let what = format!("{hang:?}");
        within(&what.clone(), move || {
            let (world, _clock, stuck, mirror) = about_to_hang(hang);
            let following = mirror.follow().unwrap();
            wait_until("it hangs", || stuck.hanging() > 0);
            following.stop();
            assert_eq!(stuck.hanging(), 0, "{what}: a call is still under way");
            let status = mirror.status();
            assert!(!status.following && !status.running, "{what}: {status:?}");
            // The mirror itself goes on.
            stuck.hang(None);
            finish(&what, &mirror);
            assert_mirrored(&what, &world, &stuck.memory);
        });
    }
}

#[test]
fn who_waits_for_its_turn_when_the_mirror_ends_makes_no_call() {
    for end in ENDS {
        within(&format!("{end:?}"), move || {
            let (mut world, _clock) = scanned(library);
            let stuck = Stuck::new();
            stuck.hang(Some(Hang::Puts));
            let mirror = stuck.open(&world);
            let first = begin(&mirror, MirrorContext::new());
            wait_until("all four hang", || stuck.hanging() == 4);
            let (its, theirs) = (mirror.clone(), mirror.clone());
            let run = waiting("a run waits", move || its.sync(&MirrorContext::new()).map(drop));
            let audit = waiting("an audit waits", move || theirs.audit(&AuditOptions::new()).map(drop));
            drop(mirror);
            end.come(&mut world, &stuck);
            let ended = joined("the first run", first);
            assert!(matches!(ended, Err(ErrorKind::Cancelled | ErrorKind::Closed)), "{end:?}: {ended:?}");
            for (what, thread) in [("a run that waits", run), ("an audit that waits", audit)] {
                refused(what, joined(what, thread), &[ErrorKind::Closed]);
            }
            assert_eq!(stuck.asked(), 4, "{end:?}: those of the first run");
        });
    }
}

#[test]
fn a_run_that_is_cancelled_while_it_waits_for_its_turn_ends() {
    within("cancelled while it waits", || {
        let (world, _clock) = scanned(library);
        let stuck = Stuck::new();
        stuck.hang(Some(Hang::Puts));
        let mirror = stuck.open(&world);
        let first = begin(&mirror, MirrorContext::new());
        wait_until("all four hang", || stuck.hanging() == 4);
        let token = CancelToken::new();
        let (its, context) = (mirror.clone(), MirrorContext::new().cancel(token.clone()));
        let (theirs, audited) = (mirror.clone(), AuditOptions::new().cancel(token.clone()));
        let run = waiting("a run waits", move || its.sync(&context).map(drop));
        let audit = waiting("an audit waits", move || theirs.audit(&audited).map(drop));
        token.cancel();
        for (what, thread) in [("a run that waits", run), ("an audit that waits", audit)] {
            refused(what, joined(what, thread), &[ErrorKind::Cancelled]);
        }
        assert_eq!((stuck.hanging(), stuck.asked()), (4, 4), "the first run is not concerned");
        world.warden().remove_mirror("m").unwrap();
        let ended = joined("the first run", first);
        assert!(matches!(ended, Err(ErrorKind::Cancelled | ErrorKind::Closed)), "{ended:?}");
    });
}

#[test]
fn a_mirror_that_is_removed_while_it_runs_is_forgotten_whole() {
    within("removed at any moment", || {
        let (mut world, _clock) = scanned(|t| {
            for n in 0..30 {
                t.file(format!("f{n:02}"), format!("content {n}"));
            }
        });
        let memory = Memory::new();
        let expected = naive(world.tree.path(), "");
        for round in 0..11 {
            let what = format!("round {round}");
            let mirror = open(&world, &options(), &memory);
            assert!(mirror.urls().is_empty(), "{what}: it knows objects of the one before");
            memory.clear_calls();
            let thread = begin(&mirror, MirrorContext::new());
            wait_until(&what, || memory.calls().len() >= round * 3 || thread.is_finished());
            world.warden().remove_mirror("m").unwrap();
            let calls = memory.calls().len();
            let ended = joined(&what, thread);
            let is_fit = matches!(ended, Ok(()) | Err(ErrorKind::Closed | ErrorKind::Cancelled));
            assert!(is_fit, "{what}: {ended:?}");
            assert_eq!(memory.calls().len(), calls, "{what}: it went on after it was removed");
            assert!(world.warden().mirrors().unwrap().is_empty(), "{what}");
            assert!(world.warden().mirror_status().is_empty(), "{what}");
            for (key, content) in memory.objects() {
                assert_eq!(expected.get(&key), Some(&content), "{what}: {key}");
            }
            drop(mirror);
            // A number that is free may be given again now, with whatever was left under it.
            world.reopen();
        }
        let mirror = open(&world, &options(), &memory);
        assert!(mirror.urls().is_empty());
        assert_eq!(finish("in the end", &mirror).uploaded, 30);
        assert_mirrored("in the end", &world, &memory);
        drop(mirror);
        world.reopen();
        world.warden().check().unwrap();
    });
}

// ---------------------------------------------------------------------------------- a directory as the target

/// Directories in one another, as many as a path has room for: the kernel needs about 50 microseconds to come to the
/// last. Links would be followed once, when the mirror is opened.
const LEVELS: usize = 1_200;

/// Names that are taken, so that a put has to try them one after another: for a few tenths of a second.
const TAKEN: usize = 6_000;

/// What is in a directory, without looking into anything.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_put_into_a_directory_that_takes_long_is_waited_for_and_never_overtakes() {
    for is_closed in [false, true] {
        let what = if is_closed { "closed" } else { "cancelled" };
        within(what, move || {
            let (mut world, _clock) = scanned(|t| {
                t.file("x", "first");
            });
            let tree = Tree::new();
            let deep = DeepTree::plant(&tree, LEVELS);
            let end = tree.join(deep.rel(""));
            // A file is written beside its place, under the first number that is free.
            let taken = |n: usize| format!("x#{n}");
            for n in 1..=TAKEN {
                deep.file(&taken(n), "");
            }
            let (target, none) = (Target::directory(&end), Credentials::none());
            let mirror = world.warden().mirror_to("m", &options(), &target, &none).unwrap();
            let (token, is_read) = (CancelToken::new(), Arc::new(AtomicBool::new(false)));
            let its = Arc::clone(&is_read);
            let context = MirrorContext::new()
                .cancel(token.clone())
                .progress(move |progress| its.store(progress.bytes > 0, Ordering::SeqCst));
            let thread = begin(&mirror, context);
            wait_until("it was read", || is_read.load(Ordering::SeqCst));
            if is_closed {
                world.close();
            } else {
                token.cancel();
                wait_until("the run has ended", || thread.is_finished());
            }
            let there = fs::read_to_string(end.join("x")).ok();
            assert_eq!(there.as_deref(), Some("first"), "{what}: the put was left to itself");
            let _ = joined("the run", thread);
            drop(mirror);

            for n in 1..=TAKEN {
                fs::remove_file(end.join(taken(n))).unwrap();
            }
            if is_closed {
                world.open();
            }
            world.tree.file("x", "second, and longer");
            world.scan();
            let mirror = world.warden().mirror("m", &none, None).unwrap();
            finish(what, &mirror);
            assert_equal(what, &naive(world.tree.path(), ""), &naive(&end, ""));
        });
    }
}

#[test]
fn a_put_in_parts_that_is_cancelled_leaves_nothing_in_a_directory() {
    within("cancelled between two parts", || {
        let (world, _clock) = scanned(|t| {
            t.file("large", vec![7; 12 << 20]);
        });
        let remote = Tree::new();
        let (target, none) = (Target::directory(remote.path()), Credentials::none());
        let limits = options().part_bytes(5 * MIB).memory_bytes(20 * MIB);
        // The second part has to wait for five seconds.
        let slow = limits.clone().bandwidth_bytes_per_s(MIB);
        let mirror = world.warden().mirror_to("m", &slow, &target, &none).unwrap();
        let token = CancelToken::new();
        let thread = begin(&mirror, MirrorContext::new().cancel(token.clone()));
        wait_until("it is written beside its place", || names(remote.path()) == ["large#1"]);
        token.cancel();
        assert_eq!(joined("the run", thread), Err(ErrorKind::Cancelled));
        assert_eq!(names(remote.path()), [""; 0], "half-written files are left");
        drop(mirror);

        let mirror = world.warden().mirror_to("m", &limits, &target, &none).unwrap();
        finish("once more", &mirror);
        assert_equal("once more", &naive(world.tree.path(), ""), &naive(remote.path(), ""));
    });
}

// ---------------------------------------------------------------------------------- forks

// SAFETY: both are declared as in the C library. The first takes nothing; the second may be called at any time, and
// does not return.
unsafe extern "C" {
    fn fork() -> i32;
    safe fn _exit(status: i32) -> !;
}

/// Runs a test of this module in a process of its own: a child of a `fork` has the open files and locks of every test
/// that runs in the same process.
fn alone(test: &str, job: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        job();
        return;
    }
    let name = format!("mirror_endurance::{test}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name.as_str(), "--exact", "--nocapture"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_well = output.status.success() && stdout.contains("1 passed");
    assert!(is_well, "{name} alone ended with {}\nstdout {stdout}\nstderr {stderr}", output.status);
}

/// How a child has ended: the code of its exit, or `None` for one that hangs, or was ended by a signal.
fn exit_of(child: i32) -> Option<i32> {
    let child = Pid::from_raw(child).unwrap();
    let begun = Instant::now();
    loop {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).unwrap() {
            return status.exit_status();
        }
        if begun.elapsed() > HANG {
            kill_process(child, Signal::KILL).unwrap();
            waitpid(Some(child), WaitOptions::empty()).unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_forked_child_drops_what_follows_without_a_wait_and_the_parent_goes_on() {
    alone("a_forked_child_drops_what_follows_without_a_wait_and_the_parent_goes_on", || {
        let (mut world, _clock) = scanned(library);
        let memory = Memory::new();
        let mirror = open(&world, &options(), &memory);
        let following = mirror.follow().unwrap();
        let arrives = |world: &World, what: &str| {
            wait_until(what, || memory.objects() == naive(world.tree.path(), ""));
        };
        arrives(&world, "what was there");
        // SAFETY: the child uses nothing but memory of its own, and ends without returning from here.
        let child = unsafe { fork() };
        assert!(child >= 0, "no child: {}", std::io::Error::last_os_error());
        if child == 0 {
            // Nothing that fails an assertion or prints: nobody would hear it.
            let is_well = catch_unwind(AssertUnwindSafe(move || {
                drop(following);
                let ended = mirror.sync(&MirrorContext::new());
                ended.is_err_and(|error| error.kind() == ErrorKind::Forked)
            }));
            _exit(i32::from(!is_well.unwrap_or(false)));
        }
        assert_eq!(exit_of(child), Some(0), "the child hangs, or was not told that it is one");

        let status = mirror.status();
        assert!(status.following && status.last_error.is_none(), "{status:?}");
        world.tree.file("after the fork", "a").append("a.txt", "more");
        world.scan();
        arrives(&world, "after the fork");
        following.stop();
        assert!(!mirror.status().following);
        finish("by hand", &mirror);
        drop(mirror);
        world.reopen();
        world.warden().check().unwrap();
    });
}

#[test]
fn a_callback_that_removes_its_mirror_while_another_thread_does_is_told_too() {
    within("removed twice", || {
        let (world, _clock) = scanned(library);
        let stuck = Stuck::new();
        stuck.hang(Some(Hang::StubbornPuts));
        let mirror = stuck.open(&world);
        let warden = world.warden().clone();
        let context = MirrorContext::new().progress(move |_| drop(warden.remove_mirror("m")));
        let thread = begin(&mirror, context);
        wait_until("it hangs", || stuck.hanging() == 4);
        world.warden().remove_mirror("m").unwrap();
        let _ = joined("the run", thread);
    });
}

#[test]
fn the_last_pause_that_is_asked_for_is_kept_too() {
    let ms = Duration::from_millis;
    let (_world, _clock, memory, mirror) = many(2, &options().uploads_max(1).retry(1, ms(1), ms(1)));
    let (pause, times) = (ms(300), Arc::new(Mutex::new(Vec::<Instant>::new())));
    let its = Arc::clone(&times);
    memory.script(move |_| {
        its.lock().unwrap().push(Instant::now());
        Some(failure(StorageFault::Throttled(Some(pause))))
    });
    let _ = mirror.sync(&MirrorContext::new());
    for two in times.lock().unwrap().windows(2) {
        let waited = two[1].saturating_duration_since(two[0]);
        assert!(waited >= pause, "the next call came after {waited:?}");
    }
}
