"""One rank's part of one training, through mmcv's runner: from stop to stop."""

import copy
import logging
import shutil
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import torch.distributed as dist
from mmcv.cnn.utils import revert_sync_batchnorm
from mmcv.runner import IterBasedRunner
from mmcv.utils import Config as MmcvConfig
from mmcv.utils import get_logger, import_modules_from_strings
from mmseg.apis import set_random_seed
from mmseg.core import build_optimizer
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from torch import nn

from tuner.errors import CorruptPicture, OutOfMemory
from tuner.files import write_text
from tuner.overrides import PICTURE_CACHE, pictures_at_once
from tuner.paths import AnyPath, TrialFolder
from tuner.training import checkpoint
from tuner.training.conditions import Conditions
from tuner.training.config import text
from tuner.training.cost import cost
from tuner.training.data import TrainBatches, name_corrupt_pictures
from tuner.training.evaluation import evaluate
from tuner.training.losses import Losses
from tuner.training.picture_cache import remember_pictures
from tuner.training.sweep import sweep
from tuner.training.trainee import Trainee
from tuner.trial import Config, Measurement, Place

logger = logging.getLogger("tuner.training")
for name in ("mmcv", "mmseg"):
    get_logger(name).setLevel(logging.WARNING)  # they list every tensor of every model


class Training:
    """Takes up the folder's checkpoint where there is one; then as if it had never stopped."""

    def __init__(self, config: Config, folder: AnyPath, place: Place) -> None:
        self._config, self._place = copy.deepcopy(config), place
        self._files = TrialFolder(folder)
        if place.rank == 0:
            write_text(self._files.config, text(config))
        with _memory_told():
            self._segmentor = segmentor(self._config, place)
        self._validation = validation_set(self._config)
        self._runner = _runner(self._config, self._segmentor, place, self._work_dir())
        self._meta: checkpoint.Meta = {
            "iteration": 0,
            "seconds": 0.0,
            "measurement": None,
        }
        self._losses = Losses()
        if self._files.checkpoint.exists():
            self._resume()
        self._pending = self._measured_at_checkpoint()
        dataset = build_dataset(self._config["data"]["train"])
        for pictures in (dataset.dataset, self._validation):
            remember_pictures(pictures, self._config.get(PICTURE_CACHE, 0))
        self._batches = TrainBatches(dataset, config, place, first=self.iteration)
        self._conditions = Conditions(self._config, place, self._batches)
        self._cost: dict[str, float] | None = None
        self._every = config["checkpoint_config"]["interval"]
        self._runner.call_hook("before_run")
        self._runner.call_hook("before_epoch")

    @property
    def iteration(self) -> int:
        return int(self._runner.iter)

    @property
    def has_news(self) -> bool:
        """A measurement of the checkpoint that was taken up, not told yet."""
        return self._pending is not None

    def step(self, stops: tuple[int, ...]) -> Measurement:
        """Trains to the next stop, evaluates and saves; what the checkpoint was saved with is told again.

        Raises Diverged when the loss has exploded, OutOfMemory when the device has no room, Crashed where a
        picture cannot be read or the checkpoint not be written.
        """
        if self._pending:
            told, self._pending = self._pending, None
            return told
        until = next(stop for stop in stops if stop > self.iteration)
        try:
            with _memory_told():
                return self._train_and_evaluate(until, is_last=until == stops[-1])
        except CorruptPicture as error:  # a loader process puts its traceback before it
            raise CorruptPicture(str(error).rpartition("CorruptPicture: ")[2].strip()) from error

    def _train_and_evaluate(self, until: int, is_last: bool) -> Measurement:
        begun = time.perf_counter() - self._meta["seconds"]
        self._conditions.begin()
        while self.iteration < until:
            self._runner.train(self._batches)
            self._conditions.count()
            self._losses.add(self._runner.outputs["log_vars"]["loss"], self.iteration)
            if self.iteration % self._every == 0 and self.iteration < until:
                self._save(seconds=time.perf_counter() - begun)
        conditions = self._conditions.read()
        metrics = self._evaluate() | self._measured_cost()
        metrics["loss"] = self._losses.mean()
        if is_last and (counts := self._config.get("sweep_centers")):
            swept = sweep(self._segmentor, counts, False, self._evaluate, len(self._validation))
            metrics |= {f"mIoU.centers_{each.centers}": each.metrics["mIoU"] for each in swept}
        measurement = Measurement(until, metrics, time.perf_counter() - begun, conditions)
        told = asdict(measurement)
        self._save(seconds=measurement.seconds, measurement=told)
        return measurement

    def _evaluate(self) -> dict[str, float]:
        if self._place.ranks > 1:
            for buffer in self._segmentor.buffers():
                dist.broadcast(buffer, src=0)
        data = {**self._config["data"], "samples_per_gpu": pictures_at_once(self._config)}
        return evaluate(self._segmentor, self._validation, data, self._place)

    def _measured_cost(self) -> dict[str, float]:
        """Once, on the first rank, for which the others wait when it saves."""
        if self._cost is None and self._place.rank == 0:
            self._cost = cost(self._config, self._segmentor, self._validation[0], self._place)
        return self._cost or {}

    def _save(self, **changes: Any) -> None:
        self._meta |= {"iteration": self.iteration, "measurement": None, **changes}
        if self._place.rank == 0:
            meta = {**self._meta, "losses": asdict(self._losses), "CLASSES": list(self._validation.CLASSES)}
            checkpoint.save(self._files.checkpoint, self._segmentor, self._runner.optimizer, meta)
        if self._place.ranks > 1 and self._meta["measurement"]:
            dist.barrier()

    def _resume(self) -> None:
        meta = checkpoint.load(self._files.checkpoint, self._segmentor, self._runner.optimizer)
        self._meta |= {key: meta[key] for key in self._meta}
        self._losses = Losses(**meta["losses"])
        self._runner._iter = meta["iteration"]

    def _work_dir(self) -> str:
        """For what mmcv's hooks write: of a trial at a URL, it stays on the node while this lives."""
        if isinstance(self._files.root, Path):
            return str(self._files.root)
        folder = mkdtemp(prefix="tuner-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _measured_at_checkpoint(self) -> Measurement | None:
        told = self._meta["measurement"]
        return Measurement(**told) if told else None


@contextmanager
def _memory_told() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error).splitlines()[0]) from error


