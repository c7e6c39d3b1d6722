"""What a user's own module may register: a wrapper of data sets and a hook that changes weights."""

from typing import Any

import numpy as np
import torch
from mmcv.runner import HOOKS, Hook
from mmseg.datasets import DATASETS, CustomDataset, build_dataset
from torch import nn


@DATASETS.register_module()
class FirstAlone:
    """The first image, however many there are."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        self.dataset = build_dataset(dataset)
        self.CLASSES, self.PALETTE = self.dataset.CLASSES, self.dataset.PALETTE

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _index: int) -> Any:
        return self.dataset[0]


@HOOKS.register_module()
class HalveTheHead(Hook):  # type: ignore[misc]
    """Halves the head's last layer after the second iteration, through mmcv's wrapper of the model."""

    @torch.no_grad()
    def after_train_iter(self, runner: Any) -> None:
        if runner.iter == 1:
            runner.model.module.decode_head.conv_seg.weight.mul_(0.5)


@DATASETS.register_module()
class CountedHits(CustomDataset):  # type: ignore[misc]
    """A validation set with an evaluation of its own."""

    def evaluate(self, results: list[Any], factor: int, **_others: Any) -> dict[str, Any]:
        return {"hits": factor * sum(int(areas[0].sum()) for areas in results), "mIoU": 0.5, "table": "text"}


class AlwaysSky(nn.Module):
    """Predicts the first class everywhere, as mmseg's segmentors do in a test."""

    def forward(self, img: Any, img_metas: Any, return_loss: bool) -> list[np.ndarray]:
        assert not return_loss
        return [np.zeros(img_metas[0][0]["ori_shape"][:2], np.int64)]
