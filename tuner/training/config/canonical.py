"""Rewrites a config in mmseg 0.30's spelling: older spellings are moved there, the rest is refused."""

import copy
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tuner.errors import BadInput, Problem
from tuner.sizing.config_datasets import PLACEHOLDER, placeholders, weights_named
from tuner.sizing.config_paths import UnknownPath, value_at
from tuner.sizing.own_entry import in_one_entry, own_problems
from tuner.sizing.precision import fp16_problems, with_mmcvs_fp16
from tuner.spec.architectures import AUTHORS_NAMES, STRIDES
from tuner.spec.trial import Config
from tuner.training.config.mmseg_keys import HONOURED, LOADER, MEANINGLESS, NEEDED, REFUSED, REFUSED_TYPES

WORKERS = 2
"""Loader processes of a config that says nothing about them."""
NEAR = 0.85
"""The similarity to a known key, from 0 to 1, from which on another counts as its misspelling."""


def canonical(config: Config, source: str) -> Config:
    """Returns the same training, written as all other modules read it.

    Raises BadInput with every key that asks for something that is not trained here.
    """
    config = in_one_entry(config)
    if _get(config, "runner.type") == "Synthetic":
        return config
    messages = (
        *own_problems(config),
        *_refused(config),
        *fp16_problems(config),
        *_unknown_loader_keys(config),
        *_needed(config),
    )
    if messages:
        raise BadInput(Problem(source, message) for message in messages)
    result = copy.deepcopy(with_mmcvs_fp16(config))
    if not result.get("runner"):
        result["runner"] = {"type": "IterBasedRunner", "max_iters": result.pop("total_iters")}
    for key in ("train_cfg", "test_cfg"):
        if outer := result.pop(key, None):
            result["model"][key] = outer
    backbone = result["model"].get("backbone") or {}
    if backbone.get("type") in AUTHORS_NAMES:
        backbone.setdefault("centers", [AUTHORS_NAMES[backbone["type"]][1]] * len(STRIDES))
    _fill_data(result["data"])
    _fill_intervals(result)
    if _is_file(result.get("load_from")):
        result["load_from"] = str(Path(result["load_from"]).resolve())
    return result


def notes(config: Config) -> Iterator[str]:
    """Yields what mmseg would obey and means nothing here, and what looks like a misspelt key."""
    from tuner.models.context_cluster import ignored_arguments  # loads torch

    for path, (why, silent) in MEANINGLESS.items():
        value = _get(config, path)
        if value is not None and value not in silent:
            yield f"{path}: means nothing here: {why}"
    if ignored := ignored_arguments(_get(config, "model.backbone") or {}):
        yield f"model.backbone: {', '.join(ignored)}: mean nothing to it, as to the authors' own class"
    known = {path for path in (*HONOURED, *MEANINGLESS, *REFUSED) if "." not in path}
    for key in sorted(config.keys() - known):
        for near in get_close_matches(key, known, 1, NEAR):
            yield f"{key}: mmseg reads no such key: is {near} meant?"


def place_problems(config: Config, source: str, files_are_here: bool = True) -> list[Problem]:
    """Finds placeholders, and files of weights that are not there, or elsewhere cannot be."""
    found = list(placeholders(config))
    for path, name in weights_named(config).items():
        if "://" in name or PLACEHOLDER.search(name):
            continue
        file = Path(name).expanduser()
        if files_are_here and not file.is_file():
            found.append(f"{path}: there is no file {name}")
        elif not files_are_here and not file.is_absolute():
            found.append(
                f"{path}: {name} leads nowhere on a cluster, as weights are not sent: write a path that holds on "
                "all nodes, or a URL"
            )
    return [Problem(source, message) for message in found]


def _refused(config: Config) -> Iterator[str]:
    for path, (instead, silent) in REFUSED.items():
        value = _get(config, path, missing := object())
        if value is not missing and value not in silent:
            yield f"{path}: {instead}"
    for path, types in REFUSED_TYPES.items():
        kind = _get(config, f"{path}.type")
        if kind in types:
            yield f"{path}.type: {kind}: {types[kind]}"
    for key in ("train_cfg", "test_cfg"):
        if _get(config, key) and _get(config, f"model.{key}"):
            yield f"{key}: stands in model too, and mmseg takes one of them: remove it here"


def _unknown_loader_keys(config: Config) -> Iterator[str]:
    named = {path.removeprefix("data.") for path in (*HONOURED, *MEANINGLESS) if path.startswith("data.")}
    for rank_info in ("data", "data.train_dataloader"):
        for key in sorted((_get(config, rank_info) or {}).keys() - named - set(LOADER)):
            near = "".join(f": is {each} meant?" for each in get_close_matches(key, (*named, *LOADER), 1))
            yield f"{rank_info}.{key}: mmseg's loaders take no such key{near}"


def _needed(config: Config) -> Iterator[str]:
    for path, example in NEEDED.items():
        parent, _, last = path.rpartition(".")
        above = _get(config, parent) if parent else config
        absent = (...,) if path == "lr_config" else (..., None)
        if isinstance(above, Mapping) and above.get(last, ...) in absent:
            yield f"{path} is missing: write {example}"
    yield from _needed_of_runner(config.get("runner"), config.get("total_iters"))
    if not (_get(config, "data.samples_per_gpu") or _get(config, "data.train_dataloader.samples_per_gpu")):
        yield "data.samples_per_gpu is missing: write how many images a GPU trains at a time"


def _needed_of_runner(runner: Config | None, total_iters: Any) -> Iterator[str]:
    if not runner:
        if not isinstance(total_iters, int):
            yield "runner is missing: write runner = dict(type='IterBasedRunner', max_iters=…)"
    elif (kind := runner.get("type")) == "IterBasedRunner":
        if not isinstance(runner.get("max_iters"), int):
            yield "runner.max_iters is missing: write the number of iterations"
    elif kind not in REFUSED_TYPES["runner"]:
        yield f"runner.type: must be IterBasedRunner, got {kind}"


def _fill_data(data: Config) -> None:
    loading = dict(data.get("train_dataloader") or {})
    data["samples_per_gpu"] = loading.pop("samples_per_gpu", data.get("samples_per_gpu"))
    data["workers_per_gpu"] = loading.pop("workers_per_gpu", data.get("workers_per_gpu", WORKERS))
    if "train_dataloader" in data:
        data["train_dataloader"] = loading


def _fill_intervals(config: Config) -> None:
    """Fills in defaults: nothing is logged, saved or evaluated before the end."""
    length = config["runner"]["max_iters"]
    config.setdefault("log_config", {"interval": length, "hooks": []})
    saving = config["checkpoint_config"] = dict(config.get("checkpoint_config") or {})
    if saving.get("by_epoch") or saving.get("interval", -1) < 1:
        saving |= {"interval": length, "by_epoch": False}
    config["evaluation"] = {"interval": length, **(config.get("evaluation") or {})}


def _is_file(name: Any) -> bool:
    return isinstance(name, str) and "://" not in name and Path(name).is_file()


def _get(config: Config, path: str, default: Any = None) -> Any:
    try:
        return value_at(config, path)
    except UnknownPath:
        return default
