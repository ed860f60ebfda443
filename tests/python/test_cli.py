"""`python -m treewarden` is the program: its words, its JSON, its exit codes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import treewarden as tw
from support import HANG, write
from treewarden import __main__ as program


def treewarden(*arguments: str | bytes | Path, db: Path, code: int = 0, binary: bool = False) -> Any:
    command = [sys.executable, "-m", "treewarden", "--db", db, *arguments]
    ended = subprocess.run(command, capture_output=True, timeout=HANG)
    assert ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
    assert b"Traceback" not in ended.stderr
    return ended.stdout if binary else ended.stdout.decode()


def objects(*arguments: str | bytes | Path, db: Path, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in treewarden("--json", *arguments, db=db, code=code).splitlines()]


def test_scan_ls_and_changes_as_json(state: Path, music: Path) -> None:
    (report,) = objects("scan", music, db=state)
    assert (report["root"], report["mode"], report["added"], report["unchanged"]) == ("music", "quick", 5, 0)
    assert (report["held"], report["unavailable"], report["errors"]) == (None, None, 0)
    assert report["dirs"] == 3 and report["files"] == 5 and report["elapsed_ms"] >= 0 and report["seq"] > 0
    entries = objects("ls", db=state)
    assert [(entry["root"], entry["path"]) for entry in entries][:1] == [("music", "2024/live/c.flac")]
    assert {"root", "path", "kind", "size", "mtime_ns", "ctime_ns", "inode", "mode", "seq", "id"} <= entries[0].keys()
    assert [entry["path"] for entry in objects("ls", "music", "--glob", "*.mp3", db=state)] == ["a.mp3", "b.mp3"]
    (music / "a.mp3").rename(music / "z.mp3")
    (music / "b.mp3").unlink()
    (report,) = objects("scan", db=state)
    assert (report["moved"], report["missing"]) == (1, 1)
    changes = objects("changes", "--since", str(entries[0]["seq"]), db=state)
    assert sorted((change["kind"], change["path"], change.get("from")) for change in changes) == [
        ("missing", "b.mp3", None),
        ("moved", "z.mp3", "a.mp3"),
    ]
    (gone,) = objects("ls", "--missing", db=state)
    assert gone["path"] == "b.mp3" and gone["missing_since_ns"] > 0


def test_every_other_command_answers(state: Path, music: Path) -> None:
    treewarden("scan", music, db=state)
    assert "music" in treewarden("roots", db=state)
    assert "2024" in treewarden("du", "music", "--depth", "1", db=state)
    assert objects("explain", "music/a.mp3", db=state)[0]["verdict"] == "current"
    assert objects("history", "--limit", "1", db=state)[0]["kind"] == "quick"
    assert objects("status", db=state)[0]["files"] == 5
    treewarden("verify", db=state)
    treewarden("compact", db=state)
    treewarden("root", "remove", "music", db=state)
    assert objects("roots", db=state) == []


def test_names_come_out_exactly(state: Path, music: Path) -> None:
    write(bytes(music) + b"/odd \xff\n", "x")
    treewarden("scan", music, db=state)
    assert b"music/odd \xff\n\0" in treewarden("ls", "-0", db=state, binary=True)
    odd = next(entry for entry in objects("ls", db=state) if "path_b64" in entry)
    assert base64.b64decode(odd["path_b64"]) == b"odd \xff\n" and odd["path"] == r"odd \xff\n"
    (told,) = objects("explain", b"music/odd \xff\n", db=state)
    assert told["verdict"] == "current", "and come in exactly"


def test_exit_codes(state: Path, music: Path, tmp_path: Path) -> None:
    treewarden("ls", db=state, code=1)
    treewarden("scan", tmp_path / "nothing", db=state, code=1)
    treewarden("no-such-command", db=state, code=2)
    treewarden("scan", "--threads", "none", db=state, code=2)
    treewarden("scan", music, db=state)
    music.rename(tmp_path / "away")
    (report,) = objects("scan", db=state, code=3)
    assert report["unavailable"]
    assert treewarden("--version", db=state).split() == ["treewarden", tw.__version__]
    assert "Usage: treewarden" in treewarden("--help", db=state)


def test_the_state_file_is_that_of_the_library(state: Path, music: Path) -> None:
    treewarden("scan", music, db=state)
    with tw.open(state) as warden:
        assert len(warden.snapshot()) == 5
        treewarden("scan", db=state, code=1)
    entries = objects("ls", db=state)
    with tw.open(state, read_only=True) as warden:
        snapshot = warden.snapshot()
        for entry in entries:
            known = snapshot[f"{entry['root']}/{entry['path']}"]
            for name in ("kind", "size", "mtime_ns", "ctime_ns", "inode", "mode", "seq", "id"):
                assert entry[name] == getattr(known, name)


def test_the_script_and_the_function_do_the_same(
    state: Path, music: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", ["treewarden", "--db", str(state), "--json", "scan", str(music)])
    assert program.main() == 0
    assert json.loads(capfd.readouterr().out)["added"] == 5
    monkeypatch.setattr(sys, "argv", ["treewarden", "nonsense"])
    assert program.main() == 2
    assert signal.getsignal(signal.SIGINT) is before
    script = Path(sys.executable).with_name("treewarden")
    if script.exists():
        ended = subprocess.run([script, "--db", state, "roots"], capture_output=True, text=True, timeout=HANG)
        assert ended.returncode == 0 and "music" in ended.stdout


def test_ctrl_c_ends_watching_in_order_and_anything_else_at_once(state: Path, music: Path) -> None:
    for number in range(1000):
        # More than a pipe holds, when they are listed.
        (music / f"{number:0200}").touch()
    command = [sys.executable, "-m", "treewarden", "--db", str(state), "--json"]
    with subprocess.Popen([*command, "watch", str(music)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stderr is not None
        # It says on standard error when it has begun.
        assert any(json.loads(line)["event"] == "watching" for line in watching.stderr)
        os.kill(watching.pid, signal.SIGINT)
        _, said = watching.communicate(timeout=HANG)
        assert watching.returncode == 0, said
    with subprocess.Popen([*command, "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as listing:
        assert listing.stdout is not None and listing.stdout.read(1)
        os.kill(listing.pid, signal.SIGINT)
        assert listing.wait(HANG) == -signal.SIGINT
        assert listing.stderr is not None and listing.stderr.read() == b""


def test_a_reader_that_goes_away_is_no_error(state: Path, music: Path) -> None:
    treewarden("scan", music, db=state)
    with subprocess.Popen(
        [sys.executable, "-m", "treewarden", "--db", state, "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        assert listing.stdout is not None
        listing.stdout.close()
        assert listing.wait(HANG) == 0
        assert listing.stderr is not None and listing.stderr.read() == b""
