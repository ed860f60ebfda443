//! Journal rows as bytes. A row holds groups; a group is one kind of change in one directory, with
//! its names front-coded: how many bytes are shared with the name before, then the rest.
//!
//! ```text
//! group  = u8 kind | bytes root | bytes directory (relative) | num count | item[count]
//! item   = u8 entry kind | num shared | bytes rest of name | num zigzag(id - id before)
//!          and for `moved`: bytes root before | num shared with the path before | bytes rest
//! ```

use crate::bytes::{Malformed, Put, Take, unzigzag, zigzag};
use crate::entry::Kind;
use crate::path;

use super::{Change, ChangeKind};

/// Bytes after which a row is closed: a bit below a power of two, so that with its key and the
/// overhead of the store it fits the pages it is given.
const ROW_BYTES: usize = 16 * 1024 - 512;

/// A change on its way into the journal; the commit gives it its seq.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: ChangeKind,
    pub(crate) entry_kind: Kind,
    /// Relative to the root of the batch.
    pub(crate) path: Vec<u8>,
    /// Root and relative path before, for `moved`.
    pub(crate) from: Option<(String, Vec<u8>)>,
    pub(crate) id: u64,
}

/// Packs the changes of one commit into rows.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    rows: Vec<Vec<u8>>,
    row: Vec<u8>,
    group: Vec<u8>,
    count: u64,
    key: Option<(ChangeKind, String, Vec<u8>)>,
    name: Vec<u8>,
    from: Vec<u8>,
    id: u64,
}

impl Writer {
    pub(crate) fn push(
        &mut self,
        root: &str,
        dir: &[u8],
        name: &[u8],
        (kind, entry_kind, id): (ChangeKind, Kind, u64),
        from: Option<(&str, &[u8])>,
    ) {
        let same = self.key.as_ref().is_some_and(|(k, r, d)| *k == kind && r == root && d == dir);
        if !same || self.group.len() > ROW_BYTES {
            self.close_group();
            self.key = Some((kind, root.to_owned(), dir.to_vec()));
        }
        let shared = shared(&self.name, name);
        self.group.push(entry_kind as u8);
        self.group.put_num(shared as u64);
        self.group.put_bytes(name.get(shared..).unwrap_or_default());
        self.group.put_num(zigzag(id.wrapping_sub(self.id) as i64));
        if let Some((from_root, from_path)) = from {
            self.group.put_bytes(from_root.as_bytes());
            let shared = self::shared(&self.from, from_path);
            self.group.put_num(shared as u64);
            self.group.put_bytes(from_path.get(shared..).unwrap_or_default());
            self.from.clear();
            self.from.extend_from_slice(from_path);
        }
        self.name.clear();
        self.name.extend_from_slice(name);
        self.id = id;
        self.count += 1;
    }

    pub(crate) fn push_draft(&mut self, root: &str, draft: &Draft) {
        let (dir, name) = path::split_last(&draft.path);
        let from = draft.from.as_ref().map(|(root, path)| (root.as_str(), path.as_slice()));
        self.push(root, dir, name, (draft.kind, draft.entry_kind, draft.id), from);
    }

    fn close_group(&mut self) {
        let Some((kind, root, dir)) = self.key.take() else { return };
        if !self.row.is_empty() && self.row.len() + self.group.len() > ROW_BYTES {
            self.rows.push(std::mem::take(&mut self.row));
        }
        self.row.push(kind as u8);
        self.row.put_bytes(root.as_bytes());
        self.row.put_bytes(&dir);
        self.row.put_num(self.count);
        self.row.append(&mut self.group);
        self.count = 0;
        self.id = 0;
        self.name.clear();
        self.from.clear();
    }

    /// Adds everything that another writer holds, in rows of its own.
    pub(crate) fn append(&mut self, other: Self) {
        self.close_group();
        if !self.row.is_empty() {
            self.rows.push(std::mem::take(&mut self.row));
        }
        self.rows.extend(other.finish());
    }

    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.close_group();
        if !self.row.is_empty() {
            self.rows.push(self.row);
        }
        self.rows
    }
}

