//! Refresh runs: where a pipeline has them, stale items wait for the time of a schedule, and come in
//! batches then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::live::Timer;
use crate::work::again::RefreshRun;

use super::item::Handle;

pub(in crate::work) struct Run {
    timer: Timer,
    batch: u32,
    gap_ns: i64,
    waiting: BinaryHeap<Reverse<(u64, Handle)>>,
    /// While a run is under way: when its next batch comes.
    next_batch_ns: Option<i64>,
    begun_ns: i64,
    items: u64,
    finished: Vec<Finished>,
}

/// A run that has handed out its last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::work) struct Finished {
    pub(in crate::work) begun_ns: i64,
    pub(in crate::work) ended_ns: i64,
    pub(in crate::work) items: u64,
}

impl Run {
    /// `last_ns`: when a run ended last.
    pub(in crate::work) fn new(options: &RefreshRun, seed: u64, last_ns: Option<i64>, now_ns: i64) -> Self {
        Self {
            timer: Timer::new(options.schedule.clone(), seed, last_ns, now_ns),
            batch: options.batch,
            gap_ns: i64::try_from(options.gap_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            waiting: BinaryHeap::new(),
            next_batch_ns: None,
            begun_ns: 0,
            items: 0,
            finished: Vec::new(),
        }
    }

    /// The same run for a queue that is derived anew.
    pub(super) fn emptied(self) -> Self {
        Self { waiting: BinaryHeap::new(), ..self }
    }

    /// A stale item waits.
    pub(super) fn wait(&mut self, order: u64, handle: Handle) {
        self.waiting.push(Reverse((order, handle)));
    }

    /// When something happens next.
    pub(super) fn next_ns(&self) -> Option<i64> {
        match self.next_batch_ns {
            None if self.waiting.is_empty() => None,
            None => self.timer.next_ns(),
            next => next,
        }
    }

    /// The items whose turn it is. `waits`: whether one still waits for it.
    pub(super) fn take(&mut self, now_ns: i64, waits: impl Fn(Handle) -> bool) -> Vec<(u64, Handle)> {
        let mut batch = Vec::new();
        if self.next_batch_ns.is_none() && self.timer.is_due(now_ns) {
            self.timer.ran(now_ns);
            if !self.waiting.is_empty() {
                (self.next_batch_ns, self.begun_ns, self.items) = (Some(now_ns), now_ns, 0);
            }
        }
        if self.next_batch_ns.is_none_or(|at| at > now_ns) {
            return batch;
        }
        while batch.len() < self.batch as usize {
            let Some(Reverse((order, handle))) = self.waiting.pop() else { break };
            // The same one comes in a row.
            if waits(handle) && batch.last() != Some(&(order, handle)) {
                batch.push((order, handle));
            }
        }
        self.items += batch.len() as u64;
        while self.waiting.peek().is_some_and(|Reverse((_, handle))| !waits(*handle)) {
            self.waiting.pop();
        }
        if self.waiting.is_empty() {
            self.next_batch_ns = None;
            self.finished.push(Finished { begun_ns: self.begun_ns, ended_ns: now_ns, items: self.items });
        } else {
            self.next_batch_ns = Some(now_ns.saturating_add(self.gap_ns));
        }
        batch
    }

    pub(super) fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Schedule;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn stale_items_come_at_their_time_in_batches_with_gaps() {
        let options = RefreshRun { schedule: Schedule::every_ms(60_000).unwrap(), batch: 2, gap_ms: 5_000 };
        let mut run = Run::new(&options, 1, None, 0);
        assert_eq!(run.next_ns(), None, "nobody waits");
        for n in 0..5 {
            run.wait(n, n);
        }
        assert_eq!(run.next_ns(), Some(60 * SECOND));
        assert!(run.take(59 * SECOND, |_| true).is_empty());
        // One has gone meanwhile.
        assert_eq!(run.take(60 * SECOND, |handle| handle != 1), [(0, 0), (2, 2)]);
        assert!(run.take(64 * SECOND, |_| true).is_empty() && run.take_finished().is_empty());
        assert_eq!(run.take(65 * SECOND, |_| true), [(3, 3), (4, 4)]);
        let finished = Finished { begun_ns: 60 * SECOND, ended_ns: 65 * SECOND, items: 4 };
        assert_eq!(run.take_finished(), [finished]);
        run.wait(9, 9);
        assert!(run.take(70 * SECOND, |_| true).is_empty(), "for the next run");
        assert_eq!(run.take(120 * SECOND, |_| true), [(9, 9)]);
    }
}
