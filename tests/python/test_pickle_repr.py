"""Values can be pickled; everything says what it is, and no name can write into a terminal or a notebook."""

from __future__ import annotations

import copy
import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import treewarden as tw
from support import ODD_NAMES, write

EVIL = b"<img src=x onerror=alert(1)> \x1b[31m\n\xff"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    root = tmp_path / "odd"
    for name in [*ODD_NAMES, EVIL]:
        write(bytes(root) + b"/" + name)
    (root / "link").symlink_to(EVIL)
    return root


class Tags(HTMLParser):
    """Collects the tags of a document; fails on what is not a table."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert {name for name, _ in attrs} <= {"style", "colspan", "class"}, attrs


def tags(document: str) -> set[str]:
    assert not set(document) & set("\x1b\x00\x07") and "\udcff" not in document
    document.encode("utf-8")
    parser = Tags()
    parser.feed(document)
    return parser.seen


def results(warden: tw.Warden, odd: Path) -> list[Any]:
    """One of everything that is a value."""
    with warden.events() as events:
        report = warden.scan("odd")
        told = list(iter(lambda: events.next(timeout=0.0), None))
    write(bytes(odd) + b"/unknown " + EVIL)
    pipeline = warden.pipeline("p", settle=0.0)
    return [
        report,
        *told,
        *warden.roots(),
        warden.status(),
        *warden.history(),
        warden.verify(),
        warden.explain(b"odd/" + EVIL),
        warden.explain(b"odd/unknown " + EVIL),
        warden.compact(),
        warden.snapshot().du(),
        *warden.pipelines(),
        pipeline.status(),
        *pipeline.list(),
        pipeline.explain(b"odd/" + EVIL),
        pipeline.request(),
        tw.RateLimiter((1, 1.0)).status(),
        *warden.snapshot(),
        *warden.snapshot().files("odd", kind="dir"),
        *warden.changes(),
    ]


def test_every_result_can_be_pickled_and_is_equal_afterwards(state: Path, odd: Path) -> None:
    with tw.open(state) as warden:
        warden.add_root("odd", odd, content_hash="changed")
        for value in results(warden, odd):
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                again = pickle.loads(pickle.dumps(value, protocol))
                assert type(again) is type(value) and again == value, value
            assert copy.deepcopy(value) == value and copy.copy(value) == value


def test_every_result_says_what_it_is_on_one_line(state: Path, odd: Path) -> None:
    with tw.open(state) as warden:
        warden.add_root("odd", odd)
        for value in results(warden, odd):
            text = repr(value)
            assert type(value).__name__ in text and text.isprintable(), text


def test_every_table_is_escaped(state: Path, odd: Path) -> None:
    table = {"table", "caption", "thead", "tbody", "tr", "th", "td", "br"}
    with tw.open(state) as warden:
        warden.add_root("odd", odd)
        for value in results(warden, odd):
            found = tags(value._repr_html_())
            assert "table" in found and found <= table, found
        snapshot = warden.snapshot()
        for value in (snapshot, snapshot.diff(_empty(state)), warden.history()):
            assert tags(value._repr_html_()) <= table
        assert "more" in snapshot._repr_html_(), "20 rows, and how many are left"


def _empty(state: Path) -> tw.Snapshot:
    with tw.open(state.with_name("empty.tw")) as empty:
        return empty.snapshot()


def test_handles_say_what_they_are(warden: tw.Warden, clock: tw.Clock) -> None:
    pipeline = warden.pipeline("p", settle=0.0)
    jobs = pipeline.claim(1, timeout=60.0)
    limiter = tw.RateLimiter((1, 1.0), clock=clock)
    for thing in (
        warden,
        warden.snapshot(),
        warden.snapshot().files(),
        warden.changes(),
        warden.cursor("c"),
        warden.cursor("c").read(),
        warden.follow("f"),
        warden.space("s"),
        warden.batch(),
        warden.events(),
        warden.history(),
        pipeline,
        jobs,
        jobs[0],
        jobs[0].attrs,
        pipeline.list(),
        limiter,
        limiter.acquire(),
        tw.RateLimit(35, 10.0),
        tw.RootWatch(preset="small"),
        tw.CancelToken(),
        clock,
    ):
        text = repr(thing)
        assert type(thing).__name__ in text and text.isprintable() and " at 0x" not in text, text


def test_handles_of_a_file_with_an_odd_name_say_so_on_one_line(tmp_path: Path) -> None:
    folder = bytes(tmp_path) + b"/" + EVIL.replace(b"/", b"")
    write(folder + b"/tree/file")
    with tw.open(folder + b"/state.tw") as warden:
        warden.add_root("tree", folder + b"/tree")
        for thing in (warden, warden.events(), warden.roots(), warden.status()):
            assert repr(thing).isprintable(), repr(thing)
    assert repr(warden).isprintable()


def test_handles_are_not_pickled(warden: tw.Warden) -> None:
    for handle in (warden, warden.snapshot(), warden.space("s"), warden.pipeline("p"), warden.cursor("c")):
        with pytest.raises(TypeError):
            pickle.dumps(handle)


def test_results_are_frozen(warden: tw.Warden) -> None:
    report = warden.scan("music")
    with pytest.raises(AttributeError):
        report.added = 3  # type: ignore[misc]
    assert isinstance(report.first_errors, tuple) and hash(report) == hash(pickle.loads(pickle.dumps(report)))


def test_times_are_exact_and_aware(warden: tw.Warden) -> None:
    entry = warden.snapshot()["music/a.mp3"]
    assert entry.mtime.tzinfo is not None
    assert entry.mtime.timestamp() == pytest.approx(entry.mtime_ns / 1e9, abs=1e-5)
    (operation,) = warden.history(limit=1)
    assert operation.start.timestamp() == pytest.approx(operation.start_ns / 1e9, abs=1e-5)
    early = tw.DiskView(kind="file", size=0, mtime_ns=-1, ctime_ns=1_999, inode=0, mode=0)
    assert (early.mtime.microsecond, early.ctime.microsecond) == (999_999, 1), "rounded down"


def test_names_belong_to_the_package() -> None:
    for name in tw.__all__:
        value = getattr(tw, name)
        assert value is not None
        if isinstance(value, type):
            assert value.__module__ in ("treewarden", "treewarden._types"), value
            assert getattr(value, "__doc__", None), f"{name} has no documentation"
    assert tw.escape(EVIL) == r"<img src=x onerror=alert(1)> \x1b[31m\n\xff"
    assert tw.escape(EVIL.decode(errors="surrogateescape")) == tw.escape(EVIL)
