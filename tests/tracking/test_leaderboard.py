"""How much of a study's images is shown."""

import pytest

from tests.conftest import JobFile
from tuner.spec.yaml_files import read_job
from tuner.tracking.leaderboard import BYTES, MOST_BYTES, leaderboard, shown_images


@pytest.mark.parametrize(
    ("trials", "images", "shown"),
    [
        (10, 4, (4, True)),
        (200, 4, (4, False)),
        (500, 4, (1, False)),
        (10, 64, (64, False)),
        (5000, 4, (0, False)),
        (10, 0, (0, True)),
    ],
)
def test_images_of_a_study_stay_under_50_megabytes(
    job_file: JobFile, trials: int, images: int, shown: tuple[int, bool]
) -> None:
    job = read_job(job_file(budget={"trials": trials}, predictions={"images": images}))
    assert shown_images(job) == shown
    number, at_every_evaluation = shown
    evaluations = len(job.fidelity.evaluation_points) if at_every_evaluation else 1
    assert trials * number * evaluations * BYTES <= MOST_BYTES
    grids = [chart for chart in leaderboard(job, "")["compareRunCharts"] if chart["type"] == "IMAGE"]
    assert [len(chart["imageKeys"]) for chart in grids] == [number] * (number > 0)
