//! Handing out: what is due, in which order, to whom; and what comes back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::error::Result;
use crate::snapshot::Filter;
use crate::store::Rows;
use crate::work::lifecycle::{Facts, Priority, Verdict, WorkState, effective, judge};
use crate::work::record::{Failure, ItemKey, Record, Version};

use super::item::{Handle, Held, Item, Place};
use super::{Belongs, GROUPS_FROM, Known, Queue, Run};

/// An item that has been handed out.
pub(in crate::work) struct Claimed {
    pub(in crate::work) handle: Handle,
    pub(in crate::work) key: ItemKey,
    pub(in crate::work) address: Vec<u8>,
    pub(in crate::work) state: WorkState,
    pub(in crate::work) priority: Priority,
    /// As it is stored, with what is known since: address, leases that ran out.
    pub(in crate::work) record: Record,
    /// Leases ran out since the record was written.
    pub(in crate::work) has_lapsed: bool,
    pub(in crate::work) held: Held,
    /// Version of the pipeline at that time.
    pub(in crate::work) pipeline_version: u32,
    /// Where it was done last, unless something else of ours lies there by now.
    pub(in crate::work) done_path: Option<Vec<u8>>,
}

/// What a claim has come to.
#[derive(Default)]
pub(in crate::work) struct Handed {
    pub(in crate::work) claimed: Vec<Claimed>,
    /// Items that have cost too many workers, with their records from now on.
    pub(in crate::work) buried: Vec<(ItemKey, Record)>,
}

/// On which terms items are handed out.
pub(in crate::work) struct Terms<'a> {
    pub(in crate::work) now_ns: i64,
    pub(in crate::work) lease_ns: i64,
    pub(in crate::work) holder: &'a Arc<str>,
    /// Number of the claim.
    pub(in crate::work) claim: u64,
    pub(in crate::work) next_token: &'a mut dyn FnMut() -> u64,
}

/// An item below an address.
pub(in crate::work) struct Below {
    pub(in crate::work) handle: Handle,
    pub(in crate::work) key: ItemKey,
    pub(in crate::work) address: Vec<u8>,
    /// `Processing` while it is held.
    pub(in crate::work) state: WorkState,
    pub(in crate::work) asked: Asked,
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::work) enum Asked {
    Added,
    Merged,
    Promoted,
    WillRerun,
}

impl Queue {
    /// Takes up to `want` items that are due, best first, and holds them.
    pub(in crate::work) fn claim(
        &mut self,
        want: usize,
        terms: &mut Terms<'_>,
        rows: &Rows,
    ) -> Result<Handed> {
        let now_ns = terms.now_ns;
        self.promote(rows, now_ns)?;
        let want = match self.options.concurrency {
            0 => want as u64,
            most => u64::from(most).saturating_sub(self.tally.leased).min(want as u64),
        };
        let mut handed = Handed::default();
        while (handed.claimed.len() as u64) < want {
            let Some(handle) = self.pop(now_ns) else { break };
            // What is known by now decides.
            let (record, version) = self.look(handle, rows, now_ns)?;
            let Some(mut item) = self.take(handle) else { continue };
            let Some((priority, _)) = item.wanted(now_ns).filter(|(_, due_ns)| *due_ns <= now_ns) else {
                self.put(handle, item);
                continue;
            };
            let mut record = record.unwrap_or_default();
            let has_lapsed = item.lapsed > 0;
            record.crashes = record.crashes.saturating_add(std::mem::take(&mut item.lapsed));
            let address = item.place.address(&self.root_names);
            let done_path = record.done.is_some().then(|| record.path.clone());
            let done_path = done_path.filter(|path| !self.is_taken(path, handle));
            if record.done.is_none() {
                record.path.clone_from(&address);
            }
            let key = self.key_of(handle);
            let crashes_max = self.options.crashes_max;
            if crashes_max > 0 && record.crashes >= crashes_max {
                self.put(handle, item);
                record.failure = Some(self.crashed(version, record.crashes, now_ns));
                // Whatever brings it back to life begins anew.
                record.crashes = 0;
                self.note_record(&key);
                self.place_again(handle, &record, now_ns);
                handed.buried.push((key, record));
                continue;
            }
            if has_lapsed {
                self.note_record(&key);
            }
            let failed_before = record.failure.as_ref().filter(|_| item.verdict.state == WorkState::Error);
            let held = Held {
                token: (terms.next_token)(),
                expires_ns: now_ns.saturating_add(terms.lease_ns),
                version,
                attempt: failed_before.map_or(0, |failure| failure.attempts).saturating_add(1),
                holder: Arc::clone(terms.holder),
                settling: false,
                seen_seq: self.snapshot.seq(),
                claim: terms.claim,
                requested: item.request.is_some(),
                rerun: false,
            };
            item.queued = None;
            item.held = Some(Box::new(held.clone()));
            self.later.push(Reverse((held.expires_ns, handle)));
            let state = item.verdict.state;
            self.put(handle, item);
            let pipeline_version = self.policy.pipeline_version;
            handed.claimed.push(Claimed {
                handle,
                key,
                address,
                state,
                priority,
                record,
                has_lapsed,
                held,
                pipeline_version,
                done_path,
            });
        }
        Ok(handed)
    }

