//! One open mirror: what is stored of it, its storage and CDN, whose turn it is, and how it stands.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::ThreadId;
use std::time::Duration;

use crate::commit::{Engine, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{escape, join};
use crate::root_record::{RootRecord, RootState};
use crate::scan::CancelToken;
use crate::signal::Flag;
use crate::snapshot::Snapshot;
use crate::store::Owner;
use crate::work::RateLimiter;

use super::options::{MirrorOptions, Row};
use super::outbox::{Outbox, Purge, Upload, Writes};
use super::plan::{Left, Scope};
use super::purge::Purge as Cdn;
use super::report::{
    ERRORS_KEPT, MirrorCounters, MirrorError, MirrorPlan, MirrorReport, MirrorStatus, MirrorStep, sentence,
};
use super::storage::Storage;

/// Who holds it may send and delete. What the last run has seen.
#[derive(Default)]
pub(super) struct Turn {
    /// Everything that differs from this is in `left`.
    known: Option<Snapshot>,
    left: Left,
    /// Looked at with each run, so that each report tells of them.
    pub(super) refused: HashSet<Vec<u8>>,
    /// What the storage will not take, with the seq of the entry, and what it said.
    pub(super) rejected: HashMap<Arc<str>, (u64, MirrorError)>,
    /// Parts that were sent and are no object.
    pub(super) uploads: Vec<Upload>,
}

impl Turn {
    /// The addresses that may differ; `None`: all.
    pub(super) fn differing(&self, snapshot: &Snapshot) -> Option<BTreeSet<Vec<u8>>> {
        let known = self.known.as_ref()?;
        let mut all: BTreeSet<Vec<u8>> = self.left.keys().chain(&self.refused).cloned().collect();
        for change in snapshot.diff(known) {
            all.extend(change.from);
            all.insert(change.path);
        }
        Some(all)
    }

    /// At this seq every sure object was of the very state of its file.
    pub(super) fn known_seq(&self) -> Option<u64> {
        // What was left may have been edited before.
        self.known.as_ref().filter(|_| self.left.is_empty()).map(Snapshot::seq)
    }

    /// A run is over: everything was looked at, and `left` was not finished, also when it was given up.
    pub(super) fn looked(&mut self, snapshot: Snapshot, left: HashSet<Vec<u8>>, now_ns: i64) {
        let before = std::mem::take(&mut self.left);
        self.left = left
            .into_iter()
            .map(|path| {
                let since = before.get(&path).copied().unwrap_or(now_ns);
                (path, since)
            })
            .collect();
        self.known = Some(snapshot);
    }

    /// Everything is looked at the next time.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

/// What is told without waiting for a run.
#[derive(Default)]
struct Facts {
    counters: MirrorCounters,
    known: Option<Snapshot>,
    left: Left,
    held: u64,
    last_seq: Option<u64>,
    last_run_ns: Option<i64>,
    last_error: Option<String>,
}

pub(crate) struct Shared {
    pub(super) engine: Arc<Engine>,
    id: u32,
    stored: Mutex<Row>,
    /// Everything is to be looked at with the next run.
    pub(super) forget: AtomicBool,
    pub(super) name: String,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) cdn: Option<Arc<dyn Cdn>>,
    pub(super) purge_limiter: Option<RateLimiter>,
    pub(super) outbox: Outbox,
    /// Ends every run and wait, for good.
    pub(super) stop: CancelToken,
    row: RwLock<(Arc<MirrorOptions>, Arc<Scope>)>,
    turn: Mutex<Turn>,
    facts: Mutex<Facts>,
    /// The thread whose run is under way.
    runner: Mutex<Option<ThreadId>>,
    pub(super) following: AtomicBool,
    purges: Mutex<VecDeque<Purge>>,
    pub(super) purge_added: Condvar,
    /// Ends the wait of the thread that follows.
    follower: Mutex<Option<Arc<Flag>>>,
}

impl Shared {
    pub(super) fn open(
        engine: &Arc<Engine>,
        id: u32,
        row: &Row,
        storage: Arc<dyn Storage>,
        cdn: Option<Arc<dyn Cdn>>,
    ) -> Result<Self> {
        let (outbox, purges, uploads) = Outbox::load(engine, id)?;
        let scope = Arc::new(Scope::new(&row.options)?);
        let rate = cdn.as_ref().and_then(|cdn| cdn.rate());
        Ok(Self {
            purge_limiter: rate.map(|rate| RateLimiter::new(&rate)).transpose()?,
            engine: Arc::clone(engine),
            id,
            stored: Mutex::new(row.clone()),
            forget: AtomicBool::new(false),
            name: row.name.clone(),
            storage,
            cdn,
            outbox,
            stop: CancelToken::new(),
            row: RwLock::new((Arc::new(row.options.clone()), scope)),
            turn: Mutex::new(Turn { uploads, ..Turn::default() }),
            facts: Mutex::default(),
            runner: Mutex::default(),
            following: AtomicBool::new(false),
            purges: Mutex::new(purges.into()),
            purge_added: Condvar::new(),
            follower: Mutex::default(),
        })
    }

    pub(super) fn options(&self) -> Arc<MirrorOptions> {
        Arc::clone(&self.row.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.row.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Takes other options up with the next run; the place is the same.
    pub(super) fn change(&self, row: &Row) -> Result<()> {
        let scope = Arc::new(Scope::new(&row.options)?);
        *self.row.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(row.options.clone()), scope);
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = row.clone();
        self.forget.store(true, Ordering::Release);
        Ok(())
    }

    /// Fails once it is closed.
    pub(super) fn usable(&self) -> Result<()> {
        self.engine.writable()?;
        if self.stop.is_cancelled() {
            let text = format!("mirror `{}` has been removed or opened anew", escape(self.name.as_bytes()));
            return Err(Error::new(ErrorKind::Closed, text));
        }
        if self.is_within_run() {
            return Err(Error::new(
                ErrorKind::Busy,
                "a run cannot be started from within a run of the same mirror",
            ));
        }
        Ok(())
    }

    pub(super) fn take_turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self, yes: bool) {
        let thread = yes.then(|| std::thread::current().id());
        *self.runner.lock().unwrap_or_else(PoisonError::into_inner) = thread;
    }

    /// True in a callback of a run.
    pub(super) fn is_within_run(&self) -> bool {
        self.is_runner(std::thread::current().id())
    }

    pub(super) fn is_runner(&self, thread: ThreadId) -> bool {
        *self.runner.lock().unwrap_or_else(PoisonError::into_inner) == Some(thread)
    }

    /// The root whose objects these are.
    pub(super) fn root_id(&self) -> u32 {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).root
    }

    /// Another root has taken the name, and its files are what is copied now.
    pub(super) fn adopt_root(&self, record: &RootRecord) -> Result<()> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let row = Row { root: record.id, ..stored.clone() };
        let task = WorkTask::Put { owner: Owner::Mirror, id: Some(self.id), row: row.encode() };
        self.engine.submit(Task::Work(task))?;
        *stored = row;
        Ok(())
    }

    /// Notes how a run ended.
    pub(super) fn note(&self, turn: &Turn, report: &MirrorReport, error: Option<&Error>) {
        let mut facts = self.facts();
        facts.counters.add(report);
        facts.counters.runs_failed += u64::from(error.is_some());
        facts.known.clone_from(&turn.known);
        facts.left.clone_from(&turn.left);
        facts.held = report.held;
        facts.last_run_ns = Some(self.engine.options.clock.now_ns());
        facts.last_error = error.map(sentence);
        if error.is_none() {
            facts.last_seq = Some(report.seq);
        }
    }

    pub(super) fn count_purges(&self, purged: u64, failures: u64) {
        let mut facts = self.facts();
        facts.counters.purged += purged;
        facts.counters.purge_failures += failures;
    }

    pub(super) fn status(&self) -> MirrorStatus {
        let options = self.options();
        let objects = self.outbox.objects();
        let (mut sure, mut bytes, mut unsure) = (0, 0, 0);
        for (_, object) in &*objects {
            if object.sure {
                sure += 1;
                bytes += object.size;
            } else {
                unsure += 1;
            }
        }
        let now_ns = self.engine.options.clock.now_ns();
        let purges = self.purges();
        let (purges_waiting, oldest_purge_ns) = (purges.len() as u64, purges.front().map(|p| p.queued_ns));
        drop(purges);
        let (known, mut waiting) = {
            let facts = self.facts();
            (facts.known.clone(), facts.left.clone())
        };
        if let Some(known) = &known {
            // Nothing is waited for behind the lock.
            let scope = self.scope();
            for change in self.engine.snapshot().diff(known) {
                if change.entry_kind == crate::entry::Kind::File && scope.is_below(&change.path) {
                    waiting.entry(change.path).or_insert(now_ns);
                }
            }
        }
        let facts = self.facts();
        MirrorStatus {
            name: self.name.clone(),
            address: options.address.clone(),
            place: self.storage.describe(),
            prefix: options.prefix.clone(),
            running: self.runner.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
            following: self.following.load(Ordering::Acquire),
            objects: sure,
            object_bytes: bytes,
            unsure,
            pending: facts.known.as_ref().map(|_| waiting.len() as u64),
            oldest_pending_ns: waiting.values().min().copied(),
            held: facts.held,
            purges_waiting,
            oldest_purge_ns,
            last_seq: facts.last_seq,
            last_run_ns: facts.last_run_ns,
            last_error: facts.last_error.clone(),
            counters: facts.counters,
        }
    }

    pub(super) fn purges(&self) -> MutexGuard<'_, VecDeque<Purge>> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row for the address of a key, when there is somebody to tell.
    pub(super) fn queue_purge(&self, writes: &mut Writes, key: &str) -> Option<Purge> {
        self.cdn.as_ref()?;
        let url = self.storage.url(key)?;
        Some(self.outbox.queue_purge(writes, url, self.engine.options.clock.now_ns()))
    }

    /// They are on disk.
    pub(super) fn add_purges(&self, purges: Vec<Purge>) {
        if !purges.is_empty() {
            self.purges().extend(purges);
            self.purge_added.notify_all();
        }
    }

    /// Waits until the run under way, if there is one, has ended.
    pub(super) fn wait_ended(&self) {
        if self.is_within_run() {
            // It ends when its callback returns.
            return;
        }
        while let Err(TryLockError::WouldBlock) = self.turn.try_lock() {
            // Again and again: a call may have begun after the last one.
            self.storage.interrupt();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it for good.
    pub(super) fn end(&self) {
        self.stop.cancel();
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            follower.raise();
        }
        self.wake_purger();
    }

    pub(super) fn set_follower(&self, flag: &Arc<Flag>) {
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(flag));
    }

    pub(super) fn wake_purger(&self) {
        // Under the lock: who is about to wait sees why it should not, or is woken.
        let _queue = self.purges();
        self.purge_added.notify_all();
    }

    /// What the next run would do.
    pub(super) fn dry_run(&self) -> Result<MirrorPlan> {
        self.usable()?;
        let snapshot = self.engine.snapshot();
        let (record, _) = self.open_root(&snapshot)?;
        let plan = {
            let turn = self.take_turn();
            self.plan(&turn, &snapshot, &record)
        };
        let mut told = MirrorPlan { seq: snapshot.seq(), ..MirrorPlan::default() };
        told.upload_bytes = plan.upload_bytes();
        told.unsettled = plan.unsettled.len() as u64;
        told.refused_total = plan.refused.len() as u64;
        told.deletes = plan.deletes.len() as u64;
        told.held = !plan.deletes.is_empty()
            && (matches!(record.state, RootState::Held { .. })
                || self.options().holds(told.deletes, self.outbox.objects().len() as u64));
        let mut copies = Vec::new();
        for wish in &plan.wishes {
            let to = wish.key.to_string();
            match &wish.copy_of {
                Some(from) => copies.push(MirrorStep::Copy { from: from.to_string(), to }),
                None => told.steps.push(MirrorStep::Upload {
                    path: join(record.name.as_bytes(), &wish.path),
                    key: to,
                    bytes: wish.fingerprint.size,
                }),
            }
        }
        told.uploads = told.steps.len() as u64;
        told.copies = copies.len() as u64;
        told.steps.extend(copies);
        told.steps.extend(plan.deletes.iter().map(|key| MirrorStep::Delete { key: key.to_string() }));
        told.refused = plan.refused.into_iter().take(ERRORS_KEPT).collect();
        Ok(told)
    }
}
