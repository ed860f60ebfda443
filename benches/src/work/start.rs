//! How a pipeline comes into being and is opened again, what it holds in memory, and what a scan costs beside it. Each function is one
//! child process's whole life.

use std::path::Path;
use std::time::Instant;

use treewarden::{Pipeline, PipelineOptions, Refresh, Walker, Warden};

use crate::Result;
use crate::measure::{Record, record};
use crate::ours::{self, ROOT};
use crate::process;

use super::jobs;

/// The name of the pipeline everywhere in this group.
pub(super) const PIPELINE: &str = "work";
/// Jobs of a claim where nothing is measured: as many as one may have.
const FILL_BATCH: usize = 10_000;
const REFRESH_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// All files of all roots, each by itself, due at once.
fn options() -> PipelineOptions {
    PipelineOptions::new().settle_ms(0)
}

/// Makes the pipeline, and claims nothing.
pub(super) fn make(db: &Path) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let pipeline = warden.pipeline_with(PIPELINE, &options())?;
    all_are_new(&warden, &pipeline)?;
    Ok(record([("seconds", start.elapsed().as_secs_f64())]))
}

/// Completes every item, with a time to refresh it or without.
pub(super) fn fill(db: &Path, refresh: bool) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let options = if refresh { options().refresh(Refresh::After(REFRESH_MS)) } else { options() };
    let pipeline = warden.pipeline_with(PIPELINE, &options)?;
    loop {
        let claimed = pipeline.claim(FILL_BATCH)?;
        if claimed.is_empty() {
            break;
        }
        jobs::complete(&pipeline, claimed)?;
    }
    all_are_indexed(&warden, &pipeline)?;
    Ok(record([("seconds", start.elapsed().as_secs_f64())]))
}

/// Creates the state file and scans for the first time, beside an open pipeline or without one. The time is without the making of the
/// pipeline.
pub(super) fn first(db: &Path, dir: &Path, threads: usize, beside: bool) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let open_seconds = start.elapsed().as_secs_f64();
    let pipeline = if beside { Some(warden.pipeline_with(PIPELINE, &options())?) } else { None };
    let start = Instant::now();
    warden.add_root(ROOT, dir)?;
    ours::scan(&warden, ROOT, threads, Walker::Fd)?;
    let mut figures = record([("seconds", open_seconds + start.elapsed().as_secs_f64())]);
    if let Some(pipeline) = pipeline {
        let start = Instant::now();
        take_one(&pipeline)?;
        figures.insert("claim_seconds".to_owned(), start.elapsed().as_secs_f64());
        all_are_new(&warden, &pipeline)?;
    }
    Ok(figures)
}

/// Makes the first pipeline of a state that was scanned before, and claims a job.
pub(super) fn back_fill(db: &Path) -> Result<Record> {
    let warden = Warden::open(db)?;
    let start = Instant::now();
    let pipeline = warden.pipeline_with(PIPELINE, &options())?;
    take_one(&pipeline)?;
    let seconds = start.elapsed().as_secs_f64();
    all_are_new(&warden, &pipeline)?;
    Ok(record([("seconds", seconds)]))
}

/// Opens a pipeline whose items are all completed, until its status answers.
pub(super) fn reopen(db: &Path) -> Result<Record> {
    let warden = Warden::open(db)?;
    let start = Instant::now();
    let pipeline = warden.pipeline(PIPELINE)?;
    pipeline.status()?;
    let seconds = start.elapsed().as_secs_f64();
    all_are_indexed(&warden, &pipeline)?;
    Ok(record([("seconds", seconds)]))
}

/// Scans a tree in which nothing changed, beside an open pipeline or without one.
pub(super) fn rescan(db: &Path, threads: usize, beside: bool) -> Result<Record> {
    let warden = Warden::open(db)?;
    let pipeline = if beside { Some(warden.pipeline(PIPELINE)?) } else { None };
    let start = Instant::now();
    let report = ours::scan(&warden, ROOT, threads, Walker::Fd)?;
    let seconds = start.elapsed().as_secs_f64();
    if !report.is_unchanged() || report.published {
        return Err("nothing changed on disk, but the rescan tells changes".into());
    }
    if let Some(pipeline) = pipeline {
        all_are_new(&warden, &pipeline)?;
    }
    Ok(record([("seconds", seconds)]))
}

/// How far memory rises from the open warden to the open pipeline, by the end and at most.
pub(super) fn memory(db: &Path) -> Result<Record> {
    let warden = Warden::open(db)?;
    let files = warden.snapshot().len();
    let peak_is_of_opening = process::reset_peak();
    let before = process::memory();
    let start = Instant::now();
    let pipeline = warden.pipeline(PIPELINE)?;
    let status = pipeline.status()?;
    let seconds = start.elapsed().as_secs_f64();
    let after = process::memory();
    let (new, indexed) = (status.new, status.indexed);
    if new + indexed != files {
        return Err(
            format!("{new} new and {indexed} completed items are not all of the {files} files").into()
        );
    }
    let rise = after.resident_bytes - before.resident_bytes;
    let peak = if peak_is_of_opening { after.peak_bytes - before.resident_bytes } else { f64::NAN };
    Ok(record([
        ("seconds", seconds),
        ("rise_bytes", rise),
        ("rise_bytes_per_item", rise / files.max(1) as f64),
        ("peak_rise_bytes", peak),
    ]))
}

fn take_one(pipeline: &Pipeline) -> Result<()> {
    match pipeline.claim(1)?.len() {
        1 => Ok(()),
        other => Err(format!("a claim of one job gave {other}").into()),
    }
}

/// Fails unless every file waits to be done for the first time; a lease does not count.
fn all_are_new(warden: &Warden, pipeline: &Pipeline) -> Result<()> {
    let (files, new) = (warden.snapshot().len(), pipeline.status()?.new);
    if new != files {
        return Err(format!("{new} items are new, but there are {files} files").into());
    }
    Ok(())
}

/// Fails unless every file is done.
fn all_are_indexed(warden: &Warden, pipeline: &Pipeline) -> Result<()> {
    let (files, indexed) = (warden.snapshot().len(), pipeline.status()?.indexed);
    if indexed != files {
        return Err(format!("{indexed} items are completed, but there are {files} files").into());
    }
    Ok(())
}
