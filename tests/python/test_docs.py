"""The Python programs in the documents run, each in a folder of its own."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import treewarden as tw
from support import HANG, write

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([TOP / "README.md", *(TOP / "docs").glob("*.md"), TOP / "python" / "README.md"])
BLOCK = re.compile(r"^```python(?P<flags>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    found = []
    for document in DOCUMENTS:
        if not document.exists():
            continue
        text = document.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append((f"{document.relative_to(TOP)}:{line}", match["flags"], match["code"]))
    return found


@pytest.mark.parametrize(("flags", "code"), [block[1:] for block in blocks()], ids=[block[0] for block in blocks()])
def test_a_program_in_a_document_runs(flags: str, code: str, tmp_path: Path) -> None:
    compile(code, "<document>", "exec")
    if "no-run" in flags:
        return
    # What the programs speak of: a folder of music and one of pictures, beside a state file that is not there yet.
    for name in ("music/a.mp3", "music/2024/live.flac", "music/2024/b.flac", "photos/a.jpg", "photos/trip/b.jpg"):
        write(tmp_path / name, name)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=HANG, check=False
    )
    assert ended.returncode == 0, f"{code}\n{ended.stdout}\n{ended.stderr}"


def test_the_examples_in_the_docstrings_run() -> None:
    tested = doctest.testmod(tw, optionflags=doctest.ELLIPSIS)
    assert tested.attempted > 5 and tested.failed == 0
