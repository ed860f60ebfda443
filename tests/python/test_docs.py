"""The Python programs in the documents run, each in an empty folder; those under `python no-run` only compile, and
`test_typing.py` looks at their types."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import treewarden as tw
from support import HANG

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([TOP / "README.md", *(TOP / "docs").glob("*.md"), TOP / "python" / "README.md"])
BLOCK = re.compile(r"^```python(?P<flags>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


Ended = subprocess.CompletedProcess[str]
Running = dict[str, Future[Ended]]


class Program(NamedTuple):
    where: str
    code: str
    runs: bool


def programs() -> list[Program]:
    found = []
    for document in DOCUMENTS:
        if not document.exists():
            continue
        text = document.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            where = f"{document.relative_to(TOP)}:{line}"
            found.append(Program(where, match["code"], "no-run" not in match["flags"]))
    return found


def run(program: Program, folder: Path) -> Ended:
    command = [sys.executable, "-c", program.code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HANG, check=False)


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The programs whose tests were chosen, several at a time: they wait for what they have written to settle."""
    chosen = [item.callspec.params.get("program") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(8) as pool:
        yield {
            program.where: pool.submit(run, program, tmp_path_factory.mktemp("document"))
            for program in chosen
            if isinstance(program, Program) and program.runs
        }


@pytest.mark.parametrize("program", programs(), ids=lambda program: program.where)
def test_a_program_in_a_document_runs(program: Program, running: Running) -> None:
    compile(program.code, "<document>", "exec")
    if program.runs:
        ended = running[program.where].result()
        assert ended.returncode == 0, f"{program.code}\n{ended.stdout}\n{ended.stderr}"


def test_the_examples_in_the_docstrings_run() -> None:
    tested = doctest.testmod(tw, optionflags=doctest.ELLIPSIS)
    assert tested.attempted > 5 and tested.failed == 0
