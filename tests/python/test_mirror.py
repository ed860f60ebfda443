"""Mirrors: what a remote copy holds is what the root holds, in a directory and in a store that speaks S3."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import pytest

import treewarden as tw
from support import ODD_NAMES, interrupts, succeeds, wait_until, write
from treewarden import aio

SECRET = "hush-hush-this-is-the-secret"
TOKEN = "hush-hush-this-is-the-session"
MIB = 1 << 20


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path, without a word of the engine."""
    found = {}
    for place, _, files in os.walk(folder):
        for name in files:
            path = Path(place, name)
            try:
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
            except FileNotFoundError:
                # It had another name until it was whole.
                continue
    return found


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """An empty directory that a mirror fills."""
    folder = tmp_path / "remote"
    folder.mkdir()
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write(root / "private.txt", "private")
    write(root / "public/a.jpg", "aaa")
    write(root / "public/b.html", "<p>b")
    write(root / "public/2024/c d#e%.foo", "c")
    write(root / "public/2024/f\u00fcr.jpg", "für")
    return root


@pytest.fixture
def site(state: Path, photos: Path) -> Iterator[tw.Warden]:
    """A warden with the root `photos`, scanned."""
    with tw.open(state) as warden:
        warden.add_root("photos", photos)
        warden.scan()
        yield warden


def mirrored(warden: tw.Warden, remote: Path, **options: Any) -> tw.Mirror:
    options = {"settle": 0.0, "public_url": "https://cdn.example.org/img", **options}
    return warden.mirror("cdn", "photos/public", f"file://{remote}", **options)


# In a directory.


def test_the_remote_copy_holds_what_the_root_holds(site: tw.Warden, photos: Path, remote: Path) -> None:
    mirror = mirrored(site, remote)
    assert held(remote) == {} and mirror.name == "cdn"
    report = mirror.sync()
    assert (report.uploaded, report.deleted, report.failed, report.is_complete) == (4, 0, 0, True)
    assert report.uploaded_bytes == sum(map(len, held(photos / "public").values())) and report.seq <= site.seq
    assert report.elapsed >= 0.0 and report.errors == ()
    assert held(remote) == held(photos / "public")

    again = mirror.sync()
    assert (again.uploaded, again.copied, again.deleted, again.is_complete) == (0, 0, 0, True)

    write(photos / "public/a.jpg", "other")
    write(photos / "public/new/g.jpg", "g")
    (photos / "public/b.html").unlink()
    (photos / "public/2024").rename(photos / "public/2025")
    site.scan()
    report = mirror.sync()
    assert report.is_complete and report.uploaded + report.copied == 4 and report.deleted == 3
    assert held(remote) == held(photos / "public")
    status = mirror.status()
    assert (status.objects, status.pending, status.unsure, status.counters.runs) == (4, 0, 0, 3)
    assert status.object_bytes == sum(map(len, held(remote).values())) and status.last_error is None
    assert (status.name, status.address, status.running, status.following) == ("cdn", "photos/public", False, False)
    assert status.last_run is not None and status.last_run.tzinfo is not None


def test_names_that_no_object_has_are_told_and_the_others_are_exact(
    tmp_path: Path, state: Path, remote: Path
) -> None:
    root = tmp_path / "odd"
    # The longest one has no room left for what a directory adds to a name until it is whole.
    names = [name for name in ODD_NAMES if len(name) < 200]
    for name in names:
        write(bytes(root) + b"/" + name, name)

    def fits(name: bytes) -> bool:
        try:
            return all(ord(c) >= 32 and ord(c) != 127 for c in name.decode())
        except UnicodeDecodeError:
            return False

    with tw.open(state) as warden:
        warden.add_root("odd", root)
        warden.scan()
        mirror = warden.mirror("m", "odd", remote, settle=0.0, public_url="https://example.org")
        report = mirror.sync()
        refused = sorted(b"odd/" + name for name in names if not fits(name))
        assert sorted(error.path_bytes for error in report.errors) == refused
        assert report.refused == len(refused) and all(error.permanent for error in report.errors)
        # Each holds its own name.
        assert sorted(held(remote).values()) == sorted(name for name in names if fits(name))
        for path, url in mirror.urls.items():
            assert mirror.urls.path(url) == path and os.fsencode(path) == mirror.urls.path_bytes(url)


