"""NSGA-II (Deb et al. 2002): parents from all that is known, and as a function of it alone."""

from copy import copy

from optuna import Study
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

POPULATION = 8
"""Completed trials that make a generation. Searches have tens of trials, not Optuna's thousands."""
COST = "cost"
"""A completed trial's user attribute."""


class Nsga2Sampler(NSGAIISampler):
    """Wants a study of two objectives, its completed trials `with_cost`.

    Optuna keeps every generation's parents with the study, and by then those that have ended. Here they are
    chosen anew for each draw: of all earlier generations, so that who ends late becomes a parent too.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(population_size=POPULATION, seed=seed)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return self.select_parent(study, generation) if generation else []

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        earlier = [trial for trial in completed if trial.system_attrs[GENERATION] < generation]
        return self._elite_population_selection_strategy(study, earlier)


GENERATION = Nsga2Sampler._get_generation_key()


def with_cost(trial: FrozenTrial) -> FrozenTrial:
    """As a trial of two objectives; one that was not drawn by NSGA-II belongs to the first generation."""
    if trial.state is not TrialState.COMPLETE:
        return trial
    shown = copy(trial)
    shown.values = [trial.values[0], trial.user_attrs[COST]]
    shown.system_attrs = {GENERATION: 0} | trial.system_attrs
    return shown
