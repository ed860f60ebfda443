//! From a snapshot and what is known of the remote copy to what is to be done. Pure: nothing is sent, nothing is
//! written.
//!
//! A path is looked at when it may differ: all of them the first time, and then those that differ between two
//! snapshots and those that were left over. What is to be done about it follows from two things alone: the file
//! that should be there, and the object that is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use globset::{Candidate, GlobSet};

use crate::entry::{Compare, Fingerprint, Kind};
use crate::path::{self, escape};
use crate::snapshot::{EntryRef, Filter, Snapshot};
use crate::sys::as_path;
use crate::work::Version;

use super::key::KeyMap;
use super::options::MirrorOptions;
use super::outbox::{Object, Objects};
use super::report::MirrorError;
use super::storage::Storage;

/// A file that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) key: Arc<str>,
    /// Relative to the root.
    pub(super) path: Vec<u8>,
    pub(super) fingerprint: Fingerprint,
    pub(super) compare: Compare,
    pub(super) entry: u64,
    pub(super) seq: u64,
    pub(super) version: Version,
    /// An object that has the same content under another key, and that nobody wants any more.
    pub(super) source: Option<Arc<str>>,
    /// It is copied from there, and not sent.
    pub(super) is_copy: bool,
}

impl Wish {
    /// The object that is copied to it.
    pub(super) fn copy_of(&self) -> Option<&Arc<str>> {
        self.source.as_ref().filter(|_| self.is_copy)
    }

    /// What is known once it is acknowledged, or, not `sure`, before it is sent over what was there `before`.
    pub(super) fn object(
        &self,
        sure: bool,
        etag: Option<String>,
        before: Option<&Object>,
        at_ns: i64,
    ) -> Object {
        Object {
            sure,
            listed: sure || before.is_some_and(|before| before.listed),
            // What was begun before, and never heard of again, may have been seen.
            owed: !sure && before.is_some_and(|before| before.owed || !before.sure),
            entry: self.entry,
            seq: self.seq,
            version: self.version,
            size: self.fingerprint.size,
            etag: etag.map(String::into_boxed_str),
            generation: before.map_or(0, |before| before.generation) + u64::from(sure),
            at_ns,
        }
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) wishes: Vec<Wish>,
    pub(super) deletes: Vec<Arc<str>>,
    /// Objects that go once their files have been sent under other names.
    pub(super) kept: Vec<Arc<str>>,
    /// Objects that stay: their files have names now that the storage cannot hold.
    pub(super) stays: Vec<Arc<str>>,
    /// Objects of this very content whose entry is another one now. Nothing is sent for them.
    pub(super) renewed: Vec<(Arc<str>, Object)>,
    /// Names that the storage cannot hold.
    pub(super) refused: Vec<MirrorError>,
    /// Files that have not been still for long enough, by their addresses, and the first time at which one has.
    pub(super) unsettled: Vec<Vec<u8>>,
    pub(super) settled_at_ns: i64,
    /// Entries that are to be sent, and not now.
    later: HashSet<u64>,
    /// Entries that cannot be sent under the names that they have.
    nameless: HashSet<u64>,
}

impl Plan {
    pub(super) fn upload_bytes(&self) -> u64 {
        self.wishes.iter().filter(|wish| !wish.is_copy).map(|wish| wish.fingerprint.size).sum()
    }

