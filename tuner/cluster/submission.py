"""Sends a job to a cluster with all that a driver there needs but the images."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tuner.cluster import jobs
from tuner.cluster.addresses import cluster_at
from tuner.files.modules import Modules
from tuner.settings import Settings, has_password
from tuner.spec.job import JobSpec
from tuner.spec.yaml_files import write_job


def send(job: JobSpec, config: str, modules: Modules, address: str | None, settings: Settings) -> str:
    """Returns the id of the submission. Raises StillRuns, or TunerError where the cluster does not take it.

    Home, checkpoints, database and MLflow are the sender's, but for addresses with a password in them:
    there the nodes' own TUNER_STORAGE and MLFLOW_TRACKING_URI count, as Ray's dashboard shows what is sent.
    """
    cluster = cluster_at(address, settings)
    places = {
        "TUNER_HOME": str(settings.home.root),
        "TUNER_CHECKPOINTS": str(settings.home.checkpoints or ""),
        "TUNER_STORAGE": settings.storage,
        "MLFLOW_TRACKING_URI": cluster.tracking_uri or settings.tracking_uri,
    }
    environment = {name: place for name, place in places.items() if place and not has_password(place)}
    with TemporaryDirectory() as folder:
        write_job(job, Path(folder), config)
        modules.write(Path(folder))
        return jobs.submit(cluster.jobs_address, job.name, Path(folder), ["run", "job.yaml"], environment)
