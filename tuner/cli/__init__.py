"""The command line. Bad input ends with a message and exit code 2, other troubles with exit code 1."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tuner.cli import clusters, rehearsals, studies, trainings
from tuner.errors import BadInput, TunerError
from tuner.settings import Settings

cli = typer.Typer(
    help="Finds better hyperparameters for Context Cluster + Semantic FPN.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (studies, clusters, trainings, rehearsals):
    cli.add_typer(part.commands)


@cli.callback()
def settings(
    context: typer.Context,
    home: Annotated[Path, typer.Option(envvar="TUNER_HOME", help="The folder that holds all state.")] = Path(
        "runs"
    ),
    storage: Annotated[
        str | None,
        typer.Option(envvar="TUNER_STORAGE", help="The studies' database: sqlite:///… or postgresql://…"),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            envvar="TUNER_CHECKPOINTS",
            help="What holds the trials' folders instead of --home: another folder, or s3://bucket/prefix, "
            "gs://…, abfs://…, hdfs://…",
        ),
    ] = None,
) -> None:
    context.obj = Settings.from_environment(home, storage, checkpoints)


def main() -> None:
    try:
        cli(standalone_mode=True)
    except TunerError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, BadInput) else 1)
