"""Measures an exported config and its weights here: one image's logits, confusion matrices, metrics."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tuner.errors import BadInput, TunerError
from tuner.sizing.trial_config import NO_WEIGHTS, evaluating, with_data_root, with_pretrained
from tuner.spec.trial import Config, RankInfo
from tuner.training import checkpoint
from tuner.training.config import config as configs
from tuner.training.data.datasets import labelled_images
from tuner.training.engine import segmentor, validation_set
from tuner.training.evaluation.evaluation import compare_share, evaluate
from tuner.training.evaluation.scored import is_scored_by_mmseg
from tuner.training.messages import said


class Exported(NamedTuple):
    """Holds a model with its weights, and its validation set."""

    config: Config
    model: nn.Module
    dataset: Any


def load(file: Path, weights: Path, data_root: Path | None, split: str = "val") -> Exported:
    """Builds the config's model on the CPU and loads the weights strictly. Raises BadInput where one fails."""
    config = evaluating(with_pretrained(placed(file, data_root), NO_WEIGHTS), split, file.name)
    config["load_from"] = None
    try:
        model = segmentor(config, RankInfo())
        dataset = validation_set(config)
    except TunerError:
        raise
    except Exception as error:
        raise BadInput.of(str(file), f"cannot be built: {said(error)}") from error
    checkpoint.load(weights, model)
    return Exported(config, model, dataset)


def placed(file: Path, data_root: Path | None) -> Config:
    """Reads a config, with its images in another folder where one is named. Raises BadInput."""
    config = configs.read(file)
    return config if data_root is None else with_data_root(config, data_root.resolve())


@torch.no_grad()
def logits(exported: Exported, index: int) -> tuple[Tensor, Tensor]:
    """Returns one validation image as the network sees it, and its logits, [classes, height, width]."""
    sample = exported.dataset[index]
    image, metas = sample["img"][0][None], [sample["img_metas"][0].data]
    exported.model.eval()
    found = exported.model.encode_decode(image, metas)  # type: ignore[operator]
    return image[0], found[0]


def confusion(exported: Exported, images: Sequence[int] | None) -> list[list[int]]:
    """Returns the confusion matrix of some validation images, or of all."""
    data = exported.config["data"]
    found, _ = compare_share(exported.model, exported.dataset, data, RankInfo(), images=images)
    return found.sum(0).tolist()


def metrics(exported: Exported) -> dict[str, float]:
    """Returns the metrics of all images of the split."""
    asked = exported.config.get("evaluation")
    return evaluate(exported.model, exported.dataset, exported.config["data"], RankInfo(), asked)


def is_scored(exported: Exported) -> bool:
    """Tells whether confusion matrices say all about the validation set."""
    return is_scored_by_mmseg(exported.dataset)


def images_of(config: Config) -> dict[str, dict[str, int]]:
    """Returns for train and val the files that they read, images and annotations, with their bytes.

    Files are named below their folders; those that are not there are left out. A training set whose folder is not
    there is left out as a whole. Raises BadInput where validation images have no folder.
    """
    found = {"val": _sizes(config, "val")}
    with suppress(BadInput):
        found["train"] = _sizes(config, "train")
    return found


def _sizes(config: Config, split: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for number, part in enumerate(labelled_images(config, split)):
        for file in (file for pair in part.pairs for file in pair):
            if file.is_file():
                sizes["/".join((str(number), *file.parts[-3:]))] = file.stat().st_size
    return sizes
