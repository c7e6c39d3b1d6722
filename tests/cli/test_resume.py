"""What `tuner resume` does with each of several studies, where a cluster takes some and refuses others."""

import json
from pathlib import Path

import pytest

from tests.conftest import JobFile, Tuner
from tests.loop import DEFAULT
from tuner.cluster import jobs
from tuner.errors import StillRuns, TunerError
from tuner.files.paths import Home
from tuner.spec.yaml_files import read_job
from tuner.store.store import FORMAT
from tuner.store.studies import open_study

CLUSTER = "http://cluster:8265"
ANSWERS = {
    "a-refused": TunerError("the Ray cluster refuses: no room"),
    "c-starting": StillRuns("c-starting-1 still runs"),
}


def test_a_study_that_cannot_be_started_is_told_and_the_others_are_started(
    job_file: JobFile, home: Path, tuner_inside: Tuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*ANSWERS, "b-of-another-version", "d-cut-off"):
        store = open_study(
            Home(home).storage, read_job(job_file(name=name)), {"data": "abc"}, DEFAULT, config="model = 1\n"
        )
        if "another" in name:
            store.optuna_study.set_user_attr(FORMAT, 0)
        assert store.lease
        store.lease.give_back()
    monkeypatch.setattr(jobs, "submit", answered)

    done = tuner_inside("resume", "--address", CLUSTER, code=1)
    assert "another version of the tuner" in (lines := done.stdout.splitlines()).pop(1)
    assert lines == [
        "a-refused: could not be started: the Ray cluster refuses: no room",
        "c-starting: left alone: c-starting-1 still runs",
        "d-cut-off: submitted: d-cut-off-2",
    ]
    assert done.stderr == "could not be started: a-refused; `tuner resume` tries again\n"
    rows = json.loads(tuner_inside("status", "--json").stdout)
    assert [each["state"] for each in rows] == ["interrupted", "of another version", *["interrupted"] * 2]
    assert "of another version  – of –" in tuner_inside("status").stdout
    done = tuner_inside("resume", "lost", "d-cut-off", "--address", CLUSTER, code=1)
    assert "lost: could not be started: there is no study lost" in done.stdout
    assert "d-cut-off: submitted: d-cut-off-2" in done.stdout
    assert "submitted" in tuner_inside("resume", "d-cut-off", "--address", CLUSTER).stdout


def answered(_: str, study: str, *__: object) -> str:
    if study in ANSWERS:
        raise ANSWERS[study]
    return f"{study}-2"
