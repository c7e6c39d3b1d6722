"""Packs the user's own modules that a config imports, so that they come along wherever it is trained."""

import ast
import base64
import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from tuner.errors import BadInput, TunerError

MOST = 20 * 2**20
"""The bytes that are sent and kept with a study."""
CACHES = "__pycache__"
NOT_OWN = {"tuner", *sys.stdlib_module_names}
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Modules:
    """Holds modules and packages as files, by their paths below a folder from which they can be imported."""

    files: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """Returns the SHA-256 of all paths and contents."""
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(f"{path} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def kept(self) -> dict[str, Any]:
        """Returns the form in which a study keeps them."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in sorted(self.files.items()):
                archive.writestr(zipfile.ZipInfo(path, EPOCH), content, zipfile.ZIP_DEFLATED)
        return {"hash": self.hash, "zip": base64.b64encode(packed.getvalue()).decode()}

    def write(self, folder: Path) -> None:
        """Writes them into a folder. Raises BadInput where another file has the place of one."""
        taken = [path for path in self.files if (folder / path).exists()]
        if taken:
            raise BadInput.of(
                "custom_imports",
                *(f"{path} has the name of a file that lies beside it: rename it" for path in taken),
            )
        for path, content in self.files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def make_importable(self) -> None:
        """Writes them once a node, into its temporary folder, and lets this process import them from there.

        Raises TunerError when that folder is not this user's own.
        """
        if not self.files:
            return
        root = Path(gettempdir()) / f"tuner-modules-{os.getuid()}"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.stat().st_uid != os.getuid():
            raise TunerError(f"{root} belongs to somebody else: let TMPDIR name another place for it")
        folder = root / self.hash
        if not folder.is_dir():
            with TemporaryDirectory(dir=root) as beside:
                self.write(Path(beside) / "whole")
                try:
                    (Path(beside) / "whole").rename(folder)
                except OSError:
                    if not folder.is_dir():  # else another rank of this node was faster
                        raise
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def from_kept(kept: Mapping[str, Any] | None) -> Modules:
    """Returns the modules that a study keeps; it may keep none."""
    if not kept:
        return Modules()
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(kept["zip"]))) as archive:
        return Modules({name: archive.read(name) for name in archive.namelist()})


def own_modules(names: Iterable[str], beside: Path) -> Modules:
    """Packs the modules of those names, and what they import, that lie in the folder `beside` or on PYTHONPATH.

    Of a package all files are taken. What is installed stays away: nodes have it. Raises BadInput where it is too much.
    """
    folders = {folder.resolve() for folder in (beside, *_named_folders())}
    files: dict[str, bytes] = {}
    waiting, seen = [name.partition(".")[0] for name in names], set(NOT_OWN)
    while waiting:
        if (top := waiting.pop()) in seen:
            continue
        seen.add(top)
        for place, file in _found(top, beside, folders):
            if sum(map(len, files.values())) + file.stat().st_size > MOST:
                raise BadInput.of("custom_imports", _too_much(top))
            files[place] = file.read_bytes()
            if file.suffix == ".py":
                waiting += _imports(files[place])
    return Modules(files)


def _named_folders() -> Iterator[Path]:
    """Yields the folders that the user has named to Python: PYTHONPATH, and the current one where it counts."""
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    yield from map(Path, named)
    if "" in sys.path or str(Path.cwd()) in sys.path:
        yield Path.cwd()


def _found(top: str, beside: Path, folders: set[Path]) -> Iterator[tuple[str, Path]]:
    """Yields path and file of a module, or of all files of a package, if Python would take it from these folders."""
    spec = PathFinder.find_spec(top, [*sys.path, str(beside)])
    if spec is None:
        return
    places = list(spec.submodule_search_locations or [spec.origin or ""])
    place = Path(places[0]).resolve()
    if place.parent not in folders:
        return
    for file in [place] if place.is_file() else sorted(place.rglob("*")):
        path = file.relative_to(place.parent)
        if file.is_file() and not any(part == CACHES or part.startswith(".") for part in path.parts):
            yield path.as_posix(), file


def _imports(source: bytes) -> Iterator[str]:
    """Yields the first parts of the names that a source imports; of one that is no Python, nothing."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _too_much(top: str) -> str:
    return (
        f"{top} and what is imported with it take more than the {MOST // 2**20} MiB that are sent to the ranks: "
        "install them on every node (pip install FOLDER) instead of having them next to the config or on PYTHONPATH, "
        "or move what is no code out of their folders"
    )
