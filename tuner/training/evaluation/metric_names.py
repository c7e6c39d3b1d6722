"""Lists the metrics that an evaluation of a config can have, by their names."""

from difflib import get_close_matches
from typing import Any

from tuner.errors import BadInput, Problem
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config
from tuner.training.data.datasets import built_split
from tuner.training.evaluation.scored import is_scored_by_mmseg, parts, truth

MEANS = ("mIoU", "mAcc", "aAcc", "mDice", "mFscore", "mPrecision", "mRecall")
PER_CLASS = ("IoU", "Acc", "Dice", "Fscore", "Precision", "Recall")
LOSSES = ("loss", "val_loss")
ALIKE = 0.5
"""The similarity, from 0 to 1, that a known name must have to be named as the nearest, from 0 to 1."""


def metric_problems(job: JobSpec, config: Config) -> list[Problem]:
    """Finds an objective that no evaluation has: misspelt, or of a class that the validation images do not show.

    A data set that evaluates in its own way has whatever names it likes: its trials will tell.
    """
    metric, where = job.objective.metric, f"job {job.name}"
    try:
        dataset = built_split(config, "val")
    except BadInput:
        return []  # its images' problems name it
    if not is_scored_by_mmseg(dataset):
        return []
    names = metric_names(dataset)
    if metric not in names:
        lower = {name.lower(): name for name in names}
        near = [lower[each] for each in get_close_matches(metric.lower(), lower, 1, ALIKE)]
        known = ", ".join((*MEANS, *LOSSES, *(f"{score}.<class>" for score in PER_CLASS)))
        meant = f": is {near[0]} meant?" if near else ""
        return [Problem(where, f"objective.metric: there is no {metric}{meant} There are {known}")]
    name = metric.partition(".")[2]
    if name and not _occurs(dataset, metric):
        message = f"objective.metric: no validation image shows {name}, so that {metric} is not defined"
        return [Problem(where, message)]
    return []


def metric_names(dataset: Any) -> list[str]:
    """Lists the metrics of a data set that mmseg scores, however many metrics its `evaluation` asks for."""
    own = [*MEANS, *(f"{score}.{str(name).strip()}" for score in PER_CLASS for name in dataset.CLASSES)]
    joined = parts(dataset) if getattr(dataset, "separate_eval", False) else []
    return [*own, *LOSSES, *(f"{number}_{name}" for number in range(len(joined)) for name in own)]


def _occurs(dataset: Any, metric: str) -> bool:
    score, _, name = metric.partition(".")
    part = int(score.partition("_")[0]) if "_" in score else None
    label = [str(each).strip() for each in dataset.CLASSES].index(name)
    for index in range(len(dataset)):
        labels, number = truth(dataset, index)
        if part in (None, number) and (labels == label).any():
            return True
    return False
