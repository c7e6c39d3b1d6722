"""Tells how one trial was trained: its losses, its evaluations, how it ended."""

import json
from collections.abc import Iterator
from typing import Any

from tuner.errors import TunerError
from tuner.files.paths import TrialFolder
from tuner.files.reading import text_of
from tuner.study.history import History
from tuner.tracking.report.sentences import number
from tuner.tracking.tables import short

LEFT_OUT = ("mode", "epoch", "iter", "time", "data_time")
"""What mmcv logs but nobody looks for in a trial."""


def lines(history: History, trial: int, folder: TrialFolder) -> Iterator[str]:
    """Yields what mmcv logged of a trial and what was measured of it, by iteration, then how it ended.

    Raises TunerError where the study has no such trial.
    """
    job, records = history.job, {record.trial.number: record for record in history.records}
    if trial not in records:
        known = f"0 to {max(records)}" if records else "none"
        raise TunerError(f"study {job.name} has no trial {trial}; there are: {known}")
    record = records[trial]
    params = ", ".join(f"{name} {short(value)}" for name, value in record.trial.params.items())
    yield f"trial {record.trial.number}: {params}, seed {record.trial.seed}"
    metric = job.objective.metric
    measured = [
        (each.iteration, 1, f"{metric} {number(job, each.metrics.get(metric))}, {each.seconds:.0f} s")
        for each in record.measurements
    ]
    for iteration, _, text in sorted([*_logged(folder), *measured]):
        yield f"iteration {iteration}: {text}"
    ending = record.outcome.value if record.outcome else "not ended"
    yield f"{ending}: {record.note}" if record.note else ending


def _logged(folder: TrialFolder) -> Iterator[tuple[int, int, str]]:
    """Yields the lines of mmcv's log; of iterations that were trained twice, the second time counts."""
    entries: dict[int, dict[str, Any]] = {}
    for line in (text_of(folder.log) or "").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # it was cut off while it was written
        if entry.get("mode") == "train":
            entries[entry["iter"]] = entry
    for iteration, entry in entries.items():
        shown = [f"{name} {short(value)}" for name, value in entry.items() if name not in LEFT_OUT]
        yield iteration, 0, ", ".join(shown)
