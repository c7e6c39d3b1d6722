"""Training through mmcv's runner, on drawn images: taken up, split over ranks, as mmseg trains."""

import atexit
import copy
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import mmseg.apis
import numpy as np
import pytest
import torch
from mmcv.cnn.utils import revert_sync_batchnorm
from mmcv.runner import HOOKS, Hook, TextLoggerHook
from mmcv.utils import Config as MmcvConfig
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from torch.multiprocessing import start_processes

from tests.conftest import ROOT
from tuner.errors import BadInput, Diverged, Left, OutOfMemory
from tuner.files import time_lost
from tuner.files.paths import Home
from tuner.models.layers import Stage
from tuner.sizing.config_paths import apply
from tuner.sizing.own_entry import with_own
from tuner.sizing.trial_config import in_less_memory, reproducible, with_data_root, with_image_side
from tuner.spec.trial import Config, Measurement, RankInfo
from tuner.training import divergence, engine, launch, train_step
from tuner.training.config import config as configs
from tuner.training.data.toy import draw
from tuner.training.engine import Training
from tuner.training.train_step import TrainStep

LENGTH = 6
SHORT = {
    "runner.max_iters": LENGTH,
    "checkpoint_config.interval": 2,
    "optimizer.lr": 1e-3,
    "data.samples_per_gpu": 4,
    "model.backbone": {
        "type": "ContextCluster",
        "arch": "nano",
        "drop_path_rate": 0.3,
        "layer_scale": 1.0,
        "with_cp": False,
    },
    "optimizer_config": {"grad_clip": {"max_norm": 1.0}},
}
PLAIN_DESCENT = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
"""For sums in another order: AdamW's first steps blow the rounding of a gradient near zero up to a whole step."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=10, validation=4)
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    return with_data_root(apply(plain, SHORT, "test"), folder)


@pytest.fixture
def ready(config: Config) -> Config:
    return reproducible(config, seed=3, ranks=1)


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training._segmentor.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0)


def test_training_taken_up_at_a_rung_equals_training_in_one_go(ready: Config, tmp_path: Path) -> None:
    whole = Training(ready, tmp_path / "whole", RankInfo())
    whole_end = whole.step((LENGTH,))
    first = Training(ready, tmp_path / "cut", RankInfo()).step((3, LENGTH))
    again = Training(ready, tmp_path / "cut", RankInfo())
    assert again.step((3, LENGTH)) == first
    end = again.step((3, LENGTH))
    assert end.metrics == whole_end.metrics
    assert_equal(weights(again), weights(whole))


def use_disk(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As if on a node with this temporary folder."""
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_training_cut_off_between_rungs_goes_on_elsewhere_from_its_last_checkpoint(
    ready: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials_home: Home
) -> None:
    whole = Training(ready, tmp_path / "whole", RankInfo())
    whole_end = whole.step((LENGTH,))
    folder = trials_home.trial("cut", 1).root
    use_disk(monkeypatch, tmp_path / "here")
    monkeypatch.setattr(time_lost, "TIMES_NOTE", 0)
    monkeypatch.setattr(time_lost, "LEAST", 0.0)
    cut = Training(ready, folder, RankInfo())
    monkeypatch.setattr(cut, "_evaluate", lambda *_: pytest.fail("cut off"))
    begun = time.perf_counter()
    with pytest.raises(pytest.fail.Exception):
        cut.step((5, LENGTH))
    took = time.perf_counter() - begun
    use_disk(monkeypatch, tmp_path / "there")
    again = Training(ready, folder, RankInfo())
    assert again.iteration == 4
    end = again.step((LENGTH,))
    assert end.metrics == whole_end.metrics
    assert 0 < end.seconds_lost < took
    assert whole_end.seconds_lost == 0
    assert_equal(weights(again), weights(whole))


