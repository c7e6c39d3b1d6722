"""Commands for jobs and their studies."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner import app
from tuner.budget import ending
from tuner.calibration import calibration
from tuner.cli.words import DataRoot, Job, Study, out
from tuner.race import best, findings

commands = typer.Typer()


@commands.command()
def check(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
) -> None:
    """Look for everything that is wrong with a job, its space, config and pictures. Nothing is started."""
    for note in app.check_file(job, data_root, context.obj):
        out.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    out.print("ok")


@commands.command()
def plan(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
) -> None:
    """Show what a job would do: trials, rungs, ranks, and the memory that a GPU needs. Nothing is started."""
    from tuner.tracking.terminal import plan_table

    out.print(plan_table(app.plan(job, data_root)))


@commands.command()
def run(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
) -> None:
    """Search what a job asks for; the same command takes up a study that was cut off."""
    spec, records = app.run(job, data_root, context.obj)
    from tuner.tracking.report import report
    from tuner.tracking.terminal import status_table

    out.print(status_table(spec, records))
    out.print(report(spec, records), highlight=False)
    out.print(f"leaderboard: tuner dashboard {spec.name}\nbest config: tuner export {spec.name} --to DIR")


@commands.command()
def status(
    context: typer.Context,
    study: Annotated[str | None, typer.Argument(help="One study; without it, the names of all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the trials of a study, their outcomes and the best so far."""
    from tuner.tracking.report import report
    from tuner.tracking.terminal import progress, status_table

    names = [study] if study else app.known_studies(context.obj)
    shown = [app.show(name, context.obj) for name in names]
    if as_json:
        found = [_summary(*each) for each in shown]
        out.print_json(data=found[0] if study else found, default=str)
        return
    for job, records in shown:
        out.print(f"study {job.name}: {progress(job, records)}")
        out.print(status_table(job, records))
        out.print(report(job, records), highlight=False)


@commands.command()
def export(
    context: typer.Context,
    study: Study,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Another completed one than the best.")] = None,
) -> None:
    """Write the best trial's flat config, its checkpoint, where that is kept, and best.json."""
    record = app.export_trial(study, trial, to, context.obj)
    out.print(f"trial {record.trial.number}: {to / 'config.py'}", soft_wrap=True)


@commands.command()
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


def _summary(job: Any, records: Any) -> dict[str, Any]:
    first, chosen = best(job, records), calibration(job, records)
    trials = [asdict(record) for record in records]
    return {
        "study": job.name,
        "trials": trials,
        "best": first and first.trial.number,
        "of": job.budget.trials,
        "ending": ending(job, records),
        "rungs": chosen and asdict(chosen),
        **findings(job, records),
    }
