"""Processes in the background, with small stand-ins for servers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tuner.errors import TunerError
from tuner.servers.ports import free_ports
from tuner.servers.processes import MARK, Server, end_all, has_mark, marked, spawn, wait_for

ORPHAN = "import subprocess; subprocess.Popen(['sleep', '600'])"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)
    end_all(str(tmp_path))


def server(folder: Path, *arguments: str, port: int = 1) -> Server:
    return Server(arguments, folder / "stand-in.log", ((port, "/"),))


def test_waits_until_the_server_answers(tmp_path: Path, mark: str) -> None:
    [port] = free_ports(0)
    site = server(tmp_path, "-m", "http.server", "--bind", "127.0.0.1", str(port), port=port)
    pid = spawn(site, mark, dict(os.environ))
    wait_for(site, pid)
    assert has_mark(pid, mark)
    assert os.getsid(pid) == pid


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path, mark: str) -> None:
    broken = server(tmp_path, "-c", "raise SystemExit('the disk is full')")
    pid = spawn(broken, mark, dict(os.environ))
    with pytest.raises(TunerError, match=r"(?s)stand-in ended.*the disk is full"):
        wait_for(broken, pid)


def test_ends_what_lost_its_parent(tmp_path: Path, mark: str) -> None:
    psutil.Process(spawn(server(tmp_path, "-c", ORPHAN), mark, dict(os.environ))).wait()
    assert [process.name() for process in marked(mark)] == ["sleep"]
    end_all(mark)
    assert not marked(mark)


def test_ends_what_will_not_listen(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.servers.processes.QUIT_SECONDS", 0.5)
    stubborn = server(tmp_path, "-c", STUBBORN)
    pid = spawn(stubborn, mark, dict(os.environ))
    while not stubborn.log.read_text():
        assert psutil.pid_exists(pid)
    end_all(mark)
    assert not psutil.pid_exists(pid)


def test_spares_the_processes_of_others(mark: str) -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {MARK: f"{mark}/other"}) as other:
        end_all(mark)
        assert other.poll() is None
        other.communicate(b"\n")
    assert other.returncode == 0
