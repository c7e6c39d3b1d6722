"""Does what the commands for exports do: export a trial, put it into the registry."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tuner.export.asked import Asked
from tuner.export.card import description, served_model
from tuner.export.export import export
from tuner.files.paths import ExportFolder
from tuner.settings import Settings
from tuner.spec.trial import Record


def export_trial(study: str, to: Path, asked: Asked, settings: Settings) -> tuple[Record, Sequence[str]]:
    """Exports the best trial, or the one that is asked for; returns it, and what the verification found."""
    from tuner.store.studies import load_study

    return export(load_study(settings.storage, study), settings.home, to, asked)


def register_model(study: str, asked: Asked, settings: Settings) -> str:
    """Exports a trial and puts it into MLflow's model registry; returns the model's address. Raises TunerError."""
    from tuner.store.studies import load_study
    from tuner.tracking.mlflow import Server
    from tuner.tracking.registry import register

    job = load_study(settings.storage, study).job
    with TemporaryDirectory(prefix="tuner-") as folder:
        exported = ExportFolder(Path(folder) / "export")
        export_trial(study, exported.root, asked, settings)
        server = Server(settings.tracking_uri, settings.home.artifacts)
        words = description(exported.card.read_text())
        return register(server, job, exported.root, served_model(), words)
