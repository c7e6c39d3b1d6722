"""The commands of the tuner, and the one place that picks the real parts: Optuna, Ray Tune, mmseg, MLflow."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tuner.checking import all_notes, begin_build, check, check_config, with_strips_named
from tuner.errors import AskedToLeave, TunerError
from tuner.files.modules import own_modules
from tuner.files.writing import remove_folder, write_text
from tuner.settings import Settings
from tuner.sizing.custom_imports import imported
from tuner.sizing.plan import Plan, fits, make_plan
from tuner.sizing.trial_config import default_params
from tuner.spec.job import JobSpec
from tuner.spec.yaml_files import read_job, write_job
from tuner.study.history import History
from tuner.study.retention import Retention
from tuner.study.study import Study

if TYPE_CHECKING:
    from tuner.store.resuming import CutOff, Resumed
    from tuner.store.store import OptunaStore
    from tuner.tracking.mlflow import MlflowTracker
    from tuner.tracking.report.sources import Sources

Changes: TypeAlias = Mapping[str, Any]
"""Values by dotted key that replace those of a job's file."""


def run(file: Path, changes: Changes, settings: Settings, builds: bool = False) -> History:
    """Searches what a job asks for, or goes on with it, until its budget is spent; starts nothing where it is.

    Raises BadInput before anything is written when the job cannot be run, or when `builds` and its first trial
    cannot be built.
    """
    job = read_job(file, changes)
    checked = check(job, settings.storage, settings.home)
    from tuner.store.resuming import has_ended

    if has_ended(settings.storage, job):
        return _shown(job.name, settings)
    check_builds = begin_build(checked) if builds else lambda: None
    from tuner.cluster import local

    if settings.ray_address is None:
        local.keep_to_loopback()
    from tuner.cluster import ray_tune
    from tuner.cluster.gang import Trainer
    from tuner.cluster.leaving import TakesUpRequests, leave
    from tuner.cluster.placement import check_fits
    from tuner.cluster.waiting import TellsWaiting
    from tuner.search.scheduling import scheduler_for
    from tuner.store.requests import Acting, lift
    from tuner.store.studies import open_study
    from tuner.store.summaries import Summarizes
    from tuner.tracking.report.index import summary
    from tuner.tracking.terminal import TrialTable
    from tuner.training import open_training, process_group
    from tuner.training.config import config as configs

    config = with_strips_named(job, checked.config)
    with ray_tune.connected(settings.ray_address):
        check_fits(job.resources)
        check_builds()
        asked = checked.fingerprint, checked.default, fits(job, config), checked.transferred
        store = open_study(settings.storage, job, *asked, configs.text(checked.config), checked.modules)
        tracker = _tracker(store, settings)
        job = store.job  # with the budget that was asked for since
        lift(settings.storage, job.name)
        with store.driven(), TrialTable(History(job, store.records())) as table:
            retention = Retention(History(job, store.records()), settings.home)
            summarizes = Summarizes(settings.storage, job.name, lambda: summary(study.history))
            study = Study(job, store, scheduler_for, [tracker, table, retention, summarizes])
            summarizes.keep()
            tracker.begin()
            opening = partial(open_training, modules=checked.modules, attempt=store.attempt)
            trainer = Trainer(process_group.join, opening)
            acting = Acting(settings.storage, store, study, partial(leave, settings.home, job.name))
            try:
                callbacks = TakesUpRequests(acting.take_up), TellsWaiting(summarizes.waits)
                ray_tune.run(study, ray_tune.Launch(job, config, settings.home, trainer), callbacks)
            finally:
                tracker.end()
            summarizes.keep()
    _check_has_ended(study)
    return study.history


def _check_has_ended(study: Study) -> None:
    """Raises AskedToLeave where the study goes on later, TunerError where it has no hope."""
    name = study.job.name
    if study.is_leaving:
        raise AskedToLeave(f"study {name} was asked to leave; it goes on by `tuner resume {name}`")
    if study.hopeless:
        raise TunerError(
            f"study {name} has ended: its first trials crashed alike, and none reached a rung:\n"
            f"  {study.hopeless}\nMend the cause and run the job again: these trials are then trained again"
        )


def _shown(study: str, settings: Settings) -> History:
    """Returns a study that has ended, after MLflow has been brought up to date if it answers."""
    from tuner.store.studies import load_study

    store = load_study(settings.storage, study)
    tracker = _tracker(store, settings)
    tracker.begin()
    tracker.end()
    return History(store.job, store.records())


def plan(file: Path, changes: Changes, settings: Settings, step_seconds: float | None = None) -> Plan:
    """Returns what a job would do. Raises BadInput; the images need not be here."""
    job = read_job(file, changes, images_are_here=False)
    from tuner.store.studies import same_trainings
    from tuner.training.config import config as configs

    config = configs.read(job.config, imports=False)
    default, earlier = default_params(job, config), same_trainings(settings.storage, job)
    return make_plan(job, config, default, earlier, step_seconds)


