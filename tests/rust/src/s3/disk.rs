//! Where the test server keeps its objects: `s3s-fs` writes them, this reads and changes them behind its back.
//!
//! `BUCKET/NAME` is an object; its name is the MD5 of its key, and `.keys/NAME` holds the key. `s3s-fs` would use
//! the key itself: then neither `a` and `a/b` could exist together nor a key of more than 160 bytes, and both are
//! everyday keys elsewhere. Everything else beside the buckets is of `s3s-fs`: `.bucket-B.object-N.metadata.json`
//! and `.internal.json` (B and N in base64) are attributes and tags of an object, with `.upload-ID` in it those of
//! an upload under way, `.upload-ID.json` says that an upload is open, and `.upload_id-ID.part-N` is a part.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use s3s::crypto::{Checksum as _, Md5};

const KEYS: &str = ".keys";

/// The directory of a server.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// Makes the names of files that are not finished differ.
    unfinished: AtomicU64,
}

/// An object on disk.
pub(super) struct Found {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        fs::create_dir_all(root.join(KEYS)).unwrap();
        Self { root: root.canonicalize().unwrap(), unfinished: AtomicU64::new(0) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn create_bucket(&self, bucket: &str) {
        fs::create_dir_all(self.root.join(bucket)).unwrap();
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.root.join(bucket).is_dir()
    }

    /// Writes down that a key exists, and returns the name under which its object is kept.
    pub(super) fn remember(&self, key: &str) -> String {
        let name = name_of(key);
        let at = self.root.join(KEYS).join(&name);
        if !at.exists() {
            self.write(&at, key.as_bytes());
        }
        name
    }

    /// The objects of a bucket, in the order of their keys.
    pub(super) fn list(&self, bucket: &str) -> Vec<Found> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join(bucket)).unwrap_or_else(|e| panic!("bucket {bucket}: {e}")) {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let key = fs::read_to_string(self.root.join(KEYS).join(&name)).unwrap();
            found.push(Found { key, name, path: entry.path() });
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found
    }

    pub(super) fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        // One that is deleted between the listing and the reading is deleted.
        self.list(bucket).into_iter().filter_map(|found| Some((found.key, read(&found.path)?))).collect()
    }

    pub(super) fn read(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        read(&self.root.join(bucket).join(name_of(key)))
    }

    pub(super) fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let name = self.remember(key);
        self.forget(bucket, &name);
        self.write(&self.root.join(bucket).join(name), bytes);
    }

    pub(super) fn remove(&self, bucket: &str, key: &str) -> bool {
        let name = name_of(key);
        self.forget(bucket, &name);
        match fs::remove_file(self.root.join(bucket).join(name)) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => panic!("{bucket}/{key}: {e}"),
        }
    }

    /// Removes what is kept beside an object: a later one must not be told by the tags of an earlier one.
    pub(super) fn forget(&self, bucket: &str, name: &str) {
        for kind in ["metadata", "internal"] {
            let _ = fs::remove_file(self.beside(bucket, name, kind));
        }
    }

    pub(super) fn attribute(&self, bucket: &str, key: &str, attribute: &str) -> Option<String> {
        self.text_beside(bucket, &name_of(key), "metadata", attribute)
    }

    /// The entity tag of an object; `None` when it is gone.
    pub(super) fn etag(&self, bucket: &str, found: &Found) -> Option<String> {
        let kept = self.text_beside(bucket, &found.name, "internal", "e_tag");
        kept.or_else(|| read(&found.path).map(|content| md5(&content)))
    }

    pub(super) fn uploads_open(&self, bucket: &str) -> usize {
        let begin = format!(".bucket-{}.object-", base64(bucket.as_bytes()));
        let is_open = |name: &str| {
            let upload = name.strip_prefix(&begin)?.strip_suffix(".metadata.json")?;
            self.upload_is_open(upload.split_once(".upload-")?.1).then_some(())
        };
        let names = fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().and_then(is_open).is_some()).count()
    }

    pub(super) fn upload_is_open(&self, id: &str) -> bool {
        is_id(id) && self.root.join(format!(".upload-{id}.json")).exists()
    }

    /// The content of a part of an open upload.
    pub(super) fn part(&self, id: &str, number: i32) -> Option<Vec<u8>> {
        if is_id(id) { read(&self.root.join(format!(".upload_id-{id}.part-{number}"))) } else { None }
    }

    fn beside(&self, bucket: &str, name: &str, kind: &str) -> PathBuf {
        let (bucket, name) = (base64(bucket.as_bytes()), base64(name.as_bytes()));
        self.root.join(format!(".bucket-{bucket}.object-{name}.{kind}.json"))
    }

    fn text_beside(&self, bucket: &str, name: &str, kind: &str, field: &str) -> Option<String> {
        let json: serde_json::Value =
            serde_json::from_slice(&read(&self.beside(bucket, name, kind))?).ok()?;
        Some(json.get(field)?.as_str()?.to_owned())
    }

    /// Writes a file that nobody sees half-written.
    fn write(&self, to: &Path, bytes: &[u8]) {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(format!(".unfinished-{number}"));
        fs::write(&unfinished, bytes).unwrap();
        fs::rename(&unfinished, to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    }
}

/// The name under which the object of a key is kept.
pub(super) fn name_of(key: &str) -> String {
    md5(key.as_bytes())
}

pub(super) fn md5(bytes: &[u8]) -> String {
    hex(Md5::checksum(bytes))
}

pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(content) => Some(content),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

/// An id comes from a client and becomes a part of a file's name.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Base64 for file names, without padding, as `s3s-fs` writes it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or_default());
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[((bits >> (18 - 6 * digit)) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, md5};

    #[test]
    fn names_are_those_of_the_server() {
        for (plain, coded) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("\u{fb}\u{ff}", "w7vDvw")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "-__-");
        assert_eq!(md5(b""), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
