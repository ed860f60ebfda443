"""The asyncio face: waits let the loop go on, cancelling leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

import treewarden as tw
from support import HANG, SECOND_NS, told, write
from treewarden import aio

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(main(), HANG)

    return asyncio.run(bounded(), debug=True)


async def eventually(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline, f"it never came: {what}"
        await asyncio.sleep(0.005)


async def soon(waited: Awaitable[T]) -> T:
    return await asyncio.wait_for(waited, 20.0)


def test_open_scan_and_read(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state, durability="relaxed") as warden:
            info = await warden.add_root("music", music, ignore=["*.part"])
            assert info.name == "music" and [root.name for root in warden.roots()] == ["music"]
            report = await warden.scan("music")
            assert report.added == 5
            assert [report.root for report in await warden.scan()] == ["music"]
            assert [report.root for report in await warden.scan(targets=["music/2024"], full=True)] == ["music"]
            snapshot = warden.snapshot()
            assert len(snapshot) == 5 and warden.seq == snapshot.seq and not warden.closed
            assert len(told(warden.changes())) == 5
            assert await warden.set_attrs("music/a.mp3", {"a": b"b"}) == warden.seq
            assert await warden.attrs("music/a.mp3") == {"a": b"b"}
            async with warden.batch() as batch:
                batch.put("s", "k", b"v")
            assert batch.seq == warden.seq and warden.space("s")["k"] == b"v"
            with pytest.raises(LookupError):
                async with warden.batch() as batch:
                    batch.put("s", "k", b"w")
                    raise LookupError
            assert warden.space("s")["k"] == b"v"
            cursor = warden.cursor("c")
            assert len(await warden.run(cursor.read)) >= 5
            assert (await warden.status()).seq == warden.seq and len(await warden.history()) == 1
            assert (await warden.explain("music/a.mp3")).verdict == "current"
            assert (await warden.verify()).differences_total == 0
            await warden.check()
            assert await warden.maintain() == 0 and (await warden.compact()).after_bytes > 0
            assert await warden.cursors() == {} and warden.token().startswith("tw1-")
            assert (await warden.set_root_options("music")).ignore == ()
            assert (await warden.move_root("music", music)).name == "music"
            await warden.remove_root("music")
            assert warden.path == str(state) and "state.tw" in repr(warden) and isinstance(warden.warden, tw.Warden)
        assert warden.closed
        with pytest.raises(tw.ClosedError):
            await warden.scan()
        await warden.close()

    run(main)


def test_open_can_be_awaited_and_fails_like_the_other(state: Path, tmp_path: Path) -> None:
    async def main() -> None:
        warden = await aio.open(state)
        try:
            with pytest.raises(tw.BusyError):
                await aio.open(state)
            with pytest.raises(FileNotFoundError):
                async with aio.open(tmp_path / "none", create=False):
                    pass
        finally:
            await warden.close()
        async with aio.open(state) as again:
            assert not again.closed

    run(main)


def test_an_executor_of_the_program_is_used_and_left_alone(state: Path) -> None:
    names: list[str] = []
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")

    def look() -> None:
        import threading

        names.append(f"{threading.current_thread().name} for {who.get()}")

    async def main() -> None:
        who.set("me")
        with ThreadPoolExecutor(2, thread_name_prefix="mine") as executor:
            async with aio.open(state, executor=executor) as warden:
                await warden.run(look)
            assert executor.submit(int).result() == 0

    run(main)
    (name,) = names
    assert name.startswith("mine") and name.endswith("for me"), "with the context of the task"


def test_the_loop_goes_on_while_something_waits(state: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            waiting = asyncio.ensure_future(warden.wait(10**6))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
            assert await warden.wait(warden.seq, timeout=0.05) == warden.seq
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(waiting)
            woken = asyncio.ensure_future(warden.wait(warden.seq))
            await warden.run(lambda: warden.space("s").put("k", b"v"))
            assert await soon(woken) == warden.seq

    run(main)


# Scans


def _wide(root: Path) -> Path:
    for number in range(200):
        write(root / str(number) / "x", "x")
    return root


def test_progress_is_told_in_the_loop(state: Path, tmp_path: Path) -> None:
    async def main() -> None:
        loop, heard = asyncio.get_running_loop(), []

        def hear(progress: tw.Progress) -> None:
            assert asyncio.get_running_loop() is loop
            heard.append(progress)

        async with aio.open(state) as warden:
            await warden.add_root("wide", _wide(tmp_path / "wide"), content_hash="changed")
            report = await warden.scan("wide", progress=hear)
            await warden.verify(content=True, progress=hear)
            assert report.files == 200 and heard and heard[0].root == "wide"

    run(main)


def test_an_exception_in_progress_cancels_and_is_raised(state: Path, tmp_path: Path) -> None:
    def refuse(progress: tw.Progress) -> None:
        raise LookupError("enough")

    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("wide", _wide(tmp_path / "wide"), content_hash="changed")
            with pytest.raises(LookupError, match="enough"):
                await warden.scan("wide", progress=refuse)
            assert (await warden.scan("wide")).errors == 0

    run(main)


def test_a_task_that_is_cancelled_cancels_its_scan(state: Path, tmp_path: Path) -> None:
    root = tmp_path / "slow"
    for number in range(20):
        write(root / str(number))
        with open(root / str(number), "r+b") as file:
            # Takes no room, and some time to read.
            file.truncate(50_000_000)

    async def main() -> None:
        async with aio.open(state, threads=1) as warden:
            await warden.add_root("slow", root, content_hash="changed")
            begun = asyncio.Event()
            scanning = asyncio.ensure_future(warden.scan("slow", progress=lambda _: begun.set()))
            await soon(begun.wait())
            scanning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(scanning)
            # It has ended, so the next one need not wait for it.
            report = await warden.scan("slow", full=False)
            assert report.files == 20

    run(main)


# Watching


def test_events_in_the_loop(state: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            async with warden.events() as events:
                listening = asyncio.ensure_future(events.__anext__())
                await asyncio.sleep(0.05)
                assert not listening.done()
                await warden.run(lambda: warden.space("s").put("k", b"v"))
                event = await soon(listening)
                assert (event.name, event.last_seq) == ("committed", warden.seq)
                listening = asyncio.ensure_future(events.__anext__())
                await asyncio.sleep(0)
                listening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await listening
                await warden.run(lambda: warden.space("s").put("k", b"w"))
                async for event in events:
                    assert event.name == "committed"
                    break

    run(main)


def test_two_tasks_may_listen_to_one_subscription(state: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            events = warden.events(max_events=100)
            seen: list[tw.Event] = []

            async def listen() -> None:
                async for event in events:
                    seen.append(event)

            listeners = [asyncio.ensure_future(listen()) for _ in range(2)]
            for number in range(5):
                await warden.run(lambda: warden.space("s").put(str(number), b""))  # noqa: B023
                await eventually("it was heard", lambda: len(seen) == number + 1)  # noqa: B023
            await warden.close()
            for listener in listeners:
                with pytest.raises(tw.ClosedError):
                    await soon(listener)

    run(main)


def test_closing_a_subscription_ends_whoever_waits_for_it(state: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            events = warden.events()

            async def listen() -> None:
                async for _ in events:
                    pass

            listener = asyncio.ensure_future(listen())
            await asyncio.sleep(0)
            events.close()
            with pytest.raises(tw.ClosedError):
                await soon(listener)

    run(main)


def test_a_claim_that_is_cancelled_sends_nobody_else_home(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            pipeline = await warden.pipeline("p", settle=0.0)
            other = asyncio.ensure_future(pipeline.claim(timeout=None))
            await asyncio.sleep(0)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pipeline.claim(timeout=None), 0.1)
            await warden.scan("music")
            jobs = await soon(other)
            assert len(jobs) == 1
            for job in jobs:
                await job.release()

    run(main)


def test_following_acknowledges_what_has_been_worked_on(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            follow = warden.follow("f", batch=1)
            first = await soon(follow.__anext__())
            assert len(first) >= 5 and follow.position == 0
            coming = asyncio.ensure_future(follow.__anext__())
            await eventually("it was acknowledged", lambda: follow.position == first.upto)
            write(music / "new")
            await warden.scan()
            second = await soon(coming)
            assert told(second) == ["added new"]
            await warden.run(second.ack)
            write(music / "more")
            await warden.scan()
            third = await soon(follow.__anext__())
            assert told(third) == ["added more"]

            lazy = warden.follow("by hand", ack=False)
            one = await soon(lazy.__anext__())
            same = await soon(lazy.__anext__())
            assert list(one) == list(same) and lazy.position == 0
            assert await lazy.advance(warden.seq - 1) > 0

    run(main)


def test_a_reset_can_be_gone_on_from(state: Path, music: Path, clock: tw.Clock) -> None:
    async def main() -> None:
        async with aio.open(state, clock=clock, journal_keep_ms=1000) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            clock.advance(3600.0)
            write(music / "new")
            await warden.scan()
            await warden.maintain()
            follow = warden.follow("late")
            with pytest.raises(tw.ResetError) as error:
                await soon(follow.__anext__())
            assert error.value.restart_seq is not None
            await follow.advance(error.value.restart_seq)
            write(music / "newer")
            await warden.scan()
            async for delivery in follow:
                assert told(delivery) == ["added newer"]
                break

    run(main)


def test_watching_and_sync(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            assert not warden.watching
            with pytest.raises(tw.InvalidArgumentError):
                await warden.sync(timeout=1.0)
            await warden.watch(default=tw.RootWatch(preset="small"))
            assert warden.watching
            write(music / "new")
            assert await warden.sync(timeout=HANG) == warden.seq
            assert "music/new" in warden.snapshot()
            await warden.pause()
            await warden.resume()
            await warden.unwatch()

    run(main)


# Work


def test_jobs_are_worked_on(state: Path, music: Path, clock: tw.Clock) -> None:
    async def main() -> None:
        async with aio.open(state, clock=clock) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            pipeline = await warden.pipeline("p", retry_base=60.0, jitter=False)
            assert pipeline.name == "p" and pipeline.limiter is None and "p" in repr(pipeline)
            seen = []
            async for job in pipeline.jobs(batch=2, idle=0.1):
                seen.append(job.path)
                async with job:
                    if job.path == "music/a.mp3":
                        raise LookupError("no tags")
                    if job.path == "music/b.mp3":
                        raise tw.PutOff(5.0)
                    if job.path == "music/2024/notes.txt":
                        raise tw.Permanent("no music")
                    job.attrs["size"] = str(len(Path(job.fs_path).read_bytes()))
            assert len(seen) == 5
            status = await pipeline.status()
            assert (status.indexed, status.error, status.dead) == (2, 2, 1)
            assert (await pipeline.explain("music/2024/live/c.flac")).attrs == {"size": b"5"}
            assert await pipeline.retry() == 2 and len(await pipeline.list(state="new")) == 3
            assert (await pipeline.request("music")).promoted >= 1
            assert await pipeline.wait_idle(timeout=0.05) is False
            clock.advance(5.0)
            jobs = await pipeline.claim(10)
            assert await pipeline.complete_many(jobs) == [None] * len(jobs)
            assert [info.name for info in await warden.pipelines()] == ["p"]
            await warden.remove_pipeline("p")

    run(main)


def test_a_job_has_all_that_the_other_has(state: Path, music: Path, clock: tw.Clock) -> None:
    async def main() -> None:
        async with aio.open(state, clock=clock) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            pipeline = await warden.pipeline("p", glob="a.mp3", rate=(100, 1.0), refresh="at_completion")
            (job,) = await pipeline.claim()
            for name in (
                "path",
                "path_bytes",
                "fs_path",
                "fs_path_bytes",
                "done_path",
                "state",
                "priority",
                "attempt",
                "token",
                "expires_ns",
                "expires",
                "is_gone",
                "files",
                "ended",
            ):
                assert getattr(job, name) == getattr(job.job, name), name
            assert job.limiter is not None and len(job.attrs) == 0 and "a.mp3" in repr(job)
            job.answered()
            await job.renew()
            await job.release()
            assert job.ended
            clock.advance(1.0)
            (job,) = await pipeline.claim()
            job.throttled(1.0)
            await job.snooze(1.0)
            clock.advance(2.0)
            (job,) = await pipeline.claim()
            job.sends_nothing()
            await job.fail("no", retry_after=1.0)
            clock.advance(2.0)
            (job,) = await pipeline.claim()
            await job.complete(refresh_at=clock.now_ns() + 60 * SECOND_NS, reference=clock.now_ns())
            assert (await pipeline.explain("music/a.mp3")).refresh_at_ns == clock.now_ns() + 60 * SECOND_NS

    run(main)


def test_a_cancelled_claim_leaves_no_job_behind(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            pipeline = await warden.pipeline("p", settle=0.0)
            for number in range(20):
                waiting = asyncio.ensure_future(pipeline.claim(10, timeout=None))
                await asyncio.sleep(0.001 * number)
                # The scan hands out work at about the time at which nobody wants it any more.
                write(music / f"new{number}")
                scanning = asyncio.ensure_future(warden.scan())
                await asyncio.sleep(0.001 * number)
                waiting.cancel()
                try:
                    for job in await soon(waiting):
                        await job.release()
                except asyncio.CancelledError:
                    pass
                await scanning
            assert (await pipeline.status()).processing == 0

    run(main)


def test_a_task_that_is_cancelled_gives_its_job_back(state: Path, music: Path) -> None:
    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            pipeline = await warden.pipeline("p", settle=0.0)
            begun = asyncio.Event()

            async def work() -> None:
                async for job in pipeline.jobs(batch=3):
                    async with job:
                        begun.set()
                        await asyncio.sleep(3600)

            working = asyncio.ensure_future(work())
            await soon(begun.wait())
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(working)
            status = None
            while status is None or status.processing:
                # Those that were claimed along with it are given back when the loop is left for good.
                await asyncio.sleep(0.01)
                status = await pipeline.status()
            assert status.new == 5 and len(await pipeline.list(state="new")) == 5

    run(main)


def test_several_tasks_work_on_one_pipeline(state: Path, music: Path) -> None:
    for number in range(50):
        write(music / f"job{number}")

    async def main() -> None:
        async with aio.open(state) as warden:
            await warden.add_root("music", music)
            await warden.scan()
            pipeline = await warden.pipeline("p", settle=0.0)
            seen: list[str] = []

            async def work() -> None:
                async for job in pipeline.jobs(idle=0.3):
                    async with job:
                        seen.append(job.path)
                        await asyncio.sleep(0)

            await asyncio.gather(*[work() for _ in range(5)])
            assert len(seen) == len(set(seen)) == 55

    run(main)


def test_permits_are_waited_for_in_the_loop() -> None:
    async def main() -> None:
        limiter = tw.RateLimiter(tw.RateLimit(1, 0.2, pacing=False))
        permit = await soon(aio.acquire(limiter))
        assert permit is not None and await aio.acquire(limiter, timeout=0.0) is None
        waiting = asyncio.ensure_future(aio.acquire(limiter))
        await eventually("it waits", lambda: limiter.status().waiting == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(waiting)
        permit.done()
        # What was granted to nobody is given back.
        await eventually("nobody waits", lambda: limiter.status().waiting == 0)
        permit = await soon(aio.acquire(limiter))
        assert permit is not None
        permit.done()

    run(main)


def test_closing_ends_what_waits(state: Path, music: Path) -> None:
    async def main() -> None:
        warden = await aio.open(state)
        await warden.add_root("music", music)
        pipeline = await warden.pipeline("p", glob="nothing")
        waiting = [
            asyncio.ensure_future(one)
            for one in (
                warden.wait(10**6),
                warden.follow("f").__anext__(),
                pipeline.claim(timeout=None),
                pipeline.jobs().__anext__(),
            )
        ]
        await asyncio.sleep(0.1)
        await warden.close()
        for one in waiting:
            with pytest.raises(tw.ClosedError):
                await soon(one)

    run(main)


def test_ctrl_c_ends_a_program(state: Path, music: Path) -> None:
    from support import python

    ended = python(
        """
        import asyncio, os, signal, sys, threading
        from treewarden import aio

        async def main():
            async with aio.open(sys.argv[1]) as warden:
                await warden.add_root("music", sys.argv[2])
                await warden.scan()
                pipeline = await warden.pipeline("p", settle=0.0)
                try:
                    async for job in pipeline.jobs():
                        async with job:
                            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
                            await asyncio.sleep(60)
                finally:
                    print((await pipeline.status()).processing)

        asyncio.run(main())
        """,
        state,
        music,
    )
    assert ended.stdout.split() == ["0"] and "KeyboardInterrupt" in ended.stderr, ended
