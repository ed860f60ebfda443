"""What a tree is made of, as data frames: polars and DuckDB over a snapshot, its journal and its history.

    dataframe.py STATE DIR    takes up DIR, with content hashes, and reports
    dataframe.py STATE        reports what STATE knows, without looking at the disk

It prints the largest directories, files with the same content and what happened lately, and saves how the
tree has grown as a picture. Snapshots, changes and histories hand themselves over by the Arrow C stream
interface: a million files are a frame in a second, and no Python object is made for any of them. In a
frame, a path that is not UTF-8 is escaped in `path` and exact in `path_bytes`.

The functions take what `treewarden` returns and give frames, to be used from a notebook as well.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import duckdb
import matplotlib
import polars as pl

import treewarden as tw

matplotlib.use("Agg")  # no window, no display

import matplotlib.pyplot as plt  # noqa: E402  after the choice of the backend

HISTORY_MAX = 10_000


def biggest_directories(snapshot: tw.Snapshot, depth: int = 3, count: int = 10) -> pl.DataFrame:
    """The directories with the most bytes at or below them, down to `depth` components."""
    files = pl.DataFrame(snapshot).lazy().select("size", parts=pl.col("path").str.split("/"))
    levels = [
        files.filter(pl.col("parts").list.len() > level)
        .group_by(pl.col("parts").list.head(level).list.join("/").alias("directory"))
        .agg(pl.len().alias("files"), pl.col("size").sum().alias("bytes"))
        for level in range(1, depth + 1)
    ]
    return pl.concat(levels).sort("bytes", "directory", descending=[True, False]).head(count).collect()


def duplicates(snapshot: tw.Snapshot, count: int = 10) -> pl.DataFrame:
    """Sets of files with the same content, those first that waste the most. Needs roots with content hashes.

    Names of one file that are hard links waste nothing: they share an inode, and count as one.
    """
    with duckdb.connect() as database:
        database.register("files", snapshot.files(kind="file", min_size=1))
        found = database.sql(f"""
            WITH copies AS (
                SELECT hash, size, root, inode, min(path) AS path FROM files
                WHERE hash IS NOT NULL GROUP BY hash, size, root, inode
            )
            SELECT (count(*) - 1) * size AS wasted, count(*) AS copies, size,
                   list(path ORDER BY path) AS paths
            FROM copies GROUP BY hash, size HAVING count(*) > 1
            ORDER BY wasted DESC, min(path) LIMIT {int(count)}
        """)
        return pl.DataFrame(found)


def happenings(warden: tw.Warden) -> pl.DataFrame:
    """How many files and symlinks were added, modified, moved ..., as far as the journal goes back."""
    changes = pl.DataFrame(warden.changes(first_seq(warden)).files_only())
    if changes.is_empty():
        return pl.DataFrame(schema={"root": pl.String, "kind": pl.String, "files": pl.UInt32})
    words = changes.with_columns(pl.col("root", "kind").cast(pl.String))
    return words.group_by("root", "kind").agg(pl.len().alias("files")).sort("root", "kind")


def first_seq(warden: tw.Warden) -> int:
    """Where the journal begins; what was before that it has let go."""
    return max(warden.status().journal_first_seq - 1, 0)


def growth(warden: tw.Warden) -> pl.DataFrame:
    """How many files there were after each operation: `end`, `files`.

    The present number is known, so it is counted back from there, and a history that was cut at its beginning
    is as good as a whole one.
    """
    snapshot = warden.snapshot()
    history = pl.DataFrame(warden.history(limit=HISTORY_MAX))
    if history.is_empty():
        return pl.DataFrame(schema={"end": pl.Datetime("ns", "UTC"), "files": pl.Int64})
    words = history.with_columns(pl.col("root", "kind", "status").cast(pl.String))
    # What was held or failed changed nothing, and maintenance forgets tombstones, which are no files.
    is_applied = pl.col("status").is_in(["ok", "partial"]) & (pl.col("kind") != "manual")
    done = words.filter(is_applied, pl.col("root").is_in(snapshot.roots)).sort("id")
    added, restored, missing, forgotten = (
        pl.col(name).cast(pl.Int64) for name in ("added", "restored", "missing", "forgotten")
    )
    step = added + restored - missing - forgotten
    return done.select("end", files=len(snapshot) - step.reverse().cum_sum().reverse() + step)


def written(snapshot: tw.Snapshot) -> pl.DataFrame:
    """How many bytes of what is there were last written until when: `mtime`, `bytes`."""
    files = pl.DataFrame(snapshot).lazy().select("mtime", "size").sort("mtime")
    return files.select("mtime", bytes=pl.col("size").cum_sum()).collect()


def plot(warden: tw.Warden, file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    files, data = growth(warden), written(warden.snapshot())
    left.step(files["end"].to_list(), files["files"].to_list(), where="post", marker=".")
    left.set(title="files, by the history", ylabel="files")
    # A picture has some hundred pixels: more points than a thousand are of no use.
    thinned = data.gather_every(max(len(data) // 1_000, 1))
    right.step(thinned["mtime"].to_list(), (thinned["bytes"] / 2**20).to_list(), where="post")
    right.set(title="content, by the time of its last change", ylabel="MiB")
    for axes in (left, right):
        axes.set_ylim(bottom=0, top=max(axes.dataLim.ymax * 1.1, 1e-3))
        axes.tick_params(axis="x", rotation=30)
    figure.savefig(file, format="png")
    plt.close(figure)


def take_up(state: Path, directory: str) -> bool:
    """Scans a directory, which becomes a root if it is none yet. Returns whether all of it could be seen."""
    with tw.open(state) as warden:
        path = os.path.realpath(directory)
        known = {root.fs_path: root.name for root in warden.roots()}
        if path not in known:
            name = tw.escape(os.path.basename(path)) or "root"
            known[path] = warden.add_root(name, path, content_hash="changed").name
        report = warden.scan(known[path])
        for problem in [report.unavailable or "", *(error.message for error in report.first_errors)]:
            if problem:
                print(f"dataframe: {problem}", file=sys.stderr)
        if report.held:
            print(f"dataframe: {report.held.missing} files are gone; nothing was changed", file=sys.stderr)
        return report.is_clean


def report(state: Path, picture: Path, depth: int, count: int) -> None:
    with tw.open(state, read_only=True) as warden, pl.Config(
        tbl_rows=count, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=80
    ):
        snapshot = warden.snapshot()
        if not len(snapshot):
            print(f"{state} knows of no files yet; `dataframe.py {state} DIR` takes up a directory")
            return
        print("largest directories", biggest_directories(snapshot, depth, count), sep="\n")
        print("same content", duplicates(snapshot, count), sep="\n")
        print("what happened", happenings(warden), sep="\n")
        plot(warden, picture)
        print(f"growth: {picture}")


def main() -> int:
    parser = argparse.ArgumentParser(description="A tree as data frames.")
    parser.add_argument("state", type=Path, help="state file; created when a DIR is given")
    parser.add_argument("dir", nargs="?", help="directory to take up")
    parser.add_argument("--plot", type=Path, default=Path("growth.png"), help="the picture (growth.png)")
    parser.add_argument("--depth", type=int, default=3, help="components of the directories at most (3)")
    parser.add_argument("--count", type=int, default=10, help="rows of a table at most (10)")
    options = parser.parse_args()
    if options.depth < 1 or options.count < 1:
        parser.error("depth and count are 1 or more")
    try:
        is_clean = take_up(options.state, options.dir) if options.dir is not None else True
        report(options.state, options.plot, options.depth, options.count)
        return 0 if is_clean else 3
    except (tw.Error, OSError) as error:
        print(f"dataframe: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
