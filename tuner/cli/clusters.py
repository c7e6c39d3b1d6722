"""Commands for studies on a cluster."""

import sys
from typing import Annotated

import typer

from tuner import app
from tuner.cli.words import Address, DataRoot, Job, Study, out
from tuner.errors import TunerError

commands = typer.Typer()


@commands.command()
def up(context: typer.Context) -> None:
    """Start a Ray head and an MLflow server on loopback, in the background."""
    from tuner.cluster import local

    cluster = local.up(context.obj.home)
    out.print(f"Ray:    {cluster.jobs_address} (token in {cluster.token})", soft_wrap=True)
    out.print(f"MLflow: {cluster.tracking_uri}\nsend a job: tuner submit JOB", soft_wrap=True)


@commands.command()
def down(context: typer.Context) -> None:
    """End what `tuner up` started, and nothing else."""
    from tuner.cluster import local

    local.down(context.obj.home)


@commands.command()
def submit(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
    address: Address = None,
    wait: Annotated[bool, typer.Option(help="Show the log and return when the study has ended.")] = False,
) -> None:
    """Run a job on a cluster, as a Ray Job: the job, its space and config are sent, the pictures are not."""
    sent, spec = app.submit(job, data_root, address, context.obj)
    out.print(f"submitted: {sent}\nfollow it: tuner logs {spec.name}")
    if wait:
        _follow(context, spec.name, address)


@commands.command()
def logs(context: typer.Context, study: Study, address: Address = None) -> None:
    """Show what a submitted study writes, until it ends."""
    _follow(context, study, address)


@commands.command()
def stop(context: typer.Context, study: Study, address: Address = None) -> None:
    """End a submitted study; submitting its job again takes it up."""
    from tuner.cluster import jobs

    ending = jobs.stop(app.cluster_at(address, context.obj).jobs_address, study)
    out.print(f"{study}: {ending}")


def _follow(context: typer.Context, study: str, address: str | None) -> None:
    from tuner.cluster import jobs

    cluster = app.cluster_at(address, context.obj)
    for piece in jobs.follow(cluster.jobs_address, study):
        sys.stdout.write(piece)
        sys.stdout.flush()
    if (ending := jobs.wait(cluster.jobs_address, study)) != "succeeded":
        raise TunerError(f"{study}: {ending}")