def test_a_plan_tells_what_the_next_run_does(site: tw.Warden, photos: Path, remote: Path) -> None:
    mirror = mirrored(site, remote)
    plan = mirror.plan()
    assert {step.kind for step in plan.steps} == {"upload"} and held(remote) == {}
    assert {(step.path, step.key, step.size) for step in plan.steps} >= {("photos/public/a.jpg", "a.jpg", 3)}
    report = mirror.sync()
    assert (plan.uploads, plan.upload_bytes) == (report.uploaded, report.uploaded_bytes)
    (photos / "public/a.jpg").unlink()
    site.scan()
    plan = mirror.plan()
    assert [(step.kind, step.key, step.path, step.size) for step in plan.steps] == [("delete", "a.jpg", None, None)]
    assert (plan.uploads, plan.copies, plan.deletes, plan.held, plan.refused) == (0, 0, 1, False, ())


def test_urls_are_a_mapping_of_what_was_acknowledged(site: tw.Warden, photos: Path, remote: Path) -> None:
    mirror = mirrored(site, remote)
    empty = mirror.urls
    assert len(empty) == 0 and not empty and list(empty) == []
    mirror.sync()
    urls = mirror.urls
    odd = "photos/public/2024/c d#e%.foo"
    assert urls[odd] == "https://cdn.example.org/img/2024/c%20d%23e%25.foo" == urls.url(odd) == urls.get(odd)
    assert urls.path(urls[odd]) == odd and urls.path("https://example.org/") is None
    assert odd in urls and b"photos/public/a.jpg" in urls and "photos/private.txt" not in urls
    assert urls.get("photos/x") is None and urls.get("photos/x", 3) == 3 and urls.url("photos/x") is None
    with pytest.raises(KeyError):
        urls["photos/x"]
    assert len(urls) == 4 and urls and list(urls) == urls.keys() and dict(urls.items()) == dict(
        zip(urls.keys(), urls.values())
    )
    assert "UrlMap" in repr(urls)

    write(photos / "public/a.jpg", "other")
    (photos / "public/b.html").unlink()
    write(photos / "public/z.jpg", "z")
    site.scan()
    mirror.sync()
    told = {(change.kind, change.path) for change in mirror.urls.diff(urls)}
    assert told == {
        ("modified", "photos/public/a.jpg"),
        ("removed", "photos/public/b.html"),
        ("added", "photos/public/z.jpg"),
    }
    site.close()
    assert urls["photos/public/b.html"] == "https://cdn.example.org/img/b.html", "it stays as it was"
    with pytest.raises(tw.ClosedError):
        _ = mirror.urls


def test_a_mirror_is_stored_and_goes_on(state: Path, site: tw.Warden, photos: Path, remote: Path) -> None:
    mirrored(site, remote, prefix="p/q", glob="*.jpg").sync()
    (info,) = site.mirrors()
    assert (info.name, info.address, info.public_url) == ("cdn", "photos/public", "https://cdn.example.org/img")
    assert info.target == f"file://{remote}" and info.endpoint is None
    assert held(remote) == {"p/q/a.jpg": b"aaa"}
    site.close()
    with tw.open(state) as warden:
        assert warden.mirror_status() == [] and [mirror.name for mirror in warden.mirrors()] == ["cdn"]
        mirror = warden.mirror("cdn")
        assert [status.name for status in warden.mirror_status()] == ["cdn"]
        report = mirror.sync()
        assert (report.uploaded, report.deleted, report.is_complete) == (0, 0, True)
        with pytest.raises(tw.InvalidArgumentError, match="copies"):
            warden.mirror("cdn", "photos", f"file://{remote}")
        warden.remove_mirror("cdn")
        assert warden.mirrors() == [] and held(remote) == {"p/q/a.jpg": b"aaa"}
        with pytest.raises(tw.NotFoundError):
            warden.remove_mirror("cdn")
        with pytest.raises(tw.NotFoundError):
            warden.mirror("cdn")
        with pytest.raises(tw.ClosedError):
            mirror.sync()


