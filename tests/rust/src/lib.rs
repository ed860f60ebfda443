//! What the end-to-end tests share: trees on disk and programs that change them, an open warden
//! over one of them, a naive reference to compare it with, and the replay of a journal.
//!
//! Nothing here may use the engine to find out what is true: the truth comes from `std::fs`
//! ([`mod@reference`]) and from what the engine itself has acknowledged.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub mod cdn;
pub mod child;
mod deep;
pub mod generation;
pub mod live;
pub mod mirror;
mod mount;
mod mutator;
pub mod redis;
pub mod reference;
pub mod replay;
mod rng;
pub mod s3;
mod talk;
mod tree;
pub mod work;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use deep::DeepTree;
pub use mount::Mount;
pub use mutator::{ANCHOR, Links, Mutator, SKIPPED};
pub use replay::{Replay, Row, rows_since};
pub use rng::{Rng, env_number};
pub use talk::Talk;
pub use tree::{Tree, bytes_of, show};
pub use world::{ROOT, Setup, World, address, file_names};

use treewarden::{Error, ErrorKind, Walker};

/// One day in milliseconds.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A call that has not answered after this long hangs. Nothing else in the tests looks at time.
pub const HANG: Duration = Duration::from_secs(120);

/// The two walkers, which must give the same answers.
#[must_use]
pub fn both_walkers() -> [Walker; 2] {
    [Walker::Fd, Walker::Jwalk]
}

/// The system's time in nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// True when the test runs as root, for whom permissions do not count.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says on stderr that a test cannot run here, and why.
pub fn skip(test: &str, why: impl std::fmt::Display) {
    eprintln!("SKIPPED {test}: {why}");
}

/// Expects a refusal of one of the `kinds`, with a message fit for a human: one sentence without
/// raw control characters, and at most one more line that starts with `hint:`.
pub fn refused<T>(what: &str, result: treewarden::Result<T>, kinds: &[ErrorKind]) -> Error {
    let error = match result {
        Ok(_) => panic!("{what}: was accepted, expected {kinds:?}"),
        Err(error) => error,
    };
    assert!(kinds.contains(&error.kind()), "{what}: expected {kinds:?}, got {:?}: {error}", error.kind());
    let text = error.to_string();
    let mut lines = text.lines();
    let sentence = lines.next().unwrap_or_default();
    assert!(!sentence.trim().is_empty(), "{what}: an error without a message");
    for line in lines {
        assert!(line.starts_with("hint: "), "{what}: a second line that is no hint: {text:?}");
    }
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{what}: a raw control character in the message {text:?}"
    );
    error
}

/// Runs `job` on a thread of its own and fails when it hangs or panics.
pub fn within<T: Send + 'static>(what: &str, job: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, answer) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(job());
    });
    match answer.recv_timeout(HANG) {
        Ok(value) => {
            thread.join().unwrap();
            value
        }
        Err(RecvTimeoutError::Timeout) => panic!("{what}: no answer after {HANG:?}, it hangs"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => {
                eprintln!("{what}: panicked");
                std::panic::resume_unwind(panic)
            }
            Ok(()) => panic!("{what}: ended without an answer"),
        },
    }
}

/// Waits until `met` says yes; fails when it never does.
pub fn wait_until(what: &str, mut met: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !met() {
        assert!(started.elapsed() < HANG, "{what}: did not happen within {HANG:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares two listings and prints only the lines in which they differ.
pub fn assert_same<V: PartialEq + Debug>(
    what: &str,
    expected: &BTreeMap<Vec<u8>, V>,
    found: &BTreeMap<Vec<u8>, V>,
) {
    if expected == found {
        return;
    }
    let mut lines = Vec::new();
    for (path, value) in expected {
        match found.get(path) {
            None => lines.push(format!("  lacks  {}  {value:?}", show(path))),
            Some(other) if other != value => {
                lines.push(format!("  wants  {}  {value:?}", show(path)));
                lines.push(format!("  found  {}  {other:?}", show(path)));
            }
            Some(_) => {}
        }
    }
    for (path, value) in found {
        if !expected.contains_key(path) {
            lines.push(format!("  extra  {}  {value:?}", show(path)));
        }
    }
    let total = lines.len();
    lines.truncate(40);
    panic!("{what}: {total} lines differ\n{}", lines.join("\n"));
}

/// Compares two lists of lines and prints what only one of them holds.
pub fn assert_lines(what: &str, expected: &[&str], found: &[String]) {
    if expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| e == f) {
        return;
    }
    let lacks: Vec<_> = expected.iter().filter(|e| !found.iter().any(|f| f == *e)).collect();
    let extra: Vec<_> = found.iter().filter(|f| !expected.iter().any(|e| e == f)).collect();
    panic!("{what}\n  lacks {lacks:?}\n  extra {extra:?}\n  found {found:?}");
}
