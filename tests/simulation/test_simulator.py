"""Searches in virtual time, and the curves that they train on."""

from dataclasses import replace
from math import exp, log10
from pathlib import Path
from random import Random
from statistics import stdev

import pytest

from tests.conftest import ROOT, JobFile
from tests.loop import DEFAULT
from tuner import simulations
from tuner.errors import BadInput
from tuner.search.scheduling import scheduler_for
from tuner.settings import Settings
from tuner.simulation import curves
from tuner.simulation.simulator import Moment, cost_of_near_best, idle_share, simulate
from tuner.simulation.surrogate import Surrogate
from tuner.spec.job import JobSpec, Search
from tuner.spec.space import Params
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.study import Study

NOISE = 0.3


def height(params: Params) -> float:
    return 40 * exp(-((log10(float(params["lr"])) + 2.7) ** 2))


def recorded(job: JobSpec) -> list[Record]:
    chance, records = Random(0), []
    for number in range(96):
        drawn = Random(number // 2)
        lr, decay = 10 ** drawn.uniform(-4.5, -2), 10 ** drawn.uniform(-6, -1)
        params = {"lr": lr, "weight_decay": decay, "centers": drawn.choice([4, 25, 49])}
        measurements = tuple(
            Measurement(stop, {"mIoU": height(params) * stop / 480 + chance.gauss(0, NOISE)}, float(stop))
            for stop in job.fidelity.evaluation_points
        )
        records.append(Record(Trial(number, params, number % 2), Outcome.COMPLETED, measurements))
    return records


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 40}))


@pytest.fixture
def surrogate(job: JobSpec) -> Surrogate:
    return Surrogate(job, recorded(job))


def simulated(job: JobSpec, surrogate: Surrogate, workers: int) -> tuple[Study, list[Moment]]:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    return study, list(simulate(study, surrogate, workers))


def test_one_at_a_time_it_is_the_study_told_by_a_loop(job: JobSpec, surrogate: Surrogate) -> None:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    while trial := study.draw():
        next(m for m in surrogate.training(trial) if study.measure(trial.number, m))
    virtual, _ = simulated(job, surrogate, workers=1)
    facts = [(r.trial, r.outcome, r.measurements) for r in study.records]
    assert [(r.trial, r.outcome, r.measurements) for r in virtual.records] == facts
    assert {r.outcome for r in virtual.records} == {Outcome.COMPLETED, Outcome.PRUNED}


def test_with_more_workers_no_trial_is_lost_and_less_time_passes(job: JobSpec, surrogate: Surrogate) -> None:
    one, eight = simulated(job, surrogate, workers=1), simulated(job, surrogate, workers=8)
    for study, moments in (one, eight):
        assert study.is_over
        assert sorted(m.number for m in moments if m.ended) == list(range(40))
        seconds = sum(r.last.seconds for r in study.records if r.last)
        assert moments[-1].trial_hours == pytest.approx(seconds / 3600)
    assert one[1][-1].hours == pytest.approx(one[1][-1].trial_hours)
    assert eight[1][-1].hours < one[1][-1].hours / 4


def test_rungs_are_chosen_over_curves_that_hold_every_candidate(job_file: JobFile) -> None:
    job = read_job(job_file(budget={"trials": 30}, fidelity={"iterations": 480, "rungs": "auto"}))
    study, _ = simulated(job, Surrogate(job, recorded(job)), workers=4)
    assert study.evaluation_points[0] < 480
    passed = {tuple(m.iteration for m in r.measurements) for r in study.records if r.outcome}
    assert {study.evaluation_points, (30, 60, 120, 240, 480)} <= passed
    assert Outcome.PRUNED in {record.outcome for record in study.records}


def test_near_the_best_is_reached_by_what_is_truly_near(job: JobSpec, surrogate: Surrogate) -> None:
    study, moments = simulated(job, surrogate, workers=4)
    cost = cost_of_near_best(study, surrogate, moments, near=5.0)
    assert cost is not None
    assert 0 < cost < moments[-1].trial_hours
    assert cost_of_near_best(study, surrogate, moments, near=-1.0) is None


