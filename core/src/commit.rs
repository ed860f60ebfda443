//! The one writer. Everything that changes state arrives here as a batch; what is waiting goes into
//! one transaction; after the fsync the next tree is published and the callers are answered.
//!
//! Invariants: only this thread writes to the store or publishes a tree; a batch is applied whole or
//! not at all; a tree is published only after its transaction is durable (or, with
//! `Durability::Relaxed`, committed). If this thread panics the engine is poisoned: callers get an
//! error, snapshots stay readable.

mod group;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Hub};
use crate::journal::Writer;
use crate::operation::{Counts, Operation};
use crate::options::{Durability, Options};
use crate::path::escape;
use crate::root_record::RootRecord;
use crate::signal::Signal;
use crate::snapshot::{Cell, DirEdit, RootView, Shared, Snapshot, Tree};
use crate::store::{Counters, Loaded, Owner, Segments, Store, WorkWrite};
use crate::testing;

use group::{Group, Refused};

/// Batches that wait at most; then callers wait for room.
const QUEUE_MAX: usize = 256;
/// Batches that share one transaction at most.
const GROUP_MAX: usize = 256;
/// Attributes of one entry, in bytes, names included.
pub(crate) const ATTRS_BYTES_MAX: usize = 64 * 1024;

/// Everything that scans, calls and the commit thread share.
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) cell: Cell<Tree>,
    pub(crate) ids: Arc<AtomicU64>,
    pub(crate) options: Options,
    pub(crate) database: u128,
    pub(crate) hub: Hub,
    /// Raised after each commit, for those who wait for one.
    pub(crate) signal: Signal,
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
    poison: Arc<OnceLock<String>>,
    /// Whose threads these are: a child of a `fork` has none of them.
    process: u32,
}

type Reply<T> = Sender<Result<T>>;

/// A change on its way to the disk.
#[must_use = "whether it got there is known when it has been waited for"]
pub(crate) struct Pending {
    engine: Arc<Engine>,
    answer: Receiver<Result<u64>>,
}

impl Pending {
    /// Waits until it is durable.
    pub(crate) fn wait(self) -> Result<()> {
        self.answer.recv().map_err(|_| self.engine.ended())?.map(|_| ())
    }
}

enum Message {
    Batch { task: Task, reply: Reply<u64> },
    Compact { reply: Reply<(u64, u64)> },
    Check { reply: Reply<()> },
    Flush { reply: Reply<u64> },
    Stop,
}

/// One change of state.
pub(crate) enum Task {
    AddRoot(Box<RootRecord>),
    ChangeRoot(RootChange, Option<Box<Operation>>),
    RemoveRoot(u32),
    Scan(Box<ScanBatch>),
    State(Vec<StateOp>),
    /// What pipelines and mirrors keep. It is no change of the state of any file, so it has no seq.
    Work(WorkTask),
    /// Applies the retention of tombstones, journal and history. Answers how many entries were
    /// forgotten.
    Maintain,
    #[cfg(feature = "testing")]
    Panic,
}

/// A change of what pipelines and mirrors keep.
pub(crate) enum WorkTask {
    /// Answers the id of the pipeline or mirror: without one it is new.
    Put {
        owner: Owner,
        id: Option<u32>,
        row: Vec<u8>,
    },
    Delete(Owner, u32),
    Write(Vec<WorkWrite>),
    /// A line of the history.
    Note(Box<Operation>),
}

/// A change of what is kept about a root. It is applied to the record as it is when its turn comes, so
/// that two changes never undo each other.
pub(crate) struct RootChange {
    id: u32,
    change: Box<dyn FnOnce(&mut RootRecord) + Send>,
}

impl RootChange {
    pub(crate) fn new(id: u32, change: impl FnOnce(&mut RootRecord) + Send + 'static) -> Self {
        Self { id, change: Box::new(change) }
    }
}

/// The result of a scan.
pub(crate) struct ScanBatch {
    /// The state that it was made against.
    pub(crate) base: Arc<RootView>,
    pub(crate) live: Vec<DirEdit>,
    pub(crate) gone: Vec<DirEdit>,
    pub(crate) journal: Writer,
    pub(crate) record: RootRecord,
    pub(crate) operation: Operation,
    pub(crate) forgotten_ids: Vec<u64>,
    pub(crate) adds_tombstones: bool,
}

/// One step of a batch over the program's own state.
#[derive(Debug, Clone)]
pub(crate) enum StateOp {
    Put { space: String, key: Vec<u8>, value: Option<Vec<u8>> },
    CompareAndSet { space: String, key: Vec<u8>, expected: Option<Vec<u8>>, value: Option<Vec<u8>> },
    Attr { path: Vec<u8>, name: String, value: Option<Vec<u8>> },
    Advance { cursor: String, seq: u64 },
}

