//! The long way: what went missing is paired with what is new, content decides where fingerprints
//! cannot, tombstones come back to life.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rayon::ThreadPool;

use crate::entry::{Identity, Kind, Stat};
use crate::error::ErrorKind;
use crate::path;
use crate::scan::content::{self, Job, Outcome};
use crate::scan::context::{Context, Found};
use crate::scan::moves::{self, Pair, Side};
use crate::snapshot::{DirNode, Head, Record, RootView, SEQ_OF_PAGE, Slot};

use super::{Dir, Item, Lost, Planned, Unplanned, What, is_dir, unpack, write};

pub(super) struct Resolver<'a> {
    pub(super) view: &'a RootView,
    pub(super) context: &'a Context,
    pub(super) dirs: Vec<Dir>,
    pub(super) lost: Vec<Lost>,
    /// Tombstones that are back, with their kind and id.
    pub(super) revived: Vec<(Vec<u8>, Kind, u64)>,
    pub(super) unchanged: i64,
    /// New directories by path.
    new_dirs: HashMap<Vec<u8>, usize>,
}

pub(super) fn plan(
    view: &RootView,
    context: &Context,
    found: Vec<Found>,
    pool: &ThreadPool,
    now_ns: i64,
) -> Result<Planned, Unplanned> {
    let found = proven(context, found);
    let mut replaced = Vec::new();
    let dirs = found.into_iter().map(|f| unpack(f, &mut replaced)).collect();
    let mut resolver = Resolver {
        view,
        context,
        dirs,
        lost: Vec::new(),
        revived: Vec::new(),
        unchanged: 0,
        new_dirs: HashMap::new(),
    };
    resolver.collect_lost(&replaced);
    resolver.index_new_dirs();
    let mut adds = resolver.adds();
    if !context.is_look {
        resolver.drop_seen_twice(&mut adds);
        resolver.collect_moved_behind(&mut adds);
    }
    resolver.pair_moves(&adds);
    resolver.revive(&adds);
    resolver.read_content(pool)?;
    resolver.pair_by_content(&adds);
    Ok(write::plan(resolver, now_ns))
}

/// Leaves out every directory that took the place of another one of which something remains unknown:
/// a part that could not be read, or a file system that was mounted below. What stood there keeps its
/// last state, for nobody can say what of it is gone (rule R4 in ARCHITECTURE.md).
fn proven(context: &Context, found: Vec<Found>) -> Vec<Found> {
    let blind = context.tally.blind();
    let is_blind = |at: &[u8]| {
        let from = blind.partition_point(|b| path::compare(b, at).is_lt());
        blind.get(from).is_some_and(|b| path::is_within(b, at))
    };
    let mut doubtful: Vec<Vec<u8>> = Vec::new();
    for dir in &found {
        let Some(node) = &dir.replaced else { continue };
        let lost_mount = !context.accept_missing && holds_mount(node);
        if lost_mount {
            let why = "it is another directory now, and a file system was mounted below the old one";
            context.tally.refuse("trust", &dir.path, ErrorKind::Unavailable, why);
        }
        if lost_mount || is_blind(&dir.path) {
            doubtful.push(dir.path.clone());
        }
    }
    if doubtful.is_empty() {
        return found;
    }
    // Both in path order: a doubtful directory is followed by all that was found below it.
    let within = |at: &[u8]| {
        let after = doubtful.partition_point(|d| path::compare(d, at).is_le());
        doubtful.get(..after).unwrap_or_default().iter().rev().any(|d| path::is_within(at, d))
    };
    found.into_iter().filter(|dir| !within(&dir.path)).collect()
}

/// True when a file system is mounted somewhere below a directory.
pub(super) fn holds_mount(node: &Arc<DirNode>) -> bool {
    let mut pending = vec![node];
    while let Some(node) = pending.pop() {
        for kid in node.pages.iter().flat_map(|page| page.kids.iter()) {
            if kid.head.is_mount {
                return true;
            }
            pending.push(kid);
        }
    }
    false
}

