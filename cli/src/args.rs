//! The command line as it is typed: verbs, flags and their help. Decides nothing and touches no
//! file.

mod mirror;
mod pipeline;
mod work;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, value_parser};
use serde::Deserialize;
use treewarden::{Compare, IgnoreRules, Walker};

pub(crate) use self::mirror::{
    AccessFlags, MirrorAddArgs, MirrorAuditArgs, MirrorCommand, MirrorFollowArgs, MirrorSyncArgs,
    MirrorUrlsArgs, StoreFlags,
};
pub(crate) use self::pipeline::{PipelineAddArgs, PipelineCommand, Rate};
pub(crate) use self::work::{StateName, WorkCommand, WorkListArgs, WorkRunArgs};

use crate::limits;
use crate::metrics::Address;

const EXIT_CODES: &str = "\
Addresses are ROOT/relative/path, as `treewarden ls` prints them.
Exit codes: 0 ok, 1 error, 2 wrong usage, 3 done but something was unreadable, unavailable, held or
failed.";

const WATCH_SIGNALS: &str = "\
Ctrl-C and SIGTERM end it in order, with code 0; a second one ends it at once.
SIGUSR1 prints on standard error how the watching stands.
SIGHUP reads the configuration file again; without one it ends the program.

The changes are on standard output, everything else is told on standard error; with --json as
objects there too. Files of a root that was never looked at before are counted, not listed.
While it runs, the state file is in use: other commands on it are refused.";

const EXPORT_HELP: &str = "\
A store is s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX], az://ACCOUNT/CONTAINER[/PREFIX] or file:///DIR. What
goes there is always partitioned. Credentials come from the environment, as `treewarden mirror sync --help`
says; the region and the endpoint of S3 too, where --region and --endpoint are not given.";

/// Keeps the state of every file in one or many directory trees, and tells what changed
#[derive(Parser)]
#[command(name = "treewarden", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// State file [default: treewarden/state.tw in the user's data directory]
    #[arg(long, global = true, value_name = "FILE", env = "TREEWARDEN_DB", hide_env_values = true)]
    pub(crate) db: Option<PathBuf>,

    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// No progress and no messages but errors; `scan` then reports only roots that need attention
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look at directories and record what changed
    Scan(ScanArgs),
    /// List the roots
    Roots,
    /// Add, remove or move a root
    #[command(subcommand)]
    Root(RootCommand),
    /// List files and symlinks, in path order
    Ls(LsArgs),
    /// Sum up files, directories and bytes
    Du(DuArgs),
    /// Tell all that is known about one path, and why
    Explain {
        /// The path as ROOT/relative/path
        #[arg(value_name = "ROOT/PATH")]
        address: OsString,
    },
    /// List what changed, oldest first
    Changes(ChangesArgs),
    /// Write what the state knows, or what changed, as Parquet files
    #[command(after_help = EXPORT_HELP)]
    Export(Box<ExportArgs>),
    /// Print changes as they happen, until Ctrl-C
    #[command(after_help = WATCH_SIGNALS)]
    Watch(WatchArgs),
    /// List the scans that were made, newest first
    History {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show the state file, its roots and its pipelines at a glance
    Status,
    /// Say which files a program works on, and how
    #[command(subcommand)]
    Pipeline(PipelineCommand),
    /// See what is to be done in a pipeline, and do it
    #[command(subcommand)]
    Work(WorkCommand),
    /// Keep a remote copy of a root in step with it, and a CDN told of it
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Compare the disk with the recorded state; changes nothing
    Verify(VerifyArgs),
    /// Make the state file as small as it can be
    Compact,
    /// Salvage a damaged state file into a new one; the damaged one is kept beside it
    Rebuild,
}

#[derive(Args)]
pub(crate) struct ScanArgs {
    /// Directories; one that is not yet a root becomes one, one inside a root is scanned as a part
    /// of it. Without any, all roots are scanned
    #[arg(value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,

    /// Name of the new root [default: the last component of DIR]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Take no shortcut, and read the content again where hashes are kept
    #[arg(long)]
    pub(crate) full: bool,

    #[command(flatten)]
    pub(crate) root: RootFlags,

    /// How to walk: over directory descriptors (fd) or by path (jwalk)
    #[arg(long, value_enum, value_name = "KIND", default_value_t = WalkerName::Auto)]
    pub(crate) walker: WalkerName,

