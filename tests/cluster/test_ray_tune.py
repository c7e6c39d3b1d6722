"""Studies on a real Ray, through the command line; the trainer is the synthetic one."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from tests.conftest import ROOT, JobFile, Tuner, clean_environment
from tests.undisturbed import undisturbed
from tuner.files import read_job
from tuner.paths import Home
from tuner.search.store import load_study, studies
from tuner.trial import Record

pytestmark = pytest.mark.cluster


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


def test_a_study_ends_with_every_trial_once_and_its_picture_in_mlflow(
    tuner: Tuner, job_file: JobFile, home: Path
) -> None:
    resources = {"gpus_per_trial": 0, "ranks": 2, "global_batch": 8, "concurrent": 1}
    done = tuner("run", job_file(resources=resources))
    found = trials(tuner)
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
        assert float(run.data.params["lr"]) == found[number]["trial"]["params"]["lr"]
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "mIoU")]
        assert steps == [measurement["iteration"] for measurement in found[number]["measurements"]]
        assert "config.py" in [file.path for file in client.list_artifacts(run.info.run_id)]
    assert not [run for run in runs if run.info.status == "RUNNING"]


def test_failed_trials_are_told_apart_and_do_not_end_the_study(
    tuner: Tuner, job_file: JobFile, synthetic: Callable[..., str]
) -> None:
    config = synthetic(diverges_above=5e-3, out_of_memory_above=150, crashes=0.2)
    one_by_one = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 1, "concurrent": 1}
    job = job_file(config=config, budget={"trials": 20}, search={"sampler": "random"}, resources=one_by_one)
    tuner("run", job)
    found = trials(tuner)
    outcomes = {trial["outcome"] for trial in found}
    assert len(found) == 20
    assert {"diverged", "out of memory", "crashed", "completed"} <= outcomes
    (diverged, *_) = [trial for trial in found if trial["outcome"] == "diverged"]
    assert diverged["note"] == "loss nan at iteration 60"


def test_a_trial_short_of_memory_trains_fewer_pictures_at_once(
    tuner: Tuner, job_file: JobFile, synthetic: Callable[..., str]
) -> None:
    resources = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 6, "concurrent": 1}
    tuner(
        "run", job_file(config=synthetic(out_of_memory_above=50), budget={"trials": 1}, resources=resources)
    )
    (trial,) = trials(tuner)
    assert trial["outcome"] == "completed"
    assert trial["measurements"][-1]["conditions"] == {"pictures_at_once": 3}


def test_a_study_killed_with_its_ray_and_started_again_ends_like_one_left_alone(
    tuner: Tuner, job_file: JobFile, synthetic: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    fidelity = {"iterations": 480, "rungs": "auto"}
    job = job_file(config=synthetic(seconds_per_iteration=0.001), fidelity=fidelity)
    run_until_killed(home, job, rows=5)
    tuner("run", job)
    disturbed = load_study(Home(home).storage, "syn").records()
    calm = undisturbed(read_job(job), tmp_path / "calm")
    assert [story(record) for record in disturbed] == [story(record) for record in calm]
    runs = MlflowClient(Home(home).tracking).search_runs(["1"])
    assert len(runs) == 13
    assert not [run for run in runs if run.info.status == "RUNNING"]
    passed = [len(record.measurements) for record in disturbed]
    assert passed[:8] == [5] * 8
    assert max(passed[8:]) < 5, "rungs were not chosen"


def run_until_killed(home: Path, job: Path, rows: int) -> None:
    """SIGKILL to the driver and all of its Ray as soon as the study has this many trials."""
    command = [sys.executable, "-m", "tuner", "--home", str(home), "run", str(job)]
    driver = psutil.Popen(
        command, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while rows_of(home) < rows:
        assert driver.poll() is None, "the driver ended before it was killed"
        time.sleep(0.05)
    family = [driver, *driver.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=30)


def rows_of(home: Path) -> int:
    storage = Home(home).storage
    return len(load_study(storage, "syn").records()) if "syn" in studies(storage) else 0


def test_more_than_the_cluster_has_is_refused_before_anything_is_written(
    tuner: Tuner, job_file: JobFile, home: Path
) -> None:
    done = tuner("run", job_file(resources={"gpus_per_trial": 4, "global_batch": 8}), code=2)
    assert "needs 4 GPUs a trial, but the cluster has 0: lower resources.gpus_per_trial" in done.stderr
    assert not home.exists()
