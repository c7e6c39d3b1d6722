"""Reads all that MLflow has of a study, in a form in which two servers can be compared."""

import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from tuner.tracking.mlflow_artifacts import LOGGED


def projection(uri: str, study: str, study_id: str) -> dict[str, Any]:
    """Returns the experiment's tags, and for each run its name, state, times, params, tags, metrics and artifacts.

    A server's own ids are replaced; the parent's start is left out, as a study is shown before its first trial.
    """
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    runs = client.search_runs(
        [experiment.experiment_id], f"tags.`tuner.study` = '{study_id}'", max_results=5000
    )
    names = {run.info.run_id: run.info.run_name for run in runs}
    names[f"#/experiments/{experiment.experiment_id}/"] = "#/experiments/its own/"
    assert len({*names.values()}) == len(names), "a run is there twice"
    found = {name: _run(client, run, names) for run in runs if (name := run.info.run_name)}
    tags = {name: _named(value, names) for name, value in experiment.tags.items()}
    return {
        "experiment": {k: v for k, v in tags.items() if k.startswith(("mlflow.shared", "mlflow.note"))}
    } | found


def equal_projections(uri: str, other: str, study: str, study_id: str) -> dict[str, Any]:
    """Returns what both servers have of a study; fails at the first difference."""
    found, expected = (projection(each, study, study_id) for each in (uri, other))
    assert found.keys() == expected.keys()
    for name, run in expected.items():
        for what, value in run.items():
            assert found[name][what] == value, (name, what)
    return expected


def _run(client: MlflowClient, run: Run, names: dict[str, str]) -> dict[str, Any]:
    info, tags = run.info, run.data.tags
    own = {"mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"}
    return {
        "status": info.status,
        "times": (info.start_time if "tuner.trial" in tags else None, info.end_time),
        "params": run.data.params,
        "tags": {name: _named(value, names) for name, value in tags.items() if name not in own},
        "metrics": {name: _history(client, info.run_id, name) for name in run.data.metrics},
        "artifacts": _artifacts(client, info.run_id),
    }


def _history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, int, str]]:
    points = client.get_metric_history(run_id, name)
    return sorted((point.step, point.timestamp, repr(point.value)) for point in points)


def _artifacts(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """Returns the contents' hashes by path; an image's path without what `log_image` draws by chance."""
    with TemporaryDirectory() as folder:
        root = Path(client.download_artifacts(run_id, "", folder))
        files = [file for file in root.rglob("*") if file.is_file()]
        found = [
            (_plain(str(file.relative_to(root))), sha256(file.read_bytes()).hexdigest()) for file in files
        ]
    twice = [path for path, count in Counter(path for path, _ in found).items() if count > 1]
    assert not twice, f"files are there twice: {twice}"
    return dict(found)


def _plain(path: str) -> str:
    match = LOGGED.fullmatch(path)
    return "{key} at {step}, {form}".format(**match.groupdict()) if match else path


def _named(text: str, names: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, names)), lambda each: names[each[0]], text)
