//! A directory as a place for objects: which file an object is, what lies in its way, and which objects there are.
//!
//! Two invariants. Nothing outside the directory is written, told or deleted: no link in it is followed. And nothing
//! is done to a file by a name that is not its own: some file systems take two names for one that differ in the case
//! of their letters or in dots and spaces at their end, or know a file by a short name as well, and there an object is
//! only what is written like its key.
//!
//! Both hold for what is there when it is looked at; nobody else is expected to write to the directory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use crate::error::{Error, Result};
use crate::path::escape;

use super::super::storage::{Listed, StorageError, StorageFault, StorageResult};
use super::fault::{Failure, scrub};

/// The longest short name of FAT, with its dot.
const SHORT_BYTES_MAX: usize = 12;

/// The directory that objects are put into, as it was when the mirror connected.
///
/// A disk that is no longer mounted leaves an empty directory behind: everything put there would fill the wrong
/// disk, and nothing would seem to be left of the copy.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Keys that are being written, folded.
    claims: Mutex<HashSet<String>>,
    released: Condvar,
}

/// What lies where an object belongs.
#[derive(Debug)]
enum Found {
    Nothing,
    /// Something that has this very name.
    Here(Metadata),
    /// Something with this name, which the file system takes for the same.
    Other(String),
}

impl Root {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn new(path: &Path) -> Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let data = fs::metadata(path).map_err(|error| {
            Error::io("use the directory", bytes, error).with_hint("create it, or mount the disk it is on")
        })?;
        if !data.is_dir() {
            return Err(Error::invalid(format!("`{}` is not a directory", escape(bytes))).with_path(bytes));
        }
        Ok(Self {
            path: path.to_owned(),
            device: data.dev(),
            inode: data.ino(),
            claims: Mutex::default(),
            released: Condvar::new(),
        })
    }

    /// Fails when it is another one now.
    pub(super) fn check(&self) -> StorageResult<()> {
        let why = match fs::metadata(&self.path) {
            Ok(data) if (data.dev(), data.ino()) == (self.device, self.inode) => return Ok(()),
            Ok(_) => "it is another directory than before; is its disk mounted?".to_owned(),
            Err(error) => error.to_string(),
        };
        let shown = escape(self.path.as_os_str().as_bytes());
        Err(StorageError::new(StorageFault::Misconfigured, format!("`{shown}` cannot be used: {why}")))
    }

    /// Makes sure that an object can be put there. Until the claim is dropped nobody else puts one whose name may be
    /// taken for the same.
    ///
    /// # Errors
    ///
    /// `Occupied` when something else has to go first, `Rejected` when a link is on the way.
    pub(super) fn claim(&self, key: &str) -> StorageResult<Claim<'_>> {
        let claim = self.wait_for(key);
        let why = match self.find(key, &mut Names::default())? {
            // Its objects may be deleted later in the same run, and it goes with them.
            Found::Here(data) if data.is_dir() => format!("there is a directory where `{key}` belongs"),
            Found::Other(other) => {
                format!("`{other}` lies where `{key}` belongs: the file system takes both names for one")
            }
            Found::Here(_) | Found::Nothing => return Ok(claim),
        };
        Err(StorageError::new(StorageFault::Occupied, scrub(&why, &[])))
    }

    fn wait_for(&self, key: &str) -> Claim<'_> {
        let key = claimed(key);
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.released.wait_while(claims, |claims| claims.contains(&key));
        free.unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Claim { root: self, key }
    }

    /// True when there is a file to delete that has this very name.
    ///
    /// # Errors
    ///
    /// `Rejected` when a link is on the way.
    pub(super) fn has(&self, key: &str, names: &mut Names) -> StorageResult<bool> {
        Ok(matches!(self.find(key, names)?, Found::Here(data) if !data.is_dir()))
    }

    /// Makes sure that what was deleted stays so: `object_store` does not. Also what was gone already, as it may be for
    /// somebody else's deletion, or one of before whose end nobody saw.
    pub(super) fn sync_deleted(&self, keys: &[&str], answers: &mut [StorageResult<()>]) {
        let mut synced = HashSet::new();
        for (key, answer) in keys.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
            *answer = self.sync_above(key, &mut synced);
        }
    }

    /// Syncs the directory of a key, or, where it went with the last of its files, the nearest above it.
    fn sync_above(&self, key: &str, synced: &mut HashSet<PathBuf>) -> StorageResult<()> {
        let mut above = key;
        loop {
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
            let dir = self.path.join(above);
            if synced.contains(&dir) {
                return Ok(());
            }
            match sync_dir(&dir, above.is_empty()) {
                Ok(()) => {
                    synced.insert(dir);
                    return Ok(());
                }
                Err(error) if is_gone(&error) && !above.is_empty() => {}
                Err(error) => {
                    let mut failure = Failure::of_file(&dir, &error);
                    failure.fault = StorageFault::Transient;
                    return Err(failure.told(&[]));
                }
            }
        }
    }

    /// True when both are names of one file.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no file `from`, `Rejected` when a link is on the way.
    pub(super) fn is_linked(&self, from: &str, to: &str) -> StorageResult<bool> {
        let mut names = Names::default();
        let old = match self.find(from, &mut names)? {
            Found::Here(data) if data.is_file() => data,
            _ => {
                let why = scrub(&format!("there is no file `{from}`"), &[]);
                return Err(StorageError::new(StorageFault::NotFound, why));
            }
        };
        let id = |data: &Metadata| (data.dev(), data.ino());
        Ok(matches!(self.find(to, &mut names)?, Found::Here(new) if id(&new) == id(&old)))
    }

    fn find(&self, key: &str, names: &mut Names) -> StorageResult<Found> {
        let mut found = Found::Nothing;
        let mut path = self.path.clone();
        let mut at = String::new();
        for name in key.split('/') {
            if let Found::Here(data) = &found
                && data.is_symlink()
            {
                return Err(linked(&at));
            }
            let dir = path.clone();
            path.push(name);
            let data = match fs::symlink_metadata(&path) {
                Ok(data) => data,
                // Below a file there is nothing either: whoever puts something there is told.
                Err(error) if is_gone(&error) => return Ok(Found::Nothing),
                Err(error) => return Err(failed(&path, &error)),
            };
            let above = if at.is_empty() { String::new() } else { format!("{at}/") };
            if let Some(other) = names.other(&dir, name, &data).map_err(|error| failed(&dir, &error))? {
                return Ok(Found::Other(format!("{above}{other}")));
            }
            at = format!("{above}{name}");
            found = Found::Here(data);
        }
        Ok(found)
    }

    /// Tells each file below `prefix`, which has no slash at its end, until `each` answers false. Links are not
    /// followed, and what nobody may read is passed over: it is of somebody else, as `lost+found` is.
    pub(super) fn list(
        &self,
        prefix: &str,
        is_key: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Listed) -> bool,
    ) -> StorageResult<()> {
        if !prefix.is_empty() {
            match self.find(prefix, &mut Names::default())? {
                Found::Here(data) if data.is_symlink() => return Err(linked(prefix)),
                Found::Here(data) if data.is_dir() => {}
                Found::Here(_) | Found::Other(_) | Found::Nothing => return Ok(()),
            }
        }
        let mut open = vec![prefix.to_owned()];
        while let Some(dir) = open.pop() {
            let path = self.path.join(&dir);
            let entries = match read_dir(&path, dir.is_empty()) {
                Ok(entries) => entries,
                Err(error) if dir != prefix && is_passed_over(&path, &error) => continue,
                Err(error) => return Err(failed(&path, &error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed(&path, &error))?;
                // What is not UTF-8 is nobody's key.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                let data = match entry.file_type() {
                    Ok(kind) if kind.is_dir() => {
                        open.push(key);
                        continue;
                    }
                    Ok(kind) if !kind.is_file() || !is_key(&key) => continue,
                    Ok(_) => entry.metadata(),
                    Err(error) => Err(error),
                };
                match data {
                    Ok(data) if data.is_file() => {
                        let listed = Listed { key, size: data.len(), etag: Some(etag(&data)) };
                        if !each(listed) {
                            return Ok(());
                        }
                    }
                    Ok(_) => {}
                    Err(error) if is_passed_over(&entry.path(), &error) => {}
                    Err(error) => return Err(failed(&entry.path(), &error)),
                }
            }
        }
        Ok(())
    }
}

