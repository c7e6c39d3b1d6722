"""Puts an export into MLflow's model registry, as a model that MLflow serves."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tuner.errors import TunerError
from tuner.spec.job import JobSpec
from tuner.tracking.mlflow import AWAY, Server, explained

MODEL = "model"
LONGEST = 5000
"""Characters of a description that the registry keeps."""
REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "mmcv-full>=1.3.13,<1.8",
    "mmsegmentation<1",
    "opencv-python",
)
"""What a model is served with, where its environment is made again."""


def register(server: Server, job: JobSpec, export: Path, code: str, description: str) -> str:
    """Logs the export as a pyfunc model under the study's name; returns its address, models:/NAME/VERSION.

    Raises TunerError where MLflow does not answer.
    """
    name = model_name(job.name)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        client = server.client()
        run = client.create_run(server.experiment(client, job.name), run_name=f"model {name}")
        with TemporaryDirectory(prefix="tuner-") as folder:
            client.log_artifacts(run.info.run_id, _saved(Path(folder), export, code), MODEL)
        client.set_terminated(run.info.run_id)
        if not _exists(client, name):
            client.create_registered_model(name, description=f"The models of study {job.name}.")
        source = f"{run.info.artifact_uri}/{MODEL}"
        version = client.create_model_version(name, source, run.info.run_id, description=_cut(description))
    except AWAY as error:
        raise TunerError(explained(error, server.uri)) from error
    return f"models:/{name}/{version.version}"


def model_name(study: str) -> str:
    """Returns a study's name without what the registry forbids: dots, slashes and colons."""
    return re.sub(r"[./:]", "-", study)


def _saved(folder: Path, export: Path, code: str, requirements: Sequence[str] = REQUIREMENTS) -> str:
    """Writes the model in MLflow's format into a folder, and returns where."""
    import mlflow.pyfunc  # takes seconds, and warns of its own type hints

    source, to = folder / "served_model.py", folder / MODEL
    source.write_text(code)
    mlflow.pyfunc.save_model(
        str(to),
        python_model=str(source),
        artifacts={"export": str(export)},
        pip_requirements=list(requirements),
    )
    return str(to)


def _exists(client: MlflowClient, name: str) -> bool:
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
