//! The one writer. Everything that changes state arrives here as a batch; what is waiting goes into
//! one transaction; after the fsync the next tree is published and the callers are answered.
//!
//! Invariants: only this thread writes to the store or publishes a tree; a batch is applied whole or
//! not at all; a tree is published only after its transaction is durable (or, with
//! `Durability::Relaxed`, committed). If this thread panics the engine is poisoned: callers get an
//! error, snapshots stay readable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::error::{Error, ErrorKind, Result};
use crate::journal::{ChangeKind, Draft, Writer};
use crate::operation::{Counts, Operation, OperationKind, OperationStatus};
use crate::options::{Durability, Options};
use crate::path::{self, escape};
use crate::root_record::RootRecord;
use crate::snapshot::{
    Cell, DirEdit, DirNode, Head, Inconsistent, RootView, Shared, Snapshot, Tree, apply, delete_all, expire,
};
use crate::store::{Counters, Loaded, Segments, Store, Txn};
use crate::testing;

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
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
    poison: Arc<OnceLock<String>>,
}

type Reply<T> = Sender<Result<T>>;

enum Message {
    Batch { task: Task, reply: Reply<u64> },
    Compact { reply: Reply<(u64, u64)> },
    Flush { reply: Reply<u64> },
    Stop,
}

/// One change of state.
pub(crate) enum Task {
    AddRoot(Box<RootRecord>),
    SetRoot(Box<RootRecord>, Option<Box<Operation>>),
    RemoveRoot(u32),
    Scan(Box<ScanBatch>),
    State(Vec<StateOp>),
    /// Applies the retention of tombstones, journal and history. Answers how many entries were
    /// forgotten.
    Maintain,
    #[cfg(feature = "testing")]
    Panic,
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
            sender,
            thread: Mutex::new(None),
            closed: AtomicBool::new(false),
            poison: Arc::default(),
        });
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

    fn usable(&self) -> Result<()> {
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
        self.usable()?;
        if self.store.is_read_only() {
            return Err(Error::new(ErrorKind::ReadOnly, "the state file was opened for reading only"));
        }
        let (reply, answer) = bounded(1);
        let ended = || {
            // The thread is on its way out; once it is gone it is known whether it failed.
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            self.usable().err().unwrap_or_else(|| Error::new(ErrorKind::Closed, "the warden has been closed"))
        };
        self.sender.send(message(reply)).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }

    /// Hands a change to the commit thread and waits until it is durable. Answers its seq.
    pub(crate) fn submit(&self, task: Task) -> Result<u64> {
        self.ask(|reply| Message::Batch { task, reply })
    }

    /// Applies retention. Answers how many files and symlinks were forgotten.
    pub(crate) fn maintain(&self) -> Result<u64> {
        self.submit(Task::Maintain)
    }

    pub(crate) fn compact(&self) -> Result<(u64, u64)> {
        self.ask(|reply| Message::Compact { reply })
    }

    /// Ends the commit thread after what is waiting. A second call does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
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

/// What a group of batches changes before it is durable.
struct Group {
    txn: Txn,
    tree: Tree,
    counters: Counters,
    /// Copied when a batch places blocks, so that a failed one leaves no trace.
    segments: Arc<Segments>,
}

