//! What the program keeps in the same file and the same commits: journal and cursors, attributes,
//! key-value spaces, batches over all of them, retention.

use std::collections::BTreeMap;
use std::sync::Arc;

use support::reference::{assert_same_dump, dump};
use support::{DAY_MS, ROOT, Setup, Tree, World, address, now_ns, refused, rows_since};
use treewarden::{Change, ChangeKind, Clock, Durability, ErrorKind, Options, Token, Walker, Warden};

fn v(text: &str) -> &[u8] {
    text.as_bytes()
}

fn small_world() -> World {
    let world = World::new(Walker::Auto, |t| {
        t.file("a", "1").file("d/b", "2").file("d/c", "3").file("anchor", "");
    });
    world.settle();
    world
}

// ---------------------------------------------------------------------------------- journal

#[test]
fn changes_are_listed_from_any_seq_and_end_at_the_resume_point() {
    let world = small_world();
    let first = world.warden().seq();
    world.tree.file("e", "4");
    world.scan();
    let second = world.warden().seq();
    world.tree.remove("e");
    world.scan();
    let all = rows_since(world.warden(), 0);
    for since in [0, first, second, world.warden().seq()] {
        let expected: Vec<_> = all.iter().filter(|row| row.seq > since).cloned().collect();
        assert_eq!(rows_since(world.warden(), since), expected, "since {since}");
    }
    let mut changes = world.warden().changes(first).unwrap().files_only();
    let kinds: Vec<ChangeKind> = changes.by_ref().map(|change| change.unwrap().kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Missing]);
    assert_eq!(changes.last_seq(), world.warden().seq());
    assert!(rows_since(world.warden(), changes.last_seq()).is_empty());
}

fn directories(changes: impl Iterator<Item = treewarden::Result<Change>>) -> usize {
    changes.filter(|change| change.as_ref().unwrap().entry_kind.name() == "dir").count()
}

#[test]
fn files_only_leaves_directories_out() {
    let world = small_world();
    assert_eq!(directories(world.warden().changes(0).unwrap().files_only()), 0);
    assert!(directories(world.warden().changes(0).unwrap()) > 0, "directories have rows too");
}

#[test]
fn an_iterator_over_changes_is_not_disturbed_by_later_commits() {
    let world = small_world();
    let expected = rows_since(world.warden(), 0).len();
    let mut changes = world.warden().changes(0).unwrap();
    let first = changes.next().unwrap().unwrap();
    assert!(first.seq > 0);
    world.tree.file("later", "");
    world.scan();
    let rest: Vec<Change> = changes.by_ref().map(Result::unwrap).collect();
    assert!(rest.len() + 1 >= expected);
    // Whatever it showed, going on from its resume point misses nothing and repeats nothing.
    let more = rows_since(world.warden(), changes.last_seq());
    assert_eq!(1 + rest.len() + more.len(), rows_since(world.warden(), 0).len());
}

#[test]
fn a_token_resumes_and_knows_its_database() {
    let mut world = small_world();
    let token = world.warden().token();
    assert_eq!(token.seq(), world.warden().seq());
    let text = token.to_string();
    assert!(text.starts_with("tw1-"), "{text}");
    world.tree.file("e", "4");
    world.scan();
    world.reopen();
    let token: Token = text.parse().unwrap();
    let changes = world.warden().changes_since_token(&token).unwrap().files_only();
    let paths: Vec<Vec<u8>> = changes.map(|change| change.unwrap().path).collect();
    assert_eq!(paths, [address("e")]);

    let other = small_world();
    let error = refused(
        "a token of another database",
        other.warden().changes_since_token(&token),
        &[ErrorKind::Reset],
    );
    assert_eq!(error.restart_seq(), Some(other.warden().seq()));
}

#[test]
fn text_that_is_no_token_is_refused() {
    let good = small_world().warden().token().to_string();
    let cut = &good[..good.len() / 2];
    for bad in ["", "tw1", "tw1-", "tw2-00000000000000000000000000000000-1", "tw1-zz-1", "nonsense", cut] {
        refused(bad, bad.parse::<Token>(), &[ErrorKind::InvalidArgument]);
    }
}

#[test]
fn a_seq_from_the_future_is_an_explicit_reset() {
    let world = small_world();
    let now = world.warden().seq();
    assert_eq!(world.warden().changes(now).unwrap().count(), 0, "now is not the future");
    let error = refused("a future seq", world.warden().changes(now + 1), &[ErrorKind::Reset]);
    assert_eq!(error.restart_seq(), Some(now));
}

