//! A plan carried out: threads take its steps, and what they report is written down by the one that called.
//! Uploads and copies first, then deletions; no object is deleted whose file is still to be sent.
//!
//! Every step is in the outbox before it is begun and again when it is over, so that a process that is killed in
//! between knows what it may have left behind. Nothing is sent again that was acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::entry::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Change, ChangeKind};
use crate::root_record::RootState;
use crate::testing;

use super::crew::{Crew, Done, End};
use super::outbox::{Object, Purge, Writes};
use super::plan::{Plan, Wish};
use super::report::{MirrorContext, MirrorError, MirrorReport, Teller};
use super::run::{Prepared, fatal};
use super::shared::{Progress, Shared};
use super::storage::{StorageError, StorageFault};

/// Steps that are written down together before they are begun.
const INTENTS: usize = 512;
/// Steps handed out beyond those that threads are busy with, so that none waits while results are written.
const AHEAD: usize = 4;
/// How often who waits for results tells how far it has come.
const LOOK: Duration = Duration::from_millis(100);

/// One plan under way.
pub(super) struct Pass<'a> {
    shared: &'a Shared,
    crew: &'a Crew<'a>,
    prepared: &'a Prepared,
    plan: &'a Plan,
    progress: &'a mut Progress,
    report: &'a mut MirrorReport,
    accept_deletes: bool,
    teller: Teller<'a>,
    /// Keys whose step is not over.
    open: HashSet<&'a Arc<str>>,
    /// Entries that are still to be sent: what they had under other names stays until then.
    unsent: HashSet<u64>,
    /// The keys of those for which there is no place yet.
    blocked: HashMap<u64, Arc<str>>,
    /// Why no further step is begun.
    hopeless: Option<Error>,
    /// The first refusal of the credentials.
    denied: Option<Error>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        crew: &'a Crew<'a>,
        prepared: &'a Prepared,
        context: &'a MirrorContext,
        progress: &'a mut Progress,
        report: &'a mut MirrorReport,
    ) -> Self {
        let plan = &prepared.plan;
        let total = (plan.wishes.len() + plan.deletes.len()) as u64;
        Self {
            shared: crew.shared,
            crew,
            prepared,
            plan,
            progress,
            report,
            accept_deletes: context.accept_deletes,
            teller: Teller::new(context, total, plan.upload_bytes()),
            open: plan.wishes.iter().map(|wish| &wish.key).chain(&plan.deletes).collect(),
            unsent: plan.wishes.iter().map(|wish| wish.entry).collect(),
            blocked: HashMap::new(),
            hopeless: None,
            denied: None,
        }
    }

    /// Carries the plan out. Answers the addresses of what is not over, however it ended.
    pub(super) fn carry_out(mut self) -> (Vec<Vec<u8>>, Result<()>) {
        let attempts = &self.crew.attempts;
        let mut result = self.send();
        // Files that may not be sent are no reason to keep what nobody wants, where the storage takes others.
        let goes_on = match &result {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::PermissionDenied && attempts.has_succeeded(),
        };
        if goes_on {
            attempts.go_on();
            let deleted = self.delete();
            result = result.and(deleted);
        }
        if result.is_ok()
            && !attempts.has_succeeded()
            && let Some(error) = self.denied.take()
        {
            result = Err(error);
        }
        self.report.retries += attempts.retries();
        self.tell(true);
        let scope = self.shared.scope();
        (self.open.iter().filter_map(|key| scope.address_of(key)).collect(), result)
    }

    fn tell(&mut self, last: bool) {
        self.teller.tell(self.crew.bytes.load(Ordering::Relaxed), last);
    }

    /// Sends and copies.
    fn send(&mut self) -> Result<()> {
        let (crew, plan) = (self.crew, self.plan);
        if plan.wishes.is_empty() {
            return Ok(());
        }
        let threads = (self.shared.options().uploads_max as usize).min(plan.wishes.len());
        let (steps, taken) = unbounded::<usize>();
        let (ended, results) = unbounded::<Done>();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (taken, ended) = (taken.clone(), ended.clone());
                let spawned = std::thread::Builder::new()
                    .name("tw-upload".to_owned())
                    .spawn_scoped(scope, move || crew.work(plan, &taken, &ended));
                if let Err(error) = spawned {
                    drop(steps);
                    return Err(Error::new(ErrorKind::Io, format!("cannot start a thread: {error}")));
                }
            }
            drop((taken, ended));
            let outcome = self.conduct(threads, &steps, &results);
            if outcome.is_err() {
                crew.attempts.give_up(&StorageError::new(StorageFault::Cancelled, "it was given up"));
            }
            drop(steps);
            // What nobody waited for may have left parts behind, or be acknowledged.
            let mut stored = Vec::new();
            for mut done in results.iter() {
                self.progress.uploads.append(&mut done.left_over);
                if matches!(done.end, End::Stored { .. }) {
                    stored.push(done);
                }
            }
            let acknowledged = if stored.is_empty() { Ok(()) } else { self.acknowledge(stored) };
            outcome.and(acknowledged)
        })
    }

    /// Hands steps out, a few ahead of the threads, and writes down what came of them.
    fn conduct(&mut self, threads: usize, steps: &Sender<usize>, results: &Receiver<Done>) -> Result<()> {
        let plan = self.plan;
        let (mut noted, mut next, mut over) = (0, 0, 0);
        while over < plan.wishes.len() {
            if next == noted && noted < plan.wishes.len() && self.hopeless.is_none() {
                noted = (noted + INTENTS).min(plan.wishes.len());
                self.announce(&plan.wishes[next..noted])?;
            }
            while next < noted && next - over < threads * AHEAD && self.hopeless.is_none() {
                let _ = steps.send(next);
                next += 1;
            }
            if next == over {
                break;
            }
            let mut batch = Vec::new();
            match results.recv_timeout(LOOK) {
                Ok(done) => batch.push(done),
                Err(RecvTimeoutError::Timeout) => {}
                // The threads end when there are no more steps: one has failed in our own code.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(ErrorKind::Panic, "the threads of an upload have failed"));
                }
            }
            batch.extend(results.try_iter());
            over += batch.len();
            testing::pass("mirror-answered");
            self.acknowledge(batch)?;
            self.tell(false);
        }
        self.hopeless.take().map_or(Ok(()), Err)
    }

    /// Notes what is about to be sent: from now on anything may be there.
    fn announce(&self, wishes: &[Wish]) -> Result<()> {
        let known = self.shared.outbox.objects();
        let now_ns = self.shared.engine.options.clock.now_ns();
        let mut writes = Writes::default();
        for wish in wishes {
            let before = known.get(&wish.key).map(|object| &**object);
            writes.put(&wish.key, wish.object(false, None, before, now_ns));
        }
        self.crew.attempts.pace.check().map_err(|error| fatal(&error))?;
        self.shared.outbox.write(writes)?;
        testing::pass("mirror-begun");
        Ok(())
    }

    /// Writes down how steps ended.
    fn acknowledge(&mut self, batch: Vec<Done>) -> Result<()> {
        let known = self.shared.outbox.objects();
        let (mut writes, mut purges) = (Writes::default(), Vec::new());
        let now_ns = self.shared.engine.options.clock.now_ns();
        for Done { step, end, left_over } in batch {
            let Some(wish) = self.plan.wishes.get(step) else { continue };
            self.teller.done += 1;
            self.progress.uploads.extend(left_over);
            match end {
                End::Stored { stored, copied, upload } => {
                    let before = known.get(&wish.key).map(|object| &**object);
                    if before.is_some_and(Object::was_seen) || self.shared.options().purge_new {
                        purges.extend(self.shared.queue_purge(&mut writes, &wish.key));
                    }
                    writes.put(&wish.key, wish.object(true, stored.etag, before, now_ns));
                    if let Some(upload) = upload {
                        self.shared.outbox.end_upload(&mut writes, &upload);
                    }
                    self.open.remove(&wish.key);
                    self.unsent.remove(&wish.entry);
                    self.progress.seen.late.remove(&wish.key);
                    if copied {
                        self.report.copied += 1;
                    } else {
                        self.report.uploaded += 1;
                        self.report.uploaded_bytes += wish.fingerprint.size;
                    }
                }
                End::Changed => self.report.changed += 1,
                End::Failed(error) => self.fail(wish, &error),
            }
        }
        self.shared.outbox.write(writes)?;
        testing::pass("mirror-acknowledged");
        self.shared.add_purges(purges);
        Ok(())
    }

    fn fail(&mut self, wish: &Wish, error: &StorageError) {
        match error.fault {
            StorageFault::Cancelled => {
                // The others were given up for a reason.
                let reason = self.crew.attempts.reason();
                self.hopeless.get_or_insert_with(|| fatal(reason.as_ref().unwrap_or(error)));
                return;
            }
            StorageFault::Denied => {
                self.denied.get_or_insert_with(|| fatal(error));
                self.progress.seen.late.insert(Arc::clone(&wish.key));
            }
            StorageFault::Transient | StorageFault::Throttled(_) => {
                // Some that never come right stop no run before the others had their turn.
                self.progress.seen.late.insert(Arc::clone(&wish.key));
            }
            StorageFault::Occupied => {
                self.blocked.insert(wish.entry, Arc::clone(&wish.key));
                self.report.occupied += 1;
            }
            _ => {}
        }
        if self.crew.attempts.is_hopeless(&error.fault) {
            self.hopeless = Some(fatal(error));
            self.crew.attempts.give_up(error);
        } else if let Some(reason) = self.crew.attempts.reason() {
            self.hopeless.get_or_insert_with(|| fatal(&reason));
        }
        let failure = self.shared.failure(&wish.key, error);
        if failure.permanent {
            let rejected = (wish.seq, failure.clone());
            self.progress.seen.rejected.insert(Arc::clone(&wish.key), rejected);
        }
        self.report.push_failure(failure, &error.fault);
    }

    /// Deletes what nobody wants any more, unless that waits for confirmation. An object whose file has no place yet
    /// goes where it is in the way of any such file: two that change places are in each other's.
    fn delete(&mut self) -> Result<()> {
        let plan = self.plan;
        let objects = self.shared.outbox.objects();
        let doomed: Vec<&'a Arc<str>> = {
            let places = Places::new(self.blocked.values().map(|key| &**key));
            let is_in_the_way =
                |key: &str, entry: u64| self.blocked.contains_key(&entry) && places.are_in_the_way_of(key);
            let is_unsent = |key: &&Arc<str>| {
                objects.get(*key).is_some_and(|object| {
                    self.unsent.contains(&object.entry) && !is_in_the_way(key, object.entry)
                })
            };
            plan.deletes.iter().filter(|key| !is_unsent(key)).collect()
        };
        if doomed.is_empty() {
            return Ok(());
        }
        if self.prepared.is_held(self.accept_deletes) {
            self.report.held = doomed.len() as u64;
            return Ok(());
        }
        let batch_max = self.shared.storage.capabilities().delete_max.max(1);
        // The snapshot that was looked at last, and the files that came, or came back, or moved since the plan was
        // made: they are still to be sent.
        let (mut looked, mut came) = (self.prepared.snapshot.clone(), HashSet::new());
        let mut left = doomed.len();
        for batch in doomed.chunks(batch_max) {
            // Nothing is deleted on the word of a snapshot that is no longer true.
            let snapshot = self.shared.engine.snapshot();
            let (record, _) = self.shared.open_root(&snapshot)?;
            if matches!(record.state, RootState::Held { .. }) {
                self.report.held = left as u64;
                return Ok(());
            }
            left -= batch.len();
            let scope = self.shared.scope();
            if snapshot.seq() != looked.seq() {
                came.extend(
                    snapshot.diff(&looked).iter().filter(|change| has_come(change)).map(|its| its.id),
                );
            }
            let is_doomed = |key: &&&Arc<str>| {
                let is_back = || objects.get(**key).is_some_and(|object| came.contains(&object.entry));
                !scope.is_wanted(key, &snapshot) && !is_back()
            };
            let batch: Vec<&'a Arc<str>> = batch.iter().filter(is_doomed).copied().collect();
            looked = snapshot;
            if !batch.is_empty() {
                self.delete_batch(&batch)?;
            }
        }
        if self.accept_deletes {
            // The smaller number is the one that was meant.
            self.progress.seen.peak.forget();
            self.shared.hold(false)?;
        }
        if self.prepared.is_other_root && self.report.failed == 0 {
            self.shared.adopt_root(&self.prepared.record)?;
        }
        Ok(())
    }

    fn delete_batch(&mut self, doomed: &[&'a Arc<str>]) -> Result<()> {
        let known = self.shared.outbox.objects();
        let mut writes = Writes::default();
        for key in doomed {
            if let Some(object) = known.get(*key) {
                let owed = object.may_be_seen();
                writes.put(key, Object { sure: false, listed: false, owed, ..(**object).clone() });
            }
        }
        self.crew.attempts.pace.check().map_err(|error| fatal(&error))?;
        self.shared.outbox.write(writes)?;
        testing::pass("mirror-delete-begun");
        let ended = self.crew.delete(doomed);
        testing::pass("mirror-deleted");
        // One that may not be deleted says nothing of the others.
        let all_failed = ended.iter().all(Result::is_err);
        let mut writes = Writes::default();
        let mut purges: Vec<Purge> = Vec::new();
        for (key, end) in doomed.iter().zip(ended) {
            self.teller.done += 1;
            match end {
                Ok(()) => {
                    writes.remove(key);
                    self.open.remove(*key);
                    self.report.deleted += 1;
                    if known.get(*key).is_some_and(|object| object.may_be_seen()) {
                        purges.extend(self.shared.queue_purge(&mut writes, key));
                    }
                }
                Err(error) => {
                    let is_cancelled = error.fault == StorageFault::Cancelled;
                    if is_cancelled || (all_failed && self.crew.attempts.is_hopeless(&error.fault)) {
                        self.hopeless = Some(fatal(&error));
                    }
                    if error.fault == StorageFault::Denied {
                        self.denied.get_or_insert_with(|| fatal(&error));
                    }
                    if is_cancelled {
                        continue;
                    }
                    // Whatever it said, it is tried again: the object is still there.
                    let failure = MirrorError { permanent: false, ..self.shared.failure(key, &error) };
                    self.report.push_failure(failure, &error.fault);
                }
            }
        }
        self.shared.outbox.write(writes)?;
        testing::pass("mirror-delete-noted");
        self.shared.add_purges(purges);
        self.tell(false);
        self.hopeless.take().map_or(Ok(()), Err)
    }
}

