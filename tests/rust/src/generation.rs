//! A small tree whose whole state is one number, its generation.
//!
//! Going from one generation to the next edits, renames, creates and deletes in several
//! directories at once. A snapshot that holds part of one generation and part of another is a
//! half scan, and [`read`] sees it.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use treewarden::Snapshot;

use crate::tree::{Tree, show};
use crate::world::{ROOT, address};

/// The points inside a commit and a scan at which a child can be told to die.
pub const KILL_POINTS: [&str; 7] = [
    "scan:walked",
    "scan:before-commit",
    "commit:begin",
    "commit:rows-written",
    "commit:before-redb-commit",
    "commit:after-redb-commit",
    "commit:published",
];

const FILES_PER_DIR: usize = 6;

/// Brings a tree, also one left half-way by a killed process, to generation `generation`.
pub fn write(tree: &Tree, generation: u64) {
    for dir in ["a", "b"] {
        for n in 0..FILES_PER_DIR {
            tree.file(format!("{dir}/f{n}"), vec![b'x'; usize::try_from(size(generation)).unwrap()]);
        }
    }
    let moving = format!("moving-{generation}");
    for old in names_with(tree, "moving-") {
        if old == moving.as_bytes() {
            continue;
        }
        if tree.join(&moving).exists() {
            tree.remove(&old);
        } else {
            tree.rename(&old, &moving);
        }
    }
    tree.file(format!("{moving}/x"), "x").file(format!("{moving}/deep/y"), "y");
    for old in names_with(tree, "only-") {
        tree.remove(&old);
    }
    tree.file(format!("only-{generation}"), "");
    if fs::symlink_metadata(tree.join("link")).is_ok() {
        tree.remove("link");
    }
    tree.symlink(target(generation), "link");
}

/// Says which generation a snapshot shows: `None` when nothing has been scanned yet.
///
/// # Errors
/// A sentence about the first thing that does not belong to the one generation.
pub fn read(snapshot: &Snapshot) -> Result<Option<u64>, String> {
    let found: Vec<Vec<u8>> = snapshot.files(ROOT).map(|entry| entry.path()).collect();
    if found.is_empty() {
        return Ok(None);
    }
    let only = address("only-");
    let generation = found
        .iter()
        .filter_map(|path| path.strip_prefix(only.as_slice()))
        .filter_map(|number| std::str::from_utf8(number).ok()?.parse::<u64>().ok())
        .next_back()
        .ok_or("no file says which generation this is")?;

    let mut expected: Vec<Vec<u8>> = Vec::new();
    for dir in ["a", "b"] {
        expected.extend((0..FILES_PER_DIR).map(|n| address(format!("{dir}/f{n}"))));
    }
    expected.push(address("link"));
    expected.push(address(format!("moving-{generation}/deep/y")));
    expected.push(address(format!("moving-{generation}/x")));
    expected.push(address(format!("only-{generation}")));
    if found != expected {
        let names: Vec<String> = found.iter().map(|path| show(path)).collect();
        return Err(format!("generation {generation} does not hold these files: {names:?}"));
    }
    for path in &expected[..2 * FILES_PER_DIR] {
        let found = snapshot.get(path).map(|entry| entry.size());
        if found != Some(size(generation)) {
            return Err(format!("generation {generation}, but {} has size {found:?}", show(path)));
        }
    }
    let link = snapshot.get(address("link")).and_then(|entry| entry.target().map(<[u8]>::to_vec));
    if link != Some(target(generation).into_bytes()) {
        return Err(format!("generation {generation}, but the link says {link:?}"));
    }
    let totals = snapshot.du(ROOT).ok_or("no totals")?;
    if totals.files != found.len() as u64 || snapshot.len() != totals.files {
        return Err(format!("generation {generation}, but the totals are {totals:?}"));
    }
    Ok(Some(generation))
}

fn size(generation: u64) -> u64 {
    generation % 1000 + 1
}

fn target(generation: u64) -> String {
    format!("generation {generation}")
}

fn names_with(tree: &Tree, prefix: &str) -> Vec<Vec<u8>> {
    fs::read_dir(tree.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .filter(|name| name.starts_with(prefix.as_bytes()))
        .collect()
}
