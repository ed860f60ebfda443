//! What several machines share through one Redis: a limit that holds over kills and lost data, one leader at
//! a time, a journal that arrives once. The Redis is a real one of each test's own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::redis::{RedisServer, clock_ns, free_port};
use support::{ROOT, Rng, Talk, Tree, World, now_ns, refused, wait_until, within};
use treewarden::fleet::{Consumer, Fleet, Item, Leader, Lease, Publisher, SharedLimiter, Stop};
use treewarden::{Change, ErrorKind, RateLimit, Walker};

const CHILD: &str = env!("CARGO_BIN_EXE_fleet_child");

/// Starts a Redis, or ends the test where there is none.
macro_rules! redis {
    ($test:literal) => {
        match RedisServer::start($test) {
            Some(server) => server,
            None => return,
        }
    };
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn long() -> Option<Duration> {
    Some(Duration::from_secs(60))
}

fn connect(server: &RedisServer) -> Fleet {
    Fleet::connect(&server.url()).unwrap_or_else(|e| panic!("connect: {e}"))
}

/// A limiter without pacing, whose permits are held for 50 ms at most.
fn limiter(fleet: &Fleet, limit: u32, window_ms: u64) -> SharedLimiter {
    fleet.limiter_with("api", &RateLimit::new(limit, ms(window_ms)).pacing(false), ms(50)).unwrap()
}

fn lead(lease: &Lease) -> Leader {
    lease.acquire(long()).unwrap().expect("the lease becomes free")
}

/// The lines of all logs that begin with `word`, as the numbers after it.
fn logged(dir: &Tree, word: &str) -> Vec<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        // A line without its end was cut by a kill and says nothing.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let mut words = line.split(' ');
            if words.next() == Some(word) {
                found.push(words.map(|number| number.parse().unwrap()).collect());
            }
        }
    }
    found
}

/// Some machines, one of which is killed and replaced again and again.
struct Machines<'a> {
    args: Vec<String>,
    logs: &'a Tree,
    started: usize,
    running: Vec<Talk>,
    rng: Rng,
}

impl<'a> Machines<'a> {
    /// The word `LOG` stands for a log of each machine's own.
    fn start(count: usize, logs: &'a Tree, args: &[&str]) -> Self {
        let args = args.iter().map(|word| (*word).to_owned()).collect();
        let rng = Rng::new(now_ns().unsigned_abs());
        let mut machines = Self { args, logs, started: 0, running: Vec::new(), rng };
        (0..count).for_each(|_| machines.add());
        machines
    }

    fn add(&mut self) {
        self.started += 1;
        let log = self.logs.join(format!("{}.log", self.started));
        let args: Vec<&OsStr> = self
            .args
            .iter()
            .map(|word| if word == "LOG" { log.as_os_str() } else { OsStr::new(word) })
            .collect();
        self.running.push(Talk::start(CHILD, &args));
    }

    /// Kills one after another with pauses, for so long.
    fn churn(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::sleep(ms(50 + self.rng.below(150)));
            let victim = self.rng.index(self.running.len());
            self.running.swap_remove(victim).kill();
            self.add();
        }
    }

    fn end(mut self) {
        for mut machine in self.running.drain(..) {
            machine.kill();
        }
    }
}

// -------------------------------------------------------------------------------------- the limiter

#[test]
fn no_window_holds_more_requests_than_allowed_whatever_is_killed_when() {
    const LIMIT: usize = 20;
    const WINDOW_MS: u64 = 500;
    let mut server = redis!("no_window_holds_more_requests_than_allowed_whatever_is_killed_when");
    let logs = Tree::new();
    let (limit, window) = (LIMIT.to_string(), WINDOW_MS.to_string());
    let url = server.url();
    let mut machines = Machines::start(8, &logs, &["limiter", &url, "LOG", &limit, &window, "300"]);
    machines.churn(ms(2_500));
    // Everything it knew is gone, at a moment at which the window is full, and it is back at once.
    server.restart();
    let restarted_ns = clock_ns();
    machines.churn(ms(2_500));
    machines.end();

    let mut sent: Vec<u64> = logged(&logs, "sent").into_iter().map(|numbers| numbers[0]).collect();
    sent.sort_unstable();
    for (first, next) in sent.iter().zip(sent.iter().skip(LIMIT)) {
        let apart_us = (next - first) / 1_000;
        assert!(apart_us >= WINDOW_MS * 1_000, "{} requests within {apart_us} us", LIMIT + 1);
    }
    let after = sent.iter().filter(|at| **at > restarted_ns).count();
    assert!(after >= LIMIT, "only {after} requests after the restart");
    assert!(sent.len() - after >= LIMIT, "only {} requests before the restart", sent.len() - after);
}

#[test]
fn a_new_redis_grants_nothing_until_what_may_have_been_granted_before_is_over() {
    let mut server = redis!("a_new_redis_grants_nothing_until_what_may_have_been_granted_before_is_over");
    let fleet = connect(&server);
    let limiter = limiter(&fleet, 2, 400);
    assert!(limiter.try_acquire().unwrap().is_none());
    let why = limiter.waiting().unwrap();
    assert!(why.contains("was restarted"), "{why}");

    let began = Instant::now();
    limiter.acquire(long()).unwrap().expect("in time").done();
    assert!(began.elapsed() >= ms(390), "granted after {:?}", began.elapsed());
    assert_eq!(limiter.waiting(), None);

    // A window and the time that a permit may be held, from when it is back.
    server.kill();
    let killed = Instant::now();
    server.restart();
    limiter.acquire(long()).unwrap().expect("in time").done();
    assert!(killed.elapsed() >= ms(450), "granted {:?} after the kill", killed.elapsed());

    let _ = server.command(&["FLUSHALL"]);
    assert!(limiter.try_acquire().unwrap().is_none(), "everything it knew was thrown away");
}

