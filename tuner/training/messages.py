"""Turns errors of mmcv and mmseg into messages for a person."""

import re
from difflib import get_close_matches

from tuner.errors import TunerError

UNKNOWN = re.compile(r"'?(\w+) is not in the (\w+)(?: \w+)? registry")
SHOWN = 3
"""The number of near names."""


def said(error: Exception) -> str:
    """Returns an error's message; of a name that no module has registered, with the nearest names."""
    if isinstance(error, TunerError):
        return str(error)
    text = str(error).strip("'\"") or type(error).__name__
    if unknown := UNKNOWN.search(text):
        name = unknown[1]
        near = get_close_matches(name, sorted(_registered()), SHOWN)
        meant = f"the nearest are {', '.join(near)}; " if near else ""
        return f"{name} is not registered: {meant}which module registers it? Name it in custom_imports"
    return f"{type(error).__name__}: {text.splitlines()[0]}"


def _registered() -> set[str]:
    from mmcv.runner import HOOKS
    from mmcv.runner.optimizer import OPTIMIZER_BUILDERS, OPTIMIZERS
    from mmseg.core.builder import OPTIMIZER_BUILDERS as MMSEG_OPTIMIZER_BUILDERS
    from mmseg.datasets import DATASETS, PIPELINES
    from mmseg.models.builder import MODELS

    registries = (
        MODELS,
        DATASETS,
        PIPELINES,
        HOOKS,
        OPTIMIZERS,
        OPTIMIZER_BUILDERS,
        MMSEG_OPTIMIZER_BUILDERS,
    )
    return {name for registry in registries for name in registry.module_dict}
