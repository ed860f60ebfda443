//! HTTP: one client for everything `object_store` sends.
//!
//! Two things `object_store` alone does not do: a refusal keeps its status, its code and what it says about
//! waiting, and nothing is taken from the environment, where a proxy may be set.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

use crate::work::parse_retry_after;

use super::super::storage::StorageFault;
use super::fault::{Flaw, Refused, flaw_of_page};

const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
/// What is read of the body of a refusal.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The longest answer of any other kind: a page of a listing or the answer to a deletion has one or two MiB at most.
/// Objects are never fetched.
const ANSWER_BYTES_MAX: usize = 32 << 20;

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
        let page = Page::asked_for(&request);
        let secrets = secrets_of(&request);
        let response = HttpService::call(&self.0, request).await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        if status < 300 {
            let unfinished = header("x-ms-copy-status").filter(|state| is_head && *state != "success");
            let code = unfinished.map(|state| if state == "pending" { COPY_PENDING } else { COPY_FAILED });
            let Some(code) = code else {
                if is_head {
                    return Ok(response);
                }
                return whole(response, page.as_ref(), &secrets).await;
            };
            return Err(HttpError::new(HttpErrorKind::Unknown, Refused::new(409, None, code, b"")));
        }
        let wait = header("retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()));
        // The answer to a HEAD has no body.
        let code = header("x-ms-error-code").unwrap_or_default().to_owned();
        let body = beginning(response.into_body()).await;
        Err(failed(Refused::new(status, wait, &code, &body).without(&secrets)))
    }
}

fn failed(refused: Refused) -> HttpError {
    // The kind decides whether `object_store` sends a part again; see `parts`.
    let kind = match refused.fault() {
        StorageFault::Transient => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, refused)
}

/// A page of a listing that is asked for.
struct Page {
    /// Where it begins, but for the first.
    token: Option<String>,
}

impl Page {
    fn asked_for(request: &HttpRequest) -> Option<Self> {
        let query = request.uri().query().filter(|_| request.method().as_str() == "GET")?;
        if !query.split('&').any(|pair| pair.starts_with("list-type=") || pair == "comp=list") {
            return None;
        }
        let url = reqwest::Url::parse(&request.uri().to_string()).ok()?;
        let token = url.query_pairs().find(|(name, _)| name == "continuation-token");
        Some(Self { token: token.map(|(_, token)| token.into_owned()) })
    }
}

/// The tokens in a request. Those that were fetched are in no other list of secrets.
fn secrets_of(request: &HttpRequest) -> Vec<String> {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let tokens = [bearer, header("x-amz-security-token")];
    tokens.into_iter().flatten().map(|token| token.trim().to_owned()).collect()
}

/// The answer with all of its body, which is looked at where it is a page of a listing.
async fn whole(
    response: HttpResponse,
    page: Option<&Page>,
    secrets: &[String],
) -> Result<HttpResponse, HttpError> {
    let strange = |why: &'static str| {
        HttpError::new(HttpErrorKind::Decode, io::Error::new(io::ErrorKind::InvalidData, why))
    };
    let status = response.status().as_u16();
    let (head, body) = response.into_parts();
    let mut stream = body.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(strange("it is longer than 32 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    if let Some(page) = page {
        match flaw_of_page(&bytes, page.token.as_deref()) {
            Some(Flaw::Refused) => {
                return Err(failed(Refused::new(status, None, "", &bytes).without(secrets)));
            }
            Some(Flaw::Strange(why)) => return Err(strange(why)),
            None => {}
        }
    }
    Ok(HttpResponse::from_parts(head, HttpResponseBody::from(Bytes::from(bytes))))
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

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    #[test]
    fn a_request_tells_its_page_and_its_tokens() {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        for (uri, token) in [
            ("http://h/b?list-type=2&prefix=a%2F", Some(None)),
            ("http://h/b?prefix=a&continuation-token=a%2Bb+c&list-type=2", Some(Some("a+b c"))),
            ("http://h/c?restype=container&comp=list", Some(None)),
            ("http://h/c/a?comp=blocklist", None),
            ("http://h/b/a", None),
        ] {
            *request.uri_mut() = uri.parse().unwrap();
            let page = Page::asked_for(&request);
            assert_eq!(page.as_ref().map(|page| page.token.as_deref()), token, "{uri}");
        }
        assert_eq!(secrets_of(&request), [""; 0]);
        let headers = request.headers_mut();
        headers.insert("authorization", "Bearer fetched ".parse().unwrap());
        headers.insert("x-amz-security-token", "of-role".parse().unwrap());
        assert_eq!(secrets_of(&request), ["fetched", "of-role"]);
        request.headers_mut().insert("authorization", "AWS4-HMAC-SHA256 a".parse().unwrap());
        assert_eq!(secrets_of(&request), ["of-role"]);
    }
}
