"""A vector index for retrieval (RAG) that follows folders: documents become chunks, chunks become vectors.

    rag_index.py index DIR     adds DIR and brings the index up to date: edits, moves and deletes included
    rag_index.py watch         keeps it up to date until Ctrl-C
    rag_index.py query TEXT    prints the passages that come closest; works while `watch` runs

It shows a pipeline whose product mentions paths (`paths_matter`), in batches: one call of the model, one
commit of the index, one of the state file. A document has a name of its own, kept in the attributes of the
job: a file that moves keeps its vectors, and no clean-up hits another file. Killed at any moment it goes on
where it was: the index is written first, and a job done twice does no harm.

The model is a plug, an `Embedder`. The default is a hashed bag of words: the same on every machine, without a
download. It finds passages that share words with the question, and knows nothing of meaning.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import heapq
import importlib
import math
import os
import re
import signal
import sqlite3
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import treewarden as tw

GLOBS = ["**/*.md", "**/*.txt", "**/*.rst"]
BATCH = 64  # documents of one round
BYTES_MAX = 4 << 20  # larger files are no texts
# Up to 1,000 characters: as many paragraphs as fit, else as many words, else just that many.
CHUNK = re.compile(r"(?s)\S.{0,999}(?=\n[ \t\r]{0,99}\n|\Z)|\S.{0,999}(?=\s)|\S{1,1000}")
DIMENSIONS, HITS = 512, 5


class Embedder(Protocol):
    """Turns texts into vectors. When it raises, its documents are tried again later."""

    @property
    def name(self) -> str:
        """Of the model. Under another name everything is embedded again."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text, all of one length; of any scale."""


class HashingEmbedder:
    """The words of a text, each hashed to one of 512 places and counted there."""

    name = f"hashing-{DIMENSIONS}"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        vectors = [[0.0] * DIMENSIONS for _ in texts]
        for vector, text in zip(vectors, texts):
            for word, times in Counter(re.findall(r"\w+", text.casefold())).items():
                digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=5).digest()
                # The sign lets words that share a place cancel out on average, instead of adding up.
                sign = 1.0 if digest[4] & 1 else -1.0
                vector[int.from_bytes(digest[:4], "little") % DIMENSIONS] += sign * (1.0 + math.log(times))
        return vectors


def unit(vector: Sequence[float]) -> array[float]:
    """Scaled to the length of one, so that the cosine of two is their product."""
    length = math.sqrt(math.fsum(x * x for x in vector)) or 1.0
    return array("f", (x / length for x in vector))


def chunks_of(text: str) -> list[tuple[int, str]]:  # each with the line on which it begins
    chunks, line, seen = [], 1, 0
    for found in CHUNK.finditer(text.rstrip()):
        line, seen = line + text.count("\n", seen, found.start()), found.start()
        chunks.append((line, found.group()))
    return chunks


class Document:
    """A file in hand. The name is the document's own, wherever the file lies."""

    def __init__(self, job: tw.Job) -> None:
        self.job = job
        self.name = job.attrs.get("document", b"").decode() or os.urandom(16).hex()
        self.digest, self.chunks = b"", list[tuple[int, str]]()
        self.vectors: Sequence[Sequence[float]] = []
        self.error: Exception | None = None

    def read(self) -> Document:
        data = b""  # of a symlink: what it points to is indexed where that lies, if at all
        try:
            if not os.path.islink(self.job.fs_path):
                with open(self.job.fs_path, "rb") as file:
                    data = file.read(BYTES_MAX + 1)
            if len(data) > BYTES_MAX or b"\0" in data:
                raise tw.Permanent(f"it is no text: it has NUL bytes, or more than {BYTES_MAX:,} bytes")
            self.digest = hashlib.blake2b(data, digest_size=16).digest()
            self.chunks = chunks_of(data.decode("utf-8", "replace"))
        except (tw.Permanent, OSError) as error:
            self.error = error
        return self


