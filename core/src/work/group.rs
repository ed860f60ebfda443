//! Which files are one job: the key that a pipeline maps a path to.
//!
//! Invariant: the code of a caller, run here, neither unwinds into the engine nor decides where a key lies.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::bytes::{Malformed, Put, Take};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{self, escape};

use super::record::u32_num;

/// Key of a group, in bytes, the name of the root included.
const KEY_BYTES_MAX: usize = 4 * 1024;
/// No tree is so deep that this does not mean every file by itself.
const DEPTH_MAX: u32 = 1_000;
const UNKNOWN_HINT: &str = "the state file keeps its name only: open the pipeline with the function itself";

/// Which files are one job. Its key looks like an address: `ROOT/…`, at most 4,096 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Group {
    /// Each file by itself; it keeps its record when it moves.
    #[default]
    None,
    /// The files that lie directly in one directory.
    Parent,
    /// The files that share their first components below the root, so many (0, the whole root, to 1,000).
    /// A file that lies less deep is by itself.
    Depth(u32),
    /// The files whose paths differ in the last extension only: `a.jpg`, `a.xmp` and `a`.
    Stem,
    /// The files for which a function returns the same key.
    By(GroupFn),
}

impl Group {
    /// Groups by a function. See [`GroupFn::new`].
    #[must_use]
    pub fn by<F>(name: impl Into<String>, function: F) -> Self
    where
        F: Fn(&[u8]) -> Result<Option<Vec<u8>>> + Send + Sync + 'static,
    {
        Self::By(GroupFn::new(name, function))
    }

    /// Returns the key of the group that the file `relative`, a path below `root`, belongs to; of
    /// [`Group::None`] the address of the file itself. `None` where a function leaves the file out.
    ///
    /// # Errors
    ///
    /// `TooLarge` for a key of more than 4,096 bytes. Of a function: what it returned; `InvalidArgument`
    /// when it panicked, when its key is not an address in `root`, and when it is known by name only. The
    /// error names the file.
    pub fn key(&self, root: &str, relative: &[u8]) -> Result<Option<Vec<u8>>> {
        let within_root = match self {
            Self::None => relative,
            Self::Parent => path::split_last(relative).0,
            Self::Depth(components) => first_components(relative, *components),
            Self::Stem => without_extension(relative),
            Self::By(function) => {
                let file = address(root, relative);
                let key = function.key(root, &file)?;
                return key.map(|key| check_key(key, &file)).transpose();
            }
        };
        let key = address(root, within_root);
        if key.len() <= KEY_BYTES_MAX {
            return Ok(Some(key));
        }
        check_key(key, &address(root, relative)).map(Some)
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Depth(depth) if *depth > DEPTH_MAX => {
                Err(Error::invalid(format!("groups at a depth of {depth} make no sense"))
                    .with_hint("at most 1,000; `Group::None` takes each file by itself"))
            }
            Self::By(function) => path::check_name("group function", &function.name),
            _ => Ok(()),
        }
    }

    /// Refuses a function that is known by its name only.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`.
    pub(super) fn known(&self) -> Result<()> {
        match self {
            Self::By(GroupFn { name, function: None }) => Err(Error::invalid(format!(
                "the files are grouped by the function `{}`, which this program did not give",
                escape(name.as_bytes())
            ))
            .with_hint(UNKNOWN_HINT)),
            _ => Ok(()),
        }
    }

    pub(super) fn put(&self, row: &mut Vec<u8>) {
        match self {
            Self::None => row.push(GROUP_NONE),
            Self::Parent => row.push(GROUP_PARENT),
            Self::Depth(depth) => {
                row.push(GROUP_DEPTH);
                row.put_num(u64::from(*depth));
            }
            Self::Stem => row.push(GROUP_STEM),
            Self::By(function) => {
                row.push(GROUP_BY);
                row.put_bytes(function.name.as_bytes());
            }
        }
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(match take.u8()? {
            GROUP_NONE => Self::None,
            GROUP_PARENT => Self::Parent,
            GROUP_DEPTH => Self::Depth(u32_num(take)?),
            GROUP_STEM => Self::Stem,
            GROUP_BY => Self::By(GroupFn { name: take.string()?, function: None }),
            _ => return Err(Malformed),
        })
    }
}

const GROUP_NONE: u8 = 0;
const GROUP_PARENT: u8 = 1;
const GROUP_DEPTH: u8 = 2;
const GROUP_STEM: u8 = 3;
const GROUP_BY: u8 = 4;

type KeyOf = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>> + Send + Sync;

/// A function that groups files, and the name it is stored by. Two of one name are equal.
#[derive(Clone)]
pub struct GroupFn {
    name: String,
    /// `None` where only the state file told of it.
    function: Option<Arc<KeyOf>>,
}

