"""A short training on drawn images."""

import pytest

from tests.conftest import ROOT
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import with_data_root
from tuner.spec.trial import Config
from tuner.training.config import config as configs
from tuner.training.data.toy import draw

LENGTH = 60
"""Iterations: mmcv's logger speaks at the fiftieth."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=16, validation=6)
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    changes = {
        "runner.max_iters": LENGTH,
        "evaluation.interval": LENGTH,
        "checkpoint_config.interval": LENGTH,
        "data.samples_per_gpu": 4,
        "optimizer.lr": 1e-3,
        "model.backbone.drop_path_rate": 0.1,
    }
    return with_data_root(apply(plain, changes, "test"), folder)
