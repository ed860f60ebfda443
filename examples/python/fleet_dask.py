"""Hashes the content of a machine's files on a Dask cluster, from an export: no tree is walked, no state file is open.

    fleet_dask.py LAKE ROOT=DIR...     hashes what LAKE lists of these roots, which lie in these directories
    fleet_dask.py                      shows it on a small tree that it makes up

LAKE is what `treewarden export --to LAKE --partitioned` has written. The cluster is of this machine's processes, or
threads with --threads; give `Client` the address of a scheduler, and the directories as all workers see them, and it
is a cluster of many. The result is a Parquet file with `path`, `path_bytes`, `size`, `mtime` and `sha256`, in the
order of the paths. A file that is not as the export says, or cannot be read, is told on standard error and left out;
the exit code is then 3.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.parse import quote

import dask
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, LocalCluster

import treewarden as tw

# One task: enough work to be worth its way, little enough to keep all workers busy to the end.
TASK_BYTES = 256 << 20
TASK_FILES = 500

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("path_bytes", pa.binary()),
        ("size", pa.uint64()),
        ("mtime", pa.timestamp("ns", "UTC")),
        ("sha256", pa.string()),
    ]
)


class File(NamedTuple):
    """A file as the export lists it, and where it lies."""

    path: str
    path_bytes: Optional[bytes]  # None where `path` is exact
    size: int
    mtime_ns: int
    place: bytes


Outcome = tuple[File, Optional[str], str]  # the digest, or what went wrong


def listed(lake: Path, host: str, roots: dict[str, Path]) -> Iterator[File]:
    """The files of these roots, in the order of their paths."""
    columns = ["path", "path_bytes", "kind", "size", "mtime"]
    for root, directory in sorted(roots.items()):
        folder = lake / f"host={quote(host, safe='-._~')}" / f"root={quote(root, safe='-._~')}"
        parts = sorted(folder.glob("part-*.parquet"))
        if not parts:
            raise FileNotFoundError(f"{folder} holds no export; --host says whose files are meant")
        for part in parts:
            # By itself: as a part of the directory it would get the columns of the partition, too.
            for batch in pq.ParquetFile(part).iter_batches(columns=columns):
                mtimes = batch["mtime"].cast(pa.int64()).to_pylist()
                rows = zip(*(batch[name].to_pylist() for name in ("path", "path_bytes", "kind", "size")), mtimes)
                for path, exact, kind, size, mtime_ns in rows:
                    if kind == "file":
                        _, _, relative = (exact or path.encode()).partition(b"/")
                        place = os.path.join(os.fsencode(directory), relative)
                        yield File(path, exact, size, mtime_ns, place)


def tasks(files: Iterator[File]) -> Iterator[list[File]]:
    """Files in pieces of about the same work."""
    task: list[File] = []
    size = 0
    for file in files:
        task.append(file)
        size += file.size
        if size >= TASK_BYTES or len(task) >= TASK_FILES:
            yield task
            task, size = [], 0
    if task:
        yield task


def sha256(file: File) -> str:
    """Runs on a worker. Fails where the file is not the one that was exported, before or after it was read."""
    # A FIFO or symlink that has taken its place neither blocks nor leads elsewhere.
    with open(os.open(file.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as content:

        def check() -> None:
            now = os.fstat(content.fileno())
            is_same = stat.S_ISREG(now.st_mode) and (now.st_size, now.st_mtime_ns) == (file.size, file.mtime_ns)
            if not is_same:
                raise OSError("it has changed since the export")

        check()
        digest = hashlib.sha256()
        while piece := content.read(1 << 20):
            digest.update(piece)
        check()
        return digest.hexdigest()


def hash_all(task: list[File]) -> list[Outcome]:
    """Runs on a worker: one that fails does not keep the others out."""
    outcomes: list[Outcome] = []
    for file in task:
        try:
            outcomes.append((file, sha256(file), ""))
        except OSError as error:
            outcomes.append((file, None, error.strerror or str(error)))
    return outcomes


def run(lake: Path, host: str, roots: dict[str, Path], out: Path, client: Client) -> bool:
    """Hashes and writes the result, whole or not at all. Returns whether nothing was left out."""
    futures = client.map(hash_all, list(tasks(listed(lake, host, roots))), pure=False)
    done = left_out = size = 0
    draft = out.with_name(f".{out.name}.draft")
    try:
        with pq.ParquetWriter(draft, SCHEMA) as writer:
            for future in futures:
                outcomes: list[Outcome] = future.result()
                good = [(file, digest) for file, digest, _ in outcomes if digest is not None]
                names = [(file.path, file.path_bytes, file.size, file.mtime_ns, digest) for file, digest in good]
                columns = [pa.array(column, field.type) for column, field in zip(zip(*names), SCHEMA)]
                if good:
                    writer.write_batch(pa.record_batch(columns, SCHEMA))
                for file, digest, problem in outcomes:
                    if digest is None:
                        print(f"fleet_dask: {tw.escape(file.path_bytes or file.path)}: {problem}", file=sys.stderr)
                done += len(good)
                left_out += len(outcomes) - len(good)
                size += sum(file.size for file, _ in good)
        os.replace(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    print(f"{done} files hashed, {size:,} bytes, {left_out} left out: {out}")
    return left_out == 0


def make_up(folder: Path, host: str) -> tuple[Path, dict[str, Path]]:
    """A tree, its state and its export."""
    tree, state, lake = folder / "tree", folder / "state.tw", folder / "lake"
    for number in range(20):
        file = tree / f"shelf {number % 3}" / f"{number:02}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"book {number}\n" * 1_000)
    with tw.open(state) as warden:
        warden.add_root("books", tree)
        warden.scan("books")
    command: list[str | Path] = [sys.executable, "-m", "treewarden", "--quiet", "--db", state, "export"]
    command += ["--to", lake, "--partitioned", "--host", host]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return lake, {"books": tree}


def place(text: str) -> tuple[str, Path]:
    root, equals, directory = text.partition("=")
    if not (root and equals and directory):
        raise argparse.ArgumentTypeError("say where a root lies: ROOT=DIR")
    return root, Path(directory).absolute()


def main() -> int:
    parser = argparse.ArgumentParser(description="Content hashes on a Dask cluster, from an export.")
    parser.add_argument("lake", nargs="?", type=Path, help="directory of exports (a made-up one)")
    parser.add_argument("roots", nargs="*", type=place, metavar="ROOT=DIR", help="a root and where it lies here")
    parser.add_argument("--host", default=os.uname().nodename, help="whose files (this host's)")
    parser.add_argument("--out", type=Path, default=Path("hashes.parquet"), help="the result (hashes.parquet)")
    parser.add_argument("--workers", type=int, default=2, help="processes, or threads (2)")
    parser.add_argument("--threads", action="store_true", help="threads of this process instead of processes")
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("workers are 1 or more")
    if options.lake is not None and not options.roots:
        parser.error("say where a root lies: ROOT=DIR")
    one, many = 1, options.workers
    sizes = {"n_workers": one if options.threads else many, "threads_per_worker": many if options.threads else one}
    # Nobody looks at the dashboard of a program that is over in a moment, and a port may be taken.
    dask.config.set({"distributed.logging.distributed": "error"})
    try:
        with tempfile.TemporaryDirectory() as folder:
            lake, roots = options.lake, dict(options.roots)
            if lake is None:
                lake, roots = make_up(Path(folder), options.host)
            with LocalCluster(processes=not options.threads, dashboard_address=None, **sizes) as cluster:
                with Client(cluster) as client:
                    return 0 if run(lake, options.host, roots, options.out, client) else 3
    except (tw.Error, pa.ArrowException, OSError, subprocess.CalledProcessError) as error:
        print(f"fleet_dask: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
