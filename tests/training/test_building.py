"""What keeps a trial from its first step is told before it begins, all at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.conformance.base import base, draw
from tests.conftest import ROOT
from tuner.models.mmcv_ops import MissingOperator
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import reproducible, with_data_root
from tuner.spec.trial import Config
from tuner.training import building
from tuner.training.building import begin_build, build
from tuner.training.config import config as configs
from tuner.training.data import toy
from tuner.training.messages import said

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]
Changed = Callable[[dict[str, Any]], Config]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = tmp_path_factory.mktemp("pictures")
    draw(drawn)
    return drawn


@pytest.fixture
def changed(folder: Path) -> Changed:
    return lambda changes: reproducible(apply(base(folder), changes, "test"), 1, ranks=1)


def problems(config: Config) -> list[str]:
    return [problem.message for problem in build(config, "config.py")]


def test_what_trains_has_no_problem(changed: Changed) -> None:
    assert problems(changed({})) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.backbone": {"type": "PVTv3"}}, "model: PVTv3 is not registered: "),
        ({"model.backbone.type": "ResNetV1e"}, "the nearest are ResNetV1d, ResNetV1c, ResNet; which module registers"),
        ({"optimizer.type": "AdamV"}, "optimizer and hooks: AdamV is not registered: the nearest are"),
        ({"log_config.hooks": [{"type": "WandbLogerHook"}]}, "optimizer and hooks: WandbLogerHook is not registered"),
        ({"data.train.pipeline.4.type": "RandomFlop"}, "RandomFlop is not registered: the nearest are RandomFlip"),
        ({"model.decode_head.num_classes": 4}, "model.decode_head.num_classes: is 4, but data.val has 3 classes"),
        ({"model.test_cfg": None}, "model: its prediction of one image: "),
        ({"load_from": "/nowhere.pth"}, "/nowhere.pth cannot be loaded: /nowhere.pth can not be found."),
        ({"model.neck.in_channels": [4, 8, 16, 64]}, "model: its losses of one image: RuntimeError: "),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_named(changed: Changed, changes: dict[str, Any], message: str) -> None:
    found = problems(changed(changes))
    assert any(message in each for each in found), found


def test_all_is_told_at_once(changed: Changed) -> None:
    wrong = {"model.backbone.type": "ResNetV1e", "data.train.pipeline.4.type": "RandomFlop"}
    assert len(problems(changed(wrong | {"data.val.pipeline.0.type": "LoadImage"}))) == 3


def test_a_missing_operator_says_what_to_run() -> None:
    assert said(MissingOperator("mmcv operator x: run `make ops`")) == "mmcv operator x: run `make ops`"


@pytest.mark.long
def test_a_process_of_its_own_builds_and_tells_what_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "get_context", lambda _: warm.CONTEXT)
    toy.draw(tmp_path / "toy", images=2, validation=1)
    plain = with_data_root(configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"), tmp_path / "toy")
    wrong = apply(plain, {"model.backbone.folds": [7, 1, 1, 1]}, "test")
    found = begin_build(reproducible(wrong, 1, ranks=1), "toy")()
    assert found
    assert all("does not divide into folds 7, 1, 1, 1" in problem.message for problem in found)
