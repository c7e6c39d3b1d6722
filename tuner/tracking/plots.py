"""Plots as PNG files."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from tuner.files.writing import replacing
from tuner.spec.trial import Swept


def plot_sweep(swept: Sequence[Swept], to: Path) -> None:
    """Plots mIoU and images per second over the number of centers; a line for each stage."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    quality, speed = figure.subplots(1, 2)
    for stage, group in groupby(swept, key=lambda each: each.stage):
        line = list(group)
        centers = [each.centers for each in line]
        label = "all stages" if stage is None else f"stage {stage}"
        quality.plot(centers, [each.metrics["mIoU"] for each in line], marker="o", label=label)
        speed.plot(centers, [each.images_per_second for each in line], marker="o", label=label)
    for axes, name in ((quality, "mIoU, %"), (speed, "images per second")):
        axes.set(xlabel="centers", ylabel=name, xticks=sorted({each.centers for each in swept}))
        axes.legend()
    speed.set_ylim(bottom=0)
    with replacing(to) as beside:
        figure.savefig(beside, format="png", dpi=150)
