"""The types are those of the compiled module, and of use: mypy and stubtest say so."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import treewarden as tw
from test_docs import programs

PROJECT = Path(__file__).resolve().parents[2] / "python"
PACKAGE = Path(tw.__file__).parent

SAMPLE = """
import asyncio
from collections.abc import Iterator, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Optional

import treewarden as tw
from treewarden import aio
from treewarden.progress import tqdm_progress


def read(warden: tw.Warden) -> None:
    report: tw.Report = warden.scan("music", full=True, walker="fd")
    reports: list[tw.Report] = warden.scan()
    reports = warden.scan(targets=["a", b"b", Path("c")])
    seconds: float = report.elapsed
    kept: Optional[tw.Held] = report.held
    snapshot = warden.snapshot()
    entry: tw.Entry = snapshot["music/a.mp3"]
    when: datetime = entry.mtime
    maybe: Optional[tw.Entry] = snapshot.get(b"music/a.mp3")
    either: tw.Entry | int = snapshot.get("x", 3)
    entries: Iterator[tw.Entry] = snapshot.files("music", kind="file", modified_since=when)
    for change in snapshot.diff(snapshot):
        kind: str = change.kind
    first: tw.Change = snapshot.diff(snapshot)[0]
    some: list[tw.Change] = snapshot.diff(snapshot)[:2]
    totals: tw.Totals = snapshot.du()
    with warden.batch() as batch:
        batch.put("space", "key", b"value")
    with warden.follow("f") as follow:
        for delivery in follow:
            changes: list[tw.Change] = list(delivery)
    with warden.events() as events:
        for event in events:
            seq: Optional[int] = event.seq
    value: Optional[bytes] = warden.space("s").get("k")
    every: dict[bytes, bytes] = dict(warden.space("s").items())
    with tqdm_progress() as progress:
        warden.verify(progress=progress)


def work(warden: tw.Warden) -> None:
    pipeline = warden.pipeline("p", root="music", glob=["*.jpg"], rate=(35, 10.0), refresh=[(1.0, 2.0), (None, 3.0)])
    for job in pipeline.jobs():
        with job:
            attrs: MutableMapping[str, bytes] = job.attrs
            job.attrs["text"] = "text"
    with pipeline.work(lambda job: job.path, threads=2) as workers:
        done: int = workers.done
    errors: list[Optional[tw.Error]] = pipeline.complete_many(pipeline.claim(3, timeout=None))


async def main() -> None:
    async with aio.open("state.tw", read_only=True) as warden:
        report: tw.Report = await warden.scan("music")
        reports: list[tw.Report] = await warden.scan()
        async for delivery in warden.follow("f"):
            print(len(delivery))
        pipeline = await warden.pipeline("p", version=2)
        async for job in pipeline.jobs():
            async with job:
                path: str = job.path


try:
    with tw.open("state.tw") as warden:
        read(warden)
except FileNotFoundError as error:
    print(error)
except tw.ResetError as reset:
    where: Optional[int] = reset.restart_seq
asyncio.run(main())
"""

WRONG = """
import treewarden as tw

with tw.open("state.tw", durability="maybe") as warden:  # E
    warden.scan(3)  # E
    warden.snapshot()["a"].size = 4  # E
    warden.snapshot().files(kind="door")  # E
    warden.set_attrs("a", {"b": "text"})  # E
    warden.pipeline("p", colour="red")  # E
    warden.pipeline("p", priority="urgent")  # E
    warden.space("s")["k"] = "text"  # E
    warden.add_root("a")  # E
