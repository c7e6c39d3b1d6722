"""The authors' checkpoints: what fits is loaded and reported, what does not is an error."""

import argparse
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tuner.errors import BadInput
from tuner.models.context_cluster import ContextCluster

TINY: dict[str, Any] = {
    "widths": (8, 16, 24, 32),
    "depths": (1, 1, 1, 1),
    "heads": (1, 1, 2, 2),
    "head_dim": 8,
}
Weights = dict[str, Tensor]


def network(checkpoint: object, **init_cfg: Any) -> ContextCluster:
    init_cfg = {"type": "Pretrained", "checkpoint": str(checkpoint), **init_cfg}
    made = ContextCluster(**TINY, init_cfg=init_cfg)
    made.init_weights()
    return made


@pytest.fixture
def weights() -> Weights:
    return {name: torch.randn_like(tensor) for name, tensor in ContextCluster(**TINY).state_dict().items()}


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What mmcv's logger says, which does not propagate once mmcv has set it up, and shows warnings alone."""
    logger = logging.getLogger("mmcv")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "filters", [])
    caplog.set_level(logging.INFO, logger="mmcv")
    return caplog


@pytest.mark.parametrize(
    ("file", "key", "prefix"),
    [
        ("plain.pth", None, ""),
        ("model_best.pth.tar", "state_dict", ""),
        ("checkpoint.pth", "model", ""),
        ("segmentor.pth", "state_dict", "backbone."),
    ],
)
def test_every_form_of_a_checkpoint_is_read(
    tmp_path: Path, weights: Weights, file: str, key: str | None, prefix: str
) -> None:
    content = {prefix + name: tensor for name, tensor in weights.items()}
    torch.save({key: content, "epoch": 3} if key else content, tmp_path / file)
    torch.testing.assert_close(dict(network(tmp_path / file).state_dict()), weights)


def test_an_imagenet_classifiers_head_is_known_and_its_missing_output_norms_start_fresh(
    tmp_path: Path, weights: Weights, messages: pytest.LogCaptureFixture
) -> None:
    classifier = {name: tensor for name, tensor in weights.items() if not name.startswith("norm")}
    classifier |= {
        "norm.weight": torch.ones(32),
        "norm.bias": torch.ones(32),
        "head.weight": torch.ones(1000, 32),
    }
    torch.save({"state_dict": classifier}, tmp_path / "model_best.pth.tar")
    loaded = network(tmp_path / "model_best.pth.tar").state_dict()
    torch.testing.assert_close(loaded["norm6.weight"], torch.ones(32))
    torch.testing.assert_close(loaded["network.0.0.mlp.fc1.weight"], weights["network.0.0.mlp.fc1.weight"])
    assert "80 of 80 tensors matched" in messages.text


def test_the_wrong_models_checkpoint_is_an_error_that_lists_names(tmp_path: Path, weights: Weights) -> None:
    weights["network.0.0.mlp.fc1.weight"] = torch.ones(3, 3)
    weights["stem.weight"] = weights.pop("patch_embed.proj.weight")
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(BadInput) as raised:
        network(tmp_path / "other.pth")
    refused = str(raised.value)
    assert "86 of 88 tensors matched" in refused
    assert "1 not in the checkpoint: patch_embed.proj.weight" in refused
    assert "1 of another shape: network.0.0.mlp.fc1.weight [3, 3] for [64, 8]" in refused
    assert "1 not in the model: stem.weight" in refused


def test_allow_partial_loads_what_fits_and_reports_the_rest(
    tmp_path: Path, weights: Weights, messages: pytest.LogCaptureFixture
) -> None:
    kept = {name: tensor for name, tensor in weights.items() if name.startswith(("network.0", "norm0"))}
    torch.save(kept, tmp_path / "part.pth")
    loaded = network(tmp_path / "part.pth", allow_partial=True).state_dict()
    torch.testing.assert_close({name: loaded[name] for name in kept}, kept)
    [said] = [entry for entry in messages.records if entry.name == "mmcv"]
    assert f"{len(kept)} of 88 tensors matched" in said.message
    assert said.levelno == logging.WARNING


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path, weights: Weights) -> None:
    torch.save({"state_dict": weights, "args": argparse.Namespace(lr=1.0)}, tmp_path / "objects.pth")
    with pytest.raises(BadInput, match="no checkpoint of plain tensors"):
        network(tmp_path / "objects.pth")


def test_a_missing_or_broken_file_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        network(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(BadInput, match="no checkpoint"):
        network(tmp_path / "text.pth")
