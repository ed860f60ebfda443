"""Snapshots: lookups, filters, totals, differences, and that they stay as they are."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import treewarden as tw
from support import paths, told, write

ALL = ["music/2024/live/c.flac", "music/2024/live/d.flac", "music/2024/notes.txt", "music/a.mp3", "music/b.mp3"]


def test_entries_are_found_by_address(warden: tw.Warden) -> None:
    snapshot = warden.snapshot()
    assert snapshot["music/a.mp3"].is_file
    assert snapshot["music/2024"].is_dir and snapshot["music"].is_dir
    assert snapshot[b"music/2024/"] == snapshot["music/2024"]
    assert snapshot.get("music/nothing") is None
    assert snapshot.get("music/nothing", 7) == 7
    assert "music/nothing" not in snapshot and "" not in snapshot and "music//" not in snapshot
    with pytest.raises(KeyError) as error:
        snapshot["music/nothing"]
    assert isinstance(error.value, tw.NotFoundError) and error.value.path == "music/nothing"
    with pytest.raises(TypeError):
        snapshot[0]  # type: ignore[index]


def test_everything_is_listed_in_path_order(warden: tw.Warden) -> None:
    snapshot = warden.snapshot()
    assert paths(snapshot) == paths(snapshot.files()) == ALL
    assert len(snapshot) == len(ALL) and snapshot.roots == ["music"]
    assert paths(snapshot.files("music", dirs=True)) == ["music/2024", "music/2024/live", *ALL]
    entries = snapshot.files()
    assert next(entries).path == ALL[0] and paths(entries) == ALL[1:] and list(entries) == []


def test_filters_hold_together(warden: tw.Warden, music: Path) -> None:
    snapshot = warden.snapshot()
    assert paths(snapshot.files("music/2024")) == ALL[:3]
    assert paths(snapshot.files("music/20")) == []
    assert paths(snapshot.files("music", glob="*.mp3")) == ALL[3:]
    assert paths(snapshot.files("music", glob="**/*.{flac,txt}")) == ALL[:3]
    assert paths(snapshot.files(min_size=5)) == ALL[:2]
    assert paths(snapshot.files(max_size=1)) == [ALL[2]]
    assert paths(snapshot.files(min_size=3, max_size=4, glob="**/a*")) == [ALL[3]]
    assert paths(snapshot.files("music", kind="dir")) == ["music/2024", "music/2024/live"]
    assert paths(snapshot.children("music")) == ["music/2024", "music/a.mp3", "music/b.mp3"]
    assert paths(snapshot.children("")) == ["music"]
    with pytest.raises(tw.InvalidArgumentError):
        snapshot.files(glob="[a")
    with pytest.raises(ValueError):
        snapshot.files(kind="door")  # type: ignore[arg-type]


def test_times_filter_by_datetime_and_by_nanoseconds(warden: tw.Warden, music: Path) -> None:
    long_ago = datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)
    os.utime(music / "a.mp3", ns=(10**18, 10**18))
    warden.scan()
    snapshot = warden.snapshot()
    entry = snapshot["music/a.mp3"]
    assert entry.mtime_ns == 10**18 and entry.mtime == long_ago
    assert paths(snapshot.files(modified_until=long_ago)) == ["music/a.mp3"]
    assert paths(snapshot.files(modified_until=10**18)) == ["music/a.mp3"]
    assert paths(snapshot.files(modified_until=10**18 - 1)) == []
    later = long_ago.astimezone(timezone(timedelta(hours=5))) + timedelta(microseconds=1)
    assert "music/a.mp3" not in paths(snapshot.files(modified_since=later))
    assert len(paths(snapshot.files(modified_since=later))) == 4
    with pytest.raises(tw.InvalidArgumentError, match="time zone"):
        snapshot.files(modified_since=datetime(2001, 1, 1))
    with pytest.raises(TypeError):
        snapshot.files(modified_since="yesterday")  # type: ignore[arg-type]


def test_an_entry_tells_all_that_was_observed(warden: tw.Warden, music: Path) -> None:
    (music / "link").symlink_to(b"to/\xff")
    warden.scan()
    snapshot = warden.snapshot()
    link = snapshot["music/link"]
    assert link.is_symlink and not link.is_file and link.kind == "symlink"
    assert (link.target, link.target_bytes) == ("to/\udcff", b"to/\xff")
    entry, stat = snapshot["music/2024/live/c.flac"], (music / "2024/live/c.flac").stat()
    assert (entry.name, entry.root, entry.size, entry.mode) == ("c.flac", "music", 5, stat.st_mode)
    assert (entry.inode, entry.mtime_ns, entry.ctime_ns) == (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
    assert entry.ctime.tzinfo == timezone.utc and (entry.btime is None) == (entry.btime_ns is None)
    assert (entry.hash, entry.target, entry.target_bytes, entry.missing_since, entry.missing_since_ns) == (None,) * 5
    with pytest.raises(AttributeError):
        entry.size = 3  # type: ignore[misc]


def test_entries_are_values(warden: tw.Warden) -> None:
    snapshot = warden.snapshot()
    one, same, other = snapshot["music/a.mp3"], snapshot["music/a.mp3"], snapshot["music/b.mp3"]
    assert one == same and one is not same and hash(one) == hash(same)
    assert one != other and one != "music/a.mp3"
    assert len({one, same, other}) == 2


def test_tombstones_are_found_and_listed(warden: tw.Warden, music: Path) -> None:
    known = warden.snapshot()["music/a.mp3"]
    (music / "a.mp3").unlink()
    warden.scan()
    snapshot = warden.snapshot()
    gone = snapshot.missing("music/a.mp3")
    assert gone is not None and gone.id == known.id and gone.missing_since is not None
    assert datetime.now(timezone.utc) - gone.missing_since < timedelta(hours=1)
    assert snapshot.missing("music/b.mp3") is None
    assert paths(snapshot.files(missing=True)) == ["music/a.mp3"]
    assert "music/a.mp3" not in snapshot and "missing" in repr(gone)


def test_totals_of_any_directory(warden: tw.Warden) -> None:
    snapshot = warden.snapshot()
    assert snapshot.du() == snapshot.du("music") == tw.Totals(files=5, dirs=2, bytes=19)
    assert snapshot.du("music/2024/live") == tw.Totals(files=2, dirs=0, bytes=11)
    assert snapshot.du("music/a.mp3") == tw.Totals(files=1, dirs=0, bytes=3)
    with pytest.raises(tw.NotFoundError):
        snapshot.du("music/nothing")


def test_a_snapshot_stays_as_it_is_and_outlives_its_warden(state: Path, music: Path) -> None:
    with tw.open(state) as warden:
        assert len(warden.snapshot()) == 0 and warden.snapshot().du() == tw.Totals(files=0, dirs=0, bytes=0)
        warden.add_root("music", music)
        warden.scan()
        old = warden.snapshot()
        write(music / "new")
        (music / "a.mp3").unlink()
        warden.scan()
        new = warden.snapshot()
    assert paths(old) == ALL and "music/a.mp3" in old
    assert "music/new" in new and new.seq > old.seq
    assert sorted(told(new.diff(old))) == ["added new", "missing a.mp3"]
    assert sorted(told(old.diff(new))) == ["added a.mp3", "missing new"]
    assert list(new.diff(new)) == []


def test_differences_are_a_list(warden: tw.Warden, music: Path) -> None:
    old = warden.snapshot()
    for name in "xyz":
        write(music / name)
    warden.scan()
    changes = warden.snapshot().diff(old)
    files = [change for change in changes if change.entry_kind == "file"]
    assert [change.path for change in files] == ["music/x", "music/y", "music/z"]
    assert len(changes) == len(list(changes)) and changes[-1] == changes[len(changes) - 1]
    assert changes[0:2] == [changes[0], changes[1]] and changes[::-1] == list(changes)[::-1]
    assert changes.index(files[1]) >= 1 and changes.count(files[1]) == 1 and files[1] in changes
    assert list(reversed(changes)) == list(changes)[::-1]
    for others in (warden.history(), warden.cursor("c").read(), warden.pipeline("p").list()):
        assert len(others) > 0 and list(reversed(others)) == list(others)[::-1]
    with pytest.raises(IndexError):
        changes[len(changes)]
    with pytest.raises(ValueError):
        changes.index("music/x")
    with pytest.raises(TypeError):
        changes["x"]  # type: ignore[call-overload]


def test_a_rescan_without_changes_gives_an_equal_snapshot(warden: tw.Warden) -> None:
    old = warden.snapshot()
    warden.scan()
    assert warden.snapshot().seq == old.seq and list(warden.snapshot()) == list(old)
