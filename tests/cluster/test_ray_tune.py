"""Studies on a real Ray, through the command line; the trainer is the synthetic one.

One starts a Ray of its own, as `tuner run` does; the others share one.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from tests import warm
from tests.conftest import ROOT, JobFile, Tuner, clean_environment
from tests.left_over import listening
from tests.projection import projection
from tests.undisturbed import undisturbed
from tuner.cluster import waiting
from tuner.files.paths import Home
from tuner.spec.trial import Record
from tuner.spec.yaml_files import read_job
from tuner.store.requests import ask, requests
from tuner.store.studies import load_study
from tuner.store.summaries import standings

pytestmark = pytest.mark.cluster

HOLD = """
import sys, ray
from ray.util.placement_group import placement_group
ray.init(sys.argv[1], log_to_driver=False)
ray.get(placement_group([{"CPU": 1}]).ready())
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def synthetic(tmp_path: Path) -> Callable[..., str]:
    """The synthetic config with other settings."""

    def write(**settings: Any) -> str:
        file = tmp_path / "synthetic.py"
        file.write_text(f"_base_ = {str(ROOT / 'configs/synthetic.py')!r}\nrunner = {settings!r}\n")
        return str(file)

    return write


def trials(tuner: Tuner, study: str = "syn") -> list[dict[str, Any]]:
    summary: dict[str, Any] = json.loads(tuner("status", study, "--json").stdout)
    return list(summary["trials"])


def story(record: Record) -> object:
    return record.trial, record.outcome, record.measurements


def test_a_study_ends_with_every_trial_once_and_its_image_in_mlflow(
    tuner_inside: Tuner, ray_address: str, job_file: JobFile, home: Path
) -> None:
    resources = {"gpus_per_trial": 0, "ranks": 2, "global_batch": 8, "concurrent": 1}
    job = job_file(resources=resources)
    done = tuner_inside("run", job, RAY_ADDRESS=ray_address)
    found = trials(tuner_inside)
    again = tuner_inside("run", job, RAY_ADDRESS="127.0.0.1:1")
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1], "an ended study needs no cluster"
    assert trials(tuner_inside) == found
    assert [trial["trial"]["number"] for trial in found] == list(range(12))
    assert {trial["outcome"] for trial in found} == {"completed", "pruned"}
    assert found[0]["trial"]["params"] == {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}
    assert "default 0" in done.stdout

    client = MlflowClient(Home(home).tracking)
    experiment = client.get_experiment_by_name("syn")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {int(run.data.tags["tuner.trial"]): run for run in runs if run is not parent}
    assert len(children) == 12
    for number, run in children.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert float(run.data.params["lr"]) == pytest.approx(found[number]["trial"]["params"]["lr"], rel=1e-3)
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "mIoU")]
        assert steps == [measurement["iteration"] for measurement in found[number]["measurements"]]
        assert "config.py" in [file.path for file in client.list_artifacts(run.info.run_id)]
    assert not [run for run in runs if run.info.status == "RUNNING"]


def test_failed_trials_are_told_apart_and_do_not_end_the_study(
    tuner_inside: Tuner, ray_address: str, job_file: JobFile, synthetic: Callable[..., str]
) -> None:
    config = synthetic(diverges_above=5e-3, out_of_memory_above=150, crashes=0.2)
    one_by_one = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 1, "concurrent": 1}
    job = job_file(config=config, budget={"trials": 9}, search={"sampler": "random"}, resources=one_by_one)
    tuner_inside("run", job, RAY_ADDRESS=ray_address)
    found = trials(tuner_inside)
    outcomes = {trial["outcome"] for trial in found}
    assert len(found) == 9
    assert {"diverged", "out of memory", "crashed", "completed"} <= outcomes
    (diverged, *_) = [trial for trial in found if trial["outcome"] == "diverged"]
    assert diverged["note"] == "loss nan at iteration 60"


def test_a_trial_short_of_memory_trains_fewer_images_at_once(
    tuner_inside: Tuner, ray_address: str, job_file: JobFile, synthetic: Callable[..., str]
) -> None:
    resources = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 6, "concurrent": 1}
    job = job_file(config=synthetic(out_of_memory_above=50), budget={"trials": 1}, resources=resources)
    tuner_inside("run", job, RAY_ADDRESS=ray_address)
    (trial,) = trials(tuner_inside)
    assert trial["outcome"] == "completed"
    assert trial["measurements"][-1]["system_metrics"] == {"images_at_once": 3}


def test_a_study_killed_with_its_ray_and_resumed_on_another_from_the_database_ends_like_one_left_alone(
    tuner_inside: Tuner,
    ray_address: str,
    job_file: JobFile,
    synthetic: Callable[..., str],
    home: Path,
    tmp_path: Path,
) -> None:
    fidelity = {"iterations": 480, "rungs": "auto"}
    job = job_file(config=synthetic(seconds_per_iteration=0.001), fidelity=fidelity)
    asked = read_job(job)
    run_until_killed(home, job, rows=5)
    job.unlink()
    assert "syn: has ended" in tuner_inside("resume", "--here", RAY_ADDRESS=ray_address).stdout
    store = load_study(Home(home).storage, "syn")
    disturbed = store.records()
    calm = undisturbed(asked, tmp_path / "calm")
    assert [story(record) for record in disturbed] == [story(record) for record in calm]
    runs = MlflowClient(Home(home).tracking).search_runs(["1"])
    assert len(runs) == 13
    assert not [run for run in runs if run.info.status == "RUNNING"]
    anew = Home(tmp_path / "anew")
    tuner_inside("sync-mlflow", "syn", MLFLOW_TRACKING_URI=anew.tracking)
    assert projection(Home(home).tracking, "syn", store.id) == projection(anew.tracking, "syn", store.id)
    passed = [len(record.measurements) for record in disturbed]
    assert passed[:8] == [5] * 8
    assert max(passed[8:]) < 5, "rungs were not chosen"


