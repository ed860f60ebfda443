"""The Python part of the contract (DESIGN, section 8), line by line and in its words."""

from __future__ import annotations

import time
from pathlib import Path

import treewarden as tw
from support import ODD_NAMES, told, write


def test_the_contract_works_to_the_letter(tmp_path: Path, music: Path) -> None:
    state = tmp_path / "state.tw"
    write(music / "2024/cover.jpg", "jpg")
    write(music / "left.part", "half")

    with tw.open(state) as warden:
        added = warden.add_root("music", music, ignore=["*.part"], content_hash="changed")
        assert added.name == "music" and Path(added.fs_path) == music.resolve()

        report = warden.scan("music")
        counts = (report.added, report.modified, report.moved, report.missing, report.restored, report.errors)
        assert counts == (6, 0, 0, 0, 0, 0)
        assert report.elapsed >= 0.0 and report.is_clean and not report.is_unchanged

        snap = warden.snapshot()
        older = snap
        assert len(snap) == 6
        assert "music/a.mp3" in snap and "music/left.part" not in snap
        entry = snap["music/a.mp3"]
        assert (entry.path, entry.path_bytes, entry.size) == ("music/a.mp3", b"music/a.mp3", 3)
        on_disk = (music / "a.mp3").stat()
        assert entry.mtime_ns == on_disk.st_mtime_ns and entry.inode == on_disk.st_ino
        assert abs(entry.mtime.timestamp() - on_disk.st_mtime) < 0.001 and entry.mtime.tzinfo is not None
        assert entry.hash is not None and len(entry.hash) == 32
        assert entry.id > 0 and entry.seq == snap.seq

        found = [e.path for e in snap.files("music/2024", glob="**/*.flac")]
        assert found == ["music/2024/live/c.flac", "music/2024/live/d.flac"]

        totals = snap.du("music/2024")
        assert totals == tw.Totals(files=4, dirs=1, bytes=5 + 6 + 1 + 3)

        (music / "b.mp3").rename(music / "2024/b.mp3")
        warden.scan("music")
        snap = warden.snapshot()
        changes = snap.diff(older)
        assert len(changes) >= 1
        moved = next(change for change in changes if change.kind == "moved")
        assert (moved.path, moved.from_path) == ("music/2024/b.mp3", "music/b.mp3")
        assert moved.seq == snap.seq

        assert warden.attrs("music/a.mp3") == {}
        warden.set_attrs("music/a.mp3", {"rating": b"5"})
        assert warden.attrs("music/a.mp3") == {"rating": b"5"}

        settings = warden.space("settings")
        settings["theme"] = b"dark"
        assert settings["theme"] == b"dark"
        assert settings.items(prefix="the") == [(b"theme", b"dark")]

        seq = warden.seq
        with warden.batch() as b:
            b.put("settings", "k", b"v")
            b.set_attrs("music/a.mp3", {"rating": b"4"})
            b.advance("indexer", seq)
        assert settings["k"] == b"v" and warden.attrs("music/a.mp3") == {"rating": b"4"}
        assert warden.cursors() == {"indexer": seq}
        assert warden.seq == b.seq == seq + 1, "one commit"

        (music / "a.mp3").write_bytes(b"longer than before")
        warden.scan("music")
        assert told(warden.changes(since=seq)) == ["modified a.mp3"]

        warden.watch()
        write(music / "new.mp3", "new")
        warden.sync(timeout=30)
        assert "music/new.mp3" in warden.snapshot()
        warden.pause()
        warden.resume()

        p = warden.pipeline("thumbs", root="music", glob="**/*.jpg", rate=(35, 10.0), version=1)
        done = []
        for job in p.jobs(idle=5.0):
            with job:
                assert job.path == "music/2024/cover.jpg"
                assert Path(job.fs_path).read_bytes() == b"jpg"
                job.attrs["etag"] = "made"
                done.append(job.path)
            break
        assert done == ["music/2024/cover.jpg"]
        assert p.explain("music/2024/cover.jpg").attrs == {"etag": b"made"}
        assert list(p.claim(10)) == []

        status = warden.status()
        assert status.seq == warden.seq and [root.name for root in status.roots] == ["music"]
        assert len(warden.history(limit=10)) >= 3
        assert warden.explain("music/a.mp3").verdict == "current"
        verified = warden.verify()
        assert (verified.differences, verified.errors) == ((), 0)
    assert warden.closed


def test_a_snapshot_is_a_data_frame(warden: tw.Warden) -> None:
    import polars

    frame = polars.DataFrame(warden.snapshot())
    assert frame.height == 5
    assert frame["path"].to_list()[0] == "music/2024/live/c.flac"


def test_follow_is_durable_blocks_and_comes_in_batches(warden: tw.Warden, music: Path) -> None:
    with warden.follow("name", batch=2) as follow:
        delivery = follow.next(timeout=30.0)
        assert delivery is not None and len(delivery) >= 2, "whole commits"
        delivery.ack()
        assert follow.next(timeout=0.0) is None
        begun = time.monotonic()
        assert follow.next(timeout=0.2) is None and time.monotonic() - begun >= 0.2, "it waits"
    assert warden.cursor("name").position == delivery.upto


def test_names_are_bytes_and_come_through(tmp_path: Path) -> None:
    root = tmp_path / "odd"
    for name in ODD_NAMES:
        write(bytes(root) + b"/" + name, name)
    with tw.open(tmp_path / "state.tw") as warden:
        warden.add_root("odd", root)
        assert warden.scan("odd").added == len(ODD_NAMES)
        snapshot = warden.snapshot()
        assert sorted(e.path_bytes for e in snapshot) == sorted(b"odd/" + name for name in ODD_NAMES)
        for name in ODD_NAMES:
            address = b"odd/" + name
            entry = snapshot[address]
            assert entry.path_bytes == address and entry == snapshot[entry.path], "str goes out and comes in"
            assert entry.size == len(name)
            with open(Path(tmp_path, entry.path), "rb") as file:
                assert file.read() == name
