//! The `treewarden` program. All of it is in the library beside it, which the Python package runs, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(treewarden_cli::run_program(std::env::args_os()))
}
