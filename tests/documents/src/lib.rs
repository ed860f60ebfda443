//! The Rust programs of README.md and docs/*.md. They compile; none of them runs. An error names a file such as
//! `guide.md.rs`, and in it the line of `guide.md`.

// A document may show a value without using it, and stop after a loop without an end.
#![allow(unused_assignments, unused_mut, unused_variables, dead_code, unreachable_code, clippy::all)]
#![deny(deprecated, unused_imports, unused_must_use)]

/// What the programs of the documents bring along themselves.
mod given {
    use std::time::Duration;

    pub(crate) enum Answer {
        Good,
        TooMany(Option<Duration>),
    }

    pub(crate) fn send(_timeout: Duration) -> Answer {
        Answer::Good
    }

    pub(crate) fn look_at_everything() {}

    pub(crate) fn work_on(_change: &treewarden::Change) {}
}

include!(concat!(env!("OUT_DIR"), "/documents.rs"));

#[test]
fn the_documents_have_rust_blocks_and_all_of_them_compile() {
    assert!(BLOCKS >= 50, "only {BLOCKS} blocks were found: are they fenced by ```rust?");
}
