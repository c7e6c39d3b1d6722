"""The ranks of one trial: actors, one a bundle of a placement group, that live on for the next trial."""

import gc
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tuner.errors import Crashed, Died, Diverged, OutOfMemory, TrialFailed
from tuner.job import Resources
from tuner.paths import AnyPath
from tuner.trial import Config, Measurement, Place

DEATH_SECONDS = 2.0
"""Until Ray has told of a dead rank."""


class Session(Protocol):
    """One rank's part of one training."""

    def step(self, stops: tuple[int, ...]) -> Measurement: ...


@dataclass(frozen=True)
class Trainer:
    """What the ranks run, handed in so that this room knows no trainer."""

    join: Callable[[int, int, str, float], Place]
    """From rank, ranks, host:port of rank 0 and GPUs a rank to the rank's place."""
    open: Callable[[Config, AnyPath, Place], Session]
    """Takes up the training of a config in a folder."""


class Gang:
    """All ranks do the same step at the same time, or the whole gang goes."""

    def __init__(
        self, resources: Resources, group: PlacementGroup, trainer: "Trainer | ray.ObjectRef[Trainer]"
    ) -> None:
        count, gpus = resources.processes, resources.gpus_per_rank
        actor: Any = ray.remote(_Rank)
        self._ranks = [
            actor.options(
                num_cpus=resources.cpus_per_rank,
                num_gpus=gpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle),
            ).remote(trainer)
            for bundle in range(count)
        ]
        address = _all([self._ranks[0].address.remote()])[0] if count > 1 else ""
        _all([rank.join.remote(i, count, address, gpus) for i, rank in enumerate(self._ranks)])

    def open(self, config: Config, folder: AnyPath) -> None:
        _all([rank.open.remote(config, folder) for rank in self._ranks])

    def step(self, stops: tuple[int, ...]) -> Measurement:
        """To the next stop. Raises TrialFailed; after Diverged the gang is whole, otherwise it must go."""
        measurements: list[Measurement] = _all([rank.step.remote(stops) for rank in self._ranks])
        return measurements[0]

    def disband(self) -> None:
        for rank in self._ranks:
            ray.kill(rank)


class _Rank:
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._place = Place()
        self._session: Session | None = None

    def address(self) -> str:
        """A port of this node that is free just now."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def join(self, rank: int, ranks: int, address: str, gpus_per_rank: float) -> None:
        self._place = self._trainer.join(rank, ranks, address, gpus_per_rank)

    def open(self, config: Config, folder: AnyPath) -> None:
        self._session = None
        gc.collect()
        gc.freeze()  # what is left is loaded code: collecting over it takes a tenth of a second
        self._session = self._trainer.open(config, folder, self._place)

    def step(self, stops: tuple[int, ...]) -> Measurement:
        assert self._session is not None
        return self._session.step(stops)


_Reference: TypeAlias = "ray.ObjectRef[Any]"


def _all(references: list[_Reference]) -> list[Any]:
    """The results of all ranks; the first failure of any is raised as TrialFailed, others are left to run."""
    waiting = list(references)
    while waiting:
        (done, *_), waiting = ray.wait(waiting)
        if failure := _failure(done):
            raise _death(waiting) or failure if type(failure) is Crashed else failure
    return ray.get(references)  # type: ignore[no-any-return]


def _death(others: list[_Reference]) -> TrialFailed | None:
    """When a rank dies, those that are in a collective with it may be the first to raise."""
    told, _ = ray.wait(others, num_returns=max(1, len(others)), timeout=DEATH_SECONDS)
    return next((failure for failure in map(_failure, told) if isinstance(failure, Died)), None)


def _failure(done: _Reference) -> TrialFailed | None:
    try:
        ray.get(done)
    except (Diverged, OutOfMemory, Crashed) as failure:
        return _plain(failure)
    except RayTaskError as error:
        return Crashed(f"a rank raised: {_last_line(error)}")
    except RayError:
        return Died("a rank died")
    return None


def _plain(failure: Exception) -> TrialFailed:
    """Ray's errors are subclasses of ours that carry a traceback as their text."""
    kind = next(kind for kind in (Diverged, OutOfMemory, Crashed) if isinstance(failure, kind))
    cause = getattr(failure, "cause", failure)
    return kind(str(cause))


def _last_line(error: RayTaskError) -> str:
    return str(error).strip().splitlines()[-1]
