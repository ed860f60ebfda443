//! What other languages stand on: walks that keep their snapshot, paths in one buffer, Arrow tables, and
//! descriptors to wait for.

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{RecordBatch, RecordBatchReader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::work::{open, plain, scanned, take};
use support::{World, show};
use treewarden::{Failed, Filter, Paths, Priority, Walker, arrow};

fn odd() -> World {
    let world = World::new(Walker::Auto, |t| {
        t.file("a/b/c", "abc")
            .file("a/d", "d")
            .file(b"a/\xff\n", "odd")
            .file("z", "")
            .symlink("a/d", "link")
            .dir("e/f");
    });
    world.scan();
    world
}

#[test]
fn a_walk_gives_what_a_selection_gives_in_pieces_of_any_size() {
    let world = odd();
    let snapshot = world.snapshot();
    for filter in
        [Filter::new(), Filter::new().with_dirs(), Filter::new().under("root/a"), Filter::new().missing()]
    {
        let expected: Vec<_> = snapshot.select(&filter).map(|entry| entry.to_entry()).collect();
        for piece in [1, 2, 3, 100] {
            let (mut walk, mut paths, mut found) = (snapshot.walk(&filter), Paths::new(), Vec::new());
            loop {
                let n = walk.each(piece, |entry| {
                    assert_eq!(paths.of(entry), entry.path());
                    found.push(entry.to_entry());
                });
                if n < piece {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter:?} in pieces of {piece}");
            assert_eq!(walk.each(piece, |_| {}), 0, "the end stays the end");
        }
    }
    let mut paths = Paths::new();
    let both =
        [snapshot.get("root/a/d").unwrap(), snapshot.get("root").unwrap(), snapshot.get("root/z").unwrap()];
    let found: Vec<String> = both.iter().map(|entry| show(paths.of(entry))).collect();
    assert_eq!(found, ["root/a/d", "root", "root/z"]);
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn arrow_array::Array {
    batch.column_by_name(name).unwrap().as_ref()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    column(batch, name).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn words(batch: &RecordBatch, name: &str) -> Vec<String> {
    let words = column(batch, name).as_dictionary::<Int8Type>();
    let texts = words.values().as_string::<i32>();
    words.keys().iter().map(|key| texts.value(usize::try_from(key.unwrap()).unwrap()).to_owned()).collect()
}

#[test]
fn a_table_of_entries_says_what_the_entries_say() {
    let world = odd();
    let snapshot = world.snapshot();
    let mut table = arrow::entries(&snapshot, &Filter::new());
    let schema = table.schema();
    let batch = table.next().unwrap().unwrap();
    assert_eq!(batch.schema(), schema);
    assert!(table.next().is_none());
    let entries: Vec<_> = snapshot.files("").map(|entry| entry.to_entry()).collect();
    let shown: Vec<_> = entries.iter().map(|entry| Some(treewarden::escape(&entry.path))).collect();
    assert_eq!(texts(&batch, "path"), shown);
    let exact: Vec<_> = column(&batch, "path_bytes").as_binary::<i32>().iter().collect();
    let expected: Vec<_> =
        entries.iter().map(|e| std::str::from_utf8(&e.path).is_err().then_some(&e.path[..])).collect();
    assert_eq!(exact, expected, "only what cannot be shown");
    assert_eq!(words(&batch, "kind"), entries.iter().map(|e| e.kind.name()).collect::<Vec<_>>());
    let sizes = column(&batch, "size").as_primitive::<UInt64Type>();
    assert_eq!(sizes.values(), &entries.iter().map(|e| e.size).collect::<Vec<_>>()[..]);
    let mtimes = column(&batch, "mtime").as_primitive::<TimestampNanosecondType>();
    assert_eq!(mtimes.values(), &entries.iter().map(|e| e.mtime_ns).collect::<Vec<_>>()[..]);
    let targets: Vec<_> = entries.iter().map(|e| e.target.as_deref().map(treewarden::escape)).collect();
    assert_eq!(texts(&batch, "target"), targets);
    assert!(arrow::entries(&snapshot, &Filter::new().under("nothing")).next().is_none(), "no rows, no batch");
}

#[test]
fn tables_of_more_than_a_batch_lose_no_row() {
    let rows = arrow::BATCH_ROWS + 1;
    let change = |seq| treewarden::Change {
        seq,
        root: "r".into(),
        kind: treewarden::ChangeKind::Moved,
        entry_kind: treewarden::Kind::File,
        path: b"r/b".to_vec(),
        from: Some(b"r/\xff".to_vec()),
        id: 7,
    };
    let table = arrow::changes((0..rows as u64).map(move |seq| Ok(change(seq))));
    let batches: Vec<RecordBatch> = table.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [arrow::BATCH_ROWS, 1]);
    assert_eq!(texts(&batches[1], "from"), [Some(treewarden::escape(b"r/\xff"))]);
    assert_eq!(column(&batches[1], "from_bytes").as_binary::<i32>().value(0), b"r/\xff");
    assert_eq!(column(&batches[1], "seq").as_primitive::<UInt64Type>().value(0), arrow::BATCH_ROWS as u64);
    let failing = arrow::changes([Err(treewarden::Warden::open("/nowhere/x").unwrap_err())]);
    assert_eq!(failing.filter(Result::is_err).count(), 1, "an error is told");
}

#[test]
fn jobs_items_and_history_are_tables() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    let p = open(&world, &plain());
    let jobs = take(&p);
    let batch = arrow::jobs(&jobs).next().unwrap().unwrap();
    assert_eq!(texts(&batch, "path"), [Some("root/a".into()), Some("root/b".into())]);
    assert_eq!(words(&batch, "priority"), [Priority::High.name(); 2]);
    let tokens = column(&batch, "token").as_primitive::<UInt64Type>();
    assert_eq!(tokens.values(), &jobs.iter().map(treewarden::Job::token).collect::<Vec<_>>()[..]);
    jobs.into_iter().for_each(|job| job.fail(&Failed::permanent("no")).unwrap());
    let batch = arrow::items(p.list("", None, 10).unwrap()).next().unwrap().unwrap();
    assert_eq!(words(&batch, "state"), ["error", "error"]);
    assert!(column(&batch, "dead").as_boolean().iter().all(|dead| dead == Some(true)));
    let history = world.warden().history(10).unwrap();
    let batch = arrow::operations(history.clone()).next().unwrap().unwrap();
    assert_eq!(words(&batch, "kind"), history.iter().map(|o| o.kind.name()).collect::<Vec<_>>());
    let added = column(&batch, "added").as_primitive::<UInt64Type>();
    assert_eq!(added.values(), &history.iter().map(|o| o.counts.added).collect::<Vec<_>>()[..]);
}

#[test]
fn the_descriptor_of_a_follower_is_readable_until_all_has_been_read() {
    let world = odd();
    let follow = world.warden().follow("f").unwrap();
    let rings = |wait_s: i64| {
        let fd = follow.descriptor().unwrap();
        let wait = Timespec { tv_sec: wait_s, tv_nsec: 0 };
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&wait)).unwrap() == 1
    };
    let now = Some(Duration::ZERO);
    assert!(rings(0), "there is something already");
    while let Some(delivery) = follow.next(1, now).unwrap() {
        assert!(rings(0), "it may be more");
        delivery.ack().unwrap();
    }
    assert!(!rings(0), "all was read");
    world.tree.file("new", "x");
    std::thread::scope(|scope| {
        let woken = scope.spawn(|| rings(30));
        world.scan();
        assert!(woken.join().unwrap(), "a commit wakes it");
    });
    let delivery = follow.next(10, now).unwrap().unwrap();
    assert_eq!(show(&delivery.changes()[0].path), "root/new");
    delivery.ack().unwrap();
    while follow.next(10, now).unwrap().is_some() {}
    world.warden().clone().close().unwrap();
    assert!(rings(30), "closing is something to be told");
}
