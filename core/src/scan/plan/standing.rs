//! A look from several places at once can see a directory twice: from inside, and a moment later from
//! above, where it is gone by then, or is another one. What was found inside is void then: all that was
//! known there is gone with the directory, and must not be told twice.

use std::collections::HashSet;
use std::sync::Arc;

use crate::path;
use crate::scan::context::{Content, Found};
use crate::snapshot::DirNode;

/// Leaves out what was found in directories that are no longer where they were.
pub(super) fn standing(live: &Arc<DirNode>, mut found: Vec<Found>) -> Vec<Found> {
    let replaced = found.iter().filter(|dir| dir.replaced.is_some()).map(|dir| dir.path.clone());
    let replaced: HashSet<Vec<u8>> = replaced.collect();
    let is_in_replaced =
        |dir: &Found| above(&dir.path).any(|at| at.len() < dir.path.len() && replaced.contains(at));
    let mut gone: HashSet<Vec<u8>> = HashSet::new();
    for dir in &found {
        let Content::Known { lost, ignored, .. } = &dir.content else { continue };
        // What the old directory had lost says nothing of the new one.
        if is_in_replaced(dir) {
            continue;
        }
        let mut names = lost.iter().chain(ignored).peekable();
        let node = names.peek().and_then(|_| live.descend(&dir.path));
        let dirs = names.filter(|name| node.is_some_and(|node| node.kid(name).is_some()));
        gone.extend(dirs.map(|name| path::join(&dir.path, name)));
    }
    if !gone.is_empty() || !replaced.is_empty() {
        found.retain(|dir| {
            // Found in the old directory: as a part of it, or in place of a part of it.
            let is_of_old = dir.replaced.is_some() || matches!(dir.content, Content::Known { .. });
            !(above(&dir.path).any(|at| gone.contains(at)) || (is_of_old && is_in_replaced(dir)))
        });
    }
    found
}

/// A path and every path above it but the root's.
pub(super) fn above(at: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = at.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    ends.chain([at.len()]).filter_map(|end| at.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Head, Page, Pages, Place, Record, pack};

    /// A directory with these directories in it.
    fn node(kids: Vec<(&str, Arc<DirNode>)>) -> Arc<DirNode> {
        let records: Vec<Record> = kids.iter().map(|(name, _)| Record::stub(name.as_bytes(), 1)).collect();
        let pages = match pack(&records, 1).pop() {
            None => Pages::None,
            Some(page) => {
                let kids: Box<[Arc<DirNode>]> = kids.into_iter().map(|(_, kid)| kid).collect();
                Pages::One(Page::new(page, kids, Place::default()))
            }
        };
        Arc::new(DirNode::new(Head::empty(0, 0), 0, pages, Arc::default()))
    }

    fn known(path: &str, lost: &[&str], ignored: &[&str]) -> Found {
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().into()).collect();
        let content = Content::Known { fresh: Vec::new(), lost: names(lost), ignored: names(ignored) };
        Found { path: path.into(), head: None, content, replaced: None, racy: false }
    }

    fn new(path: &str, replaces: bool) -> Found {
        let replaced = replaces.then(|| node(Vec::new()));
        Found { path: path.into(), head: None, content: Content::New(Vec::new()), replaced, racy: false }
    }

    #[test]
    fn what_was_found_in_a_directory_that_is_gone_by_now_is_void() {
        // p/r/s and p/rs
        let live = || {
            let r = node(vec![("s", node(Vec::new()))]);
            node(vec![("p", node(vec![("r", r), ("rs", node(Vec::new()))]))])
        };
        let rows: [(&str, Vec<Found>, &[&str]); 9] = [
            ("a name in it", vec![known("p", &["r"], &[]), known("p/r", &["x"], &[])], &["p"]),
            ("deeper", vec![known("p", &["r"], &[]), known("p/r/s", &["x"], &[])], &["p"]),
            ("from far above", vec![known("", &["p"], &[]), known("p/r/s", &["x"], &[])], &[""]),
            ("ignored", vec![known("p", &[], &["r"]), known("p/r", &["x"], &[])], &["p"]),
            (
                "a file was lost, and a name that begins alike",
                vec![known("p", &["r", "x"], &[]), known("p/rs", &["x"], &[]), known("p/x", &[], &[])],
                &["p", "p/rs", "p/x"],
            ),
            (
                "made anew behind our back",
                vec![known("p", &["r"], &[]), new("p/r", true), new("p/r/s", false)],
                &["p"],
            ),
            (
                "another one, read whole",
                vec![new("p/r", true), new("p/r/s", false), new("p/r/t", false)],
                &["p/r", "p/r/s", "p/r/t"],
            ),
            (
                "another one, of which the old one had lost a part",
                vec![known("p/r", &["s"], &[]), new("p", true), new("p/r", false), new("p/r/s", false)],
                &["p", "p/r", "p/r/s"],
            ),
            (
                "another one, looked into before and after",
                vec![new("p/r", true), known("p/r/s", &["x"], &[]), new("p/r/s", true)],
                &["p/r"],
            ),
        ];
        for (what, found, expected) in rows {
            let left: Vec<Vec<u8>> = standing(&live(), found).into_iter().map(|dir| dir.path).collect();
            let expected: Vec<Vec<u8>> = expected.iter().map(|path| path.as_bytes().to_vec()).collect();
            assert_eq!(left, expected, "{what}");
        }
    }
}
