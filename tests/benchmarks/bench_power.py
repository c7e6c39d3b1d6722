"""How often verdicts and rungs are right, in percent of simulated studies.

python tests/benchmarks/bench_power.py
"""

import sys
import tempfile
from pathlib import Path
from statistics import fmean

import yaml
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import JOB
from tests.power import (
    TrueDifference,
    comparisons,
    holds,
    percent,
    races,
    rung_selections,
    tells_a_difference,
)
from tuner.spec.job import JobSpec
from tuner.spec.yaml_files import read_job

STUDIES = 5_000
EQUAL = dict.fromkeys((4, 25, 49), 0.0)


def main() -> None:
    table = Table(title=f"Of {STUDIES:,} studies, in percent; differences in units of the noise")
    table.add_column("claim")
    table.add_column("%", justify="right")
    for claim, share in (_verdict_rows() | _center_rows() | _rung_rows()).items():
        table.add_row(claim, f"{share:.1f}")
    Console(width=110).print(table)


def _verdict_rows() -> dict[str, float]:
    truths: dict[str, TrueDifference] = {
        "no difference": lambda _: 0.0,
        "all candidates better by 2": lambda _: 2.0,
        "a third of all trials better by 2": lambda number: 2.0 if number % 3 == 0 else 0.0,
        "a ramp": lambda number: 2 - number / 6,
    }
    rows = {}
    for name, truth in truths.items():
        found = races(truth, STUDIES)
        rows[f"verdict, {name}: confirmed"] = percent(each.verdict.ruling == "confirmed" for each in found)
        rows[f"verdict, {name}: trainings that it took (no share)"] = fmean(each.trainings for each in found)
        inside = (each.verdict.low <= each.truth <= each.verdict.high for each in found)
        rows[f"verdict, {name}: the true difference is within the interval"] = percent(inside)
    return rows


def _center_rows() -> dict[str, float]:
    six = dict.fromkeys((4, 9, 16, 25, 36, 49), 0.0)
    ramp = {4: 0.0, 25: 1.0, 49: 1.5}
    rows = {
        f"centers: a difference among {len(equal)} equal numbers": percent(
            map(tells_a_difference, comparisons(equal, 3, STUDIES))
        )
        for equal in (EQUAL, six)
    }
    for seeds in (3, 5, 8):
        found = comparisons(EQUAL | {25: 2.0}, seeds, STUDIES)
        rows[f"centers: one of 3 better by 2 confirmed with {seeds} seeds"] = percent(
            (each.centers, each.ruling) == (25, "confirmed") for each in found
        )
    inside = (holds(found, ramp) for found in comparisons(ramp, 3, STUDIES))
    return rows | {"centers: all true differences within their intervals": percent(inside)}


def _rung_rows() -> dict[str, float]:
    taken = (len(found.rungs) > 1 for found in rung_selections(_job(), STUDIES) if found)
    return {"rungs: taken where nothing tells the end": percent(taken)}


def _job() -> JobSpec:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.yaml"
        file.write_text(yaml.safe_dump(JOB | {"fidelity": {"iterations": 480, "rungs": "auto"}}))
        return read_job(file)


if __name__ == "__main__":
    main()
