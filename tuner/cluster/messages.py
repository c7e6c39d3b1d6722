"""Defines what the driver and a trial tell each other through Ray Tune."""

from dataclasses import dataclass
from typing import TypeAlias

from tuner.errors import TrialFailed
from tuner.spec.trial import Measurement, Trial

NodeId: TypeAlias = str
"""Ray's own id of a node, which it also has as the label `ray.io/node-id`."""
RANK = " rank "
"""Stands between a gang's name and a rank's number in the name by which a driver finds the rank."""


@dataclass(frozen=True)
class Draw:
    """Tells a trial's actor what to train; Tune calls it the trial's config."""

    trial: Trial
    evaluation_points: tuple[int, ...]
    avoided: tuple[NodeId, ...] = ()
    """The nodes on which no rank may lie."""


@dataclass(frozen=True)
class Report:
    """Tells the driver how a step ended; Tune calls it the trial's result."""

    result: Measurement | TrialFailed
    nodes: tuple[NodeId, ...]
    """The nodes of the gang's ranks; none where the gang did not come together."""
