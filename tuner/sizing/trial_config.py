"""Makes a trial's config: every assignment that the tuner makes into an mmseg config."""

import copy
import os
import re
from pathlib import Path
from typing import Any

from tuner.errors import BadInput
from tuner.sizing.config_datasets import (
    SPLITS,
    leaves,
)
from tuner.sizing.config_paths import UnknownPath, apply, unknown_path, value_at
from tuner.sizing.custom_imports import importing
from tuner.sizing.own_entry import own_entry, with_own
from tuner.sizing.precision import with_precision
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, Trial, Value

NO_WEIGHTS = "none"
MEASURED = {
    "mIoU": ("mIoU", "IoU."),
    "mDice": ("mDice", "Dice."),
    "mFscore": ("mFscore", "mPrecision", "mRecall", "Fscore.", "Precision.", "Recall."),
}
"""mmseg's `evaluation.metric`: how the names begin of what it gives besides accuracies."""
MODULES = ("tuner.models.context_cluster", "tuner.training.data.data")
"""The modules that register what a trial's config names."""
STREAM = "SampleStream"
SHRINK = "ShrinkImages"
SEEDING = "SeedEachIteration"


def default_params(job: JobSpec, config: Config) -> dict[str, Value]:
    """Returns the config's own values of the parameters: trial 0.

    Raises BadInput where the config lacks a path, disagrees with itself or lies outside the space.
    """
    params: dict[str, Value] = {}
    problems = []
    for name, parameter in job.space.parameters.items():
        try:
            values = [value_at(config, path) for path in parameter.sets]
        except UnknownPath as error:
            problems.append(f"parameters.{name}.sets: {unknown_path(config, error.args[0])}")
            continue
        if not job.space.counts(name, params):
            continue
        if any(value != values[0] for value in values):
            problems.append(f"parameters.{name}.sets: the config has different values there: {values}")
        elif not parameter.contains(values[0]):
            problems.append(
                f"parameters.{name}: the config's own value {values[0]!r} is trial 0, "
                f"but lies outside {parameter}: widen it"
            )
        params[name] = values[0]
    if not problems:
        problems = [
            f"constraints: the config's own values {params} are trial 0, but break {text!r}"
            for text in job.space.broken(params)
        ]
    if problems:
        raise BadInput.of(f"space of job {job.name}", *problems)
    return params


def trial_config(job: JobSpec, config: Config, trial: Trial) -> Config:
    """Returns the config that a trial trains, whole: nothing else decides what it does."""
    result = apply(config, job.space.overrides(trial.params), f"trial {trial.number}")
    if job.fidelity.schedule == "compressed":
        result["runner"]["max_iters"] = job.fidelity.iterations
    if job.resources.lr_rule:
        result["optimizer"]["lr"] *= job.resources.lr_rule.factor(job.resources.global_batch)
    result["data"]["samples_per_gpu"] = job.resources.global_batch // job.resources.processes
    for metric in ("mIoU", job.objective.metric):
        result = with_metric(result, metric)
    if job.pretrained:
        result = with_pretrained(result, job.pretrained)
    if job.image_side:
        result = with_image_side(result, job.image_side)
    if job.resources.precision:
        result = with_precision(result, job.resources.precision)
    result = reproducible(with_data_root(result, job.data_root), trial.seed, job.resources.processes)
    result["data"]["train"]["corrupt"] = job.corrupt_images
    return with_own(
        result,
        accumulation=1,
        image_cache=job.resources.image_cache,
        secondary=job.objective.secondary,
        sweep_centers=job.fidelity.sweep_centers,
    )


