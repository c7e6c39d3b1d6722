"""The projection into MLflow, written straight into a database and through a server."""

import json
import logging
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from unittest.mock import patch

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.conftest import JobFile
from tests.object_store import ObjectStore
from tests.records import STUDY, record
from tests.shown import Shown
from tuner.files.paths import Home
from tuner.files.urls import UrlPath
from tuner.files.writing import write_text
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.tracking import mlflow_runs
from tuner.tracking.dashboard import serve
from tuner.tracking.mlflow import Server

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("mlflow")]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a home") / "mlflow.db"


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[str]:
    with serve(f"sqlite:///{database}", database.parent / "served", 0) as address:
        yield address


@pytest.fixture(scope="module", params=["sqlite", "http"])
def uri(request: pytest.FixtureRequest, database: Path) -> str:
    return f"sqlite:///{database}" if request.param == "sqlite" else request.getfixturevalue("server")


@pytest.fixture
def job(job_file: JobFile, request: pytest.FixtureRequest) -> JobSpec:
    """Every test has an experiment of its own."""
    name = request.node.name.removeprefix("test_").translate(str.maketrans("[]", ".."))
    return read_job(job_file(name=name[:60].strip("."), budget={"trials": 4}))


@pytest.fixture(autouse=True)
def _mlflow_never_fails(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """The tracker swallows errors: where none is meant, none may be logged."""
    yield
    warnings = [entry for entry in caplog.get_records("call") if entry.levelno >= logging.WARNING]
    assert "away" in request.node.name or not warnings


def tracker(uri: str, database: Path, job: JobSpec, study_id: str = "first") -> Shown:
    home = Home(database.parent / study_id / job.name)
    for number in range(5):
        write_text(home.trial(job.name, number).config, f"trial = {number}\nlr = {number * 0.1}\n")
    return Shown(Server(uri, database.parent / "artifacts"), job, home, study_id)


def runs(uri: str, job: JobSpec) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(job.name)
    return sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.info.run_name)


def children(uri: str, job: JobSpec) -> dict[int, Run]:
    return {int(r.data.tags["tuner.trial"]): r for r in runs(uri, job) if "tuner.trial" in r.data.tags}


def parents(uri: str, job: JobSpec) -> list[Run]:
    return [run for run in runs(uri, job) if "tuner.trial" not in run.data.tags]


def history(uri: str, run: Run, metric: str = "mIoU") -> list[tuple[int, float]]:
    points = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def test_study_is_a_parent_with_a_child_for_each_trial(uri: str, database: Path, job: JobSpec) -> None:
    shown = tracker(uri, database, job)
    shown.begin([])
    for trial in STUDY:
        shown.changed(replace(trial, outcome=None, ended=None))
        assert children(uri, job)[trial.trial.number].info.status == "RUNNING"
        shown.changed(trial)
    shown.end(STUDY)

    [parent] = parents(uri, job)
    assert (parent.info.run_name, parent.info.status) == (job.name, "FINISHED")
    assert parent.data.metrics == {"best.mIoU": 42.25, "trials ended": 4.0, "hours": 0.1117}
    assert parent.data.params["rungs"] == "60, 160, 480"
    assert parent.data.tags["best trial"] == "3"
    trials = children(uri, job)
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    assert [(trials[n].info.status, trials[n].data.tags["outcome"]) for n in range(4)] == [
        ("FINISHED", "completed"),
        ("KILLED", "pruned"),
        ("FAILED", "out of memory"),
        ("FINISHED", "completed"),
    ]


def test_trial_has_its_params_metrics_times_and_config(uri: str, database: Path, job: JobSpec) -> None:
    shown = tracker(uri, database, job)
    shown.begin(STUDY)
    trials = children(uri, job)
    best = trials[3]
    assert best.info.end_time - best.info.start_time == 300_000
    assert best.data.params == {"lr": "0.0004", "weight_decay": "0.0001", "centers": "25", "seed": "0"}
    assert history(uri, best) == [(60, 21.0), (160, 33.0), (480, 42.25)]
    assert best.data.metrics["IoU.sky_ _blue_"] == 9.5
    assert trials[2].data.tags["note"] == "centers 25 need more than 80 GB"
    said = trials[2].data.tags["mlflow.note.content"]
    assert said.startswith(
        "**Trial 2 failed before its first evaluation: out of memory.**\n\nWhy: centers 25 need"
    )
    assert "What to do: " in said
    assert "mlflow.note.content" not in trials[1].data.tags
    assert read(uri, best, "config.py").startswith("trial = 3\n")


