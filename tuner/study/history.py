"""Holds what a study knows so far, and says once what is better, what is a replicate and who is ranked where."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record


@dataclass(frozen=True)
class History:
    """Holds a job and the records of its trials, in the order of their numbers."""

    job: JobSpec
    records: Sequence[Record]

    @cached_property
    def search(self) -> list[Record]:
        """Lists the trials that were drawn; replicates are left out."""
        return [record for record in self.records if record.trial.replicate_of is None]

    @cached_property
    def ranked(self) -> list[Record]:
        """Lists the completed trials of the search, the best objective first, of equals the earlier one."""
        completed = [record for record in self.search if record.outcome is Outcome.COMPLETED]
        return sorted(completed, key=lambda record: -self.score(record))

    @property
    def default(self) -> Record | None:
        """Returns trial 0, once it was drawn."""
        return self.records[0] if self.records else None

    @property
    def sign(self) -> int:
        """Returns 1 where a greater objective is better, and -1 where a smaller one is."""
        return 1 if self.job.objective.direction == "maximize" else -1

    def score(self, record: Record) -> float:
        """Returns the objective of a trial's last measurement, such that more is better."""
        return self.sign * (record.value(self.job.objective.metric) or 0.0)
