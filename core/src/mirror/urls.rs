//! From a file to the address of its object and back, for those who write links: a state of its own that never
//! changes, and the difference to an older one.

use std::sync::Arc;

use super::key;
use super::outbox::Known;
use super::plan::Scope;

/// The addresses of a mirror at one moment. Only objects that the storage has acknowledged have one. Cheap to
/// clone; nothing that happens later changes it, and reading waits for nobody.
#[derive(Clone)]
pub struct UrlMap {
    objects: Arc<Known>,
    scope: Arc<Scope>,
    base: Option<Arc<str>>,
}

/// An address that came or went between two maps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlChange {
    /// There is an object now.
    Added {
        /// The address of the file, in bytes.
        path: Vec<u8>,
        /// The address of its object.
        url: String,
    },
    /// It has other content under the same address.
    Modified {
        /// The address of the file, in bytes.
        path: Vec<u8>,
        /// The address of its object.
        url: String,
    },
    /// There is none any more.
    Removed {
        /// The address of the file, in bytes.
        path: Vec<u8>,
        /// The address that its object had.
        url: String,
    },
}

impl std::fmt::Debug for UrlMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UrlMap").field("base", &self.base).field("objects", &self.objects.len()).finish()
    }
}

impl UrlMap {
    pub(super) fn new(objects: Arc<Known>, scope: Arc<Scope>, base: Option<&str>) -> Self {
        Self { objects, scope, base: base.map(|base| Arc::from(base.trim_end_matches('/'))) }
    }

    fn url_of(&self, key: &str) -> Option<String> {
        self.base.as_deref().map(|base| key::url(base, key))
    }

    /// The address of the object of a file, `ROOT/path`. `None` while there is no acknowledged object, and when the
    /// storage has no public address.
    #[must_use]
    pub fn url(&self, path: impl AsRef<[u8]>) -> Option<String> {
        let key = self.scope.plain_key(path.as_ref())?;
        self.objects.get(key.as_str()).filter(|object| object.listed)?;
        self.url_of(&key)
    }

    /// The file, `ROOT/path`, whose object has this address.
    #[must_use]
    pub fn path(&self, url: &str) -> Option<Vec<u8>> {
        let key = key::key_of_url(self.base.as_deref()?, url)?;
        self.objects.get(key.as_str()).filter(|object| object.listed)?;
        self.scope.address_of(&key)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.objects.totals.listed).unwrap_or(usize::MAX)
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each file and its address, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, String)> + '_ {
        self.objects
            .iter()
            .filter(|(_, object)| object.listed)
            .filter_map(|(key, _)| Some((self.scope.address_of(key)?, self.url_of(key)?)))
    }

    /// What came, changed and went since an older map of the same mirror. What both share is skipped.
    #[must_use]
    pub fn diff(&self, older: &Self) -> Vec<UrlChange> {
        use imbl::ordmap::DiffItem;
        let mut changes = Vec::new();
        for item in older.objects.diff(&self.objects) {
            let (key, before, after) = match item {
                DiffItem::Add(key, object) => (key, None, Some(object)),
                DiffItem::Remove(key, object) => (key, Some(object), None),
                DiffItem::Update { old, new } => (new.0, Some(old.1), Some(new.1)),
            };
            let (Some(path), Some(url)) = (self.scope.address_of(key), self.url_of(key)) else { continue };
            match (before.filter(|object| object.listed), after.filter(|object| object.listed)) {
                (None, Some(_)) => changes.push(UrlChange::Added { path, url }),
                (Some(_), None) => changes.push(UrlChange::Removed { path, url }),
                (Some(before), Some(after)) if before.generation != after.generation => {
                    changes.push(UrlChange::Modified { path, url });
                }
                _ => {}
            }
        }
        changes
    }
}
