//! The object store and the CDN that the tests of mirrors rely on: they serve, they remember, and they fail in the
//! ways they are told to. Requests are plain bytes here, so that no client repeats them or hides what came back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use s3s::crypto::{Checksum, Sha256};
use s3s::dto::{Timestamp, TimestampFormat};
use support::cdn::{Answer, FakeCdn, URLS_MAX};
use support::s3::{ACCESS_KEY, Fault, REGION, S3Server, SECRET_KEY, When};

const BUCKET: &str = "bucket";

/// What came back; a status of `None` when it was less than a head.
struct Reply {
    status: Option<u16>,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends a request without any signature and reads until the server closes.
fn ask(endpoint: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let host = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(support::HANG)).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    // A server that closes early makes the rest of the writing and of the reading fail: what came is what counts.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut raw = Vec::new();
    let mut buffer = [0_u8; 4096];
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            break;
        }
        raw.extend_from_slice(&buffer[..read]);
    }
    let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Reply { status: None, head: String::new(), body: raw };
    };
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Reply { status, head, body: raw[end + 4..].to_vec() }
}

/// Sends a request signed with the key of the server. The query is sorted and encoded already.
fn signed(server: &S3Server, method: &str, path: &str, query: &str, body: &[u8]) -> Reply {
    let endpoint = server.endpoint();
    let host = endpoint.strip_prefix("http://").unwrap();
    let time = now();
    let day = &time[..8];
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{time}\n\n\
         {names}\nUNSIGNED-PAYLOAD"
    );
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::checksum(canonical.as_bytes())));
    let mut key = hmac(format!("AWS4{SECRET_KEY}").as_bytes(), day.as_bytes());
    for step in [REGION, "s3", "aws4_request"] {
        key = hmac(&key, step.as_bytes());
    }
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    let headers = [
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-date", time.as_str()),
        ("authorization", authorization.as_str()),
    ];
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    ask(&endpoint, method, &target, &headers, body)
}

/// The time as `20261231T235959Z`.
fn now() -> String {
    let mut text = Vec::new();
    Timestamp::from(SystemTime::now()).format(TimestampFormat::DateTime, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let whole = text.split(['.', 'Z']).next().unwrap();
    format!("{}Z", whole.replace(['-', ':'], ""))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::checksum(&[&padded(0x36)[..], text].concat());
    Sha256::checksum(&[&padded(0x5c)[..], &inner[..]].concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands between the first pair of these tags.
fn between<'t>(text: &'t str, tag: &str) -> &'t str {
    let rest = text.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no {tag} in {text}")).1;
    rest.split_once(&format!("</{tag}>")).unwrap().0
}

fn server(dir: &tempfile::TempDir) -> S3Server {
    let server = S3Server::start(dir.path());
    server.create_bucket(BUCKET);
    server
}

fn put_one(server: &S3Server, name: &str) -> Reply {
    ask(&server.endpoint(), "PUT", &format!("/{BUCKET}/{name}"), &[], b"content")
}

#[test]
fn a_request_without_a_signature_is_refused_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    let reply = ask(&server.endpoint(), "GET", "/bucket?list-type=2", &[], b"");
    assert_eq!(reply.status, Some(403), "{}", reply.text());
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method, "GET");
    assert_eq!(requests[0].path, "/bucket");
    assert_eq!(requests[0].query, "list-type=2");
    assert_eq!(requests[0].status, Some(403));
    assert!(requests[0].faults.is_empty());
    server.clear_requests();
    assert!(server.requests().is_empty());
}

#[test]
fn every_key_of_s3_can_be_kept_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let long = "k".repeat(1_024);
    let keys = ["a", "a/b", "a/", "x//y/../z", "\u{e9}\u{1}\n", long.as_str()];
    {
        let server = server(&dir);
        for key in keys {
            server.put_object(BUCKET, key, key.as_bytes());
        }
    }
    // A server that is started again over the same directory has the same objects.
    let server = server(&dir);
    let objects = server.objects(BUCKET);
    assert_eq!(objects.len(), keys.len());
    for key in keys {
        assert_eq!(objects[key], key.as_bytes());
        assert_eq!(server.object(BUCKET, key).unwrap(), key.as_bytes());
        assert!(server.remove_object(BUCKET, key), "{key:?}");
        assert!(!server.remove_object(BUCKET, key), "{key:?}");
    }
    assert!(server.objects(BUCKET).is_empty());
}

