//! The Python program, and the environment in which the package is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

use super::program::{self, Found};

const SOURCE: &str = include_str!("../../python/bindings.py");
/// In the folder `target` of this tree, as the Makefile has it.
const INTERPRETER: &str = "venv/bin/python";
/// Only code that was built with checks of its arithmetic holds this text.
const CHECKED: &[u8] = b"attempt to add with overflow";

pub(super) struct Python {
    interpreter: PathBuf,
    source: PathBuf,
    /// Of Python itself.
    pub(super) version: String,
    /// Of pyarrow, where it is installed.
    pub(super) pyarrow: Option<String>,
    /// The tests install such a one into the same environment.
    pub(super) is_debug_build: bool,
}

impl Python {
    /// Writes the program into `folder`, which must exist, and looks whether the package can be imported.
    pub(super) fn find(folder: &Path) -> Result<Found<Python>> {
        let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join(INTERPRETER);
        if !interpreter.is_file() {
            return Ok(Found::Missing(format!(
                "{} is not there; `make bench` makes it",
                interpreter.display()
            )));
        }
        let source = folder.join("bindings.py");
        fs::write(&source, SOURCE)?;
        let mut python =
            Python { interpreter, source, version: String::new(), pyarrow: None, is_debug_build: false };
        let output = match program::run(&mut python.command("check")) {
            Ok(output) => output,
            Err(error) => {
                return Ok(Found::Missing(format!(
                    "{} cannot import the package ({error}); `maturin develop --release` in python/ installs it",
                    python.interpreter.display()
                )));
            }
        };
        let text = String::from_utf8(output.stdout)?;
        let mut lines = text.lines().map(str::trim);
        let (Some(version), Some(module)) = (lines.next(), lines.next()) else {
            return Err(format!("`{text}` does not tell what Python has").into());
        };
        python.version = version.to_owned();
        python.pyarrow = lines.next().filter(|version| !version.is_empty()).map(str::to_owned);
        let module = fs::read(module).map_err(|error| format!("cannot read {module}: {error}"))?;
        python.is_debug_build = is_checked(&module);
        Ok(Found::Ready(python))
    }

    /// The program with one of its tasks; the arguments are still to come. Nothing but the environment has a say.
    pub(super) fn command(&self, task: &str) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg("-I").arg(&self.source).arg(task);
        command
    }
}

fn is_checked(module: &[u8]) -> bool {
    module.windows(CHECKED.len()).any(|bytes| bytes == CHECKED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_with_checks_is_told_by_their_messages() {
        assert!(is_checked(b"\x7fELF ... attempt to add with overflow ..."));
        assert!(!is_checked(b"\x7fELF ... attempt to add"));
    }
}