def test_study_taken_up_after_a_kill_goes_on_in_its_runs(uri: str, database: Path, job: JobSpec) -> None:
    killed = tracker(uri, database, job)
    killed.begin([])
    killed.changed(STUDY[0])
    killed.changed(record(3, None, 21.0))
    before = {run.info.run_id for run in runs(uri, job)}

    again = tracker(uri, database, job)
    again.begin([STUDY[0], record(3, None, 21.0)])
    again.end(STUDY)
    assert before < {run.info.run_id for run in runs(uri, job)}
    assert len(runs(uri, job)) == 5
    assert "RUNNING" not in {run.info.status for run in runs(uri, job)}
    assert history(uri, children(uri, job)[3]) == [(60, 21.0), (160, 33.0), (480, 42.25)]


def test_interrupted_study_leaves_nothing_running(uri: str, database: Path, job: JobSpec) -> None:
    cut_off = record(4, None, 22.0)
    shown = tracker(uri, database, job)
    shown.begin([*STUDY, cut_off])
    shown.end([*STUDY, cut_off])
    assert parents(uri, job)[0].info.status == "KILLED"
    assert children(uri, job)[4].info.status == "KILLED"
    assert children(uri, job)[4].data.tags["outcome"] == "interrupted"

    again = tracker(uri, database, job)
    again.begin([*STUDY, cut_off])
    running = {run.info.run_name for run in runs(uri, job) if run.info.status == "RUNNING"}
    assert running == {job.name, "trial 4"}
    again.end([*STUDY, record(4, Outcome.PRUNED, 22.0)])
    assert children(uri, job)[4].data.tags["outcome"] == "pruned"


def test_studies_of_one_name_stay_apart(uri: str, database: Path, job: JobSpec) -> None:
    for study_id in ("first", "second"):
        shown = tracker(uri, database, job, study_id)
        shown.begin(STUDY[:1])
        shown.end(STUDY[:1])
    assert {run.data.tags["tuner.study"] for run in parents(uri, job)} == {"first", "second"}
    assert len(runs(uri, job)) == 4


def test_job_with_another_budget_goes_on_in_this_driver_and_the_next(
    uri: str, database: Path, job: JobSpec
) -> None:
    shown = tracker(uri, database, job)
    shown.begin([])
    shown.job = job.model_copy(update={"budget": job.budget.model_copy(update={"trials": 99})})
    shown.changed(STUDY[0])
    assert [run.data.tags["budget.trials"] for run in parents(uri, job)] == ["99"]
    tracker(uri, database, job).begin(STUDY)
    assert [run.data.tags["budget.trials"] for run in parents(uri, job)] == ["4"]


def test_deleted_experiment_and_trial_come_back(uri: str, database: Path, job: JobSpec) -> None:
    tracker(uri, database, job).begin(STUDY)
    client = MlflowClient(uri)
    client.delete_run(children(uri, job)[3].info.run_id)
    client.delete_experiment(client.get_experiment_by_name(job.name).experiment_id)
    tracker(uri, database, job).begin(STUDY)
    assert children(uri, job).keys() == {0, 1, 2, 3}


def test_loss_that_is_no_number_is_shown(uri: str, database: Path, job: JobSpec) -> None:
    nan = Measurement(60, {"mIoU": 1.0, "loss": math.nan}, 6.0)
    shown = tracker(uri, database, job)
    shown.begin([replace(record(0, Outcome.DIVERGED), measurements=(nan,))])
    assert math.isnan(children(uri, job)[0].data.metrics["loss"])


