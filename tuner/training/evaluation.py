"""The metrics of semantic segmentation, over all ranks."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tuner.training.prediction import Sample, predict, size
from tuner.trial import Config, Place

Labelled: TypeAlias = tuple[Sample, Tensor]
"""A sample and its true labels, [height, width] of the original picture."""

WINDOW = 8
"""In how many batches' worth of samples those of like size are looked for."""


def evaluate(segmentor: nn.Module, dataset: Any, data: Config, place: Place) -> dict[str, float]:
    """mIoU, aAcc, mAcc and IoU.<class> in percent; each rank takes its share of the pictures."""
    confusion = confusion_of_share(segmentor, dataset, data, place)
    if place.ranks > 1:
        dist.all_reduce(confusion)
    return metrics(confusion.cpu(), dataset.CLASSES)


@torch.no_grad()
def confusion_of_share(segmentor: nn.Module, dataset: Any, data: Config, place: Place) -> Tensor:
    """The confusion matrix of every `ranks`-th picture: each picture counts on one rank alone."""
    device = torch.device(place.device)
    share = _Share(dataset, range(place.rank, len(dataset), place.ranks))
    samples = DataLoader(share, batch_size=None, num_workers=data["workers_per_gpu"], collate_fn=_as_it_is)
    classes = len(dataset.CLASSES)
    confusion = torch.zeros(classes, classes, dtype=torch.long, device=device)
    segmentor.eval()
    for batch in _of_like_size(samples, data["samples_per_gpu"]):
        predictions = predict(segmentor, [sample for sample, _ in batch], device)
        for (_, truth), predicted in zip(batch, predictions, strict=True):
            confusion += confusion_matrix(truth.to(device), predicted, classes)
    segmentor.train()
    return confusion


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """[classes, classes]: row the true class, column the predicted; true values ≥ classes are ignored."""
    counted = truth < classes
    cells = truth[counted].long() * classes + predicted[counted]
    return torch.bincount(cells, minlength=classes**2).view(classes, classes)


def metrics(confusion: Tensor, names: Sequence[str]) -> dict[str, float]:
    """In percent. Classes that neither occur nor are predicted count in no mean, as in mmseg."""
    hits, true, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
    iou = 100 * hits.double() / (true + predicted - hits)
    accuracy = 100 * hits.double() / true
    per_class = {
        f"IoU.{name.strip()}": value
        for name, value in zip(names, iou.tolist(), strict=True)
        if not math.isnan(value)
    }
    return {
        "mIoU": iou.nanmean().item(),
        "mAcc": accuracy.nanmean().item(),
        "aAcc": (100 * hits.sum().double() / true.sum()).item(),
        **per_class,
    }


class _Share(Dataset[Labelled]):
    """Some of a data set's samples with their true labels."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self._dataset = dataset
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> Labelled:
        index = self._indices[position]
        truth: np.ndarray = self._dataset.get_gt_seg_map_by_idx(index)
        if self._dataset.reduce_zero_label:
            truth = truth.astype(np.uint8) - np.uint8(1)
        return self._dataset[index], torch.from_numpy(truth)


def _as_it_is(sample: Any) -> Any:
    return sample


def _of_like_size(samples: Iterable[Labelled], most: int) -> Iterator[list[Labelled]]:
    """Batches of at most so many pictures of one size, found among some batches' worth of neighbours."""

    def by_size(labelled: Labelled) -> tuple[int, int]:
        return size(labelled[0])

    remaining = iter(samples)
    while window := list(islice(remaining, WINDOW * most)):
        for _, alike in groupby(sorted(window, key=by_size), by_size):
            while batch := list(islice(alike, most)):
                yield batch
