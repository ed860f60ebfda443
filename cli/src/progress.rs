//! Progress of a long call, drawn on standard error; only when that is a terminal and nobody asked
//! for JSON or quiet.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use treewarden::{Phase, Progress, ScanContext};

use crate::output::Out;
use crate::text::{count, duration, printable};

const WITHOUT_ESTIMATE: &str = "{spinner} {msg}";
const WITH_ESTIMATE: &str = "{spinner} [{bar:24}] {percent:>3} % {msg}";

/// A line that shows how far a call has come, or nothing.
pub(crate) struct ProgressLine {
    bar: Option<ProgressBar>,
}

impl ProgressLine {
    pub(crate) fn new(out: &Out) -> ProgressLine {
        let is_wanted = !out.json && !out.quiet && io::stderr().is_terminal();
        ProgressLine {
            bar: is_wanted.then(|| {
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                    .with_style(style(WITHOUT_ESTIMATE))
            }),
        }
    }

    /// The context that makes a call show its progress here.
    pub(crate) fn context(&self) -> ScanContext {
        match &self.bar {
            Some(bar) => {
                let bar = bar.clone();
                ScanContext::default().progress(move |progress: &Progress| show(&bar, progress))
            }
            None => ScanContext::default(),
        }
    }

    /// Wipes the line; to be called before anything is printed.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, progress: &Progress) {
    if let Some(estimate) = progress.estimate_files.filter(|files| *files > 0) {
        if bar.length().is_none() {
            bar.set_style(style(WITH_ESTIMATE));
        }
        bar.set_length(estimate.max(progress.files));
    }
    bar.set_message(message(progress));
    bar.set_position(progress.files);
}

fn message(progress: &Progress) -> String {
    let phase = match progress.phase {
        Phase::Walk => "looking",
        Phase::Hash => "hashing",
        Phase::Commit => "recording",
    };
    let root = printable(&progress.root);
    let mut text =
        format!("{root}: {phase}, {} files in {} directories", count(progress.files), count(progress.dirs));
    if progress.files_per_s >= 1.0 {
        text.push_str(&format!(", {}/s", count(progress.files_per_s as u64)));
    }
    if let Some(eta_ms) = progress.eta_ms.filter(|ms| *ms >= 1_000) {
        text.push_str(&format!(", {} left", duration(eta_ms)));
    }
    text
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
