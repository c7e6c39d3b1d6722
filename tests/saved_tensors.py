"""What a forward pass keeps for the backward pass, as torch itself says."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tuner.models.layers import Stage


@contextmanager
def kept_storages(model: nn.Module) -> Iterator[dict[int, int]]:
    """Address and bytes of every storage that autograd saves within, without the model's parameters.

    They all live until the loss is let go. Of a checkpointed block, what it is computed again from.
    """
    kept: dict[int, int] = {}
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def pack_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        pack(inputs[0])

    stages = [stage for stage in model.modules() if isinstance(stage, Stage) and stage.with_cp]
    hooks = [block.register_forward_pre_hook(pack_input) for stage in stages for block in stage]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept
    for hook in hooks:
        hook.remove()
