//! Verify: the disk against the state, changing neither. It is a scan whose plan is read instead of
//! applied.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::commit::Engine;
use crate::entry::Kind;
use crate::error::{ErrorKind, Result};
use crate::ignore::IgnoreRules;
use crate::options::{ContentHash, VerifyOptions};
use crate::path;
use crate::root::{self, OwnFiles};
use crate::snapshot::{PageView, RootView};

use super::Scanner;
use super::content::{self, Job, Outcome};
use super::context::{Content, Context, Found, Fresh, Scope, Start, Walk};
use super::fd::FdWalk;
use super::report::{ERRORS_KEPT, Report, ScanContext, ScanError, Tally};
use super::turn::PoolKey;

/// Differences kept in full; the rest is counted.
const DIFFERENCES_KEPT: usize = 10_000;

/// How disk and state differ at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// In the state, not on disk.
    Missing,
    /// On disk, not in the state.
    Unknown,
    /// The fingerprint differs.
    Changed,
    /// The fingerprint is the same, the content is not.
    Corrupt,
}

impl DifferenceKind {
    /// Returns `missing`, `unknown`, `changed` or `corrupt`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Changed => "changed",
            Self::Corrupt => "corrupt",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Full address.
    pub path: Vec<u8>,
    /// What differs.
    pub what: DifferenceKind,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Files and symlinks looked at.
    pub checked: u64,
    /// The first 10,000 differences, in path order within each root.
    pub differences: Vec<Difference>,
    /// All of them, counted.
    pub differences_total: u64,
    /// Paths that could not be looked at, and roots that are unavailable.
    pub errors: u64,
    /// The first 100 of them.
    pub first_errors: Vec<ScanError>,
}

/// Compares the roots asked for with the disk.
pub(crate) fn verify(
    engine: &Engine,
    scanner: &Scanner,
    options: &VerifyOptions,
    context: &ScanContext,
) -> Result<VerifyReport> {
    let shared = engine.load();
    let views: Vec<Arc<RootView>> = match &options.root {
        Some(name) => vec![engine.root(name.as_bytes())?],
        None => shared.tree().map(|tree| tree.roots.clone()).unwrap_or_default(),
    };
    let mut report = VerifyReport::default();
    for view in views {
        one(engine, scanner, &view, options, context, &mut report)?;
        if context.is_cancelled() {
            return Err(crate::error::Error::new(ErrorKind::Cancelled, "the verification was cancelled"));
        }
    }
    Ok(report)
}

fn one(
    engine: &Engine,
    scanner: &Scanner,
    view: &Arc<RootView>,
    options: &VerifyOptions,
    asked: &ScanContext,
    report: &mut VerifyReport,
) -> Result<()> {
    let record = &view.record;
    let guarded = match root::open(record) {
        Ok(guarded) => guarded,
        Err(reason) => {
            report.errors += 1;
            let path = record.name.as_bytes().to_vec();
            report.first_errors.push(ScanError { path, kind: ErrorKind::Unavailable, message: reason });
            return Ok(());
        }
    };
    let pool = scanner.pool(PoolKey { threads: engine.options.threads, nice: 0, looks: false })?;
    let shared = engine.load();
    let records = shared.tree().into_iter().flat_map(|tree| &tree.roots).map(|r| &*r.record);
    let context = Arc::new(Context {
        root_dev: guarded.dev,
        compare: record.compare,
        adopt: record.adopt,
        keeps_hashes: false,
        full: false,
        accept_missing: false,
        losses_proven: false,
        is_look: false,
        escort: None,
        ignorer: IgnoreRules::new(record.ignore.iter().cloned())?.compile()?,
        rules_unchanged: false,
        nested: root::nested(record, records),
        own_files: OwnFiles::of(&record.path, engine.store.path()),
        tick_ns: root::tick_ns(guarded.identity.fs_type),
        clock: engine.options.clock.clone(),
        ids: Arc::default(),
        tally: Tally::new(&record.name, asked, view.live.totals.files),
        found: Mutex::default(),
        root_fd: guarded.fd,
    });
    let start = Start { path: Vec::new(), node: Arc::clone(&view.live), scope: Scope::Deep };
    FdWalk { pool: Arc::clone(&pool) }.walk(&context, vec![start]);
    let found = std::mem::take(&mut *context.found.lock().unwrap_or_else(PoisonError::into_inner));
    let mut differences = Vec::new();
    for dir in found {
        compare(view, dir, &mut differences);
    }
    if options.content && record.content_hash == ContentHash::Changed {
        check_content(&context, view, &pool, &mut differences);
    }
    differences.sort_by(|a, b| path::compare(&a.path, &b.path).then(a.what.cmp(&b.what)));
    let mut seen = Report::new(&record.name, crate::options::ScanMode::Quick, 0);
    context.tally.write(&mut seen);
    report.checked += seen.files;
    report.errors += seen.errors;
    let room = ERRORS_KEPT.saturating_sub(report.first_errors.len());
    report.first_errors.extend(seen.first_errors.into_iter().take(room));
    report.differences_total += differences.len() as u64;
    let room = DIFFERENCES_KEPT.saturating_sub(report.differences.len());
    let name = record.name.as_bytes();
    report.differences.extend(
        differences
            .into_iter()
            .take(room)
            .map(|d| Difference { path: path::join(name, &d.path), what: d.what }),
    );
    Ok(())
}

