//! What a pipeline is: groups, options and their changes, roots that come and go, restarts, and what is
//! refused.

use std::time::Duration;

use support::live::tomorrow;
use support::work::{
    HOUR_MS, MINUTE_MS, after, below, complete, expect, finish, lines, names, one, open, plain, scanned, take,
};
use support::{DAY_MS, ROOT, Setup, Tree, World, refused};
use treewarden::{
    Completion, ContentHash, Error, ErrorKind, Failed, Group, Pipeline, PipelineOptions, Priority, RateLimit,
    Refresh, RefreshRun, Retry, RootOptions, Schedule, Tier, Token, Walker, Warden, WorkExplanation,
    WorkState,
};

const INVALID: &[ErrorKind] = &[ErrorKind::InvalidArgument];
const NOT_FOUND: &[ErrorKind] = &[ErrorKind::NotFound];

/// Opens the pipeline `p` again, as it is.
fn again(world: &World) -> Pipeline {
    world.warden().pipeline("p").unwrap()
}

// ---------------------------------------------------------------------------------- groups

/// Keys, and how many files are behind each.
type Grouping<'a> = (&'a str, Group, &'a [(&'a str, usize)]);

#[test]
fn files_are_one_job_by_directory_depth_stem_or_function() {
    let (world, _clock) = scanned(|t| {
        t.file("film.mkv", "x").file("film.srt", "x");
        t.file("show/s1/e1.mkv", "x").file("show/s1/e2.mkv", "x").file("show/s2/e1.mkv", "x");
    });
    let letter = Group::by("letter", |address| Ok(address.get(.."root/f".len()).map(<[u8]>::to_vec)));
    let groups: [Grouping<'_>; 5] = [
        ("parent", Group::Parent, &[("root", 2), ("show/s1", 2), ("show/s2", 1)]),
        ("one", Group::Depth(1), &[("film.mkv", 1), ("film.srt", 1), ("show", 3)]),
        ("all", Group::Depth(0), &[("root", 5)]),
        ("stem", Group::Stem, &[("film", 2), ("show/s1/e1", 1), ("show/s1/e2", 1), ("show/s2/e1", 1)]),
        ("letter", letter, &[("f", 2), ("s", 3)]),
    ];
    for (name, group, expected) in groups {
        let p = world.warden().pipeline_with(name, &plain().group(group)).unwrap();
        let shown = |state: &str| -> Vec<String> {
            expected.iter().map(|(key, _)| format!("{key} {state}")).collect()
        };
        assert_eq!(lines(&p), shown("new"), "{name}");
        let jobs = take(&p);
        let mut found: Vec<(String, usize)> =
            jobs.iter().map(|job| (below(job.path()), job.files().len())).collect();
        found.sort();
        let wanted: Vec<(String, usize)> = expected.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect();
        assert_eq!(found, wanted, "{name}");
        complete(&p, jobs);
        assert_eq!(lines(&p), shown("indexed"), "completing it marks all: {name}");
        assert!(take(&p).is_empty(), "{name}");
    }
    let p = world.warden().pipeline("stem").unwrap();
    let e = p.explain("root/film.srt").unwrap();
    assert_eq!((below(&e.path), e.state), ("film".to_owned(), WorkState::Indexed), "the group of a file");
    let asked = p.request("root/film.srt", Priority::Critical).unwrap();
    assert_eq!((asked.added, finish(&p)), (1, vec!["film".to_owned()]));
    world.warden().check().unwrap();
}

