//! Cloudflare as a CDN: one request for each batch of addresses, and what its answer means.
//!
//! The token goes into one header of one request and nowhere else: into no message, no log, no `Debug`. Whoever
//! answers is not trusted: what is read of an answer, how long it may take and what is shown of it are bounded.

use std::error::Error as _;
use std::fmt;
use std::iter;
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url, redirect};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;
use crate::work::{RateLimit, parse_retry_after};

use super::{Purge, PurgeError, PurgeFault};

const ENDPOINT: &str = "https://api.cloudflare.com/client/v4";
const USER_AGENT: &str = concat!("treewarden/", env!("CARGO_PKG_VERSION"));
/// What every plan takes in one request, and what the largest does.
const BATCH: usize = 30;
const BATCH_MAX: usize = 500;
const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);
/// The client ends a request by itself; this much later nobody believes in it any more.
const GRACE: Duration = Duration::from_secs(2);
const TOKEN_BYTES_MAX: usize = 512;
/// An answer is a few hundred bytes; of a longer one no more than this is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What is shown of the words of others.
const SHOWN_CHARS_MAX: usize = 300;
/// Error codes that speak of the credentials or the zone and not of the addresses. They come with a 400 as well:
/// a mistyped token must not make every address look refused.
const DENIED: &[u64] = &[6003, 7000, 7003, 9103, 9106, 9107, 9109, 10000];

/// Cloudflare, which is told of changed addresses through its API.
///
/// ```no_run
/// # fn example(token: &str) -> Result<(), treewarden::Error> {
/// use treewarden::mirror::{Cloudflare, Purge};
///
/// let cdn = Cloudflare::new("023e105f4ecef8ad9ca31a8372d0c353", token)?.batch_max(100)?;
/// assert_eq!(cdn.describe(), "cloudflare+023e105f4ecef8ad9ca31a8372d0c353");
/// # Ok(())
/// # }
/// ```
///
/// It has a thread of its own, `tw-net`, which ends when it is dropped; make it after a `fork`, not before. It can
/// be used from all threads at once, those of an async runtime included, and each call of [`Purge::purge`] blocks
/// for the timeout at most, give or take two seconds. It follows no redirect and uses no proxy.
pub struct Cloudflare {
    zone_id: String,
    api_token: String,
    url: Url,
    batch_max: usize,
    timeout: Duration,
    rate: RateLimit,
    client: Client,
    net: Net,
}

impl Cloudflare {
    /// Returns the CDN of one zone. No request is made.
    ///
    /// `zone_id` is the id that the overview of the zone shows, not the name of the domain. `api_token` is an API
    /// token (not the global key) with the permission to purge the cache of this zone.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an id that is empty or has other characters than ASCII letters, digits, `-` and `_`,
    /// and for a token that is empty, longer than 512 bytes or has other than visible ASCII characters. `Io` when
    /// the thread cannot be started or the system's certificates cannot be used.
    pub fn new(zone_id: &str, api_token: &str) -> Result<Self> {
        check_zone_id(zone_id)?;
        check_token(api_token)?;
        Ok(Self {
            zone_id: zone_id.to_owned(),
            api_token: api_token.to_owned(),
            url: purge_url(ENDPOINT, zone_id)?,
            batch_max: BATCH,
            timeout: TIMEOUT,
            rate: RateLimit::new(10, Duration::from_secs(1)),
            client: client()?,
            net: Net::start()?,
        })
    }

    /// Where the API is (default: `https://api.cloudflare.com/client/v4`), for a gateway in front of it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for what is no URL, has a user, a query or a fragment, or would send the token in the
    /// clear: `http` is for this machine alone (`localhost` and loopback addresses).
    pub fn endpoint(mut self, endpoint: &str) -> Result<Self> {
        self.url = purge_url(endpoint, &self.zone_id)?;
        Ok(self)
    }

    /// Addresses of one request at most (default: 30, which every plan takes). A batch that is too large for the
    /// plan is rejected and halved.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for 0 and for more than 500.
    pub fn batch_max(mut self, urls: usize) -> Result<Self> {
        if !(1..=BATCH_MAX).contains(&urls) {
            return Err(Error::invalid(format!("a batch of {urls} addresses cannot be purged"))
                .with_hint("1 to 500; the plan of the zone says how many it takes"));
        }
        self.batch_max = urls;
        Ok(self)
    }

