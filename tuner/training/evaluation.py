"""The metrics of semantic segmentation, over all ranks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from mmcv.parallel import scatter
from torch import Tensor, nn
from torch.utils.data import Subset

from tuner.training.data import loader
from tuner.trial import Config, Place


@torch.no_grad()
def evaluate(segmentor: nn.Module, dataset: Any, data: Config, place: Place) -> dict[str, float]:
    """mIoU, aAcc, mAcc and IoU.<class> in percent; each rank takes its share of the pictures."""
    device = torch.device(place.device)
    target = [-1 if device.type == "cpu" else device.index]
    own = range(place.rank, len(dataset), place.ranks)
    classes = len(dataset.CLASSES)
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    segmentor.eval()
    for index, batch in zip(own, loader(Subset(dataset, own), data, batch_size=1), strict=True):
        (predicted,) = segmentor(return_loss=False, **scatter(batch, target)[0])
        confusion += confusion_matrix(_truth(dataset, index), predicted, classes)
    segmentor.train()
    if place.ranks > 1:
        confusion = confusion.to(device)
        dist.all_reduce(confusion)
    return metrics(confusion.cpu(), dataset.CLASSES)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Tensor:
    """[classes, classes]: row the true class, column the predicted; true values ≥ classes are ignored."""
    counted = truth < classes
    cells = truth[counted].astype(np.int64) * classes + predicted[counted]
    return torch.from_numpy(np.bincount(cells, minlength=classes**2).reshape(classes, classes))


def metrics(confusion: Tensor, names: Sequence[str]) -> dict[str, float]:
    """In percent. Classes that neither occur nor are predicted count in no mean, as in mmseg."""
    hits, true, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
    iou = 100 * hits / (true + predicted - hits)
    accuracy = 100 * hits / true
    per_class = {
        f"IoU.{name.strip()}": value
        for name, value in zip(names, iou.tolist(), strict=True)
        if not math.isnan(value)
    }
    return {
        "mIoU": iou.nanmean().item(),
        "mAcc": accuracy.nanmean().item(),
        "aAcc": (100 * hits.sum() / true.sum()).item(),
        **per_class,
    }


def _truth(dataset: Any, index: int) -> np.ndarray:
    truth: np.ndarray = dataset.get_gt_seg_map_by_idx(index)
    if dataset.reduce_zero_label:
        truth = truth.astype(np.uint8) - np.uint8(1)
    return truth
