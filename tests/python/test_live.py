"""Watching: what changes on disk is seen, events are told, waits end when they should."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path
from typing import Any

import pytest

import treewarden as tw
from support import interrupts, told, wait_until, write


@pytest.mark.parametrize("backend", ["auto", "inotify", "notify"])
def test_what_changes_on_disk_is_seen_after_sync(warden: tw.Warden, music: Path, backend: Any) -> None:
    try:
        warden.watch(backend=backend)
    except tw.UnsupportedError:
        pytest.skip("this system lacks it")
    warden.sync()
    seq = warden.seq
    write(music / "new")
    (music / "a.mp3").rename(music / "2024/a.mp3")
    (music / "b.mp3").unlink()
    assert warden.sync(timeout=60.0) == warden.seq
    assert sorted(told(warden.changes(seq))) == ["added new", "missing b.mp3", "moved a.mp3 -> 2024/a.mp3"]


def test_a_change_comes_by_itself(warden: tw.Warden, music: Path) -> None:
    warden.watch(default=tw.RootWatch(preset="small"))
    warden.sync()
    follow = warden.follow("f")
    assert next(follow)
    write(music / "new")
    assert "added new" in told(next(follow))


def test_watching_can_be_looked_at_changed_and_ended(warden: tw.Warden, tmp_path: Path) -> None:
    write(tmp_path / "other/x")
    warden.add_root("other", tmp_path / "other")
    assert not warden.watching and warden.status().live is None
    poll = tw.RootWatch(mode="poll", poll=0.5, quick="15m", full="0 3 * * 0", reconcile="every 24h")
    warden.watch(roots={"other": poll, "music": tw.RootWatch(debounce=0.1, max_wait=1.0)}, scan_threads=1, nice=5)
    warden.sync()
    assert warden.watching
    live = warden.status().live
    assert live is not None and not live.paused and [root.root for root in live.roots] == ["music", "other"]
    music, other = live.roots
    assert (other.mode, other.coverage) == ("poll", "polling") and music.coherent
    assert other.next_quick is not None and other.next_full is not None and other.next_reconcile is not None
    assert music.next_quick is None and music.next_quick_ns is None
    write(tmp_path / "other/y")
    warden.sync()
    assert "other/y" in warden.snapshot()
    warden.watch(roots={"music": tw.RootWatch(no_reconcile=True)}, yields=False, watches_max=100_000)
    wait_until("only that one is watched", lambda: len(_live(warden).roots) == 1)
    assert _live(warden).roots[0].next_reconcile is None
    warden.unwatch()
    assert not warden.watching and warden.status().live is None


def _live(warden: tw.Warden) -> tw.LiveStatus:
    live = warden.status().live
    assert live is not None
    return live


def test_a_pause_holds_everything(warden: tw.Warden, music: Path) -> None:
    warden.watch()
    warden.sync()
    warden.pause()
    seq = warden.seq
    write(music / "new")
    with pytest.raises(tw.UnavailableError):
        warden.sync(timeout=5.0)
    assert _live(warden).paused and warden.seq == seq
    warden.resume()
    warden.sync()
    assert "music/new" in warden.snapshot()


def test_what_makes_no_sense_is_refused(warden: tw.Warden) -> None:
    with pytest.raises(tw.InvalidArgumentError):
        warden.sync(timeout=1.0)
    with pytest.raises(tw.InvalidArgumentError):
        warden.pause()
    with pytest.raises(tw.InvalidArgumentError):
        warden.resume()
    with pytest.raises(tw.NotFoundError):
        warden.watch(roots={"nothing": tw.RootWatch()})
    with pytest.raises(tw.InvalidArgumentError):
        warden.watch(nice=20)
    with pytest.raises(tw.InvalidArgumentError):
        warden.watch(backend="magic")  # type: ignore[arg-type]
    absurd: list[dict[str, Any]] = [
        {"preset": "huge"},
        {"mode": "stare"},
        {"debounce": -1.0},
        {"quick": "now and then"},
        {"full": "0 0 30 2 *"},
    ]
    for bad in absurd:
        with pytest.raises(tw.InvalidArgumentError):
            warden.watch(default=tw.RootWatch(**bad))
    assert not warden.watching


def test_a_sync_that_takes_too_long_says_so(state: Path, tmp_path: Path) -> None:
    root = tmp_path / "wide"
    for number in range(200):
        (root / str(number)).mkdir(parents=True)
        write(root / str(number) / "x")
    with tw.open(state) as warden:
        warden.add_root("wide", root)
        warden.watch()
        try:
            warden.sync(timeout=0.0)
        except TimeoutError as error:
            assert isinstance(error, tw.TimeoutError)
        warden.sync(timeout=60.0)
        assert len(warden.snapshot()) == 200


def test_events_tell_what_happens(warden: tw.Warden, music: Path) -> None:
    with warden.events() as events:
        write(music / "new")
        warden.scan("music")
        seen = [event for event in iter(lambda: events.next(timeout=0.0), None) if event.name != "scan_progress"]
        assert sorted(event.name for event in seen) == ["committed", "scan_finished", "scan_started"]
        committed, finished, started = sorted(seen, key=lambda event: event.name)
        assert (started.root, started.kind, started.seq) == ("music", "quick", None)
        assert committed.last_seq == warden.seq and committed.counts is not None and committed.counts.added == 1
        assert (finished.status, finished.seq) == ("ok", warden.seq) and finished.elapsed is not None
        assert "committed" in repr(committed) and "None" not in repr(committed)
    with pytest.raises(tw.ClosedError):
        events.next(timeout=0.0)


def test_an_unavailable_root_is_told(warden: tw.Warden, music: Path) -> None:
    with warden.events() as events:
        music.rename(music.with_name("away"))
        warden.scan()
        told = {event.name: event for event in iter(lambda: events.next(timeout=0.0), None)}
        assert told["root_unavailable"].root == "music" and told["root_unavailable"].reason
        music.with_name("away").rename(music)
        warden.scan()
        assert "root_back" in {event.name for event in iter(lambda: events.next(timeout=0.0), None)}


def test_a_subscriber_that_lags_is_told(warden: tw.Warden, music: Path) -> None:
    with warden.events(max_events=2) as events:
        for number in range(5):
            write(music / str(number))
            warden.scan()
        assert "reset" in {event.name for event in iter(lambda: events.next(timeout=0.0), None)}


def test_events_wait_and_wake(warden: tw.Warden) -> None:
    with warden.events() as events:
        timer = threading.Timer(0.2, lambda: warden.space("s").put("k", b"v"))
        timer.start()
        assert next(events).name == "committed"
        timer.join()
        assert events.next(timeout=0.05) is None
        events.interrupt()
        assert events.next(timeout=60.0) is None
        events.interrupt()
        assert list(events) == []


def readable(descriptor: int, timeout: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout)[0])


def test_descriptors_of_events_are_for_select(state: Path) -> None:
    with tw.open(state) as warden:
        events = warden.events()
        descriptor = events.fileno()
        assert events.fileno() == descriptor and not readable(descriptor, 0.0)
        warden.space("s")["k"] = b"v"
        assert readable(descriptor, 60.0)
        while events.next(timeout=0.0) is not None:
            pass
        assert not readable(descriptor, 0.0)
        warden.close()
        assert readable(descriptor, 60.0)
        with pytest.raises(tw.ClosedError):
            events.next(timeout=0.0)


def test_descriptors_of_following_are_for_select(warden: tw.Warden, music: Path) -> None:
    follow = warden.follow("f", ack=False)
    descriptor = follow.fileno()
    first = follow.next(timeout=0.0)
    assert first is not None
    first.ack()
    while follow.next(timeout=0.0) is not None:
        pass
    write(music / "new")
    warden.scan()
    assert readable(descriptor, 60.0)
    delivery = follow.next(timeout=0.0)
    assert delivery is not None and told(delivery) == ["added new"]
    warden.close()
    assert readable(descriptor, 60.0)


def test_ctrl_c_ends_waits_for_events_and_for_sync(state: Path, tmp_path: Path) -> None:
    root = tmp_path / "slow"
    for number in range(20):
        write(root / str(number))
        # Takes no room, and some time to read.
        os.truncate(root / str(number), 50_000_000)
    interrupts(
        """
        with tw.open(sys.argv[1], threads=1) as warden:
            events = warden.events()
            while events.next(timeout=0.0) is not None:
                pass
            interrupted(lambda: next(events))
            interrupted(lambda: events.next(timeout=60.0))
            warden.add_root("slow", sys.argv[2], content_hash="changed")
            warden.watch(scan_threads=1)
            def sync():
                # Again and again: this disk may be fast.
                while True:
                    warden.sync(timeout=60.0)
            interrupted(sync)
            warden.sync(timeout=60.0)
            assert len(warden.snapshot()) == 20
        """,
        state,
        root,
    )