impl GroupFn {
    /// A function from the address of a file, `ROOT/relative/path`, to the key of its group, which is an
    /// address in the same root, of a file or directory or of nothing at all. `None` leaves the file out.
    ///
    /// It is called whenever a file comes, changes or moves, from several threads, and must return the
    /// same key for the same address as long as its name stays. `name` has 1 to 255 bytes, no `/` and no
    /// control character.
    #[must_use]
    pub fn new<F>(name: impl Into<String>, function: F) -> Self
    where
        F: Fn(&[u8]) -> Result<Option<Vec<u8>>> + Send + Sync + 'static,
    {
        Self { name: name.into(), function: Some(Arc::new(function)) }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn key(&self, root: &str, file: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(function) = &self.function else {
            return Err(self.complain("is not known to this program", file).with_hint(UNKNOWN_HINT));
        };
        let key = match catch_unwind(AssertUnwindSafe(|| function(file))) {
            Ok(Ok(Some(key))) => key,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) if error.path().is_some() => return Err(error),
            Ok(Err(error)) => return Err(error.with_path(file)),
            Err(payload) => return Err(self.complain(&panicked(payload.as_ref()), file)),
        };
        match path::parse(&key) {
            Ok((first, rest)) if first == root.as_bytes() => Ok(Some(address(root, rest))),
            _ => Err(self
                .complain(&format!("returned the key `{}`", escape(&key)), file)
                .with_hint(format!("a key is an address in the root of the file: `{root}/…`"))),
        }
    }

    fn complain(&self, what: &str, file: &[u8]) -> Error {
        let (name, shown) = (escape(self.name.as_bytes()), escape(file));
        Error::invalid(format!("the group function `{name}` {what} for `{shown}`")).with_path(file)
    }
}

impl fmt::Debug for GroupFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupFn({})", escape(self.name.as_bytes()))
    }
}

impl PartialEq for GroupFn {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for GroupFn {}

fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
        Some(text) => format!("panicked ({})", escape(text.as_bytes())),
        None => "panicked".to_owned(),
    }
}

fn check_key(key: Vec<u8>, file: &[u8]) -> Result<Vec<u8>> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(key);
    }
    let bytes = key.len();
    let message = format!("the group of `{}` has a key of {bytes} bytes; at most 4,096 fit", escape(file));
    Err(Error::new(ErrorKind::TooLarge, message).with_path(file))
}

fn address(root: &str, relative: &[u8]) -> Vec<u8> {
    if relative.is_empty() { root.as_bytes().to_vec() } else { path::join(root.as_bytes(), relative) }
}

fn first_components(relative: &[u8], count: u32) -> &[u8] {
    let Some(slashes_before) = count.checked_sub(1) else { return &[] };
    let mut slashes = relative.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let end = slashes.nth(usize::try_from(slashes_before).unwrap_or(usize::MAX));
    end.and_then(|(at, _)| relative.get(..at)).unwrap_or(relative)
}

