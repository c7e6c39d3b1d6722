"""The ranks of one trial: actors, one a bundle of a placement group, that live on for the next trial."""

import gc
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tuner.cluster.messages import RANK, NodeId
from tuner.cluster.sick_gpus import reporting_sick_gpus
from tuner.errors import CorruptImage, Crashed, Died, Hung, NcclFailed, OutOfMemory, SickGpu, TrialFailed
from tuner.files.paths import AnyPath
from tuner.servers.ports import free_ports
from tuner.servers.progress import Progress
from tuner.spec.job import Resources
from tuner.spec.trial import Config, Measurement, RankInfo

OUTSIDE = "outside"
"""The calls of a rank that are answered while it trains, by a thread of their own."""
LOOKS, ANSWER = 10, 5.0
"""How often ranks are looked at while they may hang, and the seconds that they have to answer."""
DEATH_SECONDS = 2.0
"""Seconds until Ray has reported a dead rank."""
FAULTS = (SickGpu, Died, OutOfMemory, CorruptImage, Crashed, NcclFailed)
"""Which of several ranks' failures counts: that which the others do not follow from."""


class Session(Protocol):
    """Trains one rank's part of one training."""

    progress: Progress

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement: ...


@dataclass(frozen=True)
class Trainer:
    """Holds what the ranks run. It is handed in, so that this room knows no trainer."""

    join: Callable[[int, int, str, float], RankInfo]
    """Turns rank, number of ranks, host:port of rank 0 and GPUs a rank into the rank's info."""
    open: Callable[[Config, AnyPath, RankInfo], Session]
    """Takes up the training of a config in a folder."""


class Gang:
    """Has all ranks do the same step at the same time; if one cannot, the whole gang goes."""

    def __init__(
        self, resources: Resources, group: PlacementGroup, trainer: "Trainer | ray.ObjectRef[Trainer]"
    ) -> None:
        """Starts the ranks and has them join; if one cannot, none is left. Raises TrialFailed."""
        count, gpus = resources.processes, resources.gpus_per_rank
        self._patience = 60 * resources.hang_minutes
        actor: Any = ray.remote(concurrency_groups={OUTSIDE: 1})(_Rank)
        name = uuid.uuid4().hex
        self._ranks = [
            actor.options(
                num_cpus=resources.cpus_per_rank,
                num_gpus=gpus,
                name=f"{name}{RANK}{bundle}",
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle),
            ).remote(trainer)
            for bundle in range(count)
        ]
        try:
            address = _all([self._ranks[0].address.remote()])[0] if count > 1 else ""
            joined = [rank.join.remote(i, count, address, gpus) for i, rank in enumerate(self._ranks)]
            self.nodes: tuple[NodeId, ...] = tuple(_all(joined))
            """The node of each rank."""
        except BaseException:
            self.disband()
            raise

    def open(self, config: Config, folder: AnyPath) -> None:
        self._watched([rank.open.remote(config, folder) for rank in self._ranks])

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement:
        """Trains to the next evaluation point.

        Raises TrialFailed; after Diverged the gang is whole, otherwise it must go.
        """
        steps = [rank.step.remote(evaluation_points) for rank in self._ranks]
        measurements: list[Measurement] = self._watched(steps)
        return measurements[0]

    def _watched(self, references: "list[_Reference]") -> list[Any]:
        """Returns the results of all ranks. Raises Hung, with their stacks, where nothing moves in any of them."""
        return _all(references, self._patience / LOOKS, self._look)

    def _look(self) -> None:
        asked = [rank.hung.remote(self._patience) for rank in self._ranks]
        answers = ray.wait(asked, num_returns=len(asked), timeout=ANSWER)[0]
        stacks = [_stack_in(each) for each in answers]
        if len(stacks) == len(asked) and all(stacks):
            ranks = "; ".join(f"rank {number}: {stack}" for number, stack in enumerate(stacks))
            raise Hung(f"nothing moved for {self._patience / 60:g} minutes: {ranks}")

    def disband(self) -> None:
        for rank in self._ranks:
            ray.kill(rank)