def test_a_mirror_that_is_opened_anew_takes_the_place_of_the_old(site: tw.Warden, remote: Path) -> None:
    old = mirrored(site, remote)
    old.sync()
    new = mirrored(site, remote, uploads=2)
    assert new.sync().uploaded == 0
    with pytest.raises(tw.ClosedError):
        old.sync()


def test_very_many_deletions_are_held(site: tw.Warden, photos: Path, remote: Path) -> None:
    mirror = mirrored(site, remote, delete_max=1)
    mirror.sync()
    (photos / "public/a.jpg").unlink()
    (photos / "public/b.html").unlink()
    site.scan()
    assert mirror.plan().held
    report = mirror.sync()
    assert (report.held, report.deleted, report.is_complete) == (2, 0, False)
    assert len(held(remote)) == 4 and mirror.status().held == 2
    report = mirror.sync(accept_deletes=True)
    assert (report.held, report.deleted, report.is_complete) == (0, 2, True)
    assert held(remote) == held(photos / "public")


def test_an_audit_finds_and_mends(site: tw.Warden, photos: Path, remote: Path) -> None:
    mirror = mirrored(site, remote)
    mirror.sync()
    clean = mirror.audit()
    assert (clean.listed, clean.matched, clean.is_clean, clean.findings) == (4, 4, True, ())
    (remote / "a.jpg").unlink()
    (remote / "b.html").write_bytes(b"somebody else was here")
    (remote / "stranger").write_bytes(b"x")
    found = mirror.audit()
    assert not found.is_clean
    assert {(finding.key, finding.kind) for finding in found.findings} == {
        ("a.jpg", "lost"),
        ("b.html", "different"),
        ("stranger", "unknown"),
    }
    assert mirror.sync().uploaded == 0, "it was only looked"
    mirror.audit(repair=True, delete_unknown=True)
    report = mirror.sync()
    assert (report.uploaded, report.deleted) == (2, 1)
    assert held(remote) == held(photos / "public") and mirror.audit().is_clean


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (["photos"], {}, tw.InvalidArgumentError),
        ([None, "file:///tmp"], {}, tw.InvalidArgumentError),
        ([], {}, tw.NotFoundError),
        ([], {"glob": "*"}, tw.InvalidArgumentError),
        ([], {"colour": "red"}, TypeError),
        (["photos", "ftp://host/x"], {}, tw.InvalidArgumentError),
        (["photos", "s3://bucket/a"], {"prefix": "b", "anonymous": True}, tw.InvalidArgumentError),
        (["photos", "s3://bucket"], {}, tw.InvalidArgumentError),
        (["photos", "s3://bucket"], {"access_key": "id"}, tw.InvalidArgumentError),
        (["photos", "s3://bucket"], {"access_key": "id", "secret_key": f"{SECRET}\n"}, tw.InvalidArgumentError),
        (["photos", "s3://bucket"], {"access_key": "id", "secret_key": f"{SECRET}\udcff"}, tw.InvalidArgumentError),
        (["photos", "s3://bucket"], {"access_key": "id", "secret_key": 3}, TypeError),
        (
            ["photos", "s3://bucket"],
            {"access_key": "id", "secret_key": SECRET, "anonymous": True},
            tw.InvalidArgumentError,
        ),
        (["photos", "s3://bucket"], {"azure_key": SECRET}, tw.InvalidArgumentError),
        (["photos", "s3://bucket"], {"session_token": TOKEN, "anonymous": True}, tw.InvalidArgumentError),
        (["photos", f"s3://id:{SECRET}@bucket"], {"anonymous": True}, tw.InvalidArgumentError),
        (["nowhere", "file:///tmp"], {}, tw.NotFoundError),
        (["photos/../x", "file:///tmp"], {}, tw.InvalidArgumentError),
        (["photos", "file:///no/such/directory"], {}, tw.NotFoundError),
        (["photos", 3], {}, TypeError),
        (["photos", "file:///tmp"], {"uploads": 0}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"uploads": -1}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"uploads": True}, TypeError),
        (["photos", "file:///tmp"], {"uploads": 1 << 80}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"uploads": "many"}, TypeError),
        (["photos", "file:///tmp"], {"part_bytes": 1}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"bandwidth": 0}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"backoff": -1.0}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"attempts": 0}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"settle": float("nan")}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"glob": "["}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"glob": []}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"glob": 3}, TypeError),
        (["photos", "file:///tmp"], {"content_types": "x"}, TypeError),
        (["photos", "file:///tmp"], {"content_types": {"x": 3}}, TypeError),
        (["photos", "file:///tmp"], {"cache_control": "a\nb"}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"delete_share_percent": 101}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"region": "x"}, tw.InvalidArgumentError),
        (["photos", "file:///tmp"], {"cdn": 3}, TypeError),
        (["photos", "file:///tmp"], {"colour": "red"}, TypeError),
    ],
)
def test_what_makes_no_sense_is_refused_and_no_secret_repeated(
    site: tw.Warden, arguments: list[Any], options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        site.mirror("m", *arguments, **options)
    context: Optional[BaseException] = caught.value
    while context is not None:
        assert "hush" not in f"{context!s}{context!r}{context.args}{vars(context)}"
        context = context.__cause__ or context.__context__
    assert site.mirrors() == []


def test_progress_is_told_and_its_exceptions_end_the_run(site: tw.Warden, remote: Path) -> None:
    told: list[tw.MirrorProgress] = []
    site.mirror("first", "photos", remote, settle=0.0, prefix="f").sync(progress=told.append)
    assert told and (told[-1].done, told[-1].total) == (5, 5) and told[-1].bytes_total == told[-1].bytes
    mirror = site.mirror("other", "photos", remote, settle=0.0, prefix="o")
    with pytest.raises(TypeError):
        mirror.sync(progress=3)  # type: ignore[arg-type]

    def fail(progress: tw.MirrorProgress) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        mirror.sync(progress=fail)
    assert mirror.sync().is_complete


def test_a_cancelled_run_goes_on_with_the_next(site: tw.Warden, remote: Path) -> None:
    mirror = mirrored(site, remote)
    token = tw.CancelToken()
    token.cancel()
    with pytest.raises(tw.CancelledError):
        mirror.sync(cancel=token)
    assert mirror.sync().is_complete and len(held(remote)) == 4


def test_ctrl_c_ends_a_run(state: Path, photos: Path, remote: Path) -> None:
    # Of two, the second waits for the line.
    write(photos / "public/large-1", b"x" * MIB)
    write(photos / "public/large-2", b"x" * MIB)
    interrupts(
        """
        with tw.open(sys.argv[1]) as warden:
            warden.add_root("photos", sys.argv[2])
            warden.scan()
            mirror = warden.mirror("m", "photos", f"file://{sys.argv[3]}", settle=0.0, bandwidth=1024)
            interrupted(mirror.sync)
            assert mirror.status().last_error is not None
        """,
        str(state),
        str(photos),
        str(remote),
    )


def test_a_mirror_follows_its_root(site: tw.Warden, photos: Path, remote: Path) -> None:
    site.watch()
    mirror = mirrored(site, remote)
    with mirror.follow() as following:
        assert "Following" in repr(following) and mirror.status().following
        with pytest.raises(tw.BusyError):
            mirror.follow()
        wait_until("the first files", lambda: held(remote) == held(photos / "public"))
        write(photos / "public/new.jpg", "new")
        (photos / "public/a.jpg").unlink()
        wait_until("the changes", lambda: held(remote) == held(photos / "public"))
    assert not mirror.status().following
    following.stop()

    kept = mirror.follow()
    assert mirror.status().following
    del kept
    gc.collect()
    wait_until("the end of what is forgotten", lambda: not mirror.status().following)

    ended = mirror.follow()
    site.close()
    ended.stop()


def test_a_program_that_ends_while_it_follows_ends(state: Path, photos: Path, remote: Path) -> None:
    told = succeeds(
        """
        import sys, time
        import treewarden as tw

        def purge(urls):
            print("purged", flush=True)

        warden = tw.open(sys.argv[1])
        warden.add_root("photos", sys.argv[2])
        warden.scan()
        options = {"settle": 0.0, "public_url": "https://example.org", "purge_new": True}
        mirror = warden.mirror("m", "photos", f"file://{sys.argv[3]}", cdn=purge, **options)
        following = mirror.follow()
        while not mirror.status().counters.purged:
            time.sleep(0.01)
        """,
        str(state),
        str(photos),
        str(remote),
    )
    assert "purged" in told


def test_every_class_answers_forked_in_the_child(state: Path, photos: Path, remote: Path) -> None:
    succeeds(
        """
        import os, sys, traceback, warnings
        import treewarden as tw
        warnings.simplefilter("ignore", DeprecationWarning)

        warden = tw.open(sys.argv[1])
        warden.add_root("photos", sys.argv[2])
        warden.scan()
        cdn = tw.Cloudflare("zone", "token")
        open = lambda **more: warden.mirror(
            "m", "photos", f"file://{sys.argv[3]}", settle=0.0, public_url="https://example.org", **more
        )
        mirror = open()
        mirror.sync()
        urls, following = mirror.urls, mirror.follow()
        calls = {
            "mirror": lambda: open(),
            "cdn": lambda: open(cdn=cdn),
            "mirrors": lambda: warden.mirrors(),
            "mirror_status": lambda: warden.mirror_status(),
            "remove_mirror": lambda: warden.remove_mirror("m"),
            "metrics": lambda: warden.metrics(),
            "export": lambda: warden.export("x"),
            "sync": lambda: mirror.sync(),
            "plan": lambda: mirror.plan(),
            "audit": lambda: mirror.audit(),
            "urls": lambda: mirror.urls,
            "status": lambda: mirror.status(),
            "follow": lambda: mirror.follow(),
            "stop": lambda: following.stop(),
        }
        child = os.fork()
        if child == 0:
            try:
                for name, call in calls.items():
                    try:
                        call()
                    except tw.ForkedError:
                        continue
                    raise AssertionError(name)
                assert len(urls) == 5
                with following:
                    pass
                del mirror, following, cdn, urls, calls, open
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        following.stop()
        assert mirror.sync().is_complete
        """,
        str(state),
        str(photos),
        str(remote),
    )


def test_results_are_values(site: tw.Warden, photos: Path, remote: Path) -> None:
    told: list[tw.MirrorProgress] = []
    mirror = mirrored(site, remote)
    plan, before = mirror.plan(), mirror.urls
    write(bytes(photos) + b"/public/odd\n<b>\xff", "x")
    site.scan()
    report = mirror.sync(progress=told.append)
    assert report.errors
    values = [plan, *plan.steps, report, *report.errors, mirror.status(), mirror.status().counters, told[-1]]
    values += [mirror.audit(), *site.mirrors(), *mirror.urls.diff(before)]
    (remote / "a.jpg").unlink()
    values += mirror.audit().findings
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
        assert type(value).__name__ in repr(value) and repr(value).isprintable()
        html = value._repr_html_()
        assert "<b>" not in html and "\n" not in html
    for handle in (mirror, mirror.urls):
        with pytest.raises(TypeError):
            pickle.dumps(handle)


# A CDN.


def test_a_function_is_told_of_what_was_replaced_and_deleted(
    site: tw.Warden, photos: Path, remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[list[str]] = []
    answers: list[Exception] = []

    def forget(urls: list[str]) -> None:
        calls.append(urls)
        if answers:
            raise answers.pop()

    def change(content: str) -> tw.MirrorReport:
        write(photos / "public/a.jpg", content)
        site.scan()
        return mirror.sync()

    mirror = mirrored(site, remote, cdn=forget)
    assert (mirror.sync().purged, calls) == (0, []), "nobody can remember what is new"
    (photos / "public/b.html").unlink()
    report = change("other")
    assert (report.purged, report.purges_waiting) == (2, 0)
    url = "https://cdn.example.org/img/a.jpg"
    assert sorted(sum(calls, [])) == [url, "https://cdn.example.org/img/b.html"]

    calls.clear()
    answers.append(ConnectionError(f"told {SECRET}"))
    report = change("once more")
    assert (report.is_complete, report.purged, report.purges_waiting) == (True, 0, 1), "it holds up no upload"
    assert "forget" in caplog.text and mirror.status().purges_waiting == 1
    assert mirror.sync().purged == 1 and calls == [[url], [url]]

    calls.clear()
    answers.append(tw.Permanent("never"))
    assert change("and again").purges_waiting == 0 and calls == [[url]]
    calls.clear()
    answers.append(tw.PutOff(1.0))
    assert change("and once more").purges_waiting == 1
    assert mirror.sync().purged == 1
    assert mirror.status().counters.purged == 4


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """An API that takes everything: where it is, and what it was asked (path, authorization, body)."""
    asked: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            answer = b'{"success": true, "errors": [], "messages": [], "result": {"id": "x"}}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v4", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_cloudflare_is_told(
    site: tw.Warden, photos: Path, remote: Path, api: tuple[str, list[tuple[str, str, Any]]]
) -> None:
    endpoint, asked = api
    cdn = tw.Cloudflare("zone-1", SECRET, endpoint=endpoint, batch_max=10, timeout=20.0, rate=(100, 1.0))
    assert cdn.zone_id == "zone-1" and SECRET not in repr(cdn) and "zone-1" in repr(cdn)
    mirror = mirrored(site, remote, cdn=cdn)
    mirror.sync()
    write(photos / "public/a.jpg", "other")
    site.scan()
    assert mirror.sync().purged == 1
    (path, authorization, body), *more = asked
    assert path == "/v4/zones/zone-1/purge_cache" and authorization == f"Bearer {SECRET}" and not more
    assert body == {"files": ["https://cdn.example.org/img/a.jpg"]}


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["", SECRET], {}),
        (["zone", f"{SECRET}\n"], {}),
        (["zone", ""], {}),
        (["zone", SECRET], {"batch_max": 0}),
        (["zone", SECRET], {"batch_max": -1}),
        (["zone", SECRET], {"batch_max": 501}),
        (["zone", SECRET], {"timeout": 0.0}),
        (["zone", SECRET], {"endpoint": f"http://user:{SECRET}@example.org"}),
        (["zone", SECRET], {"rate": (0, 1.0)}),
    ],
)
def test_a_cdn_that_cannot_be_is_refused(arguments: list[str], options: dict[str, Any]) -> None:
    with pytest.raises(tw.InvalidArgumentError) as caught:
        tw.Cloudflare(*arguments, **options)
    assert "hush" not in str(caught.value)


