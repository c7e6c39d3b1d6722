"""Commands that try searches out without training."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tuner import simulations
from tuner.cli.arguments import TRYING_OUT, DataRoot, Job, JobValues, Pretrained, job_changes, out

commands = typer.Typer()


@commands.command(rich_help_panel=TRYING_OUT)
def record(
    context: typer.Context,
    job: Job,
    to: Annotated[Path, typer.Option(help="The file that gets a JSON line a training; continued if there.")],
    data_root: DataRoot = None,
    set_: JobValues = None,
    pretrained: Pretrained = None,
    configs: Annotated[
        int, typer.Option(min=1, help="Drawings from the job's space, default included.")
    ] = 48,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 2,
) -> None:
    """Train random drawings from a job's space to the end and keep their curves, for simulations."""
    changes = job_changes(data_root, set_, pretrained)
    for recorded in simulations.record(job, changes, to, configs, seeds, context.obj):
        ending = f"{recorded.value('mIoU'):.2f}" if recorded.last else recorded.outcome
        out.print(f"{dict(recorded.trial.params)}, seed {recorded.trial.seed}: {ending}", soft_wrap=True)


@commands.command(rich_help_panel=TRYING_OUT)
def simulate(
    context: typer.Context,
    job: Job,
    curves: Annotated[Path, typer.Option(help="What `tuner record` wrote.")],
    set_: JobValues = None,
    pretrained: Pretrained = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many GPUs the simulated cluster has.")] = 64,
    near: Annotated[
        float, typer.Option(min=0, help="The search has arrived when a trial is this near to the best known.")
    ] = 0.5,
) -> None:
    """Run a job's search in virtual time over recorded curves; nothing is trained or kept."""
    from tuner.tracking.report.text import report

    found = simulations.simulate(job, job_changes(None, set_), curves, gpus, near, context.obj)
    metric = found.history.job.objective.metric
    outcomes = Counter(record.outcome.value for record in found.history.records if record.outcome)
    table = Table("", found.history.job.name, box=None)
    table.add_row("trials", ", ".join(f"{count} {name}" for name, count in outcomes.items()))
    table.add_row(f"hours on {gpus} GPUs", f"{found.hours:.3g}")
    table.add_row("GPU-hours", f"{found.gpu_hours:.3g}")
    reached = "never" if found.to_near_best is None else f"{found.to_near_best:.3g}"
    table.add_row(f"GPU-hours to within {near:g} {metric} of the best known", reached)
    table.add_row("the curves' noise between seeds", f"{found.noise:.2f} {metric}")
    table.add_row("their error where nothing was recorded", f"{found.surrogate_error:.2f} {metric}")
    out.print(table)
    out.print(report(found.history), highlight=False)
