"""What a trial reserves and which processes it gets, on a real Ray with two logical GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from tests.cluster.trainers import open_noting_the_process
from tests.conftest import JobFile
from tuner import app
from tuner.cluster import ray_tune
from tuner.cluster.gang import Trainer
from tuner.cluster.placement import check_fits, reservation
from tuner.cluster.ray_tune import Launch
from tuner.errors import BadInput
from tuner.files import read_job
from tuner.job import Resources
from tuner.paths import Home
from tuner.search.scheduling import rule
from tuner.search.store import open_study
from tuner.study import Study
from tuner.training import process_group

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its processes' pipes to the collector
]


@pytest.fixture(scope="module", autouse=True)
def _two_gpus() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=2, labels={"zone": "a"}, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def resources(**keys: Any) -> Resources:
    return Resources.model_validate({"cpus_per_rank": 0.1, "global_batch": 8} | keys)


@contextmanager
def reserved(wanted: Resources, trials: int) -> Iterator[list[PlacementGroup]]:
    groups = [reservation(wanted).to_placement_group() for _ in range(trials)]
    yield groups
    for group in groups:
        remove_placement_group(group)


def count_ready(groups: list[PlacementGroup], seconds: float = 30) -> int:
    waiting = [group.ready() for group in groups]
    return len(ray.wait(waiting, num_returns=len(waiting), timeout=seconds)[0])


@pytest.mark.parametrize(
    ("gpus", "at_once"),
    [(0.5, 4), (1, 2), (2, 1)],
)
def test_as_many_trials_run_at_once_as_share_the_gpus(gpus: float, at_once: int) -> None:
    wanted = resources(gpus_per_trial=gpus)
    with reserved(wanted, at_once) as groups:
        assert count_ready(groups) == at_once
        check_fits(wanted)
        with reserved(wanted, 1) as waiting:
            assert count_ready(waiting, seconds=0.5) == 0


@pytest.mark.parametrize("strategy", ["pack", "spread"])
def test_a_trial_lies_on_nodes_with_its_labels(strategy: str) -> None:
    wanted = resources(gpus_per_trial=2, labels={"zone": "a"}, strategy=strategy)
    check_fits(wanted)
    with reserved(wanted, 1) as groups:
        assert count_ready(groups) == 1
    with reserved(resources(labels={"zone": "b"}), 1) as groups:
        assert count_ready(groups, seconds=0.5) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"gpus_per_trial": 4},
            "needs 4 GPUs a trial, but the cluster has 2: lower resources.gpus_per_trial",
        ),
        ({"cpus_per_rank": 3}, "needs 3 CPUs a trial, but the cluster has 2: lower resources.cpus_per_rank"),
        ({"labels": {"zone": "b"}}, "resources.labels: no node has zone=b; there are .*zone=a"),
    ],
)
def test_what_can_never_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_fits(resources(**keys))


@pytest.mark.parametrize(("fresh", "processes"), [(False, 1), (True, 3)])
def test_a_trial_takes_over_warm_processes_unless_told_not_to(
    job_file: JobFile, home: Path, fresh: bool, processes: int
) -> None:
    keys = {"gpus_per_trial": 0.5, "global_batch": 8, "concurrent": 1, "fresh_processes": fresh}
    job = read_job(job_file(budget={"trials": 3}, resources=keys))
    place = Home(home)
    config, fingerprint, default = app.check(job, place.storage)
    study = Study(job, open_study(place.storage, job, fingerprint, default), rule)
    ray_tune.run(study, Launch(job, config, place, Trainer(process_group.join, open_noting_the_process)))
    pids = {(place.trial(job.name, number).root / "pid").read_text() for number in range(3)}
    assert len(pids) == processes
