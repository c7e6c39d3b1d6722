"""Keeps what studies measured, for docs/results.md and simulations: a JSON line a trial, in configs/curves/.

python docs/results/keep.py results-pvt results-finished results-optimizer
"""

import json
import os
import sys
from pathlib import Path

from tuner.files.paths import Home
from tuner.files.writing import write_text
from tuner.simulation import curves
from tuner.spec.trial import Record
from tuner.store.studies import load_study

CURVES = Path(__file__).parents[2] / "configs" / "curves"


def kept(record: Record) -> str:
    """Returns the line that `tuner record` would write, with the trial's number, and whose replicate it is."""
    place = {"number": record.trial.number, "replicate_of": record.trial.replicate_of}
    return json.dumps(place | json.loads(curves.line(record))) + "\n"


if __name__ == "__main__":
    home = Home(Path(os.environ.get("TUNER_HOME", "runs")))
    for study in sys.argv[1:]:
        records = load_study(home.storage, study).records()
        write_text(CURVES / f"{study.replace('-', '_')}.jsonl", "".join(map(kept, records)))
        print(f"{study}: {len(records)} trials")
