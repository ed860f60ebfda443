"""Mirrors on ``asyncio``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, cast

from ._loop import Threads, Told, over, value
from ._treewarden import CancelToken

if TYPE_CHECKING:
    from types import TracebackType

    from . import _treewarden, _types


class Mirror:
    """A root, or part of one, in step with a remote copy, on ``asyncio``. Made by ``Warden.mirror``."""

    def __init__(self, mirror: _treewarden.Mirror, threads: Threads) -> None:
        self._mirror = mirror
        self._threads = threads

    @property
    def mirror(self) -> _treewarden.Mirror:
        """The synchronous object."""
        return self._mirror

    @property
    def name(self) -> str:
        """Its name."""
        return self._mirror.name

    @property
    def urls(self) -> _treewarden.UrlMap:
        """The addresses of its objects as they are now."""
        return self._mirror.urls

    def __repr__(self) -> str:
        return f"<treewarden.aio.Mirror of {self._mirror!r}>"

    async def sync(
        self,
        *,
        progress: Optional[Callable[[_types.MirrorProgress], object]] = None,
        accept_deletes: bool = False,
    ) -> _types.MirrorReport:
        """Brings the remote copy in step with the current snapshot. A task that is cancelled cancels the run.

        ``progress`` is a plain function, called in the loop. An exception in it cancels the run and is raised here.
        """
        # It carries whatever it is given.
        told = Told(cast("Any", progress))
        hook = cast("Optional[Callable[[_types.MirrorProgress], object]]", told.hook)

        def sync() -> _types.MirrorReport:
            return self._mirror.sync(progress=hook, accept_deletes=accept_deletes, cancel=told.cancel)

        try:
            return await self._threads.run_to_end(sync, told.cancel.cancel)
        finally:
            # In place of the cancellation that it has led to.
            told.check()

    async def plan(self) -> _types.MirrorPlan:
        """Tells what the next run would do. No request is made."""
        return await self._threads.run(self._mirror.plan)

    async def audit(self, *, repair: bool = False, delete_unknown: bool = False) -> _types.AuditReport:
        """Lists the storage and compares it with what it has acknowledged. Cancelling the task ends it."""
        stop = CancelToken()

        def audit() -> _types.AuditReport:
            return self._mirror.audit(repair=repair, delete_unknown=delete_unknown, cancel=stop)

        return await self._threads.run_to_end(audit, stop.cancel)

    async def status(self) -> _types.MirrorStatus:
        """Says how it stands. No request is made."""
        return await self._threads.run(self._mirror.status)

    def follow(self) -> Following:
        """Follows the root: ``async with mirror.follow():``. It begins with the block and ends with it."""
        return Following(self._mirror, self._threads)


class Following:
    """A mirror that follows its root for as long as a block goes on. Made by ``Mirror.follow``."""

    def __init__(self, mirror: _treewarden.Mirror, threads: Threads) -> None:
        self._mirror = mirror
        self._threads = threads
        self._following: Optional[_treewarden.Following] = None

    async def __aenter__(self) -> Following:
        starting = self._threads.start(self._mirror.follow)
        try:
            self._following = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await over(starting)
            following = value(starting)
            if following is not None:
                await over(self._threads.start(following.stop))
            raise
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stops, and waits until what is under way has ended. Stopping twice does nothing."""
        following, self._following = self._following, None
        if following is not None:
            await self._threads.run_to_end(following.stop)
