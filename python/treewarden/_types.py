"""What calls return: one frozen dataclass for each result of the engine, and the words that occur in them.

The compiled module makes them, with keyword arguments; nothing here calls it. Names are those of the other
languages. What ends in ``_ns`` is an exact number of nanoseconds since 1970 UTC, and the property without that
end is the same as an aware ``datetime``, rounded down to microseconds. What ends in ``_ms`` is in milliseconds,
and the property without that end is in seconds. What ends in ``_bytes`` and stands for a path is exact, and the
property without that end is a string, decoded as ``os.fsdecode`` does.
"""

from __future__ import annotations

import dataclasses
import html
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, Optional, Union, overload

if TYPE_CHECKING:
    from ._treewarden import Entry

__all__ = [
    "AuditFinding",
    "AuditReport",
    "CompactReport",
    "Counts",
    "Difference",
    "DiskView",
    "Event",
    "Explanation",
    "ExportReport",
    "Held",
    "LastOperation",
    "LimiterStatus",
    "LiveStatus",
    "Metrics",
    "MirrorCounters",
    "MirrorError",
    "MirrorInfo",
    "MirrorPlan",
    "MirrorProgress",
    "MirrorReport",
    "MirrorStatus",
    "MirrorStep",
    "Operation",
    "PipelineInfo",
    "PipelineMetrics",
    "PipelineStatus",
    "Progress",
    "RebuildReport",
    "Report",
    "RequestReport",
    "RootInfo",
    "RootLive",
    "RootMetrics",
    "ScanError",
    "Status",
    "Timings",
    "Totals",
    "UrlChange",
    "VerifyReport",
    "WorkExplanation",
    "WorkItem",
]

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
"""What is taken for a path on disk, and for an address in a tree."""

# Words. Unions of literals, not literals of several: mypy's stubtest expects an alias to be what mypy makes of it.
Kind = Union[Literal["file"], Literal["dir"], Literal["symlink"]]
ChangeKind = Union[
    Literal["added"],
    Literal["modified"],
    Literal["moved"],
    Literal["missing"],
    Literal["restored"],
    Literal["forgotten"],
]
RootState = Union[Literal["new"], Literal["ready"], Literal["unavailable"], Literal["held"]]
OperationKind = Union[
    Literal["startup"],
    Literal["quick"],
    Literal["full"],
    Literal["subtree"],
    Literal["live"],
    Literal["manual"],
    Literal["refresh"],
]
OperationStatus = Union[
    Literal["ok"],
    Literal["partial"],
    Literal["held"],
    Literal["unavailable"],
    Literal["cancelled"],
    Literal["failed"],
]
Coverage = Union[Literal["native"], Literal["mixed"], Literal["polling"]]
DifferenceKind = Union[Literal["missing"], Literal["unknown"], Literal["changed"], Literal["corrupt"]]
Phase = Union[Literal["walk"], Literal["hash"], Literal["commit"]]
WorkState = Union[
    Literal["new"],
    Literal["changed"],
    Literal["stale"],
    Literal["error"],
    Literal["missing"],
    Literal["processing"],
    Literal["indexed"],
]
MirrorStepKind = Union[Literal["upload"], Literal["copy"], Literal["delete"]]
AuditKind = Union[Literal["lost"], Literal["different"], Literal["unknown"], Literal["unsure"]]
UrlChangeKind = Union[Literal["added"], Literal["modified"], Literal["removed"]]
Priority = Union[Literal["critical"], Literal["high"], Literal["medium"], Literal["low"], Literal["very_low"]]

