"""A study run by a loop in place of a cluster: one trial at a time, over curves by formula."""

from collections.abc import Callable, Iterator

from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Record, Trial
from tuner.store.studies import in_memory
from tuner.study.study import Study

DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}
Curve = Callable[[Trial, int], float]
"""The mIoU of a trial at an iteration."""


def measured(trial: Trial, iteration: int, curve: Curve) -> Measurement:
    return Measurement(iteration, {"mIoU": curve(trial, iteration)}, seconds=iteration / 10)


def steps(study: Study, curve: Curve) -> Iterator[tuple[int, int]]:
    """From each trial's last rung on, a step at every turn: the trial's number and the iteration."""
    while trial := study.draw():
        last = study.records[trial.number].last
        for iteration in study.evaluation_points:
            if last and iteration < last.iteration:
                continue
            ended = study.measure(trial.number, measured(trial, iteration, curve))
            yield trial.number, iteration
            if ended:
                break


def searched(job: JobSpec, curve: Curve) -> Study:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    list(steps(study, curve))
    return study


def cut_off_again_and_again(opened: Callable[[], Study], curve: Curve, turns: int) -> Study:
    """Starts a study until it ends, each time for so many turns."""
    for _ in range(200):
        study = opened()
        for turn, _ in enumerate(steps(study, curve), start=1):
            if turn == turns:
                break
        else:
            return study
    raise AssertionError("the study never ended")


def facts(records: list[Record]) -> list[object]:
    return [(r.trial, r.outcome, r.measurements) for r in records]