#[test]
fn without_redis_there_is_no_permit_and_the_limiter_says_why() {
    let mut server = redis!("without_redis_there_is_no_permit_and_the_limiter_says_why");
    let fleet = connect(&server);
    let limiter = limiter(&fleet, 5, 50);
    limiter.acquire(long()).unwrap().expect("in time").done();
    server.kill();

    refused("Redis is gone", limiter.try_acquire(), &[ErrorKind::Unavailable]);
    assert!(limiter.acquire(Some(ms(300))).unwrap().is_none());
    let why = limiter.waiting().unwrap();
    assert!(why.starts_with("Redis cannot be reached"), "{why}");

    // It waits, and goes on by itself.
    let its = limiter.clone();
    let waiting = std::thread::spawn(move || its.acquire(long()).unwrap().is_some());
    std::thread::sleep(ms(200));
    assert!(!waiting.is_finished());
    server.restart();
    assert!(within("the permit after the restart", move || waiting.join().unwrap()));
}

#[test]
fn two_fleets_share_one_window_and_a_permit_counts_from_its_end() {
    let server = redis!("two_fleets_share_one_window_and_a_permit_counts_from_its_end");
    let (one, other) = (connect(&server), connect(&server));
    let (one, other) = (limiter(&one, 2, 2_000), limiter(&other, 2, 2_000));
    let first = one.acquire(long()).unwrap().expect("in time");
    let second = other.acquire(long()).unwrap().expect("there are two");
    assert!(one.try_acquire().unwrap().is_none() && other.try_acquire().unwrap().is_none());
    let why = one.waiting().unwrap();
    assert!(why.starts_with("all 2 permits of the last 2 s are used; next in "), "{why}");

    // What was never sent does not count.
    first.unused();
    let third = other.try_acquire().unwrap().expect("one was given back");
    let ended = Instant::now();
    second.done();
    third.done();
    assert!(one.try_acquire().unwrap().is_none());
    one.acquire(long()).unwrap().expect("in time").done();
    assert!(ended.elapsed() >= ms(2_000), "a window after {:?}", ended.elapsed());
}

#[test]
fn a_permit_that_is_never_ended_counts_for_its_hold_and_a_window() {
    let server = redis!("a_permit_that_is_never_ended_counts_for_its_hold_and_a_window");
    let fleet = connect(&server);
    let limiter = fleet.limiter_with("api", &RateLimit::new(1, ms(200)), ms(300)).unwrap();
    let permit = limiter.acquire(long()).unwrap().expect("in time");
    let granted = Instant::now();
    std::mem::forget(permit);
    let next = limiter.acquire(long()).unwrap().expect("in time");
    assert!(granted.elapsed() >= ms(400), "granted after {:?}", granted.elapsed());

    // Held for too long, it says so.
    assert!(next.is_valid());
    wait_until("the permit to run out", || !next.is_valid());
    assert_eq!(next.left(), Duration::ZERO);
}

#[test]
fn one_machine_is_told_to_slow_down_and_all_do() {
    let server = redis!("one_machine_is_told_to_slow_down_and_all_do");
    let (one, other) = (connect(&server), connect(&server));
    let (one, other) = (limiter(&one, 100, 50), limiter(&other, 100, 50));
    let permit = one.acquire(long()).unwrap().expect("in time");
    let told = Instant::now();
    permit.throttled(Some(ms(500))).unwrap();
    assert!(other.try_acquire().unwrap().is_none());
    assert!(other.waiting().unwrap().contains("pause"));
    // A shorter pause shortens nothing.
    one.throttled(Some(ms(1))).unwrap();
    other.acquire(long()).unwrap().expect("in time").done();
    assert!(told.elapsed() >= ms(495), "granted after {:?}", told.elapsed());
}

#[test]
fn paced_requests_come_one_after_another() {
    let server = redis!("paced_requests_come_one_after_another");
    let fleet = connect(&server);
    let limiter = fleet.limiter_with("api", &RateLimit::new(10, ms(500)), ms(50)).unwrap();
    limiter.acquire(long()).unwrap().expect("in time").done();
    let began = Instant::now();
    for _ in 0..4 {
        limiter.acquire(long()).unwrap().expect("in time").done();
    }
    // Four gaps of 50 ms, the first of which began a little before.
    assert!(began.elapsed() >= ms(150), "four gaps in {:?}", began.elapsed());
}

#[test]
fn another_rate_under_the_same_name_is_refused_until_it_is_enforced() {
    let server = redis!("another_rate_under_the_same_name_is_refused_until_it_is_enforced");
    let fleet = connect(&server);
    let old = limiter(&fleet, 5, 100);
    old.acquire(long()).unwrap().expect("in time").done();
    let new = limiter(&fleet, 4, 100);
    let error = refused("another limit", new.try_acquire(), &[ErrorKind::InvalidArgument]);
    assert!(error.to_string().contains("5 in 100 ms"), "{error}");
    for (what, other) in [
        ("another window", fleet.limiter_with("api", &RateLimit::new(5, ms(101)).pacing(false), ms(50))),
        ("another hold", fleet.limiter_with("api", &RateLimit::new(5, ms(100)).pacing(false), ms(51))),
        ("pacing", fleet.limiter_with("api", &RateLimit::new(5, ms(100)), ms(50))),
    ] {
        refused(what, other.unwrap().acquire(long()), &[ErrorKind::InvalidArgument]);
    }
    new.enforce().unwrap();
    new.acquire(long()).unwrap().expect("in time").done();
    refused("the old limit", old.acquire(long()), &[ErrorKind::InvalidArgument]);
    // Another name is another limiter.
    let free = fleet.limiter_with("other", &RateLimit::new(1, ms(100)), ms(50)).unwrap();
    free.acquire(long()).unwrap().expect("in time").done();
}

