//! File systems mounted for a test and unmounted whatever happens to it.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

/// A mount that is gone when the value is dropped.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts a tmpfs of `size_mib` MiB over a directory that exists.
    ///
    /// # Errors
    /// A sentence that says why this user may not mount here.
    pub fn tmpfs(at: &Path, size_mib: u32) -> Result<Self, String> {
        let data = CString::new(format!("size={size_mib}m,mode=0755")).unwrap();
        mount("treewarden-test", at, "tmpfs", MountFlags::NOSUID, data.as_c_str())
            .map_err(|error| format!("mounting a tmpfs is not possible here: {error}"))?;
        Ok(Self { at: at.to_path_buf(), mounted: true })
    }

    /// Shows the directory `from` at the directory `at` as well.
    ///
    /// # Errors
    /// A sentence that says why this user may not mount here.
    pub fn bind(from: &Path, at: &Path) -> Result<Self, String> {
        mount_bind(from, at).map_err(|error| format!("a bind mount is not possible here: {error}"))?;
        Ok(Self { at: at.to_path_buf(), mounted: true })
    }

    /// Gives the file system another size.
    pub fn resize(&self, size_mib: u32) {
        mount_remount(&self.at, MountFlags::NOSUID, format!("size={size_mib}m")).unwrap();
    }

    /// Makes the file system read-only.
    pub fn read_only(&self) {
        mount_remount(&self.at, MountFlags::NOSUID | MountFlags::RDONLY, "").unwrap();
    }

    /// Unmounts now, also while files in it are open.
    pub fn unmount(&mut self) {
        if std::mem::replace(&mut self.mounted, false) {
            unmount(&self.at, UnmountFlags::DETACH).unwrap();
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            let _ = unmount(&self.at, UnmountFlags::DETACH);
        }
    }
}
