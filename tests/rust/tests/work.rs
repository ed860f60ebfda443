//! Pipelines: what is still to be done about each file, handed out once at a time and never forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use support::live::tomorrow;
use support::work::{
    HOUR_MS, MINUTE_MS, after, below, complete, expect, finish, lines, names, ns, one, open, plain, scanned,
    take,
};
use support::{DAY_MS, ROOT, Setup, Tree, World, address, now_ns, refused};
use treewarden::{
    Clock, Completion, ContentHash, ErrorKind, Failed, Job, Pipeline, Priority, Refresh, RootOptions, Walker,
    WorkState,
};

const GONE: &[ErrorKind] = &[ErrorKind::NotFound];
const LOST: &[ErrorKind] = &[ErrorKind::LeaseLost];

// ---------------------------------------------------------------------------------- states

#[test]
fn every_state_is_listed_counted_and_explained() {
    let (world, clock) = scanned(|t| {
        for name in ["back", "edited", "fails", "gone", "held", "hopeless", "old", "quiet"] {
            t.file(name, "x");
        }
    });
    let p = open(&world, &plain().lease_ms(DAY_MS));
    let later = after(&clock, HOUR_MS);
    let mut held = Vec::new();
    for job in take(&p) {
        assert_eq!((job.state(), job.priority(), job.attempt()), (WorkState::New, Priority::High, 1));
        assert_eq!(job.files(), [job.path()]);
        assert_eq!(std::fs::read(job.fs_path()).unwrap(), b"x");
        match below(job.path()).as_str() {
            "back" => job.release().unwrap(),
            "fails" => job.fail(&Failed::transient("no luck")).unwrap(),
            "hopeless" => job.fail(&Failed::permanent("no picture")).unwrap(),
            "old" => job.complete_with(&Completion::new().refresh_at_ns(later)).unwrap(),
            "held" => held.push(job),
            _ => job.complete().unwrap(),
        }
    }
    world.tree.append("edited", "y").remove("gone");
    world.scan();
    clock.advance_ms(HOUR_MS);
    let all = [
        "back new",
        "edited changed",
        "fails error",
        "gone missing",
        "held processing",
        "hopeless error dead",
        "old stale",
        "quiet indexed",
    ];
    expect("each in its state", &p, &all);
    let s = p.status().unwrap();
    let counts = (s.new, s.changed, s.stale, s.error, s.missing, s.processing, s.indexed);
    assert_eq!(counts, (2, 1, 1, 2, 1, 1, 1), "what is held is new as well: {s:?}");
    assert_eq!((s.name.as_str(), s.dead, s.requested), ("p", 1, 0));
    assert_eq!(p.list(ROOT, Some(WorkState::Error), 1).unwrap().len(), 1, "at most the limit");
    assert_eq!(p.list("root/old", None, 9).unwrap().len(), 1, "one file");
    assert!(p.list("root/ol", None, 9).unwrap().is_empty(), "a component is whole or not at all");

    let about = |rel: &str| p.explain(address(rel)).unwrap();
    for line in all {
        assert!(!about(line.split(' ').next().unwrap()).why.is_empty(), "{line}");
    }
    let e = about("fails");
    assert_eq!((e.state, e.attempts, e.last_error.as_deref()), (WorkState::Error, 1, Some("no luck")));
    assert!(!e.dead && e.due_ns.is_some());
    let e = about("hopeless");
    assert_eq!((e.dead, e.due_ns, e.last_error.as_deref()), (true, None, Some("no picture")));
    let e = about("held");
    assert_eq!((e.state, e.lease.map(|(_, until)| until)), (WorkState::New, Some(held[0].expires_ns())));
    let e = about("edited");
    assert!(e.content_now.is_some() && e.content_done.is_some() && e.content_now != e.content_done);
    let e = about("gone");
    assert!(e.content_now.is_none() && e.content_done.is_some());
    let e = about("old");
    assert_eq!((e.priority, e.refresh_at_ns), (Priority::Low, Some(later)));
    let e = about("quiet");
    assert_eq!((e.due_ns, e.content_now), (None, e.content_done));
    refused("of nothing", p.explain("root/nothing"), GONE);
    world.warden().check().unwrap();
}

