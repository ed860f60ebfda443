"""What the tests share: waiting for conditions, odd names, children that are interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Optional, TypeVar

import treewarden as tw

T = TypeVar("T")

HANG = 60.0
"""Seconds that nothing takes on the slowest machine; a test that needs them has failed."""

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder where nothing waits for a disk, if there is one, for what makes very many files or commits."""

DAY_NS = 24 * 60 * 60 * 1_000_000_000
SECOND_NS = 1_000_000_000

ODD_NAMES = [
    b"plain.txt",
    b" leading and trailing ",
    b"-rf",
    b"new\nline",
    b"tab\tand\rreturn",
    b"\x1b[31mred\x1b[0m",
    b"\x7f\x01control",
    b"back\\slash",
    b"quote'\"`",
    b"<script>alert(1)&amp;",
    b"%s %d {0} $HOME",
    b"*?[a]",
    "für Elise".encode(),
    "fu\u0308r Elise".encode(),
    "\u202egnp.exe".encode(),
    "日本語 🎵".encode(),
    b"\xff\xfe not utf-8",
    b"\xed\xa0\x80 half a surrogate",
    b"x" * 255,
]
"""Names that a file system allows."""


def wait_until(what: str, condition: Callable[[], T], timeout: float = HANG) -> T:
    """Looks again and again until the condition holds, and returns what it was."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.005)


def tomorrow() -> tw.Clock:
    """A clock that is a day ahead of the disk: nothing on it is too fresh to be trusted, or has to settle."""
    return tw.Clock.manual(time.time_ns() + DAY_NS)


def write(path: os.PathLike[str] | str | bytes, data: str | bytes = b"x") -> None:
    """Writes a file, and the directories above it."""
    os.makedirs(os.path.dirname(os.fspath(path)), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def paths(entries: Iterable[tw.Entry]) -> list[str]:
    return [entry.path for entry in entries]


def told(changes: Iterable[tw.Change]) -> list[str]:
    """Changes as lines, without the name of the root `music`: `moved a -> b`."""

    def below(path: str) -> str:
        return path.partition("/")[2]

    return [
        f"{c.kind} {below(c.path)}" if c.from_path is None else f"{c.kind} {below(c.from_path)} -> {below(c.path)}"
        for c in changes
        if c.entry_kind != "dir"
    ]


def names(jobs: Iterable[tw.Job]) -> list[str]:
    return [job.path.partition("/")[2] for job in jobs]


def python(
    code: str,
    *arguments: str | os.PathLike[str],
    env: Optional[dict[str, str]] = None,
    cwd: Optional[Path] = None,
    timeout: float = HANG,
) -> subprocess.CompletedProcess[str]:
    """Runs a program in another process, with `sys.argv[1:]`; one that hangs shows where."""
    watch = f"import faulthandler; faulthandler.dump_traceback_later({timeout - 5}, exit=True)\n"
    return subprocess.run(
        [sys.executable, "-c", watch + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


def succeeds(code: str, *arguments: str | os.PathLike[str], **options: Any) -> str:
    """Runs a program that must end well, and returns what it has printed."""
    ended = python(code, *arguments, **options)
    assert ended.returncode == 0, f"it ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


_INTERRUPTED = """
import os, signal, sys, threading, time
import treewarden as tw

_heard = threading.Event()

def _hear(number, frame):
    if not _heard.is_set():
        _heard.set()
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, _hear)

def interrupted(wait):
    # Ctrl-C, pressed while `wait()` waits, must end it, and soon.
    def press():
        while not _heard.wait(0.2):
            os.kill(os.getpid(), signal.SIGINT)
    _heard.clear()
    presser = threading.Thread(target=press)
    presser.start()
    begun = time.monotonic()
    try:
        wait()
    except KeyboardInterrupt:
        took = time.monotonic() - begun
        assert took < 20, f"it took {took} s"
    else:
        raise AssertionError("it ended by itself")
    finally:
        _heard.set()
        presser.join()
"""


def interrupts(code: str, *arguments: str | os.PathLike[str]) -> None:
    """Runs a program in which `interrupted(wait)` presses Ctrl-C while `wait()` waits, and expects that to end it."""
    succeeds(_INTERRUPTED + textwrap.dedent(code), *arguments)