/// True when there may be no object yet under the name that this file has now.
fn has_come(change: &Change) -> bool {
    let is_there = matches!(change.kind, ChangeKind::Added | ChangeKind::Moved | ChangeKind::Restored);
    is_there && change.entry_kind == Kind::File
}

/// The keys of files for which there is no place, by everything that lies on the way to them.
#[derive(Default)]
struct Places<'k> {
    /// By the key as a file system takes it that knows no upper case, up to some slash or whole.
    by_folded: HashMap<String, Place<'k>>,
}

/// How a part of a key is written.
struct Place<'k> {
    written: &'k str,
    /// It is written in several ways.
    otherwise: bool,
    /// A file is to be here, and not only below.
    is_file: bool,
}

impl<'k> Places<'k> {
    fn new(keys: impl Iterator<Item = &'k str>) -> Self {
        let mut places = Self::default();
        for key in keys {
            for part in parts(key) {
                let new = || Place { written: part, otherwise: false, is_file: false };
                let place = places.by_folded.entry(folded(part)).or_insert_with(new);
                place.otherwise |= place.written != part;
                place.is_file |= part.len() == key.len();
            }
        }
        places
    }

    /// True when this key cannot be a file while one of these is: one lies below the other, or they differ in case
    /// alone at some place, and a file system takes them for one.
    fn are_in_the_way_of(&self, key: &str) -> bool {
        parts(key).any(|part| {
            self.by_folded.get(&folded(part)).is_some_and(|place| {
                place.otherwise || place.written != part || place.is_file || part.len() == key.len()
            })
        })
    }
}

