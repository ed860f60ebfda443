//! `treewarden work`: what is to be done in a pipeline, and the doing of it.

mod command;
mod crew;
mod explain;
mod foreman;
mod report;
mod states;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use treewarden::{Pipeline, Priority, RequestReport, WorkItem, WorkState, escape};

pub(crate) use self::states::States;

use crate::address;
use crate::args::{WorkCommand, WorkListArgs};
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::output::Out;
use crate::pipeline;
use crate::standing::{PipelineLine, Standing};
use crate::state::StateFile;
use crate::text::{count, counted, printable};

#[derive(Serialize)]
struct ItemLine<'a> {
    pipeline: &'a str,
    path: Cow<'a, str>,
    state: &'static str,
    dead: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

#[derive(Serialize)]
struct RetryLine<'a> {
    pipeline: &'a str,
    retried: u64,
}

#[derive(Serialize)]
struct RequestLine<'a> {
    pipeline: &'a str,
    added: u64,
    merged: u64,
    promoted: u64,
    will_rerun: u64,
}

pub(crate) fn run(state: &StateFile, command: &WorkCommand, out: &mut Out) -> Result<Outcome, Failure> {
    match command {
        WorkCommand::List(args) => list(state, args, out),
        WorkCommand::Retry { pipeline, address } => retry(state, pipeline, address.as_deref(), out),
        WorkCommand::Request { pipeline, address, priority } => {
            request(state, pipeline, address, (*priority).into(), out)
        }
        WorkCommand::Status { pipeline } => status(state, pipeline.as_deref(), out),
        WorkCommand::Explain { pipeline, address } => explain::run(state, pipeline, address, out),
        WorkCommand::Run(args) => foreman::run(state, args, out),
    }
}

fn list(state: &StateFile, args: &WorkListArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let pipeline = pipeline::open(&warden, &args.pipeline)?;
    let address = address::typed(args.address.as_deref());
    let items = items(&pipeline, &address, args)?;
    if items.is_empty() && pipeline.list(&address, None, 1)?.is_empty() {
        address::require_known(&warden, &warden.snapshot(), &address, true)?;
    }
    for item in &items {
        print(&args.pipeline, item, out)?;
    }
    Ok(Outcome::Complete)
}

fn items(pipeline: &Pipeline, address: &[u8], args: &WorkListArgs) -> treewarden::Result<Vec<WorkItem>> {
    let limit = args.limit.unwrap_or(usize::MAX);
    if !args.dead {
        return pipeline.list(address, args.state.map(WorkState::from), limit);
    }
    let mut items = pipeline.list(address, Some(WorkState::Error), usize::MAX)?;
    items.retain(|item| item.dead);
    items.truncate(limit);
    Ok(items)
}

fn print(pipeline: &str, item: &WorkItem, out: &mut Out) -> io::Result<()> {
    let WorkItem { path, state, dead } = item;
    if out.json {
        let (path, path_b64) = json::path(path);
        return out.object(&ItemLine { pipeline, path, state: state.name(), dead: *dead, path_b64 });
    }
    let state = if *dead { "error dead" } else { state.name() };
    writeln!(out, "{state:<10}  {}", escape(path))
}

fn retry(state: &StateFile, name: &str, argument: Option<&OsStr>, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open()?;
    let retried = pipeline::open(&warden, name)?.retry(address::typed(argument))?;
    if out.json {
        out.object(&RetryLine { pipeline: name, retried })?;
    } else {
        writeln!(out, "{} of `{}` to be tried again", counted(retried, "item", "items"), printable(name))?;
    }
    Ok(Outcome::Complete)
}

fn request(
    state: &StateFile,
    name: &str,
    argument: &OsStr,
    priority: Priority,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let warden = state.open()?;
    let report = pipeline::open(&warden, name)?.request(address::typed(Some(argument)), priority)?;
    let RequestReport { added, merged, promoted, will_rerun } = report;
    if out.json {
        out.object(&RequestLine { pipeline: name, added, merged, promoted, will_rerun })?;
    } else {
        writeln!(out, "{}", answer(&report))?;
    }
    Ok(Outcome::Complete)
}

fn answer(report: &RequestReport) -> String {
    let kinds = [
        (report.added, "added"),
        (report.merged, "merged"),
        (report.promoted, "promoted"),
        (report.will_rerun, "will_rerun"),
    ];
    let told: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    told.join(", ")
}

/// Ends as incomplete when of one of the pipelines it cannot be told.
fn status(state: &StateFile, name: Option<&str>, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let all = match name {
        Some(name) => vec![Standing::one(&warden, name)?],
        None => Standing::all(&warden)?,
    };
    if out.json {
        for standing in &all {
            out.object(&PipelineLine::new(standing))?;
        }
    } else {
        for standing in &all {
            writeln!(out, "{}", printable(&standing.info.name))?;
            out.sheet(&standing.sheet())?;
        }
    }
    Ok(Outcome::complete_if(all.iter().all(Standing::is_known)))
}

/// Now, in nanoseconds since 1970 UTC.
fn now_ns() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use treewarden::RequestReport;

    use super::answer;

    #[test]
    fn a_request_is_answered_in_the_words_of_the_engine() {
        let report = RequestReport { added: 1_000, merged: 0, promoted: 2, will_rerun: 1 };
        assert_eq!(answer(&report), "1,000 added, 2 promoted, 1 will_rerun");
    }
}
