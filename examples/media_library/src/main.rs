//! Keeps metadata from a web service beside the videos of a library: one request for a movie, one for a show
//! and one for each of its seasons, never more than the service allows, and none that an earlier run has
//! made. Killed at any moment it goes on where it was.
//!
//! ```text
//! media_library LIB --url http://localhost:8080 --state media.tw --once
//! ```

mod args;
mod document;
mod item;
mod service;
mod trouble;
mod worker;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use treewarden::{
    Clock, Group, IgnoreRules, Pipeline, PipelineOptions, Refresh, Report, Retry, RootOptions, Warden, escape,
};

use args::Args;
use service::Service;

type Error = Box<dyn std::error::Error>;

/// The first part of every address, `library/Movies/…`.
const ROOT: &str = "library";
/// A service may be away for a day or two: 60 s, 2 min, 4 min, … and then once a day.
const ATTEMPTS_MAX: u32 = 20;
/// How often `--once` looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "media_library: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let service = Service::new(&args.url)?;
    // With --once a signal is a kill, and a kill is harmless.
    let mut signals = (!args.once).then(|| Signals::new([SIGINT, SIGTERM])).transpose()?;

    let warden = Warden::open(&args.state)?;
    register(&warden, &args.library)?;
    let metadata = warden.pipeline_with("metadata", &options(args))?;
    if args.watch {
        // The first scan runs in the background; what it finds is due as soon as it is found.
        warden.watch()?;
    } else {
        explain(&warden.scan(ROOT)?);
    }

    let workers = metadata.work(args.threads, move |job| worker::run(&service, job))?;
    match &mut signals {
        Some(signals) => {
            signals.forever().next();
        }
        None => wait_until_done(&metadata, Duration::from_secs(args.patience))?,
    }
    // What is in hand is brought to its end, or put off if it waits for the service.
    workers.stop();

    let status = metadata.status()?;
    say(&format!("{} done, {} in error, {} of them dead", status.indexed, status.error, status.dead));
    warden.close()?;
    Ok(())
}

/// Movies and shows are items of one pipeline: they share the rate of the one service. What was granted is
/// kept in the state file, so the rate holds over restarts too.
fn options(args: &Args) -> PipelineOptions {
    PipelineOptions::new()
        .root(ROOT)
        .glob("Movies/*/**/*.{mkv,mp4,avi}")
        .glob("Shows/*/**/*.{mkv,mp4,avi}")
        // `Movies/Title (Year)` and `Shows/Name`: one job each, however many files there are.
        .group(Group::Depth(2))
        // Seasons are told by the path: an episode that moves to another one changes its show.
        .paths_matter(true)
        .settle_ms(args.settle_ms)
        // Workers renew it while they are at it.
        .lease_ms(60_000)
        .rate(args.rate.clone())
        .retry(Retry { base_ms: args.retry_ms, attempts_max: ATTEMPTS_MAX, ..Retry::default() })
        .refresh(Refresh::default_tiers())
}

/// Makes `library` the root of this state file, unless it is that already.
fn register(warden: &Warden, library: &Path) -> Result<(), Error> {
    let Some(root) = warden.roots().into_iter().find(|root| root.name == ROOT) else {
        // What we write ourselves is never looked at, drafts (`.*`) included.
        let own = IgnoreRules::new(document::FILES)?;
        let options = RootOptions::new().ignore(IgnoreRules::junk().and(own));
        warden.add_root_with(ROOT, library, &options)?;
        return Ok(());
    };
    // A directory that cannot be found may be on a disk that is not mounted: the scan will say so.
    match library.canonicalize() {
        Ok(real) if real != root.path => {
            let known = escape(root.path.as_os_str().as_encoded_bytes());
            Err(format!("this state file is about `{known}`").into())
        }
        _ => Ok(()),
    }
}

/// Returns when nothing is left to do, or nothing that comes within `patience`.
fn wait_until_done(metadata: &Pipeline, patience: Duration) -> treewarden::Result<()> {
    while !is_done(metadata, patience)? {
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn is_done(metadata: &Pipeline, patience: Duration) -> treewarden::Result<bool> {
    let status = metadata.status()?;
    if status.processing > 0 {
        return Ok(false);
    }
    let retries = status.error.saturating_sub(status.dead);
    if status.new + status.changed + status.stale + status.missing + retries == 0 {
        return Ok(true);
    }
    let now_ns = Clock::real().now_ns();
    let next_ns = match status.oldest_due_ms {
        // Due, and begun as soon as the rate allows; or the service has asked for a pause.
        Some(_) => metadata.limiter().and_then(|limiter| limiter.status().paused_until_ns).unwrap_or(now_ns),
        // Files that settle, retries, what was put off. It may be told too early by the length of a lease, and
        // never too late.
        None => status.next_due_ns.unwrap_or(i64::MAX),
    };
    let patience_ns = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
    Ok(next_ns > now_ns.saturating_add(patience_ns))
}

/// Says what kept the scan from being complete. What is known stays as it was there.
fn explain(report: &Report) {
    let mut complaints = Vec::new();
    complaints.extend(report.unavailable.as_ref().map(|reason| format!("unavailable: {reason}")));
    complaints
        .extend(report.held.map(|held| format!("held: {} of {} files are not there", held.missing, held.of)));
    complaints.extend(report.first_errors.iter().map(|error| format!("unreadable: {}", error.message)));
    for complaint in complaints {
        let _ = writeln!(std::io::stderr(), "media_library: {complaint}");
    }
}

/// Nobody may listen any more: that is no reason to stop working.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
