"""Records of a whole study of any size, with classes, failures and replicates, drawn by chance."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from math import log10
from pathlib import Path
from random import Random

from tests.records import START
from tuner.files.paths import Home
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.study.history import History
from tuner.tracking.report.sources import Sources

RUNGS = (60, 160, 480)
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
CLASSES = ("sky", "hill", "water", "meadow", "sand", "wall", "roof", "path")
NASTY = (
    "<script>alert(1)</script>",
    "quo\"te's",
    "sl/ash",
    "x" * 200,
    "-dash",
    "a|b*c_d`e",
    "&amp; <b>",
    "{{ 7 * 7 }}",
    "[/red] :warning: 🙂",
    "```\n# $(date)",
)
MINUTES = {60: 6, 160: 16, 480: 48}
REPLICATED = 4


def large_study(trials: int, classes: Sequence[str], seeds: int = 3, at_a_time: int = 4) -> list[Record]:
    """The default, as many trials as asked for, then replicates of the default and the best few."""
    chance = Random(0)
    records = [_record(chance, number, _params(chance, number), classes) for number in range(trials)]
    best = sorted(
        (r for r in records if r.outcome is Outcome.COMPLETED), key=lambda r: -(r.value("mIoU") or 0)
    )
    chosen = [0, *(r.trial.number for r in best if r.trial.number)][: REPLICATED + 1] if seeds > 1 else []
    for seed in range(1, seeds + 1):
        for number in chosen:
            params = records[number].trial.params
            again = _record(chance, len(records), dict(params), classes, replicate_of=number)
            records.append(replace(again, trial=replace(again.trial, seed=seed)))
    return [_placed(record, place, at_a_time) for place, record in enumerate(records)]


def _params(chance: Random, number: int) -> dict[str, float | int]:
    if number == 0:
        return {"lr": 1e-4, "weight_decay": 1e-4, "centers": 25}
    return {
        "lr": 10 ** chance.uniform(-4.4, -2.1),
        "weight_decay": 10 ** chance.uniform(-5, -1.1),
        "centers": chance.choice([4, 25, 49]),
    }


def _record(
    chance: Random,
    number: int,
    params: dict[str, float | int],
    classes: Sequence[str],
    replicate_of: int | None = None,
) -> Record:
    is_spared = number == 0 or replicate_of is not None
    height = 45 - 3 * (log10(params["lr"]) + 3.2) ** 2 - 0.5 * (log10(params["weight_decay"]) + 3) ** 2
    outcome, note, reached = Outcome.COMPLETED, "", RUNGS
    if not is_spared and params["lr"] > 4e-3:
        outcome, note, reached = Outcome.DIVERGED, "mIoU nan at iteration 60", ()
    elif not is_spared and chance.random() < 0.04:
        outcome, note, reached = Outcome.OUT_OF_MEMORY, "CUDA out of memory. Tried to allocate 2.00 GiB", ()
    elif not is_spared and chance.random() < 0.5:
        outcome, reached = Outcome.PRUNED, RUNGS[: chance.choice([1, 2])]
    measured = tuple(_measurement(chance, iteration, height, classes) for iteration in reached)
    trial = Trial(number, params, 0, replicate_of)
    return Record(trial, outcome, measured, START, START, note)


def _measurement(chance: Random, iteration: int, height: float, classes: Sequence[str]) -> Measurement:
    miou = height * (1 - 0.4 * (60 / iteration)) + chance.gauss(0, 0.4)
    ious = {f"IoU.{name}": miou + 20 * (hash_of(name) - 0.5) + chance.gauss(0, 2) for name in classes}
    sweep = {f"mIoU.centers_{n}": miou - 0.02 * (n - 25) ** 2 / 25 for n in (4, 9, 16, 25, 36, 49)}
    metrics = {"mIoU": miou, "loss": 60 / height, **ious, **(sweep if iteration == RUNGS[-1] else {})}
    return Measurement(iteration, metrics, 60.0 * MINUTES[iteration], {"images_per_second": 80.0})


def hash_of(name: str) -> float:
    """0 … 1, the same in every process."""
    return sum(map(ord, name)) % 97 / 97


def _placed(record: Record, place: int, at_a_time: int) -> Record:
    """Begun when its turn came, ended when its last measurement was made."""
    started = START + timedelta(minutes=30 * (place // at_a_time) + place % at_a_time)
    minutes = record.last.seconds / 60 if record.last else 2
    return replace(record, started=started, ended=started + timedelta(minutes=minutes))


def sources(job: JobSpec, records: list[Record], home: Path = Path("nowhere")) -> Sources:
    return Sources(History(job, records), lambda number: Home(home).trial(job.name, number))