impl Engine {
    /// Starts the commit thread and the reclaiming thread over an open store.
    pub(crate) fn start(store: Store, loaded: Loaded, options: Options) -> Result<Arc<Self>> {
        let (reclaim, retired) = unbounded::<Tree>();
        spawn("tw-reclaim", move || {
            // Ends when the last snapshot and the engine are gone.
            for tree in retired {
                testing::note_reclaim();
                drop(tree);
            }
        })?;
        let (sender, receiver) = bounded(QUEUE_MAX);
        let seq = loaded.counters.seq;
        let engine = Arc::new(Self {
            store,
            cell: Cell::new(loaded.tree.clone(), seq, reclaim),
            ids: Arc::new(AtomicU64::new(loaded.counters.next_id)),
            options,
            database: loaded.database,
            hub: Hub::default(),
            signal: Signal::new(seq),
            sender,
            thread: Mutex::new(None),
            closed: AtomicBool::new(false),
            poison: Arc::default(),
            process: std::process::id(),
        });
        engine.hub.begin_at(seq);
        let committer = Committer {
            engine: Arc::clone(&engine),
            tree: loaded.tree,
            counters: loaded.counters,
            segments: Arc::new(loaded.segments),
        };
        let poison = Arc::clone(&engine.poison);
        let thread = spawn("tw-commit", move || {
            let mut guard = PoisonOnPanic { poison, armed: true };
            committer.run(&receiver);
            guard.armed = false;
        })?;
        *engine.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(engine)
    }

    /// The current tree. Lock-free.
    #[inline]
    pub(crate) fn load(&self) -> Shared {
        self.cell.load()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.load())
    }

    pub(crate) fn root(&self, name: &[u8]) -> Result<Arc<RootView>> {
        let shared = self.load();
        let found = shared.tree().and_then(|tree| tree.root(name)).map(Arc::clone);
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no root `{}`", escape(name)))
                .with_path(name)
                .with_hint("`roots` lists them; `root add` adds one")
        })
    }

    /// Fails unless something can be changed.
    pub(crate) fn writable(&self) -> Result<()> {
        self.usable()?;
        if self.store.is_read_only() {
            return Err(Error::new(ErrorKind::ReadOnly, "the state file was opened for reading only"));
        }
        Ok(())
    }

    /// True in a child of a `fork`.
    pub(crate) fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }

    /// Fails in a child of a `fork`: whatever waits for a thread there waits for ever.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.is_forked() { Err(Error::forked()) } else { Ok(()) }
    }

    /// Fails once it is closed, or has failed.
    pub(crate) fn usable(&self) -> Result<()> {
        self.check_process()?;
        if let Some(why) = self.poison.get() {
            return Err(Error::new(ErrorKind::Poisoned, format!("the engine has failed: {why}"))
                .with_hint("snapshots stay readable; open the state file again to go on"));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the warden has been closed"));
        }
        Ok(())
    }

    fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T> {
        self.writable()?;
        let (reply, answer) = bounded(1);
        self.sender.send(message(reply)).map_err(|_| self.ended())?;
        answer.recv().map_err(|_| self.ended())?
    }

    /// Why the commit thread does not answer.
    fn ended(&self) -> Error {
        // It is on its way out; once it is gone it is known whether it failed.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.usable().err().unwrap_or_else(|| Error::new(ErrorKind::Closed, "the warden has been closed"))
    }

    /// Hands a change to the commit thread, behind everything that was handed to it before.
    pub(crate) fn send(self: &Arc<Self>, task: Task) -> Result<Pending> {
        self.writable()?;
        let (reply, answer) = bounded(1);
        self.sender.send(Message::Batch { task, reply }).map_err(|_| self.ended())?;
        Ok(Pending { engine: Arc::clone(self), answer })
    }

    /// Hands a change to the commit thread and waits until it is durable. Answers its seq.
    pub(crate) fn submit(&self, task: Task) -> Result<u64> {
        self.ask(|reply| Message::Batch { task, reply })
    }

    /// Makes durable what has been committed so far.
    pub(crate) fn flush(&self) -> Result<()> {
        self.ask(|reply| Message::Flush { reply }).map(|_| ())
    }

    /// Applies retention. Answers how many files and symlinks were forgotten.
    pub(crate) fn maintain(&self) -> Result<u64> {
        self.submit(Task::Maintain)
    }

    pub(crate) fn compact(&self) -> Result<(u64, u64)> {
        self.ask(|reply| Message::Compact { reply })
    }

    /// Checks the state file while nothing is committed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.store.is_read_only() {
            return self.store.check();
        }
        self.ask(|reply| Message::Check { reply })
    }

    /// Ends the commit thread after what is waiting. A second call does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        self.check_process()?;
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.hub.close();
        self.signal.close();
        let mut result = Ok(());
        if self.options.durability == Durability::Relaxed && self.poison.get().is_none() {
            let (reply, answer) = bounded(1);
            if self.sender.send(Message::Flush { reply }).is_ok() {
                result = answer.recv().unwrap_or(Ok(0)).map(|_| ());
            }
        }
        let _ = self.sender.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.store.close();
        result
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start a thread: {e}")).with_source(e))
}

