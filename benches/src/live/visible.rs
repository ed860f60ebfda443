//! From a change to its being seen, and from a commit to the wake-up of who waits for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use treewarden::{RootWatch, Snapshot, Warden, WatchBackend};

use crate::Result;
use crate::measure::{Record, Samples, record};
use crate::ours::ROOT;
use crate::rng::Rng;

use super::watched;

const SEED: u64 = 0x6c69_7665;
/// Changes of one run, each in a directory of its own.
pub(super) const CHANGES: usize = 250;
/// Between two changes, at random.
const GAP_MS: (u64, u64) = (10, 30);
/// How long a wait lasts at most before it is looked whether there is still something to wait for.
const TICK: Duration = Duration::from_millis(100);
/// A change that is not seen after this will not be.
const LOST: Duration = Duration::from_secs(30);

const PUTS: u64 = 500;
/// Before a put: the other thread has fallen asleep again.
const PAUSE: Duration = Duration::from_millis(1);

/// A file that is about to be one byte longer.
struct Expected {
    address: Vec<u8>,
    size: u64,
    start: Instant,
}

/// Appends a byte to files of a watched tree, and takes the time of each until the snapshot shows it. The times are without the
/// debounce.
pub(super) fn changes(db: &Path, dir: &Path, threads: usize, debounce_ms: u64) -> Result<Record> {
    let warden = Warden::open(db)?;
    warden.add_root(ROOT, dir)?;
    let root = RootWatch::new().debounce_ms(debounce_ms);
    watched::watch(&warden, &watched::options(WatchBackend::Auto, threads).default_root(root))?;
    watched::watched_dirs(&warden)?;

    let mut rng = Rng::new(SEED);
    let files = one_per_directory(&warden.snapshot(), &mut rng);
    if files.len() < CHANGES {
        return Err(
            format!("the tree has {} directories with files, {CHANGES} are needed", files.len()).into()
        );
    }
    let seq = warden.seq();
    let begun = Instant::now();
    let seen = thread::scope(|scope| -> Result<Samples> {
        let (sender, receiver) = mpsc::channel();
        let warden = &warden;
        let watcher = scope.spawn(move || see(warden, seq, &receiver));
        let written = write(dir, &files, &mut rng, &sender);
        // Says that this was all.
        drop(sender);
        let seen = watcher.join().map_err(|_| "the thread that waits for commits panicked")?;
        written.and(seen)
    })?;
    let debounce_ms = debounce_ms as f64;
    Ok(record([
        ("seconds", begun.elapsed().as_secs_f64()),
        ("p50_ms", seen.quantile(0.5) - debounce_ms),
        ("p99_ms", seen.quantile(0.99) - debounce_ms),
    ]))
}

/// A random file of every directory that has any, with its size, in random order; as many as there will be changes.
fn one_per_directory(snapshot: &Snapshot, rng: &mut Rng) -> Vec<(Vec<u8>, u64)> {
    let mut by_directory: BTreeMap<Vec<u8>, Vec<(Vec<u8>, u64)>> = BTreeMap::new();
    for entry in snapshot.files(ROOT) {
        let path = entry.path();
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        by_directory.entry(path[..end].to_vec()).or_default().push((path, entry.size()));
    }
    let mut chosen: Vec<_> = by_directory
        .into_values()
        .map(|mut files| {
            let place = rng.between(0, files.len() as u64 - 1) as usize;
            files.swap_remove(place)
        })
        .collect();
    rng.shuffle(&mut chosen);
    chosen.truncate(CHANGES);
    chosen
}

/// Appends a byte to one file after the other; each is announced before it is touched.
fn write(dir: &Path, files: &[(Vec<u8>, u64)], rng: &mut Rng, sender: &Sender<Expected>) -> Result<()> {
    for (address, size) in files {
        thread::sleep(Duration::from_millis(rng.between(GAP_MS.0, GAP_MS.1)));
        let path = on_disk(dir, address)?;
        let mut file = File::options()
            .append(true)
            .open(&path)
            .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        let expected = Expected { address: address.clone(), size: size + 1, start: Instant::now() };
        // Whoever took it is gone only after an error of its own.
        if sender.send(expected).is_err() {
            break;
        }
        file.write_all(b"x")?;
    }
    Ok(())
}

fn on_disk(dir: &Path, address: &[u8]) -> Result<PathBuf> {
    let below = address.strip_prefix(ROOT.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
    let below = below.ok_or_else(|| format!("`{}` is in no root", address.escape_ascii()))?;
    Ok(dir.join(OsStr::from_bytes(below)))
}

/// Waits for commits after `seq` and looks which of the announced changes each of them shows; the milliseconds they took.
fn see(warden: &Warden, mut seq: u64, announced: &Receiver<Expected>) -> Result<Samples> {
    let mut times = Samples::default();
    let mut pending: Vec<Expected> = Vec::new();
    let mut more = true;
    let mut news = Instant::now();
    while more || !pending.is_empty() {
        let now_seq = warden.wait(seq, Some(TICK))?;
        let now = Instant::now();
        // What this commit may show was announced before it was made: it is in the channel by now.
        loop {
            match announced.try_recv() {
                Ok(expected) => {
                    news = now;
                    pending.push(expected);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    more = false;
                    break;
                }
            }
        }
        if now_seq > seq {
            seq = now_seq;
            let snapshot = warden.snapshot();
            pending.retain(|expected| {
                let size = snapshot.get(&expected.address).map(|entry| entry.size());
                let seen = size == Some(expected.size);
                if seen {
                    let time = now.saturating_duration_since(expected.start);
                    times.push(time.as_secs_f64() * 1e3);
                }
                !seen
            });
        }
        if news.elapsed() > LOST {
            return Err(format!("{} changes were never seen in the snapshot", pending.len()).into());
        }
    }
    Ok(times)
}

/// One thread puts durably, another waits for the commit: the time from the return of the put until the other is awake. It may well be
/// awake before: that is 0.
pub(super) fn wake(db: &Path) -> Result<Record> {
    let warden = Warden::open(db)?;
    let space = warden.space("bench")?;
    let from = warden.seq();
    let begun = Instant::now();
    let times = thread::scope(|scope| -> Result<Samples> {
        let (sender, receiver) = mpsc::channel();
        let warden = &warden;
        scope.spawn(move || wait_for_each(warden, from, &sender));
        let mut times = Samples::default();
        for number in 0..PUTS {
            thread::sleep(PAUSE);
            let seq = space.put(number.to_be_bytes(), b"value")?;
            let returned = Instant::now();
            let (woken_by, woken) = receiver.recv_timeout(LOST).map_err(|_| "a commit woke nobody")?;
            if woken_by != seq {
                return Err(format!("commit {seq} was made, but {woken_by} woke the other thread").into());
            }
            times.push(woken.saturating_duration_since(returned).as_secs_f64() * 1e6);
        }
        Ok(times)
    })?;
    Ok(record([
        ("seconds", begun.elapsed().as_secs_f64()),
        ("p50_us", times.quantile(0.5)),
        ("p99_us", times.quantile(0.99)),
    ]))
}

/// Tells of every wake-up until all puts are done, or nobody listens, or there is none for long.
fn wait_for_each(warden: &Warden, from: u64, sender: &Sender<(u64, Instant)>) {
    let mut seq = from;
    for _ in 0..PUTS {
        match warden.wait(seq, Some(LOST)) {
            Ok(next) if next > seq => seq = next,
            _ => return,
        }
        let woken = Instant::now();
        if sender.send((seq, woken)).is_err() {
            return;
        }
    }
}
