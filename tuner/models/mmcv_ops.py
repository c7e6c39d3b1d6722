"""Lets mmseg be imported without mmcv's compiled operators; only a call of an operator fails.

`import mmseg.models` imports mmcv.ops, which asks mmcv._ext for some eighty functions. Semantic FPN and
Context Cluster call none of them.
"""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

from tuner.errors import TunerError

EXTENSION = "mmcv._ext"


class MissingOperator(TunerError):
    pass


class _StandIn(ModuleType):
    """Has a function for every name: mmcv checks the names it needs with hasattr at import."""

    def __init__(self) -> None:
        super().__init__(EXTENSION)
        self.__spec__ = ModuleSpec(EXTENSION, loader=None)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> NoReturn:
            raise MissingOperator(
                f"mmcv operator {name}: mmcv-full was installed without compiled operators; "
                "run `make ops` to compile them (about 11 minutes)"
            )

        return missing


def stand_in_for_missing_operators() -> None:
    """Stands in for missing operators; it must run before mmcv.ops is imported. Installed operators are used."""
    if EXTENSION not in sys.modules and not _are_compiled():
        sys.modules[EXTENSION] = _StandIn()


def _are_compiled() -> bool:
    """Looks for the operators without importing mmcv, which takes seconds."""
    package, _, module = EXTENSION.partition(".")
    mmcv = find_spec(package)
    return mmcv is not None and PathFinder.find_spec(module, mmcv.submodule_search_locations) is not None
