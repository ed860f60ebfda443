"""Storages written in Python: what they hold is what the root holds, whatever they do."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

import pytest

import treewarden as tw
from support import HANG, succeeds, tomorrow, wait_until, write

SECRET = "hush-hush-this-is-the-secret"
MIB = 1 << 20


class Shelf:
    """Objects in memory: what it was asked, and what it is to raise instead of doing it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.faults: list[BaseException] = []
        self.lock = threading.Lock()

    def note(self, line: str) -> None:
        with self.lock:
            self.asked.append(line)
            if self.faults:
                raise self.faults.pop(0)

    def put(self, upload: tw.Upload) -> Optional[str]:
        self.note(f"put {upload.key}")
        content = upload.read()
        self.objects[upload.key] = content
        return hashlib.md5(content).hexdigest()

    def delete(self, keys: Sequence[str]) -> Optional[Mapping[str, BaseException]]:
        self.note(f"delete {' '.join(sorted(keys))}")
        for key in keys:
            self.objects.pop(key, None)
        return None


class Library(Shelf):
    """One that can do everything."""

    name = "books"
    public_url = "https://cdn.example.org/img/"
    key_bytes_max = 100
    delete_max = 2

    def copy(self, from_key: str, to_key: str) -> Optional[str]:
        self.note(f"copy {from_key} {to_key}")
        self.objects[to_key] = self.objects[from_key]
        return f'"{hashlib.md5(self.objects[to_key]).hexdigest()}"'

    def check_key(self, key: str) -> None:
        if "forbidden" in key:
            raise ValueError(SECRET)

    def url(self, key: str) -> Optional[str]:
        return None if key.startswith("2024") else f"https://purge.example.org/{key}"

    def list(self, prefix: str) -> Iterator[tuple[str, int, Optional[str]]]:
        for key, content in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield key, len(content), hashlib.md5(content).hexdigest()


