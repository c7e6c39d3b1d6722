"""Every command of the README and of docs/, in their order, in a checkout of its own."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import warm
from tests.conftest import ROOT, clean_environment

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("usual ports")]

SHORT = {
    "budget": {"trials": 3, "seeds": 1},
    "fidelity": {"iterations": 6, "rungs": [2, 6], "schedule": "truncated"},
    "resources": {"gpus_per_trial": 0, "ranks": 1, "cpus_per_rank": 1, "global_batch": 8, "concurrent": 1},
}
"""Replaces keys of the demo's job: whether the commands work does not depend on how long and on how many it trains."""


def commands() -> list[str]:
    """The lines of the blocks marked `sh`, without comments."""
    documents = [
        ROOT / "README.md",
        *(ROOT / "docs" / f"{name}.md" for name in ("job", "export", "benchmarks", "cluster")),
    ]
    text = "\n".join(document.read_text() for document in documents)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """What git tracks, with the virtual environment that is there already and is not set up again."""
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    for asked_for in ("pyproject.toml", "constraints.txt"):
        os.utime(tmp_path / asked_for, (0, 0))
    demo = tmp_path / "configs/jobs/demo.yaml"
    demo.write_text(yaml.safe_dump(yaml.safe_load(demo.read_text()) | SHORT))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    yield tmp_path
    subprocess.run([".venv/bin/tuner", "down"], cwd=tmp_path, check=True)


def environment() -> dict[str, str]:
    """With the virtual environment's commands, as `. .venv/bin/activate` has them.

    Threads of one process wait for each other: beside other tests, which take the cores from some of them, two
    are slower than one.
    """
    path = f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    return clean_environment() | {"PATH": path, "OMP_NUM_THREADS": "1"}


def output_of(command: str, folder: Path) -> str:
    name, *arguments = shlex.split(command)
    if name == "tuner":
        done = warm.call(arguments, environment(), folder)
    else:
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
    allowed = (0, 1) if command == "tuner stop demo" else (0,)  # 1: the study has ended before
    assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def first_line(command: str, folder: Path, environment: dict[str, str]) -> str:
    """The first line of a command that serves until Ctrl-C."""
    with subprocess.Popen(
        command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        line = server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
    return line


@pytest.mark.timeout(1500)
@pytest.mark.skipif(not (ROOT / ".venv").is_dir(), reason="needs the set-up of `make`")
def test_every_command_of_the_documents_works_in_its_order(checkout: Path) -> None:
    output = {}
    for command in commands():
        serves = " dashboard" in command
        start = time.monotonic()
        output[command] = (
            first_line(command, checkout, environment()) if serves else output_of(command, checkout)
        )
        print(f"{time.monotonic() - start:6.1f} s  {command}", flush=True)
    assert "default 0" in output["make demo"]
    assert "runs/demo-best/config.py" in output["make demo"]
    assert output["make demo"].splitlines()[-1].startswith("report: file:///")
    assert "artifacts/report.html" in output[".venv/bin/tuner dashboard demo"]
    assert "aAcc" in output["tuner evaluate best/config.py best/checkpoint.pth"]
    assert "submitted: demo-1" in output["tuner submit configs/jobs/demo.yaml --wait"]
    assert (checkout / "runs/demo-best/checkpoint.pth").is_file()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) < 7000


def test_every_link_between_the_documents_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docker/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
