"""Checkpoints in mmcv's layout, written under another name and renamed, read with `weights_only`."""

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from tuner.errors import BadInput, Crashed
from tuner.files.paths import AnyPath
from tuner.files.writing import replacing
from tuner.spec.trial import Config, RankInfo

EMA = "ema_"
"""The names of the averages of mmcv's EMAHook begin so: they are in a checkpoint and no part of a plain model."""

Meta = dict[str, Any]
"""Plain numbers, strings, lists and dicts: anything else is refused when it is read."""


def save(path: AnyPath, model: nn.Module, optimizer: torch.optim.Optimizer, meta: Meta) -> None:
    """Saves a checkpoint. Raises Crashed when it cannot be written; what was there before stands."""
    weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    content = {"meta": meta, "state_dict": weights, "optimizer": optimizer.state_dict()}
    try:
        with replacing(path) as beside:
            torch.save(content, beside)
            with beside.open("rb") as written:
                os.fsync(written)  # a name that a power cut leaves must not be that of an empty file
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError when the disk is full
        raise Crashed(f"{path} cannot be written: {error}; the checkpoint before it stands") from error


def load(path: AnyPath, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Meta:
    """Loads a checkpoint. Raises BadInput when the file cannot be read or is no checkpoint of this model."""
    try:
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
        averages = content["state_dict"].keys() - model.state_dict().keys()
        weights = {
            name: tensor
            for name, tensor in content["state_dict"].items()
            if not (name in averages and name.startswith(EMA))
        }
        model.load_state_dict(weights)
    except OSError as error:
        raise BadInput.of(str(path), f"cannot be read: {error}") from error
    except Exception as error:
        raise BadInput.of(str(path), f"is no checkpoint of this config: {error}") from error
    if optimizer is not None:
        optimizer.load_state_dict(content["optimizer"])
    return dict(content.get("meta") or {})


def unfinished_gradients(model: nn.Module, config: Config, iteration: int) -> dict[str, torch.Tensor]:
    """Returns what mmcv's hook has added up since the optimizer's last step; nothing with other hooks."""
    adds_up = (config["optimizer_config"] or {}).get("cumulative_iters", 1)
    if iteration % adds_up == 0:
        return {}
    named = model.named_parameters()
    return {name: parameter.grad.cpu() for name, parameter in named if parameter.grad is not None}


def put_gradients(gradients: Mapping[str, torch.Tensor], model: nn.Module) -> None:
    """Gives a model what was added up when its checkpoint was saved."""
    for name, parameter in model.named_parameters():
        if (gradient := gradients.get(name)) is not None:
            parameter.grad = gradient.to(parameter.device)


def check_agreed(iteration: int, rank_info: RankInfo) -> None:
    """Raises Crashed where the ranks took up different checkpoints, as an older attempt saved one between them."""
    if rank_info.ranks > 1:
        ends = torch.tensor([iteration, -iteration], device=rank_info.device)
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        if ends.sum():
            raise Crashed(
                "an older attempt saved a checkpoint while the ranks took it up: they take it up again"
            )
