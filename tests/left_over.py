"""Finds the processes of one test: tests run beside each other, so none may look at all processes."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tuner.servers.processes import marked

ENDING_SECONDS = 10


def processes_of(folder: Path) -> list[psutil.Process]:
    """Lists the living processes whose command line or environment names the folder; ours is left out."""
    return [process for process in psutil.process_iter() if str(folder) in " ".join(_texts(process))]


def left_over(folder: Path) -> list[psutil.Process]:
    """Lists the folder's processes that stay; those that are about to end get a moment."""
    end = time.monotonic() + ENDING_SECONDS
    while (found := processes_of(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def kill_all(mark: str) -> None:
    """SIGKILL to all marked processes, also to those that they start meanwhile; returns when none is left."""
    while processes := marked(mark):
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it ended with another one
                process.kill()
        psutil.wait_procs(processes)


def listening(processes: Iterable[psutil.Process]) -> list[str]:
    """The addresses at which processes listen, one a socket."""
    ids = {process.pid for process in processes}
    sockets = [each for each in psutil.net_connections("inet") if each.pid in ids and each.laddr]
    addresses = [each.laddr[0] for each in sockets if each.status == psutil.CONN_LISTEN]
    return [address.removeprefix("::ffff:") for address in addresses]


def _texts(process: psutil.Process) -> Iterator[str]:
    with suppress(psutil.Error):
        if process != psutil.Process() and process.status() != psutil.STATUS_ZOMBIE:
            yield from process.cmdline()
            yield from process.environ().values()
