//! What goes wrong in the test server, and when: a list of rules that each request is held against.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::Rng;

/// The header that makes a copy of a `PUT`.
const COPY: &str = "x-amz-copy-source";

/// One way to go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request waits before anything else happens to it; later rules are asked as well.
    Delay(Duration),
    /// The connection is closed after so many bytes of the request's body, or after all of a shorter one.
    /// Nothing of the request is carried out.
    CutRequestAfter(u64),
    /// The request is carried out, and the connection is closed after so many bytes of the answer's body. An
    /// answer is always cut: a shorter body loses its last byte, one without a body is lost.
    CutResponseAfter(u64),
    /// The request is read, not carried out, and answered with an error.
    Status {
        /// The HTTP status.
        status: u16,
        /// The error code of S3 in the body.
        code: String,
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// The request is read, not carried out, and answered with 200 and an error in the body, as S3 may do for
    /// copies and for the end of a multipart upload.
    OkWithErrorBody {
        /// The error code of S3 in the body.
        code: String,
    },
    /// The request is carried out, and the connection is closed without an answer.
    LoseResponse,
    /// The request is carried out, and the entity tag in the answer is another one: in the header, and in the
    /// body where it is XML.
    WrongEtag,
}

impl Fault {
    /// An answer with this status and this error code of S3.
    #[must_use]
    pub fn status(status: u16, code: &str) -> Self {
        Self::Status { status, code: code.to_owned(), retry_after_s: None }
    }

    /// 503 `SlowDown`.
    #[must_use]
    pub fn slow_down(retry_after_s: Option<u64>) -> Self {
        Self::Status { status: 503, code: "SlowDown".to_owned(), retry_after_s }
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::status(500, "InternalError")
    }

    /// 403 `ExpiredToken`.
    #[must_use]
    pub fn expired_token() -> Self {
        Self::status(403, "ExpiredToken")
    }

    /// 403 `RequestTimeTooSkewed`.
    #[must_use]
    pub fn clock_skew() -> Self {
        Self::status(403, "RequestTimeTooSkewed")
    }

    /// 200 with `InternalError` in the body.
    #[must_use]
    pub fn ok_with_error_body() -> Self {
        Self::OkWithErrorBody { code: "InternalError".to_owned() }
    }
}

/// Which requests a rule is for. Each call of a method makes it narrower.
#[derive(Debug, Clone, Default)]
pub struct When {
    method: Option<String>,
    path: Option<String>,
    query: Option<String>,
    query_without: Vec<String>,
    header: Option<String>,
    header_without: Option<String>,
}

impl When {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// An object put in one piece.
    #[must_use]
    pub fn put() -> Self {
        let one_piece = Self::any().method("PUT").without_query("partNumber=");
        Self { header_without: Some(COPY.to_owned()), ..one_piece }
    }

    /// An object copied to another key.
    #[must_use]
    pub fn copy() -> Self {
        Self::any().method("PUT").header(COPY)
    }

    /// The begin of a multipart upload.
    #[must_use]
    pub fn create_upload() -> Self {
        Self::any().method("POST").query("uploads")
    }

    /// A part of a multipart upload.
    #[must_use]
    pub fn part() -> Self {
        Self::any().method("PUT").query("partNumber=")
    }

    /// The end of a multipart upload.
    #[must_use]
    pub fn complete_upload() -> Self {
        Self::any().method("POST").query("uploadId=")
    }

    /// A multipart upload thrown away.
    #[must_use]
    pub fn abort_upload() -> Self {
        Self::any().method("DELETE").query("uploadId=")
    }

    /// One object deleted by itself.
    #[must_use]
    pub fn delete_one() -> Self {
        Self::any().method("DELETE").without_query("uploadId=")
    }

    /// Many objects deleted in one request.
    #[must_use]
    pub fn delete_many() -> Self {
        Self::any().method("POST").query("delete")
    }

    /// A page of a listing.
    #[must_use]
    pub fn list() -> Self {
        Self::any().method("GET").query("list-type=2")
    }

    /// Only this method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    /// Only where the decoded path, `/bucket/key`, contains this.
    #[must_use]
    pub fn path(self, part: &str) -> Self {
        Self { path: Some(part.to_owned()), ..self }
    }

    /// Only where the query, as it was sent, contains this.
    #[must_use]
    pub fn query(self, part: &str) -> Self {
        Self { query: Some(part.to_owned()), ..self }
    }

    /// Only where the query, as it was sent, does not contain this.
    #[must_use]
    pub fn without_query(mut self, part: &str) -> Self {
        self.query_without.push(part.to_owned());
        self
    }

    /// Only where this header was sent.
    #[must_use]
    pub fn header(self, name: &str) -> Self {
        Self { header: Some(name.to_owned()), ..self }
    }

    fn matches(&self, asked: &Asked) -> bool {
        self.method.as_ref().is_none_or(|method| asked.method == *method)
            && self.path.as_ref().is_none_or(|part| asked.path.contains(part))
            && self.query.as_ref().is_none_or(|part| asked.query.contains(part))
            && !self.query_without.iter().any(|part| asked.query.contains(part))
            && self.header.as_ref().is_none_or(|name| asked.headers.contains_key(name))
            && !self.header_without.as_ref().is_some_and(|name| asked.headers.contains_key(name))
    }
}

