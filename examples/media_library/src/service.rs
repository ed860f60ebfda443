//! The web service, as TMDB and its like are: `movie?title=…&year=…`, `tv?name=…`, `tv/ID/season/N`. It knows
//! HTTP and nothing of jobs; whoever calls it holds a permit of the limiter.

use std::time::{Duration, SystemTime};

use treewarden::parse_retry_after;
use ureq::Agent;
use ureq::http::HeaderMap;

use crate::trouble::Trouble;

/// From the look-up of the name to the last byte of the body.
const TIMEOUT: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: u64 = 8 << 20;

/// What to ask for, below the base address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    path: String,
    query: Vec<(&'static str, String)>,
}

impl Request {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), query: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }
}

/// A good answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the caller has is what there is.
    AsBefore,
    /// The document, and its version if the service tells it.
    Body { bytes: Vec<u8>, etag: Option<String> },
}

/// The service at one base address. Connections are kept and shared by all threads.
pub(crate) struct Service {
    agent: Agent,
    url: String,
}

impl Service {
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        if !url.starts_with("http://") {
            return Err(format!("`{url}` does not begin with `http://`; this example is built without TLS"));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // A redirect would be followed by a request that nobody has a permit for.
            .max_redirects(0)
            // 304, 404 and 429 are answers, not errors.
            .http_status_as_error(false)
            .user_agent(concat!("treewarden-media-library/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: Agent::new_with_config(config), url: url.trim_end_matches('/').to_owned() })
    }

    /// Sends one request and waits for the whole answer. With the version that the caller has, the answer may
    /// be that there is no other.
    pub(crate) fn get(&self, request: &Request, etag: Option<&str>) -> Result<Answer, Trouble> {
        let mut call = self.agent.get(format!("{}/{}", self.url, request.path));
        for (name, value) in &request.query {
            call = call.query(name, value);
        }
        if let Some(etag) = etag {
            call = call.header("if-none-match", etag);
        }
        let mut response = call.call().map_err(|error| Trouble::Passing(error.to_string()))?;
        let retry_after = retry_after(response.headers());
        match response.status().as_u16() {
            200 => {}
            304 if etag.is_some() => return Ok(Answer::AsBefore),
            404 => return Err(Trouble::Unknown),
            429 => return Err(Trouble::Busy(retry_after)),
            503 if retry_after.is_some() => return Err(Trouble::Busy(retry_after)),
            status => return Err(Trouble::Passing(format!("the service answered {status}"))),
        }
        let etag = header(response.headers(), "etag").map(str::to_owned);
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec();
        let bytes = body.map_err(|error| Trouble::Passing(format!("half an answer: {error}")))?;
        Ok(Answer::Body { bytes, etag })
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header(headers, "retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()))
}
