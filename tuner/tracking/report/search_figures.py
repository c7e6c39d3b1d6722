"""Takes Optuna's own plots over the trials of the search alone, in the report's look."""

from collections.abc import Sequence

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial
from optuna.visualization import (
    plot_contour,
    plot_intermediate_values,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_pareto_front,
    plot_slice,
)
from plotly.colors import sample_colorscale

from tuner.search.samplers import distributions
from tuner.spec.space import ChoiceParameter
from tuner.spec.trial import Outcome, Record, Value
from tuner.tracking.report.sources import Sources
from tuner.tracking.report.style import BEST, DEFAULT, OTHERS, SCALE, plain, styled

optuna.logging.set_verbosity(optuna.logging.WARNING)

ENOUGH = 3
"""Completed trials from which on plots of the parameters say something."""
HEIGHT = 420
"""Pixels; the height of two plots that stand side by side."""
LABEL = 16
"""Letters of a choice that a plot has room for."""
DIMENSIONS = 6
"""The most important parameters are shown; more cannot be read."""
STATES = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED, None: TrialState.RUNNING}


class SearchFigures:
    """Holds the search as a study of Optuna's in memory, without replicates, which would count twice."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        job = sources.job
        self._labels = {
            name: _labels(parameter.choices)
            for name, parameter in job.space.parameters.items()
            if isinstance(parameter, ChoiceParameter)
        }
        self._distributions = {n: self._shown(n, d) for n, d in distributions(job.space).items()}
        self._study = optuna.create_study(direction=job.objective.direction)
        self._study.add_trials([self._trial(record) for record in sources.records])
        self._metric = plain(job.objective.metric)
        self.importances = self._importances()
        """Returns importances by parameter, the most important first; none where too little is known."""

    @property
    def names(self) -> list[str]:
        return list(self.importances)[:DIMENSIONS]

    def importance(self) -> go.Figure:
        figure = plot_param_importances(
            self._study, PedAnovaImportanceEvaluator(), self.names, target_name=self._metric
        )
        figure.update_traces(marker_color=BEST, cliponaxis=False)
        most = 1.2 * max(self.importances.values())
        figure.update_xaxes(title="share of the importance", range=[0, most])
        figure.update_yaxes(title=None)
        return styled(figure, HEIGHT, showlegend=False, bargap=0.55)

    def slices(self) -> go.Figure:
        figure = plot_slice(self._study, self.names, target_name=self._metric)
        figure.update_traces(
            marker={"line": {"width": 0}, "size": 7, "color": BEST, "opacity": 0.7, "showscale": False}
        )
        styled(figure, 340, showlegend=False)
        figure.update_xaxes(dtick=1, selector={"type": "log"})
        return figure

    def contour(self) -> go.Figure:
        figure = plot_contour(self._study, self.pair, target_name=self._metric)
        return styled(figure, HEIGHT)

    def parallel(self) -> go.Figure:
        figure = plot_parallel_coordinate(self._study, self.names, target_name=self._metric)
        figure.update_traces(marker={"colorscale": SCALE}, selector={"mode": "markers"})
        figure.for_each_trace(self._darken, selector={"mode": "lines"})
        return styled(figure, 380, margin={"l": 60, "r": 60, "t": 36, "b": 30})

    def _darken(self, line: go.Scatter) -> None:
        """Colours a trial's line by its objective, the first of the axes, so that the worst is seen on white too."""
        share = line.y[0] if self._sources.history.sign > 0 else 1 - line.y[0]
        line.update(line={"color": sample_colorscale(SCALE, [share])[0]}, opacity=0.75)

    def curves(self) -> go.Figure:
        figure = plot_intermediate_values(self._study)
        figure.update_traces(line={"width": 1.2, "color": OTHERS}, marker={"size": 4}, showlegend=False)
        named = {"Trial0": ("default", DEFAULT)}
        if rival := self._sources.rival:
            named[f"Trial{rival.trial.number}"] = (f"best, trial {rival.trial.number}", BEST)
        for trace, (name, colour) in named.items():
            shown = {"name": name, "showlegend": True, "line": {"width": 2.5, "color": colour}}
            figure.update_traces(shown, selector={"name": trace})
        others = [trace for trace in figure.data if not trace.showlegend]
        figure.data = [*others, *(trace for trace in figure.data if trace.showlegend)]
        for trace in others[:1]:
            trace.update(name="others", showlegend=True)
        figure.update_xaxes(title="iteration")
        figure.update_yaxes(title=self._metric)
        return styled(figure, 380, showlegend=True)

    def pareto(self) -> go.Figure:
        """Shows both objectives of a job that has two."""
        objective = self._sources.job.objective
        cost = objective.cost or ""
        study = optuna.create_study(directions=[objective.direction, "minimize"])
        for record in self._sources.completed:
            value, price = record.value(objective.metric), record.value(cost)
            if value is not None and price is not None:
                study.add_trial(create_trial(values=[value, price]))
        figure = plot_pareto_front(study, target_names=[self._metric, plain(cost)])
        return styled(figure, 400)

    @property
    def pair(self) -> list[str]:
        """Returns learning rate and weight decay where both vary; otherwise the two most important ones."""
        parameters = self._sources.job.space.parameters
        wanted = [
            name
            for path in ("optimizer.lr", "optimizer.weight_decay")
            for name, parameter in parameters.items()
            if path in parameter.sets and name in self.importances
        ]
        return wanted if len(wanted) == 2 else self.names[:2]

    def _importances(self) -> dict[str, float]:
        """Computes PED-ANOVA's importances of the parameters that all completed trials have, as it needs them."""
        completed = self._sources.completed
        values = {record.value(self._sources.job.objective.metric) for record in completed}
        shared = [
            name
            for name in self._distributions
            if len({record.trial.params.get(name) for record in completed} - {None}) > 1
            and all(name in record.trial.params for record in completed)
        ]
        if len(completed) < ENOUGH or len(values) < 2 or not shared:
            return {}
        return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(), params=shared)

    def _shown(self, name: str, distribution: BaseDistribution) -> BaseDistribution:
        if isinstance(distribution, CategoricalDistribution):
            return CategoricalDistribution([*self._labels[name].values()])
        return distribution

    def _trial(self, record: Record) -> optuna.trial.FrozenTrial:
        """Returns a trial of Optuna's; a replicate only keeps its place, so that the other numbers stay."""
        if record.trial.replicate_of is not None:
            return create_trial(state=TrialState.FAIL)
        metric = self._sources.job.objective.metric
        params = {
            name: self._labels[name][value] if name in self._labels else value
            for name, value in record.trial.params.items()
        }
        return create_trial(
            state=STATES.get(record.outcome, TrialState.FAIL),
            value=record.value(metric) if record.outcome is Outcome.COMPLETED else None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            intermediate_values={
                m.iteration: m.metrics[metric] for m in record.measurements if metric in m.metrics
            },
        )


def _labels(choices: Sequence[Value]) -> dict[Value, Value]:
    """Returns each choice as a plot labels it: of a long text its two ends, and its place where that is not enough."""
    labels: dict[Value, Value] = {}
    for place, choice in enumerate(choices):
        label = _label(choice)
        labels[choice] = f"{label} ({place})" if label in labels.values() else label
    return labels


def _label(choice: Value) -> Value:
    if not isinstance(choice, str):
        return choice
    half = LABEL // 2
    return plain(choice if len(choice) <= LABEL else f"{choice[:half]}…{choice[-half:]}")