    /// How long one request may take, from connecting to the end of the answer (default: 30 s).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for zero and for more than an hour.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self> {
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(Error::invalid(format!("a request cannot have a timeout of {timeout:?}"))
                .with_hint("more than zero, at most an hour"));
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// How many requests go out in any window (default: 10 a second).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a rate that makes no sense.
    pub fn rate(mut self, rate: RateLimit) -> Result<Self> {
        rate.check()?;
        self.rate = rate;
        Ok(self)
    }

    /// Sends one request and waits for its answer, whatever thread this is.
    fn ask(&self, urls: &[String]) -> Result<Answer, PurgeError> {
        let request = self
            .client
            .post(self.url.clone())
            .bearer_auth(&self.api_token)
            .header(CONTENT_TYPE, "application/json")
            .timeout(self.timeout)
            .body(json!({ "files": urls }).to_string());
        // `block_on` would panic on a thread of somebody's async runtime; a channel works on every one.
        let (answered, answer) = mpsc::sync_channel(1);
        let task = self.net.handle.spawn(async move {
            // Nobody listens any more once it took too long.
            let _ = answered.send(send(request).await);
        });
        let late = || format!("Cloudflare did not answer within {:?}", self.timeout);
        let message = match answer.recv_timeout(self.timeout.saturating_add(GRACE)) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is_timeout() => late(),
            Ok(Err(error)) => format!("the request to Cloudflare failed ({})", self.shown(&chain(error))),
            Err(RecvTimeoutError::Timeout) => {
                task.abort();
                late()
            }
            Err(RecvTimeoutError::Disconnected) => "the request to Cloudflare broke off".to_owned(),
        };
        Err(PurgeError::new(PurgeFault::Transient, message))
    }

    /// What others said, fit to be shown.
    fn shown(&self, text: &str) -> String {
        // The token goes first: what is cut short could not be found any more.
        let mut text = escape(text.replace(&self.api_token, "***").as_bytes());
        if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS_MAX) {
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

impl Purge for Cloudflare {
    fn describe(&self) -> String {
        format!("cloudflare+{}", self.zone_id)
    }

    fn batch_max(&self) -> usize {
        self.batch_max
    }

    fn rate(&self) -> Option<RateLimit> {
        Some(self.rate.clone())
    }

    fn purge(&self, urls: &[String]) -> Result<(), PurgeError> {
        if urls.is_empty() {
            return Ok(());
        }
        let answer = self.ask(urls)?;
        let Err(Refusal { fault, reason }) = judge(&answer, SystemTime::now()) else {
            return Ok(());
        };
        let (what, hint) = match fault {
            PurgeFault::Transient => ("Cloudflare did not purge", ""),
            PurgeFault::Throttled(_) => ("Cloudflare asks to slow down", ""),
            PurgeFault::Denied => (
                "Cloudflare refuses the token or the zone",
                "; check the zone id, and that the token may purge the cache of this zone",
            ),
            PurgeFault::Rejected => ("Cloudflare refuses to purge these addresses", ""),
        };
        let message = format!("{what} (HTTP {}: {}){hint}", answer.status, self.shown(&reason));
        Err(PurgeError::new(fault, message))
    }
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare")
            .field("zone_id", &self.zone_id)
            .field("api_token", &"***")
            .field("url", &self.url.as_str())
            .field("batch_max", &self.batch_max)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The thread that the requests run on.
struct Net {
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Net {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            // Names are looked up on these.
            .max_blocking_threads(4)
            .thread_name("tw-net")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(
                    ErrorKind::Io,
                    format!("the thread for requests to Cloudflare cannot start: {error}"),
                )
                .with_hint("raise the limit of threads or open files of this process")
                .with_source(error)
            })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // A plain drop waits for a name that is being looked up, and panics on a thread of an async runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn client() -> Result<Client> {
    // A proxy would come from the environment, and a redirect would take the token to another host.
    let client =
        Client::builder().user_agent(USER_AGENT).no_proxy().redirect(redirect::Policy::none()).build();
    client.map_err(|error| {
        let message = format!("the HTTP client cannot be set up: {}", escape(chain(error).as_bytes()));
        Error::new(ErrorKind::Io, message)
            .with_hint("install the certificates of the system (`ca-certificates`)")
    })
}

fn check_zone_id(zone_id: &str) -> Result<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if zone_id.is_empty() || !zone_id.bytes().all(fine) {
        return Err(Error::invalid("the zone id of Cloudflare is not made of letters, digits, `-` and `_`")
            .with_hint("the overview of the zone shows its id; it is not the name of the domain"));
    }
    Ok(())
}

