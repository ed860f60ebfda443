"""Treewarden keeps the state of every file in one or many directory trees, and what has been done about each.

It is a library with one state file on disk; there is no server to run. A scan looks at a tree, compares it with what is
known and commits the difference; a watched tree is looked at as it changes. A snapshot is an immutable view of
everything, taken without a lock; the journal tells what changed since; pipelines hand out what is to be done.

>>> import pathlib, tempfile
>>> import treewarden as tw
>>> folder = tempfile.TemporaryDirectory()
>>> music = pathlib.Path(folder.name, "music")
>>> music.mkdir()
>>> _ = (music / "a.mp3").write_bytes(b"la")
>>> with tw.open(f"{folder.name}/state.tw") as warden:
...     _ = warden.add_root("music", music)
...     print(warden.scan("music").added, "added")
...     _ = (music / "a.mp3").rename(music / "b.mp3")
...     _ = warden.scan()
...     for change in warden.changes().files_only():
...         print(change.kind, change.path)
1 added
added music/a.mp3
moved music/b.mp3
>>> folder.cleanup()

Start at :func:`open` and :class:`Warden`. ``treewarden.aio`` is the same for ``asyncio``, ``treewarden.progress`` shows
progress bars, and ``python -m treewarden`` is the program for the command line. Addresses are ``ROOT/relative/path``.
Everything that goes wrong is an :class:`Error`.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from . import _errors, _workers
from ._errors import (
    AlreadyExistsError,
    BusyError,
    CancelledError,
    ClosedError,
    ConflictError,
    CorruptError,
    Error,
    ForkedError,
    HeldError,
    InternalError,
    InvalidArgumentError,
    IoError,
    LeaseLostError,
    NewerFormatError,
    NotAStateFileError,
    NotFoundError,
    Permanent,
    PermissionDeniedError,
    PoisonedError,
    PutOff,
    ReadOnlyError,
    ResetError,
    StorageFullError,
    TimeoutError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from ._mirror import Storage
from ._treewarden import (
    Batch,
    CancelToken,
    Change,
    ChangeList,
    Changes,
    Clock,
    Cloudflare,
    Consumer,
    Cursor,
    Delivery,
    Entries,
    Entry,
    Events,
    Fleet,
    Follow,
    Following,
    History,
    ItemList,
    Job,
    JobAttrs,
    JobList,
    Leader,
    Lease,
    Mirror,
    Permit,
    Pipeline,
    Publisher,
    RateLimit,
    RateLimiter,
    RootWatch,
    SharedLimiter,
    SharedPermit,
    Snapshot,
    Space,
    StreamItem,
    Upload,
    UrlMap,
    Warden,
    __version__,
    escape,
    open,
    parse_retry_after,
    rebuild,
)
from ._types import (
    AuditFinding,
    AuditReport,
    CompactReport,
    Counts,
    Difference,
    DiskView,
    Event,
    Explanation,
    ExportReport,
    Held,
    LastOperation,
    LimiterStatus,
    LiveStatus,
    Metrics,
    MirrorCounters,
    MirrorError,
    MirrorInfo,
    MirrorPlan,
    MirrorProgress,
    MirrorReport,
    MirrorStatus,
    MirrorStep,
    Operation,
    PipelineInfo,
    PipelineMetrics,
    PipelineStatus,
    Progress,
    RebuildReport,
    Report,
    RequestReport,
    RootInfo,
    RootLive,
    RootMetrics,
    ScanError,
    Status,
    Timings,
    Totals,
    UrlChange,
    VerifyReport,
    WorkExplanation,
    WorkItem,
)
from ._workers import Workers

__all__ = [
    "AlreadyExistsError",
    "AuditFinding",
    "AuditReport",
    "Batch",
    "BusyError",
    "CancelToken",
    "CancelledError",
    "Change",
    "ChangeList",
    "Changes",
    "Clock",
    "ClosedError",
    "Cloudflare",
    "CompactReport",
    "ConflictError",
    "Consumer",
    "CorruptError",
    "Counts",
    "Cursor",
    "Delivery",
    "Difference",
    "DiskView",
    "Entries",
    "Entry",
    "Error",
    "Event",
    "Events",
    "Explanation",
    "ExportReport",
    "Fleet",
    "Follow",
    "Following",
    "ForkedError",
    "Held",
    "HeldError",
    "History",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "ItemList",
    "Job",
    "JobAttrs",
    "JobList",
    "LastOperation",
    "Leader",
    "Lease",
    "LeaseLostError",
    "LimiterStatus",
    "LiveStatus",
    "Metrics",
    "Mirror",
    "MirrorCounters",
    "MirrorError",
    "MirrorInfo",
    "MirrorPlan",
    "MirrorProgress",
    "MirrorReport",
    "MirrorStatus",
    "MirrorStep",
    "NewerFormatError",
    "NotAStateFileError",
    "NotFoundError",
    "Operation",
    "Permanent",
    "PermissionDeniedError",
    "Permit",
    "Pipeline",
    "PipelineInfo",
    "PipelineMetrics",
    "PipelineStatus",
    "PoisonedError",
    "Progress",
    "Publisher",
    "PutOff",
    "RateLimit",
    "RateLimiter",
    "ReadOnlyError",
    "RebuildReport",
    "Report",
    "RequestReport",
    "ResetError",
    "RootInfo",
    "RootLive",
    "RootMetrics",
    "RootWatch",
    "ScanError",
    "SharedLimiter",
    "SharedPermit",
    "Snapshot",
    "Space",
    "Status",
    "Storage",
    "StorageFullError",
    "StreamItem",
    "TimeoutError",
    "Timings",
    "TooLargeError",
    "Totals",
    "UnavailableError",
    "UnsupportedError",
    "Upload",
    "UrlChange",
    "UrlMap",
    "VerifyReport",
    "Warden",
    "WorkExplanation",
    "WorkItem",
    "Workers",
    "__version__",
    "escape",
    "open",
    "parse_retry_after",
    "rebuild",
]


MutableMapping.register(JobAttrs)
# Lists of changes, jobs and operations are no `Sequence`, though they do all that one does: libraries for data frames
# look for that before they look for a table, and would go through them one by one.


def _rename() -> None:
    """Makes exceptions, workers and storages look like what they are, names of this package: in messages, help and
    pickles."""
    # Not the dataclasses: whoever looks at the types of their fields looks for these names where they are written.
    for module in (_errors, _workers):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type):
                value.__module__ = __name__
    Storage.__module__ = __name__


_rename()
