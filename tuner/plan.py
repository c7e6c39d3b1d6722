"""What a job would do, as a value that can be printed: nothing is started."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from tuner.errors import Problem
from tuner.job import JobSpec
from tuner.memory import GIB, Memory, training_memory
from tuner.overrides import pictures_at_once, trial_config
from tuner.space import ChoiceParameter, Parameter, Params
from tuner.trial import Config, Trial, Value


@dataclass(frozen=True)
class Corner:
    """A point of the space at the ends of all parameters that memory depends on."""

    params: Params
    """Those parameters alone."""
    memory: Memory
    """Of one rank."""
    fits: bool
    """In resources.gpu_memory."""


@dataclass(frozen=True)
class Plan:
    job: JobSpec
    pictures: int
    """That a rank trains at a time."""
    default: Memory | None
    """Of one rank; None where it cannot be reckoned."""
    corners: tuple[Corner, ...]


def make_plan(job: JobSpec, config: Config, default: Params) -> Plan:
    trial = trial_config(job, config, Trial(0, default, job.seed))
    memory = training_memory(trial)
    corners = tuple(_corners(job, config, default)) if memory else ()
    return Plan(job, pictures_at_once(trial), memory, corners)


def fits(job: JobSpec, config: Config) -> Callable[[Params], bool]:
    """Whether a trial with these parameters finds room in resources.gpu_memory."""

    def has_room(params: Params) -> bool:
        memory = _memory(job, config, params)
        return memory is None or _has_room(job, memory)

    return has_room


def memory_problems(job: JobSpec, config: Config, default: Params) -> list[Problem]:
    """The default must fit: without it there is nothing to beat. As a cost, memory must be known."""
    memory = _memory(job, config, default)
    if memory is None and job.objective.against == "memory":
        unknown = "objective.against: memory is reckoned for Context Cluster with Semantic FPN alone"
        return [Problem(f"job {job.name}", f"{unknown}: take latency or parameters")]
    if memory is None or _has_room(job, memory):
        return []
    message = (
        f"resources.gpu_memory: the default needs {memory.total / GIB:.2f} GiB a rank, "
        f"but has {job.resources.memory_per_rank:g}: lower resources.global_batch, or take more ranks"
    )
    return [Problem(f"job {job.name}", message)]


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
    """The least and the greatest value; every choice where choices are no numbers."""
    if not isinstance(parameter, ChoiceParameter):
        return parameter.low, parameter.high
    if not parameter.has_numbers:
        return parameter.choices
    return min(parameter.choices, key=float), max(parameter.choices, key=float)


def _memory(job: JobSpec, config: Config, params: Params) -> Memory | None:
    return training_memory(trial_config(job, config, Trial(0, params, job.seed)))


def _has_room(job: JobSpec, memory: Memory) -> bool:
    return memory.total <= job.resources.memory_per_rank * GIB
