"""The compiled part of ``treewarden``; import its names from there.

Calls that wait or take long let other threads run, and Ctrl-C ends them. Every class may be used from any
thread. A handle that was made before a ``fork`` answers ``ForkedError`` in the child; what belongs to a warden
that was closed answers ``ClosedError``. All calls raise exceptions of the tree below ``treewarden.Error``, and
``TypeError`` for values of a wrong type.

Addresses are ``ROOT/relative/path`` and, like paths on disk, may be given as ``str``, ``bytes`` or
``os.PathLike``. Strings are encoded and decoded as ``os.fsencode`` and ``os.fsdecode`` do, so every name that a
file system allows comes through; what ends in ``_bytes`` is exact. What ends in ``_ns`` is in nanoseconds since
1970 UTC; durations without an ending are in seconds.
"""

import builtins
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    Sequence,
    ValuesView,
)
from datetime import datetime
from types import TracebackType
from typing import ClassVar, TypeVar, final, overload

from typing_extensions import Self, Unpack

from ._errors import Error
from ._mirror import MirrorOptions, Purge, Storage, StoreOptions
from ._options import PipelineOptions
from ._types import (
    AuditReport,
    ChangeKind,
    CompactReport,
    Compare,
    ContentHash,
    Durability,
    Event,
    Explanation,
    ExportReport,
    Kind,
    LimiterStatus,
    Metrics,
    MirrorInfo,
    MirrorPlan,
    MirrorProgress,
    MirrorReport,
    MirrorStatus,
    Operation,
    Path,
    PipelineInfo,
    PipelineStatus,
    Priority,
    Progress,
    RebuildReport,
    Report,
    RequestReport,
    RootInfo,
    Status,
    Totals,
    UrlChange,
    VerifyReport,
    Walker,
    WatchBackend,
    WatchMode,
    WatchPreset,
    WorkExplanation,
    WorkItem,
    WorkState,
)
from ._workers import Workers

__all__ = [
    "Batch",
    "CancelToken",
    "Change",
    "ChangeList",
    "Changes",
    "Clock",
    "Cloudflare",
    "Consumer",
    "Cursor",
    "Delivery",
    "Entries",
    "Entry",
    "Events",
    "Fleet",
    "Follow",
    "Following",
    "History",
    "ItemList",
    "Job",
    "JobAttrs",
    "JobList",
    "Leader",
    "Lease",
    "Mirror",
    "Permit",
    "Pipeline",
    "Publisher",
    "RateLimit",
    "RateLimiter",
    "RootWatch",
    "SharedLimiter",
    "SharedPermit",
    "Snapshot",
    "Space",
    "StreamItem",
    "Upload",
    "UrlMap",
    "Warden",
    "__version__",
    "escape",
    "main",
    "open",
    "parse_retry_after",
    "rebuild",
]

_T = TypeVar("_T")
# Methods are called `list`, too.
_List = builtins.list
_Buffer = bytes | bytearray | memoryview
_Key = str | bytes
_Time = datetime | int

__version__: str
"""Version of the package, the same as of the Rust crate."""

def open(
    path: Path,
    *,
    create: bool = True,
    read_only: bool = False,
    durability: Durability = "durable",
    cache_bytes: int | None = None,
    threads: int | None = None,
    journal_keep_ms: int | None = None,
    journal_keep_bytes_max: int | None = None,
    tombstone_keep_ms: int | None = None,
    history_keep_max: int | None = None,
    clock: Clock | None = None,
) -> Warden:
    """Opens the state file at ``path``, or creates it (mode 0600, never through a symlink).

    Opening changes nothing on disk. The file is locked: a second opener gets ``BusyError``, unless all of them
    open it for reading only.

    Args:
        path: The state file. Its directory must exist.
        create: False refuses to create it: ``NotFoundError`` where there is none.
        read_only: Never writes a byte; several readers may share the file. Nothing is created.
        durability: ``durable`` is safe against power loss when a call returns. ``relaxed`` is visible at once and
            on disk with ``compact`` or ``close``; a crash loses whole commits from the end.
        cache_bytes: Page cache of the store (default 16 MiB). Snapshots do not use it.
        threads: Threads of a scan (default one for each processor).
        journal_keep_ms: How long changes are kept (default 30 days).
        journal_keep_bytes_max: How many bytes of changes are kept at most (default 256 MiB).
        tombstone_keep_ms: How long missing files are remembered (default 30 days).
        history_keep_max: How many operations the history keeps (default 1,000).
        clock: A clock that a test moves.

    Raises:
        BusyError, NotAStateFileError, NewerFormatError, CorruptError, ReadOnlyError, PermissionDeniedError,
        StorageFullError, NotFoundError, IoError.
    """

def rebuild(path: Path) -> RebuildReport:
    """Salvages a damaged state file.

    What can be read goes into a new file under the same name, the damaged one is kept as ``NAME.damaged-N``.
    Consumers of the journal get a ``ResetError``. Scan afterwards: the trees are the truth.
    """

def escape(path: Path) -> str:
    r"""Returns a form of a path that is safe to print.

    Control characters, the backslash, invisible direction marks and bytes that are not UTF-8 are written as
    ``\n``, ``\\``, ``\x1b`` or ``\u{202e}``; everything else stays as it is.
    """

def parse_retry_after(value: str, now: float | None = None) -> float | None:
    """Reads the value of an HTTP header ``Retry-After``: seconds, or a date.

    Returns how many seconds to wait, at most seven days; 0.0 for a date that has passed, None for what is
    neither. ``now`` is the time that a date is compared with, in seconds since 1970 UTC (default: the present).
    """

def main(args: Sequence[str | bytes]) -> int:
    """Runs the program ``treewarden`` with these arguments, its name not among them, and returns its exit code.

    It writes to the standard streams of the process, not to ``sys.stdout``.
    """

@final
class Clock:
    """A source of wall-clock time that a test moves by hand."""

    @staticmethod
    def manual(start_ns: int) -> Clock:
        """Returns a clock that stands still until it is moved."""

    def now_ns(self) -> int:
        """Returns the time."""

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""

    def set_ns(self, ns: int) -> None:
        """Sets the clock, backwards too."""

@final
class CancelToken:
    """Stops a scan or a verification from another thread."""

    def __new__(cls) -> Self: ...
    def cancel(self) -> None:
        """Asks it to stop; it does so at the next directory or block of a file."""

    @property
    def cancelled(self) -> bool:
        """True after ``cancel``."""

