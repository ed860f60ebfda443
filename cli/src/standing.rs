//! Pipelines and how they stand: lines of `pipeline` and `work status`, a part of `status`. Looking costs
//! a pass over the files of each pipeline, for the counts are derived and never stored.

use serde::Serialize;
use treewarden::{PipelineInfo, PipelineStatus, Warden};

use crate::failure::Failure;
use crate::pipeline;
use crate::text::{count, date, duration, printable};

/// A pipeline and how it stands, if that can be told.
pub(crate) struct Standing {
    pub(crate) info: PipelineInfo,
    pub(crate) status: treewarden::Result<PipelineStatus>,
}

impl Standing {
    /// Every pipeline, by name.
    pub(crate) fn all(warden: &Warden) -> Result<Vec<Standing>, Failure> {
        let all = warden.pipelines()?;
        Ok(all.into_iter().map(|info| Standing::of(warden, info)).collect())
    }

    /// The pipeline of that name; there must be one, and it must tell.
    pub(crate) fn one(warden: &Warden, name: &str) -> Result<Standing, Failure> {
        let status = pipeline::open(warden, name)?.status()?;
        let info = warden.pipelines()?.into_iter().find(|info| info.name == name);
        let info = info.ok_or_else(|| Failure::new(format!("pipeline `{name}` was removed")))?;
        Ok(Standing { info, status: Ok(status) })
    }

    fn of(warden: &Warden, info: PipelineInfo) -> Standing {
        let status = warden.pipeline(&info.name).and_then(|pipeline| pipeline.status());
        Standing { info, status }
    }

    /// Whether it can be told how it stands.
    pub(crate) fn is_known(&self) -> bool {
        self.status.is_ok()
    }

    /// How many items are in which state.
    pub(crate) fn counts(&self) -> String {
        match &self.status {
            Ok(status) => counts(status),
            Err(error) => printable(error.message()),
        }
    }

    /// One row for people: name, version, roots, globs, counts.
    pub(crate) fn row(&self) -> Vec<String> {
        let version = format!("version {}", self.info.options.get_version());
        vec![printable(&self.info.name), version, self.roots(), self.globs(), self.counts()]
    }

    /// What a sheet says of one pipeline.
    pub(crate) fn sheet(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("version", self.info.options.get_version().to_string()),
            ("roots", self.roots()),
            ("globs", self.globs()),
            ("items", self.counts()),
        ];
        let Ok(status) = &self.status else { return lines };
        if status.requested > 0 {
            lines.push(("requested", count(status.requested)));
        }
        lines.push(match (status.oldest_due_ms, status.next_due_ns) {
            (Some(ms), _) => ("due", format!("for {}", duration(ms))),
            (None, Some(at_ns)) => ("due", format!("nothing now, the next not before {}", date(at_ns))),
            (None, None) => ("due", "nothing".to_owned()),
        });
        lines
    }

    fn roots(&self) -> String {
        named(self.info.options.get_roots(), "all roots")
    }

    fn globs(&self) -> String {
        named(self.info.options.get_globs(), "all files")
    }
}

fn named<'a>(names: impl Iterator<Item = &'a str>, all: &str) -> String {
    let names: Vec<String> = names.map(printable).collect();
    if names.is_empty() { all.to_owned() } else { names.join(" ") }
}

fn counts(status: &PipelineStatus) -> String {
    let error = match status.dead {
        0 => "error".to_owned(),
        dead => format!("error ({} dead)", count(dead)),
    };
    let kinds = [
        (status.new, "new"),
        (status.changed, "changed"),
        (status.stale, "stale"),
        (status.error, error.as_str()),
        (status.missing, "missing"),
        (status.indexed, "indexed"),
        (status.processing, "in hand"),
    ];
    let found: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    if found.is_empty() { "no files".to_owned() } else { found.join(", ") }
}

/// One pipeline: a line of `pipeline list` and `work status`, a part of `status`.
#[derive(Serialize)]
pub(crate) struct PipelineLine<'a> {
    pipeline: &'a str,
    version: u32,
    /// Empty: all.
    roots: Vec<&'a str>,
    /// Empty: every file and symlink.
    globs: Vec<&'a str>,
    /// Why it cannot be told how it stands; the fields below are absent then.
    unavailable: Option<&'a str>,
    #[serde(flatten)]
    status: Option<StatusPart>,
}

#[derive(Serialize)]
struct StatusPart {
    new: u64,
    changed: u64,
    stale: u64,
    error: u64,
    missing: u64,
    processing: u64,
    indexed: u64,
    dead: u64,
    requested: u64,
    oldest_due_ms: Option<u64>,
    next_due_ns: Option<i64>,
    done_per_minute: f64,
}

impl<'a> PipelineLine<'a> {
    pub(crate) fn new(standing: &'a Standing) -> PipelineLine<'a> {
        let Standing { info, status } = standing;
        PipelineLine {
            pipeline: &info.name,
            version: info.options.get_version(),
            roots: info.options.get_roots().collect(),
            globs: info.options.get_globs().collect(),
            unavailable: status.as_ref().err().map(treewarden::Error::message),
            status: status.as_ref().ok().map(StatusPart::new),
        }
    }
}

impl StatusPart {
    fn new(status: &PipelineStatus) -> StatusPart {
        StatusPart {
            new: status.new,
            changed: status.changed,
            stale: status.stale,
            error: status.error,
            missing: status.missing,
            processing: status.processing,
            indexed: status.indexed,
            dead: status.dead,
            requested: status.requested,
            oldest_due_ms: status.oldest_due_ms,
            next_due_ns: status.next_due_ns,
            done_per_minute: status.done_per_minute,
        }
    }
}

#[cfg(test)]
mod tests {
    use treewarden::PipelineStatus;

    use super::counts;

    #[test]
    fn only_states_that_hold_something_are_told() {
        let none = PipelineStatus {
            name: "p".to_owned(),
            new: 0,
            changed: 0,
            stale: 0,
            error: 0,
            missing: 0,
            processing: 0,
            indexed: 0,
            dead: 0,
            requested: 0,
            oldest_due_ms: None,
            next_due_ns: None,
            done_per_minute: 0.0,
        };
        assert_eq!(counts(&none), "no files");
        let some = PipelineStatus { new: 1_200, error: 3, dead: 1, indexed: 5, ..none };
        assert_eq!(counts(&some), "1,200 new, 3 error (1 dead), 5 indexed");
    }
}
