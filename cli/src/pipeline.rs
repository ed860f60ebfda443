//! `treewarden pipeline add|list|remove`, and the pipeline of a name. Leaves the work alone: that is
//! `treewarden work`.

use serde::Serialize;
use treewarden::{ErrorKind, Pipeline, PipelineInfo, PipelineOptions, Retry, Warden};

use crate::args::{PipelineAddArgs, PipelineCommand, Rate};
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::standing::{PipelineLine, Standing};
use crate::state::StateFile;

#[derive(Serialize)]
struct AddLine<'a> {
    /// `created`, `changed` or `unchanged`.
    outcome: &'static str,
    #[serde(flatten)]
    pipeline: PipelineLine<'a>,
}

pub(crate) fn run(state: &StateFile, command: &PipelineCommand, out: &mut Out) -> Result<Outcome, Failure> {
    match command {
        PipelineCommand::Add(args) => add(state, args, out),
        PipelineCommand::List => list(state, out),
        PipelineCommand::Remove { name } => {
            let warden = state.open()?;
            warden.remove_pipeline(name).map_err(|error| explained(error, &warden))?;
            out.notice(&format!("pipeline `{name}` is forgotten, the files are as they were"));
            Ok(Outcome::Complete)
        }
    }
}

/// The pipeline of that name; there must be one.
pub(crate) fn open(warden: &Warden, name: &str) -> Result<Pipeline, Failure> {
    warden.pipeline(name).map_err(|error| explained(error, warden))
}

/// Whoever misses a name is told which there are.
fn explained(error: treewarden::Error, warden: &Warden) -> Failure {
    let is_unknown = error.kind() == ErrorKind::NotFound;
    let failure = Failure::from(error);
    if !is_unknown {
        return failure;
    }
    let known = warden.pipelines().unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|info| info.name.as_str()).collect();
    failure.with_hint(if names.is_empty() {
        "there are no pipelines yet: `treewarden pipeline add NAME` makes one".to_owned()
    } else {
        format!("the pipelines are: {}", names.join(", "))
    })
}

fn add(state: &StateFile, args: &PipelineAddArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open()?;
    let before = warden.pipelines()?.into_iter().find(|info| info.name == args.name);
    if before.is_some() && args.group.is_none() {
        // One whose files are grouped by a function of its own program is refused here: without the
        // function it would lose them all.
        drop(open(&warden, &args.name)?);
    }
    let before = before.map(|info| info.options);
    let options = with_flags(before.clone().unwrap_or_default(), args);
    let pipeline = warden.pipeline_with(&args.name, &options)?;
    let (outcome, what) = match &before {
        None => ("created", format!("new pipeline `{}`", args.name)),
        Some(before) if *before == options => {
            ("unchanged", format!("pipeline `{}` has these options already", args.name))
        }
        Some(_) => ("changed", format!("pipeline `{}` has new options", args.name)),
    };
    let info = PipelineInfo { name: args.name.clone(), options };
    let standing = Standing { info, status: pipeline.status() };
    if out.json {
        out.object(&AddLine { outcome, pipeline: PipelineLine::new(&standing) })?;
    } else {
        out.notice(&format!("{what}: {}", standing.counts()));
    }
    let roots = warden.roots();
    for name in args.roots.iter().filter(|name| !roots.iter().any(|root| root.name == **name)) {
        out.notice(&format!("no root has the name `{name}` yet"));
    }
    Ok(Outcome::Complete)
}

