"""What a job would do: the memory of every corner of its space, and what resources.gpu_memory leaves out."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.conftest import ROOT
from tuner import simulations
from tuner.sizing.memory import GIB
from tuner.sizing.plan import Forecast, Plan, fits, make_plan, memory_problems
from tuner.sizing.trial_config import default_params
from tuner.spec.job import Budget
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.tracking.tables import cost_text, forecast_text, plan_table
from tuner.training.config import config as configs

SMALL = ROOT / "configs/sem_fpn/fpn_coc_small_c4_ade20k_80k.py"
PER_STAGE = ROOT / "search_spaces/centers_per_stage.yaml"
PVT = ROOT / "search_spaces/pvt.yaml"
JobFile = Callable[..., Path]


@pytest.fixture
def planned(job_file: JobFile) -> Callable[..., tuple[Plan, Callable[[Any], bool], list[str]]]:
    """The plan of a job with these resources, what fits, and what is wrong."""

    def make(
        config: Path = SMALL, space: Path = PER_STAGE, step_seconds: float | None = None, **resources: Any
    ) -> tuple[Plan, Callable[[Any], bool], list[str]]:
        asked = {"gpus_per_trial": 4, "global_batch": 16} | resources
        job = read_job(job_file(config=str(config), space=str(space), resources=asked))
        read = configs.read(job.config)
        default = default_params(job, read)
        problems = [problem.message for problem in memory_problems(job, read, default)]
        return make_plan(job, read, default, (), step_seconds), fits(job, read), problems

    return make


def test_corners_are_the_ends_of_the_parameters_that_memory_depends_on(planned: Any) -> None:
    plan, _, _ = planned()
    assert plan.images == 4
    assert len(plan.corners) == 2**4
    assert {tuple(corner.params) for corner in plan.corners} == {tuple(f"centers_{i}" for i in (1, 2, 3, 4))}
    assert {value for corner in plan.corners for value in corner.params.values()} == {4, 49}
    assert all(corner.fits for corner in plan.corners)


def test_what_needs_more_than_a_gpu_has_is_marked_and_does_not_fit(planned: Any) -> None:
    plan, _, _ = planned()
    needs = sorted(corner.memory.total / GIB for corner in plan.corners)
    limit = (needs[0] + needs[-1]) / 2
    plan, has_room, problems = planned(gpu_memory=limit)
    assert not problems
    assert {corner.fits for corner in plan.corners} == {True, False}
    for corner in plan.corners:
        assert has_room({"lr": 1e-4, "weight_decay": 1e-4, **corner.params}) == corner.fits
        assert corner.fits == (corner.memory.total <= limit * GIB)


def test_the_search_draws_no_trial_that_needs_more_than_a_gpu_has(planned: Any, tmp_path: Path) -> None:
    needs = sorted(corner.memory.total / GIB for corner in planned()[0].corners)
    plan, has_room, _ = planned(gpu_memory=(needs[0] + needs[-1]) / 2)
    default = {"lr": 1e-4, "weight_decay": 1e-4, **{f"centers_{i}": 4 for i in (1, 2, 3, 4)}}
    store = open_study(f"sqlite:///{tmp_path}/studies.db", plan.job, {"data": "none"}, default, has_room)
    drawn = [store.draw().params for _ in range(12)]
    assert all(map(has_room, drawn))
    assert len({tuple(params.values())[2:] for params in drawn}) > 3
    assert not all(corner.fits for corner in plan.corners)


def test_a_default_that_does_not_fit_is_refused_with_the_figures(planned: Any) -> None:
    _, _, problems = planned(gpu_memory=2)
    assert len(problems) == 1
    assert problems[0].startswith("resources.gpu_memory: the default needs 5.7")
    assert "GiB a rank, but has 2: lower resources.global_batch" in problems[0]


def test_ranks_that_share_a_gpu_share_its_memory(planned: Any) -> None:
    assert not planned(gpus_per_trial=1, ranks=1, global_batch=4, gpu_memory=6)[2]
    assert planned(gpus_per_trial=0.5, ranks=1, global_batch=4, gpu_memory=6)[2]


def test_of_other_models_a_plan_says_that_their_memory_is_not_known(planned: Any) -> None:
    plan, has_room, problems = planned(ROOT / "configs/synthetic.py", gpu_memory=0.001)
    assert plan.default is None
    assert has_room({"lr": 1.0, "weight_decay": 1.0, **{f"centers_{i}": 49 for i in (1, 2, 3, 4)}})
    assert not problems


def test_the_cost_follows_from_a_steps_time_and_from_what_simulated_searches_cost(planned: Any) -> None:
    plan = planned(SMALL, PVT, step_seconds=2.0)[0]
    assert plan.training
    assert plan.training.hours == pytest.approx(480 * 2 / 3600)
    found = Forecast(Path("camvid_pvt.jsonl"), 96, 10, 6.0, {0.5: 9, 1.0: 7}, 1.8)
    assert cost_text(plan, found).startswith(
        "cost: 6.4 GPU-hours: about 6 trainings of full length for the search"
    )
    assert "at most 12 trainings" in cost_text(planned(SMALL, PVT)[0], None)
    assert "over camvid_pvt.jsonl" in forecast_text(plan, found)
    assert "+0.5 in 9, +1 in 7 mIoU" in forecast_text(plan, found)


def test_searches_are_simulated_over_the_curves_that_vary_the_same_parameters(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "STUDIES", 2)
    job = planned(SMALL, PVT)[0].job
    found = simulations.forecast(job.model_copy(update={"budget": Budget(trials=8, seeds=1)}))
    assert found
    assert (found.curves.name, found.studies) == ("camvid_pvt.jsonl", 2)
    assert 1 < found.trainings < 8
    assert simulations.forecast(planned()[0].job) is None, "no file varies the centers of each stage"


@pytest.mark.parametrize("drawings", [14, 15])
def test_curves_are_planned_by_that_hold_five_drawings_for_each_parameter(
    planned: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawings: int
) -> None:
    monkeypatch.setattr(simulations, "STUDIES", 1)
    job = planned(SMALL, PVT)[0].job.model_copy(update={"budget": Budget(trials=2, seeds=1)})
    lines = (ROOT / "configs/curves/camvid_pvt.jsonl").read_text().splitlines()
    first = list(dict.fromkeys(str(json.loads(line)["params"]) for line in lines))[:drawings]
    kept = [line for line in lines if str(json.loads(line)["params"]) in first]
    (tmp_path / "few.jsonl").write_text("\n".join(kept))
    assert (simulations.forecast(job, tmp_path) is not None) == (drawings == 15)


def test_the_table_shows_every_corner_and_what_is_too_large(planned: Any) -> None:
    plan, _, _ = planned(gpu_memory=4.16)
    console = Console(file=StringIO(), width=140)
    console.print(plan_table(plan))
    text = console.file.getvalue()
    assert "4 ranks (4 GPUs), 4 images a rank at a time; rungs 60, 160, 480" in text
    assert text.count("GiB") >= 4 * 17
    assert text.count("too large") == sum(not corner.fits for corner in plan.corners) + 1
