"""The metrics of semantic segmentation, over all ranks."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from mmseg.core import pre_eval_to_metrics
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from tuner.spec.trial import Config, RankInfo
from tuner.training.data.data import one_thread
from tuner.training.evaluation.confusion import Confusion
from tuner.training.evaluation.own_evaluation import evaluated_by_itself
from tuner.training.evaluation.prediction import Sample, predict, size
from tuner.training.evaluation.scored import is_scored_by_mmseg, parts, truth
from tuner.training.evaluation.strips import Strips

Labelled: TypeAlias = tuple[Sample, Tensor, int, int]
"""A sample, its true labels, [height, width] of the original image, its part of the data set and its index."""

WINDOW = 8
"""Samples of like size are looked for in this many batches' worth."""
IGNORED = -100
"""The label of pixels that have none."""


def evaluate(
    segmentor: nn.Module,
    dataset: Any,
    data: Config,
    rank_info: RankInfo,
    evaluation: Mapping[str, Any] | None = None,
    strips: Strips | None = None,
    record: Confusion | None = None,
) -> dict[str, float]:
    """Returns the metrics that `evaluation.metric` names, in percent, and val_loss; each rank takes its share.

    mIoU (the default) gives mIoU, mAcc, aAcc, IoU.<class> and Acc.<class>; mDice and mFscore as mmseg's do.
    A data set that joins others has theirs too: 0_mIoU, 1_mIoU, …

    val_loss is the cross-entropy, averaged over all labelled pixels of all images, at the size of the
    network's logits. It comes from the same forward passes. So there is none where mmseg's own code predicts:
    for several scales, flips and sliding windows.
    """
    asked = evaluation or {}
    with _no_benchmark():
        if not is_scored_by_mmseg(dataset):
            return evaluated_by_itself(segmentor, dataset, data, rank_info, asked)
        confusion, entropy = compare_share(segmentor, dataset, data, rank_info, strips, record)
    if rank_info.ranks > 1:
        for total in (confusion, entropy, *([record.subset] if record else [])):
            dist.all_reduce(total)
    if record:
        record.whole = confusion.sum(0)
    if strips and rank_info.rank == 0:
        strips.describe(confusion.sum((0, 2))[:-1].tolist())
    wanted = asked.get("metric", "mIoU")
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    found = metrics(confusion.sum(0).cpu(), dataset.CLASSES, wanted)
    if getattr(dataset, "separate_eval", False):
        for number, part in enumerate(confusion.cpu()):
            own = metrics(part, parts(dataset)[number].CLASSES, wanted)
            found |= {f"{number}_{name}": value for name, value in own.items()}
    loss = val_loss(entropy)
    return found | ({} if loss is None else {"val_loss": loss})


@contextmanager
def _no_benchmark() -> Iterator[None]:
    """Keeps cuDNN from looking for the fastest algorithm again at each of the images' many sizes."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@torch.no_grad()
def compare_share(
    segmentor: nn.Module,
    dataset: Any,
    data: Config,
    rank_info: RankInfo,
    strips: Strips | None = None,
    record: Confusion | None = None,
    images: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compares every `ranks`-th image's prediction with its labels: each image counts on one rank alone.

    Of all images, or of those that `images` numbers.

    The first tensor holds a confusion matrix for each part of the data set, as `confusion_matrix` makes them,
    the second the sum that `cross_entropy` makes of all.
    """
    device = torch.device(rank_info.device)
    numbers = range(len(dataset)) if images is None else images
    share = _Share(dataset, numbers[rank_info.rank :: rank_info.ranks])
    samples = DataLoader(
        share,
        batch_size=None,
        num_workers=data["workers_per_gpu"],
        collate_fn=_as_it_is,
        worker_init_fn=one_thread,
    )
    classes, ignored = len(dataset.CLASSES), [part.ignore_index for part in parts(dataset)]
    confusion = torch.zeros(len(ignored), classes + 1, classes + 1, dtype=torch.long, device=device)
    entropy = torch.zeros(2, dtype=torch.double, device=device)
    if record:
        record.begin(classes, device)
    segmentor.eval()
    for batch in of_like_size(samples, data["samples_per_gpu"]):
        predictions = predict(segmentor, [sample for sample, *_ in batch], device)
        for (sample, labels, part, index), (predicted, logits) in zip(batch, predictions, strict=True):
            truth = labels.to(device, non_blocking=True)
            matrix = confusion_matrix(truth, predicted, classes, ignored[part])
            confusion[part] += matrix
            if record:
                record.add(index, matrix)
            if strips:
                strips.keep(index, sample, labels, predicted)
            if logits is not None:
                entropy += cross_entropy(logits, truth, ignored[part])
    segmentor.train()
    return confusion, entropy