    /// Weighs what goes, now or once its files are sent under other names; what stays is none of it. Up to `free` are
    /// not looked at closely.
    pub(super) fn losses(&self, objects: &Objects, free: u64) -> Losses {
        let moved: HashSet<&Arc<str>> = self.wishes.iter().filter_map(|wish| wish.source.as_ref()).collect();
        let gone: HashMap<&Arc<str>, &Object> = self
            .deletes
            .iter()
            .chain(&self.kept)
            .filter_map(|key| Some((key, &**objects.get(key)?)))
            .collect();
        let mut twins: HashSet<u64> = HashSet::new();
        if gone.len() > moved.len() && gone.len() as u64 > free {
            // An earlier run may have copied them and not come to the end of their deletion.
            let versions: HashMap<u64, Version> =
                gone.values().map(|object| (object.entry, object.version)).collect();
            let is_copy = |object: &Object| {
                object.sure
                    && versions.get(&object.entry).is_some_and(|version| version.same(&object.version))
            };
            let others = objects.iter().filter(|(key, object)| is_copy(object) && !gone.contains_key(key));
            twins.extend(others.map(|(_, object)| object.entry));
        }
        let is_twin = |object: &Object| twins.contains(&object.entry);
        let is_loss = |(key, object): &(&&Arc<str>, &&Object)| {
            !moved.contains(**key) && !is_twin(object) && !object.was_never()
        };
        let is_doubled = |object: &&&Object| is_twin(object) && !object.was_never();
        Losses {
            lost: gone.iter().filter(is_loss).count() as u64,
            doubled: gone.values().filter(is_doubled).count() as u64,
            never: gone.values().filter(|object| object.was_never()).count() as u64,
        }
    }

    /// Leaves the wishes out that `is_refused` says the storage will not take. Their files keep the objects that they
    /// had under other names.
    pub(super) fn leave_out(&mut self, objects: &Objects, mut is_refused: impl FnMut(&Wish) -> bool) {
        let before = self.wishes.len();
        let later = &mut self.later;
        self.wishes.retain(|wish| {
            let refused = is_refused(wish);
            if refused {
                later.insert(wish.entry);
            }
            !refused
        });
        if self.wishes.len() < before {
            self.keep(objects);
        }
    }

    /// Takes the objects out of the deletions whose files are sent later, or cannot be.
    fn keep(&mut self, objects: &Objects) {
        if !self.nameless.is_empty() {
            let nameless = &self.nameless;
            let stays =
                |key: &mut Arc<str>| objects.get(key).is_some_and(|object| nameless.contains(&object.entry));
            self.stays.extend(self.deletes.extract_if(.., stays));
        }
        if !self.later.is_empty() {
            let later = &self.later;
            let is_kept =
                |key: &mut Arc<str>| objects.get(key).is_some_and(|object| later.contains(&object.entry));
            self.kept.extend(self.deletes.extract_if(.., is_kept));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wishes.is_empty() && self.deletes.is_empty()
    }
}

/// What deletions would cost.
pub(super) struct Losses {
    /// Objects whose content is there under no other name.
    pub(super) lost: u64,
    /// Objects that are there under another name already.
    pub(super) doubled: u64,
    /// What was announced, and never came to be there.
    pub(super) never: u64,
}

/// Which files have an object, and under which key.
pub(super) struct Scope {
    pub(super) address: Vec<u8>,
    keys: KeyMap,
    globs: Option<GlobSet>,
    settle_ns: i64,
    options: MirrorOptions,
}

impl Scope {
    pub(super) fn new(options: &MirrorOptions) -> crate::error::Result<Self> {
        Ok(Self {
            address: options.address.clone(),
            keys: KeyMap::new(&options.prefix)?,
            globs: options.matcher()?,
            options: options.clone(),
            settle_ns: i64::try_from(options.settle_ms)
                .unwrap_or(i64::MAX / 1_000_000)
                .saturating_mul(1_000_000),
        })
    }

