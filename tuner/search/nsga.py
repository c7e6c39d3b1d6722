"""Samples by NSGA-II (Deb et al. 2002); parents come from the whole history, and follow from it alone."""

from copy import copy

from optuna import Study
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

POPULATION = 8
"""Completed trials that make a generation. Searches have tens of trials, not Optuna's thousands."""
COST = "cost"
"""A completed trial's user attribute."""


class _Elite(NSGAIISampler):
    """Selects the best of all completed trials of earlier generations."""

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [trial for trial in completed if trial.system_attrs[GENERATION] <= generation]

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return []


class Nsga2Sampler(NSGAIISampler):
    """Wants a study of two objectives, its completed trials `with_cost`.

    Optuna keeps every generation's parents with the study, and by then those that have ended. Here they are
    chosen again for each draw: of all earlier generations, so that who ends late becomes a parent too.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(population_size=POPULATION, seed=seed)
        self._elite = _Elite(population_size=POPULATION)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return self.select_parent(study, generation) if generation else []

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        return self._elite.select_parent(study, generation)


GENERATION = f"{Nsga2Sampler.__name__}:generation"
"""The system attribute that Optuna 5.0 gives a trial of this sampler."""


def with_cost(trial: FrozenTrial) -> FrozenTrial:
    """Returns a trial with two objectives; one that NSGA-II did not draw belongs to the first generation."""
    if trial.state is not TrialState.COMPLETE:
        return trial
    shown = copy(trial)
    shown.values = [trial.values[0], trial.user_attrs[COST]]
    shown.system_attrs = {GENERATION: 0} | trial.system_attrs
    return shown
