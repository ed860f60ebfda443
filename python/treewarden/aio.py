"""Treewarden for programs on ``asyncio``.

There is no second runtime: calls that wait or take long run in threads of an executor, and events and journal are
heard through a descriptor in the loop that there is. Results are those of the synchronous package.

.. code-block:: python

    import asyncio
    from treewarden import aio

    async def main():
        async with aio.open("state.tw") as warden:
            if not warden.roots():
                await warden.add_root("music", "/srv/music")
            await warden.scan("music")
            await warden.watch()
            async for delivery in warden.follow("indexer"):
                for change in delivery:
                    print(change.kind, change.path)

    asyncio.run(main())

A task that is cancelled while it waits leaves nothing behind: a scan is cancelled, a job that was handed out at that
moment is given back. A call that changes something and is cancelled may still have happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union, overload

from . import _treewarden
from ._aio_listen import Events, Follow
from ._aio_mirror import Following, Mirror
from ._aio_work import Job, Pipeline, acquire
from ._loop import Threads, Told, over, slice_until, value

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

    from . import _mirror, _options, _types
    from ._types import Path

    _Buffer = Union[bytes, bytearray, memoryview]

__all__ = ["Events", "Follow", "Following", "Job", "Mirror", "Pipeline", "Warden", "acquire", "open"]

_T = TypeVar("_T")


def open(path: Path, *, executor: Optional[Executor] = None, **options: Unpack[_options.OpenOptions]) -> _Opening:
    """Opens a state file: ``async with aio.open("state.tw") as warden``, or ``warden = await aio.open("state.tw")``.

    Args:
        path: The state file.
        executor: Where calls that wait are run (default: up to 32 threads of its own).
        options: As ``treewarden.open`` takes them.
    """
    return _Opening(lambda: _treewarden.open(path, **options), executor)


class _Opening:
    """What ``open`` returns: to be awaited, or entered."""

    def __init__(self, make: Callable[[], _treewarden.Warden], executor: Optional[Executor]) -> None:
        self._make = make
        self._executor = executor
        self._warden: Optional[Warden] = None

    def __await__(self) -> Generator[Any, None, Warden]:
        return self._open().__await__()

    async def __aenter__(self) -> Warden:
        self._warden = await self._open()
        return self._warden

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._warden is not None:
            await self._warden.close()

    async def _open(self) -> Warden:
        threads = Threads(self._executor)
        try:
            opened = threads.start(self._make)
            try:
                return Warden(await asyncio.shield(opened), threads)
            except asyncio.CancelledError:
                # Nobody will close it but this.
                await over(opened)
                if value(opened) is not None:
                    await over(threads.start(opened.result().close))
                raise
        except BaseException:
            threads.end()
            raise


class Warden:
    """An open state file on ``asyncio``, made by ``open``.

    Methods have the names and arguments of the synchronous ones, which say more. What answers at once is an ordinary
    method or property; for everything else there are ``warden``, the synchronous object, and ``run``.
    """

    def __init__(self, warden: _treewarden.Warden, threads: Threads) -> None:
        self._warden = warden
        self._threads = threads

    @property
    def warden(self) -> _treewarden.Warden:
        """The synchronous object."""
        return self._warden

    async def run(self, call: Callable[[], _T]) -> _T:
        """Runs a call that waits in a thread: ``await warden.run(lambda: space.put("key", b"value"))``."""
        return await self._threads.run(call)

    async def close(self) -> None:
        """Ends the engine; whoever waits is told by ``ClosedError``. Closing twice does nothing."""
        try:
            await self._threads.run_to_end(self._warden.close)
        finally:
            self._threads.end()

    async def __aenter__(self) -> Warden:
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<treewarden.aio.Warden of {self._warden!r}>"

    # What answers at once.

    @property
    def closed(self) -> bool:
        """True after ``close``."""
        return self._warden.closed

    @property
    def path(self) -> str:
        """Absolute path of the state file."""
        return self._warden.path

    @property
    def seq(self) -> int:
        """The number of the last commit."""
        return self._warden.seq

    @property
    def watching(self) -> bool:
        """True between ``watch`` and ``unwatch``."""
        return self._warden.watching

    def token(self) -> str:
        """Returns the present place in the journal as text that knows its database."""
        return self._warden.token()

    def roots(self) -> list[_types.RootInfo]:
        """Returns all roots in order of their names."""
        return self._warden.roots()

    def snapshot(self) -> _treewarden.Snapshot:
        """Takes the current snapshot."""
        return self._warden.snapshot()

    def changes(self, since: Union[int, str] = 0) -> _treewarden.Changes:
        """Iterates over every change after ``since``, up to now."""
        return self._warden.changes(since)

    def cursor(self, name: str) -> _treewarden.Cursor:
        """Returns the durable cursor of that name, the synchronous one: ``await warden.run(cursor.read)``."""
        return self._warden.cursor(name)

    def space(self, name: str) -> _treewarden.Space:
        """Returns a key-value space, the synchronous one: ``await warden.run(lambda: space.put("k", b"v"))``."""
        return self._warden.space(name)

    # Roots, scans, state.

    async def add_root(self, name: str, dir: Path, **options: Unpack[_options.RootOptions]) -> _types.RootInfo:
        """Adds a directory tree as a root. Nothing is scanned yet."""
        return await self.run(lambda: self._warden.add_root(name, dir, **options))

    async def set_root_options(self, name: str, **options: Unpack[_options.RootOptions]) -> _types.RootInfo:
        """Replaces ignore rules, content hashes and comparison of a root."""
        return await self.run(lambda: self._warden.set_root_options(name, **options))

    async def remove_root(self, name: str) -> None:
        """Removes a root with everything known about it."""
        await self.run(lambda: self._warden.remove_root(name))

    async def move_root(self, name: str, dir: Path) -> _types.RootInfo:
        """Says that the tree of a root lies in another directory now."""
        return await self.run(lambda: self._warden.move_root(name, dir))

    @overload
    async def scan(
        self,
        target: None = None,
        *,
        targets: Iterable[Path] = (),
        progress: Optional[Callable[[_types.Progress], object]] = None,
        **options: Unpack[_options.ScanOptions],
    ) -> list[_types.Report]: ...
    @overload
    async def scan(
        self,
        target: Path,
        *,
        targets: Iterable[Path] = (),
        progress: Optional[Callable[[_types.Progress], object]] = None,
        **options: Unpack[_options.ScanOptions],
    ) -> _types.Report: ...
    async def scan(
        self,
        target: Optional[Path] = None,
        *,
        targets: Iterable[Path] = (),
        progress: Optional[Callable[[_types.Progress], object]] = None,
        **options: Unpack[_options.ScanOptions],
    ) -> Union[_types.Report, list[_types.Report]]:
        """Scans a root, part of one, several, or all of them. A task that is cancelled cancels the scan.

        ``progress`` is a plain function, called in the loop. An exception in it cancels the scan and is raised here.
        """
        told = Told(progress)
        targets = tuple(targets)

        def scan() -> Union[_types.Report, list[_types.Report]]:
            if target is None:
                return self._warden.scan(targets=targets, progress=told.hook, cancel=told.cancel, **options)
            if targets:
                # Refused there, with the words for it.
                return self._warden.scan(target, targets=targets)
            return self._warden.scan(target, progress=told.hook, cancel=told.cancel, **options)

        report = await self._threads.run_to_end(scan, told.cancel.cancel)
        told.check()
        return report

    async def verify(
        self,
        root: Optional[str] = None,
        *,
        content: bool = False,
        progress: Optional[Callable[[_types.Progress], object]] = None,
    ) -> _types.VerifyReport:
        """Compares the disk with the state, and changes neither. A task that is cancelled cancels it."""
        told = Told(progress)

        def verify() -> _types.VerifyReport:
            return self._warden.verify(root, content=content, progress=told.hook, cancel=told.cancel)

        try:
            return await self._threads.run_to_end(verify, told.cancel.cancel)
        finally:
            # In place of the cancellation that it has led to.
            told.check()

    async def wait(self, after: int, timeout: Optional[float] = None) -> int:
        """Waits for a commit after ``after`` and returns the seq then; at the timeout the seq as it is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            slice_seconds = slice_until(deadline)
            seq = await self.run(partial(self._warden.wait, after, slice_seconds))
            if seq > after or slice_seconds <= 0.0:
                return seq

    async def attrs(self, address: Path) -> dict[str, bytes]:
        """Returns the attributes of an entry, there or missing."""
        return await self.run(lambda: self._warden.attrs(address))

    async def set_attrs(self, address: Path, attrs: Mapping[str, Optional[_Buffer]]) -> int:
        """Sets attributes of an entry, and removes those given as None."""
        return await self.run(lambda: self._warden.set_attrs(address, attrs))

    def batch(self) -> _Committing:
        """Begins a batch: ``async with warden.batch() as batch`` gives the synchronous one and commits at the end."""
        return _Committing(self._warden.batch(), self._threads)

    async def cursors(self) -> dict[str, int]:
        """Returns the cursors with their places."""
        return await self.run(self._warden.cursors)

    async def status(self) -> _types.Status:
        """Returns the state of the engine and its roots."""
        return await self.run(self._warden.status)

    async def history(self, limit: int = 100) -> _treewarden.History:
        """Returns the newest operations, newest first."""
        return await self.run(lambda: self._warden.history(limit))

    async def explain(self, address: Path) -> _types.Explanation:
        """Tells all that is known about one address, and why."""
        return await self.run(lambda: self._warden.explain(address))

    async def check(self) -> None:
        """Reads every row of the state file and checks it."""
        await self.run(self._warden.check)

    async def compact(self) -> _types.CompactReport:
        """Rewrites the state file without its free space."""
        return await self.run(self._warden.compact)

    async def maintain(self) -> int:
        """Applies the retention of tombstones and journal now."""
        return await self.run(self._warden.maintain)

    # Watching.

    async def watch(self, **options: Unpack[_options.WatchOptions]) -> None:
        """Watches roots from now on. The first scan runs in the background, and ``sync`` waits for it."""
        await self.run(lambda: self._warden.watch(**options))

    async def unwatch(self) -> None:
        """Stops watching. The state stays as it is."""
        await self.run(self._warden.unwatch)

    async def sync(self, timeout: float = 60.0) -> int:
        """Waits until every change that was made on disk before this call is in ``snapshot``. Returns its seq."""
        # In one piece: each call asks for a new look, and several short ones might never see the end of one.
        return await self.run(lambda: self._warden.sync(timeout))

    async def pause(self) -> None:
        """Holds everything that the engine does by itself."""
        await self.run(self._warden.pause)

    async def resume(self) -> None:
        """Goes on after ``pause``."""
        await self.run(self._warden.resume)

    def events(self, *, max_events: int = 1024) -> Events:
        """Subscribes to what happens in the engine: ``async for event in warden.events()``."""
        return Events(self._warden.events(max_events=max_events))

    def follow(self, name: str, *, batch: int = 1000, ack: bool = True) -> Follow:
        """Follows the journal under a durable name: ``async for delivery in warden.follow("name")``."""
        return Follow(self._warden.follow(name, batch=batch, ack=False), self._threads, ack)

    # Work.

    async def pipeline(self, name: str, **options: Unpack[_options.PipelineOptions]) -> Pipeline:
        """Opens the pipeline of that name, with options as ``Warden.pipeline`` takes them."""
        return Pipeline(await self.run(lambda: self._warden.pipeline(name, **options)), self._threads)

    async def pipelines(self) -> list[_types.PipelineInfo]:
        """Returns the pipelines by name."""
        return await self.run(self._warden.pipelines)

    async def remove_pipeline(self, name: str) -> None:
        """Removes a pipeline with all that it knows of its items."""
        await self.run(lambda: self._warden.remove_pipeline(name))

    # Mirrors, numbers, files.

    async def mirror(
        self,
        name: str,
        address: Optional[Path] = None,
        target: Union[Path, _mirror.Storage, None] = None,
        *,
        cdn: Union[_treewarden.Cloudflare, _mirror.Purge, None] = None,
        **options: Unpack[_mirror.MirrorOptions],
    ) -> Mirror:
        """Opens the mirror of that name, with options as ``Warden.mirror`` takes them. Nothing is sent yet."""
        opened = await self.run(lambda: self._warden.mirror(name, address, target, cdn=cdn, **options))
        return Mirror(opened, self._threads)

    async def mirrors(self) -> list[_types.MirrorInfo]:
        """Returns the mirrors by name."""
        return await self.run(self._warden.mirrors)

    async def mirror_status(self) -> list[_types.MirrorStatus]:
        """Says how the mirrors stand that are open, by name. No request is made."""
        return await self.run(self._warden.mirror_status)

    async def remove_mirror(self, name: str) -> None:
        """Forgets a mirror and what it knows of its objects, which stay where they are."""
        await self.run(lambda: self._warden.remove_mirror(name))

    async def metrics(self) -> _types.Metrics:
        """Returns the numbers of the whole engine at this moment."""
        return await self.run(self._warden.metrics)

    async def export(
        self,
        path: Path,
        prefix: Path = "",
        *,
        since: Union[int, str, None] = None,
        glob: Optional[str] = None,
        missing: bool = False,
        host: Optional[str] = None,
        partitioned: bool = False,
        replace: bool = False,
        **store: Unpack[_mirror.StoreOptions],
    ) -> _types.ExportReport:
        """Writes what the state knows, or what changed, to Parquet files; to a store as ``Warden.export`` does."""
        return await self.run(
            lambda: self._warden.export(
                path,
                prefix,
                since=since,
                glob=glob,
                missing=missing,
                host=host,
                partitioned=partitioned,
                replace=replace,
                **store,
            )
        )


class _Committing:
    """A batch that is committed in a thread."""

    def __init__(self, batch: _treewarden.Batch, threads: Threads) -> None:
        self._batch = batch
        self._threads = threads

    async def __aenter__(self) -> _treewarden.Batch:
        return self._batch.__enter__()

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self._threads.run_to_end(lambda: self._batch.__exit__(exc_type, exc_value, traceback))
