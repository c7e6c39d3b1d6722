"""Writes docs/results.md, its plots and the README's part from the numbers that are kept; none is typed by hand.

python docs/results/make.py
"""

import sys
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import ade20k  # noqa: E402 - the modules beside this one
import answers  # noqa: E402
import figures  # noqa: E402
import numbers_kept  # noqa: E402
import simulated  # noqa: E402
from intervals import Interval  # noqa: E402

from tuner.files.writing import write_text  # noqa: E402
from tuner.tracking.report.sentences import headline  # noqa: E402

ROOT = HERE.parents[1]
BEGIN, END = "<!-- results: written by `make results` -->\n", "<!-- end -->"


def signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def around(found: Interval, digits: int = 2) -> str:
    return f"{found.mean:.{digits}f} ± {found.half:.{digits}f}"


def apart(found: Interval | None, digits: int = 2) -> str:
    if found is None:
        return "–"
    return f"{signed(found.mean, digits)} ({signed(found.low, digits)} … {signed(found.high, digits)})"


def size(found: Interval) -> str:
    """Writes a difference for a sentence that says more or less itself."""
    return f"{found.mean:.1f} ({found.low:.1f} … {found.high:.1f})".replace("-", "−")


def filled(template: str, rows: list[answers.Row]) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=select_autoescape(),
    )
    environment.filters |= {"signed": signed, "around": around, "apart": apart, "size": size}
    given = {
        "rows": rows,
        "a": answers,
        "n": numbers_kept,
        "s": simulated,
        "ade": ade20k,
        "headline": headline,
    }
    return environment.get_template(template).render(given)


def documents(rows: list[answers.Row]) -> dict[Path, str]:
    """Returns the texts of docs/results.md, and of the README with its part in place."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    part = f"{BEGIN}{filled('readme.md.j2', rows)}{END}"
    return {ROOT / "docs" / "results.md": filled("results.md.j2", rows), readme: before + part + after}


if __name__ == "__main__":
    found = answers.rows()
    figures.draw(found)
    for file, text in documents(found).items():
        write_text(file, text)
        print(f"written: {file.relative_to(ROOT)}")
