//! Mirrors to S3: every fault of the protocol alone, storms of them, and a CDN that is told of what changed. What
//! is in the bucket is read from the disk of the server, and what was asked for from its log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use support::cdn::{Answer, FakeCdn};
use support::mirror::{
    BUCKET, MIB, Objects, PUBLIC, TOKEN, ZONE, assert_equal, begins, cloudflare, finish, naive, run,
    s3_credentials, s3_options, s3_target, sends,
};
use support::s3::{ACCESS_KEY, Fault, Request, S3Server, SECRET_KEY, When};
use support::work::scanned;
use support::{Rng, Tree, World, env_number, refused};
use treewarden::mirror::{AuditOptions, Credentials, Mirror, MirrorContext, MirrorOptions, Purge};
use treewarden::{Clock, ErrorKind};

/// A little more than one part.
const LARGE: u64 = 6 * MIB;

/// A server with an empty bucket.
struct Remote {
    server: S3Server,
    _dir: Tree,
}

impl Remote {
    fn new() -> Self {
        let dir = Tree::new();
        let server = S3Server::start(dir.path());
        server.create_bucket(BUCKET);
        Self { server, _dir: dir }
    }

    fn open_with(&self, world: &World, options: &MirrorOptions, cdn: Option<&FakeCdn>) -> Mirror {
        let target = s3_target(&self.server.endpoint());
        let cdn: Option<Arc<dyn Purge>> = cdn.map(|cdn| cloudflare(&cdn.endpoint()));
        let mirror = world.warden().mirror_to_with("m", options, &target, &s3_credentials(), cdn);
        mirror.unwrap_or_else(|e| panic!("{options:?}: {e}"))
    }

    fn open(&self, world: &World) -> Mirror {
        self.open_with(world, &s3_options(), None)
    }

    fn objects(&self) -> Objects {
        self.server.objects(BUCKET)
    }

    fn assert_holds(&self, what: &str, world: &World) {
        assert_equal(what, &wanted(world), &self.objects());
    }

    fn assert_quiet(&self, what: &str) {
        let requests = self.server.requests();
        assert!(requests.is_empty(), "{what}: {requests:?}");
    }
}

/// What the bucket must hold.
fn wanted(world: &World) -> Objects {
    naive(world.tree.path(), "img")
}

/// Content that differs from one place to the next, and from one seed to the next.
fn content(seed: u64, bytes: u64) -> Vec<u8> {
    let len = usize::try_from(bytes).unwrap();
    let (mut rng, mut content) = (Rng::new(seed), Vec::with_capacity(len + 8));
    while content.len() < len {
        content.extend_from_slice(&rng.bits().to_le_bytes());
    }
    content.truncate(len);
    content
}

/// Uploads whose id nobody but the server may know: they were begun, and the answer was lost.
fn orphans(requests: &[Request]) -> usize {
    let is_lost = |fault: &Fault| matches!(fault, Fault::LoseResponse | Fault::CutResponseAfter(_));
    requests
        .iter()
        .filter(|request| begins(request))
        .filter(|request| request.faults.iter().any(is_lost))
        .count()
}

fn some_files(t: &Tree) {
    for n in 0..12 {
        t.file(format!("d{}/f{n}", n % 3), content(n, 100 + n * 500));
    }
    t.file("empty", "").file("a b/%41+#?&.txt", "odd").file("\u{e9}/e\u{301}", "accents");
}

fn start(plant: impl FnOnce(&Tree)) -> (Remote, World, Clock, Mirror) {
    let remote = Remote::new();
    let (world, clock) = scanned(plant);
    let mirror = remote.open(&world);
    (remote, world, clock, mirror)
}

// ---------------------------------------------------------------------------------- without faults

