//! P1 for mirrors: what a storage has acknowledged survives a kill and is not sent again, nothing is left over in
//! the bucket, and a CDN is told of everything. A child that runs a mirror is killed at every named point; the
//! oracle is in this process, and looks at the server's disk and log.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use support::cdn::FakeCdn;
use support::mirror::{
    BUCKET, MIB, PUBLIC, TOKEN, assert_equal, begins, cloudflare, finish, naive, s3_credentials, s3_options,
    s3_target, sends,
};
use support::s3::{Request, S3Server};
use support::work::scanned;
use support::{Talk, Tree, World};
use treewarden::Clock;
use treewarden::mirror::{AuditKind, AuditOptions, Mirror};

const CHILD: &str = env!("CARGO_BIN_EXE_mirror_child");

/// Where the child dies, and at which pass. The first pass of each is always reached.
const KILLS: &[(&str, u64)] = &[
    ("mirror-begun", 1),
    ("mirror-sent", 1),
    ("mirror-sent", 9),
    ("mirror-sent", 30),
    ("mirror-parts", 1),
    ("mirror-answered", 1),
    ("mirror-answered", 4),
    ("mirror-acknowledged", 1),
    ("mirror-acknowledged", 3),
    ("mirror-delete-begun", 1),
    ("mirror-deleted", 1),
    ("mirror-delete-noted", 1),
    ("mirror-purge-begun", 1),
    ("mirror-purge-begun", 2),
    ("mirror-purged", 1),
    ("mirror-purged", 2),
    ("mirror-purge-noted", 1),
    ("mirror-purge-noted", 2),
];

const REPLACED: u64 = 35;
const NEW: u64 = 5;

#[test]
fn a_killed_mirror_goes_on_where_it_stopped() {
    let mut oracle = Oracle::new();
    for (round, (point, pass)) in (1_u64..).zip(KILLS.iter().copied()) {
        let what = format!("round {round}, {point} {pass}");
        let stale = oracle.edit(round);
        let sent = oracle.run_until_killed(&what, point, pass);
        oracle.check(&what, &sent, &stale);
    }
}

struct Oracle {
    world: World,
    clock: Clock,
    server: S3Server,
    cdn: FakeCdn,
    /// Uploads that the server may have begun while the child died before it knew of them.
    unknown: usize,
    _dir: Tree,
}

impl Oracle {
    fn new() -> Self {
        let dir = Tree::new();
        let server = S3Server::start(dir.path());
        server.create_bucket(BUCKET);
        let (world, clock) = scanned(|t| {
            for n in 0..40 {
                t.file(format!("f{n:02}"), format!("round 0, file {n}"));
            }
            for n in 0..NEW {
                t.file(format!("new-0-{n}"), "will go");
            }
            t.file("moved-0", "moves on and on").file("large", large(0));
        });
        let mut oracle = Self { world, clock, server, cdn: FakeCdn::start(TOKEN), unknown: 0, _dir: dir };
        finish("the first run", &oracle.mirror());
        oracle.world.close();
        oracle
    }

    fn mirror(&self) -> Mirror {
        let (target, cdn) = (s3_target(&self.server.endpoint()), cloudflare(&self.cdn.endpoint()));
        let mirror =
            self.world.warden().mirror_to_with("m", &s3_options(), &target, &s3_credentials(), Some(cdn));
        mirror.unwrap_or_else(|e| panic!("mirror: {e}"))
    }

    /// Changes the tree, and says which addresses the CDN must be told of.
    fn edit(&self, round: u64) -> BTreeSet<String> {
        let tree = &self.world.tree;
        let mut stale = BTreeSet::new();
        for n in 0..REPLACED {
            tree.file(format!("f{n:02}"), format!("round {round}, file {n}"));
            stale.insert(format!("f{n:02}"));
        }
        for n in 0..NEW {
            tree.file(format!("new-{round}-{n}"), format!("of round {round}"));
            tree.remove(format!("new-{}-{n}", round - 1));
            stale.insert(format!("new-{}-{n}", round - 1));
        }
        tree.rename(format!("moved-{}", round - 1), format!("moved-{round}"));
        stale.insert(format!("moved-{}", round - 1));
        tree.file("large", large(round));
        stale.insert("large".to_owned());
        stale.into_iter().map(|path| format!("{PUBLIC}/img/{path}")).collect()
    }