    /// Nobody holds what was handed out with this claim.
    pub(in crate::work) fn unclaim(&mut self, claim: u64) {
        let of_it = |item: &Item| item.held.as_ref().is_some_and(|held| held.claim == claim);
        let held: Vec<Handle> =
            self.items.iter().filter(|(_, item)| of_it(item)).map(|(handle, _)| *handle).collect();
        for handle in held {
            if let Some(mut item) = self.take(handle) {
                item.held = None;
                self.put(handle, item);
            }
        }
    }

    /// True for an item that somebody has asked for.
    pub(in crate::work) fn is_requested(&self, key: &ItemKey) -> bool {
        let handle = match key {
            ItemKey::Entry(id) => Some(*id),
            ItemKey::Group(group) => self.groups.get(&**group).map(|members| members.handle),
        };
        handle.and_then(|handle| self.items.get(&handle)).is_some_and(|item| item.request.is_some())
    }

    /// An item whose workers have ended without an answer again and again.
    fn crashed(&self, version: Option<Version>, crashes: u32, now_ns: i64) -> Failure {
        Failure {
            version,
            pipeline_version: self.policy.pipeline_version,
            attempts: crashes,
            at_ns: now_ns,
            retry_at_ns: now_ns,
            dead: true,
            error: format!("its worker ended {crashes} times without an answer"),
        }
    }

    /// Judges an item by a record that is about to be written; whoever asked for it has got the answer.
    fn place_again(&mut self, handle: Handle, record: &Record, now_ns: i64) {
        if let Some(item) = self.items.get_mut(&handle) {
            item.request = None;
        }
        if let Some(known) = self.known_now(handle, Some(record), now_ns) {
            self.place(handle, known, Some(record), None, now_ns);
        }
    }

    /// When something may be due next, nanoseconds since 1970 UTC.
    pub(in crate::work) fn next_ns(&self) -> Option<i64> {
        let run_ns = self.run.as_ref().and_then(Run::next_ns);
        self.later.peek().map(|Reverse((at, _))| *at).into_iter().chain(run_ns).min()
    }

    /// What has come to its time is due, leases whose time is over are void.
    pub(in crate::work) fn promote(&mut self, rows: &Rows, now_ns: i64) -> Result<()> {
        while let Some(Reverse((at, handle))) = self.later.peek().copied() {
            if at > now_ns {
                break;
            }
            self.later.pop();
            if let Some(item) = self.items.get(&handle) {
                let in_force =
                    item.held.as_ref().is_some_and(|held| held.settling || held.expires_ns > now_ns);
                if in_force || item.queued.is_some() {
                    continue;
                }
                if item.held.is_some()
                    && let Some(mut item) = self.take(handle)
                {
                    if let Some(held) = item.held.take() {
                        self.lapsed.push((held.claim, held.token));
                    }
                    item.lapsed = item.lapsed.saturating_add(1);
                    self.put(handle, item);
                }
            }
            self.look(handle, rows, now_ns)?;
        }
        self.begin_batch(now_ns);
        Ok(())
    }

    /// Stale items whose turn it is in a run are due.
    fn begin_batch(&mut self, now_ns: i64) {
        let Some(mut run) = self.run.take() else { return };
        let waits = |handle: Handle| {
            self.items.get(&handle).is_some_and(|item| {
                item.verdict.state == WorkState::Stale && item.held.is_none() && item.queued.is_none()
            })
        };
        for (order, handle) in run.take(now_ns, waits) {
            if let Some(item) = self.items.get_mut(&handle) {
                item.queued = Some(Priority::Low);
                item.since_ns = now_ns;
                if let Some(heap) = self.ready.get_mut(usize::from(Priority::Low.code())) {
                    heap.push(Reverse((order, handle)));
                }
            }
        }
        self.run = Some(run);
    }

