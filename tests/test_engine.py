"""Training through mmcv's runner, on drawn pictures: taken up, split over ranks, as mmseg trains."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import mmseg.apis
import numpy as np
import pytest
import torch
from mmcv.cnn.utils import revert_sync_batchnorm
from mmcv.runner import HOOKS, Hook
from mmcv.utils import Config as MmcvConfig
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor

from tests.conftest import ROOT
from tuner.errors import BadInput, Diverged, OutOfMemory
from tuner.models.layers import Stage
from tuner.overrides import apply, in_less_memory, reproducible, with_data_root, with_picture_side
from tuner.paths import Home
from tuner.training import config as configs
from tuner.training import launch
from tuner.training.engine import Training
from tuner.training.toy import draw
from tuner.trial import Config, Measurement, Place

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


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, pictures=10, validation=4)
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
    whole = Training(ready, tmp_path / "whole", Place())
    whole_end = whole.step((LENGTH,))
    first = Training(ready, tmp_path / "cut", Place()).step((3, LENGTH))
    again = Training(ready, tmp_path / "cut", Place())
    assert again.step((3, LENGTH)) == first
    end = again.step((3, LENGTH))
    assert end.metrics["mIoU"] == whole_end.metrics["mIoU"]
    assert_equal(weights(again), weights(whole))


def use_disk(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As if on a node with this temporary folder."""
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_training_cut_off_between_rungs_goes_on_elsewhere_from_its_last_checkpoint(
    ready: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials_home: Home
) -> None:
    whole = Training(ready, tmp_path / "whole", Place())
    whole_end = whole.step((LENGTH,))
    folder = trials_home.trial("cut", 1).root
    use_disk(monkeypatch, tmp_path / "here")
    cut = Training(ready, folder, Place())
    monkeypatch.setattr(cut, "_evaluate", lambda: pytest.fail("cut off"))
    with pytest.raises(pytest.fail.Exception):
        cut.step((5, LENGTH))
    use_disk(monkeypatch, tmp_path / "there")
    again = Training(ready, folder, Place())
    assert again.iteration == 4
    end = again.step((LENGTH,))
    assert end.metrics == whole_end.metrics
    assert_equal(weights(again), weights(whole))


def test_a_measurement_says_how_it_was_trained(ready: Config, tmp_path: Path) -> None:
    training = Training(apply(ready, {"accumulation": 2}, "test"), tmp_path, Place())
    conditions = training.step((LENGTH,)).conditions
    assert (conditions["pictures_at_once"], conditions["accumulation"]) == (2, 2)
    assert conditions["pictures_per_second"] > 0
    assert 0 < conditions["data_wait_percentage"] < 100
    assert conditions["skipped_pictures"] == 0
    assert Training(ready, tmp_path, Place()).step((LENGTH,)).conditions == conditions


def losses_in_steps(config: Config, folder: Path, count: int) -> list[float]:
    training = Training(config, folder, Place())
    return [training.step(tuple(range(1, LENGTH + 1))).metrics["loss"] for _ in range(count)]


@HOOKS.register_module()
class KeepLosses(Hook):  # type: ignore[misc]
    kept: ClassVar[list[float]] = []

    def after_train_iter(self, runner: Any) -> None:
        self.kept.append(runner.outputs["log_vars"]["loss"])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mmseg_itself_trains_the_written_config_to_the_same_losses(ready: Config, tmp_path: Path) -> None:
    special = with_picture_side(apply(ready, {"optimizer.paramwise_cfg.decay_rate": 0.7}, "test"), 64)
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


def test_parts_that_do_not_divide_the_pictures_are_refused(ready: Config, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"accumulation: must divide data.samples_per_gpu \(4\), got 3"):
        Training(apply(ready, {"accumulation": 3}, "test"), tmp_path, Place())


def keep(measurement: Measurement) -> None:
    with (Path.cwd() / "told.jsonl").open("a") as file:
        file.write(json.dumps(dict(measurement.metrics)) + "\n")


def test_any_number_of_ranks_and_parts_trains_to_the_same_losses_and_metrics(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for ranks, parts in ((1, 1), (1, 4), (2, 2), (4, 1)):
        folder = tmp_path / f"{ranks}-{parts}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        share = {"data.samples_per_gpu": 4 // ranks, "accumulation": parts, "evaluation.interval": 2}
        launch.train(reproducible(apply(config, share, "test"), 3, ranks), folder / "work", ranks, keep)
        told.append([json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()])
    for other in told[1:]:
        assert [each["loss"] for each in other] == pytest.approx([each["loss"] for each in told[0]], abs=1e-4)
        assert [each["mIoU"] for each in other] == pytest.approx([each["mIoU"] for each in told[0]], abs=0.05)


def test_a_training_short_of_memory_goes_on_in_parts_and_recomputed_to_the_same_objective(
    ready: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = (3, LENGTH)
    roomy = Training(ready, tmp_path / "roomy", Place())
    wanted = [roomy.step(stops).metrics for _ in stops]
    forward = Stage.forward

    def short_of_memory(stage: Stage, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and (len(x) > 1 or not stage.with_cp):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")
        return forward(stage, x)

    lent, rungs, told = ready, [], []
    first = Training(lent, tmp_path / "short", Place()).step(stops)
    monkeypatch.setattr(Stage, "forward", short_of_memory)
    while lent is not None and len(told) < 2:
        rungs.append((lent["accumulation"], lent["model"]["backbone"]["with_cp"]))
        training = Training(lent, tmp_path / "short", Place())
        try:
            told = [training.step(stops) for _ in stops]
        except OutOfMemory:
            lent = in_less_memory(lent)
    assert rungs == [(1, False), (2, False), (4, False), (4, True)]
    assert told[0] == first
    assert [each.metrics["loss"] for each in told] == pytest.approx(
        [each["loss"] for each in wanted], abs=1e-4
    )
    assert [each.metrics["mIoU"] for each in told] == pytest.approx(
        [each["mIoU"] for each in wanted], abs=0.01
    )


def test_a_loss_that_is_no_number_ends_the_training(ready: Config, tmp_path: Path) -> None:
    wild = copy.deepcopy(ready)
    wild["optimizer"]["lr"] = 1e30
    with pytest.raises(Diverged, match=r"loss (nan|inf) at iteration"):
        Training(wild, tmp_path, Place()).step((LENGTH,))


def test_a_folder_of_another_training_is_refused(ready: Config, tmp_path: Path) -> None:
    launch._claim(tmp_path, ready)
    with pytest.raises(BadInput, match="holds another training"):
        launch._claim(tmp_path, reproducible(ready, seed=4, ranks=1))


def test_a_half_written_checkpoint_is_told_as_bad_input(ready: Config, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"checkpoint\.pth: 1 problem"):
        Training(ready, tmp_path, Place())


def test_samples_are_a_function_of_seed_and_number(ready: Config) -> None:
    def sample(index: int, before: int) -> torch.Tensor:
        stream = build_dataset(ready["data"]["train"])
        np.random.seed(before)
        return stream[index]["img"].data

    torch.testing.assert_close(sample(17, before=1), sample(17, before=2), rtol=0, atol=0)
    assert not torch.equal(sample(17, before=1), sample(18, before=1))
