"""Every file name of the tuner, spelled once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TypeAlias
from uuid import uuid4

from tuner.errors import BadInput
from tuner.urls import UrlPath

AnyPath: TypeAlias = Path | UrlPath


@dataclass(frozen=True)
class TrialFolder:
    root: AnyPath

    @property
    def checkpoint(self) -> AnyPath:
        return self.root / "checkpoint.pth"

    @property
    def config(self) -> AnyPath:
        return self.root / "config.py"

    def config_text(self) -> str | None:
        """None before the trial has begun."""
        try:
            return self.config.read_text()
        except FileNotFoundError:
            return None


@dataclass(frozen=True)
class Home:
    """The folder that holds the tuner's state."""

    root: Path
    checkpoints: AnyPath | None = None
    """What holds the trials' folders instead of this one."""

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
        folder = self.checkpoints / study if self.checkpoints else self.study(study)
        return TrialFolder(folder / f"{number:04d}")


def picture_cache() -> Path:
    """The node's folder of decoded pictures, this user's alone: in its temporary folder, TMPDIR."""
    return Path(gettempdir()) / f"tuner-pictures-{os.getuid()}"


@contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """A path to write to that takes the place of `path` when all went well."""
    if isinstance(path, UrlPath):
        with TemporaryDirectory(prefix="tuner-") as folder:
            yield Path(folder) / path.name
            path.put(Path(folder) / path.name)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def check_writable(folder: AnyPath) -> None:
    """Writes and removes a file there, as trials do. Raises BadInput."""
    probe = folder / f".probe-{uuid4().hex}"
    try:
        with replacing(probe) as beside:
            beside.touch()
        probe.unlink()
    except (OSError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput.of(str(folder), f"cannot be written to: {reason}") from error
