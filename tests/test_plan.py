"""What a job would do: the memory of every corner of its space, and what resources.gpu_memory leaves out."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.conftest import ROOT
from tuner.files import read_job
from tuner.memory import GIB
from tuner.overrides import default_params
from tuner.plan import Plan, fits, make_plan, memory_problems
from tuner.search.store import open_study
from tuner.tracking.terminal import plan_table
from tuner.training import config as configs

SMALL = ROOT / "configs/sem_fpn/fpn_coc_small_c4_ade20k_80k.py"
PER_STAGE = ROOT / "search_spaces/centers_per_stage.yaml"
JobFile = Callable[..., Path]


@pytest.fixture
def planned(job_file: JobFile) -> Callable[..., tuple[Plan, Callable[[Any], bool], list[str]]]:
    """The plan of a job with these resources, what fits, and what is wrong."""

    def make(
        config: Path = SMALL, space: Path = PER_STAGE, **resources: Any
    ) -> tuple[Plan, Callable[[Any], bool], list[str]]:
        asked = {"gpus_per_trial": 4, "global_batch": 16} | resources
        job = read_job(job_file(config=str(config), space=str(space), resources=asked))
        read = configs.read(job.config)
        default = default_params(job, read)
        problems = [problem.message for problem in memory_problems(job, read, default)]
        return make_plan(job, read, default), fits(job, read), problems

    return make


def test_corners_are_the_ends_of_the_parameters_that_memory_depends_on(planned: Any) -> None:
    plan, _, _ = planned()
    assert plan.pictures == 4
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
    plan, has_room, _ = planned(gpu_memory=4.165)
    default = {"lr": 1e-4, "weight_decay": 1e-4, **{f"centers_{i}": 4 for i in (1, 2, 3, 4)}}
    store = open_study(f"sqlite:///{tmp_path}/studies.db", plan.job, {"data": "none"}, default, has_room)
    drawn = [store.draw().params for _ in range(12)]
    assert all(map(has_room, drawn))
    assert len({tuple(params.values())[2:] for params in drawn}) > 3
    assert not all(corner.fits for corner in plan.corners)


def test_a_default_that_does_not_fit_is_refused_with_the_figures(planned: Any) -> None:
    _, _, problems = planned(gpu_memory=2)
    assert len(problems) == 1
    assert problems[0].startswith("resources.gpu_memory: the default needs 4.1")
    assert "GiB a rank, but has 2: lower resources.global_batch" in problems[0]


def test_ranks_that_share_a_gpu_share_its_memory(planned: Any) -> None:
    assert not planned(gpus_per_trial=1, ranks=1, global_batch=4, gpu_memory=6)[2]
    assert planned(gpus_per_trial=0.5, ranks=1, global_batch=4, gpu_memory=6)[2]


def test_of_other_models_a_plan_says_that_their_memory_is_not_known(planned: Any) -> None:
    plan, has_room, problems = planned(ROOT / "configs/synthetic.py", gpu_memory=0.001)
    assert plan.default is None
    assert has_room({"lr": 1.0, "weight_decay": 1.0, **{f"centers_{i}": 49 for i in (1, 2, 3, 4)}})
    assert not problems


def test_the_table_shows_every_corner_and_what_is_too_large(planned: Any) -> None:
    plan, _, _ = planned(gpu_memory=4.16)
    console = Console(file=StringIO(), width=140)
    console.print(plan_table(plan))
    text = console.file.getvalue()
    assert "4 ranks (4 GPUs), 4 pictures a rank at a time; rungs 60, 160, 480" in text
    assert text.count("GiB") >= 4 * 17
    assert text.count("too large") == sum(not corner.fits for corner in plan.corners) + 1
