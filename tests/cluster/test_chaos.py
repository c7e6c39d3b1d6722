"""Two studies on three nodes, PostgreSQL and MLflow; all of it is killed at times, and `tuner resume` is the only help.

KILLS says how often; servers and nodes start again by themselves, as Compose and Kubernetes have it.
"""

import gc
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from random import Random
from threading import Event

import psutil
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from tests import warm
from tests.cluster.composition import HOST, NODES, POSTGRES, Composition
from tests.conftest import ROOT, JobFile, Tuner
from tests.projection import equal_projections
from tests.undisturbed import undisturbed
from tuner import app
from tuner.errors import TunerError
from tuner.files.paths import Home
from tuner.settings import Settings
from tuner.spec.trial import Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.store.lease import drivers
from tuner.store.store import OptunaStore
from tuner.store.studies import load_study
from tuner.study.history import History
from tuner.study.replication import is_over

KILLS = int(os.environ.get("KILLS", "3"))
KINDS = ("driver", "head", "node", "postgres", "rank", "mlflow", "actor")
"""What is killed, in turn; the order, the moments and the victims are drawn."""
PROCESSES = {
    "driver": ("python -m tuner run",),
    "rank": ("ray::_Rank",),
    "actor": ("ray::GangTrainable", "ray::ResourceTrainable"),
}
"""How the command lines begin of what is a process in a node."""
STUDIES = {"lark": (5, 2), "wren": (4, 1)}
"""With the seed, by which one of the first trials diverges, and the ranks of a trial."""
SEED = 61
MOMENT_SECONDS, HELP_SECONDS, MOST_SECONDS = 2, 10, 300

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("compose"),
    pytest.mark.timeout(600 + MOST_SECONDS * KILLS),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLAlchemy leaves connections to the collector
    pytest.mark.skipif(POSTGRES is None, reason="needs PostgreSQL, as Debian's package has it"),
]

LEFT_OVER = """
import sys, ray
from ray.util import placement_group_table
ray.init(sys.argv[1], log_to_driver=False)
groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
print(len(groups), ray.cluster_resources()["CPU"] - ray.available_resources()["CPU"])
"""


@pytest.fixture
def lab(composition: Composition) -> Iterator[Composition]:
    """Whose servers and nodes start again by themselves."""
    for service in ("postgres", "mlflow", "head", *NODES):
        composition.keep(service)
    yield composition
    gc.collect()  # connections of the test's own, which nobody closes


def chaos_job(job_file: JobFile, folder: Path, study: str, seconds_per_iteration: float) -> Path:
    """Has more trials than the kills take time for; the test asks for fewer once the last one is done."""
    seed, ranks = STUDIES[study]
    config = folder / f"synthetic_{seconds_per_iteration}.py"
    settings = {"seconds_per_iteration": seconds_per_iteration, "diverges_above": 2e-3}
    config.write_text(f"_base_ = {str(ROOT / 'configs/synthetic.py')!r}\nrunner = {settings!r}\n")
    return job_file(
        name=study,
        config=str(config),
        seed=seed,
        budget={"trials": 1000, "retries": KILLS},
        search={"sampler": "random", "scheduler": "none"},
        resources={
            "gpus_per_trial": 0,
            "ranks": ranks,
            "cpus_per_rank": 0.5,
            "global_batch": 8,
            "concurrent": 1,
        },
    )


def test_two_studies_whose_parts_are_all_killed_end_like_ones_left_alone(
    lab: Composition,
    job_file: JobFile,
    tuner: Tuner,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = lab.environment("resume")
    del environment["TUNER_HOME"]  # the command line's own counts
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, environment[name])
    settings = Settings(Home(home), environment["TUNER_STORAGE"], lab.url(5000), None)
    cluster = ("--address", lab.url(8265))
    for study in STUDIES:
        tuner("submit", chaos_job(job_file, tmp_path, study, 0.01), *cluster, **environment)
    with helped(("--home", str(home), "resume", *cluster), environment) as starts:
        kills = disturb(lab, settings)
        for study in STUDIES:
            tuner("budget", study, "--trials", len(look(study, settings).records()), **environment)
        wait_until(lambda: all(is_finished(study, settings) for study in STUDIES))
        wait_until(lambda: not drivers(settings.storage))
    outcomes = set()
    for study in STUDIES:
        records = look(study, settings).records()
        job = read_job(chaos_job(job_file, tmp_path, study, 0), {"budget.trials": len(records)})
        calm = undisturbed(job, tmp_path / study)
        assert [story(record) for record in records] == [story(record) for record in calm]
        outcomes |= {record.outcome for record in calm}
        assert_mlflow_equals_the_study(settings, study, tmp_path)
    assert outcomes == {Outcome.COMPLETED, Outcome.DIVERGED}
    assert_nothing_is_left(lab, environment)
    print(f"killed: {dict(kills)}, started by resume: {dict(starts)}, restarts: {dict(lab.restarts)}")


