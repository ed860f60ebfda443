"""Snapshots, changes, jobs and history are tables for whoever reads the Arrow PyCapsule interface."""

from __future__ import annotations

import gc
import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import treewarden as tw
from support import MEMORY, ODD_NAMES, write

polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

ENTRY_COLUMNS = [
    "root",
    "path",
    "path_bytes",
    "kind",
    "size",
    "mtime",
    "ctime",
    "btime",
    "inode",
    "mode",
    "hash",
    "target",
    "id",
    "seq",
    "missing_since",
]
CHANGE_COLUMNS = ["seq", "root", "kind", "entry_kind", "path", "path_bytes", "from", "from_bytes", "id"]
JOB_COLUMNS = ["path", "path_bytes", "state", "priority", "attempt", "token", "expires"]
ITEM_COLUMNS = ["path", "path_bytes", "state", "dead"]
HISTORY_COLUMNS = [
    "id",
    "kind",
    "root",
    "start",
    "end",
    "seq",
    "added",
    "modified",
    "moved",
    "missing",
    "restored",
    "forgotten",
    "errors",
    "status",
    "error",
]


@pytest.fixture
def odd(tmp_path: Path, state: Path) -> Any:
    """A warden with odd names, links, hashes and something missing."""
    root = tmp_path / "odd"
    for name in ODD_NAMES:
        write(bytes(root) + b"/" + name, name)
    write(root / "gone")
    (root / "link").symlink_to(b"to \xff\n")
    with tw.open(state) as warden:
        warden.add_root("odd", root, content_hash="changed")
        warden.scan()
        (root / "gone").unlink()
        warden.scan()
        yield warden


def exact(row: dict[str, Any]) -> bytes:
    return row["path"].encode() if row["path_bytes"] is None else bytes(row["path_bytes"])


def test_pyarrow_reads_a_snapshot(odd: tw.Warden) -> None:
    snapshot = odd.snapshot()
    table = pyarrow.table(snapshot)
    assert table.column_names == ENTRY_COLUMNS and table.num_rows == len(snapshot)
    # A datetime does not go to the nanosecond, and pyarrow makes none that would lose something.
    rows = table.drop_columns(["mtime", "ctime", "btime"]).to_pylist()
    for row, entry in zip(rows, snapshot):
        assert exact(row) == entry.path_bytes
        assert (row["path_bytes"] is None) == (entry.path_bytes.decode(errors="replace").encode() == entry.path_bytes)
        assert (row["root"], row["kind"], row["size"]) == ("odd", entry.kind, entry.size)
        assert (row["inode"], row["mode"], row["id"], row["seq"]) == (entry.inode, entry.mode, entry.id, entry.seq)
        assert (row["hash"], row["missing_since"]) == (entry.hash, None)
        assert (row["target"] is None) == (entry.target is None)
    mtimes = table["mtime"].cast(pyarrow.int64()).to_pylist()
    assert mtimes == [entry.mtime_ns for entry in snapshot], "to the nanosecond"
    assert table.schema.field("mtime").type == pyarrow.timestamp("ns", tz="UTC")


def test_polars_reads_a_snapshot(odd: tw.Warden) -> None:
    snapshot = odd.snapshot()
    frame = polars.DataFrame(snapshot)
    assert frame.columns == ENTRY_COLUMNS and frame.height == len(snapshot)
    assert frame["size"].sum() == sum(entry.size for entry in snapshot)
    assert sorted(map(exact, frame.to_dicts())) == sorted(entry.path_bytes for entry in snapshot)
    assert frame["mtime"].dtype.time_zone == "UTC" and isinstance(frame["mtime"][0], datetime)


def test_duckdb_reads_a_snapshot(odd: tw.Warden) -> None:
    snapshot = odd.snapshot()
    table = pyarrow.table(snapshot)
    with duckdb.connect() as connection:
        connection.register("files", table)
        (found,) = connection.sql("select count(*), sum(size), count(path_bytes) from files").fetchall()
    odd_ones = sum(1 for entry in snapshot if entry.path_bytes.decode(errors="replace").encode() != entry.path_bytes)
    assert found == (len(snapshot), sum(entry.size for entry in snapshot), odd_ones)


