"""Roots and scans: options, reports, progress, cancelling, what is unavailable or held."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import treewarden as tw
from support import interrupts, paths, told, wait_until, write


def test_a_scan_that_finds_nothing_new_writes_nothing(warden: tw.Warden, state: Path) -> None:
    seq, size = warden.seq, state.stat().st_size
    report = warden.scan("music")
    assert report.is_unchanged and report.is_clean and not report.published
    assert (report.unchanged, report.files, report.dirs) == (5, 5, 3)
    assert (warden.seq, state.stat().st_size) == (seq, size)


def test_every_kind_of_change_is_reported(warden: tw.Warden, music: Path) -> None:
    seq, known = warden.seq, warden.snapshot()
    (music / "a.mp3").write_bytes(b"longer")
    (music / "b.mp3").rename(music / "2024/b2.mp3")
    (music / "2024/notes.txt").unlink()
    write(music / "new.mp3")
    report = warden.scan("music")
    assert (report.added, report.modified, report.moved, report.missing) == (1, 1, 1, 1)
    assert sorted(told(warden.changes(seq))) == [
        "added new.mp3",
        "missing 2024/notes.txt",
        "modified a.mp3",
        "moved b.mp3 -> 2024/b2.mp3",
    ]
    assert warden.snapshot()["music/2024/b2.mp3"].id == known["music/b.mp3"].id, "it is the same file"
    gone = warden.snapshot().missing("music/2024/notes.txt")
    assert gone is not None and gone.missing_since_ns is not None and gone.missing_since is not None


def test_a_missing_file_that_is_back_is_restored(warden: tw.Warden, music: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (music / "a.mp3").rename(outside)
    assert warden.scan("music").missing == 1
    outside.rename(music / "a.mp3")
    assert warden.scan("music").restored == 1


def test_one_target_gives_a_report_and_any_other_a_list(warden: tw.Warden, tmp_path: Path) -> None:
    write(tmp_path / "other/x")
    warden.add_root("other", tmp_path / "other")
    assert isinstance(warden.scan("music"), tw.Report)
    assert isinstance(warden.scan(b"music/2024"), tw.Report)
    assert [report.root for report in warden.scan()] == ["music", "other"]
    assert [report.root for report in warden.scan(targets=["other", "music/2024"])] == ["other", "music"]
    with pytest.raises(tw.InvalidArgumentError):
        warden.scan("music", targets=["other"])


def test_a_scan_of_a_part_sees_that_part_only(warden: tw.Warden, music: Path) -> None:
    write(music / "2024/new")
    write(music / "elsewhere")
    assert warden.scan("music/2024").added == 1
    assert "music/elsewhere" not in warden.snapshot()


@pytest.mark.parametrize("walker", ["auto", "fd", "jwalk"])
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_every_walker_finds_the_same(state: Path, music: Path, walker: Any, threads: int) -> None:
    with tw.open(state) as warden:
        warden.add_root("music", music)
        report = warden.scan("music", walker=walker, threads=threads, progressive=True)
        assert (report.added, report.dirs) == (5, 3)


def test_a_full_scan_finds_silent_corruption(state: Path, music: Path) -> None:
    with tw.open(state) as warden:
        warden.add_root("music", music, content_hash="changed")
        warden.scan("music")
        assert warden.scan("music", full=True).mode == "full"
        report = warden.verify(content=True)
        assert (report.checked, report.differences_total) == (5, 0)


def test_what_differs_is_verified(warden: tw.Warden, music: Path) -> None:
    (music / "a.mp3").unlink()
    (music / "b.mp3").write_bytes(b"other content")
    write(music / "odd\udcff")
    report = warden.verify("music")
    found = {difference.path: difference.what for difference in report.differences}
    assert found == {"music/a.mp3": "missing", "music/b.mp3": "changed", "music/odd\udcff": "unknown"}
    assert report.differences_total == 3
    assert b"music/odd\xff" in [difference.path_bytes for difference in report.differences]
    assert "music/a.mp3" in warden.snapshot(), "nothing was changed"


def test_ignored_files_are_left_out(state: Path, music: Path) -> None:
    write(music / ".hidden")
    write(music / "x.part")
    with tw.open(state) as warden:
        info = warden.add_root("music", music, ignore=iter(["*.part"]), junk=True)
        assert "*.part" in info.ignore and ".*" in info.ignore
        assert warden.scan("music").added == 5
        assert warden.explain("music/x.part").verdict == "ignored"
        changed = warden.set_root_options("music")
        assert changed.ignore == ()
        assert warden.scan("music").added == 2


def test_root_options_are_told(state: Path, music: Path) -> None:
    with tw.open(state) as warden:
        info = warden.add_root("music", os.fsencode(music), content_hash="changed", compare="size_mtime")
        assert (info.content_hash, info.compare, info.compare_asked) == ("changed", "size_mtime", "size_mtime")
        assert (info.state, info.last_scan, info.reason, info.held_missing) == ("new", None, None, None)
        warden.scan("music")
        (info,) = warden.roots()
        assert info.state == "ready" and info.last_scan is not None and info.totals.files == 5


def test_a_root_can_be_moved_and_removed(warden: tw.Warden, music: Path, tmp_path: Path) -> None:
    known = warden.snapshot()["music/a.mp3"].id
    there = music.rename(tmp_path / "there")
    info = warden.move_root("music", there)
    assert Path(info.fs_path) == there.resolve()
    assert warden.scan("music").is_unchanged
    assert warden.snapshot()["music/a.mp3"].id == known
    warden.remove_root("music")
    assert warden.roots() == [] and len(warden.snapshot()) == 0
    assert (there / "a.mp3").exists()


def test_a_root_that_is_gone_is_unavailable_and_keeps_its_state(warden: tw.Warden, music: Path) -> None:
    music.rename(music.with_name("away"))
    report = warden.scan("music")
    assert report.unavailable and not report.is_clean and report.missing == 0
    (info,) = warden.roots()
    assert info.state == "unavailable" and info.reason
    assert len(warden.snapshot()) == 5
    assert warden.explain("music/a.mp3").verdict == "unavailable"


def test_too_much_missing_is_held_until_it_is_accepted(state: Path, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(150):
        write(root / f"{number:03}")
    with tw.open(state) as warden:
        warden.add_root("many", root)
        warden.scan("many")
        for number in range(120):
            (root / f"{number:03}").unlink()
        report = warden.scan("many")
        assert report.held == tw.Held(missing=120, of=150) and not report.is_clean
        (info,) = warden.roots()
        assert (info.state, info.held_missing, info.held_of) == ("held", 120, 150)
        assert warden.scan("many", accept_missing=True).missing == 120
        assert len(warden.snapshot()) == 30


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_keeps_its_state_and_is_said(warden: tw.Warden, music: Path) -> None:
    (music / "2024").chmod(0)
    try:
        report = warden.scan("music")
    finally:
        (music / "2024").chmod(0o755)
    assert report.errors == 1 and report.missing == 0
    (error,) = report.first_errors
    assert (error.path, error.path_bytes, error.kind) == ("music/2024", b"music/2024", "permission_denied")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that takes some time. Nobody changes it."""
    root = tmp_path_factory.mktemp("scan") / "wide"
    for number in range(300):
        directory = root / f"{number:03}"
        directory.mkdir(parents=True)
        for name in range(20):
            (directory / str(name)).write_bytes(b"x")
    return root