impl Resolver<'_> {
    /// Every entry that is no longer where it was: lost names with all that lay below them, and
    /// directories that gave way to another one of the same name.
    fn collect_lost(&mut self, replaced: &[(Vec<u8>, Arc<DirNode>)]) {
        let mut lost = Vec::new();
        let context = self.context;
        for dir in self.dirs.iter_mut().filter(|dir| !dir.lost.is_empty()) {
            let Some(node) = self.view.live.descend(&dir.path) else { continue };
            let path = &dir.path;
            dir.lost.retain(|name| {
                let Some((page, index)) = node.find(name) else { return true };
                let at = path::join(path, name);
                if !context.accept_missing && page.kid(index).is_some_and(holds_mount) {
                    let why = "it is gone, and a file system was mounted below it; what is known is kept";
                    context.tally.refuse("trust", &at, ErrorKind::Unavailable, why);
                    return false;
                }
                flatten(at, page.view().slot(index), page.kid(index), &mut lost);
                true
            });
        }
        let mut places: HashMap<Vec<u8>, usize> =
            self.dirs.iter().enumerate().map(|(i, dir)| (dir.path.clone(), i)).collect();
        for (at, node) in replaced {
            let (parent, name) = path::split_last(at);
            let slot = self.view.live.descend(parent).and_then(|p| p.find(name));
            if let Some((page, index)) = slot {
                flatten(at.clone(), page.view().slot(index), Some(node), &mut lost);
            }
            let head = places.get(at).and_then(|&i| self.dirs.get(i)).and_then(|dir| dir.head);
            let id = head.map_or(0, |head| head.node);
            let stub = Item { record: Record::stub(name, id), what: What::Added, old_hash: None };
            let place = *places.entry(parent.to_vec()).or_insert_with(|| {
                self.dirs.push(Dir::unchanged(parent.to_vec()));
                self.dirs.len() - 1
            });
            if let Some(dir) = self.dirs.get_mut(place) {
                dir.items.push(stub);
            }
        }
        self.lost = lost;
    }

    pub(super) fn index_new_dirs(&mut self) {
        let new = self.dirs.iter().enumerate().filter(|(_, dir)| dir.is_new);
        self.new_dirs = new.map(|(i, dir)| (dir.path.clone(), i)).collect();
    }

    /// Every entry that was not known under its path, in path order.
    fn adds(&self) -> Vec<(usize, usize)> {
        let mut adds = Vec::new();
        for (d, dir) in self.dirs.iter().enumerate() {
            for (i, item) in dir.items.iter().enumerate() {
                if item.what == What::Added {
                    adds.push((d, i));
                }
            }
        }
        adds
    }

    pub(super) fn path_of(&self, (d, i): (usize, usize)) -> Vec<u8> {
        let dir = self.dirs.get(d);
        let name = dir.and_then(|dir| dir.items.get(i)).map_or(&[][..], |item| &item.record.name);
        path::join(dir.map_or(&[], |dir| &dir.path), name)
    }

    pub(super) fn item(&mut self, (d, i): (usize, usize)) -> Option<&mut Item> {
        self.dirs.get_mut(d)?.items.get_mut(i)
    }

    /// The facts of a new entry; those of a directory lie in its own head.
    pub(super) fn stat_of(&self, at: (usize, usize), path: &[u8]) -> Option<Stat> {
        let item = self.dirs.get(at.0)?.items.get(at.1)?;
        if !is_dir(&item.record) {
            return Some(item.record.stat);
        }
        let dir = self.dirs.get(*self.new_dirs.get(path)?)?;
        dir.head.map(|head| head.stat)
    }

    fn trusts_identity(&self) -> bool {
        self.context.compare.trusts_inode() && !self.context.adopt
    }

    pub(super) fn identity(&self, stat: &Stat) -> Option<Identity> {
        (self.trusts_identity() && stat.inode != 0).then(|| stat.identity())
    }

    fn pair_moves(&mut self, adds: &[(usize, usize)]) {
        if self.lost.is_empty() {
            return;
        }
        let paths: Vec<Vec<u8>> = adds.iter().map(|&at| self.path_of(at)).collect();
        let gone: Vec<Side<'_>> = self
            .lost
            .iter()
            .map(|lost| {
                let stat = lost.head.map_or(lost.record.stat, |head| head.stat);
                Side { path: &lost.path, kind: lost.record.stat.kind, identity: self.identity(&stat) }
            })
            .collect();
        let added: Vec<Side<'_>> = adds
            .iter()
            .zip(&paths)
            .map(|(&at, path)| {
                let stat = self.stat_of(at, path);
                let kind = self
                    .dirs
                    .get(at.0)
                    .and_then(|d| d.items.get(at.1))
                    .map_or(Kind::File, |i| i.record.stat.kind);
                Side { path, kind, identity: stat.and_then(|s| self.identity(&s)) }
            })
            .collect();
        let pairs = moves::pair(&gone, &added);
        for ((&at, path), pair) in adds.iter().zip(&paths).zip(pairs) {
            if let Some(pair) = pair {
                self.apply_pair(at, path, pair);
            }
        }
    }

    fn apply_pair(&mut self, at: (usize, usize), path: &[u8], pair: Pair) {
        let (Pair::Same(index) | Pair::Moved(index) | Pair::InPlace(index)) = pair;
        let Some(lost) = self.lost.get_mut(index) else { return };
        lost.used = true;
        let (record, from, old_seq) = (lost.record.clone(), lost.path.clone(), lost.head.map(|h| h.seq));
        if is_dir(&record) {
            let moved = matches!(pair, Pair::Moved(_));
            let what = if moved { What::Moved { from, modified: false } } else { What::Silent };
            let seq = if moved { SEQ_OF_PAGE } else { old_seq.unwrap_or(SEQ_OF_PAGE) };
            self.give_dir_id(at, path, (record.id, seq), what);
            return;
        }
        let compare = self.context.compare;
        let Some(item) = self.item(at) else { return };
        let same_content = (record.stat.size, record.stat.mtime_ns)
            == (item.record.stat.size, item.record.stat.mtime_ns)
            && record.target == item.record.target
            && !record.racy;
        let what = match pair {
            Pair::Same(_)
                if !record.racy
                    && compare.same(&record.stat.fingerprint(), &item.record.stat.fingerprint()) =>
            {
                item.record.seq = record.seq;
                What::Silent
            }
            Pair::Same(_) | Pair::InPlace(_) => What::Modified,
            Pair::Moved(_) => What::Moved { from, modified: !same_content },
        };
        item.old_hash = record.hash;
        // A rename changes the ctime, and so does an edit that puts the mtime back: the hash goes
        // along only where the ctime says that nothing happened, as below a moved directory.
        let untouched = same_content && record.stat.ctime_ns == item.record.stat.ctime_ns;
        if what == What::Silent || (untouched && matches!(what, What::Moved { .. })) {
            item.record.hash = record.hash;
        }
        item.record.id = record.id;
        self.unchanged += i64::from(what == What::Silent);
        if let Some(item) = self.item(at) {
            item.what = what;
        }
    }

    /// A directory gets the id that it has always had: in its entry, and in its own head.
    fn give_dir_id(&mut self, at: (usize, usize), path: &[u8], (id, seq): (u64, u64), what: What) {
        if let Some(item) = self.item(at) {
            item.record.id = id;
            item.what = what;
        }
        let dir = self.new_dirs.get(path).and_then(|&d| self.dirs.get_mut(d));
        if let Some(head) = dir.and_then(|dir| dir.head.as_mut()) {
            *head = Head { node: id, entry_id: id, seq, ..*head };
        }
    }

    /// New entries that are tombstones come back to life: under the same path, or elsewhere.
    fn revive(&mut self, adds: &[(usize, usize)]) {
        if self.view.gone.pages.len() == 0 {
            return;
        }
        let mut used: HashSet<Vec<u8>> = HashSet::new();
        let mut homeless = Vec::new();
        for &at in adds {
            if self.item(at).is_none_or(|item| item.what != What::Added) {
                continue;
            }
            let path = self.path_of(at);
            let Some(stat) = self.stat_of(at, &path) else { continue };
            match tombstone_at(&self.view.gone, &path) {
                Some(record) if self.is_same_file(&record.stat, &stat) => {
                    used.insert(path.clone());
                    self.revived.push((path.clone(), record.stat.kind, record.id));
                    self.take_over(at, &path, &record, None);
                }
                _ => homeless.extend(self.identity(&stat).map(|identity| (identity, at, path))),
            }
        }
        if homeless.is_empty() {
            return;
        }
        let wanted = homeless.iter().map(|(identity, ..)| *identity).collect();
        let mut found = tombstones_of(&self.view.gone, &wanted, &used);
        for (identity, at, path) in homeless {
            if let Some((from, record)) = found.remove(&identity) {
                self.revived.push((from.clone(), record.stat.kind, record.id));
                self.take_over(at, &path, &record, Some(from));
            }
        }
    }

    /// The same file returns: the same inode, or, after a copy from elsewhere, size and time.
    fn is_same_file(&self, old: &Stat, new: &Stat) -> bool {
        if old.kind != new.kind {
            return false;
        }
        let same_identity = self.identity(old).is_some() && self.identity(old) == self.identity(new);
        same_identity || old.kind == Kind::Dir || (old.size, old.mtime_ns) == (new.size, new.mtime_ns)
    }

    fn take_over(&mut self, at: (usize, usize), path: &[u8], old: &Record, from: Option<Vec<u8>>) {
        if is_dir(old) {
            let what =
                from.map_or(What::Restored { modified: false }, |from| What::Moved { from, modified: false });
            self.give_dir_id(at, path, (old.id, SEQ_OF_PAGE), what);
            return;
        }
        let Some(item) = self.item(at) else { return };
        let stat = item.record.stat;
        let modified = old.racy
            || (old.stat.size, old.stat.mtime_ns) != (stat.size, stat.mtime_ns)
            || old.target != item.record.target;
        item.record.id = old.id;
        item.old_hash = old.hash;
        if !modified && old.stat.ctime_ns == stat.ctime_ns {
            item.record.hash = old.hash;
        }
        item.what = from.map_or(What::Restored { modified }, |from| What::Moved { from, modified });
    }

    /// Stage B: reads what only content can decide.
    fn read_content(&mut self, pool: &ThreadPool) -> Result<(), Unplanned> {
        if !self.context.keeps_hashes {
            return Ok(());
        }
        let mut jobs = Vec::new();
        for (d, dir) in self.dirs.iter().enumerate() {
            for (i, item) in dir.items.iter().enumerate() {
                let unread = item.record.hash.is_none() || item.what == What::Recheck;
                if item.record.stat.kind == Kind::File && unread {
                    let path = path::join(&dir.path, &item.record.name);
                    jobs.push(Job { path, key: (d, i), size: item.record.stat.size });
                }
            }
        }
        let outcomes =
            content::hash_all(pool, &self.context.root_fd, &jobs, &self.context.clock, &self.context.tally);
        if self.context.tally.is_cancelled() {
            return Err(Unplanned::Cancelled);
        }
        for (job, outcome) in jobs.iter().zip(outcomes) {
            self.judge_content(job, outcome);
        }
        Ok(())
    }

    fn judge_content(&mut self, job: &Job, outcome: Outcome) {
        let context = self.context;
        let known = self.view.live.descend(path::split_last(&job.path).0);
        let known = known.and_then(|node| node.find(path::split_last(&job.path).1));
        let known = known.map(|(page, index)| page.view().slot(index));
        let Some(item) = self.item(job.key) else { return };
        let before = item.record.stat;
        let (recheck, was_silent) = (item.what == What::Recheck, item.what == What::Silent);
        let outcome = match outcome {
            // Another file has taken its name since it was looked at: the next look says which.
            Outcome::Hashed(_, stat, _) | Outcome::Unstable(stat)
                if context.compare.trusts_inode() && stat.inode != before.inode =>
            {
                Outcome::Gone
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Hashed(hash, stat, looked_ns) => {
                item.record.stat = stat;
                item.record.hash = Some(hash);
                // What was written within the tick in which it was read may have been written after that, too.
                item.record.racy = context.is_racy(&stat, looked_ns);
                let same = item.old_hash == Some(hash);
                if recheck {
                    let was_racy = known.as_ref().is_some_and(Slot::is_racy);
                    let settled = stat == before && item.record.racy == was_racy;
                    item.what = match item.old_hash {
                        None if stat == before => What::Silent,
                        None => What::Modified,
                        Some(_) if same && settled => What::Dropped,
                        Some(_) if same => What::Silent,
                        Some(_) if was_racy || stat != before => What::Modified,
                        Some(_) => {
                            context.tally.corrupt.fetch_add(1, Ordering::Relaxed);
                            let why =
                                "its content changed although nothing wrote to it; restore it from a backup";
                            context.tally.refuse("trust", &job.path, ErrorKind::Corrupt, why);
                            What::Dropped
                        }
                    };
                } else if item.old_hash.is_some() {
                    // Content decides: a touch is taken up silently, a hidden edit is told.
                    item.what = match std::mem::replace(&mut item.what, What::Silent) {
                        What::Modified if same => What::Silent,
                        What::Moved { from, .. } => What::Moved { from, modified: !same },
                        What::Restored { .. } => What::Restored { modified: !same },
                        other => other,
                    };
                } else if stat != before {
                    // It changed after it was compared.
                    item.what = match std::mem::replace(&mut item.what, What::Silent) {
                        What::Silent => What::Modified,
                        What::Moved { from, .. } => What::Moved { from, modified: true },
                        What::Restored { .. } => What::Restored { modified: true },
                        other => other,
                    };
                }
            }
            Outcome::Unstable(stat) => {
                item.record.stat = stat;
                item.record.hash = None;
                item.record.racy = true;
                if recheck {
                    item.what = What::Modified;
                }
            }
            Outcome::Failed | Outcome::Gone if recheck => item.what = What::Dropped,
            Outcome::Failed => item.record.hash = None,
            Outcome::Gone => (item.record.hash, item.record.racy) = (None, true),
        }
        let silent = item.what == What::Silent;
        if silent && let Some(slot) = &known {
            item.record.seq = slot.seq();
        }
        if item.what == What::Modified {
            item.record.seq = SEQ_OF_PAGE;
        }
        if recheck && item.what == What::Modified {
            self.unchanged -= 1;
        } else if !recheck {
            self.unchanged += i64::from(silent) - i64::from(was_silent);
        }
    }

    /// Moves across file systems: the same content and size, when there is exactly one candidate on
    /// either side.
    fn pair_by_content(&mut self, adds: &[(usize, usize)]) {
        if !self.context.keeps_hashes {
            return;
        }
        let mut sources: HashMap<(u128, u64), Vec<usize>> = HashMap::new();
        for (i, lost) in self.lost.iter().enumerate().filter(|(_, lost)| !lost.used) {
            if let Some(hash) = lost.record.hash.filter(|_| lost.record.stat.size > 0) {
                sources.entry((hash, lost.record.stat.size)).or_default().push(i);
            }
        }
        let mut targets: HashMap<(u128, u64), Vec<(usize, usize)>> = HashMap::new();
        for &at in adds {
            let Some(item) = self.item(at).filter(|item| item.what == What::Added) else { continue };
            if let Some(hash) = item.record.hash.filter(|_| item.record.stat.size > 0) {
                targets.entry((hash, item.record.stat.size)).or_default().push(at);
            }
        }
        for (key, from) in sources {
            if let ([source], Some([target])) = (from.as_slice(), targets.get(&key).map(Vec::as_slice)) {
                let Some(lost) = self.lost.get_mut(*source) else { continue };
                lost.used = true;
                let (id, from) = (lost.record.id, lost.path.clone());
                if let Some(item) = self.item(*target) {
                    item.record.id = id;
                    item.what = What::Moved { from, modified: false };
                }
            }
        }
    }
}

