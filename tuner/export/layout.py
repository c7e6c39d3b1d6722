"""Writes a standalone config as the Context Cluster authors and PVT lay theirs out."""

import os
from collections.abc import Iterator
from typing import Any

from tuner.errors import BadInput
from tuner.export.standalone import MODULE
from tuner.sizing.config_datasets import leaves
from tuner.spec.trial import Config

WIDTH = 100
FOLDER = '__import__("sys").path.append("{{ fileDirname }}")'
"""mmcv puts the config's own folder in; an import statement would become a key of the config."""


class Name(str):
    """Names a variable of the config."""

    __slots__ = ()


def text(config: Config, heading: str, width: int = WIDTH) -> str:
    """Returns a Python file: the images' folder in one line on top, then pipelines, then what mmseg reads."""
    pipelines: dict[str, Any] = {}
    root = data_root(config)
    data = _with_names(config["data"], "train", root, pipelines)
    lines = [*(f"# {line}" for line in heading.splitlines()), f"data_root = {root!r}"]
    if "custom_imports" in config:
        lines += [FOLDER, f"custom_imports = {expression(config['custom_imports'], width)}"]
    lines.append(f"model = {expression(config['model'], width)}")
    lines += [f"{name} = {expression(pipeline, width)}" for name, pipeline in pipelines.items()]
    lines.append(f"data = {expression(data, width)}")
    written = {"custom_imports", "model", "data"}
    lines += [f"{key} = {expression(value, width)}" for key, value in config.items() if key not in written]
    return "\n".join(lines) + "\n"


def data_root(config: Config) -> str:
    """Returns the folder that the roots of training and validation have in common. Raises BadInput."""
    roots = [
        os.path.normpath(leaf.get("data_root") or ".") for s in ("train", "val") for leaf in leaves(config, s)
    ]
    try:
        return os.path.commonpath(roots) if roots else "."
    except ValueError as error:
        raise BadInput.of("config", "some data sets have an absolute data_root, others not") from error


def expression(value: Any, width: int, indent: int = 0, taken: int = 0) -> str:
    """Returns a Python expression: dict(…) calls, broken where a line would be too long."""
    flat = _flat(value)
    if len(flat) + indent + taken <= width or not isinstance(value, dict | list | tuple) or not value:
        return flat
    inner = indent + 4
    if isinstance(value, dict):
        named = all(_is_name(key) for key in value)
        open_, close = ("dict(", ")") if named else ("{", "}")
        starts = [f"{key}=" if named else f"{key!r}: " for key in value]
        items = [
            start + expression(each, width, inner, len(start) + 1)
            for start, each in zip(starts, value.values(), strict=True)
        ]
    else:
        open_, close = "[]" if isinstance(value, list) else "()"
        items = [expression(each, width, inner, 1) for each in value]
    body = "".join(f"{' ' * inner}{item},\n" for item in items)
    return f"{open_}\n{body}{' ' * indent}{close}"


def _flat(value: Any) -> str:
    match value:
        case Name():
            return str(value)
        case dict() if all(_is_name(key) for key in value):
            return f"dict({', '.join(f'{key}={_flat(each)}' for key, each in value.items())})"
        case dict():
            return f"{{{', '.join(f'{key!r}: {_flat(each)}' for key, each in value.items())}}}"
        case list():
            return f"[{', '.join(map(_flat, value))}]"
        case tuple():
            return f"({', '.join(map(_flat, value))}{',' if len(value) == 1 else ''})"
        case _:
            return repr(value)


def _is_name(key: Any) -> bool:
    return (
        isinstance(key, str)
        and key.isidentifier()
        and key not in ("None", "True", "False", "class", "lambda")
    )


def _with_names(node: Any, split: str, root: str, pipelines: dict[str, Any]) -> Any:
    """Replaces pipelines and roots below a node by the variables that hold them."""
    if isinstance(node, list | tuple):
        return type(node)(_with_names(each, split, root, pipelines) for each in node)
    if not isinstance(node, dict):
        return node
    named = {}
    for key, value in node.items():
        inside = {"train": "train", "val": "test", "test": "test"}.get(key, split)
        named[key] = _with_names(value, inside, root, pipelines)
        if key == "pipeline":
            named[key] = Name(_variable(value, split, pipelines))
        elif key == "data_root" and value is not None:
            named[key] = _below(os.path.normpath(value), root)
    return named


def _variable(pipeline: Any, split: str, pipelines: dict[str, Any]) -> str:
    for name, known in pipelines.items():
        if known == pipeline:
            return name
    name = next(name for name in _variables(split) if name not in pipelines)
    pipelines[name] = pipeline
    return name


def _variables(split: str) -> Iterator[str]:
    yield f"{split}_pipeline"
    number = 1
    while True:
        number += 1
        yield f"{split}_pipeline_{number}"


def _below(folder: str, root: str) -> str:
    if folder == root:
        return Name("data_root")
    inside = root != "." and folder.startswith(f"{root}/")
    return Name(f"data_root + {folder[len(root) :]!r}") if inside else folder


def module_file() -> str:
    """Returns the name of the self-contained module."""
    return f"{MODULE}.py"
