//! The options of a pipeline: read from the keywords of `Warden.pipeline`, and shown as such.

use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use treewarden::{Group, PipelineOptions, Priority, Refresh, RefreshRun, Retry, Schedule, Tier};

use super::group;
use crate::convert::{self, strings};
use crate::errors::{self, OrRaise};
use crate::limiter::{self, RateLimit};

pub(super) const PRIORITIES: &[(&str, Priority)] = &[
    ("critical", Priority::Critical),
    ("high", Priority::High),
    ("medium", Priority::Medium),
    ("low", Priority::Low),
    ("very_low", Priority::VeryLow),
];

/// Every keyword. None stands for the default of each.
const NAMES: [&str; 20] = [
    "root",
    "glob",
    "group",
    "group_name",
    "version",
    "priority",
    "concurrency",
    "settle",
    "lease",
    "retry_base",
    "retry_cap",
    "max_attempts",
    "jitter",
    "refresh",
    "refresh_schedule",
    "refresh_batch",
    "refresh_gap",
    "rate",
    "max_crashes",
    "paths_matter",
];

/// Reads options.
///
/// # Errors
///
/// `TypeError` for an unknown one and for a value of another type, `InvalidArgumentError` for a value that makes
/// no sense. What makes no sense together is for the engine to say.
pub(super) fn read(given: &Bound<'_, PyDict>) -> PyResult<PipelineOptions> {
    let py = given.py();
    let mut options = PipelineOptions::new();
    let mut retry = Retry::default();
    let (mut grouping, mut run) = (Grouping::default(), Run::default());
    for (name, value) in given {
        let name: String = name.extract()?;
        if !NAMES.contains(&name.as_str()) {
            let message = format!("pipeline() got an unexpected keyword argument '{name}'");
            return Err(PyTypeError::new_err(message));
        }
        if value.is_none() {
            continue;
        }
        let value = Value { name: &name, value };
        match name.as_str() {
            "root" => options = value.words()?.into_iter().fold(options, treewarden::PipelineOptions::root),
            "glob" => options = value.words()?.into_iter().fold(options, treewarden::PipelineOptions::glob),
            "group" => grouping.group = Some(value.value),
            "group_name" => grouping.name = Some(value.text()?),
            "version" => options = options.version(value.whole()?),
            "priority" => {
                options = options.priority(convert::one_of(py, "priority", &value.text()?, PRIORITIES)?);
            }
            "concurrency" => options = options.concurrency(value.whole()?),
            "settle" => options = options.settle_ms(value.millis()?),
            "lease" => options = options.lease_ms(value.millis()?),
            "retry_base" => retry.base_ms = value.millis()?,
            "retry_cap" => retry.cap_ms = value.millis()?,
            "max_attempts" => retry.attempts_max = value.whole()?,
            "jitter" => retry.jitter = value.flag()?,
            "refresh" => options = options.refresh(value.refresh()?),
            "refresh_schedule" => run.schedule = Some(Schedule::parse(&value.text()?).or_raise(py)?),
            "refresh_batch" => run.batch = Some(value.whole()?),
            "refresh_gap" => run.gap_ms = Some(value.millis()?),
            "rate" => options = options.rate(limiter::rate(&value.value)?),
            "max_crashes" => options = options.crashes_max(value.whole()?),
            // `paths_matter`, the last one.
            _ => options = options.paths_matter(value.flag()?),
        }
    }
    options = options.retry(retry).group(grouping.finish(py)?);
    Ok(match run.finish(py)? {
        Some(run) => options.refresh_run(run),
        None => options,
    })
}

/// The value of one option.
struct Value<'n, 'py> {
    name: &'n str,
    value: Bound<'py, PyAny>,
}

