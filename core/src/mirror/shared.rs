//! One open mirror: what is stored of it, its storage and CDN, whose turn it is, and how it stands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::ThreadId;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use crate::commit::{Engine, Task, WorkTask};
use crate::entry::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::path::{escape, join};
use crate::root_record::RootRecord;
use crate::scan::CancelToken;
use crate::signal::Flag;
use crate::store::Owner;
use crate::work::RateLimiter;

use super::options::{MirrorOptions, Row};
use super::outbox::{Outbox, Purge, Upload, Writes};
use super::pace::Pace;
use super::plan::Scope;
use super::purge::Purge as Cdn;
use super::report::{
    ERRORS_KEPT, MirrorCounters, MirrorPlan, MirrorReport, MirrorStatus, MirrorStep, sentence,
};
use super::run::{Prepared, fatal};
use super::seen::Seen;
use super::storage::Storage;
use super::turn::{Gate, Turn};

/// How often a run is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// Who has it may send and delete.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) seen: Seen,
    /// Parts that were sent and are no object.
    pub(super) uploads: Vec<Upload>,
}

/// What is to be looked at with the next run.
#[derive(Clone, Copy)]
struct Waiting {
    /// The seq that the last run has seen, the one that there was, and the number of runs.
    asked: (u64, u64, u64),
    paths: u64,
    oldest_ns: Option<i64>,
}

