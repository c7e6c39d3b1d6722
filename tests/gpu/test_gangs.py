"""Gangs on GPUs, on a real Ray: warm, killed in NCCL, two on a GPU, two ranks on one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from tests.cluster.test_gang import ranks
from tests.cluster.trainers import open_collective, open_noting_the_process
from tests.gpu.conftest import LENGTH
from tests.gpu.devices import JOIN, ON_GPU, needs_device, needs_two_gpus
from tuner.cluster.gang import Gang, Trainer
from tuner.errors import Died
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import reproducible
from tuner.spec.job import Resources
from tuner.spec.trial import Config
from tuner.training import open_training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.xdist_group("gpu"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its processes' pipes to the collector
    needs_device,
]
TRAINER = Trainer(JOIN, open_training)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """Starts Ray with the machine's GPUs; where the CPU stands in for them, two that nothing uses."""
    gpus = None if ON_GPU else 2
    ray.init(
        "local",
        num_cpus=4,
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()


@contextmanager
def gang(trainer: Trainer, gpus: float, count: int = 1) -> Iterator[Callable[[], Gang]]:
    """Starts gangs in one reservation, each after the one before is gone."""
    resources = Resources(gpus_per_trial=gpus, ranks=count, global_batch=8)
    group = placement_group([{"CPU": 1, "GPU": resources.gpus_per_rank}] * count)
    ray.get(group.ready(), timeout=60)
    yield lambda: Gang(resources, group, trainer)
    remove_placement_group(group)


def ready(config: Config, count: int) -> Config:
    share = apply(config, {"data.samples_per_gpu": 4 // count}, "test")
    return reproducible(share, seed=3, ranks=count)


def test_a_warm_gang_trains_three_trials_in_one_process(config: Config, tmp_path: Path) -> None:
    with gang(Trainer(JOIN, open_noting_the_process), gpus=1) as start:
        warm = start()
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            warm.open(ready(config, 1), folder)
            assert warm.step((2, LENGTH)).iteration == 2
        warm.disband()
    assert len({file.read_text() for file in tmp_path.glob("*/pid")}) == 1


@needs_two_gpus
def test_a_rank_killed_in_nccl_ends_its_gang_and_frees_its_place(config: Config, tmp_path: Path) -> None:
    with gang(Trainer(JOIN, open_collective), gpus=2, count=2) as start:
        first = start()
        first.open({}, tmp_path)
        with ThreadPoolExecutor() as pool:
            step = pool.submit(first.step, (LENGTH,))
            assert not wait([step], timeout=5).done
            victim, *_ = ranks()
            victim.kill()
            with pytest.raises(Died):
                step.result(timeout=60)
        first.disband()
        start().disband()


def test_two_trials_train_on_half_a_gpu_each(config: Config, tmp_path: Path) -> None:
    with gang(TRAINER, gpus=0.5) as one, gang(TRAINER, gpus=0.5) as other, ThreadPoolExecutor() as pool:
        gangs = [one(), other()]
        for number, each in enumerate(gangs):
            each.open(ready(config, 1), tmp_path / str(number))
        steps = [pool.submit(each.step, (2, LENGTH)) for each in gangs]
        measured = [step.result(timeout=300) for step in steps]
        for each in gangs:
            each.disband()
    losses = [measurement.metrics["loss"] for measurement in measured]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2), "the same training twice"


def test_two_ranks_train_on_one_gpu(config: Config, tmp_path: Path) -> None:
    """By gloo, as NCCL allows one rank a GPU alone."""
    with gang(TRAINER, gpus=1, count=2) as start:
        both = start()
        both.open(ready(config, 2), tmp_path)
        assert both.step((LENGTH,)).iteration == LENGTH
        both.disband()