#[test]
fn lost_permits_close_the_limiter_and_so_does_a_longer_window() {
    let server = redis!("lost_permits_close_the_limiter_and_so_does_a_longer_window");
    let fleet = connect(&server);
    let limiter = limiter(&fleet, 5, 300);
    limiter.acquire(long()).unwrap().expect("in time").done();
    assert_eq!(server.command(&["DEL", "treewarden:permits:api"]), "1");
    assert!(limiter.try_acquire().unwrap().is_none());
    let why = limiter.waiting().unwrap();
    assert!(why.contains("were lost"), "{why}");
    limiter.acquire(long()).unwrap().expect("in time").done();

    let longer = fleet.limiter_with("api", &RateLimit::new(5, ms(600)).pacing(false), ms(50)).unwrap();
    longer.enforce().unwrap();
    assert!(longer.try_acquire().unwrap().is_none());
    longer.acquire(long()).unwrap().expect("in time").done();
}

/// Lets a Redis be known for long, so that nobody waits for what may have been granted before.
fn known_for_long(server: &RedisServer, limiter: &SharedLimiter) {
    assert!(limiter.try_acquire().unwrap().is_none(), "a new Redis");
    let _ = server.command(&["HSET", "treewarden:server", "since", "1"]);
}

#[test]
fn a_redis_that_was_replaced_and_is_promoted_again_grants_nothing_at_first() {
    let server = redis!("a_redis_that_was_replaced_and_is_promoted_again_grants_nothing_at_first");
    let fleet = connect(&server);
    let limiter = fleet.limiter_with("api", &RateLimit::new(5, ms(50)), Duration::from_secs(600)).unwrap();
    known_for_long(&server, &limiter);
    let _permit = limiter.try_acquire().unwrap().expect("it is known for long");
    // The same process, but what another has granted meanwhile it does not know.
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]), "OK");
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert!(limiter.try_acquire().unwrap().is_none());
    let why = limiter.waiting().unwrap();
    assert!(why.contains("was restarted or replaced"), "{why}");
}

#[test]
fn a_shorter_hold_forgets_no_permit_that_was_granted_for_longer() {
    let server = redis!("a_shorter_hold_forgets_no_permit_that_was_granted_for_longer");
    let fleet = connect(&server);
    let rate = RateLimit::new(1, ms(50)).pacing(false);
    let before = fleet.limiter_with("api", &rate, Duration::from_secs(3_600)).unwrap();
    known_for_long(&server, &before);
    let _permit = before.try_acquire().unwrap().expect("it is known for long");
    let after = fleet.limiter_with("api", &rate, ms(50)).unwrap();
    after.enforce().unwrap();
    assert!(after.try_acquire().unwrap().is_none(), "the permit is still held");
    for key in ["treewarden:permits:api", "treewarden:limiter:api"] {
        let left_ms: u64 = server.command(&["PTTL", key]).parse().unwrap();
        assert!(left_ms > 3_500_000, "{key} is gone in {left_ms} ms");
    }
}

#[test]
fn a_shorter_gap_counts_from_when_it_is_enforced() {
    let server = redis!("a_shorter_gap_counts_from_when_it_is_enforced");
    let fleet = connect(&server);
    let before = fleet.limiter_with("api", &RateLimit::new(2, Duration::from_secs(3_600)), ms(50)).unwrap();
    known_for_long(&server, &before);
    before.try_acquire().unwrap().expect("it is known for long").done();
    assert!(before.try_acquire().unwrap().is_none(), "the next is half an hour away");
    let after = fleet.limiter_with("api", &RateLimit::new(100, ms(1_000)), ms(50)).unwrap();
    after.enforce().unwrap();
    after.acquire(long()).unwrap().expect("in time").done();
}

#[test]
fn a_call_that_does_not_wait_neither_heeds_nor_takes_an_interrupt() {
    let server = redis!("a_call_that_does_not_wait_neither_heeds_nor_takes_an_interrupt");
    let fleet = connect(&server);
    let (limiter, lease) = (limiter(&fleet, 5, 50), fleet.lease("scan", ms(100)).unwrap());
    limiter.acquire(long()).unwrap().expect("in time").done();
    limiter.interrupt();
    limiter.acquire(Some(Duration::ZERO)).unwrap().expect("it does not wait").done();
    assert!(limiter.acquire(long()).unwrap().is_none(), "this one might have waited");

    lead(&lease).release();
    lease.interrupt();
    lease.acquire(Some(Duration::ZERO)).unwrap().expect("it does not wait").release();
    assert!(lease.acquire(long()).unwrap().is_none(), "this one might have waited");
}

#[test]
fn many_threads_share_a_limiter_and_are_interrupted_together() {
    const THREADS: usize = 12;
    let server = redis!("many_threads_share_a_limiter_and_are_interrupted_together");
    let fleet = connect(&server);
    let limiter = limiter(&fleet, 4, 300);
    let granted: Vec<_> = within("the threads", {
        let limiter = limiter.clone();
        move || {
            let ask = |limiter: SharedLimiter| {
                limiter.acquire(long()).unwrap().expect("in time").done();
                clock_ns()
            };
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let limiter = limiter.clone();
                    std::thread::spawn(move || ask(limiter))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        }
    });
    assert_eq!(granted.len(), THREADS);

    // Nothing is granted for a day: they wait, until they are told not to.
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let limiter = fleet.limiter_with("empty", &RateLimit::new(1, ms(1)), Duration::from_secs(86_400));
            let limiter = limiter.unwrap();
            let its = limiter.clone();
            (limiter, std::thread::spawn(move || its.acquire(None).unwrap().is_none()))
        })
        .collect();
    std::thread::sleep(ms(100));
    for (limiter, thread) in waiting {
        assert!(!thread.is_finished());
        limiter.interrupt();
        assert!(within("the interrupted call", move || thread.join().unwrap()));
    }
}

// ---------------------------------------------------------------------------------------- the lease

