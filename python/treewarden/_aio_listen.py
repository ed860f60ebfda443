"""Events and journal as asynchronous iterators, heard through a descriptor in the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

from ._loop import Ear, Threads

if TYPE_CHECKING:
    from types import TracebackType

    from . import _treewarden, _types


class Events:
    """What happens in the engine, as an asynchronous iterator. It ends with ``ClosedError``, or is left."""

    def __init__(self, events: _treewarden.Events) -> None:
        self._events = events
        self._ear = Ear(events.fileno())
        # One at a time: a loop hears a descriptor for one listener only.
        self._turn = asyncio.Lock()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> _types.Event:
        async with self._turn:
            while True:
                event = self._events.next(timeout=0.0)
                if event is not None:
                    return event
                await self._ear.readable()

    def close(self) -> None:
        """Ends the subscription. Whoever waits for an event gets ``ClosedError``."""
        self._ear.stop()
        self._events.close()

    async def __aenter__(self) -> Events:
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


class Follow:
    """The journal from a durable place on, as an asynchronous iterator over deliveries.

    Each is acknowledged when the next one is asked for, unless ``follow`` was told ``ack=False``. After a
    ``ResetError`` it can be gone on with: read the snapshot, ``await follow.advance(error.restart_seq)``, iterate
    again.
    """

    def __init__(self, follow: _treewarden.Follow, threads: Threads, acks: bool) -> None:
        self._follow = follow
        self._threads = threads
        self._acks = acks
        self._last: Optional[_treewarden.Delivery] = None
        # Before the first look, so that what comes after that look is heard.
        self._ear = Ear(follow.fileno())
        self._turn = asyncio.Lock()

    @property
    def position(self) -> int:
        """The seq up to which changes have been acknowledged."""
        return self._follow.position

    async def advance(self, seq: int) -> int:
        """Moves the cursor forward without reading, for example after a ``ResetError``."""
        return await self._threads.run(lambda: self._follow.cursor.advance(seq))

    def __aiter__(self) -> Follow:
        return self

    async def __anext__(self) -> _treewarden.Delivery:
        async with self._turn:
            await self._acknowledge()
            while True:
                delivery = self._follow.next(timeout=0.0)
                if delivery is not None:
                    self._last = delivery if self._acks else None
                    return delivery
                await self._ear.readable()

    async def _acknowledge(self) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        delivery = last

        def acknowledge() -> None:
            # The program may have done so itself.
            if self._follow.position != delivery.upto:
                delivery.ack()

        await self._threads.run_to_end(acknowledge)
