//! What came of one job of `work run`, for people and as JSON.

use std::borrow::Cow;

use serde::Serialize;
use treewarden::{WorkState, escape};

use crate::json;

use super::command::Verdict;

/// A job that has ended.
pub(super) struct Report {
    pub(super) path: Vec<u8>,
    /// Why it was handed out.
    pub(super) state: WorkState,
    pub(super) attempt: u32,
    pub(super) outcome: JobOutcome,
    pub(super) verdict: Verdict,
}

/// What was recorded of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobOutcome {
    Done,
    Failed,
    FailedForGood,
    /// It was given back: it did not come to an end, and that is no attempt.
    Released,
    /// It took too long and is handed out again: nothing.
    LeaseLost,
}

#[derive(Serialize)]
pub(super) struct JobLine<'a> {
    pipeline: &'a str,
    path: Cow<'a, str>,
    state: &'static str,
    attempt: u32,
    outcome: JobOutcome,
    /// Null when a signal ended the command, or none was run.
    code: Option<i32>,
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl Report {
    pub(super) fn line<'a>(&'a self, pipeline: &'a str) -> JobLine<'a> {
        let (path, path_b64) = json::path(&self.path);
        let (code, error) = match &self.verdict {
            Verdict::Done => (Some(0), None),
            Verdict::Failed(trouble) => (trouble.code, Some(trouble.reason.as_str())),
        };
        JobLine {
            pipeline,
            path,
            state: self.state.name(),
            attempt: self.attempt,
            outcome: self.outcome,
            code,
            error,
            path_b64,
        }
    }

    /// What people are told; nothing when all went well.
    pub(super) fn complaint(&self) -> Option<String> {
        let what = match self.outcome {
            JobOutcome::Done => return None,
            JobOutcome::Failed => format!("attempt {} failed", self.attempt),
            JobOutcome::FailedForGood => "failed, and is not tried again until it changes".to_owned(),
            JobOutcome::Released => "cut off, and given back".to_owned(),
            JobOutcome::LeaseLost => "took longer than its lease, and is handed out again".to_owned(),
        };
        let path = escape(&self.path);
        Some(match &self.verdict {
            Verdict::Done => format!("{path}: {what}"),
            Verdict::Failed(trouble) => {
                let last = trouble.reason.lines().next_back().unwrap_or_default();
                format!("{path}: {what}: {last}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use treewarden::WorkState;

    use super::{JobOutcome, Report};
    use crate::work::command::{Trouble, Verdict};

    fn failed(outcome: JobOutcome, reason: &str) -> Report {
        let trouble = Trouble {
            code: Some(3),
            is_permanent: outcome == JobOutcome::FailedForGood,
            reason: reason.into(),
        };
        let (path, state) = (b"tree/\xff".to_vec(), WorkState::New);
        Report { path, state, attempt: 2, outcome, verdict: Verdict::Failed(trouble) }
    }

    #[test]
    fn people_are_told_the_last_line() {
        let report = failed(JobOutcome::Failed, "one\ntwo");
        assert_eq!(report.complaint().as_deref(), Some(r"tree/\xff: attempt 2 failed: two"));
        let report = Report { outcome: JobOutcome::Done, verdict: Verdict::Done, ..report };
        assert_eq!(report.complaint(), None);
    }

    #[test]
    fn programs_are_told_everything() {
        let report = failed(JobOutcome::FailedForGood, "one\ntwo");
        let line = serde_json::to_string(&report.line("p")).expect("nothing in it has no form");
        assert_eq!(
            line,
            r#"{"pipeline":"p","path":"tree/\\xff","state":"new","attempt":2,"outcome":"failed_for_good","code":3,"error":"one\ntwo","path_b64":"dHJlZS//"}"#
        );
    }
}