def test_progress_is_told_on_the_calling_thread(state: Path, wide: Path) -> None:
    heard: list[tuple[int, tw.Progress]] = []
    with tw.open(state) as warden:
        warden.add_root("wide", wide, content_hash="changed")
        warden.scan("wide", progress=lambda progress: heard.append((threading.get_ident(), progress)))
        warden.verify(content=True, progress=lambda progress: heard.append((threading.get_ident(), progress)))
    assert {thread for thread, _ in heard} <= {threading.get_ident()}
    for _, progress in heard:
        assert progress.root == "wide" and progress.phase in {"walk", "hash", "commit"}
        assert progress.files >= 0 and progress.files_per_s >= 0.0
        assert progress.eta is None or progress.eta >= 0.0
    assert "hash" in {progress.phase for _, progress in heard}, "a new phase is told at once"


def test_an_exception_of_the_progress_function_cancels_the_scan(state: Path, wide: Path) -> None:
    def refuse(progress: tw.Progress) -> None:
        raise LookupError("enough")

    with tw.open(state) as warden:
        warden.add_root("wide", wide, content_hash="changed")
        with pytest.raises(LookupError, match="enough"):
            warden.scan("wide", progress=refuse)
        with pytest.raises(TypeError):
            warden.scan("wide", progress="no function")  # type: ignore[call-overload]
        report = warden.scan("wide")
        assert report.files == 6_000 and len(warden.snapshot()) == 6_000


def test_a_cancelled_scan_applies_nothing(state: Path, wide: Path) -> None:
    token = tw.CancelToken()
    assert not token.cancelled
    token.cancel()
    assert token.cancelled
    with tw.open(state) as warden:
        warden.add_root("wide", wide)
        report = warden.scan("wide", cancel=token)
        assert report.cancelled and not report.published
        assert len(warden.snapshot()) == 0
        with pytest.raises(tw.CancelledError):
            warden.verify(cancel=token)
        assert [report.cancelled for report in warden.scan(cancel=token)] == [True]


