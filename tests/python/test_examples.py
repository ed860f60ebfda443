"""The examples do on real trees what they say: each is run as a program, and what it made is looked at."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import pytest

import treewarden as tw

Done = subprocess.CompletedProcess[str]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"
PATIENCE_S = 60.0
# What runs in the background of a shell is deaf to Ctrl-C, and so is what it starts.
CTRL_C = signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT
# Nobody is still writing when these tests let an example look.
AT_ONCE = ("--settle", 0)


def run(example: str, *args: object, code: int = 0, path: Optional[Path] = None) -> Done:
    """Runs an example to its end; anything but the expected exit code is an error that shows what it said."""
    env = environment(path)
    done = subprocess.run(command(example, args), env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, f"{example} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def said(done: Done, *words: str) -> bool:
    """Whether one line of standard error holds all the words."""
    return any(all(word in line for word in words) for line in done.stderr.splitlines())


def command(example: str, args: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-X", "dev", str(EXAMPLES / example), *map(str, args)]


def environment(path: Optional[Path]) -> dict[str, str]:
    more = {"PYTHONPATH": os.pathsep.join(filter(None, [str(path or ""), os.environ.get("PYTHONPATH", "")]))}
    return {**os.environ, **more, "COLUMNS": "160", "PYTHONIOENCODING": "utf-8:surrogateescape"}


@contextmanager
def running(example: str, *args: object, stop: signal.Signals = CTRL_C) -> Iterator[subprocess.Popen[str]]:
    """An example that goes on by itself; at the end it is asked to stop, and has to do so with code 0."""
    pipe, env = subprocess.PIPE, environment(None)
    with subprocess.Popen(command(example, args), env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
            assert process.poll() is None, f"{example} has ended\n{process.communicate()}"
            process.send_signal(stop)
            said = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, f"{example} ended with {process.returncode}\n{said}"
            assert "Traceback" not in said[1], said[1]
        finally:
            process.kill()


def eventually(is_so: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"it never came to this: {what}"
        time.sleep(0.05)


# rag_index.py


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "birds").mkdir(parents=True)
    (folder / "birds" / "owl.md").write_text("# Owls\n\nAn owl hunts mice at night without a sound.\n")
    (folder / "bread.txt").write_text("Flour, water and salt make a dough.\n\nThe oven bakes the bread.\n")
    (folder / "notes.bin").write_bytes(b"\0owl owl owl")
    return folder


def ask(data: Path, text: str) -> list[str]:
    """The places that a question finds, the best first."""
    lines = run("rag_index.py", "--data", data, "query", text).stdout.splitlines()
    return [line.split("  ")[1] for line in lines]


def test_the_index_finds_passages_with_path_and_line(texts: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = run("rag_index.py", *AT_ONCE, "--data", data, "index", texts)
    assert sorted(done.stdout.split()) == ["embedded", "embedded", "texts/birds/owl.md", "texts/bread.txt"]
    assert ask(data, "which bird hunts at night?") == ["texts/birds/owl.md:1"]
    assert ask(data, "oven") == ["texts/bread.txt:1"]
    assert ask(data, "xylophone") == []
    assert run("rag_index.py", *AT_ONCE, "--data", data, "index", texts).stdout == "", "nothing is done twice"


def test_the_index_follows_edits_moves_swaps_and_deletes(texts: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run("rag_index.py", *AT_ONCE, "--data", data, "index", texts)

    (texts / "bread.txt").write_text("A cake needs sugar.\n")
    (texts / "birds" / "owl.md").rename(texts / "night.md")
    done = run("rag_index.py", *AT_ONCE, "--data", data, "index", texts).stdout.splitlines()
    assert sorted(done) == ["embedded  texts/bread.txt", "kept      texts/night.md  was texts/birds/owl.md"]
    assert ask(data, "oven") == []
    assert ask(data, "sugar") == ["texts/bread.txt:1"]
    assert ask(data, "owl") == ["texts/night.md:1"]

    (texts / "bread.txt").rename(texts / "aside")
    (texts / "night.md").rename(texts / "bread.txt")
    (texts / "aside").rename(texts / "night.md")
    assert "embedded" not in run("rag_index.py", *AT_ONCE, "--data", data, "index", texts).stdout
    assert ask(data, "sugar") == ["texts/night.md:1"]
    assert ask(data, "owl") == ["texts/bread.txt:1"]

    (texts / "night.md").unlink()
    assert run("rag_index.py", *AT_ONCE, "--data", data, "index", texts).stdout == "removed   texts/night.md\n"
    assert ask(data, "sugar") == []
    assert ask(data, "owl") == ["texts/bread.txt:1"]


def test_the_index_takes_odd_names_and_refuses_what_is_no_text(texts: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    odd = os.fsencode(texts) + b"/new\nline \xff\x1b[31m.md"
    with open(odd, "w") as file:
        file.write("a kingfisher by the river")
    (texts / "empty.txt").write_text("")
    (texts / "broken.txt").write_bytes(b"\0\1\2 river")
    (texts / "link.txt").symlink_to("bread.txt")
    done = run("rag_index.py", *AT_ONCE, "--data", data, "index", texts, code=3)
    assert said(done, "texts/broken.txt", "it is no text")
    assert ask(data, "kingfisher") == [r"texts/new\nline \xff\x1b[31m.md:1"]
    assert ask(data, "oven") == ["texts/bread.txt:1"], "the link is not followed"

    (texts / "broken.txt").write_text("mended: a heron")
    (texts / "bread.txt").write_bytes(b"\0 no longer a text")
    done = run("rag_index.py", *AT_ONCE, "--data", data, "index", texts, code=3)
    assert said(done, "texts/bread.txt", "it is no text")
    assert ask(data, "heron") == ["texts/broken.txt:1"]
    assert ask(data, "oven") == [], "what it said when it was a text is gone"

    os.remove(odd)
    (texts / "bread.txt").unlink()
    run("rag_index.py", *AT_ONCE, "--data", data, "index", texts)
    assert ask(data, "kingfisher") == []


MODEL = """
import os
class Model:
    name = os.environ.get("MODEL", "letters-1")
    def embed(self, texts):
        with open(os.environ["CALLS"], "a") as calls:
            calls.write(f"{len(texts)}\\n")
        if any("poison" in text for text in texts):
            raise RuntimeError("it chokes on this")
        return [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
"""


def test_another_model_plugs_in_embeds_in_batches_and_makes_all_anew(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_model.py").write_text(MODEL)
    calls, data = tmp_path / "calls", tmp_path / "data"
    monkeypatch.setenv("CALLS", str(calls))
    options = (*AT_ONCE, "--data", data, "--embedder", "my_model:Model")

    run("rag_index.py", *options, "index", texts, path=tmp_path)
    assert calls.read_text() == "2\n", "one call for both documents"
    (texts / "bread.txt").rename(texts / "elsewhere.txt")
    run("rag_index.py", *options, "index", texts, path=tmp_path)
    assert calls.read_text() == "2\n", "a move keeps the vectors"

    monkeypatch.setenv("MODEL", "letters-2")
    done = run("rag_index.py", *options, "index", texts, path=tmp_path)
    assert done.stdout.count("embedded") == 2
    assert len(run("rag_index.py", *options, "query", "zebra", path=tmp_path).stdout.splitlines()) == 2

    (texts / "poison.txt").write_text("poison")
    (texts / "pure.txt").write_text("pure")
    done = run("rag_index.py", *options, "index", texts, path=tmp_path, code=3)
    assert "embedded  texts/pure.txt" in done.stdout, "one document does not keep the others out"
    assert said(done, "texts/poison.txt", "it chokes on this")


def test_the_index_is_kept_while_it_watches_and_can_be_asked_meanwhile(texts: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run("rag_index.py", *AT_ONCE, "--data", data, "index", texts)
    with running("rag_index.py", "--data", data, "watch"):
        (texts / "late.md").write_text("a late swallow")
        eventually(lambda: ask(data, "swallow") == ["texts/late.md:1"], "the new file is found")
        (texts / "late.md").unlink()
        eventually(lambda: ask(data, "swallow") == [], "the deleted file is not found")
    with running("rag_index.py", "--data", data, "watch", stop=signal.SIGTERM):
        eventually(lambda: (data / "index.sqlite-wal").exists(), "it has opened the index")


def test_a_kill_between_index_and_state_leaves_nothing_behind(texts: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run("rag_index.py", *AT_ONCE, "--data", data, "index", texts)
    (texts / "brief.md").write_text("a brief cuckoo")
    # The process dies after the commit of the index, before that of the state file.
    dying = (
        "import os, signal, sys, runpy\n"
        f"sys.argv = ['rag_index.py', '--settle', '0', '--data', {str(data)!r}, 'index', {str(texts)!r}]\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import rag_index\n"
        "update = rag_index.Index.update\n"
        "def then_die(*args):\n"
        "    update(*args)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "rag_index.Index.update = then_die\n"
        "rag_index.main()\n"
    )
    killed = subprocess.run([sys.executable, "-c", dying], env=environment(None), timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ask(data, "cuckoo") == ["texts/brief.md:1"]
    (texts / "brief.md").unlink()
    run("rag_index.py", *AT_ONCE, "--data", data, "index", texts)
    assert ask(data, "cuckoo") == []
    assert ask(data, "owl") == ["texts/birds/owl.md:1"]


def test_the_index_tells_people_what_is_wrong(tmp_path: Path) -> None:
    done = run("rag_index.py", "--data", tmp_path / "none", "query", "x", code=1)
    assert "there is no index in" in done.stderr
    done = run("rag_index.py", "--data", tmp_path / "data", "index", tmp_path / "no such folder", code=1)
    assert "no such folder" in done.stderr
    done = run("rag_index.py", "--embedder", "no_such_module:Model", "query", "x", code=2)
    assert "there is no such model" in done.stderr


# thumbnails.py


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    pytest.importorskip("PIL")
    folder = tmp_path / "pictures"
    (folder / "trip").mkdir(parents=True)
    picture(folder / "a.jpg", (800, 400))
    picture(folder / "trip" / "b.png", (300, 600))
    return folder


def picture(file: Path | bytes, size: tuple[int, int] = (64, 48), colour: str = "red", **options: object) -> None:
    from PIL import Image

    suffix = os.fsdecode(file).rpartition(".")[2].lower()
    kind = {"jpg": "JPEG", "png": "PNG", "gif": "GIF"}[suffix]
    with open(file, "wb") as out:
        Image.new("RGB", size, colour).save(out, kind, **options)


def made(mirror: Path) -> list[bytes]:
    """What lies in the mirror, but the state file and its folder of unfinished work, which must be empty."""
    top = os.fsencode(mirror)
    assert not os.listdir(mirror / ".thumbnails.parts")
    found = []
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(b".thumbnails")]
        assert folder == top or folders or files, "an empty folder was left behind"
        found += [os.path.relpath(os.path.join(folder, name), top) for name in files]
    return sorted(name for name in found if not name.startswith(b".thumbnails"))


def size_of(file: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(file) as image:
        image.load()
        assert image.format == "JPEG"
        return image.size


def test_thumbnails_are_made_once_and_follow_edits_moves_and_deletes(pictures: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    assert "2 made, 0 removed" in run("thumbnails.py", *AT_ONCE, pictures, mirror).stdout
    assert made(mirror) == [b"a.jpg.jpg", b"trip/b.png.jpg"]
    assert size_of(mirror / "a.jpg.jpg") == (256, 128)
    assert size_of(mirror / "trip" / "b.png.jpg") == (128, 256)
    assert "0 made, 0 removed" in run("thumbnails.py", *AT_ONCE, pictures, mirror).stdout

    picture(pictures / "a.jpg", (400, 400), "blue")
    (pictures / "trip").rename(pictures / "italy")
    assert "2 made, 1 removed" in run("thumbnails.py", *AT_ONCE, pictures, mirror).stdout
    assert made(mirror) == [b"a.jpg.jpg", b"italy/b.png.jpg"]
    assert size_of(mirror / "a.jpg.jpg") == (256, 256)

    (pictures / "italy" / "b.png").unlink()
    assert "0 made, 1 removed" in run("thumbnails.py", *AT_ONCE, pictures, mirror).stdout
    assert made(mirror) == [b"a.jpg.jpg"]


def test_pictures_that_swap_names_swap_thumbnails(pictures: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    picture(pictures / "wide.jpg", (600, 300))
    picture(pictures / "high.jpg", (300, 600))
    run("thumbnails.py", *AT_ONCE, pictures, mirror)
    (pictures / "wide.jpg").rename(pictures / "aside")
    (pictures / "high.jpg").rename(pictures / "wide.jpg")
    (pictures / "aside").rename(pictures / "high.jpg")
    run("thumbnails.py", *AT_ONCE, pictures, mirror)
    assert size_of(mirror / "wide.jpg.jpg") == (128, 256)
    assert size_of(mirror / "high.jpg.jpg") == (256, 128)


def test_broken_pictures_are_told_once_and_done_when_mended(pictures: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    whole = (pictures / "a.jpg").read_bytes()
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (pictures / "text.png").write_text("this is no picture")
    (pictures / "empty.gif").write_bytes(b"")
    done = run("thumbnails.py", *AT_ONCE, pictures, mirror, code=3)
    assert "2 made, 0 removed, 3 without" in done.stdout
    for name in ("cut.jpg", "text.png", "empty.gif"):
        assert done.stderr.count(f"pictures/{name}: no picture") == 1, done.stderr
    with tw.open(mirror / ".thumbnails.tw") as warden:
        status = warden.pipeline("thumbnails").status()
        assert (status.error, status.dead) == (3, 3), "nobody tries them again"

    # Those that were good are removed when they break: what they showed is not there any more.
    (pictures / "cut.jpg").write_bytes(whole)
    (pictures / "a.jpg").write_bytes(whole[:100])
    done = run("thumbnails.py", *AT_ONCE, pictures, mirror, code=3)
    assert "1 made, 1 removed, 3 without" in done.stdout
    assert made(mirror) == [b"cut.jpg.jpg", b"trip/b.png.jpg"]


def test_thumbnails_take_odd_names_links_and_transparency(pictures: Path, tmp_path: Path) -> None:
    from PIL import Image

    mirror = tmp_path / "mirror"
    odd = os.fsencode(pictures) + b"/new\nline \xff.png"
    picture(odd)
    (pictures / "link.jpg").symlink_to("a.jpg")
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(pictures / "clear.PNG")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    picture(pictures / "turned.jpg", (400, 200), exif=exif)
    run("thumbnails.py", *AT_ONCE, pictures, mirror)
    assert made(mirror) == sorted(
        [b"a.jpg.jpg", b"clear.PNG.jpg", b"new\nline \xff.png.jpg", b"trip/b.png.jpg", b"turned.jpg.jpg"]
    )
    with Image.open(mirror / "clear.PNG.jpg") as image:
        assert image.getpixel((5, 5)) == (255, 255, 255)
    assert size_of(mirror / "turned.jpg.jpg") == (128, 256)


def test_another_size_makes_all_anew_and_again_brings_back_the_lost(pictures: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    run("thumbnails.py", *AT_ONCE, pictures, mirror)
    assert "2 made" in run("thumbnails.py", *AT_ONCE, pictures, mirror, "--size", 64).stdout
    assert size_of(mirror / "a.jpg.jpg") == (64, 32)
    (mirror / "a.jpg.jpg").unlink()
    assert "2 made" in run("thumbnails.py", *AT_ONCE, pictures, mirror, "--size", 64, "--again").stdout
    assert made(mirror) == [b"a.jpg.jpg", b"trip/b.png.jpg"]


def test_thumbnails_come_and_go_while_it_watches(pictures: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    with running("thumbnails.py", *AT_ONCE, pictures, mirror, "--watch"):
        eventually(lambda: (mirror / "trip" / "b.png.jpg").exists(), "what was there is done")
        picture(pictures / "trip" / "new.gif")
        eventually(lambda: (mirror / "trip" / "new.gif.jpg").exists(), "what comes is done")
        (pictures / "trip" / "new.gif").unlink()
        (pictures / "trip" / "b.png").unlink()
        eventually(lambda: not (mirror / "trip").exists(), "what goes is cleaned up, and its folder")
    assert made(mirror) == [b"a.jpg.jpg"]


def test_thumbnails_refuse_a_mirror_that_makes_no_sense(pictures: Path, tmp_path: Path) -> None:
    done = run("thumbnails.py", pictures, pictures / "mirror", code=1)
    assert "one inside the other" in done.stderr
    mirror, others = tmp_path / "mirror", tmp_path / "others"
    run("thumbnails.py", *AT_ONCE, pictures, mirror)
    others.mkdir()
    assert "take another folder" in run("thumbnails.py", others, mirror, code=1).stderr


# dataframe.py


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for module in ("polars", "duckdb", "matplotlib"):
        pytest.importorskip(module)
    folder = tmp_path / "tree"
    (folder / "big" / "deep").mkdir(parents=True)
    (folder / "small").mkdir()
    (folder / "big" / "deep" / "one").write_bytes(b"1" * 50_000)
    (folder / "big" / "copy of one").write_bytes(b"1" * 50_000)
    (folder / "small" / "two").write_bytes(b"2" * 1_000)
    os.link(folder / "small" / "two", folder / "small" / "hard link")
    (folder / "small" / "empty").write_bytes(b"")
    (folder / "small" / "nothing").write_bytes(b"")
    with open(os.fsencode(folder) + b"/small/odd \xff\n", "w") as file:
        file.write("odd")
    return folder


def test_frames_are_printed_and_the_growth_is_a_picture(tree: Path, tmp_path: Path) -> None:
    state, picture_file = tmp_path / "state.tw", tmp_path / "growth.png"
    done = run("dataframe.py", state, tree, "--plot", picture_file)
    assert "tree/big/deep" in done.stdout and "copy of one" in done.stdout and "added" in done.stdout
    assert picture_file.read_bytes().startswith(b"\x89PNG\r\n")
    assert len(picture_file.read_bytes()) > 10_000
    (tree / "small" / "two").unlink()
    again = run("dataframe.py", state, "--plot", picture_file)
    assert again.stdout == done.stdout, "without a directory it does not look at the disk"


def test_frames_say_the_same_as_the_snapshot(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import dataframe

    with tw.open(tmp_path / "state.tw") as warden:
        warden.add_root("tree", tree, content_hash="changed")
        warden.scan()
        snapshot = warden.snapshot()
        directories = dataframe.biggest_directories(snapshot, depth=3, count=100)
        assert directories["directory"].to_list()[:3] == ["tree", "tree/big", "tree/big/deep"]
        for name, files, data in directories.iter_rows():
            totals = snapshot.du(name)
            assert (files, data) == (totals.files, totals.bytes), name

        found = dataframe.duplicates(snapshot).to_dicts()
        assert [(row["wasted"], row["copies"], row["paths"]) for row in found] == [
            (50_000, 2, ["tree/big/copy of one", "tree/big/deep/one"])
        ], "neither hard links nor empty files waste anything"

        (tree / "small" / "three").write_text("3")
        (tree / "big" / "copy of one").unlink()
        (tree / "big" / "deep" / "one").write_text("less")
        warden.scan()
        assert dataframe.happenings(warden).rows() == [
            ("tree", "added", 8),
            ("tree", "missing", 1),
            ("tree", "modified", 1),
        ]
        grown = dataframe.growth(warden)["files"].to_list()
        assert grown == [7, 7] and grown[-1] == len(warden.snapshot())
        assert dataframe.written(warden.snapshot())["bytes"][-1] == warden.snapshot().du("").bytes


def test_frames_tell_people_what_is_wrong(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    # Here, and not as a program: its libraries take a second to load.
    import dataframe

    def ends(*args: object) -> int:
        monkeypatch.setattr(sys, "argv", ["dataframe.py", *map(str, args)])
        return int(dataframe.main())

    assert ends(tmp_path / "none.tw") == 1 and "none.tw" in capsys.readouterr().err
    (tmp_path / "text").write_text("this is no state file, but a text that is long enough to look at" * 100)
    assert ends(tmp_path / "text") == 1 and "dataframe: " in capsys.readouterr().err
    (tmp_path / "bare").mkdir()
    assert ends(tmp_path / "state.tw", tmp_path / "bare") == 0
    assert "knows of no files" in capsys.readouterr().out


# live_dashboard.py


def test_one_look_shows_roots_changes_and_pipelines(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    state, folder = tmp_path / "state.tw", tmp_path / "music [b]"
    folder.mkdir()
    (folder / "song [bold]x.flac").write_bytes(b"la" * 2_000)
    with open(os.fsencode(folder) + b"/bad \xff\x1b[31m.flac", "w") as file:
        file.write("la")
    with tw.open(state) as warden:
        warden.pipeline("tags [red]", glob="**/*.flac")
    done = run("live_dashboard.py", state, folder, "--once")
    assert "music [b]" in done.stdout, "names are no markup"
    assert "music [b]/song [bold]x.flac" in done.stdout
    assert r"bad \xff\x1b[31m.flac" in done.stdout and "\x1b" not in done.stdout
    assert "tags [red]" in done.stdout
    assert "2 files" in done.stdout and "2 added" in done.stdout and "ready" in done.stdout


def test_the_live_view_ends_after_its_time_and_on_request(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    state, folder = tmp_path / "state.tw", tmp_path / "music"
    folder.mkdir()
    begun = time.monotonic()
    done = run("live_dashboard.py", state, folder, "--seconds", 1)
    assert 1.0 <= time.monotonic() - begun < 30.0
    assert "music" in done.stdout
    other = tmp_path / "other.tw"
    with running("live_dashboard.py", other, folder) as process:
        eventually(lambda: other.exists(), "it has opened the state file")
        time.sleep(0.3)
        assert process.poll() is None


def test_a_dashboard_follows_a_warden_and_says_when_it_lost_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = pytest.importorskip("rich.console")
    monkeypatch.syspath_prepend(EXAMPLES)
    import live_dashboard

    folder = tmp_path / "music"
    folder.mkdir()
    with tw.open(tmp_path / "state.tw") as warden:
        warden.add_root("music", folder)
        dashboard = live_dashboard.Dashboard(warden)
        warden.watch()
        for n in range(40):
            (folder / f"{n:02}.flac").write_text("la")
        warden.sync()
        (folder / "00.flac").rename(folder / "zz.flac")
        (folder / "01.flac").unlink()
        warden.sync()
        dashboard.wait(0)
        assert dashboard.seq == warden.seq
        assert (dashboard.counts["added"], dashboard.counts["moved"], dashboard.counts["missing"]) == (40, 1, 1)
        assert len(dashboard.changes) == live_dashboard.CHANGES_SHOWN

        screen = console.Console(width=120, record=True, file=io.StringIO())
        screen.print(dashboard.view())
        assert "music/00.flac -> music/zz.flac" in screen.export_text()

        dashboard.seq = warden.seq + 1_000  # as if of another database
        dashboard.read_journal()
        assert dashboard.seq == warden.seq and "no longer reaches back" in dashboard.trouble[0]


# fleet_duckdb.py, fleet_dask.py


def exported(state: Path, lake: Path, host: str) -> None:
    command = [sys.executable, "-m", "treewarden", "--db", str(state), "export"]
    command += ["--to", str(lake), "--partitioned", "--host", host]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)


def machine(folder: Path, lake: Path, host: str, files: dict[bytes, bytes], content_hash: str = "changed") -> Path:
    """A machine with a root `home`, scanned and exported. Returns where the root lies."""
    home, state = folder / host, folder / f"{host}.tw"
    for name, content in files.items():
        path = os.path.join(os.fsencode(home), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    with tw.open(state) as warden:
        if not warden.roots():
            warden.add_root("home", home, content_hash=content_hash)
        warden.scan("home")
    exported(state, lake, host)
    return home


def test_a_fleet_shows_itself_without_arguments(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    done = run("fleet_duckdb.py")
    assert "80,000 bytes wasted, 3 copies on 2 hosts, same by hash" in done.stdout
    assert "30,000 bytes wasted, 2 copies on 1 hosts, same by name" in done.stdout
    assert run("fleet_duckdb.py").stdout == done.stdout


def test_copies_are_found_over_all_machines_and_exports(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    lake = tmp_path / "lake"
    machine(tmp_path, lake, "123", {b"a/one": b"1" * 5_000, b"odd \xff\n": b"2" * 1_000, b"alone": b"3" * 9_000})
    home = machine(tmp_path, lake, "n\u00e4s x", {b"two": b"1" * 5_000, b"three": b"2" * 1_000, b"none": b""})
    machine(tmp_path, lake, "old", {b"two": b"4" * 5_000, b"b/two": b"5" * 5_000, b"empty": b""}, "off")
    os.link(home / "two", home / "hard link")
    machine(tmp_path, lake, "n\u00e4s x", {})  # a second export replaces the first
    lines = run("fleet_duckdb.py", lake).stdout.splitlines()
    assert [line.strip() for line in lines] == [
        "5,000 bytes wasted, 2 copies on 2 hosts, same by hash",
        "123:home/a/one",
        "n\u00e4s x:home/hard link",
        "5,000 bytes wasted, 2 copies on 1 hosts, same by name",
        "old:home/b/two",
        "old:home/two",
        "1,000 bytes wasted, 2 copies on 2 hosts, same by hash",
        r"123:home/odd \xff\n",
        "n\u00e4s x:home/three",
    ]
    assert len(run("fleet_duckdb.py", lake, "--count", 1).stdout.splitlines()) == 3
    done = run("fleet_duckdb.py", tmp_path / "nowhere", code=1)
    assert done.stderr.startswith("fleet_duckdb: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("how", [(), ("--threads",)], ids=["processes", "threads"])
def test_a_cluster_hashes_what_an_export_lists(how: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    parquet = pytest.importorskip("pyarrow.parquet")
    lake, out = tmp_path / "lake", tmp_path / "hashes.parquet"
    files = {b"%03d" % number: b"%d" % number * 1_000 for number in range(600)}
    files |= {b"d/odd \xff\n": b"odd", b"changed": b"before", b"gone": b"x", b"fifo": b"x", b"link": b"x"}
    home = machine(tmp_path, lake, "h", files, "off")
    (home / "changed").write_bytes(b"after it")
    (home / "gone").unlink()
    for name in ("fifo", "link"):
        (home / name).unlink()
    os.mkfifo(home / "fifo")
    (home / "link").symlink_to("000")

    done = run("fleet_dask.py", lake, f"home={home}", "--host", "h", "--out", out, *how, code=3)
    assert "601 files hashed" in done.stdout and "4 left out" in done.stdout
    for name in ("changed", "gone", "fifo", "link"):
        assert said(done, f"home/{name}:"), done.stderr
    table = parquet.read_table(out)
    paths = [exact or path.encode() for path, exact in zip(*(table[c].to_pylist() for c in ("path", "path_bytes")))]
    good = {name: files[name] for name in files if name not in (b"changed", b"gone", b"fifo", b"link")}
    assert sorted(paths) == sorted(b"home/" + name for name in good)
    expected = [hashlib.sha256(good[path[len(b"home/") :]]).hexdigest() for path in paths]
    assert table["sha256"].to_pylist() == expected
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == [], "no draft stays"

    assert "no export" in run("fleet_dask.py", lake, f"home={home}", "--host", "other", "--out", out, code=1).stderr
    run("fleet_dask.py", lake, "--out", out, code=2)


def test_a_cluster_shows_itself_without_arguments(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    out = tmp_path / "hashes.parquet"
    assert "20 files hashed, 150,000 bytes, 0 left out" in run("fleet_dask.py", "--out", out).stdout