class _Rank:
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._rank_info = RankInfo()
        self._session: Session | None = None
        self._folder, self._opening = "", Progress()

    def address(self) -> str:
        """Returns this node's address with a port that is free just now."""
        return f"{ray.util.get_node_ip_address()}:{free_ports(0, host='')[0]}"

    def join(self, rank: int, ranks: int, address: str, gpus_per_rank: float) -> NodeId:
        """Returns the node on which it lies."""
        with reporting_sick_gpus():
            self._rank_info = self._trainer.join(rank, ranks, address, gpus_per_rank)
        return str(ray.get_runtime_context().get_node_id())

    def open(self, config: Config, folder: AnyPath) -> None:
        self._session, self._opening = None, Progress()
        gc.collect()
        gc.freeze()  # what is left is loaded code: collecting over it takes a tenth of a second
        with reporting_sick_gpus():
            self._session = self._trainer.open(config, folder, self._rank_info)
        self._folder = str(folder)

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement:
        assert self._session is not None
        with reporting_sick_gpus():
            return self._session.step(evaluation_points)

    @ray.method(concurrency_group=OUTSIDE)  # type: ignore[untyped-decorator]
    def hold(self, folder: str | None) -> int | None:
        """Lets no further step begin; returns how many have, None where no training is open in that folder."""
        if self._session is None or folder not in (None, self._folder):
            return None
        return self._session.progress.hold()

    @ray.method(concurrency_group=OUTSIDE)  # type: ignore[untyped-decorator]
    def hung(self, least: float) -> str:
        """Returns where its thread is if nothing has moved for that many seconds and ten usual steps, else nothing."""
        progress = self._session.progress if self._session else self._opening
        return progress.stack() if progress.hung(least) else ""

    @ray.method(concurrency_group=OUTSIDE)  # type: ignore[untyped-decorator]
    def leave_after(self, steps: int | None) -> None:
        if self._session is not None:
            self._session.progress.leave_after(steps)


_Reference: TypeAlias = "ray.ObjectRef[Any]"


def _stack_in(answer: _Reference) -> str:
    try:
        return str(ray.get(answer))
    except RayError:
        return ""  # it has died, as its step tells


def _all(
    references: list[_Reference], every: float | None = None, look: Callable[[], None] = lambda: None
) -> list[Any]:
    """Returns the results of all ranks; raises the failure of any as TrialFailed, and leaves the others to run.

    While they take longer, `look` is called after every `every` seconds.
    """
    waiting = list(references)
    while waiting:
        finished, waiting = ray.wait(waiting, timeout=every)
        if not finished:
            look()
        for done in finished:
            if failure := _failure(done):
                raise _fault(failure, waiting)
    return ray.get(references)  # type: ignore[no-any-return]


def _fault(first: TrialFailed, others: list[_Reference]) -> TrialFailed:
    """Returns the failure that counts: those that are in a collective with a dead rank may be the first to raise."""
    if type(first) not in (Crashed, NcclFailed) or not others:
        return first
    ended, _ = ray.wait(others, num_returns=len(others), timeout=DEATH_SECONDS)
    failures = [first, *filter(None, map(_failure, ended))]
    return min(failures, key=lambda failure: _place(type(failure)))


def _place(kind: type[TrialFailed]) -> int:
    return FAULTS.index(kind) if kind in FAULTS else len(FAULTS)


def _failure(done: _Reference) -> TrialFailed | None:
    try:
        ray.get(done)
    except TrialFailed as failure:
        return _plain(failure)
    except RayTaskError as error:
        return Crashed(f"a rank raised: {_last_line(error)}")
    except RayError:
        return Died("a rank died")
    return None


def _plain(failure: TrialFailed) -> TrialFailed:
    """Returns our own error: Ray's are subclasses that carry a traceback as their text, and ours as their cause."""
    cause = getattr(failure, "cause", failure)
    assert isinstance(cause, TrialFailed)
    return cause


def _last_line(error: RayTaskError) -> str:
    return str(error).strip().splitlines()[-1]
