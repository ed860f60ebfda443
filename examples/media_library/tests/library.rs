//! The program against a service that counts and misbehaves: what it asks for, how often and how fast, and
//! what is in the library afterwards, whatever happens to either of them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::thread;
use std::time::Duration;

use treewarden::{Warden, WorkState};

use crate::support::{
    Arrival, Expected, Fault, Random, THREADS, World, episode, movie, movie_file, movie_target,
    season_target, show, show_target, stamp,
};

const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

// ---- what is asked for

#[test]
fn every_document_is_asked_for_once_and_never_again() {
    let world = World::new(6, 3, 2);
    world.finish();
    world.assert_finished();
    let mut targets: Vec<String> = world.expected().into_iter().map(|expected| expected.target).collect();
    targets.sort();
    assert_eq!(world.server.asked(0), targets, "one for a movie, one for a show and each of its seasons");
    world.assert_rate();

    // Neither a new start nor what was written into the library is a reason to ask.
    let stamps: Vec<_> = world.expected().iter().map(|expected| stamp(&expected.file)).collect();
    world.finish();
    assert_eq!(world.server.arrivals().len(), targets.len());
    let stamps_now: Vec<_> = world.expected().iter().map(|expected| stamp(&expected.file)).collect();
    assert_eq!(stamps_now, stamps);
}

#[test]
fn a_changed_episode_asks_for_its_show_and_what_is_not_news_is_not_written() {
    let world = World::new(2, 2, 2);
    world.finish();
    let begun = world.server.arrivals().len();
    let files = ["metadata.json", "metadata.s01.json", "metadata.s02.json"]
        .map(|name| world.path(&show(1)).join(name));
    let before = files.clone().map(|file| stamp(&file));

    world.write(&episode(1, 2, 1));
    let said = world.finish();
    let of_the_show = [season_target(1, 1), season_target(1, 2), show_target(1)];
    assert_eq!(world.server.asked(begun), sorted(of_the_show.clone()));
    assert_eq!(world.server.count(|arrival| arrival.status == 304), 3, "nothing is news");
    assert_eq!(files.clone().map(|file| stamp(&file)), before, "not one file was touched");
    assert!(said.contains("as before library/Shows/Show 01"), "{said}");

    world.server.revise(&season_target(1, 1));
    world.write(&episode(1, 2, 1));
    world.finish();
    assert_eq!(world.server.asked(begun + 3), sorted(of_the_show));
    assert_eq!(world.server.count(|arrival| arrival.status == 304), 5, "one is");
    let after = files.map(|file| stamp(&file));
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert_ne!(after[1], before[1]);
    world.assert_finished();
    world.assert_rate();
}

#[test]
fn an_answer_without_a_version_is_written_when_it_is_another_one() {
    let world = World::new(1, 0, 0);
    world.server.without_etags();
    world.finish();
    let file = world.path(&movie(1)).join("metadata.json");
    let before = stamp(&file);

    world.write(&movie_file(1));
    world.finish();
    assert_eq!(world.server.count(|arrival| arrival.status == 200), 2, "it was sent again");
    assert_eq!(stamp(&file), before, "and not written again");

    world.server.revise(&movie_target(1));
    world.write(&movie_file(1));
    world.finish();
    assert_ne!(stamp(&file), before);
    world.assert_finished();
}

#[test]
fn a_season_that_moves_takes_its_document_along() {
    let world = World::new(0, 1, 2);
    world.finish();
    let begun = world.server.arrivals().len();
    fs::rename(world.path(&show(1)).join("Season 02"), world.path(&show(1)).join("Season 03")).unwrap();
    world.finish();
    let asked = world.server.asked(begun);
    assert_eq!(asked, sorted([season_target(1, 1), season_target(1, 3), show_target(1)]));
    let there = ["metadata.json", "metadata.s01.json", "metadata.s02.json", "metadata.s03.json"]
        .map(|name| world.path(&show(1)).join(name).exists());
    assert_eq!(there, [true, true, false, true]);
}

#[test]
fn what_the_service_does_not_know_is_left_alone_until_it_changes() {
    let world = World::new(2, 0, 0);
    world.server.misbehave(&movie_target(2), [Fault::Unknown]);
    let said = world.finish();
    assert!(said.contains("the service does not know it"), "{said}");
    world.finish();
    assert_eq!(world.server.count(|arrival| arrival.target == movie_target(2)), 1);

    world.write(&movie_file(2));
    world.finish();
    assert_eq!(world.server.arrivals().len(), 3);
    world.assert_finished();
}

#[test]
fn the_age_of_the_movie_decides_when_it_is_asked_for_again() {
    let world = World::new(1, 1, 1);
    world.finish();
    let warden = Warden::open(world.state()).unwrap();
    let metadata = warden.pipeline("metadata").unwrap();
    for item in [movie(1), show(1)] {
        let item = metadata.explain(format!("library/{item}")).unwrap();
        assert_eq!(item.state, WorkState::Indexed, "{}", item.why);
        // Of 2001, though the files are of today.
        assert_eq!(item.refresh_at_ns.unwrap() - item.done_ns.unwrap(), 180 * DAY_NS);
        assert_eq!(item.attrs["date"], b"2001-02-03");
        assert!(item.attrs.contains_key("etag") && item.attrs.contains_key("hash"), "{:?}", item.attrs);
    }
}

// ---- what is taken away