@pytest.mark.parametrize("steps", [1, 3, 4], ids=["in training", "before an evaluation", "in an evaluation"])
def test_a_training_that_is_asked_to_leave_saves_and_goes_on_to_the_bit(
    ready: Config, tmp_path: Path, steps: int
) -> None:
    """The fourth step is the evaluation after three iterations."""
    whole = Training(ready, tmp_path / "whole", RankInfo())
    wanted = [whole.step((3, LENGTH)).metrics for _ in range(2)]
    first = Training(ready, tmp_path / "cut", RankInfo())
    first.progress.leave_after(steps)
    with pytest.raises(Left):
        first.step((3, LENGTH))
    again = Training(ready, tmp_path / "cut", RankInfo())
    assert again.iteration == min(steps, 3)
    measured = [again.step((3, LENGTH)) for _ in range(2)]
    assert [each.metrics for each in measured] == wanted
    assert measured[-1].seconds_lost == 0
    assert_equal(weights(again), weights(whole))


def test_an_older_attempt_that_trains_on_does_not_undo_a_newer_ones_work(
    ready: Config, tmp_path: Path
) -> None:
    older = Training(ready, tmp_path, RankInfo(), attempt=1)
    older.step((2, LENGTH))
    newer = Training(ready, tmp_path, RankInfo(), attempt=10)
    newer.step((2, LENGTH))
    end = newer.step((2, LENGTH))
    assert not (tmp_path / "checkpoint.pth").exists()
    older.step((3, LENGTH))
    last = Training(ready, tmp_path, RankInfo(), attempt=11)
    assert last.iteration == LENGTH
    assert last.step((2, LENGTH)) == end


def test_a_measurement_says_how_it_was_trained(ready: Config, tmp_path: Path) -> None:
    training = Training(with_own(ready, accumulation=2), tmp_path, RankInfo())
    system_metrics = training.step((LENGTH,)).system_metrics
    assert (system_metrics["images_at_once"], system_metrics["accumulation"]) == (2, 2)
    assert system_metrics["images_per_second"] > 0
    assert 0 < system_metrics["data_wait_percentage"] < 100
    assert system_metrics["skipped_images"] == 0
    assert Training(ready, tmp_path, RankInfo()).step((LENGTH,)).system_metrics == system_metrics


def test_other_rungs_do_not_change_the_training_loss(
    ready: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divergence, "PARTS", 2)
    whole = Training(ready, tmp_path / "whole", RankInfo()).step((LENGTH,)).metrics
    cut = Training(ready, tmp_path / "cut", RankInfo())
    cut.step((5, LENGTH))
    again = Training(ready, tmp_path / "cut", RankInfo())
    assert again.step((5, LENGTH)).metrics["loss"] != again.step((5, LENGTH)).metrics["loss"] == whole["loss"]
    each = losses_in_steps(ready, tmp_path / "each", LENGTH)
    assert each[-1] == whole["loss"]


def losses_in_steps(config: Config, folder: Path, count: int) -> list[float]:
    training = Training(config, folder, RankInfo())
    return [training.step(tuple(range(1, LENGTH + 1))).metrics["loss"] for _ in range(count)]


@HOOKS.register_module(force=True)
class KeepLosses(Hook):  # type: ignore[misc]
    kept: ClassVar[list[float]] = []

    def after_train_iter(self, runner: Any) -> None:
        self.kept.append(runner.outputs["log_vars"]["loss"])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mmseg_itself_trains_the_written_config_to_the_same_losses(ready: Config, tmp_path: Path) -> None:
    special = with_image_side(apply(ready, {"optimizer.paramwise_cfg.decay_rate": 0.7}, "test"), 64)
    ours = losses_in_steps(special, tmp_path / "ours", 5)
    config = MmcvConfig.fromfile(str(tmp_path / "ours" / "config.py"))
    config.work_dir, config.gpu_ids, config.device = str(tmp_path / "mmseg"), [0], "cpu"
    config.custom_hooks.append({"type": "KeepLosses"})
    KeepLosses.kept.clear()
    mmseg.apis.set_random_seed(config.seed)
    model = build_segmentor(config.model)
    model.init_weights()
    model = revert_sync_batchnorm(model)
    mmseg.apis.train_segmentor(model, [build_dataset(config.data.train)], config, meta={})
    assert KeepLosses.kept[:5] == pytest.approx(ours, abs=1e-5)


