"""Commands for jobs and their studies."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tuner import app, simulations
from tuner.cli.arguments import SEARCH, Build, DataRoot, Job, JobValues, Pretrained, Study, job_changes, out
from tuner.errors import BadInput, TunerError
from tuner.export.asked import Asked
from tuner.study.history import History
from tuner.study.replication import best, findings
from tuner.study.rung_selection import rung_selection
from tuner.study.stopping import stop_reason

commands = typer.Typer()


@commands.command(rich_help_panel=SEARCH)
def check(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
    set_: JobValues = None,
    pretrained: Pretrained = None,
    build: Build = True,
) -> None:
    """Look for everything that is wrong with a job, its space, config and images. Nothing is started."""
    for note in app.check_file(job, job_changes(data_root, set_, pretrained), context.obj, build):
        out.print(f"note: {note}", highlight=False, soft_wrap=True)
    out.print("ok")


@commands.command(rich_help_panel=SEARCH)
def plan(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
    set_: JobValues = None,
    pretrained: Pretrained = None,
    step_seconds: Annotated[
        float | None,
        typer.Option(
            min=1e-6, help="How long a training step takes; without it, as in an earlier study of the config."
        ),
    ] = None,
) -> None:
    """Show what a job would do: trials, memory, seeds, GPU-hours, and what it may find. Nothing is started."""
    from tuner.tracking.tables import cost_text, forecast_text, plan_table, seeds_text

    found = app.plan(job, job_changes(data_root, set_, pretrained), context.obj, step_seconds)
    out.print(plan_table(found))
    forecast = simulations.forecast(found.job)
    for text in seeds_text(found), cost_text(found, forecast), forecast_text(found, forecast):
        out.print(text, highlight=False, soft_wrap=True, markup=False)


@commands.command(rich_help_panel=SEARCH)
def run(
    context: typer.Context,
    job: Job,
    data_root: DataRoot = None,
    set_: JobValues = None,
    pretrained: Pretrained = None,
    build: Build = True,
) -> None:
    """Search what a job asks for; the same command takes up a study that was cut off."""
    history = app.run(job, job_changes(data_root, set_, pretrained), context.obj, build)
    from tuner.tracking.report import text
    from tuner.tracking.terminal import status_table

    out.print(status_table(history))
    out.print(text.report(history), highlight=False)
    name = history.job.name
    out.print(f"leaderboard: tuner dashboard {name}")
    if not history.ranked:
        raise TunerError(f"no trial of study {name} has completed: `tuner status {name}` says why")
    out.print(f"best config: tuner export {name} --to DIR")


@commands.command(rich_help_panel=SEARCH)
def status(
    context: typer.Context,
    study: Annotated[str | None, typer.Argument(help="One study; without it, a row for each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    watched: Annotated[
        bool, typer.Option("--watch", help="Stay and show what changes, until it ends.")
    ] = False,
) -> None:
    """Show the trials of a study, their outcomes and the best so far; or how all studies stand."""
    from tuner.tracking.report import index, text
    from tuner.tracking.terminal import progress, status_table, watch

    if watched:
        if study is None or as_json:
            raise BadInput.of(
                "--watch", "needs one study, and goes without --json: tuner status STUDY --watch"
            )
        with suppress(KeyboardInterrupt):
            watch(lambda: app.show(study, context.obj), out)
        return
    if study is None:
        found = app.overview(context.obj)
        if as_json:
            out.print_json(data=found, default=str)
        else:
            out.print(index.table(found), soft_wrap=True, highlight=False)
        return
    history = app.show(study, context.obj)
    if as_json:
        out.print_json(data=_summary(history), default=str)
        return
    out.print(f"study {history.job.name}: {progress(history)}")
    out.print(status_table(history))
    out.print(text.report(history), highlight=False)


@commands.command(rich_help_panel=SEARCH)
def report(
    context: typer.Context,
    study: Study,
    to: Annotated[Path, typer.Option(help="The file to write.")],
    form: Annotated[
        Literal["html", "md"] | None,
        typer.Option("--format", help="Without it, as the file's name ends: .md is Markdown."),
    ] = None,
) -> None:
    """Write the report on a study: its verdict, what changed, images, plots and costs, in one file."""
    app.write_report(study, to, form or ("md" if to.suffix == ".md" else "html"), context.obj)
    out.print(f"report: {to.resolve().as_uri()}", soft_wrap=True)


@commands.command(rich_help_panel=SEARCH)
def sync_mlflow(context: typer.Context, study: Study) -> None:
    """Draw a study in MLflow as its database has it: after MLflow was away, or on another server."""
    app.sync_mlflow(study, context.obj)
    out.print(f"study {study} is shown: tuner dashboard {study}", soft_wrap=True)


@commands.command(rich_help_panel=SEARCH)
def export(
    context: typer.Context,
    study: Study,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Another completed one than the best.")] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs that the standalone config is for; the trial's by default."),
    ] = None,
    verify: Annotated[
        Literal["subset", "full", "none"], typer.Option(help="The validation images that are measured again.")
    ] = "subset",
    data_root: DataRoot = None,
    test: Annotated[bool, typer.Option("--test", help="Show the test split on the card too.")] = False,
) -> None:
    """Write a trial's weights and configs, for the tuner and for plain MMSegmentation, verified or not at all."""
    from tuner.export.commands import export_trial

    record, findings = export_trial(study, to, Asked(trial, gpus, verify, data_root, test), context.obj)
    for sentence in findings:
        out.print(f"verified: {sentence}", highlight=False, soft_wrap=True)
    out.print(f"trial {record.trial.number}: {to / 'config.py'}", soft_wrap=True)