def test_a_scan_is_cancelled_from_another_thread(state: Path, wide: Path) -> None:
    token = tw.CancelToken()
    with tw.open(state) as warden:
        warden.add_root("wide", wide, content_hash="changed")
        # From its own progress: the scan is certainly under way.
        report = warden.scan("wide", progress=lambda _: token.cancel(), cancel=token)
        assert report.cancelled or report.files == 6_000, "it may have been faster"


def test_other_threads_run_during_a_scan(state: Path, wide: Path) -> None:
    turns = 0
    ended = threading.Event()

    def count() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1

    with tw.open(state) as warden:
        warden.add_root("wide", wide, content_hash="changed")
        thread = threading.Thread(target=count)
        thread.start()
        try:
            wait_until("the thread runs", lambda: turns > 0)
            before = turns
            warden.scan("wide")
            assert turns > before
        finally:
            ended.set()
            thread.join()


def test_tqdm_shows_progress(state: Path, wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from treewarden.progress import tqdm_progress

    with tw.open(state) as warden, tqdm_progress(mininterval=0.0, ncols=80) as progress:
        warden.add_root("wide", wide, content_hash="changed")
        warden.scan("wide", progress=progress)
    # Which phases last long enough to be told of depends on the machine; that of reading content always is.
    assert "wide: hash" in capsys.readouterr().err


def test_tqdm_takes_one_bar_for_each_phase_and_more_files_than_expected() -> None:
    from treewarden.progress import tqdm_progress

    def at(phase: Any, files: int, estimate: int | None) -> tw.Progress:
        return tw.Progress(
            root="r", phase=phase, dirs=1, files=files, bytes=0, estimate_files=estimate, files_per_s=1.0, eta_ms=None
        )

    progress = tqdm_progress(disable=True)
    for step in (at("walk", 5, None), at("walk", 30, 20), at("hash", 1, 30), at("commit", 0, None)):
        progress(step)
    progress.close()
    progress.close()


def test_ctrl_c_cancels_a_scan_and_the_warden_goes_on(state: Path, wide: Path) -> None:
    interrupts(
        """
        with tw.open(sys.argv[1]) as warden:
            warden.add_root("wide", sys.argv[2], content_hash="changed")
            def slowly(progress):
                # The scan itself is too fast to be caught; this is called on the thread that called it.
                time.sleep(30)
            interrupted(lambda: warden.scan("wide", progress=slowly))
            assert len(warden.snapshot()) in (0, 6000)
            assert warden.scan("wide").files == 6000
        """,
        state,
        wide,
    )


def test_pathlike_str_and_bytes_are_paths(tmp_path: Path, music: Path) -> None:
    class Odd:
        def __fspath__(self) -> bytes:
            return os.fsencode(music)

    with tw.open(os.fsencode(tmp_path / "state.tw")) as warden:
        warden.add_root("music", Odd())
        assert warden.scan(Path("music/2024")).added == 5, "a root that is new has no parts yet"
        write(music / "2024/new")
        write(music / "unseen")
        assert warden.scan(Path("music/2024")).added == 1
        snapshot = warden.snapshot()
        assert b"music/2024/notes.txt" in snapshot and Path("music/2024/notes.txt") in snapshot
        assert os.fsencode(warden.path) == os.fsencode(tmp_path / "state.tw")
        with pytest.raises(TypeError):
            warden.scan(3)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            warden.add_root("x", None)  # type: ignore[arg-type]


def test_nested_roots_own_what_lies_in_them(warden: tw.Warden, music: Path) -> None:
    warden.add_root("live", music / "2024/live")
    warden.scan()
    assert paths(warden.snapshot().files("live")) == ["live/c.flac", "live/d.flac"]
    assert "music/2024/live/c.flac" not in warden.snapshot()


def test_maintenance(warden: tw.Warden, state: Path) -> None:
    warden.check()
    assert warden.maintain() == 0
    compacted = warden.compact()
    assert compacted.after_bytes <= compacted.before_bytes
    assert len(list(warden.snapshot())) == 5


def test_a_damaged_file_is_rebuilt(state: Path, music: Path) -> None:
    with tw.open(state) as warden:
        warden.add_root("music", music)
        warden.scan()
        warden.space("settings")["theme"] = b"dark"
    report = tw.rebuild(state)
    assert (report.roots, report.entries, report.lost_rows, report.spaces_rows) == (1, 5, 0, 1)
    assert Path(report.kept_as).exists()
    with tw.open(state, create=False) as warden:
        assert len(warden.snapshot()) == 5 and warden.space("settings")["theme"] == b"dark"
