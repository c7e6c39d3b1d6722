"""Defines Context Cluster as an mmseg backbone (Ma et al., "Image as Set of Points", ICLR 2023)."""

from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from math import isqrt, lcm
from typing import Any

import torch
from mmcv.runner import BaseModule
from mmseg.models.builder import BACKBONES
from torch import Tensor, nn

from tuner.errors import BadInput, TunerError
from tuner.models.layers import Block, Cluster, Mlp, PointReducer, Stage
from tuner.models.pretrained import load_pretrained
from tuner.spec.architectures import AUTHORS_NAMES, FOLDS, INPUTS, STRIDES, architecture, per_stage


class ContextCluster(BaseModule):  # type: ignore[misc]  # mmcv has no types
    """Gives the four feature maps, at 1/4, 1/8, 1/16 and 1/32 of the image's size.

    widths, depths, heads, head_dim and mlp_ratios replace what arch, a key of ARCHITECTURES, says of them.
    centers is how many a region has, a square number; they have no parameters, so weights fit any number.
    folds is regions a side; with_cp computes a stage's activations again in the backward pass.
    init_cfg=dict(type='Pretrained', checkpoint=…, allow_partial=False) reads one of the authors' checkpoints.
    Raises TunerError where an argument cannot be used.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a config may set
        self,
        arch: str = "small",
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        head_dim: int | None = None,
        mlp_ratios: Sequence[int] | None = None,
        centers: int | Sequence[int] = 4,
        folds: Sequence[int] = FOLDS,
        drop_path_rate: float = 0.0,
        layer_scale: float = 1e-5,
        with_cp: bool | Sequence[bool] = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        shape = architecture(
            arch, widths=widths, depths=depths, heads=heads, head_dim=head_dim, mlp_ratios=mlp_ratios
        )
        self.folds: tuple[int, ...] = per_stage("folds", folds)
        sides = [_side(number) for number in per_stage("centers", centers)]
        recompute = per_stage("with_cp", with_cp)
        rates = torch.split(torch.linspace(0, drop_path_rate, sum(shape.depths)), list(shape.depths))
        self.patch_embed = PointReducer(INPUTS, shape.widths[0], size=4, stride=4, padding=0)
        self.network = nn.ModuleList()
        for index, (width, regions) in enumerate(zip(shape.widths, self.folds, strict=True)):
            if index:
                self.network.append(PointReducer(shape.widths[index - 1], width, size=3, stride=2, padding=1))
            mixer = partial(Cluster, width, shape.heads[index], shape.head_dim, sides[index], regions**2)
            mlp = partial(Mlp, width, shape.mlp_ratios[index])
            blocks = [Block(mixer(), mlp(), rate, layer_scale) for rate in rates[index].tolist()]
            self.network.append(Stage(blocks, regions, recompute[index]))
            self.add_module(f"norm{2 * index}", nn.GroupNorm(1, width))

    @property
    def centers(self) -> tuple[int, ...]:
        """Returns the centers of a region, stage by stage; they may be set at any time."""
        return tuple(mixers[0].side ** 2 for mixers in self._mixers())

    @centers.setter
    def centers(self, centers: int | Sequence[int]) -> None:
        sides = [_side(number) for number in per_stage("centers", centers)]
        for mixers, side in zip(self._mixers(), sides, strict=True):
            for mixer in mixers:
                mixer.side = side

    def init_weights(self) -> None:
        """Raises BadInput where a checkpoint is asked for that fits the backbone badly."""
        config = dict(self.init_cfg or {})
        if config.pop("type", None) == "Pretrained":
            load_pretrained(self, **config)
        else:
            super().init_weights()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps [batch, 3, height, width] to four normed feature maps. Raises BadInput where folds do not fit."""
        self._check_size(*images.shape[-2:])
        x = self.patch_embed(_with_positions(images))
        outputs = []
        for index, layer in enumerate(self.network):
            x = layer(x)
            if isinstance(layer, Stage):
                outputs.append(getattr(self, f"norm{index}")(x).contiguous())
        return tuple(outputs)

    def _mixers(self) -> list[list[Cluster]]:
        """Sets the centers stage by stage."""
        stages = [layer for layer in self.network if isinstance(layer, Stage)]
        return [[layer for layer in stage.modules() if isinstance(layer, Cluster)] for stage in stages]

    def _check_size(self, height: int, width: int) -> None:
        step = lcm(*(stride * folds for stride, folds in zip(STRIDES, self.folds, strict=True)))
        if height % step or width % step:
            sizes = " or ".join(f"{h}x{w}" for h, w in _nearest(height, width, step))
            folds = ", ".join(str(number) for number in self.folds)
            advice = (
                f"does not divide into folds {folds} a side: height and width must be multiples of {step}"
            )
            raise BadInput.of(f"image of {height}x{width}", f"{advice}; the nearest are {sizes}")


def _with_positions(images: Tensor) -> Tensor:
    """Appends each pixel's y and x, from -0.5 to 0.5, rounded to float32 as the authors' are."""
    batch, _, height, width = images.shape
    y, x = (torch.arange(size, device=images.device) / (size - 1) - 0.5 for size in (height, width))
    positions = torch.stack(torch.meshgrid(y, x, indexing="ij"))
    return torch.cat([images, positions.to(images.dtype).expand(batch, -1, -1, -1)], dim=1)


def _side(centers: int) -> int:
    side = isqrt(max(centers, 0))
    if side < 1 or side * side != centers:
        low = max(side, 1)
        raise TunerError(
            f"centers must be square numbers (4, 9, 16, …), got {centers}: "
            f"the nearest are {low * low} and {(low + 1) ** 2}"
        )
    return side


def _nearest(height: int, width: int, step: int) -> list[tuple[int, int]]:
    """Returns the sizes of multiples of step just below and just above."""
    below = tuple(max(size // step, 1) * step for size in (height, width))
    above = tuple(-(-size // step) * step for size in (height, width))
    return sorted({below, above})  # type: ignore[arg-type]


def ignored_arguments(backbone: Mapping[str, Any]) -> list[str]:
    """Returns what a backbone's config gives besides under one of the authors' names, whose classes swallow it."""
    if backbone.get("type") not in AUTHORS_NAMES:
        return []
    return [name for name in backbone if name not in (*signature(ContextCluster).parameters, "type")]


def _authors_model(name: str, arch: str, centers: int) -> type[ContextCluster]:
    """Returns a class of one of the authors' names: older registries take classes alone."""

    class Named(ContextCluster):
        def __init__(self, **arguments: Any) -> None:
            """Swallows what a ResNet's config merges into theirs: depth, norm_cfg, style and more mean nothing."""
            ignored = ignored_arguments({"type": name, **arguments})
            known = {key: value for key, value in arguments.items() if key not in ignored}
            super().__init__(**{"arch": arch, "centers": centers, **known})

    Named.__name__ = Named.__qualname__ = name
    return Named


BACKBONES.register_module(
    module=ContextCluster, force=True
)  # a standalone config may have registered its own
for _name, (_arch, _centers) in AUTHORS_NAMES.items():
    BACKBONES.register_module(name=_name, module=_authors_model(_name, _arch, _centers), force=True)