class Index:
    """Documents, their chunks and vectors, in one SQLite file. One process writes, any number may read."""

    SCHEMA = """
        PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;
        CREATE TABLE IF NOT EXISTS documents(name TEXT PRIMARY KEY, path BLOB UNIQUE, digest BLOB NOT NULL,
            model TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS chunks(document TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
            line INTEGER NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL);
        CREATE INDEX IF NOT EXISTS chunks_of_document ON chunks(document);
    """

    def __init__(self, db: sqlite3.Connection, model: str) -> None:
        self.db, self.model = db, model
        db.executescript(self.SCHEMA)

    def is_current(self, document: Document) -> bool:
        known = (document.name, document.digest, self.model)
        query = "SELECT 1 FROM documents WHERE (name, digest, model) = (?, ?, ?)"
        return bool(self.db.execute(query, known).fetchall())

    def update(self, gone: list[Document], kept: list[Document], fresh: list[Document]) -> None:
        """One commit: what is gone, what keeps its vectors, maybe under another path, what has new ones."""
        with self.db:
            change = self.db.executemany
            change("DELETE FROM documents WHERE name = ?", [(document.name,) for document in gone + fresh])
            # All leave their places first, for two may have changed names. What else is at these paths then
            # lies there no more; if it lies elsewhere, its own job puts it back.
            change("UPDATE documents SET path = NULL WHERE name = ?", [(document.name,) for document in kept])
            places = [(document.job.path_bytes, document.name) for document in kept + fresh]
            change("DELETE FROM documents WHERE path = ?", [(path,) for path, _ in places])
            change("UPDATE documents SET path = ? WHERE name = ?", places)
            for document in fresh:
                row = (document.name, document.job.path_bytes, document.digest, self.model)
                change("INSERT INTO documents VALUES (?, ?, ?, ?)", [row])
                rows = zip(document.chunks, document.vectors)
                chunks = [(document.name, *chunk, unit(vector).tobytes()) for chunk, vector in rows]
                change("INSERT INTO chunks VALUES (?, ?, ?, ?)", chunks)

    def keep_only(self, snapshot: tw.Snapshot) -> None:
        """Drops what a kill between two commits has left of files that were deleted since."""
        gone = [row for row in self.db.execute("SELECT path FROM documents") if row[0] not in snapshot]
        with self.db:
            self.db.executemany("DELETE FROM documents WHERE path = ?", gone)

    def search(self, question: Sequence[float], count: int) -> list[tuple[float, bytes, int, str]]:
        """Closeness, path, line, text; the best first. Looks at each chunk: quick for 100,000 of them."""
        places = [(place, x) for place, x in enumerate(unit(question)) if x != 0.0]
        query = "SELECT vector, path, line, text FROM chunks JOIN documents ON name = document AND model = ?"
        rows = ((array("f", blob), rest) for blob, *rest in self.db.execute(query, (self.model,)))
        hits = ((math.fsum(x * vector[place] for place, x in places), *rest) for vector, rest in rows)
        return heapq.nlargest(count, (hit for hit in hits if hit[0] > 0.0))


class Indexer:
    """Brings the jobs of a pipeline into the index, a batch at a time."""

    def __init__(self, warden: tw.Warden, index: Index, embedder: Embedder, settle: float) -> None:
        self.index, self.embedder = index, embedder
        known = warden.space("rag-index")
        version = int(known.get("version") or b"0")
        if known.get("model") != embedder.name.encode():
            version += 1  # another model is another version of the work: all documents are `changed`
            known.update({"model": embedder.name.encode(), "version": b"%d" % version})
        self.pipeline = warden.pipeline(
            "rag-index", glob=GLOBS, paths_matter=True, version=version, settle=settle, lease=3600.0
        )  # no call of a model is longer than this lease; those of a killed process are void

    def run(self, for_ever: bool = False) -> int:
        """Works until nothing is left to be done; what was written a moment ago settles first."""
        while for_ever or not self.pipeline.wait_idle(timeout=0.0):
            self._round([Document(job) for job in self.pipeline.claim(BATCH, timeout=None)])
        return 0

    def _round(self, documents: list[Document]) -> None:
        gone = [document for document in documents if document.job.is_gone]
        there = [document.read() for document in documents if document not in gone]
        kept = [document for document in there if not document.error and self.index.is_current(document)]
        self._embed([document for document in there if not document.error and document not in kept])
        fresh = [document for document in there if not document.error and document not in kept]
        no_texts = [document for document in there if isinstance(document.error, tw.Permanent)]
        self.index.update(gone + no_texts, kept, fresh)
        for document in there:
            document.job.attrs["document"] = document.name.encode()  # stored with the completion
            if document.error:
                document.job.fail(document.error, permanent=document in no_texts)
        for failed in self.pipeline.complete_many([document.job for document in gone + kept + fresh]):
            if failed:
                say(failed)  # it will be handed out again
        for what, those in (("removed", gone), ("embedded", fresh), ("kept", kept), ("no text", no_texts)):
            for document in those:
                old, new = document.job.done_path, document.job.path
                origin = f"  was {tw.escape(old)}" if old and old != new else ""
                print(f"{what:<9} {tw.escape(new)}{origin}", flush=True)

    def _embed(self, documents: list[Document]) -> None:
        texts = [text for document in documents for _, text in document.chunks]
        try:
            vectors = self.embedder.embed(texts) if texts else []
            if len(vectors) != len(texts):
                raise ValueError(f"{len(vectors)} vectors came back for {len(texts)} texts")
        except Exception as error:  # whatever a model raises: a server that is down, a card that is full
            if len(documents) == 1:
                documents[0].error = error
                return
            half = len(documents) // 2  # it may be one document only on which it chokes
            self._embed(documents[:half])
            self._embed(documents[half:])
            return
        for document in documents:
            its = len(document.chunks)
            document.vectors, vectors = vectors[:its], vectors[its:]


