"""Trains one rank's part of one training through mmcv's runner, from one evaluation point to the next."""

import copy
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch.distributed as dist
from mmcv.cnn.utils import revert_sync_batchnorm
from mmcv.utils import ConfigDict
from mmseg.apis import set_random_seed
from mmseg.models import build_segmentor
from torch import nn

from tuner.errors import CorruptImage, Left
from tuner.files.paths import AnyPath, TrialFolder
from tuner.files.time_lost import TimeLost
from tuner.files.writing import folder_here, write_text
from tuner.models.pretrained import load_weights
from tuner.servers.progress import Progress
from tuner.sizing.own_entry import own_entry
from tuner.sizing.precision import FLOAT32, precision_of
from tuner.sizing.trial_config import images_at_once
from tuner.spec.trial import Config, Measurement, RankInfo
from tuner.training import checkpoint
from tuner.training.config.config import text, with_imports
from tuner.training.data.data import TrainBatches, name_corrupt_images
from tuner.training.data.datasets import build
from tuner.training.data.image_cache import remember_images
from tuner.training.divergence import LossMonitor
from tuner.training.evaluation.confusion import Confusion
from tuner.training.evaluation.cost import cost
from tuner.training.evaluation.evaluation import evaluate
from tuner.training.evaluation.strips import Strips
from tuner.training.evaluation.sweep import sweep
from tuner.training.gpu_memory import shortage_as_out_of_memory
from tuner.training.precision import autocast, use_precision
from tuner.training.system_metrics import SystemMetrics
from tuner.training.train_step import make_runner


