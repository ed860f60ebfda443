"""Thumbnails of a folder of pictures in a mirror folder, where `trip/a.png` has `trip/a.png.jpg`.

    thumbnails.py PICTURES MIRROR            makes what is missing, removes what is no longer needed
    thumbnails.py PICTURES MIRROR --watch    and goes on until Ctrl-C
    thumbnails.py PICTURES MIRROR --again    makes all of them once more, behind all other work

It shows a pipeline with workers. What it makes lies under the path of the picture, so the pipeline goes by
path (`group="depth:1000"`): a move is a thumbnail that goes and another one that comes. Thumbnails appear
whole or not at all. A picture that cannot be decoded is a permanent failure: it is told once, and tried
again when the file changes. A disk that is full or a file that may not be read is tried again later.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

from PIL import Image, ImageOps

import treewarden as tw

ROOT = "pictures"
KINDS = ("jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff")
GLOBS = [f"**/*.{kind}" for lower in KINDS for kind in (lower, lower.upper())]
QUALITY = 85


class Mirror:
    """The folder of thumbnails. Its methods may be called from any number of threads."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.counts: Counter[str] = Counter()
        self.told: set[str] = set()  # addresses of failures that were told already
        self.lock = threading.Lock()
        # What is not finished yet lies in a folder of its own, on the same file system.
        self.parts = folder / ".thumbnails.parts"
        self.parts.mkdir(parents=True, exist_ok=True)
        for left_over in self.parts.iterdir():
            left_over.unlink()

    def work(self, job: tw.Job) -> None:
        """Does one job; what it raises is how the job ends."""
        try:
            self._work(job)
        except Exception as error:
            with self.lock:
                self.told.add(job.path)
            say(f"{tw.escape(job.path)}: {error}")
            raise

    def _work(self, job: tw.Job) -> None:
        thumbnail = self.folder / (job.path.partition("/")[2] + ".jpg")
        if job.is_gone or os.path.islink(job.fs_path):
            # A symlink is not followed: what it points to has a thumbnail where it lies.
            self._remove(thumbnail)
            return
        try:
            picture = self._shrink(job.fs_path)
        except (MemoryError, tw.Error):
            raise
        except OSError as error:
            if error.errno is not None:
                raise  # of the system, so it may go well another time; decoders have no errno
            self._refuse(thumbnail, job, error)
        except Exception as error:  # decoders raise whatever a broken file makes them stumble over
            self._refuse(thumbnail, job, error)
        else:
            self._put(picture, thumbnail, job)

    def _shrink(self, path: str) -> Image.Image:
        with Image.open(path) as image:
            image.draft("RGB", (self.size, self.size))  # a JPEG is decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            upright = upright.convert("RGB")
            upright.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
            return upright

    def _refuse(self, thumbnail: Path, job: tw.Job, error: Exception) -> None:
        """Ends the job for good. A thumbnail of what the file was before would be a lie."""
        self._remove(thumbnail)
        raise tw.Permanent(f"no picture: {error}") from error

    def _put(self, picture: Image.Image, thumbnail: Path, job: tw.Job) -> None:
        part = self.parts / f"{job.token:016x}"  # no two jobs have the same token
        try:
            with open(part, "wb") as file:
                picture.save(file, "JPEG", quality=QUALITY, optimize=True)
                file.flush()
                os.fsync(file.fileno())  # before the pipeline records that it is done
            while True:
                thumbnail.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.replace(part, thumbnail)
                    break
                except FileNotFoundError:
                    if not part.exists():
                        raise
                    # Another thread has removed the empty folder in between.
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise tw.Permanent("its name leaves no room for the .jpg of a thumbnail") from error
            raise
        finally:
            part.unlink(missing_ok=True)
        self._count("made")

    def _remove(self, thumbnail: Path) -> None:
        try:
            thumbnail.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return  # it was never made, or a kill came between this and the end of the job
        self._count("removed")
        for folder in thumbnail.parents:
            if folder == self.folder:
                break
            try:
                folder.rmdir()
            except OSError:
                break  # not empty, or removed by another thread

    def _count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