    /// The part of an address below the mirrored one, for files that have objects.
    fn below<'p>(&self, address: &'p [u8]) -> Option<&'p [u8]> {
        let rest = address.strip_prefix(self.address.as_slice())?.strip_prefix(b"/")?;
        let wanted =
            self.globs.as_ref().is_none_or(|globs| globs.is_match_candidate(&Candidate::new(as_path(rest))));
        wanted.then_some(rest)
    }

    pub(super) fn is_below(&self, address: &[u8]) -> bool {
        self.below(address).is_some()
    }

    /// The key of an address.
    pub(super) fn key(&self, address: &[u8], storage: &dyn Storage) -> Option<Result<String, String>> {
        let rest = self.below(address)?;
        let key = self.keys.key(rest);
        Some(key.and_then(|key| match storage.check_key(&key) {
            Ok(()) => Ok(key),
            Err(error) => Err(error.message),
        }))
    }

    /// The key of an address, whatever a storage says of it.
    pub(super) fn plain_key(&self, address: &[u8]) -> Option<String> {
        let rest = address.strip_prefix(self.address.as_slice())?.strip_prefix(b"/")?;
        self.keys.key(rest).ok()
    }

    /// True when there is a file that has this key.
    pub(super) fn is_wanted(&self, key: &str, snapshot: &Snapshot) -> bool {
        let Some(address) = self.address_of(key) else { return false };
        self.is_below(&address) && snapshot.get(&address).is_some_and(|entry| entry.kind() == Kind::File)
    }

    /// The address of a key, whether there is a file or not.
    pub(super) fn address_of(&self, key: &str) -> Option<Vec<u8>> {
        let rest = self.keys.path(key)?;
        Some(path::join(&self.address, &rest))
    }
}

/// What a plan is made from.
pub(super) struct Basis<'a> {
    pub(super) scope: &'a Scope,
    pub(super) snapshot: &'a Snapshot,
    pub(super) objects: &'a Objects,
    pub(super) storage: &'a dyn Storage,
    pub(super) compare: Compare,
    pub(super) now_ns: i64,
    /// Answers the entries whose content may have changed since a seq; `None` when that cannot be told.
    pub(super) edited: &'a dyn Fn(u64) -> Option<HashSet<u64>>,
    /// At this seq a sure object of this address was of the very state of its file.
    pub(super) in_step: &'a dyn Fn(&[u8]) -> Option<u64>,
}

