//! The directories of one root of which nothing is heard, or could be looked at. A directory leaves the
//! list only after it has been read as a whole while it was watched, and what was read is in the snapshot:
//! so nothing that happened before the watch was set is overlooked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::path::join;
use crate::scan::Look;

/// Directories that are remembered one by one; with more the whole root is polled.
const DIRS_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Blind {
    inner: Mutex<Inner>,
    /// Some directory is without a watch. Asked more often than it changes.
    is_any: AtomicBool,
    /// Some directory could not be opened.
    is_any_shut: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// Without a watch; the round in which that was said last.
    dirs: BTreeMap<Vec<u8>, u64>,
    /// Could not be opened, watched or not: of what was heard of them nothing could be looked at. Once
    /// they open, everything below is.
    shut: BTreeSet<Vec<u8>>,
    /// There are more than are remembered.
    many: bool,
    reason: Option<String>,
    round: u64,
}

/// What a poll has to look at.
pub(super) struct Polled {
    /// `None`: the whole root.
    pub(super) dirs: Option<Vec<Vec<u8>>>,
    round: u64,
}

impl Blind {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some directory is without a watch.
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Directories without a watch; one more than are remembered means more.
    pub(super) fn count(&self) -> u64 {
        let inner = self.lock();
        inner.dirs.len() as u64 + u64::from(inner.many)
    }

    /// Why some directory is without a watch; `None` while all have one.
    pub(super) fn reason(&self) -> Option<String> {
        let inner = self.lock();
        let is_any = inner.many || !inner.dirs.is_empty();
        self.is_any.store(is_any, Ordering::Release);
        is_any.then(|| inner.reason.clone().unwrap_or_default())
    }

    /// A directory is not watched.
    pub(super) fn note(&self, dir: &[u8], reason: String) {
        let mut inner = self.lock();
        let round = inner.round;
        inner.reason = Some(reason);
        if let Some(said) = inner.dirs.get_mut(dir) {
            *said = round;
        } else if inner.dirs.len() < DIRS_MAX {
            inner.dirs.insert(dir.to_vec(), round);
        } else {
            inner.many = true;
        }
        self.is_any.store(true, Ordering::Release);
    }

    /// A directory could not be opened.
    pub(super) fn note_shut(&self, dir: &[u8]) {
        let mut inner = self.lock();
        if inner.shut.len() < DIRS_MAX {
            inner.shut.insert(dir.to_vec());
        } else if !inner.shut.contains(dir) {
            inner.many = true;
            inner.reason =
                Some("there are more directories that cannot be opened than are remembered".to_owned());
            self.is_any.store(true, Ordering::Release);
        }
        self.is_any_shut.store(true, Ordering::Release);
    }

    /// True for a directory that is known to be without a watch.
    pub(super) fn holds(&self, dir: &[u8]) -> bool {
        self.is_any() && self.lock().dirs.contains_key(dir)
    }

    /// True for a directory that could not be opened the last time.
    pub(super) fn is_shut(&self, dir: &[u8]) -> bool {
        self.is_any_shut.load(Ordering::Acquire) && self.lock().shut.contains(dir)
    }

    /// `covered` are watched after they were not, `opened` could be opened after they could not, and
    /// what is in them is in the snapshot.
    pub(super) fn note_read(&self, covered: &[Vec<u8>], opened: &[Vec<u8>]) {
        if covered.is_empty() && opened.is_empty() {
            return;
        }
        let mut inner = self.lock();
        for dir in covered {
            inner.dirs.remove(dir);
        }
        for dir in opened {
            inner.shut.remove(dir);
        }
        self.is_any_shut.store(!inner.shut.is_empty(), Ordering::Release);
    }

    /// A look at a directory that could not be opened the last time takes up everything below it.
    pub(super) fn widen(&self, looks: &mut [Look]) {
        if !self.is_any_shut.load(Ordering::Acquire) {
            return;
        }
        let inner = self.lock();
        for look in looks {
            look.deep |= inner.shut.contains(&look.path);
            for (name, deep) in &mut look.names {
                *deep |= inner.shut.contains(&join(&look.path, name));
            }
        }
    }

