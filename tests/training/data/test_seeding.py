"""What is dropped of a sample; `meta` stands in for a GPU."""

import torch
from torch import nn

from tuner.training.data.seeding import SAMPLE, SeedEachIteration


def seen(hook: SeedEachIteration, *samples: int, device: str = "cpu") -> torch.Tensor:
    """Begins a forward with these samples and returns what its layers pick theirs by."""
    images = torch.ones(len(samples), 3, device=device)
    metas = [{SAMPLE: sample} for sample in samples]
    hook._seed_forward(nn.Identity().train(), (), {"img": images, "img_metas": metas})  # noqa: SLF001
    return hook._own  # noqa: SLF001


def test_a_forward_has_one_index_for_all_its_layers_on_the_device_of_the_images() -> None:
    """A list would be copied, and waited for, in every layer that drops."""
    picked = seen(SeedEachIteration(seed=3, batch=4), 5, 7, device="meta")
    assert (picked.device.type, picked.dtype, picked.shape) == ("meta", torch.long, (2,))


def test_what_is_dropped_of_a_sample_follows_from_its_number_alone() -> None:
    layer, x = nn.Dropout(0.5).train(), torch.ones(2, 64)
    together, apart = SeedEachIteration(seed=3, batch=4), SeedEachIteration(seed=3, batch=4)
    assert seen(together, 5, 7).tolist() == [1, 3]
    both = together._drop(layer, layer.forward, x)  # noqa: SLF001
    seen(apart, 7)
    alone = apart._drop(layer, layer.forward, x[:1])  # noqa: SLF001
    assert torch.equal(alone[0], both[1])
    assert not torch.equal(both[0], both[1])
