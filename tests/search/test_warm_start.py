"""What earlier studies tell a new one of the same space: where to draw first, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from tests.conftest import JobFile
from tests.loop import DEFAULT
from tuner import checking
from tuner.app import check_file
from tuner.errors import BadInput
from tuner.search.unit_cube import to_unit
from tuner.search.warm_start import TAKEN, WarmStart, taken, transferred_trials
from tuner.settings import Settings
from tuner.spec.job import JobSpec, Search
from tuner.spec.space import Params
from tuner.spec.trial import Measurement, Outcome, Trial
from tuner.spec.yaml_files import read_job
from tuner.store import studies
from tuner.store.store import OptunaStore
from tuner.store.studies import in_memory, open_study, warm_start

BEST_LR = 4e-3
Worth = Callable[[Params], float]


def score(params: Params) -> float:
    return 40 - 10 * abs(float(params["lr"]) / BEST_LR - 1)


@pytest.fixture
def earlier(job_file: JobFile) -> JobSpec:
    return read_job(job_file(name="earlier", search={"sampler": "random"}))


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(search={"warm_start_from": ["earlier"]}))


def tell(store: OptunaStore, trials: int, of: Worth = score) -> list[Trial]:
    """Draws so many; of three, after the default, one is pruned at the first rung."""
    drawn = [store.draw() for _ in range(trials)]
    for trial in drawn:
        pruned = trial.number % 3 == 1
        for iteration in store.job.fidelity.evaluation_points[: 1 if pruned else None]:
            store.measured(trial.number, Measurement(iteration, {"mIoU": of(trial.params)}, 1.0))
        store.ended(trial.number, Outcome.PRUNED if pruned else Outcome.COMPLETED, "")
    return drawn


def learned(job: JobSpec, earlier: JobSpec, trials: int, of: Worth = score) -> list[dict[str, Any]]:
    store = in_memory(earlier, DEFAULT)
    tell(store, trials, of)
    return taken(transferred_trials(job, earlier, store.records()))


def opened(storage: str, job: JobSpec) -> OptunaStore:
    return open_study(storage, job, {"data": "abc"}, DEFAULT)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_first_draws_are_near_the_earlier_optimum_and_all_within_the_new_ranges(
    sampler: str, job: JobSpec, earlier: JobSpec
) -> None:
    job = job.model_copy(update={"search": job.search.model_copy(update={"sampler": sampler})})
    known = learned(job, earlier, 60)

    def misses(job: JobSpec, taken_over: list[dict[str, Any]]) -> list[float]:
        store = in_memory(job, DEFAULT, taken_over)
        drawn = [store.draw().params for _ in range(6)]
        assert drawn[0] == DEFAULT
        lr = job.space.parameters["lr"]
        return sorted(abs(to_unit(lr, p["lr"]) - to_unit(lr, BEST_LR)) for p in drawn[1:])  # type: ignore[arg-type]

    by_chance = job.model_copy(update={"search": Search(sampler="random")})
    assert misses(job, known)[2] < 0.2
    assert misses(by_chance, [])[2] > 0.4


def test_a_restart_draws_the_same_whatever_became_of_the_earlier_study(
    job: JobSpec, earlier: JobSpec, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    calm = in_memory(job, DEFAULT, learned(job, earlier, 12))
    undisturbed = tell(calm, 2) + tell(calm, 2)
    tell(opened(storage, earlier), 12)
    first = tell(opened(storage, job), 2)
    tell(opened(storage, earlier), 2, lambda params: 99)
    assert first + tell(opened(storage, job), 2) == undisturbed


def test_values_of_another_scale_and_length_teach_the_same(
    job: JobSpec, earlier: JobSpec, job_file: JobFile
) -> None:
    fidelity = {"iterations": 240, "rungs": [30, 80, 240]}
    other = read_job(job_file(name="other", fidelity=fidelity, search={"sampler": "random"}))
    one = learned(job, earlier, 30)
    two = learned(job, other, 30, lambda params: 3 * score(params) - 70)
    assert [each["params"] for each in one] == [each["params"] for each in two]
    assert [each["goodness"] for each in one] == pytest.approx([each["goodness"] for each in two])
    assert {each["reached"] for each in one} == {each["reached"] for each in two} == {60 / 480, 1.0}
    assert max(each["goodness"] for each in one if each["reached"] == 1) == pytest.approx(1)


def test_a_lesson_is_shown_on_the_scale_of_the_new_study(job: JobSpec, earlier: JobSpec) -> None:
    known = learned(job, earlier, 12)
    store = in_memory(job, DEFAULT, known)
    tell(store, 9, lambda params: score(params) / 10 + 70)
    own = store.optuna_study.get_trials(deepcopy=False)
    shown = WarmStart(job, known).shown(own)
    best = max(trial.value for trial in own if trial.state is TrialState.COMPLETE)
    assert max(trial.value for trial in shown if trial.state is TrialState.COMPLETE) == pytest.approx(best)
    default = next(trial for trial in shown if trial.params == DEFAULT)
    assert default.value == own[0].value
    assert {trial.last_step for trial in shown if trial.state is TrialState.PRUNED} == {60}


def test_lessons_give_way_to_the_studys_own_trials_and_count_for_nothing_else(
    job: JobSpec, earlier: JobSpec
) -> None:
    known = learned(job, earlier, 3 * TAKEN)
    store = in_memory(job, DEFAULT, known)
    own = tell(store, 1)
    frozen = store.optuna_study.get_trials(deepcopy=False)
    assert [len(WarmStart(job, known).shown(frozen * n)) for n in (1, 10, TAKEN, 300)] == [
        TAKEN - 1,
        TAKEN - 10,
        0,
        0,
    ]
    assert [record.trial for record in store.records()] == own


def test_trials_outside_the_new_ranges_are_left_out(
    job: JobSpec, earlier: JobSpec, job_file: JobFile, tmp_path: Path
) -> None:
    space = job.space.model_dump(mode="json")
    space["parameters"]["lr"]["high"] = 1e-3
    space["parameters"]["centers"]["choices"] = [4, 9, 25]
    file = tmp_path / "narrow.yaml"
    file.write_text(yaml.safe_dump(space))
    narrow = read_job(job_file(space=str(file), search={"warm_start_from": ["earlier"]}))
    found = [each["params"] for each in learned(narrow, earlier, 20)]
    assert 0 < len(found) < len(learned(job, earlier, 20))
    assert all(params["lr"] <= 1e-3 and params["centers"] in (4, 25) for params in found)


def test_studies_that_do_not_help_are_refused_with_all_reasons(
    job_file: JobFile, earlier: JobSpec, tmp_path: Path, home: Path
) -> None:
    settings = Settings.from_environment(home, None)
    home.mkdir()
    opened(settings.storage, earlier).draw()
    space = earlier.space.model_dump(mode="json")
    space["parameters"]["rate"] = space["parameters"].pop("weight_decay")
    space["parameters"]["lr"] = {"type": "int", "low": 1, "high": 2, "sets": "optimizer.lr"}
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(space))
    other = read_job(
        job_file(
            space=str(file), objective={"metric": "aAcc"}, search={"warm_start_from": ["earlier", "gone"]}
        )
    )
    with pytest.raises(BadInput) as refusal:
        warm_start(settings.storage, other)
    assert str(refusal.value).splitlines() == [
        "search.warm_start_from of job syn: study earlier does not help: 5 problems",
        "  rate is a parameter of only one of the two spaces",
        "  weight_decay is a parameter of only one of the two spaces",
        "  its parameter lr is of type float and sets optimizer.lr",
        "  it would maximize mIoU",
        "  its default, to which its trials are compared, has not completed",
        "search.warm_start_from of job syn: 1 problem",
        "  there is no study gone; there are: earlier",
    ]
    with pytest.raises(BadInput, match="there is no study gone"):
        check_file(job_file(search={"warm_start_from": ["gone"]}), None, settings)


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ({"warm_start_from": ["a"], "sampler": "grid"}, "search: warm_start_from: grid learns nothing of it"),
        ({"warm_start_from": ["a", "a"]}, "search: warm_start_from: names a study twice"),
        ({"warm_start_from": ["syn"]}, "search.warm_start_from: names the study itself"),
        ({"warm_start_from": ["../a"]}, "search.warm_start_from.0: must be 1 to 64 of the letters"),
    ],
)
def test_names_that_cannot_help_are_refused(job_file: JobFile, search: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read_job(job_file(search=search))


def test_earlier_studies_are_read_once_at_a_start(
    job: JobSpec, earlier: JobSpec, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_environment(home, None)
    tell(opened(settings.storage, earlier), 3, score)
    read: list[str] = []
    load = studies.load_study

    def counted(storage: str, name: str) -> OptunaStore:
        read.append(name)
        return load(storage, name)

    monkeypatch.setattr(studies, "load_study", counted)
    checked = checking.check(job, settings.storage)
    studies.open_study(
        settings.storage, job, checked.fingerprint, checked.default, transferred=checked.transferred
    )
    assert read == ["earlier"]