def test_duckdb_reads_objects_as_they_are(odd: tw.Warden) -> None:
    # By the name of the variable, as its users do.
    snapshot = odd.snapshot()
    assert duckdb.sql("select count(*) from snapshot").fetchall() == [(len(snapshot),)]


def test_a_filter_is_a_table_from_the_start(odd: tw.Warden) -> None:
    entries = odd.snapshot().files(missing=True)
    assert next(entries).path == "odd/gone"
    table = pyarrow.table(entries)
    gone = odd.snapshot().missing("odd/gone")
    assert table["path"].to_pylist() == ["odd/gone"] and gone is not None
    assert table["missing_since"].cast(pyarrow.int64()).to_pylist() == [gone.missing_since_ns]
    assert pyarrow.table(odd.snapshot().files(glob="nothing")).num_rows == 0
    assert pyarrow.table(odd.snapshot().files(glob="nothing")).column_names == ENTRY_COLUMNS


def test_changes_are_a_table(odd: tw.Warden, tmp_path: Path) -> None:
    seq = odd.seq
    (tmp_path / "odd/plain.txt").rename(tmp_path / "odd/moved \udcff")
    odd.scan()
    expected = list(odd.changes(seq))
    for source in (odd.changes(seq), odd.snapshot().diff(odd.snapshot())):
        assert pyarrow.table(source).column_names == CHANGE_COLUMNS
    rows = pyarrow.table(odd.changes(seq).files_only()).to_pylist()
    assert [exact(row) for row in rows] == [c.path_bytes for c in expected if c.entry_kind == "file"]
    (row,) = rows
    assert (row["kind"], row["from"], row["from_bytes"]) == ("moved", "odd/plain.txt", None)
    assert row["path_bytes"] == b"odd/moved \xff" and row["path"] == r"odd/moved \xff"

    begun = odd.changes(seq)
    next(begun)
    assert pyarrow.table(begun).num_rows == len(expected) - 1, "what is left"
    assert list(begun) == []
    delivery = odd.cursor("c").read()
    frame = polars.DataFrame(delivery)
    assert frame.columns == CHANGE_COLUMNS and frame.height == len(delivery) > 0


def test_jobs_and_items_are_tables(odd: tw.Warden) -> None:
    pipeline = odd.pipeline("p", settle=0.0)
    jobs = pipeline.claim(5, timeout=60.0)
    table = polars.DataFrame(jobs)
    assert table.columns == JOB_COLUMNS and table.height == 5
    assert [exact(row) for row in table.to_dicts()] == [job.path_bytes for job in jobs]
    assert table["token"].to_list() == [job.token for job in jobs]
    assert table["expires"][0] == jobs[0].expires.astimezone(timezone.utc)
    items = pipeline.list()
    frame = polars.DataFrame(items)
    assert frame.columns == ITEM_COLUMNS and frame.height == len(items)
    assert [exact(row) for row in frame.to_dicts()] == [item.path_bytes for item in items]
    assert frame["state"].to_list() == [item.state for item in items]


def test_history_is_a_table(odd: tw.Warden) -> None:
    history = odd.history()
    frame = polars.DataFrame(history)
    assert frame.columns == HISTORY_COLUMNS and frame.height == len(history) == 2
    assert frame["added"].to_list() == [operation.counts.added for operation in history]
    assert pyarrow.table(history)["start"].cast(pyarrow.int64()).to_pylist() == [o.start_ns for o in history]


def test_large_tables_come_in_batches(state: Path) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root, tw.open(state) as warden:
        for number in range(70_000):
            os.symlink("x", f"{root}/{number}")
        warden.add_root("many", root)
        warden.scan()
        snapshot = warden.snapshot()
    reader = pyarrow.RecordBatchReader.from_stream(snapshot)
    sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == 70_000 and max(sizes) <= 65_536 and len(sizes) == 2
    assert polars.DataFrame(snapshot)["target"].unique().to_list() == ["x"]


def test_a_table_outlives_what_it_was_made_of(odd: tw.Warden) -> None:
    reader = pyarrow.RecordBatchReader.from_stream(odd.snapshot())
    capsule = odd.snapshot().__arrow_c_stream__()
    odd.close()
    gc.collect()
    assert reader.read_all().num_rows == len(ODD_NAMES) + 1
    # Nobody takes this one: it lets go of everything by itself.
    del capsule
    gc.collect()
