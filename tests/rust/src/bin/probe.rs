//! A second process with one question to the engine. Answers with `name=value` words on stdout.
//!
//! ```text
//! probe [--drop] open DB            opens, says `open=yes` or `error=KIND`, closes
//! probe [--drop] hold DB            the same, but keeps it open until stdin ends
//! probe [--drop] scan DB WALKER     scans every root, says what the report says
//! ```
//!
//! `--drop` gives up root's privileges first.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::ffi::{OsStr, OsString};
use std::io::Read;

use support::child;
use treewarden::{ScanContext, ScanOptions, Walker, Warden};

fn main() {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--drop") {
        args.remove(0);
        if let Err(error) = child::drop_privileges() {
            println!("skipped=cannot_drop_privileges_{:?}", error.kind());
            return;
        }
    }
    let arg = |n: usize| args.get(n).map(OsString::as_os_str);
    let command = arg(0).and_then(OsStr::to_str).expect("a command");
    let db = arg(1).expect("a state file");
    let opened = Warden::open(db);
    let warden = match opened {
        Ok(warden) => warden,
        Err(error) => {
            println!("error={}", error.kind().name());
            return;
        }
    };
    match command {
        "open" => println!("open=yes"),
        "hold" => {
            println!("open=yes");
            let mut rest = Vec::new();
            std::io::stdin().read_to_end(&mut rest).unwrap();
        }
        "scan" => {
            let walker = match arg(2).and_then(OsStr::to_str) {
                Some("fd") => Walker::Fd,
                Some("jwalk") => Walker::Jwalk,
                other => panic!("no such walker: {other:?}"),
            };
            scan(&warden, walker);
        }
        other => panic!("no such command: {other}"),
    }
    warden.close().unwrap();
}

fn scan(warden: &Warden, walker: Walker) {
    let options = ScanOptions::default().walker(walker);
    for report in warden.scan_with(&options, &ScanContext::default()).unwrap() {
        println!(
            "added={} modified={} moved={} missing={} restored={} forgotten={} errors={} listed={} unavailable={} held={}",
            report.added,
            report.modified,
            report.moved,
            report.missing,
            report.restored,
            report.forgotten,
            report.errors,
            report.first_errors.len(),
            report.unavailable.is_some(),
            report.held.is_some(),
        );
        for error in &report.first_errors {
            println!("error_kind={}", error.kind.name());
        }
    }
}
