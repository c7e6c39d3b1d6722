"""Finds validation sets whose scores mmseg computes itself, and their true labels as it compares them."""

from typing import Any

import numpy as np
from mmseg.datasets import CityscapesDataset, ConcatDataset, CustomDataset

from tuner.training.data.datasets import IGNORED

EVALUATE = (CustomDataset.evaluate, CityscapesDataset.evaluate)
"""mmseg's own, the second of which is the first for all metrics but `cityscapes`."""


def is_scored_by_mmseg(dataset: Any) -> bool:
    """Tells whether confusion matrices say all: no class of the user's evaluates otherwise."""
    if type(dataset) is ConcatDataset:
        nested = any(isinstance(each, ConcatDataset) for each in dataset.datasets)
        return not nested and all(map(is_scored_by_mmseg, dataset.datasets))
    kind = type(dataset)
    return (
        isinstance(dataset, CustomDataset)
        and kind.evaluate in EVALUATE
        and kind.pre_eval is CustomDataset.pre_eval
    )


def parts(dataset: Any) -> list[Any]:
    """Returns the data sets that are joined, or the one."""
    return list(dataset.datasets) if isinstance(dataset, ConcatDataset) else [dataset]


def truth(dataset: Any, index: int) -> tuple[np.ndarray, int]:
    """Returns an image's true labels, and the number of its part."""
    part = 0
    if isinstance(dataset, ConcatDataset):
        part, index = dataset.get_dataset_idx_and_sample_idx(index)
        dataset = dataset.datasets[part]
    labels: np.ndarray = dataset.get_gt_seg_map_by_idx(index)
    if dataset.reduce_zero_label:
        is_none = (labels == 0) | (labels == IGNORED)
        labels = np.where(is_none, labels.dtype.type(IGNORED), labels - labels.dtype.type(1))
    return labels, part
