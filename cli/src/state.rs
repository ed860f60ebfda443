//! Where the state file lies, and the ways a command opens it. Only `scan DIR`, `watch DIR`,
//! `watch --config` and `root add` ever create one.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use treewarden::{Warden, escape};

use crate::address::os_bytes;
use crate::failure::Failure;

/// The state file of this call.
pub(crate) struct StateFile {
    path: PathBuf,
    /// A directory that is ours to create: that of the default place.
    own_dir: Option<PathBuf>,
}

impl StateFile {
    /// The file that was asked for, else the default place.
    pub(crate) fn locate(asked: Option<&Path>) -> Result<StateFile, Failure> {
        if let Some(path) = asked {
            return Ok(StateFile { path: path.to_path_buf(), own_dir: None });
        }
        let Some(data_dir) = data_dir(|name| env::var_os(name)) else {
            return Err(Failure::new("cannot tell where the user's data directory is")
                .with_hint("say where the state file lies: `treewarden --db FILE ...` or TREEWARDEN_DB"));
        };
        let own_dir = data_dir.join("treewarden");
        Ok(StateFile { path: own_dir.join("state.tw"), own_dir: Some(own_dir) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Opens the state file, creates it when there is none.
    pub(crate) fn open_or_create(&self) -> Result<Warden, Failure> {
        if let Some(dir) = &self.own_dir {
            create_private_dir(dir).map_err(|error| {
                let dir = escape(os_bytes(dir.as_os_str()));
                Failure::new(format!("cannot create the directory `{dir}`: {error}"))
            })?;
        }
        Ok(Warden::open(&self.path)?)
    }

    /// Opens the state file to change it; there must be one.
    pub(crate) fn open(&self) -> Result<Warden, Failure> {
        self.open_existing().map_err(|error| self.explained(error))
    }

    /// Opens the state file to read it; there must be one. Any number of readers share it.
    pub(crate) fn open_to_read(&self) -> Result<Warden, Failure> {
        Warden::options().must_exist().read_only().open(&self.path).map_err(|error| self.explained(error))
    }

    fn open_existing(&self) -> treewarden::Result<Warden> {
        Warden::options().must_exist().open(&self.path)
    }

    fn explained(&self, error: treewarden::Error) -> Failure {
        if self.exists() {
            return error.into();
        }
        let path = escape(os_bytes(self.path.as_os_str()));
        Failure::new(format!("there is no state file at `{path}`"))
            .with_hint("`treewarden scan DIR` creates it and records the files below DIR")
    }
}

/// The directory for a user's data on this system; `None` when the environment does not say.
fn data_dir(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The XDG base directory specification: relative paths are invalid and must be ignored.
    let dir = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        dir("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        dir("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        dir("XDG_DATA_HOME").or_else(|| dir("HOME").map(|home| home.join(".local/share")))
    }
}

/// The names of a user's files are nobody else's business: mode 0700.
fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::data_dir;

    #[test]
    fn the_data_directory_follows_the_xdg_rules() {
        let cases = [
            (Some("/data"), Some("/home/u"), Some("/data")),
            (None, Some("/home/u"), Some("/home/u/.local/share")),
            (Some(""), Some("/home/u"), Some("/home/u/.local/share")),
            (Some("relative"), Some("/home/u"), Some("/home/u/.local/share")),
            (None, None, None),
        ];
        for (xdg, home, expected) in cases {
            let found = data_dir(|name| match name {
                "XDG_DATA_HOME" => xdg.map(OsString::from),
                "HOME" => home.map(OsString::from),
                _ => None,
            });
            assert_eq!(found, expected.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }
}
