"""Every command of the README, in its order, in a checkout of its own."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment

pytestmark = pytest.mark.cluster


def commands() -> list[str]:
    """The lines of the blocks marked `sh`, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """What git tracks, with the virtual environment that is there already."""
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    yield tmp_path
    subprocess.run([".venv/bin/tuner", "down"], cwd=tmp_path, check=True)


def environment() -> dict[str, str]:
    """With the virtual environment's commands, as `. .venv/bin/activate` has them."""
    return clean_environment() | {"PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}


def output_of(command: str, folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    allowed = (0, 1) if command == "tuner stop demo" else (0,)  # 1: the study has ended before
    assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def served_by(command: str, folder: Path) -> str:
    """The first line of a command that serves until Ctrl-C."""
    server = subprocess.Popen(
        command.split(), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    line = server.stdout.readline()
    server.send_signal(signal.SIGINT)
    server.wait(timeout=60)
    server.stdout.close()
    return line


@pytest.mark.skipif(not (ROOT / ".venv").is_dir(), reason="needs the set-up of `make`")
def test_every_command_of_the_readme_works_in_its_order(checkout: Path) -> None:
    told = {}
    for command in commands():
        serves = " dashboard" in command
        told[command] = served_by(command, checkout) if serves else output_of(command, checkout)
    assert "default 0" in told["make demo"]
    assert "runs/demo-best/config.py" in told["make demo"]
    assert "viewStateShareKey" in told[".venv/bin/tuner dashboard demo"]
    assert "aAcc" in told["tuner evaluate best/config.py best/checkpoint.pth"]
    assert "submitted: demo-1" in told["tuner submit configs/jobs/demo.yaml --wait"]
    assert (checkout / "runs/demo-best/checkpoint.pth").is_file()