/// The right to put an object.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    root: &'a Root,
    key: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.root.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.root.released.notify_all();
    }
}

/// The names in directories, as far as it was needed to read them: once for all keys of a call.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<PathBuf, HashSet<OsString>>);

impl Names {
    /// The name by which the file system finds what was asked for as `name`, where that is another one.
    ///
    /// Whether it takes names for one is nowhere told: a name in the other case that is there as well is a reason to
    /// read what names there are, and so is a name that FAT may have made or cut. On an ordinary file system either
    /// is rare. `found` is what is there.
    fn other(&mut self, dir: &Path, name: &str, found: &Metadata) -> io::Result<Option<String>> {
        let is_there = |other: &String| fs::symlink_metadata(dir.join(other)).is_ok();
        let is_odd = is_cut(name) || is_short(name);
        if !is_odd && !swapped(name).iter().any(is_there) {
            return Ok(None);
        }
        let listed = match self.0.entry(dir.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let entries = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name()));
                new.insert(entries.collect::<io::Result<_>>()?)
            }
        };
        let other = written_otherwise(name, listed);
        if other.is_some() || !is_odd || listed.contains(OsStr::new(name)) {
            return Ok(other);
        }
        // It has another name altogether. A name that is no text is nobody's, but it is one.
        let id = |data: &Metadata| (data.dev(), data.ino());
        let is_it = |other: &&OsString| {
            fs::symlink_metadata(dir.join(other)).is_ok_and(|data| id(&data) == id(found))
        };
        Ok(listed.iter().find(is_it).map(|other| other.to_string_lossy().into_owned()))
    }
}

