"""Addresses and secrets: what depends on where the tuner runs, not on the job."""

import os
from dataclasses import dataclass
from pathlib import Path

from tuner.paths import Home


@dataclass(frozen=True)
class Settings:
    home: Home
    storage: str
    """The studies' database, as SQLAlchemy spells it: sqlite:///… or postgresql://…"""
    tracking_uri: str
    """MLflow's: sqlite:///… or http://…"""
    ray_address: str | None
    """None starts a Ray of our own and ends it with the study."""

    @classmethod
    def from_environment(cls, home: Path, storage: str | None) -> "Settings":
        state = Home(home.resolve())
        return cls(
            home=state,
            storage=storage or state.storage,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or state.tracking,
            ray_address=os.environ.get("RAY_ADDRESS") or None,
        )
