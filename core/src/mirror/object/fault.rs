//! What a failure means, and how it is told: one line, without secrets, without control characters.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use crate::path::escape;
use crate::sys::Errno;

use super::super::storage::{StorageError, StorageFault};
use super::wire::COPY_FAILED;

const MESSAGE_CHARS_MAX: usize = 500;
const HIDDEN: &str = "***";
/// A code of our own: what the store answered makes no sense, so it says nothing of what it was asked for.
pub(super) const UNREADABLE: &str = "Unreadable";
/// Before the answer of a store that came under the status 200, and that `object_store` takes for a failure.
const ANSWERED: &str = "Server returned error response: ";

/// A failure with the code that the store gave it, before it is told to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) fault: StorageFault,
    /// `NoSuchKey`, or the name of an error of the operating system; empty where there is none.
    pub(super) code: String,
    message: String,
}

impl Failure {
    pub(super) fn new(fault: StorageFault, code: &str, message: impl Into<String>) -> Self {
        Self { fault, code: code.to_owned(), message: message.into() }
    }

    pub(super) fn late(limit: Duration) -> Self {
        Self::new(StorageFault::Transient, "", format!("no answer within {} s", limit.as_secs()))
    }

    /// Of a file or a directory of this machine.
    pub(super) fn of_file(path: &Path, error: &io::Error) -> Self {
        let (fault, code) = of_io(error);
        Self::new(fault, code, format!("`{}`: {error}", escape(path.as_os_str().as_bytes())))
    }

    /// For others, who see the message.
    pub(super) fn told(self, secrets: &[String]) -> StorageError {
        StorageError::new(self.fault, scrub(&self.message, secrets))
    }

    /// Of a request that needs no object to be there.
    pub(super) fn of_put(error: &object_store::Error) -> Self {
        let mut failure = Self::of(error);
        if failure.fault == StorageFault::NotFound {
            // An upload that is not known is begun anew; else the bucket or the endpoint is not there.
            failure.fault = match failure.code.as_str() {
                "NoSuchUpload" => StorageFault::Transient,
                _ => StorageFault::Misconfigured,
            };
        }
        failure
    }

    /// Of a copy: what is too large for one is sent anew, and so is everything on a file system that has no hard
    /// links, which says that they are not permitted.
    pub(super) fn of_copy(error: &object_store::Error) -> Self {
        let mut failure = Self::of(error);
        let cannot = matches!(
            failure.code.as_str(),
            "InvalidRequest" | "InvalidArgument" | "CrossesDevices" | "PermissionDenied" | "TooManyLinks"
        );
        if cannot || failure.fault == StorageFault::Rejected {
            failure.fault = StorageFault::Unsupported;
        }
        failure
    }

    pub(super) fn of(error: &object_store::Error) -> Self {
        let mut http = None;
        let mut io = None;
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(one) = next {
            if let Some(refused) = one.downcast_ref::<Refused>() {
                return refused.failure();
            }
            http = http.or_else(|| one.downcast_ref::<HttpError>());
            io = io.or_else(|| one.downcast_ref::<io::Error>());
            next = one.source();
        }
        if let Some(http) = http {
            let code = if http.kind() == HttpErrorKind::Decode { UNREADABLE } else { "" };
            return Self::new(StorageFault::Transient, code, unreachable(http));
        }
        let text = error.to_string();
        if let Some(refused) = Refused::in_text(&text) {
            return refused.failure();
        }
        if let Some(io) = io {
            let (fault, code) = of_io(io);
            return Self::new(fault, code, text);
        }
        let fault = match error {
            object_store::Error::NotFound { .. } => StorageFault::NotFound,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                StorageFault::Denied
            }
            object_store::Error::InvalidPath { .. } => StorageFault::Rejected,
            object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
                StorageFault::Unsupported
            }
            _ => return Self::new(StorageFault::Transient, UNREADABLE, text),
        };
        Self::new(fault, "", text)
    }
}

