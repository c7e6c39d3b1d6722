"""Paths at URLs, for trial folders in an object store: of pathlib's Path, what they need.

pyarrow opens s3://, gs://, abfs:// and hdfs:// itself; what fsspec has a driver for, as fsspec+SCHEME://.
All that is done with a path raises OSError when the store does not answer or refuses, and BadInput when the
URL is none or its driver is missing.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from tuner.errors import BadInput

CHUNK = 2**20


@dataclass(frozen=True)
class UrlPath:
    root: str
    """The URL with its options, as pyarrow reads them: s3://bucket/prefix?region=eu-west-1."""
    below: tuple[str, ...] = ()

    def __truediv__(self, name: str) -> "UrlPath":
        return UrlPath(self.root, (*self.below, name))

    def __str__(self) -> str:
        root, mark, options = self.root.partition("?")
        return "/".join([root.rstrip("/"), *self.below]) + mark + options

    @property
    def name(self) -> str:
        return self.below[-1]

    def exists(self) -> bool:
        store, key = self._located()
        return bool(store.get_file_info(key).is_file)

    def names(self) -> list[str]:
        """Returns the names of the files below, as of a folder; none where there are none."""
        from pyarrow.fs import FileSelector

        store, key = self._located()
        return [each.base_name for each in store.get_file_info(FileSelector(key, allow_not_found=True))]

    def read_text(self) -> str:
        return self.open("rb").read().decode()

    def open(self, _mode: str) -> BytesIO:
        """Opens the file for reading; all of it comes in one request."""
        store, key = self._located()
        with store.open_input_stream(key) as stream:
            return BytesIO(stream.read())

    def unlink(self, missing_ok: bool = False) -> None:
        store, key = self._located()
        try:
            store.delete_file(key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove(self) -> None:
        """Deletes all files below, as of a folder."""
        store, key = self._located()
        store.delete_dir_contents(key, missing_dir_ok=True)

    def put(self, file: Path) -> None:
        """Copies the file under another name, then renames it; what was there before stands until then."""
        store, key = self._located()
        folder, _, name = key.rpartition("/")
        beside = f"{folder}/.{name}.{uuid4().hex}"
        store.create_dir(folder)
        try:
            with file.open("rb") as source, store.open_output_stream(beside) as target:
                shutil.copyfileobj(source, target, CHUNK)
            store.move(beside, key)
        except BaseException:
            with suppress(OSError):
                store.delete_file(beside)
            raise

    def _located(self) -> tuple[Any, str]:
        """Returns a file system of pyarrow's, and the path in it."""
        store, root = _store(self.root)
        return store, "/".join([root.rstrip("/"), *self.below])


@cache
def _store(root: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem

    try:
        located: tuple[Any, str] = FileSystem.from_uri(root)
    except (ValueError, ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput.of(root.partition("?")[0], f"cannot be opened: {reason}") from error
    return located