fn check_token(api_token: &str) -> Result<()> {
    let what = if api_token.is_empty() {
        "is empty"
    } else if api_token.len() > TOKEN_BYTES_MAX {
        "is longer than 512 bytes"
    } else if !api_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has a space, a line break or another character that no token has"
    } else {
        return Ok(());
    };
    // Never the token itself.
    Err(Error::invalid(format!("the API token for Cloudflare {what}"))
        .with_hint("copy it once more, without `Bearer` and without quotes"))
}

/// The address of the one call that is made. Nothing of a bad endpoint is repeated: it may hold a password.
fn purge_url(endpoint: &str, zone_id: &str) -> Result<Url> {
    let refuse = |why: &str| {
        Error::invalid(format!("the endpoint of Cloudflare {why}")).with_hint(format!("such as `{ENDPOINT}`"))
    };
    let mut url = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| refuse("is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("has a user or a password; the token is all that is needed"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("has a query or a fragment"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&url) => {}
        "http" => return Err(refuse("is `http`, which would show the token to everybody on the way")),
        _ => return Err(refuse("is not `https`")),
    }
    url.path_segments_mut().map_err(|()| refuse("has no path"))?.pop_if_empty().extend([
        "zones",
        zone_id,
        "purge_cache",
    ]);
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Vec<u8>,
    /// The connection ended amid the body.
    cut: bool,
}

async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let mut response = request.send().await?;
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.map(str::to_owned);
    let status = response.status().as_u16();
    let (mut body, mut cut) = (Vec::new(), false);
    while body.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            // The status has been told: a 429 without its body is a 429.
            Err(_) => {
                cut = true;
                break;
            }
        }
    }
    Ok(Answer { status, retry_after, body, cut })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    fault: PurgeFault,
    /// In the words of others.
    reason: String,
}

/// What an answer means. Only a 200 whose body says so is a success: gateways answer 200 to anything.
fn judge(answer: &Answer, now: SystemTime) -> Result<(), Refusal> {
    let json = serde_json::from_slice::<Value>(&answer.body).ok();
    let success = json.as_ref().and_then(|json| json.get("success")).and_then(Value::as_bool);
    if answer.status == 200 && success == Some(true) {
        return Ok(());
    }
    let errors = json.as_ref().map(errors).unwrap_or_default();
    let denied = errors.iter().any(|(code, _)| DENIED.contains(code));
    let fault = match answer.status {
        // No such zone, or no API at this endpoint: no address fares better.
        401 | 403 | 404 => PurgeFault::Denied,
        200 | 400 if denied => PurgeFault::Denied,
        429 => {
            PurgeFault::Throttled(answer.retry_after.as_deref().and_then(|wait| parse_retry_after(wait, now)))
        }
        // The reason might have been the token; an address is given up on a whole answer alone.
        400 | 413 if !answer.cut => PurgeFault::Rejected,
        _ => PurgeFault::Transient,
    };
    let reason = if !errors.is_empty() {
        errors.iter().map(|(code, message)| format!("{code} {message}")).collect::<Vec<_>>().join("; ")
    } else if answer.cut {
        "the answer was cut off".to_owned()
    } else if answer.body.is_empty() {
        "an empty answer".to_owned()
    } else if json.is_some() {
        "no reason given".to_owned()
    } else {
        format!("{} bytes that are no JSON", answer.body.len())
    };
    Err(Refusal { fault, reason })
}