def test_a_surrogate_predicts_what_was_left_out_and_keeps_the_noise(
    job: JobSpec, surrogate: Surrogate
) -> None:
    heights = [height(record.trial.params) for record in recorded(job)]
    assert surrogate.error < (max(heights) - min(heights)) / 8
    assert surrogate.noise == pytest.approx(NOISE, rel=0.3)
    again = [surrogate.training(Trial(1, DEFAULT, seed))[-1].metrics["mIoU"] for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_drawings_with_one_seed_tell_heights_and_those_with_more_the_noise(job: JobSpec) -> None:
    """As a study's trials do, of which the best few are replicated."""
    records = recorded(job)
    few = [record for record in records if record.trial.seed == 0 or record.trial.number < 16]
    one, other = Surrogate(job, few), Surrogate(job, records)
    assert one.noise == pytest.approx(NOISE, rel=0.5)
    assert abs(one.truth(records[-1].trial.params) - other.truth(records[-1].trial.params)) < 3 * NOISE
    last = [one.training(Trial(1, records[-1].trial.params, seed))[-1].metrics["mIoU"] for seed in (0, 1)]
    assert last[0] != last[1]


def test_evaluations_that_a_search_does_without_cost_it_nothing(job_file: JobFile) -> None:
    fidelity = {"iterations": 480, "rungs": [60, 120, 240, 480]}
    job = read_job(job_file(fidelity=fidelity))
    slow = [
        replace(
            r,
            measurements=tuple(
                replace(m, seconds=m.seconds + 7 * (i + 1)) for i, m in enumerate(r.measurements)
            ),
        )
        for r in recorded(job)
    ]
    surrogate = Surrogate(job, slow)
    assert [round(m.seconds) for m in surrogate.training(Trial(0, DEFAULT, 0), (120, 480))] == [127, 494]
    assert [round(m.seconds) for m in surrogate.training(Trial(0, DEFAULT, 0))] == [67, 134, 261, 508]


def test_sixty_four_gpus_are_kept_busy_while_there_is_something_to_begin(job: JobSpec) -> None:
    search = Search(sampler="random", scheduler="screen")
    budget = job.budget.model_copy(update={"trials": 400})
    job = job.model_copy(update={"search": search, "budget": budget})
    _, moments = simulated(job, Surrogate(job, recorded(job)), workers=64)
    assert idle_share(moments, 64) < 0.05
    assert max(moment.busy for moment in moments) == 64


def test_curves_of_another_job_are_refused_with_their_line(job: JobSpec) -> None:
    shorter = job.model_copy(update={"fidelity": job.fidelity.model_copy(update={"rungs": (60, 480)})})
    assert Surrogate(shorter, recorded(job))
    records = recorded(shorter)
    with pytest.raises(BadInput, match="line 1: has other parameters, rungs or metric"):
        Surrogate(job, records)
    with pytest.raises(BadInput, match="1 drawings are too few"):
        Surrogate(job, recorded(job)[:2])


@pytest.mark.parametrize("name", ["camvid_pvt", "camvid_recipe", "toy_pvt"])
def test_the_curves_that_come_along_hold_every_rung_of_their_job(name: str) -> None:
    job = read_job(ROOT / f"configs/jobs/record_{name}.yaml", images_are_here=False)
    records = curves.read(ROOT / f"configs/curves/{name}.jsonl")
    assert len({str(record.trial.params) for record in records}) >= 48
    assert {record.trial.seed for record in records} == {0, 1}
    assert all(tuple(m.iteration for m in r.measurements) == job.fidelity.evaluation_points for r in records)
    ends = [record.value(job.objective.metric) for record in records]
    assert Surrogate(job, records).error < 0.75 * stdev([end for end in ends if end is not None])


def test_the_command_tells_what_a_search_would_cost(job_file: JobFile, job: JobSpec, tmp_path: Path) -> None:
    by_number = [record.measurements for record in recorded(job)]
    file = tmp_path / "curves.jsonl"
    list(curves.record([r.trial for r in recorded(job)], lambda trial: iter(by_number[trial.number]), file))
    settings = Settings.from_environment(tmp_path / "home", None)
    found = simulations.simulate(job_file(budget={"trials": 20, "seeds": 3}), {}, file, 8, 5.0, settings)
    replicates = [record for record in found.history.records if record.trial.replicate_of is not None]
    assert len(found.history.records) - len(replicates) == 20
    assert replicates
    assert found.hours < found.gpu_hours
