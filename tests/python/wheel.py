"""Proves that the newest wheel in a folder works in an environment that has nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROGRAM = """
import pathlib, tempfile, treewarden as tw
with tempfile.TemporaryDirectory() as folder:
    tree = pathlib.Path(folder, "tree")
    tree.mkdir()
    (tree / "a.txt").write_text("a")
    with tw.open(pathlib.Path(folder, "state.tw")) as warden:
        warden.add_root("tree", tree)
        assert warden.scan("tree").added == 1
        assert "tree/a.txt" in warden.snapshot()
print(tw.__version__)
"""


def main(folder: str) -> None:
    wheels = sorted(Path(folder).glob("treewarden-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        sys.exit(f"there is no wheel in {folder}: run `make wheel`")
    with tempfile.TemporaryDirectory() as empty:
        venv.create(empty, with_pip=True)
        python = Path(empty, "bin", "python")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
        subprocess.run([*pip, str(wheels[-1])], check=True)
        # Not from the folder of the sources: what is installed is what is tried.
        subprocess.run([str(python), "-I", "-c", PROGRAM], check=True, cwd=empty)
        subprocess.run([str(python), "-m", "treewarden", "--version"], check=True, cwd=empty)
    print(f"{wheels[-1].name} works in an empty environment")


if __name__ == "__main__":
    main(sys.argv[1])
