"""Computes what a job would do, as a value that can be printed; nothing is started."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tuner.errors import Problem
from tuner.sizing.memory import GIB, Memory, training_memory
from tuner.sizing.precision import precision_of
from tuner.sizing.seeds_needed import SeedsNeeded, seeds_needed
from tuner.sizing.trial_config import images_at_once, trial_config
from tuner.spec.job import JobSpec
from tuner.spec.space import ChoiceParameter, Parameter, Params
from tuner.spec.trial import Config, Outcome, Trial, Value
from tuner.study.history import History
from tuner.study.replication import rounds


@dataclass(frozen=True)
class Corner:
    """Is a point of the space at the ends of all parameters that memory depends on."""

    params: Params
    """Those parameters alone."""
    memory: Memory
    """The memory of one rank."""
    fits: bool
    """True where resources.gpu_memory is enough."""


@dataclass(frozen=True)
class TrainingTime:
    """Holds how long one training takes, and who says so."""

    hours: float
    source: str


@dataclass(frozen=True)
class Forecast:
    """Holds what simulated searches of a job cost and found."""

    curves: Path
    """The recorded curves that they trained on."""
    recorded: int
    """The trainings in it."""
    studies: int
    trainings: float
    """The median cost of the search in trainings of full length; replicates come on top."""
    found: Mapping[float, int]
    """The number of searches whose best trial is truly better than the default by so much."""
    short: float
    """By how much the default is truly worse than the best known."""


@dataclass(frozen=True)
class Plan:
    job: JobSpec
    images: int
    """The images that a rank trains at a time."""
    default: Memory | None
    """The memory of one rank; None where it cannot be computed."""
    corners: tuple[Corner, ...]
    precision: str
    """The precision of the forward passes: float32, bf16 or fp16."""
    seeds: SeedsNeeded | None
    """The seeds that differences need; None where no noise of the objective is known."""
    training: TrainingTime | None
    """The time of one training of full length; None where nobody measured or gave it."""
    verdict: int
    """The most trainings that the verdict takes after the search."""


def make_plan(
    job: JobSpec,
    config: Config,
    default: Params,
    earlier: Iterable[History] = (),
    step_seconds: float | None = None,
) -> Plan:
    """Computes what a job would do; a step's seconds, where given, go before what earlier studies took."""
    earlier = list(earlier)
    trial = trial_config(job, config, Trial(0, default, job.seed))
    memory = training_memory(trial, ranks=job.resources.processes)
    corners = tuple(_corners(job, config, default)) if memory else ()
    needed = seeds_needed(earlier, job.objective.metric)
    training = _training_time(job, earlier, step_seconds)
    verdict = sum(rounds(History(job, [])))
    return Plan(job, images_at_once(trial), memory, corners, precision_of(trial), needed, training, verdict)


def fits(job: JobSpec, config: Config) -> Callable[[Params], bool]:
    """Tells whether a trial with these parameters finds room in resources.gpu_memory."""

    def has_room(params: Params) -> bool:
        memory = _memory(job, config, params)
        return memory is None or _has_room(job, memory)

    return has_room


def memory_problems(job: JobSpec, config: Config, default: Params) -> list[Problem]:
    """Finds a default that does not fit, without which there is nothing to beat, and a cost that is not known."""
    memory = _memory(job, config, default)
    if memory is None and job.objective.secondary == "memory":
        unknown = "objective.secondary: memory is reckoned for Context Cluster with Semantic FPN alone"
        return [Problem(f"job {job.name}", f"{unknown}: take latency or parameters")]
    if memory is None or _has_room(job, memory):
        return []
    message = (
        f"resources.gpu_memory: the default needs {memory.total / GIB:.2f} GiB a rank, "
        f"but has {job.resources.memory_per_rank:g}: lower resources.global_batch, or take more ranks"
    )
    return [Problem(f"job {job.name}", message)]


def _training_time(
    job: JobSpec, earlier: Iterable[History], step_seconds: float | None
) -> TrainingTime | None:
    """Returns the time by the given seconds a step, else of the default in an earlier study of the same training."""
    if step_seconds is not None:
        return TrainingTime(
            step_seconds * job.fidelity.iterations / 3600, f"{step_seconds:g} s a step, as given"
        )
    for history in earlier:
        default = history.default
        if default and default.last and default.outcome is Outcome.COMPLETED:
            return TrainingTime(default.last.seconds / 3600, f"measured by {history.job.name}")
    return None


def _corners(job: JobSpec, config: Config, default: Params) -> Iterator[Corner]:
    ends = {name: _ends(parameter) for name, parameter in job.space.parameters.items()}
    counting = {
        name: values
        for name, values in ends.items()
        if len({_memory(job, config, {**default, name: value}) for value in values}) > 1
    }
    for values in product(*counting.values()):
        params = dict(zip(counting, values, strict=True))
        if memory := _memory(job, config, {**default, **params}):
            yield Corner(params, memory, _has_room(job, memory))


def _ends(parameter: Parameter) -> tuple[Value, ...]:
    """Returns the least and the greatest value; every choice where choices are no numbers."""
    if not isinstance(parameter, ChoiceParameter):
        return parameter.low, parameter.high
    if not parameter.has_numbers:
        return parameter.choices
    return min(parameter.choices, key=float), max(parameter.choices, key=float)


def _memory(job: JobSpec, config: Config, params: Params) -> Memory | None:
    config = trial_config(job, config, Trial(0, params, job.seed))
    return training_memory(config, ranks=job.resources.processes)


def _has_room(job: JobSpec, memory: Memory) -> bool:
    return memory.total <= job.resources.memory_per_rank * GIB
