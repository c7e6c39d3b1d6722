"""A trial over machines with addresses of their own, which share a network and an object store alone."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
import ray

from tests.cluster.network import Machine, network
from tests.cluster.trainers import open_summing
from tests.conftest import ROOT, JobFile, clean_environment
from tests.object_store import serving
from tuner import checking
from tuner.cluster import ray_tune
from tuner.cluster.gang import Trainer
from tuner.cluster.ray_tune import Launch
from tuner.files.paths import Home
from tuner.files.urls import UrlPath
from tuner.search.scheduling import scheduler_for
from tuner.servers.ports import free_ports
from tuner.servers.processes import MARK, end_all, marked
from tuner.spec.trial import Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.store.studies import load_study, open_study
from tuner.study.study import Study
from tuner.training import process_group

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its processes' pipes to the collector
]

NODES = {
    "RAY_AUTH_MODE": "disabled",  # the network is this machine's own
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
START_SECONDS = 120


@dataclass(frozen=True)
class Lab:
    address: str
    """Of Ray's head, which trains nothing."""
    ours: str
    machines: list[Machine]
    url: str
    """Of a folder that all machines reach."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="lab-"))  # short, as sockets' paths must be
    with network(2) as (ours, machines), serving(ours) as store:
        try:
            yield Lab(start_nodes(folder, ours, machines), ours, machines, store.fresh())
        finally:
            for process in marked(str(folder)):  # who is cut off takes his time to end
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            end_all(str(folder))
            shutil.rmtree(folder)


def start_nodes(folder: Path, ours: str, machines: list[Machine]) -> str:
    """A head here and a node on every machine; the head's address."""
    gcs, client, agent = map(str, free_ports(0, 0, 0))
    head = f"{ours}:{gcs}"
    start_node(
        folder / "head",
        (),
        "--head",
        f"--node-ip-address={ours}",
        f"--port={gcs}",
        f"--ray-client-server-port={client}",
        f"--dashboard-agent-listen-port={agent}",
        "--include-dashboard=false",
        "--num-cpus=0",
    )
    for machine in machines:
        start_node(
            folder / machine.namespace,
            machine.inside,
            f"--address={head}",
            f"--node-ip-address={machine.address}",
            "--num-cpus=2",
        )
    return head


def start_node(folder: Path, inside: tuple[str, ...], *options: str) -> None:
    environment = clean_environment() | NODES
    environment |= {MARK: str(folder.parent), "SPT_NOENV": "1", "PYTHONPATH": str(ROOT)}
    words = ["-m", "ray.scripts.scripts", "start", "--block", f"--temp-dir={folder}"]
    with folder.with_suffix(".log").open("wb") as out:
        subprocess.Popen(
            [*inside, sys.executable, *words, "--object-store-memory=100000000", *options],
            env=environment,
            stdout=out,
            stderr=out,
        )


class CutsOff:
    """Pulls a machine's cable when trial 1 has reached its first rung."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Machine | None = machine

    def changed(self, record: Record) -> None:
        if self._machine and record.trial.number == 1 and record.measurements:
            self._machine.cut_off()
            self._machine = None


def search(lab: Lab, file: Path, home: Home) -> None:
    """In a process of its own: one that was connected to another Ray keeps to that one's authentication."""
    connect(lab)
    job = read_job(file)
    checked = checking.check(job, home.storage, home)
    store = open_study(home.storage, job, checked.fingerprint, checked.default)
    study = Study(job, store, scheduler_for, [CutsOff(lab.machines[1])])
    ray_tune.run(study, Launch(job, checked.config, home, Trainer(process_group.join, open_summing)))


def connect(lab: Lab) -> None:
    """Returns when all machines are there."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            ray.init(lab.address, _node_ip_address=lab.ours, log_to_driver=False, logging_level="ERROR")
            break
        except ConnectionError:
            assert time.monotonic() < end, "the head does not answer"
            time.sleep(0.2)
    while sum(node["Alive"] for node in ray.nodes()) <= len(lab.machines):
        assert time.monotonic() < end, ray.nodes()
        time.sleep(0.2)


def test_a_trial_spread_over_machines_goes_on_on_one_when_the_other_is_cut_off(
    lab: Lab, job_file: JobFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", NODES["RAY_AUTH_MODE"])
    spread = {"gpus_per_trial": 0, "ranks": 2, "global_batch": 8, "concurrent": 1, "strategy": "spread"}
    file = job_file(budget={"trials": 2}, resources=spread, search={"sampler": "random", "scheduler": "none"})
    home = Home(tmp_path / "home", UrlPath(lab.url))
    process = get_context("spawn").Process(target=search, args=(lab, file, home))
    process.start()
    process.join()
    assert process.exitcode == 0
    whole, cut = load_study(home.storage, "syn").records()
    assert whole.outcome == cut.outcome == Outcome.COMPLETED
    assert [m.metrics["mIoU"] for m in whole.measurements] == [180, 480, 1440]
    assert [m.metrics for m in cut.measurements] == [m.metrics for m in whole.measurements]
    assert [m.system_metrics["nodes"] for m in whole.measurements] == [2, 2, 2]
    assert [m.system_metrics["nodes"] for m in cut.measurements] == [2, 1, 1]
    assert [m.system_metrics["begun_at"] for m in cut.measurements] == [0, 60, 60]
