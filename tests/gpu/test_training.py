"""Trainings on a GPU: alone, on two, one after the other, short of memory, and without waits of the host."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.gpu.conftest import LENGTH
from tests.gpu.devices import DEVICE, needs_cuda, needs_device, needs_two_gpus
from tests.training.test_engine import keep
from tuner.errors import OutOfMemory
from tuner.sizing.memory import training_memory
from tuner.sizing.precision import with_precision
from tuner.sizing.trial_config import reproducible
from tuner.spec.trial import Config, RankInfo
from tuner.training import launch, open_training
from tuner.training.data.data import TrainBatches
from tuner.training.data.datasets import build
from tuner.training.engine import Training, segmentor
from tuner.training.train_step import make_runner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.xdist_group("gpu"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    needs_device,
]
HERE = RankInfo(device=DEVICE)
PACKAGE = Path(launch.__file__).parents[1]


@pytest.fixture
def ready(config: Config) -> Config:
    return reproducible(config, seed=3, ranks=1)


def test_a_training_of_60_iterations_learns_and_is_taken_up(ready: Config, tmp_path: Path) -> None:
    points = (5, LENGTH)
    training = Training(ready, tmp_path, HERE)
    first, last = training.step(points), training.step(points)
    assert last.iteration == LENGTH
    assert last.metrics["loss"] < first.metrics["loss"]
    assert Training(ready, tmp_path, HERE).step(points) == last


@needs_two_gpus
def test_two_ranks_train_past_the_iteration_at_which_mmcv_logs(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    launch.train(reproducible(config, seed=3, ranks=2), tmp_path / "work", 2, keep)
    assert len((tmp_path / "measured.jsonl").read_text().splitlines()) == 1


def test_three_trainings_of_one_process_give_their_memory_back(ready: Config, tmp_path: Path) -> None:
    """As a warm gang's ranks open them; NeedsFreshProcess would be raised."""
    for number in range(3):
        session = open_training(ready, tmp_path / str(number), HERE)
        assert session.step((2, LENGTH)).iteration == 2
        del session
        gc.collect()


@needs_cuda
def test_a_gpu_without_room_is_out_of_memory_and_trains_again_with_room(
    ready: Config, tmp_path: Path
) -> None:
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.set_per_process_memory_fraction(16 * 2**20 / whole, DEVICE)
    try:
        with pytest.raises(OutOfMemory, match="out of memory"):
            Training(ready, tmp_path, HERE).step((2, LENGTH))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
    assert Training(ready, tmp_path, HERE).step((2, LENGTH)).iteration == 2


def steps(config: Config, folder: Path) -> Iterator[int]:
    """Trains step by step, forward, backward and optimizer, and gives each step's number before it begins."""
    runner = make_runner(config, segmentor(config, HERE), HERE, str(folder))
    runner.call_hook("before_run")
    runner.model.train()
    batches = TrainBatches(build(config["data"]["train"]), config, HERE, first=0)
    for number in range(3):
        batch = next(batches)
        yield number
        runner.model.train_step(batch, None)["loss"].backward()
        runner.optimizer.step()
        runner.optimizer.zero_grad()


@needs_cuda
def test_a_step_takes_the_memory_that_is_computed_for_it(ready: Config, tmp_path: Path) -> None:
    computed = training_memory(ready)
    assert computed is not None
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(DEVICE)
    torch.cuda.reset_peak_memory_stats(DEVICE)
    list(steps(ready, tmp_path))
    taken = torch.cuda.max_memory_allocated(DEVICE) - before
    print(f"{taken / 2**20:.0f} MiB taken, {computed.step / 2**20:.0f} MiB computed")
    assert 0.7 * computed.step < taken < computed.total


@needs_cuda
def test_nothing_of_ours_makes_the_host_wait_in_a_step(ready: Config, tmp_path: Path) -> None:
    """Leaves out what mmseg waits for: the losses that it logs, and its accuracy."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for number in steps(ready, tmp_path):  # the first ones set libraries up
                torch.cuda.set_sync_debug_mode("warn" if number == 2 else "default")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = sorted({f"{each.filename}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)})
    print(*waits, sep="\n")
    assert waits, "mmseg's are seen"
    assert not [wait for wait in waits if str(PACKAGE) in wait or "/torch/" in wait]


@needs_cuda
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_less_precision_learns_as_float32_does_in_less_memory(
    config: Config, tmp_path: Path, precision: str
) -> None:
    """Prints images a second and the peak of memory, for the note."""
    measured, taken = {}, {}
    for each in ("float32", precision):
        ready = reproducible(with_precision(config, each), seed=3, ranks=1)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(DEVICE)
        training = Training(ready, tmp_path / each, HERE)
        measured[each] = training.step((LENGTH,))
        taken[each] = torch.cuda.max_memory_allocated(DEVICE)
        computed = training_memory(ready)
        assert computed is not None
        speed = measured[each].system_metrics["images_per_second"]
        print(
            f"{each}: {speed:.0f} images/s, {taken[each] / 2**20:.0f} MiB, {computed.step / 2**20:.0f} computed"
        )
        assert Training(ready, tmp_path / each, HERE).step((LENGTH,)) == measured[each]
    assert measured[precision].metrics["loss"] == pytest.approx(measured["float32"].metrics["loss"], rel=0.2)
    assert measured[precision].metrics[f"val_loss.{precision}"] == pytest.approx(
        measured[precision].metrics["val_loss"], rel=0.05
    )
    assert taken[precision] < taken["float32"]
