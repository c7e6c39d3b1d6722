"""The backbone against the authors' code (golden), and what it promises of its own."""

import json
import zlib
from functools import lru_cache
from typing import Any

import pytest
import torch
from mmseg.models.builder import BACKBONES
from torch import Tensor, nn

from tests.conftest import ROOT
from tuner.errors import BadInput, TunerError
from tuner.models import clustering
from tuner.models.context_cluster import ContextCluster

pytestmark = pytest.mark.usefixtures("one_thread")

GOLDEN = json.loads((ROOT / "tests/golden/context_cluster.json").read_text())["models"]
MODELS = list(GOLDEN)
CASES = [(model, case) for model in GOLDEN for case in range(len(GOLDEN[model]["cases"]))]
ROUNDING_NOISE = 1e-12
TINY: dict[str, Any] = {
    "widths": (8, 16, 24, 32),
    "depths": (1, 1, 2, 1),
    "heads": (1, 1, 2, 2),
    "head_dim": 8,
}


def built(model: str) -> ContextCluster:
    if model.startswith("context_cluster"):
        return BACKBONES.build({"type": model})
    given = GOLDEN[model]["arguments"]
    return ContextCluster(
        widths=given["embed_dims"],
        depths=given["layers"],
        heads=given["heads"],
        head_dim=given["head_dim"][0],
        mlp_ratios=given["mlp_ratios"],
        centers=[side * side for side in given["proposal_w"]],
    )


def sibling(model: str) -> str:
    """The model that holds the shapes of a model: the one with 4 centers, where they are the same."""
    return model if isinstance(GOLDEN[model]["state_dict"], dict) else f"{model[:-1]}2"


def shapes(model: str) -> dict[str, list[int]]:
    return GOLDEN[sibling(model)]["state_dict"]


