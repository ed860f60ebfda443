"""The exceptions of this package, one class for each kind of error of the engine.

Every class is an :class:`Error`, and also the built-in exception that says the same, so that code which
catches ``FileNotFoundError`` or ``TimeoutError`` needs to know nothing of Treewarden. The numbers in ``code``
are shared with Rust and C and never change.

The compiled module raises them through :data:`BY_CODE`.
"""

from __future__ import annotations

import builtins
import errno
import os
from typing import Any, ClassVar, Final, Optional

__all__ = [
    "BY_CODE",
    "AlreadyExistsError",
    "BusyError",
    "CancelledError",
    "ClosedError",
    "ConflictError",
    "CorruptError",
    "Error",
    "ForkedError",
    "HeldError",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "LeaseLostError",
    "NewerFormatError",
    "NotAStateFileError",
    "NotFoundError",
    "Permanent",
    "PermissionDeniedError",
    "PoisonedError",
    "PutOff",
    "ReadOnlyError",
    "ResetError",
    "StorageFullError",
    "TimeoutError",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedError",
]


class Error(Exception):
    """Anything that Treewarden refuses or fails to do.

    ``str(error)`` is one sentence and, where it helps, a second line that begins with ``hint:``. Bytes of
    file names are escaped in it, so that it never carries a control character; ``path`` and ``path_bytes``
    are exact.
    """

    code: int = 0
    """The stable number of the kind, the same in Rust and C."""
    kind: str = "error"
    """The stable name of the kind in snake case, for example ``not_found``."""
    message: str
    """The sentence, without the hint."""
    path_bytes: Optional[bytes]
    """The path on disk, or the address in a tree, that the error is about."""
    hint: Optional[str]
    """What to do next, where there is something to say."""
    restart_seq: Optional[int]
    """Of a :class:`ResetError`: read the snapshot, then go on with the changes after this commit."""

    # What the classes that are an OSError, too, say as `errno`: the engine keeps the kind of a failure only.
    _number: ClassVar[Optional[int]] = None

    def __init__(
        self,
        message: str,
        *,
        code: Optional[int] = None,
        kind: Optional[str] = None,
        path_bytes: Optional[bytes] = None,
        hint: Optional[str] = None,
        restart_seq: Optional[int] = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if kind is not None:
            self.kind = kind
        self.message = message
        self.path_bytes = path_bytes
        self.hint = hint
        self.restart_seq = restart_seq
        if isinstance(self, OSError):
            _describe(self, self._number, message, self.path)

    @property
    def path(self) -> Optional[str]:
        """``path_bytes`` as a string, decoded as ``os.fsdecode`` does."""
        return None if self.path_bytes is None else os.fsdecode(self.path_bytes)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is unpickled with `args` alone, and this constructor wants keywords.
        state = dict(self.__dict__)
        fields = {name: state.pop(name) for name in _FIELDS if name in state}
        return (_restore, (type(self), self.message, fields), state)


_FIELDS: Final = ("code", "kind", "path_bytes", "hint", "restart_seq")


def _restore(cls: type[Error], message: str, fields: dict[str, Any]) -> Error:
    """Makes an exception anew when it is unpickled."""
    return cls(message, **fields)


def _describe(error: OSError, number: Optional[int], message: str, path: Optional[str]) -> None:
    """Fills in what an ``OSError`` keeps outside of its dictionary."""
    error.errno = number
    error.strerror = message
    error.filename = path


class InvalidArgumentError(Error, ValueError):
    """An argument has no meaning: an empty name, a bad glob, an address with ``..``."""

    code = 1
    kind = "invalid_argument"


class NotFoundError(Error, FileNotFoundError, KeyError):
    """The root, entry, directory, file, key or pipeline does not exist."""

    code = 2
    kind = "not_found"
    _number = errno.ENOENT


class AlreadyExistsError(Error, FileExistsError):
    """The name is taken."""

    code = 3
    kind = "already_exists"
    _number = errno.EEXIST


class BusyError(Error, BlockingIOError):
    """Another process, or another handle in this one, holds the state file."""

    code = 4
    kind = "busy"
    _number = errno.EAGAIN


class PermissionDeniedError(Error, PermissionError):
    """The operating system refuses access."""

    code = 5
    kind = "permission_denied"
    _number = errno.EACCES


class UnavailableError(Error, OSError):
    """The root cannot be trusted at the moment, or watching is paused; nothing was changed."""

    code = 6
    kind = "unavailable"


class HeldError(Error):
    """Too much would become missing; it waits for a scan with ``accept_missing``."""

    code = 7
    kind = "held"


class CancelledError(Error):
    """The caller cancelled.

    Not to be mistaken for ``asyncio.CancelledError``, which is the end of a task.
    """

    code = 8
    kind = "cancelled"


class ResetError(Error):
    """The journal cannot continue from that place.

    Read the snapshot as a whole, then go on with the changes after ``restart_seq``.
    """

    code = 9
    kind = "reset"


class ConflictError(Error):
    """A compare-and-set found another value, or a cursor is further already."""

    code = 10
    kind = "conflict"


class TooLargeError(Error, ValueError):
    """A key, value, name or set of attributes is over its limit."""

    code = 11
    kind = "too_large"


class CorruptError(Error):
    """The state file is damaged; ``treewarden.rebuild`` salvages what can be read."""

    code = 12
    kind = "corrupt"


class NotAStateFileError(Error, ValueError):
    """The file is not a Treewarden state file."""

    code = 13
    kind = "not_a_state_file"


class NewerFormatError(Error):
    """The state file was written by a newer version."""

    code = 14
    kind = "newer_format"


class ReadOnlyError(Error, OSError):
    """The state file was opened for reading only, or lies on a read-only file system."""

    code = 15
    kind = "read_only"
    _number = errno.EROFS


class StorageFullError(Error, OSError):
    """The disk, or the quota, that holds the state file is full."""

    code = 16
    kind = "storage_full"
    _number = errno.ENOSPC


class IoError(Error, OSError):
    """Any other failure of the operating system."""

    code = 17
    kind = "io"
    _number = errno.EIO


class ClosedError(Error, ValueError):
    """The warden, or what belongs to it, has been closed or has ended."""

    code = 18
    kind = "closed"


class PoisonedError(Error):
    """A thread of the engine has failed; snapshots stay readable, everything else is refused."""

    code = 19
    kind = "poisoned"


class UnsupportedError(Error, NotImplementedError):
    """The operation does not exist on this system or for this root."""

    code = 20
    kind = "unsupported"


class TimeoutError(Error, builtins.TimeoutError):
    """It did not happen in time; what was asked for goes on."""

    code = 21
    kind = "timeout"
    _number = errno.ETIMEDOUT


class LeaseLostError(Error):
    """The lease of a job has run out, and the job was handed out again: nothing was recorded."""

    code = 22
    kind = "lease_lost"


class InternalError(Error):
    """A bug in Treewarden: a part of it failed and was set up anew.

    Nothing that was acknowledged is lost. Please report it.
    """

    code = 23
    kind = "panic"


class ForkedError(Error):
    """The handle was made before a ``fork``, and this is the child.

    Open the state file after the fork, or use the ``spawn`` method of ``multiprocessing``.
    """

    code = 24
    kind = "forked"


BY_CODE: Final[dict[int, type[Error]]] = {
    cls.code: cls
    for cls in (
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        BusyError,
        PermissionDeniedError,
        UnavailableError,
        HeldError,
        CancelledError,
        ResetError,
        ConflictError,
        TooLargeError,
        CorruptError,
        NotAStateFileError,
        NewerFormatError,
        ReadOnlyError,
        StorageFullError,
        IoError,
        ClosedError,
        PoisonedError,
        UnsupportedError,
        TimeoutError,
        LeaseLostError,
        InternalError,
        ForkedError,
    )
}
"""The class of each stable number."""


class Permanent(Exception):
    """Raised by a worker: this content will not go well another time either.

    The job is dead until its file changes or somebody asks for it. Not an :class:`Error`: it is said by the
    program, not by the engine.
    """


class PutOff(Exception):
    """Raised by a worker: it is not the fault of the job, which is handed out again later.

    It is no attempt, and nothing is logged.
    """

    seconds: float
    """For how long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = float(seconds)
        # Said here, where it was meant, and not when the job is to be put off. What is not a number fails, too.
        if not self.seconds >= 0.0:
            raise ValueError(f"a job cannot be put off for {seconds} s")

    def __str__(self) -> str:
        return f"put off for {self.seconds:g} s"
