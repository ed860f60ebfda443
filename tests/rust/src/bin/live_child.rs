//! A process that watches, for what a test cannot show in its own: an idle engine, lost privileges,
//! limits, SIGKILL. And one that changes a tree, for independent programs at work.
//!
//! ```text
//! live_child [--drop] [--files N] [--exhaust] serve DB BACKEND    says `watching=yes`, then answers lines
//! live_child storm DB BACKEND                                     syncs for ever, says `synced=SEQ` each time
//! live_child mutate DIR SEED STEPS LINKS                          changes a tree
//! ```
//!
//! `--drop` gives up root's privileges, `--files` limits the descriptors, `--exhaust` leaves no
//! inotify instance to the engine. Every line it writes is made of `name=value` words.
//!
//! | line | answer |
//! |---|---|
//! | `sync` | `synced=SEQ` or `error=KIND` |
//! | `ls` | `files=a,b/c` |
//! | `status` | `coverage=… reason=yes/no coherent=… watched=… uncovered=… missing=…` |
//! | `idle MS` | `wakes=… cpu_us=… events=… seq_before=… seq_after=…` of the other threads |

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::ffi::{OsStr, OsString};
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use support::{HANG, Links, Mutator, ROOT, child, file_names};
use treewarden::{Subscription, Warden, WatchBackend, WatchOptions};

fn main() {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Held until the end, so that they stay taken.
    let mut taken: Vec<OwnedFd> = Vec::new();
    loop {
        match args.first().and_then(|arg| arg.to_str()) {
            Some("--drop") => {
                if let Err(error) = child::drop_privileges() {
                    println!("skipped=cannot_drop_privileges_{:?}", error.kind());
                    return;
                }
            }
            Some("--files") => {
                args.remove(0);
                let limit = args[0].to_str().and_then(|text| text.parse().ok());
                rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })
                    .unwrap();
            }
            Some("--exhaust") => {
                use rustix::fs::inotify::{CreateFlags, init};
                while let Ok(instance) = init(CreateFlags::CLOEXEC) {
                    taken.push(instance);
                }
            }
            _ => break,
        }
        args.remove(0);
    }
    let text = |n: usize| args.get(n).and_then(|arg| arg.to_str()).unwrap_or_default();
    match text(0) {
        "serve" => serve(&args[1], text(2)),
        "storm" => storm(&args[1], text(2)),
        "mutate" => {
            let links = Links::named(text(4)).unwrap();
            let mut mutator = Mutator::new(Path::new(&args[1]), text(2).parse().unwrap(), links);
            let steps: u64 = text(3).parse().unwrap();
            (0..steps).for_each(|_| mutator.step());
        }
        other => panic!("no such task: {other:?}"),
    }
}

fn watching(db: &OsStr, backend: &str) -> Result<Warden, treewarden::Error> {
    let backend = if backend == "notify" { WatchBackend::Notify } else { WatchBackend::Inotify };
    let warden = Warden::open(db)?;
    warden.watch_with(&WatchOptions::new().backend(backend))?;
    warden.sync(HANG)?;
    Ok(warden)
}

fn serve(db: &OsStr, backend: &str) {
    let warden = match watching(db, backend) {
        Ok(warden) => warden,
        Err(error) => {
            println!("error={}", error.kind().name());
            return;
        }
    };
    let events = warden.subscribe();
    println!("watching=yes");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("sync", _) => match warden.sync(HANG) {
                Ok(seq) => println!("synced={seq}"),
                Err(error) => println!("error={}", error.kind().name()),
            },
            ("ls", _) => println!("files={}", file_names(&warden.snapshot(), ROOT).join(",")),
            ("status", _) => status(&warden),
            ("idle", ms) => idle(&warden, &events, Duration::from_millis(ms.parse().unwrap())),
            other => panic!("no such request: {other:?}"),
        }
    }
    drop(events);
    warden.close().unwrap();
}

fn status(warden: &Warden) {
    let status = warden.status().unwrap();
    let live = status.live.expect("is watching");
    let root = live.roots.first().expect("a root");
    println!(
        "coverage={} reason={} coherent={} watched={} uncovered={} missing={}",
        root.coverage.name(),
        if root.reason.is_some() { "yes" } else { "no" },
        root.coherent,
        root.watched_dirs,
        root.uncovered_dirs,
        status.missing
    );
}

/// What the other threads of this process do while nothing happens in the tree.
fn idle(warden: &Warden, events: &Subscription, time: Duration) {
    warden.sync(HANG).unwrap();
    while events.try_next().is_some() {}
    // The threads of the scan that has just ended look for more work before they fall asleep.
    for _ in 0..100 {
        let before = spent();
        if events.next(Some(Duration::from_millis(50))).unwrap().is_none() && spent() == before {
            break;
        }
    }
    let (before, seq_before) = (spent(), warden.seq());
    let mut heard = 0;
    while let Some(event) = events.next(Some(time)).unwrap() {
        eprintln!("an idle tree, but: {event:?}");
        heard += 1;
    }
    let Some((before, after)) = before.zip(spent()) else {
        println!("skipped=no_schedstat");
        return;
    };
    let (wakes, cpu_us) = (after.1 - before.1, (after.0 - before.0) / 1000);
    println!(
        "wakes={wakes} cpu_us={cpu_us} events={heard} seq_before={seq_before} seq_after={}",
        warden.seq()
    );
}

/// Nanoseconds on a processor and times put on one, all threads but this.
fn spent() -> Option<(u64, u64)> {
    let me = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut sum = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?;
        if task.file_name() == OsStr::new(&me) {
            continue;
        }
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [on_cpu_ns, _, times] = numbers[..] else { return None };
        sum = (sum.0 + on_cpu_ns, sum.1 + times);
    }
    Some(sum)
}

fn storm(db: &OsStr, backend: &str) {
    let warden = watching(db, backend).unwrap();
    loop {
        println!("synced={}", warden.sync(HANG).unwrap());
    }
}
