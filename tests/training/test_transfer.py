"""Batches on their way to a device; `meta` stands in for a GPU, and recorded copies for its pinned memory."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmcv.parallel import DataContainer
from torch import Tensor, nn

from tuner.spec.trial import RankInfo
from tuner.training.data.data import _Collate, loader
from tuner.training.evaluation import evaluation
from tuner.training.evaluation.evaluation import compare_share
from tuner.training.evaluation.prediction import predict
from tuner.training.train_step import TrainStep
from tuner.training.transfer import Batch, to_device

META = torch.device("meta")


def sample(number: int) -> dict[str, object]:
    return {
        "img_metas": DataContainer({"sample": number}, cpu_only=True),
        "img": DataContainer(torch.full((3, 4, 4), float(number)), stack=True),
        "boxes": DataContainer(torch.full((number, 4), float(number))),
        "scales": [torch.ones(2), torch.ones(3)],
    }


def batch() -> Batch:
    return _Collate(2)([sample(1), sample(2)])  # type: ignore[no-any-return]


def test_tensors_of_containers_and_lists_go_to_the_device_and_the_rest_stays() -> None:
    moved = to_device(batch(), META)
    assert moved["img"].device == META
    assert moved["img"].shape == (2, 3, 4, 4)
    assert [(boxes.device, len(boxes)) for boxes in moved["boxes"]] == [(META, 1), (META, 2)]
    assert [scale.device for scale in moved["scales"]] == [META, META]
    assert moved["img_metas"] == [{"sample": 1}, {"sample": 2}]


def test_copies_do_not_make_the_host_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Tensor, "to", lambda _tensor, device, **named: asked.append((device, named)))
    to_device(batch(), torch.device("cuda", 0))
    assert asked == [(torch.device("cuda", 0), {"non_blocking": True})] * 5


def test_loaders_pin_what_is_in_mmcvs_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaders of torch call `pin_memory` of whatever has it, with or without worker processes."""
    pinned = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor.shape) or tensor)
    same = batch().pin_memory()
    assert pinned == [(2, 3, 4, 4), (1, 4), (2, 4), (2, 2), (2, 3)]
    assert torch.equal(same["img"].data[0], batch()["img"].data[0])
    assert same["img_metas"].cpu_only


class Asked(nn.Module):
    """A segmentor that keeps the devices of the images that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[torch.device] = []

    def train_step(self, batch: dict[str, Any], _optimizer: object) -> dict[str, Any]:
        self.devices.append(batch["img"].device)
        return {}

    def forward(self, img: list[Tensor], **_others: Any) -> list[np.ndarray]:
        self.devices += [each.device for each in img]
        return [np.zeros((4, 4))]


def test_a_training_step_and_a_prediction_get_their_images_on_the_device() -> None:
    asked = Asked()
    step = TrainStep(asked, RankInfo(device="meta"), {"data": {"samples_per_gpu": 2}})
    step.train_step(batch(), None)
    image = {"img": [torch.ones(3, 4, 4)], "img_metas": [DataContainer({}, cpu_only=True)]}
    [predicted] = predict(asked, [image], META)
    assert asked.devices == [META, META]
    assert predicted.labels.device == META


class Threads(torch.utils.data.Dataset[Any]):
    """A sample that tells how many threads OpenCV has where it is loaded."""

    CLASSES, ignore_index = ("sky",), 255

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"threads": cv2.getNumThreads()}


def test_opencv_has_one_thread_in_a_loaders_process(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"samples_per_gpu": 1, "workers_per_gpu": 1}
    assert [batch["threads"].tolist() for batch in loader(Threads(), data)] == [[1]]
    used: list[int] = []
    monkeypatch.setattr(evaluation, "_Share", lambda dataset, _indices: dataset)
    monkeypatch.setattr(
        evaluation,
        "of_like_size",
        lambda samples, _most: used.extend(each["threads"] for each in samples) or [],
    )
    compare_share(Asked(), Threads(), data, RankInfo())
    assert used == [1]
