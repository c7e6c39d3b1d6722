"""Reads and writes the config's entry `tuner`, which holds all that only the tuner reads; mmseg ignores it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any

from tuner.spec.objective import COSTS
from tuner.spec.trial import Config

ENTRY = "tuner"


@dataclass(frozen=True)
class OwnEntry:
    """Holds what a config asks of the tuner alone."""

    accumulation: int = 1
    """The number of parts in which a rank's share of the batch is trained."""
    image_cache: float = 0
    """GiB of decoded images that a node keeps."""
    secondary: str | None = None
    """What is measured in addition to the objective, a name of COSTS."""
    sweep_centers: tuple[int, ...] = ()
    """Numbers of centers at which the weights are measured at the end."""
    strips: Mapping[str, Any] | None = None
    """The validation images whose predictions are kept, `images`, and the strips' `width` in pixels."""


KEYS = tuple(OwnEntry.__dataclass_fields__)


def own_entry(config: Config) -> OwnEntry:
    """Returns the config's entry; its defaults where the config has none."""
    return OwnEntry(**(config.get(ENTRY) or {}))


def with_own(config: Config, **values: Any) -> Config:
    """Returns the config with these values in its entry; what is not asked for is left out."""
    entry = asdict(replace(own_entry(config), **values))
    return {**config, ENTRY: {key: value for key, value in entry.items() if value not in (None, ())}}


def own_problems(config: Config) -> Iterator[str]:
    """Yields what is wrong with the entry."""
    entry = config.get(ENTRY) or {}
    if not isinstance(entry, Mapping):
        yield f"{ENTRY}: must be a dict of {', '.join(KEYS)}, got {entry!r}"
        return
    for key, value in entry.items():
        if key not in KEYS:
            near = "".join(f"is {each} meant? " for each in get_close_matches(str(key), KEYS, 1))
            yield f"{ENTRY}.{key}: unknown key: {near}There are {', '.join(KEYS)}"
        elif not _VALID[key][0](value):
            yield f"{ENTRY}.{key}: must be {_VALID[key][1]}, got {value!r}"


def in_one_entry(config: Config) -> Config:
    """Moves the keys of earlier versions of the tuner, which stood at the top level, into the entry.

    They win over the entry, which then is that of a `_base_`. A helper variable of somebody's own that only has the
    name of one is left alone.
    """
    earlier = {key: config[key] for key in KEYS if key in config and _VALID[key][0](config[key])}
    if not earlier:
        return config
    kept = {key: value for key, value in config.items() if key not in earlier}
    return with_own(kept, **earlier)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_strips(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"images", "width"}


_VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "accumulation": (_is_whole, "a whole number above 0"),
    "image_cache": (lambda value: isinstance(value, int | float) and value >= 0, "GiB, 0 or more"),
    "secondary": (lambda value: value is None or value in tuple(COSTS), f"one of {', '.join(COSTS)}"),
    "sweep_centers": (
        lambda value: isinstance(value, list | tuple) and all(map(_is_whole, value)),
        "a list of whole numbers above 0",
    ),
    "strips": (lambda value: value is None or _are_strips(value), "dict(images=[…], width=…)"),
}
"""Key: whether a value is one of it, and what it must be."""
