"""The tests of the C interface, in every way in which a program may meet it. `make test-c` calls this.

    python tests/c/run.py              all but the last of these
    python tests/c/run.py --rust-asan  the last one: it builds the library itself with AddressSanitizer

    headers     compile alone, in every standard, without a warning
    documents   the programs of README.md and docs compile
    sanitizers  the programs of tests/c and tests/cpp, built with AddressSanitizer and UndefinedBehaviorSanitizer
    valgrind    some of them as they are
    misuse      every function of the header with one wrong argument at a time, see misuse.py
    installed   what ffi/packaging/install makes: for CMake, for pkg-config, shared and static, and the examples
    rust-asan   the library instrumented, with all programs

sanitizers, valgrind and rust-asan prove themselves, too: each must catch the bugs that are planted for it, planted.py.
The library is that of target/debug. A program of tests/c is a test when it ends with 0. Those of fleets have a Redis:
see redis_server.py.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional

import documents
import planted
import redis_server
from installed import check_installed
from toolbox import (
    CPP_STANDARD,
    HEADER,
    HERE,
    ROOT,
    WARNINGS,
    Argument,
    Failed,
    Step,
    build,
    check_instrumented,
    need,
    run_steps,
    sh,
)

DEBUG = ROOT / "target" / "debug"
SONAME = "libtreewarden.so.1"
SANITIZE = ("-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
# A program that makes very many files makes fewer of them then: a slow tool would need minutes.
FEW_FILES = {"TREEWARDEN_FEW_FILES": "1"}

# Until GCC 14 the allocator of its AddressSanitizer is locked for ever in a child, when another thread was inside it.
FORKS = {"fork"}
# What valgrind, which takes some seconds to begin, has a look at: programs for most parts of the library. It sees what
# no sanitizer of C does, uninitialised memory within the library, and it can look at forks.
FOR_VALGRIND = {"basics.c", "changes.c", "fleet.c", "fork.c", "snapshot.c", "work.c", "workers.c", "snapshot.cpp"}
# What is left out where there is no Redis. Of the misuse, the program itself leaves its part out.
NEEDS_REDIS = {"fleet"}
VALGRIND = (
    "valgrind",
    "-q",
    "--error-exitcode=9",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
)
ASAN_TARGET = "x86_64-unknown-linux-gnu"


def programs() -> list[Path]:
    """The slow ones first, so that the others fill up the time."""
    found = [*HERE.glob("*.c"), *HERE.glob("*.cpp"), *(ROOT / "tests" / "cpp").glob("*.cpp")]
    if redis_server.VARIABLE not in os.environ:
        found = [path for path in found if path.stem not in NEEDS_REDIS]
    return sorted(found, key=lambda path: (path.stem != "arrow", path.suffix != ".cpp", path.stem))


def label(source: Path) -> str:
    return f"{source.stem}{source.suffix.replace('.', '-')}"


class Runner:
    """The steps; each works in folders of its own below `work`."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.lib = work / "lib"
        self.lib.mkdir()
        for name in ("libtreewarden.so", SONAME):
            (self.lib / name).symlink_to(DEBUG / "libtreewarden.so")
        self.shared = (f"-L{self.lib}", "-ltreewarden", f"-Wl,-rpath,{self.lib}")

    def folder(self, name: str) -> Path:
        path = self.work / name
        path.mkdir(exist_ok=True)
        return path

    def headers(self) -> Step:
        """Each header is included twice and nothing else is: it brings what it needs, and guards itself."""
        folder = self.folder("headers")
        hpp = HEADER.with_suffix(".hpp")
        wanted = [(HEADER, "c", f"-std={std}") for std in ("c99", "c11", "c17")] + [(HEADER, "c++", CPP_STANDARD)]
        wanted += [(hpp, "c++", CPP_STANDARD)] if hpp.exists() else []

        def compile_alone(header: Path, language: str, standard: str) -> None:
            source = folder / f"{header.name}-{standard.lstrip('-')}.{'c' if language == 'c' else 'cpp'}"
            source.write_text(f"#include <{header.name}>\n#include <{header.name}>\n", encoding="utf-8")
            more = ("-Wshadow", "-Wconversion") if header == hpp else ("-Wshadow",)
            tool = os.environ.get("CC", "cc") if language == "c" else os.environ.get("CXX", "c++")
            sh(tool, standard, *WARNINGS, *more, "-fsyntax-only", f"-I{HEADER.parent}", source)

        tasks = [functools.partial(compile_alone, *args) for args in wanted]
        return Step("headers", tasks, ", ".join(f"{h.suffix[1:]} as {s.lstrip('-')}" for h, _, s in wanted))

    def documents(self) -> Step:
        tasks = documents.tasks(self.folder("documents"))
        return Step("documents", tasks, f"{len(tasks)} programs")

    def sanitizers(self) -> Step:
        folder = self.folder("sanitizers")

        def make(source: Path, program: Path) -> list[Argument]:
            kinds = "undefined" if source.stem in FORKS else "address,undefined"
            build(source, program, f"-fsanitize={kinds}", *SANITIZE, *self.shared)
            check_instrumented(program, "__asan_init" if "address" in kinds else "__ubsan_handle")
            return [program]

        def test(source: Path) -> None:
            sh(*make(source, folder / label(source)), env=SANITIZER_ENV)

        sources = programs()
        tool = planted.SANITIZERS
        tasks = [functools.partial(test, source) for source in sources]
        tasks += planted.check_planted(tool, folder, SANITIZER_ENV, make)
        summary = f"{len(sources)} programs: {', '.join(sorted(map(label, sources)))}; {planted.caught(tool)}"
        return Step("sanitizers", tasks, summary)

    def valgrind(self) -> Step:
        folder = self.folder("valgrind")
        sources = [source for source in programs() if source.name in FOR_VALGRIND]
        # Without lines, which takes long to read and tells no more than the names of functions.
        sh("strip", "--strip-debug", "-o", folder / SONAME, DEBUG / "libtreewarden.so")
        flags = (folder / SONAME, f"-Wl,-rpath,{folder}")

        def make(source: Path, program: Path) -> list[Argument]:
            build(source, program, *flags)
            # What the threads of the parent held is lost in a child, and that is no leak.
            leaks = ("--leak-check=no",) if source.stem in FORKS else ()
            return [*VALGRIND, *leaks, program]

        def test(source: Path) -> None:
            sh(*make(source, folder / label(source)), env=FEW_FILES)

        tool = planted.VALGRIND
        tasks = [functools.partial(test, source) for source in sources]
        tasks += planted.check_planted(tool, folder, FEW_FILES, make)
        summary = f"{len(sources)} programs: {', '.join(sorted(map(label, sources)))}; {planted.caught(tool)}"
        return Step("valgrind", tasks, summary)

    def misuse(self) -> Step:
        folder = self.folder("misuse")
        source = folder / "misuse.c"

        def make() -> None:
            sh(sys.executable, HERE / "misuse.py", HEADER, source)

        def test(kinds: str, argument: Optional[str]) -> str:
            flags = (f"-fsanitize={kinds}", *SANITIZE, *self.shared)
            program = build(source, folder / f"misuse-{kinds.replace(',', '-')}", *flags)
            said = sh(program, *filter(None, [argument]), env=SANITIZER_ENV)
            return said.strip().splitlines()[-1]

        def both() -> str:
            make()
            # As above: what forks is not for AddressSanitizer.
            return f"{test('address,undefined', None)}; {test('undefined', 'fork')}"

        return Step("misuse", [both], "every function")

    def installed(self) -> Step:
        folder = self.folder("installed")
        return Step(
            "installed", [functools.partial(check_installed, folder, DEBUG)], "CMake, pkg-config, symbols, examples"
        )

    def rust_asan(self) -> Step:
        """Rust brings a runtime of its own for what it has instrumented: the programs are linked with that one."""
        folder = self.folder("rust-asan")
        target = ROOT / "target" / "asan"
        library = target / ASAN_TARGET / "debug" / "libtreewarden.a"
        sysroot = Path(sh("rustc", "--print", "sysroot").strip())
        runtime = sysroot / "lib" / "rustlib" / ASAN_TARGET / "lib" / "librustc-stable_rt.asan.a"
        if not runtime.exists():
            raise Failed(f"{runtime} is missing: the toolchain has no AddressSanitizer")
        env = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zsanitizer=address"}
        cargo = os.environ.get("CARGO", "cargo")
        sh(
            cargo, "build", "--locked", "--quiet", "-p", "treewarden-ffi", "--target", ASAN_TARGET, "--target-dir",
            target, env=env, patience_s=3600,
        )  # fmt: skip
        if not any(name.startswith("__asan_report") for name in sh("nm", library).split()):
            raise Failed(f"{library} has no symbol __asan_report*: it is not instrumented")
        within = {**SANITIZER_ENV, **FEW_FILES}
        whole = ("-Wl,--whole-archive", runtime, "-Wl,--no-whole-archive", "-rdynamic")

        def make(source: Path, program: Path) -> list[Argument]:
            # Compiled and linked one after the other: in one go the compiler would bring its own runtime.
            part = build(source, program.with_name(f"{program.name}.o"), "-fsanitize=address", "-c")
            linker = os.environ.get("CXX", "c++")
            sh(linker, part, "-o", program, library, *whole, "-lpthread", "-ldl", "-lm", "-lrt", "-lgcc_s")
            check_instrumented(program, "__asan_init")
            return [program]

        def test(source: Path) -> None:
            program = make(source, folder / label(source))
            for arguments in [[], ["fork"]] if source.stem == "misuse" else [[]]:
                sh(*program, *arguments, env=within)

        sources = programs()
        misuse = folder / "misuse.c"
        sh(sys.executable, HERE / "misuse.py", HEADER, misuse)
        sources.append(misuse)
        tool = planted.RUST_ASAN
        tasks = [functools.partial(test, source) for source in sources]
        tasks += planted.check_planted(tool, folder, within, make)
        summary = f"{len(sources)} programs with an instrumented library; {planted.caught(tool)}"
        return Step("rust-asan", tasks, summary)


