"""How precisely a training computes: TF32 on GPUs, bf16 and fp16 where they are asked for."""

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.base import base
from tests.conformance.idioms import in_parts
from tuner.models.clustering import cluster
from tuner.models.layers import Block, Cluster, Mlp
from tuner.sizing.precision import with_precision
from tuner.sizing.trial_config import reproducible
from tuner.spec.trial import Config, RankInfo
from tuner.training import launch
from tuner.training.data.seeding import SAMPLE
from tuner.training.engine import Training, segmentor
from tuner.training.precision import LossScalingOptimizerHook, MixedPrecisionHook, use_precision
from tuner.training.train_step import make_runner

RUNGS = (1, 2, 3)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    matrices, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(matrices)
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = convolutions, benchmark


def test_on_a_gpu_matrices_and_convolutions_have_one_precision() -> None:
    use_precision({}, RankInfo(device="cuda:0"))
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_a_cpu_computes_as_ever() -> None:
    use_precision({}, RankInfo())
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.fixture
def tiny(block_images: Path) -> Config:
    """Trains a small ResNet with Semantic FPN for three iterations; its norms do not mind parts of a batch."""
    config = base(block_images)
    in_parts(config)
    return config


def ready(config: Config, precision: str, **optimizer_config: Any) -> Config:
    changed = {**copy.deepcopy(config), "optimizer_config": optimizer_config}
    return reproducible(with_precision(changed, precision), seed=3, ranks=1)


def test_a_step_in_bf16_multiplies_in_bf16_and_keeps_losses_weights_and_gradients_in_float32(
    tiny: Config, tmp_path: Path
) -> None:
    seen: dict[str, torch.dtype] = {}
    config = ready(tiny, "bf16")
    model = segmentor(config, RankInfo())
    runner = make_runner(config, model, RankInfo(), str(tmp_path))
    runner.call_hook("before_run")
    model.decode_head.conv_seg.register_forward_hook(
        lambda *arguments: seen.update(logits=arguments[-1].dtype)
    )
    model.decode_head.loss_decode.register_forward_pre_hook(lambda _, given: seen.update(loss=given[0].dtype))
    runner.model.train()
    image, labels = torch.randn(2, 3, 32, 32), torch.zeros(2, 1, 32, 32, dtype=torch.long)
    metas = [{SAMPLE: number} for number in (0, 1)]
    model(img=image, img_metas=metas, gt_semantic_seg=labels)["decode.loss_ce"].backward()
    assert seen == {"logits": torch.bfloat16, "loss": torch.float32}
    for parameter in model.parameters():
        assert parameter.dtype is torch.float32
        assert parameter.grad is None or parameter.grad.dtype is torch.float32
    model.eval()
    assert model.encode_decode(image, [{"ori_shape": (32, 32)}] * 2).dtype is torch.float32


def test_the_last_rung_counts_in_float32_and_earlier_ones_as_they_are_trained(
    tiny: Config, tmp_path: Path
) -> None:
    config = ready(tiny, "bf16")
    training = Training(config, tmp_path, RankInfo())
    *earlier, last = (training.step(RUNGS).metrics for _ in RUNGS)
    assert not any("bf16" in name for metrics in earlier for name in metrics)
    exact = launch.evaluate_checkpoint(config, tmp_path / "checkpoint.pth")
    assert {name: last[name] for name in exact} == exact
    assert last["val_loss.bf16"] == pytest.approx(last["val_loss"], rel=0.02)
    assert last["val_loss.bf16"] != last["val_loss"]