class Training:
    """Takes up the folder's checkpoint where there is one; then as if it had never stopped."""

    def __init__(self, config: Config, folder: AnyPath, rank_info: RankInfo, attempt: int = 1) -> None:
        self._config, self._rank_info = copy.deepcopy(config), rank_info
        self._files = TrialFolder(folder)
        self._own_checkpoint = self._files.checkpoint_of(attempt)
        self.progress = Progress()
        if rank_info.rank == 0:
            write_text(self._files.config, text(config))
        with shortage_as_out_of_memory():
            self._prepare(config)

    def _prepare(self, config: Config) -> None:
        rank_info = self._rank_info
        self._segmentor = segmentor(self._config, rank_info)
        self._validation = validation_set(self._config)
        facts = {name: getattr(self._validation, name) for name in ("CLASSES", "PALETTE")}
        self._facts = {name: np.asarray(value).tolist() for name, value in facts.items()}
        self._runner = make_runner(
            self._config, self._segmentor, rank_info, folder_here(self._files.root, self)
        )
        self._runner.meta = {"seed": config.get("seed"), "exp_name": self._files.root.name, **self._facts}
        self._meta: checkpoint.Meta = {"iteration": 0, "seconds": 0.0, "measurement": None}
        self._losses = LossMonitor()
        self._strips = Strips(self._config, self._files, self._facts["CLASSES"], self._facts["PALETTE"])
        self._runner.call_hook("before_run")
        found = self._files.checkpoints()
        if found:
            self._resume(found[0])
        checkpoint.check_agreed(self.iteration, rank_info)
        self._time_lost = TimeLost(self._files.time_lost, self._meta["seconds"])
        self._older = [each for each in found if each != self._own_checkpoint]
        """The checkpoints of earlier attempts, until there is one of this."""
        kept = self._meta["measurement"]
        self._pending = Measurement(**kept) if kept else None
        dataset = build(self._config["data"]["train"])
        for images in (dataset.dataset, self._validation):
            remember_images(images, own_entry(self._config).image_cache)
        self._batches = TrainBatches(dataset, config, rank_info, first=self.iteration)
        self._system_metrics = SystemMetrics(self._config, rank_info, self._batches)
        self._cost: dict[str, float] | None = None
        self._every = config["checkpoint_config"]["interval"]
        seen = getattr(self._segmentor, "backbone", self._segmentor)
        seen.register_forward_pre_hook(lambda *_: self._beat())
        self._runner.call_hook("before_epoch")

    @property
    def iteration(self) -> int:
        return int(self._runner.iter)

    @property
    def has_news(self) -> bool:
        """Tells whether the checkpoint that was taken up has a measurement that was not reported yet."""
        return self._pending is not None

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement:
        """Trains to the next evaluation point, evaluates and saves; what the checkpoint holds is reported again.

        Raises Left when asked to, with its checkpoint saved, Diverged when the loss has exploded, OutOfMemory when the
        device has no room, Crashed where an image cannot be read or the checkpoint not be written.
        """
        if self._pending:
            pending, self._pending = self._pending, None
            return pending
        first = self.iteration + (self._meta["measurement"] is not None or self.iteration == 0)
        until = next(stop for stop in evaluation_points if stop >= first)
        try:
            with shortage_as_out_of_memory():
                return self._train_and_evaluate(until, length=evaluation_points[-1])
        except Left:
            self._save_unsaved()
            raise
        except CorruptImage as error:  # a loader process puts its traceback before it
            raise CorruptImage(str(error).rpartition("CorruptImage: ")[2].strip()) from error

    def _train_and_evaluate(self, until: int, length: int) -> Measurement:
        begun = self._begun = time.perf_counter() - self._meta["seconds"]
        self._system_metrics.begin()
        while self.iteration < until:
            self.progress.begin()
            self._runner.train(self._batches)
            self._system_metrics.count()
            self._losses.add(self._runner.outputs["log_vars"]["loss"], self.iteration, length)
            if self.iteration % self._every == 0 and self.iteration < until:
                self._save(seconds=time.perf_counter() - begun)
        system_metrics = self._system_metrics.read()
        self.progress.begin()
        self.progress.may_break_off = self._rank_info.rank == 0
        self._strips.iteration = until
        record = Confusion(len(self._validation)) if until == length else None
        metrics = self._measured(record) | self._measured_cost()
        if record and self._rank_info.rank == 0 and len(record.whole):
            record.write(self._files.confusion, until)
        metrics["loss"] = self._losses.mean()
        if until == length and (counts := own_entry(self._config).sweep_centers):
            swept = sweep(self._segmentor, counts, False, self._evaluate, len(self._validation))
            metrics |= {f"mIoU.centers_{each.centers}": each.metrics["mIoU"] for each in swept}
        self.progress.may_break_off = False
        seconds = time.perf_counter() - begun
        lost, losses = self._time_lost.seconds, self._losses.take_curve()
        measurement = Measurement(until, metrics, seconds, system_metrics, losses, lost)
        self._save(seconds=measurement.seconds, measurement=asdict(measurement))
        return measurement

    def _beat(self) -> None:
        self.progress.beat()
        if self._rank_info.rank == 0:
            self._time_lost.reached(time.perf_counter() - self._begun)

    def _measured(self, record: Confusion | None) -> dict[str, float]:
        """Evaluates as precisely as is trained; at the end, where `record` is, in float32 too, which counts."""
        precision = precision_of(self._config)
        if precision == FLOAT32:
            return self._evaluate(self._strips, record)
        with autocast(precision, self._rank_info):
            found = self._evaluate(None if record else self._strips)
        if record is None:
            return found
        as_trained = {f"{name}.{precision}": value for name, value in found.items() if "." not in name}
        return self._evaluate(self._strips, record) | as_trained

    def _evaluate(self, strips: Strips | None = None, record: Confusion | None = None) -> dict[str, float]:
        if self._rank_info.ranks > 1:
            for buffer in self._segmentor.buffers():
                dist.broadcast(buffer, src=0)
        data = {**self._config["data"], "samples_per_gpu": images_at_once(self._config)}
        asked = self._config.get("evaluation")
        return evaluate(self._segmentor, self._validation, data, self._rank_info, asked, strips, record)

    def _measured_cost(self) -> dict[str, float]:
        """Measures the cost once, on the first rank, for which the others wait when it saves."""
        if self._cost is None and self._rank_info.rank == 0:
            self._cost = cost(self._config, self._segmentor, self._validation[0], self._rank_info)
        return self._cost or {}

    def _save(self, **changes: Any) -> None:
        self._meta |= {"iteration": self.iteration, "measurement": None, **changes}
        if self._rank_info.rank == 0:
            meta = {
                **self._meta,
                "losses": asdict(self._losses),
                **self._facts,
                "gradients": checkpoint.unfinished_gradients(self._segmentor, self._config, self.iteration),
                "fp16": self._runner.meta.get("fp16", {}),
            }
            checkpoint.save(self._own_checkpoint, self._segmentor, self._runner.optimizer, meta)
            while self._older:
                self._older.pop().unlink(missing_ok=True)
        if self._rank_info.ranks > 1 and self._meta["measurement"]:
            dist.barrier()

    def _save_unsaved(self) -> None:
        """Saves what was trained since the last checkpoint; all ranks return when it is there, if all call it."""
        if self.iteration > self._meta["iteration"]:
            self._save(seconds=time.perf_counter() - self._begun)
        if self._rank_info.ranks > 1 and not self.progress.may_break_off:
            dist.barrier()

    def _resume(self, file: AnyPath) -> None:
        meta = checkpoint.load(file, self._segmentor, self._runner.optimizer)
        self._meta |= {key: meta[key] for key in self._meta}
        self._losses = LossMonitor(**meta["losses"])
        self._runner._iter = meta["iteration"]
        self._runner.meta["fp16"] = meta.get("fp16", {})
        checkpoint.put_gradients(meta.get("gradients", {}), self._segmentor)


def segmentor(config: Config, rank_info: RankInfo) -> nn.Module:
    """Builds the model with its first weights, a function of the config's seed."""
    with_imports(config, "config")
    set_random_seed(config.get("seed") or 0)
    model = build_segmentor(ConfigDict(config["model"]))
    model.init_weights()
    if config.get("load_from"):
        load_weights(model, config["load_from"])
    use_precision(config, rank_info)
    if rank_info.device == "cpu" or rank_info.ranks == 1:
        model = revert_sync_batchnorm(model)
    return model.to(rank_info.device)  # type: ignore[no-any-return]


def validation_set(config: Config) -> Any:
    dataset = build(config["data"]["val"], test_mode=True)
    name_corrupt_images(dataset)
    return dataset
