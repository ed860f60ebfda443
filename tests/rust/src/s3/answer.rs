//! Bodies that are counted and answers that are spoilt.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use s3s::{Body, HttpResponse, StdError};
use tokio::time::Sleep;

/// Time for what was written before to reach the socket, before the connection is closed.
const BEFORE_CLOSING: Duration = Duration::from_millis(20);

/// The body of a request, whose bytes are counted as they are read.
pub(super) struct Counted {
    inner: Incoming,
    read: Arc<AtomicU64>,
}

impl Counted {
    pub(super) fn new(inner: Incoming, read: Arc<AtomicU64>) -> Self {
        Self { inner, read }
    }

    /// Reads until so many bytes are there, or until the end.
    pub(super) async fn read(&mut self, bytes: u64) {
        while self.read.load(Ordering::Relaxed) < bytes {
            match self.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.read.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The reason of a connection that is closed on purpose.
pub(super) fn closed() -> StdError {
    "the test wants this connection closed".into()
}

/// An error as S3 writes it.
pub(super) fn error(status: u16, code: &str, resource: &str, retry_after_s: Option<u64>) -> HttpResponse {
    let resource = resource.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>The test wants \
         {code}.</Message><Resource>{resource}</Resource><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    );
    let mut answer = HttpResponse::new(Body::from(xml));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Reads an answer to its end: the last step of a multipart upload may happen while its answer is read.
pub(super) async fn read_whole(answer: HttpResponse) -> Result<Bytes, StdError> {
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// Ends the connection after so many bytes of the body.
pub(super) async fn cut(answer: HttpResponse, bytes: u64) -> Result<HttpResponse, StdError> {
    let (mut head, body) = answer.into_parts();
    let whole = body.collect().await?.to_bytes();
    let Some(longest) = whole.len().checked_sub(1) else { return Err(closed()) };
    let kept = usize::try_from(bytes).unwrap_or(usize::MAX).min(longest);
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    let body = Cut {
        data: Some(whole.slice(..kept)),
        announced: whole.len() as u64,
        pause: Box::pin(tokio::time::sleep(BEFORE_CLOSING)),
    };
    Ok(HttpResponse::from_parts(head, Body::http_body_unsync(body)))
}

/// A body that promises more than it has, and then fails.
struct Cut {
    data: Option<Bytes>,
    announced: u64,
    /// hyper throws away what it has not written yet when a body fails: it gets the time to write it.
    pause: Pin<Box<Sleep>>,
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(data) = this.data.take().filter(|data| !data.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        ready!(this.pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(closed())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

/// Replaces the entity tag in the header, and those in the body where it is XML.
pub(super) async fn wrong_etag(answer: HttpResponse) -> Result<HttpResponse, StdError> {
    let (mut head, mut body) = answer.into_parts();
    if let Some(tag) = head.headers.get(ETAG).and_then(|tag| tag.to_str().ok()) {
        let other = HeaderValue::from_str(&another_tag(tag))?;
        head.headers.insert(ETAG, other);
    }
    let is_xml = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"xml"));
    if is_xml {
        let whole = body.collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&whole);
        let mut pieces = text.split("<ETag>");
        let mut spoilt = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (tag, rest) = piece.split_once("</ETag>").unwrap_or((piece, ""));
            spoilt.push_str("<ETag>");
            spoilt.push_str(&another_tag(tag));
            spoilt.push_str("</ETag>");
            spoilt.push_str(rest);
        }
        // The answer to a HEAD has a length and no body.
        if !whole.is_empty() {
            head.headers.remove(TRANSFER_ENCODING);
            head.headers.remove(CONTENT_LENGTH);
        }
        body = Body::from(spoilt);
    }
    Ok(HttpResponse::from_parts(head, body))
}

/// The first 32 hex digits, each turned into another one; quotes and the number of parts stay.
fn another_tag(tag: &str) -> String {
    let digits = tag.as_bytes().windows(32).position(|window| window.iter().all(u8::is_ascii_hexdigit));
    let Some(at) = digits else { return tag.to_owned() };
    let turned: String = tag[at..at + 32]
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| char::from_digit(15 - value, 16)).unwrap_or(digit))
        .collect();
    format!("{}{turned}{}", &tag[..at], &tag[at + 32..])
}

#[cfg(test)]
mod tests {
    use super::another_tag;

    #[test]
    fn another_tag_has_the_same_shape() {
        assert_eq!(
            another_tag("\"d41d8cd98f00b204e9800998ecf8427e\""),
            "\"2be2732670ff4dfb167ff6671307bd81\""
        );
        assert_eq!(
            another_tag("&quot;d41d8cd98f00b204e9800998ecf8427e-3&quot;"),
            "&quot;2be2732670ff4dfb167ff6671307bd81-3&quot;"
        );
        assert_eq!(another_tag("short"), "short");
    }
}