# In a store that speaks S3.


class Store:
    """A store in this process: what it was asked, and whether it refuses everybody."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self.client = client
        self.endpoint = endpoint
        self.asked: list[str] = []
        self.refusal: Optional[str] = None

    def wrap(self, app: Callable[..., Any]) -> Callable[..., Any]:
        def ask(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            if environ.get("HTTP_USER_AGENT", "").startswith("Boto3"):
                # The test itself.
                return app(environ, start)
            self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            if self.refusal is None:
                return app(environ, start)
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = f"<Error><Code>{self.refusal}</Code><Message>It is over.</Message></Error>".encode()
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]

        return ask

    def open(self, warden: tw.Warden, name: str = "cdn", **options: Any) -> tw.Mirror:
        keys = {"access_key": "AKIAEXAMPLE", "secret_key": SECRET, "session_token": TOKEN}
        given = {"endpoint": self.endpoint, "settle": 0.0, "attempts": 2, "backoff": 0.01, "backoff_max": 0.05}
        return warden.mirror(name, "photos/public", "s3://photos/img", **{**given, **keys, **options})

    def holds(self) -> dict[str, bytes]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="photos")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket="photos", Key=key)["Body"].read() for key in keys}


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty bucket `photos`, in moto's store."""
    boto3: Any = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": SECRET}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    store = Store(client, endpoint)
    server._server.app = store.wrap(server._server.app)
    client.create_bucket(Bucket="photos")
    try:
        yield store
    finally:
        bucket = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).Bucket("photos")
        bucket.objects.all().delete()
        bucket.delete()
        server.stop()


