//! A CDN that can be told to misbehave: it answers `POST /client/v4/zones/ZONE/purge_cache` as Cloudflare does,
//! and remembers every call.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// URLs of one call at most.
pub const URLS_MAX: usize = 30;

/// A client that says nothing for so long is let go of.
const SILENCE: Duration = Duration::from_secs(20);

/// Bytes of a head or a body at most: more is no call of a purge.
const BYTES_MAX: u64 = 1 << 20;

/// How one call is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// As the API would.
    Ok,
    /// 200 with `"success": false`.
    NotSuccess,
    /// 429.
    TooMany {
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// An error of the server, with a page for people instead of JSON.
    ServerError(u16),
    /// Nothing: the connection is closed after the call was read.
    Close,
}

/// One call, as the CDN saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it was read.
    pub at: Instant,
    /// `POST`, ...
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The zone in the path; empty when the path is another one.
    pub zone: String,
    /// What was to be purged, in the order in which it was named.
    pub urls: Vec<String>,
    /// Everything was to be purged.
    pub everything: bool,
    /// The right token was sent.
    pub authorized: bool,
    /// The status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// The answer said success.
    pub success: bool,
}

/// A running CDN. Dropping it stops it. Every method may be called from any thread.
pub struct FakeCdn {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    token: String,
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    next: VecDeque<Answer>,
    otherwise: Option<Answer>,
    refused: BTreeSet<String>,
}

