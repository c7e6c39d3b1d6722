"""Runs the command line; bad input ends with a message and exit code 2, other failures with exit code 1."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tuner.cli import acting, clusters, simulations, studies, trainings
from tuner.cli.arguments import out
from tuner.errors import BadInput, TunerError
from tuner.settings import Settings, check_shown

cli = typer.Typer(
    help="Finds better hyperparameters for Context Cluster + Semantic FPN.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for part in (studies, clusters, acting, trainings, simulations):
    cli.add_typer(part.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"tuner {metadata.version('coc-tuner')}", highlight=False)
        raise typer.Exit


@cli.callback()
def settings(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
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
    source = context.get_parameter_source("storage")
    if storage and source and source.name == "COMMANDLINE":
        check_shown(storage)
    context.obj = Settings.from_environment(home, storage, checkpoints)


def main() -> None:
    try:
        cli(standalone_mode=True)
    except TunerError as error:
        console = Console(stderr=True, markup=False, emoji=False)
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, BadInput) else 1)
