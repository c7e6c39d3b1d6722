"""Keeps strips of a few validation images, the same for all trials: photo, truth and prediction in a row."""

import logging
from collections.abc import Sequence
from math import ceil
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.files.paths import TrialFolder
from tuner.files.writing import replacing, write_json
from tuner.sizing.own_entry import own_entry, with_own
from tuner.spec.trial import Config
from tuner.training.evaluation.prediction import Sample
from tuner.training.evaluation.scored import is_scored_by_mmseg, truth

LOOKED_AT = 256
"""Masks among which images are chosen: more would cost the start of a study too much."""
SEEN = 0.002
"""The share of an image's pixels from which on a class is seen in it."""
QUALITY = 88
TALLEST = 1.5
"""The height of a panel, in its widths."""

Array = NDArray[Any]
logger = logging.getLogger(__name__)


def with_strips(config: Config, dataset: Any, images: int, width: int) -> Config:
    """Writes into a config which images of its validation set are kept as strips, and their width in pixels."""
    if not images or not is_scored_by_mmseg(dataset):
        return config
    return with_own(config, strips={"images": chosen(dataset, images), "width": width})


def chosen(dataset: Any, count: int) -> list[int]:
    """Chooses images that together show as many classes as possible, each the one that adds most.

    Once all classes are shown, or no image adds one, another round begins. The same data set gives the same
    images; of equals the earlier one is taken.
    """
    step = ceil(len(dataset) / LOOKED_AT) or 1
    shows = {index: _classes(dataset, index) for index in range(0, len(dataset), step)}
    found: list[int] = []
    covered: set[int] = set()
    while len(found) < min(count, len(shows)):
        left = [index for index in shows if index not in found]
        best = max(left, key=lambda index: len(shows[index] - covered))
        if not shows[best] - covered and covered:
            covered = set()
            continue
        found.append(best)
        covered |= shows[best]
    return found


class Strips:
    """Writes the strips of one trial, those of this rank's share of the images, into the trial's folder."""

    def __init__(self, config: Config, files: TrialFolder, classes: Sequence[str], palette: Any) -> None:
        wanted = own_entry(config).strips or {"images": [], "width": 0}
        self._positions = {index: position for position, index in enumerate(wanted["images"])}
        self._panel = wanted["width"] // 3
        self._files = files
        self._classes = list(classes)
        self._palette = np.asarray(palette, np.uint8)
        self.iteration = 0
        """The evaluation that is under way."""

    def keep(self, index: int, sample: Sample, truth: Tensor, predicted: Tensor) -> None:
        """Writes the strip of an image if it is among the chosen ones; labels are those of the evaluation.

        What cannot be written or drawn is missed: no trial ends for it.
        """
        if index not in self._positions:
            return
        try:
            panels = (_photo(sample), self._coloured(truth), self._coloured(predicted))
            strip = np.hstack([_resized(each, _panel_size(truth, self._panel)) for each in panels])
            _, encoded = cv2.imencode(".jpg", strip[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
            with replacing(self._files.strip(self.iteration, self._positions[index])) as unfinished:
                unfinished.write_bytes(encoded.tobytes())
        except (OSError, KeyError, ValueError, cv2.error) as error:
            logger.warning("the prediction of validation image %d is not kept: %s", index, error)

    def describe(self, pixels: Sequence[int]) -> None:
        """Writes which images are kept, and the classes with their colours and labelled pixels."""
        if not self._positions:
            return
        rows = zip(self._classes, self._palette.tolist(), pixels, strict=True)
        classes = [{"name": name, "color": color, "pixels": int(count)} for name, color, count in rows]
        try:
            write_json(self._files.image_index, {"images": list(self._positions), "classes": classes})
        except OSError as error:
            logger.warning("the legend of the predictions is not kept: %s", error)

    def _coloured(self, labels: Tensor) -> Array:
        """Paints labels, [height, width], in their classes' colours; what has none is black."""
        known = np.asarray(labels.long().clamp(0, len(self._palette)).cpu())
        colours: Array = np.vstack([self._palette, np.zeros((1, 3), np.uint8)])
        return np.asarray(colours[known])


def _classes(dataset: Any, index: int) -> set[int]:
    labels, _ = truth(dataset, index)
    values, counts = np.unique(labels, return_counts=True)
    is_class = (values < len(dataset.CLASSES)) & (counts >= SEEN * labels.size)
    return set(values[is_class].tolist())


def _photo(sample: Sample) -> Array:
    """Returns the image as the network saw it, without padding and normalization: red, green, blue."""
    meta = sample["img_metas"][0].data
    height, width = meta["img_shape"][:2]
    normal = meta["img_norm_cfg"]
    image = sample["img"][0][:, :height, :width].float()
    mean, std = (torch.tensor(np.asarray(normal[key]), dtype=image.dtype) for key in ("mean", "std"))
    colours = image * std[:, None, None] + mean[:, None, None]
    found: Array = np.asarray(colours.clamp(0, 255).byte().permute(1, 2, 0))
    return found if normal.get("to_rgb", True) else np.asarray(found[..., ::-1])


def _panel_size(labels: Tensor, width: int) -> tuple[int, int]:
    """Returns width and height of a panel: the image's own shape, a tall one narrower."""
    height, whole = labels.shape
    scale = min(width / whole, TALLEST * width / height)
    return max(1, round(whole * scale)), max(1, round(height * scale))


def _resized(image: Array, size: tuple[int, int]) -> Array:
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA))
