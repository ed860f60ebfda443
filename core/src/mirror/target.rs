//! Where the objects of a mirror go: no secret is part of it, so it is kept in the state file.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::{percent_decode_str, percent_encode};

use crate::bytes::{Malformed, Put, Take};
use crate::error::{Error, Result};

use super::credentials::Credentials;
use super::key::{ENCODED, KeyMap, is_well_encoded};
use super::object::ObjectStorage;
use super::storage::{LocalStorage, Storage};

/// Where objects go: a bucket, a container, a directory, or nowhere because the files are served from where they
/// lie.
///
/// ```
/// use treewarden::mirror::Target;
///
/// let target = Target::s3("photos").endpoint("https://minio.example.org:9000");
/// assert!(target.check().is_ok());
/// let (target, prefix) = Target::parse("s3://photos/img")?;
/// assert_eq!((target.to_string().as_str(), prefix.as_str()), ("s3://photos", "img"));
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    place: Place,
    endpoint: Option<String>,
    region: Option<String>,
    virtual_hosted: bool,
    public_url: Option<String>,
    opaque_etags: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    S3 { bucket: String },
    Gcs { bucket: String },
    Azure { account: String, container: String },
    Directory(PathBuf),
    Local { base_url: String },
}

impl Target {
    fn of(place: Place) -> Self {
        Self {
            place,
            endpoint: None,
            region: None,
            virtual_hosted: false,
            public_url: None,
            opaque_etags: false,
        }
    }

    /// A bucket of S3, or of a store that speaks its language: then with [`Target::endpoint`].
    #[must_use]
    pub fn s3(bucket: impl Into<String>) -> Self {
        Self::of(Place::S3 { bucket: bucket.into() })
    }

    /// A bucket of Google Cloud Storage.
    #[must_use]
    pub fn gcs(bucket: impl Into<String>) -> Self {
        Self::of(Place::Gcs { bucket: bucket.into() })
    }

    /// A container of Azure Blob Storage.
    #[must_use]
    pub fn azure(account: impl Into<String>, container: impl Into<String>) -> Self {
        Self::of(Place::Azure { account: account.into(), container: container.into() })
    }

