"""A small data set in ADE20K's layout, drawn: for a first try and for tests that need no download.

Scenes of eight classes that share colours and differ in texture and place, under changing light.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tuner.errors import BadInput
from tuner.files.writing import replacing, write_text

META = "meta.json"
WIDTH, HEIGHT = 128, 96
CLASSES = ("sky", "hill", "water", "meadow", "sand", "wall", "roof", "path")
OTHER, SKY, HILL, WATER, MEADOW, SAND, WALL, ROOF, PATH = range(9)
COLOURS = np.array(
    [
        (60, 60, 60),
        (150, 175, 200),
        (95, 130, 90),
        (120, 155, 185),
        (105, 145, 80),
        (195, 175, 135),
        (185, 155, 130),
        (165, 105, 85),
        (175, 160, 135),
    ],
    np.float32,
)
"""Red, green, blue of each value of an annotation."""

Array: TypeAlias = NDArray[Any]


def draw(folder: Path, images: int = 64, validation: int = 16, seed: int = 0) -> None:
    """Draws the same bytes for the same numbers. Raises BadInput when the folder holds anything else."""
    names = [*_names("training", images), *_names("validation", validation)]
    meta = json.dumps(_meta(seed), indent=2)
    _refuse_others(folder, {file for pair in names for file in pair}, meta)
    for index, (image_name, labels_name) in enumerate(names):
        rng = np.random.default_rng((seed, index))
        labels = _layout(rng)
        _write(folder / image_name, _paint(labels, rng)[..., ::-1])
        _write(folder / labels_name, labels)
    write_text(folder / META, meta)


def _meta(seed: int) -> dict[str, Any]:
    return {
        "classes": CLASSES,
        "palette": COLOURS[1:].astype(int).tolist(),
        "reduce_zero_label": True,
        "ignore_index": 255,
        "img_suffix": ".jpg",
        "seg_map_suffix": ".png",
        "seed": seed,
    }


def _names(split: str, count: int) -> Iterator[tuple[str, str]]:
    for number in range(count):
        yield f"images/{split}/{number:04d}.jpg", f"annotations/{split}/{number:04d}.png"


def _refuse_others(folder: Path, own: set[str], meta: str) -> None:
    present = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    others = sorted(present - own - {META})
    if META in present and (folder / META).read_text() != meta:
        others.append(META)
    if others:
        raise BadInput.of(str(folder), f"holds something else, such as {others[0]}: name a new folder")


def _write(file: Path, image: Array) -> None:
    _, encoded = cv2.imencode(file.suffix, image)
    with replacing(file) as beside:
        beside.write_bytes(encoded.tobytes())


def _layout(rng: np.random.Generator) -> Array:
    """Returns the annotation's values, [height, width]."""
    labels = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    y = np.arange(HEIGHT)[:, None]
    horizon = int(rng.integers(32, 50))
    labels[y > horizon - 10 + _wave(rng, 9)] = HILL
    borders = np.sort(rng.integers(horizon, HEIGHT - 8, 2))
    for ground, border in zip(rng.permutation([WATER, MEADOW, SAND]), (horizon, *borders), strict=True):
        labels[y > border + _wave(rng, 3)] = ground
    if rng.random() < 0.6:
        _add_path(labels, horizon, rng)
    for _ in range(rng.integers(1, 4)):
        _add_house(labels, horizon, rng)
    for _ in range(rng.integers(1, 5)):
        centre = int(rng.integers(0, WIDTH)), int(rng.integers(horizon, HEIGHT))
        cv2.circle(labels, centre, int(rng.integers(2, 6)), OTHER, -1)
    return labels


def _wave(rng: np.random.Generator, amplitude: float) -> Array:
    frequency = np.array([[1], [2], [5]])
    phase = rng.uniform(0, 2 * np.pi, (3, 1))
    x = np.arange(WIDTH) / WIDTH * 2 * np.pi
    return np.asarray((amplitude / frequency * np.sin(frequency * x + phase)).sum(axis=0))


def _add_path(labels: Array, horizon: int, rng: np.random.Generator) -> None:
    far, near = rng.integers(20, WIDTH - 20, 2)
    corners = [(far - 2, horizon + 2), (far + 2, horizon + 2), (near + 14, HEIGHT), (near - 14, HEIGHT)]
    cv2.fillPoly(labels, [np.array(corners, np.int32)], PATH)


def _add_house(labels: Array, horizon: int, rng: np.random.Generator) -> None:
    width, height = (int(side) for side in rng.integers(16, 34, 2))
    left = int(rng.integers(0, WIDTH - width))
    bottom = int(rng.integers(horizon + 6, HEIGHT - 4))
    top = bottom - height
    gable = [(left - 3, top), (left + width + 3, top), (left + width // 2, top - height // 2)]
    cv2.rectangle(labels, (left, top), (left + width, bottom), WALL, -1)
    cv2.fillPoly(labels, [np.array(gable, np.int32)], ROOF)


def _paint(labels: Array, rng: np.random.Generator) -> Array:
    """Returns red, green and blue, [height, width, 3]."""
    tints = COLOURS + rng.normal(0, 14, COLOURS.shape)
    grain = np.choose(labels, _textures(rng))
    image = tints[labels] + 26 * grain[..., None]
    light = rng.uniform(0.55, 1.2) + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, WIDTH)[None, :, None]
    noise = rng.normal(0, 9, image.shape)
    return np.asarray(np.clip(image * light + noise, 0, 255), np.uint8)


def _textures(rng: np.random.Generator) -> list[Array]:
    """Draws one texture for each value of an annotation, about -1 … 1."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x, y = x + rng.uniform(0, 20), y + rng.uniform(0, 20)
    waves = np.sin(y * 1.3 + 2 * np.sin(x / 9))
    blades = np.sin(x * 1.7 + np.sin(y / 3))
    bricks = np.where((y % 7 < 1.5) | ((x + 5 * (y // 7 % 2)) % 10 < 1.5), -1.2, 0.3)
    tiles = np.sin((x + y) * 1.1)
    flat = np.zeros_like(x)
    specks = rng.normal(0, 0.8, x.shape)
    return [flat, flat, _blobs(rng, 12), waves, blades, specks, bricks, tiles, _blobs(rng, 5)]


def _blobs(rng: np.random.Generator, size: int) -> Array:
    coarse = rng.normal(0, 1, (HEIGHT // size + 2, WIDTH // size + 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