#[test]
fn no_two_leaders_are_valid_at_once_and_tokens_rise_whatever_is_killed_when() {
    let mut server = redis!("no_two_leaders_are_valid_at_once_and_tokens_rise_whatever_is_killed_when");
    let logs = Tree::new();
    let url = server.url();
    let mut machines = Machines::start(4, &logs, &["lease", &url, "LOG", "400"]);
    machines.churn(ms(2_500));
    server.restart();
    let restarted_ns = clock_ns();
    machines.churn(ms(2_500));
    machines.end();

    let mut terms: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for numbers in logged(&logs, "valid") {
        let [token, at] = numbers[..] else { panic!("{numbers:?}") };
        let term = terms.entry(token).or_insert((at, at));
        *term = (term.0.min(at), term.1.max(at));
    }
    let in_order: Vec<(&u64, &(u64, u64))> = terms.iter().collect();
    for pair in in_order.windows(2) {
        let [(token, (_, last)), (next, (first, _))] = pair else { unreachable!() };
        assert!(last < first, "{next} was valid at {first}, and {token} until {last}");
    }
    let after = terms.values().filter(|(first, _)| *first > restarted_ns).count();
    assert!(after >= 1, "no leader after the restart");
    assert!(terms.len() > after + 1, "{} leaders before the restart", terms.len() - after);
}

#[test]
fn a_lease_is_renewed_lost_and_given_back() {
    let server = redis!("a_lease_is_renewed_lost_and_given_back");
    let (one, other) = (connect(&server), connect(&server));
    let (one, other) = (one.lease("scan", ms(600)).unwrap(), other.lease("scan", ms(600)).unwrap());
    let mut first = lead(&one);
    assert!(first.is_valid());
    assert!(other.try_acquire().unwrap().is_none());
    assert!(one.try_acquire().unwrap().is_none(), "another candidate in the same program is another");

    first.keep().unwrap();
    std::thread::sleep(ms(1_500));
    assert!(first.is_valid(), "it is kept");
    assert!(other.try_acquire().unwrap().is_none());
    let before = first.token();
    first.release();
    let second = other.try_acquire().unwrap().expect("it was given back");
    assert!(second.token() > before);

    // Not renewed, it runs out, and is not to be had back.
    wait_until("the lease to run out", || !second.is_valid());
    let third = lead(&one);
    assert!(third.token() > second.token());
    refused("a lease that has run out", second.renew(), &[ErrorKind::LeaseLost]);
    refused("once more", second.renew(), &[ErrorKind::LeaseLost]);
    // Giving back what one no longer has takes nothing from the other.
    drop(second);
    third.renew().unwrap();
    assert!(other.try_acquire().unwrap().is_none());
    let longer = connect(&server).lease("scan", ms(700)).unwrap();
    refused("another time", longer.try_acquire(), &[ErrorKind::InvalidArgument]);
}

#[test]
fn a_lease_outlives_a_redis_that_has_lost_it() {
    let mut server = redis!("a_lease_outlives_a_redis_that_has_lost_it");
    let lease = connect(&server).lease("scan", ms(400)).unwrap();
    let first = lead(&lease);
    let renewed = Instant::now();
    first.renew().unwrap();
    server.restart();
    refused("Redis has lost it", first.renew(), &[ErrorKind::LeaseLost]);
    let second = lead(&lease);
    assert!(renewed.elapsed() >= ms(400), "the first could have believed in it for longer");
    assert!(second.token() > first.token());

    server.kill();
    refused("Redis is gone", second.renew(), &[ErrorKind::Unavailable]);
    refused("Redis is gone", lease.acquire(Some(ms(100))), &[ErrorKind::Unavailable]);
    wait_until("the lease to run out", || !second.is_valid());
}

#[test]
fn tokens_rise_where_a_lease_is_forgotten_and_the_clock_stands() {
    let server = redis!("tokens_rise_where_a_lease_is_forgotten_and_the_clock_stands");
    let lease = connect(&server).lease("scan", ms(100)).unwrap();
    lead(&lease).release();
    // As if the clock of Redis had been set back: it stands until it has caught up.
    let _ = server.command(&["HSET", "treewarden:server", "last", "8000000000000000"]);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let leader = lead(&lease);
        tokens.push(leader.token());
        leader.release();
        assert_eq!(server.command(&["DEL", "treewarden:lease:scan"]), "1");
    }
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[test]
fn a_lease_whose_grant_was_lost_is_found_by_the_next_to_ask() {
    let server = redis!("a_lease_whose_grant_was_lost_is_found_by_the_next_to_ask");
    let fleet = Fleet::options(&server.url()).command_timeout(ms(300)).connect().unwrap();
    let lease = fleet.lease("scan", Duration::from_secs(3_600)).unwrap();
    assert!(lease.try_acquire().unwrap().is_none(), "a new Redis");
    let _ = server.command(&["HSET", "treewarden:server", "since", "1"]);
    let info = server.command(&["INFO", "server"]);
    let id = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap();
    let redis = Pid::from_raw(id).unwrap();
    // Redis hears the question, and answers when nobody listens any more.
    kill_process(redis, Signal::STOP).unwrap();
    refused("no answer", lease.acquire(Some(ms(1))), &[ErrorKind::Unavailable]);
    kill_process(redis, Signal::CONT).unwrap();
    wait_until("the lease to be granted", || {
        server.command(&["HGET", "treewarden:lease:scan", "owner"]).len() == 32
    });
    let leader = lease.acquire(long()).unwrap().expect("it is ours");
    leader.renew().unwrap();
}

#[test]
fn waiting_for_a_lease_is_interrupted() {
    let server = redis!("waiting_for_a_lease_is_interrupted");
    let lease = connect(&server).lease("scan", Duration::from_secs(600)).unwrap();
    let its = lease.clone();
    let waiting = std::thread::spawn(move || its.acquire(None).unwrap().is_none());
    std::thread::sleep(ms(100));
    assert!(!waiting.is_finished());
    lease.interrupt();
    assert!(within("the interrupted call", move || waiting.join().unwrap()));
}

// -------------------------------------------------------------------------------------- the journal