def segmentor(config: Config, place: Place) -> nn.Module:
    """The model with its first weights, a function of the config's seed."""
    import_modules_from_strings(**config.get("custom_imports", {"imports": []}))
    set_random_seed(config.get("seed") or 0)
    model = build_segmentor(MmcvConfig(config["model"])._cfg_dict)
    model.init_weights()
    torch.backends.cudnn.benchmark = bool(config.get("cudnn_benchmark"))
    if place.device == "cpu" or place.ranks == 1:
        model = revert_sync_batchnorm(model)
    return model.to(place.device)  # type: ignore[no-any-return]


def validation_set(config: Config) -> Any:
    dataset = build_dataset(config["data"]["val"], {"test_mode": True})
    name_corrupt_pictures(dataset)
    return dataset


def _runner(config: Config, model: nn.Module, place: Place, work_dir: str) -> IterBasedRunner:
    runner = IterBasedRunner(
        Trainee(model, place, config),
        optimizer=build_optimizer(model, config["optimizer"]),
        work_dir=work_dir,
        logger=logger,
        max_iters=config["runner"]["max_iters"],
    )
    runner.timestamp = "train"
    runner.register_training_hooks(
        config["lr_config"],
        config["optimizer_config"],
        log_config=config["log_config"],
        momentum_config=config.get("momentum_config"),
        custom_hooks_config=config.get("custom_hooks"),
    )
    return runner
