"""Our evaluation against mmseg's own tester: the same metrics, however pictures are batched and shared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.parallel import MMDataParallel
from mmseg.apis import single_gpu_test
from mmseg.core import pre_eval_to_metrics
from torch import nn

from tests.conftest import ROOT
from tuner.overrides import apply, reproducible, with_data_root
from tuner.training import config as configs
from tuner.training import evaluation
from tuner.training.data import loader
from tuner.training.engine import segmentor, validation_set
from tuner.training.evaluation import confusion_of_share, evaluate, metrics
from tuner.training.toy import draw
from tuner.trial import Config, Place

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, pictures=1, validation=5)
    config = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    return reproducible(with_data_root(config, folder), seed=3, ranks=1)


@pytest.fixture(scope="module")
def trained_a_little(toy: Config) -> nn.Module:
    return with_a_trained_spread(segmentor(toy, Place()))


def with_a_trained_spread(model: Any) -> Any:
    """Logits that differ as a trained model's do: mmseg's softmax rounds some of a fresh one's to ties."""
    nn.init.normal_(model.decode_head.conv_seg.weight, std=1.0)
    return model


def by_mmseg(model: nn.Module, dataset: Any, data: Config) -> dict[str, float]:
    results = single_gpu_test(
        MMDataParallel(model, device_ids=[-1]), loader(dataset, data, batch_size=1), pre_eval=True
    )
    found = pre_eval_to_metrics(results, ["mIoU"])
    per_class = {
        f"IoU.{name.strip()}": 100 * value
        for name, value in zip(dataset.CLASSES, found["IoU"], strict=True)
        if not np.isnan(value)
    }
    means = {"mIoU": np.nanmean(found["IoU"]), "mAcc": np.nanmean(found["Acc"]), "aAcc": found["aAcc"]}
    return {name: 100 * float(value) for name, value in means.items()} | per_class


@pytest.mark.pictures
def test_metrics_of_150_classes_are_those_of_mmsegs_tester(pictures: Callable[[str], Path]) -> None:
    small = {"data.workers_per_gpu": 0, "data.val.pipeline.1.img_scale": (1024, 256)}
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_small_c4_ade20k_80k.py")
    config = with_data_root(apply(plain, small, "test"), pictures("ade20k_sample"))
    model, dataset = with_a_trained_spread(segmentor(config, Place())), validation_set(config)
    ours = evaluate(model, dataset, config["data"], Place())
    assert ours == pytest.approx(by_mmseg(model, dataset, config["data"]), abs=1e-6)
    assert len(ours) > 50


def test_pictures_one_by_one_and_in_batches_have_the_same_metrics(
    toy: Config, trained_a_little: nn.Module
) -> None:
    dataset = validation_set(toy)
    batched = evaluate(trained_a_little, dataset, toy["data"] | {"samples_per_gpu": 3}, Place())
    one_by_one = evaluate(trained_a_little, dataset, toy["data"] | {"samples_per_gpu": 1}, Place())
    assert batched == pytest.approx(one_by_one, abs=1e-6)


def test_every_picture_counts_on_one_rank_alone(toy: Config, trained_a_little: nn.Module) -> None:
    dataset = validation_set(toy)
    shares = [
        confusion_of_share(trained_a_little, dataset, toy["data"], Place(rank, ranks=3)) for rank in range(3)
    ]
    whole = confusion_of_share(trained_a_little, dataset, toy["data"], Place())
    assert torch.equal(sum(shares), whole)
    counted = sum(int((dataset.get_gt_seg_map_by_idx(index) > 0).sum()) for index in range(len(dataset)))
    assert whole.sum() == counted


@pytest.mark.parametrize(
    "changes",
    [
        {"data.val.pipeline.1.flip": True},
        {"data.val.pipeline.1.img_scale": [(128, 96), (256, 192)]},
        {"model.test_cfg": {"mode": "slide", "crop_size": (64, 64), "stride": (32, 32)}},
        {"data.val.pipeline.1.transforms.0": {"type": "Resize", "keep_ratio": True},
         "data.val.pipeline.1.transforms.1": {"type": "Pad", "size_divisor": 64}},
    ],
    ids=["flip", "scales", "slide", "pad"],
)  # fmt: skip
def test_whatever_test_a_config_asks_for_has_mmsegs_metrics(toy: Config, changes: dict[str, Any]) -> None:
    config = apply(toy, changes, "test")
    model, dataset = with_a_trained_spread(segmentor(config, Place())), validation_set(config)
    ours = evaluate(model, dataset, config["data"], Place())
    assert ours == pytest.approx(by_mmseg(model, dataset, config["data"]), abs=1e-6)


def test_pictures_of_like_size_share_a_batch_and_none_is_lost() -> None:
    sizes = [(4, 4), (4, 8), (4, 4), (8, 4), (4, 4), (4, 4)]
    samples = [({"img": [torch.zeros(3, *size)]}, torch.tensor(number)) for number, size in enumerate(sizes)]
    batches = [[int(truth) for _, truth in batch] for batch in evaluation._of_like_size(samples, 3)]
    assert batches == [[0, 2, 4], [5], [1], [3]]


def test_classes_that_neither_occur_nor_are_predicted_count_in_no_mean() -> None:
    confusion = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    found = metrics(confusion, ["sky", "hill ", "road"])
    assert found == pytest.approx(
        {"mIoU": (75 + 80) / 2, "mAcc": (75 + 100) / 2, "aAcc": 87.5, "IoU.sky": 75, "IoU.hill": 80}
    )
