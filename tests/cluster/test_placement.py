"""What a trial reserves and which processes it gets, on a real Ray with two logical GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from tests.cluster.trainers import (
    join_on_cpu,
    join_without_the_last_rank,
    open_in_fresh_processes_alone,
    open_noting_the_process,
)
from tests.conftest import JobFile
from tuner import checking
from tuner.cluster import ray_tune
from tuner.cluster.gang import Gang, Trainer
from tuner.cluster.placement import check_fits, reservation
from tuner.cluster.ray_tune import Launch
from tuner.errors import BadInput, Crashed
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec, Resources
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.study.study import Study

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("placement"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its processes' pipes to the collector
]


@pytest.fixture(scope="module", autouse=True)
def _two_gpus() -> Iterator[None]:
    ray.init(
        "local", num_cpus=2, num_gpus=2, labels={"zone": "a"}, include_dashboard=False, logging_level="ERROR"
    )
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
        (
            {"gpus_per_trial": 2, "ranks": 3, "global_batch": 6},
            "needs 3 GPUs a trial, as a GPU has room for 1 of its 3 ranks with 0.667 GPUs each, but the cluster has 2",
        ),
        ({"cpus_per_rank": 3}, "needs 3 CPUs a trial, but the cluster has 2: lower resources.cpus_per_rank"),
        ({"labels": {"zone": "b"}}, "resources.labels: no node has zone=b; there are .*zone=a"),
    ],
)
def test_what_can_never_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_fits(resources(**keys))


def test_ranks_that_share_gpus_unevenly_never_start() -> None:
    with reserved(resources(gpus_per_trial=2, ranks=3, global_batch=6, cpus_per_rank=0.1), 1) as groups:
        assert count_ready(groups, seconds=0.5) == 0


@pytest.mark.timeout(240)  # a rank that is left in the place waits for half an hour
def test_a_rank_that_cannot_join_leaves_no_other_in_its_place() -> None:
    wanted = resources(gpus_per_trial=2)
    with reserved(wanted, 1) as [group]:
        assert count_ready([group]) == 1
        with pytest.raises(Crashed, match="CUDA cannot be used there"):
            Gang(wanted, group, Trainer(join_without_the_last_rank, open_noting_the_process))
        Gang(wanted, group, Trainer(join_on_cpu, open_noting_the_process)).disband()


@pytest.mark.parametrize(("fresh", "processes"), [(False, 1), (True, 2)])
def test_a_trial_takes_over_warm_processes_unless_told_not_to(
    job_file: JobFile, home: Path, fresh: bool, processes: int
) -> None:
    keys = {"gpus_per_trial": 0.5, "global_batch": 8, "concurrent": 1, "fresh_processes": fresh}
    job = read_job(job_file(budget={"trials": 2}, resources=keys))
    pids = processes_of(job, home, Trainer(join_on_cpu, open_noting_the_process))
    assert len(pids) == processes


def test_a_gang_that_is_started_afresh_for_memory_costs_no_retry(job_file: JobFile, home: Path) -> None:
    keys = {"gpus_per_trial": 0.5, "global_batch": 8, "concurrent": 1}
    job = read_job(job_file(budget={"trials": 2, "retries": 0}, resources=keys))
    pids = processes_of(job, home, Trainer(join_on_cpu, open_in_fresh_processes_alone))
    assert len(pids) == 2


def processes_of(job: JobSpec, folder: Path, trainer: Trainer) -> set[str]:
    """Searches with a trainer that notes its process, and gives the processes of the two trials."""
    home = Home(folder)
    checked = checking.check(job, home.storage)
    study = Study(job, open_study(home.storage, job, checked.fingerprint, checked.default), scheduler_for)
    ray_tune.run(study, Launch(job, checked.config, home, trainer))
    assert not [record.note for record in study.records if record.note]
    return {(home.trial(job.name, number).root / "pid").read_text() for number in range(2)}
