//! What a mirror copies, where to, and within which limits; and the row of it in the state file. No secret is
//! part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::bytes::{Malformed, Put, Take};
use crate::error::{Error, Result};
use crate::path::{self, escape};

use super::key::KeyMap;
use super::target::Target;

const MIB: u64 = 1 << 20;
/// Below it stores refuse parts.
const PART_BYTES_MIN: u64 = 5 * MIB;
const PART_BYTES_MAX: u64 = 5 << 30;
const UPLOADS_MAX: u32 = 1_000;
const GLOBS_MAX: usize = 1_000;
/// Fewer deletions than these are never held for their share.
const DELETES_FREE: u64 = 100;

/// What a mirror copies, and within which limits.
///
/// ```
/// use treewarden::mirror::MirrorOptions;
///
/// let options = MirrorOptions::new("photos/public").prefix("img").glob("**/*.jpg").delete_max(500);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorOptions {
    pub(super) address: Vec<u8>,
    pub(super) prefix: String,
    pub(super) globs: BTreeSet<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_types: BTreeMap<String, String>,
    pub(super) uploads_max: u32,
    pub(super) part_bytes: u64,
    pub(super) memory_bytes: u64,
    /// 0: no limit.
    pub(super) bandwidth_bytes_per_s: u64,
    pub(super) attempts_max: u32,
    pub(super) backoff_ms: u64,
    pub(super) backoff_max_ms: u64,
    pub(super) delete_max: u64,
    pub(super) delete_share_percent: u32,
    pub(super) settle_ms: u64,
    pub(super) purge_new: bool,
}

impl MirrorOptions {
    /// Every file at or below this address, `ROOT` or `ROOT/path`. Symlinks and directories have no objects.
    #[must_use]
    pub fn new(address: impl AsRef<[u8]>) -> Self {
        let address = address.as_ref();
        Self {
            address: address.strip_suffix(b"/").unwrap_or(address).to_vec(),
            prefix: String::new(),
            globs: BTreeSet::new(),
            cache_control: None,
            content_types: BTreeMap::new(),
            uploads_max: 10,
            part_bytes: 8 * MIB,
            memory_bytes: 64 * MIB,
            bandwidth_bytes_per_s: 0,
            attempts_max: 5,
            backoff_ms: 200,
            backoff_max_ms: 20_000,
            delete_max: 10_000,
            delete_share_percent: 50,
            settle_ms: 1_000,
            purge_new: false,
        }
    }

