"""Defines what a search optimizes."""

from typing import Literal

from tuner.spec.strict import Strict

COSTS = {
    "latency": "latency_milliseconds",
    "parameters": "parameters_millions",
    "memory": "memory_gibibytes",
}
"""The metrics that objective.secondary names."""


class Objective(Strict):
    metric: str = "mIoU"
    """A metric of the evaluation: mIoU, mAcc, aAcc or IoU.<class>."""
    direction: Literal["maximize", "minimize"] = "maximize"
    secondary: Literal["latency", "parameters", "memory"] | None = None
    """A second objective, the less of it the better; see training/evaluation/cost.py."""

    @property
    def text(self) -> str:
        secondary = f" against {self.secondary}" if self.secondary else ""
        return f"{self.direction} {self.metric}{secondary}"

    @property
    def cost(self) -> str | None:
        """Returns the metric of the second objective."""
        return COSTS[self.secondary] if self.secondary else None
