//! The warden's mirrors; behind the feature `mirror`.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::mirror::{Credentials, Mirror, MirrorInfo, MirrorOptions, MirrorStatus, Purge, Storage, Target};
use crate::path::escape;

use super::Warden;

impl Warden {
    /// Opens a mirror of this name to a target: it comes into being, or takes the options up where it had others.
    /// Nothing is sent yet.
    ///
    /// The credentials are kept in memory alone. A mirror that is open already goes on under the new ones.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for options, a target or credentials that make no sense, and when the mirror copies
    /// something else, or to another place; `NotFound` without the root, `Unavailable` when that cannot be trusted.
    pub fn mirror_to(
        &self,
        name: &str,
        options: &MirrorOptions,
        target: &Target,
        credentials: &Credentials,
    ) -> Result<Mirror> {
        self.mirror_to_with(name, options, target, credentials, None)
    }

    /// As [`Warden::mirror_to`], and a CDN is told of each object that was replaced or deleted.
    ///
    /// # Errors
    ///
    /// As [`Warden::mirror_to`].
    pub fn mirror_to_with(
        &self,
        name: &str,
        options: &MirrorOptions,
        target: &Target,
        credentials: &Credentials,
        purge: Option<Arc<dyn Purge>>,
    ) -> Result<Mirror> {
        target.check()?;
        let storage = target.connect(credentials)?;
        let shared = self.inner.mirrors.open_with(name, options, Some(target), storage, purge)?;
        Ok(Mirror::new(shared, Arc::new(self.clone())))
    }

    /// As [`Warden::mirror_to_with`], to a storage that the program brings along.
    ///
    /// # Errors
    ///
    /// As [`Warden::mirror_to`].
    pub fn mirror_with(
        &self,
        name: &str,
        options: &MirrorOptions,
        storage: Arc<dyn Storage>,
        purge: Option<Arc<dyn Purge>>,
    ) -> Result<Mirror> {
        let shared = self.inner.mirrors.open_with(name, options, None, storage, purge)?;
        Ok(Mirror::new(shared, Arc::new(self.clone())))
    }

    /// Opens a mirror as it was made.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none; `InvalidArgument` for one whose storage a program brought along, and for
    /// credentials that are missing or of another kind.
    pub fn mirror(
        &self,
        name: &str,
        credentials: &Credentials,
        purge: Option<Arc<dyn Purge>>,
    ) -> Result<Mirror> {
        let (options, target) = self.inner.mirrors.stored(name)?;
        let target = target.ok_or_else(|| {
            let text = format!("the storage of mirror `{}` is not known", escape(name.as_bytes()));
            Error::invalid(text).with_hint("a program brought it along: `mirror_with`")
        })?;
        self.mirror_to_with(name, &options, &target, credentials, purge)
    }

    /// Lists the mirrors by name.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn mirrors(&self) -> Result<Vec<MirrorInfo>> {
        self.inner.mirrors.list()
    }

    /// How the mirrors stand that are open, by name.
    #[must_use]
    pub fn mirror_status(&self) -> Vec<MirrorStatus> {
        self.inner.mirrors.status()
    }

    /// Forgets a mirror and what it knows of its objects, which stay where they are.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none.
    pub fn remove_mirror(&self, name: &str) -> Result<()> {
        self.inner.mirrors.remove(name)
    }
}