#[test]
fn everything_is_sent_once_large_files_in_parts_and_nothing_changed_is_no_request() {
    let (remote, mut world, _clock, mirror) = start(|t| {
        some_files(t);
        t.file("large.bin", content(99, 20 * MIB)).file("exact.bin", content(98, 5 * MIB));
    });
    let report = finish("the first run", &mirror);
    assert_eq!((report.uploaded, report.retries), (17, 0), "{report:?}");
    remote.assert_holds("the first run", &world);
    let requests = remote.server.requests();
    let parts = requests.iter().filter(|r| r.query.contains("partNumber=")).count();
    let begun: Vec<&str> = requests.iter().filter(|r| r.method == "POST").filter_map(sends).collect();
    assert_eq!((parts, begun), (4, vec!["img/large.bin"]), "{requests:?}");
    let whole = requests.iter().filter(|r| r.method == "PUT" && r.query.is_empty()).count();
    assert_eq!((whole, remote.server.uploads_open(BUCKET)), (16, 0));
    let its = |key: &str| remote.server.attribute(BUCKET, key, "content_type");
    assert_eq!(its("img/a b/%41+#?&.txt").as_deref(), Some("text/plain"));

    remote.server.clear_requests();
    world.scan();
    finish("nothing changed", &mirror);
    remote.assert_quiet("nothing changed");
    drop(mirror);
    world.reopen();
    let mirror = world.warden().mirror("m", &s3_credentials(), None).unwrap();
    finish("opened again", &mirror);
    remote.assert_quiet("opened again");
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean() && audit.matched == 17, "{audit:?}");

    // Moved: copied, also what was sent in parts. Deleted: in one request.
    remote.server.clear_requests();
    world
        .tree
        .rename("large.bin", "moved.bin")
        .rename("d0", "dir")
        .remove("d1")
        .append("empty", "not any more");
    world.scan();
    let report = finish("changed", &mirror);
    assert_eq!((report.uploaded, report.copied, report.deleted), (1, 5, 9), "{report:?}");
    remote.assert_holds("changed", &world);
    let requests = remote.server.requests();
    assert!(!requests.iter().any(|r| r.query.contains("partNumber=")), "it was sent again: {requests:?}");
    let deletions = requests.iter().filter(|r| r.method == "POST" && r.query.contains("delete")).count();
    assert_eq!(deletions, 1, "{requests:?}");
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
}

#[test]
fn an_audit_finds_what_was_changed_in_the_bucket() {
    let (remote, world, _clock, mirror) = start(some_files);
    finish("the first run", &mirror);
    let server = &remote.server;
    assert!(server.remove_object(BUCKET, "img/d0/f0"));
    server.put_object(BUCKET, "img/d0/f3", &content(77, 1_600));
    server.put_object(BUCKET, "img/extra", b"?");
    server.put_object(BUCKET, "imgs/of somebody else", b"?");
    let report = mirror.audit(&AuditOptions::new().repair(true).delete_unknown(true)).unwrap();
    assert_eq!((report.lost, report.different, report.unknown, report.unsure), (1, 1, 1, 0), "{report:?}");
    finish("mended", &mirror);
    let mut expected = wanted(&world);
    expected.insert("imgs/of somebody else".to_owned(), b"?".to_vec());
    assert_equal("mended", &expected, &remote.objects());
}

#[test]
fn what_no_request_can_mend_is_said_at_once() {
    let (world, _clock) = scanned(some_files);
    let remote = Remote::new();
    let endpoint = remote.server.endpoint();
    let limits = s3_options();
    let wrong = Credentials::keys(ACCESS_KEY, "another-secret-of-the-tests");
    let mirror = world.warden().mirror_to("m", &limits, &s3_target(&endpoint), &wrong).unwrap();
    let error = refused("a wrong secret", mirror.sync(&MirrorContext::new()), &[ErrorKind::PermissionDenied]);
    assert!(error.hint().is_some() && !error.to_string().contains("another-secret"), "{error}");
    assert!(remote.server.requests().len() <= 6, "{:?}", remote.server.requests());
    assert!(remote.objects().is_empty() && mirror.urls().is_empty());

    let mirror = remote.open(&world);
    finish("the right one", &mirror);
    remote.assert_holds("the right one", &world);

    let nowhere = treewarden::mirror::Target::s3("another-bucket").endpoint(endpoint);
    let mirror = world.warden().mirror_to("n", &limits, &nowhere, &s3_credentials()).unwrap();
    let error = refused("no such bucket", mirror.sync(&MirrorContext::new()), &[ErrorKind::NotFound]);
    assert!(error.hint().is_some(), "{error}");
}

