"""Reads the numbers that are kept of the studies, and of the trainings that were done again."""

import json
from functools import cache
from pathlib import Path

from intervals import Values

from tuner.simulation import curves
from tuner.spec.job import JobSpec
from tuner.spec.yaml_files import read_job
from tuner.study.history import History

HERE = Path(__file__).parent
JOBS = HERE.parents[1] / "configs" / "jobs"
CURVES = HERE.parents[1] / "configs" / "curves"
PVT, FINISHED, OPTIMIZER = "results-pvt", "results-finished", "results-optimizer"
SPLITS = ("validation", "test")
SEEDS = range(1, 7)
"""The seeds of the studies' replicates, with which recipes are trained again."""
Recipe = tuple[str, int]
"""A study and the number of a trial in it."""


def job(study: str) -> JobSpec:
    return read_job(JOBS / f"{study.replace('-', '_')}.yaml", images_are_here=False)


@cache
def history(study: str) -> History:
    return History(job(study), curves.read(CURVES / f"{study.replace('-', '_')}.jsonl"))


@cache
def again() -> dict[Recipe, dict[str, Values]]:
    """Returns the mIoU of what was trained again, by recipe, split and seed."""
    found: dict[Recipe, dict[str, dict[int, float]]] = {}
    for line in (HERE / "again.jsonl").read_text().splitlines():
        each = json.loads(line)
        splits = found.setdefault((each["study"], each["number"]), {split: {} for split in SPLITS})
        for split in SPLITS:
            splits[split][each["seed"]] = each[split]["mIoU"]
    return found


def replicates(study: str, number: int, metric: str = "mIoU") -> Values:
    """Returns a metric of a trial's completed replicates, by seed."""
    own = [r for r in history(study).records if r.trial.replicate_of == number and r.measurements]
    return {r.trial.seed: value for r in own if (value := r.value(metric)) is not None}
