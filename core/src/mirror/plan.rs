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
    pub(super) copy_of: Option<Arc<str>>,
}

impl Wish {
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
    /// Names that the storage cannot hold.
    pub(super) refused: Vec<MirrorError>,
    /// Files that have not been still for long enough, by their addresses, and the first time at which one has.
    pub(super) unsettled: Vec<Vec<u8>>,
    pub(super) settled_at_ns: i64,
}

impl Plan {
    pub(super) fn upload_bytes(&self) -> u64 {
        self.wishes.iter().filter(|wish| wish.copy_of.is_none()).map(|wish| wish.fingerprint.size).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wishes.is_empty() && self.deletes.is_empty()
    }
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
    /// Every sure object was of this very state of its entry at that seq.
    pub(super) known_seq: Option<u64>,
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
            if let Some(entry) = self.snapshot.get(address).filter(|entry| entry.kind() == Kind::File) {
                self.file(address, &entry, &mut plan);
            } else if let Some(Ok(key)) = self.scope.key(address, self.storage)
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
        if known.is_some_and(|(_, object)| is_current(object, entry, &version)) {
            return;
        }
        let still_at_ns = entry.touched_ns(self.now_ns).saturating_add(self.scope.settle_ns);
        if still_at_ns > self.now_ns {
            let first = plan.unsettled.is_empty() || still_at_ns < plan.settled_at_ns;
            plan.settled_at_ns = if first { still_at_ns } else { plan.settled_at_ns };
            plan.unsettled.push(address.to_vec());
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
            copy_of: None,
        });
    }

    /// Deletes an object that no file wants.
    fn object(&self, key: &Arc<str>, plan: &mut Plan) {
        if !self.is_wanted(key) {
            plan.deletes.push(Arc::clone(key));
        }
    }

    /// True when there is a file that has this key.
    pub(super) fn is_wanted(&self, key: &str) -> bool {
        let Some(address) = self.scope.address_of(key) else { return false };
        self.scope.below(&address).is_some()
            && self.snapshot.get(&address).is_some_and(|entry| entry.kind() == Kind::File)
    }

    /// Finds the objects that can be copied: of the same entry with the same content, and about to be deleted.
    fn pair(&self, mut plan: Plan) -> Plan {
        if !self.storage.capabilities().copy || plan.wishes.is_empty() {
            return plan;
        }
        let mut gone: HashMap<u64, (&Arc<str>, &Object)> = HashMap::new();
        for key in &plan.deletes {
            if let Some(object) = self.objects.get(key).filter(|object| object.sure) {
                gone.insert(object.entry, (key, object));
            }
        }
        if gone.is_empty() {
            return plan;
        }
        let same: Vec<(usize, Arc<str>, bool, u64)> = plan
            .wishes
            .iter()
            .enumerate()
            .filter_map(|(at, wish)| {
                let (key, object) = gone.get(&wish.entry)?;
                let hashed = object.version.hash.is_some() && wish.version.hash.is_some();
                // A copy keeps the type that its source was given.
                let typed = self.scope.options.type_of(key) == self.scope.options.type_of(&wish.key);
                (typed && object.version.same(&wish.version))
                    .then(|| (at, Arc::clone(key), hashed, object.seq))
            })
            .collect();
        // Without hashes an edit under the old size and time, before the move, is in the journal alone.
        let since = same.iter().filter(|(_, _, hashed, _)| !hashed).map(|(_, _, _, seq)| *seq).min();
        let edited = since.and_then(|oldest| (self.edited)(self.known_seq.unwrap_or(oldest)));
        for (at, key, hashed, _) in same {
            if let Some(wish) = plan.wishes.get_mut(at)
                && (hashed || edited.as_ref().is_some_and(|edited| !edited.contains(&wish.entry)))
            {
                wish.copy_of = Some(key);
            }
        }
        plan
    }
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

/// What is to be looked at again, and since when, in nanoseconds since 1970 UTC.
pub(super) type Left = BTreeMap<Vec<u8>, i64>;
