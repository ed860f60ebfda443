//! The words of `treewarden pipeline`.

use std::time::Duration;

use clap::{Args, Subcommand, value_parser};
use treewarden::{Group, Priority, RateLimit, Refresh};

use crate::limits;

#[derive(Subcommand)]
pub(crate) enum PipelineCommand {
    /// Make a pipeline, or change one: what is given replaces what was set, the rest stays
    Add(Box<PipelineAddArgs>),
    /// List the pipelines, and how many files of each are in which state
    List,
    /// Forget a pipeline and all that it knows; the files stay as they are
    Remove {
        /// Name of the pipeline
        name: String,
    },
}

#[derive(Args)]
pub(crate) struct PipelineAddArgs {
    /// Name of the pipeline
    pub(crate) name: String,

    /// Work on this root; may be repeated [default: all roots, present and future]
    #[arg(long = "root", value_name = "ROOT")]
    pub(crate) roots: Vec<String>,

    /// Work on paths that match, relative to the root; may be repeated. `*` stays within a directory,
    /// `**` does not [default: every file and symlink]
    #[arg(long = "glob", value_name = "GLOB")]
    pub(crate) globs: Vec<String>,

    /// Which files are one job: each by itself (none), those of a directory (parent), those with the same
    /// first N components (depth:N), those that differ in the extension only (stem) [default: none]
    #[arg(long, value_name = "HOW", value_parser = group)]
    pub(crate) group: Option<Group>,

    /// Version of what is done with a file; each new one makes everything changed once [default: 1]
    #[arg(long = "version", value_name = "N")]
    pub(crate) pipeline_version: Option<u32>,

    /// The class of new files: critical, high, medium, low or very_low; other reasons come behind that as they
    /// do by default [default: high]
    #[arg(long, value_name = "CLASS", value_parser = priority)]
    pub(crate) priority: Option<Priority>,

    /// Whether a moved file is done anew; yes for what is made under a name [default: no]
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    pub(crate) paths_matter: Option<bool>,

    /// Jobs at once, all workers together; 0 means no bound [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,

    /// How long a new or changed file must be still before it is handed out [default: 1000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(limits::SETTLE_MS))]
    pub(crate) settle_ms: Option<u64>,

    /// How long a job is held without a sign of life [default: 300000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(limits::LEASE_MS))]
    pub(crate) lease_ms: Option<u64>,

    /// Wait after the first failure; it doubles with each further one [default: 60000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(limits::RETRY_MS))]
    pub(crate) retry_base_ms: Option<u64>,

    /// The longest wait after a failure [default: 86400000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(limits::RETRY_MS))]
    pub(crate) retry_cap_ms: Option<u64>,

    /// Failures of the same content in a row after which it is dead [default: 5]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(limits::ATTEMPTS))]
    pub(crate) attempts: Option<u32>,

    /// Do not lengthen the waits at random
    #[arg(long)]
    pub(crate) no_jitter: bool,

    /// When what was done is done anew: never, after so many seconds, the later the older the file is
    /// (tiers), or when the completion says (at-completion) [default: never]
    #[arg(long, value_name = "never|SECONDS|tiers|at-completion", value_parser = refresh)]
    pub(crate) refresh: Option<Refresh>,

    /// At most so many jobs begin in any so many seconds, evenly spread, as in 35/10; `none` takes a limit away
    /// [default: none]
    #[arg(long, value_name = "LIMIT/SECONDS|none", value_parser = rate)]
    pub(crate) rate: Option<Rate>,
}

/// What `--rate` asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rate {
    None,
    Limit(RateLimit),
}

fn priority(text: &str) -> Result<Priority, String> {
    Priority::from_name(text).ok_or_else(|| "critical, high, medium, low or very_low are possible".to_owned())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}

fn group(text: &str) -> Result<Group, String> {
    match text {
        "none" => Ok(Group::None),
        "parent" => Ok(Group::Parent),
        "stem" => Ok(Group::Stem),
        _ => {
            let depth = text.strip_prefix("depth:").and_then(|depth| depth.parse::<u32>().ok());
            let depth = depth.filter(|depth| limits::GROUP_DEPTH.contains(depth));
            depth.map(Group::Depth).ok_or_else(|| {
                format!("none, parent, stem or depth:N are possible, N up to {}", limits::GROUP_DEPTH.end())
            })
        }
    }
}

fn refresh(text: &str) -> Result<Refresh, String> {
    match text {
        "never" => Ok(Refresh::Never),
        "tiers" => Ok(Refresh::default_tiers()),
        "at-completion" => Ok(Refresh::AtCompletion),
        _ => {
            let seconds = text.parse::<u64>().ok().filter(|seconds| limits::REFRESH_S.contains(seconds));
            seconds.map(|seconds| Refresh::After(seconds * 1_000)).ok_or_else(|| {
                format!(
                    "never, tiers, at-completion or 1 to {} seconds are possible",
                    limits::REFRESH_S.end()
                )
            })
        }
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    const FORM: &str = "write LIMIT/SECONDS: 35/10 is at most 35 in any 10 seconds; or none";
    if text == "none" {
        return Ok(Rate::None);
    }
    let (limit, window_s) = text.split_once('/').ok_or(FORM)?;
    let limit = limit.parse::<u32>().map_err(|_| FORM)?;
    let window_s = window_s.parse::<f64>().map_err(|_| FORM)?;
    let window = Duration::try_from_secs_f64(window_s).map_err(|_| FORM)?;
    let rate = RateLimit::new(limit, window);
    rate.check().map_err(|error| error.to_string())?;
    Ok(Rate::Limit(rate))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use treewarden::{Group, RateLimit, Refresh};

    use super::{Rate, group, rate, refresh};

    #[test]
    fn groups_are_read() {
        let cases = [
            ("none", Some(Group::None)),
            ("parent", Some(Group::Parent)),
            ("stem", Some(Group::Stem)),
            ("depth:0", Some(Group::Depth(0))),
            ("depth:1000", Some(Group::Depth(1_000))),
            ("depth:1001", None),
            ("depth:", None),
            ("depth:-1", None),
            ("depth", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(group(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn refresh_times_are_read() {
        let cases = [
            ("never", Some(Refresh::Never)),
            ("tiers", Some(Refresh::default_tiers())),
            ("at-completion", Some(Refresh::AtCompletion)),
            ("1", Some(Refresh::After(1_000))),
            ("316224000", Some(Refresh::After(316_224_000_000))),
            ("316224001", None),
            ("0", None),
            ("-5", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(refresh(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn rates_are_read() {
        let cases = [
            ("35/10", Some(Rate::Limit(RateLimit::new(35, Duration::from_secs(10))))),
            ("1/0.5", Some(Rate::Limit(RateLimit::new(1, Duration::from_millis(500))))),
            ("none", Some(Rate::None)),
            ("0/10", None),
            ("35/0", None),
            ("35/-1", None),
            ("35/inf", None),
            ("35", None),
            ("35/10/2", None),
            ("a/b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rate(text).ok(), expected, "{text}");
        }
    }
}