impl<'py> Value<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.value.py()
    }

    fn wrong(&self, wanted: &str) -> PyErr {
        match self.value.get_type().name() {
            Ok(kind) => PyTypeError::new_err(format!("`{}` is {wanted}, not {kind}", self.name)),
            Err(error) => error,
        }
    }

    fn is_text(&self) -> bool {
        self.value.is_instance_of::<PyString>()
    }

    fn text(&self) -> PyResult<String> {
        if self.is_text() { self.value.extract() } else { Err(self.wrong("a str")) }
    }

    /// One str, or several.
    fn words(&self) -> PyResult<Vec<String>> {
        if self.is_text() {
            return Ok(vec![self.text()?]);
        }
        let words = strings(self.name, &self.value)?;
        if words.is_empty() {
            let hint = "leave it out to work on all";
            return Err(errors::invalid_with_hint(self.py(), format!("`{}` is empty", self.name), hint));
        }
        Ok(words)
    }

    fn whole(&self) -> PyResult<u32> {
        match self.value.extract::<i64>() {
            Ok(number) => limiter::whole(self.py(), &format!("`{}`", self.name), number),
            Err(error) if error.is_instance_of::<PyOverflowError>(self.py()) => {
                Err(errors::invalid(self.py(), format!("`{}` is too large", self.name)))
            }
            Err(_) => Err(self.wrong("an int")),
        }
    }

    fn flag(&self) -> PyResult<bool> {
        self.value.extract().map_err(|_| self.wrong("a bool"))
    }

    fn seconds(&self) -> PyResult<f64> {
        // True is a number for Python, and never meant as one.
        if self.value.is_instance_of::<PyBool>() {
            return Err(self.wrong("a number of seconds"));
        }
        self.value.extract().map_err(|_| self.wrong("a number of seconds"))
    }

    fn millis(&self) -> PyResult<u64> {
        convert::millis(self.py(), &format!("`{}`", self.name), self.seconds()?)
    }

    fn refresh(&self) -> PyResult<Refresh> {
        if self.is_text() {
            return match self.text()?.as_str() {
                "tiers" => Ok(Refresh::default_tiers()),
                "at_completion" => Ok(Refresh::AtCompletion),
                other => {
                    let message = format!("refresh `{}` is unknown", treewarden::escape(other.as_bytes()));
                    let hint =
                        "there are `tiers` and `at_completion`, a number of seconds, and tiers of your own";
                    Err(errors::invalid_with_hint(self.py(), message, hint))
                }
            };
        }
        match self.value.try_iter() {
            Ok(tiers) => tiers.map(|tier| self.tier(&tier?)).collect::<PyResult<_>>().map(Refresh::Tiers),
            Err(_) => self.millis().map(Refresh::After),
        }
    }

    fn tier(&self, tier: &Bound<'py, PyAny>) -> PyResult<Tier> {
        let Ok((younger_than, after)) = tier.extract::<(Option<f64>, f64)>() else {
            return Err(self.wrong("seconds, or tuples of an age (or None) and a wait in seconds"));
        };
        let ms = |seconds| convert::millis(self.py(), "a tier", seconds);
        Ok(Tier { younger_than_ms: younger_than.map(ms).transpose()?, after_ms: ms(after)? })
    }
}

/// Which files are one job, as it was said.
#[derive(Default)]
struct Grouping<'py> {
    group: Option<Bound<'py, PyAny>>,
    name: Option<String>,
}

impl Grouping<'_> {
    fn finish(self, py: Python<'_>) -> PyResult<Group> {
        let group = match &self.group {
            Some(function) if !function.is_instance_of::<PyString>() => {
                if !function.is_callable() {
                    let kind = function.get_type().name()?;
                    return Err(PyTypeError::new_err(format!("`group` is a str or a function, not {kind}")));
                }
                let name = match self.name {
                    Some(name) => name,
                    None => name_of(function)?,
                };
                return Ok(group::by(name, function.clone().unbind()));
            }
            Some(word) => {
                let word: String = word.extract()?;
                named_group(py, &word)?
            }
            None => Group::None,
        };
        if self.name.is_some() {
            let hint = "give `group` that function, too: the state file keeps its name only";
            return Err(errors::invalid_with_hint(py, "`group_name` is the name of a group function", hint));
        }
        Ok(group)
    }
}

fn named_group(py: Python<'_>, word: &str) -> PyResult<Group> {
    let depth = word.strip_prefix("depth:").map(str::parse);
    match (word, depth) {
        ("parent", _) => Ok(Group::Parent),
        ("stem", _) => Ok(Group::Stem),
        (_, Some(Ok(depth))) => Ok(Group::Depth(depth)),
        _ => {
            let message = format!("group `{}` is unknown", treewarden::escape(word.as_bytes()));
            let hint = "there are `parent`, `stem`, `depth:N`, and functions";
            Err(errors::invalid_with_hint(py, message, hint))
        }
    }
}

