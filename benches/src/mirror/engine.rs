//! Treewarden's part: one child process opens the state, scans the source and brings the bucket in step.

use std::path::Path;
use std::time::Instant;

use treewarden::mirror::{Credentials, MirrorContext, MirrorOptions, MirrorReport, Target};
use treewarden::{Walker, Warden};

use crate::Result;
use crate::measure::{Record, record};
use crate::ours::{self, ROOT};
use crate::process;

use super::server::{ACCESS_KEY, REGION, SECRET_KEY};
use super::{CONNECTIONS, Who};

/// The name of the mirror everywhere in this group.
const MIRROR: &str = "copy";

/// What a child does with its source.
pub(super) struct Work<'a> {
    pub(super) db: &'a Path,
    pub(super) dir: &'a Path,
    pub(super) threads: usize,
    pub(super) port: u16,
    /// What every key begins with.
    pub(super) prefix: &'a str,
    /// There is no state yet.
    pub(super) is_first: bool,
}

/// Scans and sends. What is left over would be work not done, so it fails the run.
pub(super) fn sync(work: &Work<'_>) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(work.db)?;
    if work.is_first {
        warden.add_root(ROOT, work.dir)?;
    }
    ours::scan(&warden, ROOT, work.threads, Walker::Fd)?;
    let scanned = start.elapsed().as_secs_f64();
    let target =
        Target::s3(Who::Ours.bucket()).endpoint(format!("http://127.0.0.1:{}", work.port)).region(REGION);
    let options = MirrorOptions::new(ROOT).prefix(work.prefix).uploads_max(CONNECTIONS);
    let credentials = Credentials::keys(ACCESS_KEY, SECRET_KEY);
    let mirror = warden.mirror_to(MIRROR, &options, &target, &credentials)?;
    let report = mirror.sync(&MirrorContext::new().accept_deletes(true))?;
    complete(&report)?;
    Ok(record([
        ("seconds", start.elapsed().as_secs_f64()),
        ("scan_seconds", scanned),
        ("uploaded", report.uploaded as f64),
        ("deleted", report.deleted as f64),
        ("retries", report.retries as f64),
        ("peak_bytes", process::memory().peak_bytes),
    ]))
}

fn complete(report: &MirrorReport) -> Result<()> {
    if report.is_complete() && report.refused == 0 {
        return Ok(());
    }
    let first = report.errors.first().map_or("no reason is told", |error| error.message.as_str());
    let MirrorReport { changed, unsettled, failed, refused, held, .. } = report;
    Err(format!(
        "the mirror is not complete: {changed} changed, {unsettled} unsettled, {failed} failed, {refused} refused, {held} held; {first}"
    )
    .into())
}
