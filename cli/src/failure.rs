//! How a command ends: an outcome with its exit code, or a failure that says what is wrong and what
//! to do.

use std::io::{self, Write};

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

    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Outcome::Complete => 0,
            Outcome::Incomplete => 3,
        }
    }
}

/// The end of a command that could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One sentence, what to do next where that is known, and the exit code.
    Said { message: String, hint: Option<String>, code: u8 },
    /// Standard output could not be written.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Said { message: message.into(), hint: None, code: 1 }
    }

    /// What was asked for makes no sense: code 2, as for a wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Said { message: message.into(), hint: None, code: 2 }
    }

    /// The same failure with this hint.
    pub(crate) fn with_hint(self, new_hint: impl Into<String>) -> Failure {
        match self {
            Failure::Said { message, code, .. } => {
                Failure::Said { message, hint: Some(new_hint.into()), code }
            }
            Failure::Output(error) => Failure::Output(error),
        }
    }

    /// The sentence, without the hint.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Said { message, .. } => message.clone(),
            Failure::Output(error) => format!("cannot write to standard output: {error}"),
        }
    }

    /// What to do next, where that is known.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Failure::Said { hint, .. } => hint.as_deref(),
            Failure::Output(_) => None,
        }
    }

    /// Tells the user and returns the exit code.
    pub(crate) fn report(&self) -> u8 {
        let code = match self {
            Failure::Said { code, .. } => *code,
            // Whoever reads (`| head`) has seen enough: that is no error.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return 0;
            }
            Failure::Output(_) => 1,
        };
        let (message, hint) = (self.message(), self.hint());
        let mut stderr = io::stderr().lock();
        // When standard error is closed there is nobody left to tell.
        let _ = writeln!(stderr, "error: {}", printable(&message));
        if let Some(hint) = hint {
            let _ = writeln!(stderr, "hint: {}", printable(hint));
        }
        code
    }
}

impl From<treewarden::Error> for Failure {
    fn from(error: treewarden::Error) -> Failure {
        let failure = Failure::new(error.message());
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

/// The commands do I/O of their own only on standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}
