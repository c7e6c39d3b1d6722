"""Reads and extends the modules that a config's `custom_imports` names."""

from collections.abc import Iterable

from tuner.spec.trial import Config


def imported(config: Config) -> list[str]:
    """Returns the names of the modules, in their order."""
    names = (config.get("custom_imports") or {}).get("imports") or []
    return [names] if isinstance(names, str) else list(names)


def importing(config: Config, modules: Iterable[str]) -> Config:
    """Returns a config that imports these modules too, after its own."""
    names = imported(config)
    more = [name for name in modules if name not in names]
    return {**config, "custom_imports": {**(config.get("custom_imports") or {}), "imports": [*names, *more]}}