/// What is done to a tree, and the groups that are to be done then.
type Step<'a> = (&'a str, &'a dyn Fn(&Tree) -> &Tree, &'a [&'a str]);

#[test]
fn a_group_is_changed_when_a_file_of_it_comes_goes_or_changes() {
    let (mut world, _clock) = scanned(|t| {
        t.file("film/1", "x").file("show/1", "x").file("show/2", "x");
    });
    let p = open(&world, &plain().group(Group::Depth(1)).settle_ms(0));
    assert_eq!(finish(&p).len(), 2);
    let steps: [Step<'_>; 8] = [
        ("an edit", &|t| t.append("show/1", "y"), &["show"]),
        ("one more", &|t| t.file("show/s/3", "x"), &["show"]),
        ("one less", &|t| t.remove("show/2"), &["show"]),
        ("from one to the other", &|t| t.rename("show/s/3", "film/3"), &["film", "show"]),
        ("within", &|t| t.rename("show/1", "show/9"), &[]),
        ("chmod", &|t| t.chmod("show/9", 0o600), &[]),
        ("all of it goes", &|t| t.remove("show"), &["show"]),
        ("and comes again", &|t| t.file("show/1", "y"), &["show"]),
    ];
    for (what, step, expected) in steps {
        step(&world.tree);
        world.scan();
        let jobs = take(&p);
        let mut found = names(&jobs);
        found.sort();
        assert_eq!(found, expected, "{what}");
        let is_gone = jobs.iter().all(|job| job.state() == WorkState::Missing && job.files().is_empty());
        assert_eq!(is_gone && !jobs.is_empty(), what == "all of it goes", "{what}");
        complete(&p, jobs);
    }
    world.reopen();
    let p = again(&world);
    expect("after a restart", &p, &["film indexed", "show indexed"]);

    world.tree.append("film/1", "y");
    world.scan();
    let job = one(&p);
    assert_eq!(job.files(), [b"root/film/1", b"root/film/3"]);
    world.tree.file("film/2", "x");
    world.scan();
    assert_eq!(job.files().len(), 2, "as it was handed out");
    job.complete().unwrap();
    expect("and so it was done", &p, &["film changed", "show indexed"]);
}

#[test]
fn a_file_whose_group_function_fails_is_left_out_and_stops_nobody() {
    let (mut world, _clock) = scanned(|t| {
        t.file("elsewhere", "x").file("fails", "x").file("fine", "x").file("none", "x").file("panics", "x");
    });
    let group = || {
        Group::by("odd", |address| match address {
            b"root/elsewhere" => Ok(Some(b"other/root".to_vec())),
            b"root/fails" => "no token".parse::<Token>().map(|_| None),
            b"root/none" => Ok(None),
            b"root/panics" => panic!("at the disco"),
            other => Ok(Some(other.to_vec())),
        })
    };
    let p = open(&world, &plain().group(group()));
    expect("the others are there", &p, &["fine new"]);
    world.tree.file("later", "x").append("panics", "y");
    world.scan();
    assert_eq!(finish(&p), ["fine", "later"]);
    refused("a file that is left out", p.request("root/panics", Priority::High), NOT_FOUND);
    world.reopen();
    refused("without its function", world.warden().pipeline("p"), INVALID);
    let p = open(&world, &plain().group(group()));
    expect("with it", &p, &["fine indexed", "later indexed"]);
}

#[test]
fn a_touched_file_is_no_work_for_its_group_where_hashes_are_kept() {
    let options = RootOptions::new().content_hash(ContentHash::Changed);
    let clock = tomorrow();
    let mut world = Setup::new(Walker::Auto).root(options).clock(&clock).build(|t| {
        t.file("plain/a", "x").file("plain/b", "x").file("linked/a", "x").symlink("a", "linked/link");
    });
    world.scan();
    let p = open(&world, &plain().group(Group::Depth(1)).settle_ms(0));
    finish(&p);
    for name in ["plain/a", "linked/a"] {
        world.tree.set_mtime(name, 1_000_000_000_000_000_000);
    }
    world.scan();
    expect("touched", &p, &["linked indexed", "plain indexed"]);
    world.reopen();
    let p = again(&world);
    expect("and after a restart", &p, &["linked indexed", "plain indexed"]);
    world.tree.append("linked/a", "y").append("plain/a", "y");
    world.scan();
    assert_eq!(finish(&p).len(), 2);
    world.reopen();
    expect("done after an edit", &again(&world), &["linked indexed", "plain indexed"]);
}

// ---------------------------------------------------------------------------------- options

#[test]
fn a_new_version_makes_everything_changed_once_and_never_goes_down() {
    let (mut world, _clock) = scanned(|t| {
        t.file("dead", "x").file("done", "x").file("held", "x").file("new", "x");
    });
    let p = open(&world, &plain());
    let mut held = Vec::new();
    for job in take(&p) {
        match below(job.path()).as_str() {
            "dead" => job.fail(&Failed::permanent("no")).unwrap(),
            "held" => held.push(job),
            "new" => job.release().unwrap(),
            _ => job.complete().unwrap(),
        }
    }
    let p = open(&world, &plain().version(2));
    expect("leases stay", &p, &["dead new", "done changed", "held processing", "new new"]);
    complete(&p, held);
    expect("done by the old version", &p, &["dead new", "done changed", "held changed", "new new"]);
    assert_eq!(finish(&p).len(), 4);
    for _ in 0..2 {
        assert!(take(&open(&world, &plain().version(2))).is_empty(), "once");
        refused("a lower version", world.warden().pipeline_with("p", &plain()), INVALID);
        assert_eq!(world.warden().pipelines().unwrap()[0].options.get_version(), 2);
        assert_eq!(again(&world).status().unwrap().indexed, 4);
        world.reopen();
    }
}

#[test]
fn what_other_options_leave_out_is_not_ours_and_not_missing() {
    let other = Tree::new();
    other.file("c.jpg", "x");
    let (mut world, _clock) = scanned(|t| {
        t.file("a.jpg", "x").file("b.txt", "x");
    });
    world.warden().add_root("two", other.path()).unwrap();
    world.warden().scan("two").unwrap();
    let p = open(&world, &plain());
    assert_eq!(finish(&p).len(), 3);
    for options in [plain().glob("*.jpg").root(ROOT), plain().glob("{a,zzz}.*"), plain().glob("**/a.jpg")] {
        let p = open(&world, &options);
        expect("one is left", &p, &["a.jpg indexed"]);
        assert!(take(&p).is_empty(), "and nothing is missing");
        refused("not ours", p.request("root/b.txt", Priority::High), NOT_FOUND);
        world.reopen();
        expect("after a restart", &again(&world), &["a.jpg indexed"]);
    }
    let p = open(&world, &plain());
    expect("what was done is known again", &p, &["a.jpg indexed", "b.txt indexed", "c.jpg indexed"]);
}

#[test]
fn a_job_in_hand_is_ended_in_peace_when_its_file_is_not_ours_any_more() {
    for is_done in [true, false] {
        let (world, _clock) = scanned(|t| {
            t.file("a.jpg", "x").file("b.txt", "x");
        });
        let p = open(&world, &plain());
        let jobs = take(&p);
        let p = open(&world, &plain().glob("*.jpg"));
        for job in jobs {
            let is_ours = job.path() == b"root/a.jpg";
            let answer = if is_done || is_ours { job.complete() } else { job.fail(&Failed::permanent("no")) };
            answer.unwrap();
        }
        expect("it is there, and not ours", &p, &["a.jpg indexed"]);
        assert!(take(&p).is_empty(), "nothing is to be cleaned up");
    }
}

#[test]
fn a_job_in_hand_stays_where_it_is_when_roots_and_options_come() {
    let (world, _clock) = scanned(|t| {
        t.file("a.jpg", "x").file("b.txt", "x");
    });
    let p = open(&world, &plain());
    let jobs = take(&p);
    let first = Tree::new();
    first.file("c.jpg", "x");
    world.warden().add_root("first", first.path()).unwrap();
    world.warden().scan("first").unwrap();
    assert_eq!(lines(&p).len(), 3);
    let p = open(&world, &plain().glob("*.jpg"));
    complete(&p, jobs);
    expect("nothing is missing", &p, &["c.jpg new", "a.jpg indexed"]);
}

#[test]
fn files_that_become_a_group_are_not_missing() {
    let (mut world, _clock) = scanned(|t| {
        t.file("d/a", "x").file("d/b", "x");
    });
    assert_eq!(finish(&open(&world, &plain())).len(), 2);
    let p = open(&world, &plain().group(Group::Depth(1)));
    expect("they are there", &p, &["d new"]);
    world.reopen();
    let p = again(&world);
    expect("after a restart", &p, &["d new"]);
    assert_eq!(finish(&p), ["d"]);
    let p = open(&world, &plain());
    expect("and by themselves again", &p, &["d/a indexed", "d/b indexed"]);
}

#[test]
fn pipelines_know_nothing_of_each_other_and_go_with_all_they_know() {
    let (mut world, _clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    let p = open(&world, &plain());
    let q = world.warden().pipeline_with("q", &plain()).unwrap();
    let mut jobs = take(&p);
    let mut first = jobs.remove(0);
    first.attrs_mut().insert("etag".to_owned(), b"1".to_vec());
    first.complete().unwrap();
    expect("the other", &q, &["a new", "b new"]);
    let known: Vec<String> = world.warden().pipelines().unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(known, ["p", "q"]);
    assert_eq!(q.complete_many(jobs).unwrap()[0].as_ref().unwrap_err().kind(), ErrorKind::LeaseLost);

    let held = take(&q);
    world.warden().remove_pipeline("q").unwrap();
    let ended = &[ErrorKind::Closed];
    refused("claim", q.claim(1), ended);
    refused("list", q.list("", None, 1), ended);
    refused("request", q.request(ROOT, Priority::High), ended);
    for job in held {
        refused("complete", job.complete(), &[ErrorKind::Closed, ErrorKind::LeaseLost]);
    }
    refused("open", world.warden().pipeline("q"), NOT_FOUND);
    refused("remove", world.warden().remove_pipeline("q"), NOT_FOUND);
    world.warden().remove_pipeline("p").unwrap();
    world.warden().check().unwrap();
    for _ in 0..2 {
        assert!(world.warden().pipelines().unwrap().is_empty());
        world.reopen();
    }
    let p = open(&world, &plain());
    expect("made anew", &p, &["a new", "b new"]);
    assert!(one(&p).attrs().is_empty());
}

// ---------------------------------------------------------------------------------- roots

#[test]
fn what_lay_in_a_root_that_was_removed_is_cleaned_up() {
    let other = Tree::new();
    other.file("a", "x").file("never", "x");
    let (mut world, _clock) = scanned(|t| {
        t.file("stays", "x");
    });
    world.warden().add_root("two", other.path()).unwrap();
    world.warden().scan("two").unwrap();
    let p = open(&world, &plain());
    for job in take(&p) {
        if below(job.path()) == "never" { job.release().unwrap() } else { job.complete().unwrap() }
    }
    world.warden().remove_root("two").unwrap();
    expect("removed", &p, &["stays indexed", "a missing"]);
    world.reopen();
    let p = again(&world);
    expect("after a restart", &p, &["stays indexed", "a missing"]);
    let job = one(&p);
    assert_eq!((job.path(), job.state()), (b"two/a".as_slice(), WorkState::Missing));
    job.complete().unwrap();
    world.warden().add_root("two", other.path()).unwrap();
    world.warden().scan("two").unwrap();
    expect("another root of that name", &p, &["stays indexed", "a new", "never new"]);
}

#[test]
fn what_failed_and_was_forgotten_leaves_no_row() {
    let (mut world, clock) = scanned(|t| {
        t.file("kept", "x");
        for n in 0..2_000 {
            t.file(format!("d/{n}"), "x");
        }
    });
    let p = open(&world, &plain().settle_ms(0));
    let why = "w".repeat(1_000);
    for job in p.claim(10_000).unwrap() {
        job.fail(&Failed::permanent(why.clone())).unwrap();
    }
    let compacted = |world: &World| {
        world.warden().compact().unwrap();
        world.warden().status().unwrap().file_bytes
    };
    let before = compacted(&world);
    world.warden().remove_root(ROOT).unwrap();
    clock.advance_ms(1);
    world.reopen();
    drop(again(&world));
    assert!(again(&world).list("", None, 10).unwrap().is_empty());
    world.reopen();
    let after = compacted(&world);
    assert!(after + 1_500_000 < before, "2,000 rows of 1,000 bytes are gone: {before} then {after}");
    world.warden().check().unwrap();
}

/// The rows of items are keyed by the ids of entries: of what a damaged file has lost they are all that is left.
#[test]
fn what_a_damaged_state_file_has_lost_is_missing_only_after_a_whole_scan() {
    for group in [Group::None, Group::Depth(2)] {
        let (mut world, _clock) = scanned(|t| {
            t.file("kept/a", "x");
        });
        for n in 0..8 {
            world.tree.file(format!("lost/strayed-{n}"), "x");
        }
        world.scan();
        let p = open(&world, &plain().group(group.clone()));
        assert_eq!(finish(&p).len(), 9);
        drop(p);
        world.close();
        world.damage_rows_naming("strayed-");
        assert!(Warden::rebuild(world.state_file()).unwrap().lost_rows > 0);
        world.open();
        let p = again(&world);
        let nothing = |what: &str| assert!(finish(&p).is_empty(), "{what}: {group:?}");
        nothing("rebuilt");
        world.scan_target("root/kept", |options| options);
        nothing("a part was scanned");
        let aside = world.tree.path().with_extension("aside");
        std::fs::rename(world.tree.path(), &aside).unwrap();
        world.scan();
        nothing("away");
        std::fs::rename(&aside, world.tree.path()).unwrap();
        world.scan();
        let jobs = take(&p);
        let gone = jobs.iter().filter(|job| job.state() == WorkState::Missing).count();
        let wanted = if group == Group::None { (16, 8) } else { (8, 0) };
        assert_eq!((jobs.len(), gone), wanted, "new ids, and what was made of the old ones: {group:?}");
        complete(&p, jobs);
    }
}

#[test]
fn nothing_is_missing_while_its_root_cannot_be_reached() {
    let (mut world, clock) = scanned(|t| {
        t.file("stays", "x");
    });
    let disk = Tree::new();
    disk.file("mount/a", "x").file("mount/b", "x");
    world.warden().add_root("two", disk.join("mount")).unwrap();
    world.warden().scan("two").unwrap();
    let p = open(&world, &plain().root("two"));
    finish(&p);
    disk.rename("mount", "away");
    let absent = world.warden().scan("two").unwrap();
    assert!(absent.unavailable.is_some());
    expect("absent", &p, &["a indexed", "b indexed"]);
    disk.dir("mount");
    let empty = world.warden().scan("two").unwrap();
    assert!(empty.unavailable.is_some());
    clock.advance_ms(DAY_MS);
    world.reopen();
    let p = again(&world);
    expect("another directory, and empty", &p, &["a indexed", "b indexed"]);
    disk.remove("mount").rename("away", "mount");
    world.warden().scan("two").unwrap();
    assert!(take(&p).is_empty());
}

#[test]
fn nothing_is_written_where_there_is_nothing_to_do() {
    let (mut world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let other = Tree::new();
    other.file("b", "x");
    world.warden().add_root("two", other.path()).unwrap();
    world.warden().scan("two").unwrap();
    let p = open(&world, &plain().root("two").refresh(Refresh::After(HOUR_MS)));
    let seq = world.warden().seq();
    finish(&p);
    assert_eq!(world.warden().seq(), seq, "work is no change of the state of a file");
    let quiet = |what: &str, p: &Pipeline| {
        let before = world.state_bytes();
        assert!(world.scan().is_unchanged(), "{what}");
        assert!(world.warden().scan("two").unwrap().is_unchanged(), "{what}");
        drop((lines(p), p.status().unwrap(), take(p), p.explain("two/b").unwrap()));
        assert_eq!(p.retry("").unwrap(), 0);
        assert!(world.state_bytes() == before, "{what}: something was written");
    };
    quiet("a scan that finds nothing", &p);
    world.tree.append("a", "y").file("c", "x");
    world.scan();
    assert_eq!(lines(&p), ["b indexed"], "a root without a pipeline");
    quiet("after a change of another root", &p);
    clock.advance_ms(MINUTE_MS);
    quiet("later", &p);
    assert_eq!(world.warden().seq(), seq + 1);
    world.reopen();
    expect("it was done all the same", &again(&world), &["b indexed"]);
}

// ---------------------------------------------------------------------------------- restarts

/// All that two pipelines tell of their items.
fn look(world: &World) -> Vec<(Vec<String>, Vec<WorkExplanation>)> {
    let all = |name: &str| -> (Vec<String>, Vec<WorkExplanation>) {
        let p = world.warden().pipeline(name).unwrap();
        let items = p.list("", None, usize::MAX).unwrap();
        (lines(&p), items.iter().map(|item| p.explain(&item.path).unwrap()).collect())
    };
    vec![all("p"), all("q")]
}

#[test]
fn a_restart_and_a_compaction_keep_everything() {
    let (mut world, clock) = scanned(|t| {
        t.file("asked", "x").file("dead", "x").file("done", "x").file("failed", "x").file("gone", "x");
        t.file("snoozed", "x").file("new", "x");
    });
    let p = open(&world, &plain());
    let by_letter = plain().group(Group::Depth(0)).refresh(Refresh::default_tiers()).version(7);
    let q = world.warden().pipeline_with("q", &by_letter).unwrap();
    for mut job in take(&p) {
        job.attrs_mut().insert("size".to_owned(), vec![0xff; 40_000]);
        match below(job.path()).as_str() {
            "dead" => job.fail(&Failed::permanent("dead")).unwrap(),
            "failed" => job.fail(&Failed::transient("failed")).unwrap(),
            "snoozed" => job.snooze(Duration::from_secs(3_600)).unwrap(),
            "new" => job.release().unwrap(),
            "done" => {
                let at_ns = after(&clock, HOUR_MS);
                job.complete_with(&Completion::new().refresh_at_ns(at_ns)).unwrap();
            }
            _ => job.complete().unwrap(),
        }
    }
    world.tree.remove("gone");
    world.scan();
    finish(&q);
    p.request("root/asked", Priority::High).unwrap();
    let before = (look(&world), world.warden().pipelines().unwrap());
    assert_eq!((before.0[0].0.len(), before.0[1].0.len()), (7, 1));
    for _ in 0..2 {
        world.warden().compact().unwrap();
        assert_eq!((look(&world), world.warden().pipelines().unwrap()), before, "after compacting");
        world.warden().check().unwrap();
        world.reopen();
        assert_eq!((look(&world), world.warden().pipelines().unwrap()), before, "after a restart");
    }
}

#[test]
fn a_warden_opened_for_reading_lists_and_hands_nothing_out() {
    let (mut world, clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    for job in take(&open(&world, &plain())) {
        // The other is held when the process ends.
        if job.path() == b"root/a" {
            job.complete().unwrap();
        }
    }
    world.close();
    let before = world.state_bytes();
    {
        let options = Warden::options().read_only().clock(clock);
        let warden = options.open(world.state_file()).unwrap();
        let p = warden.pipeline("p").unwrap();
        expect("as it is", &p, &["a indexed", "b new"]);
        assert_eq!(p.explain("root/b").unwrap().state, WorkState::New);
        let only = &[ErrorKind::ReadOnly];
        refused("claim", p.claim(1), only);
        refused("claim_wait", p.claim_wait(1, Some(Duration::ZERO)), only);
        refused("request", p.request(ROOT, Priority::High), only);
        refused("another pipeline", warden.pipeline_with("q", &plain()), only);
        refused("other options", warden.pipeline_with("p", &plain().version(2)), only);
        expect("nothing has changed", &p, &["a indexed", "b new"]);
        refused("remove_pipeline", warden.remove_pipeline("p"), only);
        expect("what was not removed goes on", &p, &["a indexed", "b new"]);
    }
    assert!(world.state_bytes() == before, "reading wrote");
}

// ---------------------------------------------------------------------------------- bad input

#[test]
fn options_that_make_no_sense_are_refused() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "x");
    });
    let o = PipelineOptions::new;
    let retry = Retry::default();
    let run = |batch, gap_ms| RefreshRun { schedule: Schedule::every_ms(HOUR_MS).unwrap(), batch, gap_ms };
    let tier = |younger_than_ms, after_ms| Tier { younger_than_ms, after_ms };
    let tiers = |tiers: Vec<Tier>| o().refresh(Refresh::Tiers(tiers));
    let bad = [
        ("a root without a name", o().root("")),
        ("a path for a root", o().root("a/b")),
        ("an empty glob", o().glob("")),
        ("an absolute glob", o().glob("/a")),
        ("a glob from here", o().glob("./a")),
        ("a glob that cannot be read", o().glob("a[")),
        ("a long glob", o().glob("x".repeat(4_097))),
        ("many globs", (0..1_001).fold(o(), |o, n| o.glob(format!("{n}")))),
        ("more than a day to settle", o().settle_ms(DAY_MS + 1)),
        ("a short lease", o().lease_ms(999)),
        ("a long lease", o().lease_ms(7 * DAY_MS + 1)),
        ("no attempt", o().retry(Retry { attempts_max: 0, ..retry })),
        ("many attempts", o().retry(Retry { attempts_max: 1_001, ..retry })),
        ("a cap below the first wait", o().retry(Retry { cap_ms: 1, ..retry })),
        ("a wait of ages", o().retry(Retry { cap_ms: u64::MAX, ..retry })),
        ("refreshing all the time", o().refresh(Refresh::After(999))),
        ("refreshing in the next age", o().refresh(Refresh::After(u64::MAX))),
        ("no tiers", tiers(vec![])),
        ("tiers out of order", tiers(vec![tier(Some(9), HOUR_MS), tier(Some(9), HOUR_MS)])),
        ("a tier behind all", tiers(vec![tier(None, HOUR_MS), tier(Some(9), HOUR_MS)])),
        ("a tier without a time", tiers(vec![tier(None, 0)])),
        ("batches of nothing", o().refresh_run(run(0, 0))),
        ("a gap of more than a day", o().refresh_run(run(1, DAY_MS + 1))),
        ("too deep", o().group(Group::Depth(1_001))),
        ("a function without a name", o().group(Group::by("", |_| Ok(None)))),
        ("no request at all", o().rate(RateLimit::new(0, Duration::from_secs(1)))),
        ("no window", o().rate(RateLimit::new(1, Duration::ZERO))),
    ];
    for (what, options) in bad {
        refused(what, world.warden().pipeline_with("p", &options), INVALID);
    }
    for name in ["", ".", "..", "a/b", "a\n", "\u{1b}[31m", &"x".repeat(256)] {
        refused(&format!("name {name:?}"), world.warden().pipeline_with(name, &plain()), INVALID);
    }
    assert!(world.warden().pipelines().unwrap().is_empty(), "nothing came of it");
    refused("an unknown pipeline", world.warden().pipeline("p"), NOT_FOUND);
    refused("an unknown pipeline", world.warden().remove_pipeline("p"), NOT_FOUND);
}

