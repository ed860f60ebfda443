//! Claiming, completing and asking for jobs of a pipeline that was opened before the clock starts. Each function with a state file is
//! one child process's whole life.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treewarden::{Durability, Job, Pipeline, Priority, Warden};

use crate::Result;
use crate::measure::{Record, Samples, record};
use crate::ours::ROOT;
use crate::process;

use super::BATCH;
use super::start::PIPELINE;
use super::stores::Bare;

/// Claims one by one that come first and are not counted.
const WARM_UP: u64 = 20;

/// Claims so many jobs and completes them, batch by batch on each thread.
pub(super) fn jobs(db: &Path, workers: usize, jobs: u64) -> Result<Record> {
    let warden = Warden::open(db)?;
    let pipeline = warden.pipeline(PIPELINE)?;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(&pipeline, &next, jobs))).collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let indexed = pipeline.status()?.indexed;
    if indexed != jobs {
        return Err(format!("{jobs} jobs were completed, but {indexed} items are").into());
    }
    Ok(record([("seconds", seconds), ("jobs_per_second", jobs as f64 / seconds)]))
}

fn work(pipeline: &Pipeline, next: &AtomicU64, jobs: u64) -> Result<()> {
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first >= jobs {
            return Ok(());
        }
        complete(pipeline, claim(pipeline, BATCH.min(jobs - first))?)?;
    }
}

fn claim(pipeline: &Pipeline, want: u64) -> Result<Vec<Job>> {
    let claimed = pipeline.claim(want as usize)?;
    if claimed.len() as u64 != want {
        return Err(format!("a claim of {want} jobs gave {}", claimed.len()).into());
    }
    Ok(claimed)
}

/// Completes jobs in one commit; fails if a lease was lost.
pub(super) fn complete(pipeline: &Pipeline, jobs: Vec<Job>) -> Result<()> {
    for answer in pipeline.complete_many(jobs)? {
        answer?;
    }
    Ok(())
}

/// Claims of one job, each after a put of one key in bare redb: both are one durable commit.
pub(super) fn claims(db: &Path, bare: &Path, count: u64) -> Result<Record> {
    let warden = Warden::open(db)?;
    let pipeline = warden.pipeline(PIPELINE)?;
    let bare = Bare::open(bare)?;
    let (mut claims, mut puts) = (Samples::default(), Samples::default());
    let begun = Instant::now();
    for number in 0..WARM_UP + count {
        let start = Instant::now();
        bare.put(number)?;
        let put = start.elapsed();
        let start = Instant::now();
        let claimed = claim(&pipeline, 1)?;
        let took = start.elapsed();
        drop(claimed);
        if number >= WARM_UP {
            puts.push(micros(put));
            claims.push(micros(took));
        }
    }
    let put = puts.quantile(0.5);
    Ok(record([
        ("seconds", begun.elapsed().as_secs_f64()),
        ("beyond_p50_us", claims.quantile(0.5) - put),
        ("beyond_p99_us", claims.quantile(0.99) - put),
        ("put_p50_us", put),
        ("put_beyond_p99_us", puts.quantile(0.99) - put),
    ]))
}

/// Claims of one job that are on the disk later.
pub(super) fn claims_relaxed(db: &Path, count: u64) -> Result<Record> {
    let warden = Warden::options().durability(Durability::Relaxed).open(db)?;
    let pipeline = warden.pipeline(PIPELINE)?;
    let mut claims = Samples::default();
    let begun = Instant::now();
    for number in 0..WARM_UP + count {
        let start = Instant::now();
        let claimed = claim(&pipeline, 1)?;
        let took = start.elapsed();
        drop(claimed);
        if number >= WARM_UP {
            claims.push(micros(took));
        }
    }
    Ok(record([
        ("seconds", begun.elapsed().as_secs_f64()),
        ("p50_us", claims.quantile(0.5)),
        ("p99_us", claims.quantile(0.99)),
    ]))
}

/// Asks for everything below a root whose files are all completed, and claims the first of it.
pub(super) fn request(db: &Path) -> Result<Record> {
    let warden = Warden::open(db)?;
    let pipeline = warden.pipeline(PIPELINE)?;
    let files = warden.snapshot().len();
    let peak_is_of_the_request = process::reset_peak();
    let before = process::memory();
    let start = Instant::now();
    let report = pipeline.request(ROOT, Priority::High)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = process::memory();
    if report.added != files {
        return Err(format!("{files} files were asked for, but the report is {report:?}").into());
    }
    let start = Instant::now();
    let claimed = claim(&pipeline, BATCH.min(files))?;
    let claim_seconds = start.elapsed().as_secs_f64();
    if let Some(job) = claimed.iter().find(|job| job.priority() != Priority::High) {
        return Err(format!("a job that was asked for at high priority is {}", job.priority().name()).into());
    }
    let peak = if peak_is_of_the_request { after.peak_bytes - before.resident_bytes } else { f64::NAN };
    Ok(record([("seconds", seconds), ("claim_ms", claim_seconds * 1e3), ("peak_rise_bytes", peak)]))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
