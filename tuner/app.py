"""The commands of the tuner, and the one place that picks the real parts: Optuna, Ray Tune, mmseg, MLflow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from tuner.errors import BadInput, Problem, TunerError
from tuner.export import export
from tuner.files import read_job, write_job, write_json
from tuner.job import JobSpec
from tuner.lint import job_problems, notes
from tuner.overrides import apply, default_params, reproducible, with_data_root
from tuner.paths import AnyPath, check_writable
from tuner.plan import Plan, fits, make_plan, memory_problems
from tuner.retention import Retention
from tuner.settings import Settings
from tuner.space import is_square
from tuner.study import Study
from tuner.trial import Config, Measurement, Record, Swept, Value


def run(file: Path, data_root: Path | None, settings: Settings) -> tuple[JobSpec, list[Record]]:
    """Searches what a job asks for, or goes on with it, until its budget is spent.

    Raises BadInput before anything is written when the job cannot be run.
    """
    from tuner.cluster import ray_tune
    from tuner.cluster.gang import Trainer
    from tuner.cluster.placement import check_fits
    from tuner.search.scheduling import rule
    from tuner.search.store import open_study
    from tuner.tracking.mlflow import MlflowTracker
    from tuner.tracking.terminal import TrialTable
    from tuner.training import open_training, process_group

    job = read_job(file, data_root)
    config, fingerprint, default = check(job, settings.storage, settings.home.checkpoints)
    with ray_tune.connected(settings.ray_address):
        check_fits(job.resources)
        store = open_study(settings.storage, job, fingerprint, default, fits(job, config))
        tracker = MlflowTracker(
            settings.tracking_uri,
            settings.home.artifacts,
            job,
            store.id,
            lambda number: settings.home.trial(job.name, number).config_text(),
        )
        with store.driven(), TrialTable(job, store.records()) as table:
            retention = Retention(job, settings.home, store.records())
            study = Study(job, store, rule, [tracker, table, retention])
            tracker.begin(study.records)
            trainer = Trainer(process_group.join, open_training)
            try:
                ray_tune.run(study, ray_tune.Launch(job, config, settings.home, trainer))
            finally:
                tracker.end(study.records, finished=study.is_over)
    return job, study.records


def plan(file: Path, data_root: Path | None) -> Plan:
    """What a job would do. Raises BadInput; the pictures need not be here."""
    from tuner.training import config as configs

    job = read_job(file, data_root, pictures_are_here=False)
    config = configs.read(job.config)
    return make_plan(job, config, default_params(job, config))


def check(
    job: JobSpec, storage: str, checkpoints: AnyPath | None = None
) -> tuple[Config, dict[str, Any], dict[str, Value]]:
    """The job's config, its study's fingerprint and the default params.

    Raises BadInput with all problems of space, config, pictures, the place for checkpoints and an earlier
    study of the name.
    """
    from tuner.search.store import check_study
    from tuner.training import config as configs
    from tuner.training import pictures

    config = configs.read(job.config)
    placed = with_data_root(config, job.data_root)
    default: dict[str, Value] = {}
    problems = _problems(lambda: default.update(default_params(job, config)))
    problems += memory_problems(job, config, default) if default else []
    problems += job_problems(job, config) + pictures.problems(placed)
    if checkpoints:
        problems += _problems(lambda: check_writable(checkpoints))
    fingerprint = _fingerprint(job, config)
    if not problems:
        fingerprint["data"] = pictures.fingerprint(placed)
        problems += _problems(lambda: check_study(storage, job, fingerprint))
    if problems:
        raise BadInput(problems)
    return config, fingerprint, default


def check_file(file: Path, data_root: Path | None, settings: Settings) -> list[str]:
    """What is odd about a job that can be run. Raises BadInput with all problems of one that cannot."""
    job = read_job(file, data_root)
    config, _, _ = check(job, settings.storage, settings.home.checkpoints)
    return notes(job, config)


def show(study: str, settings: Settings) -> tuple[JobSpec, list[Record]]:
    from tuner.search.store import load_study

    store = load_study(settings.storage, study)
    return store.job, store.records()


def submit(
    file: Path, data_root: Path | None, address: str | None, settings: Settings
) -> tuple[str, JobSpec]:
    """Sends `tuner run` with the job, its space and its config, not the pictures, to a cluster.

    Home, checkpoints, database and MLflow are the submitter's, but for addresses with a password in them:
    there the nodes' own TUNER_STORAGE and MLFLOW_TRACKING_URI count, as Ray's dashboard shows what is sent.
    """
    from tuner.cluster import jobs
    from tuner.training import config as configs

    job = read_job(file, data_root, pictures_are_here=False)
    config = configs.read(job.config)
    default_params(job, config)
    cluster = cluster_at(address, settings)
    places = {
        "TUNER_HOME": str(settings.home.root),
        "TUNER_CHECKPOINTS": str(settings.home.checkpoints or ""),
        "TUNER_STORAGE": settings.storage,
        "MLFLOW_TRACKING_URI": cluster.tracking_uri or settings.tracking_uri,
    }
    environment = {name: place for name, place in places.items() if place and not urlsplit(place).password}
    environment["RAY_JOB_STOP_WAIT_TIME_S"] = "30"  # a stopped driver has runs to end in MLflow
    with TemporaryDirectory() as folder:
        write_job(job, Path(folder), configs.text(config))
        sent = jobs.submit(cluster.jobs_address, job.name, Path(folder), ["run", "job.yaml"], environment)
    return sent, job


@dataclass(frozen=True)
class ClusterAddress:
    jobs_address: str
    """Of Ray's Jobs API: http://host:port."""
    tracking_uri: str | None = None
    """Of an MLflow server that came with it."""