#[test]
fn calls_that_make_no_sense_are_refused_and_change_nothing() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain().lease_ms(MINUTE_MS));
    for bad in ["//", "/root", "root//", "root//a", "root/../a", "root/./a", "root/\0"] {
        refused(bad, p.request(bad, Priority::High), INVALID);
        refused(bad, p.retry(bad), INVALID);
        refused(bad, p.list(bad, None, 1), INVALID);
        refused(bad, p.explain(bad), INVALID);
    }
    for threads in [0, 1_025] {
        refused("threads", p.work(threads, |_| Ok(Completion::new())), INVALID);
    }
    assert!(p.claim(0).unwrap().is_empty());
    assert_eq!(p.retry("root/none").unwrap(), 0, "nothing to retry is no error");
    let attempt = |name: &str, bytes: usize| -> Result<(), Error> {
        let mut job = one(&p);
        job.attrs_mut().insert(name.to_owned(), vec![0; bytes]);
        let result = job.complete();
        expect(name, &p, &[if result.is_ok() { "a indexed" } else { "a processing" }]);
        clock.advance_ms(MINUTE_MS);
        result
    };
    refused("attributes", attempt("big", 65_534), &[ErrorKind::TooLarge]);
    refused("a name", attempt("a/b", 1), INVALID);
    attempt("big", 65_533).unwrap();
    world.tree.append("a", "y");
    world.scan();
    let mut job = one(&p);
    assert_eq!(job.attrs()["big"].len(), 65_533);
    job.attrs_mut().clear();
    job.fail(&Failed::transient("no")).unwrap();
    assert_eq!(p.explain("root/a").unwrap().attrs.len(), 1, "attributes change with a completion only");
}
