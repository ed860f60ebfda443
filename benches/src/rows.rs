//! What a program that keeps one row per file would store, and how it would look for changes: read all rows, walk, compare.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Result;
use crate::peers;

/// The columns of a row: the same facts as an entry of Treewarden.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    pub(crate) size: i64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    pub(crate) inode: i64,
    pub(crate) mode: u32,
}

impl Stat {
    pub(crate) const BYTES: usize = 4 * 8 + 4;

    pub(crate) fn of(metadata: &Metadata) -> Stat {
        Stat {
            size: metadata.size() as i64,
            mtime_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            ctime_ns: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec(),
            inode: metadata.ino() as i64,
            mode: metadata.mode(),
        }
    }

    pub(crate) fn encode(&self) -> [u8; Stat::BYTES] {
        let mut bytes = [0; Stat::BYTES];
        for (place, number) in [self.size, self.mtime_ns, self.ctime_ns, self.inode].into_iter().enumerate() {
            bytes[place * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..].copy_from_slice(&self.mode.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Stat> {
        let number =
            |place: usize| Some(i64::from_le_bytes(bytes.get(place * 8..place * 8 + 8)?.try_into().ok()?));
        let mode = u32::from_le_bytes(bytes.get(32..Stat::BYTES)?.try_into().ok()?);
        Some(Stat { size: number(0)?, mtime_ns: number(1)?, ctime_ns: number(2)?, inode: number(3)?, mode })
    }
}

/// All rows of a store, by path relative to the tree.
pub(crate) type Rows = HashMap<Vec<u8>, Stat>;

/// Walks the tree and compares every file with its row; fails if anything differs, since nothing has changed.
pub(crate) fn compare(dir: &Path, threads: usize, rows: &Rows) -> Result<u64> {
    let mut seen = 0_u64;
    let mut different = 0_u64;
    peers::jwalk_files(dir, threads, |path, metadata| {
        seen += 1;
        if rows.get(path) != Some(&Stat::of(metadata)) {
            different += 1;
        }
        Ok(())
    })?;
    if different > 0 || seen != rows.len() as u64 {
        return Err(format!("{different} of {seen} files differ from the {} rows stored", rows.len()).into());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_survives_its_bytes() {
        let stat = Stat { size: 1, mtime_ns: -2, ctime_ns: i64::MAX, inode: 4, mode: 0o100_644 };
        assert_eq!(Stat::decode(&stat.encode()), Some(stat));
        assert_eq!(Stat::decode(&[0; Stat::BYTES - 1]), None);
    }
}