// ---------------------------------------------------------------------------------- each fault alone

/// What is done to the tree so that a request of this kind is made.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Small,
    Large,
    Moved,
    Gone,
}

#[test]
fn no_fault_alone_keeps_anything_from_arriving() {
    let (remote, world, _clock, mirror) = start(|t| {
        for n in 0..12 {
            t.file(format!("moved-{n}"), content(n, 3_000)).file(format!("gone-{n}"), content(n, 300));
        }
        t.file("small", "0").file("large", content(0, LARGE));
    });
    finish("the first run", &mirror);
    let error_500 = Fault::internal_error;
    let slow = || Fault::slow_down(None);
    let cases: Vec<(Shape, When, Fault)> = vec![
        (Shape::Small, When::put(), error_500()),
        (Shape::Small, When::put(), slow()),
        (Shape::Small, When::put(), Fault::Delay(Duration::from_millis(30))),
        (Shape::Small, When::put(), Fault::CutRequestAfter(0)),
        (Shape::Small, When::put(), Fault::CutRequestAfter(1_000)),
        (Shape::Small, When::put(), Fault::LoseResponse),
        (Shape::Small, When::put(), Fault::CutResponseAfter(0)),
        (Shape::Small, When::put(), Fault::WrongEtag),
        (Shape::Large, When::create_upload(), error_500()),
        (Shape::Large, When::create_upload(), Fault::CutRequestAfter(0)),
        (Shape::Large, When::create_upload(), Fault::LoseResponse),
        (Shape::Large, When::create_upload(), Fault::CutResponseAfter(40)),
        (Shape::Large, When::part(), error_500()),
        (Shape::Large, When::part(), Fault::CutRequestAfter(500_000)),
        (Shape::Large, When::part(), Fault::LoseResponse),
        (Shape::Large, When::part(), Fault::WrongEtag),
        (Shape::Large, When::complete_upload(), error_500()),
        (Shape::Large, When::complete_upload(), Fault::CutRequestAfter(10)),
        (Shape::Large, When::complete_upload(), Fault::LoseResponse),
        (Shape::Large, When::complete_upload(), Fault::CutResponseAfter(30)),
        (Shape::Large, When::complete_upload(), Fault::ok_with_error_body()),
        (Shape::Large, When::complete_upload(), Fault::WrongEtag),
        (Shape::Moved, When::copy(), error_500()),
        (Shape::Moved, When::copy(), Fault::CutRequestAfter(0)),
        (Shape::Moved, When::copy(), Fault::LoseResponse),
        (Shape::Moved, When::copy(), Fault::CutResponseAfter(20)),
        (Shape::Moved, When::copy(), Fault::ok_with_error_body()),
        (Shape::Moved, When::copy(), Fault::WrongEtag),
        (Shape::Gone, When::delete_many(), error_500()),
        (Shape::Gone, When::delete_many(), Fault::CutRequestAfter(5)),
        (Shape::Gone, When::delete_many(), Fault::LoseResponse),
        (Shape::Gone, When::delete_many(), Fault::CutResponseAfter(20)),
    ];
    let mut lost = 0;
    for (n, (shape, when, fault)) in (1_u64..).zip(cases) {
        let what = format!("{shape:?} {n}: {fault:?}");
        match shape {
            Shape::Small => world.tree.file("small", content(n, 3_000 + n)),
            Shape::Large => world.tree.file("large", content(n, LARGE + n)),
            Shape::Moved => world.tree.rename(format!("moved-{}", n % 12), format!("moved-{}-{n}", n % 12)),
            Shape::Gone => world.tree.remove(format!("gone-{}", n % 12)),
        };
        world.scan();
        remote.server.clear_requests();
        remote.server.faults().once(when, fault);
        finish(&what, &mirror);
        assert_eq!(
            remote.server.faults().left(),
            0,
            "{what}: no request met it: {:?}",
            remote.server.requests()
        );
        remote.assert_holds(&what, &world);
        lost += orphans(&remote.server.requests());
        remote.server.faults().clear();
        // Parts that could not be thrown away go with the next run; after that there is nothing to ask for.
        finish(&what, &mirror);
        let open = remote.server.uploads_open(BUCKET);
        assert!(open <= lost, "{what}: {open} uploads are open, the answers to {lost} were lost");
        remote.server.clear_requests();
        finish(&what, &mirror);
        remote.assert_quiet(&what);
    }
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
}

