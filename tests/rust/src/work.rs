//! Pipelines in tests: the usual ways to open one, to look at all of it, and to end its jobs.

use treewarden::{Clock, Job, Pipeline, PipelineOptions, Retry, Walker, WorkState};

use crate::assert_lines;
use crate::live::tomorrow;
use crate::tree::{Tree, show};
use crate::world::{Setup, World};

/// One minute in milliseconds.
pub const MINUTE_MS: u64 = 60_000;

/// One hour in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;

/// More jobs than any test has.
const ALL: usize = 10_000;

/// Milliseconds in nanoseconds.
#[must_use]
pub fn ns(ms: u64) -> i64 {
    i64::try_from(ms).unwrap() * 1_000_000
}

/// What a clock shows so many milliseconds from now.
#[must_use]
pub fn after(clock: &Clock, ms: u64) -> i64 {
    clock.now_ns() + ns(ms)
}

/// A scanned tree on a clock that is a day ahead of the disk: nothing in it is too fresh to be trusted, or
/// has to settle.
pub fn scanned(plant: impl FnOnce(&Tree)) -> (World, Clock) {
    let clock = tomorrow();
    let world = Setup::new(Walker::Auto).clock(&clock).build(plant);
    world.scan();
    (world, clock)
}

/// The default options without jitter, so that every wait is known.
#[must_use]
pub fn plain() -> PipelineOptions {
    PipelineOptions::new().retry(Retry { jitter: false, ..Retry::default() })
}

/// Opens the pipeline `p`.
#[must_use]
pub fn open(world: &World, options: &PipelineOptions) -> Pipeline {
    world.warden().pipeline_with("p", options).unwrap_or_else(|e| panic!("{options:?}: {e}"))
}

/// An address without the name of its root.
#[must_use]
pub fn below(address: &[u8]) -> String {
    let at = address.iter().position(|&b| b == b'/').map_or(0, |at| at + 1);
    show(&address[at..])
}

/// Takes everything that is due, best first.
#[must_use]
pub fn take(pipeline: &Pipeline) -> Vec<Job> {
    pipeline.claim(ALL).unwrap_or_else(|e| panic!("claim: {e}"))
}

/// Takes the best job; there must be one.
pub fn one(pipeline: &Pipeline) -> Job {
    let mut jobs = pipeline.claim(1).unwrap_or_else(|e| panic!("claim: {e}"));
    jobs.pop().unwrap_or_else(|| panic!("nothing is due: {:?}", pipeline.status()))
}

/// What jobs are about, in their order.
#[must_use]
pub fn names(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| below(job.path())).collect()
}

/// Completes jobs; all of their leases must be good.
pub fn complete(pipeline: &Pipeline, jobs: Vec<Job>) {
    for answer in pipeline.complete_many(jobs).unwrap_or_else(|e| panic!("complete_many: {e}")) {
        answer.unwrap_or_else(|e| panic!("complete_many: {e}"));
    }
}

/// Takes and completes everything that is due, and says what that was.
pub fn finish(pipeline: &Pipeline) -> Vec<String> {
    let jobs = take(pipeline);
    let what = names(&jobs);
    complete(pipeline, jobs);
    what
}

/// Every item by its address: `a new`, `b error dead`.
#[must_use]
pub fn lines(pipeline: &Pipeline) -> Vec<String> {
    let items = pipeline.list("", None, usize::MAX).unwrap_or_else(|e| panic!("list: {e}"));
    items
        .iter()
        .map(|item| {
            let dead = if item.dead { " dead" } else { "" };
            format!("{} {}{dead}", below(&item.path), item.state.name())
        })
        .collect()
}

/// Compares all items with `expected`; the counts must be those of the list.
pub fn expect(what: &str, pipeline: &Pipeline, expected: &[&str]) {
    let found = lines(pipeline);
    assert_lines(what, expected, &found);
    let status = pipeline.status().unwrap_or_else(|e| panic!("{what}: {e}"));
    let listed = |state: WorkState| pipeline.list("", Some(state), usize::MAX).unwrap().len() as u64;
    let held = listed(WorkState::Processing);
    assert_eq!(status.processing, held, "{what}: leases: {status:?}");
    let counts = [
        (WorkState::New, status.new),
        (WorkState::Changed, status.changed),
        (WorkState::Stale, status.stale),
        (WorkState::Error, status.error),
        (WorkState::Missing, status.missing),
        (WorkState::Indexed, status.indexed),
    ];
    for (state, count) in counts {
        // What is held is counted under the state that it has besides.
        let (least, name) = (listed(state), state.name());
        assert!((least..=least + held).contains(&count), "{what}: {least} {name} listed: {status:?}");
    }
    let sum: u64 = counts.iter().map(|(_, count)| count).sum();
    assert_eq!(sum, found.len() as u64, "{what}: items: {status:?}");
    let dead = found.iter().filter(|line| line.ends_with(" dead")).count() as u64;
    assert_eq!(status.dead, dead, "{what}: dead: {status:?}");
}