def test_parts_that_do_not_divide_the_images_are_refused(ready: Config, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"accumulation: must divide data.samples_per_gpu \(4\), got 3"):
        Training(with_own(ready, accumulation=3), tmp_path, RankInfo())


def keep(measurement: Measurement) -> None:
    with (Path.cwd() / "measured.jsonl").open("a") as file:
        file.write(json.dumps(dict(measurement.metrics)) + "\n")


def keep_threads(measurement: Measurement) -> None:
    """Writes down which threads this rank still has when it ends."""

    def note() -> None:
        names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
        Path("threads.txt").write_text("".join(names))

    keep(measurement)
    atexit.register(note)


@pytest.fixture
def warm_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks are forked from a process that has loaded mmseg, which takes longer than a short training."""
    monkeypatch.setattr(launch, "spawn", partial(start_processes, start_method="forkserver"))


@pytest.mark.long
@pytest.mark.usefixtures("warm_ranks")
def test_any_number_of_ranks_and_parts_trains_to_the_same_losses_and_metrics(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, plain = [], config | PLAIN_DESCENT
    for ranks, parts in ((1, 1), (1, 4), (2, 2)):
        folder = tmp_path / f"{ranks}-{parts}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        share = {"data.samples_per_gpu": 4 // ranks, "tuner.accumulation": parts, "evaluation.interval": 2}
        launch.train(reproducible(apply(plain, share, "test"), 3, ranks), folder / "work", ranks, keep)
        measured.append([json.loads(line) for line in (folder / "measured.jsonl").read_text().splitlines()])
    for other in measured[1:]:
        assert [each["loss"] for each in other] == pytest.approx(
            [each["loss"] for each in measured[0]], abs=1e-5
        )
        assert [each["mIoU"] for each in other] == pytest.approx(
            [each["mIoU"] for each in measured[0]], abs=0.05
        )
        wanted = [each["val_loss"] for each in measured[0]]
        assert [each["val_loss"] for each in other] == pytest.approx(wanted, abs=1e-5)


def test_a_training_short_of_memory_goes_on_in_parts_and_recomputed_to_the_same_objective(
    ready: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation_points = (3, LENGTH)
    plain = ready | PLAIN_DESCENT
    roomy = Training(plain, tmp_path / "roomy", RankInfo())
    wanted = [roomy.step(evaluation_points).metrics for _ in evaluation_points]
    forward = Stage.forward

    def short_of_memory(stage: Stage, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and (len(x) > 1 or not stage.with_cp):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")
        return forward(stage, x)

    lent, rungs, measured = plain, [], []
    first = Training(lent, tmp_path / "short", RankInfo()).step(evaluation_points)
    monkeypatch.setattr(Stage, "forward", short_of_memory)
    while lent is not None and len(measured) < 2:
        rungs.append((lent["tuner"]["accumulation"], lent["model"]["backbone"]["with_cp"]))
        training = Training(lent, tmp_path / "short", RankInfo())
        try:
            measured = [training.step(evaluation_points) for _ in evaluation_points]
        except OutOfMemory:
            lent = in_less_memory(lent)
    assert rungs == [(1, False), (2, False), (4, False), (4, True)]
    assert measured[0] == first
    assert [each.metrics["loss"] for each in measured] == pytest.approx(
        [each["loss"] for each in wanted], abs=1e-5
    )
    assert [each.metrics["mIoU"] for each in measured] == pytest.approx(
        [each["mIoU"] for each in wanted], abs=0.01
    )


@pytest.mark.parametrize(
    ("module", "call"),
    [(train_step, "build_optimizer"), (train_step, "TrainStep"), (engine, "TrainBatches")],
)
def test_a_gpu_without_room_is_out_of_memory_anywhere_in_a_trainings_construction(
    ready: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, call: str
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise torch.AcceleratorError("CUDA error: out of memory\nMore.")

    monkeypatch.setattr(module, call, fail)
    with pytest.raises(OutOfMemory, match=r"^CUDA error: out of memory$"):
        Training(ready, tmp_path, RankInfo())


def test_mmcvs_logger_reduces_the_memory_of_ranks_on_the_gpu(
    ready: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL refuses a tensor of the CPU; `meta` stands in for the one that the logger makes."""
    asked = []
    made = torch.tensor
    model = TrainStep(torch.nn.Linear(1, 1), RankInfo(device="cuda:0"), ready)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    monkeypatch.setattr(torch, "tensor", lambda *data, device, **_: asked.append(device) or made(*data))
    runner = SimpleNamespace(model=model, world_size=1)
    assert TextLoggerHook(by_epoch=False)._get_max_memory(runner) == 3
    assert asked == [torch.device("cuda:0")]
    assert TrainStep(torch.nn.Linear(1, 1), RankInfo(), ready).output_device is None


