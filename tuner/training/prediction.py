"""Pictures to labels of their own size, as mmseg predicts them, a few classes' planes at a time.

mmseg enlarges the logits of all classes twice, to the network's input and to the picture, and compares their
softmax: 150 planes each time, none of which stays in a cache. The greatest logit needs one plane at a time.
Logits of less than about 1e-7 apart are equal to mmseg, as softmax rounds them; here the greater one counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from mmcv.parallel import collate, scatter
from mmseg.models import EncoderDecoder
from torch import Tensor
from torch.nn.functional import interpolate

Sample: TypeAlias = Mapping[str, Any]
"""What mmseg's test pipelines give: lists over scales and flips."""

PLANES_BYTES = 2**23
"""Of the planes that are enlarged at a time."""


def predict(segmentor: Any, samples: Sequence[Sample], device: torch.device) -> list[Tensor]:
    """Each picture's labels, [height, width] of the original. The samples' sizes must be alike."""
    if not all(_is_whole(segmentor, sample) for sample in samples):
        return [_predicted_by_mmseg(segmentor, sample, device) for sample in samples]
    metas = [sample["img_metas"][0].data for sample in samples]
    pictures = torch.stack([sample["img"][0] for sample in samples]).to(device, non_blocking=True)
    logits = segmentor.decode_head.forward_test(segmentor.extract_feat(pictures), metas, segmentor.test_cfg)
    return [
        greatest(
            own, (_size(pictures), meta["img_shape"][:2], meta["ori_shape"][:2]), segmentor.align_corners
        )
        for own, meta in zip(logits, metas, strict=True)
    ]


def size(sample: Sample) -> tuple[int, int]:
    """Height and width that the network sees, of the first scale."""
    return _size(sample["img"][0])


def greatest(logits: Tensor, sizes: Sequence[tuple[int, int]], align_corners: bool) -> Tensor:
    """[classes, …] → the first class of greatest logit, [height, width].

    The planes are enlarged to the first size, cut to the second and enlarged to the third, to the bit as if
    all were together.
    """
    enlarged, cut, original = sizes
    at_a_time = max(1, PLANES_BYTES // (enlarged[0] * enlarged[1] * logits.element_size()))
    labels = torch.zeros(original, dtype=torch.int16, device=logits.device)
    highest = logits.new_full(original, -torch.inf)
    for first in range(0, len(logits), at_a_time):
        planes = _resized(logits[None, first : first + at_a_time], enlarged, align_corners)
        planes = _resized(planes[:, :, : cut[0], : cut[1]], original, align_corners)
        for number, plane in enumerate(planes[0], start=first):
            labels.masked_fill_(plane > highest, number)
            torch.maximum(highest, plane, out=highest)
    return labels


def _resized(planes: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    if _size(planes) == tuple(size):
        return planes
    return interpolate(planes, size, mode="bilinear", align_corners=align_corners)


def _is_whole(segmentor: Any, sample: Sample) -> bool:
    """One scale, no flip, no sliding window, and no subclass that decodes otherwise."""
    if type(segmentor) is not EncoderDecoder or segmentor.out_channels == 1 or len(sample["img"]) > 1:
        return False
    return segmentor.test_cfg.mode == "whole" and not sample["img_metas"][0].data["flip"]


def _predicted_by_mmseg(segmentor: Any, sample: Sample, device: torch.device) -> Tensor:
    (batch,) = scatter(collate([sample], 1), [-1 if device.type == "cpu" else device.index])
    (labels,) = segmentor(return_loss=False, **batch)
    return torch.from_numpy(labels).to(device)


def _size(planes: Tensor) -> tuple[int, int]:
    height, width = planes.shape[-2:]
    return height, width
