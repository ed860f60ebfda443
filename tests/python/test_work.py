"""Pipelines: what is to be done is handed out once at a time; jobs, retries, limits, workers."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import treewarden as tw
from support import SECOND_NS, interrupts, names, succeeds, tomorrow, wait_until, write

ALL = ["2024/live/c.flac", "2024/live/d.flac", "2024/notes.txt", "a.mp3", "b.mp3"]


def take(pipeline: tw.Pipeline, n: int = 100) -> list[tw.Job]:
    return list(pipeline.claim(n))


def one(pipeline: tw.Pipeline) -> tw.Job:
    (job,) = pipeline.claim(1)
    return job


def written() -> int:
    """Bytes that this process has written, where the system counts them; else 0."""
    told = Path("/proc/self/io")
    counts = dict(line.split(": ") for line in told.read_text().splitlines()) if told.exists() else {}
    return int(counts.get("wchar", 0))


def state_of(pipeline: tw.Pipeline, address: str) -> str:
    return pipeline.explain(address).state


# Pipelines


def test_every_file_is_handed_out_once(timed: tw.Warden, music: Path) -> None:
    pipeline = timed.pipeline("p")
    assert pipeline.name == "p" and pipeline.limiter is None
    jobs = take(pipeline)
    assert sorted(names(jobs)) == ALL and take(pipeline) == []
    job = next(job for job in jobs if job.path == "music/a.mp3")
    assert (job.path_bytes, job.state, job.priority, job.attempt) == (b"music/a.mp3", "new", "high", 1)
    assert Path(job.fs_path) == (music / "a.mp3").resolve() and os.fsdecode(job.fs_path_bytes) == job.fs_path
    assert job.files == ["music/a.mp3"] and job.done_path is None and not job.is_gone and not job.ended
    assert job.expires_ns > 0 and job.expires.tzinfo == timezone.utc and job.limiter is None
    assert len({job.token for job in jobs}) == 5
    assert pipeline.complete_many(jobs) == [None] * 5
    assert all(job.ended for job in jobs)
    status = pipeline.status()
    assert (status.indexed, status.new, status.processing) == (5, 0, 0)
    assert pipeline.wait_idle(timeout=0.0) is True


def test_pipelines_are_kept_listed_and_removed(timed: tw.Warden, state: Path, clock: tw.Clock) -> None:
    timed.pipeline("default")
    timed.pipeline(
        "full",
        root=["music", "films"],
        glob="**/*.mp3",
        group="parent",
        version=3,
        priority="low",
        concurrency=2,
        settle=0.5,
        lease=60.0,
        retry_base=1.0,
        retry_cap=10.0,
        max_attempts=7,
        jitter=False,
        refresh=3600.0,
        refresh_schedule="0 3 * * *",
        refresh_batch=10,
        refresh_gap=1.0,
        rate=(35, 10.0),
        max_crashes=3,
        paths_matter=True,
    )
    found = {info.name: info.options for info in timed.pipelines()}
    assert sorted(found) == ["default", "full"]
    assert found["full"]["version"] == 3 and found["full"]["group"] == "parent"
    timed.close()
    with tw.open(state, clock=clock) as again:
        assert {info.name: info.options for info in again.pipelines()} == found
        # What is told can be given.
        options = dict(found["full"])
        again.pipeline("copy", **options)
        copied = next(info for info in again.pipelines() if info.name == "copy")
        assert copied.options == found["full"]
        again.pipeline("full")
        again.remove_pipeline("full")
        with pytest.raises(tw.NotFoundError):
            again.remove_pipeline("full")


def test_roots_and_globs_decide_what_is_worked_on(timed: tw.Warden) -> None:
    assert sorted(names(take(timed.pipeline("flac", root="music", glob="**/*.flac")))) == ALL[:2]
    assert sorted(names(take(timed.pipeline("two", glob=["*.mp3", "**/*.txt"])))) == ALL[2:]
    assert take(timed.pipeline("none", root="elsewhere")) == []


def test_files_are_grouped(timed: tw.Warden, music: Path) -> None:
    write(music / "a.xmp")
    timed.scan()
    assert sorted(names(take(timed.pipeline("parent", group="parent")))) == ["", "2024", "2024/live"]
    stems = take(timed.pipeline("stem", group="stem"))
    a = next(job for job in stems if job.path == "music/a")
    assert a.files == ["music/a.mp3", "music/a.xmp"]
    assert "2024" in names(take(timed.pipeline("depth", group="depth:1")))


def test_files_are_grouped_by_a_function(timed: tw.Warden, state: Path, clock: tw.Clock) -> None:
    def by_extension(address: bytes) -> bytes | None:
        extension = address.rpartition(b".")[2]
        return None if extension == b"txt" else b"music/" + extension

    pipeline = timed.pipeline("p", group=by_extension)
    jobs = take(pipeline)
    assert sorted(names(jobs)) == ["flac", "mp3"]
    assert {job.path: len(job.files) for job in jobs} == {"music/flac": 2, "music/mp3": 2}
    (info,) = timed.pipelines()
    assert "by_extension" in str(info.options["group"]) or "by_extension" in str(info.options["group_name"])
    timed.close()
    with tw.open(state, clock=clock) as again:
        with pytest.raises(tw.InvalidArgumentError, match="by_extension"):
            again.pipeline("p")
        assert len(again.pipeline("p", group=by_extension).list()) == 2


def test_a_group_function_that_fails_leaves_the_file_out(timed: tw.Warden, caplog: pytest.LogCaptureFixture) -> None:
    def broken(address: bytes) -> bytes | None:
        if address.endswith(b".mp3"):
            raise LookupError("no key for this")
        return address

    pipeline = timed.pipeline("p", group=broken, group_name="mine")
    assert sorted(names(take(pipeline))) == ALL[:3]
    assert "no key for this" in caplog.text and "mine" in caplog.text

    def asks(address: bytes) -> bytes | None:
        # Each would wait for ever for a lock that is held while this runs.
        for ask in (pipeline.status, timed.status, timed.pipelines, timed.close):
            with pytest.raises(tw.InvalidArgumentError):
                ask()
        return address

    assert len(take(timed.pipeline("q", group=asks))) == 5
    assert timed.status().pipelines and not timed.closed
    with pytest.raises(tw.InvalidArgumentError):
        timed.pipeline("r", group=lambda address: address)
    with pytest.raises(TypeError):
        timed.pipeline("r", group=3)  # type: ignore[arg-type]


def test_options_that_make_no_sense_are_refused(timed: tw.Warden) -> None:
    bad: list[dict[str, object]] = [
        {"version": 2, "lease": 0.0},
        {"group": "by magic"},
        {"group": "depth:many"},
        {"priority": "urgent"},
        {"refresh": "often"},
        {"refresh": 0.0},
        {"rate": (0, 1.0)},
        {"glob": "/absolute"},
        {"max_attempts": 0},
        {"settle": -1.0},
        {"refresh_schedule": "never"},
    ]
    for options in bad:
        with pytest.raises(tw.InvalidArgumentError):
            timed.pipeline("p", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        timed.pipeline("p", colour="red")  # type: ignore[call-arg]
    assert timed.pipelines() == []


def test_a_new_version_makes_everything_changed(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p", version=1)
    pipeline.complete_many(take(pipeline))
    again = timed.pipeline("p", version=2)
    assert {job.state for job in take(again)} == {"changed"}


# The life of a job


def test_what_changes_or_goes_is_handed_out_again(timed: tw.Warden, music: Path) -> None:
    pipeline = timed.pipeline("p")
    for job in take(pipeline):
        job.attrs["n"] = b"1"
        job.complete()
    (music / "a.mp3").write_bytes(b"something else")
    (music / "b.mp3").unlink()
    timed.scan()
    jobs = {job.path: job for job in take(pipeline)}
    assert {path: (job.state, job.is_gone) for path, job in jobs.items()} == {
        "music/a.mp3": ("changed", False),
        "music/b.mp3": ("missing", True),
    }
    assert dict(jobs["music/b.mp3"].attrs) == {"n": b"1"} and jobs["music/b.mp3"].files == []
    for job in jobs.values():
        job.complete()
    assert state_of(pipeline, "music/a.mp3") == "indexed"
    with pytest.raises(tw.NotFoundError):
        pipeline.explain("music/b.mp3")


def test_attributes_of_a_job_are_a_dictionary(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3")
    job = one(pipeline)
    attrs = job.attrs
    assert len(attrs) == 0 and "etag" not in attrs
    attrs["etag"] = "text becomes UTF-8: ü"
    attrs["raw"] = memoryview(b"\x00")
    attrs.update({"more": b"1"}, less=b"2")
    assert attrs["etag"] == "text becomes UTF-8: ü".encode() and attrs.get("nothing") is None
    assert sorted(attrs) == sorted(attrs.keys()) == ["etag", "less", "more", "raw"]
    assert attrs.pop("less") == b"2" and attrs.setdefault("more", b"9") == b"1"
    del attrs["more"]
    with pytest.raises(KeyError):
        attrs["more"]
    assert dict(attrs) == {"etag": "text becomes UTF-8: ü".encode(), "raw": b"\x00"} == attrs
    assert job.attrs["raw"] == b"\x00", "the same ones"
    with pytest.raises(TypeError):
        attrs["number"] = 3  # type: ignore[assignment]
    job.complete()
    assert pipeline.explain("music/a.mp3").attrs == {"etag": "text becomes UTF-8: ü".encode(), "raw": b"\x00"}


def test_too_large_attributes_leave_the_job_in_hand(timed: tw.Warden) -> None:
    job = one(timed.pipeline("p"))
    job.attrs["large"] = bytes(65 * 1024)
    with pytest.raises(tw.TooLargeError):
        job.complete()
    assert not job.ended
    del job.attrs["large"]
    job.complete()
    assert job.ended


def test_success_completes(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3")
    with one(pipeline) as job:
        job.attrs["x"] = b"y"
    assert job.ended and state_of(pipeline, "music/a.mp3") == "indexed"
    explained = pipeline.explain("music/a.mp3")
    assert explained.attrs == {"x": b"y"} and explained.done is not None
    assert explained.content_done == explained.content_now is not None


def test_an_exception_fails_the_job_and_goes_no_further(
    timed: tw.Warden, clock: tw.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3", retry_base=60.0, jitter=False, max_attempts=2)
    with caplog.at_level(logging.WARNING, logger="treewarden"):
        with one(pipeline):
            raise LookupError("not a picture")
    assert "not a picture" in caplog.text and "Traceback" in caplog.text
    explained = pipeline.explain("music/a.mp3")
    assert (explained.state, explained.attempts, explained.dead) == ("error", 1, False)
    assert explained.last_error is not None and "not a picture" in explained.last_error
    assert explained.due_ns == clock.now_ns() + 60 * SECOND_NS
    assert take(pipeline) == []
    clock.advance(60.0)
    job = one(pipeline)
    assert (job.state, job.attempt) == ("error", 2)
    with job:
        raise LookupError("again")
    assert pipeline.explain("music/a.mp3").dead
    clock.advance(10**6)
    assert take(pipeline) == []
    assert pipeline.retry("music") == 1 and one(pipeline).attempt == 1


def test_a_permanent_failure_is_the_last(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3")
    with one(pipeline):
        raise tw.Permanent("never")
    explained = pipeline.explain("music/a.mp3")
    assert explained.dead and explained.last_error is not None and "never" in explained.last_error
    assert [item.dead for item in pipeline.list(state="error")] == [True]


def test_what_is_put_off_is_no_failure(timed: tw.Warden, clock: tw.Clock, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3")
    with one(pipeline):
        raise tw.PutOff(30.0)
    assert "Traceback" not in caplog.text
    assert pipeline.explain("music/a.mp3").attempts == 0 and take(pipeline) == []
    clock.advance(30.0)
    assert one(pipeline).attempt == 1


def test_what_is_no_exception_gives_the_job_back(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3")
    with pytest.raises(KeyboardInterrupt):
        with one(pipeline):
            raise KeyboardInterrupt
    assert one(pipeline).attempt == 1


def test_a_job_that_ended_inside_its_block_stays_ended(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p")
    jobs = {job.path: job for job in take(pipeline)}
    with jobs["music/a.mp3"] as job:
        job.fail("by hand", permanent=True)
    with pytest.raises(LookupError):
        with jobs["music/b.mp3"] as job:
            job.snooze(1.0)
            raise LookupError
    assert pipeline.explain("music/a.mp3").dead and pipeline.explain("music/b.mp3").attempts == 0
    for end in (job.complete, job.release, job.renew, job.answered):
        with pytest.raises(tw.InvalidArgumentError):
            end()
    with pytest.raises(tw.InvalidArgumentError):
        job.attrs["late"] = b""


def test_ends_by_hand(timed: tw.Warden, clock: tw.Clock) -> None:
    pipeline = timed.pipeline("p", refresh="at_completion")
    jobs = {job.path.rpartition("/")[2]: job for job in take(pipeline)}
    jobs["a.mp3"].fail(ValueError("an exception will do"), retry_after=5.0)
    jobs["b.mp3"].snooze(7.0)
    jobs["c.flac"].release()
    at = datetime.fromtimestamp(clock.now_ns() // SECOND_NS + 100, timezone.utc)
    jobs["d.flac"].complete(refresh_at=at)
    with pytest.raises(tw.InvalidArgumentError):
        jobs["notes.txt"].complete(refresh_at=at - timedelta(days=2))
    jobs["notes.txt"].complete(refresh_at=clock.now_ns() + 1000 * SECOND_NS, reference=at)
    assert "an exception will do" in str(pipeline.explain("music/a.mp3").last_error)
    assert names([one(pipeline)]) == ["2024/live/c.flac"]
    clock.advance(5.0)
    assert names(take(pipeline)) == ["a.mp3"]
    clock.advance(2.0)
    assert names(take(pipeline)) == ["b.mp3"]
    assert pipeline.explain("music/2024/live/d.flac").refresh_at == at
    clock.advance(200.0)
    assert "2024/live/d.flac" in names(take(pipeline))


def test_refreshes_by_age(timed: tw.Warden, clock: tw.Clock) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3", refresh=[(3600.0, 60.0), (None, 7200.0)])
    one(pipeline).complete(reference=clock.now_ns())
    clock.advance(60.0)
    stale = one(pipeline)
    assert stale.state == "stale"
    stale.complete(reference=clock.now_ns() - 7200 * SECOND_NS)
    clock.advance(7199.0)
    assert take(pipeline) == []
    clock.advance(1.0)
    assert one(pipeline).state == "stale"
    assert len(take(timed.pipeline("tiers", refresh="tiers", glob="b.mp3"))) == 1


def test_a_lost_lease_records_nothing(timed: tw.Warden, clock: tw.Clock, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = timed.pipeline("p", glob="a.mp3", lease=10.0)
    late = one(pipeline)
    clock.advance(6.0)
    late.renew()
    assert late.expires_ns == clock.now_ns() + 10 * SECOND_NS
    clock.advance(11.0)
    now = one(pipeline)
    assert now.token != late.token
    with pytest.raises(tw.LeaseLostError):
        late.renew()
    with caplog.at_level(logging.WARNING, logger="treewarden"):
        with late:
            pass
    assert caplog.records, "it is said, and the loop goes on"
    (answer,) = pipeline.complete_many([now])
    assert answer is None
    assert pipeline.complete_many([]) == []
    assert state_of(pipeline, "music/a.mp3") == "indexed"


def test_many_are_completed_in_one_commit(timed: tw.Warden, clock: tw.Clock) -> None:
    pipeline = timed.pipeline("p", lease=10.0)
    first = take(pipeline, 2)
    clock.advance(11.0)
    jobs = take(pipeline)
    assert len(jobs) == 5
    before = written()
    answers = pipeline.complete_many([*first, *jobs])
    together = written() - before
    assert [isinstance(answer, tw.LeaseLostError) for answer in answers] == [True] * 2 + [False] * 5
    assert pipeline.status().indexed == 5
    alone = one(timed.pipeline("q"))
    before = written()
    alone.complete()
    assert together < 2 * max(written() - before, 1), "five commits write five times as much as one"


def test_a_job_of_another_pipeline_is_not_completed(timed: tw.Warden, music: Path, tmp_path: Path) -> None:
    with tw.open(tmp_path / "other.tw", clock=tomorrow()) as other:
        other.add_root("music", music)
        other.scan()
        ours, theirs = timed.pipeline("p"), other.pipeline("p")
        foreign = [one(theirs), one(timed.pipeline("q"))]
        jobs = take(ours)
        for job in foreign:
            with pytest.raises(tw.InvalidArgumentError, match="another pipeline"):
                ours.complete_many([*jobs, job])
        assert not any(job.ended for job in [*jobs, *foreign]), "all jobs stay in hand"
        assert timed.pipeline("p").complete_many(jobs) == [None] * 5, "any handle of the pipeline will do"
        assert theirs.complete_many(foreign[:1]) == [None]
        assert (ours.status().indexed, theirs.status().indexed) == (5, 1)


def test_jobs_of_several_pipelines_by_class(timed: tw.Warden) -> None:
    slow, fast = timed.pipeline("slow", priority="low"), timed.pipeline("fast", priority="high")
    jobs = tw.Pipeline.claim_from([slow, fast], 6)
    assert [(job.priority, job.pipeline) for job in jobs] == [("high", "fast")] * 5 + [("low", "slow")]


def test_what_somebody_asks_for_comes_first(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p")
    report = pipeline.request("music/b.mp3")
    assert (report.added, report.promoted) in {(0, 1), (1, 0)}
    job = one(pipeline)
    assert (job.path, job.priority) == ("music/b.mp3", "critical")
    assert pipeline.request("music/b.mp3").will_rerun == 1
    job.complete()
    assert one(pipeline).path == "music/b.mp3"
    assert pipeline.request(priority="low").merged >= 1
    with pytest.raises(tw.NotFoundError):
        pipeline.request("music/nothing")
    with pytest.raises(tw.InvalidArgumentError):
        pipeline.request("music", priority="urgent")  # type: ignore[arg-type]


def test_items_are_listed(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p")
    one(pipeline).complete()
    items = pipeline.list()
    assert sorted(item.path for item in items) == [f"music/{name}" for name in ALL]
    assert len(pipeline.list("music/2024")) == 3 and len(pipeline.list(limit=2)) == 2
    assert len(pipeline.list(state="indexed")) == 1 and items[0].path_bytes == os.fsencode(items[0].path)
    with pytest.raises(tw.InvalidArgumentError):
        pipeline.list(state="dead")  # type: ignore[arg-type]


# Waiting


def test_claiming_waits_for_work(warden: tw.Warden, music: Path) -> None:
    pipeline = warden.pipeline("p", settle=0.0, glob="new*")
    begun = time.monotonic()
    assert list(pipeline.claim(1, timeout=0.2)) == [] and time.monotonic() - begun >= 0.2

    def make() -> None:
        write(music / "new")
        warden.scan()

    timer = threading.Timer(0.1, make)
    timer.start()
    (job,) = pipeline.claim(1, timeout=60.0)
    timer.join()
    assert job.path == "music/new"
    assert pipeline.wait_idle(timeout=0.05) is False
    job.complete()
    assert pipeline.wait_idle(timeout=60.0) is True


def test_the_loop_over_jobs_ends_when_idle_or_interrupted(timed: tw.Warden) -> None:
    pipeline = timed.pipeline("p")
    done = []
    for job in pipeline.jobs(batch=2, idle=0.2):
        with job:
            done.append(job.path)
    assert len(done) == 5
    with pipeline.jobs(batch=5) as jobs:
        pipeline.request()
        next(jobs).complete()
    assert pipeline.status().processing == 0, "what was not reached is given back"
    pipeline.complete_many(take(pipeline))
    timer = threading.Timer(0.2, pipeline.interrupt)
    timer.start()
    assert list(pipeline.claim(1, timeout=60.0)) == []
    timer.join()


def test_ctrl_c_ends_waits_for_work(state: Path, music: Path) -> None:
    interrupts(
        """
        with tw.open(sys.argv[1]) as warden:
            warden.add_root("music", sys.argv[2])
            warden.scan()
            nothing = warden.pipeline("nothing", glob="nothing")
            interrupted(lambda: nothing.claim(1, timeout=None))
            interrupted(lambda: nothing.claim(1, timeout=60.0))
            interrupted(lambda: list(nothing.jobs()))
            busy = warden.pipeline("busy")
            interrupted(lambda: busy.wait_idle())
            limiter = tw.RateLimiter((1, 3600.0))
            permit = limiter.acquire()
            interrupted(lambda: limiter.acquire())
            interrupted(lambda: limiter.acquire(timeout=60.0))

            def work():
                for job in warden.pipeline("loop", settle=0.0).jobs():
                    with job:
                        time.sleep(30)
            interrupted(work)
            assert warden.pipeline("loop").status().processing == 0, "it was given back"

            running = threading.Event()
            def run():
                with warden.pipeline("workers", settle=0.0).work(lambda job: running.set(), threads=2) as workers:
                    workers.join()
            interrupted(run)
            assert running.is_set()
        """,
        state,
        music,
    )


# Limits


def test_a_limiter_grants_so_many_and_no_more(clock: tw.Clock) -> None:
    limiter = tw.RateLimiter(tw.RateLimit(3, 10.0, pacing=False, floor=0.5), clock=clock)
    permits = [limiter.try_acquire() for _ in range(4)]
    assert [permit is not None for permit in permits] == [True, True, True, False]
    status = limiter.status()
    assert (status.limit, status.effective_limit, status.in_window, status.granted) == (3, 3, 3, 3)
    assert limiter.acquire(timeout=0.0) is None
    for permit in permits[:3]:
        assert permit is not None and permit.cost == 1
        permit.done()
    clock.advance(10.1)
    with limiter.acquire(cost=2, timeout=0.0) as permit:  # type: ignore[union-attr]
        assert permit.cost == 2
    unused = limiter.try_acquire()
    assert unused is not None
    unused.unused()
    unused.done()
    assert limiter.try_acquire() is not None
    with pytest.raises(tw.InvalidArgumentError):
        limiter.acquire(cost=4)


def test_throttling_pauses_and_cuts_the_limit(clock: tw.Clock) -> None:
    limiter = tw.RateLimiter((10, 1.0), clock=clock)
    permit = limiter.acquire()
    assert permit is not None
    permit.throttled(retry_after=60.0)
    limiter.succeeded()
    status = limiter.status()
    assert status.effective_limit == 8 and status.throttled == 1 and status.succeeded == 1
    assert status.paused_until_ns == clock.now_ns() + 60 * SECOND_NS and status.paused_until is not None
    assert limiter.try_acquire() is None
    clock.advance(61.0)
    assert limiter.try_acquire() is not None


def test_a_limiter_that_is_closed_or_interrupted_lets_everybody_go() -> None:
    limiter = tw.RateLimiter((1, 3600.0))
    assert limiter.acquire() is not None
    results: list[object] = []

    def wait() -> None:
        try:
            results.append(limiter.acquire())
        except tw.ClosedError as error:
            results.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until("it waits", lambda: limiter.status().waiting == 1)
    limiter.interrupt()
    thread.join(60)
    assert results == [None]
    thread = threading.Thread(target=wait)
    thread.start()
    wait_until("it waits", lambda: limiter.status().waiting == 1)
    limiter.close()
    thread.join(60)
    assert isinstance(results[1], tw.ClosedError)
    with pytest.raises(tw.ClosedError):
        limiter.try_acquire()


def test_a_rate_is_a_value() -> None:
    rate = tw.RateLimit(35, 10.0, pacing=False, floor=0.5)
    assert (rate.limit, rate.window, rate.pacing, rate.floor) == (35, 10.0, False, 0.5)
    assert rate == tw.RateLimit(35, 10.0, pacing=False, floor=0.5) != tw.RateLimit(35, 10.0)
    assert pickle.loads(pickle.dumps(rate)) == rate and hash(pickle.loads(pickle.dumps(rate))) == hash(rate)
    assert (
        repr(tw.RateLimit(35, 10.0)) == "RateLimit(35, 10.0)" and eval(repr(rate), {"RateLimit": tw.RateLimit}) == rate
    )


def test_rates_that_make_no_sense_are_refused() -> None:
    for limit, window, floor in [(0, 1.0, 0.2), (1, 0.0, 0.2), (1, 1e9, 0.2), (1, 1.0, 2.0)]:
        with pytest.raises(tw.InvalidArgumentError):
            tw.RateLimiter(tw.RateLimit(limit, window, floor=floor))
    with pytest.raises(TypeError):
        tw.RateLimiter("fast")  # type: ignore[arg-type]


def test_a_pipeline_keeps_to_its_rate(timed: tw.Warden, clock: tw.Clock) -> None:
    pipeline = timed.pipeline("p", rate=tw.RateLimit(2, 10.0, pacing=False))
    jobs = take(pipeline)
    assert len(jobs) == 2 and pipeline.limiter is not None and jobs[0].limiter is not None
    jobs[0].answered()
    jobs[1].throttled(retry_after=20.0)
    jobs[1].snooze(20.0)
    jobs[0].complete()
    clock.advance(10.5)
    assert take(pipeline) == []
    clock.advance(10.5)
    (job,) = take(pipeline, 1)
    job.sends_nothing()
    job.complete()
    assert pipeline.limiter.status().throttled == 1


def test_retry_after_is_read() -> None:
    assert tw.parse_retry_after("120") == 120.0
    assert tw.parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111717.0) == 60.0
    assert tw.parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0
    assert tw.parse_retry_after("soon") is None
    assert tw.parse_retry_after("9" * 99) == 7 * 86400.0


# Workers


@pytest.fixture
def quick(warden: tw.Warden) -> tw.Pipeline:
    """A pipeline on the real clock, all of whose files are due."""
    return warden.pipeline("quick", settle=0.0, retry_base=3600.0)


def test_workers_do_everything_and_count(quick: tw.Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    seen: set[str] = set()
    lock = threading.Lock()

    def work(job: tw.Job) -> None:
        with lock:
            seen.add(job.path)
        if job.path == "music/a.mp3":
            raise LookupError("no tags")
        if job.path == "music/b.mp3":
            raise tw.PutOff(3600.0)
        if job.path == "music/2024/notes.txt":
            raise tw.Permanent("no music")
        job.attrs["size"] = str(os.path.getsize(job.fs_path))

    with quick.work(work, threads=3) as workers:
        assert workers.pipeline is quick and workers.running and "quick" in repr(workers)
        wait_until("everything is done", lambda: workers.done + workers.failed == 5)
    assert (workers.done, workers.failed, workers.running, len(seen)) == (2, 3, False, 5)
    assert quick.explain("music/2024/live/c.flac").attrs == {"size": b"5"}
    assert quick.explain("music/a.mp3").last_error is not None and quick.explain("music/2024/notes.txt").dead
    assert quick.explain("music/b.mp3").attempts == 0
    assert "no tags" in caplog.text and "put off" not in caplog.text


def test_a_worker_may_end_its_job_itself(quick: tw.Pipeline) -> None:
    with quick.work(lambda job: job.fail("by hand", permanent=True), threads=1) as workers:
        wait_until("everything has ended", lambda: workers.done + workers.failed == 5)
    assert quick.status().dead == 5


def test_attributes_that_cannot_be_stored_fail_the_job(quick: tw.Pipeline) -> None:
    def work(job: tw.Job) -> None:
        job.attrs["large"] = bytes(65 * 1024)

    with quick.work(work, threads=2) as workers:
        wait_until("everything has failed", lambda: workers.failed == 5)
    assert quick.status().error == 5


def test_stopping_drains(quick: tw.Pipeline) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(job: tw.Job) -> None:
        begun.set()
        assert go_on.wait(60)

    workers = quick.work(work, threads=1)
    assert begun.wait(60)
    assert workers.stop(timeout=0.2) is False and workers.running
    go_on.set()
    assert workers.stop() is True and not workers.running
    assert workers.done == 1 and quick.status().processing == 0
    assert workers.stop() is True


def test_leases_are_renewed_for_as_long_as_it_takes(warden: tw.Warden) -> None:
    pipeline = warden.pipeline("p", settle=0.0, lease=1.0, glob="a.mp3")
    expiries: set[int] = set()

    def work(job: tw.Job) -> None:
        # Two leases long.
        deadline = time.monotonic() + 2.2
        while time.monotonic() < deadline:
            expiries.add(job.expires_ns)
            time.sleep(0.02)

    with pipeline.work(work, threads=2) as workers:
        wait_until("it is done", lambda: workers.done == 1)
        assert workers.failed == 0
    assert len(expiries) > 2 and pipeline.explain("music/a.mp3").state == "indexed"


def test_workers_end_with_their_warden(quick: tw.Pipeline, warden: tw.Warden) -> None:
    workers = quick.work(lambda job: None, threads=2)
    wait_until("everything is done", lambda: workers.done == 5)
    warden.close()
    assert workers.join(timeout=60.0) is True


def test_what_is_no_exception_ends_the_workers_and_is_raised(quick: tw.Pipeline) -> None:
    workers = quick.work(lambda job: sys.exit(3), threads=1)
    with pytest.raises(SystemExit):
        workers.join(timeout=60.0)
    assert workers.stop() is True and quick.status().processing == 0


def test_bad_workers_are_refused(quick: tw.Pipeline) -> None:
    for threads in (0, -1, 1025):
        with pytest.raises((tw.InvalidArgumentError, OverflowError)):
            quick.work(print, threads=threads)
    with pytest.raises(TypeError):
        quick.work("no function")  # type: ignore[arg-type]


def test_a_program_that_forgets_its_workers_still_ends(state: Path, music: Path) -> None:
    succeeds(
        """
        import sys, threading, time
        import treewarden as tw
        warden = tw.open(sys.argv[1])
        warden.add_root("music", sys.argv[2])
        warden.scan()
        done = threading.Semaphore(0)
        workers = warden.pipeline("p", settle=0.0).work(lambda job: done.release(), threads=3)
        for _ in range(5):
            assert done.acquire(timeout=30)
        """,
        state,
        music,
    )


def test_pipelines_work_on_files_with_odd_names(warden: tw.Warden, music: Path) -> None:
    write(bytes(music) + b"/odd \xff\n<b>", "odd")
    warden.scan()
    pipeline = warden.pipeline("p", settle=0.0, glob="odd*")
    seen: list[Callable[[], bytes]] = []
    with pipeline.work(lambda job: seen.append(Path(job.fs_path).read_bytes), threads=1) as workers:
        wait_until("it is done", lambda: workers.done == 1)
    assert seen[0]() == b"odd"
    (item,) = pipeline.list()
    assert item.path_bytes == b"music/odd \xff\n<b>"
