//! Progress of a mirror, drawn on standard error as that of a scan is: only when it is a terminal and nobody
//! asked for JSON or quiet.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use treewarden::mirror::{MirrorContext, MirrorProgress};

use crate::output::Out;
use crate::text::{count, duration, printable, size};

const TEMPLATE: &str = "{spinner} [{bar:24}] {percent:>3} % {msg}";

/// A line that shows how far a run has come, or nothing.
pub(super) struct ProgressLine {
    bar: Option<ProgressBar>,
}

impl ProgressLine {
    pub(super) fn new(out: &Out) -> ProgressLine {
        let is_wanted = !out.json && !out.quiet && io::stderr().is_terminal();
        let style =
            || ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner());
        ProgressLine {
            bar: is_wanted.then(|| {
                ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style())
            }),
        }
    }

    /// The context that makes a run of the mirror of this name show its progress here.
    pub(super) fn context(&self, mirror: &str) -> MirrorContext {
        match &self.bar {
            Some(bar) => {
                let (bar, mirror) = (bar.clone(), printable(mirror));
                MirrorContext::new().progress(move |progress| show(&bar, &mirror, progress))
            }
            None => MirrorContext::new(),
        }
    }

    /// Wipes the line; to be called before anything is printed.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, mirror: &str, progress: &MirrorProgress) {
    // Where there are bytes they take the time. What is sent again counts again, so there can be more than all.
    let (position, length) = match progress.bytes_total {
        0 => (progress.done, progress.total),
        total => (progress.bytes.min(total), total),
    };
    bar.set_length(length);
    bar.set_message(message(mirror, progress));
    bar.set_position(position);
}

fn message(mirror: &str, progress: &MirrorProgress) -> String {
    let mut text = format!("{mirror}: {} of {}", count(progress.done), count(progress.total));
    if progress.bytes_total > 0 {
        text.push_str(&format!(", {} of {}", size(progress.bytes), size(progress.bytes_total)));
        text.push_str(&format!(", {}/s", size(progress.bytes_per_s as u64)));
    }
    if let Some(eta_ms) = progress.eta_ms.filter(|ms| *ms >= 1_000) {
        text.push_str(&format!(", {} left", duration(eta_ms)));
    }
    text
}
