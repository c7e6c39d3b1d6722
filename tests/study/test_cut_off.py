"""A study that is cut off again and again ends like one left alone, whatever it decides on the way."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import JobFile
from tests.learning_curves import better_and_better, curve, flat
from tests.loop import DEFAULT, Curve, cut_off_again_and_again, facts, searched
from tuner.search.scheduling import scheduler_for
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.study.history import History
from tuner.study.stopping import stop_reason
from tuner.study.study import Study

RUNGS = {"fidelity": {"iterations": 480, "rungs": "auto"}, "budget": {"trials": 18}, "seed": 1}


@pytest.mark.parametrize(
    ("keys", "values", "turns"),
    [
        pytest.param({}, curve, 3, id="search"),
        pytest.param({"budget": {"trials": 30, "seeds": 3, "patience": 6}}, flat, 7, id="patience"),
        pytest.param(RUNGS, better_and_better, 9, id="rung selection"),
        pytest.param({"budget": {"trials": 12, "seeds": 3}}, curve, 5, id="replication"),
    ],
)
def test_a_study_cut_off_anywhere_ends_like_one_left_alone(
    job_file: JobFile, tmp_path: Path, keys: dict[str, Any], values: Curve, turns: int
) -> None:
    job = read_job(job_file(**keys))
    storage = f"sqlite:///{tmp_path}/studies.db"

    def opened() -> Study:
        return Study(job, open_study(storage, job, {"data": "abc"}, DEFAULT), scheduler_for)

    study, calm = cut_off_again_and_again(opened, values, turns), searched(job, values)
    assert facts(study.records) == facts(calm.records)
    assert study.evaluation_points == calm.evaluation_points
    assert stop_reason(History(job, study.records)) == stop_reason(History(job, calm.records))
