"""Proves that each tool sees the bugs that it is there for: planted/planted.c commits them, one at a time.

A tool that is switched off, or looks away, is as quiet as a program without a bug.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from toolbox import HERE, Argument, Failed, run, sh

PLANTED = HERE / "planted" / "planted.c"
# The argument with which it has no bug, and must end well.
NONE = "none"


class Tool(NamedTuple):
    """One way to look at a program."""

    name: str
    # What a program that is caught ends with; None is anything but 0.
    exit_status: Optional[int]
    # What it must say about each bug that it must see.
    reports: Mapping[str, Sequence[str]]


SANITIZERS = Tool(
    "sanitizers",
    None,
    {
        # The library is not instrumented here, but what it frees and what it copies is seen.
        "view": ("AddressSanitizer: heap-use-after-free", "read_a_view"),
        "rows": ("AddressSanitizer: heap-buffer-overflow", "tw_iter_next"),
        "overflow": ("runtime error: signed integer overflow",),
        "leak": ("LeakSanitizer: detected memory leaks", "take_memory"),
    },
)
VALGRIND = Tool(
    "valgrind",
    9,
    {
        "view": ("Invalid read of size 1", "read_a_view"),
        "bounds": ("Invalid write of size 1", "tw_escape"),
        "uninit": ("Conditional jump or move depends on uninitialised value", "tw_escape"),
        "leak": ("are definitely lost", "take_memory"),
    },
)
RUST_ASAN = Tool(
    "rust-asan",
    None,
    {
        "view": ("AddressSanitizer: heap-use-after-free", "read_a_view"),
        "rows": ("AddressSanitizer: heap-buffer-overflow", "tw_iter_next"),
        # Seen by nothing but the instrumentation of the library itself.
        "bounds": ("AddressSanitizer: heap-buffer-overflow", "tw_escape"),
        "leak": ("LeakSanitizer: detected memory leaks", "take_memory"),
    },
)


def check_caught(tool: Tool, bug: str, program: Sequence[Argument], env: Mapping[str, str]) -> None:
    """Runs the program with one bug: it must not end well, and the tool must have said why."""
    done = run(*program, bug, env=env)
    is_wanted = done.returncode != 0 if tool.exit_status is None else done.returncode == tool.exit_status
    missing = [text for text in tool.reports[bug] if text not in done.stdout]
    if is_wanted and not missing:
        return
    wanted = "anything but 0" if tool.exit_status is None else str(tool.exit_status)
    told = "".join(f"\nnot in its report: {text}" for text in missing)
    raise Failed(
        f"$ {' '.join(done.args)}\n{done.stdout.strip()}\n"
        f"{tool.name} did not catch the planted bug `{bug}`: ended with {done.returncode}, not {wanted}{told}"
    )


def check_planted(
    tool: Tool, folder: Path, env: Mapping[str, str], make: Callable[[Path, Path], Sequence[Argument]]
) -> list[functools.partial[None]]:
    """The tasks that prove a tool. `make` builds a program from a source, and gives the words that run it."""

    def test(bug: str) -> None:
        own = folder / f"planted-{bug}"
        own.mkdir()
        # A program that is ended by a tool leaves its files behind.
        within = {**env, "TMPDIR": str(own)}
        program = make(PLANTED, own / "program")
        if bug == NONE:
            sh(*program, bug, env=within)
        else:
            check_caught(tool, bug, program, within)

    return [functools.partial(test, bug) for bug in (NONE, *tool.reports)]


def caught(tool: Tool) -> str:
    """For the line about a step."""
    return f"planted bugs: {', '.join(sorted(tool.reports))}"
