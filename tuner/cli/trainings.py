"""Commands for one config: the search that it begins, a training, its weights, images."""

import ast
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from tuner import trainings
from tuner.cli.arguments import ONE_CONFIG, SEARCH, Checkpoint, ConfigFile, DataRoot, Pretrained, out
from tuner.errors import BadInput
from tuner.spec.trial import Measurement

commands = typer.Typer()


@commands.command(rich_help_panel=SEARCH)
def init(
    place: Annotated[Path, typer.Argument(help="An mmseg config; with --example, the folder to write.")],
    data_root: DataRoot = None,
    to: Annotated[
        Path | None,
        typer.Option(help="The folder of job.yaml and space.yaml; by default one of the config's name."),
    ] = None,
    pretrained: Pretrained = None,
    example: Annotated[
        str | None,
        typer.Option(help="Copy a shipped job instead, with its space and config: demo, camvid or ade20k."),
    ] = None,
) -> None:
    """Write a job and a space for any mmseg config, with comments, to check, change and run."""
    if example:
        folder, files = place, trainings.example(example, place)
    elif data_root:
        folder = to or Path(place.stem)
        files = trainings.first_job(place, data_root, pretrained, folder)
    else:
        raise BadInput.of("--data-root", "is missing: name the folder of the images")
    for file in files:
        out.print(f"written: {file}", soft_wrap=True, highlight=False)
    out.print(f"next: tuner check {folder / 'job.yaml'}", soft_wrap=True, highlight=False)


@commands.command(rich_help_panel=ONE_CONFIG)
def train(
    context: typer.Context,
    config: ConfigFile,
    data_root: DataRoot = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many processes train: one a GPU, or on the CPU.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The seed; without it the config's own, or 0.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A path of the config with another value, path=value; may be repeated."),
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="The folder of checkpoint and log; under --home by default.")
    ] = None,
    pretrained: Pretrained = None,
) -> None:
    """Train a config to its end; the same command goes on where it was cut off."""
    folder = work_dir or context.obj.home.root / "train" / config.stem
    values, known = _assignments(set_ or []), context.obj.home.annotations
    read = trainings.read_config(config, data_root, values, pretrained, known)
    trainings.train(read, gpus, folder, seed, _tell)
    out.print(f"checkpoint: {folder / 'checkpoint.pth'}", soft_wrap=True)


@commands.command(rich_help_panel=ONE_CONFIG)
def evaluate(
    config: ConfigFile,
    checkpoint: Checkpoint,
    data_root: DataRoot = None,
    split: Annotated[Literal["val", "test"], typer.Option(help="The images that are measured.")] = "val",
) -> None:
    """Measure a checkpoint on the validation images, or on the test images that the config names."""
    table = Table("metric", "%")
    for name, value in trainings.evaluate(config, checkpoint, data_root, split).items():
        table.add_row(name, f"{value:.2f}")
    out.print(table)


@commands.command(rich_help_panel=ONE_CONFIG)
def sweep_centers(
    config: ConfigFile,
    checkpoint: Checkpoint,
    to: Annotated[Path, typer.Option(help="The folder that gets sweep.json and sweep.png.")],
    centers: Annotated[
        str, typer.Option(help="The numbers of centers, squares all of them, with commas between.")
    ] = "4,9,16,25,36,49",
    per_stage: Annotated[
        bool, typer.Option("--per-stage", help="Change one stage at a time; the others keep theirs.")
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Measure a checkpoint at several numbers of centers, which have no parameters."""
    from tuner.tracking.tables import sweep_table

    if not all(each.strip().isdecimal() for each in centers.split(",")):
        raise BadInput.of("--centers", f"must be whole numbers with commas between, got {centers}")
    counts = [int(each) for each in centers.split(",")]
    out.print(sweep_table(trainings.sweep_centers(config, checkpoint, data_root, counts, per_stage, to)))
    out.print(f"as JSON and plot: {to}", soft_wrap=True)


@commands.command(rich_help_panel=ONE_CONFIG)
def toy(
    folder: Annotated[Path, typer.Argument(help="The folder to draw into.")],
    seed: Annotated[int, typer.Option(help="The seed of all that is drawn.")] = 0,
) -> None:
    """Draw a small ADE20K-style data set: 8 classes, train and val."""
    from tuner.training.data.toy import draw

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
    """Returns a Python literal, as in configs; anything else is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
