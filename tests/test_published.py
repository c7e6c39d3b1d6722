"""The six published settings, on true ADE20K pictures: a training step and an evaluation of each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tuner.overrides import apply, reproducible, with_data_root
from tuner.training import config as configs
from tuner.training.engine import Training
from tuner.trial import Place

PUBLISHED = sorted((ROOT / "configs/sem_fpn").glob("*ade20k_80k.py"))
ONE_STEP = {
    "runner.max_iters": 1,
    "data.samples_per_gpu": 1,
    "data.workers_per_gpu": 0,
    "data.val.pipeline.1.img_scale": (512, 128),  # a quarter of the published size, for the time it takes
}


@pytest.mark.pictures
@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_a_published_setting_trains_and_evaluates_150_classes(
    file: Path, pictures: Callable[[str], Path], tmp_path: Path
) -> None:
    config = with_data_root(apply(configs.read(file), ONE_STEP, "test"), pictures("ade20k_sample"))
    measurement = Training(reproducible(config, 0, 1), tmp_path, Place()).step((1,))
    assert 4.0 < measurement.metrics["loss"] < 7.0  # near ln 150, the loss of no knowledge
    assert 0 <= measurement.metrics["mIoU"] < 5
    assert sum(name.startswith("IoU.") for name in measurement.metrics) >= 50


def test_there_are_six_published_settings() -> None:
    assert len(PUBLISHED) == 6
