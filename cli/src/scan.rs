//! `treewarden scan`: registers what is new, looks at the disk, reports.

use treewarden::{ScanMode, ScanOptions};

use crate::args::ScanArgs;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::progress::ProgressLine;
use crate::report;
use crate::state::StateFile;
use crate::target::{self, Place, Request};

pub(crate) fn run(state: &StateFile, args: &ScanArgs, out: &mut Out) -> Result<Outcome, Failure> {
    // A bad pattern is found before anything is created.
    args.root.rules()?;
    let places: Vec<Place> = args.dirs.iter().map(|dir| Place::find(dir)).collect();
    if !state.exists() {
        for place in &places {
            place.require_dir("scan")?;
        }
    }
    let warden = if places.is_empty() { state.open()? } else { state.open_or_create()? };
    let request = Request { verb: "scan", name: args.name.as_deref(), root: &args.root };
    let targets = if places.is_empty() {
        target::every_root(&warden, request, out)?
    } else {
        target::of_places(&warden, &places, request, out)?
    };

    let progress = ProgressLine::new(out);
    let scanned = warden.scan_with(&options(args, &targets), &progress.context());
    progress.clear();
    let reports = scanned?;

    let roots = warden.roots();
    for report in &reports {
        if out.json {
            report::print_json(report, out)?;
        } else if !out.quiet || !report::is_good(report) {
            let root = roots.iter().find(|root| root.name == report.root);
            report::print(report, root.map(|root| root.path.as_path()), out)?;
        }
    }
    Ok(Outcome::complete_if(reports.iter().all(report::is_good)))
}

fn options(args: &ScanArgs, targets: &[Vec<u8>]) -> ScanOptions {
    let mode = if args.full { ScanMode::Full } else { ScanMode::Quick };
    let mut options = ScanOptions::default().mode(mode).walker(args.walker.into());
    if let Some(threads) = args.threads {
        options = options.threads(threads.get());
    }
    if args.accept_missing {
        options = options.accept_missing();
    }
    for target in targets {
        options = options.target(target.as_slice());
    }
    options
}