fn of_io(error: &io::Error) -> (StorageFault, &'static str) {
    use io::ErrorKind as K;
    match error.kind() {
        K::NotFound => (StorageFault::NotFound, "NotFound"),
        K::PermissionDenied => (StorageFault::Denied, "PermissionDenied"),
        K::ReadOnlyFilesystem => (StorageFault::Denied, "ReadOnlyFilesystem"),
        K::InvalidFilename => (StorageFault::Rejected, "InvalidFilename"),
        // What a file system says of a name that it cannot hold, as FAT of one with a colon.
        K::InvalidInput => (StorageFault::Rejected, "InvalidInput"),
        _ if error.raw_os_error() == Some(Errno::ILSEQ.raw_os_error()) => (StorageFault::Rejected, "ILSEQ"),
        K::FileTooLarge => (StorageFault::Rejected, "FileTooLarge"),
        K::IsADirectory => (StorageFault::Occupied, "IsADirectory"),
        K::NotADirectory => (StorageFault::Occupied, "NotADirectory"),
        K::DirectoryNotEmpty => (StorageFault::Occupied, "DirectoryNotEmpty"),
        K::CrossesDevices => (StorageFault::Transient, "CrossesDevices"),
        K::TooManyLinks => (StorageFault::Transient, "TooManyLinks"),
        K::Unsupported => (StorageFault::Unsupported, ""),
        _ => (StorageFault::Transient, ""),
    }
}

/// Each error of a chain that says more than the one before.
fn unreachable(error: &HttpError) -> String {
    let what = match error.kind() {
        HttpErrorKind::Connect => "the store cannot be reached",
        HttpErrorKind::Timeout => "the store does not answer",
        HttpErrorKind::Decode => "the answer of the store cannot be read",
        _ => "the connection to the store broke off",
    };
    let mut text = what.to_owned();
    let mut next = error.source();
    while let Some(one) = next {
        let more = one.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = one.source();
    }
    text
}

/// What is wrong with a page of a listing, if anything is: a store that fails under the status 200, or that neither ends
/// nor goes on. `object_store` takes the one for an empty bucket and the other for the end, and an audit would then
/// miss what was not told.
pub(super) fn flaw_of_page(body: &[u8], asked: Option<&str>) -> Option<Flaw> {
    let text = String::from_utf8_lossy(body);
    if root_element(&text) == Some("Error") {
        return Some(Flaw::Refused);
    }
    let next = between(&text, "<NextContinuationToken>", "</NextContinuationToken>").map(str::trim);
    let next = next.filter(|token| !token.is_empty()).map(plain);
    let is_cut = between(&text, "<IsTruncated>", "</IsTruncated>").is_some_and(|told| told.trim() == "true");
    match next {
        None if is_cut => Some(Flaw::Strange("the listing has more pages, and the store does not say which")),
        Some(next) if asked == Some(next.as_str()) => {
            Some(Flaw::Strange("the store answers one page of the listing again and again"))
        }
        _ => None,
    }
}

/// See [`flaw_of_page`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is a refusal.
    Refused,
    /// It makes no sense.
    Strange(&'static str),
}

/// The name of the outermost element.
fn root_element(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some(declaration) = rest.strip_prefix("<?") {
        rest = declaration.split_once("?>")?.1.trim_start();
    }
    let name = rest.strip_prefix('<')?;
    name.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next()
}

/// The entity tag of an object whose parts were put together, from an answer that `object_store` takes for a failure:
/// it names the key, and looks for the words of two failures anywhere in it.
pub(super) fn tag_of_completed(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    let (_, body) = text.split_once(ANSWERED)?;
    if in_xml(body).is_some() {
        return None;
    }
    // In a key there would be no bracket: it would stand there as an entity.
    let (_, result) = body.split_once("<CompleteMultipartUploadResult")?;
    between(result, "<ETag>", "</ETag>").map(|tag| plain(tag.trim()))
}

/// An answer that is a refusal: every status from 300 on, and errors under another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    status: u16,
    wait: Option<Duration>,
    code: String,
    message: String,
}

