"""Known points of a space as a job's trials."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import JobFile
from tests.loop import DEFAULT
from tuner.spec.initial_points import initial_points, left_out
from tuner.spec.job import JobSpec
from tuner.spec.space import Space
from tuner.spec.trial import Measurement, Outcome, Trial
from tuner.spec.yaml_files import read_job, read_space
from tuner.store.store import OptunaStore
from tuner.store.studies import in_memory, open_study

PVT: dict[str, Any] = {"params": {"lr": 2e-4}, "global_batch": 32}
XCIT: dict[str, Any] = {"params": {"lr": 6e-5, "weight_decay": 0.01}, "global_batch": 16}
BATCH: dict[str, Any] = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 8}


def job_with(job_file: JobFile, points: list[dict[str, Any]], **changes: Any) -> JobSpec:
    job = read_job(job_file(**changes))
    space = Space.model_validate(job.space.model_dump() | {"initial_points": points})
    return job.model_copy(update={"space": space})


def by_rule(rule: str, base_batch: int) -> dict[str, Any]:
    return {"resources": BATCH | {"lr_rule": {"rule": rule, "base_batch": base_batch}}}


def trained(store: OptunaStore, trials: int) -> list[Trial]:
    drawn = []
    for _ in range(trials):
        drawn.append(trial := store.draw())
        store.measured(trial.number, Measurement(480, {"mIoU": float(trial.params["lr"])}, 1.0))
        store.ended(trial.number, Outcome.COMPLETED, "")
    return drawn


def test_a_point_keeps_the_defaults_other_values(job_file: JobFile) -> None:
    assert initial_points(job_with(job_file, [PVT, XCIT]), DEFAULT) == [
        DEFAULT | {"lr": 2e-4},
        DEFAULT | {"lr": 6e-5, "weight_decay": 0.01},
    ]


def test_its_learning_rate_follows_the_jobs_rule_and_what_equals_the_default_is_left_out(
    job_file: JobFile,
) -> None:
    linear = job_with(job_file, [PVT, XCIT], **by_rule("linear", 16))
    assert initial_points(linear, DEFAULT) == [DEFAULT | {"lr": 6e-5, "weight_decay": 0.01}]
    (root, _) = initial_points(job_with(job_file, [PVT, XCIT], **by_rule("sqrt", 16)), DEFAULT)
    assert root["lr"] == pytest.approx(2e-4 / 2**0.5)


def test_a_point_that_a_rule_moves_out_of_the_space_is_left_out_with_a_reason(job_file: JobFile) -> None:
    job = job_with(job_file, [PVT], **by_rule("linear", 1))
    assert initial_points(job, DEFAULT) == []
    assert left_out(job, DEFAULT) == [
        "initial_points.0 is left out: with lr_rule its lr is 6.25e-06, outside 3e-05 … 0.01"
    ]


def test_a_study_tries_them_right_after_the_default_also_when_it_is_cut_off(
    job_file: JobFile, tmp_path: Path
) -> None:
    job, storage = job_with(job_file, [PVT, XCIT]), f"sqlite:///{tmp_path}/s.db"
    expected = [DEFAULT, *initial_points(job, DEFAULT)]
    first = trained(open_study(storage, job, {"data": "abc"}, DEFAULT), 2)
    rest = trained(open_study(storage, job, {"data": "abc"}, DEFAULT), 3)
    assert [trial.params for trial in [*first, *rest]][:3] == expected
    assert all(trial.params not in expected for trial in rest[1:])


def test_the_sampler_draws_after_them_what_it_drew_without_them(job_file: JobFile) -> None:
    without, with_them = job_with(job_file, []), job_with(job_file, [PVT])
    numbers = [trained(in_memory(job, DEFAULT), 4) for job in (without, with_them)]
    assert numbers[0][2:] == numbers[1][2:]


@pytest.mark.parametrize("file", sorted(Path("search_spaces").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_space_lists_published_points_that_keep_its_constraints(
    file: Path, job_file: JobFile, tmp_path: Path
) -> None:
    space = read_space(file)
    assert len(space.initial_points) >= 2
    assert all(each.global_batch in (16, 32) for each in space.initial_points)
    assert all(space.allows({"min_lr": 0.0, **each.params}) for each in space.initial_points)
    assert yaml.safe_load(file.read_text())["initial_points"][0]["params"]["lr"] == 2e-4