/// The key up to each of its slashes, and whole.
fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| at).chain([key.len()]).filter_map(move |end| key.get(..end))
}

/// The same for all names that any file system takes for one by the case of their letters, as in `directory.rs`.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn keys_are_in_the_way_of_what_lies_below_them_and_of_other_spellings() {
        for (old, new, yes) in [
            ("x", "x/y", true),
            ("d/f", "d", true),
            ("A.JPG", "a.jpg", true),
            ("Sub/a", "sub/b", true),
            ("straße", "STRASSE", true),
            ("x", "d", false),
            ("d/a", "d/b", false),
            ("x", "xy", false),
        ] {
            let places = Places::new([new, "elsewhere/file"].into_iter());
            assert_eq!(places.are_in_the_way_of(old), yes, "{old} {new}");
        }
        assert!(!Places::new(std::iter::empty()).are_in_the_way_of("x"));
    }

    #[test]
    fn a_key_is_in_the_way_of_any_of_several() {
        let places = Places::new(["y", "x/f", "Dir/a", "dir/b"].into_iter());
        for (old, yes) in [("x", true), ("y/f", true), ("dir/c", true), ("x/g", false), ("z", false)] {
            assert_eq!(places.are_in_the_way_of(old), yes, "{old}");
        }
    }
}
