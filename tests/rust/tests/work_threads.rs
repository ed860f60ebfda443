//! Pipelines on many threads and the real clock: each job in one pair of hands, nobody sleeps through work,
//! workers renew, survive panics and end cleanly.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::work::{expect, finish, lines, ns, open, plain};
use support::{HANG, Rng, Setup, World, now_ns, refused, show, wait_until, within};
use treewarden::{Completion, Durability, ErrorKind, Failed, Job, Pipeline, Priority, Walker, WorkState};

const ITEMS: usize = 2_000;

/// A scanned tree of so many files, on the real clock.
fn files(count: usize, durability: Durability) -> World {
    let world = Setup::new(Walker::Auto).options(move |o| o.durability(durability)).build(|t| {
        for n in 0..count {
            t.file(format!("d{}/f{n}", n % 16), "x");
        }
    });
    world.scan();
    world
}

/// What the threads have been given.
#[derive(Default)]
struct Book {
    tokens: HashSet<u64>,
    /// The token of each lease, and when it runs out.
    held: HashMap<Vec<u8>, (u64, i64)>,
    done: HashSet<Vec<u8>>,
}

impl Book {
    fn given(&mut self, job: &Job) {
        assert!(self.tokens.insert(job.token()), "a token was given out twice");
        if job.expires_ns() <= now_ns() {
            // This thread was away for longer than a lease: others have gone on.
            return;
        }
        let path = job.path();
        assert!(!self.done.contains(path), "{} was done, and is given out again", show(path));
        let lease = (job.token(), job.expires_ns());
        if let Some((_, until_ns)) = self.held.insert(path.to_vec(), lease) {
            assert!(until_ns <= now_ns(), "{} is in two hands", show(path));
        }
    }

    /// Comes before the engine is told: from then on others may have it.
    fn ending(&mut self, job: &Job) {
        if self.held.get(job.path()).is_some_and(|(token, _)| *token == job.token()) {
            self.held.remove(job.path());
        }
    }

    /// True when it was done now; a lease may have been lost only when its time was over.
    fn ended(&mut self, path: &[u8], expires_ns: i64, answer: treewarden::Result<()>) -> bool {
        match answer {
            Ok(()) => assert!(self.done.insert(path.to_vec()), "{} was done twice", show(path)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
                assert!(expires_ns <= now_ns(), "the lease on {} was lost before its time", show(path));
                return false;
            }
        }
        true
    }
}

fn one_of_many(p: &Pipeline, book: &Mutex<Book>, done: &AtomicUsize, mut rng: Rng) {
    while done.load(Ordering::SeqCst) < ITEMS {
        let jobs = p.claim_wait(1 + rng.index(8), Some(Duration::from_millis(50))).unwrap();
        let mut together = Vec::new();
        for job in jobs {
            book.lock().unwrap().given(&job);
            match rng.below(20) {
                // Nobody answers; it is given out again when its lease has run out.
                0 => drop(job),
                1 => {
                    book.lock().unwrap().ending(&job);
                    let expires_ns = job.expires_ns();
                    if let Err(error) = job.release() {
                        assert!(error.kind() == ErrorKind::LeaseLost && expires_ns <= now_ns(), "{error}");
                    }
                }
                2..=9 => together.push(job),
                _ => {
                    let (path, expires_ns) = (job.path().to_vec(), job.expires_ns());
                    book.lock().unwrap().ending(&job);
                    let answer = job.complete();
                    let is_done = book.lock().unwrap().ended(&path, expires_ns, answer);
                    done.fetch_add(usize::from(is_done), Ordering::SeqCst);
                }
            }
        }
        let of: Vec<_> = together.iter().map(|job| (job.path().to_vec(), job.expires_ns())).collect();
        together.iter().for_each(|job| book.lock().unwrap().ending(job));
        for ((path, expires_ns), answer) in of.into_iter().zip(p.complete_many(together).unwrap()) {
            let is_done = book.lock().unwrap().ended(&path, expires_ns, answer);
            done.fetch_add(usize::from(is_done), Ordering::SeqCst);
        }
    }
}

#[test]
fn each_job_is_in_one_pair_of_hands() {
    for (threads, durability) in [(2, Durability::Relaxed), (64, Durability::Durable)] {
        let world = files(ITEMS, durability);
        let p = open(&world, &plain().settle_ms(0).lease_ms(1_000).crashes_max(0));
        let (book, done) = (Mutex::new(Book::default()), AtomicUsize::new(0));
        thread::scope(|s| {
            for seed in 0..threads {
                let (p, book, done) = (&p, &book, &done);
                s.spawn(move || one_of_many(p, book, done, Rng::new(seed)));
            }
        });
        let status = p.status().unwrap();
        assert_eq!((status.indexed, status.processing), (ITEMS as u64, 0), "{threads} threads: {status:?}");
        assert_eq!(book.lock().unwrap().done.len(), ITEMS, "{threads} threads");
        assert!(finish(&p).is_empty());
        world.warden().check().unwrap();
    }
}

// ---------------------------------------------------------------------------------- waiting

type Waiter = JoinHandle<treewarden::Result<Vec<Job>>>;