#[test]
fn what_changes_while_it_is_worked_on_is_done_again() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain());
    let job = one(&p);
    world.tree.append("a", "y");
    world.scan();
    job.complete().unwrap();
    expect("another content was done", &p, &["a changed"]);
    let job = one(&p);
    assert_eq!((job.state(), job.priority(), job.attempt()), (WorkState::Changed, Priority::Medium, 1));
    job.complete().unwrap();
    expect("done", &p, &["a indexed"]);

    world.tree.append("a", "z");
    world.scan();
    let job = one(&p);
    world.tree.append("a", "!");
    world.scan();
    job.fail(&Failed::permanent("half a file")).unwrap();
    expect("a failure is about what was handed out", &p, &["a changed"]);
    assert_eq!(one(&p).attempt(), 1);
}

#[test]
fn what_went_is_cleaned_up_and_forgotten() {
    let (mut world, _clock) = scanned(|t| {
        t.file("done", "x").file("failed", "x").file("held", "x").file("never", "x").file("stays", "x");
    });
    let p = open(&world, &plain());
    let mut held = Vec::new();
    for job in take(&p) {
        match below(job.path()).as_str() {
            "held" => held.push(job),
            "never" => job.release().unwrap(),
            "failed" => job.fail(&Failed::transient("no")).unwrap(),
            _ => job.complete().unwrap(),
        }
    }
    world.tree.remove("done").remove("failed").remove("held").remove("never");
    world.scan();
    let gone = ["done missing", "held processing", "stays indexed"];
    expect("what was never done is forgotten", &p, &gone);
    complete(&p, held);
    expect("something was made of it", &p, &["done missing", "held missing", "stays indexed"]);
    for job in take(&p) {
        assert_eq!((job.state(), job.priority()), (WorkState::Missing, Priority::Medium));
        assert!(job.files().is_empty() && !job.fs_path().exists());
        job.complete().unwrap();
    }
    expect("cleaned up", &p, &["stays indexed"]);
    refused("explain", p.explain("root/done"), GONE);
    refused("request", p.request("root/held", Priority::Critical), GONE);
    world.reopen();
    let p = world.warden().pipeline("p").unwrap();
    expect("for good", &p, &["stays indexed"]);
    assert!(take(&p).is_empty());
}

#[test]
fn what_returns_as_it_was_is_indexed_again_and_new_after_it_was_cleaned_up() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "x").file("stays", "x");
    });
    let p = open(&world, &plain());
    finish(&p);
    let away = Tree::new();
    world.tree.move_to("a", &away, "a");
    world.scan();
    expect("gone", &p, &["a missing", "stays indexed"]);
    away.move_to("a", &world.tree, "a");
    world.scan();
    expect("back", &p, &["a indexed", "stays indexed"]);
    assert!(take(&p).is_empty());

    world.tree.move_to("a", &away, "a");
    world.scan();
    let job = one(&p);
    assert_eq!(job.state(), WorkState::Missing);
    away.move_to("a", &world.tree, "a");
    world.scan();
    job.complete().unwrap();
    expect("nothing is left of what was made of it", &p, &["a new", "stays indexed"]);
}

