//! One run: the plan is carried out by several threads, and what they report is written down by the one that
//! called. Uploads and copies first, then deletions.
//!
//! Every step is in the outbox before it is begun and again when it is over, so that a process that is killed in
//! between knows what it may have left behind. Nothing is sent again that was acknowledged.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::changes::Changes;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::ChangeKind;
use crate::path::{self, escape};
use crate::root::guard;
use crate::root_record::{RootRecord, RootState};
use crate::snapshot::Snapshot;
use crate::testing;

use super::crew::Crew;
use super::outbox::{Object, Writes};
use super::pace::Pace;
use super::plan::{Basis, Plan};
use super::report::{MirrorContext, MirrorError, MirrorReport, Teller};
use super::shared::{Shared, Turn};
use super::storage::{StorageError, StorageFault};

/// Passes of one run: files that were not still yet come with the next.
const PASSES: u32 = 3;
/// Changes that are read to tell a move from an edit; beyond them files are sent instead of copied.
const CHANGES_MAX: usize = 1_000_000;

impl Shared {
    /// Brings the remote copy in step with the current snapshot.
    pub(super) fn sync(&self, context: &MirrorContext) -> Result<MirrorReport> {
        self.usable()?;
        let mut turn = self.take_turn();
        // It may have ended while others had their turn.
        self.usable()?;
        let begun = Instant::now();
        self.running(true);
        let mut report = MirrorReport::default();
        // A storage is the program's own code, as far as it likes.
        let passes = AssertUnwindSafe(|| self.passes(&mut turn, context, &mut report));
        let result = catch_unwind(passes).unwrap_or_else(|_| {
            let text = format!("mirror `{}` has failed: its storage, or a bug", escape(self.name.as_bytes()));
            Err(Error::new(ErrorKind::Panic, text).with_hint("what was acknowledged stays so"))
        });
        report.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.running(false);
        self.note(&turn, &report, result.as_ref().err());
        result.map(|()| report)
    }

