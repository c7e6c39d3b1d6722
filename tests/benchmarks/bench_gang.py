"""What a trial costs beside its training: gangs that stay warm, and Ray's documented pattern.

The documented pattern is a Tune function that runs a TorchTrainer. All figures include the start of the
processes, but not Ray's own; run it on a machine that does nothing else:
python tests/benchmarks/bench_gang.py
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))

import ray.train
from ray import tune
from ray.train.torch import TorchTrainer
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_backbone import machine
from tuner import checking
from tuner.cluster import ray_tune
from tuner.cluster.gang import Trainer
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import Budget, Fidelity, JobSpec, Resources, Search
from tuner.spec.trial import Record
from tuner.spec.yaml_files import read_space
from tuner.store.studies import open_study
from tuner.study.study import Study
from tuner.training import open_training, process_group
from tuner.training.data import toy

ROOT = Path(__file__).parents[2]
STOPS = (4, 8, 12)
"""Every trial has three steps."""
DOCUMENTED = 2
"""Trials by Ray's documented pattern: half a minute each."""


def main() -> None:
    table = Table(title=f"A trial of 2 ranks, beside its training\n{machine()}")
    for heading in ("trials", "steps", "overhead a trial", "bound"):
        table.add_column(heading, justify="right")
    with TemporaryDirectory() as folder, ray_tune.connected(None):
        synthetic = overhead("synthetic.py", ROOT, 24, Path(folder))
        table.add_row("24 synthetic", "3", f"{synthetic:.2f} s", "0.5 s")
        images = Path(folder) / "toy"
        toy.draw(images)
        nano = overhead("sem_fpn/fpn_coc_nano_toy.py", images, 12, Path(folder))
        table.add_row("12 nano CoC", "3", f"{nano:.2f} s", "1.5 s")
        documented = overhead_of_the_documented_pattern(DOCUMENTED, Path(folder))
        table.add_row(
            f"{DOCUMENTED} documented", "3", f"{documented:.1f} s", f"{synthetic * 50:.1f} s or more"
        )
    Console(width=100).print(table)
    print(f"the documented pattern costs {documented / synthetic:.0f} times as much")


def overhead(config: str, data_root: Path, trials: int, folder: Path) -> float:
    """Seconds a trial, over what its measurements took."""
    job = JobSpec(
        name=Path(config).stem,
        config=ROOT / "configs" / config,
        data_root=data_root,
        space=read_space(ROOT / "search_spaces/pvt.yaml"),
        budget=Budget(trials=trials, seeds=1),
        fidelity=Fidelity(iterations=STOPS[-1], rungs=STOPS),
        resources=Resources(gpus_per_trial=0, ranks=2, global_batch=8, concurrent=1),
        search=Search(sampler="random", scheduler="none"),
    )
    begun = time.perf_counter()
    records = searched(job, Home(folder / job.name))
    seconds = time.perf_counter() - begun
    assert len(records) == trials
    return (seconds - sum(record.last.seconds for record in records if record.last)) / trials


def searched(job: JobSpec, home: Home) -> list[Record]:
    checked = checking.check(job, home.storage)
    study = Study(job, open_study(home.storage, job, checked.fingerprint, checked.default), scheduler_for)
    ray_tune.run(
        study, ray_tune.Launch(job, checked.config, home, Trainer(process_group.join, open_training))
    )
    return study.records


def overhead_of_the_documented_pattern(trials: int, folder: Path) -> float:
    """Seconds a trial; the training does nothing."""
    workers = ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.9})

    def training(settings: dict[str, float]) -> None:
        for _ in STOPS:
            ray.train.report({"mIoU": settings["lr"]})

    def trial(settings: dict[str, float]) -> None:
        own = ray.train.RunConfig(storage_path=str(folder / "train"))
        TorchTrainer(training, train_loop_config=settings, scaling_config=workers, run_config=own).fit()
        tune.report({"mIoU": settings["lr"]})

    tuner = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        param_space={"lr": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    begun = time.perf_counter()
    results = tuner.fit()
    assert not results.errors
    return (time.perf_counter() - begun) / trials


if __name__ == "__main__":
    main()
