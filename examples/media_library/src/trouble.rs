//! Why a job came to nothing this time, and what the pipeline makes of that.

use std::fmt;
use std::io;
use std::time::Duration;

use treewarden::Failed;

/// Why there is no new metadata for an item.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The service wants to be left alone, for so long if it says so.
    Busy(Option<Duration>),
    /// The workers are about to stop, or the service has paused for long: not begun is not failed.
    NotNow,
    /// The service does not know it.
    Unknown,
    /// It may go well another time.
    Passing(String),
    /// It will not go well before the item gets another name.
    Hopeless(String),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            // Not the fault of the item, and no attempt.
            Trouble::Busy(wait) => Self::put_off(wait.unwrap_or_default()),
            Trouble::NotNow => Self::put_off(Duration::ZERO),
            Trouble::Unknown | Trouble::Hopeless(_) => Self::permanent(trouble.to_string()),
            Trouble::Passing(_) => Self::transient(trouble.to_string()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Passing(format!("the metadata cannot be put in its place: {error}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(Some(wait)) => write!(f, "the service is busy for {} s", wait.as_secs()),
            Self::Busy(None) => f.write_str("the service is busy"),
            Self::NotNow => f.write_str("later"),
            Self::Unknown => f.write_str("the service does not know it"),
            Self::Passing(why) | Self::Hopeless(why) => f.write_str(why),
        }
    }
}
