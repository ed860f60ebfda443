//! Programs in other languages: they measure inside themselves, as the children of the harness do, and print lines `name value unit`.

use std::process::{Command, Output, Stdio};

use crate::Result;
use crate::measure::Record;

/// What a figure may be given in. It is for the reader of the output: the name decides what a figure means.
const UNITS: [&str; 5] = ["s", "ns", "/s", "count", "bytes"];

/// Something that is measured only where it was built.
pub(super) enum Found<T> {
    Ready(T),
    /// One sentence that says what is missing and how to get it.
    Missing(String),
}

/// Runs a program to its end. What it complains about is shown, and its last line told.
pub(super) fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    eprint!("{text}");
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    Err(format!("{}: {last}", output.status).into())
}

/// The figures of one run.
pub(super) fn measure(command: &mut Command) -> Result<Record> {
    parse(&run(command)?.stdout)
}

fn parse(output: &[u8]) -> Result<Record> {
    let text = std::str::from_utf8(output)?;
    let mut record = Record::new();
    for line in text.lines() {
        let (name, value) = figure(line).ok_or_else(|| format!("`{line}` is not `name value unit`"))?;
        if record.insert(name.to_owned(), value).is_some() {
            return Err(format!("`{name}` was printed twice").into());
        }
    }
    if record.is_empty() {
        return Err("the program printed nothing".into());
    }
    Ok(record)
}

fn figure(line: &str) -> Option<(&str, f64)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, value, unit] = words[..] else { return None };
    let value: f64 = value.parse().ok()?;
    (UNITS.contains(&unit) && value.is_finite()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::record;

    #[test]
    fn every_line_is_a_figure() -> Result<()> {
        let text = b"iterate 0.0625 s\nfiles 1000000 count\nseq_1 1.5e1 ns\n";
        assert_eq!(parse(text)?, record([("iterate", 0.0625), ("files", 1e6), ("seq_1", 15.0)]));
        Ok(())
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "iterate 1.0\n",
            "iterate one s\n",
            "iterate 1.0 hours\n",
            "iterate nan s\n",
            "a 1 s\na 2 s\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