#[test]
fn a_move_keeps_all_that_is_known_and_is_no_work() {
    let (mut world, clock) = scanned(|t| {
        t.file("d/a", "x").file("stays", "x");
    });
    let p = open(&world, &plain().refresh(Refresh::After(HOUR_MS)));
    for mut job in take(&p) {
        let path = job.path().to_vec();
        job.attrs_mut().insert("first".to_owned(), path);
        job.complete().unwrap();
    }
    world.tree.rename("d", "e");
    world.scan();
    expect("its directory moved", &p, &["e/a indexed", "stays indexed"]);
    world.tree.rename("e/a", "b");
    world.scan();
    expect("it moved", &p, &["b indexed", "stays indexed"]);
    assert!(take(&p).is_empty());
    world.reopen();
    let p = world.warden().pipeline("p").unwrap();
    expect("after a restart", &p, &["b indexed", "stays indexed"]);
    assert_eq!(p.explain("root/b").unwrap().attrs["first"], b"root/d/a");
    world.tree.rename("b", "c");
    world.scan();
    clock.advance_ms(HOUR_MS);
    expect("its time comes where it lies now", &p, &["c stale", "stays stale"]);
    let jobs = take(&p);
    let job = jobs.iter().find(|job| job.path() == b"root/c").unwrap();
    assert_eq!((job.attrs()["first"].as_slice(), job.fs_path().exists()), (b"root/d/a".as_slice(), true));
}

#[test]
fn equal_content_is_no_work_where_hashes_are_kept() {
    let clock = tomorrow();
    let options = RootOptions::new().content_hash(ContentHash::Changed);
    let world = Setup::new(Walker::Auto).root(options).clock(&clock).build(|t| {
        t.file("a", "same");
    });
    world.scan();
    let p = open(&world, &plain());
    finish(&p);
    #[allow(clippy::type_complexity)]
    let touches: [(&str, &dyn Fn(&Tree) -> &Tree); 4] = [
        ("touched", &|t| t.set_mtime("a", 1_000_000_000_000_000_000)),
        ("written anew", &|t| t.file("a", "same")),
        ("replaced", &|t| t.replace("a", "same")),
        ("chmod", &|t| t.chmod("a", 0o600)),
    ];
    for (what, touch) in touches {
        touch(&world.tree);
        world.scan();
        expect(what, &p, &["a indexed"]);
    }
    world.tree.edit_secretly("a", "else");
    world.scan();
    expect("other content under the old size and time", &p, &["a changed"]);
}

#[test]
fn a_change_of_mode_is_no_work_and_a_touch_is_where_nobody_reads_the_content() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "x").symlink("a", "link");
    });
    let p = open(&world, &plain());
    assert_eq!(finish(&p).len(), 2, "a symlink is worked on like a file");
    world.tree.chmod("a", 0o600);
    assert_eq!(world.scan().modified, 1);
    expect("chmod", &p, &["a indexed", "link indexed"]);
    world.tree.set_mtime("a", 1_000_000_000_000_000_000).remove("link").symlink("elsewhere", "link");
    world.scan();
    expect("touched", &p, &["a changed", "link changed"]);
}

#[test]
fn a_file_is_not_handed_out_before_it_has_been_still() {
    let clock = Clock::manual(now_ns());
    let world = Setup::new(Walker::Auto).clock(&clock).build(|t| {
        t.file("a", "half").file("stays", "x").set_mtime("stays", 0);
    });
    world.scan();
    let touched = |world: &World| {
        let entry = world.entry("a");
        entry.mtime_ns.max(entry.ctime_ns)
    };
    let still_ns = touched(&world);
    clock.set_ns(still_ns + ns(4_999));
    let p = open(&world, &plain().settle_ms(5_000).glob("a"));
    assert!(take(&p).is_empty());
    assert_eq!(p.status().unwrap().next_due_ns, Some(still_ns + ns(5_000)));
    world.tree.append("a", " and more");
    world.scan();
    let still_ns = touched(&world);
    clock.set_ns(still_ns + ns(4_999));
    assert!(take(&p).is_empty(), "it was written to once more");
    clock.set_ns(still_ns + ns(5_000));
    one(&p).complete().unwrap();
    world.tree.append("a", "!");
    world.scan();
    let still_ns = touched(&world);
    clock.set_ns(still_ns + ns(4_999));
    assert!(take(&p).is_empty(), "what has changed settles, too");
    world.tree.remove("a");
    world.scan();
    assert_eq!(one(&p).state(), WorkState::Missing, "what is gone has nothing to wait for");
}

