//! One open pipeline: its queue behind a lock, and the order in which things are written.
//!
//! What changes an item is written first and told to the queue then. Meanwhile the item is held, so
//! nobody else touches it; whatever is asked for an item that somebody holds waits with the `order` lock
//! until what is under way has been told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::bytes::{Put, Take};
use crate::commit::{Engine, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Counts, Operation, OperationKind, OperationStatus};
use crate::options::Durability;
use crate::path::escape;
use crate::signal::{Flag, Interrupt};
use crate::store::{Rows, WorkTable, WorkWrite};

use super::claims::{self, Claims};
use super::limiter::{Keeper, RateLimiter, Saved};
use super::options::PipelineOptions;
use super::queue::{Finished, Queue, Run};
use super::record::{ItemKey, Record, damaged};

/// Completions of the last minutes, for the throughput.
const MINUTES: usize = 10;
const MINUTE_NS: i64 = 60 * 1_000_000_000;

pub(crate) struct Shared {
    pub(super) engine: Arc<Engine>,
    pub(super) session: u64,
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) state: Mutex<State>,
    /// After the state where both are locked.
    claims: Mutex<Claims>,
    /// Read by those who end a lease, written by those who change items that they do not hold.
    pub(super) order: RwLock<()>,
    tokens: AtomicU64,
    ended: AtomicBool,
    waiting: Mutex<Vec<(u64, Arc<Flag>)>>,
    waits: AtomicU64,
    news: AtomicU64,
    /// How often everybody who waits was sent home.
    pub(super) interrupts: AtomicU64,
    pub(super) pace: Mutex<Pace>,
    /// Queues that were given up. With one may go a function of the program, so they go while nothing is locked.
    old: Mutex<Vec<Queue>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) options: Arc<PipelineOptions>,
    pub(super) limiter: Option<RateLimiter>,
    /// Something went wrong half-way: the queue is derived anew before it is used again.
    pub(super) is_broken: bool,
}

/// How many jobs were completed in each of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    minute: i64,
    done: [u64; MINUTES],
}

impl Pace {
    pub(super) fn add(&mut self, count: u64, now_ns: i64) {
        self.turn(now_ns);
        if let Some(now) = self.done.first_mut() {
            *now += count;
        }
    }

    fn turn(&mut self, now_ns: i64) {
        let minute = now_ns.div_euclid(MINUTE_NS);
        let passed = usize::try_from(minute.saturating_sub(self.minute)).unwrap_or(0);
        let passed = passed.min(MINUTES);
        self.done.rotate_right(passed);
        for old in self.done.iter_mut().take(passed) {
            *old = 0;
        }
        self.minute = self.minute.max(minute);
    }

    /// Completions per minute over the last full minutes.
    pub(super) fn per_minute(&mut self, now_ns: i64) -> f64 {
        self.turn(now_ns);
        let full: u64 = self.done.iter().skip(1).sum();
        #[allow(clippy::cast_precision_loss)]
        let rate = full as f64 / (MINUTES - 1) as f64;
        rate
    }
}

impl Shared {
    pub(super) fn open(
        engine: &Arc<Engine>,
        session: u64,
        id: u32,
        name: &str,
        options: PipelineOptions,
    ) -> Result<Self> {
        let options = Arc::new(options);
        let queue = Queue::new(id, Arc::clone(&options), engine.snapshot())?;
        let limiter = limiter(engine, id, &options)?;
        let shared = Self {
            engine: Arc::clone(engine),
            session,
            id,
            name: name.to_owned(),
            claims: Mutex::default(),
            state: Mutex::new(State { queue, options, limiter, is_broken: true }),
            order: RwLock::new(()),
            tokens: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            waiting: Mutex::default(),
            waits: AtomicU64::new(0),
            news: AtomicU64::new(0),
            interrupts: AtomicU64::new(0),
            pace: Mutex::default(),
            old: Mutex::default(),
        };
        shared.void_leases()?;
        drop(shared.state()?);
        Ok(shared)
    }

