"""What a trial costs the controller, as a study grows: CPU time of the process that runs `tuner run`.

1,000 trials of the synthetic trainer on 64 logical GPUs; MLflow is left out, as its own time hides the rest:
python tests/benchmarks/bench_controller.py
"""

import io
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))

import ray
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_backbone import machine
from tuner import checking
from tuner.cluster import ray_tune
from tuner.cluster.gang import Trainer
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import Budget, Fidelity, JobSpec, Resources, Search
from tuner.spec.trial import RankInfo, Record
from tuner.spec.yaml_files import read_space
from tuner.store.studies import open_study
from tuner.study.history import History
from tuner.study.retention import Retention
from tuner.study.study import Study
from tuner.tracking.terminal import TrialTable
from tuner.training import open_training

ROOT = Path(__file__).parents[2]
TRIALS, GPUS = 1000, 64
CONCURRENT = 12
"""Trials at a time: each has two processes, and 64 would not fit in the memory of a small machine."""
AT = (100, 300, 500, 700, 900)
"""Trials; the first hundred start the processes."""


def main() -> None:
    os.environ |= ray_tune.ENVIRONMENT
    ray.init(
        "local",
        num_cpus=GPUS,
        num_gpus=GPUS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    with TemporaryDirectory() as folder:
        seconds = seconds_at_each_end(Home(Path(folder)))
    ray.shutdown()
    costs = [(seconds[last] - seconds[first]) / (last - first) for first, last in pairwise((*AT, TRIALS - 1))]
    table = Table(title=f"The controller's CPU time a trial\n{machine()}")
    for first, last in pairwise((*AT, TRIALS)):
        table.add_column(f"{first} – {last}", justify="right")
    table.add_row(*(f"{cost * 1000:.0f} ms" for cost in costs))
    Console(width=100).print(table)
    print(f"at the end {costs[-1] / costs[0]:.2f} times that at the start; the bound is 1.5")


class Clock:
    """A study.Callback that notes the process's CPU time at each trial's end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def changed(self, record: Record) -> None:
        if record.outcome:
            self.seconds.append(time.process_time())


def seconds_at_each_end(home: Home) -> list[float]:
    job = JobSpec(
        name="controller",
        config=ROOT / "configs/synthetic.py",
        data_root=ROOT,
        space=read_space(ROOT / "search_spaces/pvt.yaml"),
        budget=Budget(trials=TRIALS, seeds=1),
        fidelity=Fidelity(iterations=480),
        resources=Resources(global_batch=8, concurrent=CONCURRENT),
        search=Search(sampler="random", scheduler="none"),
    )
    checked = checking.check(job, home.storage)
    store, clock = open_study(home.storage, job, checked.fingerprint, checked.default), Clock()
    table = TrialTable(History(job, []), console=Console(file=io.StringIO()))
    study = Study(job, store, scheduler_for, [table, Retention(History(job, []), home), clock])
    ray_tune.run(
        study, ray_tune.Launch(job, checked.config, home, Trainer(place_without_torch, open_training))
    )
    return clock.seconds


def place_without_torch(rank: int, ranks: int, _address: str, _gpus: float) -> RankInfo:
    return RankInfo(rank, ranks)


if __name__ == "__main__":
    main()