#[test]
fn a_wrong_entity_tag_is_never_acknowledged() {
    let (remote, world, _clock, mirror) = start(|t| {
        t.file("small", "0").file("large", content(1, LARGE));
    });
    let faults = remote.server.faults();
    faults.always(When::put(), Fault::WrongEtag);
    faults.always(When::complete_upload(), Fault::WrongEtag);
    let report = run(&mirror);
    assert_eq!((report.uploaded, report.failed), (0, 2), "{report:?}");
    assert!(mirror.urls().is_empty());
    let status = mirror.status();
    assert_eq!((status.objects, status.unsure), (0, 2), "{status:?}");
    faults.clear();
    finish("mended", &mirror);
    remote.assert_holds("mended", &world);
    assert_eq!((mirror.urls().len(), remote.server.uploads_open(BUCKET)), (2, 0));
}

#[test]
fn expired_credentials_and_a_wrong_clock_end_the_run_with_advice() {
    for (fault, word) in [(Fault::expired_token(), "expired"), (Fault::clock_skew(), "clock")] {
        let (remote, world, _clock, mirror) = start(|t| {
            for n in 0..60 {
                t.file(format!("f{n}"), content(n, 400));
            }
        });
        let faults = remote.server.faults();
        finish("the first run", &mirror);
        for n in 0..60 {
            world.tree.append(format!("f{n}"), "!");
        }
        world.scan();
        remote.server.clear_requests();
        faults.always(When::any(), fault);
        let error = refused(word, mirror.sync(&MirrorContext::new()), &[ErrorKind::PermissionDenied]);
        assert!(error.to_string().to_lowercase().contains(word), "{error}");
        assert!(error.hint().is_some(), "{error}");
        assert!(!error.to_string().contains(SECRET_KEY), "{error}");
        assert!(remote.server.requests().len() <= 6, "{:?}", remote.server.requests());
        assert_eq!(mirror.urls().len(), 60, "readers have the old objects");

        faults.clear();
        // Other credentials, as a program gives them when the old ones have expired.
        let again = world.warden().mirror("m", &s3_credentials(), None).unwrap();
        assert_eq!(finish("other credentials", &again).uploaded, 60);
        remote.assert_holds("other credentials", &world);
        refused("the old handle", mirror.sync(&MirrorContext::new()), &[ErrorKind::Closed]);
    }
}

