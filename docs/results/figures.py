"""Draws the plots of docs/results.md, the same to the letter from the same numbers."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from answers import CENTERS, Row
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numbers_kept import FINISHED, SPLITS, history
from scipy.stats import kendalltau

from tuner.tracking.report.style import BEST, DEFAULT, GRID, INK, MUTED

IMAGES = Path(__file__).parents[1] / "images"
COLOURS = dict(zip(CENTERS, (BEST, "#d9a441", "#8e3b6f"), strict=True))
SHAPES = dict(zip(CENTERS, "os^", strict=True))
LOOK = {
    "svg.hashsalt": "results",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "figure.constrained_layout.use": True,
}


def draw(rows: Sequence[Row]) -> None:
    with mpl.rc_context(LOOK):
        _recipes(rows)
        _rates()
        _early()


def _recipes(rows: Sequence[Row]) -> None:
    """Shows each recipe's mean on both splits, with its interval."""
    figure, axes = plt.subplots(figsize=(8, 2.9))
    for split, colour, shift, shape in zip(SPLITS, (BEST, DEFAULT), (-0.12, 0.12), "os", strict=True):
        found = [row.means[split] for row in rows]
        axes.errorbar(
            [each.mean for each in found],
            [place + shift for place in range(len(rows))],
            xerr=[each.half for each in found],
            fmt=shape,
            color=colour,
            capsize=3,
            label=split,
        )
    axes.set_yticks(range(len(rows)), [row.name.replace("`", "") for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"mIoU on CamVid: mean of {rows[0].means['validation'].count} seeds, 95 % interval")
    axes.legend(frameon=False, loc="lower left")
    _write(figure, "results_gain")


def _rates() -> None:
    """Shows every finished trial by its learning rate."""
    figure, axes = plt.subplots(figsize=(8, 3.4))
    found = history(FINISHED)
    for centers in CENTERS:
        own = [r for r in found.ranked if r.trial.params["centers"] == centers]
        rates = [float(r.trial.params["lr"]) for r in own]
        values = [found.score(r) for r in own]
        label = f"{centers} centers"
        axes.scatter(rates, values, color=COLOURS[centers], marker=SHAPES[centers], label=label, s=34)
    _mark_default(axes)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("mIoU, one training each")
    axes.legend(frameon=False)
    _write(figure, "results_rates")


def _mark_default(axes: Axes) -> None:
    found = history(FINISHED)
    assert found.default
    rate = float(found.default.trial.params["lr"])
    axes.annotate(
        "PVT's values",
        (rate, found.score(found.default)),
        xytext=(12, -16),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": MUTED},
    )


def _early() -> None:
    """Shows what the first rung said of the end."""
    found = history(FINISHED)
    first = found.job.fidelity.evaluation_points[0]
    ends = [found.score(r) for r in found.ranked]
    figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    for axes, name, words in zip(panels, ("mIoU", "loss"), ("mIoU", "training loss"), strict=True):
        early = [r.value(name, first) or 0.0 for r in found.ranked]
        axes.scatter(early, ends, color=BEST, s=26)
        tau = abs(kendalltau(early, ends).statistic)
        axes.set_title(f"Kendall's tau {tau:.2f}", fontsize=10, color=MUTED, loc="left")
        axes.set_xlabel(f"{words} after {first} iterations")
    panels[0].set_ylabel(f"mIoU after {found.job.fidelity.iterations}")
    _write(figure, "results_early")


def _write(figure: Figure, name: str) -> None:
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