impl Basis<'_> {
    /// Looks at every file and every object.
    pub(super) fn whole(&self) -> Plan {
        let mut plan = Plan::default();
        let filter = Filter::new().under(&self.scope.address).kind(Kind::File);
        for entry in self.snapshot.select(&filter) {
            self.file(&entry.path(), &entry, &mut plan);
        }
        for (key, _) in self.objects {
            self.object(key, &mut plan);
        }
        self.pair(plan)
    }

    /// Looks at these addresses.
    pub(super) fn some<'p>(&self, addresses: impl IntoIterator<Item = &'p Vec<u8>>) -> Plan {
        let mut plan = Plan::default();
        let mut keys = HashSet::new();
        for address in addresses {
            let entry = self.snapshot.get(address).filter(|entry| entry.kind() == Kind::File);
            if let Some(entry) = entry
                && self.scope.is_below(address)
            {
                self.file(address, &entry, &mut plan);
            } else if let Some(key) = self.scope.plain_key(address)
                && let Some((key, _)) = self.objects.get_key_value(key.as_str())
                && keys.insert(Arc::clone(key))
            {
                self.object(key, &mut plan);
            }
        }
        self.pair(plan)
    }

    /// What there is to do about a file that is there.
    fn file(&self, address: &[u8], entry: &EntryRef<'_>, plan: &mut Plan) {
        let key = match self.scope.key(address, self.storage) {
            None => return,
            Some(Ok(key)) => key,
            Some(Err(message)) => {
                let message = format!("`{}` can have no object: {message}", escape(address));
                plan.nameless.insert(entry.id());
                plan.refused.push(MirrorError {
                    path: address.to_vec(),
                    key: None,
                    message,
                    permanent: true,
                });
                return;
            }
        };
        let known = self.objects.get_key_value(key.as_str());
        let version = Version::of(entry);
        if let Some((key, object)) = known
            && is_current(object, entry, &version)
        {
            // Whether an object may go is a question of its entry: a row of one that is no more protects nothing.
            if object.entry != entry.id() {
                let (entry, seq) = (entry.id(), entry.seq());
                plan.renewed.push((Arc::clone(key), Object { entry, seq, version, ..(**object).clone() }));
            }
            return;
        }
        let still_at_ns = entry.touched_ns(self.now_ns).saturating_add(self.scope.settle_ns);
        if still_at_ns > self.now_ns {
            let first = plan.unsettled.is_empty() || still_at_ns < plan.settled_at_ns;
            plan.settled_at_ns = if first { still_at_ns } else { plan.settled_at_ns };
            plan.unsettled.push(address.to_vec());
            plan.later.insert(entry.id());
            return;
        }
        let meta = entry.meta();
        plan.wishes.push(Wish {
            key: known.map_or_else(|| Arc::from(key.as_str()), |(key, _)| Arc::clone(key)),
            path: entry.relative_path(),
            fingerprint: Fingerprint {
                kind: Kind::File,
                size: meta.size,
                mtime_ns: meta.mtime_ns,
                ctime_ns: meta.ctime_ns,
                inode: meta.inode,
            },
            compare: self.compare,
            entry: entry.id(),
            seq: entry.seq(),
            version,
            source: None,
            is_copy: false,
        });
    }

    /// Deletes an object that no file wants.
    fn object(&self, key: &Arc<str>, plan: &mut Plan) {
        if !self.scope.is_wanted(key, self.snapshot) {
            plan.deletes.push(Arc::clone(key));
        }
    }

    /// Finds the objects that moved: of the same entry with the same content, and about to be deleted.
    fn pair(&self, mut plan: Plan) -> Plan {
        plan.keep(self.objects);
        if plan.wishes.is_empty() || plan.deletes.is_empty() {
            return plan;
        }
        let mut gone: HashMap<u64, (&Arc<str>, &Object)> = HashMap::new();
        for key in &plan.deletes {
            if let Some(object) = self.objects.get(key).filter(|object| object.sure) {
                gone.insert(object.entry, (key, object));
            }
        }
        let can_copy = self.storage.capabilities().copy;
        let mut same: Vec<Same> = Vec::new();
        for (at, wish) in plan.wishes.iter().enumerate() {
            let Some((key, object)) = gone.get(&wish.entry) else { continue };
            if object.version.same(&wish.version) {
                let address = self.scope.address_of(key);
                same.push(Same {
                    at,
                    key: Arc::clone(key),
                    is_hashed: object.version.hash.is_some() && wish.version.hash.is_some(),
                    // A copy keeps the type that its source was given.
                    is_typed: self.scope.options.type_of(key) == self.scope.options.type_of(&wish.key),
                    since: address.and_then(|address| (self.in_step)(&address)).unwrap_or(object.seq),
                });
            }
        }
        // Without hashes an edit under the old size and time, before the move, is in the journal alone.
        let since = same.iter().filter(|same| !same.is_hashed).map(|same| same.since).min();
        let edited = since.and_then(|since| (self.edited)(since));
        for same in same {
            if let Some(wish) = plan.wishes.get_mut(same.at)
                && (same.is_hashed || edited.as_ref().is_some_and(|edited| !edited.contains(&wish.entry)))
            {
                wish.is_copy = can_copy && same.is_typed;
                wish.source = Some(same.key);
            }
        }
        plan
    }
}

/// A file that moved, and what may still have its content.
struct Same {
    /// Its place among the wishes.
    at: usize,
    key: Arc<str>,
    is_hashed: bool,
    is_typed: bool,
    /// At this seq the object was of the very state of the file.
    since: u64,
}

/// True when the object is of this very state of the file. Where both have a hash, that decides; where not, any
/// change of the entry makes another one: a file may be edited under its old size and time.
fn is_current(object: &Object, entry: &EntryRef<'_>, version: &Version) -> bool {
    if !object.sure {
        return false;
    }
    match (object.version.hash, version.hash) {
        (Some(a), Some(b)) => a == b && object.size == entry.size(),
        _ => object.entry == entry.id() && object.seq == entry.seq() && object.version.same(version),
    }
}

/// What is to be looked at again, by its address.
pub(super) type Left = BTreeMap<Vec<u8>, LeftSince>;

/// Since when something is to be looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftSince {
    /// Nanoseconds since 1970 UTC.
    pub(super) ns: i64,
    /// The last seq at which it was in step; `None` when it never was.
    pub(super) seq: Option<u64>,
}
