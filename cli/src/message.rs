//! What is told beside the data, on standard error: a line for people or an object for programs.
//! The names of the objects are a contract: scripts read them.

use serde::Serialize;
use treewarden::Event;

use crate::live::{self, LivePart};
use crate::text::{count, counted};

/// One message. As an object it is `{"event":NAME,...}` with the name in snake case.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Message<'a> {
    /// The first look is done: from here on every change is told.
    Watching {
        roots: usize,
        files: u64,
    },
    /// A root was looked at for the first time; its files are not told one by one.
    FirstScan {
        root: &'a str,
        files: u64,
    },
    RootUnavailable {
        root: &'a str,
        reason: &'a str,
    },
    RootBack {
        root: &'a str,
    },
    RootHeld {
        root: &'a str,
        missing: u64,
        of: u64,
    },
    CoverageChanged {
        root: &'a str,
        coverage: &'static str,
        reason: Option<&'a str>,
    },
    Overflow {
        root: &'a str,
    },
    Coherent {
        root: &'a str,
    },
    Error {
        root: Option<&'a str>,
        message: &'a str,
    },
    /// Messages were dropped, because they came faster than they could be written.
    Reset {
        restart_seq: u64,
    },
    /// Changes after `after` are in the journal no more; the next told come after `restart_seq`.
    JournalReset {
        after: u64,
        restart_seq: u64,
    },
    /// The configuration file was read again; what differs is in force.
    ConfigApplied {
        changes: &'a [String],
    },
    /// The configuration file was read again and makes no sense; the old settings stay.
    ConfigRefused {
        message: &'a str,
        hint: Option<&'a str>,
    },
    /// The answer to SIGUSR1.
    Status {
        seq: u64,
        live: LivePart<'a>,
    },
    /// The answer to SIGUSR1 of `work run`: jobs so far, in hand, and items that wait or will.
    Working {
        pipeline: &'a str,
        done: u64,
        failed: u64,
        processing: u64,
        waiting: u64,
    },
    /// The numbers of the engine are served here.
    Metrics {
        url: &'a str,
    },
    Warning {
        message: &'a str,
        hint: Option<&'a str>,
    },
    Notice {
        message: &'a str,
    },
}

