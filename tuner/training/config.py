"""mmseg configs, read by mmcv itself, as plain dicts."""

import ast
from pathlib import Path
from pprint import pformat

from mmcv.utils import Config as MmcvConfig

from tuner.errors import BadInput
from tuner.trial import Config


def read(path: Path) -> Config:
    """The config with its `_base_` files merged. Raises BadInput."""
    try:
        ast.parse(path.read_text())  # mmcv leaves files behind when it finds that out
        return MmcvConfig.fromfile(str(path))._cfg_dict.to_dict()  # type: ignore[no-any-return]
    except Exception as error:
        raise BadInput.of(str(path), f"is no mmseg config: {error}") from error


def text(config: Config) -> str:
    """One flat Python file, no `_base_`."""
    return "".join(
        f"{key} = {pformat(value, width=100, sort_dicts=False)}\n" for key, value in config.items()
    )
