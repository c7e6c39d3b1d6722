"""The pictures that a config names: are they all there and sound, and which are they."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tuner.errors import Problem
from tuner.overrides import dataset_of
from tuner.trial import Config

IGNORED = 255
SHOWN = 5


@dataclass(frozen=True)
class PictureSet:
    """One split of a data set in mmseg's layout."""

    images: Path
    annotations: Path
    image_suffix: str
    annotation_suffix: str
    values: range
    """What an annotation may hold, besides 255."""

    @classmethod
    def of(cls, config: Config, split: str) -> "PictureSet | None":
        """None for a config without pictures."""
        dataset = dataset_of(config, split)
        if "img_dir" not in dataset:
            return None
        root = Path(dataset.get("data_root") or ".")
        classes = config["model"]["decode_head"]["num_classes"]
        reduced = dataset.get("reduce_zero_label", dataset["type"] == "ADE20KDataset")
        return cls(
            images=root / dataset["img_dir"],
            annotations=root / dataset["ann_dir"],
            image_suffix=dataset.get("img_suffix", ".jpg"),
            annotation_suffix=dataset.get("seg_map_suffix", ".png"),
            values=range(classes + 1 if reduced else classes),
        )

    def pairs(self) -> Iterator[tuple[Path, Path]]:
        for image in sorted(self.images.rglob(f"*{self.image_suffix}")):
            name = image.relative_to(self.images)
            stem = str(name).removesuffix(self.image_suffix)
            yield image, self.annotations / f"{stem}{self.annotation_suffix}"


def problems(config: Config) -> list[Problem]:
    """Missing folders, pictures without annotation, annotations with values outside the classes."""
    return [problem for split in ("train", "val") for problem in _split_problems(config, split)]


def fingerprint(config: Config) -> str:
    """Of all pictures' and annotations' names and sizes, wherever they lie."""
    digest = hashlib.sha256()
    for split in ("train", "val"):
        for pair in pictures.pairs() if (pictures := PictureSet.of(config, split)) else ():
            for file in pair:
                digest.update(f"{split}/{file.name}:{file.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def is_readable(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except (OSError, SyntaxError):  # Pillow's word for a broken PNG
        return False
    return True


def _split_problems(config: Config, split: str) -> Iterable[Problem]:
    pictures = PictureSet.of(config, split)
    if pictures is None:
        return []
    missing = [folder for folder in (pictures.images, pictures.annotations) if not folder.is_dir()]
    if missing:
        return [Problem(f"pictures for {split}", f"there is no folder {folder}") for folder in missing]
    pairs = list(pictures.pairs())
    if not pairs:
        return [Problem(str(pictures.images), f"holds no picture *{pictures.image_suffix}")]
    alone = [f"{image.name} has no annotation {mask}" for image, mask in pairs if not mask.is_file()]
    present = [mask for _, mask in pairs if mask.is_file()]
    return [
        *_first(str(pictures.images), alone),
        *_first(str(pictures.annotations), _outside(present, pictures.values)),
    ]


def _outside(masks: list[Path], allowed: range) -> list[str]:
    def message(mask: Path) -> str | None:
        try:
            with Image.open(mask) as image:
                values = np.unique(np.asarray(image))
        except OSError as error:
            return f"{mask.name} cannot be read: {error}"
        strange = [int(value) for value in values if value not in allowed and value != IGNORED]
        listed = ", ".join(map(str, strange[:SHOWN]))
        return f"{mask.name} has {listed}, outside 0 … {allowed[-1]} and {IGNORED}" if strange else None

    with ThreadPoolExecutor() as pool:
        return [found for found in pool.map(message, masks) if found]


def _first(source: str, messages: list[str]) -> Iterator[Problem]:
    yield from (Problem(source, message) for message in messages[:SHOWN])
    if len(messages) > SHOWN:
        yield Problem(source, f"… and {len(messages) - SHOWN} more like these")