    /// Threads to walk and hash with [default: one per processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Believe that files are gone even when they are more than half of a root
    #[arg(long)]
    pub(crate) accept_missing: bool,
}

// What a root is told to do with its files; lasting, on an existing root what is given replaces
// what was set. No doc comment: clap would take it for the description of each verb that has these
// flags.
#[derive(Args)]
pub(crate) struct RootFlags {
    /// Keep a content hash of the root's files (lasting)
    #[arg(long)]
    pub(crate) hash: bool,

    /// Gitignore pattern of what to leave out; may be repeated (lasting, replaces the root's
    /// patterns)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) ignore: Vec<String>,

    /// Leave out hidden, temporary and backup files (lasting, replaces the root's patterns)
    #[arg(long)]
    pub(crate) junk: bool,
}

impl RootFlags {
    pub(crate) fn is_empty(&self) -> bool {
        !self.hash && !self.junk && self.ignore.is_empty()
    }

    /// The ignore rules that were asked for, `None` when none were.
    pub(crate) fn rules(&self) -> treewarden::Result<Option<IgnoreRules>> {
        if !self.junk && self.ignore.is_empty() {
            return Ok(None);
        }
        let mut rules = if self.junk { IgnoreRules::junk() } else { IgnoreRules::none() };
        for pattern in &self.ignore {
            rules = rules.with(pattern.as_str())?;
        }
        Ok(Some(rules))
    }
}

#[derive(Subcommand)]
pub(crate) enum RootCommand {
    /// Register a directory without scanning it
    Add(RootAddArgs),
    /// Forget a root and all that is known about its files; the files stay as they are
    Remove {
        /// Name of the root
        name: String,
    },
    /// Say that the same tree now lies elsewhere; all its state is kept
    Move {
        /// Name of the root
        name: String,
        /// Where it lies now
        dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct RootAddArgs {
    /// Name of the root, the first part of the addresses of its files
    pub(crate) name: String,

    /// The directory
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) root: RootFlags,

    /// What "unchanged" means [default: chosen by the file system]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) compare: Option<CompareName>,
}

#[derive(Args)]
pub(crate) struct LsArgs {
    /// Only what lies here
    #[arg(value_name = "ROOT[/PREFIX]")]
    pub(crate) prefix: Option<OsString>,

    /// Only paths that match, relative to the prefix; `*` stays within a directory, `**` does not
    #[arg(long, value_name = "GLOB")]
    pub(crate) glob: Option<String>,

    /// List the missing files instead
    #[arg(long)]
    pub(crate) missing: bool,

    /// List directories too
    #[arg(long)]
    pub(crate) dirs: bool,

    /// Show kind, size in bytes and time of modification (UTC)
    #[arg(long, short)]
    pub(crate) long: bool,

    /// Print the exact bytes of each path, ended by NUL
    #[arg(short = '0', long = "print0", conflicts_with_all = ["long", "pipeline"])]
    pub(crate) print0: bool,

    /// Show the state of each file in this pipeline
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
}

#[derive(Args)]
pub(crate) struct ChangesArgs {
    /// Only changes after this seq [default: 0, the beginning; with --follow: now]
    #[arg(long, value_name = "SEQ")]
    pub(crate) since: Option<u64>,

    /// Then watch all roots and go on printing, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// Only what lies here
    #[arg(value_name = "ROOT[/PREFIX]")]
    pub(crate) prefix: Option<OsString>,

    /// The file to write; with --partitioned the directory; or the address of a store
    // Any name to clap: its own messages repeat what was typed, and that may hold a password.
    #[arg(long, value_name = "FILE|DIR|STORE")]
    pub(crate) to: PathBuf,

    /// Only paths that match, relative to the prefix; `*` stays within a directory, `**` does not
    #[arg(long, value_name = "GLOB")]
    pub(crate) glob: Option<String>,

    /// Write the missing files instead
    #[arg(long)]
    pub(crate) missing: bool,

    /// Write what changed instead
    #[arg(long, conflicts_with_all = ["glob", "missing"])]
    pub(crate) changes: bool,

    /// Only changes after this seq [default: 0, the beginning]
    #[arg(long, value_name = "SEQ", requires = "changes")]
    pub(crate) since: Option<u64>,

