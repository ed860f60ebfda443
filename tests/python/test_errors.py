"""Whatever goes wrong is one clear exception: of the right kind, with the path, and nothing is lost."""

from __future__ import annotations

import builtins
import copy
import errno
import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import treewarden as tw
from support import python, write
from treewarden import _errors

BUILTIN = {
    tw.InvalidArgumentError: ValueError,
    tw.NotFoundError: FileNotFoundError,
    tw.AlreadyExistsError: FileExistsError,
    tw.BusyError: BlockingIOError,
    tw.PermissionDeniedError: PermissionError,
    tw.UnavailableError: OSError,
    tw.HeldError: Exception,
    tw.CancelledError: Exception,
    tw.ResetError: Exception,
    tw.ConflictError: Exception,
    tw.TooLargeError: ValueError,
    tw.CorruptError: Exception,
    tw.NotAStateFileError: ValueError,
    tw.NewerFormatError: Exception,
    tw.ReadOnlyError: OSError,
    tw.StorageFullError: OSError,
    tw.IoError: OSError,
    tw.ClosedError: ValueError,
    tw.PoisonedError: Exception,
    tw.UnsupportedError: NotImplementedError,
    tw.TimeoutError: builtins.TimeoutError,
    tw.LeaseLostError: Exception,
    tw.InternalError: Exception,
    tw.ForkedError: Exception,
}


def test_every_kind_has_a_class_and_its_stable_number() -> None:
    assert list(_errors.BY_CODE) == list(range(1, 25))
    assert [cls.code for cls in BUILTIN] == list(range(1, 25))
    assert [cls.kind for cls in BUILTIN][:3] == ["invalid_argument", "not_found", "already_exists"]
    for code, cls in _errors.BY_CODE.items():
        assert cls.code == code and issubclass(cls, tw.Error) and issubclass(cls, BUILTIN[cls])
        assert getattr(tw, cls.__name__) is cls and cls.__module__ == "treewarden"
    assert issubclass(tw.NotFoundError, KeyError)
    assert not issubclass(tw.Permanent, tw.Error) and not issubclass(tw.PutOff, tw.Error)


@pytest.mark.parametrize("cls", BUILTIN, ids=lambda cls: cls.__name__)
def test_errors_carry_what_is_known_and_can_be_pickled(cls: type[tw.Error]) -> None:
    error = cls(
        "cannot read it",
        code=cls.code,
        kind=cls.kind,
        path_bytes=b"music/\xff",
        hint="give read permission",
        restart_seq=7,
    )
    setattr(error, "note", "of the caller")
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(same) is cls and same.args == ("cannot read it",)
        assert str(same) == "cannot read it\nhint: give read permission"
        assert (same.message, same.hint, same.code, same.kind) == (
            "cannot read it",
            "give read permission",
            cls.code,
            cls.kind,
        )
        assert (same.path, same.path_bytes, same.restart_seq) == ("music/\udcff", b"music/\xff", 7)
        assert vars(same)["note"] == "of the caller"
        if isinstance(same, OSError):
            assert (same.strerror, same.filename) == ("cannot read it", "music/\udcff")
    plain = cls("short")
    assert str(plain) == "short" and plain.path is None and plain.hint is None


def test_the_numbers_of_the_system_are_those_of_the_kind() -> None:
    numbers = {cls: getattr(cls("x"), "errno") for cls in BUILTIN if issubclass(cls, OSError)}
    assert numbers[tw.NotFoundError] == errno.ENOENT and numbers[tw.StorageFullError] == errno.ENOSPC
    assert numbers[tw.BusyError] == errno.EAGAIN and numbers[tw.TimeoutError] == errno.ETIMEDOUT


def test_what_a_worker_says_can_be_pickled() -> None:
    put_off = pickle.loads(pickle.dumps(tw.PutOff(2.5)))
    assert put_off.seconds == 2.5 and "2.5 s" in str(put_off)
    for absurd in (-1.0, float("nan")):
        with pytest.raises(ValueError):
            tw.PutOff(absurd)
    assert str(pickle.loads(pickle.dumps(tw.Permanent("no")))) == "no"


# Opening


