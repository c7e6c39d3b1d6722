"""Writes into a config how precisely it is trained: by hooks that mmseg's own trainer runs too."""

from collections.abc import Iterator, Mapping
from typing import Any

from tuner.sizing.custom_imports import importing
from tuner.spec.trial import Config

FLOAT32, BF16, FP16 = "float32", "bf16", "fp16"
HOOK, SCALING = "MixedPrecisionHook", "LossScalingOptimizerHook"
"""The hook that computes in less than float32, and the optimizer's that scales the loss of fp16."""
MODULE = "tuner.training.precision"
"""The module that registers both."""
PLAIN = ("OptimizerHook", "GradientCumulativeOptimizerHook")
"""The optimizer hooks of mmcv for float32 and bf16."""
MMCVS = ("Fp16OptimizerHook", "GradientCumulativeFp16OptimizerHook")
"""Those for fp16; what they do on a GPU alone, ours do on any device."""
MMCVS_SCALE = 512.0
"""The loss scale of mmcv's hooks, where none is written."""
MEANINGLESS = ("coalesce", "bucket_size_mb", "distributed")
"""The arguments that mmcv's hooks for fp16 take and never read with a PyTorch of these years."""


def precision_of(config: Config) -> str:
    """Returns float32, bf16 or fp16."""
    hooks = config.get("custom_hooks") or []
    return next((str(hook["precision"]) for hook in hooks if hook.get("type") == HOOK), FLOAT32)


def with_precision(config: Config, precision: str, loss_scale: Any = "dynamic") -> Config:
    """Returns the same training in another precision; `loss_scale` is what mmcv's hooks take, for fp16 alone."""
    if precision == precision_of(config):
        return config
    hooks = [hook for hook in config.get("custom_hooks") or [] if hook.get("type") != HOOK]
    own = _plain(config.get("optimizer_config") or {})
    if precision == FP16:
        own = {**own, "type": SCALING, "loss_scale": loss_scale}
    result = {**config, "custom_hooks": hooks, "optimizer_config": own}
    if precision == FLOAT32:
        return result
    result["custom_hooks"] = [*hooks, {"type": HOOK, "precision": precision}]
    return importing(result, [MODULE])


def with_mmcvs_fp16(config: Config) -> Config:
    """Returns a config whose fp16, asked for by one of mmcv's optimizer hooks, is trained by our hooks.

    An empty `fp16` beside the hook only tells mmseg's tools/test.py of it.
    """
    own = config.get("optimizer_config") or {}
    if own.get("type") not in MMCVS:
        return config
    kept = {key: value for key, value in config.items() if key != "fp16" or value}
    return with_precision(kept, FP16, own.get("loss_scale", MMCVS_SCALE))


def fp16_problems(config: Config) -> Iterator[str]:
    """Yields what is wrong with the loss scale of a config's own fp16."""
    scale = (config.get("optimizer_config") or {}).get("loss_scale", "dynamic")
    if scale != "dynamic" and not isinstance(scale, Mapping) and not _is_positive(scale):
        yield f"optimizer_config.loss_scale: must be 'dynamic', a number above 0 or a dict, got {scale!r}"


def unscalable(config: Config) -> Iterator[str]:
    """Yields an optimizer hook that cannot scale the loss, as fp16 needs."""
    kind = (config.get("optimizer_config") or {}).get("type", PLAIN[0])
    if kind not in (*PLAIN, *MMCVS, SCALING):
        yield f"optimizer_config.type: {kind} does not scale the loss, which fp16 needs: take bf16, or {PLAIN[0]}"


def _plain(own: Config) -> Config:
    """Returns the arguments of the optimizer's hook for float32."""
    if own.get("type") not in (*MMCVS, SCALING):
        return own
    kept = {key: value for key, value in own.items() if key not in ("type", "loss_scale", *MEANINGLESS)}
    return {**kept, "type": PLAIN[1]} if "cumulative_iters" in kept else kept


def _is_positive(scale: Any) -> bool:
    return isinstance(scale, int | float) and not isinstance(scale, bool) and scale > 0
