//! The `treewarden` program: thin over the engine of the same name.
//!
//! Data goes to standard output, progress and messages to standard error. The exit code is 0 when
//! all is well, 1 after an error, 2 for wrong usage, 3 when the work is done but something was
//! unreadable, unavailable, held or failed. Nothing about files is decided here: what two surfaces of
//! Treewarden need lives in the engine.

mod address;
mod args;
mod changes;
mod config;
mod du;
mod explain;
mod export;
mod failure;
mod follow;
mod history;
mod json;
mod limits;
mod list;
mod live;
mod message;
mod metrics;
mod mirror;
mod output;
mod pipeline;
mod plan;
mod progress;
mod reload;
mod report;
mod root;
mod scan;
mod signals;
mod standing;
mod state;
mod status;
mod target;
mod text;
mod upkeep;
mod verify;
mod watch;
mod work;

use std::ffi::OsString;
use std::io::Write;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::reload::ConfigFile;
use crate::state::StateFile;

/// Runs the program with these arguments, the first being its name, and returns its exit code: 0, 1, 2 or 3 as said
/// above. It reads the environment and writes to the standard streams of this process.
// Ctrl-C keeps its default meaning, the end of the process, except where a command watches: the state file survives a
// kill at any instant, and a scan that was cut off has published nothing.
#[must_use]
pub fn run_program(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::read(args) {
        Ok(cli) => cli,
        Err(said) => {
            // `--help` and `--version` are answered here, too. Nobody may be left to be told.
            let _ = said.print();
            return if said.use_stderr() { 2 } else { 0 };
        }
    };
    match run(&cli) {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<Outcome, Failure> {
    let config = match &cli.command {
        Command::Watch(args) => args.config.as_deref().map(ConfigFile::load).transpose()?,
        _ => None,
    };
    let config_db = config.as_ref().and_then(|file| file.config().db.as_deref());
    let state = StateFile::locate(cli.db.as_deref().or(config_db))?;
    let mut out = Out::new(cli.json, cli.quiet);
    let outcome = match &cli.command {
        Command::Scan(args) => scan::run(&state, args, &mut out),
        Command::Roots => root::list(&state, &mut out),
        Command::Root(command) => root::run(&state, command, &mut out),
        Command::Ls(args) => list::run(&state, args, &mut out),
        Command::Du(args) => du::run(&state, args, &mut out),
        Command::Explain { address } => explain::run(&state, address, &mut out),
        Command::Changes(args) => changes::run(&state, args, &mut out),
        Command::Export(args) => export::run(&state, args, &mut out),
        Command::Watch(args) => watch::run(&state, args, config, &mut out),
        Command::History { limit } => history::run(&state, *limit, &mut out),
        Command::Status => status::run(&state, &mut out),
        Command::Pipeline(command) => pipeline::run(&state, command, &mut out),
        Command::Work(command) => work::run(&state, command, &mut out),
        Command::Mirror(command) => mirror::run(&state, command, &mut out),
        Command::Verify(args) => verify::run(&state, args, &mut out),
        Command::Compact => upkeep::compact(&state, &mut out),
        Command::Rebuild => upkeep::rebuild(&state, &mut out),
    }?;
    out.flush()?;
    Ok(outcome)
}
