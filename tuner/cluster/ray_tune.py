"""A study on Ray Tune: our study draws and judges, Ray Tune places and runs the trials."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tuner.cluster.gang import Gang, Trainer
from tuner.cluster.leaving import leaving_at_sigterm
from tuner.cluster.messages import Draw, Report
from tuner.cluster.placement import reservation
from tuner.cluster.sick_gpus import SickNodes
from tuner.cluster.undocumented import CHATTY_TUNE
from tuner.errors import (
    Crashed,
    Died,
    Diverged,
    Hung,
    Left,
    NeedsFreshProcess,
    OutOfMemory,
    SickGpu,
    TrialFailed,
    TunerError,
)
from tuner.files.paths import Home
from tuner.sizing.trial_config import in_less_memory, trial_config
from tuner.spec.job import JobSpec
from tuner.spec.trial import OUTCOMES, Config, Measurement
from tuner.study.study import Study

FINISHED: str = Searcher.FINISHED
STOP: str = TrialScheduler.STOP
CONTINUE: str = TrialScheduler.CONTINUE
DRAW, REPORT = "draw", "report"
"""The one key of what Tune passes to a trial, and of what it passes back."""
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # of Tune's own view of the trials, which nobody needs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True)
class Launch:
    """Holds what every trial of a study needs besides its own parameters."""

    job: JobSpec
    config: Config
    home: Home
    trainer: "Trainer | ray.ObjectRef[Trainer]"


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connects to the cluster of that address, or starts a Ray on this machine.

    Without an address it listens on loopback alone, if `local.keep_to_loopback()` was called before Ray was imported.
    """
    os.environ |= {key: value for key, value in ENVIRONMENT.items() if key not in os.environ}
    for chatty in CHATTY_TUNE:
        logging.getLogger(chatty).setLevel(logging.CRITICAL)  # the study tells it
    try:
        ray.init(
            address=address or "local",  # without a word Ray joins whatever runs here
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


def run(study: Study, launch: Launch, callbacks: Sequence[tune.Callback] = ()) -> None:
    """Returns when the study's budget is spent or somebody interrupted it, as SIGTERM does in good order.

    The callbacks are called between the steps of Tune's loop: they may have the study draw other trials, or leave.
    """
    resources = launch.job.resources
    by_reference = ray.put(launch.trainer)  # so that only the ranks load what trains: torch
    trainable = tune.with_parameters(GangTrainable, launch=replace(launch, trainer=by_reference))
    sick_nodes = SickNodes(resources)
    draws = _Draws(study, sick_nodes)
    tuner = tune.Tuner(
        tune.with_resources(trainable, lambda config: reservation(resources, config[DRAW].avoided)),
        tune_config=tune.TuneConfig(
            search_alg=draws,
            scheduler=_Judge(study, draws, sick_nodes),
            num_samples=-1,
            max_concurrent_trials=resources.concurrent or None,
            reuse_actors=not resources.fresh_processes,
            trial_dirname_creator=lambda trial: f"trial_{trial.config[DRAW].trial.number:04d}",
        ),
        run_config=tune.RunConfig(
            name=launch.job.name,
            storage_path=str(launch.home.ray(launch.job.name)),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
            callbacks=list(callbacks),
        ),
    )
    with leaving_at_sigterm(study):
        tuner.fit()


class GangTrainable(tune.Trainable):  # type: ignore[misc]
    """Is a trial for Ray Tune; one `step` is a gang's way to the next rung. The gang outlives the trial."""

    def setup(self, config: dict[str, Any], launch: Launch) -> None:
        self._launch = launch
        self._gang: Gang | None = None
        self._config: Config = {}
        self._death: Died | None = None
        self._begin(config[DRAW])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config[DRAW])
        return True

    def step(self) -> dict[str, Any]:
        if self._death:
            raise self._death  # Tune heard of it in the step before, and reserves elsewhere now
        try:
            measurement = self._ready_gang().step(self._draw.evaluation_points)
        except TrialFailed as failure:
            if not isinstance(failure, Diverged):
                self._disband()
            if isinstance(failure, OutOfMemory) and (smaller := in_less_memory(self._config)):
                self._config = smaller
                return self.step()
            self._death = failure if isinstance(failure, Died) else None
            return {REPORT: Report(failure, self._nodes)}
        return {REPORT: Report(measurement, self._nodes)}

    def cleanup(self) -> None:
        self._disband()

    @property
    def _nodes(self) -> tuple[str, ...]:
        return self._gang.nodes if self._gang else ()

    def _begin(self, draw: Draw) -> None:
        self._draw = draw
        self._config = trial_config(self._launch.job, self._launch.config, draw.trial)
        self._opened = False

    def _ready_gang(self) -> Gang:
        """Returns the gang with this trial's training open."""
        launch = self._launch
        if self._gang and not self._opened:
            try:
                self._open(self._gang)
            except NeedsFreshProcess:
                self._disband()
        if self._gang is None:
            self._gang = Gang(launch.job.resources, ray.util.get_current_placement_group(), launch.trainer)
            self._open(self._gang)
        return self._gang

    def _open(self, gang: Gang) -> None:
        gang.open(self._config, self._launch.home.trial(self._launch.job.name, self._draw.trial.number).root)
        self._opened = True

    def _disband(self) -> None:
        if self._gang:
            self._gang.disband()
        self._gang = None


class _Draws(Searcher):  # type: ignore[misc]
    """Asks the study for trials, and tells it of those that died."""

    def __init__(self, study: Study, sick_nodes: SickNodes) -> None:
        super().__init__()
        self._study, self._sick_nodes = study, sick_nodes
        self._numbers: dict[str, int] = {}  # of the trials that run
        self.deaths: dict[int, str] = {}
        """What is known of a trial's death before Tune reports it, by the trial's number."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._study.draw()
        if trial is None:
            return None if self._numbers else FINISHED
        self._numbers[trial_id] = trial.number
        avoided = self._sick_nodes.avoided(trial.number)
        return {DRAW: Draw(trial, self._study.evaluation_points, avoided)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        number = self._numbers.pop(trial_id, None)
        if error and number is not None:
            note = self.deaths.pop(number, "its process or its node died")
            self._study.retry(number, note, died=True)

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the study is kept in its own store."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing, as `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Judge(FIFOScheduler):  # type: ignore[misc]
    """Passes measurements to the study and stops the trials that it ends."""

    def __init__(self, study: Study, draws: _Draws, sick_nodes: SickNodes) -> None:
        super().__init__()
        self._study, self._draws, self._sick_nodes = study, draws, sick_nodes

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, report = trial.config[DRAW].trial.number, result[REPORT]
        match report.result:
            case Measurement() as measurement:
                self._sick_nodes.trained(report.nodes)
                return STOP if self._study.measure(number, measurement) else CONTINUE
            case Left():
                return STOP
            case Died() as death:
                self._heard_of(number, death)
                return CONTINUE  # its next step raises, for Tune keeps the place of trials that were stopped
            case Crashed() as crash:
                self._study.retry(number, str(crash), died=False)
            case failure:
                self._study.fail(number, OUTCOMES[type(failure)], str(failure))
        return STOP

    def _heard_of(self, number: int, death: Died) -> None:
        self._draws.deaths[number] = str(death)
        remark = self._sick_nodes.died(number, death) if isinstance(death, SickGpu) else ""
        if remark or isinstance(death, Hung):
            self._study.remark(number, remark or str(death))

    def __getstate__(self) -> dict[str, Any]:
        return {}
