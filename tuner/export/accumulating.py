"""Scales a config to a global batch that is trained in several iterations, by mmcv's own hook."""

from typing import Any

from tuner.sizing.precision import SCALING
from tuner.spec.trial import Config

HOOK = "GradientCumulativeOptimizerHook"
BY_ITERATION = ("warmup_iters", "step", "periods", "restart_iters", "total_steps")
"""What a schedule counts in iterations."""
OF_HOOKS = ("interval", "warm_up", "start", "begin")
"""What other hooks count in iterations."""


def accumulating(config: Config, parts: int) -> Config:
    """Returns a config whose optimizer steps once in `parts` iterations; what counts iterations is scaled."""
    own = dict(config.get("optimizer_config") or {})
    own["cumulative_iters"] = own.get("cumulative_iters", 1) * parts
    own["type"] = SCALING if own.get("type") == SCALING else HOOK  # it adds up as mmcv's does
    scaled = {**config, "optimizer_config": own}
    scaled["runner"] = {**config["runner"], "max_iters": config["runner"]["max_iters"] * parts}
    for key in ("lr_config", "momentum_config"):
        if config.get(key):
            scaled[key] = _schedule(config[key], parts)
    for key in ("checkpoint_config", "evaluation", "log_config"):
        if config.get(key):
            scaled[key] = _times(config[key], OF_HOOKS, parts)
    if config.get("custom_hooks"):
        scaled["custom_hooks"] = [_times(hook, OF_HOOKS, parts) for hook in config["custom_hooks"]]
    return scaled


def _schedule(schedule: Config, parts: int) -> Config:
    """Scales what is counted by iterations; what is counted by epochs stays."""
    counted = [key for key in BY_ITERATION if key == "warmup_iters" or not schedule.get("by_epoch", True)]
    if schedule.get("warmup_by_epoch"):
        counted.remove("warmup_iters")
    return _times(schedule, tuple(counted), parts)


def _times(node: Config, keys: tuple[str, ...], parts: int) -> Config:
    return {key: _multiplied(value, parts) if key in keys else value for key, value in node.items()}


def _multiplied(value: Any, parts: int) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(each * parts for each in value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value * parts if is_count else value
