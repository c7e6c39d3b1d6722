"""A study on three nodes, PostgreSQL and an MLflow server, all of which are killed at times."""

import gc
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.cluster.composition import HOST, POSTGRES, Composition
from tests.conftest import ROOT, JobFile
from tests.projection import equal_projections
from tests.undisturbed import undisturbed
from tuner import app
from tuner.errors import TunerError
from tuner.files.paths import Home
from tuner.servers.ports import free_ports
from tuner.servers.processes import marked
from tuner.settings import Settings
from tuner.spec.trial import Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.store.studies import load_study

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLAlchemy leaves connections to the collector
    pytest.mark.skipif(POSTGRES is None, reason="needs PostgreSQL, as Debian's package has it"),
]

KILLS = ("rank",) * 10 + ("actor",) * 6 + ("postgres",) * 2 + ("mlflow", "raylet")
SEED = 61
"""Of order and victims: MLflow, which starts slowly, is back before PostgreSQL goes and before the end."""
TITLES = {"rank": "ray::_Rank", "actor": "ray::ResourceTrainable", "raylet": "/raylet/raylet"}
NODES = ("head", "left", "right")
MEASUREMENTS_A_KILL = 3
RESOURCES = {"gpus_per_trial": 0, "ranks": 2, "cpus_per_rank": 0.5, "global_batch": 8}
LEFT_OVER = """
import sys, ray
from ray.util import placement_group_table
ray.init(sys.argv[1], log_to_driver=False)
groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
print(len(groups), ray.cluster_resources()["CPU"] - ray.available_resources()["CPU"])
"""


@pytest.fixture
def composition() -> Iterator[Composition]:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    composition = Composition.read(folder)
    try:
        composition.start_postgres()
        composition.start("mlflow")
        node = ("--num-cpus=1", "--object-store-memory=100000000")
        ports = ("--min-worker-port=0", "--max-worker-port=0")
        client, agent = free_ports(0, 0)
        own = (f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}")
        composition.start("head", *node, *ports, *own, f"--temp-dir={folder / 'head'}")
        for name in NODES[1:]:
            composition.start_node(name, *node, *ports)
        yield composition
        gc.collect()  # connections of the test's own, which nobody closes
    finally:
        composition.end()
        shutil.rmtree(folder)


def chaos_job(job_file: JobFile, folder: Path, seconds_per_iteration: float) -> Path:
    config = folder / f"synthetic_{seconds_per_iteration}.py"
    settings = {"seconds_per_iteration": seconds_per_iteration, "diverges_above": 7e-3}
    config.write_text(f"_base_ = {str(ROOT / 'configs/synthetic.py')!r}\nrunner = {settings!r}\n")
    return job_file(
        name="chaos",
        config=str(config),
        budget={"trials": 24, "retries": len(KILLS)},
        search={"sampler": "random", "scheduler": "none"},
        resources=RESOURCES,
    )


def test_a_study_with_twenty_kills_ends_like_one_left_alone(
    composition: Composition, job_file: JobFile, tmp_path: Path
) -> None:
    environment = composition.environment("head")
    environment["RAY_ADDRESS"] = f"{HOST}:{composition.ports[6379]}"
    job = chaos_job(job_file, tmp_path, seconds_per_iteration=0.005)
    log = tmp_path / "driver.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "tuner", "run", str(job)]
        driver = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        store = store_of(environment["TUNER_STORAGE"], driver)
        kills = disturb(composition, driver, lambda: count_measurements(store))
        assert driver.wait(timeout=300) == 0, log.read_text()
    finally:
        driver.kill()
    calm = undisturbed(read_job(chaos_job(job_file, tmp_path, seconds_per_iteration=0)), tmp_path / "calm")
    assert [story(record) for record in store.records()] == [story(record) for record in calm]
    assert {record.outcome for record in calm} == {Outcome.COMPLETED, Outcome.DIVERGED}
    assert_mlflow_equals_the_study(composition, environment, tmp_path)
    assert_nothing_is_left(composition, environment)
    retries = len(re.findall("it continues from its checkpoint", log.read_text()))
    assert retries >= 1
    print(dict(kills), "retries:", retries)


def store_of(storage: str, driver: subprocess.Popen[bytes]) -> OptunaStore:
    while True:
        assert driver.poll() is None, "the driver ended too early"
        try:
            return load_study(storage, "chaos")
        except TunerError:
            time.sleep(0.5)


def count_measurements(store: OptunaStore) -> int:
    return sum(len(record.measurements) for record in store.records())


def disturb(
    composition: Composition, driver: subprocess.Popen[bytes], measured: Callable[[], int]
) -> Counter[str]:
    random = Random(SEED)
    kinds = random.sample(KILLS, len(KILLS))
    with ThreadPoolExecutor() as pool:
        starts = []
        for turn, kind in enumerate(kinds):
            while measured() < turn * MEASUREMENTS_A_KILL or not kill(composition, kind, random):
                assert driver.poll() is None, "the driver ended before the last kill"
                time.sleep(0.1)
            if kind not in TITLES:
                starts.append(pool.submit(composition.start, kind))
    for start in starts:
        start.result()
    return Counter(kinds)


def kill(composition: Composition, kind: str, random: Random) -> bool:
    """Whether there was anything to kill."""
    if kind not in TITLES:
        composition.kill(kind)
        return True
    nodes = NODES[1:] if kind == "raylet" else NODES
    victims = [process for node in nodes for process in composition.family(node) if is_a(process, kind)]
    if victims:
        random.choice(victims).kill()
    return bool(victims)


def is_a(process: psutil.Process, kind: str) -> bool:
    try:
        return TITLES[kind] in " ".join(process.cmdline())
    except psutil.Error:
        return False


def story(record: Record) -> object:
    return record.trial, record.outcome, record.note, [(m.iteration, m.metrics) for m in record.measurements]


def assert_mlflow_equals_the_study(
    composition: Composition, environment: dict[str, str], folder: Path
) -> None:
    """Compares the runs that were disturbed, to the metric and the artifact, with the study drawn on a new server."""
    storage, anew = environment["TUNER_STORAGE"], f"sqlite:///{folder}/anew.db"
    app.sync_mlflow("chaos", Settings(Home(composition.folder), storage, anew, None))
    study_id = load_study(storage, "chaos").id
    shown = equal_projections(composition.url(5000), anew, "chaos", study_id)
    assert {"config.py", "changes.diff"} <= shown["trial 1"]["artifacts"].keys()


def assert_nothing_is_left(composition: Composition, environment: dict[str, Any]) -> None:
    kinds = ("rank", "actor")
    while [p for p in marked(str(composition.folder)) if any(is_a(p, kind) for kind in kinds)]:
        time.sleep(0.1)
    command = [sys.executable, "-c", LEFT_OVER, environment["RAY_ADDRESS"]]
    assert subprocess.check_output(command, env=environment, text=True) == "0 0.0\n"