#[test]
fn a_seq_older_than_the_journal_is_an_explicit_reset() {
    let clock = Clock::manual(now_ns());
    let keep = |o: Options| o.journal_keep_ms(7 * DAY_MS).tombstone_keep_ms(1000 * DAY_MS);
    let mut world = Setup::new(Walker::Auto).clock(&clock).options(keep).build(|t| {
        t.file("a", "").file("b", "");
    });
    world.settle();
    let early = world.warden().seq() - 1;
    let early_token = world.warden().token();
    assert!(world.warden().changes(0).is_ok());
    clock.advance_ms(8 * DAY_MS);
    world.tree.file("c", "");
    world.scan();
    world.warden().maintain().unwrap();
    for _ in 0..2 {
        let error = refused("too old", world.warden().changes(0), &[ErrorKind::Reset]);
        assert_eq!(error.restart_seq(), Some(world.warden().seq()));
        refused("too old", world.warden().changes(early), &[ErrorKind::Reset]);
        let status = world.warden().status().unwrap();
        assert!(status.journal_first_seq > 0 && status.journal_first_seq <= status.journal_last_seq);
        world.reopen();
    }
    // Everything after what was dropped is still told.
    let rest = world.warden().changes_since_token(&early_token).unwrap().files_only();
    assert_eq!(rest.map(|c| c.unwrap().path).collect::<Vec<_>>(), [address("c")]);
}

#[test]
fn the_journal_is_bounded_by_bytes() {
    let keep = |o: Options| o.journal_keep_bytes_max(4096);
    let world = Setup::new(Walker::Auto).options(keep).build(|t| {
        t.file("anchor", "");
    });
    for round in 0..30 {
        for n in 0..20 {
            world.tree.file(format!("d{n}/a-rather-long-name-{round}"), "");
        }
        world.scan();
    }
    world.warden().maintain().unwrap();
    refused("too old", world.warden().changes(0), &[ErrorKind::Reset]);
    assert!(world.warden().changes(world.warden().seq()).is_ok());
    world.tree.file("last", "");
    world.expect_news("the newest is there", &["added last"]);
}

// ---------------------------------------------------------------------------------- cursors

#[test]
fn a_cursor_hands_out_again_what_was_not_acknowledged() {
    let mut world = small_world();
    let all = rows_since(world.warden(), 0);
    {
        let cursor = world.warden().cursor("indexer").unwrap();
        assert_eq!((cursor.name(), cursor.position().unwrap()), ("indexer", 0));
        let first = cursor.read(1000).unwrap();
        let again = cursor.read(1000).unwrap();
        assert_eq!(first.changes().len(), all.len());
        assert_eq!(first.upto(), again.upto());
        assert_eq!(cursor.position().unwrap(), 0, "reading acknowledges nothing");
    }
    world.reopen();
    let upto = {
        let cursor = world.warden().cursor("indexer").unwrap();
        let delivery = cursor.read(1000).unwrap();
        assert_eq!(delivery.changes().len(), all.len(), "not acknowledged, so delivered again");
        let upto = delivery.upto();
        delivery.ack().unwrap();
        assert_eq!(cursor.position().unwrap(), upto);
        assert!(cursor.read(1000).unwrap().changes().is_empty());
        upto
    };
    world.reopen();
    let cursor = world.warden().cursor("indexer").unwrap();
    assert_eq!(cursor.position().unwrap(), upto, "the advance is durable");
    assert_eq!(world.warden().cursors().unwrap(), [("indexer".to_owned(), upto)]);
    world.tree.file("e", "");
    world.scan();
    let paths: Vec<_> = cursor.read(1000).unwrap().changes().iter().map(|c| c.path.clone()).collect();
    assert!(paths.contains(&address("e")), "{paths:?}");
}

#[test]
fn a_cursor_never_stops_inside_a_seq() {
    let world = small_world();
    for n in 0..50 {
        world.tree.file(format!("many/f{n}"), "");
    }
    world.scan();
    let all = rows_since(world.warden(), 0);
    let cursor = world.warden().cursor("slow").unwrap();
    let mut got = Vec::new();
    loop {
        let delivery = cursor.read(1).unwrap();
        if delivery.changes().is_empty() {
            break;
        }
        let last = delivery.changes().last().unwrap().seq;
        assert!(delivery.upto() >= last);
        let whole = all.iter().filter(|row| row.seq == last).count();
        assert_eq!(delivery.changes().iter().filter(|c| c.seq == last).count(), whole, "half a seq");
        got.extend(delivery.changes().iter().map(support::Row::of));
        delivery.ack().unwrap();
    }
    assert_eq!(got, all, "every change once, in order");
}

