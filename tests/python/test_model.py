"""Random steps on a tree against a dictionary: after each scan snapshot and journal tell the truth."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Optional

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

import treewarden as tw
from support import MEMORY, ODD_NAMES

NAMES = st.sampled_from(ODD_NAMES) | st.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)

class Tree(RuleBasedStateMachine):
    """A directory, what is known to lie in it, and a warden that looks at it now and then."""

    files = Bundle("files")
    dirs = Bundle("dirs")

    @initialize(target=dirs)
    def begin(self) -> bytes:
        self.folder = Path(tempfile.mkdtemp(prefix="treewarden-model-"))
        # The tree is a real one; for a state file that is closed hundreds of times nobody has to wait for a disk.
        self.state_folder = Path(tempfile.mkdtemp(prefix="treewarden-model-", dir=MEMORY))
        self.root = os.fsencode(self.folder / "root")
        os.mkdir(self.root)
        # What should be there: content of files, None for directories.
        self.model: dict[bytes, Optional[bytes]] = {}
        self.warden = tw.open(self.state_folder / "state.tw", durability="relaxed")
        self.warden.add_root("root", self.root, content_hash="changed")
        # What somebody knows who has read nothing but changes: address by id.
        self.replayed: dict[int, bytes] = {}
        self.seq = 0
        self.ids: dict[bytes, int] = {}
        return b""

    def teardown(self) -> None:
        if hasattr(self, "warden"):
            self.warden.close()
            shutil.rmtree(self.folder)
            shutil.rmtree(self.state_folder)

    def path(self, relative: bytes) -> bytes:
        return self.root + b"/" + relative

    def is_dir(self, relative: bytes) -> bool:
        return relative == b"" or (relative in self.model and self.model[relative] is None)

    def below(self, relative: bytes) -> list[bytes]:
        return [path for path in self.model if path.startswith(relative + b"/")]

    # Steps. What has gone meanwhile is passed over: the tree is the truth.

    @rule(target=files, parent=dirs, name=NAMES, data=st.binary(max_size=100))
    def write(self, parent: bytes, name: bytes, data: bytes) -> bytes:
        path = parent + b"/" + name if parent else name
        if not self.is_dir(parent) or self.is_dir(path):
            return path
        with open(self.path(path), "wb") as file:
            file.write(data)
        self.model[path] = data
        return path

    @rule(target=dirs, parent=dirs, name=NAMES)
    def make_dir(self, parent: bytes, name: bytes) -> bytes:
        path = parent + b"/" + name if parent else name
        if self.is_dir(parent) and path not in self.model:
            os.mkdir(self.path(path))
            self.model[path] = None
        return path

    @rule(file=files, data=st.binary(min_size=1, max_size=5))
    def edit(self, file: bytes, data: bytes) -> None:
        known = self.model.get(file)
        if known is not None:
            # In place, of the same size where there is enough of it.
            with open(self.path(file), "r+b") as opened:
                opened.write(data)
            self.model[file] = data + known[len(data) :]

    @rule(file=files, parent=dirs, name=NAMES)
    def rename(self, file: bytes, parent: bytes, name: bytes) -> None:
        target = parent + b"/" + name if parent else name
        if self.model.get(file) is None or not self.is_dir(parent) or self.is_dir(target) or target == file:
            return
        os.rename(self.path(file), self.path(target))
        self.model[target] = self.model.pop(file)

    @rule(target=files, moved=dirs, parent=dirs, name=NAMES)
    def move_dir(self, moved: bytes, parent: bytes, name: bytes) -> object:
        target = parent + b"/" + name if parent else name
        within = parent == moved or parent.startswith(moved + b"/")
        if moved == b"" or not self.is_dir(moved) or not self.is_dir(parent) or target in self.model or within:
            return multiple()
        os.rename(self.path(moved), self.path(target))
        for path in [moved, *self.below(moved)]:
            self.model[target + path[len(moved) :]] = self.model.pop(path)
        return multiple(*[path for path in self.below(target) if self.model[path] is not None])

    @rule(file=consumes(files))
    def delete(self, file: bytes) -> None:
        if self.model.get(file) is not None:
            os.unlink(self.path(file))
            del self.model[file]

    @rule(directory=dirs)
    def delete_dir(self, directory: bytes) -> None:
        if directory and self.is_dir(directory):
            shutil.rmtree(self.path(directory))
            for path in [directory, *self.below(directory)]:
                del self.model[path]

    @rule()
    def reopen(self) -> None:
        self.warden.close()
        self.warden = tw.open(self.state_folder / "state.tw", durability="relaxed")

    @rule(full=st.booleans())
    def scan(self, full: bool) -> None:
        report = self.warden.scan("root", full=full, accept_missing=True)
        assert report.is_clean and report.corrupt == 0, report
        self.compare()
        again = self.warden.scan("root")
        assert again.is_unchanged and not again.published, again
        self.replay()

    def compare(self) -> None:
        snapshot = self.warden.snapshot()
        expected = {b"root/" + path: data for path, data in self.model.items()}
        found = {entry.path_bytes: entry for entry in snapshot.files("root", dirs=True)}
        assert found.keys() == expected.keys()
        for address, entry in found.items():
            data = expected[address]
            assert entry.is_dir == (data is None), entry
            if data is not None:
                assert entry.size == len(data), entry
                assert entry.inode == os.stat(self.path(address.partition(b"/")[2])).st_ino
        files = [data for data in self.model.values() if data is not None]
        assert len(snapshot) == len(files)
        totals = snapshot.du("root")
        assert (totals.files, totals.bytes) == (len(files), sum(map(len, files)))
        assert totals.dirs == len(self.model) - len(files)
        # Equal content has an equal hash, and no other has.
        hashes = {(entry.hash, expected[address]) for address, entry in found.items() if entry.is_file}
        assert len({digest for digest, _ in hashes}) == len({data for _, data in hashes}) == len(hashes)

    def replay(self) -> None:
        changes = list(self.warden.changes(self.seq))
        # What leaves a place leaves it before anything comes there: entries may have swapped names.
        for change in changes:
            if change.kind in ("moved", "missing", "forgotten"):
                self.replayed.pop(change.id, None)
        for change in changes:
            if change.kind in ("added", "restored", "moved", "modified"):
                self.replayed[change.id] = change.path_bytes
            elif change.kind in ("missing", "forgotten"):
                self.replayed.pop(change.id, None)
        self.seq = self.warden.seq
        entries = {entry.id: entry.path_bytes for entry in self.warden.snapshot().files("root", dirs=True)}
        told = {number: path for number, path in self.replayed.items() if path != b"root"}
        assert told == entries

    @invariant()
    def the_snapshot_is_of_one_piece(self) -> None:
        if hasattr(self, "warden"):
            snapshot = self.warden.snapshot()
            assert len(snapshot) == sum(1 for _ in snapshot) == snapshot.du().files


Tree.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    # A failure is told with the steps that lead to it; a data base of examples belongs to nobody's tree.
    database=None,
    print_blob=True,
)
TestTree = Tree.TestCase