/// The rules. They are asked in the order in which they were added; the first that fires decides, except that
/// after a [`Fault::Delay`] the others are asked as well.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
}

impl Faults {
    /// Every request that fits meets the fault.
    pub fn always(&self, when: When, fault: Fault) {
        self.times(u64::MAX, when, fault);
    }

    /// The next request that fits meets the fault.
    pub fn once(&self, when: When, fault: Fault) {
        self.times(1, when, fault);
    }

    /// The next `n` requests that fit meet the fault.
    pub fn times(&self, n: u64, when: When, fault: Fault) {
        self.add(when, How::Times(n, fault));
    }

    /// A share of the requests that fit (0.0 none, 1.0 all) meets the fault.
    ///
    /// Which ones depends on the seed, on what is asked for and on how often it was asked for before, and not on
    /// what other threads do meanwhile: a run can be repeated.
    pub fn share(&self, seed: u64, share: f64, when: When, fault: Fault) {
        self.add(when, How::Share(Draw::new(seed, share), fault));
    }

    /// A share of all requests meets one of the faults, drawn as in [`Faults::share`]: all kinds of them, but
    /// among the statuses only those that pass (500 and 503). A refusal (403) is for [`Faults::once`].
    pub fn storm(&self, seed: u64, share: f64) {
        self.add(When::any(), How::Storm(Draw::new(seed, share)));
    }

    /// Everything works again. A request that is being served keeps its fault.
    pub fn clear(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// How many times rules of [`Faults::times`] and [`Faults::once`] have still to fire: 0 proves that a test
    /// met all that it asked for.
    #[must_use]
    pub fn left(&self) -> u64 {
        let rules = self.rules.lock().unwrap();
        rules.iter().fold(0, |sum, rule| match rule.how {
            // More than any test counts to: one of `always`, which is never used up.
            How::Times(left, _) if left < u64::MAX / 2 => sum + left,
            _ => sum,
        })
    }

    fn add(&self, when: When, how: How) {
        self.rules.lock().unwrap().push(Rule { when, how });
    }

    /// The faults of a request: delays, and at most one that is none, which is the last.
    pub(super) fn decide(&self, asked: &Asked) -> Vec<Fault> {
        let mut found = Vec::new();
        for rule in self.rules.lock().unwrap().iter_mut().filter(|rule| rule.when.matches(asked)) {
            let Some(fault) = rule.how.fire(asked) else { continue };
            let more = matches!(fault, Fault::Delay(_));
            found.push(fault);
            if !more {
                break;
            }
        }
        found
    }
}

#[derive(Debug)]
struct Rule {
    when: When,
    how: How,
}

#[derive(Debug)]
enum How {
    /// So many times from now on.
    Times(u64, Fault),
    Share(Draw, Fault),
    Storm(Draw),
}

impl How {
    fn fire(&mut self, asked: &Asked) -> Option<Fault> {
        match self {
            Self::Times(left, fault) => {
                *left = left.checked_sub(1)?;
                Some(fault.clone())
            }
            Self::Share(draw, fault) => draw.hit(asked).map(|_| fault.clone()),
            Self::Storm(draw) => draw.hit(asked).map(|mut rng| drawn(&mut rng, asked)),
        }
    }
}

/// A draw that does not depend on the order in which the requests of different threads arrive.
#[derive(Debug)]
struct Draw {
    seed: u64,
    share: f64,
    /// What was asked for → how often.
    seen: BTreeMap<String, u64>,
}

impl Draw {
    fn new(seed: u64, share: f64) -> Self {
        Self { seed, share, seen: BTreeMap::new() }
    }

    /// The generator for the rest of the choice when this request is hit.
    fn hit(&mut self, asked: &Asked) -> Option<Rng> {
        let name = asked.name();
        // FNV-1a: equal in every run, unlike the hasher of the standard library.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let nth = self.seen.entry(name).or_default();
        *nth += 1;
        let mut rng = Rng::new(self.seed ^ hash ^ nth.wrapping_mul(0xd134_2543_de82_ef95));
        let of = 1_u64 << 53;
        ((rng.below(of) as f64) < self.share * (of as f64)).then_some(rng)
    }
}

fn drawn(rng: &mut Rng, asked: &Asked) -> Fault {
    match rng.below(8) {
        0 => Fault::Delay(Duration::from_millis(rng.below(20))),
        1 => Fault::CutRequestAfter(rng.below(64 << 10)),
        2 => Fault::CutResponseAfter(rng.below(200)),
        3 => Fault::slow_down(None),
        4 if When::copy().matches(asked) || When::complete_upload().matches(asked) => {
            Fault::ok_with_error_body()
        }
        5 if matches!(asked.method.as_str(), "PUT" | "POST") => Fault::WrongEtag,
        6 => Fault::LoseResponse,
        _ => Fault::internal_error(),
    }
}

/// What a request asks for.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    headers: HeaderMap,
}

impl Asked {
    pub(super) fn new(head: &Parts) -> Self {
        Self {
            method: head.method.as_str().to_owned(),
            path: percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
        }
    }

    /// The request without what differs from one run to the next.
    fn name(&self) -> String {
        let same = |part: &&str| !part.starts_with("uploadId=");
        let query: Vec<&str> = self.query.split('&').filter(same).collect();
        let copy = if self.headers.contains_key(COPY) { " copy" } else { "" };
        format!("{} {}?{}{copy}", self.method, self.path, query.join("&"))
    }
}
