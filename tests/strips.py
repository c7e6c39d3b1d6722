"""Draws strips beside a trial's config, as its evaluations leave them."""

from PIL import Image

from tests.large_study import CLASSES
from tuner.files.paths import TrialFolder
from tuner.files.writing import replacing, write_json

IMAGES = [3, 7]
"""The places in the validation set of the images that are kept."""


def draw_strips(folder: TrialFolder, iteration: int, seed: int) -> None:
    classes = [
        {"name": name, "color": [9 * n, 90, 255 - 9 * n], "pixels": 5} for n, name in enumerate(CLASSES)
    ]
    write_json(folder.image_index, {"images": IMAGES, "classes": classes})
    for position in range(len(IMAGES)):
        with replacing(folder.strip(iteration, position)) as file:
            Image.linear_gradient("L").resize((96, 32)).rotate(seed * 10).save(file, "JPEG")