fn compare(view: &RootView, dir: Found, out: &mut Vec<Difference>) {
    let mut push = |name: &[u8], what| out.push(Difference { path: path::join(&dir.path, name), what });
    match dir.content {
        Content::New(pages) => {
            // Another directory in the place of a known one: what it shares with that is changed.
            let known = view.live.descend(&dir.path);
            let mut listed = HashSet::new();
            for slot in pages.iter().flat_map(|page| PageView::new(page).slots()) {
                let is_known = known.is_some_and(|node| node.find(slot.name()).is_some());
                push(slot.name(), if is_known { DifferenceKind::Changed } else { DifferenceKind::Unknown });
                listed.insert(slot.name());
            }
            for (slot, _) in known.into_iter().flat_map(|node| node.children()) {
                if !listed.contains(slot.name()) {
                    push(slot.name(), DifferenceKind::Missing);
                }
            }
        }
        Content::Known { fresh, lost, .. } => {
            let listed: HashSet<&[u8]> = fresh.iter().map(|(record, _)| &*record.name).collect();
            for name in &lost {
                if !listed.contains(&**name) {
                    push(name, DifferenceKind::Missing);
                }
            }
            let known = view.live.descend(&dir.path);
            for (record, fresh) in &fresh {
                let slot = known.and_then(|n| n.find(&record.name)).map(|(page, i)| page.view().slot(i));
                let what = match (fresh, slot) {
                    (Fresh::Added, None) => DifferenceKind::Unknown,
                    // Marked racy, but as it was: nothing is known to differ.
                    (Fresh::Modified, Some(slot)) if slot.stat() == record.stat => continue,
                    (Fresh::Added | Fresh::Modified, _) => DifferenceKind::Changed,
                    (Fresh::Recheck | Fresh::Refreshed, _) => continue,
                };
                push(&record.name, what);
            }
        }
    }
}

/// Reads every file whose fingerprint is as stored, and compares the hash.
fn check_content(context: &Context, view: &RootView, pool: &rayon::ThreadPool, out: &mut Vec<Difference>) {
    let mut jobs = Vec::new();
    let mut hashes = Vec::new();
    let mut pending = vec![(Vec::new(), &view.live)];
    while let Some((dir, node)) = pending.pop() {
        for (slot, kid) in node.children() {
            let path = path::join(&dir, slot.name());
            match (kid, slot.hash()) {
                (Some(kid), _) => pending.push((path, kid)),
                (None, Some(hash)) if slot.kind() == Kind::File => {
                    jobs.push(Job { path, key: (hashes.len(), 0), size: slot.size() });
                    hashes.push((hash, slot.stat()));
                }
                _ => {}
            }
        }
    }
    let outcomes = content::hash_all(pool, &context.root_fd, &jobs, &context.clock, &context.tally);
    for ((job, (hash, stat)), outcome) in jobs.into_iter().zip(hashes).zip(outcomes) {
        if let Outcome::Hashed(now, seen, _) = outcome {
            let same = context.compare.same(&stat.fingerprint(), &seen.fingerprint());
            if same && now != hash {
                out.push(Difference { path: job.path, what: DifferenceKind::Corrupt });
            }
        }
    }
}