def cross_entropy(logits: Tensor, truth: Tensor, ignored: int = 255) -> Tensor:
    """Sums the cross-entropy of logits, [classes, …], over the pixels that have a label, and counts these.

    The labels are brought to the size of the logits, each pixel taking the nearest one. The result is [2].
    """
    nearest = functional.interpolate(truth[None, None], logits.shape[1:], mode="nearest-exact")[0, 0].long()
    nearest = nearest.masked_fill((nearest >= len(logits)) | (nearest == ignored), IGNORED)
    total = functional.cross_entropy(
        logits[None].float(), nearest[None], ignore_index=IGNORED, reduction="sum"
    )
    return torch.stack((total.double(), (nearest != IGNORED).sum().double()))


def val_loss(entropy: Tensor) -> float | None:
    """Averages a sum that `cross_entropy` made; None where no pixel counted."""
    total, count = entropy.tolist()
    return total / count if count else None


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int, ignored: int = 255) -> Tensor:
    """Counts pixels, [classes + 1, classes + 1]: row the true class, column the predicted; the last is for none.

    Pixels whose true value is `ignored` count nowhere.
    """
    rows, columns = (_class_or_none(labels, classes) for labels in (truth, predicted))
    count = (classes + 1) ** 2
    cells = torch.where(truth == ignored, count, rows * (classes + 1) + columns).flatten()
    counts = cells.new_zeros(count + 1).scatter_add_(0, cells, torch.ones_like(cells))
    return counts[:-1].view(classes + 1, classes + 1)


def metrics(confusion: Tensor, names: Sequence[str], wanted: Sequence[str] = ("mIoU",)) -> dict[str, float]:
    """Returns scores in percent, by mmseg's own formulas; a score that a class has not counts in no mean."""
    areas = confusion.double()
    hits, true, predicted = areas.diag()[:-1], areas[:-1].sum(1), areas[:, :-1].sum(0)
    scores = pre_eval_to_metrics([(hits, true + predicted - hits, predicted, true)], list(wanted))
    overall = 100 * float(scores.pop("aAcc"))
    found = {f"m{name}": 100 * _mean(values) for name, values in scores.items()} | {"aAcc": overall}
    for score, values in scores.items():
        for name, value in zip(names, np.asarray(values).tolist(), strict=True):
            if not math.isnan(value):
                found[f"{score}.{str(name).strip()}"] = 100 * value
    return found


def _class_or_none(labels: Tensor, classes: int) -> Tensor:
    labels = labels.long()
    return torch.where((labels < 0) | (labels > classes), classes, labels)


def _mean(values: Any) -> float:
    defined = [value for value in np.asarray(values).tolist() if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


class _Share(Dataset[Labelled]):
    """Holds some of a data set's samples with their true labels."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self._dataset = dataset
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> Labelled:
        index = self._indices[position]
        labels, part = truth(self._dataset, index)
        return self._dataset[index], torch.from_numpy(labels), part, index


def _as_it_is(sample: Any) -> Any:
    return sample


def of_like_size(samples: Iterable[Labelled], most: int) -> Iterator[list[Labelled]]:
    """Yields batches of at most `most` images of one size, found among some batches' worth of neighbours."""

    def by_size(labelled: Labelled) -> tuple[int, int]:
        return size(labelled[0])

    remaining = iter(samples)
    while window := list(islice(remaining, WINDOW * most)):
        for _, alike in groupby(sorted(window, key=by_size), by_size):
            while batch := list(islice(alike, most)):
                yield batch