/// FAT and exFAT cut dots and spaces at the end of a name.
fn is_cut(name: &str) -> bool {
    name.ends_with(['.', ' '])
}

/// A name as FAT makes it up for a longer one, `LONGNA~1.TXT`.
fn is_short(name: &str) -> bool {
    let is_numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.len() <= SHORT_BYTES_MAX && name.split('~').skip(1).any(is_numbered)
}

/// The same for all keys that any file system takes for one before either is there.
fn claimed(key: &str) -> String {
    let names: Vec<&str> = key.split('/').map(|name| name.trim_end_matches(['.', ' '])).collect();
    folded(&names.join("/"))
}

/// The name that differs from this one in the case of its letters alone, where this one itself is not listed.
fn written_otherwise(name: &str, listed: &HashSet<OsString>) -> Option<String> {
    if listed.contains(OsStr::new(name)) {
        return None;
    }
    let wanted = folded(name);
    listed.iter().filter_map(|other| other.to_str()).find(|other| folded(other) == wanted).map(str::to_owned)
}

/// The same for all names that any file system takes for one by the case of their letters.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// The name with its letters in the other case: all of them, and those alone that every such file system knows.
fn swapped(name: &str) -> Vec<String> {
    let ascii = |c: char| if c.is_ascii() { swap(c) } else { c };
    let mut others: Vec<String> = vec![name.chars().map(swap).collect()];
    others.push(name.chars().map(ascii).collect());
    others.dedup();
    others.retain(|other| other != name);
    others
}