#[test]
fn credentials_that_expire_half_way_lose_nothing_that_was_acknowledged() {
    let (remote, world, _clock, mirror) = start(|t| {
        for n in 0..60 {
            t.file(format!("d{}/f{n}", n % 2), content(n, 400));
        }
    });
    // What is below `d1` is refused: what is below `d0` comes first.
    remote.server.faults().always(When::any().path("/img/d1/"), Fault::expired_token());
    refused("half-way", mirror.sync(&MirrorContext::new()), &[ErrorKind::PermissionDenied]);
    let sent: BTreeSet<String> = remote.objects().into_keys().collect();
    assert!((26..=30).contains(&sent.len()), "{sent:?}");
    assert_eq!(mirror.urls().len(), sent.len());
    remote.server.faults().clear();
    remote.server.clear_requests();
    let again = world.warden().mirror("m", &s3_credentials(), None).unwrap();
    finish("goes on", &again);
    remote.assert_holds("goes on", &world);
    let twice: Vec<Request> = remote
        .server
        .requests()
        .into_iter()
        .filter(|r| sends(r).is_some_and(|key| sent.contains(key)))
        .collect();
    assert!(twice.is_empty(), "sent again: {twice:?}");
}

// ---------------------------------------------------------------------------------- what stores differ in

/// Requests of this method, by what they were for.
fn asked<'r>(requests: &'r [Request], method: &str) -> Vec<&'r str> {
    let mut paths: Vec<&str> =
        requests.iter().filter(|r| r.method == method).map(|r| r.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

fn deletes_many(requests: &[Request]) -> usize {
    requests.iter().filter(|r| r.method == "POST" && r.query.contains("delete")).count()
}

/// The answers of a store name the key: its words were once taken for those of a failure, and the file was sent
/// again and again, or never deleted.
#[test]
fn a_key_may_hold_the_words_of_a_failure() {
    let named = ["InternalError/large", "InternalError/small", "SlowDown.bin", "SlowDown.txt"];
    let (remote, world, _clock, mirror) = start(|t| {
        for name in named {
            let is_large = name.ends_with("large") || name.ends_with("bin");
            t.file(name, content(7, if is_large { LARGE } else { 700 }));
        }
        for n in 0..8 {
            t.file(format!("plain-{n}"), content(n, 700));
        }
    });
    let report = finish("the first run", &mirror);
    assert_eq!((report.uploaded, report.retries), (12, 0), "{report:?}");
    remote.assert_holds("the first run", &world);
    let requests = remote.server.requests();
    let completed = requests.iter().filter(|r| r.method == "POST" && r.query.contains("uploadId=")).count();
    let parts = requests.iter().filter(|r| r.query.contains("partNumber=")).count();
    assert_eq!((completed, parts, remote.server.uploads_open(BUCKET)), (2, 4, 0), "{requests:?}");
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean(), "{audit:?}");

    remote.server.clear_requests();
    for name in named {
        world.tree.remove(name);
    }
    world.tree.remove("plain-0").remove("plain-1");
    world.scan();
    let report = finish("deleted", &mirror);
    assert_eq!((report.deleted, report.retries), (6, 0), "{report:?}");
    remote.assert_holds("deleted", &world);
    let requests = remote.server.requests();
    let by_themselves = named.map(|name| format!("/bucket/img/{name}"));
    assert_eq!(asked(&requests, "DELETE"), by_themselves);
    assert_eq!(deletes_many(&requests), 1, "{requests:?}");
}

#[test]
fn a_store_without_a_deletion_of_many_objects_is_asked_for_one_at_a_time() {
    for (status, code) in [(501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "InvalidArgument")] {
        let (remote, world, _clock, mirror) = start(|t| {
            for n in 0..20 {
                t.file(format!("f{n:02}"), content(n, 64));
            }
        });
        finish("the first run", &mirror);
        remote.server.faults().always(When::delete_many(), Fault::status(status, code));
        // It is asked once whether it can.
        for (begin, questions) in [(0, 1), (4, 0)] {
            remote.server.clear_requests();
            for n in begin..begin + 4 {
                world.tree.remove(format!("f{n:02}"));
            }
            world.scan();
            let report = finish(code, &mirror);
            assert_eq!((report.deleted, report.retries), (4, 0), "{status} {code}: {report:?}");
            remote.assert_holds(code, &world);
            let requests = remote.server.requests();
            let each: Vec<String> = (begin..begin + 4).map(|n| format!("/bucket/img/f{n:02}")).collect();
            assert_eq!(asked(&requests, "DELETE"), each, "{status} {code}");
            assert_eq!(deletes_many(&requests), questions, "{status} {code}: {requests:?}");
        }
    }
}