    /// A directory of this machine, with an absolute path. It must be there; what is put into it is on disk when
    /// it is acknowledged.
    #[must_use]
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::Directory(plain(&path.into())))
    }

    /// The files as they lie, which a server shows below this address: nothing is sent and nothing deleted, and
    /// each file has an address.
    #[must_use]
    pub fn local(base_url: impl Into<String>) -> Self {
        Self::of(Place::Local { base_url: trimmed(base_url.into()) })
    }

    /// Reads a target and the prefix in it: `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`,
    /// `az://ACCOUNT/CONTAINER[/PREFIX]`, `file:///DIR` or `local+https://HOST/BASE`. The prefix stands as it is,
    /// the directory percent-encoded; these two have no prefix.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else. A user name, a password or a query is refused, and no error shows the
    /// URL: credentials are given apart.
    pub fn parse(url: &str) -> Result<(Self, String)> {
        if url.chars().any(char::is_control) {
            return Err(malformed("holds a control character"));
        }
        if let Some(base) = url.strip_prefix("local+") {
            let target = Self::local(base);
            target.check()?;
            return Ok((target, String::new()));
        }
        if let Some(path) = url.strip_prefix("file://") {
            if !path.starts_with('/') {
                return Err(malformed("names no absolute directory after `file://`"));
            }
            if !is_well_encoded(path) || path.contains(['?', '#']) {
                return Err(malformed("holds a `%`, `?` or `#` that is not percent-encoded"));
            }
            let path: Vec<u8> = percent_decode_str(path).collect();
            let target = Self::directory(OsString::from_vec(path));
            target.check()?;
            return Ok((target, String::new()));
        }
        let (target, prefix) = if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = first(rest);
            (Self::s3(bucket), prefix)
        } else if let Some(rest) = url.strip_prefix("gs://") {
            let (bucket, prefix) = first(rest);
            (Self::gcs(bucket), prefix)
        } else if let Some(rest) = url.strip_prefix("az://") {
            let (account, rest) = first(rest);
            let (container, prefix) = first(rest);
            (Self::azure(account, container), prefix)
        } else {
            return Err(malformed("has none of the beginnings that are known"));
        };
        // An endpoint may follow, and with it other rules for names; `check` has the last word.
        target.check_names(true)?;
        if prefix.contains(['?', '#']) {
            return Err(malformed("holds a query or a fragment"));
        }
        Ok((target, KeyMap::new(prefix)?.prefix().to_owned()))
    }

    /// Sends requests to this address instead of the store's own: `https://HOST[:PORT]`, or `http://` where you
    /// take it upon yourself that others can read along. For Azure the account may follow as a path, as an
    /// emulator wants it.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(plain_url(&trimmed(url.into())));
        self
    }

    /// Sets the region of an S3 bucket (default `us-east-1`).
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Puts the name of an S3 bucket into the host name, not into the path (default false).
    #[must_use]
    pub fn virtual_hosted(mut self, yes: bool) -> Self {
        self.virtual_hosted = yes;
        self
    }

    /// Sets what the addresses of the objects begin with, for those who read them: a CDN, most often. Without it
    /// the mirror has no URL map.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = Some(trimmed(url.into()));
        self
    }

    /// Tells that the entity tags of an S3 bucket are no MD5 sums, as with KMS encryption (default false). Else
    /// what the store answers is compared with what was sent.
    #[must_use]
    pub fn opaque_etags(mut self, yes: bool) -> Self {
        self.opaque_etags = yes;
        self
    }

    /// Returns the address that requests are sent to, where it is not the store's own.
    #[must_use]
    pub fn get_endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Returns the region of an S3 bucket, where one was set.
    #[must_use]
    pub fn get_region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Returns whether the name of the bucket is part of the host name.
    #[must_use]
    pub fn get_virtual_hosted(&self) -> bool {
        self.virtual_hosted
    }

    /// Returns what the addresses of the objects begin with.
    #[must_use]
    pub fn get_public_url(&self) -> Option<&str> {
        match &self.place {
            Place::Local { base_url } => Some(base_url),
            _ => self.public_url.as_deref(),
        }
    }

    /// Returns whether entity tags are no MD5 sums.
    #[must_use]
    pub fn get_opaque_etags(&self) -> bool {
        self.opaque_etags
    }

    /// Returns the name of the bucket, or the container.
    #[must_use]
    pub fn get_bucket(&self) -> Option<&str> {
        match &self.place {
            Place::S3 { bucket } | Place::Gcs { bucket } => Some(bucket),
            Place::Azure { container, .. } => Some(container),
            Place::Directory(_) | Place::Local { .. } => None,
        }
    }

    /// The directory, for a target that is one.
    pub(super) fn dir(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where it is, for people and for telling one target from another: as [`Target::parse`] reads it, and the
    /// endpoint, where there is one.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.endpoint {
            Some(endpoint) if check_url("the endpoint", endpoint, true).is_ok() => {
                format!("{self} at {endpoint}")
            }
            _ => self.to_string(),
        }
    }

    /// Fails for a target that cannot be. Nothing is sent.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: a name that no bucket has, an address that is none, a setting that this kind of target
    /// does not have.
    pub fn check(&self) -> Result<()> {
        self.check_names(self.endpoint.is_some())?;
        self.check_settings()?;
        if let Some(endpoint) = &self.endpoint {
            check_url("the endpoint", endpoint, matches!(self.place, Place::Azure { .. }))?;
            if self.virtual_hosted && host_of(endpoint).parse::<IpAddr>().is_ok() {
                return Err(Error::invalid("the name of a bucket cannot be part of an IP address")
                    .with_hint("leave `virtual_hosted` out, or give the endpoint by name"));
            }
        }
        if let Some(url) = &self.public_url {
            check_url("the public URL", url, true)?;
        }
        Ok(())
    }

    fn check_names(&self, relaxed: bool) -> Result<()> {
        match &self.place {
            Place::S3 { bucket } => check_bucket("bucket", bucket, relaxed, "-."),
            Place::Gcs { bucket } => check_bucket("bucket", bucket, relaxed, "-._"),
            Place::Azure { account, container } => {
                let length = if relaxed { 1..=63 } else { 3..=24 };
                let fits = |b: u8| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || (relaxed && (b == b'-' || b == b'_'))
                };
                if !length.contains(&account.len()) || !account.bytes().all(fits) {
                    return Err(Error::invalid("no Azure account has such a name")
                        .with_hint("3 to 24 characters: a-z and 0-9"));
                }
                // Two names with a meaning of their own: the site of an account, and its top.
                if matches!(container.as_str(), "$web" | "$root") {
                    return Ok(());
                }
                check_bucket("container", container, relaxed, "-")
            }
            Place::Directory(path) => {
                let bytes = path.as_os_str().as_bytes();
                if !path.is_absolute() || bytes.contains(&0) {
                    return Err(Error::invalid("the directory needs an absolute path").with_path(bytes));
                }
                Ok(())
            }
            Place::Local { base_url } => check_url("the base URL", base_url, true),
        }
    }

    fn check_settings(&self) -> Result<()> {
        let is_s3 = matches!(self.place, Place::S3 { .. });
        let is_remote = !matches!(self.place, Place::Directory(_) | Place::Local { .. });
        let is_local = matches!(self.place, Place::Local { .. });
        for (what, set, fits) in [
            ("an endpoint", self.endpoint.is_some(), is_remote),
            ("a region", self.region.is_some(), is_s3),
            ("`virtual_hosted`", self.virtual_hosted, is_s3),
            ("`opaque_etags`", self.opaque_etags, is_s3),
            ("a public URL beside its base URL", self.public_url.is_some(), !is_local),
        ] {
            if set && !fits {
                return Err(Error::invalid(format!("a target of this kind has no use for {what}"))
                    .with_hint("leave it out"));
            }
        }
        let is_region = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match &self.region {
            Some(region) if !(1..=64).contains(&region.len()) || !region.bytes().all(is_region) => {
                Err(Error::invalid("no region has such a name").with_hint("as in `eu-central-1`"))
            }
            _ => Ok(()),
        }
    }

    /// Connects. No request is made; the first use tells whether the store is there.
    ///
    /// Threads of its own wait for the network from now on, until the storage is dropped. May be called from any
    /// thread.
    ///
    /// # Errors
    ///
    /// As [`Target::check`]; `InvalidArgument` for credentials that are missing, malformed or for another kind of
    /// store; `NotFound`, `PermissionDenied` or `Io` for a directory; `Io` when no thread can be started.
    pub fn connect(&self, credentials: &Credentials) -> Result<Arc<dyn Storage>> {
        self.check()?;
        credentials.check(&self.place)?;
        match &self.place {
            Place::Local { base_url } => Ok(Arc::new(LocalStorage::new(base_url))),
            _ => Ok(Arc::new(ObjectStorage::connect(self, credentials)?)),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match &self.place {
            Place::S3 { bucket } => {
                out.push(1);
                out.put_bytes(bucket.as_bytes());
            }
            Place::Gcs { bucket } => {
                out.push(2);
                out.put_bytes(bucket.as_bytes());
            }
            Place::Azure { account, container } => {
                out.push(3);
                out.put_bytes(account.as_bytes());
                out.put_bytes(container.as_bytes());
            }
            Place::Directory(path) => {
                out.push(4);
                out.put_bytes(path.as_os_str().as_bytes());
            }
            Place::Local { base_url } => {
                out.push(5);
                out.put_bytes(base_url.as_bytes());
            }
        }
        for text in [&self.endpoint, &self.region, &self.public_url] {
            out.push(u8::from(text.is_some()));
            if let Some(text) = text {
                out.put_bytes(text.as_bytes());
            }
        }
        out.push(u8::from(self.virtual_hosted));
        out.push(u8::from(self.opaque_etags));
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let place = match take.u8()? {
            1 => Place::S3 { bucket: take.string()? },
            2 => Place::Gcs { bucket: take.string()? },
            3 => Place::Azure { account: take.string()?, container: take.string()? },
            4 => Place::Directory(plain(Path::new(OsStr::from_bytes(take.bytes()?)))),
            5 => Place::Local { base_url: take.string()? },
            _ => return Err(Malformed),
        };
        Ok(Self {
            place,
            endpoint: optional(take)?.map(|url| plain_url(&trimmed(url))),
            region: optional(take)?,
            public_url: optional(take)?,
            virtual_hosted: flag(take)?,
            opaque_etags: flag(take)?,
        })
    }
}

