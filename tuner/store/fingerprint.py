"""Compares the fingerprints of two jobs: equal fingerprints are the same search."""

from collections.abc import Mapping
from typing import Any


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Returns a line for each key that differs; none where both lack a value."""
    before, after = _flat(kept), _flat(wanted)
    return [
        f"{key}: {before.get(key, 'nothing')!r} in the study, {after.get(key, 'nothing')!r} in the job"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping):
        children = node.items()
    elif isinstance(node, list | tuple):
        children = {str(index): child for index, child in enumerate(node)}.items()
    else:
        return {path: node}
    return {k: v for key, child in children for k, v in _flat(child, f"{path}.{key}".strip(".")).items()}
