//! What a difference between the disk and the state means (rules R1 to R3 in ARCHITECTURE.md): values in,
//! verdict out.

use crate::entry::{Compare, Kind, Stat};
use crate::snapshot::{Head, Slot};

use super::context::{Context, Fresh};

/// True when the facts of a directory itself are to be stored anew.
pub(crate) fn differs(context: &Context, old: &Head, new: &Head) -> bool {
    let (a, b) = (&old.stat, &new.stat);
    let inode = context.compare.trusts_inode() || context.adopt;
    let ctime = context.compare.trusts_ctime() || context.adopt;
    a.mtime_ns != b.mtime_ns
        || a.mode != b.mode
        || a.size != b.size
        || (inode && (a.inode != b.inode || a.btime_ns != b.btime_ns))
        || (ctime && a.ctime_ns != b.ctime_ns)
        || old.is_mount != new.is_mount
}

/// Compares a look with what is known. `None` means unchanged.
#[inline]
pub(crate) fn judge(context: &Context, slot: &Slot<'_>, stat: &Stat) -> Option<Fresh> {
    let known = slot.stat();
    let compare = if context.adopt { Compare::SizeMtime } else { context.compare };
    if !compare.same(&known.fingerprint(), &stat.fingerprint()) {
        return Some(Fresh::Modified);
    }
    if slot.is_racy() {
        // An edit within the tick of the file system's clock left no trace in the fingerprint.
        let readable = context.keeps_hashes && stat.kind == Kind::File && slot.hash().is_some();
        return Some(if readable { Fresh::Recheck } else { Fresh::Modified });
    }
    if context.adopt && known != *stat {
        return Some(Fresh::Refreshed);
    }
    let wants_hash = context.keeps_hashes && stat.kind == Kind::File;
    (wants_hash && (context.full || slot.hash().is_none())).then_some(Fresh::Recheck)
}