impl Refused {
    /// From an answer: `code` where a header tells it, and the body in any form that stores use.
    pub(super) fn new(status: u16, wait: Option<Duration>, code: &str, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (mut found, mut message) = in_xml(&text).or_else(|| in_json(body)).unwrap_or_default();
        if found.is_empty() {
            code.clone_into(&mut found);
        }
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
        if found.len() > 64 || !found.bytes().all(is_word) {
            found.clear();
        }
        // Azure adds an id and a time on lines of their own.
        message.truncate(message.find('\n').unwrap_or(message.len()));
        Self { status, wait, code: found, message: message.trim().to_owned() }
    }

    /// Without these, which the request held: a store may repeat them.
    pub(super) fn without(mut self, secrets: &[String]) -> Self {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            self.message = self.message.replace(secret.as_str(), HIDDEN);
            if self.code.contains(secret.as_str()) {
                self.code.clear();
            }
        }
        self
    }

    /// Of the metadata service of this machine, which is asked for credentials.
    pub(super) fn by_machine(status: u16) -> Self {
        let message = format!("the metadata service of this machine gives no credentials (status {status})");
        let status = if status == 429 || status >= 500 { 500 } else { 401 };
        Self { status, wait: None, code: String::new(), message }
    }

    /// From the text of an error that keeps no more: a bulk deletion tells the refusals of single keys so, and
    /// S3 some failures under the status 200.
    fn in_text(text: &str) -> Option<Self> {
        if let Some((_, body)) = text.split_once(ANSWERED) {
            return Some(Self::new(200, None, "", body.as_bytes()));
        }
        let (before, code) = text.rsplit_once(" (code: ")?;
        let (_, of_key) = before.split_once("request failed for key ")?;
        let message = of_key.rsplit_once(": ").map_or("", |(_, reason)| reason).trim().to_owned();
        let code = code.strip_suffix(')').unwrap_or(code);
        // Azure gives the status for a code.
        let refused = match code.parse() {
            Ok(status) => Self::new(status, None, "", b""),
            Err(_) => Self::new(200, None, code, b""),
        };
        Some(Self { message, ..refused })
    }

    pub(super) fn fault(&self) -> StorageFault {
        match self.code.as_str() {
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "ServerBusy"
            | "TooManyRequests"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded" => StorageFault::Throttled(self.wait),
            "AccessDenied"
            | "AccountIsDisabled"
            | "AccountProblem"
            | "AllAccessDisabled"
            | "AuthenticationFailed"
            | "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "ExpiredToken"
            | "InsufficientAccountPermissions"
            | "InvalidAccessKeyId"
            | "InvalidAuthenticationInfo"
            | "InvalidSecurity"
            | "InvalidToken"
            | "MissingSecurityHeader"
            | "NoAuthenticationInformation"
            | "NotSignedUp"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
            | "SignatureDoesNotMatch"
            | "TokenRefreshRequired"
            | "invalid_client"
            | "invalid_grant"
            | "unauthorized_client" => StorageFault::Denied,
            "AuthorizationHeaderMalformed"
            | "ContainerDisabled"
            | "ContainerNotFound"
            | "IllegalLocationConstraintException"
            | "InvalidBucketName"
            | "InvalidResourceName"
            | "NoSuchBucket"
            | "PermanentRedirect" => StorageFault::Misconfigured,
            "EntityTooLarge"
            | "EntityTooSmall"
            | "InvalidObjectName"
            | "InvalidURI"
            | "InvalidUri"
            | "KeyTooLong"
            | "KeyTooLongError"
            | "OutOfRangeInput"
            | "RequestBodyTooLarge"
            | "XMinioInvalidObjectName" => StorageFault::Rejected,
            "BlobNotFound" | "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" => StorageFault::NotFound,
            "MethodNotAllowed" | "NotImplemented" | COPY_FAILED => StorageFault::Unsupported,
            _ => self.fault_of_status(),
        }
    }

    fn fault_of_status(&self) -> StorageFault {
        match self.status {
            // A bucket that is new somewhere else answers so for some minutes.
            307 => StorageFault::Transient,
            300..=399 => StorageFault::Misconfigured,
            401 | 402 | 403 | 407 => StorageFault::Denied,
            404 | 410 => StorageFault::NotFound,
            413 | 414 => StorageFault::Rejected,
            405 | 501 => StorageFault::Unsupported,
            429 | 503 => StorageFault::Throttled(self.wait),
            _ => StorageFault::Transient,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match (self.code.as_str(), self.status) {
            ("RequestTimeTooSkewed", _) => "the clock of this machine is off",
            ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => "the credentials have expired",
            ("InvalidAccessKeyId", _) => "the id of the key is not known there",
            ("SignatureDoesNotMatch", _) => "the secret does not belong to the id of the key",
            ("AuthenticationFailed" | "invalid_grant", _) => {
                "the credentials are wrong or have expired, or the clock of this machine is off"
            }
            ("AuthorizationHeaderMalformed" | "PermanentRedirect", _) | (_, 300..=399) => {
                "is the region or the endpoint another one?"
            }
            ("NoSuchBucket" | "ContainerNotFound", _) => "create it, or correct its name",
            _ => return None,
        })
    }

    fn failure(&self) -> Failure {
        let mut text = self.to_string();
        if let Some(advice) = self.advice() {
            text.push_str("; ");
            text.push_str(advice);
        }
        Failure::new(self.fault(), &self.code, text)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl StdError for Refused {}

fn in_xml(text: &str) -> Option<(String, String)> {
    let code = between(text, "<Code>", "</Code>")?;
    let message = between(text, "<Message>", "</Message>").unwrap_or_default();
    Some((code.trim().to_owned(), plain(message)))
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

/// A text of XML as it reads.
fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    // The ampersand comes last, or `&amp;lt;` would become `<`.
    for (entity, c) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        plain = plain.replace(entity, c);
    }
    plain
}