#[test]
fn cursors_do_not_disturb_each_other() {
    let world = small_world();
    let (one, two) = (world.warden().cursor("one").unwrap(), world.warden().cursor("two").unwrap());
    one.read(1000).unwrap().ack().unwrap();
    assert!(one.read(1000).unwrap().changes().is_empty());
    assert!(!two.read(1000).unwrap().changes().is_empty());
    assert_eq!(two.position().unwrap(), 0);
}

// ---------------------------------------------------------------------------------- key-value

#[test]
fn a_space_keeps_values_by_key_in_order() {
    let mut world = small_world();
    for round in 0..2 {
        let space = world.warden().space("settings").unwrap();
        if round == 0 {
            assert_eq!(space.get(v("theme")).unwrap(), None);
            let seq = space.put(v("theme"), v("dark")).unwrap();
            assert!(space.put(v("theme"), v("light")).unwrap() > seq, "every commit has its seq");
            space.put(b"\x00\xff".as_slice(), v("binary key")).unwrap();
            space.put(v("the end"), v("")).unwrap();
            space.put(v("zebra"), vec![0_u8; 100_000].as_slice()).unwrap();
            world.warden().space("other").unwrap().put(v("theme"), v("elsewhere")).unwrap();
        }
        assert_eq!(space.get(v("theme")).unwrap().as_deref(), Some(v("light")));
        assert_eq!(space.get(v("the end")).unwrap().as_deref(), Some(v("")), "an empty value is a value");
        let keys = |rows: Vec<(Vec<u8>, Vec<u8>)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(space.items(v("the")).unwrap()), [v("the end"), v("theme")]);
        assert_eq!(space.items(v("")).unwrap().len(), 4);
        assert_eq!(keys(space.range(v(""), Some(v("the end")), 1).unwrap()), [v("theme")]);
        assert_eq!(keys(space.range(v("the"), None, 10).unwrap()), [v("the end"), v("theme")]);
        assert!(space.range(v("the"), Some(v("theme")), 10).unwrap().is_empty());
        drop(space);
        world.reopen();
    }
    let space = world.warden().space("settings").unwrap();
    assert!(space.delete(v("theme")).unwrap());
    assert!(!space.delete(v("theme")).unwrap(), "it was gone already");
    assert_eq!(space.get(v("theme")).unwrap(), None);
    let other = world.warden().space("other").unwrap();
    assert_eq!(other.get(v("theme")).unwrap().as_deref(), Some(v("elsewhere")));
}

#[test]
fn compare_and_set_changes_only_what_was_expected() {
    let world = small_world();
    let space = world.warden().space("s").unwrap();
    space.compare_and_set(v("k"), None, Some(v("1"))).unwrap();
    refused("it exists", space.compare_and_set(v("k"), None, Some(v("2"))), &[ErrorKind::Conflict]);
    refused(
        "another value",
        space.compare_and_set(v("k"), Some(v("9")), Some(v("2"))),
        &[ErrorKind::Conflict],
    );
    assert_eq!(space.get(v("k")).unwrap().as_deref(), Some(v("1")));
    space.compare_and_set(v("k"), Some(v("1")), Some(v("2"))).unwrap();
    assert_eq!(space.get(v("k")).unwrap().as_deref(), Some(v("2")));
    space.compare_and_set(v("k"), Some(v("2")), None).unwrap();
    assert_eq!(space.get(v("k")).unwrap(), None);
    refused("it is gone", space.compare_and_set(v("k"), Some(v("2")), None), &[ErrorKind::Conflict]);
}