/// A world with a few files, scanned.
fn world() -> World {
    let world = World::new(Walker::Auto, |t| {
        for n in 0..30 {
            t.file(format!("d{}/f{n}", n % 3), "x");
        }
        t.file(b"odd \n\xff name", "x");
    });
    world.settle();
    world
}

fn journal(world: &World) -> Vec<Change> {
    world.warden().changes(0).unwrap().map(Result::unwrap).collect()
}

/// Reads and acknowledges everything that is there.
fn drain(consumer: &Consumer) -> Vec<Item> {
    let mut all = Vec::new();
    loop {
        let items = consumer.next(7, Some(Duration::ZERO)).unwrap_or_else(|e| panic!("next: {e}"));
        if items.is_empty() {
            return all;
        }
        assert_eq!(consumer.ack(&items).unwrap(), items.len() as u64);
        all.extend(items);
    }
}

fn changes(items: &[Item]) -> Vec<Change> {
    items.iter().filter_map(|item| item.change.clone()).collect()
}

#[test]
fn a_journal_arrives_once_in_order_and_in_full() {
    let server = redis!("a_journal_arrives_once_in_order_and_in_full");
    let fleet = connect(&server);
    let world = world();
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    // In small pieces, which end within commits.
    let mut appended = 0;
    while let count @ 1.. = publisher.publish_once(4).unwrap() {
        appended += count;
    }
    world.tree.rename("d0", "moved").remove("d1/f1").append("d2/f2", "more");
    world.scan();
    // Another one goes on where it ended.
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    appended += publisher.publish_once(usize::MAX).unwrap();
    assert_eq!(publisher.publish_once(usize::MAX).unwrap(), 0);

    let expected = journal(&world);
    let one = fleet.consumer("s", "g", "one").unwrap();
    let items = drain(&one);
    assert_eq!(changes(&items), expected);
    assert_eq!(appended, expected.len() as u64, "nothing but changes");
    assert!(items.iter().all(|item| item.change.is_some() && item.database == items[0].database));
    let places: Vec<(u64, u64)> = items.iter().map(|item| (item.seq, item.part)).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    // Of another group all of it, too.
    assert_eq!(changes(&drain(&fleet.consumer("s", "h", "one").unwrap())), expected);
    let seq = world.warden().seq();
    assert_eq!(publisher.publish_once(usize::MAX).unwrap(), 0);
    assert_eq!(world.warden().seq(), seq, "nothing new, and nothing written");
}

#[test]
fn one_root_is_published_alone() {
    let server = redis!("one_root_is_published_alone");
    let fleet = connect(&server);
    let world = world();
    let (dir, other) = (Tree::new(), Tree::new());
    dir.file("a", "x");
    other.file("b", "x");
    world.warden().add_root("photos", dir.path()).unwrap();
    world.warden().add_root("music", other.path()).unwrap();
    world.warden().scan("photos").unwrap();
    world.warden().scan("music").unwrap();
    let mut publisher = fleet.publisher("s", world.warden(), Some("photos")).unwrap();
    publisher.publish_once(usize::MAX).unwrap();
    let found = changes(&drain(&fleet.consumer("s", "g", "one").unwrap()));
    let expected: Vec<Change> =
        journal(&world).into_iter().filter(|change| change.root == "photos").collect();
    assert_eq!(found, expected);
    assert!(!found.is_empty());
}

#[test]
fn a_publisher_that_is_killed_before_it_moves_its_cursor_repeats_nothing() {
    let server = redis!("a_publisher_that_is_killed_before_it_moves_its_cursor_repeats_nothing");
    let fleet = connect(&server);
    let mut world = World::new(Walker::Auto, |t| {
        for n in 0..450 {
            t.file(format!("f{n}"), "x");
        }
    });
    world.scan();
    for n in 0..5 {
        world.tree.file(format!("more-{n}"), "x");
        world.scan();
    }
    let expected = journal(&world);
    world.close();
    let (url, db) = (server.url(), world.state_file());
    // In the middle of a commit, and with the last batch.
    for pass in ["1", "2", "1"] {
        let words = ["publish", &url, db.to_str().unwrap(), "s", pass];
        let args: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let mut child = Talk::start(CHILD, &args);
        assert_eq!(child.line(), None);
        child.kill();
    }
    world.open();
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    publisher.publish_once(usize::MAX).unwrap();
    assert_eq!(server.command(&["XLEN", "treewarden:stream:s"]), expected.len().to_string());
    assert_eq!(changes(&drain(&fleet.consumer("s", "g", "one").unwrap())), expected);
}

#[test]
fn a_publisher_with_an_old_token_is_refused() {
    let server = redis!("a_publisher_with_an_old_token_is_refused");
    let fleet = connect(&server);
    let world = world();
    let lease = fleet.lease("scan", ms(200)).unwrap();
    let old = lead(&lease);
    let mut stale = fleet.publisher("s", world.warden(), None).unwrap().fenced(&old);
    assert_eq!(stale.publish_once(5).unwrap(), 5);
    drop(old);
    let new = lead(&lease);
    let mut current = fleet.publisher("s", world.warden(), None).unwrap().fenced(&new);
    assert_eq!(current.publish_once(5).unwrap(), 5);

    let there = server.command(&["XLEN", "treewarden:stream:s"]);
    refused("an old token", stale.publish_once(5), &[ErrorKind::LeaseLost]);
    let mut bare = fleet.publisher("s", world.warden(), None).unwrap();
    refused("no token", bare.publish_once(5), &[ErrorKind::LeaseLost]);
    assert_eq!(server.command(&["XLEN", "treewarden:stream:s"]), there);
    current.publish_once(usize::MAX).unwrap();
    assert_eq!(changes(&drain(&fleet.consumer("s", "g", "one").unwrap())), journal(&world));
}

