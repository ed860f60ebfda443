//! The naive reference of pipelines: plain maps, and every question answered by looking at all of them. It
//! shares no code with the engine; what there is, it learns from the snapshot, which has a model of its own.

use std::collections::{BTreeMap, BTreeSet};

use support::work::{MINUTE_MS, ns};
use support::{ROOT, World, show};
use treewarden::{Group, Job, Pipeline, PipelineOptions, Priority, Refresh, Retry, WorkState};

pub(crate) const BASE_MS: u64 = MINUTE_MS;
pub(crate) const CAP_MS: u64 = 2 * MINUTE_MS + 30_000;
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// Waiting raises a class by one for each of these.
const AGEING_MS: u64 = 10 * MINUTE_MS;

/// One file of an item: number, size, mtime, hash.
type Part = (u64, u64, i64, Option<u128>);
pub(crate) type Parts = BTreeSet<Part>;

/// Equal hashes are equal content; where one lacks a hash, size and mtime decide.
fn same(a: &Parts, b: &Parts) -> bool {
    let hashed = |parts: &Parts| parts.iter().all(|part| part.3.is_some());
    let hashes = |parts: &Parts| -> BTreeSet<_> { parts.iter().map(|part| (part.0, part.3)).collect() };
    let facts =
        |parts: &Parts| -> BTreeSet<_> { parts.iter().map(|part| (part.0, part.1, part.2)).collect() };
    if hashed(a) && hashed(b) { hashes(a) == hashes(b) } else { facts(a) == facts(b) }
}

/// An item: of a file its number, of a group its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    File(u64),
    Group(Vec<u8>),
}

/// What is there under a key.
pub(crate) struct Present {
    pub(crate) address: Vec<u8>,
    pub(crate) files: BTreeSet<Vec<u8>>,
    pub(crate) parts: Parts,
}

#[derive(Default)]
pub(crate) struct Record {
    /// What was done, by which version of the pipeline, and when it is stale; 0 for never.
    pub(crate) done: Option<(Parts, u32, i64)>,
    pub(crate) failure: Option<Failure>,
    pub(crate) not_before_ns: i64,
    pub(crate) attr: Option<Vec<u8>>,
    pub(crate) lease: Option<Lease>,
    pub(crate) is_asked: bool,
    /// It is not known to have been due before.
    pub(crate) waits_since_ns: i64,
    /// Every address it has had.
    pub(crate) addresses: BTreeSet<Vec<u8>>,
}

pub(crate) struct Failure {
    pub(crate) of: Option<Parts>,
    pub(crate) version: u32,
    pub(crate) attempts: u32,
    pub(crate) again_ns: i64,
    pub(crate) is_dead: bool,
}

pub(crate) struct Lease {
    pub(crate) token: u64,
    pub(crate) until_ns: i64,
    pub(crate) of: Option<Parts>,
    pub(crate) version: u32,
    pub(crate) attempt: u32,
    pub(crate) asked_again: bool,
}

/// What the reference says of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: WorkState,
    pub(crate) class: u8,
    pub(crate) due_ns: i64,
    pub(crate) is_dead: bool,
}

pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) is_grouped: bool,
    pub(crate) concurrency: usize,
    pub(crate) lease_ms: u64,
    pub(crate) refresh_ms: u64,
    pub(crate) version: u32,
    pub(crate) present: BTreeMap<Key, Present>,
    pub(crate) records: BTreeMap<Key, Record>,
    pub(crate) pipeline: Option<Pipeline>,
    pub(crate) jobs: Vec<(Key, Job)>,
    pub(crate) tokens: BTreeSet<u64>,
}

impl Side {
    pub(crate) fn options(&self) -> PipelineOptions {
        let retry = Retry { base_ms: BASE_MS, cap_ms: CAP_MS, attempts_max: ATTEMPTS_MAX, jitter: false };
        let options = PipelineOptions::new().settle_ms(0).lease_ms(self.lease_ms).retry(retry).crashes_max(0);
        let options = options.concurrency(u32::try_from(self.concurrency).unwrap()).version(self.version);
        let options = if self.is_grouped { options.group(Group::Depth(1)) } else { options };
        if self.refresh_ms > 0 { options.refresh(Refresh::After(self.refresh_ms)) } else { options }
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        self.pipeline.as_ref().unwrap()
    }

    /// Learns what is there.
    pub(crate) fn look(&mut self, world: &World, now_ns: i64) {
        self.present.clear();
        for entry in world.snapshot().files(ROOT) {
            let path = entry.path();
            let end = path[ROOT.len() + 1..].iter().position(|&b| b == b'/').map(|at| ROOT.len() + 1 + at);
            let group = &path[..end.unwrap_or(path.len())];
            let (key, address) = match self.is_grouped {
                true => (Key::Group(group.to_vec()), group.to_vec()),
                false => (Key::File(entry.id()), path.clone()),
            };
            let fresh = || Record { waits_since_ns: now_ns, ..Record::default() };
            let record = self.records.entry(key.clone()).or_insert_with(fresh);
            record.addresses.insert(address.clone());
            let nothing = || Present { address, files: BTreeSet::new(), parts: Parts::new() };
            let present = self.present.entry(key).or_insert_with(nothing);
            present.files.insert(path);
            present.parts.insert((entry.id(), entry.size(), entry.mtime_ns(), entry.hash()));
        }
    }

