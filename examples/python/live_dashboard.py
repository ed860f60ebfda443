"""A live view of a state file in the terminal: roots and how they are watched, the last changes, pipelines.

    live_dashboard.py STATE [DIR...]            watches until Ctrl-C; a DIR that is no root yet becomes one
    live_dashboard.py STATE --once              one look, after everything on disk has been taken up
    live_dashboard.py STATE --seconds 10        ends by itself

It shows events as a cheap reason to look, and the journal as the record: a view that lags behind and gets
a `reset` reads on from the last change that it has shown. `Dashboard` works on any open warden, so a program
can show its own one beside its work: `Dashboard(warden).run()` in a thread. One process at a time may have a
state file open for writing, so this one cannot look over the shoulder of another.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import treewarden as tw

CHANGES_SHOWN = 15
REFRESH_S = 0.25
STATES = ("new", "changed", "stale", "missing", "processing", "indexed", "error", "dead")
COLOURS = {
    "added": "green",
    "restored": "green",
    "modified": "yellow",
    "moved": "cyan",
    "missing": "red",
    "forgotten": "dim",
}


class Dashboard:
    """What is shown, and where it has come to. One thread at a time."""

    def __init__(self, warden: tw.Warden) -> None:
        self.warden = warden
        self.events = warden.events()
        self.seq = warden.seq
        self.changes: deque[tw.Change] = deque(maxlen=CHANGES_SHOWN)
        self.counts = {kind: 0 for kind in COLOURS}
        self.scans: dict[str, str] = {}
        self.trouble: deque[str] = deque(maxlen=3)

    def run(self, console: Console, seconds: float | None = None) -> None:
        """Shows what happens until `seconds` have passed, without them until Ctrl-C."""
        end = None if seconds is None else time.monotonic() + seconds
        with Live(self.view(), console=console, auto_refresh=False, transient=False) as live:
            while end is None or time.monotonic() < end:
                left = REFRESH_S if end is None else max(end - time.monotonic(), 0.0)
                self.wait(min(left, REFRESH_S))
                live.update(self.view(), refresh=True)

    def wait(self, timeout: float) -> None:
        """Takes in the next event, waiting for it at most so long, and all that come with it."""
        event = self.events.next(timeout)
        while event is not None:
            self.take(event)
            event = self.events.next(0)

    def take(self, event: tw.Event) -> None:
        root = event.root or ""
        if event.name in ("committed", "reset"):
            self.read_journal()
        elif event.name == "scan_progress":
            share = f" of {event.estimate_files:,}" if event.estimate_files else ""
            self.scans[root] = f"{event.phase} {event.files:,}{share}"
        elif event.name == "scan_finished":
            self.scans.pop(root, None)
        elif event.name == "error":
            self.trouble.append(f"{root} {event.message}".strip())
        elif event.name == "overflow":
            self.trouble.append(f"{root} lost events of the system; it is scanned again")

    def read_journal(self) -> None:
        """Goes on where it was. A journal that no longer reaches back leaves a gap, and that is said."""
        try:
            changes = self.warden.changes(self.seq).files_only()
        except tw.ResetError as reset:
            self.seq = reset.restart_seq or self.warden.seq
            self.trouble.append("the journal no longer reaches back; changes are missing here")
            return
        for change in changes:
            self.changes.append(change)
            self.counts[change.kind] += 1
        self.seq = changes.last_seq

    def view(self) -> Group:
        status = self.warden.status()
        head = Text(f"{tw.escape(status.fs_path)}  seq {status.seq:,}  ")
        head.append(f"{status.totals.files:,} files  {size(status.totals.bytes)}")
        parts: list[Table | Panel | Text] = [head, self.roots(status), self.last_changes()]
        if status.pipelines:
            parts.append(pipelines(status))
        parts += [Text(f"! {tw.escape(text)}", style="red") for text in self.trouble]
        return Group(*parts)

    def roots(self, status: tw.Status) -> Table:
        table = Table(title="roots", title_justify="left", expand=True)
        for column in ("root", "state", "watched"):
            table.add_column(column)
        for column in ("files", "size", "pending"):
            table.add_column(column, justify="right")
        live = {root.root: root for root in status.live.roots} if status.live else {}
        for root in status.roots:
            state = Text(root.state, style="green" if root.state == "ready" else "bold red")
            if root.reason or root.held_missing is not None:
                state.append(f" {root.reason or f'{root.held_missing:,} of {root.held_of:,} files are gone'}")
            if root.name in self.scans:
                state.append(f"  {self.scans[root.name]}", style="dim")
            watch = live.get(root.name)
            pending = f"{watch.pending:,}" if watch else ""
            numbers = (f"{root.totals.files:,}", size(root.totals.bytes), pending)
            table.add_row(Text(root.name), state, watched(watch), *numbers)
        return table

    def last_changes(self) -> Panel:
        if not self.changes:
            return Panel(Text("nothing has changed yet", style="dim"), title="changes", title_align="left")
        lines = Text(no_wrap=True, overflow="ellipsis")
        for change in self.changes:
            lines.append(f"{change.seq:>8}  ", style="dim")
            lines.append(f"{change.kind:<10}", style=COLOURS[change.kind])
            if change.from_path is not None:
                lines.append(f"{tw.escape(change.from_path)} -> ")
            lines.append(f"{tw.escape(change.path)}\n")
        lines.rstrip()
        told = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items() if count)
        return Panel(lines, title=f"changes: {told}", title_align="left")


def watched(watch: tw.RootLive | None) -> Text:
    """How a root is watched, and what is not as it should be."""
    if watch is None:
        return Text("no", style="dim")
    text = Text(watch.coverage, style="green" if watch.coverage == "native" else "yellow")
    if not watch.coherent:
        text.append("  not coherent", style="red")
    if watch.reason:
        text.append(f"  {watch.reason}", style="dim")
    return text


def pipelines(status: tw.Status) -> Table:
    table = Table(title="pipelines", title_justify="left", expand=True)
    table.add_column("pipeline")
    for column in (*STATES, "a minute", "waits"):
        table.add_column(column, justify="right")
    for pipeline in status.pipelines:
        numbers = [f"{getattr(pipeline, state):,}" for state in STATES]
        waits = "" if pipeline.oldest_due is None else f"{pipeline.oldest_due:,.0f} s"
        table.add_row(Text(pipeline.name), *numbers, f"{pipeline.done_per_minute:.1f}", waits)
    return table


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def add_roots(warden: tw.Warden, directories: list[str]) -> None:
    for directory in directories:
        path = os.path.realpath(directory)
        if path not in [root.fs_path for root in warden.roots()]:
            warden.add_root(tw.escape(os.path.basename(path)) or "root", path)


def open_pipelines(warden: tw.Warden, dashboard: Dashboard) -> None:
    """The status tells of pipelines that are open, and nothing is handed out by opening them."""
    for info in warden.pipelines():
        try:
            warden.pipeline(info.name)
        except tw.InvalidArgumentError as error:  # its groups are made by a function of another program
            dashboard.trouble.append(error.message)


def show(options: argparse.Namespace) -> None:
    console = Console()
    with tw.open(options.state) as warden:
        dashboard = Dashboard(warden)
        add_roots(warden, options.dir)
        open_pipelines(warden, dashboard)
        warden.watch()
        if options.once:
            warden.sync(timeout=600)
            dashboard.wait(0)
            console.print(dashboard.view())
        else:
            dashboard.run(console, options.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description="A live view of a state file.")
    parser.add_argument("state", type=Path)
    parser.add_argument("dir", nargs="*", help="directories to watch besides the roots that there are")
    parser.add_argument("--once", action="store_true", help="one look, when everything has been taken up")
    parser.add_argument("--seconds", type=float, help="end after so long")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        show(options)
        return 0
    except KeyboardInterrupt:
        return 0
    except (tw.Error, OSError) as error:
        print(f"live_dashboard: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
