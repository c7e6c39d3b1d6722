"""What is used of Ray without being documented is there: the first test to fail with another version."""

from pathlib import Path

import pytest
import ray

from tuner.cluster import undocumented

RAY = Path(ray.__file__).parent


@pytest.mark.parametrize(
    ("variable", "module"),
    [
        (undocumented.JOB_STOP_WAIT, "dashboard/modules/job/job_supervisor.py"),
        (undocumented.SEVERAL_NODES, "_private/ray_constants.py"),
    ],
)
def test_ray_knows_the_variable(variable: str, module: str) -> None:
    assert f'"{variable}"' in (RAY / module).read_text()


@pytest.mark.parametrize("logger", [*undocumented.CHATTY_JOBS, *undocumented.CHATTY_TUNE])
def test_ray_logs_under_the_name(logger: str) -> None:
    module = RAY.parent.joinpath(*logger.split(".")).with_suffix(".py")
    assert "logging.getLogger(__name__)" in module.read_text()
