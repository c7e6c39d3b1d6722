"""Every file name of the tuner, spelled once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir


@dataclass(frozen=True)
class TrialFolder:
    root: Path

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint.pth"

    @property
    def config(self) -> Path:
        return self.root / "config.py"


@dataclass(frozen=True)
class Home:
    """The folder that holds the tuner's state."""

    root: Path

    @property
    def storage(self) -> str:
        return f"sqlite:///{self.root / 'studies.db'}"

    @property
    def tracking(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def cluster(self) -> Path:
        """What `tuner up` started, its logs and its token."""
        return self.root / "cluster"

    def study(self, name: str) -> Path:
        return self.root / "studies" / name

    def ray(self, name: str) -> Path:
        return self.study(name) / "ray"

    def trial(self, study: str, number: int) -> TrialFolder:
        return TrialFolder(self.study(study) / f"{number:04d}")


def picture_cache() -> Path:
    """The node's folder of decoded pictures, this user's alone: in its temporary folder, TMPDIR."""
    return Path(gettempdir()) / f"tuner-pictures-{os.getuid()}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
