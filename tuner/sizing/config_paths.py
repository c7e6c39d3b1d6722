"""Reads and sets values in a config by dotted paths."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import BadInput, Problem
from tuner.spec.trial import Config


class UnknownPath(KeyError):
    """Says that a dotted path does not lead anywhere in the config."""


def value_at(config: Config, path: str) -> Any:
    """Returns the value at a dotted path. Raises UnknownPath."""
    node: Any = config
    for step in _steps(config, path):
        node = node[step]
    return node


def apply(config: Config, overrides: Mapping[str, Any], source: str) -> Config:
    """Returns a copy of the config with every override set. Raises BadInput for paths that it does not have."""
    result = copy.deepcopy(config)
    problems = []
    for path, value in overrides.items():
        try:
            result = _with_value(result, _steps(result, path), value)
        except UnknownPath:
            problems.append(Problem(source, unknown_path(result, path)))
    if problems:
        raise BadInput(problems)
    return result


def differing(one: Any, other: Any, path: str = "") -> list[str]:
    """Returns the dotted paths at which two configs differ; lists and tuples of the same entries are the same."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = list(dict.fromkeys([*one, *other]))
        missing = object()
        pairs = [(key, one.get(key, missing), other.get(key, missing)) for key in keys]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(one, other, strict=True))]
    else:
        return [] if one == other else [path]
    return [found for key, a, b in pairs for found in differing(a, b, f"{path}.{key}" if path else str(key))]


def unknown_path(config: Config, path: str) -> str:
    """Says where a path leaves the config, and which keys it could have taken there."""
    known = path.split(".")
    node: Any = config
    while known:
        known.pop()
        try:
            node = value_at(config, ".".join(known)) if known else config
        except UnknownPath:
            continue
        break
    keys = range(len(node)) if isinstance(node, list | tuple) else node
    has = ", ".join(map(str, keys)) if isinstance(node, dict | list | tuple) else f"the value {node!r}"
    return f"the config has no {path}: {'.'.join(known) or 'its top level'} has {has}"


def _steps(config: Config, path: str) -> list[Any]:
    """Returns the keys and indices that a dotted path leads through; keys may hold dots. Raises UnknownPath."""
    if (steps := _search(config, path.split("."))) is None:
        raise UnknownPath(path)
    return steps


def _search(node: Any, parts: Sequence[str]) -> list[Any] | None:
    if not parts:
        return []
    if isinstance(node, list | tuple):
        index = int(parts[0]) if parts[0].lstrip("-").isdecimal() else len(node)
        found = _search(node[index], parts[1:]) if -len(node) <= index < len(node) else None
        return None if found is None else [index, *found]
    for length in range(1, len(parts) + 1):
        key = ".".join(parts[:length])
        if isinstance(node, Mapping) and key in node:
            found = _search(node[key], parts[length:])
            if found is not None:
                return [key, *found]
    return None


def _with_value(node: Any, steps: Sequence[Any], value: Any) -> Any:
    """Returns the node with a value at the end of the steps; a tuple stays one."""
    if not steps:
        return value
    step, *others = steps
    changed = _with_value(node[step], others, value)
    if isinstance(node, tuple):
        place = step % len(node)
        return (*node[:place], changed, *node[place + 1 :])
    node[step] = changed
    return node