#[test]
fn signed_requests_store_list_and_delete_objects() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    for (key, content) in [("a", "one"), ("a/b", "two"), ("c", "three")] {
        let reply = signed(&server, "PUT", &format!("/bucket/{key}"), "", content.as_bytes());
        assert_eq!(reply.status, Some(200), "{}", reply.text());
    }
    assert_eq!(server.objects(BUCKET)["a/b"], b"two");
    assert_eq!(server.requests()[2].body_bytes, 5);

    let reply = signed(&server, "GET", "/bucket", "list-type=2&max-keys=2", b"");
    let text = reply.text();
    assert_eq!(text.matches("<Contents>").count(), 2, "{text}");
    assert_eq!(between(&text, "IsTruncated"), "true");
    let token = between(&text, "NextContinuationToken");
    let query = format!("continuation-token={token}&list-type=2");
    let rest = signed(&server, "GET", "/bucket", &query, b"").text();
    assert_eq!(between(&rest, "Key"), "c");
    assert_eq!(rest.matches("<Contents>").count(), 1, "{rest}");
    // The MD5 of "three".
    assert!(between(&rest, "ETag").contains("35d6d33467aae9a2e3dccb4b6b027878"), "{rest}");

    assert_eq!(signed(&server, "DELETE", "/bucket/a", "", b"").status, Some(204));
    assert_eq!(signed(&server, "HEAD", "/bucket/a", "", b"").status, Some(404));
    assert_eq!(signed(&server, "GET", "/bucket/a/b", "", b"").body, b"two");
    assert_eq!(signed(&server, "PUT", "/elsewhere/a", "", b"x").status, Some(404));
}

#[test]
fn a_multipart_upload_is_open_until_it_is_completed_or_aborted() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    let begin =
        || between(&signed(&server, "POST", "/bucket/k", "uploads=", b"").text(), "UploadId").to_owned();
    let (id, other) = (begin(), begin());
    assert_eq!(server.uploads_open(BUCKET), 2);

    let aborted = signed(&server, "DELETE", "/bucket/k", &format!("uploadId={other}"), b"");
    assert_eq!(aborted.status, Some(204), "{}", aborted.text());
    assert_eq!(server.uploads_open(BUCKET), 1);

    let sent = signed(&server, "PUT", "/bucket/k", &format!("partNumber=1&uploadId={id}"), b"part");
    assert_eq!(sent.status, Some(200), "{}", sent.text());
    let complete = |tag: &str| {
        let part = format!("<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>");
        let xml = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        signed(&server, "POST", "/bucket/k", &format!("uploadId={id}"), xml.as_bytes())
    };
    let wrong = complete("\"00000000000000000000000000000000\"");
    assert!(wrong.text().contains("InvalidPart"), "{}", wrong.text());
    assert_eq!(server.uploads_open(BUCKET), 1);

    // The error in a 200 leaves everything as it was.
    server.faults().once(When::complete_upload(), Fault::ok_with_error_body());
    let failed = complete(sent.header("etag").unwrap());
    assert_eq!((failed.status, failed.text().contains("<Error>")), (Some(200), true));
    assert_eq!((server.uploads_open(BUCKET), server.objects(BUCKET).len()), (1, 0));

    // The answer is lost; the object is there, and the upload is not known any more.
    server.faults().once(When::complete_upload(), Fault::LoseResponse);
    assert_eq!(complete(sent.header("etag").unwrap()).status, None);
    assert_eq!(server.objects(BUCKET)["k"], b"part");
    assert_eq!(server.uploads_open(BUCKET), 0);
    let again = complete(sent.header("etag").unwrap());
    assert_eq!((again.status, between(&again.text(), "Code")), (Some(404), "NoSuchUpload"));
}

#[test]
fn a_wrong_tag_has_the_shape_of_a_tag() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    server.faults().once(When::put(), Fault::WrongEtag);
    let spoilt = signed(&server, "PUT", "/bucket/k", "", b"content");
    let right = signed(&server, "PUT", "/bucket/k", "", b"content");
    let (spoilt, right) = (spoilt.header("etag").unwrap(), right.header("etag").unwrap());
    assert_ne!(spoilt, right);
    assert_eq!(spoilt.len(), right.len());
    assert_eq!(server.objects(BUCKET)["k"], b"content");
}

#[test]
fn a_fault_meets_the_requests_it_is_for_as_often_as_it_was_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    server.faults().once(When::any().method("PUT").path("/a b"), Fault::slow_down(Some(7)));
    assert_eq!(put_one(&server, "other").status, Some(403));
    assert_eq!(server.faults().left(), 1);
    let reply = put_one(&server, "a%20b");
    assert_eq!(reply.status, Some(503), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!(between(&reply.text(), "Code"), "SlowDown");
    assert_eq!(server.faults().left(), 0);
    assert_eq!(put_one(&server, "a%20b").status, Some(403));

    server.faults().always(When::put(), Fault::Delay(Duration::from_millis(1)));
    server.faults().always(When::put(), Fault::expired_token());
    assert_eq!(between(&put_one(&server, "a").text(), "Code"), "ExpiredToken");
    let last = server.requests().pop().unwrap();
    assert_eq!(last.faults, [Fault::Delay(Duration::from_millis(1)), Fault::expired_token()]);
    server.faults().clear();
    assert_eq!(between(&put_one(&server, "a").text(), "Code"), "AccessDenied");
}

