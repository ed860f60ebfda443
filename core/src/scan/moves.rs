//! Which of the entries that are gone is which of the entries that are new (design, section 4
//! rule 7). Pure: two lists in, pairs out. One source, one target.

use std::collections::{HashMap, HashSet};

use crate::entry::{Identity, Kind};
use crate::path;

/// An entry on either side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind,
    /// `None` where the file system's inode numbers mean nothing.
    pub(crate) identity: Option<Identity>,
}

/// What a new entry is, by index into the entries that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// The same file under the same path.
    Same(usize),
    /// The same file under another path.
    Moved(usize),
    /// Another file in the place of one that went nowhere else: the entry was modified.
    InPlace(usize),
}

/// Picks the source of one new entry, given which sources are used up.
type Chooser<'a> = dyn FnMut(&Side<'_>, &[bool]) -> Option<(usize, Pair)> + 'a;

/// Pairs `added` with `gone`. First what stayed in place, then moves that kept the name, then any
/// other move, and last the files written anew under an old path. The order of both lists decides
/// among several candidates, so equal input gives equal output.
pub(crate) fn pair(gone: &[Side<'_>], added: &[Side<'_>]) -> Vec<Option<Pair>> {
    let mut by_path: HashMap<&[u8], usize> = HashMap::with_capacity(gone.len());
    let mut by_name: HashMap<Identity, HashMap<&[u8], Vec<usize>>> = HashMap::new();
    let mut by_identity: HashMap<Identity, Vec<usize>> = HashMap::new();
    // Backwards, so that the first candidate is the last in its list and taken from there.
    for (i, side) in gone.iter().enumerate().rev() {
        by_path.insert(side.path, i);
        if let Some(identity) = side.identity {
            let names = by_name.entry(identity).or_default();
            names.entry(path::split_last(side.path).1).or_default().push(i);
            by_identity.entry(identity).or_default().push(i);
        }
    }
    let mut used = vec![false; gone.len()];
    let mut pairs = vec![None; added.len()];
    let mut pass = |choose: &mut Chooser<'_>| {
        for (side, pair) in added.iter().zip(pairs.iter_mut()).filter(|(_, pair)| pair.is_none()) {
            if let Some((i, chosen)) = choose(side, &used) {
                if let Some(slot) = used.get_mut(i) {
                    *slot = true;
                }
                *pair = Some(chosen);
            }
        }
    };
    let free = |used: &[bool], i: usize| used.get(i).is_some_and(|u| !u);
    // Candidates that are used up leave their list for good, so each is looked at once.
    let next = |list: &mut Vec<usize>, used: &[bool]| {
        while list.last().is_some_and(|&i| !free(used, i)) {
            list.pop();
        }
        list.last().copied()
    };
    pass(&mut |side, used| {
        let i = *by_path.get(side.path)?;
        let same = side.identity.is_some() && gone.get(i).is_some_and(|g| g.identity == side.identity);
        (same && free(used, i)).then_some((i, Pair::Same(i)))
    });
    pass(&mut |side, used| {
        let names = by_name.get_mut(&side.identity?)?;
        let i = next(names.get_mut(path::split_last(side.path).1)?, used)?;
        Some((i, Pair::Moved(i)))
    });
    pass(&mut |side, used| {
        let i = next(by_identity.get_mut(&side.identity?)?, used)?;
        Some((i, Pair::Moved(i)))
    });
    pass(&mut |side, used| {
        let i = *by_path.get(side.path)?;
        let same_kind = gone.get(i).is_some_and(|g| g.kind == side.kind);
        (free(used, i) && same_kind).then_some((i, Pair::InPlace(i)))
    });
    pairs
}

/// An order of moves in which each can be applied after the one before: a move onto the source of
/// another comes after it. Swaps have no such order; they come one after the other.
pub(crate) fn order(moves: &[(&[u8], &[u8])]) -> Vec<usize> {
    let by_source: HashMap<&[u8], usize> =
        moves.iter().enumerate().map(|(i, (from, _))| (*from, i)).collect();
    let mut done = HashSet::new();
    let mut out = Vec::with_capacity(moves.len());
    for start in 0..moves.len() {
        let mut chain = Vec::new();
        let mut next = Some(start);
        while let Some(i) = next.filter(|i| done.insert(*i)) {
            chain.push(i);
            next = moves.get(i).and_then(|(_, to)| by_source.get(to)).copied();
        }
        out.extend(chain.into_iter().rev());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Stat;

    fn side(path: &str, inode: u64) -> Side<'_> {
        let stat = Stat { kind: Kind::File, inode, btime_ns: 7, ..Stat::EMPTY_DIR };
        let identity = (inode != 0).then(|| stat.identity());
        Side { path: path.as_bytes(), kind: Kind::File, identity }
    }

    #[test]
    fn pairs_by_table() {
        use Pair::{InPlace, Moved, Same};
        type Row<'a> = (&'a str, Vec<Side<'a>>, Vec<Side<'a>>, Vec<Option<Pair>>);
        let rows: Vec<Row<'_>> = vec![
            ("rename", vec![side("a", 1)], vec![side("b", 1)], vec![Some(Moved(0))]),
            ("another file", vec![side("a", 1)], vec![side("b", 2)], vec![None]),
            ("written anew", vec![side("a", 1)], vec![side("a", 2)], vec![Some(InPlace(0))]),
            (
                "swap",
                vec![side("a", 1), side("b", 2)],
                vec![side("a", 2), side("b", 1)],
                vec![Some(Moved(1)), Some(Moved(0))],
            ),
            ("rename over", vec![side("a", 1), side("b", 2)], vec![side("b", 1)], vec![Some(Moved(0))]),
            (
                "directory made anew around the same files",
                vec![side("d/a", 1)],
                vec![side("d/a", 1)],
                vec![Some(Same(0))],
            ),
            (
                "hard links moved together keep their names",
                vec![side("d/a", 1), side("d/b", 1)],
                vec![side("e/b", 1), side("e/a", 1)],
                vec![Some(Moved(1)), Some(Moved(0))],
            ),
            (
                "one source, one target",
                vec![side("a", 1)],
                vec![side("b", 1), side("c", 1)],
                vec![Some(Moved(0)), None],
            ),
            ("no inode numbers", vec![side("a", 0)], vec![side("b", 0)], vec![None]),
        ];
        for (what, gone, added, expected) in rows {
            assert_eq!(pair(&gone, &added), expected, "{what}");
        }
    }

    #[test]
    fn chains_are_applied_from_their_end() {
        let moves: Vec<(&[u8], &[u8])> = vec![(b"a", b"b"), (b"b", b"c"), (b"x", b"y"), (b"c", b"d")];
        assert_eq!(order(&moves), [3, 1, 0, 2]);
        let swap: Vec<(&[u8], &[u8])> = vec![(b"a", b"b"), (b"b", b"a")];
        assert_eq!(order(&swap).len(), 2);
    }
}
