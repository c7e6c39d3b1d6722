"""Decides how precisely a training computes: TF32 on GPUs, and bf16 or fp16 where its config asks for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from mmcv.runner import HOOKS, Hook
from mmcv.runner.hooks import OptimizerHook
from torch import Tensor, nn

from tuner.spec.trial import Config, RankInfo

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def use_precision(config: Config, rank_info: RankInfo) -> None:
    """Lets a GPU multiply matrices and convolve in TF32: float32 numbers, of which products see 10 bits.

    PyTorch alone does so for convolutions only. Most of Context Cluster's are written here as products of
    matrices, and shall run as the authors' own: so both have the same precision. A CPU computes as ever.
    The config's `cudnn_benchmark` lets cuDNN look for the fastest algorithm, which pays where sizes repeat.
    """
    torch.backends.cudnn.benchmark = bool(config.get("cudnn_benchmark"))
    if rank_info.device != "cpu":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True


def autocast(precision: str, rank_info: RankInfo) -> AbstractContextManager[Any]:
    """Computes in bf16 or fp16 within, where that is safe."""
    return torch.autocast(torch.device(rank_info.device).type, DTYPES[precision])


@HOOKS.register_module(force=True)
class MixedPrecisionHook(Hook):  # type: ignore[misc]
    """Computes the forward passes of a training in bf16 or fp16 by torch's autocast, and its losses in float32.

    Weights, gradients and the optimizer stay in float32. Evaluations are left to who evaluates.
    """

    def __init__(self, precision: str) -> None:
        self._dtype = DTYPES[precision]

    def before_run(self, runner: Any) -> None:
        model = getattr(runner.model, "module", runner.model)
        device = next(model.parameters()).device.type
        model.forward = partial(self._forward, model, model.forward, device)
        for module in model.modules():
            if hasattr(module, "losses"):
                module.losses = partial(_in_float32, module.losses, device)

    def _forward(
        self, model: nn.Module, forward: Callable[..., Any], device: str, *given: Any, **named: Any
    ) -> Any:
        if not model.training:
            return forward(*given, **named)
        with torch.autocast(device, self._dtype):
            return forward(*given, **named)


@HOOKS.register_module(force=True)
class LossScalingOptimizerHook(OptimizerHook):  # type: ignore[misc]
    """Scales the loss, so that small gradients survive fp16; a step whose gradients overflow is skipped.

    loss_scale is 'dynamic', a fixed number, or a dict of GradScaler's arguments. Gradients of cumulative_iters
    iterations are added up. The scale is kept in the runner's meta data, where mmcv's own hook keeps it.
    """

    def __init__(self, loss_scale: Any = "dynamic", cumulative_iters: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._every = cumulative_iters
        self._fixed = float(loss_scale) if isinstance(loss_scale, (int, float)) else None
        self._arguments = dict(loss_scale) if isinstance(loss_scale, dict) else {}
        if self._fixed is not None:
            self._arguments = {"init_scale": self._fixed}
        self.scaler: Any = None

    def before_epoch(self, runner: Any) -> None:
        """Begins with the scale that a checkpoint had; mmcv's runner has read it by now."""
        if self.scaler is not None:
            return
        self.scaler = _scaler(next(runner.model.parameters()).device.type, self._arguments)
        if kept := (runner.meta or {}).get("fp16", {}).get("loss_scaler"):
            self.scaler.load_state_dict(kept)

    def scale(self) -> float:
        """Returns the present scale."""
        return float(self.scaler.get_scale())

    def after_train_iter(self, runner: Any) -> None:
        if runner.iter % self._every == 0:
            runner.optimizer.zero_grad()
        self.scaler.scale(runner.outputs["loss"] / self._parts(runner)).backward()
        done = runner.iter + 1
        if done % self._every and done < runner.max_iters:
            return
        self.scaler.unscale_(runner.optimizer)
        if self.grad_clip is not None:
            norm = self.clip_grads(runner.model.parameters())
            if norm is not None:
                runner.log_buffer.update({"grad_norm": float(norm)}, runner.outputs["num_samples"])
        self.scaler.step(runner.optimizer)
        self.scaler.update(self._fixed)
        if runner.meta is not None:
            runner.meta["fp16"] = {"loss_scaler": self.scaler.state_dict()}

    def _parts(self, runner: Any) -> int:
        """Returns how many iterations the next step adds up; the last step may have fewer."""
        whole = int(runner.max_iters) // self._every * self._every
        return self._every if runner.iter < whole else int(runner.max_iters) - whole


def _in_float32(losses: Callable[..., Any], device: str, *given: Any, **named: Any) -> Any:
    with torch.autocast(device, enabled=False):
        return losses(*_widened(given), **_widened(named))


def _widened(node: Any) -> Any:
    """Returns the same with its bf16 and fp16 tensors in float32."""
    if isinstance(node, Tensor):
        return node.float() if node.dtype in DTYPES.values() else node
    if isinstance(node, dict):
        return {key: _widened(value) for key, value in node.items()}
    if type(node) in (list, tuple):
        return type(node)(_widened(each) for each in node)
    return node


def _scaler(device: str, arguments: Any) -> Any:
    """Returns torch's scaler; before PyTorch 2.3 there was one for CUDA alone."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device, **arguments)
    return torch.cuda.amp.GradScaler(**arguments)