@contextmanager
def helped(command: tuple[str, ...], environment: dict[str, str]) -> Iterator[Counter[str]]:
    """Calls `tuner resume` again and again; counts the studies that it has started."""
    over, starts = Event(), Counter[str]()

    def help_often() -> None:
        while not over.wait(HELP_SECONDS):
            done = warm.call(command, environment)
            assert done.returncode in (0, 1), done.stderr
            assert "Traceback" not in done.stderr, done.stderr
            starts.update(re.findall(r"(?m)^(\w+): submitted", done.stdout))

    with ThreadPoolExecutor() as pool:
        help_ = pool.submit(help_often)
        try:
            yield starts
        finally:
            over.set()
            help_.result()


def disturb(lab: Composition, settings: Settings) -> Counter[str]:
    """Kills in an order of chance, and each time when every study has got further: one that never does is given up."""
    random = Random(SEED)
    kinds = [*islice(cycle(KINDS), KILLS)]
    random.shuffle(kinds)
    stores = [look(study, settings) for study in STUDIES]
    for kind in kinds:
        wait_for_progress(stores)
        time.sleep(random.uniform(0, MOMENT_SECONDS))
        while not kill(lab, kind, random):
            time.sleep(0.1)
    lab.wait_for("mlflow")
    wait_for_progress(stores)
    return Counter(kinds)


def wait_for_progress(stores: list[OptunaStore]) -> None:
    before = [store.progress() for store in stores]
    wait_until(lambda: all(store.progress() > reached for store, reached in zip(stores, before, strict=True)))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while not condition():
        assert time.monotonic() < end, "nobody has helped a study on"
        time.sleep(1)


def look(study: str, settings: Settings) -> OptunaStore:
    """At a study that is in the database sooner or later, whenever that answers."""
    while True:
        try:
            return load_study(settings.storage, study)
        except (TunerError, SQLAlchemyError, StorageInternalError):
            time.sleep(0.5)


def is_finished(study: str, settings: Settings) -> bool:
    store = look(study, settings)
    return is_over(History(store.job, store.records()))


def kill(lab: Composition, kind: str, random: Random) -> bool:
    """Whether there was anything to kill; of nodes one that trains, if there is one."""
    if kind == "node":
        training = [node for node in NODES if found(lab, "rank", node)]
        lab.kill(random.choice(training or NODES))
    elif kind not in PROCESSES:
        lab.kill(kind)
    elif victims := found(lab, kind, "head", *NODES):
        random.choice(victims).kill()
    else:
        return False
    return True


def found(lab: Composition, kind: str, *services: str) -> list[psutil.Process]:
    return [process for service in services for process in lab.family(service) if is_a(process, kind)]


def is_a(process: psutil.Process, kind: str) -> bool:
    try:
        return " ".join(process.cmdline()).startswith(PROCESSES[kind])
    except psutil.Error:
        return False


def story(record: Record) -> object:
    return record.trial, record.outcome, record.note, [(m.iteration, m.metrics) for m in record.measurements]


def assert_mlflow_equals_the_study(settings: Settings, study: str, folder: Path) -> None:
    """Compares the runs that were disturbed, to the metric and the artifact, with the study drawn on a new server."""
    anew = f"sqlite:///{folder}/anew.db"
    app.sync_mlflow(study, replace(settings, tracking_uri=anew))
    shown = equal_projections(settings.tracking_uri, anew, study, load_study(settings.storage, study).id)
    assert {"config.py", "changes.diff"} <= shown["trial 1"]["artifacts"].keys()


def assert_nothing_is_left(lab: Composition, environment: dict[str, str]) -> None:
    wait_until(lambda: not any(found(lab, kind, "head", *NODES) for kind in PROCESSES))
    command = [sys.executable, "-c", LEFT_OVER, f"{HOST}:{lab.ports[6379]}"]
    assert subprocess.check_output(command, env=environment, text=True) == "0 0.0\n"
