"""The command line. Bad input ends with a message and exit code 2, other troubles with exit code 1."""

import ast
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tuner import app, rehearsal
from tuner.errors import BadInput, TunerError
from tuner.race import best, judged
from tuner.settings import Settings
from tuner.trial import Measurement

cli = typer.Typer(
    help="Finds better hyperparameters for Context Cluster + Semantic FPN.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()

Study = Annotated[str, typer.Argument(help="The study's name, which is its job's.")]
Address = Annotated[
    str | None, typer.Option(help="Of the cluster's Ray dashboard, else RAY_ADDRESS or `tuner up`'s.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Where the pictures lie, instead of the config's or job's place.")
]


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
) -> None:
    context.obj = Settings.from_environment(home, storage)


@cli.command()
def plan(
    context: typer.Context,
    job: Annotated[Path, typer.Argument(help="A job's YAML.")],
    data_root: DataRoot = None,
) -> None:
    """Show what a job would do: trials, rungs, ranks, and the memory that a GPU needs. Nothing is started."""
    from tuner.tracking.terminal import plan_table

    out.print(plan_table(app.plan(job, data_root)))


@cli.command()
def check(
    context: typer.Context,
    job: Annotated[Path, typer.Argument(help="A job's YAML.")],
    data_root: DataRoot = None,
) -> None:
    """Look for everything that is wrong with a job, its space, config and pictures. Nothing is started."""
    for note in app.check_file(job, data_root, context.obj):
        out.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    out.print("ok")


@cli.command()
def run(
    context: typer.Context,
    job: Annotated[Path, typer.Argument(help="A job's YAML.")],
    data_root: DataRoot = None,
) -> None:
    """Search what a job asks for; the same command takes up a study that was cut off."""
    spec, records = app.run(job, data_root, context.obj)
    from tuner.tracking.terminal import status_table, verdict_text

    out.print(status_table(spec, records))
    out.print(verdict_text(spec, records), highlight=False)
    out.print(f"leaderboard: tuner dashboard {spec.name}\nbest config: tuner export {spec.name} --to DIR")


