//! The process that is killed. Says on stdout what it is about to do and what the engine has
//! acknowledged, each line only after the call has returned; the oracle is in the parent.
//!
//! ```text
//! crash_child DB TREE SEED GENERATION [KILL_POINT PASS]     works until it is killed
//! crash_child DB TREE SEED open                             opens, closes, ends
//! ```
//!
//! | line | means |
//! |---|---|
//! | `open` | the state file is open |
//! | `root` | the root is registered |
//! | `scanning G` | the tree is at generation G, its scan begins |
//! | `scanned G SEQ` | the scan of generation G returned |
//! | `kv N SEQ` | batch N (a row, a counter, a cursor) returned |
//! | `ack UPTO` | the named cursor has advanced |
//! | `compacted`, `maintained` | housekeeping returned |

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;

use support::{ROOT, Rng, Tree, generation};
use treewarden::{Publish, ScanContext, ScanOptions, Walker, Warden};

/// Rows of the log that are kept; older ones are deleted in the batch that adds a new one.
const LOG_ROWS: u64 = 64;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (db, tree, seed, next) = match args.as_slice() {
        [db, tree, seed, next, ..] => (db, tree, seed.parse::<u64>().unwrap(), next),
        _ => panic!("usage: crash_child DB TREE SEED GENERATION|open [KILL_POINT PASS]"),
    };
    if let [_, _, _, _, point, pass] = args.as_slice() {
        let point = generation::KILL_POINTS.iter().find(|name| **name == point.as_str()).copied();
        treewarden::testing::set_kill_point(point.expect("a known kill point"), pass.parse().unwrap());
    }
    let warden = Warden::open(Path::new(db)).unwrap_or_else(|e| panic!("open: {e}"));
    println!("open");
    if next == "open" {
        warden.close().unwrap();
        return;
    }
    let tree = Tree::at(tree.as_str());
    if warden.roots().is_empty() {
        warden.add_root(ROOT, tree.path()).unwrap();
    }
    println!("root");

    let keeper = warden.clone();
    let mut rng = Rng::new(seed);
    let keeper_rng = Rng::new(rng.bits());
    // Either thread may be the one that fails; a dead one must not leave the other running alone.
    std::thread::spawn(move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| keep(&keeper, keeper_rng))).is_err() {
            std::process::exit(3);
        }
    });
    mutate(&warden, &tree, next.parse().unwrap(), rng);
}

/// Writes one generation after another and scans each.
fn mutate(warden: &Warden, tree: &Tree, first: u64, mut rng: Rng) {
    for number in first.. {
        generation::write(tree, number);
        println!("scanning {number}");
        let walker = if rng.chance(50) { Walker::Fd } else { Walker::Jwalk };
        let options = ScanOptions::default().target(ROOT).walker(walker).publish(Publish::Atomic);
        let reports =
            warden.scan_with(&options, &ScanContext::default()).unwrap_or_else(|e| panic!("scan: {e}"));
        assert!(reports.iter().all(treewarden::Report::is_clean), "{reports:?}");
        println!("scanned {number} {}", reports[0].seq);
        if rng.chance(10) {
            warden.maintain().unwrap();
            println!("maintained");
        }
        if rng.chance(10) {
            warden.compact().unwrap();
            println!("compacted");
        }
    }
}

/// Commits one numbered batch after another: each adds a row to the log, removes the oldest, moves
/// the counter and a cursor. All of it is there, or none.
fn keep(warden: &Warden, mut rng: Rng) {
    let meta = warden.space("meta").unwrap();
    let reader = warden.cursor("reader").unwrap();
    let last = meta.get(b"last".as_slice()).unwrap();
    let mut number = last.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    loop {
        number += 1;
        let seq = warden.seq();
        let key = number.to_be_bytes();
        let mut batch = warden
            .batch()
            .put("log", key.as_slice(), seq.to_be_bytes().as_slice())
            .put("meta", b"last".as_slice(), key.as_slice())
            .advance("worker", seq);
        if number > LOG_ROWS {
            batch = batch.delete("log", (number - LOG_ROWS).to_be_bytes().as_slice());
        }
        let committed = batch.commit().unwrap_or_else(|e| panic!("batch {number}: {e}"));
        println!("kv {number} {committed}");
        if rng.chance(20) {
            let delivery = reader.read(50).unwrap();
            let upto = delivery.upto();
            // Without changes there is nothing to acknowledge, and the cursor stays where it is.
            let has_changes = !delivery.changes().is_empty();
            delivery.ack().unwrap();
            if has_changes {
                println!("ack {upto}");
            }
        }
    }
}
