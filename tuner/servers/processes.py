"""Starts, awaits and ends servers: processes with sessions of their own, known by a mark in their environment.

What they start inherits the mark. So all of them are found again, those that lost their parents too, and nobody
else's are taken for them.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from tuner.errors import TunerError
from tuner.servers.ports import LOOPBACK

MARK = "TUNER_CLUSTER"
START_SECONDS = 180
QUIT_SECONDS = 5
OK = 200


@dataclass(frozen=True)
class Server:
    arguments: tuple[str, ...]
    """The arguments of Python."""
    log: Path
    checks: tuple[tuple[int, str], ...]
    """Ports and paths that answer when it is ready."""


def spawn(server: Server, mark: str, environment: dict[str, str]) -> int:
    """Returns the id of the new process, which has a session of its own."""
    command = [sys.executable, *server.arguments]
    marked = environment | {
        MARK: mark,
        "SPT_NOENV": "1",  # else Ray's processes overwrite their environment when they set their titles
    }
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(server.log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, marked, file_actions=files, setsid=True)


def wait_for(server: Server, pid: int, token: str = "") -> None:
    """Returns when all checks of a child of ours answer; raises TunerError with the end of its log if they will not."""
    end = time.monotonic() + START_SECONDS
    while not all(_answers(port, path, token) for port, path in server.checks):
        ended = _has_ended(pid)
        if ended or time.monotonic() > end:
            what = "ended" if ended else f"did not answer within {START_SECONDS} s"
            tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-20:])
            raise TunerError(f"{server.log.stem} {what}; {server.log} ends:\n{tail}")
        time.sleep(0.2)


def _has_ended(pid: int) -> bool:
    """Tells whether a child of ours has ended; its id stays its own until we ask how it ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_mark(pid: int, mark: str) -> bool:
    try:
        return psutil.Process(pid).environ().get(MARK) == mark
    except psutil.Error:
        return False


def marked(mark: str) -> set[psutil.Process]:
    """Returns the processes with the mark and their descendants, our own left out."""
    found = {process for process in psutil.process_iter() if has_mark(process.pid, mark)}
    for process in list(found):
        try:
            found.update(process.children(recursive=True))
        except psutil.NoSuchProcess:
            found.discard(process)
    return found - {psutil.Process()}


def end_all(mark: str) -> None:
    """Ends the marked processes, also those that they start meanwhile. Raises TunerError if one stays."""
    for _ in range(5):
        processes = marked(mark)
        if not processes:
            return
        _signal(processes, signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=QUIT_SECONDS)
        _signal(alive, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=QUIT_SECONDS)
    raise TunerError(f"these processes do not end: {sorted(process.pid for process in marked(mark))}")


def _answers(port: int, path: str, token: str) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status == OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
