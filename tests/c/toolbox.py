"""What run.py works with: commands whose output is shown when they fail, compilers, and steps that run side by side."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "c"
HEADER = ROOT / "include" / "treewarden.h"
# A program that hangs is killed and named; the slowest takes a tenth of that on a busy machine.
PATIENCE_S = 300
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
C_STANDARD, CPP_STANDARD = "-std=c99", "-std=c++17"

Argument = Union[str, Path]


class Failed(Exception):
    """A step has failed; the text says how."""


def run(
    *command: Argument, env: Optional[Mapping[str, str]] = None, patience_s: int = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, however it ends; what it said, on both streams, is in `stdout`."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise Failed(f"{words[0]} is not there: {error}") from error
    except subprocess.TimeoutExpired as error:
        said = error.stdout if isinstance(error.stdout, str) else (error.stdout or b"").decode("utf-8", "replace")
        raise Failed(f"$ {' '.join(words)}\n{said}\nis not over after {patience_s} s") from error


def sh(*command: Argument, env: Optional[Mapping[str, str]] = None, patience_s: int = PATIENCE_S) -> str:
    """Runs a command to its end and returns what it said; anything but 0 is a failure that shows it."""
    done = run(*command, env=env, patience_s=patience_s)
    if done.returncode != 0:
        raise Failed(f"$ {' '.join(done.args)}\n{done.stdout.strip()}\nended with {done.returncode}")
    return done.stdout


def need(program: str, hint: str) -> str:
    """The path of a program that must be there."""
    found = shutil.which(program)
    if found is None:
        raise Failed(f"{program} is missing: {hint}")
    return found


def is_cpp(source: Path) -> bool:
    return source.suffix == ".cpp"


def compiler(source: Path) -> str:
    return os.environ.get("CXX", "c++") if is_cpp(source) else os.environ.get("CC", "cc")


def standard(source: Path) -> tuple[str, ...]:
    return (CPP_STANDARD,) if is_cpp(source) else (C_STANDARD, "-D_GNU_SOURCE")


def build(source: Path, program: Path, *flags: Argument) -> Path:
    """Builds a test program; the flags say what it is linked with."""
    include = [f"-I{ROOT / 'include'}", f"-I{HERE}"]
    sh(
        compiler(source),
        *standard(source),
        *WARNINGS,
        "-g",
        "-O0",
        *include,
        source,
        "-o",
        program,
        *flags,
        "-lpthread",
    )
    return program


def symbols(binary: Path, *options: str) -> list[str]:
    """The names that `nm` gives."""
    return [line.split()[-1] for line in sh("nm", *options, binary).splitlines() if line.strip() and line[-1] != ":"]


def check_instrumented(program: Path, prefix: str) -> None:
    """Proves that a program was built with a sanitizer: what is not instrumented finds nothing, and nobody notices."""
    if not any(name.startswith(prefix) for name in symbols(program)):
        raise Failed(f"{program.name} has no symbol {prefix}*: it is not instrumented")


def functions_of_the_header() -> set[str]:
    """The names of all functions that the header declares."""
    text = re.sub(r"/\*.*?\*/", " ", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    return set(re.findall(r"^(?:tw_status|uint32_t|const char) \*?(tw_\w+)\(", text, flags=re.MULTILINE))


@dataclass
class Step:
    """Some tasks and one line about them."""

    name: str
    tasks: Sequence[Callable[[], Optional[str]]]
    summary: str
    said: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left: int = 0
    busy_s: float = 0.0

    def run(self, task: Callable[[], Optional[str]]) -> None:
        begin = time.monotonic()
        try:
            said = task()
            if said:
                self.said.append(said)
        except Failed as failure:
            self.failures.append(str(failure))
        except Exception as error:  # noqa: BLE001 - a bug of the runner is told with the rest
            self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            self.busy_s += time.monotonic() - begin

    def line(self) -> str:
        how = f"FAILED ({len(self.failures)})" if self.failures else "ok"
        return f"{self.name:<12} {how:<10} {self.busy_s:6.1f} s  {'; '.join([self.summary, *sorted(self.said)])}"


def run_steps(steps: Sequence[Step], workers: int) -> bool:
    """Runs the tasks of all steps side by side, in their order; prints a line for each step when it is over."""
    waiting: dict[Future[None], Step] = {}
    with ThreadPoolExecutor(workers) as pool:
        for step in steps:
            step.left = len(step.tasks)
            for task in step.tasks:
                waiting[pool.submit(step.run, task)] = step
        for done in as_completed(waiting):
            step = waiting[done]
            done.result()
            step.left -= 1
            if step.left == 0:
                print(step.line(), flush=True)
                for failure in step.failures:
                    print(failure, flush=True)
    return not any(step.failures for step in steps)
