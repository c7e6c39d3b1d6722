"""What the sampler learns from trials that failed: hundreds of draws, in memory."""

from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from tests.conftest import JobFile
from tuner.files import read_job
from tuner.job import JobSpec
from tuner.search.drawing import draw
from tuner.search.failures import OUTCOME, Failures
from tuner.space import Params
from tuner.trial import Outcome

DRAWS = 300
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


def draws(job: JobSpec, fails: Callable[[Params], Outcome | None], count: int = DRAWS) -> list[Params]:
    study = optuna.create_study(study_name=job.name, direction="maximize")
    failures = Failures(job.space)
    for _ in range(count):
        failures.see(known := study.get_trials(deepcopy=False))
        trial = draw(study, job, known, lambda _: True, failures)
        ending = fails(trial.params) or Outcome.COMPLETED
        trial.user_attrs = {OUTCOME: ending.value}
        trial.state = TrialState.FAIL if ending.failed else TrialState.COMPLETE
        trial.value = None if ending.failed else float(trial.params["centers"])
        trial.datetime_complete = trial.datetime_start
        study.add_trial(trial)
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def with_49(found: list[Params]) -> int:
    return sum(params["centers"] == 49 for params in found)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_where_all_ran_out_of_memory_less_than_a_tenth_is_drawn(job: JobSpec, sampler: str) -> None:
    job = job.model_copy(update={"search": job.search.model_copy(update={"sampler": sampler})})
    found = draws(job, lambda params: Outcome.OUT_OF_MEMORY if params["centers"] == 49 else None)
    evenly = DRAWS / 3
    assert with_49(found) < evenly / 10


def test_where_all_diverged_few_are_drawn_but_never_none(job: JobSpec) -> None:
    found = draws(job, lambda params: Outcome.DIVERGED if params["centers"] == 49 else None)
    assert 1 <= with_49(found[150:]) < 150 / 3 / 2


def test_a_divergence_by_bad_luck_is_found_out(job: JobSpec) -> None:
    unlucky = iter([Outcome.DIVERGED] * 6)
    found = draws(job, lambda params: next(unlucky, None) if params["centers"] == 49 else None)
    assert with_49(found[200:]) > 50


def test_crashes_teach_nothing(job: JobSpec) -> None:
    failures = Failures(job.space)
    study = optuna.create_study(study_name=job.name)
    for _ in range(10):
        failures.see(known := study.get_trials(deepcopy=False))
        trial = draw(study, job, known, lambda _: True, failures)
        trial.state, trial.user_attrs = TrialState.FAIL, {OUTCOME: Outcome.CRASHED.value}
        trial.datetime_complete = trial.datetime_start
        study.add_trial(trial)
    failures.see(study.get_trials(deepcopy=False))
    assert failures.share(trial.params) == 1