#[test]
fn a_file_dated_in_the_future_is_handed_out_all_the_same() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x").set_mtime("a", now_ns() + ns(4_000 * DAY_MS));
    });
    let p = open(&world, &plain());
    p.status().unwrap();
    clock.advance_ms(1_000);
    assert_eq!(finish(&p), ["a"]);
}

// ---------------------------------------------------------------------------------- order

#[test]
fn jobs_come_by_class_and_within_one_in_the_order_of_change() {
    let (world, clock) = scanned(|t| {
        t.file("z", "x");
    });
    for name in ["y", "x"] {
        world.tree.file(name, "x");
        world.scan();
    }
    let p = open(&world, &plain());
    let later = after(&clock, HOUR_MS);
    let jobs = take(&p);
    assert_eq!(names(&jobs), ["z", "y", "x"]);
    for job in jobs {
        let is_stale_later = job.path() == b"root/x";
        let how = if is_stale_later { Completion::new().refresh_at_ns(later) } else { Completion::new() };
        job.complete_with(&how).unwrap();
    }
    clock.advance_ms(HOUR_MS);
    world.tree.append("z", "x").file("w", "x");
    world.scan();
    p.request("root/y", Priority::Critical).unwrap();
    let jobs = take(&p);
    assert_eq!(names(&jobs), ["y", "w", "z", "x"]);
    let classes: Vec<Priority> = jobs.iter().map(Job::priority).collect();
    assert_eq!(classes, [Priority::Critical, Priority::High, Priority::Medium, Priority::Low]);
}

#[test]
fn a_full_refresh_comes_after_everything_else() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    let p = open(&world, &plain());
    for job in take(&p) {
        let at_ns = after(&clock, if job.path() == b"root/b" { HOUR_MS } else { DAY_MS });
        job.complete_with(&Completion::new().refresh_at_ns(at_ns)).unwrap();
    }
    clock.advance_ms(HOUR_MS);
    p.request("root/a", Priority::VeryLow).unwrap();
    let jobs = take(&p);
    let found: Vec<_> = names(&jobs).into_iter().zip(jobs.iter().map(Job::priority)).collect();
    assert_eq!(found, [("b".to_owned(), Priority::Low), ("a".to_owned(), Priority::VeryLow)]);
}

#[test]
fn the_class_of_a_pipeline_decides_which_consumer_goes_first() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    let open = |name: &str, class| {
        world.warden().pipeline_with(name, &plain().settle_ms(0).priority(class)).unwrap()
    };
    let (slow, quick) = (open("slow", Priority::Low), open("quick", Priority::High));
    let both = [slow.clone(), quick.clone()];
    let class = |p: &Pipeline, file: &str| p.explain(format!("root/{file}")).unwrap().priority;
    assert_eq!((class(&slow, "a"), class(&quick, "a")), (Priority::Low, Priority::High));
    let jobs = Pipeline::claim_from(&both, 3).unwrap();
    let classes: Vec<Priority> = jobs.iter().map(Job::priority).collect();
    assert_eq!(classes, [Priority::High, Priority::High, Priority::Low]);
    jobs.into_iter().for_each(|job| job.complete().unwrap());
    world.tree.append("a", "y");
    world.scan();
    assert_eq!((class(&slow, "a"), class(&quick, "a")), (Priority::VeryLow, Priority::Medium));
    assert_eq!(open("first", Priority::Critical).explain("root/a").unwrap().priority, Priority::Critical);
    // Waiting raises it, so that the quick one cannot starve it for ever.
    clock.advance_ms(60 * MINUTE_MS);
    let asked = slow.request("root/b", Priority::Critical).unwrap();
    assert_eq!(asked.added + asked.promoted, 1);
    let first = Pipeline::claim_from(&both, 1).unwrap().pop().unwrap();
    assert_eq!((first.path(), first.priority()), (&b"root/b"[..], Priority::Critical));
    first.complete().unwrap();
    assert!(Pipeline::claim_from(&[], 5).unwrap().is_empty());
}