    pub(crate) fn judge(&self, key: &Key, now_ns: i64) -> Option<Verdict> {
        let now = self.present.get(key).map(|present| &present.parts);
        let record = &self.records[key];
        let (state, class) = match (now, &record.done) {
            (None, None) => return None,
            (None, Some(_)) => (WorkState::Missing, 2),
            (Some(_), None) => (WorkState::New, 1),
            (Some(now), Some((then, version, _))) if *version != self.version || !same(now, then) => {
                (WorkState::Changed, 2)
            }
            (_, Some((_, _, at))) if *at != 0 && *at <= now_ns => (WorkState::Stale, 3),
            _ => (WorkState::Indexed, 3),
        };
        let mut verdict = Verdict { state, class, due_ns: i64::MIN, is_dead: false };
        if let Some(failure) = &record.failure {
            let is_of_it = match (&failure.of, now) {
                (Some(then), Some(now)) => same(then, now),
                (of, now) => of.is_none() && now.is_none(),
            };
            if is_of_it && failure.version == self.version {
                let due_ns = failure.again_ns;
                verdict = Verdict { state: WorkState::Error, class, due_ns, is_dead: failure.is_dead };
            }
        }
        if record.not_before_ns > 0 {
            verdict.due_ns = verdict.due_ns.max(record.not_before_ns);
        }
        Some(verdict)
    }

    /// The class of an item that is to be handed out now.
    pub(crate) fn due(&self, key: &Key, now_ns: i64) -> Option<u8> {
        let record = &self.records[key];
        let verdict = self.judge(key, now_ns).filter(|_| record.lease.is_none())?;
        let idle = verdict.is_dead || verdict.state == WorkState::Indexed || verdict.due_ns > now_ns;
        if record.is_asked { Some(0) } else { (!idle).then_some(verdict.class) }
    }

    fn all_due(&self, now_ns: i64) -> BTreeMap<Key, u8> {
        let due = |key: &Key| Some((key.clone(), self.due(key, now_ns)?));
        self.records.keys().filter_map(due).collect()
    }

    /// Everything that a list shows.
    pub(crate) fn visible(&self, now_ns: i64) -> Vec<Key> {
        let is_visible = |key: &&Key| self.judge(key, now_ns).is_some() || self.records[*key].lease.is_some();
        self.records.keys().filter(is_visible).cloned().collect()
    }

