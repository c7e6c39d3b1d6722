"""Computes from a config what a training step needs of a GPU's memory; nothing is built or run.

It counts the tensors that each layer keeps for the backward pass; tests/sizing/test_memory.py holds it
against those that torch says it saved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuner.sizing.config_datasets import crop_of
from tuner.sizing.precision import FLOAT32, precision_of
from tuner.sizing.trial_config import images_at_once
from tuner.spec.architectures import INPUTS, Stage, stages
from tuner.spec.trial import Config

GIB = 2**30
HALF, FLOAT, INT, LONG = 2, 4, 4, 8
STATES = 4
"""Numbers a parameter: itself, its gradient and the two means of Adam."""
RESERVE = 3 * GIB // 2
"""The bytes that a process takes on its GPU for the CUDA context, NCCL and the workspaces of cuBLAS and cuDNN."""


@dataclass(frozen=True)
class Memory:
    """Holds the bytes that a rank needs on its GPU."""

    weights: int
    """Parameters, gradients and the optimizer's state."""
    activations: int
    """The tensors that the forward pass keeps for the backward pass."""
    temporary: int
    """The most that lives in addition for a moment: logits with their gradient, or a block computed again."""
    buckets: int = 0
    """A copy of the gradients, in which DistributedDataParallel averages them over the ranks."""

    @property
    def step(self) -> int:
        """Returns the bytes of the tensors of a training step."""
        return self.weights + self.activations + self.temporary + self.buckets

    @property
    def total(self) -> int:
        """Returns the bytes of a training step together with what CUDA and its libraries take."""
        return self.step + RESERVE


@dataclass(frozen=True)
class _Setting:
    """Holds what matters of a config."""

    stages: Sequence[Stage]
    batch: int
    crop: Sequence[int]
    neck: int
    """Channels of the feature pyramid."""
    head: int
    """Channels of the decode head."""
    classes: int
    element: int
    """The bytes of a number in the feature maps that convolutions and products read; norms and losses read float32."""

    @property
    def pixels(self) -> int:
        return self.batch * math.prod(self.crop)

    def points(self, stage: Stage) -> int:
        return self.pixels // stage.stride**2


def training_memory(config: Config, ranks: int = 1) -> Memory | None:
    """Returns the memory of one rank; None unless the config trains a Context Cluster with Semantic FPN on crops.

    In bf16 and fp16 it is what autocast keeps on a GPU: a copy of the weights and what products read in 2 bytes a
    number; what norms read, the logits and the weights themselves in 4.
    """
    setting = _setting(config)
    if setting is None:
        return None
    logits = setting.pixels * setting.classes * FLOAT
    again = max((_block(setting, stage) for stage in setting.stages if stage.with_cp), default=0)
    kept = sum(_kept(setting, stage) for stage in setting.stages) + _decoder(setting)
    image_and_labels = setting.pixels * (INPUTS * setting.element + LONG)
    return Memory(
        weights=_parameters(setting) * STATES * FLOAT,
        activations=kept + image_and_labels + logits + _narrow_weights(setting),
        temporary=max(again, 2 * logits),
        buckets=_parameters(setting) * FLOAT if ranks > 1 else 0,
    )


def _setting(config: Config) -> _Setting | None:
    model = config["model"]
    found, crop = stages(model["backbone"]), crop_of(config)
    neck, head = model.get("neck") or {}, model.get("decode_head") or {}
    if found is None or crop is None or isinstance(head, list | tuple):
        return None
    if (neck.get("type"), head.get("type")) != ("FPN", "FPNHead"):
        return None
    sizes = neck["out_channels"], head["channels"], head["num_classes"]
    element = FLOAT if precision_of(config) == FLOAT32 else HALF
    return _Setting(found, images_at_once(config), crop, *sizes, element)


def _kept(setting: _Setting, stage: Stage) -> int:
    """Returns the bytes that a stage keeps: its blocks, output and normed output; a narrow copy for the next."""
    numbers = setting.points(stage) * stage.width
    block = numbers * FLOAT if stage.with_cp else _block(setting, stage)
    copies = 2 if setting.element == HALF and stage is not setting.stages[-1] else 1
    return stage.depth * block + numbers * (FLOAT + copies * setting.element)


def _block(setting: _Setting, stage: Stage) -> int:
    """Returns the bytes that a block keeps: inputs and outputs of its norms, points, the hidden layer twice."""
    channels, hidden = stage.heads * stage.head_dim, stage.mlp_ratio * stage.width
    read_by_norms = setting.points(stage) * 2 * stage.width
    maps = setting.points(stage) * (2 * stage.width + 3 * channels + 2 * hidden)
    scaled_weights = stage.width * (3 * channels + hidden)
    return read_by_norms * FLOAT + (maps + scaled_weights) * setting.element + _operator(setting, stage)


def _operator(setting: _Setting, stage: Stage) -> int:
    """Returns the bytes of a point's center, order, similarity, cosine and length, and of a center's two vectors."""
    side = math.isqrt(stage.centers)
    region = [size // stage.stride // stage.folds for size in setting.crop]
    centers = setting.batch * stage.folds**2 * math.prod(_different_windows(size, side) for size in region)
    points = setting.points(stage) * (2 * INT + 3 * FLOAT)
    return stage.heads * (points + centers * ((2 * stage.head_dim + 2) * FLOAT + INT))


def _different_windows(size: int, side: int) -> int:
    """Returns how many of adaptive pooling's windows differ: of equal centers the operator keeps the first."""
    return len({(index * size // side, -(-(index + 1) * size // side)) for index in range(side)})


def _decoder(setting: _Setting) -> int:
    """Returns the bytes of pyramid and head: convolutions with norm and ReLU, each level up to the first one's size."""
    points = [setting.points(stage) for stage in setting.stages]
    numbers = 2 * setting.neck * sum(points) + 3 * setting.head * points[0]
    for level in range(1, len(points)):
        sizes = points[level:0:-1]
        numbers += setting.head * (2 * sum(sizes) + sum(sizes[1:]))
    return numbers * setting.element


def _narrow_weights(setting: _Setting) -> int:
    """Returns the bytes of autocast's copies of weights, without those that a layer scale makes and a block counts."""
    if setting.element == FLOAT:
        return 0
    in_stages = sum(_stage_parameters(stage) for stage in setting.stages)
    kept = [stage for stage in setting.stages if not stage.with_cp]
    first_layers = sum(stage.depth * stage.width**2 * stage.mlp_ratio for stage in kept)
    return (_parameters(setting) - in_stages + first_layers) * setting.element


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
