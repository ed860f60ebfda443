//! Ignore rules: gitignore patterns, one list per root, applied before a directory is read.

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::path::escape;

/// Names that hardly anybody wants in an index.
const JUNK: [&str; 6] = [".*", "*~", "*.tmp", "*.temp", ".DS_Store", "Thumbs.db"];

/// A list of gitignore patterns. Later patterns win, `!pattern` takes back, a pattern with a slash
/// is relative to the root, one that ends in a slash means directories. What lies in an ignored
/// directory is never looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreRules {
    patterns: Vec<String>,
}

impl IgnoreRules {
    /// Ignores nothing. The default.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Ignores names that start with `.` or end in `~`, `*.tmp`, `*.temp`, `.DS_Store`, `Thumbs.db`.
    #[must_use]
    pub fn junk() -> Self {
        Self { patterns: JUNK.map(str::to_owned).to_vec() }
    }

    /// Takes patterns in gitignore syntax.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a pattern cannot be read; the message names it.
    pub fn new<I>(patterns: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let rules = Self { patterns: patterns.into_iter().map(Into::into).collect() };
        rules.compile()?;
        Ok(rules)
    }

    /// Adds a pattern.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the pattern cannot be read.
    pub fn with(mut self, pattern: impl Into<String>) -> Result<Self> {
        self.patterns.push(pattern.into());
        self.compile()?;
        Ok(self)
    }

    /// Adds the patterns of another list after these.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.patterns.extend(other.patterns);
        self
    }

    /// Returns the patterns in order.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    pub(crate) fn compile(&self) -> Result<Ignorer> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in &self.patterns {
            let bad = |why: String| {
                Error::invalid(format!(
                    "ignore pattern `{}` cannot be read: {why}",
                    escape(pattern.as_bytes())
                ))
                .with_hint("patterns follow gitignore: `*.part`, `cache/`, `/build`, `!keep.tmp`")
            };
            if pattern.contains(['\n', '\0']) {
                return Err(bad("it holds a line break or a NUL".to_owned()));
            }
            // gitignore takes an open bracket for a letter; a rule that never matches helps nobody.
            globset::Glob::new(pattern.trim_start_matches('!')).map_err(|e| bad(e.kind().to_string()))?;
            builder.add_line(None, pattern).map_err(|error| bad(error.to_string()))?;
        }
        let matcher = builder
            .build()
            .map_err(|error| Error::invalid(format!("the ignore patterns cannot be used: {error}")))?;
        Ok(Ignorer { matcher })
    }
}

/// Compiled rules.
#[derive(Debug, Clone)]
pub(crate) struct Ignorer {
    matcher: Gitignore,
}

impl Ignorer {
    pub(crate) fn is_empty(&self) -> bool {
        self.matcher.is_empty()
    }

    /// Judges one path relative to the root; its parents are known not to be ignored.
    pub(crate) fn ignores(&self, path: &[u8], is_dir: bool) -> bool {
        self.matcher.matched(Path::new(OsStr::from_bytes(path)), is_dir).is_ignore()
    }

    /// The pattern that ignores `path` or a directory above it.
    pub(crate) fn ignored_by(&self, path: &[u8], is_dir: bool) -> Option<String> {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| (i, true));
        for (end, is_dir) in ends.chain([(path.len(), is_dir)]) {
            let part = Path::new(OsStr::from_bytes(path.get(..end)?));
            if let Match::Ignore(glob) = self.matcher.matched(part, is_dir) {
                return Some(glob.original().to_owned());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_follow_gitignore() -> Result<()> {
        let rules = IgnoreRules::new(["*.part", "cache/", "/top", "!keep.part"])?.compile()?;
        for (path, is_dir, ignored) in [
            ("a.part", false, true),
            ("d/b.part", false, true),
            ("d/keep.part", false, false),
            ("d/cache", true, true),
            ("d/cache", false, false),
            ("top", false, true),
            ("d/top", false, false),
        ] {
            assert_eq!(rules.ignores(path.as_bytes(), is_dir), ignored, "{path}");
        }
        assert_eq!(rules.ignored_by(b"d/cache/x/y", false).as_deref(), Some("cache/"));
        assert!(rules.ignores(b"d/\xff.part", false), "names are bytes");
        Ok(())
    }

    #[test]
    fn junk_is_the_documented_list() -> Result<()> {
        let rules = IgnoreRules::junk().compile()?;
        for name in [".git", "a~", "x.tmp", "x.temp", ".DS_Store", "d/Thumbs.db"] {
            assert!(rules.ignores(name.as_bytes(), false), "{name}");
        }
        assert!(!rules.ignores(b"a.txt", false) && !rules.ignores(b"d", true));
        Ok(())
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = IgnoreRules::new(["ok", "a[b"]).expect_err("an open bracket");
        assert!(error.message().contains("a[b"), "{error}");
        assert!(IgnoreRules::none().with("a\nb").is_err());
    }
}