#[test]
fn another_database_and_a_redis_that_lost_the_stream_begin_with_a_reset() {
    let mut server = redis!("another_database_and_a_redis_that_lost_the_stream_begin_with_a_reset");
    let fleet = connect(&server);
    let (one, other) = (world(), world());
    fleet.publisher("s", one.warden(), None).unwrap().publish_once(usize::MAX).unwrap();
    let mut publisher = fleet.publisher("s", other.warden(), None).unwrap();
    while publisher.publish_once(usize::MAX).unwrap() > 0 {}
    let items = drain(&fleet.consumer("s", "g", "one").unwrap());
    let resets: Vec<usize> = (0..items.len()).filter(|at| items[*at].change.is_none()).collect();
    let before = journal(&one).len();
    assert_eq!(resets, [before], "one reset, between the two");
    assert_eq!(changes(&items[before..]), journal(&other));
    assert_ne!(items[0].database, items[before].database);

    // The publisher still believes that everything is there.
    server.restart();
    other.tree.file("new", "x");
    other.scan();
    while publisher.publish_once(usize::MAX).unwrap() > 0 {}
    let items = drain(&fleet.consumer("s", "g", "one").unwrap());
    assert_eq!(items.first().map(|item| item.change.is_none()), Some(true), "{items:?}");
    let paths: Vec<Vec<u8>> = changes(&items).into_iter().map(|change| change.path).collect();
    assert!(paths.contains(&b"root/new".to_vec()), "{items:?}");
}

#[test]
fn a_running_publisher_follows_the_journal_and_waits_over_an_outage() {
    let mut server = redis!("a_running_publisher_follows_the_journal_and_waits_over_an_outage");
    let fleet = connect(&server);
    let world = world();
    let stop = Stop::new();
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    let its = stop.clone();
    let running = std::thread::spawn(move || publisher.run(&its));
    let consumer = fleet.consumer("s", "g", "one").unwrap();
    let arrives = |name: &str| {
        world.tree.file(name, "x");
        // Beside the commits of the publisher.
        world.warden().scan(ROOT).unwrap();
        let path = format!("{ROOT}/{name}").into_bytes();
        wait_until(name, || {
            let items = consumer.next(100, Some(ms(500))).unwrap_or_default();
            let _ = consumer.ack(&items);
            changes(&items).iter().any(|change| change.path == path)
        });
    };
    arrives("one");
    server.kill();
    std::thread::sleep(ms(100));
    server.restart();
    arrives("two");
    assert!(!running.is_finished());
    stop.stop();
    within("the publisher to stop", move || running.join().unwrap()).unwrap();
}

#[test]
fn what_a_dead_consumer_had_in_hand_goes_to_another() {
    let server = redis!("what_a_dead_consumer_had_in_hand_goes_to_another");
    let fleet = connect(&server);
    let world = world();
    fleet.publisher("s", world.warden(), None).unwrap().publish_once(usize::MAX).unwrap();
    let expected = journal(&world);
    let dead = fleet.consumer("s", "g", "dead").unwrap();
    let in_hand = dead.next(5, long()).unwrap();
    assert_eq!(changes(&in_hand), expected[..5]);

    // Not before its time, and everything else meanwhile.
    let heir = fleet.consumer("s", "g", "heir").unwrap().takeover_after(Duration::from_secs(3_600)).unwrap();
    assert_eq!(changes(&drain(&heir)), expected[5..]);
    let heir = fleet.consumer("s", "g", "heir").unwrap().takeover_after(ms(50)).unwrap();
    let taken_over = heir.next(100, long()).unwrap();
    assert_eq!(changes(&taken_over), expected[..5]);
    assert_eq!(heir.ack(&taken_over).unwrap(), 5);
    assert_eq!(dead.ack(&in_hand).unwrap(), 0, "it is no longer theirs");
    assert!(heir.next(100, Some(ms(120))).unwrap().is_empty());
}

#[test]
fn a_consumer_waits_is_woken_and_is_interrupted() {
    let server = redis!("a_consumer_waits_is_woken_and_is_interrupted");
    let fleet = connect(&server);
    let world = world();
    let its = fleet.clone();
    let waiting = std::thread::spawn(move || its.consumer("s", "g", "one").unwrap().next(1, long()).unwrap());
    std::thread::sleep(ms(100));
    assert!(!waiting.is_finished());
    fleet.publisher("s", world.warden(), None).unwrap().publish_once(1).unwrap();
    assert_eq!(within("the first change", move || waiting.join().unwrap()).len(), 1);

    let consumer = std::sync::Arc::new(fleet.consumer("empty", "g", "one").unwrap());
    let its = std::sync::Arc::clone(&consumer);
    let waiting = std::thread::spawn(move || its.next(1, None).unwrap());
    std::thread::sleep(ms(100));
    consumer.interrupt();
    assert!(within("the interrupted call", move || waiting.join().unwrap()).is_empty());
}

#[test]
fn changes_that_were_cut_off_unread_are_told() {
    let server = redis!("changes_that_were_cut_off_unread_are_told");
    let fleet = connect(&server);
    let world = world();
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    let consumer = fleet.consumer("s", "g", "one").unwrap();
    publisher.publish_once(3).unwrap();
    // Three are in hand: read, not done, and cut off as well.
    assert_eq!(consumer.next(3, long()).unwrap().len(), 3);
    publisher.publish_once(usize::MAX).unwrap();
    let total = journal(&world).len();
    let _ = server.command(&["XTRIM", "treewarden:stream:s", "MAXLEN", "=", "2"]);
    let error = refused("a gap", consumer.next(100, long()), &[ErrorKind::Reset]);
    assert!(error.message().starts_with(&format!("{} changes", total - 2)), "{error}");
    refused("again", consumer.next(100, long()), &[ErrorKind::Reset]);
    assert!(consumer.accept_reset().unwrap());
    assert!(!consumer.accept_reset().unwrap());
    assert_eq!(drain(&consumer).len(), 2);
}

