"""Checkpoints in mmcv's layout, written beside and renamed, read with `weights_only`."""

import os
from typing import Any

import torch
from torch import nn

from tuner.errors import BadInput, Crashed
from tuner.paths import AnyPath, replacing

Meta = dict[str, Any]
"""Plain numbers, strings, lists and dicts: anything else is refused when it is read."""


def save(path: AnyPath, model: nn.Module, optimizer: torch.optim.Optimizer, meta: Meta) -> None:
    """Raises Crashed when it cannot be written; what was there before stands."""
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
    """Raises BadInput when the file cannot be read or is no checkpoint of this model."""
    try:
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(content["state_dict"])
    except OSError as error:
        raise BadInput.of(str(path), f"cannot be read: {error}") from error
    except Exception as error:
        raise BadInput.of(str(path), f"is no checkpoint of this config: {error}") from error
    if optimizer is not None:
        optimizer.load_state_dict(content["optimizer"])
    return dict(content.get("meta") or {})
