"""Weights of the authors' checkpoints for a backbone, and how many of its tensors they really fill."""

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.runner import load_checkpoint
from mmcv.utils import get_logger
from torch import Tensor, nn

from tuner.errors import BadInput

CLASSIFIER = ("norm.", "head.")
"""The ImageNet classifier's own layers: known, and of no use to a backbone."""

OUTPUT_NORMS = ("norm0.", "norm2.", "norm4.", "norm6.")
"""The backbone's own layers, which an ImageNet classifier does not have: they start fresh then."""

ENOUGH = 0.99

NUMPY_SCALARS: list[Any] = [
    np.dtype,
    np.float64(0).__reduce__()[0],
    *{type(np.dtype(name)) for name in ("f8", "f4", "i8", "i4")},
]
"""The types that mmseg's hooks write into a checkpoint's meta: harmless, but refused by torch unless named."""


def load_pretrained(backbone: nn.Module, checkpoint: str, allow_partial: bool = False) -> None:
    """Copies the tensors of checkpoint into backbone, matching names and shapes.

    Raises BadInput where the file cannot be read, or fills under 99 % of the backbone's tensors and
    allow_partial is false.
    """
    found = _read(Path(checkpoint))
    wanted = backbone.state_dict()
    if not any(name.startswith(OUTPUT_NORMS) for name in found):
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(OUTPUT_NORMS)}
    matched = {
        name: found[name] for name in wanted if name in found and found[name].shape == wanted[name].shape
    }
    report = f"{len(matched)} of {len(wanted)} tensors matched"
    problems = _mismatches(wanted, found)
    if len(matched) < ENOUGH * len(wanted) and not allow_partial:
        advice = "give the checkpoint of the same model, or set allow_partial=True in init_cfg"
        raise BadInput.of(checkpoint, f"{report}: {advice}", *problems)
    backbone.load_state_dict(matched, strict=False)
    _log(checkpoint, report, problems)


def load_weights(model: nn.Module, checkpoint: str) -> None:
    """Loads a config's `load_from` as mmseg does: names and shapes that do not match are left out, and named.

    Raises BadInput where the file cannot be read, or nothing in it matches.
    """
    wanted = model.state_dict()
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = load_checkpoint(model, checkpoint, map_location="cpu", logger=get_logger("mmcv"))
    except Exception as error:
        raise BadInput.of("load_from", f"{checkpoint} cannot be loaded: {error}") from error
    named = content.get("state_dict", content)
    found = {
        name.removeprefix("module."): value for name, value in named.items() if isinstance(value, Tensor)
    }
    matched = [name for name in wanted if name in found and found[name].shape == wanted[name].shape]
    report = f"{len(matched)} of {len(wanted)} tensors matched"
    if not matched:
        raise BadInput.of("load_from", f"{checkpoint}: {report}: give a checkpoint of the same model")
    _log(checkpoint, report, _mismatches(wanted, found))


def _log(checkpoint: str, report: str, problems: list[str]) -> None:
    level = logging.WARNING if problems else logging.INFO
    get_logger("mmcv").log(level, "\n  ".join([f"{checkpoint}: {report}", *problems]))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput.of(str(path), "no such file: download the authors' checkpoint first") from None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise BadInput.of(str(path), f"is no checkpoint of plain tensors: {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise BadInput.of(str(path), f"holds a {type(content).__name__}, not named tensors")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    named = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith(CLASSIFIER)}


def _mismatches(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], first: int = 5) -> list[str]:
    """Returns one line for each kind of mismatch, with the first names."""
    shapes = [
        f"{name} {list(found[name].shape)} for {list(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    kinds = {
        "not in the checkpoint": [name for name in wanted if name not in found],
        "of another shape": shapes,
        "not in the model": [name for name in found if name not in wanted],
    }
    return [
        f"{len(names)} {kind}: {', '.join(names[:first])}{', …' if len(names) > first else ''}"
        for kind, names in kinds.items()
        if names
    ]
