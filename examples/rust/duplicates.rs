//! Finds files with the same content. Content is read once; the next run reads only what changed.
//!
//! ```text
//! cargo run --release -p treewarden --example duplicates -- ~/Pictures pictures.tw
//! ```
//!
//! DIR is taken up by the first run with a state file; later runs look where it lay.
//!
//! The hash is made against accidents, not against an adversary: compare byte by byte before you
//! delete anything.

#![allow(clippy::print_stdout)]

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::path::PathBuf;

use treewarden::{ContentHash, Filter, Kind, RootOptions, Snapshot, Warden, escape};

/// The first part of every address, `tree/relative/path`.
const ROOT: &str = "tree";

/// Files with the same content.
#[derive(Default)]
struct Copies {
    size_bytes: u64,
    /// In path order.
    paths: Vec<Vec<u8>>,
    /// Names of one inode are one file: hard links waste nothing.
    inodes: HashSet<u64>,
}

impl Copies {
    /// What would be free if one of them were enough.
    fn wasted_bytes(&self) -> u64 {
        self.size_bytes.saturating_mul(self.inodes.len().saturating_sub(1) as u64)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(state)) = (args.next(), args.next()) else {
        return Err("usage: duplicates DIR STATE_FILE".into());
    };
    let warden = Warden::open(&state)?;
    if warden.roots().is_empty() {
        let options = RootOptions::new().content_hash(ContentHash::Changed);
        warden.add_root_with(ROOT, &dir, &options)?;
    }
    let report = warden.scan(ROOT)?;
    if let Some(reason) = &report.unavailable {
        println!("{reason}; this is what was there before");
    }

    let copies = find(&warden.snapshot());
    for set in &copies {
        println!("{} copies of {} bytes", set.inodes.len(), set.size_bytes);
        for path in &set.paths {
            println!("  {}", escape(path));
        }
    }
    let wasted: u64 = copies.iter().map(Copies::wasted_bytes).sum();
    println!("{} files looked at, {wasted} bytes could be freed", report.files);
    warden.close()?;
    Ok(())
}

/// Returns what is there more than once, the most wasteful first.
fn find(snapshot: &Snapshot) -> Vec<Copies> {
    let mut by_content: HashMap<(u128, u64), Copies> = HashMap::new();
    let filter = Filter::new().under(ROOT).kind(Kind::File).size_min(1);
    for entry in snapshot.select(&filter) {
        // A file that could not be read, or that changed all the while, has no hash.
        let Some(hash) = entry.hash() else { continue };
        let copies = by_content.entry((hash, entry.size())).or_default();
        copies.size_bytes = entry.size();
        copies.paths.push(entry.path());
        copies.inodes.insert(entry.inode());
    }
    let mut found: Vec<Copies> = by_content.into_values().filter(|set| set.inodes.len() > 1).collect();
    found.sort_by(|a, b| b.wasted_bytes().cmp(&a.wasted_bytes()).then_with(|| a.paths.cmp(&b.paths)));
    found
}
