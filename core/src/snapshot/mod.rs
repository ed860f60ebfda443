//! The tree in memory: structure, lookup, filters, diff, totals. What is published is immutable
//! and shared; nothing here waits, locks or talks to a file.

mod cell;
mod diff;
mod edit;
mod filter;
mod iterate;
mod node;
mod page;
mod read;
mod sync;
mod tombstone;
mod tree;
mod walk;

pub use filter::Filter;
pub use iterate::{Entries, EntryRef, Meta};
pub use read::Snapshot;
pub use walk::{Paths, Walk};

pub(crate) use cell::Cell;
pub(crate) use edit::{BlockOp, DirEdit, Inconsistent, Placer, apply, delete_all};
pub(crate) use node::{DirNode, Head, Page, Pages, Place, Trail};
pub(crate) use page::{PageView, Record, RecordRef, SEQ_OF_PAGE, Slot, Summary, pack, pack_refs};
pub(crate) use read::Shared;
pub(crate) use tombstone::{Tombstones, expire};
pub(crate) use tree::{RootView, Tree};
