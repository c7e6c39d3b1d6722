"""Our evaluation against mmseg's own tester: the same metrics, however images are batched and shared."""

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
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import reproducible, with_data_root
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.data.data import loader
from tuner.training.data.toy import draw
from tuner.training.engine import segmentor, validation_set
from tuner.training.evaluation import evaluation, prediction
from tuner.training.evaluation.evaluation import (
    compare_share,
    confusion_matrix,
    cross_entropy,
    evaluate,
    metrics,
    val_loss,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=1, validation=5)
    config = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    return reproducible(with_data_root(config, folder), seed=3, ranks=1)


@pytest.fixture(scope="module")
def trained_a_little(toy: Config) -> nn.Module:
    return with_a_trained_spread(segmentor(toy, RankInfo()))


def with_a_trained_spread(model: Any) -> Any:
    """Logits that differ as a trained model's do: mmseg's softmax rounds some of a fresh one's to ties."""
    nn.init.normal_(model.decode_head.conv_seg.weight, std=1.0)
    return model


def by_mmseg(model: nn.Module, dataset: Any, data: Config) -> dict[str, float]:
    results = single_gpu_test(
        MMDataParallel(model, device_ids=[-1]), loader(dataset, data, batch_size=1), pre_eval=True
    )
    exact = [[area.double() for area in areas] for areas in results]
    found = pre_eval_to_metrics(exact, ["mIoU"])
    per_class = {
        f"{score}.{name.strip()}": 100 * value
        for score in ("IoU", "Acc")
        for name, value in zip(dataset.CLASSES, found[score], strict=True)
        if not np.isnan(value)
    }
    means = {"mIoU": np.nanmean(found["IoU"]), "mAcc": np.nanmean(found["Acc"]), "aAcc": found["aAcc"]}
    return {name: 100 * float(value) for name, value in means.items()} | per_class


@pytest.mark.long
@pytest.mark.images
def test_metrics_of_150_classes_are_those_of_mmsegs_tester(images: Callable[[str], Path]) -> None:
    small = {"data.workers_per_gpu": 0, "data.val.pipeline.1.img_scale": (1024, 256)}
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_small_c4_ade20k_80k.py")
    config = with_data_root(apply(plain, small, "test"), images("ade20k_sample"))
    model, dataset = with_a_trained_spread(segmentor(config, RankInfo())), validation_set(config)
    ours = evaluate(model, dataset, config["data"], RankInfo())
    assert ours.pop("val_loss") > 0
    assert ours == pytest.approx(by_mmseg(model, dataset, config["data"]), abs=1e-6)
    assert len(ours) > 50


def test_images_one_by_one_and_in_batches_have_the_same_metrics(
    toy: Config, trained_a_little: nn.Module
) -> None:
    dataset = validation_set(toy)
    batched = evaluate(trained_a_little, dataset, toy["data"] | {"samples_per_gpu": 3}, RankInfo())
    one_by_one = evaluate(trained_a_little, dataset, toy["data"] | {"samples_per_gpu": 1}, RankInfo())
    assert batched.pop("val_loss") == pytest.approx(one_by_one.pop("val_loss"), rel=1e-6)
    assert batched == pytest.approx(one_by_one, abs=1e-6)


def test_every_image_counts_on_one_rank_alone(toy: Config, trained_a_little: nn.Module) -> None:
    dataset = validation_set(toy)
    shares = [
        compare_share(trained_a_little, dataset, toy["data"], RankInfo(rank, ranks=3)) for rank in range(3)
    ]
    whole, entropy = compare_share(trained_a_little, dataset, toy["data"], RankInfo())
    assert torch.equal(sum(share for share, _ in shares), whole)
    torch.testing.assert_close(sum(share for _, share in shares), entropy)
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
    model, dataset = with_a_trained_spread(segmentor(config, RankInfo())), validation_set(config)
    ours = evaluate(model, dataset, config["data"], RankInfo())
    assert (ours.pop("val_loss", None) is not None) == ("data.val.pipeline.1.transforms.1" in changes)
    assert ours == pytest.approx(by_mmseg(model, dataset, config["data"]), abs=1e-6)


