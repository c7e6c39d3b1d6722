"""Published settings on true ADE20K images: a training step and an evaluation of the least and of the largest.

The six differ in size and centers; tests/export/test_settings.py trains each of them on drawn images.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import reproducible, with_data_root
from tuner.spec.trial import RankInfo
from tuner.training.config import config as configs
from tuner.training.engine import Training

ONE_STEP = {
    "runner.max_iters": 1,
    "data.samples_per_gpu": 1,
    "data.workers_per_gpu": 0,
    "data.val.pipeline.1.img_scale": (512, 128),  # a quarter of the published size, for the time it takes
}


@pytest.mark.long
@pytest.mark.images
@pytest.mark.parametrize("name", ["fpn_coc_small_c4_ade20k_80k", "fpn_coc_medium_c49_ade20k_80k"])
def test_a_published_setting_trains_and_evaluates_150_classes(
    name: str, images: Callable[[str], Path], tmp_path: Path
) -> None:
    file = ROOT / f"configs/sem_fpn/{name}.py"
    config = with_data_root(apply(configs.read(file), ONE_STEP, "test"), images("ade20k_sample"))
    measurement = Training(reproducible(config, 0, 1), tmp_path, RankInfo()).step((1,))
    assert 4.0 < measurement.metrics["loss"] < 7.0  # near ln 150, the loss of no knowledge
    assert 0 <= measurement.metrics["mIoU"] < 5
    assert sum(name.startswith("IoU.") for name in measurement.metrics) >= 50


def test_there_are_six_published_settings() -> None:
    assert len(list((ROOT / "configs/sem_fpn").glob("*ade20k_80k.py"))) == 6