#[test]
fn of_many_threads_that_increment_none_is_lost() {
    let world = small_world();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let warden = world.warden().clone();
            std::thread::spawn(move || {
                let space = warden.space("s").unwrap();
                for _ in 0..25 {
                    loop {
                        let old = space.get(v("n")).unwrap();
                        let n = old.as_deref().map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap())) + 1;
                        let new = n.to_be_bytes();
                        match space.compare_and_set(v("n"), old.as_deref(), Some(new.as_slice())) {
                            Ok(_) => break,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let n = world.warden().space("s").unwrap().get(v("n")).unwrap();
    assert_eq!(n, Some(100_u32.to_be_bytes().to_vec()));
}

#[test]
fn limits_of_keys_values_and_names_are_refused_and_write_nothing() {
    let world = small_world();
    let space = world.warden().space("s").unwrap();
    let seq = world.warden().seq();
    refused("a key over 4 KiB", space.put([b'k'; 4097].as_slice(), v("")), &[ErrorKind::TooLarge]);
    let large = vec![0_u8; 16 * 1024 * 1024 + 1];
    refused("a value over 16 MiB", space.put(v("k"), large.as_slice()), &[ErrorKind::TooLarge]);
    let names = [ErrorKind::InvalidArgument, ErrorKind::TooLarge];
    let long = "n".repeat(256);
    for name in ["", long.as_str()] {
        refused("a space's name", world.warden().space(name).and_then(|s| s.put(v("k"), v(""))), &names);
        refused("a cursor's name", world.warden().cursor(name).and_then(|c| c.read(1).map(|_| ())), &names);
        refused("an attribute's name", world.warden().set_attrs("root/a", [(name, Some(v("1")))]), &names);
    }
    let too_much = vec![0_u8; 64 * 1024 + 1];
    let attrs = world.warden().set_attrs("root/a", [("big", Some(too_much.as_slice()))]);
    refused("attributes over 64 KiB", attrs, &[ErrorKind::TooLarge]);
    let half = vec![0_u8; 40 * 1024];
    let attrs =
        world.warden().set_attrs("root/a", [("x", Some(half.as_slice())), ("y", Some(half.as_slice()))]);
    refused("attributes over 64 KiB together", attrs, &[ErrorKind::TooLarge]);
    assert_eq!(world.warden().seq(), seq, "a refusal is no commit");
    assert!(world.warden().attrs("root/a").unwrap().is_empty());

    space.put([b'k'; 4096].as_slice(), v("")).unwrap();
    space.put(v("k"), &large[1..]).unwrap();
    assert_eq!(space.get(v("k")).unwrap().map(|value| value.len()), Some(16 * 1024 * 1024));
}

// ---------------------------------------------------------------------------------- attributes

#[test]
fn attributes_are_set_removed_and_kept_over_reopening() {
    let mut world = small_world();
    let warden = world.warden();
    warden.set_attrs("root/a", [("rating", Some(v("5"))), ("tag", Some(v("x")))]).unwrap();
    warden.set_attrs("root/a", [("tag", None), ("mood", Some(v("calm")))]).unwrap();
    warden.set_attrs("root/d", [("of", Some(v("a directory")))]).unwrap();
    world.reopen();
    let expected =
        BTreeMap::from([("mood".to_owned(), b"calm".to_vec()), ("rating".to_owned(), b"5".to_vec())]);
    assert_eq!(world.warden().attrs("root/a").unwrap(), expected);
    assert_eq!(world.warden().attrs("root/d").unwrap().len(), 1);
    assert!(world.warden().attrs("root/d/b").unwrap().is_empty());
    refused("nobody", world.warden().attrs("root/nobody"), &[ErrorKind::NotFound]);
    refused("nobody", world.warden().set_attrs("root/nobody", [("a", Some(v("1")))]), &[ErrorKind::NotFound]);
}

#[test]
fn attributes_survive_an_edit_and_a_replacement() {
    let world = small_world();
    world.warden().set_attrs("root/a", [("rating", Some(v("5")))]).unwrap();
    world.tree.append("a", "more");
    world.scan();
    assert_eq!(world.warden().attrs("root/a").unwrap().len(), 1);
    world.tree.replace("a", "written aside and renamed into place");
    world.scan();
    assert_eq!(world.warden().attrs("root/a").unwrap().len(), 1);
}

// ---------------------------------------------------------------------------------- batches

#[test]
fn a_batch_is_one_commit_over_rows_attributes_and_cursors() {
    let mut world = small_world();
    let (seq, tree_seq) = (world.warden().seq(), world.snapshot().seq());
    let committed = world
        .warden()
        .batch()
        .put("s", v("a"), v("1"))
        .put("t", v("b"), v("2"))
        .delete("s", v("never"))
        .compare_and_set("s", v("c"), None, Some(v("3")))
        .set_attr("root/a", "rating", v("5"))
        .advance("indexer", tree_seq)
        .commit()
        .unwrap();
    assert_eq!(committed, seq + 1, "one commit, one seq");
    world.reopen();
    let warden = world.warden();
    assert_eq!(warden.space("s").unwrap().items(v("")).unwrap().len(), 2);
    assert_eq!(warden.space("t").unwrap().get(v("b")).unwrap().as_deref(), Some(v("2")));
    assert_eq!(warden.attrs("root/a").unwrap().len(), 1);
    assert_eq!(warden.cursor("indexer").unwrap().position().unwrap(), tree_seq);
}

#[test]
fn a_batch_with_a_conflict_changes_nothing_at_all() {
    let mut world = small_world();
    let warden = world.warden();
    warden.space("s").unwrap().put(v("c"), v("mine")).unwrap();
    warden.set_attrs("root/a", [("keep", Some(v("1")))]).unwrap();
    let (seq, before) = (warden.seq(), dump(&warden.snapshot()));
    let conflict = warden
        .batch()
        .put("s", v("a"), v("1"))
        .delete("s", v("c"))
        .set_attr("root/a", "rating", v("5"))
        .remove_attr("root/a", "keep")
        .advance("indexer", seq)
        .compare_and_set("s", v("other"), Some(v("x")), Some(v("y")))
        .commit();
    refused("a conflict", conflict, &[ErrorKind::Conflict]);
    let unknown = warden.batch().put("s", v("a"), v("1")).set_attr("root/nobody", "x", v("1")).commit();
    refused("an attribute of nobody", unknown, &[ErrorKind::NotFound]);
    let large = warden.batch().put("s", v("a"), v("1")).put("s", [0_u8; 5000].as_slice(), v("1")).commit();
    refused("one key too large", large, &[ErrorKind::TooLarge]);
    for _ in 0..2 {
        let warden = world.warden();
        assert_eq!(warden.seq(), seq);
        assert_eq!(warden.space("s").unwrap().items(v("")).unwrap(), [(b"c".to_vec(), b"mine".to_vec())]);
        assert_eq!(warden.attrs("root/a").unwrap().keys().collect::<Vec<_>>(), ["keep"]);
        assert_eq!(warden.cursor("indexer").unwrap().position().unwrap(), 0);
        assert_same_dump("a failed batch", &before, &dump(&warden.snapshot()));
        world.reopen();
    }
}

#[test]
fn an_empty_batch_is_no_commit() {
    let world = small_world();
    let seq = world.warden().seq();
    world.warden().batch().commit().unwrap();
    assert_eq!(world.warden().seq(), seq);
}

#[test]
fn reading_changes_and_recording_what_they_led_to_happens_once_in_effect() {
    // A consumer that counts changes, and dies between reading and committing every second time.
    let world = small_world();
    let total = rows_since(world.warden(), 0).len() as u64;
    let mut deaths = 0;
    loop {
        let cursor = world.warden().cursor("counter").unwrap();
        let delivery = cursor.read(1).unwrap();
        if delivery.changes().is_empty() {
            break;
        }
        deaths += 1;
        if deaths % 2 == 1 {
            continue;
        }
        let space = world.warden().space("counts").unwrap();
        let old = space.get(v("n")).unwrap();
        let n = old.as_deref().map_or(0, |b| u64::from_be_bytes(b.try_into().unwrap()));
        let new = (n + delivery.changes().len() as u64).to_be_bytes();
        world
            .warden()
            .batch()
            .compare_and_set("counts", v("n"), old.as_deref(), Some(new.as_slice()))
            .advance("counter", delivery.upto())
            .commit()
            .unwrap();
    }
    let counted = world.warden().space("counts").unwrap().get(v("n")).unwrap();
    assert_eq!(counted, Some(total.to_be_bytes().to_vec()));
}

// ---------------------------------------------------------------------------------- the whole

#[test]
fn a_relaxed_warden_keeps_everything_over_an_orderly_close() {
    let relaxed = |o: Options| o.durability(Durability::Relaxed);
    let mut world = Setup::new(Walker::Auto).options(relaxed).build(|t| {
        t.file("a", "1");
    });
    world.scan();
    world.warden().space("s").unwrap().put(v("k"), v("1")).unwrap();
    let before = dump(&world.snapshot());
    world.close();
    world.open();
    assert_eq!(before.present, dump(&world.snapshot()).present);
    assert_eq!(world.warden().space("s").unwrap().get(v("k")).unwrap().as_deref(), Some(v("1")));
    world.assert_replay();
}

#[test]
fn compaction_changes_nothing_but_the_size() {
    let mut world = small_world();
    let space = world.warden().space("s").unwrap();
    for n in 0..200_u32 {
        space.put(n.to_be_bytes().as_slice(), [7_u8; 4000].as_slice()).unwrap();
    }
    for n in 1..200_u32 {
        space.delete(n.to_be_bytes().as_slice()).unwrap();
    }
    drop(space);
    let before = dump(&world.snapshot());
    let rows = rows_since(world.warden(), 0);
    let held = world.snapshot();
    let report = world.warden().compact().unwrap();
    assert!(report.after_bytes <= report.before_bytes, "{report:?}");
    for _ in 0..2 {
        assert_same_dump("compacted", &before, &dump(&world.snapshot()));
        assert_same_dump("held over a compaction", &before, &dump(&held));
        assert_eq!(rows_since(world.warden(), 0), rows);
        assert_eq!(world.warden().space("s").unwrap().items(v("")).unwrap().len(), 1);
        world.warden().check().unwrap();
        world.reopen();
    }
}

#[test]
fn status_says_what_is_there() {
    let world = small_world();
    world.warden().cursor("c").unwrap().read(1000).unwrap().ack().unwrap();
    world.tree.remove("a");
    world.scan();
    let status = world.warden().status().unwrap();
    assert_eq!(status.path, world.state_file());
    assert_eq!(status.seq, world.warden().seq());
    assert!(status.format_version > 0 && status.file_bytes > 0);
    assert_eq!(status.file_bytes, world.state_bytes().len() as u64);
    assert_eq!(status.database_id.len(), 32, "{}", status.database_id);
    assert!(world.warden().token().to_string().contains(&status.database_id));
    assert_eq!((status.totals.files, status.totals.dirs, status.missing), (3, 1, 1));
    assert_eq!(status.roots.len(), 1);
    assert_eq!(status.roots[0].name, ROOT);
    assert_eq!(status.roots[0].totals.files, 3);
    assert!(status.roots[0].last_scan_ns.is_some());
    assert_eq!(status.cursors.len(), 1);
}

#[test]
fn every_clone_of_a_handle_is_the_same_warden() {
    let world = small_world();
    let clone = world.warden().clone();
    clone.space("s").unwrap().put(v("k"), v("1")).unwrap();
    assert_eq!(world.warden().space("s").unwrap().get(v("k")).unwrap().as_deref(), Some(v("1")));
    assert_eq!(world.warden().seq(), clone.seq());
}

#[test]
fn scans_batches_and_readers_on_many_threads_end_in_one_truth() {
    let world = Arc::new(small_world());
    let threads: Vec<_> = (0..4_u32)
        .map(|n| {
            let world = Arc::clone(&world);
            std::thread::spawn(move || {
                for round in 0..20_u32 {
                    match n {
                        0 => {
                            world.tree.file(format!("t/{round}"), vec![b'x'; 3]);
                            world.warden().scan(ROOT).unwrap();
                        }
                        1 => {
                            world
                                .warden()
                                .space("s")
                                .unwrap()
                                .put(round.to_be_bytes().as_slice(), v(""))
                                .unwrap();
                        }
                        2 => {
                            world.warden().scan("root/d").unwrap();
                        }
                        _ => {
                            let snapshot = world.snapshot();
                            assert_eq!(snapshot.files("").count() as u64, snapshot.len());
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    world.settle();
    world.assert_true("four threads later");
    assert_eq!(world.warden().space("s").unwrap().items(v("")).unwrap().len(), 20);
}

#[test]
fn two_databases_know_nothing_of_each_other() {
    let (tree, state) = (Tree::new(), Tree::new());
    tree.file("a", "");
    let one = Warden::open(state.join("one.tw")).unwrap();
    let two = Warden::open(state.join("two.tw")).unwrap();
    one.add_root(ROOT, tree.path()).unwrap();
    one.scan(ROOT).unwrap();
    assert!(two.roots().is_empty() && two.snapshot().is_empty());
    assert_ne!(one.status().unwrap().database_id, two.status().unwrap().database_id);
}
