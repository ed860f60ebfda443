//! The threads of a run: what each step takes, how often it is tried, and what is written down of it.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::error::{Error, ErrorKind, Result};
use crate::testing;

use super::outbox::{Object, Upload, Writes};
use super::pace::{Pace, backoff};
use super::plan::{Plan, Wish};
use super::report::{MirrorReport, Teller};
use super::run::fatal;
use super::shared::{Shared, Turn};
use super::source::{FileSource, Opened, Wanted};
use super::storage::{Put, StorageError, StorageFault, StorageResult, Stored};

/// Steps that are written down together before they are begun.
const INTENTS: usize = 512;
/// Steps handed out beyond those that threads are busy with, so that none waits while results are written.
const AHEAD: usize = 4;
/// Answers that ask to slow down are forgiven so many times as often as failures.
const PATIENCE: u32 = 4;
/// Refusals in a row after which the credentials are taken to have expired.
const DENIED_MAX: u32 = 3;
/// Files in a row that failed as often as they are tried, after which a storage is taken to be away.
const FAILED_MAX: u32 = 20;

/// How one step ended.
enum End {
    Stored { stored: Stored, copied: bool, upload: Option<Upload> },
    Changed,
    Failed(StorageError),
}

struct Done {
    step: usize,
    end: End,
    left_over: Vec<Upload>,
}

/// What the threads of a run share.
pub(super) struct Crew<'a> {
    pub(super) shared: &'a Shared,
    pub(super) root: &'a OwnedFd,
    pub(super) pace: Arc<Pace>,
    pub(super) bytes: &'a AtomicU64,
    pub(super) retries: AtomicU64,
    /// No further request will fare better.
    pub(super) fatal: AtomicBool,
    /// Something has worked in this run.
    pub(super) succeeded: AtomicBool,
    /// Requests in a row that failed for good.
    pub(super) in_a_row: AtomicU32,
}