/// `{"error": "invalid_grant", "error_description": "…"}` of OAuth.
fn in_json(body: &[u8]) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = value.get("error")?.as_str()?;
    let message = value.get("error_description").and_then(serde_json::Value::as_str).unwrap_or_default();
    Some((code.to_owned(), message.to_owned()))
}

/// Makes a text fit to be told: secrets and the queries of addresses, where signatures stand, are hidden, it
/// becomes one line without control characters, and not longer than 500 characters. `secrets` has the longest
/// first.
pub(super) fn scrub(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), HIDDEN);
        }
    }
    let text = without_queries(&text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = escape(line.as_bytes());
    if line.chars().count() <= MESSAGE_CHARS_MAX {
        return line;
    }
    let mut short: String = line.chars().take(MESSAGE_CHARS_MAX - 1).collect();
    short.push('…');
    short
}

fn without_queries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`' | ')');
        let (url, tail) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let (place, has_query) = match url.split_once(['?', '#']) {
            Some((place, _)) => (place, true),
            None => (url, false),
        };
        let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(HIDDEN);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        out.push_str(path);
        if has_query {
            out.push('?');
            out.push_str(HIDDEN);
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str) -> Vec<u8> {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>why</Message></Error>")
            .into_bytes()
    }

    /// As `object_store` wraps it.
    fn wrapped(source: impl StdError + Send + Sync + 'static) -> object_store::Error {
        let http = HttpError::new(HttpErrorKind::Unknown, source);
        object_store::Error::Generic { store: "S3", source: Box::new(http) }
    }

    #[test]
    fn refusals_are_told_apart_by_code_and_status() {
        use StorageFault as F;
        let wait = Some(Duration::from_secs(7));
        for (status, code, fault) in [
            (400, "ExpiredToken", F::Denied),
            (400, "InvalidAccessKeyId", F::Denied),
            (400, "AuthorizationHeaderMalformed", F::Misconfigured),
            (400, "KeyTooLongError", F::Rejected),
            (400, "EntityTooLarge", F::Rejected),
            (400, "RequestTimeout", F::Transient),
            (400, "BadDigest", F::Transient),
            (400, "IncompleteBody", F::Transient),
            (400, "SomethingNew", F::Transient),
            (400, "invalid_grant", F::Denied),
            (401, "", F::Denied),
            (403, "", F::Denied),
            (403, "AccessDenied", F::Denied),
            (403, "RequestTimeTooSkewed", F::Denied),
            (403, "SignatureDoesNotMatch", F::Denied),
            (403, "AuthenticationFailed", F::Denied),
            (404, "", F::NotFound),
            (404, "NoSuchKey", F::NotFound),
            (404, "NoSuchUpload", F::NotFound),
            (404, "NoSuchBucket", F::Misconfigured),
            (404, "ContainerNotFound", F::Misconfigured),
            (405, "", F::Unsupported),
            (408, "", F::Transient),
            (409, "OperationAborted", F::Transient),
            (413, "", F::Rejected),
            (429, "", F::Throttled(wait)),
            (500, "InternalError", F::Transient),
            (501, "NotImplemented", F::Unsupported),
            (502, "", F::Transient),
            (503, "", F::Throttled(wait)),
            (503, "SlowDown", F::Throttled(wait)),
            (503, "ServerBusy", F::Throttled(wait)),
            (504, "", F::Transient),
            (301, "PermanentRedirect", F::Misconfigured),
            (302, "", F::Misconfigured),
            (307, "TemporaryRedirect", F::Transient),
            (200, "SlowDown", F::Throttled(wait)),
            (200, "InternalError", F::Transient),
        ] {
            let body = if code.is_empty() { Vec::new() } else { xml(code) };
            let failure = Failure::of(&wrapped(Refused::new(status, wait, "", &body)));
            assert_eq!((failure.fault, failure.code.as_str()), (fault, code), "{status} {code}");
        }
    }

    #[test]
    fn a_put_needs_no_object_and_a_copy_can_be_too_large() {
        let of = |status, code: &str| wrapped(Refused::new(status, None, "", &xml(code)));
        for (code, fault) in [
            ("NoSuchUpload", StorageFault::Transient),
            ("NoSuchKey", StorageFault::Misconfigured),
            ("NoSuchBucket", StorageFault::Misconfigured),
        ] {
            assert_eq!(Failure::of_put(&of(404, code)).fault, fault, "{code}");
        }
        for (status, code, fault) in [
            (400, "InvalidRequest", StorageFault::Unsupported),
            (400, "EntityTooLarge", StorageFault::Unsupported),
            (404, "NoSuchKey", StorageFault::NotFound),
            (500, "InternalError", StorageFault::Transient),
        ] {
            assert_eq!(Failure::of_copy(&of(status, code)).fault, fault, "{code}");
        }
    }

    #[test]
    fn what_is_said_of_one_key_or_under_200_is_understood() {
        for (text, fault) in [
            (
                "DeleteObjects request failed for key a (code: b): Access Denied (code: AccessDenied)",
                StorageFault::Denied,
            ),
            ("DeleteObjects request failed for key a: no (code: NoSuchKey)", StorageFault::NotFound),
            ("DeleteObjects request failed for key a: busy (code: SlowDown)", StorageFault::Throttled(None)),
            ("DeleteObjects request failed for key a: oh (code: InternalError)", StorageFault::Transient),
            ("Bulk delete request failed for key a: no (code: 404)", StorageFault::NotFound),
            ("Bulk delete request failed for key a: no (code: 403)", StorageFault::Denied),
            (
                "Server returned error response: <Error><Code>SlowDown</Code></Error>",
                StorageFault::Throttled(None),
            ),
            (
                "Server returned error response: <Error><Code>InternalError</Code></Error>",
                StorageFault::Transient,
            ),
            ("Got invalid list response", StorageFault::Transient),
            ("a (code: AccessDenied)", StorageFault::Transient),
        ] {
            let error = object_store::Error::Generic { store: "S3", source: text.into() };
            assert_eq!(Failure::of(&error).fault, fault, "{text}");
        }
    }

    #[test]
    fn failures_of_the_network_and_of_directories_are_understood() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let failure = Failure::of(&wrapped(reset));
        assert_eq!(failure.fault, StorageFault::Transient);
        assert!(failure.message.starts_with("the connection to the store broke off: "), "{failure:?}");
        for (kind, fault) in [
            (io::ErrorKind::NotFound, StorageFault::NotFound),
            (io::ErrorKind::PermissionDenied, StorageFault::Denied),
            (io::ErrorKind::ReadOnlyFilesystem, StorageFault::Denied),
            (io::ErrorKind::InvalidFilename, StorageFault::Rejected),
            (io::ErrorKind::NotADirectory, StorageFault::Occupied),
            (io::ErrorKind::IsADirectory, StorageFault::Occupied),
            (io::ErrorKind::DirectoryNotEmpty, StorageFault::Occupied),
            (io::ErrorKind::StorageFull, StorageFault::Transient),
            (io::ErrorKind::Other, StorageFault::Transient),
        ] {
            let source = Box::new(io::Error::from(kind));
            let error = object_store::Error::Generic { store: "LocalFileSystem", source };
            assert_eq!(Failure::of(&error).fault, fault, "{kind}");
        }
        for (kind, fault) in [
            (io::ErrorKind::NotADirectory, StorageFault::Occupied),
            (io::ErrorKind::NotFound, StorageFault::NotFound),
            (io::ErrorKind::CrossesDevices, StorageFault::Unsupported),
            (io::ErrorKind::PermissionDenied, StorageFault::Unsupported),
            (io::ErrorKind::TooManyLinks, StorageFault::Unsupported),
            (io::ErrorKind::Unsupported, StorageFault::Unsupported),
        ] {
            let source = Box::new(io::Error::from(kind));
            let error = object_store::Error::Generic { store: "LocalFileSystem", source };
            assert_eq!(Failure::of_copy(&error).fault, fault, "{kind}");
        }
        for errno in [Errno::INVAL, Errno::ILSEQ] {
            let source = Box::new(io::Error::from(errno));
            let error = object_store::Error::Generic { store: "LocalFileSystem", source };
            assert_eq!(Failure::of_put(&error).fault, StorageFault::Rejected, "{errno}");
            assert_eq!(Failure::of_copy(&error).fault, StorageFault::Unsupported, "{errno}");
        }
        let failure = Failure::of_file(Path::new("/srv/a\nb"), &io::ErrorKind::NotADirectory.into());
        assert_eq!(failure.fault, StorageFault::Occupied);
        assert!(failure.message.starts_with(r"`/srv/a\nb`: "), "{failure:?}");
    }

    #[test]
    fn an_answer_that_names_the_object_that_was_put_together_is_no_failure() {
        let complete = |key: &str, tag: &str| {
            format!(
                "Generic S3 error: Error performing POST http://h/b/{key} in 3ms - {ANSWERED}\n\
                 <?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult xmlns=\"http://h/\"><Key>{key}</Key>{tag}\
                 </CompleteMultipartUploadResult>"
            )
        };
        let refused = "<Error><Code>InternalError</Code><Resource>/b/&lt;CompleteMultipartUploadResult&gt;\
                       </Resource></Error>";
        let echoed = "<Error><Code>SlowDown</Code></Error><CompleteMultipartUploadResult><ETag>a</ETag>";
        for (text, tag) in [
            (complete("SlowDown", "<ETag>&quot;ab-2&quot;</ETag>"), Some("\"ab-2\"")),
            (complete("InternalError", "<ETag> &#34;ab-2&#34; </ETag>"), Some("\"ab-2\"")),
            (complete("SlowDown", ""), None),
            (format!("{ANSWERED}{refused}"), None),
            (format!("{ANSWERED}{echoed}"), None),
            ("<CompleteMultipartUploadResult><ETag>a</ETag>".to_owned(), None),
        ] {
            let error = object_store::Error::Generic { store: "S3", source: text.clone().into() };
            assert_eq!(tag_of_completed(&error).as_deref(), tag, "{text}");
        }
    }

    #[test]
    fn pages_that_are_none_are_found_out() {
        let strange = |flaw: Option<Flaw>| matches!(flaw, Some(Flaw::Strange(_)));
        let refused = "\u{feff}<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>";
        assert_eq!(flaw_of_page(refused.as_bytes(), None), Some(Flaw::Refused));
        for (page, asked, is_strange) in [
            ("<IsTruncated>false</IsTruncated>", None, false),
            ("<IsTruncated>true</IsTruncated>", None, true),
            ("<IsTruncated> true </IsTruncated><NextContinuationToken/>", None, true),
            (
                "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>",
                None,
                false,
            ),
            (
                "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>",
                Some("a&b"),
                true,
            ),
            (
                "<IsTruncated>true</IsTruncated><NextContinuationToken>c</NextContinuationToken>",
                Some("a&b"),
                false,
            ),
            ("<Contents><Key>&lt;Error&gt;</Key></Contents>", None, false),
        ] {
            let body = format!("<ListBucketResult xmlns=\"h\">{page}</ListBucketResult>");
            assert_eq!(strange(flaw_of_page(body.as_bytes(), asked)), is_strange, "{page}");
        }
        for odd in ["", "<", "<?", "<?x", "{}", "<Errors/>"] {
            assert_eq!(flaw_of_page(odd.as_bytes(), None), None, "{odd}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_what_to_do() {
        let body =
            b"<Error><Code>RequestTimeTooSkewed</Code><Message>It&apos;s &amp;lt;\nTime: x</Message></Error>";
        let failure = Refused::new(403, None, "", body).failure();
        assert_eq!(
            failure.message,
            "the store answered 403 RequestTimeTooSkewed: It's &lt;; the clock of this machine is off"
        );
        let json = br#"{"error": "invalid_grant", "error_description": "no"}"#;
        assert!(Refused::new(400, None, "", json).to_string().ends_with("400 invalid_grant: no"));
        assert_eq!(
            Refused::new(404, None, "BlobNotFound", b"").to_string(),
            "the store answered 404 BlobNotFound"
        );
        let body = b"<Error><Code>InvalidToken</Code><Message>tok+en= is no token</Message></Error>";
        assert_eq!(
            Refused::new(400, None, "", body).without(&[String::new(), "tok+en=".to_owned()]).to_string(),
            "the store answered 400 InvalidToken: *** is no token"
        );
        for odd in [&b"<html>502</html>"[..], b"\xff\0", b"<Code>", b"{}", b"[1", b"<Code>a b\n</Code>"] {
            assert_eq!(Refused::new(502, None, "", odd).to_string(), "the store answered 502");
        }
    }

    #[test]
    fn messages_hold_no_secret_and_are_one_short_line() {
        let secrets = ["hush/hush".to_owned(), "hush".to_owned(), String::new()];
        for (text, told) in [
            ("plain", "plain"),
            ("a hush b hush/hush c", "a *** b *** c"),
            ("PUT https://h/a?sig=x&b#c d", "PUT https://h/a?*** d"),
            ("(https://h/a?sig=x)", "(https://h/a?***)"),
            ("\"http://id:pw@h:1/a\" https://x@h", "\"http://***@h:1/a\" https://***@h"),
            ("what? no: a@b", "what? no: a@b"),
            ("a\r\n\tb\x1b[31m\u{202e}", r"a b\x1b[31m\u{202e}"),
            ("", ""),
        ] {
            assert_eq!(scrub(text, &secrets), told, "{text}");
        }
        let long = scrub(&"ü ".repeat(2_000), &[]);
        assert_eq!(long.chars().count(), 500);
        assert!(long.ends_with('…'));
    }
}
