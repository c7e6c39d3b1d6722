"""A study on Ray Tune: our study draws and judges, Ray Tune places and runs the trials."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tuner.cluster.gang import Gang, Trainer
from tuner.cluster.placement import reservation
from tuner.errors import Crashed, Died, Diverged, OutOfMemory, TrialFailed, TunerError
from tuner.job import JobSpec
from tuner.overrides import in_less_memory, trial_config
from tuner.paths import Home
from tuner.study import Study
from tuner.trial import Config, Outcome, Trial

OUTCOMES = {OutOfMemory: Outcome.OUT_OF_MEMORY, Diverged: Outcome.DIVERGED, Crashed: Outcome.CRASHED}
FINISHED: str = Searcher.FINISHED
STOP: str = TrialScheduler.STOP
CONTINUE: str = TrialScheduler.CONTINUE
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # of Tune's own view of the trials, which nobody needs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True)
class Launch:
    """What every trial of a study needs besides its own parameters."""

    job: JobSpec
    config: Config
    home: Home
    trainer: "Trainer | ray.ObjectRef[Trainer]"


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to the cluster of that address, or a Ray of our own on this machine."""
    os.environ |= {key: value for key, value in ENVIRONMENT.items() if key not in os.environ}
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)  # the study tells it
    try:
        ray.init(
            address=address,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except Exception as error:
        raise TunerError(f"no Ray cluster answers at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run(study: Study, launch: Launch) -> None:
    """Returns when the study's budget is spent or somebody interrupted it."""
    resources = launch.job.resources
    folder = launch.home.ray(launch.job.name)
    by_reference = ray.put(launch.trainer)  # so that only the ranks load what trains: torch
    trainable = tune.with_parameters(GangTrainable, launch=replace(launch, trainer=by_reference))
    tuner = tune.Tuner(
        tune.with_resources(trainable, reservation(resources)),
        tune_config=tune.TuneConfig(
            search_alg=_Draws(study),
            scheduler=_Judge(study),
            num_samples=-1,
            max_concurrent_trials=resources.concurrent or None,
            reuse_actors=not resources.fresh_processes,
            trial_dirname_creator=lambda trial: f"trial_{trial.config['number']:04d}",
        ),
        run_config=tune.RunConfig(
            name=launch.job.name,
            storage_path=str(folder),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


class GangTrainable(tune.Trainable):  # type: ignore[misc]
    """A trial for Ray Tune; one `step` is a gang's way to the next rung. The gang outlives the trial."""

    def setup(self, config: dict[str, Any], launch: Launch) -> None:
        self._launch = launch
        self._gang: Gang | None = None
        self._config: Config = {}
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return {"measurement": self._ready_gang().step(self._stops)}
        except Died:
            self._disband()
            raise  # the node may be gone: Tune reserves anew
        except TrialFailed as failure:
            if not isinstance(failure, Diverged):
                self._disband()
            if isinstance(failure, OutOfMemory) and (smaller := in_less_memory(self._config)):
                self._config = smaller
                return self.step()
            return {"failure": OUTCOMES[type(failure)], "note": str(failure)}

    def cleanup(self) -> None:
        self._disband()

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial = Trial(config["number"], config["params"], config["seed"])
        self._stops: tuple[int, ...] = config["stops"]
        self._config = trial_config(self._launch.job, self._launch.config, self._trial)
        self._opened = False

    def _ready_gang(self) -> Gang:
        """The gang with this trial's training open."""
        launch = self._launch
        if self._gang is None:
            self._gang = Gang(launch.job.resources, ray.util.get_current_placement_group(), launch.trainer)
            self._opened = False
        if not self._opened:
            files = launch.home.trial(launch.job.name, self._trial.number)
            self._gang.open(self._config, files.root)
            self._opened = True
        return self._gang

    def _disband(self) -> None:
        if self._gang:
            self._gang.disband()
        self._gang = None


class _Draws(Searcher):  # type: ignore[misc]
    """Asks the study for trials, and tells it of those that Ray lost."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study
        self._numbers: dict[str, int] = {}  # of the trials that run

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._study.draw()
        if trial is None:
            return None if self._numbers else FINISHED
        self._numbers[trial_id] = trial.number
        stops = self._study.job.fidelity.stops
        return {"number": trial.number, "params": dict(trial.params), "seed": trial.seed, "stops": stops}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        number = self._numbers.pop(trial_id, None)
        if error and number is not None:
            self._study.retry(number, "a rank, its process or its node died", died=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is kept in its own store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Judge(FIFOScheduler):  # type: ignore[misc]
    """Passes measurements to the study and stops the trials that it ends."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config["number"]
        match result.get("failure"):
            case None:
                ended = self._study.measure(number, result["measurement"])
                return STOP if ended else CONTINUE
            case Outcome.CRASHED:
                self._study.retry(number, result["note"], died=False)
            case outcome:
                self._study.fail(number, outcome, result["note"])
        return STOP

    def __getstate__(self) -> dict[str, Any]:
        return {}
