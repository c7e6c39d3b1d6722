"""Keeps the confusion matrices of a trial's last evaluation, by which its export proves itself later."""

import json
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tuner.files.paths import AnyPath
from tuner.files.writing import write_text

logger = logging.getLogger("tuner.training")

SUBSET = 16
"""The number of images of the subset, which are measured again in seconds."""


def subset(count: int) -> list[int]:
    """Chooses images of a validation set evenly spread over it: the same ones whenever it is asked."""
    few = min(SUBSET, count)
    return [position * count // few for position in range(few)]


class Confusion:
    """Sums up two confusion matrices, [classes + 1, classes + 1]: of all images and of a fixed subset."""

    def __init__(self, images: int) -> None:
        self.images = subset(images)
        self.whole = torch.zeros(0, dtype=torch.long)
        self.subset = torch.zeros(0, dtype=torch.long)

    def begin(self, classes: int, device: torch.device) -> None:
        """Forgets the evaluation before."""
        self.subset = torch.zeros(classes + 1, classes + 1, dtype=torch.long, device=device)

    def add(self, index: int, matrix: Tensor) -> None:
        """Counts the matrix of one image in where the image is of the subset."""
        if index in self.images:
            self.subset += matrix

    def write(self, path: AnyPath, iteration: int) -> None:
        """Writes both matrices as JSON; no trial ends where they cannot be written."""
        matrices = {"whole": self.whole.tolist(), "subset": self.subset.tolist()}
        try:
            write_text(path, json.dumps({"iteration": iteration, "images": self.images, **matrices}))
        except OSError as error:
            logger.warning("the confusion matrix is not kept, an export cannot be held against it: %s", error)


def moved(recorded: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Returns how many pixels stand in another cell than was recorded, and how many there are."""
    pairs = [
        (int(a), int(b)) for rows in zip(recorded, found, strict=True) for a, b in zip(*rows, strict=True)
    ]
    return sum(max(a - b, 0) for a, b in pairs), sum(a for a, _ in pairs)


def read(path: AnyPath) -> dict[str, Any] | None:
    """Returns what a trial's last evaluation recorded; None where it recorded nothing."""
    if not path.exists():
        return None
    recorded: dict[str, Any] = json.loads(path.read_text())
    return recorded
