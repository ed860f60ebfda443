//! Group `kv`: the program's own keys and values against bare redb in the mode the engine uses it in: two-phase commit with quick
//! repair, the same cache, one read transaction per get, the same keys in the same order.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use treewarden::{Space, Warden};

use crate::Result;
use crate::bench::Bench;
use crate::measure::{Contender, Record, nanos_per_call, record, rounds};
use crate::rng::Rng;
use crate::row::{Row, Unit};

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("kv");
const SPACE: &str = "bench";
const CACHE_BYTES: usize = 64 << 20;
const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 100;
const FILL_BATCH: u64 = 1_000;

const GETS: u64 = 200_000;
const PUT_BATCH: u64 = 256;
const PUT_BATCHES: u64 = 50;
const SEED: u64 = 0x6b65_7973;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let warden = Warden::options().cache_bytes(CACHE_BYTES).open(bench.fresh_state("kv.tw")?)?;
    let bare = open_bare(&bench.fresh_state("kv.redb")?)?;
    for first in (0..KEYS).step_by(FILL_BATCH as usize) {
        let keys: Vec<u64> = (first..first + FILL_BATCH).collect();
        put_ours(&warden, &keys)?;
        put_bare(&bare, &keys)?;
    }

    let space = warden.space(SPACE)?;
    let outcome = {
        let mut contenders = [
            Contender::new("get ours", || gets(|key| get_ours(&space, key))),
            Contender::new("get bare", || gets(|key| get_bare(&bare, key))),
            Contender::new("get bare, held", || {
                let transaction = bare.begin_read()?;
                let table = transaction.open_table(TABLE)?;
                gets(|key| Ok(table.get(key)?.map(|value| value.value().to_vec())))
            }),
            Contender::new("put ours", || puts(|keys| put_ours(&warden, keys))),
            Contender::new("put bare", || puts(|keys| put_bare(&bare, keys))),
        ];
        rounds(bench.runs, &mut contenders)?
    };

    let get = outcome.samples("get ours", "ns");
    let get_bare = outcome.samples("get bare", "ns");
    let get_held = outcome.samples("get bare, held", "ns");
    let put = outcome.samples("put ours", "us");
    let put_bare = outcome.samples("put bare", "us");
    let get_ratio = get.median() / get_bare.median();
    let put_ratio = put.median() / put_bare.median();
    let put_name = format!("durable put of {PUT_BATCH}");
    Ok(vec![
        Row::samples("get", &get, Unit::Nanos).ratio(get_ratio, "bare redb").at_most(
            get_ratio,
            1.2,
            "1.2 × bare redb",
        ),
        Row::samples("get, bare redb", &get_bare, Unit::Nanos),
        Row::samples("get, bare redb in one held transaction", &get_held, Unit::Nanos),
        Row::samples(put_name.as_str(), &put, Unit::Micros).ratio(put_ratio, "bare redb").at_most(
            put_ratio,
            1.3,
            "1.3 × bare redb",
        ),
        Row::samples(format!("{put_name}, bare redb"), &put_bare, Unit::Micros),
    ])
}

fn key(number: u64) -> [u8; 12] {
    let mut key = *b"key-00000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn value(number: u64) -> [u8; VALUE_BYTES] {
    [number as u8; VALUE_BYTES]
}

/// Random gets; the sequence of keys is the same for everyone and in every round.
fn gets(mut get: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>>) -> Result<Record> {
    let mut rng = Rng::new(SEED);
    let mut outcome: Result<()> = Ok(());
    let nanos = nanos_per_call(GETS, || {
        let key = key(rng.between(0, KEYS - 1));
        match get(key.as_slice()) {
            Ok(Some(value)) if value.len() == VALUE_BYTES => {}
            Ok(_) => outcome = Err(format!("wrong value for `{}`", key.escape_ascii()).into()),
            Err(error) => outcome = Err(error),
        }
    });
    outcome?;
    Ok(record([("seconds", nanos * GETS as f64 / 1e9), ("ns", nanos)]))
}

/// Batches of random keys, each batch one durable commit.
fn puts(mut put: impl FnMut(&[u64]) -> Result<()>) -> Result<Record> {
    let mut rng = Rng::new(SEED);
    let mut outcome: Result<()> = Ok(());
    let nanos = nanos_per_call(PUT_BATCHES, || {
        let keys: Vec<u64> = (0..PUT_BATCH).map(|_| rng.between(0, KEYS - 1)).collect();
        if let Err(error) = put(&keys) {
            outcome = Err(error);
        }
    });
    outcome?;
    Ok(record([("seconds", nanos * PUT_BATCHES as f64 / 1e9), ("us", nanos / 1e3)]))
}

fn get_ours(space: &Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
    Ok(space.get(key)?)
}

fn put_ours(warden: &Warden, keys: &[u64]) -> Result<()> {
    let mut batch = warden.batch();
    for number in keys {
        batch = batch.put(SPACE, key(*number).as_slice(), value(*number).as_slice());
    }
    batch.commit()?;
    Ok(())
}

fn open_bare(db: &Path) -> Result<Database> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(db)?;
    Ok(database)
}

fn get_bare(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(TABLE)?;
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

fn put_bare(database: &Database, keys: &[u64]) -> Result<()> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(TABLE)?;
        for number in keys {
            table.insert(key(*number).as_slice(), value(*number).as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_of_one_length() {
        for (number, expected) in [(0, b"key-00000000"), (42, b"key-00000042"), (99_999, b"key-00099999")] {
            assert_eq!(&key(number), expected);
        }
    }
}
