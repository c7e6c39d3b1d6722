"""Finds the data sets of a config below their wrappers, and what a config still asks a person for."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuner.errors import Problem
from tuner.spec.trial import Config

SPLITS = ("train", "val", "test")
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
WRAPPED = {"dataset", "datasets"}
"""The keys under which data sets wrap others."""


def datasets(config: Config, split: str) -> list[tuple[str, Config]]:
    """Returns every data set below a split with its path, wrappers before what they wrap."""
    return list(_datasets(config["data"].get(split), f"data.{split}"))


def leaves(config: Config, split: str) -> list[Config]:
    """Returns the data sets of a split that wrap no other."""
    return [dataset for _, dataset in datasets(config, split) if not WRAPPED & dataset.keys()]


def crop_of(config: Config) -> Sequence[int] | None:
    """Returns height and width of the training's images; None where they are not cropped to one size."""
    for _, dataset in datasets(config, "train"):
        for step in dataset.get("pipeline", []):
            if step["type"] == "RandomCrop":
                return step["crop_size"]  # type: ignore[no-any-return]
    return None


def placeholders(config: Config) -> Iterator[str]:
    """Yields what stands for a place that nobody has named: `{path}`."""
    for split in SPLITS:
        for path, dataset in datasets(config, split):
            for key in ("data_root", "img_dir", "ann_dir", "split"):
                if PLACEHOLDER.search(str(dataset.get(key) or "")):
                    yield f"{path}.{key}: {dataset[key]!r} is a placeholder: name the folder by --data-root"
    for path, name in weights_named(config).items():
        if PLACEHOLDER.search(name):
            flag = "name the file by --pretrained FILE, or --pretrained none"
            yield f"{path}: {name!r} is a placeholder: {'set it' if path == 'load_from' else flag}"


def missing_files(config: Config, split: str) -> Iterator[Problem]:
    """Yields the folders and split files that the config names, but are not there."""
    for path, dataset in datasets(config, split):
        for key in ("img_dir", "ann_dir", "split"):
            named = dataset.get(key)
            for each in named if isinstance(named, list | tuple) else (named,):
                place = Path(dataset.get("data_root") or "", each or "")
                if each is not None and not place.exists():
                    kind = "file" if key == "split" else "folder"
                    yield Problem(f"images for {split}", f"{path}.{key}: there is no {kind} {place}")


def weights_named(config: Config) -> dict[str, str]:
    """Returns the files and URLs of weights that a training begins with, by the paths that name them."""
    model = config.get("model", {})
    backbone = model.get("backbone") or {}
    named = {
        "load_from": config.get("load_from"),
        "model.pretrained": model.get("pretrained"),
        "model.backbone.pretrained": backbone.get("pretrained"),
        "model.backbone.init_cfg.checkpoint": _checkpoint(backbone.get("init_cfg")),
    }
    return {path: name for path, name in named.items() if isinstance(name, str) and name}


def _datasets(node: Any, path: str) -> Iterator[tuple[str, Config]]:
    if isinstance(node, list | tuple):
        for index, each in enumerate(node):
            yield from _datasets(each, f"{path}.{index}")
    elif isinstance(node, dict):
        yield path, node
        for key in WRAPPED & node.keys():
            yield from _datasets(node[key], f"{path}.{key}")


def _checkpoint(init_cfg: Any) -> Any:
    return init_cfg.get("checkpoint") if isinstance(init_cfg, dict) else None
