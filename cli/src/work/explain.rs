//! `treewarden work explain`: all that is known of one item of a pipeline, and why.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};

use serde::Serialize;
use treewarden::{Priority, WorkExplanation, escape};

use crate::address;
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::output::Out;
use crate::pipeline;
use crate::state::StateFile;
use crate::text::{base64, count, counted, date, printable};

use super::now_ns;

/// A stored value of at most so many bytes is shown to people as it is.
const SHOWN_BYTES: usize = 80;

#[derive(Serialize)]
struct WorkLine<'a> {
    pipeline: &'a str,
    path: Cow<'a, str>,
    state: &'static str,
    priority: &'static str,
    why: &'a str,
    due_ns: Option<i64>,
    attempts: u32,
    last_error: Option<&'a str>,
    dead: bool,
    done_ns: Option<i64>,
    refresh_at_ns: Option<i64>,
    lease: Option<LeasePart<'a>>,
    requested: Option<&'static str>,
    content_done: Option<&'a str>,
    content_now: Option<&'a str>,
    attrs: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// Only values that are not UTF-8.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs_b64: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct LeasePart<'a> {
    holder: &'a str,
    expires_ns: i64,
}

pub(super) fn run(
    state: &StateFile,
    name: &str,
    argument: &OsStr,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let explanation = pipeline::open(&warden, name)?.explain(address::typed(Some(argument)))?;
    if out.json {
        print_json(name, &explanation, out)?;
    } else {
        print(&explanation, out)?;
    }
    Ok(Outcome::Complete)
}

fn print_json(pipeline: &str, told: &WorkExplanation, out: &mut Out) -> io::Result<()> {
    let (path, path_b64) = json::path(&told.path);
    let is_exact = |value: &[u8]| std::str::from_utf8(value).is_ok();
    let inexact = told.attrs.iter().filter(|(_, value)| !is_exact(value));
    out.object(&WorkLine {
        pipeline,
        path,
        state: told.state.name(),
        priority: told.priority.name(),
        why: &told.why,
        due_ns: told.due_ns,
        attempts: told.attempts,
        last_error: told.last_error.as_deref(),
        dead: told.dead,
        done_ns: told.done_ns,
        refresh_at_ns: told.refresh_at_ns,
        lease: told.lease.as_ref().map(|(holder, expires_ns)| LeasePart { holder, expires_ns: *expires_ns }),
        requested: told.requested.map(Priority::name),
        content_done: told.content_done.as_deref(),
        content_now: told.content_now.as_deref(),
        attrs: told.attrs.iter().map(|(key, value)| (key.as_str(), json::path(value).0)).collect(),
        path_b64,
        attrs_b64: inexact.map(|(key, value)| (key.as_str(), base64(value))).collect(),
    })
}

fn print(told: &WorkExplanation, out: &mut Out) -> io::Result<()> {
    writeln!(out, "{}", escape(&told.path))?;
    let mut lines = vec![
        ("state", if told.dead { "error, dead".to_owned() } else { told.state.name().to_owned() }),
        ("why", printable(&told.why)),
        ("due", due(told.due_ns, now_ns())),
        ("class", told.priority.name().to_owned()),
    ];
    if let Some(class) = told.requested {
        lines.push(("requested", class.name().to_owned()));
    }
    if let Some((holder, expires_ns)) = &told.lease {
        lines.push(("held by", format!("{}, until {}", printable(holder), date(*expires_ns))));
    }
    if told.attempts > 0 {
        lines.push(("failures", count(u64::from(told.attempts))));
    }
    if let Some(error) = &told.last_error {
        lines.push(("last error", printable(error)));
    }
    lines.push(("done", told.done_ns.map_or_else(|| "never".to_owned(), date)));
    if let Some(at_ns) = told.refresh_at_ns {
        lines.push(("refresh", date(at_ns)));
    }
    if let Some(content) = &told.content_done {
        lines.push(("done with", content.clone()));
    }
    if let Some(content) = &told.content_now {
        lines.push(("content now", content.clone()));
    }
    for (key, value) in &told.attrs {
        lines.push(("attribute", format!("{} = {}", printable(key), shown(value))));
    }
    out.sheet(&lines)
}

fn due(due_ns: Option<i64>, now_ns: i64) -> String {
    match due_ns {
        None => "not by itself".to_owned(),
        Some(at_ns) if at_ns <= now_ns => "now".to_owned(),
        Some(at_ns) => date(at_ns),
    }
}

fn shown(value: &[u8]) -> String {
    if value.len() <= SHOWN_BYTES {
        return escape(value);
    }
    counted(value.len() as u64, "byte", "bytes")
}

#[cfg(test)]
mod tests {
    use super::{due, shown};

    #[test]
    fn what_has_been_due_for_ever_is_due_now() {
        let second = 1_000_000_000;
        let cases = [
            (None, "not by itself"),
            (Some(i64::MIN), "now"),
            (Some(second), "now"),
            (Some(2 * second), "1970-01-01T00:00:02Z"),
        ];
        for (due_ns, expected) in cases {
            assert_eq!(due(due_ns, second), expected);
        }
    }

    #[test]
    fn long_values_are_told_by_their_length() {
        assert_eq!(shown(b"W/\"1\"\n\xff"), r#"W/"1"\n\xff"#);
        assert_eq!(shown(&[b'x'; 81]), "81 bytes");
    }
}