@commands.command(rich_help_panel=SEARCH)
def verify(
    folder: Annotated[Path, typer.Argument(help="What `tuner export` wrote.")],
    data_root: DataRoot = None,
    full: Annotated[bool, typer.Option("--full", help="Measure all validation images again.")] = False,
) -> None:
    """Show that an export is what was measured: files, configs, images, weights, logits, confusion matrix."""
    from tuner.export.verification import verify as verified
    from tuner.files.paths import ExportFolder

    for sentence in verified(ExportFolder(folder), data_root, full):
        out.print(f"verified: {sentence}", highlight=False, soft_wrap=True)


@commands.command(rich_help_panel=SEARCH)
def register(
    context: typer.Context,
    study: Study,
    trial: Annotated[int | None, typer.Option(min=0, help="Another completed one than the best.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Put a trial's model, verified, into MLflow's registry under the study's name."""
    from tuner.export.commands import register_model

    address = register_model(study, Asked(trial, data_root=data_root), context.obj)
    out.print(f"registered: {address}", highlight=False, soft_wrap=True)
    serve = (
        f"MLFLOW_TRACKING_URI={context.obj.tracking_uri} mlflow models serve -m {address} --env-manager local"
    )
    out.print(f"served by: {serve}", highlight=False, soft_wrap=True)


@commands.command(rich_help_panel=SEARCH)
def dashboard(
    context: typer.Context,
    study: Annotated[str | None, typer.Argument(help="The study to show; without it, all.")] = None,
    port: Annotated[int, typer.Option(help="The first port to try.")] = 5000,
    optuna: Annotated[
        bool, typer.Option("--optuna", help="Serve optuna-dashboard instead, where it is installed.")
    ] = False,
) -> None:
    """Serve MLflow's page on this machine until Ctrl-C, and open a study's report in a desktop session."""
    from tuner.tracking.dashboard import is_server, open_in_browser, serve, study_urls, wait_for_interrupt
    from tuner.tracking.report import index

    if optuna:
        from tuner.tracking import optuna_page

        name = study and app.show(study, context.obj).job.name
        with optuna_page.serve(context.obj.storage, name, port) as address, suppress(KeyboardInterrupt):
            out.print(address, soft_wrap=True, highlight=False)
            open_in_browser(address)
            wait_for_interrupt()
        return
    uri = context.obj.tracking_uri
    with serve(uri, context.obj.home.artifacts, port) as address:
        shown = (
            study_urls(address, study) if study else (address, *map(index.line, app.overview(context.obj)))
        )
        for line in shown:
            out.print(line, soft_wrap=True, highlight=False)
        open_in_browser(shown[0])
        if not is_server(uri):
            wait_for_interrupt()


def _summary(history: History) -> dict[str, Any]:
    first, chosen = best(history), rung_selection(history)
    trials = [asdict(record) for record in history.records]
    return {
        "study": history.job.name,
        "trials": trials,
        "best": first and first.trial.number,
        "of": history.job.budget.trials,
        "stop_reason": stop_reason(history),
        "rungs": chosen and asdict(chosen),
        **findings(history),
    }
