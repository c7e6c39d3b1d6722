"""Answers the questions of docs/results.md from the numbers that are kept, each with an interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import optuna
from intervals import Interval, difference, mean, paired, resampled
from numbers_kept import FINISHED, OPTIMIZER, PVT, SPLITS, Recipe, again, history, replicates

from tuner.search.samplers import distributions
from tuner.spec.trial import Outcome, Record
from tuner.study.center_comparison import Comparison
from tuner.study.history import History
from tuner.study.replication import best, compared

CENTERS = (4, 25, 49)
PUBLISHED: Mapping[Recipe, str] = {
    (PVT, 1): "PoolFormer, RepViT, EfficientFormer",
    (OPTIMIZER, 1): "PVT, PVTv2, VAN",
    (OPTIMIZER, 3): "XCiT",
}
"""Whose published recipe the initial points are."""
DRAWS = 200


@dataclass(frozen=True)
class Row:
    """Compares one recipe with PVT's values and with the best published one, split by split."""

    name: str
    recipe: Recipe
    record: Record
    means: Mapping[str, Interval]
    to_default: Mapping[str, Interval | None]
    to_published: Mapping[str, Interval | None]


def winner(study: str) -> Recipe:
    found = best(history(study))
    assert found
    return study, found.trial.number


def recipes() -> dict[Recipe, str]:
    """Returns what was trained again, by the name that the document gives it."""
    return {
        (PVT, 0): "PVT's values, as Context Cluster copied them",
        **PUBLISHED,
        winner(PVT): "found by `pvt.yaml`",
        winner(OPTIMIZER): "found by `optimizer.yaml`",
    }


def best_published() -> Recipe:
    """Returns the published recipe with the best mean on validation; being picked by it favours it."""
    return max(PUBLISHED, key=lambda each: fmean(again()[each]["validation"].values()))


def rows() -> list[Row]:
    found, default, published = again(), (PVT, 0), best_published()

    def apart(recipe: Recipe, other: Recipe) -> dict[str, Interval | None]:
        return {s: difference(found[recipe][s], found[other][s]) if recipe != other else None for s in SPLITS}

    return [
        Row(
            name,
            recipe,
            record(recipe),
            {split: mean(found[recipe][split].values()) for split in SPLITS},
            apart(recipe, default),
            apart(recipe, published),
        )
        for recipe, name in recipes().items()
    ]


def record(recipe: Recipe) -> Record:
    study, number = recipe
    return next(each for each in history(study).records if each.trial.number == number)


def rate_and_decay() -> tuple[Record, Interval]:
    """Returns the best trial with the default's number of centers, and what it gains by rate and decay alone."""
    found, default = compared(history(PVT)), record((PVT, 0))
    assert found
    trials = {found.centers: found.trial, **{each.centers: each.trial for each in found.others}}
    number = trials[default.trial.params["centers"]]
    gain = difference(replicates(PVT, number), again()[PVT, 0]["validation"])
    return record((PVT, number)), gain


def centers() -> Comparison:
    """Compares the numbers of centers, each with the best rate and decay of those that were finished."""
    found = compared(history(FINISHED))
    assert found
    return found


def centers_margin() -> float:
    """Returns half of the widest interval between two numbers of centers."""
    return max((each.high - each.low) / 2 for each in centers().others)


@dataclass(frozen=True)
class AtInference:
    """Says what weights lose that were trained with one number of centers and are used with another."""

    trained: object
    trial: int
    used: int
    change: Interval


def at_inference() -> list[AtInference]:
    compared_trials = centers()
    own = {
        compared_trials.centers: compared_trials.trial,
        **{o.centers: o.trial for o in compared_trials.others},
    }

    def change(number: int, used: int) -> Interval:
        return paired(replicates(FINISHED, number, f"mIoU.centers_{used}"), replicates(FINISHED, number))

    return [
        AtInference(trained, number, used, change(number, used))
        for trained, number in sorted(own.items(), key=lambda each: float(each[0]))
        for used in CENTERS
        if used != trained
    ]


def widest_at_inference() -> float:
    """Returns the greatest change that an interval still holds, either way."""
    return max(max(-each.change.low, each.change.high) for each in at_inference())


@dataclass(frozen=True)
class Spent:
    """Says what a study cost, in trainings of full length."""

    trials: int
    finished: int
    search: float
    verdict: float
    hours: float


def spent(study: str) -> Spent:
    found = history(study)
    full = median(r.last.seconds for r in found.records if r.last and r.outcome is Outcome.COMPLETED)
    seconds = [[r.last.seconds for r in each if r.last] for each in (found.search, _replicated(found))]
    return Spent(
        trials=len(found.search),
        finished=sum(r.outcome is Outcome.COMPLETED for r in found.search),
        search=sum(seconds[0]) / full,
        verdict=sum(seconds[1]) / full,
        hours=sum(map(sum, seconds)) / 3600,
    )


def _replicated(found: History) -> list[Record]:
    return [record for record in found.records if record.trial.replicate_of is not None]


def pruned_winner() -> Interval:
    """Returns how much better the winner of the screened search is than that of the one that finished all."""
    return difference(replicates(*winner(PVT)), replicates(*winner(FINISHED)))


def importances(study: str) -> dict[str, Interval]:
    """Returns PED-ANOVA's importance of each parameter, with the interval that drawing the trials again gives."""
    found = history(study)
    known = distributions(found.job.space)

    def importance(name: str, records: Sequence[object]) -> float:
        own = optuna.create_study(direction=found.job.objective.direction)
        own.add_trials(
            [
                optuna.trial.create_trial(
                    params=dict(r.trial.params), distributions=known, value=found.score(r)
                )
                for r in records
                if isinstance(r, Record)
            ]
        )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(own, evaluator=evaluator)[name]

    return {
        name: resampled(found.ranked, lambda rows, name=name: importance(name, rows), DRAWS) for name in known
    }


def rank_of_published() -> int:
    """Returns the rank of the best published point among the trials that were finished, by one training each."""
    numbers = [r.trial.number for r in history(FINISHED).ranked]
    return min(numbers.index(number) for number in (1, 2)) + 1


def noise(study: str) -> float:
    """Returns the standard deviation of the winner's replicates."""
    return stdev(replicates(*winner(study)).values())


def default_at_inference() -> Interval:
    """Returns how the default's weights change with 49 centers instead of 4, over its trainings."""
    own = [r for r in history(FINISHED).records if 0 in (r.trial.number, r.trial.replicate_of)]
    return mean((r.value("mIoU.centers_49") or 0.0) - (r.value("mIoU") or 0.0) for r in own)


def agreeing() -> int:
    """Returns how many trainings were done both in a study and again, with the same result to the last digit."""
    pairs = [
        (value, splits["validation"].get(seed))
        for recipe, splits in again().items()
        for seed, value in replicates(*recipe).items()
    ]
    assert all(one == other for one, other in pairs), "a training gave another result"
    return len(pairs)


def shared() -> int:
    """Returns how many trainings both studies over the same space finished, with the same result to the last digit."""
    ends = [
        {
            (tuple(r.trial.params.values()), r.trial.seed): r.value("mIoU")
            for r in history(study).records
            if r.outcome is Outcome.COMPLETED
        }
        for study in (PVT, FINISHED)
    ]
    both = ends[0].keys() & ends[1].keys()
    assert all(ends[0][each] == ends[1][each] for each in both), "a training gave another result"
    return len(both)