#[test]
fn a_large_file_whose_last_answer_was_lost_is_not_sent_again() {
    let (remote, world, _clock, mirror) = start(|t| {
        t.file("large", content(1, LARGE));
    });
    remote.server.faults().once(When::complete_upload(), Fault::LoseResponse);
    let report = finish("the answer was lost", &mirror);
    assert_eq!((report.uploaded, report.retries), (1, 0), "{report:?}");
    assert_eq!(remote.server.faults().left(), 0);
    remote.assert_holds("the answer was lost", &world);
    let requests = remote.server.requests();
    assert_eq!(asked(&requests, "PUT").len(), 2, "{requests:?}");
    assert_eq!(asked(&requests, "HEAD"), ["/bucket/img/large"], "{requests:?}");
    // The tag that is kept is the one of the object.
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean() && audit.matched == 1, "{audit:?}");
}

// ---------------------------------------------------------------------------------- storms

#[test]
fn a_storm_loses_nothing_1() {
    storm(1);
}

#[test]
fn a_storm_loses_nothing_2() {
    storm(2);
}

#[test]
fn a_storm_loses_nothing_3() {
    storm(3);
}

/// A tree that changes for a few rounds under faults of all kinds. `TREEWARDEN_SEED` is added to the seed.
fn storm(seed: u64) {
    let seed = seed.wrapping_add(env_number("TREEWARDEN_SEED", 0));
    let mut rng = Rng::new(seed);
    let (remote, world, _clock, mirror) = start(|t| {
        for n in 0..60 {
            t.file(format!("d{}/f{n}", n % 7), content(n, 50 + n * 40));
        }
        t.file("large", content(seed, LARGE));
    });
    // Key → content, as it was acknowledged last.
    let mut acknowledged: Objects = BTreeMap::new();
    let mut lost = 0;
    for round in 0..4_u64 {
        let what = format!("round {round} of seed {seed}");
        if round > 0 {
            change(&world, &mut rng, round);
            world.scan();
        }
        remote.server.faults().storm(seed.wrapping_mul(100).wrapping_add(round), 0.12);
        for attempt in 0..6 {
            remote.server.clear_requests();
            let wanted = wanted(&world);
            let result = mirror.sync(&MirrorContext::new());
            let requests = remote.server.requests();
            lost += orphans(&requests);
            let again: Vec<&Request> = requests
                .iter()
                .filter(|r| sends(r).is_some_and(|key| is_same(&acknowledged, &wanted, key)))
                .collect();
            assert!(again.is_empty(), "{what}, {attempt}: sent after it was acknowledged: {again:?}");
            let report = match result {
                Ok(report) => report,
                Err(error) => panic!("{what}, {attempt}: {error}"),
            };
            acknowledged.retain(|key, _| wanted.contains_key(key));
            let failed: BTreeSet<&str> =
                report.errors.iter().filter_map(|error| error.key.as_deref()).collect();
            assert!(report.failed < 100 && report.refused == 0, "{what}, {attempt}: {report:?}");
            for (key, content) in wanted.iter().filter(|(key, _)| !failed.contains(key.as_str())) {
                acknowledged.insert(key.clone(), content.clone());
            }
            // Whatever was acknowledged and is wanted is there, whole.
            let found = remote.objects();
            for (key, content) in &acknowledged {
                let there = found.get(key).unwrap_or_else(|| panic!("{what}, {attempt}: {key} is gone"));
                let is_whole = there == content || wanted.get(key) != Some(content);
                assert!(is_whole, "{what}, {attempt}: {key} has another content");
            }
            if report.is_complete() {
                break;
            }
        }
        remote.server.faults().clear();
    }
    finish("after the storm", &mirror);
    remote.assert_holds("after the storm", &world);
    let open = remote.server.uploads_open(BUCKET);
    assert!(open <= lost, "seed {seed}: {open} uploads are open, the answers to {lost} were lost");
    let audit = mirror.audit(&AuditOptions::new()).unwrap();
    assert!(audit.is_clean(), "seed {seed}: {audit:?}");
    remote.server.clear_requests();
    finish("nothing changed since", &mirror);
    remote.assert_quiet("nothing changed since");
}

