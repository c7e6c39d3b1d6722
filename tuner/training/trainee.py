"""What mmcv's runner trains: one rank's share of the global batch, in parts where memory is short."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from mmcv.parallel import scatter
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tuner.errors import BadInput
from tuner.overrides import ACCUMULATION
from tuner.trial import Config, Place

Outputs: TypeAlias = dict[str, Any]
"""loss, log_vars (floats, the mean of all ranks) and num_samples, as mmcv's runner wants them."""


class Trainee(nn.Module):
    """Moves the batch to the device, adds up the gradients of its parts, averages them over the ranks.

    Raises BadInput when `accumulation` does not divide the rank's pictures.
    """

    def __init__(self, model: nn.Module, place: Place, config: Config) -> None:
        super().__init__()
        device = torch.device(place.device)
        self._target = [-1 if device.type == "cpu" else device.index]
        self._parts = _accumulation(config)
        self.step: nn.Module = _Step(model)
        if place.ranks > 1:
            ids = None if device.type == "cpu" else [device.index]
            self.step = DistributedDataParallel(self.step, device_ids=ids)

    def train_step(self, batch: Any, _optimizer: Any) -> Outputs:
        """`backward` of the loss completes the gradient of the whole batch, whatever it was before."""
        *parts, last = _split(scatter(batch, self._target)[0], self._parts)
        if not parts:
            return self.step(last)  # type: ignore[no-any-return]
        self.zero_grad()
        outputs = [self._train_part(part) for part in parts] + [self.step(last)]
        loss = outputs[-1]["loss"] / self._parts
        loss.register_hook(self._add_to_gradients_of_parts())
        return {"loss": loss, "log_vars": _mean(outputs), "num_samples": len(batch["img_metas"].data[0])}

    def _train_part(self, part: Any) -> Outputs:
        with self._own_gradients():
            outputs: Outputs = self.step(part)
            (outputs.pop("loss") / self._parts).backward()
        return outputs

    def _own_gradients(self) -> AbstractContextManager[None]:
        is_distributed = isinstance(self.step, DistributedDataParallel)
        return self.step.no_sync() if is_distributed else nullcontext()  # type: ignore[operator]

    def _add_to_gradients_of_parts(self) -> Any:
        """A hook for the beginning of the last backward: mmcv zeroes the gradients just before it."""
        kept = [(parameter, parameter.grad) for parameter in self.parameters() if parameter.grad is not None]

        def put_back(scale: Tensor) -> None:
            for parameter, gradient in kept:
                parameter.grad = gradient * scale

        return put_back


class _Step(nn.Module):
    """A forward that is the whole training step, so that a plain DistributedDataParallel can wrap it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> Outputs:
        return self.model.train_step(batch, None)  # type: ignore[no-any-return, operator]


def _accumulation(config: Config) -> int:
    parts, pictures = config.get(ACCUMULATION, 1), config["data"]["samples_per_gpu"]
    if parts < 1 or pictures % parts:
        raise BadInput.of(
            "config", f"{ACCUMULATION}: must divide data.samples_per_gpu ({pictures}), got {parts}"
        )
    return int(parts)


def _split(batch: Mapping[str, Any], parts: int) -> list[dict[str, Any]]:
    """Tensors and lists, one entry a picture, into as many batches of equal length."""
    size = len(batch["img_metas"]) // parts
    return [
        {key: value[start : start + size] for key, value in batch.items()}
        for start in range(0, size * parts, size)
    ]


def _mean(outputs: list[Outputs]) -> dict[str, float]:
    names = outputs[0]["log_vars"]
    return {name: sum(each["log_vars"][name] for each in outputs) / len(outputs) for name in names}
