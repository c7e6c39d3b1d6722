"""What a training step needs of a GPU's memory, reckoned from its config: nothing is built or run.

It counts the tensors that each layer keeps for the backward pass; tests/test_memory.py holds it against those
that torch says it saved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuner.architectures import INPUTS, Stage, stages
from tuner.overrides import crop_of, pictures_at_once
from tuner.trial import Config

GIB = 2**30
FLOAT, INT, LONG = 4, 4, 8
STATES = 4
"""Numbers a parameter: itself, its gradient and the two means of Adam."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU; what CUDA and cuDNN take for themselves comes on top."""

    weights: int
    """Parameters, gradients and the optimizer's state."""
    activations: int
    """What the forward pass keeps for the backward pass."""
    passing: int
    """The most that lives beside them for a moment: logits with their gradient, or a block computed again."""

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.passing


@dataclass(frozen=True)
class _Setting:
    """What counts of a config."""

    stages: Sequence[Stage]
    batch: int
    crop: Sequence[int]
    neck: int
    """Channels of the feature pyramid."""
    head: int
    """Channels of the decode head."""
    classes: int
    element: int
    """Bytes of a number in the feature maps."""

    @property
    def pixels(self) -> int:
        return self.batch * math.prod(self.crop)

    def points(self, stage: Stage) -> int:
        return self.pixels // stage.stride**2


def training_memory(config: Config, element: int = FLOAT) -> Memory | None:
    """Of one rank; None unless the config trains a Context Cluster with Semantic FPN on crops.

    element is the bytes of a number in the feature maps.
    """
    setting = _setting(config, element)
    if setting is None:
        return None
    logits = setting.pixels * setting.classes * element
    again = max((_block(setting, stage) for stage in setting.stages if stage.with_cp), default=0)
    kept = sum(_kept(setting, stage) for stage in setting.stages) + _decoder(setting)
    picture_and_labels = setting.pixels * (INPUTS * element + LONG)
    return Memory(
        weights=_parameters(setting) * STATES * FLOAT,
        activations=kept + picture_and_labels + logits,
        passing=max(again, 2 * logits),
    )


def _setting(config: Config, element: int) -> _Setting | None:
    model = config["model"]
    found, crop = stages(model["backbone"]), crop_of(config)
    neck, head = model.get("neck", {}), model.get("decode_head", {})
    if found is None or crop is None or (neck.get("type"), head.get("type")) != ("FPN", "FPNHead"):
        return None
    sizes = neck["out_channels"], head["channels"], head["num_classes"]
    return _Setting(found, pictures_at_once(config), crop, *sizes, element)


def _kept(setting: _Setting, stage: Stage) -> int:
    """Bytes that a stage keeps: its blocks, its output and the normed output."""
    feature_map = setting.points(stage) * stage.width * setting.element
    block = feature_map if stage.with_cp else _block(setting, stage)
    return stage.depth * block + 2 * feature_map


def _block(setting: _Setting, stage: Stage) -> int:
    """Bytes that a block keeps: inputs and outputs of its norms, points, the hidden layer twice."""
    channels, hidden = stage.heads * stage.head_dim, stage.mlp_ratio * stage.width
    maps = setting.points(stage) * (4 * stage.width + 3 * channels + 2 * hidden)
    scaled_weights = stage.width * (3 * channels + hidden)
    return (maps + scaled_weights) * setting.element + _operator(setting, stage)


def _operator(setting: _Setting, stage: Stage) -> int:
    """Bytes of a point's center, order, similarity, cosine and length, and of a center's two vectors."""
    side = math.isqrt(stage.centers)
    region = [size // stage.stride // stage.folds for size in setting.crop]
    centers = setting.batch * stage.folds**2 * math.prod(_different_windows(size, side) for size in region)
    points = setting.points(stage) * (2 * INT + 3 * FLOAT)
    return stage.heads * (points + centers * ((2 * stage.head_dim + 2) * FLOAT + INT))


def _different_windows(size: int, side: int) -> int:
    """How many of adaptive pooling's windows differ: of equal centers the operator keeps the first."""
    return len({(index * size // side, -(-(index + 1) * size // side)) for index in range(side)})


def _decoder(setting: _Setting) -> int:
    """Bytes of pyramid and head: convolutions with norm and ReLU, each level up to the first one's size."""
    points = [setting.points(stage) for stage in setting.stages]
    numbers = 2 * setting.neck * sum(points) + 3 * setting.head * points[0]
    for level in range(1, len(points)):
        sizes = points[level:0:-1]
        numbers += setting.head * (2 * sum(sizes) + sum(sizes[1:]))
    return numbers * setting.element


def _parameters(setting: _Setting) -> int:
    first, neck, head = setting.stages[0], setting.neck, setting.head
    count = (INPUTS * first.stride**2 + 1) * first.width
    count += sum((9 * before.width + 1) * after.width for before, after in pairwise(setting.stages))
    count += sum(_stage_parameters(stage) for stage in setting.stages)
    count += sum((stage.width + 1) * neck + (9 * neck + 1) * neck for stage in setting.stages)
    further = sum(range(len(setting.stages) - 1))
    count += len(setting.stages) * (9 * neck + 2) * head + further * (9 * head + 2) * head
    return count + (head + 1) * setting.classes


def _stage_parameters(stage: Stage) -> int:
    width, channels, hidden = stage.width, stage.heads * stage.head_dim, stage.mlp_ratio * stage.width
    cluster = 2 * (width + 1) * channels + (channels + 1) * width + 2
    mlp = (width + 1) * hidden + (hidden + 1) * width
    norms_and_scales = 6 * width
    return stage.depth * (cluster + mlp + norms_and_scales) + 2 * width
