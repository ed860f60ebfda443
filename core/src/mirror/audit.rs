//! Comparing what a storage lists with what it acknowledged.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

use super::outbox::{Object, Writes};
use super::run::fatal;
use super::shared::Shared;

/// Differences told in full; the rest is counted.
const KEPT: usize = 1_000;

/// What an audit may mend. Nothing, by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditOptions {
    repair: bool,
    delete_unknown: bool,
}

impl AuditOptions {
    /// Reports, and changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is lost or different in the storage is sent again with the next run.
    #[must_use]
    pub fn repair(mut self, yes: bool) -> Self {
        self.repair = yes;
        self
    }

    /// Objects below the prefix that this mirror knows nothing of are deleted with the next run, as far as its
    /// limits for deletions allow. Of the names that no file can have none is.
    #[must_use]
    pub fn delete_unknown(mut self, yes: bool) -> Self {
        self.delete_unknown = yes;
        self
    }
}

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditKind {
    /// It was acknowledged, and is not there.
    Lost,
    /// It has another size or entity tag than was acknowledged.
    Different,
    /// It is there, and this mirror did not put it there.
    Unknown,
    /// Something was begun with it, and not acknowledged: the next run puts or deletes it.
    Unsure,
}

impl AuditKind {
    /// Returns `lost`, `different`, `unknown` or `unsure`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Different => "different",
            Self::Unknown => "unknown",
            Self::Unsure => "unsure",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFinding {
    /// The key of the object.
    pub key: String,
    /// What is wrong with it.
    pub kind: AuditKind,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuditReport {
    /// Objects that were listed.
    pub listed: u64,
    /// Objects that are as they were acknowledged.
    pub matched: u64,
    /// Acknowledged objects that are not there.
    pub lost: u64,
    /// Objects of another size or entity tag.
    pub different: u64,
    /// Objects that this mirror did not put there.
    pub unknown: u64,
    /// Objects that were begun and not acknowledged.
    pub unsure: u64,
    /// The first 1,000 differences, by key.
    pub findings: Vec<AuditFinding>,
}

impl AuditReport {
    /// True when the storage holds what it acknowledged, and nothing else.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.different + self.unknown + self.unsure == 0
    }

    fn push(&mut self, key: &str, kind: AuditKind) {
        match kind {
            AuditKind::Lost => self.lost += 1,
            AuditKind::Different => self.different += 1,
            AuditKind::Unknown => self.unknown += 1,
            AuditKind::Unsure => self.unsure += 1,
        }
        if self.findings.len() < KEPT {
            self.findings.push(AuditFinding { key: key.to_owned(), kind });
        }
    }
}

impl Shared {
    pub(super) fn audit(&self, options: AuditOptions) -> Result<AuditReport> {
        self.usable()?;
        if !self.storage.capabilities().list {
            return Err(Error::new(ErrorKind::Unsupported, "this storage cannot be listed"));
        }
        // No run at the same time: what it does would be taken for a difference.
        let mut turn = self.take_turn();
        self.usable()?;
        let objects = self.outbox.objects();
        let prefix = self.options().prefix.trim_end_matches('/').to_owned();
        let mut report = AuditReport::default();
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let mut writes = Writes::default();
        let mut findings: Vec<(String, AuditKind)> = Vec::new();
        let scope = self.scope();
        self.storage
            .list(&prefix, &mut |listed| {
                let rest = listed.key.strip_prefix(prefix.as_str());
                if !prefix.is_empty() && rest.is_none_or(|rest| !rest.starts_with('/')) {
                    // Of somebody else, whose prefix begins as ours does.
                    return !self.stop.is_cancelled();
                }
                report.listed += 1;
                let Some((key, object)) = objects.get_key_value(listed.key.as_str()) else {
                    if options.delete_unknown && scope.address_of(&listed.key).is_some() {
                        writes.put(&Arc::from(listed.key.as_str()), begun(None, listed.size));
                    }
                    findings.push((listed.key, AuditKind::Unknown));
                    return !self.stop.is_cancelled();
                };
                seen.insert(Arc::clone(key));
                let same_tag = match (object.etag.as_deref(), listed.etag.as_deref()) {
                    (Some(a), Some(b)) => a == b,
                    _ => true,
                };
                if !object.sure {
                    findings.push((listed.key, AuditKind::Unsure));
                } else if object.size == listed.size && same_tag {
                    report.matched += 1;
                } else {
                    if options.repair {
                        writes.put(key, begun(Some(object), listed.size));
                    }
                    findings.push((listed.key, AuditKind::Different));
                }
                !self.stop.is_cancelled()
            })
            .map_err(|error| fatal(&error))?;
        self.usable()?;
        for (key, object) in &*objects {
            if object.sure && !seen.contains(key) {
                if options.repair {
                    let owed = object.was_seen();
                    let begun = Object { listed: false, owed, ..begun(Some(object), object.size) };
                    writes.put(key, begun);
                }
                findings.push((key.as_ref().to_owned(), AuditKind::Lost));
            }
        }
        findings.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, kind) in &findings {
            report.push(key, *kind);
        }
        if !writes.is_empty() {
            self.outbox.write(writes)?;
            turn.forget();
        }
        Ok(report)
    }
}

/// A row that makes the next run look: put again where there is a file, deleted where there is none.
fn begun(known: Option<&Object>, size: u64) -> Object {
    match known {
        Some(known) => Object { sure: false, ..known.clone() },
        None => Object { size, ..Object::unknown() },
    }
}
