"""Trains without a model: learning curves by formula, for trying out searches and clusters.

A config asks for it by `runner = dict(type='Synthetic', …)`; see configs/synthetic.py for its settings.
"""

import json
import math
import time
import zlib
from random import Random

from tuner.errors import Crashed, Diverged, Left, OutOfMemory
from tuner.files.paths import AnyPath, TrialFolder
from tuner.files.time_lost import TimeLost
from tuner.files.writing import write_json, write_text
from tuner.servers.progress import Progress
from tuner.sizing.own_entry import own_entry
from tuner.sizing.trial_config import images_at_once
from tuner.spec.objective import COSTS
from tuner.spec.trial import Config, Measurement, RankInfo


class SyntheticTraining:
    """Lets mIoU rise towards a height that falls off around the best learning rate, with noise by seed."""

    def __init__(self, config: Config, folder: AnyPath, rank_info: RankInfo) -> None:
        self._config, self._rank_info = config, rank_info
        self._file = folder / "progress.json"
        if rank_info.rank == 0:
            write_text(TrialFolder(folder).config, f"config = {config!r}\n")
        self.progress = Progress()
        self._iteration, self._pending, self._pace = 0, False, config["runner"]["seconds_per_iteration"]
        if self._file.exists():
            known = json.loads(self._file.read_text())
            self._iteration, self._pending = known["iteration"], known["is_measured"]
        self._time_lost = TimeLost(TrialFolder(folder).time_lost, self._seconds)

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement:
        if not self._pending:
            self._train(next(stop for stop in evaluation_points if stop > self._iteration))
            self._fail_where_told()
        self._pending = False
        self._save(is_measured=True)
        return Measurement(
            self._iteration,
            {"mIoU": self._miou(), **self._cost()},
            self._seconds,
            {"images_at_once": images_at_once(self._config)},
            seconds_lost=self._time_lost.seconds,
        )

    @property
    def _seconds(self) -> float:
        return float(self._pace * self._iteration)

    def _train(self, until: int) -> None:
        for _ in range(self._iteration, until):
            try:
                self.progress.begin()
            except Left:
                self._save(is_measured=False)
                raise
            time.sleep(self._pace)
            self._iteration += 1
            if self._rank_info.rank == 0:
                self._time_lost.reached(self._seconds)

    def _save(self, is_measured: bool) -> None:
        if self._rank_info.rank == 0:
            write_json(self._file, {"iteration": self._iteration, "is_measured": is_measured})

    def _fail_where_told(self) -> None:
        runner, learning_rate = self._config["runner"], self._config["optimizer"]["lr"]
        if learning_rate > runner["diverges_above"]:
            raise Diverged(f"loss nan at iteration {self._iteration}")
        if self._memory() > runner["out_of_memory_above"]:
            raise OutOfMemory(f"out of memory at iteration {self._iteration}")
        if self._chance("crash").random() < runner["crashes"]:
            raise Crashed(f"a rank died at iteration {self._iteration}")

    def _cost(self) -> dict[str, float]:
        """Returns a cost, whatever it is called: more centers cost more."""
        secondary = own_entry(self._config).secondary
        return {COSTS[secondary]: sum(self._config["model"]["backbone"]["centers"]) / 10} if secondary else {}

    def _memory(self) -> float:
        return float(sum(self._config["model"]["backbone"]["centers"]) * images_at_once(self._config))

    def _miou(self) -> float:
        runner, optimizer = self._config["runner"], self._config["optimizer"]
        miss = math.log10(optimizer["lr"] / runner["best_lr"])
        height = 45 * math.exp(-(miss**2)) + 0.02 * sum(self._config["model"]["backbone"]["centers"])
        progress = 1 - math.exp(-4 * self._iteration / runner["max_iters"])
        noise = runner["noise"] * self._chance(f"noise at {self._iteration}").gauss(0, 1)
        return float(max(0.0, height * progress + noise))

    def _chance(self, what: str) -> Random:
        drawn = self._config["optimizer"], self._config["model"], self._config["seed"]
        return Random(zlib.crc32(repr((what, drawn)).encode()))
