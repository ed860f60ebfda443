//! How fast a limiter lets go: a value, and what makes sense of it.

use std::time::Duration;

use crate::error::{Error, Result};

use super::state::WHOLE;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How fast: at most `limit` requests in any `window`.
///
/// ```
/// use std::time::Duration;
/// use treewarden::RateLimit;
///
/// let rate = RateLimit::new(35, Duration::from_secs(10)).pacing(false);
/// rate.check()?;
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    pub(in crate::work) limit: u32,
    pub(in crate::work) window_ms: u64,
    pub(in crate::work) pacing: bool,
    pub(in crate::work) floor: f32,
}

impl RateLimit {
    /// The highest limit: a million requests in a window.
    pub const LIMIT_MAX: u32 = 1_000_000;

    /// The longest window: 30 days, in milliseconds.
    pub const WINDOW_MS_MAX: u64 = 30 * DAY_MS;

    /// The lowest [`RateLimit::floor`].
    pub const FLOOR_MIN: f32 = 0.01;

    /// At most `limit` requests (1 to 1,000,000) in any `window` (1 ms to 30 days; parts of a millisecond
    /// are rounded up). Paced, with a floor of 0.2.
    #[must_use]
    pub fn new(limit: u32, window: Duration) -> Self {
        let window_ms = u64::try_from(window.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self { limit, window_ms, pacing: true, floor: 0.2 }
    }

    /// Sets whether requests are spread evenly over the window (default true), so that there are no bursts
    /// at all: the next is granted one `limit`-th of the window after the last, times the cost of the
    /// last. A grant that comes a little late, as threads that sleep do, does not put off those after it: a
    /// gap may be shorter by an eighth, but by a millisecond at most; one of less than 2 ms by a quarter of
    /// a millisecond. Without pacing up to `limit` requests are granted at once, and then none for a window.
    #[must_use]
    pub fn pacing(mut self, pacing: bool) -> Self {
        self.pacing = pacing;
        self
    }

    /// Sets how far throttling may lower the limit, as a share of it: 0.01 to 1.0 (default 0.2). One
    /// request in a window is always left. 1.0 means that the limit is never lowered.
    #[must_use]
    pub fn floor(mut self, share: f32) -> Self {
        self.floor = share;
        self
    }

    /// Returns the limit: requests in a window.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the window in milliseconds.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// Returns whether requests are spread evenly over the window.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.pacing
    }

    /// Returns how far throttling may lower the limit, as a share of it.
    #[must_use]
    pub fn lowest_share(&self) -> f32 {
        self.floor
    }

    /// Checks that the values make sense.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a limit, a window or a floor out of range.
    pub fn check(&self) -> Result<()> {
        if !(1..=Self::LIMIT_MAX).contains(&self.limit) {
            return Err(Error::invalid(format!("a limit of {} requests makes no sense", self.limit))
                .with_hint(format!("1 to {} requests in a window are possible", Self::LIMIT_MAX)));
        }
        if !(1..=Self::WINDOW_MS_MAX).contains(&self.window_ms) {
            return Err(Error::invalid(format!("a window of {} ms makes no sense", self.window_ms))
                .with_hint(format!("1 to {} ms (30 days) are possible", Self::WINDOW_MS_MAX)));
        }
        if !(Self::FLOOR_MIN..=1.0).contains(&self.floor) {
            return Err(Error::invalid(format!("a floor of {} makes no sense", self.floor))
                .with_hint(format!("a share of the limit from {} to 1.0 is possible", Self::FLOOR_MIN)));
        }
        Ok(())
    }

    pub(super) fn window_ns(&self) -> i64 {
        i64::try_from(self.window_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
    }

    // Checked before: the share is between 0.01 and 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn floor_share(&self) -> u16 {
        ((self.floor * f32::from(WHOLE)).round() as u16).clamp(1, WHOLE)
    }
}
