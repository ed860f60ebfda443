"""The C and C++ programs in the documents: each compiles alone, without a warning, with the headers and nothing else."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from toolbox import HEADER, ROOT, WARNINGS, Failed, compiler, sh, standard

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(?P<language>c|cpp)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
# A fence with flags or an indent would hide a program from the above.
FENCE = re.compile(r"^[ \t]*```[ \t]*(?:c|cpp|c\+\+)\b", re.MULTILINE | re.IGNORECASE)


def compile_alone(source: Path) -> None:
    sh(compiler(source), *standard(source), *WARNINGS, "-fsyntax-only", f"-I{HEADER.parent}", source)


def sources(folder: Path) -> Iterator[Path]:
    """The programs as files; what the compiler says of one names the document and its line."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        name = document.relative_to(ROOT)
        blocks = list(BLOCK.finditer(text))
        fences = len(FENCE.findall(text))
        if fences != len(blocks):
            raise Failed(f"{name}: {fences} fences of C and C++, {len(blocks)} of them as ```c or ```cpp and closed")
        for block in blocks:
            line = text.count("\n", 0, block.start()) + 1
            source = folder / f"{document.stem}-{line}.{block['language']}"
            source.write_text(f'#line {line + 1} "{name}"\n{block["code"]}', encoding="utf-8")
            yield source


def tasks(folder: Path) -> list[Callable[[], None]]:
    return [functools.partial(compile_alone, source) for source in sources(folder)]