@final
class RootWatch:
    """How one root is watched. Immutable and comparable.

    Schedules are intervals, ``15m``, ``every 24h`` or ``7d``, or cron texts of five fields, in UTC or in a time zone:
    ``0 3 * * *``, ``cron 0 3 * * * Europe/Vienna``. ``Warden.watch`` checks that the times make sense together.

    Args:
        preset: What the rest begins with. ``default``: debounce 0.3 s, at most 2 s, polls every 10 s where it
            must. ``small``, for trees of some thousand files that people wait for: 0.05 s, 0.5 s, 2 s. ``large``,
            for hundreds of thousands: 1 s, 10 s, 60 s. ``busy``, where something is always written: 2 s, 15 s,
            30 s.
        mode: ``auto`` watches, and polls network file systems; ``native`` always watches; ``poll`` always polls.
        debounce: How long a directory must be quiet before it is looked at, in seconds.
        max_wait: After how long it is looked at although it is not quiet, in seconds.
        poll: How often what has no watch is looked at, in seconds.
        quick: Schedule of quick scans.
        full: Schedule of full scans.
        reconcile: When the root is scanned although nothing was heard of it (default 24 h after the last scan).
        no_reconcile: Believes the events for ever.
    """

    def __new__(
        cls,
        *,
        preset: WatchPreset = "default",
        mode: WatchMode = "auto",
        debounce: float | None = None,
        max_wait: float | None = None,
        poll: float | None = None,
        quick: str | None = None,
        full: str | None = None,
        reconcile: str | None = None,
        no_reconcile: bool = False,
    ) -> Self: ...
    @property
    def debounce(self) -> float:
        """How long a directory must be quiet before it is looked at, in seconds, as it holds."""

    @property
    def max_wait(self) -> float:
        """After how long a directory is looked at although it is not quiet, in seconds, as it holds."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Warden:
    """An open state file: roots, scans, snapshots, the journal, and the program's own state.

    Made by ``treewarden.open``. What changes something is durable on return; reading never waits for the writer.
    A context manager: it closes the file at the end.
    """

    def close(self) -> None:
        """Ends the engine: stops watching, wakes whoever waits, waits for commits under way.

        Snapshots stay readable; everything else answers ``ClosedError``. Closing twice does nothing.
        """

    @property
    def closed(self) -> bool:
        """True after ``close``."""

    @property
    def path(self) -> str:
        """Absolute path of the state file."""

    @property
    def seq(self) -> int:
        """The number of the last commit."""

    def token(self) -> str:
        """Returns the present place in the journal as text that knows its database, for ``changes``."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def add_root(
        self,
        name: str,
        dir: Path,
        *,
        ignore: Iterable[str] = (),
        junk: bool = False,
        content_hash: ContentHash = "off",
        compare: Compare = "auto",
    ) -> RootInfo:
        """Adds a directory tree as a root. Nothing is scanned yet.

        Roots may lie inside one another: a path belongs to the most specific of them.

        Args:
            name: First component of every address in it; no ``/``, no control character.
            dir: The directory.
            ignore: Gitignore patterns of what is left out.
            junk: Leaves out names that start with ``.`` or end in ``~``, ``*.tmp``, ``*.temp``, ``.DS_Store`` and
                ``Thumbs.db``, too.
            content_hash: ``changed`` keeps the xxh3-128 of every file that is new or changed.
            compare: What "unchanged" means; ``auto`` chooses by the file system.

        Raises:
            AlreadyExistsError: The name or the directory is taken.
            InvalidArgumentError, NotFoundError, PermissionDeniedError.
        """

    def set_root_options(
        self,
        name: str,
        *,
        ignore: Iterable[str] = (),
        junk: bool = False,
        content_hash: ContentHash = "off",
        compare: Compare = "auto",
    ) -> RootInfo:
        """Replaces ignore rules, content hashes and comparison of a root; the next scan applies them."""

    def remove_root(self, name: str) -> None:
        """Removes a root with everything known about it. The files themselves are not touched."""

    def move_root(self, name: str, dir: Path) -> RootInfo:
        """Says that the tree of a root lies in another directory now. Ids, attributes and history stay."""

    def roots(self) -> list[RootInfo]:
        """Returns all roots in order of their names."""

    @overload
    def scan(
        self,
        target: None = None,
        *,
        targets: Iterable[Path] = (),
        full: bool = False,
        walker: Walker = "auto",
        threads: int = 0,
        accept_missing: bool = False,
        progressive: bool = False,
        progress: Callable[[Progress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Report]: ...
    @overload
    def scan(
        self,
        target: Path,
        *,
        targets: Iterable[Path] = (),
        full: bool = False,
        walker: Walker = "auto",
        threads: int = 0,
        accept_missing: bool = False,
        progressive: bool = False,
        progress: Callable[[Progress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """Scans a root or part of one, ``music`` or ``music/2024``, and applies what it finds as one commit.

        With a target it returns its report; with ``targets``, or with none at all, which means all roots, one
        report for each. A scan that finds nothing new writes not one byte. A root that is unavailable, or a
        result that is held, is said in the report. Ctrl-C cancels it.

        Args:
            target: What to scan.
            targets: Several of them instead.
            full: Reads all content again where the root keeps hashes, and reports silent corruption.
            walker: ``fd`` walks over directory descriptors, ``jwalk`` by path.
            threads: How many; 0 means as ``open`` was told.
            accept_missing: Applies what would otherwise be held.
            progressive: Publishes the first scan of a root in batches as it goes.
            progress: Called about ten times a second, on this thread. An exception cancels the scan and is raised
                here.
            cancel: Stops the scan; its report says ``cancelled`` then.

        Raises:
            InvalidArgumentError: Something is not an address.
            NotFoundError: There is no such root.
        """

    def snapshot(self) -> Snapshot:
        """Takes the current snapshot. Never waits."""

    def changes(self, since: int | str = 0) -> Changes:
        """Iterates over every change after ``since``, oldest first, up to now. 0 means from the beginning.

        Args:
            since: A seq, or the text that ``token`` returned.

        Raises:
            ResetError: The journal does not reach back that far, or the token is of another database: read the
                snapshot and go on from ``restart_seq``.
        """

    def cursor(self, name: str) -> Cursor:
        """Returns the durable cursor of that name. It comes into being with its first advance, and starts at 0."""

    def cursors(self) -> dict[str, int]:
        """Returns the cursors with their places."""

    def follow(self, name: str, *, batch: int = 1000, ack: bool = True) -> Follow:
        """Follows the journal under a durable name: after a restart it goes on where it had come to.

        Args:
            name: Of the cursor.
            batch: About how many changes are delivered at once; a commit is never split.
            ack: Acknowledges each delivery when the next one is asked for. False leaves that to ``Delivery.ack``.
        """

    def wait(self, after: int, timeout: float | None = None) -> int:
        """Waits for a commit after ``after`` and returns the seq then; at the end of ``timeout`` the seq as it is."""

    def attrs(self, address: Path) -> dict[str, bytes]:
        """Returns the attributes of an entry, there or missing. ``NotFoundError`` for an unknown entry."""

    def set_attrs(self, address: Path, attrs: Mapping[str, _Buffer | None]) -> int:
        """Sets attributes of an entry, and removes those given as None. Returns the seq of the commit.

        They follow the entry when it moves, and go when it is forgotten. All of one entry take at most 64 KiB.
        """

    def space(self, name: str) -> Space:
        """Returns a named key-value space."""

    def batch(self) -> Batch:
        """Begins a batch over spaces, attributes and cursors: one commit, all or nothing."""

    def status(self) -> Status:
        """Returns the state of the engine and its roots."""

    def history(self, limit: int = 100) -> History:
        """Returns the newest operations, newest first."""

    def explain(self, address: Path) -> Explanation:
        """Tells all that is known about one address, and why."""

    def verify(
        self,
        root: str | None = None,
        *,
        content: bool = False,
        progress: Callable[[Progress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> VerifyReport:
        """Compares the disk with the state, and changes neither.

        Args:
            root: One root only.
            content: Reads content too, and compares it with the hashes that are kept.
            progress: As for ``scan``.
            cancel: Stops it: ``CancelledError``.
        """

    def check(self) -> None:
        """Reads every row of the state file and checks it. ``CorruptError`` when one is damaged."""

    def compact(self) -> CompactReport:
        """Rewrites the state file without its free space, if that makes it smaller. Needs room for a second copy."""

    def maintain(self) -> int:
        """Applies the retention of tombstones and journal now. Returns how many files were forgotten."""

    def watch(
        self,
        *,
        roots: Mapping[str, RootWatch] | None = None,
        default: RootWatch | None = None,
        backend: WatchBackend = "auto",
        watches_max: int | None = None,
        scan_threads: int = 0,
        nice: int = 0,
        yields: bool = True,
    ) -> None:
        """Watches roots from now on: every change on disk is looked at and committed.

        Returns at once: the first scan runs in the background, and ``sync`` waits for it. Called again with other
        options, it restarts only what differs.

        Args:
            roots: Which roots, and how. Without it all roots, present and future.
            default: How all roots are watched when none is named.
            backend: Where events come from.
            watches_max: How many directories are watched at most; the others are polled.
            scan_threads: Threads of scans that the engine starts itself; 0 means as ``open`` was told.
            nice: Niceness of those threads, 0 to 19.
            yields: Such scans give way while the machine is under pressure.
        """

    def unwatch(self) -> None:
        """Stops watching. The state stays as it is."""

    @property
    def watching(self) -> bool:
        """True between ``watch`` and ``unwatch``."""

    def sync(self, timeout: float = 60.0) -> int:
        """Waits until every change that was made on disk before this call is in ``snapshot``. Returns its seq.

        Raises:
            TimeoutError: It took longer; the engine goes on.
            InvalidArgumentError: Nothing is watched.
            UnavailableError: Watching is paused.
        """

    def pause(self) -> None:
        """Holds everything that the engine does by itself, and returns when no scan is running.

        What changes meanwhile is remembered. Must not be called from the progress function of a scan.
        """

    def resume(self) -> None:
        """Goes on after ``pause``, with what has changed meanwhile."""

    def events(self, *, max_events: int = 1024) -> Events:
        """Subscribes to what happens in the engine, with room for so many events.

        When there is no room left, all that waits gives way to one ``reset``; the engine never waits for anybody.
        """

    def pipeline(
        self,
        name: str,
        **options: Unpack[PipelineOptions],
    ) -> Pipeline:
        """Opens the pipeline of that name: which files a program works on, and what is still to be done.

        Without options an existing one is opened as it was made, and one that there is not is made with the
        defaults. With options it takes those, and the defaults for all others.

        Args:
            name: Its name.
            root: Works on these roots only.
            glob: Works on files whose path below the root matches one of these only.
            group: Which files are one job. None: each by itself. ``parent``: those in one directory. ``stem``:
                those that differ in the last extension only. ``depth:N``: those that share so many components. Or
                a function from the address of a file to the key of its group, an address in the same root; None
                leaves the file out.
            group_name: Under which the function is stored (default: its ``__qualname__``).
            version: Of what is done with a file (default 1). Another one makes everything changed once.
            priority: Class of new files (default ``high``).
            concurrency: How many jobs are handed out at once (default 0: no bound).
            settle: For how long a new or changed file must be still, in seconds (default 1).
            lease: For how long a job is held without being renewed, in seconds (default 300).
            retry_base: Wait after the first failure, in seconds (default 60); twice as long each time.
            retry_cap: Longest wait (default a day).
            max_attempts: Failures of the same content after which it is dead (default 5).
            jitter: Makes each wait longer by a random 0 to 10 percent (default).
            refresh: When a completed item is done anew. None: never. A number: so many seconds later. ``tiers``:
                the default tiers. ``at_completion``: when the completion says. Or tiers of your own, each an age
                below which it counts (None for the last one) and a wait, in seconds.
            refresh_schedule: Hands stale items out in runs only.
            refresh_batch: Of so many items.
            refresh_gap: With so many seconds between batches.
            rate: How many jobs begin in any window: ``(35, 10.0)`` is 35 in any 10 seconds.
            max_crashes: Leases in a row whose process ended after which a job is dead (default 100; 0: never).
            paths_matter: A file that was moved is to be done anew.
        """

    def pipelines(self) -> list[PipelineInfo]:
        """Returns the pipelines by name."""

    def remove_pipeline(self, name: str) -> None:
        """Removes a pipeline with all that it knows of its items. Leases in force are lost."""

    def mirror(
        self,
        name: str,
        address: Path | None = None,
        target: Path | Storage | None = None,
        *,
        cdn: Cloudflare | Purge | None = None,
        **options: Unpack[MirrorOptions],
    ) -> Mirror:
        """Opens the mirror of that name: a root, or part of one, in step with a remote copy. Nothing is sent yet.

        With an address and a target it comes into being, or takes the options up where it had others. Without both it
        is opened as it was made, unless its target is an object: that, credentials and the CDN are not stored, and given
        each time. A mirror that was opened before under this name goes on under the new object, and the old one answers
        ``ClosedError``.

        Args:
            name: Its name.
            address: What it copies: ``ROOT`` or ``ROOT/path``.
            target: Where to: ``s3://BUCKET[/PREFIX]``, ``gs://BUCKET[/PREFIX]``, ``az://ACCOUNT/CONTAINER[/PREFIX]``,
                ``file:///DIR``, ``local+https://HOST/BASE`` for files that are served from where they lie, a directory as a
                ``Path``, or a ``Storage``: an object with the methods ``put`` and ``delete``.
            cdn: What is told of replaced and deleted objects: a ``Cloudflare``, or a function of a list of up to 30 addresses,
                which is called on a thread of the engine. What it raises makes it be called again, and ``PutOff(seconds)``
                says when; ``Permanent`` gives the addresses up.
            endpoint: Sends requests here instead of to the store's own address.
            region: Of an S3 bucket (default ``us-east-1``).
            virtual_hosted: The name of an S3 bucket is part of the host name.
            public_url: What the addresses of the objects begin with; without it there is no URL map.
            opaque_etags: The entity tags of an S3 bucket are no MD5 sums, as with KMS encryption.
            access_key, secret_key, session_token: Keys of S3 and what is compatible with it.
            anonymous: Requests without a signature.
            instance: The credentials of the machine itself, from the metadata service of its cloud.
            azure_key, azure_sas: The key of an Azure storage account, or a shared access signature.
            service_account, gcs_token: The key of a service account of Google Cloud, as JSON text, or a bearer token.
            prefix: What every key begins with, before a slash, where the target does not say it.
            glob: Copies only files whose path below the address matches one of these.
            cache_control: ``Cache-Control`` of every object.
            content_types: Content types by extension, beyond the usual ones.
            uploads: How many files are sent at a time (default 10, 1 to 1,000).
            part_bytes: Files up to this size are sent in one piece, larger ones in such parts (default 8 MiB, 5 MiB to 5 GiB).
            memory_bytes: Bytes of files that are held in memory at a time (default 64 MiB).
            bandwidth: Bytes a second that are sent at most (default: no limit).
            attempts: How often a request is tried in one run (default 5).
            backoff, backoff_max: The wait before the second try, which doubles, and its bound, in seconds (default 0.2 and 20).
            delete_max: Holds the deletions of a run when there are more (default 10,000). 0 holds every one.
            delete_share_percent: Holds them when they are more than this share of all objects, and at least 100 (default 50).
            settle: For how long a file must be still before it is sent, in seconds (default 1).
            purge_new: Purges the addresses of new objects, too.

        Raises:
            InvalidArgumentError: Something makes no sense, or the mirror copies something else or to another place.
            TypeError: The target is none.
            NotFoundError: There is no such root, or no such mirror.
            UnavailableError: The root cannot be trusted.
        """

    def mirrors(self) -> list[MirrorInfo]:
        """Returns the mirrors by name."""

    def mirror_status(self) -> list[MirrorStatus]:
        """Says how the mirrors stand that are open, by name. No request is made."""

    def remove_mirror(self, name: str) -> None:
        """Forgets a mirror and what it knows of its objects, which stay where they are."""

    def metrics(self) -> Metrics:
        """Returns the numbers of the whole engine at this moment. Nothing is scanned or counted for them."""

    def export(
        self,
        path: Path,
        prefix: Path = "",
        *,
        since: int | str | None = None,
        glob: str | None = None,
        missing: bool = False,
        host: str | None = None,
        partitioned: bool = False,
        replace: bool = False,
        **store: Unpack[StoreOptions],
    ) -> ExportReport:
        """Writes what the state knows, or what changed, to Parquet files. It takes its name whole or not at all. Ctrl-C
        ends the wait, and the export goes on by itself; what a store is sent ends with it.

        Args:
            path: The file, whose directory must exist; a directory when partitioned; or the address of a store as a str,
                ``s3://BUCKET[/PREFIX]``, ``gs://``, ``az://`` or ``file:///DIR``, where it is always partitioned.
            prefix: Only what lies at or below this address.
            since: Writes the changes of files and symlinks after this seq, or token, instead of what is there.
            glob: Only paths, relative to the prefix, that match.
            missing: Tombstones instead of what is there.
            host: The name of this machine. A partitioned export needs it.
            partitioned: One file for each root, ``host=HOST/root=ROOT/…``.
            replace: Replaces a Parquet file that is there.
            staging: A directory for the files until a store has them (default: that of the state file).
            endpoint, region, virtual_hosted, opaque_etags, attempts, backoff, backoff_max: How the store is reached, as for
                ``mirror``; and the credentials, under the same names.

        Raises:
            AlreadyExistsError: The file is there.
            ConflictError: A newer part of the same host and root is there.
            ResetError: The journal does not reach back to ``since``.
            InvalidArgumentError, NotFoundError, StorageFullError, PermissionDeniedError, ReadOnlyError, IoError.
        """

@final
class Entry:
    """What was observed for one path. Immutable, comparable, hashable; it can be pickled."""

    @property
    def path(self) -> str:
        """Its address, ``ROOT/relative/path``."""

    @property
    def path_bytes(self) -> bytes:
        """Its address, exact."""

    @property
    def name(self) -> str:
        """The last component of its address."""

    @property
    def root(self) -> str:
        """Name of its root."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def mtime_ns(self) -> int:
        """Modification time, exact."""

    @property
    def mtime(self) -> datetime:
        """Modification time, aware, in microseconds."""

    @property
    def ctime_ns(self) -> int:
        """Time of the last change of the inode, exact."""

    @property
    def ctime(self) -> datetime:
        """Time of the last change of the inode."""

    @property
    def btime_ns(self) -> int | None:
        """Time of birth where the file system keeps it, exact."""

    @property
    def btime(self) -> datetime | None:
        """Time of birth where the file system keeps it."""

    @property
    def inode(self) -> int:
        """Inode number."""

    @property
    def mode(self) -> int:
        """Type and permission bits, as in ``os.stat_result.st_mode``."""

    @property
    def hash(self) -> str | None:
        """xxh3-128 of the content as 32 hex digits, where the root keeps hashes."""

    @property
    def target(self) -> str | None:
        """Target of a symlink."""

    @property
    def target_bytes(self) -> bytes | None:
        """Target of a symlink, exact."""

    @property
    def id(self) -> int:
        """The stable number of the file: it survives moves and restarts."""

    @property
    def seq(self) -> int:
        """The commit that changed this entry last."""

    @property
    def missing_since_ns(self) -> int | None:
        """When it went missing, exact; None while it is there."""

    @property
    def missing_since(self) -> datetime | None:
        """When it went missing; None while it is there."""

    @property
    def is_file(self) -> bool:
        """True for a regular file."""

    @property
    def is_dir(self) -> bool:
        """True for a directory."""

    @property
    def is_symlink(self) -> bool:
        """True for a symlink."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def _repr_html_(self) -> str: ...

@final
class Change:
    """One row of the journal. Immutable, comparable, hashable; it can be pickled.

    The changes of one seq happened at once. They come in an order in which they can be applied one by one,
    except where entries swapped names: a consumer that keeps paths applies every ``from_path``, ``missing`` and
    ``forgotten`` of a seq before the rest, or goes by id.
    """

    @property
    def kind(self) -> ChangeKind:
        """What happened."""

    @property
    def entry_kind(self) -> Kind:
        """What it happened to."""

    @property
    def root(self) -> str:
        """Name of the root at that time."""

    @property
    def path(self) -> str:
        """Its address."""

    @property
    def path_bytes(self) -> bytes:
        """Its address, exact."""

    @property
    def from_path(self) -> str | None:
        """Of ``moved``, the address before."""

    @property
    def from_bytes(self) -> bytes | None:
        """Of ``moved``, the address before, exact."""

    @property
    def seq(self) -> int:
        """The commit."""

    @property
    def id(self) -> int:
        """The stable number of the entry."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def _repr_html_(self) -> str: ...

@final
class Snapshot:
    """An immutable view of every root at one seq.

    It stays exactly as it is however long it is held, and outlives the warden. Reading it needs no lock and no
    system call. ``len`` counts files and symlinks, iterating goes over them in path order, and
    ``snapshot[address]`` finds any entry, directories too.

    It is a table, too: ``polars.DataFrame(snapshot)``, ``pyarrow.table(snapshot)``.
    """

    @property
    def seq(self) -> int:
        """The commit that this is the state of."""

    @property
    def roots(self) -> list[str]:
        """The names of the roots in order."""

    def __len__(self) -> int: ...
    def __contains__(self, address: object, /) -> bool: ...
    def __getitem__(self, address: Path, /) -> Entry: ...
    def __iter__(self) -> Entries: ...
    @overload
    def get(self, address: Path, default: None = None) -> Entry | None: ...
    @overload
    def get(self, address: Path, default: _T) -> Entry | _T:
        """Finds an entry by its address, or returns ``default``."""

    def missing(self, address: Path) -> Entry | None:
        """Finds the tombstone of an entry that is missing."""

    def files(
        self,
        prefix: Path = "",
        *,
        glob: str | None = None,
        kind: Kind | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        modified_since: _Time | None = None,
        modified_until: _Time | None = None,
        dirs: bool = False,
        missing: bool = False,
    ) -> Entries:
        """Iterates over the files and symlinks below ``prefix`` in path order; all conditions must hold.

        Args:
            prefix: Only what lies at or below this address; ``""`` means all roots.
            glob: Only paths, relative to the prefix, that match: ``*`` stays within a component, ``**`` does not.
            kind: Only entries of this kind.
            min_size: Only entries of at least so many bytes.
            max_size: Only entries of at most so many bytes.
            modified_since: Only entries modified then or later: an aware ``datetime``, or nanoseconds.
            modified_until: Only entries modified then or earlier.
            dirs: Directories too.
            missing: Tombstones instead of what is there.
        """

    def children(self, dir: Path) -> Entries:
        """Iterates over the direct children of a directory, directories included. ``""`` lists the roots."""

    def du(self, prefix: Path = "") -> Totals:
        """Returns the totals of a directory, at any depth in the time of one lookup; ``""`` means all roots.

        ``NotFoundError`` when nothing is there.
        """

    def diff(self, older: Snapshot) -> ChangeList:
        """Lists what leads from ``older`` to this snapshot, in path order. Costs what differs."""

    def to_parquet(
        self,
        path: Path,
        prefix: Path = "",
        *,
        glob: str | None = None,
        missing: bool = False,
        host: str | None = None,
        partitioned: bool = False,
        replace: bool = False,
    ) -> ExportReport:
        """Writes the files and symlinks to Parquet files, as ``Warden.export`` does for the snapshot of that moment."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def _repr_html_(self) -> str: ...

@final
class Entries:
    """An iterator over entries, in path order. It keeps its snapshot.

    As a table it gives all entries of the same filter, from the start.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> Entry: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class ChangeList:
    """Changes in a list, with indices and slices. It is a table, too: ``polars.DataFrame(changes)``."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Change: ...
    @overload
    def __getitem__(self, index: slice, /) -> _List[Change]: ...
    def __iter__(self) -> Iterator[Change]: ...
    def __reversed__(self) -> Iterator[Change]: ...
    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Returns the place of the first one that equals ``value``. ``ValueError`` where there is none."""

    def count(self, value: object) -> int:
        """Returns how many equal ``value``."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def _repr_html_(self) -> str: ...

@final
class Changes:
    """An iterator over changes, oldest first, up to the commit that was the last when it was asked for.

    It reads a consistent view: nothing that happens meanwhile disturbs it. As a table it gives what is left, and
    has come to its end then.
    """

    @property
    def last_seq(self) -> int:
        """The commit up to which this goes: where to continue when it has ended."""

    def files_only(self) -> Self:
        """Leaves out directories, and returns itself."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Change: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Cursor:
    """A named place in the journal that survives restarts.

    What has been read counts as read only when it is acknowledged: a consumer that is killed in between reads it
    again.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def position(self) -> int:
        """The seq up to which changes have been acknowledged."""

    def read(self, max_changes: int = 1000) -> Delivery:
        """Reads the changes after the cursor: whole commits, until there are at least so many. Never waits.

        Raises:
            ResetError: The journal no longer reaches back to the cursor: read the snapshot, then ``advance`` it to
                ``restart_seq``.
        """

    def advance(self, seq: int) -> int:
        """Moves the cursor forward without reading. ``ConflictError`` when it is further already."""

@final
class Delivery:
    """What a cursor has read and not yet acknowledged; one that never is comes again.

    A list of changes, oldest first, with indices and slices; it is a table, too: ``polars.DataFrame(delivery)``. A
    context manager: it acknowledges at the end, but not after an exception.
    """

    @property
    def upto(self) -> int:
        """The commit up to which this goes: what to advance the cursor to, here or in a batch."""

    def ack(self) -> int:
        """Acknowledges: advances the cursor durably. Returns the seq of that commit, or, where there was nothing new,
        the place of the cursor. Again it does nothing.

        Raises:
            ConflictError: Another consumer of the same name was faster.
        """

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Change: ...
    @overload
    def __getitem__(self, index: slice, /) -> _List[Change]: ...
    def __iter__(self) -> Iterator[Change]: ...
    def __reversed__(self) -> Iterator[Change]: ...
    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Returns the place of the first change that equals ``value``. ``ValueError`` where there is none."""

    def count(self, value: object) -> int:
        """Returns how many changes equal ``value``."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Follow:
    """Follows the journal: an iterator over deliveries that waits until there is something new.

    It goes on where the last acknowledged delivery of its name ended, after a restart too. Each delivery is
    acknowledged when the next one is asked for, unless ``Warden.follow`` was told ``ack=False``: one that was still
    being worked on when the loop was left comes again.

    It never ends by itself: ``interrupt`` ends an iteration, and closing the warden ends it with ``ClosedError``. A
    context manager: it closes itself at the end, and acknowledges nothing then.

    Raises:
        ResetError: The journal no longer reaches back to the cursor: read the snapshot, then
            ``follow.cursor.advance(error.restart_seq)``, and go on.
    """

    @property
    def cursor(self) -> Cursor:
        """Its cursor, to advance it after a ``ResetError``."""

    @property
    def position(self) -> int:
        """The seq up to which changes have been acknowledged."""

    def next(self, timeout: float | None = None) -> Delivery | None:
        """Reads what is new, and waits for it if need be. None at the timeout and after ``interrupt``."""

    def interrupt(self) -> None:
        """Makes one waiting call return without a result; if none waits, the next call that has to wait."""

    def fileno(self) -> int:
        """Returns a descriptor that becomes readable with each commit, and when the warden has been closed.

        For ``select`` and event loops; not to be read from. When it is readable call ``next(0)`` until that
        returns None. It lives until this is closed.
        """

    def close(self) -> None:
        """Ends the following. Whoever waits gets ``ClosedError``; nothing is acknowledged.

        Closing twice does nothing.
        """

    def __iter__(self) -> Self: ...
    def __next__(self) -> Delivery: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Space:
    """A named key-value space in the state file.

    Keys are 1 byte to 4 KiB, ``str`` (as UTF-8) or ``bytes``; they come back as ``bytes``, in byte order. Values
    are bytes, up to 16 MiB. Reading sees the last commit and never waits for the writer.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @overload
    def get(self, key: _Key, default: None = None) -> bytes | None: ...
    @overload
    def get(self, key: _Key, default: _T) -> bytes | _T:
        """Returns the value under a key, or ``default``."""

    def put(self, key: _Key, value: _Buffer) -> int:
        """Puts a value; durable on return. Returns the seq of its commit."""

    def delete(self, key: _Key) -> bool:
        """Deletes a key. Returns whether it was there; a key that is not there costs no commit."""

    def compare_and_set(self, key: _Key, expected: _Buffer | None, value: _Buffer | None) -> bool:
        """Puts ``value`` if the key holds ``expected``; None stands for no value. Returns whether it did."""

    def items(
        self, prefix: _Key = "", *, after: _Key | None = None, limit: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        """Returns keys that start with ``prefix`` and come after ``after``, with their values, in byte order."""

    def keys(self, prefix: _Key = "") -> list[bytes]:
        """Returns the keys that start with ``prefix``, in byte order."""

    def update(self, values: Mapping[str, _Buffer] | Mapping[bytes, _Buffer]) -> int:
        """Puts all of these in one commit. Returns its seq."""

    def __getitem__(self, key: _Key, /) -> bytes: ...
    def __setitem__(self, key: _Key, value: _Buffer, /) -> None: ...
    def __delitem__(self, key: _Key, /) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...

@final
class Batch:
    """Steps over spaces, attributes and cursors that happen together: one commit, all or nothing.

    A context manager: it commits at the end, and drops everything after an exception. Nothing happens before.
    """

    def put(self, space: str, key: _Key, value: _Buffer) -> None:
        """Puts a value into a space."""

    def delete(self, space: str, key: _Key) -> None:
        """Deletes a key from a space."""

    def compare_and_set(self, space: str, key: _Key, expected: _Buffer | None, value: _Buffer | None) -> None:
        """Puts a value if the key holds ``expected``; else the whole batch is refused with ``ConflictError``."""

    def set_attrs(self, address: Path, attrs: Mapping[str, _Buffer | None]) -> None:
        """Sets attributes of an entry, and removes those given as None."""

    def remove_attr(self, address: Path, name: str) -> None:
        """Removes an attribute of an entry."""

    def advance(self, cursor: str, seq: int) -> None:
        """Advances a named cursor, never backwards."""

    def commit(self) -> int:
        """Commits all steps at once; durable on return. Returns the seq of the commit.

        On an error nothing of the batch has happened.
        """

    @property
    def seq(self) -> int | None:
        """The seq of the commit; None before it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class History:
    """Operations, newest first, with indices and slices. It is a table, too."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Operation: ...
    @overload
    def __getitem__(self, index: slice, /) -> _List[Operation]: ...
    def __iter__(self) -> Iterator[Operation]: ...
    def __reversed__(self) -> Iterator[Operation]: ...
    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Returns the place of the first one that equals ``value``. ``ValueError`` where there is none."""

    def count(self, value: object) -> int:
        """Returns how many equal ``value``."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def _repr_html_(self) -> str: ...

@final
class Events:
    """An iterator over what happens in the engine, which waits for it.

    It holds a bounded number of events. The journal is the record; events only say that it is worth a look.
    """

    def next(self, timeout: float | None = None) -> Event | None:
        """Takes the next event, and waits for it if need be. None at the timeout and after ``interrupt``."""

    def interrupt(self) -> None:
        """Makes one waiting call return without a result; if none waits, the next call."""

    def fileno(self) -> int:
        """Returns a descriptor that is readable while there is an event, and when the warden has been closed.

        For ``select`` and event loops; not to be read from. Wake-ups coalesce: call ``next(0)`` until that returns
        None. It lives until this is closed.
        """

    def close(self) -> None:
        """Ends the subscription. Whoever waits gets ``ClosedError``. Closing twice does nothing."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Pipeline:
    """A named consumer of work: which files it works on, and what is still to be done about each of them.

    What changes something is durable on return; what many threads ask for at once shares commits.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def limiter(self) -> RateLimiter | None:
        """Its limiter, if it has a rate."""

    def claim(self, n: int = 1, *, timeout: float | None = 0.0) -> JobList:
        """Takes up to ``n`` jobs that are due (at most 10,000), best first.

        Args:
            n: How many at most.
            timeout: How long to wait for the first, in seconds; 0, the default, does not wait, None waits without
                end. Empty at the timeout and after ``interrupt``.
        """

    @staticmethod
    def claim_from(pipelines: Iterable[Pipeline], n: int) -> JobList:
        """Takes up to ``n`` jobs that are due in several pipelines: all of the one whose best job is in the best class,
        of the next one when that has no more. ``Job.pipeline`` tells which is whose. Does not wait.

        Args:
            pipelines: The pipelines; with the same class they are served in this order.
            n: How many at most.
        """

    def jobs(self, *, batch: int = 1, idle: float | None = None) -> _Jobs:
        """Iterates over the jobs as they become due, and waits for them: ``for job in pipeline.jobs(): with job: …``.

        ``interrupt`` ends the iteration, and so does Ctrl-C. What it returns is a context manager, too, and has
        ``close``.

        Args:
            batch: How many are claimed at once. Those not reached when the iterator ends are given back.
            idle: Ends after so many seconds without work; None, the default, never.
        """

    def complete_many(self, jobs: Iterable[Job]) -> _List[Error | None]:
        """Completes several jobs in one commit. One answer for each: None, or the error, such as a lease that was lost;
        that of one does not keep the others from being recorded.

        Raises:
            TooLargeError: The attributes of a job take more than 64 KiB. All jobs stay in hand.
            InvalidArgumentError: A job is one of another pipeline. All jobs stay in hand.
        """

    def request(self, address: Path = "", priority: Priority = "critical") -> RequestReport:
        """Asks for a file, or everything below a directory, to be done now whatever its state."""

    def retry(self, address: Path = "") -> int:
        """Makes items in error at or below an address due at once, the dead ones too. Returns how many."""

    def list(self, address: Path = "", *, state: WorkState | None = None, limit: int = 1000) -> ItemList:
        """Lists items at or below an address, by address; of one state where one is given."""

    def status(self) -> PipelineStatus:
        """Says how the pipeline stands."""

    def explain(self, address: Path) -> WorkExplanation:
        """Tells all that is known of one item: a file, or a group by its key or one of its files."""

    def interrupt(self) -> None:
        """Wakes every call that waits for work, in all threads; they return without any."""

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Waits until nothing is left to be done; items in error do not count. False at the timeout."""

    def work(self, function: Callable[[Job], object], *, threads: int = 4) -> Workers:
        """Starts threads that call ``function`` with each job as it becomes due, until ``Workers.stop``.

        A return completes the job, an exception fails it with backoff; ``treewarden.Permanent`` fails it for good,
        ``treewarden.PutOff`` puts it off. Leases are renewed while it runs.
        """

# What `Pipeline.jobs` returns; its class has no name that could be imported.
class _Jobs(Iterator[Job]):
    def close(self) -> None:
        """Gives back what was claimed and not handed out, and ends the iteration. Closing twice does nothing."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Job: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class JobList:
    """Jobs in a list, with indices and slices. It is a table, too."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Job: ...
    @overload
    def __getitem__(self, index: slice, /) -> _List[Job]: ...
    def __iter__(self) -> Iterator[Job]: ...
    def __reversed__(self) -> Iterator[Job]: ...
    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Returns the place of a job. ``ValueError`` where it is not in the list."""

    def count(self, value: object) -> int:
        """Returns how often a job is in the list."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def _repr_html_(self) -> str: ...

@final
class ItemList:
    """Items of a pipeline in a list, with indices and slices. It is a table, too."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> WorkItem: ...
    @overload
    def __getitem__(self, index: slice, /) -> _List[WorkItem]: ...
    def __iter__(self) -> Iterator[WorkItem]: ...
    def __reversed__(self) -> Iterator[WorkItem]: ...
    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Returns the place of the first item that equals ``value``. ``ValueError`` where there is none."""

    def count(self, value: object) -> int:
        """Returns how many items equal ``value``."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def _repr_html_(self) -> str: ...

@final
class Job:
    """One unit of work that was handed out, under a lease.

    It ends with ``complete``, ``fail``, ``snooze`` or ``release``, each of which answers ``LeaseLostError`` when the
    lease has run out and the job was handed out again. One that is dropped without any of them is handed out again
    when its lease has run out.

    A context manager: success completes it. An exception fails it with backoff, is logged to the logger
    ``treewarden`` and goes no further; ``treewarden.Permanent`` fails it for good, ``treewarden.PutOff`` puts it off.
    What is no ``Exception``, such as a ``KeyboardInterrupt``, gives it back and goes on. A job that was ended inside of
    the block stays as it is.
    """

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""

    @property
    def path(self) -> str:
        """The address of the file, or the key of the group."""

    @property
    def path_bytes(self) -> bytes:
        """The address of the file, or the key of the group, exact."""

    @property
    def fs_path(self) -> str:
        """Where the file lies on this disk; empty when its root was removed."""

    @property
    def fs_path_bytes(self) -> bytes:
        """Where the file lies on this disk, exact."""

    @property
    def done_path(self) -> str | None:
        """The address under which it was completed last: a file may have moved since.

        None when it was never completed, and when another file of this pipeline lies there by now.
        """

    @property
    def done_path_bytes(self) -> bytes | None:
        """The address under which it was completed last, exact."""

    @property
    def state(self) -> WorkState:
        """Why it was handed out."""

    @property
    def priority(self) -> Priority:
        """The class in which it waited."""

    @property
    def attempt(self) -> int:
        """How many times this content has been tried, this time included."""

    @property
    def token(self) -> int:
        """The fencing token: no two leases have the same."""

    @property
    def expires_ns(self) -> int:
        """When the lease runs out, exact."""

    @property
    def expires(self) -> datetime:
        """When the lease runs out."""

    @property
    def is_gone(self) -> bool:
        """True for an item that is gone: what was made of it is to be cleaned up."""

    @property
    def files(self) -> list[str]:
        """The addresses of the files of a group; of a single file its own, or nothing when it is missing."""

    @property
    def attrs(self) -> JobAttrs:
        """What was stored with the last completion, and will be stored with this one."""

    @property
    def ended(self) -> bool:
        """True after it was completed, failed, put off or given back, and after an error while it was."""

    @property
    def limiter(self) -> RateLimiter | None:
        """The limiter of the pipeline, if it has a rate: for what the job sends beyond its first request."""

    def complete(self, *, refresh_at: _Time | None = None, reference: _Time | None = None) -> None:
        """Ends the job as done; durable on return.

        Args:
            refresh_at: When it is to be done anew, whatever the pipeline says: an aware ``datetime``, or nanoseconds.
            reference: The date whose age decides between tiers (default: the modification time of the file).
        """

    def fail(self, error: str | BaseException, *, permanent: bool = False, retry_after: float | None = None) -> None:
        """Ends the job as failed.

        Args:
            error: What went wrong. The text is kept up to 1,000 bytes.
            permanent: It will not go well with this content: dead until the file changes or somebody asks for it.
            retry_after: Seconds before the next try, instead of the backoff.
        """

    def snooze(self, seconds: float) -> None:
        """Puts the job off; no attempt."""

    def release(self) -> None:
        """Gives the job back: it is handed out again at once; no attempt."""

    def renew(self) -> None:
        """Renews the lease for as long as the pipeline gives them, from now."""

    def throttled(self, retry_after: float | None = None) -> None:
        """Says that the request for this job was refused because there were too many. Put the job off then."""

    def answered(self) -> None:
        """Says that the request for this job has been answered. Without it that is assumed when it ends."""

    def sends_nothing(self) -> None:
        """Says that nothing is sent for this job: it takes nobody's turn."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool: ...

@final
class JobAttrs(MutableMapping[str, bytes]):
    """The attributes of a job, names and bytes: a mutable mapping. Strings are taken as UTF-8.

    They are what the last completion stored, and what the next one will store: at most 64 KiB, names and values. They
    follow the file when it moves. When the job has ended they can only be read.
    """

    def __len__(self) -> int: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> bytes: ...
    def __setitem__(self, name: str, value: _Buffer | str, /) -> None: ...
    def __delitem__(self, name: str, /) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    @overload
    def get(self, name: str, /, default: None = None) -> bytes | None: ...
    @overload
    def get(self, name: str, /, default: _T) -> bytes | _T:
        """Returns the value of a name, or ``default``."""

    def keys(self) -> KeysView[str]:
        """Returns a view of the names."""

    def values(self) -> ValuesView[bytes]:
        """Returns a view of the values."""

    def items(self) -> ItemsView[str, bytes]:
        """Returns a view of names and values."""

    @overload
    def pop(self, name: str, /) -> bytes: ...
    @overload
    def pop(self, name: str, /, default: _T) -> bytes | _T:
        """Removes a name and returns its value; where there is none, ``default``, or ``KeyError`` without that."""

    def popitem(self) -> tuple[str, bytes]:
        """Removes the last name and returns it with its value. ``KeyError`` where there is none."""

    # Unlike that of a dictionary it needs a default: None is no value.
    def setdefault(self, name: str, default: _Buffer | str, /) -> bytes:
        """Returns the value of a name, and sets it to ``default`` first where there is none."""

    # Of all that may be given to a dictionary.
    def update(  # type: ignore[override]
        self,
        other: Mapping[str, _Buffer | str] | Iterable[tuple[str, _Buffer | str]] | None = None,
        /,
        **names: _Buffer | str,
    ) -> None:
        """Sets what another mapping, or an iterable of pairs, says, and what the keywords say: all of it or nothing."""

    def clear(self) -> None:
        """Removes all."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class RateLimit:
    """How fast: at most ``limit`` requests in any ``window`` of seconds. Immutable, comparable, hashable; it can be
    pickled.

    Args:
        limit: 1 to 1,000,000.
        window: In seconds, from a millisecond to 30 days.
        pacing: Requests are spread evenly over the window. False grants up to ``limit`` at once, and then none for a
            window.
        floor: How far throttling may lower the limit, as a share of it: 0.01 to 1.0.
    """

    def __new__(cls, limit: int, window: float, *, pacing: bool = True, floor: float = 0.2) -> Self: ...
    @property
    def limit(self) -> int:
        """Requests in a window."""

    @property
    def window(self) -> float:
        """The window in seconds."""

    @property
    def pacing(self) -> bool:
        """Whether requests are spread evenly over the window."""

    @property
    def floor(self) -> float:
        """How far throttling may lower the limit, as a share of it."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[int, float], dict[str, object]]: ...

@final
class RateLimiter:
    """Grants at most so many requests in any rolling window, to any number of threads.

    It begins with an empty window: what an earlier process has sent it does not know. The limiter of a pipeline does.

    Args:
        rate: How fast: a ``RateLimit``, or a tuple of requests and seconds, as ``(35, 10.0)``.
        clock: A clock that a test moves; timeouts, too, go by it then.
    """

    def __new__(cls, rate: RateLimit | tuple[int, float], *, clock: Clock | None = None) -> Self: ...
    def acquire(self, cost: int = 1, timeout: float | None = None) -> Permit | None:
        """Waits until a request may be sent, and returns the permit for it.

        None at the timeout and after ``interrupt``. Calls are served in their order: a small cost never overtakes a
        large one. Ctrl-C ends the wait.

        Args:
            cost: How much of the limit it takes.
            timeout: How long to wait, in seconds; 0 does not wait, None, the default, waits without end.

        Raises:
            InvalidArgumentError: The cost is 0 or above the limit.
            ClosedError: The limiter was closed, or the warden whose pipeline it belongs to.
        """

    def try_acquire(self, cost: int = 1) -> Permit | None:
        """Grants a request if it may be sent now. Never waits and never overtakes those who wait."""

    def throttled(self, retry_after: float | None = None) -> None:
        """Takes in that the server has refused a request because there were too many: HTTP 429.

        Nobody is granted anything for so many seconds (default one window), and the limit falls to four fifths.
        """

    def succeeded(self) -> None:
        """Takes in that a request has gone well."""

    def interrupt(self) -> None:
        """Makes every waiting call return without a permit; if none waits, the next one that would have to."""

    def close(self) -> None:
        """Ends the limiter: calls that wait, and later ones, get ``ClosedError``."""

    def status(self) -> LimiterStatus:
        """Returns how things stand."""

@final
class Permit:
    """The right to send one request. Hold it until the answer has come, or until it is certain that none will.

    A context manager: it is done at the end. So it is when it is dropped. Ending it twice does nothing.
    """

    @property
    def cost(self) -> int:
        """What it was asked for with."""

    def done(self) -> None:
        """Says that the answer has come. The request counts for one more window from now."""

    def sent_at_once(self) -> None:
        """Says that the request was sent at once, by a caller that does not wait for answers. It counts for one window
        from its grant."""

    def unused(self) -> None:
        """Says that nothing was sent and nothing will be: it never counted."""

    def throttled(self, retry_after: float | None = None) -> None:
        """Says that the answer was a refusal because there were too many requests."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Mirror:
    """A root, or part of one, in step with a remote copy.

    Made by ``Warden.mirror``. What the storage has acknowledged is kept in the state file: where nothing changed, a run
    makes no request, and after a crash it goes on where it stopped. All methods may be called from any thread; runs of
    one mirror take turns.
    """

    @property
    def name(self) -> str:
        """Its name."""

    def sync(
        self,
        *,
        progress: Callable[[MirrorProgress], object] | None = None,
        accept_deletes: bool = False,
        cancel: CancelToken | None = None,
    ) -> MirrorReport:
        """Brings the remote copy in step with the current snapshot: uploads and copies first, then deletions, then purges.

        A file that fails is in the report, and the run goes on. Very many deletions at once wait for
        ``accept_deletes``, and all of them while the root is held. Ctrl-C cancels it; what was acknowledged stays so.

        Args:
            progress: Called about ten times a second, on this thread. An exception cancels the run and is raised here.
            accept_deletes: Deletes however many objects there are to delete.
            cancel: Stops the run: ``CancelledError``.

        Raises:
            UnavailableError: The root cannot be trusted.
            PermissionDeniedError: The credentials are wrong, have expired, or do not allow it.
            NotFoundError: The root, the bucket or the account is not there.
        """

    def plan(self) -> MirrorPlan:
        """Tells what the next run would do, with exact counts and bytes. No request is made; a run under way is waited
        for."""

    def audit(
        self, *, repair: bool = False, delete_unknown: bool = False, cancel: CancelToken | None = None
    ) -> AuditReport:
        """Lists the storage and compares it with what it has acknowledged.

        Args:
            repair: What is lost or different is sent again with the next run.
            delete_unknown: Objects below the prefix that this mirror knows nothing of are deleted with the next run, as
                far as its limits for deletions allow.
            cancel: Stops the audit: ``CancelledError``. Nothing is mended then.

        Raises:
            UnsupportedError: The storage cannot be listed.
            PermissionDeniedError, NotFoundError, IoError: The storage does not answer as it should.
        """

    @property
    def urls(self) -> UrlMap:
        """The addresses of its objects as they are now."""

    def status(self) -> MirrorStatus:
        """Says how it stands. No request is made."""

    def follow(self) -> Following:
        """Follows the root: threads of the engine run it after each commit, and purge meanwhile. Failures are told by
        ``status`` and tried again with growing waits.

        It ends with ``stop`` of what is returned, when that is forgotten, with the warden, and with the program: keep
        it, or ``with mirror.follow():``.

        Raises:
            BusyError: It follows already.
        """

@final
class Following:
    """A mirror that follows its root. Made by ``Mirror.follow``.

    A context manager: it stops at the end. It stops when it is forgotten, too, and when the program ends.
    """

    def stop(self) -> None:
        """Stops, and waits until what is under way has ended: within a part of a file. Stopping twice does nothing. Not
        to be called from the function of a CDN."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class UrlMap:
    """The addresses of a mirror at one moment: a mapping from files, ``ROOT/path``, to URLs.

    Only objects that the storage has acknowledged are in it. It is immutable, and outlives the warden. Empty where the
    target has no public URL.
    """

    def url(self, path: Path) -> str | None:
        """Returns the URL of the object of a file; None while there is no acknowledged object."""

    def path(self, url: str) -> str | None:
        """Returns the file, ``ROOT/path``, whose object has this URL, or None."""

    def path_bytes(self, url: str) -> bytes | None:
        """Returns the file whose object has this URL, exact, or None."""

    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __contains__(self, path: Path, /) -> bool: ...
    def __getitem__(self, path: Path, /) -> str: ...
    @overload
    def get(self, path: Path, default: None = None) -> str | None: ...
    @overload
    def get(self, path: Path, default: _T) -> str | _T:
        """Returns the URL of the object of a file, or ``default``."""

    def __iter__(self) -> Iterator[str]: ...
    def keys(self) -> list[str]:
        """Returns the files, in the order of the keys of their objects."""

    def values(self) -> list[str]:
        """Returns the URLs, in the same order."""

    def items(self) -> list[tuple[str, str]]:
        """Returns each file with its URL, in the same order."""

    def diff(self, older: UrlMap) -> list[UrlChange]:
        """Lists what came, changed and went since an older map of the same mirror. Costs what differs."""

@final
class Cloudflare:
    """Cloudflare as the CDN of a mirror. Nothing shows the token, and nothing stores it.

    Args:
        zone_id: The id that the overview of the zone shows, not the name of the domain.
        api_token: An API token that may purge the cache of this zone.
        endpoint: Where the API is, for a gateway in front of it.
        batch_max: Addresses of one request at most: 1 to 500. What every plan takes is 30.
        timeout: How long one request may take, in seconds.
        rate: How many requests go out: a ``RateLimit`` or a tuple of requests and seconds (default 10 a second).
    """

    def __new__(
        cls,
        zone_id: str,
        api_token: str,
        *,
        endpoint: str | None = None,
        batch_max: int = 30,
        timeout: float = 30.0,
        rate: RateLimit | tuple[int, float] | None = None,
    ) -> Self: ...
    @property
    def zone_id(self) -> str:
        """The id of the zone."""

@final
class Upload:
    """A file on its way to a storage of the program's own: what ``put`` is called with. It is read like a binary file,
    from its beginning to its end, by any thread, for as long as ``put`` runs.

    Reading waits for memory and bandwidth as the mirror has them. The read that comes to the last byte makes sure that
    the file is still the one that was announced: before that nothing must count as stored.
    """

    @property
    def key(self) -> str:
        """Where to: the key of the object."""

    @property
    def size(self) -> int:
        """How large the file is, in bytes."""

    @property
    def content_type(self) -> str:
        """Its ``Content-Type``."""

    @property
    def cache_control(self) -> str | None:
        """Its ``Cache-Control``, where the mirror has one."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads on, as the ``read`` of a file does: ``size`` bytes, or as many as there are; all of them when it is
        negative or None. Nothing at the end.

        Let what it raises through: the file is not acknowledged in any case.

        Raises:
            ConflictError: The file changed while it was read. It is sent again later.
            IoError: The file cannot be read.
            CancelledError: The run was cancelled.
            ValueError: The call of ``put`` has ended.
        """

    def readable(self) -> bool:
        """True: it is there to be read."""

    def tell(self) -> int:
        """How many bytes have been read."""

    def __len__(self) -> int: ...

@final
class Fleet:
    """What several machines share through one Redis, version 7 or later.

    It fails closed: without Redis there is no permit, no leader and no change, and errors are ``UnavailableError``.
    Connections that break are made anew. It does not survive a ``fork``: connect after it.

    Args:
        url: ``redis://[user:password@]host[:port][/database]`` or ``unix:///path/to/socket``. User and password are
            never shown.
        prefix: What all keys begin with. Fleets with different prefixes know nothing of each other.
        connect_timeout: How long making a connection may take, in seconds.
        command_timeout: How long an answer may take, in seconds.
        later: Connects when it is needed first, for programs that may start before Redis does.

    Raises:
        UnavailableError: Redis cannot be reached or does not serve.
        PermissionDeniedError: It refuses the user.
        UnsupportedError: ``rediss://``, a Redis before 7, one of a cluster, one that evicts keys.
    """

    def __new__(
        cls,
        url: str,
        *,
        prefix: str = "treewarden",
        connect_timeout: float = 2.0,
        command_timeout: float = 2.0,
        later: bool = False,
    ) -> Self: ...
    def ping(self) -> None:
        """Asks Redis for a sign of life."""

    def limiter(self, name: str, rate: RateLimit | tuple[int, float], *, hold_max: float = 60.0) -> SharedLimiter:
        """Returns the limiter of that name: at most ``rate`` over all machines that ask for it. Does not ask Redis yet.

        After a restart of Redis, when its data was lost, and on a new one, nothing is granted for a window and
        ``hold_max``.

        Args:
            name: Its name.
            rate: How fast. The floor is not used.
            hold_max: The longest time between the grant of a permit and the end of its request, in seconds. All
                machines must give the same.
        """

    def lease(self, name: str, ttl: float) -> Lease:
        """Returns the lease of that name, of which there is one holder at most. Does not ask Redis yet.

        Args:
            name: Its name.
            ttl: After how many seconds a leader loses it that does not renew it: 0.1 s to a day. All machines must give
                the same.
        """

    def publisher(
        self,
        stream: str,
        warden: Warden,
        root: str | None = None,
        *,
        entries_max: int | None = None,
        leader: Leader | None = None,
    ) -> Publisher:
        """Returns what appends the journal of a warden to a stream. Its place is the cursor ``fleet.STREAM`` of the
        warden. Does not ask Redis yet.

        Args:
            stream: The name of the stream.
            warden: Whose journal.
            root: Of this root alone.
            entries_max: How many entries the stream keeps at least (default 100,000).
            leader: Publishes with its token, so that the stream refuses those who led before.
        """

    def consumer(self, stream: str, group: str, name: str, *, takeover_after: float = 300.0) -> Consumer:
        """Returns a reader of a stream. The consumers of one group divide the changes among themselves; every group gets
        all of them. Does not ask Redis yet.

        Args:
            stream: The name of the stream.
            group: The name of the group.
            name: Tells the consumers of a group apart, over all machines.
            takeover_after: After how many seconds what lies unacknowledged with another consumer is taken over. Longer
                than the longest work.
        """

@final
class SharedLimiter:
    """Grants at most so many requests in any rolling window, over all machines that ask for the same name.

    Made by ``Fleet.limiter``. Any number of threads may use it at once, in no particular order. Without Redis nothing is
    granted.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def rate(self) -> RateLimit:
        """The rate that was asked for."""

    def acquire(self, timeout: float | None = None) -> SharedPermit | None:
        """Waits until a request may be sent, and returns the permit for it.

        None at the timeout and after ``interrupt``; ``waiting`` says why. Redis is waited for as well.

        Raises:
            InvalidArgumentError: Other machines use the name with another rate or ``hold_max``.
        """

    def try_acquire(self) -> SharedPermit | None:
        """Grants a request if it may be sent now. Asks once. ``UnavailableError`` when Redis cannot be reached."""

    @property
    def waiting(self) -> str | None:
        """Why the last call did not get a permit, or why calls wait now, for people; None when the last was granted."""

    def throttled(self, retry_after: float | None = None) -> None:
        """Takes in that a server has refused a request because there were too many: HTTP 429. No machine is granted
        anything for so many seconds (default one window, at most seven days)."""

    def enforce(self) -> None:
        """Makes this rate count for all machines from now on. Those that use another get ``InvalidArgumentError``."""

    def interrupt(self) -> None:
        """Makes every call of this process that waits return without a permit."""

@final
class SharedPermit:
    """The right to send one request. Hold it until the answer has come, or until it is certain that none will, and not
    for longer than ``hold_max`` of the limiter.

    A context manager: it is done at the end. So it is when it is dropped. Ending it twice does nothing.
    """

    @property
    def left(self) -> float:
        """How many seconds the request may still go on; 0.0 when it has ended, or was held for too long."""

    def done(self) -> None:
        """Says that the answer has come. The request counts for one more window from now."""

    def unused(self) -> None:
        """Says that nothing was sent and nothing will be: it does not count any more."""

    def throttled(self, retry_after: float | None = None) -> None:
        """Says that the answer was a refusal because there were too many requests. The permit ends."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Lease:
    """The right to be the leader, of which there is one over all machines. Made by ``Fleet.lease``."""

    @property
    def name(self) -> str:
        """Its name."""

    def acquire(self, timeout: float | None = None, *, keep: bool = False) -> Leader | None:
        """Waits until the lease is free and takes it.

        None at the timeout and after ``interrupt``. Redis is waited for as well.

        Args:
            timeout: How long to wait, in seconds; 0 asks once, None, the default, waits without end.
            keep: Renews it from then on, by a thread of its own. Whether that works is to be seen by
                ``Leader.is_valid``.

        Raises:
            InvalidArgumentError: The present leader uses another ``ttl``.
            UnavailableError: Redis cannot be reached at the end of the timeout.
        """

    def interrupt(self) -> None:
        """Makes every call of this process that waits return None."""

@final
class Leader:
    """Whoever has a lease. Made by ``Lease.acquire``.

    A context manager: it gives the lease back at the end. So it does when it is dropped.
    """

    @property
    def token(self) -> int:
        """The fencing token: higher than that of every leader before."""

    @property
    def is_valid(self) -> bool:
        """True while no other can be the leader, by the clocks of this machine, with a tenth of the time as reserve."""

    def renew(self) -> None:
        """Renews the lease: it is valid for its whole time again.

        Raises:
            LeaseLostError: It has run out, or was given back; it stays lost.
            UnavailableError: Redis cannot be reached; ``is_valid`` says how things stand.
        """

    def release(self) -> None:
        """Gives the lease back, so that another can have it at once. Giving it back twice does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Publisher:
    """Appends the changes of a warden to a stream, for the consumers of other machines. Made by ``Fleet.publisher``.

    Only one publisher of a warden and a stream may run at a time.
    """

    def publish_once(self, max_changes: int = 1000) -> int:
        """Appends what is new, and returns how many entries were appended; 0 means that there is nothing new. What was
        appended by a call that failed is not appended again.

        Raises:
            LeaseLostError: Another has published with a higher token.
            UnavailableError: Redis cannot be reached.
            ConflictError: Another publisher moves the same cursor.
        """

    def run(self) -> None:
        """Appends what is new, waits for more, and goes on until ``stop``, or Ctrl-C. Waits over a Redis that cannot be
        reached.

        Raises:
            LeaseLostError: Another has published with a higher token.
            ClosedError: The warden was closed.
        """

    def stop(self) -> None:
        """Ends ``run``, from another thread."""

@final
class Consumer:
    """Reads a stream as one of a group. Made by ``Fleet.consumer``. Any thread may use it."""

    def next(self, max_items: int = 100, timeout: float | None = None) -> list[StreamItem]:
        """Reads changes: first those that others have abandoned, else what nobody of the group has been given yet, and
        waits for one if need be. Empty at the timeout and after ``interrupt``.

        What is not acknowledged comes again, to this consumer or another.

        Args:
            max_items: How many at most, up to 1,000.
            timeout: How long to wait, in seconds; 0 does not wait, None, the default, waits without end.

        Raises:
            ResetError: Changes were cut off before the group was done with them: look at the whole, then
                ``accept_reset``.
            UnavailableError: Redis cannot be reached at the end of the timeout.
        """

    def ack(self, items: Iterable[StreamItem]) -> int:
        """Acknowledges: the group is done with these. Returns how many that were. What cannot be acknowledged comes
        again."""

    def accept_reset(self) -> bool:
        """Goes on after a ``ResetError``, for the whole group. True when there was one."""

    def interrupt(self) -> None:
        """Makes every call that waits return nothing."""

@final
class StreamItem:
    """One change, as it came over a stream. Immutable."""

    @property
    def stream_id(self) -> str:
        """The id of the entry in the stream."""

    @property
    def database(self) -> str:
        """The database that it comes from, as 32 hexadecimal digits."""

    @property
    def seq(self) -> int:
        """The commit."""

    @property
    def part(self) -> int:
        """Which of the changes of that commit, from 1; 0 for a reset."""

    @property
    def change(self) -> Change | None:
        """The change. None is a reset: what comes now does not continue what came before, so whoever keeps a copy looks
        at the whole."""
