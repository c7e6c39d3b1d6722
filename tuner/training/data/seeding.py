"""A training's random numbers: a function of its seed and its samples' numbers, whoever trains them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from mmcv.cnn.bricks.drop import Dropout as MmcvDropout
from mmcv.cnn.bricks.drop import DropPath as MmcvDropPath
from mmcv.runner import HOOKS, Hook
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor, nn

from tuner.models.layers import DropPath

SAMPLE = "sample"
"""The key of a sample's meta data that holds its number in the stream."""
RATES = {
    nn.Dropout: "p",
    nn.Dropout2d: "p",
    MmcvDropout: "p",
    DropPath: "rate",
    MmcvDropPath: "drop_prob",
}
"""The layers that draw, and their attribute that is 0 when they do not."""


@HOOKS.register_module()
class SeedEachIteration(Hook):  # type: ignore[misc]
    """Makes what is dropped of sample k follow from the seed and k, whatever rank trains it together with what others.

    Every forward draws for all samples of its iteration, `batch` of them, and takes those of its own. Layers
    that mix samples before they drop, as window attention does, draw by the iteration alone.
    """

    def __init__(self, seed: int, batch: int) -> None:
        self._seed, self._batch = seed, batch
        self._own = torch.empty(0, dtype=torch.long)
        """Numbers of this forward's samples within the batch, on the model's device."""

    def before_run(self, runner: Any) -> None:
        for module in runner.model.modules():
            if isinstance(module, BaseSegmentor):
                module.register_forward_pre_hook(self._seed_forward, with_kwargs=True)
            elif getattr(module, RATES.get(type(module), ""), 0.0) > 0:
                module.forward = partial(self._drop, module, module.forward)

    def _seed_forward(self, model: nn.Module, _arguments: Any, named: dict[str, Any]) -> None:
        if model.training:
            numbers = [meta[SAMPLE] for meta in named["img_metas"]]
            torch.manual_seed(_one_number(self._seed, numbers[0] // self._batch))
            own = torch.tensor([number % self._batch for number in numbers])
            self._own = own.to(named["img"].device, non_blocking=True)

    def _drop(self, layer: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if not layer.training or len(x) != len(self._own):
            return forward(x)
        shape = x.shape[1:] if isinstance(layer, nn.Dropout) else (*x.shape[1:2], *(1 for _ in x.shape[2:]))
        return x * forward(x.new_ones(self._batch, *shape))[self._own]


@contextmanager
def drawing_from(*parts: int) -> Iterator[None]:
    """Starts Python's and NumPy's global generators, which mmseg's pipelines draw from, at these numbers."""
    kept = random.getstate(), np.random.get_state()
    number = _one_number(*parts)
    random.seed(number)
    np.random.seed(number)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _one_number(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
