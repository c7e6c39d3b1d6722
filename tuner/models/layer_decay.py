"""Decays learning rates layer by layer for Context Cluster; mmseg's own constructor knows ConvNeXt, BEiT and MAE."""

from collections.abc import Mapping
from typing import Any

from mmcv.runner import DefaultOptimizerConstructor
from mmcv.runner.optimizer import OPTIMIZER_BUILDERS, OPTIMIZERS
from mmcv.utils import build_from_cfg
from torch import nn
from torch.optim import Optimizer

from tuner.errors import TunerError
from tuner.models.context_cluster import ContextCluster
from tuner.models.layers import Stage

RATE = "decay_rate"


@OPTIMIZER_BUILDERS.register_module(force=True)
class ContextClusterLayerDecay(DefaultOptimizerConstructor):  # type: ignore[misc]  # mmcv has no types
    """Lets learning rates fall from the head to the stem, by `paramwise_cfg.decay_rate` a block.

    What has depth d in a backbone of n blocks learns with lr · rate^(n + 1 - d). The stem has depth 0, block
    i and a point reducer before it depth i; the norms of the outputs, neck and head keep lr (Bao et al.,
    "BEiT", 2022; with stages Liu et al., "A ConvNet for the 2020s", 2022). All else in paramwise_cfg, weight
    decay too, means what it means to mmcv; a rate of 1 gives mmcv's own optimizer.
    Raises TunerError for a rate that is not above 0, or another backbone.
    """

    def __init__(self, optimizer_cfg: dict[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        others = dict(paramwise_cfg or {})
        self._rate = others.pop(RATE, 1.0)
        if self._rate <= 0:
            raise TunerError(f"optimizer.paramwise_cfg.{RATE} must be above 0, got {self._rate}")
        super().__init__(optimizer_cfg, others)

    def __call__(self, model: nn.Module) -> Optimizer:
        if self._rate == 1:
            return super().__call__(model)  # type: ignore[no-any-return]
        config = {**self.optimizer_cfg, "params": self._groups(getattr(model, "module", model))}
        return build_from_cfg(config, OPTIMIZERS)  # type: ignore[no-any-return]

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Returns one group for all parameters of the same settings, as an optimizer steps group by group."""
        above = _blocks_above(model.backbone)
        shared = {
            name: self.optimizer_cfg[name] for name in ("lr", "weight_decay") if name in self.optimizer_cfg
        }
        single: list[dict[str, Any]] = []
        self.add_params(single, model)
        merged: dict[tuple[Any, ...], list[nn.Parameter]] = {}
        for group in single:
            [parameter] = group.pop("params")
            settings = {**shared, **group}
            settings["lr"] *= self._rate ** above.get(parameter, 0)
            merged.setdefault(tuple(settings.items()), []).append(parameter)
        return [{"params": parameters, **dict(settings)} for settings, parameters in merged.items()]


def _blocks_above(backbone: object) -> dict[nn.Parameter, int]:
    """Returns a parameter's distance from the head, n + 1 - d."""
    if not isinstance(backbone, ContextCluster):
        kind = type(backbone).__name__
        raise TunerError(f"ContextClusterLayerDecay knows no {kind}: set optimizer.paramwise_cfg.{RATE} to 1")
    layers: list[tuple[nn.Module, int]] = [(backbone.patch_embed, 0)]
    depth = 0
    for layer in backbone.network:
        for block in layer if isinstance(layer, Stage) else ():
            depth += 1
            layers.append((block, depth))
        if not isinstance(layer, Stage):
            layers.append((layer, depth + 1))
    return {parameter: depth + 1 - at for layer, at in layers for parameter in layer.parameters()}
