"""Which files are there more than once, over all machines: DuckDB over a directory or bucket of exports.

    fleet_duckdb.py LAKE          reports on LAKE, a directory or s3://BUCKET/PREFIX
    fleet_duckdb.py               shows it on three small machines that it makes up

Each machine puts its trees there, by a timer for example, under a name of its own:

    treewarden export --to LAKE --partitioned --host NAME

Files with content hashes are the same where hash and size are; those without are taken for the same by name and size.
The report says which, and the one kind is not compared with the other. Names of one file that are hard links waste
nothing: they share an inode, and count as one.
For s3:// DuckDB loads its extension `httpfs` and takes the credentials that the AWS tools would take.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

import treewarden as tw

COPIES = """
    WITH files AS (
        SELECT host, root, inode, size, coalesce(path_bytes, encode(path)) AS path,
               CASE WHEN hash IS NULL THEN 'name' ELSE 'hash' END AS means,
               coalesce(hash, parse_filename(path)) AS same
        FROM read_parquet(?, hive_partitioning = true, hive_types_autocast = false)
        WHERE kind = 'file' AND size > 0
    ), copies AS (
        SELECT means, same, size, host, min(path) AS path FROM files GROUP BY means, same, size, host, root, inode
    )
    SELECT (count(*) - 1) * size AS wasted, means, count(*) AS copies, count(DISTINCT host) AS hosts,
           list(encode(host || ':') || path ORDER BY host, path) AS places
    FROM copies GROUP BY means, same, size HAVING count(*) > 1
    ORDER BY wasted DESC, min(encode(host || ':') || path) LIMIT ?
"""


def connect(lake: str) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    if lake.startswith("s3://"):
        database.execute("CREATE SECRET (TYPE s3, PROVIDER credential_chain)")
    return database


def report(lake: str, count: int) -> None:
    """Prints the sets of copies that waste the most, the worst first."""
    with connect(lake) as database:
        found = database.execute(COPIES, [f"{lake.rstrip('/')}/host=*/root=*/part-*.parquet", count]).fetchall()
    for wasted, means, copies, hosts, places in found:
        print(f"{wasted:>12,} bytes wasted, {copies} copies on {hosts} hosts, same by {means}")
        # Not one raw control byte of a file name reaches the terminal.
        print(*(f"              {tw.escape(place)}" for place in places), sep="\n")
    if not found:
        print("no file is there twice")


def export(state: Path, lake: Path, host: str) -> None:
    """As a machine calls it by a timer."""
    command: list[str | Path] = [sys.executable, "-m", "treewarden", "--quiet", "--db", state, "export"]
    command += ["--to", lake, "--partitioned", "--host", host]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_up(folder: Path) -> Path:
    """Three machines with a tree each, of which one keeps no content hashes."""
    machines = {
        "desk": {"photos/sea.jpg": b"s" * 40_000, "photos/old/sea copy.jpg": b"s" * 40_000, "notes.txt": b"mine"},
        "nas": {"backup/sea.jpg": b"s" * 40_000, "backup/notes.txt": b"ours"},
        "tv": {"film.mkv": b"f" * 30_000, "seen/film.mkv": b"f" * 30_000, "seen/other.mkv": b"g" * 30_000},
    }
    lake = folder / "lake"
    for host, files in machines.items():
        for name, content in files.items():
            file = folder / host / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        state = folder / f"{host}.tw"
        with tw.open(state) as warden:
            warden.add_root("home", folder / host, content_hash="off" if host == "tv" else "changed")
            warden.scan("home")
        export(state, lake, host)
    return lake


def main() -> int:
    parser = argparse.ArgumentParser(description="Copies of files over all machines.")
    parser.add_argument("lake", nargs="?", help="directory or s3://BUCKET/PREFIX of exports (a made-up one)")
    parser.add_argument("--count", type=int, default=10, help="sets of copies at most (10)")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("count is 1 or more")
    try:
        if options.lake is not None:
            report(options.lake, options.count)
        else:
            with tempfile.TemporaryDirectory() as folder:
                report(str(make_up(Path(folder))), options.count)
        return 0
    except (tw.Error, duckdb.Error, OSError, subprocess.CalledProcessError) as error:
        print(f"fleet_duckdb: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
