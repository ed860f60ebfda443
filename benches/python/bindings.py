"""The Python package, measured from a Python program. The harness runs this with the interpreter of ``target/venv``.

    bindings.py check                                  says what there is: three lines of text
    bindings.py read STATE PATHS                       iterates, exports, looks up
    bindings.py jobs STATE PIPELINE JOBS BATCH         claims and completes
    bindings.py first STATE ROOT DIR THREADS           scans into a new state, then into a dict
    bindings.py again STATE ROOT DIR THREADS           the same with a state that is up to date
    bindings.py walk DIR                               os.walk and os.lstat into a dict
    bindings.py scandir DIR                            os.scandir, directory by directory, into a dict

PATHS holds addresses, each followed by a zero byte, in the order in which they are to be looked up. All but ``check``
print lines ``name value unit``. Times of ``read`` are the median of some passes after one that is not counted.
"""

from __future__ import annotations

import os
import statistics
import sys
import timeit
from collections.abc import Callable
from time import perf_counter

import treewarden

PASSES = 3
HOT_PATHS = 16
CALLS = 1_000_000
HOT_ROUNDS = 20_000

# What a program keeps of each file: its size and when it was modified.
Kept = dict[str, tuple[int, int]]


def show(name: str, value: float, unit: str) -> None:
    print(name, repr(float(value)), unit)


def check() -> None:
    """Prints the version of Python, the file of the compiled module, and the version of pyarrow or nothing."""
    from treewarden import _treewarden

    print(sys.version.split()[0])
    print(_treewarden.__file__)
    try:
        import pyarrow
    except ImportError:
        print()
    else:
        print(pyarrow.__version__)


# ---- reading ----


def seconds(work: Callable[[], object]) -> float:
    """What one pass takes. What it returns goes away when the clock has stopped."""
    work()
    times = []
    for _ in range(PASSES):
        start = perf_counter()
        kept = work()
        times.append(perf_counter() - start)
        del kept
    return statistics.median(times)


def nanos(statement: str, given: dict[str, object], calls: int = CALLS, each: int = 1) -> float:
    """What a statement takes that does ``each`` calls, without the loop around it."""

    def once(statement: str) -> float:
        setup = "; ".join(f"{name} = _{name}" for name in given)
        timer = timeit.Timer(statement, setup, globals={f"_{name}": value for name, value in given.items()})
        timer.timeit(calls // 10)
        return statistics.median(timer.repeat(PASSES, calls)) / calls / each * 1e9

    return once(statement) - (once("pass") if each == 1 else 0.0)


def sizes(snapshot: treewarden.Snapshot) -> None:
    for entry in snapshot:
        entry.size


def sizes_and_paths(snapshot: treewarden.Snapshot) -> None:
    for entry in snapshot:
        entry.size
        entry.path


def look_up(snapshot: treewarden.Snapshot, paths: list[str]) -> None:
    for path in paths:
        snapshot[path]


def read_paths(name: str) -> list[str]:
    with open(name, "rb") as file:
        return [os.fsdecode(path) for path in file.read().split(b"\0") if path]


def read(state: str, names: str) -> None:
    begun = perf_counter()
    paths = read_paths(names)
    hot = paths[:HOT_PATHS]
    with treewarden.open(state) as warden:
        snapshot = warden.snapshot()
        files = path_bytes = size_bytes = 0
        for entry in snapshot:
            files += 1
            path_bytes += len(entry.path_bytes)
            size_bytes += entry.size
        show("files", files, "count")
        show("path_bytes", path_bytes, "bytes")
        show("size_bytes", size_bytes, "bytes")

        show("iterate_size", seconds(lambda: sizes(snapshot)), "s")
        show("iterate", seconds(lambda: sizes_and_paths(snapshot)), "s")
        export(snapshot, files)
        show("lookup", seconds(lambda: look_up(snapshot, paths)) / len(paths) * 1e9, "ns")
        given: dict[str, object] = {"snapshot": snapshot, "paths": hot}
        show("hot_1", nanos("for path in paths: snapshot[path]", given, HOT_ROUNDS, len(hot)), "ns")
        show("seq_1", nanos("warden.seq", {"warden": warden}), "ns")
        show("attribute", nanos("entry.size", {"entry": snapshot[hot[0]]}), "ns")
        show("seconds", perf_counter() - begun, "s")


def export(snapshot: treewarden.Snapshot, files: int) -> None:
    """Makes a table of everything, where pyarrow is installed."""
    try:
        import pyarrow
    except ImportError:
        return
    rows = pyarrow.table(snapshot).num_rows
    if rows != files:
        sys.exit(f"the table has {rows} rows, but the snapshot {files} files")
    show("arrow", seconds(lambda: pyarrow.table(snapshot)), "s")


# ---- jobs ----


def jobs(state: str, name: str, count: int, batch: int) -> None:
    with treewarden.open(state) as warden:
        pipeline = warden.pipeline(name)
        start = perf_counter()
        left = count
        while left > 0:
            want = min(batch, left)
            claimed = pipeline.claim(want)
            if len(claimed) != want:
                sys.exit(f"a claim of {want} jobs gave {len(claimed)}")
            for error in pipeline.complete_many(claimed):
                if error is not None:
                    raise error
            left -= want
        took = perf_counter() - start
        done = pipeline.status().indexed
        if done != count:
            sys.exit(f"{count} jobs were completed, but {done} items are")
        show("seconds", took, "s")
        show("jobs_per_second", count / took, "/s")


# ---- trees ----


def ours(state: str, root: str, dir: str, threads: int, is_new: bool) -> None:
    """Opens, scans, and puts every file into a dict."""
    start = perf_counter()
    with treewarden.open(state, create=is_new) as warden:
        if is_new:
            warden.add_root(root, dir)
        report = warden.scan(root, threads=threads)
        scanned = perf_counter()
        kept: Kept = {entry.path: (entry.size, entry.mtime_ns) for entry in warden.snapshot()}
        end = perf_counter()
    if not report.is_clean or report.is_unchanged == is_new or len(kept) != report.files:
        sys.exit(f"the scan did not end well: {report}")
    show("seconds", end - start, "s")
    show("iterate", end - scanned, "s")
    show("files", len(kept), "count")


def walk(dir: str) -> None:
    start = perf_counter()
    kept: Kept = {}
    for folder, _, names in os.walk(dir):
        for name in names:
            path = os.path.join(folder, name)
            stat = os.lstat(path)
            kept[path] = (stat.st_size, stat.st_mtime_ns)
    show("seconds", perf_counter() - start, "s")
    show("files", len(kept), "count")


def scandir(dir: str) -> None:
    start = perf_counter()
    kept: Kept = {}
    list_into(kept, dir)
    show("seconds", perf_counter() - start, "s")
    show("files", len(kept), "count")


def list_into(kept: Kept, dir: str) -> None:
    with os.scandir(dir) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                list_into(kept, entry.path)
            else:
                stat = entry.stat(follow_symlinks=False)
                kept[entry.path] = (stat.st_size, stat.st_mtime_ns)


def main(words: list[str]) -> None:
    task, *words = words
    if task == "check":
        check()
    elif task == "read":
        read(*words)
    elif task == "jobs":
        state, name, count, batch = words
        jobs(state, name, int(count), int(batch))
    elif task in ("first", "again"):
        state, root, dir, threads = words
        ours(state, root, dir, int(threads), is_new=task == "first")
    elif task == "walk":
        walk(*words)
    elif task == "scandir":
        scandir(*words)
    else:
        sys.exit(f"unknown task `{task}`")


if __name__ == "__main__":
    main(sys.argv[1:])
