//! What is told of mirrors, for people and as JSON. The names in the objects are a contract: scripts read them.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use treewarden::escape;
use treewarden::mirror::{
    AuditReport, MirrorCounters, MirrorError, MirrorInfo, MirrorPlan, MirrorReport, MirrorStatus, MirrorStep,
    Target,
};

use crate::json;
use crate::message::Message;
use crate::output::Out;
use crate::text::{count, counted, date, duration, printable, size};

/// A mirror as it was made: a line of `list`, a part of what `add` answers.
#[derive(Serialize)]
pub(super) struct ListLine<'a> {
    name: &'a str,
    address: Cow<'a, str>,
    place: &'a str,
    /// Null when the mirror cannot be opened, as while its root is unavailable.
    prefix: Option<&'a str>,
    /// Null for a storage that a program brings along, as are the fields after it.
    target: Option<String>,
    endpoint: Option<&'a str>,
    region: Option<&'a str>,
    virtual_hosted: bool,
    opaque_etags: bool,
    public_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_b64: Option<String>,
}

impl<'a> ListLine<'a> {
    pub(super) fn new(info: &'a MirrorInfo, prefix: Option<&'a str>) -> ListLine<'a> {
        let (address, address_b64) = json::path(info.options.address());
        let target = info.target.as_ref();
        ListLine {
            name: &info.name,
            address,
            place: &info.place,
            prefix,
            target: target.map(ToString::to_string),
            endpoint: target.and_then(Target::get_endpoint),
            region: target.and_then(Target::get_region),
            virtual_hosted: target.is_some_and(Target::get_virtual_hosted),
            opaque_etags: target.is_some_and(Target::get_opaque_etags),
            public_url: target.and_then(Target::get_public_url),
            address_b64,
        }
    }
}

/// How a mirror stands: a line of `status`, and of `follow`.
#[derive(Serialize)]
pub(super) struct StatusLine<'a> {
    name: &'a str,
    address: Cow<'a, str>,
    place: &'a str,
    prefix: &'a str,
    running: bool,
    following: bool,
    objects: u64,
    object_bytes: u64,
    unsure: u64,
    pending: Option<u64>,
    oldest_pending_ns: Option<i64>,
    held: u64,
    purges_waiting: u64,
    oldest_purge_ns: Option<i64>,
    last_seq: Option<u64>,
    last_run_ns: Option<i64>,
    last_error: Option<&'a str>,
    counters: CountersPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_b64: Option<String>,
}

#[derive(Serialize)]
struct CountersPart {
    runs: u64,
    runs_failed: u64,
    uploaded: u64,
    uploaded_bytes: u64,
    copied: u64,
    deleted: u64,
    failed: u64,
    retries: u64,
    purged: u64,
    purge_failures: u64,
}

impl CountersPart {
    fn new(counters: &MirrorCounters) -> CountersPart {
        CountersPart {
            runs: counters.runs,
            runs_failed: counters.runs_failed,
            uploaded: counters.uploaded,
            uploaded_bytes: counters.uploaded_bytes,
            copied: counters.copied,
            deleted: counters.deleted,
            failed: counters.failed,
            retries: counters.retries,
            purged: counters.purged,
            purge_failures: counters.purge_failures,
        }
    }
}

impl<'a> StatusLine<'a> {
    pub(super) fn new(status: &'a MirrorStatus) -> StatusLine<'a> {
        let (address, address_b64) = json::path(&status.address);
        StatusLine {
            name: &status.name,
            address,
            place: &status.place,
            prefix: &status.prefix,
            running: status.running,
            following: status.following,
            objects: status.objects,
            object_bytes: status.object_bytes,
            unsure: status.unsure,
            pending: status.pending,
            oldest_pending_ns: status.oldest_pending_ns,
            held: status.held,
            purges_waiting: status.purges_waiting,
            oldest_purge_ns: status.oldest_purge_ns,
            last_seq: status.last_seq,
            last_run_ns: status.last_run_ns,
            last_error: status.last_error.as_deref(),
            counters: CountersPart::new(&status.counters),
            address_b64,
        }
    }
}

/// A mirror of which it cannot be told how it stands.
#[derive(Serialize)]
pub(super) struct UnknownLine<'a> {
    name: &'a str,
    address: Cow<'a, str>,
    place: &'a str,
    unavailable: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_b64: Option<String>,
}

