"""Holds what a report is drawn from: the study's history, and the files in its trials' folders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tuner.files.paths import TrialFolder
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.study.history import History
from tuner.study.replication import best, judged
from tuner.study.verdict import Verdict


@dataclass(frozen=True)
class Sources:
    history: History
    folder: Callable[[int], TrialFolder]
    """The folder of a trial, by its number."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """The versions, the commit and the fingerprint of the images, as the study keeps them."""
    events: Sequence[tuple[datetime, str, str, str]] = ()
    """What was asked of the study: when, by whom, what, and what came of it."""

    @property
    def job(self) -> JobSpec:
        return self.history.job

    @property
    def records(self) -> Sequence[Record]:
        return self.history.records

    @cached_property
    def latest(self) -> datetime:
        """Returns when a trial was last begun, measured or ended; now where none has begun."""
        begun = [record.started for record in self.records if record.started]
        ended = [record.ended for record in self.records if record.ended]
        measured = [
            r.started + timedelta(seconds=r.last.seconds) for r in self.records if r.started and r.last
        ]
        moments = [*begun, *ended, *measured]
        return max(moments, key=datetime.timestamp).astimezone() if moments else datetime.now().astimezone()

    @cached_property
    def completed(self) -> list[Record]:
        """Lists the completed trials of the search by their numbers."""
        return [record for record in self.history.search if record.outcome is Outcome.COMPLETED]

    @cached_property
    def verdict(self) -> Verdict | None:
        return judged(self.history)

    @cached_property
    def default(self) -> Record | None:
        return next((record for record in self.completed if record.trial.number == 0), None)

    @cached_property
    def rival(self) -> Record | None:
        """Returns the trial that is compared with the default: the best of the others."""
        if self.verdict:
            wanted = self.verdict.candidate
            return next(record for record in self.completed if record.trial.number == wanted)
        others = [record for record in self.records if record.trial.number != 0]
        return best(History(self.job, others))
