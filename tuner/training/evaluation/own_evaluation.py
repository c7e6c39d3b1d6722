"""Asks validation sets that evaluate in their own way for their metrics, given the predictions."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from tuner.spec.trial import Config, RankInfo
from tuner.training.evaluation.prediction import predict

HOOK = {
    "interval", "start", "by_epoch", "save_best", "rule", "test_fn", "greater_keys", "less_keys", "out_dir",
    "file_client_args", "broadcast_bn_buffer", "tmpdir", "gpu_collect", "efficient_test", "pre_eval",
}  # fmt: skip
"""The keys of `evaluation` that are for mmseg's hook; the rest is for the data set."""
SHARES = ("aAcc", "mIoU", "mAcc", "mDice", "mFscore", "mPrecision", "mRecall")
PER_CLASS = ("IoU.", "Acc.", "Dice.", "Fscore.", "Precision.", "Recall.")
"""The metrics that mmseg gives as shares of 1; here they are in percent."""


@torch.no_grad()
def evaluated_by_itself(
    segmentor: nn.Module, dataset: Any, data: Config, rank_info: RankInfo, evaluation: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the numbers that the data set's own `evaluate` returns, on every rank."""
    collected: list[tuple[int, Any]] = []
    by_image = evaluation.get("pre_eval", False)
    segmentor.eval()
    for index in range(rank_info.rank, len(dataset), rank_info.ranks):
        ((labels, _),) = predict(segmentor, [dataset[index]], torch.device(rank_info.device))
        prediction = labels.cpu().numpy().astype("int64")
        results = dataset.pre_eval(prediction, index) if by_image else [prediction]
        collected += [(index, each) for each in results]
    segmentor.train()
    ordered = [result for _, result in sorted(_of_all_ranks(collected, rank_info), key=lambda each: each[0])]
    arguments = {key: value for key, value in evaluation.items() if key not in HOOK}
    found = dataset.evaluate(ordered, logger="silent", **arguments)
    return {
        name: float(value) * (100 if name in SHARES or name.startswith(PER_CLASS) else 1)
        for name, value in found.items()
        if isinstance(value, int | float) or getattr(value, "ndim", 1) == 0
    }


def _of_all_ranks(collected: list[Any], rank_info: RankInfo) -> list[Any]:
    if rank_info.ranks == 1:
        return collected
    gathered: list[list[Any]] = [[] for _ in range(rank_info.ranks)]
    dist.all_gather_object(gathered, collected)
    return [each for rank in gathered for each in rank]
