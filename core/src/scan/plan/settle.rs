//! Racy entries (rule R2 in ARCHITECTURE.md): an entry that was changed within the tick of the file
//! system's clock before it was seen could change again without a trace. Where the tick is short,
//! waiting it out and looking once more settles the matter; what is left is marked, and the next
//! scan looks closer.

use std::time::Duration;

use crate::path;
use crate::scan::context::{Content, Context, Found, Fresh};
use crate::snapshot::{PageView, Record, Slot, pack};
use crate::sys;

/// Longest time to wait for a clock to tick.
const WAIT_NS: i64 = 50_000_000;

pub(super) fn settle(context: &Context, found: &mut [Found]) {
    if !found.iter().any(|dir| dir.racy) {
        return;
    }
    if context.tick_ns > WAIT_NS {
        return;
    }
    // Everything was seen before now, so one tick from now all of it is old enough.
    std::thread::sleep(Duration::from_nanos(context.tick_ns.unsigned_abs() + 1_000_000));
    for dir in found.iter_mut().filter(|dir| dir.racy) {
        match &mut dir.content {
            Content::New(pages) => {
                let slots = pages.iter().flat_map(|page| PageView::new(page).slots());
                let mut records: Vec<Record> = slots.map(Slot::to_record).collect();
                for record in &mut records {
                    look_again(context, &dir.path, record);
                }
                *pages = pack(&records, 0);
            }
            Content::Known { fresh, .. } => {
                // What is to be taken up silently stays as it was compared.
                for (record, _) in fresh.iter_mut().filter(|(_, fresh)| *fresh != Fresh::Refreshed) {
                    look_again(context, &dir.path, record);
                }
            }
        }
    }
}

fn look_again(context: &Context, dir: &[u8], record: &mut Record) {
    if !record.racy {
        return;
    }
    let look = sys::open_dir_below(&context.root_fd, dir).and_then(|dir| {
        let name = sys::c_name(&record.name)?;
        let stat = sys::look_at(&dir, &name)?.stat;
        // A link that was replaced meanwhile has another target, too.
        let target = record.target.is_some().then(|| sys::read_link_at(&dir, &name)).transpose()?;
        Ok((stat, target))
    });
    // Gone or unreadable by now: the next scan sees what it is.
    let Ok((Some(stat), target)) = look else { return };
    if stat.kind == record.stat.kind {
        record.target = target.map(Into::into);
        record.stat = stat;
        record.racy = context.is_racy(&stat, context.clock.now_ns());
    } else {
        tracing::debug!(path = %path::escape(&path::join(dir, &record.name)), "changed kind while it was looked at");
    }
}