def test_leaderboard_is_prepared(uri: str, database: Path, job: JobSpec) -> None:
    tracker(uri, database, job).begin([])
    tags = MlflowClient(uri).get_experiment_by_name(job.name).tags
    view = json.loads(tags["mlflow.sharedViewState.leaderboard"])
    assert view["searchFilter"] == f"tags.`mlflow.parentRunId` = '{parents(uri, job)[0].info.run_id}'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`mIoU`", False)
    assert "params.`centers`" in view["selectedColumns"]
    assert "metrics.`mIoU SD`" in view["selectedColumns"]
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == {
        section["uuid"] for section in view["compareRunSections"]
    }
    assert tags["mlflow.note.content"].startswith("**No verdict yet: no trial has begun.**\n")
    assert "maximize mIoU" in tags["mlflow.note.content"]
    seeds = json.loads(tags["mlflow.sharedViewState.seeds"])
    assert seeds["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "trial"}]
    assert "viewStateShareKey=seeds)" in tags["mlflow.note.content"]


def test_how_a_trial_was_trained_stands_among_the_system_metrics(database: Path, job: JobSpec) -> None:
    uri = f"sqlite:///{database}"
    trials = [with_pace(number, 100.0) for number in range(4)] + [with_pace(4, 50.0)]
    shown = tracker(uri, database, job)
    shown.begin(trials)
    shown.end(trials)
    found = children(uri, job)
    assert found[4].data.metrics["system/images_per_second"] == 50.0
    assert [number for number, run in found.items() if "slowed by its node" in run.data.tags] == [4]


def with_pace(number: int, pace: float) -> Record:
    plain = record(number, Outcome.COMPLETED, 20.0)
    (only,) = plain.measurements
    return replace(plain, measurements=(replace(only, system_metrics={"images_per_second": pace}),))


def test_config_is_shown_once_there_is_one(database: Path, job: JobSpec) -> None:
    uri = f"sqlite:///{database}"
    home = Home(database.parent / "late")
    shown = Shown(Server(uri, database.parent / "artifacts"), job, home)
    shown.begin([record(0, None)])
    client, run_id = MlflowClient(uri), children(uri, job)[0].info.run_id
    assert client.list_artifacts(run_id) == []
    write_text(home.trial(job.name, 0).config, "trial = 0\n")
    shown.changed(record(0, None, 20.0))
    assert [file.path for file in client.list_artifacts(run_id)] == ["config.py"]


def test_changes_are_held_against_the_default_as_it_was_in_the_end(database: Path, job: JobSpec) -> None:
    """Trial 0 begins late; then it runs short of memory, which changes its config."""
    uri, home = f"sqlite:///{database}", Home(database.parent / "changing")
    shown = Shown(Server(uri, database.parent / "artifacts"), job, home)
    write_text(home.trial(job.name, 1).config, "lr = 2\n")
    shown.begin([replace(STUDY[0], outcome=None, measurements=()), STUDY[1]])
    for text in ("lr = 1\n", "accumulation = 2\nlr = 1\n"):
        write_text(home.trial(job.name, 0).config, text)
        shown.changed(STUDY[0])
    shown.end(STUDY[:2])
    lines = read(uri, children(uri, job)[1], "changes.diff").splitlines()
    assert lines[3:] == ["-accumulation = 2", "-lr = 1", "+lr = 2"]


def test_the_report_is_drawn_at_most_once_a_minute_and_at_the_end(database: Path, job: JobSpec) -> None:
    shown = tracker(f"sqlite:///{database}", database, job)
    with patch.object(mlflow_runs.page, "html", return_value="a report") as drawn:
        shown.begin([])
        for trial in STUDY:
            shown.changed(trial)
        assert drawn.call_count == 1
        shown.end(STUDY)
    assert drawn.call_count == 2


def test_away_server_stops_nothing_and_is_made_good(
    database: Path, job: JobSpec, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    shown = tracker(uri, database, job)
    with caplog.at_level(logging.WARNING, "tuner"):
        shown.begin([])
        for trial in STUDY[:3]:
            shown.changed(trial)
        shown.end(STUDY[:3])
    warning, last = (entry.getMessage() for entry in caplog.records if entry.name.startswith("tuner"))
    assert "does not answer" in warning
    assert "the search goes on" in warning
    assert f"`tuner sync-mlflow {job.name}` draws it" in last

    with serve(f"sqlite:///{database}", database.parent / "served", int(uri.rpartition(":")[2])) as address:
        assert address == uri
        again = tracker(uri, database, job)
        again.begin(STUDY[:3])
        again.changed(STUDY[3])
        assert children(uri, job).keys() == {0, 1, 2, 3}
        again.end(STUDY)
        assert parents(uri, job)[0].info.status == "FINISHED"


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "MLFLOW_TRACKING_USERNAME"), (403, "MLFLOW_TRACKING_TOKEN"), (400, "MLflow 3.13")],
)
def test_a_server_that_refuses_is_not_away_but_told_with_what_to_do(
    database: Path, job: JobSpec, caplog: pytest.LogCaptureFixture, status: int, advice: str
) -> None:
    with refusing(status) as uri, caplog.at_level(logging.WARNING, "tuner"):
        shown = tracker(uri.replace("//", "//somebody:secret@"), database, job)
        shown.begin(STUDY)
        shown.end(STUDY)
    first, last = (entry.getMessage() for entry in caplog.records if entry.name.startswith("tuner"))
    assert f"answers {status}" in first
    assert advice in first
    assert "the search goes on" in first
    assert "secret" not in first
    assert "does not answer" not in first
    assert f"tuner sync-mlflow {job.name}" in last


