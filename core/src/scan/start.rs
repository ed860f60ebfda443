//! Where a walk begins: the whole root, a subtree, or the places that the live engine has been told
//! about. A path that is unknown, or leads through a directory that is another one by now or under
//! other permissions, begins where the tree is still as known, and takes up everything from there on.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::path;
use crate::root::Guarded;
use crate::root_record::RootRecord;
use crate::snapshot::{DirNode, RootView};
use crate::sys;

use super::context::{Scope, Start};

/// What a scan is to look at.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    Whole,
    /// One entry and everything below it.
    Subtree(&'a [u8]),
    /// Places of which something was heard.
    Looks(&'a [Look]),
}

/// One directory of which something was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Relative to the root.
    pub(crate) path: Vec<u8>,
    /// Everything below it.
    pub(crate) deep: bool,
    /// All of its names.
    pub(crate) listing: bool,
    /// These names; with `true`, everything below them too.
    pub(crate) names: BTreeMap<Box<[u8]>, bool>,
}

/// Where the walk for `target` begins, in path order; no directory is visited twice.
pub(crate) fn starts(target: Target<'_>, view: &RootView, guarded: &Guarded) -> Vec<Start> {
    let single;
    let looks = match target {
        Target::Whole => {
            return vec![Start { path: Vec::new(), node: Arc::clone(&view.live), scope: Scope::Deep }];
        }
        Target::Subtree(path) => {
            // Its parent is looked at for its name alone, so that its coming and going is seen.
            let (dir, name) = path::split_last(path);
            let names = BTreeMap::from([(name.into(), true)]);
            single = [Look { path: dir.to_vec(), names, ..Look::default() }];
            &single[..]
        }
        Target::Looks(looks) => looks,
    };
    let mut planner = Planner::new(view, guarded, matches!(target, Target::Looks(_)));
    let mut order: Vec<&Look> = looks.iter().collect();
    order.sort_by(|a, b| path::compare(&a.path, &b.path));
    for look in order {
        planner.add(look);
    }
    planner.finish()
}

/// What a start is to take up.
#[derive(Default)]
struct Wanted {
    deep: bool,
    listing: bool,
    names: BTreeMap<Box<[u8]>, bool>,
}

struct Planner<'a> {
    record: &'a RootRecord,
    root: &'a Arc<DirNode>,
    guarded: &'a Guarded,
    starts: BTreeMap<Vec<u8>, (Arc<DirNode>, Wanted)>,
    /// Taken up with everything below.
    deep: HashSet<Vec<u8>>,
    /// Other permissions make a directory another one: what could not be read may be readable now.
    is_strict: bool,
    /// Directories found to be as known, and those found not to be.
    same: HashSet<Vec<u8>>,
    other: HashSet<Vec<u8>>,
}

impl<'a> Planner<'a> {
    fn new(view: &'a RootView, guarded: &'a Guarded, is_strict: bool) -> Self {
        Self {
            record: &view.record,
            root: &view.live,
            guarded,
            starts: BTreeMap::new(),
            deep: HashSet::new(),
            is_strict,
            same: HashSet::new(),
            other: HashSet::new(),
        }
    }

    /// Looks come in path order, so whatever holds one is known by the time it comes.
    fn add(&mut self, look: &Look) {
        if self.is_covered(&look.path) {
            return;
        }
        let wanted = Wanted { deep: look.deep, listing: look.listing, names: look.names.clone() };
        match self.locate(&look.path) {
            Ok(node) => self.want(look.path.clone(), node, wanted),
            Err((at, node, Some(name))) => {
                let names = BTreeMap::from([(name, true)]);
                self.want(at, node, Wanted { names, ..Wanted::default() });
            }
            Err((at, node, None)) => self.want(at, node, Wanted { deep: true, ..Wanted::default() }),
        }
    }

    fn is_covered(&self, at: &[u8]) -> bool {
        if self.deep.is_empty() {
            return false;
        }
        let ends = at.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = ends.filter_map(|end| at.get(..end)).chain([&b""[..], at]);
        above.into_iter().any(|dir| self.deep.contains(dir))
    }

    fn want(&mut self, at: Vec<u8>, node: Arc<DirNode>, wanted: Wanted) {
        if wanted.deep {
            self.deep.insert(at.clone());
        }
        for (name, deep) in &wanted.names {
            if *deep {
                self.deep.insert(path::join(&at, name));
            }
        }
        let (_, now) = self.starts.entry(at).or_insert_with(|| (node, Wanted::default()));
        now.deep |= wanted.deep;
        now.listing |= wanted.listing;
        for (name, deep) in wanted.names {
            *now.names.entry(name).or_default() |= deep;
        }
    }

    /// The node of a directory that is still the one that is known. Else the last one on the way that
    /// is, and the name at which the way ends (none where it is the root itself).
    #[allow(clippy::type_complexity)]
    fn locate(&mut self, to: &[u8]) -> Result<Arc<DirNode>, (Vec<u8>, Arc<DirNode>, Option<Box<[u8]>>)> {
        let mut node = self.root;
        let mut at: Vec<u8> = Vec::new();
        let mut fd: Option<OwnedFd> = None;
        if !self.is_same(&at, node, &mut fd, None) {
            return Err((at, Arc::clone(node), None));
        }
        for name in path::components(to) {
            let below = path::join(&at, name);
            let kid = node.kid(name).filter(|kid| !kid.head.is_unread);
            let Some(kid) = kid.filter(|kid| self.is_same(&below, kid, &mut fd, Some(name))) else {
                return Err((at, Arc::clone(node), Some(name.into())));
            };
            node = kid;
            at = below;
        }
        Ok(Arc::clone(node))
    }

    /// True while the directory on disk is the one that is known, under the permissions that are
    /// known. `fd` is the directory above where that has been opened, and becomes this one.
    fn is_same(&mut self, at: &[u8], node: &DirNode, fd: &mut Option<OwnedFd>, name: Option<&[u8]>) -> bool {
        if self.same.contains(at) {
            *fd = None;
            return true;
        }
        if self.other.contains(at) {
            return false;
        }
        let opened = match (fd.take(), name) {
            (Some(parent), Some(name)) => sys::c_name(name).and_then(|name| sys::open_dir_at(parent, &name)),
            _ => sys::open_dir_below(&self.guarded.fd, at),
        };
        let stat = opened.as_ref().ok().and_then(|fd| sys::look_fd(fd).ok()).and_then(|look| look.stat);
        let trusts = self.record.compare.trusts_inode() && !self.record.adopt;
        let same = stat.is_some_and(|stat| {
            (!trusts || node.head.stat.is_same_inode(&stat))
                && (!self.is_strict || stat.mode == node.head.stat.mode)
        });
        *fd = opened.ok();
        let set = if same { &mut self.same } else { &mut self.other };
        set.insert(at.to_vec());
        same
    }

    fn finish(self) -> Vec<Start> {
        let mut starts = Vec::with_capacity(self.starts.len());
        for (path, (node, wanted)) in self.starts {
            let scope = if wanted.deep {
                Scope::Deep
            } else if wanted.listing {
                let deep = wanted.names.into_iter().filter(|(_, deep)| *deep);
                Scope::Listing(Arc::new(deep.map(|(name, _)| name).collect()))
            } else {
                Scope::Names(Arc::new(wanted.names))
            };
            starts.push(Start { path, node, scope });
        }
        starts
    }
}