tw.Warden()  # E
"""


Mypy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    """Runs mypy; what it has read of the standard library once, it does not read again."""
    pytest.importorskip("mypy")
    cache = tmp_path_factory.mktemp("mypy")

    def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", cache, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, timeout=600)

    return run


def test_a_program_is_checked_strictly(mypy: Mypy, tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(SAMPLE)
    checked = mypy("--strict", "sample.py", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_mistakes_are_found(mypy: Mypy, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    checked = mypy("--strict", "wrong.py", cwd=tmp_path)
    # `Warden()` makes itself known when it runs: types know no class without a constructor.
    expected = {
        number
        for number, line in enumerate(WRONG.splitlines(), 1)
        if line.endswith("# E") and not line.startswith("tw.Warden()")
    }
    found = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error:" in line}
    assert found == expected, checked.stdout


# What programs of the documents that do not run take from what was said before them.
GIVEN = """\
import treewarden as tw
warden: tw.Warden
def serve_until_ctrl_c() -> None: ...
"""


def test_programs_in_documents_that_do_not_run_have_the_right_types(mypy: Mypy, tmp_path: Path) -> None:
    files = {}
    for program in programs():
        if not program.runs and re.search(r"\b(tw|warden)\.", program.code):
            file = f"document_{len(files)}.py"
            (tmp_path / file).write_text(GIVEN + program.code)
            files[file] = program.where
    assert files
    checked = mypy("--check-untyped-defs", *files, cwd=tmp_path)
    assert checked.returncode == 0, f"{files}\n{checked.stdout}{checked.stderr}"


def test_the_package_is_checked_strictly(mypy: Mypy, tmp_path: Path) -> None:
    configuration = PROJECT / "pyproject.toml"
    checked = mypy("--strict", "--config-file", configuration, "-p", "treewarden", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def stubtest(cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Compares the stub with the compiled module: those of the package below `path`, else those that are installed."""
    pytest.importorskip("mypy.stubtest")
    command = [sys.executable, "-m", "mypy.stubtest", "treewarden", "--concise"]
    return subprocess.run(
        [*command, "--mypy-config-file", str(PROJECT / "pyproject.toml")],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)} if path else None,
        timeout=600,
    )


def test_the_stub_says_what_the_compiled_module_is(tmp_path: Path) -> None:
    checked = stubtest(tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_lies_in_the_stub_are_found(tmp_path: Path) -> None:
    """A check that looks at nothing finds nothing: this one finds what is planted in a copy, and no more."""
    lies = {
        "def advance(self, seconds: float)": "def retreat(self, seconds: float)",
        "def now_ns(self)": "def now_ns(self, at: int)",
        "def rebuild(path: Path)": "def rebuild(file: Path)",
    }
    expected = {
        "Clock.advance is not present in stub",
        "Clock.retreat is not present at runtime",
        'Clock.now_ns is inconsistent, runtime does not have parameter "at"',
        'rebuild is inconsistent, stub parameter "file" differs from runtime parameter "path"',
    }
    shutil.copytree(PACKAGE, tmp_path / "treewarden", ignore=shutil.ignore_patterns("__pycache__"))
    stub = tmp_path / "treewarden" / "_treewarden.pyi"
    text = stub.read_text()
    for truth, lie in lies.items():
        assert text.count(truth) == 1, truth
        text = text.replace(truth, lie)
    stub.write_text(text)
    checked = stubtest(tmp_path, tmp_path)
    assert checked.returncode != 0, checked.stdout + checked.stderr
    found = {line.removeprefix("treewarden._treewarden.") for line in checked.stdout.splitlines()}
    assert found == expected, checked.stdout + checked.stderr


def test_everything_in_the_stub_is_documented() -> None:
    stub = ast.parse((PACKAGE / "_treewarden.pyi").read_text())
    missing = []

    def look(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                continue
            where = f"{name}.{child.name}"
            is_overload = any(
                isinstance(d, ast.Name) and d.id == "overload" for d in getattr(child, "decorator_list", [])
            )
            if not child.name.startswith("_") and not is_overload and not ast.get_docstring(child):
                missing.append(where)
            if isinstance(child, ast.ClassDef):
                look(child, where)

    look(stub, "treewarden")
    assert not missing


def test_everything_compiled_is_documented_and_has_a_signature() -> None:
    from treewarden import _treewarden

    missing = []
    for name in _treewarden.__all__:
        value = getattr(_treewarden, name)
        if isinstance(value, type):
            missing += [name] if not value.__doc__ else []
            for attribute, member in vars(value).items():
                if attribute.startswith("_"):
                    continue
                if not getattr(member, "__doc__", None):
                    missing.append(f"{name}.{attribute}")
                if callable(member) and getattr(member, "__text_signature__", "") is None:
                    missing.append(f"{name}.{attribute}()")
        elif callable(value) and not (value.__doc__ and value.__text_signature__):
            missing.append(name)
    assert not missing


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists() and (PACKAGE / "_treewarden.pyi").exists()
