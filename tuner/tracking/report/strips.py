"""Reads the strips that lie with a trial's config: photo, truth and prediction of a few validation images."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from tuner.files.paths import AnyPath, TrialFolder
from tuner.files.reading import bytes_of, text_of
from tuner.spec.trial import Record


@dataclass(frozen=True)
class Strip:
    """Shows one image; a third of the width each is the photo, the truth and the prediction."""

    index: int
    """The image's place in the validation set."""
    width: int
    """Pixels."""
    height: int
    data: str
    """The image as a data URI."""


@dataclass(frozen=True)
class Legend:
    name: str
    color: str
    """The color as CSS spells it."""
    share: float
    """The share of the labelled pixels of the validation set, 0 … 1."""


@dataclass(frozen=True)
class Strips:
    """Holds the strips of one trial; none where it keeps no images."""

    images: tuple[Strip, ...] = ()
    classes: tuple[Legend, ...] = ()

    @property
    def frequency(self) -> Mapping[str, float]:
        return {each.name: each.share for each in self.classes}


def read_strips(folder: TrialFolder, record: Record | None) -> Strips:
    """Reads the images of the trial's last evaluation.

    What is missing or broken is left out: a report needs no images. Raises Unreadable.
    """
    try:
        index = json.loads(text_of(folder.image_index) or "{}")
        classes = tuple(_legend(index["classes"]))
        return Strips(tuple(_images(folder, record, index["images"])), classes)
    except (ValueError, KeyError, TypeError):
        return Strips()


def _legend(classes: list[dict[str, Any]]) -> list[Legend]:
    total = sum(each["pixels"] for each in classes) or 1
    return [
        Legend(each["name"], "rgb({}, {}, {})".format(*map(int, each["color"])), each["pixels"] / total)
        for each in classes
    ]


def _images(folder: TrialFolder, record: Record | None, known: list[int]) -> Iterator[Strip]:
    if record is None or record.last is None:
        return
    for position, index in enumerate(known):
        if strip := _strip(folder.strip(record.last.iteration, position), index):
            yield strip


def _strip(file: AnyPath, index: int) -> Strip | None:
    if (data := bytes_of(file)) is None:
        return None
    try:
        with Image.open(BytesIO(data)) as image:
            return Strip(index, *image.size, f"data:image/jpeg;base64,{b64encode(data).decode()}")
    except OSError:
        return None
