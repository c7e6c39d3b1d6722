"""The same weights at several numbers of centers: as a command, and of every completed trial."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from tests.conftest import ROOT
from tuner import trainings
from tuner.errors import BadInput
from tuner.models.context_cluster import ContextCluster
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import reproducible, with_data_root
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.data.toy import draw
from tuner.training.engine import Training
from tuner.training.evaluation.sweep import sweep

TOY = ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=4, validation=2)
    return folder


@pytest.fixture
def segmentor() -> SimpleNamespace:
    return SimpleNamespace(backbone=ContextCluster("nano", centers=[4, 9, 25, 4]))


def seen_by(segmentor: SimpleNamespace) -> Callable[[], dict[str, float]]:
    """An evaluation that tells the centers it was made with."""
    return lambda: dict(enumerate(segmentor.backbone.centers))


def test_all_stages_get_each_count_and_then_their_own_again(segmentor: SimpleNamespace) -> None:
    swept = list(sweep(segmentor, [4, 49], False, seen_by(segmentor), images=2))
    assert [tuple(each.metrics.values()) for each in swept] == [(4, 4, 4, 4), (49, 49, 49, 49)]
    assert segmentor.backbone.centers == (4, 9, 25, 4)


def test_one_stage_after_the_other_gets_each_count(segmentor: SimpleNamespace) -> None:
    swept = list(sweep(segmentor, [16, 36], True, seen_by(segmentor), images=2))
    assert [(each.stage, each.centers) for each in swept] == [(s, n) for s in (1, 2, 3, 4) for n in (16, 36)]
    assert tuple(swept[3].metrics.values()) == (4, 36, 25, 4)


def test_another_backbone_is_refused() -> None:
    with pytest.raises(BadInput, match="has no centers to sweep"):
        list(sweep(SimpleNamespace(backbone=nn.Identity()), [4], False, dict, images=1))


def trained_config(toy: Path) -> Config:
    plain = apply(configs.read(TOY), {"runner.max_iters": 2, "data.samples_per_gpu": 2}, "test")
    return reproducible(with_data_root(plain, toy), seed=0, ranks=1) | {"tuner": {"sweep_centers": [4, 49]}}


def test_a_completed_trial_is_measured_at_the_counts_that_its_config_asks_for(
    toy: Path, tmp_path: Path
) -> None:
    training = Training(trained_config(toy), tmp_path, RankInfo())
    first, last = training.step((1, 2)), training.step((1, 2))
    assert not any("centers" in name for name in first.metrics)
    assert last.metrics["mIoU.centers_4"] == pytest.approx(last.metrics["mIoU"])
    assert "mIoU.centers_49" in last.metrics
    swept = trainings.sweep_centers(TOY, tmp_path / "checkpoint.pth", toy, [4, 49], False, tmp_path / "sweep")
    for each in swept:
        assert each.metrics["mIoU"] == pytest.approx(last.metrics[f"mIoU.centers_{each.centers}"])
    written = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [each["centers"] for each in written] == [4, 49]
    assert all(each["images_per_second"] > 0 for each in written)
    assert (tmp_path / "sweep" / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_counts_that_are_no_squares_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--centers: 1 problem\n  must be squares .*, got 20"):
        trainings.sweep_centers(TOY, tmp_path / "none.pth", None, [4, 20], False, tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