/// What is told without waiting for a run.
#[derive(Default)]
struct Facts {
    counters: MirrorCounters,
    seen: Arc<Seen>,
    waiting: Option<Waiting>,
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
    turn: Gate<Progress>,
    facts: Mutex<Facts>,
    pub(super) running: AtomicBool,
    /// The threads that work on a run or an audit: what waits for its end is not for them.
    within: Mutex<Vec<ThreadId>>,
    pub(super) following: AtomicBool,
    purges: Mutex<VecDeque<Purge>>,
    /// Whose turn it is to send what is queued: one sends the front of the queue at a time.
    pub(super) purging: Gate<()>,
    /// Its thread: a CDN may call the mirror.
    purger: Mutex<Option<ThreadId>>,
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
        purge_limiter: Option<RateLimiter>,
    ) -> Result<Self> {
        let (outbox, purges, uploads) = Outbox::load(engine, id)?;
        let scope = Arc::new(Scope::new(&row.options)?);
        Ok(Self {
            purge_limiter,
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
            turn: Gate::new(Progress { uploads, ..Progress::default() }),
            facts: Mutex::default(),
            running: AtomicBool::new(false),
            within: Mutex::default(),
            following: AtomicBool::new(false),
            purges: Mutex::new(purges.into()),
            purging: Gate::new(()),
            purger: Mutex::default(),
            purge_added: Condvar::new(),
            follower: Mutex::default(),
        })
    }

    /// True when it has this storage and this CDN.
    pub(super) fn is_over(&self, storage: &Arc<dyn Storage>, cdn: Option<&Arc<dyn Cdn>>) -> bool {
        let is_same_cdn = match (&self.cdn, cdn) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        is_same_cdn && Arc::ptr_eq(&self.storage, storage)
    }

    pub(super) fn options(&self) -> Arc<MirrorOptions> {
        Arc::clone(&self.row.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(super) fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.row.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Takes other options up with the next run; the place is the same.
    pub(super) fn change(&self, options: &MirrorOptions) -> Result<()> {
        let scope = Arc::new(Scope::new(options)?);
        self.store(|row| row.options = options.clone())?;
        *self.row.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(options.clone()), scope);
        self.look_again();
        Ok(())
    }

    /// Changes what is stored of it.
    fn store(&self, change: impl FnOnce(&mut Row)) -> Result<()> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut row = stored.clone();
        change(&mut row);
        if row != *stored {
            let task = WorkTask::Put { owner: Owner::Mirror, id: Some(self.id), row: row.encode() };
            self.engine.submit(Task::Work(task))?;
            *stored = row;
        }
        Ok(())
    }

    /// Everything is looked at with the next run, which whoever follows begins now.
    pub(super) fn look_again(&self) {
        self.forget.store(true, Ordering::Release);
        if let Some(follower) = &*self.follower.lock().unwrap_or_else(PoisonError::into_inner) {
            follower.raise();
        }
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

    /// Waits for the turn; fails when it is cancelled or closed meanwhile.
    pub(super) fn take_turn(&self, pace: &Pace) -> Result<Turn<'_, Progress>> {
        let check = || self.usable().and_then(|()| pace.check().map_err(|error| fatal(&error)));
        let turn = self.turn.take(check)?;
        // It may have ended while others had their turn.
        check()?;
        Ok(turn)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This thread works on a run until what is answered is dropped.
    pub(super) fn enter(&self) -> Within<'_> {
        self.within().push(std::thread::current().id());
        Within(self)
    }

    fn within(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.within.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True in a callback of a run, and in a call to its storage.
    pub(super) fn is_within_run(&self) -> bool {
        self.within().contains(&std::thread::current().id())
    }

    /// The root whose objects these are.
    pub(super) fn root_id(&self) -> u32 {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).root
    }

    /// How many objects there were when deletions began to wait.
    pub(super) fn held_of(&self) -> Option<u64> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).held_of
    }

    /// Notes that deletions wait, or that they do not any more.
    pub(super) fn hold(&self, yes: bool) -> Result<()> {
        let objects = self.outbox.objects().len() as u64;
        self.store(|row| row.held_of = yes.then(|| row.held_of.unwrap_or(objects)))
    }

    /// Another root has taken the name, and its files are what is copied now.
    pub(super) fn adopt_root(&self, record: &RootRecord) -> Result<()> {
        self.store(|row| row.root = record.id)
    }

    /// Notes how a run ended.
    pub(super) fn note(&self, progress: &Progress, report: &MirrorReport, error: Option<&Error>) {
        let mut facts = self.facts();
        facts.counters.add(report);
        facts.counters.runs_failed += u64::from(error.is_some());
        facts.seen = Arc::new(progress.seen.clone());
        facts.last_run_ns = Some(self.engine.options.clock.now_ns());
        facts.last_error = error.map(sentence);
        if error.is_none() {
            // A run that was given up may not have come to what waits.
            facts.held = report.held;
            facts.last_seq = Some(report.seq);
        }
    }

    pub(super) fn count_purges(&self, purged: u64, failures: u64) {
        let mut facts = self.facts();
        facts.counters.purged += purged;
        facts.counters.purge_failures += failures;
    }

    /// What is to be looked at; `None` before the first run. Nobody else is held up by it.
    fn waiting(&self) -> Option<Waiting> {
        let now = self.engine.snapshot();
        let (asked, seen, last_run_ns) = {
            let facts = self.facts();
            let asked = (facts.seen.known.as_ref()?.seq(), now.seq(), facts.counters.runs);
            if let Some(waiting) = facts.waiting.filter(|waiting| waiting.asked == asked) {
                return Some(waiting);
            }
            (asked, Arc::clone(&facts.seen), facts.last_run_ns)
        };
        let known = seen.known.as_ref()?;
        let mut left: BTreeMap<Vec<u8>, i64> =
            seen.left.iter().map(|(path, since)| (path.clone(), since.ns)).collect();
        let (scope, now_ns) = (self.scope(), self.engine.options.clock.now_ns());
        for change in now.diff(known) {
            if change.entry_kind != Kind::File || !scope.is_below(&change.path) {
                continue;
            }
            // When it was touched, as far as that is believable.
            let touched_ns = now.get(&change.path).map_or(now_ns, |entry| entry.touched_ns(now_ns));
            let came_ns = touched_ns.max(last_run_ns.unwrap_or(touched_ns)).min(now_ns);
            left.entry(change.path).or_insert(came_ns);
        }
        let waiting = Waiting { asked, paths: left.len() as u64, oldest_ns: left.values().min().copied() };
        self.facts().waiting = Some(waiting);
        Some(waiting)
    }

    pub(super) fn status(&self) -> MirrorStatus {
        let options = self.options();
        let objects = self.outbox.objects();
        let purges = self.purges();
        let (purges_waiting, oldest_purge_ns) = (purges.len() as u64, purges.front().map(|p| p.queued_ns));
        drop(purges);
        let waiting = self.waiting();
        let facts = self.facts();
        MirrorStatus {
            name: self.name.clone(),
            address: options.address.clone(),
            place: self.storage.describe(),
            prefix: options.prefix.clone(),
            running: self.running.load(Ordering::Acquire),
            following: self.following.load(Ordering::Acquire),
            objects: objects.totals.sure,
            object_bytes: objects.totals.sure_bytes,
            unsure: objects.len() as u64 - objects.totals.sure,
            pending: waiting.map(|waiting| waiting.paths),
            oldest_pending_ns: waiting.and_then(|waiting| waiting.oldest_ns),
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

    pub(super) fn purger(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.purger.lock().unwrap_or_else(PoisonError::into_inner)
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
        // From within a run: it ends when its callback returns.
        if !self.is_within_run() {
            self.turn.wait_free();
        }
    }

    /// Calls the storage. Calls that are under way when it is cancelled are ended, again and again: another one may
    /// have begun since.
    pub(super) fn attended<T>(&self, pace: &Pace, work: impl FnOnce() -> T) -> T {
        let (over, ended) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            // Dropped also when the work panics.
            let _over = over;
            let watch = move || {
                let _within = self.enter();
                while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    if pace.check().is_err() {
                        self.storage.interrupt();
                    }
                }
            };
            // Without a thread for it the calls end by their own limits.
            let _ = std::thread::Builder::new().name("tw-attend".to_owned()).spawn_scoped(scope, watch);
            work()
        })
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
        // As the last run has left it: nobody is waited for.
        let seen = Arc::clone(&self.facts().seen);
        let prepared = self.prepare(&seen)?;
        let held = !prepared.plan.deletes.is_empty() && prepared.is_held(false);
        let Prepared { snapshot, record, plan, rejected, .. } = prepared;
        let mut told = MirrorPlan { seq: snapshot.seq(), ..MirrorPlan::default() };
        told.upload_bytes = plan.upload_bytes();
        told.unsettled = plan.unsettled.len() as u64;
        told.refused_total = (plan.refused.len() + rejected.len()) as u64;
        told.deletes = plan.deletes.len() as u64;
        told.held = held;
        let mut copies = Vec::new();
        for wish in &plan.wishes {
            let to = wish.key.to_string();
            match wish.copy_of() {
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
        told.refused = plan.refused.into_iter().chain(rejected).take(ERRORS_KEPT).collect();
        Ok(told)
    }
}

/// A thread that works on a run.
pub(super) struct Within<'a>(&'a Shared);

impl Drop for Within<'_> {
    fn drop(&mut self) {
        let mut within = self.0.within();
        let thread = std::thread::current().id();
        if let Some(at) = within.iter().rposition(|its| *its == thread) {
            within.swap_remove(at);
        }
    }
}
