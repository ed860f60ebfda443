//! The program `treewarden`, for `python -m treewarden`, and the one function of it that scripts want, too.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use pyo3::prelude::*;

use crate::convert::{self, Address};

/// Runs the program ``treewarden`` with these arguments, its name not among them, and returns its exit code.
///
/// It writes to the standard streams of the process, not to ``sys.stdout``. While it runs, Ctrl-C ends the process as
/// it does the program itself; nothing that was committed is lost.
#[pyfunction]
#[pyo3(name = "main", signature = (args))]
pub(crate) fn run_program(py: Python<'_>, args: &Bound<'_, PyAny>) -> PyResult<u8> {
    let mut command_line = vec![OsString::from("treewarden")];
    command_line.extend(convert::paths("args", args)?.into_iter().map(OsString::from_vec));
    // Python only takes a note of Ctrl-C until it runs again, which would be after the program.
    let signal = py.import("signal")?;
    let (number, default) = (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?);
    // Refused outside of the main thread, where no signal arrives either.
    let before = signal.call_method1("signal", (&number, default)).ok();
    let code = py.detach(|| treewarden_cli::run_program(command_line));
    if let Some(before) = before.filter(|before| !before.is_none()) {
        signal.call_method1("signal", (number, before))?;
    }
    Ok(code)
}

/// Returns a form of a path that is safe to print.
///
/// Control characters, the backslash, invisible direction marks and bytes that are not UTF-8 are written as ``\n``,
/// ``\\``, ``\x1b`` or ``\u{202e}``; everything else stays as it is.
#[pyfunction]
#[pyo3(signature = (path))]
pub(crate) fn escape(path: Address) -> String {
    treewarden::escape(&path.0)
}
