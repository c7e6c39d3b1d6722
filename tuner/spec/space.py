"""Defines what may vary: parameters, each with the config paths that it sets."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from tuner.spec.constraint import constraint
from tuner.spec.strict import Strict
from tuner.spec.trial import Value

CENTERS = "model.backbone.centers"
PARAMETER_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
EXACT = 2**53
"""Whole numbers up to here are kept exactly by every database."""
ON_STEP = 1e-8
"""The tolerance for rounding around a step, in steps; Optuna has the same."""


class _Parameter(Strict):
    sets: tuple[str, ...] = Field(min_length=1)
    """The config paths that get the value, dotted: `optimizer.lr`; a number indexes a list."""
    only_when: dict[str, Value] = Field(default_factory=dict)
    """Other parameters, or paths that they set, with the values at which this one counts: without them it is
    not drawn and sets nothing."""

    @field_validator("sets", mode="before")
    @classmethod
    def _one_path_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def contains(self, value: Value) -> bool:
        raise NotImplementedError

    @property
    def only(self) -> Value | None:
        """Returns the value of a parameter that has but one."""
        raise NotImplementedError

    @property
    def sets_centers(self) -> bool:
        return any(path == CENTERS or path.startswith(CENTERS + ".") for path in self.sets)


class _Range(_Parameter):
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "_Range":
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low:g} > {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 when log is true, got {self.low:g}")
        if not math.isfinite(self.high - self.low):
            raise ValueError(f"low and high are too far apart, got {self.low:g} and {self.high:g}")
        if self.sets_centers:
            raise ValueError("centers need type: choice, with squares (4, 9, 16, …)")
        return self

    def contains(self, value: Value) -> bool:
        if isinstance(value, bool | str) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high

    @property
    def only(self) -> Value | None:
        return self.low if self.low == self.high else None

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


class FloatParameter(_Range):
    type: Literal["float"]
    step: float | None = Field(default=None, gt=0)
    """Only low, low + step, low + 2 steps … up to high."""

    @model_validator(mode="after")
    def _whole_steps(self) -> "FloatParameter":
        if self.step is None:
            return self
        if self.log:
            raise ValueError("step and log: true exclude each other: remove one")
        if not self._is_on_step(self.high):
            raise ValueError(f"high must be low plus whole steps of {self.step:g}, got {self.high:g}")
        return self

    def contains(self, value: Value) -> bool:
        return super().contains(value) and self._is_on_step(float(value))

    def _is_on_step(self, value: float) -> bool:
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return steps < EXACT and abs(steps - round(steps)) < ON_STEP

    def __str__(self) -> str:
        return super().__str__() + (f" in steps of {self.step:g}" if self.step else "")


class IntParameter(_Range):
    type: Literal["int"]
    low: int = Field(ge=-EXACT, le=EXACT)
    high: int = Field(ge=-EXACT, le=EXACT)

    def contains(self, value: Value) -> bool:
        return isinstance(value, int) and super().contains(value)


class ChoiceParameter(_Parameter):
    type: Literal["choice"]
    choices: tuple[Value, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _squares(self) -> "ChoiceParameter":
        wrong = [choice for choice in self.choices if self.sets_centers and not is_square(choice)]
        if wrong:
            listed = ", ".join(map(str, wrong))
            raise ValueError(f"choices must be squares (4, 9, 16, …), got {listed}")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("choices must differ from each other")
        return self

    @property
    def only(self) -> Value | None:
        return self.choices[0] if len(self.choices) == 1 else None

    @property
    def has_numbers(self) -> bool:
        return all(isinstance(each, int | float) and not isinstance(each, bool) for each in self.choices)

    def contains(self, value: Value) -> bool:
        return any(_same(value, choice) for choice in self.choices)

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


Parameter: TypeAlias = FloatParameter | IntParameter | ChoiceParameter
Params: TypeAlias = Mapping[str, Value]


class InitialPoint(Strict):
    """Is a known point, tried before the sampler draws."""

    params: dict[str, Value] = Field(min_length=1)
    """The values of some parameters; the others have the default's."""
    global_batch: int | None = Field(default=None, gt=0)
    """The global batch that the learning rate was published for; None takes the learning rate as it is."""