    /// Runs the child until it dies, and says what it was told is acknowledged, by keys.
    fn run_until_killed(&mut self, what: &str, point: &str, pass: u64) -> BTreeSet<String> {
        self.server.clear_requests();
        self.cdn.clear_calls();
        let db = self.world.state_file();
        let (s3, cdn) = (self.server.endpoint(), self.cdn.endpoint());
        let (clock, nth) = (self.clock.now_ns().to_string(), pass.to_string());
        let args = [
            db.as_os_str(),
            OsStr::new(&s3),
            OsStr::new(&cdn),
            OsStr::new(&clock),
            OsStr::new(point),
            OsStr::new(&nth),
        ];
        let mut child = Talk::start(CHILD, &args);
        let (mut lines, mut reached) = (Vec::new(), true);
        while let Some(line) = child.line() {
            if line == "idle" {
                reached = false;
                break;
            }
            lines.push(line);
        }
        lines.extend(child.kill());
        assert!(reached || pass > 1, "{what}: the child was not killed");
        assert_eq!(lines.first().map(String::as_str), Some("open"), "{what}: {lines:?}");
        let begin = format!("sent {PUBLIC}/");
        let sent: BTreeSet<String> =
            lines.iter().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect();
        // At `mirror-parts` the id of the upload is on disk. Elsewhere another thread may have died with an answer
        // that it had not read yet; then it has sent no part either.
        if point != "mirror-parts" {
            let requests = self.server.requests();
            let begun = requests.iter().filter(|request| begins(request)).count();
            let has_part = requests.iter().any(|request| request.query.contains("partNumber="));
            if !has_part {
                self.unknown += begun;
            }
        }
        sent
    }

    /// Opens the file as any program would, brings the bucket in step, and compares.
    fn check(&mut self, what: &str, sent: &BTreeSet<String>, stale: &BTreeSet<String>) {
        self.world.open();
        self.world.warden().check().unwrap_or_else(|e| panic!("{what}: the file fails its own check: {e}"));
        let mirror = self.mirror();

        // What the engine says that it knows.
        let audit = mirror.audit(&AuditOptions::new()).unwrap_or_else(|e| panic!("{what}: audit: {e}"));
        assert_eq!((audit.lost, audit.different), (0, 0), "{what}: {audit:?}");
        let unsure: BTreeSet<&str> =
            audit.findings.iter().filter(|f| f.kind != AuditKind::Unknown).map(|f| f.key.as_str()).collect();
        let urls = mirror.urls();
        let begin = format!("{PUBLIC}/");
        let known: BTreeSet<String> = urls
            .iter()
            .filter_map(|(_, url)| url.strip_prefix(&begin).map(str::to_owned))
            .filter(|key| !unsure.contains(key.as_str()))
            .collect();
        let forgotten: Vec<&String> = sent.iter().filter(|key| !known.contains(*key)).collect();
        assert!(forgotten.is_empty(), "{what}: was acknowledged, and is not known: {forgotten:?}");

        self.server.clear_requests();
        self.world.scan();
        finish(what, &mirror);
        let requests = self.server.requests();
        let again: Vec<&Request> =
            requests.iter().filter(|r| sends(r).is_some_and(|key| sent.contains(key))).collect();
        assert!(again.is_empty(), "{what}: sent after it was acknowledged: {again:?}");
        assert_equal(what, &naive(self.world.tree.path(), "img"), &self.server.objects(BUCKET));
        let open = self.server.uploads_open(BUCKET);
        assert!(
            open <= self.unknown,
            "{what}: {open} uploads are open; of {} nobody could know",
            self.unknown
        );
        let purged = self.cdn.purged();
        let untold: Vec<&String> = stale.iter().filter(|url| !purged.contains(*url)).collect();
        assert!(untold.is_empty(), "{what}: the CDN was never told of {untold:?}");
        let status = mirror.status();
        assert_eq!((status.unsure, status.purges_waiting), (0, 0), "{what}: {status:?}");
        let audit = mirror.audit(&AuditOptions::new()).unwrap();
        assert!(audit.is_clean(), "{what}: {audit:?}");
        self.server.clear_requests();
        finish(what, &mirror);
        assert!(self.server.requests().is_empty(), "{what}: {:?}", self.server.requests());
        drop(mirror);
        self.world.close();
    }
}

/// A file in two parts.
fn large(round: u64) -> Vec<u8> {
    let byte = u8::try_from(round % 251).unwrap();
    vec![byte; usize::try_from(6 * MIB + round).unwrap()]
}
