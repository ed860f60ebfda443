//! The configuration as it is written: tables, keys and the types of their values. Whether a value
//! makes sense is judged elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;
use treewarden::{ContentHash, WatchBackend, WatchMode};

use super::timing::Keys;
use crate::args::CompareName;

/// The top of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) db: Option<PathBuf>,
    pub(super) metrics: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) watch: WatchTable,
    #[serde(default)]
    pub(super) roots: BTreeMap<Spanned<String>, RootTable>,
}

/// Declares a table that has, besides its own keys, those about the times at which a root is looked
/// at. `serde(flatten)` would lose the places of the values and let unknown keys pass.
macro_rules! table_with_timing {
    ($(#[$about:meta])* $name:ident { $($key:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $key: $kind,)*
            preset: Option<Preset>,
            mode: Option<Mode>,
            debounce_ms: Option<Spanned<Whole>>,
            max_wait_ms: Option<Spanned<Whole>>,
            poll_s: Option<Spanned<Whole>>,
            quick: Option<Spanned<String>>,
            full: Option<Spanned<String>>,
            reconcile: Option<Spanned<String>>,
            jitter_s: Option<Spanned<Whole>>,
            time_zone: Option<Spanned<String>>,
        }

        impl $name {
            pub(super) fn timing(&self) -> Keys {
                Keys {
                    preset: self.preset,
                    mode: self.mode,
                    debounce_ms: self.debounce_ms.clone(),
                    max_wait_ms: self.max_wait_ms.clone(),
                    poll_s: self.poll_s.clone(),
                    quick: self.quick.clone(),
                    full: self.full.clone(),
                    reconcile: self.reconcile.clone(),
                    jitter_s: self.jitter_s.clone(),
                    time_zone: self.time_zone.clone(),
                }
            }
        }
    };
}

table_with_timing! {
    /// `[watch]`: the engine, and the defaults of all roots.
    WatchTable {
        backend: Option<Backend>,
        watches_max: Option<Spanned<Whole>>,
        scan_threads: Option<Spanned<Whole>>,
        nice: Option<Spanned<Whole>>,
        yields: Option<bool>,
    }
}

table_with_timing! {
    /// `[roots.NAME]`.
    RootTable {
        path: Option<Spanned<PathBuf>>,
        ignore: Option<Vec<Spanned<String>>>,
        junk: Option<bool>,
        hash: Option<Hash>,
        compare: Option<CompareName>,
    }
}

/// A number without a fraction, so called in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        struct WholeVisitor;

        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                // Beyond every limit either way.
                Ok(Whole(i64::try_from(number).unwrap_or(i64::MAX)))
            }
        }

        deserializer.deserialize_i64(WholeVisitor)
    }
}

/// A set of times that fits a kind of tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Preset {
    Small,
    Large,
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    Auto,
    Native,
    Poll,
}

impl From<Mode> for WatchMode {
    fn from(mode: Mode) -> WatchMode {
        match mode {
            Mode::Auto => WatchMode::Auto,
            Mode::Native => WatchMode::Native,
            Mode::Poll => WatchMode::Poll,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Backend {
    Auto,
    Inotify,
    Notify,
}

impl From<Backend> for WatchBackend {
    fn from(backend: Backend) -> WatchBackend {
        match backend {
            Backend::Auto => WatchBackend::Auto,
            Backend::Inotify => WatchBackend::Inotify,
            Backend::Notify => WatchBackend::Notify,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hash {
    Off,
    Changed,
}

impl From<Hash> for ContentHash {
    fn from(hash: Hash) -> ContentHash {
        match hash {
            Hash::Off => ContentHash::Off,
            Hash::Changed => ContentHash::Changed,
        }
    }
}