ContentHash = Union[Literal["off"], Literal["changed"]]
Compare = Union[Literal["auto"], Literal["full"], Literal["no_inode"], Literal["no_ctime"], Literal["size_mtime"]]
Durability = Union[Literal["durable"], Literal["relaxed"]]
Walker = Union[Literal["auto"], Literal["fd"], Literal["jwalk"]]
WatchBackend = Union[Literal["auto"], Literal["inotify"], Literal["notify"]]
WatchMode = Union[Literal["auto"], Literal["native"], Literal["poll"]]
WatchPreset = Union[Literal["default"], Literal["small"], Literal["large"], Literal["busy"]]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@overload
def _time(ns: int) -> datetime: ...
@overload
def _time(ns: Optional[int]) -> Optional[datetime]: ...
def _time(ns: Optional[int]) -> Optional[datetime]:
    return None if ns is None else _EPOCH + timedelta(microseconds=ns // 1_000)


@overload
def _seconds(ms: int) -> float: ...
@overload
def _seconds(ms: Optional[int]) -> Optional[float]: ...
def _seconds(ms: Optional[int]) -> Optional[float]:
    return None if ms is None else ms / 1_000


class _Record:
    """What all results have in common: a table for notebooks, and lists that cannot be changed."""

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if isinstance(value, list):
                # The dictionary keeps its keys, so going on through it is fine.
                object.__setattr__(self, name, tuple(value))

    def _repr_html_(self) -> str:
        return _table(self)


_ROWS_MAX = 20


def _table(record: object) -> str:
    """A record as a table of two columns. Every text in it comes from outside and is escaped."""
    rows = []
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if value is None or not field.repr:
            continue
        rows.append(f'<tr><th style="text-align:left">{html.escape(field.name)}</th><td>{_cell(value)}</td></tr>')
    return f"<table><caption>{html.escape(type(record).__name__)}</caption><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, _Record):
        return _table(value)
    if isinstance(value, dict):
        value = tuple(f"{name}: {_text(one)}" for name, one in value.items())
    if isinstance(value, tuple):
        shown = [_cell(one) for one in value[:_ROWS_MAX]]
        if len(value) > _ROWS_MAX:
            shown.append(html.escape(f"… and {len(value) - _ROWS_MAX:,} more"))
        return "<br>".join(shown)
    return html.escape(_text(value))


def _text(value: object) -> str:
    """A value as one line without control characters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = value if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Totals(_Record):
    """Counts over a subtree."""

    files: int
    """Files and symlinks."""
    dirs: int
    """Directories, without the one asked about."""
    bytes: int
    """Sum of the sizes of files and symlinks."""


@dataclass(frozen=True)
class Counts(_Record):
    """How many files and symlinks something changed."""

    added: int
    """Seen for the first time."""
    modified: int
    """Changed."""
    moved: int
    """Found under another path."""
    missing: int
    """Proved to be gone."""
    restored: int
    """Back again."""
    forgotten: int
    """Dropped from the state."""
    errors: int
    """Paths that could not be read."""


@dataclass(frozen=True)
class ScanError(_Record):
    """One path that could not be looked at. Its entry, and what lies below it, keeps its last state."""

    path_bytes: bytes
    """Its address, exact."""
    kind: str
    """The kind of the error, as in ``Error.kind``."""
    message: str
    """What happened, in words."""

    @property
    def path(self) -> str:
        """Its address."""
        return os.fsdecode(self.path_bytes)


@dataclass(frozen=True)
class Held(_Record):
    """A result that waits for a scan with ``accept_missing``."""

    missing: int
    """Files and symlinks that would become missing."""
    of: int
    """Files and symlinks known."""


@dataclass(frozen=True)
class Timings(_Record):
    """Where the time of a scan went."""

    walk_ms: int
    """Listing, looking and comparing."""
    hash_ms: int
    """Reading content."""
    commit_ms: int
    """Writing and publishing."""

    @property
    def walk(self) -> float:
        """``walk_ms`` in seconds."""
        return _seconds(self.walk_ms)

    @property
    def hash(self) -> float:
        """``hash_ms`` in seconds."""
        return _seconds(self.hash_ms)

    @property
    def commit(self) -> float:
        """``commit_ms`` in seconds."""
        return _seconds(self.commit_ms)


@dataclass(frozen=True)
class Report(_Record):
    """The result of scanning one root. Counts are of files and symlinks, not of directories."""

    root: str
    """Name of the root."""
    mode: Literal["quick", "full"]
    """How deep the scan looked."""
    seq: int
    """The commit that the state is at after the scan."""
    added: int
    """Seen for the first time."""
    modified: int
    """Changed."""
    moved: int
    """Found under another path."""
    missing: int
    """Proved to be gone."""
    restored: int
    """Back again."""
    forgotten: int
    """Dropped because they are ignored now, or belong to another root."""
    unchanged: int
    """Looked at and as before."""
    dirs: int
    """Directories listed."""
    files: int
    """Files and symlinks seen."""
    bytes: int
    """Sum of their sizes."""
    special: int
    """FIFOs, sockets and devices seen; never opened, never entries."""
    errors: int
    """Paths that could not be looked at."""
    first_errors: tuple[ScanError, ...]
    """The first 100 of them."""
    corrupt: int
    """Files whose content changed under an unchanged fingerprint."""
    held: Optional[Held]
    """Set when nothing was applied because too much would become missing."""
    unavailable: Optional[str]
    """Set when nothing was applied because the root cannot be trusted; says why."""
    cancelled: bool
    """The scan was cancelled; nothing was applied."""
    published: bool
    """The scan made a commit."""
    elapsed_ms: int
    """Time taken."""
    timings: Timings
    """Where it went."""
    is_clean: bool
    """Everything could be looked at, and the result was applied."""
    is_unchanged: bool
    """No file or symlink changed."""

    @property
    def elapsed(self) -> float:
        """Time taken, in seconds."""
        return _seconds(self.elapsed_ms)


@dataclass(frozen=True)
class Progress(_Record):
    """How far a scan has come."""

    root: str
    """Name of the root."""
    phase: Phase
    """What it is doing."""
    dirs: int
    """Directories listed so far."""
    files: int
    """Files and symlinks looked at, or in the phase ``hash`` read, so far."""
    bytes: int
    """Bytes of the files looked at, or read, so far."""
    estimate_files: Optional[int]
    """Files expected: known from the last scan, or to be read."""
    files_per_s: float
    """Files a second since the phase began."""
    eta_ms: Optional[int]
    """Time to go, where there is an estimate."""

    @property
    def eta(self) -> Optional[float]:
        """Seconds to go, where there is an estimate."""
        return _seconds(self.eta_ms)


@dataclass(frozen=True)
class RootInfo(_Record):
    """What is known of a root."""

    name: str
    """The name, first component of every address in it."""
    fs_path: str
    """The directory on this machine."""
    id: int
    """Number of the root, never used again after its removal."""
    content_hash: ContentHash
    """Whether content hashes are kept."""
    ignore: tuple[str, ...]
    """The ignore patterns, gitignore syntax."""
    compare: Compare
    """The comparison in force, chosen or detected."""
    compare_asked: Compare
    """The comparison that was asked for; ``auto`` follows the file system when the root moves."""
    fs_type: str
    """Type of the file system, as the kernel names it, or its number in hexadecimal."""
    state: RootState
    """Whether the root can be trusted."""
    last_scan_ns: Optional[int]
    """End of the last scan that changed something."""
    totals: Totals
    """Files, directories and bytes known."""
    reason: Optional[str] = None
    """Of an unavailable root: what was found, and what to do."""
    held_missing: Optional[int] = None
    """Of a root that is held: files and symlinks that would become missing."""
    held_of: Optional[int] = None
    """Of a root that is held: files and symlinks known."""

    @property
    def last_scan(self) -> Optional[datetime]:
        """End of the last scan that changed something."""
        return _time(self.last_scan_ns)


@dataclass(frozen=True)
class Operation(_Record):
    """One row of the history: what changed something, or failed to."""

    id: int
    """Number of the row."""
    kind: OperationKind
    """What ran."""
    root: str
    """Name of the root at that time; empty where it concerns all. Of a refresh run, the pipeline."""
    start_ns: int
    """Start."""
    end_ns: int
    """End."""
    seq: int
    """The commit that holds its result."""
    counts: Counts
    """What it changed."""
    status: OperationStatus
    """How it ended."""
    error: Optional[str]
    """The reason where it did not end well."""

    @property
    def start(self) -> datetime:
        """Start."""
        return _time(self.start_ns)

    @property
    def end(self) -> datetime:
        """End."""
        return _time(self.end_ns)


@dataclass(frozen=True)
class RootLive(_Record):
    """How one root is watched at the moment."""

    root: str
    """Name of the root."""
    mode: Literal["watch", "poll"]
    """Whether it is watched or polled."""
    coverage: Coverage
    """Whether all directories, some or none report changes by themselves."""
    reason: Optional[str]
    """Why it is not all of them."""
    coherent: bool
    """Nothing is known to be unknown: no events were lost that no scan has made up for, and the root is neither
    unavailable nor held."""
    watched_dirs: int
    """Directories that are watched."""
    uncovered_dirs: int
    """Directories of a watched root that are polled; 10,001 means more."""
    pending: int
    """Names and directories that were heard of and not looked at yet."""
    events: int
    """Events received since watching began."""
    overflows: int
    """Times that events were lost, or were too many to be remembered."""
    scanning: bool
    """A scan or look is under way."""
    next_quick_ns: Optional[int]
    """The next scheduled quick scan."""
    next_full_ns: Optional[int]
    """The next scheduled full scan."""
    next_reconcile_ns: Optional[int]
    """The next scan although nothing was heard."""

    @property
    def next_quick(self) -> Optional[datetime]:
        """The next scheduled quick scan."""
        return _time(self.next_quick_ns)

    @property
    def next_full(self) -> Optional[datetime]:
        """The next scheduled full scan."""
        return _time(self.next_full_ns)

    @property
    def next_reconcile(self) -> Optional[datetime]:
        """The next scan although nothing was heard."""
        return _time(self.next_reconcile_ns)


@dataclass(frozen=True)
class LiveStatus(_Record):
    """How the roots are watched."""

    paused: bool
    """Between ``pause`` and ``resume``."""
    backend: str
    """``inotify`` or ``notify``."""
    roots: tuple[RootLive, ...]
    """The watched roots by name."""


@dataclass(frozen=True)
class PipelineStatus(_Record):
    """A pipeline at one glance."""

    name: str
    """Its name."""
    new: int
    """Items never done."""
    changed: int
    """Items whose content, or the version of the pipeline, is another one than when they were done."""
    stale: int
    """Items whose refresh time has come."""
    error: int
    """Items whose last attempt failed, the dead ones included."""
    missing: int
    """Items that are gone and are to be cleaned up."""
    processing: int
    """Leases in force. Their items are counted under their states, too."""
    indexed: int
    """Items with nothing to do."""
    dead: int
    """Of those in error, the ones that are not tried again by themselves."""
    requested: int
    """Items that somebody has asked for."""
    oldest_due_ms: Optional[int]
    """How long the item that is due for longest has waited; None when none is due."""
    next_due_ns: Optional[int]
    """When something that is not due now will be; it may be before that."""
    done_per_minute: float
    """Completions per minute, over the last nine full minutes of this process."""

    @property
    def oldest_due(self) -> Optional[float]:
        """``oldest_due_ms`` in seconds."""
        return _seconds(self.oldest_due_ms)

    @property
    def next_due(self) -> Optional[datetime]:
        """When something that is not due now will be; it may be before that."""
        return _time(self.next_due_ns)


@dataclass(frozen=True)
class Status(_Record):
    """The engine at one glance."""

    fs_path: str
    """Absolute path of the state file."""
    database_id: str
    """Id of the database, 32 hex digits."""
    format_version: int
    """Version of the file format."""
    seq: int
    """The last commit."""
    file_bytes: int
    """Size of the state file in bytes."""
    journal_first_seq: int
    """First commit that the journal still tells about."""
    journal_last_seq: int
    """Last commit that the journal can tell about."""
    roots: tuple[RootInfo, ...]
    """The roots by name."""
    totals: Totals
    """Sum over all roots."""
    missing: int
    """Tombstones of files and symlinks."""
    durability: Durability
    """When a commit counts as done."""
    cursors: dict[str, int]
    """The named cursors with their places."""
    live: Optional[LiveStatus]
    """How the roots are watched; None while they are not."""
    pipelines: tuple[PipelineStatus, ...]
    """The pipelines that this process has opened, by name."""


@dataclass(frozen=True)
class DiskView(_Record):
    """What is on disk under an address at this moment."""

    kind: Literal["file", "dir", "symlink", "special"]
    """``special`` is a FIFO, a socket or a device."""
    size: int
    """Size in bytes."""
    mtime_ns: int
    """Modification time."""
    ctime_ns: int
    """Time of the last change of the inode."""
    inode: int
    """Inode number."""
    mode: int
    """Type and permission bits."""

    @property
    def mtime(self) -> datetime:
        """Modification time."""
        return _time(self.mtime_ns)

    @property
    def ctime(self) -> datetime:
        """Time of the last change of the inode."""
        return _time(self.ctime_ns)


@dataclass(frozen=True)
class Explanation(_Record):
    """All that is known about one address."""

    address_bytes: bytes
    """The address asked about, exact."""
    root: Optional[RootInfo]
    """The root that it names."""
    entry: Optional[Entry]
    """The entry, if it is there."""
    missing: Optional[Entry]
    """The tombstone, if it is missing."""
    on_disk: Optional[DiskView]
    """What is on disk now."""
    ignored_by: Optional[str]
    """The pattern that ignores it."""
    attrs: dict[str, int]
    """Its attributes and their sizes in bytes."""
    verdict: str
    """One word: ``current``, ``changed``, ``new``, ``missing``, ``gone``, ``ignored``, ``unknown``, ``special``,
    ``unreadable`` or ``unavailable``."""
    reasons: tuple[str, ...]
    """Why, in sentences."""

    @property
    def address(self) -> str:
        """The address asked about."""
        return os.fsdecode(self.address_bytes)


@dataclass(frozen=True)
class Difference(_Record):
    """How disk and state differ at one path."""

    path_bytes: bytes
    """Its address, exact."""
    what: DifferenceKind
    """What differs."""

    @property
    def path(self) -> str:
        """Its address."""
        return os.fsdecode(self.path_bytes)


@dataclass(frozen=True)
class VerifyReport(_Record):
    """The result of a verification."""

    checked: int
    """Files and symlinks looked at."""
    differences: tuple[Difference, ...]
    """The first 10,000 differences, in path order within each root."""
    differences_total: int
    """All of them, counted."""
    errors: int
    """Paths that could not be looked at, and roots that are unavailable."""
    first_errors: tuple[ScanError, ...]
    """The first 100 of them."""


@dataclass(frozen=True)
class CompactReport(_Record):
    """The result of a compaction."""

    before_bytes: int
    """Size of the file before, in bytes."""
    after_bytes: int
    """Size of the file after, in bytes."""


@dataclass(frozen=True)
class RebuildReport(_Record):
    """The result of a rebuild."""

    roots: int
    """Roots saved."""
    entries: int
    """Files and symlinks saved."""
    lost_rows: int
    """Rows that could not be read."""
    spaces_rows: int
    """Values of spaces saved."""
    kept_as: str
    """Where the damaged file is kept."""


@dataclass(frozen=True)
class PipelineInfo(_Record):
    """A pipeline as it is stored."""

    name: str
    """Its name."""
    options: dict[str, Any]
    """What it works on, and how: as ``Warden.pipeline`` takes them."""


@dataclass(frozen=True)
class RequestReport(_Record):
    """What asking for files came to, in items."""

    added: int
    """Nothing was to be done about them: now something is."""
    merged: int
    """They waited in that class, or in a better one, already."""
    promoted: int
    """They waited, and have come forward."""
    will_rerun: int
    """Somebody works on them: they are done once more afterwards."""


@dataclass(frozen=True)
class WorkItem(_Record):
    """One item of a pipeline."""

    path_bytes: bytes
    """Address of the file, or key of the group, exact."""
    state: WorkState
    """How it stands; ``processing`` while it is held."""
    dead: bool
    """Failed for good."""

    @property
    def path(self) -> str:
        """Address of the file, or key of the group."""
        return os.fsdecode(self.path_bytes)


@dataclass(frozen=True)
class WorkExplanation(_Record):
    """Everything that is known of one item, and why."""

    path_bytes: bytes
    """Address of the file, or key of the group, exact."""
    state: WorkState
    """How it stands, without regard to a lease."""
    priority: Priority
    """The class in which it waits or would wait."""
    why: str
    """In words."""
    due_ns: Optional[int]
    """When it is due; None for never by itself."""
    attempts: int
    """Failures of this content in a row."""
    last_error: Optional[str]
    """Why the last attempt failed."""
    dead: bool
    """Failed for good."""
    done_ns: Optional[int]
    """When it was completed last."""
    refresh_at_ns: Optional[int]
    """When it is to be refreshed."""
    lease: Optional[tuple[str, int]]
    """Who holds a lease on it, and until when, in nanoseconds since 1970 UTC."""
    requested: Optional[Priority]
    """The class in which somebody has asked for it."""
    content_done: Optional[str]
    """What identifies the content that was done: equal texts mean the same."""
    content_now: Optional[str]
    """What identifies the content now."""
    attrs: dict[str, bytes]
    """What the consumer has stored."""

    @property
    def path(self) -> str:
        """Address of the file, or key of the group."""
        return os.fsdecode(self.path_bytes)

    @property
    def due(self) -> Optional[datetime]:
        """When it is due; None for never by itself."""
        return _time(self.due_ns)

    @property
    def done(self) -> Optional[datetime]:
        """When it was completed last."""
        return _time(self.done_ns)

    @property
    def refresh_at(self) -> Optional[datetime]:
        """When it is to be refreshed."""
        return _time(self.refresh_at_ns)


@dataclass(frozen=True)
class LimiterStatus(_Record):
    """What a rate limiter has come to at one moment."""

    limit: int
    """Requests in any window, as asked for."""
    effective_limit: int
    """Requests in any window at the moment: the limit, or less after throttling."""
    in_window: int
    """The cost of the permits that are out or that ended less than a window ago."""
    waiting: int
    """Calls that wait."""
    paused_until_ns: Optional[int]
    """Until when nobody is granted anything because of throttling."""
    granted: int
    """Permits that were granted since the limiter was made."""
    throttled: int
    """Reports of throttling since then."""
    succeeded: int
    """Reports of success since then."""

    @property
    def paused_until(self) -> Optional[datetime]:
        """Until when nobody is granted anything because of throttling."""
        return _time(self.paused_until_ns)


@dataclass(frozen=True)
class MirrorInfo(_Record):
    """A mirror as it is stored."""

    name: str
    """Its name."""
    address_bytes: bytes
    """The address that it copies, exact."""
    place: str
    """Where to, for people."""
    target: Optional[str]
    """Where to, as ``Warden.mirror`` takes it, without a prefix; None for a storage that a program brings along."""
    endpoint: Optional[str]
    """Where requests are sent to, if that is not the store's own address."""
    region: Optional[str]
    """Of an S3 bucket, where it was said."""
    public_url: Optional[str]
    """What the addresses of its objects begin with."""

    @property
    def address(self) -> str:
        """The address that it copies."""
        return os.fsdecode(self.address_bytes)


@dataclass(frozen=True)
class MirrorError(_Record):
    """A file that could not be copied, or an object that could not be deleted. No exception."""

    path_bytes: bytes
    """The address of the file, exact."""
    key: Optional[str]
    """The key of its object, where it has one."""
    message: str
    """What happened."""
    permanent: bool
    """It will never work as it is: the name or size is not allowed."""

    @property
    def path(self) -> str:
        """The address of the file."""
        return os.fsdecode(self.path_bytes)


@dataclass(frozen=True)
class MirrorReport(_Record):
    """What one run has done."""

    seq: int
    """The seq of the snapshot that the remote copy was brought in step with."""
    uploaded: int
    """Files that were sent and acknowledged."""
    uploaded_bytes: int
    """Their bytes."""
    copied: int
    """Objects that were copied to another key within the storage."""
    deleted: int
    """Objects that were deleted."""
    changed: int
    """Files that changed while they were read, or since the last scan: they come with the next run."""
    unsettled: int
    """Files that have not been still for long enough: they come with the next run."""
    failed: int
    """Files and objects that failed, without ``refused``."""
    refused: int
    """Files that the storage can hold under no name: see ``errors``."""
    held: int
    """Deletions that wait for ``accept_deletes``: too many at once."""
    purged: int
    """Addresses that a CDN has forgotten."""
    purges_waiting: int
    """Addresses that a CDN is still to forget."""
    retries: int
    """Requests that were repeated."""
    errors: tuple[MirrorError, ...]
    """The first 100 failures."""
    elapsed_ms: int
    """How long it took."""
    is_complete: bool
    """Nothing is left: the remote copy equals the snapshot, but for names that it cannot hold."""

    @property
    def elapsed(self) -> float:
        """How long it took, in seconds."""
        return _seconds(self.elapsed_ms)


@dataclass(frozen=True)
class MirrorStep(_Record):
    """What a run would do with one object. What does not belong to its kind is None."""

    kind: MirrorStepKind
    """``upload`` (path, size), ``copy`` (from_key) or ``delete``."""
    key: str
    """The key of the object."""
    path_bytes: Optional[bytes] = None
    """The address of the file that is sent, exact."""
    size: Optional[int] = None
    """Its size in bytes."""
    from_key: Optional[str] = None
    """The key that is copied."""

    @property
    def path(self) -> Optional[str]:
        """The address of the file that is sent."""
        return None if self.path_bytes is None else os.fsdecode(self.path_bytes)


@dataclass(frozen=True)
class MirrorPlan(_Record):
    """What the next run would do."""

    seq: int
    """The seq of the snapshot that it was made from."""
    steps: tuple[MirrorStep, ...]
    """Each step in the order of a run: uploads, copies, deletions."""
    uploads: int
    """Files to send."""
    upload_bytes: int
    """Their bytes."""
    copies: int
    """Objects to copy."""
    deletes: int
    """Objects to delete."""
    held: bool
    """So many deletions would wait for ``accept_deletes``."""
    unsettled: int
    """Files that have not been still for long enough."""
    refused: tuple[MirrorError, ...]
    """Files that the storage can hold under no name, the first 100."""
    refused_total: int
    """How many of them."""


@dataclass(frozen=True)
class MirrorProgress(_Record):
    """How far a run has come."""

    done: int
    """Files, copies and deletions that are over, well or not."""
    total: int
    """All of them."""
    bytes: int
    """Bytes handed to the network so far. What is sent again counts again."""
    bytes_total: int
    """Bytes of all files of the run."""
    bytes_per_s: float
    """Since the run began."""
    eta_ms: Optional[int]
    """Time that is still expected."""

    @property
    def eta(self) -> Optional[float]:
        """Seconds that are still expected."""
        return _seconds(self.eta_ms)


@dataclass(frozen=True)
class MirrorCounters(_Record):
    """Numbers of a mirror that only rise, since it was opened."""

    runs: int
    """Runs that ended."""
    runs_failed: int
    """Runs that were given up."""
    uploaded: int
    """Files sent and acknowledged."""
    uploaded_bytes: int
    """Their bytes."""
    copied: int
    """Objects copied."""
    deleted: int
    """Objects deleted."""
    failed: int
    """Files and objects that failed in a run."""
    retries: int
    """Requests repeated."""
    purged: int
    """Addresses that a CDN has forgotten."""
    purge_failures: int
    """Calls to the CDN that failed."""


@dataclass(frozen=True)
class MirrorStatus(_Record):
    """How a mirror stands."""

    name: str
    """Its name."""
    address_bytes: bytes
    """The address that it copies, exact."""
    place: str
    """Where to, without any secret."""
    prefix: str
    """What every key begins with."""
    running: bool
    """A run is under way."""
    following: bool
    """It follows by itself."""
    objects: int
    """Objects that are acknowledged."""
    object_bytes: int
    """Their bytes."""
    unsure: int
    """Objects of which it is not known what is there; the next run puts or deletes them."""
    pending: Optional[int]
    """Paths that are to be looked at again; None before the first run since the mirror was opened."""
    oldest_pending_ns: Optional[int]
    """When the oldest of them came, exact."""
    held: int
    """Deletions that wait for ``accept_deletes`` since the last run."""
    purges_waiting: int
    """Addresses that a CDN is still to forget."""
    oldest_purge_ns: Optional[int]
    """When the oldest of them was queued, exact."""
    last_seq: Optional[int]
    """The seq of the last run that ended."""
    last_run_ns: Optional[int]
    """When it ended, exact."""
    last_error: Optional[str]
    """Why the last run was given up, if it was."""
    counters: MirrorCounters
    """Numbers that only rise."""

    @property
    def address(self) -> str:
        """The address that it copies."""
        return os.fsdecode(self.address_bytes)

    @property
    def oldest_pending(self) -> Optional[datetime]:
        """When the oldest path came that is to be looked at again."""
        return _time(self.oldest_pending_ns)

    @property
    def oldest_purge(self) -> Optional[datetime]:
        """When the oldest address was queued that a CDN is still to forget."""
        return _time(self.oldest_purge_ns)

    @property
    def last_run(self) -> Optional[datetime]:
        """When the last run ended."""
        return _time(self.last_run_ns)


@dataclass(frozen=True)
class AuditFinding(_Record):
    """One difference between a storage and what it has acknowledged."""

    key: str
    """The key of the object."""
    kind: AuditKind
    """``lost``: it is not there. ``different``: it has another size or entity tag. ``unknown``: the mirror did not put
    it there. ``unsure``: something was begun with it and not acknowledged."""


@dataclass(frozen=True)
class AuditReport(_Record):
    """What an audit found."""

    listed: int
    """Objects that were listed."""
    matched: int
    """Objects that are as they were acknowledged."""
    lost: int
    """Acknowledged objects that are not there."""
    different: int
    """Objects of another size or entity tag."""
    unknown: int
    """Objects that this mirror did not put there."""
    unsure: int
    """Objects that were begun and not acknowledged."""
    findings: tuple[AuditFinding, ...]
    """The first 1,000 differences, by key."""
    is_clean: bool
    """The storage holds what it acknowledged, and nothing else."""


@dataclass(frozen=True)
class UrlChange(_Record):
    """An address that came, changed or went between two maps."""

    kind: UrlChangeKind
    """``added``, ``modified`` (other content under the same address) or ``removed``."""
    path_bytes: bytes
    """The address of the file, exact."""
    url: str
    """The address that its object has, or had."""

    @property
    def path(self) -> str:
        """The address of the file."""
        return os.fsdecode(self.path_bytes)


@dataclass(frozen=True)
class ExportReport(_Record):
    """What an export has written."""

    rows: int
    """Rows in all files."""
    bytes: int
    """Size of all files."""
    files: int
    """How many there are."""
    seq: int
    """The commit up to which they go: the ``since`` of the next export of changes."""


@dataclass(frozen=True)
class LastOperation(_Record):
    """What ran last over a root: a scan or look that changed something, or that did not end well."""

    kind: OperationKind
    """What ran."""
    status: OperationStatus
    """How it ended."""
    end_ns: int
    """When it ended, exact."""
    duration_ns: int
    """How long it took, in nanoseconds."""
    errors: int
    """Paths that could not be read."""

    @property
    def end(self) -> datetime:
        """When it ended."""
        return _time(self.end_ns)

    @property
    def duration(self) -> float:
        """How long it took, in seconds."""
        return self.duration_ns / 1_000_000_000


@dataclass(frozen=True)
class RootMetrics(_Record):
    """One root in numbers."""

    name: str
    """Its name."""
    files: int
    """Files and symlinks known."""
    dirs: int
    """Directories known, without the root itself."""
    bytes: int
    """Sum of the sizes of files and symlinks."""
    missing: int
    """Tombstones of files and symlinks."""
    state: RootState
    """Whether the root can be trusted."""
    last_scan_ns: Optional[int]
    """End of the last scan that changed something, exact."""
    last_operation: Optional[LastOperation]
    """The newest line of the history about it, where that is among the newest 1,000 of all roots."""

    @property
    def last_scan(self) -> Optional[datetime]:
        """End of the last scan that changed something."""
        return _time(self.last_scan_ns)


@dataclass(frozen=True)
class PipelineMetrics(_Record):
    """One pipeline in numbers."""

    status: PipelineStatus
    """How its items stand."""
    limiter: Optional[LimiterStatus]
    """How its limiter stands, if it has a rate."""


@dataclass(frozen=True)
class Metrics(_Record):
    """The engine in numbers. The parts are read one after the other."""

    uptime_ms: int
    """How long the warden has been open."""
    seq: int
    """The last commit."""
    state_file_bytes: int
    """Size of the state file."""
    journal_bytes: int
    """Size of the rows of the journal."""
    journal_floor_seq: int
    """The journal tells of every commit after this one."""
    roots: tuple[RootMetrics, ...]
    """The roots by name."""
    live: Optional[LiveStatus]
    """How the roots are watched; None while they are not."""
    pipelines: tuple[PipelineMetrics, ...]
    """The pipelines that this process has opened, by name."""
    mirrors: tuple[MirrorStatus, ...]
    """The mirrors that this process has opened, by name."""
    prometheus: str = field(repr=False)
    """What ``to_prometheus`` returns."""

    @property
    def uptime(self) -> float:
        """How long the warden has been open, in seconds."""
        return _seconds(self.uptime_ms)

    def to_prometheus(self) -> str:
        """Returns the numbers as a page for Prometheus: text format 0.0.4, to be served as
        ``text/plain; version=0.0.4``.

        The names of roots, pipelines and mirrors are in the labels; paths are not.
        """
        return self.prometheus


@dataclass(frozen=True)
class Event(_Record):
    """Something that happened in the engine. What does not belong to its kind is None.

    ``scan_started`` (root, kind), ``scan_progress`` (root, phase, dirs, files, bytes, estimate_files, eta_ms),
    ``scan_finished`` (root, kind, status, seq, counts, elapsed_ms), ``committed`` (first_seq, last_seq, counts),
    ``root_unavailable`` (root, reason), ``root_back`` (root), ``root_held`` (root, missing, of),
    ``coverage_changed`` (root, coverage, reason), ``overflow`` (root), ``coherent`` (root), ``error`` (root,
    message), ``reset`` (restart_seq). Later versions may tell of more.
    """

    name: str
    """What happened."""
    root: Optional[str] = None
    """Name of the root, where it concerns one."""
    kind: Optional[OperationKind] = None
    """What runs or ran."""
    phase: Optional[Phase] = None
    """What the scan is at."""
    dirs: Optional[int] = None
    """Directories looked at so far."""
    files: Optional[int] = None
    """Files and symlinks looked at so far."""
    bytes: Optional[int] = None
    """Bytes of the files looked at, or read, so far."""
    estimate_files: Optional[int] = None
    """Files and symlinks that are expected, from the last scan."""
    eta_ms: Optional[int] = None
    """Time that is still expected."""
    status: Optional[OperationStatus] = None
    """How it ended."""
    seq: Optional[int] = None
    """The commit that holds its result."""
    counts: Optional[Counts] = None
    """What it changed. Of ``committed`` all 0 where only the program's own state did."""
    elapsed_ms: Optional[int] = None
    """How long it took."""
    first_seq: Optional[int] = None
    """The first commit that this event tells of."""
    last_seq: Optional[int] = None
    """The last one; it is in the snapshot already."""
    reason: Optional[str] = None
    """What was found, or why it is not watched natively everywhere."""
    missing: Optional[int] = None
    """Files and symlinks that would become missing."""
    of: Optional[int] = None
    """Files and symlinks known."""
    coverage: Optional[Coverage] = None
    """How the root is watched now."""
    message: Optional[str] = None
    """What failed."""
    restart_seq: Optional[int] = None
    """The events that follow tell of commits after this one; what was missed is in the journal."""

    @property
    def eta(self) -> Optional[float]:
        """Seconds that are still expected."""
        return _seconds(self.eta_ms)

    @property
    def elapsed(self) -> Optional[float]:
        """How long it took, in seconds."""
        return _seconds(self.elapsed_ms)

    def __repr__(self) -> str:
        told = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return f"Event({', '.join(f'{name}={value!r}' for name, value in told if value is not None)})"
