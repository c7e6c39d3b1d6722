"""Checks everything that can be wrong with a job before anything starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tuner.errors import BadInput, Problem
from tuner.files.modules import Modules, own_modules
from tuner.files.paths import Home
from tuner.files.provenance import sha256
from tuner.files.writing import check_writable
from tuner.sizing.config_datasets import SPLITS, datasets, missing_files
from tuner.sizing.custom_imports import imported
from tuner.sizing.lint import job_problems, notes
from tuner.sizing.plan import memory_problems
from tuner.sizing.precision import precision_of
from tuner.sizing.trial_config import (
    default_params,
    trial_config,
    with_data_root,
    with_pretrained,
)
from tuner.spec.initial_points import left_out
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, Trial, Value
from tuner.study.history import History
from tuner.study.replication import rounds
from tuner.study.stopping import no_verdict

T = TypeVar("T")


@dataclass(frozen=True)
class CheckedJob:
    """Holds a job that can be run, with what its study needs."""

    job: JobSpec
    config: Config
    """The config with its `_base_` files merged."""
    fingerprint: Mapping[str, Any]
    """The parts that make two jobs the same search."""
    default: Mapping[str, Value]
    """The config's own values of the parameters: trial 0."""
    transferred: Sequence[Mapping[str, Any]]
    """The earlier studies' trials that a new study takes over."""
    modules: Modules
    """The user's own modules that the config imports."""


def check(job: JobSpec, storage: str, home: Home | None = None) -> CheckedJob:
    """Checks config and space; where these are right, images, metric, checkpoints' folder and an earlier study.

    What was found in annotations is kept in `home` for the next start. Raises BadInput with all problems of
    config and space, which are found before mmseg is loaded, or with all others.
    """
    config, default = check_config(job)
    from tuner.store.studies import check_study
    from tuner.training.config.config import with_imports
    from tuner.training.data.annotations import SoundAnnotations
    from tuner.training.data.images import images_of

    config = with_imports(config, str(job.config))
    modules = own_modules(imported(config), job.config.parent)
    placed = _placed(job, config)
    annotations = SoundAnnotations(home.annotations if home else None)
    images = images_of(placed)
    problems = [*images.problems(annotations), *_metric_problems(job, placed)]
    if home and (checkpoints := home.checkpoints):
        problems += _tried(lambda: check_writable(checkpoints))[1]
    if problems:
        raise BadInput(problems)
    fingerprint = {**_fingerprint(job, config), "data": images.fingerprint()}
    transferred = check_study(storage, job, fingerprint)
    annotations.keep()
    return CheckedJob(job, config, fingerprint, default, transferred, modules)


def check_config(job: JobSpec, files_are_here: bool = True) -> tuple[Config, Mapping[str, Value]]:
    """Returns a job's config and trial 0. Raises BadInput with all that config and space get wrong.

    Where images and weights lie elsewhere, it looks at their paths alone.
    """
    from tuner.training.config import config as configs
    from tuner.training.config.canonical import place_problems

    config = configs.read(job.config, imports=False)
    placed = _placed(job, config)
    default, problems = _tried(lambda: default_params(job, config))
    problems += memory_problems(job, config, default) if default else []
    problems += job_problems(job, config)
    problems += place_problems(placed, str(job.config), files_are_here) or [
        problem for split in SPLITS[:2] if files_are_here for problem in missing_files(placed, split)
    ]
    if problems:
        raise BadInput(problems)
    return config, default or {}


def _metric_problems(job: JobSpec, config: Config) -> list[Problem]:
    """Finds an objective that no evaluation has."""
    if config["runner"]["type"] != "Synthetic":
        from tuner.training.evaluation.metric_names import metric_problems  # it loads mmseg

        return metric_problems(job, config)
    metric = job.objective.metric
    message = f"objective.metric: there is no {metric}; there are mIoU and loss"
    return [] if metric in ("mIoU", "loss") else [Problem(f"job {job.name}", message)]


def all_notes(checked: CheckedJob, storage: str) -> list[str]:
    """Lists what is unusual about a job that can be run."""
    from tuner.store.studies import same_trainings
    from tuner.training.config.canonical import notes as key_notes

    job, config = checked.job, checked.config
    late = no_verdict(job, rounds(History(job, [])), same_trainings(storage, job))
    return [*notes(job, config), *left_out(job, checked.default), *late, *key_notes(config)]


def begin_build(checked: CheckedJob) -> Callable[[], None]:
    """Begins to build the first trial, in a process of its own.

    What is returned waits for it, and raises BadInput with all that keeps the trial from its first step.
    """
    from tuner.training import building

    first = Trial(0, checked.default, checked.job.seed)
    problems = building.begin_build(trial_config(checked.job, checked.config, first), str(checked.job.config))

    def check_builds() -> None:
        if found := problems():
            raise BadInput(found)

    return check_builds


def _placed(job: JobSpec, config: Config) -> Config:
    """Returns the config with the job's folder of images and its first weights."""
    placed = with_data_root(config, job.data_root)
    return with_pretrained(placed, job.pretrained) if job.pretrained else placed


def with_strips_named(job: JobSpec, config: Config) -> Config:
    """Names in a config the validation images whose predictions all trials keep."""
    if not job.predictions.images or not any("type" in each for _, each in datasets(config, "val")):
        return config
    from tuner.training.engine import validation_set
    from tuner.training.evaluation.strips import with_strips

    dataset = validation_set(with_data_root(config, job.data_root))
    return with_strips(config, dataset, job.predictions.images, job.predictions.width)


def _fingerprint(job: JobSpec, config: Config) -> dict[str, Any]:
    """Returns what makes two jobs the same search; budget, resources and places may change."""
    kept = {"space", "objective", "fidelity", "search", "seed", "corrupt_images", "image_side"}
    same = job.model_dump(mode="json", include=kept)
    batch = job.resources.model_dump(mode="json", include={"global_batch", "lr_rule"})
    weights = {"pretrained": _weights(job.pretrained)} if job.pretrained else {}
    asked, own = job.resources.precision, precision_of(config)
    precision = {"precision": asked} if asked not in (None, own) else {}
    return {**same, **batch, **weights, **precision, "config": config}


def _weights(name: str) -> str:
    """Returns the hash of a file of weights, wherever it lies; of a URL, and of `none`, the name."""
    return sha256(Path(name)) if Path(name).is_file() else name


def _tried(call: Callable[[], T]) -> tuple[T | None, list[Problem]]:
    """Returns what a call returns, or the problems of the BadInput that it raises."""
    try:
        return call(), []
    except BadInput as error:
        return None, list(error.problems)
