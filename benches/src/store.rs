//! Group `store`: the same job with one row per file in redb and in SQLite, each fed by a parallel walk.

use crate::Result;
use crate::bench::Bench;
use crate::child::{self, Task};
use crate::measure::{Samples, rounds};
use crate::row::{Row, Unit};

/// A store in the comparison: its name in the table, its tasks, and its file for every round's first scan and the one that is kept.
struct Store {
    name: &'static str,
    first: Task,
    again: Task,
    read_all: Task,
    lookup: Task,
    fresh: &'static str,
    kept: &'static str,
}

static STORES: [Store; 3] = [
    Store {
        name: "ours",
        first: Task::OursFirst,
        again: Task::OursAgainFd,
        read_all: Task::OursReadAll,
        lookup: Task::OursLookup,
        fresh: "store-first.tw",
        kept: "store.tw",
    },
    Store {
        name: "redb per file",
        first: Task::RedbFirst,
        again: Task::RedbAgain,
        read_all: Task::RedbReadAll,
        lookup: Task::RedbLookup,
        fresh: "store-first.redb",
        kept: "store.redb",
    },
    Store {
        name: "SQLite per file",
        first: Task::SqliteFirst,
        again: Task::SqliteAgain,
        read_all: Task::SqliteReadAll,
        lookup: Task::SqliteLookup,
        fresh: "store-first.sqlite",
        kept: "store.sqlite",
    },
];

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    for store in &STORES {
        child::measure(store.first, &bench.fresh_state(store.kept)?, &bench.tree.dir, bench.threads)?;
    }
    let mut contenders = vec![bench.floor_contender()];
    contenders.extend(STORES.iter().map(|store| bench.fresh_contender(store.first, store.fresh)));
    let on_kept: [fn(&Store) -> Task; 3] =
        [|store| store.again, |store| store.read_all, |store| store.lookup];
    for task in on_kept {
        contenders.extend(STORES.iter().map(|store| bench.contender(task(store), store.kept)));
    }
    let outcome = rounds(bench.runs, &mut contenders)?;

    let floor = outcome.seconds("floor");
    let timed = |what: String, seconds: &Samples| {
        Row::samples(what, seconds, Unit::Seconds).ratio(seconds.median() / floor.median(), "floor")
    };
    let mut rows = vec![timed("floor".to_owned(), &floor)];
    for store in &STORES {
        rows.push(timed(
            format!("first walk and store, {}", store.name),
            &outcome.seconds(store.first.name()),
        ));
    }
    for store in &STORES {
        rows.push(timed(
            format!("walk and compare, no change, {}", store.name),
            &outcome.seconds(store.again.name()),
        ));
    }
    for store in &STORES {
        rows.push(timed(
            format!("open and read all, {}", store.name),
            &outcome.seconds(store.read_all.name()),
        ));
    }
    let own_lookup = outcome.samples(Task::OursLookup.name(), "ns_per_lookup").median();
    for store in &STORES {
        let nanos = outcome.samples(store.lookup.name(), "ns_per_lookup");
        rows.push(
            Row::samples(format!("lookup by path, {}", store.name), &nanos, Unit::Nanos)
                .ratio(nanos.median() / own_lookup, "ours"),
        );
    }
    let own_bytes = bench.state_bytes(STORES[0].kept)?;
    for store in &STORES {
        let bytes = bench.state_bytes(store.kept)?;
        rows.push(
            Row::value(format!("file, {}", store.name), bytes, Unit::Megabytes)
                .ratio(bytes / own_bytes, "ours"),
        );
    }
    Ok(rows)
}
