//! What a command writes: data on standard output, in one locked and buffered piece; messages on
//! standard error.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::message::Message;
use crate::text::printable;

/// Standard output for data, standard error for messages.
pub(crate) struct Out {
    data: BufWriter<StdoutLock<'static>>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Messages are for a program too: objects instead of sentences.
    json_messages: bool,
}

impl Out {
    pub(crate) fn new(json: bool, quiet: bool) -> Out {
        let data = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        Out { data, json, quiet, json_messages: false }
    }

    /// From now on the messages are objects as well, where the data are: for commands that run until
    /// they are told to stop, and are listened to meanwhile.
    pub(crate) fn converse(&mut self) {
        self.json_messages = self.json;
    }

    /// Writes one JSON object on a line of its own.
    pub(crate) fn object(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.data, object)?;
        self.data.write_all(b"\n")
    }

    /// Writes rows in columns, two spaces apart; those in `right` stand at the right of their
    /// column.
    pub(crate) fn table(&mut self, indent: usize, right: &[usize], rows: &[Vec<String>]) -> io::Result<()> {
        let mut widths: Vec<usize> = Vec::new();
        for row in rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in rows {
            let mut line = " ".repeat(indent);
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let is_last = column + 1 == row.len();
                if right.contains(&column) {
                    line.push_str(&padding);
                }
                line.push_str(cell);
                if !is_last && !right.contains(&column) {
                    line.push_str(&padding);
                }
                if !is_last {
                    line.push_str("  ");
                }
            }
            writeln!(self.data, "{line}")?;
        }
        Ok(())
    }

    /// Writes what is known as `label   text` lines; a line without label goes on with the one
    /// above it.
    pub(crate) fn sheet(&mut self, lines: &[(&str, String)]) -> io::Result<()> {
        for (label, text) in lines {
            writeln!(self.data, "  {label:<11} {text}")?;
        }
        Ok(())
    }

    /// Tells the user on standard error what was done.
    pub(crate) fn notice(&self, text: &str) {
        self.say(&Message::Notice { message: text });
    }

    /// Tells on standard error what happened; when quiet, only what is wrong.
    pub(crate) fn say(&self, message: &Message<'_>) {
        if self.quiet && !message.is_trouble() {
            return;
        }
        let mut text = String::new();
        if self.json_messages {
            // These objects hold nothing that JSON has no form for.
            text.push_str(&serde_json::to_string(message).unwrap_or_default());
            text.push('\n');
        } else {
            for line in message.lines() {
                text.push_str(&printable(&line));
                text.push('\n');
            }
        }
        // In one piece; and a closed standard error is no reason to stop the work.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.data.flush()
    }
}
