"""Draws that keep to a space's constraints and conditions."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import JobFile
from tuner.errors import TunerError
from tuner.spec.space import Params
from tuner.spec.trial import Measurement, Outcome
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.store.studies import in_memory, open_study

SPACE: dict[str, Any] = {
    "parameters": {
        "kind": {"type": "choice", "choices": ["wide", "deep"], "sets": "a"},
        "width": {"type": "int", "low": 1, "high": 64, "sets": "b", "only_when": {"a": "wide"}},
        "rate": {"type": "float", "low": 0, "high": 1, "step": 0.1, "sets": "c"},
        "fixed": {"type": "float", "low": 2, "high": 2, "sets": "d"},
    },
    "constraints": ["rate * fixed > 1", "width > 8"],
}
DEFAULT = {"kind": "deep", "rate": 0.7, "fixed": 2}


@pytest.fixture
def store(job_file: JobFile, tmp_path: Path) -> OptunaStore:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(SPACE))
    return opened(job_file, file)


def opened(job_file: JobFile, space: Path, fits: object = None) -> OptunaStore:
    job = read_job(job_file(space=str(space)))
    return open_study(
        f"sqlite:///{space.parent}/s.db", job, {"data": "abc"}, DEFAULT, fits or (lambda _: True)
    )


def drawn(store: OptunaStore, trials: int) -> list[Params]:
    found = []
    for _ in range(trials):
        trial = store.draw()
        store.measured(trial.number, Measurement(480, {"mIoU": float(trial.params["rate"])}, 1.0))
        store.ended(trial.number, Outcome.COMPLETED, "")
        found.append(trial.params)
    return found


def test_every_draw_satisfies_constraints_and_conditions_and_leaves_no_other_row(store: OptunaStore) -> None:
    found = drawn(store, 30)
    assert found[0] == DEFAULT
    assert all(store.job.space.allows(params) and params["fixed"] == 2 for params in found)
    assert {params["kind"]: "width" in params for params in found} == {"wide": True, "deep": False}
    assert [dict(record.trial.params) for record in store.records()] == found


@pytest.mark.parametrize("sampler", ["grid", "random", "gp"])
def test_every_sampler_keeps_to_the_constraints(job_file: JobFile, tmp_path: Path, sampler: str) -> None:
    parameters = {name: SPACE["parameters"][name] for name in ("rate", "fixed")}
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump({"parameters": parameters, "constraints": ["rate * fixed > 1"]}))
    job = read_job(job_file(space=str(file), search={"sampler": sampler}, budget={"trials": 121}))
    default = {"rate": 0.7, "fixed": 2}
    for params in drawn(open_study(f"sqlite:///{tmp_path}/s.db", job, {"data": "abc"}, default), 4):
        assert job.space.allows(params)


def test_a_draw_keeps_to_what_fits(job_file: JobFile, store: OptunaStore, tmp_path: Path) -> None:
    narrow = opened(job_file, tmp_path / "space.yaml", lambda params: params["kind"] == "deep")
    assert {params["kind"] for params in drawn(narrow, 10)} == {"deep"}


def test_a_space_that_its_constraints_empty_ends_the_study_with_a_reason(
    job_file: JobFile, store: OptunaStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.search.ask.ATTEMPTS", 20)
    nothing = opened(job_file, tmp_path / "space.yaml", lambda _: False)
    drawn(nothing, 1)
    with pytest.raises(TunerError, match="of 20 draws for trial 1 none was allowed"):
        nothing.draw()
    assert len(nothing.records()) == 1


def share_of_49(job_file: JobFile, ending: Outcome) -> float:
    """Returns the share of trials that ended so because of their 49 centers, the first ten left aside."""
    job = read_job(job_file(budget={"trials": 100}))
    store = in_memory(job, {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4})
    found = []
    for _ in range(50):
        trial = store.draw()
        fails = trial.params["centers"] == 49
        if not fails:
            value = float(trial.params["centers"])
            store.measured(trial.number, Measurement(480, {"mIoU": value}, 1.0))
        store.ended(trial.number, ending if fails else Outcome.COMPLETED, "")
        found.append(fails)
    return sum(found[10:]) / len(found[10:])


def test_what_ran_out_of_memory_or_diverged_is_hardly_drawn_again_but_a_crash_teaches_nothing(
    job_file: JobFile,
) -> None:
    assert share_of_49(job_file, Outcome.OUT_OF_MEMORY) < 0.2
    assert share_of_49(job_file, Outcome.DIVERGED) < 0.2
    assert share_of_49(job_file, Outcome.CRASHED) > 0.3


def test_where_trials_are_screened_the_sampler_learns_from_the_finished_ones_alone(
    job_file: JobFile, tmp_path: Path
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(SPACE))
    job = read_job(job_file(space=str(file), search={"scheduler": "screen"}))
    stores = [in_memory(job, DEFAULT), in_memory(job, DEFAULT)]
    for early, store in zip((99.0, 0.0), stores, strict=True):
        drawn(store, 8)
        for _ in range(4):
            store.measured(store.draw().number, Measurement(60, {"mIoU": early}, 1.0))
        store.ended(8, Outcome.PRUNED, "")
    assert stores[0].draw() == stores[1].draw()


def test_repeats_teach_the_sampler_nothing(job_file: JobFile, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(SPACE))
    job = read_job(job_file(space=str(file)))
    stores = [in_memory(job, DEFAULT), in_memory(job, DEFAULT)]
    for store in stores:
        drawn(store, 12)
    for seed in (1, 2, 3):
        again = stores[0].replicate(0, seed)
        stores[0].measured(again.number, Measurement(480, {"mIoU": 99.0}, 1.0))
        stores[0].ended(again.number, Outcome.COMPLETED, "")
        stores[1].ended(stores[1].draw().number, Outcome.CRASHED, "")
    assert stores[0].draw() == stores[1].draw()
