"""Gives the shapes of Context Cluster as numbers; models and the memory formula use them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tuner.errors import TunerError

STRIDES = (4, 8, 16, 32)
"""The strides of the four stages' feature maps."""

FOLDS = (8, 4, 2, 1)
"""Regions a side, as the authors have them."""

INPUTS = 5
"""The channels of an image: its colours and each pixel's place."""

Value = TypeVar("Value")


class Architecture(NamedTuple):
    """Holds one entry for each stage; head_dim is one for all."""

    widths: Sequence[int]
    depths: Sequence[int]
    heads: Sequence[int]
    head_dim: int
    mlp_ratios: Sequence[int]


ARCHITECTURES = {
    "nano": Architecture((32, 64, 112, 160), (1, 1, 2, 1), (2, 2, 4, 4), 16, (4, 4, 4, 4)),
    "small": Architecture((64, 128, 320, 512), (2, 2, 6, 2), (4, 4, 8, 8), 32, (8, 8, 4, 4)),
    "medium": Architecture((64, 128, 320, 512), (4, 4, 12, 4), (6, 6, 12, 12), 32, (8, 8, 4, 4)),
}

AUTHORS_NAMES: dict[str, tuple[str, int]] = {
    f"context_cluster_{arch}_feat{side}": (arch, side * side)
    for arch in ("small", "medium")
    for side in (2, 5, 7)
}
"""The authors' names of a backbone of an architecture and a number of centers."""


def architecture(arch: str, **replaced: Any) -> Architecture:
    """Returns arch's shape, with the values that are given and not None. Raises TunerError."""
    if arch not in ARCHITECTURES:
        raise TunerError(f"arch must be one of {', '.join(ARCHITECTURES)}, got {arch}")
    given: dict[str, Any] = {
        name: value if name == "head_dim" else per_stage(name, value)
        for name, value in replaced.items()
        if value is not None
    }
    return ARCHITECTURES[arch]._replace(**given)


def per_stage(name: str, value: Value | Sequence[Value]) -> tuple[Value, ...]:
    """Returns a value for each stage, from one for all or one each. Raises TunerError."""
    if not isinstance(value, Sequence):
        return (value,) * len(STRIDES)
    if len(value) != len(STRIDES):
        raise TunerError(f"{name} must have {len(STRIDES)} entries, one a stage, got {list(value)}")
    return tuple(value)


class Stage(NamedTuple):
    """Describes one of a backbone's four stages."""

    width: int
    depth: int
    heads: int
    head_dim: int
    mlp_ratio: int
    stride: int
    folds: int
    centers: int
    """The centers of a region."""
    with_cp: bool


def stages(backbone: Mapping[str, Any]) -> list[Stage] | None:
    """Returns the stages of a backbone's config; None for other backbones than Context Cluster. Raises TunerError."""
    kind = backbone.get("type")
    if kind != "ContextCluster" and kind not in AUTHORS_NAMES:
        return None
    arch, centers = AUTHORS_NAMES.get(kind, ("small", 4))
    replaced = {name: backbone.get(name) for name in Architecture._fields}
    shape = architecture(backbone.get("arch", arch), **replaced)
    by_stage = zip(
        shape.widths,
        shape.depths,
        shape.heads,
        (shape.head_dim,) * len(STRIDES),
        shape.mlp_ratios,
        STRIDES,
        per_stage("folds", backbone.get("folds", FOLDS)),
        per_stage("centers", backbone.get("centers", centers)),
        per_stage("with_cp", backbone.get("with_cp", False)),
        strict=True,
    )
    return [Stage(*each) for each in by_stage]
