"""Prints every idiom with the greatest difference between mmseg's result and ours: `python -m tests.conformance`."""

import tempfile
import warnings
from pathlib import Path

from tests.conformance.base import base, draw
from tests.conformance.idioms import IDIOMS
from tests.conformance.trainings import compared

warnings.simplefilter("ignore")
lines = [f"{'idiom':46} {'weights':>10} {'areas':>6}"]
with tempfile.TemporaryDirectory() as folder:
    draw(Path(folder))
    for name, change in IDIOMS.items():
        config = base(Path(folder))
        change(config, Path(folder))
        with tempfile.TemporaryDirectory() as work:
            found = compared(config, Path(work))
        lines.append(f"{name:46} {found.weights:10.1e} {found.areas:6g}")
print("", *lines, sep="\n")
