"""Finds the cluster that a command means."""

from dataclasses import dataclass

from tuner.cluster import local
from tuner.errors import TunerError
from tuner.settings import Settings


@dataclass(frozen=True)
class ClusterAddress:
    jobs_address: str
    """The address of Ray's Jobs API: http://host:port."""
    tracking_uri: str | None = None
    """The address of an MLflow server that came with it."""


def cluster_at(address: str | None, settings: Settings) -> ClusterAddress:
    """Returns the cluster of that address, of RAY_ADDRESS, or the one that is up in the home; raises TunerError."""
    named = settings.ray_address or ""
    if wanted := address or (named if named.startswith("http") else None):
        return ClusterAddress(wanted)
    if here := local.running(settings.home):
        local.use(here)
        return ClusterAddress(here.jobs_address, here.tracking_uri)
    raise TunerError(
        "no cluster: start one here with `tuner up`, or name its dashboard, http://host:8265, "
        "by --address or RAY_ADDRESS"
    )
