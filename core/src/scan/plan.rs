//! From what the walk found to one commit: pairs moves, reads content, decides what each difference
//! means, and lays out the edits, the journal and the counts. Nothing here writes.

mod behind;
mod first;
mod resolve;
mod settle;
mod standing;
mod write;

use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::entry::Kind;
use crate::journal::Writer;
use crate::operation::Counts;
use crate::snapshot::{DirEdit, DirNode, Head, PageView, Record, RootView, Slot};

use super::context::{Content, Context, Found, Fresh};
use super::report::Held;

/// What one scan of one root leads to.
#[derive(Default)]
pub(crate) struct Planned {
    pub(crate) live: Vec<DirEdit>,
    pub(crate) gone: Vec<DirEdit>,
    pub(crate) journal: Writer,
    pub(crate) counts: Counts,
    /// Entries that are no longer known in any form; their attributes go with them.
    pub(crate) forgotten_ids: Vec<u64>,
    pub(crate) adds_tombstones: bool,
    pub(crate) held: Option<Held>,
    /// Entries that turned out to be as before, beyond those the walk counted.
    pub(crate) unchanged: i64,
}

impl Planned {
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.gone.is_empty()
    }
}

/// Why there is no plan.
pub(crate) enum Unplanned {
    /// The scan was cancelled while content was read.
    Cancelled,
    /// A directory was met twice: it was moved while the walk was under way.
    Twice(Vec<u8>),
}

/// One directory with its differences unpacked.
struct Dir {
    path: Vec<u8>,
    head: Option<Head>,
    is_new: bool,
    items: Vec<Item>,
    lost: Vec<Box<[u8]>>,
    ignored: Vec<Box<[u8]>>,
}

impl Dir {
    /// A known directory in which nothing differs yet.
    fn unchanged(path: Vec<u8>) -> Self {
        Self { path, head: None, is_new: false, items: Vec::new(), lost: Vec::new(), ignored: Vec::new() }
    }
}

/// One entry that is new or differs.
struct Item {
    record: Record,
    what: What,
    /// Hash that is known for the entry, to compare with what is read.
    old_hash: Option<u128>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Added,
    Modified,
    /// Under another path; the address before, and whether it changed as well.
    Moved {
        from: Vec<u8>,
        modified: bool,
    },
    Restored {
        modified: bool,
    },
    /// Content must be read to decide.
    Recheck,
    /// Written without being a change.
    Silent,
    /// Not even written.
    Dropped,
}

/// An entry that is gone from where it was.
struct Lost {
    path: Vec<u8>,
    record: Record,
    /// The facts of a directory.
    head: Option<Head>,
    used: bool,
}

/// Turns what was found into a plan.
pub(crate) fn plan(
    view: &RootView,
    context: &Context,
    mut found: Vec<Found>,
    pool: &ThreadPool,
    now_ns: i64,
) -> Result<Planned, Unplanned> {
    if context.is_look {
        found = standing::standing(&view.live, found);
    }
    pool.install(|| found.par_sort_unstable_by(|a, b| crate::path::compare(&a.path, &b.path)));
    if let Some(twice) = found.array_windows::<2>().find(|[a, b]| a.path == b.path) {
        return Err(Unplanned::Twice(twice[0].path.clone()));
    }
    settle::settle(context, &mut found);
    let untouched = view.live.pages.len() == 0 && view.gone.pages.len() == 0;
    if untouched && view.live.head.is_unread && !context.keeps_hashes {
        return Ok(first::plan(&view.record.name, found, pool));
    }
    resolve::plan(view, context, found, pool, now_ns)
}

/// A batch of a progressive first scan.
pub(crate) fn plan_first(context: &Context, root: &str, mut found: Vec<Found>, pool: &ThreadPool) -> Planned {
    pool.install(|| found.par_sort_unstable_by(|a, b| crate::path::compare(&a.path, &b.path)));
    settle::settle(context, &mut found);
    first::plan(root, found, pool)
}

fn unpack(found: Found, replaced: &mut Vec<(Vec<u8>, Arc<DirNode>)>) -> Dir {
    if let Some(node) = found.replaced {
        replaced.push((found.path.clone(), node));
    }
    let (is_new, items, lost, ignored) = match found.content {
        Content::New(pages) => {
            let records = pages.iter().flat_map(|page| PageView::new(page).slots()).map(Slot::to_record);
            let items = records.map(|mut record| {
                record.seq = crate::snapshot::SEQ_OF_PAGE;
                Item { record, what: What::Added, old_hash: None }
            });
            (true, items.collect(), Vec::new(), Vec::new())
        }
        Content::Known { fresh, lost, ignored } => {
            let items = fresh.into_iter().map(|(mut record, fresh)| {
                let old_hash = record.hash;
                let what = match fresh {
                    Fresh::Added => What::Added,
                    Fresh::Modified => {
                        record.hash = None;
                        What::Modified
                    }
                    Fresh::Recheck => What::Recheck,
                    Fresh::Refreshed => What::Silent,
                };
                Item { record, what, old_hash }
            });
            (false, items.collect(), lost, ignored)
        }
    };
    Dir { path: found.path, head: found.head, is_new, items, lost, ignored }
}

fn is_dir(record: &Record) -> bool {
    record.stat.kind == Kind::Dir
}