def wanted(photos: Path) -> dict[str, bytes]:
    return {f"img/{path}": content for path, content in held(photos / "public").items()}


def test_a_bucket_holds_what_the_root_holds(site: tw.Warden, photos: Path, store: Store) -> None:
    mirror = store.open(site)
    report = mirror.sync()
    assert (report.uploaded, report.is_complete, report.errors) == (4, True, ())
    assert store.holds() == wanted(photos)

    store.asked.clear()
    assert mirror.sync().is_complete and store.asked == [], "nothing changed: no request"

    write(photos / "public/a.jpg", "other")
    write(photos / "public/new.jpg", "new")
    (photos / "public/b.html").unlink()
    (photos / "public/2024").rename(photos / "public/2025")
    site.scan()
    store.asked.clear()
    report = mirror.sync()
    assert report.is_complete and report.deleted == 3 and store.holds() == wanted(photos)
    assert sum(line.startswith("PUT") for line in store.asked) == report.uploaded + report.copied == 4
    assert mirror.audit().is_clean


def test_objects_have_types_and_cache_rules(site: tw.Warden, store: Store) -> None:
    store.open(site, content_types={".FOO": "application/x-foo"}, cache_control="public, max-age=60").sync()
    for key, kind in (("a.jpg", "image/jpeg"), ("b.html", "text/html"), ("2024/c d#e%.foo", "application/x-foo")):
        head = store.client.head_object(Bucket="photos", Key=f"img/{key}")
        assert head["ContentType"].startswith(kind) and head["CacheControl"] == "public, max-age=60", key


