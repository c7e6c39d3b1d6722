"""Trains one rank's share of the global batch for mmcv's runner, in parts where memory is short."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from mmcv.parallel import MODULE_WRAPPERS
from mmcv.runner import IterBasedRunner
from mmseg.core import build_optimizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tuner.errors import BadInput
from tuner.sizing.own_entry import own_entry
from tuner.spec.trial import Config, RankInfo
from tuner.training.precision import LossScalingOptimizerHook
from tuner.training.transfer import to_device

logger = logging.getLogger("tuner.training")

Outputs: TypeAlias = dict[str, Any]
"""loss, log_vars (floats, the mean of all ranks) and num_samples, as mmcv's runner wants them."""


@MODULE_WRAPPERS.register_module()
class TrainStep(nn.Module):
    """Moves the batch to the device, adds up the gradients of its parts, averages them over the ranks.

    To mmcv's hooks it is a wrapper of the model as any other: `runner.model.module` is the segmentor.
    Raises BadInput when `accumulation` does not divide the rank's images.
    """

    def __init__(self, model: nn.Module, rank_info: RankInfo, config: Config) -> None:
        super().__init__()
        device = torch.device(rank_info.device)
        self._device = device
        self.output_device = None if device.type == "cpu" else device
        """The device on which mmcv's TextLoggerHook reduces the ranks' memory: NCCL takes tensors of a GPU alone."""
        self._parts = _accumulation(config)
        self.loss_scale: Callable[[], float] = _no_scale
        """What the optimizer's hook multiplies the loss by; parts of a batch are scaled alike."""
        self.module = model
        step: nn.Module = _Step(model)
        if rank_info.ranks > 1:
            ids = None if device.type == "cpu" else [device.index]
            unused = bool(config.get("find_unused_parameters"))
            step = DistributedDataParallel(
                step, device_ids=ids, find_unused_parameters=unused, broadcast_buffers=False
            )
        self._steps = (step,)  # in a tuple, as `module` has its parameters already

    def train_step(self, batch: Any, _optimizer: Any) -> Outputs:
        """Returns a loss whose `backward` completes the gradient of the whole batch, whatever it was before."""
        *parts, last = _split(to_device(batch, self._device), self._parts)
        if not parts:
            return self.step(last)  # type: ignore[no-any-return]
        before = self._taken_gradients()
        outputs = [self._train_part(part) for part in parts] + [self.step(last)]
        loss = outputs[-1]["loss"] / self._parts
        loss.register_hook(self._add_to_gradients_of_parts())
        for parameter, gradient in before:
            parameter.grad = gradient
        return {"loss": loss, "log_vars": _mean(outputs), "num_samples": len(batch["img_metas"].data[0])}

    def _train_part(self, part: Any) -> Outputs:
        with self._own_gradients():
            outputs: Outputs = self.step(part)
            (outputs.pop("loss") * self.loss_scale() / self._parts).backward()
        return outputs

    def _own_gradients(self) -> AbstractContextManager[None]:
        is_distributed = isinstance(self.step, DistributedDataParallel)
        return self.step.no_sync() if is_distributed else nullcontext()  # type: ignore[operator]

    def _add_to_gradients_of_parts(self) -> Any:
        """Returns a hook for the beginning of the last backward.

        mmcv zeroes the gradients just before it, unless it adds up those of several iterations.
        """
        of_parts, scaled = self._taken_gradients(), self.loss_scale()

        def put_back(scale: Tensor) -> None:
            scale = scale / scaled
            for parameter, gradient in of_parts:
                kept = parameter.grad
                parameter.grad = gradient * scale if kept is None else kept + gradient * scale

        return put_back

    def _taken_gradients(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Returns the gradients so far; the parameters have none any more."""
        taken = [(parameter, parameter.grad) for parameter in self.parameters()]
        self.zero_grad()
        return [(parameter, gradient) for parameter, gradient in taken if gradient is not None]

    @property
    def step(self) -> nn.Module:
        return self._steps[0]


class _Step(nn.Module):
    """Makes the whole training step a forward, so that a plain DistributedDataParallel can wrap it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> Outputs:
        return self.model.train_step(batch, None)  # type: ignore[no-any-return, operator]


def make_runner(config: Config, model: nn.Module, rank_info: RankInfo, work_dir: str) -> IterBasedRunner:
    """Builds mmcv's runner with the config's optimizer and hooks; mmcv changes the config on the way."""
    runner = IterBasedRunner(
        TrainStep(model, rank_info, config),
        optimizer=build_optimizer(model, config["optimizer"]),
        work_dir=work_dir,
        logger=logger,
        max_iters=config["runner"]["max_iters"],
    )
    runner.timestamp = "train"
    runner.register_training_hooks(
        config["lr_config"],
        config["optimizer_config"],
        log_config=config["log_config"],
        momentum_config=config.get("momentum_config"),
        custom_hooks_config=config.get("custom_hooks"),
    )
    for hook in runner.hooks:
        if isinstance(hook, LossScalingOptimizerHook):
            runner.model.loss_scale = hook.scale
    return runner


def _no_scale() -> float:
    return 1.0


def _accumulation(config: Config) -> int:
    parts, images = own_entry(config).accumulation, config["data"]["samples_per_gpu"]
    if images % parts:
        raise BadInput.of(
            "config", f"tuner.accumulation: must divide data.samples_per_gpu ({images}), got {parts}"
        )
    return parts


def _split(batch: Mapping[str, Any], parts: int) -> list[dict[str, Any]]:
    """Splits tensors and lists, one entry an image, into as many batches of equal length."""
    size = len(batch["img_metas"]) // parts
    return [
        {key: value[start : start + size] for key, value in batch.items()}
        for start in range(0, size * parts, size)
    ]


def _mean(outputs: list[Outputs]) -> dict[str, float]:
    names = outputs[0]["log_vars"]
    return {name: sum(each["log_vars"][name] for each in outputs) / len(outputs) for name in names}