#[test]
fn idle_means_that_nothing_is_left_to_be_done() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    let p = open(&world, &plain());
    let idle = |p: &Pipeline| p.wait_idle(Some(Duration::ZERO)).unwrap();
    assert!(!idle(&p));
    let mut jobs = take(&p);
    assert!(!idle(&p), "in hand");
    jobs.pop().unwrap().fail(&Failed::transient("no")).unwrap();
    jobs.pop().unwrap().complete().unwrap();
    assert!(idle(&p), "what failed waits for its next try");
    world.tree.file("c", "x");
    world.scan();
    assert!(!idle(&p), "it settles");
    clock.advance_ms(2_000);
    let waiter = {
        let p = p.clone();
        std::thread::spawn(move || p.wait_idle(None).unwrap())
    };
    assert_eq!(finish(&p), ["c"]);
    assert!(waiter.join().unwrap());
    let status = world.warden().status().unwrap().pipelines;
    assert_eq!(status, [p.status().unwrap()]);
    assert_eq!((status[0].indexed, status[0].error), (2, 1));
}

#[test]
fn waiting_raises_a_class_but_never_above_high() {
    let (world, clock) = scanned(|t| {
        t.file("edited", "x").file("stale", "x");
    });
    let p = open(&world, &plain());
    for job in take(&p) {
        let at_ns = after(&clock, if job.path() == b"root/stale" { HOUR_MS } else { 9 * DAY_MS });
        job.complete_with(&Completion::new().refresh_at_ns(at_ns)).unwrap();
    }
    clock.advance_ms(HOUR_MS);
    world.tree.append("edited", "x");
    world.scan();
    expect("both wait from now on", &p, &["edited changed", "stale stale"]);
    clock.advance_ms(10 * MINUTE_MS - 1);
    let job = one(&p);
    assert_eq!(below(job.path()), "edited", "medium comes before low");
    job.release().unwrap();
    clock.advance_ms(1);
    let job = one(&p);
    assert_eq!(below(job.path()), "stale", "as good as medium by now, and of an earlier scan");
    assert_eq!(job.priority(), Priority::Low, "its class is what it was");
    job.release().unwrap();
    clock.advance_ms(2 * HOUR_MS);
    world.tree.file("fresh", "x");
    world.scan();
    p.request("root/edited", Priority::Critical).unwrap();
    assert_eq!(names(&take(&p)), ["edited", "stale", "fresh"], "what waits for hours is high, not critical");
}

// ---------------------------------------------------------------------------------- leases

#[test]
fn a_lease_that_has_run_out_is_given_again_and_the_old_token_is_worth_nothing() {
    let (world, clock) = scanned(|t| {
        for n in 0..7 {
            t.file(format!("{n}"), "x");
        }
    });
    let p = open(&world, &plain().lease_ms(MINUTE_MS));
    let mut lost = take(&p);
    assert!(lost.iter().all(|job| job.expires_ns() == after(&clock, MINUTE_MS)));
    clock.advance_ms(MINUTE_MS - 1);
    assert!(take(&p).is_empty(), "still held");
    clock.advance_ms(1);
    let held = take(&p);
    assert!(held.len() == 7 && held.iter().all(|job| job.attempt() == 1), "no answer is no attempt");
    let tokens: BTreeSet<u64> = lost.iter().chain(&held).map(Job::token).collect();
    assert_eq!(tokens.len(), 14, "a token is given out once");
    let before = (lines(&p), p.status().unwrap());
    refused("complete", lost.pop().unwrap().complete(), LOST);
    let completion = Completion::new().refresh_at_ns(after(&clock, DAY_MS));
    refused("complete_with", lost.pop().unwrap().complete_with(&completion), LOST);
    refused("fail", lost.pop().unwrap().fail(&Failed::permanent("late")), LOST);
    refused("snooze", lost.pop().unwrap().snooze(Duration::from_secs(1)), LOST);
    refused("release", lost.pop().unwrap().release(), LOST);
    refused("renew", lost[0].renew(), LOST);
    assert_eq!((lines(&p), p.status().unwrap()), before, "nothing has changed");
    lost.extend(held);
    let answers = p.complete_many(lost).unwrap();
    let is_lost: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(is_lost, [true, true, false, false, false, false, false, false, false]);
    assert_eq!(p.status().unwrap().indexed, 7);
    assert!(take(&p).is_empty());
}

