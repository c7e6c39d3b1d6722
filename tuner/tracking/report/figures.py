"""Draws what Optuna has no plot for: progress over cost, classes, GPUs over time, centers."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import accumulate

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.tracking.report.comparison import ClassGain
from tuner.tracking.report.sources import Sources
from tuner.tracking.report.spending import hours, scale
from tuner.tracking.report.style import (
    BEST,
    DEFAULT,
    GAIN,
    INK,
    LOSS,
    MUTED,
    OTHERS,
    OUTCOMES,
    plain,
    short,
    styled,
)

CENTERS = "mIoU.centers_"
ROW = 19
"""Pixels of a class."""


def history(sources: Sources) -> go.Figure:
    """Shows every trial of the search by what had been spent when it was last trained, and the best so far."""
    metric, job = sources.job.objective.metric, sources.job
    ended = sorted(_ended(sources.history.search), key=lambda record: _last_trained(job, record))
    of = scale(sources)
    spent = [of.factor * each for each in accumulate(hours(job, record) for record in ended)]
    figure = go.Figure()
    by_outcome: dict[str, list[tuple[float, Record]]] = {}
    for at, record in zip(spent, ended, strict=True):
        if record.last and record.outcome:
            by_outcome.setdefault(record.outcome.value, []).append((at, record))
    for outcome, points in by_outcome.items():
        figure.add_scatter(
            x=[at for at, _ in points],
            y=[record.value(metric) for _, record in points],
            mode="markers",
            name=outcome,
            marker={"color": OUTCOMES[outcome], "size": 8, "opacity": 0.85},
            text=[_named(record) for _, record in points],
            hovertemplate=f"%{{text}}<br>%{{y:.2f}} after %{{x:.3g}} {of.unit}<extra></extra>",
        )
    _add_best_so_far(figure, job, list(zip(spent, ended, strict=True)))
    if default := sources.default:
        figure.add_hline(default.value(metric), line={"color": DEFAULT, "dash": "dot", "width": 1.5})
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=default.value(metric), yanchor="bottom", showarrow=False,
            text="default", font={"color": MUTED, "size": 11},
        )  # fmt: skip
    figure.update_xaxes(title=f"{of.unit} spent", rangemode="tozero")
    figure.update_yaxes(title=plain(metric))
    return styled(figure, 380)


def class_gains(gains: Sequence[ClassGain], frequency: Mapping[str, float]) -> go.Figure:
    """Shows a row a class, the greatest gain on top, and how often the class occurs where that is known."""
    rows = [short(gain.name) for gain in gains]
    keys = list(range(len(gains)))
    shares = [100 * frequency[gain.name] if gain.name in frequency else None for gain in gains]
    is_known = any(share is not None for share in shares)
    columns = (
        {"cols": 2, "column_widths": [0.74, 0.26], "horizontal_spacing": 0.05} if is_known else {"cols": 1}
    )
    figure = make_subplots(rows=1, shared_yaxes=True, **columns)
    halves = [gain.half for gain in gains]
    figure.add_scatter(
        x=[gain.gain for gain in gains],
        y=keys,
        mode="markers",
        marker={"color": [GAIN if gain.gain >= 0 else LOSS for gain in gains], "size": 8},
        error_x={"array": halves, "color": MUTED, "thickness": 1.2, "width": 0} if any(halves) else None,
        text=[f"{plain(g.name)}<br>default {g.default:.2f}, best {g.default + g.gain:.2f}" for g in gains],
        hovertemplate="%{text}<br>gain %{x:+.2f}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_vline(0, line={"color": MUTED, "width": 1}, row=1, col=1)
    figure.update_xaxes(title="gain in IoU", row=1, col=1, side="top")
    if is_known:
        figure.add_bar(
            x=shares, y=keys, orientation="h", marker={"color": "#c9d3e0"}, row=1, col=2,
            hovertemplate="%{x:.3g} % of the validation pixels<extra></extra>",
        )  # fmt: skip
        figure.update_xaxes(title="pixels, %", row=1, col=2, side="top")
    figure.update_yaxes(
        tickvals=keys, ticktext=rows, range=[len(gains) - 0.5, -0.5], showgrid=False, tickfont={"size": 11}
    )
    return styled(figure, max(220, 90 + ROW * len(gains)), showlegend=False, bargap=0.35)


def timeline(sources: Sources) -> go.Figure:
    """Shows who trained when: as many rows as trials ran at the same time."""
    begun = sorted((r for r in sources.records if r.started), key=lambda r: r.started.timestamp())  # type: ignore[union-attr]
    last = max([_end(record) for record in begun], default=0.0)
    rows = _rows(begun, last)
    figure = go.Figure()
    groups: dict[str, list[Record]] = {}
    for record in begun:
        groups.setdefault(_group(record), []).append(record)
    for group, records in groups.items():
        figure.add_bar(
            base=[_moment(r.started.timestamp()) for r in records],  # type: ignore[union-attr]
            x=[1000 * max(0.0, (_end(r) or last) - r.started.timestamp()) for r in records],  # type: ignore[union-attr]
            y=[rows[r.trial.number] for r in records],
            orientation="h",
            width=0.75,
            name=group,
            marker={"color": OUTCOMES[group], "line": {"color": "white", "width": 1}},
            text=[_named(r) for r in records],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    each = sources.job.resources.gpus_per_trial
    figure.update_xaxes(type="date")
    count = max(rows.values(), default=1)
    title = f"gangs of {each:g} GPUs" if each else "trials at a time"
    figure.update_yaxes(title=title, dtick=max(1, count // 8), range=[count + 0.5, 0.5], showgrid=False)
    return styled(figure, 130 + min(20 * count + 60, 420), barmode="overlay")


def center_sweep(sources: Sources) -> go.Figure | None:
    """Shows the same weights at other numbers of centers; None where no trial was measured so."""
    shown = [record for record in sources.completed if _swept(record)]
    if not shown:
        return None
    named = {0: ("default", DEFAULT)}
    if sources.rival:
        named[sources.rival.trial.number] = (f"best, trial {sources.rival.trial.number}", BEST)
    figure = go.Figure()
    for record in sorted(shown, key=lambda each: each.trial.number in named):
        curve = _swept(record)
        name, colour = named.get(record.trial.number, (_named(record), OTHERS))
        figure.add_scatter(
            x=list(curve), y=list(curve.values()), name=name, mode="lines+markers",
            showlegend=record.trial.number in named, line={"color": colour, "width": 2},
        )  # fmt: skip
    figure.update_xaxes(title="centers", tickvals=list(_swept(shown[0])))
    figure.update_yaxes(title="mIoU")
    return styled(figure, 340)


def _add_best_so_far(figure: go.Figure, job: JobSpec, ended: Sequence[tuple[float, Record]]) -> None:
    pick = max if job.objective.direction == "maximize" else min
    known = [(at, r.value(job.objective.metric)) for at, r in ended if _group(r) == "completed"]
    values = [(at, value) for at, value in known if value is not None]
    figure.add_scatter(
        x=[at for at, _ in values],
        y=list(accumulate((value for _, value in values), pick)),
        mode="lines",
        name="best so far",
        line={"shape": "hv", "color": INK, "width": 2},
        hovertemplate="best so far %{y:.2f}<extra></extra>",
    )


def _ended(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.ended]


def _last_trained(job: JobSpec, record: Record) -> float:
    """Returns when an ended trial was last trained: a screened one that was pruned has only waited since its rung."""
    assert record.ended
    waited = job.search.scheduler == "screen" and record.outcome is Outcome.PRUNED
    return (record.started or record.ended if waited else record.ended).timestamp()


def _rows(begun: Sequence[Record], last: float) -> dict[int, int]:
    """Returns by the trial's number the first row that is free when it begins."""
    free: list[float] = []
    rows: dict[int, int] = {}
    for record in begun:
        start = record.started.timestamp()  # type: ignore[union-attr]
        row = next((index for index, until in enumerate(free) if until <= start), len(free))
        free[row : row + 1] = [_end(record) or last]
        rows[record.trial.number] = row + 1
    return rows


def _end(record: Record) -> float:
    """Returns the end in seconds since the epoch; 0 of a trial that goes on."""
    if record.ended:
        return record.ended.timestamp()
    return record.started.timestamp() + record.last.seconds if record.last and record.started else 0.0


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def _group(record: Record) -> str:
    if record.trial.replicate_of is not None:
        return "replicates"
    return record.outcome.value if record.outcome else "unfinished"


def _named(record: Record) -> str:
    trial = record.trial
    name = (
        f"trial {trial.number}" if trial.replicate_of is None else f"replicate of trial {trial.replicate_of}"
    )
    params = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in trial.params.items()
    )
    return f"{name}<br>{plain(params)}"


def _swept(record: Record) -> dict[int, float]:
    metrics = record.last.metrics if record.last else {}
    found = {int(k.removeprefix(CENTERS)): v for k, v in metrics.items() if k.startswith(CENTERS)}
    return dict(sorted(found.items()))
