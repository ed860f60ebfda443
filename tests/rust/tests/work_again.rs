//! When a pipeline hands a file out once more: after a failure, because somebody asks for it, because its
//! time has come, because its worker has died.

use std::time::Duration;

use support::work::{
    HOUR_MS, MINUTE_MS, after, below, complete, expect, finish, ns, one, open, plain, scanned, take,
};
use support::{DAY_MS, ROOT, Tree, World, address, now_ns, refused};
use treewarden::{
    Completion, ErrorKind, Failed, Job, OperationKind, Pipeline, Priority, Refresh, RefreshRun,
    RequestReport, Retry, Schedule, WorkState,
};

/// Opens the pipeline `p` again, as it is.
fn again(world: &World) -> Pipeline {
    world.warden().pipeline("p").unwrap()
}

// ---------------------------------------------------------------------------------- failures

#[test]
fn a_failure_is_tried_again_after_twice_the_wait_each_time_up_to_the_cap() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let retry = Retry { base_ms: MINUTE_MS, cap_ms: 5 * MINUTE_MS, attempts_max: 6, jitter: false };
    let p = open(&world, &plain().retry(retry));
    for (attempt, minutes) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5)] {
        let job = one(&p);
        assert_eq!((job.attempt(), job.priority()), (attempt, Priority::High));
        job.fail(&Failed::transient("not now")).unwrap();
        let e = p.explain("root/a").unwrap();
        assert_eq!((e.attempts, e.due_ns), (attempt, Some(after(&clock, minutes * MINUTE_MS))));
        clock.advance_ms(minutes * MINUTE_MS - 1);
        assert!(take(&p).is_empty(), "too early after attempt {attempt}");
        clock.advance_ms(1);
    }
    let job = one(&p);
    assert_eq!((job.state(), job.attempt()), (WorkState::Error, 6));
    job.fail(&Failed::transient("x".repeat(5_000))).unwrap();
    expect("that was the last", &p, &["a error dead"]);
    assert_eq!(p.explain("root/a").unwrap().last_error.unwrap().len(), 1_000);
    clock.advance_ms(20 * DAY_MS);
    assert!(take(&p).is_empty(), "what is dead is not handed out");
}

#[test]
fn a_wait_that_a_server_asks_for_is_kept_and_is_an_attempt() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain());
    for (attempt, seconds) in [(1, 7), (2, 7_200)] {
        let job = one(&p);
        assert_eq!(job.attempt(), attempt);
        job.fail(&Failed::transient("429").retry_after(Duration::from_secs(seconds))).unwrap();
        clock.advance_ms(seconds * 1_000 - 1);
        assert!(take(&p).is_empty());
        clock.advance_ms(1);
    }
    assert_eq!(one(&p).attempt(), 3);
}

#[test]
fn what_is_dead_comes_back_by_retry_by_a_request_and_by_a_change() {
    let (world, clock) = scanned(|t| {
        t.file("asked", "x").file("edited", "x").file("retried", "x").file("stays", "x");
    });
    let p = open(&world, &plain());
    for job in take(&p) {
        job.fail(&Failed::permanent("no")).unwrap();
    }
    let dead = ["asked error dead", "edited error dead", "retried error dead", "stays error dead"];
    expect("a permanent failure is the last", &p, &dead);
    clock.advance_ms(DAY_MS);
    assert!(take(&p).is_empty());
    assert_eq!(p.retry("root/retried").unwrap(), 1);
    assert_eq!(p.retry("root/retried").unwrap(), 0, "it is in error no more");
    let added = RequestReport { added: 1, ..RequestReport::default() };
    assert_eq!(p.request("root/asked", Priority::Critical).unwrap(), added);
    world.tree.append("edited", "x");
    world.scan();
    let jobs = take(&p);
    let found: Vec<_> = jobs.iter().map(|job| (job.path(), job.state(), job.attempt())).collect();
    let expected = [
        (b"root/asked".as_slice(), WorkState::Error, 2),
        (b"root/retried".as_slice(), WorkState::New, 1),
        (b"root/edited".as_slice(), WorkState::New, 1),
    ];
    assert_eq!(found, expected);
    for job in jobs {
        job.fail(&Failed::permanent("still not")).unwrap();
    }
    expect("a request is answered by a failure, too", &p, &dead);
    assert!(take(&p).is_empty());
    assert_eq!(p.retry("").unwrap(), 4, "all of them");
}