#[test]
fn what_is_lost_while_a_reset_is_looked_at_is_told_as_well() {
    let server = redis!("what_is_lost_while_a_reset_is_looked_at_is_told_as_well");
    let fleet = connect(&server);
    let world = world();
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    let (one, other) = (fleet.consumer("s", "g", "one").unwrap(), fleet.consumer("s", "g", "other").unwrap());
    publisher.publish_once(3).unwrap();
    assert_eq!(drain(&one).len(), 3);
    let trim = ["XTRIM", "treewarden:stream:s", "MAXLEN", "=", "1"];
    publisher.publish_once(3).unwrap();
    let _ = server.command(&trim);
    refused("a gap", one.next(100, long()), &[ErrorKind::Reset]);
    refused("a gap", other.next(100, long()), &[ErrorKind::Reset]);
    assert!(other.accept_reset().unwrap());
    publisher.publish_once(3).unwrap();
    let _ = server.command(&trim);
    refused("another gap", other.next(100, long()), &[ErrorKind::Reset]);
    assert!(!one.accept_reset().unwrap(), "of that one it does not know");
    let error = refused("another gap", one.next(100, long()), &[ErrorKind::Reset]);
    assert!(error.message().starts_with("3 changes"), "{error}");
    // One that was told nothing accepts what there is.
    assert!(fleet.consumer("s", "g", "third").unwrap().accept_reset().unwrap());
    assert_eq!(drain(&one).len(), 1);
}

#[test]
fn a_group_or_a_stream_that_was_removed_skips_nothing_silently() {
    let server = redis!("a_group_or_a_stream_that_was_removed_skips_nothing_silently");
    let fleet = connect(&server);
    let world = world();
    let mut publisher = fleet.publisher("s", world.warden(), None).unwrap();
    let consumer = fleet.consumer("s", "g", "one").unwrap();
    publisher.publish_once(5).unwrap();
    assert_eq!(consumer.next(3, long()).unwrap().len(), 3);
    // All of it is still there: it comes again.
    assert_eq!(server.command(&["XGROUP", "DESTROY", "treewarden:stream:s", "g"]), "1");
    assert_eq!(drain(&consumer).len(), 5);

    publisher.publish_once(4).unwrap();
    assert_eq!(server.command(&["DEL", "treewarden:stream:s"]), "1");
    let error = refused("four changes are gone", consumer.next(100, long()), &[ErrorKind::Reset]);
    assert!(error.message().starts_with("4 changes"), "{error}");
    assert!(consumer.accept_reset().unwrap());
    assert!(drain(&consumer).is_empty());

    // What the group had in hand is not known any more.
    publisher.publish_once(2).unwrap();
    assert_eq!(server.command(&["XGROUP", "DESTROY", "treewarden:stream:s", "g"]), "1");
    refused("something may be lost", consumer.next(100, long()), &[ErrorKind::Reset]);
    assert!(consumer.accept_reset().unwrap());
    assert_eq!(drain(&consumer).len(), 2);
}

#[test]
fn a_stream_that_knows_more_than_the_state_file_begins_with_a_reset() {
    let server = redis!("a_stream_that_knows_more_than_the_state_file_begins_with_a_reset");
    let fleet = connect(&server);
    let world = world();
    let drain_into = |mut publisher: Publisher| while publisher.publish_once(usize::MAX).unwrap() > 0 {};
    drain_into(fleet.publisher("s", world.warden(), None).unwrap());
    let consumer = fleet.consumer("s", "g", "one").unwrap();
    let _ = drain(&consumer);
    // As if a state file of long ago had been put back.
    let _ = server.command(&["HSET", "treewarden:journal:s", "upto", "1000000"]);
    world.tree.file("new", "x");
    world.scan();
    drain_into(fleet.publisher("s", world.warden(), None).unwrap());
    let items = drain(&consumer);
    assert_eq!(items.first().map(|item| item.change.is_none()), Some(true), "{items:?}");
    assert!(changes(&items).iter().any(|change| change.path == b"root/new"), "{items:?}");
}

#[test]
fn entries_of_another_program_are_skipped() {
    let server = redis!("entries_of_another_program_are_skipped");
    let fleet = connect(&server);
    let world = world();
    let _ = server.command(&["XADD", "treewarden:stream:s", "*", "what", "ever"]);
    fleet.publisher("s", world.warden(), None).unwrap().publish_once(usize::MAX).unwrap();
    let _ = server.command(&["XADD", "treewarden:stream:s", "*", "seq", "x", "kind", "added"]);
    let consumer = fleet.consumer("s", "g", "one").unwrap();
    let mut found = consumer.next(1_000, long()).unwrap();
    found.extend(drain(&consumer));
    assert_eq!(changes(&found), journal(&world));
}

// ----------------------------------------------------------------------------------- what is refused

