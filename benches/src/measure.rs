//! Measuring in rounds: contenders run in turn, each round gives one record of figures per contender, medians come last.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::Result;

/// The figures of one run, by name. What travels from a child process to the harness, as one line of JSON.
pub(crate) type Record = BTreeMap<String, f64>;

pub(crate) fn record<const N: usize>(figures: [(&str, f64); N]) -> Record {
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The record on the last line of a program's output.
pub(crate) fn parse_record(output: &[u8]) -> Result<Record> {
    let text = std::str::from_utf8(output)?;
    let line = text.lines().next_back().ok_or("the program printed nothing")?;
    serde_json::from_str(line).map_err(|error| format!("`{line}` is not a record: {error}").into())
}

/// All values of one figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        let place = self.0.partition_point(|other| *other < value);
        self.0.insert(place, value);
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => self.0[middle],
            _ => f64::midpoint(self.0[middle - 1], self.0[middle]),
        }
    }

    /// The smallest value that `share` (0 to 1) of all values do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = ((self.0.len() as f64 * share).ceil() as usize).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        let mut samples = Samples::default();
        for value in values {
            samples.push(value);
        }
        samples
    }
}

/// One thing that is measured once per round.
pub(crate) struct Contender<'a> {
    key: &'static str,
    run: Box<dyn FnMut() -> Result<Record> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(key: &'static str, run: impl FnMut() -> Result<Record> + 'a) -> Contender<'a> {
        Contender { key, run: Box::new(run) }
    }
}

/// What all rounds gave: by contender, by figure.
#[derive(Default)]
pub(crate) struct Outcome(BTreeMap<&'static str, BTreeMap<String, Samples>>);

impl Outcome {
    /// All values of a figure; none if the contender never ran or the machine does not tell this figure.
    pub(crate) fn samples(&self, key: &str, figure: &str) -> Samples {
        self.0.get(key).and_then(|figures| figures.get(figure)).cloned().unwrap_or_default()
    }

    pub(crate) fn seconds(&self, key: &str) -> Samples {
        self.samples(key, "seconds")
    }
}

/// Runs all contenders in turn, `runs` times; every second round backwards, so that nobody always follows the same neighbour.
pub(crate) fn rounds(runs: usize, contenders: &mut [Contender<'_>]) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for round in 0..runs {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let contender = &mut contenders[place];
            let record = (contender.run)().map_err(|error| format!("{}: {error}", contender.key))?;
            let seconds = record.get("seconds").copied().unwrap_or(f64::NAN);
            eprintln!("round {} of {runs}: {} {seconds:.3} s", round + 1, contender.key);
            let figures = outcome.0.entry(contender.key).or_default();
            for (name, value) in record {
                figures.entry(name).or_default().push(value);
            }
        }
    }
    Ok(outcome)
}

/// Nanoseconds per call of `operation`, over `count` calls.
pub(crate) fn nanos_per_call(count: u64, mut operation: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        operation();
    }
    start.elapsed().as_secs_f64() * 1e9 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_middle_of_two() {
        for (values, expected) in
            [(vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5)]
        {
            let samples: Samples = values.iter().copied().collect();
            assert_eq!(samples.median().total_cmp(&expected), std::cmp::Ordering::Equal, "{values:?}");
        }
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn a_quantile_is_the_value_that_so_many_do_not_exceed() {
        let samples: Samples = (1..=200).map(f64::from).collect();
        for (share, expected) in [(0.0, 1.0), (0.5, 100.0), (0.99, 198.0), (1.0, 200.0)] {
            assert_eq!(samples.quantile(share).total_cmp(&expected), std::cmp::Ordering::Equal, "{share}");
        }
        assert!(Samples::default().quantile(0.5).is_nan());
    }

    #[test]
    fn rounds_alternate_their_order_and_keep_every_value() -> Result<()> {
        let log = std::cell::RefCell::new(Vec::new());
        let order = &log;
        let run = |key: &'static str| {
            Contender::new(key, move || {
                order.borrow_mut().push(key);
                Ok(record([("seconds", 1.0)]))
            })
        };
        let outcome = rounds(2, &mut [run("a"), run("b")])?;
        assert_eq!(outcome.seconds("a").len(), 2);
        assert_eq!(*log.borrow(), ["a", "b", "b", "a"]);
        Ok(())
    }

    #[test]
    fn a_record_is_the_last_line() -> Result<()> {
        assert_eq!(
            parse_record(b"noise\n{\"seconds\":1.5,\"files\":3}\n")?,
            record([("seconds", 1.5), ("files", 3.0)])
        );
        assert!(parse_record(b"noise\n").is_err());
        Ok(())
    }
}
