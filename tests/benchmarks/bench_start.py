"""What a start costs: seconds of computing until a wrong job is told, a plan is drawn and a job is checked.

The images are as many as ADE20K's, links to the sample beside the checkout: python tests/benchmarks/bench_start.py
"""

import os
import resource
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_backbone import machine

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT.parent / "shared" / "data" / "ade20k_sample"
JOB = ROOT / "configs" / "jobs" / "ade20k_small.yaml"
LONG = ("--set", "fidelity={iterations: 100000, schedule: truncated}")
"""More iterations than the config's schedule has."""
PAIRS = {"training": 20210, "validation": 2000}
"""ADE20K's."""


def main() -> None:
    table = Table(title=f"What a start costs\n{machine()}")
    for column in ("command", "seconds of computing", "seconds"):
        table.add_column(column, justify="left" if column == "command" else "right")
    with TemporaryDirectory() as folder:
        wrong, images = Path(folder) / "wrong.yaml", Path(folder) / "images"
        wrong.write_text("name: wrong\nsampler: tpe\n")
        link(images)
        scratch = "--data-root", images, "--pretrained", "none"
        check = "check", JOB, *scratch, "--no-build"
        commands = {
            "check of a wrong YAML": ("check", wrong),
            "plan": ("plan", JOB, *scratch),
            "check of a space that does not fit": (*check, *LONG),
            f"check of {sum(PAIRS.values()):,} pairs": check,
            "the same again": check,
        }
        for name, command in commands.items():
            refused = command[1] == wrong or command[-2:] == LONG
            computing, waited = cost(Path(folder) / "home", *command, code=2 if refused else 0)
            table.add_row(name, f"{computing:.1f}", f"{waited:.1f}")
    Console(width=100).print(table)


def link(folder: Path) -> None:
    for split, count in PAIRS.items():
        images = cycle(sorted((SAMPLE / "images" / split).glob("*.jpg")))
        for kind in ("images", "annotations"):
            (folder / kind / split).mkdir(parents=True)
        for number, image in zip(range(count), images, strict=False):
            os.link(image, folder / "images" / split / f"{number:08d}.jpg")
            labels = SAMPLE / "annotations" / split / f"{image.stem}.png"
            os.link(labels, folder / "annotations" / split / f"{number:08d}.png")


def cost(home: Path, *arguments: object, code: int) -> tuple[float, float]:
    """Runs a command that ends with this code; seconds of computing, and seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "tuner", "--home", str(home), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return computing, time.perf_counter() - begun


if __name__ == "__main__":
    main()
