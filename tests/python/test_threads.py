"""One warden, many threads: nothing is lost, nothing tears, nothing waits for ever."""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import treewarden as tw
from support import HANG, write


def together(*works: Callable[[], object]) -> None:
    """Runs all of these at once; an error in one of them is the error of the test."""
    errors: list[BaseException] = []
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            begin.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]


def test_readers_see_one_state_at_a_time(warden: tw.Warden, music: Path) -> None:
    # Files come and go in pairs: a snapshot has both of them or none.
    ended = threading.Event()

    def change() -> None:
        for number in range(30):
            for name in ("one", "two"):
                path = music / name
                path.unlink() if number % 2 else write(path)
            warden.scan("music")
        ended.set()

    def read() -> None:
        seen = 0
        while not ended.is_set():
            snapshot = warden.snapshot()
            assert ("music/one" in snapshot) == ("music/two" in snapshot)
            assert snapshot.seq >= seen
            assert len(snapshot) == sum(1 for _ in snapshot) == snapshot.du().files
            seen = snapshot.seq

    together(change, read, read, read)


def test_compare_and_set_is_atomic(warden: tw.Warden) -> None:
    space = warden.space("s")
    space["n"] = b"0"

    def count() -> None:
        for _ in range(25):
            while True:
                now = space["n"]
                if space.compare_and_set("n", now, str(int(now) + 1).encode()):
                    break

    together(count, count, count, count)
    assert space["n"] == b"100"


def test_batches_of_many_threads_are_all_there(warden: tw.Warden) -> None:
    def put(name: str) -> Callable[[], None]:
        def run() -> None:
            for number in range(50):
                with warden.batch() as batch:
                    batch.put("s", f"{name}{number}a", b"1")
                    batch.put("s", f"{name}{number}b", b"2")

        return run

    together(*[put(name) for name in "abcd"])
    assert len(warden.space("s")) == 400


def test_one_batch_of_many_threads(warden: tw.Warden) -> None:
    batch = warden.batch()

    def put(name: str) -> Callable[[], None]:
        def run() -> None:
            for number in range(100):
                batch.put("s", f"{name}{number}", b"")

        return run

    together(*[put(name) for name in "abcd"])
    batch.commit()
    assert len(warden.space("s")) == 400


def test_every_job_is_handed_to_one_thread(timed: tw.Warden, music: Path) -> None:
    for number in range(200):
        write(music / f"job{number}")
    timed.scan()
    pipeline = timed.pipeline("p")
    seen: list[str] = []

    def work() -> None:
        while jobs := pipeline.claim(3):
            seen.extend(job.path for job in jobs)
            assert pipeline.complete_many(jobs) == [None] * len(jobs)

    together(work, work, work, work)
    assert len(seen) == len(set(seen)) == 205


def test_one_iterator_of_many_threads(warden: tw.Warden, music: Path) -> None:
    for number in range(1000):
        write(music / f"file{number}")
    warden.scan()
    for shared, expected in ((warden.snapshot().files(), 1005), (warden.changes().files_only(), 1005)):
        seen: list[str] = []
        together(*[lambda: seen.extend(one.path for one in shared)] * 4)  # noqa: B023
        assert len(seen) == len(set(seen)) == expected


def test_scans_of_many_threads_wait_for_one_another(warden: tw.Warden, music: Path) -> None:
    write(music / "new")
    reports: list[tw.Report] = []
    together(*[lambda: reports.append(warden.scan("music"))] * 4)
    assert sum(report.added for report in reports) == 1


def test_events_go_to_one_of_many_threads(warden: tw.Warden) -> None:
    with warden.events() as events:
        seen: list[int] = []
        last = warden.seq + 100

        def listen() -> None:
            while not seen or seen[-1] < last:
                event = events.next(timeout=0.05)
                if event is not None and event.last_seq is not None:
                    seen.append(event.last_seq)

        def tell() -> None:
            for number in range(100):
                warden.space("s")[str(number)] = b""

        together(listen, listen, tell)
        assert len(seen) == len(set(seen))


def test_a_limiter_of_many_threads() -> None:
    limiter = tw.RateLimiter(tw.RateLimit(20, 0.5, pacing=False))
    begun: list[float] = []

    def send() -> None:
        for _ in range(10):
            permit = limiter.acquire()
            assert permit is not None
            with permit:
                begun.append(time.monotonic())

    together(send, send, send, send)
    begun.sort()
    # Never the 21st within a window of the first; what is measured here lies after the grant.
    assert all(late - early > 0.4 for early, late in zip(begun, begun[20:]))


def test_closing_while_everybody_is_at_work(warden: tw.Warden, music: Path) -> None:
    pipeline = warden.pipeline("p", settle=0.0)

    def until_closed(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                while True:
                    call()
            except tw.ClosedError:
                pass

        return run

    def close() -> None:
        time.sleep(0.3)
        warden.close()

    def work() -> None:
        for job in pipeline.claim(2, timeout=0.1):
            job.release()

    together(
        close,
        until_closed(lambda: warden.scan("music")),
        until_closed(lambda: len(warden.snapshot())),
        until_closed(lambda: warden.space("s").put("k", b"v")),
        until_closed(lambda: list(warden.changes())),
        until_closed(work),
        until_closed(lambda: warden.status()),
        until_closed(lambda: warden.follow("f").next(timeout=0.05)),
    )


def test_the_interpreter_is_not_held_up_by_a_wait(warden: tw.Warden) -> None:
    waiting = threading.Thread(target=lambda: warden.wait(10**6, timeout=0.3))
    waiting.start()
    turns = 0
    while waiting.is_alive():
        turns += 1
        time.sleep(0)
    assert turns > 100


def test_the_module_does_not_need_the_lock_of_the_interpreter() -> None:
    # On a free-threaded build, importing the package must not switch the lock back on.
    is_locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert is_locked == (not sysconfig.get_config_var("Py_GIL_DISABLED"))
