//! The file of a configuration: reading it, noticing that it changed, and saying where in it
//! something is wrong.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::failure::Failure;
use crate::text;

/// Nobody writes more than this by hand; what is larger is another file.
const BYTES_MAX: u64 = 1 << 20;

/// A place in a text as editors count: both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a file is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `None` where it is about the file as a whole.
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Refusal {
        Refusal { position: Some(position), message: message.into(), hint: None }
    }

    pub(crate) fn anywhere(message: impl Into<String>) -> Refusal {
        Refusal { position: None, message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { hint: Some(hint.into()), ..self }
    }
}

/// The text of a file; what is wrong in it is found by its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t>(pub(super) &'t str);

impl Text<'_> {
    /// The place of a byte; the end of the text for one beyond it.
    pub(super) fn position(self, offset: usize) -> Position {
        let before = self.0.get(..offset).unwrap_or(self.0);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Position { line, column }
    }

    pub(super) fn refuse<T>(self, value: &Spanned<T>, message: impl Into<String>) -> Refusal {
        Refusal::at(self.position(value.span().start), message)
    }

    /// What the engine says against the value of `key`.
    pub(super) fn refuse_because<T>(
        self,
        value: &Spanned<T>,
        key: &str,
        error: &treewarden::Error,
    ) -> Refusal {
        let refusal = self.refuse(value, format!("`{key}`: {}", error.message()));
        match error.hint() {
            Some(hint) => refusal.with_hint(hint),
            None => refusal,
        }
    }
}

/// By what a file is known to be another one than a moment ago. `None`: there is none.
pub(crate) type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// A configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Absolute: it is read again later.
    path: PathBuf,
}

impl Source {
    pub(crate) fn new(typed: &Path) -> Source {
        Source { path: std::path::absolute(typed).unwrap_or_else(|_| typed.to_path_buf()) }
    }

    /// Where the relative paths in it start.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Looks at the file without opening it: one `stat`.
    pub(crate) fn stamp(&self) -> Stamp {
        let seen = fs::metadata(&self.path).ok()?;
        let (modified, changed) = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
        Some((seen.dev(), seen.ino(), seen.len(), modified, changed))
    }

    pub(super) fn read(&self) -> Result<String, Refusal> {
        let bytes =
            self.read_bytes().map_err(|error| Refusal::anywhere(format!("it cannot be read: {error}")))?;
        String::from_utf8(bytes).map_err(|error| {
            let end = error.utf8_error().valid_up_to();
            let readable = error.as_bytes().get(..end).unwrap_or_default();
            let readable = String::from_utf8_lossy(readable);
            Refusal::at(Text(&readable).position(end), "a byte that is not UTF-8")
        })
    }

    fn read_bytes(&self) -> io::Result<Vec<u8>> {
        // A FIFO would wait for a writer, now or at the next reading.
        let seen = fs::metadata(&self.path)?;
        if !seen.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(bytes)
    }

    /// The refusal with the name of the file before it, in the form that editors jump to.
    pub(crate) fn failure(&self, refusal: Refusal) -> Failure {
        let file = text::path(&self.path);
        let failure = Failure::usage(match refusal.position {
            Some(position) => format!("{file}:{position}: {}", refusal.message),
            None => format!("{file}: {}", refusal.message),
        });
        match refusal.hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
