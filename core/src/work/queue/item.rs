//! One item of a queue, and how many there are of each kind.

use std::sync::Arc;

use crate::snapshot::Trail;
use crate::work::lifecycle::{NEVER_NS, Priority, Verdict, WorkState};
use crate::work::record::Version;

/// Number of an item in a queue: the id of its entry, or one that the queue gave to a group.
pub(in crate::work) type Handle = u64;

/// Where an item is found.
#[derive(Debug, Clone)]
pub(in crate::work) enum Place {
    Entry {
        /// Among the names that the queue has met.
        root: u32,
        dir: Arc<Trail>,
        name: Box<[u8]>,
    },
    /// An address by which it was known last.
    Address(Box<[u8]>),
    Group(Arc<[u8]>),
}

impl Place {
    pub(super) fn address(&self, roots: &[String]) -> Vec<u8> {
        match self {
            Self::Entry { root, dir, name } => {
                dir.path(roots.get(*root as usize).map_or(b"", String::as_bytes), name)
            }
            Self::Address(address) => address.to_vec(),
            Self::Group(key) => key.to_vec(),
        }
    }
}

/// A lease in force.
#[derive(Debug, Clone)]
pub(in crate::work) struct Held {
    pub(in crate::work) token: u64,
    pub(in crate::work) expires_ns: i64,
    /// What was handed out; `None` where it was missing.
    pub(in crate::work) version: Option<Version>,
    pub(in crate::work) attempt: u32,
    pub(in crate::work) holder: Arc<str>,
    /// What came of it is being written: it does not run out meanwhile.
    pub(in crate::work) settling: bool,
    /// The seq of the snapshot by which it was handed out.
    pub(in crate::work) seen_seq: u64,
    /// The claim that it came with.
    pub(in crate::work) claim: u64,
    /// Somebody had asked for it.
    pub(in crate::work) requested: bool,
    /// It was asked for once more after it had been handed out.
    pub(in crate::work) rerun: bool,
}

#[derive(Debug)]
pub(in crate::work) struct Item {
    pub(super) place: Place,
    /// It is there.
    pub(super) is_there: bool,
    pub(in crate::work) verdict: Verdict,
    /// What came first is handed out first.
    pub(super) order: u64,
    /// Since when it has been due.
    pub(super) since_ns: i64,
    pub(in crate::work) held: Option<Box<Held>>,
    pub(in crate::work) request: Option<Priority>,
    /// The heap that names it, under its order.
    pub(super) queued: Option<Priority>,
    /// Leases that ran out without an answer, and are not in the record yet.
    pub(super) lapsed: u32,
}

impl Item {
    pub(super) fn unseen(now_ns: i64) -> Self {
        Self {
            place: Place::Address(Box::default()),
            is_there: false,
            verdict: Self::gone(),
            order: 0,
            since_ns: now_ns,
            held: None,
            request: None,
            queued: None,
            lapsed: 0,
        }
    }

    /// Of what is gone and was never done.
    pub(super) fn gone() -> Verdict {
        Verdict { state: WorkState::Missing, priority: Priority::Medium, due_ns: NEVER_NS, dead: false }
    }

    /// The class in which it waits and when it is due; `None` while nothing is to be done.
    pub(super) fn wanted(&self, now_ns: i64) -> Option<(Priority, i64)> {
        let Verdict { state, priority, due_ns, dead } = self.verdict;
        match self.request {
            // Who asks for it does not want to hear of waiting.
            Some(asked) if state == WorkState::Indexed => Some((asked, now_ns)),
            Some(asked) => Some((asked.min(priority), now_ns)),
            None if dead || state == WorkState::Indexed || due_ns == NEVER_NS => None,
            None => Some((priority, due_ns)),
        }
    }
}

/// How many items there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::work) struct Tally {
    /// Items that are there.
    pub(super) present: u64,
    /// Of those, the ones that are kept one by one.
    kept: u64,
    by_state: [u64; 7],
    pub(in crate::work) dead: u64,
    pub(in crate::work) leased: u64,
    /// Waiting to be handed out, or for their time.
    pub(in crate::work) requested: u64,
}

impl Tally {
    pub(in crate::work) fn of(&self, state: WorkState) -> u64 {
        match state {
            WorkState::Processing => self.leased,
            // What is there and not kept is done and at rest.
            WorkState::Indexed => self.present.saturating_sub(self.kept) + self.get(state),
            state => self.get(state),
        }
    }

    /// Nothing is to be done but to try again what failed.
    pub(in crate::work) fn is_idle(&self) -> bool {
        let open = [WorkState::New, WorkState::Changed, WorkState::Stale, WorkState::Missing];
        self.leased == 0 && self.requested == 0 && open.into_iter().all(|state| self.get(state) == 0)
    }

    fn get(&self, state: WorkState) -> u64 {
        self.by_state.get(state as usize).copied().unwrap_or_default()
    }

    pub(super) fn count(&mut self, item: &Item, by: i64) {
        let add = |n: &mut u64, on: bool| {
            if on {
                *n = n.saturating_add_signed(by);
            }
        };
        if let Some(n) = self.by_state.get_mut(item.verdict.state as usize) {
            add(n, true);
        }
        add(&mut self.dead, item.verdict.dead);
        add(&mut self.leased, item.held.is_some());
        add(&mut self.kept, item.is_there);
        add(&mut self.requested, item.request.is_some());
    }
}