def seeded(name: str, shape: list[int]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@lru_cache
def golden_weights(sibling: str) -> dict[str, Tensor]:
    weights = {name: 0.05 * seeded(name, shape) for name, shape in shapes(sibling).items()}
    ones = {name for name, weight in weights.items() if weight.dim() == 1 and not name.endswith("bias")}
    return {name: weight + 1 if name in ones else weight for name, weight in weights.items()}


def golden_input(case: dict[str, Any]) -> Tensor:
    return seeded("input" + "x".join(map(str, case["input"])), case["input"])


def samples(feature: Tensor) -> Tensor:
    flat = feature.flatten()
    return flat[:: len(flat) // 32][:32]


def total_loss(features: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([feature.square().mean() for feature in features]).sum()


@pytest.mark.parametrize("model", MODELS)
def test_the_tensors_have_the_authors_names_and_shapes(model: str) -> None:
    network = built(model)
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == shapes(model)
    assert sum(parameter.numel() for parameter in network.parameters()) == GOLDEN[model]["parameters"]


@pytest.mark.parametrize(("model", "number"), CASES)
def test_features_and_gradients_are_those_of_the_authors_code(model: str, number: int) -> None:
    case = GOLDEN[model]["cases"][number]
    network = built(model).double()
    network.load_state_dict(golden_weights(sibling(model)))
    with torch.set_grad_enabled("grad_norm" in case):
        features = network(golden_input(case))
        loss = total_loss(features)
    assert loss.item() == pytest.approx(case["loss"], rel=1e-8)
    for feature, known in zip(features, case["features"], strict=True):
        assert list(feature.shape) == known["shape"]
        assert feature.mean().item() == pytest.approx(known["mean"], rel=1e-8)
        assert feature.std().item() == pytest.approx(known["std"], rel=1e-8)
        assert samples(feature).tolist() == pytest.approx(known["samples"], rel=1e-8)
    if "grad_norm" in case:
        loss.backward()
        norms = {name: parameter.grad.norm().item() for name, parameter in network.named_parameters()}
        assert norms == pytest.approx(case["grad_norm"], rel=1e-8, abs=ROUNDING_NOISE)


@pytest.mark.parametrize("model", MODELS)
def test_float32_agrees_to_1e_4_gradients_too(model: str) -> None:
    case = GOLDEN[model]["cases"][0]
    network = built(model)
    network.load_state_dict(golden_weights(sibling(model)))
    features = network(golden_input(case).float())
    loss = total_loss(features)
    assert loss.item() == pytest.approx(case["loss"], rel=1e-4)
    for feature, known in zip(features, case["features"], strict=True):
        assert samples(feature).tolist() == pytest.approx(known["samples"], rel=1e-4, abs=1e-4)
    loss.backward()
    norms = {name: parameter.grad.norm().item() for name, parameter in network.named_parameters()}
    rounding = 1e-5 * max(case["grad_norm"].values())
    assert norms == pytest.approx(case["grad_norm"], rel=1e-4, abs=rounding)


@pytest.mark.parametrize("model", ["context_cluster_small_feat2", "context_cluster_small_feat7"])
def test_bf16_features_agree_to_3e_2_where_points_keep_their_centers(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = golden_input(GOLDEN[model]["cases"][0]).float()
    network = built(model)
    network.load_state_dict(golden_weights(sibling(model)))
    find = clustering.most_similar
    nearest: list[Tensor] = []

    def remember(directions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        found, product = find(directions, features)
        nearest.append(found)
        return found, product

    def replicate(directions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        found = nearest.pop(0)
        own = directions.gather(1, found.long().unsqueeze(-1).expand_as(features))
        return found, (own * features).sum(-1)

    def agree(feature: Tensor, exact: Tensor) -> bool:
        return bool((feature.float() - exact).norm() < 3e-2 * exact.norm())

    with torch.no_grad():
        monkeypatch.setattr(clustering, "most_similar", remember)
        exact = network(image)
        nearest *= 2
        monkeypatch.setattr(clustering, "most_similar", replicate)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = network(image)
        in_bf16 = network.bfloat16()(image.bfloat16())
    assert all(map(agree, under_autocast, exact))
    assert all(map(agree, in_bf16, exact))


def test_weights_fit_any_number_of_centers() -> None:
    weights = ContextCluster(**TINY, centers=4).state_dict()
    ContextCluster(**TINY, centers=[4, 9, 25, 49]).load_state_dict(weights, strict=True)


def test_centers_that_are_no_square_are_refused_with_the_nearest_squares() -> None:
    with pytest.raises(TunerError, match=r"got 20: the nearest are 16 and 25"):
        BACKBONES.build({"type": "ContextCluster", "centers": [4, 4, 20, 4]})


def test_a_list_that_is_not_one_entry_a_stage_is_refused() -> None:
    with pytest.raises(TunerError, match=r"centers must have 4 entries"):
        ContextCluster(centers=[4, 4])
    with pytest.raises(TunerError, match=r"depths must have 4 entries"):
        ContextCluster(depths=[1, 1, 1])
    with pytest.raises(TunerError, match=r"arch must be one of nano, small, medium, got large"):
        ContextCluster(arch="large")


def test_images_that_the_folds_do_not_divide_are_refused_with_the_nearest_sizes() -> None:
    with pytest.raises(BadInput, match=r"100x128(.|\n)*multiples of 32(.|\n)*96x128 or 128x128"):
        ContextCluster(**TINY)(torch.zeros(1, 3, 100, 128))


@pytest.mark.parametrize("model", [model for model in MODELS if model.startswith("context")])
def test_the_authors_names_take_further_arguments(model: str) -> None:
    network = BACKBONES.build({"type": model, "style": "pytorch", "depths": [1, 1, 1, 1], "centers": 9})
    assert {layer.side for layer in network.modules() if hasattr(layer, "side")} == {3}
    assert len(network.network[4]) == 1


def test_recomputing_activations_changes_no_gradient() -> None:
    gradients = []
    for with_cp in (False, [True, False, True, True]):
        torch.manual_seed(0)
        network = ContextCluster(**TINY, drop_path_rate=0.3, layer_scale=0.5, with_cp=with_cp)
        total_loss(network(torch.randn(2, 3, 64, 96))).backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)


def test_drop_path_rates_rise_linearly_over_all_blocks() -> None:
    network = ContextCluster(**TINY, drop_path_rate=0.2)
    rates = [layer.rate for layer in network.modules() if type(layer).__name__ == "DropPath"]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_drop_path_drops_whole_images_in_training_only_and_follows_the_seed() -> None:
    network = ContextCluster(**TINY, drop_path_rate=0.9, layer_scale=1.0)
    image = torch.randn(1, 3, 64, 64).expand(8, -1, -1, -1)
    torch.manual_seed(1)
    first = network(image)[3]
    torch.manual_seed(1)
    torch.testing.assert_close(network(image)[3], first)
    assert not torch.allclose(first, first[:1].expand_as(first))
    same = network.eval()(image)[3]
    torch.testing.assert_close(same, same[:1].expand_as(same))


def test_linear_layers_start_as_the_authors_do() -> None:
    linears = [layer for layer in ContextCluster("nano").modules() if isinstance(layer, nn.Linear)]
    assert all(layer.weight.std().item() == pytest.approx(0.02, rel=0.1) for layer in linears)
    assert not any(layer.bias.any() for layer in linears)


def test_it_runs_under_autocast() -> None:
    network = ContextCluster(**TINY)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = total_loss(network(torch.randn(1, 3, 64, 64)))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