impl<'a> UnknownLine<'a> {
    pub(super) fn new(info: &'a MirrorInfo, unavailable: &'a str) -> UnknownLine<'a> {
        let (address, address_b64) = json::path(info.options.address());
        UnknownLine { name: &info.name, address, place: &info.place, unavailable, address_b64 }
    }
}

/// For people: what is known, without what is well.
pub(super) fn sheet(status: &MirrorStatus) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("copies", escape(&status.address)),
        ("to", with_prefix(&status.place, &status.prefix)),
        ("objects", format!("{}, {}", count(status.objects), size(status.object_bytes))),
    ];
    if status.unsure > 0 {
        lines.push(("unsure", format!("{}: the next sync sends or deletes them", count(status.unsure))));
    }
    if status.purges_waiting > 0 {
        let since = status.oldest_purge_ns.map(|ns| format!(", the oldest since {}", date(ns)));
        lines.push(("to purge", format!("{}{}", count(status.purges_waiting), since.unwrap_or_default())));
    }
    lines
}

/// The place and what keys begin with, safe to print.
pub(super) fn with_prefix(place: &str, prefix: &str) -> String {
    if prefix.is_empty() {
        return printable(place);
    }
    format!("{}, below {}", printable(place), printable(prefix))
}

#[derive(Serialize)]
struct SyncLine<'a> {
    mirror: &'a str,
    seq: u64,
    uploaded: u64,
    uploaded_bytes: u64,
    copied: u64,
    deleted: u64,
    changed: u64,
    unsettled: u64,
    failed: u64,
    refused: u64,
    held: u64,
    purged: u64,
    purges_waiting: u64,
    retries: u64,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    mirror: &'a str,
    path: Cow<'a, str>,
    /// Null for a file that can have no object.
    key: Option<&'a str>,
    error: &'a str,
    permanent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

/// Prints what one run has done: what failed first, then the whole.
pub(super) fn print_sync(mirror: &str, report: &MirrorReport, out: &mut Out) -> io::Result<()> {
    print_errors(mirror, &report.errors, report.failed + report.refused, out)?;
    if out.json {
        return out.object(&SyncLine {
            mirror,
            seq: report.seq,
            uploaded: report.uploaded,
            uploaded_bytes: report.uploaded_bytes,
            copied: report.copied,
            deleted: report.deleted,
            changed: report.changed,
            unsettled: report.unsettled,
            failed: report.failed,
            refused: report.refused,
            held: report.held,
            purged: report.purged,
            purges_waiting: report.purges_waiting,
            retries: report.retries,
            elapsed_ms: report.elapsed_ms,
        });
    }
    if out.quiet && is_good(report) {
        return Ok(());
    }
    writeln!(out, "{}: {}", printable(mirror), sentence(report))
}

/// True when the remote copy equals the snapshot, and everybody has been told.
pub(super) fn is_good(report: &MirrorReport) -> bool {
    report.is_complete() && report.refused == 0 && report.purges_waiting == 0
}

