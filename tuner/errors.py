"""Everything that the tuner raises on purpose.

TunerError                 a message for a person; never a traceback (exit code 1)
├── BadInput               a file, value or picture that cannot be used; nothing was started (exit code 2)
└── TrialFailed            one trial could not go on; the study does
    ├── OutOfMemory
    ├── Diverged           the loss is no longer a finite number, or has exploded
    └── Crashed            a rank raised
        ├── CorruptPicture a picture cannot be read
        └── Died           a rank's process or node is gone
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby


class TunerError(Exception):
    pass


@dataclass(frozen=True)
class Problem:
    source: str
    """The file, option or thing that is wrong."""
    message: str
    """What is wrong with which value, and what to do next."""


class BadInput(TunerError):
    """All problems of the input at once, grouped by their source."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(_paragraphs(self.problems)))

    @classmethod
    def of(cls, source: str, *messages: str) -> "BadInput":
        return cls(Problem(source, message) for message in messages)


class TrialFailed(TunerError):
    pass


class OutOfMemory(TrialFailed):
    pass


class Diverged(TrialFailed):
    pass


class Crashed(TrialFailed):
    pass


class CorruptPicture(Crashed):
    pass


class Died(Crashed):
    pass


def _paragraphs(problems: Iterable[Problem]) -> Iterable[str]:
    for source, group in groupby(problems, key=lambda problem: problem.source):
        messages = [problem.message for problem in group]
        count = "1 problem" if len(messages) == 1 else f"{len(messages)} problems"
        yield f"{source}: {count}"
        yield from (f"  {message}" for message in messages)
