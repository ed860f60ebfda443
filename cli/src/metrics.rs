//! `treewarden watch --metrics ADDR`: the numbers of the engine over HTTP, for Prometheus and whatever else
//! reads its text format.
//!
//! One thread answers one connection at a time, with the page or 404, and closes it. What a client may send,
//! and how long it may take, is bounded: whoever connects can make other clients wait for some seconds, and
//! nothing else. Bodies are not read, whatever length they claim.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use treewarden::Warden;

use crate::failure::Failure;
use crate::message::Message;
use crate::output::Out;
use crate::text::printable;

const PATH: &str = "/metrics";
/// What is served, as the text format 0.0.4 names itself.
const PAGE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN_TYPE: &str = "text/plain; charset=utf-8";
/// Request line and headers, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// For all of the request, and then for all of the answer.
const READ_TIME: Duration = Duration::from_secs(2);
const WRITE_TIME: Duration = Duration::from_secs(5);
/// For the client to close: its last bytes must not reset a connection whose answer is still on the way.
const LINGER_TIME: Duration = Duration::from_millis(300);
const LINGER_BYTES_MAX: usize = 64 * 1024;
/// Between two attempts when no connection can be taken.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// How long the end of the watch waits for the thread.
const END_TIME: Duration = Duration::from_millis(500);

/// Where to serve, as it is typed: `PORT`, which is for this machine only, or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Understands what was typed; no name is looked up.
    pub(crate) fn parse(typed: &str) -> Result<Address, String> {
        let Some((host, port)) = typed.rsplit_once(':') else {
            return Ok(Address { host: Ipv4Addr::LOCALHOST.to_string(), port: parse_port(typed)? });
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if host.is_empty() {
            return Err(
                "no host before the port: PORT alone is for this machine, 0.0.0.0:PORT for all".to_owned()
            );
        }
        let is_odd = |char: char| char.is_control() || char.is_whitespace() || "/[]@".contains(char);
        if host.contains(is_odd) {
            return Err("an address is PORT or HOST:PORT".to_owned());
        }
        if bracketed.is_none() && host.contains(':') {
            return Err("an IPv6 address stands in brackets: [::1]:9464".to_owned());
        }
        Ok(Address { host: host.to_owned(), port: parse_port(port)? })
    }
}

fn parse_port(typed: &str) -> Result<u16, String> {
    let is_number = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_number { typed.parse().ok() } else { None };
    port.ok_or_else(|| "an address is PORT or HOST:PORT, with a port of 0 to 65535".to_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// An address that is taken and not served yet.
pub(crate) struct Listening {
    listener: TcpListener,
    at: SocketAddr,
}

impl Listening {
    /// Takes the address.
    pub(crate) fn at(address: &Address) -> Result<Listening, Failure> {
        let bind = || -> io::Result<Listening> {
            let listener = TcpListener::bind((address.host.as_str(), address.port))?;
            let at = listener.local_addr()?;
            Ok(Listening { listener, at })
        };
        bind().map_err(|error| refused(address, &error))
    }

    /// Serves the numbers of this warden, until what it returns is dropped.
    pub(crate) fn serve(self, warden: &Warden, out: &Out) -> Result<Serving, Failure> {
        let Listening { listener, at } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, ended) = mpsc::channel();
        let (warden, is_over) = (warden.clone(), Arc::clone(&stop));
        let work = move || {
            // It is dropped at the end, however that comes.
            let _sender = sender;
            answer_all(&listener, &warden, &is_over);
        };
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(work)
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        out.say(&Message::Metrics { url: &format!("http://{at}{PATH}") });
        if !at.ip().to_canonical().is_loopback() {
            out.say(&Message::Warning {
                message: &format!("whoever reaches {at} can read the names and numbers of the roots"),
                hint: Some("give the port alone to serve this machine only"),
            });
        }
        Ok(Serving { stop, knock: reachable(at), ended })
    }
}

fn refused(address: &Address, error: &io::Error) -> Failure {
    let failure = |why: &str| Failure::new(format!("cannot serve metrics at `{address}`: {why}"));
    match error.kind() {
        ErrorKind::AddrInUse => failure("the address is in use")
            .with_hint("choose another port; 0 takes one that is free and says which"),
        ErrorKind::PermissionDenied => {
            failure(&error.to_string()).with_hint("choose a port from 1024 on; those below are the system's")
        }
        _ => failure(&error.to_string()),
    }
}

/// Where one connects to on this machine: an address for everybody is none to connect to.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let mut reachable = at;
    reachable.set_ip(ip);
    reachable
}

/// The numbers are served; no longer when this is dropped.
pub(crate) struct Serving {
    stop: Arc<AtomicBool>,
    knock: SocketAddr,
    /// Nothing is ever sent; it is closed at the end of the thread.
    ended: Receiver<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The thread waits for a connection, so it gets one. Where there is no room for it, others wait.
        let _ = TcpStream::connect_timeout(&self.knock, END_TIME);
        // With a client that dawdles the thread needs longer, and comes to its end without anybody waiting.
        let _ = self.ended.recv_timeout(END_TIME);
    }
}

fn answer_all(listener: &TcpListener, warden: &Warden, is_over: &AtomicBool) {
    loop {
        let taken = listener.accept();
        if is_over.load(Ordering::Acquire) {
            return;
        }
        match taken {
            Ok((stream, _)) => {
                // Whoever asked has gone, or was too slow: the next one may do better.
                let _ = answer(&stream, warden);
            }
            // No descriptor is free, or the client went away again.
            Err(_) => thread::sleep(AFTER_ERROR),
        }
    }
}

