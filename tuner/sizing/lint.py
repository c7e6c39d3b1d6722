"""Finds what a job's config and space get wrong about each other, before anything starts."""

from collections.abc import Iterator
from math import isqrt, lcm

from tuner.errors import Problem
from tuner.sizing.config_datasets import crop_of
from tuner.sizing.precision import FLOAT32, FP16, unscalable
from tuner.spec.architectures import Stage, stages
from tuner.spec.job import JobSpec
from tuner.spec.pruning_signal import loss_changers
from tuner.spec.space import CENTERS, ChoiceParameter
from tuner.spec.trial import Config
from tuner.study.rung_selection import TRIALS


def job_problems(job: JobSpec, config: Config) -> list[Problem]:
    """Finds folds that do not divide the crop, and a schedule that is too short."""
    return [
        *_fold_problems(job, config),
        *_fidelity_problems(job, config),
        *_signal_problems(job),
        *_precision_problems(job, config),
    ]


def notes(job: JobSpec, config: Config) -> list[str]:
    """Returns what works, but is rarely meant: late rungs, crowded centers, small images, a disturbed clock."""
    return [
        *_late_rungs(job),
        *_crowded(job, config),
        *_enlarged(job, config),
        *_disturbed(job),
        *_emulated(job),
    ]


def _fold_problems(job: JobSpec, config: Config) -> list[Problem]:
    """Finds stages whose folds do not divide their feature map."""
    found, crop = _stages(config), crop_of(config)
    step = lcm(*(stage.stride * stage.folds for stage in found))
    if crop is None or all(side % step == 0 for side in crop):
        return []
    folds = ", ".join(str(stage.folds) for stage in found)
    size = "x".join(map(str, crop))
    message = f"the crop of {size} does not divide into folds {folds} a side: take multiples of {step}"
    return [Problem(f"config of job {job.name}", message)]


def _fidelity_problems(job: JobSpec, config: Config) -> list[Problem]:
    length, wanted = config["runner"]["max_iters"], job.fidelity.iterations
    if job.fidelity.schedule == "compressed" or wanted <= length:
        return []
    message = (
        f"fidelity.iterations: {wanted} is longer than the config's schedule ({length}) that it truncates"
    )
    return [Problem(f"job {job.name}", message)]


def _signal_problems(job: JobSpec) -> Iterator[Problem]:
    """Tells where trials would be compared by training losses that do not mean the same."""
    changers = loss_changers(job)
    if job.fidelity.prune_by == "loss" and changers:
        message = (
            f"fidelity.prune_by: loss compares trials whose training losses mean different things, as "
            f"{', '.join(changers)} vary: take val_loss, metric or auto"
        )
        yield Problem(f"job {job.name}", message)


def _precision_problems(job: JobSpec, config: Config) -> Iterator[Problem]:
    if job.resources.precision == FP16:
        for message in unscalable(config):
            yield Problem(f"config of job {job.name}", f"resources.precision: fp16: {message}")


def _emulated(job: JobSpec) -> Iterator[str]:
    if not job.resources.gpus_per_trial and job.resources.precision not in (None, FLOAT32):
        yield (
            f"resources.precision: {job.resources.precision} is for GPUs: without one most processors emulate it, "
            "which is slower than float32"
        )


def _disturbed(job: JobSpec) -> Iterator[str]:
    asked = job.resources
    if job.objective.secondary == "latency" and asked.gpus_per_trial < 1 and asked.concurrent != 1:
        yield (
            "objective.secondary: latency is measured while other trials use the same processors: "
            "give every trial a GPU of its own, or set resources.concurrent to 1"
        )


def _late_rungs(job: JobSpec) -> Iterator[str]:
    if job.fidelity.rungs == "auto" and job.budget.trials < 3 * TRIALS[0]:
        yield (
            f"fidelity.rungs: auto has the first {TRIALS[0]} trials run to the end; with as few as "
            f"{job.budget.trials} it saves little: name the rungs"
        )


def _crowded(job: JobSpec, config: Config) -> Iterator[str]:
    crop = crop_of(config)
    for index, stage in enumerate(_stages(config) if crop else []):
        points = min(side // stage.stride // stage.folds for side in crop or ())
        for name, parameter in job.space.parameters.items():
            if not isinstance(parameter, ChoiceParameter) or not _sets_centers(parameter, index):
                continue
            many = [str(choice) for choice in parameter.choices if isqrt(int(choice)) > points]
            if many:
                yield (
                    f"parameters.{name}: {', '.join(many)} centers in stage {index + 1}, "
                    f"but its regions have {points} points a side: centers will repeat each other"
                )


def _enlarged(job: JobSpec, config: Config) -> Iterator[str]:
    side, crop = job.image_side, crop_of(config)
    if side and crop and side < min(crop):
        size = "x".join(map(str, crop))
        yield f"image_side: {side} is below the crop of {size}: shrunk images will be enlarged again"


def _sets_centers(parameter: ChoiceParameter, stage: int) -> bool:
    return any(path in (CENTERS, f"{CENTERS}.{stage}") for path in parameter.sets)


def _stages(config: Config) -> list[Stage]:
    return stages(config.get("model", {}).get("backbone", {})) or []
