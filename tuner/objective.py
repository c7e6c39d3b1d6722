"""What a search looks for."""

from typing import Literal

from tuner.space import Strict

COSTS = {
    "latency": "latency_milliseconds",
    "parameters": "parameters_millions",
    "memory": "memory_gibibytes",
}
"""The metrics that objective.against names."""


class Objective(Strict):
    metric: str = "mIoU"
    """A metric of the evaluation: mIoU, mAcc, aAcc or IoU.<class>."""
    direction: Literal["maximize", "minimize"] = "maximize"
    against: Literal["latency", "parameters", "memory"] | None = None
    """A second objective, the less of it the better; see training/cost.py."""

    @property
    def text(self) -> str:
        against = f" against {self.against}" if self.against else ""
        return f"{self.direction} {self.metric}{against}"

    @property
    def cost(self) -> str | None:
        """The metric of the second objective."""
        return COSTS[self.against] if self.against else None