/// True when a key was acknowledged with the content that it has now.
fn is_same(acknowledged: &Objects, wanted: &Objects, key: &str) -> bool {
    acknowledged.get(key).is_some_and(|content| wanted.get(key) == Some(content))
}

/// Edits, adds, removes and moves about twenty files.
fn change(world: &World, rng: &mut Rng, round: u64) {
    let files: Vec<String> = world.ls().into_iter().filter(|name| name != "large").collect();
    for name in files {
        match rng.below(16) {
            0 | 1 => world.tree.file(&name, content(rng.bits(), 50 + rng.below(4_000))),
            2 => world.tree.remove(&name),
            3 => world.tree.rename(&name, format!("moved/{round}/{}", name.replace('/', "-"))),
            _ => &world.tree,
        };
    }
    for n in 0..5 {
        world.tree.file(format!("new/{round}-{n}"), content(rng.bits(), 700));
    }
    if round == 2 {
        world.tree.file("large", content(rng.bits(), LARGE + 5));
    }
}

// ---------------------------------------------------------------------------------- the CDN

/// The addresses of these paths, sorted.
fn urls<'p>(paths: impl IntoIterator<Item = &'p str>) -> BTreeSet<String> {
    paths.into_iter().map(|path| format!("{PUBLIC}/img/{path}")).collect()
}

fn with_cdn(files: u64) -> (Remote, FakeCdn, World, Clock, Mirror) {
    let (remote, cdn) = (Remote::new(), FakeCdn::start(TOKEN));
    let (world, clock) = scanned(|t| {
        for n in 0..files {
            t.file(format!("f{n:02}"), content(n, 64));
        }
    });
    let mirror = remote.open_with(&world, &s3_options(), Some(&cdn));
    let report = finish("the first run", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (0, 0), "what is new needs no purge: {report:?}");
    assert!(cdn.calls().is_empty());
    (remote, cdn, world, clock, mirror)
}

#[test]
fn a_cdn_is_told_of_what_was_replaced_or_deleted_and_of_nothing_else() {
    let (remote, cdn, world, _clock, mirror) = with_cdn(90);
    let mut expected = BTreeSet::new();
    for n in 0..70 {
        world.tree.append(format!("f{n:02}"), "more");
        expected.insert(format!("f{n:02}"));
    }
    world.tree.remove("f70").remove("f71").rename("f72", "moved").file("new", "n");
    expected.extend(["f70", "f71", "f72"].map(str::to_owned));
    world.scan();
    let report = finish("changed", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (73, 0), "{report:?}");
    let expected = urls(expected.iter().map(String::as_str));
    assert_eq!(cdn.purged(), expected);
    let calls = cdn.calls();
    assert!(calls.iter().all(|call| call.zone == ZONE && call.authorized && !call.everything));
    let sizes: Vec<usize> = calls.iter().map(|call| call.urls.len()).collect();
    assert_eq!(sizes, [30, 30, 13]);
    let named: usize = sizes.iter().sum();
    assert_eq!(named, expected.len(), "each once");
    remote.assert_holds("changed", &world);
    cdn.clear_calls();
    finish("nothing changed", &mirror);
    assert!(cdn.calls().is_empty());

    // One that is asked to is told of new ones as well.
    let mirror = remote.open_with(&world, &s3_options().purge_new(true), Some(&cdn));
    world.tree.file("newer", "n");
    world.scan();
    finish("new ones as well", &mirror);
    assert_eq!(cdn.purged(), urls(["newer"]));
}

