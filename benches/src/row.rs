//! One line of the result: what was measured, its median, how it stands to something else, and whether the design's limit is met.

use std::error::Error;

use crate::measure::Samples;
use crate::table::Table;

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
    /// Bytes, shown in millions.
    Megabytes,
    Bytes,
    PerSecond,
    Percent,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        if value.is_nan() {
            return "not told by this system".to_owned();
        }
        match self {
            Unit::Seconds => format!("{value:.3} s"),
            Unit::Millis => format!("{value:.2} ms"),
            Unit::Micros => format!("{value:.1} µs"),
            Unit::Nanos if value >= 10_000.0 => format!("{:.1} µs", value / 1e3),
            Unit::Nanos => format!("{value:.1} ns"),
            Unit::Megabytes => format!("{:.1} MB", value / 1e6),
            Unit::Bytes => format!("{value:.1} B"),
            Unit::PerSecond => format!("{value:.0} /s"),
            Unit::Percent => format!("{value:.1} %"),
        }
    }
}

pub(crate) struct Row {
    what: String,
    median: String,
    ratio: String,
    limit: String,
    met: &'static str,
    failed: bool,
}

impl Row {
    /// The heading of a group of rows.
    pub(crate) fn heading(text: &str) -> Row {
        Row::note(format!("[{text}]"), "")
    }

    pub(crate) fn note(what: impl Into<String>, text: impl Into<String>) -> Row {
        Row {
            what: what.into(),
            median: text.into(),
            ratio: String::new(),
            limit: String::new(),
            met: "",
            failed: false,
        }
    }

    /// Says that something of ours could not be measured; the run then ends as failed.
    pub(crate) fn failed(what: impl Into<String>, error: &(dyn Error + Send + Sync)) -> Row {
        Row { failed: true, ..Row::note(what, error.to_string().replace('\n', "; ")) }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn value(what: impl Into<String>, value: f64, unit: Unit) -> Row {
        Row::note(what, unit.show(value))
    }

    /// The median, with the smallest and the largest value where there are several.
    pub(crate) fn samples(what: impl Into<String>, samples: &Samples, unit: Unit) -> Row {
        let mut text = unit.show(samples.median());
        if samples.len() > 1 {
            text = format!("{text} ({} - {})", unit.show(samples.least()), unit.show(samples.most()));
        }
        Row::note(what, text)
    }

    /// How many times `of` this is.
    #[must_use]
    pub(crate) fn ratio(mut self, ratio: f64, of: &str) -> Row {
        if ratio.is_finite() {
            self.ratio = format!("{ratio:.2} × {of}");
        }
        self
    }

    /// The design's limit and whether `value` keeps it.
    #[must_use]
    pub(crate) fn at_most(self, value: f64, limit: f64, text: impl Into<String>) -> Row {
        self.limited(value, value <= limit, text.into())
    }

    /// The same for a value that is better the larger it is.
    #[must_use]
    pub(crate) fn at_least(self, value: f64, limit: f64, text: impl Into<String>) -> Row {
        self.limited(value, value >= limit, text.into())
    }

    fn limited(mut self, value: f64, is_met: bool, text: String) -> Row {
        self.limit = text;
        self.met = match is_met {
            _ if value.is_nan() => "unknown",
            true => "yes",
            false => "NO",
        };
        self
    }
}

pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["what", "median", "ratio", "limit of the design", "met?"]);
    for row in rows {
        table.push(vec![
            row.what.clone(),
            row.median.clone(),
            row.ratio.clone(),
            row.limit.clone(),
            row.met.to_owned(),
        ]);
    }
    table
}