impl FakeCdn {
    /// Starts a CDN on a free port; calls need this token.
    #[must_use]
    pub fn start(token: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            token: token.to_owned(),
            state: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { shared, address, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`, without the path of the API (`/client/v4`).
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls since the start or the last [`FakeCdn::clear_calls`], in the order in which they were answered.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state.lock().unwrap().calls.clone()
    }

    /// Forgets the calls.
    pub fn clear_calls(&self) {
        self.shared.state.lock().unwrap().calls.clear();
    }

    /// Every URL of the remembered calls that succeeded.
    #[must_use]
    pub fn purged(&self) -> BTreeSet<String> {
        let state = self.shared.state.lock().unwrap();
        state.calls.iter().filter(|call| call.success).flat_map(|call| call.urls.clone()).collect()
    }

    /// Answers a call to come in this way: the first of these the next call, and so on.
    pub fn answer_next(&self, answer: Answer) {
        self.shared.state.lock().unwrap().next.push_back(answer);
    }

    /// Answers every call in this way that [`FakeCdn::answer_next`] says nothing of; [`Answer::Ok`] ends it.
    pub fn answer_always(&self, answer: Answer) {
        self.shared.state.lock().unwrap().otherwise = Some(answer);
    }

    /// Answers 400 to every call that names this URL, and purges nothing of it.
    pub fn refuse(&self, url: &str) {
        self.shared.state.lock().unwrap().refused.insert(url.to_owned());
    }

    /// Takes everything back: all calls are answered as the API would, those of [`FakeCdn::refuse`] too.
    pub fn clear_answers(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.next.clear();
        state.otherwise = None;
        state.refused.clear();
    }
}

impl Drop for FakeCdn {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The listener sleeps until somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // One call per connection: such a thread ends by itself.
        std::thread::spawn(move || {
            let _ = serve(&stream, &shared);
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let message = Message::read(&mut BufReader::new(stream))?;
    let Some(reply) = shared.answer(&message) else { return Ok(()) };
    let mut output = stream;
    output.write_all(reply.text().as_bytes())
}

/// A request of HTTP/1.1.
struct Message {
    method: String,
    path: String,
    authorization: String,
    body: Vec<u8>,
}

impl Message {
    fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut input = input.take(BYTES_MAX);
        let first = line(&mut input)?;
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut authorization, mut length) = (String::new(), 0_u64);
        loop {
            let header = line(&mut input)?;
            let Some((name, value)) = header.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => authorization = value.trim().to_owned(),
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                _ => {}
            }
        }
        let mut body = Vec::new();
        input.take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { method: method.to_owned(), path: path.to_owned(), authorization, body })
    }

    /// The zone in the path.
    fn zone(&self) -> Option<&str> {
        let zone = self.path.strip_prefix("/client/v4/zones/")?.strip_suffix("/purge_cache")?;
        (!zone.is_empty() && !zone.contains('/')).then_some(zone)
    }
}

fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if input.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}

/// What is sent back.
struct Reply {
    status: u16,
    retry_after_s: Option<u64>,
    body: String,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, retry_after_s: None, body: body.to_string() }
    }

    fn error(status: u16, code: u32, message: &str) -> Self {
        let errors = json!([{ "code": code, "message": message }]);
        Self::json(status, &json!({ "success": false, "errors": errors, "messages": [], "result": null }))
    }

    fn text(&self) -> String {
        let kind = if self.body.starts_with('{') { "application/json" } else { "text/html" };
        let retry =
            self.retry_after_s.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 {} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{retry}Connection: close\r\n\r\n{}",
            self.status,
            self.body.len(),
            self.body
        )
    }
}

impl Shared {
    /// Remembers a call and says what to answer; `None` closes the connection.
    fn answer(&self, message: &Message) -> Option<Reply> {
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        let files = body.get("files").and_then(Value::as_array);
        let mut call = Call {
            at: Instant::now(),
            method: message.method.clone(),
            path: message.path.clone(),
            zone: message.zone().unwrap_or_default().to_owned(),
            urls: files.into_iter().flatten().filter_map(url).map(str::to_owned).collect(),
            everything: body.get("purge_everything") == Some(&Value::Bool(true)),
            authorized: message.authorization == format!("Bearer {}", self.token),
            status: None,
            success: false,
        };
        let mut state = self.state.lock().unwrap();
        let answer = state.next.pop_front().or_else(|| state.otherwise.clone()).unwrap_or(Answer::Ok);
        let reply = match answer {
            Answer::Ok => Some(rules(&call, &state.refused)),
            Answer::NotSuccess => Some(Reply::error(200, 1_100, "The purge failed")),
            Answer::TooMany { retry_after_s } => {
                let reply = Reply::error(429, 971, "Please wait and consider throttling your request speed");
                Some(Reply { retry_after_s, ..reply })
            }
            Answer::ServerError(status) => {
                let body = "<html><body>Something went wrong</body></html>".to_owned();
                Some(Reply { status, retry_after_s: None, body })
            }
            Answer::Close => None,
        };
        call.status = reply.as_ref().map(|reply| reply.status);
        call.success = reply.as_ref().is_some_and(|reply| reply.body.contains("\"success\":true"));
        state.calls.push(call);
        reply
    }
}

/// What the API answers by itself.
fn rules(call: &Call, refused: &BTreeSet<String>) -> Reply {
    if call.method != "POST" || call.zone.is_empty() {
        return Reply::error(
            404,
            7_003,
            "Could not route to the path, perhaps your object identifier is invalid",
        );
    }
    if !call.authorized {
        return Reply::error(403, 10_000, "Authentication error");
    }
    if call.urls.is_empty() && !call.everything {
        return Reply::error(
            400,
            1_012,
            "Request must contain one of purge_everything, files, tags, hosts or prefixes",
        );
    }
    if call.urls.len() > URLS_MAX {
        return Reply::error(400, 1_094, "Too many URLs in one request");
    }
    if call.urls.iter().any(|url| refused.contains(url)) {
        return Reply::error(400, 1_016, "Unable to purge: a URL is not of this zone");
    }
    let result = json!({ "id": "9a7806061c88ada191ed06f989cc3dac" });
    Reply::json(200, &json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

/// A file is a URL, or an object with the URL and the headers of a variant.
fn url(file: &Value) -> Option<&str> {
    file.as_str().or_else(|| file.get("url")?.as_str())
}