def say(text: str) -> None:
    print(f"thumbnails: {text}", file=sys.stderr, flush=True)


def is_news(record: logging.LogRecord) -> bool:
    """The package logs failed jobs with their tracebacks; here they are told in one line by `Mirror.work`."""
    return not record.exc_info or isinstance(record.exc_info[1], tw.Error)


def open_pipeline(warden: tw.Warden, size: int, settle: float) -> tw.Pipeline:
    """Another size is another version of the work: all thumbnails are made once more."""
    settings = warden.space("thumbnails")
    version = int(settings.get("version") or b"0")
    made_by = f"{size} {QUALITY}".encode()
    if settings.get("made-by") != made_by:
        version += 1
        settings.update({"made-by": made_by, "version": str(version).encode()})  # one commit
    return warden.pipeline(
        "thumbnails", root=ROOT, glob=GLOBS, group="depth:1000", version=version, settle=settle
    )


def add_root(warden: tw.Warden, pictures: str) -> None:
    roots = warden.roots()
    if not roots:
        warden.add_root(ROOT, pictures)
    elif roots[0].fs_path != pictures:
        raise ValueError(f"this is the mirror of {roots[0].fs_path!r}; take another folder for {pictures!r}")


def run(options: argparse.Namespace) -> int:
    pictures, folder = os.path.realpath(options.pictures), os.path.realpath(options.mirror)
    if os.path.commonpath([pictures, folder]) in (pictures, folder):
        raise ValueError("the pictures and their mirror must not lie one inside the other")
    mirror = Mirror(Path(folder), options.size)
    with tw.open(mirror.folder / ".thumbnails.tw") as warden:
        add_root(warden, pictures)
        pipeline = open_pipeline(warden, options.size, options.settle)
        if options.again and len(pipeline.list(limit=1)):
            pipeline.request("", "very_low")
        # At the end of the block no new jobs are taken, and those in hand are waited for.
        with pipeline.work(mirror.work, threads=options.threads):
            if options.watch:
                warden.watch()
                look_on(warden)
            report = warden.scan(ROOT)
            pipeline.wait_idle()
        return tell(report, pipeline, mirror)


def look_on(warden: tw.Warden) -> None:
    """Tells of trouble until Ctrl-C. The work is done by the workers."""
    for event in warden.events():
        if event.name in ("root_unavailable", "root_held", "root_back", "error"):
            say(f"{event.name.replace('_', ' ')} {event.reason or event.message or ''}".rstrip())


def tell(report: tw.Report, pipeline: tw.Pipeline, mirror: Mirror) -> int:
    if report.unavailable:
        say(report.unavailable)
    if report.held:
        say(f"{report.held.missing} of {report.held.of} pictures are gone; nothing was removed")
    for problem in report.first_errors:
        say(problem.message)
    failed = pipeline.list(state="error")
    for item in failed:
        if item.path not in mirror.told:  # of an earlier run
            say(f"{tw.escape(item.path)}: {pipeline.explain(item.path_bytes).last_error}")
    made, removed = mirror.counts["made"], mirror.counts["removed"]
    print(f"{made} made, {removed} removed, {len(failed)} without a thumbnail")
    return 3 if failed or not report.is_clean else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Keeps thumbnails of a folder in a mirror folder.")
    parser.add_argument("pictures")
    parser.add_argument("mirror")
    parser.add_argument("--size", type=int, default=256, help="pixels of the longer side (256)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 4)
    parser.add_argument("--settle", type=float, default=1.0, help="seconds that a file must be still (1)")
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--again", action="store_true", help="make all of them once more")
    options = parser.parse_args()
    if not 1 <= options.size <= 4096:
        parser.error("a size is 1 to 4096 pixels")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("treewarden").addFilter(is_news)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 0 if options.watch else 130
    except (tw.Error, OSError, ValueError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
