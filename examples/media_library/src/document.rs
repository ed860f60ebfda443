//! One document of a movie or show: one answer of the service, one file beside the videos, and the
//! attributes by which it is known the next time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Ignore patterns for the names of all documents.
pub(crate) const FILES: [&str; 2] = ["metadata.json", "metadata.s*.json"];

/// The attribute of the version that the service has given a document.
pub(crate) const ETAG: &str = "etag";
/// The attribute of the hash of its content. Whatever has one was written.
pub(crate) const HASH: &str = "hash";

/// Which document of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Document {
    /// That of the movie or show itself.
    Main,
    /// That of a season.
    Season(u32),
}

impl Document {
    /// Returns the documents that were written when these attributes were stored.
    pub(crate) fn known(attrs: &BTreeMap<String, Vec<u8>>) -> Vec<Self> {
        attrs.keys().filter_map(|name| Self::of_hash(name)).collect()
    }

    fn of_hash(attr: &str) -> Option<Self> {
        match attr.strip_prefix(HASH)? {
            "" => Some(Self::Main),
            rest => rest.strip_prefix(".s")?.parse().ok().map(Self::Season),
        }
    }

    /// Returns the name of an attribute of this document: `etag`, `etag.s01`.
    pub(crate) fn attr(self, what: &str) -> String {
        match self {
            Self::Main => what.to_owned(),
            Self::Season(number) => format!("{what}.s{number:02}"),
        }
    }

    fn file_name(self) -> String {
        match self {
            Self::Main => "metadata.json".to_owned(),
            Self::Season(number) => format!("metadata.s{number:02}.json"),
        }
    }

    /// True when the file is there.
    pub(crate) fn is_in(self, dir: &Path) -> bool {
        dir.join(self.file_name()).is_file()
    }

    /// Writes the file as a whole or not at all. A draft that a kill has left is written over.
    pub(crate) fn write(self, dir: &Path, content: &[u8]) -> io::Result<()> {
        let name = self.file_name();
        let draft = dir.join(format!(".{name}.tmp"));
        let mut file = File::create(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, dir.join(name))?;
        File::open(dir)?.sync_all()
    }

    /// Removes the file, if it is there.
    pub(crate) fn remove(self, dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join(self.file_name())) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_known_by_their_hashes() {
        let documents = [Document::Main, Document::Season(0), Document::Season(7), Document::Season(123)];
        let mut attrs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for document in documents {
            attrs.insert(document.attr(HASH), Vec::new());
            attrs.insert(document.attr(ETAG), Vec::new());
        }
        attrs.insert("id".to_owned(), Vec::new());
        let mut known = Document::known(&attrs);
        known.sort();
        assert_eq!(known, documents);
        assert_eq!(Document::Season(7).attr(ETAG), "etag.s07");
        assert_eq!(Document::Season(7).file_name(), "metadata.s07.json");
    }
}