/// Reads a row back.
pub(crate) fn decode(seq: u64, row: &[u8], out: &mut Vec<Change>) -> Result<(), Malformed> {
    let mut take = Take(row);
    while !take.is_done() {
        let kind = ChangeKind::from_code(take.u8()?).ok_or(Malformed)?;
        let root = take.string()?;
        let dir = path::join(root.as_bytes(), take.bytes()?);
        let dir = dir.strip_suffix(b"/").unwrap_or(&dir).to_vec();
        let mut name: Vec<u8> = Vec::new();
        let mut from: Vec<u8> = Vec::new();
        let mut id = 0u64;
        for _ in 0..take.num()? {
            let entry_kind = Kind::from_code(take.u8()?).ok_or(Malformed)?;
            extend(&mut name, &mut take)?;
            id = id.wrapping_add(unzigzag(take.num()?) as u64);
            let before = if kind == ChangeKind::Moved {
                let root = take.bytes()?.to_vec();
                extend(&mut from, &mut take)?;
                Some(path::join(&root, &from))
            } else {
                None
            };
            let path = if name.is_empty() { dir.clone() } else { path::join(&dir, &name) };
            out.push(Change { seq, root: root.clone(), kind, entry_kind, path, from: before, id });
        }
    }
    Ok(())
}

fn extend(previous: &mut Vec<u8>, take: &mut Take<'_>) -> Result<(), Malformed> {
    let shared = usize::try_from(take.num()?).map_err(|_| Malformed)?;
    if shared > previous.len() {
        return Err(Malformed);
    }
    previous.truncate(shared);
    previous.extend_from_slice(take.bytes()?);
    Ok(())
}

fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draft() -> impl Strategy<Value = Draft> {
        let path = prop::collection::vec("[a-c\n]{1,3}", 1..4).prop_map(|p| p.join("/").into_bytes());
        (0u8..6, 0u8..3, path.clone(), path, any::<u64>()).prop_map(|(kind, entry, path, from, id)| {
            let kind = ChangeKind::from_code(kind).expect("0 to 5");
            Draft {
                kind,
                entry_kind: Kind::from_code(entry).expect("0 to 2"),
                path,
                from: (kind == ChangeKind::Moved).then(|| ("other".to_owned(), from)),
                id,
            }
        })
    }

    proptest! {
        #[test]
        fn changes_are_read_back_in_order(drafts in prop::collection::vec(draft(), 0..200)) {
            let mut writer = Writer::default();
            for draft in &drafts {
                writer.push_draft("root", draft);
            }
            let mut read = Vec::new();
            for row in writer.finish() {
                decode(7, &row, &mut read).expect("a row just written");
            }
            prop_assert_eq!(read.len(), drafts.len());
            for (change, draft) in read.iter().zip(&drafts) {
                prop_assert_eq!(&change.path, &path::join(b"root", &draft.path));
                prop_assert_eq!(&change.from, &draft.from.as_ref().map(|(r, p)| path::join(r.as_bytes(), p)));
                prop_assert_eq!((change.kind, change.entry_kind, change.id, change.seq), (draft.kind, draft.entry_kind, draft.id, 7));
            }
        }

        #[test]
        fn damaged_rows_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(1, &bytes, &mut Vec::new());
        }
    }

    #[test]
    fn rows_stay_near_their_size() {
        let mut writer = Writer::default();
        for i in 0..100_000u64 {
            writer.push(
                "r",
                b"d",
                format!("IMG_{i:07}.jpg").as_bytes(),
                (ChangeKind::Added, Kind::File, i),
                None,
            );
        }
        let rows = writer.finish();
        let bytes: usize = rows.iter().map(Vec::len).sum();
        assert!(bytes < 100_000 * 12, "front coding saves most of a name: {bytes}");
        assert!(rows.iter().all(|r| r.len() < ROW_BYTES + 1024));
    }
}
