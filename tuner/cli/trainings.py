"""Commands for one config: a training, its weights, pictures."""

import ast
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tuner import app
from tuner.cli.words import Checkpoint, ConfigFile, DataRoot, out
from tuner.errors import BadInput
from tuner.trial import Measurement

commands = typer.Typer()


@commands.command()
def train(
    context: typer.Context,
    config: ConfigFile,
    data_root: DataRoot = None,
    gpus: Annotated[int, typer.Option(min=1, help="Processes: one a GPU, or gloo processes on the CPU.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Instead of the config's own, or 0.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value, any number of times.")] = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="For checkpoint and log; under --home by default.")
    ] = None,
) -> None:
    """Train a config to its end; the same command goes on where it was cut off."""
    folder = work_dir or context.obj.home.root / "train" / config.stem
    app.train(config, data_root, gpus, _assignments(set_ or []), folder, seed, _tell)
    out.print(f"checkpoint: {folder / 'checkpoint.pth'}", soft_wrap=True)


@commands.command()
def evaluate(
    config: ConfigFile,
    checkpoint: Checkpoint,
    data_root: DataRoot = None,
) -> None:
    """Measure a checkpoint on the validation pictures."""
    table = Table("metric", "%")
    for name, value in app.evaluate(config, checkpoint, data_root).items():
        table.add_row(name, f"{value:.2f}")
    out.print(table)


@commands.command()
def sweep_centers(
    config: ConfigFile,
    checkpoint: Checkpoint,
    to: Annotated[Path, typer.Option(help="The folder that gets sweep.json and sweep.png.")],
    centers: Annotated[str, typer.Option(help="Squares.")] = "4,9,16,25,36,49",
    per_stage: Annotated[bool, typer.Option("--per-stage", help="One stage after the other.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Measure a checkpoint at several numbers of centers, which have no parameters."""
    from tuner.tracking.terminal import sweep_table

    if not all(each.strip().isdecimal() for each in centers.split(",")):
        raise BadInput.of("--centers", f"must be whole numbers with commas between, got {centers}")
    counts = [int(each) for each in centers.split(",")]
    out.print(sweep_table(app.sweep_centers(config, checkpoint, data_root, counts, per_stage, to)))
    out.print(f"as JSON and plot: {to}", soft_wrap=True)


@commands.command()
def toy(folder: Annotated[Path, typer.Argument(help="The folder to draw into.")], seed: int = 0) -> None:
    """Draw a small ADE20K-style data set: 8 classes, train and val."""
    from tuner.training.toy import draw

    draw(folder, seed=seed)
    out.print(f"drawn: {folder}", soft_wrap=True)


def _tell(measurement: Measurement) -> None:
    values = ", ".join(
        f"{name} {value:.2f}" for name, value in measurement.metrics.items() if "." not in name
    )
    out.print(f"iteration {measurement.iteration}: {values}", highlight=False)


def _assignments(texts: list[str]) -> dict[str, Any]:
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise BadInput.of("--set", *(f"must be path=value, got {text}" for text in wrong))
    return {path: _literal(value) for path, _, value in (text.partition("=") for text in texts)}


def _literal(text: str) -> Any:
    """A Python literal, as in configs; anything else is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