impl<'a> Message<'a> {
    /// The message that an event of the engine is worth; commits and ordinary scans are worth none,
    /// the changes themselves are told.
    pub(crate) fn of(event: &'a Event) -> Option<Message<'a>> {
        Some(match event {
            Event::RootUnavailable { root, reason } => Message::RootUnavailable { root, reason },
            Event::RootBack { root } => Message::RootBack { root },
            Event::RootHeld { root, missing, of } => Message::RootHeld { root, missing: *missing, of: *of },
            Event::CoverageChanged { root, coverage, reason } => {
                Message::CoverageChanged { root, coverage: coverage.name(), reason: reason.as_deref() }
            }
            Event::Overflow { root } => Message::Overflow { root },
            Event::Coherent { root } => Message::Coherent { root },
            Event::Error { root, message } => Message::Error { root: root.as_deref(), message },
            Event::Reset { restart_seq } => Message::Reset { restart_seq: *restart_seq },
            _ => return None,
        })
    }

    /// True for what is told even when quiet was asked for.
    pub(crate) fn is_trouble(&self) -> bool {
        match self {
            Message::RootUnavailable { .. }
            | Message::RootHeld { .. }
            | Message::Overflow { .. }
            | Message::Error { .. }
            | Message::Reset { .. }
            | Message::JournalReset { .. }
            | Message::ConfigRefused { .. }
            | Message::Warning { .. }
            // Somebody asked for it a moment ago.
            | Message::Status { .. }
            | Message::Working { .. } => true,
            Message::CoverageChanged { reason, .. } => reason.is_some(),
            Message::Watching { .. }
            | Message::FirstScan { .. }
            | Message::RootBack { .. }
            | Message::Coherent { .. }
            | Message::ConfigApplied { .. }
            | Message::Metrics { .. }
            | Message::Notice { .. } => false,
        }
    }

    /// The message as people read it. What strangers named is escaped where it is printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        vec![match self {
            Message::Watching { roots, files } => format!(
                "watching {}, {}",
                counted(*roots as u64, "root", "roots"),
                counted(*files, "file", "files")
            ),
            Message::FirstScan { root, files } => {
                format!("{root}: seen for the first time, {}", counted(*files, "file", "files"))
            }
            Message::RootUnavailable { root, reason } => {
                format!("{root}: unavailable, its last state is kept: {reason}")
            }
            Message::RootBack { root } => format!("{root}: back"),
            Message::RootHeld { root, missing, of } => {
                let of = counted(*of, "file", "files");
                return vec![
                    format!("{root}: held, {} of {of} are not there; nothing was changed", count(*missing)),
                    "hint: if they are gone for good, stop this and run `treewarden scan DIR --accept-missing`"
                        .to_owned(),
                ];
            }
            Message::CoverageChanged { root, coverage, reason } => match reason {
                Some(reason) => format!("{root}: coverage is {coverage} now: {reason}"),
                None => format!("{root}: coverage is {coverage} now"),
            },
            Message::Overflow { root } => {
                format!("{root}: the system lost track of changes; looking at everything again")
            }
            Message::Coherent { root } => format!("{root}: everything is known again"),
            Message::Error { root, message } => match root {
                Some(root) => format!("error: {root}: {message}"),
                None => format!("error: {message}"),
            },
            Message::Reset { .. } => {
                "messages were dropped, they came too fast; the changes are all told".to_owned()
            }
            Message::JournalReset { after, restart_seq } => {
                return vec![
                    format!(
                        "the journal no longer holds the changes after {after}; going on after {restart_seq}"
                    ),
                    "hint: `treewarden ls` lists the whole state".to_owned(),
                ];
            }
            Message::ConfigApplied { changes: [] } => "configuration read again: nothing differs".to_owned(),
            Message::ConfigApplied { changes } => format!("configuration read again: {}", changes.join("; ")),
            Message::ConfigRefused { message, hint } => {
                let mut lines = vec![format!("configuration not applied, the old settings stay: {message}")];
                lines.extend(hint.map(|hint| format!("hint: {hint}")));
                return lines;
            }
            Message::Status { seq, live } => {
                let mut lines = vec![format!("at seq {seq}")];
                lines.extend(live::lines(live));
                return lines;
            }
            Message::Working { pipeline, done, failed, processing, waiting } => format!(
                "{pipeline}: {} done, {} failed, {} in hand, {} waiting",
                count(*done),
                count(*failed),
                count(*processing),
                count(*waiting)
            ),
            Message::Metrics { url } => format!("serving metrics at {url}"),
            Message::Warning { message, hint } => {
                let mut lines = vec![format!("warning: {message}")];
                lines.extend(hint.map(|hint| format!("hint: {hint}")));
                return lines;
            }
            Message::Notice { message } => (*message).to_owned(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use treewarden::{Coverage, Event};

    use super::Message;

    fn json(message: &Message<'_>) -> String {
        serde_json::to_string(message).expect("nothing in it has no form")
    }

    #[test]
    fn an_event_keeps_its_name_and_its_fields() {
        let cases = [
            (Event::RootBack { root: "a".into() }, r#"{"event":"root_back","root":"a"}"#),
            (
                Event::RootUnavailable { root: "a".into(), reason: "gone".into() },
                r#"{"event":"root_unavailable","root":"a","reason":"gone"}"#,
            ),
            (
                Event::RootHeld { root: "a".into(), missing: 3, of: 4 },
                r#"{"event":"root_held","root":"a","missing":3,"of":4}"#,
            ),
            (
                Event::CoverageChanged { root: "a".into(), coverage: Coverage::Mixed, reason: None },
                r#"{"event":"coverage_changed","root":"a","coverage":"mixed","reason":null}"#,
            ),
            (Event::Overflow { root: "a".into() }, r#"{"event":"overflow","root":"a"}"#),
            (Event::Coherent { root: "a".into() }, r#"{"event":"coherent","root":"a"}"#),
            (
                Event::Error { root: None, message: "no".into() },
                r#"{"event":"error","root":null,"message":"no"}"#,
            ),
            (Event::Reset { restart_seq: 7 }, r#"{"event":"reset","restart_seq":7}"#),
        ];
        for (event, expected) in cases {
            let message = Message::of(&event).expect("it is worth a message");
            assert_eq!(json(&message), expected);
            assert!(expected.contains(&format!("\"{}\"", event.name())), "{expected}");
        }
    }

    #[test]
    fn every_message_is_a_line_for_people_too() {
        let changes = ["new root `b`".to_owned(), "root `a` has new options".to_owned()];
        let cases = [
            (Message::Watching { roots: 1, files: 2_000 }, "watching 1 root, 2,000 files"),
            (Message::FirstScan { root: "a", files: 1 }, "a: seen for the first time, 1 file"),
            (Message::Error { root: Some("a"), message: "no" }, "error: a: no"),
            (Message::Warning { message: "open", hint: None }, "warning: open"),
            (Message::Metrics { url: "http://[::1]:9/metrics" }, "serving metrics at http://[::1]:9/metrics"),
            (
                Message::Working { pipeline: "p", done: 1_000, failed: 2, processing: 3, waiting: 4 },
                "p: 1,000 done, 2 failed, 3 in hand, 4 waiting",
            ),
            (
                Message::CoverageChanged { root: "a", coverage: "mixed", reason: Some("no watches left") },
                "a: coverage is mixed now: no watches left",
            ),
            (
                Message::ConfigApplied { changes: &changes },
                "configuration read again: new root `b`; root `a` has new options",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(message.lines(), [expected]);
        }
    }

    #[test]
    fn quiet_hides_what_is_well_and_nothing_else() {
        let calm = Message::CoverageChanged { root: "a", coverage: "native", reason: None };
        let trouble = Message::CoverageChanged { root: "a", coverage: "polling", reason: Some("no inotify") };
        assert!(!calm.is_trouble() && trouble.is_trouble());
        assert!(!Message::RootBack { root: "a" }.is_trouble() && !Message::Metrics { url: "u" }.is_trouble());
        assert!(Message::Warning { message: "m", hint: None }.is_trouble());
        assert!(Message::ConfigRefused { message: "m", hint: None }.is_trouble());
    }
}