    /// Leases of processes that have ended are no leases. Each counts as a crash of its job.
    fn void_leases(&self) -> Result<()> {
        if self.engine.store.is_read_only() {
            return Ok(());
        }
        let (mut writes, mut voided) = (Vec::new(), 0_u64);
        let rows = self.engine.store.rows()?;
        rows.work_each(WorkTable::Leases, self.id, |key, row| {
            let (session, items) = claims::decode(row).map_err(damaged)?;
            let number = claims::number_of(key).map_err(damaged)?;
            if session == self.session {
                return Ok(());
            }
            writes.push(WorkWrite { table: WorkTable::Leases, key: key.to_vec(), row: None });
            for (key, _) in items {
                let mut record = match rows.work_get(WorkTable::Records, &key)? {
                    Some(row) => Record::decode(&row).map_err(damaged)?,
                    None => Record::default(),
                };
                // What it was handed out for was answered, or it was handed out again since.
                if record.claim < number {
                    record.crashes = record.crashes.saturating_add(1);
                    voided += 1;
                    let row = Some(record.encode());
                    writes.push(WorkWrite { table: WorkTable::Records, key, row });
                }
            }
            Ok(())
        })?;
        if writes.is_empty() {
            return Ok(());
        }
        tracing::info!(pipeline = %self.name, leases = voided, "leases of ended processes are void");
        self.write(writes)
    }

    /// Other options: the queue is derived anew by them.
    pub(super) fn change(&self, options: &PipelineOptions) -> Result<()> {
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        let options = Arc::new(options.clone());
        let has_other_rate = self.lock().options.rate != options.rate;
        if has_other_rate {
            // Saved on the way out, read by the next one; nobody waits for that behind the lock.
            // It stays until there is another one: closed, it grants nothing.
            if let Some(before) = self.limiter() {
                before.close();
            }
            let next = limiter(&self.engine, self.id, &options)?;
            self.lock().limiter = next;
        }
        let mut state = self.lock();
        state.options = options;
        state.is_broken = true;
        // By the new schedule.
        drop(state.queue.take_run());
        drop(state);
        self.wake();
        Ok(())
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.engine.options.clock.now_ns()
    }