/// As [`Target::parse`] reads it, without a prefix.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::S3 { bucket } => write!(f, "s3://{}", shown(bucket)),
            Place::Gcs { bucket } => write!(f, "gs://{}", shown(bucket)),
            Place::Azure { account, container } => write!(f, "az://{}/{}", shown(account), shown(container)),
            Place::Directory(path) => {
                write!(f, "file://{}", percent_encode(path.as_os_str().as_bytes(), ENCODED))
            }
            // What is no base URL may hold a password.
            Place::Local { base_url } if check_url("", base_url, true).is_err() => f.write_str("local+?"),
            Place::Local { base_url } => write!(f, "local+{base_url}"),
        }
    }
}

/// A name that may not have been checked yet.
fn shown(name: &str) -> &str {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'$');
    if name.bytes().all(fits) { name } else { "?" }
}

fn optional(take: &mut Take<'_>) -> Result<Option<String>, Malformed> {
    if flag(take)? { take.string().map(Some) } else { Ok(None) }
}

fn flag(take: &mut Take<'_>) -> Result<bool, Malformed> {
    match take.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

fn trimmed(mut url: String) -> String {
    url.truncate(url.trim_end_matches('/').len());
    url
}

/// One way to write a path: without a slash at its end, double ones and steps to where it is already. A step up stays,
/// for what it leads to may be a link.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// One way to write an address: the host in lower case, and no port that goes without saying. What is no address stays
/// none.
fn plain_url(url: &str) -> String {
    let (scheme, default_port, rest) = match url.split_once("://") {
        Some(("https", rest)) => ("https", 443, rest),
        Some(("http", rest)) => ("http", 80, rest),
        _ => return url.to_owned(),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_odd = |b: u8| !b.is_ascii_graphic() || matches!(b, b'@' | b'?' | b'#');
    if authority.bytes().any(is_odd) {
        return url.to_owned();
    }
    let (host, port) = split_port(authority);
    let is_default = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port == default_port)
    };
    // A colon that is left would have been the port.
    let is_host = !host.is_empty() && (host.starts_with('[') || !host.contains(':'));
    let port = match port {
        Some(port) if is_host && is_default(port) => String::new(),
        Some(port) => format!(":{port}"),
        None => String::new(),
    };
    format!("{scheme}://{}{port}{path}", host.to_ascii_lowercase())
}

