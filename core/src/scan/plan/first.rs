//! The first scan of a root, the short way: everything is new, nothing can have moved, and the pages
//! that the walk packed are the pages that are stored. Only the journal is left to write, in pieces
//! on all threads.

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::entry::Kind;
use crate::journal::{ChangeKind, Writer};
use crate::scan::context::{Content, Found};
use crate::snapshot::{DirEdit, PageView};

use super::Planned;

/// Directories whose journal rows are written in one piece.
const PIECE_DIRS: usize = 4_096;

/// `found` is in path order.
pub(super) fn plan(root: &str, found: Vec<Found>, pool: &ThreadPool) -> Planned {
    let pieces: Vec<(Writer, u64)> =
        pool.install(|| found.par_chunks(PIECE_DIRS).map(|piece| announce(root, piece)).collect());
    let mut planned = Planned::default();
    for (writer, added) in pieces {
        planned.journal.append(writer);
        planned.counts.added += added;
    }
    for dir in found {
        let Content::New(pages) = dir.content else { continue };
        planned.live.push(DirEdit {
            path: dir.path,
            create: true,
            head: dir.head,
            pages,
            ..DirEdit::default()
        });
    }
    planned
}

fn announce(root: &str, dirs: &[Found]) -> (Writer, u64) {
    let mut writer = Writer::default();
    let mut added = 0;
    for dir in dirs {
        let Content::New(pages) = &dir.content else { continue };
        for slot in pages.iter().flat_map(|page| PageView::new(page).slots()) {
            let change = (ChangeKind::Added, slot.kind(), slot.id());
            writer.push(root, &dir.path, slot.name(), change, None);
            added += u64::from(slot.kind() != Kind::Dir);
        }
    }
    (writer, added)
}