fn answer(stream: &TcpStream, warden: &Warden) -> io::Result<()> {
    let head = read_head(stream, Instant::now() + READ_TIME)?;
    let reply = match Asked::of(&head) {
        Asked::Page => match warden.metrics() {
            Ok(metrics) => reply("200 OK", PAGE_TYPE, &metrics.to_prometheus()),
            Err(error) => {
                reply("503 Service Unavailable", PLAIN_TYPE, &format!("{}\n", printable(error.message())))
            }
        },
        Asked::Other => reply("404 Not Found", PLAIN_TYPE, "there is /metrics here, and nothing else\n"),
        Asked::Nonsense => reply("400 Bad Request", PLAIN_TYPE, "this is no request of HTTP/1\n"),
    };
    write_all(stream, reply.as_bytes(), Instant::now() + WRITE_TIME)?;
    stream.shutdown(Shutdown::Write)?;
    linger(stream, Instant::now() + LINGER_TIME)
}

fn reply(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Page,
    Other,
    /// No HTTP, or more of it than anybody sends who wants metrics.
    Nonsense,
}

impl Asked {
    fn of(head: &[u8]) -> Asked {
        if !is_complete(head) {
            return Asked::Nonsense;
        }
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words.as_slice() else { return Asked::Nonsense };
        if !version.starts_with(b"HTTP/1.") {
            return Asked::Nonsense;
        }
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        if *method == b"GET" && path == PATH.as_bytes() { Asked::Page } else { Asked::Other }
    }
}

/// True when there is the empty line that ends the headers.
fn is_complete(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

/// Reads a request up to its body; less where it is too long.
fn read_head(mut stream: &TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut part = [0; 2 * 1024];
    while !is_complete(&head) && head.len() < HEAD_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut part) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => head.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

/// As `write_all` of the standard library, which has no deadline for the whole.
fn write_all(mut stream: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for the client to close, and passes over what it still sends.
fn linger(mut stream: &TcpStream, deadline: Instant) -> io::Result<()> {
    let mut part = [0; 2 * 1024];
    let mut passed = 0;
    while passed < LINGER_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut part)? {
            0 => break,
            count => passed += count,
        }
    }
    Ok(())
}

/// The time until then; an error when there is none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Address, Asked, reachable, reply};

    #[test]
    fn an_address_is_a_port_or_a_host_and_a_port() {
        let cases = [
            ("9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            ("65535", "127.0.0.1:65535"),
            ("localhost:9464", "localhost:9464"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:9464", "[::1]:9464"),
            ("nas.example:1", "nas.example:1"),
        ];
        for (typed, expected) in cases {
            let address = Address::parse(typed).expect(typed);
            assert_eq!(address.to_string(), expected);
            assert_eq!(Address::parse(expected), Ok(address), "{typed}");
        }
    }

    #[test]
    fn other_texts_are_no_addresses() {
        let cases = [
            ("", "PORT"),
            ("localhost", "PORT"),
            ("65536", "65535"),
            ("-1", "65535"),
            ("+80", "65535"),
            ("localhost:", "65535"),
            ("localhost:http", "65535"),
            (":9464", "no host"),
            ("[]:9464", "no host"),
            ("::1", "brackets"),
            ("::1:9464", "brackets"),
            ("http://localhost:9464", "HOST:PORT"),
            ("a b:1", "HOST:PORT"),
            ("a\n:1", "HOST:PORT"),
        ];
        for (typed, part) in cases {
            let refusal = Address::parse(typed).expect_err(typed);
            assert!(refusal.contains(part), "{typed}: {refusal}");
        }
    }

    #[test]
    fn an_address_for_everybody_is_reached_through_this_machine() {
        let cases = [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("127.0.0.1:3", "127.0.0.1:3"),
            ("10.0.0.1:4", "10.0.0.1:4"),
        ];
        for (at, expected) in cases {
            let at: SocketAddr = at.parse().expect(at);
            assert_eq!(reachable(at).to_string(), expected);
        }
    }

    #[test]
    fn there_is_one_page_and_nothing_else() {
        let cases: [(&[u8], Asked); 14] = [
            (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Page),
            (b"GET /metrics HTTP/1.0\n\n", Asked::Page),
            (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", Asked::Page),
            (b"GET /metrics HTTP/1.1\r\nContent-Length: 999999999999999999\r\n\r\n", Asked::Page),
            (b"GET / HTTP/1.1\r\n\r\n", Asked::Other),
            (b"GET /metrics/ HTTP/1.1\r\n\r\n", Asked::Other),
            (b"GET /metrics/../x HTTP/1.1\r\n\r\n", Asked::Other),
            (b"POST /metrics HTTP/1.1\r\n\r\n", Asked::Other),
            (b"get /metrics HTTP/1.1\r\n\r\n", Asked::Other),
            (b"GET /metrics\r\n\r\n", Asked::Nonsense),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", Asked::Nonsense),
            (b"GET /metrics HTTP/2\r\n\r\n", Asked::Nonsense),
            (b"\x16\x03\x01\xff\n\n", Asked::Nonsense),
            (b"GET /metrics HTTP/1.1\r\n", Asked::Nonsense),
        ];
        for (head, expected) in cases {
            assert_eq!(Asked::of(head), expected, "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn a_reply_says_how_long_it_is_in_bytes() {
        let reply = reply("200 OK", "text/plain", "für");
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfür";
        assert_eq!(reply, expected);
    }
}
