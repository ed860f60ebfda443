"""Progress bars for scans and verifications.

.. code-block:: python

    from treewarden.progress import tqdm_progress

    with tqdm_progress() as progress:
        warden.scan("music", progress=progress)

Needs ``tqdm``, which ``pip install treewarden[tqdm]`` brings along. Everything else goes by itself: ``progress=`` takes
any function of a :class:`treewarden.Progress`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional

from ._treewarden import escape

if TYPE_CHECKING:
    from types import TracebackType

    from ._types import Progress

__all__ = ["TqdmProgress", "tqdm_progress"]


def tqdm_progress(**tqdm_kwargs: Any) -> TqdmProgress:
    """Returns a function for ``progress=`` that shows a bar of tqdm for each phase of each root.

    A context manager, too, which closes the last bar. Keyword arguments are those of
    ``tqdm.tqdm``; ``total``, ``unit`` and ``desc`` are set here unless they are given.
    """
    return TqdmProgress(**tqdm_kwargs)


class TqdmProgress:
    """What ``tqdm_progress`` returns."""

    def __init__(self, **tqdm_kwargs: Any) -> None:
        # Here, so that nobody needs it who does not ask for it; and now, so that nobody hears of it half-way.
        self._tqdm: Any = import_module("tqdm.auto").tqdm
        self._kwargs = tqdm_kwargs
        self._bar: Any = None
        self._shown: Optional[tuple[str, str]] = None

    def __call__(self, progress: Progress) -> None:
        """Takes in how far it has come."""
        shown = (progress.root, progress.phase)
        if self._shown != shown:
            self.close()
            self._bar = self._tqdm(**{**_labels(progress), **self._kwargs})
            self._shown = shown
        bar = self._bar
        estimate = progress.estimate_files
        # There may be more than last time.
        bar.total = None if estimate is None else max(estimate, progress.files)
        bar.update(progress.files - bar.n)

    def close(self) -> None:
        """Ends the bar that is shown."""
        bar, self._bar, self._shown = self._bar, None, None
        if bar is not None:
            bar.close()

    def __enter__(self) -> TqdmProgress:
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


def _labels(progress: Progress) -> dict[str, Any]:
    name = escape(os.fsencode(progress.root))
    return {"desc": f"{name}: {progress.phase}", "total": progress.estimate_files, "unit": "file", "unit_scale": True}