def images_at_once(config: Config) -> int:
    """Returns how many images one rank trains at a time."""
    return int(config["data"]["samples_per_gpu"] // own_entry(config).accumulation)


def in_less_memory(config: Config) -> Config | None:
    """Returns the same training with half the images at once, then with activations computed again; then None.

    Only a backbone whose config says `with_cp=False` is known to be able to compute them again.
    """
    images, parts = config["data"]["samples_per_gpu"], own_entry(config).accumulation
    if more := [n for n in range(2 * parts, images + 1) if images % n == 0]:
        return with_own(config, accumulation=more[0])
    if config["model"]["backbone"].get("with_cp") is False:
        return apply(config, {"model.backbone.with_cp": True}, "memory")
    return None


def with_data_root(config: Config, data_root: Path) -> Config:
    """Puts all data sets below `data_root`.

    It takes the place of the folder that the roots of training and validation have in common: mostly their
    one root. Raises BadInput when they have none in common.
    """
    result = copy.deepcopy(config)
    roots = [_root(leaf) for split in SPLITS[:2] for leaf in leaves(result, split)]
    try:
        common = Path(os.path.commonpath(roots))
    except ValueError as error:
        message = "data_root: some data sets have an absolute one, others not: write them all alike"
        raise BadInput.of("config", message) from error
    for split in SPLITS:
        for leaf in leaves(result, split):
            if Path(_root(leaf)).is_absolute() == common.is_absolute():
                leaf["data_root"] = os.path.normpath(data_root / os.path.relpath(_root(leaf), common))
    return result


def evaluating(config: Config, split: str, source: str) -> Config:
    """Returns a config whose evaluations measure another split than val. Raises BadInput where it has none."""
    if split == "val":
        return config
    if not config["data"].get(split):
        raise BadInput.of(source, f"data.{split}: the config has no {split} split: name its images there")
    return {**config, "data": {**config["data"], "val": config["data"][split]}}


def with_metric(config: Config, metric: str) -> Config:
    """Has an evaluation measure the metric, where it is one that mmseg measures only if asked."""
    name = re.sub(r"^\d+_", "", metric)
    wanted = next((wanted for wanted, own in MEASURED.items() if name.startswith(own)), None)
    asked = config.get("evaluation", {}).get("metric", "mIoU")
    names = [asked] if isinstance(asked, str) else list(asked)
    if wanted is None or wanted in names or not MEASURED.keys() >= set(names):
        return config
    return {**config, "evaluation": {**config.get("evaluation", {}), "metric": [*names, wanted]}}


def with_pretrained(config: Config, pretrained: str) -> Config:
    """Has the backbone begin with the weights of that file or URL, or as mmseg initialises it for NO_WEIGHTS."""
    result = copy.deepcopy(config)
    model, backbone = result["model"], result["model"]["backbone"]
    given = backbone.pop("init_cfg", None)
    for place in (model, backbone):
        place.pop("pretrained", None)
    if pretrained != NO_WEIGHTS:
        kept = given if isinstance(given, dict) and given.get("type") == "Pretrained" else {}
        backbone["init_cfg"] = {**kept, "type": "Pretrained", "checkpoint": pretrained}
    return result


def with_image_side(config: Config, side: int) -> Config:
    """Shrinks training images right after they are loaded, in the pipeline: so mmseg's own trainer does."""
    result = copy.deepcopy(config)
    for dataset in leaves(result, "train"):
        steps = [step for step in dataset.get("pipeline", []) if step["type"] != SHRINK]
        if loading := [place for place, step in enumerate(steps) if step["type"].startswith("Load")]:
            steps.insert(loading[-1] + 1, {"type": SHRINK, "side": side})
            dataset["pipeline"] = steps
    return result


def reproducible(config: Config, seed: int, ranks: int) -> Config:
    """Makes the training a function of the config alone.

    Sample k of the training and what is dropped of it follow from the seed and k, so that a training can
    be taken up anywhere, and by any number of ranks and loader processes. mmseg's own `train_segmentor`
    trains the result identically.
    """
    result = copy.deepcopy(config)
    data = result["data"]
    batch = data["samples_per_gpu"] * ranks
    samples = result["runner"]["max_iters"] * batch
    loading = data.get("train_dataloader", {})
    data["train"] = _stream(data["train"], seed, samples, loading.get("shuffle", True))
    data["train_dataloader"] = {**loading, "shuffle": False}
    result = importing(result, MODULES)
    hooks = [hook for hook in result.get("custom_hooks") or [] if hook["type"] != SEEDING]
    result["custom_hooks"] = [*hooks, {"type": SEEDING, "seed": seed, "batch": batch}]
    result["seed"] = seed
    return result


def _root(leaf: Config) -> str:
    return os.path.normpath(leaf.get("data_root") or ".")


def _stream(dataset: Any, seed: int, samples: int, shuffle: bool) -> Config:
    """Returns the stream over a training set; one that repeats another says nothing to a stream."""
    if isinstance(dataset, dict) and dataset.get("type") == STREAM:
        return {**dataset, "seed": seed, "samples": samples}
    while isinstance(dataset, dict) and dataset.get("type") == "RepeatDataset":
        dataset = dataset["dataset"]
    stream = {"type": STREAM, "dataset": dataset, "seed": seed, "samples": samples, "corrupt": "fail"}
    return stream if shuffle else {**stream, "shuffle": False}
