//! A web service on this machine. It counts what arrives by its own clock, knows versions, and misbehaves
//! when it is told to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::Random;

/// What goes wrong with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 429, to be left alone for a second.
    TooMany,
    /// 404.
    Unknown,
    /// 500.
    Broken,
    /// The connection ends before there is an answer.
    Cut,
    /// The connection ends in the middle of the body.
    Half,
    /// A body that is no JSON.
    Garbage,
    /// A good answer that takes so many milliseconds.
    Slow(u64),
}

/// One request, in the order and at the time in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// Which start of the program has sent it.
    pub(crate) generation: u32,
    /// Path and query.
    pub(crate) target: String,
    /// 0 where the connection was cut.
    pub(crate) status: u16,
}

/// Clones are the same server. It serves until the test process ends.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    arrivals: Vec<Arrival>,
    served: Vec<Fault>,
    faults: HashMap<String, VecDeque<Fault>>,
    revisions: HashMap<String, u32>,
    held: HashSet<String>,
    etags: bool,
    latency_ms_max: u64,
    random: Random,
}

/// What is sent back.
struct Reaction {
    wait: Duration,
    bytes: Vec<u8>,
    ends: bool,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let state = State {
            arrivals: Vec::new(),
            served: Vec::new(),
            faults: HashMap::new(),
            revisions: HashMap::new(),
            held: HashSet::new(),
            etags: true,
            latency_ms_max: 0,
            random: Random(1),
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let server = Server { address: listener.local_addr().unwrap(), state };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = accepting.clone();
                // A client that is killed ends the connection somehow.
                thread::spawn(move || drop(server.serve(stream)));
            }
        });
        server
    }

    /// The base address for one start of the program: it tells whose requests are whose, also of those that
    /// were under way when it was killed.
    pub(crate) fn url(&self, generation: u32) -> String {
        format!("http://{}/g{generation}", self.address)
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.with(|state| state.arrivals.clone())
    }

    /// The targets that were asked for since there were `from` arrivals, in order of their names.
    pub(crate) fn asked(&self, from: usize) -> Vec<String> {
        let mut asked: Vec<String> =
            self.arrivals().into_iter().skip(from).map(|arrival| arrival.target).collect();
        asked.sort();
        asked
    }

    pub(crate) fn count(&self, matches: impl Fn(&Arrival) -> bool) -> usize {
        self.with(|state| state.arrivals.iter().filter(|arrival| matches(arrival)).count())
    }

    /// The faults that have met a request so far.
    pub(crate) fn served(&self) -> Vec<Fault> {
        self.with(|state| state.served.clone())
    }

    /// The next answers about `target`, one after another.
    pub(crate) fn misbehave(&self, target: &str, faults: impl IntoIterator<Item = Fault>) {
        self.with(|state| state.faults.insert(target.to_owned(), faults.into_iter().collect()));
    }

    /// There is news about `target`.
    pub(crate) fn revise(&self, target: &str) {
        self.with(|state| *state.revisions.entry(target.to_owned()).or_default() += 1);
    }

    pub(crate) fn without_etags(&self) {
        self.with(|state| state.etags = false);
    }

    /// Every answer takes up to so long.
    pub(crate) fn take_time(&self, latency_ms_max: u64) {
        self.with(|state| state.latency_ms_max = latency_ms_max);
    }

    /// Requests for `target` get no answer before it is released.
    pub(crate) fn hold(&self, target: &str) {
        self.with(|state| state.held.insert(target.to_owned()));
    }

    pub(crate) fn release(&self, target: &str) {
        self.with(|state| state.held.remove(target));
        self.state.1.notify_all();
    }

    /// The document that `target` stands for now.
    pub(crate) fn document(&self, target: &str) -> String {
        self.with(|state| state.document(target))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.0.lock().unwrap())
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some((path, known)) = read_request(&mut reader)? {
            let (generation, target) = split_generation(&path);
            let reaction = self.with(|state| state.react(generation, target, known.as_deref()));
            thread::sleep(reaction.wait);
            let mut state = self.state.0.lock().unwrap();
            while state.held.contains(target) {
                state = self.state.1.wait(state).unwrap();
            }
            drop(state);
            stream.write_all(&reaction.bytes)?;
            if reaction.ends {
                break;
            }
        }
        Ok(())
    }
}

impl State {
    fn document(&self, target: &str) -> String {
        let revision = self.revisions.get(target).copied().unwrap_or_default();
        let id = id(target);
        format!(r#"{{"id":{id},"of":"{target}","release_date":"2001-02-03","revision":{revision}}}"#)
    }

    /// Counts a request, and decides what becomes of it, in one moment: arrivals are in the order of time.
    fn react(&mut self, generation: u32, target: &str, known: Option<&str>) -> Reaction {
        let fault = self.faults.get_mut(target).and_then(VecDeque::pop_front);
        self.served.extend(fault);
        let document = self.document(target);
        let etag = format!("\"{}\"", id(&document));
        let is_known = self.etags && known == Some(&etag);
        let tag = if self.etags { format!("etag: {etag}\r\n") } else { String::new() };
        let (status, bytes) = match fault {
            Some(Fault::TooMany) => (429, answer(429, "retry-after: 1\r\n", "{}")),
            Some(Fault::Unknown) => (404, answer(404, "", "{}")),
            Some(Fault::Broken) => (500, answer(500, "", "<html>")),
            Some(Fault::Cut) => (0, Vec::new()),
            Some(Fault::Half) => {
                let mut whole = answer(200, &tag, &document);
                whole.truncate(whole.len() - document.len() / 2);
                (200, whole)
            }
            Some(Fault::Garbage) => (200, answer(200, &tag, "{\"id\": 7, \"of\": ")),
            Some(Fault::Slow(_)) | None if is_known => {
                (304, format!("HTTP/1.1 304 X\r\n{tag}\r\n").into_bytes())
            }
            Some(Fault::Slow(_)) | None => (200, answer(200, &tag, &document)),
        };
        let wait_ms = match fault {
            Some(Fault::Slow(ms)) => ms,
            _ => self.random.below(self.latency_ms_max + 1),
        };
        let target = target.to_owned();
        self.arrivals.push(Arrival { at: Instant::now(), generation, target, status });
        let ends = matches!(fault, Some(Fault::Cut | Fault::Half));
        Reaction { wait: Duration::from_millis(wait_ms), bytes, ends }
    }
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let bytes = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {bytes}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Path and `If-None-Match` of the next request; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<(String, Option<String>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut known = None;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("if-none-match") => {
                known = Some(value.trim().to_owned());
            }
            Some(_) => {}
            None => return Ok(Some((path, known))),
        }
    }
}

/// `/g3/movie?…` is `/movie?…` in generation 3.
fn split_generation(path: &str) -> (u32, &str) {
    let rest = path.strip_prefix("/g").unwrap_or(path);
    let digits = rest.find('/').unwrap_or(0);
    (rest[..digits].parse().unwrap_or_default(), &rest[digits..])
}

/// A number for a text, the same every time.
pub(crate) fn id(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
}
