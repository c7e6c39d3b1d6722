"""Holds what the commands share: their arguments, their groups in the help, and where they print."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tuner.errors import BadInput
from tuner.spec.yaml_text import parse

out = Console(markup=False, emoji=False)

SEARCH, CLUSTER = "Search", "Cluster"
ONE_CONFIG, TRYING_OUT = "One config", "Trying out"
"""The groups of commands in `tuner --help`."""

Job = Annotated[Path, typer.Argument(help="The YAML file of a job.")]
Study = Annotated[str, typer.Argument(help="The name of the study, which is the name of its job.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="The address of the cluster's Ray dashboard, http://host:8265. Without it, RAY_ADDRESS counts, "
        "then the cluster that `tuner up` started."
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="The folder of the images; it replaces the one that the config or job names."),
]
Pretrained = Annotated[
    str | None,
    typer.Option(
        help="The file of weights that the backbone begins with, or none; it replaces the one of the config."
    ),
]
Build = Annotated[
    bool, typer.Option("--build/--no-build", help="Build model, data and optimizer once, as a trial would.")
]
JobValues = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A key of the job with another value, such as budget.trials=20; may be repeated."
    ),
]
ConfigFile = Annotated[Path, typer.Argument(help="An mmseg config.")]
Checkpoint = Annotated[Path, typer.Argument(help="The weights of that config.")]


def job_changes(
    data_root: Path | None, values: list[str] | None, pretrained: str | None = None
) -> dict[str, Any]:
    """Returns the job's keys that the command line sets, by dotted name. Raises BadInput."""
    changes = values_by_key("--set", values or [])
    places = {"data_root": data_root and str(data_root), "pretrained": pretrained}
    return changes | {key: place for key, place in places.items() if place is not None}


def values_by_key(source: str, texts: list[str]) -> dict[str, Any]:
    """Returns the values of key=value, each read as YAML. Raises BadInput."""
    if wrong := [text for text in texts if "=" not in text]:
        raise BadInput.of(source, *(f"must be key=value, got {text}" for text in wrong))
    return {key: _yaml(source, key, value) for key, _, value in (text.partition("=") for text in texts)}


def _yaml(source: str, key: str, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise BadInput.of(source, f"{key}: {text!r} is no YAML value: {error}") from error
