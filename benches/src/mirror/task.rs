//! What the children of this group do: the hidden commands, by name.

use std::path::Path;

use crate::Result;
use crate::measure::Record;

use super::backend::DISCARD;
use super::engine::{self, Work};
use super::{CONNECTIONS, Who, bare, server};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Serve,
    Bare,
    First,
    Again,
    Large,
}

impl Task {
    pub(crate) const ALL: [Task; 5] = [Task::Serve, Task::Bare, Task::First, Task::Again, Task::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Serve => "mirror-serve",
            Task::Bare => "mirror-bare",
            Task::First => "mirror-first",
            Task::Again => "mirror-again",
            Task::Large => "mirror-large",
        }
    }

    /// `count` is the port of the server. Of [`Task::Serve`], `dir` is the folder of its buckets.
    pub(crate) fn measure(self, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
        let port = u16::try_from(count)?;
        let sync =
            |prefix: &str, is_first: bool| engine::sync(&Work { db, dir, threads, port, prefix, is_first });
        match self {
            Task::Serve => server::serve(dir),
            Task::Bare => bare::put_all(dir, port, Who::Floor.bucket(), CONNECTIONS as usize),
            Task::First => sync("", true),
            Task::Again => sync("", false),
            Task::Large => sync(DISCARD, true),
        }
    }
}
