"""Pipelines, jobs and permits on ``asyncio``."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Optional, Union

from ._loop import Threads, over, slice_until, value

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from . import _treewarden, _types
    from ._errors import Error
    from ._types import Path

    _When = Union[datetime, int]


async def acquire(
    limiter: _treewarden.RateLimiter, cost: int = 1, timeout: Optional[float] = None
) -> Optional[_treewarden.Permit]:
    """Waits until a request may be sent, as ``RateLimiter.acquire``; it keeps its turn among those who wait."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[Optional[_treewarden.Permit]]
    asked = loop.run_in_executor(None, limiter.acquire, cost, timeout)
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        asked.add_done_callback(_give_back)
        raise


def _give_back(asked: asyncio.Future[Optional[_treewarden.Permit]]) -> None:
    permit = value(asked)
    if permit is not None:
        permit.unused()


class Pipeline:
    """A named consumer of work on ``asyncio``, made by ``Warden.pipeline``."""

    def __init__(self, pipeline: _treewarden.Pipeline, threads: Threads) -> None:
        self._pipeline = pipeline
        self._threads = threads

    @property
    def pipeline(self) -> _treewarden.Pipeline:
        """The synchronous object."""
        return self._pipeline

    @property
    def name(self) -> str:
        """Its name."""
        return self._pipeline.name

    @property
    def limiter(self) -> Optional[_treewarden.RateLimiter]:
        """Its limiter, if it has a rate: ``await aio.acquire(pipeline.limiter)``."""
        return self._pipeline.limiter

    def __repr__(self) -> str:
        return f"<treewarden.aio.Pipeline of {self._pipeline!r}>"

    async def claim(self, n: int = 1, *, timeout: Optional[float] = 0.0) -> list[Job]:
        """Takes up to ``n`` jobs that are due, and waits for the first of them; None waits without end.

        A task that is cancelled gives back what it was handed out at that moment.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            slice_seconds = slice_until(deadline)
            jobs = await self._claim_once(n, slice_seconds)
            if jobs or slice_seconds <= 0.0:
                return jobs

    async def _claim_once(self, n: int, timeout: float) -> list[Job]:
        claiming = self._threads.start(lambda: self._pipeline.claim(n, timeout=timeout))
        try:
            jobs = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # To its end, a moment: an interrupt would send everybody home who waits for this pipeline.
            await over(claiming)
            await self._give_back(list(value(claiming) or ()))
            raise
        return [Job(job, self._threads) for job in jobs]

    async def _give_back(self, jobs: Iterable[_treewarden.Job]) -> None:
        for job in jobs:
            if not job.ended:
                await over(self._threads.start(job.release))

    async def jobs(self, *, batch: int = 1, idle: Optional[float] = None) -> AsyncIterator[Job]:
        """Iterates over the jobs as they become due: ``async for job in pipeline.jobs()``, ``async with job``.

        Args:
            batch: How many are claimed at once. Those not reached when the loop is left are given back.
            idle: Ends after so many seconds without work; None, the default, never.
        """
        ready: deque[Job] = deque()
        try:
            while True:
                ready.extend(await self.claim(batch, timeout=idle))
                if not ready:
                    return
                while ready:
                    yield ready.popleft()
        finally:
            await self._give_back([job.job for job in ready])

    async def complete_many(self, jobs: Iterable[Job]) -> list[Optional[Error]]:
        """Completes several jobs in one commit. One answer for each: None, or the error."""
        ends = [job.job for job in jobs]
        return await self._threads.run(lambda: self._pipeline.complete_many(ends))

    async def request(self, address: Path = "", priority: _types.Priority = "critical") -> _types.RequestReport:
        """Asks for a file, or everything below a directory, to be done now whatever its state."""
        return await self._threads.run(lambda: self._pipeline.request(address, priority))

    async def retry(self, address: Path = "") -> int:
        """Makes items in error at or below an address due at once, the dead ones too."""
        return await self._threads.run(lambda: self._pipeline.retry(address))

    async def list(
        self, address: Path = "", *, state: Optional[_types.WorkState] = None, limit: int = 1000
    ) -> _treewarden.ItemList:
        """Lists items at or below an address, by address; of one state where one is given."""
        return await self._threads.run(lambda: self._pipeline.list(address, state=state, limit=limit))

    async def status(self) -> _types.PipelineStatus:
        """Says how the pipeline stands."""
        return await self._threads.run(self._pipeline.status)

    async def explain(self, address: Path) -> _types.WorkExplanation:
        """Tells all that is known of one item."""
        return await self._threads.run(lambda: self._pipeline.explain(address))

    async def wait_idle(self, timeout: Optional[float] = None) -> bool:
        """Waits until nothing is left to be done; items in error do not count. False at the timeout."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            slice_seconds = slice_until(deadline)
            is_idle = await self._threads.run(partial(self._pipeline.wait_idle, slice_seconds))
            if is_idle or slice_seconds <= 0.0:
                return is_idle


