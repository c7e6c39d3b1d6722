"""Draws the report as one file: HTML that needs nothing from anywhere, or Markdown."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import plotly.graph_objects as go
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tuner.study.pareto import pareto_front
from tuner.study.replication import best, compared
from tuner.study.stopping import stop_reason
from tuner.tracking.report import figures, style
from tuner.tracking.report.comparison import Arm, arm, changes, class_gains, is_default_best
from tuner.tracking.report.failures import failures, remedies
from tuner.tracking.report.markdown import escaped
from tuner.tracking.report.search_figures import ENOUGH, STATES, SearchFigures
from tuner.tracking.report.sentences import headline, number
from tuner.tracking.report.sources import Sources
from tuner.tracking.report.spending import amount, lost, rung_worths, scale, spent
from tuner.tracking.report.strips import Strips, read_strips

MOST_FAILURES = 40


@dataclass(frozen=True)
class Plot:
    key: str
    figure: go.Figure
    least_width: int = 0
    """Pixels; on a narrower screen the plot scrolls sideways."""

    @property
    def height(self) -> int:
        return int(self.figure.layout.height)

    @property
    def json(self) -> Markup:
        """Returns the figure for a script element: plotly writes no < and no / in it."""
        return Markup(self.figure.to_json())  # noqa: S704


def html(sources: Sources, now: datetime) -> str:
    """Draws the whole page, plotly and images in it; it asks for nothing over any network."""
    plots = {plot.key: plot for plot in _plots(sources)}
    template = _environment(autoescape=True).get_template("report.html.j2")
    script = Markup(get_plotlyjs())  # noqa: S704
    return template.render(_words(sources, now) | {"plots": plots, "plotly": script})


def markdown(sources: Sources, now: datetime, classes: int | None = None) -> str:
    """Writes the same as text and tables, without plots and images; at most `classes` classes, the most different."""
    template = _environment(autoescape=False).get_template("report.md.j2")
    words = _words(sources, now)
    shown = sorted(words["classes"], key=lambda each: -abs(each.gain))[:classes]
    return template.render(words | {"classes": [each for each in words["classes"] if each in shown]})


def _words(sources: Sources, now: datetime) -> dict[str, Any]:
    job, records = sources.job, sources.records
    default, rival = arm(sources, sources.default), arm(sources, sources.rival)
    strips = {each.number: _strips(sources, each) for each in (default, rival) if each}
    gains = class_gains(default, rival) if default and rival else []
    first, failed = best(sources.history), failures(records)
    return {
        "job": job,
        "metric": job.objective.metric,
        "headline": headline(sources.history),
        "verdict": sources.verdict,
        "default": default,
        "rival": rival,
        "is_default_best": is_default_best(sources),
        "export": f"tuner export {job.name} --to best",
        "best_number": first.trial.number if first else None,
        "changes": changes(sources),
        "strips": strips,
        "classes": gains,
        "frequency": next((each.frequency for each in strips.values() if each.classes), {}),
        "legend": next((each.classes for each in strips.values() if each.classes), ()),
        "centers": compared(sources.history),
        "rungs": rung_worths(sources),
        "pareto": pareto_front(sources.history),
        "failures": failed[:MOST_FAILURES],
        "failed": len(failed),
        "remedies": remedies(failed),
        "events": sources.events,
        "spent": spent(sources),
        "lost": lost(sources),
        "scale": scale(sources),
        "progress": _progress(sources),
        "ending": stop_reason(sources.history) if records else None,
        "origin": sources.origin,
        "job_yaml": yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        "now": now,
        "ranks": job.resources.processes,
    }


def _strips(sources: Sources, of: Arm) -> Strips:
    record = sources.default if of.number == 0 else sources.rival
    return read_strips(sources.folder(of.number), record)


def _progress(sources: Sources) -> str:
    ended = sum(record.outcome is not None for record in sources.history.search)
    again = [record for record in sources.records if record.trial.replicate_of is not None]
    text = f"{ended} of {sources.job.budget.trials} trials ended"
    if again:
        text += f", {sum(record.outcome is not None for record in again)} of {len(again)} replicates"
    running = sum(record.outcome is None for record in sources.records)
    return f"{text}, {running} unfinished" if running else text


def _plots(sources: Sources) -> Iterator[Plot]:
    """Draws those plots that there is enough for."""
    default, rival = arm(sources, sources.default), arm(sources, sources.rival)
    gains = class_gains(default, rival) if default and rival else []
    frequency: Mapping[str, float] = {}
    for each in (default, rival):
        frequency = frequency or (_strips(sources, each).frequency if each else {})
    if gains:
        letters = max(len(style.short(gain.name)) for gain in gains)
        yield Plot("classes", figures.class_gains(gains, frequency), least_width=250 + 7 * letters)
    if any(record.last and record.outcome for record in sources.history.search):
        yield Plot("history", figures.history(sources))
    yield from _search_plots(sources)
    if any(record.started for record in sources.records):
        yield Plot("timeline", figures.timeline(sources), least_width=480)
    if sweep := figures.center_sweep(sources):
        yield Plot("sweep", sweep)


def _search_plots(sources: Sources) -> Iterator[Plot]:
    search = SearchFigures(sources)
    if any(record.last and record.outcome in STATES for record in sources.history.search):
        yield Plot("curves", search.curves())
    if sources.job.objective.cost and sources.completed:
        yield Plot("pareto", search.pareto())
    if not search.names:
        return
    yield Plot("importances", search.importance())
    yield Plot("slices", search.slices(), least_width=190 * len(search.names))
    if len(search.pair) == 2:
        yield Plot("contour", search.contour())
    yield Plot("parallel", search.parallel(), least_width=150 * (len(search.names) + 1))


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("tuner.tracking.report"),
        autoescape=autoescape,  # noqa: S701  # Markdown has its own filter, md
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": escaped}
    environment.globals |= {"number": number, "amount": amount, "enough": ENOUGH}
    return environment
