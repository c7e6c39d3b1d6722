"""Addresses and secrets: what depends on where the tuner runs, not on the job."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tuner.errors import BadInput
from tuner.files.paths import AnyPath, Home
from tuner.files.urls import UrlPath

SECRETS = {"client_secret", "sig"}
"""Options of a URL."""


@dataclass(frozen=True)
class Settings:
    home: Home
    storage: str
    """The studies' database, as SQLAlchemy spells it: sqlite:///… or postgresql://…"""
    tracking_uri: str
    """MLflow's: sqlite:///… or http://…"""
    ray_address: str | None
    """The address of a Ray cluster; None starts a Ray on this machine and ends it with the study."""

    @classmethod
    def from_environment(cls, home: Path, storage: str | None, checkpoints: str | None = None) -> "Settings":
        """Reads what the environment says besides. Raises BadInput."""
        state = Home(home.resolve(), _folder(checkpoints) if checkpoints else None)
        return cls(
            home=state,
            storage=storage or state.storage,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or state.tracking,
            ray_address=os.environ.get("RAY_ADDRESS") or None,
        )


def has_password(url: str) -> bool:
    """Tells whether a URL holds a password; one that cannot be read may."""
    try:
        return bool(urlsplit(url).password) or "password" in parse_qs(urlsplit(url).query)
    except ValueError:
        return True


def check_shown(storage: str) -> None:
    """Raises BadInput for a database's URL with a password, where `ps` shows it to everybody."""
    if has_password(storage):
        raise BadInput.of(
            "--storage",
            "must hold no password, as `ps` shows it: give the URL in TUNER_STORAGE, or the password in ~/.pgpass",
        )


def _folder(text: str) -> AnyPath:
    """Returns the folder of a path or a URL. Raises BadInput."""
    try:
        address = urlsplit(text)
    except ValueError as error:
        raise BadInput.of("--checkpoints", f"is no URL: {error}") from error
    if address.password or SECRETS & parse_qs(address.query).keys():
        raise BadInput.of(
            "--checkpoints",
            f"{address.scheme}://{address.hostname}: must hold no password, as it is shown in logs: set the "
            "store's own variables on all nodes, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if not address.scheme:
        return Path(text).resolve()
    if "://" not in text:
        raise BadInput.of("--checkpoints", f"must be a folder or a URL, s3://bucket/prefix, got {text}")
    return Path(unquote(address.path)) if address.scheme == "file" else UrlPath(text)
