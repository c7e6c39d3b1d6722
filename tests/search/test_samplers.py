"""Who draws: every sampler within the space, as a function of the history and the number alone."""

import pytest

from tests.conftest import JobFile
from tests.loop import DEFAULT
from tuner.search.samplers import BEST, LATEST, Best, seen
from tuner.search.unit_cube import from_unit, to_unit
from tuner.spec.space import FloatParameter, IntParameter
from tuner.spec.trial import Measurement, Outcome, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.store.studies import in_memory

SAMPLERS = ("tpe", "gp", "grid", "random")


def trained(store: OptunaStore, trials: int, best_lr: float) -> list[Trial]:
    """Draws so many trials and tells that they are the better the nearer to a learning rate they are."""
    drawn = []
    for _ in range(trials):
        trial = store.draw()
        lr = store.job.space.parameters["lr"]
        miss = abs(to_unit(lr, trial.params["lr"]) - to_unit(lr, best_lr))  # type: ignore[arg-type]
        store.measured(trial.number, Measurement(480, {"mIoU": 40 * (1 - miss)}, 1.0))
        store.ended(trial.number, Outcome.COMPLETED, "")
        drawn.append(trial)
    return drawn


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_draws_within_the_space_and_the_same_again(sampler: str, job_file: JobFile) -> None:
    job = read_job(job_file(search={"sampler": sampler}))
    first, second = trained(in_memory(job, DEFAULT), 14, 2e-3), trained(in_memory(job, DEFAULT), 14, 2e-3)
    assert first == second
    assert first[0].params == DEFAULT
    for trial in first:
        assert trial.params.keys() == job.space.parameters.keys()
        assert all(job.space.parameters[name].contains(value) for name, value in trial.params.items())


def test_a_grid_is_as_large_as_the_budget_and_each_point_is_drawn_once(job_file: JobFile) -> None:
    job = read_job(job_file(search={"sampler": "grid"}, budget={"trials": 27}))
    drawn = trained(in_memory(job, DEFAULT), 27, 2e-3)[1:]
    assert len({tuple(trial.params.values()) for trial in drawn}) == 26
    assert sorted({float(trial.params["lr"]) for trial in drawn}) == pytest.approx(
        [3e-5, 5.477e-4, 1e-2], rel=1e-3
    )


def test_a_sampler_sees_a_bounded_part_of_a_long_study_the_best_with_it(job_file: JobFile) -> None:
    store = in_memory(read_job(job_file(search={"sampler": "random"})), DEFAULT)
    trained(store, LATEST + 200, 2e-3)
    trials, ranked = store.optuna_study.get_trials(deepcopy=False), Best(store.job.objective)
    for trial in trials:
        ranked.add(trial)
    shown = seen(trials, ranked.numbers)
    assert len(shown) <= LATEST + BEST + 1
    best = max(trials, key=lambda trial: trial.value or 0.0)
    assert {0, best.number, trials[-1].number} <= {trial.number for trial in shown}
    assert [trial.number for trial in shown] == sorted(trial.number for trial in shown)


def test_places_in_the_cube_lead_back_to_their_values() -> None:
    lr = FloatParameter(type="float", low=1e-5, high=1e-1, log=True, sets=("optimizer.lr",))
    depth = IntParameter(type="int", low=1, high=9, sets=("model.depth",))
    drop = FloatParameter(type="float", low=0.0, high=0.5, step=0.1, sets=("model.drop",))
    assert from_unit(lr, to_unit(lr, 1e-3)) == pytest.approx(1e-3)
    assert (from_unit(lr, 0.0), from_unit(lr, 1.0)) == (pytest.approx(1e-5), pytest.approx(1e-1))
    assert from_unit(depth, to_unit(depth, 4)) == 4
    assert from_unit(drop, 0.55) == pytest.approx(0.3)
