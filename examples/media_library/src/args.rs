//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use treewarden::RateLimit;

const MODES: &str = "\
Without --once it goes on until Ctrl-C or SIGTERM: retries and refreshes are made when they are due,
and with --watch what changes in the library as well. Any way to end it is a good one.";

/// Keeps metadata from a web service beside the videos of a library
#[derive(Parser)]
#[command(name = "media_library", version, after_help = MODES)]
pub(crate) struct Args {
    /// Directory with `Movies/Title (Year)/*.mkv` and `Shows/Name/Season NN/*.mkv`
    #[arg(value_name = "LIB")]
    pub(crate) library: PathBuf,

    /// Base address of the service: `http://HOST:PORT/PATH`, port and path as far as there are any
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,

    /// State file; made where there is none
    #[arg(long, value_name = "FILE")]
    pub(crate) state: PathBuf,

    /// Movies and shows to work on at the same time
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) threads: usize,

    /// Requests in any stretch of so many seconds
    #[arg(long, value_name = "N/SECONDS", default_value = "35/10", value_parser = rate)]
    pub(crate) rate: RateLimit,

    /// How long new and changed files must be still first, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    pub(crate) settle_ms: u64,

    /// Wait after a first failure, in milliseconds; it doubles with each one, up to a day
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    pub(crate) retry_ms: u64,

    /// End when nothing is left to do
    #[arg(long)]
    pub(crate) once: bool,

    /// With --once: wait for retries and pauses that end within so many seconds, leave others to the next run
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) patience: u64,

    /// Follow changes in the library
    #[arg(long, conflicts_with = "once")]
    pub(crate) watch: bool,
}

fn rate(text: &str) -> Result<RateLimit, String> {
    let wrong = || "a rate is `35/10`: 35 requests in any 10 seconds".to_owned();
    let (limit, seconds) = text.split_once('/').ok_or_else(wrong)?;
    let limit = limit.parse().map_err(|_| wrong())?;
    let seconds: f64 = seconds.parse().map_err(|_| wrong())?;
    let window = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    let rate = RateLimit::new(limit, window);
    rate.check().map_err(|error| error.to_string())?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_or_refused() {
        for (text, limit, window_ms) in [("35/10", 35, 10_000), ("1/0.4", 1, 400), ("7/3600", 7, 3_600_000)] {
            assert_eq!(rate(text), Ok(RateLimit::new(limit, Duration::from_millis(window_ms))), "{text}");
        }
        for text in ["", "35", "35/", "/10", "0/10", "35/0", "35/-1", "-1/10", "35/NaN", "35/inf", "a/b"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
