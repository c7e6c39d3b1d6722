"""MLflow has what the study has, whatever happened on the way: run by run, metric by metric, artifact by artifact."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from mlflow import MlflowClient

from tests.conftest import JobFile
from tests.large_study import CLASSES, NASTY, large_study
from tests.projection import equal_projections
from tests.shown import Shown
from tests.strips import draw_strips
from tuner.files.paths import Home
from tuner.files.writing import write_text
from tuner.spec.job import JobSpec
from tuner.spec.trial import Record
from tuner.spec.yaml_files import read_job
from tuner.tracking.mlflow import Server, sync

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("mlflow")]

WRITING = (
    "create_run",
    "log_batch",
    "log_text",
    "log_table",
    "log_artifact",
    "set_tag",
    "set_terminated",
    "update_run",
)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(name="pictured", budget={"trials": 8, "seeds": 2}, predictions={"images": 2}))


@pytest.fixture
def records() -> list[Record]:
    """Eight trials and replicates, with losses between the rungs."""
    return [
        replace(
            record, measurements=tuple(replace(m, losses=_losses(m.iteration)) for m in record.measurements)
        )
        for record in large_study(8, (*CLASSES, *NASTY), seeds=2)
    ]


@pytest.fixture
def home(tmp_path: Path, job: JobSpec, records: list[Record]) -> Home:
    """Holds the files of the trials: configs, strips, a log."""
    home = Home(tmp_path / "home")
    for record in records:
        folder = home.trial(job.name, record.trial.number)
        write_text(
            folder.config, "".join(f"{key} = {value!r}\n" for key, value in record.trial.params.items())
        )
        write_text(folder.log, f'{{"iter": {record.trial.number}}}\n')
        for measurement in record.measurements:
            draw_strips(folder, measurement.iteration, record.trial.number)
    return home


def test_requests_that_fail_and_drivers_that_are_killed_leave_no_trace(
    tmp_path: Path,
    job: JobSpec,
    records: list[Record],
    home: Home,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(f"sqlite:///{tmp_path}/live.db", tmp_path / "live")
    caplog.set_level(logging.ERROR, "tuner")
    with unreliable(Random(0)):
        for half in (records[: len(records) // 2], records):
            shown = Shown(server, job, home)
            shown.begin([])
            for record in half:
                shown.changed(replace(record, outcome=None, ended=None, measurements=record.measurements[:1]))
                shown.changed(record)
    shown.end(records)
    anew = Server(f"sqlite:///{tmp_path}/anew.db", tmp_path / "anew")
    sync(anew, "first", shown.sources())
    expected = equal_projections(server.uri, anew.uri, job.name, "first")
    best = expected["trial 0 (default)"]
    assert {"classes.json", "config.py", "train.log.json", "prediction_1 at 480, png"} <= best[
        "artifacts"
    ].keys()
    assert "changes.diff" in expected["trial 1"]["artifacts"]
    assert [step for step, *_ in best["metrics"]["train_loss"]] == [30, 60, 80, 160, 240, 480]
    assert best["metrics"]["mIoU SD"][-1][0] == 3
    assert {"report.html", "legend.png"} == expected[job.name]["artifacts"].keys()
    assert expected[job.name]["tags"]["mlflow.note.content"].startswith("**")


def test_an_evaluation_without_images_takes_at_most_three_requests(
    tmp_path: Path, job_file: JobFile, home: Home, records: list[Record]
) -> None:
    job = read_job(job_file(name="pictured", budget={"trials": 8, "seeds": 2}, predictions={"images": 0}))
    shown = Shown(Server(f"sqlite:///{tmp_path}/live.db", tmp_path / "live"), job, Home(tmp_path / "nowhere"))
    first = replace(records[0], outcome=None, ended=None)
    shown.begin([replace(first, measurements=())])
    counts = []
    for number in range(1, 4):
        with counted() as calls:
            shown.changed(replace(first, measurements=first.measurements[:number]))
        counts.append(len(calls))
    assert max(counts) <= 3
    assert counts[-1] == 1


@contextmanager
def unreliable(chance: Random) -> Iterator[None]:
    """Lets a fifth of all requests that write fail, before they arrived or after it."""

    def failing(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            drawn = chance.random()
            if drawn < 0.1:
                raise OSError("no answer")
            answer = method(*arguments, **options)
            if drawn > 0.9:
                raise OSError("the answer was lost")
            return answer

        return call

    with _patched(failing):
        yield


@contextmanager
def counted() -> Iterator[list[str]]:
    calls: list[str] = []

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(method.__name__)
            return method(*arguments, **options)

        return call

    with _patched(counting):
        yield calls


@contextmanager
def _patched(wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    changed = {
        name: wrapper(getattr(MlflowClient, name)) for name in (*WRITING, "list_artifacts", "search_runs")
    }
    with patch.multiple(MlflowClient, **changed):
        yield


def _losses(iteration: int) -> tuple[tuple[int, float], ...]:
    return ((iteration // 2, 2.0), (iteration, 1.5))
