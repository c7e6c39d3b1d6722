"""Says what an export may be asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Asked:
    """Holds the options of an export."""

    trial: int | None = None
    """The number of a completed trial; None takes the best."""
    gpus: int | None = None
    """The GPUs that the standalone config is for; None takes the trial's."""
    verification: Literal["subset", "full", "none"] = "subset"
    data_root: Path | None = None
    """The folder of the images, where it is another than the job's."""
    test: bool = False
    """Whether the card shows the metrics of the test split too; nothing is chosen by them."""
