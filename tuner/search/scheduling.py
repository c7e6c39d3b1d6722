"""Who goes on at a rung: rules by name, on the mmcv iteration."""

from itertools import pairwise

from tuner.job import JobSpec
from tuner.study import Rule


def rule(job: JobSpec) -> Rule:
    match job.search.scheduler:
        case "asha":
            return asha(job.fidelity.stops, job.objective.direction)
        case "none":
            return lambda *_: True


def asha(rungs: tuple[int, ...], direction: str) -> Rule:
    """Asynchronous successive halving (Li et al. 2020) in its stopping form.

    Of the trials that reached a rung, the share rung / next rung goes on, so that every rung costs the
    same in all. Nobody waits: the first to reach a rung always goes on.
    """
    share = {here: here / following for here, following in pairwise(rungs)}
    sign = 1 if direction == "maximize" else -1

    def goes_on(value: float, reached: list[float], iteration: int) -> bool:
        better = sum(sign * other > sign * value for other in reached)
        return better < share.get(iteration, 1.0) * len(reached)

    return goes_on