    /// The first item of each class: class, order, handle.
    fn heads(&mut self) -> impl Iterator<Item = (Priority, u64, Handle)> {
        let items = &self.items;
        let head = move |(class, heap): (usize, &mut BinaryHeap<Reverse<(u64, Handle)>>)| {
            // Items that have moved on since they were named here are passed over.
            while let Some(Reverse((order, handle))) = heap.peek().copied() {
                let item = items.get(&handle).filter(|item| item.order == order);
                let queued = item.and_then(|item| item.queued);
                if let Some(priority) = queued.filter(|priority| usize::from(priority.code()) == class) {
                    return Some((priority, order, handle));
                }
                heap.pop();
            }
            None
        };
        self.ready.iter_mut().enumerate().filter_map(head)
    }

    /// The class, ageing included, of the item to hand out next, and since when it has been due;
    /// [`Queue::promote`] comes first.
    pub(in crate::work) fn best(&mut self, now_ns: i64) -> Option<(u8, i64)> {
        if !self.has_due() {
            return None;
        }
        let heads: Vec<_> = self.heads().collect();
        let since_ns = |handle: &Handle| self.items.get(handle).map_or(now_ns, |item| item.since_ns);
        heads.iter().map(|head| (self.rank(head, now_ns).0, since_ns(&head.2))).min()
    }

    /// What comes first is least: class, order, handle.
    fn rank(&self, (priority, order, handle): &(Priority, u64, Handle), now_ns: i64) -> (u8, u64, Handle) {
        let since_ns = self.items.get(handle).map_or(now_ns, |item| item.since_ns);
        (effective(*priority, now_ns.saturating_sub(since_ns)), *order, *handle)
    }

    /// The item to hand out next, taken from its heap.
    fn pop(&mut self, now_ns: i64) -> Option<Handle> {
        let heads: Vec<_> = self.heads().collect();
        let (priority, _, handle) = heads.into_iter().min_by_key(|head| self.rank(head, now_ns))?;
        self.ready.get_mut(usize::from(priority.code()))?.pop();
        if let Some(item) = self.items.get_mut(&handle) {
            item.queued = None;
        }
        Some(handle)
    }

    /// Judges an item anew by what is known of it now; its record and its content.
    fn look(
        &mut self,
        handle: Handle,
        rows: &Rows,
        now_ns: i64,
    ) -> Result<(Option<Record>, Option<Version>)> {
        let key = self.key_of(handle);
        let record = self.record(rows, &key)?;
        let known = self.known_now(handle, record.as_ref(), now_ns);
        let version = known.as_ref().and_then(|known| known.facts).map(|facts| facts.version);
        match known {
            Some(known) => self.place(handle, known, record.as_ref(), None, now_ns),
            None => drop(self.take(handle)),
        }
        Ok((record, version))
    }

    /// What the snapshot knows of an item under an address. `None` for a file that is there and not ours.
    fn known_at(&mut self, handle: Handle, address: &[u8], now_ns: i64) -> Option<Known> {
        if let Some(group) = self.group_names.get(&handle).map(Arc::clone) {
            return Some(self.known_group(&group).1);
        }
        let order = self.items.get(&handle).map_or(handle, |item| item.order);
        let snapshot = self.snapshot.clone();
        match snapshot.get(address).filter(|entry| entry.id() == handle) {
            Some(entry) if matches!(self.belongs(&entry), Belongs::Alone) => Some(self.known(&entry, now_ns)),
            Some(_) => None,
            None => Some(Known { place: Place::Address(address.into()), facts: None, order }),
        }
    }

    /// What the snapshot knows of an item. `None` for one that is not ours, or that nobody has heard of.
    fn known_now(&mut self, handle: Handle, record: Option<&Record>, now_ns: i64) -> Option<Known> {
        let place = self.items.get(&handle).map(|item| &item.place).or_else(|| self.moved.get(&handle));
        let address = match (place, record) {
            (Some(place), _) => place.address(&self.root_names),
            (None, Some(record)) => record.path.clone(),
            (None, None) => self.group_names.get(&handle)?.to_vec(),
        };
        self.known_at(handle, &address, now_ns)
    }

    /// True when another file of ours lies under an address.
    fn is_taken(&self, address: &[u8], handle: Handle) -> bool {
        let entry = self.snapshot.get(address).filter(|entry| entry.kind().is_counted());
        entry.is_some_and(|entry| {
            entry.id() != handle
                && handle < GROUPS_FROM
                && !matches!(self.belongs(&entry), Belongs::Elsewhere)
        })
    }

    pub(super) fn key_of(&self, handle: Handle) -> ItemKey {
        match self.group_names.get(&handle) {
            Some(group) => ItemKey::Group((**group).into()),
            None => ItemKey::Entry(handle),
        }
    }