#[test]
fn a_cdn_that_fails_holds_up_nothing_and_is_told_later() {
    let (remote, cdn, mut world, _clock, mirror) = with_cdn(40);
    for answer in [
        Answer::ServerError(500),
        Answer::NotSuccess,
        Answer::TooMany { retry_after_s: Some(1) },
        Answer::Close,
    ] {
        cdn.answer_always(answer.clone());
        for n in 0..10 {
            world.tree.append(format!("f{n:02}"), "more");
        }
        world.scan();
        let report = finish("the CDN fails", &mirror);
        assert_eq!(
            (report.uploaded, report.purged, report.purges_waiting),
            (10, 0, 10),
            "{answer:?}: {report:?}"
        );
        remote.assert_holds("the CDN fails", &world);
        let status = mirror.status();
        assert_eq!(
            (status.purges_waiting, status.last_error.as_deref()),
            (10, None),
            "{answer:?}: {status:?}"
        );
        assert!(status.oldest_purge_ns.is_some());
        cdn.clear_calls();
        cdn.answer_always(Answer::Ok);
        let report = finish("the CDN works", &mirror);
        assert_eq!((report.purged, report.purges_waiting), (10, 0), "{answer:?}: {report:?}");
        assert_eq!(cdn.purged().len(), 10);
        cdn.clear_calls();
    }

    // The queue survives a restart, and a token that was wrong.
    cdn.answer_always(Answer::ServerError(503));
    for n in 0..35 {
        world.tree.append(format!("f{n:02}"), "more");
    }
    world.tree.remove("f39");
    world.scan();
    assert_eq!(finish("the CDN fails", &mirror).purges_waiting, 36);
    drop(mirror);
    world.reopen();
    let mirror = remote.open_with(&world, &s3_options(), Some(&cdn));
    assert_eq!(mirror.status().purges_waiting, 36);
    remote.server.clear_requests();
    cdn.clear_answers();
    cdn.clear_calls();
    // The first batch is through, the second is not.
    cdn.answer_next(Answer::Ok);
    cdn.answer_next(Answer::ServerError(500));
    let report = finish("half of them", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (30, 6), "{report:?}");
    let report = finish("the rest", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (6, 0), "{report:?}");
    let mut expected: BTreeSet<String> = (0..35).map(|n| format!("{PUBLIC}/img/f{n:02}")).collect();
    expected.insert(format!("{PUBLIC}/img/f39"));
    assert_eq!(cdn.purged(), expected);
    remote.assert_quiet("purges need no storage");
}

#[test]
fn an_address_that_a_cdn_refuses_takes_no_other_with_it() {
    let (_remote, cdn, world, _clock, mirror) = with_cdn(30);
    cdn.refuse(&format!("{PUBLIC}/img/f07"));
    for n in 0..30 {
        world.tree.append(format!("f{n:02}"), "more");
    }
    world.scan();
    let report = finish("refused", &mirror);
    assert_eq!((report.purged, report.purges_waiting), (29, 0), "{report:?}");
    let mut expected: BTreeSet<String> = (0..30).map(|n| format!("{PUBLIC}/img/f{n:02}")).collect();
    expected.remove(&format!("{PUBLIC}/img/f07"));
    assert_eq!(cdn.purged(), expected);
    assert!(cdn.calls().len() <= 12, "{} calls", cdn.calls().len());
}

#[test]
fn a_deletion_that_failed_at_first_is_purged_when_it_is_done() {
    let (remote, cdn, world, _clock, mirror) = with_cdn(10);
    remote.server.faults().always(When::delete_many(), Fault::internal_error());
    world.tree.remove("f03");
    world.scan();
    let report = run(&mirror);
    assert_eq!((report.deleted, report.failed), (0, 1), "{report:?}");
    remote.server.faults().clear();
    finish("deleted", &mirror);
    remote.assert_holds("deleted", &world);
    assert_eq!(cdn.purged(), urls(["f03"]));
}
