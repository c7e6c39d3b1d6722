"""Makes the initial points of a space into trials of a job: the points that are tried right after the default."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose

from tuner.errors import BadInput
from tuner.spec.job import JobSpec
from tuner.spec.space import FloatParameter, InitialPoint, Params
from tuner.spec.trial import Value

LEARNING_RATE = "optimizer.lr"


@dataclass(frozen=True)
class _Tried:
    """Holds an initial point with all parameters, and what is wrong with it in this job."""

    params: dict[str, Value]
    problems: list[str]


def initial_points(job: JobSpec, default: Params) -> list[Params]:
    """Returns the points with all parameters, without those that equal the default or an earlier one.

    A parameter that a point does not name has the default's value. A learning rate is brought from the point's
    global batch to the one that the job's `lr_rule` starts from. A point that a job cannot try is left out. A grid
    keeps to its own points.
    """
    points: list[Params] = []
    for tried in _tried(job, default) if job.search.sampler != "grid" else ():
        if not tried.problems and not any(_equal(tried.params, known) for known in (default, *points)):
            points.append(tried.params)
    return points


def asked_point(job: JobSpec, values: Params, default: Params) -> Params:
    """Returns the parameters of a trial that a person asks for; what is not named is the default's. Raises BadInput."""
    parameters, params = job.space.parameters, {}
    problems = [f"{name}: the space has {', '.join(parameters)}" for name in values if name not in parameters]
    known = {
        name: _number(value) if isinstance(parameters[name], FloatParameter) else value
        for name, value in values.items()
        if name in parameters
    }
    problems += [
        f"{name}: must be {parameters[name]}, got {value}"
        for name, value in known.items()
        if not parameters[name].contains(value)
    ]
    if not problems:
        point = InitialPoint.model_construct(params=known, global_batch=None)
        params = _filled(job, point, default)
        problems = list(_problems(job, point, params))
    if problems or not values:
        raise BadInput.of(f"study {job.name}", *(problems or ["add needs values, such as lr=2e-3"]))
    return params


def _number(value: Value) -> Value:
    """Returns a number that YAML takes for a text, such as 2e-3."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def left_out(job: JobSpec, default: Params) -> list[str]:
    """Says of each point that this job cannot try why it is left out."""
    return [
        f"initial_points.{index} is left out: {problem}"
        for index, tried in enumerate(_tried(job, default))
        for problem in tried.problems
    ]


def _tried(job: JobSpec, default: Params) -> Iterator[_Tried]:
    for point in job.space.initial_points:
        params = _filled(job, point, default)
        yield _Tried(params, list(_problems(job, point, params)))


def _filled(job: JobSpec, point: InitialPoint, default: Params) -> dict[str, Value]:
    params: dict[str, Value] = {}
    for name, parameter in job.space.parameters.items():
        value = point.params.get(name, default.get(name))
        if value is None or not job.space.counts(name, params):
            continue
        if isinstance(parameter, FloatParameter):
            value = float(value)
            if name in point.params and LEARNING_RATE in parameter.sets:
                value /= _factor(job, point)
        params[name] = value
    return params


def _factor(job: JobSpec, point: InitialPoint) -> float:
    """Returns how many times the job's rule gives the point's learning rate at the point's global batch."""
    rule = job.resources.lr_rule
    return rule.factor(point.global_batch) if rule and point.global_batch else 1.0


def _problems(job: JobSpec, point: InitialPoint, params: Params) -> Iterator[str]:
    space = job.space
    for name, parameter in space.parameters.items():
        if name not in params and space.counts(name, params):
            yield f"it has no {name}, nor has the default"
        elif name not in params and name in point.params:
            yield f"its {name} does not count with its other values"
        elif name in params and not parameter.contains(params[name]):
            yield f"with lr_rule its {name} is {params[name]:g}, outside {parameter}"
    yield from (f"it breaks {text!r}" for text in space.broken(params))


def _equal(one: Params, other: Params) -> bool:
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=1e-6)
    return one == other
