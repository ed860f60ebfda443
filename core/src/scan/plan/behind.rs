//! What was moved behind the back of a walk: from a directory that had been read already to one that had not. It was
//! seen in both places, and is at one.

use std::collections::{HashMap, HashSet};

use crate::entry::Identity;
use crate::path;
use crate::sys::{self, Errno};

use super::resolve::{Resolver, flatten, holds_mount};
use super::standing::above;
use super::{Dir, What, is_dir};

impl Resolver<'_> {
    /// Leaves out new files that are new in another place as well, if they are no longer where they were seen.
    pub(super) fn drop_seen_twice(&mut self, adds: &mut Vec<(usize, usize)>) {
        let mut seen: HashMap<Identity, Vec<(usize, usize)>> = HashMap::new();
        for &at in &*adds {
            let Some(item) = self.item(at).filter(|item| !is_dir(&item.record)) else { continue };
            let stat = item.record.stat;
            if let Some(identity) = self.identity(&stat).filter(|_| !stat.linked) {
                seen.entry(identity).or_default().push(at);
            }
        }
        for at in seen.into_values().filter(|places| places.len() > 1).flatten() {
            let path = self.path_of(at);
            let (dir, name) = path::split_last(&path);
            if self.is_gone(dir, name)
                && let Some(item) = self.item(at)
            {
                item.what = What::Dropped;
            }
        }
        adds.retain(|&at| self.item(at).is_some_and(|item| item.what == What::Added));
    }

    /// Takes known entries that are what is new elsewhere for lost, if they are no longer where they were seen. Looks
    /// at every known entry, so it is for walks that do so anyway.
    pub(super) fn collect_moved_behind(&mut self, adds: &mut Vec<(usize, usize)>) {
        if self.view.live.pages.len() == 0 {
            return;
        }
        let wanted: HashSet<Identity> = adds
            .iter()
            .filter_map(|&at| {
                let stat = self.stat_of(at, &self.path_of(at))?;
                // Another name of a file is new without being a move, and there may be as many of these as files.
                self.identity(&stat).filter(|_| !stat.linked)
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let lost: HashSet<Vec<u8>> = self.lost.iter().map(|lost| lost.path.clone()).collect();
        // What is ignored by now is forgotten with all that lies below it.
        let ignored: HashSet<Vec<u8>> = self
            .dirs
            .iter()
            .flat_map(|dir| dir.ignored.iter().map(|name| path::join(&dir.path, name)))
            .collect();
        let view = self.view;
        let mut gone: HashSet<Vec<u8>> = HashSet::new();
        let mut pending = vec![&view.live];
        while let Some(node) = pending.pop() {
            for (slot, kid) in node.children() {
                if !ignored.is_empty()
                    && ignored.contains(&path::join(&node.trail.path(b"", b""), slot.name()))
                {
                    continue;
                }
                let stat = kid.map_or_else(|| slot.stat(), |kid| kid.head.stat);
                if !wanted.contains(&stat.identity()) {
                    pending.extend(kid);
                    continue;
                }
                let dir = node.trail.path(b"", b"");
                let at = path::join(&dir, slot.name());
                // What lies below goes with it.
                if lost.contains(&at) || kid.is_some_and(holds_mount) || !self.is_gone(&dir, slot.name()) {
                    pending.extend(kid);
                    continue;
                }
                let mut all = Vec::new();
                flatten(at.clone(), slot, kid, &mut all);
                self.lost.extend(all.into_iter().filter(|entry| !lost.contains(&entry.path)));
                gone.insert(at);
            }
        }
        let mut places: HashMap<Vec<u8>, usize> =
            self.dirs.iter().enumerate().map(|(i, dir)| (dir.path.clone(), i)).collect();
        for at in &gone {
            let (dir, name) = path::split_last(at);
            let place = *places.entry(dir.to_vec()).or_insert_with_key(|path| {
                self.dirs.push(Dir::unchanged(path.clone()));
                self.dirs.len() - 1
            });
            let Some(dir) = self.dirs.get_mut(place) else { continue };
            dir.lost.push(name.into());
            // It may have been seen as changed as well, and so may what lay below it.
            dir.items
                .iter_mut()
                .filter(|item| *item.record.name == *name)
                .for_each(|i| i.what = What::Dropped);
        }
        for dir in self.dirs.iter_mut().filter(|dir| above(&dir.path).any(|at| gone.contains(at))) {
            *dir = Dir::unchanged(std::mem::take(&mut dir.path));
        }
        if !gone.is_empty() {
            self.index_new_dirs();
            adds.retain(|&at| self.item(at).is_some_and(|item| item.what == What::Added));
        }
    }

    fn is_gone(&self, dir: &[u8], name: &[u8]) -> bool {
        let look = sys::open_dir_below(&self.context.root_fd, dir)
            .and_then(|dir| sys::look_at(&dir, &sys::c_name(name)?));
        matches!(look, Err(Errno::NOENT))
    }
}
