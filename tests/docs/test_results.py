"""docs/results.md says what the numbers say that are kept, and its plots show them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tuner.files.paths import Home
from tuner.files.writing import write_text
from tuner.simulation import curves
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import with_data_root
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.training.config import config as configs
from tuner.training.data.toy import draw

RESULTS = ROOT / "docs" / "results"
PLOTS = ("results_gain", "results_rates", "results_early")


@pytest.fixture(scope="module")
def make() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RESULTS))
        import make

        yield make
    for name in ("make", *(file.stem for file in RESULTS.glob("*.py"))):
        sys.modules.pop(name, None)


@pytest.mark.long
@pytest.mark.xdist_group("results")
def test_the_document_and_its_plots_are_what_the_numbers_make_of_them(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make.answers.rows()
    for file, text in make.documents(rows).items():
        assert text == file.read_text(), file
    monkeypatch.setattr(make.figures, "IMAGES", tmp_path)
    make.figures.draw(rows)
    for name in PLOTS:
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert drawn == (ROOT / "docs" / "images" / f"{name}.svg").read_text(), name


@pytest.mark.xdist_group("results")
def test_a_trial_is_kept_with_its_place_in_the_study(make: ModuleType, tmp_path: Path) -> None:
    import keep

    again = Trial(37, {"lr": 1e-3}, 2, replicate_of=30)
    record = Record(again, Outcome.COMPLETED, (Measurement(480, {"mIoU": 27.0}, 60.0),))
    (tmp_path / "study.jsonl").write_text(keep.kept(record))
    assert curves.read(tmp_path / "study.jsonl") == [record]
    assert json.loads(curves.line(record)).keys().isdisjoint({"number", "replicate_of"})


@pytest.mark.long
@pytest.mark.xdist_group("results")
def test_a_trial_is_trained_again_and_measured_on_both_splits(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import again

    draw(tmp_path / "toys", images=4, validation=2)
    config = with_data_root(configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"), tmp_path / "toys")
    trial = Home(tmp_path / "home").trial("toy", 3)
    write_text(trial.config, configs.text(apply(config, {"runner.max_iters": 1}, "test")))
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    found = again.measured("toy", 3, 5)
    assert {"study": "toy", "number": 3, "seed": 5}.items() <= found.items()
    assert found["validation"]["mIoU"] == found["test"]["mIoU"], (
        "the toys' test images are the validation images"
    )
