"""Images to labels of their own size, as mmseg predicts them, a few classes' planes at a time.

mmseg enlarges the logits of all classes twice, to the network's input and to the image, and compares their
softmax: 150 planes each time, none of which stays in a cache. The greatest logit needs one plane at a time.
Logits of less than about 1e-7 apart are equal to mmseg, as softmax rounds them; here the greater one counts.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple, TypeAlias

import torch
from mmcv.parallel import collate
from mmseg.models import EncoderDecoder
from torch import Tensor
from torch.nn.functional import interpolate

from tuner.training.transfer import to_device

Sample: TypeAlias = Mapping[str, Any]
"""A sample as mmseg's test pipelines give it: lists over scales and flips."""

PLANES_BYTES = {"cpu": 2**23, "cuda": 2**28}
"""The size of the planes that are enlarged at a time, by the device's type: a CPU's cache holds its."""


class Prediction(NamedTuple):
    """Holds what the network says of one image."""

    labels: Tensor
    """[height, width] of the original."""
    logits: Tensor | None
    """[classes, height, width] of the network's output, without the padding; None where mmseg predicts."""


def predict(segmentor: Any, samples: Sequence[Sample], device: torch.device) -> list[Prediction]:
    """Predicts every image's labels. The samples' sizes must be alike."""
    if not all(_is_whole(segmentor, sample) for sample in samples):
        return [Prediction(_predicted_by_mmseg(segmentor, sample, device), None) for sample in samples]
    metas = [sample["img_metas"][0].data for sample in samples]
    images = torch.stack([sample["img"][0] for sample in samples]).to(device, non_blocking=True)
    logits = segmentor.decode_head.forward_test(
        segmentor.extract_feat(images), metas, segmentor.test_cfg
    ).float()
    enlarged = _size(images)
    return [
        Prediction(
            greatest(own, (enlarged, meta["img_shape"][:2], meta["ori_shape"][:2]), segmentor.align_corners),
            _without_padding(own, meta["img_shape"][:2], enlarged),
        )
        for own, meta in zip(logits, metas, strict=True)
    ]


def size(sample: Sample) -> tuple[int, int]:
    """Returns the height and width that the network sees, of the first scale."""
    return _size(sample["img"][0])


def greatest(logits: Tensor, sizes: Sequence[tuple[int, int]], align_corners: bool) -> Tensor:
    """[classes, …] → the first class of greatest logit, [height, width].

    The planes are enlarged to the first size, cut to the second and enlarged to the third, to the bit as if
    all were together.
    """
    enlarged, cut, original = sizes
    of_device = PLANES_BYTES.get(logits.device.type, PLANES_BYTES["cpu"])
    at_a_time = max(1, of_device // (enlarged[0] * enlarged[1] * logits.element_size()))
    take = _take_all if logits.device.type == "cuda" else _take_one_by_one
    labels = torch.zeros(original, dtype=torch.int16, device=logits.device)
    highest = logits.new_full(original, -torch.inf)
    for first in range(0, len(logits), at_a_time):
        planes = _resized(logits[None, first : first + at_a_time], enlarged, align_corners)
        planes = _resized(planes[:, :, : cut[0], : cut[1]], original, align_corners)
        take(planes[0], first, labels, highest)
    return labels


def _take_one_by_one(planes: Tensor, first: int, labels: Tensor, highest: Tensor) -> None:
    """Puts the numbers of greater planes, from `first` on, into labels, and their values into highest."""
    for number, plane in enumerate(planes, start=first):
        labels.masked_fill_(plane > highest, number)
        torch.maximum(highest, plane, out=highest)


def _take_all(planes: Tensor, first: int, labels: Tensor, highest: Tensor) -> None:
    """Does the same in few kernels; `max` gives the first of equal planes."""
    greatest, number = planes.max(0)
    labels.copy_(torch.where(greatest > highest, number + first, labels))
    torch.maximum(highest, greatest, out=highest)


def _resized(planes: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    if _size(planes) == tuple(size):
        return planes
    return interpolate(planes, size, mode="bilinear", align_corners=align_corners)


def _without_padding(logits: Tensor, image: tuple[int, int], padded: tuple[int, int]) -> Tensor:
    height, width = (
        ceil(own * cut / whole) for own, cut, whole in zip(_size(logits), image, padded, strict=True)
    )
    return logits[:, :height, :width]


def _is_whole(segmentor: Any, sample: Sample) -> bool:
    """Tells whether it has one scale, no flip, no sliding window, and is no subclass that decodes otherwise."""
    if type(segmentor) is not EncoderDecoder or segmentor.out_channels == 1 or len(sample["img"]) > 1:
        return False
    return segmentor.test_cfg.mode == "whole" and not sample["img_metas"][0].data["flip"]


def _predicted_by_mmseg(segmentor: Any, sample: Sample, device: torch.device) -> Tensor:
    (labels,) = segmentor(return_loss=False, **to_device(collate([sample], 1), device))
    return torch.from_numpy(labels).to(device)


def _size(planes: Tensor) -> tuple[int, int]:
    height, width = planes.shape[-2:]
    return height, width
