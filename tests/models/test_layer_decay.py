"""Learning rates that fall from the head to the stem, and nothing else that changes."""

from typing import Any

import pytest
from mmcv.runner import DefaultOptimizerConstructor
from mmseg.core import build_optimizer
from mmseg.models import build_segmentor
from torch import nn
from torch.optim import Optimizer

from tests.conftest import ROOT
from tuner.errors import TunerError
from tuner.models.layer_decay import ContextClusterLayerDecay
from tuner.training.config import config as configs

BLOCKS_ABOVE = {
    "backbone.patch_embed": 6,
    "backbone.network.0.0": 5,
    "backbone.network.1": 4,
    "backbone.network.2.0": 4,
    "backbone.network.3": 3,
    "backbone.network.4.0": 3,
    "backbone.network.4.1": 2,
    "backbone.network.5": 1,
    "backbone.network.6.0": 1,
    "backbone.norm": 0,
    "neck": 0,
    "decode_head": 0,
}
"""CoC-nano has five blocks, 1, 1, 2 and 1 in its stages, with reducers in between."""


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")


@pytest.fixture(scope="module")
def model(config: dict[str, Any]) -> nn.Module:
    return build_segmentor(config["model"])


def plain(config: dict[str, Any]) -> dict[str, Any]:
    ours = {"constructor", "paramwise_cfg"}
    return {key: value for key, value in config["optimizer"].items() if key not in ours}


def built(config: dict[str, Any], model: nn.Module, **paramwise: Any) -> Optimizer:
    return build_optimizer(model, {**config["optimizer"], "paramwise_cfg": paramwise})


def settings(optimizer: Optimizer, model: nn.Module) -> dict[str, dict[str, Any]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: group for group in optimizer.param_groups for parameter in group["params"]}


def test_every_parameter_learns_as_the_formula_says(config: dict[str, Any], model: nn.Module) -> None:
    optimizer = built(config, model, decay_rate=0.5)
    found = settings(optimizer, model)
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, group in found.items():
        [above] = [blocks for layer, blocks in BLOCKS_ABOVE.items() if name.startswith(layer)]
        assert group["lr"] == 1e-4 * 0.5**above, name
        assert group["weight_decay"] == 1e-4
    assert len(optimizer.param_groups) == 7, "one for each learning rate"


def test_a_rate_of_1_is_mmcvs_own_optimizer(config: dict[str, Any], model: nn.Module) -> None:
    [ours] = build_optimizer(model, config["optimizer"]).param_groups
    [theirs] = build_optimizer(model, plain(config)).param_groups
    assert all(one is other for one, other in zip(ours.pop("params"), theirs.pop("params"), strict=True))
    assert ours == theirs


def test_norms_and_biases_decay_as_the_config_says(config: dict[str, Any], model: nn.Module) -> None:
    own = {"norm_decay_mult": 0.0, "custom_keys": {"head": {"lr_mult": 10.0}}}
    found = settings(built(config, model, decay_rate=0.5, **own), model)
    theirs = settings(DefaultOptimizerConstructor(plain(config), own)(model), model)
    assert found.keys() == theirs.keys()
    for name, group in found.items():
        assert group["weight_decay"] == theirs[name]["weight_decay"]
    assert found["decode_head.conv_seg.weight"]["lr"] == pytest.approx(1e-3)
    assert found["backbone.network.6.0.norm1.weight"]["weight_decay"] == 0


def test_a_rate_that_is_no_rate_and_other_backbones_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(TunerError, match=r"decay_rate must be above 0, got 0"):
        ContextClusterLayerDecay(config["optimizer"], {"decay_rate": 0})
    other = nn.ModuleDict({"backbone": nn.Conv2d(1, 1, 1)})
    with pytest.raises(TunerError, match=r"knows no Conv2d: set optimizer.paramwise_cfg.decay_rate to 1"):
        built(config, other, decay_rate=0.9)
