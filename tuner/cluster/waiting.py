"""Notices that no gang trains, as the cluster has not the nodes for one."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

PATIENCE = 15.0
"""Seconds without a gang until that is told: one that starts takes some too."""


class TellsWaiting(tune.Callback):  # type: ignore[misc]
    """Tells when a study begins to wait for nodes, and when a gang trains again."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self._tell, self._told = tell, False
        self._trained = time.monotonic()

    def on_step_begin(self, iteration: int, trials: Sequence[Trial], **_: Any) -> None:
        states = {trial.status for trial in trials}
        if Trial.RUNNING in states or Trial.PENDING not in states:
            self._trained = time.monotonic()
        is_waiting = time.monotonic() - self._trained > PATIENCE
        if is_waiting != self._told:
            self._told = is_waiting
            self._tell(is_waiting)

    def __getstate__(self) -> dict[str, Any]:
        return {}