#[test]
fn the_metadata_of_a_deleted_movie_goes() {
    let world = World::new(4, 1, 1);
    world.finish();
    let begun = world.server.arrivals().len();
    fs::remove_file(world.path(&movie_file(2))).unwrap();
    fs::remove_dir_all(world.path(&movie(3))).unwrap();
    let said = world.finish();
    assert!(said.contains("removed   library/Movies/Movie 02") && said.contains("Movie 03"), "{said}");
    let made: Vec<_> = fs::read_dir(world.path(&movie(2))).unwrap().collect();
    assert!(made.is_empty(), "{made:?}");
    assert!(!world.path(&movie(3)).exists(), "nothing is written where nothing is");
    assert!(world.path(&movie(1)).join("metadata.json").exists());
    assert_eq!(world.server.arrivals().len(), begun, "nobody was asked");
}

// ---- what goes wrong

#[test]
fn a_service_that_misbehaves_delays_and_loses_nothing() {
    const KINDS: [Fault; 5] = [Fault::Broken, Fault::Cut, Fault::Slow(300), Fault::Half, Fault::Garbage];
    let world = World::new(8, 4, 2).rate(30, Duration::from_millis(500));
    let mut random = Random(20_261_121);
    for (n, expected) in world.expected().iter().enumerate() {
        let mut faults = vec![KINDS[n % KINDS.len()]];
        if random.below(2) == 0 {
            faults.push(KINDS[usize::try_from(random.below(KINDS.len() as u64)).unwrap()]);
        }
        // A movie, and in the middle of a show.
        if n == 3 || n == 12 {
            faults.insert(0, Fault::TooMany);
        }
        world.server.misbehave(&expected.target, faults);
    }
    world.finish();
    world.assert_finished();
    world.assert_rate();

    let served = world.server.served();
    for kind in KINDS.into_iter().chain([Fault::TooMany]) {
        assert!(served.contains(&kind), "{kind:?} never happened");
    }
    // It was left alone for as long as it wanted, give or take what the clocks differ.
    let arrivals = world.server.arrivals();
    for (n, refused) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.status == 429) {
        let again = arrivals.iter().skip(n + 1).find(|arrival| arrival.target == refused.target).unwrap();
        assert!(again.at - refused.at >= Duration::from_millis(950), "{refused:?} {again:?}");
    }
    let asked = arrivals.len();
    world.finish();
    assert_eq!(world.server.arrivals().len(), asked, "and then all was done");
}

#[test]
fn killed_at_any_moment_it_finishes_without_doing_anything_twice() {
    let world = World::new(16, 8, 2).rate(10, Duration::from_millis(400));
    world.server.take_time(30);
    let mut random = Random(42);
    for round in 0..10 {
        let mut run = world.start("--once");
        let in_the_work = round % 2 == 1;
        if in_the_work {
            let (generation, enough) = (run.generation, 1 + usize::try_from(random.below(4)).unwrap());
            run.until("some requests", |run| {
                let sent = world.server.count(|arrival| arrival.generation == generation);
                sent >= enough || run.is_over()
            });
        }
        // The moment itself: before, while and after a request is under way, or on the way to the first.
        thread::sleep(Duration::from_micros(random.below(if in_the_work { 60_000 } else { 250_000 })));
        run.kill();
    }
    world.finish();
    world.assert_finished();
    world.assert_rate();

    let arrivals = world.server.arrivals();
    let item_of: HashMap<String, String> =
        world.expected().into_iter().map(|Expected { target, item, .. }| (target, item)).collect();
    let mut starts_of: BTreeMap<&String, BTreeSet<u32>> = BTreeMap::new();
    let mut times: HashMap<(u32, &String), usize> = HashMap::new();
    for Arrival { generation, target, .. } in &arrivals {
        starts_of.entry(&item_of[target]).or_default().insert(*generation);
        *times.entry((*generation, target)).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "asked for twice by one process: {twice:?}");
    // What an earlier process has asked for and a later one asks for again was in hand when it was killed,
    // and nobody has more in hand than threads.
    let mut hit_by: BTreeMap<u32, Vec<&String>> = BTreeMap::new();
    for (item, starts) in &starts_of {
        for killed in starts.iter().rev().skip(1) {
            hit_by.entry(*killed).or_default().push(item);
        }
    }
    for (killed, items) in &hit_by {
        assert!(
            items.len() <= THREADS,
            "more than was in hand was done again after start {killed}: {items:?}"
        );
    }
}

#[test]
fn a_file_edited_while_it_is_worked_on_is_worked_on_again() {
    let world = World::new(2, 0, 0);
    let target = movie_target(1);
    world.server.hold(&target);
    let mut run = world.start("--watch");
    let asked = |times| {
        let (server, target) = (world.server.clone(), target.clone());
        move |_: &mut support::Run| server.count(|arrival| arrival.target == target) == times
    };
    run.until("the first request", asked(1));
    world.write(&movie_file(1));
    world.server.release(&target);
    run.until("the second request", asked(2));
    run.terminate();
    world.assert_finished();

    let arrivals = world.server.arrivals();
    let statuses: Vec<u16> =
        arrivals.iter().filter(|arrival| arrival.target == target).map(|arrival| arrival.status).collect();
    assert_eq!(statuses, [200, 304], "the first one was completed, for what was there then");
    world.finish();
    assert_eq!(world.server.arrivals().len(), arrivals.len(), "both were brought to their end");
}

fn sorted<const N: usize>(mut texts: [String; N]) -> [String; N] {
    texts.sort();
    texts
}
