"""The options of calls that ``aio`` passes on, for type checkers; ``_treewarden.pyi`` says what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Optional, TypedDict, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from . import _types
    from ._treewarden import Clock, RateLimit, RootWatch


class OpenOptions(TypedDict, total=False):
    """Of ``open``."""

    create: bool
    read_only: bool
    durability: _types.Durability
    cache_bytes: Optional[int]
    threads: Optional[int]
    journal_keep_ms: Optional[int]
    journal_keep_bytes_max: Optional[int]
    tombstone_keep_ms: Optional[int]
    history_keep_max: Optional[int]
    clock: Optional[Clock]


class RootOptions(TypedDict, total=False):
    """Of ``add_root`` and ``set_root_options``."""

    ignore: Iterable[str]
    junk: bool
    content_hash: _types.ContentHash
    compare: _types.Compare


class ScanOptions(TypedDict, total=False):
    """Of ``scan``, but for what ``aio`` has its own way of."""

    full: bool
    walker: _types.Walker
    threads: int
    accept_missing: bool
    progressive: bool


class WatchOptions(TypedDict, total=False):
    """Of ``watch``."""

    roots: Optional[Mapping[str, RootWatch]]
    default: Optional[RootWatch]
    backend: _types.WatchBackend
    watches_max: Optional[int]
    scan_threads: int
    nice: int
    yields: bool


class PipelineOptions(TypedDict, total=False):
    """Of ``pipeline``."""

    root: Union[str, Sequence[str], None]
    glob: Union[str, Sequence[str], None]
    group: Union[str, Callable[[bytes], Optional[bytes]], None]
    group_name: Optional[str]
    version: int
    priority: _types.Priority
    concurrency: int
    settle: float
    lease: float
    retry_base: float
    retry_cap: float
    max_attempts: int
    jitter: bool
    refresh: Union[float, Literal["tiers", "at_completion"], Sequence[tuple[Optional[float], float]], None]
    refresh_schedule: Optional[str]
    refresh_batch: Optional[int]
    refresh_gap: Optional[float]
    rate: Union[tuple[int, float], RateLimit, None]
    max_crashes: int
    paths_matter: bool
