"""What is said of trials that failed: what, why, and what to do."""

import shlex
from dataclasses import replace

import pytest

from tests.conftest import JobFile
from tests.large_study import NASTY
from tests.records import STUDY, record
from tuner.cli.arguments import values_by_key
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome
from tuner.spec.yaml_files import read_job
from tuner.tracking.report.failures import REMEDIES, failure_note, remedies


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


def test_every_failure_says_what_failed_why_and_what_to_do(job: JobSpec) -> None:
    for outcome in (each for each in Outcome if each.failed):
        note = failure_note(job, record(1, outcome, 12.0, note="a * b"))
        what, why, remedy, *_ = note.split("\n\n")
        assert what == f"**Trial 1 failed after iteration 60: {outcome.value}.**"
        assert why == r"Why: a \* b"
        assert remedy.startswith(f"What to do: {REMEDIES[outcome].split('.')[0]}".replace("_", r"\_"))
    assert [failure_note(job, each) for each in STUDY if each.outcome is not Outcome.OUT_OF_MEMORY] == [
        ""
    ] * 3
    assert [*remedies(STUDY)] == ["out of memory"]


@pytest.mark.parametrize("value", [*NASTY, "25", 1e-5, True, 7])
def test_a_crash_names_commands_that_can_be_pasted(job: JobSpec, value: str | float) -> None:
    crashed = record(3, Outcome.CRASHED, note="a rank died")
    params = {"kind": value, "lr": 1e-4}
    *_, log, add = failure_note(job, replace(crashed, trial=replace(crashed.trial, params=params))).split(
        "\n\n"
    )
    assert log == "`tuner logs syn --trial 3`"
    program, command, study, *values = shlex.split(add.strip("`"))
    assert (program, command, study) == ("tuner", "add", "syn")
    assert values_by_key("test", values) == params


def test_a_default_or_replicate_that_crashed_cannot_be_added_again(job: JobSpec) -> None:
    crashed = record(5, Outcome.CRASHED)
    default, replicate = (
        replace(crashed, trial=replace(crashed.trial, **change))
        for change in ({"number": 0}, {"replicate_of": 3})
    )
    assert all("tuner add syn" not in failure_note(job, each) for each in (default, replicate))


def test_long_reasons_stand_in_a_block_that_they_cannot_end(job: JobSpec) -> None:
    note = failure_note(job, record(1, Outcome.CRASHED, note="rank 0:\n```\n" + "stack\n" * 2000))
    assert "Why: \n\n````\nrank 0:\n```\nstack\n" in note
    assert len(note) < 5000
