"""What mirrors are made with, for type checkers: the options of ``Warden.mirror``, those of ``Warden.export`` for a
store, and a function that is a CDN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional, Protocol, TypedDict, Union

from ._types import Path


class Purge(Protocol):
    """A function that makes a CDN forget up to 30 addresses.

    It is called on a thread of the engine. An exception makes it be called again with the same addresses, later;
    ``treewarden.PutOff`` says when, ``treewarden.Permanent`` gives them up, and a ``PermissionError`` says that the
    credentials are wrong.
    """

    def __call__(self, urls: list[str], /) -> object: ...


class MirrorOptions(TypedDict, total=False):
    """Of ``Warden.mirror``, which says what they mean. None stands for the default of each."""

    endpoint: Optional[str]
    region: Optional[str]
    virtual_hosted: bool
    public_url: Optional[str]
    opaque_etags: bool
    access_key: Optional[str]
    secret_key: Optional[str]
    session_token: Optional[str]
    anonymous: bool
    instance: bool
    azure_key: Optional[str]
    azure_sas: Optional[str]
    service_account: Optional[str]
    gcs_token: Optional[str]
    prefix: Optional[str]
    glob: Union[str, Sequence[str], None]
    cache_control: Optional[str]
    content_types: Optional[Mapping[str, str]]
    uploads: int
    part_bytes: int
    memory_bytes: int
    bandwidth: Optional[int]
    attempts: int
    backoff: float
    backoff_max: float
    delete_max: int
    delete_share_percent: int
    settle: float
    purge_new: bool


class StoreOptions(TypedDict, total=False):
    """Of ``Warden.export`` to a store. None stands for the default of each."""

    staging: Optional[Path]
    endpoint: Optional[str]
    region: Optional[str]
    virtual_hosted: bool
    opaque_etags: bool
    access_key: Optional[str]
    secret_key: Optional[str]
    session_token: Optional[str]
    anonymous: bool
    instance: bool
    azure_key: Optional[str]
    azure_sas: Optional[str]
    service_account: Optional[str]
    gcs_token: Optional[str]
    attempts: int
    backoff: float
    backoff_max: float
