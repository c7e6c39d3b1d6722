"""What the commands have in common: their arguments, and where they write."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

out = Console()

Job = Annotated[Path, typer.Argument(help="A job's YAML.")]
Study = Annotated[str, typer.Argument(help="The study's name, which is its job's.")]
Address = Annotated[
    str | None, typer.Option(help="Of the cluster's Ray dashboard, else RAY_ADDRESS or `tuner up`'s.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Where the pictures lie, instead of the config's or job's place.")
]
ConfigFile = Annotated[Path, typer.Argument(help="An mmseg config.")]
Checkpoint = Annotated[Path, typer.Argument(help="Weights of that config.")]
