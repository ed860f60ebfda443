//! What the children of this group do: the hidden commands, by name.

use std::path::Path;

use crate::Result;
use crate::measure::Record;

use super::{jobs, start, stores};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Make,
    Fill,
    FillRefreshed,
    FillSqlite,
    First,
    FirstBeside,
    BackFill,
    Reopen,
    Rescan,
    RescanBeside,
    Memory,
    Jobs,
    JobsBare,
    JobsSqlite,
    Claims,
    ClaimsRelaxed,
    Request,
}

impl Task {
    pub(crate) const ALL: [Task; 17] = [
        Task::Make,
        Task::Fill,
        Task::FillRefreshed,
        Task::FillSqlite,
        Task::First,
        Task::FirstBeside,
        Task::BackFill,
        Task::Reopen,
        Task::Rescan,
        Task::RescanBeside,
        Task::Memory,
        Task::Jobs,
        Task::JobsBare,
        Task::JobsSqlite,
        Task::Claims,
        Task::ClaimsRelaxed,
        Task::Request,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Make => "work-make",
            Task::Fill => "work-fill",
            Task::FillRefreshed => "work-fill-refreshed",
            Task::FillSqlite => "work-fill-sqlite",
            Task::First => "work-first",
            Task::FirstBeside => "work-first-beside",
            Task::BackFill => "work-back-fill",
            Task::Reopen => "work-reopen",
            Task::Rescan => "work-rescan",
            Task::RescanBeside => "work-rescan-beside",
            Task::Memory => "work-memory",
            Task::Jobs => "work-jobs",
            Task::JobsBare => "work-jobs-bare",
            Task::JobsSqlite => "work-jobs-sqlite",
            Task::Claims => "work-claims",
            Task::ClaimsRelaxed => "work-claims-relaxed",
            Task::Request => "work-request",
        }
    }

    /// `count` is how many jobs are claimed in all. Of [`Task::Jobs`], `threads` is how many threads do so; of [`Task::Claims`], `dir`
    /// is the file of the bare store beside it.
    pub(crate) fn measure(self, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
        match self {
            Task::Make => start::make(db),
            Task::Fill => start::fill(db, false),
            Task::FillRefreshed => start::fill(db, true),
            Task::FillSqlite => stores::fill(db, dir, threads),
            Task::First => start::first(db, dir, threads, false),
            Task::FirstBeside => start::first(db, dir, threads, true),
            Task::BackFill => start::back_fill(db),
            Task::Reopen => start::reopen(db),
            Task::Rescan => start::rescan(db, threads, false),
            Task::RescanBeside => start::rescan(db, threads, true),
            Task::Memory => start::memory(db),
            Task::Jobs => jobs::jobs(db, threads, count),
            Task::JobsBare => stores::jobs_bare(db, count),
            Task::JobsSqlite => stores::jobs_sqlite(db, count),
            Task::Claims => jobs::claims(db, dir, count),
            Task::ClaimsRelaxed => jobs::claims_relaxed(db, count),
            Task::Request => jobs::request(db),
        }
    }
}