class Acting(Shelf):
    """One whose `put` is given."""

    def __init__(self, act: Callable[[tw.Upload], Any]) -> None:
        super().__init__()
        self.act = act

    def put(self, upload: tw.Upload) -> Any:
        self.note(f"put {upload.key}")
        return self.act(upload)


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path, without a word of the engine."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write(root / "a.jpg", "aaa")
    write(root / "b.html", "<p>b")
    write(root / "empty", "")
    write(root / "2024/c d#e%.foo", "c")
    write(root / "2024/f\u00fcr.jpg", "für")
    return root


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A root with one file."""
    root = tmp_path / "photos"
    write(root / "a.jpg", "aaa")
    return root


def opened(state: Path, root: Path, **options: Any) -> tw.Warden:
    warden = tw.open(state, **options)
    warden.add_root("photos", root)
    warden.scan()
    return warden


@pytest.fixture
def site(state: Path, photos: Path) -> Iterator[tw.Warden]:
    with opened(state, photos) as warden:
        yield warden


@pytest.fixture
def still(state: Path, photos: Path) -> Iterator[tw.Warden]:
    """As `site`, and no file is too fresh to be known again when it has moved."""
    with opened(state, photos, clock=tomorrow()) as warden:
        yield warden


@pytest.fixture
def small(state: Path, one: Path) -> Iterator[tw.Warden]:
    with opened(state, one) as warden:
        yield warden


def mirrored(warden: tw.Warden, storage: tw.Storage, **options: Any) -> tw.Mirror:
    given = {"settle": 0.0, "attempts": 2, "backoff": 0.01, "backoff_max": 0.02}
    return warden.mirror("m", "photos", storage, **{**given, **options})


# What it holds.


@pytest.mark.parametrize("kind", [Shelf, Library])
def test_the_storage_holds_what_the_root_holds(still: tw.Warden, photos: Path, kind: type[Shelf]) -> None:
    storage = kind()
    mirror = mirrored(still, storage)
    assert storage.asked == []
    report = mirror.sync()
    assert (report.uploaded, report.deleted, report.is_complete, report.errors) == (5, 0, True, ())
    assert storage.objects == held(photos)

    storage.asked.clear()
    assert mirror.sync().is_complete and storage.asked == [], "nothing changed: no call"

    write(photos / "a.jpg", "other")
    write(photos / "new/g.jpg", "g")
    (photos / "b.html").unlink()
    (photos / "2024").rename(photos / "2025")
    still.scan()
    report = mirror.sync()
    assert report.is_complete and report.uploaded + report.copied == 4 and report.deleted == 3
    assert storage.objects == held(photos)
    assert sum(line.startswith("copy") for line in storage.asked) == report.copied
    assert report.copied == (2 if kind is Library else 0)
    deletions = [line for line in storage.asked if line.startswith("delete")]
    assert len(deletions) == (2 if kind is Library else 1) and storage.asked[-len(deletions) :] == deletions

    status = mirror.status()
    assert (status.objects, status.pending, status.last_error) == (5, 0, None)
    (info,) = still.mirrors()
    assert (info.name, info.address, info.target) == ("m", "photos", None)


def test_an_upload_is_a_file_that_is_read_once(site: tw.Warden) -> None:
    seen: dict[str, tuple[Any, ...]] = {}

    def put(upload: tw.Upload) -> None:
        assert upload.readable() and len(upload) == upload.size and upload.tell() == 0
        assert upload.read(0) == b"" and upload.read(2) + upload.read(None) + upload.read() == content(upload.key)
        assert upload.read() == b"" == upload.read(7) and upload.tell() == upload.size
        assert upload.key in repr(upload) and repr(upload).isprintable()
        with pytest.raises(AttributeError):
            upload.key = "other"  # type: ignore[misc]
        with pytest.raises(TypeError):
            type(upload)()
        seen[upload.key] = (upload.content_type, upload.cache_control)

    def content(key: str) -> bytes:
        return {"a.jpg": b"aaa", "b.html": b"<p>b", "empty": b"", "2024/c d#e%.foo": b"c"}.get(key, "für".encode())

    report = mirrored(site, Acting(put), cache_control="no-store", content_types={"foo": "x/foo"}).sync()
    assert report.errors == () and report.uploaded == 5
    assert seen["2024/c d#e%.foo"] == ("x/foo", "no-store") and seen["a.jpg"] == ("image/jpeg", "no-store")


def test_a_large_file_is_read_in_any_pieces_by_any_thread(small: tw.Warden, one: Path) -> None:
    content = os.urandom(20 * MIB)
    got: dict[str, bytes] = {}

    def put(upload: tw.Upload) -> None:
        target = one.parent / "got"
        if upload.key == "whole":
            got[upload.key] = upload.read()
        elif upload.key == "copied":
            with target.open("wb") as file:
                shutil.copyfileobj(upload, file)
            got[upload.key] = target.read_bytes()
        elif upload.key == "threads":
            # Each piece is read by another thread than the one before.
            pieces = []
            while True:
                with ThreadPoolExecutor(1) as pool:
                    piece = pool.submit(upload.read, 7 * MIB + 1).result(HANG)
                if not piece:
                    break
                pieces.append(piece)
            assert [len(piece) for piece in pieces] == [7 * MIB + 1, 7 * MIB + 1, 6 * MIB - 2]
            got[upload.key] = b"".join(pieces)
        else:
            # All at once: what each gets is its own.
            with ThreadPoolExecutor(8) as pool:
                pieces = list(pool.map(lambda _: upload.read(MIB), range(20)))
            assert sorted(pieces) == sorted(content[at : at + MIB] for at in range(0, len(content), MIB))
            got[upload.key] = content

    names = ["whole", "copied", "threads", "crowd"]
    (one / "a.jpg").unlink()
    for name in names:
        write(one / name, content)
    small.scan()
    # Less memory than the files that are sent at a time.
    report = mirrored(small, Acting(put), part_bytes=5 * MIB, memory_bytes=10 * MIB).sync()
    assert report.errors == () and report.uploaded_bytes == len(names) * len(content)
    assert all(got[name] == content for name in names)


@pytest.mark.parametrize("swallows", [False, True])
def test_a_file_that_changes_while_it_is_read_is_not_acknowledged(
    small: tw.Warden, one: Path, swallows: bool, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Shelf()
    raised: list[tw.Error] = []

    def put(upload: tw.Upload) -> str:
        first = upload.read(1)
        if not raised:
            with (one / "a.jpg").open("a") as file:
                file.write("more")
        try:
            storage.objects[upload.key] = first + upload.read()
        except tw.Error as error:
            raised.append(error)
            with pytest.raises(type(error)):
                upload.read(1)
            if not swallows:
                raise
        return "etag"

    mirror = mirrored(small, Acting(put))
    report = mirror.sync()
    assert (report.uploaded, report.changed, report.is_complete) == (0, 1, False), report
    assert [type(error) for error in raised] == [tw.ConflictError] and "changed" in str(raised[0])
    assert storage.objects == {} and mirror.status().objects == 0
    assert caplog.text == "", "it is no fault of the storage"
    small.scan()
    report = mirror.sync()
    assert (report.uploaded, report.is_complete) == (1, True)
    assert storage.objects == held(one) == {"a.jpg": b"aaamore"}


def test_a_put_that_does_not_read_to_the_end_stores_nothing(small: tw.Warden) -> None:
    storage = Acting(lambda upload: upload.read(1) and None)
    mirror = mirrored(small, storage)
    report = mirror.sync()
    assert (report.uploaded, report.refused, report.retries) == (0, 1, 0)
    (error,) = report.errors
    assert error.permanent and "Acting" in error.message and "only 1 of 3 bytes" in error.message
    assert mirror.status().objects == 0 and len(storage.asked) == 1


# What it raises.


@pytest.mark.parametrize(
    ("fault", "calls", "refused"),
    [
        (ConnectionError, 2, 0),
        (KeyError, 2, 0),
        (SystemExit, 2, 0),
        (FileNotFoundError, 1, 0),
        (NotImplementedError, 1, 0),
        (tw.Permanent, 1, 1),
    ],
)
def test_an_exception_says_what_comes_next(
    small: tw.Warden,
    one: Path,
    fault: type[BaseException],
    calls: int,
    refused: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Shelf()
    storage.faults = [fault(SECRET) for _ in range(calls)]
    mirror = mirrored(small, storage)
    report = mirror.sync()
    assert storage.asked == ["put a.jpg"] * calls and report.retries == calls - 1
    assert (report.uploaded, report.refused, report.failed) == (0, refused, 1 - refused)
    (error,) = report.errors
    assert error.permanent == bool(refused) and error.key == "a.jpg"
    assert fault.__name__ in error.message and "`put` of the storage `Shelf`" in error.message
    # What it says goes to the log alone.
    assert SECRET not in f"{report}{mirror.status()}{small.mirrors()}" and SECRET in caplog.text

    assert mirror.sync().uploaded == 1 - refused
    write(one / "a.jpg", "another")
    small.scan()
    assert mirror.sync().uploaded == 1 and storage.objects == held(one)


def test_a_refusal_of_the_credentials_ends_the_run(small: tw.Warden, one: Path) -> None:
    storage = Shelf()
    storage.faults = [PermissionError(SECRET)]
    mirror = mirrored(small, storage)
    with pytest.raises(tw.PermissionDeniedError) as caught:
        mirror.sync()
    assert "PermissionError" in str(caught.value) and SECRET not in f"{caught.value}{mirror.status()}"
    assert mirror.status().last_error is not None and storage.asked == ["put a.jpg"]
    assert mirror.sync().uploaded == 1 and storage.objects == held(one)


def test_a_storage_that_asks_for_a_pause_gets_one(small: tw.Warden, caplog: pytest.LogCaptureFixture) -> None:
    storage = Shelf()
    storage.faults = [tw.PutOff(0.1), tw.PutOff(0.1)]
    report = mirrored(small, storage).sync()
    assert (report.uploaded, report.retries, report.is_complete) == (1, 2, True)
    assert report.elapsed >= 0.2 and caplog.text == "", "whoever asks for it knows why"


@pytest.mark.parametrize("answer", [3, b"etag", ("etag",), "\udcff"])
def test_an_answer_that_makes_no_sense_is_a_mistake_of_the_program(small: tw.Warden, answer: Any) -> None:
    storage = Acting(lambda upload: (upload.read(), answer)[1])
    report = mirrored(small, storage).sync()
    assert (report.uploaded, report.refused, report.retries) == (0, 1, 0)
    assert type(answer).__name__ in report.errors[0].message


def test_deletions_are_answered_one_by_one(site: tw.Warden, photos: Path) -> None:
    class Careful(Shelf):
        failed: Any = None

        def delete(self, keys: Sequence[str]) -> Any:
            failed, self.failed = self.failed, None
            super().delete([key for key in keys if not isinstance(failed, dict) or key not in failed])
            return failed

    storage = Careful()
    mirror = mirrored(site, storage)
    mirror.sync()
    (photos / "a.jpg").unlink()
    (photos / "b.html").unlink()
    site.scan()
    storage.asked.clear()
    storage.failed = {"a.jpg": ConnectionError(SECRET), "somebody else's": KeyError()}
    report = mirror.sync()
    assert (report.deleted, report.is_complete) == (2, True) and storage.objects == held(photos)
    assert storage.asked == ["delete b.html", "delete a.jpg"], "what failed is tried again"

    (photos / "empty").unlink()
    site.scan()
    storage.failed = {"empty": tw.Permanent(SECRET)}
    report = mirror.sync()
    assert (report.deleted, report.failed) == (0, 1) and SECRET not in str(report)
    for failed in ("empty", {"empty": "text"}, 3):
        storage.failed = failed
        report = mirror.sync()
        assert (report.deleted, report.failed) == (0, 1), failed
    storage.faults = [FileNotFoundError()]
    assert mirror.sync().deleted == 1, "of one key it says that it is not there"


def test_of_several_keys_none_counts_as_deleted_when_one_is_not_there(site: tw.Warden, photos: Path) -> None:
    storage = Shelf()
    mirror = mirrored(site, storage)
    mirror.sync()
    (photos / "a.jpg").unlink()
    (photos / "b.html").unlink()
    site.scan()
    storage.faults = [FileNotFoundError("a.jpg")]
    report = mirror.sync()
    assert (report.deleted, report.retries) == (2, 1) and storage.objects == held(photos)


def test_what_cannot_be_copied_is_sent(still: tw.Warden, photos: Path) -> None:
    storage = Library()
    mirror = mirrored(still, storage)
    mirror.sync()
    (photos / "a.jpg").rename(photos / "z.jpg")
    still.scan()
    storage.faults = [NotImplementedError()]
    report = mirror.sync()
    assert (report.uploaded, report.copied, report.deleted, report.is_complete) == (1, 0, 1, True)
    assert storage.objects == held(photos)


# What else it can do.


def test_an_audit_needs_a_listing(site: tw.Warden, photos: Path) -> None:
    shelf = Shelf()
    mirror = mirrored(site, shelf)
    mirror.sync()
    with pytest.raises(tw.UnsupportedError):
        mirror.audit()

    storage = Library()
    # Each call is two commits.
    storage.delete_max = 1_000
    mirror = site.mirror("other", "photos", storage, prefix="p/q", settle=0.0)
    mirror.sync()
    for number in range(2_500):
        storage.objects[f"elsewhere/{number}"] = b""
    clean = mirror.audit()
    assert (clean.listed, clean.matched, clean.is_clean) == (5, 5, True)
    del storage.objects["p/q/a.jpg"]
    storage.objects["p/q/b.html"] = b"somebody else was here"
    for number in range(2_500):
        storage.objects[f"p/q/stranger {number}"] = b""
    found = mirror.audit(repair=True, delete_unknown=True)
    assert (found.listed, found.lost, found.different, found.unknown) == (2_504, 1, 1, 2_500)
    report = mirror.sync(accept_deletes=True)
    assert (report.uploaded, report.deleted) == (2, 2_500) and mirror.audit().is_clean


@pytest.mark.parametrize("listing", [3, [("a.jpg", -1, None)], [("a.jpg", 3)], ["a.jpg"], [(b"a.jpg", 3, None)]])
def test_a_listing_that_makes_no_sense_is_told(small: tw.Warden, listing: Any) -> None:
    class Wrong(Shelf):
        def list(self, prefix: str) -> Any:
            return listing

    mirror = mirrored(small, Wrong())
    mirror.sync()
    with pytest.raises(tw.IoError, match="`list` of the storage"):
        mirror.audit()


def test_a_listing_that_breaks_off_begins_anew(small: tw.Warden) -> None:
    class Breaking(Library):
        broken = True

        def list(self, prefix: str) -> Iterator[tuple[str, int, Optional[str]]]:
            yield from super().list(prefix)
            if self.broken:
                self.broken = False
                raise ConnectionError(SECRET)

    mirror = mirrored(small, Breaking())
    mirror.sync()
    assert mirror.audit().is_clean


def test_a_key_that_it_refuses_is_told_and_the_others_are_kept(site: tw.Warden, photos: Path) -> None:
    write(photos / "forbidden.jpg", "x")
    write(photos / ("k" * 101), "x")
    site.scan()
    storage = Library()
    report = mirrored(site, storage).sync()
    assert (report.uploaded, report.refused, report.is_complete) == (5, 2, True)
    messages = sorted(error.message for error in report.errors)
    assert "`check_key` of the storage `books`" in messages[0] and "ValueError" in messages[0]
    assert "101 bytes" in messages[1] and SECRET not in str(messages)


def test_addresses_are_told_to_readers_and_to_a_cdn(site: tw.Warden, photos: Path) -> None:
    purged: list[str] = []
    mirror = mirrored(site, Library(), cdn=purged.extend)
    mirror.sync()
    assert mirror.urls["photos/a.jpg"] == "https://cdn.example.org/img/a.jpg" and len(mirror.urls) == 5
    write(photos / "a.jpg", "other")
    write(photos / "2024/c d#e%.foo", "other")
    site.scan()
    assert mirror.sync().purged == 1 and purged == ["https://purge.example.org/a.jpg"]

    class Plain(Library):
        name = "plain"
        url = None  # type: ignore[assignment]

    mirror = site.mirror("plain", "photos", Plain(), settle=0.0, cdn=purged.extend)
    mirror.sync()
    purged.clear()
    write(photos / "2024/c d#e%.foo", "again")
    site.scan()
    mirror.sync()
    assert purged == ["https://cdn.example.org/img/2024/c%20d%23e%25.foo"]


# The upload after its end.


def test_an_upload_is_over_when_put_is(site: tw.Warden) -> None:
    kept: list[tw.Upload] = []

    def put(upload: tw.Upload) -> None:
        kept.append(upload)
        upload.read()

    assert mirrored(site, Acting(put)).sync().uploaded == 5
    for upload in kept:
        for size in (-1, 0, 1):
            with pytest.raises(ValueError, match="ended"):
                upload.read(size)
        with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="ended"):
            pool.submit(upload.read).result(HANG)
        assert upload.tell() == upload.size == len(upload)
    assert len(kept) == 5


def test_a_thread_that_reads_when_put_returns_hangs_nobody(small: tw.Warden, one: Path) -> None:
    write(one / "a.jpg", os.urandom(4 * MIB))
    small.scan()
    ends: list[str] = []
    threads: list[threading.Thread] = []

    def drain(upload: tw.Upload, begun: threading.Event) -> None:
        try:
            while upload.read(1024):
                begun.set()
            ends.append("read")
        except ValueError:
            ends.append("over")

    def put(upload: tw.Upload) -> None:
        begun = threading.Event()
        threads.append(threading.Thread(target=drain, args=(upload, begun)))
        threads[-1].start()
        assert begun.wait(HANG)

    report = mirrored(small, Acting(put)).sync()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()
    # Nobody waited for it, so it depends on who was faster.
    assert len(ends) == 1 and (report.uploaded == 1 or report.refused == 1)


def test_an_upload_is_not_read_after_a_fork(state: Path, one: Path) -> None:
    told = succeeds(
        """
        import os, sys, warnings
        import treewarden as tw
        warnings.simplefilter("ignore", DeprecationWarning)

        class Forking:
            def put(self, upload):
                child = os.fork()
                if child == 0:
                    try:
                        upload.read()
                    except tw.ForkedError:
                        os._exit(0)
                    os._exit(1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                print(upload.read())

            def delete(self, keys):
                pass

        with tw.open(sys.argv[1]) as warden:
            warden.add_root("photos", sys.argv[2])
            warden.scan()
            report = warden.mirror("m", "photos", Forking(), settle=0.0).sync()
            assert report.uploaded == 1, report
        """,
        str(state),
        str(one),
    )
    assert "aaa" in told


# Opening.


def test_after_a_restart_nothing_is_sent_again(state: Path, photos: Path) -> None:
    storage = Library()
    with opened(state, photos) as warden:
        mirrored(warden, storage).sync()
    storage.asked.clear()
    with tw.open(state) as warden:
        with pytest.raises(tw.InvalidArgumentError, match="not known"):
            warden.mirror("m")
        mirror = mirrored(warden, storage)
        assert mirror.status().objects == 5
        report = mirror.sync()
        assert (report.uploaded, report.deleted, report.is_complete) == (0, 0, True) and storage.asked == []
        storage.name = "another"
        with pytest.raises(tw.InvalidArgumentError, match="copies"):
            mirrored(warden, storage)
        storage.name = "books"
        with pytest.raises(tw.InvalidArgumentError, match="same place"):
            warden.mirror("second", "photos", Library())
        storage.name = "others"
        warden.mirror("second", "photos", storage)


class Odd(Shelf):
    """A storage with attributes of its own."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("target", "options", "error"),
    [
        (3, {}, TypeError),
        (object(), {}, TypeError),
        ({}, {}, TypeError),
        (Shelf, {}, TypeError),
        (print, {}, TypeError),
        (Odd(put=None), {}, TypeError),
        (Odd(delete=3), {}, TypeError),
        (Odd(name=3), {}, TypeError),
        (Odd(name="\udcff"), {}, tw.InvalidArgumentError),
        (Odd(delete_max=0), {}, tw.InvalidArgumentError),
        (Odd(delete_max=1 << 80), {}, tw.InvalidArgumentError),
        (Odd(delete_max="many"), {}, TypeError),
        (Odd(key_bytes_max=True), {}, TypeError),
        (Odd(key_bytes_max=-1), {}, tw.InvalidArgumentError),
        (Odd(public_url=3), {}, TypeError),
        (Odd(public_url=f"https://id:{SECRET}@example.org"), {}, tw.InvalidArgumentError),
        (Shelf(), {"public_url": "https://example.org"}, tw.InvalidArgumentError),
        (Shelf(), {"endpoint": "https://example.org"}, tw.InvalidArgumentError),
        (Shelf(), {"region": "x"}, tw.InvalidArgumentError),
        (Shelf(), {"virtual_hosted": True}, tw.InvalidArgumentError),
        (Shelf(), {"anonymous": True}, tw.InvalidArgumentError),
        (Shelf(), {"access_key": "id", "secret_key": SECRET}, tw.InvalidArgumentError),
        (Shelf(), {"gcs_token": SECRET}, tw.InvalidArgumentError),
        (Shelf(), {"uploads": 0}, tw.InvalidArgumentError),
        (Shelf(), {"colour": "red"}, TypeError),
    ],
)
def test_what_is_no_storage_is_refused(
    small: tw.Warden, target: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        small.mirror("m", "photos", target, **options)
    assert "hush" not in f"{caught.value}{caught.value!r}" and small.mirrors() == []
    if error is TypeError and not isinstance(target, Shelf):
        assert "`put` and `delete`" in str(caught.value)


def test_options_that_say_nothing_are_no_hindrance(small: tw.Warden) -> None:
    mirror = mirrored(small, Odd(name=None, copy=None), anonymous=False, endpoint=None, access_key=None, prefix="p")
    assert mirror.sync().uploaded == 1
    assert mirror.plan().uploads == 0


def test_a_storage_that_inherits_has_to_say_everything() -> None:
    class Half(tw.Storage):
        def put(self, upload: tw.Upload, /) -> Optional[str]:
            return None

    with pytest.raises(TypeError):
        Half()  # type: ignore[abstract]


# Following, and ends.


def test_a_mirror_follows_into_a_storage(site: tw.Warden, photos: Path) -> None:
    storage = Shelf()
    site.watch()
    mirror = mirrored(site, storage)
    with mirror.follow():
        wait_until("the first files", lambda: storage.objects == held(photos))
        write(photos / "new.jpg", "new")
        (photos / "a.jpg").unlink()
        wait_until("the changes", lambda: storage.objects == held(photos))
        # As often as one run tries.
        storage.faults = [ConnectionError(SECRET), ConnectionError(SECRET)]
        write(photos / "late.jpg", "late")
        wait_until("what failed at first", lambda: storage.objects == held(photos))
    assert not mirror.status().following and SECRET not in str(mirror.status())


def test_a_cancelled_run_ends_while_an_upload_waits(small: tw.Warden, one: Path) -> None:
    write(one / "a.jpg", b"x" * MIB)
    small.scan()
    token = tw.CancelToken()
    raised: list[BaseException] = []

    def put(upload: tw.Upload) -> None:
        try:
            # The first byte is let through at once, what follows it waits for the line.
            while upload.read(4096):
                token.cancel()
        except tw.Error as error:
            raised.append(error)
            raise

    with pytest.raises(tw.CancelledError):
        mirrored(small, Acting(put), bandwidth=1024).sync(cancel=token)
    assert [type(error) for error in raised] == [tw.CancelledError]


def test_a_program_that_ends_while_it_sends_ends(state: Path, one: Path) -> None:
    told = succeeds(
        """
        import sys, threading, time
        import treewarden as tw

        sending = threading.Event()

        class Slow:
            def put(self, upload):
                upload.read(1)
                sending.set()
                time.sleep(0.3)
                upload.read()
                print("sent", flush=True)

            def delete(self, keys):
                pass

        warden = tw.open(sys.argv[1])
        warden.add_root("photos", sys.argv[2])
        warden.scan()
        following = warden.mirror("m", "photos", Slow(), settle=0.0).follow()
        assert sending.wait(30)
        print("ending", flush=True)
        """,
        str(state),
        str(one),
    )
    assert "ending" in told
