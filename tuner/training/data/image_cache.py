"""Images decoded once a node: uncompressed copies in a folder that all ranks and trials of the node share.

mmseg's own transforms go on to load them; only the bytes that they are given take less time to decode.
"""

import hashlib
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import mmcv
import numpy as np
from mmseg.datasets.pipelines import LoadAnnotations, LoadImageFromFile

from tuner.errors import TunerError
from tuner.files.paths import image_cache
from tuner.training.data.data import ShrinkImages, shrunk
from tuner.training.data.datasets import plain_datasets
from tuner.training.data.limited_folder import LimitedFolder

GIB = 2**30
INTERPOLATIONS = {LoadImageFromFile: "area", LoadAnnotations: "nearest"}
"""The loading transforms that can load from copies, as ShrinkImages has them."""

Content: TypeAlias = bytes | mmap.mmap
Decode: TypeAlias = Callable[[Content], Any]


@dataclass(frozen=True)
class ImageCache:
    """Takes the place of mmcv's FileClient in a loading transform.

    A copy is made where it decodes to the very same image, shrunk if the pipeline shrinks it next.
    """

    folder: LimitedFolder
    decode: Decode
    """The transform's own way to make an array of a file's bytes."""
    kind: str
    """Tells transforms apart that decode one file differently."""

    def get(self, file: str) -> Content:
        copy = self._copy(file)
        if kept := self.folder.read(copy):
            return kept
        content = Path(file).read_bytes()
        with suppress(OSError):  # a full disk, or no folder any more
            if not self.folder.is_full() and (plain := self._uncompressed(content)):
                self.folder.keep(copy, plain)
                return plain
        return content

    def _copy(self, file: str) -> str:
        facts = Path(file).stat()
        key = f"{Path(file).absolute()} {facts.st_size} {facts.st_mtime_ns} {self.kind}"
        return hashlib.sha256(key.encode()).hexdigest()

    def _uncompressed(self, content: bytes) -> bytes:
        """Returns nothing where there is no such form: a file that is no image, or one of more than 8 bits."""
        try:
            image = self.decode(content)
            plain = cv2.imencode(".pgm" if image.ndim == 2 else ".bmp", image)[1].tobytes()
            is_same = np.array_equal(self.decode(plain), image)
        except Exception:
            return b""  # mmseg's transform gets the file as it is, and says what is wrong with it
        return plain if is_same else b""


def remember_images(dataset: Any, gibibytes: float) -> None:
    """Makes the transforms of the data sets below load through the node's cache, from local files alone.

    Raises TunerError when the folder is not this user's own.
    """
    if not gibibytes:
        return
    root = image_cache()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise TunerError(f"{root} belongs to somebody else: let TMPDIR name another place for it")
    folder = LimitedFolder(root, int(gibibytes * GIB))
    for plain in plain_datasets(dataset):
        loading = list(takewhile(_loads, plain.pipeline.transforms))
        others = plain.pipeline.transforms[len(loading) :]
        is_shrunk = bool(others) and isinstance(others[0], ShrinkImages)
        for transform in loading:
            _remember(transform, folder, others[0].side if is_shrunk else None)
        for transform in (*others, plain.gt_seg_map_loader):
            _remember(transform, folder)


def _loads(transform: Any) -> bool:
    return type(transform) in INTERPOLATIONS


def _remember(transform: Any, folder: LimitedFolder, side: int | None = None) -> None:
    if not _loads(transform) or transform.file_client_args != {"backend": "disk"}:
        return
    flag, backend = getattr(transform, "color_type", "unchanged"), transform.imdecode_backend
    if getattr(transform, "to_float32", False):
        side = None  # shrinking rounds whole numbers
    interpolation = INTERPOLATIONS[type(transform)]
    decode = partial(_decode, flag=flag, backend=backend, side=side, interpolation=interpolation)
    transform.file_client = ImageCache(folder, decode, f"{flag} {backend} {side}")


def _decode(content: Content, flag: str, backend: str, side: int | None, interpolation: str) -> np.ndarray:
    image = mmcv.imfrombytes(content, flag=flag, backend=backend)
    return shrunk(image, side, interpolation) if side else image
