"""Averages the loss over the latest iterations and detects divergence."""

import math
from dataclasses import dataclass, field

from tuner.errors import Diverged

EXPLODED = 4.0
"""Times the first loss, about that of guessing; learning-rate finders (fastai's, Lightning's) stop there too,
but take it of the best loss."""
PATIENCE = 50
"""Iterations in a row: spikes from which a training recovers are shorter."""
PARTS = 32
"""The training loss is the mean over the last of as many equal parts of the full length: other rungs do not
change it."""
POINT = 50
"""Iterations that one point of the loss curve averages, fewer in a short training."""


@dataclass
class LossMonitor:
    """Keeps the losses of the latest iterations; the checkpoint holds them for a training that is resumed."""

    latest: list[float] = field(default_factory=list)
    """The losses of the latest iterations, at most a window of them, the last one last."""
    first: float | None = None
    """The training's first loss."""
    high: int = 0
    """Iterations in a row with an exploded loss."""
    unaveraged: list[float] = field(default_factory=list)
    """The losses since the last point of the curve."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """The points since the last evaluation: an iteration, and the mean loss up to it from the point before."""

    def add(self, loss: float, iteration: int, length: int) -> None:
        """Adds an iteration's loss; `length` is the full length of the training, in iterations.

        Raises Diverged when the loss is no number, or has exploded and stays so.
        """
        if not math.isfinite(loss):
            raise Diverged(f"loss {loss} at iteration {iteration}")
        self.first = loss if self.first is None else self.first
        self.high = self.high + 1 if loss > EXPLODED * self.first else 0
        if self.high == PATIENCE:
            high = f"above {EXPLODED:g} times the first, {self.first:.3g}, for {PATIENCE} iterations"
            raise Diverged(f"loss {high}: {loss:.3g} at iteration {iteration}")
        self.latest.append(loss)
        part = max(1, length // PARTS)
        del self.latest[:-part]
        self.unaveraged.append(loss)
        if iteration % min(POINT, part) == 0:
            self.curve.append((iteration, math.fsum(self.unaveraged) / len(self.unaveraged)))
            self.unaveraged.clear()

    def take_curve(self) -> tuple[tuple[int, float], ...]:
        """Returns the points since the last call."""
        taken = tuple(self.curve)
        self.curve.clear()
        return taken

    def mean(self) -> float:
        """Averages the losses of the window; nearer to the start of the training than that, all there are."""
        return math.fsum(self.latest) / len(self.latest)
