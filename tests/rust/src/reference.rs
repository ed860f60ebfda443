//! The naive reference: what a directory holds according to `std::fs`, one `lstat` after another.
//!
//! It shares no code with the engine and knows none of its shortcuts. A snapshot is brought into
//! the same form and the two are compared field by field.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use treewarden::{ChangeKind, EntryRef, Snapshot};

use crate::Row;
use crate::tree::{bytes_of, show};

/// What is compared of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `file`, `dir` or `symlink`.
    pub kind: &'static str,
    /// Bytes; 0 for a directory, whose size says nothing about its content.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Inode change time, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// What a symlink says.
    pub target: Option<Vec<u8>>,
}

/// Facts by address.
pub type Listing = BTreeMap<Vec<u8>, Facts>;

/// Walks `dir` and gives every path the address `root/relative/path`, together with the number of
/// FIFOs, sockets and devices. `ignored` is asked about the name of every entry; nothing below an
/// ignored directory is read.
#[must_use]
pub fn walk(dir: &Path, root: &str, ignored: &dyn Fn(&[u8]) -> bool) -> (Listing, u64) {
    let mut listing = Listing::new();
    let mut special = 0;
    let mut open = vec![(dir.to_path_buf(), root.as_bytes().to_vec())];
    while let Some((path, address)) = open.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let name = entry.unwrap().file_name();
            if ignored(name.as_bytes()) {
                continue;
            }
            let path = path.join(&name);
            let mut address = address.clone();
            address.push(b'/');
            address.extend_from_slice(name.as_bytes());
            let meta = fs::symlink_metadata(&path).unwrap();
            let kind = if meta.is_dir() {
                "dir"
            } else if meta.is_file() {
                "file"
            } else if meta.is_symlink() {
                "symlink"
            } else {
                special += 1;
                continue;
            };
            if kind == "dir" {
                open.push((path.clone(), address.clone()));
            }
            listing.insert(
                address,
                Facts {
                    kind,
                    size: if kind == "dir" { 0 } else { meta.size() },
                    mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
                    ctime_ns: meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
                    inode: meta.ino(),
                    mode: meta.mode(),
                    target: (kind == "symlink").then(|| bytes_of(&fs::read_link(&path).unwrap())),
                },
            );
        }
    }
    (listing, special)
}

/// Walks `dir` without ignoring anything.
#[must_use]
pub fn listing(dir: &Path, root: &str) -> Listing {
    walk(dir, root, &|_| false).0
}

/// Brings the part of a snapshot under `prefix` into the form of [`walk`].
#[must_use]
pub fn of_snapshot(snapshot: &Snapshot, prefix: impl AsRef<[u8]>) -> Listing {
    let mut listing = Listing::new();
    for entry in snapshot.entries(prefix) {
        let path = entry.path();
        if is_root(&path) {
            continue;
        }
        let before = listing.insert(path, facts_of(&entry));
        assert!(before.is_none(), "the snapshot lists {} twice", show(&entry.path()));
    }
    listing
}

fn facts_of(entry: &EntryRef<'_>) -> Facts {
    let kind = entry.kind().name();
    Facts {
        kind,
        size: if kind == "dir" { 0 } else { entry.size() },
        mtime_ns: entry.mtime_ns(),
        ctime_ns: entry.ctime_ns(),
        inode: entry.inode(),
        mode: entry.mode(),
        target: entry.target().map(<[u8]>::to_vec),
    }
}

/// The root's own directory is an address without a slash; it is the same in every listing.
fn is_root(address: &[u8]) -> bool {
    !address.contains(&b'/')
}

/// Everything a snapshot says of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What is compared with the disk.
    pub facts: Facts,
    /// The stable number.
    pub id: u64,
    /// The commit of its last change.
    pub seq: u64,
    /// Content hash.
    pub hash: Option<u128>,
    /// Set for tombstones.
    pub missing_since_ns: Option<i64>,
}

/// A whole snapshot as plain values, to see later that it has not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// The snapshot's seq.
    pub seq: u64,
    /// What is there, by address.
    pub present: BTreeMap<Vec<u8>, Known>,
    /// The tombstones, by id: two can have had the same address.
    pub missing: BTreeMap<u64, (Vec<u8>, Known)>,
}

