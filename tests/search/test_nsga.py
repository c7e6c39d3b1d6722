"""NSGA-II over a study with a cost: its front, and draws that follow from the history alone."""

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
import yaml

from tests.conftest import JobFile
from tuner.search.ask import decided
from tuner.search.nsga import COST, GENERATION, POPULATION
from tuner.search.samplers import BEST, Best
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.objective import Objective
from tuner.spec.space import Params
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.store.studies import in_memory
from tuner.study.history import History
from tuner.study.pareto import pareto_front
from tuner.study.study import Study

NAMES = ("a", "b", "c", "d")
SPACE = {"parameters": {name: {"type": "float", "low": 0, "high": 1, "sets": name} for name in NAMES}}
DEFAULT = dict.fromkeys(NAMES, 0.5)


def made(job_file: JobFile, folder: Path, sampler: str = "nsga2", **search: Any) -> JobSpec:
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return read_job(
        job_file(
            space=str(folder / "space.yaml"),
            objective={"secondary": "latency"},
            budget={"trials": 100},
            search={"sampler": sampler, "scheduler": "none", **search},
        )
    )


@pytest.fixture
def job(job_file: JobFile, tmp_path: Path) -> JobSpec:
    return made(job_file, tmp_path)


def metrics(params: Params) -> dict[str, float]:
    """Problem 1 of Zitzler, Deb and Thiele (2000): on the front b, c and d are 0, the objective 9 + √cost."""
    a, *others = (float(params[name]) for name in NAMES)
    spread = 1 + 9 * fmean(others)
    return {"mIoU": 10 - spread * (1 - sqrt(a / spread)), "latency_milliseconds": a}


def train(study: Study, trial: Trial) -> None:
    for stop in study.evaluation_points:
        if study.measure(trial.number, Measurement(stop, metrics(trial.params), 1.0)):
            return


def searched(job: JobSpec) -> list[Record]:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    while trial := study.draw():
        train(study, trial)
    return study.records


def covered(job: JobSpec, records: list[Record]) -> float:
    """The area below the front, costs from 0 to 1."""
    area, right = 0.0, 1.0
    for each in pareto_front(History(job, records)):
        cost = each.value("latency_milliseconds") or 0.0
        area += (right - cost) * (each.value("mIoU") or 0.0)
        right = cost
    return area


def test_the_front_is_found_better_than_by_chance(job_file: JobFile, tmp_path: Path) -> None:
    whole = 9 + 2 / 3
    missed = {
        sampler: fmean(
            whole - covered(job, searched(job.model_copy(update={"seed": seed}))) for seed in range(4)
        )
        for sampler, job in [(name, made(job_file, tmp_path, name)) for name in ("nsga2", "random")]
    }
    assert 0 < missed["nsga2"] < 0.7 * missed["random"]


def four_at_a_time(study: Study, trials: int) -> Iterator[Trial]:
    running: list[Trial] = []
    for _ in range(trials):
        if len(running) == 4:
            train(study, running.pop(0))
        trial = study.draw()
        assert trial
        running.append(trial)
        yield trial


def test_a_restart_changes_no_draw(job: JobSpec) -> None:
    calm = Study(job, in_memory(job, DEFAULT), scheduler_for)
    undisturbed = list(four_at_a_time(calm, 40))
    store = in_memory(job, DEFAULT)
    study, drawn, running = Study(job, store, scheduler_for), [], []
    for number in range(40):
        if number % 7 == 6:
            study = Study(job, OptunaStore(store.storage, job.name), scheduler_for)
            assert [study.draw() for _ in running] == running
        if len(running) == 4:
            train(study, running.pop(0))
        drawn.append(trial := study.draw())
        running.append(trial)
    assert drawn == undisturbed
    generations = {trial.system_attrs.get(GENERATION) for trial in store.optuna_study.get_trials()}
    assert {0, 1, 2} <= generations


def test_optunas_study_keeps_one_objective_and_nothing_of_the_samplers(job: JobSpec) -> None:
    store = in_memory(job, DEFAULT)
    study = Study(job, store, scheduler_for)
    for trial in four_at_a_time(study, 3 * POPULATION):
        assert trial.params.keys() == DEFAULT.keys()
    assert store.optuna_study.directions == [optuna.study.StudyDirection.MAXIMIZE]
    assert store.storage.get_study_system_attrs(store.storage.get_study_id_from_name(job.name)) == {}
    assert {len(trial.values) for trial in store.optuna_study.get_trials() if trial.values} == {1}


def test_nothing_is_drawn_twice_while_there_is_something_new(job_file: JobFile, tmp_path: Path) -> None:
    grid = {"parameters": {n: {"type": "choice", "choices": [0, 0.5, 1], "sets": n} for n in NAMES}}
    job = made(job_file, tmp_path)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(grid))
    budget = job.budget.model_copy(update={"trials": 50})
    job = job.model_copy(update={"space": read_job(tmp_path / "job.yaml").space, "budget": budget})
    drawn = [tuple(each.trial.params.values()) for each in searched(job)]
    assert len(set(drawn)) == len(drawn) == 50


def test_the_front_is_looked_at_however_old_it_is_and_bounded(job: JobSpec) -> None:
    best = Best(Objective(secondary="memory"))

    def add(number: int, value: float, cost: float) -> None:
        trial = decided(DEFAULT, job.space, **{COST: cost})
        trial.number, trial.state, trial.value = number, optuna.trial.TrialState.COMPLETE, value
        best.add(trial)

    for number in range(3 * BEST):
        add(number, 50.0, 10.0 + number)
    assert best.numbers == [0]
    for number in range(1000, 1000 + 3 * BEST):
        add(number, 10.0 + number, float(number))
    assert len(best.numbers) == BEST
    assert best.numbers[0] == 1000 + 3 * BEST - 1


def test_the_draws_of_a_space_with_conditions_keep_to_it(job_file: JobFile, tmp_path: Path) -> None:
    job = made(job_file, tmp_path)
    space: dict[str, Any] = {"parameters": dict(SPACE["parameters"])}
    space["parameters"]["kind"] = {"type": "choice", "choices": ["x", "y"], "sets": "kind"}
    space["parameters"]["only"] = {
        "type": "int",
        "low": 1,
        "high": 9,
        "sets": "only",
        "only_when": {"kind": "x"},
    }
    space["constraints"] = ["a + b < 1.5"]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    job = job.model_copy(update={"space": read_job(tmp_path / "job.yaml").space})
    default = {**DEFAULT, "kind": "y"}
    study = Study(job, in_memory(job, default), scheduler_for)
    for _ in range(40):
        trial = study.draw()
        assert trial
        assert ("only" in trial.params) is (trial.params["kind"] == "x")
        assert job.space.allows(trial.params)
        if trial.number % 5 == 4:
            study.fail(trial.number, Outcome.OUT_OF_MEMORY, "")
        else:
            train(study, trial)