def test_a_large_file_goes_in_parts(site: tw.Warden, photos: Path, store: Store) -> None:
    content = os.urandom(12 * MIB)
    write(photos / "public/large.bin", content)
    site.scan()
    report = store.open(site, part_bytes=5 * MIB, memory_bytes=10 * MIB).sync()
    assert report.is_complete and report.uploaded_bytes >= len(content)
    found = store.client.get_object(Bucket="photos", Key="img/large.bin")
    assert found["Body"].read() == content and found["ETag"].strip('"').endswith("-3")
    assert not store.client.list_multipart_uploads(Bucket="photos").get("Uploads")


def test_urls_of_a_bucket_lead_back(site: tw.Warden, photos: Path, store: Store) -> None:
    mirror = store.open(site, public_url="https://cdn.example.org/")
    mirror.sync()
    urls = mirror.urls
    assert urls["photos/public/a.jpg"] == "https://cdn.example.org/img/a.jpg"
    assert {urls.path(url) for url in urls.values()} == {f"photos/public/{path}" for path in held(photos / "public")}
    bare = site.mirror("bare", "photos/public", "s3://photos/bare", endpoint=store.endpoint, settle=0.0, anonymous=True)
    assert len(bare.urls) == 0 and bare.urls.url("photos/public/a.jpg") is None


