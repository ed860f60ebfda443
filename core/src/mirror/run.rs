//! One run: whose turn it is, which root and snapshot count, what is to be done, and what is left of it.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::changes::Changes;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::ChangeKind;
use crate::path::{self, escape};
use crate::root::guard;
use crate::root_record::{RootRecord, RootState};
use crate::snapshot::Snapshot;

use super::apart;
use super::attempts::may_work;
use super::audit::WRITES_MAX;
use super::crew::Crew;
use super::outbox::{Objects, Writes};
use super::pace::Pace;
use super::pass::Pass;
use super::plan::{Basis, Losses, Plan, Wish};
use super::report::{MirrorContext, MirrorError, MirrorReport};
use super::seen::Seen;
use super::shared::{Progress, Shared};
use super::storage::{StorageError, StorageFault};

/// Passes of one run: files that were not still yet come with the next.
const PASSES: u32 = 3;
/// So long a run waits for files to be still, over all passes: others wait for its turn meanwhile.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Changes that are read to tell a move from an edit; beyond them files are sent instead of copied.
const CHANGES_MAX: usize = 1_000_000;

/// What a run does, and on which grounds.
pub(super) struct Prepared {
    pub(super) snapshot: Snapshot,
    pub(super) record: Arc<RootRecord>,
    root: OwnedFd,
    pub(super) plan: Plan,
    /// What the storage has rejected before, and would again.
    pub(super) rejected: Vec<MirrorError>,
    /// Another root under the old name: its files are no proof against the objects of the first.
    pub(super) is_other_root: bool,
    /// There are more deletions than the options allow.
    is_too_much: bool,
    /// Objects, each content once.
    objects: u64,
}

impl Prepared {
    /// True when the deletions wait.
    pub(super) fn is_held(&self, accept_deletes: bool) -> bool {
        let is_meant = accept_deletes || !(self.is_other_root || self.is_too_much);
        !is_meant || matches!(self.record.state, RootState::Held { .. })
    }
}

impl Shared {
    /// Brings the remote copy in step with the current snapshot.
    pub(super) fn sync(&self, context: &MirrorContext) -> Result<MirrorReport> {
        self.usable()?;
        let pace = Arc::new(Pace::new(&self.options(), [context.cancel.clone(), self.stop.clone()]));
        let mut turn = self.take_turn(&pace)?;
        let begun = Instant::now();
        let _within = self.enter();
        self.running.store(true, Ordering::Release);
        let mut report = MirrorReport::default();
        // A storage is the program's own code, as far as it likes.
        let passes = AssertUnwindSafe(|| self.passes(&mut turn, context, &pace, &mut report));
        let result = catch_unwind(passes).unwrap_or_else(|_| {
            let text = format!("mirror `{}` has failed: its storage, or a bug", escape(self.name.as_bytes()));
            Err(Error::new(ErrorKind::Panic, text).with_hint("what was acknowledged stays so"))
        });
        report.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.running.store(false, Ordering::Release);
        self.note(&turn, &report, result.as_ref().err());
        result.map(|()| report)
    }