def cluster_at(address: str | None, settings: Settings) -> ClusterAddress:
    """The cluster of that address, of RAY_ADDRESS, or the one that is up in the home; raises TunerError."""
    from tuner.cluster import local

    named = settings.ray_address or ""
    if wanted := address or (named if named.startswith("http") else None):
        return ClusterAddress(wanted)
    if here := local.running(settings.home):
        local.use(here)
        return ClusterAddress(here.jobs_address, here.tracking_uri)
    raise TunerError(
        "no cluster: start one here with `tuner up`, or name its dashboard, http://host:8265, "
        "by --address or RAY_ADDRESS"
    )


def known_studies(settings: Settings) -> list[str]:
    from tuner.search.store import studies

    return studies(settings.storage)


def export_trial(study: str, number: int | None, to: Path, settings: Settings) -> Record:
    """The best, without a number."""
    from tuner.search.store import load_study

    return export(load_study(settings.storage, study), number, settings.home, to)


def train(
    file: Path,
    data_root: Path | None,
    ranks: int,
    overrides: Mapping[str, Value],
    folder: Path,
    seed: int | None,
    tell: Callable[[Measurement], None],
) -> None:
    from tuner.training import launch

    config = read_config(file, data_root, overrides)
    seed = seed if seed is not None else config.get("seed") or 0
    launch.train(reproducible(config, seed, ranks), folder, ranks, tell)


def evaluate(file: Path, checkpoint: Path, data_root: Path | None) -> dict[str, float]:
    from tuner.training import launch

    return launch.evaluate_checkpoint(read_config(file, data_root, {}), checkpoint)


def sweep_centers(
    file: Path, checkpoint: Path, data_root: Path | None, counts: Sequence[int], per_stage: bool, to: Path
) -> list[Swept]:
    """A checkpoint at several numbers of centers; writes sweep.json and sweep.png. Raises BadInput."""
    from tuner.tracking.plots import plot_sweep
    from tuner.training import launch

    if wrong := [str(count) for count in counts if not is_square(count)]:
        raise BadInput.of("--centers", f"must be squares (4, 9, 16, …), got {', '.join(wrong)}")
    swept = list(launch.sweep_checkpoint(read_config(file, data_root, {}), checkpoint, counts, per_stage))
    write_json(to / "sweep.json", [asdict(each) for each in swept])
    plot_sweep(swept, to / "sweep.png")
    return swept


def read_config(file: Path, data_root: Path | None, overrides: Mapping[str, Value]) -> Config:
    """A config with its overrides, its pictures checked. Raises BadInput."""
    from tuner.training import config as configs
    from tuner.training import pictures

    config = apply(configs.read(file), overrides, "--set")
    if data_root is not None:
        config = with_data_root(config, data_root.resolve())
    if problems := pictures.problems(config):
        raise BadInput(problems)
    return config


def _fingerprint(job: JobSpec, config: Config) -> dict[str, Any]:
    """What makes two jobs the same search; budget, resources and places may change."""
    kept = {"space", "objective", "fidelity", "search", "seed", "corrupt_pictures", "picture_side"}
    same = job.model_dump(mode="json", include=kept)
    batch = job.resources.model_dump(mode="json", include={"global_batch", "lr_rule"})
    return {**same, **batch, "config": config}


def _problems(check: Callable[[], object]) -> list[Problem]:
    try:
        check()
    except BadInput as error:
        return list(error.problems)
    return []
