"""How all studies of a database stand is told from their summaries."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from tests.conftest import JobFile, Tuner
from tests.learning_curves import curve
from tests.loop import DEFAULT, steps
from tuner import app
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.settings import Settings
from tuner.spec.yaml_files import read_job
from tuner.store.asking import act
from tuner.store.studies import open_study
from tuner.store.summaries import Summarizes
from tuner.study.history import History
from tuner.study.study import Study
from tuner.tracking.report.index import summary


@pytest.fixture
def settings(storage: str, home: Path) -> Settings:
    return Settings.from_environment(home, storage)


@contextmanager
def queries() -> Iterator[list[str]]:
    """What is asked of databases meanwhile."""
    asked: list[str] = []

    def note(*words: object) -> None:
        asked.append(str(words[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def searched(settings: Settings, job_file: JobFile, name: str, trials: int) -> None:
    """A study that was driven to its end."""
    job = read_job(job_file(name=name, budget={"trials": trials}))
    store = open_study(settings.storage, job, {"data": "abc"}, DEFAULT)
    summarizes = Summarizes(settings.storage, name, lambda: summary(study.history))
    study = Study(job, store, scheduler_for, [summarizes])
    summarizes.keep()
    with store.driven():
        list(steps(study, curve))


def test_as_many_queries_tell_of_many_studies_as_of_few(settings: Settings, job_file: JobFile) -> None:
    counts = []
    for number, trials in enumerate((1, 2, 4)):
        searched(settings, job_file, f"study{number}", trials)
        with queries() as asked:
            found = app.overview(settings)
        assert [each["study"] for each in found] == [f"study{i}" for i in range(number + 1)]
        assert [each["ended"] for each in found] == [1, 2, 4][: number + 1]
        counts.append(len(asked))
    assert len(set(counts)) == 1, counts


def test_a_study_that_was_acted_on_is_told_as_it_is_since(settings: Settings, job_file: JobFile) -> None:
    searched(settings, job_file, "syn", 1)
    assert [(each["state"], each["trials"]) for each in app.overview(settings)] == [("over", 1)]
    act(settings.storage, "syn", "budget", {"trials": "+1"})
    assert [(each["state"], each["trials"]) for each in app.overview(settings)] == [("interrupted", 2)]
    act(settings.storage, "syn", "pause", {})
    assert [each["state"] for each in app.overview(settings)] == ["paused"]


def test_a_study_that_runs_is_told_with_its_driver(
    job_file: JobFile, home: Path, monkeypatch: pytest.MonkeyPatch, tuner_inside: Tuner
) -> None:
    job = read_job(job_file(budget={"trials": 3}))
    store = open_study(Home(home).storage, job, {"data": "abc"}, DEFAULT)
    with store.driven(), monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: 1)  # as the lease's holder is seen from another process
        (row,) = json.loads(tuner_inside("status", "--json").stdout)
        table = tuner_inside("status").stdout
        summarizes = Summarizes(Home(home).storage, "syn", lambda: summary(History(job, store.records())))
        states = []
        for is_waiting in (True, False):
            summarizes.waits(is_waiting)
            states += [each["state"] for each in json.loads(tuner_inside("status", "--json").stdout)]
    assert states == ["waiting for nodes", "running"]
    assert (row["state"], row["ended"], row["trials"], row["verdict"]) == ("running", 0, 3, "open")
    assert f"{row['driver']}, since {row['since'][:16]}" in table
