"""The base images again, in the layouts of mmseg's own data sets."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.conformance.base import TRAIN, testing, write

Config = dict[str, Any]


def use(
    config: Config,
    folder: Path,
    kind: str,
    image_suffix: str,
    label_suffix: str,
    number: int,
    reduce_zero_label: bool = False,
    splits: bool = False,
    **arguments: Any,
) -> None:
    """Makes the config train and evaluate a data set of that kind, with labels of all its classes."""
    root = folder / kind
    for split in ("training", "validation"):
        for file in sorted((folder / "images" / split).iterdir()):
            image = cv2.imread(str(file))
            labels = cv2.imread(str(folder / "labels" / split / f"{file.stem}.png"), cv2.IMREAD_UNCHANGED)
            write(root / "images" / split / f"{file.stem}{image_suffix}", image)
            labels = _spread(labels, number, reduce_zero_label)
            write(root / "labels" / split / f"{file.stem}{label_suffix}", labels)
    loading = {"type": "LoadAnnotations", "reduce_zero_label": reduce_zero_label}
    pipelines = {"train": [TRAIN[0], loading, *TRAIN[2:]], "val": testing()}
    for name, split in (("train", "training"), ("val", "validation")):
        config["data"][name] = {
            "type": kind,
            "data_root": str(root),
            "img_dir": f"images/{split}",
            "ann_dir": f"labels/{split}",
            "pipeline": pipelines[name],
            **arguments,
        }
        if splits:
            (root / f"{name}.txt").write_text("0\n2\n")
            config["data"][name]["split"] = f"{name}.txt"
    config["model"]["decode_head"]["num_classes"] = number


def _spread(labels: np.ndarray, classes: int, reduce_zero_label: bool) -> np.ndarray:
    """Labels of three classes become some of all classes; 0 is nothing where it is reduced."""
    found = np.where(labels < 3, (labels.astype(int) * 7 + np.arange(labels.shape[1]) // 6) % classes, 255)
    found = np.where(found < 255, found + reduce_zero_label, 255)
    if reduce_zero_label:
        found[:3] = 0
    return found.astype(np.uint8)