#[test]
fn snooze_release_and_putting_off_are_no_attempts() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain());
    let wait = Duration::from_secs(30);
    one(&p).fail(&Failed::transient("once")).unwrap();
    clock.advance_ms(MINUTE_MS);
    let second = || {
        let job = one(&p);
        assert_eq!(job.attempt(), 2);
        job
    };
    second().snooze(wait).unwrap();
    clock.advance_ms(29_999);
    assert!(take(&p).is_empty());
    clock.advance_ms(1);
    second().release().unwrap();
    second().fail(&Failed::put_off(wait)).unwrap();
    clock.advance_ms(29_999);
    assert!(take(&p).is_empty());
    clock.advance_ms(1);
    second().complete().unwrap();
    assert_eq!(p.explain("root/a").unwrap().attempts, 0);
}

// ---------------------------------------------------------------------------------- requests

#[test]
fn a_request_says_what_it_has_come_to() {
    let (world, _clock) = scanned(|t| {
        t.file("a", "x").file("b", "x").file("d/c", "x");
    });
    let p = open(&world, &plain());
    finish(&p);
    world.tree.file("new", "x");
    world.scan();
    let ask = |what: &str, priority| {
        let r = p.request(what, priority).unwrap();
        (r.added, r.merged, r.promoted, r.will_rerun)
    };
    assert_eq!(ask("root/a", Priority::Low), (1, 0, 0, 0));
    assert_eq!(ask("root/a", Priority::Low), (0, 1, 0, 0));
    assert_eq!(ask("root/a", Priority::VeryLow), (0, 1, 0, 0));
    assert_eq!(ask("root/a", Priority::Critical), (0, 0, 1, 0));
    assert_eq!(ask("root", Priority::Critical), (2, 1, 1, 0), "everything below");
    assert_eq!(p.status().unwrap().requested, 4);
    let jobs = take(&p);
    assert!(jobs.len() == 4 && jobs.iter().all(|job| job.priority() == Priority::Critical));
    assert_eq!(jobs[0].state(), WorkState::Indexed, "done although nothing changed");
    assert_eq!(ask("root/d", Priority::Critical), (0, 0, 0, 1), "somebody works on it");
    complete(&p, jobs);
    assert_eq!(finish(&p), ["d/c"], "once more, for it was asked for after it was handed out");
    assert_eq!((take(&p).len(), p.status().unwrap().requested), (0, 0));
    assert_eq!(ask("", Priority::High), (4, 0, 0, 0), "all roots");
    refused("what is not there", p.request("root/none", Priority::High), &[ErrorKind::NotFound]);
}

#[test]
fn a_request_waits_for_nothing_and_outlives_a_restart() {
    let (mut world, _clock) = scanned(|t| {
        t.file("failed", "x").file("held", "x").file("idle", "x").file("snoozed", "x");
    });
    let p = open(&world, &plain());
    for job in take(&p) {
        match below(job.path()).as_str() {
            "failed" => job.fail(&Failed::transient("no")).unwrap(),
            "snoozed" => job.snooze(Duration::from_secs(3_600)).unwrap(),
            _ => job.complete().unwrap(),
        }
    }
    p.request("root/held", Priority::Critical).unwrap();
    let held = one(&p);
    p.request(ROOT, Priority::High).unwrap();
    world.reopen();
    let p = world.warden().pipeline("p").unwrap();
    assert_eq!(p.status().unwrap().requested, 4);
    let mut found = finish(&p);
    found.sort();
    assert_eq!(found, ["failed", "held", "idle", "snoozed"]);
    refused("a job of the process before", held.complete(), &[ErrorKind::Closed]);
    world.reopen();
    let p = world.warden().pipeline("p").unwrap();
    assert_eq!((take(&p).len(), p.status().unwrap().requested), (0, 0), "answered once");
}

#[test]
fn what_a_request_leaves_behind_is_the_same_after_a_restart() {
    let (mut world, _clock) = scanned(|t| {
        t.file("a", "x").file("new", "x").file("stays", "x");
    });
    let p = open(&world, &plain());
    let merged = RequestReport { merged: 1, ..RequestReport::default() };
    assert_eq!(p.request("root/new", Priority::Low).unwrap(), merged, "it waits in a better class");
    p.request("root/a", Priority::Critical).unwrap();
    let away = Tree::new();
    world.tree.move_to("a", &away, "a");
    world.scan();
    expect("what was never done is forgotten when it goes", &p, &["new new", "stays new"]);
    away.move_to("a", &world.tree, "a");
    world.scan();
    let asked = |p: &Pipeline| -> Vec<Option<Priority>> {
        ["a", "new", "stays"].iter().map(|name| p.explain(address(name)).unwrap().requested).collect()
    };
    let before = asked(&p);
    world.reopen();
    assert_eq!(asked(&again(&world)), before);
}

// ---------------------------------------------------------------------------------- refresh

