"""A trainer without a model: learning curves by formula, for trying out searches and clusters.

A config asks for it by `runner = dict(type='Synthetic', …)`; see configs/synthetic.py for its settings.
"""

import json
import math
import time
import zlib
from random import Random

from tuner.errors import Crashed, Diverged, OutOfMemory
from tuner.files import write_json, write_text
from tuner.objective import COSTS
from tuner.overrides import AGAINST, pictures_at_once
from tuner.paths import AnyPath, TrialFolder
from tuner.trial import Config, Measurement, Place


class SyntheticTraining:
    """mIoU rises towards a height that falls off around the best learning rate, with noise by seed."""

    def __init__(self, config: Config, folder: AnyPath, place: Place) -> None:
        self._config, self._place = config, place
        self._progress = folder / "progress.json"
        if place.rank == 0:
            write_text(TrialFolder(folder).config, f"config = {config!r}\n")
        self._iteration, self._pending = 0, False
        if self._progress.exists():
            self._iteration, self._pending = json.loads(self._progress.read_text())["iteration"], True

    def step(self, stops: tuple[int, ...]) -> Measurement:
        if not self._pending:
            begun, self._iteration = self._iteration, next(s for s in stops if s > self._iteration)
            time.sleep(self._config["runner"]["seconds_per_iteration"] * (self._iteration - begun))
            self._fail_where_told()
        self._pending = False
        if self._place.rank == 0:
            write_json(self._progress, {"iteration": self._iteration})
        seconds = self._config["runner"]["seconds_per_iteration"] * self._iteration
        conditions = {"pictures_at_once": pictures_at_once(self._config)}
        return Measurement(self._iteration, {"mIoU": self._miou(), **self._cost()}, seconds, conditions)

    def _fail_where_told(self) -> None:
        runner, learning_rate = self._config["runner"], self._config["optimizer"]["lr"]
        if learning_rate > runner["diverges_above"]:
            raise Diverged(f"loss nan at iteration {self._iteration}")
        if self._memory() > runner["out_of_memory_above"]:
            raise OutOfMemory(f"out of memory at iteration {self._iteration}")
        if self._chance("crash").random() < runner["crashes"]:
            raise Crashed(f"a rank died at iteration {self._iteration}")

    def _cost(self) -> dict[str, float]:
        """Whatever it is: more centers cost more."""
        against = self._config.get(AGAINST)
        return {COSTS[against]: sum(self._config["model"]["backbone"]["centers"]) / 10} if against else {}

    def _memory(self) -> float:
        return float(sum(self._config["model"]["backbone"]["centers"]) * pictures_at_once(self._config))

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
