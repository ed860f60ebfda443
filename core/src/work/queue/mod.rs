//! What is still to be done in one pipeline, derived and never stored: the snapshot joined with the
//! records once, then kept in step by the difference of each new snapshot to the last one. It reads records
//! and writes nothing; whoever changes something writes first and tells the queue then.
//!
//! Invariants: each item that is not simply indexed is in `items`, with the verdict of [`judge`] when it
//! was looked at last; what is handed out is judged once more. A heap may name an item that has moved on.

mod hand_out;
mod item;
mod run;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::journal::ChangeKind;
use crate::path::split_root;
use crate::root_record::RootState;
use crate::snapshot::{EntryRef, Filter, Snapshot};
use crate::store::{Rows, WorkTable};

use super::group::Group;
use super::lifecycle::{Facts, NEVER_NS, Policy, Priority, WorkState, judge};
use super::options::{Matcher, PipelineOptions};
use super::record::{Digest, ItemKey, Record, Request, Version, damaged};

pub(super) use hand_out::{Asked, Below, Claimed, Handed, Terms};
pub(super) use item::{Handle, Held, Item, Place, Tally};
pub(super) use run::{Finished, Run};

/// Classes of priority.
const CLASSES: usize = 5;
/// Set in the handles of groups; ids of entries never come that far.
const GROUPS_FROM: Handle = 1 << 63;

type Later = BinaryHeap<Reverse<(i64, Handle)>>;
type Ready = [BinaryHeap<Reverse<(u64, Handle)>>; CLASSES];

/// One group of files that are one item.
struct Members {
    handle: Handle,
    digest: Digest,
    /// When one of them changed last.
    touched_ns: i64,
    order: u64,
    /// Where each of them lies, and the version by which it counts.
    files: HashMap<u64, (Place, Version)>,
}

/// What is known of an item besides its record.
struct Known {
    place: Place,
    facts: Option<Facts>,
    order: u64,
}

/// Where an entry belongs.
enum Belongs {
    /// To another pipeline, or to none.
    Elsewhere,
    Alone,
    To(Arc<[u8]>),
}

pub(super) struct Queue {
    pub(super) id: u32,
    pub(super) options: Arc<PipelineOptions>,
    policy: Policy,
    matcher: Matcher,
    /// Up to here everything is in.
    snapshot: Snapshot,
    /// A tree: a table of hashes grows by doubling, and half of it lies idle.
    items: BTreeMap<Handle, Item>,
    ready: Ready,
    /// When to look at an item again: it becomes due, or its lease runs out.
    later: Later,
    /// Where stale items wait for a run.
    run: Option<Run>,
    pub(super) tally: Tally,
    groups: HashMap<Arc<[u8]>, Members>,
    group_names: HashMap<Handle, Arc<[u8]>>,
    /// Names of roots that items lie in.
    root_names: Vec<String>,
    /// Where an item lies that is indexed under a path that its record does not name.
    moved: HashMap<Handle, Place>,
    /// Leases that ran out, and that nobody was told of yet: claim and token.
    lapsed: Vec<(u64, u64)>,
    /// The last claim that a record names.
    pub(super) newest_claim: u64,
    /// Rows of items that are gone, which can go.
    orphans: Vec<(WorkTable, ItemKey)>,
    /// No record is of an entry with a greater id.
    newest_record: u64,
    /// Roots of which nobody can say what is gone: items without a trace in them are left out.
    unproven: HashSet<Vec<u8>>,
}

impl Queue {
    /// An empty queue over a snapshot; [`Queue::load`] fills it.
    pub(super) fn new(id: u32, options: Arc<PipelineOptions>, snapshot: Snapshot) -> Result<Self> {
        Ok(Self {
            id,
            policy: options.policy(),
            matcher: options.matcher()?,
            options,
            snapshot,
            items: BTreeMap::new(),
            ready: Ready::default(),
            later: Later::new(),
            run: None,
            tally: Tally::default(),
            groups: HashMap::new(),
            group_names: HashMap::new(),
            root_names: Vec::new(),
            moved: HashMap::new(),
            lapsed: Vec::new(),
            newest_claim: 0,
            orphans: Vec::new(),
            newest_record: 0,
            unproven: HashSet::new(),
        })
    }