def check_file(file: Path, changes: Changes, settings: Settings, builds: bool = False) -> list[str]:
    """Lists what is unusual about a job that can be run. Raises BadInput with all problems of one that cannot."""
    checked = check(read_job(file, changes), settings.storage, settings.home)
    if builds:
        begin_build(checked)()
    return all_notes(checked, settings.storage)


def show(study: str, settings: Settings) -> History:
    from tuner.store.studies import load_study

    store = load_study(settings.storage, study)
    return History(store.job, store.records())


def trial_log(study: str, number: int, settings: Settings) -> list[str]:
    """Returns how a trial was trained, in lines. Raises TunerError where the study has no such trial."""
    from tuner.tracking.trial_log import lines

    return list(lines(show(study, settings), number, settings.home.trial(study, number)))


def write_report(study: str, to: Path, form: Literal["html", "md"], settings: Settings) -> None:
    """Draws the report on a study into a file, from its database and the files of its trials."""
    from tuner.store.studies import load_study
    from tuner.tracking.report import page

    sources = _sources(load_study(settings.storage, study), settings)
    draw = page.html if form == "html" else page.markdown
    write_text(to, draw(sources, datetime.now().astimezone()))


def sync_mlflow(study: str, settings: Settings) -> None:
    """Draws a study in MLflow whole, as its database has it. Raises TunerError while a driver does so."""
    from tuner.store.lease import driver
    from tuner.store.studies import load_study
    from tuner.tracking.mlflow import Server, sync

    store = load_study(settings.storage, study)
    if busy := driver(settings.storage, study):
        raise TunerError(
            f"study {study} is driven by {busy}, which keeps MLflow current: wait until it has ended"
        )
    sync(Server(settings.tracking_uri, settings.home.artifacts), store.id, _sources(store, settings))


def _tracker(store: "OptunaStore", settings: Settings) -> "MlflowTracker":
    from tuner.tracking.mlflow import MlflowTracker, Server

    server = Server(settings.tracking_uri, settings.home.artifacts)
    return MlflowTracker(server, store.id, lambda: _sources(store, settings))


def _sources(store: "OptunaStore", settings: Settings) -> "Sources":
    from tuner.store.requests import events
    from tuner.tracking.report.sources import Sources

    name = store.job.name
    folder, asked = partial(settings.home.trial, name), events(settings.storage, name)
    return Sources(History(store.job, store.records()), folder, store.origin, asked)


def submit(file: Path, changes: Changes, address: str | None, settings: Settings) -> tuple[str, JobSpec]:
    """Sends `tuner run` with the job, its space, its config and own modules, not the images, to a cluster.

    Raises BadInput with all that is wrong with the job, its space and its config, wherever the images are.
    """
    job = read_job(file, changes, images_are_here=False)
    checked, _ = check_config(job, files_are_here=False)
    from tuner.cluster.submission import send
    from tuner.training.config import config as configs

    config = configs.with_imports(checked, str(job.config))
    own = own_modules(imported(config), job.config.parent)
    return send(job, configs.text(config), own, address, settings), job


def resume(names: Sequence[str], here: bool, address: str | None, settings: Settings) -> "Iterator[Resumed]":
    """Starts the named studies again, or all that are neither over nor driven, and says what became of each.

    Nothing but the database is needed: it holds jobs and configs as they were accepted. `here` runs them in this
    process, one after the other, instead of sending them to a cluster.
    """
    from tuner.store.resuming import resumed

    def run_here(study: "CutOff") -> str:
        with TemporaryDirectory() as folder:
            study.modules.write(Path(folder))
            run(write_job(study.job, Path(folder), study.config, study.job.config.name), {}, settings)
        return "has ended"

    def sent(study: "CutOff") -> str:
        from tuner.cluster.submission import send

        return f"submitted: {send(study.job, study.config, study.modules, address, settings)}"

    return resumed(settings.storage, names, run_here if here else sent)


def overview(settings: Settings) -> list[dict[str, Any]]:
    """Returns how every study stands, from the summaries that their drivers keep."""
    from tuner.store.summaries import standings
    from tuner.tracking.report.index import row, summary_of

    found = []
    for each in standings(settings.storage):
        facts = each.facts or summary_of(partial(show, each.study, settings))
        found.append(row(each.study, facts, each.driver, each.since, each.held))
    return found


def delete(study: str, settings: Settings) -> None:
    """Deletes a study from its database, its trials' folders and MLflow. Raises TunerError while it is driven."""
    from tuner.store.studies import delete_study, take_over
    from tuner.tracking.mlflow import Server

    store = take_over(settings.storage, study)
    with store.driven():
        for record in store.records():
            remove_folder(settings.home.trial(study, record.trial.number).root)
        remove_folder(settings.home.study(study))
        Server(settings.tracking_uri, settings.home.artifacts).delete(study)
        delete_study(settings.storage, study)