/// The options with what was given in the place of what was set.
fn with_flags(mut options: PipelineOptions, args: &PipelineAddArgs) -> PipelineOptions {
    if !args.roots.is_empty() {
        options = args.roots.iter().fold(options.every_root(), PipelineOptions::root);
    }
    if !args.globs.is_empty() {
        options = args.globs.iter().fold(options.every_file(), PipelineOptions::glob);
    }
    if let Some(group) = &args.group {
        options = options.group(group.clone());
    }
    if let Some(version) = args.pipeline_version {
        options = options.version(version);
    }
    if let Some(jobs) = args.concurrency {
        options = options.concurrency(jobs);
    }
    if let Some(ms) = args.settle_ms {
        options = options.settle_ms(ms);
    }
    if let Some(ms) = args.lease_ms {
        options = options.lease_ms(ms);
    }
    if let Some(refresh) = &args.refresh {
        options = options.refresh(refresh.clone());
    }
    match &args.rate {
        None => {}
        Some(Rate::None) => options = options.unlimited(),
        Some(Rate::Limit(rate)) => options = options.rate(rate.clone()),
    }
    if let Some(class) = args.priority {
        options = options.priority(class);
    }
    if let Some(matter) = args.paths_matter {
        options = options.paths_matter(matter);
    }
    let retry = with_retry_flags(options.get_retry(), args);
    options.retry(retry)
}

fn with_retry_flags(before: Retry, args: &PipelineAddArgs) -> Retry {
    Retry {
        base_ms: args.retry_base_ms.unwrap_or(before.base_ms),
        cap_ms: args.retry_cap_ms.unwrap_or(before.cap_ms),
        attempts_max: args.attempts.unwrap_or(before.attempts_max),
        jitter: before.jitter && !args.no_jitter,
    }
}

fn list(state: &StateFile, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let all = Standing::all(&warden)?;
    if out.json {
        for standing in &all {
            out.object(&PipelineLine::new(standing))?;
        }
    } else {
        let rows: Vec<Vec<String>> = all.iter().map(Standing::row).collect();
        out.table(0, &[], &rows)?;
    }
    Ok(Outcome::Complete)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use std::time::Duration;

    use treewarden::{Group, PipelineOptions, Priority, RateLimit, Retry};

    use super::with_flags;
    use crate::args::{Cli, Command, PipelineCommand};

    fn given(before: PipelineOptions, words: &[&str]) -> PipelineOptions {
        let line = ["treewarden", "pipeline", "add", "p"].iter().chain(words);
        let cli = Cli::try_parse_from(line).expect("it makes sense");
        let Command::Pipeline(PipelineCommand::Add(args)) = cli.command else {
            return before;
        };
        with_flags(before, &args)
    }

    #[test]
    fn what_is_given_replaces_what_was_set_and_the_rest_stays() {
        let new = PipelineOptions::new;
        let retry = |attempts_max| Retry { base_ms: 7, attempts_max, ..Retry::default() };
        let limited = RateLimit::new(35, Duration::from_secs(10));
        let cases: [(PipelineOptions, &[&str], PipelineOptions); 10] = [
            (new(), &["--rate", "35/10"], new().rate(limited.clone())),
            (new().rate(limited), &["--rate", "none"], new()),
            (
                new().paths_matter(true),
                &["--paths-matter", "no", "--priority", "low"],
                new().priority(Priority::Low),
            ),
            (new(), &[], new()),
            (new().root("a").glob("*.b").version(3), &[], new().root("a").glob("*.b").version(3)),
            (new().root("a").root("b"), &["--root", "c"], new().root("c")),
            (new().glob("a"), &["--glob", "b", "--glob", "c"], new().glob("b").glob("c")),
            (new().root("a"), &["--version", "2"], new().root("a").version(2)),
            (new().retry(retry(3)), &["--attempts", "9"], new().retry(retry(9))),
            (
                new(),
                &["--group", "depth:2", "--lease-ms", "5000"],
                new().group(Group::Depth(2)).lease_ms(5_000),
            ),
        ];
        for (before, words, expected) in cases {
            assert_eq!(given(before, words), expected, "{words:?}");
        }
        let calm = given(new(), &["--no-jitter", "--retry-base-ms", "0"]).get_retry();
        assert_eq!((calm.jitter, calm.base_ms, calm.cap_ms), (false, 0, Retry::default().cap_ms));
    }
}
