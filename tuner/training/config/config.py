"""Reads mmseg configs with mmcv, as plain dicts."""

import ast
import importlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

import mmcv.utils.misc
from mmcv.utils import Config as MmcvConfig
from mmcv.utils import import_modules_from_strings

from tuner.errors import BadInput
from tuner.sizing.custom_imports import imported
from tuner.spec.trial import Config
from tuner.training.config.canonical import canonical

KNOWN = {"imports", "allow_failed_imports"}
"""The keys of custom_imports."""
GENERATED_FROM = ("tuner.models.context_cluster", "tuner.models.layer_decay", "tuner.training.data.data")
"""The modules that register what the self-contained module of an export does."""


def read(path: Path, imports: bool = True) -> Config:
    """Returns the config with its `_base_` files merged, in its canonical spelling. Raises BadInput.

    Modules of its custom_imports may lie next to it, or on PYTHONPATH. Without `imports` they are not imported, nor
    mmseg with them, which takes seconds: what the config says can be read, and nothing of it be built.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        ast.parse(path.read_text())  # mmcv leaves files behind when it finds that out
        config: Config = MmcvConfig.fromfile(str(path), import_custom_modules=False).to_dict()
    except Exception as error:
        raise BadInput.of(str(path), _said(error)) from error
    return canonical(with_imports(config, str(path)) if imports else config, str(path))


def with_imports(config: Config, source: str) -> Config:
    """Imports what custom_imports names, so that mmseg can build it. Raises BadInput.

    Takes the tuner's own modules in place of the self-contained one that it generates for other trainers.
    """
    imports, names = config.get("custom_imports") or {}, imported(config)
    failures = list(_failures(names, bool(imports.get("allow_failed_imports"))))
    failures += [f"custom_imports.{key}: unknown key: remove it" for key in imports.keys() - KNOWN]
    if failures:
        raise BadInput.of(source, *failures)
    if not (generated := [name for name in names if hasattr(sys.modules.get(name), "GENERATED_BY")]):
        return config
    kept = [name for name in names if name not in generated]
    return {**config, "custom_imports": {**imports, "imports": [*kept, *GENERATED_FROM]}}


def _failures(names: Sequence[Any], may_fail: bool) -> Iterator[str]:
    """Imports modules; yields in its own words why one cannot be."""
    for name in names:
        try:
            import_modules_from_strings([name], may_fail)
        except Exception as raised:
            is_bare = type(raised) is ImportError and not str(raised)  # mmcv says no more of them
            error = raised.__context__ if is_bare and raised.__context__ else raised
            if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
                where = "put the module's folder on PYTHONPATH, or the module next to the config"
                yield f"custom_imports: {error}: {where}"
            else:
                yield f"custom_imports: {name}: {type(error).__name__}: {error}{_place(error)}"


def _place(error: BaseException) -> str:
    """Returns the line of the module that raised; a SyntaxError says its own."""
    others = (__file__, mmcv.utils.misc.__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in others and not frame.filename.startswith("<frozen")
    ]
    if isinstance(error, SyntaxError) or not frames:
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"


def _said(error: Exception) -> str:
    return f"is no mmseg config: {error or type(error).__name__}"


def literal(written: str) -> Config:
    """Returns what `text` has written, without running it. Raises ValueError."""
    try:
        assigned = [each for each in ast.parse(written).body if isinstance(each, ast.Assign)]
        names = [each.targets[0] for each in assigned]
        pairs = zip(names, assigned, strict=True)
        return {name.id: ast.literal_eval(each.value) for name, each in pairs if isinstance(name, ast.Name)}
    except SyntaxError as error:
        raise ValueError(f"is no config that the tuner wrote: {error}") from error


def text(config: Config) -> str:
    """Returns one flat Python file, without `_base_`."""
    return "".join(
        f"{key} = {pformat(value, width=100, sort_dicts=False)}\n" for key, value in config.items()
    )