/// The first component and the rest after it.
fn first(rest: &str) -> (&str, &str) {
    rest.split_once('/').unwrap_or((rest, ""))
}

fn malformed(why: &str) -> Error {
    Error::invalid(format!("the URL of a target {why}")).with_hint(
        "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX, file:///DIR or \
         local+https://HOST/BASE; credentials are given apart",
    )
}

/// Checks a name by the rules of the store's own service, or, for a store that only speaks its language, by those
/// of an address. The name is not shown: it may be a secret in the wrong place.
fn check_bucket(what: &str, name: &str, relaxed: bool, marks: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::invalid(format!("the name of the {what} {why}")).with_hint(
            "3 to 63 characters: a-z, 0-9 and `-`, for most stores `.`, with a letter or digit at both ends",
        ))
    };
    let marks = if relaxed { "-._" } else { marks };
    let is_mark = |b: u8| marks.as_bytes().contains(&b);
    let is_inner = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || is_mark(b) || (relaxed && b.is_ascii_uppercase())
    };
    if name.is_empty() {
        return wrong("is empty");
    }
    if !name.bytes().all(is_inner) {
        return wrong("has a character that none has");
    }
    if matches!(name, "." | "..") {
        return wrong("is a step in a path");
    }
    let length = if relaxed { 1..=255 } else { 3..=63 };
    if !length.contains(&name.len()) {
        return wrong("is too short or too long");
    }
    if relaxed {
        return Ok(());
    }
    if [name.bytes().next(), name.bytes().next_back()].into_iter().flatten().any(is_mark) {
        return wrong("begins or ends with a mark");
    }
    if name.contains("..") || (marks == "-" && name.contains("--")) {
        return wrong("has two marks in a row");
    }
    if name.parse::<IpAddr>().is_ok() {
        return wrong("is an IP address");
    }
    Ok(())
}