/// The letter in the other case, where there is one alone and it leads back.
fn swap(c: char) -> char {
    let (upper, lower) = (alone(c.to_uppercase(), c), alone(c.to_lowercase(), c));
    if upper != c && alone(upper.to_lowercase(), upper) == c {
        return upper;
    }
    if lower != c && alone(lower.to_uppercase(), lower) == c {
        return lower;
    }
    c
}

fn alone(mut letters: impl Iterator<Item = char>, otherwise: char) -> char {
    match (letters.next(), letters.next()) {
        (Some(letter), None) => letter,
        _ => otherwise,
    }
}

/// The entity tag that `object_store` gives a file.
fn etag(data: &Metadata) -> String {
    let modified = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{:x}-{:x}-{:x}", data.ino(), modified.unwrap_or_default().as_micros(), data.len())
}

/// Nothing that trying again would change.
fn cannot_be_synced(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
        || error.raw_os_error() == Some(crate::sys::Errno::BADF.raw_os_error())
}

/// Makes the names in a directory durable. Some file systems have nothing to sync there and say so.
fn sync_dir(path: &Path, is_root: bool) -> io::Result<()> {
    if !is_root && !fs::symlink_metadata(path)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    match File::open(path).and_then(|dir| dir.sync_all()) {
        Err(error) if cannot_be_synced(&error) => Ok(()),
        done => done,
    }
}

/// Opens a directory, and nothing that has become a link since it was told of.
fn read_dir(path: &Path, is_root: bool) -> io::Result<fs::ReadDir> {
    if !is_root && !fs::symlink_metadata(path)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    fs::read_dir(path)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What fails in another way may hold objects: then the listing is no proof of what there is.
fn is_passed_over(path: &Path, error: &io::Error) -> bool {
    let is_closed = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidFilename);
    if is_closed {
        let (path, why) = (escape(path.as_os_str().as_bytes()), error.to_string());
        tracing::warn!(path, why, "it cannot be read, and is passed over when objects are listed");
    }
    is_closed || is_gone(error)
}

fn linked(at: &str) -> StorageError {
    let why = format!("`{at}` is a symbolic link in the target: nothing is put or deleted through it");
    StorageError::new(StorageFault::Rejected, scrub(&why, &[]))
}