    /// States, counts and deadness. `is_back`: the clock has been set back, and what was stale when it
    /// was looked at last may still be listed so.
    pub(crate) fn compare(&mut self, now_ns: i64, is_back: bool) {
        for record in self.records.values_mut() {
            if record.lease.as_ref().is_some_and(|lease| lease.until_ns <= now_ns) {
                record.lease = None;
            }
        }
        let status = self.pipeline().status().unwrap();
        let items = self.pipeline().list("", None, usize::MAX).unwrap();
        // Of what is held or asked for, only the next look tells whether it is stale.
        let blur = |state: WorkState, is_blurred: bool| {
            if is_blurred && state == WorkState::Stale { "indexed" } else { state.name() }
        };
        let mut found: Vec<(&[u8], &str, bool)> =
            items.iter().map(|item| (&item.path[..], blur(item.state, is_back), item.dead)).collect();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut gone, mut gone_addresses) = (Vec::new(), BTreeSet::new());
        let (mut dead, mut asked, mut is_blurred) = (0, 0, is_back);
        for key in self.visible(now_ns) {
            let record = &self.records[&key];
            let verdict = self.judge(&key, now_ns);
            let under = verdict.map_or(WorkState::Missing, |verdict| verdict.state);
            let is_dead = verdict.is_some_and(|verdict| verdict.is_dead);
            *counts.entry(under.name()).or_default() += 1;
            *counts.entry("processing").or_default() += u64::from(record.lease.is_some());
            dead += u64::from(is_dead);
            asked += u64::from(record.is_asked);
            is_blurred |= under == WorkState::Stale && (record.is_asked || record.lease.is_some());
            let state = if record.lease.is_some() { WorkState::Processing } else { under };
            let Some(present) = self.present.get(&key) else {
                gone.push((state.name(), is_dead));
                gone_addresses.extend(record.addresses.iter().cloned());
                continue;
            };
            let fits = |(path, state_found, dead): &(&[u8], &str, bool)| {
                let is_state = *state_found == blur(state, is_back)
                    || (record.is_asked && state == WorkState::Stale && *state_found == "indexed");
                *path == present.address && *dead == is_dead && is_state
            };
            let at = found.iter().position(fits).unwrap_or_else(|| {
                panic!("{}: {} should be {state:?}, dead {is_dead}", self.name, show(&present.address))
            });
            found.swap_remove(at);
        }
        // What is gone may be named by any address that it has had.
        assert!(found.iter().all(|(path, ..)| gone_addresses.contains(*path)), "{}: {found:?}", self.name);
        let mut rest: Vec<(&str, bool)> = found.iter().map(|(_, state, dead)| (*state, *dead)).collect();
        rest.sort_unstable();
        gone.sort_unstable();
        assert_eq!(rest, gone, "{}: what is gone", self.name);
        let of = |name: &str| counts.get(name).copied().unwrap_or_default();
        let found = [status.new, status.changed, status.error, status.missing, status.processing];
        let wanted = [of("new"), of("changed"), of("error"), of("missing"), of("processing")];
        assert_eq!((found, status.dead, status.requested), (wanted, dead, asked), "{}", self.name);
        assert_eq!(status.stale + status.indexed, of("stale") + of("indexed"), "{}: {status:?}", self.name);
        assert!(is_blurred || status.stale == of("stale"), "{}: {status:?}", self.name);
        for key in self.records.keys().cloned().collect::<Vec<_>>() {
            let is_due = self.due(&key, now_ns).is_some();
            let record = self.records.get_mut(&key).unwrap();
            record.waits_since_ns = if is_due { record.waits_since_ns.min(now_ns) } else { now_ns };
        }
    }

    /// Claims, and checks that it is allowed to get what it gets. `is_exact`: everything that is due by
    /// the reference must be handed out.
    pub(crate) fn claim(&mut self, most: usize, now_ns: i64, is_exact: bool) {
        let mut due = self.all_due(now_ns);
        let held = self.records.values().filter(|record| record.lease.is_some()).count();
        let free = if self.concurrency == 0 { usize::MAX } else { self.concurrency - held };
        let jobs = self.pipeline().claim(most).unwrap();
        let allowed = most.min(free).min(due.len());
        assert!(jobs.len() <= allowed && (!is_exact || jobs.len() == allowed), "{}: {jobs:?}", self.name);
        let mut order: Vec<(u8, i64)> = Vec::new();
        for job in jobs {
            let is_it = |key: &&Key| match self.present.get(*key) {
                Some(present) => present.address == job.path(),
                None => job.files().is_empty() && self.records[*key].addresses.contains(job.path()),
            };
            let key = due.keys().find(is_it).cloned();
            let key = key.unwrap_or_else(|| panic!("{}: is not due: {job:?}", self.name));
            let class = due.remove(&key).unwrap();
            let verdict = self.judge(&key, now_ns).unwrap();
            let present = self.present.get(&key);
            let files: BTreeSet<Vec<u8>> = job.files().into_iter().collect();
            assert_eq!(files, present.map(|present| present.files.clone()).unwrap_or_default());
            let of = present.map(|present| present.parts.clone());
            let record = self.records.get_mut(&key).unwrap();
            let is_again = verdict.state == WorkState::Error;
            let attempt = 1 + record.failure.as_ref().filter(|_| is_again).map_or(0, |f| f.attempts);
            assert_eq!((job.state(), job.attempt()), (verdict.state, attempt), "{job:?}");
            assert_eq!(job.priority(), Priority::from_code(class).unwrap(), "{job:?}");
            assert_eq!(job.attrs().get("done"), record.attr.as_ref(), "{job:?}");
            let until_ns = now_ns + ns(self.lease_ms);
            assert_eq!(job.expires_ns(), until_ns);
            assert!(self.tokens.insert(job.token()), "a token was given out twice");
            order.push((class, now_ns - record.waits_since_ns));
            let (token, version) = (job.token(), self.version);
            record.lease = Some(Lease { token, until_ns, of, version, attempt, asked_again: false });
            self.jobs.push((key, job));
        }
        // How far waiting may have raised what comes first, against what comes later by its bare class.
        let left = due.values().filter(|_| is_exact).copied().min();
        for (at, (class, waited_ns)) in order.iter().enumerate() {
            let steps = u8::try_from(waited_ns.max(&0) / ns(AGEING_MS)).unwrap_or(u8::MAX);
            let best = class.saturating_sub(steps).max((*class).min(1));
            let behind = order[at..].iter().map(|(class, _)| *class).chain(left).min().unwrap();
            assert!(best <= behind, "{}: class {class} came before {behind}", self.name);
        }
    }

    /// The outcome of a job by the reference: whether its lease is good. `is_answer`: who asked for the
    /// item has heard.
    pub(crate) fn end(&mut self, key: &Key, token: u64, is_answer: bool) -> Option<Lease> {
        let record = self.records.get_mut(key).unwrap();
        let lease = record.lease.take_if(|lease| lease.token == token)?;
        record.is_asked &= !is_answer || lease.asked_again;
        Some(lease)
    }

    pub(crate) fn completed(&mut self, key: &Key, token: u64, attr: Vec<u8>, now_ns: i64) -> bool {
        let Some(lease) = self.end(key, token, true) else { return false };
        let stale_ns = if self.refresh_ms == 0 { 0 } else { now_ns + ns(self.refresh_ms) };
        let record = self.records.get_mut(key).unwrap();
        (record.failure, record.not_before_ns) = (None, 0);
        record.attr = lease.of.is_some().then_some(attr);
        record.done = lease.of.map(|of| (of, lease.version, stale_ns));
        true
    }
}