    /// One file for each root, host=HOST/root=ROOT/part-SEQ.parquet below the directory; what was exported of
    /// these roots before is replaced
    #[arg(long)]
    pub(crate) partitioned: bool,

    /// What to call this machine [default: the system's host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,

    /// Replace the file when it is there and is a Parquet file
    #[arg(long, conflicts_with = "partitioned")]
    pub(crate) replace: bool,

    /// Directory for the files until they are sent to a store [default: that of the state file]
    #[arg(long, value_name = "DIR")]
    pub(crate) staging: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) store: StoreFlags,

    #[command(flatten)]
    pub(crate) access: AccessFlags,
}

#[derive(Args)]
pub(crate) struct WatchArgs {
    /// Directories; one that is not yet a root becomes one, of one inside a root only what lies in it
    /// is printed. Without any, all roots are watched
    #[arg(value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,

    /// Name of the new root [default: the last component of DIR]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) root: RootFlags,

    /// Look every so many seconds, instead of being told by the system
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
        value_parser = value_parser!(u32).range(limits::POLL_S))]
    pub(crate) poll: Option<u32>,

    /// How long a directory must be quiet before it is looked at [default: 300]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = value_parser!(u32).range(limits::DEBOUNCE_MS))]
    pub(crate) debounce_ms: Option<u32>,

    /// Roots and settings from a TOML file (see examples/watch.toml). It is read again when it changes,
    /// for which it is looked at once a second, and on SIGHUP
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["dirs", "name", "hash", "ignore", "junk", "poll", "debounce_ms"])]
    pub(crate) config: Option<PathBuf>,

    /// Serve the numbers of the engine at http://ADDR/metrics, as Prometheus reads them: PORT, for this
    /// machine only, or HOST:PORT. Port 0 takes one that is free and says which
    #[arg(long, value_name = "ADDR", value_parser = Address::parse)]
    pub(crate) metrics: Option<Address>,
}

#[derive(Args)]
pub(crate) struct DuArgs {
    /// Where to sum up [default: every root]
    #[arg(value_name = "ROOT[/PREFIX]")]
    pub(crate) prefix: Option<OsString>,

    /// How many levels of directories below it get a line of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) depth: usize,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// Name of the root [default: every root]
    #[arg(value_name = "ROOT")]
    pub(crate) root: Option<String>,

    /// Read the content too, where hashes are kept
    #[arg(long)]
    pub(crate) content: bool,
}

/// A walker as it is named on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum WalkerName {
    Auto,
    Fd,
    Jwalk,
}

impl From<WalkerName> for Walker {
    fn from(name: WalkerName) -> Walker {
        match name {
            WalkerName::Auto => Walker::Auto,
            WalkerName::Fd => Walker::Fd,
            WalkerName::Jwalk => Walker::Jwalk,
        }
    }
}

/// A way to compare as it is named on the command line and in a configuration file.
#[derive(Clone, Copy, ValueEnum, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(crate) enum CompareName {
    Auto,
    Full,
    #[value(alias = "no-inode")]
    NoInode,
    #[value(alias = "no-ctime")]
    NoCtime,
    #[value(alias = "size-mtime")]
    SizeMtime,
}

impl From<CompareName> for Compare {
    fn from(name: CompareName) -> Compare {
        match name {
            CompareName::Auto => Compare::Auto,
            CompareName::Full => Compare::Full,
            CompareName::NoInode => Compare::NoInode,
            CompareName::NoCtime => Compare::NoCtime,
            CompareName::SizeMtime => Compare::SizeMtime,
        }
    }
}

