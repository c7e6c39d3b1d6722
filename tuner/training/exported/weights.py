"""Writes the weights of a checkpoint alone, as mmseg's own tools read them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuner.errors import BadInput
from tuner.files.paths import AnyPath
from tuner.training.checkpoint import EMA, Meta

SHOWN = ("CLASSES", "PALETTE")
"""The keys of the meta data that mmseg's tools want."""


def write_weights(source: AnyPath, target: Path, meta: Meta) -> None:
    """Writes plain float tensors and meta data: no optimizer, no averages. Raises BadInput where source is none."""
    content = _content(source)
    weights = {
        name: _plain(tensor) for name, tensor in content["state_dict"].items() if not name.startswith(EMA)
    }
    shown = {name: content["meta"][name] for name in SHOWN if name in content.get("meta", {})}
    torch.save({"meta": {**shown, **meta}, "state_dict": weights}, target)


def meta_of(file: Path) -> Meta:
    """Returns the meta data of a checkpoint. Raises BadInput where it is none."""
    return dict(_content(file).get("meta") or {})


def _plain(tensor: Tensor) -> Tensor:
    """Returns a contiguous copy, so that nothing else of its storage is written."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _content(path: AnyPath) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(content["state_dict"], dict):
            raise TypeError("state_dict is no dict")
    except OSError as error:
        raise BadInput.of(str(path), f"cannot be read: {error}") from error
    except Exception as error:
        raise BadInput.of(str(path), f"is no checkpoint: {str(error).partition(chr(10))[0]}") from error
    return dict(content)