fn failed(path: &Path, error: &io::Error) -> StorageError {
    Failure::of_file(path, error).told(&[])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    fn listed(root: &Root, prefix: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |one: Listed| {
            found.push(one.key);
            true
        };
        root.list(prefix, &|key| !key.ends_with("#1"), &mut each).unwrap();
        found.sort();
        found
    }

    #[test]
    fn letters_have_another_case_where_it_leads_back() {
        for (name, others) in [
            ("IMG_1.jpg", &["img_1.JPG"][..]),
            ("Éa", &["éA", "ÉA"]),
            ("é", &["É"]),
            ("Straße", &["sTRAßE"]),
            ("ſ", &[]),
            ("ǅ", &[]),
            ("0-9 写真", &[]),
            ("", &[]),
        ] {
            assert_eq!(swapped(name), others, "{name}");
            for other in others {
                assert_eq!(folded(name), folded(other), "{name}");
            }
        }
        assert_eq!(folded("STRASSE"), folded("straße"));
    }

    #[test]
    fn another_name_is_one_that_is_there_in_the_place_of_this_one() {
        let of = |name: &str, names: &[&str]| {
            written_otherwise(name, &names.iter().map(OsString::from).collect::<HashSet<_>>())
        };
        assert_eq!(of("a.jpg", &["b", "A.JPG"]).as_deref(), Some("A.JPG"));
        assert_eq!(of("A.JPG", &["b", "A.JPG"]), None);
        assert_eq!(of("É", &["é"]).as_deref(), Some("é"));
        // Two files, as on most file systems.
        assert_eq!(of("a.jpg", &["a.jpg", "A.JPG"]), None);
        // Listed in another form, by a file system that writes accents in its own way.
        assert_eq!(of("\u{e9}", &["e\u{301}"]), None);
        assert_eq!(of("a", &[]), None);
    }

    #[test]
    fn names_in_another_case_are_other_files_where_both_are_listed() {
        let (dir, root) = root();
        fs::write(dir.path().join("A.jpg"), "1").unwrap();
        fs::hard_link(dir.path().join("A.jpg"), dir.path().join("a.JPG")).unwrap();
        fs::create_dir_all(dir.path().join("Sub")).unwrap();
        fs::create_dir_all(dir.path().join("sUB")).unwrap();
        fs::write(dir.path().join("Sub/x"), "2").unwrap();
        let mut names = Names::default();
        for (key, is_there) in
            [("A.jpg", true), ("a.JPG", true), ("a.jpg", false), ("Sub/x", true), ("sUB/x", false)]
        {
            assert_eq!(root.has(key, &mut names).unwrap(), is_there, "{key}");
            root.claim(key).unwrap();
        }
        assert_eq!(names.0.len(), 1, "only where there are two such names: {names:?}");
        assert!(root.is_linked("A.jpg", "a.JPG").unwrap());
        assert!(!root.is_linked("A.jpg", "Sub/x").unwrap());
    }

    #[test]
    fn a_name_that_is_cut_or_made_up_is_not_that_of_another_file() {
        let (dir, root) = root();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("longer name.txt"), "1").unwrap();
        for name in ["a.", "a ", "LONGER~1.TXT", "b~1"] {
            fs::write(at(name), "2").unwrap();
            // Listed just so, as on most file systems.
            let found = fs::symlink_metadata(at(name)).unwrap();
            assert_eq!(Names::default().other(dir.path(), name, &found).unwrap(), None, "{name}");
            root.claim(name).unwrap();
            fs::remove_file(at(name)).unwrap();
            // Found, and listed by another name alone.
            let found = fs::symlink_metadata(at("longer name.txt")).unwrap();
            let other = Names::default().other(dir.path(), name, &found).unwrap();
            assert_eq!(other.as_deref(), Some("longer name.txt"), "{name}");
        }
        let mut names = Names::default();
        let found = fs::symlink_metadata(at("longer name.txt")).unwrap();
        for name in ["a", "a.txt~", "~", "no-short-name~1.txt"] {
            assert_eq!(names.other(dir.path(), name, &found).unwrap(), None, "{name}");
        }
        assert!(names.0.is_empty(), "nothing was listed: {names:?}");
        assert_eq!(claimed("A. /b.."), claimed("a/B"));
        assert_ne!(claimed("a.b"), claimed("ab"));
    }

    #[test]
    fn the_directory_of_what_was_deleted_is_synced_or_the_nearest_that_is_left() {
        let (dir, root) = root();
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        fs::write(dir.path().join("f"), "1").unwrap();
        let mut synced = HashSet::new();
        for key in ["d/e/gone", "d/e/gone-too", "d/none/gone", "f/below", "none/none/gone", "gone"] {
            root.sync_above(key, &mut synced).unwrap();
        }
        let expected = ["d/e", "d", ""].map(|name| dir.path().join(name));
        assert_eq!(synced, HashSet::from(expected));
        let refused = Err(StorageError::new(StorageFault::Denied, "no"));
        let mut answers = [Ok(()), refused.clone()];
        drop(dir);
        root.sync_deleted(&["d/gone", "d/kept"], &mut answers);
        assert_eq!(answers[0].as_ref().unwrap_err().fault, StorageFault::Transient);
        assert_eq!(answers[1], refused);
    }

    #[test]
    fn what_lies_in_the_way_has_to_go_first_and_nothing_goes_through_a_link() {
        let (dir, root) = root();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("x"), "1").unwrap();
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        fs::write(dir.path().join("f"), "1").unwrap();
        symlink(elsewhere.path(), dir.path().join("d/link")).unwrap();
        symlink("f", dir.path().join("to-f")).unwrap();
        let fault = |key: &str| root.claim(key).err().map(|error| error.fault);
        for (key, expected) in [
            ("new", None),
            ("d/new/new", None),
            ("f", None),
            ("f/below", None),
            ("d", Some(StorageFault::Occupied)),
            ("d/e", Some(StorageFault::Occupied)),
            // The link itself is replaced.
            ("d/link", None),
            ("to-f", None),
            ("d/link/x", Some(StorageFault::Rejected)),
            ("d/link/new/x", Some(StorageFault::Rejected)),
            ("to-f/x", Some(StorageFault::Rejected)),
        ] {
            assert_eq!(fault(key), expected, "{key}");
        }
        let mut names = Names::default();
        assert_eq!(root.has("d/link/x", &mut names).unwrap_err().fault, StorageFault::Rejected);
        assert!(root.has("d/link", &mut names).unwrap() && !root.has("d", &mut names).unwrap());
        assert!(!root.has("f/below", &mut names).unwrap());
        for from in ["to-f", "d", "none", "f/below"] {
            assert_eq!(root.is_linked(from, "new").unwrap_err().fault, StorageFault::NotFound, "{from}");
        }
        // Copied over a link to itself: that is a name of its own, which goes when the link does.
        assert!(!root.is_linked("f", "to-f").unwrap());
    }

    #[test]
    fn names_that_may_be_one_are_written_one_after_the_other() {
        let (_dir, root) = root();
        let claim = root.claim("d/A.JPG").unwrap();
        drop(root.claim("d/b").unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let claim = root.claim("D/a.jpg").unwrap();
                tell.send(()).unwrap();
                drop(claim);
            });
            assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "it did not wait");
            drop(claim);
            told.recv_timeout(Duration::from_secs(60)).unwrap();
        });
        drop(root.claim("d/A.JPG").unwrap());
    }

    #[test]
    fn a_listing_follows_no_link_and_passes_over_what_is_no_object() {
        let (dir, root) = root();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("of-somebody"), "1").unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b/empty")).unwrap();
        for name in ["f", "a/f", "a/b/f", "a/b/g", "a/b/g#1", "ab"] {
            fs::write(at(name), name).unwrap();
        }
        fs::write(dir.path().join(OsStr::from_bytes(b"a/\xff")), "").unwrap();
        symlink(elsewhere.path(), at("a/link")).unwrap();
        symlink(at("f"), at("a/file-link")).unwrap();
        symlink("..", at("a/b/up")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("a/socket")).unwrap();
        assert_eq!(listed(&root, ""), ["a/b/f", "a/b/g", "a/f", "ab", "f"]);
        assert_eq!(listed(&root, "a"), ["a/b/f", "a/b/g", "a/f"]);
        for none in ["a/b/empty", "none", "f", "f/below"] {
            assert!(listed(&root, none).is_empty(), "{none}");
        }
        for link in ["a/link", "a/b/up/b"] {
            let error = root.list(link, &|_| true, &mut |_| true).unwrap_err();
            assert_eq!(error.fault, StorageFault::Rejected, "{link}");
        }
        let mut told = 0;
        let mut two = |_: Listed| {
            told += 1;
            told < 2
        };
        root.list("", &|_| true, &mut two).unwrap();
        assert_eq!(told, 2);
    }

    #[test]
    fn only_what_is_closed_or_gone_is_passed_over() {
        let path = Path::new("/srv/lost+found");
        for (kind, passed) in [
            (io::ErrorKind::PermissionDenied, true),
            (io::ErrorKind::InvalidFilename, true),
            (io::ErrorKind::NotFound, true),
            (io::ErrorKind::NotADirectory, true),
            (io::ErrorKind::StaleNetworkFileHandle, false),
            (io::ErrorKind::Other, false),
        ] {
            assert_eq!(is_passed_over(path, &kind.into()), passed, "{kind}");
        }
    }
}
