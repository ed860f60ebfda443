//! The benchmark harness: Treewarden against the floor of the machine and against what a program would otherwise use.
//!
//! ```text
//! cargo run --release -p treewarden-bench -- [all|scan|store|snapshot|latency|kv|work|bindings|mirror|live|tree]
//!     [--files N] [--dir DIR] [--runs K] [--threads T] [--large MIB] [--markdown FILE] [--clean]
//! ```
//!
//! # Method
//!
//! * **Tree.** `tree.rs` builds the same tree of N files (default 1,000,000, about 62,000 directories) every time: names of 10 to 21
//!   bytes, files 3 to 6 names deep, one directory with a fiftieth of all files, sizes set without using blocks, old modification
//!   times. It is built once and kept; a stamp beside it says with which parameters.
//! * **Floor.** `floor/floor.c` is the least work that lists and stats that tree: `getdents64` and `statx` relative to open
//!   directories, T threads (default 2), compiled by the machine's `cc` when the harness starts. Ratios are against its median
//!   *in the same run and the same group*.
//! * **Rounds.** Every figure is the median of K rounds (default 5), followed by the smallest and the largest in brackets. A round
//!   runs floor, ours and the peers in turn, every second round backwards, so that a drift of the machine falls on all of them
//!   alike. Everything is warm: two walks go before the first round.
//! * **Processes.** Whatever walks or opens a database does so in a fresh child process of its own (this program, with a hidden
//!   command) that measures inside itself, so that nobody inherits a warm heap and memory can be told apart. `find` and `fd` are
//!   timed from start to exit. Bytes written are the child's `wchar`, memory its `VmRSS` and `VmHWM`; the peak is reset before
//!   a rescan starts.
//! * **Durable** means durable: every store commits with its own fsyncs. redb per file and SQLite (WAL, `synchronous=FULL`) get one
//!   transaction for everything, rows in nearly sorted order, and a parallel walk to feed them: their best case, not their worst.
//! * **Latency** is measured by one thread that takes the snapshot and looks up one random path, over and over. The same loop next to
//!   the floor program, which shares nothing with the engine but the processor, shows what the scheduler alone does to it.
//! * **Live** figures come in at most three rounds (the start of watching in all), and from private trees where something changes:
//!   those are built for the purpose and removed again, also after an error. Latency is that of files in 250 different directories, one
//!   changed every 10 to 30 ms, so that their debounce times overlap but never meet; the time of each is from before the write until a
//!   thread that waits for commits finds it in the snapshot. `rm`, bursts and lost events are timed from their end until `sync` returns;
//!   after `rm` and bursts the snapshot is compared with a walk of walkdir. Events are lost for real: the process is stopped while
//!   another overfills its queue. The engine's own scans do not yield here, or the load of the harness itself would slow them.
//!   `live/mod.rs` says it row by row.
//! * **Work.** Figures of pipelines come in at most three rounds too (the rescan in all), on copies of states in which every file of the
//!   tree is pending or completed. Claims and completions stand against the rows they write in bare redb, in the mode the engine uses it
//!   in, and against a table of jobs in SQLite; memory is that of the pipeline above the open warden. `work/mod.rs` says it row by row.
//! * **Bindings.** Rust, C and Python do the same with the same state, each in a process of its own that measures inside itself. The C
//!   program is compiled when the harness starts and linked with the library that lies beside the harness; Python is that of
//!   `target/venv`. Where one of them was not built its rows are skipped, and a note says what is missing. `bindings/mod.rs` says it row
//!   by row.
//! * **Mirror.** One S3 server in a process of its own, on this machine, serves everybody, each in an empty bucket: ours, `rclone` and
//!   `s5cmd` where they are installed, and a bare client as the floor. Each is timed from its start to its exit, what it asks for is
//!   counted by the server, and afterwards the bucket must hold what it should. At most three rounds. `mirror/mod.rs` says it row by row.
//!
//! Nothing here may write outside `--dir`, and the tree is the same after a run as before, but for the ctime of its top directory, in
//! which watchman touches a file.

// Printing figures is what this program is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod bench;
mod bindings;
mod child;
mod floor;
mod histogram;
mod kv;
mod latency;
mod live;
mod machine;
mod measure;
mod mirror;
mod ours;
mod paths;
mod peers;
mod process;
mod redb_rows;
mod rng;
mod row;
mod rows;
mod scan;
mod snapshot;
mod sqlite_rows;
mod store;
mod table;
mod tree;
mod work;

use std::process::ExitCode;

use args::Request;

/// What every part of the harness answers with: a figure or one sentence for the person in front of it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let request = match args::parse(&words) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("treewarden-bench: {error}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = match request {
        Request::Help => {
            println!("{}", args::USAGE);
            Ok(())
        }
        Request::Clean { folder } => bench::clean(&folder),
        Request::Child { task, db, dir, threads, count } => child::run(&task, &db, &dir, threads, count),
        Request::Measure(settings) => bench::run(&settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("treewarden-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
