"""The images that a config's data sets read: are they all there and sound, and which are they."""

import hashlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tuner.errors import BadInput, Problem
from tuner.sizing.config_datasets import datasets
from tuner.spec.trial import Config
from tuner.training.data.annotations import SoundAnnotations

if TYPE_CHECKING:
    from tuner.training.data.datasets import LabelledImages

SHOWN = 5


@dataclass(frozen=True)
class ConfigImages:
    """Holds the files of a config's training and validation sets; none of a config without images."""

    sets: tuple[tuple[str, "LabelledImages"], ...]
    """The plain data sets, each with the split that it belongs to."""
    missing: tuple[Problem, ...]
    """What keeps a split from being built: folders that are not there, or what mmseg says."""

    def problems(self, annotations: SoundAnnotations) -> list[Problem]:
        """Lists what is missing, images without annotation, annotations with values outside the classes."""
        found = list(self.missing)
        for _, images in self.sets:
            found += _problems(images, annotations)
        return found

    def fingerprint(self) -> str:
        """Hashes all images' and annotations' names and sizes, wherever they lie."""
        digest = hashlib.sha256()
        for split, images in self.sets:
            for pair in sorted(images.pairs):
                for file in pair:
                    digest.update(f"{split}/{file.name}:{file.stat().st_size}\n".encode())
        return digest.hexdigest()[:16]


def images_of(config: Config) -> ConfigImages:
    """Asks mmseg's data sets of a config for their files."""
    sets: list[tuple[str, LabelledImages]] = []
    missing: list[Problem] = []
    for split in ("train", "val"):
        if not any("type" in dataset for _, dataset in datasets(config, split)):
            continue
        from tuner.training.data.datasets import (
            labelled_images,
        )  # here, as a synthetic training needs no mmseg

        try:
            sets += ((split, images) for images in labelled_images(config, split))
        except BadInput as error:
            missing += error.problems
    return ConfigImages(tuple(sets), tuple(missing))


def is_readable(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except (OSError, SyntaxError):  # Pillow's word for a broken PNG
        return False
    return True


def _problems(images: "LabelledImages", annotations: SoundAnnotations) -> Iterator[Problem]:
    if not images.pairs:
        yield Problem(images.source, "finds no image: look at its folders and at img_suffix and split")
    present = [mask for _, mask in images.pairs if mask.is_file()]
    with_mask = set(present)
    absent = [f"{image.name} is not there: {image}" for image, _ in images.pairs if not image.is_file()]
    alone = [
        f"{image.name} has no annotation {mask}" for image, mask in images.pairs if mask not in with_mask
    ]
    yield from _first(images.source, absent)
    yield from _first(images.source, alone)
    yield from _first(images.source, list(_outside(present, images.allowed, annotations)))


def _outside(masks: list[Path], allowed: Set[int], annotations: SoundAnnotations) -> Iterator[str]:
    for mask, looked in zip(masks, annotations.look(masks), strict=True):
        if looked.problem:
            yield f"{mask.name} {looked.problem}"
        elif strange := sorted(looked.values - allowed):
            listed = ", ".join(map(str, strange[:SHOWN]))
            yield f"{mask.name} has {listed}, outside {_ranges(allowed)}"


def _first(source: str, messages: list[str]) -> Iterator[Problem]:
    yield from (Problem(source, message) for message in messages[:SHOWN])
    if len(messages) > SHOWN:
        yield Problem(source, f"… and {len(messages) - SHOWN} more like these")


def _ranges(values: Set[int]) -> str:
    """Writes {0, 1, 2, 255} as `0 … 2 and 255`."""
    starts = sorted(value for value in values if value - 1 not in values)
    ends = sorted(value for value in values if value + 1 not in values)
    return " and ".join(
        f"{low} … {high}" if low < high else f"{low}" for low, high in zip(starts, ends, strict=True)
    )
