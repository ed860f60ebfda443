//! Comparing what a storage lists with what it acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::scan::CancelToken;

use super::attempts::Attempts;
use super::outbox::{Object, Objects, Writes};
use super::pace::Pace;
use super::plan::Scope;
use super::run::fatal;
use super::shared::Shared;
use super::storage::{Listed, StorageError, StorageFault};

/// Differences told in full; the rest is counted.
const KEPT: usize = 1_000;
/// Rows of one commit.
pub(super) const WRITES_MAX: usize = 10_000;

/// What an audit may mend (nothing, by default), and who may stop it.
#[derive(Debug, Clone, Default)]
pub struct AuditOptions {
    repair: bool,
    delete_unknown: bool,
    cancel: CancelToken,
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

    /// Sets the token that stops the audit: nothing is mended then.
    #[must_use]
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = token;
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

    fn count(&mut self, kind: AuditKind) {
        match kind {
            AuditKind::Lost => self.lost += 1,
            AuditKind::Different => self.different += 1,
            AuditKind::Unknown => self.unknown += 1,
            AuditKind::Unsure => self.unsure += 1,
        }
    }
}

/// One comparison under way.
struct Comparison<'a> {
    options: &'a AuditOptions,
    objects: &'a Objects,
    scope: &'a Scope,
    prefix: &'a str,
    report: AuditReport,
    seen: HashSet<Arc<str>>,
    /// The first of them, by key.
    findings: BTreeMap<String, AuditKind>,
    /// What the next run is to look at.
    doubted: Vec<(Arc<str>, Object)>,
}

impl<'a> Comparison<'a> {
    fn new(options: &'a AuditOptions, objects: &'a Objects, scope: &'a Scope, prefix: &'a str) -> Self {
        Self {
            options,
            objects,
            scope,
            prefix,
            report: AuditReport::default(),
            seen: HashSet::new(),
            findings: BTreeMap::new(),
            doubted: Vec::new(),
        }
    }

    /// What is there.
    fn found(&mut self, listed: Listed) {
        let rest = listed.key.strip_prefix(self.prefix);
        if !self.prefix.is_empty() && rest.is_none_or(|rest| !rest.starts_with('/')) {
            // Of somebody else, whose prefix begins as ours does.
            return;
        }
        self.report.listed += 1;
        let Some((key, object)) = self.objects.get_key_value(listed.key.as_str()) else {
            if self.options.delete_unknown && self.scope.address_of(&listed.key).is_some() {
                let object = Object { size: listed.size, ..Object::unknown() };
                self.doubted.push((Arc::from(listed.key.as_str()), object));
            }
            self.tell(listed.key, AuditKind::Unknown);
            return;
        };
        self.seen.insert(Arc::clone(key));
        let same_tag = match (object.etag.as_deref(), listed.etag.as_deref()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        if !object.sure {
            self.tell(listed.key, AuditKind::Unsure);
        } else if object.size == listed.size && same_tag {
            self.report.matched += 1;
        } else {
            if self.options.repair {
                self.doubted.push((Arc::clone(key), Object { sure: false, ..(**object).clone() }));
            }
            self.tell(listed.key, AuditKind::Different);
        }
    }

    fn tell(&mut self, key: String, kind: AuditKind) {
        self.report.count(kind);
        self.findings.insert(key, kind);
        if self.findings.len() > KEPT {
            self.findings.pop_last();
        }
    }

    /// What was not there, when everything was listed.
    fn finish(&mut self) {
        for (key, object) in self.objects {
            if object.sure && !self.seen.contains(key) {
                if self.options.repair {
                    let owed = object.was_seen();
                    let lost = Object { sure: false, listed: false, owed, ..(**object).clone() };
                    self.doubted.push((Arc::clone(key), lost));
                }
                self.tell(key.as_ref().to_owned(), AuditKind::Lost);
            }
        }
        let findings = std::mem::take(&mut self.findings).into_iter();
        self.report.findings = findings.map(|(key, kind)| AuditFinding { key, kind }).collect();
    }
}

impl Shared {
    pub(super) fn audit(&self, options: &AuditOptions) -> Result<AuditReport> {
        self.usable()?;
        if !self.storage.capabilities().list {
            return Err(Error::new(ErrorKind::Unsupported, "this storage cannot be listed"));
        }
        // No run at the same time: what it does would be taken for a difference.
        let pace = Arc::new(Pace::new(&self.options(), [options.cancel.clone(), self.stop.clone()]));
        let _turn = self.take_turn(&pace)?;
        let _within = self.enter();
        let (objects, scope, mirror_options) = (self.outbox.objects(), self.scope(), self.options());
        let prefix = mirror_options.prefix.trim_end_matches('/');
        let attempts = Attempts::new(self, &pace);
        let list = || {
            // A listing that broke off begins anew.
            let mut comparison = Comparison::new(options, &objects, &scope, prefix);
            let mut result = Ok(());
            self.storage.list(prefix, &mut |listed| {
                comparison.found(listed);
                result = pace.check();
                result.is_ok()
            })?;
            result.map(|()| comparison)
        };
        // A storage is the program's own code, as far as it likes.
        let listed = catch_unwind(AssertUnwindSafe(|| self.attended(&pace, || attempts.tries(list))));
        let mut comparison = listed
            .unwrap_or_else(|_| {
                Err(StorageError::new(StorageFault::Transient, "the storage has failed by a panic"))
            })
            .map_err(|error| fatal(&error))?;
        comparison.finish();
        let Comparison { report, doubted, .. } = comparison;
        if !doubted.is_empty() {
            // Before the first of them is written: also what a failure leaves is looked at.
            self.look_again();
        }
        for some in doubted.chunks(WRITES_MAX) {
            let mut writes = Writes::default();
            for (key, object) in some {
                writes.put(key, object.clone());
            }
            self.outbox.write(writes)?;
        }
        Ok(report)
    }
}