@pytest.mark.parametrize("parts", [1, 2], ids=["whole", "in parts"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_training_in_less_precision_that_is_taken_up_equals_one_in_one_go(
    tiny: Config, tmp_path: Path, precision: str, parts: int
) -> None:
    config = ready(tiny, precision) | {"tuner": {"accumulation": parts}}
    if precision == "fp16":
        growing = {"init_scale": 1024.0, "growth_interval": 1}
        config["optimizer_config"]["loss_scale"] = growing
    whole = Training(config, tmp_path / "whole", RankInfo())
    measured = [whole.step(RUNGS).metrics for _ in RUNGS]
    Training(config, tmp_path / "cut", RankInfo()).step(RUNGS)
    again = Training(config, tmp_path / "cut", RankInfo())
    assert [again.step(RUNGS).metrics for _ in RUNGS] == measured
    one, other = (
        torch.load(tmp_path / name / "checkpoint.pth", weights_only=True) for name in ("whole", "cut")
    )
    torch.testing.assert_close(one["state_dict"], other["state_dict"], rtol=0, atol=0)
    assert one["meta"]["fp16"] == other["meta"]["fp16"]
    if precision == "fp16":
        assert one["meta"]["fp16"]["loss_scaler"]["scale"] == 1024.0 * 2 ** len(RUNGS)


def test_parts_of_a_scaled_batch_have_the_gradients_of_the_whole(tiny: Config, tmp_path: Path) -> None:
    measured = []
    for parts in (1, 2):
        plain = {"optimizer": {"type": "SGD", "lr": 0.01}}  # AdamW's steps blow up the rounding of sums
        config = ready(tiny, "fp16") | {"tuner": {"accumulation": parts}} | plain
        del config["custom_hooks"][0]  # float32, with the loss scaled all the same
        training = Training(config, tmp_path / str(parts), RankInfo())
        measured.append([training.step(RUNGS).metrics["loss"] for _ in RUNGS])
    assert measured[1] == pytest.approx(measured[0], abs=1e-5)


class Runner:
    """A runner of one weight, whose loss is the weight times a factor."""

    def __init__(self, hook: LossScalingOptimizerHook, meta: dict[str, Any]) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.model.weight)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.125)
        self.meta, self.iter, self.max_iters, self.hook = meta, 0, 4, hook
        hook.before_epoch(self)

    def train(self, factor: float) -> float:
        loss = self.model(torch.ones(1, 1)).sum() * factor
        self.outputs = {"loss": loss, "num_samples": 1}
        self.hook.after_train_iter(self)
        self.iter += 1
        return float(self.model.weight.detach())


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    hook = LossScalingOptimizerHook()
    runner = Runner(hook, {})
    before = hook.scale()
    assert runner.train(factor=float("inf")) == 1
    assert hook.scale() == before / 2
    assert runner.train(factor=2.0) == 1 - 0.125 * 2
    assert hook.scale() == before / 2
    assert runner.meta["fp16"]["loss_scaler"]["scale"] == before / 2
    taken_up = LossScalingOptimizerHook()
    Runner(taken_up, runner.meta)
    assert taken_up.scale() == before / 2


def test_a_fixed_scale_stays() -> None:
    hook = LossScalingOptimizerHook(loss_scale=512.0)
    runner = Runner(hook, {})
    assert runner.train(factor=float("inf")) == 1
    assert hook.scale() == 512


def test_scaled_gradients_of_several_iterations_are_added_up() -> None:
    hook = LossScalingOptimizerHook(cumulative_iters=3)
    runner = Runner(hook, {})
    weights = [runner.train(factor) for factor in (1.0, 2.0, 3.0, 5.0)]
    assert weights == [1, 1, 1 - 0.125 * 2, 1 - 0.125 * 2 - 0.125 * 5]


def gradients(dtype: torch.dtype) -> dict[str, Tensor]:
    """Of a block whose layer scale is the published 1e-5, which fp16 cannot multiply weights by."""
    torch.manual_seed(0)
    block = Block(Cluster(16, 2, 8, 2, 1), Mlp(16, 2), 0.0, 1e-5)
    x = torch.randn(2, 16, 8, 8)
    narrow = dtype is not torch.float32
    with torch.autocast("cpu", dtype, enabled=narrow):
        out = block(x, narrow)
    assert out.dtype is torch.float32
    out.float().mul(torch.randn(out.shape)).sum().mul(2.0**10).backward()
    return {
        name: parameter.grad for name, parameter in block.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_small_layer_scale_survives_less_precision(dtype: torch.dtype) -> None:
    wanted, found = gradients(torch.float32), gradients(dtype)
    assert wanted.keys() == found.keys()
    for name in (
        "mlp.fc1.weight",
        "mlp.fc2.weight",
        "token_mixer.proj.weight",
        "layer_scale_1",
        "layer_scale_2",
    ):
        assert (found[name] - wanted[name]).norm() < 0.15 * wanted[name].norm(), name


def test_similarities_are_computed_in_float32() -> None:
    """In bf16 products, centers that differ by a 500th would be one."""
    seen = []
    points = torch.randn(1, 4, 4, 2, 1, 8)
    multiplied = torch.bmm
    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "bmm", lambda *given: seen.append(multiplied(*given)) or seen[-1])
        cluster(points.bfloat16(), 2, torch.ones(1), torch.zeros(1))
    assert [product.dtype for product in seen] == [torch.float32]


def test_evaluations_between_trainings_are_left_alone() -> None:
    model = nn.Linear(2, 2)
    MixedPrecisionHook("bf16").before_run(SimpleNamespace(model=model))
    x = torch.ones(1, 2)
    assert model(x).dtype is torch.bfloat16
    assert model.eval()(x).dtype is torch.float32
