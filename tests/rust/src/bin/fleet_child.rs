//! One machine of a fleet, to be killed at any moment. What it does is in its log, a line at a time, each in
//! one write; the oracle is in the parent.
//!
//! ```text
//! fleet_child limiter URL LOG LIMIT WINDOW_MS HOLD_MS   asks for permits and sends requests, until killed
//! fleet_child lease URL LOG TTL_MS                      takes the lease when it can, until killed
//! fleet_child publish URL DB STREAM PASS                publishes; killed at the PASS-th batch
//! ```
//!
//! | line | means |
//! |---|---|
//! | `sent NS` | a request was sent at that moment |
//! | `valid TOKEN NS` | at that moment it was the leader, with that token |
//!
//! Times are of the clock that runs since the machine was started, the same for all processes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use support::redis::clock_ns;
use support::{Rng, now_ns};
use treewarden::fleet::Fleet;
use treewarden::{ErrorKind, RateLimit, Warden};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["limiter", url, log, limit, window, hold] => {
            request(url, log, limit.parse().unwrap(), ms(window), ms(hold));
        }
        ["lease", url, log, ttl] => lead(url, log, ms(ttl)),
        ["publish", url, db, stream, pass] => publish(url, db, stream, pass.parse().unwrap()),
        _ => panic!("usage: fleet_child limiter|lease|publish ..."),
    }
}

fn ms(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

fn fleet(url: &str) -> Fleet {
    let short = Duration::from_millis(500);
    Fleet::options(url).connect_timeout(short).command_timeout(short).connect_later().unwrap()
}

fn log(path: &str) -> impl FnMut(String) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    move |line| file.write_all(format!("{line}\n").as_bytes()).unwrap()
}

fn request(url: &str, path: &str, limit: u32, window: Duration, hold: Duration) {
    let rate = RateLimit::new(limit, window).pacing(false);
    let limiter = fleet(url).limiter_with("api", &rate, hold).unwrap();
    let (mut note, mut rng) = (log(path), Rng::new(now_ns().unsigned_abs()));
    loop {
        let Some(permit) = limiter.acquire(None).unwrap_or_else(|e| panic!("acquire: {e}")) else { continue };
        // The request arrives at some moment between the grant and the answer.
        std::thread::sleep(Duration::from_micros(rng.below(15_000)));
        let at = clock_ns();
        // Valid afterwards, so valid then.
        if permit.is_valid() {
            note(format!("sent {at}"));
        }
        std::thread::sleep(Duration::from_micros(rng.below(15_000)));
        permit.done();
    }
}

fn lead(url: &str, path: &str, ttl: Duration) {
    let lease = fleet(url).lease("scan", ttl).unwrap();
    let (mut note, mut rng) = (log(path), Rng::new(now_ns().unsigned_abs()));
    loop {
        let Some(mut leader) = lease.acquire(None).unwrap_or_else(|e| panic!("acquire: {e}")) else {
            continue;
        };
        // One that is kept and forgotten would be kept for ever.
        let is_kept = rng.chance(50);
        if is_kept {
            leader.keep().unwrap();
        }
        let looks = rng.below(150);
        for _ in 0..looks {
            let at = clock_ns();
            if !leader.is_valid() {
                break;
            }
            note(format!("valid {} {at}", leader.token()));
            std::thread::sleep(Duration::from_millis(3));
        }
        // Now and then it is not given back.
        if !is_kept && rng.chance(50) {
            std::mem::forget(leader);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn publish(url: &str, db: &str, stream: &str, pass: u64) {
    treewarden::testing::set_kill_point("fleet:published", pass);
    let warden = Warden::open(Path::new(db)).unwrap_or_else(|e| panic!("open: {e}"));
    let mut publisher = fleet(url).publisher(stream, &warden, None).unwrap();
    loop {
        match publisher.publish_once(usize::MAX) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => panic!("publish: {error}"),
        }
    }
}
