import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tuner.errors import BadInput
from tuner.training.data.toy import CLASSES, HEIGHT, WIDTH, draw


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "toy"
    draw(folder)
    return folder


def test_lays_out_images_and_annotations_as_ade20k_does(toy: Path) -> None:
    for split, count in (("training", 64), ("validation", 16)):
        images = sorted((toy / "images" / split).glob("*.jpg"))
        annotations = sorted((toy / "annotations" / split).glob("*.png"))
        assert [file.stem for file in images] == [file.stem for file in annotations]
        assert len(images) == count
    meta = json.loads((toy / "meta.json").read_text())
    assert meta["classes"] == list(CLASSES)
    assert len(meta["palette"]) == len(CLASSES)
    assert meta["reduce_zero_label"] is True


def test_annotations_hold_every_class_and_a_few_other_pixels(toy: Path) -> None:
    maps = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in toy.rglob("*.png")]
    assert all(labels.shape == (HEIGHT, WIDTH) and labels.dtype == np.uint8 for labels in maps)
    share = np.bincount(np.concatenate([labels.ravel() for labels in maps])) / (len(maps) * HEIGHT * WIDTH)
    assert len(share) == 1 + len(CLASSES)
    assert 0 < share[0] < 0.05
    assert share[1:].min() > 0.01


def test_classes_cannot_be_told_apart_by_colour_alone(toy: Path) -> None:
    files = sorted((toy / "images" / "training").glob("*.jpg"))
    pixels = np.concatenate([cv2.imread(str(file)).reshape(-1, 3) for file in files])
    labels = np.concatenate(
        [
            cv2.imread(
                str(toy / "annotations" / "training" / f"{file.stem}.png"), cv2.IMREAD_UNCHANGED
            ).ravel()
            for file in files
        ]
    )
    means = np.stack([pixels[labels == value].mean(axis=0) for value in range(1, 9)])
    sample = np.random.default_rng(0).choice(len(pixels), 20_000)
    guess = 1 + np.linalg.norm(pixels[sample, None] - means, axis=2).argmin(axis=1)
    assert (guess == labels[sample]).mean() < 0.6


def test_draws_the_same_bytes_for_the_same_seed_and_others_for_another(tmp_path: Path, toy: Path) -> None:
    draw(tmp_path / "again")
    draw(tmp_path / "other", seed=1)
    assert contents(tmp_path / "again") == contents(toy)
    assert contents(tmp_path / "other").keys() == contents(toy).keys()
    assert contents(tmp_path / "other") != contents(toy)


def test_draws_over_the_same_set_and_over_one_that_was_cut_off(tmp_path: Path) -> None:
    draw(tmp_path, 3, 2)
    drawn = contents(tmp_path)
    (tmp_path / "meta.json").unlink()
    (tmp_path / "images" / "training" / "0002.jpg").unlink()
    draw(tmp_path, 3, 2)
    draw(tmp_path, 3, 2)
    assert contents(tmp_path) == drawn


@pytest.mark.parametrize(("images", "seed", "named"), [(2, 0, "0002"), (3, 1, "meta.json")])
def test_refuses_a_folder_with_another_set(tmp_path: Path, images: int, seed: int, named: str) -> None:
    draw(tmp_path, 3, 2)
    before = contents(tmp_path)
    with pytest.raises(BadInput, match=named):
        draw(tmp_path, images, 2, seed)
    assert contents(tmp_path) == before


def test_refuses_a_folder_with_files_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match=r"thesis\.tex: name a new folder"):
        draw(tmp_path, 3, 2)
    assert contents(tmp_path) == {"thesis.tex": b"mine"}
