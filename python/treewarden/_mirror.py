"""What mirrors are made with: a storage of the program's own, and for type checkers the options of ``Warden.mirror``,
those of ``Warden.export`` for a store, and a function that is a CDN."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional, Protocol, TypedDict, Union

from ._types import Path

if TYPE_CHECKING:
    from ._treewarden import Upload


class Storage(Protocol):
    """A storage of the program's own: any object with these two methods is one, as the target of ``Warden.mirror``.

    They are called on threads of the engine, several at a time, and try once: repeating and slowing down is the
    mirror's part. Ctrl-C and a cancelled run wait for a call that is under way. Of what they raise, ``PutOff(seconds)``
    asks for a pause, ``Permanent`` gives a file up until it changes, ``PermissionError`` says that the credentials are
    wrong, ``FileNotFoundError`` that the object is not there, ``NotImplementedError`` that the storage cannot do this;
    anything else is tried again. It goes to the log, ``logging.getLogger("treewarden")``; reports and states name its
    class alone. They must not run the mirror that they are for, nor audit or plan it: that waits for them.

    An object that has more is asked for more:

    * ``copy(from_key, to_key)`` copies an object within the storage, and returns as ``put``. What has moved is sent
      again without it, and when it fails.
    * ``list(prefix)`` returns an iterable of tuples of the key, the size and the entity tag, or None, of each object
      whose key begins so. Audits need it.
    * ``check_key(key)`` raises when no object can have this key.
    * ``url(key)`` returns the address that a CDN is to forget, or None, where that is not ``public_url``, a slash and
      the key.

    And attributes, which are read when the mirror is opened:

    * ``name`` (a str): which storage it is, by default the name of its class. Storages of one name are taken
      for the same place: two mirrors may not share it, and it must stay as it is for as long as there is the mirror.
    * ``public_url`` (a str): what the addresses of the objects begin with. Without it there is no URL map.
    * ``delete_max`` (an int): with how many keys ``delete`` is called at most, by default 1,000.
    * ``key_bytes_max`` (an int): how long a key may be, by default 1,024 bytes.
    """

    @abstractmethod
    def put(self, upload: Upload, /) -> Optional[str]:
        """Stores a file under ``upload.key``, whole or not at all, in the place of what was there. Returns its entity
        tag, where there is one.

        It reads ``upload`` to its end; else the file is refused, whatever it returns.
        """
        raise NotImplementedError

    @abstractmethod
    def delete(self, keys: list[str], /) -> Optional[Mapping[str, BaseException]]:
        """Deletes objects. One that is not there is deleted.

        Returns None when all are, else what was the matter with those that are not. When it raises none is.
        """
        raise NotImplementedError


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
