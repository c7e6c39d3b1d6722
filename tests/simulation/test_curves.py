"""Recorded curves: trainings of random params, kept as they end."""

import json
from itertools import islice
from pathlib import Path

import pytest

from tests.conftest import ROOT, JobFile
from tuner import simulations
from tuner.errors import BadInput
from tuner.settings import Settings
from tuner.simulation import curves
from tuner.spec.trial import Outcome, Record

CONFIG = (ROOT / "configs" / "synthetic.py").read_text()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment(tmp_path / "home", None)


def facts(record: Record) -> object:
    return record.trial, record.outcome, [(m.iteration, m.metrics) for m in record.measurements]


def test_a_recording_cut_off_is_continued(job_file: JobFile, settings: Settings, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    job = job_file()
    assert len(list(simulations.record(job, None, whole, 4, 2, settings))) == 8
    assert len(list(islice(simulations.record(job, None, cut, 4, 2, settings), 3))) == 3
    assert len(list(simulations.record(job, None, cut, 4, 2, settings))) == 5
    assert [facts(record) for record in curves.read(cut)] == [facts(record) for record in curves.read(whole)]


def test_a_recording_holds_the_default_first_and_every_rung(
    job_file: JobFile, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "curves.jsonl"
    list(simulations.record(job_file(), None, file, 3, 2, settings))
    records = curves.read(file)
    assert [record.trial.seed for record in records] == [0, 1] * 3
    assert (
        records[0].trial.params == records[1].trial.params == {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}
    )
    assert all([m.iteration for m in record.measurements] == [60, 160, 480] for record in records)
    assert records[0].value("mIoU") != records[1].value("mIoU")


def test_a_diverged_training_is_recorded_as_such(
    job_file: JobFile, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "diverges.py").write_text(CONFIG.replace("diverges_above=1.0", "diverges_above=1e-6"))
    job = job_file(config=str(tmp_path / "diverges.py"))
    (record,) = simulations.record(job, None, tmp_path / "curves.jsonl", 1, 1, settings)
    assert (record.outcome, record.measurements) == (Outcome.DIVERGED, ())
    assert facts(curves.read(tmp_path / "curves.jsonl")[0]) == facts(record)


def test_all_lines_that_are_no_training_are_told(tmp_path: Path) -> None:
    file = tmp_path / "curves.jsonl"
    file.write_text("{\n" + json.dumps({"params": {}}) + "\n[]\n")
    with pytest.raises(BadInput) as caught:
        curves.read(file)
    assert [problem.message.split(":")[0] for problem in caught.value.problems] == [
        "line 1",
        "line 2",
        "line 3",
    ]
