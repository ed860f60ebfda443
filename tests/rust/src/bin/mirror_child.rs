//! The process that is killed while it brings a bucket in step. It scans, runs the mirror `m` once with a CDN that
//! is told of it, and dies at a named point; the parent compares.
//!
//! ```text
//! mirror_child DB S3 CDN CLOCK_NS KILL_POINT PASS
//! ```
//!
//! | line on stdout | means |
//! |---|---|
//! | `open` | the mirror is open, and the run begins |
//! | `sent URL` | the object was acknowledged: it is on disk in the state file |
//! | `idle` | the run is over, and the kill point was not reached; it waits to be killed |

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::ROOT;
use support::mirror::{KILL_POINTS, cloudflare, s3_credentials, s3_options, s3_target};
use treewarden::mirror::{Mirror, MirrorContext, UrlChange, UrlMap};
use treewarden::{Clock, Warden};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [db, s3, cdn, clock_ns, point, pass] = args.as_slice() else {
        panic!("usage: mirror_child DB S3 CDN CLOCK_NS KILL_POINT PASS");
    };
    let point = KILL_POINTS.iter().find(|name| **name == point.as_str()).copied();
    treewarden::testing::set_kill_point(point.expect("a known kill point"), pass.parse().unwrap());
    // The parent's clock: under another one the scan would find files that are too fresh to be trusted.
    let clock = Clock::manual(clock_ns.parse().unwrap());
    let warden = Warden::options().clock(clock).open(db).unwrap_or_else(|e| panic!("open: {e}"));
    warden.scan(ROOT).unwrap_or_else(|e| panic!("scan: {e}"));
    let mirror = warden
        .mirror_to_with("m", &s3_options(), &s3_target(s3), &s3_credentials(), Some(cloudflare(cdn)))
        .unwrap_or_else(|e| panic!("mirror: {e}"));
    println!("open");
    let (before, over) = (mirror.urls(), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| tell(&mirror, &before, &over));
        let result = mirror.sync(&MirrorContext::new().accept_deletes(true));
        over.store(true, Ordering::SeqCst);
        result
    });
    if let Err(error) = result {
        panic!("sync: {error}");
    }
    println!("idle");
    loop {
        std::thread::park();
    }
}

/// Tells every acknowledgement, as the map of addresses shows it.
fn tell(mirror: &Mirror, before: &UrlMap, over: &AtomicBool) {
    let mut known = before.clone();
    loop {
        let is_last = over.load(Ordering::SeqCst);
        let now = mirror.urls();
        for change in now.diff(&known) {
            if let UrlChange::Added { url, .. } | UrlChange::Modified { url, .. } = change {
                println!("sent {url}");
            }
        }
        known = now;
        if is_last {
            return;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
