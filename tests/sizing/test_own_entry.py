"""What only the tuner reads of a config stands in one entry; older places are read, mistakes are named."""

from typing import Any

import pytest

from tests.conformance.base import base
from tests.conftest import ROOT, JobFile
from tuner.errors import BadInput
from tuner.sizing.own_entry import OwnEntry, in_one_entry, own_entry, own_problems, with_own
from tuner.sizing.trial_config import trial_config
from tuner.spec.trial import Trial
from tuner.spec.yaml_files import read_job
from tuner.training.config import config as configs
from tuner.training.config.canonical import canonical

STRIPS = {"images": [0, 4], "width": 512}
EARLIER: dict[str, Any] = {
    "accumulation": 2,
    "image_cache": 0.5,
    "secondary": "latency",
    "sweep_centers": [4, 49],
    "strips": STRIPS,
}
"""The top level of a config that an earlier version of the tuner has exported."""


def test_a_trials_config_has_all_that_only_the_tuner_reads_in_one_entry(job_file: JobFile) -> None:
    job = read_job(
        job_file(
            fidelity={"iterations": 480, "sweep_centers": [4, 9]},
            objective={"secondary": "latency"},
            search={"sampler": "nsga2"},
            resources={"gpus_per_trial": 0, "global_batch": 8, "image_cache": 2},
        )
    )
    plain = configs.read(ROOT / "configs/synthetic.py")
    found = trial_config(job, plain, Trial(0, {"lr": 0.01, "weight_decay": 0.0, "centers": 4}, seed=0))
    added = found.keys() - plain.keys()
    assert added == {"tuner", "custom_imports", "custom_hooks", "seed"}
    assert own_entry(found) == OwnEntry(image_cache=2, secondary="latency", sweep_centers=(4, 9))


def test_a_config_written_and_read_again_asks_for_the_same(tmp_path: Any) -> None:
    config = with_own(base(tmp_path), **EARLIER)
    (tmp_path / "config.py").write_text(configs.text(config))
    assert own_entry(configs.read(tmp_path / "config.py")) == OwnEntry(**EARLIER)


def test_what_an_earlier_version_exported_is_read(tmp_path: Any) -> None:
    earlier = base(tmp_path) | EARLIER
    found = canonical(earlier, "config.py")
    assert own_entry(found) == OwnEntry(**EARLIER)
    assert not EARLIER.keys() & found.keys()
    assert canonical(found, "config.py") == found
    assert own_entry(in_one_entry(earlier | {"tuner": {"accumulation": 4}})).accumulation == 2


def test_somebodys_helper_variables_of_these_names_are_left_alone(tmp_path: Any) -> None:
    helpers = {"secondary": {"type": "FCNHead"}, "strips": 7, "accumulation": "mean", "sweep_centers": "all"}
    config = base(tmp_path) | helpers
    assert in_one_entry(config) == config
    assert own_entry(canonical(config, "config.py")) == OwnEntry()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"acumulation": 2}, "tuner.acumulation: unknown key: is accumulation meant? There are accumulation, image_c"),
        ({"x": 2}, "tuner.x: unknown key: There are accumulation"),
        ({"accumulation": 0}, "tuner.accumulation: must be a whole number above 0, got 0"),
        ({"accumulation": True}, "tuner.accumulation: must be a whole number above 0, got True"),
        ({"image_cache": -1}, "tuner.image_cache: must be GiB, 0 or more, got -1"),
        ({"secondary": "speed"}, "tuner.secondary: must be one of latency, parameters, memory, got 'speed'"),
        ({"sweep_centers": [4, "9"]}, "tuner.sweep_centers: must be a list of whole numbers above 0"),
        ({"strips": {"images": []}}, "tuner.strips: must be dict(images=[…], width=…)"),
        (3, "tuner: must be a dict of accumulation, image_cache, secondary, sweep_centers, strips, got 3"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_entry_is_named(tmp_path: Any, entry: Any, message: str) -> None:
    config = base(tmp_path) | {"tuner": entry}
    assert [each for each in own_problems(config) if each.startswith(message)]
    with pytest.raises(BadInput, match=r"config.py: 1 problem"):
        canonical(config, "config.py")
