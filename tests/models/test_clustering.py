"""The clustering operator against the paper's form, and at the edges."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests import clustering_reference
from tuner.models import clustering
from tuner.models.clustering import FORMS, cluster


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


def outcome(
    operator: Callable[..., Tensor], points: Tensor, side: int, alpha: Tensor, beta: Tensor
) -> list[Tensor]:
    """The result and the gradients of a loss that weighs each element differently."""
    result = operator(points, side, alpha, beta)
    weights = torch.cos(torch.arange(result.numel(), dtype=torch.float64)).view_as(result)
    return [result, *torch.autograd.grad((result * weights).sum(), (points, alpha, beta))]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    shape=st.tuples(
        *(st.integers(1, most) for most in (4, 9, 9)), st.just(2), st.integers(1, 3), st.integers(2, 6)
    ),
    side=st.integers(1, 7),
    alpha=st.one_of(st.floats(0.1, 3), st.floats(-3, -0.1), st.just(0.0)),
    beta=st.floats(-2, 2),
    seed=st.integers(0, 2**32),
)
def test_it_agrees_with_the_papers_form_and_its_gradients(
    shape: tuple[int, ...], side: int, alpha: float, beta: float, seed: int
) -> None:
    arguments = drawn(seed, *shape), side, number(alpha), number(beta)
    expected = outcome(clustering_reference.cluster, *arguments)
    torch.testing.assert_close(outcome(cluster, *arguments), expected, rtol=1e-8, atol=1e-12)


@pytest.fixture
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes on the CPU in the form that CUDA takes."""
    monkeypatch.setitem(FORMS, "cpu", FORMS["cuda"])


@pytest.mark.usefixtures("as_on_cuda")
@pytest.mark.parametrize("side", [1, 2, 7])
@pytest.mark.parametrize("alpha", [1.3, -0.7, 0.0])
def test_the_form_for_cuda_agrees_with_the_papers(side: int, alpha: float) -> None:
    arguments = drawn(5, 3, 9, 6, 2, 3, 4), side, number(alpha), number(0.2)
    expected = outcome(clustering_reference.cluster, *arguments)
    torch.testing.assert_close(outcome(cluster, *arguments), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.usefixtures("as_on_cuda")
def test_the_form_for_cuda_takes_the_first_of_equal_centers_and_no_crash_of_no_numbers() -> None:
    directions, features = torch.ones(1, 4, 2, 3), torch.ones(1, 5, 2, 3)
    assert not clustering.most_similar(directions, features)[0].any()
    nearest, product = clustering.most_similar(directions, features * torch.nan)
    assert ((nearest >= 0) & (nearest < 4)).all()
    assert product.isnan().all()


def test_the_form_for_cuda_finds_the_same_starts_without_counting() -> None:
    centers = torch.tensor([0, 0, 2, 2, 2, 5], dtype=torch.int32)
    starts = [form.starts(centers, 7) for form in FORMS.values()]
    assert starts[0].tolist() == starts[1].tolist() == [0, 2, 2, 5, 5, 5, 6]
    assert starts[0].dtype == starts[1].dtype == torch.int32


def test_its_gradients_are_those_of_finite_differences() -> None:
    arguments = drawn(0, 1, 3, 4, 2, 2, 2), number(1.2), number(-0.3)
    assert torch.autograd.gradcheck(lambda points, alpha, beta: cluster(points, 2, alpha, beta), arguments)


def test_float32_is_within_rounding_of_float64() -> None:
    points = drawn(1, 4, 16, 16, 2, 2, 32)
    exact = cluster(points, 7, number(1.0), number(0.0))
    rounded = cluster(points.float(), 7, number(1.0).float(), number(0.0).float())
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4)


def test_of_equal_centers_the_first_gets_the_points() -> None:
    points = torch.ones(1, 4, 4, 2, 1, 3, dtype=torch.float64)
    points[:, :, :, 1] = torch.arange(16.0).view(4, 4, 1, 1)
    all_in_the_first = (points[0, :, :, 1].sum((0, 1)) * 0.5 + points[0, :2, :2, 1].mean((0, 1))) / (
        16 * 0.5 + 1
    )
    result = cluster(points, 2, number(0.0), number(0.0))
    torch.testing.assert_close(result[0], 0.5 * all_in_the_first.expand(4, 4, 1, 3))


def test_features_of_length_zero_are_clustered() -> None:
    points = drawn(2, 1, 4, 4, 2, 1, 3).detach()
    points[:, :, :, 0] = 0
    arguments = points, 2, number(1.0), number(0.4)
    torch.testing.assert_close(cluster(*arguments), clustering_reference.cluster(*arguments))


def test_a_diverged_network_gives_no_numbers_instead_of_a_crash() -> None:
    points = torch.full((1, 4, 4, 2, 2, 3), torch.nan, requires_grad=True)
    result = cluster(points, 3, number(1.0), number(0.0))
    result.sum().backward()
    assert result.isnan().all()


def test_under_autocast_the_cosine_is_computed_in_float32() -> None:
    points = drawn(3, 2, 8, 8, 2, 2, 16).detach().bfloat16().requires_grad_()
    alpha, beta = number(1.0).float(), number(0.0).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = cluster(points, 3, alpha, beta)
    result.sum().backward()
    assert result.dtype == points.grad.dtype == torch.bfloat16
    exact = cluster(points.detach().float(), 3, alpha, beta)
    assert (result.float() - exact).abs().mean() < 0.01


class Largest(TorchDispatchMode):
    """Remembers the most elements that any operation gave back."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("side", [2, 7])
def test_no_tensor_is_larger_than_the_points_times_channels(side: int) -> None:
    points = drawn(4, 2, 16, 16, 2, 4, 32)
    with Largest() as largest:
        cluster(points, side, number(1.0), number(0.0)).sum().backward()
    assert largest.elements == points.numel()