    fn passes(
        &self,
        progress: &mut Progress,
        context: &MirrorContext,
        pace: &Arc<Pace>,
        report: &mut MirrorReport,
    ) -> Result<()> {
        for pass in 1..=PASSES {
            // What is left is told by the last pass.
            (report.changed, report.unsettled, report.held) = (0, 0, 0);
            (report.failed, report.refused, report.unanswered, report.occupied) = (0, 0, 0, 0);
            report.errors.clear();
            let deleted = report.deleted;
            report.settled_at_ns = self.pass(progress, context, pace, report)?;
            let has_room = report.occupied > 0 && report.deleted > deleted;
            let wait_ns = report.settled_at_ns.saturating_sub(self.engine.options.clock.now_ns());
            let wait = Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0));
            let is_soon = report.unsettled > 0 && report.waited.saturating_add(wait) <= SETTLE_MAX;
            if pass == PASSES || !(is_soon || has_room) {
                break;
            }
            if is_soon {
                report.waited += wait;
                pace.wait(wait).map_err(|error| fatal(&error))?;
            }
        }
        Ok(())
    }

    /// Answers when the first file that is not still yet will be.
    fn pass(
        &self,
        progress: &mut Progress,
        context: &MirrorContext,
        pace: &Arc<Pace>,
        report: &mut MirrorReport,
    ) -> Result<i64> {
        if self.forget.swap(false, Ordering::AcqRel) {
            progress.seen.forget();
        }
        let prepared = self.prepare(&progress.seen)?;
        report.seq = prepared.snapshot.seq();
        self.abort_left_over(progress, pace)?;
        let plan = &prepared.plan;
        self.renew(plan)?;
        report.unsettled = plan.unsettled.len() as u64;
        let refused = || plan.refused.iter().chain(&prepared.rejected);
        refused().for_each(|error| report.push_error(error.clone()));
        progress.seen.refused = refused().map(|error| error.path.clone()).collect();
        let now_ns = self.engine.options.clock.now_ns();
        progress.seen.peak.note(now_ns, prepared.objects);
        progress.seen.trim(&plan.wishes);
        let keeps = !plan.kept.is_empty() || !plan.stays.is_empty();
        let has_kept = keeps && !context.accept_deletes;
        if prepared.is_other_root && plan.deletes.is_empty() && !has_kept {
            self.adopt_root(&prepared.record)?;
        }
        self.hold(prepared.is_too_much)?;
        let scope = self.scope();
        let kept = plan.kept.iter().chain(&plan.stays).filter_map(|key| scope.address_of(key));
        let mut left: HashSet<Vec<u8>> = plan.unsettled.iter().cloned().chain(kept).collect();
        let mut result = Ok(());
        if !plan.is_empty() {
            let crew = Crew::new(self, &prepared.root, pace);
            let pass = Pass::new(&crew, &prepared, context, progress, report);
            let (not_over, ended) = self.attended(pace, || pass.carry_out());
            left.extend(not_over);
            result = ended;
        }
        if result.is_ok() {
            // What failed on the way has nobody to come back for it.
            self.abort_left_over(progress, pace)?;
        }
        report.parts_left = !progress.uploads.is_empty();
        let settled_at_ns = plan.settled_at_ns;
        progress.seen.looked(prepared.snapshot, left, self.engine.options.clock.now_ns());
        result.map(|()| settled_at_ns)
    }

    /// Notes the entries that objects are of now: whether one may be deleted is asked of them.
    fn renew(&self, plan: &Plan) -> Result<()> {
        for some in plan.renewed.chunks(WRITES_MAX) {
            let mut writes = Writes::default();
            some.iter().for_each(|(key, object)| writes.put(key, object.clone()));
            self.outbox.write(writes)?;
        }
        Ok(())
    }

    /// What is to be done now, after what has been seen.
    pub(super) fn prepare(&self, seen: &Seen) -> Result<Prepared> {
        let snapshot = self.engine.snapshot();
        let (record, root) = self.open_root(&snapshot)?;
        // A root may have come or moved since the mirror was opened.
        apart::check_roots(&self.engine, &*self.storage, self.options().get_prefix())?;
        let known = self.outbox.objects();
        let basis = Basis {
            scope: &self.scope(),
            snapshot: &snapshot,
            objects: &known,
            storage: &*self.storage,
            compare: record.compare,
            now_ns: self.engine.options.clock.now_ns(),
            edited: &|since| self.edited(since),
            in_step: &|address| seen.in_step(address),
        };
        let differing = if self.forget.load(Ordering::Acquire) { None } else { seen.differing(&snapshot) };
        let mut plan = match differing {
            None => basis.whole(),
            Some(addresses) => basis.some(&addresses),
        };
        // As they will be before anything is sent or deleted.
        let mut objects = Objects::clone(&known);
        objects.extend(plan.renewed.iter().map(|(key, object)| (Arc::clone(key), Arc::new(object.clone()))));
        let mut rejected = Vec::new();
        // What the storage has rejected it rejects again, until it is another file.
        plan.leave_out(&objects, |wish| {
            let known = seen.rejected.get(&wish.key).filter(|(seq, _)| *seq == wish.seq);
            rejected.extend(known.map(|(_, error)| error.clone()));
            known.is_some()
        });
        plan.wishes.sort_by_key(|wish| seen.late.contains(&wish.key));
        let is_other_root = record.id != self.root_id();
        let (objects, is_too_much) = self.weigh(seen, &plan, &objects, known.totals.never);
        Ok(Prepared { snapshot, record, root, plan, rejected, is_other_root, is_too_much, objects })
    }

    /// Answers the number of objects, each content once, and whether so much would be gone that somebody has to say
    /// that it is meant: now, or with all that went within the last hour. `never` of them were never there.
    fn weigh(&self, seen: &Seen, plan: &Plan, objects: &Objects, never: u64) -> (u64, bool) {
        let options = self.options();
        let Losses { lost, doubled, never: never_gone } = plan.losses(objects, options.free_deletes());
        let objects_before = (objects.len() as u64).saturating_sub(doubled + never);
        let is_new = |wish: &&Wish| objects.get(&wish.key).is_none_or(|object| object.was_never());
        let new = plan.wishes.iter().filter(is_new).count() as u64;
        let gone = ((plan.deletes.len() + plan.kept.len()) as u64).saturating_sub(never_gone);
        let after = (objects_before + doubled + new).saturating_sub(gone);
        let highest = seen.peak.highest(self.engine.options.clock.now_ns(), objects_before);
        let before = self.held_of().map_or(objects_before, |held| objects_before.min(held));
        let is_too_much =
            options.holds(lost, before) || options.holds(highest.saturating_sub(after), highest);
        (objects_before, is_too_much)
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
            RootState::New if view.record.rebuilt => {
                return Err(unavailable("no scan since the state file was rebuilt could look everywhere"));
            }
            RootState::New => return Err(unavailable("it has not been scanned yet")),
            RootState::Unavailable { reason } => return Err(unavailable(reason)),
            RootState::Ready | RootState::Held { .. } => {}
        }
        let guarded = guard::open(&view.record).map_err(|why| unavailable(&why))?;
        Ok((Arc::clone(&view.record), guarded.fd))
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

    pub(super) fn failure(&self, key: &str, error: &StorageError) -> MirrorError {
        let path = self.scope().address_of(key).unwrap_or_default();
        let permanent = error.fault == StorageFault::Rejected;
        MirrorError { path, key: Some(key.to_owned()), message: escape(error.message.as_bytes()), permanent }
    }

    /// Throws away the parts that a run before left behind.
    fn abort_left_over(&self, progress: &mut Progress, pace: &Pace) -> Result<()> {
        if progress.uploads.is_empty() {
            return Ok(());
        }
        self.attended(pace, || self.abort_all(progress, pace))
    }

    fn abort_all(&self, progress: &mut Progress, pace: &Pace) -> Result<()> {
        let mut writes = Writes::default();
        // A store that does not answer is not asked about each of them.
        let mut answers = true;
        progress.uploads.retain(|upload| {
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
                    answers = !may_work(&error.fault);
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
