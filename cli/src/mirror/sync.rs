//! `treewarden mirror sync` and `treewarden mirror audit`: one mirror after the other, each to its end. One that
//! fails stops no other.

use std::io::Write;
use std::sync::Arc;

use treewarden::mirror::{AuditOptions, MirrorInfo, MirrorReport, Purge};
use treewarden::{RootState, Warden};

use crate::address::split;
use crate::args::{MirrorAuditArgs, MirrorSyncArgs};
use crate::failure::{Failure, Outcome};
use crate::message::Message;
use crate::output::Out;
use crate::state::StateFile;

use super::credentials::{Environment, idle};
use super::progress::ProgressLine;
use super::{about, chosen, open, report};

pub(super) fn run(state: &StateFile, args: &MirrorSyncArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open()?;
    let mirrors = chosen(&warden, &args.names)?;
    let environment = Environment::of_process();
    let cdn = if args.dry_run { None } else { environment.cdn(args.cloudflare_zone.as_deref())? };
    let mut outcome = Outcome::Complete;
    let mut failed: Option<Failure> = None;
    for info in &mirrors {
        let ended = if args.dry_run {
            plan(&warden, info, args, out)
        } else {
            sync(&warden, info, &environment, cdn.as_ref(), args, out)
        };
        // What is done is seen before the next one begins.
        out.flush()?;
        match ended {
            Ok(Outcome::Complete) => {}
            Ok(Outcome::Incomplete) => outcome = Outcome::Incomplete,
            // Nobody reads any more.
            Err(failure @ Failure::Output(_)) => return Err(failure),
            Err(failure) => {
                // The last one is told by whoever called.
                if let Some(earlier) = failed.replace(failure) {
                    earlier.report();
                }
            }
        }
    }
    failed.map_or(Ok(outcome), Err)
}

fn sync(
    warden: &Warden,
    info: &MirrorInfo,
    environment: &Environment,
    cdn: Option<&Arc<dyn Purge>>,
    args: &MirrorSyncArgs,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let credentials = environment
        .credentials(info.target.as_ref(), &args.access)
        .map_err(|failure| about(&info.name, failure))?;
    let mirror = open(warden, info, &credentials, cdn)?;
    let progress = ProgressLine::new(out);
    let context = progress.context(&info.name).accept_deletes(args.accept_deletes);
    let synced = mirror.sync(&context);
    progress.clear();
    let report = synced.map_err(|error| about(&info.name, error.into()))?;
    report::print_sync(&info.name, &report, out)?;
    advise(warden, info, &report, out);
    Ok(Outcome::complete_if(report::is_good(&report)))
}

fn plan(
    warden: &Warden,
    info: &MirrorInfo,
    args: &MirrorSyncArgs,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let mirror = open(warden, info, &idle(), None)?;
    let plan = mirror.plan().map_err(|error| about(&info.name, error.into()))?;
    // What a root holds back waits for `scan --accept-missing`, whatever is accepted here.
    let held = plan.held && (!args.accept_deletes || is_root_held(warden, info));
    report::print_plan(&info.name, &plan, held, out)?;
    Ok(Outcome::complete_if(!held && plan.refused_total == 0))
}

/// Says what to do about what is left, where it is not plain.
fn advise(warden: &Warden, info: &MirrorInfo, report: &MirrorReport, out: &Out) {
    let name = &info.name;
    if report.held > 0 {
        let hint = if is_root_held(warden, info) {
            "if the files are gone for good: `treewarden scan DIR --accept-missing`, then sync again"
                .to_owned()
        } else {
            format!("if they are meant: `treewarden mirror sync {name} --accept-deletes`")
        };
        let message = format!("{name}: so many deletions wait for confirmation");
        out.say(&Message::Warning { message: &message, hint: Some(&hint) });
    }
    if report.purges_waiting > 0 {
        let message = format!("{name}: the CDN has not been told of everything");
        let hint = "sync again, with the right --cloudflare-zone and CLOUDFLARE_API_TOKEN";
        out.say(&Message::Warning { message: &message, hint: Some(hint) });
    }
}

fn is_root_held(warden: &Warden, info: &MirrorInfo) -> bool {
    let (name, _) = split(info.options.address());
    let roots = warden.roots();
    let root = roots.iter().find(|root| root.name.as_bytes() == name);
    root.is_some_and(|root| matches!(root.state, RootState::Held { .. }))
}

pub(super) fn audit(state: &StateFile, args: &MirrorAuditArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open()?;
    let mirrors = chosen(&warden, std::slice::from_ref(&args.name))?;
    let environment = Environment::of_process();
    let mut outcome = Outcome::Complete;
    for info in &mirrors {
        let credentials = environment
            .credentials(info.target.as_ref(), &args.access)
            .map_err(|failure| about(&info.name, failure))?;
        let mirror = open(&warden, info, &credentials, None)?;
        let options = AuditOptions::new().repair(args.repair).delete_unknown(args.delete_unknown);
        let report = mirror.audit(&options).map_err(|error| about(&info.name, error.into()))?;
        report::print_audit(&info.name, &report, out)?;
        if !report.is_clean() {
            outcome = Outcome::Incomplete;
            if args.repair || args.delete_unknown {
                out.notice(&format!("`treewarden mirror sync {}` mends it", info.name));
            }
        }
    }
    Ok(outcome)
}
