"""Mirrors in Google Cloud Storage: what it is asked, and what the bucket then holds.

Its XML language is nearly the one of S3, so moto keeps the objects; `Google` stands before it and has the differences:
bearer tokens, headers of another name, one request for each deletion, and an error for what is not there.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qs

import pytest

import treewarden as tw
from support import ODD_NAMES, write

TOKEN = "hush-hush-this-is-the-token"
MIB = 1 << 20


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path, without a word of the engine."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Google:
    """A store in this process: whom it lets in, what it was asked, and what it is to answer instead."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self.client = client
        self.endpoint = endpoint
        self.lets_in: Callable[[str], bool] = lambda bearer: bearer == TOKEN
        self.asked: list[str] = []
        # Status and code, for the first request that this is true of.
        self.fault: Optional[tuple[Callable[[str], bool], str, str]] = None
        self.lock = threading.Lock()

    def wrap(self, app: Callable[..., Any]) -> Callable[..., Any]:
        def ask(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            if environ.get("HTTP_USER_AGENT", "").startswith("Boto3"):
                # The test itself.
                return app(environ, start)
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            refusal = self.refusal(environ)
            if refusal is not None:
                status, code = refusal
                text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>No.</Message></Error>"
                answer = b"" if environ["REQUEST_METHOD"] == "HEAD" else text.encode()
                start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(answer)))])
                return [answer]

            def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                kept = [(name, value) for name, value in headers if not name.lower().startswith("x-amz-")]
                return start(status, [*kept, ("x-goog-generation", "1")], *more)

            return app({**translated(environ), "wsgi.input": _Body(body)}, begin)

        return ask

    def refusal(self, environ: dict[str, Any]) -> Optional[tuple[str, str]]:
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        # As it was sent: a slash in a name is encoded, too.
        line = f"{method} {environ['RAW_URI']}"
        with self.lock:
            self.asked.append(line)
            if self.fault is not None and self.fault[0](line):
                _, status, code = self.fault
                self.fault = None
                return status, code
        scheme, _, bearer = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme != "Bearer" or not self.lets_in(bearer):
            return "401 Unauthorized", "AuthenticationRequired"
        if any(name.startswith("HTTP_X_AMZ_") for name in environ) or (method == "POST" and query == "delete"):
            return "400 Bad Request", "InvalidArgument"
        if method in ("POST", "PUT") and not environ.get("CONTENT_LENGTH"):
            return "411 Length Required", "MissingContentLength"
        if method == "DELETE" and "uploadId" not in parse_qs(query):
            bucket, _, key = environ["PATH_INFO"].encode("latin-1").decode().lstrip("/").partition("/")
            if bucket == "photos" and not self.has(key):
                return "404 Not Found", "NoSuchKey"
        return None

    def open(self, warden: tw.Warden, target: str = "gs://photos/img", **options: Any) -> tw.Mirror:
        given = {"endpoint": self.endpoint, "settle": 0.0, "attempts": 2, "backoff": 0.01, "backoff_max": 0.05}
        secret = {} if {"service_account", "anonymous"} & options.keys() else {"gcs_token": TOKEN}
        return warden.mirror("cdn", "photos/public", target, **{**given, **secret, **options})

    def has(self, key: str) -> bool:
        try:
            self.client.head_object(Bucket="photos", Key=key)
        except self.client.exceptions.ClientError:
            return False
        return True

    def holds(self) -> dict[str, bytes]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="photos")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket="photos", Key=key)["Body"].read() for key in keys}


