//! One group of batches on its way into one transaction: what each kind of batch does to the tree,
//! the journal and the program's own state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::entry::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{ChangeKind, Draft, Writer};
use crate::operation::{Counts, Operation, OperationKind, OperationStatus};
use crate::path::{self, escape};
use crate::root_record::RootRecord;
use crate::snapshot::{DirEdit, DirNode, Head, Inconsistent, RootView, Tree, apply, delete_all, expire};
use crate::store::{Counters, Segments, Txn};
use crate::testing;

use super::{ATTRS_BYTES_MAX, Engine, RootChange, ScanBatch, StateOp, Task, WorkTask, rules_differ};

/// What a group of batches changes before it is durable.
pub(super) struct Group {
    pub(super) txn: Txn,
    pub(super) tree: Tree,
    pub(super) counters: Counters,
    /// Copied when a batch places blocks, so that a failed one leaves no trace.
    pub(super) segments: Arc<Segments>,
    /// What subscribers are told.
    pub(super) told: Counts,
}

/// What a group leaves behind.
type Committed = (Tree, Counters, Arc<Segments>);

/// Why a batch was not applied.
pub(super) enum Refused {
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
        tracing::error!(what = %what, "a scan's plan contradicts the tree");
        Self::Batch(
            Error::new(ErrorKind::Conflict, format!("the scan does not fit the state: {what}"))
                .with_hint("scan again"),
        )
    }
}

fn conflict(message: impl Into<String>) -> Refused {
    Refused::Batch(Error::new(ErrorKind::Conflict, message))
}

fn taken_by(name: &str) -> Error {
    let message = format!("that directory is the root `{}` already", escape(name.as_bytes()));
    Error::new(ErrorKind::AlreadyExists, message).with_path(name)
}

impl Group {
    pub(super) fn commit(self, engine: &Engine) -> Result<(Committed, Counts)> {
        let Self { txn, mut tree, mut counters, segments, told } = self;
        counters.next_id = engine.ids.load(Ordering::Relaxed);
        tree.seq = counters.seq;
        txn.put_counters(&counters)?;
        testing::pass("commit:before-redb-commit");
        txn.commit()?;
        testing::pass("commit:after-redb-commit");
        Ok(((tree, counters, segments), told))
    }

    /// Applies one batch; `None` when there was nothing to do.
    pub(super) fn task(&mut self, engine: &Engine, task: Task) -> Result<Option<u64>, Refused> {
        match task {
            Task::AddRoot(record) => self.add_root(engine, *record).map(Some),
            Task::ChangeRoot(change, operation) => self.change_root(engine, change, operation),
            Task::RemoveRoot(id) => self.remove_root(engine, id).map(Some),
            Task::Scan(batch) => {
                let seq = self.scan(engine, *batch)?;
                match self.maintain(engine) {
                    Ok(_) => {}
                    // The scan stands by itself; retention is tried again with the next one.
                    Err(Refused::Batch(error)) => tracing::error!(%error, "retention was not applied"),
                    Err(lost) => return Err(lost),
                }
                Ok(Some(seq))
            }
            Task::State(ops) => self.state(&ops),
            Task::Work(task) => self.work(engine, task).map(Some),
            Task::Maintain => self.maintain(engine),
            #[cfg(feature = "testing")]
            #[allow(clippy::panic, reason = "a test asked for it")]
            Task::Panic => panic!("a panic asked for by a test"),
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
            return Err(Refused::Batch(taken_by(&other.record.name)));
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

    fn change_root(
        &mut self,
        engine: &Engine,
        RootChange { id, change }: RootChange,
        operation: Option<Box<Operation>>,
    ) -> Result<Option<u64>, Refused> {
        let view = self.view(id)?;
        let mut record = (*view.record).clone();
        change(&mut record);
        if record == *view.record && operation.is_none() {
            return Ok(None);
        }
        let taken = self.tree.roots.iter().find(|r| r.record.id != id && r.record.path == record.path);
        if let Some(other) = taken {
            return Err(Refused::Batch(taken_by(&other.record.name)));
        }
        let seq = self.next_seq();
        if let Some(operation) = operation {
            self.operation(engine, *operation, seq)?;
        }
        self.put_view(RootView { record: Arc::new(record), ..(*view).clone() })?;
        Ok(Some(seq))
    }

    fn remove_root(&mut self, engine: &Engine, id: u32) -> Result<u64, Refused> {
        let view = self.view(id)?;
        let seq = self.next_seq();
        let mut ops = Vec::new();
        let mut entries = Vec::new();
        let mut writer = Writer::default();
        self.told.forgotten += view.live.totals.files;
        for (node, is_live) in [(&view.live, true), (&view.gone, false)] {
            delete_all(node, &mut ops);
            let mut pending = vec![node];
            while let Some(node) = pending.pop() {
                entries.push(node.head.entry_id);
                let dir = node.trail.path(b"", b"");
                for (slot, kid) in node.children() {
                    pending.extend(kid);
                    entries.push(slot.id());
                    if is_live {
                        let change = (ChangeKind::Forgotten, slot.kind(), slot.id());
                        writer.push(&view.record.name, &dir, slot.name(), change, None);
                    }
                }
            }
        }
        self.journal(engine, seq, writer)?;
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
        if rules_differ(&batch.base.record, &current.record) {
            return Err(conflict("the options of the root changed while it was scanned"));
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
        // What a scan says of the root; the rest may have been changed meanwhile.
        let record = RootRecord {
            state: batch.record.state,
            last_scan_ns: batch.record.last_scan_ns,
            rules_digest: batch.record.rules_digest,
            adopt: batch.record.adopt,
            rebuilt: batch.record.rebuilt,
            ..(*current.record).clone()
        };
        self.put_view(RootView { record: Arc::new(record), live, gone })?;
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
        if operation.kind != OperationKind::Refresh {
            self.told.add(&operation.counts);
        }
        self.txn.put_operation(&operation, engine.options.history_keep_max)?;
        Ok(())
    }

    fn work(&mut self, engine: &Engine, task: WorkTask) -> Result<u64, Refused> {
        match task {
            WorkTask::Put { owner, id, row } => {
                let id = id.unwrap_or_else(|| {
                    self.counters.next_pipeline += 1;
                    self.counters.next_pipeline
                });
                self.txn.put_owner(owner, id, &row)?;
                Ok(u64::from(id))
            }
            WorkTask::Delete(owner, id) => {
                self.txn.delete_owner(owner, id)?;
                Ok(0)
            }
            WorkTask::Note(operation) => {
                let seq = self.counters.seq;
                self.operation(engine, *operation, seq)?;
                Ok(0)
            }
            WorkTask::Write(writes) => {
                self.txn.work_write(&writes)?;
                Ok(0)
            }
        }
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
                    if let std::collections::btree_map::Entry::Vacant(e) = attrs.entry(id) {
                        e.insert(self.txn.attrs(id)?);
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
            Some(page.kid(index).filter(|_| slot.kind() == Kind::Dir).map_or(slot.id(), |k| k.head.entry_id))
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
