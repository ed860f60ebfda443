"""Trees and wardens for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import treewarden as tw
from support import tomorrow, write


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A small tree: `a.mp3`, `b.mp3`, `2024/live/c.flac`, `2024/live/d.flac`, `2024/notes.txt`."""
    root = tmp_path / "music"
    write(root / "a.mp3", "aaa")
    write(root / "b.mp3", "bbbb")
    write(root / "2024/live/c.flac", "ccccc")
    write(root / "2024/live/d.flac", "dddddd")
    write(root / "2024/notes.txt", "n")
    return root


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the state file is to lie."""
    return tmp_path / "state.tw"


@pytest.fixture
def warden(state: Path, music: Path) -> Iterator[tw.Warden]:
    """A warden with the small tree as its root `music`, scanned."""
    with tw.open(state) as warden:
        warden.add_root("music", music)
        warden.scan("music")
        yield warden


@pytest.fixture
def clock() -> tw.Clock:
    """A clock for `timed`, a day ahead of the disk."""
    return tomorrow()


@pytest.fixture
def timed(state: Path, music: Path, clock: tw.Clock) -> Iterator[tw.Warden]:
    """As `warden`, on a clock that the test moves."""
    with tw.open(state, clock=clock) as warden:
        warden.add_root("music", music)
        warden.scan("music")
        yield warden