fn sentence(report: &MirrorReport) -> String {
    let mut done = Vec::new();
    if report.uploaded > 0 {
        done.push(format!("{} sent ({})", count(report.uploaded), size(report.uploaded_bytes)));
    }
    for (number, what) in [(report.copied, "copied"), (report.deleted, "deleted"), (report.purged, "purged")]
    {
        if number > 0 {
            done.push(format!("{} {what}", count(number)));
        }
    }
    let done = if done.is_empty() { "nothing sent".to_owned() } else { done.join(", ") };
    let left = [
        (report.changed, "changed meanwhile"),
        (report.unsettled, "not still yet"),
        (report.failed, "failed"),
        (report.refused, "with names or sizes that the store cannot hold"),
        (report.held, "to be deleted, and held"),
        (report.purges_waiting, "still to be purged"),
    ];
    let left: Vec<String> =
        left.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    let took = duration(report.elapsed_ms);
    if left.is_empty() {
        format!("{done} in {took}")
    } else {
        format!("{done} in {took}; left: {}", left.join(", "))
    }
}

fn print_errors(mirror: &str, errors: &[MirrorError], total: u64, out: &mut Out) -> io::Result<()> {
    for error in errors {
        let (path, path_b64) = json::path(&error.path);
        if out.json {
            let (key, text, permanent) = (error.key.as_deref(), error.message.as_str(), error.permanent);
            out.object(&ErrorLine { mirror, path, key, error: text, permanent, path_b64 })?;
        } else {
            // Where there is no key, the message names the path.
            let message = match &error.key {
                Some(_) => format!("{mirror}: {}: {}", escape(&error.path), error.message),
                None => format!("{mirror}: {}", error.message),
            };
            out.say(&Message::Error { root: None, message: &message });
        }
    }
    let more = total.saturating_sub(errors.len() as u64);
    if more > 0 {
        out.notice(&format!("{mirror}: and {} more", count(more)));
    }
    Ok(())
}

#[derive(Serialize)]
struct StepLine<'a> {
    mirror: &'a str,
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

#[derive(Serialize)]
struct PlanLine<'a> {
    mirror: &'a str,
    seq: u64,
    uploads: u64,
    upload_bytes: u64,
    copies: u64,
    deletes: u64,
    /// The deletions would wait for confirmation.
    held: bool,
    unsettled: u64,
    refused: u64,
}

/// Prints what a run would do: each step, then the whole. `held` says whether deletions would wait.
pub(super) fn print_plan(mirror: &str, plan: &MirrorPlan, held: bool, out: &mut Out) -> io::Result<()> {
    for step in &plan.steps {
        print_step(mirror, step, out)?;
    }
    print_errors(mirror, &plan.refused, plan.refused_total, out)?;
    if out.json {
        return out.object(&PlanLine {
            mirror,
            seq: plan.seq,
            uploads: plan.uploads,
            upload_bytes: plan.upload_bytes,
            copies: plan.copies,
            deletes: plan.deletes,
            held,
            unsettled: plan.unsettled,
            refused: plan.refused_total,
        });
    }
    let mut told = format!(
        "{mirror}: {} to send ({}), {} to copy, {} to delete",
        count(plan.uploads),
        size(plan.upload_bytes),
        count(plan.copies),
        count(plan.deletes)
    );
    if held {
        told.push_str(", which would be held");
    }
    if plan.unsettled > 0 {
        told.push_str(&format!(", {} not still yet", count(plan.unsettled)));
    }
    out.notice(&told);
    Ok(())
}

fn print_step(mirror: &str, step: &MirrorStep, out: &mut Out) -> io::Result<()> {
    let (name, path, key, from, bytes) = match step {
        MirrorStep::Upload { path, key, bytes } => ("upload", Some(path), key, None, Some(*bytes)),
        MirrorStep::Copy { from, to } => ("copy", None, to, Some(from.as_str()), None),
        MirrorStep::Delete { key } => ("delete", None, key, None, None),
        // One that this program does not know yet.
        _ => return Ok(()),
    };
    if out.json {
        let (path, path_b64) = path.map(|path| json::path(path)).unzip();
        let path_b64 = path_b64.flatten();
        return out.object(&StepLine { mirror, step: name, path, key, from, bytes, path_b64 });
    }
    let shown = printable(key);
    match (path, from) {
        (Some(path), _) => {
            writeln!(out, "{name:<6}  {} -> {shown}  ({})", escape(path), size(bytes.unwrap_or_default()))
        }
        (None, Some(from)) => writeln!(out, "{name:<6}  {} -> {shown}", printable(from)),
        (None, None) => writeln!(out, "{name:<6}  {shown}"),
    }
}