class Space(Strict):
    parameters: dict[
        Annotated[str, Field(pattern=PARAMETER_NAME)], Annotated[Parameter, Field(discriminator="type")]
    ] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    """Comparisons in plain arithmetic that every trial's parameters satisfy: `centers_1 <= centers_2`."""

    initial_points: tuple[InitialPoint, ...] = ()
    """Points that are tried right after the default, in this order."""

    @model_validator(mode="after")
    def _whole(self) -> "Space":
        problems = [*self._paths_set_twice(), *self._wrong_conditions(), *self._wrong_constraints()]
        problems += self._wrong_points()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def overrides(self, params: Params) -> dict[str, Value]:
        """Returns the config paths that the parameters set, with their values."""
        return {path: params[name] for name in params for path in self.parameters[name].sets}

    def counts(self, name: str, params: Params) -> bool:
        """Tells whether a parameter's condition holds, given those above it."""
        wanted = self.parameters[name].only_when
        owners = self._owners()
        return all(_same(params.get(owners[key]), value) for key, value in wanted.items())

    def allows(self, params: Params) -> bool:
        return not self.broken(params)

    def broken(self, params: Params) -> list[str]:
        """Returns the constraints that the parameters break."""
        return [text for text in self.constraints if not constraint(text).holds(params)]

    def _owners(self) -> dict[str, str]:
        """Returns a parameter's name by that name or by a path that it sets."""
        paths = {path: name for name, parameter in self.parameters.items() for path in parameter.sets}
        return paths | {name: name for name in self.parameters}

    def _paths_set_twice(self) -> Iterator[str]:
        owner: dict[str, str] = {}
        for name, parameter in self.parameters.items():
            for path in parameter.sets:
                if path in owner:
                    yield f"{path} is set by both {owner[path]} and {name}"
                owner[path] = name

    def _wrong_conditions(self) -> Iterator[str]:
        owners, names = self._owners(), list(self.parameters)
        for place, (name, parameter) in enumerate(self.parameters.items()):
            for key, value in parameter.only_when.items():
                where = f"parameters.{name}.only_when"
                owner = owners.get(key)
                if owner is None:
                    yield f"{where}: {key} is neither a parameter nor a path that one sets"
                elif names.index(owner) >= place:
                    yield f"{where}: {key} must stand above {name}: put {owner} there"
                elif not self.parameters[owner].contains(value):
                    yield f"{where}: {owner} is never {value!r}: it has {self.parameters[owner]}"

    def _wrong_points(self) -> Iterator[str]:
        named = [(i, *each) for i, point in enumerate(self.initial_points) for each in point.params.items()]
        for index, name, value in named:
            where, parameter = f"initial_points.{index}.params.{name}", self.parameters.get(name)
            if parameter is None:
                yield f"{where}: there is no such parameter; there are {', '.join(self.parameters)}"
            elif not parameter.contains(value):
                yield f"{where}: must lie within {parameter}, got {value!r}"

    def _wrong_constraints(self) -> Iterator[str]:
        for index, text in enumerate(self.constraints):
            where = f"constraints.{index}: {text!r}"
            try:
                parsed = constraint(text)
            except ValueError as error:
                yield f"{where}: {error}"
                continue
            for name, place in parsed.names.items():
                parameter = self.parameters.get(name)
                if parameter is None:
                    known = ", ".join(self.parameters)
                    yield f"{where}: {place}: there is no parameter {name}; there are {known}"
                elif isinstance(parameter, ChoiceParameter) and not parameter.has_numbers:
                    yield f"{where}: {place}: {name} has choices that are no numbers"


def is_square(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and value > 0 and math.isqrt(value) ** 2 == value


def _same(value: Value | None, wanted: Value) -> bool:
    """Tells whether two values are the same; 1 equals 1.0 but not true."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
