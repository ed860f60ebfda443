//! What a root has heard of and not looked at yet. Events are hints: here they become places to look
//! at, each with the times that decide when. A place absorbs what is said of it again, a directory
//! absorbs what lies below it. Pure: the time is a parameter.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::scan::Look;

/// Names of one directory beyond which the directory is listed instead.
const NAMES_MAX: usize = 4_096;
/// Places of one root beyond which the whole root is looked at instead.
const PLACES_MAX: usize = 200_000;

/// When what was heard is looked at, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Debounce {
    /// After so much quiet.
    pub(crate) quiet_ns: i64,
    /// At the latest after this.
    pub(crate) max_wait_ns: i64,
}

#[derive(Debug, Default)]
struct Mark {
    deep: bool,
    listing: bool,
    names: BTreeMap<Box<[u8]>, bool>,
    first_ns: i64,
    last_ns: i64,
}

impl Mark {
    fn due_ns(&self, debounce: Debounce) -> i64 {
        let quiet = self.last_ns.saturating_add(debounce.quiet_ns);
        quiet.min(self.first_ns.saturating_add(debounce.max_wait_ns))
    }
}

/// The places of one root.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// By path in byte order; what lies below `a` are the paths from `a/` up to `a0`.
    marks: BTreeMap<Vec<u8>, Mark>,
    names: usize,
    deep_marks: usize,
    /// Directories came or went: both ends of a move are looked at together.
    has_moves: bool,
    /// There is too much to be looked at one by one.
    overfull: bool,
}

impl Dirty {
    /// A name in a directory; with `deep` everything below it too.
    pub(crate) fn name(&mut self, dir: &[u8], name: &[u8], deep: bool, now_ns: i64) {
        let is_covered = self.is_covered(dir);
        let Some(mark) = self.mark(dir, now_ns, is_covered) else { return };
        if mark.deep || (mark.listing && !deep) {
            return;
        }
        let before = mark.names.len();
        if let Some(now) = mark.names.get_mut(name) {
            *now |= deep;
        } else {
            mark.names.insert(name.into(), deep);
        }
        let mut too_many = false;
        if mark.names.len() > NAMES_MAX {
            mark.listing = true;
            mark.names.retain(|_, deep| *deep);
            // So many directories below: everything, then.
            if mark.names.len() > NAMES_MAX / 2 {
                mark.names.clear();
                mark.deep = true;
                too_many = true;
            }
        }
        let after = mark.names.len();
        self.deep_marks += usize::from(too_many);
        self.names = (self.names + after).saturating_sub(before);
        self.has_moves |= deep;
        self.bound();
    }

    /// The facts of a directory.
    pub(crate) fn facts(&mut self, dir: &[u8], now_ns: i64) {
        let is_covered = self.is_covered(dir);
        self.mark(dir, now_ns, is_covered);
        self.bound();
    }

    /// All names of a directory.
    pub(crate) fn listing(&mut self, dir: &[u8], now_ns: i64) {
        let is_covered = self.is_covered(dir);
        if let Some(mark) = self.mark(dir, now_ns, is_covered) {
            mark.listing = true;
            let before = mark.names.len();
            mark.names.retain(|_, deep| *deep);
            let after = mark.names.len();
            self.names = (self.names + after).saturating_sub(before);
        }
        self.bound();
    }

    /// The mark of a directory with its times set; `None` where a directory above has it all.
    fn mark(&mut self, dir: &[u8], now_ns: i64, is_covered: bool) -> Option<&mut Mark> {
        if self.overfull || is_covered {
            return None;
        }
        if !self.marks.contains_key(dir) {
            self.marks.insert(dir.to_vec(), Mark { first_ns: now_ns, ..Mark::default() });
        }
        let mark = self.marks.get_mut(dir)?;
        mark.last_ns = now_ns;
        Some(mark)
    }

