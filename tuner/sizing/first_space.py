"""Proposes a search space for anybody's config: the hyperparameters that it has, with ranges around its values."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tuner.sizing.config_paths import UnknownPath, value_at
from tuner.spec.architectures import stages
from tuner.spec.space import CENTERS
from tuner.spec.trial import Config

PUBLISHED_CENTERS = (4, 25, 49)
"""The numbers of centers of the published models."""
MOST_DROPPED = 0.3
"""The published rates of drop path and dropout end here."""


class Proposed(NamedTuple):
    """Holds one parameter of a proposed space."""

    name: str
    comment: str
    parameter: Mapping[str, Any]
    """The parameter's keys, as in a space's file."""


def first_space(config: Config) -> list[Proposed]:
    """Returns the parameters that the config has; the config's own values lie within their ranges."""
    return [
        *_rates(config),
        *_head_rates(config),
        *_warmup(config),
        *_dropped(config),
        *_centers(config),
    ]


def _rates(config: Config) -> Iterator[Proposed]:
    rate = _number(config, "optimizer.lr")
    if rate:
        yield Proposed("lr", _own(rate), _log(rate / 10, rate * 30, "optimizer.lr"))
    decay = _number(config, "optimizer.weight_decay")
    if decay:
        high = max(decay, min(decay * 100, 0.3))
        yield Proposed("weight_decay", _own(decay), _log(decay / 100, high, "optimizer.weight_decay"))


def _head_rates(config: Config) -> Iterator[Proposed]:
    """Yields the learning rate of the heads, as a multiple of the backbone's, where the config has one."""
    keys = _found(config, "optimizer.paramwise_cfg.custom_keys") or {}
    for key, rules in keys.items():
        if "head" in key and (rate := rules.get("lr_mult")):
            path = f"optimizer.paramwise_cfg.custom_keys.{key}.lr_mult"
            comment = f"a multiple of the learning rate; {_own(rate)}"
            yield Proposed("head_lr_mult", comment, _log(rate / 10, rate * 3, path))
            return


def _warmup(config: Config) -> Iterator[Proposed]:
    iterations = _number(config, "lr_config.warmup_iters")
    if iterations and _found(config, "lr_config.warmup"):
        high = max(iterations, min(3 * iterations, _found(config, "runner.max_iters") // 4))
        parameter = {"type": "int", "low": max(1, iterations // 10), "high": high, "log": True}
        yield Proposed("warmup_iters", _own(iterations), {**parameter, "sets": "lr_config.warmup_iters"})


def _dropped(config: Config) -> Iterator[Proposed]:
    heads = _found(config, "model.decode_head")
    head = f"model.decode_head.{len(heads) - 1}" if isinstance(heads, list | tuple) else "model.decode_head"
    paths = {"drop_path": "model.backbone.drop_path_rate", "dropout": f"{head}.dropout_ratio"}
    for name, path in paths.items():
        rate = _number(config, path)
        if rate is not None and rate >= 0:  # mmseg's heads take a negative one for none
            high = max(MOST_DROPPED, rate)
            yield Proposed(name, _own(rate), {"type": "float", "low": 0.0, "high": high, "sets": path})


def _centers(config: Config) -> Iterator[Proposed]:
    """Yields the number of centers of all stages, or of each where the config has different ones."""
    backbone = config["model"].get("backbone") or {}
    if not (found := stages(backbone)) or "centers" not in backbone:
        return
    paths = [f"{CENTERS}.{index}" for index in range(len(found))]
    if not isinstance(backbone["centers"], list | tuple):
        paths = [CENTERS]
    own = {stage.centers for stage in found}
    choices = {"type": "choice", "choices": sorted({*PUBLISHED_CENTERS, *own})}
    if len(own) == 1:
        yield Proposed("centers", f"of a region, in all stages; {_own(*own)}", {**choices, "sets": paths})
        return
    for index, (path, stage) in enumerate(zip(paths, found, strict=True), start=1):
        comment = f"of a region in stage {index}; {_own(stage.centers)}"
        yield Proposed(f"centers_{index}", comment, {**choices, "sets": path})


def _own(value: float) -> str:
    return f"the config has {value:g}"


def _log(low: float, high: float, path: str) -> dict[str, Any]:
    return {
        "type": "float",
        "low": float(f"{low:.2g}"),
        "high": float(f"{high:.2g}"),
        "log": True,
        "sets": path,
    }


def _number(config: Config, path: str) -> Any:
    """Returns the number at a path; None where there is none."""
    value = _found(config, path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _found(config: Config, path: str) -> Any:
    try:
        return value_at(config, path)
    except UnknownPath:
        return None