def test_a_loss_that_is_no_number_ends_the_training(ready: Config, tmp_path: Path) -> None:
    wild = copy.deepcopy(ready)
    wild["optimizer"]["lr"] = 1e30
    with pytest.raises(Diverged, match=r"loss (nan|inf) at iteration"):
        Training(wild, tmp_path, RankInfo()).step((LENGTH,))


def test_a_folder_of_another_training_is_refused(ready: Config, tmp_path: Path) -> None:
    launch.claim(tmp_path, ready)
    with pytest.raises(BadInput, match="holds another training"):
        launch.claim(tmp_path, reproducible(ready, seed=4, ranks=1))


def test_a_half_written_checkpoint_is_told_as_bad_input(ready: Config, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"checkpoint\.pth: 1 problem"):
        Training(ready, tmp_path, RankInfo())


def test_samples_are_a_function_of_seed_and_number(ready: Config) -> None:
    def sample(index: int, before: int) -> torch.Tensor:
        stream = build_dataset(ready["data"]["train"])
        np.random.seed(before)
        return stream[index]["img"].data

    torch.testing.assert_close(sample(17, before=1), sample(17, before=2), rtol=0, atol=0)
    assert not torch.equal(sample(17, before=1), sample(18, before=1))


def test_gradients_that_are_being_added_up_survive_a_stop(ready: Config, tmp_path: Path) -> None:
    adding_up = apply(
        ready,
        {"optimizer_config": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 4}},
        "test",
    )
    whole = Training(adding_up, tmp_path / "whole", RankInfo())
    whole.step((LENGTH,))
    Training(adding_up, tmp_path / "cut", RankInfo()).step((3, LENGTH))
    again = Training(adding_up, tmp_path / "cut", RankInfo())
    again.step((3, LENGTH))
    again.step((3, LENGTH))
    assert_equal(weights(again), weights(whole))


@pytest.mark.filterwarnings("ignore:This overload of add_:UserWarning")  # mmcv's hook
def test_averaged_weights_survive_a_stop_and_are_no_part_of_another_model(
    ready: Config, tmp_path: Path
) -> None:
    averaging = apply(ready, {"custom_hooks": [*ready["custom_hooks"], {"type": "EMAHook"}]}, "test")
    whole = Training(averaging, tmp_path / "whole", RankInfo())
    whole.step((LENGTH,))
    Training(averaging, tmp_path / "cut", RankInfo()).step((3, LENGTH))
    again = Training(averaging, tmp_path / "cut", RankInfo())
    again.step((3, LENGTH))
    again.step((3, LENGTH))
    assert any(name.startswith("ema_") for name in weights(again))
    assert_equal(weights(again), weights(whole))
    assert launch.evaluate_checkpoint(averaging, tmp_path / "cut" / "checkpoint.pth")["mIoU"] >= 0


@pytest.mark.long
def test_two_ranks_train_a_model_with_unused_parameters(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head leaves out two levels of the neck. No thread of the process group is left to abort the end."""
    monkeypatch.chdir(tmp_path)
    levels = {"in_index": [0, 1], "in_channels": [64, 64], "feature_strides": [4, 8]}
    head = {f"model.decode_head.{key}": value for key, value in levels.items()}
    unused = apply(config, head | {"data.samples_per_gpu": 2, "runner.max_iters": 2}, "test")
    unused["find_unused_parameters"] = True
    launch.train(reproducible(unused, 3, ranks=2), tmp_path / "work", 2, keep_threads)
    assert (tmp_path / "measured.jsonl").read_text()
    assert "gloo" not in (tmp_path / "threads.txt").read_text()