say = functools.partial(print, "rag_index:", file=sys.stderr, flush=True)


def update(data: Path, directory: str | None, embedder: Embedder, settle: float) -> int:
    """Takes up what is in the folders now; without a directory for ever. Returns the exit code."""
    data.mkdir(parents=True, exist_ok=True)
    with tw.open(data / "state.tw") as warden, closing(sqlite3.connect(data / "index.sqlite")) as db:
        indexer = Indexer(warden, Index(db, embedder.name), embedder, settle)
        if directory is None:
            warden.watch()
            return indexer.run(for_ever=True)
        directory, known = os.path.realpath(directory), {root.name: root.fs_path for root in warden.roots()}
        if directory not in known.values():
            name = tw.escape(os.path.basename(directory)) or "root"
            warden.add_root(f"{name}-{len(known) + 1}" if name in known else name, directory)
        reports = warden.scan()
        for report in reports:
            held = report.held and "most files are gone; nothing was changed"
            errors = [error.message for error in report.first_errors]
            for problem in filter(None, [report.unavailable, held, *errors]):
                say(f"{report.root}: {problem}")
        indexer.run()
        indexer.index.keep_only(warden.snapshot())
        failed = indexer.pipeline.list(state="error")
        for item in failed:
            say(f"{tw.escape(item.path)}: {indexer.pipeline.explain(item.path_bytes).last_error}")
        return 3 if failed or not all(report.is_clean for report in reports) else 0


def query(data: Path, text: str, embedder: Embedder) -> int:
    if not (data / "index.sqlite").exists():
        raise FileNotFoundError(f"there is no index in {data}; `rag_index.py index DIR` makes one")
    with closing(sqlite3.connect(data / "index.sqlite")) as db:
        for score, path, line, chunk in Index(db, embedder.name).search(embedder.embed([text])[0], HITS):
            shown = tw.escape(" ".join(chunk.split())[:200].encode())
            print(f"{score:.3f}  {tw.escape(path)}:{line}  {shown}")
    return 0


def plug(text: str) -> Embedder:
    module, _, factory = text.partition(":")
    try:
        embedder: Embedder = getattr(importlib.import_module(module), factory)()
        return embedder
    except (ImportError, AttributeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"there is no such model: {error}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description="A vector index that follows folders.")
    parser.add_argument("--data", type=Path, default=Path("rag-data"), help="where the index is (./rag-data)")
    parser.add_argument("--embedder", type=plug, metavar="MODULE:FACTORY", default=HashingEmbedder())
    parser.add_argument("--settle", type=float, default=1.0, help="seconds that a file must be still (1)")
    tasks = parser.add_subparsers(dest="task", required=True)
    tasks.add_parser("index", help="bring the index up to date").add_argument("dir")
    tasks.add_parser("watch", help="keep it up to date until Ctrl-C")
    tasks.add_parser("query", help="print the passages that come closest").add_argument("text")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.task == "query":
            return query(options.data, options.text, options.embedder)
        return update(options.data, getattr(options, "dir", None), options.embedder, options.settle)
    except KeyboardInterrupt:
        return 0 if options.task == "watch" else 130
    except (tw.Error, OSError, sqlite3.Error) as error:
        say(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
