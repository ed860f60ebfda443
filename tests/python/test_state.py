"""The program's own state: attributes, spaces, batches; the journal, cursors and following it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import treewarden as tw
from support import interrupts, told, write

# Attributes


def test_attributes_are_set_removed_and_follow_a_move(warden: tw.Warden, music: Path) -> None:
    seq = warden.set_attrs("music/a.mp3", {"rating": b"5", "seen": bytearray(b"yes"), "raw": memoryview(b"\x00\xff")})
    assert seq == warden.seq
    assert warden.attrs(b"music/a.mp3") == {"rating": b"5", "raw": b"\x00\xff", "seen": b"yes"}
    warden.set_attrs("music/a.mp3", {"seen": None, "rating": b"4"})
    (music / "a.mp3").rename(music / "2024/z.mp3")
    warden.scan()
    assert warden.attrs("music/2024/z.mp3") == {"rating": b"4", "raw": b"\x00\xff"}
    with pytest.raises(tw.NotFoundError):
        warden.attrs("music/a.mp3")
    (music / "2024/z.mp3").unlink()
    warden.scan()
    assert warden.attrs("music/2024/z.mp3")["rating"] == b"4", "a tombstone keeps them"


def test_bad_attributes_are_refused(warden: tw.Warden) -> None:
    with pytest.raises(tw.NotFoundError):
        warden.set_attrs("music/nothing", {"a": b"b"})
    with pytest.raises(tw.TooLargeError):
        warden.set_attrs("music/a.mp3", {"a": bytes(64 * 1024 + 1)})
    with pytest.raises(tw.InvalidArgumentError):
        warden.set_attrs("music/a.mp3", {"": b""})
    with pytest.raises(TypeError):
        warden.set_attrs("music/a.mp3", {"a": "text"})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        warden.set_attrs("music/a.mp3", {"a": 3})  # type: ignore[dict-item]
    assert warden.attrs("music/a.mp3") == {}


# Spaces


def test_a_space_is_like_a_dictionary(warden: tw.Warden) -> None:
    space = warden.space("settings")
    assert space.name == "settings" and len(space) == 0 and list(space) == []
    space["theme"] = b"dark"
    space[b"\xff"] = memoryview(b"bytes")
    assert space["theme"] == space.get("theme") == b"dark" and space[b"\xff"] == b"bytes"
    assert "theme" in space and b"theme" in space and "nothing" not in space
    assert space.get("nothing") is None and space.get("nothing", b"else") == b"else"
    assert list(space) == space.keys() == [b"theme", b"\xff"] and len(space) == 2
    assert dict(space.items()) == {b"theme": b"dark", b"\xff": b"bytes"}
    del space["theme"]
    with pytest.raises(KeyError):
        space["theme"]
    with pytest.raises(tw.NotFoundError):
        del space["theme"]
    assert warden.space("settings")[b"\xff"] == b"bytes" and len(warden.space("other")) == 0


def test_a_space_is_read_in_pages(warden: tw.Warden) -> None:
    space = warden.space("s")
    seq = warden.seq
    assert space.update({f"k{number:03}": str(number).encode() for number in range(300)}) == seq + 1, "one commit"
    assert len(space.items()) == 300 and len(space.items("k00")) == 10
    page = space.items("k", limit=7)
    assert [key for key, _ in page] == [f"k{number:03}".encode() for number in range(7)]
    assert space.items("k", after=page[-1][0], limit=1) == [(b"k007", b"7")]
    assert space.items(b"k29", after="k298") == [(b"k299", b"299")]
    assert space.keys(prefix="k1")[0] == b"k100" and len(space) == 300


def test_puts_and_deletes_say_what_they_did(warden: tw.Warden) -> None:
    space = warden.space("s")
    assert space.put("k", b"v") == warden.seq
    assert space.delete("k") is True
    seq = warden.seq
    assert space.delete("k") is False and warden.seq == seq, "nothing to do costs no commit"


def test_compare_and_set(warden: tw.Warden) -> None:
    space = warden.space("s")
    assert space.compare_and_set("k", None, b"1") is True
    assert space.compare_and_set("k", None, b"2") is False
    assert space.compare_and_set("k", b"0", b"2") is False and space["k"] == b"1"
    assert space.compare_and_set("k", b"1", b"2") is True and space["k"] == b"2"
    assert space.compare_and_set("k", b"2", None) is True and "k" not in space


def test_bad_keys_and_values_are_refused(warden: tw.Warden) -> None:
    space = warden.space("s")
    with pytest.raises(tw.InvalidArgumentError):
        space[""] = b""
    with pytest.raises(tw.TooLargeError):
        space["k" * 4097] = b""
    with pytest.raises(TypeError):
        space["k"] = "text"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        space[3] = b""  # type: ignore[index]
    with pytest.raises(tw.InvalidArgumentError):
        warden.space("a/b")
    assert len(space) == 0


# Batches


def test_a_batch_is_one_commit(warden: tw.Warden) -> None:
    seq = warden.seq
    with warden.batch() as batch:
        assert batch.seq is None
        batch.put("s", "a", b"1")
        batch.put("t", b"b", b"2")
        batch.delete("s", "nothing")
        batch.compare_and_set("s", "c", None, b"3")
        batch.set_attrs("music/a.mp3", {"x": b"y", "z": b""})
        batch.remove_attr("music/a.mp3", "z")
        batch.advance("cursor", seq)
        assert warden.seq == seq and "a" not in warden.space("s"), "nothing happens before the end"
    assert batch.seq == warden.seq == seq + 1
    assert warden.space("s").items() == [(b"a", b"1"), (b"c", b"3")] and warden.space("t")["b"] == b"2"
    assert warden.attrs("music/a.mp3") == {"x": b"y"} and warden.cursors() == {"cursor": seq}


def test_a_batch_that_fails_does_nothing(warden: tw.Warden) -> None:
    seq = warden.seq
    with pytest.raises(tw.ConflictError):
        with warden.batch() as batch:
            batch.put("s", "a", b"1")
            batch.compare_and_set("s", "b", b"expected", b"2")
    with pytest.raises(LookupError):
        with warden.batch() as batch:
            batch.put("s", "a", b"1")
            raise LookupError
    with pytest.raises(tw.InvalidArgumentError):
        with warden.batch() as batch:
            batch.put("s", "a", b"1")
            batch.put("bad/name", "a", b"1")
    assert warden.seq == seq and len(warden.space("s")) == 0


def test_a_batch_is_committed_once(warden: tw.Warden) -> None:
    with warden.batch() as batch:
        batch.put("s", "a", b"1")
        assert batch.commit() == warden.seq
    with pytest.raises(tw.InvalidArgumentError):
        batch.commit()
    with pytest.raises(tw.InvalidArgumentError):
        batch.put("s", "b", b"2")
    empty = warden.batch()
    assert empty.commit() == warden.seq


# The journal


def test_changes_are_told_once_and_in_order(warden: tw.Warden, music: Path) -> None:
    start, token = warden.seq, warden.token()
    assert list(warden.changes(start)) == []
    write(music / "new/x")
    warden.scan()
    changes = warden.changes(start)
    assert changes.last_seq == warden.seq
    everything = list(changes)
    assert [(c.kind, c.entry_kind, c.path) for c in everything if c.kind == "added"] == [
        ("added", "dir", "music/new"),
        ("added", "file", "music/new/x"),
    ]
    assert list(warden.changes(token)) == everything, "a token is as good"
    assert {c.entry_kind for c in warden.changes(start).files_only()} == {"file"}
    assert all(c.root == "music" and c.seq == warden.seq and c.id > 0 for c in everything)
    assert len(told(warden.changes())) == 6, "from the beginning"


def test_a_consumer_that_cannot_go_on_is_told(warden: tw.Warden, tmp_path: Path) -> None:
    with pytest.raises(tw.ResetError) as error:
        warden.changes(warden.seq + 1000)
    assert error.value.restart_seq == warden.seq and error.value.hint
    with tw.open(tmp_path / "other.tw") as other:
        with pytest.raises(tw.ResetError):
            warden.changes(other.token())
    with pytest.raises(tw.InvalidArgumentError):
        warden.changes("no token")
    with pytest.raises(TypeError):
        warden.changes(1.5)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        warden.changes(-1)


def test_cursors_survive_restarts(state: Path, music: Path) -> None:
    with tw.open(state) as warden:
        warden.add_root("music", music)
        warden.scan()
        cursor = warden.cursor("indexer")
        assert (cursor.name, cursor.position) == ("indexer", 0)
        delivery = cursor.read()
        assert len(delivery) >= 5 and delivery.upto == warden.seq
        assert list(cursor.read()) == list(delivery), "not acknowledged: it comes again"
        delivery.ack()
        upto = delivery.upto
    with tw.open(state) as warden:
        cursor = warden.cursor("indexer")
        assert cursor.position == upto and list(cursor.read()) == []
        with pytest.raises(tw.ConflictError):
            cursor.advance(upto - 1)
        assert warden.cursors() == {"indexer": upto}


def test_a_delivery_acknowledges_in_a_with_block(warden: tw.Warden) -> None:
    cursor = warden.cursor("c")
    with pytest.raises(LookupError):
        with cursor.read():
            raise LookupError
    assert cursor.position == 0
    with cursor.read() as delivery:
        assert delivery[0].kind == "added" and delivery[-1:] == [delivery[len(delivery) - 1]]
    assert cursor.position == delivery.upto


def test_following_waits_and_wakes(warden: tw.Warden, music: Path) -> None:
    def change() -> None:
        write(music / "new")
        warden.scan()

    warden.cursor("f").advance(warden.seq)
    with warden.follow("f") as follow:
        changing = threading.Timer(0.2, change)
        changing.start()
        delivery = follow.next(timeout=60.0)
        changing.join()
        assert delivery is not None and told(delivery) == ["added new"]
        assert follow.cursor.name == "f" and follow.position < delivery.upto


def test_iterating_acknowledges_what_has_been_worked_on(warden: tw.Warden, music: Path) -> None:
    follow = warden.follow("f", batch=1)
    first = next(follow)
    assert follow.position < first.upto
    write(music / "more")
    warden.scan()
    second = next(follow)
    assert follow.position == first.upto, "when the next one is asked for"
    assert told(second) == ["added more"]
    lazy = warden.follow("by hand", ack=False)
    one, same = next(lazy), lazy.next(timeout=0.0)
    assert same is not None and list(one) == list(same) and lazy.position == 0
    one.ack()
    assert lazy.position == one.upto


def test_an_interrupt_ends_the_iteration(warden: tw.Warden) -> None:
    warden.cursor("f").advance(warden.seq)
    follow = warden.follow("f")
    follow.interrupt()
    assert list(follow) == []
    follow.interrupt()
    assert follow.next(timeout=60.0) is None
    with pytest.raises(tw.InvalidArgumentError):
        follow.next(timeout=-1.0)
    with pytest.raises(tw.InvalidArgumentError):
        follow.next(timeout=float("nan"))


def test_closing_ends_every_wait(warden: tw.Warden) -> None:
    busy, idle = warden.pipeline("busy"), warden.pipeline("idle", glob="nothing")
    follow, events = warden.follow("f"), warden.events()
    waits: dict[str, Callable[[], object]] = {
        "follow": lambda: list(follow),
        "events": lambda: list(events),
        "wait": lambda: warden.wait(10**6),
        "claim": lambda: idle.claim(1, timeout=None),
        "jobs": lambda: list(idle.jobs()),
        "wait idle": lambda: busy.wait_idle(),
    }
    begun, ended = threading.Barrier(len(waits) + 1), []

    def wait(name: str) -> None:
        begun.wait()
        try:
            waits[name]()
        except tw.ClosedError:
            ended.append(name)

    threads = [threading.Thread(target=wait, args=(name,)) for name in waits]
    for thread in threads:
        thread.start()
    begun.wait()
    # Most of them wait by now, and those that do not yet are refused.
    warden.close()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == sorted(waits)


def test_waiting_for_a_commit(warden: tw.Warden) -> None:
    seq = warden.seq
    assert warden.wait(seq, timeout=0.0) == seq
    assert warden.wait(seq - 1) == seq
    timer = threading.Timer(0.1, lambda: warden.space("s").put("k", b"v"))
    timer.start()
    assert warden.wait(seq, timeout=60.0) == seq + 1
    timer.join()


def test_ctrl_c_ends_following_and_waiting(state: Path) -> None:
    interrupts(
        """
        with tw.open(sys.argv[1]) as warden:
            interrupted(lambda: next(warden.follow("f")))
            interrupted(lambda: warden.follow("f").next(timeout=60))
            interrupted(lambda: warden.wait(10 ** 6))
            interrupted(lambda: warden.wait(10 ** 6, timeout=60))
            assert warden.space("s").put("k", b"v") == warden.seq
        """,
        state,
    )


def test_history_tells_what_ran(warden: tw.Warden, music: Path) -> None:
    write(music / "new")
    warden.scan()
    history = warden.history()
    assert [operation.kind for operation in history] == ["quick", "quick"]
    newest = history[0]
    assert (newest.root, newest.status, newest.counts.added, newest.error) == ("music", "ok", 1, None)
    assert newest.end >= newest.start and newest.seq == warden.seq
    assert history[-1].counts.added == 5 and len(history[:1]) == 1 and history.index(newest) == 0
    assert len(warden.history(limit=1)) == 1


def test_an_explanation_says_all_that_is_known(warden: tw.Warden, music: Path) -> None:
    warden.set_attrs("music/a.mp3", {"x": b"yz"})
    told = warden.explain("music/a.mp3")
    assert (told.address, told.verdict, told.attrs) == ("music/a.mp3", "current", {"x": 2})
    assert told.root is not None and told.root.name == "music" and told.reasons
    assert told.entry == warden.snapshot()["music/a.mp3"] and told.missing is None
    assert told.on_disk is not None and told.on_disk.inode == os.stat(music / "a.mp3").st_ino
    assert warden.explain("music/nothing").verdict == "unknown"
    write(music / "new\udcff")
    assert warden.explain(b"music/new\xff").verdict == "new"


def test_status_at_a_glance(warden: tw.Warden, state: Path) -> None:
    status = warden.status()
    assert os.path.samefile(status.fs_path, state) and status.file_bytes == state.stat().st_size
    assert len(status.database_id) == 32 and status.seq == status.journal_last_seq == warden.seq
    assert (status.durability, status.missing, status.live, status.pipelines) == ("durable", 0, None, ())
    assert status.totals == warden.snapshot().du()
    warden.pipeline("p")
    assert [pipeline.name for pipeline in warden.status().pipelines] == ["p"]


def test_a_relaxed_warden_keeps_what_was_closed(state: Path) -> None:
    with tw.open(state, durability="relaxed", cache_bytes=1 << 20, threads=2, history_keep_max=10) as warden:
        warden.space("s")["k"] = b"v"
        assert warden.status().durability == "relaxed"
    with tw.open(state, read_only=True) as reader, tw.open(state, read_only=True) as another:
        assert reader.space("s")["k"] == another.space("s")["k"] == b"v"
        with pytest.raises(tw.ReadOnlyError):
            reader.space("s")["k"] = b"w"


def test_old_changes_and_tombstones_go(state: Path, music: Path, clock: tw.Clock) -> None:
    with tw.open(state, clock=clock, tombstone_keep_ms=1000, journal_keep_ms=1000) as warden:
        warden.add_root("music", music)
        warden.scan()
        (music / "a.mp3").unlink()
        warden.scan()
        clock.advance(3600.0)
        assert warden.maintain() == 1
        assert warden.snapshot().missing("music/a.mp3") is None
        write(music / "new")
        warden.scan()
        clock.advance(3600.0)
        warden.maintain()
        with pytest.raises(tw.ResetError) as error:
            list(warden.changes(0))
        assert error.value.restart_seq is not None
        cursor = warden.cursor("late")
        with pytest.raises(tw.ResetError):
            cursor.read()
        cursor.advance(error.value.restart_seq)
        assert list(cursor.read()) == []