fn waiting(p: &Pipeline) -> Waiter {
    let p = p.clone();
    thread::spawn(move || p.claim_wait(1, None))
}

fn woken(what: &'static str, waiter: Waiter) -> treewarden::Result<Vec<Job>> {
    within(what, move || waiter.join().unwrap())
}

#[test]
fn who_waits_is_woken_by_whatever_makes_a_job_due() {
    let mut world = Setup::new(Walker::Auto).build(|t| {
        t.file("a", "x");
    });
    let p = open(&world, &plain().settle_ms(0).concurrency(1));
    assert!(p.claim_wait(1, Some(Duration::from_millis(10))).unwrap().is_empty(), "the time is over");
    let waiter = waiting(&p);
    world.scan();
    let first = woken("a scan", waiter).unwrap().pop().unwrap();
    world.tree.file("b", "x");
    world.scan();
    assert!(p.claim_wait(1, Some(Duration::ZERO)).unwrap().is_empty(), "there is no place for another");
    let waiter = waiting(&p);
    first.complete().unwrap();
    let second = woken("a place that is free", waiter).unwrap().pop().unwrap();
    assert_eq!(second.path(), b"root/b");
    let waiter = waiting(&p);
    second.fail(&Failed::transient("no").retry_after(Duration::from_millis(30))).unwrap();
    let second = woken("the time for another try", waiter).unwrap().pop().unwrap();
    assert_eq!((second.path(), second.attempt()), (b"root/b".as_slice(), 2));
    let waiter = waiting(&p);
    second.release().unwrap();
    woken("a job that is given back", waiter).unwrap().pop().unwrap().complete().unwrap();
    let waiter = waiting(&p);
    p.request("root/a", Priority::Critical).unwrap();
    woken("a request", waiter).unwrap().pop().unwrap().fail(&Failed::permanent("no")).unwrap();
    let waiter = waiting(&p);
    p.retry("").unwrap();
    p.request("root/a", Priority::Critical).unwrap();
    woken("a second try", waiter).unwrap().pop().unwrap().complete().unwrap();

    let waiter = waiting(&p);
    wait_until("interrupting", || {
        p.interrupt();
        waiter.is_finished()
    });
    assert!(woken("an interrupt", waiter).unwrap().is_empty());
    let (waiter, other) = (waiting(&p), waiting(&p));
    world.close();
    for waiter in [waiter, other] {
        let error = woken("the end", waiter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    assert_eq!(p.claim_wait(1, None).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn nobody_sleeps_through_a_place_that_becomes_free() {
    const ROUNDS: usize = 1_000;
    let world = files(ROUNDS, Durability::Relaxed);
    let p = open(&world, &plain().settle_ms(0).concurrency(1));
    let (hand, hands) = mpsc::channel::<Job>();
    thread::scope(|s| {
        s.spawn(move || {
            for job in hands {
                job.complete().unwrap();
            }
        });
        let mut rng = Rng::new(7);
        for round in 0..ROUNDS {
            // The job before is completed at about the time at which this begins to wait.
            for _ in 0..rng.below(3_000) {
                std::hint::spin_loop();
            }
            let job = p.claim_wait(1, Some(HANG)).unwrap().pop();
            hand.send(job.unwrap_or_else(|| panic!("round {round} slept: {:?}", p.status()))).unwrap();
        }
        drop(hand);
    });
    assert_eq!(p.status().unwrap().indexed, ROUNDS as u64);
}

// ---------------------------------------------------------------------------------- workers

#[test]
fn a_panic_of_a_worker_is_a_failure_of_its_job_alone() {
    let world = Setup::new(Walker::Auto).build(|t| {
        for name in ["bad", "fine", "good", "hopeless", "later"] {
            t.file(name, "x");
        }
    });
    world.scan();
    let p = open(&world, &plain().settle_ms(0));
    let workers = p
        .work(2, |job| match job.path() {
            b"root/bad" => panic!("no such luck"),
            b"root/hopeless" => Err(Failed::permanent("never")),
            b"root/later" => Err(Failed::put_off(Duration::from_secs(3_600))),
            _ => {
                job.attrs_mut().insert("by".to_owned(), b"worker".to_vec());
                Ok(Completion::new())
            }
        })
        .unwrap();
    wait_until("all are through", || workers.done() == 2 && workers.failed() == 3);
    workers.stop();
    expect(
        "each for itself",
        &p,
        &["bad error", "fine indexed", "good indexed", "hopeless error dead", "later new"],
    );
    let e = p.explain("root/bad").unwrap();
    assert_eq!(e.attempts, 1);
    assert!(e.last_error.unwrap().contains("no such luck"));
    let e = p.explain("root/later").unwrap();
    assert!(e.attempts == 0 && e.due_ns.unwrap() > now_ns());
    assert_eq!(p.explain("root/fine").unwrap().attrs["by"], b"worker");
}

#[test]
fn the_lease_of_a_job_that_takes_longer_is_renewed() {
    let world = files(1, Durability::Durable);
    let p = open(&world, &plain().settle_ms(0).lease_ms(1_000));
    let (started, starts) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let workers = p
        .work(2, move |job| {
            started.send(job.expires_ns()).unwrap();
            let _ = gate.lock().unwrap().recv_timeout(HANG);
            Ok(Completion::new())
        })
        .unwrap();
    let first_ns: i64 = starts.recv_timeout(HANG).unwrap();
    wait_until("two leases and a half have passed", || {
        assert!(p.claim(1).unwrap().is_empty(), "it was given to somebody else");
        now_ns() > first_ns + ns(1_500)
    });
    assert_eq!(lines(&p), ["d0/f0 processing"]);
    assert!(p.explain("root/d0/f0").unwrap().lease.unwrap().1 > first_ns + ns(1_000));
    go.send(()).unwrap();
    wait_until("it is done", || workers.done() == 1);
    workers.stop();
    assert!(starts.try_recv().is_err(), "it was done twice");
    assert_eq!(lines(&p), ["d0/f0 indexed"]);
}

#[test]
fn workers_that_are_stopped_or_dropped_end_what_they_have_in_hand() {
    for is_dropped in [false, true] {
        let world = files(20, Durability::Durable);
        let p = open(&world, &plain().settle_ms(0));
        let (started, starts) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let workers = p
            .work(4, move |_| {
                started.send(()).unwrap();
                // Until the other end is dropped.
                let _ = gate.lock().unwrap().recv_timeout(HANG);
                Ok(Completion::new())
            })
            .unwrap();
        for _ in 0..4 {
            starts.recv_timeout(HANG).unwrap();
        }
        assert_eq!(p.status().unwrap().processing, 4);
        let ending = thread::spawn(move || if is_dropped { drop(workers) } else { workers.stop() });
        thread::sleep(Duration::from_millis(50));
        assert!(!ending.is_finished(), "somebody is still at work");
        drop(go);
        within("the end of the workers", move || ending.join().unwrap());
        // On a slow machine the order to stop may have come after the next job.
        let done = 4 + starts.try_iter().count();
        let status = p.status().unwrap();
        assert_eq!((status.processing, status.indexed), (0, done as u64), "dropped: {is_dropped}");
        assert_eq!(finish(&p).len(), 20 - done, "what they have not begun is still to be done");
    }
}

#[test]
fn workers_end_when_their_warden_is_closed() {
    let mut world = files(20, Durability::Durable);
    let p = open(&world, &plain().settle_ms(0));
    let workers = p.work(4, |_| Ok(Completion::new())).unwrap();
    wait_until("all are done", || workers.done() == 20);
    assert!(p.list("", Some(WorkState::Indexed), 100).unwrap().len() == 20);
    world.close();
    within("the end of the workers", move || workers.stop());
}

#[test]
fn a_closed_limiter_ends_every_claim_of_its_pipeline() {
    let world = files(1, Durability::Durable);
    let plain = || plain().settle_ms(0);
    let p = open(&world, &plain().rate(treewarden::RateLimit::new(1, Duration::from_secs(1))));
    p.limiter().unwrap().close();
    let closed = &[ErrorKind::Closed];
    refused("claim", p.claim(1).map(drop), closed);
    refused("waiting", p.claim_wait(1, None).map(drop), closed);
    // Another rate is another limiter.
    let p = open(&world, &plain().rate(treewarden::RateLimit::new(2, Duration::from_secs(1))));
    let jobs = p.claim(1).unwrap();
    assert_eq!((jobs.len(), jobs[0].pipeline()), (1, p.name()));
    assert!(p.release_many(jobs).unwrap().iter().all(Result::is_ok));
    assert_eq!(p.status().unwrap().processing, 0);
}

#[test]
fn workers_go_on_when_their_pipeline_gets_another_rate() {
    let world = files(40, Durability::Durable);
    let rated = |limit, seconds| {
        plain().settle_ms(0).rate(treewarden::RateLimit::new(limit, Duration::from_secs(seconds)))
    };
    let p = open(&world, &rated(1, 600));
    let workers = p.work(4, |_job| Ok(Completion::new())).unwrap();
    wait_until("the first job is done, the others wait for the limit", || workers.done() == 1);
    for n in 0..20 {
        drop(open(&world, &rated(1, 600 + n)));
    }
    drop(open(&world, &rated(1_000, 1)));
    wait_until("all are done", || workers.done() == 40);
    workers.stop();
}

#[test]
fn what_one_pipeline_hands_out_is_not_lost_to_the_failure_of_another() {
    let world = files(3, Durability::Durable);
    let good = open(&world, &plain().settle_ms(0));
    let rate = treewarden::RateLimit::new(1, Duration::from_secs(1));
    let bad = world.warden().pipeline_with("bad", &plain().settle_ms(0).rate(rate)).unwrap();
    bad.limiter().unwrap().close();
    let both = [good.clone(), bad.clone()];
    let jobs = Pipeline::claim_from(&both, 10).unwrap();
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|job| good.is_of(job) && !bad.is_of(job)));
    assert!(good.complete_many(jobs).unwrap().iter().all(Result::is_ok));
    refused("and then it is told", Pipeline::claim_from(&both, 10).map(drop), &[ErrorKind::Closed]);
}
