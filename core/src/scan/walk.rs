//! Looking at one directory and comparing it with what is known: the part that both walkers share.
//! A walker lists names and hands them in one by one; a known directory is compared entry by entry
//! against its packed page and only differences are kept, so a directory of a million files is
//! streamed (rules R1, R2, R4, R7, R8 and R9 in ARCHITECTURE.md).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::entry::{Kind, Stat};
use crate::error::ErrorKind;
use crate::path;
use crate::snapshot::{DirNode, Head, Record, SEQ_OF_PAGE, Slot};
use crate::sys::{self, Hint, Look};

use super::compare::{differs, judge};
use super::context::{Child, Content, Context, Found, Fresh, Scope};
use super::new_dir::NewEntries;

/// Bytes of a name at most: NAME_MAX of Linux. Some foreign file systems allow more.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a symlink's target at most: PATH_MAX of Linux.
const TARGET_BYTES_MAX: usize = 4_096;

/// What a listed name turned out to be.
pub(crate) enum Seen {
    Nothing,
    Descend(Child),
}

/// Where a known entry lies within its directory.
#[derive(Clone, Copy)]
struct Known {
    /// Among all entries of the directory.
    number: u32,
    page: u32,
    index: u32,
}

/// A directory being visited.
pub(crate) struct Visit {
    path: Vec<u8>,
    pub(crate) dev: u64,
    old: Option<Arc<DirNode>>,
    head: Option<Head>,
    replaced: Option<Arc<DirNode>>,
    /// Nothing but these names is looked at; `None` for a directory that is taken up whole.
    only: Option<Arc<BTreeMap<Box<[u8]>, bool>>>,
    has_other_mode: bool,
    /// One bit for each known entry, page after page.
    seen: Vec<u64>,
    page_starts: Vec<u32>,
    new: NewEntries,
    fresh: Vec<(Record, Fresh)>,
    lost: Vec<Box<[u8]>>,
    ignored: Vec<Box<[u8]>>,
    racy: bool,
    now_ns: i64,
    files: u64,
    bytes: u64,
    special: u64,
    unchanged: u64,
}

