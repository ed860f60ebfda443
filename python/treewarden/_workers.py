"""Threads that work on a pipeline: they claim jobs, call a function with each, and say what came of it.

Plain Python threads over ``Pipeline.claim``: the engine calls nobody, so a function never runs on a thread that
Python does not know. One more thread renews the leases of the jobs in hand.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Optional

from ._errors import ClosedError, Error, ForkedError, InvalidArgumentError, Permanent, PutOff

if TYPE_CHECKING:
    from types import TracebackType

    from ._treewarden import Job, Pipeline

__all__ = ["Workers", "start"]

THREADS_MAX = 1_024

# How long a thread waits for work before it looks whether it is to end. The wait itself costs nothing, and other
# consumers of the pipeline are not woken when these threads end, as `Pipeline.interrupt` would do.
_CLAIM_SECONDS = 0.25
# After an error of the store a thread rests so long before it tries again.
_REST_SECONDS = 1.0
# Joining in slices lets Ctrl-C through in between, on every platform.
_JOIN_SECONDS = 0.1
# A lease is renewed when a third of it has passed, and now and then in any case: a warden may have another clock.
_RENEWALS_PER_LEASE = 3
_RENEW_SECONDS_MIN = 0.25
_RENEW_SECONDS_MAX = 30.0

_log = logging.getLogger("treewarden")


def start(pipeline: Pipeline, function: Callable[[Job], object], threads: int = 4) -> Workers:
    """Starts ``threads`` (1 to 1,024) threads; ``Pipeline.work`` calls it."""
    if not callable(function):
        raise TypeError(f"a worker is a function of a job, not {type(function).__name__}")
    if not 1 <= threads <= THREADS_MAX:
        raise InvalidArgumentError(
            f"{threads} threads cannot work on a pipeline", hint=f"1 to {THREADS_MAX:,} are possible"
        )
    return Workers(pipeline, function, threads)


class Workers:
    """Threads that work on a pipeline, made by ``Pipeline.work``.

    A context manager: it stops them at the end. When the program ends, they finish what they have in hand and end,
    too.
    """

    def __init__(self, pipeline: Pipeline, function: Callable[[Job], object], threads: int) -> None:
        self._pipeline = pipeline
        self._function = function
        # Guards everything below, and wakes whoever rests.
        self._wake = threading.Condition()
        self._stopping = False
        self._working = 0
        self._done = 0
        self._failed = 0
        self._error: Optional[BaseException] = None
        # By token: the job, and when its lease is to be renewed, by the monotonic clock.
        self._in_hand: dict[int, tuple[Job, float]] = {}
        name = f"treewarden-{pipeline.name}"
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{n}") for n in range(threads)]
        self._renewer = threading.Thread(target=self._renew, name=f"{name}-renew")
        self._working = threads
        started = 0
        try:
            for thread in self._threads:
                thread.start()
                started += 1
            self._renewer.start()
        except BaseException:
            with self._wake:
                self._stopping = True
                self._working -= threads - started
                self._wake.notify_all()
            self._threads = self._threads[:started]
            raise

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that they work on."""
        return self._pipeline

    @property
    def done(self) -> int:
        """How many jobs these threads have completed."""
        with self._wake:
            return self._done

    @property
    def failed(self) -> int:
        """How many jobs have failed in their hands, or were put off."""
        with self._wake:
            return self._failed

    @property
    def running(self) -> bool:
        """True until the last of the threads has ended."""
        with self._wake:
            return self._working > 0

    def join(self, timeout: Optional[float] = None) -> bool:
        """Waits until the threads have ended: after ``stop``, or because the warden was closed.

        Ctrl-C ends the wait, not the threads. Returns False at the timeout. What ended a worker and was no
        ``Exception`` is raised here, once.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in [*self._threads, self._renewer]:
            while thread.is_alive():
                left = _JOIN_SECONDS if deadline is None else min(_JOIN_SECONDS, deadline - time.monotonic())
                if left <= 0:
                    return False
                thread.join(left)
        with self._wake:
            error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    def stop(self, timeout: Optional[float] = None) -> bool:
        """Ends the threads: no new jobs are taken, those in hand are worked on to their end.

        Returns False when they are still at it at the timeout; they end all the same. Stopping twice does nothing.
        Must not be called from the function.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        return self.join(timeout)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        with self._wake:
            state = f"{self._working} running" if self._working else "ended"
            return f"<Workers of {self._pipeline.name!r}: {state}, {self._done} done, {self._failed} failed>"

    # The threads.

    def _is_over(self) -> bool:
        # Threads that the interpreter waits for at its end must notice that it has begun.
        return self._stopping or not threading.main_thread().is_alive()

    def _run(self) -> None:
        try:
            while not self._is_over():
                try:
                    jobs = self._pipeline.claim(1, timeout=_CLAIM_SECONDS)
                except (ClosedError, ForkedError):
                    return
                except Error:
                    _log.exception("no work could be claimed from pipeline %r", self._pipeline.name)
                    self._rest()
                    continue
                for job in jobs:
                    self._one(job)
        except BaseException as error:
            # No `Exception` comes so far but one in this file; the others are for whoever started the threads.
            with self._wake:
                self._error = self._error or error
                self._stopping = True
        finally:
            with self._wake:
                self._working -= 1
                self._wake.notify_all()

    def _rest(self) -> None:
        with self._wake:
            self._wake.wait_for(self._is_over, _REST_SECONDS)

    def _one(self, job: Job) -> None:
        token = job.token
        with self._wake:
            self._in_hand[token] = (job, time.monotonic() + _renew_after(job))
            self._wake.notify_all()
        failure: Optional[Exception] = None
        try:
            self._function(job)
        except Exception as error:
            failure = error
        except BaseException:
            if not job.ended:
                self._end(job, job.release)
            raise
        finally:
            with self._wake:
                self._in_hand.pop(token, None)
        if job.ended:
            # The function has said itself what came of it.
            if failure is not None:
                _log.error("a worker failed after the end of its job %r", job.path, exc_info=failure)
            ended, is_done = True, failure is None
        elif failure is None:
            ended, is_done = self._complete(job)
        else:
            ended, is_done = self._fail(job, failure), False
        if ended:
            with self._wake:
                if is_done:
                    self._done += 1
                else:
                    self._failed += 1

    def _complete(self, job: Job) -> tuple[bool, bool]:
        """Whether the end was recorded, and whether it was a good one."""
        try:
            job.complete()
        except Error as error:
            if job.ended:
                return self._unrecorded(job, error), False
            # What it wants to have stored cannot be: another try may want less.
            _log.error("job %r could not be completed", job.path, exc_info=error)
            return self._end(job, partial(job.fail, error)), False
        return True, True

    def _fail(self, job: Job, failure: Exception) -> bool:
        if isinstance(failure, PutOff):
            return self._end(job, partial(job.snooze, failure.seconds))
        permanent = isinstance(failure, Permanent)
        _log.error("job %r failed%s", job.path, " for good" if permanent else "", exc_info=failure)
        return self._end(job, partial(job.fail, failure, permanent=permanent))

    def _end(self, job: Job, end: Callable[[], None]) -> bool:
        try:
            end()
        except Error as error:
            return self._unrecorded(job, error)
        return True

    def _unrecorded(self, job: Job, error: Error) -> bool:
        _log.warning("what came of job %r was not recorded: %s", job.path, error)
        return False

    def _renew(self) -> None:
        while True:
            late = self._wait_for_late()
            if not late:
                return
            # Not behind the lock: it is a commit.
            after = {token: _renew_one(job) for token, job in late}
            now = time.monotonic()
            with self._wake:
                for token, job in late:
                    if token in self._in_hand:
                        self._in_hand[token] = (job, now + after[token])

    def _wait_for_late(self) -> list[tuple[int, Job]]:
        """The jobs in hand whose leases are to be renewed, as soon as there are any; none when all is over."""
        with self._wake:
            while self._working > 0:
                now = time.monotonic()
                late = [(token, job) for token, (job, due) in self._in_hand.items() if due <= now]
                if late:
                    return late
                next_due = min((due for _, due in self._in_hand.values()), default=None)
                # A new job, and the end of a worker, wake this.
                self._wake.wait(None if next_due is None else next_due - now)
            return []


def _renew_one(job: Job) -> float:
    """Renews the lease of a job; returns after how many seconds it is to be renewed again."""
    try:
        job.renew()
    except Error as error:
        # It has just ended, or its end says so to the worker.
        _log.debug("the lease of job %r was not renewed: %s", job.path, error)
        return _RENEW_SECONDS_MAX
    return _renew_after(job)


def _renew_after(job: Job) -> float:
    left = (job.expires_ns - time.time_ns()) / 1_000_000_000
    return min(max(left / _RENEWALS_PER_LEASE, _RENEW_SECONDS_MIN), _RENEW_SECONDS_MAX)
