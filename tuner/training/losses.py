"""The losses since the last evaluation, and when they are a training's no more."""

import math
from dataclasses import dataclass

from tuner.errors import Diverged

EXPLODED = 4.0
"""Times the first loss, about that of guessing; learning-rate finders (fastai's, Lightning's) stop there too,
but take it of the best loss."""
PATIENCE = 50
"""Iterations in a row: spikes from which a training recovers are shorter."""


@dataclass
class Losses:
    """Kept in the checkpoint, so that a training taken up counts on."""

    total: float = 0.0
    count: int = 0
    """Iterations since the last evaluation."""
    first: float | None = None
    """The training's first loss."""
    high: int = 0
    """Iterations in a row with an exploded loss."""

    def add(self, loss: float, iteration: int) -> None:
        """Raises Diverged when the loss is no number, or has exploded and stays so."""
        if not math.isfinite(loss):
            raise Diverged(f"loss {loss} at iteration {iteration}")
        self.first = loss if self.first is None else self.first
        self.high = self.high + 1 if loss > EXPLODED * self.first else 0
        if self.high == PATIENCE:
            high = f"above {EXPLODED:g} times the first, {self.first:.3g}, for {PATIENCE} iterations"
            raise Diverged(f"loss {high}: {loss:.3g} at iteration {iteration}")
        self.total += loss
        self.count += 1

    def mean(self) -> float:
        """Since the last evaluation; begins anew."""
        mean = self.total / self.count
        self.total, self.count = 0.0, 0
        return mean