def test_a_file_that_is_not_there_or_not_ours(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        tw.open(tmp_path / "no/such/state.tw")
    assert isinstance(missing.value, tw.NotFoundError) and missing.value.path is not None
    with pytest.raises(tw.NotFoundError):
        tw.open(tmp_path / "state.tw", create=False)
    with pytest.raises(tw.NotFoundError):
        tw.open(tmp_path / "state.tw", read_only=True)
    write(tmp_path / "text", "a text, and no state file, which is long enough to be read\n" * 200)
    with pytest.raises(tw.NotAStateFileError) as error:
        tw.open(tmp_path / "text")
    assert error.value.path_bytes == os.fsencode(tmp_path / "text")
    assert (tmp_path / "text").read_text().startswith("a text")
    with pytest.raises(tw.Error):
        tw.open(tmp_path)
    with pytest.raises(tw.Error):
        tw.open("")
    with pytest.raises(tw.Error):
        tw.open(b"a\0b")


def test_a_damaged_file_is_said_to_be(state: Path, music: Path) -> None:
    with tw.open(state) as warden:
        warden.add_root("music", music)
        warden.scan()
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((tw.CorruptError, tw.NotAStateFileError)):
        with tw.open(state, create=False) as warden:
            warden.check()


def test_a_second_opener_is_refused(state: Path) -> None:
    with tw.open(state):
        with pytest.raises(BlockingIOError) as error:
            tw.open(state)
        assert isinstance(error.value, tw.BusyError)
        other = python("import sys, treewarden as tw\ntw.open(sys.argv[1])", state)
        assert other.returncode == 1 and "BusyError" in other.stderr
    tw.open(state).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_what_may_not_be_read_or_written(state: Path, tmp_path: Path) -> None:
    tw.open(state).close()
    state.chmod(0)
    with pytest.raises(PermissionError):
        tw.open(state)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            tw.open(tmp_path / "new.tw")
    finally:
        tmp_path.chmod(0o700)


def test_bad_options_are_refused(state: Path) -> None:
    with pytest.raises(tw.InvalidArgumentError) as error:
        tw.open(state, durability="maybe")  # type: ignore[arg-type]
    assert error.value.hint is not None and "relaxed" in error.value.hint
    with pytest.raises(TypeError):
        tw.open(state, colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        tw.open(3)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        tw.open(state, cache_bytes=-1)
    with pytest.raises(TypeError):
        tw.Warden()
    assert not state.exists()


# Roots


def test_bad_roots_are_refused(warden: tw.Warden, music: Path, tmp_path: Path) -> None:
    for name in ("", ".", "..", "a/b", "a\nb", "x" * 256):
        with pytest.raises(tw.InvalidArgumentError):
            warden.add_root(name, tmp_path)
    with pytest.raises(tw.AlreadyExistsError):
        warden.add_root("music", tmp_path)
    with pytest.raises(FileExistsError):
        warden.add_root("again", music)
    with pytest.raises(tw.NotFoundError) as error:
        warden.add_root("gone", tmp_path / "gone\udcff")
    assert error.value.path_bytes == os.fsencode(tmp_path) + b"/gone\xff"
    with pytest.raises(tw.InvalidArgumentError):
        warden.add_root("file", music / "a.mp3")
    with pytest.raises(tw.InvalidArgumentError):
        warden.add_root("bad", tmp_path, ignore=["[a"])
    with pytest.raises(TypeError):
        warden.add_root("bad", tmp_path, ignore="*.part")
    with pytest.raises(tw.InvalidArgumentError):
        warden.add_root("bad", tmp_path, compare="closely")  # type: ignore[arg-type]
    for call in (warden.remove_root, warden.set_root_options, warden.scan, warden.explain, warden.verify):
        with pytest.raises(tw.NotFoundError):
            call("nothing")
    assert [root.name for root in warden.roots()] == ["music"]


@pytest.mark.parametrize("address", ["", "/abs", "music/../x", "music//x", b"music/a\0b", "music/."])
def test_what_is_no_address_is_refused(warden: tw.Warden, address: str | bytes) -> None:
    with pytest.raises(tw.InvalidArgumentError) as error:
        warden.scan(address)
    assert error.value.hint
    with pytest.raises(tw.InvalidArgumentError):
        warden.attrs(address)
    with pytest.raises(tw.InvalidArgumentError):
        warden.explain(address)
    assert warden.snapshot().get(address) is None


def test_a_message_carries_no_control_character(warden: tw.Warden) -> None:
    with pytest.raises(tw.NotFoundError) as error:
        warden.attrs(b"music/\x1b[31m\n\xff")
    assert not set(error.value.message) & set("\x1b\n\udcff")
    assert error.value.path_bytes == b"music/\x1b[31m\n\xff"


# After the end


def test_everything_is_refused_after_close(state: Path, music: Path) -> None:
    warden = tw.open(state)
    warden.add_root("music", music)
    warden.scan()
    snapshot, cursor, space, batch = warden.snapshot(), warden.cursor("c"), warden.space("s"), warden.batch()
    follow, events, changes = warden.follow("f"), warden.events(), warden.changes()
    delivery = cursor.read()
    pipeline = warden.pipeline("p", settle=0.0)
    (first,) = pipeline.claim(1, timeout=60.0)
    done, failed, put_off, given_back = [first, *pipeline.claim(3, timeout=60.0)]
    warden.close()
    warden.close()
    assert warden.closed and "closed" in repr(warden) and warden.path == str(state)

    refused: list[Callable[[], object]] = [
        lambda: warden.seq,
        lambda: warden.token(),
        lambda: warden.watching,
        lambda: warden.__enter__(),
        lambda: warden.add_root("x", music),
        lambda: warden.set_root_options("music"),
        lambda: warden.remove_root("music"),
        lambda: warden.move_root("music", music),
        lambda: warden.roots(),
        lambda: warden.scan("music"),
        lambda: warden.scan(),
        lambda: warden.snapshot(),
        lambda: warden.changes(),
        lambda: warden.cursor("c"),
        lambda: warden.cursors(),
        lambda: warden.follow("f"),
        lambda: warden.wait(0),
        lambda: warden.attrs("music/a.mp3"),
        lambda: warden.set_attrs("music/a.mp3", {}),
        lambda: warden.space("s"),
        lambda: warden.batch(),
        lambda: warden.status(),
        lambda: warden.history(),
        lambda: warden.explain("music"),
        lambda: warden.verify(),
        lambda: warden.check(),
        lambda: warden.compact(),
        lambda: warden.maintain(),
        lambda: warden.watch(),
        lambda: warden.unwatch(),
        lambda: warden.sync(),
        lambda: warden.pause(),
        lambda: warden.resume(),
        lambda: warden.events(),
        lambda: warden.pipeline("p"),
        lambda: warden.pipelines(),
        lambda: warden.remove_pipeline("p"),
        lambda: cursor.position,
        lambda: cursor.read(),
        lambda: cursor.advance(1),
        lambda: delivery.ack(),
        lambda: follow.next(timeout=0.0),
        lambda: next(follow),
        lambda: [events.next(timeout=0.0) for _ in range(2000)],
        lambda: space["k"],
        lambda: space.put("k", b"v"),
        lambda: "k" in space,
        lambda: len(space),
        lambda: batch.put("s", "k", b"v"),
        lambda: batch.commit(),
        lambda: pipeline.claim(),
        lambda: next(iter(pipeline.jobs())),
        lambda: pipeline.status(),
        lambda: pipeline.list(),
        lambda: pipeline.request(),
        lambda: pipeline.retry(),
        lambda: pipeline.explain("music/a.mp3"),
        lambda: pipeline.wait_idle(),
        lambda: done.renew(),
        lambda: done.complete(),
        lambda: failed.fail("x"),
        lambda: put_off.snooze(1.0),
        lambda: given_back.release(),
    ]
    wrong = []
    for number, call in enumerate(refused):
        try:
            answer = call()
        except tw.ClosedError:
            continue
        except Exception as error:
            answer = error
        wrong.append(f"number {number}: {answer!r}")
    assert not wrong

    assert len(snapshot) == 5 and snapshot["music/a.mp3"].size == 3 and len(delivery) >= 5
    assert done.path.startswith("music/") and pipeline.name == "p" and cursor.name == "c" and space.name == "s"
    assert repr(follow) and repr(events) and repr(done) and repr(batch) and repr(cursor)
    assert len(list(changes)) >= 5, "what was begun is read to its end"
    tw.open(state).close()


def test_a_with_block_closes_after_an_exception_too(state: Path) -> None:
    with pytest.raises(LookupError):
        with tw.open(state) as warden:
            raise LookupError
    assert warden.closed
    tw.open(state).close()


def test_a_warden_that_is_let_go_of_is_closed(state: Path) -> None:
    warden = tw.open(state)
    del warden
    gc.collect()
    tw.open(state).close()


def test_a_removed_pipeline_is_closed(warden: tw.Warden) -> None:
    pipeline = warden.pipeline("p")
    warden.remove_pipeline("p")
    with pytest.raises(tw.ClosedError):
        pipeline.claim()
    with pytest.raises(tw.ClosedError):
        pipeline.status()


def test_a_full_disk_is_said_and_loses_nothing(state: Path) -> None:
    ended = python(
        """
        # A limit on the size of files is as good as a full disk.
        import resource, signal, sys
        import treewarden as tw
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with tw.open(sys.argv[1]) as warden:
            space = warden.space("s")
            space["before"] = b"kept"
            size = warden.status().file_bytes
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            try:
                for number in range(100):
                    space[str(number)] = bytes(1 << 20)
            except OSError as error:
                assert isinstance(error, tw.Error), error
                print(type(error).__name__)
        """,
        state,
    )
    assert ended.stdout.split() == ["StorageFullError"], ended.stderr
    with tw.open(state) as warden:
        assert warden.space("s")["before"] == b"kept"
        warden.check()