#[derive(Serialize)]
struct FindingLine<'a> {
    mirror: &'a str,
    key: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
struct AuditLine<'a> {
    mirror: &'a str,
    listed: u64,
    matched: u64,
    lost: u64,
    different: u64,
    unknown: u64,
    unsure: u64,
}

/// Prints what an audit found: each difference, then the whole.
pub(super) fn print_audit(mirror: &str, report: &AuditReport, out: &mut Out) -> io::Result<()> {
    for finding in &report.findings {
        let (key, kind) = (finding.key.as_str(), finding.kind.name());
        if out.json {
            out.object(&FindingLine { mirror, key, kind })?;
        } else {
            writeln!(out, "{kind:<9}  {}", printable(key))?;
        }
    }
    let AuditReport { listed, matched, lost, different, unknown, unsure, .. } = *report;
    if out.json {
        return out.object(&AuditLine { mirror, listed, matched, lost, different, unknown, unsure });
    }
    let more = (lost + different + unknown + unsure).saturating_sub(report.findings.len() as u64);
    if more > 0 {
        out.notice(&format!("{mirror}: and {} more", count(more)));
    }
    out.notice(&format!(
        "{mirror}: {} listed, {} as acknowledged, {} lost, {} different, {} unknown, {} unsure",
        counted(listed, "object", "objects"),
        count(matched),
        count(lost),
        count(different),
        count(unknown),
        count(unsure)
    ));
    Ok(())
}

#[derive(Serialize)]
struct UrlLine<'a> {
    path: Cow<'a, str>,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

/// Prints a file and the address of its object.
pub(super) fn print_url(path: &[u8], url: &str, out: &mut Out) -> io::Result<()> {
    if out.json {
        let (path, path_b64) = json::path(path);
        return out.object(&UrlLine { path, url, path_b64 });
    }
    // The address comes first: there is no space in one.
    writeln!(out, "{}  {}", printable(url), escape(path))
}

#[cfg(test)]
mod tests {
    use treewarden::mirror::MirrorReport;

    use super::{is_good, sentence, with_prefix};

    #[test]
    fn only_what_happened_is_told() {
        let mut report = MirrorReport::default();
        assert_eq!(sentence(&report), "nothing sent in 0.00 s");
        assert!(is_good(&report));
        report.uploaded = 1_200;
        report.uploaded_bytes = 1_536;
        report.deleted = 2;
        report.elapsed_ms = 3_400;
        assert_eq!(sentence(&report), "1,200 sent (1.5 KiB), 2 deleted in 3.4 s");
        assert!(is_good(&report));
        report.failed = 1;
        report.held = 3;
        assert_eq!(
            sentence(&report),
            "1,200 sent (1.5 KiB), 2 deleted in 3.4 s; left: 1 failed, 3 to be deleted, and held"
        );
        assert!(!is_good(&report));
    }

    #[test]
    fn whatever_is_left_is_not_good() {
        let with = |set: fn(&mut MirrorReport)| {
            let mut report = MirrorReport::default();
            set(&mut report);
            report
        };
        for report in [
            with(|report| report.changed = 1),
            with(|report| report.unsettled = 1),
            with(|report| report.failed = 1),
            with(|report| report.refused = 1),
            with(|report| report.held = 1),
            with(|report| report.purges_waiting = 1),
        ] {
            assert!(!is_good(&report) && sentence(&report).contains("; left: 1 "), "{report:?}");
        }
    }

    #[test]
    fn a_prefix_is_told_where_there_is_one() {
        assert_eq!(with_prefix("s3://b", ""), "s3://b");
        assert_eq!(with_prefix("s3://b", "a/b"), "s3://b, below a/b");
    }
}
