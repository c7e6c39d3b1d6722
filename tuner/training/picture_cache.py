"""Pictures decoded once a node: uncompressed copies in a folder that all ranks and trials of the node share.

mmseg's own transforms go on to load them; only the bytes that they are given take less time to decode.
"""

import fcntl
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import mmcv
import numpy as np
from mmseg.datasets.pipelines import LoadAnnotations, LoadImageFromFile

from tuner.errors import TunerError
from tuner.paths import picture_cache, replacing

GIB = 2**30
SIZE = "size"
"""The file with the sum of the copies' bytes; whoever adds a copy holds its lock."""

Content: TypeAlias = bytes | mmap.mmap
Decode: TypeAlias = Callable[[Content], Any]


@dataclass(frozen=True)
class PictureCache:
    """Takes the place of mmcv's FileClient in a loading transform.

    A copy is made where it decodes to the very same picture and the folder has room; nothing is ever removed
    from it, as training reads all pictures equally often.
    """

    folder: Path
    limit: int
    """Bytes, over all processes of the node."""
    decode: Decode
    """The transform's own way to make an array of a file's bytes."""
    kind: str
    """Tells transforms apart that decode one file differently."""

    def get(self, file: str) -> Content:
        copy = self._copy(file)
        with suppress(FileNotFoundError), copy.open("rb") as opened:
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        content = Path(file).read_bytes()
        with suppress(OSError):  # a full disk
            self._keep(copy, content)
        return content

    def _copy(self, file: str) -> Path:
        facts = Path(file).stat()
        key = f"{Path(file).absolute()} {facts.st_size} {facts.st_mtime_ns} {self.kind}"
        return self.folder / hashlib.sha256(key.encode()).hexdigest()

    def _keep(self, copy: Path, content: bytes) -> None:
        plain = self._uncompressed(content)
        with self._locked_size() as size:
            total = int(os.pread(size, 20, 0) or 0) + len(plain)
            if plain and total <= self.limit and not copy.exists():
                with replacing(copy) as beside:
                    beside.write_bytes(plain)
                os.pwrite(size, f"{total:020}".encode(), 0)

    def _uncompressed(self, content: bytes) -> bytes:
        """Empty where there is no such form: a file that is no picture, or one of more than 8 bits."""
        try:
            picture = self.decode(content)
            plain = cv2.imencode(".pgm" if picture.ndim == 2 else ".bmp", picture)[1].tobytes()
            is_same = np.array_equal(self.decode(plain), picture)
        except Exception:
            return b""  # mmseg's transform gets the file as it is, and says what is wrong with it
        return plain if is_same else b""

    @contextmanager
    def _locked_size(self) -> Iterator[int]:
        descriptor = os.open(self.folder / SIZE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def remember_pictures(dataset: Any, gibibytes: float) -> None:
    """Makes an mmseg data set's transforms load through the node's cache, from local files alone.

    Raises TunerError when the folder is not this user's own.
    """
    if not gibibytes:
        return
    folder = picture_cache()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise TunerError(f"{folder} belongs to somebody else: let TMPDIR name another place for it")
    loading = [dataset.gt_seg_map_loader, *dataset.pipeline.transforms]
    for transform in loading:
        is_loader = type(transform) in {LoadImageFromFile, LoadAnnotations}
        if is_loader and transform.file_client_args == {"backend": "disk"}:
            flag, backend = getattr(transform, "color_type", "unchanged"), transform.imdecode_backend
            decode = partial(mmcv.imfrombytes, flag=flag, backend=backend)
            limit = int(gibibytes * GIB)
            transform.file_client = PictureCache(folder, limit, decode, f"{flag} {backend}")
