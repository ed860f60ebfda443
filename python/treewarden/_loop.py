"""What ``aio`` stands on: threads for calls that wait, descriptors in the loop, progress from one to the other."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from . import _treewarden

if TYPE_CHECKING:
    from ._types import Progress

_T = TypeVar("_T")

# Calls that wait take a thread each. More of them than this wait for one another, and none for ever.
_THREADS_MAX = 32
# How long a thread waits for work or a commit before it looks whether anybody still wants it.
_SLICE_SECONDS = 0.25


class Threads:
    """Runs calls that wait in threads, with the context of the task."""

    def __init__(self, executor: Optional[Executor]) -> None:
        self._own = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="treewarden-aio") if executor is None else None
        self._executor = executor or self._own

    def start(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """Begins a call."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, contextvars.copy_context().run, call)

    async def run(self, call: Callable[[], _T]) -> _T:
        """Makes a call. A task that is cancelled goes, and the call goes on."""
        return await self.start(call)

    async def run_to_end(self, call: Callable[[], _T], cancel: Callable[[], object] = lambda: None) -> _T:
        """Makes a call. A task that is cancelled says so to the call, and waits until that has ended."""
        running = self.start(call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            cancel()
            await over(running)
            raise

    def end(self) -> None:
        """Lets the threads go. Later calls, of a warden that is closed and answers at once, take those of the loop."""
        if self._own is not None:
            self._executor = None
            self._own.shutdown(wait=False)


async def over(running: asyncio.Future[Any]) -> None:
    """Waits until a call has ended, well or not, however often the task is cancelled meanwhile."""
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        # Looked at, so that nobody is told that it was not.
        running.exception()


def value(ended: asyncio.Future[_T]) -> Optional[_T]:
    """What a call that has ended returned; None when it failed."""
    return None if ended.cancelled() or ended.exception() is not None else ended.result()


class Ear:
    """Hears one descriptor, for one task at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._heard: Optional[asyncio.Future[None]] = None

    async def readable(self) -> None:
        """Waits until the descriptor can be read from, or until `stop`."""
        loop = asyncio.get_running_loop()
        self._heard = loop.create_future()
        loop.add_reader(self._descriptor, self._wake)
        try:
            await self._heard
        finally:
            if self._heard is not None:
                self._heard = None
                loop.remove_reader(self._descriptor)

    def stop(self) -> None:
        """Wakes whoever waits. From now on the descriptor may be closed."""
        if self._heard is not None:
            self._heard.get_loop().remove_reader(self._descriptor)
            self._wake()
            self._heard = None

    def _wake(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)


def slice_until(deadline: Optional[float]) -> float:
    """How long a thread may wait now, for a call that may be made again and again until it brings something."""
    if deadline is None:
        return _SLICE_SECONDS
    return min(max(deadline - time.monotonic(), 0.0), _SLICE_SECONDS)


class Told:
    """Carries progress from the thread of a scan into the loop, and an exception from there back."""

    def __init__(self, progress: Optional[Callable[[Progress], object]]) -> None:
        self.cancel = _treewarden.CancelToken()
        self.hook = None if progress is None else self._tell
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._error: Optional[BaseException] = None

    def _tell(self, progress: Progress) -> None:
        try:
            self._loop.call_soon_threadsafe(self._hear, progress)
        except RuntimeError:
            # The loop has been closed: there is nobody to scan for.
            self.cancel.cancel()

    def _hear(self, progress: Progress) -> None:
        if self._progress is None or self.cancel.cancelled:
            return
        try:
            self._progress(progress)
        except Exception as error:
            self._error = error
            self.cancel.cancel()

    def check(self) -> None:
        """Raises what the function of the caller has raised."""
        if self._error is not None:
            raise self._error
