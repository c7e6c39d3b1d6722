"""The clustering operator and the evaluation on a GPU, held against those on the CPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.gpu.devices import DEVICE, needs_device
from tests.training.evaluation.test_evaluation import with_a_trained_spread
from tuner.models.clustering import cluster
from tuner.sizing.trial_config import reproducible
from tuner.spec.trial import Config, RankInfo
from tuner.training.engine import segmentor, validation_set
from tuner.training.evaluation.evaluation import evaluate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.xdist_group("gpu"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    needs_device,
]


@pytest.fixture(autouse=True)
def _whole_float32() -> Iterator[None]:
    """Without TF32, so that a GPU's products are as exact as the CPU's."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def forward_and_backward(device: str, dtype: torch.dtype, side: int) -> list[Tensor]:
    """Returns what the points receive and the gradients of points, alpha and beta."""
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(2, 14, 14, 2, 4, 32, generator=draw).to(device, dtype).requires_grad_()
    weights = torch.randn(2, 14, 14, 4, 32, generator=draw).to(device, dtype)
    alpha, beta = (torch.tensor([value], device=device, requires_grad=True) for value in (1.2, -0.3))
    received = cluster(points, side, alpha, beta)
    (received * weights).sum().backward()
    return [received, *(each.grad for each in (points, alpha, beta) if each.grad is not None)]


@pytest.mark.parametrize("side", [2, 7])
@pytest.mark.parametrize(
    ("dtype", "close"),
    [(torch.float32, 1e-4), (torch.bfloat16, 0.1)],  # bf16's centers are rounded: a few points change theirs
    ids=["float32", "bf16"],
)
def test_the_operator_gives_the_cpus_results_and_gradients(
    dtype: torch.dtype, close: float, side: int
) -> None:
    on_device, on_cpu = forward_and_backward(DEVICE, dtype, side), forward_and_backward("cpu", dtype, side)
    assert len(on_device) == len(on_cpu) == 4
    for found, wanted in zip(on_device[:2], on_cpu[:2], strict=True):
        apart = (found.cpu().double() - wanted.double()).norm() / wanted.double().norm()
        assert apart < close
    for found, wanted in zip(on_device[2:], on_cpu[2:], strict=True):
        assert found.item() == pytest.approx(wanted.item(), rel=10 * close, abs=10 * close)


def test_an_evaluation_gives_the_cpus_metrics(config: Config, tmp_path: Path) -> None:
    ready = reproducible(config, seed=3, ranks=1)
    model, dataset = with_a_trained_spread(segmentor(ready, RankInfo())), validation_set(ready)
    wanted = evaluate(model, dataset, ready["data"], RankInfo())
    found = evaluate(model.to(DEVICE), dataset, ready["data"], RankInfo(device=DEVICE))
    assert found.keys() == wanted.keys()
    assert [found[name] for name in wanted] == pytest.approx(list(wanted.values()), abs=0.05)
