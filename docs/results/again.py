"""Trains trials of a study again, each with six other seeds, and measures both splits; docs/results.md compares them.

python docs/results/again.py results-pvt 0 1 27

What docs/results/again.jsonl has already is left out, so that the same command goes on where it was cut off.
"""

import json
import os
import sys
from pathlib import Path

from numbers_kept import SEEDS

from tuner import trainings
from tuner.files.paths import Home
from tuner.spec.trial import Measurement

FILE = Path(__file__).parent / "again.jsonl"


def measured(study: str, number: int, seed: int) -> dict[str, object]:
    """Trains a trial's config with a seed; returns its metrics of validation and test images."""
    home = Home(Path(os.environ.get("TUNER_HOME", "runs")))
    config, folder = (
        Path(str(home.trial(study, number).config)),
        home.root / "again" / f"{study}-{number}-{seed}",
    )
    ends: list[Measurement] = []
    trainings.train(trainings.read_config(config, None, {}), 1, folder, seed, ends.append)
    test = trainings.evaluate(config, folder / "checkpoint.pth", None, "test")
    both = {"validation": ends[-1].metrics, "test": test}
    rounded = {split: {name: round(each, 4) for name, each in found.items()} for split, found in both.items()}
    return {"study": study, "number": number, "seed": seed, **rounded}


def known() -> set[tuple[str, int, int]]:
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    return {(each["study"], each["number"], each["seed"]) for each in map(json.loads, lines)}


if __name__ == "__main__":
    study, *numbers = sys.argv[1:]
    for number in map(int, numbers):
        for seed in SEEDS:
            if (study, number, seed) not in known():
                found = json.dumps(measured(study, number, seed))
                with FILE.open("a") as lines:
                    lines.write(found + "\n")
                print(found[:120])