    /// The queue, in step with the snapshot.
    pub(super) fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.usable()?;
        let mut state = self.lock();
        // First the snapshot, then the rows: those are never older.
        let snapshot = self.engine.snapshot();
        state.is_broken |= state.queue.can_tell_more(&snapshot);
        if state.is_broken {
            let rows = self.engine.store.rows()?;
            let mut queue = Queue::new(self.id, Arc::clone(&state.options), snapshot)?;
            let run = match state.queue.take_run() {
                Some(run) => Some(run),
                None => self.run(&state.options, &rows)?,
            };
            queue.set_run(run);
            queue.keep_names_of(&state.queue);
            unless_panics(|| queue.load(&rows, self.now_ns()))?;
            // They are over whatever comes of this.
            for (claim, token) in state.queue.take_lapsed() {
                self.claims().end(claim, token);
            }
            for (handle, item) in state.queue.take_held() {
                queue.hold(handle, item);
            }
            self.claims().begin_after(queue.newest_claim);
            let old = std::mem::replace(&mut state.queue, queue);
            self.old.lock().unwrap_or_else(PoisonError::into_inner).push(old);
            state.is_broken = false;
        } else if !state.queue.knows(&snapshot) {
            let rows = self.engine.store.rows()?;
            let result = unless_panics(|| state.queue.catch_up(&snapshot, &rows, self.now_ns()));
            state.is_broken = result.is_err();
            result?;
        }
        Ok(state)
    }

    /// Where stale items of this pipeline wait, if they do.
    fn run(&self, options: &PipelineOptions, rows: &Rows) -> Result<Option<Run>> {
        let Some(run) = &options.refresh_run else { return Ok(None) };
        // A run that was due while nobody was here is made up for.
        let row = rows.work_get(WorkTable::Runs, &self.id.to_be_bytes())?;
        let last_ns = row.map(|row| Take(&row).i64().map_err(damaged)).transpose()?;
        let seed = (self.engine.database as u64) ^ u64::from(self.id).rotate_left(32);
        Ok(Some(Run::new(run, seed, last_ns, self.now_ns())))
    }

    /// The history shows refresh runs, and the next process knows of the last one.
    fn note(&self, run: &Finished) {
        let mut row = Vec::with_capacity(8);
        row.put_i64(run.ended_ns);
        let key = self.id.to_be_bytes().to_vec();
        if let Err(error) = self.write(vec![WorkWrite { table: WorkTable::Runs, key, row: Some(row) }]) {
            tracing::warn!(%error, "the time of a refresh run is not stored");
        }
        let operation = Operation {
            id: 0,
            kind: OperationKind::Refresh,
            root: self.name.clone(),
            start_ns: run.begun_ns,
            end_ns: run.ended_ns,
            seq: 0,
            counts: Counts { modified: run.items, ..Counts::default() },
            status: OperationStatus::Ok,
            error: None,
        };
        if let Err(error) = self.engine.submit(Task::Work(WorkTask::Note(Box::new(operation)))) {
            tracing::warn!(%error, "a refresh run is not in the history");
        }
    }

    /// The queue and what is stored, for a call that reads records.
    pub(super) fn with_rows<T>(&self, work: impl FnOnce(&mut State, &Rows) -> Result<T>) -> Result<T> {
        let mut state = self.state()?;
        let rows = self.engine.store.rows()?;
        let result = unless_panics(|| work(&mut state, &rows));
        state.is_broken |= result.is_err();
        let runs = state.queue.finished_runs();
        let lapsed = state.queue.take_lapsed();
        let orphans = state.queue.take_orphans();
        drop(state);
        let old = std::mem::take(&mut *self.old.lock().unwrap_or_else(PoisonError::into_inner));
        drop(old);
        if !orphans.is_empty() && !self.engine.store.is_read_only() {
            self.purge(orphans);
        }
        for (claim, token) in lapsed {
            self.claims().end(claim, token);
        }
        if !self.engine.store.is_read_only() {
            runs.iter().for_each(|run| self.note(run));
        }
        result
    }

    /// Deletes rows that nothing is left of; some other time where that cannot be done now.
    fn purge(&self, mut orphans: Vec<(WorkTable, ItemKey)>) {
        // Whoever asks for an item meanwhile waits, or has done so before and is seen here.
        let result = self.order.try_write().map(|_alone| {
            let state = self.lock();
            orphans.retain(|(table, key)| *table != WorkTable::Requests || !state.queue.is_requested(key));
            drop(state);
            self.write(orphans.iter().map(|(table, key)| self.row(*table, key, None)).collect())
        });
        if let Ok(Ok(())) = result {
            return;
        }
        if let Ok(Err(error)) = result {
            tracing::warn!(%error, "rows of items that are gone could not be deleted");
        }
        self.lock().queue.put_back_orphans(orphans);
    }

    pub(super) fn usable(&self) -> Result<()> {
        self.engine.check_process()?;
        if self.ended.load(Ordering::Acquire) {
            let name = escape(self.name.as_bytes());
            return Err(Error::new(
                ErrorKind::Closed,
                format!("pipeline `{name}` was removed, or the warden closed"),
            ));
        }
        Ok(())
    }

    pub(super) fn write(&self, writes: Vec<WorkWrite>) -> Result<()> {
        self.engine.submit(Task::Work(WorkTask::Write(writes))).map(|_| ())
    }

    /// A token that has never been given out.
    pub(super) fn next_token(&self) -> u64 {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        crate::hash::checksum(self.session ^ u64::from(self.id).rotate_left(32), &number.to_le_bytes()).max(1)
    }

    pub(super) fn row(&self, table: WorkTable, key: &ItemKey, row: Option<Vec<u8>>) -> WorkWrite {
        WorkWrite { table, key: key.encode(self.id), row }
    }

    /// The row of a claim; `None` once no job of it is in hand.
    pub(super) fn claim_row(&self, number: u64, items: Option<&[(ItemKey, u64)]>) -> WorkWrite {
        let row = items.map(|items| claims::encode(self.session, self.id, items));
        WorkWrite { table: WorkTable::Leases, key: claims::claim_key(self.id, number), row }
    }

    pub(super) fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often there was news, to be asked for before looking for work.
    pub(super) fn news(&self) -> u64 {
        self.news.load(Ordering::SeqCst)
    }

    /// Wakes those who wait for work: there may be some.
    pub(super) fn wake(&self) {
        self.news.fetch_add(1, Ordering::SeqCst);
        for (_, flag) in &*self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            flag.raise();
        }
    }

    /// Waits for a commit after `seq`, for news after `news`, or for `at_most`.
    pub(super) fn wait(&self, seq: u64, news: u64, at_most: Option<Duration>) {
        let interrupt = Interrupt::new(&self.engine.signal);
        let number = self.waits.fetch_add(1, Ordering::Relaxed);
        let enlist = (number, interrupt.flag());
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(enlist);
        let deadline = at_most.and_then(|time| std::time::Instant::now().checked_add(time));
        // Whoever has news counts it first and looks for those who wait then; here it is the other way round.
        if !self.ended.load(Ordering::Acquire) && self.news() == news {
            self.engine.signal.wait(seq, deadline, &interrupt);
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != number);
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        if let Some(limiter) = self.limiter() {
            limiter.close();
        }
        self.wake();
    }
}