    /// Joins the snapshot with what is stored. Leases are not read: those of other sessions are void, and
    /// those of this one are handed over with [`Queue::hold`].
    pub(super) fn load(&mut self, rows: &Rows, now_ns: i64) -> Result<()> {
        let mut requests: HashMap<ItemKey, Priority> = HashMap::new();
        rows.work_each(WorkTable::Requests, self.id, |key, row| {
            let (_, key) = ItemKey::decode(key).map_err(damaged)?;
            requests.insert(key, Request::decode(row).map_err(damaged)?.priority);
            Ok(())
        })?;
        let snapshot = self.snapshot.clone();
        // Records come in the order of ids: entries are brought into that order, too.
        let mut ours: Vec<(u64, EntryRef<'_>)> = Vec::new();
        let mut not_ours: Vec<u64> = Vec::new();
        for entry in snapshot.select(&Filter::new()) {
            match self.belongs(&entry) {
                Belongs::Elsewhere => not_ours.push(entry.id()),
                Belongs::To(group) => {
                    not_ours.push(entry.id());
                    self.join(&group, &entry, now_ns);
                }
                Belongs::Alone => ours.push((entry.id(), entry)),
            }
        }
        ours.sort_unstable_by_key(|(id, _)| *id);
        not_ours.sort_unstable();
        self.tally.present += ours.len() as u64;
        let mut ours = ours.into_iter().peekable();
        let mut of_groups: HashMap<ItemKey, Record> = HashMap::new();
        let mut gone: HashMap<u64, Record> = HashMap::new();
        rows.work_each(WorkTable::Records, self.id, |key, row| {
            let (_, key) = ItemKey::decode(key).map_err(damaged)?;
            let record = Record::decode(row).map_err(damaged)?;
            self.newest_claim = self.newest_claim.max(record.claim);
            let ItemKey::Entry(id) = key else {
                of_groups.insert(key, record);
                return Ok(());
            };
            self.note_record(&key);
            while let Some((_, entry)) = ours.next_if(|(other, _)| *other < id) {
                self.load_entry(&entry, None, &mut requests, now_ns);
            }
            if let Some((_, entry)) = ours.next_if(|(other, _)| *other == id) {
                self.load_entry(&entry, Some(&record), &mut requests, now_ns);
            } else if not_ours.binary_search(&id).is_err() {
                gone.insert(id, record);
            }
            Ok(())
        })?;
        for (_, entry) in ours {
            self.load_entry(&entry, None, &mut requests, now_ns);
        }
        self.load_gone(gone, &mut requests, now_ns);
        self.load_groups(&mut of_groups, &mut requests, now_ns);
        self.ready.iter_mut().for_each(BinaryHeap::shrink_to_fit);
        self.later.shrink_to_fit();
        Ok(())
    }

    fn load_entry(
        &mut self,
        entry: &EntryRef<'_>,
        record: Option<&Record>,
        requests: &mut HashMap<ItemKey, Priority>,
        now_ns: i64,
    ) {
        let id = entry.id();
        let known = self.known(entry, now_ns);
        if record.is_some_and(|record| record.refresh_at_ns() != 0 && record.path != entry.path()) {
            self.moved.insert(id, known.place.clone());
        }
        let request = if requests.is_empty() { None } else { requests.remove(&ItemKey::Entry(id)) };
        self.place(id, known, record, request, now_ns);
    }

    /// Items without an entry, where their tombstones say that they were last. Without a tombstone the root
    /// must have been scanned: a damaged file may have lost the entry.
    fn load_gone(
        &mut self,
        mut gone: HashMap<u64, Record>,
        requests: &mut HashMap<ItemKey, Priority>,
        now_ns: i64,
    ) {
        let snapshot = self.snapshot.clone();
        let mut place = |id: u64, address: Vec<u8>, record: &Record| {
            let known = Known { place: Place::Address(address.into()), facts: None, order: id };
            self.place(id, known, Some(record), requests.remove(&ItemKey::Entry(id)), now_ns);
        };
        if !gone.is_empty() {
            for tombstone in snapshot.select(&Filter::new().missing()) {
                if let Some(record) = gone.remove(&tombstone.id()) {
                    place(tombstone.id(), tombstone.path(), &record);
                }
            }
        }
        let (mut forgotten, mut unproven) = (Vec::new(), HashSet::new());
        for (id, record) in gone {
            let root = split_root(&record.path).0;
            match record.done {
                Some(_) if !is_proven(&snapshot, root) => unproven.extend([root.to_vec()]),
                Some(_) => place(id, record.path.clone(), &record),
                // Nobody has heard of it, nothing was made of it, and no file is ever given that number again.
                None => forgotten.push((WorkTable::Records, ItemKey::Entry(id))),
            }
        }
        self.orphans.extend(forgotten);
        self.unproven = unproven;
    }

    /// True when something that was left out can be judged by now: the queue must be loaded anew.
    pub(super) fn can_tell_more(&self, newer: &Snapshot) -> bool {
        self.unproven.iter().any(|root| is_proven(newer, root))
    }

    fn load_groups(
        &mut self,
        records: &mut HashMap<ItemKey, Record>,
        requests: &mut HashMap<ItemKey, Priority>,
        now_ns: i64,
    ) {
        if self.options.group == Group::None {
            return;
        }
        let mut names: HashSet<Arc<[u8]>> = self.groups.keys().map(Arc::clone).collect();
        for key in records.keys().chain(requests.keys()) {
            if let ItemKey::Group(group) = key {
                names.insert(Arc::from(&**group));
            }
        }
        for group in names {
            let key = ItemKey::Group((*group).into());
            let (record, request) = (records.remove(&key), requests.remove(&key));
            let (handle, known) = self.known_group(&group);
            let root = split_root(&group).0;
            if known.facts.is_none() && !is_proven(&self.snapshot, root) {
                self.unproven.insert(root.to_vec());
                continue;
            }
            self.place(handle, known, record.as_ref(), request, now_ns);
        }
    }

    /// Lets stale items wait for runs. Comes before [`Queue::load`].
    pub(super) fn set_run(&mut self, run: Option<Run>) {
        self.run = run;
    }

    /// The run of a queue that is given up.
    pub(super) fn take_run(&mut self) -> Option<Run> {
        self.run.take().map(Run::emptied)
    }

    /// Runs that have come to their end since the last time.
    pub(super) fn finished_runs(&mut self) -> Vec<Finished> {
        self.run.as_mut().map(Run::take_finished).unwrap_or_default()
    }

    /// The names of roots by which places are kept, for the queue that comes after this one. Comes before
    /// [`Queue::load`].
    pub(super) fn keep_names_of(&mut self, before: &Self) {
        self.root_names.clone_from(&before.root_names);
    }

    /// Rows that nothing is left of.
    pub(super) fn take_orphans(&mut self) -> Vec<(WorkTable, ItemKey)> {
        std::mem::take(&mut self.orphans)
    }

    /// They are still there.
    pub(super) fn put_back_orphans(&mut self, orphans: Vec<(WorkTable, ItemKey)>) {
        self.orphans.extend(orphans);
    }

    /// Takes the leases in force out of a queue that is given up.
    pub(super) fn take_held(&mut self) -> Vec<(Handle, Item)> {
        let held: Vec<Handle> =
            self.items.iter().filter(|(_, item)| item.held.is_some()).map(|(handle, _)| *handle).collect();
        held.into_iter().filter_map(|handle| Some((handle, self.take(handle)?))).collect()
    }

    /// Takes over a lease in force from another queue of this pipeline.
    pub(super) fn hold(&mut self, handle: Handle, before: Item) {
        let Some(mut held) = before.held else { return };
        // By other options it may be another matter.
        held.seen_seq = u64::MAX;
        if let Place::Group(group) = &before.place {
            // So that it is known again by its number.
            self.members(group);
        }
        let mut item = match self.take(handle) {
            Some(item) => item,
            None => Item { place: before.place, ..Item::unseen(before.since_ns) },
        };
        self.later.push(Reverse((held.expires_ns, handle)));
        item.queued = None;
        item.held = Some(held);
        self.put(handle, item);
    }

    /// Takes up what has changed since the last time. After an error the queue must be loaded anew.
    pub(super) fn catch_up(&mut self, newer: &Snapshot, rows: &Rows, now_ns: i64) -> Result<()> {
        let older = std::mem::replace(&mut self.snapshot, newer.clone());
        let mut touched: HashSet<Arc<[u8]>> = HashSet::new();
        for change in newer.diff(&older) {
            let path_before = change.from.as_deref().unwrap_or(&change.path);
            let was_there = change.kind != ChangeKind::Added;
            let before = was_there.then(|| older.get(path_before)).flatten();
            let before = before.filter(|entry| entry.id() == change.id && entry.kind().is_counted());
            let is_there = change.kind != ChangeKind::Missing;
            let after = is_there.then(|| newer.get(&change.path)).flatten();
            let after = after.filter(|entry| entry.kind().is_counted());
            self.change(change.id, (before.as_ref(), after.as_ref()), &mut touched, rows, now_ns)?;
        }
        for group in touched {
            let (handle, known) = self.known_group(&group);
            let record = self.record(rows, &ItemKey::Group((*group).into()))?;
            self.place(handle, known, record.as_ref(), None, now_ns);
        }
        Ok(())
    }

    /// True when the queue knows this snapshot, or a later one.
    pub(super) fn knows(&self, snapshot: &Snapshot) -> bool {
        self.snapshot.seq() >= snapshot.seq()
    }

    fn change(
        &mut self,
        id: u64,
        (before, after): (Option<&EntryRef<'_>>, Option<&EntryRef<'_>>),
        touched: &mut HashSet<Arc<[u8]>>,
        rows: &Rows,
        now_ns: i64,
    ) -> Result<()> {
        let was = before.map_or(Belongs::Elsewhere, |entry| self.belongs(entry));
        let is = after.map_or(Belongs::Elsewhere, |entry| self.belongs(entry));
        if let (Belongs::To(group), Some(entry)) = (&was, before) {
            self.part(group, entry);
            touched.insert(Arc::clone(group));
        }
        if let (Belongs::To(group), Some(entry)) = (&is, after) {
            self.join(group, entry, now_ns);
            touched.insert(Arc::clone(group));
        }
        let (was_alone, is_alone) = (matches!(was, Belongs::Alone), matches!(is, Belongs::Alone));
        self.tally.present = (self.tally.present + u64::from(is_alone)).saturating_sub(u64::from(was_alone));
        if !was_alone && !is_alone {
            return Ok(());
        }
        let record = self.record(rows, &ItemKey::Entry(id))?;
        let known = match (after, before) {
            (Some(entry), _) if is_alone => {
                let known = self.known(entry, now_ns);
                if record.as_ref().is_some_and(|record| record.refresh_at_ns() != 0) {
                    self.moved.insert(id, known.place.clone());
                }
                known
            }
            // It is there, and not ours any more: its record stays, should it come back.
            (Some(_), _) => {
                // Whoever works on it ends in peace.
                if self.items.get(&id).is_none_or(|item| item.held.is_none()) {
                    self.take(id);
                }
                self.moved.remove(&id);
                return Ok(());
            }
            (None, Some(entry)) => {
                Known { place: Place::Address(entry.path().into()), facts: None, order: entry.seq() }
            }
            (None, None) => return Ok(()),
        };
        self.place(id, known, record.as_ref(), None, now_ns);
        Ok(())
    }

    fn belongs(&self, entry: &EntryRef<'_>) -> Belongs {
        let root = entry.root();
        if !self.options.has_root(root) {
            return Belongs::Elsewhere;
        }
        let is_plain = self.options.group == Group::None;
        if is_plain && self.options.globs.is_empty() {
            return Belongs::Alone;
        }
        let relative = entry.relative_path();
        if !self.matcher.matches(&relative) {
            return Belongs::Elsewhere;
        }
        if is_plain {
            return Belongs::Alone;
        }
        match self.options.group.key(root, &relative) {
            Ok(Some(key)) => Belongs::To(key.into()),
            Ok(None) => Belongs::Elsewhere,
            Err(error) => {
                tracing::warn!(%error, "a file has no group and is left out");
                Belongs::Elsewhere
            }
        }
    }

    fn known(&mut self, entry: &EntryRef<'_>, now_ns: i64) -> Known {
        let still_since_ns = entry.touched_ns(now_ns);
        let facts = Some(Facts { version: self.version_of(entry), still_since_ns });
        Known { place: self.place_of(entry), facts, order: entry.seq() }
    }

    fn place_of(&mut self, entry: &EntryRef<'_>) -> Place {
        let name = entry.root();
        let known = self.root_names.iter().position(|root| root == name);
        let root = known.unwrap_or_else(|| {
            self.root_names.push(name.to_owned());
            self.root_names.len() - 1
        });
        let root = u32::try_from(root).unwrap_or(u32::MAX);
        Place::Entry { root, dir: Arc::clone(entry.trail()), name: entry.name().into() }
    }

    fn members(&mut self, group: &Arc<[u8]>) -> &mut Members {
        let names = &mut self.group_names;
        self.groups.entry(Arc::clone(group)).or_insert_with(|| {
            // The same in every queue of the pipeline. One in 10^12 for two of a million groups.
            let handle = GROUPS_FROM | crate::hash::digest(group);
            names.insert(handle, Arc::clone(group));
            Members { handle, digest: Digest::default(), touched_ns: 0, order: 0, files: HashMap::new() }
        })
    }

    fn known_group(&mut self, group: &Arc<[u8]>) -> (Handle, Known) {
        let members = self.members(group);
        let version = members.digest.version();
        let facts = Facts { version, still_since_ns: members.touched_ns };
        let facts = (members.digest.count() > 0).then_some(facts);
        let known = Known { place: Place::Group(Arc::clone(group)), facts, order: members.order };
        (members.handle, known)
    }

    /// What is to be done about an entry as it is now.
    fn version_of(&self, entry: &EntryRef<'_>) -> Version {
        let version = Version::of(entry);
        if self.options.paths_matter { version.under(&entry.path()) } else { version }
    }

    fn join(&mut self, group: &Arc<[u8]>, entry: &EntryRef<'_>, now_ns: i64) {
        let place = self.place_of(entry);
        let version = self.version_of(entry);
        let members = self.members(group);
        let is_first = members.digest.count() == 0;
        if let Some((_, before)) = members.files.remove(&entry.id()) {
            members.digest.remove(entry.id(), &before);
        }
        members.digest.add(entry.id(), &version);
        members.touched_ns = members.touched_ns.max(entry.touched_ns(now_ns));
        members.order = members.order.max(entry.seq());
        members.files.insert(entry.id(), (place, version));
        self.tally.present += u64::from(is_first);
    }

    fn part(&mut self, group: &Arc<[u8]>, entry: &EntryRef<'_>) {
        let members = self.members(group);
        // By the version that it was added with: a hash may have come since.
        let Some((_, version)) = members.files.remove(&entry.id()) else { return };
        members.digest.remove(entry.id(), &version);
        let was_last = members.digest.count() == 0;
        self.tally.present = self.tally.present.saturating_sub(u64::from(was_last));
    }

    fn note_record(&mut self, key: &ItemKey) {
        if let ItemKey::Entry(id) = key {
            self.newest_record = self.newest_record.max(*id);
        }
    }

    /// The record of an item. What has come since the last record was written has none.
    fn record(&self, rows: &Rows, key: &ItemKey) -> Result<Option<Record>> {
        if matches!(key, ItemKey::Entry(id) if *id > self.newest_record) {
            return Ok(None);
        }
        let row = rows.work_get(WorkTable::Records, &key.encode(self.id))?;
        row.map(|row| Record::decode(&row).map_err(damaged)).transpose()
    }

    /// Puts an item where it belongs now. `request` comes on top of what was asked for before.
    fn place(
        &mut self,
        handle: Handle,
        known: Known,
        record: Option<&Record>,
        request: Option<Priority>,
        now_ns: i64,
    ) {
        let before = self.take(handle).unwrap_or_else(|| Item::unseen(now_ns));
        let judged = judge(known.facts.as_ref(), record, self.policy, now_ns);
        // Who works on what is gone learns so at the end.
        let Some(verdict) = judged.or_else(|| before.held.is_some().then(Item::gone)) else {
            self.moved.remove(&handle);
            if before.request.or(request).is_some() {
                self.orphans.push((WorkTable::Requests, self.key_of(handle)));
            }
            return;
        };
        let request = before.request.into_iter().chain(request).min();
        let Known { place, facts, order } = known;
        let mut item = {
            let queued = before.queued.filter(|_| before.order == order);
            Item { place, is_there: facts.is_some(), verdict, order, request, queued, ..before }
        };
        if item.held.is_none() {
            if item.request.is_none() && verdict.state == WorkState::Indexed {
                if verdict.due_ns != NEVER_NS {
                    self.later.push(Reverse((verdict.due_ns, handle)));
                }
                return;
            }
            self.enqueue(handle, &mut item, now_ns);
        }
        self.put(handle, item);
    }

    fn take(&mut self, handle: Handle) -> Option<Item> {
        let item = self.items.remove(&handle)?;
        self.tally.count(&item, -1);
        Some(item)
    }

    fn put(&mut self, handle: Handle, item: Item) {
        self.tally.count(&item, 1);
        self.items.insert(handle, item);
    }

    /// Names the item in the heap in which it is looked for.
    fn enqueue(&mut self, handle: Handle, item: &mut Item, now_ns: i64) {
        let Some((priority, due_ns)) = item.wanted(now_ns) else {
            item.queued = None;
            return;
        };
        if due_ns > now_ns {
            item.queued = None;
            self.later.push(Reverse((due_ns, handle)));
            return;
        }
        if let Some(run) = &mut self.run
            && item.verdict.state == WorkState::Stale
            && item.request.is_none()
        {
            item.queued = None;
            run.wait(item.order, handle);
            return;
        }
        if item.queued == Some(priority) {
            return;
        }
        if item.queued.is_none() {
            item.since_ns = now_ns;
        }
        item.queued = Some(priority);
        if let Some(heap) = self.ready.get_mut(usize::from(priority.code())) {
            heap.push(Reverse((item.order, handle)));
        }
    }
}

/// True when what is not in a root is gone from it; also of a root that was removed.
fn is_proven(snapshot: &Snapshot, root: &[u8]) -> bool {
    snapshot.root_view(root).is_none_or(|view| view.record.state == RootState::Ready)
}
