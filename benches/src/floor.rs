//! The floor program: compiled with the machine's C compiler into the working folder when the harness starts, so that it needs no
//! build script and is always the source that lies beside this file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::measure::{Record, parse_record};

const SOURCE: &str = include_str!("../floor/floor.c");

pub(crate) struct Floor {
    program: PathBuf,
}

impl Floor {
    /// Compiles with `$CC` (default `cc`) into `folder`.
    pub(crate) fn build(folder: &Path) -> Result<Floor> {
        fs::create_dir_all(folder)?;
        let source = folder.join("floor.c");
        let program = folder.join("floor");
        fs::write(&source, SOURCE)?;
        // CC may hold options or a wrapper: "ccache gcc".
        let compiler = std::env::var("CC").unwrap_or_default();
        let mut words = compiler.split_whitespace();
        let name = words.next().unwrap_or("cc");
        let status = Command::new(name)
            .args(words)
            .args(["-O2", "-std=gnu11", "-pthread", "-o"])
            .arg(&program)
            .arg(&source)
            .status()
            .map_err(|error| format!("cannot run the C compiler `{name}` for the floor program: {error}"))?;
        if !status.success() {
            return Err(format!("the C compiler `{name}` failed on the floor program: {status}").into());
        }
        Ok(Floor { program })
    }

    /// Walks `dir` once.
    pub(crate) fn run(&self, dir: &Path, threads: usize) -> Result<Record> {
        let output = Command::new(&self.program)
            .arg(dir)
            .arg(threads.to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("the floor program failed: {}", output.status).into());
        }
        parse_record(&output.stdout)
    }
}