class Job:
    """One unit of work on ``asyncio``, under a lease.

    ``async with job`` ends it by the rules of the synchronous one; a task that is cancelled inside gives it back.
    """

    def __init__(self, job: _treewarden.Job, threads: Threads) -> None:
        self._job = job
        self._threads = threads

    @property
    def job(self) -> _treewarden.Job:
        """The synchronous object."""
        return self._job

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return self._job.pipeline

    @property
    def path(self) -> str:
        """The address of the file, or the key of the group."""
        return self._job.path

    @property
    def path_bytes(self) -> bytes:
        """The address of the file, or the key of the group, exact."""
        return self._job.path_bytes

    @property
    def fs_path(self) -> str:
        """Where the file lies on this disk; empty when its root was removed."""
        return self._job.fs_path

    @property
    def fs_path_bytes(self) -> bytes:
        """Where the file lies on this disk, exact."""
        return self._job.fs_path_bytes

    @property
    def done_path(self) -> Optional[str]:
        """The address under which it was completed last."""
        return self._job.done_path

    @property
    def done_path_bytes(self) -> Optional[bytes]:
        """The address under which it was completed last, exact."""
        return self._job.done_path_bytes

    @property
    def state(self) -> _types.WorkState:
        """Why it was handed out."""
        return self._job.state

    @property
    def priority(self) -> _types.Priority:
        """The class in which it waited."""
        return self._job.priority

    @property
    def attempt(self) -> int:
        """How many times this content has been tried, this time included."""
        return self._job.attempt

    @property
    def token(self) -> int:
        """The fencing token: no two leases have the same."""
        return self._job.token

    @property
    def expires_ns(self) -> int:
        """When the lease runs out, exact."""
        return self._job.expires_ns

    @property
    def expires(self) -> datetime:
        """When the lease runs out."""
        return self._job.expires

    @property
    def is_gone(self) -> bool:
        """True for an item that is gone: what was made of it is to be cleaned up."""
        return self._job.is_gone

    @property
    def files(self) -> list[str]:
        """The addresses of the files of a group; of a single file its own."""
        return self._job.files

    @property
    def attrs(self) -> _treewarden.JobAttrs:
        """What was stored with the last completion, and will be stored with this one."""
        return self._job.attrs

    @property
    def ended(self) -> bool:
        """True after it was completed, failed, put off or given back."""
        return self._job.ended

    @property
    def limiter(self) -> Optional[_treewarden.RateLimiter]:
        """The limiter of the pipeline, if it has a rate."""
        return self._job.limiter

    def throttled(self, retry_after: Optional[float] = None) -> None:
        """Says that the request for this job was refused because there were too many. Put the job off then."""
        self._job.throttled(retry_after)

    def answered(self) -> None:
        """Says that the request for this job has been answered."""
        self._job.answered()

    def sends_nothing(self) -> None:
        """Says that nothing is sent for this job: it takes nobody's turn."""
        self._job.sends_nothing()

    async def complete(self, *, refresh_at: Optional[_When] = None, reference: Optional[_When] = None) -> None:
        """Ends the job as done; durable on return."""
        await self._threads.run(lambda: self._job.complete(refresh_at=refresh_at, reference=reference))

    async def fail(
        self, error: Union[str, BaseException], *, permanent: bool = False, retry_after: Optional[float] = None
    ) -> None:
        """Ends the job as failed."""
        await self._threads.run(lambda: self._job.fail(error, permanent=permanent, retry_after=retry_after))

    async def snooze(self, seconds: float) -> None:
        """Puts the job off; no attempt."""
        await self._threads.run(lambda: self._job.snooze(seconds))

    async def release(self) -> None:
        """Gives the job back: it is handed out again at once; no attempt."""
        await self._threads.run(self._job.release)

    async def renew(self) -> None:
        """Renews the lease for as long as the pipeline gives them, from now."""
        await self._threads.run(self._job.renew)

    def __repr__(self) -> str:
        return f"<treewarden.aio.Job of {self._job!r}>"

    async def __aenter__(self) -> Job:
        self._job.__enter__()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> bool:
        # Recorded whether the task is cancelled meanwhile or not.
        return await self._threads.run_to_end(lambda: self._job.__exit__(exc_type, exc_value, traceback))
