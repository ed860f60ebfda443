//! HTTP: one client for everything `object_store` sends.
//!
//! Two things `object_store` alone does not do: a refusal keeps its status, its code and what it says about
//! waiting, and nothing is taken from the environment, where a proxy may be set.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

use crate::work::parse_retry_after;

use super::super::storage::StorageFault;
use super::fault::Refused;

const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
/// What is read of the body of a refusal.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Codes of our own, for copies of Azure that are not there, although its answer is no refusal.
pub(super) const COPY_PENDING: &str = "PendingCopyOperation";
pub(super) const COPY_FAILED: &str = "CopyFailed";

/// What a hand-written `async_trait` function answers.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Returns a client. Redirects are not followed: the signature of a request holds for one host alone, and the
/// content should not go to another one.
pub(super) fn client(http_may_be: bool) -> object_store::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("treewarden/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        // One connection for all parts of a file would be the limit of its speed.
        .http1_only()
        .https_only(!http_may_be)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .build()
        .map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })
}

#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        Ok(HttpClient::new(Wire(client(http)?)))
    }
}

#[derive(Debug)]
struct Wire(reqwest::Client);

impl Wire {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // For Google, `object_store` signs with an empty token what was to have no signature.
        let is_empty = |token: &[u8]| token.trim_ascii_end() == b"Bearer";
        if request.headers().get("authorization").is_some_and(|value| is_empty(value.as_bytes())) {
            request.headers_mut().remove("authorization");
        }
        let is_head = request.method().as_str() == "HEAD";
        let response = HttpService::call(&self.0, request).await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        if status < 300 {
            let unfinished = header("x-ms-copy-status").filter(|state| is_head && *state != "success");
            let code = unfinished.map(|state| if state == "pending" { COPY_PENDING } else { COPY_FAILED });
            let Some(code) = code else { return Ok(response) };
            return Err(HttpError::new(HttpErrorKind::Unknown, Refused::new(409, None, code, b"")));
        }
        let wait = header("retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()));
        // The answer to a HEAD has no body.
        let code = header("x-ms-error-code").unwrap_or_default().to_owned();
        let body = beginning(response.into_body()).await;
        let refused = Refused::new(status, wait, &code, &body);
        // The kind decides whether `object_store` sends a part again; see `parts`.
        let kind = match refused.fault() {
            StorageFault::Transient => HttpErrorKind::Interrupted,
            _ => HttpErrorKind::Unknown,
        };
        Err(HttpError::new(kind, refused))
    }
}

/// The desugared form of `async_trait`, by which `object_store` declares it.
impl HttpService for Wire {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Answer<'async_trait, Result<HttpResponse, HttpError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

/// What came of a body before it ended, broke off or grew too long: the status says enough without it.
async fn beginning(body: HttpResponseBody) -> Vec<u8> {
    let mut stream = body.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_BYTES_MAX {
            bytes.truncate(BODY_BYTES_MAX);
            break;
        }
    }
    bytes
}
