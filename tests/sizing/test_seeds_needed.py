"""How many seeds a difference needs, before anything is trained."""

import pytest

from tests.conftest import JobFile
from tests.learning_curves import flat
from tests.loop import searched
from tuner.sizing.seeds_needed import PUBLISHED, seeds_needed
from tuner.spec.yaml_files import read_job
from tuner.study.replication import noise_between_seeds


def test_the_published_noise_counts_until_there_is_a_measured_one() -> None:
    found = seeds_needed([], "mIoU")
    assert found
    assert found.noise == PUBLISHED
    assert found.seeds == {1.0: 3, 0.6: 6, 0.5: 9, 0.3: 24}
    assert seeds_needed([], "loss") is None


def test_the_noise_of_earlier_studies_of_the_config_counts_first(job_file: JobFile) -> None:
    study = searched(read_job(job_file(name="before", budget={"trials": 4, "seeds": 5})), flat)
    deviation, freedom = noise_between_seeds(study.history)
    found = seeds_needed([study.history], "loss")
    assert freedom > 3
    assert found
    assert (found.noise, found.source) == (pytest.approx(deviation), "measured by before")
    assert found.seeds[1.0] == pytest.approx(15.7 * deviation**2, abs=1)