/// Checks `http(s)://host[:port]`, with a path where there may be one. The address is not shown: what is wrong
/// with it may be the password in it.
fn check_url(what: &str, url: &str, path_may_be: bool) -> Result<()> {
    let wrong = |why: &str| {
        let form = if path_may_be { "https://HOST[:PORT][/PATH]" } else { "https://HOST[:PORT]" };
        Err(Error::invalid(format!("{what} {why}")).with_hint(format!("it has the form {form}")))
    };
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return wrong("begins with neither `https://` nor `http://`");
    };
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return wrong("holds a space, a control character or one outside ASCII");
    }
    if rest.contains(['?', '#']) {
        return wrong("has a query or a fragment");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return wrong("holds a user name or a password");
    }
    let (host, port) = split_port(authority);
    let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_host = match is_v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    if !is_host {
        return wrong("names no host");
    }
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return wrong("has a port that is none");
    }
    if !path.is_empty() && !path_may_be {
        return wrong("has a path");
    }
    if path.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']) || !is_well_encoded(path) {
        return wrong("has a path that is not percent-encoded");
    }
    Ok(())
}

/// Splits `host[:port]`; an IPv6 address keeps its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.rfind(':') {
        Some(at) if at >= after_brackets => {
            let (host, port) = authority.split_at(at);
            (host, port.strip_prefix(':'))
        }
        _ => (authority, None),
    }
}