    /// The lease of an item, if it is this one and nobody is settling it. It does not run out before
    /// [`Queue::settled`] or [`Queue::unsettled`].
    pub(in crate::work) fn settle(&mut self, handle: Handle, token: u64) -> Option<Held> {
        let held = self.items.get_mut(&handle)?.held.as_mut()?;
        if held.token != token || held.settling {
            return None;
        }
        held.settling = true;
        Some((**held).clone())
    }

    /// What came of it was not written: the lease is as before.
    pub(in crate::work) fn unsettled(&mut self, handle: Handle, token: u64) {
        let held = self.items.get_mut(&handle).and_then(|item| item.held.as_mut());
        if let Some(held) = held.filter(|held| held.token == token) {
            held.settling = false;
            self.later.push(Reverse((held.expires_ns, handle)));
        }
    }

    /// The lease runs for longer; false when it has ended.
    pub(in crate::work) fn extend(&mut self, handle: Handle, token: u64, expires_ns: i64) -> bool {
        let held = self.items.get_mut(&handle).and_then(|item| item.held.as_mut());
        let Some(held) = held.filter(|held| held.token == token && !held.settling) else { return false };
        held.expires_ns = expires_ns;
        self.later.push(Reverse((expires_ns, handle)));
        true
    }

    /// Leases that ran out since the last time: claim and token.
    pub(in crate::work) fn take_lapsed(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.lapsed)
    }

    /// The lease has ended, and this is the record now. `is_done`: what was asked for has been done, unless
    /// it was asked for once more since.
    pub(in crate::work) fn settled(
        &mut self,
        handle: Handle,
        record: Option<&Record>,
        is_done: bool,
        now_ns: i64,
    ) {
        let key = self.key_of(handle);
        if record.is_some() {
            self.note_record(&key);
        }
        let mut as_handed_out = None;
        if let Some(mut item) = self.take(handle) {
            let held = item.held.take();
            if is_done && !held.as_ref().is_some_and(|held| held.rerun) {
                item.request = None;
            }
            item.lapsed = 0;
            // Nothing has changed anywhere since: it is as it was.
            let is_same = |held: &Held| held.seen_seq == self.snapshot.seq() && handle < GROUPS_FROM;
            as_handed_out = held.filter(|held| is_same(held)).map(|held| Known {
                place: item.place.clone(),
                facts: held.version.map(|version| Facts { version, still_since_ns: 0 }),
                order: item.order,
            });
            self.put(handle, item);
        }
        let known = as_handed_out.or_else(|| self.known_now(handle, record, now_ns));
        if known.is_none() {
            self.take(handle);
        }
        if let Some(known) = known {
            let wants_refresh = record.is_some_and(|record| record.refresh_at_ns() != 0);
            if wants_refresh
                && record.is_some_and(|record| record.path != known.place.address(&self.root_names))
            {
                self.moved.insert(handle, known.place.clone());
            }
            self.place(handle, known, record, None, now_ns);
        }
    }

    /// The items at or below an address, by address, and what asking for them at `priority` comes to.
    pub(in crate::work) fn below(&mut self, prefix: &[u8], priority: Priority) -> Vec<Below> {
        let asked = |item: Option<&Item>| match item {
            Some(Item { held: Some(_), .. }) => Asked::WillRerun,
            Some(Item { request: Some(now), .. }) if *now <= priority => Asked::Merged,
            Some(Item { queued: Some(now), .. }) if *now <= priority => Asked::Merged,
            Some(item) if item.request.is_some() || item.queued.is_some() => Asked::Promoted,
            _ => Asked::Added,
        };
        let found = self.addresses_below(prefix);
        let below = |(address, handle)| {
            let (item, key) = (self.items.get(&handle), self.key_of(handle));
            Below { handle, key, address, state: self.state_of(handle), asked: asked(item) }
        };
        found.into_iter().map(below).collect()
    }

    /// Every item at or below an address, those that are there and those that are missing, by address.
    fn addresses_below(&mut self, prefix: &[u8]) -> Vec<(Vec<u8>, Handle)> {
        let snapshot = self.snapshot.clone();
        let mut found = Vec::new();
        for entry in snapshot.select(&Filter::new().under(prefix)) {
            match self.belongs(&entry) {
                Belongs::Elsewhere => {}
                Belongs::Alone => found.push((entry.path(), entry.id())),
                Belongs::To(group) => {
                    let handle = self.members(&group).handle;
                    found.push((group.to_vec(), handle));
                }
            }
        }
        let is_below = |address: &[u8]| {
            prefix.is_empty()
                || address.strip_prefix(prefix).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        };
        for (handle, item) in self.items.iter().filter(|(_, item)| !item.is_there) {
            let address = item.place.address(&self.root_names);
            if is_below(&address) {
                found.push((address, *handle));
            }
        }
        found.sort_unstable_by(|a, b| crate::path::compare(&a.0, &b.0).then(a.1.cmp(&b.1)));
        found.dedup();
        found
    }

    /// These were asked for, and that is stored.
    pub(in crate::work) fn requested(
        &mut self,
        asked: &[Below],
        priority: Priority,
        rows: &Rows,
        now_ns: i64,
    ) -> Result<()> {
        // Who waits in that class by itself waits in it without a request, too.
        for Below { handle, key, address, .. } in asked.iter().filter(|item| item.asked != Asked::Merged) {
            let held = self.items.get_mut(handle).and_then(|item| item.held.as_mut());
            if let Some(held) = held {
                held.rerun = true;
                held.requested = true;
            }
            let record = self.record(rows, key)?;
            if let Some(known) = self.known_at(*handle, address, now_ns) {
                self.place(*handle, known, record.as_ref(), Some(priority), now_ns);
            }
        }
        Ok(())
    }

    /// Judges an item anew by its record, which has been changed by somebody who holds no lease.
    pub(in crate::work) fn rejudge(&mut self, below: &Below, record: Option<&Record>, now_ns: i64) {
        if let Some(known) = self.known_at(below.handle, &below.address, now_ns) {
            self.place(below.handle, known, record, None, now_ns);
        }
    }

    /// The state of an item that is known to be one; `Processing` while it is held.
    pub(in crate::work) fn state_of(&self, handle: Handle) -> WorkState {
        match self.items.get(&handle) {
            Some(Item { held: Some(_), .. }) => WorkState::Processing,
            Some(item) => item.verdict.state,
            None => WorkState::Indexed,
        }
    }

    pub(in crate::work) fn item(&self, handle: Handle) -> Option<&Item> {
        self.items.get(&handle)
    }

    /// The item at an address: a file of ours, a group by its key, the group that a file belongs to, or what
    /// was there.
    pub(in crate::work) fn find(&mut self, address: &[u8]) -> Option<(Handle, ItemKey)> {
        let snapshot = self.snapshot.clone();
        let entry = snapshot.get(address).filter(|entry| entry.kind().is_counted());
        let found = match entry.map(|entry| (self.belongs(&entry), entry.id())) {
            Some((Belongs::Alone, id)) => Some(id),
            Some((Belongs::To(group), _)) => Some(self.members(&group).handle),
            _ => self.groups.get(address).map(|members| members.handle),
        };
        let gone = || {
            let is_it = |(_, item): &(&Handle, &Item)| {
                !item.is_there && item.place.address(&self.root_names) == address
            };
            self.items.iter().find(is_it).map(|(handle, _)| *handle)
        };
        let handle = found.or_else(gone)?;
        Some((handle, self.key_of(handle)))
    }

    /// Address, content and verdict of an item by what is known now.
    pub(in crate::work) fn seen(
        &mut self,
        handle: Handle,
        address: &[u8],
        record: Option<&Record>,
        now_ns: i64,
    ) -> Option<(Vec<u8>, Option<Version>, Verdict)> {
        let known = self.known_at(handle, address, now_ns)?;
        let verdict = judge(known.facts.as_ref(), record, self.policy, now_ns)?;
        Some((known.place.address(&self.root_names), known.facts.map(|facts| facts.version), verdict))
    }

    /// Something can be handed out now. [`Queue::promote`] comes first.
    pub(in crate::work) fn has_due(&mut self) -> bool {
        let free = match self.options.concurrency {
            0 => true,
            most => self.tally.leased < u64::from(most),
        };
        free && self.heads().next().is_some()
    }

    /// How long the item that has been due for longest has waited; of the heads of the classes.
    pub(in crate::work) fn oldest_ns(&mut self, now_ns: i64) -> Option<i64> {
        let heads: Vec<Handle> = self.heads().map(|(_, _, handle)| handle).collect();
        let since = |handle: &Handle| self.items.get(handle).map(|item| now_ns.saturating_sub(item.since_ns));
        heads.iter().filter_map(since).max()
    }

    /// The files of a group, by address; of anything else the item itself.
    pub(in crate::work) fn members_of(&self, handle: Handle) -> Option<Vec<Vec<u8>>> {
        let group = self.group_names.get(&handle)?;
        let members = self.groups.get(group)?;
        let mut addresses: Vec<Vec<u8>> =
            members.files.values().map(|(place, _)| place.address(&self.root_names)).collect();
        addresses.sort_unstable_by(|a, b| crate::path::compare(a, b));
        Some(addresses)
    }
}
