"""docker/slurm.sh on two nodes with networks, processes and temporary files of their own, and a stand-in for Slurm."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import STDOUT, Popen

import psutil
import pytest

from tests.cluster.network import Machine, network
from tests.conftest import ROOT, JobFile, clean_environment
from tests.undisturbed import undisturbed
from tuner.files.paths import Home
from tuner.spec.yaml_files import read_job
from tuner.store.studies import load_study

pytestmark = pytest.mark.cluster

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
{ export -p; printf ' %q' "$@"; } >"$STAGE/task.new"
mv "$STAGE/task.new" "$STAGE/task"
exec "$@"
"""
"""Has both nodes run what follows its options, and ends with the first one."""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf '%s\\n' ${3//,/ }; else echo "$@" >"$STAGE/$1"; fi
"""
SECOND_NODE = 'until [ -e "$STAGE/task" ]; do sleep 0.1; done; bash "$STAGE/task"'
ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
OWN_FILES = 'mount -t tmpfs ray "$RAY_TMPDIR" && exec "$0" "$@"'


@dataclass
class Slurm:
    folder: Path
    machines: list[Machine]
    environment: dict[str, str]

    def begin(self, *arguments: object) -> list[Popen[bytes]]:
        """The job's script on the first node, and a second node that waits for its `srun`."""
        for name in ("task", "requeue"):
            (self.folder / name).unlink(missing_ok=True)
        script = ["bash", str(ROOT / "docker/slurm.sh"), *map(str, arguments)]
        commands = zip(self.machines, (script, ["bash", "-c", SECOND_NODE]), strict=True)
        with (self.folder / "log").open("ab") as log:
            return [
                Popen(
                    [*machine.inside, *ALONE, "bash", "-c", OWN_FILES, *command],
                    env=self.environment,
                    stdout=log,
                    stderr=STDOUT,
                )
                for machine, command in commands
            ]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def slurm(home: Path) -> Iterator[Slurm]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, as sockets' paths must be
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "ray").mkdir()
    try:
        with network(2) as (_, machines):
            environment = {
                "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "STAGE": str(folder),
                "RAY_TMPDIR": str(folder / "ray"),
                "SLURM_JOB_ID": "17",
                "SLURM_JOB_NODELIST": ",".join(machine.address for machine in machines),
                "SLURM_JOB_NUM_NODES": "2",
                "SLURM_CPUS_PER_TASK": "1",
                "TUNER_HOME": str(home),
                "TUNER_STORAGE": Home(home).storage,
                "MLFLOW_TRACKING_URI": Home(home).tracking,
            }
            yield Slurm(folder, machines, clean_environment() | environment)
    finally:
        shutil.rmtree(folder)


def test_a_study_over_two_nodes_leaves_before_the_time_limit_and_goes_on_when_it_is_queued_again(
    slurm: Slurm, job_file: JobFile, home: Path, tmp_path: Path
) -> None:
    """A node has room for one of a trial's two ranks."""
    config = tmp_path / "synthetic.py"
    settings = {"seconds_per_iteration": 0.01}
    config.write_text(f"_base_ = {str(ROOT / 'configs/synthetic.py')!r}\nrunner = {settings!r}\n")
    job = job_file(
        config=str(config),
        budget={"trials": 1},
        fidelity={"iterations": 480, "rungs": [60, 480]},
        resources={"gpus_per_trial": 0, "ranks": 2, "global_batch": 8, "concurrent": 1},
    )
    progress = Home(home).trial("syn", 0).root / "progress.json"
    nodes = slurm.begin(job)
    try:
        wait_for(progress, nodes[0], slurm)
        (script,) = psutil.Process(nodes[0].pid).children()
        script.terminate()
        wait_for(slurm.folder / "requeue", nodes[0], slurm)
    finally:
        end(nodes)
    assert (slurm.folder / "requeue").read_text() == "requeue 17\n"
    left = json.loads(progress.read_text())
    assert not left["is_measured"], "it did not leave in good order"
    assert 60 <= left["iteration"] < 480

    nodes = slurm.begin(job)
    try:
        assert nodes[0].wait(timeout=300) == 0, slurm.log
    finally:
        end(nodes)
    assert not (slurm.folder / "requeue").exists()
    calm = undisturbed(read_job(job), tmp_path / "calm")
    assert [(record.trial, record.outcome, record.measurements) for record in calm] == [
        (record.trial, record.outcome, record.measurements)
        for record in load_study(Home(home).storage, "syn").records()
    ]


def wait_for(file: Path, script: Popen[bytes], slurm: Slurm) -> None:
    while not file.exists() or not file.stat().st_size:
        assert script.poll() is None, slurm.log
        time.sleep(0.05)


def end(nodes: list[Popen[bytes]]) -> None:
    """As Slurm ends a job, with all processes of its nodes."""
    for node in nodes:
        node.kill()
        node.wait()
