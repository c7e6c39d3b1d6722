"""Commands for studies on a cluster."""

import sys
from typing import Annotated

import typer

from tuner import app
from tuner.cli.arguments import (
    CLUSTER,
    Address,
    DataRoot,
    Job,
    JobValues,
    Pretrained,
    Study,
    job_changes,
    out,
)
from tuner.errors import TunerError

commands = typer.Typer()


@commands.command(rich_help_panel=CLUSTER)
def up(context: typer.Context) -> None:
    """Start a Ray head and an MLflow server on loopback, in the background."""
    from tuner.cluster import local

    cluster = local.up(context.obj.home)
    out.print(f"Ray:    {cluster.jobs_address} (token in {cluster.token})", soft_wrap=True)
    out.print(f"MLflow: {cluster.tracking_uri}\nsend a job: tuner submit JOB", soft_wrap=True)


@commands.command(rich_help_panel=CLUSTER)
def down(context: typer.Context) -> None:
    """End what `tuner up` started, and nothing else."""
    from tuner.cluster import local

    local.down(context.obj.home)


@commands.command(rich_help_panel=CLUSTER)
def submit(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
    set_: JobValues = None,
    pretrained: Pretrained = None,
    address: Address = None,
    wait: Annotated[bool, typer.Option(help="Show the log and return when the study has ended.")] = False,
) -> None:
    """Run a job on a cluster, as a Ray Job: the job, its space and config are sent, the images are not."""
    sent, spec = app.submit(job, job_changes(data_root, set_, pretrained), address, context.obj)
    out.print(f"submitted: {sent}\nfollow it: tuner logs {spec.name}")
    if wait:
        _follow(context, spec.name, address)


@commands.command(rich_help_panel=CLUSTER)
def logs(
    context: typer.Context,
    study: Study,
    address: Address = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Show the log of one trial instead.")] = None,
) -> None:
    """Show what a submitted study writes, until it ends, or how one trial was trained."""
    if trial is not None:
        for line in app.trial_log(study, trial, context.obj):
            out.print(line, soft_wrap=True, highlight=False)
        return
    _follow(context, study, address)


@commands.command(rich_help_panel=CLUSTER)
def stop(
    context: typer.Context,
    study: Study,
    address: Address = None,
    trial: Annotated[int | None, typer.Option(min=0, help="End one trial alone, wherever it runs.")] = None,
) -> None:
    """End a submitted study in good order; it goes on when it is resumed by its name, or its job is submitted again."""
    from tuner.store.asking import act, note_stop

    if trial is not None:
        answer = act(context.obj.storage, study, "stop trial", {"trial": trial})
        out.print(answer, soft_wrap=True, highlight=False, markup=False)
        return
    from tuner.cluster import jobs
    from tuner.cluster.addresses import cluster_at

    cluster = cluster_at(address, context.obj)
    note_stop(context.obj.storage, study)
    out.print(f"{study}: {jobs.stop(cluster.jobs_address, study)}")


@commands.command(rich_help_panel=CLUSTER)
def resume(
    context: typer.Context,
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="The studies to start again; without any, all that are neither over nor driven."),
    ] = None,
    here: Annotated[
        bool,
        typer.Option(
            "--here", help="Run in the foreground, one study after the other, without a cluster's jobs."
        ),
    ] = False,
    address: Address = None,
) -> None:
    """Start studies again that were cut off, from the database alone. Safe to repeat, as from cron."""
    failed = []
    for each in app.resume(studies or [], here, address, context.obj):
        out.print(f"{each.study}: {each.ending}", soft_wrap=True, highlight=False)
        failed += [each.study] if each.is_failure else []
    if failed:
        raise TunerError(f"could not be started: {', '.join(failed)}; `tuner resume` tries again")


def _follow(context: typer.Context, study: str, address: str | None) -> None:
    from tuner.cluster import jobs
    from tuner.cluster.addresses import cluster_at

    cluster = cluster_at(address, context.obj)
    for piece in jobs.follow(cluster.jobs_address, study):
        sys.stdout.write(piece)
        sys.stdout.flush()
    if (ending := jobs.wait(cluster.jobs_address, study)) != "succeeded":
        raise TunerError(f"{study}: {ending}")
