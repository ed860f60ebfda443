//! Paths in random order, laid end to end: reading the next one costs the harness no cache miss, so a lookup's misses are its own.

use crate::rng::Rng;

pub(crate) struct Paths {
    bytes: Vec<u8>,
    /// `ends[i]..ends[i + 1]` is path i.
    ends: Vec<usize>,
}

impl Paths {
    /// The given paths in an order that is random and the same every time; at most `most` of them.
    pub(crate) fn shuffled(mut paths: Vec<Vec<u8>>, most: usize) -> Paths {
        Rng::new(0x7061_7468).shuffle(&mut paths);
        paths.truncate(most);
        let mut bytes = Vec::with_capacity(paths.iter().map(Vec::len).sum());
        let mut ends = Vec::with_capacity(paths.len() + 1);
        ends.push(0);
        for path in paths {
            bytes.extend_from_slice(&path);
            ends.push(bytes.len());
        }
        Paths { bytes, ends }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len() - 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.ends.windows(2).map(move |ends| &self.bytes[ends[0]..ends[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_there_once() {
        let all: Vec<Vec<u8>> = (0..100).map(|number| format!("dir/{number}").into_bytes()).collect();
        let paths = Paths::shuffled(all.clone(), 1_000);
        let mut back: Vec<Vec<u8>> = paths.iter().map(<[u8]>::to_vec).collect();
        assert_ne!(back, all);
        back.sort_unstable();
        let mut sorted = all;
        sorted.sort_unstable();
        assert_eq!(back, sorted);
    }

    #[test]
    fn no_more_than_asked_for() {
        let all = vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()];
        assert_eq!(Paths::shuffled(all, 2).len(), 2);
    }
}
