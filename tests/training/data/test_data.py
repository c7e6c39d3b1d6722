"""Training samples: what a image that cannot be read does to them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.datasets import build_dataset

from tests.conftest import ROOT
from tuner.errors import CorruptImage
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import reproducible, with_data_root, with_image_side
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.data.data import SKIPPED, SampleStream, ShrinkImages, TrainBatches
from tuner.training.data.toy import draw
from tuner.training.engine import Training

IMAGES = 6


@pytest.fixture
def config(tmp_path: Path) -> Config:
    draw(tmp_path / "toy", images=IMAGES, validation=2)
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    small = {"runner.max_iters": 3, "data.samples_per_gpu": 2}
    return reproducible(with_data_root(apply(plain, small, "test"), tmp_path / "toy"), seed=3, ranks=1)


def break_off(config: Config, file: str) -> Path:
    """Leaves the first half of a file."""
    path = Path(config["data"]["train"]["dataset"]["data_root"], file)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def skipping(config: Config) -> SampleStream:
    return build_dataset({**config["data"]["train"], "corrupt": "skip"})


@pytest.mark.parametrize("file", ["images/training/0003.jpg", "annotations/training/0003.png"])
def test_a_file_that_cannot_be_read_is_named(config: Config, file: str) -> None:
    path = break_off(config, file)
    stream = build_dataset(config["data"]["train"])
    with pytest.raises(CorruptImage, match=f"{path} cannot be read: put a whole one in its place, or let"):
        [stream[number] for number in range(IMAGES)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 on fork
def test_a_training_ends_with_the_files_name_whoever_loads_it(config: Config, tmp_path: Path) -> None:
    path = break_off(config, "images/training/0003.jpg")
    training = Training(apply(config, {"data.workers_per_gpu": 1}, "test"), tmp_path / "trial", RankInfo())
    with pytest.raises(CorruptImage, match=f"^{path} cannot be read"):
        training.step((3,))


def test_a_skipped_image_leaves_its_turn_to_the_next_of_the_epoch(config: Config) -> None:
    whole = [skipping(config)[number]["img_metas"].data for number in range(IMAGES)]
    assert [meta[SKIPPED] for meta in whole] == [0] * IMAGES
    names = [meta["ori_filename"] for meta in whole]
    broken = names.index("0003.jpg")
    break_off(config, "images/training/0003.jpg")
    found = [skipping(config)[number]["img_metas"].data for number in range(IMAGES)]
    names[broken] = names[(broken + 1) % IMAGES]
    assert [meta["ori_filename"] for meta in found] == names
    assert sum(meta[SKIPPED] for meta in found) == 1
    assert torch.equal(skipping(config)[broken]["img"].data, skipping(config)[broken]["img"].data)


def test_skipped_images_are_counted(config: Config) -> None:
    break_off(config, "images/training/0003.jpg")
    batches = TrainBatches(skipping(config), config, RankInfo(), first=0)
    for _ in range(len(batches)):
        next(batches)
    assert batches.skipped == 1


def test_a_set_without_any_whole_image_is_no_endless_search(config: Config) -> None:
    for number in range(IMAGES):
        break_off(config, f"images/training/{number:04d}.jpg")
    with pytest.raises(CorruptImage):
        skipping(config)[0]


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(100, 150, (40, 60)), (300, 101, (119, 40)), (40, 90, (40, 90)), (20, 30, (20, 30))],
)
def test_images_are_shrunk_to_a_shorter_side_and_never_enlarged(
    height: int, width: int, wanted: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = np.where(image[..., 0] < 128, 3, 255).astype(np.uint8)
    found = ShrinkImages(side=40)({"img": image, "labels": labels, "seg_fields": ["labels"]})
    assert found["img"].shape == found["ori_shape"] == found["img_shape"] == (*wanted, 3)
    assert found["labels"].shape == wanted
    assert set(np.unique(found["labels"])) == {3, 255}, "labels are chosen, never mixed"
    assert abs(found["img"].mean() - image.mean()) < 2


def test_a_training_pipeline_shrinks_right_after_loading_and_only_once(config: Config) -> None:
    shrinking = with_image_side(with_image_side(config, 64), 48)
    steps = shrinking["data"]["train"]["dataset"]["pipeline"]
    assert [step["type"] for step in steps[:4]] == [
        "LoadImageFromFile",
        "LoadAnnotations",
        "ShrinkImages",
        "Resize",
    ]
    assert [step["side"] for step in steps if step["type"] == "ShrinkImages"] == [48]
    assert shrinking["data"]["val"] == config["data"]["val"]
    assert build_dataset(shrinking["data"]["train"])[0]["img"].data.shape == (3, 96, 96)
