//! The words of `treewarden work`.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum, value_parser};
use treewarden::{Priority, WorkState};

use crate::limits;

const RUN_HELP: &str = "\
In its arguments {} stands for the path of the file on this disk; without one the path comes last. The
command finds in its environment
  TREEWARDEN_PATH     the address, ROOT/relative/path
  TREEWARDEN_STATE    why it is run: new, changed, stale, error (tried again), missing (the file is
                      gone: clean up what was made of it), indexed (asked for, nothing changed)
  TREEWARDEN_ATTEMPT  1 for the first try of this content
and its exit code says what came of it: 0 done; 65 failed for good, until the file changes; 75 and any
other, or a signal: failed, tried again later. The end of its standard error is kept as the reason.

Ctrl-C and SIGTERM end it in order: no more jobs are taken, those in hand are brought to their end; a
second one ends it at once. SIGUSR1 prints on standard error how far it is. While it runs, the state
file is in use: other commands on it are refused.

No shell is between. In one, give the path as an argument and never as a part of the script:
  treewarden work run thumbs -- sh -c 'convert \"$1\" -resize 200 \"$1.png\"' sh {}";

#[derive(Subcommand)]
pub(crate) enum WorkCommand {
    /// List the files, or groups, of a pipeline with their states, in path order
    List(WorkListArgs),
    /// Make what failed due at once; what is dead comes back to life
    Retry {
        /// Name of the pipeline
        pipeline: String,
        /// Only what lies here
        #[arg(value_name = "ADDRESS")]
        address: Option<OsString>,
    },
    /// Ask for a file, or everything below a directory, to be done now whatever its state
    Request {
        /// Name of the pipeline
        pipeline: String,
        /// The file or directory as ROOT/relative/path
        #[arg(value_name = "ADDRESS")]
        address: OsString,
        /// How urgent it is
        #[arg(long, value_enum, value_name = "CLASS", default_value_t = PriorityName::Critical)]
        priority: PriorityName,
    },
    /// Show how much is to be done
    Status {
        /// Name of the pipeline [default: every pipeline]
        pipeline: Option<String>,
    },
    /// Tell all that is known of one file or group in a pipeline, and why
    Explain {
        /// Name of the pipeline
        pipeline: String,
        /// The file as ROOT/relative/path, or the key of the group
        #[arg(value_name = "ADDRESS")]
        address: OsString,
    },
    /// Run a command for each job as it becomes due
    #[command(after_help = RUN_HELP)]
    Run(WorkRunArgs),
}

#[derive(Args)]
pub(crate) struct WorkListArgs {
    /// Name of the pipeline
    pub(crate) pipeline: String,

    /// Only what lies here
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Option<OsString>,

    /// Only what is in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: Option<StateName>,

    /// Only what failed for good
    #[arg(long)]
    pub(crate) dead: bool,

    /// How many at most [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Args)]
pub(crate) struct WorkRunArgs {
    /// Name of the pipeline
    pub(crate) pipeline: String,

    /// Commands at once
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = value_parser!(u16).range(limits::WORK_THREADS))]
    pub(crate) threads: u16,

    /// End when nothing is due
    #[arg(long)]
    pub(crate) once: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// A state as it is named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    New,
    Changed,
    Stale,
    Error,
    Missing,
    Processing,
    Indexed,
}

impl From<StateName> for WorkState {
    fn from(name: StateName) -> WorkState {
        match name {
            StateName::New => WorkState::New,
            StateName::Changed => WorkState::Changed,
            StateName::Stale => WorkState::Stale,
            StateName::Error => WorkState::Error,
            StateName::Missing => WorkState::Missing,
            StateName::Processing => WorkState::Processing,
            StateName::Indexed => WorkState::Indexed,
        }
    }
}

/// A class as it is named on the command line.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum PriorityName {
    Critical,
    High,
    Medium,
    Low,
    #[value(alias = "very-low")]
    VeryLow,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Priority {
        match name {
            PriorityName::Critical => Priority::Critical,
            PriorityName::High => Priority::High,
            PriorityName::Medium => Priority::Medium,
            PriorityName::Low => Priority::Low,
            PriorityName::VeryLow => Priority::VeryLow,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use treewarden::{Priority, WorkState};

    use super::{PriorityName, StateName};

    #[test]
    fn states_and_classes_have_the_names_of_the_engine() {
        for name in StateName::value_variants() {
            let typed = name.to_possible_value().expect("none is hidden");
            assert_eq!(typed.get_name(), WorkState::from(*name).name());
        }
        for name in PriorityName::value_variants() {
            let typed = name.to_possible_value().expect("none is hidden");
            assert_eq!(typed.get_name(), Priority::from(*name).name());
        }
    }
}