impl Cli {
    /// Reads the command line; ends the process with code 2 when it makes no sense, with 0 after
    /// help or version.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let cli = Cli::try_parse_from(args)?;
        match cli.contradiction() {
            Some(message) => Err(Cli::command().error(ErrorKind::ArgumentConflict, message)),
            None => Ok(cli),
        }
    }

    /// What clap cannot see by itself: rules across a verb's arguments and the global ones.
    fn contradiction(&self) -> Option<&'static str> {
        const ONE_NAME: &str = "'--name' names one new root: give exactly one DIR with it";
        const DEAD: &str = "'--dead' lists what failed for good, which is in no state but error";
        let is_other = |state: Option<StateName>| state.is_some_and(|state| state != StateName::Error);
        match &self.command {
            Command::Scan(args) if args.name.is_some() && args.dirs.len() != 1 => Some(ONE_NAME),
            Command::Watch(args) if args.name.is_some() && args.dirs.len() != 1 => Some(ONE_NAME),
            Command::Ls(args) if args.print0 && self.json => Some("'--print0' cannot be used with '--json'"),
            Command::Work(WorkCommand::List(args)) if args.dead && is_other(args.state) => Some(DEAD),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contradictions_are_found() {
        let cases: [(&[&str], bool); 11] = [
            (&["scan"], false),
            (&["scan", "a", "--name", "n"], false),
            (&["scan", "a", "b", "--name", "n"], true),
            (&["scan", "--name", "n"], true),
            (&["watch", "a", "--name", "n"], false),
            (&["watch", "--name", "n"], true),
            (&["ls", "-0"], false),
            (&["--json", "ls", "-0"], true),
            (&["work", "list", "p", "--dead"], false),
            (&["work", "list", "p", "--dead", "--state", "error"], false),
            (&["work", "list", "p", "--dead", "--state", "new"], true),
        ];
        for (words, contradicts) in cases {
            let line = std::iter::once("treewarden").chain(words.iter().copied());
            let cli = Cli::try_parse_from(line).expect("clap sees nothing wrong with it");
            assert_eq!(cli.contradiction().is_some(), contradicts, "{words:?}");
        }
    }

    #[test]
    fn absurd_times_are_no_times() {
        let cases: [(&[&str], bool); 8] = [
            (&["--poll", "1"], true),
            (&["--poll", "86400", "--debounce-ms", "0"], true),
            (&["--poll", "0"], false),
            (&["--poll", "-5"], false),
            (&["--poll", "86401"], false),
            (&["--poll", "soon"], false),
            (&["--debounce-ms", "-1"], false),
            (&["--debounce-ms", "3600001"], false),
        ];
        for (words, makes_sense) in cases {
            let line = ["treewarden", "watch", "a"].iter().chain(words);
            let parsed = Cli::try_parse_from(line);
            assert_eq!(parsed.is_ok(), makes_sense, "{words:?}");
            if let Err(error) = parsed {
                assert_eq!(error.exit_code(), 2, "{words:?}");
                assert!(error.to_string().contains(words[0]), "{error}");
            }
        }
    }

    #[test]
    fn an_export_is_of_entries_or_of_changes() {
        let cases: [(&[&str], bool); 8] = [
            (&["--to", "f"], true),
            (&["music/a", "--to", "f", "--glob", "*.mp3", "--missing", "--replace"], true),
            (&["--to", "d", "--partitioned", "--host", "h", "--changes", "--since", "7"], true),
            (&[], false),
            (&["--to", "f", "--since", "7"], false),
            (&["--to", "f", "--changes", "--glob", "*"], false),
            (&["--to", "f", "--changes", "--missing"], false),
            (&["--to", "d", "--partitioned", "--replace"], false),
        ];
        for (words, makes_sense) in cases {
            let line = ["treewarden", "export"].iter().chain(words);
            assert_eq!(Cli::try_parse_from(line).is_ok(), makes_sense, "{words:?}");
        }
    }

    #[test]
    fn a_command_comes_after_two_dashes() {
        let cases: [(&[&str], bool); 5] = [
            (&["--", "convert", "-x", "{}", "--", "y"], true),
            (&["--threads", "4", "--once", "--", "true"], true),
            (&["true"], false),
            (&["--"], false),
            (&["--threads", "0", "--", "true"], false),
        ];
        for (words, makes_sense) in cases {
            let line = ["treewarden", "work", "run", "p"].iter().chain(words);
            assert_eq!(Cli::try_parse_from(line).is_ok(), makes_sense, "{words:?}");
        }
    }

    #[test]
    fn a_configuration_stands_alone() {
        for words in [&["a"][..], &["--poll", "1"], &["--junk"], &["--ignore", "x"], &["--debounce-ms", "1"]]
        {
            let line = ["treewarden", "watch", "--config", "c.toml"].iter().chain(words);
            assert!(Cli::try_parse_from(line).is_err(), "{words:?}");
        }
    }
}
