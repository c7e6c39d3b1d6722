"""Spells every file name of the tuner, once."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TypeAlias

from tuner.files.reading import text_of
from tuner.files.urls import UrlPath

AnyPath: TypeAlias = Path | UrlPath
CHECKPOINT = re.compile(r"checkpoint(?:\.(\d+))?\.pth")
"""The names of checkpoints; the number is that of the attempt at the study, from the second on."""


def names(folder: AnyPath) -> list[str]:
    """Returns the names in a folder; none where there is no folder."""
    if isinstance(folder, UrlPath):
        return folder.names()
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


@dataclass(frozen=True)
class TrialFolder:
    root: AnyPath

    @property
    def checkpoint(self) -> AnyPath:
        """Returns the newest attempt's checkpoint; of a trial without any, where the first attempt's would be."""
        return next(iter(self.checkpoints()), self.checkpoint_of(1))

    def checkpoint_of(self, attempt: int) -> AnyPath:
        """Returns where an attempt at the study writes, so that an older one that still runs cannot undo its work."""
        return self.root / ("checkpoint.pth" if attempt == 1 else f"checkpoint.{attempt}.pth")

    def checkpoints(self) -> list[AnyPath]:
        """Lists the checkpoints that are there, the newest attempt's first."""
        found = [match for name in names(self.root) if (match := CHECKPOINT.fullmatch(name))]
        return [self.root / each[0] for each in sorted(found, key=lambda each: -int(each[1] or 1))]

    @property
    def config(self) -> AnyPath:
        return self.root / "config.py"

    @property
    def confusion(self) -> AnyPath:
        """Holds the confusion matrices of the last evaluation, of all images and of a fixed subset."""
        return self.root / "confusion.json"

    @property
    def image_index(self) -> AnyPath:
        """Says which validation images are kept as strips, and the classes that occur."""
        return self.root / "images" / "index.json"

    def strip(self, iteration: int, index: int) -> AnyPath:
        """Returns the strip of one validation image at one evaluation: photo, truth and prediction side by side."""
        return self.root / "images" / f"{iteration:07d}_{index}.jpg"

    @property
    def time_lost(self) -> AnyPath:
        """Says how far the trial was trained, and how much of it interruptions have thrown away."""
        return self.root / "time_lost.json"

    @property
    def log(self) -> AnyPath:
        """Returns what mmcv's TextLoggerHook writes of the training; of a trial at a URL, it stays on the node."""
        return self.root / "train.log.json"

    def config_text(self) -> str | None:
        """Returns the trial's config, None before the trial has begun. Raises Unreadable."""
        return text_of(self.config)


@dataclass(frozen=True)
class ExportFolder:
    """Names the files of an export."""

    root: Path

    def name(self, file: Path) -> str:
        """Returns a file's name within the export."""
        return str(file.relative_to(self.root))

    @property
    def config(self) -> Path:
        return self.root / "config.py"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint.pth"

    @property
    def standalone(self) -> Path:
        """Returns the config that needs no tuner."""
        return self.root / "standalone" / "config.py"

    @property
    def module(self) -> Path:
        """Returns the self-contained module next to it."""
        return self.root / "standalone" / "context_cluster.py"

    @property
    def changes(self) -> Path:
        return self.root / "changes.diff"

    @property
    def best(self) -> Path:
        return self.root / "best.json"

    @property
    def provenance(self) -> Path:
        return self.root / "provenance.json"

    @property
    def recorded(self) -> Path:
        """Holds what a verification is held against: confusion matrices, and the images by name and size."""
        return self.root / "verification.json"

    @property
    def card(self) -> Path:
        return self.root / "card.md"

    @property
    def reproduce(self) -> Path:
        return self.root / "reproduce.sh"


@dataclass(frozen=True)
class Home:
    """Names the files in the folder that holds the tuner's state."""

    root: Path
    checkpoints: AnyPath | None = None
    """The folder that holds the trials' folders instead of this one."""

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
    def annotations(self) -> Path:
        """Returns the file that says which annotations were looked at, and what they hold."""
        return self.root / "annotations.json"

    @property
    def cluster(self) -> Path:
        """Returns what `tuner up` started, its logs and its token."""
        return self.root / "cluster"

    def study(self, name: str) -> Path:
        return self.root / "studies" / name

    def ray(self, name: str) -> Path:
        return self.study(name) / "ray"

    def trial(self, study: str, number: int) -> TrialFolder:
        folder = self.checkpoints / study if self.checkpoints else self.study(study)
        return TrialFolder(folder / f"{number:04d}")


def image_cache() -> Path:
    """Returns the node's folder of decoded images, this user's alone: in its temporary folder, TMPDIR."""
    return Path(gettempdir()) / f"tuner-images-{os.getuid()}"
