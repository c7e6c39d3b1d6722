"""Records of trials, as a study would write them."""

from datetime import datetime, timedelta, timezone

from tuner.spec.trial import Measurement, Outcome, Record, Trial

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
RUNGS = (60, 160, 480)


def record(number: int, outcome: Outcome | None, *values: float, note: str = "") -> Record:
    """A trial with these mIoU at its first rungs."""
    rungs = zip(RUNGS, values, strict=False)
    return Record(
        trial=Trial(number, {"lr": 1e-4 * (number + 1), "weight_decay": 1e-4, "centers": 25}, seed=0),
        outcome=outcome,
        measurements=tuple(
            Measurement(iteration, {"mIoU": value, "IoU.sky, (blue)": 9.5, "loss": 1.5}, iteration / 10)
            for iteration, value in rungs
        ),
        started=START,
        ended=START + timedelta(minutes=5) if outcome else None,
        note=note,
    )


STUDY = [
    record(0, Outcome.COMPLETED, 20.0, 25.0, 31.5),
    record(1, Outcome.PRUNED, 12.0),
    record(2, Outcome.OUT_OF_MEMORY, note="centers 25 need more than 80 GB"),
    record(3, Outcome.COMPLETED, 21.0, 33.0, 42.25),
]