impl Committer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Stop => break,
                Message::Compact { reply } => {
                    let _ = reply.send(self.engine.store.compact());
                }
                Message::Flush { reply } => {
                    let _ = reply.send(self.flush());
                }
                Message::Batch { task, reply } => {
                    let mut batch = vec![(task, reply)];
                    let mut after = None;
                    while batch.len() < GROUP_MAX {
                        match receiver.try_recv() {
                            Ok(Message::Batch { task, reply }) => batch.push((task, reply)),
                            Ok(other) => {
                                after = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.group(batch);
                    match after {
                        Some(Message::Stop) => break,
                        Some(Message::Compact { reply }) => {
                            let _ = reply.send(self.engine.store.compact());
                        }
                        Some(Message::Flush { reply }) => {
                            let _ = reply.send(self.flush());
                        }
                        Some(Message::Batch { .. }) | None => {}
                    }
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
                        answers.push((reply, Err(error.duplicate())));
                        return Err(error);
                    }
                }
            }
            testing::pass("commit:rows-written");
            if wrote { group.commit(&self.engine).map(Some) } else { Ok(None) }
        })();
        match result {
            Ok(Some((tree, counters, segments))) => {
                (self.tree, self.counters, self.segments) = (tree, counters, segments);
                self.engine.cell.publish(self.tree.clone(), self.counters.seq);
                testing::pass("commit:published");
            }
            Ok(None) => {}
            Err(error) => {
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

/// Why a batch was not applied.
enum Refused {
    /// Its own fault; nothing of it was written.
    Batch(Error),
    /// The store failed; the transaction is lost.
    Store(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Inconsistent> for Refused {
    fn from(Inconsistent(what): Inconsistent) -> Self {
        tracing::error!(what, "a scan's plan contradicts the tree");
        Self::Batch(
            Error::new(ErrorKind::Conflict, format!("the scan does not fit the state: {what}"))
                .with_hint("scan again"),
        )
    }
}

fn conflict(message: impl Into<String>) -> Refused {
    Refused::Batch(Error::new(ErrorKind::Conflict, message))
}

impl Group {
    fn commit(self, engine: &Engine) -> Result<(Tree, Counters, Arc<Segments>)> {
        let Self { txn, mut tree, mut counters, segments } = self;
        counters.next_id = engine.ids.load(Ordering::Relaxed);
        tree.seq = counters.seq;
        txn.put_counters(&counters)?;
        testing::pass("commit:before-redb-commit");
        txn.commit()?;
        testing::pass("commit:after-redb-commit");
        Ok((tree, counters, segments))
    }

    /// Applies one batch; `None` when there was nothing to do.
    fn task(&mut self, engine: &Engine, task: Task) -> Result<Option<u64>, Refused> {
        match task {
            Task::AddRoot(record) => self.add_root(engine, *record).map(Some),
            Task::SetRoot(record, operation) => self.set_root(engine, *record, operation).map(Some),
            Task::RemoveRoot(id) => self.remove_root(id).map(Some),
            Task::Scan(batch) => {
                let seq = self.scan(engine, *batch)?;
                self.maintain(engine)?;
                Ok(Some(seq))
            }
            Task::State(ops) => self.state(&ops),
            Task::Maintain => self.maintain(engine),
            #[cfg(feature = "testing")]
            Task::Panic => std::panic::panic_any("a panic asked for by a test"),
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.counters.seq += 1;
        self.counters.seq
    }

    fn add_root(&mut self, engine: &Engine, mut record: RootRecord) -> Result<u64, Refused> {
        if self.tree.root(record.name.as_bytes()).is_some() {
            let error = Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a root `{}` already", escape(record.name.as_bytes())),
            )
            .with_path(&record.name)
            .with_hint("choose another name, or move the root with `root move`");
            return Err(Refused::Batch(error));
        }
        if let Some(other) = self.tree.roots.iter().find(|r| r.record.path == record.path) {
            let error = Error::new(
                ErrorKind::AlreadyExists,
                format!("that directory is the root `{}` already", escape(other.record.name.as_bytes())),
            )
            .with_path(&other.record.name);
            return Err(Refused::Batch(error));
        }
        let seq = self.next_seq();
        record.id = self.counters.next_root;
        self.counters.next_root += 1;
        record.live_node = engine.ids.fetch_add(2, Ordering::Relaxed);
        record.gone_node = record.live_node + 1;
        Arc::<Segments>::make_mut(&mut self.segments).close_open();
        let live =
            self.empty_root(Head { is_unread: true, ..Head::empty(record.live_node, record.live_node) })?;
        let gone = self.empty_root(Head::empty(record.gone_node, 0))?;
        self.put_view(RootView { record: Arc::new(record), live, gone })?;
        Ok(seq)
    }

    fn empty_root(&mut self, head: Head) -> Result<Arc<DirNode>, Refused> {
        let edit = DirEdit { create: true, head: Some(head), ..DirEdit::default() };
        let (node, ops) =
            apply(None, vec![edit], self.counters.seq, Arc::<Segments>::make_mut(&mut self.segments))?;
        self.txn.apply(&ops, Arc::<Segments>::make_mut(&mut self.segments))?;
        Ok(node)
    }

    fn put_view(&mut self, view: RootView) -> Result<(), Refused> {
        self.txn.put_root(&view.record)?;
        self.tree.set_root(view);
        Ok(())
    }

    fn view(&self, id: u32) -> Result<Arc<RootView>, Refused> {
        let found = self.tree.root_by_id(id).map(Arc::clone);
        found.ok_or_else(|| conflict("the root was removed meanwhile"))
    }

    fn set_root(
        &mut self,
        engine: &Engine,
        record: RootRecord,
        operation: Option<Box<Operation>>,
    ) -> Result<u64, Refused> {
        let view = self.view(record.id)?;
        let seq = self.next_seq();
        if let Some(operation) = operation {
            self.operation(engine, *operation, seq)?;
        }
        let view = RootView { record: Arc::new(record), ..(*view).clone() };
        self.put_view(view)?;
        Ok(seq)
    }

    fn remove_root(&mut self, id: u32) -> Result<u64, Refused> {
        let view = self.view(id)?;
        let seq = self.next_seq();
        let mut ops = Vec::new();
        let mut entries = Vec::new();
        for node in [&view.live, &view.gone] {
            delete_all(node, &mut ops);
            let mut pending = vec![node];
            while let Some(node) = pending.pop() {
                entries.push(node.head.entry_id);
                for (slot, kid) in node.children() {
                    match kid {
                        Some(kid) => pending.push(kid),
                        None => entries.push(slot.id()),
                    }
                }
            }
        }
        self.txn.apply(&ops, Arc::<Segments>::make_mut(&mut self.segments))?;
        self.txn.delete_attrs(&entries)?;
        self.txn.delete_root(id)?;
        self.tree.roots.retain(|r| r.record.id != id);
        Ok(seq)
    }

    fn scan(&mut self, engine: &Engine, batch: ScanBatch) -> Result<u64, Refused> {
        let current = self.view(batch.record.id)?;
        if !Arc::ptr_eq(&current.live, &batch.base.live) || !Arc::ptr_eq(&current.gone, &batch.base.gone) {
            return Err(conflict("the root changed while it was scanned"));
        }
        let seq = self.counters.seq + 1;
        Arc::<Segments>::make_mut(&mut self.segments).close_open();
        let keep = Arc::clone(&self.segments);
        let edited = (|| {
            let live =
                apply(Some(&current.live), batch.live, seq, Arc::<Segments>::make_mut(&mut self.segments))?;
            let gone =
                apply(Some(&current.gone), batch.gone, seq, Arc::<Segments>::make_mut(&mut self.segments))?;
            Ok::<_, Inconsistent>((live, gone))
        })();
        let ((live, mut ops), (gone, gone_ops)) = edited.inspect_err(|_| self.segments = keep)?;
        self.counters.seq = seq;
        ops.extend(gone_ops);
        self.txn.apply(&ops, Arc::<Segments>::make_mut(&mut self.segments))?;
        self.journal(engine, seq, batch.journal)?;
        self.txn.delete_attrs(&batch.forgotten_ids)?;
        if batch.adds_tombstones && self.counters.oldest_missing_ns == 0 {
            self.counters.oldest_missing_ns = batch.operation.end_ns.max(1);
        }
        self.operation(engine, batch.operation, seq)?;
        self.put_view(RootView { record: Arc::new(batch.record), live, gone })?;
        Ok(seq)
    }

    fn journal(&mut self, engine: &Engine, seq: u64, writer: Writer) -> Result<(), Refused> {
        let rows = writer.finish();
        if !rows.is_empty() {
            self.counters.journal_bytes += self.txn.put_journal(seq, engine.options.clock.now_ns(), &rows)?;
        }
        Ok(())
    }

    fn operation(&mut self, engine: &Engine, mut operation: Operation, seq: u64) -> Result<(), Refused> {
        operation.id = self.counters.next_operation;
        operation.seq = seq;
        self.counters.next_operation += 1;
        self.txn.put_operation(&operation, engine.options.history_keep_max)?;
        Ok(())
    }

    /// Checks every step of a batch first, then writes: all or nothing.
    fn state(&mut self, ops: &[StateOp]) -> Result<Option<u64>, Refused> {
        let mut values: BTreeMap<(String, Vec<u8>), Option<Vec<u8>>> = BTreeMap::new();
        let mut attrs: BTreeMap<u64, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        let mut cursors: BTreeMap<String, u64> = BTreeMap::new();
        for op in ops {
            match op {
                StateOp::Put { space, key, value } => {
                    values.insert((space.clone(), key.clone()), value.clone());
                }
                StateOp::CompareAndSet { space, key, expected, value } => {
                    let at = (space.clone(), key.clone());
                    let now = match values.get(&at) {
                        Some(now) => now.clone(),
                        None => self.txn.space_get(space, key)?,
                    };
                    if now != *expected {
                        let shown = escape(key);
                        return Err(conflict(format!(
                            "`{shown}` in space `{space}` holds another value than expected"
                        )));
                    }
                    values.insert(at, value.clone());
                }
                StateOp::Attr { path, name, value } => {
                    let id = self.entry_id(path)?;
                    if !attrs.contains_key(&id) {
                        attrs.insert(id, self.txn.attrs(id)?);
                    }
                    let Some(row) = attrs.get_mut(&id) else { continue };
                    match value {
                        Some(value) => row.insert(name.clone(), value.clone()),
                        None => row.remove(name),
                    };
                    let bytes: usize = row.iter().map(|(name, value)| name.len() + value.len()).sum();
                    if bytes > ATTRS_BYTES_MAX {
                        return Err(Refused::Batch(
                            Error::new(
                                ErrorKind::TooLarge,
                                format!(
                                    "the attributes of `{}` would take {bytes} bytes; at most 65,536 fit",
                                    escape(path)
                                ),
                            )
                            .with_path(path)
                            .with_hint("keep large values in a space"),
                        ));
                    }
                }
                StateOp::Advance { cursor, seq } => {
                    if *seq > self.counters.seq {
                        return Err(Refused::Batch(Error::invalid(format!(
                            "cursor `{cursor}` cannot be advanced to {seq}: the last commit is {}",
                            self.counters.seq
                        ))));
                    }
                    let now = match cursors.get(cursor) {
                        Some(now) => *now,
                        None => self.txn.cursor(cursor)?.unwrap_or(0),
                    };
                    if *seq < now {
                        return Err(conflict(format!(
                            "cursor `{cursor}` is at {now} already, behind which it cannot go"
                        )));
                    }
                    cursors.insert(cursor.clone(), *seq);
                }
            }
        }
        if ops.is_empty() {
            return Ok(None);
        }
        let seq = self.next_seq();
        let writes: Vec<_> = values.into_iter().map(|((space, key), value)| (space, key, value)).collect();
        self.txn.space_write(&writes)?;
        for (id, row) in &attrs {
            self.txn.put_attrs(*id, row)?;
        }
        for (cursor, seq) in &cursors {
            self.txn.put_cursor(cursor, *seq)?;
        }
        Ok(Some(seq))
    }

    /// The id under an address, there or missing, in the state that this commit builds on.
    fn entry_id(&self, address: &[u8]) -> Result<u64, Refused> {
        let (name, below) = path::split_root(address.strip_suffix(b"/").unwrap_or(address));
        let find = |node: &Arc<DirNode>| {
            if below.is_empty() {
                return Some(node.head.entry_id);
            }
            let (dir, last) = path::split_last(below);
            let (page, index) = node.descend(dir)?.find(last)?;
            let slot = page.view().slot(index);
            Some(
                page.kid(index)
                    .filter(|_| slot.kind() == crate::entry::Kind::Dir)
                    .map_or(slot.id(), |k| k.head.entry_id),
            )
        };
        let root = self.tree.root(name);
        let id = root.and_then(|r| find(&r.live).or_else(|| find(&r.gone)));
        id.filter(|&id| id != 0).ok_or_else(|| {
            Refused::Batch(
                Error::new(ErrorKind::NotFound, format!("there is no entry `{}`", escape(address)))
                    .with_path(address),
            )
        })
    }

    /// Retention: expired tombstones are forgotten, old journal rows dropped. Answers `None` when
    /// nothing was due.
    fn maintain(&mut self, engine: &Engine) -> Result<Option<u64>, Refused> {
        let options = &engine.options;
        let now = options.clock.now_ns();
        let before = |keep_ms: u64| {
            now.saturating_sub(i64::try_from(keep_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000))
        };
        let cutoff = before(options.tombstone_keep_ms);
        let mut forgotten = 0;
        let mut wrote = false;
        if self.counters.oldest_missing_ns != 0 && self.counters.oldest_missing_ns < cutoff {
            forgotten = self.forget_expired(engine, cutoff, now)?;
            wrote = true;
        }
        let journal_cutoff = before(options.journal_keep_ms);
        wrote |= self.txn.trim_journal(&mut self.counters, journal_cutoff, options.journal_keep_bytes_max)?;
        Ok(wrote.then_some(forgotten))
    }

    fn forget_expired(&mut self, engine: &Engine, cutoff: i64, now: i64) -> Result<u64, Refused> {
        let mut forgotten = 0;
        let mut oldest_left: Option<i64> = None;
        for view in self.tree.roots.clone() {
            let (expired, edits, oldest) = expire(&view.gone, cutoff);
            oldest_left = [oldest_left, oldest].into_iter().flatten().min();
            if expired.is_empty() && edits.is_empty() {
                continue;
            }
            let seq = self.next_seq();
            Arc::<Segments>::make_mut(&mut self.segments).close_open();
            let (gone, ops) =
                apply(Some(&view.gone), edits, seq, Arc::<Segments>::make_mut(&mut self.segments))?;
            self.txn.apply(&ops, Arc::<Segments>::make_mut(&mut self.segments))?;
            let ids: Vec<u64> = expired.iter().map(|e| e.id).collect();
            self.txn.delete_attrs(&ids)?;
            let mut writer = Writer::default();
            let mut counts = Counts::default();
            for entry in expired {
                counts.forgotten += u64::from(entry.kind.is_counted());
                // A path that lives again has been told about: forgetting its past is no news.
                let (dir, name) = path::split_last(&entry.path);
                if view.live.descend(dir).is_none_or(|node| node.find(name).is_none()) {
                    let draft = Draft {
                        kind: ChangeKind::Forgotten,
                        entry_kind: entry.kind,
                        path: entry.path,
                        from: None,
                        id: entry.id,
                    };
                    writer.push_draft(&view.record.name, &draft);
                }
            }
            forgotten += counts.forgotten;
            self.journal(engine, seq, writer)?;
            let operation = Operation {
                id: 0,
                kind: OperationKind::Manual,
                root: view.record.name.clone(),
                start_ns: now,
                end_ns: now,
                seq,
                counts,
                status: OperationStatus::Ok,
                error: None,
            };
            self.operation(engine, operation, seq)?;
            self.tree.set_root(RootView { gone, ..(*view).clone() });
        }
        self.counters.oldest_missing_ns = oldest_left.unwrap_or(0);
        Ok(forgotten)
    }
}

/// True when the record says anything else than before, besides when it was looked at last.
pub(crate) fn record_differs(old: &RootRecord, new: &RootRecord) -> bool {
    RootRecord { last_scan_ns: 0, ..old.clone() } != RootRecord { last_scan_ns: 0, ..new.clone() }
}