/// Codes and messages of the errors, and of what led to each.
fn errors(json: &Value) -> Vec<(u64, &str)> {
    list(json, "errors")
        .flat_map(|error| iter::once(error).chain(list(error, "error_chain")))
        .map(|error| {
            let code = error.get("code").and_then(Value::as_u64).unwrap_or_default();
            (code, error.get("message").and_then(Value::as_str).unwrap_or_default())
        })
        .collect()
}

fn list<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    json.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// An error of the client with everything that led to it. Not where the request went: that is known.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::Receiver;
    use std::thread;

    use super::*;

    const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
    const TOKEN: &str = "s3cret-Token_0123456789";
    const PURGED: &str =
        r#"{"success":true,"errors":[],"messages":[],"result":{"id":"9a7806061c88ada191ed06f989cc3dac"}}"#;

    fn urls() -> Vec<String> {
        vec!["https://cdn.example/a%20b.jpg".to_owned(), "https://cdn.example/\"q\"\n\u{e4}".to_owned()]
    }

    fn http(status: &str, headers: &str, body: &str) -> String {
        let len = body.len();
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {len}\r\nconnection: close\r\n\r\n{body}")
    }

    fn failure(code: u32, message: &str) -> String {
        json!({ "success": false, "errors": [{ "code": code, "message": message }] }).to_string()
    }

    /// Gives one answer to each connection and tells the requests. An empty answer hangs up.
    fn serve(answers: Vec<String>) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/client/v4", listener.local_addr().unwrap());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                tell.send(read(&stream)).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (endpoint, told)
    }

    fn read(stream: &TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut request).unwrap(), 0, "{request}");
        }
        let len = request.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|len| len.trim().parse().unwrap())
        });
        let mut body = vec![0; len.unwrap()];
        reader.read_exact(&mut body).unwrap();
        request + &String::from_utf8(body).unwrap()
    }

    fn cdn(endpoint: &str) -> Cloudflare {
        let cdn = Cloudflare::new(ZONE, TOKEN).unwrap().endpoint(endpoint).unwrap();
        cdn.timeout(Duration::from_secs(20)).unwrap()
    }

    fn ask(answer: String) -> Result<(), PurgeError> {
        let (endpoint, _told) = serve(vec![answer]);
        cdn(&endpoint).purge(&urls())
    }

    #[test]
    fn a_request_is_what_the_api_documents() {
        let (endpoint, told) = serve(vec![http("200 OK", "", PURGED)]);
        assert_eq!(cdn(&endpoint).purge(&urls()), Ok(()));
        let request = told.recv_timeout(Duration::from_secs(20)).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(format!("POST /client/v4/zones/{ZONE}/purge_cache HTTP/1.1").as_str()));
        let headers: Vec<(String, &str)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(n, v)| (n.to_ascii_lowercase(), v))
            .collect();
        for (name, value) in [
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
        ] {
            let found: Vec<&str> = headers.iter().filter(|(n, _)| n == name).map(|(_, v)| *v).collect();
            assert_eq!(found, [value], "{name}");
        }
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({ "files": urls() }));
    }

    #[test]
    fn what_comes_over_the_wire_is_told_apart() {
        use PurgeFault::{Denied, Rejected, Throttled, Transient};

        let wait = |s| Throttled(Some(Duration::from_secs(s)));
        let no = "10000 Authentication error";
        let auth = failure(10000, "Authentication error");
        for (answer, fault, said) in [
            (http("200 OK", "", r#"{"success":false,"errors":[]}"#), Transient, "HTTP 200: no reason given"),
            (http("200 OK", "", &failure(1012, "Request must")), Transient, "1012 Request must"),
            (http("200 OK", "", "<html>welcome</html>"), Transient, "20 bytes that are no JSON"),
            (http("200 OK", "", ""), Transient, "an empty answer"),
            (http("200 OK", "", &auth), Denied, no),
            (
                http("400 Bad Request", "", &failure(1107, "Unable to purge")),
                Rejected,
                "HTTP 400: 1107 Unable",
            ),
            (http("401 Unauthorized", "", ""), Denied, "check the zone id"),
            (http("403 Forbidden", "", &auth), Denied, no),
            (http("429 Too Many Requests", "Retry-After: 17\r\n", ""), wait(17), "slow down (HTTP 429"),
            (
                http("429 Too Many Requests", "Retry-After: soon\r\n", "{}"),
                Throttled(None),
                "no reason given",
            ),
            (http("500 Internal Server Error", "", "oops"), Transient, "HTTP 500: 4 bytes"),
            // Nobody is followed elsewhere.
            (http("307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n", ""), Transient, "HTTP 307"),
            ("no HTTP at all\r\n\r\n".to_owned(), Transient, "request to Cloudflare failed"),
            (String::new(), Transient, "request to Cloudflare failed"),
            // Announced more than comes.
            ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"succ".to_owned(), Transient, "cut off"),
            ("HTTP/1.1 429 No\r\nretry-after: 3\r\ncontent-length: 9\r\n\r\n".to_owned(), wait(3), "cut off"),
        ] {
            let error = ask(answer.clone()).unwrap_err();
            assert_eq!(error.fault, fault, "{answer}: {error}");
            assert!(error.message.contains(said), "{answer}: {error}");
        }
    }

    #[test]
    fn an_answer_without_end_is_read_in_part() {
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(ANSWER_BYTES_MAX * 2));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read(&stream);
            // Until the other side has had enough.
            while stream.write_all(endless.as_bytes()).is_ok() {}
        });
        let error = cdn(&endpoint).purge(&urls()).unwrap_err();
        assert_eq!(error.fault, PurgeFault::Transient);
        assert!(error.message.contains("no JSON"), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_longer_than_the_timeout() {
        // Connections are taken by the system; nobody ever answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = cdn(&format!("http://{}", listener.local_addr().unwrap()));
        let cdn = cdn.timeout(Duration::from_millis(100)).unwrap();
        let error = cdn.purge(&urls()).unwrap_err();
        assert_eq!(error, PurgeError::new(PurgeFault::Transient, "Cloudflare did not answer within 100ms"));
    }

    #[test]
    fn nobody_there_is_a_failure_that_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = cdn(&endpoint).purge(&urls()).unwrap_err();
        assert_eq!(error.fault, PurgeFault::Transient);
        assert!(error.message.starts_with("the request to Cloudflare failed ("), "{error}");
    }

    #[test]
    fn it_works_from_several_threads_and_within_an_async_runtime() {
        let (endpoint, _told) = serve(vec![http("200 OK", "", PURGED); 9]);
        let cdn = cdn(&endpoint);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(cdn.purge(&urls()), Ok(())));
            }
        });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            assert_eq!(cdn.purge(&urls()), Ok(()));
            drop(cdn);
        });
    }

    #[test]
    fn nothing_is_asked_for_nothing() {
        assert_eq!(cdn("http://127.0.0.1:1").purge(&[]), Ok(()));
    }

    #[test]
    fn the_token_and_raw_control_bytes_are_never_shown() {
        let long = format!("{TOKEN} \u{1b}[31m\n\u{202e}{}{TOKEN}", "\u{e4}".repeat(5_000));
        for status in ["200 OK", "400 Bad Request", "403 Forbidden", "500 Oops"] {
            let error = ask(http(status, "", &failure(7, &long))).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(TOKEN) && !shown.contains('\u{202e}'), "{shown}");
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
            assert!(error.message.contains(r"7 *** \x1b[31m\n\u{202e}"), "{error}");
            assert!(error.message.chars().count() < SHOWN_CHARS_MAX + 150, "{error}");
        }
        let shown = format!("{0:?} {0:#?} {1}", cdn(ENDPOINT), cdn(ENDPOINT).describe());
        assert!(!shown.contains(TOKEN) && shown.contains(ZONE), "{shown}");
    }

    #[test]
    fn what_an_answer_means_depends_on_more_than_its_status() {
        use PurgeFault::{Denied, Rejected, Transient};

        let judge = |status, body: &str, cut| {
            let answer = Answer { status, retry_after: None, body: body.as_bytes().to_vec(), cut };
            super::judge(&answer, SystemTime::UNIX_EPOCH).map_err(|refusal| refusal.fault)
        };
        assert_eq!(judge(200, PURGED, false), Ok(()));
        // Nothing else is a success.
        for (status, body) in [
            (200, r#"{"success":1}"#),
            (200, r#"{"success":"true"}"#),
            (200, r#"{"Success":true}"#),
            (200, r#"[{"success":true}]"#),
            (200, r#"{"success":true} x"#),
            (200, "true"),
            (201, PURGED),
            (202, PURGED),
            (301, PURGED),
            (405, PURGED),
            (500, PURGED),
            (503, ""),
        ] {
            assert_eq!(judge(status, body, false), Err(Transient), "{status} {body}");
        }
        // A mistyped token or zone comes as a 400, and must not cost a single address.
        for code in DENIED {
            let body = failure(u32::try_from(*code).unwrap(), "");
            assert_eq!(judge(400, &body, false), Err(Denied), "{code}");
            assert_eq!(judge(200, &body, false), Err(Denied), "{code}");
            assert_eq!(judge(500, &body, false), Err(Transient), "{code}");
        }
        let chained = r#"{"errors":[{"code":1,"error_chain":[{"code":6003,"message":"x"}]}]}"#;
        assert_eq!(judge(400, chained, false), Err(Denied));
        assert_eq!(judge(404, "", false), Err(Denied));
        for body in ["", "garbage", "{}", "[]", r#"{"errors":{}}"#, r#"{"errors":[1,{"code":"6003"}]}"#] {
            assert_eq!(judge(400, body, false), Err(Rejected), "{body}");
            assert_eq!(judge(413, body, false), Err(Rejected), "{body}");
            // Half of it may have hidden the token's part in it.
            assert_eq!(judge(400, body, true), Err(Transient), "{body}");
        }
        // Deep nesting is no JSON, and no crash.
        assert_eq!(judge(200, &"[".repeat(ANSWER_BYTES_MAX), false), Err(Transient));
    }

    #[test]
    fn a_bad_argument_is_refused_and_not_repeated() {
        for zone_id in ["", " ", "a b", "a/b", "..", "example.com", "a?b", "a#b", "a\n", "\u{e4}", "a%2fb"] {
            let error = Cloudflare::new(zone_id, TOKEN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{zone_id}");
        }
        for token in ["", " ", "hunter2 x", "hunter2\n", "hunter2\u{e4}", "hunter2\0", &"hunter2".repeat(100)]
        {
            let error = Cloudflare::new(ZONE, token).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        for endpoint in [
            "",
            "api.example",
            "https://",
            "ftp://api.example",
            "file:///etc",
            "data:hunter2",
            "http://api.example/v4",
            "http://10.0.0.1",
            "http://localhost.example",
            "https://me:hunter2@api.example",
            "https://hunter2@api.example",
            "https://api.example?key=hunter2",
            "https://api.example#hunter2",
        ] {
            let error = Cloudflare::new(ZONE, TOKEN).unwrap().endpoint(endpoint).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{endpoint}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        for (endpoint, url) in [
            (ENDPOINT, "https://api.cloudflare.com/client/v4/zones/z-1_A/purge_cache"),
            ("https://gate.example", "https://gate.example/zones/z-1_A/purge_cache"),
            ("https://gate.example:8443//", "https://gate.example:8443/zones/z-1_A/purge_cache"),
            ("https://gate.example/a/b/", "https://gate.example/a/b/zones/z-1_A/purge_cache"),
            ("http://localhost:1", "http://localhost:1/zones/z-1_A/purge_cache"),
            ("http://127.9.9.9/x", "http://127.9.9.9/x/zones/z-1_A/purge_cache"),
            ("http://[::1]:8080", "http://[::1]:8080/zones/z-1_A/purge_cache"),
        ] {
            assert_eq!(purge_url(endpoint, "z-1_A").unwrap().as_str(), url);
        }
        let cdn = || Cloudflare::new(ZONE, TOKEN).unwrap();
        assert_eq!(Purge::batch_max(&cdn()), 30);
        for (urls, fine) in [(0, false), (1, true), (500, true), (501, false), (usize::MAX, false)] {
            assert_eq!(cdn().batch_max(urls).map(|cdn| Purge::batch_max(&cdn)).ok(), fine.then_some(urls));
        }
        for (timeout, fine) in [(Duration::ZERO, false), (TIMEOUT_MAX, true), (Duration::MAX, false)] {
            assert_eq!(cdn().timeout(timeout).is_ok(), fine, "{timeout:?}");
        }
    }
}
