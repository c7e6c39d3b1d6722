"""Defines everything that the tuner raises on purpose.

TunerError                 a message for a person; never a traceback (exit code 1)
├── BadInput               a file, value or image that cannot be used; nothing was started (exit code 2)
├── AskedToLeave           a study's trials are saved; it goes on when it is resumed
├── StillRuns              a study's earlier submission has not ended
├── Unreadable             a study's database or its trials' files do not answer
└── TrialFailed            one trial could not go on; the study does
    ├── OutOfMemory
    ├── Left               it was asked to leave, and saved its checkpoint
    ├── Diverged           the loss is no longer a finite number, or has exploded
    └── Crashed            a rank raised
        ├── CorruptImage   an image cannot be read
        ├── NoGpu          a rank's GPU was reserved, but CUDA cannot use it
        ├── NeedsFreshProcess  the training before left the process unfit for the next
        └── Died           a rank's process or node is gone
            ├── Hung       nothing moved in it any more
            └── SickGpu    a rank's GPU or driver failed
                └── NcclFailed  the ranks' GPUs could not reach each other
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

TOLD = 100
"""Problems of one source that are told; more are counted."""
LONGEST = 1000
"""Characters of a problem that are told."""


class TunerError(Exception):
    pass


@dataclass(frozen=True)
class Problem:
    source: str
    """The file, option or thing that is wrong."""
    message: str
    """It says what is wrong with which value, and what to do next."""


class BadInput(TunerError):
    """Reports all problems of the input at once, grouped by their source."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(_paragraphs(self.problems)))

    @classmethod
    def of(cls, source: str, *messages: str) -> "BadInput":
        return cls(Problem(source, message) for message in messages)


class AskedToLeave(TunerError):
    pass


class StillRuns(TunerError):
    pass


class Unreadable(TunerError):
    pass


class TrialFailed(TunerError):
    pass


class OutOfMemory(TrialFailed):
    pass


class Left(TrialFailed):
    pass


class Diverged(TrialFailed):
    pass


class Crashed(TrialFailed):
    pass


class CorruptImage(Crashed):
    pass


class NoGpu(Crashed):
    pass


class NeedsFreshProcess(Crashed):
    pass


class Died(Crashed):
    pass


class Hung(Died):
    pass


class SickGpu(Died):
    """Names the node whose GPU failed, by Ray's id."""

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message, node)
        self.node = node

    def __str__(self) -> str:
        return str(self.args[0])


class NcclFailed(SickGpu):
    pass


def _paragraphs(problems: Iterable[Problem]) -> Iterable[str]:
    for source, group in groupby(problems, key=lambda problem: problem.source):
        messages = [problem.message for problem in group]
        count = "1 problem" if len(messages) == 1 else f"{len(messages)} problems"
        yield f"{source}: {count}"
        yield from (f"  {_short(message)}" for message in messages[:TOLD])
        if len(messages) > TOLD:
            yield f"  … and {len(messages) - TOLD} more"


def _short(message: str) -> str:
    half = LONGEST // 2
    return message if len(message) <= LONGEST else f"{message[:half]} … {message[-half:]}"
