//! Which places may not lie in one another: a directory that is written to and a root, and two mirrors.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::commit::Engine;
use crate::error::{Error, Result};
use crate::path::escape;

use super::options::Row;
use super::storage::Storage;
use super::target::Target;

/// Fails when a directory that is written to holds a root or the state file, or lies in a root: what is copied would
/// be copied again, or be the file itself.
pub(super) fn check_roots(engine: &Engine, storage: &dyn Storage, prefix: &str) -> Result<()> {
    let Some(dir) = storage.directory().map(|dir| place(dir, prefix)) else { return Ok(()) };
    let refused = |what: &str| {
        let text = format!("{what} and the directory of the mirror lie in one another");
        Err(Error::invalid(text).with_path(dir.as_os_str().as_bytes()).with_hint("choose another directory"))
    };
    for root in &engine.snapshot().roots_of_tree().to_vec() {
        if lie_in_one_another(&dir, &root.record.path) {
            return refused(&format!("root `{}`", escape(root.record.name.as_bytes())));
        }
    }
    // Objects that are not known, or of the same name, would take its place.
    if place(engine.store.path(), "").starts_with(&dir) {
        return refused("the state file");
    }
    Ok(())
}

/// Fails when two mirrors would write to the same place: each would delete the objects of the other.
pub(super) fn check_mirrors(wanted: &Row, storage: &dyn Storage, other: &Row) -> Result<()> {
    let (prefix, its) = (wanted.options.get_prefix(), other.options.get_prefix());
    let is_same = match (storage.directory(), other.target.as_ref().and_then(Target::dir)) {
        (Some(dir), Some(others)) => lie_in_one_another(&place(dir, prefix), &place(others, its)),
        _ => wanted.place == other.place && lie_in_one_another(Path::new(prefix), Path::new(its)),
    };
    if !is_same {
        return Ok(());
    }
    let text = format!("mirror `{}` copies to the same place already", escape(other.name.as_bytes()));
    Err(Error::invalid(text).with_hint("each would delete the objects of the other: give it a prefix"))
}

fn lie_in_one_another(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// A path without links; of what is not there yet, the place where it will be.
fn place(dir: &Path, prefix: &str) -> PathBuf {
    let dir = join(dir.to_owned(), Path::new(prefix));
    let mut rest = PathBuf::new();
    let mut known = dir.as_path();
    loop {
        match (known.canonicalize(), known.file_name(), known.parent()) {
            (Ok(real), ..) => return join(real, &rest),
            (Err(_), Some(name), Some(parent)) => {
                rest = join(PathBuf::from(name), &rest);
                known = parent;
            }
            (Err(_), ..) => return dir,
        }
    }
}

/// Not `Path::join`: that puts a slash behind the path when nothing follows.
fn join(path: PathBuf, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path } else { path.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_directory_has_no_links_and_need_not_be_there() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink("a", real.join("link")).unwrap();
        for (given, prefix, place) in [
            ("a", "", "a"),
            ("link", "", "a"),
            ("link", "x/y", "a/x/y"),
            ("none", "x", "none/x"),
            ("a/../link", "x", "a/x"),
        ] {
            assert_eq!(super::place(&real.join(given), prefix), real.join(place), "{given} {prefix}");
        }
    }

    #[test]
    fn places_lie_in_one_another_by_whole_components() {
        for (a, b, yes) in [
            ("", "", true),
            ("", "a", true),
            ("a", "a/b", true),
            ("a/b", "a", true),
            ("a", "ab", false),
            ("a/b", "a/c", false),
        ] {
            assert_eq!(lie_in_one_another(Path::new(a), Path::new(b)), yes, "{a} {b}");
        }
    }
}