#[test]
fn a_lease_that_is_renewed_is_kept() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain().lease_ms(MINUTE_MS));
    let mut job = one(&p);
    let token = job.token();
    for _ in 0..3 {
        clock.advance_ms(40_000);
        job.renew().unwrap();
        assert_eq!((job.token(), job.expires_ns()), (token, after(&clock, MINUTE_MS)));
    }
    clock.advance_ms(MINUTE_MS - 1);
    assert!(take(&p).is_empty());
    job.complete().unwrap();
    p.request("root/a", Priority::Critical).unwrap();
    drop(one(&p));
    assert!(take(&p).is_empty(), "a job that is dropped is held until its lease runs out");
    clock.advance_ms(MINUTE_MS);
    assert_eq!(finish(&p), ["a"]);
}

#[test]
fn no_more_jobs_are_out_than_the_concurrency_allows() {
    let (world, clock) = scanned(|t| {
        for n in 0..6 {
            t.file(format!("{n}"), "x");
        }
    });
    let p = open(&world, &plain().lease_ms(MINUTE_MS).concurrency(3));
    let mut jobs = take(&p);
    assert_eq!((jobs.len(), take(&p).len()), (3, 0));
    jobs.pop().unwrap().complete().unwrap();
    jobs.pop().unwrap().release().unwrap();
    assert_eq!((take(&p).len(), take(&p).len()), (2, 0));
    clock.advance_ms(MINUTE_MS);
    assert_eq!(take(&p).len(), 3, "what has run out takes no place");
}

#[test]
fn a_pipeline_that_waited_longer_goes_first_in_the_same_class() {
    let (world, clock) = scanned(|t| {
        for n in 0..20 {
            t.file(format!("{n}"), "x");
        }
    });
    let open = |name: &str, class| {
        world.warden().pipeline_with(name, &plain().settle_ms(0).priority(class)).unwrap()
    };
    let (slow, quick) = (open("slow", Priority::Low), open("quick", Priority::High));
    let both = [quick.clone(), slow];
    let pipelines = |jobs: &[Job]| jobs.iter().map(|job| job.pipeline().to_owned()).collect::<BTreeSet<_>>();
    let first = Pipeline::claim_from(&both, 5).unwrap();
    assert_eq!(pipelines(&first), BTreeSet::from(["quick".to_owned()]));
    // Everything of the quick one changes again and again; the slow one waits.
    clock.advance_ms(60 * MINUTE_MS);
    quick.complete_many(first).unwrap();
    for n in 0..20 {
        world.tree.append(format!("{n}"), "y");
    }
    world.scan();
    clock.advance_ms(60 * MINUTE_MS);
    let mut served = BTreeSet::new();
    for _ in 0..3 {
        let jobs = Pipeline::claim_from(&both, 20).unwrap();
        served.extend(pipelines(&jobs));
        jobs.into_iter().for_each(|job| job.complete().unwrap());
    }
    assert!(served.contains("slow"), "{served:?}");
}