    fn passes(&self, turn: &mut Turn, context: &MirrorContext, report: &mut MirrorReport) -> Result<()> {
        let pace = Arc::new(Pace::new(&self.options(), [context.cancel.clone(), self.stop.clone()]));
        for pass in 1..=PASSES {
            // What is left is told by the last pass.
            (report.changed, report.unsettled, report.held) = (0, 0, 0);
            (report.failed, report.refused, report.unanswered) = (0, 0, 0);
            report.errors.clear();
            let settled_at_ns = self.pass(turn, context, &pace, report)?;
            if report.unsettled == 0 || pass == PASSES {
                break;
            }
            let wait_ns = settled_at_ns.saturating_sub(self.engine.options.clock.now_ns());
            let wait = Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0));
            pace.wait(wait).map_err(|error| fatal(&error))?;
        }
        Ok(())
    }

    /// Answers when the first file that is not still yet will be.
    fn pass(
        &self,
        turn: &mut Turn,
        context: &MirrorContext,
        pace: &Arc<Pace>,
        report: &mut MirrorReport,
    ) -> Result<i64> {
        let snapshot = self.engine.snapshot();
        report.seq = snapshot.seq();
        let (record, root) = self.open_root(&snapshot)?;
        self.abort_left_over(turn, pace)?;
        if self.forget.swap(false, Ordering::AcqRel) {
            turn.forget();
        }
        let mut plan = self.plan(turn, &snapshot, &record);
        report.unsettled = plan.unsettled.len() as u64;
        let mut left: HashSet<Vec<u8>> = plan.unsettled.iter().cloned().collect();
        for refused in &plan.refused {
            report.push_error(refused.clone());
        }
        turn.refused = plan.refused.iter().map(|refused| refused.path.clone()).collect();
        // What the storage has rejected it rejects again, until it is another file.
        plan.wishes.retain(|wish| {
            let Some((_, error)) = turn.rejected.get(&wish.key).filter(|(seq, _)| *seq == wish.seq) else {
                return true;
            };
            report.push_error(error.clone());
            turn.refused.insert(error.path.clone());
            false
        });
        if plan.deletes.is_empty() && record.id != self.root_id() {
            self.adopt_root(&record)?;
        }
        let result = if plan.is_empty() {
            Ok(())
        } else {
            self.carry_out(turn, &plan, &record, &root, context, pace, report, &mut left)
        };
        if result.is_ok() {
            // What failed on the way has nobody to come back for it.
            self.abort_left_over(turn, pace)?;
        }
        turn.looked(snapshot, left, self.engine.options.clock.now_ns());
        result.map(|()| plan.settled_at_ns)
    }

    /// The directory of the root, which must be the one that it was.
    pub(super) fn open_root(&self, snapshot: &Snapshot) -> Result<(Arc<RootRecord>, OwnedFd)> {
        let options = self.options();
        let name = path::split_root(options.address()).0;
        let view = snapshot.root_view(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no root `{}`", escape(name)))
                .with_path(name)
                .with_hint("nothing was deleted from the mirror; `mirror remove` ends it")
        })?;
        let unavailable = |why: &str| {
            let text = format!("root `{}` cannot be mirrored: {why}", escape(name));
            Error::new(ErrorKind::Unavailable, text).with_path(name).with_hint("nothing was sent or deleted")
        };
        match &view.record.state {
            RootState::New => return Err(unavailable("it has not been scanned yet")),
            RootState::Unavailable { reason } => return Err(unavailable(reason)),
            RootState::Ready | RootState::Held { .. } => {}
        }
        let guarded = guard::open(&view.record).map_err(|why| unavailable(&why))?;
        Ok((Arc::clone(&view.record), guarded.fd))
    }

    pub(super) fn plan(&self, turn: &Turn, snapshot: &Snapshot, record: &RootRecord) -> Plan {
        let objects = self.outbox.objects();
        let basis = Basis {
            scope: &self.scope(),
            snapshot,
            objects: &objects,
            storage: &*self.storage,
            compare: record.compare,
            now_ns: self.engine.options.clock.now_ns(),
            edited: &|since| self.edited(since),
            known_seq: turn.known_seq(),
        };
        match turn.differing(snapshot) {
            None => basis.whole(),
            Some(addresses) => basis.some(&addresses),
        }
    }

    /// The entries of which the journal says since then that their content changed.
    fn edited(&self, since: u64) -> Option<HashSet<u64>> {
        let mut edited = HashSet::new();
        for (at, change) in Changes::since(&self.engine, since).ok()?.enumerate() {
            let change = change.ok()?;
            if at == CHANGES_MAX {
                return None;
            }
            if !matches!(change.kind, ChangeKind::Moved | ChangeKind::Added) {
                edited.insert(change.id);
            }
        }
        Some(edited)
    }

    #[expect(clippy::too_many_arguments, reason = "one call, of its only caller")]
    fn carry_out(
        &self,
        turn: &mut Turn,
        plan: &Plan,
        record: &RootRecord,
        root: &OwnedFd,
        context: &MirrorContext,
        pace: &Arc<Pace>,
        report: &mut MirrorReport,
        left: &mut HashSet<Vec<u8>>,
    ) -> Result<()> {
        let bytes = AtomicU64::new(0);
        let total = (plan.wishes.len() + plan.deletes.len()) as u64;
        let mut teller = Teller::new(context, total, plan.upload_bytes(), &bytes);
        let crew = Crew {
            shared: self,
            root,
            pace: Arc::clone(pace),
            bytes: &bytes,
            retries: AtomicU64::new(0),
            fatal: AtomicBool::new(false),
            succeeded: AtomicBool::new(false),
            in_a_row: AtomicU32::new(0),
        };
        // Whatever is not over when this ends is looked at again.
        let mut open: HashSet<&Arc<str>> = plan.wishes.iter().map(|wish| &wish.key).collect();
        open.extend(&plan.deletes);
        let mut failed_copies: HashSet<&str> = HashSet::new();
        let mut result = crew.send(plan, turn, report, &mut teller, &mut open, &mut failed_copies);
        if result.is_ok() {
            result =
                self.deletions(plan, record, context, &crew, report, &mut teller, &mut open, &failed_copies);
        }
        report.retries += crew.retries.load(Ordering::Relaxed);
        teller.tell(true);
        let scope = self.scope();
        left.extend(open.into_iter().filter_map(|key| scope.address_of(key)));
        result
    }

    #[expect(clippy::too_many_arguments, reason = "one call, of its only caller")]
    fn deletions<'p>(
        &self,
        plan: &'p Plan,
        record: &RootRecord,
        context: &MirrorContext,
        crew: &Crew<'_>,
        report: &mut MirrorReport,
        teller: &mut Teller<'_>,
        open: &mut HashSet<&'p Arc<str>>,
        failed_copies: &HashSet<&str>,
    ) -> Result<()> {
        let mut doomed: Vec<&Arc<str>> =
            plan.deletes.iter().filter(|key| !failed_copies.contains(&***key)).collect();
        if doomed.is_empty() {
            return Ok(());
        }
        let objects = self.outbox.objects().len() as u64;
        // Another root under the old name: its files are no proof against the objects of the first.
        let is_other = record.id != self.root_id();
        let is_held = matches!(record.state, RootState::Held { .. })
            || (!context.accept_deletes && (is_other || self.options().holds(doomed.len() as u64, objects)));
        if is_held {
            report.held = doomed.len() as u64;
            return Ok(());
        }
        let batch_max = self.storage.capabilities().delete_max.max(1);
        while !doomed.is_empty() {
            let rest = doomed.split_off(batch_max.min(doomed.len()));
            // Nothing is deleted on the word of a snapshot that is no longer true.
            let snapshot = self.engine.snapshot();
            let (record, _) = self.open_root(&snapshot)?;
            if matches!(record.state, RootState::Held { .. }) {
                report.held = (doomed.len() + rest.len()) as u64;
                return Ok(());
            }
            let known = self.outbox.objects();
            let basis = Basis {
                scope: &self.scope(),
                snapshot: &snapshot,
                objects: &known,
                storage: &*self.storage,
                compare: record.compare,
                now_ns: 0,
                edited: &|_| None,
                known_seq: None,
            };
            doomed.retain(|key| !basis.is_wanted(key));
            if doomed.is_empty() {
                doomed = rest;
                continue;
            }
            let mut writes = Writes::default();
            for key in &doomed {
                if let Some(object) = known.get(*key) {
                    let owed = object.was_seen();
                    writes.put(key, Object { sure: false, listed: false, owed, ..(**object).clone() });
                }
            }
            crew.pace.check().map_err(|error| fatal(&error))?;
            self.outbox.write(writes)?;
            testing::pass("mirror-delete-begun");
            let ended = crew.delete(&doomed);
            testing::pass("mirror-deleted");
            let mut writes = Writes::default();
            let (mut purges, mut hopeless) = (Vec::new(), None);
            // One that may not be deleted says nothing of the others.
            let all_failed = ended.iter().all(Result::is_err);
            for (key, end) in doomed.iter().zip(ended) {
                teller.done += 1;
                match end {
                    Ok(()) => {
                        writes.remove(key);
                        open.remove(*key);
                        report.deleted += 1;
                        if known.get(*key).is_some_and(|object| object.was_seen()) {
                            purges.extend(self.queue_purge(&mut writes, key));
                        }
                    }
                    Err(error) => {
                        let refused_all = batch_max > 1 && error.fault == StorageFault::Denied;
                        if all_failed && (refused_all || crew.is_hopeless(&error.fault)) {
                            hopeless = Some(fatal(&error));
                        }
                        report.push_failure(self.failure(key, &error), &error.fault);
                    }
                }
            }
            self.outbox.write(writes)?;
            testing::pass("mirror-delete-noted");
            self.add_purges(purges);
            teller.tell(false);
            if let Some(error) = hopeless {
                return Err(error);
            }
            doomed = rest;
        }
        if is_other && report.failed == 0 {
            self.adopt_root(record)?;
        }
        Ok(())
    }

    pub(super) fn failure(&self, key: &str, error: &StorageError) -> MirrorError {
        let path = self.scope().address_of(key).unwrap_or_default();
        let permanent = error.fault == StorageFault::Rejected;
        MirrorError { path, key: Some(key.to_owned()), message: escape(error.message.as_bytes()), permanent }
    }

    /// Throws away the parts that a run before left behind.
    fn abort_left_over(&self, turn: &mut Turn, pace: &Pace) -> Result<()> {
        let mut writes = Writes::default();
        // A store that does not answer is not asked about each of them.
        let mut answers = true;
        turn.uploads.retain(|upload| {
            if !answers || pace.check().is_err() {
                return true;
            }
            match self.storage.abort(&upload.key, &upload.upload_id) {
                Ok(()) => {
                    self.outbox.end_upload(&mut writes, upload);
                    false
                }
                Err(error) => {
                    let (key, why) = (escape(upload.key.as_bytes()), escape(error.message.as_bytes()));
                    tracing::warn!(key, why, "parts of an upload are still there");
                    answers = false;
                    true
                }
            }
        });
        self.outbox.write(writes)
    }
}

/// What a caller is told when a run is given up.
pub(super) fn fatal(error: &StorageError) -> Error {
    let (kind, hint) = match error.fault {
        StorageFault::Denied => {
            (ErrorKind::PermissionDenied, "give other credentials; what was acknowledged stays so")
        }
        StorageFault::Misconfigured => {
            (ErrorKind::NotFound, "correct the target; what was acknowledged stays so")
        }
        StorageFault::Cancelled => (ErrorKind::Cancelled, "the next run goes on where this one stopped"),
        StorageFault::Unsupported => (ErrorKind::Unsupported, "this storage has no such thing"),
        _ => (ErrorKind::Io, "the next run tries again"),
    };
    // The words may be those of a program's own storage.
    Error::new(kind, escape(error.message.as_bytes())).with_hint(hint)
}
