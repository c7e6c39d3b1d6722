"""Runs a study in this process, one trial at a time and without a cluster."""

from collections.abc import Callable, Iterable
from typing import Protocol

from tuner.errors import Diverged, OutOfMemory, TrialFailed
from tuner.spec.trial import OUTCOMES, Measurement, Outcome, Trial
from tuner.study.study import Study


class Session(Protocol):
    """Trains one trial in this process."""

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement: ...


def drive(study: Study, opened: Callable[[Trial], Session]) -> None:
    """Draws and trains trials until the study's budget is spent; a failed trial does not end the study."""
    while trial := study.draw():
        number = trial.number
        try:
            session = opened(trial)
            while study.measure(number, session.step(study.evaluation_points)) is None:
                pass
        except TrialFailed as failure:
            study.fail(number, OUTCOMES[type(failure)], str(failure))


def trained(steps: Iterable[Measurement]) -> tuple[list[Measurement], Outcome, str]:
    """Trains to the end; returns what was measured, the outcome and why it failed. A crash is raised."""
    measurements: list[Measurement] = []
    try:
        measurements.extend(steps)
    except (Diverged, OutOfMemory) as failure:
        return measurements, OUTCOMES[type(failure)], str(failure)
    return measurements, Outcome.COMPLETED, ""
