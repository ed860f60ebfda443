//! The primitives under the publication cell.

pub(crate) use std::sync::Arc;

pub(crate) use crossbeam_channel::Sender;

/// An atomically replaced `Arc`: loads are lock-free, a store waits for nobody.
pub(crate) type Swap<T> = arc_swap::ArcSwap<T>;
