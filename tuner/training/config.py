"""mmseg configs, read and written by mmcv itself, as plain dicts."""

from pathlib import Path

import tuner.models  # noqa: F401  (mmseg cannot be imported before it)
from mmcv.utils import Config as MmcvConfig

from tuner.errors import BadInput
from tuner.trial import Config


def read(path: Path) -> Config:
    """The config with its `_base_` files merged. Raises BadInput."""
    try:
        return MmcvConfig.fromfile(str(path))._cfg_dict.to_dict()  # type: ignore[no-any-return]
    except Exception as error:
        raise BadInput.of(str(path), f"is no mmseg config: {error}") from error


def text(config: Config) -> str:
    """One flat Python file, no `_base_`."""
    return MmcvConfig(config).pretty_text  # type: ignore[no-any-return]
