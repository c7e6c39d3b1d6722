"""How long a draw takes with a long past: the default sampler, on SQLite.

python tests/benchmarks/bench_search.py
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import JOB
from tests.loop import DEFAULT
from tuner.search.ask import OUTCOME, decided
from tuner.search.unit_cube import from_unit
from tuner.spec.job import JobSpec
from tuner.spec.space import ChoiceParameter
from tuner.spec.trial import Measurement, Outcome, Value
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.store.studies import open_study

PASTS = (100, 1000, 5000)
DRAWS = 5


def main() -> None:
    table = Table(
        title="One draw, in seconds; the fastest and the middle of some, recorded and drawn in turn"
    )
    for heading in ("past trials", "fastest", "median"):
        table.add_column(heading, justify="right")
    for past in PASTS:
        with tempfile.TemporaryDirectory() as folder:
            seconds = measured(Path(folder), past)
        table.add_row(f"{past:,}", f"{min(seconds):.3f}", f"{statistics.median(seconds):.3f}")
    Console(width=80).print(table)


def measured(folder: Path, past: int) -> list[float]:
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB))
    job = read_job(folder / "job.yaml")
    storage = f"sqlite:///{folder}/studies.db"
    open_study(storage, job, {"data": "abc"}, DEFAULT)
    fill(storage, job, past)
    store = open_study(storage, job, {"data": "abc"}, DEFAULT)
    return [turn(store) for _ in range(DRAWS + 1)][1:]


def fill(storage: str, job: JobSpec, past: int) -> None:
    """Of ten, one completed, eight pruned at the first rung and one out of memory."""
    rows = optuna.load_study(study_name=job.name, storage=storage)
    chance = Random(0)
    rows.add_trials(row(number, decided(evenly(job, chance), job.space)) for number in range(past))


def evenly(job: JobSpec, chance: Random) -> dict[str, Value]:
    return {
        name: chance.choice(parameter.choices)
        if isinstance(parameter, ChoiceParameter)
        else from_unit(parameter, chance.random())
        for name, parameter in job.space.parameters.items()
    }


def row(number: int, trial: FrozenTrial) -> FrozenTrial:
    value = float(trial.params["lr"])
    kind = number % 10
    outcome = {0: Outcome.COMPLETED, 1: Outcome.OUT_OF_MEMORY}.get(kind, Outcome.PRUNED)
    states = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.OUT_OF_MEMORY: TrialState.FAIL}
    trial.state = states.get(outcome, TrialState.PRUNED)
    trial.intermediate_values = {60: value, 480: value} if kind == 0 else {60: value}
    trial.value = None if outcome is Outcome.OUT_OF_MEMORY else value
    trial.datetime_complete = trial.datetime_start
    trial.user_attrs = {OUTCOME: outcome.value}
    return trial


def turn(store: OptunaStore) -> float:
    begun = time.perf_counter()
    trial = store.draw()
    seconds = time.perf_counter() - begun
    store.measured(trial.number, Measurement(480, {"mIoU": 1.0}, 1.0))
    store.ended(trial.number, Outcome.COMPLETED, "")
    return seconds


if __name__ == "__main__":
    main()
