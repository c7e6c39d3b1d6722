"""Strips of validation images: which are chosen, what they show, and that they change nothing else."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tuner.files.paths import TrialFolder
from tuner.sizing.trial_config import reproducible, with_data_root
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.data.toy import CLASSES, draw
from tuner.training.engine import Training, segmentor, validation_set
from tuner.training.evaluation.evaluation import compare_share
from tuner.training.evaluation.scored import truth
from tuner.training.evaluation.strips import Strips, chosen, with_strips

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=2, validation=6)
    config = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    config["data"]["samples_per_gpu"] = 2
    return reproducible(with_data_root(config, folder), seed=3, ranks=1)


class Masks:
    """A data set that is nothing but masks."""

    CLASSES = tuple("abcdef")
    reduce_zero_label = False

    def __init__(self, *masks: list[int]) -> None:
        self._masks = [np.array([mask], np.uint8) for mask in masks]

    def __len__(self) -> int:
        return len(self._masks)

    def get_gt_seg_map_by_idx(self, index: int) -> np.ndarray:
        return self._masks[index]


def test_chosen_images_show_every_class_with_as_few_as_possible() -> None:
    dataset = Masks([0, 1, 255], [0, 1, 2], [3], [2, 3, 4], [5, 5, 5], [4, 5, 0])
    assert chosen(dataset, 3) == [1, 3, 4]
    assert {value for index in (1, 3, 4) for value in dataset.get_gt_seg_map_by_idx(index)[0]} == set(
        range(6)
    )
    assert chosen(dataset, 2) == [1, 3]
    assert chosen(dataset, 99) == [1, 3, 4, 5, 0, 2]
    assert chosen(dataset, 0) == []


def test_images_are_looked_for_among_a_limited_number_of_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    dataset = Masks(*[[index % 6] for index in range(1000)])
    monkeypatch.setattr(
        "tuner.training.evaluation.strips.truth", lambda d, index: looked.append(index) or truth(d, index)
    )
    chosen(dataset, 4)
    assert len(looked) == 250
    assert looked[-1] == 996


def test_a_strip_holds_photo_truth_and_prediction_side_by_side(plain: Config, tmp_path: Path) -> None:
    dataset = validation_set(plain)
    config = with_strips(plain, dataset, 3, 360)
    trained = Training(config, tmp_path, RankInfo())
    trained.step((1, 2))
    trained.step((1, 2))
    files = TrialFolder(tmp_path)
    index = json.loads(files.image_index.read_text())
    assert index["images"] == config["tuner"]["strips"]["images"] == chosen(dataset, 3)
    assert [each["name"] for each in index["classes"]] == list(CLASSES)
    pixels = np.bincount(np.concatenate([truth(dataset, i)[0].ravel() for i in range(6)]), minlength=8)
    assert [each["pixels"] for each in index["classes"]] == pixels[:8].tolist()
    assert sorted(file.name for file in (tmp_path / "images").glob("*.jpg")) == [
        f"000000{iteration}_{position}.jpg" for iteration in (1, 2) for position in range(3)
    ]
    strip = cv2.imread(str(files.strip(2, 0)))[..., ::-1].astype(int)
    assert strip.shape == (90, 360, 3)
    photo = cv2.imread(dataset.img_dir + "/" + dataset.img_infos[index["images"][0]]["filename"])[..., ::-1]
    assert difference(strip[:, :120], cv2.resize(photo, (120, 90), interpolation=cv2.INTER_AREA)) < 8
    labels = truth(dataset, index["images"][0])[0]
    painted = np.vstack([dataset.PALETTE, np.zeros((248, 3))])[labels].astype(np.uint8)
    assert difference(strip[:, 120:240], cv2.resize(painted, (120, 90), interpolation=cv2.INTER_AREA)) < 12


def difference(one: Any, other: Any) -> float:
    return float(np.abs(one - other.astype(int)).mean())


def test_strips_change_no_measurement_and_ranks_share_them(plain: Config, tmp_path: Path) -> None:
    config = with_strips(plain, validation_set(plain), 4, 96)
    plainly = Training(plain, tmp_path / "plainly", RankInfo()).step((2,))
    kept = Training(config, tmp_path / "kept", RankInfo()).step((2,))
    assert kept.metrics == plainly.metrics
    assert not (tmp_path / "plainly" / "images").exists()
    model, dataset = segmentor(plain, RankInfo()), validation_set(plain)
    strips = Strips(config, TrialFolder(tmp_path), dataset.CLASSES, dataset.PALETTE)
    written = []
    for rank in range(2):
        compare_share(model, dataset, plain["data"], RankInfo(rank, ranks=2), strips)
        written.append({file.name for file in (tmp_path / "images").glob("*.jpg")})
    assert [len(names) for names in written] == [
        sum(i % 2 == 0 for i in config["tuner"]["strips"]["images"]),
        4,
    ]


def test_a_strip_that_cannot_be_written_ends_no_trial(
    plain: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "images").write_text("in the way")
    config = with_strips(plain, validation_set(plain), 1, 96)
    assert Training(config, tmp_path, RankInfo()).step((1,)).metrics["mIoU"] >= 0
    assert "is not kept" in caplog.text


def test_no_images_are_kept_where_none_are_asked_for(plain: Config) -> None:
    assert with_strips(plain, validation_set(plain), 0, 512) == plain