    /// Begins a poll: of these directories, or of the whole root with `all`.
    pub(super) fn begin_poll(&self, all: bool) -> Polled {
        let mut inner = self.lock();
        let round = inner.round;
        inner.round += 1;
        // Those that can be watched by now drop out as they are read.
        let whole = std::mem::take(&mut inner.many) || all;
        Polled { dirs: (!whole).then(|| inner.dirs.keys().cloned().collect()), round }
    }

    /// The poll has come to an end; `done`: what it found is in the snapshot. Forgets directories that
    /// `is_known` does not know any more, unless somebody has met one since.
    pub(super) fn end_poll(&self, polled: &Polled, done: bool, is_known: impl Fn(&[u8]) -> bool) {
        let mut inner = self.lock();
        if done {
            inner.dirs.retain(|dir, said| *said > polled.round || is_known(dir));
            inner.shut.retain(|dir| is_known(dir));
            self.is_any_shut.store(!inner.shut.is_empty(), Ordering::Release);
        } else {
            inner.many |= polled.dirs.is_none();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_polled_until_it_was_read_under_watch() {
        let blind = Blind::default();
        assert!(!blind.is_any() && blind.reason().is_none());
        blind.note(b"a", "why".to_owned());
        assert_eq!((blind.count(), blind.reason().as_deref()), (1, Some("why")));
        let polled = blind.begin_poll(false);
        assert_eq!(polled.dirs.as_deref(), Some(&[b"a".to_vec()][..]));
        blind.end_poll(&polled, true, |_| true);
        assert!(blind.holds(b"a"), "it was polled, not watched");
        blind.note_read(&[b"a".to_vec()], &[]);
        assert!(!blind.holds(b"a") && blind.reason().is_none() && !blind.is_any());
    }

    #[test]
    fn a_directory_that_is_gone_is_forgotten_unless_somebody_met_it_meanwhile() {
        let blind = Blind::default();
        blind.note(b"a", String::new());
        blind.note(b"b", String::new());
        let polled = blind.begin_poll(false);
        blind.note(b"b", String::new());
        blind.end_poll(&polled, true, |_| false);
        assert!(!blind.holds(b"a") && blind.holds(b"b"));
    }

    #[test]
    fn too_many_make_the_whole_root_be_polled_until_a_poll_succeeds() {
        let blind = Blind::default();
        for n in 0..=DIRS_MAX {
            blind.note(n.to_string().as_bytes(), String::new());
        }
        assert_eq!(blind.count(), DIRS_MAX as u64 + 1);
        let polled = blind.begin_poll(false);
        assert!(polled.dirs.is_none());
        blind.end_poll(&polled, false, |_| true);
        let polled = blind.begin_poll(false);
        assert!(polled.dirs.is_none(), "the first one failed");
        blind.end_poll(&polled, true, |_| true);
        assert!(blind.begin_poll(false).dirs.is_some());
    }

    #[test]
    fn what_could_not_be_opened_is_looked_at_with_everything_below() {
        let blind = Blind::default();
        blind.note_shut(b"d/shut");
        let names = BTreeMap::from([(b"shut"[..].into(), false), (b"open"[..].into(), false)]);
        let look = |path: &[u8]| Look { path: path.to_vec(), names: names.clone(), ..Look::default() };
        let mut looks = [look(b"d"), look(b"d/shut")];
        blind.widen(&mut looks);
        assert!(!looks[0].deep && looks[1].deep);
        assert_eq!(looks[0].names.values().copied().collect::<Vec<_>>(), [false, true]);
        blind.note_read(&[], &[b"d/shut".to_vec()]);
        assert!(!blind.is_shut(b"d/shut") && !blind.is_any(), "it is no directory without a watch");
    }
}