def test_an_audit_of_a_bucket_finds_and_mends(site: tw.Warden, photos: Path, store: Store) -> None:
    mirror = store.open(site)
    mirror.sync()
    store.client.delete_object(Bucket="photos", Key="img/a.jpg")
    store.client.put_object(Bucket="photos", Key="img/stranger", Body=b"x")
    store.client.put_object(Bucket="photos", Key="elsewhere", Body=b"not ours")
    found = mirror.audit(repair=True, delete_unknown=True)
    assert {(f.key, f.kind) for f in found.findings} == {("img/a.jpg", "lost"), ("img/stranger", "unknown")}
    mirror.sync()
    assert store.holds() == {**wanted(photos), "elsewhere": b"not ours"}


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "ExpiredToken", "SignatureDoesNotMatch", "AccessDenied"])
def test_credentials_that_are_refused_end_the_run_and_lose_nothing(
    site: tw.Warden, photos: Path, store: Store, code: str
) -> None:
    mirror = store.open(site)
    store.refusal = code
    with pytest.raises(tw.PermissionDeniedError) as caught:
        mirror.sync()
    assert isinstance(caught.value, PermissionError) and "hush" not in str(caught.value)
    assert len(store.asked) <= 12, "not one for each file and try"
    assert "hush" not in repr(mirror.status()) and mirror.status().last_error is not None
    store.refusal = None
    assert store.open(site).sync().is_complete and store.holds() == wanted(photos)


