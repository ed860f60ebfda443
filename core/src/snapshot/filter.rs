//! What a listing lets through.

use globset::{GlobBuilder, GlobMatcher};

use crate::entry::Kind;
use crate::error::{Error, Result};

/// A filter over entries: where, which names, kinds, sizes and times. All conditions must hold.
///
/// ```
/// use treewarden::{Filter, Kind};
/// let filter = Filter::new().under("music/2024").glob("**/*.flac")?.size_min(1 << 20);
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub(crate) under: Vec<u8>,
    pub(crate) glob: Option<GlobMatcher>,
    pub(crate) kind: Option<Kind>,
    pub(crate) size: Option<(u64, u64)>,
    pub(crate) mtime: Option<(i64, i64)>,
    pub(crate) missing: bool,
    pub(crate) with_dirs: bool,
    pub(crate) direct: bool,
}

impl Filter {
    /// Lets every file and symlink through.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only what lies at or below this address; `""` means all roots.
    #[must_use]
    pub fn under(mut self, prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        self.under = prefix.strip_suffix(b"/").unwrap_or(prefix).to_vec();
        self
    }

    /// Only paths, relative to [`Filter::under`], that match: `*` and `?` stay within a component,
    /// `**` crosses components, `[…]` and `{a,b}` as usual.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the pattern cannot be read.
    pub fn glob(mut self, pattern: &str) -> Result<Self> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| {
            Error::invalid(format!(
                "glob `{}` cannot be read: {}",
                crate::path::escape(pattern.as_bytes()),
                error.kind()
            ))
        })?;
        self.glob = Some(glob.compile_matcher());
        Ok(self)
    }

    /// Only entries of this kind; [`Kind::Dir`] includes directories.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self.with_dirs |= kind == Kind::Dir;
        self
    }

    /// Only entries of at least this size in bytes.
    #[must_use]
    pub fn size_min(mut self, bytes: u64) -> Self {
        self.size = Some((bytes, self.size.map_or(u64::MAX, |s| s.1)));
        self
    }

    /// Only entries of at most this size in bytes.
    #[must_use]
    pub fn size_max(mut self, bytes: u64) -> Self {
        self.size = Some((self.size.map_or(0, |s| s.0), bytes));
        self
    }

    /// Only entries modified at or after this time, in nanoseconds since 1970 UTC.
    #[must_use]
    pub fn mtime_min_ns(mut self, ns: i64) -> Self {
        self.mtime = Some((ns, self.mtime.map_or(i64::MAX, |m| m.1)));
        self
    }

    /// Only entries modified at or before this time, in nanoseconds since 1970 UTC.
    #[must_use]
    pub fn mtime_max_ns(mut self, ns: i64) -> Self {
        self.mtime = Some((self.mtime.map_or(i64::MIN, |m| m.0), ns));
        self
    }

    /// Tombstones instead of what is there.
    #[must_use]
    pub fn missing(mut self) -> Self {
        self.missing = true;
        self
    }

    /// Directories too.
    #[must_use]
    pub fn with_dirs(mut self) -> Self {
        self.with_dirs = true;
        self
    }

    /// Only what lies in the directory of [`Filter::under`] itself; without one, the roots.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// True when nothing but place and kind of walk is asked.
    pub(crate) fn is_plain(&self) -> bool {
        self.glob.is_none() && self.kind.is_none() && self.size.is_none() && self.mtime.is_none()
    }
}
