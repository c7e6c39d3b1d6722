"""The memory that a training step is reckoned to need, beside what torch says it saved."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv.utils import ConfigDict
from mmseg.models import build_segmentor

from tests.conftest import ROOT
from tests.saved_tensors import kept_storages
from tuner.sizing.config_paths import apply
from tuner.sizing.memory import FLOAT, RESERVE, STATES, training_memory
from tuner.sizing.own_entry import with_own
from tuner.sizing.precision import precision_of, with_precision
from tuner.spec.trial import Config
from tuner.training.config import config as configs
from tuner.training.precision import MixedPrecisionHook

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS: dict[str, dict[str, Any]] = {
    "nano": {"arch": "nano"},
    "nano, batch 5": {"arch": "nano", "batch": 5},
    "nano, tall": {"arch": "nano", "crop": (256, 96)},
    "nano, centers a stage": {"arch": "nano", "centers": [4, 9, 25, 49]},
    "nano, fewer folds": {"arch": "nano", "folds": [4, 2, 2, 1], "centers": [49, 49, 49, 49]},
    "nano, bf16": {"arch": "nano", "precision": "bf16"},
    "nano, checkpointed, bf16": {"arch": "nano", "precision": "bf16", "with_cp": True},
    "nano, checkpointed": {"arch": "nano", "with_cp": [True, True, True, True]},
    "small, 4 centers": {"arch": "small"},
    "small, 25 centers": {"arch": "small", "centers": [25, 25, 25, 25]},
    "small, 49 centers": {"arch": "small", "centers": [49, 49, 49, 49], "batch": 2},
    "small, two stages checkpointed": {"arch": "small", "with_cp": [True, True, False, False]},
    "small, bf16": {"arch": "small", "precision": "bf16", "centers": [49, 49, 49, 49]},
    "medium, 4 centers": {"arch": "medium"},
    "medium, 49 centers": {"arch": "medium", "centers": [49, 49, 49, 49], "crop": (128, 192)},
}


def setting(
    arch: str,
    batch: int = 1,
    crop: tuple[int, int] = (128, 128),
    precision: str = "float32",
    **backbone: Any,
) -> Config:
    name = "fpn_coc_nano_toy" if arch == "nano" else f"fpn_coc_{arch}_c4_ade20k_80k"
    config = configs.read(ROOT / f"configs/sem_fpn/{name}.py")
    config["model"]["backbone"] |= backbone
    changes = {"data.samples_per_gpu": batch, "data.train.pipeline.3.crop_size": crop}
    return with_precision(apply(config, changes, "test"), precision)


def measured(config: Config) -> int:
    model = build_segmentor(ConfigDict(config["model"]))
    if (precision := precision_of(config)) != "float32":
        MixedPrecisionHook(precision).before_run(SimpleNamespace(model=model))
    batch, crop = config["data"]["samples_per_gpu"], config["data"]["train"]["pipeline"][3]["crop_size"]
    images, labels = torch.randn(batch, 3, *crop), torch.zeros(batch, 1, *crop, dtype=torch.long)
    with kept_storages(model) as kept:
        losses = model(images, [{}] * batch, gt_semantic_seg=labels)
    assert losses["decode.loss_ce"].requires_grad
    return sum(kept.values())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SETTINGS)
def test_activations_are_reckoned_within_15_percent_of_the_tensors_that_torch_saves(name: str) -> None:
    config = setting(**SETTINGS[name])
    memory = training_memory(config)
    assert memory is not None
    assert memory.activations == pytest.approx(measured(config), rel=0.15)


@pytest.mark.parametrize("arch", ["nano", "small", "medium"])
def test_every_parameter_is_counted(arch: str) -> None:
    config = setting(arch)
    model = build_segmentor(ConfigDict(config["model"]))
    memory = training_memory(config)
    assert memory is not None
    assert memory.weights == STATES * FLOAT * sum(parameter.numel() for parameter in model.parameters())


def test_the_authors_names_need_what_our_names_need() -> None:
    config, named = setting("small", centers=[25] * 4), setting("small")
    named["model"]["backbone"] = {"type": "context_cluster_small_feat5"}
    assert training_memory(named) == training_memory(config)


def test_checkpointing_trades_activations_for_a_block_computed_again() -> None:
    plain, checkpointed = training_memory(setting("medium")), training_memory(setting("medium", with_cp=True))
    assert plain is not None
    assert checkpointed is not None
    assert checkpointed.activations < 0.5 * plain.activations
    assert checkpointed.total < plain.total


def test_a_batch_in_two_parts_needs_what_half_of_it_needs() -> None:
    in_parts = with_own(setting("nano", batch=4), accumulation=2)
    assert training_memory(in_parts) == training_memory(setting("nano", batch=2))


def test_other_models_are_not_reckoned() -> None:
    assert training_memory(configs.read(ROOT / "configs/synthetic.py")) is None


def test_cuda_takes_its_share_and_several_ranks_need_a_copy_of_the_gradients() -> None:
    alone, together = training_memory(setting("small")), training_memory(setting("small"), ranks=2)
    assert alone
    assert together
    assert alone.total == alone.step + RESERVE
    assert together.total - alone.total == alone.weights // STATES
