"""What showing a search costs it: the demo's first trials, one rank, with MLflow's database and all images.

On the search's path are the notice that something changed, and the strips that an evaluation keeps. Off it, a thread
writes to MLflow and draws the report. Seconds of computing count, not those that a busy machine has others wait.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from tests.benchmarks.bench_backbone import machine
from tuner import checking
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.simulation import local_driver
from tuner.sizing.trial_config import trial_config
from tuner.spec.trial import RankInfo, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.study.history import History
from tuner.study.study import Study
from tuner.tracking.mlflow import MlflowTracker, Server
from tuner.tracking.report.sources import Sources
from tuner.training import Session, open_training
from tuner.training.data.toy import draw
from tuner.training.engine import Training
from tuner.training.evaluation.strips import Strips

JOB = Path(__file__).parents[2] / "configs/jobs/demo.yaml"
TRIALS = 3
ON_THE_PATH = {
    "choice of the images, once": (checking, "with_strips_named"),
    "notices": (MlflowTracker, "changed"),
    "strips": (Strips, "keep"),
    "their legend": (Strips, "describe"),
}
OFF_THE_PATH = {"thread for MLflow": (MlflowTracker, "_show"), "the last drawing": (MlflowTracker, "end")}
TRAINING = {"training and evaluation": (Training, "step")}


def main() -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder, timed(ON_THE_PATH | OFF_THE_PATH | TRAINING) as seconds:
        search(Path(folder))
    whole = seconds["training and evaluation"]
    print(f"the demo's first {TRIALS} trials, {machine()}\n")
    print("| | seconds of computing | share of the training's |\n| --- | --- | --- |")
    path = {"on the search's path": sum(seconds[name] for name in ON_THE_PATH)}
    for name, spent in [*seconds.items(), *path.items()]:
        print(f"| {name} | {spent:.3f} | {spent / whole:.2%} |")


def search(folder: Path) -> None:
    draw(folder / "toy")
    (folder / "home").mkdir()
    home = Home(folder / "home")
    job = read_job(JOB, {"data_root": str(folder / "toy"), "budget.trials": TRIALS, "resources.ranks": 1})
    checked = checking.check(job, home.storage)
    config = checking.with_strips_named(job, checked.config)
    store = open_study(home.storage, job, checked.fingerprint, checked.default)

    def read() -> Sources:
        return Sources(History(job, store.records()), partial(home.trial, job.name), store.origin)

    def opened(trial: Trial) -> Session:
        return open_training(
            trial_config(job, config, trial), home.trial(job.name, trial.number).root, RankInfo()
        )

    tracker = MlflowTracker(Server(home.tracking, home.artifacts), store.id, read)
    tracker.begin()
    local_driver.drive(Study(job, store, scheduler_for, [tracker]), opened)
    tracker.end()


@contextmanager
def timed(functions: dict[str, tuple[Any, str]]) -> Iterator[Counter[str]]:
    """Counts the seconds that the threads compute in these functions."""
    seconds: Counter[str] = Counter(dict.fromkeys(functions, 0.0))  # type: ignore[arg-type]

    def counting(name: str, function: Any) -> Any:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            begun = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                seconds[name] += time.thread_time() - begun  # type: ignore[assignment]

        return call

    patches = [
        patch.object(owner, function, counting(name, getattr(owner, function)))
        for name, (owner, function) in functions.items()
    ]
    for each in patches:
        each.start()
    yield seconds
    for each in patches:
        each.stop()


if __name__ == "__main__":
    main()