/// The name under which a function is stored.
fn name_of(function: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = function.getattr_opt("__qualname__")?.and_then(|name| name.extract::<String>().ok());
    // All lambdas have one name.
    name.filter(|name| !name.contains("<lambda>")).ok_or_else(|| {
        let hint = "give `group_name`, the same one as long as it groups in the same way";
        errors::invalid_with_hint(function.py(), "the group function has no name of its own", hint)
    })
}

/// In which runs stale items are handed out, as it was said.
#[derive(Default)]
struct Run {
    schedule: Option<Schedule>,
    batch: Option<u32>,
    gap_ms: Option<u64>,
}

impl Run {
    fn finish(self, py: Python<'_>) -> PyResult<Option<RefreshRun>> {
        let is_said = self.batch.is_some() || self.gap_ms.is_some();
        match self.schedule {
            Some(schedule) => Ok(Some(RefreshRun {
                schedule,
                batch: self.batch.unwrap_or(u32::MAX),
                gap_ms: self.gap_ms.unwrap_or(0),
            })),
            None if is_said => {
                let hint = "give `refresh_schedule`, which says when a run begins";
                let message = "`refresh_batch` and `refresh_gap` are parts of a refresh run";
                Err(errors::invalid_with_hint(py, message, hint))
            }
            None => Ok(None),
        }
    }
}

/// Options as the keywords that make them. Of a group function there is only the name: with that alone a pipeline
/// is refused, so that nobody groups in another way by mistake.
pub(crate) fn shown<'py>(py: Python<'py>, options: &PipelineOptions) -> PyResult<Bound<'py, PyDict>> {
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let words = |words: Vec<String>| Some(words).filter(|words| !words.is_empty());
    let (group, group_name) = match options.get_group() {
        Group::None => (None, None),
        Group::Parent => (Some("parent".to_owned()), None),
        Group::Stem => (Some("stem".to_owned()), None),
        Group::Depth(depth) => (Some(format!("depth:{depth}")), None),
        Group::By(function) => (None, Some(function.name())),
    };
    let (retry, run) = (options.get_retry(), options.get_refresh_run());
    let shown = PyDict::new(py);
    shown.set_item("root", words(options.get_roots().map(str::to_owned).collect()))?;
    shown.set_item("glob", words(options.get_globs().map(str::to_owned).collect()))?;
    shown.set_item("group", group)?;
    shown.set_item("group_name", group_name)?;
    shown.set_item("version", options.get_version())?;
    shown.set_item("priority", options.get_priority().name())?;
    shown.set_item("concurrency", options.get_concurrency())?;
    shown.set_item("settle", seconds(options.get_settle_ms()))?;
    shown.set_item("lease", seconds(options.get_lease_ms()))?;
    shown.set_item("retry_base", seconds(retry.base_ms))?;
    shown.set_item("retry_cap", seconds(retry.cap_ms))?;
    shown.set_item("max_attempts", retry.attempts_max)?;
    shown.set_item("jitter", retry.jitter)?;
    match options.get_refresh() {
        Refresh::Never => shown.set_item("refresh", py.None())?,
        Refresh::After(ms) => shown.set_item("refresh", seconds(*ms))?,
        Refresh::AtCompletion => shown.set_item("refresh", "at_completion")?,
        tiers if *tiers == Refresh::default_tiers() => shown.set_item("refresh", "tiers")?,
        Refresh::Tiers(tiers) => {
            let tier = |tier: &Tier| (tier.younger_than_ms.map(seconds), seconds(tier.after_ms));
            shown.set_item("refresh", tiers.iter().map(tier).collect::<Vec<_>>())?;
        }
    }
    shown.set_item("refresh_schedule", run.map(|run| run.schedule.to_string()))?;
    shown.set_item("refresh_batch", run.map(|run| run.batch))?;
    shown.set_item("refresh_gap", run.map(|run| seconds(run.gap_ms)))?;
    shown.set_item("rate", options.get_rate().cloned().map(RateLimit::from))?;
    shown.set_item("max_crashes", options.get_crashes_max())?;
    shown.set_item("paths_matter", options.get_paths_matter())?;
    Ok(shown)
}
