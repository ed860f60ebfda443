//! The process that is killed while it works on a pipeline. Its log says what it begins and what the engine
//! has acknowledged, each line on the disk before the next step; the oracle is in the parent.
//!
//! ```text
//! work_child DB LOG SEED [KILL_POINT PASS]      works until it is killed
//! ```
//!
//! | line of the log | means |
//! |---|---|
//! | `begin PATH TOKEN` | the job was handed out, and the work on it begins |
//! | `back PATH TOKEN` | it is about to be given back, or to fail: from now on it may be handed out again |
//! | `done PATH TOKEN` | its completion returned |
//!
//! On stdout it says `open`, then `idle` or `busy` with every claim, so that the parent can count.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use support::{Rng, generation, show};
use treewarden::{Failed, Job, Pipeline, Warden};

const THREADS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [db, log, seed, rest @ ..] = args.as_slice() else {
        panic!("usage: work_child DB LOG SEED [KILL_POINT PASS]");
    };
    if let [point, pass] = rest {
        let point = generation::KILL_POINTS.iter().find(|name| **name == point.as_str()).copied();
        treewarden::testing::set_kill_point(point.expect("a known kill point"), pass.parse().unwrap());
    }
    let log = Log(Mutex::new(OpenOptions::new().append(true).create(true).open(log).unwrap()));
    let warden = Warden::open(db).unwrap_or_else(|e| panic!("open: {e}"));
    let pipeline = warden.pipeline("p").unwrap_or_else(|e| panic!("pipeline: {e}"));
    println!("open");
    let mut seeds = Rng::new(seed.parse().unwrap());
    std::thread::scope(|s| {
        for _ in 0..THREADS {
            let (pipeline, log, rng) = (&pipeline, &log, Rng::new(seeds.bits()));
            s.spawn(move || {
                // A dead thread must not leave the others running alone.
                if catch_unwind(AssertUnwindSafe(|| work(pipeline, log, rng))).is_err() {
                    std::process::exit(3);
                }
            });
        }
    });
}

struct Log(Mutex<File>);

impl Log {
    fn note(&self, what: &str, about: &str) {
        let mut file = self.0.lock().unwrap();
        file.write_all(format!("{what} {about}\n").as_bytes()).unwrap();
        file.sync_data().unwrap();
    }
}

fn name(job: &Job) -> String {
    format!("{} {}", show(job.path()), job.token())
}

fn work(pipeline: &Pipeline, log: &Log, mut rng: Rng) {
    loop {
        let jobs = pipeline.claim_wait(1 + rng.index(4), Some(Duration::from_millis(5)));
        let jobs = jobs.unwrap_or_else(|e| panic!("claim: {e}"));
        println!("{}", if jobs.is_empty() { "idle" } else { "busy" });
        let mut together = Vec::new();
        for job in jobs {
            let about = name(&job);
            log.note("begin", &about);
            match rng.below(10) {
                0 => {
                    log.note("back", &about);
                    job.release().unwrap_or_else(|e| panic!("release {about}: {e}"));
                }
                1 => {
                    log.note("back", &about);
                    let failed = Failed::transient("once more").retry_after(Duration::ZERO);
                    job.fail(&failed).unwrap_or_else(|e| panic!("fail {about}: {e}"));
                }
                2..=5 => together.push(job),
                _ => {
                    job.complete().unwrap_or_else(|e| panic!("complete {about}: {e}"));
                    log.note("done", &about);
                }
            }
        }
        let of: Vec<String> = together.iter().map(name).collect();
        let answers = pipeline.complete_many(together).unwrap_or_else(|e| panic!("complete_many: {e}"));
        for (about, answer) in of.iter().zip(answers) {
            answer.unwrap_or_else(|e| panic!("complete_many {about}: {e}"));
            log.note("done", about);
        }
    }
}