#[test]
fn what_was_done_is_stale_when_its_time_has_come() {
    let (world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain().refresh(Refresh::After(HOUR_MS)));
    finish(&p);
    clock.advance_ms(HOUR_MS - 1);
    expect("not yet", &p, &["a indexed"]);
    clock.advance_ms(1);
    expect("now", &p, &["a stale"]);
    let job = one(&p);
    assert_eq!((job.state(), job.priority()), (WorkState::Stale, Priority::Low));
    job.fail(&Failed::transient("no")).unwrap();
    clock.advance_ms(MINUTE_MS);
    let job = one(&p);
    assert_eq!((job.state(), job.priority()), (WorkState::Error, Priority::Low));
    job.complete().unwrap();
    clock.advance_ms(HOUR_MS);
    assert_eq!(finish(&p), ["a"], "an hour after that");

    // When the completion says, and not in the past.
    let p = open(&world, &plain().refresh(Refresh::AtCompletion).lease_ms(MINUTE_MS));
    p.request("root/a", Priority::Critical).unwrap();
    let now = Completion::new().refresh_at_ns(clock.now_ns());
    refused("a refresh in the past", one(&p).complete_with(&now), &[ErrorKind::InvalidArgument]);
    clock.advance_ms(MINUTE_MS);
    let later = Completion::new().refresh_at_ns(after(&clock, 1));
    one(&p).complete_with(&later).unwrap();
    clock.advance_ms(1);
    assert_eq!(finish(&p), ["a"]);
    clock.advance_ms(20 * DAY_MS);
    assert!(take(&p).is_empty(), "nothing was said, so it is never stale");
}

#[test]
fn how_soon_a_file_is_stale_follows_the_age_of_a_date() {
    let (world, clock) = scanned(|t| {
        t.file("aged", "x").file("future", "x").file("given", "x").file("young", "x");
        t.set_mtime("aged", now_ns() - ns(400 * DAY_MS)).set_mtime("young", now_ns() - ns(20 * DAY_MS));
    });
    let p = open(&world, &plain().refresh(Refresh::default_tiers()));
    for job in take(&p) {
        let completion = match below(job.path()).as_str() {
            "future" => Completion::new().reference_ns(after(&clock, DAY_MS)),
            "given" => Completion::new().reference_ns(clock.now_ns() - ns(100 * DAY_MS)),
            _ => Completion::new(),
        };
        job.complete_with(&completion).unwrap();
    }
    for (name, days) in [("aged", 90), ("future", 3), ("given", 14), ("young", 3)] {
        let at_ns = p.explain(address(name)).unwrap().refresh_at_ns;
        assert_eq!(at_ns, Some(after(&clock, days * DAY_MS)), "{name}");
    }
    clock.advance_ms(3 * DAY_MS);
    expect("after three days", &p, &["aged indexed", "future stale", "given indexed", "young stale"]);
}

#[test]
fn stale_files_wait_for_a_run_and_come_in_batches() {
    let (world, clock) = scanned(|t| {
        for n in 0..5 {
            t.file(format!("{n}"), "x");
        }
    });
    let schedule = Schedule::every_ms(DAY_MS).unwrap();
    let run = RefreshRun { schedule, batch: 2, gap_ms: MINUTE_MS };
    let p = open(&world, &plain().refresh(Refresh::After(HOUR_MS)).refresh_run(run));
    let run_ns = after(&clock, DAY_MS);
    assert_eq!(finish(&p).len(), 5, "what is new waits for no run");
    clock.advance_ms(2 * HOUR_MS);
    assert_eq!((p.status().unwrap().stale, take(&p).len()), (5, 0));
    clock.set_ns(run_ns);
    for batch in [2, 2, 1] {
        assert_eq!((finish(&p).len(), take(&p).len()), (batch, 0));
        clock.advance_ms(MINUTE_MS);
    }
    clock.advance_ms(2 * HOUR_MS);
    assert_eq!((p.status().unwrap().stale, take(&p).len()), (5, 0), "for the next run");
}