def test_a_bucket_that_is_not_there_ends_the_run(site: tw.Warden, store: Store) -> None:
    mirror = site.mirror(
        "m", "photos", "s3://nowhere", endpoint=store.endpoint, settle=0.0, access_key="AKIAEXAMPLE", secret_key=SECRET
    )
    with pytest.raises(tw.NotFoundError):
        mirror.sync()


def test_a_store_that_is_away_makes_files_fail(site: tw.Warden, photos: Path, store: Store) -> None:
    mirror = store.open(site, "m", endpoint="http://127.0.0.1:1", attempts=1)
    report = mirror.sync()
    assert (report.uploaded, report.is_complete) == (0, False) and report.failed > 0
    assert "hush" not in repr(report) and mirror.status().pending == 4


def test_no_secret_is_shown_or_stored(state: Path, site: tw.Warden, store: Store) -> None:
    cdn = tw.Cloudflare("zone", SECRET)
    mirror = store.open(site, cdn=cdn)
    mirror.sync()
    shown = [mirror, mirror.status(), site.mirrors(), site.mirror_status(), mirror.urls, cdn, site.metrics(), site]
    for thing in shown:
        assert "hush" not in repr(thing) and "hush" not in getattr(thing, "_repr_html_", str)()
    assert "hush" not in site.metrics().to_prometheus()
    site.close()
    for path in state.parent.glob("state.tw*"):
        assert b"hush" not in path.read_bytes(), path
    with tw.open(state) as warden:
        with pytest.raises(tw.InvalidArgumentError):
            warden.mirror("cdn")
        again = warden.mirror("cdn", access_key="AKIAEXAMPLE", secret_key=SECRET, session_token=TOKEN)
        store.asked.clear()
        assert again.sync().is_complete and store.asked == []


# On asyncio.


def test_the_same_on_asyncio(state: Path, photos: Path, remote: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("photos", photos)
            await warden.scan()
            target = f"file://{remote}"
            mirror = await warden.mirror("m", "photos", target, settle=0.0, public_url="https://example.org")
            assert mirror.name == "m" and "Mirror" in repr(mirror) and mirror.mirror.name == "m"
            assert (await mirror.plan()).uploads == 5
            told: list[tw.MirrorProgress] = []
            assert (await mirror.sync(progress=told.append)).is_complete and held(remote) == held(photos)
            assert len(mirror.urls) == 5 and (await mirror.audit()).is_clean
            assert (await mirror.status()).objects == 5
            assert [info.name for info in await warden.mirrors()] == ["m"]
            assert [status.name for status in await warden.mirror_status()] == ["m"]
            await warden.watch()
            async with mirror.follow():
                write(photos / "new", "new")
                while held(remote) != held(photos):
                    await asyncio.sleep(0.01)
            assert not (await mirror.status()).following
            await warden.remove_mirror("m")

    asyncio.run(asyncio.wait_for(main(), 60.0))


def test_a_task_that_is_cancelled_cancels_its_run(state: Path, photos: Path, remote: Path) -> None:
    # Of two, the second waits for the line.
    write(photos / "large-1", b"x" * MIB)
    write(photos / "large-2", b"x" * MIB)

    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("photos", photos)
            await warden.scan()
            mirror = await warden.mirror("m", "photos", f"file://{remote}", settle=0.0, bandwidth=1024)
            running = asyncio.ensure_future(mirror.sync())
            while not (await mirror.status()).running:
                await asyncio.sleep(0.005)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not (await mirror.status()).running

            def fail(progress: tw.MirrorProgress) -> None:
                raise LookupError("no")

            with pytest.raises(LookupError):
                await mirror.sync(progress=fail)

    asyncio.run(asyncio.wait_for(main(), 60.0))
