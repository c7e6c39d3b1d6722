"""Finds which versions and which commit a process runs."""

import hashlib
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("coc-tuner", "torch", "mmcv-full", "mmsegmentation", "ray", "optuna", "mlflow", "numpy")


CHUNK = 2**20


def made_with() -> dict[str, Any]:
    """Returns the versions and the commit that this process runs."""
    versions = {name: _version(name) for name in PACKAGES}
    return {"versions": versions, "git_commit": _git_commit()}


def sha256(file: Path) -> str:
    """Returns a file's hash. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
