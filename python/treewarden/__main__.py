"""The program ``treewarden``, as ``python -m treewarden`` and as a script: the same one as the Rust program."""

from __future__ import annotations

import os
import sys

from . import _treewarden


def main() -> int:
    """Runs the program with the arguments of this process and returns its exit code."""
    # Exact, whatever the locale: names of files come through as bytes.
    return _treewarden.main([os.fsencode(argument) for argument in sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