    /// What every key begins with, before a slash (default: nothing).
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix: String = prefix.into();
        self.prefix = prefix.strip_suffix('/').map_or_else(|| prefix.clone(), str::to_owned);
        self
    }

    /// Copies only files whose path below the address matches this pattern or another one that was given, with
    /// the syntax of [`crate::PipelineOptions::glob`]. At most 1,000 patterns.
    #[must_use]
    pub fn glob(mut self, pattern: impl Into<String>) -> Self {
        self.globs.insert(pattern.into());
        self
    }

    /// Sets `Cache-Control` of every object (default: none).
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<String>) -> Self {
        self.cache_control = Some(value.into());
        self
    }

    /// Sets the content type of an extension, without its dot. A table of the usual ones is built in; what is in
    /// neither is `application/octet-stream`.
    #[must_use]
    pub fn content_type(mut self, extension: &str, content_type: impl Into<String>) -> Self {
        self.content_types.insert(extension.to_ascii_lowercase(), content_type.into());
        self
    }

    /// Sets how many files are sent at a time (default 10, 1 to 1,000).
    #[must_use]
    pub fn uploads_max(mut self, uploads: u32) -> Self {
        self.uploads_max = uploads;
        self
    }

    /// Sets the size in bytes up to which a file is sent in one piece, and of the parts of larger ones (default
    /// 8 MiB, 5 MiB to 5 GiB). It grows by itself where there would be more than 10,000 parts.
    #[must_use]
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = bytes;
        self
    }

    /// Sets how many bytes of files are held in memory at a time, over all uploads (default 64 MiB, at least one
    /// part).
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sends at most so many bytes a second, over all uploads (default: no limit).
    #[must_use]
    pub fn bandwidth_bytes_per_s(mut self, bytes: u64) -> Self {
        // Nothing a second is refused by the check, not taken for no limit.
        self.bandwidth_bytes_per_s = if bytes == 0 { u64::MAX } else { bytes };
        self
    }

    /// Sets how often a request is tried in one run (default 5), and the wait before the second attempt (200 ms),
    /// which doubles up to a bound (20 s). Up to as much again is added or taken by chance, by half.
    #[must_use]
    pub fn retry(mut self, attempts_max: u32, backoff: Duration, backoff_max: Duration) -> Self {
        self.attempts_max = attempts_max;
        self.backoff_ms = ms(backoff);
        self.backoff_max_ms = ms(backoff_max);
        self
    }

    /// Holds a run's deletions for confirmation when more objects than this would be lost, or when there would be so
    /// many fewer than at any time within the last hour (default 10,000). What only moved is no loss. 0 holds every
    /// one. The hour begins anew when the mirror is opened.
    #[must_use]
    pub fn delete_max(mut self, objects: u64) -> Self {
        self.delete_max = objects;
        self
    }

    /// Holds a run's deletions for confirmation when at least 100 objects, and more than this share of all, in percent
    /// (default 50), would be lost, or be fewer than at any time within the last hour.
    #[must_use]
    pub fn delete_share_percent(mut self, percent: u32) -> Self {
        self.delete_share_percent = percent;
        self
    }

    /// Sends a file when it has been still for so long (default 1,000 ms), so that nothing half-written is sent.
    #[must_use]
    pub fn settle_ms(mut self, ms: u64) -> Self {
        self.settle_ms = ms;
        self
    }

    /// Purges the addresses of new objects too (default: of changed and deleted ones alone), for a CDN that
    /// remembers what was not there.
    #[must_use]
    pub fn purge_new(mut self, yes: bool) -> Self {
        self.purge_new = yes;
        self
    }

    /// The address that is copied.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        &self.address
    }

    /// What every key begins with.
    #[must_use]
    pub fn get_prefix(&self) -> &str {
        &self.prefix
    }

    /// The patterns, sorted.
    pub fn get_globs(&self) -> impl Iterator<Item = &str> {
        self.globs.iter().map(String::as_str)
    }

    /// `Cache-Control` of every object.
    #[must_use]
    pub fn get_cache_control(&self) -> Option<&str> {
        self.cache_control.as_deref()
    }

    /// The extensions with a content type of their own, and that.
    pub fn get_content_types(&self) -> impl Iterator<Item = (&str, &str)> {
        self.content_types.iter().map(|(extension, its)| (extension.as_str(), its.as_str()))
    }

    /// Files at a time.
    #[must_use]
    pub fn get_uploads_max(&self) -> u32 {
        self.uploads_max
    }

    /// Size of a part in bytes.
    #[must_use]
    pub fn get_part_bytes(&self) -> u64 {
        self.part_bytes
    }

    /// Memory for content, in bytes.
    #[must_use]
    pub fn get_memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Bytes a second; `None` for no limit.
    #[must_use]
    pub fn get_bandwidth_bytes_per_s(&self) -> Option<u64> {
        (self.bandwidth_bytes_per_s > 0).then_some(self.bandwidth_bytes_per_s)
    }

    /// Attempts, the first wait and the longest one.
    #[must_use]
    pub fn get_retry(&self) -> (u32, Duration, Duration) {
        (
            self.attempts_max,
            Duration::from_millis(self.backoff_ms),
            Duration::from_millis(self.backoff_max_ms),
        )
    }

    /// Deletions without confirmation.
    #[must_use]
    pub fn get_delete_max(&self) -> u64 {
        self.delete_max
    }

    /// The share of all objects that is deleted without confirmation, in percent.
    #[must_use]
    pub fn get_delete_share_percent(&self) -> u32 {
        self.delete_share_percent
    }

    /// How long a file must be still, in milliseconds.
    #[must_use]
    pub fn get_settle_ms(&self) -> u64 {
        self.settle_ms
    }

    /// Whether new objects are purged too.
    #[must_use]
    pub fn get_purge_new(&self) -> bool {
        self.purge_new
    }

    /// So many deletions are never held.
    pub(super) fn free_deletes(&self) -> u64 {
        self.delete_max.min(DELETES_FREE - 1)
    }

    /// True when so many objects fewer than there were wait for confirmation.
    pub(super) fn holds(&self, deletes: u64, objects: u64) -> bool {
        let share = u128::from(deletes) * 100 > u128::from(objects) * u128::from(self.delete_share_percent);
        deletes > self.delete_max || (deletes >= DELETES_FREE && share)
    }

    /// Fails for options that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        let (root, _) = path::parse(&self.address)?;
        if root.is_empty() {
            return Err(
                Error::invalid("a mirror needs the root that it copies").with_hint("`roots` lists them")
            );
        }
        KeyMap::new(&self.prefix)?;
        self.matcher()?;
        let within = |what: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(Error::invalid(format!("{what} is {value}; it must be from {min} to {max}")))
            }
        };
        within("uploads_max", u64::from(self.uploads_max), 1, u64::from(UPLOADS_MAX))?;
        within("part_bytes", self.part_bytes, PART_BYTES_MIN, PART_BYTES_MAX)?;
        within("memory_bytes", self.memory_bytes, self.part_bytes, u64::MAX)?;
        within("attempts_max", u64::from(self.attempts_max), 1, 1_000)?;
        within("backoff_ms", self.backoff_ms, 1, 86_400_000)?;
        within("backoff_max_ms", self.backoff_max_ms, self.backoff_ms, 86_400_000)?;
        within("delete_share_percent", u64::from(self.delete_share_percent), 0, 100)?;
        within("settle_ms", self.settle_ms, 0, 86_400_000)?;
        if self.bandwidth_bytes_per_s == u64::MAX {
            return Err(Error::invalid("bandwidth_bytes_per_s is 0: nothing would ever be sent")
                .with_hint("leave it out for no limit"));
        }
        let values = self.cache_control.iter().chain(self.content_types.values());
        for value in values {
            if value.is_empty() || !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                return Err(Error::invalid(format!(
                    "`{}` is no value of a header",
                    escape(value.as_bytes())
                ))
                .with_hint("visible ASCII characters and spaces, at least one"));
            }
        }
        Ok(())
    }

    pub(super) fn matcher(&self) -> Result<Option<GlobSet>> {
        if self.globs.len() > GLOBS_MAX {
            return Err(Error::invalid(format!("{} patterns; {GLOBS_MAX} at most", self.globs.len())));
        }
        if self.globs.is_empty() {
            return Ok(None);
        }
        let unreadable = |error: &globset::Error| {
            let pattern = escape(error.glob().unwrap_or_default().as_bytes());
            Error::invalid(format!("glob `{pattern}` cannot be read: {}", error.kind()))
        };
        let mut set = GlobSetBuilder::new();
        for pattern in &self.globs {
            set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(|e| unreadable(&e))?);
        }
        set.build().map(Some).map_err(|e| unreadable(&e))
    }

    /// The content type of a key.
    pub(super) fn type_of(&self, key: &str) -> &str {
        let name = key.rsplit('/').next().unwrap_or(key);
        let Some((_, extension)) = name.rsplit_once('.') else { return UNKNOWN };
        let extension = extension.to_ascii_lowercase();
        match self.content_types.get(&extension) {
            Some(its) => its,
            None => mime_guess::from_ext(&extension).first_raw().unwrap_or(UNKNOWN),
        }
    }

    /// What decides which objects there are: with another one, the acknowledged ones would be of something else.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        (&self.address, &self.prefix) == (&other.address, &other.prefix)
    }
}

