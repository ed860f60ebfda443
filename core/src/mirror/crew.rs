//! The threads of a run, and what each of them does with a step: sending, copying, deleting.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::testing;

use super::attempts::{Attempts, may_work};
use super::outbox::Upload;
use super::pace::Pace;
use super::plan::{Plan, Wish};
use super::shared::Shared;
use super::source::{FileSource, Opened, Wanted};
use super::storage::{Put, StorageError, StorageFault, StorageResult, Stored};

/// Parts of one file under way at a time.
const PARTS_AT_A_TIME: usize = 4;

/// How one step ended.
pub(super) enum End {
    Stored { stored: Stored, copied: bool, upload: Option<Upload> },
    Changed,
    Failed(StorageError),
}

/// A step that is over.
pub(super) struct Done {
    /// Its place in the plan.
    pub(super) step: usize,
    pub(super) end: End,
    /// Parts that were sent and are no object.
    pub(super) left_over: Vec<Upload>,
}

/// What the threads of a run share.
pub(super) struct Crew<'a> {
    pub(super) shared: &'a Shared,
    pub(super) attempts: Attempts<'a>,
    root: &'a OwnedFd,
    /// Bytes that were read.
    pub(super) bytes: AtomicU64,
}

impl<'a> Crew<'a> {
    pub(super) fn new(shared: &'a Shared, root: &'a OwnedFd, pace: &Arc<Pace>) -> Self {
        Self { shared, attempts: Attempts::new(shared, pace), root, bytes: AtomicU64::new(0) }
    }

    /// Takes steps until there are no more, and tells how each ended.
    pub(super) fn work(&self, plan: &Plan, steps: &Receiver<usize>, ended: &Sender<Done>) {
        let _within = self.shared.enter();
        for step in steps {
            let Some(wish) = plan.wishes.get(step) else { continue };
            let mut left_over = Vec::new();
            let end = match self.attempts.check() {
                Err(error) => End::Failed(error),
                // Who waits for the end of this step gets one.
                Ok(()) => {
                    catch_unwind(AssertUnwindSafe(|| self.step(wish, &mut left_over))).unwrap_or_else(|_| {
                        let text = "the storage has failed by a panic";
                        End::Failed(StorageError::new(StorageFault::Transient, text))
                    })
                }
            };
            if let End::Failed(error) = &end
                && self.attempts.is_hopeless(&error.fault)
            {
                self.attempts.give_up(error);
            }
            if ended.send(Done { step, end, left_over }).is_err() {
                return;
            }
        }
    }

    fn step(&self, wish: &Wish, left_over: &mut Vec<Upload>) -> End {
        if let Some(from) = wish.copy_of() {
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
        match self.attempts.tries(|| self.shared.storage.copy(from, &wish.key)) {
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
        self.attempts.tries(|| {
            let wanted = Wanted {
                key: &wish.key,
                path: &wish.path,
                fingerprint: &wish.fingerprint,
                compare: wish.compare,
            };
            let opened =
                FileSource::open(self.root, wanted, &self.attempts.pace, &self.shared.outbox, &tell)?;
            let Opened::File(source) = opened else {
                // Of this the storage knows nothing.
                return Err(StorageError::new(StorageFault::Changed, "it is another one now"));
            };
            let put = Put {
                key: &wish.key,
                content_type: options.type_of(&wish.key),
                cache_control: options.cache_control.as_deref(),
                part_bytes: options.part_bytes,
                parts_at_a_time: PARTS_AT_A_TIME,
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
        let outcome = self.attempts.tries(|| {
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
            // None was deleted: that is what the storage says of all of them.
            let refused =
                ends.iter().all(Result::is_err).then(|| ends.iter().find_map(|end| end.clone().err()));
            again.or(refused.flatten()).map_or(Ok(()), Err)
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
}

fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|b| b.is_ascii_hexdigit())
}
