"""Defines how the learning rate follows the global batch."""

from math import sqrt
from typing import Literal

from pydantic import Field

from tuner.spec.strict import Strict


class LearningRateRule(Strict):
    """Scales the learning rate with the global batch; space and config give the one for `base_batch`.

    linear: Goyal et al., "Accurate, Large Minibatch SGD", 2017; sqrt: Krizhevsky, "One weird trick", 2014.
    """

    rule: Literal["linear", "sqrt"]
    base_batch: int = Field(gt=0)
    """The global batch that the config's learning rate was chosen for."""

    def factor(self, global_batch: int) -> float:
        ratio = global_batch / self.base_batch
        return ratio if self.rule == "linear" else sqrt(ratio)
