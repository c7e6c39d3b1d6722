"""What a job's config and space get wrong about each other: told before anything starts."""

from collections.abc import Iterator
from math import isqrt, lcm

from tuner.architectures import Stage, stages
from tuner.calibration import TRIALS
from tuner.errors import Problem
from tuner.job import JobSpec
from tuner.overrides import crop_of
from tuner.space import CENTERS, ChoiceParameter
from tuner.trial import Config

METRICS = ("mIoU", "mAcc", "aAcc", "loss")


def job_problems(job: JobSpec, config: Config) -> list[Problem]:
    """Folds that do not divide the crop, a schedule that is too short, a metric that there is not."""
    return [*_fold_problems(job, config), *_fidelity_problems(job, config), *_metric_problems(job)]


def notes(job: JobSpec, config: Config) -> list[str]:
    """What works, but is rarely meant: late rungs, crowded centers, small pictures, a disturbed clock."""
    return [*_late_rungs(job), *_crowded(job, config), *_enlarged(job, config), *_disturbed(job)]


def _fold_problems(job: JobSpec, config: Config) -> list[Problem]:
    """Every stage's folds must divide its feature map."""
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


def _metric_problems(job: JobSpec) -> list[Problem]:
    metric = job.objective.metric
    if metric in METRICS or metric.startswith("IoU."):
        return []
    known = ", ".join((*METRICS, "IoU.<class>"))
    return [Problem(f"job {job.name}", f"objective.metric: there is no {metric}; there are {known}")]


def _disturbed(job: JobSpec) -> Iterator[str]:
    asked = job.resources
    if job.objective.against == "latency" and asked.gpus_per_trial < 1 and asked.concurrent != 1:
        yield (
            "objective.against: latency is measured while other trials use the same processors: "
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
    side, crop = job.picture_side, crop_of(config)
    if side and crop and side < min(crop):
        size = "x".join(map(str, crop))
        yield f"picture_side: {side} is below the crop of {size}: shrunk pictures will be enlarged again"


def _sets_centers(parameter: ChoiceParameter, stage: int) -> bool:
    return any(path in (CENTERS, f"{CENTERS}.{stage}") for path in parameter.sets)


def _stages(config: Config) -> list[Stage]:
    return stages(config.get("model", {}).get("backbone", {})) or []