/// Poisons the engine when its thread unwinds.
struct PoisonOnPanic {
    poison: Arc<OnceLock<String>>,
    armed: bool,
}

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.poison.set("its commit thread panicked".to_owned());
            tracing::error!("the commit thread panicked; the engine is poisoned");
        }
    }
}

struct Committer {
    engine: Arc<Engine>,
    tree: Tree,
    counters: Counters,
    /// Copied when a batch places blocks, so that a failed one leaves no trace.
    segments: Arc<Segments>,
}

impl Committer {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut next = None;
        loop {
            let Some(message) = next.take().or_else(|| receiver.recv().ok()) else { return };
            match message {
                Message::Stop => return,
                Message::Compact { reply } => {
                    let _ = reply.send(self.engine.store.compact());
                }
                Message::Check { reply } => {
                    let _ = reply.send(self.engine.store.check());
                }
                Message::Flush { reply } => {
                    let _ = reply.send(self.flush());
                }
                Message::Batch { task, reply } => {
                    let mut batch = vec![(task, reply)];
                    while batch.len() < GROUP_MAX && next.is_none() {
                        match receiver.try_recv() {
                            Ok(Message::Batch { task, reply }) => batch.push((task, reply)),
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.group(batch);
                }
            }
        }
    }

    /// An empty durable commit carries all relaxed ones before it to the disk.
    fn flush(&self) -> Result<u64> {
        let txn = self.engine.store.begin(Durability::Durable)?;
        txn.put_counters(&self.counters)?;
        txn.commit()?;
        Ok(self.counters.seq)
    }

    /// Applies a group of batches in one transaction. A batch that is refused leaves the others
    /// alone; a failure of the store fails them all.
    fn group(&mut self, batch: Vec<(Task, Reply<u64>)>) {
        testing::pass("commit:begin");
        let mut answers: Vec<(Reply<u64>, Result<u64>)> = Vec::with_capacity(batch.len());
        let mut waiting = batch.into_iter();
        let result = (|| {
            let txn = self.engine.store.begin(self.engine.options.durability)?;
            let mut group = Group {
                txn,
                tree: self.tree.clone(),
                counters: self.counters,
                segments: Arc::clone(&self.segments),
                told: Counts::default(),
            };
            let mut wrote = false;
            for (task, reply) in waiting.by_ref() {
                match group.task(&self.engine, task) {
                    Ok(Some(value)) => {
                        wrote = true;
                        answers.push((reply, Ok(value)));
                    }
                    Ok(None) => answers.push((reply, Ok(0))),
                    Err(Refused::Batch(error)) => answers.push((reply, Err(error))),
                    Err(Refused::Store(error)) => {
                        let error = self.engine.store.failed(error);
                        answers.push((reply, Err(error.duplicate())));
                        return Err(error);
                    }
                }
            }
            testing::pass("commit:rows-written");
            if wrote { group.commit(&self.engine).map(Some) } else { Ok(None) }
        })();
        match result {
            Ok(Some((committed, counts))) => {
                let first_seq = self.counters.seq + 1;
                (self.tree, self.counters, self.segments) = committed;
                let last_seq = self.counters.seq;
                self.engine.cell.publish(self.tree.clone(), last_seq);
                self.engine.signal.raise(last_seq);
                if last_seq >= first_seq {
                    self.engine.hub.tell(Event::Committed { first_seq, last_seq, counts });
                }
                testing::pass("commit:published");
            }
            Ok(None) => {}
            Err(error) => {
                let error = self.engine.store.failed(error);
                tracing::error!(%error, "a commit failed");
                for (_, answer) in answers.iter_mut().filter(|(_, answer)| answer.is_ok()) {
                    *answer = Err(error.duplicate());
                }
                answers.extend(waiting.map(|(_, reply)| (reply, Err(error.duplicate()))));
            }
        }
        for (reply, answer) in answers {
            let _ = reply.send(answer);
        }
    }
}

/// True when a root is looked at by other rules than before: what was found by the old ones is not
/// applied.
fn rules_differ(old: &RootRecord, new: &RootRecord) -> bool {
    (&old.name, &old.path, old.identity, old.compare, old.content_hash, &old.ignore)
        != (&new.name, &new.path, new.identity, new.compare, new.content_hash, &new.ignore)
}

/// True when the record says anything else than before, besides when it was looked at last.
pub(crate) fn record_differs(old: &RootRecord, new: &RootRecord) -> bool {
    RootRecord { last_scan_ns: 0, ..old.clone() } != RootRecord { last_scan_ns: 0, ..new.clone() }
}
