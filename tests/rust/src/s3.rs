//! A real S3 server for the tests of mirrors: `s3s-fs` behind hyper on a socket of this machine, with a log of
//! what it was asked for and faults that can be switched on while it runs.
//!
//! Only the faults and the log are ours, and what `backend` puts right. What a test claims about the
//! content of a bucket comes from the disk ([`S3Server::objects`]), not from answers of the server.

mod answer;
mod backend;
mod disk;
mod faults;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest, HttpResponse, StdError};
use tokio::runtime::{Builder, Runtime};

pub use faults::{Fault, Faults, When};

use answer::Counted;
use backend::Backend;
use disk::Disk;
use faults::Asked;

/// The access key that the server knows.
pub const ACCESS_KEY: &str = "AKTEST";

/// The secret that belongs to [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "SKTEST";

/// The region that clients may name. The server takes any.
pub const REGION: &str = "us-east-1";

/// One request, as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// `/bucket/key`, percent-decoded.
    pub path: String,
    /// What follows the question mark, as it was sent. Empty without one.
    pub query: String,
    /// The status of the answer; `None` while there is none, and for good when the connection was closed
    /// without one.
    pub status: Option<u16>,
    /// Bytes of the body that were read.
    pub body_bytes: u64,
    /// The faults that met it.
    pub faults: Vec<Fault>,
}

/// A running S3 server. Dropping it stops it; the objects stay on disk.
///
/// Every method may be called from any thread, but not from inside an asynchronous runtime.
pub struct S3Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl S3Server {
    /// Starts a server on a free port; `dir` holds its buckets, those of an earlier server too.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        let disk = Arc::new(Disk::new(dir));
        let mut builder = S3ServiceBuilder::new(Backend::new(Arc::clone(&disk)));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Arc::new(Shared {
            s3: builder.build(),
            disk,
            faults: Faults::default(),
            log: Mutex::new(Vec::new()),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("test-s3")
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address, runtime: Some(runtime) }
    }

    /// `http://127.0.0.1:PORT`; buckets are in the path.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an empty bucket. One that is there already stays as it is.
    pub fn create_bucket(&self, bucket: &str) {
        self.shared.disk.create_bucket(bucket);
    }

    /// Every object of a bucket, key → content, read from the disk.
    #[must_use]
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        self.shared.disk.objects(bucket)
    }

    /// One object, read from the disk.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.shared.disk.read(bucket, key)
    }

    /// What was stored with an object: `content_type`, `cache_control`, `content_encoding`, ...
    #[must_use]
    pub fn attribute(&self, bucket: &str, key: &str, name: &str) -> Option<String> {
        self.shared.disk.attribute(bucket, key, name)
    }

    /// Puts an object behind the back of everybody: no request, no attributes.
    pub fn put_object(&self, bucket: &str, key: &str, bytes: &[u8]) {
        self.shared.disk.put(bucket, key, bytes);
    }

    /// Removes an object behind the back of everybody; says whether it was there.
    pub fn remove_object(&self, bucket: &str, key: &str) -> bool {
        self.shared.disk.remove(bucket, key)
    }

    /// Multipart uploads that were begun and neither completed nor aborted.
    #[must_use]
    pub fn uploads_open(&self, bucket: &str) -> usize {
        self.shared.disk.uploads_open(bucket)
    }

    /// The requests since the start or the last [`S3Server::clear_requests`], in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().iter().map(|line| line.show()).collect()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// What goes wrong from now on.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

/// What all connections need.
struct Shared {
    s3: S3Service,
    disk: Arc<Disk>,
    faults: Faults,
    log: Mutex<Vec<Arc<Line>>>,
}

impl Shared {
    fn write_down(&self, asked: &Asked, faults: &[Fault]) -> Arc<Line> {
        let line = Arc::new(Line {
            method: asked.method.clone(),
            path: asked.path.clone(),
            query: asked.query.clone(),
            faults: faults.to_vec(),
            status: OnceLock::new(),
            body_bytes: Arc::default(),
        });
        self.log.lock().unwrap().push(Arc::clone(&line));
        line
    }
}

/// One line of the log; its last two fields are filled in while the request is served.
struct Line {
    method: String,
    path: String,
    query: String,
    faults: Vec<Fault>,
    status: OnceLock<u16>,
    body_bytes: Arc<AtomicU64>,
}

impl Line {
    fn show(&self) -> Request {
        Request {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            status: self.status.get().copied(),
            body_bytes: self.body_bytes.load(Ordering::Relaxed),
            faults: self.faults.clone(),
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) -> Infallible {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
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
            async move { serve(&shared, request).await }
        });
        // It fails when a fault or the client closes the connection: that is what is wanted.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Serves one request. An error closes the connection without an answer.
async fn serve(shared: &Shared, request: hyper::Request<Incoming>) -> Result<HttpResponse, StdError> {
    let (head, body) = request.into_parts();
    let asked = Asked::new(&head);
    let faults = shared.faults.decide(&asked);
    let line = shared.write_down(&asked, &faults);
    let mut body = Counted::new(body, Arc::clone(&line.body_bytes));
    let mut last = None;
    for fault in faults {
        match fault {
            Fault::Delay(time) => tokio::time::sleep(time).await,
            other => last = Some(other),
        }
    }
    let answer = match last {
        None | Some(Fault::Delay(_)) => carry_out(shared, head, body).await?,
        Some(Fault::CutRequestAfter(bytes)) => {
            body.read(bytes).await;
            return Err(answer::closed());
        }
        Some(Fault::Status { status, code, retry_after_s }) => {
            body.read(u64::MAX).await;
            answer::error(status, &code, &asked.path, retry_after_s)
        }
        Some(Fault::OkWithErrorBody { code }) => {
            body.read(u64::MAX).await;
            answer::error(200, &code, &asked.path, None)
        }
        Some(Fault::CutResponseAfter(bytes)) => {
            answer::cut(carry_out(shared, head, body).await?, bytes).await?
        }
        Some(Fault::LoseResponse) => {
            answer::read_whole(carry_out(shared, head, body).await?).await?;
            return Err(answer::closed());
        }
        Some(Fault::WrongEtag) => answer::wrong_etag(carry_out(shared, head, body).await?).await?,
    };
    let _ = line.status.set(answer.status().as_u16());
    Ok(answer)
}

/// Lets the real server work on a task of its own: a client that goes away after its last byte was read does not
/// stop what it asked for half-way, as little as it does elsewhere.
async fn carry_out(
    shared: &Shared,
    head: hyper::http::request::Parts,
    body: Counted,
) -> Result<HttpResponse, StdError> {
    let s3 = shared.s3.clone();
    let request: HttpRequest = hyper::Request::from_parts(head, Body::http_body_unsync(body));
    Ok(tokio::spawn(async move { s3.call(request).await }).await??)
}