class _Body:
    """What was read already, to be read once more."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        end = len(self.content) if size < 0 else size
        taken, self.content = self.content[:end], self.content[end:]
        return taken


def translated(environ: dict[str, Any]) -> dict[str, Any]:
    """The same in the words of S3, signed by somebody."""
    words = {name.replace("HTTP_X_GOOG_", "HTTP_X_AMZ_"): value for name, value in environ.items()}
    who = "Credential=AKIAEXAMPLE/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    return {**words, "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 {who}"}


@pytest.fixture
def google() -> Iterator[Google]:
    """An empty bucket `photos`."""
    boto3: Any = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)
    google = Google(client, endpoint)
    server._server.app = google.wrap(server._server.app)
    client.create_bucket(Bucket="photos")
    try:
        yield google
    finally:
        bucket = boto3.resource("s3", endpoint_url=endpoint, **keys).Bucket("photos")
        bucket.objects.all().delete()
        bucket.delete()
        server.stop()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write(root / "public/a.jpg", "aaa")
    write(root / "public/b.html", "<p>b")
    write(root / "public/empty", b"")
    write(root / "public/2024/c d#e%2F+?&.foo", "c")
    write(root / "public/2024/f\u00fcr.jpg", "für")
    return root


@pytest.fixture
def site(state: Path, photos: Path) -> Iterator[tw.Warden]:
    """A warden with the root `photos`, scanned."""
    with tw.open(state) as warden:
        warden.add_root("photos", photos)
        warden.scan()
        yield warden


def wanted(photos: Path) -> dict[str, bytes]:
    return {f"img/{path}": content for path, content in held(photos / "public").items()}


def test_a_bucket_holds_what_the_root_holds(site: tw.Warden, photos: Path, google: Google) -> None:
    mirror = google.open(site)
    report = mirror.sync()
    assert (report.uploaded, report.is_complete, report.errors) == (5, True, ())
    assert google.holds() == wanted(photos)

    google.asked.clear()
    assert mirror.sync().is_complete and google.asked == [], "nothing changed: no request"

    write(photos / "public/a.jpg", "other")
    write(photos / "public/new.jpg", "new")
    (photos / "public/b.html").unlink()
    (photos / "public/2024").rename(photos / "public/2025")
    site.scan()
    report = mirror.sync()
    assert report.is_complete and (report.uploaded, report.copied, report.deleted) == (2, 2, 3)
    assert google.holds() == wanted(photos)
    verbs = [line.split()[0] for line in google.asked]
    assert {verb: verbs.count(verb) for verb in set(verbs)} == {"PUT": 4, "HEAD": 2, "DELETE": 3}
    assert mirror.audit().is_clean


def test_every_name_arrives_as_it_is(tmp_path: Path, state: Path, google: Google) -> None:
    root = tmp_path / "odd"
    more = ["%41", "%2F", "a+b", "a&b=c", "a;b:c", "#", "?", "~", "...", "\U0001f600", "\u2028", "\ufeff"]
    for name in ODD_NAMES + [name.encode() for name in more]:
        write(bytes(root) + b"/public/" + name, name)
    with tw.open(state) as warden:
        warden.add_root("photos", root)
        warden.scan()
        mirror = google.open(warden)
        report = mirror.sync()
        assert report.failed == 0 and report.refused == len(report.errors)
        refused = {error.path_bytes.removeprefix(b"photos/public/") for error in report.errors}
        names = [name for name in os.listdir(bytes(root) + b"/public") if name not in refused]
        assert len(names) >= len(more) + 10
        assert google.holds() == {f"img/{name.decode()}": name for name in names}
        assert mirror.audit().is_clean
        (root / "public").rename(root / "other")
        (root / "public").mkdir()
        (root / "other").rename(root / "public/moved %23#")
        warden.scan()
        assert mirror.sync().copied == len(names)
        assert google.holds() == {f"img/moved %23#/{name.decode()}": name for name in names}


def test_objects_have_types_and_cache_rules(site: tw.Warden, photos: Path, google: Google) -> None:
    write(photos / "public/large.html", b"x" * (6 * MIB))
    site.scan()
    rules = {".FOO": "application/x-foo"}
    mirror = google.open(site, part_bytes=5 * MIB, content_types=rules, cache_control="public, max-age=60")
    mirror.sync()
    (photos / "public/b.html").rename(photos / "public/moved.html")
    site.scan()
    assert mirror.sync().copied == 1
    kinds = {"a.jpg": "image/jpeg", "moved.html": "text/html", "large.html": "text/html", "empty": "application/octet-"}
    for key, kind in {**kinds, "2024/c d#e%2F+?&.foo": "application/x-foo"}.items():
        head = google.client.head_object(Bucket="photos", Key=f"img/{key}")
        assert head["ContentType"].startswith(kind) and head["CacheControl"] == "public, max-age=60", key


def test_a_large_file_goes_in_parts(site: tw.Warden, photos: Path, google: Google) -> None:
    content = os.urandom(12 * MIB)
    write(photos / "public/large #1.bin", content)
    site.scan()
    mirror = google.open(site, part_bytes=5 * MIB, memory_bytes=10 * MIB)
    # One part breaks off, and is sent again by itself.
    google.fault = (lambda line: "partNumber=2" in line, "500 Oh", "InternalError")
    assert mirror.sync().is_complete
    assert google.holds() == wanted(photos)
    assert sum("partNumber=" in line for line in google.asked) == 4
    assert not google.client.list_multipart_uploads(Bucket="photos").get("Uploads")
    (photos / "public/large #1.bin").rename(photos / "public/moved.bin")
    site.scan()
    assert mirror.sync().copied == 1 and google.holds() == wanted(photos)
    assert mirror.audit().is_clean


def test_parts_of_a_file_that_cannot_be_finished_are_thrown_away(
    site: tw.Warden, photos: Path, google: Google
) -> None:
    write(photos / "public/large.bin", os.urandom(6 * MIB))
    site.scan()
    mirror = google.open(site, part_bytes=5 * MIB, attempts=1)
    google.fault = (lambda line: line.startswith("POST") and "uploadId=" in line, "500 Oh", "InternalError")
    report = mirror.sync()
    assert (report.uploaded, report.failed) == (5, 1)
    assert not google.client.list_multipart_uploads(Bucket="photos").get("Uploads")
    assert mirror.sync().is_complete and google.holds() == wanted(photos)


def test_an_object_that_is_gone_already_is_deleted(site: tw.Warden, photos: Path, google: Google) -> None:
    mirror = google.open(site)
    mirror.sync()
    google.client.delete_object(Bucket="photos", Key="img/a.jpg")
    (photos / "public/a.jpg").unlink()
    (photos / "public/b.html").unlink()
    site.scan()
    report = mirror.sync()
    assert (report.deleted, report.is_complete) == (2, True) and google.holds() == wanted(photos)


def test_an_audit_finds_and_mends(site: tw.Warden, photos: Path, google: Google) -> None:
    mirror = google.open(site)
    mirror.sync()
    google.client.delete_object(Bucket="photos", Key="img/a.jpg")
    google.client.put_object(Bucket="photos", Key="img/b.html", Body=b"xxxx")
    google.client.put_object(Bucket="photos", Key="img/stranger %", Body=b"x")
    google.client.put_object(Bucket="photos", Key="image", Body=b"not ours")
    found = mirror.audit(repair=True, delete_unknown=True)
    kinds = {("img/a.jpg", "lost"), ("img/b.html", "different"), ("img/stranger %", "unknown")}
    assert {(f.key, f.kind) for f in found.findings} == kinds
    mirror.sync()
    assert google.holds() == {**wanted(photos), "image": b"not ours"}
    assert mirror.audit().is_clean


def test_a_token_that_is_refused_ends_the_run_and_loses_nothing(
    site: tw.Warden, photos: Path, google: Google
) -> None:
    mirror = google.open(site, gcs_token="hush-hush-expired")
    with pytest.raises(tw.PermissionDeniedError) as caught:
        mirror.sync()
    assert "hush" not in str(caught.value) and len(google.asked) <= 10
    with pytest.raises(tw.PermissionDeniedError):
        mirror.audit()
    with pytest.raises(tw.PermissionDeniedError):
        google.open(site, anonymous=True).sync()
    assert google.holds() == {}
    assert google.open(site).sync().is_complete and google.holds() == wanted(photos)


def test_a_bucket_that_is_not_there_ends_the_run(site: tw.Warden, google: Google) -> None:
    with pytest.raises(tw.NotFoundError, match="NoSuchBucket"):
        google.open(site, "gs://nowhere").sync()


def test_a_store_that_asks_to_slow_down_is_given_time(site: tw.Warden, photos: Path, google: Google) -> None:
    google.fault = (lambda line: "%2Fa%2Ejpg" in line, "429 Too Many Requests", "SlowDown")
    report = google.open(site).sync()
    assert report.is_complete and report.retries == 1 and google.holds() == wanted(photos)


def test_a_service_account_signs_for_itself(site: tw.Warden, photos: Path, google: Google) -> None:
    rsa: Any = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, *form).decode()
    who = {"client_email": "mirror@example.org", "private_key_id": "hush-hush-id", "private_key": pem}
    seen: list[dict[str, Any]] = []

    def lets_in(bearer: str) -> bool:
        head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in bearer.split("."))
        text = bearer.rpartition(".")[0].encode()
        key.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        seen.append({**json.loads(head), **json.loads(claims)})
        return True

    google.lets_in = lets_in
    mirror = google.open(site, service_account=json.dumps({**who, "type": "service_account"}))
    assert mirror.sync().is_complete and google.holds() == wanted(photos)
    assert {(one["alg"], one["kid"], one["iss"]) for one in seen} == {("RS256", "hush-hush-id", "mirror@example.org")}
    shown = [repr(thing) for thing in (mirror, mirror.status(), site.mirrors(), site)]
    assert not any("hush" in text or "PRIVATE" in text for text in shown)
    for wrong in ("{}", "no json", json.dumps({**who, "private_key": "hush"})):
        with pytest.raises(tw.InvalidArgumentError) as caught:
            google.open(site, service_account=wrong)
        assert "hush" not in str(caught.value)
