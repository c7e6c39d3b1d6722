"""TPE mixed with the prior and the best trial so far, after PriorBand (Mallik et al. 2023).

Half of the draws are TPE's. The others are drawn around the prior or around the best trial, whichever makes
the better third of the completed trials likelier: where the data disagree with the prior, its share falls.
"""

from collections.abc import Mapping, Sequence
from math import ceil, exp
from random import Random
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from tuner.job import JobSpec
from tuner.search.cube import log_density, near
from tuner.space import Params

OF_TPE = 0.5
SPREADS = {"low": 0.4, "medium": 0.25, "high": 0.1}
"""Of the prior, in the unit cube, by its confidence."""
AROUND_BEST = 0.1


class PriorSampler(TPESampler):
    """Where a parameter has no prior of its own, the default's value is it, with medium confidence."""

    def __init__(self, job: JobSpec, seed: int) -> None:
        super().__init__(seed=seed)
        self._parameters = job.space.parameters
        self._chance = Random(seed)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._chance.random() < OF_TPE:
            return super().sample_relative(study, trial, search_space)
        known = study.get_trials(deepcopy=False)
        completed = sorted(
            (each for each in known if each.state is TrialState.COMPLETE),
            key=lambda each: each.value or 0.0,
            reverse=study.direction.name == "MAXIMIZE",
        )
        prior = self._prior(next(each.params for each in known if each.number == 0))
        chosen = prior
        if completed:
            best = {name: (value, AROUND_BEST) for name, value in completed[0].params.items()}
            better = [each.params for each in completed[: ceil(len(completed) / 3)]]
            if self._chance.random() < self._share(best, prior, better):
                chosen = best
        return {
            name: near(self._parameters[name], center, spread, self._chance)
            for name, (center, spread) in chosen.items()
        }

    def _prior(self, default: Params) -> dict[str, tuple[Any, float]]:
        priors: dict[str, tuple[Any, float]] = {}
        for name, parameter in self._parameters.items():
            if parameter.prior is not None:
                priors[name] = parameter.prior.value, SPREADS[parameter.prior.confidence]
            elif name in default:
                priors[name] = default[name], SPREADS["medium"]
        return priors

    def _share(
        self,
        best: Mapping[str, tuple[Any, float]],
        prior: Mapping[str, tuple[Any, float]],
        better: Sequence[Params],
    ) -> float:
        """Of the best trial, against the prior: how likely each makes the better trials, by rank."""
        scores = [
            sum(exp(self._fit(center, params)) / rank for rank, params in enumerate(better, start=1))
            for center in (best, prior)
        ]
        return scores[0] / sum(scores)

    def _fit(self, center: Mapping[str, tuple[Any, float]], params: Params) -> float:
        return sum(
            log_density(self._parameters[name], value, spread, params[name])
            for name, (value, spread) in center.items()
            if name in params
        )
