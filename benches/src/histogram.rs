//! A log-linear histogram of nanoseconds: exact below 32, above that 32 buckets to each doubling, so no value is off by more than
//! 1/32. Recording is a few instructions and never allocates.

const STEPS_LOG2: u32 = 5;
const STEPS: usize = 1 << STEPS_LOG2;
/// One linear stretch of `STEPS`, then `STEPS` for each doubling from 2^5 to 2^63.
const BUCKETS: usize = STEPS * (64 - STEPS_LOG2 as usize + 1);

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, most: 0 }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.most = self.most.max(value);
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.most = self.most.max(other.most);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// The value that `share` (0 to 1) of all values do not exceed, rounded up to the end of its bucket; 0 when nothing was recorded.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return last_of(index).min(self.most);
            }
        }
        self.most
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - STEPS_LOG2;
    // `value >> shift` lies in STEPS..2 * STEPS.
    shift as usize * STEPS + (value >> shift) as usize
}

/// The largest value that falls into a bucket.
fn last_of(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let shift = index / STEPS - 1;
    let step = (STEPS + index % STEPS) as u64;
    (step << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for index in 0..BUCKETS {
            let last = last_of(index);
            assert_eq!(bucket(last), index);
            if index + 1 < BUCKETS {
                assert_eq!(bucket(last + 1), index + 1);
            }
        }
        assert_eq!(last_of(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn values_fall_into_the_bucket_that_holds_them() {
        for (value, last) in [
            (0, 0),
            (31, 31),
            (32, 32),
            (63, 63),
            (64, 65),
            (100, 101),
            (1_000, 1_007),
            (1_000_000, 1_015_807),
        ] {
            assert_eq!(last_of(bucket(value)), last, "{value}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for value in 1..=1_000 {
            histogram.record(value);
        }
        for (share, expected) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1_000), (0.0, 1)] {
            let got = histogram.quantile(share);
            assert!(got >= expected && got <= expected + expected / 32 + 1, "{share}: {got}");
        }
        assert_eq!(histogram.most(), 1_000);
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        assert_eq!(Histogram::new().quantile(0.5), 0);
    }

    #[test]
    fn merging_adds_up() {
        let (mut one, mut two) = (Histogram::new(), Histogram::new());
        one.record(10);
        two.record(20);
        one.merge(&two);
        assert_eq!((one.total(), one.most(), one.quantile(0.5)), (2, 20, 10));
    }
}
