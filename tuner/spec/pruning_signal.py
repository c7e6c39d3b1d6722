"""Says by what trials are compared at rungs: the objective's metric, the training loss or the validation loss."""

import re
from typing import Literal, TypeAlias

from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement

Signal: TypeAlias = Literal["metric", "loss", "val_loss"]

CHANGES_THE_LOSS = re.compile(r"drop|smooth|loss|class_weight|pipeline|mixup|cutmix|sampler", re.IGNORECASE)
"""Config paths that change what a training loss means: regularisation by noise, the loss itself, augmentation."""


def signals(job: JobSpec) -> tuple[Signal, ...]:
    """Returns the signals that may compare trials; auto leaves the training loss out where its meaning varies."""
    match job.fidelity.prune_by:
        case "auto":
            return ("metric", "val_loss") if loss_changers(job) else ("metric", "val_loss", "loss")
        case signal:
            return (signal,)


def loss_changers(job: JobSpec) -> list[str]:
    """Lists the parameters of the space that change what the training loss means."""
    parameters = job.space.parameters.items()
    return [name for name, each in parameters if any(CHANGES_THE_LOSS.search(path) for path in each.sets)]


def reading(job: JobSpec, signal: Signal, measurement: Measurement) -> float | None:
    """Returns the signal of a measurement in the objective's direction, None where it was not measured."""
    value = measurement.metrics.get(job.objective.metric if signal == "metric" else signal)
    is_turned = signal != "metric" and job.objective.direction == "maximize"
    return -value if is_turned and value is not None else value
