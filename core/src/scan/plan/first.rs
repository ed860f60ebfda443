//! The first scan of a root, the short way: everything is new, nothing can have moved, and the pages
//! that the walk packed are the pages that are stored.

use crate::entry::Kind;
use crate::journal::ChangeKind;
use crate::scan::walk::{Content, Found};
use crate::snapshot::{DirEdit, PageView};

use super::Planned;

pub(super) fn plan(root: &str, found: Vec<Found>) -> Planned {
    let mut planned = Planned::default();
    for dir in found {
        let Content::New(pages) = dir.content else { continue };
        for page in &pages {
            for slot in PageView::new(page).slots() {
                let change = (ChangeKind::Added, slot.kind(), slot.id());
                planned.journal.push(root, &dir.path, slot.name(), change, None);
                planned.counts.added += u64::from(slot.kind() != Kind::Dir);
            }
        }
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
