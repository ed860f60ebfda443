//! How a command ends: an outcome with its exit code, or a failure that says what is wrong and what
//! to do.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::text::printable;

/// The end of a command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was seen to the end.
    Complete,
    /// The work is done, but something was unreadable, unavailable, held or different.
    Incomplete,
}

impl Outcome {
    pub(crate) fn complete_if(complete: bool) -> Outcome {
        if complete { Outcome::Complete } else { Outcome::Incomplete }
    }

    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Outcome::Complete => ExitCode::SUCCESS,
            Outcome::Incomplete => ExitCode::from(3),
        }
    }
}

/// The end of a command that could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One sentence, and what to do next where that is known.
    Said { message: String, hint: Option<String> },
    /// Standard output could not be written.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Said { message: message.into(), hint: None }
    }

    /// The same failure with this hint.
    pub(crate) fn with_hint(self, new_hint: impl Into<String>) -> Failure {
        match self {
            Failure::Said { message, .. } => Failure::Said { message, hint: Some(new_hint.into()) },
            Failure::Output(error) => Failure::Output(error),
        }
    }

    /// Tells the user and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (message, hint) = match self {
            Failure::Said { message, hint } => (message.clone(), hint.as_deref()),
            // Whoever reads (`| head`) has seen enough: that is no error.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Failure::Output(error) => (format!("cannot write to standard output: {error}"), None),
        };
        let mut stderr = io::stderr().lock();
        // When standard error is closed there is nobody left to tell.
        let _ = writeln!(stderr, "error: {}", printable(&message));
        if let Some(hint) = hint {
            let _ = writeln!(stderr, "hint: {}", printable(hint));
        }
        ExitCode::FAILURE
    }
}

impl From<treewarden::Error> for Failure {
    fn from(error: treewarden::Error) -> Failure {
        Failure::Said { message: error.message().to_owned(), hint: error.hint().map(str::to_owned) }
    }
}

/// The commands do I/O of their own only on standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}
