"""What machines share through Redis: a limit, a leader, and a journal. Needs `redis-server`, of Redis 7 or later."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

import treewarden as tw
from support import HANG, interrupts, succeeds, told, wait_until, write

SERVER = shutil.which("redis-server")
SECRET = "hush-hush"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Redis:
    """A server of a test's own, without a trace on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.child: Optional[subprocess.Popen[bytes]] = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [SERVER or "", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.child = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        wait_until("the server", self.answers)

    def answers(self) -> bool:
        assert self.child is not None and self.child.poll() is None, "the server has ended"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as line:
                line.sendall(b"PING\r\n")
                return line.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait(HANG)
            self.child = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if SERVER is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Redis(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def fleet(redis: Redis) -> tw.Fleet:
    return tw.Fleet(redis.url, prefix="test")


def granted(limiter: tw.SharedLimiter) -> tw.SharedPermit:
    permit = limiter.acquire(timeout=HANG)
    assert permit is not None, limiter.waiting
    return permit


def led(lease: tw.Lease, **options: Any) -> tw.Leader:
    leader = lease.acquire(HANG, **options)
    assert leader is not None
    return leader


# Connecting.


def test_a_fleet_connects_and_shows_no_secret(redis: Redis) -> None:
    fleet = tw.Fleet(redis.url, connect_timeout=5.0, command_timeout=5.0)
    fleet.ping()
    assert "Fleet" in repr(fleet)
    with pytest.raises(tw.Error) as caught:
        tw.Fleet(f"redis://user:{SECRET}@127.0.0.1:{redis.port}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        (f"http://user:{SECRET}@host", {}, tw.InvalidArgumentError),
        ("", {}, tw.InvalidArgumentError),
        (f"redis://:{SECRET}\udcff@host", {}, tw.InvalidArgumentError),
        (f"rediss://:{SECRET}@host", {}, tw.UnsupportedError),
        (f"redis://:{SECRET}@127.0.0.1:1", {}, tw.UnavailableError),
        ("redis://127.0.0.1:1", {"prefix": "a/b"}, tw.InvalidArgumentError),
        ("redis://127.0.0.1:1", {"connect_timeout": 0.0}, tw.InvalidArgumentError),
        ("redis://127.0.0.1:1", {"command_timeout": -1.0}, tw.InvalidArgumentError),
        (3, {}, TypeError),
    ],
)
def test_what_is_no_redis_is_refused(url: Any, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        tw.Fleet(url, **options)
    assert SECRET not in f"{caught.value}{caught.value!r}{caught.value.__context__!r}"


def test_without_redis_there_is_nothing(redis: Redis) -> None:
    redis.stop()
    fleet = tw.Fleet(redis.url, later=True, connect_timeout=0.5)
    with pytest.raises(tw.UnavailableError):
        fleet.ping()
    limiter = fleet.limiter("l", (5, 1.0), hold_max=0.1)
    with pytest.raises(tw.UnavailableError):
        limiter.try_acquire()
    assert limiter.acquire(timeout=0.2) is None and limiter.waiting is not None
    with pytest.raises(tw.UnavailableError):
        fleet.lease("l", 1.0).acquire(timeout=0.0)
    with pytest.raises(tw.UnavailableError):
        fleet.consumer("s", "g", "c").next(timeout=0.0)
    redis.start()
    fleet.ping()
    granted(limiter).done()


def test_names_and_times_that_make_no_sense_are_refused(fleet: tw.Fleet, warden: tw.Warden) -> None:
    for call in (
        lambda: fleet.limiter("", (5, 1.0)),
        lambda: fleet.limiter("a", (0, 1.0)),
        lambda: fleet.limiter("a", (5, 1.0), hold_max=0.0),
        lambda: fleet.lease("a/b", 1.0),
        lambda: fleet.lease("a", 0.0),
        lambda: fleet.lease("a", -1.0),
        lambda: fleet.publisher("", warden),
        lambda: fleet.publisher("s", warden, "a/b"),
        lambda: fleet.publisher("s", warden, entries_max=0),
        lambda: fleet.consumer("s", "", "c"),
        lambda: fleet.consumer("s", "g", "c", takeover_after=0.0),
        lambda: fleet.lease("a", 1.0).acquire(-1.0),
    ):
        with pytest.raises(tw.InvalidArgumentError):
            call()


# The limit.


def test_a_limit_holds_over_connections(redis: Redis) -> None:
    rate = tw.RateLimit(3, 0.5, pacing=False)
    limiters = [tw.Fleet(redis.url).limiter("shared", rate, hold_max=0.2) for _ in range(2)]
    assert limiters[0].name == "shared" and limiters[0].rate == rate
    moments: list[float] = []
    lock = threading.Lock()

    def send(limiter: tw.SharedLimiter) -> None:
        for _ in range(5):
            with granted(limiter):
                with lock:
                    moments.append(time.monotonic())

    threads = [threading.Thread(target=send, args=(limiter,)) for limiter in limiters for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert len(moments) == 20
    moments.sort()
    for first, fourth in zip(moments, moments[3:]):
        assert fourth - first > 0.5, "never four in half a second"


def test_a_permit_ends_in_many_ways(fleet: tw.Fleet) -> None:
    limiter = fleet.limiter("l", tw.RateLimit(1, 30.0, pacing=False), hold_max=0.1)
    # A Redis that nobody has used is not trusted for a window and the time that a permit is held.
    assert limiter.try_acquire() is None and limiter.waiting is not None
    limiter = fleet.limiter("short", tw.RateLimit(1, 0.2, pacing=False), hold_max=1.0)
    permit = granted(limiter)
    assert 0.0 < permit.left <= 1.0 and "SharedPermit" in repr(permit) and "short" in repr(limiter)
    assert limiter.try_acquire() is None
    permit.unused()
    permit.unused()
    assert permit.left == 0.0
    second = granted(limiter)
    second.done()
    with granted(limiter) as third:
        third.throttled(0.3)
    begun = time.monotonic()
    granted(limiter).done()
    assert time.monotonic() - begun > 0.1, "the pause"
    limiter.throttled(0.1)
    limiter.enforce()
    with pytest.raises(tw.InvalidArgumentError):
        fleet.limiter("short", (2, 0.2), hold_max=1.0).acquire(HANG)


def test_waits_are_interrupted(fleet: tw.Fleet) -> None:
    limiter = fleet.limiter("l", (1, 3600.0), hold_max=0.1)
    lease = fleet.lease("lease", 60.0)
    consumer = fleet.consumer("s", "g", "c")
    for wait, interrupt, nothing in (
        (limiter.acquire, limiter.interrupt, None),
        (lease.acquire, lease.interrupt, None),
        (consumer.next, consumer.interrupt, []),
    ):
        ended: list[object] = []
        thread = threading.Thread(target=lambda wait=wait, ended=ended: ended.append(wait()))
        thread.start()

        def is_over(thread: threading.Thread = thread, interrupt: Any = interrupt) -> bool:
            interrupt()
            thread.join(0.1)
            return not thread.is_alive()

        wait_until("the end of the wait", is_over)
        assert ended == [nothing]


def test_ctrl_c_ends_every_wait(redis: Redis, state: Path, music: Path) -> None:
    code = """
        fleet = tw.Fleet(sys.argv[1])
        if sys.argv[4] == "limiter":
            interrupted(fleet.limiter("l", (1, 3600.0)).acquire)
        elif sys.argv[4] == "lease":
            interrupted(fleet.lease("l", 3600.0).acquire)
        elif sys.argv[4] == "consumer":
            interrupted(lambda: fleet.consumer("s", "g", "c").next())
        else:
            with tw.open(sys.argv[2]) as warden:
                warden.add_root("music", sys.argv[3])
                warden.scan()
                publisher = fleet.publisher("s", warden)
                interrupted(publisher.run)
                assert publisher.publish_once() == 0
        """
    for what in ("limiter", "lease", "consumer", "publisher"):
        interrupts(code, redis.url, str(state), str(music), what)


# The leader.


def test_there_is_one_leader_and_tokens_rise(fleet: tw.Fleet) -> None:
    lease = fleet.lease("scans", 0.5)
    assert lease.name == "scans" and "Lease" in repr(lease)
    with led(lease) as first:
        assert first.is_valid and first.token > 0 and "Leader" in repr(first)
        assert lease.acquire(0.0) is None
        first.renew()
    assert not first.is_valid
    first.release()
    with pytest.raises(tw.LeaseLostError):
        first.renew()
    second = led(lease)
    assert second.token > first.token
    wait_until("the end of the lease", lambda: not second.is_valid)
    third = led(lease, keep=True)
    assert third.token > second.token
    with pytest.raises(tw.LeaseLostError):
        second.renew()
    time.sleep(1.0)
    assert third.is_valid and lease.acquire(0.0) is None, "it is kept"
    del third
    led(lease).release()


# The journal.


def test_changes_reach_a_group_once(fleet: tw.Fleet, warden: tw.Warden, music: Path) -> None:
    publisher = fleet.publisher("changes", warden, "music")
    assert "Publisher" in repr(publisher)
    consumers = [fleet.consumer("changes", "group", name) for name in ("one", "two")]
    assert consumers[0].next(timeout=0.0) == []
    while publisher.publish_once():
        pass
    assert publisher.publish_once() == 0 and "fleet.changes" in warden.cursors()
    got: list[tw.StreamItem] = []
    while items := [item for consumer in consumers for item in consumer.next(3, timeout=0.0)]:
        got += items
    changes = [item.change for item in got if item.change is not None]
    assert sorted(told(changes)) == sorted(told(warden.changes()))
    assert len({item.stream_id for item in got}) == len(got)
    item = next(item for item in got if item.change is not None)
    assert item.change is not None and item.seq == item.change.seq and item.part >= 1 and len(item.database) == 32
    assert "StreamItem" in repr(item) and repr(item).isprintable()
    assert consumers[0].ack(got) == len(got) and consumers[0].ack(got) == 0
    assert consumers[0].accept_reset() is False
    with pytest.raises(TypeError):
        consumers[0].ack([3])  # type: ignore[list-item]


def test_what_a_dead_consumer_had_is_taken_over(fleet: tw.Fleet, warden: tw.Warden) -> None:
    publisher = fleet.publisher("changes", warden)
    while publisher.publish_once(2):
        pass
    had = fleet.consumer("changes", "group", "dead").next(timeout=HANG)
    assert had
    other = fleet.consumer("changes", "group", "other", takeover_after=0.05)
    taken: dict[str, tw.StreamItem] = {}

    def is_taken() -> bool:
        taken.update((item.stream_id, item) for item in other.next(timeout=0.1))
        return {item.stream_id for item in had} <= set(taken)

    wait_until("the takeover", is_taken)


def test_a_publisher_runs_until_it_is_stopped(fleet: tw.Fleet, warden: tw.Warden, music: Path) -> None:
    publisher = fleet.publisher("changes", warden)
    consumer = fleet.consumer("changes", "group", "one")
    for name in ("first", "second"):
        running = threading.Thread(target=publisher.run)
        running.start()
        write(music / name, name)
        warden.scan()
        seen: set[str] = set()

        def has_come(name: str = name, seen: set[str] = seen) -> bool:
            seen.update(item.change.path for item in consumer.next(timeout=0.1) if item.change is not None)
            return f"music/{name}" in seen

        wait_until("the change", has_come)
        publisher.stop()
        running.join(HANG)
        assert not running.is_alive()

    raised: list[BaseException] = []

    def run() -> None:
        try:
            publisher.run()
        except tw.ClosedError as error:
            raised.append(error)

    running = threading.Thread(target=run)
    running.start()
    warden.close()
    running.join(HANG)
    assert not running.is_alive() and len(raised) == 1
    with pytest.raises(tw.ClosedError):
        publisher.publish_once()


def test_who_no_longer_leads_does_not_publish(fleet: tw.Fleet, warden: tw.Warden, music: Path) -> None:
    lease = fleet.lease("publisher", 0.3)
    old = led(lease)
    before = fleet.publisher("changes", warden, leader=old)
    before.publish_once()
    wait_until("the end of the lease", lambda: not old.is_valid)
    new = led(lease)
    fleet.publisher("changes", warden, leader=new).publish_once()
    write(music / "late", "late")
    warden.scan()
    with pytest.raises(tw.LeaseLostError):
        before.publish_once()
    new.release()
    with pytest.raises(tw.LeaseLostError):
        fleet.publisher("changes", warden, leader=new)


def test_who_comes_too_late_is_told(fleet: tw.Fleet, warden: tw.Warden, music: Path) -> None:
    publisher = fleet.publisher("changes", warden, entries_max=1)
    consumer = fleet.consumer("changes", "group", "one")
    consumer.next(timeout=0.0)
    # A stream is cut in whole nodes, of a hundred entries.
    for number in range(400):
        write(music / f"many/{number}", "x")
    warden.scan()
    while publisher.publish_once():
        pass

    def is_told() -> bool:
        try:
            return not consumer.next(1000, timeout=0.0)
        except tw.ResetError:
            return True

    wait_until("the reset", is_told)
    assert consumer.accept_reset()
    consumer.next(timeout=0.0)


def test_a_fork_is_told(redis: Redis, state: Path, music: Path) -> None:
    succeeds(
        """
        import os, sys, traceback, warnings
        import treewarden as tw
        warnings.simplefilter("ignore", DeprecationWarning)

        warden = tw.open(sys.argv[2])
        warden.add_root("music", sys.argv[3])
        warden.scan()
        fleet = tw.Fleet(sys.argv[1])
        limiter = fleet.limiter("l", (100, 0.1), hold_max=0.1)
        lease = fleet.lease("l", 2.0)
        permit, leader = limiter.acquire(timeout=30.0), lease.acquire(timeout=60.0, keep=True)
        publisher, consumer = fleet.publisher("s", warden), fleet.consumer("s", "g", "c")
        calls = {
            "ping": lambda: fleet.ping(),
            "limiter": lambda: fleet.limiter("l", (1, 1.0)),
            "lease": lambda: fleet.lease("l", 1.0),
            "publisher": lambda: fleet.publisher("s", warden),
            "consumer": lambda: fleet.consumer("s", "g", "c"),
            "acquire": lambda: limiter.acquire(),
            "try_acquire": lambda: limiter.try_acquire(),
            "waiting": lambda: limiter.waiting,
            "throttled": lambda: limiter.throttled(),
            "enforce": lambda: limiter.enforce(),
            "interrupt": lambda: limiter.interrupt(),
            "left": lambda: permit.left,
            "done": lambda: permit.done(),
            "permit throttled": lambda: permit.throttled(),
            "lease acquire": lambda: lease.acquire(),
            "lease interrupt": lambda: lease.interrupt(),
            "is_valid": lambda: leader.is_valid,
            "renew": lambda: leader.renew(),
            "release": lambda: leader.release(),
            "publish_once": lambda: publisher.publish_once(),
            "run": lambda: publisher.run(),
            "stop": lambda: publisher.stop(),
            "next": lambda: consumer.next(),
            "ack": lambda: consumer.ack([]),
            "accept_reset": lambda: consumer.accept_reset(),
            "consumer interrupt": lambda: consumer.interrupt(),
        }
        child = os.fork()
        if child == 0:
            try:
                for name, call in calls.items():
                    try:
                        call()
                    except tw.ForkedError:
                        continue
                    raise AssertionError(name)
                del fleet, limiter, lease, permit, leader, publisher, consumer, calls
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert leader.is_valid, "the parent still leads"
        leader.renew()
        """,
        redis.url,
        str(state),
        str(music),
    )


def test_handles_are_not_pickled(fleet: tw.Fleet) -> None:
    import pickle

    for handle in (fleet, fleet.limiter("l", (1, 1.0)), fleet.lease("l", 1.0), fleet.consumer("s", "g", "c")):
        with pytest.raises(TypeError):
            pickle.dumps(handle)
