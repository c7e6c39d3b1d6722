"""Files that appear whole or not at all, on disks and in object stores."""

import json
import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from uuid import uuid4

from tuner.errors import BadInput
from tuner.files.paths import AnyPath
from tuner.files.urls import UrlPath


@contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """Returns a path to write to that takes the place of `path` when all went well."""
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


def write_json(path: AnyPath, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_text(path: AnyPath, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text)


def remove_folder(folder: AnyPath) -> None:
    """Removes a folder with all that is in it, where there is one."""
    if isinstance(folder, UrlPath):
        folder.remove()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def folder_here(folder: AnyPath, owner: object) -> str:
    """Returns a folder on this node for logs and the like: the folder itself where it is on a disk.

    In place of one at a URL it is a temporary folder that goes with its owner.
    """
    if isinstance(folder, Path):
        return str(folder)
    here = mkdtemp(prefix="tuner-")
    weakref.finalize(owner, shutil.rmtree, here, ignore_errors=True)
    return here
