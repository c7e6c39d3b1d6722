"""Records learning curves and reads them, one JSON line a training; simulated searches train on them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tuner.errors import BadInput
from tuner.simulation.local_driver import trained
from tuner.spec.trial import Measurement, Outcome, Record, Trial, Value

Train = Callable[[Trial], Iterator[Measurement]]
"""Trains to the full length; raises Diverged and OutOfMemory."""


def record(trials: Iterable[Trial], train: Train, file: Path) -> Iterator[Record]:
    """Trains what the file does not hold yet and appends it as it goes: a killed recording is continued."""
    known = (
        {_key(record.trial.params, record.trial.seed) for record in read(file)} if file.exists() else set()
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    for trial in trials:
        if _key(trial.params, trial.seed) in known:
            continue
        recorded = _trained(trial, train)
        with file.open("a") as lines:
            lines.write(line(recorded))
        yield recorded


def read(file: Path) -> list[Record]:
    """Returns the recorded trainings; one of no study has the number of its line. Raises BadInput."""
    try:
        lines = file.read_text().splitlines(keepends=True)
    except OSError as error:
        raise BadInput.of(str(file), f"cannot be read: {error.strerror}") from error
    records, problems = [], []
    for number, text in enumerate(lines):
        try:
            records.append(_record(number, json.loads(text)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"line {number + 1}: is no recorded training: {error}")
    if problems:
        raise BadInput.of(str(file), *problems)
    return records


def line(record: Record) -> str:
    """Returns a training as a line of such a file, without the IoU of single classes."""
    content = {
        "params": record.trial.params,
        "seed": record.trial.seed,
        "outcome": record.outcome,
        "note": record.note,
        "measurements": [[m.iteration, _means(m.metrics), round(m.seconds, 3)] for m in record.measurements],
    }
    return json.dumps(content) + "\n"


def _trained(trial: Trial, train: Train) -> Record:
    measurements, outcome, note = trained(train(trial))
    return Record(trial, outcome, tuple(measurements), note=note)


def _key(params: Mapping[str, Value], seed: int) -> str:
    return json.dumps([params, seed], sort_keys=True)


def _means(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items() if not name.startswith("IoU.")}


def _record(number: int, content: Mapping[str, object]) -> Record:
    measurements = [Measurement(*facts) for facts in content["measurements"]]  # type: ignore[attr-defined]
    return Record(
        trial=Trial(
            int(content.get("number", number)),  # type: ignore[call-overload]
            dict(content["params"]),  # type: ignore[call-overload]
            int(content["seed"]),  # type: ignore[call-overload]
            content.get("replicate_of"),  # type: ignore[arg-type]
        ),
        outcome=Outcome(content["outcome"]),
        measurements=tuple(measurements),
        note=str(content["note"]),
    )