def test_away_is_not_what_an_error_of_the_tuner_is_called_nor_does_it_end_a_search(
    database: Path, job: JobSpec, caplog: pytest.LogCaptureFixture
) -> None:
    shown = tracker(f"sqlite:///{database}", database, job)
    with (
        patch.object(mlflow_runs.page, "html", side_effect=ZeroDivisionError),
        caplog.at_level("WARNING", "tuner"),
    ):
        shown.begin(STUDY)
        shown.end(STUDY)
    first, _ = (entry.getMessage() for entry in caplog.records if entry.name.startswith("tuner"))
    assert "by an error of the tuner: ZeroDivisionError()" in first


def test_an_object_store_that_is_away_is_called_by_its_name_and_made_good(
    database: Path, job: JobSpec, object_store: ObjectStore, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    uri, home = f"sqlite:///{database}", Home(database.parent / "at a URL", UrlPath(url))
    write_text(home.trial(job.name, 0).config, "trial = 0\n")
    shown = Shown(Server(uri, database.parent / "artifacts"), job, home)
    with caplog.at_level(logging.WARNING, "tuner"):
        object_store.refuses = lambda _request: True
        shown.begin(STUDY[:1])
        object_store.refuses = lambda _request: False
        shown.changed(STUDY[0])
        shown.end(STUDY[:1])
    [message] = [entry.getMessage() for entry in caplog.records if entry.name.startswith("tuner")]
    assert message.startswith(
        f"the trials' files cannot be read: {url.partition('?')[0]}/{job.name}/0000/config.py"
    )
    assert "the search goes on" in message
    assert read(uri, children(uri, job)[0], "config.py") == "trial = 0\n"


@contextmanager
def refusing(status: int) -> Iterator[str]:
    """Answers every request with this status."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def do_POST(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_away_in_the_middle_of_a_trial_writes_nothing_twice(database: Path, job: JobSpec) -> None:
    uri = f"sqlite:///{database}"
    shown = tracker(uri, database, job)
    shown.begin([])
    with patch.object(MlflowClient, "log_text", side_effect=OSError):
        shown.changed(record(3, None, 21.0))
    shown.changed(STUDY[3])
    assert history(uri, children(uri, job)[3]) == [(60, 21.0), (160, 33.0), (480, 42.25)]
    assert len(runs(uri, job)) == 2


def read(uri: str, run: Run, path: str) -> str:
    return Path(MlflowClient(uri).download_artifacts(run.info.run_id, path)).read_text()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