def get_valgrind() -> None:
    """It is a package of Debian; whoever may install packages gets it."""
    if shutil.which("valgrind") is None and shutil.which("apt-get") and os.geteuid() == 0:
        sh("apt-get", "update", "--quiet")
        sh("apt-get", "install", "--yes", "--quiet", "valgrind")
    need("valgrind", "install it, on Debian with `apt-get install valgrind`")


def steps(runner: Runner, rust_asan: bool) -> list[Step]:
    if rust_asan:
        return [runner.rust_asan()]
    get_valgrind()
    # The longest chain first.
    steps = [runner.installed, runner.valgrind, runner.sanitizers, runner.misuse, runner.headers, runner.documents]
    return [step() for step in steps]


def main() -> int:
    parser = argparse.ArgumentParser(description="Tests the C interface.")
    parser.add_argument("--rust-asan", action="store_true", help="test a library that is instrumented itself")
    rust_asan: bool = parser.parse_args().rust_asan
    begin = time.monotonic()
    if rust_asan and platform.machine() != "x86_64":
        print(f"--rust-asan is for {ASAN_TARGET}")
        return 2
    if not rust_asan and not (DEBUG / "libtreewarden.so").exists():
        print("target/debug/libtreewarden.so is missing: `cargo build -p treewarden-ffi` makes it")
        return 2
    with tempfile.TemporaryDirectory(prefix="treewarden-test-c-") as work:
        try:
            with redis_server.running(Path(work) / "redis"):
                is_well = run_steps(steps(Runner(Path(work)), rust_asan), os.cpu_count() or 1)
        except Failed as failure:
            print(failure)
            is_well = False
    print(f"{'all well' if is_well else 'FAILED'} after {time.monotonic() - begin:.1f} s")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