/// A bug in the queue is an error, and the queue is derived anew; whoever works on a job goes on.
fn unless_panics<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Panic, "a pipeline failed inside; its queue is set up anew")
            .with_hint("this is a bug in Treewarden: nothing is lost, please report it"))
    })
}

/// The limiter of a pipeline, which goes on where that of the process before ended.
fn limiter(engine: &Arc<Engine>, id: u32, options: &PipelineOptions) -> Result<Option<RateLimiter>> {
    let Some(rate) = &options.rate else { return Ok(None) };
    let clock = engine.options.clock.clone();
    if engine.store.is_read_only() {
        return RateLimiter::with_clock(rate, clock).map(Some);
    }
    RateLimiter::kept(rate, clock, Arc::new(Kept { engine: Arc::clone(engine), id })).map(Some)
}

/// Keeps the horizon of a limiter in the state file.
struct Kept {
    engine: Arc<Engine>,
    id: u32,
}

impl Keeper for Kept {
    fn load(&self) -> Option<Saved> {
        let key = self.id.to_be_bytes();
        let row = self.engine.store.read(|rows| rows.work_get(WorkTable::Limiters, &key));
        // What cannot be read may have granted everything a moment ago.
        let unknown = Saved { until_ns: i64::MAX, share: 1_000, paused_until_ns: 0 };
        match row {
            Ok(row) => Some(Saved::decode(&row?).unwrap_or(unknown)),
            Err(error) => {
                tracing::warn!(%error, "what a rate limiter has granted is not known");
                Some(unknown)
            }
        }
    }

    fn save(&self, saved: Saved) -> Result<()> {
        let key = self.id.to_be_bytes().to_vec();
        let write = WorkWrite { table: WorkTable::Limiters, key, row: Some(saved.encode()) };
        self.engine.submit(Task::Work(WorkTask::Write(vec![write])))?;
        // A promise to a server is kept over a crash, whatever is said of the rest.
        if self.engine.options.durability == Durability::Relaxed { self.engine.flush() } else { Ok(()) }
    }
}