/// An entry with everything below it.
pub(super) fn flatten(at: Vec<u8>, slot: Slot<'_>, kid: Option<&Arc<DirNode>>, out: &mut Vec<Lost>) {
    let mut pending = vec![(at, slot, kid)];
    while let Some((at, slot, kid)) = pending.pop() {
        for (slot, below) in kid.into_iter().flat_map(|node| node.children()) {
            pending.push((path::join(&at, slot.name()), slot, below));
        }
        out.push(Lost { path: at, record: slot.to_record(), head: kid.map(|node| node.head), used: false });
    }
}

/// The tombstone under a path.
fn tombstone_at(gone: &Arc<DirNode>, at: &[u8]) -> Option<Record> {
    let (dir, name) = path::split_last(at);
    let (page, index) = gone.descend(dir)?.find(name)?;
    let slot = page.view().slot(index);
    match page.kid(index).filter(|_| slot.kind() == Kind::Dir) {
        Some(kid) => tombstone_of(&slot, kid),
        None => Some(slot.to_record()),
    }
}

/// A directory among the tombstones; one that merely holds others together is none.
fn tombstone_of(slot: &Slot<'_>, kid: &DirNode) -> Option<Record> {
    kid.head.missing_since_ns?;
    Some(Record { stat: kid.head.stat, id: kid.head.entry_id, ..slot.to_record() })
}

/// The first tombstone of each identity that is wanted, with its path. Looks at all of them, and
/// unpacks none but those.
fn tombstones_of(
    gone: &Arc<DirNode>,
    wanted: &HashSet<Identity>,
    used: &HashSet<Vec<u8>>,
) -> HashMap<Identity, (Vec<u8>, Record)> {
    let mut found = HashMap::new();
    let mut pending = vec![gone];
    while let Some(node) = pending.pop() {
        for (slot, kid) in node.children() {
            pending.extend(kid);
            let stat = kid.map_or_else(|| slot.stat(), |kid| kid.head.stat);
            if !wanted.contains(&stat.identity()) || found.contains_key(&stat.identity()) {
                continue;
            }
            let record = kid.map_or_else(|| Some(slot.to_record()), |kid| tombstone_of(&slot, kid));
            let path = path::join(&node.trail.path(b"", b""), slot.name());
            if let Some(record) = record.filter(|_| !used.contains(&path)) {
                found.insert(stat.identity(), (path, record));
            }
        }
    }
    found
}
