"""Reads configs of an export as they are written, without what they import."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mmcv.utils import Config as MmcvConfig

from tuner.errors import BadInput
from tuner.spec.trial import Config


def as_dict(file: Path) -> Config:
    """Returns the contents of a config. Raises BadInput where it cannot be read."""
    try:
        config: Config = MmcvConfig.fromfile(str(file), import_custom_modules=False).to_dict()
    except Exception as error:
        raise BadInput.of(str(file), f"is no mmseg config: {error or type(error).__name__}") from error
    return config


def from_text(text: str) -> Config:
    """Returns the contents of a config's text."""
    with TemporaryDirectory(prefix="tuner-") as folder:
        file = Path(folder) / "config.py"
        file.write_text(text)
        return as_dict(file)
