//! What the children of this group do: the hidden commands, by name.

use std::path::Path;

use crate::Result;
use crate::measure::Record;

use super::rust;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Paths,
    Read,
}

impl Task {
    pub(crate) const ALL: [Task; 2] = [Task::Paths, Task::Read];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Paths => "bindings-paths",
            Task::Read => "bindings-read",
        }
    }

    /// `list` is the file of the addresses that are looked up, and `count` how many they are.
    pub(crate) fn measure(self, db: &Path, list: &Path, count: u64) -> Result<Record> {
        match self {
            Task::Paths => rust::write_paths(db, list, count as usize),
            Task::Read => rust::read(db, list),
        }
    }
}
