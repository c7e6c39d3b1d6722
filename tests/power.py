"""Studies on simulated noise, by the thousand: how often verdicts and rungs are right; noise is 1."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random

from tests.learning_curves import noise as noise_of
from tuner.spec.job import Budget, JobSpec
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.study.center_comparison import Comparison, comparison
from tuner.study.history import History
from tuner.study.replication import FINALISTS
from tuner.study.rung_selection import TRIALS as FIRST_TRIALS
from tuner.study.rung_selection import RungSelection, rung_selection
from tuner.study.verdict import SURE, Verdict, noise, remaining, verdict

TRIALS, SEEDS = 24, Budget(trials=24).seeds
CANDIDATES = (30, 60, 120, 240, 480)
TrueDifference = Callable[[int], float]
"""A trial's true difference to the default."""
TrueMeans = Mapping[int, float]
"""By number of centers, how much better it truly is."""


@dataclass(frozen=True)
class Race:
    """Holds how the replication of a simulated study ended."""

    verdict: Verdict
    truth: float
    """The true difference of the candidate to the default."""
    trainings: int
    """The trainings that it took."""


def percent(answers: Iterable[bool]) -> float:
    """Returns the share of true answers, in percent."""
    each = list(answers)
    return 100 * sum(each) / len(each)


def races(truth: TrueDifference, studies: int) -> list[Race]:
    chance = Random(1)
    return [_race(truth, chance) for _ in range(studies)]


def at_fixed_seeds(truth: TrueDifference, studies: int, seeds: int, finalists: int = 4) -> list[Race]:
    """Lists races in which nobody leaves and the only look is the last."""
    chance = Random(1)
    return [_at_fixed_seeds(truth, seeds, finalists, chance) for _ in range(studies)]


def comparisons(truth: TrueMeans, seeds: int, studies: int) -> list[Comparison]:
    """Lists each study's comparison of its numbers of centers."""
    chance = Random(1)
    return [_comparison(truth, seeds, chance) for _ in range(studies)]


def rung_selections(job: JobSpec, studies: int) -> list[RungSelection | None]:
    """Lists the rungs that studies select whose early measurements say nothing about the end."""
    return [rung_selection(History(job, _unrelated(study))) for study in range(studies)]


def tells_a_difference(found: Comparison) -> bool:
    return any(other.ruling == "worse" for other in found.others)


def holds(found: Comparison, truth: TrueMeans) -> bool:
    """Says whether all true differences lie within their intervals."""
    best = truth[int(found.centers)]
    return all(other.low <= truth[int(other.centers)] - best <= other.high for other in found.others)


def _race(truth: TrueDifference, chance: Random) -> Race:
    """Simulates a search of single trainings and the replication of its best few."""
    trials = range(1, TRIALS)
    found = {number: truth(number) + chance.gauss(0, 1) for number in trials}
    finalists = sorted(trials, key=lambda number: -found[number])[:FINALISTS]
    default: dict[int, float] = {0: chance.gauss(0, 1)}
    values: dict[int, dict[int, float]] = {number: {} for number in finalists}
    still = finalists
    result = None
    for seed in range(1, SEEDS + 1):
        default[seed] = chance.gauss(0, 1)
        for number in still:
            values[number][seed] = truth(number) + chance.gauss(0, 1)
        still = remaining({number: values[number] for number in still})
        result = verdict(default, values, SEEDS)
        if result and result.stands:
            break
    assert result
    trainings = sum(map(len, [default, *values.values()])) - 1
    return Race(result, truth(result.candidate), trainings)


def _at_fixed_seeds(truth: TrueDifference, seeds: int, finalists: int, chance: Random) -> Race:
    default = {seed: chance.gauss(0, 1) for seed in range(seeds + 1)}
    found = {number: truth(number) + chance.gauss(0, 1) for number in range(1, TRIALS)}
    values = {
        number: {seed: truth(number) + chance.gauss(0, 1) for seed in range(1, seeds + 1)}
        for number in sorted(found, key=lambda number: -found[number])[:finalists]
    }
    result = verdict(default, values)
    assert result
    return Race(replace(result, sure=SURE), truth(result.candidate), seeds * (1 + finalists))


def _comparison(truth: TrueMeans, seeds: int, chance: Random) -> Comparison:
    """Simulates a search, then the replication of its best few and of the best of each number of centers."""
    numbers = list(truth)
    centers = {trial: numbers[trial % len(numbers)] for trial in range(TRIALS)}
    found = {trial: truth[centers[trial]] + chance.gauss(0, 1) for trial in centers}
    ranked = sorted(found, key=lambda trial: -found[trial])
    bests = {number: next(trial for trial in ranked if centers[trial] == number) for number in numbers}
    candidates = list(dict.fromkeys([*ranked[:FINALISTS], *bests.values()]))
    values: dict[int, dict[int, float]] = {trial: {} for trial in candidates}
    default, racing = {0: chance.gauss(0, 1)}, candidates
    for seed in range(1, seeds + 1):
        default[seed] = chance.gauss(0, 1)
        for trial in candidates:
            values[trial][seed] = truth[centers[trial]] + chance.gauss(0, 1)
        racing = remaining({trial: values[trial] for trial in racing})
        candidates = [trial for trial in candidates if trial in {*racing, *bests.values()}]
    replicates = {number: values[trial] for number, trial in bests.items()}
    result = comparison(bests, replicates, noise([default, *values.values()]))
    assert result
    return result


def _unrelated(study: int) -> list[Record]:
    """Makes the first trials of a study, every measurement by chance alone."""
    trials = [Trial(number, {"lr": study * 100.0 + number}, 0) for number in range(FIRST_TRIALS[1])]
    return [
        Record(
            trial,
            Outcome.COMPLETED,
            tuple(Measurement(stop, {"mIoU": noise_of(trial, stop)}, 1.0) for stop in CANDIDATES),
        )
        for trial in trials
    ]