#[test]
fn bad_input_gives_a_typed_error() {
    let server = redis!("bad_input_gives_a_typed_error");
    let fleet = connect(&server);
    let world = world();
    let rate = RateLimit::new(1, ms(10));
    let invalid = &[ErrorKind::InvalidArgument];
    let too_long = "x".repeat(256);
    for name in ["", ".", "..", "a/b", "a\nb", "\u{1b}[31m", too_long.as_str()] {
        refused(name, fleet.limiter(name, &rate), invalid);
        refused(name, fleet.lease(name, ms(500)), invalid);
        refused(name, fleet.publisher(name, world.warden(), None), invalid);
        refused(name, fleet.publisher("s", world.warden(), Some(name)), invalid);
        refused(name, fleet.consumer(name, "g", "c"), invalid);
        refused(name, fleet.consumer("s", name, "c"), invalid);
        refused(name, fleet.consumer("s", "g", name), invalid);
        refused(name, Fleet::options(&server.url()).prefix(name).connect(), invalid);
    }
    let publisher = || fleet.publisher("s", world.warden(), None).unwrap();
    let consumer = || fleet.consumer("s", "g", "c").unwrap();
    refused("no requests", fleet.limiter("a", &RateLimit::new(0, ms(10))), invalid);
    refused("no window", fleet.limiter("a", &RateLimit::new(1, Duration::ZERO)), invalid);
    refused("no hold", fleet.limiter_with("a", &rate, Duration::ZERO), invalid);
    refused("a long hold", fleet.limiter_with("a", &rate, Duration::MAX), invalid);
    refused("no lease", fleet.lease("a", Duration::ZERO), invalid);
    refused("a long lease", fleet.lease("a", Duration::MAX), invalid);
    refused("no entries", publisher().entries_max(0), invalid);
    refused("many entries", publisher().entries_max(u64::MAX), invalid);
    refused("no idle time", consumer().takeover_after(Duration::ZERO), invalid);
    refused("a long idle time", consumer().takeover_after(Duration::MAX), invalid);
    for timeout in [Duration::ZERO, Duration::MAX] {
        refused("a timeout", Fleet::options(&server.url()).connect_timeout(timeout).connect(), invalid);
        refused("a timeout", Fleet::options(&server.url()).command_timeout(timeout).connect(), invalid);
    }
    for url in ["", "nowhere", "http://127.0.0.1", "redis://", "redis://h:x", "redis://h/x"] {
        refused(url, Fleet::connect(url), invalid);
    }
    refused("TLS", Fleet::connect("rediss://127.0.0.1"), &[ErrorKind::Unsupported]);
    refused("a database", Fleet::connect(&format!("{}/99", server.url())), invalid);
    refused("-1", Fleet::connect(&format!("{}/-1", server.url())), invalid);
    refused(
        "nobody there",
        Fleet::connect(&format!("redis://127.0.0.1:{}", free_port())),
        &[ErrorKind::Unavailable],
    );
    refused("no socket", Fleet::connect("unix:///nowhere/redis.sock"), &[ErrorKind::Unavailable]);
    // A key of another kind under our name.
    let _ = server.command(&["SET", "treewarden:limiter:taken", "x"]);
    refused("a taken key", fleet.limiter("taken", &rate).unwrap().try_acquire(), &[ErrorKind::Io]);
    // All of that has cost no connection.
    fleet.ping().unwrap();
}

#[test]
fn something_that_is_not_redis_is_given_up() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    // Takes connections, and says nothing.
    let options = Fleet::options(&url).connect_timeout(ms(200)).command_timeout(ms(200));
    let silent = within("a silent server", move || options.connect());
    refused("a silent server", silent, &[ErrorKind::Unavailable]);
    // Speaks another language.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write;
            let _ = stream.and_then(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let strange = within("another language", move || Fleet::connect(&url));
    refused("another language", strange, &[ErrorKind::Unavailable]);
}

#[test]
fn a_redis_that_evicts_keys_is_refused() {
    const NAME: &str = "a_redis_that_evicts_keys_is_refused";
    for (policy, is_fit) in [("allkeys-lru", false), ("volatile-ttl", false), ("noeviction", true)] {
        let more = ["--maxmemory", "100mb", "--maxmemory-policy", policy];
        let Some(server) = RedisServer::start_with(NAME, &more) else { return };
        let connected = Fleet::connect(&server.url());
        if is_fit {
            connected.unwrap();
        } else {
            refused(policy, connected, &[ErrorKind::Unsupported]);
        }
    }
}

#[test]
fn user_and_password_are_used_and_never_shown() {
    const NAME: &str = "user_and_password_are_used_and_never_shown";
    let more = ["--requirepass", "hunter2hunter2"];
    let Some(mut server) = RedisServer::start_with(NAME, &more) else { return };
    let port = server.port();
    let mut told = Vec::new();
    for (what, url, kind) in [
        ("no password", format!("redis://127.0.0.1:{port}"), ErrorKind::PermissionDenied),
        ("a wrong one", format!("redis://:s3cret@127.0.0.1:{port}"), ErrorKind::PermissionDenied),
        ("a wrong user", format!("redis://nobody:s3cret@127.0.0.1:{port}"), ErrorKind::PermissionDenied),
        ("nobody there", format!("redis://nobody:s3cret@127.0.0.1:{}", free_port()), ErrorKind::Unavailable),
        ("a bad URL", format!("redis://nobody:s3cret@127.0.0.1:{port}/x"), ErrorKind::InvalidArgument),
        ("TLS", format!("rediss://nobody:s3cret@127.0.0.1:{port}"), ErrorKind::Unsupported),
    ] {
        told.push(format!("{:?}", Fleet::options(&url)));
        let error = refused(what, Fleet::connect(&url), &[kind]);
        told.push(format!("{error} {error:?}"));
    }
    let fleet = Fleet::connect(&format!("redis://default:hunter2hunter2@127.0.0.1:{port}")).unwrap();
    let limiter = limiter(&fleet, 1, 50);
    let lease = fleet.lease("scan", ms(200)).unwrap();
    let leader = lead(&lease);
    let permit = limiter.acquire(long()).unwrap().expect("in time");
    told.push(format!("{fleet:?} {limiter:?} {lease:?} {leader:?} {permit:?}"));
    server.kill();
    told.push(format!("{:?} {:?}", limiter.try_acquire(), limiter.waiting()));
    told.push(limiter.acquire(Some(ms(1))).map(|_| limiter.waiting().unwrap()).unwrap());
    for text in told {
        for secret in ["s3cret", "hunter2", "nobody:", "default:"] {
            assert!(!text.contains(secret), "{secret:?} in {text:?}");
        }
    }
}

#[test]
fn fleets_with_other_prefixes_know_nothing_of_each_other() {
    let server = redis!("fleets_with_other_prefixes_know_nothing_of_each_other");
    let one = connect(&server);
    let other = Fleet::options(&server.url()).prefix("staging").connect().unwrap();
    let (mine, theirs) = (one.lease("scan", ms(200)).unwrap(), other.lease("scan", ms(200)).unwrap());
    let (_one, _other) = (lead(&mine), lead(&theirs));
    let keys = server.command(&["KEYS", "*"]);
    for key in keys.lines() {
        assert!(key.starts_with("treewarden:") || key.starts_with("staging:"), "{keys}");
    }
}