#[test]
fn connections_are_cut_where_it_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    let large = vec![7_u8; 8 << 20];

    server.faults().once(When::put(), Fault::CutRequestAfter(1_000));
    assert_eq!(ask(&server.endpoint(), "PUT", "/bucket/k", &[], &large).status, None);
    let cut = server.requests().pop().unwrap();
    assert_eq!(cut.status, None);
    assert!((1_000..large.len() as u64).contains(&cut.body_bytes), "{} bytes were read", cut.body_bytes);

    server.faults().once(When::put(), Fault::LoseResponse);
    let lost = signed(&server, "PUT", "/bucket/k", "", b"content");
    assert_eq!((lost.status, lost.body.len()), (None, 0));
    assert_eq!(server.objects(BUCKET)["k"], b"content");

    server.faults().times(2, When::any().method("GET"), Fault::CutResponseAfter(3));
    let reply = signed(&server, "GET", "/bucket/k", "", b"");
    assert_eq!(reply.status, Some(200));
    assert_eq!(reply.header("content-length"), Some("7"));
    assert_eq!(reply.body, b"con");
    server.put_object(BUCKET, "k", b"k");
    let reply = signed(&server, "GET", "/bucket/k", "", b"");
    assert_eq!((reply.header("content-length"), reply.body.len()), (Some("1"), 0));
    assert_eq!(signed(&server, "GET", "/bucket/k", "", b"").body, b"k");
}

#[test]
fn a_storm_can_be_repeated() {
    let storm = |seed| {
        let dir = tempfile::tempdir().unwrap();
        let server = server(&dir);
        server.faults().storm(seed, 0.5);
        for round in 0..3 {
            for name in 0..30 {
                let name = format!("{name}");
                signed(&server, "PUT", &format!("/{BUCKET}/{name}"), "", format!("{round}").as_bytes());
            }
        }
        server.requests().into_iter().map(|r| (r.path, r.status, r.faults)).collect::<Vec<_>>()
    };
    let first = storm(1);
    let hit = first.iter().filter(|(_, _, faults)| !faults.is_empty()).count();
    assert!((20..70).contains(&hit), "{hit} of {} requests were hit", first.len());
    assert_eq!(first, storm(1));
    assert_ne!(first, storm(2));
}

#[test]
fn the_cdn_remembers_and_fails_as_it_was_told() {
    let cdn = FakeCdn::start("secret");
    let target = "/client/v4/zones/z1/purge_cache";
    let purge = |token: &str, urls: &[&str]| {
        let body = serde_json::json!({ "files": urls }).to_string();
        let token = format!("Bearer {token}");
        ask(&cdn.endpoint(), "POST", target, &[("Authorization", token.as_str())], body.as_bytes())
    };
    assert_eq!(purge("secret", &["http://a/1", "http://a/2"]).status, Some(200));
    assert_eq!(purge("guess", &["http://a/3"]).status, Some(403));
    assert_eq!(purge("secret", &[]).status, Some(400));
    assert_eq!(purge("secret", &["http://a/4"; URLS_MAX + 1]).status, Some(400));

    cdn.answer_next(Answer::NotSuccess);
    cdn.answer_next(Answer::TooMany { retry_after_s: Some(3) });
    cdn.answer_next(Answer::ServerError(500));
    cdn.answer_next(Answer::Close);
    assert!(purge("secret", &["http://a/5"]).text().contains("\"success\":false"));
    assert_eq!(purge("secret", &["http://a/5"]).header("Retry-After"), Some("3"));
    assert_eq!(purge("secret", &["http://a/5"]).status, Some(500));
    assert_eq!(purge("secret", &["http://a/5"]).status, None);

    cdn.refuse("http://a/bad");
    assert_eq!(purge("secret", &["http://a/6", "http://a/bad"]).status, Some(400));
    assert_eq!(purge("secret", &["http://a/6"]).status, Some(200));

    let calls = cdn.calls();
    assert_eq!(calls.len(), 10);
    assert_eq!((calls[0].zone.as_str(), calls[0].authorized, calls[0].success), ("z1", true, true));
    assert_eq!(calls[0].urls, ["http://a/1", "http://a/2"]);
    assert!(!calls[1].authorized);
    assert_eq!(calls[7].status, None);
    assert_eq!(Vec::from_iter(cdn.purged()), ["http://a/1", "http://a/2", "http://a/6"]);
}
