"""What a search has spent."""

from datetime import datetime, timedelta, timezone

from tuner.budget import time_spent
from tuner.trial import Measurement, Record, Trial


def test_the_time_spent_is_that_of_any_trial_without_pauses() -> None:
    def trained(at: float, seconds: float) -> Record:
        started = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=at)
        return Record(Trial(0, {}, 0), None, (Measurement(60, {}, seconds),), started)

    assert time_spent([]) == 0
    overlapping = [trained(0, 10), trained(5, 10), trained(6, 2)]
    assert time_spent([*overlapping, trained(1000, 5)]) == 20
