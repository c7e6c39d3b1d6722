"""Moves a batch from its loader to the device that trains on it.

mmcv 1.7's own `scatter` names a GPU to torch by its bare number, which torch 2 refuses.
"""

from collections.abc import Mapping
from typing import Any

import torch
from mmcv.parallel import DataContainer
from torch import Tensor


def to_device(batch: Any, device: torch.device) -> Any:
    """Moves what mmcv's data containers hold for their first GPU; what is `cpu_only` stays as it is."""
    match batch:
        case DataContainer():
            return batch.data[0] if batch.cpu_only else to_device(batch.data[0], device)
        case Tensor():
            return batch.to(device, non_blocking=True)
        case Mapping():
            return {key: to_device(value, device) for key, value in batch.items()}
        case list() | tuple():
            return [to_device(value, device) for value in batch]
        case _:
            return batch


class Batch(dict[str, Any]):
    """Holds a collated batch that torch's loaders can pin, which they cannot with mmcv's containers."""

    def pin_memory(self) -> "Batch":
        """Copies its tensors into memory that a GPU reads without making the host wait."""
        return Batch({key: _pinned(value) for key, value in self.items()})


def _pinned(value: Any) -> Any:
    match value:
        case DataContainer(cpu_only=False):
            return DataContainer(
                _pinned(value.data), value.stack, value.padding_value, pad_dims=value.pad_dims
            )
        case Tensor():
            return value.pin_memory()
        case list():
            return [_pinned(each) for each in value]
        case _:
            return value
