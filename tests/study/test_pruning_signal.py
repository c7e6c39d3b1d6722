"""By what trials are compared at rungs: the metric, the training loss, the validation loss, or the best supported."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, JobFile
from tests.loop import DEFAULT
from tuner.search.scheduling import scheduler_for
from tuner.sizing.lint import job_problems
from tuner.spec.job import JobSpec
from tuner.spec.pruning_signal import signals
from tuner.spec.trial import Measurement, Outcome
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.rung_selection import rung_signals
from tuner.study.study import Study
from tuner.tracking.report.text import report

CONFIG: dict[str, Any] = {"runner": {"max_iters": 480}, "data": {"train": {"pipeline": []}}}


def job_by(job_file: JobFile, prune_by: str, space: Path | None = None) -> JobSpec:
    fidelity = {"iterations": 480, "rungs": [240, 480], "prune_by": prune_by}
    more = {"space": str(space)} if space else {}
    return read_job(job_file(fidelity=fidelity, budget={"trials": 60}, **more))


def searched(job: JobSpec) -> Study:
    """A study whose end is told by its number; early the loss tells it and mIoU tells the opposite."""
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    while trial := study.draw():
        end = float(trial.number * 7 % 60)
        early = {"mIoU": -end, "loss": 100 - end, "val_loss": float(trial.number % 3)}
        if study.measure(trial.number, Measurement(240, early, 1.0)) is None:
            study.measure(trial.number, Measurement(480, {"mIoU": end, "loss": 100 - end}, 8.0))
    return study


def pruned(study: Study) -> list[float]:
    return [r.value("mIoU", 240) or 0.0 for r in study.records if r.outcome is Outcome.PRUNED]


def test_the_loss_prunes_those_with_the_greater_loss_and_the_metric_those_with_the_lower_metric(
    job_file: JobFile,
) -> None:
    by_loss, by_metric = searched(job_by(job_file, "loss")), searched(job_by(job_file, "metric"))
    assert max(record.value("mIoU", 480) or 0.0 for record in by_loss.records) == 59
    ends = [
        record.value("mIoU", 480) for record in by_metric.records if record.trial.number and record.outcome
    ]
    assert 59 not in ends
    assert set(pruned(by_loss)) != set(pruned(by_metric))


def test_auto_finds_the_signal_that_tells_the_end_and_says_so(job_file: JobFile) -> None:
    study = searched(job_by(job_file, "auto"))
    assert rung_signals(study.history) == {240: "loss"}
    assert "240: +0" in report(study.history)
    assert "a rung by loss" in report(study.history)


def test_where_the_space_changes_the_losss_meaning_loss_is_refused_and_auto_leaves_it_out(
    job_file: JobFile,
) -> None:
    varied = ROOT / "search_spaces" / "recipe.yaml"
    job = job_by(job_file, "loss", varied)
    (problem,) = [each for each in job_problems(job, CONFIG) if "prune_by" in str(each)]
    assert "drop_path, dropout vary: take val_loss, metric or auto" in str(problem)
    assert signals(job_by(job_file, "auto", varied)) == ("metric", "val_loss")
    assert signals(job_by(job_file, "auto")) == ("metric", "val_loss", "loss")


@pytest.mark.parametrize("prune_by", ["val_loss", "auto"])
def test_a_trial_without_the_signal_is_not_compared(job_file: JobFile, prune_by: str) -> None:
    job = job_by(job_file, prune_by)
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    drawn = [study.draw() for _ in range(3)]
    outcomes = [
        study.measure(trial.number, Measurement(240, {"mIoU": 9.0 - trial.number}, 1.0))
        for trial in drawn
        if trial
    ]
    assert outcomes == [None] * 3 if prune_by == "val_loss" else outcomes[0] is None