    /// True when a directory above is to be looked at with everything below it.
    fn is_covered(&self, dir: &[u8]) -> bool {
        if self.deep_marks == 0 || dir.is_empty() {
            return false;
        }
        let ends = dir.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = ends.filter_map(|end| dir.get(..end)).chain([&b""[..]]);
        above.into_iter().any(|dir| self.marks.get(dir).is_some_and(|mark| mark.deep))
    }

    fn bound(&mut self) {
        if self.marks.len() + self.names > PLACES_MAX {
            self.clear();
            self.overfull = true;
        }
    }

    /// Too much was heard: the whole root is to be looked at. Says so once.
    pub(crate) fn take_overfull(&mut self) -> bool {
        std::mem::take(&mut self.overfull)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty() && !self.overfull
    }

    /// Names and directories to look at.
    pub(crate) fn len(&self) -> u64 {
        (self.marks.len() + self.names) as u64
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When the next place is due.
    pub(crate) fn due_ns(&self, debounce: Debounce) -> Option<i64> {
        if self.overfull {
            return Some(i64::MIN);
        }
        self.marks.values().map(|mark| mark.due_ns(debounce)).min()
    }

    /// Takes what is due; all of it when directories came or went, so that a move is seen as one.
    pub(crate) fn take_due(&mut self, debounce: Debounce, now_ns: i64) -> Vec<Look> {
        if self.has_moves && self.due_ns(debounce).is_some_and(|due| due <= now_ns) {
            return self.take_all();
        }
        let due: Vec<Vec<u8>> = self
            .marks
            .iter()
            .filter(|(_, mark)| mark.due_ns(debounce) <= now_ns)
            .map(|(dir, _)| dir.clone())
            .collect();
        if due.len() == self.marks.len() {
            return self.take_all();
        }
        due.into_iter().filter_map(|dir| self.remove(&dir).map(|mark| look(dir, mark))).collect()
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> Vec<Look> {
        let marks = std::mem::take(&mut self.marks);
        let overfull = self.overfull;
        self.clear();
        self.overfull = overfull;
        marks.into_iter().map(|(dir, mark)| look(dir, mark)).collect()
    }

    fn remove(&mut self, dir: &[u8]) -> Option<Mark> {
        let mark = self.marks.remove(dir)?;
        self.names = self.names.saturating_sub(mark.names.len());
        self.deep_marks = self.deep_marks.saturating_sub(usize::from(mark.deep));
        Some(mark)
    }

    /// Puts back what was taken and could not be looked at.
    pub(crate) fn put_back(&mut self, looks: Vec<Look>, now_ns: i64) {
        for look in looks {
            if look.deep {
                self.deep(&look.path, now_ns);
                continue;
            }
            self.facts(&look.path, now_ns);
            if look.listing {
                self.listing(&look.path, now_ns);
            }
            for (name, deep) in &look.names {
                self.name(&look.path, name, *deep, now_ns);
            }
        }
    }

    /// A directory with everything below it.
    pub(crate) fn deep(&mut self, dir: &[u8], now_ns: i64) {
        let is_covered = self.is_covered(dir);
        let Some(mark) = self.mark(dir, now_ns, is_covered) else { return };
        let names = mark.names.len();
        mark.names.clear();
        let is_new = !std::mem::replace(&mut mark.deep, true);
        self.names = self.names.saturating_sub(names);
        self.deep_marks += usize::from(is_new);
        self.has_moves = true;
        let below: Vec<Vec<u8>> = if dir.is_empty() {
            self.marks.keys().filter(|path| !path.is_empty()).cloned().collect()
        } else {
            let (from, to) = ([dir, b"/"].concat(), [dir, b"0"].concat());
            let range = self.marks.range::<[u8], _>((Bound::Included(&from[..]), Bound::Excluded(&to[..])));
            range.map(|(path, _)| path.clone()).collect()
        };
        for path in below {
            self.remove(&path);
        }
    }
}

fn look(path: Vec<u8>, mark: Mark) -> Look {
    Look { path, deep: mark.deep, listing: mark.listing, names: mark.names }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBOUNCE: Debounce = Debounce { quiet_ns: 300, max_wait_ns: 2_000 };

    fn names(looks: &[Look]) -> Vec<(String, Vec<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        looks.iter().map(|l| (text(&l.path), l.names.keys().map(|n| text(n)).collect())).collect()
    }

    #[test]
    fn a_place_is_due_after_quiet_and_at_the_latest_after_the_longest_wait() {
        let mut dirty = Dirty::default();
        dirty.name(b"a", b"x", false, 0);
        assert_eq!(dirty.due_ns(DEBOUNCE), Some(300));
        for now in (0..3_000).step_by(100) {
            dirty.name(b"a", b"x", false, now);
        }
        assert_eq!(dirty.due_ns(DEBOUNCE), Some(2_000), "a constant writer");
        assert!(dirty.take_due(DEBOUNCE, 1_999).is_empty());
        assert_eq!(names(&dirty.take_due(DEBOUNCE, 2_000)), [("a".into(), vec!["x".into()])]);
        assert!(dirty.is_empty());
    }

    #[test]
    fn one_busy_directory_does_not_make_a_quiet_one_wait() {
        let mut dirty = Dirty::default();
        dirty.name(b"quiet", b"x", false, 0);
        dirty.name(b"busy", b"y", false, 0);
        dirty.name(b"busy", b"y", false, 250);
        assert_eq!(names(&dirty.take_due(DEBOUNCE, 300)), [("quiet".into(), vec!["x".into()])]);
        assert_eq!(dirty.due_ns(DEBOUNCE), Some(550));
        assert_eq!(dirty.len(), 2);
    }

    #[test]
    fn both_ends_of_a_move_are_taken_together() {
        let mut dirty = Dirty::default();
        dirty.name(b"a", b"d", true, 0);
        dirty.name(b"b", b"d", true, 200);
        assert_eq!(dirty.take_due(DEBOUNCE, 300).len(), 2);
        assert!(!dirty.has_moves);
    }

    #[test]
    fn a_directory_absorbs_what_lies_below_it_and_nothing_beside_it() {
        let mut dirty = Dirty::default();
        for dir in [&b"a"[..], b"a/b", b"a/b/c", b"a/b0", b"a/b!", b"a/bb"] {
            dirty.name(dir, b"x", false, 0);
        }
        dirty.deep(b"a/b", 0);
        dirty.name(b"a/b/c/d", b"y", true, 1);
        let looks = dirty.take_all();
        let paths: Vec<_> = looks.iter().map(|look| look.path.clone()).collect();
        assert_eq!(paths, [&b"a"[..], b"a/b", b"a/b!", b"a/b0", b"a/bb"]);
        assert!(looks.iter().all(|look| look.deep == (look.path == b"a/b")));
        assert_eq!((dirty.names, dirty.deep_marks), (0, 0));
    }

    #[test]
    fn many_names_become_a_listing_that_keeps_what_is_deep() {
        let mut dirty = Dirty::default();
        dirty.name(b"d", b"sub", true, 0);
        for n in 0..NAMES_MAX {
            dirty.name(b"d", format!("f{n}").as_bytes(), false, 0);
        }
        dirty.name(b"d", b"one more", false, 0);
        let looks = dirty.take_all();
        assert!(looks[0].listing && !looks[0].deep);
        assert_eq!(names(&looks), [("d".into(), vec!["sub".into()])]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut dirty = Dirty::default();
        for n in 0..=PLACES_MAX {
            dirty.facts(format!("{n}").as_bytes(), 0);
        }
        assert!(dirty.marks.is_empty());
        assert_eq!(dirty.due_ns(DEBOUNCE), Some(i64::MIN));
        assert!(dirty.take_overfull() && !dirty.take_overfull());
    }

    #[test]
    fn what_is_put_back_is_there_again() {
        let mut dirty = Dirty::default();
        dirty.name(b"a", b"x", false, 0);
        dirty.listing(b"b", 0);
        dirty.deep(b"c", 0);
        let looks = dirty.take_all();
        dirty.put_back(looks.clone(), 5);
        assert_eq!(dirty.take_all(), looks);
    }
}
