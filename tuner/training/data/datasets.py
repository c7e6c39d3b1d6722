"""Asks the data sets that mmseg builds what they wrap and which files and labels they have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import CustomDataset, build_dataset
from mmseg.datasets.pipelines import LoadAnnotations

from tuner.errors import BadInput
from tuner.sizing.config_datasets import datasets, missing_files
from tuner.spec.trial import Config
from tuner.training.messages import said

IGNORED = 255
"""The value that mmseg's decode heads ignore by default; a byte that stands for no class."""
WRAPPERS = ("dataset", "datasets")
"""The attributes under which data sets wrap others."""


@dataclass(frozen=True)
class LabelledImages:
    """Holds the files of one plain data set, and which values its annotations may hold."""

    source: str
    """The path at which the config names it: `data.train.dataset.0`."""
    pairs: tuple[tuple[Path, Path], ...]
    """Each image with its annotation."""
    allowed: frozenset[int]
    """Values of an annotation's pixels, as they are in the file."""


def build(dataset: Config | Sequence[Config], **arguments: Any) -> Any:
    """Returns the data set as mmseg builds it."""
    built = build_dataset(dataset, arguments or None)
    for plain in plain_datasets(built):
        if plain.label_map:  # NumPy 2 refuses the -1 that mmseg writes for classes left out: it meant 255
            plain.label_map = {old: new if new >= 0 else IGNORED for old, new in plain.label_map.items()}
    return built


def plain_datasets(dataset: Any) -> Iterator[Any]:
    """Yields the data sets of mmseg below all wrappers; nothing below a wrapper that hides what it wraps."""
    if isinstance(dataset, CustomDataset):
        yield dataset
        return
    for name in WRAPPERS:
        wrapped = getattr(dataset, name, ())
        for each in wrapped if isinstance(wrapped, list | tuple) else (wrapped,):
            yield from plain_datasets(each)


def labelled_images(config: Config, split: str) -> list[LabelledImages]:
    """Returns what a split's data sets read. Raises BadInput with everything that is missing."""
    if problems := list(missing_files(config, split)):
        raise BadInput(problems)
    dataset = built_split(config, split)
    names = [
        path for path, each in datasets(config, split) if "dataset" not in each and "datasets" not in each
    ]
    plain = list(plain_datasets(dataset))
    sources = names if len(names) == len(plain) else [f"data.{split}"] * len(plain)
    return [_labelled(source, each, config, split) for source, each in zip(sources, plain, strict=True)]


def built_split(config: Config, split: str) -> Any:
    """Builds a split's data set. Raises BadInput where mmseg cannot."""
    arguments = {} if split == "train" else {"test_mode": True}
    try:
        return build(config["data"][split], **arguments)
    except Exception as error:
        what = f"there is no {error.filename}" if isinstance(error, FileNotFoundError) else said(error)
        raise BadInput.of(f"data.{split}", f"mmseg cannot build it: {what}") from error


def _labelled(source: str, dataset: Any, config: Config, split: str) -> LabelledImages:
    images, labels = Path(dataset.img_dir or ""), Path(dataset.ann_dir or "")
    pairs = tuple(
        (images / info["filename"], labels / info["ann"]["seg_map"])
        for info in dataset.img_infos
        if "ann" in info
    )
    return LabelledImages(source, pairs, _allowed(dataset, config, split))


def _allowed(dataset: Any, config: Config, split: str) -> frozenset[int]:
    """Returns the bytes that are allowed: those of which the data set makes a class, or which it ignores."""
    if split == "train":
        loading = [each for each in dataset.pipeline.transforms if isinstance(each, LoadAnnotations)]
        reduces = any(each.reduce_zero_label for each in loading or [dataset])
        heads = _heads(config)
        ignored = set.intersection(*({head.get("ignore_index", IGNORED)} for head in heads))
        classes = min(head["num_classes"] for head in heads)
    else:
        reduces, ignored, classes = (
            dataset.reduce_zero_label,
            {IGNORED, dataset.ignore_index},
            len(dataset.CLASSES),
        )
    label_map = dataset.label_map or {}
    labels = np.array([label_map.get(value, value) for value in range(256)])
    if reduces:
        labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1)
    return frozenset(value for value, label in enumerate(labels) if label < classes or int(label) in ignored)


def _heads(config: Config) -> list[Config]:
    heads = config["model"]["decode_head"]
    return list(heads) if isinstance(heads, list | tuple) else [heads]
