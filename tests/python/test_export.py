"""Parquet files hold the same rows as the tables of this process, and take their names whole or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import treewarden as tw
from support import ODD_NAMES, write
from test_mirror import SECRET, Store, store  # noqa: F401 - a fixture
from treewarden import aio

pyarrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")


def rows(table: Any) -> list[dict[str, Any]]:
    """The rows of a table of any kind, words as plain strings."""
    table = pyarrow.table(table)
    # Python's own times have no nanoseconds.
    for at, column in enumerate(table.schema):
        if pyarrow.types.is_timestamp(column.type):
            table = table.set_column(at, column.name, table.column(at).cast(pyarrow.int64()))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def read(path: Path) -> list[dict[str, Any]]:
    return rows(parquet.ParquetFile(path).read())


def test_a_snapshot_comes_back(tmp_path: Path, state: Path) -> None:
    for name in ODD_NAMES:
        write(bytes(tmp_path) + b"/odd/" + name, name)
    with tw.open(state) as warden:
        warden.add_root("odd", tmp_path / "odd", content_hash="changed")
        warden.scan()
        report = warden.export(tmp_path / "odd.parquet")
        assert (report.rows, report.files, report.seq) == (len(ODD_NAMES), 1, warden.seq)
        assert report.bytes == (tmp_path / "odd.parquet").stat().st_size
        assert read(tmp_path / "odd.parquet") == rows(warden.snapshot())
        facts = parquet.ParquetFile(tmp_path / "odd.parquet").metadata.metadata
        assert facts[b"treewarden.table"] == b"entries" and facts[b"treewarden.seq"] == b"%d" % warden.seq
        assert facts[b"treewarden.version"] == tw.__version__.encode()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".treewarden")]


def test_filters_choose_rows(warden: tw.Warden, music: Path, tmp_path: Path) -> None:
    warden.export(tmp_path / "a.parquet", "music/2024", glob="**/*.flac")
    assert read(tmp_path / "a.parquet") == rows(warden.snapshot().files("music/2024", glob="**/*.flac"))
    (music / "a.mp3").unlink()
    warden.scan()
    warden.export(str(tmp_path / "b.parquet"), b"music", missing=True)
    assert [row["path"] for row in read(tmp_path / "b.parquet")] == ["music/a.mp3"]


def test_changes_go_on_where_the_last_export_ended(warden: tw.Warden, music: Path, tmp_path: Path) -> None:
    first = warden.export(tmp_path / "1.parquet", since=0)
    assert first.rows == 5 and first.seq == warden.seq
    token = warden.token()
    (music / "a.mp3").rename(music / "c.mp3")
    write(music / "2024/new", "n")
    warden.scan()
    second = warden.export(tmp_path / "2.parquet", since=first.seq)
    assert read(tmp_path / "2.parquet") == rows(warden.changes(first.seq).files_only())
    assert {row["kind"] for row in read(tmp_path / "2.parquet")} == {"moved", "added"} and second.rows == 2
    for prefix in ("music/2024", "music/2024/", b"music/2024"):
        report = warden.export(tmp_path / "3.parquet", prefix, since=token, replace=True)
        assert report.rows == 1 and [row["path"] for row in read(tmp_path / "3.parquet")] == ["music/2024/new"]
    assert warden.export(tmp_path / "4.parquet", since=second.seq).rows == 0


def test_a_partitioned_export_has_a_file_for_each_root(warden: tw.Warden, tmp_path: Path) -> None:
    write(tmp_path / "two words/x", "x")
    warden.add_root("two words", tmp_path / "two words")
    warden.scan()
    lake = tmp_path / "lake"
    report = warden.export(lake, host="nas-1", partitioned=True)
    assert (report.rows, report.files) == (6, 2)
    parts = sorted(str(path.relative_to(lake)) for path in lake.rglob("*.parquet"))
    assert parts == [
        f"host=nas-1/root=music/part-{report.seq}.parquet",
        f"host=nas-1/root=two%20words/part-{report.seq}.parquet",
    ]
    assert len(parquet.read_table(lake)) == 6
    write(tmp_path / "two words/y", "y")
    warden.scan()
    again = warden.export(lake, host="nas-1", partitioned=True)
    assert again.rows == 7 and len(list(lake.rglob("*.parquet"))) == 2, "it takes the place of the older"


def test_what_cannot_be_is_refused_and_leaves_nothing(warden: tw.Warden, tmp_path: Path) -> None:
    there = tmp_path / "there.parquet"
    warden.export(there)
    before = there.read_bytes()
    with pytest.raises(tw.AlreadyExistsError) as exists:
        warden.export(there)
    assert isinstance(exists.value, FileExistsError) and there.read_bytes() == before
    warden.export(there, replace=True)
    (tmp_path / "text.parquet").write_text("not one of ours")
    with pytest.raises(tw.Error):
        warden.export(tmp_path / "text.parquet", replace=True)
    assert (tmp_path / "text.parquet").read_text() == "not one of ours"
    cases: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"path": tmp_path / "no/such/directory/x"}, tw.NotFoundError),
        ({"path": tmp_path / "x", "partitioned": True}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "partitioned": True, "host": "a/b"}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "glob": "["}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "since": 0, "glob": "*"}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "since": 0, "missing": True}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "since": "no token"}, tw.InvalidArgumentError),
        ({"path": 3}, TypeError),
    ]
    for arguments, error in cases:
        with pytest.raises(error):
            warden.export(**arguments)
    assert not (tmp_path / "x").exists()


def test_who_comes_too_late_is_told(tmp_path: Path, state: Path, music: Path) -> None:
    with tw.open(tmp_path / "other.tw") as other:
        token = other.token()
    with tw.open(state) as warden:
        warden.add_root("music", music)
        warden.scan()
        with pytest.raises(tw.ResetError):
            warden.export(tmp_path / "x.parquet", since=token)
    assert not (tmp_path / "x.parquet").exists()


def test_a_snapshot_writes_itself_also_without_its_warden(warden: tw.Warden, music: Path, tmp_path: Path) -> None:
    snapshot = warden.snapshot()
    before = rows(snapshot)
    (music / "a.mp3").unlink()
    warden.scan()
    warden.close()
    report = snapshot.to_parquet(tmp_path / "x.parquet")
    assert (report.rows, report.seq) == (5, snapshot.seq) and read(tmp_path / "x.parquet") == before
    assert snapshot.to_parquet(tmp_path / "y.parquet", "music/2024", glob="*.txt").rows == 1


def test_a_report_is_a_value(warden: tw.Warden, tmp_path: Path) -> None:
    report = warden.export(tmp_path / "x.parquet")
    assert pickle.loads(pickle.dumps(report)) == report and "ExportReport" in repr(report)
    assert json.dumps(vars(report)) and "table" in report._repr_html_()
    warden.close()
    with pytest.raises(tw.ClosedError):
        warden.export(tmp_path / "y.parquet")


def in_bucket(store: Store, key: str) -> list[dict[str, Any]]:
    return rows(parquet.ParquetFile(pyarrow.BufferReader(store.holds()[key])).read())


def keys_to(store: Store) -> dict[str, Any]:
    return {"endpoint": store.endpoint, "access_key": "AKIAEXAMPLE", "secret_key": SECRET, "backoff": 0.01}


def test_a_bucket_takes_partitions(warden: tw.Warden, music: Path, tmp_path: Path, store: Store) -> None:
    report = warden.export("s3://photos/lake", host="nas", **keys_to(store))
    part = f"lake/host=nas/root=music/part-{report.seq}.parquet"
    assert list(store.holds()) == [part] and (report.rows, report.files) == (5, 1)
    assert report.bytes == len(store.holds()[part])
    without_root = [{name: value for name, value in row.items() if name != "root"} for row in rows(warden.snapshot())]
    assert in_bucket(store, part) == without_root

    write(music / "new", "n")
    warden.scan()
    (tmp_path / "aside").mkdir()
    again = warden.export("s3://photos/lake", host="nas", staging=tmp_path / "aside", **keys_to(store))
    assert list(store.holds()) == [f"lake/host=nas/root=music/part-{again.seq}.parquet"], "the older one is gone"
    assert again.rows == 6
    changes = warden.export("s3://photos/lake", "music/new", since=0, host="nas", **keys_to(store))
    assert len(in_bucket(store, f"lake/host=nas/root=music/changes-{changes.seq}.parquet")) == changes.rows == 1
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".treewarden")], "no draft stays"
    assert os.listdir(tmp_path / "aside") == []


def test_a_store_that_refuses_is_told(warden: tw.Warden, tmp_path: Path, store: Store) -> None:
    newer = "lake/host=nas/root=music/part-999999.parquet"
    store.client.put_object(Bucket="photos", Key=newer, Body=b"of another state file")
    with pytest.raises(tw.ConflictError):
        warden.export("s3://photos/lake", host="nas", **keys_to(store))
    store.refusal = "ExpiredToken"
    store.asked.clear()
    with pytest.raises(tw.PermissionDeniedError) as caught:
        warden.export("s3://photos/lake", host="nas", **keys_to(store))
    assert "hush" not in str(caught.value) and len(store.asked) == 1, "it is not repeated"
    store.refusal = None
    assert list(store.holds()) == [newer]
    with pytest.raises(tw.NotFoundError):
        warden.export("s3://nowhere", host="nas", **keys_to(store))


def test_a_store_that_makes_no_sense_is_refused(warden: tw.Warden, tmp_path: Path) -> None:
    keys = {"access_key": "AKIAEXAMPLE", "secret_key": SECRET}
    cases: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"path": tmp_path / "x", "endpoint": "https://h"}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "staging": tmp_path}, tw.InvalidArgumentError),
        ({"path": tmp_path / "x", "colour": "red"}, TypeError),
        ({"path": "s3://photos", "host": "nas", "purge_new": True, **keys}, TypeError),
        ({"path": "s3://photos", "host": "nas", "endpoint": 3, **keys}, TypeError),
        ({"path": "s3://photos", "host": "nas"}, tw.InvalidArgumentError),
        ({"path": "s3://photos", **keys}, tw.InvalidArgumentError),
        ({"path": "s3://id:hush@photos", "host": "nas", **keys}, tw.InvalidArgumentError),
        ({"path": "local+https://h", "host": "nas"}, tw.UnsupportedError),
        ({"path": f"file://{tmp_path}/nowhere", "host": "nas"}, tw.NotFoundError),
    ]
    for arguments, error in cases:
        with pytest.raises(error) as caught:
            warden.export(**arguments)
        assert "hush" not in str(caught.value), arguments
    assert not (tmp_path / "x").exists()
    assert warden.export(tmp_path / "x", endpoint=None, staging=None).rows == 5, "None is the default"


def test_the_same_on_asyncio(state: Path, music: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            report = await warden.export(tmp_path / "x.parquet", "music/2024", glob="*.txt")
            assert report.rows == 1 and read(tmp_path / "x.parquet")[0]["path"] == "music/2024/notes.txt"
            assert (await warden.export(tmp_path / "y.parquet", since=0)).rows == 5
            (tmp_path / "lake").mkdir()
            report = await warden.export(f"file://{tmp_path}/lake", host="nas", staging=tmp_path / "lake")
            assert [path.name for path in (tmp_path / "lake").rglob("*.parquet")] == [f"part-{report.seq}.parquet"]

    asyncio.run(main())