/// The host of an address, without brackets.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, _) = split_port(rest.split('/').next().unwrap_or(rest));
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn all() -> Vec<Target> {
        vec![
            Target::s3("bucket"),
            Target::s3("Any_Bucket")
                .endpoint("http://127.0.0.1:9000/")
                .region("eu-central-1")
                .public_url("https://cdn.example.org/img/")
                .opaque_etags(true),
            Target::s3("bucket").endpoint("https://s3.example.org").virtual_hosted(true),
            Target::gcs("my_bucket.example").public_url("https://example.org"),
            Target::azure("account", "container"),
            Target::azure("devstoreaccount1", "$web").endpoint("http://127.0.0.1:10000/devstoreaccount1"),
            Target::directory("/srv/a b%"),
            Target::local("https://example.org/base/"),
        ]
    }

    #[test]
    fn what_makes_sense_is_taken() {
        for target in all() {
            target.check().unwrap_or_else(|error| panic!("{target:?}: {error}"));
        }
        for url in ["https://h", "http://h:1", "https://[::1]:9000", "https://h/a%20b/c+d", "http://10.0.0.1"]
        {
            check_url("it", url, true).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        assert_eq!(Target::local("https://h/b/").get_public_url(), Some("https://h/b"));
        assert_eq!(Target::s3("b").endpoint("https://h/").get_endpoint(), Some("https://h"));
    }

    #[test]
    fn what_cannot_be_is_refused_without_being_shown() {
        let bucket = || Target::s3("bucket");
        for target in [
            Target::s3(""),
            Target::s3("ab"),
            Target::s3("a".repeat(64)),
            Target::s3("Hush"),
            Target::s3("hush_hush"),
            Target::s3("-hush"),
            Target::s3("hush."),
            Target::s3("hu..sh"),
            Target::s3("192.168.0.1"),
            Target::s3("hush/hush"),
            Target::s3("..").endpoint("https://h"),
            Target::s3("hush:hush").endpoint("https://h"),
            Target::gcs("Hush"),
            Target::azure("hush-hush", "container"),
            Target::azure("account", "hu--sh"),
            Target::azure("account", "$hush"),
            Target::directory("hush"),
            Target::local("hush"),
            Target::local("https://id:hush@example.org"),
            Target::local("https://example.org").public_url("https://example.org"),
            Target::local("https://example.org").endpoint("https://example.org"),
            Target::directory("/srv").region("eu"),
            Target::gcs("bucket").region("eu"),
            Target::gcs("bucket").virtual_hosted(true),
            Target::azure("account", "container").opaque_etags(true),
            bucket().region(""),
            bucket().region("hush hush"),
            bucket().endpoint(""),
            bucket().endpoint("hush"),
            bucket().endpoint("ftp://hush"),
            bucket().endpoint("https://"),
            bucket().endpoint("https://:80"),
            bucket().endpoint("https://id:hush@h"),
            bucket().endpoint("https://hush/@h"),
            bucket().endpoint("https://h:hush"),
            bucket().endpoint("https://h:65536"),
            bucket().endpoint("https://h:0"),
            bucket().endpoint("https://h:+1"),
            bucket().endpoint("https://[hush]"),
            bucket().endpoint("https://h/hush"),
            bucket().endpoint("https://h?hush"),
            bucket().endpoint("https://h#hush"),
            bucket().endpoint("https://h\nhush"),
            bucket().endpoint("https://h ush"),
            bucket().endpoint("https://10.0.0.1:9000").virtual_hosted(true),
            bucket().endpoint("https://[::1]").virtual_hosted(true),
            bucket().public_url("https://h/a b"),
            bucket().public_url("https://h/%hush"),
            bucket().public_url("https://h/<hush>"),
            bucket().public_url("https://id:hush@h/a"),
        ] {
            let error = target.check().expect_err(&format!("{target:?}"));
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{target:?}: {error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn urls_are_read() -> Result<()> {
        for (url, target, prefix) in [
            ("s3://bucket", Target::s3("bucket"), ""),
            ("s3://bucket/", Target::s3("bucket"), ""),
            ("s3://My_Bucket/a/b+c%20/", Target::s3("My_Bucket"), "a/b+c%20"),
            ("gs://bucket/a", Target::gcs("bucket"), "a"),
            ("az://account/container/a@b", Target::azure("account", "container"), "a@b"),
            ("file:///srv/a%20b", Target::directory("/srv/a b"), ""),
            ("local+https://h:8080/base/", Target::local("https://h:8080/base"), ""),
        ] {
            assert_eq!(Target::parse(url)?, (target, prefix.to_owned()), "{url}");
        }
        for target in all() {
            let plain = Target::of(target.place.clone());
            assert_eq!(Target::parse(&plain.to_string())?, (plain, String::new()));
        }
        Ok(())
    }

    #[test]
    fn urls_that_hold_credentials_are_refused_without_being_shown() {
        for url in [
            "",
            "hush",
            "s3:/hush",
            "s3://",
            "s3:///hush",
            "s3://id:hush@bucket",
            "s3://id:hu/hush@bucket/p",
            "s3://bucket/a?X-Amz-Signature=hush",
            "s3://bucket/a#hush",
            "s3://bucket/../hush\n",
            "az://account",
            "az://account?hush/container",
            "file://hush/srv",
            "file:///srv/%hush",
            "file:///srv?hush",
            "local+ftp://hush",
            "local+https://id:hush@h",
            "https://hush",
        ] {
            let error = Target::parse(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}: {error}");
            assert!(!error.to_string().contains("hush"), "{url}: {error}");
        }
        let unchecked = Target::local("https://id:hush@h");
        assert!(!unchecked.to_string().contains("hush") && !unchecked.describe().contains("hush"));
        let unchecked = Target::s3("hush@b").endpoint("https://id:hush@h");
        assert!(!unchecked.describe().contains("hush"));
    }

    #[test]
    fn one_place_is_written_in_one_way() {
        for (path, plain) in [
            ("/srv/a", "/srv/a"),
            ("/srv/a/", "/srv/a"),
            ("/srv//a///", "/srv/a"),
            ("/./srv/./a/.", "/srv/a"),
            ("/srv/b/../a", "/srv/b/../a"),
            ("/", "/"),
            ("//", "/"),
            ("a/", "a"),
            ("", ""),
        ] {
            let target = Target::directory(path);
            assert_eq!(target.dir(), Some(Path::new(plain)), "{path}");
            // Not only as paths, which are compared by their components.
            assert_eq!(target.describe(), format!("file://{plain}"), "{path}");
        }
        assert_eq!(Target::parse("file:///srv//a%20b/").unwrap().0.describe(), "file:///srv/a%20b");
        for (endpoint, plain) in [
            ("https://S3.Example.org/", "https://s3.example.org"),
            ("https://h:443", "https://h"),
            ("https://h:0443/", "https://h"),
            ("https://h:80", "https://h:80"),
            ("http://h:80", "http://h"),
            ("http://H:443", "http://h:443"),
            ("https://[FE80::1]:443", "https://[fe80::1]"),
            ("https://[fe80::443]", "https://[fe80::443]"),
            ("http://127.0.0.1:10000/DevStore/", "http://127.0.0.1:10000/DevStore"),
            // What is none is made none the more.
            ("https://h:443:443", "https://h:443:443"),
            ("https://:443", "https://:443"),
            ("https://h:", "https://h:"),
            ("https://h:+443", "https://h:+443"),
            ("https://Id:Hush@H:443", "https://Id:Hush@H:443"),
            ("https://H?A", "https://H?A"),
            ("HTTPS://H", "HTTPS://H"),
            ("https://", "https:"),
            ("", ""),
        ] {
            let target = Target::s3("bucket").endpoint(endpoint);
            assert_eq!(target.get_endpoint(), Some(plain), "{endpoint}");
        }
    }

    #[test]
    fn a_row_from_before_is_of_the_same_place() {
        for (old, new) in [
            (Place::Directory(PathBuf::from("/srv/a/")), Target::directory("/srv/a")),
            (Place::Directory(PathBuf::from("/srv/./a//b")), Target::directory("/srv/a/b")),
        ] {
            let mut row = Vec::new();
            Target::of(old).encode(&mut row);
            let read = Target::decode(&mut Take(&row)).unwrap();
            assert_eq!((read.describe(), &read), (new.describe(), &new));
        }
        let mut old = Target::s3("bucket");
        old.endpoint = Some("https://H:443/".to_owned());
        let mut row = Vec::new();
        old.encode(&mut row);
        assert_eq!(Target::decode(&mut Take(&row)), Ok(Target::s3("bucket").endpoint("https://h")));
    }

    #[test]
    fn two_stores_with_the_same_bucket_are_told_apart() {
        let described = |target: Target| target.describe();
        assert_eq!(described(Target::s3("b")), "s3://b");
        assert_eq!(described(Target::s3("b").endpoint("https://h:9000")), "s3://b at https://h:9000");
    }

    #[test]
    fn rows_are_read_back_and_any_bytes_are_refused_or_read() {
        for target in all() {
            let mut row = Vec::new();
            target.encode(&mut row);
            let end = row.len();
            row.push(7);
            let mut take = Take(&row);
            assert_eq!(Target::decode(&mut take), Ok(target));
            assert_eq!(take.u8(), Ok(7), "what follows is left");
            for at in 0..end {
                assert_eq!(Target::decode(&mut Take(&row[..at])), Err(Malformed), "cut at {at}");
                for byte in [0, 1, 6, 0x7f, 0x80, 0xff] {
                    let mut bent = row.clone();
                    bent[at] = byte;
                    let _ = Target::decode(&mut Take(&bent));
                }
            }
        }
    }

    #[test]
    fn credentials_are_checked_before_anything_else() {
        for target in [Target::s3("bucket"), Target::gcs("bucket"), Target::azure("account", "container")] {
            let Err(error) = target.connect(&Credentials::none()) else {
                panic!("{target} needs credentials")
            };
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
        assert!(Target::local("https://h").connect(&Credentials::none()).is_ok());
    }
}