impl Crew<'_> {
    /// Sends and copies, and writes down what came of it.
    pub(super) fn send<'p>(
        &self,
        plan: &'p Plan,
        turn: &mut Turn,
        report: &mut MirrorReport,
        teller: &mut Teller<'_>,
        open: &mut HashSet<&'p Arc<str>>,
        failed_copies: &mut HashSet<&'p str>,
    ) -> Result<()> {
        if plan.wishes.is_empty() {
            return Ok(());
        }
        let threads = (self.shared.options().uploads_max as usize).min(plan.wishes.len());
        let (steps, taken) = unbounded::<usize>();
        let (ended, results) = unbounded::<Done>();
        let mut copies_open: HashSet<&str> =
            plan.wishes.iter().filter_map(|wish| wish.copy_of.as_deref()).collect();
        let outcome = std::thread::scope(|scope| {
            for _ in 0..threads {
                let (taken, ended) = (taken.clone(), ended.clone());
                let spawned = std::thread::Builder::new()
                    .name("tw-upload".to_owned())
                    .spawn_scoped(scope, move || self.work(plan, &taken, &ended));
                if let Err(error) = spawned {
                    drop(steps);
                    return Err(Error::new(ErrorKind::Io, format!("cannot start a thread: {error}")));
                }
            }
            drop((taken, ended));
            let outcome =
                self.conduct(plan, threads, &steps, &results, turn, report, teller, open, &mut copies_open);
            if outcome.is_err() {
                self.fatal.store(true, Ordering::Release);
            }
            drop(steps);
            outcome
        });
        // Objects whose copy did not succeed are the only ones with that content.
        failed_copies.extend(copies_open);
        outcome
    }

    #[expect(clippy::too_many_arguments, reason = "one call, of its only caller")]
    fn conduct<'p>(
        &self,
        plan: &'p Plan,
        threads: usize,
        steps: &Sender<usize>,
        results: &Receiver<Done>,
        turn: &mut Turn,
        report: &mut MirrorReport,
        teller: &mut Teller<'_>,
        open: &mut HashSet<&'p Arc<str>>,
        copies_open: &mut HashSet<&str>,
    ) -> Result<()> {
        let (mut noted, mut next, mut over) = (0, 0, 0);
        let mut hopeless = None;
        while over < plan.wishes.len() {
            if next == noted && noted < plan.wishes.len() && hopeless.is_none() {
                noted = (noted + INTENTS).min(plan.wishes.len());
                self.announce(&plan.wishes[next..noted])?;
            }
            while next < noted && next - over < threads * AHEAD && hopeless.is_none() {
                let _ = steps.send(next);
                next += 1;
            }
            if next == over {
                break;
            }
            let mut batch = Vec::new();
            match results.recv_timeout(Duration::from_millis(100)) {
                Ok(done) => batch.push(done),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                // The threads end when there are no more steps: one has failed in our own code.
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(ErrorKind::Panic, "the threads of an upload have failed"));
                }
            }
            batch.extend(results.try_iter());
            over += batch.len();
            testing::pass("mirror-answered");
            let known = self.shared.outbox.objects();
            let (mut writes, mut purges) = (Writes::default(), Vec::new());
            let now_ns = self.shared.engine.options.clock.now_ns();
            for Done { step, end, left_over } in batch {
                let Some(wish) = plan.wishes.get(step) else { continue };
                teller.done += 1;
                turn.uploads.extend(left_over);
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
                        open.remove(&wish.key);
                        if copied {
                            report.copied += 1;
                        } else {
                            report.uploaded += 1;
                            report.uploaded_bytes += wish.fingerprint.size;
                        }
                        if let Some(from) = wish.copy_of.as_deref() {
                            copies_open.remove(from);
                        }
                    }
                    End::Changed => report.changed += 1,
                    End::Failed(error) if error.fault == StorageFault::Cancelled => {
                        hopeless.get_or_insert_with(|| fatal(&error));
                    }
                    End::Failed(error) => {
                        if self.is_hopeless(&error.fault) {
                            // The others were given up because of it.
                            hopeless = Some(fatal(&error));
                            self.fatal.store(true, Ordering::Release);
                        }
                        let failure = self.shared.failure(&wish.key, &error);
                        if failure.permanent {
                            turn.rejected.insert(Arc::clone(&wish.key), (wish.seq, failure.clone()));
                        }
                        report.push_failure(failure, &error.fault);
                    }
                }
            }
            self.shared.outbox.write(writes)?;
            testing::pass("mirror-acknowledged");
            self.shared.add_purges(purges);
            teller.tell(false);
        }
        hopeless.map_or(Ok(()), Err)
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
        self.pace.check().map_err(|error| fatal(&error))?;
        self.shared.outbox.write(writes)?;
        testing::pass("mirror-begun");
        Ok(())
    }

    fn work(&self, plan: &Plan, steps: &Receiver<usize>, ended: &Sender<Done>) {
        for step in steps {
            let Some(wish) = plan.wishes.get(step) else { continue };
            let mut left_over = Vec::new();
            let end = if self.fatal.load(Ordering::Acquire) {
                End::Failed(StorageError::new(StorageFault::Cancelled, "it was given up"))
            } else {
                // Who waits for the end of this step gets one.
                catch_unwind(AssertUnwindSafe(|| self.step(wish, &mut left_over))).unwrap_or_else(|_| {
                    End::Failed(StorageError::new(
                        StorageFault::Transient,
                        "the storage has failed by a panic",
                    ))
                })
            };
            if let End::Failed(error) = &end
                && self.is_hopeless(&error.fault)
            {
                self.fatal.store(true, Ordering::Release);
            }
            if ended.send(Done { step, end, left_over }).is_err() {
                return;
            }
        }
    }

    fn step(&self, wish: &Wish, left_over: &mut Vec<Upload>) -> End {
        if let Some(from) = wish.copy_of.as_deref() {
            match self.copy(from, wish) {
                Ok(Some(stored)) => return End::Stored { stored, copied: true, upload: None },
                // Sent instead.
                Ok(None) => {}
                Err(error) => return End::Failed(error),
            }
        }
        if self.shared.storage.capabilities().in_place {
            return End::Stored { stored: Stored::default(), copied: false, upload: None };
        }
        self.upload(wish, left_over).unwrap_or_else(|error| match error.fault {
            StorageFault::Changed => End::Changed,
            _ => End::Failed(error),
        })
    }

    /// `None` when it must be sent after all.
    fn copy(&self, from: &str, wish: &Wish) -> StorageResult<Option<Stored>> {
        let known = self.shared.outbox.objects();
        let before = known.get(from).and_then(|object| object.etag.clone());
        match self.tries(|| self.shared.storage.copy(from, &wish.key)) {
            Ok(stored) => {
                // Somebody else may have changed the object that was copied.
                let differs = match (before.as_deref(), stored.etag.as_deref()) {
                    (Some(a), Some(b)) => is_md5(a) && is_md5(b) && a != b,
                    _ => false,
                };
                Ok((!differs).then_some(stored))
            }
            Err(error) if matches!(error.fault, StorageFault::Misconfigured | StorageFault::Cancelled) => {
                Err(error)
            }
            Err(_) => Ok(None),
        }
    }

    fn upload(&self, wish: &Wish, left_over: &mut Vec<Upload>) -> StorageResult<End> {
        let options = self.shared.options();
        let tell = |bytes: u64| {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        };
        self.tries(|| {
            let wanted = Wanted {
                key: &wish.key,
                path: &wish.path,
                fingerprint: &wish.fingerprint,
                compare: wish.compare,
            };
            let opened = FileSource::open(self.root, wanted, &self.pace, &self.shared.outbox, &tell)?;
            let Opened::File(source) = opened else { return Ok(End::Changed) };
            let put = Put {
                key: &wish.key,
                content_type: options.type_of(&wish.key),
                cache_control: options.cache_control.as_deref(),
                part_bytes: options.part_bytes,
                parts_at_a_time: 4,
                source: &*source,
            };
            let result = self.shared.storage.put(&put);
            testing::pass("mirror-sent");
            match result {
                Ok(stored) => Ok(End::Stored { stored, copied: false, upload: source.upload() }),
                Err(error) => {
                    left_over.extend(source.upload());
                    Err(error)
                }
            }
        })
    }

    /// Deletes objects; those that failed are tried again together.
    pub(super) fn delete(&self, keys: &[&Arc<str>]) -> Vec<StorageResult<()>> {
        let never = || StorageError::new(StorageFault::Transient, "it was not tried");
        let mut ends: Vec<StorageResult<()>> = keys.iter().map(|_| Err(never())).collect();
        let mut open: Vec<usize> = (0..keys.len()).collect();
        let outcome = self.tries(|| {
            let batch: Vec<&str> = open.iter().map(|at| &***keys.get(*at).unwrap_or(&keys[0])).collect();
            let answers = self.shared.storage.delete(&batch);
            let mut again = None;
            let tried = std::mem::take(&mut open);
            for (at, answer) in
                tried.into_iter().zip(answers.into_iter().chain(std::iter::repeat_with(|| Err(never()))))
            {
                let answer = match answer {
                    Err(error) if error.fault == StorageFault::NotFound => Ok(()),
                    answer => answer,
                };
                if let Err(error) = &answer
                    && may_work(&error.fault)
                {
                    again = Some(error.clone());
                    open.push(at);
                }
                ends[at] = answer;
            }
            again.map_or(Ok(()), Err)
        });
        if let Err(error) = outcome
            && !may_work(&error.fault)
        {
            // Given up before the rest was answered.
            for at in open {
                ends[at] = Err(error.clone());
            }
        }
        ends
    }

    /// Tries until it works, it never will, or often enough. A storage that asks to slow down slows everybody.
    fn tries<T>(&self, mut once: impl FnMut() -> StorageResult<T>) -> StorageResult<T> {
        let options = self.shared.options();
        let (mut attempts, mut pauses) = (1, 0);
        loop {
            self.pace.wait_turn()?;
            if self.fatal.load(Ordering::Acquire) {
                return Err(StorageError::new(StorageFault::Cancelled, "it was given up"));
            }
            let error = match once() {
                Ok(value) => {
                    self.pace.worked();
                    self.succeeded.store(true, Ordering::Release);
                    self.in_a_row.store(0, Ordering::Release);
                    return Ok(value);
                }
                Err(error) => error,
            };
            match error.fault {
                StorageFault::Throttled(retry_after) => {
                    pauses += 1;
                    if pauses >= options.attempts_max.saturating_mul(PATIENCE) {
                        self.in_a_row.fetch_add(1, Ordering::AcqRel);
                        return Err(error);
                    }
                    self.pace.throttled(retry_after);
                }
                StorageFault::Transient => {
                    attempts += 1;
                    if attempts > options.attempts_max {
                        self.in_a_row.fetch_add(1, Ordering::AcqRel);
                        return Err(error);
                    }
                    self.pace.wait(backoff(&options, attempts))?;
                }
                StorageFault::Denied => {
                    self.in_a_row.fetch_add(1, Ordering::AcqRel);
                    return Err(error);
                }
                _ => return Err(error),
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Crew<'_> {
    /// No further request will fare better. One that may not be touched, in a run in which others could, is no
    /// reason to give up, and neither are some that failed among others that did not.
    pub(super) fn is_hopeless(&self, fault: &StorageFault) -> bool {
        let in_a_row = self.in_a_row.load(Ordering::Acquire);
        match fault {
            StorageFault::Misconfigured => true,
            StorageFault::Denied => in_a_row >= DENIED_MAX || !self.succeeded.load(Ordering::Acquire),
            StorageFault::Transient | StorageFault::Throttled(_) => {
                in_a_row >= FAILED_MAX.max(self.shared.options().uploads_max.saturating_mul(2))
            }
            _ => false,
        }
    }
}

fn may_work(fault: &StorageFault) -> bool {
    matches!(fault, StorageFault::Transient | StorageFault::Throttled(_))
}

fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|b| b.is_ascii_hexdigit())
}