@torch.no_grad()
def plain_val_loss(model: Any, dataset: Any, image_size: tuple[int, int]) -> float:
    """Torch's cross-entropy of all images' logits in one call, with the labels nearest to their centres."""
    all_logits, all_labels = [], []
    model.eval()
    for index in range(len(dataset)):
        logits = model.decode_head(model.extract_feat(dataset[index]["img"][0][None]))[0]
        logits = logits[:, : image_size[0] // 4, : image_size[1] // 4]
        labels = torch.from_numpy(dataset.get_gt_seg_map_by_idx(index).astype(np.int64)) - 1
        rows, columns = (
            ((torch.arange(few) + 0.5) * many / few).long()
            for few, many in zip(logits.shape[1:], labels.shape, strict=True)
        )
        all_logits.append(logits.flatten(1).T)
        all_labels.append(labels[rows][:, columns].flatten())
    return float(nn.functional.cross_entropy(torch.cat(all_logits), torch.cat(all_labels), ignore_index=-1))


def test_the_validation_loss_is_the_cross_entropy_of_all_labelled_pixels(
    toy: Config, trained_a_little: nn.Module
) -> None:
    dataset = validation_set(toy)
    found = evaluate(trained_a_little, dataset, toy["data"], RankInfo())["val_loss"]
    assert found == pytest.approx(plain_val_loss(trained_a_little, dataset, (96, 128)), rel=1e-5)


def test_the_padding_of_a_image_counts_in_no_validation_loss(
    toy: Config, trained_a_little: nn.Module
) -> None:
    config = apply(toy, {"data.val.pipeline.1.transforms.1": {"type": "Pad", "size": (160, 160)}}, "test")
    dataset = validation_set(config)
    found = evaluate(trained_a_little, dataset, config["data"], RankInfo())["val_loss"]
    assert found == pytest.approx(plain_val_loss(trained_a_little, dataset, (96, 128)), rel=1e-5)


def test_pixels_without_a_label_count_in_no_validation_loss() -> None:
    logits = torch.tensor([[[5.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    labels = torch.tensor([[1, 255], [0, 2]], dtype=torch.uint8)
    known = nn.functional.cross_entropy(torch.tensor([[5.0, 0.0], [0.0, 0.0]]), torch.tensor([1, 0]))
    assert val_loss(cross_entropy(logits, labels)) == pytest.approx(known.item())
    assert val_loss(cross_entropy(logits, torch.full_like(labels, 255))) is None


def test_labels_are_the_same_in_the_form_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(9, 8, 8, generator=torch.Generator().manual_seed(0))
    logits[4] = logits[2]
    arguments = logits, ((32, 32), (32, 28), (45, 40)), False
    monkeypatch.setitem(prediction.PLANES_BYTES, "cpu", 2 * 32 * 32 * 4)
    expected = prediction.greatest(*arguments)
    monkeypatch.setattr(prediction, "_take_one_by_one", prediction._take_all)  # noqa: SLF001
    for size in (2, 2**28):
        monkeypatch.setitem(prediction.PLANES_BYTES, "cpu", size)
        assert torch.equal(prediction.greatest(*arguments), expected)
    assert 4 not in expected


def test_cudnn_looks_for_no_fastest_algorithm_while_images_of_many_sizes_pass(
    toy: Config, trained_a_little: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    forward = trained_a_little.extract_feat
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(
        trained_a_little,
        "extract_feat",
        lambda images: found.append(torch.backends.cudnn.benchmark) or forward(images),
    )
    evaluate(trained_a_little, validation_set(toy), toy["data"], RankInfo())
    assert found
    assert not any(found)
    assert torch.backends.cudnn.benchmark


def test_images_of_like_size_share_a_batch_and_none_is_lost() -> None:
    sizes = [(4, 4), (4, 8), (4, 4), (8, 4), (4, 4), (4, 4)]
    samples = [
        ({"img": [torch.zeros(3, *size)]}, torch.tensor(number), 0) for number, size in enumerate(sizes)
    ]
    batches = [[int(truth) for _, truth, _ in batch] for batch in evaluation.of_like_size(samples, 3)]
    assert batches == [[0, 2, 4], [5], [1], [3]]


def test_classes_that_neither_occur_nor_are_predicted_count_in_no_mean() -> None:
    confusion = torch.tensor([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = metrics(confusion, ["sky", "hill ", "road"])
    classes = {"IoU.sky": 75, "IoU.hill": 80, "Acc.sky": 75, "Acc.hill": 100}
    assert found == pytest.approx({"mIoU": (75 + 80) / 2, "mAcc": (75 + 100) / 2, "aAcc": 87.5} | classes)


def test_only_the_ignored_value_counts_nowhere() -> None:
    truth = torch.tensor([[0, 1, 255], [7, 1, 0]])
    predicted = torch.tensor([[0, 0, 1], [1, 1, 0]])
    assert confusion_matrix(truth, predicted, 2, ignored=255).tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert confusion_matrix(truth, predicted, 2, ignored=0).tolist() == [[0, 0, 0], [1, 1, 0], [0, 2, 0]]
