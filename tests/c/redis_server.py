"""A Redis of the tests' own: on a free port of the loopback interface, without a trace on disk, killed afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from toolbox import Failed

PROGRAM = "redis-server"
# Where the programs find its URL. Each uses a prefix of its own, so that one server is enough for all.
VARIABLE = "TREEWARDEN_TEST_REDIS"
# Somebody else may be given the port between the question and the answer.
TRIES = 10
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as line:
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def start(port: int, folder: Path) -> Optional[subprocess.Popen[bytes]]:
    """Starts it and waits until it answers; nothing when it ends instead."""
    words = [PROGRAM, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    words += ["--loglevel", "warning", "--daemonize", "no", "--dir", str(folder)]
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + PATIENCE_S
    while child.poll() is None:
        if answers(port) and child.poll() is None:
            return child
        if time.monotonic() > end:
            child.kill()
            child.wait()
            raise Failed(f"{PROGRAM} does not answer")
        time.sleep(0.01)
    return None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[bool]:
    """Has a server running meanwhile, with its URL in the environment. False, and a word about it, where the program is
    not installed; on a build server that is a failure."""
    os.environ.pop(VARIABLE, None)
    if shutil.which(PROGRAM) is None:
        if os.environ.get("CI") == "true":
            raise Failed(f"{PROGRAM} is not installed")
        print(f"SKIPPED: all that needs Redis, because {PROGRAM} is not installed", flush=True)
        yield False
        return
    folder.mkdir()
    for _ in range(TRIES):
        port = free_port()
        child = start(port, folder)
        if child is None:
            continue
        os.environ[VARIABLE] = f"redis://127.0.0.1:{port}"
        try:
            yield True
        finally:
            del os.environ[VARIABLE]
            child.kill()
            child.wait()
        return
    raise Failed(f"{PROGRAM} does not start")