/// Copies a snapshot.
#[must_use]
pub fn dump(snapshot: &Snapshot) -> Dump {
    let known = |entry: &EntryRef<'_>| Known {
        facts: facts_of(entry),
        id: entry.id(),
        seq: entry.seq(),
        hash: entry.hash(),
        missing_since_ns: entry.missing_since_ns(),
    };
    Dump {
        seq: snapshot.seq(),
        present: snapshot
            .entries("")
            .filter(|e| !is_root(&e.path()))
            .map(|e| (e.path(), known(&e)))
            .collect(),
        missing: snapshot.missing("").map(|e| (e.id(), (e.path(), known(&e)))).collect(),
    }
}

/// Compares two dumps and prints the differing lines.
pub fn assert_same_dump(what: &str, expected: &Dump, found: &Dump) {
    crate::assert_same(what, &expected.present, &found.present);
    assert_eq!(expected.missing, found.missing, "{what}: the tombstones differ");
    assert_eq!(expected.seq, found.seq, "{what}: the seq differs");
}

/// Checks `diff(new, old)` against the two dumps, by id and without looking at any tree.
///
/// Required: one row for every file that came, went, moved, or whose fingerprint changed with its
/// seq. Allowed: a `modified` for a file of which anything differs, and rows about tombstones.
/// Everything else is a lie.
pub fn assert_diff(old: &Dump, new: &Dump, rows: &[Row]) {
    let files = |dump: &Dump| -> BTreeMap<u64, (Vec<u8>, Known)> {
        dump.present
            .iter()
            .filter(|(_, known)| known.facts.kind != "dir")
            .map(|(path, known)| (known.id, (path.clone(), known.clone())))
            .collect()
    };
    let (before, after) = (files(old), files(new));
    let rows: Vec<&Row> = rows.iter().filter(|row| row.entry != "dir").collect();
    let has = |id: u64, kinds: &[ChangeKind], path: &[u8]| {
        rows.iter().any(|r| r.id == id && kinds.contains(&r.kind) && r.path == path)
    };
    for (id, (path, now)) in &after {
        let at = show(path);
        match before.get(id) {
            None => assert!(
                has(*id, &[ChangeKind::Added, ChangeKind::Restored, ChangeKind::Moved], path),
                "diff does not say that {at} came\n{rows:#?}"
            ),
            Some((was, _)) if was != path => {
                let row = rows.iter().find(|r| r.id == *id && r.kind == ChangeKind::Moved);
                let row = row.unwrap_or_else(|| panic!("diff does not say that {at} moved\n{rows:#?}"));
                assert_eq!(row.path, *path, "diff moves {} to the wrong place", show(was));
                assert_eq!(row.from.as_ref(), Some(was), "diff moves {at} from the wrong place");
            }
            Some((_, then)) if fingerprint(&then.facts) != fingerprint(&now.facts) && then.seq != now.seq => {
                assert!(
                    has(*id, &[ChangeKind::Modified], path),
                    "diff does not say that {at} was modified\n{rows:#?}"
                );
            }
            Some(_) => {}
        }
    }
    for (id, (path, _)) in &before {
        if !after.contains_key(id) {
            // A file that went while its directory moved may be reported under the new address.
            let buried = new.missing.get(id).map_or(path, |(path, _)| path);
            let kinds = [ChangeKind::Missing, ChangeKind::Forgotten];
            assert!(
                has(*id, &kinds, path) || has(*id, &kinds, buried),
                "diff does not say that {} went\n{rows:#?}",
                show(path)
            );
        }
    }
    for row in rows {
        let (then, now) = (before.get(&row.id), after.get(&row.id));
        let true_row = match row.kind {
            ChangeKind::Added => then.is_none() && now.is_some(),
            ChangeKind::Restored => old.missing.contains_key(&row.id) && now.is_some(),
            ChangeKind::Moved => {
                now.is_some_and(|(path, _)| *path == row.path)
                    && (old.missing.contains_key(&row.id) || then.is_some_and(|(path, _)| *path != row.path))
            }
            ChangeKind::Modified => match (then, now) {
                (Some((_, then)), Some((path, now))) => then != now && *path == row.path,
                _ => false,
            },
            ChangeKind::Missing => now.is_none() && (then.is_some() || new.missing.contains_key(&row.id)),
            ChangeKind::Forgotten => now.is_none() && (then.is_some() || old.missing.contains_key(&row.id)),
        };
        assert!(true_row, "diff says what is not so: {row:?}\nthen {then:?}\nnow {now:?}");
    }
}

fn fingerprint(facts: &Facts) -> (&'static str, u64, i64, i64, u64) {
    (facts.kind, facts.size, facts.mtime_ns, facts.ctime_ns, facts.inode)
}
