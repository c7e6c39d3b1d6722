"""From params to a config: every assignment that the tuner makes into an mmseg config."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.errors import BadInput, Problem
from tuner.job import JobSpec
from tuner.trial import Config, Trial, Value

SPLITS = ("train", "val", "test")
STREAM = "SampleStream"
SHRINK = "ShrinkPictures"
SEEDING = "SeedEachIteration"
ACCUMULATION = "accumulation"
"""The config's key for how many parts a rank's share of the batch is trained in; mmseg ignores it."""
PICTURE_CACHE = "picture_cache"
"""The config's key for the GiB of decoded pictures that a node keeps; mmseg ignores it."""

AGAINST = "against"
"""The config's key for what is measured beside the objective; mmseg ignores it."""


class UnknownPath(KeyError):
    """The dotted path does not lead anywhere in the config."""


def value_at(config: Config, path: str) -> Any:
    """Raises UnknownPath."""
    node: Any = config
    for part in path.split("."):
        try:
            node = node[int(part)] if isinstance(node, list | tuple) else node[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise UnknownPath(path) from error
    return node


def apply(config: Config, overrides: Mapping[str, Any], source: str) -> Config:
    """A copy of the config with every override set. Raises BadInput for paths that it does not have."""
    result = copy.deepcopy(config)
    problems = []
    for path, value in overrides.items():
        *parents, last = path.split(".")
        try:
            value_at(result, path)
        except UnknownPath:
            problems.append(Problem(source, unknown_path(result, path)))
            continue
        node: Any = value_at(result, ".".join(parents)) if parents else result
        node[int(last) if isinstance(node, list) else last] = value
    if problems:
        raise BadInput(problems)
    return result


def unknown_path(config: Config, path: str) -> str:
    """Says where a path leaves the config, and which keys it could have taken there."""
    known = path.split(".")
    while known:
        known.pop()
        try:
            node = value_at(config, ".".join(known)) if known else config
        except UnknownPath:
            continue
        break
    keys = range(len(node)) if isinstance(node, list | tuple) else node
    has = ", ".join(map(str, keys)) if isinstance(node, dict | list | tuple) else f"the value {node!r}"
    return f"the config has no {path}: {'.'.join(known) or 'its top level'} has {has}"


def default_params(job: JobSpec, config: Config) -> dict[str, Value]:
    """The config's own values of the parameters: trial 0.

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
    """The config that a trial trains, whole: nothing else decides what it does."""
    result = apply(config, job.space.overrides(trial.params), f"trial {trial.number}")
    if job.fidelity.sweep_centers:
        result["sweep_centers"] = list(job.fidelity.sweep_centers)
    if job.objective.against:
        result[AGAINST] = job.objective.against
    if job.fidelity.schedule == "compressed":
        result["runner"]["max_iters"] = job.fidelity.iterations
    if job.resources.lr_rule:
        result["optimizer"]["lr"] *= job.resources.lr_rule.factor(job.resources.global_batch)
    result["data"]["samples_per_gpu"] = job.resources.global_batch // job.resources.processes
    result[ACCUMULATION] = 1
    result[PICTURE_CACHE] = job.resources.picture_cache
    if job.picture_side:
        result = with_picture_side(result, job.picture_side)
    result = reproducible(with_data_root(result, job.data_root), trial.seed, job.resources.processes)
    result["data"]["train"]["corrupt"] = job.corrupt_pictures
    return result


def pictures_at_once(config: Config) -> int:
    """On one rank."""
    return int(config["data"]["samples_per_gpu"] // config.get(ACCUMULATION, 1))


def in_less_memory(config: Config) -> Config | None:
    """The same training with half the pictures at once, then with activations computed again; then None.

    Only a backbone whose config says `with_cp=False` is known to be able to compute them again.
    """
    pictures, parts = config["data"]["samples_per_gpu"], config[ACCUMULATION]
    if more := [n for n in range(2 * parts, pictures + 1) if pictures % n == 0]:
        return {**config, ACCUMULATION: more[0]}
    if config["model"]["backbone"].get("with_cp") is False:
        return apply(config, {"model.backbone.with_cp": True}, "memory")
    return None


def with_data_root(config: Config, data_root: Path) -> Config:
    result = copy.deepcopy(config)
    for split in SPLITS:
        dataset_of(result, split)["data_root"] = str(data_root)
    return result


def with_picture_side(config: Config, side: int) -> Config:
    """Shrinks training pictures right after they are loaded, in the pipeline: so mmseg's own trainer does."""
    result = copy.deepcopy(config)
    dataset = dataset_of(result, "train")
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
    stream = {"type": STREAM, "dataset": dataset_of(result, "train"), "seed": seed, "samples": samples}
    data["train"] = {**stream, "corrupt": data["train"].get("corrupt", "fail")}
    data["train_dataloader"] = {**data.get("train_dataloader", {}), "shuffle": False}
    hooks = [hook for hook in result.get("custom_hooks", []) if hook["type"] != SEEDING]
    result["custom_hooks"] = [*hooks, {"type": SEEDING, "seed": seed, "batch": batch}]
    result["seed"] = seed
    return result


def dataset_of(config: Config, split: str) -> Config:
    """The data set of a split, below its wrappers."""
    dataset: Config = config["data"][split]
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def crop_of(config: Config) -> Sequence[int] | None:
    """Height and width of the training's pictures; None where they are not cropped."""
    pipeline = dataset_of(config, "train").get("pipeline", [])
    return next((step["crop_size"] for step in pipeline if step["type"] == "RandomCrop"), None)