impl Visit {
    /// Begins the visit of an open directory. `None` when it must not be entered: a mount point
    /// that is gone keeps what was below it.
    pub(crate) fn begin(
        context: &Context,
        path: Vec<u8>,
        fd: impl AsFd,
        parent_dev: u64,
        child: Child,
        scope: &Scope,
    ) -> Option<Self> {
        let look = match sys::look_fd(fd) {
            Ok(look) => look,
            Err(error) => {
                context.tally.io_error("examine", &path, error);
                return None;
            }
        };
        let stat = look.stat?;
        // A bind mount may lie on the same device as what it covers.
        let is_mount = !path.is_empty() && look.is_mount.unwrap_or(look.dev != parent_dev);
        let mut old = child.old;
        let mut replaced = None;
        if let Some(node) = &old {
            let head = &node.head;
            let gone = head.is_mount && !is_mount;
            let covered = !head.is_mount && is_mount && node.pages.len() > 0;
            if (gone || covered) && !context.accept_missing && !context.adopt {
                let why = if gone {
                    "a file system was mounted here and is not any more; what was below it is kept"
                } else {
                    "a file system was mounted over it; what it covers is kept"
                };
                context.tally.refuse("trust", &path, ErrorKind::Unavailable, why);
                return None;
            }
            let other = context.compare.trusts_inode() && !context.adopt && !head.stat.is_same_inode(&stat);
            if other && !path.is_empty() {
                replaced = old.take();
            } else if head.is_unread {
                old = None;
            }
        }
        let id = match (&old, &replaced) {
            (Some(node), _) => node.head.node,
            (None, Some(_)) => context.take_ids(1),
            (None, None) => child.id,
        };
        let head = match &old {
            None => Some(Head { stat, is_mount, seq: SEQ_OF_PAGE, ..Head::empty(id, id) }),
            Some(node) => {
                let now = Head { stat, is_mount, ..node.head };
                differs(context, &node.head, &now).then_some(now)
            }
        };
        let has_other_mode =
            context.is_look && old.as_ref().is_some_and(|node| node.head.stat.mode != stat.mode);
        let only = match scope {
            Scope::Names(names) if old.is_some() && !has_other_mode => Some(Arc::clone(names)),
            _ => None,
        };
        let mut page_starts = Vec::new();
        let mut count = 0u32;
        for page in old.iter().flat_map(|node| node.pages.iter()) {
            page_starts.push(count);
            count += page.view().len() as u32;
        }
        Some(Self {
            path,
            dev: look.dev,
            old,
            head: head.filter(|_| only.is_none() || context.is_look),
            replaced,
            only,
            has_other_mode,
            seen: vec![0; (count as usize).div_ceil(64)],
            page_starts,
            new: NewEntries::default(),
            fresh: Vec::new(),
            lost: Vec::new(),
            ignored: Vec::new(),
            racy: false,
            now_ns: context.clock.now_ns(),
            files: 0,
            bytes: 0,
            special: 0,
            unchanged: 0,
        })
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Takes up the facts of the directory anew: it is watched only now.
    pub(crate) fn look_again(&mut self, fd: impl AsFd) {
        if let (Some(head), Ok(Look { stat: Some(stat), .. })) = (&mut self.head, sys::look_fd(fd)) {
            head.stat = stat;
        }
    }

    /// True where what is known says nothing about what to leave out: everything is looked at.
    pub(crate) fn needs_all(&self) -> bool {
        self.old.is_none() || self.has_other_mode
    }

    /// False for a name that is not asked for.
    pub(crate) fn is_wanted(&self, name: &[u8]) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains_key(name))
    }

    /// Takes up one name of the listing.
    pub(crate) fn entry(&mut self, context: &Context, fd: impl AsFd, c_name: &CStr, hint: Hint) -> Seen {
        let name = c_name.to_bytes();
        if name.len() > NAME_BYTES_MAX {
            let full = path::join(&self.path, name);
            context.tally.refuse("keep", &full, ErrorKind::TooLarge, "its name has more than 255 bytes");
            return Seen::Nothing;
        }
        let known = self.known(name);
        if let Some(known) = known
            && self.mark(known.number)
        {
            // Listed twice, because the directory changes meanwhile.
            return Seen::Nothing;
        }
        if context.own_files.as_ref().is_some_and(|own| own.holds(&self.path, name)) {
            return self.drop_known(known.is_some(), name);
        }
        let mut look = None;
        let is_dir = match hint {
            Hint::Dir => true,
            Hint::Leaf | Hint::Special => false,
            Hint::Unknown => match self.look(context, &fd, c_name) {
                Some(seen) => {
                    look = Some(seen);
                    seen.stat.is_some_and(|s| s.kind == Kind::Dir)
                }
                None => return Seen::Nothing,
            },
        };
        // A name that changed its kind was held against the rules as something else.
        let was_dir = known.and_then(|known| self.slot(known)).map(|slot| slot.kind() == Kind::Dir);
        if self.is_ignored(context, name, is_dir, was_dir == Some(is_dir)) {
            context.tally.ignored.fetch_add(1, Ordering::Relaxed);
            return self.drop_known(known.is_some(), name);
        }
        if is_dir {
            return self.directory(context, name, known);
        }
        if hint == Hint::Special {
            self.special += 1;
            return self.not_an_entry(known.is_some(), name);
        }
        let Some(look) = look.or_else(|| self.look(context, &fd, c_name)) else { return Seen::Nothing };
        let Some(stat) = look.stat else {
            self.special += 1;
            return self.not_an_entry(known.is_some(), name);
        };
        if stat.kind == Kind::Dir {
            // It was a file when it was listed: the next look sees it whole.
            return Seen::Nothing;
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(stat.size);
        self.leaf(context, fd, c_name, &stat, known);
        Seen::Nothing
    }

    #[inline]
    fn slot(&self, known: Known) -> Option<Slot<'_>> {
        let page = self.old.as_ref()?.pages.get(known.page as usize)?;
        Some(page.view().slot(known.index as usize))
    }

    #[inline]
    fn known(&self, name: &[u8]) -> Option<Known> {
        let node = self.old.as_ref()?;
        let page = node.pages.candidate(name)?;
        let index = node.pages.get(page)?.view().find(name)?;
        let number = self.page_starts.get(page)? + index as u32;
        Some(Known { number, page: page as u32, index: index as u32 })
    }

    /// Notes that a known entry was listed; true when it had been before.
    #[inline]
    fn mark(&mut self, number: u32) -> bool {
        let Some(word) = self.seen.get_mut(number as usize / 64) else { return false };
        let bit = 1 << (number % 64);
        let before = *word & bit != 0;
        *word |= bit;
        before
    }

    fn is_seen(&self, number: u32) -> bool {
        self.seen.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    fn look(&self, context: &Context, fd: impl AsFd, name: &CStr) -> Option<Look> {
        match sys::look_at(fd, name) {
            Ok(look) => Some(look),
            // Gone since it was listed: the lookup at the end decides.
            Err(Errno::NOENT) => None,
            Err(error) => {
                context.tally.io_error("look at", &path::join(&self.path, name.to_bytes()), error);
                None
            }
        }
    }

    fn is_ignored(&self, context: &Context, name: &[u8], is_dir: bool, known: bool) -> bool {
        if is_dir && !context.nested.is_empty() {
            let full = path::join(&self.path, name);
            if context.nested.contains(&full) {
                return true;
            }
        }
        if context.ignorer.is_empty() || (known && context.rules_unchanged) {
            return false;
        }
        context.ignorer.ignores(&path::join(&self.path, name), is_dir)
    }

    fn drop_known(&mut self, known: bool, name: &[u8]) -> Seen {
        if known {
            self.ignored.push(name.into());
        }
        Seen::Nothing
    }

    /// A special file took the place of a known entry.
    fn not_an_entry(&mut self, known: bool, name: &[u8]) -> Seen {
        if known {
            self.lost.push(name.into());
        }
        Seen::Nothing
    }

    fn directory(&mut self, context: &Context, name: &[u8], known: Option<Known>) -> Seen {
        if let Some(known) = known {
            let page = self.old.as_ref().and_then(|node| node.pages.get(known.page as usize));
            let kid = page.and_then(|page| page.kid(known.index as usize)).map(Arc::clone);
            if let Some(kid) = kid {
                let id = kid.head.node;
                return Seen::Descend(Child { old: Some(kid), id });
            }
            self.lost.push(name.into());
        }
        if self.old.is_some() {
            let id = context.take_ids(1);
            self.fresh.push((Record::stub(name, id), Fresh::Added));
            return Seen::Descend(Child { old: None, id });
        }
        let id = context.take_ids(1);
        self.new.push(name, Stat::EMPTY_DIR, id, false, None);
        Seen::Descend(Child { old: None, id })
    }

    fn leaf(&mut self, context: &Context, fd: impl AsFd, c_name: &CStr, stat: &Stat, known: Option<Known>) {
        let name = c_name.to_bytes();
        if self.old.is_none() {
            if let Some((target, racy)) = self.facts(context, fd, c_name, stat) {
                self.new.push(name, *stat, 0, racy, target);
            }
            return;
        }
        let Some(slot) = known.and_then(|known| self.slot(known)) else {
            if let Some(mut record) = self.record(context, fd, c_name, stat) {
                record.id = context.take_ids(1);
                self.fresh.push((record, Fresh::Added));
            }
            return;
        };
        let Some(change) = judge(context, &slot, stat) else {
            self.unchanged += 1;
            return;
        };
        let (id, seq, hash) = (slot.id(), slot.seq(), slot.hash());
        let other_file = change == Fresh::Modified
            && (slot.kind() != stat.kind
                || (context.compare.trusts_inode() && !context.adopt && slot.stat().inode != stat.inode));
        let Some(mut record) = self.record(context, fd, c_name, stat) else { return };
        match change {
            Fresh::Added | Fresh::Modified => {
                if other_file {
                    // Whether the known file went elsewhere or is gone is for the plan to say.
                    self.lost.push(name.into());
                    record.id = context.take_ids(1);
                    self.fresh.push((record, Fresh::Added));
                } else {
                    record.id = id;
                    record.hash = hash;
                    self.fresh.push((record, Fresh::Modified));
                }
            }
            Fresh::Recheck | Fresh::Refreshed => {
                record.id = id;
                record.seq = seq;
                record.hash = hash;
                self.unchanged += 1;
                self.fresh.push((record, change));
            }
        }
    }

    /// The target of a symlink, and whether the entry was changed too recently to be trusted.
    /// `None` when it is gone by now or cannot be read.
    fn facts(
        &mut self,
        context: &Context,
        fd: impl AsFd,
        c_name: &CStr,
        stat: &Stat,
    ) -> Option<(Option<Box<[u8]>>, bool)> {
        let racy = context.is_racy(stat, self.now_ns);
        self.racy |= racy;
        if stat.kind != Kind::Symlink {
            return Some((None, racy));
        }
        match sys::read_link_at(fd, c_name) {
            Ok(target) if target.len() > TARGET_BYTES_MAX => {
                let full = path::join(&self.path, c_name.to_bytes());
                context.tally.refuse(
                    "keep",
                    &full,
                    ErrorKind::TooLarge,
                    "its target has more than 4,096 bytes",
                );
                None
            }
            Ok(target) => Some((Some(target.into()), racy)),
            Err(Errno::NOENT | Errno::INVAL) => None,
            Err(error) => {
                context.tally.io_error("read the link", &path::join(&self.path, c_name.to_bytes()), error);
                None
            }
        }
    }

    fn record(&mut self, context: &Context, fd: impl AsFd, c_name: &CStr, stat: &Stat) -> Option<Record> {
        let (target, racy) = self.facts(context, fd, c_name, stat)?;
        Some(Record {
            name: c_name.to_bytes().into(),
            stat: *stat,
            id: 0,
            seq: SEQ_OF_PAGE,
            racy,
            hash: None,
            target,
            missing_since_ns: None,
        })
    }

    /// Ends the visit. With `complete` false (an error on the way, a cancel) nothing of this
    /// directory becomes missing.
    pub(crate) fn finish(mut self, context: &Context, fd: impl AsFd, complete: bool) {
        if complete {
            self.collect_lost(context, fd);
        }
        let tally = &context.tally;
        tally.dirs.fetch_add(1, Ordering::Relaxed);
        tally.files.fetch_add(self.files, Ordering::Relaxed);
        tally.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        tally.unchanged.fetch_add(self.unchanged, Ordering::Relaxed);
        if self.special > 0 {
            tally.special.fetch_add(self.special, Ordering::Relaxed);
        }
        tally.tell_walk();
        let content = if self.old.is_none() {
            Content::New(std::mem::take(&mut self.new).pack(|count| context.take_ids(count)))
        } else {
            let nothing = self.fresh.is_empty() && self.lost.is_empty() && self.ignored.is_empty();
            if nothing && self.head.is_none() {
                return;
            }
            self.fresh.sort_by(|a, b| a.0.name.cmp(&b.0.name));
            self.fresh.dedup_by(|again, first| again.0.name == first.0.name);
            Content::Known { fresh: self.fresh, lost: self.lost, ignored: self.ignored }
        };
        context.push(Found {
            path: self.path,
            head: self.head,
            content,
            replaced: self.replaced,
            racy: self.racy,
        });
    }

    /// Known entries that the listing did not name. Each is missing only if a lookup says ENOENT;
    /// any other answer keeps it (rule R4 in ARCHITECTURE.md).
    fn collect_lost(&mut self, context: &Context, fd: impl AsFd) {
        let Some(node) = self.old.as_ref().map(Arc::clone) else { return };
        if let Some(only) = self.only.take() {
            for name in only.keys() {
                let Some(known) = self.known(name) else { continue };
                let Some(page) = node.pages.get(known.page as usize) else { continue };
                if !self.is_seen(known.number) {
                    self.check_lost(context, &fd, &page.view().slot(known.index as usize));
                }
            }
            return;
        }
        let mut number = 0u32;
        for page in node.pages.iter() {
            for slot in page.view().slots() {
                let seen = self.is_seen(number);
                number += 1;
                if !seen {
                    self.check_lost(context, &fd, &slot);
                }
            }
        }
    }

    fn check_lost(&mut self, context: &Context, fd: impl AsFd, slot: &Slot<'_>) {
        let full = path::join(&self.path, slot.name());
        let is_dir = slot.kind() == Kind::Dir;
        if is_dir {
            let was_mount =
                self.old.as_ref().and_then(|n| n.kid(slot.name())).is_some_and(|k| k.head.is_mount);
            if was_mount && !context.accept_missing {
                let why = "a mount point is gone; what was below it is kept";
                context.tally.refuse("trust", &full, ErrorKind::Unavailable, why);
                return;
            }
        }
        let Ok(name) = sys::c_name(slot.name()) else { return };
        match sys::look_at(fd, &name) {
            Err(Errno::NOENT) => self.lost.push(slot.name().into()),
            // There after all, since the listing: the next scan sees what it is.
            Ok(_) => {}
            Err(error) => context.tally.io_error("look at", &full, error),
        }
    }
}
