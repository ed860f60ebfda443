//! The C program: compiled with the machine's C compiler when the harness starts, against the header and the library of this tree.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

use super::program::{self, Found};

const SOURCE: &str = include_str!("../../c/bindings.c");
const HEADER: &str = include_str!("../../../include/treewarden.h");
/// The name under which programs look for the library when they start.
const SONAME: &str = "libtreewarden.so.1";

pub(super) struct Native {
    binary: PathBuf,
}

impl Native {
    /// Compiles with `$CC` (default `cc`) into `folder`, which must exist, and links with the library that lies beside this program.
    pub(super) fn build(folder: &Path) -> Result<Found<Native>> {
        let library = std::env::current_exe()?.with_file_name(format!("{DLL_PREFIX}treewarden{DLL_SUFFIX}"));
        if !library.is_file() {
            return Ok(Found::Missing(format!(
                "{} is not there; `cargo build --release -p treewarden-ffi` makes it",
                library.display()
            )));
        }
        let linked = folder.join(SONAME);
        symlink(&library, &linked)?;
        let (source, binary) = (folder.join("bindings.c"), folder.join("bindings"));
        fs::write(&source, SOURCE)?;
        fs::write(folder.join("treewarden.h"), HEADER)?;
        // CC may hold options or a wrapper: "ccache gcc".
        let compiler = std::env::var("CC").unwrap_or_default();
        let mut words = compiler.split_whitespace();
        let name = words.next().unwrap_or("cc");
        program::run(
            Command::new(name)
                .args(words)
                .args(["-O2", "-std=gnu11", "-pthread", "-o"])
                .args([&binary, &source, &linked])
                .arg("-Wl,-rpath,$ORIGIN"),
        )
        .map_err(|error| {
            format!("the C compiler `{name}` failed on the program for the bindings: {error}")
        })?;
        Ok(Found::Ready(Native { binary }))
    }

    /// The program with one of its tasks; the arguments are still to come.
    pub(super) fn command(&self, task: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(task);
        command
    }
}
