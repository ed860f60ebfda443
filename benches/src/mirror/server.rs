//! The S3 server that all contenders send to: [`Backend`] behind hyper, in a child process on a port of this machine. Both ends of that
//! are here.
//!
//! It counts what it is asked for. Paths below `/__` are the harness's own and are not counted; no bucket has such a name. It ends when
//! its standard input does, so that it never outlives the harness.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse, S3Result};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::Result;
use crate::child;
use crate::measure::{Record, parse_record, record};
use crate::process;

use super::backend::Backend;
use super::task::Task;

pub(super) const ACCESS_KEY: &str = "BENCHKEY";
pub(super) const SECRET_KEY: &str = "BENCHSECRET";
pub(super) const REGION: &str = "us-east-1";

const THREADS: usize = 2;
/// What is under way may take so long at the end.
const END: Duration = Duration::from_secs(10);

/// What the paths of the harness begin with, and the words that follow.
const OWN: &str = "/__";
const COUNT: &str = "count";
const MAKE: &str = "make";
const REMOVE: &str = "remove";
const TOTALS: &str = "totals";

// ---------------------------------------------------------------------------------- the harness's end

/// A running server. It stops when this is dropped; its folder stays.
pub(super) struct Server {
    process: Child,
    pub(super) port: u16,
    /// Open to the end, or the last line of the child would have nowhere to go.
    _answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server that keeps its buckets in a folder, which must hold nothing.
    pub(super) fn start(folder: &Path) -> Result<Server> {
        fs::create_dir_all(folder)?;
        let mut process = child::command(child::Task::Mirror(Task::Serve), folder, folder, THREADS, 0)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut answers = BufReader::new(process.stdout.take().ok_or("the server has no output")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let port = line.trim().parse::<u16>().map_err(|_| "the S3 server did not start");
        // From here on dropping it ends the process.
        let mut server = Server { process, port: 0, _answers: answers };
        server.port = port?;
        Ok(server)
    }

    /// Makes an empty bucket, in place of one that has this name.
    pub(super) fn make(&self, bucket: &str) -> Result<()> {
        self.ask(&format!("{OWN}{MAKE}/{bucket}")).map(drop)
    }

    /// Removes a bucket and everything in it.
    pub(super) fn remove(&self, bucket: &str) -> Result<()> {
        self.ask(&format!("{OWN}{REMOVE}/{bucket}")).map(drop)
    }

    /// Requests since the start.
    pub(super) fn requests(&self) -> Result<f64> {
        figure(&self.ask(&format!("{OWN}{COUNT}"))?, "requests")
    }

    /// The most memory that the server has used.
    pub(super) fn peak_bytes(&self) -> Result<f64> {
        figure(&self.ask(&format!("{OWN}{COUNT}"))?, "peak_bytes")
    }

    /// Objects of a bucket, and their bytes.
    pub(super) fn totals(&self, bucket: &str) -> Result<(u64, u64)> {
        let totals = self.ask(&format!("{OWN}{TOTALS}/{bucket}"))?;
        Ok((figure(&totals, "objects")? as u64, figure(&totals, "bytes")? as u64))
    }

    fn ask(&self, path: &str) -> Result<Record> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("the server gave no answer")?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the server, asked for {path}: {body}").into());
        }
        parse_record(body.as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn figure(record: &Record, name: &str) -> Result<f64> {
    Ok(record.get(name).copied().ok_or_else(|| format!("the server does not tell its {name}"))?)
}

// ---------------------------------------------------------------------------------- the child's end

/// Serves until standard input ends. The first line that it prints is the port.
pub(super) fn serve(folder: &Path) -> Result<Record> {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let port = listener.local_addr()?.port();
    let backend = Backend::new(folder);
    let mut builder = S3ServiceBuilder::new(backend.clone());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    builder.set_access(Anybody);
    let shared = Arc::new(Shared { s3: builder.build(), backend, requests: AtomicU64::new(0) });
    runtime.spawn(accept(listener, Arc::clone(&shared)));
    println!("{port}");
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    runtime.shutdown_timeout(END);
    Ok(shared.counts())
}

/// Lets requests without a signature in: the floor makes none. One that is there must be right.
struct Anybody;

#[async_trait::async_trait]
impl S3Access for Anybody {
    async fn check(&self, _context: &mut S3AccessContext<'_>) -> S3Result<()> {
        Ok(())
    }
}

struct Shared {
    s3: S3Service,
    backend: Backend,
    requests: AtomicU64,
}

impl Shared {
    fn counts(&self) -> Record {
        record([
            ("requests", self.requests.load(Ordering::Relaxed) as f64),
            ("peak_bytes", process::memory().peak_bytes),
        ])
    }

    /// What the harness asks for: `WORD`, or `WORD/BUCKET`.
    fn own(&self, words: &str) -> Result<Record> {
        let (word, bucket) = words.split_once('/').unwrap_or((words, ""));
        match word {
            COUNT => Ok(self.counts()),
            MAKE => self.backend.make(bucket).map(|()| Record::new()),
            REMOVE => self.backend.remove(bucket).map(|()| Record::new()),
            TOTALS => {
                let (objects, bytes) = self.backend.totals(bucket).ok_or("there is no such bucket")?;
                Ok(record([("objects", objects as f64), ("bytes", bytes as f64)]))
            }
            other => Err(format!("unknown word `{other}`").into()),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: others are closed soon.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move { answer(&shared, request).await }
        });
        // It fails when a client goes away, and that is its own affair.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(shared: &Arc<Shared>, request: hyper::Request<Incoming>) -> Result<HttpResponse> {
    if let Some(words) = request.uri().path().strip_prefix(OWN) {
        let (shared, words) = (Arc::clone(shared), words.to_owned());
        // Removing a bucket takes its time.
        return tokio::task::spawn_blocking(move || own_answer(shared.own(&words))).await?;
    }
    shared.requests.fetch_add(1, Ordering::Relaxed);
    Ok(shared.s3.call(request.map(Body::from)).await?)
}

/// Figures that are not told would be `null` in JSON, which is no figure: they are left out.
fn own_answer(figures: Result<Record>) -> Result<HttpResponse> {
    let (status, text) = match figures {
        Ok(mut figures) => {
            figures.retain(|_, value| value.is_finite());
            (StatusCode::OK, serde_json::to_string(&figures)?)
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut response = HttpResponse::new(Body::from(text));
    *response.status_mut() = status;
    Ok(response)
}