const UNKNOWN: &str = "application/octet-stream";

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A mirror as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) options: MirrorOptions,
    /// Id of the root: another one under its name is not the same.
    pub(super) root: u32,
    /// How many objects there were when deletions began to wait: new ones are no reason to let them go.
    pub(super) held_of: Option<u64>,
    /// What the storage calls itself.
    pub(super) place: String,
    /// Where it is, unless the program brings its own storage along.
    pub(super) target: Option<Target>,
}

impl Row {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(256);
        row.push(1);
        let o = &self.options;
        row.put_bytes(self.name.as_bytes());
        row.put_bytes(&o.address);
        row.put_bytes(o.prefix.as_bytes());
        row.put_num(o.globs.len() as u64);
        for glob in &o.globs {
            row.put_bytes(glob.as_bytes());
        }
        row.push(u8::from(o.cache_control.is_some()));
        row.put_bytes(o.cache_control.as_deref().unwrap_or_default().as_bytes());
        row.put_num(o.content_types.len() as u64);
        for (extension, its) in &o.content_types {
            row.put_bytes(extension.as_bytes());
            row.put_bytes(its.as_bytes());
        }
        for number in [
            u64::from(o.uploads_max),
            o.part_bytes,
            o.memory_bytes,
            o.bandwidth_bytes_per_s,
            u64::from(o.attempts_max),
            o.backoff_ms,
            o.backoff_max_ms,
            o.delete_max,
            u64::from(o.delete_share_percent),
            o.settle_ms,
            u64::from(o.purge_new),
        ] {
            row.put_num(number);
        }
        row.put_num(u64::from(self.root));
        row.put_num(self.held_of.map_or(0, |objects| objects.saturating_add(1)));
        row.put_bytes(self.place.as_bytes());
        row.push(u8::from(self.target.is_some()));
        if let Some(target) = &self.target {
            target.encode(&mut row);
        }
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(row);
        if take.u8()? != 1 {
            return Err(Malformed);
        }
        let name = take.string()?;
        let mut options = MirrorOptions::new(take.bytes()?);
        options.prefix = take.string()?;
        for _ in 0..take.num()? {
            options.globs.insert(take.string()?);
        }
        let has_cache_control = take.u8()? == 1;
        let cache_control = take.string()?;
        options.cache_control = has_cache_control.then_some(cache_control);
        for _ in 0..take.num()? {
            let extension = take.string()?;
            options.content_types.insert(extension, take.string()?);
        }
        let small = |value: u64| u32::try_from(value).map_err(|_| Malformed);
        options.uploads_max = small(take.num()?)?;
        options.part_bytes = take.num()?;
        options.memory_bytes = take.num()?;
        options.bandwidth_bytes_per_s = take.num()?;
        options.attempts_max = small(take.num()?)?;
        options.backoff_ms = take.num()?;
        options.backoff_max_ms = take.num()?;
        options.delete_max = take.num()?;
        options.delete_share_percent = small(take.num()?)?;
        options.settle_ms = take.num()?;
        options.purge_new = take.num()? == 1;
        let root = small(take.num()?)?;
        let held_of = take.num()?.checked_sub(1);
        let place = take.string()?;
        let target = if take.u8()? == 1 { Some(Target::decode(&mut take)?) } else { None };
        // One place may be written in several ways.
        let place = target.as_ref().map_or(place, Target::describe);
        if take.is_done() { Ok(Self { name, options, root, held_of, place, target }) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_held_by_count_and_by_share() {
        let options = MirrorOptions::new("r").delete_max(1_000).delete_share_percent(50);
        for (deletes, objects, held) in [
            (0, 0, false),
            (99, 99, false),
            (100, 100, true),
            (100, 200, false),
            (101, 200, true),
            (1_000, 1_000_000, false),
            (1_001, 1_000_000, true),
        ] {
            assert_eq!(options.holds(deletes, objects), held, "{deletes} of {objects}");
        }
        assert!(MirrorOptions::new("r").delete_max(0).holds(1, 1_000));
    }

    #[test]
    fn bad_options_are_refused() {
        let good = || MirrorOptions::new("root/dir");
        assert!(good().check().is_ok());
        for (what, bad) in [
            ("no root", MirrorOptions::new("")),
            ("dots", MirrorOptions::new("root/../etc")),
            ("prefix", good().prefix("a/../b")),
            ("glob", good().glob("[")),
            ("uploads", good().uploads_max(0)),
            ("parts", good().part_bytes(1)),
            ("memory", good().memory_bytes(1)),
            ("bandwidth", good().bandwidth_bytes_per_s(0)),
            ("attempts", good().retry(0, Duration::from_millis(1), Duration::from_millis(1))),
            ("backoff", good().retry(1, Duration::ZERO, Duration::ZERO)),
            ("share", good().delete_share_percent(101)),
            ("header", good().cache_control("a\nb")),
            ("type", good().content_type("x", "")),
        ] {
            assert_eq!(bad.check().map_err(|e| e.kind()), Err(crate::ErrorKind::InvalidArgument), "{what}");
        }
    }

    #[test]
    fn a_row_is_read_back() {
        let options = MirrorOptions::new("root/dir")
            .prefix("p")
            .glob("*.jpg")
            .cache_control("max-age=5")
            .content_type("JPG", "image/x")
            .uploads_max(3)
            .delete_max(7)
            .settle_ms(5)
            .purge_new(true);
        let row = Row {
            name: "n".into(),
            options,
            root: 7,
            held_of: Some(0),
            place: Target::s3("bucket").describe(),
            target: Some(Target::s3("bucket")),
        };
        assert_eq!(Row::decode(&row.encode()).as_ref(), Ok(&row));
        let own = Row { place: "the program's own".into(), held_of: None, target: None, ..row.clone() };
        assert_eq!(Row::decode(&own.encode()).as_ref(), Ok(&own));
        let bytes = row.encode();
        for end in 0..bytes.len() {
            assert!(Row::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn types_follow_the_extension() {
        let options = MirrorOptions::new("r").content_type("foo", "a/b");
        for (key, its) in [
            ("a/b.JPG", "image/jpeg"),
            ("a.foo", "a/b"),
            ("a.b/c", UNKNOWN),
            ("x.html", "text/html"),
            ("x.unheard", UNKNOWN),
            ("x", UNKNOWN),
        ] {
            assert_eq!(options.type_of(key), its, "{key}");
        }
    }
}
