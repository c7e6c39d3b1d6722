"""Decoded images that a node keeps: the same samples, within a limit, whoever fills it."""

import copy
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmseg.datasets import build_dataset

from tests.conftest import ROOT
from tuner.files.paths import image_cache
from tuner.sizing.trial_config import reproducible, with_data_root, with_image_side
from tuner.spec.trial import Config
from tuner.training.config import config as configs
from tuner.training.data.image_cache import GIB, remember_images
from tuner.training.data.limited_folder import LEDGER
from tuner.training.data.toy import draw

IMAGES = 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return image_cache()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    draw(tmp_path / "toy", images=IMAGES, validation=1)
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    return reproducible(with_data_root(plain, tmp_path / "toy"), seed=3, ranks=1)


def copies(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name != LEDGER)


@pytest.mark.parametrize("side", [None, 60])
@pytest.mark.parametrize("gibibytes", [1.0, 100_000 / GIB], ids=["room for all", "room for some"])
def test_samples_are_equal_to_the_bit_with_and_without(
    config: Config, folder: Path, side: int | None, gibibytes: float
) -> None:
    wanted = with_image_side(config, side) if side else config
    plain, kept = (build_dataset(wanted["data"]["train"]) for _ in range(2))
    remember_images(kept.dataset, gibibytes)
    for number in range(3 * IMAGES):
        one, other = plain[number], kept[number]
        for key in ("img", "gt_semantic_seg"):
            assert torch.equal(one[key].data, other[key].data)
        assert repr(one["img_metas"].data) == repr(other["img_metas"].data)
    assert (len(copies(folder)) == 2 * IMAGES) is (gibibytes == 1.0)
    assert int((folder / LEDGER).read_text().split()[0]) == sum(f.stat().st_size for f in copies(folder))


def test_training_images_are_kept_shrunk_and_evaluations_see_them_whole(config: Config, folder: Path) -> None:
    shrinking = with_image_side(config, 48)
    training = build_dataset(shrinking["data"]["train"]).dataset
    validation = build_dataset(shrinking["data"]["val"], {"test_mode": True})
    for dataset in (training, validation):
        remember_images(dataset, 1.0)
        dataset[0]
    sizes = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED).shape for file in copies(folder)]
    assert sorted(sizes) == [(48, 64), (48, 64, 3), (96, 128, 3)]
    assert validation.get_gt_seg_map_by_idx(0).shape == (96, 128)


def test_a_changed_image_is_read_anew(config: Config, folder: Path) -> None:
    dataset = build_dataset(config["data"]["train"]).dataset
    remember_images(dataset, 1.0)
    loader = dataset.pipeline.transforms[0]
    file = Path(dataset.img_dir, dataset.img_infos[0]["filename"])
    for _ in range(2):
        loader.file_client.get(str(file))
    file.write_bytes(Path(dataset.img_dir, dataset.img_infos[1]["filename"]).read_bytes() + b"longer")
    found = loader.file_client.decode(loader.file_client.get(str(file)))
    assert np.array_equal(found, mmcv.imread(str(file)))


def test_the_limit_holds_and_what_has_no_room_is_read_as_before(config: Config, folder: Path) -> None:
    dataset = build_dataset(config["data"]["train"]).dataset
    remember_images(dataset, 100_000 / GIB)
    for _ in range(2):
        for index in range(IMAGES):
            assert dataset[index]["img"].data.shape == (3, 96, 96)
    assert 0 < sum(file.stat().st_size for file in copies(folder)) <= 100_000


def test_the_folder_may_be_deleted_at_any_time(config: Config, folder: Path) -> None:
    dataset = build_dataset(config["data"]["train"]).dataset
    remember_images(dataset, 1.0)
    dataset[0]
    shutil.rmtree(folder)
    for index in range(IMAGES):
        assert dataset[index]["img"].data.shape == (3, 96, 96)


def fill(dataset: object, indices: list[int]) -> None:
    for index in indices:
        dataset[index]  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 on fork
def test_processes_that_fill_it_together_keep_every_image_once(config: Config, folder: Path) -> None:
    dataset = build_dataset(config["data"]["train"]).dataset
    remember_images(dataset, 1.0)
    orders = [list(range(IMAGES)), list(reversed(range(IMAGES)))]
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        list(pool.map(fill, [copy.copy(dataset)] * 2, orders))
    assert len(copies(folder)) == 2 * IMAGES
    assert int((folder / LEDGER).read_text().split()[0]) == sum(
        file.stat().st_size for file in copies(folder)
    )