@cli.command()
def status(
    context: typer.Context,
    study: Annotated[str | None, typer.Argument(help="One study; without it, the names of all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the trials of a study, their outcomes and the best so far."""
    from tuner.tracking.terminal import progress, status_table, verdict_text

    names = [study] if study else app.known_studies(context.obj)
    shown = [app.show(name, context.obj) for name in names]
    if as_json:
        found = [_summary(*each) for each in shown]
        out.print_json(data=found[0] if study else found, default=str)
        return
    for job, records in shown:
        out.print(f"study {job.name}: {progress(job, records)}")
        out.print(status_table(job, records))
        out.print(verdict_text(job, records), highlight=False)


@cli.command()
def export(
    context: typer.Context,
    study: Study,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Write the best trial's flat config, its checkpoint and best.json."""
    record = app.export_best(study, to, context.obj)
    out.print(f"trial {record.trial.number}: {to / 'config.py'}", soft_wrap=True)


@cli.command()
def record(
    context: typer.Context,
    job: Annotated[Path, typer.Argument(help="A job's YAML.")],
    to: Annotated[Path, typer.Option(help="The file that gets a JSON line a training; continued if there.")],
    data_root: DataRoot = None,
    configs: Annotated[
        int, typer.Option(min=1, help="Drawings from the job's space, default included.")
    ] = 48,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 2,
) -> None:
    """Train random drawings from a job's space to the end and keep their curves, for simulations."""
    for recorded in rehearsal.record(job, data_root, to, configs, seeds, context.obj):
        ending = f"{recorded.value('mIoU'):.2f}" if recorded.last else recorded.outcome
        out.print(f"{dict(recorded.trial.params)}, seed {recorded.trial.seed}: {ending}", soft_wrap=True)


@cli.command()
def simulate(
    job: Annotated[Path, typer.Argument(help="A job's YAML.")],
    curves: Annotated[Path, typer.Option(help="What `tuner record` wrote.")],
    gpus: Annotated[int, typer.Option(min=1)] = 64,
    near: Annotated[float, typer.Option(min=0, help="How near to the best known is near.")] = 0.5,
) -> None:
    """Run a job's search in virtual time over recorded curves; nothing is trained or kept."""
    found = rehearsal.simulate(job, curves, gpus, near)
    metric = found.job.objective.metric
    outcomes = Counter(record.outcome.value for record in found.records if record.outcome)
    table = Table("", found.job.name, box=None)
    table.add_row("trials", ", ".join(f"{count} {name}" for name, count in outcomes.items()))
    table.add_row(f"hours on {gpus} GPUs", f"{found.hours:.3g}")
    table.add_row("GPU-hours", f"{found.gpu_hours:.3g}")
    reached = "never" if found.to_near_best is None else f"{found.to_near_best:.3g}"
    table.add_row(f"GPU-hours to within {near:g} {metric} of the best known", reached)
    table.add_row("the curves' noise between seeds", f"{found.noise:.2f} {metric}")
    table.add_row("their error where nothing was recorded", f"{found.surrogate_error:.2f} {metric}")
    out.print(table)


@cli.command()
def dashboard(
    context: typer.Context,
    study: Annotated[str | None, typer.Argument(help="Open its leaderboard.")] = None,
    port: Annotated[int, typer.Option(help="The first port to try.")] = 5000,
) -> None:
    """Serve MLflow's page on this machine until Ctrl-C."""
    from tuner.tracking.dashboard import is_server, leaderboard_url, serve, wait_for_interrupt

    uri = context.obj.tracking_uri
    with serve(uri, context.obj.home.artifacts, port) as address:
        out.print(leaderboard_url(address, study) if study else address, soft_wrap=True)
        if not is_server(uri):
            wait_for_interrupt()


@cli.command()
def up(context: typer.Context) -> None:
    """Start a Ray head and an MLflow server on loopback, in the background."""
    from tuner.cluster import local

    cluster = local.up(context.obj.home)
    out.print(f"Ray:    {cluster.jobs_address} (token in {cluster.token})", soft_wrap=True)
    out.print(f"MLflow: {cluster.tracking_uri}\nsend a job: tuner submit JOB", soft_wrap=True)


@cli.command()
def down(context: typer.Context) -> None:
    """End what `tuner up` started, and nothing else."""
    from tuner.cluster import local

    local.down(context.obj.home)


@cli.command()
def submit(
    context: typer.Context,
    job: Annotated[Path, typer.Argument(help="A job's YAML.")],
    data_root: DataRoot = None,
    address: Address = None,
    wait: Annotated[bool, typer.Option(help="Show the log and return when the study has ended.")] = False,
) -> None:
    """Run a job on a cluster, as a Ray Job: the job, its space and config are sent, the pictures are not."""
    sent, spec = app.submit(job, data_root, address, context.obj)
    out.print(f"submitted: {sent}\nfollow it: tuner logs {spec.name}")
    if wait:
        _follow(context, spec.name, address)


@cli.command()
def logs(context: typer.Context, study: Study, address: Address = None) -> None:
    """Show what a submitted study writes, until it ends."""
    _follow(context, study, address)


@cli.command()
def stop(context: typer.Context, study: Study, address: Address = None) -> None:
    """End a submitted study; submitting its job again takes it up."""
    from tuner.cluster import jobs

    ending = jobs.stop(app.cluster_at(address, context.obj).jobs_address, study)
    out.print(f"{study}: {ending}")


@cli.command()
def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="An mmseg config.")],
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


@cli.command()
def evaluate(
    config: Annotated[Path, typer.Argument(help="An mmseg config.")],
    checkpoint: Annotated[Path, typer.Argument(help="Weights of that config.")],
    data_root: DataRoot = None,
) -> None:
    """Measure a checkpoint on the validation pictures."""
    table = Table("metric", "%")
    for name, value in app.evaluate(config, checkpoint, data_root).items():
        table.add_row(name, f"{value:.2f}")
    out.print(table)


@cli.command()
def sweep_centers(
    config: Annotated[Path, typer.Argument(help="An mmseg config.")],
    checkpoint: Annotated[Path, typer.Argument(help="Weights of that config.")],
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


@cli.command()
def toy(folder: Annotated[Path, typer.Argument(help="The folder to draw into.")], seed: int = 0) -> None:
    """Draw a small ADE20K-style data set: 8 classes, train and val."""
    from tuner.training.toy import draw

    draw(folder, seed=seed)
    out.print(f"drawn: {folder}", soft_wrap=True)


def main() -> None:
    try:
        cli(standalone_mode=True)
    except TunerError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, BadInput) else 1)


def _follow(context: typer.Context, study: str, address: str | None) -> None:
    from tuner.cluster import jobs

    cluster = app.cluster_at(address, context.obj)
    for piece in jobs.follow(cluster.jobs_address, study):
        sys.stdout.write(piece)
        sys.stdout.flush()
    if (ending := jobs.wait(cluster.jobs_address, study)) != "succeeded":
        raise TunerError(f"{study}: {ending}")


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


def _summary(job: Any, records: Any) -> dict[str, Any]:
    first, found = best(job, records), judged(job, records)
    trials = [asdict(record) for record in records]
    return {
        "study": job.name,
        "trials": trials,
        "best": first and first.trial.number,
        "of": job.budget.trials,
        "verdict": found and asdict(found) | {"ruling": found.ruling},
    }
