"""After a fork the child is told, nothing hangs there, and the parent goes on."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

import treewarden as tw
from support import succeeds


def test_every_class_answers_forked_in_the_child(state: Path, music: Path) -> None:
    succeeds(
        """
        import os, sys, traceback, warnings
        import treewarden as tw
        warnings.simplefilter("ignore", DeprecationWarning)

        warden = tw.open(sys.argv[1])
        warden.add_root("music", sys.argv[2])
        warden.scan()
        warden.watch()
        warden.sync()
        snapshot = warden.snapshot()
        cursor, follow, events = warden.cursor("c"), warden.follow("f"), warden.events()
        space, batch, changes = warden.space("s"), warden.batch(), warden.changes()
        delivery = cursor.read()
        batch.put("s", "k", b"v")
        pipeline = warden.pipeline("p", settle=0.0)
        (job,) = pipeline.claim(1, timeout=60.0)
        limiter = tw.RateLimiter((1, 3600.0))
        permit = limiter.acquire()
        jobs = pipeline.jobs(batch=2)
        workers = warden.pipeline("idle", glob="nothing").work(print, threads=2)

        calls = {
            "close": lambda: warden.close(),
            "seq": lambda: warden.seq,
            "token": lambda: warden.token(),
            "roots": lambda: warden.roots(),
            "add_root": lambda: warden.add_root("x", "/"),
            "scan": lambda: warden.scan("music"),
            "scan all": lambda: warden.scan(),
            "snapshot": lambda: warden.snapshot(),
            "changes": lambda: warden.changes(),
            "next change": lambda: next(changes),
            "wait": lambda: warden.wait(10 ** 6),
            "attrs": lambda: warden.attrs("music/a.mp3"),
            "set_attrs": lambda: warden.set_attrs("music/a.mp3", {"a": b"b"}),
            "status": lambda: warden.status(),
            "history": lambda: warden.history(),
            "explain": lambda: warden.explain("music"),
            "verify": lambda: warden.verify(),
            "check": lambda: warden.check(),
            "compact": lambda: warden.compact(),
            "maintain": lambda: warden.maintain(),
            "watch": lambda: warden.watch(),
            "unwatch": lambda: warden.unwatch(),
            "sync": lambda: warden.sync(),
            "pause": lambda: warden.pause(),
            "resume": lambda: warden.resume(),
            "pipelines": lambda: warden.pipelines(),
            "pipeline": lambda: warden.pipeline("p"),
            "open space": lambda: warden.space("s"),
            "open batch": lambda: warden.batch(),
            "open cursor": lambda: warden.cursor("c").position,
            "open follow": lambda: warden.follow("f").next(timeout=0.0),
            "open events": lambda: warden.events().next(timeout=0.0),
            "cursor": lambda: cursor.position,
            "cursor read": lambda: cursor.read(),
            "delivery": lambda: delivery.ack(),
            "follow": lambda: next(follow),
            "follow next": lambda: follow.next(timeout=1.0),
            "events": lambda: next(events),
            "events next": lambda: events.next(timeout=1.0),
            "space": lambda: space["k"],
            "space put": lambda: space.put("k", b"v"),
            "batch put": lambda: batch.put("s", "l", b"v"),
            "batch": lambda: batch.commit(),
            "claim": lambda: pipeline.claim(1, timeout=None),
            "jobs": lambda: next(iter(pipeline.jobs())),
            "pipeline status": lambda: pipeline.status(),
            "pipeline list": lambda: pipeline.list(),
            "wait_idle": lambda: pipeline.wait_idle(),
            "complete_many": lambda: pipeline.complete_many([job]),
            "renew": lambda: job.renew(),
            "complete": lambda: job.complete(),
            "fail": lambda: job.fail("x"),
            "release": lambda: job.release(),
            "next job": lambda: next(jobs),
            "close jobs": lambda: jobs.close(),
            "limiter": lambda: limiter.acquire(),
            "limiter status": lambda: limiter.status(),
            "permit": lambda: permit.done(),
            "close follow": lambda: follow.close(),
            "close events": lambda: events.close(),
        }

        child = os.fork()
        if child == 0:
            wrong = []
            for name, call in calls.items():
                try:
                    answer = call()
                except tw.ForkedError as error:
                    if error.code != 24 or not error.hint:
                        wrong.append((name, error))
                except BaseException as error:
                    wrong.append((name, error))
                else:
                    wrong.append((name, answer))
            if len(snapshot) != 5 or snapshot["music/a.mp3"].size != 3 or not list(snapshot.files("music/2024")):
                wrong.append(("snapshot", snapshot))
            if len(delivery) < 5 or job.path == "" or "parent" not in repr(warden):
                wrong.append(("values", repr(warden)))
            # The end of everything, too, must not hang, and must leave the file to the parent.
            del calls, follow, events, space, batch, changes, delivery, cursor, job, jobs, pipeline, warden
            del permit, limiter
            import gc
            gc.collect()
            for what in wrong:
                print(*what, file=sys.stderr)
            sys.stderr.flush()
            os._exit(1 if wrong else 0)

        _, status = os.waitpid(child, 0)
        assert status == 0, status

        # The parent goes on as if nothing had been.
        open(os.path.join(sys.argv[2], "after"), "w").close()
        warden.sync(timeout=30)
        assert "music/after" in warden.snapshot()
        assert batch.commit() == warden.seq and space["k"] == b"v"
        job.complete()
        delivery.ack()
        workers.stop()
        warden.close()
        """,
        state,
        music,
    )
    with tw.open(state) as warden:
        assert "music/after" in warden.snapshot()


def test_the_child_may_open_another_file(state: Path, music: Path, tmp_path: Path) -> None:
    succeeds(
        """
        import os, sys, warnings
        import treewarden as tw
        warnings.simplefilter("ignore", DeprecationWarning)
        with tw.open(sys.argv[1]) as warden:
            child = os.fork()
            if child == 0:
                with tw.open(sys.argv[3]) as own:
                    own.add_root("music", sys.argv[2])
                    assert own.scan("music").added == 5
                try:
                    tw.open(sys.argv[1])
                except tw.BusyError:
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            assert warden.space("s").put("k", b"v") == warden.seq
        """,
        state,
        music,
        tmp_path / "child.tw",
    )


def test_a_child_that_leaves_by_exception_does_not_close_the_file_of_the_parent(state: Path) -> None:
    succeeds(
        """
        import os, sys, warnings
        import treewarden as tw
        warnings.simplefilter("ignore", DeprecationWarning)
        warden = tw.open(sys.argv[1])
        child = 0
        try:
            with warden:
                child = os.fork()
                if child == 0:
                    raise SystemExit(0)
                assert os.waitpid(child, 0)[1] == 0
                warden.space("s")["k"] = b"v"
        finally:
            if child == 0:
                os._exit(0)
        """,
        state,
    )
    with tw.open(state) as warden:
        assert warden.space("s")["k"] == b"v"


def _own(paths: tuple[str, str]) -> int:
    state, music = paths
    with tw.open(state) as warden:
        warden.add_root("music", music)
        return warden.scan("music").added


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_a_pool_have_wardens_of_their_own(
    method: str, warden: tw.Warden, music: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        jobs = [(str(tmp_path / f"child{number}.tw"), str(music)) for number in range(4)]
        assert pool.map(_own, jobs) == [5] * 4
        entries = list(warden.snapshot())
        # Values go to other processes and come back.
        assert pool.map(_same, entries) == entries
        with pytest.raises(tw.NotFoundError) as error:
            pool.map(_missing, [str(tmp_path / "nothing")])
        assert error.value.path == str(tmp_path / "nothing")
    warden.space("s")["k"] = b"v"


def _same(entry: tw.Entry) -> tw.Entry:
    return entry


def _missing(path: str) -> None:
    tw.open(path, create=False)


def test_a_child_process_that_execs_is_nothing_special(warden: tw.Warden, state: Path) -> None:
    assert os.system("true") == 0
    warden.space("s")["k"] = b"v"
    warden.close()
    succeeds("import sys, treewarden as tw\nassert tw.open(sys.argv[1]).space('s')['k'] == b'v'", state)
