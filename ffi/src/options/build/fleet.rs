//! From what was said about a fleet to what the engine takes. A URL passes through here on its way into memory: it may
//! hold a password, so no message names it.

use std::time::Duration;

use treewarden_core::RateLimit;
use treewarden_core::fleet::{Fleet, FleetOptions};

use super::super::names::*;
use super::super::{OptionsObject, Settings};
use super::{OF_LIMITER, rate, refuse};
use crate::border::Outcome;

/// How a Redis is to be reached.
pub(crate) struct FleetWanted {
    pub(crate) options: FleetOptions,
    /// When it is needed first.
    pub(crate) later: bool,
}

/// Options of the kind `TW_OPTIONS_FLEET`.
pub(crate) fn fleet_wanted(options: Option<&OptionsObject>, url: &str) -> Outcome<FleetWanted> {
    let said = Settings::of(options, TW_OPTIONS_FLEET)?;
    let mut built = Fleet::options(url);
    if let Some(prefix) = said.text(TW_OPTION_FLEET_PREFIX) {
        built = built.prefix(prefix);
    }
    if let Some(ms) = said.number(TW_OPTION_FLEET_CONNECT_TIMEOUT_MS)? {
        built = built.connect_timeout(Duration::from_millis(ms));
    }
    if let Some(ms) = said.number(TW_OPTION_FLEET_COMMAND_TIMEOUT_MS)? {
        built = built.command_timeout(Duration::from_millis(ms));
    }
    Ok(FleetWanted { options: built, later: said.flag(TW_OPTION_FLEET_LATER) == Some(true) })
}

/// Options of the kind `TW_OPTIONS_LIMITER`, for all machines.
pub(crate) fn shared_rate_limit(options: Option<&OptionsObject>) -> Outcome<RateLimit> {
    let said = Settings::of(options, TW_OPTIONS_LIMITER)?;
    refuse(&said, &[TW_OPTION_LIMITER_FLOOR_PERMILLE], "for a fleet, whose limit is never lowered")?;
    rate(&said, OF_LIMITER)
}

/// What a publisher appends, and how much of it stays.
pub(crate) struct PublisherWanted {
    pub(crate) root: Option<String>,
    pub(crate) entries_max: Option<u64>,
}

/// Options of the kind `TW_OPTIONS_PUBLISHER`.
pub(crate) fn publisher_wanted(options: Option<&OptionsObject>) -> Outcome<PublisherWanted> {
    let said = Settings::of(options, TW_OPTIONS_PUBLISHER)?;
    let root = said.text(TW_OPTION_PUBLISHER_ROOT).map(str::to_owned);
    Ok(PublisherWanted { root, entries_max: said.number(TW_OPTION_PUBLISHER_ENTRIES_MAX)? })
}

/// Options of the kind `TW_OPTIONS_CONSUMER`, of which there is one.
pub(crate) fn takeover_after(options: Option<&OptionsObject>) -> Outcome<Option<Duration>> {
    let said = Settings::of(options, TW_OPTIONS_CONSUMER)?;
    Ok(said.number(TW_OPTION_CONSUMER_TAKEOVER_AFTER_MS)?.map(Duration::from_millis))
}
