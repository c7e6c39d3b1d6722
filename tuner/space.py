"""What may vary: a space of parameters, each naming the config paths that it sets."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.trial import Value

CENTERS = "model.backbone.centers"


class Strict(BaseModel):
    """A frozen type that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Parameter(Strict):
    sets: tuple[str, ...] = Field(min_length=1)
    """The config paths that get the value, dotted: `optimizer.lr`; a number indexes a list."""

    @field_validator("sets", mode="before")
    @classmethod
    def _one_path_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

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
        if self.sets_centers:
            raise ValueError("centers need type: choice, with squares (4, 9, 16, …)")
        return self

    def contains(self, value: Value) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}"


class FloatParameter(_Range):
    type: Literal["float"]


class IntParameter(_Range):
    type: Literal["int"]
    low: int
    high: int

    def contains(self, value: Value) -> bool:
        return isinstance(value, int) and super().contains(value)


class ChoiceParameter(_Parameter):
    type: Literal["choice"]
    choices: tuple[bool | int | float | str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _squares(self) -> "ChoiceParameter":
        wrong = [choice for choice in self.choices if self.sets_centers and not is_square(choice)]
        if wrong:
            listed = ", ".join(map(str, wrong))
            raise ValueError(f"choices must be squares (4, 9, 16, …), got {listed}")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("choices must differ from each other")
        return self

    def contains(self, value: Value) -> bool:
        return value in self.choices

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


Parameter = Annotated[FloatParameter | IntParameter | ChoiceParameter, Field(discriminator="type")]


class Space(Strict):
    parameters: dict[str, Parameter] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_path_twice(self) -> "Space":
        owner: dict[str, str] = {}
        for name, parameter in self.parameters.items():
            for path in parameter.sets:
                if path in owner:
                    raise ValueError(f"{path} is set by both {owner[path]} and {name}")
                owner[path] = name
        return self

    def overrides(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """The config paths that the parameters set, with their values."""
        return {path: params[name] for name, parameter in self.parameters.items() for path in parameter.sets}


def is_square(value: object) -> bool:
    return isinstance(value, int) and value > 0 and math.isqrt(value) ** 2 == value