#[test]
fn a_run_that_was_due_while_nobody_was_there_is_made_up_for_however_much_has_happened_since() {
    let (mut world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    let run = RefreshRun { schedule: Schedule::every_ms(DAY_MS).unwrap(), batch: 9, gap_ms: 0 };
    let p = open(&world, &plain().refresh(Refresh::After(HOUR_MS)).refresh_run(run));
    assert_eq!(finish(&p), ["a"]);
    clock.advance_ms(DAY_MS);
    assert_eq!((finish(&p), take(&p).len()), (vec!["a".to_owned()], 0), "the first run");
    clock.advance_ms(1);
    assert!(take(&p).is_empty(), "the run is over");
    // More operations than the history keeps.
    for n in 0..1_100 {
        world.tree.file("other", format!("{n}"));
        world.scan();
    }
    let runs = world.warden().history(usize::MAX).unwrap();
    assert!(runs.iter().all(|operation| operation.kind != OperationKind::Refresh), "the history is trimmed");
    world.reopen();
    let p = again(&world);
    finish(&p);
    clock.advance_ms(DAY_MS / 2);
    assert!(take(&p).is_empty(), "half a day after a run");
    world.reopen();
    clock.advance_ms(DAY_MS / 2);
    let found = finish(&again(&world));
    assert!(found.contains(&"a".to_owned()), "a day after the last one, not after the start: {found:?}");
}

// ---------------------------------------------------------------------------------- crashes

#[test]
fn leases_of_a_process_that_has_ended_are_void_and_are_counted_as_crashes() {
    let (mut world, clock) = scanned(|t| {
        t.file("a", "x").file("b", "x");
    });
    let p = open(&world, &plain().crashes_max(3));
    one(&p).fail(&Failed::transient("no")).unwrap();
    clock.advance_ms(MINUTE_MS);
    for _ in 0..3 {
        let jobs = take(&again(&world));
        let mut attempts: Vec<u32> = jobs.iter().map(Job::attempt).collect();
        attempts.sort_unstable();
        assert_eq!(attempts, [1, 2], "a crash is no attempt");
        world.reopen();
    }
    let p = again(&world);
    assert!(take(&p).is_empty());
    expect("they have killed their workers three times", &p, &["a error dead", "b error dead"]);
    assert!(p.explain("root/a").unwrap().last_error.is_some());
    world.reopen();
    let p = again(&world);
    expect("and stay dead", &p, &["a error dead", "b error dead"]);
    assert_eq!(p.retry("root/a").unwrap(), 1);
    assert_eq!(finish(&p), ["a"]);
}

/// A pipeline whose only file has killed its worker once too often.
fn crashed() -> (World, Pipeline) {
    let (mut world, _clock) = scanned(|t| {
        t.file("a", "x");
    });
    drop(take(&open(&world, &plain().crashes_max(1))));
    world.reopen();
    let p = again(&world);
    assert!(take(&p).is_empty());
    expect("killed its worker", &p, &["a error dead"]);
    (world, p)
}

#[test]
fn other_content_is_a_new_try_for_what_has_killed_its_workers() {
    let (world, p) = crashed();
    world.tree.append("a", "y");
    world.scan();
    assert_eq!(finish(&p), ["a"]);
}

#[test]
fn who_asks_for_what_has_killed_its_workers_gets_it() {
    let (_world, p) = crashed();
    p.request("root/a", Priority::Critical).unwrap();
    assert_eq!(finish(&p), ["a"]);
}

#[test]
fn an_answer_ends_a_row_of_crashes() {
    let (mut world, clock) = scanned(|t| {
        t.file("a", "x");
    });
    drop(open(&world, &plain().crashes_max(2)));
    for _ in 0..3 {
        let p = again(&world);
        drop(one(&p));
        world.reopen();
        one(&again(&world)).fail(&Failed::transient("an answer")).unwrap();
        clock.advance_ms(HOUR_MS);
    }
}

#[test]
fn what_was_answered_is_no_crash_whoever_dies_over_the_rest() {
    let (mut world, _clock) = scanned(|t| {
        t.file("again", "x").file("dies", "x").file("once", "x");
    });
    let p = open(&world, &plain().crashes_max(1));
    let mut held = Vec::new();
    for job in take(&p) {
        match below(job.path()).as_str() {
            "again" => job.fail(&Failed::transient("no").retry_after(Duration::ZERO)).unwrap(),
            "once" => job.complete().unwrap(),
            _ => held.push(job),
        }
    }
    assert_eq!(finish(&p), ["again"]);
    world.reopen();
    world.tree.append("again", "y").append("once", "y");
    world.scan();
    let p = again(&world);
    let mut found = finish(&p);
    found.sort();
    assert_eq!(found, ["again", "once"]);
    expect("one has killed its worker", &p, &["again indexed", "dies error dead", "once indexed"]);
}

#[test]
fn a_clean_up_that_was_answered_is_no_crash_whoever_dies_over_the_rest() {
    let (mut world, _clock) = scanned(|t| {
        t.file("gone", "x");
    });
    let p = open(&world, &plain().crashes_max(1).settle_ms(0));
    assert_eq!(finish(&p), ["gone"]);
    world.tree.remove("gone").file("new", "x");
    world.scan();
    let mut jobs = take(&p);
    jobs.sort_by_key(treewarden::Job::is_gone);
    assert_eq!(jobs.len(), 2, "one claim");
    jobs.pop().unwrap().complete().unwrap();
    drop(jobs);
    drop(p);
    world.reopen();
    world.tree.file("gone", "x");
    world.scan();
    let p = again(&world);
    assert_eq!(finish(&p), ["gone"], "only the one that was in hand counts as a crash");
    expect("and that is dead", &p, &["gone indexed", "new error dead"]);
}
