"""Two objectives: which trials are on the front, and that they are neither stopped nor thrown away."""

from dataclasses import replace
from random import Random

import pytest

from tests.conftest import JobFile
from tests.loop import DEFAULT
from tests.records import RUNGS, record
from tuner.errors import BadInput
from tuner.search.scheduling import scheduler_for
from tuner.sizing.lint import notes
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.history import History
from tuner.study.pareto import Point, is_pareto_optimal, pareto_front, pareto_optimal
from tuner.study.retention import dispensable
from tuner.study.study import Study

DONE = Outcome.COMPLETED
SECONDARY = {"objective": {"secondary": "latency"}, "search": {"sampler": "nsga2"}}
COST = "latency_milliseconds"


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(**SECONDARY))


def costing(cost: float, plain: Record) -> Record:
    measurements = tuple(replace(m, metrics={**m.metrics, COST: cost}) for m in plain.measurements)
    return replace(plain, measurements=measurements)


def is_beaten(here: Point, others: list[Point]) -> bool:
    return any(other[0] <= here[0] and other[1] <= here[1] and other != here for other in others)


@pytest.mark.parametrize("values", [3, 1000])
def test_on_the_front_are_those_that_nobody_beats_equals_together(values: int) -> None:
    chance = Random(0)
    for _ in range(50):
        points = {number: (chance.randrange(values), chance.randrange(values)) for number in range(20)}
        expected = {n for n, here in points.items() if not is_beaten(here, list(points.values()))}
        assert set(pareto_optimal(points)) == expected


def test_the_front_is_of_completed_trials_of_the_search_the_best_first(job: JobSpec) -> None:
    again = record(6, DONE, 1.0, 2.0, 99.0)
    records = [
        costing(10, record(0, DONE, 1.0, 2.0, 30.0)),
        costing(5, record(1, DONE, 1.0, 2.0, 20.0)),
        costing(12, record(2, DONE, 1.0, 2.0, 29.0)),
        costing(20, record(3, DONE, 1.0, 2.0, 40.0)),
        costing(1, record(4, Outcome.PRUNED, 10.0)),
        costing(1, record(5, None, 1.0, 2.0)),
        costing(1, replace(again, trial=replace(again.trial, replicate_of=0))),
    ]
    assert [each.trial.number for each in pareto_front(History(job, records))] == [3, 0, 1]
    minimized = job.objective.model_copy(update={"direction": "minimize"})
    ascending = pareto_front(History(job.model_copy(update={"objective": minimized}), records))
    assert [each.trial.number for each in ascending] == [1]
    assert is_pareto_optimal(History(job, records), 4, RUNGS[0])
    assert not is_pareto_optimal(History(job, records), 2, RUNGS[2])


def test_without_a_second_objective_there_is_no_front(job_file: JobFile) -> None:
    job = read_job(job_file())
    assert pareto_front(History(job, [record(0, DONE, 1.0, 2.0, 30.0)])) == []


def test_a_trial_that_is_worse_but_cheaper_than_all_is_not_pruned(job: JobSpec) -> None:
    """Objective and cost of each at the first rung; of those beaten in both, ASHA lets a third go on."""
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    should_continue = []
    for value, cost in [(20, 10), (30, 10), (10, 10), (5, 1), (4, 2), (8, 12), (1, 0.5)]:
        trial = study.draw()
        assert trial
        metrics = {"mIoU": float(value), COST: float(cost)}
        should_continue.append(study.measure(trial.number, Measurement(60, metrics, 1.0)) is None)
    assert should_continue == [True, True, False, True, False, False, True]


def test_checkpoints_of_the_front_are_kept(job: JobSpec) -> None:
    records = [costing(20 - n, record(n, DONE, 1.0, 2.0, 40.0 - n)) for n in range(9)]
    assert dispensable(History(job, records)) == set()
    records[7] = costing(99, records[7])
    assert dispensable(History(job, records)) == {7}


@pytest.mark.parametrize(
    ("objective", "sampler", "reason"),
    [
        ({}, "nsga2", "search.sampler: nsga2 weighs two objectives: set objective.secondary to latency"),
        (
            {"secondary": "memory"},
            "tpe",
            "objective.secondary: tpe looks at mIoU alone: set search.sampler to nsga2",
        ),
        (
            {"secondary": "speed"},
            "nsga2",
            "objective.secondary: Input should be 'latency', 'parameters' or 'memory'",
        ),
    ],
)
def test_an_objective_that_the_sampler_cannot_use_is_refused(
    job_file: JobFile, objective: dict[str, str], sampler: str, reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        read_job(job_file(objective=objective, search={"sampler": sampler}))


def test_patience_for_one_objective_is_refused_with_two(job_file: JobFile) -> None:
    with pytest.raises(BadInput, match="patience: sees gains of mIoU alone"):
        read_job(job_file(**SECONDARY, budget={"trials": 12, "seeds": 2, "patience": 5}))


def test_latency_beside_other_trials_is_noted(job_file: JobFile) -> None:
    resources = {"gpus_per_trial": 0.5, "global_batch": 8}
    config = {"model": {}, "data": {"train": {}}}
    (note,) = notes(read_job(job_file(**SECONDARY, resources=resources)), config)
    assert "latency is measured while other trials use the same processors" in note
    assert notes(read_job(job_file(**SECONDARY)), config) == []