/// What begins with dots only, as `.bashrc`, has no extension there.
fn without_extension(relative: &[u8]) -> &[u8] {
    let (_, name) = path::split_last(relative);
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return relative };
    if name.iter().take(dot).all(|byte| *byte == b'.') {
        return relative;
    }
    relative.get(..relative.len() - (name.len() - dot)).unwrap_or(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &Group, relative: &str) -> String {
        let key = group.key("tv", relative.as_bytes()).expect("a key").expect("in a group");
        String::from_utf8(key).expect("text")
    }

    #[test]
    fn files_are_grouped_by_their_path() {
        for (group, relative, expected) in [
            (Group::None, "a/b.mkv", "tv/a/b.mkv"),
            (Group::Parent, "a/b/c.mkv", "tv/a/b"),
            (Group::Parent, "a.mkv", "tv"),
            (Group::Depth(0), "a/b/c.mkv", "tv"),
            (Group::Depth(1), "a/b/c.mkv", "tv/a"),
            (Group::Depth(2), "a/b/c.mkv", "tv/a/b"),
            (Group::Depth(3), "a/b/c.mkv", "tv/a/b/c.mkv"),
            (Group::Depth(1_000), "a/b/c.mkv", "tv/a/b/c.mkv"),
            (Group::Depth(1), "a.mkv", "tv/a.mkv"),
            (Group::Stem, "a/b.jpg", "tv/a/b"),
            (Group::Stem, "a/b", "tv/a/b"),
            (Group::Stem, "a/b.tar.gz", "tv/a/b.tar"),
            (Group::Stem, "a/b.", "tv/a/b"),
            (Group::Stem, "a.d/b", "tv/a.d/b"),
            (Group::Stem, "a/.bashrc", "tv/a/.bashrc"),
            (Group::Stem, "a/.bashrc.old", "tv/a/.bashrc"),
            (Group::Stem, "a/..x", "tv/a/..x"),
            (Group::Stem, "b.jpg", "tv/b"),
        ] {
            assert_eq!(key(&group, relative), expected, "{group:?} of {relative}");
        }
    }

    #[test]
    fn a_function_groups_or_leaves_out() {
        let shows = Group::by("shows", |address| {
            let parts: Vec<&[u8]> = address.split(|byte| *byte == b'/').collect();
            Ok(match parts.as_slice() {
                [root, show, _, ..] => Some([root, &b"/"[..], show, &b"/"[..]].concat()),
                _ => None,
            })
        });
        assert_eq!(key(&shows, "Show/1.mkv"), "tv/Show", "a slash at the end is forgiven");
        assert_eq!(shows.key("tv", b"loose.mkv").expect("no error"), None);
        let whole = Group::by("whole", |_| Ok(Some(b"tv".to_vec())));
        assert_eq!(key(&whole, "a/b"), "tv");
        let odd = Group::by("odd", |address| Ok(Some(address.to_vec())));
        assert_eq!(odd.key("tv", b"\xff\n").expect("bytes are fine"), Some(b"tv/\xff\n".to_vec()));
    }

    #[test]
    fn a_key_that_is_no_address_in_the_root_is_refused() {
        for bad in ["", "/", "Show", "films/x", "tvx/a", "/tv/x", "tv//x", "tv/../x", "tv/a\0"] {
            let group = Group::by("bad", move |_| Ok(Some(bad.as_bytes().to_vec())));
            let error = group.key("tv", b"a.mkv").expect_err(bad);
            assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidArgument, Some(&b"tv/a.mkv"[..])));
            assert!(error.hint().is_some_and(|hint| hint.contains("`tv/")), "{error}");
        }
    }

    #[test]
    fn what_a_function_does_is_an_error_with_the_path() {
        let file = Some(&b"tv/a\n.mkv"[..]);
        let failing: [(Group, &str); 4] = [
            (Group::by("a", |_| panic!("at the \x1b disco")), r"panicked (at the \x1b disco)"),
            (Group::by("b", |address| panic!("{} bytes", address.len())), "panicked (9 bytes)"),
            (Group::by("c", |_| std::panic::panic_any(7)), "panicked for"),
            (Group::by("d", |_| Err(Error::invalid("no show"))), "no show"),
        ];
        for (group, text) in failing {
            let error = group.key("tv", b"a\n.mkv").expect_err("it fails");
            assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidArgument, file), "{group:?}");
            assert!(error.message().contains(text), "{error}");
            assert!(!error.message().contains(['\x1b', '\n']), "{error}");
        }
        let known = Group::by("e", |_| Err(Error::invalid("it").with_path("tv/other")));
        let error = known.key("tv", b"a").expect_err("it fails");
        assert_eq!(error.path(), Some(&b"tv/other"[..]), "a function may name another path");
    }

    #[test]
    fn a_key_fits_up_to_the_limit() {
        let deep = |bytes: usize| vec![b'x'; bytes - 3];
        for group in [Group::None, Group::Depth(1), Group::Stem, Group::by("all", |a| Ok(Some(a.to_vec())))] {
            let fits = group.key("tv", &deep(4_096)).expect("it fits").expect("in a group");
            assert_eq!(fits.len(), 4_096);
            let error = group.key("tv", &deep(4_097)).expect_err("one byte too many");
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert_eq!(error.path().map(<[u8]>::len), Some(4_097));
        }
        assert_eq!(key(&Group::Depth(0), &"x".repeat(9_000)), "tv", "the path itself may be long");
    }

    #[test]
    fn a_group_is_checked_and_read_back() {
        for group in [
            Group::None,
            Group::Parent,
            Group::Depth(0),
            Group::Depth(1_000),
            Group::Stem,
            Group::by("f", |_| Ok(None)),
        ] {
            assert!(group.check().is_ok());
            let mut row = Vec::new();
            group.put(&mut row);
            let mut take = Take(&row);
            assert_eq!((Group::take(&mut take), take.is_done()), (Ok(group), true));
        }
        for group in [Group::Depth(1_001), Group::by("", |_| Ok(None)), Group::by("a/b", |_| Ok(None))] {
            assert_eq!(group.check().map_err(|e| e.kind()), Err(ErrorKind::InvalidArgument), "{group:?}");
        }
    }

    #[test]
    fn a_stored_function_is_a_name_until_it_is_given_again() {
        let given = Group::by("shows", |_| Ok(None));
        let mut row = Vec::new();
        given.put(&mut row);
        let stored = Group::take(&mut Take(&row)).expect("a row");
        assert_eq!(stored, given);
        assert!(given.known().is_ok() && Group::Stem.known().is_ok());
        assert!(stored.known().is_err_and(|error| error.hint().is_some()));
        assert_ne!(stored, Group::by("films", |_| Ok(None)));
        assert_eq!(format!("{stored:?}"), "By(GroupFn(shows))");
        let error = stored.key("tv", b"a.mkv").expect_err("no function");
        assert!(error.message().contains("`shows` is not known"), "{error}");
    }
}