def test_a_study_given_a_trial_more_and_paused_ends_soon_and_goes_on_like_one_left_alone(
    tuner_inside: Tuner,
    ray_address: str,
    job_file: JobFile,
    synthetic: Callable[..., str],
    home: Path,
    tmp_path: Path,
) -> None:
    """A pause is a SIGTERM of the driver to itself."""
    job = job_file(
        config=synthetic(seconds_per_iteration=0.02),
        fidelity={"iterations": 480, "rungs": [60, 480]},
        budget={"trials": 2},
    )
    driver = started(home, job, RAY_ADDRESS=ray_address, RAY_AUTH_MODE="token")
    progress = Home(home).trial("syn", 0).root / "progress.json"
    while not progress.exists():
        assert driver.is_alive(), "the driver ended before it was asked to leave"
        time.sleep(0.05)
    storage = Home(home).storage
    ask(storage, "syn", "budget", {"trials": "+1"})
    ask(storage, "syn", "pause", {})
    driver.join(90)
    assert driver.exitcode == 1
    assert [each.answer for each in requests(storage, "syn")] == ["trials 3", "left"]
    left = json.loads(progress.read_text())
    assert not left["is_measured"], "it did not leave in good order"
    assert 60 <= left["iteration"] < 480
    tuner_inside("resume", "syn", "--here", RAY_ADDRESS=ray_address)
    asked, records = read_job(job, {"budget.trials": 3}), load_study(storage, "syn").records()
    calm = undisturbed(asked, tmp_path / "calm")
    assert [story(record) for record in records] == [story(record) for record in calm]
    assert [record.last and record.last.seconds_lost for record in records] == [0] * 3


def test_a_study_that_finds_no_room_waits_and_is_told_so(
    tuner_inside: Tuner,
    ray_address: str,
    job_file: JobFile,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two CPUs another user of the cluster holds one, the study needs both."""
    monkeypatch.setattr(waiting, "PATIENCE", 1.0)
    both = {"gpus_per_trial": 0, "ranks": 1, "cpus_per_rank": 2, "global_batch": 8, "concurrent": 1}
    job, storage = job_file(budget={"trials": 1}, resources=both), Home(home).storage
    with another_user(ray_address) as leave, ThreadPoolExecutor() as pool:
        told = pool.submit(until_it_waits, storage, "syn", leave)
        tuner_inside("run", job, RAY_ADDRESS=ray_address)
        assert told.result()
    assert trials(tuner_inside)[0]["outcome"] == "completed"
    assert not is_waiting(storage, "syn")


@contextmanager
def another_user(address: str) -> Iterator[Callable[[], None]]:
    """Holds a CPU of the cluster until told to leave."""
    environment = clean_environment() | {"RAY_AUTH_MODE": "token"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", HOLD, address], env=environment, **pipes) as user:
        assert user.stdout
        assert user.stdin
        assert user.stdout.readline() == b"held\n"
        yield user.stdin.close


def until_it_waits(storage: str, study: str, then: Callable[[], None]) -> bool:
    end = time.monotonic() + 120
    while not is_waiting(storage, study) and time.monotonic() < end:
        time.sleep(0.05)
    found = is_waiting(storage, study)
    then()
    return found


def is_waiting(storage: str, study: str) -> bool:
    facts = {each.study: each.facts for each in standings(storage)}.get(study)
    return bool(facts and facts["is_waiting"])


def run_until_killed(home: Path, job: Path, rows: int) -> None:
    """SIGKILL to the driver and all of its Ray as soon as the study has this many trials."""
    driver = started(home, job)
    while rows_of(home) < rows:
        assert driver.is_alive(), "the driver ended before it was killed"
        time.sleep(0.05)
    process = psutil.Process(driver.pid)
    family = [process, *process.children(recursive=True)]
    assert set(listening(family)) == {"127.0.0.1"}
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=30)


def started(home: Path, job: Path, **environment: str) -> BaseProcess:
    command = warm.tuner(["--home", str(home), "run", str(job)])
    return warm.start(command, clean_environment() | environment)


def rows_of(home: Path) -> int:
    """Read past Optuna, which takes its time to connect."""
    try:
        with closing(sqlite3.connect(f"file:{home / 'studies.db'}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_more_than_the_cluster_has_is_refused_before_anything_is_written(
    tuner_inside: Tuner, ray_address: str, job_file: JobFile, home: Path
) -> None:
    job = job_file(resources={"gpus_per_trial": 4, "global_batch": 8})
    done = tuner_inside("run", job, code=2, RAY_ADDRESS=ray_address)
    assert "needs 4 GPUs a trial, but the cluster has 0: lower resources.gpus_per_trial" in done.stderr
    assert not home.exists()


def test_paused_trials_hold_no_place_and_go_on_from_their_checkpoints(
    tuner_inside: Tuner, ray_address: str, job_file: JobFile
) -> None:
    """Of nine screened trials the default and three others are finished; one trained anew would be measured twice."""
    job = job_file(search={"scheduler": "screen"}, budget={"trials": 9})
    done = tuner_inside("run", job, RAY_ADDRESS=ray_address)
    found = trials(tuner_inside)
    reached = [[each["iteration"] for each in trial["measurements"]] for trial in found]
    assert sorted(reached) == [[60]] * 5 + [[60, 160, 480]] * 4
    assert {trial["outcome"] for trial in found} == {"completed", "pruned"}
    assert done.stdout.count("iteration 60,") == 9
