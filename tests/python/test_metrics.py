"""The numbers of the engine are those of the tree, and the page for Prometheus says the same."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
from pathlib import Path

import pytest

import treewarden as tw
from support import write
from treewarden import aio

LINE = re.compile(r"^(?P<name>treewarden_[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def numbers(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """A page as a reader sees it: each name and its labels once."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for line in page.splitlines():
        if line.startswith("#"):
            assert re.match(r"^# (HELP|TYPE) treewarden_[a-z_]+ .+$", line), line
            continue
        matched = LINE.match(line)
        assert matched is not None, line
        labels = LABEL.findall(matched["labels"] or "")
        key = (matched["name"], frozenset((name, re.sub(r"\\(.)", r"\1", text)) for name, text in labels))
        assert key not in found, line
        found[key] = float(matched["value"])
    return found


def test_numbers_are_those_of_the_tree(warden: tw.Warden, music: Path, state: Path) -> None:
    (music / "a.mp3").unlink()
    warden.scan()
    metrics = warden.metrics()
    on_disk = [Path(place, name) for place, _, names in os.walk(music) for name in names]
    (root,) = metrics.roots
    assert (root.name, root.files, root.missing, root.state) == ("music", len(on_disk), 1, "ready")
    assert root.bytes == sum(path.stat().st_size for path in on_disk) and root.dirs == 2
    assert root.last_operation is not None and root.last_operation.kind == "quick"
    assert root.last_operation.status == "ok" and root.last_operation.errors == 0
    assert root.last_operation.end.tzinfo is not None and root.last_operation.duration >= 0.0
    assert root.last_scan is not None and root.last_scan_ns == warden.roots()[0].last_scan_ns
    assert (metrics.seq, metrics.live, metrics.pipelines, metrics.mirrors) == (warden.seq, None, (), ())
    assert metrics.state_file_bytes == state.stat().st_size and metrics.journal_bytes > 0
    assert metrics.uptime >= 0.0


def test_the_page_says_the_same(warden: tw.Warden, tmp_path: Path) -> None:
    odd = 'q"uo\\te'
    write(tmp_path / "odd/x", "xyz")
    warden.add_root(odd, tmp_path / "odd")
    warden.scan()
    metrics = warden.metrics()
    page = metrics.to_prometheus()
    assert page == metrics.prometheus and page.endswith("\n")
    found = numbers(page)
    assert found["treewarden_seq", frozenset()] == metrics.seq
    for root in metrics.roots:
        assert found["treewarden_root_files", frozenset({("root", root.name)})] == root.files
        assert found["treewarden_root_bytes", frozenset({("root", root.name)})] == root.bytes
    assert {root.name for root in metrics.roots} == {"music", odd}


def test_pipelines_mirrors_and_watching_are_in_it(timed: tw.Warden, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    pipeline = timed.pipeline("p", rate=(5, 1.0))
    timed.mirror("m", "music", f"file://{tmp_path / 'remote'}", settle=0.0).sync()
    timed.watch()
    timed.sync()
    metrics = timed.metrics()
    (of_pipeline,), (of_mirror,) = metrics.pipelines, metrics.mirrors
    assert of_pipeline.status == pipeline.status() and of_pipeline.status.new == 5
    assert of_pipeline.limiter is not None and of_pipeline.limiter.limit == 5
    assert (of_mirror.name, of_mirror.objects) == ("m", 5)
    assert metrics.live is not None and [root.root for root in metrics.live.roots] == ["music"]
    found = numbers(metrics.to_prometheus())
    assert found["treewarden_pipeline_items", frozenset({("pipeline", "p"), ("state", "new")})] == 5
    assert found["treewarden_live_watching", frozenset()] == 1


def test_numbers_are_values(warden: tw.Warden) -> None:
    warden.pipeline("p", rate=(5, 1.0))
    metrics = warden.metrics()
    for value in (metrics, *metrics.roots, metrics.roots[0].last_operation, *metrics.pipelines):
        assert value is not None and pickle.loads(pickle.dumps(value)) == value
        assert type(value).__name__ in repr(value) and repr(value).isprintable()
        assert "# HELP" not in repr(value) and "# HELP" not in value._repr_html_()


def test_a_group_function_cannot_ask_for_them(warden: tw.Warden) -> None:
    caught: list[BaseException] = []

    def by(address: bytes) -> bytes:
        try:
            warden.metrics()
        except tw.InvalidArgumentError as error:
            caught.append(error)
        return b"music/all"

    warden.pipeline("p", group=by, settle=0.0).status()
    assert caught
    assert [pipeline.status.name for pipeline in warden.metrics().pipelines] == ["p"]


def test_a_closed_warden_has_none(warden: tw.Warden) -> None:
    warden.close()
    with pytest.raises(tw.ClosedError):
        warden.metrics()


def test_the_same_on_asyncio(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            metrics = await warden.metrics()
            assert metrics.seq == warden.seq and metrics.roots[0].files == 5

    asyncio.run(main())
